/* One exchange: from a whole request head to the last byte of its answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_impl.h"

/* --- its head: a copy with the fields that are there, and the bytes behind it --- */
static void move_slice(struct slice *s, const char *from, size_t n, const char *to)
{
	/* Some are static texts ("/" for a path that is not written). */
	if ((uintptr_t)s->p >= (uintptr_t)from && (uintptr_t)s->p <= (uintptr_t)from + n)
		s->p = to + (s->p - from);
}

static size_t head_size(const struct http_head *h)
{
	return offsetof(struct http_head, fields) + h->n_fields * sizeof(h->fields[0]);
}

static void copy_head(struct http_head *to, const struct http_head *h, const char *bytes)
{
	char *text = (char *)to + head_size(h);
	struct slice *slices[] = { &to->method_text, &to->target, &to->scheme, &to->host,
				   &to->path,	     &to->query,  &to->reason, &to->upgrade_to };

	memcpy(to, h, head_size(h));
	memcpy(text, bytes, h->n_bytes);
	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++)
		move_slice(slices[i], bytes, h->n_bytes, text);
	for (size_t i = 0; i < h->n_fields; i++) {
		move_slice(&to->fields[i].name, bytes, h->n_bytes, text);
		move_slice(&to->fields[i].value, bytes, h->n_bytes, text);
	}
}

/* --- its life --- */
static void conn_close(struct conn *c, const char *reason)
{
	http_front_close(CONTAINER_OF(c, struct http_exchange, conn)->f, reason);
}

static int enter(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	struct conn *c = &ex->conn;

	c->kind = CONN_REQUEST;
	c->transport = f->conn.transport;
	c->local = f->conn.local;
	c->remote = f->conn.remote;
	c->parent = f->conn.id;
	c->close = conn_close;
	memcpy(c->session, f->conn.session, sizeof(c->session));
	memcpy(c->user, f->conn.user, sizeof(c->user));
	memcpy(c->zone, f->conn.zone, sizeof(c->zone));
	return conn_add(f->e->conns, c);
}

struct http_exchange *exchange_new(struct http_front *f, const char *bytes, const char **why)
{
	const struct http_head *h = &f->e->scratch;
	struct http_exchange *ex = malloc(sizeof(*ex) + head_size(h) + h->n_bytes);

	if (!ex) {
		*why = "out of memory";
		return NULL;
	}
	memset(ex, 0, sizeof(*ex));
	ex->f = f;
	ex->head = (struct http_head *)(ex + 1);
	copy_head(ex->head, h, bytes);
	exchange_set_state(ex, EX_WAITING);
	if (enter(ex) < 0) {
		free(ex);
		*why = "connection table full";
		return NULL;
	}
	ex->keep = h->keep_alive;
	http_body_init(&ex->asked, h);
	ex->asked_over = h->body == HTTP_BODY_NONE ||
			 (h->body == HTTP_BODY_LENGTH && h->content_length == 0);
	/* An expectation of HTTP/1.0 is not one (RFC 9110 10.1.1). */
	ex->waits_for_go = h->expect_continue && h->minor >= 1 && !ex->asked_over;
	f->ex = ex;
	f->e->n_busy++;
	return ex;
}

void exchange_set_state(struct http_exchange *ex, enum exchange_state state)
{
	static const char *const names[] = {
		[EX_WAITING] = "waiting",    [EX_COLLECTING] = "reading",
		[EX_REPLYING] = "answering", [EX_CONNECTING] = "connecting",
		[EX_RELAYING] = "relaying",  [EX_TUNNELLING] = "switched",
		[EX_OVER] = "over",
	};

	/* Switched connections outlive a drain: they are not what it waits for. */
	if (state == EX_TUNNELLING || (state == EX_OVER && ex->state != EX_TUNNELLING))
		ex->f->e->n_busy--;
	ex->state = state;
	ex->conn.state = names[state];
	ex->since_ms = ex->f->e->timers->now_ms;
}

void exchange_end(struct http_exchange *ex, const char *why)
{
	struct http_front *f = ex->f;
	struct http_engine *e = f->e;
	int class = ex->status / 100;
	char said[CONN_REASON_BYTES], reason[CONN_REASON_BYTES];
	size_t n = 0;

	memcpy(said, ex->conn.reason, sizeof(said));
	if (!*why)
		why = said;
	exchange_set_state(ex, EX_OVER);
	if (class >= 1 && class <= 5)
		e->stats.n_by_class[class]++;
	e->ops->finished(e->arg, ex, ex->status, why);
	if (ex->status) {
		n = slice_u64_print(reason, (uint64_t)ex->status);
		n = slice_append(reason, sizeof(reason), n, *why ? SLICE(", ") : SLICE(""));
	}
	n = slice_append(reason, sizeof(reason), n, slice_of(why));
	conn_end_as(e->conns, &ex->conn, (struct slice){ reason, n });
	f->ex = NULL;
	if (ex->collected)
		evbuffer_free(ex->collected);
	free(ex->request);
	free(ex);
}

