#include "core/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "support/alloc_fail.h"

static const uint8_t seed[16] = { 1 };

static struct addr ip(const char *text)
{
	struct addr a = { 0 };

	assert_true(addr_parse_ip(slice_of(text), 4711, &a));
	return a;
}

static struct net_limits *limits(uint32_t total, uint32_t per_source, uint32_t rate)
{
	struct net_limits_conf conf = { total, per_source, rate };
	struct net_limits *l = net_limits_new(seed);

	assert_non_null(l);
	net_limits_configure(l, &conf);
	return l;
}

static void the_total_holds_at_its_bound(void **state)
{
	struct net_limits *l = limits(3, 0, 0);
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2");

	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &b, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &b, 0), NET_OVER_TOTAL);
	net_limits_leave(l, &a);
	assert_int_equal(net_limits_enter(l, &b, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OVER_TOTAL);
	net_limits_free(l);
}

static void each_source_has_its_own_bound(void **state)
{
	struct net_limits *l = limits(0, 2, 0);
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2"), a_other_port = a;

	a_other_port.port = 5;
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &a_other_port, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OVER_SOURCE);
	assert_int_equal(net_limits_enter(l, &b, 0), NET_OK);
	net_limits_leave(l, &a);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	net_limits_free(l);
}

static void an_ip6_source_is_its_64(void **state)
{
	struct net_limits *l = limits(0, 1, 0);
	struct addr a = ip("2001:db8:0:1::1"), same = ip("2001:db8:0:1:ffff::2"),
		    other = ip("2001:db8:0:2::1");

	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &same, 0), NET_OVER_SOURCE);
	assert_int_equal(net_limits_enter(l, &other, 0), NET_OK);
	net_limits_leave(l, &same);
	assert_int_equal(net_limits_enter(l, &same, 0), NET_OK);
	net_limits_free(l);
}

static unsigned enter_many(struct net_limits *l, unsigned n, int64_t now_ms)
{
	struct addr a = ip("192.0.2.1");
	unsigned ok = 0;

	while (n-- > 0) {
		if (net_limits_enter(l, &a, now_ms) != NET_OK)
			continue;
		net_limits_leave(l, &a);
		ok++;
	}
	return ok;
}

static void the_rate_allows_a_burst_of_twice_and_then_the_rate(void **state)
{
	struct net_limits *l = limits(0, 0, 10);
	struct addr a = ip("192.0.2.1");

	assert_int_equal(enter_many(l, 100, 5000), 20);
	assert_int_equal(net_limits_enter(l, &a, 5000), NET_OVER_RATE);
	assert_int_equal(net_limits_enter(l, &a, 5099), NET_OVER_RATE);
	assert_int_equal(net_limits_enter(l, &a, 5100), NET_OK);
	assert_int_equal(enter_many(l, 100, 6100), 10);
	/* A long silence fills no more than the burst, and a clock that stands still nothing. */
	assert_int_equal(enter_many(l, 100, 10000000), 20);
	assert_int_equal(enter_many(l, 100, 10000000), 0);
	assert_int_equal(enter_many(l, 100, 9000000), 0);
	net_limits_free(l);
}

static void a_source_over_its_bound_uses_up_no_rate(void **state)
{
	struct net_limits *l = limits(0, 1, 1);
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2"), c = ip("192.0.2.3");

	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	for (int i = 0; i < 50; i++)
		assert_int_equal(net_limits_enter(l, &a, 0), NET_OVER_SOURCE);
	assert_int_equal(net_limits_enter(l, &b, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &c, 0), NET_OVER_RATE);
	net_limits_free(l);
}

static void new_limits_apply_to_who_comes_next(void **state)
{
	struct net_limits *l = limits(10, 0, 0);
	struct net_limits_conf tight = { 1, 0, 0 };
	struct addr a = ip("192.0.2.1");

	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	net_limits_configure(l, &tight);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OVER_TOTAL);
	net_limits_leave(l, &a);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OVER_TOTAL);
	net_limits_leave(l, &a);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	net_limits_free(l);
}

static void leaving_without_having_entered_changes_nothing(void **state)
{
	struct net_limits *l = limits(1, 0, 0);
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2");

	net_limits_leave(l, &a);
	assert_int_equal(net_limits_enter(l, &a, 0), NET_OK);
	net_limits_leave(l, &b);
	assert_int_equal(net_limits_enter(l, &b, 0), NET_OVER_TOTAL);
	net_limits_free(l);
}

static void verdicts_have_words(void **state)
{
	assert_string_equal(net_verdict_str(NET_OK), "ok");
	assert_string_equal(net_verdict_str(NET_OVER_SOURCE),
			    "too many connections from this source");
}

static void enter_some(void *arg)
{
	struct net_limits_conf conf = { 0, 0, 0 };
	struct net_limits *l = net_limits_new(seed);

	if (!l)
		return;
	net_limits_configure(l, &conf);
	for (int i = 0; i < 100; i++) {
		struct addr a = ip("198.51.100.0");
		enum net_verdict v;

		a.ip[3] = (uint8_t)i;
		v = net_limits_enter(l, &a, 0);
		assert_true(v == NET_OK || (v == NET_OVER_TOTAL && alloc_fail_hit()));
	}
	net_limits_free(l);
}

static void survives_failing_allocations(void **state)
{
	alloc_fail_sweep(enter_some, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_total_holds_at_its_bound),
		cmocka_unit_test(each_source_has_its_own_bound),
		cmocka_unit_test(an_ip6_source_is_its_64),
		cmocka_unit_test(the_rate_allows_a_burst_of_twice_and_then_the_rate),
		cmocka_unit_test(a_source_over_its_bound_uses_up_no_rate),
		cmocka_unit_test(new_limits_apply_to_who_comes_next),
		cmocka_unit_test(leaving_without_having_entered_changes_nothing),
		cmocka_unit_test(verdicts_have_words),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
