/* Chat clients at E: life, limits, ends and the listing. */
#include "xmpp/c2s_edge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/net.h"
#include "core/stream_socket.h"
#include "core/trace.h"
#include "xmpp/c2s_edge_impl.h"

#define STRANGER_TREE_BYTES (32 * 1024)

static const char *const state_names[] = {
	[C2S_PLAIN] = "plain",	     [C2S_TLS] = "tls",		[C2S_OPENING] = "opening",
	[C2S_TAKING] = "taking",     [C2S_SASL] = "signing-in", [C2S_RESTART] = "restart",
	[C2S_RELAY] = "relay",	     [C2S_PARKING] = "parking", [C2S_PARKED] = "parked",
	[C2S_RESUMING] = "resuming", [C2S_OVER] = "over",
};

/* --- ends --- */

static void c2s_free(struct c2s *c)
{
	struct c2s_edge *edge = c->edge;

	if (c->take_id)
		edge->ops->cancel(edge->arg, c->take_id);
	idtab_del(&edge->ids, c->id);
	timer_stop(loop_timers(edge->env->loop), &c->timer);
	loop_defer_cancel(&c->later);
	list_del(&c->node);
	xmpp_free(c->client);
	xmpp_free(c->link);
	free(c->domain);
	free(c->from);
	free(c->lang);
	free(c->name);
	free(c);
}

static void run_later(void *arg)
{
	c2s_free(arg);
}

static void farewell_header(void *arg, const struct xmpp_header *h)
{
}

static void farewell_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
}

static void farewell_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition,
			    const char *why)
{
	struct c2s *c = arg;

	loop_defer(c->edge->env->loop, &c->later);
}

/* The client is gone, the server is given time to say its end. */
static const struct xmpp_stream_handler farewell_handler = {
	.header = farewell_header,
	.element = farewell_element,
	.closed = farewell_closed,
};

static void uncount(struct c2s *c)
{
	if (c->is_counted) {
		c->edge->stats.n_unauthenticated--;
		net_limits_leave(c->edge->strangers, &c->conn.remote);
	}
	c->is_counted = false;
	timer_stop(loop_timers(c->edge->env->loop), &c->timer);
}

void c2s_leave_link(struct c2s *c, bool proper)
{
	if (!c->link || !xmpp_socket(c->link))
		return;
	if (!proper) {
		xmpp_cut(c->link);
		return;
	}
	c->farewell = true;
	xmpp_stream_set_handler(c->link, &farewell_handler, c);
	if (c->client_is_full)
		xmpp_resume(c->link);
	xmpp_end(c->link);
}

void c2s_over(struct c2s *c, bool proper, const char *fmt, ...)
{
	struct c2s_edge *edge = c->edge;
	enum c2s_state was = c->state;
	char why[CONN_REASON_BYTES];
	va_list ap;

	if (was == C2S_OVER)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	c2s_count(c);
	c->state = C2S_OVER;
	uncount(c);
	edge->stats.n_open--;
	if (c->take_id && was == C2S_TAKING) {
		edge->ops->cancel(edge->arg, c->take_id);
		c->take_id = 0;
	}
	xmpp_cut(c->client);
	if (was >= C2S_PARKING)
		c2s_leave_parked(c, was, proper);
	else
		c2s_leave_link(c, proper);
	conn_end(edge->env->conns, &c->conn, "%s", why);
	if (!c->farewell)
		loop_defer(edge->env->loop, &c->later);
}

void c2s_trace(struct c2s *c, const char *code, const char *decided_by, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	trace_add(c->edge->env->trace, code, decided_by, &c->conn.remote, c->conn.session, "%s",
		  text);
	log_debug(c->edge->env->log, code, "session=%s %s", c->conn.session,
		  log_esc(slice_of(text)));
}

static void fail_client(struct c2s *c, enum xmpp_condition condition, const char *text)
{
	struct xmpp_header h = { .from = c->domain, .version = "1.0", .lang = "en" };

	xmpp_fail(c->client, condition, text, &h);
}

void c2s_refuse(struct c2s *c, enum xmpp_condition condition, const char *code,
		const char *decided_by, const char *fmt, ...)
{
	char why[CONN_REASON_BYTES];
	va_list ap;

	if (c->state == C2S_OVER)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	c->edge->stats.n_refused++;
	c2s_trace(c, code, decided_by, "%s", why);
	fail_client(c, condition, why);
	c2s_over(c, false, "%s", why);
}

