/* Searches: hosts or SRV records of the domain to addresses, then the order for the key. */
#include "xmpp/im_server_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void release(struct im_find *f)
{
	if (--f->n_pending == 0)
		loop_defer(f->owner->env->loop, &f->later);
}

void im_find_free(struct im_find *f)
{
	loop_defer_cancel(&f->later);
	dns_cancel(f->srv.query);
	for (size_t i = 0; i < f->n_lookups; i++)
		dns_cancel(f->lookups[i].query);
	idtab_del(&f->owner->ids, f->id);
	list_del(&f->node);
	free(f->domain);
	free(f->key);
	free(f->server);
	free(f);
}

static void add_found(struct im_find *f, struct im_peer *p)
{
	for (size_t i = 0; i < f->n_found; i++) {
		if (f->found[i] == p)
			return;
	}
	if (f->n_found < IM_MAX_NODES)
		f->found[f->n_found++] = p;
}

static const char *status_str(int status)
{
	switch (status) {
	case -ENOENT:
		return "does not exist";
	case -ETIMEDOUT:
		return "no answer from DNS";
	default:
		return strerror(-status);
	}
}

/* A name that leads nowhere is a node that is down. */
static void on_host(const struct dns_result *r, void *arg)
{
	struct im_lookup *l = arg;
	struct im_find *f = l->find;
	const struct im_server_conf *c = im_server_named(f->owner, f->server);
	struct im_peer *p = NULL;
	char why[128];

	l->query = NULL;
	if (c)
		p = im_peer_make(f->owner, c, l->host, l->port, c->hosts.n ? "" : f->domain);
	if (p && r->n > 0)
		im_peer_take_addrs(p, r, NULL);
	if (p && p->n_addrs == 0) {
		snprintf(why, sizeof(why), "name: %s", status_str(r->status));
		im_peer_failed(p, why);
	}
	if (p)
		add_found(f, p);
	release(f);
}

static void ask_host(struct im_find *f, struct im_lookup *l, const char *host, uint16_t port)
{
	l->find = f;
	slice_copy(l->host, sizeof(l->host), slice_of(host));
	l->port = port;
	f->n_pending++;
	l->query = dns_lookup_host(f->owner->env->dns, l->host, 0, DNS_ANY_FAMILY, on_host, l);
}

/* Nodes that the records do not name any more are forgotten. */
static void sweep(struct im_find *f)
{
	LIST_FOREACH_SAFE (it, &f->owner->peers) {
		struct im_peer *p = CONTAINER_OF(it, struct im_peer, node);
		bool keep = strcmp(p->found_by, f->domain) != 0 ||
			    strcmp(p->pub.server, f->server) != 0;

		for (size_t i = 0; i < f->n_found; i++)
			keep = keep || !f->found[i] || f->found[i] == p ||
			       strcmp(f->found[i]->pub.host, p->pub.host) == 0;
		if (!keep)
			im_peer_free(p);
	}
}

static void take_srv(struct im_find *f, const struct im_server_conf *c, const struct dns_result *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct dns_addr *a = &r->addrs[i];
		/* The records are those of clients; servers have a port of their own. */
		uint16_t port =
			f->use == IM_CHAT && !c->port ? a->addr.port : im_server_port(c, f->use);
		struct im_peer *p = im_peer_make(f->owner, c, a->target, port, f->domain);

		if (!p)
			continue;
		im_peer_take_addrs(p, r, a->target);
		p->priority = a->priority;
		add_found(f, p);
	}
	sweep(f);
}

static void on_srv(const struct dns_result *r, void *arg)
{
	struct im_lookup *l = arg;
	struct im_find *f = l->find;
	const struct im_server_conf *c = im_server_named(f->owner, f->server);

	l->query = NULL;
	if (c && r->n > 0)
		take_srv(f, c, r);
	else if (c && r->status == -ENOENT && !r->has_records)
		ask_host(f, &f->lookups[0], f->domain, /* RFC 6120 section 3.2.2 */
			 im_server_port(c, f->use));
	else if (r->status == -ENOENT || r->status == 0)
		snprintf(f->why, sizeof(f->why), "%s leads to no server", l->host);
	else
		snprintf(f->why, sizeof(f->why), "%s: %s", l->host, status_str(r->status));
	release(f);
}

