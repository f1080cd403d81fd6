/*
 * The quick reader beside expat: the same elements behind the same header, once all of them at
 * once, which it may read, and once byte by byte, which it never does. The first byte chooses
 * header and limits. Events, trees, counted memory and the error have to be the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/xml_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
	const char *content;
	struct buf log;
};

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct reading *r = arg;

	r->content = slice_eq(slice_of(h->content), SLICE(XMPP_CLIENT)) ? XMPP_CLIENT : XMPP_SERVER;
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct reading *r = arg;

	xml_node_print(e, r->content, false, &r->log);
	buf_printf(&r->log, "\n%zu\n", arena->n_bytes);
}

static void on_space(void *arg)
{
}

static void on_end(void *arg)
{
	struct reading *r = arg;

	buf_add_str(&r->log, "end\n");
}

static void read_all(struct xml_pool *pool, const struct xml_stream_limits *limits,
		     const char *header, struct slice bytes, size_t step, struct buf *log)
{
	static const struct xml_stream_events events = { on_header, on_element, on_space, on_end,
							 NULL };
	struct reading r = { 0 };
	struct xml_stream *x;
	const char *why = "";
	int status;

	buf_init(&r.log, 64 << 20);
	x = xml_stream_new(pool, &xml_stream_default_limits, &events, &r);
	status = xml_stream_feed(x, slice_of(header));
	if (status != 0)
		abort();
	xml_stream_set_limits(x, limits);
	while (bytes.n && status == 0) {
		size_t n = bytes.n < step ? bytes.n : step;

		status = xml_stream_feed(x, (struct slice){ bytes.p, n });
		bytes = (struct slice){ bytes.p + n, bytes.n - n };
	}
	if (status)
		buf_printf(&r.log, "%d %d\n", status, xml_stream_error(x, &why));
	else
		buf_printf(&r.log, "%zu\n", xml_stream_pending(x));
	xml_stream_free(x);
	if (r.log.failed)
		abort();
	*log = r.log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const headers[] = {
		"<stream:stream xmlns='jabber:client' "
		"xmlns:stream='http://etherx.jabber.org/streams'>",
		"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
		"xmlns='jabber:server' xmlns:db='jabber:server:dialback' xml:lang='de'>",
	};
	static const struct xml_stream_limits limits[] = {
		{ 4, 4, 6, 24, 200, 0 },
		{ 64, 64, 10000, 1024, 10240, 0 },
		{ 8, 6, 40, 64, 2048, 700 },
		{ 3, 32, 3, 40, 120, 400 },
	};
	struct slice bytes;
	struct buf quick, slow;
	struct xml_pool *pool;

	if (size == 0)
		return 0;
	bytes = (struct slice){ (const char *)data + 1, size - 1 };
	pool = xml_pool_new();
	read_all(pool, &limits[data[0] >> 1 & 3], headers[data[0] & 1], bytes, SIZE_MAX, &quick);
	read_all(pool, &limits[data[0] >> 1 & 3], headers[data[0] & 1], bytes, 1, &slow);
	if (!slice_eq(buf_slice(&quick), buf_slice(&slow)))
		abort();
	buf_fini(&quick);
	buf_fini(&slow);
	xml_pool_free(pool);
	return 0;
}
