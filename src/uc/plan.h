#ifndef UC_PLAN_H
#define UC_PLAN_H
/* Whom a sign-in may ask: copied when it starts, so that a discovery or a reload meanwhile takes
 * nothing away from it. */
#include "uc/servers.h"
#include "uc/uc_conf.h"

#define UC_PLAN_MAX_NODES 8 /* of each cluster */

/* What a cluster has said so far. */
enum uc_said {
	UC_SAID_NOTHING,
	UC_SAID_UNKNOWN, /* clusterUser: not found */
	UC_SAID_DIRECT,	 /* it has no clusterUser: ask for the user itself */
	UC_SAID_NO,	 /* the password is wrong, as far as this cluster can tell */
	UC_SAID_ABSENT,	 /* no such user (404) */
};

struct uc_plan_cluster {
	char name[UC_CLUSTER_BYTES];
	char *tls; /* NULL: none */
	bool verify;
	bool https;
	uint32_t timeout_ms;
	enum uc_said said;
	bool wanted; /* the password is asked for here */
};

struct uc_plan_node {
	char name[UC_HOST_BYTES];
	uint16_t port;
	size_t cluster;
	bool alive;
	bool tried;
};

struct uc_plan {
	struct uc_plan_cluster *clusters;
	size_t n_clusters;
	struct uc_plan_node *nodes;
	size_t n_nodes;
};

/* Adds the cluster and up to UC_PLAN_MAX_NODES of its call managers, from a random one on (any
 * number is good for `random`), those that live first. 0 or -ENOMEM. */
int uc_plan_add(struct uc_plan *p, const struct uc_cluster_conf *conf,
		const struct uc_servers *servers, uint32_t random);
void uc_plan_fini(struct uc_plan *p);

#endif
