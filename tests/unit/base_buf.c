#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

static void test_append(void **state)
{
	struct buf b;

	buf_init(&b, 1000);
	assert_null(b.p);
	buf_add_str(&b, "a=");
	buf_printf(&b, "%d %s", 42, "x");
	buf_add_char(&b, ';');
	buf_add_slice(&b, SLICE("tail"));
	buf_add_slice(&b, SLICE_NONE);
	assert_string_equal(b.p, "a=42 x;tail");
	assert_int_equal(b.n, strlen(b.p));
	assert_true(slice_eq(buf_slice(&b), SLICE("a=42 x;tail")));
	buf_reset(&b);
	assert_int_equal(b.n, 0);
	assert_string_equal(b.p, "");
	buf_add_u16(&b, 0x0102);
	buf_add_u32(&b, 0xa0b0c0d0);
	assert_memory_equal(b.p, "\x01\x02\xa0\xb0\xc0\xd0", 6);
	assert_int_equal(b.p[6], 0);
	buf_fini(&b);
	assert_int_equal(b.max, 1000);
	buf_fini(&b);
}

/* Exactly full is good, one byte more fails, stays failed and changes nothing. */
static void test_grow(void **state)
{
	struct buf b;

	buf_init(&b, 6);
	memcpy(buf_grow(&b, 2), "n=", 2);
	buf_add_decimal(&b, 1203);
	assert_string_equal(b.p, "n=1203");
	assert_null(buf_grow(&b, 1));
	assert_true(b.failed);
	assert_string_equal(b.p, "n=1203");
	buf_fini(&b);
}

/* What does not fit behind the bytes that are there is printed once more, behind them. */
static void test_printf_grows(void **state)
{
	struct buf b;

	buf_init(&b, 1000);
	for (int i = 0; i < 100; i++)
		buf_printf(&b, "%d,", 1000 + i);
	assert_int_equal(b.n, 500);
	assert_int_equal(strlen(b.p), 500);
	assert_memory_equal(b.p + 495, "1099,", 5);
	assert_memory_equal(b.p + 125, "1025,", 5);
	buf_fini(&b);
}

static void test_bound(void **state)
{
	struct buf b;

	for (size_t max = 0; max < 600; max++) {
		buf_init(&b, max);
		for (size_t i = 0; i < max; i++)
			buf_add_char(&b, 'x');
		assert_false(b.failed);
		assert_int_equal(b.n, max);
		buf_add_slice(&b, SLICE_NONE);
		assert_false(b.failed);
		buf_add_char(&b, 'y');
		assert_true(b.failed);
		assert_int_equal(b.n, max);
		assert_true(b.cap <= max + 1);
		buf_reset(&b);
		assert_false(b.failed);
		if (max > 0) {
			buf_add_char(&b, 'z');
			assert_string_equal(b.p, "z");
		}
		buf_fini(&b);
	}
}

static void test_sticky(void **state)
{
	struct buf b;

	buf_init(&b, 4);
	buf_add_str(&b, "abc");
	buf_add_str(&b, "de");
	assert_true(b.failed);
	buf_add_char(&b, 'f');
	buf_printf(&b, "g");
	assert_string_equal(b.p, "abc");
	assert_null(buf_take(&b));
	assert_null(b.p);
	assert_false(b.failed);
	buf_add_str(&b, "abcd");
	assert_false(b.failed);
	buf_fini(&b);
}

static void test_printf_bound(void **state)
{
	struct buf b;

	buf_init(&b, 5);
	buf_printf(&b, "%s", "12345");
	assert_false(b.failed);
	assert_string_equal(b.p, "12345");
	buf_printf(&b, "%s", "");
	assert_false(b.failed);
	buf_printf(&b, "%d", 6);
	assert_true(b.failed);
	assert_string_equal(b.p, "12345");
	buf_fini(&b);
}

static void test_huge_limits(void **state)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_add_str(&b, "x");
	assert_false(b.failed);
	buf_add(&b, "x", SIZE_MAX);
	assert_true(b.failed);
	buf_reset(&b);
	/* Must end: no doubling past the end of size_t. */
	buf_add(&b, "x", SIZE_MAX / 2 + 2);
	assert_true(b.failed);
	assert_string_equal(b.p, "");
	buf_fini(&b);
}

static void test_escaped(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	buf_add_escaped(&b, SLICE("a\r\n\"\\\x7f\xff ~\0z"));
	assert_string_equal(b.p, "a\\x0d\\x0a\\x22\\x5c\\x7f\\xff ~\\x00z");
	buf_fini(&b);
}

static void test_take(void **state)
{
	struct buf b;
	char *p;

	buf_init(&b, 10);
	p = buf_take(&b);
	assert_string_equal(p, "");
	free(p);
	buf_add_str(&b, "text");
	p = buf_take(&b);
	assert_string_equal(p, "text");
	assert_null(b.p);
	assert_int_equal(b.cap, 0);
	free(p);
	buf_fini(&b);
}

static void run_appends(void *arg)
{
	struct buf b;
	char *p;

	buf_init(&b, 5000);
	for (int i = 0; i < 100; i++)
		buf_printf(&b, "line %d;", i);
	buf_add_escaped(&b, SLICE("\n"));
	assert_int_equal(b.failed, alloc_fail_hit());
	p = buf_take(&b);
	assert_int_equal(p == NULL, alloc_fail_hit());
	free(p);
	buf_fini(&b);
}

static void test_no_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_appends, NULL) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),	     cmocka_unit_test(test_grow),
		cmocka_unit_test(test_printf_grows), cmocka_unit_test(test_bound),
		cmocka_unit_test(test_sticky),	     cmocka_unit_test(test_printf_bound),
		cmocka_unit_test(test_huge_limits),  cmocka_unit_test(test_escaped),
		cmocka_unit_test(test_take),	     cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