void c2s_link_lost(struct c2s *c, const char *why)
{
	if (c->state == C2S_OVER)
		return;
	if (c->state < C2S_RESTART) {
		c2s_refuse(c, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.c2s.link-lost", NULL,
			   "connection to the inside lost: %s", why);
		return;
	}
	c2s_trace(c, "xmpp.c2s.link-lost", NULL, "connection to the inside lost: %s", why);
	c2s_over(c, false, "link lost: %s", why);
}

/* --- what the files share --- */

void c2s_set_state(struct c2s *c, enum c2s_state state)
{
	c->state = state;
	c2s_count(c);
}

void c2s_lock(struct c2s *c)
{
	if (!c->locked)
		xmpp_pause(c->client);
	c->locked = true;
}

void c2s_unlock(struct c2s *c)
{
	if (!c->locked)
		return;
	c->locked = false;
	xmpp_resume(c->client);
}

void c2s_count(struct c2s *c)
{
	const struct xmpp_stream_stats *s = xmpp_stream_stats(c->client);

	c->conn.rx_packets = s->n_in;
	c->conn.tx_packets = s->n_out;
	c->conn.rx_bytes = s->in_bytes;
	c->conn.tx_bytes = s->out_bytes;
	c->conn.state = state_names[c->state];
}

/* What C reads of its server (core_inner_limits), printed anew. */
static struct xml_stream_limits link_limits(const struct xmpp_conf *conf)
{
	struct xml_stream_limits l = xml_stream_default_limits;

	l.max_stanza_bytes = conf->stanza_bytes;
	l = xml_stream_limits_printed(&l);
	return xml_stream_limits_printed(&l);
}

void c2s_stream_conf(const struct c2s_edge *edge, bool is_client, bool authenticated,
		     struct xmpp_stream_conf *out)
{
	const struct xmpp_conf *conf = &edge->conf;

	*out = (struct xmpp_stream_conf){
		.timers = loop_timers(edge->env->loop),
		.pool = edge->pool,
		.content = XMPP_CLIENT,
		.limits = xml_stream_default_limits,
		.send_timeout_ms = conf->send_timeout_ms,
		.sleep_ms = C2S_SLEEP_MS,
	};
	out->limits.max_stanza_bytes =
		authenticated ? conf->stanza_bytes : conf->stanza_bytes_unauthenticated;
	/* SASL is text with little around it: strangers need no room for wide trees. */
	if (!authenticated)
		out->limits.max_tree_bytes = 2 * out->limits.max_stanza_bytes + STRANGER_TREE_BYTES;
	if (!is_client) {
		out->limits = link_limits(conf);
		return;
	}
	out->rate_bytes = conf->rate_bytes;
	out->burst_bytes = conf->burst_bytes;
	out->idle_ms = conf->idle_ms;
}

void c2s_authenticated(struct c2s *c)
{
	struct xmpp_stream_conf conf;

	uncount(c);
	c->edge->stats.n_auth_good++;
	c2s_stream_conf(c->edge, true, true, &conf);
	xmpp_set_limits(c->client, &conf.limits);
}

/* --- a new client --- */

static void auth_late(struct c2s *c)
{
	/* A client that is in the middle of its handshake cannot hear anything. */
	if (c->state == C2S_TLS) {
		c2s_trace(c, "xmpp.c2s.auth-timeout", "[xmpp] auth-timeout", "no TLS in time");
		c2s_over(c, false, "no TLS in time");
		return;
	}
	c2s_refuse(c, XMPP_CONNECTION_TIMEOUT, "xmpp.c2s.auth-timeout", "[xmpp] auth-timeout",
		   "not signed in within %u s", c->edge->conf.auth_timeout_ms / 1000);
}

static void on_timer(void *arg)
{
	struct c2s *c = arg;

	if (c->state < C2S_RESTART)
		auth_late(c);
	else
		c2s_park_tick(c);
}

/* `turnpikectl close`: the session ends inside too. */
static void close_conn(struct conn *conn, const char *reason)
{
	struct c2s *c = CONTAINER_OF(conn, struct c2s, conn);

	if (c->state == C2S_OVER)
		return;
	fail_client(c, XMPP_POLICY_VIOLATION, "closed by the administrator");
	c2s_over(c, true, "%s", reason);
}

static void fill_conn(struct conn *conn, const struct stream *s)
{
	uint8_t random[16];

	*conn = (struct conn){
		.kind = CONN_XMPP,
		.transport = s->is_tls ? CONN_TLS : CONN_TCP,
		.local = s->local,
		.remote = s->remote,
		.state = s->is_tls ? state_names[C2S_OPENING] : state_names[C2S_PLAIN],
		.close = close_conn,
	};
	net_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(conn->session + 2 * i, 3, "%02x", random[i]);
	slice_copy(conn->zone, sizeof(conn->zone), SLICE("chat"));
}

