/*
 * Server dialback (XEP-0220): the words of its three roles.
 *
 *   originating    s2s_dialback_request() --<db:result>key--> ... <-- <db:result type=valid|...>
 *   receiving      <db:result>key --> a stream of its own to the remote (s2s_verify_start)
 *                  --<db:verify>--> ... <-- <db:verify type=...>, then <db:result type=...>
 *   authoritative  <db:verify>key --> compared with ours at once
 *
 * An answer counts only on the stream that was asked on, while it is waited for, and with the very
 * from, to and id of the question; all others change nothing (section 3.1). We ask nobody who is on
 * an incoming stream, so no answer counts there, and nobody may prove another pair on a stream that
 * we opened: its id was not chosen by us, so a key that was got for that id elsewhere would do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "xmpp/s2s_impl.h"

struct answer {
	const char *name; /* "result", "verify" */
	const char *from, *to, *id;
	const char *type;
	const char *condition; /* with "error" */
	const char *key;
};

static void say(struct s2s_stream *st, const struct answer *w)
{
	struct xml_arena a = { .pool = st->s2s->conf.stream.pool };
	struct xml_node *e = xml_node_new(&a, NULL, XMPP_DIALBACK, w->name), *error;

	if (!st->x || !e || xml_node_set(&a, e, "from", slice_of(w->from)) < 0 ||
	    xml_node_set(&a, e, "to", slice_of(w->to)) < 0 ||
	    (w->id && xml_node_set(&a, e, "id", slice_of(w->id)) < 0) ||
	    (w->type && xml_node_set(&a, e, "type", slice_of(w->type)) < 0) ||
	    (w->key && xml_node_add_text(&a, e, slice_of(w->key)) < 0))
		goto out;
	if (w->condition) {
		error = xml_node_new(&a, e, XMPP_SERVER, "error");
		if (!error || xml_node_set(&a, error, "type", SLICE("cancel")) < 0 ||
		    !xml_node_new(&a, error, XMPP_STANZA_ERROR, w->condition))
			goto out;
	}
	xmpp_send(st->x, e);
out:
	/* Without memory nothing is said, and the other side's patience ends it. */
	xml_arena_reset(&a);
}

static void send_result(struct s2s_stream *st, const char *local, const char *remote,
			const char *type, const char *condition)
{
	struct answer w = {
		.name = "result", .from = local, .to = remote, .type = type, .condition = condition
	};

	say(st, &w);
}

static void unsolicited(struct s2s_stream *st, const struct xml_node *e)
{
	const char *from = xml_node_attr(e, "from"), *to = xml_node_attr(e, "to");
	const char *type = xml_node_attr(e, "type");

	s2s_trace(st, "xmpp.s2s.unsolicited", "XEP-0220 3.1",
		  "<db:%.20s type=%.20s from=%.80s to=%.80s> was not asked for: ignored", e->name,
		  type ? type : "-", from ? from : "-", to ? to : "-");
}

/* --- receiving --- */

static const char *condition_of(enum s2s_trouble t)
{
	switch (t) {
	case S2S_NOT_FOUND:
		return "remote-server-not-found";
	case S2S_UNREACHABLE:
		return "remote-connection-failed";
	case S2S_REFUSED:
		return "not-acceptable";
	case S2S_INVALID:
		return "forbidden";
	default:
		return "remote-server-timeout";
	}
}

static void refuse_key(struct s2s_proof *p, enum s2s_trouble t, const char *why)
{
	struct s2s_stream *st = p->stream;
	char local[XMPP_DOMAIN_BYTES], remote[XMPP_DOMAIN_BYTES];

	slice_copy(local, sizeof(local), slice_of(p->pair->local));
	slice_copy(remote, sizeof(remote), slice_of(p->pair->remote));
	s2s_pair_error(p->pair, why);
	s2s_trace(st, "xmpp.s2s.dialback", condition_of(t), "%s for %s: %s", remote, local, why);
	s2s_proof_drop(p);
	/* Section 2.2.1: `invalid` ends the stream. Other pairs on it are not to suffer for one
	 * (section 2.1.2): then it is an error. */
	if (t != S2S_INVALID || st->n_proofs > 0) {
		send_result(st, local, remote, "error", condition_of(t));
		return;
	}
	send_result(st, local, remote, "invalid", NULL);
	s2s_stream_end(st, "the dialback key is not of the domain that it is said to be of");
}

