#ifndef ROUTE_TRANSFORM_H
#define ROUTE_TRANSFORM_H
/* Pre-search transforms: [transform NAME]. The first that matches changes the alias, the rest are
 * not looked at. */
#include "core/conf_schema.h"
#include "route/edit.h"

#define ROUTE_MAX_TRANSFORMS 100

struct transform_conf {
	struct conf_common common;
	uint32_t priority; /* 1-65534, unique */
	int pattern_type;  /* enum route_pattern_type */
	char *pattern;
	int behaviour; /* index of "strip", "replace", "add-prefix", "add-suffix" */
	char *replace;
	bool enabled;
};

struct route_transform {
	char name[ROUTE_ZONE_BYTES];
	uint32_t priority;
	struct route_edit edit;
};

/* 0; -EINVAL or -ENOMEM with *fault filled and nothing to free. */
int route_transform_compile(struct route_transform *t, const struct transform_conf *conf,
			    const struct route_vars *vars, struct route_fault *fault);
void route_transform_fini(struct route_transform *t);

#endif
