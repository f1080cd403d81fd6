#include "tunnel/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/trace.h"

#define OPEN_MS	    10000
#define LINGER_MS   10000
#define CLOSE_MS    30000
#define WRITE_BYTES 65536
#define READ_BYTES  65536
#define COPY_BYTES  16384
#define HELD_MAX    (3 * 1024 * 1024) /* more than libssh ever allows: the window is ignored */
#define MIN_PACKET  4096	      /* RFC 4253 section 6.1: everybody takes 32768 */

/* --- marks from libssh's callbacks --- */

void chan_mark(struct chan *ch)
{
	if (list_empty(&ch->changed))
		list_add_tail(&ch->c->changed, &ch->changed);
	ssh_conn_later(ch->c);
}

static size_t room_of(const struct chan *ch)
{
	size_t have = evbuffer_get_length(ch->s.in);

	return have < STREAM_HIGH_BYTES ? STREAM_HIGH_BYTES - have : 0;
}

/* Something of what came is not in s.in yet. */
static bool has_more(const struct chan *ch)
{
	return ch->held > 0 || ch->spill;
}

static void drop_spill(struct chan *ch)
{
	if (ch->spill)
		evbuffer_free(ch->spill);
	ch->spill = NULL;
}

/* Brings tunnel.held_bytes up to date. */
static void account(struct chan *ch)
{
	size_t now = ch->gone ? 0 : ch->held + (ch->spill ? evbuffer_get_length(ch->spill) : 0);

	ch->c->t->held_bytes += now - ch->accounted;
	ch->accounted = now;
}

/* data is all that libssh holds of this channel, old and new; what is not taken comes again. */
static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t n, int is_stderr,
		   void *arg)
{
	struct chan *ch = arg;
	size_t take = ch->spill ? 0 : room_of(ch);

	if (is_stderr || n > HELD_MAX) {
		ssh_conn_close(ch->c, is_stderr ? "extended data on a channel"
						: "a channel's window was ignored");
		return (int)n;
	}
	if (ch->gone)
		return (int)n;
	if (take > n)
		take = n;
	if (take > 0 && evbuffer_add(ch->s.in, data, take) < 0)
		take = 0;
	ch->held = n - (uint32_t)take;
	ch->conn.rx_bytes += take;
	ch->conn.rx_packets++;
	account(ch);
	chan_mark(ch);
	return (int)take;
}

static void on_eof(ssh_session session, ssh_channel channel, void *arg)
{
	struct chan *ch = arg;

	ch->remote_eof = true;
	chan_mark(ch);
}

static void on_close(ssh_session session, ssh_channel channel, void *arg)
{
	struct chan *ch = arg;

	ch->remote_eof = ch->remote_closed = true;
	chan_mark(ch);
}

/* --- life --- */

static void chan_free(struct chan *ch)
{
	struct ssh_conn *c = ch->c;

	timer_stop(loop_timers(c->t->env->loop), &ch->timer);
	if (ch->ch) {
		ssh_remove_channel_callbacks(ch->ch, &ch->callbacks);
		ssh_channel_free(ch->ch);
	}
	list_del(&ch->node);
	list_del(&ch->changed);
	list_del(&ch->work);
	c->n_chans--;
	if (c->control_chan == ch)
		c->control_chan = NULL;
	if (c->pending_chan == ch) {
		c->pending_chan = NULL;
		ssh_conn_close(c, "the other side closed the control channel");
	}
	if (ch->s.conn_id)
		conn_end(c->t->env->conns, &ch->conn, "closed");
	drop_spill(ch);
	ch->gone = true;
	account(ch);
	evbuffer_free(ch->s.in);
	evbuffer_free(ch->s.out);
	free(ch);
}

static void unlist(struct chan *ch, const char *why)
{
	if (!ch->s.conn_id)
		return;
	ch->s.conn_id = 0;
	conn_end(ch->c->t->env->conns, &ch->conn, "%s", why);
}

