/* Credentials, nonces and what strangers get (RFC 8489 section 9.2) on a turned clock. */
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

static void the_question_is_short(void **state)
{
	struct stun_attr a;
	struct guest g;

	guest_init(&g, *state, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	assert_in_range(g.got.n, 80, 112);
	assert_true(stun_attr_find(&g.in, STUN_ATTR_REALM, &a));
	assert_memory_equal(a.p, RIG_REALM, a.n);
	assert_true(stun_attr_find(&g.in, STUN_ATTR_PASSWORD_ALGORITHMS, &a));
	assert_false(stun_attr_find(&g.in, STUN_ATTR_SOFTWARE, &a));
	assert_int_equal(g.in.integrity_at, 0);
	assert_memory_equal(g.nonce, "obMatJos2", 9);
}

static void md5_and_sha256(void **state)
{
	struct guest g;

	for (unsigned i = 0; i < 3; i++) {
		guest_init(&g, *state, "alice", "192.0.2.7:5000", TURN_UDP);
		g.c.remote.port = (uint16_t)(5000 + i);
		g.sha256 = i == 1;
		g.no_algorithms = i == 2; /* a client of RFC 5389 */
		assert_int_equal(guest_allocates(&g), 200);
		assert_true(guest_is_answer_sealed(&g));
		assert_int_equal(g.in.integrity256_at != 0, g.sha256);
	}
}

static void names(struct guest *g, bool user, bool realm, bool nonce)
{
	guest_starts_allocate(g);
	if (user)
		stun_build_slice(&g->b, STUN_ATTR_USERNAME, slice_of(g->user));
	if (realm)
		stun_build_slice(&g->b, STUN_ATTR_REALM, SLICE(RIG_REALM));
	if (nonce)
		stun_build_attr(&g->b, STUN_ATTR_NONCE, g->nonce, g->n_nonce);
}

static unsigned sealed(struct guest *g)
{
	guest_seal(g);
	return guest_asks_plain(g);
}

/* RFC 8489 9.2.4, one by one. */
static void what_is_missing_or_wrong(void **state)
{
	static const uint16_t md5_only[] = { STUN_ALGORITHM_MD5 };
	static const uint16_t both[] = { STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5, 3 };
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	names(&g, true, true, true);
	assert_int_equal(guest_asks_plain(&g), 401); /* no integrity */
	names(&g, false, true, true);
	assert_int_equal(sealed(&g), 400);
	names(&g, true, false, true);
	assert_int_equal(sealed(&g), 400);
	names(&g, true, true, false);
	assert_int_equal(sealed(&g), 400);
	assert_int_equal(g.in.integrity_at, 0);
	names(&g, true, true, true);
	stun_build_algorithms(&g.b, both, 2); /* the choice is missing */
	assert_int_equal(sealed(&g), 400);
	names(&g, true, true, true);
	stun_build_algorithm(&g.b, STUN_ALGORITHM_MD5); /* the list is missing */
	assert_int_equal(sealed(&g), 400);
	names(&g, true, true, true);
	stun_build_algorithms(&g.b, md5_only, 1); /* somebody cut the list */
	stun_build_algorithm(&g.b, STUN_ALGORITHM_MD5);
	assert_int_equal(sealed(&g), 400);
	names(&g, true, true, true);
	stun_build_algorithms(&g.b, both, 3); /* or made it longer */
	stun_build_algorithm(&g.b, STUN_ALGORITHM_MD5);
	assert_int_equal(sealed(&g), 400);
	names(&g, true, true, true);
	stun_build_algorithms(&g.b, both, 2);
	stun_build_algorithm(&g.b, 3);
	assert_int_equal(sealed(&g), 400);
	strcpy(g.password, "wrong");
	assert_int_equal(guest_allocates(&g), 401);
	assert_int_equal(trace_count(rig->trace, "turn.auth.failed"), 1);
	strcpy(g.user, "nobody");
	assert_int_equal(guest_allocates(&g), 401);
	g.sha256 = true;
	assert_int_equal(guest_allocates(&g), 401);
	assert_int_equal(trace_count(rig->trace, "turn.auth.failed"), 3);
	assert_int_equal(rig->n_relays, 0);
}

static void nonces_of_others_and_old_ones(void **state)
{
	struct rig *rig = *state;
	struct guest a, b;

	guest_init(&a, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_init(&b, rig, "alice", "192.0.2.8:5000", TURN_UDP);
	guest_hello(&a);
	memcpy(b.nonce, a.nonce, sizeof(a.nonce));
	b.n_nonce = a.n_nonce;
	guest_starts_allocate(&b);
	assert_int_equal(guest_asks(&b), 438);
	guest_starts_allocate(&b); /* with the one that came with it */
	assert_int_equal(guest_asks(&b), 200);
	strcpy(a.nonce, "obMatJos2gAAAinvented by the client..");
	a.n_nonce = 37;
	guest_starts_allocate(&a);
	assert_int_equal(guest_asks(&a), 438);
	rig_wait_ms(rig, rig->conf.nonce_ms + 1);
	guest_starts_allocate(&a);
	assert_int_equal(guest_asks(&a), 438);
	guest_starts_allocate(&a);
	assert_int_equal(guest_asks(&a), 200);
	/* The same bytes from elsewhere: replayed. */
	b.c.remote = rig_addr("192.0.2.66:1");
	rig_client_sends(rig, &b.c, a.out, a.b.n);
	assert_int_equal(rig->n_relays, 1); /* b's has expired */
}

static void short_lived_credentials(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "", "192.0.2.7:5000", TURN_UDP);
	guest_mint(&g, rig->wall_s + 1, "guest 7");
	assert_int_equal(guest_allocates(&g), 200);
	assert_int_equal(conn_count(rig->conns, CONN_ALLOCATION), 1);
	assert_string_equal(
		CONTAINER_OF(list_first(conn_list(rig->conns, CONN_ALLOCATION)), struct conn, node)
			->user,
		"guest 7");
	g.c.remote.port++;
	guest_mint(&g, rig->wall_s - 1, "guest 7");
	guest_hello(&g);
	assert_int_equal(guest_allocates(&g), 401);
	guest_mint(&g, rig->wall_s + 100, "guest 7");
	g.password[0] ^= 1;
	assert_int_equal(guest_allocates(&g), 401);
}

static void spoofed_allocate(struct rig *rig, unsigned i, struct guest *g)
{
	g->c.remote.ip[0] = 11;
	g->c.remote.ip[1] = (uint8_t)(i >> 16);
	g->c.remote.ip[2] = (uint8_t)(i >> 8);
	g->c.remote.ip[3] = (uint8_t)i;
	rig_client_sends(rig, &g->c, g->out, g->b.n);
}

/* Checklist row 7: nothing is kept, nothing is allocated. */
static void row7_spoofed_allocates_take_no_memory(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	rig->conf.unauthenticated_rate = 10;
	assert_int_equal(rig_configure(rig), 0);
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	/* The trace counts a code by an entry of its own, once. */
	trace_add(rig->trace, "turn.unauthenticated.limit", NULL, NULL, NULL, "x");
	guest_starts_allocate(&g);
	alloc_fail_at(1);
	for (unsigned i = 0; i < 100000; i++)
		spoofed_allocate(rig, i, &g);
	guest_names(&g); /* and sealed ones, with a nonce of somebody else */
	guest_seal(&g);
	for (unsigned i = 0; i < 100000; i++)
		spoofed_allocate(rig, i, &g);
	assert_false(alloc_fail_hit());
	alloc_fail_at(0);
	assert_int_equal(turn_server_stats(rig->s).n_allocations, 0);
	assert_int_equal(rig->timers.n, 0);
	assert_true(turn_server_stats(rig->s).n_unauthenticated > 100000);
}

/* Checklist row 8: beyond a small rate no more bytes go out than come in. */
static void row8_no_reflector(void **state)
{
	struct rig *rig = *state;
	uint64_t in = 0, out;
	struct guest g;

	rig->conf.unauthenticated_rate = 10;
	rig->conf.binding = TURN_BINDING_YES;
	assert_int_equal(rig_configure(rig), 0);
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	for (unsigned i = 0; i < 1000; i++) { /* the burst of two seconds goes */
		guest_starts_allocate(&g);
		guest_asks_plain(&g);
	}
	assert_int_equal(rig->n_sent, 20);
	out = rig->bytes_to_clients;
	for (unsigned i = 0; i < 3000; i++) {
		guest_start(&g, i % 3 ? STUN_METHOD_BINDING : STUN_METHOD_REFRESH);
		if (i % 3 == 2)
			guest_byte(&g, 0x7777, 0, 4);
		if (i % 2)
			guest_seal(&g);
		guest_asks_plain(&g);
		in += g.b.n;
	}
	assert_true(rig->bytes_to_clients - out <= in);
	assert_true(turn_server_stats(rig->s).n_unanswered > 1000);
	assert_true(rig_traced(rig, "turn.unauthenticated.limit"));
	/* Long questions are answered all the same; others after a second. */
	guest_starts_allocate(&g);
	stun_build_attr(&g.b, 0x9999, g.user, sizeof(g.user));
	stun_build_attr(&g.b, 0x9999, g.password, sizeof(g.password));
	assert_int_equal(guest_asks_plain(&g), 401);
	rig_wait_ms(rig, 1000);
	guest_starts_allocate(&g);
	assert_int_equal(guest_asks_plain(&g), 401);
	/* A stream has proved its address. */
	g.c.transport = TURN_TCP;
	for (unsigned i = 0; i < 100; i++) {
		guest_starts_allocate(&g);
		assert_int_equal(guest_asks_plain(&g), 401);
	}
}

static void binding_by_setting(void **state)
{
	struct rig *rig = *state;
	struct addr mapped;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_start(&g, STUN_METHOD_BINDING);
	assert_int_equal(guest_asks_plain(&g), 0);
	rig->conf.binding = TURN_BINDING_AUTHENTICATED;
	assert_int_equal(rig_configure(rig), 0);
	guest_start(&g, STUN_METHOD_BINDING);
	assert_int_equal(guest_asks_plain(&g), 401);
	guest_start(&g, STUN_METHOD_BINDING);
	assert_int_equal(guest_asks(&g), 200);
	assert_true(guest_is_answer_sealed(&g));
	rig->conf.binding = TURN_BINDING_YES;
	assert_int_equal(rig_configure(rig), 0);
	guest_start(&g, STUN_METHOD_BINDING);
	stun_build_fingerprint(&g.b);
	assert_int_equal(guest_asks_plain(&g), 200);
	mapped = guest_addr(&g, STUN_ATTR_XOR_MAPPED_ADDRESS);
	assert_true(addr_eq(&mapped, &g.c.remote));
	assert_int_not_equal(g.in.fingerprint_at, 0);
	guest_start(&g, STUN_METHOD_BINDING);
	guest_byte(&g, 0x0077, 0, 4);
	assert_int_equal(guest_asks_plain(&g), 420);
}

static void garbage_is_counted_only(void **state)
{
	static const char *const junk[] = { "", "x", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01",
					    "\x80\x60" };
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	for (unsigned i = 0; i < 5; i++)
		rig_client_sends(rig, &g.c, junk[i], strlen(junk[i]));
	assert_false(guest_says_on_channel(&g, 0x4000, "no allocation"));
	assert_false(guest_says(&g, "198.51.100.1:9", "no allocation"));
	guest_start(&g, 0x0ff); /* no such method */
	assert_int_equal(guest_asks_plain(&g), 0);
	guest_start(&g, STUN_METHOD_CONNECT); /* TCP relays are off */
	assert_int_equal(guest_asks_plain(&g), 0);
	stun_build_start(&g.b, g.out, sizeof(g.out), STUN_CLASS_SUCCESS, STUN_METHOD_ALLOCATE,
			 g.tid);
	assert_int_equal(guest_asks_plain(&g), 0);
	assert_int_equal(rig->n_sent, 0);
	assert_int_equal(turn_server_stats(rig->s).n_bad, 10);
}

/* A name as C never makes one, with a key that fits: refused before anything is looked up. */
static void names_with_a_nul_are_none(void **state)
{
	static const char name[] = "alice\0x";
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	guest_starts_allocate(&g);
	stun_build_attr(&g.b, STUN_ATTR_USERNAME, name, sizeof(name) - 1);
	stun_build_slice(&g.b, STUN_ATTR_REALM, SLICE(RIG_REALM));
	stun_build_attr(&g.b, STUN_ATTR_NONCE, g.nonce, g.n_nonce);
	assert_int_equal(sealed(&g), 400);
	assert_int_equal(rig->n_relays, 0);
}

/* USERNAME has at most 508 bytes. */
static void names_have_a_bound(void **state)
{
	struct rig *rig = *state;
	uint8_t name[509];
	struct guest g;

	memset(name, 'n', sizeof(name));
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_hello(&g);
	for (size_t n = 508; n <= 509; n++) {
		uint8_t *at;

		guest_starts_allocate(&g);
		/* Through an attribute of no kind: the builder writes no longer names. */
		at = g.out + g.b.n;
		stun_build_attr(&g.b, STUN_ATTR_DATA, name, n);
		at[0] = STUN_ATTR_USERNAME >> 8;
		at[1] = STUN_ATTR_USERNAME & 0xff;
		stun_build_slice(&g.b, STUN_ATTR_REALM, SLICE(RIG_REALM));
		stun_build_attr(&g.b, STUN_ATTR_NONCE, g.nonce, g.n_nonce);
		assert_int_equal(sealed(&g), n == 508 ? 401 : 400);
	}
}

/* How many of n wrong credentials are answered. */
static unsigned n_answered(struct guest *g, unsigned n)
{
	unsigned answered = 0;

	for (unsigned i = 0; i < n; i++) {
		guest_starts_allocate(g);
		answered += guest_asks(g) == 401;
	}
	return answered;
}

/* Guessing has a rate, by the source, over streams as well; others and what lives are not hit. */
static void guesses_are_bounded(void **state)
{
	struct rig *rig = *state;
	struct guest living, g, other, stream;

	guest_enters(&living, rig, "alice", "192.0.2.7:4999");
	rig->conf.unauthenticated_rate = 5;
	assert_int_equal(rig_configure(rig), 0);
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_init(&stream, rig, "bob", "192.0.2.7:5001", TURN_TCP);
	guest_init(&other, rig, "alice", "192.0.2.8:5000", TURN_UDP);
	guest_hello(&g);
	guest_hello(&stream);
	guest_hello(&other);
	strcpy(g.password, "wrong");
	assert_int_equal(n_answered(&g, 50), 10);
	assert_true(rig_traced(rig, "turn.auth.limit"));
	assert_int_equal(n_answered(&stream, 3), 0);
	assert_int_equal(guest_allocates(&other), 200);
	assert_int_equal(guest_refreshes(&living, 600), 200);
	rig_wait_ms(rig, 1000);
	assert_int_equal(n_answered(&g, 50), 5);
	rig_wait_ms(rig, 1000);
	strcpy(g.password, "pw-alice");
	for (unsigned i = 0; i < 50; i++) { /* good ones cost nothing */
		assert_int_equal(guest_allocates(&g), 200);
		assert_int_equal(guest_refreshes(&g, 0), 200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_question_is_short),	TEST(md5_and_sha256),
		TEST(what_is_missing_or_wrong), TEST(nonces_of_others_and_old_ones),
		TEST(short_lived_credentials),	TEST(row7_spoofed_allocates_take_no_memory),
		TEST(row8_no_reflector),	TEST(binding_by_setting),
		TEST(garbage_is_counted_only),	TEST(names_with_a_nul_are_none),
		TEST(names_have_a_bound),	TEST(guesses_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