void s2s_dialback_verified(struct s2s_proof *p, enum s2s_trouble t, const char *why)
{
	struct s2s_stream *st = p->stream;
	struct s2s_pair *pair = p->pair;
	struct s2s *s = st->s2s;
	struct s2s_policy policy = s2s_policy_of(s, pair->local, pair->remote, true);
	const char *misfit = s2s_misfit(&policy, st, "dialback");

	if (t == S2S_NO_TROUBLE && misfit) {
		/* It was changed while we asked. */
		t = S2S_REFUSED;
		why = misfit;
	}
	if (t != S2S_NO_TROUBLE) {
		refuse_key(p, t, why);
		return;
	}
	if (st->state == S2S_ENDING || st->state == S2S_OVER) {
		s2s_proof_drop(p);
		return;
	}
	send_result(st, pair->local, pair->remote, "valid", NULL);
	s2s_proof_accept(p, "dialback");
}

static size_t n_verifying(const struct s2s_stream *st)
{
	return st->n_proofs - st->n_proven;
}

static void deny(struct s2s_stream *st, const char *local, const char *remote, const char *code,
		 const char *decided_by, const char *condition, const char *why)
{
	s2s_trace(st, code, decided_by, "dialback of %s for %s: %s", remote, local, why);
	send_result(st, local, remote, "error", condition);
}

/* True: answered. A certificate counts without asking only where nothing else is believed: there
 * the stream's own certificate must carry the domain. */
static bool decide_by_policy(struct s2s_stream *st, const char *local, const char *remote)
{
	struct s2s_policy p = s2s_policy_of(st->s2s, local, remote, true);
	struct s2s_identity id = { 0 };
	struct s2s_proof *proof;

	if (!p.allowed) {
		deny(st, local, remote, "xmpp.s2s.denied", p.decided_by, "policy-violation",
		     p.why ? p.why : "not allowed");
		return true;
	}
	if (p.tls == S2S_TLS_REQUIRED && !st->tls) {
		deny(st, local, remote, "xmpp.s2s.tls", p.decided_by, "policy-violation",
		     "TLS is required");
		return true;
	}
	if (p.auth != S2S_AUTH_CERTIFICATE)
		return false;
	if (st->tls && xmpp_socket(st->x))
		st->s2s->ops->identity(st->s2s->arg, xmpp_socket(st->x), remote, &id);
	if (!id.verified || !id.names_domain) {
		deny(st, local, remote, "xmpp.s2s.certificate", p.decided_by, "not-authorized",
		     id.why[0] ? id.why : "a certificate that carries the domain is required");
		return true;
	}
	proof = s2s_proof_new(st, local, remote);
	if (!proof) {
		deny(st, local, remote, "xmpp.s2s.limit", "pairs", "resource-constraint", "memory");
		return true;
	}
	st->identity = id;
	send_result(st, local, remote, "valid", NULL);
	s2s_proof_accept(proof, "external");
	return true;
}

/* <db:result> with a key. */
static void on_key(struct s2s_stream *st, const char *local, const char *remote, const char *key)
{
	struct s2s *s = st->s2s;
	struct s2s_proof *p = s2s_proof_find(st, local, remote);
	const char *limit;

	if (p) {
		/* Still being asked about, or said already. */
		if (p->method)
			send_result(st, local, remote, "valid", NULL);
		return;
	}
	if (!s->ops->is_local(s->arg, local)) {
		deny(st, local, remote, "xmpp.s2s.unknown-host", "[im-server] domains",
		     "item-not-found", "no domain of ours");
		return;
	}
	if (st->n_proofs >= s->conf.max_pairs_in || n_verifying(st) >= S2S_MAX_VERIFYING) {
		deny(st, local, remote, "xmpp.s2s.limit", "max-pairs-in", "resource-constraint",
		     "too many pairs on one stream");
		return;
	}
	limit = s2s_in_over_limit(st, false);
	if (!limit && decide_by_policy(st, local, remote))
		return;
	if (!limit)
		limit = s2s_in_over_limit(st, true);
	if (limit) {
		deny(st, local, remote, "xmpp.s2s.limit", limit, "resource-constraint",
		     "too many pairs, or questions about keys, at one time");
		return;
	}
	p = *key ? s2s_proof_new(st, local, remote) : NULL;
	if (p && s2s_verify_start(p, key) == 0)
		return;
	if (p)
		s2s_proof_drop(p);
	deny(st, local, remote, "xmpp.s2s.limit", "max-streams",
	     *key ? "resource-constraint" : "bad-request",
	     *key ? "no stream to ask on: limits or memory" : "no key");
}

