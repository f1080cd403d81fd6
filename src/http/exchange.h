#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H
/*
 * The HTTP/1.1 engine, used on both boxes: front connections (a client's TLS connection on E, a
 * stream of the tunnel on C) carry one exchange after another; an exchange is answered by us or
 * forwarded to a back connection, streaming both ways with back-pressure. Works on streams and a
 * timer queue only: scenario tests run it on stream pairs and a clock turned by hand.
 *
 *   front: HEAD --request--> EXCHANGE --finished, keep-alive--> HEAD ... --> closed
 *   exchange: WAITING (the handler decides) --http_reply--> REPLYING --> over
 *             WAITING --http_collect--> COLLECTING --whole, too big--> WAITING
 *             WAITING --http_forward--> CONNECTING --> RELAYING --> over
 *             RELAYING --101--> TUNNELLING (WebSocket and friends, RFC 9110 7.8) --> over
 *
 * A back connection belongs to one front connection and is used again only for the same key (user
 * and target), so that it is never shared between users. Bytes behind an answer that came before
 * the request's body was sent, bad framing, or anything in doubt: neither connection is used again.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/timerq.h"
#include "core/conn.h"
#include "core/stream.h"
#include "proto/http1.h"

struct log;
struct trace;
struct http_engine;
struct http_front;
struct http_exchange;

struct http_engine_conf {
	struct http_limits limits;
	uint32_t head_ms; /* a request head must be whole in it, from its first byte */
	uint32_t idle_ms; /* keep-alive between requests */
	/* The back connection goes earlier, 0: with the front. A client that sleeps must not hold a
	 * stream of the tunnel and a connection of the server. */
	uint32_t back_idle_ms;
	uint32_t min_rate_bps; /* bytes/s that a body must come in, and an answer be taken at,
				  measured over min_rate_ms; 0: not asked for */
	uint32_t min_rate_ms;
	/* Fronts are streams of the tunnel: the other box looks after the rate of who takes. An
	 * answer of which nothing is taken for answer_idle_ms is cut all the same. */
	bool relayed;
	uint32_t answer_idle_ms; /* a server that says nothing within its answer; 0: no bound */
	uint32_t connect_ms;	 /* until the back connection stands */
	uint32_t response_ms;	 /* from the last request byte to the response head; 504 after it */
	uint32_t upgrade_idle_ms; /* a switched connection on which nothing moves */
	uint64_t max_body;	  /* bytes of a request body, 413 over it; 0: no bound */
	uint32_t max_requests;	  /* on one connection, then Connection: close; 0: no bound */
	const char *server;	  /* Server field of our own answers; static or long-lived */
	const char *via;	  /* name for Via (RFC 9110 7.6.3); NULL: no Via is added */
};

struct http_engine_ops {
	/* A whole head came: decide, now or later, by http_reply() or http_forward(). */
	void (*request)(void *arg, struct http_exchange *ex);
	/* The exchange is over (answered, or the client went away, or aborted): status is what the
	 * client got (0: nothing), why a reason or "". Last chance to use ex. */
	void (*finished)(void *arg, struct http_exchange *ex, int status, const char *why);
	/* A request that is not one (400 and friends), a time or rate limit: for the trace. code as
	 * "http.bad-request", "http.slow". */
	void (*refused)(void *arg, struct http_front *f, const char *code, int status,
			const char *why);
	/* The front connection is over. May be NULL. */
	void (*closed)(void *arg, struct http_front *f);
};

/* conf is copied. The engine keeps the connection table's entries of fronts (CONN_HTTP) and
 * exchanges (CONN_REQUEST, parent = the front). */
struct http_engine *http_engine_new(struct timerq *timers, struct conn_table *conns,
				    const struct http_engine_conf *conf,
				    const struct http_engine_ops *ops, void *arg);
/* Closes every front. */
void http_engine_free(struct http_engine *e);
void http_engine_configure(struct http_engine *e, const struct http_engine_conf *conf);
/* No new requests on idle connections: those close at once, busy ones after their exchange (answers
 * carry Connection: close). Switched ones (WebSocket) go on until http_engine_free(). */
void http_engine_drain(struct http_engine *e);
/* Exchanges under way; switched ones are not counted, since they do not end by themselves. */
size_t http_engine_busy(const struct http_engine *e);
struct http_engine_stats {
	uint64_t n_fronts, n_requests, n_bad, n_slow, n_retried, n_upgraded;
	uint64_t n_by_class[6]; /* answers 1xx..5xx at [1]..[5] */
};
struct http_engine_stats http_engine_stats(const struct http_engine *e);

/* Takes the stream over. like: transport, addresses, parent, zone of the entry. NULL when the table
 * is full or without memory (the stream is closed then). Never calls back before it returns, also
 * when the stream has bytes already. */
struct http_front *http_front_new(struct http_engine *e, struct stream *s, const struct conn *like);
struct conn *http_front_conn(struct http_front *f);
/* For whoever owns the engine: a pointer of its own on a front connection. */
void http_front_set_arg(struct http_front *f, void *arg);
void *http_front_arg(const struct http_front *f);
void http_front_close(struct http_front *f, const char *why);