struct refusal {
	enum xmpp_condition condition;
	const char *code, *decided_by, *why;
};

/* What is over a bound gets its error and no entry. */
static void turn_away(struct c2s_edge *edge, struct stream *s, const struct refusal *r)
{
	struct xmpp_header h = { .version = "1.0", .lang = "en" };
	struct xmpp_stream_conf conf;
	struct xmpp_stream *x;
	struct conn conn;

	edge->stats.n_refused++;
	fill_conn(&conn, s);
	trace_add(edge->env->trace, r->code, r->decided_by, &conn.remote, NULL, "%s", r->why);
	conn_refused(edge->env->conns, &conn, "%s", r->why);
	c2s_stream_conf(edge, true, false, &conf);
	x = xmpp_stream_new(&conf, s, &c2s_client_handler, NULL);
	if (!x)
		return;
	xmpp_fail(x, r->condition, r->why, &h);
	xmpp_free(x);
}

static const struct refusal draining = { XMPP_SYSTEM_SHUTDOWN, "xmpp.c2s.draining", NULL,
					 "this server is shutting down" };
static const struct refusal too_many = { XMPP_RESOURCE_CONSTRAINT,
					 "xmpp.c2s.too-many-unauthenticated",
					 "[xmpp] max-unauthenticated",
					 "too many clients are signing in" };
static const struct refusal too_many_here = { XMPP_RESOURCE_CONSTRAINT,
					      "xmpp.c2s.too-many-unauthenticated",
					      "[xmpp] max-unauthenticated-per-source",
					      "too many clients of this address are signing in" };
static const struct refusal no_room = { XMPP_RESOURCE_CONSTRAINT, "xmpp.c2s.no-room", NULL,
					"no room for another stream" };

static struct c2s *c2s_new(struct c2s_edge *edge, struct stream *s)
{
	struct c2s *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->edge = edge;
	fill_conn(&c->conn, s);
	if (conn_add(edge->env->conns, &c->conn) < 0) {
		free(c);
		return NULL;
	}
	c->is_direct = s->is_tls;
	c->state = s->is_tls ? C2S_OPENING : C2S_PLAIN;
	timer_init(&c->timer, on_timer, c);
	loop_deferred_init(&c->later, run_later, c);
	return c;
}

/* NULL: it may come in, and counts. */
static const struct refusal *enter(struct c2s_edge *edge, const struct addr *from)
{
	enum net_verdict v;

	if (edge->draining)
		return &draining;
	v = net_limits_enter(edge->strangers, from, loop_now_ms(edge->env->loop));
	if (v == NET_OK)
		return NULL;
	return v == NET_OVER_SOURCE ? &too_many_here : &too_many;
}

void c2s_edge_accept(struct c2s_edge *edge, struct stream *s)
{
	const struct refusal *refusal = enter(edge, &s->remote);
	struct xmpp_stream_conf conf;
	struct addr from = s->remote;
	struct c2s *c;

	edge->stats.n_total++;
	if (refusal) {
		turn_away(edge, s, refusal);
		return;
	}
	c = c2s_new(edge, s);
	if (!c) {
		net_limits_leave(edge->strangers, &from);
		turn_away(edge, s, &no_room);
		return;
	}
	c2s_stream_conf(edge, true, false, &conf);
	c->client = xmpp_stream_new(&conf, s, &c2s_client_handler, c);
	if (!c->client) {
		net_limits_leave(edge->strangers, &from);
		conn_end(edge->env->conns, &c->conn, "out of memory");
		free(c);
		return;
	}
	list_add_tail(&edge->streams, &c->node);
	c->is_counted = true;
	edge->stats.n_unauthenticated++;
	edge->stats.n_open++;
	timer_start(conf.timers, &c->timer, edge->conf.auth_timeout_ms);
}

/* --- the machine --- */

struct c2s_edge *c2s_edge_new(struct env *env, const struct c2s_edge_ops *ops, void *arg)
{
	struct c2s_edge *edge = calloc(1, sizeof(*edge));
	uint8_t seed[16];

