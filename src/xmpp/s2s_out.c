/*
 * Streams that we open: to send stanzas of a pair, or to ask about one dialback key. Both take the
 * same way until the other side is ready:
 *
 *   RESOLVING --targets--> HEADER --header--> FEATURES --starttls--> STARTTLS --proceed--> TLS
 *   TLS --handshake--> HEADER
 *   FEATURES --EXTERNAL--> SASL --success--> HEADER --features--> OPEN
 *   FEATURES, HEADER (no version) --dialback--> DIALBACK --valid--> OPEN
 *   FEATURES, HEADER (no version) --verify--> ASKING --answer--> OVER
 *   any of them --failure--> HEADER with the next target, or OVER
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "xmpp/s2s_impl.h"
#include "xmpp/sasl.h"

static const struct xmpp_stream_handler out_handler;
static void next(struct s2s_stream *st);

/* Policy of what the stream is for: sending, or (verify) letting the remote in. */
static struct s2s_policy policy_of(struct s2s_stream *st)
{
	return s2s_policy_of(st->s2s, st->local, st->remote, st->kind == S2S_VERIFY);
}

static bool has_certificate(const struct s2s_stream *st)
{
	return st->tls && st->identity.verified && st->identity.names_domain;
}

/* --- failures --- */

static void hang_up(struct s2s_stream *st)
{
	struct xmpp_stream *x = st->x;

	if (!x)
		return;
	xmpp_end(x); /* as far as it goes */
	st->x = NULL;
	xmpp_free(x);
	if (st->is_entered)
		conn_end(st->s2s->env->conns, &st->conn, "%s", st->why);
	st->is_entered = false;
}

void s2s_out_give_up(struct s2s_stream *st, enum s2s_trouble t, const char *why)
{
	struct s2s_proof *asker = st->asker;
	struct s2s_pair *pair = st->pair;
	char text[S2S_WHY_BYTES];

	if (st->state == S2S_OVER)
		return;
	slice_copy(text, sizeof(text), slice_of(why));
	s2s_trace(st, "xmpp.s2s.failed", st->n_targets ? "remote server" : "DNS", "%s", text);
	st->asker = NULL;
	if (asker)
		asker->verify = NULL;
	/* Not a reason to open the next stream for what waits. */
	if (pair && pair->out == st)
		s2s_pair_failed(pair, t, text);
	s2s_stream_over(st, text);
	if (asker)
		s2s_dialback_verified(asker, t, text);
}

void s2s_out_fail(struct s2s_stream *st, enum s2s_trouble t, const char *why)
{
	if (st->state == S2S_OVER)
		return;
	slice_copy(st->why, sizeof(st->why), slice_of(why));
	st->trouble = t;
	hang_up(st);
	next(st);
}

/* Until a server has answered, which one it is that does not says most. */
static void fail_at_host(struct s2s_stream *st, enum s2s_trouble t, const char *why)
{
	char text[S2S_WHY_BYTES + 104];

	if (st->state != S2S_HEADER || st->next_target == 0) {
		s2s_out_fail(st, t, why);
		return;
	}
	snprintf(text, sizeof(text), "%.100s: %s", st->targets[st->next_target - 1].host, why);
	s2s_out_fail(st, t, text);
}

void s2s_out_timeout(struct s2s_stream *st)
{
	char why[S2S_WHY_BYTES];

	snprintf(why, sizeof(why), "%s took too long",
		 st->state == S2S_RESOLVING ? "DNS"
		 : st->state == S2S_HEADER  ? "connecting"
		 : st->state == S2S_TLS	    ? "TLS"
					    : "authentication");
	fail_at_host(st, S2S_BROKEN, why);
}

/* --- targets --- */

static void send_header(struct s2s_stream *st)
{
	struct xmpp_header h = {
		.from = st->local, .to = st->remote, .version = "1.0", .dialback = true
	};

	s2s_set_state(st, S2S_HEADER);
	xmpp_send_header(st->x, &h);
}

static void no_bytes(void *arg)
{
}

static void no_end(void *arg, enum stream_end end, const char *why)
{
}

/* Nothing is called before xmpp_stream_new() has put its own in. */
static const struct stream_handler nobody = { .readable = no_bytes, .closed = no_end };

