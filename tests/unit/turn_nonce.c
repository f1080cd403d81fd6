/* Nonces: whose, how old, and that none but ours pass (checklist, TURN row 11). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "turn/nonce.h"

enum { LIFE_MS = 600000 };
#define T0 1700000000123

static struct turn_nonces nonces(uint8_t first)
{
	uint8_t key[32] = { first, 2, 3 };
	struct turn_nonces n;

	turn_nonces_init(&n, key);
	return n;
}

static struct addr at(const char *text)
{
	struct addr a;

	assert_true(addr_parse(slice_of(text), 0, &a));
	return a;
}

static enum turn_nonce_verdict check(const struct turn_nonces *n, const char *text,
				     const char *client, uint8_t transport, int64_t now_ms)
{
	struct addr a = at(client);

	return turn_nonce_check(n, (struct slice){ text, TURN_NONCE_BYTES }, &a, transport, now_ms,
				LIFE_MS);
}

static void test_form(void **state)
{
	struct turn_nonces n = nonces(1);
	struct addr a = at("192.0.2.1:5000");
	char text[TURN_NONCE_BYTES];
	uint8_t features[3], raw[18];

	turn_nonce_make(&n, &a, 0, T0, text);
	/* RFC 8489 9.2.1 and 18.1. */
	assert_memory_equal(text, "obMatJos2", 9);
	assert_int_equal(base64_decode((struct slice){ text + 9, 4 }, features, 3), 3);
	assert_int_equal(features[0], 0x80);
	assert_int_equal(features[1] | features[2], 0);
	assert_int_equal(base64_decode((struct slice){ text + 13, 24 }, raw, 18), 18);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(raw[i], (uint8_t)(T0 >> 8 * (5 - i)));
	turn_nonces_fini(&n);
}

static void test_age(void **state)
{
	struct turn_nonces n = nonces(1);
	struct addr a = at("192.0.2.1:5000");
	char text[TURN_NONCE_BYTES];

	turn_nonce_make(&n, &a, 1, T0, text);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 1, T0), TURN_NONCE_GOOD);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 1, T0 + LIFE_MS), TURN_NONCE_GOOD);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 1, T0 + LIFE_MS + 1), TURN_NONCE_STALE);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 1, INT64_MAX), TURN_NONCE_STALE);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 1, T0 - 1), TURN_NONCE_FOREIGN);
	/* A clock that begins at 0. */
	turn_nonce_make(&n, &a, 1, 0, text);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 1, 0), TURN_NONCE_GOOD);
}

/* Replayed from elsewhere, over another transport, after a restart. */
static void test_foreign(void **state)
{
	struct turn_nonces n = nonces(1), other = nonces(2);
	struct addr a = at("192.0.2.1:5000"), a6 = at("[2001:db8::1]:5000");
	char text[TURN_NONCE_BYTES];

	turn_nonce_make(&n, &a, 0, T0, text);
	assert_int_equal(check(&n, text, "192.0.2.1:5001", 0, T0), TURN_NONCE_FOREIGN);
	assert_int_equal(check(&n, text, "192.0.2.2:5000", 0, T0), TURN_NONCE_FOREIGN);
	assert_int_equal(check(&n, text, "[2001:db8::1]:5000", 0, T0), TURN_NONCE_FOREIGN);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 1, T0), TURN_NONCE_FOREIGN);
	assert_int_equal(check(&other, text, "192.0.2.1:5000", 0, T0), TURN_NONCE_FOREIGN);
	assert_int_equal(check(&n, text, "192.0.2.1:5000", 0, T0), TURN_NONCE_GOOD);
	/* Mapped is the same client. */
	assert_int_equal(check(&n, text, "[::ffff:192.0.2.1]:5000", 0, T0), TURN_NONCE_GOOD);
	turn_nonce_make(&n, &a6, 0, T0, text);
	assert_int_equal(check(&n, text, "[2001:db8::1]:5000", 0, T0), TURN_NONCE_GOOD);
	assert_int_equal(check(&n, text, "[2001:db8::2]:5000", 0, T0), TURN_NONCE_FOREIGN);
	assert_int_equal(turn_nonce_check(&n, SLICE_NONE, &a6, 0, T0, LIFE_MS), TURN_NONCE_FOREIGN);
}

/* Every other byte at every place, and every other length. */
static void test_changed(void **state)
{
	struct turn_nonces n = nonces(1);
	struct addr a = at("192.0.2.1:5000");
	char good[TURN_NONCE_BYTES + 3] = { 0 }, text[TURN_NONCE_BYTES];

	turn_nonce_make(&n, &a, 0, T0, good);
	for (size_t i = 0; i < TURN_NONCE_BYTES; i++) {
		for (int c = 0; c < 256; c++) {
			memcpy(text, good, sizeof(text));
			text[i] = (char)c;
			assert_int_equal(check(&n, text, "192.0.2.1:5000", 0, T0),
					 text[i] == good[i] ? TURN_NONCE_GOOD : TURN_NONCE_FOREIGN);
		}
	}
	for (size_t len = 0; len < sizeof(good); len++) {
		char *exact = malloc(len ? len : 1);

		memcpy(exact, good, len);
		assert_int_equal(
			turn_nonce_check(&n, (struct slice){ exact, len }, &a, 0, T0, LIFE_MS),
			len == TURN_NONCE_BYTES ? TURN_NONCE_GOOD : TURN_NONCE_FOREIGN);
		free(exact);
	}
}

/* Tags of neighbours have nothing in common: each of 96 bits turns about half of the time. */
static void test_spread(void **state)
{
	enum { ROUNDS = 2000 };
	struct turn_nonces n = nonces(1);
	struct addr a = at("192.0.2.1:5000");
	unsigned turned[96] = { 0 };
	uint8_t before[12], now[12];
	char text[TURN_NONCE_BYTES];

	for (int i = 0; i <= ROUNDS; i++) {
		turn_nonce_make(&n, &a, 0, T0 + i, text);
		assert_int_equal(base64_decode((struct slice){ text + 21, 16 }, now, 12), 12);
		for (int bit = 0; i > 0 && bit < 96; bit++)
			turned[bit] += (before[bit / 8] ^ now[bit / 8]) >> bit % 8 & 1;
		memcpy(before, now, sizeof(before));
	}
	for (int bit = 0; bit < 96; bit++)
		assert_in_range(turned[bit], ROUNDS * 2 / 5, ROUNDS * 3 / 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),	cmocka_unit_test(test_age),
		cmocka_unit_test(test_foreign), cmocka_unit_test(test_changed),
		cmocka_unit_test(test_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
