#ifndef ROUTE_TABLE_H
#define ROUTE_TABLE_H
/*
 * The dial plan of one configuration snapshot, compiled: everything that a search needs, in the
 * order in which it is needed. Built once, then only read (the matcher's scratch space aside).
 */
#include "route/pattern.h"
#include "route/rule.h"
#include "route/transform.h"
#include "route/zone.h"

/* What it is compiled from. All borrowed, and not needed afterwards. */
struct route_plan {
	unsigned role; /* CONF_ROLE_E or CONF_ROLE_C */
	struct route_vars vars;
	const struct zone_conf *const *zones;
	size_t n_zones;
	const struct domain_conf *const *domains;
	size_t n_domains;
	const struct transform_conf *const *transforms;
	size_t n_transforms;
	const struct rule_conf *const *rules;
	size_t n_rules;
};

struct route_table {
	struct route_zone *zones;
	size_t n_zones;
	struct route_transform *transforms; /* enabled ones, by priority */
	size_t n_transforms;
	struct route_rule *rules; /* by priority, automatic ones last within one */
	size_t n_rules;
	struct route_matcher *matcher;
};

/* 0 and *out; or -EINVAL (errors in errors, a line each) or -ENOMEM. */
int route_table_new(const struct route_plan *plan, struct route_table **out, struct buf *errors);
void route_table_free(struct route_table *t);

#endif
