/* Loop detection: same tag, alias and source while the earlier search lives; all bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "route/loops.h"
#include "support/alloc_fail.h"

static const uint8_t seed[16] = { 1, 2, 3 };

static enum route_loops_verdict enter(struct route_loops *l, const char *tag, const char *alias,
				      const char *source, int64_t now_ms)
{
	return route_loops_enter(l, slice_of(tag), slice_of(alias), slice_of(source), now_ms);
}

static void test_same(void **state)
{
	struct route_loops *l = route_loops_new(seed, 100, 1000);

	assert_int_equal(enter(l, "t1", "bob@x", "pbx", 0), ROUTE_LOOPS_NEW);
	assert_int_equal(enter(l, "t1", "bob@x", "pbx", 1), ROUTE_LOOPS_SEEN);
	assert_int_equal(enter(l, "t1", "BOB@X", "pbx", 1), ROUTE_LOOPS_SEEN);
	assert_int_equal(enter(l, "t1", "bob@y", "pbx", 1), ROUTE_LOOPS_NEW);
	assert_int_equal(enter(l, "t1", "bob@x", "lab", 1), ROUTE_LOOPS_NEW);
	assert_int_equal(enter(l, "t1", "bob@x", "", 1), ROUTE_LOOPS_NEW);
	assert_int_equal(enter(l, "t2", "bob@x", "pbx", 1), ROUTE_LOOPS_NEW);
	assert_int_equal(route_loops_count(l), 5);
	route_loops_free(l);
}

static void test_end(void **state)
{
	struct route_loops *l = route_loops_new(seed, 100, 1000);

	enter(l, "t1", "bob@x", "pbx", 0);
	enter(l, "t1", "bob@x", "lab", 0);
	enter(l, "t2", "bob@x", "lab", 0);
	route_loops_leave(l, SLICE("t1"), SLICE("bob@x"), SLICE("lab"));
	route_loops_leave(l, SLICE("t1"), SLICE("bob@x"), SLICE("lab"));
	assert_int_equal(enter(l, "t1", "bob@x", "lab", 1), ROUTE_LOOPS_NEW);
	assert_int_equal(enter(l, "t1", "bob@x", "pbx", 1), ROUTE_LOOPS_SEEN);
	route_loops_forget(l, SLICE("t1"));
	assert_int_equal(route_loops_count(l), 1);
	assert_int_equal(enter(l, "t1", "bob@x", "pbx", 1), ROUTE_LOOPS_NEW);
	assert_int_equal(enter(l, "t2", "bob@x", "lab", 1), ROUTE_LOOPS_SEEN);
	route_loops_forget(l, SLICE("nobody"));
	route_loops_free(l);
}

static void test_time_out(void **state)
{
	struct route_loops *l = route_loops_new(seed, 100, 1000);

	enter(l, "t1", "a", "pbx", 0);
	enter(l, "t1", "b", "pbx", 500);
	assert_int_equal(enter(l, "t1", "a", "pbx", 999), ROUTE_LOOPS_SEEN);
	assert_int_equal(enter(l, "t1", "a", "pbx", 1000), ROUTE_LOOPS_NEW);
	assert_int_equal(enter(l, "t1", "b", "pbx", 1499), ROUTE_LOOPS_SEEN);
	assert_int_equal(route_loops_count(l), 2);
	enter(l, "t9", "z", "pbx", 5000);
	assert_int_equal(route_loops_count(l), 1);
	route_loops_free(l);
}

static void test_full(void **state)
{
	struct route_loops *l = route_loops_new(seed, 3, 1000);

	enter(l, "t1", "a", "", 0);
	enter(l, "t2", "a", "", 1);
	enter(l, "t3", "a", "", 2);
	assert_int_equal(enter(l, "t1", "a", "", 3), ROUTE_LOOPS_SEEN);
	/* The oldest one makes room. */
	assert_int_equal(enter(l, "t4", "a", "", 3), ROUTE_LOOPS_NEW);
	assert_int_equal(route_loops_count(l), 3);
	assert_int_equal(enter(l, "t2", "a", "", 3), ROUTE_LOOPS_SEEN);
	assert_int_equal(enter(l, "t1", "a", "", 3), ROUTE_LOOPS_NEW);
	route_loops_free(l);
}

static void test_per_tag(void **state)
{
	struct route_loops *l = route_loops_new(seed, 100, 1000);
	char alias[16];

	for (int i = 0; i < ROUTE_LOOPS_MAX_PER_TAG; i++) {
		snprintf(alias, sizeof(alias), "a%d", i);
		assert_int_equal(enter(l, "t", alias, "", 0), ROUTE_LOOPS_NEW);
	}
	assert_int_equal(enter(l, "t", "one-more", "", 0), ROUTE_LOOPS_TOO_MANY);
	assert_int_equal(enter(l, "t", "a0", "", 0), ROUTE_LOOPS_SEEN);
	assert_int_equal(enter(l, "u", "one-more", "", 0), ROUTE_LOOPS_NEW);
	route_loops_free(l);
}

static void test_long_strings(void **state)
{
	struct route_loops *l = route_loops_new(seed, 100, 1000);
	char text[1000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(enter(l, text, text, text, 0), ROUTE_LOOPS_NEW);
	text[600] = 'y';
	assert_int_equal(enter(l, text, text, text, 0), ROUTE_LOOPS_SEEN);
	text[510] = 'y';
	assert_int_equal(enter(l, text, text, text, 0), ROUTE_LOOPS_NEW);
	route_loops_forget(l, slice_of(text));
	assert_int_equal(route_loops_count(l), 1);
	route_loops_free(l);
}

static void run_once(void *arg)
{
	struct route_loops *l = route_loops_new(seed, 100, 1000);

	if (!l)
		return;
	/* Without memory nothing is remembered: no loop is claimed where there is none. */
	assert_int_equal(enter(l, "t", "a", "", 0), ROUTE_LOOPS_NEW);
	enter(l, "t", "a", "", 0);
	route_loops_free(l);
}

static void test_no_memory(void **state)
{
	assert_in_range(alloc_fail_sweep(run_once, NULL), 3, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),	  cmocka_unit_test(test_end),
		cmocka_unit_test(test_time_out),  cmocka_unit_test(test_full),
		cmocka_unit_test(test_per_tag),	  cmocka_unit_test(test_long_strings),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