/* The owner hears the end, the channel closes behind its back. */
static void finish(struct chan *ch, enum stream_end end, const char *why)
{
	unlist(ch, why);
	if (!ch->gone) {
		ch->gone = true;
		account(ch);
		stream_is_closed(&ch->s, end, why);
	}
}

/* libssh's windows let every stream hold a few megabytes, whatever the owner takes; all together
 * are bounded here. */
static void relieve(struct tunnel *t)
{
	struct chan *most = NULL;

	LIST_FOREACH (i, &t->conns) {
		const struct ssh_conn *c = CONTAINER_OF(i, struct ssh_conn, node);

		LIST_FOREACH (k, &c->chans) {
			struct chan *ch = CONTAINER_OF(k, struct chan, node);

			if (!most || ch->accounted > most->accounted)
				most = ch;
		}
	}
	if (!most || most->accounted == 0)
		return;
	trace_add(t->env->trace, "tunnel.held", "[tunnel] max-held", &most->c->conn.remote, NULL,
		  "%zu bytes wait for slow readers: the stream that holds most (%zu) ends",
		  t->held_bytes, most->accounted);
	drop_spill(most);
	finish(most, STREAM_END_ERROR, "too much waits for slow readers ([tunnel] max-held)");
	chan_mark(most);
}

/* Both ways closed, or only ours: libssh needs two calls when its buffer is not empty. */
static void start_closing(struct chan *ch)
{
	struct timerq *timers = loop_timers(ch->c->t->env->loop);

	ch->state = CHAN_CLOSING;
	list_del(&ch->work);
	for (int i = 0; i < 3 && ssh_channel_close(ch->ch) == SSH_AGAIN; i++)
		;
	timer_start(timers, &ch->timer, CLOSE_MS);
}

static void on_timer(void *arg)
{
	struct chan *ch = arg;

	switch (ch->state) {
	case CHAN_OPENING:
		/* The answer may still come: the channel stays until then. */
		finish(ch, STREAM_END_TIMEOUT, "the other side did not answer");
		break;
	case CHAN_LINGERING:
		start_closing(ch);
		ssh_conn_later(ch->c);
		break;
	default:
		ssh_conn_close(ch->c, "the other side does not close a channel");
	}
}

bool chan_peer_is_sane(ssh_channel channel)
{
	/* The head of libssh's own struct (0.8 to 0.10); there is no call for the last member. With
	 * a packet size of ten ssh_channel_write() never ends. The calls that there are say whether
	 * the layout is still this one. */
	const struct {
		ssh_session session;
		uint32_t local_channel, local_window;
		int local_eof;
		uint32_t local_maxpacket, remote_channel, remote_window;
		int remote_eof;
		uint32_t remote_maxpacket;
	} *head = (const void *)channel;

	if (head->session != ssh_channel_get_session(channel) ||
	    head->remote_window != ssh_channel_window_size(channel))
		return true;
	return head->remote_maxpacket >= MIN_PACKET;
}

/* --- stream_ops --- */

static struct chan *chan_of(struct stream *s)
{
	return CONTAINER_OF(s, struct chan, s);
}

static void chan_flush(struct stream *s)
{
	struct chan *ch = chan_of(s);

	if (ch->state == CHAN_OPENING || ch->state == CHAN_CLOSING || ch->remote_closed)
		return;
	if (list_empty(&ch->work))
		list_add_tail(&ch->c->writers, &ch->work);
	ssh_conn_later(ch->c);
}

static void chan_want_read(struct stream *s)
{
	chan_mark(chan_of(s));
}

static void chan_close(struct stream *s, bool now)
{
	struct chan *ch = chan_of(s);

	ch->gone = true;
	unlist(ch, "closed here");
	evbuffer_drain(s->in, evbuffer_get_length(s->in));
	drop_spill(ch);
	account(ch);
	if (now)
		evbuffer_drain(s->out, evbuffer_get_length(s->out));
	chan_mark(ch);
}

