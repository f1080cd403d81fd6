/* Users and short-lived credentials: keys as others compute them, expiry, rotation, bounds.
 * Expected values were computed apart, with another implementation of HMAC, MD5 and SHA-256. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "support/alloc_fail.h"
#include "turn/credentials.h"

#define NOW	  1700000000
#define TEN_YEARS (3652 * 86400LL)

static const uint8_t seed[16] = { 4, 5, 6 };

static struct turn_credentials *make(void)
{
	struct turn_credentials *c = turn_credentials_new(seed);

	assert_non_null(c);
	assert_int_equal(turn_credentials_set_realm(c, SLICE("example.org")), 0);
	return c;
}

static void add_alice(struct turn_credentials *c, const char *password)
{
	turn_credentials_begin(c);
	assert_int_equal(turn_credentials_add(c, SLICE("alice"), slice_of(password)), 0);
	turn_credentials_end(c);
}

static size_t keys(const struct turn_credentials *c, const char *user, bool sha256, int64_t now,
		   struct turn_key out[TURN_MAX_KEYS], const char **why)
{
	*why = "";
	return turn_credentials_keys(c, slice_of(user), sha256, now, 0, out, why);
}

static void is_hex(const struct turn_key *k, const char *want)
{
	uint8_t raw[STUN_KEY_BYTES];

	assert_int_equal(hex_decode(slice_of(want), raw, sizeof(raw)), k->n);
	assert_memory_equal(k->key, raw, k->n);
}

static void test_static(void **state)
{
	struct turn_credentials *c = make();
	struct turn_key k[TURN_MAX_KEYS];
	const char *why;

	add_alice(c, "secret");
	assert_int_equal(turn_credentials_n_users(c), 1);
	assert_int_equal(keys(c, "alice", false, NOW, k, &why), 1);
	is_hex(&k[0], "543e1aec5d3614f03141652d6ada51b2");
	assert_true(k[0].is_static);
	assert_int_equal(keys(c, "alice", true, NOW, k, &why), 1);
	is_hex(&k[0], "d1659fff7a501be15962adc35514ca6a5868905695f2dd1093741f931e000a1f");
	assert_int_equal(keys(c, "Alice", false, NOW, k, &why), 0);
	assert_string_equal(why, "unknown user");
	assert_int_equal(keys(c, "alice ", false, NOW, k, &why), 0);
	assert_int_equal(keys(c, "", false, NOW, k, &why), 0);
	assert_int_equal(turn_credentials_keys(c, SLICE("alice\0x"), false, NOW, 0, k, &why), 0);
	turn_credentials_free(c);
	turn_credentials_free(NULL);
}

static void test_replace(void **state)
{
	struct turn_credentials *c = make();
	struct turn_key k[TURN_MAX_KEYS];
	char name[TURN_USER_BYTES + 1];
	const char *why;

	memset(name, 'n', sizeof(name));
	/* Without a begin nothing is taken. */
	assert_int_equal(turn_credentials_add(c, SLICE("x"), SLICE("y")), -EINVAL);
	turn_credentials_end(c);
	add_alice(c, "secret");
	turn_credentials_begin(c);
	assert_int_equal(turn_credentials_add(c, SLICE("bob"), SLICE("1")), 0);
	assert_int_equal(turn_credentials_add(c, SLICE("bob"), SLICE_NONE), 0);
	assert_int_equal(turn_credentials_add(c, SLICE_NONE, SLICE("1")), -EINVAL);
	assert_int_equal(
		turn_credentials_add(c, (struct slice){ name, TURN_USER_BYTES - 1 }, SLICE("1")),
		0);
	assert_int_equal(
		turn_credentials_add(c, (struct slice){ name, TURN_USER_BYTES }, SLICE("1")),
		-EINVAL);
	/* Until the end the old ones count. */
	assert_int_equal(keys(c, "alice", false, NOW, k, &why), 1);
	assert_int_equal(keys(c, "bob", false, NOW, k, &why), 0);
	turn_credentials_end(c);
	assert_int_equal(keys(c, "alice", false, NOW, k, &why), 0);
	assert_int_equal(keys(c, "bob", false, NOW, k, &why), 1);
	assert_int_equal(turn_credentials_n_users(c), 2);
	/* Begun and not ended, begun again, ended twice. */
	turn_credentials_begin(c);
	assert_int_equal(turn_credentials_add(c, SLICE("eve"), SLICE("1")), 0);
	turn_credentials_begin(c);
	turn_credentials_end(c);
	turn_credentials_end(c);
	assert_int_equal(turn_credentials_n_users(c), 0);
	turn_credentials_begin(c);
	turn_credentials_free(c);
}