	if (!edge)
		return NULL;
	net_random(seed, sizeof(seed));
	edge->env = env;
	edge->ops = ops;
	edge->arg = arg;
	list_init(&edge->streams);
	idtab_init(&edge->ids, C2S_PARK_IDS);
	net_random(&edge->salt, sizeof(edge->salt));
	heap_init(&edge->heap, loop_timers(env->loop));
	edge->pool = xml_pool_new();
	edge->strangers = net_limits_new(seed);
	if (!edge->pool || !edge->strangers) {
		xml_pool_free(edge->pool);
		net_limits_free(edge->strangers);
		free(edge);
		return NULL;
	}
	return edge;
}

void c2s_edge_free(struct c2s_edge *edge)
{
	if (!edge)
		return;
	LIST_FOREACH_SAFE (node, &edge->streams) {
		struct c2s *c = CONTAINER_OF(node, struct c2s, node);

		c2s_forget_peer(c);
		c2s_over(c, false, "shutting down");
		c2s_free(c);
	}
	idtab_fini(&edge->ids);
	heap_fini(&edge->heap);
	xml_pool_free(edge->pool);
	net_limits_free(edge->strangers);
	free(edge);
}

void c2s_edge_configure(struct c2s_edge *edge, const struct xmpp_conf *conf)
{
	struct net_limits_conf limits = { .max_total = conf->max_unauthenticated,
					  .max_per_source = conf->max_unauthenticated_source };
	struct xmpp_stream_conf sc;

	edge->conf = *conf;
	net_limits_configure(edge->strangers, &limits);
	LIST_FOREACH (node, &edge->streams) {
		struct c2s *c = CONTAINER_OF(node, struct c2s, node);

		if (c->state == C2S_OVER)
			continue;
		c2s_stream_conf(edge, true, c->state >= C2S_RESTART, &sc);
		xmpp_configure(c->client, &sc);
		xmpp_set_limits(c->client, &sc.limits);
		c2s_park_arm(c);
		if (!c->link)
			continue;
		c2s_stream_conf(edge, false, true, &sc);
		xmpp_configure(c->link, &sc);
		xmpp_set_limits(c->link, &sc.limits);
	}
}

void c2s_edge_domain_gone(struct c2s_edge *edge, const char *domain)
{
	LIST_FOREACH_SAFE (node, &edge->streams) {
		struct c2s *c = CONTAINER_OF(node, struct c2s, node);

		if (c->state == C2S_OVER || !c->domain || strcmp(c->domain, domain) != 0)
			continue;
		c2s_trace(c, "xmpp.c2s.host-gone", "[domain]", "%s is not served any more", domain);
		fail_client(c, XMPP_HOST_GONE, NULL);
		c2s_over(c, true, "%s is not served any more", domain);
	}
}

void c2s_edge_peer_lost(struct c2s_edge *edge, tunnel_peer peer)
{
	LIST_FOREACH_SAFE (node, &edge->streams) {
		struct c2s *c = CONTAINER_OF(node, struct c2s, node);

		if (peer == 0 || c->peer != peer)
			continue;
		c2s_forget_peer(c);
		c2s_link_lost(c, "C is not reachable");
	}
}

void c2s_edge_drain(struct c2s_edge *edge)
{
	edge->draining = true;
}

size_t c2s_edge_count(const struct c2s_edge *edge)
{
	return edge->stats.n_open;
}

struct c2s_edge_stats c2s_edge_stats(const struct c2s_edge *edge)
{
	return edge->stats;
}

static void tls_text(const struct c2s *c, char *out, size_t size)
{
	struct stream *s = xmpp_socket(c->client);
	SSL *ssl = s ? stream_ssl(s) : NULL;

	out[0] = '\0';
	if (ssl && SSL_is_init_finished(ssl))
		snprintf(out, size, "%s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
}

void c2s_edge_each(const struct c2s_edge *edge, void (*fn)(const struct xmpp_listing *l, void *arg),
		   void *arg)
{
	LIST_FOREACH_SAFE (node, &edge->streams) {
		struct c2s *c = CONTAINER_OF(node, struct c2s, node);
		struct stream *s = xmpp_socket(c->client);
		char tls[96];

		if (c->state == C2S_OVER)
			continue;
		c2s_count(c);
		tls_text(c, tls, sizeof(tls));
		fn(
			&(struct xmpp_listing){
				.conn = &c->conn,
				.domain = c->domain ? c->domain : "",
				.remote = "",
				.tls = tls,
				.auth = c->state >= C2S_RESTART ? c->mechanism : "",
				.direction = "in",
				.cert_expires_s =
					s && stream_ssl(s) ? tls_peer_expires_s(stream_ssl(s)) : 0,
				.resumable = c->resumable,
				.last_error = "",
				.stats = xmpp_stream_stats(c->client),
			},
			arg);
	}
}
