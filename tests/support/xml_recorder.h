#ifndef TESTS_SUPPORT_XML_RECORDER_H
#define TESTS_SUPPORT_XML_RECORDER_H
/* A reader of streams that writes down what comes out: "H" and "S", "E" and the element as it is
 * printed, "F" for a frame, "." for the end; each behind a line feed. */
#include <stdbool.h>

#include "proto/xml_stream.h"

#define XML_RECORDER_HEADER                                                             \
	"<?xml version='1.0'?><stream:stream to='example.com' from='user@example.com' " \
	"xmlns='jabber:client' version='1.0' xml:lang='en' "                            \
	"xmlns:stream='http://etherx.jabber.org/streams'>"

struct xml_recorder {
	struct xml_pool *pool;
	struct xml_stream *x;
	struct buf log;
	size_t n_seen;		 /* of log */
	size_t n_bytes_in_arena; /* of the last element */
	/* What to do inside events, by the name of the element. */
	const char *pause_at, *restart_at, *sleep_at;
	bool keep;	 /* restart_at */
	size_t n_thrown; /* restart_at */
	bool slept;	 /* sleep_at */
	bool pause_at_header, pause_at_space, pause_at_frame;
	size_t n_frame_bytes; /* of each frame; 0: they are refused */
	char to[64];
};

static inline void xml_recorder_header(void *arg, const struct xmpp_header *h)
{
	struct xml_recorder *r = arg;

	buf_add_str(&r->log, "H\n");
	slice_copy(r->to, sizeof(r->to), slice_of(h->to ? h->to : ""));
	if (r->pause_at_header)
		xml_stream_pause(r->x);
}

static inline void xml_recorder_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct xml_recorder *r = arg;

	r->n_bytes_in_arena = arena->n_bytes;
	buf_add_char(&r->log, 'E');
	xml_node_print(e, XMPP_CLIENT, false, &r->log);
	buf_add_char(&r->log, '\n');
	if (r->pause_at && slice_eq(slice_of(r->pause_at), slice_of(e->name)))
		xml_stream_pause(r->x);
	if (r->restart_at && slice_eq(slice_of(r->restart_at), slice_of(e->name)))
		r->n_thrown = xml_stream_restart(r->x, r->keep);
	if (r->sleep_at && slice_eq(slice_of(r->sleep_at), slice_of(e->name)))
		r->slept = xml_stream_sleep(r->x);
}

static inline void xml_recorder_space(void *arg)
{
	struct xml_recorder *r = arg;

	buf_add_str(&r->log, "S\n");
	if (r->pause_at_space)
		xml_stream_pause(r->x);
}

static inline void xml_recorder_end(void *arg)
{
	struct xml_recorder *r = arg;

	buf_add_str(&r->log, ".\n");
}

static inline int xml_recorder_frame(void *arg, struct slice bytes)
{
	struct xml_recorder *r = arg;

	if (r->n_frame_bytes == 0)
		return -1;
	if (bytes.n < r->n_frame_bytes)
		return 0;
	buf_add_str(&r->log, "F\n");
	if (r->pause_at_frame)
		xml_stream_pause(r->x);
	return (int)r->n_frame_bytes;
}

static inline bool xml_recorder_init(struct xml_recorder *r, const struct xml_stream_limits *limits)
{
	static const struct xml_stream_events events = { xml_recorder_header, xml_recorder_element,
							 xml_recorder_space, xml_recorder_end,
							 xml_recorder_frame };

	*r = (struct xml_recorder){ .pool = xml_pool_new() };
	buf_init(&r->log, 64 << 20);
	r->x = r->pool ? xml_stream_new(r->pool, limits ? limits : &xml_stream_default_limits,
					&events, r)
		       : NULL;
	return r->x != NULL;
}

static inline void xml_recorder_fini(struct xml_recorder *r)
{
	xml_stream_free(r->x);
	xml_pool_free(r->pool);
	buf_fini(&r->log);
}

static inline int xml_recorder_feed(struct xml_recorder *r, const char *text)
{
	return xml_stream_feed(r->x, slice_of(text));
}

/* Byte after byte, until one fails. */
static inline int xml_recorder_drip(struct xml_recorder *r, struct slice bytes)
{
	int status = 0;
	size_t i;

	for (i = 0; i < bytes.n && status == 0; i++)
		status = xml_stream_feed(r->x, (struct slice){ bytes.p + i, 1 });
	return status;
}

/* What was written down since the last time. Valid until the next event. */
static inline const char *xml_recorder_log(struct xml_recorder *r)
{
	const char *log = r->log.p ? r->log.p + r->n_seen : "";

	r->n_seen = r->log.n;
	return log;
}

#endif
