/*
 * SASL in lock-step (RFC 6120 section 6, XEP-0388): one thing from E, one answer of the server.
 * What is in the exchange is looked at for the user's name alone, and written nowhere.
 */
#include <stdlib.h>

#include "xmpp/c2s_core_impl.h"

/* --- names --- */

char *core_bare_of(const struct core_stream *s, const char *name)
{
	char full[CORE_KEY_BYTES], bare[CORE_KEY_BYTES];
	struct xmpp_jid jid;
	char domain[XMPP_DOMAIN_BYTES];
	size_t n = slice_append(full, sizeof(full), 0, slice_of(name));

	if (!strchr(name, '@')) {
		n = slice_append(full, sizeof(full), n, SLICE("@"));
		n = slice_append(full, sizeof(full), n, slice_of(s->domain));
	}
	if (n >= sizeof(full) || !xmpp_jid_parse(slice_of(full), &jid) ||
	    !xmpp_domain(jid.domain, domain) || strcmp(domain, s->domain) != 0 ||
	    !xmpp_bare(slice_of(full), bare, sizeof(bare)))
		return NULL;
	return slice_dup(slice_of(bare));
}

/* --- answers of our own --- */

/* RFC 6120 section 6.5; XEP-0388 has the same conditions in its own <failure/>. */
static void refuse(struct core_stream *s, const char *ns, const char *condition)
{
	struct xml_arena a = { .pool = s->core->pool };
	struct xml_node *failure = xml_node_new(&a, NULL, ns, "failure");

	s->login->in_exchange = false;
	if (failure && xml_node_new(&a, failure, XMPP_SASL, condition))
		xmpp_send(s->outer, failure);
	xml_arena_reset(&a);
	core_go_on(s);
}

/* --- starts --- */

static void send_start(struct core_stream *s, const struct xml_node *e)
{
	const char *mechanism = sasl_mechanism(e);

	slice_copy(s->mechanism, sizeof(s->mechanism), slice_of(mechanism ? mechanism : ""));
	s->login->in_exchange = true;
	core_wait(s);
	xmpp_send(s->inner, e);
}

/* One of the addresses that E found in the client's certificate. */
static bool is_in_certificate(const struct core_stream *s, const char *bare)
{
	const struct preface *p = &s->login->preface;
	bool found = false;

	for (size_t i = 0; i < p->n_addrs && !found; i++) {
		char *addr = core_bare_of(s, p->addrs[i]);

		found = addr && strcmp(addr, bare) == 0;
		free(addr);
	}
	return found;
}

/* Whom the certificate may be. NULL: nobody. Owned. */
static char *external_user(struct core_stream *s, struct xml_node *e, struct xml_arena *a)
{
	struct core_login *l = s->login;
	char identity[CORE_KEY_BYTES];
	char *bare;

	if (!l->nodes[l->at].external || l->preface.n_addrs == 0 ||
	    !sasl_external_identity(e, identity, sizeof(identity)))
		return NULL;
	/* The server cannot look into the certificate for the one that is meant (XEP-0178). */
	if (!identity[0]) {
		if (l->preface.n_addrs != 1 ||
		    sasl_set_external_identity(a, e, l->preface.addrs[0]) < 0)
			return NULL;
		slice_copy(identity, sizeof(identity), slice_of(l->preface.addrs[0]));
	}
	bare = strchr(identity, '@') ? core_bare_of(s, identity) : NULL;
	if (bare && is_in_certificate(s, bare))
		return bare;
	free(bare);
	return NULL;
}

static char *user_of(struct core_stream *s, const struct xml_node *e, struct xml_arena *a)
{
	char name[CORE_KEY_BYTES];

	return sasl_user(a, e, name, sizeof(name)) ? core_bare_of(s, name) : NULL;
}

static void keep_waiting(struct core_stream *s, const struct xml_node *e)
{
	struct core_login *l = s->login;
	char *key;

	if (++l->n_homes > CORE_MAX_HOMES) {
		core_fail(s, XMPP_POLICY_VIOLATION, "xmpp.core.rehome", NULL,
			  "tries to be a user of too many servers");
		return;
	}
	key = slice_dup(slice_of(l->user));
	xml_arena_reset(&l->waiting_in);
	l->waiting = key ? xml_node_copy(&l->waiting_in, e) : NULL;
	if (!l->waiting) {
		free(key);
		refuse(s, e->ns, "temporary-auth-failure");
		return;
	}
	core_wait(s);
	core_find_home(s, key);
}

static void start(struct core_stream *s, struct xml_node *e, struct xml_arena *a)
{
	struct core_login *l = s->login;
	const char *mechanism = sasl_mechanism(e);

	free(l->user);
	l->user = NULL;
	l->external = mechanism && strcmp(mechanism, "EXTERNAL") == 0;
	if (l->external) {
		l->user = external_user(s, e, a);
		if (!l->user) {
			core_trace(s, "xmpp.core.external", "[im-server] sasl-external",
				   "EXTERNAL for a user that no certificate which E saw names");
			refuse(s, e->ns, "invalid-authzid");
			return;
		}
	}
	if (!mechanism || !features_has_mechanism(l->offered, mechanism)) {
		core_trace(s, "xmpp.core.mechanism", s->conn.zone, "%s was not offered",
			   mechanism ? mechanism : "no mechanism");
		refuse(s, e->ns, "invalid-mechanism");
		return;
	}
	if (!l->user)
		l->user = user_of(s, e, a);
	if (l->user && strcmp(l->user, l->key) != 0)
		keep_waiting(s, e);
	else
		send_start(s, e);
}

