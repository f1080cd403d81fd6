#ifndef TESTS_SUPPORT_ROUTE_FIXTURE_H
#define TESTS_SUPPORT_ROUTE_FIXTURE_H
/* A dial plan from arrays of plain structs, as the settings would fill them. */
#include <stdlib.h>

#include "route/search.h"

/* Settings hold char *, tests write literals. */
#define TEXT(literal) ((char *)(literal))

#define ZONE(zone_name, zone_type)                                                    \
	{                                                                             \
		.common.name = TEXT(zone_name), .type = (zone_type), .hop_count = 15, \
		.enabled = true                                                       \
	}
#define RULE(rule_name, rule_priority, rule_target, ...)                     \
	{                                                                    \
		.common.name = TEXT(rule_name), .priority = (rule_priority), \
		.target = TEXT(rule_target), .enabled = true, __VA_ARGS__    \
	}
#define PATTERN(the_type, the_pattern) \
	.mode = RULE_ALIAS_PATTERN, .pattern_type = (the_type), .pattern = TEXT(the_pattern)
#define TRANSFORM(the_name, the_priority, the_type, the_pattern, ...)                      \
	{                                                                                  \
		.common.name = TEXT(the_name), .priority = (the_priority),                 \
		.pattern_type = (the_type), .pattern = TEXT(the_pattern), .enabled = true, \
		__VA_ARGS__                                                                \
	}
/* Indexes of transform_conf.behaviour. */
enum { TR_STRIP, TR_REPLACE, TR_ADD_PREFIX, TR_ADD_SUFFIX };

struct route_fixture {
	unsigned role; /* 0: C */
	const struct zone_conf *zones;
	size_t n_zones;
	const struct domain_conf *domains;
	size_t n_domains;
	const struct transform_conf *transforms;
	size_t n_transforms;
	const struct rule_conf *rules;
	size_t n_rules;
	struct route_vars vars;
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline const void **fixture_pointers(const void *array, size_t n, size_t size)
{
	const void **v = malloc((n + 1) * sizeof(*v));

	for (size_t i = 0; v && i < n; i++)
		v[i] = (const char *)array + i * size;
	return v;
}

/* As route_table_new(). */
static inline int fixture_table(const struct route_fixture *f, struct route_table **out,
				struct buf *errors)
{
	const void **zones = fixture_pointers(f->zones, f->n_zones, sizeof(*f->zones));
	const void **domains = fixture_pointers(f->domains, f->n_domains, sizeof(*f->domains));
	const void **transforms =
		fixture_pointers(f->transforms, f->n_transforms, sizeof(*f->transforms));
	const void **rules = fixture_pointers(f->rules, f->n_rules, sizeof(*f->rules));
	int err = -1;

	if (zones && domains && transforms && rules) {
		const struct route_plan plan = {
			.role = f->role ? f->role : CONF_ROLE_C,
			.vars = f->vars,
			.zones = (const struct zone_conf *const *)zones,
			.n_zones = f->n_zones,
			.domains = (const struct domain_conf *const *)domains,
			.n_domains = f->n_domains,
			.transforms = (const struct transform_conf *const *)transforms,
			.n_transforms = f->n_transforms,
			.rules = (const struct rule_conf *const *)rules,
			.n_rules = f->n_rules,
		};

		err = route_table_new(&plan, out, errors);
	}
	free(zones);
	free(domains);
	free(transforms);
	free(rules);
	return err;
}

#endif
