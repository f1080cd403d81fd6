/* Peer addresses: every spelling of what is not to be reached (checklist, TURN rows 1 to 4). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "turn/peer_policy.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	if (!addr_parse_ip(slice_of(text), port, &a))
		fail_msg("cannot parse %s", text);
	return a;
}

/* A host behind static NAT with two interfaces; relays on the outer one. */
struct host {
	struct addr own[6], relays[3];
	struct addr_prefix allow_v[8], deny_v[8];
	struct conf_prefixes allow, deny;
	struct turn_peer_policy p;
};

static void add(struct conf_prefixes *to, const char *text)
{
	if (!addr_prefix_parse(slice_of(text), &to->v[to->n++]))
		fail_msg("cannot parse %s", text);
}

static struct host *host(void)
{
	struct host *h = calloc(1, sizeof(*h));

	h->own[0] = ip("127.0.0.1", 0);
	h->own[1] = ip("::1", 0);
	h->own[2] = h->relays[0] = ip("10.0.0.5", 0);
	h->own[3] = h->relays[1] = ip("203.0.113.5", 0); /* NAT */
	h->own[4] = h->relays[2] = ip("2001:db8::5", 0);
	h->own[5] = ip("192.168.7.5", 0); /* inside */
	h->allow.v = h->allow_v;
	h->deny.v = h->deny_v;
	h->p = (struct turn_peer_policy){ .allow = &h->allow,
					  .deny = &h->deny,
					  .own = h->own,
					  .n_own = 6,
					  .relays = h->relays,
					  .n_relays = 3,
					  .first_relay = 24000,
					  .last_relay = 29999 };
	return h;
}

static struct turn_peer_verdict check(const struct host *h, const char *text, uint16_t port)
{
	struct addr a = ip(text, port);
	struct turn_peer_verdict v;

	turn_peer_check(&h->p, &a, &v);
	assert_true(strlen(v.why) < sizeof(v.why));
	return v;
}

static void refused(const struct host *h, const char *text, uint16_t port, const char *by)
{
	struct turn_peer_verdict v = check(h, text, port);

	if (v.allowed || strcmp(v.decided_by, by) != 0 || !v.why[0])
		fail_msg("%s port %u: %s by %s (%s)", text, port, v.allowed ? "let in" : "refused",
			 v.decided_by, v.why);
}

static void let_in(const struct host *h, const char *text, uint16_t port, const char *by)
{
	struct turn_peer_verdict v = check(h, text, port);

	if (!v.allowed || strcmp(v.decided_by, by) != 0)
		fail_msg("%s port %u: %s by %s (%s)", text, port, v.allowed ? "let in" : "refused",
			 v.decided_by, v.why);
}

/* Rows 1, 2, 4: each target in every spelling there is, for any port and for some. */
static const char *const encodings[] = {
	"%u.%u.%u.%u",
	"::ffff:%u.%u.%u.%u",
	"::%u.%u.%u.%u",
	"::ffff:0:%u.%u.%u.%u",
	"64:ff9b::%u.%u.%u.%u",
	"64:ff9b:1::%u.%u.%u.%u",
	"64:ff9b:1:abcd:0:1:%u.%u.%u.%u",
	"2001:db8:77::5efe:%u.%u.%u.%u",
	"2001:db8:77::200:5efe:%u.%u.%u.%u",
	"fe80::5efe:%u.%u.%u.%u",
};
static const char *const hex_encodings[] = {
	"2002:%02x%02x:%02x%02x::",
	"2002:%02x%02x:%02x%02x:1::2",
	"::ffff:%02x%02x:%02x%02x",
	"64:ff9b::%02x%02x:%02x%02x",
};

static void spell_all(const struct host *h, const uint8_t b[4])
{
	static const uint16_t ports[] = { 0, 22, 443, 24000, 29999 };
	char text[96];

	for (size_t k = 0; k < N(ports); k++) {
		for (size_t i = 0; i < N(encodings); i++) {
			snprintf(text, sizeof(text), encodings[i], b[0], b[1], b[2], b[3]);
			if (check(h, text, ports[k]).allowed)
				fail_msg("%s port %u is let in", text, ports[k]);
		}
		for (size_t i = 0; i < N(hex_encodings); i++) {
			snprintf(text, sizeof(text), hex_encodings[i], b[0], b[1], b[2], b[3]);
			if (check(h, text, ports[k]).allowed)
				fail_msg("%s port %u is let in", text, ports[k]);
		}
		/* RFC 6052 2.2 for a /48, Teredo's server and turned client. */
		snprintf(text, sizeof(text), "64:ff9b:1:%02x%02x:%02x:%02x00::", b[0], b[1], b[2],
			 b[3]);
		assert_false(check(h, text, ports[k]).allowed);
		snprintf(text, sizeof(text), "2001:0:%02x%02x:%02x%02x::", b[0], b[1], b[2], b[3]);
		assert_false(check(h, text, ports[k]).allowed);
		snprintf(text, sizeof(text), "2001:0:808:808:0:f227:%02x%02x:%02x%02x", b[0] ^ 0xff,
			 b[1] ^ 0xff, b[2] ^ 0xff, b[3] ^ 0xff);
		assert_false(check(h, text, ports[k]).allowed);
	}
}

