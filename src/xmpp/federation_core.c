/*
 * C's half of federation: says E what is allowed (three tables), and carries stanzas between the
 * link and the IM servers. What E says is checked as if a partner had said it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/base64.h"
#include "base/siphash.h"
#include "core/log.h"
#include "core/net.h"
#include "core/trace.h"
#include "turnpike/route.h"
#include "xmpp/federation_core_impl.h"

/* --- what federates --- */

static bool names_have(const struct conf_names *names, const char *domain)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->v[i], domain) == 0)
			return true;
	return false;
}

/* Chat nodes and components have no section of their own: they federate with the domains that
 * their server has beside them. */
static bool has_federating(const struct federation_core *f, const struct im_server_conf *s)
{
	for (size_t i = 0; i < s->domains.n; i++) {
		const struct domain_conf *d = conf_get(f->snap, "domain", s->domains.v[i]);

		if (d && d->federation)
			return true;
	}
	return false;
}

static const struct im_server_conf *server_with(const struct federation_core *f, const char *domain)
{
	const struct im_server_conf *s = NULL;

	while ((s = conf_next(f->snap, "im-server", s)))
		if (s->enabled && names_have(&s->domains, domain))
			return s;
	return NULL;
}

static bool is_on(const struct federation_core *f)
{
	return f->snap && xmpp_conf_on(federation_xmpp_conf(f)) &&
	       federation_conf_of(f)->mode != FEDERATION_OFF;
}

const struct im_server_conf *federation_server_of(const struct federation_core *f,
						  const char *domain)
{
	const struct domain_conf *d;
	const struct im_server_conf *s;

	if (!is_on(f))
		return NULL;
	d = conf_get(f->snap, "domain", domain);
	s = server_with(f, domain);
	if (!s || s->federation == XMPP_INNER_NONE)
		return NULL;
	return (d ? d->federation : has_federating(f, s)) ? s : NULL;
}

bool federation_is_ours(const struct federation_core *f, const char *domain)
{
	return f->snap && (conf_get(f->snap, "domain", domain) || server_with(f, domain));
}

struct s2s_policy federation_policy(const struct federation_core *f, const char *local,
				    const char *remote)
{
	return partners_decide(f->partners, federation_server_of(f, local),
			       federation_is_ours(f, remote), remote);
}

/* --- tables --- */

static void add_domain(struct federation_core *f, json_t *out, const char *name, bool chat)
{
	const bool federation = federation_server_of(f, name);
	char domain[XMPP_DOMAIN_BYTES];

	if ((!chat && !federation) || !xmpp_domain(slice_of(name), domain))
		return;
	json_object_set_new(out, domain,
			    json_pack("{s:b,s:b}", "chat", chat, "federation", federation));
}

static json_t *make_domains(struct federation_core *f)
{
	json_t *out = json_object();
	const struct im_server_conf *s = NULL;
	const struct domain_conf *d = NULL;

	if (!out || !xmpp_conf_on(federation_xmpp_conf(f)))
		return out;
	while ((d = conf_next(f->snap, "domain", d)))
		add_domain(f, out, d->common.name, d->im && server_with(f, d->common.name));
	while ((s = conf_next(f->snap, "im-server", s)))
		for (size_t i = 0; s->enabled && i < s->domains.n; i++)
			if (!conf_get(f->snap, "domain", s->domains.v[i]))
				add_domain(f, out, s->domains.v[i], false);
	return out;
}

static void add_rule(void *arg, const char *key, const json_t *item)
{
	json_object_set_new(arg, key, json_deep_copy(item));
}

static json_t *make_rules(struct federation_core *f)
{
	json_t *out = json_object();

	if (out && is_on(f))
		partners_each(f->partners, add_rule, out);
	return out;
}

