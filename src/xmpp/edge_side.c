/* E: clients' port, what C announces, and who hears of what. */
#include "xmpp/side.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "xmpp/s2s_tls.h"

#define MAX_SOURCES 65536 /* whose failures are remembered */
#define MINUTE_MS   60000

/* --- what the clients' machine asks for --- */

static bool op_domain(void *arg, const char *name, struct c2s_edge_domain *out)
{
	const struct xmpp_edge *e = arg;

	out->chat = xmpp_domains_find(e->domains, name, XMPP_DOMAIN_CHAT, &out->peer);
	return out->chat || xmpp_domains_find(e->domains, name, XMPP_DOMAIN_ANY, &out->peer);
}

static uint64_t op_take(void *arg, tunnel_peer from, const struct preface *p, uint32_t timeout_ms,
			void (*done)(void *ctx, struct stream *s, const char *why), void *ctx)
{
	const struct xmpp_edge *e = arg;

	return link_edge_wait(e->link, from, p, timeout_ms, done, ctx);
}

static void op_cancel(void *arg, uint64_t id)
{
	const struct xmpp_edge *e = arg;

	link_edge_cancel(e->link, id);
}

static void op_give_back(void *arg, struct stream *s)
{
	const struct xmpp_edge *e = arg;

	link_edge_give_back(e->link, s);
}

static void op_end(void *arg, tunnel_peer to, uint64_t stream, bool proper)
{
	struct xmpp_edge *e = arg;

	park_call_end(&e->parked, to, stream, proper);
}

static bool asks_certificate(const struct xmpp_edge *e)
{
	return e->conf->client_ca && e->conf->client_ca[0];
}

static int op_start_tls(void *arg, struct stream *s)
{
	const struct xmpp_edge *e = arg;
	struct stream_tls t = { .is_server = true,
				.tls = e->conf->tls,
				.ask = asks_certificate(e),
				.alpn = "xmpp-client",
				.timeout_ms = e->conf->auth_timeout_ms };

	return stream_start_tls(e->env, s, &t);
}

static struct rate_limit failure_limit(const struct xmpp_edge *e)
{
	return (struct rate_limit){ e->conf->failures_per_minute, MINUTE_MS };
}

static bool op_may_try(void *arg, const struct addr *from)
{
	struct xmpp_edge *e = arg;
	struct rate_key key = rate_key_of(e->failures, SLICE_NONE, SLICE_NONE, from);
	struct rate_limit limit = failure_limit(e);
	uint32_t retry_s;

	return rate_window_open(e->failures, &key, &limit, loop_now_ms(e->env->loop), &retry_s);
}

static void op_tried(void *arg, const struct addr *from, bool good)
{
	struct xmpp_edge *e = arg;
	struct rate_key key = rate_key_of(e->failures, SLICE_NONE, SLICE_NONE, from);
	struct rate_limit limit = failure_limit(e);
	uint32_t retry_s;

	/* A good one says nothing about the bad ones of others behind the same address. */
	if (!good)
		rate_window_take(e->failures, &key, &limit, loop_now_ms(e->env->loop), &retry_s);
}

void xmpp_session_of(const struct signin_ops *signin, void *self, const char *bare,
		     const struct addr *from, char *session)
{
	const struct signin_session *s;
	struct xmpp_jid jid;

	if (!signin || !xmpp_jid_parse(slice_of(bare), &jid))
		return;
	s = signin->of_user(self, jid.domain, jid.local, from);
	if (s)
		slice_copy(session, SIGNIN_ID_BYTES, slice_of(s->id));
}

static void op_user(void *arg, const char *bare, const struct addr *from, char *session)
{
	const struct xmpp_edge *e = arg;

	xmpp_session_of(e->signin, e->signin_self, bare, from, session);
}

static const struct c2s_edge_ops client_ops = {
	.domain = op_domain,
	.take = op_take,
	.cancel = op_cancel,
	.give_back = op_give_back,
	.end = op_end,
	.start_tls = op_start_tls,
	.may_try = op_may_try,
	.tried = op_tried,
	.user = op_user,
};

static void on_pair(void *arg, tunnel_peer from, const struct preface *p, struct stream *s)
{
	struct xmpp_edge *e = arg;

	federation_edge_take(e->federation, from, p, s);
}

static const struct link_edge_handler link_handler = { .s2s = on_pair };

/* --- the port for clients --- */

static void on_client(void *arg, struct stream *s)
{
	struct xmpp_edge *e = arg;

	c2s_edge_accept(e->clients, s);
}

static int listen_now(struct xmpp_edge *e, struct buf *errors)
{
	const struct xmpp_conf *c = e->conf;
	const struct stream_listener_conf l = {
		.tls = c->tls,
		.detect_tls = true,
		.verify = asks_certificate(e) ? TLS_VERIFY_ASK : TLS_VERIFY_NONE,
		.keepalive = true,
		.alpn = "xmpp-client", /* XEP-0368 */
		.kind = CONN_XMPP,
		.handshake_ms = c->auth_timeout_ms,
		.limits = { c->max_streams, c->max_per_source, c->new_per_second },
		.zone = "xmpp",
		.accepted = on_client,
		.arg = e,
	};

	return xmpp_listen_configure(&e->listen, &c->address,
				     xmpp_conf_on(c) && !e->draining ? c->port : 0, &l, errors);
}

