#ifndef XMPP_C2S_CORE_H
#define XMPP_C2S_CORE_H
/*
 * C's side of a chat client's stream: between one connection of the link and the user's IM server.
 *
 *   HEADER --to--> FINDING --node--> DIALLING --features (under TLS)--> SASL --success--> RESTART
 *   SASL --<auth/> of a user whose home is another living node--> REHOMING --features--> SASL
 *   RESTART --header both ways--> RELAY
 *   RELAY --E's "park"--> the same without a connection of the link --E's "resume"--> RELAY
 *
 * E is not trusted: domains, elements before authentication and features are checked here again.
 */
#include "core/module.h"
#include "turnpike/tunnel.h"
#include "xmpp/c2s_edge.h" /* struct xmpp_listing */
#include "xmpp/im_server.h"
#include "xmpp/preface.h"
#include "xmpp/stream.h"

struct c2s_core;
struct c2s_core_ops {
	bool (*serves)(void *arg, const char *domain); /* [domain] im = yes */
	/* im_servers_*; stream ops so that tests can stand in. */
	uint64_t (*find)(void *arg, const char *domain, const char *key,
			 void (*done)(void *ctx, const struct im_node *nodes, size_t n,
				      const char *why),
			 void *ctx);
	void (*cancel)(void *arg, uint64_t id);
	struct stream *(*connect)(void *arg, const struct im_node *node, const struct addr *client,
				  const struct stream_handler *h, void *ctx, int *error);
	int (*start_tls)(void *arg, const struct im_node *node, const char *domain,
			 struct stream *s);
	void (*report)(void *arg, const struct im_node *node, bool good, const char *why);
	void (*user)(void *arg, const char *bare, const struct addr *from, char *session);
	/* A server offers channel binding, which cannot work through us (B05), or does not: for the
	 * alarm. Told at every sign-in. */
	void (*binding)(void *arg, const struct im_node *node, bool offered);
	/* A stream parks: is its connection wanted idle? */
	bool (*keeps)(void *arg, struct stream *s);
	/* Then it is idle again; the stream's last word is in the output. */
	void (*give_back)(void *arg, struct stream *s);
	/* Asks that E to resume the stream that it named so. As tunnel_ops.call. */
	uint64_t (*resume)(void *arg, tunnel_peer to, uint64_t stream, tunnel_done done, void *ctx,
			   int *error);
	void (*cancel_resume)(void *arg, uint64_t id);
	/* Tells it that a parked stream is cut here. */
	void (*cut)(void *arg, tunnel_peer to, uint64_t stream);
};
struct c2s_core *c2s_core_new(struct env *env, const struct c2s_core_ops *ops, void *arg);
void c2s_core_free(struct c2s_core *c);
void c2s_core_configure(struct c2s_core *c, const struct xmpp_conf *conf);
/* A connection that E took for a client. Takes s over. */
void c2s_core_take(struct c2s_core *c, tunnel_peer from, const struct preface *p, struct stream *s);
/* A connection that E took for a parked stream, or believes so. Takes s over. */
void c2s_core_resume(struct c2s_core *c, tunnel_peer from, const struct preface *p,
		     struct stream *s);
/* E's client of a parked stream has ended, or is gone. 0; -ENOENT: that E has parked no such one.
 */
int c2s_core_end(struct c2s_core *c, tunnel_peer from, uint64_t stream, bool proper);
/* E is lost: what it has parked is cut, so that IM servers keep the sessions for resumption. */
void c2s_core_peer_lost(struct c2s_core *c, tunnel_peer peer);
size_t c2s_core_parked(const struct c2s_core *c);
void c2s_core_domain_gone(struct c2s_core *c, const char *domain);
void c2s_core_each(const struct c2s_core *c, void (*fn)(const struct xmpp_listing *l, void *arg),
		   void *arg);
size_t c2s_core_count(const struct c2s_core *c);

#endif