static int dial(struct s2s_stream *st, const struct s2s_target *t)
{
	struct s2s *s = st->s2s;
	struct stream *socket;
	int err = -ECONNREFUSED;

	socket = s->ops->connect(s->arg, t, st->local, st->remote, &nobody, NULL, &err);
	if (!socket)
		return err < 0 ? err : -ECONNREFUSED;
	st->x = xmpp_stream_new(&s->conf.stream, socket, &out_handler, st);
	if (!st->x)
		return -ENOMEM;
	st->tls = st->bidi = false;
	st->auth = NULL;
	st->id[0] = '\0';
	memset(&st->identity, 0, sizeof(st->identity));
	st->n_sasl_failures = 0;
	err = s2s_stream_enter(st);
	if (err < 0) {
		xmpp_free(st->x);
		st->x = NULL;
		return err;
	}
	if (socket->remote.family == ADDR_NONE)
		st->conn.remote = t->addr;
	timer_start(s2s_timers(s), &st->deadline, s->conf.auth_timeout_ms);
	send_header(st);
	return 0;
}

/* What the partner said of itself is nearer to the truth than that another target is dead. */
static void next(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;

	while (st->next_target < st->n_targets && s2s_now_ms(s) < st->give_up_ms) {
		const struct s2s_target *t = &st->targets[st->next_target++];
		int err = dial(st, t);

		if (err == 0)
			return;
		if (st->trouble == S2S_NO_TROUBLE || st->trouble == S2S_UNREACHABLE) {
			st->trouble = S2S_UNREACHABLE;
			snprintf(st->why, sizeof(st->why), "%.100s: %s", t->host, strerror(-err));
		}
	}
	s2s_out_give_up(st, st->trouble, st->why);
}

static void resolved(void *ctx, const struct s2s_target *t, size_t n, bool not_found,
		     const char *why)
{
	struct s2s_stream *st = ctx;

	st->resolving = 0;
	if (n > S2S_MAX_TARGETS)
		n = S2S_MAX_TARGETS;
	st->targets = n ? malloc(n * sizeof(*t)) : NULL;
	if (!st->targets) {
		s2s_out_give_up(st, not_found && n == 0 ? S2S_NOT_FOUND : S2S_UNREACHABLE,
				n     ? "out of memory"
				: why ? why
				      : "no address");
		return;
	}
	memcpy(st->targets, t, n * sizeof(*t));
	st->n_targets = n;
	next(st);
}

static struct s2s_stream *begin(struct s2s *s, enum s2s_kind kind, const char *local,
				const char *remote, int *error)
{
	struct s2s_stream *st;

	*error = -ENOBUFS;
	if (s->is_draining || s->n_streams >= s->conf.max_streams) {
		trace_add(s->env->trace, "xmpp.s2s.limit", s->is_draining ? "drain" : "max-streams",
			  NULL, NULL, "no stream from %s to %s: too many", local, remote);
		return NULL;
	}
	*error = -ENOMEM;
	st = s2s_stream_new(s, kind);
	if (!st)
		return NULL;
	slice_copy(st->local, sizeof(st->local), slice_of(local));
	slice_copy(st->remote, sizeof(st->remote), slice_of(remote));
	st->give_up_ms = s2s_now_ms(s) + 2 * (int64_t)s->conf.auth_timeout_ms;
	st->resolving = s->ops->resolve(s->arg, local, remote, resolved, st);
	if (!st->resolving) {
		s2s_stream_over(st, "out of memory");
		return NULL;
	}
	timer_start(s2s_timers(s), &st->deadline, s->conf.auth_timeout_ms);
	*error = 0;
	return st;
}

int s2s_out_start(struct s2s_pair *p)
{
	int err;
	struct s2s_stream *st = begin(p->s2s, S2S_OUT, p->local, p->remote, &err);

	if (!st)
		return err;
	st->pair = p;
	p->out = st;
	return 0;
}

int s2s_verify_start(struct s2s_proof *asker, const char *key)
{
	struct s2s_pair *p = asker->pair;
	char *copy = strdup(key);
	struct s2s_stream *st;
	int err = -ENOMEM;

	st = copy ? begin(p->s2s, S2S_VERIFY, p->local, p->remote, &err) : NULL;
	if (!st) {
		free(copy);
		return err;
	}
	st->key = copy;
	slice_copy(st->asked_id, sizeof(st->asked_id), slice_of(asker->stream->id));
	st->asker = asker;
	asker->verify = st;
	return 0;
}

