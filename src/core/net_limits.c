/* Who may come in: totals, per source, and a token bucket over all. Pure: the caller brings the
 * time. */
#include <stdlib.h>

#include "base/htab.h"
#include "base/list.h"
#include "core/net.h"

struct source {
	struct htab_node node;
	struct addr net; /* IPv4 address or IPv6 /64, port 0 */
	uint32_t n_live;
};

struct net_limits {
	struct net_limits_conf conf;
	struct htab sources;
	uint32_t n_live;
	/* Thousandths of an entry, so that a rate per second fills by the millisecond. */
	uint64_t tokens;
	int64_t filled_ms;
	bool started;
};

static struct slice source_key(const struct htab_node *node)
{
	return addr_key(&CONTAINER_OF(node, struct source, node)->net);
}

/* One subscriber holds a whole /64: a smaller unit would let one host be millions of sources. */
static struct addr source_of(const struct addr *from)
{
	struct addr net = *from;

	net.port = 0;
	if (net.family == ADDR_IP6)
		memset(net.ip + 8, 0, 8);
	return net;
}

struct net_limits *net_limits_new(const uint8_t seed[16])
{
	struct net_limits *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	if (htab_init(&l->sources, seed, source_key) < 0) {
		free(l);
		return NULL;
	}
	return l;
}

void net_limits_free(struct net_limits *l)
{
	if (!l)
		return;
	HTAB_FOREACH_SAFE (it, &l->sources) {
		htab_del(&l->sources, it);
		free(CONTAINER_OF(it, struct source, node));
	}
	htab_fini(&l->sources);
	free(l);
}

static uint64_t bucket_size(const struct net_limits *l)
{
	return (uint64_t)l->conf.new_per_second * 2 * 1000;
}

void net_limits_configure(struct net_limits *l, const struct net_limits_conf *conf)
{
	l->conf = *conf;
	if (l->tokens > bucket_size(l))
		l->tokens = bucket_size(l);
}

static void fill_bucket(struct net_limits *l, int64_t now_ms)
{
	uint64_t elapsed;

	if (!l->started) {
		l->started = true;
		l->tokens = bucket_size(l);
		l->filled_ms = now_ms;
		return;
	}
	if (now_ms <= l->filled_ms)
		return;
	elapsed = (uint64_t)(now_ms - l->filled_ms);
	l->filled_ms = now_ms;
	/* Two seconds fill it whatever the rate: no need to multiply a long silence. */
	if (elapsed >= 2000)
		l->tokens = bucket_size(l);
	else
		l->tokens += elapsed * l->conf.new_per_second;
	if (l->tokens > bucket_size(l))
		l->tokens = bucket_size(l);
}

static struct source *find(const struct net_limits *l, const struct addr *net)
{
	struct htab_node *node = htab_get(&l->sources, addr_key(net));

	return node ? CONTAINER_OF(node, struct source, node) : NULL;
}

enum net_verdict net_limits_enter(struct net_limits *l, const struct addr *from, int64_t now_ms)
{
	struct addr net = source_of(from);
	struct source *s = find(l, &net);

	fill_bucket(l, now_ms);
	if (l->conf.max_total && l->n_live >= l->conf.max_total)
		return NET_OVER_TOTAL;
	/* Before the rate: a source over its own limit must not use up what others may have. */
	if (l->conf.max_per_source && s && s->n_live >= l->conf.max_per_source)
		return NET_OVER_SOURCE;
	if (l->conf.new_per_second && l->tokens < 1000)
		return NET_OVER_RATE;
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return NET_OVER_TOTAL;
		s->net = net;
		htab_add(&l->sources, &s->node);
	}
	if (l->conf.new_per_second)
		l->tokens -= 1000;
	s->n_live++;
	l->n_live++;
	return NET_OK;
}

void net_limits_leave(struct net_limits *l, const struct addr *from)
{
	struct addr net = source_of(from);
	struct source *s = find(l, &net);

	if (!s)
		return;
	l->n_live--;
	if (--s->n_live == 0) {
		htab_del(&l->sources, &s->node);
		free(s);
	}
}

const char *net_verdict_str(enum net_verdict v)
{
	static const char *const names[] = { "ok", "too many connections",
					     "too many connections from this source",
					     "too many new connections per second" };

	return names[v];
}
