#ifndef TESTS_SUPPORT_XMPP_S2S_BOX_H
#define TESTS_SUPPORT_XMPP_S2S_BOX_H
/*
 * A small world for tests of streams between servers: engines and scripts (servers whose every byte
 * the test writes), joined by stream pairs. DNS is the table of boxes, TLS is a flag that both ends
 * agree on, certificates are words, and the test turns the clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conn.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/stream_pair.h"
#include "core/trace.h"
#include "xmpp/s2s.h"

#define S2S_WORLD_BOXES	   4
#define S2S_WORLD_LINKS	   64
#define S2S_SCRIPT_STREAMS 16

enum s2s_cert { CERT_NONE, CERT_GOOD, CERT_EXPIRED, CERT_WRONG_NAME };

struct s2s_world;
struct s2s_box {
	struct s2s_world *world;
	struct s2s *s2s;
	struct s2s_conf conf;
	const char *domains[3]; /* of ours */
	enum s2s_cert cert;
	struct s2s_policy in, out;
	const char *denied; /* a remote that neither way is allowed */
	const char *secrets[3];
	struct buf got; /* "local<remote stanza\n" */
	bool is_down;	/* nobody can connect to it */
	bool no_dns;
	bool direct_tls;
	bool is_script;
	enum s2s_cert shown; /* scripts: what they present */
	struct stream *script[S2S_SCRIPT_STREAMS];
	size_t n_script;
	unsigned n_accepted, n_dialled;
	struct timer resolving;
};
struct s2s_link {
	struct stream *end[2];
	struct s2s_box *box[2];
	bool asked[2];
	enum s2s_cert cert[2];
};
struct s2s_world {
	struct env env;
	struct timerq timers;
	struct xml_pool *pool;
	struct s2s_box box[S2S_WORLD_BOXES];
	size_t n_boxes;
	struct s2s_link links[S2S_WORLD_LINKS];
	size_t n_links;
	struct loop_deferred upgrade;
	uint32_t random;
	struct {
		uint64_t id;
		struct s2s_box *by;
		char remote[XMPP_DOMAIN_BYTES];
		void (*done)(void *ctx, const struct s2s_target *t, size_t n, bool not_found,
			     const char *why);
		void *ctx;
	} asked[64];
	uint64_t next_id;
	struct timer dns;
	bool dns_is_slow;
};

static struct s2s_world *s2s_the_world; /* ops.random has no argument */

static inline int64_t s2s_world_now(void *arg)
{
	return ((struct s2s_world *)arg)->timers.now_ms;
}

/* --- ops --- */

static inline struct s2s_policy s2s_box_policy(void *arg, const char *local, const char *remote,
					       bool incoming)
{
	struct s2s_box *b = arg;
	struct s2s_policy p = incoming ? b->in : b->out;

	p.decided_by = "[partner test]";
	if (b->denied && strcmp(b->denied, remote) == 0) {
		p.allowed = false;
		p.why = "on the deny list";
	}
	return p;
}

static inline bool s2s_box_serves(const struct s2s_box *b, const char *domain)
{
	for (size_t i = 0; i < 3; i++) {
		if (b->domains[i] && strcmp(b->domains[i], domain) == 0)
			return true;
	}
	return false;
}

static inline bool s2s_box_is_local(void *arg, const char *domain)
{
	return s2s_box_serves(arg, domain);
}

static inline void s2s_box_deliver(void *arg, const char *local, const char *remote,
				   struct xml_node *stanza, struct xml_arena *arena)
{
	struct s2s_box *b = arg;

	buf_printf(&b->got, "%s<%s ", local, remote);
	xml_node_print(stanza, XMPP_SERVER, false, &b->got);
	buf_add_char(&b->got, '\n');
}

static inline struct s2s_box *s2s_world_box(struct s2s_world *w, const char *domain)
{
	for (size_t i = 0; i < w->n_boxes; i++) {
		if (s2s_box_serves(&w->box[i], domain))
			return &w->box[i];
	}
	return NULL;
}

static inline void s2s_world_dns(void *arg)
{
	struct s2s_world *w = arg;

	for (size_t i = 0; i < 64; i++) {
		struct s2s_target t[2] = { { .host = "one" }, { .host = "two" } };
		struct s2s_box *to;

		if (!w->asked[i].id)
			continue;
		w->asked[i].id = 0;
		to = s2s_world_box(w, w->asked[i].remote);
		for (int k = 0; k < 2; k++) {
			addr_parse_ip(SLICE("192.0.2.1"), (uint16_t)(5269 + k), &t[k].addr);
			t[k].direct_tls = to && to->direct_tls;
		}
		if (!to || to->no_dns)
			w->asked[i].done(w->asked[i].ctx, NULL, 0, !to, "no such domain");
		else
			w->asked[i].done(w->asked[i].ctx, t, 2, false, "");
	}
}

