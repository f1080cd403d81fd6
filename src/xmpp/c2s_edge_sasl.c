/*
 * Sign-in, in lock-step: one element of the client, then the client is not read until the server
 * has answered. So nothing but SASL can reach the inside before authentication, and what stands
 * behind the last element of an exchange is read only when it is known what it is: the new stream
 * (RFC 6120 section 6.4.6), the next try, or the first stanza (XEP-0388).
 */
#include <stdlib.h>

#include "core/log.h"
#include "xmpp/c2s_edge_impl.h"

/* --- from the client --- */

/* Did the server offer it, and did we let it? EXTERNAL is the one whose truth is ours. */
static bool is_offered(const struct c2s *c)
{
	return c->external || strcmp(c->mechanism, "EXTERNAL") != 0;
}

/* Answered here: no byte of it leaves. */
static void refuse_mechanism(struct c2s *c, const struct xml_node *e, struct xml_arena *arena)
{
	bool is_sasl2 = strcmp(e->ns, XMPP_SASL2) == 0;
	struct xml_node *failure =
		xml_node_new(arena, NULL, is_sasl2 ? XMPP_SASL2 : XMPP_SASL, "failure");

	if (failure && xml_node_new(arena, failure, XMPP_SASL, "invalid-mechanism"))
		xmpp_send(c->client, failure);
	c2s_trace(c, "xmpp.c2s.invalid-mechanism", "[xmpp] client-ca",
		  "EXTERNAL without a certificate that was verified");
	if (++c->n_failures >= c->edge->conf.max_failures)
		c2s_refuse(c, XMPP_POLICY_VIOLATION, "xmpp.c2s.max-failures", "[xmpp] max-failures",
			   "too many failed sign-ins");
}

/* False: it goes no further. */
static bool start(struct c2s *c, const struct xml_node *e, struct xml_arena *arena)
{
	const char *mechanism = sasl_mechanism(e);
	char name[512];

	if (!c->edge->ops->may_try(c->edge->arg, &c->conn.remote)) {
		c2s_refuse(c, XMPP_POLICY_VIOLATION, "xmpp.c2s.throttled",
			   "[xmpp] failures-per-minute",
			   "too many failed sign-ins from this address");
		return false;
	}
	slice_copy(c->mechanism, sizeof(c->mechanism), slice_of(mechanism ? mechanism : ""));
	if (!is_offered(c)) {
		refuse_mechanism(c, e, arena);
		return false;
	}
	free(c->name);
	c->name = NULL;
	if (sasl_user(arena, e, name, sizeof(name)))
		c->name = slice_dup(slice_of(name));
	c->in_exchange = true;
	c->aborted = false;
	return true;
}

static bool is_in_turn(const struct c2s *c, enum sasl_element kind)
{
	if (kind == SASL_START)
		return !c->in_exchange;
	return c->in_exchange && (kind == SASL_RESPONSE || kind == SASL_ABORT ||
				  kind == SASL_NEXT || kind == SASL_DATA);
}

void c2s_sasl_from_client(struct c2s *c, struct xml_node *e, struct xml_arena *arena)
{
	enum sasl_element kind = sasl_element_of(e);

	/* The server has said its end, or is about to. */
	if (c->server_ended || !xmpp_socket(c->link))
		return;
	if (!is_in_turn(c, kind)) {
		c2s_refuse(c, XMPP_NOT_AUTHORIZED, "xmpp.c2s.not-authorized", "RFC 6120 4.9.3.12",
			   "%s before authentication",
			   kind == SASL_NONE ? "something else than SASL" : "SASL out of turn");
		return;
	}
	if (kind == SASL_START && !start(c, e, arena))
		return;
	if (kind == SASL_ABORT)
		c->aborted = true;
	c2s_lock(c);
	xmpp_send(c->link, e);
}

/* --- from the server --- */

void c2s_filter_features(struct c2s *c, struct xml_node *e)
{
	struct features_policy p = {
		.external = c->external,
		.keep_binding = c->edge->conf.keep_binding,
	};
	struct features_found found;

	features_filter(e, &p, &found);
}

