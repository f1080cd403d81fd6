/*
 * The one timer of a front. Deadlines are fields of the front and its exchange; the timer is armed
 * for the earliest of them and looks again when it fires, so that bytes cost no timer work: it is
 * moved only when something is due before it.
 */
#include "core/stream_socket.h"
#include "http/http_impl.h"

enum late {
	LATE_NOT,
	LATE_IDLE,
	LATE_BACK_IDLE,
	LATE_HEAD,
	LATE_CONNECT,
	LATE_ANSWER,
	LATE_SILENCE,
	LATE_DRAIN,
	LATE_UPGRADE,
	LATE_BODY_RATE,
	LATE_TAKE_RATE,
};

struct deadline {
	enum late what;
	int64_t due_ms;
};

/* ms 0: no limit. */
static void at(struct deadline *d, enum late what, int64_t since_ms, uint32_t ms)
{
	if (ms == 0 || (d->what != LATE_NOT && d->due_ms <= since_ms + ms))
		return;
	d->what = what;
	d->due_ms = since_ms + ms;
}

static bool rates(const struct http_engine_conf *c)
{
	return c->min_rate_bps > 0 && c->min_rate_ms > 0;
}

static void exchange_deadlines(struct http_exchange *ex, struct deadline *d)
{
	const struct http_engine_conf *c = &ex->f->e->conf;
	const struct http_forward *fwd = &ex->fwd;
	const struct http_back *b = ex->f->back;

	switch (ex->state) {
	case EX_CONNECTING:
		at(d, LATE_CONNECT, ex->since_ms,
		   fwd->connect_ms ? fwd->connect_ms : c->connect_ms);
		break;
	case EX_RELAYING:
		/* It is the server's turn: all is asked, or it takes no more of the body. */
		if (!ex->answering &&
		    (ex->asked_over || ex->waits_for_go || (b && b->s && stream_is_full(b->s))))
			at(d, LATE_ANSWER, ex->since_ms,
			   fwd->response_ms ? fwd->response_ms : c->response_ms);
		if (ex->answering && !ex->silence_excused)
			at(d, LATE_SILENCE, ex->since_ms, c->answer_idle_ms);
		if (!ex->asked_over && !ex->waits_for_go && rates(c))
			at(d, LATE_BODY_RATE, ex->rate_since_ms, c->min_rate_ms);
		break;
	case EX_COLLECTING:
		if (rates(c))
			at(d, LATE_BODY_RATE, ex->rate_since_ms, c->min_rate_ms);
		break;
	case EX_REPLYING:
		at(d, LATE_DRAIN, ex->since_ms, c->head_ms);
		break;
	case EX_TUNNELLING:
		at(d, LATE_UPGRADE, ex->since_ms, c->upgrade_idle_ms);
		break;
	case EX_WAITING:
	case EX_OVER:
		break;
	}
}

static struct deadline next_deadline(struct http_front *f)
{
	const struct http_engine_conf *c = &f->e->conf;
	struct deadline d = { .what = LATE_NOT };

	if (f->take_watched && evbuffer_get_length(stream_out(f->s)) == 0)
		f->take_watched = false;
	if (f->ex)
		exchange_deadlines(f->ex, &d);
	else if (f->head_since_ms >= 0)
		at(&d, LATE_HEAD, f->head_since_ms, c->head_ms);
	else if (!f->take_watched || f->take_ms == 0) /* else it still takes the last answer */
		at(&d, LATE_IDLE, f->idle_since_ms, c->idle_ms);
	if (!f->ex && f->back)
		at(&d, LATE_BACK_IDLE, f->idle_since_ms, c->back_idle_ms);
	if (f->take_watched && !(f->ex && f->ex->state == EX_TUNNELLING))
		at(&d, LATE_TAKE_RATE, f->take_since_ms, f->take_ms);
	return d;
}

static uint64_t rate_min(const struct http_engine_conf *c)
{
	return (uint64_t)c->min_rate_bps * c->min_rate_ms / 1000;
}

/* The body came fast enough, or could not: the next window begins. */
static void body_rate(struct http_exchange *ex)
{
	struct http_front *f = ex->f;

	if (ex->rate_n < rate_min(&f->e->conf) && !ex->rate_excused) {
		front_refuse(f, "http.slow", 408, "request body came too slowly");
		return;
	}
	ex->rate_since_ms = f->e->timers->now_ms;
	ex->rate_n = 0;
	ex->rate_excused = false;
}

