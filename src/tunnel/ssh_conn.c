#include "tunnel/ssh_conn.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/log.h"
#include "core/trace.h"
#include "tunnel/channel.h"

#define READ_BYTES	  4096 /* what libssh reads at a time */
#define MAX_POLLS	  16   /* a turn: others want theirs too */
#define MAX_PASSES	  2
#define BLOCKED_CHECK_MS  5
#define REKEY_MAX_MS	  10000
#define REKEY_MAX_PACKETS 100000
#define PACKET_OVERHEAD	  64 /* padding, tag, headers: at most */

static const char *const state_names[] = { "connecting", "key-exchange", "login",
					   "opening",	 "up",		 "closed" };

void ssh_conn_set_state(struct ssh_conn *c, enum ssh_conn_state state)
{
	log_debug(c->t->env->log, "tunnel.conn.state", "peer=%s remote-port=%u from=%s to=%s",
		  c->peer ? c->peer->name : "-", c->conn.remote.port, state_names[c->state],
		  state_names[state]);
	c->state = state;
	c->conn.state = state_names[state];
}

bool ssh_conn_usable(const struct ssh_conn *c)
{
	return c->state == SSH_CONN_UP && !c->leaving && control_link_agreed(c->link);
}

/* The text may hold what the other side said. */
static void keep_why(struct ssh_conn *c, const char *fmt, va_list ap)
{
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	for (char *p = c->why; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	}
}

void ssh_conn_close(struct ssh_conn *c, const char *fmt, ...)
{
	va_list ap;

	if (c->state == SSH_CONN_CLOSED)
		return;
	va_start(ap, fmt);
	keep_why(c, fmt, ap);
	va_end(ap);
	ssh_conn_set_state(c, SSH_CONN_CLOSED);
	loop_defer(c->t->env->loop, &c->later);
}

void ssh_conn_later(struct ssh_conn *c)
{
	/* Inside a turn the pump looks at all lists anyway. */
	if (!c->in_turn)
		loop_defer(c->t->env->loop, &c->later);
}

