#ifndef HTTP_IMPL_H
#define HTTP_IMPL_H
/*
 * Private to the HTTP engine. Everything that happens to a front (bytes, room, a handler's
 * decision, a timer) only leaves a mark and calls front_run(), which takes steps until nothing
 * moves any more, then lets the streams work, and is the only place where exchanges, back
 * connections and the front itself are freed. So a callback may do anything in any of them.
 *
 *   front.c    the front connection: run, heads of requests, its end
 *   timing.c   the one timer of a front: limits and rates
 *   exchange.c one exchange: its life, own answers
 *   collect.c  bodies for handlers that look into them
 *   back.c     forwarding: the back connection, retry, failure
 *   relay.c    bodies both ways, the answer's head
 *   upgrade.c  switched connections
 *   print.c    the heads that go out
 */
#include <event2/buffer.h>

#include "base/list.h"
#include "http/exchange.h"

/* What is kept of a remainder of a request body after an answer of our own. */
#define HTTP_DRAIN_MAX (64 * 1024)
/* Interim answers (1xx) to one request. */
#define HTTP_MAX_INTERIM 32
#define HTTP_WHY_BYTES	 120

struct http_engine {
	struct timerq *timers;
	struct conn_table *conns;
	struct http_engine_conf conf;
	const struct http_engine_ops *ops;
	void *arg;
	struct list fronts;
	size_t n_busy;
	bool draining;
	struct http_engine_stats stats;
	struct buf out;	  /* a head being printed */
	struct buf extra; /* fields that a handler adds to an answer */
	int64_t date_s;
	char date[30];
	struct http_head scratch; /* a head being parsed */
};

enum front_end { FRONT_LIVES, FRONT_CLOSES, FRONT_ABORTS };

struct http_front {
	struct list node;
	struct http_engine *e;
	struct stream *s; /* NULL: gone */
	struct http_exchange *ex;
	struct http_back *back; /* in use by ex, or idle */
	void *arg;
	struct timer timer;
	enum front_end end;
	bool running, again;
	bool consumed, grown; /* the stream has to be told */
	bool take_watched;    /* something waits for the client to take it */
	size_t scanned;	      /* of the head that is coming in */
	int64_t idle_since_ms;
	int64_t head_since_ms; /* -1: nothing of a head came yet */
	int64_t take_since_ms;
	uint32_t take_ms;    /* length of the window */
	uint64_t take_base;  /* bytes taken when the window began */
	uint64_t take_acked; /* and those that the peer's side of the connection has */
	uint32_t n_requests;
	struct conn conn; /* reason: why it ends, once `end` says so */
};

enum exchange_state {
	EX_WAITING,
	EX_COLLECTING,
	EX_REPLYING,
	EX_CONNECTING,
	EX_RELAYING,
	EX_TUNNELLING,
	EX_OVER,
};

struct http_exchange {
	struct http_front *f;
	void *arg;
	enum exchange_state state;
	int status;	   /* of the final answer's head, 0: none was sent */
	bool keep;	   /* the front may be used again */
	bool asked_over;   /* the request is read to its end */
	bool body_sent;	   /* a byte of the body went to the back */
	bool waits_for_go; /* Expect: 100-continue, and neither 100 nor a body byte came */
	bool answering;	   /* the answer's head went out, its body follows */
	bool chunked;	   /* that body goes out in chunks */
	bool until_close;  /* and so that only a reset shows that it was cut */
	bool answer_over;
	bool retried;
	uint32_t n_connects;
	bool upgrade_asked; /* Upgrade: websocket was passed on */
	bool over_asked[2]; /* switched: end of [0] client and [1] server was passed on */
	uint32_t n_interim;
	struct http_body_reader asked;	  /* the request's body */
	struct http_body_reader answered; /* the answer's */
	int64_t since_ms;		  /* of what the deadline of the state counts from */
	int64_t rate_since_ms;
	uint64_t rate_n;
	bool rate_excused;    /* the body could not come: we did not read */
	bool silence_excused; /* likewise the answer's */
	uint64_t n_drained;
	struct evbuffer *collected;
	uint64_t collect_max;
	http_collected collect_done;
	void *collect_arg;
	struct http_forward fwd; /* its slices are gone by then */
	char *request;		 /* the head that goes to the back, kept for a retry */
	size_t n_request;
	const char *why;
	struct conn conn;
	struct http_head *head; /* behind this struct, with n_fields only, and its bytes */
};

