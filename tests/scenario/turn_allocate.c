/* Allocate and Refresh (RFC 8656 sections 7 and 8) on a turned clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/turn_rig.h"
#include "turn/tcp_relay.h"

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

static const char *nth_addr(unsigned i)
{
	static char text[32];

	snprintf(text, sizeof(text), "192.0.2.%u:%u", i % 200 + 1, 5000 + i);
	return text;
}

static void an_allocation_comes_and_expires(void **state)
{
	struct rig *rig = *state;
	struct guest g;
	struct addr relayed, mapped;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	relayed = guest_addr(&g, STUN_ATTR_XOR_RELAYED_ADDRESS);
	mapped = guest_addr(&g, STUN_ATTR_XOR_MAPPED_ADDRESS);
	assert_true(addr_ip_eq(&relayed, &rig->conf.relay_ip4));
	assert_in_range(relayed.port, 24000, 24099);
	assert_true(addr_eq(&mapped, &g.c.remote));
	assert_int_equal(guest_u32(&g, STUN_ATTR_LIFETIME), 600);
	assert_int_equal(conn_count(rig->conns, CONN_ALLOCATION), 1);
	rig_wait_ms(rig, 599999);
	assert_int_equal(rig->n_relays, 1);
	rig_wait_ms(rig, 1);
	assert_int_equal(rig->n_relays, 0);
	assert_int_equal(conn_count(rig->conns, CONN_ALLOCATION), 0);
	assert_int_equal(turn_server_stats(rig->s).n_users, 0);
}

/* min(max(asked, default), max), RFC 8656 7.2. */
static void lifetimes_are_bounded(void **state)
{
	static const uint32_t asked[] = { 0, 1, 600, 601, 3600, 3601, UINT32_MAX };
	static const uint32_t granted[] = { 600, 600, 600, 601, 3600, 3600, 3600 };
	struct rig *rig = *state;
	struct guest g;

	for (unsigned i = 0; i < 7; i++) {
		guest_init(&g, rig, "alice", nth_addr(i), TURN_UDP);
		guest_hello(&g);
		guest_starts_allocate(&g);
		stun_build_u32(&g.b, STUN_ATTR_LIFETIME, asked[i]);
		assert_int_equal(guest_asks(&g), 200);
		assert_int_equal(guest_u32(&g, STUN_ATTR_LIFETIME), granted[i]);
		if (asked[i] == 0)
			continue;
		assert_int_equal(guest_refreshes(&g, asked[i]), 200);
		assert_int_equal(guest_u32(&g, STUN_ATTR_LIFETIME), granted[i]);
	}
}

static void a_retransmission_gets_the_same_answer(void **state)
{
	struct rig *rig = *state;
	struct rig_sent first;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	first = g.got;
	rig_wait_ms(rig, 500);
	assert_int_equal(guest_asks_plain(&g), 200); /* the very bytes again */
	assert_int_equal(g.got.n, first.n);
	assert_memory_equal(g.got.p, first.p, first.n);
	assert_int_equal(rig->n_relays, 1);
	assert_int_equal(guest_allocates(&g), 437);
	assert_true(rig_traced(rig, "turn.mismatch"));
}

static unsigned ask_allocate(struct guest *g, uint16_t type, uint8_t v, size_t n)
{
	guest_starts_allocate(g);
	guest_byte(g, type, v, n);
	return guest_asks(g);
}

static unsigned ask_two(struct guest *g, uint16_t type, uint8_t v, size_t n, uint16_t type2,
			uint8_t v2, size_t n2)
{
	guest_starts_allocate(g);
	guest_byte(g, type, v, n);
	if (type2 == STUN_ATTR_RESERVATION_TOKEN)
		stun_build_u64(&g->b, type2, 1);
	else
		guest_byte(g, type2, v2, n2);
	return guest_asks(g);
}

