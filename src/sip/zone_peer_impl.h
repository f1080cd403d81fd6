#ifndef SIP_ZONE_PEER_IMPL_H
#define SIP_ZONE_PEER_IMPL_H
/* Shared by zone_peer.c, zone_link.c and zone_monitor.c only. */
#include "base/list.h"
#include "core/conn.h"
#include "core/dns.h"
#include "core/module.h"
#include "sip/traversal_client.h"
#include "sip/zone_peer.h"
#include "turnpike/route.h"

enum { ZONE_MAX_PEERS = 6 };

enum peer_health { PEER_CHECKING, PEER_ACTIVE, PEER_FAILED };

struct peer {
	struct zone_rt *zone;
	unsigned index;
	char *host; /* NULL on E's side of a traversal zone: whoever proves itself */
	char *uri;
	uint16_t port;
	struct dns_query *query;
	struct addr addrs[DNS_MAX_ADDRS];
	size_t n_addrs, next_addr;
	uint64_t flow; /* traversal: the link's, 0 none */
	enum peer_health health;
	char reason[160];
	struct traversal_client tc;
	struct conn conn;   /* CONN_LINK while active */
	struct timer timer; /* neighbour: next look-up and OPTIONS */
	struct txn_client *options;
	uint32_t cseq;
};

struct zone_rt {
	struct list node;
	struct zone_peers *zp;
	const struct zone_conf *conf;
	const struct conf_snapshot *snap; /* keeps conf alive */
	struct peer peers[ZONE_MAX_PEERS];
	unsigned n_peers;
	uint64_t refused_flow; /* its refusal is the reason to show, not its end */
	bool seen;
};

struct zone_peers {
	struct env *env;
	struct transport *transport;
	struct txn_layer *txns;
	struct list zones;
	uint8_t key[32];
	char name[256]; /* [system] name */
	bool draining;
	unsigned turn;
};

bool zone_is_traversal(const struct zone_rt *z);
void peer_set_health(struct peer *p, enum peer_health health, const char *reason);
/* Resolves p->host; done runs with p->addrs filled (n_addrs 0: reason set). */
void peer_resolve(struct peer *p, void (*done)(const struct dns_result *r, void *arg));
void peer_take_addrs(struct peer *p, const struct dns_result *r);
/* OPTIONS to the peer on a flow; 0 or negative errno. */
int peer_send_options(struct peer *p, uint64_t flow, const char *authorization,
		      const struct txn_client_events *events);
void peer_flow_dest(struct peer *p, struct flow_dest *dest);
/* zone_link.c: C's end. */
void link_start(struct peer *p);
void link_stop(struct peer *p);
void link_conf(struct peer *p, struct tc_conf *out);
void link_enter(struct peer *p, struct flow *f);
void link_leave(struct peer *p, const char *why);
/* zone_monitor.c: neighbours. */
void monitor_start(struct peer *p);
void monitor_stop(struct peer *p);

#endif
