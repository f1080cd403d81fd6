/* Secrets that come and go, whose turn it is, and what a credential looks like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "turn/credentials.h"
#include "turn/mint.h"
#include "turn/server_item.h"

#define TTL_MS 3600000
#define WALL_S 1800000000

static uint32_t seed = 1;

static void random_fill(void *p, size_t n)
{
	uint8_t *b = p;

	while (n-- > 0) {
		seed = seed * 1664525u + 1013904223u;
		*b++ = (uint8_t)(seed >> 24);
	}
}

static void add_server(struct turn_mint *m, uint32_t peer, const char *host, unsigned n_udp,
		       unsigned n_tcp, unsigned n_tls)
{
	struct turn_mint_server *s = turn_mint_server(m, peer);

	assert_non_null(s);
	s->up = s->has_facts = true;
	snprintf(s->facts.host, sizeof(s->facts.host), "%s", host);
	snprintf(s->facts.realm, sizeof(s->facts.realm), "realm.example");
	for (unsigned i = 0; i < TURN_MAX_PORTS; i++) {
		s->facts.udp_ports[i] = (uint16_t)(3478 + i);
		s->facts.tcp_ports[i] = (uint16_t)(4478 + i);
		s->facts.tls_ports[i] = (uint16_t)(5349 + i);
	}
	s->facts.n_udp = n_udp;
	s->facts.n_tcp = n_tcp;
	s->facts.n_tls = n_tls;
}

static struct turn_mint *mint_new(void)
{
	struct turn_mint *m = calloc(1, sizeof(*m));
	struct turn_mint_change change;

	turn_mint_init(m, random_fill);
	turn_mint_configure(m, TTL_MS, 0);
	turn_mint_turn(m, 0, &change);
	assert_true(change.put);
	return m;
}

static void mint_free(struct turn_mint *m)
{
	turn_mint_fini(m);
	free(m);
}

#define DOMAIN SLICE("example.com")

static void one_credential(void **state)
{
	struct turn_mint *m = mint_new();
	struct turn_mint_credential c;
	char expected[29];

	assert_false(turn_mint_make(m, DOMAIN, SLICE("bob"), 0, WALL_S, &c));
	assert_false(turn_mint_is_ready(m));
	add_server(m, 1, "edge1.example.com", 1, 1, 1);
	assert_true(turn_mint_is_ready(m));
	assert_true(turn_mint_make(m, DOMAIN, SLICE("bob"), 0, WALL_S, &c));
	assert_string_equal(c.username, "1800003600:bob@example.com");
	turn_credentials_password((struct slice){ (char *)m->secrets[0].secret, 32 },
				  slice_of(c.username), expected);
	assert_string_equal(c.password, expected);
	assert_int_equal(strlen(c.password), 28);
	assert_int_equal(c.ttl_s, 3600);
	assert_string_equal(c.server->host, "edge1.example.com");
	assert_int_equal(c.n_uris, 3);
	assert_string_equal(c.uris[0], "turn:edge1.example.com:3478?transport=udp");
	assert_string_equal(c.uris[1], "turn:edge1.example.com:4478?transport=tcp");
	assert_string_equal(c.uris[2], "turns:edge1.example.com:5349?transport=tcp");
	/* shorter, and never longer */
	assert_true(turn_mint_make(m, DOMAIN, SLICE("bob"), 60, WALL_S, &c));
	assert_string_equal(c.username, "1800000060:bob@example.com");
	assert_true(turn_mint_make(m, DOMAIN, SLICE("bob"), 3601, WALL_S, &c));
	assert_int_equal(c.ttl_s, 3600);
	mint_free(m);
}

static void nobody_in_particular(void **state)
{
	struct turn_mint *m = mint_new();
	struct turn_mint_credential a, b;
	unsigned long long expiry;
	char hex[16] = "", rest[64] = "";

	add_server(m, 1, "e", 1, 0, 0);
	assert_true(turn_mint_make(m, DOMAIN, SLICE_NONE, 0, WALL_S, &a));
	assert_true(turn_mint_make(m, DOMAIN, SLICE_NONE, 0, WALL_S, &b));
	assert_string_not_equal(a.username, b.username);
	assert_int_equal(sscanf(a.username, "%llu:%8[0-9a-f]%63s", &expiry, hex, rest), 3);
	assert_int_equal(strlen(hex), 8);
	assert_string_equal(rest, "@example.com");
	assert_int_equal(a.n_uris, 1);
	mint_free(m);
}

