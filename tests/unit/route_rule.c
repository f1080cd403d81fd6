/* One search rule against one request: source, mode, pattern, authentication. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/route_fixture.h"

enum { EDGE, PBX, LAB, OFF };
static const struct route_zone zones[] = {
	[EDGE] = { "to-edge", ZONE_UC_TRAVERSAL, 15, true },
	[PBX] = { "pbx", ZONE_NEIGHBOUR, 15, true },
	[LAB] = { "lab", ZONE_NEIGHBOUR, 15, true },
	[OFF] = { "off", ZONE_NEIGHBOUR, 15, false },
};
static const char *const domains[] = { "example.com" };
static const struct route_vars vars = { "core1", domains, 1, NULL, 0 };

#define SOURCE(list) .source = { (char **)(list), COUNT(list) }
static const char *const src_all[] = { "all-zones" };
static const char *const src_local[] = { "local" };
static const char *const src_default[] = { "default" };
static const char *const src_pbx[] = { "pbx" };
static const char *const src_two[] = { "lab", "default" };
static const char *const src_bad[] = { "pbx", "nowhere" };

static enum route_verdict ask(const struct route_rule *r, const char *alias, const char *source,
			      bool authenticated, char why[192])
{
	struct route_matcher *m = route_matcher_new();
	struct route_rule_query q = {
		.alias = slice_of(alias),
		.is_ip = route_alias_is_ip(slice_of(alias)),
		.authenticated = authenticated,
		.source = route_zone_source(zones, COUNT(zones), slice_of(source)),
		.zones = zones,
	};
	enum route_verdict v;

	route_matcher_begin(m);
	v = route_rule_match(r, &q, m, why, 192);
	route_matcher_free(m);
	return v;
}

static void compile(struct route_rule *r, const struct rule_conf *conf)
{
	struct route_fault fault;

	if (route_rule_compile(r, conf, zones, COUNT(zones), &vars, &fault) < 0)
		fail_msg("%s: %s", fault.key, fault.text);
}

/* R4: `any` takes everybody, `all-zones` everybody but the unknown outside. */
static void test_source(void **state)
{
	static const struct {
		struct rule_conf conf;
		bool local, outside, edge, pbx, lab, unknown;
	} rows[] = {
		{ RULE("any", 1, "pbx"), true, true, true, true, true, true },
		{ RULE("all", 1, "pbx", SOURCE(src_all)), true, false, true, true, true, false },
		{ RULE("local", 1, "pbx", SOURCE(src_local)), true, false, false, false, false,
		  false },
		{ RULE("default", 1, "pbx", SOURCE(src_default)), false, true, false, false, false,
		  true },
		{ RULE("pbx", 1, "lab", SOURCE(src_pbx)), false, false, false, true, false, false },
		{ RULE("two", 1, "pbx", SOURCE(src_two)), false, true, false, false, true, true },
	};
	char why[192];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_rule r;

		compile(&r, &rows[i].conf);
		assert_int_equal(ask(&r, "x", "", false, why) == ROUTE_RULE_YES, rows[i].local);
		assert_int_equal(ask(&r, "x", "local", false, why) == ROUTE_RULE_YES,
				 rows[i].local);
		assert_int_equal(ask(&r, "x", "default", false, why) == ROUTE_RULE_YES,
				 rows[i].outside);
		assert_int_equal(ask(&r, "x", "to-edge", false, why) == ROUTE_RULE_YES,
				 rows[i].edge);
		assert_int_equal(ask(&r, "x", "pbx", false, why) == ROUTE_RULE_YES, rows[i].pbx);
		assert_int_equal(ask(&r, "x", "lab", false, why) == ROUTE_RULE_YES, rows[i].lab);
		/* A zone that is gone has no more rights than a stranger. */
		assert_int_equal(ask(&r, "x", "was-here", false, why) == ROUTE_RULE_YES,
				 rows[i].unknown);
		route_rule_fini(&r);
	}
}

