/*
 * One pass from '<' to the '>' of the end tag. Memory is counted as the reader counts it, so that
 * it does not matter for a bound which of the two has read an element.
 */
#include "proto/xml_quick.h"

#include <string.h>

#include "proto/xml_char.h"
#include "proto/xml_reader.h"

#define MAX_ATTRS 16 /* they are compared one by one */

/* Where a byte of ASCII may stand as itself. */
enum place {
	NAME_START = 1,
	NAME = 2, /* behind its first byte */
	TEXT = 4,
	IN_APOS = 8, /* a value in these quotes */
	IN_QUOT = 16,
	NAMESPACE = 32, /* the value of xmlns; expat takes more */
};

#define ANY_VALUE (IN_APOS | IN_QUOT)
#define MARK	  (TEXT | ANY_VALUE | NAMESPACE)
#define DIGIT	  (MARK | NAME)
#define LETTER	  (DIGIT | NAME_START)

static const uint8_t places[256] = {
	['\t'] = TEXT,	      ['\n'] = TEXT,	       [' ' ... '!'] = MARK, ['"'] = TEXT | IN_APOS,
	['#' ... '%'] = MARK, ['\''] = TEXT | IN_QUOT, ['(' ... ','] = MARK, ['-' ... '.'] = DIGIT,
	['/'] = MARK,	      ['0' ... '9'] = DIGIT,   [':' ... ';'] = MARK, ['='] = MARK,
	['>'] = ANY_VALUE, /* in text it may belong to "]]>" */
	['?' ... '@'] = MARK, ['A' ... 'Z'] = LETTER,  ['[' ... '^'] = MARK, ['_'] = LETTER,
	['`'] = MARK,	      ['a' ... 'z'] = LETTER,  ['{' ... '~'] = MARK,
};

struct quick {
	const char *p, *end;
	const char *content;
	const struct xml_stream_limits *limits;
	struct xml_arena *arena;
	struct xml_node *root, *at;
	unsigned n_open;
	unsigned n_elements; /* below the root */
	size_t n_ns;	     /* bytes of namespaces that printing it repeats */
};

/* What a start tag says. */
struct tag {
	struct xml_node *e;
	struct xml_node_attr **end;
	struct slice ns; /* p NULL: it declares none */
	unsigned n_attrs;
	bool is_streams; /* "stream:" */
	bool is_empty;
};

static bool is(char c, unsigned place)
{
	return places[(uint8_t)c] & place;
}

static bool next_is(struct quick *q, char c)
{
	if (q->p == q->end || *q->p != c)
		return false;
	q->p++;
	return true;
}

const char *xml_quick_content(const char *ns)
{
	static const char *const known[] = { XMPP_CLIENT, XMPP_SERVER, XMPP_COMPONENT };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(ns, known[i]) == 0)
			return known[i];
	}
	return NULL;
}

/* --- names, text, values --- */

/* n 0: none that is plainly written. */
static struct slice read_name(struct quick *q)
{
	const char *start = q->p;

	if (q->p == q->end || !is(*q->p, NAME_START))
		return SLICE_NONE;
	do {
		q->p++;
	} while (q->p < q->end && is(*q->p, NAME));
	return (struct slice){ start, (size_t)(q->p - start) };
}

static const char *keep_name(struct quick *q, struct slice name)
{
	if (name.n == 0 || name.n > q->limits->max_name_bytes)
		return NULL;
	return xml_arena_text(q->arena, name);
}

/* Behind what may stand in that place; references are only noticed. */
static struct slice read_chars(struct quick *q, unsigned place, bool *has_references)
{
	const char *start = q->p;
	size_t n;

	*has_references = false;
	while (q->p < q->end) {
		if (is(*q->p, place)) {
			q->p++;
		} else if (*q->p == '&') {
			*has_references = true;
			q->p++;
		} else {
			n = (uint8_t)*q->p < 0x80 ? 0
						  : xml_char_length((struct slice){
							    q->p, (size_t)(q->end - q->p) });
			if (n == 0)
				break;
			q->p += n;
		}
	}
	return (struct slice){ start, (size_t)(q->p - start) };
}

/* The character that the reference at the start of s means, '\0' when it is not one of the five.
 * *n: its bytes. */
static char reference(struct slice s, size_t *n)
{
	static const struct {
		const char *text;
		char c;
	} known[] = {
		{ "&lt;", '<' },    { "&gt;", '>' },   { "&amp;", '&' },
		{ "&apos;", '\'' }, { "&quot;", '"' },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (slice_starts(s, slice_of(known[i].text))) {
			*n = strlen(known[i].text);
			return known[i].c;
		}
	}
	return '\0';
}

