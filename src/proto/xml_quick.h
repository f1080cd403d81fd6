#ifndef PROTO_XML_QUICK_H
#define PROTO_XML_QUICK_H
/*
 * Reads one child of an XMPP stream (RFC 6120 section 8) in one go when it is all there and plainly
 * written: names of ASCII letters, default namespaces, the five entities. It says yes only where
 * expat would make the same tree within the same limits. Everything else, what is wrong above all,
 * it leaves alone: the reader (xml_reader.h) is the judge.
 *
 * The stream's header has to bind the default namespace and the prefix "stream" as everybody does:
 * xml_quick_content().
 */
#include "proto/xml_stream.h"

/* A namespace of stanzas whose text is static; NULL: ns is none of them. */
const char *xml_quick_content(const char *ns);

/* bytes begin with '<'. How many of them the element takes, its tree in *e and in the arena; 0: not
 * all of it is here, or it is for the reader. What the arena then holds is of no use. */
size_t xml_quick_read(struct slice bytes, const char *content,
		      const struct xml_stream_limits *limits, struct xml_arena *arena,
		      struct xml_node **e);

#endif
