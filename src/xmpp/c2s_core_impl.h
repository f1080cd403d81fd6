#ifndef XMPP_C2S_CORE_IMPL_H
#define XMPP_C2S_CORE_IMPL_H
/*
 * Shared by c2s_core.c (life), c2s_core_outer.c (what E says), c2s_core_inner.c (dialling and
 * agreeing with a node), c2s_core_auth.c (SASL and homes), c2s_core_relay.c (stanzas) and
 * c2s_core_park.c (without a connection of the link) only.
 */
#include "base/list.h"
#include "base/timerq.h"
#include "core/conn.h"
#include "core/heap.h"
#include "core/loop.h"
#include "xmpp/c2s_core.h"
#include "xmpp/sasl.h"

#define CORE_AGREE_MS  8000 /* from dialling a node to its features */
#define CORE_MAX_NODES 64
#define CORE_MAX_TRIES 6
#define CORE_MAX_HOMES 10   /* users of other nodes that one stream may try to be */
#define CORE_SLEEP_MS  2000 /* of quiet, then a stream gives its parser's memory back */
#define CORE_KEY_BYTES XMPP_JID_BYTES
#define CORE_PARK_IDS  (1u << 20)

enum core_state {
	CORE_HEADER,   /* waits for E's header */
	CORE_FINDING,  /* which nodes */
	CORE_DIALLING, /* one of them, up to its features */
	CORE_SASL,
	CORE_FINDING_HOME, /* of the user in <auth/>, which waits */
	CORE_REHOMING,	   /* dialling it */
	CORE_RESTART,	   /* success went out: E's new header is next */
	CORE_RELAY,
	CORE_ENDING,  /* one side ended properly */
	CORE_LEAVING, /* parked: an error for E waits for a connection; no inner leg */
	CORE_OVER,
};

/* Of a parked stream: how far the way to a connection is. */
enum core_asking {
	CORE_ASKED_NOT,
	CORE_ASKS,  /* E is being asked, or will be in a moment */
	CORE_COMES, /* it said that it takes one */
};

enum inner_state {
	INNER_NONE,
	INNER_HEADER,
	INNER_FEATURES,
	INNER_PROCEED,
	INNER_TLS,
	INNER_READY
};

struct core_node { /* a copy of struct im_node */
	char *server, *host;
	uint16_t port;
	bool external; /* [im-server] sasl-external */
	int tls;       /* enum xmpp_inner_tls */
};

/* What is needed until the user is signed in. */
struct core_login {
	struct preface preface;
	char *from, *lang; /* of E's header; NULL: none */
	char *key;	   /* that the nodes were found by */
	char *new_key;	   /* of FINDING_HOME */
	char *user;	   /* bare address that the exchange is about, NULL: not known */
	struct core_node nodes[CORE_MAX_NODES];
	size_t n_nodes, at, n_tries;
	unsigned n_homes; /* times that a user's node was looked for */
	bool shown;	  /* E has our header */
	bool in_exchange; /* between a start and its success or failure */
	bool external;	  /* the exchange is EXTERNAL */
	char *id;	  /* of the inner stream */
	struct xml_arena offered_in;
	struct xml_node *offered; /* the features that E was shown, or would have been */
	struct xml_arena waiting_in;
	struct xml_node *waiting; /* <auth/> for another node */
};

struct core_stream {
	struct list node;
	struct c2s_core *core;
	struct conn conn;
	enum core_state state;
	enum inner_state inner_state;
	struct xmpp_stream *outer, *inner;
	struct core_login *login; /* NULL: signed in */
	struct loop_deferred later;
	struct timer timer; /* to sign in; parked: for E */
	struct timer agree_timer;
	uint64_t find_id;
	uint64_t id;	   /* its name toward E, without the salt; 0: never parked */
	uint64_t their_id; /* E's name of it while it is parked, else 0 */
	uint64_t call_id;  /* to E */
	int64_t asked_ms;
	uint8_t asking; /* enum core_asking */
	tunnel_peer from;
	struct addr client;
	char *domain;
	char mechanism[24];
	bool inner_tls;
	bool header_due;   /* the inner header after a restart is to be sent on */
	bool outer_waits;  /* paused: lock-step, or nobody to talk to */
	bool outer_paused; /* inner is full */
	bool inner_paused; /* outer is full */
	bool resumable;
};