/* p NULL: a reference for the reader, or no memory. The reader copies what is left of it. */
static struct slice unescape(struct quick *q, struct slice raw)
{
	char *out = xml_arena_take(q->arena, raw.n + 1), *at = out;
	size_t n;

	if (!out)
		return SLICE_NONE;
	q->arena->n_bytes -= raw.n + 1;
	while (raw.n) {
		n = slice_find(raw, '&');
		memcpy(at, raw.p, n);
		at += n;
		raw = (struct slice){ raw.p + n, raw.n - n };
		if (raw.n == 0)
			break;
		*at = reference(raw, &n);
		if (*at++ == '\0')
			return SLICE_NONE;
		raw = (struct slice){ raw.p + n, raw.n - n };
	}
	*at = '\0';
	n = (size_t)(at - out);
	q->arena->n_bytes += n + 1;
	return (struct slice){ out, n };
}

static struct slice keep_chars(struct quick *q, struct slice raw, bool has_references)
{
	if (has_references)
		return unescape(q, raw);
	return (struct slice){ xml_arena_text(q->arena, raw), raw.n };
}

/* From '=' to behind the quotes; raw.p NULL: no. */
static struct slice read_value(struct quick *q, bool *has_references)
{
	struct slice raw;
	char quote;

	if (!next_is(q, '=') || q->p == q->end)
		return SLICE_NONE;
	quote = *q->p++;
	if (quote != '\'' && quote != '"')
		return SLICE_NONE;
	raw = read_chars(q, quote == '"' ? IN_QUOT : IN_APOS, has_references);
	return next_is(q, quote) ? raw : SLICE_NONE;
}

/* --- start tags --- */

static bool has_attr(const struct tag *t, const char *ns, struct slice name)
{
	const struct xml_node_attr *a;

	for (a = t->e->attrs; a; a = a->next) {
		if (slice_eq(slice_of(a->name), name) && strcmp(a->ns, ns) == 0)
			return true;
	}
	return false;
}

/* The reader would keep a copy. */
static bool count_ns(struct quick *q, size_t n)
{
	struct xml_arena *a = q->arena;

	q->n_ns += n;
	if (n + 1 > a->max_bytes || a->n_bytes > a->max_bytes - n - 1)
		return false;
	a->n_bytes += n + 1;
	return q->n_ns <= XML_NS_TIMES * q->limits->max_stanza_bytes;
}

static bool declare(struct quick *q, struct tag *t)
{
	bool has_references;

	if (t->ns.p)
		return false;
	t->ns = read_value(q, &has_references);
	if (!t->ns.p || has_references || t->ns.n == 0 || t->ns.n > q->limits->max_name_bytes)
		return false;
	for (size_t i = 0; i < t->ns.n; i++) {
		if (!is(t->ns.p[i], NAMESPACE))
			return false;
	}
	/* The two that may not be the default one, and the one that may not be here. */
	return !slice_eq(t->ns, SLICE(XML_NS)) &&
	       !slice_eq(t->ns, SLICE("http://www.w3.org/2000/xmlns/")) &&
	       !slice_eq(t->ns, slice_of(XMPP_STREAMS));
}

static bool read_attr(struct quick *q, struct tag *t)
{
	struct slice name = read_name(q), raw;
	struct xml_node_attr *a;
	bool has_references;
	const char *ns = "";

	if (t->n_attrs++ == MAX_ATTRS)
		return false;
	if (slice_eq(name, SLICE("xmlns")))
		return declare(q, t);
	if (next_is(q, ':')) {
		if (!slice_eq(name, SLICE("xml")) || !count_ns(q, sizeof(XML_NS) - 1))
			return false;
		ns = XML_NS;
		name = read_name(q);
	}
	if (has_attr(t, ns, name))
		return false;
	a = xml_arena_take(q->arena, sizeof(*a));
	if (!a)
		return false;
	*a = (struct xml_node_attr){ .ns = ns, .name = keep_name(q, name) };
	raw = read_value(q, &has_references);
	if (!a->name || !raw.p)
		return false;
	a->value = keep_chars(q, raw, has_references).p;
	*t->end = a;
	t->end = &a->next;
	return a->value;
}

