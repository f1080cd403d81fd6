#ifndef PROTO_XML_DOC_H
#define PROTO_XML_DOC_H
/*
 * Small XML documents (answers of UDS and AXL servers) as a tree, and the one way to write XML.
 * expat underneath, namespace-aware: names are compared without their prefix. No DTD, entities,
 * processing instructions; bounded.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

#define XML_DOC_MAX_DEPTH    32
#define XML_DOC_MAX_ELEMENTS 50000

struct xml_element {
	const char *name; /* local name */
	const char *ns;	  /* namespace, "" without */
	const char *text; /* all character data of the element itself, trimmed; "" when none */
	struct xml_element *parent, *first, *next;
	const char **attrs; /* name, value, ..., NULL; local names */
};
struct xml_doc;

/* NULL with *why (static): not well-formed, has a DTD, too deep, too many elements, over max_bytes,
 * without memory. */
struct xml_doc *xml_doc_parse(struct slice bytes, size_t max_bytes, const char **why);
void xml_doc_free(struct xml_doc *d);
const struct xml_element *xml_doc_root(const struct xml_doc *d);
/* First child of that local name (e NULL: NULL); the next sibling of the same name. */
const struct xml_element *xml_child(const struct xml_element *e, const char *name);
const struct xml_element *xml_again(const struct xml_element *e);
/* A path of names from e: "Body/listProcessNodeResponse/return"; NULL when a step is missing. */
const struct xml_element *xml_at(const struct xml_element *e, const char *path);
/* Text of the element at path, "" when it is not there. */
const char *xml_text(const struct xml_element *e, const char *path);
const char *xml_attr(const struct xml_element *e, const char *name); /* NULL when absent */

/* Writing: balanced by construction, everything escaped. Bytes that XML cannot carry fail it (what
 * is no UTF-8, control characters), and so do text outside the root, an attribute behind the text,
 * a second root and more than XML_DOC_MAX_DEPTH levels. An empty element is written <name/>. */
struct xml_writer {
	struct buf *out;
	const char *open[XML_DOC_MAX_DEPTH];
	unsigned n_open;
	bool tag_open;
	bool root_done; /* there is one root */
	bool failed;
};
void xml_write_start(struct xml_writer *w, struct buf *out); /* with the XML declaration */
void xml_write_open(struct xml_writer *w, const char *name); /* static text */
void xml_write_attr(struct xml_writer *w, const char *name, struct slice value);
void xml_write_text(struct xml_writer *w, struct slice text);
void xml_write_close(struct xml_writer *w);
/* <name>text</name> */
void xml_write_leaf(struct xml_writer *w, const char *name, struct slice text);
/* false: failed, or something is still open. */
bool xml_write_end(struct xml_writer *w);

#endif
