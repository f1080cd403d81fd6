/*
 * XMPP streams over byte streams. One timer for each: it is armed for the nearest of all deadlines
 * and looks again when it fires, so that traffic moves no timer and a sleeping stream has one
 * wakeup an idle time.
 *
 *   OPEN --xmpp_leave--> parked: OPEN, or ENDING after xmpp_end() and xmpp_fail(), without a socket
 *   parked --xmpp_attach--> OPEN, ENDING; after xmpp_fail() CLOSED; --out of memory--> CLOSED
 *   OPEN --xmpp_end--> ENDING [xmpp_end]
 *   ENDING --peer's end--> CLOSED [on_end]; --5 s--> CLOSED [tick]
 *   any --xmpp_fail, xmpp_cut--> CLOSED [xmpp_leave_socket]; --limits, peer gone--> CLOSED [over]
 *
 * Callbacks may do everything, xmpp_free() included: memory goes when the last call inside x has
 * returned (x->n_inside).
 */
#include "xmpp/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/net.h"
#include "xmpp/stream_impl.h"

#define CHUNK_BYTES	8192
#define PRINT_MAX_BYTES (32u * 1024 * 1024) /* the longest stanza, every byte of it escaped */
#define KEPT_BYTES	16384		    /* of the print buffer between two stanzas */
#define SEND_LOOKS	4		    /* in one send timeout */
#define NEVER		INT64_MAX

static void enter(struct xmpp_stream *x)
{
	x->n_inside++;
}

static void leave(struct xmpp_stream *x)
{
	if (--x->n_inside > 0 || !x->freed)
		return;
	xml_stream_free(x->xml);
	buf_fini(&x->print);
	free(x);
}

/* --- deadlines --- */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t next_ms(const struct xmpp_stream *x)
{
	int64_t at = NEVER;

	if (x->parked)
		return x->ask || x->broken ? xmpp_now_ms(x) : NEVER;
	if (x->look || x->has_room || x->broken || (x->state == XMPP_ENDING && x->peer_ended))
		return xmpp_now_ms(x);
	if (x->state == XMPP_ENDING)
		at = x->end_by_ms;
	if (x->shaped_until_ms > 0)
		at = earlier(at, x->shaped_until_ms);
	if (x->send_look_ms > 0)
		at = earlier(at, x->send_look_ms);
	if (x->idle_ms > 0)
		at = earlier(at, x->quiet_since_ms + x->idle_ms);
	if (x->sleep_ms > 0 && !x->asleep)
		at = earlier(at, x->quiet_since_ms + x->sleep_ms);
	return at;
}

/* Arms the timer when it would come too late. One that comes too early looks again. */
void xmpp_wake(struct xmpp_stream *x)
{
	int64_t at;

	if (x->state == XMPP_CLOSED)
		return;
	at = next_ms(x);
	if (at == NEVER || (timer_armed(&x->timer) && x->timer.due_ms <= at))
		return;
	timer_start(x->timers, &x->timer, at - xmpp_now_ms(x));
}

/* --- the end --- */

/* CLOSED; the socket is the caller's. */
struct stream *xmpp_leave_socket(struct xmpp_stream *x)
{
	struct stream *s = x->s;

	x->s = NULL;
	x->parked = false;
	x->state = XMPP_CLOSED;
	timer_stop(x->timers, &x->timer);
	xml_stream_pause(x->xml);
	return x->gone ? NULL : s;
}

static void over(struct xmpp_stream *x, enum xmpp_end how, enum xmpp_condition c, const char *why)
{
	if (x->freed)
		return;
	enter(x);
	x->handler->closed(x->arg, how, c, why);
	leave(x);
}

/* The peer did not end it as it should. */
static void lost(struct xmpp_stream *x, const char *why)
{
	stream_close(xmpp_leave_socket(x));
	over(x, XMPP_END_CUT, XMPP_UNDEFINED_CONDITION, why);
}

/* We refuse what the peer did. */
static void refuse(struct xmpp_stream *x, enum xmpp_condition c, const char *why)
{
	xmpp_fail(x, c, why, NULL);
	over(x, XMPP_END_ERROR, c, why);
}

static void refuse_xml(struct xmpp_stream *x)
{
	const char *why = "malformed XML";
	enum xmpp_condition c = xml_stream_error(x->xml, &why);

	refuse(x, c, why);
}

/* --- sending --- */

static uint64_t n_taken(const struct xmpp_stream *x)
{
	return x->stats.out_bytes - evbuffer_get_length(stream_out(x->s));
}

