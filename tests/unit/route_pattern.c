/* Patterns: the four types, variables, errors, and regular expressions that would run for ever. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/route_fixture.h"

static const char *const domains[] = { "example.com", "a-b.example.net" };
static const struct addr ips[] = {
	{ .ip = { 192, 0, 2, 1 }, .family = ADDR_IP4 },
	{ .ip = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 }, .family = ADDR_IP6 },
};
static const struct route_vars vars = { "core1.example.com", domains, 2, ips, 2 };
static const struct route_vars no_vars = { "core1", NULL, 0, NULL, 0 };

static enum route_match match(enum route_pattern_type type, const char *pattern, const char *alias,
			      const struct route_vars *v)
{
	struct route_matcher *m = route_matcher_new();
	struct route_pattern p;
	struct route_fault fault;
	enum route_match result;

	assert_non_null(m);
	assert_int_equal(route_pattern_compile(&p, type, slice_of(pattern), v, &fault), 0);
	route_matcher_begin(m);
	result = route_pattern_match(&p, m, slice_of(alias));
	route_pattern_fini(&p);
	route_matcher_free(m);
	return result;
}

static void test_types(void **state)
{
	static const struct {
		enum route_pattern_type type;
		const char *pattern, *alias;
		enum route_match expected;
	} rows[] = {
		{ ROUTE_EXACT, "bob@example.com", "bob@example.com", ROUTE_MATCH_YES },
		{ ROUTE_EXACT, "bob@example.com", "BOB@Example.COM", ROUTE_MATCH_YES },
		{ ROUTE_EXACT, "bob@example.com", "bob@example.com.evil", ROUTE_MATCH_NO },
		{ ROUTE_EXACT, "bob@example.com", "abob@example.com", ROUTE_MATCH_NO },
		{ ROUTE_PREFIX, "00", "0049123", ROUTE_MATCH_YES },
		{ ROUTE_PREFIX, "00", "00", ROUTE_MATCH_YES },
		{ ROUTE_PREFIX, "00", "0", ROUTE_MATCH_NO },
		{ ROUTE_PREFIX, "BOB", "bobby", ROUTE_MATCH_YES },
		{ ROUTE_PREFIX, "+49", "+491", ROUTE_MATCH_YES },
		{ ROUTE_PREFIX, ".", "a", ROUTE_MATCH_NO },
		{ ROUTE_SUFFIX, "@example.com", "x@EXAMPLE.com", ROUTE_MATCH_YES },
		{ ROUTE_SUFFIX, "@example.com", "@example.com", ROUTE_MATCH_YES },
		{ ROUTE_SUFFIX, "@example.com", "example.com", ROUTE_MATCH_NO },
		{ ROUTE_SUFFIX, "@example.com", "x@exampleXcom", ROUTE_MATCH_NO },
		/* R8: the whole alias. */
		{ ROUTE_REGEX, "(.+)@example\\.com", "x@example.com", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "(.+)@example\\.com", "X@EXAMPLE.COM", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "(.+)@example\\.com", "@example.com", ROUTE_MATCH_NO },
		{ ROUTE_REGEX, "(.+)@example\\.com", "x@example.com.evil.net", ROUTE_MATCH_NO },
		{ ROUTE_REGEX, "example", "an example", ROUTE_MATCH_NO },
		{ ROUTE_REGEX, "example", "example", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "a|ab", "ab", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "\\d{4}", "1234", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "\\d{4}", "12345", ROUTE_MATCH_NO },
		{ ROUTE_REGEX, "(?!.*@example\\.com$).*", "x@example.org", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "(?!.*@example\\.com$).*", "x@example.com", ROUTE_MATCH_NO },
		{ ROUTE_REGEX, ".*(?<=@lab)", "x@lab", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "^x$", "x", ROUTE_MATCH_YES },
		{ ROUTE_REGEX, "((((((((((a))))))))))b", "ab", ROUTE_MATCH_YES },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		enum route_match got =
			match(rows[i].type, rows[i].pattern, rows[i].alias, &no_vars);

		if (got != rows[i].expected)
			fail_msg("%s against %s: %d", rows[i].pattern, rows[i].alias, got);
	}
}

