/*
 * E's half of federation: what C announces (three tables), the port for partners, the engine's view
 * of the world (policy, DNS, TLS, secrets), and the pairs' streams to C.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/base64.h"
#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "core/trace.h"
#include "xmpp/federation.h"
#include "xmpp/federation_table.h"
#include "xmpp/listen.h"
#include "xmpp/pair_link.h"
#include "xmpp/s2s_resolve.h"
#include "xmpp/s2s_tls.h"

#define MAX_CORES 16
#define MAX_S2S	  4000
/* A partner's servers, or one that makes up subdomains: an eighth of the pairs there can be. */
#define MAX_PAIRS_SOURCE    512
#define MAX_VERIFY_SOURCE   64
#define STRANGER_TREE_BYTES (32 * 1024) /* features and keys are small */
#define RATE_FACTOR	    10		/* a partner's stream carries many users */
#define SLEEP_MS	    30000
#define ALPN_SERVER	    "xmpp-server"
#define CONNECT_MS	    15000
#define LINK_WAIT_MS	    10000

struct core {		  /* one C, by what it has put */
	tunnel_peer peer; /* 0: a free place */
	struct partners *now;
	struct partners *next; /* between reset and synced */
	uint8_t secret[FEDERATION_SECRET_BYTES];
	size_t n_secret;
};

struct federation_edge {
	struct env *env;
	struct link_edge *link;
	const struct tunnel_ops *tunnel;
	void *tunnel_self;
	const struct conf_snapshot *snap;
	struct xml_pool *pool;
	struct s2s *engine;
	struct pair_links *links;
	struct s2s_resolver *resolver;
	struct xmpp_domains *domains;
	struct core cores[MAX_CORES];
	struct xmpp_listen listen;
	struct loop_deferred look; /* what C said has changed */
	bool is_draining;
};

static const struct xmpp_conf *conf_of(const struct federation_edge *f)
{
	return conf_get(f->snap, "xmpp", NULL);
}

static const char *tls_names(const struct federation_edge *f)
{
	const struct xmpp_conf *c = conf_of(f);

	return c->s2s_tls && c->s2s_tls[0] ? c->s2s_tls : c->tls;
}

/* --- who C is --- */

static struct core *core_find(struct federation_edge *f, tunnel_peer peer)
{
	for (size_t i = 0; i < MAX_CORES; i++)
		if (f->cores[i].peer == peer)
			return &f->cores[i];
	return NULL;
}

static struct core *core_get(struct federation_edge *f, tunnel_peer peer)
{
	struct core *c = core_find(f, peer);

	if (c)
		return c;
	c = core_find(f, 0);
	if (!c)
		return NULL;
	c->now = partners_new();
	if (!c->now)
		return NULL;
	c->peer = peer;
	return c;
}

static struct core *core_of_domain(struct federation_edge *f, const char *local)
{
	tunnel_peer peer = xmpp_domains_owner(f->domains, local, XMPP_DOMAIN_FEDERATION);

	return peer ? core_find(f, peer) : NULL;
}

static void bad_item(struct federation_edge *f, tunnel_peer from, const char *table, int error)
{
	log_warn(f->env->log, "xmpp.federation.item", "peer=%u table=%s reason=\"%s\"", from, table,
		 error == -EINVAL ? "malformed" : strerror(-error));
	trace_add(f->env->trace, "xmpp.federation.item", table, NULL, NULL,
		  "an item from C was ignored: %s",
		  error == -EINVAL ? "it is not of the form" : strerror(-error));
}

/* --- policy --- */

static struct s2s_policy policy(void *arg, const char *local, const char *remote, bool incoming)
{
	struct federation_edge *f = arg;
	struct core *c = core_of_domain(f, local);
	const bool ours = xmpp_domains_owner(f->domains, remote, XMPP_DOMAIN_ANY) != 0;
	struct s2s_policy none = { .decided_by = "[domain] federation",
				   .why = "the domain does not federate" };

	return c ? partners_decide(c->now, true, ours, remote) : none;
}

static bool is_local(void *arg, const char *domain)
{
	const struct federation_edge *f = arg;

	return xmpp_domains_owner(f->domains, domain, XMPP_DOMAIN_FEDERATION) != 0;
}

/* --- stanzas --- */

/* To the partner: what its user sent did not get through. */
static void bounce_out(struct federation_edge *f, const char *local, const char *remote,
		       const struct xml_node *stanza, struct xml_arena *arena,
		       const char *condition)
{
	struct xml_node *e =
		xmpp_stanza_error(arena, stanza, pair_link_error_type(condition), condition, NULL);

	if (e)
		s2s_send(f->engine, local, remote, e);
}

