/* Permissions, channels and data (RFC 8656 sections 9 to 12) on a turned clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/turn_rig.h"

static int begin(void **state)
{
	*state = rig_new();
	return 0;
}

static int finish(void **state)
{
	rig_free(*state);
	return 0;
}

#define TEST(f)	 cmocka_unit_test_setup_teardown(f, begin, finish)
#define PEER	 "198.51.100.1:40000"
#define PEER_IP	 "198.51.100.1"
#define OTHER	 "198.51.100.2:40000"
#define ALLOC(g) turn_alloc_find((g)->rig->s, &(g)->c)

static bool peer_got(const struct rig *rig, const char *peer, const char *text)
{
	const struct rig_sent *last = rig_last(rig);
	struct addr to = rig_addr(peer);

	return addr_eq(&last->to, &to) && last->n == strlen(text) &&
	       memcmp(last->p, text, last->n) == 0 && last->from.family != ADDR_NONE;
}

/* A Data indication with this text from this peer. */
static bool client_got_data(const struct rig *rig, const char *peer, const char *text)
{
	const struct rig_sent *last = rig_last(rig);
	struct addr from, want = rig_addr(peer);
	struct stun_attr addr, data;
	struct stun_msg m;

	return last->lossy && stun_decode(last->p, last->n, &m) == 0 &&
	       m.class == STUN_CLASS_INDICATION && m.method == STUN_METHOD_DATA &&
	       stun_attr_find(&m, STUN_ATTR_XOR_PEER_ADDRESS, &addr) &&
	       stun_attr_xor_addr(&m, &addr, &from) && addr_eq(&from, &want) &&
	       stun_attr_find(&m, STUN_ATTR_DATA, &data) && data.n == strlen(text) &&
	       memcmp(data.p, text, data.n) == 0;
}

static bool client_got_channel(const struct rig *rig, uint16_t number, const char *text)
{
	const struct rig_sent *last = rig_last(rig);
	struct slice data;
	uint16_t got;

	return last->lossy && turn_channel_decode(last->p, last->n, &got, &data) && got == number &&
	       last->n == TURN_CHANNEL_HEADER_BYTES + data.n && slice_eq(data, slice_of(text));
}

/* Does it reach the client in whatever form? */
static bool arrives(struct guest *g, const char *from, const char *text)
{
	size_t before = g->rig->n_sent;

	rig_peer_sends(g->rig, guest_relay(g), from, text);
	return g->rig->n_sent > before;
}

static void a_permission_opens_both_ways(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_false(arrives(&g, PEER, "early"));
	assert_false(guest_says(&g, PEER, "early"));
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	assert_true(guest_says(&g, PEER, "hello"));
	assert_true(peer_got(rig, PEER, "hello"));
	for (unsigned n = 0; n < 9; n++) { /* every padding */
		assert_true(arrives(&g, PEER, "answer!!!" + n));
		assert_true(client_got_data(rig, PEER, "answer!!!" + n));
	}
	assert_true(arrives(&g, "198.51.100.1:1", "other port, same address"));
	assert_false(arrives(&g, OTHER, "other address"));
	assert_false(guest_says(&g, OTHER, "other address"));
	assert_int_equal(turn_server_stats(rig->s).n_no_permission, 4);
	rig_wait_ms(rig, 299999);
	assert_true(arrives(&g, PEER, "late"));
	rig_wait_ms(rig, 1);
	assert_false(arrives(&g, PEER, "too late"));
	assert_false(guest_says(&g, PEER, "too late"));
}

static unsigned permits_three(struct guest *g, const char *a, const char *b, const char *c)
{
	guest_start(g, STUN_METHOD_CREATE_PERMISSION);
	guest_peer(g, a);
	guest_peer(g, b);
	guest_peer(g, c);
	return guest_asks(g);
}

