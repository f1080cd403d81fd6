/*
 * Chat streams on C: their life.
 *
 *   HEADER --header [outer_header]--> FINDING --nodes [found]--> DIALLING
 *   DIALLING --features [core_agreed]--> SASL; --failed [core_node_failed]--> DIALLING (next node)
 *   SASL --<auth/> of a user of another node [core_find_home]--> FINDING_HOME --> REHOMING --> SASL
 *   SASL --success--> RESTART --header--> RELAY; --SASL2 success--> RELAY
 *   RELAY --</stream:stream>--> ENDING --> OVER
 *   parked (RELAY, ENDING) --an error for E [core_fail]--> LEAVING --E's connection--> OVER
 *   any --refused [core_fail], cut [core_cut]--> OVER
 *
 * A stream that is OVER has no legs; its memory goes at the end of the turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/net.h"
#include "core/trace.h"
#include "xmpp/c2s_core_impl.h"

#define OFFERED_MAX_BYTES (256u * 1024)

struct c2s_core *c2s_core_new(struct env *env, const struct c2s_core_ops *ops, void *arg)
{
	struct c2s_core *c = calloc(1, sizeof(*c));

	if (c)
		c->pool = xml_pool_new();
	if (!c || !c->pool) {
		free(c);
		return NULL;
	}
	c->env = env;
	c->ops = ops;
	c->arg = arg;
	heap_init(&c->heap, loop_timers(env->loop));
	c->auth_timeout_ms = 30000;
	c->send_timeout_ms = 60000;
	c->stanza_bytes = 256 * 1024;
	c->stanza_bytes_unauthenticated = 10 * 1024;
	list_init(&c->streams);
	list_init(&c->dead);
	idtab_init(&c->ids, CORE_PARK_IDS);
	net_random(&c->salt, sizeof(c->salt));
	return c;
}

/* --- memory --- */
void core_forget_nodes(struct core_login *l)
{
	for (size_t i = 0; i < l->n_nodes; i++) {
		free(l->nodes[i].server);
		free(l->nodes[i].host);
	}
	l->n_nodes = l->at = 0;
}

void core_login_free(struct core_login *l)
{
	if (!l)
		return;
	core_forget_nodes(l);
	xml_arena_reset(&l->offered_in);
	xml_arena_reset(&l->waiting_in);
	free(l->from);
	free(l->lang);
	free(l->key);
	free(l->new_key);
	free(l->user);
	free(l->id);
	free(l);
}

static void stream_free(void *arg)
{
	struct core_stream *s = arg;

	loop_defer_cancel(&s->later);
	list_del(&s->node);
	idtab_del(&s->core->ids, s->id);
	core_login_free(s->login);
	free(s->domain);
	free(s);
}

void core_over(struct core_stream *s, const char *why)
{
	struct timerq *timers = loop_timers(s->core->env->loop);
	uint64_t their_id = s->their_id;

	if (s->state == CORE_OVER)
		return;
	core_forget_parked(s);
	if (their_id)
		s->core->ops->cut(s->core->arg, s->from, their_id);
	core_set_state(s, CORE_OVER);
	timer_stop(timers, &s->timer);
	timer_stop(timers, &s->agree_timer);
	if (s->find_id)
		s->core->ops->cancel(s->core->arg, s->find_id);
	s->find_id = 0;
	xmpp_free(s->inner);
	xmpp_free(s->outer);
	s->inner = s->outer = NULL;
	conn_end(s->core->env->conns, &s->conn, "%s", why);
	list_del(&s->node);
	list_add_tail(&s->core->dead, &s->node);
	s->core->n--;
	loop_defer(s->core->env->loop, &s->later);
}

void c2s_core_free(struct c2s_core *c)
{
	if (!c)
		return;
	LIST_FOREACH_SAFE (it, &c->streams) {
		core_forget_parked(CONTAINER_OF(it, struct core_stream, node));
		core_over(CONTAINER_OF(it, struct core_stream, node), "shutting down");
	}
	LIST_FOREACH_SAFE (it, &c->dead)
		stream_free(CONTAINER_OF(it, struct core_stream, node));
	heap_fini(&c->heap);
	idtab_fini(&c->ids);
	xml_pool_free(c->pool);
	free(c);
}

/* --- settings --- */
struct xml_stream_limits core_limits(const struct core_stream *s)
{
	struct xml_stream_limits l = xml_stream_default_limits;

	l.max_stanza_bytes =
		s->login ? s->core->stanza_bytes_unauthenticated : s->core->stanza_bytes;
	/* E has held the client to these, and prints what it read. */
	return xml_stream_limits_printed(&l);
}

struct xml_stream_limits core_inner_limits(const struct core_stream *s)
{
	struct xml_stream_limits l = xml_stream_default_limits;

	/* The server prints anew what others sent it, adds to it, and has rosters of its own. */
	l.max_stanza_bytes = s->core->stanza_bytes;
	return xml_stream_limits_printed(&l);
}

