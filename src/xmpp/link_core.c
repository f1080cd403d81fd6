/*
 * C's end of the link: connections that wait at each E for somebody to take them.
 *
 * A peer is dialled while its tunnel is up. As many connections as are missing are dialled at once;
 * when one fails, the next try waits a random time of 0 to 0.2 s, doubled up to 30 s, until one has
 * stood for a while or was taken. Connections that E takes as soon as they come show that more wait
 * there: for some seconds more are kept. What comes back from parked streams is kept up to the same
 * number.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/dns.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/stream_socket.h"
#include "core/trace.h"
#include "xmpp/link.h"
#include "xmpp/link_conn.h"

#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 30000
#define STEADY_MS    2000 /* who closes an idle one earlier refuses us */
#define BOOST_MS     1000 /* half of what was kept more goes in that time */
#define BOOST_TIMES  4
#define MAX_DIALLING 64
#define WHY_BYTES    200

struct core_peer { /* an E; lives as long as the link */
	struct list node;
	struct link_core *link;
	tunnel_peer id;
	char name[96];
	char host[254];
	bool wanted, up;
	struct dns_query *query;
	struct addr addrs[DNS_MAX_ADDRS];
	size_t n_addrs;
	size_t at;	   /* modulo n_addrs: the address that is dialled, until it fails */
	bool asked;	   /* the names were looked up for this round */
	struct list conns; /* all but those that are taken */
	struct list taken;
	size_t n_dialling, n_idle, n_taken;
	size_t n_pairs; /* of n_taken */
	size_t boost;
	unsigned n_failures;
	struct timer retry, steady, calm;
	int64_t taken_ms; /* the last one */
	uint64_t n_total, n_failed_total;
	char last_error[WHY_BYTES];
};

struct link_core {
	struct env *env;
	const struct link_core_handler *handler;
	void *arg;
	const struct tunnel_ops *tunnel;
	void *tunnel_self;
	struct list peers;
	bool on, draining;
	uint16_t port;
	uint32_t n_keep, n_max;
	struct conf_ports source;
	char tls[128];
};

static void fill(struct core_peer *p);

static struct timerq *timers(const struct link_core *l)
{
	return loop_timers(l->env->loop);
}

static int64_t now_ms(const struct link_core *l)
{
	return loop_now_ms(l->env->loop);
}

/* --- good and bad --- */

static void works(struct core_peer *p)
{
	struct link_core *l = p->link;

	p->n_failures = 0;
	p->last_error[0] = '\0';
	timer_stop(timers(l), &p->retry);
	alarm_clear(l->env->alarms, "xmpp-link-down", p->name);
}

static void on_steady(void *arg)
{
	struct core_peer *p = arg;

	if (p->n_idle > 0)
		works(p);
}

static void on_retry(void *arg)
{
	struct core_peer *p = arg;

	p->asked = false;
	fill(p);
}

static bool may_dial(const struct core_peer *p)
{
	return p->link->on && !p->link->draining && p->wanted && p->up;
}

static void raise_down(struct core_peer *p)
{
	alarm_raise(p->link->env->alarms, "xmpp-link-down", p->name, ALARM_ERROR,
		    "Check that this box reaches pool-port of E from pool-source-ports, that both "
		    "boxes have [xmpp] pool-tls of one CA, and that the certificate here has the "
		    "name of this box's [tunnel-peer] on E or its [system] name.",
		    "no connection for chat streams to %s: %s", p->name, p->last_error);
}

/* Full jitter. Several that fail at once are one failure. */
static void failed(struct core_peer *p, const char *why)
{
	struct link_core *l = p->link;
	unsigned n = p->n_failures < 16 ? p->n_failures : 16;
	uint64_t bound = RETRY_MIN_MS << n, at;

	p->n_failed_total++;
	slice_copy(p->last_error, sizeof(p->last_error), slice_of(why));
	log_info(l->env->log, "xmpp.link.failed", "peer=%s reason=%s", p->name,
		 log_esc(slice_of(why)));
	if (!may_dial(p))
		return;
	if (p->n_idle == 0)
		raise_down(p);
	if (timer_armed(&p->retry))
		return;
	p->n_failures++;
	p->at++;
	net_random(&at, sizeof(at));
	bound = bound < RETRY_MAX_MS ? bound : RETRY_MAX_MS;
	timer_start(timers(l), &p->retry, (int64_t)(at % (bound + 1)));
}

