#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ctl/table.h"
#include "ctl/text.h"
#include "support/alloc_fail.h"

static void value_is(const char *json, enum text_form form, const char *expected)
{
	json_t *v = json_loads(json, JSON_DECODE_ANY, NULL);
	struct buf b;

	assert_non_null(v);
	buf_init(&b, 1024);
	buf_add(&b, "", 0);
	text_add_value(&b, v, form);
	assert_string_equal(b.p, expected);
	buf_fini(&b);
	json_decref(v);
}

static void values(void **state)
{
	value_is("\"a b\"", TEXT_PLAIN, "a b");
	value_is("-5", TEXT_PLAIN, "-5");
	value_is("1.5", TEXT_PLAIN, "1.50");
	value_is("true", TEXT_PLAIN, "yes");
	value_is("false", TEXT_PLAIN, "no");
	value_is("null", TEXT_PLAIN, "");
	value_is("[\"a\", 2, true]", TEXT_PLAIN, "a, 2, yes");
	value_is("[]", TEXT_PLAIN, "");
	value_is("[{}, {}]", TEXT_PLAIN, "2");
	value_is("{\"a\": 1}", TEXT_PLAIN, "1");
}

static void ages(void **state)
{
	value_is("16385", TEXT_HEX, "0x4001");
	value_is("0", TEXT_AGE, "0s");
	value_is("59", TEXT_AGE, "59s");
	value_is("60", TEXT_AGE, "1m00s");
	value_is("3599", TEXT_AGE, "59m59s");
	value_is("3600", TEXT_AGE, "1h00m");
	value_is("86399", TEXT_AGE, "23h59m");
	value_is("86400", TEXT_AGE, "1d00h");
	value_is("8640000", TEXT_AGE, "100d00h");
}

static void times(void **state)
{
	value_is("0", TEXT_TIME, "1970-01-01T00:00:00Z");
	value_is("1767225600", TEXT_TIME, "2026-01-01T00:00:00Z");
	value_is("\"2026-01-01T00:00:00Z\"", TEXT_TIME, "2026-01-01T00:00:00Z");
}

static void sizes(void **state)
{
	value_is("0", TEXT_BYTES, "0");
	value_is("999", TEXT_BYTES, "999");
	value_is("1000", TEXT_BYTES, "1.0k");
	value_is("999949", TEXT_BYTES, "999.9k");
	value_is("999950", TEXT_BYTES, "1.0M");
	value_is("9223372036854775807", TEXT_BYTES, "9.2E");
}

/* What came from the wire must not reach the terminal as an escape sequence. */
static void nothing_moves_the_cursor(void **state)
{
	value_is("\"a\\u001b[31m\\n\\r\\u007f\"", TEXT_PLAIN, "a\\x1b[31m\\x0a\\x0d\\x7f");
	value_is("\"\\u009b31m\\u0080\"", TEXT_PLAIN, "\\x9b31m\\x80");
	value_is("\"\\u00fc\\u00a0\\u20ac\"", TEXT_PLAIN, "\xc3\xbc\xc2\xa0\xe2\x82\xac");
}

static const struct column columns[] = { { .title = "NAME", .key = "name" },
					 { .title = "EMPTY", .key = "empty" },
					 { .title = "N", .key = "n", .right = true },
					 { .title = "LAST", .key = "last" },
					 { 0 } };

static void add(struct table *t, const char *json, unsigned indent)
{
	json_t *o = json_loads(json, 0, NULL);

	assert_non_null(o);
	table_add_object(t, o, indent);
	json_decref(o);
}

static void columns_are_aligned(void **state)
{
	struct table t;
	struct buf b;

	table_init(&t, columns);
	add(&t, "{\"name\": \"a\", \"n\": 5, \"last\": \"x\"}", 0);
	add(&t, "{\"name\": \"b\\u00fccher\", \"n\": 12345, \"empty\": \"\"}", 2);
	table_add_line(&t, "a free line that is longer than all columns");
	add(&t, "{}", 0);
	buf_init(&b, 4096);
	table_print(&t, &b);
	assert_string_equal(b.p, "NAME          N  LAST\n"
				 "a             5  x\n"
				 "  b\xc3\xbc"
				 "cher  12345\n"
				 "a free line that is longer than all columns\n"
				 "\n");
	buf_fini(&b);
	table_fini(&t);
}

static void many_rows(void **state)
{
	struct table t;
	struct buf b;

	table_init(&t, columns);
	for (int i = 0; i < 1000; i++)
		add(&t, "{\"name\": \"a\"}", 0);
	buf_init(&b, 1 << 16);
	table_print(&t, &b);
	assert_int_equal(b.n, 5 + 1000 * 2);
	assert_false(b.failed);
	buf_fini(&b);
	table_fini(&t);
}

static void run_without_memory(void *arg)
{
	struct table t;
	struct buf b;

	table_init(&t, columns);
	buf_init(&b, 1 << 16);
	table_add_object(&t, arg, 0);
	table_add_line(&t, "line");
	table_add_object(&t, arg, 0);
	table_print(&t, &b);
	if (!b.failed)
		assert_string_equal(b.p, "NAME\na\nline\na\n");
	else
		assert_true(alloc_fail_hit());
	buf_fini(&b);
	table_fini(&t);
}

static void without_memory(void **state)
{
	json_t *o = json_pack("{s:s}", "name", "a");

	assert_true(alloc_fail_sweep(run_without_memory, o) > 5);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(ages),
		cmocka_unit_test(times),
		cmocka_unit_test(sizes),
		cmocka_unit_test(nothing_moves_the_cursor),
		cmocka_unit_test(columns_are_aligned),
		cmocka_unit_test(many_rows),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
