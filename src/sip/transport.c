/* All flows and listeners of the SIP module, and the way to a flow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf_store.h"
#include "sip/flow_impl.h"

static struct slice remote_key(const struct htab_node *node)
{
	return addr_key(&CONTAINER_OF(node, struct flow, by_remote)->conn.remote);
}

struct transport *transport_new(struct env *env, const struct transport_events *events, void *arg)
{
	struct transport *t = calloc(1, sizeof(*t));
	uint8_t seed[16];

	if (!t)
		return NULL;
	t->env = env;
	t->events = events;
	t->arg = arg;
	list_init(&t->listeners);
	list_init(&t->flows);
	list_init(&t->udp_idle);
	net_random(seed, sizeof(seed));
	t->limits = net_limits_new(seed);
	t->limits_traversal = net_limits_new(seed);
	t->limits_udp = net_limits_new(seed);
	if (htab_init(&t->by_remote, seed, remote_key) < 0 || !t->limits || !t->limits_traversal ||
	    !t->limits_udp) {
		transport_free(t);
		return NULL;
	}
	return t;
}

void transport_free(struct transport *t)
{
	if (!t)
		return;
	t->freeing = true;
	LIST_FOREACH_SAFE (it, &t->flows) {
		struct flow *f = CONTAINER_OF(it, struct flow, node);

		flow_close(f, "shut down");
		flow_bury(f);
	}
	listeners_free(t);
	htab_fini(&t->by_remote);
	net_limits_free(t->limits);
	net_limits_free(t->limits_traversal);
	net_limits_free(t->limits_udp);
	flow_udp_free_batch(t);
	conf_unref(t->snap);
	free(t->name);
	free(t);
}

int transport_set_name(struct transport *t, const char *system_name)
{
	char *name = system_name ? strdup(system_name) : NULL;

	if (system_name && !name)
		return -ENOMEM;
	free(t->name);
	t->name = name;
	return 0;
}

static void set_limits(struct transport *t)
{
	struct net_limits_conf c = { .max_total = t->conf->max_connections,
				     .max_per_source = t->conf->max_connections_per_source,
				     .new_per_second = t->conf->accept_rate };

	net_limits_configure(t->limits, &c);
	net_limits_configure(t->limits_traversal, &c);
	/* Datagrams cannot be put off by a rate: a forged flood would shut out the phones. */
	c.new_per_second = 0;
	net_limits_configure(t->limits_udp, &c);
}

int transport_configure(struct transport *t, const struct conf_snapshot *snap, struct buf *errors)
{
	const struct conf_snapshot *old = t->snap;
	int error;

	t->snap = conf_ref(snap);
	t->conf = conf_get(snap, "sip", NULL);
	error = t->draining ? 0 : listeners_configure(t, snap, errors);
	if (error && old) {
		conf_unref(t->snap);
		t->snap = old;
		t->conf = conf_get(old, "sip", NULL);
		return error;
	}
	conf_unref(old);
	set_limits(t);
	return error;
}

int transport_prepare(struct transport *t, const struct conf_snapshot *next, struct buf *errors)
{
	return t->draining ? 0 : listeners_prepare(t, next, errors);
}

void transport_drain(struct transport *t)
{
	t->draining = true;
	listeners_drain(t);
}

struct flow *transport_connect(struct transport *t, const struct flow_dest *dest, int *error)
{
	if (!t->conf || dest->addr.family == ADDR_NONE || dest->addr.port == 0) {
		*error = -EINVAL;
		return NULL;
	}
	if (dest->transport == CONN_UDP)
		return flow_udp_to(t, dest, error);
	return flow_stream_connect(t, dest, error);
}

static bool same_name(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool leads_to(const struct flow *f, const struct flow_dest *dest)
{
	return f->conn.transport == dest->transport && f->role == dest->role &&
	       same_name(f->conn.zone, dest->zone) &&
	       (dest->transport != CONN_TLS || same_name(f->s.server_name, dest->server_name));
}

struct flow *transport_flow_to(struct transport *t, const struct flow_dest *dest, int *error)
{
	struct htab_node *it = htab_get(&t->by_remote, addr_key(&dest->addr));

	for (; it && dest->transport != CONN_UDP; it = htab_get_next(&t->by_remote, it)) {
		struct flow *f = CONTAINER_OF(it, struct flow, by_remote);

		if (leads_to(f, dest)) {
			*error = 0;
			return f;
		}
	}
	return transport_connect(t, dest, error);
}

struct flow *transport_flow(struct transport *t, uint64_t id)
{
	struct conn *c = conn_get(t->env->conns, id);
	struct flow *f;

	if (!c || c->kind != CONN_FLOW)
		return NULL;
	f = CONTAINER_OF(c, struct flow, conn);
	return f->t == t && f->state != FLOW_CLOSED ? f : NULL;
}