static void test_password(void **state)
{
	char secret[201], text[29];

	turn_credentials_password(SLICE("north"), SLICE("1433895918:ninefingers"), text);
	assert_string_equal(text, "jy8hTxmOO7UtEKXqSkSlvakPVYA=");
	turn_credentials_password(SLICE("logen"), SLICE("1700000060:bob"), text);
	assert_string_equal(text, "9x3Kpz+p0VIiQ+69Y5R9tyAbQj0=");
	memset(secret, 'k', 200);
	turn_credentials_password((struct slice){ secret, 200 }, SLICE("1700000060:bob"), text);
	assert_string_equal(text, "8wIdRm+NHpbVQcoYnbLSvvx9LMA=");
}

static void test_timed(void **state)
{
	static const char *const strange[] = { ":bob",
					       "x1700000060:bob",
					       "-1:bob",
					       "+1700000060:b",
					       "1700000060x:bob",
					       " 1700000060:bob",
					       "0x7f:bob",
					       "1700000060.5:b",
					       "bob:1700000060",
					       "99999999999999999999999999:bob" };
	struct turn_credentials *c = make();
	struct turn_key k[TURN_MAX_KEYS];
	char name[64];
	const char *why;

	assert_int_equal(keys(c, "1700000060:bob", false, NOW, k, &why), 0);
	assert_string_equal(why, "no secret is known");
	assert_int_equal(turn_credentials_put_secret(c, 0, SLICE_NONE, SLICE("logen"), 0), 0);
	assert_int_equal(keys(c, "1700000060:bob", false, NOW, k, &why), 1);
	is_hex(&k[0], "3b73e3d5e5bb14a08be4f144c97642a7");
	assert_false(k[0].is_static);
	/* At its end. */
	assert_int_equal(keys(c, "1700000060:bob", false, 1700000060, k, &why), 1);
	assert_int_equal(keys(c, "1700000060:bob", false, 1700000061, k, &why), 0);
	assert_string_equal(why, "credential expired 1 s ago");
	assert_int_equal(
		turn_credentials_keys(c, SLICE("1700000060:bob"), false, 1700000090, 30, k, &why),
		1);
	assert_int_equal(
		turn_credentials_keys(c, SLICE("1700000060:bob"), false, 1700000091, 30, k, &why),
		0);
	assert_string_equal(why, "credential expired 31 s ago");
	assert_int_equal(keys(c, "0:bob", false, NOW, k, &why), 0);
	/* Without a name behind it. */
	assert_int_equal(keys(c, "1700000060", false, NOW, k, &why), 1);
	assert_int_equal(keys(c, "1700000060:", false, NOW, k, &why), 1);
	/* Ten years, and what was meant as milliseconds. */
	snprintf(name, sizeof(name), "%lld:bob", NOW + TEN_YEARS);
	assert_int_equal(keys(c, name, false, NOW, k, &why), 1);
	snprintf(name, sizeof(name), "%lld:bob", NOW + TEN_YEARS + 1);
	assert_int_equal(keys(c, name, false, NOW, k, &why), 0);
	assert_string_equal(why, "credential expires in more than ten years");
	assert_int_equal(keys(c, "1700000060000:bob", false, NOW, k, &why), 0);
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		assert_int_equal(keys(c, strange[i], false, NOW, k, &why), 0);
		assert_string_equal(why, "unknown user");
	}
	turn_credentials_free(c);
}

/* Clocks that differ: what counts is the clock that made it. */
static void test_skew(void **state)
{
	struct turn_credentials *c = make();
	struct turn_key k[TURN_MAX_KEYS];
	const char *why;

	assert_int_equal(turn_credentials_put_secret(c, 1, SLICE("a"), SLICE("ahead"), 100000), 0);
	assert_int_equal(keys(c, "1700000100:bob", false, NOW, k, &why), 1);
	assert_int_equal(keys(c, "1700000099:bob", false, NOW, k, &why), 0);
	assert_int_equal(turn_credentials_put_secret(c, 2, SLICE("a"), SLICE("behind"), -100000),
			 0);
	assert_int_equal(keys(c, "1699999900:bob", false, NOW, k, &why), 1);
	assert_int_equal(keys(c, "1699999899:bob", false, NOW, k, &why), 0);
	assert_string_equal(why, "credential expired 1 s ago"); /* by the one that is nearer */
	assert_int_equal(keys(c, "1700000100:bob", false, NOW, k, &why), 2);
	/* No clock is so wrong, but nothing breaks. */
	assert_int_equal(turn_credentials_put_secret(c, 3, SLICE("a"), SLICE("mad"), INT64_MAX), 0);
	assert_int_equal(turn_credentials_put_secret(c, 4, SLICE("a"), SLICE("mad"), INT64_MIN), 0);
	assert_int_equal(keys(c, "1700000100:bob", false, NOW, k, &why), 2);
	turn_credentials_free(c);
}

