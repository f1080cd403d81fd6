#ifndef XMPP_S2S_IMPL_H
#define XMPP_S2S_IMPL_H
/*
 * Shared by the files of the engine only: s2s.c (life, streams), s2s_pair.c (pairs, queues,
 * sending, proofs), s2s_out.c (streams that we open), s2s_in.c (streams that others open, stanzas),
 * s2s_dialback.c (XEP-0220).
 *
 *   pair 1 --- * proof * --- 1 stream     a proof: stanzas of the pair may come in on the stream
 *   pair 1 --- 0..1 out                   the stream that we opened for it
 *   pair 1 --- 0..1 sender                what its stanzas go into: `out`, or one that the remote
 *                                         opened with bidi
 *   proof 1 -- 0..1 verify                the stream that asks whether a dialback key is good
 */
#include "base/htab.h"
#include "base/list.h"
#include "base/timerq.h"
#include "core/conn.h"
#include "core/loop.h"
#include "core/trace.h"
#include "xmpp/s2s.h"

#define S2S_MAX_PAIRS	   4096
#define S2S_MAX_TARGETS	   8
#define S2S_MAX_VERIFYING  8 /* keys of one stream that are being verified */
#define S2S_MAX_KEY_BYTES  255
#define S2S_MAX_ID_BYTES   255
#define S2S_SASL_FAILURES  3
#define S2S_KEEPALIVE_MS   120000
#define S2S_BACKOFF_MIN_MS 1000
#define S2S_BACKOFF_MAX_MS 300000
#define S2S_QUEUES	   64 /* so many full queues in all pairs together */
#define S2S_WHY_BYTES	   160

enum s2s_kind {
	S2S_IN,	    /* a partner opened it */
	S2S_OUT,    /* we did, to send */
	S2S_VERIFY, /* we did, to ask about one dialback key */
};
enum s2s_state {
	/* out and verify */
	S2S_RESOLVING,
	S2S_HEADER,   /* connecting, or connected: the peer's header is to come */
	S2S_FEATURES, /* the features are */
	S2S_STARTTLS, /* <proceed/> is */
	S2S_TLS,      /* in too: the handshake */
	S2S_SASL,     /* <success/> is */
	S2S_DIALBACK, /* <db:result type=.../> is */
	S2S_ASKING,   /* verify: <db:verify type=.../> is */
	/* in */
	S2S_IN_HEADER,
	S2S_IN_NEGOTIATING, /* no pair is authenticated */
	S2S_IN_RESTART,	    /* EXTERNAL succeeded: the new header is to come */
	/* all */
	S2S_OPEN,
	S2S_ENDING,
	S2S_OVER, /* freed at the end of the turn */
};
/* Why nothing can be sent, or no key be verified. */
enum s2s_trouble {
	S2S_NO_TROUBLE,
	S2S_NOT_FOUND,	 /* DNS, or the peer, does not know the domain */
	S2S_UNREACHABLE, /* no connection */
	S2S_BROKEN,	 /* it ended or hung on the way */
	S2S_REFUSED,	 /* by policy here, or the peer's */
	S2S_INVALID,	 /* the dialback key was called false */
};

struct s2s_proof {
	struct list of_stream, of_pair;
	struct s2s_stream *stream;
	struct s2s_pair *pair;
	const char *method;	   /* "external", "dialback"; NULL: not proven yet */
	struct s2s_stream *verify; /* asks the authoritative server */
	bool paused;
};

struct s2s_item { /* a stanza that waits, or goes back */
	struct list node;
	struct s2s_pair *pair;
	struct xml_arena arena;
	struct xml_node *stanza;
	enum s2s_trouble trouble;
};

struct s2s_pair {
	struct htab_node node;
	struct list lru; /* used last: first */
	struct s2s *s2s;
	struct s2s_stream *out;
	struct s2s_stream *sender;
	struct list proofs;
	struct list queue;
	size_t n_queued, queue_bytes;
	size_t n_bouncing;   /* items that lead here */
	unsigned n_failures; /* one after the other */
	int64_t retry_ms;    /* not before */
	bool paused;
	uint64_t n_in, n_out, n_bounced;
	char last_error[S2S_WHY_BYTES];
	int64_t last_error_wall_s;
	const char *local, *remote; /* into names */
	size_t n_names;
	char names[]; /* local NUL remote NUL: the key */
};

struct s2s_stream {
	struct list node; /* until its memory goes */
	struct list over; /* OVER */
	struct s2s *s2s;
	enum s2s_kind kind;
	enum s2s_state state;
	struct xmpp_stream *x;
	struct conn conn;
	bool is_entered;
	struct timer deadline; /* until authenticated; out: of one target */
	struct timer tick;     /* keepalive, idle */
	int64_t last_stanza_ms;
	char local[XMPP_DOMAIN_BYTES], remote[XMPP_DOMAIN_BYTES]; /* in: of the header, or "" */
	char id[S2S_MAX_ID_BYTES + 1];				  /* of the stream */
	bool tls;
	bool bidi;
	bool offered_bidi;
	struct s2s_identity identity;
	const char *auth; /* "external", "dialback"; NULL: not yet */
	struct list proofs;
	size_t n_proofs, n_proven, n_paused;
	unsigned n_sasl_failures;
	/* out, verify */
	struct s2s_pair *pair; /* out only */
	uint64_t resolving;
	struct s2s_target *targets;
	size_t n_targets, next_target;
	int64_t give_up_ms;
	enum s2s_trouble trouble; /* of the last target */
	char why[S2S_WHY_BYTES];
	/* verify */
	struct s2s_proof *asker;
	char *key;
	char asked_id[33];
};

