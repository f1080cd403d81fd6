/* A signed-in client: stanzas and nonzas both ways, as they are, each leg no faster than the other
 * takes them. */
#include "xmpp/c2s_edge_impl.h"

#define RESUMPTION_DEPTH 3 /* SASL2: <success><bound><enabled/> */

/* --- back-pressure --- */

void c2s_client_writable(void *arg)
{
	struct c2s *c = arg;

	if (c->state == C2S_OVER || !c->client_is_full)
		return;
	c->client_is_full = false;
	xmpp_resume(c->link);
}

void c2s_link_writable(void *arg)
{
	struct c2s *c = arg;

	if (c->state == C2S_OVER || !c->link_is_full)
		return;
	c->link_is_full = false;
	xmpp_resume(c->client);
}

static void mind_client(struct c2s *c)
{
	if (c->client_is_full || !xmpp_is_full(c->client))
		return;
	c->client_is_full = true;
	xmpp_pause(c->link);
}

static void mind_link(struct c2s *c)
{
	if (c->link_is_full || !xmpp_is_full(c->link))
		return;
	c->link_is_full = true;
	xmpp_pause(c->client);
}

/* --- from the client --- */

/* What belongs between the client and us, and was never offered here. */
static bool is_ours(const struct xml_node *e)
{
	static const char *const spaces[] = { XMPP_TLS, XMPP_COMPRESS, XMPP_SASL, XMPP_SASL2,
					      XMPP_DIALBACK };

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		if (strcmp(e->ns, spaces[i]) == 0)
			return true;
	}
	return strcmp(e->ns, XMPP_STREAMS) == 0 && strcmp(e->name, "error") != 0;
}

void c2s_relay_from_client(struct c2s *c, struct xml_node *e)
{
	if (is_ours(e)) {
		c2s_refuse(c, XMPP_UNSUPPORTED_STANZA_TYPE, "xmpp.c2s.unsupported-stanza-type",
			   "RFC 6120 4.9.3.24", "<%s xmlns='%s'/> behind sign-in", e->name, e->ns);
		return;
	}
	c->active_ms = loop_now_ms(c->edge->env->loop);
	xmpp_send(c->link, e);
	mind_link(c);
	c2s_count(c);
}

/* --- from the server --- */

void c2s_user(struct c2s *c, const char *address)
{
	char bare[CONN_USER_BYTES];

	if (c->user_known || !xmpp_bare(slice_of(address), bare, sizeof(bare)))
		return;
	c->user_known = true;
	slice_copy(c->conn.user, sizeof(c->conn.user), slice_of(bare));
	c->edge->ops->user(c->edge->arg, bare, &c->conn.remote, c->conn.session);
}

void c2s_look_for_resumption(struct c2s *c, const struct xml_node *e, unsigned depth)
{
	const char *resume;

	if (strcmp(e->ns, XMPP_SM) == 0 && strcmp(e->name, "enabled") == 0) {
		resume = xml_node_attr(e, "resume");
		c->resumable = resume && (strcmp(resume, "true") == 0 || strcmp(resume, "1") == 0);
		return;
	}
	if (strcmp(e->ns, XMPP_SM) == 0 && strcmp(e->name, "resumed") == 0) {
		c->resumable = true;
		/* There is no bind: who signed in is all that is known. */
		c2s_user(c, c->conn.user);
		return;
	}
	if (depth + 1 >= RESUMPTION_DEPTH)
		return;
	for (struct xml_node *n = xml_node_child(e, NULL, NULL); n;
	     n = xml_node_again(n, NULL, NULL))
		c2s_look_for_resumption(c, n, depth + 1);
}

static void look_for_bind(struct c2s *c, struct xml_node *e, struct xml_arena *arena)
{
	const char *type = xml_node_attr(e, "type"), *address;
	struct xml_node *bind = xml_node_child(e, XMPP_BIND, "bind");
	struct xml_node *jid = bind ? xml_node_child(bind, XMPP_BIND, "jid") : NULL;

	if (!jid || !type || strcmp(type, "result") != 0)
		return;
	address = xml_node_text(arena, jid);
	if (address)
		c2s_user(c, address);
}

void c2s_relay_from_link(struct c2s *c, struct xml_node *e, struct xml_arena *arena)
{
	if (xml_node_is(e, XMPP_STREAMS, "features"))
		c2s_filter_features(c, e);
	else if (strcmp(e->ns, XMPP_SM) == 0)
		c2s_look_for_resumption(c, e, RESUMPTION_DEPTH - 1);
	else if (!c->user_known && xml_node_is(e, XMPP_CLIENT, "iq"))
		look_for_bind(c, e, arena);
	c->active_ms = loop_now_ms(c->edge->env->loop);
	xmpp_send(c->client, e);
	mind_client(c);
	c2s_count(c);
}

void c2s_server_error(struct c2s *c, struct xml_node *e)
{
	struct xml_node *condition = xml_node_child(e, XMPP_STREAM_ERROR, NULL);
	const char *name = condition ? condition->name : "undefined-condition";

	c->server_ended = true;
	c2s_trace(c, "xmpp.c2s.server-error", "IM server", "the server ended the stream: %s", name);
	/* It names a host inside, where the client can go nowhere (RFC 6120 section 4.9.3.19); what
	 * it can do is to come again. */
	if (xml_node_is(condition, XMPP_STREAM_ERROR, "see-other-host")) {
		xmpp_fail(c->client, XMPP_RESET, NULL, NULL);
		c2s_over(c, true, "the server ended the stream: %s", name);
		return;
	}
	xmpp_send(c->client, e);
}