static void test_mode(void **state)
{
	static const struct rule_conf confs[] = {
		RULE("alias", 1, "pbx"),
		RULE("ip", 1, "pbx", .mode = RULE_ANY_IP),
		RULE("pattern", 1, "pbx", PATTERN(ROUTE_REGEX, ".*")),
	};
	static const struct {
		const char *alias;
		bool is_ip;
	} rows[] = {
		{ "bob@example.com", false },
		{ "100", false },
		{ "10.0.0.1", true },
		{ "bob@10.0.0.1", true },
		{ "bob@10.0.0.1:5060", true },
		{ "bob@10.0.0.1.", true },
		{ "bob@[2001:db8::1]", true },
		{ "[2001:db8::1]:5061", true },
		{ "2001:db8::1", true },
		{ "a@b@10.0.0.1", true },
		{ "10.0.0.1@example.com", false },
		{ "bob@10.0.0.1.example.com", false },
		{ "10.0.0", false },
		{ "bob@::ffff:10.0.0.1", true },
		{ "@", false },
	};
	char why[192];

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t k = 0; k < COUNT(confs); k++) {
			struct route_rule r;
			bool expected = k == 2 || (k == 1) == rows[i].is_ip;

			compile(&r, &confs[k]);
			if ((ask(&r, rows[i].alias, "", false, why) == ROUTE_RULE_YES) != expected)
				fail_msg("%s, rule %s: %s", rows[i].alias, r.name, why);
			route_rule_fini(&r);
		}
	}
}

static void test_authenticated(void **state)
{
	static const struct rule_conf conf = RULE("auth", 1, "pbx", .authenticated = true,
						  PATTERN(ROUTE_PREFIX, "1"), SOURCE(src_pbx));
	struct route_rule r;
	char why[192];

	compile(&r, &conf);
	assert_int_equal(ask(&r, "123", "pbx", true, why), ROUTE_RULE_YES);
	assert_int_equal(ask(&r, "123", "pbx", false, why), ROUTE_RULE_NEEDS_AUTH);
	/* Only where all the rest matches: nobody learns about rules that are not for them. */
	assert_int_equal(ask(&r, "223", "pbx", false, why), ROUTE_RULE_NO);
	assert_int_equal(ask(&r, "123", "lab", false, why), ROUTE_RULE_NO);
	route_rule_fini(&r);
}

static void test_why(void **state)
{
	static const struct {
		struct rule_conf conf;
		const char *alias, *source, *why;
	} rows[] = {
		{ { .common.name = TEXT("a"), .priority = 1, .target = TEXT("pbx") },
		  "x",
		  "",
		  "the rule is not enabled" },
		{ RULE("a", 1, "pbx", SOURCE(src_local)), "x", "default",
		  "not for requests from default" },
		{ RULE("a", 1, "pbx", SOURCE(src_local)), "x", "to-edge",
		  "not for requests from to-edge" },
		{ RULE("a", 1, "pbx"), "10.0.0.1", "", "any-alias does not take IP addresses" },
		{ RULE("a", 1, "pbx", .mode = RULE_ANY_IP), "x", "",
		  "any-ip: the alias is no IP address" },
		{ RULE("a", 1, "pbx", PATTERN(ROUTE_PREFIX, "00")), "x", "",
		  "prefix 00 does not match" },
		{ RULE("a", 1, "pbx", PATTERN(ROUTE_REGEX, "x.*")), "xy", "", "regex x.* matches" },
	};
	char why[192];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_rule r;

		compile(&r, &rows[i].conf);
		ask(&r, rows[i].alias, rows[i].source, false, why);
		assert_string_equal(why, rows[i].why);
		route_rule_fini(&r);
	}
}

