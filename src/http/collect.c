/* Bodies of requests that a handler of ours looks into: gathered, never forwarded. */
#include "http/http_impl.h"

#define GO_ON "HTTP/1.1 100 Continue\r\n\r\n"

static void hand_over(struct http_exchange *ex, int status)
{
	struct evbuffer *bytes = ex->collected;
	size_t n = status ? 0 : evbuffer_get_length(bytes);
	struct slice body = { n ? (const char *)evbuffer_pullup(bytes, -1) : "", n };

	if (!body.p) {
		front_end(ex->f, FRONT_CLOSES, "out of memory");
		return;
	}
	ex->collected = NULL;
	exchange_set_state(ex, EX_WAITING);
	ex->f->again = true;
	ex->collect_done(ex->collect_arg, ex, status, body);
	evbuffer_free(bytes);
}

static bool go_on(struct http_exchange *ex)
{
	struct http_front *f = ex->f;

	ex->waits_for_go = false;
	front_sending(f);
	if (evbuffer_add(stream_out(f->s), GO_ON, sizeof(GO_ON) - 1) < 0) {
		front_end(f, FRONT_CLOSES, "out of memory");
		return false;
	}
	front_sent(f, sizeof(GO_ON) - 1);
	return true;
}

void collect_step(struct http_exchange *ex)
{
	const struct body_sink sink = { .to = ex->collected };
	struct http_front *f = ex->f;
	const char *why;
	size_t n;

	if (ex->asked_over) {
		hand_over(ex, 0);
		return;
	}
	if (ex->asked.kind == HTTP_BODY_LENGTH &&
	    ex->asked.n_total + ex->asked.left > ex->collect_max) {
		hand_over(ex, 413);
		return;
	}
	if (ex->waits_for_go && !go_on(ex))
		return;
	switch (body_move(&ex->asked, stream_in(f->s), &sink, ex->collect_max, &n, &why)) {
	case BODY_END:
		front_got(f, n);
		ex->asked_over = true;
		hand_over(ex, 0);
		break;
	case BODY_BIG:
		front_got(f, n);
		/* The reader is ahead of the bytes: nobody reads on here. */
		ex->keep = false;
		hand_over(ex, 413);
		break;
	case BODY_BAD:
		front_refuse(f, "http.bad-request", 400, why);
		break;
	case BODY_FULL:
	case BODY_WAIT:
		front_got(f, n);
		ex->rate_n += n;
		if (stream_eof(f->s))
			front_end(f, FRONT_CLOSES, "client went away within the body");
		break;
	}
}

void http_collect(struct http_exchange *ex, uint64_t max, http_collected done, void *arg)
{
	struct http_front *f = ex->f;

	if (ex->state != EX_WAITING || ex->status || f->end != FRONT_LIVES || !f->s)
		return;
	ex->collected = evbuffer_new();
	if (!ex->collected) {
		front_end(f, FRONT_CLOSES, "out of memory");
		front_run(f);
		return;
	}
	ex->collect_max = max;
	ex->collect_done = done;
	ex->collect_arg = arg;
	ex->rate_since_ms = f->e->timers->now_ms;
	ex->rate_n = 0;
	exchange_set_state(ex, EX_COLLECTING);
	front_run(f);
}
