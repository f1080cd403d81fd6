/* The sections, their nodes, and whose node is which. */
#include "xmpp/im_server_impl.h"

#include <stdlib.h>

#include "base/siphash.h"
#include "core/alarm.h"

struct im_servers *im_servers_new(struct env *env)
{
	struct im_servers *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->env = env;
	list_init(&s->peers);
	list_init(&s->finds);
	idtab_init(&s->ids, IM_MAX_FINDS);
	return s;
}

void im_servers_free(struct im_servers *s)
{
	if (!s)
		return;
	LIST_FOREACH_SAFE (it, &s->finds)
		im_find_free(CONTAINER_OF(it, struct im_find, node));
	LIST_FOREACH_SAFE (it, &s->peers)
		im_peer_free(CONTAINER_OF(it, struct im_peer, node));
	idtab_fini(&s->ids);
	if (s->snap)
		conf_unref(s->snap);
	free(s);
}

/* --- sections --- */
static bool names_have(const struct conf_names *names, const char *word)
{
	for (size_t i = 0; i < names->n; i++) {
		if (slice_caseeq(slice_of(names->v[i]), slice_of(word)))
			return true;
	}
	return false;
}

const struct im_server_conf *im_server_for(const struct im_servers *s, const char *domain)
{
	const struct im_server_conf *c = NULL;

	while (s->snap && (c = conf_next(s->snap, "im-server", c))) {
		if (c->enabled && names_have(&c->domains, domain))
			return c;
	}
	return NULL;
}

const struct im_server_conf *im_server_named(const struct im_servers *s, const char *name)
{
	const struct im_server_conf *c = s->snap ? conf_get(s->snap, "im-server", name) : NULL;

	return c && c->enabled ? c : NULL;
}

bool im_servers_serve(const struct im_servers *s, const char *domain)
{
	return im_server_for(s, domain) != NULL;
}

uint16_t im_server_port(const struct im_server_conf *c, enum im_use use)
{
	if (use == IM_FEDERATION)
		return (uint16_t)(c->federation == XMPP_INNER_COMPONENT ? c->component_port
									: c->s2s_port);
	if (c->port)
		return (uint16_t)c->port;
	return c->tls == XMPP_INNER_DIRECT ? 5223 : 5222;
}

/* --- nodes --- */
struct im_peer *im_peer_get(const struct im_servers *s, const struct im_node *n)
{
	LIST_FOREACH (it, &s->peers) {
		struct im_peer *p = CONTAINER_OF(it, struct im_peer, node);

		if (p->pub.port == n->port && strcmp(p->pub.host, n->host) == 0 &&
		    strcmp(p->pub.server, n->server) == 0)
			return p;
	}
	return NULL;
}

static char *copy(const char *text)
{
	return slice_dup(slice_of(text));
}

struct im_peer *im_peer_make(struct im_servers *s, const struct im_server_conf *conf,
			     const char *host, uint16_t port, const char *found_by)
{
	const struct im_node n = { .server = conf->common.name, .host = host, .port = port };
	struct im_peer *p = im_peer_get(s, &n);

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->owner = s;
	p->pub = (struct im_node){ .server = copy(conf->common.name),
				   .host = copy(host),
				   .port = port,
				   .alive = true,
				   .why = p->why,
				   .conf = conf };
	p->found_by = copy(found_by);
	timer_init(&p->timer, im_peer_probe, p);
	list_init(&p->node);
	if (!p->pub.server || !p->pub.host || !p->found_by) {
		im_peer_free(p);
		return NULL;
	}
	list_add_tail(&s->peers, &p->node);
	return p;
}

void im_peer_free(struct im_peer *p)
{
	LIST_FOREACH (it, &p->owner->finds) {
		struct im_find *f = CONTAINER_OF(it, struct im_find, node);

		for (size_t i = 0; i < f->n_found; i++) {
			if (f->found[i] == p)
				f->found[i] = NULL;
		}
	}
	im_peer_stop_probe(p);
	im_peer_forget_alarm(p);
	list_del(&p->node);
	free((char *)p->pub.server);
	free((char *)p->pub.host);
	free(p->found_by);
	free(p);
}