/* --- one connection --- */

static void on_gone(struct link_conn *c, const char *why)
{
	struct core_peer *p = c->peer;
	enum link_state state = c->state;
	bool early = now_ms(p->link) - c->idle_ms < STEADY_MS;

	if (state == LINK_TAKEN) {
		p->n_taken--;
		p->n_pairs -= c->is_pair;
		fill(p); /* it may have been the last that pool-max allows */
		return;
	}
	if (state == LINK_IDLE)
		p->n_idle--;
	else
		p->n_dialling--;
	/* Closed here: drained, or settings that are no more. */
	if (c->why)
		return;
	if (state == LINK_CONNECTING || (early && !c->was_taken))
		failed(p, why);
	fill(p);
}

static void become_taken(struct link_conn *c, const struct preface *preface)
{
	struct core_peer *p = c->peer;
	struct link_core *l = p->link;
	size_t most = (size_t)BOOST_TIMES * l->n_keep;

	timer_stop(timers(l), &c->timer);
	link_conn_set_state(c, LINK_TAKEN);
	link_conn_label(c, preface);
	list_del(&c->node);
	list_add_tail(&p->taken, &c->node);
	p->n_taken++;
	p->n_pairs += c->is_pair;
	p->n_total++;
	p->taken_ms = now_ms(l);
	if (p->boost < most)
		p->boost++;
	if (!timer_armed(&p->calm))
		timer_start(timers(l), &p->calm, BOOST_MS);
}

/* Everything is known again in a while. */
static void on_calm(void *arg)
{
	struct core_peer *p = arg;

	p->boost /= 2;
	if (p->boost > 0)
		timer_start(timers(p->link), &p->calm, BOOST_MS);
}

/* Whoever has domains enough could else take the connections of all who chat. */
static bool may_have_pair(const struct core_peer *p)
{
	return 2 * p->n_pairs < p->link->n_max;
}

static void refuse_pair(struct link_conn *c, const struct preface *preface)
{
	const char *why = "streams of pairs have half of pool-max";
	struct core_peer *p = c->peer;

	trace_add(c->env->trace, "xmpp.link.pairs", "[xmpp] pool-max", &c->conn.remote, NULL,
		  "%s, %s and %s: %s", p->name, preface->local, preface->remote, why);
	link_conn_close(c, why);
	fill(p);
}

static void give(struct link_conn *c, const struct preface *preface)
{
	struct core_peer *p = c->peer;
	struct link_core *l = p->link;
	struct stream *s = c->stream;

	if (preface->kind == PREFACE_S2S && !may_have_pair(p)) {
		refuse_pair(c, preface);
		return;
	}
	p->n_idle--;
	become_taken(c, preface);
	works(p);
	stream_set_handler(s, NULL, NULL);
	if (preface->kind == PREFACE_C2S)
		l->handler->c2s(l->arg, p->id, preface, s);
	else if (preface->kind == PREFACE_RESUME)
		l->handler->resume(l->arg, p->id, preface, s);
	else
		l->handler->s2s(l->arg, p->id, preface, s);
	/* What came behind the preface. */
	if (s->state == STREAM_OPEN && evbuffer_get_length(stream_in(s)) > 0)
		stream_got(s);
	fill(p);
}

static void refuse(struct link_conn *c, const char *why)
{
	struct core_peer *p = c->peer;

	trace_add(c->env->trace, "xmpp.link.protocol", "docs/protocol/xmpp-link.md",
		  &c->conn.remote, NULL, "%s: %s", p->name, why);
	link_conn_close(c, why);
	failed(p, why);
	fill(p);
}

/* What E may say to an idle connection. */
static bool takes(enum preface_kind kind)
{
	return kind == PREFACE_C2S || kind == PREFACE_S2S || kind == PREFACE_RESUME;
}