void s2s_dialback_ask(struct s2s_stream *st)
{
	struct answer w = { .name = "verify",
			    .from = st->local,
			    .to = st->remote,
			    .id = st->asked_id,
			    .key = st->key };

	say(st, &w);
}

static bool is_host_unknown(const struct xml_node *e)
{
	const struct xml_node *error = xml_node_child(e, XMPP_SERVER, "error");

	return error && xml_node_child(error, XMPP_STANZA_ERROR, "item-not-found");
}

/* <db:verify type=...> on the stream that asked. */
static void on_verified(struct s2s_stream *st, const struct xml_node *e, const char *local,
			const char *remote, const char *type)
{
	const char *id = xml_node_attr(e, "id");
	struct s2s_proof *asker = st->asker;

	if (st->kind != S2S_VERIFY || st->state != S2S_ASKING || !asker || !id ||
	    strcmp(id, st->asked_id) != 0 || strcmp(local, st->local) != 0 ||
	    strcmp(remote, st->remote) != 0) {
		unsolicited(st, e);
		return;
	}
	if (strcmp(type, "valid") != 0 && strcmp(type, "invalid") != 0) {
		s2s_out_give_up(st, is_host_unknown(e) ? S2S_NOT_FOUND : S2S_BROKEN,
				"the authoritative server could not tell");
		return;
	}
	st->asker = NULL;
	asker->verify = NULL;
	s2s_stream_end(st, "answered");
	if (strcmp(type, "valid") == 0)
		s2s_dialback_verified(asker, S2S_NO_TROUBLE, "");
	else
		s2s_dialback_verified(asker, S2S_INVALID,
				      "the authoritative server calls the dialback key invalid");
}

/* --- originating --- */

int s2s_dialback_request(struct s2s_stream *st)
{
	struct s2s *s = st->s2s;
	struct slice secret = s->ops->secret(s->arg, st->local, 0);
	char key[DIALBACK_KEY_BYTES];
	struct answer w = { .name = "result", .from = st->local, .to = st->remote, .key = key };

	if (!secret.p)
		return -ENOENT;
	dialback_key(secret, st->remote, st->local, st->id, key);
	if (!key[0])
		return -ENOMEM;
	say(st, &w);
	return 0;
}

static void on_result(struct s2s_stream *st, const struct xml_node *e, const char *local,
		      const char *remote, const char *type)
{
	const struct xml_node *error = xml_node_child(e, XMPP_SERVER, "error"), *c;
	char why[S2S_WHY_BYTES];

	if (st->kind != S2S_OUT || st->state != S2S_DIALBACK || strcmp(local, st->local) != 0 ||
	    strcmp(remote, st->remote) != 0) {
		unsolicited(st, e);
		return;
	}
	if (strcmp(type, "valid") == 0) {
		s2s_out_authenticated(st, "dialback");
		return;
	}
	if (strcmp(type, "invalid") == 0) {
		s2s_out_give_up(st, S2S_INVALID, "the other side calls our dialback key invalid");
		return;
	}
	c = error ? xml_node_child(error, XMPP_STANZA_ERROR, NULL) : NULL;
	snprintf(why, sizeof(why), "dialback failed: the other side said %.60s",
		 c ? c->name : "nothing more");
	s2s_out_give_up(st, S2S_REFUSED, why);
}