struct c2s_core {
	struct env *env;
	const struct c2s_core_ops *ops;
	void *arg;
	struct xml_pool *pool;
	struct list streams;
	struct list dead; /* freed at the end of the turn */
	struct idtab ids; /* of those that have been parked */
	uint64_t salt;	  /* of their names: those of the daemon before must find nobody */
	size_t n, n_parked;
	struct heap heap;
	uint32_t auth_timeout_ms, send_timeout_ms;
	size_t stanza_bytes, stanza_bytes_unauthenticated;
	bool keep_binding;
};

/* c2s_core.c */
void core_set_state(struct core_stream *s, enum core_state state);
/* The limits of struct c2s_core for this stream. */
void core_stream_conf(const struct core_stream *s, struct xmpp_stream_conf *out);
struct xml_stream_limits core_limits(const struct core_stream *s);	 /* of what E says */
struct xml_stream_limits core_inner_limits(const struct core_stream *s); /* of the server */
/* Refused: the stream error goes to E, the inner leg is cut; trace with code. decided_by may be
 * NULL. s is dead. */
void core_fail(struct core_stream *s, enum xmpp_condition c, const char *code,
	       const char *decided_by, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Both legs are cut without an end, so that the client can resume. s is dead. */
void core_cut(struct core_stream *s, const char *why);
/* Nothing more to do with the legs. s is dead. */
void core_over(struct core_stream *s, const char *why);
void core_trace(struct core_stream *s, const char *code, const char *decided_by, const char *fmt,
		...) __attribute__((format(printf, 4, 5)));
/* Lock-step: E is not read until core_go_on(), which must be the last thing a handler does. */
void core_wait(struct core_stream *s);
void core_go_on(struct core_stream *s);
/* The user is known and signed in. */
void core_signed_in(struct core_stream *s);
void core_set_user(struct core_stream *s, const char *bare);
void core_login_free(struct core_login *l);
void core_forget_nodes(struct core_login *l);

/* c2s_core_park.c */
int core_outer_frame(void *arg, struct slice bytes);
void core_outer_wanted(void *arg);
/* Parked, and xmpp_fail() was called: the inner leg goes, the error waits for E. */
void core_last_words(struct core_stream *s, const char *why);
/* It is parked no more; for E it may be yet. */
void core_forget_parked(struct core_stream *s);
/* The time for E is over. */
void core_park_tick(struct core_stream *s);

/* c2s_core_outer.c */
extern const struct xmpp_stream_handler core_outer_handler;

/* c2s_core_inner.c */
/* Finds the nodes for key (taken over) and dials them in turn. */
void core_find(struct core_stream *s, char *key);
/* Nodes for a user whose home may be another; <auth/> waits in login->waiting. */
void core_find_home(struct core_stream *s, char *key);
void core_send_inner_header(struct core_stream *s, const char *from, const char *lang);
void core_drop_inner(struct core_stream *s);
void core_node_failed(struct core_stream *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* c2s_core_auth.c */
/* The node that is connected now has shown what it offers (filtered). */
void core_agreed(struct core_stream *s, struct xml_node *features);
void core_auth_outer(struct core_stream *s, struct xml_node *e, struct xml_arena *a);
void core_auth_inner(struct core_stream *s, struct xml_node *e, struct xml_arena *a);
/* The nodes of the user in login->waiting are there. */
void core_home_is_here(struct core_stream *s);
/* "user@domain" of a SASL name or of from; NULL: not of this domain or without memory. Owned. */
char *core_bare_of(const struct core_stream *s, const char *name);

/* c2s_core_relay.c */
void core_relay_outer(struct core_stream *s, struct xml_node *e, struct xml_arena *a);
void core_relay_inner(struct core_stream *s, struct xml_node *e, struct xml_arena *a);
/* XEP-0198 of the server: <enabled/> or <resumed/>. */
void core_look_for_resumption(struct core_stream *s, const struct xml_node *e);
/* There is room again in one of the legs. */
void core_relay_outer_room(struct core_stream *s);
void core_relay_inner_room(struct core_stream *s);
/* <stream:error/> of the server. */
void core_relay_error(struct core_stream *s, struct xml_node *e);

#endif