static void several_permissions_are_all_or_none(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(permits_three(&g, PEER, OTHER, "10.0.0.1"), 403);
	assert_true(rig_traced(rig, "turn.peer.denied"));
	assert_int_equal(permits_three(&g, PEER, "[2001:4860::9]:1", OTHER), 443);
	assert_int_equal(ALLOC(&g)->n_permissions, 0);
	assert_false(arrives(&g, PEER, "x"));
	assert_int_equal(permits_three(&g, PEER, OTHER, "198.51.100.1:7"), 200);
	assert_int_equal(ALLOC(&g)->n_permissions, 2);
	assert_true(arrives(&g, OTHER, "x"));
	/* A refused one renews nothing either. */
	rig_wait_ms(rig, 200000);
	assert_int_equal(permits_three(&g, PEER, OTHER, "127.0.0.1"), 403);
	rig_wait_ms(rig, 100000);
	assert_false(arrives(&g, PEER, "x"));
	guest_start(&g, STUN_METHOD_CREATE_PERMISSION);
	assert_int_equal(guest_asks(&g), 400); /* none at all */
	guest_start(&g, STUN_METHOD_CREATE_PERMISSION);
	guest_byte(&g, STUN_ATTR_XOR_PEER_ADDRESS, 0, 4);
	assert_int_equal(guest_asks(&g), 400);
}

static void permissions_have_a_bound(void **state)
{
	struct rig *rig = *state;
	char peer[32];
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	for (unsigned i = 1; i <= 8; i++) {
		snprintf(peer, sizeof(peer), "198.51.100.%u", i);
		assert_int_equal(guest_permits(&g, peer), 200);
	}
	assert_int_equal(guest_permits(&g, "198.51.100.9"), 508);
	assert_int_equal(guest_permits(&g, "198.51.100.8"), 200);
	assert_int_equal(guest_binds(&g, 0x4000, "198.51.100.9:9"), 508);
	assert_int_equal(permits_three(&g, "198.51.100.1", "198.51.100.2", "198.51.100.10"), 508);
	assert_int_equal(turn_server_stats_all(rig->s).n_permissions, 8);
	assert_true(rig_traced(rig, "turn.capacity"));
	rig_wait_ms(rig, 300000);
	assert_int_equal(turn_server_stats_all(rig->s).n_permissions, 0);
	assert_int_equal(guest_permits(&g, "198.51.100.9"), 200);
	assert_int_equal(ALLOC(&g)->n_permissions, 1);
}

static void a_channel_carries_both_ways(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_false(guest_says_on_channel(&g, 0x4001, "early"));
	assert_int_equal(guest_binds(&g, 0x4001, PEER), 200);
	assert_true(guest_says_on_channel(&g, 0x4001, "hello"));
	assert_true(peer_got(rig, PEER, "hello"));
	assert_true(guest_says_on_channel(&g, 0x4001, ""));
	assert_true(peer_got(rig, PEER, ""));
	assert_true(arrives(&g, PEER, "answer"));
	assert_true(client_got_channel(rig, 0x4001, "answer"));
	assert_true(arrives(&g, "198.51.100.1:2", "other port"));
	assert_true(client_got_data(rig, "198.51.100.1:2", "other port"));
	assert_false(guest_says_on_channel(&g, 0x4002, "no such channel"));
	/* The permission that came with it ends first; what the client sends still goes. */
	rig_wait_ms(rig, 300000);
	assert_false(arrives(&g, PEER, "no permission"));
	assert_true(guest_says_on_channel(&g, 0x4001, "channel"));
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	assert_true(arrives(&g, PEER, "again"));
	assert_true(client_got_channel(rig, 0x4001, "again"));
}

static void nothing_is_allocated_for_data(void **state)
{
	struct guest g;

	guest_enters(&g, *state, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_binds(&g, 0x4001, PEER), 200);
	assert_int_equal(guest_permits(&g, OTHER), 200);
	alloc_fail_at(1);
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(guest_says_on_channel(&g, 0x4001, "to"));
		assert_true(arrives(&g, PEER, "back"));
		assert_true(guest_says(&g, OTHER, "to"));
		assert_true(arrives(&g, OTHER, "back"));
		assert_false(arrives(&g, "198.51.100.3:1", "refused"));
	}
	assert_false(alloc_fail_hit());
	alloc_fail_at(0);
}

