#ifndef UC_PROBE_H
#define UC_PROBE_H
/* Is each server of a cluster alive? A request to each from time to time, a few at once. */
#include "uc/servers.h"
#include "uc/uc_conf.h"
#include "uc/world.h"

#define UC_PROBE_AT_ONCE    8
#define UC_PROBE_TIMEOUT_MS 5000

struct uc_prober;

struct uc_probe {
	struct uc_prober *prober;
	struct fetch *fetch;
	char name[UC_HOST_BYTES]; /* the servers may have changed when the answer comes */
	bool is_uds;
};

struct uc_prober {
	const struct uc_world *world;
	const struct uc_cluster_conf *conf;
	struct uc_servers *servers;
	/* why: NULL when it lives. */
	void (*heard)(void *arg, struct uc_server *server, const char *why);
	void *arg;
	struct timer round;
	size_t next; /* server of this round */
	struct uc_probe probes[UC_PROBE_AT_ONCE];
};

void uc_prober_init(struct uc_prober *p, const struct uc_world *world, struct uc_servers *servers,
		    void (*heard)(void *arg, struct uc_server *server, const char *why), void *arg);
/* Begins a round now and one every conf->probe_ms. conf lives until stop or the next start. */
void uc_prober_start(struct uc_prober *p, const struct uc_cluster_conf *conf);
void uc_prober_stop(struct uc_prober *p);

#endif