/* --- authentication --- */

void s2s_out_authenticated(struct s2s_stream *st, const char *method)
{
	struct s2s_pair *pair = st->pair;
	struct s2s_proof *proof;
	struct s2s_policy in;

	st->auth = method;
	free(st->targets);
	st->targets = NULL;
	st->n_targets = 0;
	pair->n_failures = 0;
	pair->retry_ms = 0;
	s2s_stream_open(st);
	log_info(st->s2s->env->log, "xmpp.s2s.open", "local=%s remote=%s by=%s tls=%s bidi=%d",
		 log_esc(slice_of(st->local)), log_esc(slice_of(st->remote)), method,
		 st->tls ? "yes" : "no", st->bidi);
	if (st->bidi) {
		in = s2s_policy_of(st->s2s, st->local, st->remote, true);
		proof = s2s_misfit(&in, st, method) ? NULL
						    : s2s_proof_new(st, st->local, st->remote);
		if (proof)
			s2s_proof_accept(proof, method);
	}
	s2s_pair_flush(pair);
}

/* "=": who we are says `from` of our header (XEP-0178 section 3). */
static void send_external(struct s2s_stream *st)
{
	struct xml_arena a = { .pool = st->s2s->conf.stream.pool };
	struct xml_node *e = xml_node_new(&a, NULL, XMPP_SASL, "auth");

	if (e && xml_node_set(&a, e, "mechanism", SLICE("EXTERNAL")) == 0 &&
	    xml_node_add_text(&a, e, SLICE("=")) == 0) {
		s2s_set_state(st, S2S_SASL);
		xmpp_send(st->x, e);
	} else {
		s2s_out_give_up(st, S2S_BROKEN, "out of memory");
	}
	xml_arena_reset(&a);
}

static void send_empty(struct s2s_stream *st, const char *ns, const char *name)
{
	struct xml_arena a = { .pool = st->s2s->conf.stream.pool };
	struct xml_node *e = xml_node_new(&a, NULL, ns, name);

	if (e)
		xmpp_send(st->x, e);
	xml_arena_reset(&a);
}

static void try_dialback(struct s2s_stream *st, const char *else_why)
{
	struct s2s_policy p = policy_of(st);
	int err;

	if (p.auth == S2S_AUTH_CERTIFICATE) {
		s2s_trace(st, "xmpp.s2s.certificate", p.decided_by, "%s", else_why);
		s2s_out_fail(st, S2S_REFUSED, else_why);
		return;
	}
	if (!st->id[0]) {
		s2s_out_fail(st, S2S_REFUSED, "no stream id: dialback is impossible");
		return;
	}
	err = s2s_dialback_request(st);
	if (err < 0)
		s2s_out_give_up(st, S2S_REFUSED,
				err == -ENOENT ? "no dialback secret" : "out of memory");
	else
		s2s_set_state(st, S2S_DIALBACK);
}

/* Bidi (XEP-0288) is asked for when what the other side has shown by now is enough for what comes
 * from it. */
static bool may_be_bidi(struct s2s_stream *st, const char *method)
{
	struct s2s_policy in = s2s_policy_of(st->s2s, st->local, st->remote, true);

	return st->s2s->conf.bidi && !s2s_misfit(&in, st, method);
}

/* The way is free: encrypted as far as it is going to be. */
static void authenticate(struct s2s_stream *st, bool offers_external, bool offers_bidi)
{
	struct s2s *s = st->s2s;
	struct s2s_policy p = policy_of(st);
	bool external = offers_external && p.auth != S2S_AUTH_DIALBACK && has_certificate(st) &&
			s->ops->own_certificate(s->arg, st->local);

	if (st->kind == S2S_VERIFY) {
		s2s_set_state(st, S2S_ASKING);
		s2s_dialback_ask(st);
		return;
	}
	if (offers_bidi && may_be_bidi(st, external ? "external" : "dialback")) {
		st->bidi = true;
		send_empty(st, XMPP_BIDI, "bidi");
	}
	if (external)
		send_external(st);
	else
		try_dialback(st, offers_external
					 ? "our certificate does not carry the domain"
					 : "EXTERNAL is not offered, and dialback not allowed");
}