static void on_readable(void *arg)
{
	struct link_conn *c = arg;
	struct preface p;
	const char *why;
	int used = link_conn_read(c, &p, &why);

	if (used < 0)
		refuse(c, why);
	else if (used > 0 && !takes(p.kind))
		refuse(c, "E said what has no place on an idle connection");
	else if (used > 0)
		give(c, &p);
	else if (stream_eof(c->stream))
		stream_break(c->stream, "closed by E: it does not know this box, or it stops");
}

static void on_opened(void *arg)
{
	struct link_conn *c = arg;
	struct core_peer *p = c->peer;

	p->n_dialling--;
	p->n_idle++;
	link_conn_set_state(c, LINK_IDLE);
	timer_start(timers(p->link), &p->steady, STEADY_MS);
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	/* The watch does it all. */
}

static const struct stream_handler stream_handler = { .opened = on_opened,
						      .readable = on_readable,
						      .closed = on_closed };

static void on_unsent(void *arg)
{
	struct link_conn *c = arg;

	if (evbuffer_get_length(stream_out(c->stream)) > 0)
		link_conn_close(c, "E does not take the last words of a stream");
}

bool link_core_keeps(const struct link_core *l, struct stream *s)
{
	const struct core_peer *p = link_conn_of(s)->peer;

	/* An E that takes no new ones keeps what there is. */
	return !l->draining && p->wanted && (!p->up || p->n_idle < l->n_keep + p->boost);
}

void link_core_give_back(struct link_core *l, struct stream *s)
{
	struct link_conn *c = link_conn_of(s);
	struct core_peer *p = c->peer;

	p->n_taken--;
	p->n_idle++;
	c->was_taken = true;
	link_conn_set_state(c, LINK_IDLE);
	list_del(&c->node);
	list_add_tail(&p->conns, &c->node);
	stream_set_handler(s, &stream_handler, c);
	timer_init(&c->timer, on_unsent, c);
	timer_start(timers(l), &c->timer, LINK_HANDSHAKE_MS);
	if (stream_eof(s))
		link_conn_close(c, "closed by E");
	fill(p);
}

/* --- dialling --- */

static struct stream *connect_to(struct core_peer *p, const struct stream_handler *h, void *arg,
				 int *error)
{
	struct link_core *l = p->link;
	struct stream_connect c = {
		.to = p->addrs[p->at % p->n_addrs],
		.first_port = l->source.first,
		.last_port = l->source.last,
		.timeout_ms = LINK_HANDSHAKE_MS,
		.tls = l->tls,
		.server_name = p->host,
		.verify = true,
		.resume = true,
		.abbreviate = true,
		.keepalive = true,
	};

	c.to.port = l->port;
	return stream_connect(l->env, &c, h, arg, error);
}

/* The stream of a connection that is entered and has its hello; the handler is the caller's. */
static struct link_conn *dial(struct core_peer *p, const struct preface *hello,
			      const struct stream_handler *h, void *arg, int *error)
{
	struct link_core *l = p->link;
	struct stream *s = connect_to(p, h, arg, error);
	struct link_conn *c;

	if (!s)
		return NULL;
	*error = link_conn_say(s, hello);
	c = *error ? NULL : link_conn_new(l->env, s, LINK_CONNECTING, l, on_gone);
	if (!c) {
		*error = *error ? *error : -ENOMEM;
		stream_abort(s);
		return NULL;
	}
	c->peer = p;
	slice_copy(c->conn.zone, sizeof(c->conn.zone), slice_of(p->name));
	return c;
}

static bool dial_idle(struct core_peer *p)
{
	struct preface hello = { .kind = PREFACE_IDLE };
	char why[WHY_BYTES];
	struct link_conn *c;
	int error;

	c = dial(p, &hello, &stream_handler, NULL, &error);
	if (!c) {
		snprintf(why, sizeof(why), "cannot connect: %s", strerror(-error));
		failed(p, why);
		return false;
	}
	stream_set_handler(c->stream, &stream_handler, c);
	list_add_tail(&p->conns, &c->node);
	p->n_dialling++;
	return true;
}

static size_t n_all(const struct core_peer *p)
{
	return p->n_dialling + p->n_idle + p->n_taken;
}

