/*
 * Fuzz: a client and servers say whatever the input makes them say, in pieces that it chooses, to
 * the whole HTTP engine. Whatever happens: what a server hears is a row of strict requests, what
 * the client hears is a row of strict answers, and every exchange that began is finished once.
 *
 * The input is a row of commands: what, n, and n bytes for those that say something.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/loop.h"
#include "core/stream_pair.h"
#include "http/exchange.h"

#define MAX_SERVERS  16
#define MAX_REQUESTS 256

enum what {
	CLIENT_SAYS,
	SERVER_SAYS,
	CLIENT_ENDS,
	SERVER_ENDS,
	TIME_PASSES,
	HANDLER,
	SERVER_STALLS
};
enum handler { FORWARDS, FORWARDS_UPGRADES, REPLIES, WAITS, REPLACES, N_HANDLERS };

/* Reads what one side gets, and traps on what is no HTTP. */
struct reader {
	struct buf got;
	size_t used;
	bool in_body, raw, stalled;
	struct http_head head;
	struct http_body_reader body;
	size_t n_heads;
};

struct end {
	struct stream *s;
	struct reader r;
	struct fuzz *z;
	bool is_client;
};

struct fuzz {
	struct loop *loop;
	struct timerq timers;
	struct conn_table *conns;
	struct http_engine *e;
	struct end client, servers[MAX_SERVERS];
	size_t n_servers, n_requests, n_finished;
	enum http_method asked[MAX_REQUESTS];
	enum handler handler;
	struct http_exchange *waiting;
};

static const struct http_limits limits = { 2048, 512, 32 };
/* What goes on may be a little longer than what came. */
static const struct http_limits wide = { 8192, 4096, 100 };

static bool read_head(struct end *end, struct slice bytes)
{
	struct reader *r = &end->r;
	struct fuzz *z = end->z;
	size_t scanned = 0;
	enum http_parse result;
	const char *why;
	int status;

	if (end->is_client)
		result = http_response_parse(bytes, &wide, &scanned,
					     r->n_heads < z->n_requests ? z->asked[r->n_heads]
									: HTTP_GET,
					     &r->head, &why);
	else
		result = http_request_parse(bytes, &wide, &scanned, &r->head, &status, &why);
	if (result == HTTP_BAD)
		abort();
	if (result == HTTP_MORE)
		return false;
	r->used += r->head.n_bytes;
	r->raw = end->is_client ? r->head.status == 101 : r->head.upgrade;
	if (end->is_client && r->head.status < 200 && !r->raw)
		return true;
	if (++r->n_heads > z->n_requests + (end->is_client ? 1 : 0))
		abort();
	http_body_init(&r->body, &r->head);
	r->in_body = r->head.body != HTTP_BODY_NONE;
	return true;
}

static bool read_body(struct reader *r, struct slice bytes)
{
	struct http_body_part part = http_body_next(&r->body, bytes);

	if (part.bad)
		abort();
	r->used += part.skip + part.data;
	r->in_body = !part.end;
	return part.end || part.skip || part.data;
}

static void end_readable(void *arg)
{
	struct end *end = arg;
	struct reader *r = &end->r;
	struct evbuffer *in = stream_in(end->s);
	size_t n = evbuffer_get_length(in);
	bool more = true;

	if (r->stalled)
		return;
	if (n > 0) {
		buf_add(&r->got, evbuffer_pullup(in, -1), n);
		evbuffer_drain(in, n);
		stream_consumed(end->s);
	}
	while (more && !r->raw && (r->used < r->got.n || r->in_body)) {
		struct slice left = { r->got.p + r->used, r->got.n - r->used };

		more = r->in_body ? read_body(r, left) : read_head(end, left);
	}
}

static void end_closed(void *arg, enum stream_end how, const char *why)
{
	struct end *end = arg;

	(void)how;
	(void)why;
	end_readable(end);
	end->s = NULL;
}

static const struct stream_handler end_handler = { .readable = end_readable, .closed = end_closed };

static void end_init(struct fuzz *z, struct end *end, struct stream *s, bool is_client)
{
	end->s = s;
	end->z = z;
	end->is_client = is_client;
	buf_init(&end->r.got, 1 << 20);
	stream_set_handler(s, &end_handler, end);
}

static void end_fini(struct end *end)
{
	stream_close(end->s);
	buf_fini(&end->r.got);
}

/* --- the handler --- */
static struct stream *to_server(void *arg, struct http_exchange *ex, const struct stream_handler *h,
				void *harg, int *error, const char **why)
{
	struct fuzz *z = arg;
	struct stream *ends[2];

	(void)ex;
	if (z->n_servers == MAX_SERVERS || stream_pair_new(z->loop, ends) < 0) {
		*error = -1;
		*why = "no more";
		return NULL;
	}
	stream_set_handler(ends[0], h, harg);
	end_init(z, &z->servers[z->n_servers++], ends[1], false);
	return ends[0];
}

static enum http_response_verdict answered(void *arg, struct http_exchange *ex,
					   const struct http_head *h, struct buf *fields)
{
	struct fuzz *z = arg;

	buf_add_str(fields, "X-Added: yes\r\n");
	if (z->handler != REPLACES || h->status == 200)
		return HTTP_RESPONSE_PASS;
	http_reply(ex, 403, SLICE_NONE, "text/plain", SLICE("no"));
	return HTTP_RESPONSE_REPLACE;
}