struct http_back {
	struct http_front *f;
	struct stream *s;      /* NULL: not connected yet, or over */
	struct evbuffer *rest; /* what it said before it was over */
	bool open, over;
	bool in_use;
	bool spoiled; /* not to be used again */
	unsigned tag; /* http_back_set_tag() */
	bool consumed, grown;
	size_t scanned;
	enum stream_end end;
	char why[HTTP_WHY_BYTES];
	size_t n_key;
	char key[];
};

/* --- front.c --- */
void front_run(struct http_front *f);
/* Marks the end; the running front_run() does it. The first reason stays. */
void front_end(struct http_front *f, enum front_end how, const char *why);
/* Answers what is not a request, or too slow, and ends the front. */
void front_refuse(struct http_front *f, const char *code, int status, const char *why);
/* Bytes go to the client: before and after adding them. */
void front_sending(struct http_front *f);
void front_sent(struct http_front *f, size_t n);
void front_got(struct http_front *f, size_t n);
/* The front is not used again after this exchange? */
bool front_is_last(const struct http_front *f);

/* --- timing.c --- */
void front_late(void *arg);
void front_arm(struct http_front *f);
/* From now on the client has to take. */
void front_watch_take(struct http_front *f);

/* --- exchange.c --- */
/* The scratch head becomes an exchange. NULL: no room, *why. */
struct http_exchange *exchange_new(struct http_front *f, const char *bytes, const char **why);
void exchange_set_state(struct http_exchange *ex, enum exchange_state state);
/* finished() and free. */
void exchange_end(struct http_exchange *ex, const char *why);
/* Ends it and lets the front go on or close. */
void exchange_over(struct http_exchange *ex);
void exchange_step(struct http_exchange *ex);

/* --- collect.c --- */
void collect_step(struct http_exchange *ex);

/* --- back.c --- */
void back_step(struct http_exchange *ex);
/* After an answer that came whole: kept for the next request, or closed. */
void back_release(struct http_front *f, bool reusable);
void back_drop(struct http_front *f, bool now);
struct evbuffer *back_in(const struct http_back *b);
/* The peer says no more. */
bool back_eof(const struct http_back *b);
/* The answer will not come: once more, or 502, 504, or the client sees it cut. */
void back_lost(struct http_exchange *ex);
void back_failed(struct http_exchange *ex, int status, const char *why);
/* Within its answer: the client sees it cut. */
void back_silent(struct http_exchange *ex);

/* --- relay.c --- */
enum body_move { BODY_WAIT, BODY_FULL, BODY_END, BODY_BAD, BODY_BIG };
struct body_sink {
	struct evbuffer *to;
	struct stream *paced_by; /* stops when this one is full; NULL: never */
	bool chunked;		 /* goes out in chunks */
};
/* Moves body bytes from in to the sink (NULL: throws them away), at most max in all (0: no bound).
 */
enum body_move body_move(struct http_body_reader *r, struct evbuffer *in,
			 const struct body_sink *sink, uint64_t max, size_t *n_read,
			 const char **why);
void relay_step(struct http_exchange *ex);
/* The first n bytes (all when less) in one piece; n 0: those that are so already. */
struct slice evbuffer_head(struct evbuffer *in, size_t n);
/* More bytes than the piece of evbuffer_head(in, 0)? Then the next size to ask for, else 0. */
size_t evbuffer_more(struct evbuffer *in, size_t have, size_t max);

/* --- upgrade.c --- */
bool upgrade_is_asked(const struct http_head *h);
bool upgrade_fits(const struct http_exchange *ex, const struct http_head *answer);
void upgrade_start(struct http_exchange *ex);
void upgrade_step(struct http_exchange *ex);

/* --- print.c --- */
struct reply {
	int status;
	struct slice fields;
	const char *content_type;
	struct slice body;
	bool keep;
	bool is_head; /* answers HEAD: length without body */
	int minor;    /* of the request */
};
/* Into the front's output; false: without memory or not printable. */
bool print_reply(struct http_front *f, const struct reply *r);
/* "502 Bad Gateway: why" as its body. */
bool print_reply_error(struct http_front *f, struct reply *r, const char *why);
/* The request's head for the back connection into e->out. */
bool print_request(struct http_exchange *ex, const struct http_forward *fwd);
/* An answer's head for the client into e->out. */
bool print_interim(struct http_exchange *ex, const struct http_head *h);
bool print_answer(struct http_exchange *ex, const struct http_head *h);

#endif