static const struct stream_ops ops = {
	.flush = chan_flush,
	.want_read = chan_want_read,
	.shutdown = chan_flush,
	.close = chan_close,
};

static void on_conn_close(struct conn *conn, const char *reason)
{
	struct chan *ch = CONTAINER_OF(conn, struct chan, conn);

	finish(ch, STREAM_END_ERROR, reason);
	chan_mark(ch);
}

struct chan *chan_new(struct ssh_conn *c, ssh_channel channel, enum chan_state state,
		      const char *purpose)
{
	struct chan *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->c = c;
	ch->s.ops = &ops;
	ch->s.state = state == CHAN_OPENING ? STREAM_OPENING : STREAM_OPEN;
	ch->s.in = evbuffer_new();
	ch->s.out = evbuffer_new();
	if (!ch->s.in || !ch->s.out) {
		if (ch->s.in)
			evbuffer_free(ch->s.in);
		free(ch);
		return NULL;
	}
	ch->s.local = c->conn.local;
	ch->s.remote = c->conn.remote;
	ch->ch = channel;
	ch->state = state;
	slice_copy(ch->purpose, sizeof(ch->purpose), slice_of(purpose));
	list_init(&ch->changed);
	list_init(&ch->work);
	timer_init(&ch->timer, on_timer, ch);
	ch->callbacks.userdata = ch;
	ch->callbacks.channel_data_function = on_data;
	ch->callbacks.channel_eof_function = on_eof;
	ch->callbacks.channel_close_function = on_close;
	ssh_callbacks_init(&ch->callbacks);
	ssh_set_channel_callbacks(channel, &ch->callbacks);
	list_add_tail(&c->chans, &ch->node);
	c->n_chans++;
	return ch;
}

void chan_list(struct chan *ch)
{
	ch->conn.kind = CONN_CHANNEL;
	ch->conn.transport = CONN_TCP;
	ch->conn.parent = ch->c->conn.id;
	ch->conn.local = ch->c->conn.local;
	ch->conn.remote = ch->c->conn.remote;
	ch->conn.state = ch->state == CHAN_OPENING ? "opening" : "open";
	ch->conn.close = on_conn_close;
	slice_copy(ch->conn.zone, sizeof(ch->conn.zone), slice_of(ch->purpose));
	if (conn_add(ch->c->t->env->conns, &ch->conn) == 0)
		ch->s.conn_id = ch->conn.id;
}

struct stream *chan_open(struct ssh_conn *c, const char *purpose, const struct stream_handler *h,
			 void *arg, int *error)
{
	ssh_channel channel = NULL;
	struct chan *ch = NULL;

	*error = c->n_chans >= c->t->conf->max_streams ? -EAGAIN : -ENOMEM;
	if (*error == -ENOMEM)
		channel = ssh_channel_new(c->session);
	if (channel)
		ch = chan_new(c, channel, CHAN_OPENING, purpose);
	if (!ch) {
		ssh_channel_free(channel);
		return NULL;
	}
	*error = 0;
	stream_set_handler(&ch->s, h, arg);
	chan_list(ch);
	list_add_tail(&c->opening, &ch->work);
	timer_start(loop_timers(c->t->env->loop), &ch->timer, OPEN_MS);
	/* The request goes out from the turn: nothing may be called back before we return. */
	c->again = true;
	ssh_conn_later(c);
	return &ch->s;
}

static void opened(struct chan *ch)
{
	list_del(&ch->work);
	timer_stop(loop_timers(ch->c->t->env->loop), &ch->timer);
	ch->state = CHAN_OPEN;
	ch->conn.state = "open";
	if (!chan_peer_is_sane(ch->ch)) {
		finish(ch, STREAM_END_REFUSED, "the other side takes only tiny packets");
		evbuffer_drain(ch->s.out, evbuffer_get_length(ch->s.out));
	}
	if (ch->gone)
		chan_mark(ch);
	else
		stream_is_open(&ch->s);
}

