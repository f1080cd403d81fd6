/* Windows and penalties: who is slowed down, who is not, and that the table is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/rate.h"
#include "support/alloc_fail.h"

static const uint8_t random_bytes[32] = { 1, 2, 3, 4 };

static struct addr ip(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(slice_of(text), 0, &a));
	return a;
}

static struct rate_key key(struct rate *r, const char *user, const char *from)
{
	struct addr a = from ? ip(from) : (struct addr){ 0 };

	return rate_key_of(r, SLICE("d"), slice_of(user), from ? &a : NULL);
}

static bool same(struct rate_key a, struct rate_key b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static void test_keys(void **state)
{
	struct rate *r = rate_new(random_bytes, 10);

	assert_true(same(key(r, "alice", NULL), key(r, "ALICE", NULL)));
	assert_false(same(key(r, "alice", NULL), key(r, "bob", NULL)));
	assert_false(same(key(r, "alice", "192.0.2.1"), key(r, "alice", "192.0.2.2")));
	assert_true(same(key(r, "a", "2001:db8::1"), key(r, "a", "2001:db8::2")));
	assert_false(same(key(r, "a", "2001:db8:0:1::1"), key(r, "a", "2001:db8::1")));
	rate_free(r);
}

static void test_window(void **state)
{
	struct rate *r = rate_new(random_bytes, 10);
	struct rate_limit l = { 3, 300000 }, none = { 0, 1000 };
	struct rate_key k = key(r, "alice", NULL), other = key(r, "bob", NULL);
	uint32_t retry = 0;

	for (int i = 0; i < 3; i++)
		assert_true(rate_window_take(r, &k, &l, 1000 * i, &retry));
	assert_false(rate_window_take(r, &k, &l, 100000, &retry));
	assert_int_equal(retry, 200);
	assert_false(rate_window_open(r, &k, &l, 299001, &retry));
	assert_int_equal(retry, 1);
	assert_true(rate_window_take(r, &other, &l, 100000, &retry));
	assert_true(rate_window_take(r, &k, &l, 300000, &retry));
	for (int i = 0; i < 100; i++)
		assert_true(rate_window_take(r, &k, &none, 300000, &retry));
	rate_free(r);
}

/* What is under way counts, so that a burst is no way around the limit. */
static void test_window_pending(void **state)
{
	struct rate *r = rate_new(random_bytes, 10);
	struct rate_limit l = { 3, 300000 };
	struct rate_key k = key(r, "", "192.0.2.1");
	uint32_t retry = 0;

	for (int i = 0; i < 3; i++)
		assert_true(rate_window_enter(r, &k, &l, 0, &retry));
	assert_false(rate_window_enter(r, &k, &l, 0, &retry));
	assert_int_equal(retry, 1);
	rate_window_leave(r, &k, &l, 0, false);
	assert_true(rate_window_enter(r, &k, &l, 0, &retry));
	for (int i = 0; i < 3; i++)
		rate_window_leave(r, &k, &l, 1000, true);
	assert_false(rate_window_enter(r, &k, &l, 1000, &retry));
	assert_int_equal(retry, 300);
	assert_true(rate_window_enter(r, &k, &l, 301000, &retry));
	rate_window_leave(r, &k, &l, 301000, false);
	assert_int_equal(rate_count(r), 0); /* nothing to remember */
	rate_free(r);
}

/* Wrong passwords without end: how long is it refused after each? */
static void test_penalty_grows(void **state)
{
	static const uint32_t want[] = { 0, 0, 15, 30, 60, 120, 240, 480, 600, 600 };
	struct rate *r = rate_new(random_bytes, 10);
	struct rate_key k = key(r, "alice", "192.0.2.1");
	struct rate_key good = key(r, "alice", "192.0.2.2"), other = key(r, "bob", "192.0.2.1");
	int64_t now = 0;
	uint32_t retry;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_true(rate_penalty_enter(r, &k, now, &retry));
		rate_penalty_leave(r, &k, now, RATE_BAD);
		retry = 0;
		if (rate_penalty_enter(r, &k, now, &retry))
			rate_penalty_leave(r, &k, now, RATE_NEITHER);
		assert_int_equal(retry, want[i]);
		/* from elsewhere, and others from there */
		assert_true(rate_penalty_enter(r, &good, now, &retry));
		rate_penalty_leave(r, &good, now, RATE_GOOD);
		assert_true(rate_penalty_enter(r, &other, now, &retry));
		rate_penalty_leave(r, &other, now, RATE_GOOD);
		now += want[i] * 1000;
	}
	/* forgotten after a while */
	now += RATE_FORGET_MS;
	for (int i = 0; i < 2; i++) {
		assert_true(rate_penalty_enter(r, &k, now, &retry));
		rate_penalty_leave(r, &k, now, RATE_BAD);
	}
	assert_true(rate_penalty_enter(r, &k, now, &retry));
	rate_penalty_leave(r, &k, now, RATE_GOOD);
	assert_int_equal(rate_count(r), 0);
	rate_free(r);
}

static void test_penalty_pending(void **state)
{
	struct rate *r = rate_new(random_bytes, 10);
	struct rate_key k = key(r, "alice", "192.0.2.1");
	uint32_t retry = 0;

	for (int i = 0; i < RATE_FREE_TRIES; i++)
		assert_true(rate_penalty_enter(r, &k, 0, &retry));
	assert_false(rate_penalty_enter(r, &k, 0, &retry));
	for (int i = 0; i < RATE_FREE_TRIES; i++)
		rate_penalty_leave(r, &k, 0, RATE_BAD);
	assert_false(rate_penalty_enter(r, &k, 14999, &retry));
	assert_true(rate_penalty_enter(r, &k, 15000, &retry));
	assert_false(rate_penalty_enter(r, &k, 15000, &retry)); /* one at a time now */
	rate_penalty_leave(r, &k, 15000, RATE_GOOD);
	rate_free(r);
}

static void test_bound(void **state)
{
	struct rate *r = rate_new(random_bytes, 4);
	struct rate_limit l = { 1, 1000 };
	struct rate_key first = key(r, "u0", NULL);
	uint32_t retry;
	char user[16];

	for (int i = 0; i < 5; i++) {
		struct rate_key k;

		snprintf(user, sizeof(user), "u%d", i);
		k = key(r, user, NULL);
		assert_true(rate_window_enter(r, &k, &l, 0, &retry));
		rate_window_leave(r, &k, &l, 0, true);
		assert_int_equal(rate_count(r), i < 4 ? i + 1 : 4);
	}
	/* the oldest was forgotten; what it had under way does no harm */
	rate_window_leave(r, &first, &l, 0, false);
	assert_true(rate_window_open(r, &first, &l, 0, &retry));
	rate_free(r);
}

static void one_run(void *arg)
{
	struct rate *r = rate_new(random_bytes, 2);
	struct rate_limit l = { 1, 1000 };
	struct rate_key k;
	uint32_t retry;

	if (!r)
		return;
	k = key(r, "u", NULL);
	assert_true(rate_penalty_enter(r, &k, 0, &retry));
	rate_penalty_leave(r, &k, 0, RATE_BAD);
	assert_true(rate_window_enter(r, &k, &l, 2000, &retry) || rate_count(r));
	rate_window_leave(r, &k, &l, 2000, true);
	rate_free(r);
}

static void test_alloc(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_window_pending),
		cmocka_unit_test(test_penalty_grows),
		cmocka_unit_test(test_penalty_pending),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_alloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