struct s2s {
	struct env *env;
	const struct s2s_ops *ops;
	void *arg;
	struct s2s_conf conf;
	bool is_configured, is_draining;
	struct htab pairs;
	struct list lru;
	struct list streams, over;
	struct list bounces;
	size_t n_streams, n_unauthenticated, queue_bytes;
	struct loop_deferred later; /* bounces, frees */
};

static inline struct timerq *s2s_timers(const struct s2s *s)
{
	return s->conf.stream.timers;
}
static inline int64_t s2s_now_ms(const struct s2s *s)
{
	return s->conf.stream.timers->now_ms;
}
static inline struct s2s_policy s2s_policy_of(struct s2s *s, const char *local, const char *remote,
					      bool incoming)
{
	return s->ops->policy(s->arg, local, remote, incoming);
}

/* --- s2s.c --- */
struct s2s_stream *s2s_stream_new(struct s2s *s, enum s2s_kind kind);
/* Enters it with the addresses of its socket. 0 or -ENOSPC. */
int s2s_stream_enter(struct s2s_stream *st);
void s2s_set_state(struct s2s_stream *st, enum s2s_state state);
/* It leaves every table, cut if the stream was not ended; memory goes at the end of the turn. */
void s2s_stream_over(struct s2s_stream *st, const char *why);
/* With a stream error. */
void s2s_stream_refuse(struct s2s_stream *st, enum xmpp_condition c, const char *text);
/* Properly; no more is sent on it. */
void s2s_stream_end(struct s2s_stream *st, const char *why);
/* Authenticated, one way or the other: larger stanzas, keepalive, no deadline. */
void s2s_stream_open(struct s2s_stream *st);
/* A line in the trace with the peer's address. */
void s2s_trace(struct s2s_stream *st, const char *code, const char *decided_by, const char *fmt,
	       ...) __attribute__((format(printf, 4, 5)));
void s2s_later(struct s2s *s);
void s2s_look_at_identity(struct s2s_stream *st, const char *domain);
/* What the policy of a pair asks of a stream that proved it by method. NULL, or why not (static).
 */
const char *s2s_misfit(const struct s2s_policy *p, const struct s2s_stream *st, const char *method);
/* <stream:error>: "host-unknown: text" of at most size bytes. */
enum xmpp_condition s2s_read_error(const struct xml_node *e, struct xml_arena *arena, char *out,
				   size_t size);

/* --- s2s_pair.c --- */
struct s2s_pair *s2s_pair_find(const struct s2s *s, const char *local, const char *remote);
/* NULL: no memory, or too many that are in use. */
struct s2s_pair *s2s_pair_get(struct s2s *s, const char *local, const char *remote);
void s2s_pair_error(struct s2s_pair *p, const char *why);
/* Another sender is looked for when the one there is gone, and gets what waits; a stream is opened
 * when there is none. */
void s2s_pair_flush(struct s2s_pair *p);
/* Its stream could not be had: what waits goes back, and the next try waits. */
void s2s_pair_failed(struct s2s_pair *p, enum s2s_trouble t, const char *why);
/* What waits goes back. */
void s2s_pair_bounce(struct s2s_pair *p, enum s2s_trouble t);
void s2s_bounces_run(struct s2s *s);
void s2s_pairs_free(struct s2s *s);
/* NULL without memory or over the bounds. */
struct s2s_proof *s2s_proof_new(struct s2s_stream *st, const char *local, const char *remote);
struct s2s_proof *s2s_proof_find(const struct s2s_stream *st, const char *local,
				 const char *remote);
void s2s_proof_accept(struct s2s_proof *p, const char *method);
/* It is proven and its stream is OPEN. */
void s2s_proof_open(struct s2s_proof *p);
void s2s_proof_drop(struct s2s_proof *p);

/* --- s2s_out.c --- */
/* 0, -ENOBUFS (limits), -ENOMEM. */
int s2s_out_start(struct s2s_pair *p);
/* Asks remote's server about key. 0, -ENOBUFS, -ENOMEM. */
int s2s_verify_start(struct s2s_proof *asker, const char *key);
/* What it is not, or not yet, authenticated for is over: another target, or trouble. */
void s2s_out_fail(struct s2s_stream *st, enum s2s_trouble t, const char *why);
/* The same without another target. */
void s2s_out_give_up(struct s2s_stream *st, enum s2s_trouble t, const char *why);
void s2s_out_authenticated(struct s2s_stream *st, const char *method);
/* The deadline has passed. */
void s2s_out_timeout(struct s2s_stream *st);

/* --- s2s_in.c --- */
void s2s_in_start(struct s2s_stream *st, struct stream *socket);
bool s2s_is_stanza(const struct xml_node *e);
/* May st, an incoming stream, have one more pair, and ask about its key? NULL, or which limit says
 * no (static). */
/* Would one more stream from there, of nobody who is known yet, be too many? */
bool s2s_in_too_many(const struct s2s *s, const struct addr *from);
const char *s2s_in_over_limit(struct s2s_stream *st, bool asks);
/* A stanza from the other side: checked against the proofs, delivered or refused. */
void s2s_stanza(struct s2s_stream *st, struct xml_node *e, struct xml_arena *arena);

/* --- s2s_dialback.c --- */
void s2s_dialback_element(struct s2s_stream *st, struct xml_node *e, struct xml_arena *arena);
/* <db:result> with our key. -ENOENT: there is no secret; -ENOMEM. */
int s2s_dialback_request(struct s2s_stream *st);
/* <db:verify> about st->key. */
void s2s_dialback_ask(struct s2s_stream *st);
/* A verification has ended: t S2S_NO_TROUBLE: the key is good. Answers on the asker's stream. */
void s2s_dialback_verified(struct s2s_proof *p, enum s2s_trouble t, const char *why);

#endif
