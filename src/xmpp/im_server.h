#ifndef XMPP_IM_SERVER_H
#define XMPP_IM_SERVER_H
/*
 * The IM servers inside, on C: [im-server NAME] sections with their nodes, who of them lives, and
 * which of them is a user's (rendezvous hash: when a node goes, only its users move). Health is
 * learnt from connections: a node whose connection failed is dead until a probe (a TCP connect,
 * after 1 s, then up to 30 s) succeeds.
 */
#include "core/module.h"
#include "core/stream_socket.h"
#include "xmpp/xmpp_conf.h"

struct im_servers;
struct im_node {
	const char *server; /* [im-server NAME] */
	const char *host;   /* name as written or SRV target */
	uint16_t port;
	const char *domain; /* that was asked for; NULL in im_servers_each() */
	bool alive;
	const char *why;		   /* last failure, "" */
	const struct im_server_conf *conf; /* of the snapshot now; don't keep */
};
enum im_use { IM_CHAT, IM_FEDERATION };

struct im_servers *im_servers_new(struct env *env);
void im_servers_configure(struct im_servers *s, const struct conf_snapshot *snap);
void im_servers_free(struct im_servers *s);
/* Has an [im-server] that domain (aliases too)? */
bool im_servers_serve(const struct im_servers *s, const char *domain);
/* Finds the node for key (bare user or client address) and calls done once, never before this
 * returns (names and SRV are looked up): n nodes in the order to try, living ones first, those with
 * further addresses once more at the end. Texts of a node live during done; what is kept are
 * copies, and the calls below take nodes made of them (server, host, port and domain count). n 0:
 * none (why). 0: no such domain, without memory, or too many at once. */
uint64_t im_servers_find(struct im_servers *s, const char *domain, enum im_use use, const char *key,
			 void (*done)(void *arg, const struct im_node *nodes, size_t n,
				      const char *why),
			 void *arg);
void im_servers_cancel(struct im_servers *s, uint64_t id);
/* Dials a node: TCP, with IM_CHAT PROXY v2 when the section says so (LOCAL when client is NULL) and
 * direct TLS when the section says so, its certificate checked as below. STARTTLS is the caller's
 * (im_servers_start_tls). With IM_FEDERATION neither: the ports for servers and components have no
 * PROXY and no direct TLS. */
struct stream *im_servers_connect(struct im_servers *s, const struct im_node *node, enum im_use use,
				  const struct addr *client, const struct stream_handler *h,
				  void *arg, int *error);
/* stream_start_tls() as the client with the section's name check (RFC 6125): the certificate must
 * carry the domain or the host that the administrator wrote; what SRV says is no name to trust. */
int im_servers_start_tls(struct im_servers *s, const struct im_node *node, const char *domain,
			 struct stream *stream);
/* What came of it: "good" is a stream that was agreed, all else makes the node a dead one. */
void im_servers_report(struct im_servers *s, const struct im_node *node, bool good,
		       const char *why);
void im_servers_each(const struct im_servers *s, void (*fn)(const struct im_node *n, void *arg),
		     void *arg);

#endif
