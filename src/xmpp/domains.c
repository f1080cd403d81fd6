#include "xmpp/domains.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/list.h"
#include "core/net.h"
#include "proto/xmpp.h"

#define MAX_WATCHERS 4
#define MAX_UP	     64

struct announced { /* of one domain by one C */
	struct htab_node node;
	struct list order; /* first announced first */
	char name[XMPP_DOMAIN_BYTES];
	tunnel_peer from;
	uint64_t seq;
	bool chat, federation;
	bool doubtful;
};

struct watcher {
	void (*fn)(void *arg, const char *domain);
	void *arg;
};

struct xmpp_domains {
	struct htab names;
	struct list all;
	uint64_t next_seq;
	size_t n_up;
	tunnel_peer up[MAX_UP];
	size_t n_watchers;
	struct watcher watchers[MAX_WATCHERS];
};

static struct slice name_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, const struct announced, node)->name);
}

struct xmpp_domains *xmpp_domains_new(void)
{
	struct xmpp_domains *d = calloc(1, sizeof(*d));
	uint8_t seed[16];

	if (!d)
		return NULL;
	net_random(seed, sizeof(seed));
	list_init(&d->all);
	if (htab_init(&d->names, seed, name_key) == 0)
		return d;
	free(d);
	return NULL;
}

static void announced_free(struct xmpp_domains *d, struct announced *a)
{
	htab_del(&d->names, &a->node);
	list_del(&a->order);
	free(a);
}

void xmpp_domains_free(struct xmpp_domains *d)
{
	if (!d)
		return;
	LIST_FOREACH_SAFE (it, &d->all)
		announced_free(d, CONTAINER_OF(it, struct announced, order));
	htab_fini(&d->names);
	free(d);
}

int xmpp_domains_watch(struct xmpp_domains *d, void (*fn)(void *arg, const char *domain), void *arg)
{
	if (d->n_watchers == MAX_WATCHERS)
		return -ENOSPC;
	d->watchers[d->n_watchers++] = (struct watcher){ fn, arg };
	return 0;
}

static void tell(struct xmpp_domains *d, const char *domain)
{
	for (size_t i = 0; i < d->n_watchers; i++)
		d->watchers[i].fn(d->watchers[i].arg, domain);
}

/* NULL: none of that peer. */
static struct announced *find(const struct xmpp_domains *d, const char *name, tunnel_peer from)
{
	struct htab_node *n = htab_get(&d->names, slice_of(name));

	for (; n; n = htab_get_next(&d->names, n)) {
		struct announced *a = CONTAINER_OF(n, struct announced, node);

		if (a->from == from)
			return a;
	}
	return NULL;
}

static void drop(struct xmpp_domains *d, struct announced *a)
{
	char name[XMPP_DOMAIN_BYTES];

	slice_copy(name, sizeof(name), slice_of(a->name));
	announced_free(d, a);
	tell(d, name);
}

/* Names are compared as they stand: one that is written otherwise is an error of that C. */
static bool item_read(const char *key, const json_t *item, bool *chat, bool *federation)
{
	const json_t *c = json_object_get(item, "chat"), *f = json_object_get(item, "federation");
	char name[XMPP_DOMAIN_BYTES];

	*chat = json_is_true(c);
	*federation = json_is_true(f);
	return json_is_boolean(c) && json_is_boolean(f) && xmpp_domain(slice_of(key), name) &&
	       strcmp(name, key) == 0;
}

static struct announced *make(struct xmpp_domains *d, tunnel_peer from, const char *key)
{
	struct announced *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	slice_copy(a->name, sizeof(a->name), slice_of(key));
	a->from = from;
	a->seq = d->next_seq++;
	htab_add(&d->names, &a->node);
	list_add_tail(&d->all, &a->order);
	return a;
}

int xmpp_domains_put(struct xmpp_domains *d, tunnel_peer from, const char *key, const json_t *item)
{
	struct announced *a = find(d, key, from);
	bool chat, federation, changed;

	if (!item_read(key, item, &chat, &federation)) {
		if (a)
			drop(d, a);
		return -EINVAL;
	}
	if (!a && d->names.n >= XMPP_MAX_DOMAINS)
		return -ENOSPC;
	changed = !a || a->chat != chat || a->federation != federation;
	if (!a)
		a = make(d, from, key);
	if (!a)
		return -ENOMEM;
	a->doubtful = false;
	a->chat = chat;
	a->federation = federation;
	if (changed)
		tell(d, key);
	return 0;
}