static const char *failure_condition(const struct xml_node *e)
{
	for (struct xml_node *n = xml_node_child(e, NULL, NULL); n;
	     n = xml_node_again(n, NULL, NULL)) {
		if (strcmp(n->name, "text") != 0)
			return n->name;
	}
	return "not-authorized";
}

static void failed(struct c2s *c, struct xml_node *e)
{
	struct c2s_edge *edge = c->edge;
	const char *condition = failure_condition(e);

	c->in_exchange = false;
	c->n_failures++;
	edge->stats.n_auth_bad++;
	c2s_trace(c, "xmpp.c2s.auth-failed", "IM server", "%s with %s: %s",
		  c->name ? c->name : "somebody", c->mechanism, condition);
	/* Neither a change of mind nor trouble of the server is a guess. */
	if (!c->aborted && strcmp(condition, "temporary-auth-failure") != 0)
		edge->ops->tried(edge->arg, &c->conn.remote, false);
	xmpp_send(c->client, e);
	if (c->n_failures >= edge->conf.max_failures)
		c2s_refuse(c, XMPP_POLICY_VIOLATION, "xmpp.c2s.max-failures", "[xmpp] max-failures",
			   "too many failed sign-ins");
	else
		c2s_unlock(c);
}

/* For the listing, until the server has told the address. */
static void remember_name(struct c2s *c)
{
	if (!c->name)
		return;
	snprintf(c->conn.user, sizeof(c->conn.user), strchr(c->name, '@') ? "%s" : "%s@%s", c->name,
		 c->domain);
	free(c->name);
	c->name = NULL;
}

static void succeeded(struct c2s *c, struct xml_node *e, struct xml_arena *arena)
{
	bool restarts = sasl_element_of(e) == SASL_SUCCESS;
	struct xml_node *id;
	const char *address;

	c->in_exchange = false;
	c->edge->ops->tried(c->edge->arg, &c->conn.remote, true);
	remember_name(c);
	c2s_authenticated(c);
	xmpp_send(c->client, e);
	if (restarts) {
		xmpp_restart(c->client, true);
		xmpp_restart(c->link, true);
		c->state = C2S_RESTART;
	} else {
		c->state = C2S_RELAY;
		c->edge->stats.n_relayed++;
		c2s_park_arm(c);
		id = xml_node_child(e, XMPP_SASL2, "authorization-identifier");
		address = id ? xml_node_text(arena, id) : NULL;
		if (address)
			c2s_user(c, address);
		c2s_look_for_resumption(c, e, 0);
	}
	c2s_count(c);
	c2s_unlock(c);
}

void c2s_sasl_from_link(struct c2s *c, struct xml_node *e, struct xml_arena *arena)
{
	enum sasl_element kind = sasl_element_of(e);

	if (xml_node_is(e, XMPP_STREAMS, "features") && !c->offered) {
		c->offered = true;
		c2s_filter_features(c, e);
		xmpp_send(c->client, e);
		c2s_unlock(c);
	} else if (!c->in_exchange || !c->locked) {
		c2s_refuse(c, XMPP_INTERNAL_SERVER_ERROR, "xmpp.c2s.link-unexpected", "RFC 6120 6",
			   "the server sent <%s/> out of turn", e->name);
	} else if (kind == SASL_CHALLENGE || kind == SASL_CONTINUE || kind == SASL_DATA) {
		xmpp_send(c->client, e);
		c2s_unlock(c);
	} else if (kind == SASL_FAILURE) {
		failed(c, e);
	} else if (kind == SASL_SUCCESS || kind == SASL_SUCCESS_2) {
		succeeded(c, e, arena);
	} else {
		c2s_refuse(c, XMPP_INTERNAL_SERVER_ERROR, "xmpp.c2s.link-unexpected", "RFC 6120 6",
			   "the server sent <%s/> before authentication", e->name);
	}
}
