#ifndef TUNNEL_TUNNEL_IMPL_H
#define TUNNEL_TUNNEL_IMPL_H
/* What the files of the module share: the module's own state, and which way a byte goes.
 *
 *   listener (ssh_server.c) or dial (peer.c, ssh_client.c)
 *     -> ssh_conn.c: one SSH connection on the loop
 *          -> channel.c: one stream over it
 *          -> control_*.c through peer.c: its control channel
 */
#include "base/idtab.h"
#include "base/list.h"
#include "base/timerq.h"
#include "core/conn.h"
#include "core/dns.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "tunnel/control.h"
#include "tunnel/keys.h"
#include "tunnel/tunnel_conf.h"
#include "turnpike/tunnel.h"

#define TUNNEL_MAX_PURPOSES 16
#define TUNNEL_USER_PREFIX  "turnpike-" /* and the slot */
#define TUNNEL_SUBSYSTEM    "turnpike-control"
#define TUNNEL_MAX_REFUSED  3 /* things asked that are not for C or E; then the connection ends */
#define TUNNEL_WHY_BYTES    160

struct acceptor;
struct event;
struct ssh_conn;
struct tunnel;

/* The slot of a peer where C keeps one connection. */
struct slot {
	struct peer *peer;
	unsigned index;
	struct ssh_conn *conn;
	/* C: */
	struct timer retry;
	struct dns_query *query;
	unsigned n_failures; /* in a row */
};

struct peer {
	struct tunnel *t;
	tunnel_peer id;
	char name[254];
	bool wanted; /* in the configuration and enabled */
	char host[254];
	uint16_t port;
	uint8_t hashes[KEYS_MAX_PER_PEER][KEYS_HASH_BYTES];
	size_t n_hashes;
	struct control *control;
	struct slot slots[TUNNEL_MAX_SLOTS];
	/* For listings. */
	char system_name[254];
	char software[64];
	char boot[17];
	int64_t skew_ms;
	char last_error[TUNNEL_WHY_BYTES];
	int64_t since_wall_s; /* up or down */
	struct timer grace;   /* after the start: time to come up before it is an alarm */
	bool skew_alarm;
	bool seen_up; /* its going down is still to be told */
};

struct purpose {
	char name[CONTROL_NAME_BYTES];
	void (*accepted)(void *arg, tunnel_peer from, struct stream *s);
	void *arg;
};

struct tunnel {
	struct env *env;
	const struct conf_snapshot *snap;
	const struct tunnel_conf *conf;
	struct control_conf control_conf;
	struct control_hub *hub;
	uint8_t seed[16];
	ssh_key key;
	struct peer *peers[TUNNEL_MAX_PEERS]; /* id - 1; never freed before the end */
	size_t n_peers;
	struct purpose purposes[TUNNEL_MAX_PURPOSES];
	size_t n_purposes;
	struct list conns; /* struct ssh_conn */
	size_t held_bytes; /* came, and waits for slow readers: of all streams */
	bool draining;
	bool stopping;
	uint64_t n_refused_keys;
	/* E: */
	ssh_bind bind;
	struct acceptor *listeners[2]; /* IPv4, IPv6 */
	struct conn listen_conns[2];
	struct addr listening;
	struct net_limits *limits;
	uint8_t last_unknown[KEYS_HASH_BYTES];
};

/* ssh_server.c: the listener of E and what an accepted connection may ask. */
int ssh_server_configure(struct tunnel *t, struct buf *errors);
/* Could this configuration be served? */
int ssh_server_prepare(struct tunnel *t, const struct conf_snapshot *next, struct buf *errors);
void ssh_server_stop(struct tunnel *t);

/* peer.c */
int peers_configure(struct tunnel *t);
void peers_retry_now(struct tunnel *t);
void peers_free(struct tunnel *t);
struct peer *peer_by_id(struct tunnel *t, tunnel_peer id);
/* Whose key is it? */
struct peer *peer_by_hash(struct tunnel *t, const uint8_t hash[KEYS_HASH_BYTES]);
bool peer_has_hash(const struct peer *p, const uint8_t hash[KEYS_HASH_BYTES]);
/* The connection stands and is logged in: it takes its slot, another one there is closed. */
void peer_conn_enter(struct peer *p, unsigned slot, struct ssh_conn *c);
/* It is gone (never before it was entered). */
void peer_conn_leave(struct peer *p, struct ssh_conn *c, const char *why);
unsigned peer_n_up(const struct peer *p);
void peer_failed(struct peer *p, const char *why);
json_t *peer_json(const struct peer *p);
extern const struct control_ops peer_control_ops;

#endif
