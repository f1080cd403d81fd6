#include "route/transform.h"

int route_transform_compile(struct route_transform *t, const struct transform_conf *conf,
			    const struct route_vars *vars, struct route_fault *fault)
{
	const struct route_edit_spec spec = {
		.type = (enum route_pattern_type)conf->pattern_type,
		.pattern = conf->pattern,
		/* A transform that leaves the alias alone would be none: the names start at strip.
		 */
		.behaviour = (enum route_behaviour)(conf->behaviour + ROUTE_STRIP),
		.replace = conf->replace,
	};

	*t = (struct route_transform){ .priority = conf->priority };
	slice_copy(t->name, sizeof(t->name), slice_of(conf->common.name));
	return route_edit_compile(&t->edit, &spec, vars, fault);
}

void route_transform_fini(struct route_transform *t)
{
	route_edit_fini(&t->edit);
}