static json_t *make_secrets(struct federation_core *f)
{
	const char *written = federation_conf_of(f)->dialback_secret;
	json_t *out = json_object();
	struct slice secret = slice_of(written && written[0] ? written : f->made_secret);
	struct buf text;

	if (!out || !is_on(f))
		return out;
	buf_init(&text, 2 * FEDERATION_SECRET_BYTES);
	base64_encode(&text, secret.p, secret.n);
	if (!text.failed)
		json_object_set_new(out, FEDERATION_KEY_DIALBACK,
				    json_pack("{s:s%}", "secret", text.p, text.n));
	if (text.p)
		OPENSSL_cleanse(text.p, text.n);
	buf_fini(&text);
	return out;
}

/* Only what is new goes over. */
static void publish(struct federation_core *f, const char *table, json_t **now, json_t *next)
{
	json_t *old = *now, *item;
	const char *key;

	if (!next)
		return; /* no memory: E keeps what it has */
	*now = next;
	if (f->tunnel) {
		json_object_foreach(next, key,
				    item) if (!json_equal(item, json_object_get(old, key)))
			f->tunnel->put(f->tunnel_self, 0, table, key, item);
		json_object_foreach(old, key, item) if (!json_object_get(next, key))
			f->tunnel->del(f->tunnel_self, 0, table, key);
	}
	json_decref(old);
}

static void publish_all(struct federation_core *f)
{
	/* Rules before domains: E must not refuse a partner of a new domain for want of them. */
	publish(f, XMPP_TABLE_FEDERATION, &f->secrets, make_secrets(f));
	publish(f, XMPP_TABLE_PARTNERS, &f->rules, make_rules(f));
	publish(f, XMPP_TABLE_DOMAINS, &f->domains, make_domains(f));
}

static void put_each(json_t *items, void (*put)(void *ctx, const char *key, const json_t *item),
		     void *ctx)
{
	const char *key;
	json_t *item;

	json_object_foreach(items, key, item) put(ctx, key, item);
}

static void each_domain(void *arg, tunnel_peer to,
			void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	put_each(((struct federation_core *)arg)->domains, put, ctx);
}

static void each_rule(void *arg, tunnel_peer to,
		      void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	put_each(((struct federation_core *)arg)->rules, put, ctx);
}

static void each_secret(void *arg, tunnel_peer to,
			void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	put_each(((struct federation_core *)arg)->secrets, put, ctx);
}

static const struct tunnel_source domain_source = { each_domain }, rule_source = { each_rule },
				  secret_source = { each_secret };

/* --- stanzas --- */

/* To our user: what was sent to the partner did not get there. */
static void bounce_inside(struct federation_core *f, const char *local, const char *remote,
			  const struct xml_node *stanza, struct xml_arena *arena,
			  const char *condition)
{
	struct xml_node *e =
		xmpp_stanza_error(arena, stanza, pair_link_error_type(condition), condition, NULL);

	if (e)
		federation_inside_send(f, local, remote, e);
}

/* An E that is up: the one that has a stream of the pair, else always the same one for a pair, so
 * that pairs spread and stanzas keep their order. 0: none. */
static tunnel_peer pick_edge(struct federation_core *f, const char *local, const char *remote)
{
	static const uint8_t key[16] = "turnpike pairs";
	size_t n = f->tunnel ? f->tunnel->n_peers(f->tunnel_self) : 0;
	uint64_t best = 0;
	struct tunnel_peer_info info;
	char text[2 * XMPP_DOMAIN_BYTES + 64];
	tunnel_peer out = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t rank;
		size_t at;

		if (!f->tunnel->peer(f->tunnel_self, i, &info) || !info.up)
			continue;
		if (pair_links_has(f->links, info.id, local, remote))
			return info.id;
		at = slice_append(text, sizeof(text), 0, slice_of(info.name));
		at = slice_append(text, sizeof(text), at, SLICE(" "));
		at = slice_append(text, sizeof(text), at, slice_of(local));
		at = slice_append(text, sizeof(text), at, slice_of(remote));
		rank = siphash(key, text, at) / 2;
		/* One whose connections on the link stand goes before all others. */
		if (link_core_up(f->link, info.id))
			rank += UINT64_MAX / 2;
		if (!out || rank > best) {
			best = rank;
			out = info.id;
		}
	}
	return out;
}

