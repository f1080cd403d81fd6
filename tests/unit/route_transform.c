/* Transforms: every behaviour with every pattern type, replacement text, errors and bounds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/route_fixture.h"

static const char *const domains[] = { "example.com" };
static const struct addr ips[] = { { .ip = { 192, 0, 2, 1 }, .family = ADDR_IP4 },
				   { .ip = { 192, 0, 2, 2 }, .family = ADDR_IP4 } };
static const struct route_vars vars = { "core\\1", domains, 1, ips, 2 };

/* What the alias becomes; NULL: no match or no legal result. */
static const char *apply(const struct transform_conf *conf, const char *alias,
			 char out[ROUTE_ALIAS_BYTES])
{
	struct route_matcher *m = route_matcher_new();
	struct route_transform t;
	struct route_fault fault = { 0 };
	bool ok;

	if (route_transform_compile(&t, conf, &vars, &fault) < 0)
		fail_msg("%s: %s: %s", conf->pattern, fault.key, fault.text);
	route_matcher_begin(m);
	ok = route_pattern_match(&t.edit.pattern, m, slice_of(alias)) == ROUTE_MATCH_YES &&
	     route_edit_apply(&t.edit, m, slice_of(alias), out);
	route_transform_fini(&t);
	route_matcher_free(m);
	return ok ? out : NULL;
}

static void test_behaviours(void **state)
{
	static const struct {
		struct transform_conf conf;
		const char *alias, *expected;
	} rows[] = {
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "9"), "9123", "123" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "9"), "8123", NULL },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "9123"), "9123", NULL }, /* nothing left */
		{ TRANSFORM("t", 1, ROUTE_SUFFIX, "@lab"), "bob@LAB", "bob" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "00", .behaviour = TR_REPLACE,
			    .replace = TEXT("+")),
		  "0049", "+49" },
		{ TRANSFORM("t", 1, ROUTE_SUFFIX, "@lab", .behaviour = TR_REPLACE,
			    .replace = TEXT("@example.com")),
		  "bob@lab", "bob@example.com" },
		{ TRANSFORM("t", 1, ROUTE_EXACT, "operator", .behaviour = TR_REPLACE,
			    .replace = TEXT("100@example.com")),
		  "Operator", "100@example.com" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "([^@]*)", .behaviour = TR_REPLACE,
			    .replace = TEXT("\\1@%localdomain1%")),
		  "bob", "bob@example.com" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(.)(.)(.)(.)(.)(.)(.)(.)(.)",
			    .behaviour = TR_REPLACE,
			    .replace = TEXT("\\9\\8\\7\\6\\5\\4\\3\\2\\1")),
		  "123456789", "987654321" },
		/* A group that took no part is empty. */
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(a)?(b)", .behaviour = TR_REPLACE,
			    .replace = TEXT("<\\1\\2>")),
		  "b", "<b>" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(a)", .behaviour = TR_REPLACE,
			    .replace = TEXT("\\\\\\1\\\\1")),
		  "a", "\\a\\1" },
		/* Backslashes of a variable's value are no groups. */
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(a)", .behaviour = TR_REPLACE,
			    .replace = TEXT("\\1@%systemname%")),
		  "a", "a@core\\1" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(a)", .behaviour = TR_REPLACE,
			    .replace = TEXT("\\1@%ip%")),
		  "a", "a@192.0.2.1" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "1", .behaviour = TR_ADD_PREFIX,
			    .replace = TEXT("9")),
		  "123", "9123" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(\\d)\\d*", .behaviour = TR_ADD_SUFFIX,
			    .replace = TEXT("@\\1.example.com")),
		  "123", "123@1.example.com" },
	};
	char out[ROUTE_ALIAS_BYTES];

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *got = apply(&rows[i].conf, rows[i].alias, out);

		if (!rows[i].expected) {
			assert_null(got);
			continue;
		}
		assert_non_null(got);
		assert_string_equal(got, rows[i].expected);
	}
}