static void labels(void **state)
{
	char longest[TURN_MINT_LABEL_MAX + 1], domain[254];
	struct turn_mint *m = mint_new();
	struct turn_mint_credential c;

	memset(longest, 'a', sizeof(longest));
	memset(domain, 'd', sizeof(domain));
	add_server(m, 1, "e", 1, 0, 0);
	assert_true(turn_mint_label_valid(SLICE("alice@home.example")));
	assert_true(turn_mint_label_valid(SLICE("!~")));
	assert_false(turn_mint_label_valid(SLICE("")));
	assert_false(turn_mint_label_valid(SLICE("a b")));
	assert_false(turn_mint_label_valid(SLICE("a:b")));
	assert_false(turn_mint_label_valid(SLICE("a\"b")));
	assert_false(turn_mint_label_valid(SLICE("a\\b")));
	assert_false(turn_mint_label_valid(SLICE("a\nb")));
	assert_false(turn_mint_label_valid(SLICE("a\x7f")));
	assert_false(turn_mint_label_valid(SLICE("a\xc3\xa4")));
	assert_true(turn_mint_label_valid((struct slice){ longest, TURN_MINT_LABEL_MAX }));
	assert_false(turn_mint_label_valid((struct slice){ longest, TURN_MINT_LABEL_MAX + 1 }));
	/* The longest of both is a legal USERNAME. */
	assert_true(turn_mint_make(m, (struct slice){ domain, 253 },
				   (struct slice){ longest, TURN_MINT_LABEL_MAX }, 0, WALL_S, &c));
	assert_true(strlen(c.username) < TURN_USER_BYTES);
	assert_false(turn_mint_make(m, (struct slice){ domain, 254 }, SLICE("a"), 0, WALL_S, &c));
	assert_false(turn_mint_make(m, SLICE_NONE, SLICE("a"), 0, WALL_S, &c));
	assert_false(turn_mint_make(m, DOMAIN, SLICE("a:b"), 0, WALL_S, &c));
	mint_free(m);
}

static void round_robin(void **state)
{
	struct turn_mint *m = mint_new();
	struct turn_mint_credential c;
	static const char *const expected[] = {
		"turn:e1:3478?transport=udp", "turn:e2:3478?transport=udp",
		"turn:e1:3479?transport=udp", "turn:e2:3478?transport=udp",
		"turn:e1:3480?transport=udp", "turn:e2:3478?transport=udp",
		"turn:e1:3478?transport=udp",
	};

	add_server(m, 11, "e1", 3, 0, 1);
	add_server(m, 22, "e2", 1, 0, 0);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_true(turn_mint_make(m, DOMAIN, SLICE("a"), 0, WALL_S, &c));
		assert_string_equal(c.uris[0], expected[i]);
		/* All of one answer is one E. */
		if (strcmp(c.server->host, "e1") == 0)
			assert_string_equal(c.uris[1], "turns:e1:5349?transport=tcp");
	}
	turn_mint_server(m, 11)->up = false;
	for (int i = 0; i < 3; i++) {
		assert_true(turn_mint_make(m, DOMAIN, SLICE("a"), 0, WALL_S, &c));
		assert_string_equal(c.server->host, "e2");
	}
	turn_mint_server(m, 22)->has_facts = false;
	assert_true(turn_mint_any_up(m));
	assert_false(turn_mint_is_ready(m));
	assert_false(turn_mint_make(m, DOMAIN, SLICE("a"), 0, WALL_S, &c));
	turn_mint_server(m, 22)->up = false;
	assert_false(turn_mint_any_up(m));
	/* Fewer ports than before: the next one is still one of them. */
	turn_mint_server(m, 11)->up = true;
	turn_mint_server(m, 11)->next_udp = 2;
	turn_mint_server(m, 11)->facts.n_udp = 1;
	assert_true(turn_mint_make(m, DOMAIN, SLICE("a"), 0, WALL_S, &c));
	assert_string_equal(c.uris[0], "turn:e1:3478?transport=udp");
	mint_free(m);
}

static void full_of_servers(void **state)
{
	struct turn_mint *m = mint_new();
	struct turn_mint_credential c;

	for (uint32_t i = 1; i <= TURN_MINT_SERVERS; i++)
		add_server(m, i, "2001:db8::1", 1, 0, 0);
	assert_null(turn_mint_server(m, TURN_MINT_SERVERS + 1));
	/* Those that are down make room, first who has nothing to say. */
	m->servers[5].up = m->servers[7].up = false;
	m->servers[7].has_facts = false;
	assert_ptr_equal(turn_mint_server(m, 1000), &m->servers[7]);
	m->servers[7].up = true;
	assert_ptr_equal(turn_mint_server(m, 1001), &m->servers[5]);
	assert_false(m->servers[5].up || m->servers[5].has_facts);
	m->servers[5].up = true;
	assert_null(turn_mint_server(m, 1002));
	assert_non_null(turn_mint_server(m, TURN_MINT_SERVERS));
	assert_true(turn_mint_make(m, DOMAIN, SLICE("a"), 0, WALL_S, &c));
	assert_string_equal(c.uris[0], "turn:[2001:db8::1]:3478?transport=udp");
	mint_free(m);
}