static void test_encodings(void **state)
{
	static const uint8_t targets[][4] = {
		{ 0, 0, 0, 0 },		{ 0, 1, 2, 3 },		{ 127, 0, 0, 1 },
		{ 127, 255, 0, 9 },	{ 10, 1, 2, 3 },	{ 172, 16, 0, 1 },
		{ 172, 31, 255, 1 },	{ 192, 168, 1, 1 },	{ 100, 64, 0, 1 },
		{ 169, 254, 169, 254 }, { 192, 0, 0, 8 },	{ 198, 18, 0, 1 },
		{ 224, 0, 0, 1 },	{ 239, 255, 255, 250 }, { 240, 0, 0, 1 },
		{ 255, 255, 255, 255 }, { 192, 168, 7, 5 }, /* own, not a relay's */
	};
	struct host *h = host();

	for (size_t i = 0; i < N(targets); i++)
		spell_all(h, targets[i]);
	/* A rule that opens everything opens neither this host nor what is no peer. */
	add(&h->allow, "0.0.0.0/0");
	add(&h->allow, "::/0");
	for (size_t i = 0; i < 4; i++)
		spell_all(h, targets[i < 2 ? 0 : i]);
	spell_all(h, targets[12]);
	spell_all(h, targets[15]);
	spell_all(h, targets[16]);
	free(h);
}

static void test_ip6(void **state)
{
	struct host *h = host();

	refused(h, "::", 0, "unspecified");
	refused(h, "::", 24000, "unspecified");
	refused(h, "::1", 0, "own address"); /* relays are not there */
	refused(h, "::2", 80, "reserved");
	refused(h, "fe80::1", 0, "link-local");
	refused(h, "febf::1", 0, "link-local");
	refused(h, "fc00::1", 0, "private");
	refused(h, "fdff::1", 0, "private");
	refused(h, "fec0::1", 0, "private");
	refused(h, "ff02::1", 0, "multicast");
	refused(h, "100::1", 0, "reserved");
	let_in(h, "2001:db8::1", 0, "global");
	let_in(h, "64:ff9b::8.8.8.8", 80, "global");
	let_in(h, "2002:808:808::1", 80, "global");
	let_in(h, "8.8.8.8", 53, "global");
	let_in(h, "::ffff:8.8.8.8", 53, "global");
	free(h);
	/* Mapped in its raw form, as if a codec had not brought it into its one spelling. */
	h = host();
	for (int last = 0; last < 2; last++) {
		struct addr raw = { .family = ADDR_IP6, .port = 80 };
		struct turn_peer_verdict v;

		memcpy(raw.ip + 10, "\xff\xff\x7f\0\0", 5);
		raw.ip[15] = (uint8_t)(last + 1);
		turn_peer_check(&h->p, &raw, &v);
		assert_false(v.allowed);
		assert_string_equal(v.decided_by, last ? "loopback" : "own address");
	}
	free(h);
}

static void test_nobody(void **state)
{
	struct turn_peer_policy none = { .n_own = 0 };
	struct turn_peer_verdict v;
	struct addr a = { .family = ADDR_NONE };

	turn_peer_check(&none, &a, &v);
	assert_false(v.allowed);
	a = ip("192.0.2.1", 0);
	turn_peer_check(&none, &a, &v);
	assert_true(v.allowed);
	assert_false(v.own);
	a = ip("10.1.2.3", 0);
	turn_peer_check(&none, &a, &v);
	assert_false(v.allowed);
	assert_string_equal(v.decided_by, "private");
	assert_string_equal(v.why, "private address 10.1.2.3");
}

