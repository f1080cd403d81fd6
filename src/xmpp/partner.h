#ifndef XMPP_PARTNER_H
#define XMPP_PARTNER_H
/*
 * Who may federate with whom, and how: [federation] and [partner NAME] on C, sent to E in the table
 * "xmpp-partners". The decision is one function on both boxes. Pure.
 */
#include <jansson.h>

#include "core/conf_store.h"
#include "xmpp/s2s.h"
#include "xmpp/xmpp_conf.h"

#define PARTNER_MAX_ROUTES  8
#define PARTNER_MAX	    4096
#define PARTNER_ROUTE_BYTES 262
#define PARTNER_HOST_BYTES  254
#define PARTNER_ANY	    "*" /* key of the rule for those without one */

struct partner_rule { /* one domain, or "*" for those without a rule */
	char domain[XMPP_DOMAIN_BYTES];
	char section[XMPP_DOMAIN_BYTES + 16]; /* "[partner partner.org]" */
	bool allowed;
	enum s2s_tls tls;
	enum s2s_auth auth;
	bool direct_tls; /* static routes are direct TLS */
	size_t n_routes;
	char routes[PARTNER_MAX_ROUTES][PARTNER_ROUTE_BYTES]; /* host:port, equal priority; with one
								 no DNS (X5) */
};
struct partners;
struct partners *partners_new(void);
void partners_free(struct partners *p);
/* All rules of the snapshot ([federation] mode and lists, [partner] sections) instead of those
 * there are. A [partner] section goes before the lists, and an enabled one is allowed: so are
 * those with static routes (X4). Mode off: no rules. More than PARTNER_MAX are left out. 0, or
 * -ENOMEM with nothing changed. */
int partners_load(struct partners *p, const struct conf_snapshot *snap);
/* From the table, {"allowed","tls","auth","direct_tls","route","section"}. put: 0, -EINVAL for an
 * item that is not of the form (ignored, old rule goes), -ENOSPC, -ENOMEM. */
int partners_put(struct partners *p, const char *key, const json_t *item);
void partners_del(struct partners *p, const char *key);
void partners_reset(struct partners *p);
/* Calls fn for each rule, with the item that put() understands. */
void partners_each(const struct partners *p,
		   void (*fn)(void *arg, const char *key, const json_t *item), void *arg);
/* The rule for a partner: its own, else "*", else NULL (refused). Names are exact (X4). */
const struct partner_rule *partners_rule(const struct partners *p, const char *domain);
size_t partners_count(const struct partners *p);
void partners_each_rule(const struct partners *p,
			void (*fn)(void *arg, const struct partner_rule *rule), void *arg);
/* "host", "host:port", "192.0.2.1:5269" or "[2001:db8::1]:5269"; without a port default_port.
 * false: none of these, or port 0. */
bool partner_route_parse(struct slice text, uint16_t default_port, char host[PARTNER_HOST_BYTES],
			 uint16_t *port);
/* local must be a federating domain of ours and remote none of ours; the rest says the rule. */
struct s2s_policy partners_decide(const struct partners *p, bool local_federates,
				  bool remote_is_ours, const char *remote);

#endif