/* Is the secret still here that made the password? */
static bool is_good(const struct turn_mint *m, const struct turn_mint_credential *c)
{
	char password[29];

	for (size_t i = 0; i < m->n_secrets; i++) {
		turn_credentials_password((struct slice){ (char *)m->secrets[i].secret, 32 },
					  slice_of(c->username), password);
		if (strcmp(password, c->password) == 0)
			return true;
	}
	return false;
}

static void rotation(void **state)
{
	struct turn_mint *m = mint_new();
	struct turn_mint_credential first, last;
	struct turn_mint_change change;
	char id[TURN_MINT_ID_BYTES];
	int64_t next_ms;

	add_server(m, 1, "e", 1, 0, 0);
	memcpy(id, m->secrets[0].id, sizeof(id));
	assert_int_equal(strlen(id), 16);
	assert_true(turn_mint_make(m, DOMAIN, SLICE("a"), 0, WALL_S, &first));
	next_ms = turn_mint_turn(m, TTL_MS - 1, &change);
	assert_int_equal(next_ms, TTL_MS);
	assert_false(change.put);
	assert_int_equal(m->n_secrets, 1);
	assert_true(turn_mint_make(m, DOMAIN, SLICE("a"), 0, WALL_S + 3599, &last));
	/* The second one; what the first made stays good. */
	next_ms = turn_mint_turn(m, TTL_MS, &change);
	assert_true(change.put);
	assert_int_equal(change.n_gone, 0);
	assert_int_equal(m->n_secrets, 2);
	assert_string_equal(m->secrets[0].id, id);
	assert_true(is_good(m, &first));
	assert_int_equal(next_ms, 2 * TTL_MS);
	turn_mint_turn(m, 2 * TTL_MS - 1, &change);
	assert_true(is_good(m, &last));
	/* The third one comes as the first goes, for which all credentials have run out. */
	turn_mint_turn(m, 2 * TTL_MS, &change);
	assert_true(change.put);
	assert_int_equal(change.n_gone, 1);
	assert_string_equal(change.gone[0], id);
	assert_int_equal(m->n_secrets, 2);
	assert_false(is_good(m, &last));
	mint_free(m);
}

/* A month in steps of odd lengths: never more than three, and every credential is good for as long
 * as it says. */
static void many_turns(void **state)
{
	struct turn_mint *m = mint_new();
	struct turn_mint_credential kept[64] = { 0 };
	int64_t until_ms[64] = { 0 }, now_ms = 0, ttl_ms = TTL_MS;
	struct turn_mint_change change;

	add_server(m, 1, "e", 1, 0, 0);
	for (int i = 0; i < 5000; i++) {
		int64_t next_ms;

		now_ms += i % 977 * 1000;
		if (i % 50 == 0) {
			ttl_ms = (1 + i % 7) * TTL_MS / 2;
			turn_mint_configure(m, ttl_ms, now_ms);
		}
		next_ms = turn_mint_turn(m, now_ms, &change);
		assert_true(next_ms > now_ms);
		assert_true(m->n_secrets >= 1 && m->n_secrets <= TURN_MINT_SECRETS);
		assert_true(change.n_gone <= TURN_MINT_SECRETS);
		for (int k = 0; k < 64; k++)
			if (until_ms[k] > now_ms)
				assert_true(is_good(m, &kept[k]));
		assert_true(turn_mint_make(m, DOMAIN, SLICE_NONE, 0, WALL_S + now_ms / 1000,
					   &kept[i % 64]));
		until_ms[i % 64] = now_ms + ttl_ms;
	}
	mint_free(m);
}

static void frozen_for_a_week(void **state)
{
	struct turn_mint *m = mint_new();
	struct turn_mint_change change;
	int64_t next_ms = turn_mint_turn(m, 7 * 24 * TTL_MS, &change);

	assert_true(change.put);
	assert_int_equal(change.n_gone, 1);
	assert_int_equal(m->n_secrets, 1);
	assert_int_equal(next_ms, 7 * 24 * TTL_MS + TTL_MS);
	mint_free(m);
}