/* --- events --- */

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct s2s_stream *st = arg;
	struct stream *socket = xmpp_socket(st->x);
	struct s2s_policy p;
	const char *why;

	if (st->state != S2S_HEADER || !socket)
		return;
	p = policy_of(st);
	if (!p.allowed) {
		s2s_out_give_up(st, S2S_REFUSED, p.why ? p.why : "not allowed");
		return;
	}
	st->id[0] = '\0';
	if (h->id && !slice_copy(st->id, sizeof(st->id), slice_of(h->id))) {
		s2s_out_fail(st, S2S_REFUSED, "stream id too long");
		return;
	}
	if (!st->tls && socket->is_tls) {
		st->tls = true;
		st->conn.transport = CONN_TLS;
		s2s_look_at_identity(st, st->remote);
	}
	if (p.auth == S2S_AUTH_CERTIFICATE && st->tls && !has_certificate(st)) {
		why = st->identity.why[0] ? st->identity.why
					  : "certificate does not carry the domain";
		s2s_trace(st, "xmpp.s2s.certificate", p.decided_by, "%s", why);
		s2s_out_fail(st, S2S_REFUSED, why);
		return;
	}
	if (h->version) {
		s2s_set_state(st, S2S_FEATURES);
		return;
	}
	/* RFC 3920 and before: no features, so no STARTTLS. */
	if (!st->tls && p.tls == S2S_TLS_REQUIRED) {
		s2s_trace(st, "xmpp.s2s.tls", p.decided_by, "an old stream without TLS");
		s2s_out_fail(st, S2S_REFUSED, "TLS is required, and the other side offers none");
	} else if (st->auth || (st->kind == S2S_OUT && !h->dialback)) {
		s2s_out_fail(st, S2S_REFUSED, "no version and no dialback");
	} else {
		authenticate(st, false, false);
	}
}

static void on_features(struct s2s_stream *st, struct xml_node *e)
{
	struct s2s_policy p = policy_of(st);
	struct features_found found;

	features_filter(e, NULL, &found);
	if (!p.allowed) {
		s2s_out_give_up(st, S2S_REFUSED, p.why ? p.why : "not allowed");
	} else if (st->auth) {
		s2s_out_authenticated(st, st->auth);
	} else if (!st->tls && p.tls != S2S_TLS_OFF && found.starttls) {
		s2s_set_state(st, S2S_STARTTLS);
		send_empty(st, XMPP_TLS, "starttls");
	} else if (!st->tls && p.tls == S2S_TLS_REQUIRED) {
		s2s_trace(st, "xmpp.s2s.tls", p.decided_by, "TLS is required and not offered");
		s2s_out_fail(st, S2S_REFUSED, "TLS is required, and the other side offers none");
	} else if (!st->tls && found.starttls_required) {
		s2s_trace(st, "xmpp.s2s.tls", p.decided_by, "the other side requires TLS");
		s2s_out_fail(st, S2S_REFUSED, "the other side requires TLS, and the policy is off");
	} else {
		/* SASL2's list is not for servers here. */
		authenticate(st, found.external && xml_node_child(e, XMPP_SASL, "mechanisms"),
			     found.bidi);
	}
}

static void on_proceed(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;
	size_t n = xmpp_tls_begin(st->x);
	struct stream *socket = xmpp_socket(st->x);
	int err;

	if (n > 0)
		s2s_trace(st, "xmpp.s2s.injected", "RFC 6120 5.4.3.3",
			  "%zu bytes in the clear behind <proceed/> thrown away", n);
	s2s_set_state(st, S2S_TLS);
	err = socket ? s->ops->start_tls(s->arg, socket, false, st->local, st->remote) : -EPIPE;
	if (err < 0)
		s2s_out_fail(st, S2S_BROKEN, "TLS cannot begin");
}

static void on_tls(void *arg)
{
	struct s2s_stream *st = arg;

	if (st->state != S2S_TLS)
		return;
	st->tls = true;
	st->conn.transport = CONN_TLS;
	s2s_look_at_identity(st, st->remote);
	send_header(st);
}

