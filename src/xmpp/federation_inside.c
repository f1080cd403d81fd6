/*
 * The IM servers as federation sees them. With federation = s2s C is, for each partner, a server of
 * that name: an engine of its own with "local" = the partner and "remote" = our domain. With
 * federation = component it is a component of the server for each partner (XEP-0114).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/net.h"
#include "core/trace.h"
#include "xmpp/federation_core_impl.h"
#include "xmpp/s2s_tls.h"

#define MAX_STREAMS	    4000
#define MAX_UNAUTHENTICATED 500
#define SLEEP_MS	    30000
#define TLS_MS		    15000
#define MAX_NODES	    8
#define KEY_BYTES	    (2 * XMPP_DOMAIN_BYTES)

static const char *inside_tls(const struct federation_core *f)
{
	const char *name = federation_conf_of(f)->inside_tls;

	return name && name[0] ? name : NULL;
}

/* --- the engine: local is the partner, remote our domain --- */

/* A link inside the house: the server shows who it is by dialback or its certificate, and TLS is as
 * its section says. */
static struct s2s_policy policy(void *arg, const char *partner, const char *ours, bool incoming)
{
	struct federation_core *f = arg;
	const struct im_server_conf *s = federation_server_of(f, ours);
	struct s2s_policy out = federation_policy(f, ours, partner);

	if (s && s->federation != XMPP_INNER_S2S) {
		out.allowed = false;
		out.decided_by = "[im-server] federation";
		out.why = "its server is no server for partners here";
	}
	out.auth = S2S_AUTH_ANY;
	if (incoming)
		out.tls = inside_tls(f) && s && s->tls != XMPP_INNER_PLAIN ? S2S_TLS_REQUIRED
			  : inside_tls(f)				   ? S2S_TLS_OPTIONAL
									   : S2S_TLS_OFF;
	else
		out.tls = s && s->tls != XMPP_INNER_PLAIN ? S2S_TLS_REQUIRED : S2S_TLS_OFF;
	return out;
}

static bool is_local(void *arg, const char *partner)
{
	const struct federation_core *f = arg;
	const struct partner_rule *r = partners_rule(f->partners, partner);

	return r && r->allowed && !federation_is_ours(f, partner);
}

static void deliver(void *arg, const char *partner, const char *ours, struct xml_node *stanza,
		    struct xml_arena *arena)
{
	federation_to_edge(arg, ours, partner, stanza, arena);
}

struct resolving {
	void (*done)(void *ctx, const struct s2s_target *t, size_t n, bool not_found,
		     const char *why);
	void *ctx;
	uint64_t id; /* of im_servers_find() */
	struct list node;
};

static void resolving_free(struct resolving *r)
{
	list_del(&r->node);
	free(r);
}

static void on_found(void *arg, const struct im_node *nodes, size_t n, const char *why)
{
	struct resolving *r = arg;
	struct s2s_target targets[MAX_NODES] = { 0 };
	size_t n_targets = n < MAX_NODES ? n : MAX_NODES;

	/* A node is dialled by its name: addresses are the business of im_servers. */
	for (size_t i = 0; i < n_targets; i++) {
		slice_copy(targets[i].host, sizeof(targets[i].host), slice_of(nodes[i].host));
		targets[i].addr.port = nodes[i].port;
	}
	list_del(&r->node); /* it cannot be cancelled any more */
	r->done(r->ctx, targets, n_targets, false, why);
	free(r);
}

static uint64_t resolve(void *arg, const char *partner, const char *ours,
			void (*done)(void *ctx, const struct s2s_target *t, size_t n,
				     bool not_found, const char *why),
			void *ctx)
{
	struct federation_core *f = arg;
	struct resolving *r = calloc(1, sizeof(*r));

	if (!r)
		return 0;
	*r = (struct resolving){ .done = done, .ctx = ctx };
	r->id = im_servers_find(f->servers, ours, IM_FEDERATION, partner, on_found, r);
	if (r->id) {
		list_add_tail(&f->resolving, &r->node);
		return r->id;
	}
	free(r);
	return 0;
}

static void resolve_cancel(void *arg, uint64_t id)
{
	struct federation_core *f = arg;

	LIST_FOREACH_SAFE (it, &f->resolving) {
		struct resolving *r = CONTAINER_OF(it, struct resolving, node);

		if (r->id != id)
			continue;
		im_servers_cancel(f->servers, id);
		resolving_free(r);
	}
}

