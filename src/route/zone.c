#include "route/zone.h"

#include <errno.h>
#include <stdlib.h>

int route_zones_new(const struct zone_conf *const *conf, size_t n_conf, struct route_zone **out,
		    size_t *n)
{
	struct route_zone *zones = calloc(n_conf + 1, sizeof(*zones));
	size_t i;

	if (!zones)
		return -ENOMEM;
	for (i = 0; i < n_conf; i++) {
		slice_copy(zones[i].name, sizeof(zones[i].name), slice_of(conf[i]->common.name));
		zones[i].type = (enum zone_type)conf[i]->type;
		zones[i].hop_count = (int)conf[i]->hop_count;
		zones[i].enabled = conf[i]->enabled;
	}
	*out = zones;
	*n = n_conf;
	return 0;
}

bool route_zone_is_traversal(int type)
{
	return type == ZONE_UC_TRAVERSAL || type == ZONE_TRAVERSAL_CLIENT ||
	       type == ZONE_TRAVERSAL_SERVER;
}

size_t route_zone_find(const struct route_zone *zones, size_t n, struct slice name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (slice_eq(slice_of(zones[i].name), name))
			return i;
	return n;
}

struct route_source route_zone_source(const struct route_zone *zones, size_t n, struct slice name)
{
	size_t i;

	if (name.n == 0 || slice_eq(name, SLICE("local")))
		return (struct route_source){ ROUTE_FROM_LOCAL, 0 };
	i = route_zone_find(zones, n, name);
	if (i < n)
		return (struct route_source){ ROUTE_FROM_ZONE, i };
	return (struct route_source){ ROUTE_FROM_DEFAULT, 0 };
}

bool route_zone_name_reserved(struct slice name)
{
	return slice_caseeq(name, SLICE("any")) || slice_caseeq(name, SLICE("all-zones")) ||
	       slice_caseeq(name, SLICE("local")) || slice_caseeq(name, SLICE("default")) ||
	       slice_caseeq(name, SLICE("none"));
}

struct slice route_domain_sip_zone(const struct domain_conf *d)
{
	const struct slice prefix = SLICE("zone:");
	const struct slice sip = slice_of(d->sip);

	if (!slice_starts(sip, prefix))
		return SLICE_NONE;
	return (struct slice){ sip.p + prefix.n, sip.n - prefix.n };
}
