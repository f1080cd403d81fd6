/* Streams over sockets: how bytes come and go. */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/conn.h"
#include "core/linger.h"
#include "core/stream_impl.h"

/* What a request needs comes by the stack and is copied, so that what waits takes no more memory
 * than it is long; what comes in bulk is read in place. (libevent puts its head of a chunk into the
 * same power of two.) */
#define READ_SMALL	 16384
#define READ_BULK	 (65536 - 64)
#define BULK_FROM	 8192
#define TLS_RECORD_BYTES 16384
#define TLS_WORTH_BYTES	 4096 /* shorter pieces are put together */

enum io { IO_OK, IO_WAIT, IO_EOF, IO_ERROR };

struct outcome {
	enum io io;
	int error; /* errno, 0: not of the socket */
	char why[CONN_REASON_BYTES];
};

static enum io io_error(struct outcome *o, int error)
{
	o->error = error;
	snprintf(o->why, sizeof(o->why), "%s", strerror(error));
	return IO_ERROR;
}

/* OpenSSL's word on a failed call. *wants_write: it waits for room, not for bytes. */
static enum io tls_result(struct stream_socket *ss, int result, bool *wants_write,
			  struct outcome *o)
{
	int error = errno, kind = SSL_get_error(ss->ssl, result);
	unsigned long code;

	*wants_write = kind == SSL_ERROR_WANT_WRITE;
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return IO_WAIT;
	if (kind == SSL_ERROR_ZERO_RETURN) {
		snprintf(o->why, sizeof(o->why), "closed by peer");
		return IO_EOF;
	}
	code = ERR_get_error();
	ERR_clear_error();
	if (code == 0 && kind == SSL_ERROR_SYSCALL && error != 0)
		return io_error(o, error);
	o->error = 0;
	/* RFC 8446 section 6.1: without it nobody knows whether something was cut off. */
	if (ss->phase != SOCK_HANDSHAKE &&
	    (code == 0 || (ERR_GET_LIB(code) == ERR_LIB_SSL &&
			   ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)))
		snprintf(o->why, sizeof(o->why), "closed without close_notify");
	else
		tls_explain(ss->ssl, code, o->why, sizeof(o->why));
	return IO_ERROR;
}

/* SSL_get_error() looks at the thread's queue: nothing old may lie there. */
static void forget_errors(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
	errno = 0;
}

void stream_handshake(struct stream_socket *ss)
{
	struct outcome o;
	bool wants_write;
	int result;

	forget_errors();
	result = SSL_do_handshake(ss->ssl);
	if (result == 1) {
		stream_ready(ss);
		return;
	}
	if (tls_result(ss, result, &wants_write, &o) == IO_WAIT) {
		if (stream_watch_write(ss, wants_write) < 0)
			stream_fail(ss, STREAM_END_ERROR, "out of memory");
		return;
	}
	/* Our alert has to reach the peer. */
	ss->wrote = true;
	stream_fail(ss, STREAM_END_ERROR, "%s", o.why);
}

/* --- in --- */

static enum io plain_read(struct stream_socket *ss, char *p, size_t max, size_t *n,
			  struct outcome *o)
{
	ssize_t got = read(ss->fd, p, max);

	if (got > 0) {
		*n = (size_t)got;
		return IO_OK;
	}
	if (got == 0)
		return IO_EOF;
	return errno == EAGAIN || errno == EINTR ? IO_WAIT : io_error(o, errno);
}

/* All that OpenSSL has; it asks the kernel once as long as no record is cut. */
static enum io tls_read(struct stream_socket *ss, char *p, size_t max, size_t *n, struct outcome *o)
{
	bool wants_write;
	enum io io;
	int got;

	forget_errors();
	while (*n < max) {
		got = SSL_read(ss->ssl, p + *n, (int)(max - *n));
		if (got > 0) {
			*n += (size_t)got;
			if (!SSL_has_pending(ss->ssl))
				return IO_OK;
			continue;
		}
		io = tls_result(ss, got, &wants_write, o);
		if (io == IO_WAIT && wants_write) {
			ss->read_more = true;
			if (stream_watch_write(ss, true) < 0)
				return io_error(o, ENOMEM);
		}
		return io;
	}
	return IO_OK;
}

static enum io read_some(struct stream_socket *ss, char *p, size_t max, size_t *n,
			 struct outcome *o)
{
	size_t room = STREAM_HIGH_BYTES - evbuffer_get_length(ss->s.in);