void federation_to_edge(struct federation_core *f, const char *local, const char *remote,
			struct xml_node *stanza, struct xml_arena *arena)
{
	tunnel_peer to = pick_edge(f, local, remote);
	int error;

	if (!to) {
		bounce_inside(f, local, remote, stanza, arena, "remote-server-timeout");
		return;
	}
	error = pair_links_send(f->links, to, local, remote, stanza);
	if (error < 0)
		bounce_inside(f, local, remote, stanza, arena, pair_link_condition(error));
}

static void from_edge(void *arg, tunnel_peer peer, const char *local, const char *remote,
		      struct xml_node *stanza, struct xml_arena *arena)
{
	struct federation_core *f = arg;
	const char *condition;
	struct xml_node *e;
	int error = federation_inside_send(f, local, remote, stanza);

	if (error == 0)
		return;
	condition = pair_link_condition(error);
	e = xmpp_stanza_error(arena, stanza, pair_link_error_type(condition), condition, NULL);
	if (e)
		pair_links_send(f->links, peer, local, remote, e);
}

static void undeliverable(void *arg, tunnel_peer peer, const char *local, const char *remote,
			  struct xml_node *stanza, struct xml_arena *arena, const char *condition)
{
	bounce_inside(arg, local, remote, stanza, arena, condition);
}

static void flow(void *arg, tunnel_peer peer, const char *local, const char *remote, bool is_full)
{
	federation_inside_pause(arg, local, remote, is_full);
}

static void refused(void *arg, tunnel_peer peer, const char *local, const char *remote,
		    const struct addr *from, const char *why)
{
	struct federation_core *f = arg;

	trace_add(f->env->trace, "xmpp.federation.hostile", "link", from, NULL,
		  "the stream of %s and %s with E was ended: %s", local, remote, why);
}

/* Until the stream has its owner, which is at once. */
static void no_bytes(void *arg)
{
}

static void no_end(void *arg, enum stream_end end, const char *why)
{
}

static int open_link(void *arg, tunnel_peer peer, const struct preface *p, struct stream **now,
		     uint64_t *id, void (*done)(void *ctx, struct stream *s, const char *why),
		     void *ctx)
{
	static const struct stream_handler handler = { .readable = no_bytes, .closed = no_end };
	struct federation_core *f = arg;
	int error = -EPIPE;

	*id = 0;
	*now = link_core_open(f->link, peer, p, &handler, NULL, &error);
	return *now ? 0 : error;
}

static void cancel_link(void *arg, uint64_t id)
{
}

static const struct pair_links_ops links_ops = {
	.open = open_link,
	.cancel = cancel_link,
	.deliver = from_edge,
	.undeliverable = undeliverable,
	.flow = flow,
	.refused = refused,
};

/* --- life --- */

struct federation_core *federation_core_new(struct env *env, struct link_core *link,
					    struct im_servers *servers)
{
	struct federation_core *f = calloc(1, sizeof(*f));
	uint8_t secret[FEDERATION_INNER_SECRET];
	struct buf hex;

	if (!f)
		return NULL;
	f->env = env;
	f->link = link;
	f->servers = servers;
	net_random(secret, sizeof(secret));
	buf_init(&hex, 2 * sizeof(secret));
	hex_encode(&hex, secret, sizeof(secret));
	slice_copy(f->made_secret, sizeof(f->made_secret), buf_slice(&hex));
	buf_fini(&hex);
	f->pool = xml_pool_new();
	f->partners = partners_new();
	f->links = pair_links_new(&links_ops, f);
	if (federation_inside_init(f) == 0 && f->pool && f->partners && f->links &&
	    f->made_secret[0])
		return f;
	federation_core_free(f);
	return NULL;
}