static bool read_attrs(struct quick *q, struct tag *t)
{
	while (next_is(q, ' ')) {
		while (next_is(q, ' '))
			;
		if (q->p < q->end && is(*q->p, NAME_START) && !read_attr(q, t))
			return false;
	}
	t->is_empty = next_is(q, '/');
	return next_is(q, '>') && t->n_attrs <= q->limits->max_attrs;
}

/* The namespace that a child of e has by default. */
static const char *default_of(const struct quick *q, const struct xml_node *e)
{
	return e && strcmp(e->ns, XMPP_STREAMS) != 0 ? e->ns : q->content;
}

static bool set_ns(struct quick *q, struct tag *t)
{
	const char *ns = default_of(q, q->at);

	if (t->is_streams) {
		/* The children's namespace would be another one than that of the stanzas. */
		t->e->ns = XMPP_STREAMS;
		return !t->ns.p && count_ns(q, sizeof(XMPP_STREAMS) - 1);
	}
	if (t->ns.p && !slice_eq(t->ns, slice_of(ns))) {
		t->e->ns = xml_arena_text(q->arena, t->ns);
		q->arena->n_bytes -= t->ns.n + 1;
		return t->e->ns && count_ns(q, t->ns.n);
	}
	t->e->ns = ns;
	return (q->at && q->at->ns == ns) || count_ns(q, strlen(ns));
}

static bool may_open(struct quick *q)
{
	return q->n_open <= q->limits->max_depth &&
	       (!q->at || q->n_elements++ < q->limits->max_children);
}

static void open_element(struct quick *q, struct tag *t)
{
	if (q->at)
		xml_node_append(q->at, t->e);
	else
		q->root = t->e;
	q->at = t->e;
}

static void close_element(struct quick *q)
{
	q->n_open--;
	q->at = q->at->parent;
}

/* Behind '<'. */
static bool read_start(struct quick *q)
{
	struct slice name = read_name(q);
	struct tag t = { 0 };

	if (next_is(q, ':')) {
		t.is_streams = !q->at && slice_eq(name, SLICE("stream"));
		name = read_name(q);
		if (!t.is_streams || slice_eq(name, SLICE("stream")))
			return false;
	}
	q->n_open++;
	if (!may_open(q))
		return false;
	t.e = xml_arena_take(q->arena, sizeof(*t.e));
	if (!t.e)
		return false;
	*t.e = (struct xml_node){ .name = keep_name(q, name) };
	t.end = &t.e->attrs;
	if (!t.e->name || !read_attrs(q, &t) || !set_ns(q, &t))
		return false;
	open_element(q, &t);
	if (t.is_empty)
		close_element(q);
	return true;
}

/* --- what is inside --- */

/* Behind "</". */
static bool read_end(struct quick *q)
{
	const char *prefix = strcmp(q->at->ns, XMPP_STREAMS) == 0 ? "stream:" : "";
	size_t n_prefix = strlen(prefix), n = strlen(q->at->name);

	if ((size_t)(q->end - q->p) <= n_prefix + n || memcmp(q->p, prefix, n_prefix) != 0 ||
	    memcmp(q->p + n_prefix, q->at->name, n) != 0)
		return false;
	q->p += n_prefix + n;
	close_element(q);
	return next_is(q, '>');
}

static bool read_text(struct quick *q)
{
	bool has_references;
	struct slice raw = read_chars(q, TEXT, &has_references), text;
	struct xml_node *t;

	if (raw.n == 0)
		return true;
	text = keep_chars(q, raw, has_references);
	t = text.p ? xml_arena_take(q->arena, sizeof(*t)) : NULL;
	if (!t)
		return false;
	*t = (struct xml_node){ .ns = "", .text = text };
	xml_node_append(q->at, t);
	return true;
}

static bool read_element(struct quick *q)
{
	while (next_is(q, '<')) {
		if (q->at && next_is(q, '/') ? !read_end(q) : !read_start(q))
			return false;
		if (!q->at)
			return true;
		if (!read_text(q))
			return false;
	}
	return false;
}

size_t xml_quick_read(struct slice bytes, const char *content,
		      const struct xml_stream_limits *limits, struct xml_arena *arena,
		      struct xml_node **e)
{
	size_t n = bytes.n < limits->max_stanza_bytes ? bytes.n : limits->max_stanza_bytes;
	struct quick q = { .p = bytes.p,
			   .end = bytes.p + n,
			   .content = content,
			   .limits = limits,
			   .arena = arena };

	if (!read_element(&q))
		return 0;
	*e = q.root;
	return (size_t)(q.p - bytes.p);
}
