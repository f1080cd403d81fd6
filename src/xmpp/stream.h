#ifndef XMPP_STREAM_H
#define XMPP_STREAM_H
/*
 * One XMPP stream over a core/stream: what c2s, link and s2s legs have in common. Reads with
 * proto/xml_stream, writes only what was printed from trees, and knows how to end: with a stream
 * error, properly, or cut off without </stream:stream> so that the other side can resume
 * (XEP-0198).
 *
 *   OPEN --xmpp_leave--> parked --xmpp_attach--> OPEN, or ENDING when xmpp_end() was called there
 *   OPEN --xmpp_end--> ENDING --peer's end, 5 s--> CLOSED
 *   OPEN, ENDING --xmpp_fail, xmpp_cut, stream over, limits--> CLOSED
 *
 * Limits that end it by itself: what xml_stream refuses (its condition); no byte for idle_ms
 * (connection-timeout); a peer that does not read for send_timeout_ms (cut). A byte rate above
 * rate_bytes only slows it down: reading pauses.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/timerq.h"
#include "core/stream.h"
#include "proto/xml_stream.h"

#define XMPP_END_WAIT_MS 5000

struct xmpp_stream_conf {
	struct timerq *timers;
	struct xml_pool *pool;
	const char *content; /* XMPP_CLIENT, XMPP_SERVER, XMPP_COMPONENT; other headers are refused
				(invalid-namespace) */
	struct xml_stream_limits limits;
	uint32_t rate_bytes; /* a second; 0: any */
	uint32_t burst_bytes;
	uint32_t idle_ms;	  /* 0: never */
	uint32_t send_timeout_ms; /* 0: never */
	uint32_t sleep_ms;	  /* of quiet after which the parser's memory goes; 0: never */
};

enum xmpp_end {
	XMPP_END_PROPER, /* </stream:stream> from both sides */
	XMPP_END_CUT,	 /* the peer's connection ended without it, or timed out */
	XMPP_END_ERROR,	 /* we sent a stream error: what the peer did was refused */
};

struct xmpp_stream;
struct xmpp_stream_handler {
	void (*header)(void *arg, const struct xmpp_header *h);
	/* Gone after the return. */
	void (*element)(void *arg, struct xml_node *e, struct xml_arena *arena);
	void (*space)(void *arg);    /* keepalive; may be NULL */
	void (*end)(void *arg);	     /* peer said </stream:stream>; NULL: xmpp_end() by itself */
	void (*writable)(void *arg); /* not full any more; may be NULL */
	void (*tls)(void *arg);	     /* the handshake of xmpp_tls_begin() is done; may be NULL */
	/* xml_stream_events.frame; NULL: there are none. The only place to call xmpp_leave() in. */
	int (*frame)(void *arg, struct slice bytes);
	/* Parked, and something waits to be sent: fetch a socket. Once until it is there, never
	 * from inside of a call here; may be NULL. */
	void (*wanted)(void *arg);
	/* Over; the last callback, also after the own xmpp_end(), not after xmpp_fail, xmpp_cut and
	 * xmpp_free. condition: what was sent with XMPP_END_ERROR; with XMPP_END_CUT
	 * XMPP_RESOURCE_CONSTRAINT for a slow reader. The owner calls xmpp_free() in it or later.
	 */
	void (*closed)(void *arg, enum xmpp_end how, enum xmpp_condition condition,
		       const char *why);
};

/* Takes s over, also when it fails (NULL: no memory). A stream that is OPENING is waited for; what
 * is sent before waits. The callbacks may call every function here. */
struct xmpp_stream *xmpp_stream_new(const struct xmpp_stream_conf *conf, struct stream *s,
				    const struct xmpp_stream_handler *h, void *arg);
void xmpp_stream_set_handler(struct xmpp_stream *x, const struct xmpp_stream_handler *h, void *arg);
/* Ends it as xmpp_cut when it is not over. Inside its own callbacks too. NULL is allowed. */
void xmpp_free(struct xmpp_stream *x);
/* NULL when it is over. For addresses, is_tls, stream_ssl(). */
struct stream *xmpp_socket(const struct xmpp_stream *x);

/* --- sending --- */
/* Default content is conf.content. dialback: db prefix from now on. */
void xmpp_send_header(struct xmpp_stream *x, const struct xmpp_header *h);
void xmpp_send(struct xmpp_stream *x, const struct xml_node *e);
void xmpp_send_space(struct xmpp_stream *x); /* one, unless something waits to be sent */
/* The other side takes no more now: stop its source until `writable`. */
bool xmpp_is_full(struct xmpp_stream *x);

/* --- reading --- */
void xmpp_pause(struct xmpp_stream *x); /* no further event; may be nested: counts */
void xmpp_resume(struct xmpp_stream *x);
/* xml_stream_restart(): the next thing is a header. */
size_t xmpp_restart(struct xmpp_stream *x, bool keep);
void xmpp_set_limits(struct xmpp_stream *x, const struct xml_stream_limits *limits);
/* idle_ms, send_timeout_ms, rate, burst of conf from now on. */
void xmpp_configure(struct xmpp_stream *x, const struct xmpp_stream_conf *conf);

/* --- STARTTLS: what was read behind the last element is thrown away and counted (returned); both
 * directions wait until xmpp_tls_done() --- */
size_t xmpp_tls_begin(struct xmpp_stream *x);
/* For who upgrades another struct stream kind than sockets in tests: the socket's `opened` callback
 * arrives here by itself and becomes handler.tls. */

/* --- parking: a stream that goes on without a socket until it has something to say --- */
/* Between two elements both ways: nothing is half read, unread or unsent. */
bool xmpp_is_at_rest(const struct xmpp_stream *x);
/* Behind what was sent; for xml_stream_events.frame of the other side. false: without memory. */
bool xmpp_send_frame(struct xmpp_stream *x, struct slice frame);
/* x goes on without its socket, which is the caller's now, and without memory for either direction;
 * *s is NULL when it has broken meanwhile. What is sent from now on waits, up to a bound that
 * xmpp_is_full() tells; spaces are dropped. false: unread bytes stand behind the frame, or the
 * stream ends. */
bool xmpp_leave(struct xmpp_stream *x, struct stream **s);
/* Takes s over: what waits is sent, and both directions go on where they were. After xmpp_fail()
 * the error goes out and s is closed. Nothing is called before it returns. */
void xmpp_attach(struct xmpp_stream *x, struct stream *s);
bool xmpp_is_parked(const struct xmpp_stream *x);
/* Parked: does something wait for a socket? */
bool xmpp_has_waiting(const struct xmpp_stream *x);

/* --- ending --- */
/* Our header if none was sent (from, id as in h; h may be NULL when one was sent), the error, the
 * end; the connection is closed when it is out. No callback. Parked: all of it waits for a socket.
 */
void xmpp_fail(struct xmpp_stream *x, enum xmpp_condition c, const char *text,
	       const struct xmpp_header *h);
void xmpp_end(struct xmpp_stream *x); /* </stream:stream>, then `closed` when the peer ended too */
void xmpp_cut(struct xmpp_stream *x); /* no </stream:stream>; what was sent is still delivered */
bool xmpp_header_sent(const struct xmpp_stream *x);

struct xmpp_stream_stats {
	uint64_t n_in, n_out, in_bytes, out_bytes; /* elements; bytes of XML */
	uint64_t n_shaped;			   /* times that reading paused for the rate */
	int64_t last_in_ms;
};
const struct xmpp_stream_stats *xmpp_stream_stats(const struct xmpp_stream *x);

#endif
