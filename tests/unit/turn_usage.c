/* Quotas and bandwidth of users, at their bounds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "turn/usage.h"

static const uint8_t seed[16] = { 1, 2, 3 };

static void test_quota(void **state)
{
	struct turn_use *a[4], *b, *none;
	struct turn_usage u;

	assert_int_equal(turn_usage_init(&u, seed), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(turn_usage_enter(&u, SLICE("alice"), 3, &a[i]), 0);
	assert_ptr_equal(a[0], a[2]);
	assert_int_equal(a[0]->n_allocations, 3);
	assert_int_equal(turn_usage_enter(&u, SLICE("alice"), 3, &a[3]), -EDQUOT);
	assert_int_equal(turn_usage_enter(&u, SLICE("alice"), 2, &a[3]), -EDQUOT);
	assert_int_equal(a[0]->n_allocations, 3);
	assert_int_equal(turn_usage_enter(&u, SLICE("bob"), 1, &b), 0);
	assert_int_equal(turn_usage_enter(&u, SLICE("bob"), 1, &none), -EDQUOT);
	/* No quota, and a name with a NUL is another one. */
	assert_int_equal(turn_usage_enter(&u, SLICE("bob\0x"), 0, &none), 0);
	assert_ptr_not_equal(none, b);
	assert_int_equal(u.users.n, 3);
	turn_usage_leave(&u, none);
	turn_usage_leave(&u, b);
	turn_usage_leave(&u, a[0]);
	assert_int_equal(turn_usage_enter(&u, SLICE("alice"), 3, &a[3]), 0);
	for (int i = 0; i < 3; i++)
		turn_usage_leave(&u, a[i]);
	assert_int_equal(u.users.n, 0);
	turn_usage_fini(&u);
}

/* A million allocations of as many users leave nothing behind; one user may have very many. */
static void test_many(void **state)
{
	struct turn_use *use[100];
	struct turn_usage u;
	char name[32];

	assert_int_equal(turn_usage_init(&u, seed), 0);
	for (int i = 0; i < 1000000; i++) {
		size_t n = (size_t)snprintf(name, sizeof(name), "user%d", i);

		if (i >= 100)
			turn_usage_leave(&u, use[i % 100]);
		assert_int_equal(turn_usage_enter(&u, (struct slice){ name, n }, 1, &use[i % 100]),
				 0);
		assert_true(u.users.n <= 100);
	}
	for (int i = 0; i < 100; i++)
		turn_usage_leave(&u, use[i]);
	assert_int_equal(u.users.n, 0);
	turn_usage_fini(&u);
}

static void with_use(void (*test)(struct turn_use *use))
{
	struct turn_usage u;
	struct turn_use *use;

	assert_int_equal(turn_usage_init(&u, seed), 0);
	assert_int_equal(turn_usage_enter(&u, SLICE("alice"), 0, &use), 0);
	test(use);
	turn_usage_leave(&u, use);
	turn_usage_fini(&u);
}

static void bucket(struct turn_use *use)
{
	/* Full at first: one second's worth, and not a byte more. */
	assert_true(turn_usage_spend(use, 600, 1000, 5000));
	assert_true(turn_usage_spend(use, 400, 1000, 5000));
	assert_false(turn_usage_spend(use, 1, 1000, 5000));
	assert_true(turn_usage_spend(use, 0, 1000, 5000));
	/* One byte each millisecond. */
	assert_false(turn_usage_spend(use, 10, 1000, 5009));
	assert_true(turn_usage_spend(use, 10, 1000, 5010));
	assert_false(turn_usage_spend(use, 1, 1000, 5010));
	/* Never more than one second's worth. */
	assert_true(turn_usage_spend(use, 1000, 1000, 100000));
	assert_false(turn_usage_spend(use, 1, 1000, 100000));
	/* A clock that stands or goes back gives nothing. */
	assert_false(turn_usage_spend(use, 1, 1000, 99000));
	assert_false(turn_usage_spend(use, 1, 1000, 100000));
	assert_true(turn_usage_spend(use, 1, 1000, 100001));
	/* No limit. */
	assert_true(turn_usage_spend(use, 1000000, 0, 100001));
	assert_false(turn_usage_spend(use, 1, 1000, 100001));
	/* A lower limit: what is held over it is gone. */
	assert_true(turn_usage_spend(use, 100, 100, 200000));
	assert_false(turn_usage_spend(use, 1, 100, 200000));
}

static void large(struct turn_use *use)
{
	/* 100 B/s, packets of 1500: when it is full, and 16 s after it, when it is full again. */
	assert_true(turn_usage_spend(use, 1500, 100, 0));
	assert_false(turn_usage_spend(use, 1, 100, 14009));
	assert_true(turn_usage_spend(use, 1, 100, 14010));
	assert_false(turn_usage_spend(use, 1500, 100, 15009));
	assert_true(turn_usage_spend(use, 1500, 100, 15010));
	/* The slowest and the fastest there is. */
	assert_false(turn_usage_spend(use, 65535, 1, 15010));
	assert_true(turn_usage_spend(use, 65535, UINT32_MAX, 15011));
	assert_true(turn_usage_spend(use, 65535, 1, (int64_t)1 << 50));
	assert_false(turn_usage_spend(use, 1, 1, ((int64_t)1 << 50) + 65534999));
	assert_true(turn_usage_spend(use, 1, 1, ((int64_t)1 << 50) + 65535000));
}

/* Asked each millisecond, as much passes as if asked seldom. */
static void steady(struct turn_use *use)
{
	uint64_t passed = 0;

	for (int64_t now = 0; now < 100000; now++) {
		while (turn_usage_spend(use, 7, 777, now))
			passed += 7;
	}
	assert_in_range(passed, 777 * 100 - 7, 777 * 101);
}

static void test_bucket(void **state)
{
	with_use(bucket);
	with_use(large);
	with_use(steady);
}

static void one_run(void *arg)
{
	struct turn_usage u;
	struct turn_use *use;

	if (turn_usage_init(&u, seed) < 0)
		return;
	if (turn_usage_enter(&u, SLICE("alice"), 1, &use) == 0) {
		assert_int_equal(turn_usage_enter(&u, SLICE("alice"), 1, &use), -EDQUOT);
		turn_usage_leave(&u, use);
	}
	assert_int_equal(u.users.n, 0);
	turn_usage_fini(&u);
}

static void test_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