/* --- what C announces --- */

static void check_certificate(void *arg, const char *domain, tunnel_peer from, bool chat,
			      bool federation)
{
	const struct xmpp_edge *e = arg;
	const char *names = e->conf->tls;

	if (chat && xmpp_conf_on(e->conf) && e->conf->port && names && names[0] &&
	    !s2s_tls_own(e->env->tls, names, domain))
		alarm_raise(e->env->alarms, "xmpp-certificate", domain, ALARM_WARNING,
			    "Put the domain into the certificate of [xmpp] tls, or add the name of "
			    "a [tls] section whose certificate has it.",
			    "no certificate of [xmpp] tls (%s) has the domain %s: clients will "
			    "refuse it",
			    names, domain);
	else
		alarm_clear(e->env->alarms, "xmpp-certificate", domain);
}

static void on_look(void *arg)
{
	struct xmpp_edge *e = arg;

	xmpp_domains_each(e->domains, check_certificate, e);
}

/* Who was up and is not: its streams are cut at once. */
static void look_at_peers(struct xmpp_edge *e)
{
	for (tunnel_peer id = 1; id <= XMPP_MAX_PEERS; id++) {
		bool up = xmpp_domains_is_up(e->domains, id);

		if (e->up[id] && !up) {
			c2s_edge_peer_lost(e->clients, id);
			link_edge_peer_lost(e->link, id);
		}
		e->up[id] = up;
	}
}

static void on_domains(void *arg, const char *domain)
{
	struct xmpp_edge *e = arg;
	tunnel_peer peer;

	loop_defer(e->env->loop, &e->look);
	if (!domain) {
		look_at_peers(e);
		return;
	}
	if (xmpp_domains_find(e->domains, domain, XMPP_DOMAIN_CHAT, &peer))
		return;
	c2s_edge_domain_gone(e->clients, domain);
	alarm_clear(e->env->alarms, "xmpp-certificate", domain);
}

/* --- what C asks for streams that are parked --- */

static void serve_resume(void *arg, struct tunnel_call *call, tunnel_peer from,
			 const json_t *params)
{
	struct xmpp_edge *e = arg;
	uint64_t stream;
	int status = -EINVAL;

	if (park_call_read(params, &stream))
		status = e->clients ? c2s_edge_resume(e->clients, from, stream) : -ENOENT;
	e->tunnel->reply(e->tunnel_self, call, status, NULL);
}

static void serve_end(void *arg, struct tunnel_call *call, tunnel_peer from, const json_t *params)
{
	struct xmpp_edge *e = arg;
	int status = -EINVAL;
	uint64_t stream;
	bool proper;

	/* An end with words comes on the link. */
	if (park_call_read(params, &stream) && park_call_read_how(params, &proper) && !proper)
		status = e->clients ? c2s_edge_cut(e->clients, from, stream) : -ENOENT;
	e->tunnel->reply(e->tunnel_self, call, status, NULL);
}

static int serve_calls(struct xmpp_edge *e)
{
	int error = e->tunnel->serve(e->tunnel_self, PARK_CALL_RESUME, serve_resume, e);

	return error ? error : e->tunnel->serve(e->tunnel_self, PARK_CALL_END, serve_end, e);
}

/* --- what C is told --- */

static bool has_pool(const struct xmpp_edge *e)
{
	return xmpp_conf_on(e->conf) && !e->draining;
}

static json_t *pool_item(const struct xmpp_edge *e)
{
	return json_pack("{s:I}", "port", (json_int_t)e->conf->pool_port);
}

static void each_item(void *arg, tunnel_peer to,
		      void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	json_t *item = has_pool(arg) ? pool_item(arg) : NULL;

	if (item)
		put(ctx, XMPP_EDGE_POOL, item);
	json_decref(item);
}

static const struct tunnel_source source = { .each = each_item };

static void tell(struct xmpp_edge *e)
{
	json_t *item = has_pool(e) ? pool_item(e) : NULL;

	if (e->tunnel && item)
		e->tunnel->put(e->tunnel_self, 0, XMPP_TABLE_EDGE, XMPP_EDGE_POOL, item);
	else if (e->tunnel)
		e->tunnel->del(e->tunnel_self, 0, XMPP_TABLE_EDGE, XMPP_EDGE_POOL);
	json_decref(item);
}

/* --- life --- */

static void use_snapshot(struct xmpp_edge *e, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = e->snap;

	e->snap = conf_ref(snap);
	e->conf = conf_get(snap, "xmpp", NULL);
	c2s_edge_configure(e->clients, e->conf);
	if (old)
		conf_unref(old);
}

struct xmpp_edge *xmpp_edge_new(struct env *env)
{
	struct xmpp_edge *e = calloc(1, sizeof(*e));
	uint8_t random[32];