static void test_variables(void **state)
{
	static const struct {
		enum route_pattern_type type;
		const char *pattern, *alias;
		const struct route_vars *vars;
		enum route_match expected;
	} rows[] = {
		{ ROUTE_REGEX, ".+@%localdomains%", "x@example.com", &vars, ROUTE_MATCH_YES },
		{ ROUTE_REGEX, ".+@(%localdomains%).*", "x@a-b.EXAMPLE.net", &vars,
		  ROUTE_MATCH_YES },
		/* The dots of a domain are dots. */
		{ ROUTE_REGEX, ".+@%localdomains%", "x@exampleXcom", &vars, ROUTE_MATCH_NO },
		{ ROUTE_REGEX, ".+@%LocalDomains%", "x@example.org", &vars, ROUTE_MATCH_NO },
		/* Without domains it must not match everything. */
		{ ROUTE_REGEX, ".+@%localdomains%", "x@", &no_vars, ROUTE_MATCH_NO },
		{ ROUTE_REGEX, ".*%localdomains%", "x@example.com", &no_vars, ROUTE_MATCH_NO },
		{ ROUTE_REGEX, ".+@%localdomain2%", "x@a-b.example.net", &vars, ROUTE_MATCH_YES },
		{ ROUTE_REGEX, ".+@%localdomain2%", "x@example.com", &vars, ROUTE_MATCH_NO },
		{ ROUTE_REGEX, ".+@%localdomain200%", "x@example.com", &vars, ROUTE_MATCH_NO },
		{ ROUTE_SUFFIX, "@%localdomain1%", "x@example.com", &vars, ROUTE_MATCH_YES },
		{ ROUTE_SUFFIX, "@%systemname%", "x@core1.example.com", &vars, ROUTE_MATCH_YES },
		{ ROUTE_REGEX, ".+@%systemname%", "x@core1Xexample.com", &vars, ROUTE_MATCH_NO },
		{ ROUTE_REGEX, ".+@%ip%", "x@192.0.2.1", &vars, ROUTE_MATCH_YES },
		{ ROUTE_REGEX, ".+@%ip%", "x@2001:db8::1", &vars, ROUTE_MATCH_YES },
		{ ROUTE_REGEX, ".+@%ipv4%", "x@2001:db8::1", &vars, ROUTE_MATCH_NO },
		{ ROUTE_REGEX, ".+@%ipv6%", "x@2001:db8::1", &vars, ROUTE_MATCH_YES },
		{ ROUTE_REGEX, ".*%ip%", "anything", &no_vars, ROUTE_MATCH_NO },
		/* Percent escapes are no variables. */
		{ ROUTE_EXACT, "%23%23x", "%23%23X", &vars, ROUTE_MATCH_YES },
		{ ROUTE_EXACT, "a%", "a%", &vars, ROUTE_MATCH_YES },
		{ ROUTE_EXACT, "%%", "%%", &vars, ROUTE_MATCH_YES },
		{ ROUTE_EXACT, "%%systemname%", "%core1", &no_vars, ROUTE_MATCH_YES },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		enum route_match got =
			match(rows[i].type, rows[i].pattern, rows[i].alias, rows[i].vars);

		if (got != rows[i].expected)
			fail_msg("%s against %s: %d", rows[i].pattern, rows[i].alias, got);
	}
}

static void test_errors(void **state)
{
	static const struct {
		enum route_pattern_type type;
		const char *pattern, *says;
	} rows[] = {
		{ ROUTE_EXACT, "", "1 to 1024 bytes" },
		{ ROUTE_REGEX, "(a", "missing closing parenthesis" },
		{ ROUTE_REGEX, "+49", "byte 0" },
		{ ROUTE_REGEX, "(*UTF)a", "using UTF is disabled" },
		{ ROUTE_REGEX, "a\\Cb", "using \\C is disabled" },
		{ ROUTE_EXACT, "x@%localdomains%", "pattern-type = regex" },
		{ ROUTE_PREFIX, "%ip%", "pattern-type = regex" },
		{ ROUTE_SUFFIX, "@%localdomain3%", "only 2 [domain] sections" },
		{ ROUTE_REGEX, "@%localdomian1%", "did you mean %localdomain1%?" },
		{ ROUTE_REGEX, "@%sytemname%", "did you mean %systemname%?" },
	};
	struct route_pattern p;
	struct route_fault fault;

	for (size_t i = 0; i < COUNT(rows); i++) {
		fault = (struct route_fault){ 0 };
		assert_int_equal(route_pattern_compile(&p, rows[i].type, slice_of(rows[i].pattern),
						       &vars, &fault),
				 -EINVAL);
		assert_string_equal(fault.key, "pattern");
		if (!strstr(fault.text, rows[i].says))
			fail_msg("%s: %s", rows[i].pattern, fault.text);
	}
}

static void test_size(void **state)
{
	char text[ROUTE_PATTERN_BYTES + 2];
	struct route_pattern p;
	struct route_fault fault;

	memset(text, 'a', sizeof(text));
	for (int type = ROUTE_EXACT; type <= ROUTE_REGEX; type++) {
		struct slice s = { text, ROUTE_PATTERN_BYTES };

		assert_int_equal(route_pattern_compile(&p, type, s, &vars, &fault), 0);
		route_pattern_fini(&p);
		s.n++;
		assert_int_equal(route_pattern_compile(&p, type, s, &vars, &fault), -EINVAL);
	}
}

