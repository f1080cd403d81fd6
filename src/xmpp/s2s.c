/* The engine: life of streams, limits, listings. The rest is in the files of s2s_impl.h. */
#include "xmpp/s2s.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "xmpp/s2s_impl.h"

static const char *state_str(enum s2s_state state)
{
	static const char *const names[] = {
		[S2S_RESOLVING] = "resolving",
		[S2S_HEADER] = "connecting",
		[S2S_FEATURES] = "features",
		[S2S_STARTTLS] = "starttls",
		[S2S_TLS] = "tls",
		[S2S_SASL] = "sasl",
		[S2S_DIALBACK] = "dialback",
		[S2S_ASKING] = "asking",
		[S2S_IN_HEADER] = "header",
		[S2S_IN_NEGOTIATING] = "negotiating",
		[S2S_IN_RESTART] = "restart",
		[S2S_OPEN] = "open",
		[S2S_ENDING] = "ending",
		[S2S_OVER] = "over",
	};

	return names[state];
}

static const char *kind_str(const struct s2s_stream *st)
{
	return st->kind == S2S_IN ? "in" : st->kind == S2S_OUT ? "out" : "verify";
}

void s2s_set_state(struct s2s_stream *st, enum s2s_state state)
{
	if (st->state == state || st->state == S2S_OVER)
		return;
	log_debug(st->s2s->env->log, "xmpp.s2s.state",
		  "direction=%s local=%s remote=%s from=%s to=%s", kind_str(st),
		  log_esc(slice_of(st->local)), log_esc(slice_of(st->remote)), state_str(st->state),
		  state_str(state));
	st->state = state;
	st->conn.state = state_str(state);
}

void s2s_trace(struct s2s_stream *st, const char *code, const char *decided_by, const char *fmt,
	       ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	trace_add(st->s2s->env->trace, code, decided_by, &st->conn.remote, NULL,
		  "%s (%s, %s and %s)", text, kind_str(st), st->local[0] ? st->local : "-",
		  st->remote[0] ? st->remote : "-");
}

void s2s_look_at_identity(struct s2s_stream *st, const char *domain)
{
	struct s2s *s = st->s2s;

	memset(&st->identity, 0, sizeof(st->identity));
	if (st->tls && st->x && xmpp_socket(st->x))
		s->ops->identity(s->arg, xmpp_socket(st->x), domain, &st->identity);
}

const char *s2s_misfit(const struct s2s_policy *p, const struct s2s_stream *st, const char *method)
{
	if (!p->allowed)
		return p->why ? p->why : "not allowed";
	if (p->tls == S2S_TLS_REQUIRED && !st->tls)
		return "TLS is required";
	if (p->auth == S2S_AUTH_CERTIFICATE && strcmp(method, "dialback") == 0)
		return "a certificate is required";
	if (p->auth == S2S_AUTH_DIALBACK && strcmp(method, "dialback") != 0)
		return "dialback is required";
	return NULL;
}

enum xmpp_condition s2s_read_error(const struct xml_node *e, struct xml_arena *arena, char *out,
				   size_t size)
{
	struct xml_node *text = xml_node_child(e, XMPP_STREAM_ERROR, "text");
	struct xml_node *c = xml_node_child(e, XMPP_STREAM_ERROR, NULL);
	const char *said;

	while (c && c == text)
		c = xml_node_again(c, XMPP_STREAM_ERROR, NULL);
	said = text ? xml_node_text(arena, text) : NULL;
	snprintf(out, size, "the other side said: %s%s%.100s", c ? c->name : "undefined-condition",
		 said && *said ? ": " : "", said ? said : "");
	return c ? xmpp_condition_of(c->name) : XMPP_UNDEFINED_CONDITION;
}

/* --- life of a stream --- */

static void closed_by_hand(struct conn *c, const char *reason)
{
	struct s2s_stream *st = CONTAINER_OF(c, struct s2s_stream, conn);

	if (st->kind != S2S_IN && st->state != S2S_OPEN && st->state != S2S_ENDING)
		s2s_out_give_up(st, S2S_BROKEN, reason);
	else
		s2s_stream_refuse(st, XMPP_RESET, reason);
}

static void deadline_passed(void *arg)
{
	struct s2s_stream *st = arg;

	if (st->kind != S2S_IN) {
		s2s_out_timeout(st);
		return;
	}
	s2s_trace(st, "xmpp.s2s.timeout", "[federation] auth-timeout",
		  "no pair was authenticated in time");
	s2s_stream_refuse(st, XMPP_CONNECTION_TIMEOUT, "not authenticated in time");
}

/* Who opened it ends it; one that never does is not kept for ever. 0: never. */
static int64_t idle_ms(const struct s2s_stream *st)
{
	return (st->kind == S2S_OUT ? 1 : 2) * (int64_t)st->s2s->conf.idle_ms;
}

