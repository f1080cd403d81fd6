#ifndef XMPP_COMPONENT_H
#define XMPP_COMPONENT_H
/*
 * A partner's domain toward an IM server as an external component of it (XEP-0114): C connects,
 * says that it is partner.org and proves it with the secret; the server then sends what its users
 * write to partner.org, and takes what C sends from there.
 *
 *   OFF --component_start, component_send--> FINDING --nodes--> HEADER --header--> HANDSHAKE
 *   HANDSHAKE --<handshake/>--> OPEN --lost, refused--> WAITING --backoff--> FINDING
 *
 * On the wire stanzas are in jabber:component:accept, here in jabber:server: renamed on the way.
 * Whose stanzas they are is the owner's to check, in both directions.
 */
#include "base/timerq.h"
#include "core/stream.h"
#include "xmpp/im_server.h"
#include "xmpp/stream.h"

#define COMPONENT_RETRY_MIN_MS 1000
#define COMPONENT_RETRY_MAX_MS 60000
#define COMPONENT_OPEN_MS      15000 /* from connecting to <handshake/> */
#define COMPONENT_WAIT_MS      30000 /* what waits for a connection that long comes back */
#define COMPONENT_SPACE_MS     60000 /* a space keeps the connection and finds dead ones */

enum component_state {
	COMPONENT_OFF,
	COMPONENT_FINDING,
	COMPONENT_HEADER,
	COMPONENT_HANDSHAKE,
	COMPONENT_OPEN,
	COMPONENT_WAITING,
};
const char *component_state_str(enum component_state s);

struct component;
struct component_ops {
	/* im_servers_find() for the server's domain, cancel. */
	uint64_t (*find)(void *arg, const char *server, const char *partner,
			 void (*done)(void *ctx, const struct im_node *nodes, size_t n,
				      const char *why),
			 void *ctx);
	void (*cancel)(void *arg, uint64_t id);
	struct stream *(*connect)(void *arg, const struct im_node *node,
				  const struct stream_handler *h, void *ctx, int *error);
	void (*report)(void *arg, const struct im_node *node, bool good, const char *why);
	/* [im-server] component-secret of that server now; unset: none. */
	struct slice (*secret)(void *arg, const char *server);
	/* A stanza of the server's users for partner; gone after the return. */
	void (*deliver)(void *arg, const char *server, const char *partner, struct xml_node *stanza,
			struct xml_arena *arena);
	/* It waited and could not be given to the server: condition "remote-server-timeout" ... */
	void (*undeliverable)(void *arg, const char *server, const char *partner,
			      struct xml_node *stanza, struct xml_arena *arena,
			      const char *condition);
	/* OPEN was reached (up) or lost; refused: the server said no to us (why: its words). May be
	 * called inside every function below but component_free(). May be NULL. */
	void (*changed)(void *arg, struct component *c, bool up, bool refused, const char *why);
};
struct component_conf {
	struct timerq *timers;
	struct xml_pool *pool;
	struct xmpp_stream_conf stream; /* content is set here */
	uint32_t queue_bytes;		/* stanzas that wait for the connection */
};
/* server: [im-server NAME]. NULL without memory. Does nothing before start or send. */
struct component *component_new(const struct component_conf *conf, const struct component_ops *ops,
				void *arg, const char *server, const char *partner);
/* Properly when it is open; what waits is dropped (drained first by the owner if it matters). NULL
 * is allowed; not inside its own callbacks. */
void component_free(struct component *c);
/* Connects now and stays connected. */
void component_start(struct component *c);
/* Gives stanza (jabber:server, to the server's users) to the server, or keeps a copy until it is
 * connected. 0, -ENOBUFS: over queue_bytes, -ENOMEM. */
int component_send(struct component *c, const struct xml_node *stanza);
/* What the server sends is not read while paused. */
void component_set_paused(struct component *c, bool paused);
/* The secret or the address is another: connects anew. */
void component_restart(struct component *c);

struct component_info {
	const char *server, *partner;
	enum component_state state;
	const char *last_error; /* "" */
	uint64_t n_in, n_out, n_undeliverable;
	size_t n_queued;
	const struct xmpp_stream_stats *stats; /* NULL: no stream now */
	struct addr remote;
	int64_t last_used_ms; /* a stanza went either way */
};
struct component_info component_info(const struct component *c);
/* hex(SHA-1(stream id + secret)), XEP-0114 section 3. */
void component_handshake(struct slice id, struct slice secret, char out[41]);

#endif