static void what_makes_no_sense_is_refused(void **state)
{
	enum {
		FAMILY = STUN_ATTR_REQUESTED_ADDRESS_FAMILY,
		MORE = STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY,
		EVEN = STUN_ATTR_EVEN_PORT,
		TOKEN = STUN_ATTR_RESERVATION_TOKEN,
	};
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	guest_start(&g, STUN_METHOD_ALLOCATE); /* no REQUESTED-TRANSPORT */
	assert_int_equal(guest_asks(&g), 400);
	guest_start(&g, STUN_METHOD_ALLOCATE);
	guest_byte(&g, STUN_ATTR_REQUESTED_TRANSPORT, 17, 2);
	assert_int_equal(guest_asks(&g), 400);
	guest_start(&g, STUN_METHOD_ALLOCATE);
	guest_byte(&g, STUN_ATTR_REQUESTED_TRANSPORT, 132, 4);
	assert_int_equal(guest_asks(&g), 442);
	guest_start(&g, STUN_METHOD_ALLOCATE);
	guest_byte(&g, STUN_ATTR_REQUESTED_TRANSPORT, 6, 4); /* TCP relays are off */
	assert_int_equal(guest_asks(&g), 442);
	assert_int_equal(ask_allocate(&g, EVEN, 0x80, 2), 400);
	assert_int_equal(ask_allocate(&g, TOKEN, 1, 4), 400);
	assert_int_equal(ask_allocate(&g, FAMILY, 3, 4), 440);
	assert_int_equal(ask_allocate(&g, FAMILY, 1, 1), 400);
	assert_int_equal(ask_allocate(&g, MORE, 1, 4), 400);
	assert_int_equal(ask_two(&g, FAMILY, 1, 4, MORE, 2, 4), 400);
	assert_int_equal(ask_two(&g, EVEN, 0x80, 1, MORE, 2, 4), 400);
	assert_int_equal(ask_two(&g, EVEN, 0, 1, TOKEN, 0, 0), 400);
	assert_int_equal(ask_two(&g, FAMILY, 1, 4, TOKEN, 0, 0), 400);
	assert_int_equal(ask_two(&g, MORE, 2, 4, TOKEN, 0, 0), 400);
	assert_int_equal(ask_allocate(&g, STUN_ATTR_LIFETIME, 0, 3), 400);
	guest_starts_allocate(&g);
	stun_build_u64(&g.b, TOKEN, 12345);
	assert_int_equal(guest_asks(&g), 508);
	assert_int_equal(rig->n_relays, 0);
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 0);
}

