/* Front connections: the one place where things move and end, and the heads of requests. */
#include <stdio.h>
#include <stdlib.h>

#include "http/http_impl.h"

/* So much over max_head is shown to the parser, for it to see that the head is too big. */
#define HEAD_SLACK 16

#define ALLOWED "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n"

/* Tens of thousands of these are idle. */
_Static_assert(sizeof(struct http_front) <= 1024 + sizeof(struct conn), "front is small");

/* --- the end --- */
void front_end(struct http_front *f, enum front_end how, const char *why)
{
	if (f->end == FRONT_LIVES) {
		f->end = how;
		slice_copy(f->conn.reason, sizeof(f->conn.reason), slice_of(why));
	}
	f->again = true;
}

static void front_free(struct http_front *f)
{
	struct http_engine *e = f->e;
	struct http_exchange *ex = f->ex;
	/* What is delimited by the close alone must not look whole (RFC 9112 8). */
	bool cut = ex && ex->answering && !ex->answer_over && ex->until_close;

	timer_stop(e->timers, &f->timer);
	back_drop(f, ex && !ex->answer_over);
	if (ex)
		exchange_end(ex, f->conn.reason);
	if (f->s && (cut || f->end == FRONT_ABORTS))
		stream_abort(f->s);
	else
		stream_close(f->s);
	f->s = NULL;
	if (e->ops->closed)
		e->ops->closed(e->arg, f);
	conn_end(e->conns, &f->conn, "%s", f->conn.reason);
	list_del(&f->node);
	free(f);
}

void front_refuse(struct http_front *f, const char *code, int status, const char *why)
{
	struct http_engine *e = f->e;
	struct http_exchange *ex = f->ex;
	struct reply r = { .status = status, .minor = 1 };

	if (status == 408)
		e->stats.n_slow++;
	else
		e->stats.n_bad++;
	if (status == 405)
		r.fields = SLICE(ALLOWED);
	e->ops->refused(e->arg, f, code, status, why);
	if (f->s && f->end == FRONT_LIVES && (!ex || !ex->status)) {
		if (ex && ex->head->method == HTTP_HEAD)
			r.is_head = true;
		if (!print_reply_error(f, &r, why))
			status = 0;
		if (ex)
			ex->status = status;
		else if (status)
			e->stats.n_by_class[status / 100]++;
	}
	front_end(f, FRONT_CLOSES, why);
}

/* --- what comes and goes --- */
void front_sending(struct http_front *f)
{
	if (f->take_watched && evbuffer_get_length(stream_out(f->s)) > 0)
		return;
	front_watch_take(f);
}

void front_sent(struct http_front *f, size_t n)
{
	f->conn.tx_bytes += n;
	if (f->ex)
		f->ex->conn.tx_bytes += n;
	f->grown = true;
}

void front_got(struct http_front *f, size_t n)
{
	f->conn.rx_bytes += n;
	if (f->ex)
		f->ex->conn.rx_bytes += n;
	f->consumed = true;
}

bool front_is_last(const struct http_front *f)
{
	uint32_t max = f->e->conf.max_requests;

	return f->e->draining || (max > 0 && f->n_requests >= max);
}

/* --- the next request --- */

/* What the engine itself does not let through. */
static bool request_is_refused(struct http_front *f, const struct http_head *h)
{
	const struct http_engine_conf *c = &f->e->conf;

	if (h->method == HTTP_TRACE)
		front_refuse(f, "http.method", 405, "TRACE is not allowed");
	else if (h->method == HTTP_CONNECT)
		front_refuse(f, "http.method", 501, "CONNECT is not offered");
	else if (http_find(h, HTTP_F_UPGRADE) && h->body != HTTP_BODY_NONE)
		/* Whoever switches would read the body as the new protocol, or the other way. */
		front_refuse(f, "http.bad-request", 400, "Upgrade with a body");
	else if (c->max_body && h->body == HTTP_BODY_LENGTH && h->content_length > c->max_body)
		front_refuse(f, "http.too-big", 413, "body over the limit");
	else
		return false;
	return true;
}

static void front_request(struct http_front *f, const char *bytes)
{
	struct http_engine *e = f->e;
	const struct http_head *h = &e->scratch;
	struct http_exchange *ex;
	const char *why;

	if (request_is_refused(f, h))
		return;
	f->n_requests++;
	ex = exchange_new(f, bytes, &why);
	if (!ex) {
		front_refuse(f, "http.no-room", 503, why);
		return;
	}
	evbuffer_drain(stream_in(f->s), h->n_bytes);
	front_got(f, h->n_bytes);
	f->scanned = 0;
	f->head_since_ms = -1;
	f->conn.state = "request";
	f->again = true;
	e->stats.n_requests++;
	e->ops->request(e->arg, ex);
}

