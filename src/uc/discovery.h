#ifndef UC_DISCOVERY_H
#define UC_DISCOVERY_H
/*
 * One discovery of one cluster.
 *
 *   IDLE --start--> STATIC | SRV_UDS -> SRV_LOGIN | VERSION -> NODES -> SERVICES -> SECURITY
 *        <-- done(found) or done(NULL, fault) --
 *
 * Who runs which service and the security mode are taken as far as they are told: a publisher that
 * refuses those queries is still one whose nodes are known (with a note in `why`).
 */
#include "uc/axl.h"
#include "uc/uc_conf.h"
#include "uc/world.h"

enum uc_discovery_state {
	UC_DISCOVERY_IDLE,
	UC_DISCOVERY_STATIC,
	UC_DISCOVERY_SRV_UDS,
	UC_DISCOVERY_SRV_LOGIN,
	UC_DISCOVERY_VERSION,
	UC_DISCOVERY_NODES,
	UC_DISCOVERY_SERVICES,
	UC_DISCOVERY_SECURITY,
};

struct uc_fault {
	const char *code; /* for the trace */
	char text[256];
	const char *todo;
};

struct uc_discovery {
	const struct uc_world *world;
	const struct uc_cluster_conf *conf; /* lives until stop */
	/* found: taken over by moving what is in it; NULL: failed. Not from inside start(). */
	void (*done)(void *arg, struct uc_found *found, const struct uc_fault *fault);
	void *arg;
	enum uc_discovery_state state;
	struct uc_found found;
	char note[256]; /* what a success had to do without; "" for nothing */
	char schema[UC_AXL_VERSION_BYTES];
	size_t schema_guess;
	size_t domain; /* of the SRV queries */
	struct fetch *fetch;
	struct dns_query *query;
	struct timer next;
};

void uc_discovery_init(struct uc_discovery *d, const struct uc_world *world,
		       void (*done)(void *arg, struct uc_found *found,
				    const struct uc_fault *fault),
		       void *arg);
/* Runs already: no effect. */
void uc_discovery_start(struct uc_discovery *d, const struct uc_cluster_conf *conf);
/* No callback afterwards. */
void uc_discovery_stop(struct uc_discovery *d);
static inline bool uc_discovery_runs(const struct uc_discovery *d)
{
	return d->state != UC_DISCOVERY_IDLE;
}

#endif