/* The kernel takes much and then nothing until a third of it is gone, so that a client is judged by
 * what its own side has acknowledged; and clients take in gusts as well: who took more than it had
 * to has earned some time. */
#define MAX_EARNED 6

#define ACKED_UNKNOWN UINT64_MAX

void front_watch_take(struct http_front *f)
{
	const struct http_engine_conf *c = &f->e->conf;

	f->take_watched = true;
	f->take_since_ms = f->e->timers->now_ms;
	f->take_ms = c->relayed ? c->answer_idle_ms : rates(c) ? c->min_rate_ms : 0;
	f->take_base = f->conn.tx_bytes;
	f->take_acked = ACKED_UNKNOWN;
}

/* Bytes taken in the window, which ends with it. */
static uint64_t take_window(struct http_front *f, uint64_t enough)
{
	uint64_t taken = f->conn.tx_bytes - evbuffer_get_length(stream_out(f->s));
	uint64_t unacked = stream_unacked(f->s), n = taken - f->take_base;
	uint64_t acked = taken > unacked ? taken - unacked : 0;

	if (f->take_acked != ACKED_UNKNOWN && acked > f->take_acked + n)
		n = acked - f->take_acked;
	else if (f->take_acked == ACKED_UNKNOWN && unacked > 0 && n < enough)
		n = enough; /* it is known from now on */
	f->take_since_ms = f->e->timers->now_ms;
	f->take_base = taken;
	f->take_acked = acked;
	return n;
}

static void take_rate(struct http_front *f)
{
	struct http_engine *e = f->e;
	const struct http_engine_conf *c = &e->conf;
	uint64_t enough = c->relayed ? 1 : rate_min(c), n = take_window(f, enough), earned_ms;
	const char *why = "answer was taken too slowly";

	if (n < enough) {
		e->stats.n_slow++;
		e->ops->refused(e->arg, f, "http.slow", f->ex ? f->ex->status : 0, why);
		front_end(f, FRONT_ABORTS, why);
		return;
	}
	if (c->relayed || !rates(c)) {
		f->take_ms = c->relayed ? c->answer_idle_ms : 0;
		return;
	}
	earned_ms = n * 1000 / c->min_rate_bps;
	f->take_ms = c->min_rate_ms;
	if (earned_ms > c->min_rate_ms)
		f->take_ms *= earned_ms < MAX_EARNED * (uint64_t)c->min_rate_ms
				      ? (uint32_t)(earned_ms / c->min_rate_ms)
				      : MAX_EARNED;
}

static void front_is_late(struct http_front *f, enum late what)
{
	switch (what) {
	case LATE_NOT:
		break;
	case LATE_IDLE:
		front_end(f, FRONT_CLOSES, "idle");
		break;
	case LATE_BACK_IDLE:
		back_drop(f, false);
		break;
	case LATE_HEAD:
		front_refuse(f, "http.slow", 408, "request head was not whole in time");
		break;
	case LATE_CONNECT:
		back_failed(f->ex, 504, "no connection in time");
		break;
	case LATE_ANSWER:
		back_failed(f->ex, 504, "no answer in time");
		break;
	case LATE_SILENCE:
		back_silent(f->ex);
		break;
	case LATE_DRAIN:
		front_end(f, FRONT_CLOSES, "rest of the request did not come");
		break;
	case LATE_UPGRADE:
		front_end(f, FRONT_CLOSES, "switched connection idle");
		break;
	case LATE_BODY_RATE:
		body_rate(f->ex);
		break;
	case LATE_TAKE_RATE:
		take_rate(f);
		break;
	}
}

void front_arm(struct http_front *f)
{
	struct deadline d = next_deadline(f);
	struct timerq *q = f->e->timers;

	if (d.what == LATE_NOT || (timer_armed(&f->timer) && f->timer.due_ms <= d.due_ms))
		return;
	timer_start(q, &f->timer, d.due_ms - q->now_ms);
}

void front_late(void *arg)
{
	struct http_front *f = arg;
	struct deadline d = next_deadline(f);

	if (d.what != LATE_NOT && d.due_ms <= f->e->timers->now_ms) {
		/* What it calls may ask the front to run: that waits. */
		f->running = true;
		front_is_late(f, d.what);
		f->running = false;
	}
	front_run(f);
}
