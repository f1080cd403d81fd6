#include "proto/xml_reader.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "proto/xml_char.h"
#include "proto/xml_pool.h"
#include "proto/xml_quick.h"

/* Between namespace and local name: a byte that no XML document can hold, also not as a reference
 * (CVE-2022-25236). */
#define SEPARATOR '\f'
/* expat remembers every name of elements and attributes that it has met, as long as it lives. */
#define WORN_BYTES (64 * 1024)

static const char no_utf8[] = "bytes that are no UTF-8";

/* Where the parser is: what the next start tag is. */
enum phase {
	BEFORE_HEADER,
	REPLAY, /* as BEFORE_HEADER, told again by ourselves */
	IN_STREAM,
	CLOSED,
};

struct binding {
	struct binding *next;
	const char *prefix; /* "" for the default namespace */
	const char *ns;
};

struct xml_reader {
	struct xml_reader *next; /* in the pool */
	struct xml_pool *pool;
	XML_Parser expat;
	struct xml_arena *arena;
	const struct xml_stream_limits *limits;
	enum phase phase;
	struct xml_reader_error error;
	struct xmpp_header header;
	bool has_header;
	struct binding *bindings, **last_binding; /* of the header; in the arena */
	struct xml_node *root, *at, *done;	  /* at: the innermost open element */
	unsigned depth;				  /* open elements, the stream counts */
	unsigned n_declared;			  /* namespaces, for the next start tag */
	unsigned n_elements;			  /* below the child of the stream */
	size_t n_ns;				  /* bytes of namespaces that printing it repeats */
	size_t n_fed;
};

/* The first error stays. */
static void stop(struct xml_reader *r, int code, enum xmpp_condition condition, const char *why)
{
	if (!r->error.code)
		r->error = (struct xml_reader_error){ code, condition, why };
	XML_StopParser(r->expat, XML_FALSE);
}

static void refuse(struct xml_reader *r, enum xmpp_condition condition, const char *why)
{
	stop(r, -EBADMSG, condition, why);
}

/* The arena gave nothing. */
static void stop_for_memory(struct xml_reader *r)
{
	if (r->arena->over)
		refuse(r, XMPP_POLICY_VIOLATION, "the element needs too much memory");
	else
		stop(r, -ENOMEM, XMPP_RESOURCE_CONSTRAINT, "out of memory");
}

static void *take(struct xml_reader *r, size_t n)
{
	void *p = xml_arena_take(r->arena, n);

	if (!p)
		stop_for_memory(r);
	return p;
}

static const char *keep(struct xml_reader *r, struct slice s)
{
	const char *p = xml_arena_text(r->arena, s);

	if (!p)
		stop_for_memory(r);
	return p;
}

/* A name as expat gives it: with its namespace in front when it has one. */
struct split {
	struct slice ns, local;
};

static struct split split_name(const char *name)
{
	const char *at = strchr(name, SEPARATOR);

	if (!at)
		return (struct split){ SLICE(""), slice_of(name) };
	return (struct split){ { name, (size_t)(at - name) }, slice_of(at + 1) };
}

static bool is_in(struct split s, const char *ns)
{
	return slice_eq(s.ns, slice_of(ns));
}

static bool name_fits(struct xml_reader *r, size_t n)
{
	if (n <= r->limits->max_name_bytes)
		return true;
	refuse(r, XMPP_POLICY_VIOLATION, "a name is too long");
	return false;
}

static bool attrs_fit(struct xml_reader *r, const char **attrs)
{
	size_t n = 0;

	while (attrs[2 * n])
		n++;
	if (n + r->n_declared <= r->limits->max_attrs)
		return true;
	refuse(r, XMPP_POLICY_VIOLATION, "an element has too many attributes");
	return false;
}

/* --- the header --- */

static void keep_binding(struct xml_reader *r, const char *prefix, const char *ns)
{
	struct binding *b = take(r, sizeof(*b));

	if (!b)
		return;
	*b = (struct binding){ NULL, keep(r, slice_of(prefix)), keep(r, slice_of(ns)) };
	*r->last_binding = b;
	r->last_binding = &b->next;
}