/* Parked: what stands in x->print stays there until there is a socket. */
static bool wait_for_socket(struct xmpp_stream *x)
{
	if (x->print.failed)
		x->broken = true;
	else if (!x->asked)
		x->ask = x->asked = true;
	xmpp_wake(x);
	return !x->broken;
}

/* Room to print in. */
static struct buf *begin(struct xmpp_stream *x)
{
	if (!x->parked)
		buf_reset(&x->print);
	return &x->print;
}

/* What stands in x->print goes out. False: nothing of it did. */
bool xmpp_queue(struct xmpp_stream *x)
{
	bool good;

	if (x->parked)
		return wait_for_socket(x);
	good = !x->print.failed && evbuffer_add(stream_out(x->s), x->print.p, x->print.n) == 0;
	if (good) {
		x->stats.out_bytes += x->print.n;
		stream_flush(x->s);
	} else {
		x->broken = true;
	}
	if (x->print.cap > KEPT_BYTES || x->asleep)
		buf_fini(&x->print);
	if (good && x->send_timeout_ms > 0 && x->send_look_ms == 0) {
		x->n_taken = x->stats.out_bytes - evbuffer_get_length(stream_out(x->s));
		x->send_since_ms = xmpp_now_ms(x);
		x->send_look_ms = xmpp_now_ms(x) + x->send_timeout_ms / SEND_LOOKS + 1;
	}
	xmpp_wake(x);
	return good;
}

bool xmpp_can_send(const struct xmpp_stream *x)
{
	return x->state == XMPP_OPEN && !x->gone && !x->broken;
}

void xmpp_send_header(struct xmpp_stream *x, const struct xmpp_header *h)
{
	struct xmpp_header mine = *h;

	if (!xmpp_can_send(x))
		return;
	if (!mine.content)
		mine.content = x->content;
	xmpp_print_header(begin(x), &mine);
	x->dialback = mine.dialback;
	x->header_sent = xmpp_queue(x);
}

void xmpp_send(struct xmpp_stream *x, const struct xml_node *e)
{
	if (!xmpp_can_send(x))
		return;
	xml_node_print(e, x->content, x->dialback, begin(x));
	if (xmpp_queue(x))
		x->stats.n_out++;
}

void xmpp_send_space(struct xmpp_stream *x)
{
	/* Whoever is parked is kept alive by his own box. */
	if (!xmpp_can_send(x) || x->parked || evbuffer_get_length(stream_out(x->s)) > 0)
		return;
	buf_add_char(begin(x), ' ');
	xmpp_queue(x);
}

bool xmpp_is_full(struct xmpp_stream *x)
{
	if (x->parked) {
		x->told_full = x->print.n >= STREAM_HIGH_BYTES;
		return x->told_full;
	}
	return x->s && !x->gone && stream_is_full(x->s);
}

bool xmpp_header_sent(const struct xmpp_stream *x)
{
	return x->header_sent;
}

/* --- reading --- */

static bool can_read(const struct xmpp_stream *x)
{
	return x->s && !x->freed && !x->broken && x->n_pauses == 0 && !x->tls_waiting &&
	       x->shaped_until_ms == 0 && !x->peer_ended;
}

static void spend(struct xmpp_stream *x, size_t n)
{
	int64_t most = (int64_t)(x->burst_bytes ? x->burst_bytes : x->rate_bytes) * 1000;

	if (x->rate_bytes == 0)
		return;
	x->tokens += (xmpp_now_ms(x) - x->refilled_ms) * x->rate_bytes;
	if (x->tokens > most)
		x->tokens = most;
	x->refilled_ms = xmpp_now_ms(x);
	x->tokens -= (int64_t)n * 1000;
	if (x->tokens >= 0)
		return;
	x->shaped_until_ms = xmpp_now_ms(x) - x->tokens / x->rate_bytes + 1;
	x->stats.n_shaped++;
}

/* Next bytes to the parser. 1: there were some, 0: none, negative: they are bad. In a copy: what
 * callbacks do to the socket's buffer (STARTTLS drains it) does not matter. */
static int feed(struct xmpp_stream *x)
{
	char chunk[CHUNK_BYTES];
	int n = evbuffer_remove(stream_in(x->s), chunk, sizeof(chunk));

	if (n <= 0)
		return 0;
	stream_consumed(x->s);
	x->quiet_since_ms = x->stats.last_in_ms = xmpp_now_ms(x);
	x->stats.in_bytes += (uint64_t)n;
	x->asleep = false;
	spend(x, (size_t)n);
	return xml_stream_feed(x->xml, (struct slice){ chunk, (size_t)n }) < 0 ? -EBADMSG : 1;
}

