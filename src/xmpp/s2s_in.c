/*
 * Streams that others open, and the check that every stanza passes.
 *
 *   IN_HEADER --header--> IN_NEGOTIATING --starttls--> TLS --handshake--> IN_HEADER
 *   IN_NEGOTIATING --EXTERNAL--> IN_RESTART --header--> OPEN
 *   IN_NEGOTIATING --first pair proved by dialback--> OPEN --more pairs--> OPEN
 *   any --stream error, end, cut--> OVER
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "xmpp/s2s_impl.h"
#include "xmpp/sasl.h"

static const struct xmpp_stream_handler in_handler;

/* --- features --- */

static bool has_names(const struct s2s_stream *st)
{
	return st->local[0] && st->remote[0];
}

/* May EXTERNAL succeed? NULL, or why not. */
static const char *external_misfit(struct s2s_stream *st)
{
	struct s2s_policy p;

	if (!st->tls)
		return "no TLS";
	if (!has_names(st))
		return "the header names no domains";
	p = s2s_policy_of(st->s2s, st->local, st->remote, true);
	if (!p.allowed)
		return p.why ? p.why : "not allowed";
	if (p.auth == S2S_AUTH_DIALBACK)
		return "dialback is required";
	if (!st->identity.verified || !st->identity.names_domain)
		return st->identity.why[0] ? st->identity.why
					   : "certificate does not carry the domain";
	return NULL;
}

/* What stands in <stream:features/>. */
struct offer {
	bool starttls, required, external, dialback, bidi;
};

static struct offer make_offer(struct s2s_stream *st)
{
	struct offer o = { .dialback = true };
	struct s2s_policy p = { .tls = S2S_TLS_OPTIONAL };

	if (has_names(st))
		p = s2s_policy_of(st->s2s, st->local, st->remote, true);
	if (!st->tls && p.tls != S2S_TLS_OFF) {
		o.starttls = true;
		o.required = p.tls == S2S_TLS_REQUIRED;
	}
	/* Nothing but TLS now (RFC 6120 section 5.3.1). */
	if (o.required)
		o.dialback = false;
	if (st->n_proven == 0 && !o.required) {
		o.external = external_misfit(st) == NULL;
		o.bidi = st->s2s->conf.bidi;
		if (has_names(st) && p.auth == S2S_AUTH_CERTIFICATE)
			o.dialback = false;
	}
	return o;
}

static bool add_mechanisms(struct xml_arena *a, struct xml_node *f)
{
	struct xml_node *list = xml_node_new(a, f, XMPP_SASL, "mechanisms");
	struct xml_node *m = list ? xml_node_new(a, list, XMPP_SASL, "mechanism") : NULL;

	return m && xml_node_add_text(a, m, SLICE("EXTERNAL")) == 0;
}

static bool build_features(struct xml_arena *a, struct xml_node *f, const struct offer *o)
{
	struct xml_node *e;

	if (o->starttls) {
		e = xml_node_new(a, f, XMPP_TLS, "starttls");
		if (!e || (o->required && !xml_node_new(a, e, XMPP_TLS, "required")))
			return false;
	}
	if (o->external && !add_mechanisms(a, f))
		return false;
	if (o->bidi && !xml_node_new(a, f, XMPP_BIDI_FEATURE, "bidi"))
		return false;
	if (!o->dialback)
		return true;
	e = xml_node_new(a, f, XMPP_DIALBACK_FEATURE, "dialback");
	return e && xml_node_new(a, e, XMPP_DIALBACK_FEATURE, "errors");
}

static void send_features(struct s2s_stream *st)
{
	struct xml_arena a = { .pool = st->s2s->conf.stream.pool };
	struct xml_node *f = xml_node_new(&a, NULL, XMPP_STREAMS, "features");
	struct offer o = make_offer(st);

	if (f && build_features(&a, f, &o)) {
		st->offered_bidi = o.bidi;
		xmpp_send(st->x, f);
	} else {
		s2s_stream_refuse(st, XMPP_INTERNAL_SERVER_ERROR, "out of memory");
	}
	xml_arena_reset(&a);
}

/* --- headers --- */