static inline uint64_t s2s_box_resolve(void *arg, const char *local, const char *remote,
				       void (*done)(void *ctx, const struct s2s_target *t, size_t n,
						    bool not_found, const char *why),
				       void *ctx)
{
	struct s2s_box *b = arg;
	struct s2s_world *w = b->world;

	for (size_t i = 0; i < 64; i++) {
		if (w->asked[i].id)
			continue;
		w->asked[i].id = ++w->next_id;
		w->asked[i].by = b;
		w->asked[i].done = done;
		w->asked[i].ctx = ctx;
		snprintf(w->asked[i].remote, sizeof(w->asked[i].remote), "%s", remote);
		if (!w->dns_is_slow)
			timer_start(&w->timers, &w->dns, 0);
		return w->asked[i].id;
	}
	return 0;
}

static inline void s2s_box_resolve_cancel(void *arg, uint64_t id)
{
	struct s2s_box *b = arg;

	for (size_t i = 0; i < 64; i++) {
		if (b->world->asked[i].id == id)
			b->world->asked[i].id = 0;
	}
}

static inline struct s2s_link *s2s_world_join(struct s2s_world *w, struct s2s_box *from,
					      struct s2s_box *to)
{
	struct s2s_link *l = &w->links[w->n_links++ % S2S_WORLD_LINKS];

	memset(l, 0, sizeof(*l));
	if (stream_pair_new(w->env.loop, l->end) < 0)
		return NULL;
	l->box[0] = from;
	l->box[1] = to;
	l->cert[0] = from->is_script ? from->shown : from->cert;
	l->cert[1] = to->is_script ? to->shown : to->cert;
	for (int i = 0; i < 2; i++) {
		addr_parse_ip(i ? SLICE("192.0.2.1") : SLICE("192.0.2.2"), 5269, &l->end[i]->local);
		addr_parse_ip(i ? SLICE("192.0.2.2") : SLICE("192.0.2.1"), 5269,
			      &l->end[i]->remote);
	}
	return l;
}

/* Scripts keep the raw ends of what is dialled to them. */
static inline void s2s_script_quiet(void *arg)
{
}
static inline void s2s_script_closed(void *arg, enum stream_end end, const char *why)
{
	struct stream **s = arg;

	*s = NULL;
}
static const struct stream_handler s2s_script_handler = { .readable = s2s_script_quiet,
							  .closed = s2s_script_closed };

static inline void s2s_script_take(struct s2s_box *b, struct stream *s)
{
	size_t i = b->n_script++ % S2S_SCRIPT_STREAMS;

	if (b->script[i])
		stream_abort(b->script[i]);
	b->script[i] = s;
	stream_set_handler(s, &s2s_script_handler, &b->script[i]);
}

static inline struct stream *s2s_box_connect(void *arg, const struct s2s_target *t,
					     const char *local, const char *remote,
					     const struct stream_handler *h, void *ctx, int *error)
{
	struct s2s_box *b = arg, *to = s2s_world_box(b->world, remote);
	struct s2s_link *l;

	b->n_dialled++;
	*error = -111; /* ECONNREFUSED */
	if (!to || to->is_down)
		return NULL;
	l = s2s_world_join(b->world, b, to);
	if (!l)
		return NULL;
	stream_set_handler(l->end[0], h, ctx);
	l->end[0]->is_tls = l->end[1]->is_tls = t->direct_tls;
	to->n_accepted++;
	if (to->is_script)
		s2s_script_take(to, l->end[1]);
	else
		s2s_accept(to->s2s, l->end[1]);
	return l->end[0];
}

static inline struct s2s_link *s2s_world_link(struct s2s_world *w, struct stream *s, int *side)
{
	for (size_t n = w->n_links < S2S_WORLD_LINKS ? w->n_links : S2S_WORLD_LINKS, i = 0; i < n;
	     i++) {
		struct s2s_link *l = &w->links[(w->n_links - 1 - i) % S2S_WORLD_LINKS];

		for (*side = 0; *side < 2; ++*side) {
			if (l->end[*side] == s)
				return l;
		}
	}
	return NULL;
}