/* --- homes --- */

static void send_waiting(struct core_stream *s)
{
	struct core_login *l = s->login;
	const struct xml_node *e = l->waiting;

	core_set_state(s, CORE_SASL);
	l->waiting = NULL;
	if (features_has_mechanism(l->offered, sasl_mechanism(e))) {
		send_start(s, e);
		xml_arena_reset(&l->waiting_in);
		return;
	}
	core_trace(s, "xmpp.core.rehome", s->conn.zone, "the user's server does not offer %s",
		   sasl_mechanism(e));
	/* e->ns lives in the arena until the next start */
	refuse(s, strcmp(e->ns, XMPP_SASL2) == 0 ? XMPP_SASL2 : XMPP_SASL,
	       "temporary-auth-failure");
}

void core_home_is_here(struct core_stream *s)
{
	send_waiting(s);
}

static void show(struct core_stream *s, const struct xml_node *features)
{
	struct core_login *l = s->login;
	const struct xmpp_header h = {
		.from = s->domain, .to = l->from, .id = l->id, .lang = l->lang, .version = "1.0"
	};

	l->shown = true;
	core_set_state(s, CORE_SASL);
	xmpp_send_header(s->outer, &h);
	xmpp_send(s->outer, features);
	core_go_on(s);
}

void core_agreed(struct core_stream *s, struct xml_node *features)
{
	struct core_login *l = s->login;

	xml_arena_reset(&l->offered_in);
	l->offered = xml_node_copy(&l->offered_in, features);
	if (!l->offered)
		core_fail(s, XMPP_RESOURCE_CONSTRAINT, "xmpp.core.memory", NULL, "out of memory");
	else if (l->shown)
		send_waiting(s);
	else
		show(s, features);
}

/* --- both ways --- */

/* In an exchange of EXTERNAL the identity may come later, and is to be as good. */
static bool may_respond(struct core_stream *s, struct xml_node *e)
{
	char identity[CORE_KEY_BYTES];
	char *bare;
	bool good;

	if (!s->login->external)
		return true;
	if (!sasl_external_identity(e, identity, sizeof(identity)))
		return false;
	bare = strchr(identity, '@') ? core_bare_of(s, identity) : NULL;
	good = bare && s->login->user && strcmp(bare, s->login->user) == 0;
	free(bare);
	return good || !identity[0];
}

void core_auth_outer(struct core_stream *s, struct xml_node *e, struct xml_arena *a)
{
	enum sasl_element k = sasl_element_of(e);
	bool answers = k == SASL_RESPONSE || k == SASL_ABORT || k == SASL_NEXT || k == SASL_DATA;

	if (k == SASL_START && !s->login->in_exchange) {
		start(s, e, a);
	} else if (answers && s->login->in_exchange && may_respond(s, e)) {
		core_wait(s);
		xmpp_send(s->inner, e);
	} else {
		core_fail(s, XMPP_NOT_AUTHORIZED, "xmpp.core.not-authorized", NULL,
			  "<%.60s/> before the user is signed in", e->name);
	}
}

static void restart(struct core_stream *s)
{
	core_signed_in(s);
	core_set_state(s, CORE_RESTART);
	xmpp_restart(s->inner, true);
	xmpp_restart(s->outer, true);
}

/* XEP-0388 section 2.6.2 names the user; SASL1 does with <bind/> at last. */
static void learn_user(struct core_stream *s, const struct xml_node *e, struct xml_arena *a)
{
	const char *text =
		xml_node_text(a, xml_node_child(e, XMPP_SASL2, "authorization-identifier"));
	char *bare = text && strchr(text, '@') ? core_bare_of(s, text) : NULL;

	if (!bare)
		return;
	free(s->login->user);
	s->login->user = bare;
}

static void success_2(struct core_stream *s, const struct xml_node *e, struct xml_arena *a)
{
	const struct xml_node *n, *enabled;

	learn_user(s, e, a);
	timer_stop(loop_timers(s->core->env->loop), &s->timer);
	core_signed_in(s);
	core_set_state(s, CORE_RELAY);
	for (n = xml_node_child(e, NULL, NULL); n; n = xml_node_again(n, NULL, NULL)) {
		core_look_for_resumption(s, n);
		enabled = xml_node_child(n, XMPP_SM, "enabled"); /* <bound/> of XEP-0386 */
		if (enabled)
			core_look_for_resumption(s, enabled);
	}
}

void core_auth_inner(struct core_stream *s, struct xml_node *e, struct xml_arena *a)
{
	enum sasl_element k = sasl_element_of(e);

	if (s->state != CORE_SASL || !s->login->in_exchange)
		return; /* nobody asked */
	switch (k) {
	case SASL_CHALLENGE:
	case SASL_CONTINUE:
	case SASL_DATA:
		xmpp_send(s->outer, e);
		break;
	case SASL_FAILURE:
		s->login->in_exchange = false;
		xmpp_send(s->outer, e);
		break;
	case SASL_SUCCESS:
		xmpp_send(s->outer, e);
		restart(s);
		break;
	case SASL_SUCCESS_2:
		xmpp_send(s->outer, e);
		success_2(s, e, a);
		break;
	default:
		return;
	}
	core_go_on(s);
}