static void make_id(struct s2s_stream *st)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t random[16];

	st->s2s->ops->random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++) {
		st->id[2 * i] = digits[random[i] >> 4];
		st->id[2 * i + 1] = digits[random[i] & 15];
	}
	st->id[2 * sizeof(random)] = '\0';
}

/* True: refused. */
static bool refuse_names(struct s2s_stream *st, const struct xmpp_header *h)
{
	char to[XMPP_DOMAIN_BYTES] = "", from[XMPP_DOMAIN_BYTES] = "";
	struct s2s *s = st->s2s;

	st->local[0] = st->remote[0] = '\0';
	if (h->to && (!xmpp_domain(slice_of(h->to), to) || !s->ops->is_local(s->arg, to))) {
		s2s_trace(st, "xmpp.s2s.unknown-host", "[im-server] domains",
			  "%.100s is no domain of ours", h->to);
		s2s_stream_refuse(st, XMPP_HOST_UNKNOWN, "no domain of ours");
		return true;
	}
	slice_copy(st->local, sizeof(st->local), slice_of(to));
	if (h->from && !xmpp_domain(slice_of(h->from), from)) {
		s2s_trace(st, "xmpp.s2s.invalid-from", "RFC 6120 4.7.1", "%.100s is no domain name",
			  h->from);
		s2s_stream_refuse(st, XMPP_INVALID_FROM, "no domain name");
		return true;
	}
	slice_copy(st->remote, sizeof(st->remote), slice_of(from));
	slice_copy(st->conn.user, sizeof(st->conn.user), slice_of(st->remote));
	return false;
}

/* A pair that is allowed neither way has no business here, and one without a certificate has none
 * where only that counts. One that we may send to by dialback must be able to ask about our keys.
 */
static bool refuse_pair(struct s2s_stream *st)
{
	struct s2s_policy in, out;
	const char *why;

	if (!has_names(st))
		return false;
	in = s2s_policy_of(st->s2s, st->local, st->remote, true);
	out = s2s_policy_of(st->s2s, st->local, st->remote, false);
	if (!in.allowed) {
		why = in.why ? in.why : "not allowed";
		s2s_trace(st, "xmpp.s2s.denied", in.decided_by, "%s", why);
		if (!out.allowed)
			s2s_stream_refuse(st, XMPP_POLICY_VIOLATION, why);
		return !out.allowed;
	}
	if (in.auth != S2S_AUTH_CERTIFICATE || !st->tls || !(why = external_misfit(st)))
		return false;
	s2s_trace(st, "xmpp.s2s.certificate", in.decided_by, "%s", why);
	if (out.allowed && out.auth != S2S_AUTH_CERTIFICATE)
		return false;
	s2s_stream_refuse(st, XMPP_NOT_AUTHORIZED, why);
	return true;
}

static void answer_header(struct s2s_stream *st, const struct xmpp_header *h)
{
	struct xmpp_header mine = {
		.from = st->local[0] ? st->local : NULL,
		.to = st->remote[0] ? st->remote : NULL,
		.id = st->id,
		.version = h->version ? "1.0" : NULL,
		.dialback = true,
	};

	xmpp_send_header(st->x, &mine);
}

/* The header after EXTERNAL: the same domains, or none. */
static void on_restart_header(struct s2s_stream *st, const struct xmpp_header *h)
{
	char name[XMPP_DOMAIN_BYTES];

	if ((h->from && (!xmpp_domain(slice_of(h->from), name) || strcmp(name, st->remote) != 0)) ||
	    (h->to && (!xmpp_domain(slice_of(h->to), name) || strcmp(name, st->local) != 0))) {
		s2s_trace(st, "xmpp.s2s.spoofed", "RFC 6120 4.9.3.9",
			  "other domains in the header after authentication");
		s2s_stream_refuse(st, XMPP_INVALID_FROM, "not what was authenticated");
		return;
	}
	answer_header(st, h);
	send_features(st);
	if (st->state == S2S_OVER)
		return;
	s2s_stream_open(st);
	LIST_FOREACH (it, &st->proofs)
		s2s_proof_open(CONTAINER_OF(it, struct s2s_proof, of_stream));
}

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct s2s_stream *st = arg;
	struct stream *socket = xmpp_socket(st->x);

	if (!socket)
		return;
	make_id(st);
	if (st->state == S2S_IN_RESTART) {
		on_restart_header(st, h);
		return;
	}
	if (st->state != S2S_IN_HEADER || refuse_names(st, h))
		return;
	st->tls = socket->is_tls;
	s2s_look_at_identity(st, st->remote);
	if (refuse_pair(st))
		return;
	answer_header(st, h);
	s2s_set_state(st, S2S_IN_NEGOTIATING);
	/* Before 1.0 there were none (RFC 6120 section 4.7.5). */
	if (h->version)
		send_features(st);
}

