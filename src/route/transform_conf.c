/* [transform NAME]: the rows. The checks are the compilation itself. */
#include "route/sections.h"

static const char *const types[] = { "exact", "prefix", "suffix", "regex", NULL };
static const char *const behaviours[] = { "strip", "replace", "add-prefix", "add-suffix", NULL };

#define ROW(k, t, member, ...)                                                              \
	{                                                                                   \
		.key = (k), .type = (t), .offset = offsetof(struct transform_conf, member), \
		__VA_ARGS__                                                                 \
	}

static const struct conf_row rows[] = {
	ROW("priority", CONF_U32, priority, .min = 1, .max = 65534, .flags = CONF_REQUIRED,
	    .help = "transforms are tried from the lowest number up; each has one of its own"),
	ROW("pattern-type", CONF_ENUM, pattern_type, .def = "prefix", .names = types,
	    .help = "how `pattern` is compared, never minding case; regex: PCRE2, the whole alias"),
	ROW("pattern", CONF_STRING, pattern, .flags = CONF_REQUIRED,
	    .help = "text or regular expression; %variables% too"),
	ROW("behaviour", CONF_ENUM, behaviour, .def = "strip", .names = behaviours,
	    .help = "strip the prefix or suffix, replace what matched, add `replace` in front or "
		    "behind"),
	ROW("replace", CONF_STRING, replace,
	    .help = "text for replace, add-prefix and add-suffix; \\1 to \\9 are groups of a "
		    "regex, "
		    "\\\\ is a backslash"),
	ROW("enabled", CONF_BOOL, enabled, .def = "yes",
	    .help = "no: the transform is passed over"),
};

static void check_priority(const struct conf_snapshot *snap, const struct transform_conf *conf,
			   struct conf_errors *errors)
{
	const struct transform_conf *other;

	for (other = conf_next(snap, "transform", NULL); other && other != conf;
	     other = conf_next(snap, "transform", other)) {
		if (other->priority != conf->priority)
			continue;
		conf_error(errors, conf, "priority", "[transform %s] has priority %u already",
			   other->common.name, conf->priority);
		return;
	}
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	struct route_fault fault = { .text = "out of memory" };
	struct route_transform transform;
	struct route_gather g;
	int err;

	route_section_count(snap, section, "transform", ROUTE_MAX_TRANSFORMS, errors);
	check_priority(snap, section, errors);
	err = route_gather_init(&g, snap);
	if (err == 0) {
		err = route_transform_compile(&transform, section, &g.plan.vars, &fault);
		if (err == 0)
			route_transform_fini(&transform);
		route_gather_fini(&g);
	}
	if (err)
		conf_error(errors, section, fault.key, "%s", fault.text);
}

const struct conf_section route_transform_section = {
	.type = "transform",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct transform_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "Changes an alias before the search rules see it; the first that matches does, "
		"alone.",
	.check = check,
};