void exchange_over(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	bool keep = ex->keep;

	exchange_end(ex, "");
	f->idle_since_ms = f->e->timers->now_ms;
	f->conn.state = "idle";
	f->again = true;
	if (!keep)
		front_end(f, FRONT_CLOSES, "closed after the answer");
}

/* --- its handler's side --- */
const struct http_head *http_exchange_head(const struct http_exchange *ex)
{
	return ex->head;
}

struct http_front *http_exchange_front(const struct http_exchange *ex)
{
	return ex->f;
}

struct conn *http_exchange_conn(struct http_exchange *ex)
{
	return &ex->conn;
}

void http_exchange_set_arg(struct http_exchange *ex, void *arg)
{
	ex->arg = arg;
}

void *http_exchange_arg(const struct http_exchange *ex)
{
	return ex->arg;
}

/* --- own answers --- */

/* May what is left of the request be read away? A client that waits for 100 may send its body or
 * the next request (RFC 9110 10.1.1): nobody knows which, so no. */
static bool rest_is_bounded(const struct http_exchange *ex)
{
	if (ex->asked_over)
		return true;
	return !ex->waits_for_go &&
	       (ex->asked.kind != HTTP_BODY_LENGTH || ex->asked.left <= HTTP_DRAIN_MAX);
}

static bool may_reply(const struct http_exchange *ex)
{
	const struct http_front *f = ex->f;

	return ex->status == 0 && ex->state != EX_OVER && f->end == FRONT_LIVES && f->s;
}

static void reply(struct http_exchange *ex, struct reply *r, const char *error)
{
	struct http_front *f = ex->f;

	if (!may_reply(ex))
		return;
	ex->keep = ex->keep && !front_is_last(f) && rest_is_bounded(ex);
	r->keep = ex->keep;
	r->minor = ex->head->minor;
	r->is_head = ex->head->method == HTTP_HEAD;
	if (error ? print_reply_error(f, r, error) : print_reply(f, r)) {
		ex->status = r->status;
		ex->answer_over = true;
		/* The back connection goes in the next step: its bytes may be being looked at. */
		exchange_set_state(ex, EX_REPLYING);
	} else {
		front_end(f, FRONT_CLOSES, "answer cannot be made");
	}
	front_run(f);
}

void http_reply(struct http_exchange *ex, int status, struct slice fields, const char *content_type,
		struct slice body)
{
	struct reply r = {
		.status = status, .fields = fields, .content_type = content_type, .body = body
	};

	reply(ex, &r, NULL);
}

void http_reply_refusal(struct http_exchange *ex, int status, struct slice fields, const char *said,
			const char *why)
{
	struct reply r = { .status = status, .fields = fields };

	/* conn.reason is written anew at the end: until then it keeps the reason. */
	snprintf(ex->conn.reason, sizeof(ex->conn.reason), "%s", why);
	reply(ex, &r, said);
}

void http_reply_error(struct http_exchange *ex, int status, struct slice fields, const char *why)
{
	http_reply_refusal(ex, status, fields, why, why);
}

/* --- steps --- */

/* The answer is out: what is left of the request is read away. */
static void reply_step(struct http_exchange *ex)
{
	struct http_front *f = ex->f;
	enum body_move moved;
	const char *why;
	size_t n;

	if (f->back && f->back->in_use)
		back_drop(f, true);
	if (ex->keep && !ex->asked_over) {
		moved = body_move(&ex->asked, stream_in(f->s), NULL, 0, &n, &why);
		front_got(f, n);
		ex->n_drained += n;
		if (moved == BODY_WAIT && ex->n_drained <= HTTP_DRAIN_MAX && !stream_eof(f->s))
			return;
		ex->asked_over = moved == BODY_END;
		if (!ex->asked_over || ex->n_drained > HTTP_DRAIN_MAX)
			ex->keep = false;
	}
	exchange_over(ex);
}

/* A client that went away while the handler decides; one that only ended its side may wait. */
static void wait_step(struct http_exchange *ex)
{
	struct http_front *f = ex->f;

	if (!ex->asked_over && ex->asked.kind == HTTP_BODY_LENGTH && stream_eof(f->s) &&
	    evbuffer_get_length(stream_in(f->s)) < ex->asked.left)
		front_end(f, FRONT_CLOSES, "client went away within the body");
}

void exchange_step(struct http_exchange *ex)
{
	switch (ex->state) {
	case EX_WAITING:
		wait_step(ex);
		break;
	case EX_COLLECTING:
		collect_step(ex);
		break;
	case EX_REPLYING:
		reply_step(ex);
		break;
	case EX_CONNECTING:
		back_step(ex);
		break;
	case EX_RELAYING:
		relay_step(ex);
		break;
	case EX_TUNNELLING:
		upgrade_step(ex);
		break;
	case EX_OVER:
		break;
	}
}
