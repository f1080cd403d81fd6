/*
 * One unit after the other: the header with the XML declaration, a child of the stream, the end
 * tag. A child that is all there is tried with xml_quick.h. What that leaves alone waits until a
 * tag is whole; whole tags go to the reader (xml_reader.h). What either has made is told to the
 * owner when it has returned, so that an event may pause, restart or put to sleep whatever it
 * likes.
 *
 * While it runs, `in` is what was fed, where it lies, or, when something waited before, `kept`;
 * what is left goes to `kept`.
 *
 *   in:  | given to the reader, gone | at: whole tags | n_tags: begun | n_scanned: not looked at |
 */
#include "proto/xml_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/xml_quick.h"
#include "proto/xml_reader.h"
#include "proto/xml_scan.h"

/* A tree may need that many times the bytes of its element, and this much more; `<a/>` needs 20
 * times its own. */
#define ARENA_TIMES 16
#define ARENA_MORE  (16 * 1024)
/* A waiting buffer above this goes as soon as it is empty. */
#define KEEP_BYTES 4096

enum state {
	HEADER,
	OPEN,
	CLOSED,
	FAILED,
};

struct xml_stream {
	struct xml_pool *pool;
	struct xml_reader *reader; /* NULL: asleep */
	char *preamble;		   /* OPEN: see xml_reader_preamble() */
	const char *content;	   /* OPEN: for xml_quick_read(); NULL: the header is unusual */
	struct xml_stream_events events;
	void *arg;
	struct xml_stream_limits limits; /* of the unit that is being read */
	struct xml_stream_limits next;	 /* of the ones after it */
	struct xml_arena arena;
	struct buf kept;
	struct slice in;
	size_t at;	  /* of in: not given to the reader yet */
	size_t n_scanned; /* from at on */
	size_t n_tags;	  /* from at on to the end of the last whole tag */
	size_t n_unit;	  /* of this unit that the reader has */
	struct xml_scan scan;
	unsigned depth; /* open elements below the stream */
	uint8_t state;	/* enum state */
	bool is_paused;
	bool is_running;
	bool told_space; /* in this feed */
	bool is_lent;	 /* in is not in kept */
	struct xml_reader_error error;
};

const struct xml_stream_limits xml_stream_default_limits = {
	.max_depth = 64,
	.max_attrs = 64,
	.max_children = 10000,
	.max_name_bytes = 1024,
	.max_stanza_bytes = 10 * 1024,
};

struct xml_stream_limits xml_stream_limits_printed(const struct xml_stream_limits *l)
{
	struct xml_stream_limits out = *l;

	out.max_attrs = 2 * l->max_attrs + 2;
	out.max_stanza_bytes = 4 * l->max_stanza_bytes;
	out.max_tree_bytes = 4 * l->max_tree_bytes;
	return out;
}

struct xml_stream *xml_stream_new(struct xml_pool *pool, const struct xml_stream_limits *limits,
				  const struct xml_stream_events *events, void *arg)
{
	struct xml_stream *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->pool = pool;
	x->limits = x->next = *limits;
	x->events = *events;
	x->arg = arg;
	x->arena.pool = pool;
	buf_init(&x->kept, SIZE_MAX);
	return x;
}

static void drop_input(struct xml_stream *x)
{
	buf_fini(&x->kept);
	x->in = SLICE_NONE;
	x->is_lent = false;
	x->at = x->n_scanned = x->n_tags = x->n_unit = 0;
	x->scan = (struct xml_scan){ 0 };
	x->depth = 0;
}

static void give_reader(struct xml_stream *x)
{
	xml_reader_give(x->reader);
	x->reader = NULL;
}

void xml_stream_free(struct xml_stream *x)
{
	if (!x)
		return;
	give_reader(x);
	drop_input(x);
	xml_arena_reset(&x->arena);
	free(x->preamble);
	free(x);
}

static void fail_with(struct xml_stream *x, struct xml_reader_error error)
{
	x->error = error;
	x->state = FAILED;
	give_reader(x);
	drop_input(x);
}

static void refuse(struct xml_stream *x, enum xmpp_condition condition, const char *why)
{
	fail_with(x, (struct xml_reader_error){ -EBADMSG, condition, why });
}

static void fail_for_memory(struct xml_stream *x)
{
	fail_with(x,
		  (struct xml_reader_error){ -ENOMEM, XMPP_RESOURCE_CONSTRAINT, "out of memory" });
}

