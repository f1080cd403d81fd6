/* Streams over sockets: their life, from the descriptor to its end. */
#include "core/stream_socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/conn.h"
#include "core/linger.h"
#include "core/stream_impl.h"

int stream_watch_read(struct stream_socket *ss, bool on)
{
	if (ss->read_on == on)
		return 0;
	if ((on ? event_add(&ss->readable, NULL) : event_del(&ss->readable)) < 0)
		return -ENOMEM;
	ss->read_on = on;
	return 0;
}

int stream_watch_write(struct stream_socket *ss, bool on)
{
	if (ss->write_on == on)
		return 0;
	if ((on ? event_add(&ss->writable, NULL) : event_del(&ss->writable)) < 0)
		return -ENOMEM;
	ss->write_on = on;
	return 0;
}

void stream_later(struct stream_socket *ss)
{
	loop_defer(ss->loop, &ss->later);
}

static void release(struct stream_socket *ss)
{
	loop_defer_cancel(&ss->later);
	if (ss->counted)
		stream_limits_leave(ss->counted, &ss->s.remote);
	SSL_free(ss->ssl);
	if (ss->fd >= 0 && ss->wrote && !ss->s.eof)
		linger_close(ss->loop, ss->fd);
	else if (ss->fd >= 0)
		close(ss->fd);
	if (ss->s.in)
		evbuffer_free(ss->s.in);
	if (ss->s.out)
		evbuffer_free(ss->s.out);
	free(ss);
}

void stream_die(struct stream_socket *ss)
{
	if (ss->phase == SOCK_DEAD)
		return;
	if (ss->phase == SOCK_CLOSING && ss->is_guest)
		loop_guest_leave(ss->loop, &ss->guest);
	else if (ss->is_accepting)
		list_del(&ss->accepting.node);
	ss->phase = SOCK_DEAD;
	stream_watch_read(ss, false);
	stream_watch_write(ss, false);
	timer_stop(loop_timers(ss->loop), &ss->timer);
	stream_later(ss);
}