static void channel_numbers_and_conflicts(void **state)
{
	static const uint16_t bad[] = { 0, 0x3fff, 0x5000, 0x7fff, 0xffff };
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(guest_binds(&g, bad[i], PEER), 400);
	assert_int_equal(guest_binds(&g, 0x4000, PEER), 200);
	assert_int_equal(guest_binds(&g, 0x4fff, OTHER), 200);
	assert_int_equal(guest_binds(&g, 0x4000, PEER), 200);  /* renewed */
	assert_int_equal(guest_binds(&g, 0x4000, OTHER), 400); /* number taken */
	assert_int_equal(guest_binds(&g, 0x4001, PEER), 400);  /* peer taken */
	assert_int_equal(guest_binds(&g, 0x4001, "198.51.100.1:0"), 400);
	assert_int_equal(guest_binds(&g, 0x4001, "10.0.0.1:9"), 403);
	assert_int_equal(guest_binds(&g, 0x4001, "[2001:4860::9]:9"), 443);
	guest_start(&g, STUN_METHOD_CHANNEL_BIND);
	guest_peer(&g, PEER);
	assert_int_equal(guest_asks(&g), 400);
	guest_start(&g, STUN_METHOD_CHANNEL_BIND);
	stun_build_channel(&g.b, 0x4000);
	assert_int_equal(guest_asks(&g), 400);
	assert_int_equal(ALLOC(&g)->n_channels, 2);
}

/* [turn] legacy-channels: the numbers of RFC 5766. */
static void older_clients_have_more_channels(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	rig->conf.last_channel = TURN_CHANNEL_LAST_5766;
	assert_int_equal(rig_configure(rig), 0);
	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_binds(&g, 0x3fff, PEER), 400);
	assert_int_equal(guest_binds(&g, 0x7fff, PEER), 400);
	assert_int_equal(guest_binds(&g, 0x7ffe, PEER), 200);
	assert_true(guest_says_on_channel(&g, 0x7ffe, "hello"));
	assert_true(peer_got(rig, PEER, "hello"));
	assert_true(arrives(&g, PEER, "answer"));
	assert_true(client_got_channel(rig, 0x7ffe, "answer"));
}

static void refresh_nonce(struct guest *g)
{
	assert_int_equal(guest_refreshes(g, 3600), 438);
	assert_int_equal(guest_refreshes(g, 3600), 200);
}

/* RFC 8656 section 12: ten minutes, then neither number nor peer for five. */
static void a_channel_rests_after_its_time(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_refreshes(&g, 3600), 200);
	assert_int_equal(guest_binds(&g, 0x4000, PEER), 200);
	rig_wait_ms(rig, 599999);
	assert_true(guest_says_on_channel(&g, 0x4000, "last"));
	rig_wait_ms(rig, 2);
	refresh_nonce(&g);
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	assert_false(guest_says_on_channel(&g, 0x4000, "over"));
	assert_true(arrives(&g, PEER, "without channel"));
	assert_true(client_got_data(rig, PEER, "without channel"));
	assert_int_equal(guest_binds(&g, 0x4000, OTHER), 400);
	assert_int_equal(guest_binds(&g, 0x4001, PEER), 400);
	rig_wait_ms(rig, 299998);
	assert_int_equal(guest_binds(&g, 0x4001, PEER), 400);
	rig_wait_ms(rig, 1);
	assert_int_equal(guest_binds(&g, 0x4001, PEER), 200);
	assert_int_equal(guest_binds(&g, 0x4000, OTHER), 200);
	/* While it rests, the same pair may come back. */
	rig_wait_ms(rig, 600001);
	refresh_nonce(&g);
	assert_int_equal(guest_binds(&g, 0x4001, PEER), 200);
	assert_true(guest_says_on_channel(&g, 0x4001, "back"));
}

static void channels_have_a_bound(void **state)
{
	struct rig *rig = *state;
	char peer[32];
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	for (unsigned i = 0; i < 8; i++) {
		snprintf(peer, sizeof(peer), "198.51.100.1:%u", 1000 + i);
		assert_int_equal(guest_binds(&g, (uint16_t)(0x4000 + i), peer), 200);
	}
	assert_int_equal(guest_binds(&g, 0x4100, "198.51.100.2:1"), 508);
	assert_false(arrives(&g, "198.51.100.2:1", "no permission came with it"));
	assert_int_equal(ALLOC(&g)->n_permissions, 1);
	assert_int_equal(guest_binds(&g, 0x4000, "198.51.100.1:1000"), 200);
	assert_int_equal(turn_server_stats_all(rig->s).n_channels, 8);
}