static void on_sasl(struct s2s_stream *st, const struct xml_node *e)
{
	if (xml_node_is(e, XMPP_SASL, "success")) {
		st->auth = "external";
		xmpp_restart(st->x, true);
		send_header(st);
		return;
	}
	if (!xml_node_is(e, XMPP_SASL, "failure")) {
		s2s_out_fail(st, S2S_REFUSED, "EXTERNAL got an answer that is none");
		return;
	}
	s2s_trace(st, "xmpp.s2s.external", "remote server", "our certificate was refused");
	s2s_pair_error(st->pair, "the other side refused our certificate");
	try_dialback(st, "the other side refused our certificate, and dialback is not allowed");
}

static void on_error(struct s2s_stream *st, const struct xml_node *e, struct xml_arena *arena)
{
	char why[S2S_WHY_BYTES];
	enum xmpp_condition c = s2s_read_error(e, arena, why, sizeof(why));

	if (st->state == S2S_OPEN || st->state == S2S_ENDING) {
		if (st->pair)
			s2s_pair_error(st->pair, why);
		s2s_trace(st, "xmpp.s2s.error", "remote server", "%s", why);
		s2s_stream_end(st, why);
	} else {
		s2s_out_fail(st, c == XMPP_HOST_UNKNOWN ? S2S_NOT_FOUND : S2S_REFUSED, why);
	}
}

static void unexpected(struct s2s_stream *st, const struct xml_node *e)
{
	s2s_trace(st, "xmpp.s2s.unexpected", "RFC 6120 4.9.3.24", "<%.60s/> of %.100s", e->name,
		  e->ns);
	if (st->state == S2S_OPEN)
		s2s_stream_refuse(st, XMPP_UNSUPPORTED_STANZA_TYPE, "not expected here");
	else
		s2s_out_fail(st, S2S_REFUSED, "the other side sent something unexpected");
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct s2s_stream *st = arg;

	if (st->state == S2S_OVER)
		return;
	if (xml_node_is(e, XMPP_STREAMS, "error"))
		on_error(st, e, arena);
	else if (strcmp(e->ns, XMPP_DIALBACK) == 0)
		s2s_dialback_element(st, e, arena);
	else if (s2s_is_stanza(e) && (st->state == S2S_OPEN || st->state == S2S_ENDING))
		s2s_stanza(st, e, arena);
	else if (st->state == S2S_FEATURES && xml_node_is(e, XMPP_STREAMS, "features"))
		on_features(st, e);
	else if (st->state == S2S_STARTTLS && xml_node_is(e, XMPP_TLS, "proceed"))
		on_proceed(st);
	else if (st->state == S2S_STARTTLS && xml_node_is(e, XMPP_TLS, "failure"))
		s2s_out_fail(st, S2S_REFUSED, "STARTTLS was refused");
	else if (st->state == S2S_SASL && strcmp(e->ns, XMPP_SASL) == 0)
		on_sasl(st, e);
	else
		unexpected(st, e);
}

static void on_end(void *arg)
{
	struct s2s_stream *st = arg;

	if (st->state == S2S_OPEN)
		s2s_stream_end(st, "ended by the other side");
	else if (st->x)
		xmpp_end(st->x);
}

static void on_writable(void *arg)
{
	struct s2s_stream *st = arg;

	if (st->pair && st->state == S2S_OPEN)
		s2s_pair_flush(st->pair);
}

static void on_closed(void *arg, enum xmpp_end how, enum xmpp_condition c, const char *why)
{
	struct s2s_stream *st = arg;
	enum s2s_trouble t = st->state == S2S_HEADER ? S2S_UNREACHABLE : S2S_BROKEN;

	if (st->state == S2S_OVER)
		return;
	if (how == XMPP_END_ERROR)
		s2s_trace(st, "xmpp.s2s.bad", xmpp_condition_str(c), "%s", why);
	if (st->state != S2S_OPEN && st->state != S2S_ENDING) {
		fail_at_host(st, t, why);
		return;
	}
	if (st->pair && how != XMPP_END_PROPER)
		s2s_pair_error(st->pair, why);
	s2s_stream_over(st, st->state == S2S_ENDING && st->why[0] ? st->why : why);
}

static const struct xmpp_stream_handler out_handler = {
	.header = on_header,
	.element = on_element,
	.end = on_end,
	.writable = on_writable,
	.tls = on_tls,
	.closed = on_closed,
};
