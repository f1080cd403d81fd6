#ifndef XMPP_PAIR_LINK_H
#define XMPP_PAIR_LINK_H
/*
 * Stanzas of federation pairs over the link between E and C, the same on both boxes. For each pair
 * (our domain, partner) and each other box there are a few connections of the link at most, each an
 * XML stream of jabber:server both ways: either side opens one when it has something to send and
 * none is there.
 *
 *   send --none open--> OPENING --stream--> HEADER --peer's header--> OPEN --idle_ms--> closed
 *   a stream that the other box opened --> HEADER --> OPEN
 *
 * What waits is bounded and comes back (undeliverable) when no stream opens. Every stanza that
 * comes in must have the `from` and `to` of the pair; else the stream ends.
 */
#include "base/timerq.h"
#include "turnpike/tunnel.h"
#include "xmpp/preface.h"
#include "xmpp/stream.h"

#define PAIR_LINK_MAX_STREAMS 4	   /* of one pair with one box */
#define PAIR_LINK_MAX_PAIRS   4096 /* that have streams or wait for one */
#define PAIR_LINK_OPEN_MS     20000
#define PAIR_LINK_SPACE_MS    60000

struct pair_links_conf {
	struct timerq *timers;
	struct xml_pool *pool;
	bool is_core;			 /* we send from local to remote; E the other way round */
	uint32_t idle_ms;		 /* without a stanza */
	uint32_t queue_bytes;		 /* of one pair; 64 times that in all */
	struct xml_stream_limits limits; /* of what comes from the other box */
	uint32_t send_timeout_ms;
};
struct pair_links_ops {
	/* A stream for the pair: *now (which may still be opening), or *id for cancel and done is
	 * called once, never before this returns (s NULL: why, static). 0 or negative errno. */
	int (*open)(void *arg, tunnel_peer peer, const struct preface *p, struct stream **now,
		    uint64_t *id, void (*done)(void *ctx, struct stream *s, const char *why),
		    void *ctx);
	void (*cancel)(void *arg, uint64_t id);
	/* From the other box, addresses checked; gone after the return. */
	void (*deliver)(void *arg, tunnel_peer peer, const char *local, const char *remote,
			struct xml_node *stanza, struct xml_arena *arena);
	/* One that was to be sent and was not. condition: of stanzas, "remote-server-timeout". */
	void (*undeliverable)(void *arg, tunnel_peer peer, const char *local, const char *remote,
			      struct xml_node *stanza, struct xml_arena *arena,
			      const char *condition);
	/* More than half of queue_bytes waits, or the connection is full: whose stanzas it are
	 * should not be read on; then: it flows again. May be NULL. */
	void (*flow)(void *arg, tunnel_peer peer, const char *local, const char *remote,
		     bool is_full);
	/* The other box broke the rules; its stream is ended. May be NULL. */
	void (*refused)(void *arg, tunnel_peer peer, const char *local, const char *remote,
			const struct addr *from, const char *why);
};

struct pair_links;
struct pair_links *pair_links_new(const struct pair_links_ops *ops, void *arg);
/* Before anything else, and again for new settings: streams go on, with the new limits. */
void pair_links_configure(struct pair_links *l, const struct pair_links_conf *conf);
/* Ends every stream properly; what waits is dropped. NULL is allowed. */
void pair_links_free(struct pair_links *l);
/* A stream that the other box opened for the pair, positioned behind the preface; taken over. */
void pair_links_take(struct pair_links *l, tunnel_peer peer, const char *local, const char *remote,
		     struct stream *s);
/* Sent, or a copy waits: 0. -ENOBUFS: too much waits; -ENOSPC: too many pairs; -ENOMEM; what open
 * said. -EINVAL: not a stanza of the pair. Then nothing was done. */
int pair_links_send(struct pair_links *l, tunnel_peer peer, const char *local, const char *remote,
		    const struct xml_node *stanza);
/* Is there an open stream of the pair with that box? */
bool pair_links_has(const struct pair_links *l, tunnel_peer peer, const char *local,
		    const char *remote);
/* The box is gone: what waits for a stream to it comes back as service-unavailable. Streams that
 * stand are left to themselves. */
void pair_links_peer_lost(struct pair_links *l, tunnel_peer peer);
/* Ends the pairs that keep() does not want any more. */
void pair_links_recheck(struct pair_links *l, bool (*keep)(void *arg, tunnel_peer peer,
							   const char *local, const char *remote));
struct pair_links_stats {
	size_t n_pairs, n_streams, n_queued;
	uint64_t n_in, n_out, n_undeliverable, n_refused;
};
struct pair_links_stats pair_links_stats(const struct pair_links *l);

/* NULL: a message, presence or iq of jabber:server between exactly these domains. Else why not
 * (static). */
const char *pair_link_misfit(const struct xml_node *stanza, const char *from, const char *to);
/* What the sender of a stanza hears that could not be sent: the condition for an error of
 * pair_links_send(), s2s_send() or component_send(), and the type that goes with a condition (RFC
 * 6120 section 8.3.3). Static. */
const char *pair_link_condition(int error);
const char *pair_link_error_type(const char *condition);

#endif
