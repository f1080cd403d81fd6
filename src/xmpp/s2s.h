#ifndef XMPP_S2S_H
#define XMPP_S2S_H
/*
 * Streams between servers (RFC 6120 as server, XEP-0220, 0185, 0288, 0178): one engine, used on E
 * toward partners and on C toward the IM server (there "local" is the partner's domain that we
 * stand for, and "remote" the domain of the IM server).
 *
 * A pair (local, remote) is what is allowed, authenticated and routed. An incoming stream may carry
 * several authenticated pairs; an outgoing one carries one pair. Every stanza that comes in must
 * have `from` in a remote and `to` in the local of a pair that is authenticated on that very stream
 * (invalid-from, improper-addressing; the stream closes).
 *
 * What cannot be sent comes back as an error stanza through deliver (RFC 6120 section 8.3.3):
 * remote-server-not-found, remote-server-timeout.
 *
 *   out: RESOLVING --> HEADER --> FEATURES --(TLS)--> HEADER --> FEATURES
 *        FEATURES --EXTERNAL, dialback--> OPEN --idle, error--> OVER
 *
 *   in:  HEADER --(TLS)--> HEADER --> each pair: EXTERNAL or dialback --> authenticated
 *
 * An outgoing stream is retried when there is something to send.
 */
#include "core/module.h"
#include "xmpp/c2s_edge.h" /* struct xmpp_listing */
#include "xmpp/stream.h"

enum s2s_tls { S2S_TLS_REQUIRED, S2S_TLS_OPTIONAL, S2S_TLS_OFF };
enum s2s_auth { S2S_AUTH_ANY, S2S_AUTH_CERTIFICATE, S2S_AUTH_DIALBACK };

struct s2s_policy { /* of a pair */
	bool allowed;
	enum s2s_tls tls;
	enum s2s_auth auth;
	const char *decided_by; /* "[partner partner.org]", living as long as the callback */
	const char *why;	/* when not allowed */
};
struct s2s_target {
	struct addr addr;
	char host[256]; /* for SNI and logs */
	bool direct_tls;
};
/* What TLS says about the other side of a stream. */
struct s2s_identity {
	bool tls;
	bool verified; /* chain, dates, usage */
	bool names_domain;
	int64_t expires_s;
	char tls_text[64]; /* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
	char why[160];	   /* when not verified or not named */
};
struct s2s_ops {
	struct s2s_policy (*policy)(void *arg, const char *local, const char *remote,
				    bool incoming);
	/* Is it a domain of ours at all (host-unknown otherwise)? */
	bool (*is_local)(void *arg, const char *domain);
	/* A stanza for local from an authenticated remote, or what comes back of one that could not
	 * be sent. Never called from inside s2s_send(). */
	void (*deliver)(void *arg, const char *local, const char *remote, struct xml_node *stanza,
			struct xml_arena *arena);
	/* Where remote's servers are (static route, or SRV _xmpps-server and _xmpp-server merged by
	 * priority, else the name at 5269). done is called once, never before this returns; n 0:
	 * none, not_found true when DNS said so for sure. 0 without memory. */
	uint64_t (*resolve)(void *arg, const char *local, const char *remote,
			    void (*done)(void *ctx, const struct s2s_target *t, size_t n,
					 bool not_found, const char *why),
			    void *ctx);
	void (*resolve_cancel)(void *arg, uint64_t id);
	struct stream *(*connect)(void *arg, const struct s2s_target *t, const char *local,
				  const char *remote, const struct stream_handler *h, void *ctx,
				  int *error);
	/* stream_start_tls(), asking for a certificate on both sides. */
	int (*start_tls)(void *arg, struct stream *s, bool server, const char *local,
			 const char *remote);
	void (*identity)(void *arg, struct stream *s, const char *domain, struct s2s_identity *out);
	/* Does our own certificate carry local (offer EXTERNAL only then)? */
	bool (*own_certificate)(void *arg, const char *local);
	/* Dialback keys: secret i of local, i 0 is used for new keys, all are good for old ones;
	 * SLICE_NONE behind the last (XEP-0185). */
	struct slice (*secret)(void *arg, const char *local, size_t i);
	void (*random)(void *p, size_t n);
};
struct s2s_conf {
	uint32_t auth_timeout_ms; /* 30 s: TLS, EXTERNAL, dialback */
	uint32_t idle_ms;	  /* 600 s without a stanza closes an outgoing stream, twice that an
				     incoming one */
	uint32_t queue_bytes;	  /* stanzas of one pair that wait for a stream: 256 KiB */
	uint32_t max_streams;	  /* in all */
	uint32_t max_pairs_in;	  /* on one incoming stream, 100 */
	/* Whoever makes up domains may not fill the tables: pairs on incoming streams from one
	 * address (IPv6: /64), and questions about dialback keys at one time, for streams from one
	 * address and in all. 0: any. */
	uint32_t max_pairs_source, max_verify_source, max_verify;
	uint32_t max_unauthenticated, max_unauthenticated_source; /* source, 0: any */
	bool bidi;						  /* XEP-0288 */
	struct xmpp_stream_conf stream;
	struct xml_stream_limits limits; /* authenticated: 256 KiB */
	const char *zone;		 /* shown in the table: "federation", "inside" */
};
struct s2s;
struct s2s *s2s_new(struct env *env, const struct s2s_ops *ops, void *arg);
void s2s_configure(struct s2s *s, const struct s2s_conf *conf);
/* No new streams any more, neither way; those there are go on. */
void s2s_drain(struct s2s *s);
/* Streams get system-shutdown; what waits is dropped, and deliver is not called. NULL: nothing. */
void s2s_free(struct s2s *s);
/* Somebody connected to our port (plain or direct TLS). Takes it over. */
void s2s_accept(struct s2s *s, struct stream *stream);
/* Sends a stanza (of jabber:server) from local to remote (its from and to are checked against the
 * pair: -EINVAL). 0: sent or queued. -EACCES: policy. -ENOBUFS: queue full, limits, memory, drain
 * (nothing was done: the caller bounces). The tree is copied as far as needed. */
