#ifndef XMPP_S2S_RESOLVE_H
#define XMPP_S2S_RESOLVE_H
/*
 * Where a partner's servers are: static routes, or SRV _xmpps-server._tcp (direct TLS) and
 * _xmpp-server._tcp as one set (XEP-0368), or the name itself at 5269 (RFC 6120 section 3.2).
 *
 *   routes --each host--> done
 *   SRV, both at once --records--> done
 *                     --neither exists--> host at 5269 --> done
 *
 * The merging is pure; what asks DNS stands below it.
 */
#include "core/dns.h"
#include "xmpp/partner.h"
#include "xmpp/s2s.h"

#define S2S_RESOLVE_MAX 16

enum s2s_resolve_status {
	S2S_RESOLVED,
	S2S_RESOLVE_HOST,      /* no SRV records: ask for the name itself */
	S2S_RESOLVE_NOT_FOUND, /* DNS said so for sure, or nothing of it may be used */
	S2S_RESOLVE_UNKNOWN,   /* DNS did not answer: later perhaps */
};
struct s2s_resolve_filter {
	/* NULL: may be connected to; else why not (static). NULL function: all may. */
	const char *(*refuse)(void *arg, const struct addr *a);
	/* 0 <= result < n; for the weights (RFC 2782). */
	uint32_t (*random)(void *arg, uint32_t n);
	void *arg;
};
/* xmpps, xmpp: the answers for the two services. Fills at most S2S_RESOLVE_MAX in the order to try;
 * *why (static) unless S2S_RESOLVED. */
enum s2s_resolve_status s2s_resolve_srv(const struct dns_result *xmpps,
					const struct dns_result *xmpp,
					const struct s2s_resolve_filter *f, struct s2s_target *out,
					size_t *n, const char **why);
/* The answer for a host, added behind the *n that are there. Never S2S_RESOLVE_HOST. */
enum s2s_resolve_status s2s_resolve_host(const struct dns_result *host, bool direct_tls,
					 const struct s2s_resolve_filter *f, struct s2s_target *out,
					 size_t *n, const char **why);
/* Is it an address that no partner named by DNS can have: loopback, private, link-local,
 * multicast, reserved? NULL: no; else what it is (static). */
const char *s2s_resolve_inside(const struct addr *a);

/* --- asking DNS --- */
struct s2s_resolver;
struct loop;
struct s2s_resolver *s2s_resolver_new(struct loop *loop, struct dns *dns);
void s2s_resolver_free(struct s2s_resolver *r); /* no callbacks any more; NULL is allowed */
/* rule: routes to use instead of DNS when it has any (addresses of every kind then); may be NULL;
 * not kept. done is called once, never before this returns, as s2s_ops.resolve. 0: no memory or
 * too many. */
uint64_t s2s_resolver_ask(struct s2s_resolver *r, const char *domain,
			  const struct partner_rule *rule,
			  void (*done)(void *ctx, const struct s2s_target *t, size_t n,
				       bool not_found, const char *why),
			  void *ctx);
void s2s_resolver_cancel(struct s2s_resolver *r, uint64_t id);

#endif
