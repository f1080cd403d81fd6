/* One connection's control channel: frames in and out, hello, ping, limits. */
#include "tunnel/control_impl.h"

#include <stdlib.h>
#include <string.h>

#define IN_MAX (CONTROL_MAX_BYTES + 4)

void control_link_fail(struct control_link *l, const char *code, const char *why)
{
	if (l->state == LINK_CLOSED)
		return;
	l->state = LINK_CLOSED;
	timer_stop(l->control->hub->timers, &l->ping);
	timer_stop(l->control->hub->timers, &l->dead);
	timer_stop(l->control->hub->timers, &l->more);
	control_link_down(l);
	l->control->hub->ops->close(l->conn, code, why);
}

bool control_link_send(struct control_link *l, const struct control_msg *m)
{
	struct control_hub *h = l->control->hub;

	if (l->state == LINK_CLOSED)
		return false;
	buf_reset(&h->out);
	if (!control_msg_encode(&h->out, m))
		return false;
	l->backlog = h->ops->send(l->conn, buf_slice(&h->out));
	if (l->backlog > CONTROL_BACKLOG_MAX)
		control_link_fail(l, "tunnel.control.backlog", "the peer does not read");
	return true;
}

/* --- time --- */

static void send_ping(struct control_link *l)
{
	struct control_hub *h = l->control->hub;
	struct control_msg m = { .type = CONTROL_PING };

	m.n = ++l->ping_n;
	m.wall_ms = h->ops->wall_ms(h->arg);
	l->ping_ms = h->timers->now_ms;
	control_link_send(l, &m);
}

static void on_ping_timer(void *arg)
{
	struct control_link *l = arg;
	struct control_hub *h = l->control->hub;

	timer_start(h->timers, &l->ping, h->conf->keepalive_ms);
	send_ping(l);
}

static void on_dead_timer(void *arg)
{
	struct control_link *l = arg;
	struct control_hub *h = l->control->hub;
	int64_t left = l->last_ms + h->conf->dead_after_ms - h->timers->now_ms;

	if (left > 0)
		timer_start(h->timers, &l->dead, left);
	else
		control_link_fail(l, "tunnel.dead", "nothing came for [tunnel] dead-after");
}

void control_link_alive(struct control_link *l)
{
	l->last_ms = l->control->hub->timers->now_ms;
}

static void got_ping(struct control_link *l, const struct control_msg *in)
{
	struct control_hub *h = l->control->hub;
	struct control_msg m = { .type = CONTROL_PONG, .n = in->n };

	m.wall_ms = h->ops->wall_ms(h->arg);
	control_link_send(l, &m);
}

/* Half of the round trip ago, as good as it gets without knowing each way. */
static void got_pong(struct control_link *l, const struct control_msg *m)
{
	struct control_hub *h = l->control->hub;
	int64_t rtt, skew;

	if (m->n != l->ping_n)
		return; /* an answer to an older one: its time is not known any more */
	rtt = h->timers->now_ms - l->ping_ms;
	l->rtt_ms = (uint32_t)rtt;
	skew = m->wall_ms - (h->ops->wall_ms(h->arg) - rtt / 2);
	h->ops->skew(l->control->peer, skew);
}

/* --- messages in --- */

static void fill_buckets(struct control_link *l)
{
	int64_t now = l->control->hub->timers->now_ms, elapsed = now - l->filled_ms;

	if (elapsed <= 0)
		return;
	l->filled_ms = now;
	if (elapsed > 60000)
		elapsed = 60000;
	l->msg_tokens += elapsed * CONTROL_RATE_MSGS;
	if (l->msg_tokens > CONTROL_BURST_MSGS * 1000LL)
		l->msg_tokens = CONTROL_BURST_MSGS * 1000LL;
	l->byte_tokens += elapsed * CONTROL_RATE_BYTES;
	if (l->byte_tokens > CONTROL_BURST_BYTES * 1000LL)
		l->byte_tokens = CONTROL_BURST_BYTES * 1000LL;
}

static bool within_rate(struct control_link *l, size_t n_bytes)
{
	fill_buckets(l);
	l->msg_tokens -= 1000;
	l->byte_tokens -= (int64_t)n_bytes * 1000;
	if (l->msg_tokens >= 0 && l->byte_tokens >= 0)
		return true;
	control_link_fail(l, "tunnel.control.flood",
			  l->msg_tokens < 0 ? "too many control messages a second"
					    : "too many bytes of control messages a second");
	return false;
}

static void got_hello(struct control_link *l, const struct control_msg *m)
{
	struct control_hub *h = l->control->hub;

	if (l->state != LINK_HELLO_WAIT) {
		control_link_fail(l, "tunnel.control.protocol", "a second hello");
		return;
	}
	l->version = m->version;
	l->state = LINK_AGREED;
	timer_start(h->timers, &l->ping, h->conf->keepalive_ms);
	h->ops->agreed(l->conn, m);
	if (l->state != LINK_AGREED)
		return;
	send_ping(l);
	control_link_up(l);
}

static void got_bye(struct control_link *l)
{
	if (l->state != LINK_AGREED)
		return;
	l->state = LINK_LEAVING;
	control_link_down(l);
	l->control->hub->ops->bye(l->conn);
}