void stream_fail(struct stream_socket *ss, enum stream_end end, const char *fmt, ...)
{
	bool accepting = ss->phase == SOCK_HANDSHAKE && ss->is_accepting;
	char why[CONN_REASON_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	ERR_clear_error();
	stream_die(ss);
	if (accepting)
		stream_listener_refuse(ss, why);
	stream_is_closed(&ss->s, end, why);
}

void stream_ready(struct stream_socket *ss)
{
	bool accepted = ss->is_accepting;

	stream_watch_write(ss, false);
	if (stream_watch_read(ss, true) < 0) {
		stream_fail(ss, STREAM_END_ERROR, "out of memory");
		return;
	}
	timer_stop(loop_timers(ss->loop), &ss->timer);
	if (accepted)
		list_del(&ss->accepting.node);
	ss->is_accepting = false;
	ss->phase = SOCK_READY;
	if (accepted)
		stream_listener_take(ss);
	else
		stream_is_open(&ss->s);
	/* The first bytes of the peer may have come in the same segment as its last ones of the
	 * handshake. */
	if (ss->phase == SOCK_READY && ss->ssl && SSL_has_pending(ss->ssl)) {
		ss->read_more = true;
		stream_later(ss);
	}
}

void stream_clear(struct stream_socket *ss)
{
	int done;

	ss->phase = SOCK_CLEAR;
	done = stream_write_clear(ss);
	if (done < 0)
		return;
	/* What comes before our last word in the clear is sent lies in the socket until then. */
	if (stream_watch_write(ss, !done) < 0 || stream_watch_read(ss, done) < 0) {
		stream_fail(ss, STREAM_END_ERROR, "out of memory");
		return;
	}
	if (!done)
		return;
	ss->phase = SOCK_HANDSHAKE;
	stream_handshake(ss);
}

/* --- what the loop reports --- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct stream_socket *ss = arg;

	if (ss->phase == SOCK_HANDSHAKE && ss->detecting)
		stream_listener_detect(ss);
	else if (ss->phase == SOCK_HANDSHAKE)
		stream_handshake(ss);
	else if (ss->phase == SOCK_READY || ss->phase == SOCK_CLOSING)
		stream_read(ss);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct stream_socket *ss = arg;

	if (ss->phase == SOCK_CONNECTING) {
		stream_connected(ss);
	} else if (ss->phase == SOCK_CLEAR) {
		stream_clear(ss);
	} else if (ss->phase == SOCK_HANDSHAKE) {
		stream_handshake(ss);
	} else if (ss->phase == SOCK_READY || ss->phase == SOCK_CLOSING) {
		stream_watch_write(ss, false);
		stream_write(ss);
		if (ss->read_more)
			stream_later(ss);
	}
}

static size_t left_to_send(struct stream_socket *ss)
{
	return evbuffer_get_length(ss->s.out) + stream_unacked(&ss->s);
}

/* The last bytes of an answer to a slow client take as long as they take. */
static void closing_late(struct stream_socket *ss)
{
	size_t n = left_to_send(ss);

	if (evbuffer_get_length(ss->s.out) == 0 || n + STREAM_CLOSING_BYTES > ss->n_left) {
		stream_die(ss);
		return;
	}
	ss->n_left = n;
	timer_start(loop_timers(ss->loop), &ss->timer, STREAM_CLOSING_MS);
}

static void late(void *arg)
{
	struct stream_socket *ss = arg;

	if (ss->phase == SOCK_CONNECTING)
		stream_fail(ss, STREAM_END_TIMEOUT, "no connection in time");
	else if (ss->phase == SOCK_HANDSHAKE && ss->detecting)
		stream_fail(ss, STREAM_END_TIMEOUT, "nothing was sent in time");
	else if (ss->phase == SOCK_CLEAR || ss->phase == SOCK_HANDSHAKE)
		stream_fail(ss, STREAM_END_TIMEOUT, "TLS handshake not finished in time");
	else
		closing_late(ss);
}

static void run_later(void *arg)
{
	struct stream_socket *ss = arg;

	if (ss->phase == SOCK_CLEAR)
		stream_clear(ss);
	if (ss->read_more && ss->phase == SOCK_READY && !ss->s.read_paused) {
		ss->read_more = false;
		stream_read(ss);
	}
	if (ss->flush && ss->phase == SOCK_READY && !ss->write_on) {
		ss->flush = false;
		stream_write(ss);
	}
	if (ss->phase == SOCK_READY && stream_is_over(&ss->s) && ss->fin_sent)
		stream_fail(ss, STREAM_END_EOF, "closed by peer");
	if (ss->phase == SOCK_DEAD)
		release(ss);
}

/* --- what the owner asks --- */

/* At the end of the turn, so that a head and a body which are added one after the other leave in
 * one write. */
static void op_flush(struct stream *s)
{
	struct stream_socket *ss = stream_socket_of(s);

	ss->flush = true;
	if (!ss->write_on)
		stream_later(ss);
}

static void op_want_read(struct stream *s)
{
	struct stream_socket *ss = stream_socket_of(s);

	if (ss->phase != SOCK_READY)
		return;
	if (s->read_paused && evbuffer_get_length(s->in) < STREAM_HIGH_BYTES) {
		s->read_paused = false;
		if (!s->eof && stream_watch_read(ss, true) < 0)
			ss->read_more = true;
		if (ss->ssl && SSL_has_pending(ss->ssl))
			ss->read_more = true;
	}
	if (ss->read_more || stream_is_over(s))
		stream_later(ss);
}

static void end_closing(void *arg)
{
	stream_die(arg);
}

static void reset(struct stream_socket *ss)
{
	struct linger hard = { .l_onoff = 1 };

	(void)setsockopt(ss->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	ss->wrote = false;
	stream_die(ss);
}

/* What is left in out goes on in the background. */
static void op_close(struct stream *s, bool now)
{
	struct stream_socket *ss = stream_socket_of(s);

	if (now) {
		reset(ss);
		return;
	}
	if (ss->phase != SOCK_READY || ss->write_error) {
		stream_die(ss);
		return;
	}
	ss->phase = SOCK_CLOSING;
	s->shut = true;
	evbuffer_drain(s->in, evbuffer_get_length(s->in));
	if (!ss->write_on)
		stream_write(ss);
	if (ss->phase != SOCK_CLOSING)
		return;
	ss->is_guest = loop_guest_enter(ss->loop, &ss->guest, STREAM_CLOSING_MAX, end_closing, ss);
	if (!ss->is_guest || (!s->eof && stream_watch_read(ss, true) < 0))
		stream_die(ss);
	else
		timer_start(loop_timers(ss->loop), &ss->timer, STREAM_CLOSING_MS);
	ss->n_left = ss->phase == SOCK_CLOSING ? left_to_send(ss) : 0;
}

static const struct stream_ops socket_ops = {
	.flush = op_flush,
	.want_read = op_want_read,
	.shutdown = op_flush,
	.close = op_close,
};

int stream_set_ssl(struct stream_socket *ss, SSL *ssl)
{
	if (SSL_set_fd(ssl, ss->fd) != 1) {
		SSL_free(ssl);
		return -ENOMEM;
	}
	SSL_set_read_ahead(ssl, 1);
	ss->ssl = ssl;
	ss->s.is_tls = true;
	return 0;
}

bool stream_is_socket(const struct stream *s)
{
	return s->ops == &socket_ops;
}

static struct stream_socket *new_with_buffers(int fd)
{
	struct stream_socket *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return NULL;
	ss->fd = fd;
	ss->s.in = evbuffer_new();
	ss->s.out = evbuffer_new();
	if (ss->s.in && ss->s.out)
		return ss;
	if (ss->s.in)
		evbuffer_free(ss->s.in);
	if (ss->s.out)
		evbuffer_free(ss->s.out);
	free(ss);
	return NULL;
}

struct stream_socket *stream_socket_new(struct loop *loop, int fd, SSL *ssl, enum sock_phase phase)
{
	struct stream_socket *ss = new_with_buffers(fd);

	if (!ss) {
		SSL_free(ssl);
		close(fd);
		return NULL;
	}
	if (ssl && stream_set_ssl(ss, ssl) < 0) {
		evbuffer_free(ss->s.in);
		evbuffer_free(ss->s.out);
		free(ss);
		close(fd);
		return NULL;
	}
	ss->s.ops = &socket_ops;
	ss->loop = loop;
	ss->phase = (uint8_t)phase;
	timer_init(&ss->timer, late, ss);
	loop_deferred_init(&ss->later, run_later, ss);
	event_assign(&ss->readable, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, ss);
	event_assign(&ss->writable, loop_base(loop), fd, EV_WRITE | EV_PERSIST, on_writable, ss);
	return ss;
}

void stream_keep_alive(int fd)
{
	/* RFC 9293 section 3.8.4. The kernel asks the last of these only behind a probe: a little
	 * less than 120 s and three times 20 s, so that it is the third one that decides. */
	static const struct {
		int level, option, value;
	} wanted[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },	   { IPPROTO_TCP, TCP_KEEPIDLE, 120 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 20 },	   { IPPROTO_TCP, TCP_KEEPCNT, 3 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 175000 },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		(void)setsockopt(fd, wanted[i].level, wanted[i].option, &wanted[i].value,
				 sizeof(wanted[i].value));
}

size_t stream_unacked(struct stream *s)
{
	int n = 0;

	if (!stream_is_socket(s) || ioctl(stream_socket_of(s)->fd, SIOCOUTQ, &n) < 0 || n < 0)
		return 0;
	return (size_t)n;
}

SSL *stream_ssl(struct stream *s)
{
	return stream_is_socket(s) ? stream_socket_of(s)->ssl : NULL;
}