static enum http_parse front_parse(struct http_front *f, struct slice *bytes, int *status,
				   const char **why)
{
	struct http_engine *e = f->e;
	struct evbuffer *in = stream_in(f->s);
	size_t n = 0, max = e->conf.limits.max_head + HEAD_SLACK;
	enum http_parse r;

	for (;;) {
		*bytes = evbuffer_head(in, n);
		if (!bytes->p) {
			*status = 503;
			*why = "out of memory";
			return HTTP_BAD;
		}
		r = http_request_parse(*bytes, &e->conf.limits, &f->scanned, &e->scratch, status,
				       why);
		n = r == HTTP_MORE ? evbuffer_more(in, bytes->n, max) : 0;
		if (n == 0)
			break;
	}
	if (r == HTTP_MORE && bytes->n >= max) {
		*status = 431;
		*why = "request head too big";
		return HTTP_BAD;
	}
	return r;
}

static void front_next(struct http_front *f)
{
	struct slice bytes;
	const char *why;
	int status;

	/* A client that asks and asks and takes no answer waits. */
	if (stream_is_full(f->s))
		return;
	if (evbuffer_get_length(stream_in(f->s)) == 0) {
		if (stream_eof(f->s))
			front_end(f, FRONT_CLOSES, "closed by client");
		else if (f->e->draining)
			front_end(f, FRONT_CLOSES, "shutting down");
		return;
	}
	if (f->head_since_ms < 0)
		f->head_since_ms = f->e->timers->now_ms;
	switch (front_parse(f, &bytes, &status, &why)) {
	case HTTP_OK:
		front_request(f, bytes.p);
		break;
	case HTTP_BAD:
		front_refuse(f, "http.bad-request", status, why);
		break;
	case HTTP_MORE:
		if (stream_eof(f->s))
			front_end(f, FRONT_CLOSES, "closed by client within a head");
		break;
	}
}

/* --- the engine room --- */

/* The streams work only here, when no step is under way: they may call back at once. */
static void front_io(struct http_front *f)
{
	if (f->s && f->consumed) {
		f->consumed = false;
		stream_consumed(f->s);
	}
	if (f->s && f->grown) {
		f->grown = false;
		stream_flush(f->s);
	}
	if (f->back && f->back->s && f->back->consumed) {
		f->back->consumed = false;
		stream_consumed(f->back->s);
	}
	if (f->back && f->back->s && f->back->grown) {
		f->back->grown = false;
		stream_flush(f->back->s);
	}
}

void front_run(struct http_front *f)
{
	if (f->running) {
		f->again = true;
		return;
	}
	f->running = true;
	do {
		f->again = false;
		if (f->end == FRONT_LIVES) {
			if (f->ex)
				exchange_step(f->ex);
			else
				front_next(f);
		}
		if (!f->again && f->end == FRONT_LIVES)
			front_io(f);
	} while (f->again && f->end == FRONT_LIVES);
	/* Still running: what the last callbacks ask for must not free it twice. */
	if (f->end != FRONT_LIVES) {
		front_free(f);
		return;
	}
	f->running = false;
	front_arm(f);
}

static void front_moved(void *arg)
{
	front_run(arg);
}

static void front_closed(void *arg, enum stream_end end, const char *why)
{
	struct http_front *f = arg;

	f->s = NULL;
	front_end(f, FRONT_CLOSES, end == STREAM_END_EOF ? "closed by client" : why);
	front_run(f);
}

static const struct stream_handler front_handler = {
	.readable = front_moved,
	.writable = front_moved,
	.closed = front_closed,
};

/* --- its owner's side --- */
static void conn_close(struct conn *c, const char *reason)
{
	http_front_close(CONTAINER_OF(c, struct http_front, conn), reason);
}

struct http_front *http_front_new(struct http_engine *e, struct stream *s, const struct conn *like)
{
	struct http_front *f = calloc(1, sizeof(*f));

	if (!f)
		goto refuse;
	f->e = e;
	f->conn.kind = CONN_HTTP;
	f->conn.transport = like->transport;
	f->conn.local = like->local;
	f->conn.remote = like->remote;
	f->conn.parent = like->parent;
	f->conn.state = "idle";
	f->conn.close = conn_close;
	slice_copy(f->conn.zone, sizeof(f->conn.zone), slice_of(like->zone));
	if (conn_add(e->conns, &f->conn) < 0)
		goto refuse;
	f->s = s;
	f->idle_since_ms = e->timers->now_ms;
	f->head_since_ms = -1;
	timer_init(&f->timer, front_late, f);
	list_add_tail(&e->fronts, &f->node);
	e->stats.n_fronts++;
	stream_set_handler(s, &front_handler, f);
	/* Bytes may be there already, but nobody knows f yet: they are read when the timer, due at
	 * once, comes. */
	if (evbuffer_get_length(stream_in(s)) > 0 || stream_eof(s) || e->draining)
		timer_start(e->timers, &f->timer, 0);
	else
		front_arm(f);
	return f;

refuse:
	free(f);
	stream_close(s);
	return NULL;
}

struct conn *http_front_conn(struct http_front *f)
{
	return &f->conn;
}

void http_front_set_arg(struct http_front *f, void *arg)
{
	f->arg = arg;
}

void *http_front_arg(const struct http_front *f)
{
	return f->arg;
}

void http_front_close(struct http_front *f, const char *why)
{
	front_end(f, FRONT_CLOSES, why);
	front_run(f);
}
