/*
 * Relaying: the request's body one way, the answer the other. Bodies are cut out of one framing and
 * put into a new one; a side that is full stops the reading of its source.
 */
#include "http/http_impl.h"

#include <string.h>

/* --- evbuffers as the parsers want them --- */
struct slice evbuffer_head(struct evbuffer *in, size_t n)
{
	size_t have = evbuffer_get_contiguous_space(in), len = evbuffer_get_length(in);

	/* There may be empty room in front. */
	if (have == 0)
		have = 4096;
	if (n < have)
		n = have;
	if (n > len)
		n = len;
	return (struct slice){ (const char *)evbuffer_pullup(in, (ev_ssize_t)n), n };
}

size_t evbuffer_more(struct evbuffer *in, size_t have, size_t max)
{
	size_t len = evbuffer_get_length(in), n = have * 2 > 4096 ? have * 2 : 4096;

	if (len <= have || have >= max)
		return 0;
	n = n < max ? n : max;
	return n < len ? n : len;
}

/* --- bodies --- */
static bool move_data(struct evbuffer *in, const struct body_sink *sink, size_t n)
{
	char line[24];
	size_t n_line;

	if (!sink)
		return evbuffer_drain(in, n) == 0;
	if (!sink->chunked)
		return evbuffer_remove_buffer(in, sink->to, n) == (int)n;
	n_line = http_print_chunk_size(line, sizeof(line), n);
	return evbuffer_add(sink->to, line, n_line) == 0 &&
	       evbuffer_remove_buffer(in, sink->to, n) == (int)n &&
	       evbuffer_add(sink->to, "\r\n", 2) == 0;
}

static bool end_body(const struct body_sink *sink)
{
	return !sink || !sink->chunked ||
	       evbuffer_add(sink->to, HTTP_LAST_CHUNK, strlen(HTTP_LAST_CHUNK)) == 0;
}

enum body_move body_move(struct http_body_reader *r, struct evbuffer *in,
			 const struct body_sink *sink, uint64_t max, size_t *n_read,
			 const char **why)
{
	size_t before = in ? evbuffer_get_length(in) : 0, n = 0;
	enum body_move result = BODY_WAIT;
	struct http_body_part part;
	struct slice bytes;

	*n_read = 0;
	*why = "out of memory";
	while (in && result == BODY_WAIT) {
		if (sink && sink->paced_by && stream_is_full(sink->paced_by)) {
			result = BODY_FULL;
			break;
		}
		bytes = evbuffer_head(in, n);
		if (bytes.n == 0)
			break;
		part = http_body_next(r, bytes);
		if (part.bad)
			*why = part.why;
		if (part.bad || evbuffer_drain(in, part.skip) < 0)
			result = BODY_BAD;
		else if (max && r->n_total > max)
			result = BODY_BIG;
		else if (part.data && !move_data(in, sink, part.data))
			result = BODY_BAD;
		else if (part.end)
			result = end_body(sink) ? BODY_END : BODY_BAD;
		/* What a piece too small says nothing about may be said by a longer one. */
		n = part.skip || part.data ? 0 : evbuffer_more(in, bytes.n, SIZE_MAX / 4);
		if (n == 0 && !part.skip && !part.data)
			break;
	}
	if (in)
		*n_read = before - evbuffer_get_length(in);
	return result;
}

/* --- the request's body --- */
static bool body_refused(struct http_exchange *ex, enum body_move moved, const char *why)
{
	struct http_front *f = ex->f;

	if (ex->status)
		front_end(f, FRONT_CLOSES, why);
	else if (moved == BODY_BIG)
		front_refuse(f, "http.too-big", 413, "body over the limit");
	else
		front_refuse(f, "http.bad-request", 400, why);
	return false;
}

