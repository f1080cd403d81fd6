/* [search-rule NAME]: the rows. The checks are the compilation itself. */
#include <stdlib.h>

#include "route/sections.h"

static const char *const modes[] = { "any-alias", "any-ip", "alias-pattern", NULL };
static const char *const types[] = { "exact", "prefix", "suffix", "regex", NULL };
static const char *const behaviours[] = { "leave", "strip", "replace", NULL };
static const char *const on_match[] = { "continue", "stop", NULL };

#define ROW(k, t, member, ...)                                                                     \
	{                                                                                          \
		.key = (k), .type = (t), .offset = offsetof(struct rule_conf, member), __VA_ARGS__ \
	}

static const struct conf_row rows[] = {
	ROW("priority", CONF_U32, priority, .def = "100", .min = 1, .max = 65534,
	    .help = "rules run from the lowest number up; targets of one number are tried "
		    "together"),
	ROW("source", CONF_NAMES, source, .def = "any",
	    .help = "where requests come from: any, all-zones (all but the unknown outside), local "
		    "(registered here), default (the unknown outside), names of zones"),
	ROW("authenticated", CONF_BOOL, authenticated, .def = "no",
	    .help = "yes: only for senders who proved who they are"),
	ROW("mode", CONF_ENUM, mode, .def = "any-alias", .names = modes,
	    .help = "any-alias: everything but IP addresses; any-ip: only IP addresses; "
		    "alias-pattern: what `pattern` matches"),
	ROW("pattern-type", CONF_ENUM, pattern_type, .def = "prefix", .names = types,
	    .help = "how `pattern` is compared, never minding case; regex: PCRE2, the whole alias"),
	ROW("pattern", CONF_STRING, pattern, .help = "text or regular expression; %variables% too"),
	ROW("behaviour", CONF_ENUM, behaviour, .def = "leave", .names = behaviours,
	    .help = "what happens to the alias for this target: leave it, strip the prefix or "
		    "suffix, replace what matched"),
	ROW("replace", CONF_STRING, replace,
	    .help = "the replacement; \\1 to \\9 are groups of a regex, \\\\ is a backslash"),
	ROW("on-match", CONF_ENUM, on_match, .def = "continue", .names = on_match,
	    .help = "stop: rules of a higher number are not looked at any more"),
	ROW("target", CONF_REF, target, .ref = "zone", .flags = CONF_REQUIRED,
	    .help = "the zone that the request goes to"),
	ROW("enabled", CONF_BOOL, enabled, .def = "yes", .help = "no: the rule is passed over"),
};

static int compile(const struct route_plan *plan, const struct rule_conf *conf,
		   struct route_fault *fault)
{
	struct route_zone *zones;
	struct route_rule rule;
	size_t n;
	int err = route_zones_new(plan->zones, plan->n_zones, &zones, &n);

	if (err)
		return err;
	err = route_rule_compile(&rule, conf, zones, n, &plan->vars, fault);
	if (err == 0)
		route_rule_fini(&rule);
	free(zones);
	return err;
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	struct route_fault fault = { .text = "out of memory" };
	struct route_gather g;
	int err;

	route_section_count(snap, section, "search-rule", ROUTE_MAX_RULES, errors);
	err = route_gather_init(&g, snap);
	if (err == 0) {
		err = compile(&g.plan, section, &fault);
		route_gather_fini(&g);
	}
	if (err)
		conf_error(errors, section, fault.key, "%s", fault.text);
}

const struct conf_section route_rule_section = {
	.type = "search-rule",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct rule_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "Which aliases go to which zone.",
	.check = check,
};