static void deliver(void *arg, const char *local, const char *remote, struct xml_node *stanza,
		    struct xml_arena *arena)
{
	struct federation_edge *f = arg;
	tunnel_peer peer;
	int error;

	if (!xmpp_domains_find(f->domains, local, XMPP_DOMAIN_FEDERATION, &peer) || !peer) {
		bounce_out(f, local, remote, stanza, arena, "service-unavailable");
		return;
	}
	error = pair_links_send(f->links, peer, local, remote, stanza);
	if (error < 0)
		bounce_out(f, local, remote, stanza, arena, pair_link_condition(error));
}

static void from_core(void *arg, tunnel_peer peer, const char *local, const char *remote,
		      struct xml_node *stanza, struct xml_arena *arena)
{
	struct federation_edge *f = arg;
	int error = s2s_send(f->engine, local, remote, stanza);
	struct xml_node *e;

	if (error == 0)
		return;
	e = xmpp_stanza_error(arena, stanza, pair_link_error_type(pair_link_condition(error)),
			      pair_link_condition(error), NULL);
	if (e)
		pair_links_send(f->links, peer, local, remote, e);
}

static void undeliverable(void *arg, tunnel_peer peer, const char *local, const char *remote,
			  struct xml_node *stanza, struct xml_arena *arena, const char *condition)
{
	bounce_out(arg, local, remote, stanza, arena, condition);
}

static void flow(void *arg, tunnel_peer peer, const char *local, const char *remote, bool is_full)
{
	struct federation_edge *f = arg;

	s2s_set_paused(f->engine, local, remote, is_full);
}

static void refused(void *arg, tunnel_peer peer, const char *local, const char *remote,
		    const struct addr *from, const char *why)
{
	struct federation_edge *f = arg;

	trace_add(f->env->trace, "xmpp.federation.link", "link", from, NULL,
		  "the stream of %s and %s with C was ended: %s", local, remote, why);
}

static int open_link(void *arg, tunnel_peer peer, const struct preface *p, struct stream **now,
		     uint64_t *id, void (*done)(void *ctx, struct stream *s, const char *why),
		     void *ctx)
{
	struct federation_edge *f = arg;

	*now = NULL;
	*id = link_edge_wait(f->link, peer, p, LINK_WAIT_MS, done, ctx);
	return *id ? 0 : -EAGAIN;
}

static void cancel_link(void *arg, uint64_t id)
{
	struct federation_edge *f = arg;

	link_edge_cancel(f->link, id);
}

static const struct pair_links_ops links_ops = {
	.open = open_link,
	.cancel = cancel_link,
	.deliver = from_core,
	.undeliverable = undeliverable,
	.flow = flow,
	.refused = refused,
};

/* --- what the engine asks for --- */

static uint64_t resolve(void *arg, const char *local, const char *remote,
			void (*done)(void *ctx, const struct s2s_target *t, size_t n,
				     bool not_found, const char *why),
			void *ctx)
{
	struct federation_edge *f = arg;
	struct core *c = core_of_domain(f, local);

	return s2s_resolver_ask(f->resolver, remote, c ? partners_rule(c->now, remote) : NULL, done,
				ctx);
}

static void resolve_cancel(void *arg, uint64_t id)
{
	struct federation_edge *f = arg;

	s2s_resolver_cancel(f->resolver, id);
}

static struct stream *dial(void *arg, const struct s2s_target *t, const char *local,
			   const char *remote, const struct stream_handler *h, void *ctx,
			   int *error)
{
	struct federation_edge *f = arg;
	struct addr from = conf_of(f)->address;
	char name[S2S_TLS_NAME_BYTES];
	struct stream_connect c = { .to = t->addr, .timeout_ms = CONNECT_MS, .keepalive = true };

	from.port = 0;
	if (from.family == t->addr.family) /* the outside NIC */
		c.from = &from;
	if (t->direct_tls) {
		c.tls = s2s_tls_name(f->env->tls, tls_names(f), local, name);
		c.tls_public = !c.tls;
		c.server_name = remote; /* XEP-0368: not the target of the SRV record */
		c.ask = true;
		c.alpn = ALPN_SERVER;
	}
	return stream_connect(f->env, &c, h, ctx, error);
}