static void unknown_attributes_are_listed(void **state)
{
	static const uint8_t list[] = { 0x77, 0x77, 0x00, 0x02 };
	struct stun_attr a;
	struct guest g;

	guest_init(&g, *state, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	guest_starts_allocate(&g);
	guest_byte(&g, 0x7777, 1, 4);
	guest_byte(&g, 0x0002, 1, 4);
	guest_byte(&g, 0x9999, 1, 4); /* optional */
	assert_int_equal(guest_asks(&g), 420);
	assert_true(stun_attr_find(&g.in, STUN_ATTR_UNKNOWN_ATTRIBUTES, &a));
	assert_int_equal(a.n, sizeof(list));
	assert_memory_equal(a.p, list, sizeof(list));
}

/* Third-party tokens (RFC 7635), NAT behaviour discovery (RFC 5780) and mobility (RFC 8016) are not
 * there: 420, or no word of it, as each says for such a server. */
static void what_extensions_ask_for(void **state)
{
	enum { CHANGE_REQUEST = 3, ACCESS_TOKEN = 0x1b, OTHER = 0x802c, MOBILITY_TICKET = 0x8030 };
	struct rig *rig = *state;
	struct stun_attr a;
	struct guest g;

	rig->conf.binding = TURN_BINDING_YES;
	assert_int_equal(rig_configure(rig), 0);
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_start(&g, STUN_METHOD_BINDING);
	assert_int_equal(guest_asks_plain(&g), 200);
	assert_false(stun_attr_find(&g.in, OTHER, &a));
	guest_start(&g, STUN_METHOD_BINDING);
	guest_byte(&g, CHANGE_REQUEST, 6, 4);
	assert_int_equal(guest_asks_plain(&g), 420);
	guest_hello(&g);
	assert_int_equal(ask_allocate(&g, ACCESS_TOKEN, 1, 4), 420);
	assert_int_equal(rig->n_relays, 0);
	assert_int_equal(ask_allocate(&g, MOBILITY_TICKET, 0, 0), 200);
	assert_false(stun_attr_find(&g.in, MOBILITY_TICKET, &a));
}

static void families(void **state)
{
	struct rig *rig = *state;
	struct addr relayed;
	struct guest g;

	guest_init(&g, rig, "alice", "[2001:4860::99]:5000", TURN_UDP);
	guest_hello(&g);
	assert_int_equal(ask_allocate(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2, 4), 200);
	relayed = guest_addr(&g, STUN_ATTR_XOR_RELAYED_ADDRESS);
	assert_true(addr_ip_eq(&relayed, &rig->conf.relay_ip6));
	assert_int_equal(guest_permits(&g, "198.51.100.1"), 443);
	assert_int_equal(guest_permits(&g, "[2001:4860::7]:1"), 200);
	rig->conf.relay_ip6 = (struct addr){ 0 };
	assert_int_equal(rig_configure(rig), 0);
	assert_int_equal(rig->n_relays, 0); /* its address is not ours any more */
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	assert_int_equal(ask_allocate(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2, 4), 440);
}

static unsigned n_relayed(const struct guest *g)
{
	struct stun_attr a = { .p = NULL };
	unsigned n = 0;

	while (stun_attr_next(&g->in, &a))
		n += a.type == STUN_ATTR_XOR_RELAYED_ADDRESS;
	return n;
}

static void two_families_at_once(void **state)
{
	struct rig *rig = *state;
	struct stun_attr a;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	assert_int_equal(ask_allocate(&g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4), 200);
	assert_int_equal(n_relayed(&g), 2);
	assert_int_equal(rig->n_relays, 2);
	assert_int_equal(guest_permits(&g, "198.51.100.1"), 200);
	assert_int_equal(guest_permits(&g, "[2001:4860::7]:1"), 200);
	/* One family is refreshed alone, the other one ends. */
	rig_wait_ms(rig, 300000);
	guest_start(&g, STUN_METHOD_REFRESH);
	guest_byte(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2, 4);
	assert_int_equal(guest_asks(&g), 200);
	rig_wait_ms(rig, 300001);
	assert_int_equal(rig->n_relays, 1);
	guest_start(&g, STUN_METHOD_REFRESH);
	guest_byte(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 1, 4);
	assert_int_equal(guest_asks(&g), 438); /* the nonce is old by now */
	guest_start(&g, STUN_METHOD_REFRESH);
	guest_byte(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 1, 4);
	assert_int_equal(guest_asks(&g), 443);
	assert_int_equal(guest_permits(&g, "198.51.100.1"), 443);
	guest_start(&g, STUN_METHOD_REFRESH);
	guest_byte(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2, 4);
	stun_build_u32(&g.b, STUN_ATTR_LIFETIME, 0);
	assert_int_equal(guest_asks(&g), 200);
	assert_int_equal(rig->n_relays, 0);
	/* One half that fails is told. */
	rig->broken = ADDR_IP6;
	assert_int_equal(ask_allocate(&g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4), 200);
	assert_int_equal(n_relayed(&g), 1);
	assert_true(stun_attr_find(&g.in, STUN_ATTR_ADDRESS_ERROR_CODE, &a));
	assert_int_equal(a.p[0], STUN_FAMILY_IP6);
	assert_int_equal(a.p[2] * 100 + a.p[3], 508);
	assert_int_equal(guest_refreshes(&g, 0), 200);
	rig->open_error = -ENOBUFS;
	assert_int_equal(ask_allocate(&g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4), 508);
	rig->open_error = 0;
	rig->broken = 0;
	rig->conf.relay_ip4 = (struct addr){ 0 };
	assert_int_equal(rig_configure(rig), 0);
	assert_int_equal(ask_allocate(&g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4), 200);
	assert_true(stun_attr_find(&g.in, STUN_ATTR_ADDRESS_ERROR_CODE, &a));
	assert_int_equal(a.p[0], STUN_FAMILY_IP4);
	assert_int_equal(a.p[2] * 100 + a.p[3], 440);
	assert_int_equal(guest_allocates(&g), 437);
}

/* One family is given back, the other one goes on. */
static void one_of_two_families_is_given_back(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	assert_int_equal(ask_allocate(&g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4), 200);
	assert_int_equal(guest_permits(&g, "198.51.100.1"), 200);
	assert_int_equal(guest_binds(&g, 0x4000, "198.51.100.1:9"), 200);
	assert_int_equal(guest_permits(&g, "[2001:4860::7]:1"), 200);
	guest_start(&g, STUN_METHOD_REFRESH);
	guest_byte(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 1, 4);
	stun_build_u32(&g.b, STUN_ATTR_LIFETIME, 0);
	assert_int_equal(guest_asks(&g), 200);
	assert_int_equal(rig->n_relays, 1);
	assert_false(guest_says_on_channel(&g, 0x4000, "x"));
	assert_false(guest_says(&g, "198.51.100.1:9", "x"));
	assert_true(guest_says(&g, "[2001:4860::7]:1", "x"));
	assert_int_equal(guest_binds(&g, 0x4000, "198.51.100.1:9"), 443);
	guest_start(&g, STUN_METHOD_REFRESH);
	guest_byte(&g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2, 3); /* of a wrong length */
	assert_int_equal(guest_asks(&g), 400);
	assert_int_equal(guest_refreshes(&g, 0), 200);
	assert_int_equal(rig->n_relays, 0);
}

static void ports_in_use_elsewhere_are_passed_over(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	rig->n_in_use = 20;
	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 1);
	guest_init(&g, rig, "alice", "192.0.2.7:5001", TURN_UDP);
	guest_hello(&g);
	rig->n_in_use = 1000;
	assert_int_equal(guest_allocates(&g), 508);
	rig->n_in_use = 0;
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 1);
	assert_int_equal(guest_allocates(&g), 200);
}

