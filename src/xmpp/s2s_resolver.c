/* The part of xmpp/s2s_resolve.h that asks DNS. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/idtab.h"
#include "core/loop.h"
#include "core/net.h"
#include "xmpp/s2s_resolve.h"

#define MAX_ASKED 4096
#define S2S_PORT  5269

struct asked;
struct question { /* of one asked */
	struct asked *asked;
	struct dns_query *query; /* NULL: answered, or not asked */
};

struct asked {
	struct list node;
	struct s2s_resolver *r;
	uint64_t id;
	void (*done)(void *ctx, const struct s2s_target *t, size_t n, bool not_found,
		     const char *why);
	void *ctx;
	char domain[XMPP_DOMAIN_BYTES];
	bool from_route; /* of the administrator: any address */
	bool direct_tls;
	unsigned n_open; /* questions */
	struct question questions[PARTNER_MAX_ROUTES];
	struct dns_result *srv[2]; /* _xmpps-server, _xmpp-server */
	struct s2s_target targets[S2S_RESOLVE_MAX];
	size_t n_targets;
	bool unsure; /* one of several hosts could not be asked for */
	enum s2s_resolve_status status;
	const char *why;
	struct loop_deferred over;
};

struct s2s_resolver {
	struct loop *loop;
	struct dns *dns;
	struct list asked;
	struct idtab ids;
};

struct s2s_resolver *s2s_resolver_new(struct loop *loop, struct dns *dns)
{
	struct s2s_resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->loop = loop;
	r->dns = dns;
	list_init(&r->asked);
	idtab_init(&r->ids, MAX_ASKED);
	return r;
}

static void asked_free(struct asked *a)
{
	for (size_t i = 0; i < PARTNER_MAX_ROUTES; i++)
		dns_cancel(a->questions[i].query);
	loop_defer_cancel(&a->over);
	idtab_del(&a->r->ids, a->id);
	list_del(&a->node);
	free(a->srv[0]);
	free(a->srv[1]);
	free(a);
}

void s2s_resolver_free(struct s2s_resolver *r)
{
	if (!r)
		return;
	LIST_FOREACH_SAFE (it, &r->asked)
		asked_free(CONTAINER_OF(it, struct asked, node));
	idtab_fini(&r->ids);
	free(r);
}

void s2s_resolver_cancel(struct s2s_resolver *r, uint64_t id)
{
	struct asked *a = idtab_get(&r->ids, id);

	if (a)
		asked_free(a);
}

static uint32_t draw(void *arg, uint32_t n)
{
	uint32_t v;

	net_random(&v, sizeof(v));
	return (uint32_t)((uint64_t)v * n >> 32);
}

/* Otherwise anybody who writes DNS records could have us knock on doors of this box and behind
 * it. */
static const char *refuse(void *arg, const struct addr *addr)
{
	const struct asked *a = arg;
	const char *inside = s2s_resolve_inside(addr);
	struct addr inner;

	if (a->from_route)
		return NULL;
	if (inside)
		return inside;
	return net_is_own_ip(addr) || (addr_embedded_ip4(addr, &inner) && net_is_own_ip(&inner))
		       ? "an address of this box"
		       : NULL;
}

static void on_over(void *arg)
{
	struct asked *a = arg;
	const bool not_found = a->status == S2S_RESOLVE_NOT_FOUND;

	idtab_del(&a->r->ids, a->id); /* nobody can cancel it any more */
	a->id = 0;
	a->done(a->ctx, a->targets, a->n_targets, not_found, a->n_targets ? NULL : a->why);
	asked_free(a);
}

static void finish(struct asked *a)
{
	if (a->n_targets > 0)
		a->status = S2S_RESOLVED;
	else if (a->unsure)
		a->status = S2S_RESOLVE_UNKNOWN;
	loop_defer(a->r->loop, &a->over);
}

static void release(struct asked *a)
{
	if (--a->n_open == 0)
		finish(a);
}

/* --- hosts --- */