static void nothing_is_left(void **state)
{
	static const uint8_t zero[sizeof(((struct turn_mint *)0)->secrets)];
	struct turn_mint *m = mint_new();

	turn_mint_fini(m);
	assert_memory_equal(m->secrets, zero, sizeof(zero));
	free(m);
}

/* --- what an E says --- */

static bool reads(const char *text, struct turn_facts *out)
{
	json_t *item = json_loads(text, 0, NULL);
	const char *why = NULL;
	bool good;

	assert_non_null(item);
	good = turn_server_item_read(item, out, &why);
	assert_true(good || why);
	json_decref(item);
	return good;
}

static void good_items(void **state)
{
	struct turn_facts f;

	assert_true(reads("{\"host\":\"edge1.example.com\",\"realm\":\"R \xc3\xa4\","
			  "\"udp\":[3478,65535],\"tcp\":[1],\"tls\":[5349,443],\"new\":1}",
			  &f));
	assert_string_equal(f.host, "edge1.example.com");
	assert_int_equal(f.n_udp, 2);
	assert_int_equal(f.udp_ports[1], 65535);
	assert_int_equal(f.n_tcp, 1);
	assert_int_equal(f.n_tls, 2);
	assert_true(reads("{\"host\":\"192.0.2.1\",\"realm\":\"r\",\"tls\":[443]}", &f));
	assert_int_equal(f.n_udp, 0);
	assert_true(reads("{\"host\":\"2001:db8::1\",\"realm\":\"r\",\"udp\":[3478]}", &f));
	assert_true(reads("{\"host\":\"e\",\"realm\":\"r\",\"udp\":[1,2,3,4,5,6,7,8,9,10,11,12,13,"
			  "14,15,16]}",
			  &f));
	assert_int_equal(f.n_udp, TURN_MAX_PORTS);
}

static void bad_items(void **state)
{
	static const char *const bad[] = {
		"{}",
		"[]",
		"{\"host\":\"e\",\"realm\":\"r\"}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[]}",
		"{\"host\":\"e\",\"realm\":\"\",\"udp\":[1]}",
		"{\"host\":\"\",\"realm\":\"r\",\"udp\":[1]}",
		"{\"host\":\"e?x\",\"realm\":\"r\",\"udp\":[1]}",
		"{\"host\":\"e:1\",\"realm\":\"r\",\"udp\":[1]}",
		"{\"host\":\"[2001:db8::1]\",\"realm\":\"r\",\"udp\":[1]}",
		"{\"host\":\"e f\",\"realm\":\"r\",\"udp\":[1]}",
		"{\"host\":\".e\",\"realm\":\"r\",\"udp\":[1]}",
		"{\"host\":7,\"realm\":\"r\",\"udp\":[1]}",
		"{\"host\":\"e\",\"realm\":7,\"udp\":[1]}",
		"{\"host\":\"e\",\"realm\":\"a\\nb\",\"udp\":[1]}",
		"{\"host\":\"e\",\"realm\":\"a\\\"b\",\"udp\":[1]}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":1}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[0]}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[65536]}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[-1]}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[1.5]}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[\"1\"]}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[1],\"tcp\":[0]}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[1],\"tls\":{}}",
		"{\"host\":\"e\",\"realm\":\"r\",\"udp\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,"
		"17]}",
	};
	struct turn_facts f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (reads(bad[i], &f))
			fail_msg("taken: %s", bad[i]);
}

static void bounds_of_names(void **state)
{
	char text[1024], name[300];
	struct turn_facts f;

	memset(name, 'a', sizeof(name));
	snprintf(text, sizeof(text), "{\"host\":\"%.253s\",\"realm\":\"%.127s\",\"udp\":[1]}", name,
		 name);
	assert_true(reads(text, &f));
	snprintf(text, sizeof(text), "{\"host\":\"%.254s\",\"realm\":\"r\",\"udp\":[1]}", name);
	assert_false(reads(text, &f));
	snprintf(text, sizeof(text), "{\"host\":\"e\",\"realm\":\"%.128s\",\"udp\":[1]}", name);
	assert_false(reads(text, &f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_credential),  cmocka_unit_test(nobody_in_particular),
		cmocka_unit_test(labels),	   cmocka_unit_test(round_robin),
		cmocka_unit_test(full_of_servers), cmocka_unit_test(rotation),
		cmocka_unit_test(many_turns),	   cmocka_unit_test(frozen_for_a_week),
		cmocka_unit_test(nothing_is_left), cmocka_unit_test(good_items),
		cmocka_unit_test(bad_items),	   cmocka_unit_test(bounds_of_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