static uint64_t even_pair(struct guest *g, unsigned code)
{
	struct stun_attr a;
	uint64_t token = 0;

	assert_int_equal(ask_allocate(g, STUN_ATTR_EVEN_PORT, 0x80, 1), code);
	if (code == 200) {
		assert_true(stun_attr_find(&g->in, STUN_ATTR_RESERVATION_TOKEN, &a));
		assert_true(stun_attr_u64(&a, &token));
		assert_int_equal(guest_addr(g, STUN_ATTR_XOR_RELAYED_ADDRESS).port % 2, 0);
	}
	return token;
}

static unsigned redeem(struct guest *g, uint64_t token)
{
	guest_starts_allocate(g);
	stun_build_u64(&g->b, STUN_ATTR_RESERVATION_TOKEN, token);
	return guest_asks(g);
}

static void a_reserved_port_comes_with_its_token(void **state)
{
	struct rig *rig = *state;
	struct guest a, b, bob;
	struct addr first, second;
	uint64_t token;

	guest_init(&a, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_init(&b, rig, "alice", "192.0.2.7:5001", TURN_UDP);
	guest_init(&bob, rig, "bob", "192.0.2.7:5002", TURN_UDP);
	guest_hello(&a);
	guest_hello(&b);
	guest_hello(&bob);
	token = even_pair(&a, 200);
	first = guest_addr(&a, STUN_ATTR_XOR_RELAYED_ADDRESS);
	assert_int_equal(redeem(&bob, token), 508); /* somebody else's */
	assert_int_equal(redeem(&b, token), 200);
	second = guest_addr(&b, STUN_ATTR_XOR_RELAYED_ADDRESS);
	assert_int_equal(second.port, first.port + 1);
	assert_int_equal(redeem(&bob, token), 508);
	assert_int_equal(guest_refreshes(&a, 0), 200);
	assert_int_equal(guest_refreshes(&b, 0), 200);
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 0);
	/* Thirty seconds, then it is anybody's. */
	token = even_pair(&a, 200);
	rig_wait_ms(rig, 30000);
	assert_int_equal(redeem(&b, token), 508);
	assert_true(rig_traced(rig, "turn.reservation"));
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 1);
}

