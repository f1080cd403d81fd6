/* Stanzas both ways, and not faster than the other side takes them. */
#include <stdlib.h>

#include "xmpp/c2s_core_impl.h"

static void count(struct core_stream *s)
{
	const struct xmpp_stream_stats *st = s->inner ? xmpp_stream_stats(s->inner) : NULL;

	if (!st)
		return;
	s->conn.rx_packets = st->n_in;
	s->conn.rx_bytes = st->in_bytes;
	s->conn.tx_packets = st->n_out;
	s->conn.tx_bytes = st->out_bytes;
}

void core_relay_outer(struct core_stream *s, struct xml_node *e, struct xml_arena *a)
{
	/* A client has no business with streams and their security behind this point, but to say
	 * why it ends its own (RFC 6120 section 4.9.1.1). */
	if ((strcmp(e->ns, XMPP_STREAMS) == 0 && strcmp(e->name, "error") != 0) ||
	    strcmp(e->ns, XMPP_TLS) == 0 || strcmp(e->ns, XMPP_COMPRESS) == 0) {
		core_fail(s, XMPP_UNSUPPORTED_STANZA_TYPE, "xmpp.core.element", NULL,
			  "<%.60s/> of %.100s is not for clients to send", e->name, e->ns);
		return;
	}
	xmpp_send(s->inner, e);
	count(s);
	if (!s->outer_paused && xmpp_is_full(s->inner)) {
		s->outer_paused = true;
		xmpp_pause(s->outer);
	}
}

/* SASL1 and OAUTHBEARER need not have told the name; the server does (RFC 6120 section 7.6). */
static void look_for_user(struct core_stream *s, const struct xml_node *e, struct xml_arena *a)
{
	const struct xml_node *bind, *jid;
	const char *text;
	char *bare;

	if (s->conn.user[0] || !xml_node_is(e, XMPP_CLIENT, "iq"))
		return;
	bind = xml_node_child(e, XMPP_BIND, "bind");
	jid = bind ? xml_node_child(bind, XMPP_BIND, "jid") : NULL;
	text = jid ? xml_node_text(a, jid) : NULL;
	bare = text && strchr(text, '@') ? core_bare_of(s, text) : NULL;
	if (bare)
		core_set_user(s, bare);
	free(bare);
}

void core_look_for_resumption(struct core_stream *s, const struct xml_node *e)
{
	const char *resume = xml_node_attr(e, "resume");

	if (xml_node_is(e, XMPP_SM, "resumed"))
		s->resumable = true;
	else if (xml_node_is(e, XMPP_SM, "enabled"))
		s->resumable = resume && (strcmp(resume, "true") == 0 || strcmp(resume, "1") == 0);
}

void core_relay_inner(struct core_stream *s, struct xml_node *e, struct xml_arena *a)
{
	const struct features_policy p = { .keep_binding = s->core->keep_binding };
	struct features_found found;

	if (xml_node_is(e, XMPP_STREAMS, "features"))
		features_filter(e, &p, &found);
	look_for_user(s, e, a);
	core_look_for_resumption(s, e);
	xmpp_send(s->outer, e);
	count(s);
	if (!s->inner_paused && xmpp_is_full(s->outer)) {
		s->inner_paused = true;
		xmpp_pause(s->inner);
	}
}

void core_relay_outer_room(struct core_stream *s)
{
	if (!s->inner_paused || !s->inner)
		return;
	s->inner_paused = false;
	xmpp_resume(s->inner);
}

void core_relay_inner_room(struct core_stream *s)
{
	if (!s->outer_paused || !s->outer)
		return;
	s->outer_paused = false;
	xmpp_resume(s->outer);
}

void core_relay_error(struct core_stream *s, struct xml_node *e)
{
	const struct xml_node *c = xml_node_child(e, XMPP_STREAM_ERROR, NULL);
	const char *name = c ? c->name : "undefined-condition";
	enum xmpp_condition condition = xmpp_condition_of(name);

	/* Its text would be a host inside, where the client cannot go: it comes back here. */
	if (condition == XMPP_SEE_OTHER_HOST)
		condition = XMPP_RESET;
	core_fail(s, condition, "xmpp.core.server-error", s->conn.zone,
		  "the server ended the stream: %s", name);
}
