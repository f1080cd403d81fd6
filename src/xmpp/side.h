#ifndef XMPP_SIDE_H
#define XMPP_SIDE_H
/*
 * The module's two sides: what is wired to what on E (edge_side.c) and on C (core_side.c).
 *
 *   E: client -> listen -> c2s_edge -> link_edge;  partner -> federation_edge -> link_edge
 *   C: link_core -> c2s_core -> im_servers;        link_core -> federation_core -> im_servers
 */
#include "core/ctl.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/rate.h"
#include "turnpike/signin.h"
#include "turnpike/tunnel.h"
#include "xmpp/c2s_core.h"
#include "xmpp/c2s_edge.h"
#include "xmpp/federation.h"
#include "xmpp/im_server.h"
#include "xmpp/link.h"
#include "xmpp/listen.h"
#include "xmpp/park_call.h"

#define XMPP_MAX_PEERS 256

/* Table that E publishes: key "pool" {"port": N} while it listens for connections of C. */
#define XMPP_TABLE_EDGE "xmpp-edge"
#define XMPP_EDGE_POOL	"pool"

struct xmpp_edge {
	struct env *env;
	const struct conf_snapshot *snap;
	const struct xmpp_conf *conf;
	const struct tunnel_ops *tunnel; /* NULL: no such module */
	void *tunnel_self;
	const struct signin_ops *signin;
	void *signin_self;
	struct link_edge *link;
	struct c2s_edge *clients;
	struct federation_edge *federation;
	struct xmpp_domains *domains; /* federation's */
	struct park_calls parked;
	struct xmpp_listen listen;
	struct rate *failures;	     /* of sources */
	struct loop_deferred look;   /* certificates against domains */
	bool up[XMPP_MAX_PEERS + 1]; /* by tunnel_peer */
	bool draining;
};

struct xmpp_core {
	struct env *env;
	const struct conf_snapshot *snap;
	const struct xmpp_conf *conf;
	const struct tunnel_ops *tunnel;
	void *tunnel_self;
	const struct signin_ops *signin;
	void *signin_self;
	struct link_core *link;
	struct c2s_core *clients;
	struct park_calls parked;
	struct im_servers *servers;
	struct federation_core *federation;
	bool has_pool[XMPP_MAX_PEERS + 1]; /* by tunnel_peer: E has said so */
	bool up[XMPP_MAX_PEERS + 1];
};

/* The life of both is that of a module (core/module.h). */
struct xmpp_edge *xmpp_edge_new(struct env *env);
int xmpp_edge_start(struct xmpp_edge *e, struct buf *errors);
int xmpp_edge_prepare(struct xmpp_edge *e, const struct conf_snapshot *next, struct buf *errors);
void xmpp_edge_reload(struct xmpp_edge *e, const struct conf_snapshot *next);
void xmpp_edge_drain(struct xmpp_edge *e);
void xmpp_edge_stop(struct xmpp_edge *e);
void xmpp_edge_free(struct xmpp_edge *e);
void xmpp_edge_status(const struct xmpp_edge *e, json_t *out);

struct xmpp_core *xmpp_core_new(struct env *env);
int xmpp_core_start(struct xmpp_core *c, struct buf *errors);
void xmpp_core_reload(struct xmpp_core *c, const struct conf_snapshot *next);
void xmpp_core_drain(struct xmpp_core *c);
void xmpp_core_stop(struct xmpp_core *c);
void xmpp_core_free(struct xmpp_core *c);
void xmpp_core_status(const struct xmpp_core *c, json_t *out);

/* xmpp_ctl.c */
extern const struct ctl_command xmpp_edge_commands[]; /* self: struct xmpp_edge */
extern const struct ctl_command xmpp_core_commands[]; /* self: struct xmpp_core */

/* Of who is signed in: fills session (SIGNIN_ID_BYTES) when the user has one. */
void xmpp_session_of(const struct signin_ops *signin, void *self, const char *bare,
		     const struct addr *from, char *session);

#endif