/* --- units --- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_between(const struct xml_stream *x)
{
	return x->n_unit == 0 && x->n_scanned == 0;
}

static void next_unit(struct xml_stream *x)
{
	x->at += x->n_scanned;
	x->n_scanned = x->n_tags = x->n_unit = 0;
	x->depth = 0;
	if (x->reader && xml_reader_is_worn(x->reader))
		give_reader(x);
}

/* What stands between elements and is no white space. */
static void refuse_text(struct xml_stream *x, unsigned char c)
{
	bool no_utf8 = (c >= 0x80 && c < 0xc2) || c > 0xf4;

	if (no_utf8 || (c == 0 && x->state == HEADER))
		refuse(x, XMPP_UNSUPPORTED_ENCODING, "bytes that are no UTF-8");
	else if (x->state == HEADER || c < 0x20)
		refuse(x, XMPP_NOT_WELL_FORMED, "no start of a stream");
	else
		refuse(x, XMPP_INVALID_XML, "text between elements");
}

/* To the '<' of the next unit. In front of a header white space is no event: it may still belong to
 * the stream before. */
static bool find_unit(struct xml_stream *x)
{
	size_t from = x->at;

	while (x->at < x->in.n && is_space(x->in.p[x->at]))
		x->at++;
	if (x->at > from && x->state == OPEN && !x->told_space) {
		x->told_space = true;
		x->events.space(x->arg);
		return false;
	}
	if (x->at == x->in.n)
		return false;
	if (x->in.p[x->at] != '<') {
		refuse_text(x, (unsigned char)x->in.p[x->at]);
		return false;
	}
	x->limits = x->next;
	x->arena.max_bytes = x->limits.max_tree_bytes
				     ? x->limits.max_tree_bytes
				     : x->limits.max_stanza_bytes * ARENA_TIMES + ARENA_MORE;
	return true;
}

static bool is_at_frame(const struct xml_stream *x)
{
	return x->state == OPEN && x->events.frame && x->at < x->in.n && !x->in.p[x->at];
}

/* As step(). */
static bool read_frame(struct xml_stream *x)
{
	int used = x->events.frame(x->arg, (struct slice){ x->in.p + x->at, x->in.n - x->at });

	if (used < 0)
		refuse_text(x, 0);
	else
		x->at += (size_t)used;
	return used > 0;
}

static bool wake(struct xml_stream *x)
{
	if (x->reader)
		return true;
	x->reader = xml_reader_take(x->pool, &x->arena);
	if (!x->reader) {
		fail_for_memory(x);
		return false;
	}
	if (x->state == HEADER || xml_reader_replay(x->reader, x->preamble))
		return true;
	fail_with(x, *xml_reader_error(x->reader));
	return false;
}

/* The first n bytes to the reader. */
static bool give(struct xml_stream *x, size_t n)
{
	if (n == 0)
		return true;
	if (!wake(x))
		return false;
	if (!xml_reader_feed(x->reader, (struct slice){ x->in.p + x->at, n }, &x->limits)) {
		fail_with(x, *xml_reader_error(x->reader));
		return false;
	}
	x->at += n;
	x->n_scanned -= n;
	x->n_tags = 0;
	x->n_unit += n;
	return true;
}

/* When the reader finds something wrong in what stands before, that was first. */
static void give_and_refuse(struct xml_stream *x, enum xmpp_condition condition, const char *why)
{
	if (give(x, x->n_tags))
		refuse(x, condition, why);
}

/* The scanner and the reader do not agree where a unit ends: never, unless one of them has a bug
 * that somebody is about to use. */
static void refuse_disagreement(struct xml_stream *x)
{
	refuse(x, XMPP_NOT_WELL_FORMED, "tags do not match");
}

/* NULL: stanzas of this stream are for the reader. */
static const char *plain_content(const struct xml_reader *r)
{
	const char *ns = xml_reader_binding(r, ""), *streams = xml_reader_binding(r, "stream");

	return ns && streams && strcmp(streams, XMPP_STREAMS) == 0 ? xml_quick_content(ns) : NULL;
}

