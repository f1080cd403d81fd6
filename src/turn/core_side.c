#include "turn/core_side.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/base64.h"
#include "core/log.h"
#include "core/trace.h"
#include "turn/mint.h"
#include "turn/server_item.h"
#include "turn/turn_conf.h"
#include "turnpike/api.h"
#include "turnpike/route.h"
#include "turnpike/tunnel.h"

struct turn_core {
	struct turn_core_world w;
	struct turn_mint mint;
	struct timer timer; /* the next secret is due, or an old one is over */
	const struct conf_snapshot *snap;
	const struct tunnel_ops *tunnel; /* NULL: none */
	void *tunnel_self;
	uint64_t n_made, n_refused, n_bad_items;
};

/* Who asks for a credential, and for what. */
struct turn_asked {
	const char *who;	 /* "[admin NAME]", for the trace */
	const struct addr *from; /* may be NULL */
	struct slice domain, label;
	int64_t ttl_s; /* 0: the configured one */
};

/* --- secrets --- */

static const char *peer_name(const struct turn_core *t, tunnel_peer peer)
{
	size_t n = t->tunnel ? t->tunnel->n_peers(t->tunnel_self) : 0;
	struct tunnel_peer_info info;

	for (size_t i = 0; i < n; i++)
		if (t->tunnel->peer(t->tunnel_self, i, &info) && info.id == peer)
			return info.name;
	return "?";
}

static int64_t now_of(const struct turn_core *t)
{
	return t->w.timers->now_ms;
}

/* NULL without memory. */
static json_t *secret_item(const struct turn_core *t, const struct turn_mint_secret *s)
{
	int64_t left_s = (s->until_ms - now_of(t) + 999) / 1000;
	json_t *item = NULL;
	struct buf text;

	buf_init(&text, 4 * sizeof(s->secret));
	base64_encode(&text, s->secret, sizeof(s->secret));
	if (!text.failed)
		item = json_pack("{s:s%,s:I}", "secret", text.p, text.n, "left",
				 (json_int_t)left_s);
	if (text.p)
		OPENSSL_cleanse(text.p, text.n);
	buf_fini(&text);
	return item;
}

static void each_secret(void *arg, tunnel_peer to,
			void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	struct turn_core *t = arg;

	for (size_t i = 0; i < t->mint.n_secrets; i++) {
		json_t *item = secret_item(t, &t->mint.secrets[i]);

		if (item)
			put(ctx, t->mint.secrets[i].id, item);
		json_decref(item);
	}
}

static void put_newest(struct turn_core *t)
{
	const struct turn_mint_secret *s = &t->mint.secrets[t->mint.n_secrets - 1];
	json_t *item = t->tunnel ? secret_item(t, s) : NULL;

	if (item)
		t->tunnel->put(t->tunnel_self, 0, TURN_TABLE_SECRETS, s->id, item);
	json_decref(item);
	log_info(t->w.log, "turn.secret.new", "id=%s secrets=%zu", s->id, t->mint.n_secrets);
}

static void on_timer(void *arg)
{
	struct turn_core *t = arg;
	struct turn_mint_change change;
	int64_t next_ms = turn_mint_turn(&t->mint, now_of(t), &change);

	for (size_t i = 0; i < change.n_gone; i++) {
		log_info(t->w.log, "turn.secret.over", "id=%s", change.gone[i]);
		if (t->tunnel)
			t->tunnel->del(t->tunnel_self, 0, TURN_TABLE_SECRETS, change.gone[i]);
	}
	if (change.put)
		put_newest(t);
	timer_start(t->w.timers, &t->timer, next_ms - now_of(t));
}

/* --- what each E says of its server --- */

static bool is_up(const struct turn_core *t, tunnel_peer peer)
{
	size_t n = t->tunnel ? t->tunnel->n_peers(t->tunnel_self) : 0;
	struct tunnel_peer_info info;

	for (size_t i = 0; i < n; i++)
		if (t->tunnel->peer(t->tunnel_self, i, &info) && info.id == peer)
			return info.up;
	return false;
}

/* The tunnel knows which E is up at this moment. */
static void look_who_is_up(struct turn_core *t)
{
	size_t n = t->tunnel ? t->tunnel->n_peers(t->tunnel_self) : 0;
	struct tunnel_peer_info info;
	struct turn_mint_server *s;

	/* Those that have a place first: it must not go to another. */
	for (size_t i = 0; i < TURN_MINT_SERVERS; i++)
		t->mint.servers[i].up = is_up(t, t->mint.servers[i].peer);
	for (size_t i = 0; i < n; i++) {
		if (!t->tunnel->peer(t->tunnel_self, i, &info) || !info.up)
			continue;
		s = turn_mint_server(&t->mint, info.id);
		if (s)
			s->up = true;
	}
}

static void forget(struct turn_core *t, tunnel_peer from)
{
	for (size_t i = 0; i < TURN_MINT_SERVERS; i++)
		if (t->mint.servers[i].peer == from)
			t->mint.servers[i].has_facts = false;
}