static void ask_srv(struct im_find *f, const struct im_server_conf *c)
{
	struct im_lookup *l = &f->srv;

	l->find = f;
	snprintf(l->host, sizeof(l->host), "%s._tcp.%s",
		 c->tls == XMPP_INNER_DIRECT ? "_xmpps-client" : "_xmpp-client", f->domain);
	f->n_pending++;
	l->query = dns_lookup_srv(f->owner->env->dns, l->host, DNS_ANY_FAMILY, on_srv, l);
}

/* --- the answer --- */
static size_t collect(struct im_find *f, struct im_peer **peers)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_found; i++) {
		if (f->found[i])
			peers[n++] = f->found[i];
	}
	im_peers_sort(peers, n, f->key);
	return n;
}

static void answer(void *arg)
{
	struct im_find *f = arg;
	struct im_peer *peers[IM_MAX_NODES];
	struct im_node nodes[2 * IM_MAX_NODES];
	size_t n_peers = collect(f, peers), n = 0;

	for (size_t i = 0; i < n_peers; i++)
		nodes[n++] = peers[i]->pub;
	/* A failure goes on to the next address of that node. */
	for (size_t i = 0; i < n_peers; i++) {
		if (peers[i]->n_addrs > 1)
			nodes[n++] = peers[i]->pub;
	}
	for (size_t i = 0; i < n; i++)
		nodes[i].domain = f->domain;
	/* It is over now: cancelling it inside done does no harm. */
	idtab_del(&f->owner->ids, f->id);
	f->id = 0;
	f->done(f->arg, nodes, n, n ? "" : f->why[0] ? f->why : "no server");
	im_find_free(f);
}

static struct im_find *find_new(struct im_servers *s, const struct im_server_conf *c,
				const char *domain, const char *key)
{
	size_t n = c->hosts.n < IM_MAX_NODES ? c->hosts.n : IM_MAX_NODES;
	struct im_find *f;

	n = n ? n : 1; /* for the domain itself */
	f = calloc(1, sizeof(*f) + n * sizeof(f->lookups[0]));
	if (!f)
		return NULL;
	f->owner = s;
	f->n_lookups = n;
	list_init(&f->node);
	loop_deferred_init(&f->later, answer, f);
	f->domain = slice_dup(slice_of(domain));
	f->key = slice_dup(slice_of(key));
	f->server = slice_dup(slice_of(c->common.name));
	f->id = f->domain && f->key && f->server ? idtab_add(&s->ids, f) : 0;
	if (f->id)
		return f;
	im_find_free(f);
	return NULL;
}

uint64_t im_servers_find(struct im_servers *s, const char *domain, enum im_use use, const char *key,
			 void (*done)(void *arg, const struct im_node *nodes, size_t n,
				      const char *why),
			 void *arg)
{
	const struct im_server_conf *c = im_server_for(s, domain);
	struct im_find *f = c ? find_new(s, c, domain, key) : NULL;
	char host[IM_HOST_BYTES];
	uint16_t port;

	if (!f)
		return 0;
	f->use = use;
	f->done = done;
	f->arg = arg;
	list_add_tail(&s->finds, &f->node);
	f->n_pending = 1;
	for (size_t i = 0; i < f->n_lookups; i++) {
		if (im_server_host(c, i, use, host, &port))
			ask_host(f, &f->lookups[i], host, port);
	}
	if (c->hosts.n == 0)
		ask_srv(f, c);
	release(f);
	return f->id;
}

void im_servers_cancel(struct im_servers *s, uint64_t id)
{
	struct im_find *f = idtab_get(&s->ids, id);

	if (f)
		im_find_free(f);
}