	if (max > room)
		max = room;
	return ss->ssl ? tls_read(ss, p, max, n, o) : plain_read(ss, p, max, n, o);
}

static enum io read_small(struct stream_socket *ss, size_t *n, struct outcome *o)
{
	char bytes[READ_SMALL];
	enum io io = read_some(ss, bytes, sizeof(bytes), n, o);

	if (*n > 0 && evbuffer_add(ss->s.in, bytes, *n) < 0) {
		*n = 0;
		return io_error(o, ENOMEM);
	}
	return io;
}

static enum io read_bulk(struct stream_socket *ss, size_t *n, struct outcome *o)
{
	struct evbuffer_iovec v;
	enum io io;

	if (evbuffer_reserve_space(ss->s.in, READ_BULK, &v, 1) != 1)
		return io_error(o, ENOMEM);
	io = read_some(ss, v.iov_base, READ_BULK, n, o);
	v.iov_len = *n;
	if (*n > 0 && evbuffer_commit_space(ss->s.in, &v, 1) < 0) {
		*n = 0;
		return io_error(o, ENOMEM);
	}
	return io;
}

/* After stream_close(): only so that a peer which writes before it reads gets to our last bytes. */
static void read_waste(struct stream_socket *ss)
{
	char waste[READ_SMALL];
	ssize_t n = read(ss->fd, waste, sizeof(waste));

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		stream_die(ss);
		return;
	}
	if (n > 0)
		ss->n_wasted += (size_t)n;
	if (n == 0)
		ss->s.eof = true;
	if (n == 0 || ss->n_wasted > LINGER_READ_MAX)
		stream_watch_read(ss, false);
}

/* What was read is told; now what it means for the next time. */
static void after_read(struct stream_socket *ss, const struct outcome *o)
{
	if (ss->write_error && (o->io == IO_EOF || o->io == IO_ERROR)) {
		stream_fail(ss, STREAM_END_ERROR, "%s", strerror(ss->write_error));
	} else if (o->io == IO_ERROR) {
		stream_fail(ss, STREAM_END_ERROR, "%s", o->why);
	} else if (o->io == IO_EOF) {
		if (stream_is_over(&ss->s))
			stream_later(ss);
	} else if (evbuffer_get_length(ss->s.in) >= STREAM_HIGH_BYTES) {
		ss->s.read_paused = true;
		stream_watch_read(ss, false);
	} else if (o->io == IO_OK && ss->ssl && SSL_has_pending(ss->ssl)) {
		ss->read_more = true;
		stream_later(ss);
	}
}

void stream_read(struct stream_socket *ss)
{
	struct outcome o = { 0 };
	size_t n = 0;

	if (ss->phase == SOCK_CLOSING) {
		read_waste(ss);
		return;
	}
	if (ss->s.eof || ss->s.read_paused)
		return;
	if (evbuffer_get_length(ss->s.in) >= STREAM_HIGH_BYTES) {
		after_read(ss, &o);
		return;
	}
	o.io = ss->bulk ? read_bulk(ss, &n, &o) : read_small(ss, &n, &o);
	if (n > 0)
		ss->bulk = n >= BULK_FROM;
	if (o.io == IO_EOF) {
		stream_watch_read(ss, false);
		/* After a reset the end of the bytes is not the end that the peer meant. */
		ss->s.eof = ss->write_error == 0;
	}
	if (n > 0 || ss->s.eof)
		stream_got(&ss->s);
	if (ss->phase == SOCK_READY)
		after_read(ss, &o);
}

/* --- out --- */

static enum io plain_write(struct stream_socket *ss, struct outcome *o)
{
	struct evbuffer *out = ss->s.out;

	if (evbuffer_write(out, ss->fd) < 0)
		return errno == EAGAIN || errno == EINTR ? IO_WAIT : io_error(o, errno);
	ss->wrote = true;
	/* A short write says that the socket is full; asking again would say no more. */
	return evbuffer_get_length(out) > 0 ? IO_WAIT : IO_OK;
}

static int tls_write_in_place(struct stream_socket *ss, size_t n)
{
	const void *p = evbuffer_pullup(ss->s.out, (ev_ssize_t)n);

	return SSL_write(ss->ssl, p, (int)n);
}

