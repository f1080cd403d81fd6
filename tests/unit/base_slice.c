#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

#define assert_slice(s, text) assert_true(slice_eq(s, slice_of(text)))

static void test_equality(void **state)
{
	assert_true(slice_eq(SLICE("abc"), SLICE("abc")));
	assert_false(slice_eq(SLICE("abc"), SLICE("abd")));
	assert_false(slice_eq(SLICE("abc"), SLICE("ab")));
	assert_true(slice_eq(SLICE_NONE, SLICE("")));
	assert_true(slice_eq(slice_of(NULL), SLICE_NONE));
	assert_true(slice_caseeq(SLICE("Via"), SLICE("vIA")));
	assert_false(slice_caseeq(SLICE("Via"), SLICE("Vie")));
	assert_false(slice_caseeq(SLICE("Via"), SLICE("Vias")));
	assert_true(slice_caseeq(SLICE_NONE, SLICE_NONE));
}

/* Case-insensitive means letters only ('@' and '`' differ by the same bit), and the comparison does
 * not end at a NUL from the wire. */
static void test_caseeq_traps(void **state)
{
	assert_false(slice_caseeq(SLICE("@"), SLICE("`")));
	assert_false(slice_caseeq(SLICE("["), SLICE("{")));
	assert_false(slice_caseeq(SLICE("a\0b"), SLICE("a\0c")));
	assert_true(slice_caseeq(SLICE("a\0b"), SLICE("A\0B")));
	assert_false(slice_caseeq(SLICE("\xc4"), SLICE("\xe4")));
}

static void test_starts_ends(void **state)
{
	assert_true(slice_starts(SLICE("sip:a"), SLICE("sip:")));
	assert_true(slice_starts(SLICE("sip:"), SLICE("sip:")));
	assert_false(slice_starts(SLICE("sip"), SLICE("sip:")));
	assert_true(slice_ends(SLICE("a.example"), SLICE(".example")));
	assert_false(slice_ends(SLICE("example"), SLICE(".example")));
	assert_true(slice_starts(SLICE("a"), SLICE_NONE));
	assert_true(slice_ends(SLICE("a"), SLICE_NONE));
	assert_true(slice_starts(SLICE_NONE, SLICE_NONE));
	assert_true(slice_ends(SLICE_NONE, SLICE("")));
	assert_false(slice_starts(SLICE_NONE, SLICE("x")));
	assert_false(slice_ends(SLICE_NONE, SLICE("x")));
}

static void test_trim_find(void **state)
{
	assert_slice(slice_trim(SLICE(" \t\r\na b\n ")), "a b");
	assert_int_equal(slice_trim(SLICE(" \t ")).n, 0);
	assert_int_equal(slice_trim(SLICE_NONE).n, 0);
	assert_int_equal(slice_find(SLICE("a:b:c"), ':'), 1);
	assert_int_equal(slice_find(SLICE("abc"), ':'), 3);
	assert_int_equal(slice_find(SLICE_NONE, ':'), 0);
	assert_int_equal(slice_find(SLICE("a\0b"), '\0'), 1);
}

static void test_next(void **state)
{
	struct slice rest = SLICE("a,,b,");

	assert_slice(slice_next(&rest, ','), "a");
	assert_slice(slice_next(&rest, ','), "");
	assert_slice(slice_next(&rest, ','), "b");
	assert_non_null(rest.p);
	assert_slice(slice_next(&rest, ','), "");
	assert_null(rest.p);
	rest = SLICE("");
	assert_slice(slice_next(&rest, ','), "");
	assert_null(rest.p);
	assert_int_equal(slice_next(&rest, ',').n, 0);
}

static void test_word(void **state)
{
	struct slice rest = SLICE(" , a,b\t\r\nc ,");

	assert_slice(slice_word(&rest), "a");
	assert_slice(slice_word(&rest), "b");
	assert_slice(slice_word(&rest), "c");
	assert_int_equal(slice_word(&rest).n, 0);
	assert_int_equal(slice_word(&rest).n, 0);
	rest = SLICE_NONE;
	assert_int_equal(slice_word(&rest).n, 0);
}

static void check_u64(const char *text, uint64_t max, bool good, uint64_t want)
{
	uint64_t v = 42;

	assert_int_equal(slice_u64(slice_of(text), max, &v), good);
	assert_int_equal(v, good ? want : 42);
}