/* The namespace of the stanzas is the default one, or, when that is the stream's own or none, the
 * one that has a prefix (RFC 6120 section 4.8.3). */
static const char *content_of(const struct xml_reader *r)
{
	const struct binding *b;

	for (b = r->bindings; b; b = b->next) {
		if (!b->prefix[0] && b->ns[0] && strcmp(b->ns, XMPP_STREAMS) != 0)
			return b->ns;
	}
	for (b = r->bindings; b; b = b->next) {
		if (xml_quick_content(b->ns))
			return xml_quick_content(b->ns);
	}
	return NULL;
}

static void header_attr(struct xml_reader *r, const char *name, const char *value)
{
	struct xmpp_header *h = &r->header;
	struct split s = split_name(name);
	const char **field = NULL;

	if (is_in(s, XML_NS) && slice_eq(s.local, SLICE("lang")))
		field = &h->lang;
	if (s.ns.n == 0 && slice_eq(s.local, SLICE("to")))
		field = &h->to;
	if (s.ns.n == 0 && slice_eq(s.local, SLICE("from")))
		field = &h->from;
	if (s.ns.n == 0 && slice_eq(s.local, SLICE("id")))
		field = &h->id;
	if (s.ns.n == 0 && slice_eq(s.local, SLICE("version")))
		field = &h->version;
	if (field)
		*field = keep(r, slice_of(value));
}

static void start_header(struct xml_reader *r, const char *name, const char **attrs)
{
	struct split s = split_name(name);
	const struct binding *b;
	size_t i;

	if (!slice_eq(s.local, SLICE("stream"))) {
		refuse(r, XMPP_BAD_FORMAT, "the root is no stream");
		return;
	}
	if (!is_in(s, XMPP_STREAMS)) {
		refuse(r, XMPP_INVALID_NAMESPACE, "the stream is in a foreign namespace");
		return;
	}
	if (!attrs_fit(r, attrs))
		return;
	for (i = 0; attrs[i] && !r->error.code; i += 2) {
		if (name_fits(r, split_name(attrs[i]).local.n))
			header_attr(r, attrs[i], attrs[i + 1]);
	}
	r->header.content = content_of(r);
	for (b = r->bindings; b; b = b->next) {
		if (strcmp(b->ns, XMPP_DIALBACK) == 0)
			r->header.dialback = true;
	}
	r->has_header = !r->error.code;
	r->phase = IN_STREAM;
}

/* --- elements --- */

/* A prefix of a byte may stand for a namespace of a thousand, which printing says each time. */
static const char *keep_counted(struct xml_reader *r, struct slice ns)
{
	for (size_t i = 0; i < ns.n; i++)
		r->n_ns += strchr("<>&'\"", ns.p[i]) ? 6 : 1;
	if (r->n_ns > XML_NS_TIMES * r->limits->max_stanza_bytes) {
		refuse(r, XMPP_POLICY_VIOLATION, "the element repeats too many namespaces");
		return NULL;
	}
	return keep(r, ns);
}

/* Names of one vocabulary share the text of the parent's. */
static const char *keep_ns(struct xml_reader *r, struct slice ns)
{
	if (r->at && slice_eq(slice_of(r->at->ns), ns))
		return r->at->ns;
	return keep_counted(r, ns);
}

static bool add_attr(struct xml_reader *r, struct xml_node_attr ***end, const char *name,
		     const char *value)
{
	struct split s = split_name(name);
	struct xml_node_attr *a;

	if (!name_fits(r, s.local.n))
		return false;
	a = take(r, sizeof(*a));
	if (!a)
		return false;
	*a = (struct xml_node_attr){ .ns = keep_counted(r, s.ns),
				     .name = keep(r, s.local),
				     .value = keep(r, slice_of(value)) };
	**end = a;
	*end = &a->next;
	return !r->error.code;
}

static bool flush_text(struct xml_reader *r)
{
	struct buf *text = &r->pool->text;

	if (text->failed)
		stop(r, -ENOMEM, XMPP_RESOURCE_CONSTRAINT, "out of memory");
	else if (text->n && r->at && xml_node_add_text(r->arena, r->at, buf_slice(text)) < 0)
		stop_for_memory(r);
	buf_reset(text);
	return !r->error.code;
}