/* The peer's connection has ended, and nothing that it said before is left to be heard; who only
 * waits for us to read on is not. */
static bool is_over(const struct xmpp_stream *x)
{
	if (!x->s || x->freed || x->gone || x->peer_ended || x->tls_waiting || !stream_eof(x->s))
		return false;
	return can_read(x) ||
	       (evbuffer_get_length(stream_in(x->s)) == 0 && xml_stream_pending(x->xml) == 0);
}

static void read_on(struct xmpp_stream *x)
{
	int r = 1;

	if (x->reading)
		return;
	enter(x);
	x->reading = true;
	while (r > 0 && can_read(x)) {
		if (!xml_stream_is_paused(x->xml))
			r = feed(x);
		else if (xml_stream_resume(x->xml) < 0)
			r = -EBADMSG;
	}
	x->reading = false;
	if (x->parked)
		xml_stream_sleep(x->xml); /* not before the frame is used up */
	if (r < 0 && x->s && !x->freed)
		refuse_xml(x);
	else if (is_over(x))
		lost(x, "closed by peer without end of stream");
	if (!x->freed)
		xmpp_wake(x);
	leave(x);
}

void xmpp_pause(struct xmpp_stream *x)
{
	if (x->n_pauses++ == 0)
		xml_stream_pause(x->xml);
}

void xmpp_resume(struct xmpp_stream *x)
{
	if (x->n_pauses == 0 || --x->n_pauses > 0)
		return;
	/* Inside an event the loop below it goes on. */
	read_on(x);
}

static size_t drop_input(struct xmpp_stream *x)
{
	char chunk[1024];
	size_t n_bytes = 0;
	int n;

	while (x->s && (n = evbuffer_remove(stream_in(x->s), chunk, sizeof(chunk))) > 0) {
		for (int i = 0; i < n; i++)
			n_bytes += !memchr(" \t\r\n", chunk[i], 4);
	}
	return n_bytes;
}

size_t xmpp_restart(struct xmpp_stream *x, bool keep)
{
	size_t n_bytes = xml_stream_restart(x->xml, keep);

	if (!keep)
		n_bytes += drop_input(x);
	x->header_sent = false;
	x->dialback = false;
	return n_bytes;
}

void xmpp_set_limits(struct xmpp_stream *x, const struct xml_stream_limits *limits)
{
	xml_stream_set_limits(x->xml, limits);
}

size_t xmpp_tls_begin(struct xmpp_stream *x)
{
	x->tls_waiting = true;
	/* No event until then, of the bytes that the parser may still be fed with either. */
	return xmpp_restart(x, false);
}

/* --- what the parser reports --- */

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct xmpp_stream *x = arg;

	if (!x->s || x->freed)
		return;
	/* RFC 6120 section 4.9.3.10 */
	if (!h->content || !slice_eq(slice_of(h->content), slice_of(x->content)))
		refuse(x, XMPP_INVALID_NAMESPACE, "wrong content namespace of the stream");
	else
		x->handler->header(x->arg, h);
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct xmpp_stream *x = arg;

	if (!x->s || x->freed)
		return;
	x->stats.n_in++;
	x->handler->element(x->arg, e, arena);
}

static void on_space(void *arg)
{
	struct xmpp_stream *x = arg;

	if (x->s && !x->freed && x->handler->space)
		x->handler->space(x->arg);
}

static void finished(struct xmpp_stream *x)
{
	stream_close(xmpp_leave_socket(x));
	over(x, XMPP_END_PROPER, XMPP_UNDEFINED_CONDITION, "stream ended");
}

static void on_end(void *arg)
{
	struct xmpp_stream *x = arg;

	if (!x->s || x->freed)
		return;
	x->peer_ended = true;
	if (x->state == XMPP_ENDING)
		finished(x);
	else if (x->handler->end)
		x->handler->end(x->arg);
	else
		xmpp_end(x);
}

static int on_frame(void *arg, struct slice bytes)
{
	struct xmpp_stream *x = arg;

	if (!x->s || x->freed || !x->handler->frame)
		return -EBADMSG;
	return x->handler->frame(x->arg, bytes);
}

static const struct xml_stream_events xml_events = {
	.header = on_header,
	.element = on_element,
	.space = on_space,
	.end = on_end,
	.frame = on_frame,
};

/* --- what the socket reports --- */

