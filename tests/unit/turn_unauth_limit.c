/* Answers to unproved sources: the bound of one, and that many cost nothing (checklist, TURN rows 7
 * and 8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "turn/unauth_limit.h"

static const uint8_t seed[16] = { 9, 8, 7 };

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	assert_true(addr_parse_ip(slice_of(text), port, &a));
	return a;
}

static unsigned takes(struct turn_unauth_limit *l, const struct addr *a, uint32_t rate,
		      int64_t now_ms)
{
	unsigned n = 0;

	while (n < 100000 && turn_unauth_limit_take(l, a, rate, now_ms))
		n++;
	return n;
}

static void test_bound(void **state)
{
	static const uint32_t rates[] = { 1, 2, 3, 7, 10, 50, 1000, 4999 };

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct turn_unauth_limit *l = turn_unauth_limit_new(seed);
		struct addr a = ip("192.0.2.1", 1);
		uint32_t rate = rates[i];
		unsigned n = 0;

		assert_false(turn_unauth_limit_is_over(l, &a, rate, 1000));
		assert_int_equal(takes(l, &a, rate, 1000), 2 * rate);
		assert_true(turn_unauth_limit_is_over(l, &a, rate, 1000));
		assert_false(turn_unauth_limit_is_over(l, &a, rate, 2000));
		assert_false(turn_unauth_limit_is_over(l, &a, 0, 1000));
		assert_int_equal(takes(l, &a, rate, 2000), rate);
		/* From then on the rate, however it is asked. */
		for (int64_t now = 2001; now <= 12000; now++)
			n += takes(l, &a, rate, now);
		assert_int_equal(n, 10 * rate);
		assert_int_equal(takes(l, &a, rate, 1000000), 2 * rate);
		assert_int_equal(takes(l, &a, 0, 1000000), 100000);
		/* A clock that goes back gives nothing. */
		assert_int_equal(takes(l, &a, rate, 999000), 0);
		turn_unauth_limit_free(l);
	}
}

static void test_source(void **state)
{
	struct turn_unauth_limit *l = turn_unauth_limit_new(seed);
	struct addr a = ip("192.0.2.1", 1), port = ip("192.0.2.1", 2), b = ip("192.0.2.2", 1);
	struct addr a6 = ip("2001:db8:0:1::1", 1), same = ip("2001:db8:0:1:ffff::2", 1);
	struct addr next = ip("2001:db8:0:2::1", 1);

	/* Ports, and what is in a /64, are the sender's to choose. */
	assert_int_equal(takes(l, &a, 5, 0), 10);
	assert_int_equal(takes(l, &port, 5, 0), 0);
	assert_int_equal(takes(l, &b, 5, 0), 10);
	assert_int_equal(takes(l, &a6, 5, 0), 10);
	assert_int_equal(takes(l, &same, 5, 0), 0);
	assert_int_equal(takes(l, &next, 5, 0), 10);
	turn_unauth_limit_free(l);
}

/* 100,000 sources, each ten times: memory stays as it is, and all together get no more answers than
 * all buckets hold. */
static void test_flood(void **state)
{
	enum { SOURCES = 100000, RATE = 5, BUCKETS = 16384 };
	struct turn_unauth_limit *l = turn_unauth_limit_new(seed);
	struct addr first = ip("198.51.100.1", 1);
	size_t answered = 0;

	alloc_fail_at(1);
	for (uint32_t k = 0; k < 10; k++) {
		for (uint32_t i = 0; i < SOURCES; i++) {
			struct addr a = { .family = ADDR_IP4, .port = (uint16_t)i };

			a.ip[0] = 11;
			a.ip[1] = (uint8_t)(i >> 16);
			a.ip[2] = (uint8_t)(i >> 8);
			a.ip[3] = (uint8_t)i;
			answered += turn_unauth_limit_take(l, &a, RATE, 0);
		}
	}
	assert_false(alloc_fail_hit()); /* nothing was asked of the allocator */
	alloc_fail_at(0);
	assert_in_range(answered, BUCKETS * 2 * RATE * 95 / 100, BUCKETS * 2 * RATE);
	/* It is over as fast as it came: who is honest is answered again. */
	assert_int_equal(takes(l, &first, RATE, 2000), 2 * RATE);
	turn_unauth_limit_free(l);
}

static void one_run(void *arg)
{
	struct turn_unauth_limit *l = turn_unauth_limit_new(seed);

	turn_unauth_limit_free(l);
}

static void test_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
