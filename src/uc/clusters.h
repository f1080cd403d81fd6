#ifndef UC_CLUSTERS_H
#define UC_CLUSTERS_H
/* The live clusters: what is known of each, kept up to date in the background. */
#include "core/module.h"
#include "uc/discovery.h"
#include "uc/home.h"
#include "uc/probe.h"

struct uc {
	struct env *env;
	struct uc_world world;
	const struct conf_snapshot *snap; /* the clusters' sections are in it */
	struct list clusters;
	uint64_t generation;
	struct uc_home home;
};

struct uc_cluster {
	struct list node;
	struct uc *uc;
	char name[UC_CLUSTER_BYTES];
	const struct uc_cluster_conf *conf;
	struct uc_servers servers;
	bool mixed;
	char version[32];
	struct uc_discovery discovery;
	struct uc_prober prober;
	struct timer refresh;
	uint32_t retry_ms;    /* after the next failure */
	int64_t found_wall_s; /* the last discovery that succeeded; 0: none yet */
	char error[256];      /* of the last one when it failed */
	char note[256];	      /* what it had to do without */
	char *generated;      /* text of the zones and rules in force */
};

/* Makes the clusters those of the snapshot: new ones are discovered, changed ones again while their
 * old servers stay in use. Keeps a reference to snap. 0 or -ENOMEM (some may be missing then). */
int uc_clusters_apply(struct uc *uc, const struct conf_snapshot *snap);
/* Discovers now. */
void uc_cluster_refresh(struct uc_cluster *c);
struct uc_cluster *uc_cluster_find(const struct uc *uc, const char *name);
bool uc_cluster_serves(const struct uc_cluster *c, struct slice domain);
/* What a server was heard to do; why NULL: it lives. */
void uc_cluster_heard(struct uc_cluster *c, struct uc_server *s, const char *why);
/* Stops what runs and frees all of it. */
void uc_clusters_fini(struct uc *uc);

#endif