static void on_opened(void *arg)
{
	struct xmpp_stream *x = arg;

	if (!x->tls_waiting)
		return;
	enter(x);
	x->tls_waiting = false;
	x->quiet_since_ms = xmpp_now_ms(x);
	if (x->handler->tls)
		x->handler->tls(x->arg);
	if (!x->freed && x->s)
		read_on(x);
	leave(x);
}

static void on_readable(void *arg)
{
	read_on(arg);
}

static void on_writable(void *arg)
{
	struct xmpp_stream *x = arg;

	enter(x);
	if (x->handler->writable)
		x->handler->writable(x->arg);
	leave(x);
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct xmpp_stream *x = arg;

	enter(x);
	x->gone = true;
	/* Called from inside read_on() it never is: streams call back from the loop. */
	read_on(x);
	if (x->s && !x->freed)
		lost(x, why);
	leave(x);
}

const struct stream_handler xmpp_socket_handler = {
	.opened = on_opened,
	.readable = on_readable,
	.writable = on_writable,
	.closed = on_closed,
};

/* --- time --- */

/* True: it does not take what we send. */
static bool is_slow(struct xmpp_stream *x)
{
	if (x->send_look_ms == 0 || xmpp_now_ms(x) < x->send_look_ms)
		return false;
	if (evbuffer_get_length(stream_out(x->s)) == 0) {
		x->send_look_ms = 0;
		return false;
	}
	if (n_taken(x) > x->n_taken || x->s->state == STREAM_OPENING || x->tls_waiting) {
		x->n_taken = n_taken(x);
		x->send_since_ms = xmpp_now_ms(x);
	}
	x->send_look_ms = xmpp_now_ms(x) + x->send_timeout_ms / SEND_LOOKS + 1;
	return xmpp_now_ms(x) - x->send_since_ms >= x->send_timeout_ms;
}

static bool is_idle(struct xmpp_stream *x)
{
	if (x->idle_ms == 0 || xmpp_now_ms(x) < x->quiet_since_ms + x->idle_ms)
		return false;
	if (can_read(x))
		return true;
	/* It is us who do not read. */
	x->quiet_since_ms = xmpp_now_ms(x);
	return false;
}

static void maybe_sleep(struct xmpp_stream *x)
{
	if (x->asleep || x->sleep_ms == 0 || xmpp_now_ms(x) < x->quiet_since_ms + x->sleep_ms)
		return;
	/* With half an element it keeps its memory, and is not asked again before the next byte. */
	xml_stream_sleep(x->xml);
	buf_fini(&x->print);
	x->asleep = true;
}

static void tell_room(struct xmpp_stream *x)
{
	bool has_room = x->has_room;

	x->has_room = false;
	if (has_room && x->handler->writable)
		x->handler->writable(x->arg);
}

static void tick_parked(struct xmpp_stream *x)
{
	if (x->broken) {
		xmpp_leave_socket(x);
		over(x, XMPP_END_CUT, XMPP_RESOURCE_CONSTRAINT, "out of memory");
	} else if (x->ask) {
		x->ask = false;
		if (x->handler->wanted)
			x->handler->wanted(x->arg);
	}
}

static void tick(void *arg)
{
	struct xmpp_stream *x = arg;

	enter(x);
	if (x->parked) {
		tick_parked(x);
	} else if (x->broken) {
		refuse(x, XMPP_INTERNAL_SERVER_ERROR, "out of memory");
	} else if (x->state == XMPP_ENDING && x->peer_ended) {
		finished(x);
	} else if (x->state == XMPP_ENDING && xmpp_now_ms(x) >= x->end_by_ms) {
		lost(x, "no end of stream from peer");
	} else if (is_slow(x)) {
		/* What it does not take would wait in vain. */
		stream_abort(xmpp_leave_socket(x));
		over(x, XMPP_END_CUT, XMPP_RESOURCE_CONSTRAINT, "slow reader: takes nothing");
	} else if (is_idle(x)) {
		refuse(x, XMPP_CONNECTION_TIMEOUT, "nothing was sent for too long");
	} else {
		if (x->shaped_until_ms > 0 && xmpp_now_ms(x) >= x->shaped_until_ms) {
			x->shaped_until_ms = 0;
			x->look = true;
		}
		maybe_sleep(x);
		tell_room(x);
	}
	if (x->look && x->s && !x->freed) {
		x->look = false;
		read_on(x);
	}
	if (!x->freed)
		xmpp_wake(x);
	leave(x);
}

/* --- life --- */

static void set_times(struct xmpp_stream *x, const struct xmpp_stream_conf *conf)
{
	x->rate_bytes = conf->rate_bytes;
	x->burst_bytes = conf->burst_bytes;
	x->idle_ms = conf->idle_ms;
	x->send_timeout_ms = conf->send_timeout_ms;
}

