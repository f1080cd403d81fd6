#ifndef PROTO_XML_NODE_H
#define PROTO_XML_NODE_H
/*
 * Elements of XML streams as trees that can be changed and printed again: what one parser has read
 * is written anew, canonically, so that the next parser sees the same tree and nothing else.
 * Memory comes from an arena that goes at once; arenas take their blocks from a shared pool, so
 * that an idle stream holds none.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

/* Blocks and parsers that nobody uses now; one of it for all streams of a module. */
struct xml_pool;
struct xml_pool *xml_pool_new(void);
void xml_pool_free(struct xml_pool *p); /* NULL is allowed; all arenas and streams are gone */

/* Zeroed but for pool: empty. */
struct xml_arena {
	struct xml_pool *pool;
	struct xml_block *blocks;
	size_t n_bytes;	  /* taken from blocks, for bounds */
	size_t max_bytes; /* 0: no bound */
	bool over;	  /* the bound has refused something */
};
void *xml_arena_take(struct xml_arena *a, size_t n);		 /* NULL: bound or memory */
const char *xml_arena_text(struct xml_arena *a, struct slice s); /* a copy with NUL */
void xml_arena_reset(struct xml_arena *a);

struct xml_node_attr {
	struct xml_node_attr *next;
	const char *ns; /* "" without */
	const char *name;
	const char *value;
};
/* An element, or (name NULL) character data between elements. */
struct xml_node {
	struct xml_node *parent, *first, *last, *next;
	struct xml_node_attr *attrs; /* in the order of the document */
	const char *name, *ns;	     /* ns "" without */
	struct slice text;	     /* character data only; UTF-8, unescaped */
};

static inline bool xml_node_is(const struct xml_node *e, const char *ns, const char *name)
{
	return e && e->name && slice_eq(slice_of(e->name), slice_of(name)) &&
	       slice_eq(slice_of(e->ns), slice_of(ns));
}
/* First child element of that name (ns NULL: any; name NULL: any); the next one after e. */
struct xml_node *xml_node_child(const struct xml_node *e, const char *ns, const char *name);
struct xml_node *xml_node_again(const struct xml_node *e, const char *ns, const char *name);
/* Value of an attribute without namespace, NULL when absent. xml:lang is asked for with
 * xml_node_attr_ns(e, XML_NS, "lang"). */
#define XML_NS "http://www.w3.org/XML/1998/namespace"
const char *xml_node_attr(const struct xml_node *e, const char *name);
const char *xml_node_attr_ns(const struct xml_node *e, const char *ns, const char *name);
/* All character data directly in e joined into the arena; "" when none, NULL without memory. */
const char *xml_node_text(struct xml_arena *a, const struct xml_node *e);

/* Making and changing. Every text is copied into the arena unless said otherwise; NULL without
 * memory or over the bound. parent NULL: a root. name and ns are static or live as long. */
struct xml_node *xml_node_new(struct xml_arena *a, struct xml_node *parent, const char *ns,
			      const char *name);
/* Replaces the value of an attribute without namespace, or adds it. value.p NULL: removes it.
 * 0 or -ENOMEM. */
int xml_node_set(struct xml_arena *a, struct xml_node *e, const char *name, struct slice value);
int xml_node_add_text(struct xml_arena *a, struct xml_node *e, struct slice text);
void xml_node_remove(struct xml_node *e); /* out of its parent; not freed before the arena */
void xml_node_append(struct xml_node *parent, struct xml_node *e); /* e has no parent */
/* Deep copy into another arena; NULL without memory. */
struct xml_node *xml_node_copy(struct xml_arena *a, const struct xml_node *e);
/* Every element of e's tree that is in namespace `from` is in `to` (static text) now. */
void xml_node_rename(struct xml_node *e, const char *from, const char *to);

/*
 * Prints e as it stands inside a stream: `content` is the default namespace there (jabber:client);
 * the prefix "stream" is bound to the streams namespace, and "db" to jabber:server:dialback when
 * db is true. Elements of other namespaces get xmlns=; attributes with a namespace get prefixes
 * that are declared where they are used. Text and values are escaped so that any parser reads the
 * same: & < > always, quotes and CR LF TAB in values, CR in text. Empty elements as <name/>. Bytes
 * that XML 1.0 cannot carry fail it (out->failed).
 */
void xml_node_print(const struct xml_node *e, const char *content, bool db, struct buf *out);
/* One text or attribute value escaped in that way. */
void xml_print_escaped(struct buf *out, struct slice text);

#endif
