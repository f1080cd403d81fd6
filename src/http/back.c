/*
 * Forwarding: the back connection of a front. It is used again only for the same key, and only
 * while nothing about it is in doubt.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_impl.h"

/* --- the connection --- */
struct evbuffer *back_in(const struct http_back *b)
{
	return b->s ? stream_in(b->s) : b->rest;
}

bool back_eof(const struct http_back *b)
{
	return b->over || (b->s && stream_eof(b->s));
}

static void back_reset(struct http_back *b, bool now)
{
	if (b->s && now)
		stream_abort(b->s);
	else
		stream_close(b->s);
	b->s = NULL;
	if (b->rest)
		evbuffer_free(b->rest);
	b->rest = NULL;
	b->open = b->over = b->spoiled = b->consumed = b->grown = false;
	b->scanned = 0;
	b->why[0] = '\0';
}

void back_drop(struct http_front *f, bool now)
{
	struct http_back *b = f->back;

	if (!b)
		return;
	f->back = NULL;
	back_reset(b, now);
	free(b);
}

static struct http_back *back_new(struct http_front *f, struct slice key)
{
	struct http_back *b = calloc(1, sizeof(*b) + key.n);

	if (!b)
		return NULL;
	b->f = f;
	b->n_key = key.n;
	if (key.n)
		memcpy(b->key, key.p, key.n);
	return b;
}

/* Nothing came since the last answer, and it is still there. */
static bool back_fits(const struct http_back *b, struct slice key)
{
	return b->s && b->open && !b->spoiled && b->n_key > 0 && !stream_eof(b->s) &&
	       evbuffer_get_length(stream_in(b->s)) == 0 &&
	       slice_eq(key, (struct slice){ b->key, b->n_key });
}

void back_release(struct http_front *f, bool reusable)
{
	struct http_back *b = f->back;

	b->in_use = false;
	b->scanned = 0;
	if (!reusable || !back_fits(b, (struct slice){ b->key, b->n_key }))
		back_drop(f, false);
}

static void back_opened(void *arg)
{
	struct http_back *b = arg;

	b->open = true;
	front_run(b->f);
}

static void back_readable(void *arg)
{
	struct http_back *b = arg;

	/* An answer that nobody asked for, or the end. */
	if (!b->in_use)
		back_drop(b->f, false);
	else
		front_run(b->f);
}

static void back_writable(void *arg)
{
	struct http_back *b = arg;

	front_run(b->f);
}

static void back_closed(void *arg, enum stream_end end, const char *why)
{
	struct http_back *b = arg;
	struct stream *s = b->s;

	b->s = NULL;
	b->over = true;
	b->end = end;
	snprintf(b->why, sizeof(b->why), "%s", why);
	if (!b->in_use) {
		back_drop(b->f, false);
		return;
	}
	/* The client may be too slow to take the last of it now. */
	if (evbuffer_get_length(stream_in(s)) > 0) {
		b->rest = evbuffer_new();
		if (!b->rest || evbuffer_add_buffer(b->rest, stream_in(s)) < 0)
			b->end = STREAM_END_ERROR;
	}
	front_run(b->f);
}

static const struct stream_handler back_handler = {
	.opened = back_opened,
	.readable = back_readable,
	.writable = back_writable,
	.closed = back_closed,
};

/* --- failures --- */
void back_failed(struct http_exchange *ex, int status, const char *why)
{
	struct http_front *f = ex->f;
	char text[HTTP_WHY_BYTES];

	/* why may be the back connection's own. */
	snprintf(text, sizeof(text), "%s", why);
	back_drop(f, true);
	if (ex->fwd.failed)
		ex->fwd.failed(ex->fwd.arg, ex, status, text);
	if (ex->status == 0 && f->end == FRONT_LIVES)
		http_reply_error(ex, status, SLICE_NONE, text);
}

void back_silent(struct http_exchange *ex)
{
	front_end(ex->f, FRONT_CLOSES, "server went silent within its answer");
}

/* It never stood, so that nothing of the request can have been seen by anybody. */
static bool may_connect_again(const struct http_exchange *ex)
{
	const struct http_back *b = ex->f->back;

	return b->over && !b->open && !ex->body_sent && ex->n_connects < ex->fwd.max_connects;
}

static bool may_retry(const struct http_exchange *ex)
{
	const struct http_back *b = ex->f->back;

	if (b->over && (b->end == STREAM_END_REFUSED || b->end == STREAM_END_TIMEOUT))
		return false;
	return !ex->retried && ex->n_interim == 0 && !ex->body_sent &&
	       http_method_is_idempotent(ex->head->method);
}