void core_stream_conf(const struct core_stream *s, struct xmpp_stream_conf *out)
{
	/* How long a client may be silent, and how fast it may be, is up to E. */
	*out = (struct xmpp_stream_conf){ .timers = loop_timers(s->core->env->loop),
					  .pool = s->core->pool,
					  .content = XMPP_CLIENT,
					  .limits = core_limits(s),
					  .send_timeout_ms = s->core->send_timeout_ms,
					  .sleep_ms = CORE_SLEEP_MS };
}

static void apply(struct core_stream *s)
{
	struct xmpp_stream_conf conf;

	core_stream_conf(s, &conf);
	xmpp_configure(s->outer, &conf);
	xmpp_set_limits(s->outer, &conf.limits);
	if (!s->inner)
		return;
	conf.limits = core_inner_limits(s);
	xmpp_configure(s->inner, &conf);
	xmpp_set_limits(s->inner, &conf.limits);
}

void c2s_core_configure(struct c2s_core *c, const struct xmpp_conf *conf)
{
	c->auth_timeout_ms = conf->auth_timeout_ms;
	c->send_timeout_ms = conf->send_timeout_ms;
	c->stanza_bytes = conf->stanza_bytes;
	c->stanza_bytes_unauthenticated = conf->stanza_bytes_unauthenticated;
	c->keep_binding = conf->keep_binding;
	LIST_FOREACH (it, &c->streams)
		apply(CONTAINER_OF(it, struct core_stream, node));
}

/* --- states and ends --- */
void core_set_state(struct core_stream *s, enum core_state state)
{
	static const char *const names[] = {
		[CORE_HEADER] = "waiting for header",
		[CORE_FINDING] = "finding server",
		[CORE_DIALLING] = "connecting",
		[CORE_SASL] = "signing in",
		[CORE_FINDING_HOME] = "finding home",
		[CORE_REHOMING] = "changing server",
		[CORE_RESTART] = "signed in",
		[CORE_RELAY] = "relaying",
		[CORE_ENDING] = "ending",
		[CORE_LEAVING] = "last words",
		[CORE_OVER] = "over",
	};

	s->state = state;
	s->conn.state = state == CORE_RELAY && s->their_id ? "parked" : names[state];
}

static void trace_text(struct core_stream *s, const char *code, const char *decided_by,
		       const char *text)
{
	trace_add(s->core->env->trace, code, decided_by, &s->client, s->conn.session, "%s", text);
}

void core_trace(struct core_stream *s, const char *code, const char *decided_by, const char *fmt,
		...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	trace_text(s, code, decided_by, text);
}

void core_fail(struct core_stream *s, enum xmpp_condition c, const char *code,
	       const char *decided_by, const char *fmt, ...)
{
	const struct xmpp_header mine = { .from = s->domain, .version = "1.0" };
	char text[200], why[CONN_REASON_BYTES];
	va_list ap;

	if (s->state >= CORE_LEAVING)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	trace_text(s, code, decided_by, text);
	/* What E and the client are told has no names of ours: the condition's own text is in the
	 * trace. */
	xmpp_fail(s->outer, c,
		  c == XMPP_REMOTE_CONNECTION_FAILED ? "no IM server can be reached" : NULL, &mine);
	snprintf(why, sizeof(why), "%s: %.120s", xmpp_condition_str(c), text);
	if (s->their_id)
		core_last_words(s, why);
	else
		core_over(s, why);
}

void core_cut(struct core_stream *s, const char *why)
{
	core_over(s, why);
}

static void on_conn_close(struct conn *c, const char *reason)
{
	struct core_stream *s = CONTAINER_OF(c, struct core_stream, conn);

	if (s->state == CORE_LEAVING) {
		core_over(s, reason);
		return;
	}
	if (s->inner)
		xmpp_end(s->inner); /* what is queued goes out before the leg is cut */
	core_fail(s, XMPP_RESET, "xmpp.core.closed", NULL, "%s", reason);
}

static void on_timeout(void *arg)
{
	struct core_stream *s = arg;

	if (s->their_id) {
		core_park_tick(s);
		return;
	}
	core_fail(s, XMPP_CONNECTION_TIMEOUT, "xmpp.core.auth-timeout", "[xmpp] auth-timeout",
		  "not signed in within %u s, %s", s->core->auth_timeout_ms / 1000, s->conn.state);
}

static void on_agree_timeout(void *arg)
{
	core_node_failed(arg, "does not get to its features within %d s", CORE_AGREE_MS / 1000);
}

/* --- lock-step --- */
void core_wait(struct core_stream *s)
{
	if (s->outer_waits)
		return;
	s->outer_waits = true;
	xmpp_pause(s->outer);
}

void core_go_on(struct core_stream *s)
{
	if (!s->outer_waits || !s->outer)
		return;
	s->outer_waits = false;
	xmpp_resume(s->outer);
}

/* --- users --- */
void core_set_user(struct core_stream *s, const char *bare)
{
	char session[CONN_SESSION_BYTES];

	slice_copy(s->conn.user, sizeof(s->conn.user), slice_of(bare));
	slice_copy(session, sizeof(session), slice_of(s->conn.session));
	s->core->ops->user(s->core->arg, bare, &s->client, session);
	slice_copy(s->conn.session, sizeof(s->conn.session), slice_of(session));
}