static void test_rules(void **state)
{
	struct host *h = host();
	struct turn_peer_verdict v;

	add(&h->allow, "10.1.2.0/24");
	add(&h->allow, "fd00:1::/32");
	add(&h->allow, "fe80::9");
	add(&h->deny, "198.51.100.0/24");
	add(&h->deny, "10.1.2.128/25");
	add(&h->deny, "2001:db8:bad::/48");
	let_in(h, "10.1.2.3", 0, "[turn] allow-peers");
	assert_string_equal(check(h, "10.1.2.3", 5060).why, "10.1.2.0/24");
	let_in(h, "::ffff:10.1.2.3", 5060, "[turn] allow-peers");
	let_in(h, "fd00:1::7", 0, "[turn] allow-peers");
	let_in(h, "fe80::9", 0, "[turn] allow-peers");
	refused(h, "10.1.3.3", 0, "private");
	refused(h, "fd00:2::7", 0, "private");
	refused(h, "fe80::8", 0, "link-local");
	/* deny is stronger, and reaches into what an address carries. */
	refused(h, "10.1.2.129", 0, "[turn] deny-peers");
	refused(h, "198.51.100.7", 0, "[turn] deny-peers");
	refused(h, "::ffff:198.51.100.7", 0, "[turn] deny-peers");
	refused(h, "64:ff9b::198.51.100.7", 0, "[turn] deny-peers");
	refused(h, "2002:c633:6407::1", 0, "[turn] deny-peers");
	refused(h, "2001:db8:1::5efe:198.51.100.7", 0, "[turn] deny-peers");
	refused(h, "2001:db8:bad::1", 0, "[turn] deny-peers");
	v = check(h, "2001:db8:bad::1", 0);
	assert_string_equal(v.why, "2001:db8:bad::/48");
	/* Another spelling of what is allowed is not allowed by that. */
	refused(h, "64:ff9b::10.1.2.3", 0, "private");
	refused(h, "2002:a01:203::1", 0, "private");
	/* And the carrier being allowed opens nothing that it carries. */
	add(&h->allow, "64:ff9b::/96");
	let_in(h, "64:ff9b::10.1.2.3", 0, "[turn] allow-peers");
	refused(h, "64:ff9b::10.1.3.3", 0, "private");
	refused(h, "64:ff9b::10.1.2.200", 0, "[turn] deny-peers");
	refused(h, "64:ff9b::127.0.0.2", 0, "loopback");
	refused(h, "64:ff9b::127.0.0.1", 0, "loopback");
	refused(h, "64:ff9b::203.0.113.5", 24000, "own address");
	free(h);
}

/* Row 4: ports of our own. */
static void test_own(void **state)
{
	static const char *const relays[] = { "10.0.0.5", "203.0.113.5", "2001:db8::5",
					      "::ffff:203.0.113.5" };
	static const uint16_t services[] = {
		1, 22, 443, 3478, 5060, 5222, 7400, 23999, 30000, 65535
	};
	struct host *h = host();

	add(&h->allow, "10.0.0.0/8");
	add(&h->allow, "192.168.7.0/24");
	add(&h->allow, "192.168.7.4/31");
	add(&h->allow, "127.0.0.0/8");
	for (size_t i = 0; i < N(relays); i++) {
		let_in(h, relays[i], 0, "own address");
		assert_true(check(h, relays[i], 0).own);
		let_in(h, relays[i], 24000, "own address");
		let_in(h, relays[i], 29999, "own address");
		for (size_t k = 0; k < N(services); k++) {
			refused(h, relays[i], services[k], "own address");
			assert_true(check(h, relays[i], services[k]).own);
		}
	}
	/* Not by an allow that is wider than one address, and no relay is there. */
	refused(h, "192.168.7.5", 0, "own address");
	refused(h, "192.168.7.5", 24000, "own address");
	refused(h, "127.0.0.1", 0, "own address");
	refused(h, "127.0.0.1", 24000, "own address");
	/* In an IPv6 address not even relays' ports. */
	refused(h, "64:ff9b::203.0.113.5", 24000, "own address");
	refused(h, "2002:cb00:7105::1", 24000, "own address");
	/* Media ports, on each address. */
	h->p.first_media = 36000;
	h->p.last_media = 36099;
	let_in(h, "192.168.7.5", 0, "own address");
	let_in(h, "192.168.7.5", 36000, "own address");
	let_in(h, "203.0.113.5", 36099, "own address");
	refused(h, "192.168.7.5", 35999, "own address");
	refused(h, "192.168.7.5", 36100, "own address");
	refused(h, "192.168.7.5", 24000, "own address");
	refused(h, "127.0.0.1", 36000, "own address");
	/* Relays not named: any own address but loopback. */
	h->p.relays = NULL;
	let_in(h, "192.168.7.5", 24000, "own address");
	refused(h, "127.0.0.1", 24000, "own address");
	refused(h, "::1", 24000, "own address");
	/* No relays, no media: no port at all. */
	h->p.first_relay = h->p.first_media = 0;
	refused(h, "203.0.113.5", 0, "own address");
	refused(h, "203.0.113.5", 24000, "own address");
	/* deny is stronger here too. */
	h->p.first_relay = 24000;
	add(&h->deny, "203.0.113.5");
	refused(h, "203.0.113.5", 24000, "[turn] deny-peers");
	free(h);
}