static void connect_again(struct http_exchange *ex)
{
	back_reset(ex->f->back, true);
	exchange_set_state(ex, EX_CONNECTING);
	ex->f->again = true;
}

void back_lost(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	struct http_back *b = f->back;
	const struct evbuffer *in = back_in(b);
	bool silent = !in || evbuffer_get_length(in) == 0;

	if (ex->answering) {
		/* Visible: no last chunk, fewer bytes than announced, or a reset. */
		front_end(f, FRONT_CLOSES, "server closed within its answer");
	} else if (silent && may_connect_again(ex)) {
		connect_again(ex);
	} else if (silent && may_retry(ex)) {
		ex->retried = true;
		f->e->stats.n_retried++;
		connect_again(ex);
	} else if (b->over && b->end == STREAM_END_TIMEOUT) {
		back_failed(ex, 504, b->why);
	} else if (!silent) {
		back_failed(ex, 502, "server closed within the head of its answer");
	} else {
		back_failed(ex, 502, b->why[0] ? b->why : "server closed without an answer");
	}
}

/* --- connecting --- */

/* Before it is open this waits there. */
static bool back_ask(struct http_exchange *ex)
{
	struct http_back *b = ex->f->back;

	if (evbuffer_add(stream_out(b->s), ex->request, ex->n_request) < 0)
		return false;
	b->grown = true;
	return true;
}

static bool back_connect(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	struct http_back *b = f->back;
	const char *why = "connection failed";
	int error = 0;

	ex->n_connects++;
	b->s = ex->fwd.connect(ex->fwd.arg, ex, &back_handler, b, &error, &why);
	if (f->end != FRONT_LIVES || ex->state != EX_CONNECTING)
		return false;
	if (!b->s) {
		back_failed(ex, 502, why);
		return false;
	}
	stream_set_handler(b->s, &back_handler, b);
	b->open = b->s->state == STREAM_OPEN;
	if (!back_ask(ex)) {
		back_failed(ex, 502, "out of memory");
		return false;
	}
	return true;
}

static void back_is_open(struct http_exchange *ex)
{
	exchange_set_state(ex, EX_RELAYING);
	ex->rate_since_ms = ex->since_ms;
	ex->rate_n = 0;
	ex->rate_excused = false;
	ex->f->again = true;
}

void back_step(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	struct http_back *b = f->back;

	if (!b->s && !b->over && !back_connect(ex))
		return;
	if (b->over)
		back_lost(ex);
	else if (b->open)
		back_is_open(ex);
}

/* Printed at once: the slices of fwd do not live longer. A copy is kept for the retry. */
static bool prepare(struct http_exchange *ex, const struct http_forward *fwd)
{
	struct buf *out = &ex->f->e->out;

	if (!print_request(ex, fwd))
		return false;
	ex->request = malloc(out->n);
	if (!ex->request)
		return false;
	memcpy(ex->request, out->p, out->n);
	ex->n_request = out->n;
	return true;
}

void http_back_set_tag(struct http_exchange *ex, unsigned tag)
{
	if (ex->f->back)
		ex->f->back->tag = tag;
}

void http_forward_abandon(struct http_exchange *ex, const char *why)
{
	struct http_back *b = ex->f->back;

	if ((ex->state != EX_CONNECTING && ex->state != EX_RELAYING) || ex->status || !b || !b->s ||
	    evbuffer_get_length(stream_in(b->s)) > 0)
		return;
	stream_abort(b->s);
	b->s = NULL;
	b->over = true;
	b->end = STREAM_END_ERROR;
	snprintf(b->why, sizeof(b->why), "%s", why);
	front_run(ex->f);
}

void http_forward(struct http_exchange *ex, const struct http_forward *fwd)
{
	struct http_front *f = ex->f;

	if (ex->state != EX_WAITING || f->end != FRONT_LIVES)
		return;
	ex->fwd = *fwd;
	ex->fwd.key = ex->fwd.target = ex->fwd.host = ex->fwd.fields = SLICE_NONE;
	if (!prepare(ex, fwd)) {
		back_failed(ex, 502, "request cannot be made");
		return;
	}
	exchange_set_state(ex, EX_CONNECTING);
	if (f->back && !back_fits(f->back, fwd->key))
		back_drop(f, false);
	if (!f->back)
		f->back = back_new(f, fwd->key);
	if (!f->back) {
		back_failed(ex, 502, "out of memory");
		return;
	}
	f->back->in_use = true;
	if (f->back->s && ex->fwd.kept)
		ex->fwd.kept(ex->fwd.arg, ex, f->back->tag);
	if (f->back->s && !back_ask(ex)) {
		back_failed(ex, 502, "out of memory");
		return;
	}
	front_run(f);
}