/* The keys that a secret gives for a name, to tell which of them are among the candidates. */
static bool is_candidate(const struct turn_credentials *c, const char *user, const char *secret)
{
	struct turn_key k[TURN_MAX_KEYS];
	uint8_t want[STUN_KEY_BYTES];
	char password[29];
	const char *why;
	size_t n = keys(c, user, false, NOW, k, &why);
	bool found = false;

	assert_true(n <= TURN_MAX_KEYS);
	turn_credentials_password(slice_of(secret), slice_of(user), password);
	assert_int_equal(
		stun_key_md5(slice_of(user), SLICE("example.org"), slice_of(password), want), 0);
	for (size_t i = 0; i < n; i++)
		found = found || memcmp(k[i].key, want, 16) == 0;
	return found;
}

static void test_rotation(void **state)
{
	struct turn_credentials *c = make();
	static const char user[] = "1700000060:bob";
	struct turn_key k[TURN_MAX_KEYS];
	const char *why;

	assert_int_equal(turn_credentials_put_secret(c, 1, SLICE("one"), SLICE("s1"), 0), 0);
	assert_int_equal(turn_credentials_put_secret(c, 1, SLICE("two"), SLICE("s2"), 0), 0);
	assert_int_equal(turn_credentials_put_secret(c, 2, SLICE("one"), SLICE("s3"), 0), 0);
	assert_int_equal(turn_credentials_n_secrets(c), 3);
	assert_true(is_candidate(c, user, "s1") && is_candidate(c, user, "s2") &&
		    is_candidate(c, user, "s3"));
	/* The same again is another secret in its place. */
	assert_int_equal(turn_credentials_put_secret(c, 1, SLICE("one"), SLICE("s4"), 0), 0);
	assert_int_equal(turn_credentials_n_secrets(c), 3);
	assert_false(is_candidate(c, user, "s1"));
	assert_true(is_candidate(c, user, "s4"));
	turn_credentials_del_secret(c, 1, SLICE("two"));
	turn_credentials_del_secret(c, 2, SLICE("two"));
	turn_credentials_del_secret(c, 3, SLICE("one"));
	assert_false(is_candidate(c, user, "s2"));
	assert_true(is_candidate(c, user, "s3") && is_candidate(c, user, "s4"));
	turn_credentials_reset(c, 1);
	assert_false(is_candidate(c, user, "s4"));
	assert_true(is_candidate(c, user, "s3"));
	turn_credentials_reset(c, 2);
	assert_int_equal(turn_credentials_n_secrets(c), 0);
	/* A user of the file with such a name comes first, secrets after it. */
	turn_credentials_begin(c);
	assert_int_equal(turn_credentials_add(c, SLICE("1700000060:bob"), SLICE("p")), 0);
	turn_credentials_end(c);
	assert_int_equal(keys(c, user, false, NOW, k, &why), 1);
	assert_int_equal(turn_credentials_put_secret(c, 1, SLICE("one"), SLICE("s1"), 0), 0);
	assert_int_equal(keys(c, user, false, NOW, k, &why), 2);
	assert_true(k[0].is_static && !k[1].is_static);
	assert_int_equal(keys(c, user, false, NOW + 1000, k, &why), 1);
	turn_credentials_free(c);
}

