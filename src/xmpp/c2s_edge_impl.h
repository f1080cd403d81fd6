#ifndef XMPP_C2S_EDGE_IMPL_H
#define XMPP_C2S_EDGE_IMPL_H
/*
 * Shared by c2s_edge.c (life, limits, listing), c2s_edge_open.c (header, TLS, link),
 * c2s_edge_sasl.c, c2s_edge_relay.c and c2s_edge_park.c only. One client's stream:
 *
 *   PLAIN --<starttls/>--> TLS --handshake--> OPENING                [client_element, client_tls]
 *   OPENING --good header--> TAKING --link--> SASL                   [client_header, taken]
 *   SASL --<success/>--> RESTART --header--> RELAY (SASL2: RELAY)    [c2s_sasl_from_link]
 *   RELAY --quiet for park-after--> PARKING --"parked"--> PARKED     [c2s_park_tick,
 * c2s_link_frame] PARKED --somebody speaks--> RESUMING --link--> RELAY             [c2s_resume,
 * resumed] PARKING --end or error of C--> RELAY                             [c2s_unpark] any --end,
 * refusal, loss--> OVER, freed at the end of the turn   [c2s_over]
 *
 * What ends one leg ends the other: a proper end properly, a loss and what was refused without
 * </stream:stream>, so that the session inside can be resumed (XEP-0198) and nothing of what was
 * refused leaves.
 */
#include "base/list.h"
#include "core/conn.h"
#include "core/heap.h"
#include "core/loop.h"
#include "xmpp/c2s_edge.h"
#include "xmpp/sasl.h"

#define C2S_TAKE_MS  10000 /* to wait for a connection of the link */
#define C2S_SLEEP_MS 2000
#define C2S_PARK_IDS (1u << 20)

enum c2s_state {
	C2S_PLAIN,
	C2S_TLS,
	C2S_OPENING,
	C2S_TAKING,
	C2S_SASL,
	C2S_RESTART,
	C2S_RELAY,
	C2S_PARKING,  /* the client is not read; C is to say its last word on the link */
	C2S_PARKED,   /* the link's leg has no connection */
	C2S_RESUMING, /* and waits for one; the client is not read */
	C2S_OVER
};

struct c2s_edge {
	struct env *env;
	const struct c2s_edge_ops *ops;
	void *arg;
	struct xml_pool *pool;
	struct xmpp_conf conf; /* numbers only: its texts are the snapshot's */
	struct list streams;
	struct net_limits *strangers; /* who has not signed in */
	struct idtab ids;	      /* of those that have been parked */
	uint64_t salt; /* of their names: those of the daemon before must find nobody */
	struct heap heap;
	struct c2s_edge_stats stats;
	bool draining;
};

struct c2s {
	struct list node;
	struct c2s_edge *edge;
	struct xmpp_stream *client;
	struct xmpp_stream *link; /* NULL: none yet */
	struct conn conn;
	/* To sign in; RELAY: to look whether it is quiet; PARKING: for C's answer; RESUMING: to try
	 * again */
	struct timer timer;
	struct loop_deferred later;
	uint64_t take_id;  /* TAKING, RESUMING; 0: none */
	uint64_t id;	   /* its name toward C, without the salt; 0: never parked */
	uint64_t their_id; /* C's name of it while it is parked there, else 0 */
	int64_t active_ms; /* the last element either way; RESUMING: since when */
	tunnel_peer peer;  /* 0: lost */
	char *domain;	   /* NULL before a good header */
	char *from, *lang; /* of the client's header, TAKING */
	char *name;	   /* SASL: who tries to sign in, as far as one can tell */
	char mechanism[24];
	uint16_t n_failures;
	uint8_t state;	     /* enum c2s_state */
	bool is_direct;	     /* TLS from the first byte */
	bool external;	     /* the client's certificate was verified and has addresses */
	bool is_counted;     /* unauthenticated */
	bool locked;	     /* an answer to the client is outstanding: it is not read */
	bool offered;	     /* features were sent */
	bool in_exchange;    /* of SASL */
	bool aborted;	     /* by the client */
	bool link_is_full;   /* the client is not read */
	bool client_is_full; /* the link is not read */
	bool client_ended;
	bool server_ended; /* its end, or a stream error */
	bool farewell;	   /* OVER, but the link still waits for its end */
	bool ends_proper;  /* OVER: what the link is told when it is there */
	bool wanted;	   /* PARKING: C has something to say already */
	bool user_known;
	bool resumable;
};

/* --- c2s_edge.c --- */
/* The client hears the condition, the trace the code; nothing more reaches the link. */
void c2s_refuse(struct c2s *c, enum xmpp_condition condition, const char *code,
		const char *decided_by, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* It ends; the client's leg is closed without a word if it is open yet, the link properly or cut.
 */
void c2s_over(struct c2s *c, bool proper, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Without C there is no stream: cut, so that the client resumes; before authentication it hears
 * why. */
void c2s_link_lost(struct c2s *c, const char *why);
/* No further element of the client before c2s_unlock(), which may call for everything that waits:
 * touch nothing behind it. */
void c2s_lock(struct c2s *c);
void c2s_unlock(struct c2s *c);
/* Limits of a signed-in client from now on, and no time limit for it. */
void c2s_authenticated(struct c2s *c);
void c2s_count(struct c2s *c); /* into the entry of the connection table */
void c2s_trace(struct c2s *c, const char *code, const char *decided_by, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void c2s_stream_conf(const struct c2s_edge *edge, bool is_client, bool authenticated,
		     struct xmpp_stream_conf *out);
void c2s_set_state(struct c2s *c, enum c2s_state state);
/* The client is gone: the link hears its end, or is cut. */
void c2s_leave_link(struct c2s *c, bool proper);

/* --- c2s_edge_open.c --- */
extern const struct xmpp_stream_handler c2s_client_handler, c2s_link_handler;

/* --- c2s_edge_sasl.c --- */
void c2s_sasl_from_client(struct c2s *c, struct xml_node *e, struct xml_arena *arena);
void c2s_sasl_from_link(struct c2s *c, struct xml_node *e, struct xml_arena *arena);
/* <stream:features/> on their way out. */
void c2s_filter_features(struct c2s *c, struct xml_node *e);

/* --- c2s_edge_relay.c --- */
void c2s_relay_from_client(struct c2s *c, struct xml_node *e);
void c2s_relay_from_link(struct c2s *c, struct xml_node *e, struct xml_arena *arena);
/* A stream error of the server: to the client, whatever the state. */
void c2s_server_error(struct c2s *c, struct xml_node *e);
void c2s_client_writable(void *arg);
void c2s_link_writable(void *arg);
/* The address is proven. */
void c2s_user(struct c2s *c, const char *address);
/* Does e, or what is inside it, say that the session can be resumed (XEP-0198)? */
void c2s_look_for_resumption(struct c2s *c, const struct xml_node *e, unsigned depth);

/* --- c2s_edge_park.c --- */
/* RELAY has begun, or a setting has changed. */
void c2s_park_arm(struct c2s *c);
/* The timer of a stream that has signed in. */
void c2s_park_tick(struct c2s *c);
/* PARKING: C ends the stream instead. */
void c2s_unpark(struct c2s *c);
/* Something waits for C. */
void c2s_resume(struct c2s *c);
int c2s_link_frame(void *arg, struct slice bytes);
void c2s_link_wanted(void *arg);
/* OVER, from PARKING, PARKED or RESUMING. */
void c2s_leave_parked(struct c2s *c, enum c2s_state was, bool proper);
/* C is gone, and does not want to hear of it. */
void c2s_forget_peer(struct c2s *c);

#endif