/* --- TLS --- */

static void send_empty(struct s2s_stream *st, const char *ns, const char *name, const char *child)
{
	struct xml_arena a = { .pool = st->s2s->conf.stream.pool };
	struct xml_node *e = xml_node_new(&a, NULL, ns, name);

	if (e && (!child || xml_node_new(&a, e, ns, child)))
		xmpp_send(st->x, e);
	xml_arena_reset(&a);
}

static void on_starttls(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;
	struct s2s_policy p = { .tls = S2S_TLS_OPTIONAL };
	struct stream *socket;
	size_t n;

	if (has_names(st))
		p = s2s_policy_of(s, st->local, st->remote, true);
	if (st->tls || p.tls == S2S_TLS_OFF) {
		send_empty(st, XMPP_TLS, "failure", NULL);
		s2s_stream_end(st, "STARTTLS where none was offered");
		return;
	}
	send_empty(st, XMPP_TLS, "proceed", NULL);
	n = xmpp_tls_begin(st->x);
	if (n > 0)
		s2s_trace(st, "xmpp.s2s.injected", "RFC 6120 5.4.3.3",
			  "%zu bytes in the clear behind <starttls/> thrown away", n);
	s2s_set_state(st, S2S_TLS);
	socket = xmpp_socket(st->x);
	if (!socket || s->ops->start_tls(s->arg, socket, true, st->local, st->remote) < 0) {
		s2s_trace(st, "xmpp.s2s.tls", "[tls]", "TLS cannot begin");
		s2s_stream_over(st, "TLS cannot begin");
	}
}

static void on_tls(void *arg)
{
	struct s2s_stream *st = arg;

	if (st->state != S2S_TLS)
		return;
	st->conn.transport = CONN_TLS;
	s2s_set_state(st, S2S_IN_HEADER);
}

/* --- limits of one source --- */

static bool is_same_source(const struct addr *a, const struct addr *b)
{
	return a->family == b->family &&
	       memcmp(a->ip, b->ip, a->family == ADDR_IP6 ? 8 : sizeof(a->ip)) == 0;
}

bool s2s_in_too_many(const struct s2s *s, const struct addr *from)
{
	size_t most = s->conf.max_unauthenticated_source, n = 0;

	if (most == 0 || s->n_unauthenticated < most)
		return false;
	LIST_FOREACH (it, &s->streams) {
		const struct s2s_stream *o = CONTAINER_OF(it, struct s2s_stream, node);

		n += o->kind == S2S_IN && o->state != S2S_OVER && o->n_proven == 0 &&
		     is_same_source(&o->conn.remote, from);
	}
	return n >= most;
}

const char *s2s_in_over_limit(struct s2s_stream *st, bool asks)
{
	const struct s2s_conf *c = &st->s2s->conf;
	size_t n_pairs = 0, n_verify = 0, n_verify_source = 0;

	LIST_FOREACH (it, &st->s2s->streams) {
		const struct s2s_stream *o = CONTAINER_OF(it, struct s2s_stream, node);
		const struct s2s_stream *asker = o->asker ? o->asker->stream : NULL;

		if (o->state == S2S_OVER)
			continue;
		n_verify += o->kind == S2S_VERIFY;
		if (asker)
			n_verify_source += is_same_source(&asker->conn.remote, &st->conn.remote);
		else if (o->kind == S2S_IN && is_same_source(&o->conn.remote, &st->conn.remote))
			n_pairs += o->n_proofs;
	}
	if (c->max_pairs_source && n_pairs >= c->max_pairs_source)
		return "max-pairs-source";
	if (asks && c->max_verify_source && n_verify_source >= c->max_verify_source)
		return "max-verify-source";
	return asks && c->max_verify && n_verify >= c->max_verify ? "max-verify" : NULL;
}

/* --- SASL EXTERNAL (RFC 6120 section 6, XEP-0178) --- */

