#ifndef XMPP_C2S_EDGE_H
#define XMPP_C2S_EDGE_H
/*
 * E's side of a chat client's stream (RFC 6120, RFC 7590, XEP-0368). A machine over xmpp_stream:
 *
 *   PLAIN --<starttls/>--> TLS --done--> OPENING --header, link--> SASL --success--> RESTART
 *   direct TLS --> OPENING                       RESTART --header relayed--> RELAY (SASL2: at once)
 *   RELAY --quiet--> PARKED (no connection of the link) --client or server speaks, link--> RELAY
 *
 * Before TLS only a header and <starttls/>; then lock-step SASL; then stanzas of one stream to one
 * connection of the link and back.
 *
 * Ends: said by one side, it is said to the other. What is refused here (RFC 6120 section 4.9.3), a
 * client that is gone or takes nothing: the link is cut, without a byte of it. The link lost: the
 * client is cut, before authentication it hears remote-connection-failed. Closed by id
 * (policy-violation), domain gone (host-gone): the link ends properly, so that nothing is left to
 * resume. Every refusal has a code "xmpp.c2s.CONDITION" or of its own (tls-required, no-link,
 * certificate-mismatch, plaintext-injected, throttled, max-failures, auth-timeout, slow-reader
 * ...).
 */
#include "core/module.h"
#include "xmpp/link.h"
#include "xmpp/stream.h"

struct c2s_edge;

struct c2s_edge_domain {  /* what is known of a domain */
	tunnel_peer peer; /* a C that serves it and is up; 0: none is up */
	bool chat;
};
struct c2s_edge_ops {
	/* false: C has not announced it. */
	bool (*domain)(void *arg, const char *name, struct c2s_edge_domain *out);
	/* As link_edge_wait. */
	uint64_t (*take)(void *arg, tunnel_peer from, const struct preface *p, uint32_t timeout_ms,
			 void (*done)(void *ctx, struct stream *s, const char *why), void *ctx);
	void (*cancel)(void *arg, uint64_t id);
	/* The stream on it is parked: idle again. */
	void (*give_back)(void *arg, struct stream *s);
	/* C's stream of that name is parked and has lost its client: it ends, or is cut. */
	void (*end)(void *arg, tunnel_peer to, uint64_t stream, bool proper);
	/* stream_start_tls() as the server with [xmpp] tls. 0 or negative errno. */
	int (*start_tls)(void *arg, struct stream *s);
	/* May this source try to sign in now; a failure was seen; a success was. */
	bool (*may_try)(void *arg, const struct addr *from);
	void (*tried)(void *arg, const struct addr *from, bool good);
	/* The bare address is known: fills session (33 bytes, 32 hex digits) when the user has one
	 * already (signin), leaves it otherwise. */
	void (*user)(void *arg, const char *bare, const struct addr *from, char *session);
};
struct c2s_edge *c2s_edge_new(struct env *env, const struct c2s_edge_ops *ops, void *arg);
void c2s_edge_free(struct c2s_edge *c); /* cuts all */
/* Snapshot's [xmpp]; streams keep living, with the new limits. */
void c2s_edge_configure(struct c2s_edge *c, const struct xmpp_conf *conf);
/* A client's connection: plain or TLS (s->is_tls). Takes it over. */
void c2s_edge_accept(struct c2s_edge *c, struct stream *s);
/* A domain is served no more: its streams end with host-gone; peer 0 ends nothing. */
void c2s_edge_domain_gone(struct c2s_edge *c, const char *domain);
/* The C is lost: cut them all, at once, so that clients resume. */
void c2s_edge_peer_lost(struct c2s_edge *c, tunnel_peer peer);
/* C has something to say on the stream that we named so when it parked. 0; -ENOENT: that C has no
 * such stream here. */
int c2s_edge_resume(struct c2s_edge *c, tunnel_peer from, uint64_t stream);
/* C has lost its end of it without </stream:stream>. 0 or -ENOENT. */
int c2s_edge_cut(struct c2s_edge *c, tunnel_peer from, uint64_t stream);
void c2s_edge_drain(struct c2s_edge *c); /* no new ones: they get system-shutdown */
size_t c2s_edge_count(const struct c2s_edge *c);

struct c2s_edge_stats {
	uint64_t n_total, n_relayed, n_refused, n_auth_good, n_auth_bad, n_injected;
	size_t n_unauthenticated, n_open, n_parked;
};
struct c2s_edge_stats c2s_edge_stats(const struct c2s_edge *c);
/* Calls fn for each stream: what `turnpikectl xmpp` shows. */
struct xmpp_listing { /* one stream of any kind */
	const struct conn *conn;
	const char *domain;	/* c2s: to; s2s: local */
	const char *remote;	/* s2s: partner, else "" */
	const char *tls;	/* "TLSv1.3 TLS_AES_...", "" plain */
	const char *auth;	/* "SCRAM-SHA-256", "external", "dialback", "" */
	const char *direction;	/* "in", "out", "both" */
	int64_t cert_expires_s; /* of the peer, 0: none */
	bool resumable;		/* XEP-0198 was enabled with resumption */
	const char *last_error; /* "" */
	const struct xmpp_stream_stats *stats;
};
void c2s_edge_each(const struct c2s_edge *c, void (*fn)(const struct xmpp_listing *l, void *arg),
		   void *arg);

#endif