/* Checklist rows 1, 2 and 4: every spelling, every verb. */
static void rows1_2_4_inside_addresses_are_denied(void **state)
{
	static const char *const ip4[] = { "0.0.0.0:9",	     "127.0.0.1:9",	  "127.9.9.9:9",
					   "10.0.0.1:9",     "172.16.0.1:9",	  "192.168.1.1:9",
					   "100.64.0.1:9",   "169.254.169.254:9", "224.0.0.1:9",
					   "203.0.113.1:22", "255.255.255.255:9", "240.0.0.1:9" };
	static const char *const ip6[] = {
		"[::]:9",
		"[::1]:9",
		"[::127.0.0.1]:9",
		"[2002:7f00:1::]:9",
		"[64:ff9b::7f00:1]:9",
		"[64:ff9b::a00:1]:9",
		"[fe80::1]:9",
		"[fc00::1]:9",
		"[ff02::1]:9",
		"[2002:a00:1::1]:9",
		"[::10.0.0.1]:9",
		"[2001:4860::1]:22",
	};
	struct rig *rig = *state;
	struct guest g;
	size_t before;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	guest_starts_allocate(&g);
	guest_byte(&g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4);
	assert_int_equal(guest_asks(&g), 200);
	for (unsigned i = 0; i < 24; i++) {
		const char *peer = i < 12 ? ip4[i] : ip6[i - 12];
		bool own = strstr(peer, ":22") != NULL;
		unsigned code = guest_permits(&g, peer);

		/* Own addresses have ports that are allowed: asked again for each packet. */
		if (code != (own ? 200u : 403u))
			fail_msg("%s: CreatePermission %u", peer, code);
		code = guest_binds(&g, 0x4000, peer);
		if (code != 403)
			fail_msg("%s: ChannelBind %u", peer, code);
		before = rig->n_sent;
		if (guest_says(&g, peer, "x") || rig->n_sent > before)
			fail_msg("%s: Send", peer);
	}
	/* Mapped ones are IPv4: written as IPv6 on the wire, judged as what they are. */
	guest_start(&g, STUN_METHOD_CREATE_PERMISSION);
	{
		uint8_t raw[20] = { 0, 2, 0x21 ^ 0, 0x12 ^ 9 };
		static const uint8_t ip[16] = { [10] = 0xff, 0xff, 127, 0, 0, 1 };

		for (unsigned i = 0; i < 16; i++)
			raw[4 + i] = ip[i] ^ g.out[4 + i];
		stun_build_attr(&g.b, STUN_ATTR_XOR_PEER_ADDRESS, raw, sizeof(raw));
	}
	assert_int_equal(guest_asks(&g), 403);
	assert_true(trace_count(rig->trace, "turn.peer.denied") > 40);
}