static void end_header(struct xml_stream *x)
{
	const struct xmpp_header *found;
	struct xmpp_header h;
	struct slice tag = { x->in.p + x->at, x->n_scanned };
	const char *start = memrchr(tag.p, '<', tag.n);

	tag = (struct slice){ start, tag.n - (size_t)(start - tag.p) };
	/* give() moves no bytes: tag stays where it is. */
	if (!give(x, x->n_scanned))
		return;
	found = xml_reader_header(x->reader);
	if (!found) {
		refuse_disagreement(x);
		return;
	}
	x->preamble = xml_reader_preamble(x->reader, tag);
	if (!x->preamble) {
		fail_for_memory(x);
		return;
	}
	x->content = plain_content(x->reader);
	h = *found; /* the texts are in the arena */
	if (x->content)
		give_reader(x);
	x->state = OPEN;
	next_unit(x);
	x->events.header(x->arg, &h);
	xml_arena_reset(&x->arena);
}

static void tell_element(struct xml_stream *x, struct xml_node *e)
{
	next_unit(x);
	/* Room for changes. */
	x->arena.max_bytes += ARENA_MORE;
	x->events.element(x->arg, e, &x->arena);
	xml_arena_reset(&x->arena);
}

/* At the '<' of a unit. False: it is for the reader. */
static bool read_quick(struct xml_stream *x)
{
	struct slice rest = { x->in.p + x->at, x->in.n - x->at };
	struct xml_node *e;

	if (x->state != OPEN || !x->content)
		return false;
	x->n_scanned = xml_quick_read(rest, x->content, &x->limits, &x->arena, &e);
	if (x->n_scanned == 0) {
		xml_arena_reset(&x->arena);
		return false;
	}
	tell_element(x, e);
	return true;
}

static void end_element(struct xml_stream *x)
{
	struct xml_node *e;

	if (!give(x, x->n_scanned))
		return;
	e = xml_reader_element(x->reader);
	if (!e) {
		refuse_disagreement(x);
		return;
	}
	tell_element(x, e);
}

static void end_stream(struct xml_stream *x)
{
	if (!give(x, x->n_scanned))
		return;
	if (!xml_reader_is_closed(x->reader)) {
		refuse_disagreement(x);
		return;
	}
	x->state = CLOSED;
	give_reader(x);
	drop_input(x);
	x->events.end(x->arg);
}

static void tag_of_header(struct xml_stream *x, enum xml_scan_found found)
{
	if (found == XML_SCAN_OPEN)
		end_header(x);
	else if (found == XML_SCAN_EMPTY)
		give_and_refuse(x, XMPP_BAD_FORMAT, "the stream is an empty element");
	else
		give_and_refuse(x, XMPP_NOT_WELL_FORMED, "no start of a stream");
}

static void tag_of_stream(struct xml_stream *x, enum xml_scan_found found)
{
	x->n_tags = x->n_scanned;
	if (found == XML_SCAN_CLOSED && x->depth == 0) {
		end_stream(x);
		return;
	}
	if (found == XML_SCAN_OPEN)
		x->depth++;
	if (found == XML_SCAN_CLOSED)
		x->depth--;
	if (x->depth == 0)
		end_element(x);
}

/* What is neither a tag nor text. */
static void other_markup(struct xml_stream *x, enum xml_scan_found found, bool first)
{
	if (found == XML_SCAN_PI && x->state == HEADER && first)
		x->n_tags = x->n_scanned; /* the XML declaration, says the reader */
	else if (found == XML_SCAN_PI)
		give_and_refuse(x, XMPP_RESTRICTED_XML, "a processing instruction");
	else if (found == XML_SCAN_MARKUP)
		give_and_refuse(x, XMPP_RESTRICTED_XML, "a comment or a document type");
	else if (found == XML_SCAN_BROKEN)
		give_and_refuse(x, XMPP_NOT_WELL_FORMED, "a broken tag");
	else if (x->state == HEADER)
		give_and_refuse(x, XMPP_NOT_WELL_FORMED, "no start of a stream");
	else if (x->depth == 0)
		refuse(x, XMPP_INVALID_XML, "text between elements");
}

/* false: there is nothing more to do with the bytes that are here. */
static bool step(struct xml_stream *x)
{
	struct slice rest;
	enum xml_scan_found found;
	bool first;
	size_t used;

	if (is_between(x)) {
		if (is_at_frame(x))
			return read_frame(x);
		if (!find_unit(x))
			return x->at < x->in.n;
		if (read_quick(x))
			return true;
	}
	if (x->at + x->n_scanned == x->in.n) {
		give(x, x->n_tags);
		return false;
	}
	first = x->n_unit == 0 && x->n_tags == 0;
	rest = (struct slice){ x->in.p + x->at + x->n_scanned, x->in.n - x->at - x->n_scanned };
	found = xml_scan(&x->scan, rest, &used);
	x->n_scanned += used;
	if (x->n_unit + x->n_scanned > x->limits.max_stanza_bytes) {
		give_and_refuse(x, XMPP_POLICY_VIOLATION, "the element is too long");
		return false;
	}
	if (found == XML_SCAN_MORE)
		give(x, x->n_tags);
	else if (found != XML_SCAN_OPEN && found != XML_SCAN_EMPTY && found != XML_SCAN_CLOSED)
		other_markup(x, found, first);
	else if (x->state == HEADER)
		tag_of_header(x, found);
	else
		tag_of_stream(x, found);
	return found != XML_SCAN_MORE;
}