static int start_tls(void *arg, struct stream *s, bool server, const char *local,
		     const char *remote)
{
	struct federation_edge *f = arg;
	char name[S2S_TLS_NAME_BYTES];
	struct stream_tls t = { .is_server = server,
				.tls = s2s_tls_name(f->env->tls, tls_names(f), local, name),
				.ask = true,
				.timeout_ms = CONNECT_MS };

	if (server && !t.tls)
		return -EINVAL;
	if (!server) {
		t.tls_public = !t.tls;
		t.server_name = remote;
	}
	return stream_start_tls(f->env, s, &t);
}

static void identity(void *arg, struct stream *s, const char *domain, struct s2s_identity *out)
{
	s2s_tls_identity(s, domain, out);
}

static bool own_certificate(void *arg, const char *local)
{
	struct federation_edge *f = arg;

	return s2s_tls_own(f->env->tls, tls_names(f), local);
}

/* That of the domain's own C first; then those of the others that have announced it too, because
 * the partner may ask another E about a key, or this one after another C took over. What a C has no
 * part in it cannot sign for. */
static struct slice secret(void *arg, const char *local, size_t i)
{
	struct federation_edge *f = arg;
	const struct core *own = core_of_domain(f, local);
	size_t at = 0;

	if (own && own->n_secret && at++ == i)
		return (struct slice){ (const char *)own->secret, own->n_secret };
	for (size_t k = 0; k < MAX_CORES; k++) {
		const struct core *c = &f->cores[k];

		if (c == own || !c->peer || !c->n_secret ||
		    !xmpp_domains_has(f->domains, local, XMPP_DOMAIN_FEDERATION, c->peer))
			continue;
		if (at++ == i)
			return (struct slice){ (const char *)c->secret, c->n_secret };
	}
	return SLICE_NONE;
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

/* --- the port --- */

static void on_stream(void *arg, struct stream *s)
{
	struct federation_edge *f = arg;

	s2s_accept(f->engine, s);
}

static void on_refused(void *arg, const struct addr *from, const char *why)
{
}

static int listen_now(struct federation_edge *f, struct buf *errors)
{
	const struct xmpp_conf *c = conf_of(f);
	const char *tls = tls_names(f);
	struct stream_listener_conf l = { .tls = tls && tls[0] ? tls : NULL,
					  .detect_tls = true,
					  .verify = TLS_VERIFY_ASK,
					  .keepalive = true,
					  .alpn = ALPN_SERVER,
					  .kind = CONN_XMPP_S2S,
					  .handshake_ms = c->auth_timeout_ms,
					  .limits = { MAX_S2S, c->max_per_source,
						      c->new_per_second },
					  .zone = "federation",
					  .accepted = on_stream,
					  .refused = on_refused,
					  .arg = f };
	const bool want = xmpp_conf_on(c) && !f->is_draining &&
			  xmpp_domains_any(f->domains, XMPP_DOMAIN_FEDERATION);

	l.detect_tls = l.tls != NULL;
	return xmpp_listen_configure(&f->listen, &c->address, want ? c->s2s_port : 0, &l, errors);
}

/* --- tables --- */

static bool still_wanted(void *arg, tunnel_peer peer, const char *local, const char *remote)
{
	struct federation_edge *f = arg;

	return xmpp_domains_has(f->domains, local, XMPP_DOMAIN_FEDERATION, peer) &&
	       policy(f, local, remote, true).allowed;
}

/* One look for all items of a turn. */
static void on_look(void *arg)
{
	struct federation_edge *f = arg;
	struct buf errors;

	if (!f->snap)
		return;
	buf_init(&errors, 1024);
	listen_now(f, &errors); /* an alarm stands when it could not */
	buf_fini(&errors);
	s2s_recheck(f->engine);
	pair_links_recheck(f->links, still_wanted);
}

static void look_later(struct federation_edge *f)
{
	loop_defer(f->env->loop, &f->look);
}

static void on_domains(void *arg, const char *domain)
{
	look_later(arg);
}

static void domains_reset(void *arg, tunnel_peer from)
{
	struct federation_edge *f = arg;

	xmpp_domains_doubt(f->domains, from);
}

static void domains_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct federation_edge *f = arg;
	int error = xmpp_domains_put(f->domains, from, key, item);

	if (error < 0)
		bad_item(f, from, XMPP_TABLE_DOMAINS, error);
}

static void domains_del(void *arg, tunnel_peer from, const char *key)
{
	struct federation_edge *f = arg;

	xmpp_domains_del(f->domains, from, key);
}

static void domains_synced(void *arg, tunnel_peer from)
{
	struct federation_edge *f = arg;

	xmpp_domains_sweep(f->domains, from);
}