/* A reservation whose address is served no more gives its port and its place back. */
static void a_reservation_outlives_its_address(void **state)
{
	struct rig *rig = *state;
	struct guest a, b;
	uint64_t token;

	guest_init(&a, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_init(&b, rig, "alice", "192.0.2.7:5001", TURN_UDP);
	guest_hello(&a);
	guest_hello(&b);
	token = even_pair(&a, 200);
	rig->conf.relay_ip4 = (struct addr){ 0 };
	assert_int_equal(rig_configure(rig), 0);
	assert_int_equal(turn_server_stats(rig->s).n_users, 1);
	assert_int_equal(redeem(&b, token), 508);
	assert_int_equal(rig->n_relays, 0);
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 0);
	assert_int_equal(turn_server_stats(rig->s).n_users, 0);
}

/* The same when there is no memory for what claims it. */
static void claims_without_memory(void **state)
{
	struct rig *rig = *state;
	bool hit = true;
	struct guest a, b;
	unsigned n;

	guest_init(&a, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_init(&b, rig, "alice", "192.0.2.7:5001", TURN_UDP);
	guest_hello(&a);
	guest_hello(&b);
	for (n = 1; hit; n++) {
		uint64_t token = even_pair(&a, 200);

		alloc_fail_at(n);
		redeem(&b, token);
		hit = alloc_fail_hit();
		alloc_fail_at(0);
		if (turn_alloc_find(rig->s, &b.c))
			assert_int_equal(guest_refreshes(&b, 0), 200);
		assert_int_equal(guest_refreshes(&a, 0), 200);
		assert_int_equal(turn_server_stats(rig->s).n_ports_used, 0);
		assert_int_equal(turn_server_stats(rig->s).n_users, 0);
	}
	assert_true(n > 3);
}

/* Checklist row 10. */
static void row10_even_port_loops_leak_nothing(void **state)
{
	struct rig *rig = *state;
	struct guest g;
	unsigned n = 0, code;

	rig->conf.user_quota = 10;
	assert_int_equal(rig_configure(rig), 0);
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	/* Asked and given back: ten times the number of ports, with R=0 and R=1. */
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(ask_allocate(&g, STUN_ATTR_EVEN_PORT, 0, 1), 200);
		assert_int_equal(turn_server_stats(rig->s).n_ports_used, 1);
		assert_int_equal(guest_refreshes(&g, 0), 200);
	}
	for (unsigned i = 0; i < 9; i++) {
		even_pair(&g, 200);
		assert_int_equal(guest_refreshes(&g, 0), 200);
	}
	/* Nine reservations and this one; they count. */
	assert_int_equal(guest_allocates(&g), 200);
	assert_int_equal(guest_refreshes(&g, 0), 200);
	even_pair(&g, 486);
	assert_true(rig_traced(rig, "turn.quota"));
	assert_int_equal(rig->n_relays, 0);
	rig_wait_ms(rig, 30000);
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 0);
	assert_int_equal(turn_server_stats(rig->s).n_users, 0);
	/* A quarter of the ports by reservations, then no more of them; later a legal Allocate
	 * passes. */
	rig->conf.user_quota = 0;
	assert_int_equal(rig_configure(rig), 0);
	do {
		guest_init(&g, rig, "alice", nth_addr(n++), TURN_UDP);
		guest_hello(&g);
		code = ask_allocate(&g, STUN_ATTR_EVEN_PORT, 0x80, 1);
	} while (code == 200 && n < 1000);
	assert_int_equal(code, 508);
	assert_int_equal(n, 26);
	rig_wait_ms(rig, 600000);
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 0);
	guest_enters(&g, rig, "bob", "192.0.2.9:5000");
}

static void quota_and_capacity(void **state)
{
	struct rig *rig = *state;
	struct guest g[5];

	rig->conf.user_quota = 2;
	rig->conf.max_allocations = 3;
	assert_int_equal(rig_configure(rig), 0);
	guest_enters(&g[0], rig, "alice", "192.0.2.7:5000");
	guest_enters(&g[1], rig, "alice", "192.0.2.7:5001");
	guest_init(&g[2], rig, "alice", "192.0.2.7:5002", TURN_UDP);
	assert_int_equal(guest_allocates(&g[2]), 486);
	/* Short-lived names of one person are one user. */
	guest_init(&g[2], rig, "", "192.0.2.7:5002", TURN_UDP);
	guest_mint(&g[2], rig->wall_s + 100, "alice");
	assert_int_equal(guest_allocates(&g[2]), 486);
	guest_enters(&g[3], rig, "bob", "192.0.2.7:5003");
	guest_init(&g[4], rig, "bob", "192.0.2.7:5004", TURN_UDP);
	assert_int_equal(guest_allocates(&g[4]), 508);
	assert_true(rig_traced(rig, "turn.capacity"));
	assert_int_equal(guest_refreshes(&g[0], 0), 200);
	assert_int_equal(guest_allocates(&g[4]), 200);
}