static void start_tick(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;
	int64_t left = S2S_KEEPALIVE_MS, idle;

	if (idle_ms(st)) {
		idle = st->last_stanza_ms + idle_ms(st) - s2s_now_ms(s);
		left = idle < left ? idle : left;
	}
	timer_start(s2s_timers(s), &st->tick, left);
}

static void ticked(void *arg)
{
	struct s2s_stream *st = arg;
	struct s2s *s = st->s2s;

	if (st->state != S2S_OPEN || !st->x)
		return;
	if (idle_ms(st) && s2s_now_ms(s) - st->last_stanza_ms >= idle_ms(st)) {
		s2s_stream_end(st, "idle");
		return;
	}
	xmpp_send_space(st->x);
	start_tick(st);
}

struct s2s_stream *s2s_stream_new(struct s2s *s, enum s2s_kind kind)
{
	struct s2s_stream *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->s2s = s;
	st->kind = kind;
	st->state = kind == S2S_IN ? S2S_IN_HEADER : S2S_RESOLVING;
	st->conn.state = state_str(st->state);
	list_init(&st->proofs);
	list_init(&st->over);
	timer_init(&st->deadline, deadline_passed, st);
	timer_init(&st->tick, ticked, st);
	list_add_tail(&s->streams, &st->node);
	s->n_streams++;
	if (kind == S2S_IN)
		s->n_unauthenticated++;
	return st;
}

int s2s_stream_enter(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;
	struct stream *socket = xmpp_socket(st->x);
	int err;

	st->conn.kind = CONN_XMPP_S2S;
	st->conn.transport = socket->is_tls ? CONN_TLS : CONN_TCP;
	st->conn.local = socket->local;
	st->conn.remote = socket->remote;
	st->conn.close = closed_by_hand;
	slice_copy(st->conn.zone, sizeof(st->conn.zone), slice_of(s->conf.zone));
	slice_copy(st->conn.user, sizeof(st->conn.user), slice_of(st->remote));
	err = conn_add(s->env->conns, &st->conn);
	st->is_entered = err == 0;
	return err;
}

static void count(struct s2s_stream *st)
{
	const struct xmpp_stream_stats *stats = st->x ? xmpp_stream_stats(st->x) : NULL;

	if (!stats)
		return;
	st->conn.rx_packets = stats->n_in;
	st->conn.tx_packets = stats->n_out;
	st->conn.rx_bytes = stats->in_bytes;
	st->conn.tx_bytes = stats->out_bytes;
}

void s2s_later(struct s2s *s)
{
	loop_defer(s->env->loop, &s->later);
}

void s2s_stream_over(struct s2s_stream *st, const char *why)
{
	struct s2s *s = st->s2s;
	struct s2s_pair *pair = st->pair;

	if (st->state == S2S_OVER)
		return;
	count(st);
	if (st->kind == S2S_IN && st->n_proven == 0)
		s->n_unauthenticated--;
	s2s_set_state(st, S2S_OVER);
	timer_stop(s2s_timers(s), &st->deadline);
	timer_stop(s2s_timers(s), &st->tick);
	if (st->resolving)
		s->ops->resolve_cancel(s->arg, st->resolving);
	st->resolving = 0;
	if (st->is_entered)
		conn_end(s->env->conns, &st->conn, "%s", why);
	st->is_entered = false;
	xmpp_free(st->x);
	st->x = NULL;
	/* It stays in the list of streams until then, so that who walks along it does not stumble.
	 */
	list_add_tail(&s->over, &st->over);
	s->n_streams--;
	s2s_later(s);
	while (!list_empty(&st->proofs))
		s2s_proof_drop(CONTAINER_OF(st->proofs.next, struct s2s_proof, of_stream));
	if (st->asker) {
		st->asker->verify = NULL;
		st->asker = NULL;
	}
	if (!pair)
		return;
	st->pair = NULL;
	if (pair->out == st)
		pair->out = NULL;
	if (pair->sender == st) {
		pair->sender = NULL;
		s2s_pair_flush(pair);
	}
}

static void stream_free(struct s2s_stream *st)
{
	list_del(&st->node);
	list_del(&st->over);
	free(st->targets);
	free(st->key);
	free(st);
}

void s2s_stream_refuse(struct s2s_stream *st, enum xmpp_condition c, const char *text)
{
	struct xmpp_header h = { 0 };
	char why[S2S_WHY_BYTES];

	if (st->state == S2S_OVER)
		return;
	snprintf(why, sizeof(why), "%s: %s", xmpp_condition_str(c), text);
	if (st->kind == S2S_IN) {
		h.id = st->id[0] ? st->id : NULL;
		h.from = st->local[0] ? st->local : NULL;
		h.to = st->remote[0] ? st->remote : NULL;
		h.version = "1.0";
		h.dialback = true;
	}
	if (st->x)
		xmpp_fail(st->x, c, text, st->kind == S2S_IN ? &h : NULL);
	s2s_stream_over(st, why);
}