static inline void s2s_world_upgrade(void *arg)
{
	struct s2s_world *w = arg;

	for (size_t i = 0; i < S2S_WORLD_LINKS; i++) {
		struct s2s_link *l = &w->links[i];
		bool all = l->end[0] && (l->asked[0] || l->box[0]->is_script) &&
			   (l->asked[1] || l->box[1]->is_script) && (l->asked[0] || l->asked[1]);

		if (!all)
			continue;
		for (int k = 0; k < 2; k++)
			l->end[k]->is_tls = true;
		for (int k = 1; k >= 0; k--) {
			bool asked = l->asked[k];

			l->asked[k] = false;
			if (asked && l->end[k]->state == STREAM_OPEN && l->end[k]->handler)
				l->end[k]->handler->opened(l->end[k]->arg);
		}
	}
}

static inline int s2s_box_start_tls(void *arg, struct stream *s, bool server, const char *local,
				    const char *remote)
{
	struct s2s_box *b = arg;
	int side;
	struct s2s_link *l = s2s_world_link(b->world, s, &side);

	if (!l)
		return -22;
	l->asked[side] = true;
	loop_defer(b->world->env.loop, &b->world->upgrade);
	return 0;
}

static inline void s2s_box_identity(void *arg, struct stream *s, const char *domain,
				    struct s2s_identity *out)
{
	struct s2s_box *b = arg;
	int side;
	struct s2s_link *l = s2s_world_link(b->world, s, &side);
	enum s2s_cert cert = l ? l->cert[!side] : CERT_NONE;

	memset(out, 0, sizeof(*out));
	out->tls = s->is_tls;
	if (!s->is_tls)
		return;
	snprintf(out->tls_text, sizeof(out->tls_text), "TLSv1.3 TEST");
	out->verified = cert == CERT_GOOD || cert == CERT_WRONG_NAME;
	out->names_domain = (cert == CERT_GOOD || cert == CERT_EXPIRED) && l &&
			    s2s_box_serves(l->box[!side], domain);
	out->expires_s = cert == CERT_NONE ? 0 : 2000000000;
	if (!out->verified || !out->names_domain)
		snprintf(out->why, sizeof(out->why), "%s",
			 cert == CERT_NONE	? "no certificate"
			 : cert == CERT_EXPIRED ? "peer certificate expired"
						: "name mismatch");
}

static inline bool s2s_box_own(void *arg, const char *local)
{
	return ((struct s2s_box *)arg)->cert != CERT_NONE;
}

static inline struct slice s2s_box_secret(void *arg, const char *local, size_t i)
{
	struct s2s_box *b = arg;

	return i < 3 && s2s_box_serves(b, local) ? slice_of(b->secrets[i]) : SLICE_NONE;
}

static inline void s2s_box_random(void *p, size_t n)
{
	uint8_t *to = p;

	for (size_t i = 0; i < n; i++) {
		s2s_the_world->random = s2s_the_world->random * 1664525u + 1013904223u;
		to[i] = (uint8_t)(s2s_the_world->random >> 24);
	}
}

static const struct s2s_ops s2s_box_ops = {
	.policy = s2s_box_policy,
	.is_local = s2s_box_is_local,
	.deliver = s2s_box_deliver,
	.resolve = s2s_box_resolve,
	.resolve_cancel = s2s_box_resolve_cancel,
	.connect = s2s_box_connect,
	.start_tls = s2s_box_start_tls,
	.identity = s2s_box_identity,
	.own_certificate = s2s_box_own,
	.secret = s2s_box_secret,
	.random = s2s_box_random,
};

/* --- world --- */

static inline struct s2s_world *s2s_world_new(void)
{
	struct s2s_world *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	s2s_the_world = w;
	w->env.loop = loop_new();
	timerq_init(&w->timers, 1000000);
	w->pool = xml_pool_new();
	w->env.trace = trace_new(256, s2s_world_now, w);
	w->env.conns = conn_table_new(1000, 64, s2s_world_now, w);
	loop_deferred_init(&w->upgrade, s2s_world_upgrade, w);
	timer_init(&w->dns, s2s_world_dns, w);
	return w;
}

static inline struct s2s_box *s2s_world_add(struct s2s_world *w, const char *domain, bool is_script)
{
	struct s2s_box *b = &w->box[w->n_boxes++];

	b->world = w;
	b->domains[0] = domain;
	b->is_script = is_script;
	b->cert = b->shown = CERT_GOOD;
	b->secrets[0] = domain;
	b->in = b->out = (struct s2s_policy){ .allowed = true };
	b->conf = (struct s2s_conf){
		.auth_timeout_ms = 30000,
		.idle_ms = 600000,
		.queue_bytes = 256 * 1024,
		.max_streams = 100,
		.max_pairs_in = 100,
		.max_unauthenticated = 50,
		.stream = { .timers = &w->timers,
			    .pool = w->pool,
			    .content = XMPP_SERVER,
			    .limits = xml_stream_default_limits },
		.limits = { 64, 64, 10000, 1024, 256 * 1024, 0 },
		.zone = "federation",
	};
	buf_init(&b->got, 1 << 20);
	if (is_script)
		return b;
	b->s2s = s2s_new(&w->env, &s2s_box_ops, b);
	if (b->s2s)
		s2s_configure(b->s2s, &b->conf);
	return b;
}

