/* The walk: what is found, in which order, and what each step says. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/route_fixture.h"

static const struct zone_conf zones[] = {
	ZONE("to-edge", ZONE_UC_TRAVERSAL),
	ZONE("pbx", ZONE_NEIGHBOUR),
	{ .common.name = TEXT("lab"), .type = ZONE_NEIGHBOUR, .hop_count = 5, .enabled = true },
	{ .common.name = TEXT("off"), .type = ZONE_NEIGHBOUR, .hop_count = 15 },
};
static const struct domain_conf domains[] = {
	{ .common.name = TEXT("example.com"), .sip = TEXT("zone:pbx") },
	{ .common.name = TEXT("chat.example.com"), .sip = TEXT("none") },
};
static const char *const src_all[] = { "all-zones" };
#define SOURCE(list) .source = { (char **)(list), COUNT(list) }

static struct route_result result;

static struct route_table *table(const struct route_fixture *f)
{
	struct route_table *t;
	struct buf errors;

	buf_init(&errors, 65536);
	if (fixture_table(f, &t, &errors) < 0)
		fail_msg("%s", errors.n ? errors.p : "no memory");
	buf_fini(&errors);
	return t;
}

/* "zone alias priority; ..." and then a line a step: "+" taken or "-" passed over, its kind, name
 * and reason. */
static const char *print(void)
{
	static char text[65536];
	size_t n;

	n = (size_t)snprintf(text, sizeof(text), "%s", route_status_str(result.status));
	for (size_t i = 0; i < result.n_targets; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %s %s %u", i ? ";" : "",
				      result.targets[i].zone, result.targets[i].alias,
				      result.targets[i].priority);
	for (size_t i = 0; i < result.n_steps; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "\n%c %s %s: %s",
				      result.steps[i].matched ? '+' : '-', result.steps[i].what,
				      result.steps[i].name, result.steps[i].why);
	return text;
}

static const char *search(const struct route_fixture *f, const char *alias, const char *source)
{
	struct route_table *t = table(f);

	route_search(t,
		     &(struct route_query){ .alias = slice_of(alias),
					    .source_zone = slice_of(source),
					    .hop_count = 70 },
		     &result);
	route_table_free(t);
	return print();
}

static const struct transform_conf transforms[] = {
	/* Not in the order of their priorities. */
	TRANSFORM("late", 20, ROUTE_PREFIX, "9", .behaviour = TR_ADD_PREFIX, .replace = TEXT("X")),
	TRANSFORM("outside-line", 10, ROUTE_PREFIX, "9"),
	TRANSFORM("bare-number", 15, ROUTE_REGEX, "(\\d{3})", .behaviour = TR_REPLACE,
		  .replace = TEXT("\\1@example.com")),
	{ .common.name = TEXT("off"), .priority = 1, .pattern = TEXT("9"), .enabled = false },
};
static const struct rule_conf office[] = {
	RULE("world", 150, "to-edge", SOURCE(src_all),
	     PATTERN(ROUTE_REGEX, "(?!.*@example\\.com$).+@.+")),
	RULE("to-pbx", 50, "pbx", PATTERN(ROUTE_SUFFIX, "@example.com"), .behaviour = ROUTE_REPLACE,
	     .replace = TEXT("@pbx.example.com"), .on_match = RULE_STOP),
	RULE("lab", 50, "lab", PATTERN(ROUTE_PREFIX, "lab-"), .behaviour = ROUTE_STRIP),
	RULE("to-off", 40, "off", PATTERN(ROUTE_EXACT, "dead@example.com")),
};

