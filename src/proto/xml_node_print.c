/*
 * Canonical printing (xml_node.h). Nothing of how the peer spelt it is left: prefixes, quotes,
 * references, CDATA, order of declarations.
 */
#include <stdint.h>
#include <string.h>

#include "proto/xml_char.h"
#include "proto/xml_node.h"
#include "proto/xmpp.h"

struct printer {
	struct buf *out;
	const char *content;
	bool db;
};

/* What another reader would take for markup, or normalise away (XML 1.0 2.11, 3.3.3). */
static const char *reference(char c, bool in_value)
{
	switch (c) {
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '&':
		return "&amp;";
	case '\r':
		return "&#13;";
	case '"':
		return in_value ? "&quot;" : NULL;
	case '\'':
		return in_value ? "&apos;" : NULL;
	case '\t':
		return in_value ? "&#9;" : NULL;
	case '\n':
		return in_value ? "&#10;" : NULL;
	default:
		return NULL;
	}
}

enum byte_class {
	PLAIN,
	MULTI,	    /* of a character of several bytes, perhaps */
	FORBIDDEN,  /* XML cannot carry it */
	EVERYWHERE, /* reference() in text and in values */
	IN_VALUE,   /* reference() in values */
};

static const uint8_t classes[256] = {
	[0x00 ... 0x08] = FORBIDDEN,
	['\t'] = IN_VALUE,
	['\n'] = IN_VALUE,
	[0x0b ... 0x0c] = FORBIDDEN,
	['\r'] = EVERYWHERE,
	[0x0e ... 0x1f] = FORBIDDEN,
	['"'] = IN_VALUE,
	['&'] = EVERYWHERE,
	['\''] = IN_VALUE,
	['<'] = EVERYWHERE,
	['>'] = EVERYWHERE,
	[0x80 ... 0xff] = MULTI,
};

/* Bytes at the start of s that go out as they are. */
static size_t plain(struct slice s, bool in_value)
{
	size_t n = 0, step;
	uint8_t class;

	while (n < s.n) {
		class = classes[(uint8_t)s.p[n]];
		if (class == PLAIN || (class == IN_VALUE && !in_value)) {
			n++;
			continue;
		}
		step = class == MULTI ? xml_char_length((struct slice){ s.p + n, s.n - n }) : 0;
		if (step == 0)
			break;
		n += step;
	}
	return n;
}

static void add_escaped(struct buf *out, struct slice s, bool in_value)
{
	const char *as;
	size_t n;

	while (s.n && !out->failed) {
		n = plain(s, in_value);
		buf_add(out, s.p, n);
		s.p += n;
		s.n -= n;
		if (s.n == 0)
			return;
		as = reference(s.p[0], in_value);
		if (as)
			buf_add_str(out, as);
		else
			out->failed = true;
		s.p++;
		s.n--;
	}
}

void xml_print_escaped(struct buf *out, struct slice text)
{
	add_escaped(out, text, true);
}

/* ASCII that an XML name can have, but for the colon. */
static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

/* Names come out of a parser or our own texts; one that would change what surrounds it fails. */
static void add_name(struct buf *out, const char *name)
{
	size_t n = 0, step;

	while (name[n]) {
		step = is_name_byte(name[n]);
		if (!step && (uint8_t)name[n] >= 0x80)
			step = xml_char_length((struct slice){ name + n, strnlen(name + n, 4) });
		if (!step)
			out->failed = true;
		if (out->failed)
			return;
		n += step;
	}
	if (n == 0)
		out->failed = true;
	buf_add(out, name, n);
}

/* The prefix that is bound all over the stream; NULL: the default namespace is to be used. */
static const char *bound_prefix(const struct printer *p, const char *ns)
{
	if (p->db && strcmp(ns, XMPP_DIALBACK) == 0)
		return "db:";
	/* The two others are URLs; what stanzas are made of mostly is not. */
	if (ns[0] != 'h')
		return NULL;
	if (strcmp(ns, XMPP_STREAMS) == 0)
		return "stream:";
	return strcmp(ns, XML_NS) == 0 ? "xml:" : NULL;
}

/* The default namespace around e. */
static const char *default_around(const struct printer *p, const struct xml_node *root,
				  const struct xml_node *e)
{
	while (e != root) {
		e = e->parent;
		if (!bound_prefix(p, e->ns))
			return e->ns;
	}
	return p->content;
}

static void add_declaration(struct buf *out, const char *ns)
{
	buf_add_str(out, "='");
	add_escaped(out, slice_of(ns), true);
	buf_add_char(out, '\'');
}

static void print_attr(struct printer *p, const struct xml_node *e, const struct xml_node_attr *a)
{
	const struct xml_node_attr *same;
	unsigned nr = 0;

	buf_add_char(p->out, ' ');
	if (a->ns[0] && strcmp(a->ns, XML_NS) == 0) {
		buf_add_str(p->out, "xml:");
	} else if (a->ns[0]) {
		/* Numbered by the first attribute of that namespace. */
		for (same = e->attrs; strcmp(same->ns, a->ns) != 0; same = same->next)
			nr++;
		if (same == a) {
			buf_printf(p->out, "xmlns:a%u", nr);
			add_declaration(p->out, a->ns);
			buf_add_char(p->out, ' ');
		}
		buf_printf(p->out, "a%u:", nr);
	}
	add_name(p->out, a->name);
	buf_add_str(p->out, "='");
	add_escaped(p->out, slice_of(a->value), true);
	buf_add_char(p->out, '\'');
}

static void print_open(struct printer *p, const struct xml_node *root, const struct xml_node *e)
{
	const char *prefix = bound_prefix(p, e->ns);
	const struct xml_node_attr *a;

	buf_add_char(p->out, '<');
	if (prefix)
		buf_add_str(p->out, prefix);
	add_name(p->out, e->name);
	/* Readers give an element the very text of its parent's namespace. */
	if (!prefix && (e == root || e->ns != e->parent->ns) &&
	    strcmp(default_around(p, root, e), e->ns) != 0) {
		buf_add_str(p->out, " xmlns");
		add_declaration(p->out, e->ns);
	}
	for (a = e->attrs; a; a = a->next)
		print_attr(p, e, a);
	buf_add_str(p->out, e->first ? ">" : "/>");
}

static void print_close(struct printer *p, const struct xml_node *e)
{
	const char *prefix = bound_prefix(p, e->ns);

	buf_add_str(p->out, "</");
	if (prefix)
		buf_add_str(p->out, prefix);
	buf_add_str(p->out, e->name);
	buf_add_char(p->out, '>');
}

void xml_node_print(const struct xml_node *e, const char *content, bool db, struct buf *out)
{
	struct printer p = { .out = out, .content = content ? content : "", .db = db };
	const struct xml_node *at = e;

	while (!out->failed) {
		if (at->name)
			print_open(&p, e, at);
		else
			add_escaped(out, at->text, false);
		if (at->name && at->first) {
			at = at->first;
			continue;
		}
		while (at != e && !at->next) {
			at = at->parent;
			print_close(&p, at);
		}
		if (at == e)
			return;
		at = at->next;
	}
}
