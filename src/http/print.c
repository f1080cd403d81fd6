/* The heads that go out: what of a head is passed on, and what is ours to say. */
#include <stdio.h>

#include "core/iso_time.h"
#include "http/http_impl.h"

/* A body of our own up to this goes into one piece with its head. */
#define ONE_PIECE_BYTES (16 * 1024)

/* --- fields of ours --- */
static void print_date(struct http_engine *e, struct buf *out)
{
	int64_t now_s = iso_time_now_s();

	if (now_s != e->date_s) {
		http_date(e->date, now_s);
		e->date_s = now_s;
	}
	buf_add_str(out, "Date: ");
	buf_add_str(out, e->date);
	buf_add_str(out, "\r\n");
}

static bool print_via(const struct http_engine *e, int minor, struct buf *out)
{
	char text[160];

	if (!e->conf.via)
		return true;
	snprintf(text, sizeof(text), "1.%d %s", minor, e->conf.via);
	return http_print_field(out, SLICE("Via"), slice_of(text));
}

/* RFC 9112 9.3: 1.1 stays, 1.0 closes, unless something is said. */
static void print_connection(bool keep, int minor, struct buf *out)
{
	if (!keep)
		buf_add_str(out, "Connection: close\r\n");
	else if (minor < 1)
		buf_add_str(out, "Connection: keep-alive\r\n");
}

/* --- fields that are passed on --- */
static bool is_engines(const struct http_field *f)
{
	if (f->hop_by_hop)
		return true;
	switch (f->id) {
	case HTTP_F_HOST:
	case HTTP_F_CONTENT_LENGTH:
	case HTTP_F_TRANSFER_ENCODING:
	case HTTP_F_CONNECTION:
	case HTTP_F_KEEP_ALIVE:
	case HTTP_F_PROXY_CONNECTION:
	case HTTP_F_PROXY_AUTHORIZATION:
	case HTTP_F_PROXY_AUTHENTICATE:
	case HTTP_F_TE:
	case HTTP_F_TRAILER: /* trailers are not passed on */
	case HTTP_F_UPGRADE:
	case HTTP_F_EXPECT:
		return true;
	default:
		return false;
	}
}

static bool is_hearsay(const struct http_field *f)
{
	return f->id == HTTP_F_X_FORWARDED || f->id == HTTP_F_FORWARDED ||
	       f->id == HTTP_F_X_REAL_IP || f->id == HTTP_F_TURNPIKE;
}

static bool request_field(struct http_exchange *ex, const struct http_field *f)
{
	const struct http_forward *fwd = &ex->fwd;

	if (is_engines(f))
		return false;
	return fwd->keep ? fwd->keep(fwd->arg, ex, f) : !is_hearsay(f);
}

static bool answer_field(struct http_exchange *ex, const struct http_field *f)
{
	const struct http_forward *fwd = &ex->fwd;

	if (is_engines(f))
		return false;
	return fwd->keep_response ? fwd->keep_response(fwd->arg, ex, f) : f->id != HTTP_F_TURNPIKE;
}

static bool print_fields(struct http_exchange *ex, const struct http_head *h,
			 bool (*passes)(struct http_exchange *ex, const struct http_field *f),
			 struct buf *out)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];

		if (passes(ex, f) && !http_print_field(out, f->name, f->value))
			return false;
	}
	return true;
}