int s2s_send(struct s2s *s, const char *local, const char *remote, const struct xml_node *stanza);
/* Who takes the stanzas of a pair cannot take more now (paused): streams that bring them are not
 * read until it can. Remembered for streams to come. */
void s2s_set_paused(struct s2s *s, const char *local, const char *remote, bool paused);
/* The policy of pairs may have changed: what is not allowed any more ends (policy-violation for an
 * incoming pair alone on its stream, otherwise only that pair), all else stays. */
void s2s_recheck(struct s2s *s);
/* Opens a stream for the pair, or shows that the one there is works (the "test button", B28). What
 * came of it is in s2s_pairs_each(). 0, -EINVAL, -EACCES (policy), -ENOBUFS (limits, memory). */
int s2s_probe(struct s2s *s, const char *local, const char *remote);
void s2s_each(const struct s2s *s, void (*fn)(const struct xmpp_listing *l, void *arg), void *arg);
/* State of each pair that was ever tried: direction, authentication, last error (bounded ring). */
struct s2s_pair_info {
	const char *local, *remote;
	bool in, out;			/* authenticated now */
	const char *in_auth, *out_auth; /* "external", "dialback", "" */
	const char *in_tls, *out_tls;
	int64_t cert_expires_s;
	const char *last_error; /* "" */
	int64_t last_error_wall_s;
	uint64_t n_in, n_out, n_bounced;
	size_t n_queued;
};
void s2s_pairs_each(const struct s2s *s, void (*fn)(const struct s2s_pair_info *p, void *arg),
		    void *arg);
size_t s2s_count(const struct s2s *s);

/* --- dialback.c, pure --- */
#define DIALBACK_KEY_BYTES 65 /* 64 hex digits and NUL */
/* XEP-0185: HMAC-SHA256(hex(SHA256(secret)), "receiving originating stream-id"). */
void dialback_key(struct slice secret, const char *receiving, const char *originating,
		  const char *stream_id, char out[DIALBACK_KEY_BYTES]);
bool dialback_key_is(struct slice key, const char expected[DIALBACK_KEY_BYTES]); /* constant time */

#endif