static void on_resolved(const struct dns_result *r, void *arg)
{
	struct core_peer *p = arg;
	char why[WHY_BYTES];

	p->query = NULL;
	if (r->status < 0 || r->n == 0) {
		snprintf(why, sizeof(why), "cannot resolve %.100s: %s", p->host,
			 strerror(r->status < 0 ? -r->status : ENOENT));
		failed(p, why);
		return;
	}
	p->n_addrs = r->n;
	for (size_t i = 0; i < r->n; i++)
		p->addrs[i] = r->addrs[i].addr;
	p->asked = true;
	fill(p);
}

/* As many as are missing, unless the last one failed or the name must be looked up. */
static void fill(struct core_peer *p)
{
	struct link_core *l = p->link;
	size_t want = l->n_keep + p->boost;

	if (!may_dial(p) || timer_armed(&p->retry) || p->query)
		return;
	if (!p->asked) {
		p->query = dns_lookup_host(l->env->dns, p->host, l->port, DNS_ANY_FAMILY,
					   on_resolved, p);
		return;
	}
	while (p->n_idle + p->n_dialling < want && p->n_dialling < MAX_DIALLING &&
	       n_all(p) < l->n_max)
		if (!dial_idle(p))
			return;
}

static struct core_peer *find_peer(const struct link_core *l, tunnel_peer id)
{
	LIST_FOREACH (it, &l->peers) {
		struct core_peer *p = CONTAINER_OF(it, struct core_peer, node);

		if (p->id == id)
			return p;
	}
	return NULL;
}

struct stream *link_core_open(struct link_core *l, tunnel_peer to, const struct preface *preface,
			      const struct stream_handler *h, void *arg, int *error)
{
	struct core_peer *p = find_peer(l, to);
	struct link_conn *c;

	*error = -EPIPE;
	if (!p || !may_dial(p) || p->n_addrs == 0)
		return NULL;
	*error = -EAGAIN;
	if (n_all(p) >= l->n_max || (preface->kind == PREFACE_S2S && !may_have_pair(p)))
		return NULL;
	c = dial(p, preface, h, arg, error);
	if (!c)
		return NULL;
	become_taken(c, preface);
	return c->stream;
}

/* --- peers --- */

static void close_idle(struct core_peer *p, const char *why)
{
	while (!list_empty(&p->conns))
		link_conn_close(CONTAINER_OF(list_first(&p->conns), struct link_conn, node), why);
}

static void rest(struct core_peer *p)
{
	struct link_core *l = p->link;

	dns_cancel(p->query);
	p->query = NULL;
	timer_stop(timers(l), &p->retry);
	timer_stop(timers(l), &p->steady);
	alarm_clear(l->env->alarms, "xmpp-link-down", p->name);
}

static struct core_peer *obtain_peer(struct link_core *l, const struct tunnel_peer_info *info)
{
	struct core_peer *p = find_peer(l, info->id);

	if (p || !(p = calloc(1, sizeof(*p))))
		return p;
	p->link = l;
	p->id = info->id;
	slice_copy(p->name, sizeof(p->name), slice_of(info->name));
	list_init(&p->conns);
	list_init(&p->taken);
	timer_init(&p->retry, on_retry, p);
	timer_init(&p->steady, on_steady, p);
	timer_init(&p->calm, on_calm, p);
	list_add_tail(&l->peers, &p->node);
	return p;
}

static void look_at_peer(struct link_core *l, const struct tunnel_peer_info *info)
{
	struct core_peer *p = obtain_peer(l, info);

	if (!p)
		return;
	p->wanted = info->host != NULL;
	if (info->host && strcmp(info->host, p->host) != 0) {
		slice_copy(p->host, sizeof(p->host), slice_of(info->host));
		p->asked = false;
		p->n_addrs = 0;
		dns_cancel(p->query);
		p->query = NULL;
		close_idle(p, "E has another address");
	}
	if (!may_dial(p))
		rest(p);
	if (!p->wanted || !l->on)
		close_idle(p, "not wanted any more");
	fill(p);
}

static void look_at_peers(struct link_core *l)
{
	struct tunnel_peer_info info;

	for (size_t i = 0; l->tunnel && l->tunnel->peer(l->tunnel_self, i, &info); i++)
		look_at_peer(l, &info);
}

