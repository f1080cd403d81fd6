#ifndef XMPP_IM_SERVER_IMPL_H
#define XMPP_IM_SERVER_IMPL_H
/* Shared by im_server.c (sections and order), im_server_find.c (names), im_server_health.c (who
 * lives) and im_server_connect.c (dialling) only. */
#include "base/idtab.h"
#include "base/timerq.h"
#include "core/dns.h"
#include "core/loop.h"
#include "xmpp/im_server.h"

#define IM_MAX_NODES   32 /* of one search */
#define IM_HOST_BYTES  256
#define IM_MAX_ADDRS   4 /* of one node */
#define IM_MAX_FINDS   4096
#define IM_CONNECT_MS  5000
#define IM_PROBE_MS    3000
#define IM_PROBE_FIRST 1000 /* until the first probe, doubled up to ... */
#define IM_PROBE_LAST  30000

struct im_peer { /* one node */
	struct list node;
	struct im_servers *owner;
	struct im_node pub; /* server and host are ours; alive, why, conf of now */
	char *found_by;	    /* domain whose SRV records named it; "": the administrator wrote it */
	struct addr addrs[IM_MAX_ADDRS];
	size_t n_addrs, at; /* at: the one to use next */
	uint16_t priority;
	char why[160];
	uint32_t wait_ms; /* between probes; kept until a stream was good */
	struct timer timer;
	struct stream *probe;
	struct dns_query *query;
};

struct im_lookup {
	struct im_find *find;
	struct dns_query *query;
	char host[IM_HOST_BYTES];
	uint16_t port; /* of the node */
};

struct im_find {
	struct list node;
	struct im_servers *owner;
	uint64_t id;
	char *domain, *key, *server;
	enum im_use use;
	void (*done)(void *arg, const struct im_node *nodes, size_t n, const char *why);
	void *arg;
	struct loop_deferred later;
	size_t n_pending;
	struct im_peer *found[IM_MAX_NODES]; /* NULL: gone meanwhile */
	size_t n_found;
	char why[320];
	struct im_lookup srv;
	size_t n_lookups;
	struct im_lookup lookups[];
};

struct im_servers {
	struct env *env;
	const struct conf_snapshot *snap;
	struct list peers; /* struct im_peer.node */
	struct list finds;
	struct idtab ids;
};

/* im_server.c */
const struct im_server_conf *im_server_for(const struct im_servers *s, const char *domain);
/* The enabled section of that name, or NULL. */
const struct im_server_conf *im_server_named(const struct im_servers *s, const char *name);
uint16_t im_server_port(const struct im_server_conf *c, enum im_use use);
/* The i-th of `hosts`; false behind the last, or for what is none. */
bool im_server_host(const struct im_server_conf *c, size_t i, enum im_use use,
		    char host[IM_HOST_BYTES], uint16_t *port);
struct im_peer *im_peer_get(const struct im_servers *s, const struct im_node *n);
/* The one there is, or a new one; NULL without memory. */
struct im_peer *im_peer_make(struct im_servers *s, const struct im_server_conf *conf,
			     const char *host, uint16_t port, const char *found_by);
void im_peer_free(struct im_peer *p);
/* Living ones first, then by priority, then by rendezvous hash of key. */
void im_peers_sort(struct im_peer **peers, size_t n, const char *key);

/* im_server_find.c */
void im_find_free(struct im_find *f);

/* im_server_health.c */
void im_peer_failed(struct im_peer *p, const char *why);
void im_peer_lives(struct im_peer *p, bool for_sure);
void im_peer_stop_probe(struct im_peer *p);
void im_peer_forget_alarm(struct im_peer *p);
void im_peer_probe(void *peer);
void im_peer_take_addrs(struct im_peer *p, const struct dns_result *r, const char *target);

/* im_server_connect.c */
#define IM_PROXY_BYTES 52
/* The header of PROXY protocol version 2 for a TCP connection of src (NULL: LOCAL) to dst. Returns
 * its length. */
size_t im_proxy_header(uint8_t out[IM_PROXY_BYTES], const struct addr *src, const struct addr *dst);
struct stream *im_peer_dial(struct im_peer *p, enum im_use use, const struct addr *client,
			    const char *domain, uint32_t timeout_ms, const struct stream_handler *h,
			    void *arg, int *error);

#endif
