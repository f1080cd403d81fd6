/* The look-ups behind get_edge_config. */
#include "http/edge_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/dns.h"
#include "core/loop.h"
#include "core/module.h"

#define MAX_NODES     400
#define MAX_XML_BYTES (256 * 1024)

struct look_up {
	struct edge_config *owner;
	struct dns_query *query;
	bool asking;
};

struct edge_config {
	struct env *env;
	const struct uc_ops *uc;
	void *uc_self;
	char domain[256];
	struct edge_facts edge;
	void (*done)(void *arg, const struct buf *xml);
	void *arg;
	struct loop_deferred finish;
	size_t n;
	size_t n_asking;
	struct look_up look_ups[EDGE_CONFIG_MAX_NAMES];
	struct edge_config_service services[EDGE_CONFIG_MAX_NAMES];
};

static bool is_known(const struct edge_config_service *s, const char *address)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcasecmp(s->servers[i].address, address) == 0)
			return true;
	return false;
}

/* A target with several addresses is one server. */
static void take_answer(struct edge_config_service *s, const struct dns_result *r)
{
	for (size_t i = 0; i < r->n && s->n < EDGE_CONFIG_MAX_SERVERS; i++) {
		const struct dns_addr *a = &r->addrs[i];
		struct edge_config_server *to = &s->servers[s->n];
		struct slice target = slice_of(a->target);

		if (target.n > 0 && target.p[target.n - 1] == '.')
			target.n--;
		slice_copy(to->address, sizeof(to->address), target);
		if (is_known(s, to->address))
			continue;
		to->priority = a->priority;
		to->weight = a->weight;
		to->port = a->addr.port;
		s->n++;
	}
}

static size_t collect_nodes(struct edge_config *c, struct uc_node *nodes, size_t max)
{
	size_t n = 0;

	while (c->uc && n < max && c->uc->node(c->uc_self, n, &nodes[n]))
		n++;
	return n;
}

/* Where DNS inside has no record, discovery knows. */
static void fill_from_nodes(struct edge_config_service *s, const struct uc_node *nodes, size_t n)
{
	unsigned role = strcmp(s->name, "_cisco-uds") == 0	    ? UC_CALL_MANAGER
			: strcmp(s->name, "_cuplogin") == 0	    ? UC_PRESENCE
			: strcmp(s->name, "_cisco-phone-tftp") == 0 ? UC_TFTP
								    : 0;

	for (size_t i = 0; s->n == 0 && i < n; i++) {
		struct edge_config_server *to = &s->servers[0];

		if (!(nodes[i].roles & role) || !nodes[i].alive)
			continue;
		slice_copy(to->address, sizeof(to->address), slice_of(nodes[i].name));
		to->priority = to->weight = 10;
		to->port = role == UC_TFTP ? 6970 : nodes[i].uds_port;
		s->n = 1;
	}
}

static void finish(void *arg)
{
	struct edge_config *c = arg;
	struct uc_node *nodes = calloc(MAX_NODES, sizeof(*nodes));
	size_t n = nodes ? collect_nodes(c, nodes, MAX_NODES) : 0;
	struct buf xml;
	bool ok = nodes;

	buf_init(&xml, MAX_XML_BYTES);
	for (size_t i = 0; i < c->n; i++)
		fill_from_nodes(&c->services[i], nodes, n);
	ok = ok && edge_config_print(&xml, c->services, c->n, &c->edge, nodes, n);
	c->done(c->arg, ok ? &xml : NULL);
	buf_fini(&xml);
	free(nodes);
	free(c);
}

static void looked_up(const struct dns_result *r, void *arg)
{
	struct look_up *l = arg;
	struct edge_config *c = l->owner;

	l->query = NULL;
	l->asking = false;
	take_answer(&c->services[l - c->look_ups], r);
	if (--c->n_asking == 0)
		loop_defer(c->env->loop, &c->finish);
}

static void look_up(struct edge_config *c, size_t i)
{
	struct look_up *l = &c->look_ups[i];
	struct dns_query *q;
	char name[EDGE_CONFIG_NAME_BYTES + 300];

	l->owner = c;
	l->asking = true;
	snprintf(name, sizeof(name), "%s._tcp.%s", c->services[i].name, c->domain);
	q = dns_lookup_srv(c->env->dns, name, DNS_ANY_FAMILY, looked_up, l);
	if (l->asking)
		l->query = q;
}

struct edge_config *edge_config_start(struct env *env, const struct uc_ops *uc, void *uc_self,
				      struct slice domain, const struct edge_config_names *names,
				      const struct edge_facts *edge,
				      void (*done)(void *arg, const struct buf *xml), void *arg)
{
	struct edge_config *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->env = env;
	c->uc = uc;
	c->uc_self = uc_self;
	c->edge = *edge;
	c->done = done;
	c->arg = arg;
	c->n = names->n;
	slice_copy(c->domain, sizeof(c->domain), domain);
	loop_deferred_init(&c->finish, finish, c);
	for (size_t i = 0; i < c->n; i++)
		memcpy(c->services[i].name, names->v[i], EDGE_CONFIG_NAME_BYTES);
	c->n_asking = c->n + 1; /* one for this loop, so that it ends behind it */
	for (size_t i = 0; i < c->n; i++)
		look_up(c, i);
	if (--c->n_asking == 0)
		loop_defer(env->loop, &c->finish);
	return c;
}

void edge_config_cancel(struct edge_config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		dns_cancel(c->look_ups[i].query);
	loop_defer_cancel(&c->finish);
	free(c);
}
