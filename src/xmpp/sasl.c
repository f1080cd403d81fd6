#include "xmpp/sasl.h"

#include <errno.h>

#include "base/base64.h"
#include "proto/xml_char.h"

#define MAX_NAME_BYTES 1024

struct word {
	const char *name;
	enum sasl_element element;
};

static const struct word sasl_words[] = {
	{ "auth", SASL_START },		 { "response", SASL_RESPONSE }, { "abort", SASL_ABORT },
	{ "challenge", SASL_CHALLENGE }, { "success", SASL_SUCCESS },	{ "failure", SASL_FAILURE },
};
static const struct word sasl2_words[] = {
	{ "authenticate", SASL_START },	 { "response", SASL_RESPONSE },
	{ "abort", SASL_ABORT },	 { "next", SASL_NEXT },
	{ "challenge", SASL_CHALLENGE }, { "continue", SASL_CONTINUE },
	{ "success", SASL_SUCCESS_2 },	 { "failure", SASL_FAILURE },
	{ "task-data", SASL_DATA },
};

static enum sasl_element look_up(const struct word *words, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i].name, name) == 0)
			return words[i].element;
	}
	return SASL_NONE;
}

enum sasl_element sasl_element_of(const struct xml_node *e)
{
	if (!e || !e->name)
		return SASL_NONE;
	if (strcmp(e->ns, XMPP_SASL) == 0)
		return look_up(sasl_words, sizeof(sasl_words) / sizeof(sasl_words[0]), e->name);
	if (strcmp(e->ns, XMPP_SASL2) == 0)
		return look_up(sasl2_words, sizeof(sasl2_words) / sizeof(sasl2_words[0]), e->name);
	return SASL_NONE;
}

const char *sasl_mechanism(const struct xml_node *start)
{
	const char *m =
		sasl_element_of(start) == SASL_START ? xml_node_attr(start, "mechanism") : NULL;

	return m && *m ? m : NULL;
}

/* --- the initial response --- */

/* The element that carries it: SASL2 has one of its own for it. NULL: there is none. */
static const struct xml_node *payload_of(const struct xml_node *e)
{
	if (xml_node_is(e, XMPP_SASL2, "authenticate"))
		return xml_node_child(e, XMPP_SASL2, "initial-response");
	return e;
}

/* Servers do not agree which one of several counts: then nobody can tell who it is. */
static bool is_ambiguous(const struct xml_node *e)
{
	const struct xml_node *first = xml_node_child(e, XMPP_SASL2, "initial-response");

	return xml_node_is(e, XMPP_SASL2, "authenticate") && first &&
	       xml_node_again(first, XMPP_SASL2, "initial-response");
}

/* Its text, when it is in one piece, as canonical text of a parser is; else false. */
static bool text_of(const struct xml_node *e, struct slice *out)
{
	*out = SLICE_NONE;
	if (!e)
		return true;
	for (const struct xml_node *c = e->first; c; c = c->next) {
		if (c->name || out->n > 0)
			return false;
		*out = c->text;
	}
	return true;
}

/* RFC 6120 section 6.4.2: the standard alphabet, padded, nothing else. */
static bool is_strict(struct slice text)
{
	return text.n % 4 == 0 && slice_find(text, '-') == text.n &&
	       slice_find(text, '_') == text.n;
}

/* How many bytes; -1: not readable. "=" and nothing are 0. out has room for all of text. */
static long decode(struct slice text, uint8_t *out, size_t max)
{
	if (text.n == 0 || slice_eq(text, SLICE("=")))
		return 0;
	return is_strict(text) ? base64_decode(text, out, max) : -1;
}

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	}
	return s.n > 0 && s.n <= MAX_NAME_BYTES && xml_chars_ok(s);
}

/* --- what the mechanisms put there --- */

/* RFC 4616: [authzid] NUL authcid NUL passwd. */
static bool plain_name(struct slice r, char *out, size_t size)
{
	struct slice authcid;

	slice_next(&r, '\0');
	if (!r.p)
		return false;
	authcid = slice_next(&r, '\0');
	return r.p && slice_find(r, '\0') == r.n && is_name(authcid) &&
	       slice_copy(out, size, authcid);
}

/* RFC 5802 section 5.1: "=2C" and "=3D" stand for comma and equals sign, and no other "=". */
static bool undo_saslname(struct slice name, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (c == '=') {
			struct slice rest = { name.p + i, name.n - i };

			if (!slice_starts(rest, SLICE("=2C")) && !slice_starts(rest, SLICE("=3D")))
				return false;
			c = rest.p[1] == '2' ? ',' : '=';
			i += 2;
		}
		if (n + 1 >= size)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return is_name((struct slice){ out, n });
}

