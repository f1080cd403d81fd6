#ifndef TURNPIKE_TUNNEL_H
#define TURNPIKE_TUNNEL_H
/*
 * Service "tunnel": what C and E have between them besides SIP. SSH connections that C dials (port
 * 2222 on E), keys pinned both ways; over them byte streams that E opens toward C, and a control
 * channel with replicated tables and calls (docs/protocol/control.md).
 *
 * A peer is the other box, named as its [tunnel-peer NAME] section; it has several connections at
 * once and is up while at least one of them stands with its control channel agreed.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/stream.h"

/* Peers are named by index into a table that lives as long as the daemon; 0 is none. */
typedef uint32_t tunnel_peer;

struct tunnel_peer_info {
	tunnel_peer id;
	const char *name; /* [tunnel-peer NAME] */
	const char *host; /* C: what it dials, without the port; E, or taken from the file: NULL */
	bool up;
	unsigned n_connections;
	const char *system_name; /* what its hello said, "" before */
	int64_t skew_ms;	 /* its clock minus ours, measured over the control channel */
};

/* Why a stream could not be opened comes through its handler: STREAM_END_REFUSED or _TIMEOUT. */

/* A replicated table: this box publishes, the other one has a copy. */
struct tunnel_source {
	/* Calls put() for every item there is: after (re)connect, for one peer. */
	void (*each)(void *arg, tunnel_peer to,
		     void (*put)(void *ctx, const char *key, const json_t *item), void *ctx);
};
struct tunnel_sink {
	/* Items come from the other box: well-formed JSON within the size limits, otherwise
	 * hostile; check every member. */
	void (*reset)(void *arg, tunnel_peer from); /* all items of that peer are void */
	void (*put)(void *arg, tunnel_peer from, const char *key, const json_t *item);
	void (*del)(void *arg, tunnel_peer from, const char *key);
	void (*synced)(void *arg, tunnel_peer from); /* the whole state is there; may be NULL */
	/* The peer went down or came up; its items stay until reset. May be NULL. */
	void (*state)(void *arg, tunnel_peer from, bool up);
};

/* A call of the other box. Answer now or later with reply(), once: status 0 or negative errno,
 * value (borrowed) or NULL. */
struct tunnel_call;
typedef void (*tunnel_serve)(void *arg, struct tunnel_call *call, tunnel_peer from,
			     const json_t *params);
/* status: what the other side said, or -ETIMEDOUT, -EPIPE (peer went down), -EAGAIN (too many). */
typedef void (*tunnel_done)(void *arg, int status, const json_t *value);

struct tunnel_ops {
	/* --- streams --- */
	/* E only: a stream to `purpose` on the peer. NULL when the peer is not up or has too many
	 * (*error -EPIPE, -EAGAIN). Connections are picked by fewest streams. When a connection
	 * dies, its streams end with STREAM_END_ERROR and others live on. */
	struct stream *(*open)(void *self, tunnel_peer to, const char *purpose,
			       const struct stream_handler *h, void *arg, int *error);
	/* C only: takes streams of that purpose; others are refused, traced and alarmed. At init or
	 * start. accepted sets the handler at once. */
	int (*accept)(void *self, const char *purpose,
		      void (*accepted)(void *arg, tunnel_peer from, struct stream *s), void *arg);

	/* --- control channel; register at init or start, before anything is connected --- */
	int (*publish)(void *self, const char *table, const struct tunnel_source *s, void *arg);
	/* One item changed: goes to every peer that is up (to 0) or to one. */
	void (*put)(void *self, tunnel_peer to, const char *table, const char *key,
		    const json_t *item);
	void (*del)(void *self, tunnel_peer to, const char *table, const char *key);
	int (*subscribe)(void *self, const char *table, const struct tunnel_sink *s, void *arg);
	int (*serve)(void *self, const char *method, tunnel_serve fn, void *arg);
	void (*reply)(void *self, struct tunnel_call *call, int status, const json_t *value);
	/* params is borrowed. done is called exactly once unless cancelled, never before this
	 * returns. Returns an id for call_cancel, 0 when it could not be sent (*error). */
	uint64_t (*call)(void *self, tunnel_peer to, const char *method, const json_t *params,
			 uint32_t timeout_ms, tunnel_done done, void *arg, int *error);
	void (*call_cancel)(void *self, uint64_t id);

	/* --- peers --- */
	size_t (*n_peers)(void *self);
	/* i from 0; false when there is none. Valid until the end of the callback. */
	bool (*peer)(void *self, size_t i, struct tunnel_peer_info *out);
};
#define TUNNEL_SERVICE "tunnel"

/* Purposes of streams. */
#define TUNNEL_HTTP "http"

#endif
