#ifndef XMPP_LINK_H
#define XMPP_LINK_H
/*
 * The connections of the link between C and E (port 7400, mutual TLS, all dialled by C). C keeps
 * some idle at each E; E takes one for each chat stream; C fills up. Streams of federation pairs
 * are opened by either side: E takes an idle one, C dials one more. docs/protocol/xmpp-link.md
 *
 *   C: CONNECTING --TLS, hello sent--> IDLE --E's preface--> TAKEN (given to the owner)
 *   E: HELLO_WAIT --hello "idle"--> IDLE --link_edge_take--> TAKEN
 *      HELLO_WAIT --hello "s2s"--> TAKEN (given to the owner)
 *   both: TAKEN --link_..._give_back--> IDLE (its stream is parked)
 *
 * Whoever gets a stream from here owns it as any other. The entry in the connection table
 * (CONN_XMPP_LINK, stream.conn_id) stays here and ends with the stream, which it learns by
 * stream.watch; `turnpikectl disconnect` of it breaks the stream, and the owner hears that.
 */
#include <jansson.h>

#include "core/stream.h"
#include "turnpike/tunnel.h"
#include "xmpp/preface.h"
#include "xmpp/xmpp_conf.h"

struct env;

#define LINK_HANDSHAKE_MS 10000
#define LINK_MAX_IDLE	  1024 /* of one C that E keeps */
#define LINK_MAX_WAITERS  4096 /* of all C */
#define LINK_CONN_BYTES \
	(16 * 1024) /* of memory that one takes, about; OpenSSL's for the most part */

/* --- E --- */
struct link_edge;
struct link_edge_handler {
	/* C opened a stream for a pair: takes s over, positioned behind the hello. */
	void (*s2s)(void *arg, tunnel_peer from, const struct preface *p, struct stream *s);
};
struct link_edge *link_edge_new(struct env *env, const struct link_edge_handler *h, void *arg);
/* Listens as [xmpp] says. 0 or negative errno with reasons. */
int link_edge_configure(struct link_edge *l, const struct xmpp_conf *conf, struct buf *errors);
/* Could it listen so? */
int link_edge_prepare(const struct link_edge *l, const struct xmpp_conf *conf, struct buf *errors);
/* Who the peers are. */
void link_edge_set_tunnel(struct link_edge *l, const struct tunnel_ops *ops, void *self);
/* The tunnel to that C is down: its idle connections go, those who wait are told. */
void link_edge_peer_lost(struct link_edge *l, tunnel_peer peer);
/* Listens no more; what is idle stays idle, new ones are refused. */
void link_edge_drain(struct link_edge *l);
/* Waiters are told nothing; taken streams live on. */
void link_edge_free(struct link_edge *l);
/* An idle connection of that C, with p sent on it; NULL when there is none now. */
struct stream *link_edge_take(struct link_edge *l, tunnel_peer from, const struct preface *p);
/* The same, waiting for one up to timeout_ms (bounded number of waiters, first come first served):
 * done is called once, never before this returns; s NULL: none came (why static). 0: too many wait.
 * Returns an id for cancel. */
uint64_t link_edge_wait(struct link_edge *l, tunnel_peer from, const struct preface *p,
			uint32_t timeout_ms,
			void (*done)(void *arg, struct stream *s, const char *why), void *arg);
void link_edge_cancel(struct link_edge *l, uint64_t id);
/* C has said its last word of the stream that s was taken for: idle again. Takes s over. */
void link_edge_give_back(struct link_edge *l, struct stream *s);
size_t link_edge_idle(const struct link_edge *l, tunnel_peer from);
/* One object a C that has or had connections: {"peer","idle","taken","waiting",...}. */
json_t *link_edge_json(const struct link_edge *l);

/* --- C --- */
struct link_core;
struct link_core_handler {
	/* E took a connection: takes s over, positioned behind E's preface. */
	void (*c2s)(void *arg, tunnel_peer from, const struct preface *p, struct stream *s);
	void (*s2s)(void *arg, tunnel_peer from, const struct preface *p, struct stream *s);
	/* For a stream of a client that was parked. */
	void (*resume)(void *arg, tunnel_peer from, const struct preface *p, struct stream *s);
};
struct link_core *link_core_new(struct env *env, const struct link_core_handler *h, void *arg);
/* Dials every [tunnel-peer] (tunnel_peer_info.host) that is ready, pool-idle connections each; new
 * settings. */
void link_core_configure(struct link_core *l, const struct xmpp_conf *conf);
void link_core_set_tunnel(struct link_core *l, const struct tunnel_ops *ops, void *self);
/* The tunnel to that E is up (E takes connections of nobody else) or down: then none is dialled,
 * and what stands stays. */
void link_core_peer_state(struct link_core *l, tunnel_peer peer, bool up);
/* The tunnel to that E is lost. E ends its side of every connection then, unheard when the path is
 * cut: idle ones close here too, and taken ones break, so that IM servers keep their sessions for
 * resumption. */
void link_core_peer_lost(struct link_core *l, tunnel_peer peer);
/* Dials no more; idle ones close, taken ones live on. */
void link_core_drain(struct link_core *l);
void link_core_free(struct link_core *l);
/* A new connection for a pair to that E, hello sent; opens later (handler of the stream). NULL and
 * *error when it cannot begin: -EPIPE no such E or its name is not known yet, -EAGAIN pool-max. */
struct stream *link_core_open(struct link_core *l, tunnel_peer to, const struct preface *p,
			      const struct stream_handler *h, void *arg, int *error);
/* Would s, which was taken, be wanted idle? E is to know it first: one that it may take at this
 * moment must not be closed here. */
bool link_core_keeps(const struct link_core *l, struct stream *s);
/* The last word of the stream that s was taken for is in its output: idle again. Takes s over. */
void link_core_give_back(struct link_core *l, struct stream *s);
/* Is the pool of that E working (an idle connection, or one that was taken lately)? */
bool link_core_up(const struct link_core *l, tunnel_peer to);
json_t *link_core_json(const struct link_core *l);

#endif