/* What is left is kept; each byte is moved at most twice. */
static void tidy(struct xml_stream *x)
{
	size_t left = x->in.n - x->at;

	if (x->is_lent) {
		buf_reset(&x->kept);
		if (left)
			buf_add(&x->kept, x->in.p + x->at, left);
	} else if (left && x->at >= left) {
		memmove(x->kept.p, x->in.p + x->at, left);
		x->kept.n = left;
		x->kept.p[left] = '\0';
	} else if (left) {
		return;
	} else {
		buf_reset(&x->kept);
	}
	if (left == 0 && (x->kept.cap > KEEP_BYTES || !x->reader))
		buf_fini(&x->kept);
	x->is_lent = false;
	x->in = buf_slice(&x->kept);
	x->at = 0;
}

static int run(struct xml_stream *x)
{
	if (x->is_running)
		return 0;
	x->is_running = true;
	x->told_space = false;
	while (!x->is_paused && (x->state == HEADER || x->state == OPEN) && step(x))
		;
	x->is_running = false;
	if (x->state == CLOSED || x->state == FAILED)
		xml_arena_reset(&x->arena); /* half an element */
	tidy(x);
	if (x->kept.failed)
		fail_for_memory(x);
	return x->state == FAILED ? x->error.code : 0;
}

/* --- what the owner does --- */

int xml_stream_feed(struct xml_stream *x, struct slice bytes)
{
	if (x->state == FAILED)
		return x->error.code;
	if (x->state == CLOSED || bytes.n == 0)
		return 0;
	if (!x->is_running && x->in.n == x->at) {
		x->in = bytes;
		x->at = 0;
		x->is_lent = true;
		return run(x);
	}
	if (x->is_lent)
		tidy(x);
	buf_add(&x->kept, bytes.p, bytes.n);
	if (x->kept.failed) {
		fail_for_memory(x);
		return -ENOMEM;
	}
	x->in = buf_slice(&x->kept);
	return run(x);
}

void xml_stream_pause(struct xml_stream *x)
{
	x->is_paused = true;
}

int xml_stream_resume(struct xml_stream *x)
{
	x->is_paused = false;
	return run(x);
}

bool xml_stream_is_paused(const struct xml_stream *x)
{
	return x->is_paused;
}

static size_t count_dark(struct slice s)
{
	size_t n = 0, i;

	for (i = 0; i < s.n; i++)
		n += !is_space(s.p[i]);
	return n;
}

size_t xml_stream_restart(struct xml_stream *x, bool keep)
{
	size_t n = x->n_unit;

	if (x->state == FAILED)
		return 0;
	give_reader(x);
	free(x->preamble);
	x->preamble = NULL;
	if (!x->is_running)
		xml_arena_reset(&x->arena);
	if (keep) {
		x->n_scanned = x->n_tags = x->n_unit = 0;
		x->scan = (struct xml_scan){ 0 };
		x->depth = 0;
	} else {
		if (x->in.n > x->at)
			n += count_dark((struct slice){ x->in.p + x->at, x->in.n - x->at });
		drop_input(x);
	}
	x->state = HEADER;
	return n;
}

void xml_stream_set_limits(struct xml_stream *x, const struct xml_stream_limits *limits)
{
	x->next = *limits;
}

bool xml_stream_sleep(struct xml_stream *x)
{
	if (xml_stream_pending(x))
		return false;
	give_reader(x);
	/* Inside an event the rest goes when that returns. */
	if (!x->is_running)
		tidy(x);
	return true;
}

size_t xml_stream_pending(const struct xml_stream *x)
{
	return x->n_unit + x->in.n - x->at;
}

enum xmpp_condition xml_stream_error(const struct xml_stream *x, const char **why)
{
	*why = x->error.why;
	return x->error.condition;
}