static void test_errors(void **state)
{
	static const struct {
		struct transform_conf conf;
		const char *key, *says;
	} rows[] = {
		{ TRANSFORM("t", 1, ROUTE_PREFIX, ""), "pattern", "1 to 1024" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "a"), "behaviour", "prefix or suffix" },
		{ TRANSFORM("t", 1, ROUTE_EXACT, "a"), "behaviour", "prefix or suffix" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "a", .behaviour = TR_REPLACE), "replace",
		  "needs `replace`" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "a", .behaviour = TR_ADD_PREFIX), "replace",
		  "needs `replace`" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "a", .replace = TEXT("x")), "replace", "no use" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(a)", .behaviour = TR_REPLACE,
			    .replace = TEXT("\\2")),
		  "replace", "no group 2: the pattern has 1" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "a", .behaviour = TR_REPLACE,
			    .replace = TEXT("\\1")),
		  "replace", "regex" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(a)", .behaviour = TR_REPLACE,
			    .replace = TEXT("x\\")),
		  "replace", "after a backslash" },
		{ TRANSFORM("t", 1, ROUTE_REGEX, "(a)", .behaviour = TR_REPLACE,
			    .replace = TEXT("\\0")),
		  "replace", "after a backslash" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "a", .behaviour = TR_REPLACE,
			    .replace = TEXT("a b")),
		  "replace", "no spaces" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "a", .behaviour = TR_REPLACE,
			    .replace = TEXT("@%localdomains%")),
		  "replace", "list" },
		{ TRANSFORM("t", 1, ROUTE_PREFIX, "a", .behaviour = TR_REPLACE,
			    .replace = TEXT("@%ipv6%")),
		  "replace", "no such address" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_transform t;
		struct route_fault fault = { 0 };

		assert_int_equal(route_transform_compile(&t, &rows[i].conf, &vars, &fault),
				 -EINVAL);
		assert_string_equal(fault.key, rows[i].key);
		if (!strstr(fault.text, rows[i].says))
			fail_msg("row %zu: %s", i, fault.text);
	}
}

/* The longest alias is ROUTE_ALIAS_BYTES - 1. */
static void test_result_size(void **state)
{
	static const struct transform_conf add = TRANSFORM(
		"t", 1, ROUTE_PREFIX, "x", .behaviour = TR_ADD_SUFFIX, .replace = TEXT("12345"));
	char alias[ROUTE_ALIAS_BYTES], out[ROUTE_ALIAS_BYTES];

	memset(alias, 'x', sizeof(alias));
	alias[ROUTE_ALIAS_BYTES - 1 - 5] = '\0';
	assert_non_null(apply(&add, alias, out));
	assert_int_equal(strlen(out), ROUTE_ALIAS_BYTES - 1);
	memcpy(alias + ROUTE_ALIAS_BYTES - 1 - 5, "x", 2);
	assert_null(apply(&add, alias, out));
	assert_string_equal(out, "");
}

static void test_alias_ok(void **state)
{
	char alias[ROUTE_ALIAS_BYTES];

	memset(alias, '~', sizeof(alias));
	assert_true(route_alias_ok((struct slice){ alias, ROUTE_ALIAS_BYTES - 1 }));
	assert_false(route_alias_ok((struct slice){ alias, ROUTE_ALIAS_BYTES }));
	assert_false(route_alias_ok(SLICE_NONE));
	assert_false(route_alias_ok(SLICE("a b")));
	assert_false(route_alias_ok(SLICE("a\nb")));
	assert_false(route_alias_ok(SLICE("a\0b")));
	assert_false(route_alias_ok(SLICE("a\x7f")));
	assert_false(route_alias_ok(SLICE("\xc3\xa4")));
	assert_true(route_alias_ok(SLICE("!")));
}

static void compile_once(void *arg)
{
	static const struct transform_conf conf =
		TRANSFORM("t", 1, ROUTE_REGEX, "(.+)@lab", .behaviour = TR_REPLACE,
			  .replace = TEXT("\\1@%localdomain1%"));
	struct route_transform t;
	struct route_fault fault;
	int err = route_transform_compile(&t, &conf, &vars, &fault);

	assert_true(err == 0 || err == -ENOMEM);
	if (err == 0)
		route_transform_fini(&t);
}

static void test_no_memory(void **state)
{
	assert_in_range(alloc_fail_sweep(compile_once, NULL), 4, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_behaviours),  cmocka_unit_test(test_errors),
		cmocka_unit_test(test_result_size), cmocka_unit_test(test_alias_ok),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
