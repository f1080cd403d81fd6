#ifndef ROUTE_ZONE_H
#define ROUTE_ZONE_H
/* Zones as the search sees them: where a request came from and where it may go. */
#include "base/slice.h"
#include "turnpike/route.h"

#define ROUTE_MAX_ZONES 1000

struct route_zone {
	char name[ROUTE_ZONE_BYTES];
	enum zone_type type;
	int hop_count;
	bool enabled;
};

enum route_source_kind { ROUTE_FROM_LOCAL, ROUTE_FROM_DEFAULT, ROUTE_FROM_ZONE };

struct route_source {
	enum route_source_kind kind;
	size_t zone; /* ROUTE_FROM_ZONE: index into the zones */
};

/* Compiles them: 0 and an array (free) of *n, or -ENOMEM. */
int route_zones_new(const struct zone_conf *const *conf, size_t n_conf, struct route_zone **out,
		    size_t *n);
/* "traversal" zones are links between a core and an edge. */
bool route_zone_is_traversal(int type);
/* Index of the zone, or n when there is none of that name. */
size_t route_zone_find(const struct route_zone *zones, size_t n, struct slice name);
/* "" and "local": this system's own registrations; "default" and every name that is no zone (any
 * more): the unknown outside, which has the fewest rights. */
struct route_source route_zone_source(const struct route_zone *zones, size_t n, struct slice name);
/* Names with a meaning of their own in `source`. */
bool route_zone_name_reserved(struct slice name);
/* The zone that a [domain] section's `sip` names ("zone:NAME"); empty for "none". */
struct slice route_domain_sip_zone(const struct domain_conf *d);

#endif