static void dial_free(struct federation_core *f, struct inner_dial *d)
{
	list_del(&d->node);
	f->n_dials--;
	free(d->server);
	free(d);
}

static int dial_note(struct federation_core *f, const struct stream *s, const struct im_node *n)
{
	struct inner_dial *d = calloc(1, sizeof(*d));

	if (d)
		d->server = strdup(n->server);
	if (!d || !d->server) {
		free(d);
		return -ENOMEM;
	}
	d->s = s;
	d->port = n->port;
	slice_copy(d->host, sizeof(d->host), slice_of(n->host));
	list_add_head(&f->dials, &d->node);
	if (++f->n_dials > FEDERATION_MAX_DIALS)
		dial_free(f, CONTAINER_OF(f->dials.prev, struct inner_dial, node));
	return 0;
}

static struct stream *dial(void *arg, const struct s2s_target *t, const char *partner,
			   const char *ours, const struct stream_handler *h, void *ctx, int *error)
{
	struct federation_core *f = arg;
	const struct im_server_conf *conf = federation_server_of(f, ours);
	struct im_node node = { .host = t->host, .port = t->addr.port, .domain = ours };
	struct stream *s;

	*error = -EACCES;
	if (!conf)
		return NULL;
	node.server = conf->common.name;
	node.conf = conf;
	s = im_servers_connect(f->servers, &node, IM_FEDERATION, NULL, h, ctx, error);
	if (!s || dial_note(f, s, &node) == 0)
		return s;
	stream_abort(s);
	*error = -ENOMEM;
	return NULL;
}

static int start_tls(void *arg, struct stream *s, bool server, const char *partner,
		     const char *ours)
{
	struct federation_core *f = arg;
	struct stream_tls t = {
		.is_server = true, .tls = inside_tls(f), .ask = true, .timeout_ms = TLS_MS
	};

	if (server)
		return t.tls ? stream_start_tls(f->env, s, &t) : -EINVAL;
	LIST_FOREACH (it, &f->dials) {
		const struct inner_dial *d = CONTAINER_OF(it, const struct inner_dial, node);
		struct im_node node = { .server = d->server, .host = d->host, .port = d->port };

		if (d->s == s)
			return im_servers_start_tls(f->servers, &node, ours, s);
	}
	return -EINVAL;
}

static void identity(void *arg, struct stream *s, const char *domain, struct s2s_identity *out)
{
	s2s_tls_identity(s, domain, out);
}

static bool own_certificate(void *arg, const char *partner)
{
	struct federation_core *f = arg;

	return s2s_tls_own(f->env->tls, inside_tls(f), partner);
}

static struct slice secret(void *arg, const char *partner, size_t i)
{
	struct federation_core *f = arg;

	return i == 0 ? (struct slice){ (const char *)f->inner_secret, sizeof(f->inner_secret) }
		      : SLICE_NONE;
}

static const struct s2s_ops engine_ops = {
	.policy = policy,
	.is_local = is_local,
	.deliver = deliver,
	.resolve = resolve,
	.resolve_cancel = resolve_cancel,
	.connect = dial,
	.start_tls = start_tls,
	.identity = identity,
	.own_certificate = own_certificate,
	.secret = secret,
	.random = net_random,
};

/* --- components --- */

static struct slice component_key(const struct htab_node *n)
{
	const struct inner_component *c = CONTAINER_OF(n, const struct inner_component, node);

	return (struct slice){ c->key, c->n_key };
}

static const struct im_server_conf *server_named(const struct federation_core *f, const char *name)
{
	const struct im_server_conf *s = conf_get(f->snap, "im-server", name);

	return s && s->enabled && s->federation == XMPP_INNER_COMPONENT ? s : NULL;
}

/* One of the server's domains that federate: it finds the server's nodes. */
static const char *domain_of(const struct federation_core *f, const struct im_server_conf *s)
{
	for (size_t i = 0; s && i < s->domains.n; i++)
		if (federation_server_of(f, s->domains.v[i]) == s)
			return s->domains.v[i];
	return NULL;
}

static uint64_t c_find(void *arg, const char *server, const char *partner,
		       void (*done)(void *ctx, const struct im_node *nodes, size_t n,
				    const char *why),
		       void *ctx)
{
	struct federation_core *f = arg;
	const char *domain = domain_of(f, server_named(f, server));

	return domain ? im_servers_find(f->servers, domain, IM_FEDERATION, partner, done, ctx) : 0;
}