static void test_errors(void **state)
{
	static const struct {
		struct rule_conf conf;
		const char *key, *says;
	} rows[] = {
		{ RULE("a", 1, "nowhere"), "target", "[zone]" },
		{ RULE("a", 1, "pbx", SOURCE(src_bad)), "source", "nowhere is no zone" },
		{ RULE("a", 1, "pbx", .pattern = TEXT("x")), "pattern", "mode = alias-pattern" },
		{ RULE("a", 1, "pbx", .mode = RULE_ANY_IP, .behaviour = ROUTE_STRIP), "behaviour",
		  "mode = alias-pattern" },
		{ RULE("a", 1, "pbx", .replace = TEXT("x")), "replace", "mode = alias-pattern" },
		{ RULE("a", 1, "pbx", .mode = RULE_ALIAS_PATTERN), "pattern", "1 to 1024" },
		{ RULE("a", 1, "pbx", PATTERN(ROUTE_REGEX, "[")), "pattern", "bad regular" },
		{ RULE("a", 1, "pbx", PATTERN(ROUTE_REGEX, "x"), .behaviour = ROUTE_STRIP),
		  "behaviour", "prefix or suffix" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_rule r;
		struct route_fault fault;

		assert_int_equal(
			route_rule_compile(&r, &rows[i].conf, zones, COUNT(zones), &vars, &fault),
			-EINVAL);
		assert_string_equal(fault.key, rows[i].key);
		if (!strstr(fault.text, rows[i].says))
			fail_msg("row %zu: %s", i, fault.text);
	}
}

/* The automatic rule of a [domain]. */
static void test_domain(void **state)
{
	struct route_rule r;
	struct route_fault fault;
	char why[192];

	assert_int_equal(route_rule_for_domain(&r, CONF_ROLE_C, "example.com", PBX, &vars, &fault),
			 0);
	assert_string_equal(r.name, "domain:example.com");
	assert_int_equal(r.priority, 45);
	assert_int_equal(ask(&r, "bob@Example.com", "to-edge", false, why), ROUTE_RULE_YES);
	assert_int_equal(ask(&r, "bob@exampleXcom", "to-edge", false, why), ROUTE_RULE_NO);
	assert_int_equal(ask(&r, "@example.com", "to-edge", false, why), ROUTE_RULE_NO);
	assert_int_equal(ask(&r, "bob@sub.example.com", "to-edge", false, why), ROUTE_RULE_NO);
	assert_int_equal(ask(&r, "bob@example.com", "pbx", false, why), ROUTE_RULE_NO);
	assert_int_equal(ask(&r, "bob@example.com", "lab", false, why), ROUTE_RULE_NO);
	assert_int_equal(ask(&r, "bob@example.com", "default", false, why), ROUTE_RULE_NO);
	route_rule_fini(&r);
	assert_int_equal(route_rule_for_domain(&r, CONF_ROLE_E, "example.com", EDGE, &vars, &fault),
			 0);
	assert_int_equal(ask(&r, "bob@example.com", "default", false, why), ROUTE_RULE_YES);
	assert_int_equal(ask(&r, "bob@example.com", "", false, why), ROUTE_RULE_YES);
	assert_int_equal(ask(&r, "bob@example.com", "to-edge", false, why), ROUTE_RULE_NO);
	route_rule_fini(&r);
}

static void compile_once(void *arg)
{
	static const struct rule_conf conf =
		RULE("a", 1, "pbx", SOURCE(src_two), PATTERN(ROUTE_REGEX, "(.+)@%localdomains%"),
		     .behaviour = ROUTE_REPLACE, .replace = TEXT("\\1"));
	struct route_rule r;
	struct route_fault fault;
	int err = route_rule_compile(&r, &conf, zones, COUNT(zones), &vars, &fault);

	assert_true(err == 0 || err == -ENOMEM);
	if (err == 0)
		route_rule_fini(&r);
	err = route_rule_for_domain(&r, CONF_ROLE_C, "example.com", PBX, &vars, &fault);
	assert_true(err == 0 || err == -ENOMEM);
	if (err == 0)
		route_rule_fini(&r);
}

static void test_no_memory(void **state)
{
	assert_in_range(alloc_fail_sweep(compile_once, NULL), 8, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source),	      cmocka_unit_test(test_mode),
		cmocka_unit_test(test_authenticated), cmocka_unit_test(test_why),
		cmocka_unit_test(test_errors),	      cmocka_unit_test(test_domain),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