void s2s_stream_end(struct s2s_stream *st, const char *why)
{
	struct s2s_pair *pair = st->pair;

	if (st->state == S2S_ENDING || st->state == S2S_OVER)
		return;
	s2s_set_state(st, S2S_ENDING);
	slice_copy(st->why, sizeof(st->why), slice_of(why));
	timer_stop(s2s_timers(st->s2s), &st->tick);
	timer_stop(s2s_timers(st->s2s), &st->deadline);
	/* Nobody sends into it any more: what comes next gets another one. */
	if (pair && pair->out == st)
		pair->out = NULL;
	if (pair && pair->sender == st) {
		pair->sender = NULL;
		s2s_pair_flush(pair);
	}
	LIST_FOREACH (it, &st->proofs) {
		struct s2s_proof *p = CONTAINER_OF(it, struct s2s_proof, of_stream);

		if (p->pair->sender != st)
			continue;
		p->pair->sender = NULL;
		s2s_pair_flush(p->pair);
	}
	if (st->x)
		xmpp_end(st->x);
}

void s2s_stream_open(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;

	timer_stop(s2s_timers(s), &st->deadline);
	s2s_set_state(st, S2S_OPEN);
	st->last_stanza_ms = s2s_now_ms(s);
	slice_copy(st->conn.user, sizeof(st->conn.user), slice_of(st->remote));
	xmpp_set_limits(st->x, &s->conf.limits);
	start_tick(st);
}

/* --- the engine --- */

/* What must not happen inside the callback that brought it. */
static void run_later(void *arg)
{
	struct s2s *s = arg;

	while (!list_empty(&s->over))
		stream_free(CONTAINER_OF(s->over.next, struct s2s_stream, over));
	s2s_bounces_run(s);
}

static struct slice pair_key(const struct htab_node *node)
{
	const struct s2s_pair *p = CONTAINER_OF(node, struct s2s_pair, node);

	return (struct slice){ p->names, p->n_names };
}

struct s2s *s2s_new(struct env *env, const struct s2s_ops *ops, void *arg)
{
	struct s2s *s = calloc(1, sizeof(*s));
	uint8_t seed[16];

	if (!s)
		return NULL;
	ops->random(seed, sizeof(seed));
	if (htab_init(&s->pairs, seed, pair_key) < 0) {
		free(s);
		return NULL;
	}
	s->env = env;
	s->ops = ops;
	s->arg = arg;
	list_init(&s->lru);
	list_init(&s->streams);
	list_init(&s->over);
	list_init(&s->bounces);
	loop_deferred_init(&s->later, run_later, s);
	return s;
}

void s2s_configure(struct s2s *s, const struct s2s_conf *conf)
{
	s->conf = *conf;
	s->is_configured = true;
	LIST_FOREACH (it, &s->streams) {
		struct s2s_stream *st = CONTAINER_OF(it, struct s2s_stream, node);

		if (st->x)
			xmpp_configure(st->x, &conf->stream);
		if (st->state != S2S_OPEN)
			continue;
		xmpp_set_limits(st->x, &conf->limits);
		start_tick(st);
	}
}

void s2s_drain(struct s2s *s)
{
	s->is_draining = true;
}

void s2s_free(struct s2s *s)
{
	if (!s)
		return;
	s->is_draining = true;
	LIST_FOREACH (it, &s->streams) {
		struct s2s_stream *st = CONTAINER_OF(it, struct s2s_stream, node);

		if (st->state == S2S_OPEN)
			s2s_stream_refuse(st, XMPP_SYSTEM_SHUTDOWN, "going down");
		else
			s2s_stream_over(st, "going down");
	}
	while (!list_empty(&s->over))
		stream_free(CONTAINER_OF(s->over.next, struct s2s_stream, over));
	s2s_pairs_free(s);
	loop_defer_cancel(&s->later);
	free(s);
}

static void turn_away(struct s2s *s, struct stream *socket, const char *decided_by, const char *why)
{
	struct conn c = { .kind = CONN_XMPP_S2S,
			  .transport = socket->is_tls ? CONN_TLS : CONN_TCP,
			  .local = socket->local,
			  .remote = socket->remote,
			  .state = "refused" };

	slice_copy(c.zone, sizeof(c.zone), slice_of(s->conf.zone));
	trace_add(s->env->trace, "xmpp.s2s.limit", decided_by, &socket->remote, NULL, "%s", why);
	conn_refused(s->env->conns, &c, "%s", why);
	stream_abort(socket);
}