/* What may stand here: nothing behind an element that nobody has fetched (who feeds does it one by
 * one); the stream's own namespace only at the top, and no stream (RFC 6120 section
 * 4.9.3.15; CVE-2022-20917 began with one inside a stanza). */
static bool may_start(struct xml_reader *r, struct split s)
{
	if (r->done) {
		refuse(r, XMPP_NOT_WELL_FORMED, "two elements at once");
		return false;
	}
	if (r->depth > r->limits->max_depth) {
		refuse(r, XMPP_POLICY_VIOLATION, "elements are nested too deep");
		return false;
	}
	if (r->at && r->n_elements++ >= r->limits->max_children) {
		refuse(r, XMPP_POLICY_VIOLATION, "too many elements in one");
		return false;
	}
	if (is_in(s, XMPP_STREAMS) && (r->at || slice_eq(s.local, SLICE("stream")))) {
		refuse(r, XMPP_INVALID_XML, "a stream inside the stream");
		return false;
	}
	return name_fits(r, s.local.n);
}

static void start_element(struct xml_reader *r, const char *name, const char **attrs)
{
	struct split s = split_name(name);
	struct xml_node_attr **end;
	struct xml_node *e;
	size_t i;

	if (!may_start(r, s) || !attrs_fit(r, attrs) || !flush_text(r))
		return;
	e = take(r, sizeof(*e));
	if (!e)
		return;
	*e = (struct xml_node){ .name = keep(r, s.local), .ns = keep_ns(r, s.ns) };
	end = &e->attrs;
	for (i = 0; attrs[i] && !r->error.code; i += 2)
		add_attr(r, &end, attrs[i], attrs[i + 1]);
	if (r->error.code)
		return;
	if (r->at)
		xml_node_append(r->at, e);
	else
		r->root = e;
	r->at = e;
}

/* --- what expat calls --- */

static void XMLCALL on_declaration(void *arg, const char *prefix, const char *ns)
{
	struct xml_reader *r = arg;

	if (r->error.code || r->phase == REPLAY)
		return;
	prefix = prefix ? prefix : "";
	ns = ns ? ns : "";
	r->n_declared++;
	if (!name_fits(r, strlen(prefix)) || !name_fits(r, strlen(ns)))
		return;
	if (r->phase == BEFORE_HEADER)
		keep_binding(r, prefix, ns);
}

static void XMLCALL on_start(void *arg, const char *name, const char **attrs)
{
	struct xml_reader *r = arg;

	if (r->error.code)
		return;
	if (r->phase == BEFORE_HEADER)
		start_header(r, name, attrs);
	else if (r->phase == REPLAY)
		r->phase = IN_STREAM;
	else
		start_element(r, name, attrs);
	r->n_declared = 0;
	r->depth++;
}

static void XMLCALL on_end(void *arg, const char *name)
{
	struct xml_reader *r = arg;

	if (r->error.code || !flush_text(r))
		return;
	r->depth--;
	if (r->depth == 0) {
		r->phase = CLOSED;
		return;
	}
	r->at = r->at->parent;
	if (r->at)
		return;
	r->done = r->root;
	r->root = NULL;
	r->n_elements = 0;
	r->n_ns = 0;
}

static void XMLCALL on_text(void *arg, const char *text, int n)
{
	struct xml_reader *r = arg;

	if (r->error.code)
		return;
	if (r->at)
		buf_add(&r->pool->text, text, (size_t)n);
	else if (slice_trim((struct slice){ text, (size_t)n }).n)
		refuse(r, XMPP_INVALID_XML, "text between elements");
}

static void XMLCALL on_xml_declaration(void *arg, const char *version, const char *encoding,
				       int standalone)
{
	if (encoding && !slice_caseeq(slice_of(encoding), SLICE("utf-8")))
		refuse(arg, XMPP_UNSUPPORTED_ENCODING, "the encoding is not UTF-8");
	if (version && strcmp(version, "1.0") != 0)
		refuse(arg, XMPP_NOT_WELL_FORMED, "the version of XML is not 1.0");
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *sysid, const char *pubid,
			       int internal)
{
	refuse(arg, XMPP_RESTRICTED_XML, "a document type");
}