/* Many long domains: what a pattern grows to is bounded too. */
static void test_expanded_size(void **state)
{
	static const char *many[200];
	char name[101];
	struct route_vars v = { "x", many, 200, NULL, 0 };
	struct route_pattern p;
	struct route_fault fault;

	memset(name, 'a', 100);
	name[100] = '\0';
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = name;
	assert_int_equal(
		route_pattern_compile(&p, ROUTE_REGEX, SLICE("%localdomains%"), &v, &fault), 0);
	route_pattern_fini(&p);
	assert_int_equal(route_pattern_compile(&p, ROUTE_REGEX,
					       SLICE("%localdomains%%localdomains%%localdomains%"
						     "%localdomains%"),
					       &v, &fault),
			 -ENOMEM);
	assert_non_null(strstr(fault.text, "65536"));
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Each of these takes exponential or high polynomial time without limits. The bound on the time is
 * loose: what it tells apart is milliseconds and for ever. */
static void test_evil_regex(void **state)
{
	static const char *const evil[] = {
		"(?:[xy]+)*",
		"(x|[xy]|[xyz])*[xy]",
		"(x+x+)+[^!]",
		".*.*.*.*.*.*.*.*[^!]",
		"(?:(?R)?x)+",
		"(?:.*x){12}[^!]",
		"(([a-z])+.)+[A-Z]([a-z])+",
		"(x*)*(x*)*(x*)*z?y?",
		"(x|xx)+",
		"(?:x?){300}x{300}.*[^!]",
	};
	struct route_matcher *m = route_matcher_new();
	char alias[ROUTE_ALIAS_BYTES];

	memset(alias, 'x', sizeof(alias));
	alias[sizeof(alias) - 2] = '!';
	alias[sizeof(alias) - 1] = '\0';
	for (size_t i = 0; i < COUNT(evil); i++) {
		struct route_pattern p;
		struct route_fault fault;
		double before;
		enum route_match got;

		assert_int_equal(
			route_pattern_compile(&p, ROUTE_REGEX, slice_of(evil[i]), &vars, &fault),
			0);
		route_matcher_begin(m);
		before = cpu_ms();
		got = route_pattern_match(&p, m, slice_of(alias));
		if (cpu_ms() - before > 100)
			fail_msg("%s took %.1f ms", evil[i], cpu_ms() - before);
		if (got != ROUTE_MATCH_CUT)
			fail_msg("%s: %d", evil[i], got);
		route_pattern_fini(&p);
	}
	route_matcher_free(m);
}

/* After ROUTE_MAX_CUTS cuts in one search no regex is tried any more. */
static void test_cut_allowance(void **state)
{
	struct route_matcher *m = route_matcher_new();
	struct route_pattern evil, good;
	struct route_fault fault;
	char alias[200];

	memset(alias, 'x', sizeof(alias));
	alias[0] = 'y';
	alias[sizeof(alias) - 2] = '!';
	alias[sizeof(alias) - 1] = '\0';
	route_pattern_compile(&evil, ROUTE_REGEX, SLICE("(?:[xy]+)*"), &vars, &fault);
	route_pattern_compile(&good, ROUTE_REGEX, SLICE("y.*"), &vars, &fault);
	route_matcher_begin(m);
	for (int i = 0; i < ROUTE_MAX_CUTS; i++) {
		assert_int_equal(route_pattern_match(&good, m, slice_of(alias)), ROUTE_MATCH_YES);
		assert_int_equal(route_pattern_match(&evil, m, slice_of(alias)), ROUTE_MATCH_CUT);
	}
	assert_int_equal(route_pattern_match(&good, m, slice_of(alias)), ROUTE_MATCH_CUT);
	route_matcher_begin(m);
	assert_int_equal(route_pattern_match(&good, m, slice_of(alias)), ROUTE_MATCH_YES);
	route_pattern_fini(&evil);
	route_pattern_fini(&good);
	route_matcher_free(m);
}

/* Ordinary patterns stay far from the limits even on the longest alias. */
static void test_long_alias(void **state)
{
	static const char *const good[] = { "(.+)@example\\.com", "(.*)@(%localdomains%)(.*)",
					    "(?!.*@%localdomains%$).*", "(?:.)*", "(\\d|x)+@.*" };
	char alias[ROUTE_ALIAS_BYTES];

	memset(alias, 'x', sizeof(alias));
	memcpy(alias + sizeof(alias) - 13, "@example.com", 13);
	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(match(ROUTE_REGEX, good[i], alias, &vars),
				 i == 2 ? ROUTE_MATCH_NO : ROUTE_MATCH_YES);
}

static void run_once(void *arg)
{
	struct route_matcher *m = route_matcher_new();
	struct route_pattern p;
	struct route_fault fault;
	int err = route_pattern_compile(&p, ROUTE_REGEX, SLICE("((?:.|x)+)@%localdomains%"), &vars,
					&fault);

	assert_true(err == 0 || err == -ENOMEM);
	if (m && err == 0) {
		route_matcher_begin(m);
		assert_int_not_equal(route_pattern_match(&p, m, SLICE("bob@example.com")),
				     ROUTE_MATCH_NO);
	}
	if (err == 0)
		route_pattern_fini(&p);
	route_matcher_free(m);
}

static void test_no_memory(void **state)
{
	assert_in_range(alloc_fail_sweep(run_once, NULL), 5, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),	      cmocka_unit_test(test_variables),
		cmocka_unit_test(test_errors),	      cmocka_unit_test(test_size),
		cmocka_unit_test(test_expanded_size), cmocka_unit_test(test_evil_regex),
		cmocka_unit_test(test_cut_allowance), cmocka_unit_test(test_long_alias),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
