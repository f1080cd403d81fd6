#ifndef TESTS_SUPPORT_HTTP_RIG_H
#define TESTS_SUPPORT_HTTP_RIG_H
/*
 * The HTTP engine between a scripted client and scripted servers: stream pairs on both sides, a
 * clock turned by hand. settle() lets everything happen that needs no time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/loop.h"
#include "core/stream_pair.h"
#include "http/exchange.h"

#define N_SERVERS 64

/* One scripted end. */
struct side {
	struct stream *s; /* NULL: gone */
	struct buf got;
	bool stalled; /* reads nothing */
	bool eof, closed;
	enum stream_end end;
	void (*on_bytes)(struct side *side); /* NULL: only collects */
	void *arg;
	size_t used; /* of got, by on_bytes */
};

struct rig {
	struct loop *loop;
	struct timerq timers;
	struct conn_table *conns;
	struct http_engine *e;
	struct http_engine_conf conf;
	struct http_front *front;
	struct side client;
	struct side servers[N_SERVERS];
	size_t n_servers;
	/* what the handler does */
	void (*on_request)(struct rig *rig, struct http_exchange *ex); /* NULL: forwards */
	struct http_forward fwd;
	int refuse_connect;  /* so many connects fail */
	bool opening;	     /* the next back connections are not open yet */
	struct stream *back; /* the engine's end of the last one */
	/* what was told */
	struct http_exchange *ex; /* the last */
	size_t n_requests, n_finished, n_refused, n_closed, n_failed;
	int status, refused_status, failed_status;
	char why[160], code[48], closed_why[160], failed_why[160];
};

static inline void side_readable(void *arg)
{
	struct side *side = arg;
	struct evbuffer *in;
	size_t n, had;

	if (side->stalled)
		return;
	in = stream_in(side->s);
	n = evbuffer_get_length(in);
	had = side->got.n;
	side->eof = stream_eof(side->s);
	if (n > 0) {
		unsigned char *p = evbuffer_pullup(in, -1);

		buf_add(&side->got, p, n);
		if (side->got.failed) { /* a failing allocation that was meant for the engine */
			side->got.failed = false;
			side->got.n = had;
			buf_add(&side->got, p, n);
		}
		assert_int_equal(side->got.n, had + n);
		evbuffer_drain(in, n);
		stream_consumed(side->s);
	}
	if (side->on_bytes)
		side->on_bytes(side);
}

static inline void side_closed(void *arg, enum stream_end end, const char *why)
{
	struct side *side = arg;

	(void)why;
	if (!side->stalled)
		side_readable(side);
	side->closed = true;
	side->end = end;
	side->s = NULL;
}

static const struct stream_handler side_handler = {
	.readable = side_readable,
	.closed = side_closed,
};

static inline void side_init(struct side *side, struct stream *s)
{
	*side = (struct side){ .s = s };
	buf_init(&side->got, 256u << 20);
	stream_set_handler(s, &side_handler, side);
}

static inline void side_fini(struct side *side)
{
	stream_close(side->s);
	side->s = NULL;
	buf_fini(&side->got);
}

/* --- the handler of the engine --- */
static inline void rig_request(void *arg, struct http_exchange *ex)
{
	struct rig *rig = arg;

	rig->n_requests++;
	rig->ex = ex;
	if (rig->on_request)
		rig->on_request(rig, ex);
	else
		http_forward(ex, &rig->fwd);
}

static inline void rig_finished(void *arg, struct http_exchange *ex, int status, const char *why)
{
	struct rig *rig = arg;

	rig->n_finished++;
	rig->status = status;
	snprintf(rig->why, sizeof(rig->why), "%s", why);
	if (rig->ex == ex)
		rig->ex = NULL;
}

static inline void rig_refused(void *arg, struct http_front *f, const char *code, int status,
			       const char *why)
{
	struct rig *rig = arg;

	(void)f;
	(void)why;
	rig->n_refused++;
	rig->refused_status = status;
	snprintf(rig->code, sizeof(rig->code), "%s", code);
}

static inline void rig_closed(void *arg, struct http_front *f)
{
	struct rig *rig = arg;

	rig->n_closed++;
	if (rig->front == f)
		rig->front = NULL;
}

static const struct http_engine_ops rig_ops = {
	.request = rig_request,
	.finished = rig_finished,
	.refused = rig_refused,
	.closed = rig_closed,
};

static inline struct stream *rig_connect(void *arg, struct http_exchange *ex,
					 const struct stream_handler *h, void *harg, int *error,
					 const char **why)
{
	struct rig *rig = arg;
	struct stream *ends[2];

	(void)ex;
	if (rig->refuse_connect > 0 || rig->n_servers == N_SERVERS ||
	    stream_pair_new(rig->loop, ends) < 0) {
		rig->refuse_connect--;
		*error = -111;
		*why = "nobody there";
		return NULL;
	}
	stream_set_handler(ends[0], h, harg);
	if (rig->opening)
		ends[0]->state = STREAM_OPENING;
	rig->back = ends[0];
	side_init(&rig->servers[rig->n_servers++], ends[1]);
	return ends[0];
}