static void refuse_sasl(struct s2s_stream *st, const char *condition, const char *why)
{
	struct s2s_pair *p = has_names(st) ? s2s_pair_find(st->s2s, st->local, st->remote) : NULL;

	s2s_trace(st, "xmpp.s2s.external", "RFC 6120 6.5", "%s", why);
	if (p)
		s2s_pair_error(p, why);
	send_empty(st, XMPP_SASL, "failure", condition);
	if (++st->n_sasl_failures >= S2S_SASL_FAILURES)
		s2s_stream_refuse(st, XMPP_NOT_AUTHORIZED, "too many failures");
}

static void on_auth(struct s2s_stream *st, const struct xml_node *e)
{
	const char *mechanism = sasl_mechanism(e), *why = external_misfit(st);
	char identity[XMPP_JID_BYTES], domain[XMPP_DOMAIN_BYTES];
	struct s2s_proof *p;

	if (!mechanism || strcmp(mechanism, "EXTERNAL") != 0) {
		refuse_sasl(st, "invalid-mechanism", "a mechanism that was not offered");
		return;
	}
	if (why) {
		refuse_sasl(st, "not-authorized", why);
		return;
	}
	if (!sasl_external_identity(e, identity, sizeof(identity)) ||
	    (identity[0] &&
	     (!xmpp_domain(slice_of(identity), domain) || strcmp(domain, st->remote) != 0))) {
		refuse_sasl(st, "not-authorized", "the identity is not `from` of the header");
		return;
	}
	p = s2s_proof_find(st, st->local, st->remote);
	if (!p && !s2s_in_over_limit(st, false))
		p = s2s_proof_new(st, st->local, st->remote);
	if (!p) {
		s2s_trace(st, "xmpp.s2s.limit", "max-pairs-source", "too many pairs");
		s2s_stream_refuse(st, XMPP_RESOURCE_CONSTRAINT, "too many pairs");
		return;
	}
	send_empty(st, XMPP_SASL, "success", NULL);
	s2s_set_state(st, S2S_IN_RESTART);
	xmpp_restart(st->x, true);
	s2s_proof_accept(p, "external");
}

/* --- stanzas --- */

bool s2s_is_stanza(const struct xml_node *e)
{
	return e->name && strcmp(e->ns, XMPP_SERVER) == 0 &&
	       (strcmp(e->name, "message") == 0 || strcmp(e->name, "presence") == 0 ||
		strcmp(e->name, "iq") == 0);
}

static bool domain_of(const char *jid, char out[XMPP_DOMAIN_BYTES])
{
	struct xmpp_jid j;

	return xmpp_jid_parse(slice_of(jid), &j) && xmpp_domain(j.domain, out);
}

static bool has_proof_of(const struct s2s_stream *st, const char *remote)
{
	LIST_FOREACH (it, &st->proofs) {
		struct s2s_proof *p = CONTAINER_OF(it, struct s2s_proof, of_stream);

		if (p->method && strcmp(p->pair->remote, remote) == 0)
			return true;
	}
	return false;
}

static void refuse_stanza(struct s2s_stream *st, enum xmpp_condition c, const char *code,
			  const char *from, const char *to, const char *why)
{
	s2s_trace(st, code, "RFC 6120 8.1", "from %.100s to %.100s: %s", from ? from : "-",
		  to ? to : "-", why);
	s2s_stream_refuse(st, c, why);
}

void s2s_stanza(struct s2s_stream *st, struct xml_node *e, struct xml_arena *arena)
{
	const char *from = xml_node_attr(e, "from"), *to = xml_node_attr(e, "to");
	char local[XMPP_DOMAIN_BYTES], remote[XMPP_DOMAIN_BYTES];
	struct s2s *s = st->s2s;
	struct s2s_proof *p;

	if (st->n_proven == 0) {
		refuse_stanza(st, XMPP_NOT_AUTHORIZED, "xmpp.s2s.unauthenticated", from, to,
			      "no stanzas before authentication");
		return;
	}
	/* RFC 6120 sections 8.1.1.2, 8.1.2.2: both, always. */
	if (!from || !to || !domain_of(to, local)) {
		refuse_stanza(st, XMPP_IMPROPER_ADDRESSING, "xmpp.s2s.addressing", from, to,
			      "a stanza between servers needs from and to");
		return;
	}
	if (!domain_of(from, remote) || !has_proof_of(st, remote)) {
		refuse_stanza(st, XMPP_INVALID_FROM, "xmpp.s2s.spoofed", from, to,
			      "a domain that is not authenticated on this stream");
		return;
	}
	p = s2s_proof_find(st, local, remote);
	if (!p || !p->method) {
		refuse_stanza(st, XMPP_IMPROPER_ADDRESSING, "xmpp.s2s.addressing", from, to,
			      "a pair that is not authenticated on this stream");
		return;
	}
	p->pair->n_in++;
	st->last_stanza_ms = s2s_now_ms(s);
	s->ops->deliver(s->arg, local, remote, e, arena);
}

