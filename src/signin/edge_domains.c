#include "signin/edge_domains.h"

#include <errno.h>
#include <stdlib.h>

#include "base/htab.h"
#include "base/list.h"
#include "signin/name.h"

struct announced {
	struct htab_node node;
	struct list order; /* first announced first */
	struct signin_domain d;
	tunnel_peer from;
	uint64_t seq;
	bool doubtful;
};

struct edge_domains {
	struct htab names;
	struct list all;
	uint64_t next_seq;
};

static struct slice name_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, const struct announced, node)->d.name);
}

struct edge_domains *edge_domains_new(const uint8_t seed[16])
{
	struct edge_domains *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	list_init(&t->all);
	if (htab_init(&t->names, seed, name_key) == 0)
		return t;
	free(t);
	return NULL;
}

static void announced_free(struct edge_domains *t, struct announced *a)
{
	htab_del(&t->names, &a->node);
	list_del(&a->order);
	free(a);
}

void edge_domains_free(struct edge_domains *t)
{
	if (!t)
		return;
	LIST_FOREACH_SAFE (it, &t->all)
		announced_free(t, CONTAINER_OF(it, struct announced, order));
	htab_fini(&t->names);
	free(t);
}

/* NULL: none of that peer. */
static struct announced *find(const struct edge_domains *t, struct slice name, tunnel_peer from)
{
	for (struct htab_node *n = htab_get(&t->names, name); n; n = htab_get_next(&t->names, n)) {
		struct announced *a = CONTAINER_OF(n, struct announced, node);

		if (a->from == from)
			return a;
	}
	return NULL;
}

int edge_domains_put(struct edge_domains *t, const struct signin_domain *d)
{
	struct announced *a = find(t, slice_of(d->name), d->peer);

	if (!a && t->names.n >= EDGE_MAX_DOMAINS)
		return -ENOSPC;
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a)
			return -ENOMEM;
		a->d = *d;
		a->from = d->peer;
		a->seq = t->next_seq++;
		htab_add(&t->names, &a->node);
		list_add_tail(&t->all, &a->order);
	}
	a->doubtful = false;
	a->d.web = d->web;
	a->d.sip = d->sip;
	a->d.sip_signin = d->sip_signin;
	a->d.im = d->im;
	return 0;
}

void edge_domains_del(struct edge_domains *t, tunnel_peer from, struct slice name)
{
	struct announced *a = find(t, name, from);

	if (a)
		announced_free(t, a);
}

void edge_domains_doubt(struct edge_domains *t, tunnel_peer from)
{
	LIST_FOREACH (it, &t->all) {
		struct announced *a = CONTAINER_OF(it, struct announced, order);

		if (a->from == from)
			a->doubtful = true;
	}
}

void edge_domains_sweep(struct edge_domains *t, tunnel_peer from)
{
	LIST_FOREACH_SAFE (it, &t->all) {
		struct announced *a = CONTAINER_OF(it, struct announced, order);

		if (a->from == from && a->doubtful)
			announced_free(t, a);
	}
}

struct signin_domain *edge_domains_get(struct edge_domains *t, struct slice name, size_t i)
{
	char lower[SIGNIN_DOMAIN_BYTES];
	struct announced *best = NULL;
	uint64_t after = 0;

	if (name.n >= SIGNIN_DOMAIN_BYTES)
		return NULL;
	signin_domain_lower(name, lower);
	for (size_t k = 0; k <= i; k++) {
		best = NULL;
		for (struct htab_node *n = htab_get(&t->names, slice_of(lower)); n;
		     n = htab_get_next(&t->names, n)) {
			struct announced *a = CONTAINER_OF(n, struct announced, node);

			if ((k == 0 || a->seq > after) && (!best || a->seq < best->seq))
				best = a;
		}
		if (!best)
			return NULL;
		after = best->seq;
	}
	best->d.peer = best->from;
	return &best->d;
}

size_t edge_domains_count(const struct edge_domains *t)
{
	return t->names.n;
}