static void two_clients_of_this_server_reach_each_other(void **state)
{
	struct rig *rig = *state;
	char at_a[ADDR_STR_BYTES], at_b[ADDR_STR_BYTES];
	struct addr relay_a, relay_b;
	struct guest a, b;

	/* Behind static NAT, and they only ever hear of the public address. */
	rig->conf.relay_ip4 = rig_addr("10.9.9.9");
	rig->conf.public_ip4 = rig_addr("203.0.113.1");
	rig->own[2] = rig->conf.relay_ip4;
	rig->policy.n_own = 3;
	assert_int_equal(rig_configure(rig), 0);
	guest_enters(&a, rig, "alice", "192.0.2.7:5000");
	guest_enters(&b, rig, "bob", "192.0.2.8:5000");
	relay_a = guest_addr(&a, STUN_ATTR_XOR_RELAYED_ADDRESS);
	relay_b = guest_addr(&b, STUN_ATTR_XOR_RELAYED_ADDRESS);
	assert_true(addr_ip_eq(&relay_a, &rig->conf.public_ip4));
	addr_str(&relay_a, at_a);
	addr_str(&relay_b, at_b);
	assert_int_equal(guest_binds(&a, 0x4000, at_b), 200);
	assert_int_equal(guest_permits(&b, at_a), 200);
	assert_true(guest_says_on_channel(&a, 0x4000, "hello"));
	assert_true(addr_eq(&rig_last(rig)->to, &guest_relay(&b)->local));
	assert_true(addr_eq(&rig_last(rig)->from, &guest_relay(&a)->local));
	assert_true(arrives(&b, addr_str(&guest_relay(&a)->local, (char[ADDR_STR_BYTES]){ 0 }),
			    "hello"));
	assert_true(client_got_data(rig, at_a, "hello"));
	assert_true(guest_says(&b, at_a, "back"));
	assert_true(addr_eq(&rig_last(rig)->to, &guest_relay(&a)->local));
	assert_true(arrives(&a, addr_str(&guest_relay(&b)->local, (char[ADDR_STR_BYTES]){ 0 }),
			    "back"));
	assert_true(client_got_channel(rig, 0x4000, "back"));
	/* The same address, another port: not a relay's. */
	assert_false(guest_says(&b, "203.0.113.1:22", "ssh"));
	assert_false(guest_says(&b, "10.9.9.9:22", "ssh"));
}

/* Checklist row 5. */
static void row5_send_with_two_peers(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	for (unsigned i = 0; i < 2; i++) {
		guest_starts_send(&g);
		guest_peer(&g, i ? OTHER : PEER);
		guest_peer(&g, i ? PEER : OTHER);
		stun_build_slice(&g.b, STUN_ATTR_DATA, SLICE("x"));
		assert_int_equal(guest_ends_send(&g), i == 0);
	}
	assert_true(peer_got(rig, PEER, "x"));
}

/* Checklist row 6. */
static void row6_attributes_behind_the_integrity(void **state)
{
	static const uint8_t lifetime[] = { 0, STUN_ATTR_LIFETIME, 0, 4, 0, 0, 0, 0 };
	struct rig *rig = *state;
	struct guest g;
	struct addr denied = rig_addr("10.0.0.1:9");
	struct stun_build b;
	uint8_t scratch[64];

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	/* Refresh, LIFETIME 0 appended: it stays. */
	guest_start(&g, STUN_METHOD_REFRESH);
	guest_names(&g);
	guest_seal(&g);
	memcpy(g.out + g.b.n, lifetime, sizeof(lifetime));
	g.b.n += sizeof(lifetime);
	g.out[3] = (uint8_t)(g.out[3] + sizeof(lifetime));
	assert_int_equal(guest_asks_plain(&g), 200);
	assert_int_equal(guest_u32(&g, STUN_ATTR_LIFETIME), 600);
	assert_int_equal(rig->n_relays, 1);
	/* CreatePermission with a denied peer appended: not seen, no permission for it. */
	guest_start(&g, STUN_METHOD_CREATE_PERMISSION);
	guest_peer(&g, PEER);
	guest_names(&g);
	guest_seal(&g);
	stun_build_start(&b, scratch, sizeof(scratch), STUN_CLASS_REQUEST,
			 STUN_METHOD_CREATE_PERMISSION, g.tid);
	stun_build_xor_addr(&b, STUN_ATTR_XOR_PEER_ADDRESS, &denied);
	memcpy(g.out + g.b.n, scratch + STUN_HEADER_BYTES, 12);
	g.b.n += 12;
	g.out[3] = (uint8_t)(g.out[3] + 12);
	assert_int_equal(guest_asks_plain(&g), 200);
	assert_int_equal(ALLOC(&g)->n_permissions, 1);
	assert_true(arrives(&g, PEER, "x"));
}

