#ifndef PROTO_XML_STREAM_H
#define PROTO_XML_STREAM_H
/*
 * Reads one direction of an XMPP stream (RFC 6120 sections 4, 8, 11): the header, then one complete
 * element after the other. expat in namespace mode underneath. Strict: UTF-8 only; no document
 * type, comment, processing instruction, entity but the five and character references; elements of
 * the streams namespace nowhere but at the top level, no stream inside a stream; bounded depth,
 * attributes, names, bytes. Nothing of an element is seen before all of it is well-formed.
 *
 *   HEADER --header--> OPEN --</stream:stream>--> CLOSED     xml_stream_restart(): back to HEADER
 *   any --error--> FAILED
 *
 * Bytes that come one at a time cost no more than those that come together (library-findings 9a:
 * expat's deferral is off; what is no whole tag yet waits here, not there).
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/xml_node.h"
#include "proto/xmpp.h"

struct xml_stream_limits {
	unsigned max_depth;	 /* of elements below the stream, 64 */
	unsigned max_attrs;	 /* of one element, 64 */
	unsigned max_children;	 /* elements in one stanza, 10000 */
	size_t max_name_bytes;	 /* element, attribute, prefix, 1024; namespace names too */
	size_t max_stanza_bytes; /* from the end of the last one to its own end; headers too */
	size_t max_tree_bytes;	 /* memory of its tree; 0: as it comes, up to 16 times the above */
};
extern const struct xml_stream_limits xml_stream_default_limits; /* 10 KiB stanzas */
/* For who reads what was read within l and printed anew: an attribute may have needed a
 * declaration, and references and namespaces are longer than what they stand for. Four times the
 * bytes is more than anybody needs who does not try for it. */
struct xml_stream_limits xml_stream_limits_printed(const struct xml_stream_limits *l);

/* What the header of the peer said. Texts live during the callback. */
struct xml_stream_events {
	void (*header)(void *arg, const struct xmpp_header *h);
	/* A complete child of the stream. It may be changed; it is gone after the return. arena:
	 * for changes. */
	void (*element)(void *arg, struct xml_node *e, struct xml_arena *arena);
	void (*space)(void *arg); /* white space between elements (keepalive); once for each feed */
	void (*end)(void *arg);	  /* </stream:stream>; what comes after it is ignored */
	/* What begins with a NUL between two elements of an OPEN stream, which no XML does: a frame
	 * of another protocol on the same connection, with all that is there behind it. Returns
	 * how many bytes it has, 0 when more are needed (the owner bounds it), negative when it is
	 * refused. NULL: there are none. */
	int (*frame)(void *arg, struct slice bytes);
};

struct xml_stream;
/* NULL without memory. The events may call every function here but free. */
struct xml_stream *xml_stream_new(struct xml_pool *pool, const struct xml_stream_limits *limits,
				  const struct xml_stream_events *events, void *arg);
void xml_stream_free(struct xml_stream *x); /* NULL is allowed */
/* 0; -EBADMSG: FAILED, xml_stream_error() says what; -ENOMEM likewise. Bytes fed while paused wait
 * (the caller stops reading; more than max_stanza_bytes waiting is no error as long as no stanza
 * is longer). */
int xml_stream_feed(struct xml_stream *x, struct slice bytes);
/* From inside an event or outside: no further event until resume. resume may call events before it
 * returns; 0 or as feed. */
void xml_stream_pause(struct xml_stream *x);
int xml_stream_resume(struct xml_stream *x);
bool xml_stream_is_paused(const struct xml_stream *x);
/* A fresh parser, in HEADER. keep: bytes behind the last element are the beginning of the new
 * stream (SASL, RFC 6120 section 6.4.6); else they are thrown away (STARTTLS, section 5.4.3.3).
 * Returns how many bytes other than white space were thrown away. Only between elements (inside the
 * element event counts as that). */
size_t xml_stream_restart(struct xml_stream *x, bool keep);
/* From the next element on. */
void xml_stream_set_limits(struct xml_stream *x, const struct xml_stream_limits *limits);
/* Gives parser and memory back until the next byte, when nothing stands half read; false: something
 * does. Namespace declarations of the header are remembered. Cheap to call twice. */
bool xml_stream_sleep(struct xml_stream *x);
/* Bytes that wait: half an element, or all behind a pause. */
size_t xml_stream_pending(const struct xml_stream *x);
/* After FAILED: the condition for <stream:error/>, and text for humans (static). */
enum xmpp_condition xml_stream_error(const struct xml_stream *x, const char **why);

#endif