static void on_reset(void *arg, tunnel_peer from)
{
	forget(arg, from);
}

static void on_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct turn_core *t = arg;
	const char *why = "no room for another E";
	struct turn_mint_server *s;
	struct turn_facts facts;

	if (strcmp(key, TURN_SERVER_KEY) != 0)
		return; /* of a newer version */
	look_who_is_up(t);
	s = turn_mint_server(&t->mint, from);
	if (s && turn_server_item_read(item, &facts, &why)) {
		s->facts = facts;
		s->has_facts = true;
		return;
	}
	/* What it said before is not so any more. */
	forget(t, from);
	t->n_bad_items++;
	trace_add(t->w.trace, "turn.server.refused", peer_name(t, from), NULL, NULL,
		  "what E says of its TURN server: %s", why);
}

static void on_del(void *arg, tunnel_peer from, const char *key)
{
	if (strcmp(key, TURN_SERVER_KEY) == 0)
		forget(arg, from);
}

static const struct tunnel_sink servers = { .reset = on_reset, .put = on_put, .del = on_del };
static const struct tunnel_source secrets = { each_secret };

/* --- credentials --- */

static int refuse(struct turn_core *t, const struct turn_asked *q, int status,
		  const char *decided_by, const char *why, json_t **out)
{
	t->n_refused++;
	trace_add(t->w.trace, "turn.credential.refused", decided_by, q->from, NULL,
		  "%d for %s, domain %.*s: %s", status, q->who, SLICE_ARG(q->domain), why);
	return ctl_fail(out, status, "%s", why);
}

static json_t *answer(const struct turn_mint_credential *c)
{
	json_t *uris = json_array();

	for (size_t i = 0; i < c->n_uris; i++)
		json_array_append_new(uris, json_string(c->uris[i]));
	return json_pack("{s:s,s:s,s:I,s:s,s:o,s:s}", "username", c->username, "password",
			 c->password, "ttl", (json_int_t)c->ttl_s, "realm", c->server->realm,
			 "uris", uris, "server", c->server->host);
}