struct xmpp_stream *xmpp_stream_new(const struct xmpp_stream_conf *conf, struct stream *s,
				    const struct xmpp_stream_handler *h, void *arg)
{
	struct xmpp_stream *x = calloc(1, sizeof(*x));

	if (x)
		x->xml = xml_stream_new(conf->pool, &conf->limits, &xml_events, x);
	if (!x || !x->xml) {
		free(x);
		stream_close(s);
		return NULL;
	}
	x->s = s;
	x->handler = h;
	x->arg = arg;
	x->timers = conf->timers;
	x->content = conf->content;
	x->sleep_ms = conf->sleep_ms;
	set_times(x, conf);
	x->refilled_ms = x->quiet_since_ms = x->stats.last_in_ms = xmpp_now_ms(x);
	x->tokens = (int64_t)(x->burst_bytes ? x->burst_bytes : x->rate_bytes) * 1000;
	buf_init(&x->print, PRINT_MAX_BYTES);
	timer_init(&x->timer, tick, x);
	stream_set_handler(s, &xmpp_socket_handler, x);
	/* What came before now is announced by nobody. */
	x->look = evbuffer_get_length(stream_in(s)) > 0 || stream_eof(s);
	xmpp_wake(x);
	return x;
}

void xmpp_stream_set_handler(struct xmpp_stream *x, const struct xmpp_stream_handler *h, void *arg)
{
	x->handler = h;
	x->arg = arg;
}

void xmpp_configure(struct xmpp_stream *x, const struct xmpp_stream_conf *conf)
{
	set_times(x, conf);
	if (x->rate_bytes == 0 && x->shaped_until_ms > 0)
		x->shaped_until_ms = xmpp_now_ms(x);
	if (x->send_timeout_ms == 0)
		x->send_look_ms = 0;
	xmpp_wake(x);
}

void xmpp_free(struct xmpp_stream *x)
{
	if (!x || x->freed)
		return;
	enter(x);
	xmpp_cut(x);
	x->freed = true;
	leave(x);
}

struct stream *xmpp_socket(const struct xmpp_stream *x)
{
	return x->gone ? NULL : x->s;
}

/* The error needs a stream around it (RFC 6120 section 4.9.1.2). */
static void send_some_header(struct xmpp_stream *x, const struct xmpp_header *h)
{
	struct xmpp_header mine = { .version = "1.0" };
	uint8_t random[16];
	char id[2 * sizeof(random) + 1];

	if (h)
		mine = *h;
	if (!mine.id) {
		net_random(random, sizeof(random));
		for (size_t i = 0; i < sizeof(random); i++)
			snprintf(id + 2 * i, 3, "%02x", random[i]);
		mine.id = id;
	}
	xmpp_send_header(x, &mine);
}

void xmpp_fail(struct xmpp_stream *x, enum xmpp_condition c, const char *text,
	       const struct xmpp_header *h)
{
	if (x->state == XMPP_CLOSED)
		return;
	enter(x);
	if (x->broken) {
		/* For memory: the error is short and may fit yet. */
		x->broken = false;
		buf_fini(&x->print);
	}
	if (!x->header_sent && !x->tls_waiting)
		send_some_header(x, h);
	if (x->header_sent && xmpp_can_send(x)) {
		xmpp_print_stream_error(begin(x), c, text);
		if (x->print.failed) {
			/* Text from the wire that was cut inside a character. */
			buf_reset(&x->print);
			xmpp_print_stream_error(&x->print, c, NULL);
		}
		xmpp_queue(x);
	}
	x->last = x->parked;
	if (x->parked)
		x->state = XMPP_ENDING;
	else
		stream_close(xmpp_leave_socket(x));
	leave(x);
}

void xmpp_end(struct xmpp_stream *x)
{
	if (x->state != XMPP_OPEN)
		return;
	if (x->header_sent && xmpp_can_send(x)) {
		buf_add_str(begin(x), "</stream:stream>");
		xmpp_queue(x);
	}
	x->state = XMPP_ENDING;
	x->end_by_ms = xmpp_now_ms(x) + XMPP_END_WAIT_MS;
	xmpp_wake(x);
}

void xmpp_cut(struct xmpp_stream *x)
{
	if (x->state != XMPP_CLOSED)
		stream_close(xmpp_leave_socket(x));
}

const struct xmpp_stream_stats *xmpp_stream_stats(const struct xmpp_stream *x)
{
	return &x->stats;
}
