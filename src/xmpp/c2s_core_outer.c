/* E's leg: nothing of it is believed. */
#include <stdlib.h>

#include "xmpp/c2s_core_impl.h"

/* --- headers --- */

static bool is_domain(const struct core_stream *s, const char *to)
{
	char domain[XMPP_DOMAIN_BYTES];

	return to && xmpp_domain(slice_of(to), domain) && strcmp(domain, s->domain) == 0;
}

/* Every header, the one after a restart too. False: refused. */
static bool check_header(struct core_stream *s, const struct xmpp_header *h)
{
	if (!is_domain(s, h->to)) {
		core_fail(s, XMPP_HOST_UNKNOWN, "xmpp.core.wrong-domain", NULL,
			  "E took the stream for %s, its header says %s", s->domain,
			  h->to ? h->to : "nothing");
		return false;
	}
	if (!s->core->ops->serves(s->core->arg, s->domain)) {
		core_fail(s, XMPP_HOST_UNKNOWN, "xmpp.core.host-unknown", "[domain] im",
			  "%s has no chat here", s->domain);
		return false;
	}
	if (!h->version || !slice_starts(slice_of(h->version), SLICE("1."))) {
		core_fail(s, XMPP_UNSUPPORTED_VERSION, "xmpp.core.version", NULL,
			  "a stream without version 1.0");
		return false;
	}
	return true;
}

static char *copy(const char *text)
{
	return text ? slice_dup(slice_of(text)) : NULL;
}

/* Of the domain that this stream is for, or nothing. */
static const char *good_from(const struct core_stream *s, const char *from)
{
	char *bare = from ? core_bare_of(s, from) : NULL;
	bool good = bare && strchr(from, '@');

	free(bare);
	return good ? from : NULL;
}

static void first_header(struct core_stream *s, const struct xmpp_header *h)
{
	struct core_login *l = s->login;
	const char *from = good_from(s, h->from);
	char ip[ADDR_STR_BYTES];
	char *key;

	l->from = copy(from);
	l->lang = copy(h->lang);
	key = from ? core_bare_of(s, from) : copy(addr_ip_str(&s->client, ip));
	if (!key || (from && !l->from) || (h->lang && !l->lang)) {
		free(key);
		core_fail(s, XMPP_RESOURCE_CONSTRAINT, "xmpp.core.memory", NULL, "out of memory");
		return;
	}
	core_wait(s);
	core_find(s, key);
}

static void outer_header(void *arg, const struct xmpp_header *h)
{
	struct core_stream *s = arg;

	if (!check_header(s, h))
		return;
	if (s->state == CORE_HEADER) {
		first_header(s, h);
	} else if (s->state == CORE_RESTART) {
		s->header_due = true;
		core_set_state(s, CORE_RELAY);
		core_send_inner_header(s, good_from(s, h->from), h->lang);
	}
}

/* --- elements --- */
static void outer_element(void *arg, struct xml_node *e, struct xml_arena *a)
{
	struct core_stream *s = arg;

	switch (s->state) {
	case CORE_SASL:
		core_auth_outer(s, e, a);
		break;
	case CORE_RELAY:
		core_relay_outer(s, e, a);
		break;
	default: /* nothing is read in the others, or it comes after the end */
		break;
	}
}

static void outer_space(void *arg)
{
	struct core_stream *s = arg;

	if (s->state == CORE_RELAY)
		xmpp_send_space(s->inner);
}

/* --- ends --- */

static void outer_end(void *arg)
{
	struct core_stream *s = arg;

	if (s->state == CORE_RELAY) {
		/* The server's answer comes first: what it still sends goes out. */
		core_set_state(s, CORE_ENDING);
		xmpp_end(s->inner);
	} else if (s->state != CORE_ENDING) {
		core_set_state(s, CORE_ENDING);
		core_drop_inner(s);
		xmpp_end(s->outer);
	}
}

static void outer_writable(void *arg)
{
	core_relay_outer_room(arg);
}

static void outer_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition,
			 const char *why)
{
	struct core_stream *s = arg;

	if (how == XMPP_END_ERROR) {
		core_trace(s, "xmpp.core.refused", NULL, "%s from E: %s",
			   xmpp_condition_str(condition), why);
		core_over(s, why);
	} else if (how == XMPP_END_CUT) {
		core_cut(s, why);
	} else {
		core_over(s, why);
	}
}

const struct xmpp_stream_handler core_outer_handler = {
	.header = outer_header,
	.element = outer_element,
	.space = outer_space,
	.end = outer_end,
	.writable = outer_writable,
	.frame = core_outer_frame,
	.wanted = core_outer_wanted,
	.closed = outer_closed,
};