static void dispatch(struct control_link *l, const struct control_msg *m)
{
	if (l->state == LINK_HELLO_WAIT && m->type != CONTROL_HELLO) {
		control_link_fail(l, "tunnel.control.protocol", "no hello first");
		return;
	}
	switch (m->type) {
	case CONTROL_HELLO:
		got_hello(l, m);
		break;
	case CONTROL_PING:
		got_ping(l, m);
		break;
	case CONTROL_PONG:
		got_pong(l, m);
		break;
	case CONTROL_RESET:
	case CONTROL_PUT:
	case CONTROL_DEL:
	case CONTROL_SYNCED:
		control_table_input(l, m);
		break;
	case CONTROL_CALL:
		control_call_input(l, m);
		break;
	case CONTROL_RESULT:
		control_result_input(l, m);
		break;
	case CONTROL_BYE:
		got_bye(l);
		break;
	}
}

/* One message of in, from *at. False when there is none (more) to take. */
static bool take_message(struct control_link *l, size_t *at)
{
	struct slice rest = { l->in.p + *at, l->in.n - *at };
	struct control_msg m;
	const char *why;
	size_t used;
	int r = control_msg_decode(rest, &m, &used, &why);

	if (r == 0)
		return false;
	*at += used;
	l->n_messages++;
	if (r < 0 &&
	    (used == 0 || strcmp(why, "unknown type") != 0 || l->version <= CONTROL_VERSION)) {
		control_link_fail(l, "tunnel.control.protocol", why);
		return false;
	}
	if (within_rate(l, used) && r > 0)
		dispatch(l, &m);
	control_msg_fini(&m);
	return l->state != LINK_CLOSED;
}

static void take_messages(struct control_link *l)
{
	size_t at = 0;
	unsigned n = 0;

	while (n < CONTROL_TURN_MSGS && take_message(l, &at))
		n++;
	if (l->state == LINK_CLOSED)
		return;
	memmove(l->in.p, l->in.p + at, l->in.n - at);
	l->in.n -= at;
	if (n == CONTROL_TURN_MSGS)
		timer_start(l->control->hub->timers, &l->more, 0);
}

static void on_more(void *arg)
{
	struct control_link *l = arg;

	take_messages(l);
	if (l->state != LINK_CLOSED && !timer_armed(&l->more))
		l->control->hub->ops->more(l->conn);
}

size_t control_link_input(struct control_link *l, struct slice bytes)
{
	size_t taken = 0;

	if (l->state == LINK_CLOSED)
		return bytes.n;
	control_link_alive(l);
	/* A whole message always fits, so this goes on until it was enough for one turn. */
	while (taken < bytes.n && l->state != LINK_CLOSED && !timer_armed(&l->more)) {
		size_t n = bytes.n - taken;

		if (n > IN_MAX - l->in.n)
			n = IN_MAX - l->in.n;
		buf_add(&l->in, bytes.p + taken, n);
		taken += n;
		if (l->in.failed)
			control_link_fail(l, "tunnel.control.backlog", "out of memory");
		else
			take_messages(l);
	}
	return l->state == LINK_CLOSED ? bytes.n : taken;
}

/* --- life --- */

static void send_hello(struct control_link *l)
{
	struct control_hub *h = l->control->hub;
	struct control_msg m = { .type = CONTROL_HELLO, .version = CONTROL_VERSION };

	slice_copy(m.name, sizeof(m.name), slice_of(h->conf->name));
	slice_copy(m.software, sizeof(m.software), slice_of(h->conf->software));
	slice_copy(m.boot, sizeof(m.boot), slice_of(h->conf->boot));
	m.wall_ms = h->ops->wall_ms(h->arg);
	control_link_send(l, &m);
}

struct control_link *control_link_new(struct control *c, void *conn)
{
	struct control_link *l = calloc(1, sizeof(*l));
	struct timerq *timers = c->hub->timers;

	if (!l)
		return NULL;
	l->control = c;
	l->conn = conn;
	l->filled_ms = l->last_ms = timers->now_ms;
	l->msg_tokens = CONTROL_BURST_MSGS * 1000LL;
	l->byte_tokens = CONTROL_BURST_BYTES * 1000LL;
	buf_init(&l->in, IN_MAX);
	list_init(&l->serving);
	timer_init(&l->ping, on_ping_timer, l);
	timer_init(&l->dead, on_dead_timer, l);
	timer_init(&l->more, on_more, l);
	list_add_tail(&c->links, &l->node);
	timer_start(timers, &l->dead, c->hub->conf->dead_after_ms);
	send_hello(l);
	return l;
}

void control_link_free(struct control_link *l)
{
	struct control_hub *h;

	if (!l)
		return;
	h = l->control->hub;
	timer_stop(h->timers, &l->ping);
	timer_stop(h->timers, &l->dead);
	timer_stop(h->timers, &l->more);
	list_del(&l->node);
	if (l->state != LINK_CLOSED) {
		l->state = LINK_CLOSED;
		control_link_down(l);
	}
	control_calls_lost(l);
	buf_fini(&l->in);
	free(l);
}

void control_link_drained(struct control_link *l)
{
	if (l->backlog < CONTROL_BACKLOG_LOW)
		return;
	l->backlog = 0;
	if (l->control->carrier == l)
		control_sync_dirty(l->control);
}

void control_link_bye(struct control_link *l)
{
	struct control_msg m = { .type = CONTROL_BYE };

	if (l->said_bye || l->state == LINK_CLOSED)
		return;
	l->said_bye = true;
	control_link_send(l, &m);
	control_link_down(l);
}

bool control_link_agreed(const struct control_link *l)
{
	return l->state == LINK_AGREED && !l->said_bye;
}

uint32_t control_link_rtt_ms(const struct control_link *l)
{
	return l->rtt_ms;
}

uint64_t control_link_messages(const struct control_link *l)
{
	return l->n_messages;
}