void link_core_peer_state(struct link_core *l, tunnel_peer peer, bool up)
{
	struct core_peer *p;

	look_at_peers(l);
	p = find_peer(l, peer);
	if (!p || p->up == up)
		return;
	p->up = up;
	p->asked = false;
	if (!up)
		rest(p);
	fill(p);
}

void link_core_peer_lost(struct link_core *l, tunnel_peer peer)
{
	struct core_peer *p = find_peer(l, peer);
	const char *why = "the tunnel to E is down";

	if (!p)
		return;
	close_idle(p, why);
	/* Owners may open new ones meanwhile: those come behind. */
	for (size_t n = p->n_taken; n > 0 && !list_empty(&p->taken); n--)
		stream_break(CONTAINER_OF(list_first(&p->taken), struct link_conn, node)->stream,
			     why);
}

/* --- life --- */

struct link_core *link_core_new(struct env *env, const struct link_core_handler *h, void *arg)
{
	struct link_core *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->env = env;
	l->handler = h;
	l->arg = arg;
	list_init(&l->peers);
	return l;
}

void link_core_configure(struct link_core *l, const struct xmpp_conf *conf)
{
	uint16_t port = (uint16_t)conf->pool_port;
	const char *tls = conf->pool_tls ? conf->pool_tls : "";
	bool moved = l->port != port || strcmp(l->tls, tls) != 0;

	l->on = xmpp_conf_on(conf) && tls[0];
	l->port = port;
	l->n_keep = conf->pool_idle;
	l->n_max = conf->pool_max;
	l->source = conf->pool_source_ports;
	slice_copy(l->tls, sizeof(l->tls), slice_of(tls));
	LIST_FOREACH (it, &l->peers) {
		struct core_peer *p = CONTAINER_OF(it, struct core_peer, node);

		/* What was wrong may be right now. */
		timer_stop(timers(l), &p->retry);
		p->asked = false;
		if (moved)
			close_idle(p, "[xmpp] has changed");
	}
	look_at_peers(l);
}

void link_core_set_tunnel(struct link_core *l, const struct tunnel_ops *ops, void *self)
{
	l->tunnel = ops;
	l->tunnel_self = self;
}

void link_core_drain(struct link_core *l)
{
	l->draining = true;
	LIST_FOREACH (it, &l->peers) {
		struct core_peer *p = CONTAINER_OF(it, struct core_peer, node);

		rest(p);
		close_idle(p, "the daemon stops");
	}
}

static void peer_free(struct core_peer *p)
{
	struct link_core *l = p->link;

	close_idle(p, "the daemon stops");
	while (!list_empty(&p->taken))
		link_conn_forget(CONTAINER_OF(list_first(&p->taken), struct link_conn, node),
				 "the daemon stops");
	rest(p);
	timer_stop(timers(l), &p->calm);
	list_del(&p->node);
	free(p);
}

void link_core_free(struct link_core *l)
{
	if (!l)
		return;
	l->draining = true;
	LIST_FOREACH_SAFE (it, &l->peers)
		peer_free(CONTAINER_OF(it, struct core_peer, node));
	free(l);
}

static bool is_up(const struct core_peer *p)
{
	return p->n_idle > 0 || (p->n_total > 0 && now_ms(p->link) - p->taken_ms < STEADY_MS);
}

bool link_core_up(const struct link_core *l, tunnel_peer to)
{
	const struct core_peer *p = find_peer(l, to);

	return p && is_up(p);
}

json_t *link_core_json(const struct link_core *l)
{
	json_t *out = json_array();

	LIST_FOREACH (it, &l->peers) {
		const struct core_peer *p = CONTAINER_OF(it, const struct core_peer, node);

		json_array_append_new(
			out, json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:s}", "peer", p->name,
				       "host", p->host, "up", (int)is_up(p), "idle",
				       (json_int_t)p->n_idle, "taken", (json_int_t)p->n_taken,
				       "dialling", (json_int_t)p->n_dialling, "total",
				       (json_int_t)p->n_total, "failures",
				       (json_int_t)p->n_failed_total, "last_error", p->last_error));
	}
	return out;
}