static void send_indications_that_are_dropped(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	guest_starts_send(&g); /* no data */
	guest_peer(&g, PEER);
	assert_false(guest_ends_send(&g));
	guest_starts_send(&g); /* no peer */
	stun_build_slice(&g.b, STUN_ATTR_DATA, SLICE("x"));
	assert_false(guest_ends_send(&g));
	guest_starts_send(&g);
	guest_peer(&g, PEER);
	stun_build_slice(&g.b, STUN_ATTR_DATA, SLICE("x"));
	guest_byte(&g, 0x7777, 0, 4); /* must be understood */
	assert_false(guest_ends_send(&g));
	assert_false(guest_says(&g, "198.51.100.1:0", "x"));
	assert_false(guest_says(&g, "[2001:4860::9]:9", "no relay of that family"));
	guest_starts_send(&g);
	guest_peer(&g, PEER);
	stun_build_slice(&g.b, STUN_ATTR_DATA, SLICE("x"));
	guest_byte(&g, STUN_ATTR_DONT_FRAGMENT, 0, 0);
	assert_true(guest_ends_send(&g));
	assert_true(rig_last(rig)->dont_fragment);
	assert_int_equal(turn_server_stats(rig->s).n_bad, 4);
}

static void icmp_errors_are_told(void **state)
{
	struct rig *rig = *state;
	struct addr peer = rig_addr(PEER), other = rig_addr(OTHER);
	struct stun_attr a;
	struct stun_msg m;
	struct guest g;
	size_t before;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	turn_server_peer_icmp(rig->s, guest_relay(&g), &peer, 3, 4, 1400);
	assert_int_equal(stun_decode(rig_last(rig)->p, rig_last(rig)->n, &m), 0);
	assert_int_equal(m.method, STUN_METHOD_DATA);
	assert_true(stun_attr_find(&m, STUN_ATTR_ICMP, &a));
	assert_int_equal(a.n, 8);
	assert_int_equal(a.p[6] << 8 | a.p[7], 1400);
	assert_false(stun_attr_find(&m, STUN_ATTR_DATA, &a));
	before = rig->n_sent;
	turn_server_peer_icmp(rig->s, guest_relay(&g), &other, 3, 3, 0); /* no permission */
	turn_server_peer_icmp(rig->s, guest_relay(&g), &peer, 5, 0, 0);	 /* a redirect */
	assert_int_equal(rig->n_sent, before);
	turn_server_peer_icmp(rig->s, guest_relay(&g), &peer, 3, 3, 0);
	assert_int_equal(rig->n_sent, before + 1);
}

static void bandwidth_is_capped_for_each_user(void **state)
{
	struct rig *rig = *state;
	struct guest a, b, bob;
	char kilobyte[1001];
	unsigned n = 0;

	memset(kilobyte, 'x', 1000);
	kilobyte[1000] = '\0';
	rig->conf.user_bandwidth = 10000;
	assert_int_equal(rig_configure(rig), 0);
	guest_enters(&a, rig, "alice", "192.0.2.7:5000");
	guest_enters(&b, rig, "alice", "192.0.2.7:5001");
	guest_enters(&bob, rig, "bob", "192.0.2.7:5002");
	assert_int_equal(guest_permits(&a, PEER_IP), 200);
	assert_int_equal(guest_permits(&b, PEER_IP), 200);
	assert_int_equal(guest_permits(&bob, PEER_IP), 200);
	for (unsigned i = 0; i < 20; i++)
		n += i % 2 ? guest_says(&a, PEER, kilobyte) : arrives(&b, PEER, kilobyte);
	assert_int_equal(n, 10);
	assert_true(guest_says(&bob, PEER, kilobyte));
	assert_int_equal(turn_server_stats(rig->s).n_over_bandwidth, 10);
	rig_wait_ms(rig, 200);
	assert_true(guest_says(&a, PEER, kilobyte));
	assert_true(arrives(&b, PEER, kilobyte));
	assert_false(guest_says(&a, PEER, kilobyte));
}

static void a_full_stream_loses_data_only(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_TCP);
	assert_int_equal(guest_allocates(&g), 200);
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	rig->stream_is_full = true;
	assert_false(arrives(&g, PEER, "lost"));
	assert_int_equal(ALLOC(&g)->conn.n_dropped, 1);
	assert_int_equal(ALLOC(&g)->conn.tx_packets, 0);
	assert_int_equal(guest_refreshes(&g, 600), 200);
	rig->stream_is_full = false;
	assert_true(arrives(&g, PEER, "there"));
	assert_int_equal(ALLOC(&g)->conn.tx_bytes, 5);
	turn_server_client_gone(rig->s, &g.c, "closed by the client");
	assert_null(g.c.alloc);
	assert_int_equal(rig->n_over, 0);
}