static void decide(struct fuzz *z, struct http_exchange *ex)
{
	struct http_forward fwd = {
		.connect = to_server,
		.response = answered,
		.arg = z,
		.key = SLICE("key"),
		.target = SLICE("/target"),
		.host = SLICE("server"),
		.allow_upgrade = z->handler == FORWARDS_UPGRADES,
	};

	if (z->handler == REPLIES)
		http_reply(ex, 200, SLICE_NONE, "text/plain", SLICE("mine"));
	else
		http_forward(ex, &fwd);
}

static void on_request(void *arg, struct http_exchange *ex)
{
	struct fuzz *z = arg;

	if (z->n_requests == MAX_REQUESTS) {
		z->n_finished--;
		http_front_close(http_exchange_front(ex), "enough");
		return;
	}
	z->asked[z->n_requests++] = http_exchange_head(ex)->method;
	if (z->handler == WAITS)
		z->waiting = ex;
	else
		decide(z, ex);
}

static void on_finished(void *arg, struct http_exchange *ex, int status, const char *why)
{
	struct fuzz *z = arg;

	(void)status;
	(void)why;
	z->n_finished++;
	if (z->waiting == ex)
		z->waiting = NULL;
}

static void on_refused(void *arg, struct http_front *f, const char *code, int status,
		       const char *why)
{
	(void)arg;
	(void)f;
	(void)code;
	(void)status;
	(void)why;
}

static void on_closed(void *arg, struct http_front *f)
{
	(void)arg;
	(void)f;
}

static const struct http_engine_ops ops = { on_request, on_finished, on_refused, on_closed };

/* --- the play --- */
static int64_t now_ms(void *arg)
{
	return ((struct fuzz *)arg)->timers.now_ms;
}

static void settle(struct fuzz *z, int64_t ms)
{
	timerq_run(&z->timers, z->timers.now_ms + ms);
	for (int i = 0; i < 6; i++) {
		loop_once(z->loop, 0);
		timerq_run(&z->timers, z->timers.now_ms);
	}
}

static void say(struct end *end, const uint8_t *data, size_t n)
{
	if (!end->s || end->s->shut)
		return;
	evbuffer_add(stream_out(end->s), data, n);
	stream_flush(end->s);
}

static void end_side(struct end *end, size_t how)
{
	if (!end->s)
		return;
	if (how % 3 == 0) {
		stream_shutdown(end->s);
		return;
	}
	if (how % 3 == 1)
		stream_abort(end->s);
	else
		stream_close(end->s);
	end->s = NULL;
}

static void command(struct fuzz *z, enum what what, const uint8_t *data, size_t n)
{
	struct end *server = &z->servers[z->n_servers ? z->n_servers - 1 : 0];
	struct http_exchange *ex = z->waiting;

	switch (what) {
	case CLIENT_SAYS:
		say(&z->client, data, n);
		break;
	case SERVER_SAYS:
		say(server, data, n);
		break;
	case CLIENT_ENDS:
		end_side(&z->client, n);
		break;
	case SERVER_ENDS:
		end_side(server, n);
		break;
	case TIME_PASSES:
		settle(z, (int64_t)n * 200);
		break;
	case HANDLER:
		z->handler = n % N_HANDLERS;
		z->waiting = NULL;
		if (ex)
			decide(z, ex);
		break;
	case SERVER_STALLS:
		server->r.stalled = n % 2;
		if (server->s)
			end_readable(server);
		break;
	}
	settle(z, 0);
}

static bool start(struct fuzz *z)
{
	struct http_engine_conf conf = { .limits = limits,
					 .head_ms = 10000,
					 .idle_ms = 20000,
					 .min_rate_bps = 10,
					 .min_rate_ms = 5000,
					 .connect_ms = 3000,
					 .response_ms = 15000,
					 .upgrade_idle_ms = 30000,
					 .max_body = 3000,
					 .max_requests = 40,
					 .server = "t",
					 .via = "t" };
	struct conn like = { .transport = CONN_TLS };
	struct stream *ends[2];

	timerq_init(&z->timers, 1000);
	z->loop = loop_new();
	z->conns = conn_table_new(64, 0, now_ms, z);
	z->e = z->conns ? http_engine_new(&z->timers, z->conns, &conf, &ops, z) : NULL;
	if (!z->loop || !z->e || stream_pair_new(z->loop, ends) < 0)
		return false;
	end_init(z, &z->client, ends[1], true);
	http_front_new(z->e, ends[0], &like);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz *z = calloc(1, sizeof(*z));

	if (!z || !start(z))
		abort();
	while (size >= 2) {
		enum what what = data[0] % (SERVER_STALLS + 1);
		size_t n = data[1], n_data = what <= SERVER_SAYS ? n : 0;

		data += 2;
		size -= 2;
		if (n_data > size)
			n_data = n = size;
		command(z, what, data, n);
		data += n_data;
		size -= n_data;
	}
	http_engine_free(z->e);
	end_fini(&z->client);
	for (size_t i = 0; i < z->n_servers; i++)
		end_fini(&z->servers[i]);
	settle(z, 0);
	if (z->n_finished != z->n_requests || conn_count(z->conns, CONN_HTTP) > 0 ||
	    conn_count(z->conns, CONN_REQUEST) > 0 || z->timers.n > 0)
		abort();
	conn_table_free(z->conns);
	loop_free(z->loop);
	free(z);
	return 0;
}