/* "host", "host:port", an address, "address:port" (IPv6 in brackets then). */
static bool parse_host(struct slice text, char host[IM_HOST_BYTES], uint16_t *port)
{
	size_t colon = slice_find(text, ':');
	char ip[ADDR_STR_BYTES];
	struct addr a;
	uint64_t n = *port;

	if (addr_parse_ip(text, *port, &a) || addr_parse(text, *port, &a)) {
		*port = a.port;
		return slice_copy(host, IM_HOST_BYTES, slice_of(addr_ip_str(&a, ip)));
	}
	if (colon < text.n &&
	    !slice_u64((struct slice){ text.p + colon + 1, text.n - colon - 1 }, 65535, &n))
		return false;
	*port = (uint16_t)n;
	return colon > 0 && slice_copy(host, IM_HOST_BYTES, (struct slice){ text.p, colon });
}

bool im_server_host(const struct im_server_conf *c, size_t i, enum im_use use,
		    char host[IM_HOST_BYTES], uint16_t *port)
{
	*port = im_server_port(c, use);
	if (i >= c->hosts.n || !parse_host(slice_of(c->hosts.v[i]), host, port))
		return false;
	/* A port behind a host is that for clients. */
	if (use == IM_FEDERATION)
		*port = im_server_port(c, use);
	return true;
}

static bool is_written(const struct im_peer *p, const struct im_server_conf *c, enum im_use use)
{
	char host[IM_HOST_BYTES];
	uint16_t port;

	for (size_t i = 0; i < c->hosts.n; i++) {
		if (im_server_host(c, i, use, host, &port) && port == p->pub.port &&
		    strcmp(host, p->pub.host) == 0)
			return true;
	}
	return false;
}

static bool still_there(const struct im_peer *p, const struct im_server_conf *c)
{
	if (!c)
		return false;
	if (*p->found_by)
		return c->hosts.n == 0 && names_have(&c->domains, p->found_by);
	return is_written(p, c, IM_CHAT) || is_written(p, c, IM_FEDERATION);
}

void im_servers_configure(struct im_servers *s, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = s->snap;

	s->snap = conf_ref(snap);
	LIST_FOREACH_SAFE (it, &s->peers) {
		struct im_peer *p = CONTAINER_OF(it, struct im_peer, node);

		p->pub.conf = im_server_named(s, p->pub.server);
		if (!still_there(p, p->pub.conf))
			im_peer_free(p);
	}
	if (old)
		conf_unref(old);
}

void im_servers_each(const struct im_servers *s, void (*fn)(const struct im_node *n, void *arg),
		     void *arg)
{
	LIST_FOREACH (it, &s->peers)
		fn(&CONTAINER_OF(it, struct im_peer, node)->pub, arg);
}

/* --- order --- */

struct ranked {
	struct im_peer *peer;
	uint64_t score;
};

/* Highest random weight: each node's score for a key depends on nothing but the two, so that a node
 * that goes moves its own users only. The key of the hash is a constant: after a restart, and on
 * another C, a user has the same node. */
static uint64_t score(const struct im_peer *p, const char *key)
{
	static const uint8_t same_everywhere[16] = "turnpike im node";
	char text[1024];
	size_t n = slice_append(text, sizeof(text), 0, slice_of(p->pub.host));
	char port[2] = { (char)(p->pub.port >> 8), (char)p->pub.port };

	if (n > 256)
		n = 256;
	memcpy(text + n, port, sizeof(port));
	n = slice_append(text, sizeof(text), n + sizeof(port), slice_of(key));
	return siphash(same_everywhere, text, n < sizeof(text) ? n : sizeof(text) - 1);
}

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->peer->pub.alive != y->peer->pub.alive)
		return x->peer->pub.alive ? -1 : 1;
	if (x->peer->priority != y->peer->priority)
		return x->peer->priority < y->peer->priority ? -1 : 1;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return strcmp(x->peer->pub.host, y->peer->pub.host);
}

void im_peers_sort(struct im_peer **peers, size_t n, const char *key)
{
	struct ranked r[IM_MAX_NODES];

	for (size_t i = 0; i < n; i++)
		r[i] = (struct ranked){ peers[i], score(peers[i], key) };
	qsort(r, n, sizeof(r[0]), by_rank);
	for (size_t i = 0; i < n; i++)
		peers[i] = r[i].peer;
}
