/*
 * XMPP streams: the first four bytes choose how the rest is cut into pieces and where the reader
 * pauses and sleeps in between. What comes out must not depend on that; printed, it must be read as
 * the same again; and nothing may come out after a failure.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/xml_stream.h"

#define LOG_BYTES (64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
	struct xml_stream *x;
	struct buf log; /* what came out, printed: a stream again */
	char *content;
	bool dialback;
	bool over;     /* nothing may come any more */
	uint32_t dice; /* 0: everything at once */
};

static uint32_t roll(struct reading *r, uint32_t sides)
{
	if (r->dice == 0)
		return sides - 1;
	r->dice = r->dice * 1664525 + 1013904223;
	return (r->dice >> 16) % sides;
}

static void alive(struct reading *r)
{
	if (r->over)
		abort();
	if (r->dice && roll(r, 3) == 0)
		xml_stream_pause(r->x);
}

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct reading *r = arg;

	alive(r);
	free(r->content);
	r->content = h->content ? strdup(h->content) : NULL;
	r->dialback = h->dialback;
	xmpp_print_header(&r->log, h);
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct reading *r = arg;

	alive(r);
	if (!arena->pool || e->parent || !e->name)
		abort();
	xml_node_print(e, r->content, r->dialback, &r->log);
	if (strcmp(e->name, "auth") == 0)
		xml_stream_restart(r->x, true);
}

static void on_space(void *arg)
{
	alive(arg);
}

static void on_end(void *arg)
{
	struct reading *r = arg;

	alive(r);
	r->over = true;
	buf_add_str(&r->log, "</stream:stream>");
}

static int feed(struct reading *r, struct slice bytes)
{
	int status = 0;
	size_t n;

	while (bytes.n && status == 0) {
		n = r->dice ? roll(r, roll(r, 4) ? 5 : 200) + 1 : bytes.n;
		n = n < bytes.n ? n : bytes.n;
		status = xml_stream_feed(r->x, (struct slice){ bytes.p, n });
		bytes.p += n;
		bytes.n -= n;
		if (r->dice && roll(r, 2))
			xml_stream_sleep(r->x);
		while (status == 0 && xml_stream_is_paused(r->x) && roll(r, 2))
			status = xml_stream_resume(r->x);
	}
	while (status == 0 && xml_stream_is_paused(r->x))
		status = xml_stream_resume(r->x);
	return status;
}

static int read_all(struct reading *r, struct xml_pool *pool, struct slice bytes,
		    const struct xml_stream_limits *limits, enum xmpp_condition *condition)
{
	static const struct xml_stream_events events = { on_header, on_element, on_space, on_end,
							 NULL };
	const char *why = NULL;
	int status;

	buf_init(&r->log, LOG_BYTES);
	r->x = xml_stream_new(pool, limits, &events, r);
	status = feed(r, bytes);
	*condition = xml_stream_error(r->x, &why);
	if (status < 0) {
		r->over = true;
		if (!why || xml_stream_feed(r->x, SLICE("<a/>")) != status)
			abort();
	} else if (!r->over && xml_stream_pending(r->x) == 0 && !xml_stream_sleep(r->x)) {
		abort();
	}
	xml_stream_free(r->x);
	if (r->log.failed)
		abort();
	return status;
}

static void fini(struct reading *r)
{
	buf_fini(&r->log);
	free(r->content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct xml_stream_limits small = { 8, 8, 40, 64, 2048, 0 };
	static const struct xml_stream_limits large = { 8, 24, 40, 64, 1 << 20, 0 };
	struct reading whole = { 0 }, pieces = { 0 }, again = { 0 };
	enum xmpp_condition c1, c2, c3;
	struct xml_pool *pool;
	struct slice bytes;
	int s1, s2;

	if (size < 4)
		return 0;
	memcpy(&pieces.dice, data, 4);
	pieces.dice |= 1;
	bytes = (struct slice){ (const char *)data + 4, size - 4 };
	pool = xml_pool_new();
	s1 = read_all(&whole, pool, bytes, &small, &c1);
	s2 = read_all(&pieces, pool, bytes, &small, &c2);
	if (s1 != s2 || (s1 && c1 != c2) ||
	    !slice_eq(buf_slice(&whole.log), buf_slice(&pieces.log)))
		abort();
	if (read_all(&again, pool, buf_slice(&whole.log), &large, &c3) != 0 ||
	    !slice_eq(buf_slice(&whole.log), buf_slice(&again.log)))
		abort();
	fini(&whole);
	fini(&pieces);
	fini(&again);
	xml_pool_free(pool);
	return 0;
}