static void peer_state(void *arg, tunnel_peer from, bool up)
{
	struct federation_edge *f = arg;

	xmpp_domains_set_up(f->domains, from, up);
	if (!up)
		pair_links_peer_lost(f->links, from);
}

static const struct tunnel_sink domains_sink = { domains_reset, domains_put, domains_del,
						 domains_synced, peer_state };

/* The rules of before hold until all new ones are there: nobody is refused in between. */
static void partners_begin(void *arg, tunnel_peer from)
{
	struct core *c = core_get(arg, from);

	if (!c)
		return;
	partners_free(c->next);
	c->next = partners_new();
	if (!c->next)
		partners_reset(c->now);
}

static void partner_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct federation_edge *f = arg;
	struct core *c = core_get(f, from);
	int error = c ? partners_put(c->next ? c->next : c->now, key, item) : -ENOSPC;

	if (error < 0)
		bad_item(f, from, XMPP_TABLE_PARTNERS, error);
	look_later(f);
}

static void partner_del(void *arg, tunnel_peer from, const char *key)
{
	struct federation_edge *f = arg;
	struct core *c = core_get(f, from);

	if (!c)
		return;
	partners_del(c->next ? c->next : c->now, key);
	look_later(f);
}

static void partners_end(void *arg, tunnel_peer from)
{
	struct federation_edge *f = arg;
	struct core *c = core_get(f, from);

	if (!c || !c->next)
		return;
	partners_free(c->now);
	c->now = c->next;
	c->next = NULL;
	look_later(f);
}

static const struct tunnel_sink partners_sink = { partners_begin, partner_put, partner_del,
						  partners_end, NULL };

static void federation_reset(void *arg, tunnel_peer from)
{
	/* The secret of before stays good until there is another: keys may be under way. */
}

static void federation_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct federation_edge *f = arg;
	struct core *c = core_get(f, from);
	const json_t *text = json_object_get(item, "secret");
	uint8_t bytes[FEDERATION_SECRET_BYTES];
	long n = -1;

	if (strcmp(key, FEDERATION_KEY_DIALBACK) != 0)
		return; /* of a newer version */
	if (json_is_string(text))
		n = base64_decode(
			(struct slice){ json_string_value(text), json_string_length(text) }, bytes,
			sizeof(bytes));
	if (!c || n <= 0) {
		bad_item(f, from, XMPP_TABLE_FEDERATION, c ? -EINVAL : -ENOSPC);
	} else {
		memcpy(c->secret, bytes, (size_t)n);
		c->n_secret = (size_t)n;
	}
	OPENSSL_cleanse(bytes, sizeof(bytes));
}

static void federation_del(void *arg, tunnel_peer from, const char *key)
{
	struct core *c = core_find(arg, from);

	if (!c || strcmp(key, FEDERATION_KEY_DIALBACK) != 0)
		return;
	OPENSSL_cleanse(c->secret, sizeof(c->secret));
	c->n_secret = 0;
}

static const struct tunnel_sink federation_sink = { federation_reset, federation_put,
						    federation_del, NULL, NULL };

/* --- life --- */

struct federation_edge *federation_edge_new(struct env *env, struct link_edge *link)
{
	struct federation_edge *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->env = env;
	f->link = link;
	loop_deferred_init(&f->look, on_look, f);
	xmpp_listen_init(&f->listen, env, "partners");
	f->pool = xml_pool_new();
	f->engine = s2s_new(env, &engine_ops, f);
	f->links = pair_links_new(&links_ops, f);
	f->resolver = s2s_resolver_new(env->loop, env->dns);
	f->domains = xmpp_domains_new();
	if (f->pool && f->engine && f->links && f->resolver && f->domains &&
	    xmpp_domains_watch(f->domains, on_domains, f) == 0)
		return f;
	federation_edge_free(f);
	return NULL;
}