static void c_cancel(void *arg, uint64_t id)
{
	struct federation_core *f = arg;

	im_servers_cancel(f->servers, id);
}

static struct stream *c_connect(void *arg, const struct im_node *node,
				const struct stream_handler *h, void *ctx, int *error)
{
	struct federation_core *f = arg;

	return im_servers_connect(f->servers, node, IM_FEDERATION, NULL, h, ctx, error);
}

static void c_report(void *arg, const struct im_node *node, bool good, const char *why)
{
	struct federation_core *f = arg;

	im_servers_report(f->servers, node, good, why);
}

static struct slice c_secret(void *arg, const char *server)
{
	const struct im_server_conf *s = server_named(arg, server);

	return slice_of(s && s->component_secret ? s->component_secret : "");
}

/* The server may speak for its own domains alone, and to this partner alone. */
static void c_deliver(void *arg, const char *server, const char *partner, struct xml_node *stanza,
		      struct xml_arena *arena)
{
	struct federation_core *f = arg;
	const char *from = xml_node_attr(stanza, "from");
	const struct im_server_conf *s = NULL;
	char ours[XMPP_DOMAIN_BYTES] = "";
	struct xmpp_jid jid;
	const char *why;

	if (from && xmpp_jid_parse(slice_of(from), &jid) && xmpp_domain(jid.domain, ours))
		s = federation_server_of(f, ours);
	why = pair_link_misfit(stanza, ours, partner);
	if (!why && (!s || strcmp(s->common.name, server) != 0))
		why = "`from` is of no domain of this server that federates";
	if (!why) {
		federation_to_edge(f, ours, partner, stanza, arena);
		return;
	}
	trace_add(f->env->trace, "xmpp.federation.component", "[im-server] domains", NULL, NULL,
		  "a stanza of [im-server %s] for %s was dropped: %s", server, partner, why);
}

static void c_undeliverable(void *arg, const char *server, const char *partner,
			    struct xml_node *stanza, struct xml_arena *arena, const char *condition)
{
	struct federation_core *f = arg;
	const char *to = xml_node_attr(stanza, "to");
	char ours[XMPP_DOMAIN_BYTES];
	struct xml_node *e;
	struct xmpp_jid jid;

	if (!to || !xmpp_jid_parse(slice_of(to), &jid) || !xmpp_domain(jid.domain, ours))
		return;
	e = xmpp_stanza_error(arena, stanza, pair_link_error_type(condition), condition, NULL);
	if (e) {
		xml_node_rename(e, XMPP_COMPONENT, XMPP_SERVER);
		federation_to_edge(f, ours, partner, e, arena);
	}
}

static struct inner_component *inner_find(const struct federation_core *f, const char *server,
					  const char *partner)
{
	char key[KEY_BYTES];
	size_t n = slice_append(key, sizeof(key), 0, slice_of(server)) + 1;
	struct htab_node *node;

	if (n >= sizeof(key))
		return NULL;
	n = slice_append(key, sizeof(key), n, slice_of(partner));
	node = htab_get(&f->components, (struct slice){ key, n });
	return node ? CONTAINER_OF(node, struct inner_component, node) : NULL;
}

static void conn_leave(struct inner_component *c, const char *why)
{
	if (c->is_entered)
		conn_end(c->f->env->conns, &c->conn, "%s", why);
	c->is_entered = false;
}

static void conn_closed(struct conn *conn, const char *reason)
{
	struct inner_component *c = CONTAINER_OF(conn, struct inner_component, conn);

	conn_leave(c, reason);
	component_restart(c->c);
}

static void conn_enter(struct inner_component *c)
{
	struct component_info info = component_info(c->c);

	conn_leave(c, "connected anew");
	c->conn = (struct conn){ .kind = CONN_XMPP_S2S,
				 .transport = CONN_TCP,
				 .remote = info.remote,
				 .state = "component",
				 .close = conn_closed };
	slice_copy(c->conn.zone, sizeof(c->conn.zone), SLICE("inside"));
	slice_copy(c->conn.user, sizeof(c->conn.user), slice_of(info.partner));
	c->is_entered = conn_add(c->f->env->conns, &c->conn) == 0;
}