static void test_bounds(void **state)
{
	struct turn_credentials *c = make();
	static char text[TURN_SECRET_BYTES + 1];
	struct turn_key k[TURN_MAX_KEYS];
	const char *why;
	char id[16];

	memset(text, 'x', sizeof(text));
	assert_int_equal(turn_credentials_put_secret(c, 0, SLICE("e"), SLICE_NONE, 0), -EINVAL);
	assert_int_equal(turn_credentials_put_secret(c, 0, SLICE("e"),
						     (struct slice){ text, TURN_SECRET_BYTES + 1 },
						     0),
			 -EINVAL);
	assert_int_equal(
		turn_credentials_put_secret(c, 0, (struct slice){ text, 65 }, SLICE("s"), 0),
		-EINVAL);
	assert_int_equal(turn_credentials_n_secrets(c), 0);
	assert_int_equal(turn_credentials_put_secret(c, 0, (struct slice){ text, 64 },
						     (struct slice){ text, TURN_SECRET_BYTES }, 0),
			 0);
	for (int i = 1; i < TURN_MAX_SECRETS; i++) {
		struct slice s = { id, (size_t)snprintf(id, sizeof(id), "id%d", i) };

		assert_int_equal(turn_credentials_put_secret(c, 7, s, s, 0), 0);
	}
	assert_int_equal(turn_credentials_n_secrets(c), TURN_MAX_SECRETS);
	assert_int_equal(turn_credentials_put_secret(c, 7, SLICE("more"), SLICE("s"), 0), -ENOSPC);
	assert_int_equal(turn_credentials_put_secret(c, 7, SLICE("id5"), SLICE("s"), 0), 0);
	/* The configured one, which no C can crowd out, and the newest of the others. */
	assert_int_equal(keys(c, "1700000060:bob", true, NOW, k, &why), TURN_MAX_KEYS);
	assert_true(is_candidate(c, "1700000060:bob", "id63"));
	assert_true(is_candidate(c, "1700000060:bob", "id49"));
	assert_false(is_candidate(c, "1700000060:bob", "id48"));
	text[TURN_SECRET_BYTES] = '\0';
	assert_true(is_candidate(c, "1700000060:bob", text));
	turn_credentials_reset(c, 7);
	assert_int_equal(turn_credentials_n_secrets(c), 1);
	turn_credentials_free(c);
}

static void person_is(const struct turn_credentials *c, const char *user, const char *want)
{
	assert_true(slice_eq(turn_credentials_person(c, slice_of(user)), slice_of(want)));
}

static void test_person(void **state)
{
	struct turn_credentials *c = make();

	turn_credentials_begin(c);
	assert_int_equal(turn_credentials_add(c, SLICE("7:static"), SLICE("p")), 0);
	turn_credentials_end(c);
	person_is(c, "1700000060:bob", "bob");
	person_is(c, "1700000099:bob", "bob");
	person_is(c, "1700000060:bob:x", "bob:x");
	person_is(c, "bob", "bob");
	person_is(c, "alice:bob", "alice:bob");
	person_is(c, ":bob", ":bob");
	person_is(c, "1700000060:", "1700000060:");
	person_is(c, "1700000060", "1700000060");
	person_is(c, "7:static", "7:static");
	person_is(c, "8:static", "static");
	person_is(c, "", "");
	turn_credentials_free(c);
}

static bool found_in(const void *hay, size_t n, const char *needle)
{
	return memmem(hay, n, needle, strlen(needle)) != NULL;
}

/* A secret is not kept in the clear at all; n_bytes is less than the struct has. */
static void test_not_kept(void **state)
{
	enum { N_BYTES = 64 * 200 };
	struct turn_credentials *c = make();

	assert_int_equal(
		turn_credentials_put_secret(c, 1, SLICE("id-xyzzy"), SLICE("plugh-plover"), 0), 0);
	assert_true(found_in(c, N_BYTES, "id-xyzzy"));
	assert_false(found_in(c, N_BYTES, "plugh-plover"));
	turn_credentials_del_secret(c, 1, SLICE("id-xyzzy"));
	assert_false(found_in(c, N_BYTES, "id-xyzzy")); /* its place was wiped */
	turn_credentials_free(c);
}

static void one_run(void *arg)
{
	struct turn_credentials *c = turn_credentials_new(seed);
	struct turn_key k[TURN_MAX_KEYS];
	bool good = true;
	const char *why;

	if (!c)
		return;
	good = turn_credentials_set_realm(c, SLICE("example.org")) == 0;
	turn_credentials_begin(c);
	good = turn_credentials_add(c, SLICE("old"), SLICE("p")) == 0 && good;
	turn_credentials_end(c);
	if (good) {
		turn_credentials_begin(c);
		turn_credentials_add(c, SLICE("new1"), SLICE("p"));
		turn_credentials_add(c, SLICE("new2"), SLICE("p"));
		turn_credentials_end(c);
		/* All of the new ones, or all of the old ones. */
		if (keys(c, "old", false, NOW, k, &why) == 1)
			assert_int_equal(turn_credentials_n_users(c), 1);
		else
			assert_int_equal(turn_credentials_n_users(c), 2);
	}
	if (turn_credentials_set_realm(c, SLICE("other")) < 0 && good)
		assert_int_equal(turn_credentials_put_secret(c, 1, SLICE("i"), SLICE("s"), 0), 0);
	turn_credentials_free(c);
}

static void test_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) >= 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_static),	 cmocka_unit_test(test_replace),
		cmocka_unit_test(test_password), cmocka_unit_test(test_timed),
		cmocka_unit_test(test_skew),	 cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_bounds),	 cmocka_unit_test(test_person),
		cmocka_unit_test(test_not_kept), cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