/* --- authoritative --- */

/* Keys need no memory: what any of the boxes has made, each of them can check. */
static bool is_our_key(struct s2s *s, const char *local, const char *remote, const char *id,
		       const char *key)
{
	char expected[DIALBACK_KEY_BYTES];
	struct slice secret;
	bool good = false;

	for (size_t i = 0; (secret = s->ops->secret(s->arg, local, i)).p; i++) {
		dialback_key(secret, remote, local, id, expected);
		good |= dialback_key_is(slice_of(key), expected);
	}
	return good;
}

static void on_verify(struct s2s_stream *st, const char *local, const char *remote, const char *id,
		      const char *key)
{
	struct s2s *s = st->s2s;
	struct s2s_policy p = s2s_policy_of(s, local, remote, false);
	struct answer w = { .name = "verify", .from = local, .to = remote, .id = id };

	if (!s->ops->is_local(s->arg, local)) {
		w.type = "error";
		w.condition = "item-not-found";
	} else if (!p.allowed || (p.tls == S2S_TLS_REQUIRED && !st->tls)) {
		/* We gave no key to one that we do not talk to. */
		w.type = "error";
		w.condition = "policy-violation";
		s2s_trace(st, p.allowed ? "xmpp.s2s.tls" : "xmpp.s2s.denied", p.decided_by,
			  "question about our dialback key from %s: %s", remote,
			  p.allowed ? "TLS is required"
			  : p.why   ? p.why
				    : "not allowed");
	} else {
		w.type = is_our_key(s, local, remote, id, key) ? "valid" : "invalid";
		if (w.type[0] == 'i')
			s2s_trace(st, "xmpp.s2s.key", "XEP-0220 2.2.2",
				  "%s has a dialback key that is not of %s", remote, local);
	}
	say(st, &w);
}

/* --- all --- */

static bool read_key(struct s2s_stream *st, const struct xml_node *e, struct xml_arena *arena,
		     char out[S2S_MAX_KEY_BYTES + 1])
{
	const char *text = xml_node_text(arena, e);
	struct slice key = slice_trim(slice_of(text));

	if (text && slice_copy(out, S2S_MAX_KEY_BYTES + 1, key))
		return true;
	s2s_trace(st, "xmpp.s2s.bad", "XEP-0220 2.1.1", "a dialback key of %zu bytes", key.n);
	s2s_stream_refuse(st, XMPP_POLICY_VIOLATION, "dialback key too long");
	return false;
}

void s2s_dialback_element(struct s2s_stream *st, struct xml_node *e, struct xml_arena *arena)
{
	const char *from = xml_node_attr(e, "from"), *to = xml_node_attr(e, "to");
	const char *type = xml_node_attr(e, "type"), *id = xml_node_attr(e, "id");
	char local[XMPP_DOMAIN_BYTES], remote[XMPP_DOMAIN_BYTES], key[S2S_MAX_KEY_BYTES + 1];
	bool result = strcmp(e->name, "result") == 0, verify = strcmp(e->name, "verify") == 0;

	if (st->state == S2S_ENDING)
		return;
	if ((!result && !verify) || !from || !to || !xmpp_domain(slice_of(from), remote) ||
	    !xmpp_domain(slice_of(to), local) || (verify && !id)) {
		s2s_trace(st, "xmpp.s2s.bad", "XEP-0220 2", "<db:%.20s/> without good domains",
			  e->name);
		s2s_stream_refuse(st, XMPP_IMPROPER_ADDRESSING, "dialback without good domains");
	} else if (type && result) {
		on_result(st, e, local, remote, type);
	} else if (type) {
		on_verified(st, e, local, remote, type);
	} else if (st->kind != S2S_IN || st->state == S2S_IN_RESTART) {
		unsolicited(st, e);
		if (result && st->state == S2S_OPEN)
			send_result(st, local, remote, "error", "not-acceptable");
	} else if (read_key(st, e, arena, key)) {
		if (result)
			on_key(st, local, remote, key);
		else
			on_verify(st, local, remote, id, key);
	}
}