void xmpp_domains_del(struct xmpp_domains *d, tunnel_peer from, const char *key)
{
	struct announced *a = find(d, key, from);

	if (a)
		drop(d, a);
}

void xmpp_domains_doubt(struct xmpp_domains *d, tunnel_peer from)
{
	LIST_FOREACH (it, &d->all) {
		struct announced *a = CONTAINER_OF(it, struct announced, order);

		if (a->from == from)
			a->doubtful = true;
	}
}

void xmpp_domains_sweep(struct xmpp_domains *d, tunnel_peer from)
{
	LIST_FOREACH_SAFE (it, &d->all) {
		struct announced *a = CONTAINER_OF(it, struct announced, order);

		if (a->from == from && a->doubtful)
			drop(d, a);
	}
}

bool xmpp_domains_is_up(const struct xmpp_domains *d, tunnel_peer peer)
{
	for (size_t i = 0; i < d->n_up; i++)
		if (d->up[i] == peer)
			return true;
	return false;
}

void xmpp_domains_set_up(struct xmpp_domains *d, tunnel_peer from, bool up)
{
	size_t i = 0;

	while (i < d->n_up && d->up[i] != from)
		i++;
	if (up == (i < d->n_up) || (up && d->n_up == MAX_UP))
		return;
	if (up)
		d->up[d->n_up++] = from;
	else
		d->up[i] = d->up[--d->n_up];
	tell(d, NULL);
}

static bool is_for(const struct announced *a, enum xmpp_domain_use use)
{
	switch (use) {
	case XMPP_DOMAIN_CHAT:
		return a->chat;
	case XMPP_DOMAIN_FEDERATION:
		return a->federation;
	default:
		return true;
	}
}

static const struct announced *best_of(const struct xmpp_domains *d, const char *name,
				       enum xmpp_domain_use use)
{
	const struct announced *best = NULL;
	char key[XMPP_DOMAIN_BYTES];
	struct htab_node *n;
	bool best_up = false;

	if (!xmpp_domain(slice_of(name), key))
		return NULL;
	for (n = htab_get(&d->names, slice_of(key)); n; n = htab_get_next(&d->names, n)) {
		const struct announced *a = CONTAINER_OF(n, struct announced, node);
		const bool up = xmpp_domains_is_up(d, a->from);

		if (!is_for(a, use))
			continue;
		if (!best || (up && !best_up) || (up == best_up && a->seq < best->seq)) {
			best = a;
			best_up = up;
		}
	}
	return best;
}

bool xmpp_domains_find(const struct xmpp_domains *d, const char *name, enum xmpp_domain_use use,
		       tunnel_peer *peer)
{
	const struct announced *a = best_of(d, name, use);

	*peer = a && xmpp_domains_is_up(d, a->from) ? a->from : 0;
	return a;
}

tunnel_peer xmpp_domains_owner(const struct xmpp_domains *d, const char *name,
			       enum xmpp_domain_use use)
{
	const struct announced *a = best_of(d, name, use);

	return a ? a->from : 0;
}

bool xmpp_domains_has(const struct xmpp_domains *d, const char *name, enum xmpp_domain_use use,
		      tunnel_peer peer)
{
	char key[XMPP_DOMAIN_BYTES];
	const struct announced *a;

	if (!xmpp_domain(slice_of(name), key))
		return false;
	a = find(d, key, peer);
	return a && is_for(a, use);
}

bool xmpp_domains_any(const struct xmpp_domains *d, enum xmpp_domain_use use)
{
	LIST_FOREACH (it, &d->all)
		if (is_for(CONTAINER_OF(it, struct announced, order), use))
			return true;
	return false;
}

void xmpp_domains_each(const struct xmpp_domains *d,
		       void (*fn)(void *arg, const char *domain, tunnel_peer from, bool chat,
				  bool federation),
		       void *arg)
{
	LIST_FOREACH (it, &d->all) {
		const struct announced *a = CONTAINER_OF(it, struct announced, order);

		fn(arg, a->name, a->from, a->chat, a->federation);
	}
}

size_t xmpp_domains_count(const struct xmpp_domains *d)
{
	return d->names.n;
}