/* The value of "x=value" up to the comma. */
static bool take_attr(struct slice *r, char letter, struct slice *value)
{
	struct slice part = slice_next(r, ',');

	if (!r->p || part.n < 2 || part.p[0] != letter || part.p[1] != '=')
		return false;
	*value = (struct slice){ part.p + 2, part.n - 2 };
	return true;
}

/* RFC 5801 section 4: "n,", "y," or "p=binding,". */
static bool take_gs2_flag(struct slice *r)
{
	struct slice flag = slice_next(r, ',');

	return r->p && (slice_eq(flag, SLICE("n")) || slice_eq(flag, SLICE("y")) ||
			(flag.n > 2 && flag.p[0] == 'p' && flag.p[1] == '='));
}

/* RFC 5802 section 7: gs2-header "n=" saslname ",r=" nonce. A mandatory extension (m=) is one that
 * nobody knows. */
static bool scram_name(struct slice r, char *out, size_t size)
{
	struct slice name;

	if (!take_gs2_flag(&r))
		return false;
	slice_next(&r, ','); /* authzid */
	return r.p && take_attr(&r, 'n', &name) && slice_starts(r, SLICE("r=")) &&
	       undo_saslname(name, out, size);
}

/* RFC 7628 section 3.1: the name is the authzid of the gs2-header, and need not be there. */
static bool bearer_name(struct slice r, char *out, size_t size)
{
	struct slice name;

	return take_gs2_flag(&r) && take_attr(&r, 'a', &name) && undo_saslname(name, out, size);
}

/* XEP-0484 and draft-schmaus-kitten-sasl-ht: authcid NUL token. */
static bool token_name(struct slice r, char *out, size_t size)
{
	struct slice name = slice_next(&r, '\0');

	return r.p && is_name(name) && slice_copy(out, size, name);
}

static bool name_in(struct slice mechanism, struct slice r, char *out, size_t size)
{
	if (slice_eq(mechanism, SLICE("PLAIN")) || slice_eq(mechanism, SLICE("X-OAUTH2")))
		return plain_name(r, out, size);
	if (slice_starts(mechanism, SLICE("SCRAM-")))
		return scram_name(r, out, size);
	if (slice_eq(mechanism, SLICE("OAUTHBEARER")))
		return bearer_name(r, out, size);
	if (slice_starts(mechanism, SLICE("HT-")))
		return token_name(r, out, size);
	return false;
}

bool sasl_user(struct xml_arena *a, const struct xml_node *start, char *out, size_t size)
{
	const char *mechanism = sasl_mechanism(start);
	struct slice text;
	uint8_t *bytes;
	long n;
	bool found = false;

	if (!mechanism || is_ambiguous(start) || !text_of(payload_of(start), &text) || text.n == 0)
		return false;
	bytes = xml_arena_take(a, text.n);
	if (!bytes)
		return false;
	n = decode(text, bytes, text.n);
	if (n > 0) {
		struct slice r = { (const char *)bytes, (size_t)n };

		found = name_in(slice_of(mechanism), r, out, size);
	}
	explicit_bzero(bytes, text.n);
	return found;
}

/* --- EXTERNAL --- */
bool sasl_external_identity(const struct xml_node *start, char *out, size_t size)
{
	uint8_t bytes[MAX_NAME_BYTES];
	struct slice text;
	long n;

	out[0] = '\0';
	if (is_ambiguous(start) || !text_of(payload_of(start), &text))
		return false;
	n = decode(text, bytes, sizeof(bytes));
	if (n <= 0)
		return n == 0;
	return is_name((struct slice){ (const char *)bytes, (size_t)n }) &&
	       slice_copy(out, size, (struct slice){ (const char *)bytes, (size_t)n });
}

int sasl_set_external_identity(struct xml_arena *a, struct xml_node *start, const char *address)
{
	struct xml_node *to = (struct xml_node *)payload_of(start);
	struct buf text;
	int err = -ENOMEM;

	buf_init(&text, 2 * MAX_NAME_BYTES);
	base64_encode(&text, address, strlen(address));
	if (!to)
		to = xml_node_new(a, start, XMPP_SASL2, "initial-response");
	if (to && !text.failed) {
		while (to->first)
			xml_node_remove(to->first);
		err = xml_node_add_text(a, to, buf_slice(&text));
	}
	buf_fini(&text);
	return err;
}