	if (!e)
		return NULL;
	e->env = env;
	net_random(random, sizeof(random));
	loop_deferred_init(&e->look, on_look, e);
	park_calls_init(&e->parked, loop_timers(env->loop));
	xmpp_listen_init(&e->listen, env, "chat clients");
	e->failures = rate_new(random, MAX_SOURCES);
	e->link = link_edge_new(env, &link_handler, e);
	e->clients = c2s_edge_new(env, &client_ops, e);
	e->federation = e->link ? federation_edge_new(env, e->link) : NULL;
	if (!e->failures || !e->clients || !e->federation) {
		xmpp_edge_free(e);
		return NULL;
	}
	e->domains = federation_edge_domains(e->federation);
	return e;
}

static int apply(struct xmpp_edge *e, const struct conf_snapshot *snap, struct buf *errors)
{
	int link, clients, partners;

	use_snapshot(e, snap);
	link = link_edge_configure(e->link, e->conf, errors);
	clients = listen_now(e, errors);
	partners = federation_edge_configure(e->federation, snap, errors);
	loop_defer(e->env->loop, &e->look);
	return link ? link : clients ? clients : partners;
}

int xmpp_edge_start(struct xmpp_edge *e, struct buf *errors)
{
	struct service tunnel = service_find(e->env->modules, TUNNEL_SERVICE);
	struct service signin = service_find(e->env->modules, SIGNIN_SERVICE);
	int error = xmpp_domains_watch(e->domains, on_domains, e);

	e->tunnel = tunnel.ops;
	e->tunnel_self = tunnel.self;
	e->parked.tunnel = tunnel.ops;
	e->parked.tunnel_self = tunnel.self;
	e->signin = signin.ops;
	e->signin_self = signin.self;
	link_edge_set_tunnel(e->link, tunnel.ops, tunnel.self);
	if (error == 0)
		error = apply(e, conf_current(e->env->conf), errors);
	if (error || !e->tunnel)
		return error;
	error = federation_edge_start(e->federation, e->tunnel, e->tunnel_self);
	if (error == 0)
		error = serve_calls(e);
	return error ? error : e->tunnel->publish(e->tunnel_self, XMPP_TABLE_EDGE, &source, e);
}

int xmpp_edge_prepare(struct xmpp_edge *e, const struct conf_snapshot *next, struct buf *errors)
{
	const struct xmpp_conf *c = conf_get(next, "xmpp", NULL);
	int link = link_edge_prepare(e->link, c, errors);
	int clients =
		xmpp_listen_prepare(&e->listen, &c->address, xmpp_conf_on(c) ? c->port : 0, errors);

	return link ? link : clients;
}

void xmpp_edge_reload(struct xmpp_edge *e, const struct conf_snapshot *next)
{
	struct buf errors;

	buf_init(&errors, 8192);
	if (apply(e, next, &errors) < 0)
		log_error(e->env->log, "xmpp.listen", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	tell(e);
}

void xmpp_edge_drain(struct xmpp_edge *e)
{
	e->draining = true;
	xmpp_listen_close(&e->listen);
	c2s_edge_drain(e->clients);
	federation_edge_drain(e->federation);
	link_edge_drain(e->link);
	tell(e);
}

/* Owners of streams before the link, which keeps their entries. */
void xmpp_edge_stop(struct xmpp_edge *e)
{
	loop_defer_cancel(&e->look);
	park_calls_fini(&e->parked);
	xmpp_listen_close(&e->listen);
	c2s_edge_free(e->clients);
	e->clients = NULL;
	federation_edge_free(e->federation);
	e->federation = NULL;
	e->domains = NULL;
	link_edge_free(e->link);
	e->link = NULL;
}

void xmpp_edge_free(struct xmpp_edge *e)
{
	if (!e)
		return;
	xmpp_edge_stop(e);
	rate_free(e->failures);
	if (e->snap)
		conf_unref(e->snap);
	free(e);
}

static void put(json_t *out, const char *key, uint64_t v)
{
	json_object_set_new(out, key, json_integer((json_int_t)v));
}

void xmpp_edge_status(const struct xmpp_edge *e, json_t *out)
{
	struct c2s_edge_stats s;
	size_t n_idle = 0;

	if (!e->clients)
		return;
	s = c2s_edge_stats(e->clients);
	for (tunnel_peer id = 1; id <= XMPP_MAX_PEERS; id++)
		n_idle += link_edge_idle(e->link, id);
	json_object_set_new(out, "enabled", json_boolean(xmpp_conf_on(e->conf)));
	put(out, "streams", s.n_open);
	put(out, "unauthenticated", s.n_unauthenticated);
	put(out, "streams-total", s.n_total);
	put(out, "relayed", s.n_relayed);
	put(out, "refused", s.n_refused);
	put(out, "signed-in", s.n_auth_good);
	put(out, "sign-in-failures", s.n_auth_bad);
	put(out, "injected", s.n_injected);
	put(out, "parked", s.n_parked);
	put(out, "idle-links", n_idle);
	put(out, "links", conn_count(e->env->conns, CONN_XMPP_LINK));
	put(out, "domains", xmpp_domains_count(e->domains));
	put(out, "server-streams", s2s_count(federation_edge_engine(e->federation)));
}