static void a_full_server_names_another(void **state)
{
	struct rig *rig = *state;
	struct stun_attr attr;
	struct addr to;
	struct guest g;

	rig->conf.alternates[0] = rig_addr("[2001:4860::5]:3478");
	rig->conf.alternates[1] = rig_addr("203.0.113.5:3478");
	rig->conf.n_alternates = 2;
	assert_int_equal(rig_configure(rig), 0);
	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	turn_server_drain(rig->s);
	assert_int_equal(guest_refreshes(&g, 600), 200);
	guest_init(&g, rig, "alice", "192.0.2.7:5001", TURN_UDP);
	assert_int_equal(guest_allocates(&g), 300);
	assert_true(stun_attr_find(&g.in, STUN_ATTR_ALTERNATE_SERVER, &attr));
	assert_true(stun_attr_addr(&attr, &to));
	assert_true(addr_eq(&to, &rig->conf.alternates[1]));
	rig->conf.n_alternates = 1; /* only of the other family */
	assert_int_equal(rig_configure(rig), 0);
	assert_int_equal(guest_allocates(&g), 508);
}

static void refresh_with_zero_ends_it(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_refreshes(&g, 0), 200);
	assert_int_equal(guest_u32(&g, STUN_ATTR_LIFETIME), 0);
	assert_int_equal(rig->n_relays, 0);
	assert_int_equal(guest_refreshes(&g, 0), 437);
	assert_int_equal(guest_permits(&g, "198.51.100.1"), 437);
	assert_int_equal(guest_binds(&g, 0x4000, "198.51.100.1:9"), 437);
}

static void another_user_may_not(void **state)
{
	struct rig *rig = *state;
	struct guest g, bob;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	guest_init(&bob, rig, "bob", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&bob);
	assert_int_equal(guest_refreshes(&bob, 0), 441);
	assert_true(rig_traced(rig, "turn.wrong-user"));
	assert_int_equal(guest_permits(&bob, "198.51.100.1"), 441);
	assert_int_equal(guest_allocates(&bob), 437);
	assert_int_equal(rig->n_relays, 1);
}

/* The key of the allocation is good as long as the allocation. */
static void an_expired_credential_refreshes_what_it_made(void **state)
{
	struct rig *rig = *state;
	struct guest g, late;

	guest_init(&g, rig, "", "192.0.2.7:5000", TURN_UDP);
	guest_mint(&g, rig->wall_s + 100, "carol");
	g.sha256 = true;
	assert_int_equal(guest_allocates(&g), 200);
	rig_wait_ms(rig, 200000);
	assert_int_equal(guest_refreshes(&g, 600), 200);
	turn_credentials_del_secret(rig->credentials, 0, SLICE("x"));
	assert_int_equal(guest_permits(&g, "198.51.100.1"), 200);
	guest_init(&late, rig, "", "192.0.2.7:5001", TURN_UDP);
	guest_mint(&late, rig->wall_s - 100, "carol");
	assert_int_equal(guest_allocates(&late), 401);
	assert_true(rig_traced(rig, "turn.auth.failed"));
}

static struct stream *no_connect(void *arg, struct turn_relay *r, const struct addr *to,
				 const struct stream_handler *h, void *harg, int *error)
{
	*error = -ECONNREFUSED;
	return NULL;
}

static unsigned ask_tcp(struct guest *g, uint16_t type, uint8_t v, size_t n)
{
	guest_start(g, STUN_METHOD_ALLOCATE);
	guest_byte(g, STUN_ATTR_REQUESTED_TRANSPORT, STUN_TRANSPORT_TCP, 4);
	if (type)
		guest_byte(g, type, v, n);
	return guest_asks(g);
}

