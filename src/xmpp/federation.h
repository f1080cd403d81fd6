#ifndef XMPP_FEDERATION_H
#define XMPP_FEDERATION_H
/*
 * Federation across the link: for each pair (our domain, partner) at most a few connections of the
 * link, each carrying stanzas both ways, between E's s2s engine (partners) and C's inside leg (the
 * IM server, by an s2s engine again, or as a component, XEP-0114).
 *
 *   partner --> E s2s --deliver--> federation_edge --link--> federation_core --> inside leg
 *   inside leg --> federation_core --link (C dials)--> federation_edge --s2s_send--> partner
 *
 * C trusts E with nothing: both domains of the pair come from the preface and every stanza's from
 * and to are checked against them on C again; so is whether the pair is allowed.
 */
#include "core/ctl.h"
#include "core/module.h"
#include "turnpike/tunnel.h"
#include "xmpp/domains.h"
#include "xmpp/im_server.h"
#include "xmpp/link.h"
#include "xmpp/partner.h"
#include "xmpp/s2s.h"

/* --- E --- */
struct federation_edge;
struct federation_edge *federation_edge_new(struct env *env, struct link_edge *link);
/* [xmpp] and [federation] of snap, to which it keeps a reference. Listens at s2s-port as long as
 * some domain federates. 0, or negative errno with reasons in errors; what came before stays then
 * (but for a port that is gone). */
int federation_edge_configure(struct federation_edge *f, const struct conf_snapshot *snap,
			      struct buf *errors);
/* Subscribes to xmpp-domains, xmpp-partners, xmpp-federation. */
int federation_edge_start(struct federation_edge *f, const struct tunnel_ops *tunnel, void *self);
/* A stream that C opened for a pair. Takes s over. */
void federation_edge_take(struct federation_edge *f, tunnel_peer from, const struct preface *p,
			  struct stream *s);
void federation_edge_drain(struct federation_edge *f);
void federation_edge_free(struct federation_edge *f);
void federation_edge_each(const struct federation_edge *f,
			  void (*fn)(const struct xmpp_listing *l, void *arg), void *arg);
struct s2s *federation_edge_engine(struct federation_edge *f);
/* What C has announced: for chat as well (struct c2s_edge_ops.domain). */
struct xmpp_domains *federation_edge_domains(struct federation_edge *f);

/* --- C --- */
struct federation_core;
struct federation_core *federation_core_new(struct env *env, struct link_core *link,
					    struct im_servers *servers);
int federation_core_configure(struct federation_core *f, const struct conf_snapshot *snap,
			      struct buf *errors);
/* Publishes the tables. */
int federation_core_start(struct federation_core *f, const struct tunnel_ops *tunnel, void *self);
void federation_core_take(struct federation_core *f, tunnel_peer from, const struct preface *p,
			  struct stream *s);
void federation_core_drain(struct federation_core *f);
void federation_core_free(struct federation_core *f);
void federation_core_each(const struct federation_core *f,
			  void (*fn)(const struct xmpp_listing *l, void *arg), void *arg);
struct s2s *federation_core_engine(struct federation_core *f);

#endif
