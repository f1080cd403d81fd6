/* Reading: expat's events make the tree, all of it in one chain of blocks that goes at once. */
#include "proto/xml_doc.h"

#include <expat.h>
#include <limits.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Between namespace and local name: a byte that no XML document can hold, also not as a reference.
 */
#define SEPARATOR   '\f'
#define BLOCK_BYTES 4096

struct block {
	struct block *next;
	size_t n, size;
	max_align_t data[];
};

struct xml_doc {
	struct block *blocks;
	struct xml_element *root;
};

/* An element whose end has not come yet. */
struct open_element {
	struct xml_element *e;
	struct xml_element *last; /* child */
	struct buf text;
};

struct reader {
	XML_Parser expat;
	struct xml_doc *doc;
	size_t n_elements;
	unsigned depth;
	struct open_element open[XML_DOC_MAX_DEPTH];
	const char *why; /* what stopped it */
};

static void *take(struct xml_doc *d, size_t n)
{
	struct block *b = d->blocks;
	size_t size = BLOCK_BYTES;
	void *p;

	n = (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	if (!b || b->size - b->n < n) {
		if (size < n)
			size = n;
		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		b->next = d->blocks;
		b->n = 0;
		b->size = size;
		d->blocks = b;
	}
	p = (char *)b->data + b->n;
	b->n += n;
	return p;
}

static const char *keep(struct xml_doc *d, struct slice s)
{
	char *p;

	if (s.n == 0)
		return "";
	p = take(d, s.n + 1);
	if (!p)
		return NULL;
	memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

static void stop(struct reader *r, const char *why)
{
	if (!r->why)
		r->why = why;
	XML_StopParser(r->expat, XML_FALSE);
}

static struct slice local_name(const char *name)
{
	const char *at = strrchr(name, SEPARATOR);

	return slice_of(at ? at + 1 : name);
}

/* Elements of one vocabulary share the name of their parent's namespace. */
static const char *namespace_of(struct reader *r, const char *name, const struct xml_element *up)
{
	const char *at = strrchr(name, SEPARATOR);
	struct slice ns = at ? (struct slice){ name, (size_t)(at - name) } : SLICE_NONE;

	if (up && slice_eq(slice_of(up->ns), ns))
		return up->ns;
	return keep(r->doc, ns);
}

static const char **keep_attrs(struct reader *r, const char **attrs)
{
	const char **out;
	size_t n = 0, i;

	while (attrs[n])
		n++;
	out = take(r->doc, (n + 1) * sizeof(*out));
	for (i = 0; out && i < n; i++) {
		out[i] = keep(r->doc, i % 2 ? slice_of(attrs[i]) : local_name(attrs[i]));
		if (!out[i])
			return NULL;
	}
	if (out)
		out[n] = NULL;
	return out;
}

static void link_element(struct reader *r, struct xml_element *e)
{
	struct open_element *up = r->depth ? &r->open[r->depth - 1] : NULL;

	if (!up) {
		r->doc->root = e;
		return;
	}
	e->parent = up->e;
	if (up->last)
		up->last->next = e;
	else
		up->e->first = e;
	up->last = e;
}

static void XMLCALL on_start(void *arg, const char *name, const char **attrs)
{
	struct reader *r = arg;
	const struct xml_element *up = r->depth ? r->open[r->depth - 1].e : NULL;
	struct xml_element *e;

	if (r->why)
		return;
	if (r->depth == XML_DOC_MAX_DEPTH) {
		stop(r, "elements are nested too deep");
		return;
	}
	if (r->n_elements++ == XML_DOC_MAX_ELEMENTS) {
		stop(r, "too many elements");
		return;
	}
	e = take(r->doc, sizeof(*e));
	if (!e) {
		stop(r, "out of memory");
		return;
	}
	*e = (struct xml_element){ .text = "" };
	e->name = keep(r->doc, local_name(name));
	e->ns = namespace_of(r, name, up);
	e->attrs = keep_attrs(r, attrs);
	if (!e->name || !e->ns || !e->attrs) {
		stop(r, "out of memory");
		return;
	}
	link_element(r, e);
	r->open[r->depth].e = e;
	r->open[r->depth].last = NULL;
	r->depth++;
}

static void XMLCALL on_text(void *arg, const char *text, int n)
{
	struct reader *r = arg;

	if (!r->why && r->depth)
		buf_add(&r->open[r->depth - 1].text, text, (size_t)n);
}

static void XMLCALL on_end(void *arg, const char *name)
{
	struct reader *r = arg;
	struct open_element *o;
	const char *text;

	if (r->why || r->depth == 0)
		return;
	o = &r->open[--r->depth];
	text = o->text.failed ? NULL : keep(r->doc, slice_trim(buf_slice(&o->text)));
	if (text)
		o->e->text = text;
	else
		stop(r, "out of memory");
	buf_reset(&o->text);
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *sysid, const char *pubid,
			       int internal)
{
	stop(arg, "a document type is not allowed");
}

static void XMLCALL on_pi(void *arg, const char *target, const char *data)
{
	stop(arg, "processing instructions are not allowed");
}

static void run(struct reader *r, struct slice bytes)
{
	XML_SetUserData(r->expat, r);
	XML_SetElementHandler(r->expat, on_start, on_end);
	XML_SetCharacterDataHandler(r->expat, on_text);
	XML_SetStartDoctypeDeclHandler(r->expat, on_doctype);
	XML_SetProcessingInstructionHandler(r->expat, on_pi);
	if (XML_Parse(r->expat, bytes.p ? bytes.p : "", (int)bytes.n, 1) == XML_STATUS_OK)
		return;
	if (!r->why)
		r->why = XML_ErrorString(XML_GetErrorCode(r->expat));
}

struct xml_doc *xml_doc_parse(struct slice bytes, size_t max_bytes, const char **why)
{
	struct reader r = { 0 };
	unsigned i;

	if (bytes.n > max_bytes || bytes.n > INT_MAX) {
		*why = "the document is too long";
		return NULL;
	}
	for (i = 0; i < XML_DOC_MAX_DEPTH; i++)
		buf_init(&r.open[i].text, bytes.n * 3); /* Latin-1 grows in UTF-8 */
	r.doc = calloc(1, sizeof(*r.doc));
	r.expat = XML_ParserCreateNS(NULL, SEPARATOR);
	if (r.doc && r.expat)
		run(&r, bytes);
	else
		r.why = "out of memory";
	if (r.expat)
		XML_ParserFree(r.expat);
	for (i = 0; i < XML_DOC_MAX_DEPTH; i++)
		buf_fini(&r.open[i].text);
	if (!r.why)
		return r.doc;
	*why = r.why;
	xml_doc_free(r.doc);
	return NULL;
}

void xml_doc_free(struct xml_doc *d)
{
	struct block *b, *next;

	if (!d)
		return;
	for (b = d->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	free(d);
}

const struct xml_element *xml_doc_root(const struct xml_doc *d)
{
	return d->root;
}

static const struct xml_element *named(const struct xml_element *e, struct slice name)
{
	while (e && !slice_eq(slice_of(e->name), name))
		e = e->next;
	return e;
}

const struct xml_element *xml_child(const struct xml_element *e, const char *name)
{
	return e ? named(e->first, slice_of(name)) : NULL;
}

const struct xml_element *xml_again(const struct xml_element *e)
{
	return e ? named(e->next, slice_of(e->name)) : NULL;
}

const struct xml_element *xml_at(const struct xml_element *e, const char *path)
{
	struct slice rest = slice_of(path);

	while (e && rest.p)
		e = named(e->first, slice_next(&rest, '/'));
	return e;
}

const char *xml_text(const struct xml_element *e, const char *path)
{
	e = xml_at(e, path);
	return e ? e->text : "";
}

const char *xml_attr(const struct xml_element *e, const char *name)
{
	size_t i;

	for (i = 0; e && e->attrs[i]; i += 2)
		if (strcmp(e->attrs[i], name) == 0)
			return e->attrs[i + 1];
	return NULL;
}