static inline void rig_failed(void *arg, struct http_exchange *ex, int status, const char *why)
{
	struct rig *rig = arg;

	(void)ex;
	rig->n_failed++;
	rig->failed_status = status;
	snprintf(rig->failed_why, sizeof(rig->failed_why), "%s", why);
}

static inline int64_t rig_now(void *arg)
{
	return ((struct rig *)arg)->timers.now_ms;
}

/* --- the rig --- */
static inline void rig_client(struct rig *rig)
{
	struct conn like = { .transport = CONN_TLS, .zone = "web" };
	struct stream *ends[2];

	assert_int_equal(stream_pair_new(rig->loop, ends), 0);
	buf_fini(&rig->client.got);
	side_init(&rig->client, ends[1]);
	rig->front = http_front_new(rig->e, ends[0], &like);
}

static inline void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .conf = { .limits = { 8192, 4096, 100 },
				       .head_ms = 10000,
				       .idle_ms = 60000,
				       .min_rate_bps = 1000,
				       .min_rate_ms = 5000,
				       .connect_ms = 4000,
				       .response_ms = 30000,
				       .upgrade_idle_ms = 300000,
				       .max_body = 1u << 30,
				       .server = "turnpike" } };
	timerq_init(&rig->timers, 1000000);
	rig->loop = loop_new();
	rig->conns = conn_table_new(1000, 16, rig_now, rig);
	assert_non_null(rig->loop);
	assert_non_null(rig->conns);
	rig->fwd = (struct http_forward){ .connect = rig_connect,
					  .failed = rig_failed,
					  .arg = rig,
					  .key = SLICE("alice web1:443"),
					  .target = SLICE("/in?x=1"),
					  .host = SLICE("web1.example"),
					  .fields = SLICE("X-Forwarded-Proto: https\r\n") };
	rig->e = http_engine_new(&rig->timers, rig->conns, &rig->conf, &rig_ops, rig);
	assert_non_null(rig->e);
}

static inline void turn(struct rig *rig)
{
	loop_once(rig->loop, 0);
	timerq_run(&rig->timers, rig->timers.now_ms);
}

static inline void settle(struct rig *rig)
{
	for (int i = 0; i < 16; i++)
		turn(rig);
}

static inline void pass_ms(struct rig *rig, int64_t ms)
{
	timerq_run(&rig->timers, rig->timers.now_ms + ms);
	settle(rig);
}

static inline void rig_fini(struct rig *rig)
{
	http_engine_free(rig->e);
	side_fini(&rig->client);
	for (size_t i = 0; i < rig->n_servers; i++)
		side_fini(&rig->servers[i]);
	settle(rig);
	assert_int_equal(conn_count(rig->conns, CONN_HTTP), 0);
	assert_int_equal(conn_count(rig->conns, CONN_REQUEST), 0);
	assert_int_equal(rig->n_finished, rig->n_requests);
	assert_int_equal(rig->timers.n, 0);
	conn_table_free(rig->conns);
	loop_free(rig->loop);
}

static inline int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig_init(rig);
	rig_client(rig);
	*state = rig;
	return 0;
}

static inline int rig_teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static inline void reconfigure(struct rig *rig)
{
	http_engine_configure(rig->e, &rig->conf);
}

static inline void say_slice(struct side *side, struct slice bytes)
{
	assert_non_null(side->s);
	evbuffer_add(stream_out(side->s), bytes.p, bytes.n);
	stream_flush(side->s);
}

static inline void say(struct rig *rig, struct side *side, const char *text)
{
	say_slice(side, slice_of(text));
	settle(rig);
}

static inline void hang_up(struct rig *rig, struct side *side)
{
	stream_shutdown(side->s);
	settle(rig);
}

/* Closes the side as a process that ends does: the peer's next bytes are refused. */
static inline void vanish(struct rig *rig, struct side *side, bool reset)
{
	if (reset)
		stream_abort(side->s);
	else
		stream_close(side->s);
	side->s = NULL;
	settle(rig);
}

/* What came since the last call, without Date lines. */
static inline const char *heard(struct side *side)
{
	static char text[8][65536];
	static unsigned next;
	char *out = text[next++ % 8];
	const char *p = side->got.p ? side->got.p : "", *date;
	size_t n = side->got.n, k = 0;

	assert_true(n < sizeof(text[0]));
	memcpy(out, p, n);
	out[n] = '\0';
	while ((date = strstr(out + k, "Date: "))) {
		char *from = out + (date - out), *end = strstr(from, "\r\n");

		assert_non_null(end);
		memmove(from, end + 2, strlen(end + 2) + 1);
		k = (size_t)(from - out);
	}
	buf_reset(&side->got);
	return out;
}

#define assert_heard(side, text) assert_string_equal(heard(side), text)
#define GET			 "GET /a HTTP/1.1\r\nHost: e.example\r\n\r\n"
/* What becomes of it. */
#define GET_IN                                           \
	"GET /in?x=1 HTTP/1.1\r\nHost: web1.example\r\n" \
	"X-Forwarded-Proto: https\r\n\r\n"
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static inline bool is_gone(const struct side *side)
{
	return side->eof || side->closed;
}

#endif