void s2s_accept(struct s2s *s, struct stream *socket)
{
	struct s2s_stream *st;

	if (!s->is_configured || s->is_draining) {
		turn_away(s, socket, "drain", "no new streams now");
		return;
	}
	if (s->n_streams >= s->conf.max_streams) {
		turn_away(s, socket, "max-streams", "too many streams between servers");
		return;
	}
	if (s->n_unauthenticated >= s->conf.max_unauthenticated) {
		turn_away(s, socket, "max-unauthenticated",
			  "too many streams of servers that have not proved who they are");
		return;
	}
	if (s2s_in_too_many(s, &socket->remote)) {
		turn_away(s, socket, "max-unauthenticated-per-source",
			  "too many streams of this address have not proved who they are");
		return;
	}
	st = s2s_stream_new(s, S2S_IN);
	if (!st) {
		stream_abort(socket);
		return;
	}
	s2s_in_start(st, socket);
}

/* --- a changed policy --- */

static void recheck_proofs(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;
	enum xmpp_condition c = XMPP_POLICY_VIOLATION;
	char why[S2S_WHY_BYTES] = "";

	if (st->state == S2S_OVER || !st->x)
		return;
	/* A pair that goes may have been what the stream waited for; nothing is read before all are
	 * looked at. */
	xmpp_pause(st->x);
	LIST_FOREACH_SAFE (it, &st->proofs) {
		struct s2s_proof *p = CONTAINER_OF(it, struct s2s_proof, of_stream);
		struct s2s_policy policy = s2s_policy_of(s, p->pair->local, p->pair->remote, true);
		const char *misfit = s2s_misfit(&policy, st, p->method ? p->method : "dialback");

		if (!s->ops->is_local(s->arg, p->pair->local)) {
			misfit = "not a domain of ours any more";
			c = XMPP_HOST_GONE;
		}
		if (!misfit)
			continue;
		slice_copy(why, sizeof(why), slice_of(misfit));
		s2s_trace(st, "xmpp.s2s.withdrawn", policy.decided_by, "%s to %s: %s",
			  p->pair->remote, p->pair->local, misfit);
		s2s_pair_error(p->pair, misfit);
		if (p->method)
			s2s_proof_drop(p);
		else
			s2s_dialback_verified(p, S2S_REFUSED, misfit);
	}
	if (why[0] && st->kind == S2S_IN && st->n_proofs == 0)
		s2s_stream_refuse(st, c, why);
	if (st->x)
		xmpp_resume(st->x);
}

static void recheck_sending(struct s2s_pair *p)
{
	struct s2s *s = p->s2s;
	struct s2s_policy policy = s2s_policy_of(s, p->local, p->remote, false);
	struct s2s_stream *out = p->out;
	const char *misfit = policy.why ? policy.why : "not allowed";

	if (p->sender && p->sender != out) {
		p->sender = NULL; /* looked for again */
		if (policy.allowed)
			s2s_pair_flush(p);
	}
	if (!policy.allowed) {
		p->sender = NULL;
		s2s_pair_bounce(p, S2S_REFUSED);
	}
	if (!out)
		return;
	if (out->state == S2S_OPEN) {
		const char *m = s2s_misfit(&policy, out, out->auth);

		if (!m)
			return;
		s2s_trace(out, "xmpp.s2s.withdrawn", policy.decided_by, "%s", m);
		s2s_pair_error(p, m);
		s2s_stream_end(out, m);
	} else if (!policy.allowed) {
		s2s_out_give_up(out, S2S_REFUSED, misfit);
	}
}

void s2s_recheck(struct s2s *s)
{
	LIST_FOREACH (it, &s->streams)
		recheck_proofs(CONTAINER_OF(it, struct s2s_stream, node));
	HTAB_FOREACH (it, &s->pairs)
		recheck_sending(CONTAINER_OF(it, struct s2s_pair, node));
}

/* --- listings --- */

static const char *first_auth(const struct s2s_stream *st)
{
	return st->auth ? st->auth : "";
}

void s2s_each(const struct s2s *s, void (*fn)(const struct xmpp_listing *l, void *arg), void *arg)
{
	LIST_FOREACH (it, &s->streams) {
		struct s2s_stream *st = CONTAINER_OF(it, struct s2s_stream, node);
		struct xmpp_listing l = {
			.conn = &st->conn,
			.domain = st->local,
			.remote = st->remote,
			.tls = st->identity.tls_text,
			.auth = first_auth(st),
			.direction = st->bidi		  ? "both"
				     : st->kind == S2S_IN ? "in"
							  : "out",
			.cert_expires_s = st->identity.expires_s,
			.last_error = st->why,
			.stats = st->x ? xmpp_stream_stats(st->x) : NULL,
		};

		if (!st->is_entered)
			continue;
		count(st);
		fn(&l, arg);
	}
}

size_t s2s_count(const struct s2s *s)
{
	return s->n_streams;
}
