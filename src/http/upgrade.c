/* Switched connections (RFC 9110 7.8): after 101 bytes go both ways as they are. */
#include "http/http_impl.h"

/* Nothing but WebSocket: h2c and the like would carry requests past every check. */
static bool is_websocket(const struct http_head *h)
{
	return h->upgrade && slice_caseeq(h->upgrade_to, SLICE("websocket"));
}

bool upgrade_is_asked(const struct http_head *h)
{
	return is_websocket(h) && h->method == HTTP_GET && h->minor >= 1 &&
	       h->body == HTTP_BODY_NONE;
}

bool upgrade_fits(const struct http_exchange *ex, const struct http_head *answer)
{
	return ex->upgrade_asked && is_websocket(answer);
}

void upgrade_start(struct http_exchange *ex)
{
	struct http_engine *e = ex->f->e;

	e->stats.n_upgraded++;
	ex->keep = false;
	exchange_set_state(ex, EX_TUNNELLING);
	ex->f->again = true;
}

static size_t pass(struct evbuffer *in, struct stream *to)
{
	size_t n = in ? evbuffer_get_length(in) : 0;

	if (n == 0 || stream_is_full(to) || evbuffer_add_buffer(stream_out(to), in) < 0)
		return 0;
	return n;
}

/* One side said its last: the other hears it behind the last byte. */
static void pass_end(struct http_exchange *ex, int from, const struct evbuffer *in,
		     struct stream *to)
{
	if (ex->over_asked[from] || (in && evbuffer_get_length(in) > 0))
		return;
	ex->over_asked[from] = true;
	stream_shutdown(to);
}

void upgrade_step(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	struct http_back *b = f->back;
	size_t asked = b->s ? pass(stream_in(f->s), b->s) : 0, answered;

	if (asked > 0) {
		front_got(f, asked);
		b->grown = true;
	}
	answered = pass(back_in(b), f->s);
	if (answered > 0) {
		front_sent(f, answered);
		b->consumed = true;
	}
	if (asked + answered > 0)
		ex->since_ms = f->e->timers->now_ms;
	if (stream_eof(f->s) && b->s)
		pass_end(ex, 0, stream_in(f->s), b->s);
	if (back_eof(b))
		pass_end(ex, 1, back_in(b), f->s);
	/* Without a server there is nobody left to talk to. */
	if (ex->over_asked[1] && (ex->over_asked[0] || b->over))
		front_end(f, FRONT_CLOSES,
			  b->over && b->end == STREAM_END_ERROR ? b->why : "switched and closed");
}
