/* Names, headers and errors of XMPP (RFC 6120). */
#include "proto/xmpp.h"

#include <string.h>

#include "proto/xml_node.h"

static const char *const conditions[XMPP_N_CONDITIONS] = {
	[XMPP_BAD_FORMAT] = "bad-format",
	[XMPP_BAD_NAMESPACE_PREFIX] = "bad-namespace-prefix",
	[XMPP_CONFLICT] = "conflict",
	[XMPP_CONNECTION_TIMEOUT] = "connection-timeout",
	[XMPP_HOST_GONE] = "host-gone",
	[XMPP_HOST_UNKNOWN] = "host-unknown",
	[XMPP_IMPROPER_ADDRESSING] = "improper-addressing",
	[XMPP_INTERNAL_SERVER_ERROR] = "internal-server-error",
	[XMPP_INVALID_FROM] = "invalid-from",
	[XMPP_INVALID_NAMESPACE] = "invalid-namespace",
	[XMPP_INVALID_XML] = "invalid-xml",
	[XMPP_NOT_AUTHORIZED] = "not-authorized",
	[XMPP_NOT_WELL_FORMED] = "not-well-formed",
	[XMPP_POLICY_VIOLATION] = "policy-violation",
	[XMPP_REMOTE_CONNECTION_FAILED] = "remote-connection-failed",
	[XMPP_RESET] = "reset",
	[XMPP_RESOURCE_CONSTRAINT] = "resource-constraint",
	[XMPP_RESTRICTED_XML] = "restricted-xml",
	[XMPP_SEE_OTHER_HOST] = "see-other-host",
	[XMPP_SYSTEM_SHUTDOWN] = "system-shutdown",
	[XMPP_UNDEFINED_CONDITION] = "undefined-condition",
	[XMPP_UNSUPPORTED_ENCODING] = "unsupported-encoding",
	[XMPP_UNSUPPORTED_FEATURE] = "unsupported-feature",
	[XMPP_UNSUPPORTED_STANZA_TYPE] = "unsupported-stanza-type",
	[XMPP_UNSUPPORTED_VERSION] = "unsupported-version",
};

const char *xmpp_condition_str(enum xmpp_condition c)
{
	return (unsigned)c < XMPP_N_CONDITIONS ? conditions[c] : "undefined-condition";
}

enum xmpp_condition xmpp_condition_of(const char *name)
{
	unsigned i;

	for (i = 0; i < XMPP_N_CONDITIONS; i++) {
		if (strcmp(conditions[i], name) == 0)
			return (enum xmpp_condition)i;
	}
	return XMPP_UNDEFINED_CONDITION;
}

static void add_attr(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	buf_add_char(out, ' ');
	buf_add_str(out, name);
	buf_add_str(out, "='");
	xml_print_escaped(out, slice_of(value));
	buf_add_char(out, '\'');
}

void xmpp_print_header(struct buf *out, const struct xmpp_header *h)
{
	buf_add_str(out, "<?xml version='1.0'?><stream:stream");
	add_attr(out, "xmlns", h->content);
	add_attr(out, "xmlns:stream", XMPP_STREAMS);
	add_attr(out, "xmlns:db", h->dialback ? XMPP_DIALBACK : NULL);
	add_attr(out, "from", h->from);
	add_attr(out, "to", h->to);
	add_attr(out, "id", h->id);
	add_attr(out, "version", h->version);
	add_attr(out, "xml:lang", h->lang);
	buf_add_char(out, '>');
}

void xmpp_print_stream_error(struct buf *out, enum xmpp_condition c, const char *text)
{
	buf_add_str(out, "<stream:error><");
	buf_add_str(out, xmpp_condition_str(c));
	buf_add_str(out, " xmlns='" XMPP_STREAM_ERROR "'/>");
	if (text) {
		buf_add_str(out, "<text xmlns='" XMPP_STREAM_ERROR "' xml:lang='en'>");
		xml_print_escaped(out, slice_of(text));
		buf_add_str(out, "</text>");
	}
	buf_add_str(out, "</stream:error></stream:stream>");
}

/* --- errors of stanzas --- */

/* The name of a stanza that an error answers (RFC 6120 section 8.3.1); NULL: nothing does. */
static const char *answerable(const struct xml_node *stanza)
{
	const char *type = xml_node_attr(stanza, "type");

	if (strcmp(stanza->name, "iq") == 0)
		return type && (strcmp(type, "get") == 0 || strcmp(type, "set") == 0) ? "iq" : NULL;
	if (type && strcmp(type, "error") == 0)
		return NULL;
	if (strcmp(stanza->name, "message") == 0)
		return "message";
	return strcmp(stanza->name, "presence") == 0 ? "presence" : NULL;
}

static bool set(struct xml_arena *a, struct xml_node *e, const char *name, const char *value)
{
	return !value || xml_node_set(a, e, name, slice_of(value)) == 0;
}

static bool add_error(struct xml_arena *a, struct xml_node *answer, const char *type,
		      const char *condition, const char *text)
{
	struct xml_node *error = xml_node_new(a, answer, answer->ns, "error"), *e;
	const char *name = xml_arena_text(a, slice_of(condition));

	if (!error || !name || !set(a, error, "type", type) ||
	    !xml_node_new(a, error, XMPP_STANZA_ERROR, name))
		return false;
	if (!text)
		return true;
	e = xml_node_new(a, error, XMPP_STANZA_ERROR, "text");
	return e && xml_node_add_text(a, e, slice_of(text)) == 0;
}

struct xml_node *xmpp_stanza_error(struct xml_arena *a, const struct xml_node *stanza,
				   const char *type, const char *condition, const char *text)
{
	const char *name = answerable(stanza), *ns;
	struct xml_node *e;

	if (!name)
		return NULL;
	ns = xml_arena_text(a, slice_of(stanza->ns));
	e = ns ? xml_node_new(a, NULL, ns, name) : NULL;
	if (!e || !set(a, e, "type", "error") || !set(a, e, "from", xml_node_attr(stanza, "to")) ||
	    !set(a, e, "to", xml_node_attr(stanza, "from")) ||
	    !set(a, e, "id", xml_node_attr(stanza, "id")) ||
	    !add_error(a, e, type, condition, text))
		return NULL;
	return e;
}
