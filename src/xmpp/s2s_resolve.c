#include "xmpp/s2s_resolve.h"

#include <errno.h>

/* One SRV target: its addresses stand together in the answer. */
struct group {
	const struct dns_result *from;
	size_t first, n;
	bool direct_tls;
	bool used;
};

enum { MAX_GROUPS = 2 * DNS_MAX_ADDRS };

const char *s2s_resolve_inside(const struct addr *a)
{
	const enum addr_class c = addr_class(a);

	return c == ADDR_GLOBAL ? NULL : addr_class_str(c);
}

static const struct dns_addr *first_of(const struct group *g)
{
	return &g->from->addrs[g->first];
}

static bool same_target(const struct dns_addr *a, const struct dns_addr *b)
{
	return a->priority == b->priority && a->weight == b->weight &&
	       a->addr.port == b->addr.port && slice_eq(slice_of(a->target), slice_of(b->target));
}

static size_t group_up(const struct dns_result *r, bool direct_tls, struct group *out)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (n > 0 && same_target(first_of(&out[n - 1]), &r->addrs[i])) {
			out[n - 1].n++;
			continue;
		}
		out[n++] = (struct group){ r, i, 1, direct_tls, false };
	}
	return n;
}

/* The next target of the whole set by priority and weight (RFC 2782); NULL: no more. A weight of 0
 * counts as a little, so that it is drawn now and then. */
static struct group *draw(struct group *groups, size_t n, const struct s2s_resolve_filter *f)
{
	uint32_t sum = 0, drawn;
	int priority = -1;
	size_t i;

	for (i = 0; i < n; i++)
		if (!groups[i].used && (priority < 0 || first_of(&groups[i])->priority < priority))
			priority = first_of(&groups[i])->priority;
	for (i = 0; i < n; i++)
		if (!groups[i].used && first_of(&groups[i])->priority == priority)
			sum += first_of(&groups[i])->weight * 8u + 1;
	if (sum == 0)
		return NULL;
	drawn = f->random(f->arg, sum);
	for (i = 0; i < n; i++) {
		uint32_t weight = first_of(&groups[i])->weight * 8u + 1;

		if (groups[i].used || first_of(&groups[i])->priority != priority)
			continue;
		if (drawn < weight)
			return &groups[i];
		drawn -= weight;
	}
	return NULL;
}

/* *why is set when it may not be used. */
static void add(const struct dns_addr *a, bool direct_tls, const struct s2s_resolve_filter *f,
		struct s2s_target *out, size_t *n, const char **why)
{
	const char *refused = f->refuse ? f->refuse(f->arg, &a->addr) : NULL;
	struct s2s_target *t = &out[*n];

	if (refused) {
		*why = refused;
		return;
	}
	if (*n >= S2S_RESOLVE_MAX)
		return;
	t->addr = a->addr;
	t->direct_tls = direct_tls;
	slice_copy(t->host, sizeof(t->host), slice_of(a->target));
	(*n)++;
}

static bool is_unsure(const struct dns_result *r)
{
	return r->status != 0 && r->status != -ENOENT;
}

enum s2s_resolve_status s2s_resolve_srv(const struct dns_result *xmpps,
					const struct dns_result *xmpp,
					const struct s2s_resolve_filter *f, struct s2s_target *out,
					size_t *n, const char **why)
{
	struct group groups[MAX_GROUPS], *g;
	size_t n_groups = group_up(xmpps, true, groups);

	*n = 0;
	*why = NULL;
	n_groups += group_up(xmpp, false, groups + n_groups);
	while ((g = draw(groups, n_groups, f))) {
		g->used = true;
		for (size_t i = 0; i < g->n; i++)
			add(&g->from->addrs[g->first + i], g->direct_tls, f, out, n, why);
	}
	if (*n > 0)
		return S2S_RESOLVED;
	if (n_groups > 0)
		return S2S_RESOLVE_NOT_FOUND; /* all refused: why says it */
	*why = "DNS did not answer";
	if (is_unsure(xmpps) || is_unsure(xmpp))
		return S2S_RESOLVE_UNKNOWN;
	/* "_xmpps-server" says nothing of a server without direct TLS. */
	*why = "its SRV records name no server";
	if (xmpp->has_records)
		return S2S_RESOLVE_NOT_FOUND;
	*why = "no SRV records";
	return S2S_RESOLVE_HOST;
}

enum s2s_resolve_status s2s_resolve_host(const struct dns_result *host, bool direct_tls,
					 const struct s2s_resolve_filter *f, struct s2s_target *out,
					 size_t *n, const char **why)
{
	const size_t before = *n;

	*why = "the name has no address";
	for (size_t i = 0; i < host->n; i++)
		add(&host->addrs[i], direct_tls, f, out, n, why);
	if (*n > before)
		return S2S_RESOLVED;
	if (!is_unsure(host))
		return S2S_RESOLVE_NOT_FOUND;
	*why = "DNS did not answer";
	return S2S_RESOLVE_UNKNOWN;
}