static const struct domain_conf *find_domain(const struct turn_core *t, struct slice name)
{
	char lower[254];

	if (!slice_copy(lower, sizeof(lower), name))
		return NULL;
	for (char *p = lower; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	return conf_get(t->snap, "domain", lower);
}

static int make(struct turn_core *t, const struct turn_asked *q, json_t **out)
{
	const struct domain_conf *d = find_domain(t, q->domain);
	struct turn_mint_credential c;
	char decided_by[64];

	if (!d)
		return refuse(t, q, 403, "[domain]", "the domain is not served", out);
	slice_copy(decided_by, sizeof(decided_by), SLICE("[domain "));
	slice_append(decided_by, sizeof(decided_by), 8, slice_of(d->common.name));
	if (!d->guest)
		return refuse(t, q, 403, decided_by, "the domain does not have guest = yes", out);
	look_who_is_up(t);
	if (!turn_mint_any_up(&t->mint))
		return refuse(t, q, 503, "tunnel", "no E is up", out);
	if (!turn_mint_is_ready(&t->mint))
		return refuse(t, q, 503, "tunnel", "no E that is up has a TURN server", out);
	if (!turn_mint_make(&t->mint, slice_of(d->common.name), q->label, q->ttl_s, t->w.wall_s(),
			    &c))
		return refuse(t, q, 503, "turn", "no credential could be made", out);
	*out = answer(&c);
	if (*out) {
		t->n_made++;
		trace_add(t->w.trace, "turn.credential.made", q->who, q->from, NULL,
			  "%s: username %s, server %s", d->common.name, c.username, c.server->host);
		log_info(t->w.log, "turn.credential.made", "by=%s domain=%s username=%s server=%s",
			 log_esc(slice_of(q->who)), d->common.name, log_esc(slice_of(c.username)),
			 c.server->host);
	}
	OPENSSL_cleanse(&c, sizeof(c));
	return *out ? 200 : refuse(t, q, 503, NULL, "out of memory", out);
}

/* --- the API and the control socket --- */

/* A member that is text, and absent only when it may be. */
static bool text_of(const json_t *body, const char *key, bool required, struct slice *out)
{
	const json_t *v = json_object_get(body, key);

	*out = (struct slice){ json_string_value(v), json_string_length(v) };
	return v ? json_is_string(v) : !required;
}

static bool knows_all(const json_t *body)
{
	size_t n = 0;

	n += json_object_get(body, "domain") ? 1 : 0;
	n += json_object_get(body, "user") ? 1 : 0;
	n += json_object_get(body, "ttl") ? 1 : 0;
	return n == json_object_size(body);
}

/* What is wrong with the question; NULL: nothing. */
static const char *check(const struct turn_core *t, const struct turn_asked *q, bool has_label)
{
	if (q->domain.n == 0 || q->domain.n > 253)
		return "domain must be the name of a domain";
	if (has_label && !turn_mint_label_valid(q->label))
		return "user must be 1 to 128 visible ASCII characters without colon, quote and "
		       "backslash";
	if (q->ttl_s < 0 || q->ttl_s > t->mint.ttl_ms / 1000)
		return "ttl must be seconds, from 1 to [turn] credential-ttl";
	return NULL;
}

static int on_api(void *arg, const struct api_request *r, json_t **out)
{
	struct turn_core *t = arg;
	const json_t *ttl = json_object_get(r->body, "ttl");
	struct turn_asked q = { .from = r->from };
	char who[64] = "[admin ";
	const char *why;
	size_t n;

	n = slice_append(who, sizeof(who), 7, slice_of(r->admin));
	slice_append(who, sizeof(who), n, SLICE("]"));
	q.who = who;
	if (!knows_all(r->body))
		return refuse(t, &q, 400, "api", "only domain, user and ttl are understood", out);
	if (!text_of(r->body, "domain", true, &q.domain))
		return refuse(t, &q, 400, "api", "domain must be text", out);
	if (!text_of(r->body, "user", false, &q.label))
		return refuse(t, &q, 400, "api", "user must be text", out);
	q.ttl_s = json_is_integer(ttl) && json_integer_value(ttl) > 0 ? json_integer_value(ttl)
		  : ttl						      ? -1
								      : 0;
	why = check(t, &q, q.label.p);
	return why ? refuse(t, &q, 400, "api", why, out) : make(t, &q, out);
}

static int on_ctl(void *self, const struct ctl_request *r, json_t **out)
{
	struct turn_core *t = self;
	const char *user = r->param(r, "user"), *ttl = r->param(r, "ttl"), *why;
	struct turn_asked q = { .who = "turnpikectl",
				.domain = slice_of(r->param(r, "domain")),
				.label = slice_of(user) };
	uint64_t seconds = 0;

	if (ttl && (!slice_u64(slice_of(ttl), INT32_MAX, &seconds) || seconds == 0))
		q.ttl_s = -1;
	else
		q.ttl_s = (int64_t)seconds;
	why = check(t, &q, user);
	return why ? refuse(t, &q, 400, "turnpikectl", why, out) : make(t, &q, out);
}

const struct ctl_command turn_core_commands[] = {
	{ .name = "turn-credentials", .acts = true, .run = on_ctl },
	{ .name = NULL },
};

/* --- life --- */

struct turn_core *turn_core_new(const struct turn_core_world *w)
{
	struct turn_core *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->w = *w;
	turn_mint_init(&t->mint, w->random);
	timer_init(&t->timer, on_timer, t);
	return t;
}

int turn_core_start(struct turn_core *t, const struct service *tunnel, const struct service *api)
{
	const struct tunnel_ops *ops = tunnel->ops;
	const struct api_ops *a = api->ops;
	int error = 0;

	if (ops) {
		t->tunnel = ops;
		t->tunnel_self = tunnel->self;
		error = ops->publish(tunnel->self, TURN_TABLE_SECRETS, &secrets, t);
		if (error == 0)
			error = ops->subscribe(tunnel->self, TURN_TABLE_SERVER, &servers, t);
	}
	if (error == 0 && a)
		error = a->add(api->self, "POST", TURN_CREDENTIALS_PATH, on_api, t);
	return error;
}

void turn_core_configure(struct turn_core *t, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = t->snap;
	const struct turn_conf *c = conf_get(snap, "turn", NULL);

	t->snap = conf_ref(snap);
	if (old)
		conf_unref(old);
	turn_mint_configure(&t->mint, c->credential_ms, now_of(t));
	on_timer(t);
}

void turn_core_stop(struct turn_core *t)
{
	timer_stop(t->w.timers, &t->timer);
	t->tunnel = NULL; /* edges keep the secrets as long as these say */
}

void turn_core_free(struct turn_core *t)
{
	if (!t)
		return;
	timer_stop(t->w.timers, &t->timer);
	turn_mint_fini(&t->mint);
	if (t->snap)
		conf_unref(t->snap);
	free(t);
}

void turn_core_status(const struct turn_core *t, json_t *out)
{
	size_t n_servers = 0;

	for (size_t i = 0; i < TURN_MINT_SERVERS; i++)
		if (t->mint.servers[i].peer && t->mint.servers[i].has_facts)
			n_servers++;
	json_object_set_new(out, "secrets", json_integer((json_int_t)t->mint.n_secrets));
	json_object_set_new(out, "servers", json_integer((json_int_t)n_servers));
	json_object_set_new(out, "credentials_made", json_integer((json_int_t)t->n_made));
	json_object_set_new(out, "credentials_refused", json_integer((json_int_t)t->n_refused));
	json_object_set_new(out, "bad_items", json_integer((json_int_t)t->n_bad_items));
}