static void test_u64(void **state)
{
	check_u64("0", 0, true, 0);
	check_u64("1", 0, false, 0);
	check_u64("5", 4, false, 0);
	check_u64("4", 4, true, 4);
	check_u64("9", 3, false, 0);
	check_u64("65535", 65535, true, 65535);
	check_u64("65536", 65535, false, 0);
	check_u64("00065535", 65535, true, 65535);
	check_u64("18446744073709551615", UINT64_MAX, true, UINT64_MAX);
	check_u64("18446744073709551616", UINT64_MAX, false, 0);
	check_u64("99999999999999999999999", UINT64_MAX, false, 0);
	check_u64("", 10, false, 0);
	check_u64("-1", 10, false, 0);
	check_u64("+1", 10, false, 0);
	check_u64(" 1", 10, false, 0);
	check_u64("1a", 1000, false, 0);
	check_u64("\xb1", 1000, false, 0);
	assert_false(slice_u64(SLICE_NONE, 1, &(uint64_t){ 0 }));
	/* Every small bound, from both sides. */
	for (uint64_t max = 0; max < 300; max++) {
		for (uint64_t v = 0; v < 320; v++) {
			char text[8];

			snprintf(text, sizeof(text), "%u", (unsigned)v);
			check_u64(text, max, v <= max, v);
		}
	}
}

static void test_copy(void **state)
{
	char small[4];

	assert_true(slice_copy(small, sizeof(small), SLICE("abc")));
	assert_string_equal(small, "abc");
	assert_false(slice_copy(small, sizeof(small), SLICE("abcd")));
	assert_string_equal(small, "abc");
	assert_true(slice_copy(small, sizeof(small), SLICE_NONE));
	assert_string_equal(small, "");
	assert_false(slice_copy(small, 1, SLICE("a")));
	assert_string_equal(small, "");
	assert_true(slice_copy(small, 1, SLICE("")));
}

static void run_dup(void *arg)
{
	char *p = slice_dup(SLICE("text"));

	assert_int_equal(p == NULL, alloc_fail_hit());
	if (p)
		assert_string_equal(p, "text");
	free(p);
}

static void test_append(void **state)
{
	char text[8];
	size_t n = slice_append(text, sizeof(text), 0, SLICE("abc"));

	assert_int_equal(n, 3);
	n = slice_append(text, sizeof(text), n, SLICE_NONE);
	n = slice_append(text, sizeof(text), n, SLICE("defg"));
	assert_int_equal(n, 7);
	assert_string_equal(text, "abcdefg");
	/* full */
	assert_int_equal(slice_append(text, sizeof(text), n, SLICE("h")), 7);
	assert_string_equal(text, "abcdefg");
	/* cut */
	assert_int_equal(slice_append(text, sizeof(text), 3, SLICE("vwxyz")), 7);
	assert_string_equal(text, "abcvwxy");
}

static void test_u64_print(void **state)
{
	static const struct {
		uint64_t v;
		const char *text;
	} rows[] = {
		{ 0, "0" },	    { 9, "9" },	      { 10, "10" },
		{ 65535, "65535" }, { 1000, "1000" }, { UINT64_MAX, "18446744073709551615" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char out[SLICE_U64_DIGITS];
		size_t n = slice_u64_print(out, rows[i].v);

		assert_true(slice_eq((struct slice){ out, n }, slice_of(rows[i].text)));
	}
}

static void test_dup(void **state)
{
	char *p = slice_dup(SLICE_NONE);

	assert_string_equal(p, "");
	free(p);
	assert_int_equal(alloc_fail_sweep(run_dup, NULL), 2);
}

static void test_distance(void **state)
{
	char long63[64], long64[65];

	memset(long63, 'a', sizeof(long63));
	memset(long64, 'a', sizeof(long64));
	assert_int_equal(slice_distance(SLICE("port"), SLICE("PORT")), 0);
	assert_int_equal(slice_distance(SLICE("port"), SLICE("ports")), 1);
	assert_int_equal(slice_distance(SLICE("port"), SLICE("pot")), 1);
	assert_int_equal(slice_distance(SLICE("port"), SLICE("sort")), 1);
	assert_int_equal(slice_distance(SLICE("kitten"), SLICE("sitting")), 3);
	assert_int_equal(slice_distance(SLICE_NONE, SLICE("abc")), 3);
	assert_int_equal(slice_distance(SLICE("abc"), SLICE_NONE), 3);
	assert_int_equal(slice_distance((struct slice){ long63, 63 }, SLICE("a")), 62);
	assert_int_equal(slice_distance((struct slice){ long63, 63 }, (struct slice){ long64, 63 }),
			 0);
	assert_int_equal(slice_distance((struct slice){ long64, 64 }, SLICE("a")), 64);
	assert_int_equal(slice_distance(SLICE("a"), (struct slice){ long64, 64 }), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equality),    cmocka_unit_test(test_caseeq_traps),
		cmocka_unit_test(test_starts_ends), cmocka_unit_test(test_trim_find),
		cmocka_unit_test(test_next),	    cmocka_unit_test(test_word),
		cmocka_unit_test(test_u64),	    cmocka_unit_test(test_copy),
		cmocka_unit_test(test_append),	    cmocka_unit_test(test_u64_print),
		cmocka_unit_test(test_dup),	    cmocka_unit_test(test_distance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