static void c_changed(void *arg, struct component *component, bool up, bool refused,
		      const char *why)
{
	struct federation_core *f = arg;
	struct component_info info = component_info(component);
	struct inner_component *c = inner_find(f, info.server, info.partner);
	char subject[96];

	snprintf(subject, sizeof(subject), "%.40s %.50s", info.server, info.partner);
	log_info(f->env->log, "xmpp.component", "server=%s partner=%s state=%s reason=\"%s\"",
		 log_esc(slice_of(info.server)), log_esc(slice_of(info.partner)),
		 up ? "up" : "down", log_esc(slice_of(why)));
	if (up)
		alarm_clear(f->env->alarms, "xmpp-component", subject);
	else if (c && !c->on_demand)
		alarm_raise(
			f->env->alarms, "xmpp-component", subject,
			refused ? ALARM_ERROR : ALARM_WARNING,
			"Look at component-secret and component-port of the [im-server], and at "
			"the server's own list of components.",
			"%.80s is no component of the IM server: %.120s", info.partner, why);
	if (c && up)
		conn_enter(c);
	else if (c)
		conn_leave(c, why);
}

static const struct component_ops component_ops = {
	.find = c_find,
	.cancel = c_cancel,
	.connect = c_connect,
	.report = c_report,
	.secret = c_secret,
	.deliver = c_deliver,
	.undeliverable = c_undeliverable,
	.changed = c_changed,
};

/* The server prints anew what its users sent it within limits of its own. */
static struct xml_stream_limits inside_limits(const struct federation_core *f)
{
	struct xml_stream_limits l = xml_stream_default_limits;

	l.max_stanza_bytes = federation_xmpp_conf(f)->stanza_bytes;
	return xml_stream_limits_printed(&l);
}

static struct xmpp_stream_conf stream_conf(const struct federation_core *f)
{
	const struct xmpp_conf *x = federation_xmpp_conf(f);

	return (struct xmpp_stream_conf){ .timers = loop_timers(f->env->loop),
					  .pool = f->pool,
					  .content = XMPP_SERVER,
					  .limits = xml_stream_default_limits,
					  .send_timeout_ms = x->send_timeout_ms,
					  .sleep_ms = SLEEP_MS };
}

static struct inner_component *inner_make(struct federation_core *f, const char *server,
					  const char *partner)
{
	struct component_conf conf = { .timers = loop_timers(f->env->loop),
				       .pool = f->pool,
				       .stream = stream_conf(f),
				       .queue_bytes = federation_conf_of(f)->queue_bytes };
	const size_t n_server = strlen(server) + 1, n_partner = strlen(partner);
	struct inner_component *c;

	if (f->components.n >= FEDERATION_MAX_COMPONENTS || n_server + n_partner >= KEY_BYTES)
		return NULL;
	c = calloc(1, sizeof(*c) + n_server + n_partner + 1);
	if (!c)
		return NULL;
	conf.stream.limits = inside_limits(f);
	c->f = f;
	c->n_key = n_server + n_partner;
	memcpy(c->key, server, n_server);
	memcpy(c->key + n_server, partner, n_partner);
	c->c = component_new(&conf, &component_ops, f, server, partner);
	if (!c->c) {
		free(c);
		return NULL;
	}
	htab_add(&f->components, &c->node);
	return c;
}

static void alarm_off(const struct inner_component *c)
{
	struct component_info info = component_info(c->c);
	char subject[96];

	snprintf(subject, sizeof(subject), "%.40s %.50s", info.server, info.partner);
	alarm_clear(c->f->env->alarms, "xmpp-component", subject);
}

static void inner_free(struct inner_component *c, const char *why)
{
	alarm_off(c);
	conn_leave(c, why);
	htab_del(&c->f->components, &c->node);
	component_free(c->c);
	free(c);
}

/* Idle ones that no section names go, so that nobody fills the table who makes up partners. */
static void on_sweep(void *arg)
{
	struct federation_core *f = arg;
	struct timerq *timers = loop_timers(f->env->loop);
	const int64_t idle_ms = federation_conf_of(f)->idle_ms;
	size_t n_left = 0;

	HTAB_FOREACH_SAFE (n, &f->components) {
		struct inner_component *c = CONTAINER_OF(n, struct inner_component, node);
		const struct component_info info = component_info(c->c);

		if (!c->on_demand)
			continue;
		if (info.n_queued == 0 && timers->now_ms - info.last_used_ms >= idle_ms)
			inner_free(c, "idle");
		else
			n_left++;
	}
	if (n_left > 0)
		timer_start(timers, &f->sweep, idle_ms);
}