/* --- events --- */

static void on_error(struct s2s_stream *st, const struct xml_node *e, struct xml_arena *arena)
{
	char why[S2S_WHY_BYTES];

	s2s_read_error(e, arena, why, sizeof(why));
	LIST_FOREACH (it, &st->proofs)
		s2s_pair_error(CONTAINER_OF(it, struct s2s_proof, of_stream)->pair, why);
	s2s_trace(st, "xmpp.s2s.error", "remote server", "%s", why);
	s2s_stream_end(st, why);
}

static void unexpected(struct s2s_stream *st, const struct xml_node *e)
{
	bool known = st->n_proven > 0;

	s2s_trace(st, known ? "xmpp.s2s.unexpected" : "xmpp.s2s.unauthenticated",
		  "RFC 6120 4.9.3.24", "<%.60s/> of %.100s", e->name, e->ns);
	s2s_stream_refuse(st, known ? XMPP_UNSUPPORTED_STANZA_TYPE : XMPP_NOT_AUTHORIZED,
			  "not expected here");
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct s2s_stream *st = arg;
	bool fresh = st->state == S2S_IN_NEGOTIATING;

	if (st->state == S2S_OVER)
		return;
	if (s2s_is_stanza(e))
		s2s_stanza(st, e, arena);
	else if (strcmp(e->ns, XMPP_DIALBACK) == 0)
		s2s_dialback_element(st, e, arena);
	else if (xml_node_is(e, XMPP_STREAMS, "error"))
		on_error(st, e, arena);
	else if (fresh && xml_node_is(e, XMPP_TLS, "starttls"))
		on_starttls(st);
	else if (fresh && xml_node_is(e, XMPP_SASL, "auth"))
		on_auth(st, e);
	else if (fresh && st->offered_bidi && xml_node_is(e, XMPP_BIDI, "bidi"))
		st->bidi = true;
	else
		unexpected(st, e);
}

static void on_end(void *arg)
{
	s2s_stream_end(arg, "ended by the other side");
}

static void on_writable(void *arg)
{
	struct s2s_stream *st = arg;

	LIST_FOREACH (it, &st->proofs) {
		struct s2s_pair *pair = CONTAINER_OF(it, struct s2s_proof, of_stream)->pair;

		if (pair->sender == st)
			s2s_pair_flush(pair);
	}
}

static void on_closed(void *arg, enum xmpp_end how, enum xmpp_condition c, const char *why)
{
	struct s2s_stream *st = arg;

	if (st->state == S2S_OVER)
		return;
	if (how == XMPP_END_ERROR)
		s2s_trace(st, "xmpp.s2s.bad", xmpp_condition_str(c), "%s", why);
	s2s_stream_over(st, st->state == S2S_ENDING && st->why[0] ? st->why : why);
}

static const struct xmpp_stream_handler in_handler = {
	.header = on_header,
	.element = on_element,
	.end = on_end,
	.writable = on_writable,
	.tls = on_tls,
	.closed = on_closed,
};

void s2s_in_start(struct s2s_stream *st, struct stream *socket)
{
	struct s2s *s = st->s2s;

	st->tls = socket->is_tls;
	st->x = xmpp_stream_new(&s->conf.stream, socket, &in_handler, st);
	if (!st->x || s2s_stream_enter(st) < 0) {
		s2s_stream_over(st, "out of memory, or the connection table is full");
		return;
	}
	timer_start(s2s_timers(s), &st->deadline, s->conf.auth_timeout_ms);
}