/* False when the exchange is over by it. */
static bool send_body(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	struct http_back *b = f->back;
	struct body_sink sink;
	enum body_move moved;
	const char *why;
	size_t n;

	if (ex->asked_over || !b->s)
		return true;
	sink = (struct body_sink){ stream_out(b->s), b->s, ex->asked.kind == HTTP_BODY_CHUNKED };
	moved = body_move(&ex->asked, stream_in(f->s), &sink, f->e->conf.max_body, &n, &why);
	if (n > 0) {
		front_got(f, n);
		ex->body_sent = true;
		if (ex->waits_for_go)
			ex->rate_since_ms = f->e->timers->now_ms;
		ex->waits_for_go = false;
		ex->rate_n += n;
		ex->since_ms = f->e->timers->now_ms;
		b->grown = true;
	}
	switch (moved) {
	case BODY_END:
		ex->asked_over = true;
		break;
	case BODY_FULL:
		ex->rate_excused = true;
		break;
	case BODY_WAIT:
		if (!stream_eof(f->s))
			break;
		front_end(f, FRONT_CLOSES, "client went away within the body");
		return false;
	case BODY_BAD:
	case BODY_BIG:
		return body_refused(ex, moved, why);
	}
	return true;
}

/* --- the answer's head --- */
static bool send_head(struct http_exchange *ex, bool printed)
{
	struct http_front *f = ex->f;
	struct buf *out = &f->e->out;

	front_sending(f);
	if (!printed || evbuffer_add(stream_out(f->s), out->p, out->n) < 0) {
		front_end(f, FRONT_CLOSES, "answer cannot be passed on");
		return false;
	}
	front_sent(f, out->n);
	return true;
}

/* RFC 9110 15.2: HTTP/1.0 knows no interim answers; those we do not know are not passed on. */
static bool interim(struct http_exchange *ex, const struct http_head *h)
{
	struct http_front *f = ex->f;

	if (++ex->n_interim > HTTP_MAX_INTERIM) {
		back_failed(ex, 502, "too many interim answers");
		return false;
	}
	if ((h->status != 100 && h->status != 103) || ex->head->minor < 1)
		return true;
	if (h->status == 100 && ex->waits_for_go) {
		ex->waits_for_go = false;
		ex->rate_since_ms = f->e->timers->now_ms;
		ex->rate_n = 0;
	}
	return send_head(ex, print_interim(ex, h));
}

static void choose_framing(struct http_exchange *ex, const struct http_head *h)
{
	struct http_front *f = ex->f;
	struct http_back *b = f->back;
	bool unknown = h->body == HTTP_BODY_CHUNKED || h->body == HTTP_BODY_UNTIL_CLOSE;

	http_body_init(&ex->answered, h);
	ex->chunked = unknown && ex->head->minor >= 1;
	ex->until_close = unknown && !ex->chunked;
	/* An answer before the whole question: what the server does with the rest is not known. */
	if (!ex->asked_over || !b->s || evbuffer_get_length(stream_out(b->s)) > 0) {
		b->spoiled = true;
		ex->keep = false;
	}
	if (!h->keep_alive)
		b->spoiled = true;
	if (ex->until_close || front_is_last(f))
		ex->keep = false;
	ex->answer_over = h->body == HTTP_BODY_NONE ||
			  (h->body == HTTP_BODY_LENGTH && h->content_length == 0);
}

/* False: something else became of it. */
static bool final(struct http_exchange *ex, const struct http_head *h)
{
	struct http_front *f = ex->f;
	struct http_engine *e = f->e;
	enum http_response_verdict verdict = HTTP_RESPONSE_PASS;

	if (h->status == 101 && !upgrade_fits(ex, h)) {
		back_failed(ex, 502, "server switched protocols without being asked");
		return false;
	}
	buf_reset(&e->extra);
	if (ex->fwd.response)
		verdict = ex->fwd.response(ex->fwd.arg, ex, h, &e->extra);
	if (f->end != FRONT_LIVES || ex->state != EX_RELAYING)
		return false;
	if (verdict == HTTP_RESPONSE_REPLACE) {
		http_reply_error(ex, 502, SLICE_NONE, "answer was not let through");
		return false;
	}
	if (h->status != 101)
		choose_framing(ex, h);
	if (!send_head(ex, print_answer(ex, h)))
		return false;
	ex->status = h->status;
	ex->answering = true;
	ex->since_ms = f->e->timers->now_ms;
	return true;
}