/* allow-peers names one address of this host: that is meant. */
static void test_own_by_name(void **state)
{
	struct host *h = host();

	add(&h->allow, "203.0.113.5");
	add(&h->allow, "2001:db8::5");
	let_in(h, "203.0.113.5", 22, "[turn] allow-peers");
	let_in(h, "2001:db8::5", 22, "[turn] allow-peers");
	let_in(h, "203.0.113.5", 24000, "own address");
	refused(h, "10.0.0.5", 22, "own address");
	/* Not in another spelling, and never before deny. */
	refused(h, "64:ff9b::203.0.113.5", 22, "own address");
	add(&h->deny, "203.0.113.0/24");
	refused(h, "203.0.113.5", 22, "[turn] deny-peers");
	free(h);
}

static void test_loopback(void **state)
{
	struct host *h = host();

	h->p.n_own = 0;
	add(&h->allow, "0.0.0.0/0");
	add(&h->allow, "::/0");
	add(&h->allow, "120.0.0.0/7");
	refused(h, "127.0.0.1", 80, "loopback");
	refused(h, "::1", 80, "loopback");
	refused(h, "0.0.0.0", 80, "unspecified");
	refused(h, "224.0.0.1", 80, "multicast");
	refused(h, "255.255.255.255", 80, "broadcast");
	let_in(h, "10.1.2.3", 80, "[turn] allow-peers");
	/* Said in so many words, also behind a wider rule. */
	h->allow.n = 1;
	add(&h->allow, "127.0.0.2");
	add(&h->allow, "::1");
	let_in(h, "127.0.0.2", 80, "[turn] allow-peers");
	let_in(h, "::1", 80, "[turn] allow-peers");
	refused(h, "127.0.0.1", 80, "loopback");
	free(h);
}

static uint64_t rng_state = 7;

static uint32_t rnd(uint32_t below)
{
	rng_state = rng_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(rng_state >> 33) % below;
}

static bool bit(const uint8_t ip[16], unsigned i)
{
	return ip[i / 8] & 0x80 >> i % 8;
}

/* Row 3: IPv6 prefixes of every length, also such that end within a byte, against one that compares
 * bit by bit; addresses are at, just inside and just outside of the edges. */
static void test_prefix_order(void **state)
{
	struct host *h = host();
	unsigned n_in = 0;

	h->p.n_own = 0;
	for (int round = 0; round < 60000; round++) {
		struct addr_prefix *rule = &h->deny_v[0];
		struct addr a = { .family = ADDR_IP6, .port = 80 };
		struct turn_peer_verdict v;
		bool inside = true;
		unsigned bits = rnd(129);

		*rule = (struct addr_prefix){ .net.family = ADDR_IP6, .bits = (uint8_t)bits };
		for (unsigned i = 0; i < 128; i++) {
			uint8_t one = (uint8_t)(rnd(2) << (7 - i % 8));
			/* Below the prefix zeros, ones (the edges) or anything. */
			uint8_t low = round % 3 == 0 ? 0 : round % 3 == 1 ? 1 : (uint8_t)rnd(2);

			if (i < bits)
				rule->net.ip[i / 8] |= one;
			a.ip[i / 8] |= i < bits ? one : (uint8_t)(low << (7 - i % 8));
		}
		/* 2600::/16: global, and carries nothing. */
		memcpy(a.ip, "\x26\0", 2);
		a.ip[8] |= 4;
		if (round % 2) {
			unsigned flip = 16 + rnd(112);

			if (flip != 69)
				a.ip[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
		}
		if (bits >= 16 || round % 5)
			memcpy(rule->net.ip, a.ip, bits < 16 ? bits / 8 : 2);
		for (unsigned i = 0; i < bits; i++)
			inside = inside && bit(a.ip, i) == bit(rule->net.ip, i);
		h->deny.n = 1;
		turn_peer_check(&h->p, &a, &v);
		assert_int_equal(v.allowed, !inside);
		assert_string_equal(v.decided_by, inside ? "[turn] deny-peers" : "global");
		n_in += inside;
	}
	assert_in_range(n_in, 10000, 50000);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encodings), cmocka_unit_test(test_ip6),
		cmocka_unit_test(test_nobody),	  cmocka_unit_test(test_rules),
		cmocka_unit_test(test_own),	  cmocka_unit_test(test_own_by_name),
		cmocka_unit_test(test_loopback),  cmocka_unit_test(test_prefix_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