void ssh_conn_refused(struct ssh_conn *c, const char *code, const char *fmt, ...)
{
	char what[TUNNEL_WHY_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	trace_add(c->t->env->trace, code, "[tunnel]", &c->conn.remote, NULL, "%s asked for %s",
		  c->peer ? c->peer->name : "a stranger", what);
	log_warn(c->t->env->log, "tunnel.refused", "peer=%s what=%s", c->peer ? c->peer->name : "-",
		 log_esc(slice_of(what)));
	if (++c->n_refused >= TUNNEL_MAX_REFUSED)
		ssh_conn_close(c, "asked too often for what it may not have, last: %s", what);
}

/* --- the control channel --- */

static void control_readable(void *arg)
{
	struct ssh_conn *c = arg;
	struct evbuffer *in = stream_in(&c->control_chan->s);

	while (evbuffer_get_length(in) > 0 && c->state != SSH_CONN_CLOSED) {
		size_t n = evbuffer_get_contiguous_space(in);
		const char *p = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
		size_t taken = control_link_input(c->link, (struct slice){ p, n });

		evbuffer_drain(in, taken);
		if (taken < n)
			break;
	}
	if (c->state == SSH_CONN_CLOSED)
		return;
	stream_consumed(&c->control_chan->s);
	if (stream_eof(&c->control_chan->s) && evbuffer_get_length(in) == 0)
		ssh_conn_close(c, "the other side ended the control channel");
}

static void control_writable(void *arg)
{
	struct ssh_conn *c = arg;

	control_link_drained(c->link);
}

static void control_closed(void *arg, enum stream_end end, const char *why)
{
	struct ssh_conn *c = arg;

	c->control_chan = NULL;
	ssh_conn_close(c, "the other side closed the control channel");
}

static const struct stream_handler control_handler = {
	.readable = control_readable,
	.writable = control_writable,
	.closed = control_closed,
};

void ssh_conn_control(struct ssh_conn *c, struct chan *ch)
{
	c->control_chan = ch;
	stream_set_handler(&ch->s, &control_handler, c);
	c->link = control_link_new(c->peer->control, c);
	if (!c->link)
		ssh_conn_close(c, "out of memory");
	else
		chan_mark(ch); /* what came early */
}

/* --- turns --- */

static bool write_pending(struct ssh_conn *c)
{
	if (!c->session)
		return c->state == SSH_CONN_CONNECTING;
	if (!c->event)
		return ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING;
	return ssh_get_status(c->session) & SSH_WRITE_PENDING;
}

static void watch_write(struct ssh_conn *c)
{
	bool on = write_pending(c);

	if (on == c->write_on)
		return;
	if ((on ? event_add(c->writable, NULL) : event_del(c->writable)) == 0)
		c->write_on = on;
}

/* Lets libssh read and write. */
static void poll_session(struct ssh_conn *c)
{
	for (int i = 0; i < MAX_POLLS; i++) {
		uint64_t before = c->socket_count.in_bytes;
		int rc = ssh_event_dopoll(c->event, 0);

		if (rc == SSH_ERROR ||
		    (ssh_get_status(c->session) & (SSH_CLOSED | SSH_CLOSED_ERROR))) {
			ssh_conn_close(c, "%s", ssh_get_error(c->session));
			return;
		}
		/* Less than asked for: the socket is empty, no need to ask it again. */
		if (rc == SSH_AGAIN || c->socket_count.in_bytes - before < READ_BYTES)
			return;
	}
}

static void cork(struct ssh_conn *c, int on)
{
	setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static void write_channels(struct ssh_conn *c)
{
	bool corked;

	LIST_FOREACH_SAFE (it, &c->stalled) {
		struct chan *ch = CONTAINER_OF(it, struct chan, work);

		if (ssh_channel_window_size(ch->ch) == 0)
			continue;
		list_del(it);
		list_add_tail(&c->writers, it);
	}
	/* libssh writes every packet by itself: the kernel puts those of a turn together. */
	corked = c->writers.next != c->writers.prev;
	if (corked)
		cork(c, 1);
	while (!list_empty(&c->writers) && !write_pending(c) && c->state != SSH_CONN_CLOSED) {
		if (!chan_write(CONTAINER_OF(list_first(&c->writers), struct chan, work)))
			break;
	}
	if (corked)
		cork(c, 0);
}

static void pump(struct ssh_conn *c)
{
	for (int pass = 0; pass < MAX_PASSES && c->state != SSH_CONN_CLOSED; pass++) {
		c->again = false;
		LIST_FOREACH_SAFE (it, &c->opening) {
			chan_opening(CONTAINER_OF(it, struct chan, work));
			if (c->state == SSH_CONN_CLOSED)
				return;
		}
		while (!list_empty(&c->changed) && c->state != SSH_CONN_CLOSED) {
			struct list *first = list_first(&c->changed);

			list_del(first);
			chan_changed(CONTAINER_OF(first, struct chan, changed));
		}
		write_channels(c);
		if (list_empty(&c->changed) && !c->again)
			return;
	}
	c->again = true;
}

/* A write found the session in the middle of a key exchange. Its end may have been read already:
 * no event announces it then. */
static void check_blocked(struct ssh_conn *c)
{
	struct timerq *timers = loop_timers(c->t->env->loop);

	if (c->blocked_ms == 0)
		return;
	if (timers->now_ms - c->blocked_ms > REKEY_MAX_MS ||
	    c->raw_count.in_packets - c->blocked_packets > REKEY_MAX_PACKETS)
		ssh_conn_close(c, "the other side does not finish the exchange of new keys");
	else
		timer_start(timers, &c->blocked, BLOCKED_CHECK_MS);
}

/* libssh keeps what the socket does not take, without a bound. */
static void check_unsent(struct ssh_conn *c)
{
	uint64_t made, sent;

	if (!(ssh_get_status(c->session) & SSH_WRITE_PENDING)) {
		c->empty_count = c->raw_count;
		c->empty_sent = c->socket_count.out_bytes;
		return;
	}
	made = c->raw_count.out_bytes - c->empty_count.out_bytes +
	       PACKET_OVERHEAD * (c->raw_count.out_packets - c->empty_count.out_packets);
	sent = c->socket_count.out_bytes - c->empty_sent;
	if (made > sent + SSH_CONN_MAX_UNSENT)
		ssh_conn_close(c, "the other side asks and does not take the answers");
}

static void advance(struct ssh_conn *c, bool io)
{
	if (c->event && io)
		poll_session(c);
	if (c->state == SSH_CONN_CLOSED)
		return;
	if (c->is_server)
		ssh_server_advance(c);
	else
		ssh_client_advance(c);
}

/* io: the socket has something; otherwise only we have. */
static void turn(struct ssh_conn *c, bool io)
{
	uint64_t before = c->socket_count.in_bytes;

	if (c->in_turn || c->state == SSH_CONN_CLOSED)
		return;
	c->in_turn = true;
	advance(c, io);
	if (c->event && c->state != SSH_CONN_CLOSED)
		pump(c);
	if (c->session && c->state != SSH_CONN_CLOSED)
		check_unsent(c);
	c->in_turn = false;
	c->conn.rx_bytes = c->socket_count.in_bytes;
	c->conn.tx_bytes = c->socket_count.out_bytes;
	c->conn.rx_packets = c->raw_count.in_packets;
	c->conn.tx_packets = c->raw_count.out_packets;
	if (c->state == SSH_CONN_CLOSED)
		return;
	if (c->link && c->socket_count.in_bytes != before)
		control_link_alive(c->link);
	check_blocked(c);
	watch_write(c);
	if (c->again) {
		c->again = false;
		loop_defer(c->t->env->loop, &c->later);
	}
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	turn(arg, true);
}

static void on_blocked(void *arg)
{
	turn(arg, true);
}

static void on_deadline(void *arg)
{
	struct ssh_conn *c = arg;

	ssh_conn_close(c, "not ready within [tunnel] connect-timeout, last: %s",
		       state_names[c->state]);
}

/* --- life --- */

static void end_session(struct ssh_conn *c)
{
	if (!c->session)
		return;
	if (c->event && !(ssh_get_status(c->session) & (SSH_CLOSED | SSH_CLOSED_ERROR))) {
		/* Lets it notice that the socket takes bytes, or the message would be lost. */
		ssh_event_dopoll(c->event, 0);
		ssh_session_set_disconnect_message(c->session, c->why);
	}
	LIST_FOREACH (it, &c->chans) {
		struct chan *ch = CONTAINER_OF(it, struct chan, node);

		if (ch->ch)
			ssh_remove_channel_callbacks(ch->ch, &ch->callbacks);
		ch->ch = NULL;
	}
	if (c->event)
		ssh_event_remove_session(c->event, c->session);
	ssh_disconnect(c->session);
	ssh_free(c->session);
	ssh_event_free(c->event);
	c->session = NULL;
	c->event = NULL;
}

static void conn_free(struct ssh_conn *c)
{
	struct timerq *timers = loop_timers(c->t->env->loop);
	char remote[ADDR_STR_BYTES];

	timer_stop(timers, &c->deadline);
	timer_stop(timers, &c->blocked);
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	end_session(c);
	while (!list_empty(&c->chans))
		chan_lost(CONTAINER_OF(list_first(&c->chans), struct chan, node), c->why);
	control_link_free(c->link);
	if (c->limited)
		net_limits_leave(c->t->limits, &c->conn.remote);
	conn_end(c->t->env->conns, &c->conn, "%s", c->why);
	log_info(c->t->env->log, "tunnel.conn.closed", "peer=%s remote=%s reason=%s",
		 c->peer ? c->peer->name : "-", addr_str(&c->conn.remote, remote),
		 log_esc(slice_of(c->why)));
	list_del(&c->node);
	loop_defer_cancel(&c->later);
	if (c->peer)
		peer_conn_leave(c->peer, c, c->why);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

static void on_later(void *arg)
{
	struct ssh_conn *c = arg;

	if (c->state == SSH_CONN_CLOSED)
		conn_free(c);
	else
		turn(c, false);
}

static void on_conn_close(struct conn *conn, const char *reason)
{
	ssh_conn_close(CONTAINER_OF(conn, struct ssh_conn, conn), "%s", reason);
}

struct ssh_conn *ssh_conn_new(struct tunnel *t, int fd, bool is_server)
{
	struct ssh_conn *c = calloc(1, sizeof(*c));
	struct timerq *timers = loop_timers(t->env->loop);

	if (!c) {
		close(fd);
		return NULL;
	}
	c->t = t;
	c->fd = fd;
	c->is_server = is_server;
	c->state = is_server ? SSH_CONN_KEX : SSH_CONN_CONNECTING;
	list_init(&c->chans);
	list_init(&c->opening);
	list_init(&c->changed);
	list_init(&c->writers);
	list_init(&c->stalled);
	timer_init(&c->deadline, on_deadline, c);
	timer_init(&c->blocked, on_blocked, c);
	loop_deferred_init(&c->later, on_later, c);
	c->conn.kind = CONN_TUNNEL;
	c->conn.transport = CONN_TCP;
	c->conn.state = state_names[c->state];
	c->conn.local = net_local_addr(fd);
	c->conn.remote = net_remote_addr(fd);
	c->conn.close = on_conn_close;
	list_add_tail(&t->conns, &c->node);
	timer_start(timers, &c->deadline, t->conf->connect_timeout_ms);
	return c;
}

int ssh_conn_start(struct ssh_conn *c)
{
	struct event_base *base = loop_base(c->t->env->loop);

	c->readable = event_new(base, c->fd, EV_READ | EV_PERSIST, on_io, c);
	c->writable = event_new(base, c->fd, EV_WRITE | EV_PERSIST, on_io, c);
	if (!c->readable || !c->writable)
		return -ENOMEM;
	if (c->state != SSH_CONN_CONNECTING && event_add(c->readable, NULL) < 0)
		return -ENOMEM;
	/* The first turn of a server sends its banner. */
	if (event_add(c->writable, NULL) < 0)
		return -ENOMEM;
	c->write_on = true;
	return conn_add(c->t->env->conns, &c->conn);
}

int ssh_conn_authenticated(struct ssh_conn *c)
{
	c->event = ssh_event_new();
	if (!c->event || ssh_event_add_session(c->event, c->session) != SSH_OK)
		return -ENOMEM;
	return 0;
}

void ssh_conns_free(struct tunnel *t)
{
	LIST_FOREACH (it, &t->conns)
		ssh_conn_close(CONTAINER_OF(it, struct ssh_conn, node), "the daemon stops");
	while (!list_empty(&t->conns))
		conn_free(CONTAINER_OF(list_first(&t->conns), struct ssh_conn, node));
}
