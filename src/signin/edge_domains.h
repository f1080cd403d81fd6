#ifndef SIGNIN_EDGE_DOMAINS_H
#define SIGNIN_EDGE_DOMAINS_H
/* On E: what each C has announced of its domains. Pure. */
#include "turnpike/signin.h"

#define EDGE_MAX_DOMAINS 10000 /* of all peers together */

struct edge_domains;

/* NULL without memory. */
struct edge_domains *edge_domains_new(const uint8_t seed[16]);
void edge_domains_free(struct edge_domains *t);
/* d->peer says who announces it. 0, -ENOSPC or -ENOMEM. */
int edge_domains_put(struct edge_domains *t, const struct signin_domain *d);
void edge_domains_del(struct edge_domains *t, tunnel_peer from, struct slice name);
/* What that peer has announced is doubtful until it says it again... */
void edge_domains_doubt(struct edge_domains *t, tunnel_peer from);
/* ... and what it has not said again goes. */
void edge_domains_sweep(struct edge_domains *t, tunnel_peer from);
/* The i-th peer that announces name (any case), in the order in which they first did; NULL: no
 * more.
 */
struct signin_domain *edge_domains_get(struct edge_domains *t, struct slice name, size_t i);
size_t edge_domains_count(const struct edge_domains *t);

#endif