/* RFC 6062 section 5.1; the rest is in turn_tcp_relay. */
static void tcp_relays_of_streams_only(void **state)
{
	static const struct turn_tcp_ops ops = { .connect = no_connect };
	struct rig *rig = *state;
	struct stun_attr a;
	struct guest g;

	rig->conf.tcp_relays = true;
	assert_int_equal(rig_configure(rig), 0);
	assert_int_equal(turn_server_set_tcp(rig->s, &ops, rig), 0);
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	assert_int_equal(ask_tcp(&g, 0, 0, 0), 400);
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_TLS);
	guest_hello(&g);
	assert_int_equal(ask_tcp(&g, STUN_ATTR_DONT_FRAGMENT, 0, 0), 400);
	assert_int_equal(ask_tcp(&g, STUN_ATTR_EVEN_PORT, 0, 1), 400);
	assert_int_equal(ask_tcp(&g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4), 200);
	assert_true(stun_attr_find(&g.in, STUN_ATTR_ADDRESS_ERROR_CODE, &a));
	assert_int_equal(n_relayed(&g), 1);
	assert_int_equal(guest_permits(&g, "198.51.100.1"), 200);
	assert_int_equal(guest_binds(&g, 0x4000, "198.51.100.1:9"), 403);
	assert_false(guest_says(&g, "198.51.100.1:9", "x"));
	guest_start(&g, STUN_METHOD_CONNECT);
	guest_peer(&g, "198.51.100.1:9");
	assert_int_equal(guest_asks(&g), 447);
	guest_start(&g, STUN_METHOD_CONNECTION_BIND);
	stun_build_u32(&g.b, STUN_ATTR_CONNECTION_ID, 1);
	assert_int_equal(guest_asks(&g), 400);
	turn_server_client_gone(rig->s, &g.c, "gone");
	rig->conf.tcp_relays = false;
	assert_int_equal(rig_configure(rig), 0);
	guest_hello(&g);
	assert_int_equal(ask_tcp(&g, 0, 0, 0), 442);
}

static void every_failing_allocation_is_survived(void *arg)
{
	struct rig *rig = arg;
	struct guest g;
	unsigned code;

	rig->s = turn_server_new(&rig->timers, rig->conns, rig->trace, &rig_ops, rig);
	if (!rig->s)
		return;
	if (rig_configure(rig) == 0) {
		guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
		guest_hello(&g);
		code = ask_allocate(&g, STUN_ATTR_EVEN_PORT, 0x80, 1);
		assert_true(code == 200 || code == 508 || code == 401);
		if (code == 200) {
			code = guest_permits(&g, "198.51.100.1");
			assert_true(code == 200 || code == 508);
			code = guest_binds(&g, 0x4000, "198.51.100.2:9");
			assert_true(code == 200 || code == 508);
			assert_int_equal(guest_says_on_channel(&g, 0x4000, "x"), code == 200);
		}
	}
	rig_stop(rig);
	assert_int_equal(rig->timers.n, 0);
}

static void failing_allocations(void **state)
{
	struct rig *rig = *state;

	rig_stop(rig);
	assert_true(alloc_fail_sweep(every_failing_allocation_is_survived, rig) > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_allocation_comes_and_expires),
		TEST(lifetimes_are_bounded),
		TEST(a_retransmission_gets_the_same_answer),
		TEST(what_makes_no_sense_is_refused),
		TEST(unknown_attributes_are_listed),
		TEST(what_extensions_ask_for),
		TEST(families),
		TEST(two_families_at_once),
		TEST(one_of_two_families_is_given_back),
		TEST(ports_in_use_elsewhere_are_passed_over),
		TEST(a_reserved_port_comes_with_its_token),
		TEST(a_reservation_outlives_its_address),
		TEST(claims_without_memory),
		TEST(row10_even_port_loops_leak_nothing),
		TEST(quota_and_capacity),
		TEST(a_full_server_names_another),
		TEST(refresh_with_zero_ends_it),
		TEST(another_user_may_not),
		TEST(an_expired_credential_refreshes_what_it_made),
		TEST(tcp_relays_of_streams_only),
		TEST(failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