/* A head and its body lie in two pieces. */
static int tls_write_copy(struct stream_socket *ss, size_t n)
{
	char bytes[TLS_RECORD_BYTES];

	n = (size_t)evbuffer_copyout(ss->s.out, bytes, n);
	return SSL_write(ss->ssl, bytes, (int)n);
}

/* One record. A try that failed is repeated with at least the same bytes, as OpenSSL wants it. */
static enum io tls_write(struct stream_socket *ss, struct outcome *o)
{
	struct evbuffer *out = ss->s.out;
	size_t len = evbuffer_get_length(out), n = evbuffer_get_contiguous_space(out);
	bool wants_write;
	int wrote;

	forget_errors();
	if (n < TLS_WORTH_BYTES && n < len)
		wrote = tls_write_copy(ss, len < TLS_RECORD_BYTES ? len : TLS_RECORD_BYTES);
	else
		wrote = tls_write_in_place(ss, n < TLS_RECORD_BYTES ? n : TLS_RECORD_BYTES);
	if (wrote > 0) {
		ss->wrote = true;
		evbuffer_drain(out, (size_t)wrote);
		return IO_OK;
	}
	return tls_result(ss, wrote, &wants_write, o);
}

int stream_write_clear(struct stream_socket *ss)
{
	struct evbuffer *out = ss->s.out;
	int n;

	while (ss->n_clear > 0) {
		n = evbuffer_write_atmost(out, ss->fd, (ev_ssize_t)ss->n_clear);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0) {
			stream_fail(ss, STREAM_END_ERROR, "%s", strerror(errno));
			return -1;
		}
		ss->wrote = true;
		ss->n_clear -= (size_t)n;
	}
	return 1;
}

static enum io write_all(struct stream_socket *ss, struct outcome *o)
{
	struct evbuffer *out = ss->s.out;
	enum io io = IO_OK;

	/* Nobody takes it any more. */
	if (ss->write_error || ss->fin_sent)
		evbuffer_drain(out, evbuffer_get_length(out));
	while (io == IO_OK && evbuffer_get_length(out) > 0)
		io = ss->ssl ? tls_write(ss, o) : plain_write(ss, o);
	return io;
}

/* An answer that the peer gave before it cut our request off is still there to be read. */
static void write_failed(struct stream_socket *ss, const struct outcome *o)
{
	evbuffer_drain(ss->s.out, evbuffer_get_length(ss->s.out));
	if (ss->phase == SOCK_CLOSING) {
		ss->wrote = false;
		stream_die(ss);
	} else if ((o->error != EPIPE && o->error != ECONNRESET) || ss->s.eof) {
		stream_fail(ss, STREAM_END_ERROR, "%s", o->why);
	} else {
		ss->write_error = o->error;
		stream_watch_write(ss, false);
		if (!ss->s.read_paused)
			ss->read_more = true;
		stream_later(ss);
	}
}

/* FIN or close_notify. False: no room for it now. */
static bool send_fin(struct stream_socket *ss)
{
	struct outcome o;
	bool wants_write;
	int result;

	if (ss->fin_sent)
		return true;
	if (ss->ssl) {
		forget_errors();
		result = SSL_shutdown(ss->ssl);
		if (result < 0 && tls_result(ss, result, &wants_write, &o) == IO_WAIT)
			return false;
	} else if (ss->phase != SOCK_CLOSING) {
		shutdown(ss->fd, SHUT_WR);
	}
	ss->fin_sent = true;
	return true;
}

void stream_write(struct stream_socket *ss)
{
	enum sock_phase phase = (enum sock_phase)ss->phase;
	struct outcome o = { 0 };
	bool wait;

	ss->flush = false;
	o.io = write_all(ss, &o);
	if (o.io == IO_ERROR || o.io == IO_EOF) {
		write_failed(ss, &o);
		return;
	}
	stream_drained(&ss->s);
	if (ss->phase != phase)
		return;
	wait = o.io == IO_WAIT;
	if (!wait && ss->s.shut && evbuffer_get_length(ss->s.out) == 0)
		wait = !send_fin(ss);
	if (wait && stream_watch_write(ss, true) < 0)
		stream_fail(ss, STREAM_END_ERROR, "out of memory");
	else if (ss->phase == SOCK_CLOSING && ss->fin_sent)
		stream_die(ss);
	else if (stream_is_over(&ss->s) && ss->fin_sent)
		stream_later(ss);
}