void chan_opening(struct chan *ch)
{
	int rc;

	if (ssh_channel_is_open(ch->ch)) {
		opened(ch);
		return;
	}
	/* Asking costs a system call, and only a packet changes the answer. */
	if (ch->asked && ch->asked_packets == ch->c->raw_count.in_packets)
		return;
	ch->asked = true;
	ch->asked_packets = ch->c->raw_count.in_packets;
	rc = ssh_channel_open_reverse_forward(ch->ch, ch->purpose, 0, "turnpike", 0);
	if (rc == SSH_AGAIN)
		return;
	if (rc == SSH_OK) {
		opened(ch);
		return;
	}
	list_del(&ch->work);
	finish(ch, STREAM_END_REFUSED, "the other side refused the stream");
	chan_free(ch);
}

/* --- bytes --- */

/* All that libssh holds. Each read of it opens its window anew, whatever is left there: taken in
 * pieces, what it holds would grow with every piece. So it is taken whole, and not again before
 * that is used up: two windows at most. */
static void fill_spill(struct chan *ch)
{
	uint32_t left = ch->held;

	if (!ch->spill && !(ch->spill = evbuffer_new()))
		return;
	while (left > 0) {
		struct evbuffer_iovec v;
		int n;

		if (evbuffer_reserve_space(ch->spill, left < READ_BYTES ? left : READ_BYTES, &v,
					   1) < 1)
			break;
		n = ssh_channel_read_nonblocking(ch->ch, v.iov_base,
						 v.iov_len < left ? (uint32_t)v.iov_len : left, 0);
		if (n <= 0) {
			/* Nothing there after all, or the session is broken: that shows. */
			ch->held = 0;
			break;
		}
		v.iov_len = (size_t)n;
		evbuffer_commit_space(ch->spill, &v, 1);
		left -= (uint32_t)n;
		ch->held -= (uint32_t)n;
		ch->conn.rx_bytes += (uint64_t)n;
	}
}

/* What came and is not in s.in yet, as far as there is room. True when something did. */
static bool pull(struct chan *ch)
{
	bool got = false;
	size_t room;

	while ((room = room_of(ch)) > 0 && has_more(ch)) {
		if (!ch->spill)
			fill_spill(ch);
		if (!ch->spill || evbuffer_remove_buffer(ch->spill, ch->s.in, room) <= 0)
			break;
		got = true;
		if (evbuffer_get_length(ch->spill) == 0)
			drop_spill(ch);
	}
	if (ch->spill && evbuffer_get_length(ch->spill) == 0)
		drop_spill(ch);
	return got;
}

/* Ours is gone: what is left is to send the rest and to close. */
static void advance_gone(struct chan *ch)
{
	struct timerq *timers = loop_timers(ch->c->t->env->loop);

	if (ch->state == CHAN_OPENING)
		return;
	if (ch->state == CHAN_OPEN && evbuffer_get_length(ch->s.out) > 0 && !ch->remote_closed) {
		ch->state = CHAN_LINGERING;
		timer_start(timers, &ch->timer, LINGER_MS);
		if (list_empty(&ch->work))
			list_add_tail(&ch->c->writers, &ch->work);
		return;
	}
	if (ch->state == CHAN_LINGERING && evbuffer_get_length(ch->s.out) > 0 && !ch->remote_closed)
		return;
	if (ch->state != CHAN_CLOSING)
		start_closing(ch);
	if (ch->remote_closed)
		chan_free(ch);
}

/* C: the first time that anybody sees it. */
static bool hand_over(struct chan *ch)
{
	struct tunnel *t = ch->c->t;

	for (size_t i = 0; i < t->n_purposes; i++) {
		if (strcmp(t->purposes[i].name, ch->purpose) != 0)
			continue;
		t->purposes[i].accepted(t->purposes[i].arg, ch->c->peer->id, &ch->s);
		return true;
	}
	return false;
}

