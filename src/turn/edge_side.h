#ifndef TURN_EDGE_SIDE_H
#define TURN_EDGE_SIDE_H
/*
 * E's side of the TURN server: what connects the machine (server.h) to the loop, the settings and
 * the control channel. Private to edge_side.c, edge_secrets.c, listen.c, client_stream.c,
 * relay_io.c, turn_ctl.c and mod_turn.c.
 *
 *   datagram --listen.c--> machine --relay_io.c--> peer
 *   stream --listen.c--> client_stream.c --> machine
 */
#include "base/buf.h"
#include "core/ctl.h"
#include "core/module.h"
#include "core/stream_socket.h"
#include "core/udp.h"
#include "turn/server.h"
#include "turn/tcp_relay.h"
#include "turn/turn_conf.h"
#include "turnpike/tunnel.h"
#include "turnpike/turn.h"

enum {
	TURN_MAX_OWN = 256,		       /* addresses of this host that are looked at */
	TURN_MAX_LISTENERS = 512,	       /* sockets */
	TURN_C_SECRET_BYTES = 64,	       /* C makes 32 */
	TURN_SECRETS_OF_C = 8,		       /* C makes three at most */
	TURN_C_SECRETS = TURN_MAX_SECRETS - 1, /* of all C; one place is for [turn] secret */
};

struct turn_edge;

/* What C sent; kept to drop it in time and to follow C's clock. */
struct turn_edge_secret {
	tunnel_peer peer; /* 0: a free place */
	char id[TURN_SECRET_ID_BYTES];
	uint8_t secret[TURN_C_SECRET_BYTES];
	uint8_t n;
	int64_t until_ms; /* monotonic */
	int64_t skew_ms;  /* that it was entered with */
};

struct turn_edge {
	struct env *env;
	const struct conf_snapshot *snap;
	const struct turn_conf *conf;
	const struct tunnel_ops *tunnel; /* NULL: none */
	void *tunnel_self;
	struct turn_credentials *credentials;
	struct turn_edge_secret secrets[TURN_C_SECRETS];
	struct udp_pool *pool;	    /* NULL until it is first turned on */
	struct turn_server *server; /* NULL: off */
	struct turn_server_conf server_conf;
	struct turn_peer_policy policy;
	/* The addresses of this host's interfaces, then those of static NAT. */
	struct addr own[TURN_MAX_OWN + 2];
	size_t n_host, n_own;
	struct addr relays[4]; /* where relays are: bound, public */
	size_t n_relays;
	struct list listeners;
	size_t n_listeners;
	struct list streams;
	struct timer look_timer; /* addresses, secrets, limits */
	int64_t next_addresses_ms;
	int64_t without_credentials_ms; /* since; -1: there are some */
	bool alarmed_ports, alarmed_allocations;
	bool draining;
	uint64_t n_stream_bad, n_stream_dropped, n_streams_total;
};

/* --- edge_side.c --- */
/* init: looks at nothing else. NULL without memory. */
struct turn_edge *turn_edge_new(struct env *env);
/* start: [turn] of the current snapshot. 0, or negative errno with the reasons in errors. */
int turn_edge_start(struct turn_edge *e, struct buf *errors);
int turn_edge_prepare(struct turn_edge *e, const struct conf_snapshot *next, struct buf *errors);
void turn_edge_reload(struct turn_edge *e, const struct conf_snapshot *next);
void turn_edge_drain(struct turn_edge *e);
void turn_edge_stop(struct turn_edge *e);
/* NULL is allowed. */
void turn_edge_free(struct turn_edge *e);
void turn_edge_status(const struct turn_edge *e, json_t *out);
extern const struct turn_ops turn_edge_service; /* self: struct turn_edge */

/* --- edge_secrets.c --- */
/* Subscribes to "turn-secrets". 0 or what the tunnel said. */
int turn_edge_secrets_start(struct turn_edge *e);
/* Drops what is over and follows the clock of each C. now_ms: monotonic. */
void turn_edge_secrets_look(struct turn_edge *e, int64_t now_ms);

/* --- listen.c --- */
/* Opens what the settings ask for and closes the rest. The first error, with all in errors; what
 * could be opened stays open. */
int turn_listen_configure(struct turn_edge *e, struct buf *errors);
/* Could next be listened at? 0 or the first error. */
int turn_listen_prepare(struct turn_edge *e, const struct conf_snapshot *next, struct buf *errors);
void turn_listen_free(struct turn_edge *e);

/* --- client_stream.c --- */
struct turn_stream;
/* Takes the stream over. */
void turn_stream_take(struct turn_edge *e, struct stream *s);
/* to_client and client_over of the machine's ops, for c->io of a stream. */
bool turn_stream_send(const struct turn_client *c, const void *p, size_t n, bool lossy);
void turn_stream_over(const struct turn_client *c, const char *why);
void turn_streams_end(struct turn_edge *e, const char *why);
/* Frees those that have ended; at fini. */
void turn_streams_free(struct turn_edge *e);

/* --- relay_io.c --- */
/* relay_open, relay_close and relay_send of the machine's ops; arg: struct turn_edge. */
int turn_relay_io_open(void *arg, struct turn_relay *r);
void turn_relay_io_close(void *arg, struct turn_relay *r);
void turn_relay_io_send(void *arg, struct turn_relay *r, const struct addr *to, const void *p,
			size_t n, bool dont_fragment);
extern const struct turn_tcp_ops turn_relay_io_tcp; /* arg: struct turn_edge */

/* --- turn_ctl.c --- */
extern const struct ctl_command turn_edge_commands[]; /* self: struct turn_edge */

#endif