void core_signed_in(struct core_stream *s)
{
	if (s->login->user)
		core_set_user(s, s->login->user);
	core_login_free(s->login);
	s->login = NULL;
	apply(s);
	log_info(s->core->env->log, "xmpp.core.signed-in",
		 "user=%s server=%s client=%s mechanism=%s", log_esc(slice_of(s->conn.user)),
		 log_esc(slice_of(s->conn.zone)), addr_str(&s->client, (char[ADDR_STR_BYTES]){ 0 }),
		 log_esc(slice_of(s->mechanism)));
}

/* --- taking one --- */
static struct core_login *login_new(struct c2s_core *c, const struct preface *p)
{
	struct core_login *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->preface = *p;
	l->offered_in = (struct xml_arena){ .pool = c->pool, .max_bytes = OFFERED_MAX_BYTES };
	l->waiting_in = (struct xml_arena){ .pool = c->pool, .max_bytes = OFFERED_MAX_BYTES };
	return l;
}

static int enter(struct core_stream *s, const struct preface *p, const struct stream *link)
{
	struct conn *c = &s->conn;

	c->kind = CONN_XMPP;
	c->transport = CONN_TCP;
	c->parent = link->conn_id;
	c->close = on_conn_close;
	slice_copy(c->session, sizeof(c->session), slice_of(p->session));
	if (!addr_parse(slice_of(p->client), 0, &s->client))
		s->client = (struct addr){ 0 };
	return conn_add(s->core->env->conns, c);
}

static struct core_stream *stream_new(struct c2s_core *c, const struct preface *p,
				      const struct stream *link)
{
	struct core_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->core = c;
	list_init(&s->node);
	loop_deferred_init(&s->later, stream_free, s);
	timer_init(&s->timer, on_timeout, s);
	timer_init(&s->agree_timer, on_agree_timeout, s);
	core_set_state(s, CORE_HEADER);
	s->domain = slice_dup(slice_of(p->domain));
	s->login = login_new(c, p);
	if (s->domain && s->login && enter(s, p, link) == 0)
		return s;
	stream_free(s);
	return NULL;
}

void c2s_core_take(struct c2s_core *c, tunnel_peer from, const struct preface *p, struct stream *s)
{
	struct core_stream *cs = stream_new(c, p, s);
	struct xmpp_stream_conf conf;

	if (!cs) {
		trace_add(c->env->trace, "xmpp.core.full", NULL, NULL, p->session,
			  "connection table full, or no memory");
		stream_close(s);
		return;
	}
	cs->from = from;
	core_stream_conf(cs, &conf);
	cs->outer = xmpp_stream_new(&conf, s, &core_outer_handler, cs);
	if (!cs->outer) {
		conn_end(c->env->conns, &cs->conn, "out of memory");
		stream_free(cs);
		return;
	}
	list_add_tail(&c->streams, &cs->node);
	c->n++;
	timer_start(loop_timers(c->env->loop), &cs->timer, c->auth_timeout_ms);
}

/* --- what others ask --- */
void c2s_core_domain_gone(struct c2s_core *c, const char *domain)
{
	LIST_FOREACH_SAFE (it, &c->streams) {
		struct core_stream *s = CONTAINER_OF(it, struct core_stream, node);

		if (!slice_caseeq(slice_of(s->domain), slice_of(domain)))
			continue;
		if (s->inner)
			xmpp_end(s->inner);
		core_fail(s, XMPP_HOST_GONE, "xmpp.core.domain-gone", "[domain]",
			  "chat of %s is served no more", s->domain);
	}
}

static void list_one(const struct core_stream *s, void (*fn)(const struct xmpp_listing *, void *),
		     void *arg)
{
	static const struct xmpp_stream_stats none;
	struct stream *socket = s->inner ? xmpp_socket(s->inner) : NULL;
	const SSL *ssl = socket && socket->is_tls ? stream_ssl(socket) : NULL;
	char tls[64] = "";
	struct xmpp_listing l = { .conn = &s->conn,
				  .domain = s->domain,
				  .remote = "",
				  .tls = tls,
				  .auth = s->mechanism,
				  .direction = "out",
				  .resumable = s->resumable,
				  .last_error = "",
				  .stats = s->inner ? xmpp_stream_stats(s->inner) : &none };

	if (ssl) {
		snprintf(tls, sizeof(tls), "%s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
		l.cert_expires_s = tls_peer_expires_s(ssl);
	}
	fn(&l, arg);
}

void c2s_core_each(const struct c2s_core *c, void (*fn)(const struct xmpp_listing *l, void *arg),
		   void *arg)
{
	LIST_FOREACH (it, &c->streams)
		list_one(CONTAINER_OF(it, struct core_stream, node), fn, arg);
}

size_t c2s_core_count(const struct c2s_core *c)
{
	return c->n;
}