/* Nor may made up names be alarms. */
static void watch_on_demand(struct inner_component *c)
{
	struct federation_core *f = c->f;

	c->on_demand = true;
	alarm_off(c);
	if (!timer_armed(&f->sweep))
		timer_start(loop_timers(f->env->loop), &f->sweep, federation_conf_of(f)->idle_ms);
}

static size_t n_on_demand(const struct federation_core *f)
{
	size_t n = 0;

	HTAB_FOREACH (it, &f->components)
		n += CONTAINER_OF(it, const struct inner_component, node)->on_demand;
	return n;
}

static struct inner_component *make_on_demand(struct federation_core *f, const char *server,
					      const char *partner)
{
	struct inner_component *c = NULL;

	if (n_on_demand(f) < FEDERATION_MAX_ON_DEMAND)
		c = inner_make(f, server, partner);
	if (!c) {
		trace_add(f->env->trace, "xmpp.federation.component", "[partner]", NULL, NULL,
			  "no component for %s: too many that no section names", partner);
		return NULL;
	}
	watch_on_demand(c);
	return c;
}

/* --- what the other file asks for --- */

int federation_inside_send(struct federation_core *f, const char *local, const char *remote,
			   const struct xml_node *stanza)
{
	const struct im_server_conf *s = federation_server_of(f, local);
	struct inner_component *c;

	if (!s)
		return -EACCES;
	if (s->federation == XMPP_INNER_S2S)
		return s2s_send(f->engine, remote, local, stanza);
	c = inner_find(f, s->common.name, remote);
	if (!c)
		c = make_on_demand(f, s->common.name, remote);
	return c ? component_send(c->c, stanza) : -ENOSPC;
}

void federation_inside_pause(struct federation_core *f, const char *local, const char *remote,
			     bool paused)
{
	const struct im_server_conf *s = federation_server_of(f, local);
	struct inner_component *c = s ? inner_find(f, s->common.name, remote) : NULL;

	if (s && s->federation == XMPP_INNER_COMPONENT && c)
		component_set_paused(c->c, paused);
	else if (s)
		s2s_set_paused(f->engine, remote, local, paused);
}

static void configure_engine(struct federation_core *f)
{
	const struct federation_conf *c = federation_conf_of(f);
	const struct xmpp_conf *x = federation_xmpp_conf(f);
	struct s2s_conf conf = { .auth_timeout_ms = c->auth_timeout_ms,
				 .idle_ms = c->idle_ms,
				 .queue_bytes = c->queue_bytes,
				 .max_streams = MAX_STREAMS,
				 .max_pairs_in = 1000,
				 .max_verify = MAX_STREAMS / 4,
				 .max_unauthenticated = MAX_UNAUTHENTICATED,
				 .bidi = c->bidi,
				 .stream = stream_conf(f),
				 .limits = inside_limits(f),
				 .zone = "inside" };

	conf.stream.limits.max_stanza_bytes = x->stanza_bytes_unauthenticated;
	s2s_configure(f->engine, &conf);
}

static void on_stream(void *arg, struct stream *s)
{
	struct federation_core *f = arg;

	s2s_accept(f->engine, s);
}

static bool any_s2s(const struct federation_core *f)
{
	const struct im_server_conf *s = NULL;

	while ((s = conf_next(f->snap, "im-server", s)))
		if (s->enabled && s->federation == XMPP_INNER_S2S && domain_of(f, s))
			return true;
	return false;
}

static int listen_inside(struct federation_core *f, struct buf *errors)
{
	const struct federation_conf *c = federation_conf_of(f);
	struct stream_listener_conf l = { .tls = inside_tls(f),
					  .detect_tls = inside_tls(f) != NULL,
					  .verify = TLS_VERIFY_ASK,
					  .keepalive = true,
					  .kind = CONN_XMPP_S2S,
					  .handshake_ms = c->auth_timeout_ms,
					  .limits = { .max_total = MAX_STREAMS },
					  .zone = "inside",
					  .accepted = on_stream,
					  .arg = f };
	const bool want = any_s2s(f) && !f->is_draining;

	return xmpp_listen_configure(&f->listen, &c->inside_address, want ? c->inside_port : 0, &l,
				     errors);
}

/* A server sends to a partner through a component that is connected already: so all that are named
 * are, and the others as they come. */
struct connecting {
	struct federation_core *f;
	const char *server;
};