void chan_changed(struct chan *ch)
{
	bool got = false;

	if (!ch->s.handler && !ch->gone) {
		/* What comes before the subsystem is asked for waits. */
		if (ch == ch->c->pending_chan && !ch->remote_closed)
			return;
		if (!hand_over(ch))
			ch->gone = true;
	}
	if (!ch->gone) {
		size_t before = evbuffer_get_length(ch->s.in);

		got = pull(ch) || before > 0;
		account(ch);
		if (ch->c->t->held_bytes > ch->c->t->conf->max_held)
			relieve(ch->c->t);
	}
	if (!ch->gone) {
		ch->s.read_paused = has_more(ch);
		if (ch->remote_eof && !has_more(ch) && !ch->s.eof) {
			ch->s.eof = true;
			got = true;
		}
		if (got)
			stream_got(&ch->s);
		if (!ch->gone && !has_more(ch) &&
		    (ch->remote_closed ||
		     (ch->s.eof && ch->eof_sent && evbuffer_get_length(ch->s.in) == 0)))
			finish(ch, STREAM_END_EOF, "closed by peer");
	}
	if (ch->gone)
		advance_gone(ch);
}

/* After the last byte: our end, when it was asked for. */
static void wrote_all(struct chan *ch)
{
	list_del(&ch->work);
	if (ch->state == CHAN_LINGERING) {
		chan_mark(ch);
	} else if (ch->s.shut && !ch->eof_sent) {
		ch->eof_sent = true;
		ssh_channel_send_eof(ch->ch);
		chan_mark(ch);
	}
}

/* An answer's head and its body lie in two pieces. */
static int write_pieces(struct chan *ch, size_t n)
{
	char bytes[COPY_BYTES];

	n = (size_t)evbuffer_copyout(ch->s.out, bytes, n);
	return ssh_channel_write(ch->ch, bytes, (uint32_t)n);
}

static int write_some(struct chan *ch, size_t n)
{
	const void *p;

	if (n <= COPY_BYTES && evbuffer_get_contiguous_space(ch->s.out) < n)
		return write_pieces(ch, n);
	p = evbuffer_pullup(ch->s.out, (ev_ssize_t)n);
	return p ? ssh_channel_write(ch->ch, p, (uint32_t)n) : SSH_ERROR;
}

bool chan_write(struct chan *ch)
{
	struct ssh_conn *c = ch->c;
	size_t n = evbuffer_get_length(ch->s.out);
	uint32_t window = ssh_channel_window_size(ch->ch);
	int wrote;

	if (n == 0 || ch->remote_closed) {
		wrote_all(ch);
		return true;
	}
	list_del(&ch->work);
	if (window == 0) {
		list_add_tail(&c->stalled, &ch->work);
		return true;
	}
	if (n > window)
		n = window;
	if (n > WRITE_BYTES)
		n = WRITE_BYTES;
	wrote = write_some(ch, n);
	if (wrote < 0) {
		/* Closed by the peer meanwhile, or the session broke: both are told elsewhere. */
		evbuffer_drain(ch->s.out, evbuffer_get_length(ch->s.out));
		return true;
	}
	evbuffer_drain(ch->s.out, (size_t)wrote);
	ch->conn.tx_bytes += (uint64_t)wrote;
	ch->conn.tx_packets++;
	list_add_tail(&c->writers, &ch->work);
	if (wrote == 0) {
		/* New keys are being made: nothing can be written on any channel. */
		if (c->blocked_ms == 0) {
			c->blocked_ms = loop_now_ms(c->t->env->loop);
			c->blocked_packets = c->raw_count.in_packets;
		}
		return false;
	}
	c->blocked_ms = 0;
	if (evbuffer_get_length(ch->s.out) == 0)
		wrote_all(ch);
	stream_drained(&ch->s);
	return true;
}

void chan_lost(struct chan *ch, const char *why)
{
	finish(ch, STREAM_END_ERROR, why);
	chan_free(ch);
}