static void XMLCALL on_comment(void *arg, const char *text)
{
	refuse(arg, XMPP_RESTRICTED_XML, "a comment");
}

static void XMLCALL on_pi(void *arg, const char *target, const char *data)
{
	refuse(arg, XMPP_RESTRICTED_XML, "a processing instruction");
}

/* --- life --- */

/* expat's memory is counted where ours is. */
static const XML_Memory_Handling_Suite memory = { malloc, realloc, free };

/* A parser that was reset has forgotten all of this. */
static void set_up(struct xml_reader *r)
{
	XML_SetUserData(r->expat, r);
	XML_SetReparseDeferralEnabled(r->expat, XML_FALSE);
	XML_SetElementHandler(r->expat, on_start, on_end);
	XML_SetStartNamespaceDeclHandler(r->expat, on_declaration);
	XML_SetCharacterDataHandler(r->expat, on_text);
	XML_SetXmlDeclHandler(r->expat, on_xml_declaration);
	XML_SetStartDoctypeDeclHandler(r->expat, on_doctype);
	XML_SetCommentHandler(r->expat, on_comment);
	XML_SetProcessingInstructionHandler(r->expat, on_pi);
}

static void free_reader(struct xml_reader *r)
{
	if (r->expat)
		XML_ParserFree(r->expat);
	free(r);
}

static struct xml_reader *spare(struct xml_pool *pool)
{
	struct xml_reader *r = pool->readers;
	XML_Parser expat;

	if (!r)
		return NULL;
	pool->readers = r->next;
	pool->n_readers--;
	expat = r->expat;
	*r = (struct xml_reader){ .expat = expat };
	if (XML_ParserReset(expat, "UTF-8"))
		return r;
	free_reader(r);
	return NULL;
}

static struct xml_reader *make(void)
{
	struct xml_reader *r = calloc(1, sizeof(*r));
	const char separator[] = { SEPARATOR, '\0' };

	if (!r)
		return NULL;
	r->expat = XML_ParserCreate_MM("UTF-8", &memory, separator);
	if (r->expat)
		return r;
	free(r);
	return NULL;
}

struct xml_reader *xml_reader_take(struct xml_pool *pool, struct xml_arena *arena)
{
	struct xml_reader *r = spare(pool);

	if (!r)
		r = make();
	if (!r)
		return NULL;
	r->pool = pool;
	r->arena = arena;
	r->last_binding = &r->bindings;
	set_up(r);
	return r;
}

void xml_reader_give(struct xml_reader *r)
{
	struct xml_pool *pool = r ? r->pool : NULL;

	if (!r)
		return;
	buf_reset(&pool->text);
	if (pool->n_readers == XML_POOL_MAX_READERS || xml_reader_is_worn(r)) {
		free_reader(r);
		return;
	}
	r->next = pool->readers;
	pool->readers = r;
	pool->n_readers++;
}

bool xml_reader_is_worn(const struct xml_reader *r)
{
	return r->n_fed > WORN_BYTES;
}

void xml_readers_free(struct xml_pool *pool)
{
	struct xml_reader *r;

	while (pool->readers) {
		r = pool->readers;
		pool->readers = r->next;
		free_reader(r);
	}
}

/* --- feeding --- */

/* Whether the byte that expat stumbled over is no UTF-8. */
static bool is_encoding(const struct xml_reader *r, struct slice bytes)
{
	XML_Index at = XML_GetCurrentByteIndex(r->expat) - (XML_Index)(r->n_fed - bytes.n);

	if (at < 0 || (size_t)at >= bytes.n)
		return false;
	return !xml_utf8_length((struct slice){ bytes.p + at, bytes.n - (size_t)at });
}

/* What ends with '>' ends with a whole character. Where it does not, expat waits for as many bytes
 * as the first one asks for. */