static void test_walk(void **state)
{
	const struct route_fixture f = { .zones = zones,
					 .n_zones = COUNT(zones),
					 .transforms = transforms,
					 .n_transforms = COUNT(transforms),
					 .rules = office,
					 .n_rules = COUNT(office) };
	static const struct {
		const char *alias, *source, *expected;
	} rows[] = {
		{ "bob@example.com", "to-edge",
		  "found pbx bob@pbx.example.com 50\n"
		  "- transform outside-line: prefix 9 does not match\n"
		  "- transform bare-number: regex (\\d{3}) does not match\n"
		  "- transform late: prefix 9 does not match\n"
		  "- rule to-off: exact dead@example.com does not match\n"
		  "+ rule to-pbx: suffix @example.com matches: zone pbx, alias "
		  "bob@pbx.example.com, stop\n"
		  "- rule lab: prefix lab- does not match\n"
		  "+ end to-pbx: ends the walk: 1 of higher numbers not looked at\n"
		  "+ hops pbx: came with 70, goes on with 14" },
		/* R2: only the first transform, then the rules see the new alias. */
		{ "9123", "default",
		  "not-found\n"
		  "+ transform outside-line: prefix 9 matches: alias becomes 123\n"
		  "- rule to-off: exact dead@example.com does not match\n"
		  "- rule to-pbx: suffix @example.com does not match\n"
		  "- rule lab: prefix lab- does not match\n"
		  "- rule world: not for requests from default" },
		{ "123", "default",
		  "found pbx 123@pbx.example.com 50\n"
		  "- transform outside-line: prefix 9 does not match\n"
		  "+ transform bare-number: regex (\\d{3}) matches: alias becomes "
		  "123@example.com\n"
		  "- rule to-off: exact dead@example.com does not match\n"
		  "+ rule to-pbx: suffix @example.com matches: zone pbx, alias "
		  "123@pbx.example.com, stop\n"
		  "- rule lab: prefix lab- does not match\n"
		  "+ end to-pbx: ends the walk: 1 of higher numbers not looked at\n"
		  "+ hops pbx: came with 70, goes on with 14" },
		/* R5: the rest of the same priority still runs after a stop. */
		{ "lab-x@example.com", "pbx",
		  "found pbx lab-x@pbx.example.com 50; lab x@example.com 50\n"
		  "- transform outside-line: prefix 9 does not match\n"
		  "- transform bare-number: regex (\\d{3}) does not match\n"
		  "- transform late: prefix 9 does not match\n"
		  "- rule to-off: exact dead@example.com does not match\n"
		  "+ rule to-pbx: suffix @example.com matches: zone pbx, alias "
		  "lab-x@pbx.example.com, stop\n"
		  "+ rule lab: prefix lab- matches: zone lab, alias x@example.com\n"
		  "+ end to-pbx: ends the walk: 1 of higher numbers not looked at\n"
		  "+ hops pbx: came with 70, goes on with 14" },
		/* Continue: targets of two priorities, in their order. */
		{ "lab-x@example.org", "pbx",
		  "found lab x@example.org 50; to-edge lab-x@example.org 150\n"
		  "- transform outside-line: prefix 9 does not match\n"
		  "- transform bare-number: regex (\\d{3}) does not match\n"
		  "- transform late: prefix 9 does not match\n"
		  "- rule to-off: exact dead@example.com does not match\n"
		  "- rule to-pbx: suffix @example.com does not match\n"
		  "+ rule lab: prefix lab- matches: zone lab, alias x@example.org\n"
		  "+ rule world: regex (?!.*@example\\.com$).+@.+ matches: zone to-edge, alias "
		  "lab-x@example.org\n"
		  "+ hops lab: came with 70, goes on with 4" },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(search(&f, rows[i].alias, rows[i].source), rows[i].expected);
	assert_non_null(strstr(search(&f, "dead@example.com", "pbx"),
			       "+ rule to-off: exact dead@example.com matches, but zone off is not "
			       "enabled\n"));
	assert_int_equal(result.n_targets, 1);
	assert_non_null(strstr(search(&f, "lab-", "pbx"),
			       "+ rule lab: prefix lab- matches, but the result is empty"));
	assert_int_equal(result.status, ROUTE_NOT_FOUND);
}

/* R4 */
static void test_ip_literal(void **state)
{
	static const struct rule_conf rules[] = {
		RULE("any", 100, "pbx"),
		RULE("ip", 200, "to-edge", .mode = RULE_ANY_IP),
	};
	const struct route_fixture f = {
		.zones = zones, .n_zones = COUNT(zones), .rules = rules, .n_rules = COUNT(rules)
	};

	assert_non_null(strstr(search(&f, "10.0.0.1", "pbx"), "found to-edge 10.0.0.1 200\n"));
	assert_non_null(strstr(search(&f, "b@10.0.0.1", "pbx"), "found to-edge b@10.0.0.1 200\n"));
	assert_non_null(
		strstr(search(&f, "b@example.com", "pbx"), "found pbx b@example.com 100\n"));
}

/* A transform may make an address of a name, and the other way round. */
static void test_ip_after_transform(void **state)
{
	static const struct transform_conf trs[] = {
		TRANSFORM("t", 1, ROUTE_EXACT, "printer", .behaviour = TR_REPLACE,
			  .replace = TEXT("10.0.0.1")),
	};
	static const struct rule_conf rules[] = { RULE("any", 100, "pbx") };
	const struct route_fixture f = { .zones = zones,
					 .n_zones = COUNT(zones),
					 .transforms = trs,
					 .n_transforms = COUNT(trs),
					 .rules = rules,
					 .n_rules = COUNT(rules) };

	search(&f, "printer", "pbx");
	assert_int_equal(result.status, ROUTE_NOT_FOUND);
	assert_string_equal(result.alias, "10.0.0.1");
}

/* Automatic rules lose to explicit ones of a lower number, and come after those of their own. */
static void test_domains(void **state)
{
	static const struct rule_conf rules[] = {
		RULE("vip", 44, "lab", PATTERN(ROUTE_EXACT, "vip@example.com"),
		     .on_match = RULE_STOP),
		RULE("same", 45, "lab", PATTERN(ROUTE_EXACT, "same@example.com")),
	};
	struct route_fixture f = { .zones = zones,
				   .n_zones = COUNT(zones),
				   .domains = domains,
				   .n_domains = COUNT(domains),
				   .rules = rules,
				   .n_rules = COUNT(rules) };

	assert_string_equal(search(&f, "bob@example.com", "to-edge"),
			    "found pbx bob@example.com 45\n"
			    "- rule vip: exact vip@example.com does not match\n"
			    "- rule same: exact same@example.com does not match\n"
			    "+ rule domain:example.com: regex .+@example\\.com matches: zone pbx, "
			    "alias bob@example.com\n"
			    "+ hops pbx: came with 70, goes on with 14");
	assert_non_null(
		strstr(search(&f, "vip@example.com", "to-edge"), "found lab vip@example.com 44\n"));
	assert_non_null(strstr(search(&f, "same@example.com", "to-edge"),
			       "found lab same@example.com 45; pbx same@example.com 45\n"));
	/* A domain without SIP brings no rule; who is not behind a traversal link gets none either.
	 */
	search(&f, "bob@chat.example.com", "to-edge");
	assert_int_equal(result.status, ROUTE_NOT_FOUND);
	search(&f, "bob@example.com", "pbx");
	assert_int_equal(result.status, ROUTE_NOT_FOUND);
	search(&f, "bob@example.com", "default");
	assert_int_equal(result.status, ROUTE_NOT_FOUND);
}

static void test_domains_on_edge(void **state)
{
	static const struct domain_conf edge[] = {
		{ .common.name = TEXT("example.com"), .sip = TEXT("zone:to-core") },
	};
	static const struct zone_conf core[] = { ZONE("to-core", ZONE_UC_TRAVERSAL) };
	const struct route_fixture f = {
		.role = CONF_ROLE_E, .zones = core, .n_zones = 1, .domains = edge, .n_domains = 1
	};

	assert_non_null(strstr(search(&f, "bob@example.com", "default"),
			       "found to-core bob@example.com 45\n"));
	assert_non_null(strstr(search(&f, "bob@example.com", "to-core"), "not-found\n"));
	assert_non_null(strstr(search(&f, "bob@example.org", "default"), "not-found\n"));
}

static void test_statuses(void **state)
{
	static const struct rule_conf rules[] = {
		RULE("auth", 100, "pbx", .authenticated = true, PATTERN(ROUTE_PREFIX, "1")),
		RULE("all", 200, "lab", PATTERN(ROUTE_PREFIX, "12")),
	};
	const struct route_fixture f = {
		.zones = zones, .n_zones = COUNT(zones), .rules = rules, .n_rules = COUNT(rules)
	};
	static const struct {
		const char *alias;
		bool authenticated;
		int hop_count;
		enum route_status status;
		int sip, goes_on;
	} rows[] = {
		{ "1", true, 70, ROUTE_FOUND, 0, 14 },
		{ "1", false, 70, ROUTE_FORBIDDEN, 403, 0 },
		{ "12", false, 70, ROUTE_FOUND, 0, 4 },
		{ "2", false, 70, ROUTE_NOT_FOUND, 404, 0 },
		{ "", true, 70, ROUTE_BAD_ALIAS, 484, 0 },
		{ "1 2", true, 70, ROUTE_BAD_ALIAS, 484, 0 },
		/* R10: the lower of both counts, one less; none left is refused. */
		{ "1", true, 16, ROUTE_FOUND, 0, 14 },
		{ "1", true, 15, ROUTE_FOUND, 0, 14 },
		{ "1", true, 14, ROUTE_FOUND, 0, 13 },
		{ "1", true, 1, ROUTE_FOUND, 0, 0 },
		{ "1", true, 0, ROUTE_HOPS_EXHAUSTED, 483, 0 },
		{ "1", true, -1, ROUTE_HOPS_EXHAUSTED, 483, 0 },
	};
	struct route_table *t = table(&f);

	for (size_t i = 0; i < COUNT(rows); i++) {
		route_search(t,
			     &(struct route_query){ .alias = slice_of(rows[i].alias),
						    .authenticated = rows[i].authenticated,
						    .hop_count = rows[i].hop_count },
			     &result);
		assert_int_equal(result.status, rows[i].status);
		assert_int_equal(result.hop_count, rows[i].goes_on);
		assert_int_equal(route_status_sip(result.status), rows[i].sip);
		assert_true(result.n_steps > 0);
	}
	route_table_free(t);
}

static void test_alias_size(void **state)
{
	static const struct rule_conf rules[] = { RULE("all", 200, "lab") };
	const struct route_fixture f = {
		.zones = zones, .n_zones = COUNT(zones), .rules = rules, .n_rules = COUNT(rules)
	};
	char alias[ROUTE_ALIAS_BYTES + 1];

	memset(alias, 'a', sizeof(alias));
	alias[ROUTE_ALIAS_BYTES - 1] = '\0';
	search(&f, alias, "");
	assert_int_equal(result.status, ROUTE_FOUND);
	assert_string_equal(result.targets[0].alias, alias);
	memcpy(alias + ROUTE_ALIAS_BYTES - 1, "a", 2);
	search(&f, alias, "");
	assert_int_equal(result.status, ROUTE_BAD_ALIAS);
}

/* A rule whose regex is cut ends the walk behind its priority, for it might have said stop. */
static void test_cut(void **state)
{
	static const struct rule_conf rules[] = {
		RULE("first", 10, "lab", PATTERN(ROUTE_PREFIX, "xy")),
		RULE("evil", 20, "pbx", PATTERN(ROUTE_REGEX, "(?:[xy]+)*"), .on_match = RULE_STOP),
		RULE("beside", 20, "pbx", PATTERN(ROUTE_PREFIX, "x")),
		RULE("trunk", 30, "to-edge"),
	};
	const struct route_fixture f = {
		.zones = zones, .n_zones = COUNT(zones), .rules = rules, .n_rules = COUNT(rules)
	};
	char alias[200];

	memset(alias, 'x', sizeof(alias));
	alias[1] = 'y';
	alias[sizeof(alias) - 2] = '!';
	alias[sizeof(alias) - 1] = '\0';
	search(&f, alias, "");
	assert_string_equal(result.cut_by, "evil");
	assert_int_equal(result.n_targets, 2);
	assert_string_equal(result.targets[0].rule, "first");
	assert_string_equal(result.targets[1].rule, "beside");
	assert_non_null(strstr(print(), "end evil: ends the walk"));
	search(&f, "z", "");
	assert_string_equal(result.cut_by, "");
	assert_string_equal(result.targets[0].rule, "trunk");
}

static void test_cut_transform(void **state)
{
	static const struct transform_conf trs[] = {
		TRANSFORM("evil", 1, ROUTE_REGEX, "(?:[xy]+)*", .behaviour = TR_REPLACE,
			  .replace = TEXT("z")),
	};
	static const struct rule_conf rules[] = { RULE("all", 30, "to-edge") };
	const struct route_fixture f = { .zones = zones,
					 .n_zones = COUNT(zones),
					 .transforms = trs,
					 .n_transforms = COUNT(trs),
					 .rules = rules,
					 .n_rules = COUNT(rules) };

	search(&f, "xyxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx!", "");
	assert_int_equal(result.status, ROUTE_NOT_FOUND);
	assert_string_equal(result.cut_by, "evil");
	assert_int_equal(result.n_targets, 0);
}

/* A thousand rules are at hand for the bounds. */
static struct rule_conf many_rules[ROUTE_MAX_RULES + 1];
static char many_names[ROUTE_MAX_RULES + 1][24];

static void fill_rules(size_t n, bool each_differs)
{
	for (size_t i = 0; i < n; i++) {
		snprintf(many_names[i], sizeof(many_names[i]), "r%zu", i);
		many_rules[i] = (struct rule_conf)RULE(many_names[i], (uint32_t)(i + 1), "pbx",
						       PATTERN(ROUTE_PREFIX, "x"));
		many_rules[i].behaviour = each_differs ? ROUTE_REPLACE : ROUTE_LEAVE;
		many_rules[i].replace = each_differs ? many_names[i] : NULL;
	}
}

static void test_target_bound(void **state)
{
	struct route_fixture f = { .zones = zones, .n_zones = COUNT(zones), .rules = many_rules };

	fill_rules(ROUTE_MAX_TARGETS + 1, true);
	f.n_rules = ROUTE_MAX_TARGETS;
	search(&f, "x", "");
	assert_int_equal(result.n_targets, ROUTE_MAX_TARGETS);
	assert_null(strstr(print(), "targets already"));
	f.n_rules = ROUTE_MAX_TARGETS + 1;
	search(&f, "x", "");
	assert_int_equal(result.n_targets, ROUTE_MAX_TARGETS);
	assert_string_equal(result.targets[ROUTE_MAX_TARGETS - 1].rule, "r31");
	assert_non_null(strstr(print(), "rule r32: prefix x matches, but there are 32 targets"));
}

static void test_same_target_once(void **state)
{
	const struct route_fixture f = {
		.zones = zones, .n_zones = COUNT(zones), .rules = many_rules, .n_rules = 2
	};

	fill_rules(2, false);
	search(&f, "x", "");
	assert_int_equal(result.n_targets, 1);
	assert_non_null(strstr(print(), "rule r1: prefix x matches; rule r0 gave this target"));
}

/* Steps that did not match give way to those that did. */
static void test_step_bound(void **state)
{
	const struct route_fixture f = { .zones = zones,
					 .n_zones = COUNT(zones),
					 .rules = many_rules,
					 .n_rules = ROUTE_MAX_RULES };
	size_t last;

	fill_rules(ROUTE_MAX_RULES, false);
	many_rules[ROUTE_MAX_RULES - 1].pattern = TEXT("y");
	search(&f, "y", "");
	assert_int_equal(result.status, ROUTE_FOUND);
	assert_true(result.n_steps <= ROUTE_MAX_STEPS);
	assert_int_equal(result.n_steps + result.n_steps_left_out, ROUTE_MAX_RULES + 1);
	last = result.n_steps - 2;
	assert_string_equal(result.steps[last].name, "r1999");
	search(&f, "x", "");
	assert_true(result.n_steps <= ROUTE_MAX_STEPS);
	assert_int_equal(result.n_targets, 1);
}

static void expect_error(const struct route_fixture *f, const char *says)
{
	struct route_table *t;
	struct buf errors;

	buf_init(&errors, 65536);
	assert_int_equal(fixture_table(f, &t, &errors), -EINVAL);
	if (!strstr(errors.p, says))
		fail_msg("%s", errors.p);
	buf_fini(&errors);
}

static void test_table_bounds(void **state)
{
	static struct zone_conf many_zones[ROUTE_MAX_ZONES + 1];
	static struct transform_conf many_transforms[ROUTE_MAX_TRANSFORMS + 1];
	struct route_fixture f = { .zones = zones,
				   .n_zones = COUNT(zones),
				   .rules = many_rules,
				   .n_rules = ROUTE_MAX_RULES + 1 };

	fill_rules(ROUTE_MAX_RULES + 1, false);
	expect_error(&f, "2001 [search-rule] sections; at most 2000");
	f.n_rules = ROUTE_MAX_RULES;
	route_table_free(table(&f));
	for (size_t i = 0; i < COUNT(many_zones); i++)
		many_zones[i] = zones[1];
	f.zones = many_zones;
	f.n_zones = ROUTE_MAX_ZONES + 1;
	expect_error(&f, "1001 [zone] sections; at most 1000");
	f.n_zones = ROUTE_MAX_ZONES;
	route_table_free(table(&f));
	for (size_t i = 0; i < COUNT(many_transforms); i++)
		many_transforms[i] = transforms[1];
	f.transforms = many_transforms;
	f.n_transforms = ROUTE_MAX_TRANSFORMS + 1;
	expect_error(&f, "101 [transform] sections; at most 100");
	f.n_transforms = ROUTE_MAX_TRANSFORMS;
	route_table_free(table(&f));
}

/* Every fault is told, not only the first. */
static void test_table_errors(void **state)
{
	static const struct rule_conf rules[] = {
		RULE("one", 1, "nowhere"),
		RULE("good", 1, "pbx"),
		RULE("two", 1, "pbx", PATTERN(ROUTE_REGEX, "(")),
	};
	static const struct domain_conf bad[] = {
		{ .common.name = TEXT("example.com"), .sip = TEXT("zone:gone") },
	};
	const struct route_fixture f = { .zones = zones,
					 .n_zones = COUNT(zones),
					 .domains = bad,
					 .n_domains = 1,
					 .rules = rules,
					 .n_rules = COUNT(rules) };

	expect_error(&f, "[search-rule one] target: ");
	expect_error(&f, "[search-rule two] pattern: bad regular expression");
	expect_error(&f, "[domain example.com] sip: there is no zone");
}

/* --- property: random plans against the rule of the book --- */

static uint32_t rnd(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % n;
}

/* R3, R5 in the plainest words: level by level, all matching rules of a level, until a level in
 * which one said stop is done. Writes the rules' indexes, in file order within a level. */
static size_t expected_rules(const struct rule_conf *rules, size_t n, size_t *out)
{
	size_t n_out = 0;

	for (uint32_t level = 1; level <= 4; level++) {
		bool stop = false;

		for (size_t i = 0; i < n; i++) {
			if (rules[i].priority != level || !rules[i].enabled ||
			    strncmp("abc", rules[i].pattern, strlen(rules[i].pattern)) != 0)
				continue;
			out[n_out++] = i;
			stop = stop || rules[i].on_match == RULE_STOP;
		}
		if (stop)
			break;
	}
	return n_out;
}

static void test_property(void **state)
{
	static const char *const patterns[] = { "a", "ab", "abc", "x", "abcd" };
	uint32_t seed = 20240607;

	for (int round = 0; round < 3000; round++) {
		struct rule_conf rules[12];
		size_t order[12], n = 1 + rnd(&seed, 12), n_expected;
		const struct route_fixture f = {
			.zones = zones, .n_zones = COUNT(zones), .rules = rules, .n_rules = n
		};

		fill_rules(n, true);
		for (size_t i = 0; i < n; i++) {
			rules[i] = many_rules[i];
			rules[i].priority = 1 + rnd(&seed, 4);
			rules[i].pattern = TEXT(patterns[rnd(&seed, COUNT(patterns))]);
			rules[i].on_match = rnd(&seed, 4) == 0 ? RULE_STOP : RULE_CONTINUE;
			rules[i].enabled = rnd(&seed, 8) != 0;
		}
		search(&f, "abc", "pbx");
		n_expected = expected_rules(rules, n, order);
		assert_int_equal(result.n_targets, n_expected);
		assert_int_equal(result.status, n_expected ? ROUTE_FOUND : ROUTE_NOT_FOUND);
		for (size_t i = 0; i < n_expected; i++) {
			const struct route_target *t = &result.targets[i];

			assert_string_equal(t->rule, rules[order[i]].common.name);
			assert_int_equal(t->priority, rules[order[i]].priority);
		}
	}
}

static void compile_and_search(void *arg)
{
	const struct route_fixture *f = arg;
	struct route_table *t;
	struct buf errors;
	int err;

	buf_init(&errors, 65536);
	err = fixture_table(f, &t, &errors);
	assert_int_not_equal(err, -EINVAL);
	if (err == 0) {
		route_search(t,
			     &(struct route_query){ .alias = SLICE("bob@example.com"),
						    .source_zone = SLICE("to-edge"),
						    .hop_count = 70 },
			     &result);
		/* PCRE2 may have been refused memory: that is a cut. */
		assert_true(result.status == ROUTE_FOUND || result.cut_by[0]);
		route_table_free(t);
	}
	buf_fini(&errors);
}

static void test_no_memory(void **state)
{
	struct route_fixture f = { .zones = zones,
				   .n_zones = COUNT(zones),
				   .domains = domains,
				   .n_domains = COUNT(domains),
				   .transforms = transforms,
				   .n_transforms = COUNT(transforms),
				   .rules = office,
				   .n_rules = COUNT(office) };

	assert_in_range(alloc_fail_sweep(compile_and_search, &f), 20, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_ip_literal),
		cmocka_unit_test(test_ip_after_transform),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_domains_on_edge),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_alias_size),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_cut_transform),
		cmocka_unit_test(test_target_bound),
		cmocka_unit_test(test_same_target_once),
		cmocka_unit_test(test_step_bound),
		cmocka_unit_test(test_table_bounds),
		cmocka_unit_test(test_table_errors),
		cmocka_unit_test(test_property),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