static void configure_engine(struct federation_edge *f)
{
	const struct federation_conf *c = conf_get(f->snap, "federation", NULL);
	const struct xmpp_conf *x = conf_of(f);
	struct s2s_conf conf = {
		.auth_timeout_ms = c->auth_timeout_ms,
		.idle_ms = c->idle_ms,
		.queue_bytes = c->queue_bytes,
		.max_streams = MAX_S2S,
		.max_pairs_in = 100,
		.max_pairs_source = MAX_PAIRS_SOURCE,
		.max_verify_source = MAX_VERIFY_SOURCE,
		.max_verify = MAX_S2S / 4,
		.max_unauthenticated = x->max_unauthenticated,
		.max_unauthenticated_source = x->max_unauthenticated_source,
		.bidi = c->bidi,
		.stream = { .timers = loop_timers(f->env->loop),
			    .pool = f->pool,
			    .content = XMPP_SERVER,
			    .limits = xml_stream_default_limits,
			    .rate_bytes = x->rate_bytes * RATE_FACTOR,
			    .burst_bytes = x->burst_bytes * RATE_FACTOR,
			    .send_timeout_ms = x->send_timeout_ms,
			    .sleep_ms = SLEEP_MS },
		.limits = xml_stream_default_limits,
		.zone = "federation",
	};
	struct pair_links_conf links = {
		.timers = conf.stream.timers,
		.pool = f->pool,
		.idle_ms = c->idle_ms,
		.queue_bytes = c->queue_bytes,
		.send_timeout_ms = x->send_timeout_ms,
	};

	conf.stream.limits.max_stanza_bytes = x->stanza_bytes_unauthenticated;
	conf.stream.limits.max_tree_bytes =
		2 * (size_t)x->stanza_bytes_unauthenticated + STRANGER_TREE_BYTES;
	conf.limits.max_stanza_bytes = x->stanza_bytes;
	/* What C reads of its server (federation_inside.c), printed anew. */
	links.limits = xml_stream_limits_printed(&conf.limits);
	links.limits = xml_stream_limits_printed(&links.limits);
	s2s_configure(f->engine, &conf);
	pair_links_configure(f->links, &links);
}

int federation_edge_configure(struct federation_edge *f, const struct conf_snapshot *snap,
			      struct buf *errors)
{
	const struct conf_snapshot *old = f->snap;

	f->snap = conf_ref(snap);
	if (old)
		conf_unref(old);
	configure_engine(f);
	return listen_now(f, errors);
}

int federation_edge_start(struct federation_edge *f, const struct tunnel_ops *tunnel, void *self)
{
	int error;

	f->tunnel = tunnel;
	f->tunnel_self = self;
	error = tunnel->subscribe(self, XMPP_TABLE_DOMAINS, &domains_sink, f);
	if (error == 0)
		error = tunnel->subscribe(self, XMPP_TABLE_PARTNERS, &partners_sink, f);
	if (error == 0)
		error = tunnel->subscribe(self, XMPP_TABLE_FEDERATION, &federation_sink, f);
	return error;
}

void federation_edge_take(struct federation_edge *f, tunnel_peer from, const struct preface *p,
			  struct stream *s)
{
	struct s2s_policy decided = policy(f, p->local, p->remote, false);
	char local[XMPP_DOMAIN_BYTES], remote[XMPP_DOMAIN_BYTES];

	/* A C speaks for its own domains alone. */
	if (!xmpp_domains_has(f->domains, p->local, XMPP_DOMAIN_FEDERATION, from)) {
		decided = (struct s2s_policy){ .decided_by = XMPP_TABLE_DOMAINS,
					       .why = "this C has not announced the domain" };
	}
	if (decided.allowed && xmpp_domain(slice_of(p->local), local) &&
	    xmpp_domain(slice_of(p->remote), remote)) {
		pair_links_take(f->links, from, local, remote, s);
		return;
	}
	trace_add(f->env->trace, "xmpp.federation.pair", decided.decided_by, &s->remote, NULL,
		  "C opened a stream for %s and %s: %s", p->local, p->remote,
		  decided.why ? decided.why : "not allowed");
	stream_close(s);
}

void federation_edge_drain(struct federation_edge *f)
{
	f->is_draining = true;
	xmpp_listen_close(&f->listen);
	s2s_drain(f->engine);
}

void federation_edge_free(struct federation_edge *f)
{
	if (!f)
		return;
	loop_defer_cancel(&f->look);
	xmpp_listen_close(&f->listen);
	pair_links_free(f->links);
	s2s_free(f->engine);
	s2s_resolver_free(f->resolver);
	xmpp_domains_free(f->domains);
	for (size_t i = 0; i < MAX_CORES; i++) {
		partners_free(f->cores[i].now);
		partners_free(f->cores[i].next);
		OPENSSL_cleanse(f->cores[i].secret, sizeof(f->cores[i].secret));
	}
	xml_pool_free(f->pool);
	if (f->snap)
		conf_unref(f->snap);
	free(f);
}

void federation_edge_each(const struct federation_edge *f,
			  void (*fn)(const struct xmpp_listing *l, void *arg), void *arg)
{
	s2s_each(f->engine, fn, arg);
}

struct s2s *federation_edge_engine(struct federation_edge *f)
{
	return f->engine;
}

struct xmpp_domains *federation_edge_domains(struct federation_edge *f)
{
	return f->domains;
}