static void configure_links(struct federation_core *f)
{
	const struct federation_conf *c = federation_conf_of(f);
	const struct xmpp_conf *x = federation_xmpp_conf(f);
	struct pair_links_conf conf = {
		.timers = loop_timers(f->env->loop),
		.pool = f->pool,
		.is_core = true,
		.idle_ms = c->idle_ms,
		.queue_bytes = c->queue_bytes,
		.limits = xml_stream_default_limits,
		.send_timeout_ms = x->send_timeout_ms,
	};

	/* E has held the partner to these. */
	conf.limits.max_stanza_bytes = x->stanza_bytes;
	conf.limits = xml_stream_limits_printed(&conf.limits);

	pair_links_configure(f->links, &conf);
}

static bool still_wanted(void *arg, tunnel_peer peer, const char *local, const char *remote)
{
	return federation_policy(arg, local, remote).allowed;
}

int federation_core_configure(struct federation_core *f, const struct conf_snapshot *snap,
			      struct buf *errors)
{
	const struct conf_snapshot *old = f->snap;
	int error = partners_load(f->partners, snap);

	if (error < 0) {
		buf_printf(errors, "[federation]: %s\n", strerror(-error));
		return error;
	}
	f->snap = conf_ref(snap);
	configure_links(f);
	error = federation_inside_configure(f, old, errors);
	publish_all(f);
	pair_links_recheck(f->links, still_wanted);
	if (old)
		conf_unref(old);
	return error;
}

int federation_core_start(struct federation_core *f, const struct tunnel_ops *tunnel, void *self)
{
	int error = tunnel->publish(self, XMPP_TABLE_FEDERATION, &secret_source, f);

	if (error == 0)
		error = tunnel->publish(self, XMPP_TABLE_PARTNERS, &rule_source, f);
	if (error == 0)
		error = tunnel->publish(self, XMPP_TABLE_DOMAINS, &domain_source, f);
	if (error < 0)
		return error;
	f->tunnel = tunnel;
	f->tunnel_self = self;
	return 0;
}

void federation_core_take(struct federation_core *f, tunnel_peer from, const struct preface *p,
			  struct stream *s)
{
	char local[XMPP_DOMAIN_BYTES], remote[XMPP_DOMAIN_BYTES];
	struct s2s_policy decided = { .decided_by = "[domain]", .why = "not a domain" };

	if (xmpp_domain(slice_of(p->local), local) && xmpp_domain(slice_of(p->remote), remote))
		decided = federation_policy(f, local, remote);
	if (decided.allowed) {
		pair_links_take(f->links, from, local, remote, s);
		return;
	}
	trace_add(f->env->trace, "xmpp.federation.pair", decided.decided_by, &s->remote, NULL,
		  "E opened a stream for %s and %s: %s", p->local, p->remote,
		  decided.why ? decided.why : "not allowed");
	stream_close(s);
}

void federation_core_drain(struct federation_core *f)
{
	f->is_draining = true;
	xmpp_listen_close(&f->listen);
	s2s_drain(f->engine);
}

void federation_core_free(struct federation_core *f)
{
	if (!f)
		return;
	pair_links_free(f->links);
	federation_inside_fini(f);
	partners_free(f->partners);
	json_decref(f->domains);
	json_decref(f->rules);
	json_decref(f->secrets);
	OPENSSL_cleanse(f->made_secret, sizeof(f->made_secret));
	xml_pool_free(f->pool);
	if (f->snap)
		conf_unref(f->snap);
	free(f);
}

void federation_core_each(const struct federation_core *f,
			  void (*fn)(const struct xmpp_listing *l, void *arg), void *arg)
{
	federation_inside_each(f, fn, arg);
}

struct s2s *federation_core_engine(struct federation_core *f)
{
	return f->engine;
}
