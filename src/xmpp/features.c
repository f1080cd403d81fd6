/* What of <stream:features/> may be shown outside. */
#include "xmpp/sasl.h"

#define FAST "urn:xmpp:fast:0"

/* RFC 4422 section 3.1: 20 characters at most. */
#define MECHANISM_BYTES 32

/* The name in <mechanism/>, "" for what is none. */
static void mechanism_name(const struct xml_node *e, char out[MECHANISM_BYTES])
{
	char text[64];
	size_t n = 0;
	struct slice name;

	out[0] = '\0';
	for (const struct xml_node *c = e->first; c; c = c->next) {
		if (c->name || c->text.n > sizeof(text) - n)
			return;
		memcpy(text + n, c->text.p, c->text.n);
		n += c->text.n;
	}
	name = slice_trim((struct slice){ text, n });
	if (!slice_copy(out, MECHANISM_BYTES, name))
		out[0] = '\0';
}

static bool ends(struct slice s, struct slice suffix)
{
	return s.n >= suffix.n &&
	       slice_caseeq((struct slice){ s.p + s.n - suffix.n, suffix.n }, suffix);
}

/* SCRAM-SHA-1-PLUS and the like; the tokens of FAST name the binding itself (HT-SHA-256-ENDP). */
static bool binds(const char *name)
{
	struct slice s = slice_of(name);

	if (ends(s, SLICE("-PLUS")))
		return true;
	return s.n > 3 && slice_caseeq((struct slice){ s.p, 3 }, SLICE("HT-")) &&
	       !ends(s, SLICE("-NONE"));
}

/* One list of mechanisms. Returns how many are left. */
static size_t filter_list(struct xml_node *list, const struct features_policy *p,
			  struct features_found *out)
{
	struct xml_node *m, *after;
	size_t n = 0;

	for (m = xml_node_child(list, list->ns, "mechanism"); m; m = after) {
		char name[MECHANISM_BYTES];
		bool goes = false;

		after = xml_node_again(m, list->ns, "mechanism");
		mechanism_name(m, name);
		if (binds(name)) {
			out->had_binding = true;
			goes = p && !p->keep_binding;
		} else if (slice_caseeq(slice_of(name), SLICE("EXTERNAL"))) {
			out->external = true;
			goes = p && !p->external;
		} else if (!name[0]) {
			goes = p != NULL;
		}
		if (goes)
			xml_node_remove(m);
		else
			n++;
	}
	return n;
}

static struct xml_node *fast_of(const struct xml_node *sasl2)
{
	const struct xml_node *inside = xml_node_child(sasl2, XMPP_SASL2, "inline");

	return inside ? xml_node_child(inside, FAST, "fast") : NULL;
}

/* XEP-0440, wherever it stands. */
static void filter_binding(struct xml_node *e, const struct features_policy *p,
			   struct features_found *out)
{
	struct xml_node *c, *after;

	for (c = xml_node_child(e, XMPP_SASL_CB, NULL); c; c = after) {
		after = xml_node_again(c, XMPP_SASL_CB, NULL);
		out->had_binding = true;
		if (p && !p->keep_binding)
			xml_node_remove(c);
	}
}

static void filter_sasl(struct xml_node *list, const struct features_policy *p,
			struct features_found *out)
{
	struct xml_node *fast = fast_of(list);
	size_t n;

	filter_binding(list, p, out);
	if (fast && filter_list(fast, p, out) == 0 && p)
		xml_node_remove(fast);
	n = filter_list(list, p, out);
	out->n_mechanisms += n;
	if (n == 0 && p)
		xml_node_remove(list);
}

/* Any namespace: XEP-0077, XEP-0389, and tokens of invitations (XEP-0445). */
static bool is_register(const struct xml_node *e)
{
	return strcmp(e->name, "register") == 0;
}

static bool is_compression(const struct xml_node *e)
{
	return strcmp(e->ns, XMPP_COMPRESS_FEATURE) == 0 || strcmp(e->ns, XMPP_COMPRESS) == 0;
}

/* True when e must not leave. */
static bool look_at(const struct xml_node *e, struct features_found *out)
{
	if (xml_node_is(e, XMPP_TLS, "starttls")) {
		out->starttls = true;
		out->starttls_required = xml_node_child(e, XMPP_TLS, "required") != NULL;
		return true;
	}
	if (is_compression(e)) {
		out->had_compression = true;
		return true;
	}
	if (is_register(e)) {
		out->had_register = true;
		return true;
	}
	if (xml_node_is(e, XMPP_DIALBACK_FEATURE, "dialback")) {
		out->dialback = true;
		out->dialback_errors = xml_node_child(e, NULL, "errors") != NULL;
	} else if (xml_node_is(e, XMPP_BIDI_FEATURE, "bidi")) {
		out->bidi = true;
	}
	return false;
}

void features_filter(struct xml_node *features, const struct features_policy *p,
		     struct features_found *out)
{
	struct xml_node *e, *after;

	*out = (struct features_found){ 0 };
	filter_binding(features, p, out);
	for (e = xml_node_child(features, NULL, NULL); e; e = after) {
		after = xml_node_again(e, NULL, NULL);
		if (xml_node_is(e, XMPP_SASL, "mechanisms") ||
		    xml_node_is(e, XMPP_SASL2, "authentication"))
			filter_sasl(e, p, out);
		else if (look_at(e, out) && p)
			xml_node_remove(e);
	}
}

static bool list_has(const struct xml_node *list, const char *mechanism)
{
	if (!list)
		return false;
	for (const struct xml_node *m = xml_node_child(list, list->ns, "mechanism"); m;
	     m = xml_node_again(m, list->ns, "mechanism")) {
		char name[MECHANISM_BYTES];

		mechanism_name(m, name);
		if (strcmp(name, mechanism) == 0)
			return true;
	}
	return false;
}

bool features_has_mechanism(const struct xml_node *features, const char *mechanism)
{
	const struct xml_node *e;

	for (e = xml_node_child(features, XMPP_SASL, "mechanisms"); e;
	     e = xml_node_again(e, XMPP_SASL, "mechanisms")) {
		if (list_has(e, mechanism))
			return *mechanism != '\0';
	}
	for (e = xml_node_child(features, XMPP_SASL2, "authentication"); e;
	     e = xml_node_again(e, XMPP_SASL2, "authentication")) {
		if (list_has(e, mechanism) || list_has(fast_of(e), mechanism))
			return *mechanism != '\0';
	}
	return false;
}