/* --- requests --- */
bool print_request(struct http_exchange *ex, const struct http_forward *fwd)
{
	struct http_engine *e = ex->f->e;
	const struct http_head *h = ex->head;
	struct buf *out = &e->out;

	buf_reset(out);
	if (!http_print_request_line(out, h->method_text, fwd->target) ||
	    !http_print_field(out, SLICE("Host"), fwd->host) ||
	    !print_fields(ex, h, request_field, out) || !print_via(e, h->minor, out))
		return false;
	buf_add_slice(out, fwd->fields);
	if (h->body == HTTP_BODY_LENGTH)
		http_print_length(out, h->content_length);
	else if (h->body == HTTP_BODY_CHUNKED)
		http_print_chunked(out);
	if (ex->waits_for_go)
		buf_add_str(out, "Expect: 100-continue\r\n");
	ex->upgrade_asked = fwd->allow_upgrade && upgrade_is_asked(h);
	if (ex->upgrade_asked)
		buf_add_str(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
	else if (fwd->key.n == 0)
		buf_add_str(out, "Connection: close\r\n");
	http_print_end(out);
	return !out->failed;
}

/* --- answers --- */
static bool print_status(const struct http_head *h, struct buf *out)
{
	return http_print_status_line(out, h->status, h->reason) ||
	       http_print_status_line(out, h->status, slice_of(http_reason(h->status)));
}

bool print_interim(struct http_exchange *ex, const struct http_head *h)
{
	struct buf *out = &ex->f->e->out;

	buf_reset(out);
	if (!print_status(h, out) || (h->status != 100 && !print_fields(ex, h, answer_field, out)))
		return false;
	http_print_end(out);
	return !out->failed;
}

/* How the body ends for the client. The answer to HEAD, and 304, tell the length of what they do
 * not carry (RFC 9110 8.6). */
static bool print_framing(const struct http_exchange *ex, const struct http_head *h,
			  struct buf *out)
{
	const struct http_field *length = http_find(h, HTTP_F_CONTENT_LENGTH);

	if (ex->chunked)
		http_print_chunked(out);
	else if (h->body == HTTP_BODY_LENGTH)
		http_print_length(out, h->content_length);
	else if (h->body == HTTP_BODY_NONE && length && h->status >= 200 && h->status != 204)
		return http_print_field(out, SLICE("Content-Length"), length->value);
	return true;
}

bool print_answer(struct http_exchange *ex, const struct http_head *h)
{
	struct http_engine *e = ex->f->e;
	struct buf *out = &e->out;

	buf_reset(out);
	if (!print_status(h, out) || !print_fields(ex, h, answer_field, out) ||
	    !print_via(e, h->minor, out) || !print_framing(ex, h, out))
		return false;
	if (!http_find(h, HTTP_F_DATE))
		print_date(e, out);
	if (e->extra.failed)
		return false;
	buf_add_slice(out, buf_slice(&e->extra));
	if (h->status == 101)
		buf_add_str(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
	else
		print_connection(ex->keep, ex->head->minor, out);
	http_print_end(out);
	return !out->failed;
}

static bool print_reply_head(struct http_engine *e, const struct reply *r)
{
	struct buf *out = &e->out;
	bool bodiless = r->status == 204 || r->status == 304;

	buf_reset(out);
	if (!http_print_status_line(out, r->status, slice_of(http_reason(r->status))))
		return false;
	print_date(e, out);
	if (e->conf.server && !http_print_field(out, SLICE("Server"), slice_of(e->conf.server)))
		return false;
	if (r->content_type && r->body.n > 0 &&
	    !http_print_field(out, SLICE("Content-Type"), slice_of(r->content_type)))
		return false;
	buf_add_slice(out, r->fields);
	if (!bodiless)
		http_print_length(out, r->body.n);
	print_connection(r->keep, r->minor, out);
	http_print_end(out);
	return !out->failed;
}

bool print_reply(struct http_front *f, const struct reply *r)
{
	struct evbuffer *to = stream_out(f->s);
	struct buf *out = &f->e->out;
	bool body = r->body.n > 0 && !r->is_head && r->status != 204 && r->status != 304;
	size_t before = evbuffer_get_length(to);

	if (!print_reply_head(f->e, r))
		return false;
	if (body && r->body.n <= ONE_PIECE_BYTES) {
		buf_add_slice(out, r->body);
		body = false;
	}
	front_sending(f);
	if (out->failed || evbuffer_add(to, out->p, out->n) < 0 ||
	    (body && evbuffer_add(to, r->body.p, r->body.n) < 0))
		return false;
	front_sent(f, evbuffer_get_length(to) - before);
	return true;
}

bool print_reply_error(struct http_front *f, struct reply *r, const char *why)
{
	char text[HTTP_WHY_BYTES + 80];
	int n = snprintf(text, sizeof(text), "%d %s: %s\n", r->status, http_reason(r->status), why);

	r->content_type = "text/plain; charset=utf-8";
	r->body = (struct slice){ text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1 };
	return print_reply(f, r);
}