/* --- one exchange --- */
/* The request's head: valid as long as the exchange. */
const struct http_head *http_exchange_head(const struct http_exchange *ex);
struct http_front *http_exchange_front(const struct http_exchange *ex);
/* Its entry: set user, session and zone there; http_front_conn() may be given the same. */
struct conn *http_exchange_conn(struct http_exchange *ex);
void http_exchange_set_arg(struct http_exchange *ex, void *arg);
void *http_exchange_arg(const struct http_exchange *ex);

/* Gathers the request's body for a handler that looks into it. A client that waits for 100 (Expect)
 * is told to go on. done is called once, with status 0 and the whole body (valid during the call),
 * or with 413 when there are more than max (not 0) bytes, and decides then or later; it may be
 * called before this returns. What is no body, or comes too slowly, is answered by the engine, and
 * a client that goes away ends the exchange, both without done. Once for an exchange, before any
 * other decision.
 */
typedef void (*http_collected)(void *arg, struct http_exchange *ex, int status, struct slice body);
void http_collect(struct http_exchange *ex, uint64_t max, http_collected done, void *arg);

/* An answer of our own. fields: printed field lines ("Name: value\r\n"...), made with
 * http_print_field(); SLICE_NONE: none. body is copied. Date, Server, Content-Length, Connection
 * are added. For HEAD the body is not sent. What is left of a request body is read away (bounded:
 * 64 KiB, else the connection closes). */
void http_reply(struct http_exchange *ex, int status, struct slice fields, const char *content_type,
		struct slice body);
/* The same with a short text body that says status and why. */
void http_reply_error(struct http_exchange *ex, int status, struct slice fields, const char *why);

/* What the client reads is `said`; `why` stands in the connection table: for reasons that are
 * nobody's business outside. */
void http_reply_refusal(struct http_exchange *ex, int status, struct slice fields, const char *said,
			const char *why);

enum http_response_verdict {
	HTTP_RESPONSE_PASS,
	HTTP_RESPONSE_REPLACE, /* the handler calls http_reply() inside the callback */
};
struct http_forward {
	/* Opens the back connection. The engine becomes its handler (h, harg). NULL: *error, *why.
	 * Called again for the one retry of an idempotent request whose (reused or lost) back
	 * connection died before a byte of the answer, if no byte of a body was sent. */
	struct stream *(*connect)(void *arg, struct http_exchange *ex,
				  const struct stream_handler *h, void *harg, int *error,
				  const char **why);
	/* Which fields of the request go along (hop-by-hop, Host, Content-Length and framing are
	 * the engine's own business and never asked about). NULL: those that are not X-Forwarded-*,
	 * Forwarded, X-Real-IP, Turnpike-*. */
	bool (*keep)(void *arg, struct http_exchange *ex, const struct http_field *f);
	/* A final response head came, or 101: look, and add field lines to `fields` (they go to the
	 * client). drop(f): fields not to pass on. May be NULL. */
	enum http_response_verdict (*response)(void *arg, struct http_exchange *ex,
					       const struct http_head *h, struct buf *fields);
	bool (*keep_response)(void *arg, struct http_exchange *ex, const struct http_field *f);
	/* It failed before an answer: status is 502 or 504. The handler may http_reply() itself
	 * (with another status, or Retry-After); if it does not, the engine answers. May be NULL.
	 */
	void (*failed)(void *arg, struct http_exchange *ex, int status, const char *why);
	/* A connection that was kept is used: no connect() then. tag: of http_back_set_tag(). May
	 * be NULL. */
	void (*kept)(void *arg, struct http_exchange *ex, unsigned tag);
	void *arg;	     /* lives until finished */
	struct slice key;    /* copied: bytes that name user and target; empty: never used again */
	struct slice target; /* copied: origin-form or absolute-form request target */
	struct slice host;   /* copied: the Host field */
	struct slice fields; /* copied: printed lines to add */
	bool allow_upgrade;  /* Upgrade: websocket of the client is passed on, nothing else ever */
	uint32_t connect_ms, response_ms; /* 0: as in the engine's conf */
	/* connect() is called again, up to so many times in all, while the back connection never
	 * opened: nothing was sent, so any method may be tried anew. 0 counts as 1. */
	unsigned max_connects;
};
/* Forwards ex. Answers that the request's method forbids, 1xx (100 and 103 pass), trailers: RFC
 * 9110 15.2, RFC 9112 7.1.2 (trailers are dropped). Expect: 100-continue is passed on and answered
 * by whoever is behind; a final answer before the body ends it (the connection closes). */
void http_forward(struct http_exchange *ex, const struct http_forward *f);
/* Inside connect(): a number that goes with the connection as long as it is kept. */
void http_back_set_tag(struct http_exchange *ex, unsigned tag);
/* The server is known not to answer: as if the back connection had broken now. Nothing happens once
 * a byte of an answer is there. Not inside a callback of the same exchange. */
void http_forward_abandon(struct http_exchange *ex, const char *why);

#endif
