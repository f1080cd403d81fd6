#ifndef PROTO_XML_READER_H
#define PROTO_XML_READER_H
/*
 * The parser inside an XML stream (xml_stream.h): expat and the tree that is growing. It is fed
 * whole tags, knows nothing of pausing and calls nobody. It belongs to a stream while that reads,
 * and to the pool when the stream sleeps; the header's declarations are then told again to the next
 * one.
 */
#include <stdbool.h>

#include "proto/xml_stream.h"

struct xml_reader;

/* Namespaces in one element may take that many times the bytes that the element may have. */
#define XML_NS_TIMES 2

/* What went wrong: code 0, -EBADMSG or -ENOMEM. */
struct xml_reader_error {
	int code;
	enum xmpp_condition condition;
	const char *why; /* static */
};

/* A fresh one, before the header. Trees go to arena. NULL without memory. */
struct xml_reader *xml_reader_take(struct xml_pool *pool, struct xml_arena *arena);
/* Back to the pool; NULL is allowed. */
void xml_reader_give(struct xml_reader *r);
/* It has read so much that what expat remembers of names should go: between elements only. */
bool xml_reader_is_worn(const struct xml_reader *r);
void xml_readers_free(struct xml_pool *pool);

/* false: r's error says why; it takes nothing more. limits: live as long as the element. */
bool xml_reader_feed(struct xml_reader *r, struct slice bytes,
		     const struct xml_stream_limits *limits);
const struct xml_reader_error *xml_reader_error(const struct xml_reader *r);

/* The header, once, when its tag was fed; texts in the arena. NULL: there is none. */
const struct xmpp_header *xml_reader_header(const struct xml_reader *r);
/* The namespace that the header binds to a prefix ("": the default one); NULL: none. */
const char *xml_reader_binding(const struct xml_reader *r, const char *prefix);
/* The start tag that binds every prefix of the header (its tag as it was read) again; the caller
 * frees it. NULL without memory. */
char *xml_reader_preamble(const struct xml_reader *r, struct slice tag);
/* A fresh one goes on where that one was. false: r's error. */
bool xml_reader_replay(struct xml_reader *r, const char *preamble);

/* The child of the stream that is complete, once; NULL: there is none, or another one has begun
 * behind it. */
struct xml_node *xml_reader_element(struct xml_reader *r);
bool xml_reader_is_closed(const struct xml_reader *r); /* </stream:stream> was fed */

#endif
