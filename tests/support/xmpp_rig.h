#ifndef TESTS_SUPPORT_XMPP_RIG_H
#define TESTS_SUPPORT_XMPP_RIG_H
/*
 * For tests of XMPP machines over streams in memory: an environment with a loop whose clock the
 * test turns, and the raw far end of a stream that says what it is told and keeps what it hears.
 * Fuzz targets use it too: nothing of cmocka outside of the macros.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conn.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/stream_pair.h"
#include "core/trace.h"
#include "proto/xml_node.h"

struct xmpp_rig {
	struct env env;
	struct xml_pool *pool;
};

/* Named streams of the two boxes are joined in memory: `near` is given away, `s` stays here. */
struct xmpp_far {
	struct stream *s; /* NULL: closed by us, or over */
	struct buf in;
	bool deaf; /* reads nothing */
	bool eof;
	bool over;
	enum stream_end end;
};

static inline int64_t xmpp_rig_now(void *arg)
{
	return loop_timers(arg)->now_ms;
}

static inline void xmpp_rig_init(struct xmpp_rig *r)
{
	*r = (struct xmpp_rig){ 0 };
	r->env.role = CONF_ROLE_E;
	r->env.loop = loop_new();
	/* The clock of a loop never goes back: an hour ahead it stands still, and only the test
	 * moves it. */
	timerq_set_now(loop_timers(r->env.loop), loop_now_ms(r->env.loop) + 3600000);
	r->env.trace = trace_new(64, xmpp_rig_now, r->env.loop);
	r->env.conns = conn_table_new(64, 64, xmpp_rig_now, r->env.loop);
	r->pool = xml_pool_new();
	if (!r->env.loop || !r->env.trace || !r->env.conns || !r->pool)
		abort();
}

static inline void xmpp_rig_fini(struct xmpp_rig *r)
{
	xml_pool_free(r->pool);
	conn_table_free(r->env.conns);
	trace_free(r->env.trace);
	loop_free(r->env.loop);
}

/* Everything that can happen without time happens. */
static inline void xmpp_rig_turn(struct xmpp_rig *r)
{
	for (int i = 0; i < 12; i++)
		loop_once(r->env.loop, 0);
}

/* In steps, so that what follows from one timer may arm the next. */
static inline void xmpp_rig_pass(struct xmpp_rig *r, int64_t ms)
{
	struct timerq *q = loop_timers(r->env.loop);

	for (int i = 0; i < 10; i++) {
		timerq_run(q, q->now_ms + ms / 10 + (i < ms % 10));
		xmpp_rig_turn(r);
	}
}

static inline void xmpp_far_readable(void *arg)
{
	struct xmpp_far *f = arg;
	struct evbuffer *in = stream_in(f->s);
	size_t n = evbuffer_get_length(in);
	char *to;

	f->eof = stream_eof(f->s);
	if (f->deaf)
		return;
	to = buf_grow(&f->in, n);
	if (to)
		evbuffer_remove(in, to, n);
	stream_consumed(f->s);
}

static inline void xmpp_far_closed(void *arg, enum stream_end end, const char *why)
{
	struct xmpp_far *f = arg;

	f->s = NULL;
	f->over = true;
	f->end = end;
}

static const struct stream_handler xmpp_far_handler = {
	.readable = xmpp_far_readable,
	.closed = xmpp_far_closed,
};

/* Returns the near end; NULL without memory (only when a test took it away). */
static inline struct stream *xmpp_far_init(struct xmpp_far *f, struct xmpp_rig *r)
{
	struct stream *ends[2];

	*f = (struct xmpp_far){ 0 };
	buf_init(&f->in, 64 * 1024 * 1024);
	if (stream_pair_new(r->env.loop, ends) < 0)
		return NULL;
	f->s = ends[1];
	stream_set_handler(f->s, &xmpp_far_handler, f);
	return ends[0];
}

static inline void xmpp_far_fini(struct xmpp_far *f, struct xmpp_rig *r)
{
	stream_close(f->s);
	f->s = NULL;
	xmpp_rig_turn(r);
	buf_fini(&f->in);
}

static inline void xmpp_far_say_bytes(struct xmpp_far *f, struct xmpp_rig *r, struct slice bytes)
{
	if (f->s) {
		evbuffer_add(stream_out(f->s), bytes.p, bytes.n);
		stream_flush(f->s);
	}
	xmpp_rig_turn(r);
}

static inline void xmpp_far_say(struct xmpp_far *f, struct xmpp_rig *r, const char *text)
{
	xmpp_far_say_bytes(f, r, slice_of(text));
}

static inline const char *xmpp_far_text(const struct xmpp_far *f)
{
	return f->in.n > 0 ? f->in.p : "";
}

static inline bool xmpp_far_heard(const struct xmpp_far *f, const char *part)
{
	return strstr(xmpp_far_text(f), part);
}

/* Heard, and forgotten up to here. */
#define EXPECT_HEARD(f, part)                                                    \
	do {                                                                     \
		if (!xmpp_far_heard(f, part))                                    \
			fail_msg("no \"%s\" in \"%s\"", part, xmpp_far_text(f)); \
		buf_reset(&(f)->in);                                             \
	} while (0)
#define EXPECT_SILENCE(f) assert_string_equal(xmpp_far_text(f), "")

#endif