/* Until nothing moves any more. */
static inline void s2s_world_settle(struct s2s_world *w)
{
	for (int i = 0; i < 40; i++) {
		loop_once(w->env.loop, 0);
		timerq_run(&w->timers, w->timers.now_ms);
	}
}

static inline void s2s_world_pass(struct s2s_world *w, int64_t ms)
{
	int64_t end_ms = w->timers.now_ms + ms;

	while (w->timers.now_ms < end_ms) {
		int64_t step = end_ms - w->timers.now_ms;

		timerq_run(&w->timers, w->timers.now_ms + (step > 1000 ? 1000 : step));
		for (int i = 0; i < 8; i++)
			loop_once(w->env.loop, 0);
	}
	s2s_world_settle(w);
}

static inline void s2s_world_free(struct s2s_world *w)
{
	for (size_t i = 0; i < w->n_boxes; i++) {
		s2s_free(w->box[i].s2s);
		buf_fini(&w->box[i].got);
		for (int k = 0; k < S2S_SCRIPT_STREAMS; k++)
			stream_abort(w->box[i].script[k]);
	}
	loop_defer_cancel(&w->upgrade);
	for (int i = 0; i < 8; i++)
		loop_once(w->env.loop, 0);
	timer_stop(&w->timers, &w->dns);
	xml_pool_free(w->pool);
	conn_table_free(w->env.conns);
	trace_free(w->env.trace);
	loop_free(w->env.loop);
	free(w);
}

/* --- stanzas and scripts --- */

static inline int s2s_box_send_named(struct s2s_box *b, const char *local, const char *remote,
				     const char *name, const char *from, const char *to,
				     const char *text)
{
	struct xml_arena a = { .pool = b->world->pool };
	struct xml_node *e = xml_node_new(&a, NULL, XMPP_SERVER, name), *body;
	int err = -12; /* ENOMEM */

	body = e ? xml_node_new(&a, e, XMPP_SERVER, "body") : NULL;
	if (body && xml_node_set(&a, e, "from", slice_of(from)) == 0 &&
	    xml_node_set(&a, e, "to", slice_of(to)) == 0 &&
	    xml_node_set(&a, e, "id", SLICE("1")) == 0 &&
	    xml_node_add_text(&a, body, slice_of(text)) == 0)
		err = s2s_send(b->s2s, local, remote, e);
	xml_arena_reset(&a);
	return err;
}

/* A message from user@local to user@remote. */
static inline int s2s_box_send(struct s2s_box *b, const char *local, const char *remote,
			       const char *text)
{
	char from[300], to[300];

	snprintf(from, sizeof(from), "romeo@%s", local);
	snprintf(to, sizeof(to), "juliet@%s/balcony", remote);
	return s2s_box_send_named(b, local, remote, "message", from, to, text);
}

/* The script opens a stream to an engine. */
static inline struct stream **s2s_script_dial(struct s2s_box *script, struct s2s_box *to, bool tls)
{
	struct s2s_link *l = s2s_world_join(script->world, script, to);
	struct stream **mine = &script->script[script->n_script % S2S_SCRIPT_STREAMS];

	l->end[0]->is_tls = l->end[1]->is_tls = tls;
	s2s_script_take(script, l->end[0]);
	s2s_accept(to->s2s, l->end[1]);
	return mine;
}

static inline void s2s_script_write(struct stream **s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static inline void s2s_script_write(struct stream **s, const char *fmt, ...)
{
	va_list ap;

	if (!*s)
		return;
	va_start(ap, fmt);
	evbuffer_add_vprintf(stream_out(*s), fmt, ap);
	va_end(ap);
	stream_flush(*s);
	s2s_world_settle(s2s_the_world);
}

/* What came since the last time; the text lives until the next call. "" also when it is closed. */
static inline const char *s2s_script_read(struct stream **s)
{
	static char text[65536];
	int n;

	s2s_world_settle(s2s_the_world);
	text[0] = '\0';
	if (!*s)
		return text;
	n = evbuffer_remove(stream_in(*s), text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	stream_consumed(*s);
	return text;
}

/* Has the engine closed it (and everything was read)? */
static inline bool s2s_script_is_closed(struct stream **s)
{
	s2s_world_settle(s2s_the_world);
	return !*s || stream_eof(*s);
}

#endif