static void on_host(const struct dns_result *result, void *arg)
{
	struct question *q = arg;
	struct asked *a = q->asked;
	struct s2s_resolve_filter f = { .refuse = refuse, .random = draw, .arg = a };

	q->query = NULL;
	a->status = s2s_resolve_host(result, a->direct_tls, &f, a->targets, &a->n_targets, &a->why);
	a->unsure |= a->status == S2S_RESOLVE_UNKNOWN;
	release(a);
}

static void ask_host(struct asked *a, size_t i, const char *host, uint16_t port)
{
	struct question *q = &a->questions[i];

	a->n_open++;
	q->query = dns_lookup_host(a->r->dns, host, port, DNS_ANY_FAMILY, on_host, q);
}

static void ask_routes(struct asked *a, const struct partner_rule *rule)
{
	char host[PARTNER_HOST_BYTES];
	uint16_t port;

	a->from_route = true;
	a->direct_tls = rule->direct_tls;
	for (size_t i = 0; i < rule->n_routes; i++)
		if (partner_route_parse(slice_of(rule->routes[i]), S2S_PORT, host, &port))
			ask_host(a, i, host, port);
}

/* --- SRV --- */

/* Before done: both answers are in. */
static void merge(struct asked *a)
{
	struct s2s_resolve_filter f = { .refuse = refuse, .random = draw, .arg = a };

	a->status = s2s_resolve_srv(a->srv[0], a->srv[1], &f, a->targets, &a->n_targets, &a->why);
	a->unsure = a->status == S2S_RESOLVE_UNKNOWN;
	if (a->status == S2S_RESOLVE_HOST)
		ask_host(a, 0, a->domain, S2S_PORT);
}

static void on_srv(const struct dns_result *result, void *arg)
{
	struct question *q = arg;
	struct asked *a = q->asked;
	struct dns_result *copy = malloc(sizeof(*copy));
	const size_t i = (size_t)(q - a->questions);

	q->query = NULL;
	if (copy)
		*copy = *result;
	a->srv[i] = copy;
	a->unsure |= !copy;
	if (a->n_open == 1 && a->srv[0] && a->srv[1])
		merge(a);
	release(a);
}

static void ask_srv(struct asked *a)
{
	static const char *const services[] = { "_xmpps-server", "_xmpp-server" };
	char name[XMPP_DOMAIN_BYTES + 32];

	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s._tcp.%s", services[i], a->domain);
		a->n_open++;
		a->questions[i].query =
			dns_lookup_srv(a->r->dns, name, DNS_ANY_FAMILY, on_srv, &a->questions[i]);
	}
}

uint64_t s2s_resolver_ask(struct s2s_resolver *r, const char *domain,
			  const struct partner_rule *rule,
			  void (*done)(void *ctx, const struct s2s_target *t, size_t n,
				       bool not_found, const char *why),
			  void *ctx)
{
	struct asked *a = calloc(1, sizeof(*a));
	struct addr literal;

	if (!a)
		return 0;
	a->r = r;
	a->done = done;
	a->ctx = ctx;
	a->status = S2S_RESOLVE_NOT_FOUND;
	a->why = "the name has no address";
	slice_copy(a->domain, sizeof(a->domain), slice_of(domain));
	for (size_t i = 0; i < PARTNER_MAX_ROUTES; i++)
		a->questions[i].asked = a;
	loop_deferred_init(&a->over, on_over, a);
	list_add_tail(&r->asked, &a->node);
	a->id = idtab_add(&r->ids, a);
	if (!a->id) {
		asked_free(a);
		return 0;
	}
	a->n_open = 1; /* answers may come while questions are still being asked */
	if (rule && rule->n_routes > 0)
		ask_routes(a, rule);
	else if (addr_parse_ip(slice_of(domain), S2S_PORT, &literal))
		ask_host(a, 0, domain, S2S_PORT);
	else
		ask_srv(a);
	/* Both SRV answers may be there already. */
	if (a->n_open == 1 && a->srv[0] && a->srv[1] && !a->n_targets)
		merge(a);
	release(a);
	return a->id;
}