static void connect_one(void *arg, const struct partner_rule *r)
{
	struct connecting *k = arg;
	struct inner_component *c;

	if (!r->allowed || strcmp(r->domain, PARTNER_ANY) == 0 ||
	    federation_is_ours(k->f, r->domain))
		return;
	c = inner_find(k->f, k->server, r->domain);
	if (!c)
		c = inner_make(k->f, k->server, r->domain);
	if (!c) {
		log_warn(k->f->env->log, "xmpp.component",
			 "server=%s partner=%s reason=\"too many\"", k->server, r->domain);
		return;
	}
	c->is_doubtful = c->on_demand = false;
	component_start(c->c);
}

static bool is_changed(const struct federation_core *f, const struct conf_snapshot *old,
		       const char *server)
{
	const void *before = old ? conf_get(old, "im-server", server) : NULL;
	const void *now = conf_get(f->snap, "im-server", server);

	return before && now && !conf_section_same(before, now);
}

static void configure_components(struct federation_core *f, const struct conf_snapshot *old)
{
	const struct im_server_conf *s = NULL;

	HTAB_FOREACH (n, &f->components) {
		struct inner_component *c = CONTAINER_OF(n, struct inner_component, node);
		const struct component_info info = component_info(c->c);
		const struct partner_rule *r = partners_rule(f->partners, info.partner);

		/* One that was made on demand stays while it is allowed. */
		c->is_doubtful = !domain_of(f, server_named(f, info.server)) || !r || !r->allowed;
		if (!c->is_doubtful && is_changed(f, old, info.server))
			component_restart(c->c);
		c->on_demand = true; /* unless it is named below */
	}
	while ((s = conf_next(f->snap, "im-server", s))) {
		struct connecting k = { f, s->common.name };

		if (server_named(f, s->common.name) && domain_of(f, s))
			partners_each_rule(f->partners, connect_one, &k);
	}
	HTAB_FOREACH_SAFE (n, &f->components) {
		struct inner_component *c = CONTAINER_OF(n, struct inner_component, node);

		if (c->is_doubtful)
			inner_free(c, "not configured any more");
		else if (c->on_demand)
			watch_on_demand(c);
	}
}

int federation_inside_configure(struct federation_core *f, const struct conf_snapshot *old,
				struct buf *errors)
{
	configure_engine(f);
	s2s_recheck(f->engine);
	configure_components(f, old);
	return listen_inside(f, errors);
}

int federation_inside_init(struct federation_core *f)
{
	uint8_t seed[16];
	int error;

	list_init(&f->resolving);
	list_init(&f->dials);
	xmpp_listen_init(&f->listen, f->env, "IM servers");
	timer_init(&f->sweep, on_sweep, f);
	net_random(f->inner_secret, sizeof(f->inner_secret));
	net_random(seed, sizeof(seed));
	error = htab_init(&f->components, seed, component_key);
	if (error < 0)
		return error;
	f->engine = s2s_new(f->env, &engine_ops, f);
	return f->engine ? 0 : -ENOMEM;
}

void federation_inside_fini(struct federation_core *f)
{
	timer_stop(loop_timers(f->env->loop), &f->sweep);
	xmpp_listen_close(&f->listen);
	HTAB_FOREACH_SAFE (n, &f->components)
		inner_free(CONTAINER_OF(n, struct inner_component, node), "going down");
	htab_fini(&f->components);
	s2s_free(f->engine);
	LIST_FOREACH_SAFE (it, &f->resolving) {
		struct resolving *r = CONTAINER_OF(it, struct resolving, node);

		im_servers_cancel(f->servers, r->id);
		resolving_free(r);
	}
	LIST_FOREACH_SAFE (it, &f->dials)
		dial_free(f, CONTAINER_OF(it, struct inner_dial, node));
	OPENSSL_cleanse(f->inner_secret, sizeof(f->inner_secret));
}

void federation_inside_each(const struct federation_core *f,
			    void (*fn)(const struct xmpp_listing *l, void *arg), void *arg)
{
	s2s_each(f->engine, fn, arg);
	HTAB_FOREACH (n, &f->components) {
		const struct inner_component *c =
			CONTAINER_OF(n, const struct inner_component, node);
		const struct component_info info = component_info(c->c);
		const char *domain = domain_of(f, server_named(f, info.server));
		struct xmpp_listing l = { .conn = &c->conn,
					  .domain = domain ? domain : "",
					  .remote = info.partner,
					  .tls = "",
					  .auth = "component",
					  .direction = "both",
					  .last_error = info.last_error,
					  .stats = info.stats };

		if (c->is_entered && info.stats)
			fn(&l, arg);
	}
}