static bool is_cut(struct slice bytes)
{
	size_t n;

	for (n = 1; n <= 3 && n <= bytes.n; n++) {
		unsigned char c = (unsigned char)bytes.p[bytes.n - n];

		if (c >= 0xc0 && n < (c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2))
			return true;
	}
	return false;
}

/* What expat did not like. */
static void explain(struct xml_reader *r, struct slice bytes)
{
	enum XML_Error e = XML_GetErrorCode(r->expat);

	switch (e) {
	case XML_ERROR_NO_MEMORY:
		stop(r, -ENOMEM, XMPP_RESOURCE_CONSTRAINT, "out of memory");
		break;
	case XML_ERROR_UNDEFINED_ENTITY:
		refuse(r, XMPP_RESTRICTED_XML, "an entity that is not one of the five");
		break;
	case XML_ERROR_UNBOUND_PREFIX:
		refuse(r, XMPP_BAD_NAMESPACE_PREFIX, "a prefix that is not declared");
		break;
	case XML_ERROR_INVALID_TOKEN:
	case XML_ERROR_PARTIAL_CHAR:
		if (is_encoding(r, bytes))
			refuse(r, XMPP_UNSUPPORTED_ENCODING, no_utf8);
		else
			refuse(r, XMPP_NOT_WELL_FORMED, XML_ErrorString(e));
		break;
	default:
		refuse(r, XMPP_NOT_WELL_FORMED, XML_ErrorString(e));
		break;
	}
}

bool xml_reader_feed(struct xml_reader *r, struct slice bytes,
		     const struct xml_stream_limits *limits)
{
	if (r->error.code)
		return false;
	if (bytes.n > INT_MAX) {
		stop(r, -EBADMSG, XMPP_POLICY_VIOLATION, "the element is too long");
		return false;
	}
	/* expat would take "<" and NUL for UTF-16, whatever encoding it was told. */
	if (r->n_fed == 0 && bytes.n > 1 && bytes.p[1] == '\0') {
		refuse(r, XMPP_UNSUPPORTED_ENCODING, no_utf8);
		return false;
	}
	r->limits = limits;
	r->n_fed += bytes.n;
	if (XML_Parse(r->expat, bytes.p, (int)bytes.n, 0) != XML_STATUS_OK && !r->error.code)
		explain(r, bytes);
	if (!r->error.code && is_cut(bytes))
		refuse(r, XMPP_UNSUPPORTED_ENCODING, no_utf8);
	return !r->error.code;
}

const struct xml_reader_error *xml_reader_error(const struct xml_reader *r)
{
	return &r->error;
}

const struct xmpp_header *xml_reader_header(const struct xml_reader *r)
{
	return r->has_header ? &r->header : NULL;
}

const char *xml_reader_binding(const struct xml_reader *r, const char *prefix)
{
	const struct binding *b;

	for (b = r->bindings; b; b = b->next) {
		if (strcmp(b->prefix, prefix) == 0)
			return b->ns;
	}
	return NULL;
}

char *xml_reader_preamble(const struct xml_reader *r, struct slice tag)
{
	const struct binding *b;
	struct buf out;
	char *text;

	buf_init(&out, SIZE_MAX);
	buf_add(&out, tag.p, 1 + strcspn(tag.p + 1, " \t\r\n/>"));
	for (b = r->bindings; b; b = b->next) {
		buf_add_str(&out, b->prefix[0] ? " xmlns:" : " xmlns");
		buf_add_str(&out, b->prefix);
		buf_add_str(&out, "='");
		xml_print_escaped(&out, slice_of(b->ns));
		buf_add_char(&out, '\'');
	}
	buf_add_char(&out, '>');
	text = out.failed ? NULL : slice_dup(buf_slice(&out));
	buf_fini(&out);
	return text;
}

bool xml_reader_replay(struct xml_reader *r, const char *preamble)
{
	r->phase = REPLAY;
	return xml_reader_feed(r, slice_of(preamble), NULL);
}

struct xml_node *xml_reader_element(struct xml_reader *r)
{
	struct xml_node *e = r->done;

	if (r->at)
		return NULL;
	r->done = NULL;
	return e;
}

bool xml_reader_is_closed(const struct xml_reader *r)
{
	return r->phase == CLOSED;
}
