#ifndef ROUTE_SECTIONS_H
#define ROUTE_SECTIONS_H
/* The configuration sections of this module, and what a snapshot's dial plan is compiled from. */
#include "core/conf_store.h"
#include "route/table.h"

extern const struct conf_section route_zone_section;
extern const struct conf_section route_domain_section;
extern const struct conf_section route_transform_section;
extern const struct conf_section route_rule_section;

#define ROUTE_MAX_OWN_IPS 64

/* The plan of a snapshot; everything in it borrows from the snapshot and this struct. */
struct route_gather {
	struct route_plan plan;
	const struct zone_conf **zones;
	const struct domain_conf **domains;
	const struct transform_conf **transforms;
	const struct rule_conf **rules;
	const char **domain_names;
	struct addr ips[ROUTE_MAX_OWN_IPS];
};

/* 0, or -ENOMEM with nothing to free. Looks at the host's interfaces for %ip%. */
int route_gather_init(struct route_gather *g, const struct conf_snapshot *snap);
void route_gather_fini(struct route_gather *g);
/* Are there more than max sections of the type? Said once, at the first of them. */
void route_section_count(const struct conf_snapshot *snap, const void *section, const char *type,
			 size_t max, struct conf_errors *errors);

#endif
