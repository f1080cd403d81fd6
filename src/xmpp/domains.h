#ifndef XMPP_DOMAINS_H
#define XMPP_DOMAINS_H
/*
 * On E: what each C has announced in the table "xmpp-domains": domain -> {"chat","federation"}.
 * Several C may announce the same domain. What a C said stays while it is away, and while it says
 * it again after a new beginning (reset ... synced), so that nothing is cut for that. Pure.
 */
#include <jansson.h>

#include "turnpike/tunnel.h"
#include "xmpp/xmpp_conf.h"

#define XMPP_TABLE_DOMAINS "xmpp-domains"
#define XMPP_MAX_DOMAINS   10000 /* of all C together */

enum xmpp_domain_use { XMPP_DOMAIN_CHAT, XMPP_DOMAIN_FEDERATION, XMPP_DOMAIN_ANY };

struct xmpp_domains;
/* NULL without memory. */
struct xmpp_domains *xmpp_domains_new(void);
void xmpp_domains_free(struct xmpp_domains *d);
/* Calls fn after the announcements of a domain changed, or (domain NULL) after a C came or went. Up
 * to four may be told; 0 or -ENOSPC. fn may ask but change nothing. */
int xmpp_domains_watch(struct xmpp_domains *d, void (*fn)(void *arg, const char *domain),
		       void *arg);

/* 0; -EINVAL for an item that is not of the form (what that C said before of the domain is void),
 * -ENOSPC, -ENOMEM. */
int xmpp_domains_put(struct xmpp_domains *d, tunnel_peer from, const char *key, const json_t *item);
void xmpp_domains_del(struct xmpp_domains *d, tunnel_peer from, const char *key);
void xmpp_domains_doubt(struct xmpp_domains *d, tunnel_peer from); /* reset */
void xmpp_domains_sweep(struct xmpp_domains *d, tunnel_peer from); /* synced */
void xmpp_domains_set_up(struct xmpp_domains *d, tunnel_peer from, bool up);

/* Has any C announced name (any case) for that use? *peer: the one that did so first among those
 * that are up; 0 when none is. */
bool xmpp_domains_find(const struct xmpp_domains *d, const char *name, enum xmpp_domain_use use,
		       tunnel_peer *peer);
/* The same one, or when none is up the first; 0: nobody announced it. Whose rules hold. */
tunnel_peer xmpp_domains_owner(const struct xmpp_domains *d, const char *name,
			       enum xmpp_domain_use use);
/* Has this C? */
bool xmpp_domains_has(const struct xmpp_domains *d, const char *name, enum xmpp_domain_use use,
		      tunnel_peer peer);
bool xmpp_domains_is_up(const struct xmpp_domains *d, tunnel_peer peer);
bool xmpp_domains_any(const struct xmpp_domains *d, enum xmpp_domain_use use);
void xmpp_domains_each(const struct xmpp_domains *d,
		       void (*fn)(void *arg, const char *domain, tunnel_peer from, bool chat,
				  bool federation),
		       void *arg);
size_t xmpp_domains_count(const struct xmpp_domains *d);

#endif