static void ip6_relays(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "[2001:4860::99]:5000", TURN_UDP);
	guest_hello(&g);
	guest_starts_allocate(&g);
	guest_byte(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2, 4);
	assert_int_equal(guest_asks(&g), 200);
	assert_int_equal(guest_permits(&g, "[2001:db8:1::9]:9"), 200);
	assert_true(guest_says(&g, "[2001:db8:1::9]:9", "hello"));
	assert_true(arrives(&g, "[2001:db8:1::9]:77", "answer"));
	assert_true(client_got_data(rig, "[2001:db8:1::9]:77", "answer"));
	assert_int_equal(guest_binds(&g, 0x4000, "[2001:db8:1::9]:9"), 200);
	assert_true(arrives(&g, "[2001:db8:1::9]:9", "answer"));
	assert_true(client_got_channel(rig, 0x4000, "answer"));
}

/* Work for one request is bounded too: 5,000 peers fit into a frame of a stream. */
static void one_request_names_a_few_peers(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	for (unsigned n = 8; n <= 9; n++) {
		guest_start(&g, STUN_METHOD_CREATE_PERMISSION);
		for (unsigned i = 0; i < n; i++)
			guest_peer(&g, PEER);
		assert_int_equal(guest_asks(&g), n == 8 ? 200 : 508);
		assert_int_equal(ALLOC(&g)->n_permissions, 1);
	}
}

static void packets_from_port_0_are_dropped(void **state)
{
	struct rig *rig = *state;
	struct guest g;
	size_t before;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_permits(&g, "198.51.100.9:0"), 200);
	before = rig->n_sent;
	rig_peer_sends(rig, guest_relay(&g), "198.51.100.9:0", "x");
	assert_int_equal(rig->n_sent, before);
	rig_peer_sends(rig, guest_relay(&g), "198.51.100.9:1", "x");
	assert_int_equal(rig->n_sent, before + 1);
}

/* The longest packet that a relay takes, with a header before it and padding behind. */
static void the_longest_packets_fit(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_permits(&g, PEER), 200);
	for (size_t n = UDP_PACKET_BYTES - 3; n <= UDP_PACKET_BYTES; n++) {
		struct udp_packet pkt = { .n = n };
		struct stun_attr a;
		struct stun_msg m;

		pkt.p = rig->room + UDP_HEADROOM + RIG_BYTES - n;
		memset(pkt.p, 'x', n);
		pkt.from = rig_addr(PEER);
		turn_server_peer_input(rig->s, guest_relay(&g), &pkt);
		assert_int_equal(stun_decode(rig_last(rig)->p, rig_last(rig)->n, &m), 0);
		assert_true(stun_attr_find(&m, STUN_ATTR_DATA, &a));
		assert_int_equal(a.n, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_permission_opens_both_ways),
		TEST(several_permissions_are_all_or_none),
		TEST(permissions_have_a_bound),
		TEST(one_request_names_a_few_peers),
		TEST(packets_from_port_0_are_dropped),
		TEST(the_longest_packets_fit),
		TEST(a_channel_carries_both_ways),
		TEST(nothing_is_allocated_for_data),
		TEST(channel_numbers_and_conflicts),
		TEST(older_clients_have_more_channels),
		TEST(a_channel_rests_after_its_time),
		TEST(channels_have_a_bound),
		TEST(rows1_2_4_inside_addresses_are_denied),
		TEST(two_clients_of_this_server_reach_each_other),
		TEST(row5_send_with_two_peers),
		TEST(row6_attributes_behind_the_integrity),
		TEST(send_indications_that_are_dropped),
		TEST(icmp_errors_are_told),
		TEST(bandwidth_is_capped_for_each_user),
		TEST(a_full_stream_loses_data_only),
		TEST(ip6_relays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