static enum http_parse parse_answer(struct http_exchange *ex, const char **why)
{
	struct http_engine *e = ex->f->e;
	struct http_back *b = ex->f->back;
	size_t n = 0, max = e->conf.limits.max_head + 16;
	struct slice bytes;
	enum http_parse r;

	for (;;) {
		bytes = evbuffer_head(back_in(b), n);
		if (!bytes.p) {
			*why = "out of memory";
			return HTTP_BAD;
		}
		r = http_response_parse(bytes, &e->conf.limits, &b->scanned, ex->head->method,
					&e->scratch, why);
		n = r == HTTP_MORE ? evbuffer_more(back_in(b), bytes.n, max) : 0;
		if (n == 0)
			break;
	}
	if (r == HTTP_MORE && bytes.n >= max) {
		*why = "head of the answer too big";
		return HTTP_BAD;
	}
	return r;
}

/* True when the final head went out. */
static bool take_answer(struct http_exchange *ex)
{
	struct http_engine *e = ex->f->e;
	struct http_back *b = ex->f->back;
	const struct http_head *h = &e->scratch;
	const char *why;
	bool more = true;

	while (more && back_in(b) && evbuffer_get_length(back_in(b)) > 0) {
		enum http_parse r = parse_answer(ex, &why);

		if (r == HTTP_MORE)
			break;
		if (r == HTTP_BAD) {
			back_failed(ex, 502, why);
			return false;
		}
		more = h->status < 200 && h->status != 101;
		if (more ? !interim(ex, h) : !final(ex, h))
			return false;
		evbuffer_drain(back_in(b), h->n_bytes);
		b->scanned = 0;
		b->consumed = true;
	}
	if (more && back_eof(b))
		back_lost(ex);
	return !more;
}

/* --- the answer's body --- */
static void answer_is_over(struct http_exchange *ex)
{
	ex->answer_over = true;
	back_release(ex->f, true);
	exchange_over(ex);
}

static bool ended_cleanly(const struct http_back *b)
{
	return b->s ? stream_eof(b->s) : b->end == STREAM_END_EOF;
}

static void pass_answer(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	struct http_back *b = f->back;
	struct body_sink sink = { stream_out(f->s), f->s, ex->chunked };
	enum body_move moved = BODY_END;
	size_t before = evbuffer_get_length(stream_out(f->s)), n;
	const char *why;

	if (!ex->answer_over) {
		front_sending(f);
		moved = body_move(&ex->answered, back_in(b), &sink, 0, &n, &why);
		if (moved == BODY_WAIT && ex->answered.kind == HTTP_BODY_UNTIL_CLOSE &&
		    back_eof(b) && ended_cleanly(b))
			moved = end_body(&sink) ? BODY_END : BODY_BAD;
		front_sent(f, evbuffer_get_length(stream_out(f->s)) - before);
		b->consumed = true;
		if (n > 0 || ex->silence_excused)
			ex->since_ms = f->e->timers->now_ms;
		ex->silence_excused = moved == BODY_FULL;
	}
	if (moved == BODY_END)
		answer_is_over(ex);
	else if (moved == BODY_BAD || (moved == BODY_WAIT && back_eof(b)))
		back_lost(ex);
}

void relay_step(struct http_exchange *ex)
{
	if (!send_body(ex))
		return;
	if (!ex->answering && !take_answer(ex))
		return;
	if (ex->status == 101)
		upgrade_start(ex);
	else
		pass_answer(ex);
}
