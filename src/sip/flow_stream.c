/*
 * Flows over TCP and TLS: libevent bufferevents. The TCP connect is watched by an event of our own,
 * so that each phase has its state, its time limit and its reason.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/linger.h"
#include "core/log.h"
#include "core/trace.h"
#include "sip/flow_impl.h"

/* --- the end --- */
static int stream_fd(const struct flow *f)
{
	return f->s.bev ? bufferevent_getfd(f->s.bev) : f->s.fd;
}

SSL *flow_ssl(const struct flow *f)
{
	if (f->conn.transport != CONN_TLS)
		return NULL;
	return f->s.bev ? bufferevent_openssl_get_ssl(f->s.bev) : f->s.ssl;
}

static void stream_stop(struct flow *f)
{
	if (f->s.connected)
		event_del(f->s.connected);
	if (!f->s.bev)
		return;
	bufferevent_setcb(f->s.bev, NULL, NULL, NULL, NULL);
	bufferevent_disable(f->s.bev, EV_READ | EV_WRITE);
}

static bool write_some(SSL *ssl, int fd, struct evbuffer *out)
{
	size_t n = evbuffer_get_contiguous_space(out);
	const void *p = evbuffer_pullup(out, (ev_ssize_t)n);
	int wrote;

	if (!ssl)
		return evbuffer_write(out, fd) > 0;
	wrote = n > 0 && p ? SSL_write(ssl, p, n > 65536 ? 65536 : (int)n) : 0;
	if (wrote > 0)
		evbuffer_drain(out, (size_t)wrote);
	return wrote > 0;
}

/* An answer that was sent just before the close still goes out, as far as the socket takes it. */
static void flush(struct flow *f, SSL *ssl, int fd)
{
	struct evbuffer *out = bufferevent_get_output(f->s.bev);

	if (ssl && !SSL_is_init_finished(ssl))
		return;
	bufferevent_lock(f->s.bev);
	evbuffer_unfreeze(out, 1);
	while (evbuffer_get_length(out) > 0 && write_some(ssl, fd, out))
		f->s.linger = true;
	if (ssl) {
		/* close_notify; we do not wait for the peer's. */
		SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
		SSL_shutdown(ssl);
	}
	bufferevent_unlock(f->s.bev);
}

static void stream_release(struct flow *f)
{
	if (f->s.connected)
		event_free(f->s.connected);
	if (f->s.bev) {
		SSL *ssl = flow_ssl(f);
		int fd = stream_fd(f), own = -1;

		flush(f, ssl, fd);
		/* The bufferevent closes its own descriptor. */
		if (f->s.linger && !f->t->freeing)
			own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		bufferevent_free(f->s.bev); /* SSL and descriptor too */
		if (own >= 0)
			linger_close(f->t->env->loop, own);
		ERR_clear_error();
	} else {
		SSL_free(f->s.ssl);
		if (f->s.fd >= 0)
			close(f->s.fd);
	}
	if (f->s.waiting)
		evbuffer_free(f->s.waiting);
	free(f->s.server_name);
	free(f->s.verify_name);
}

static void stream_late(struct flow *f)
{
	const struct sip_conf *conf = f->t->conf;
	char text[24];

	if (f->state == FLOW_CONNECTING)
		flow_close(f, "no connection in %s", flow_ms_str(conf->connect_timeout_ms, text));
	else if (f->state == FLOW_HANDSHAKE)
		flow_drop(f, "sip.flow.timeout", "[sip] handshake-timeout",
			  "TLS handshake not finished in %s",
			  flow_ms_str(conf->handshake_timeout_ms, text));
	else
		flow_drop(f, "sip.flow.timeout", "[sip] message-timeout",
			  "message not complete in %s",
			  flow_ms_str(conf->message_timeout_ms, text));
}

static int stream_send(struct flow *f, struct slice bytes)
{
	struct evbuffer *out = f->s.bev ? bufferevent_get_output(f->s.bev) : f->s.waiting;

	if (evbuffer_get_length(out) + bytes.n > FLOW_MAX_OUTPUT_BYTES) {
		flow_drop(f, "sip.flow.overflow", NULL,
			  "output over 1 MiB: the peer does not read");
		return -ENOBUFS;
	}
	return evbuffer_add(out, bytes.p, bytes.n) < 0 ? -ENOMEM : 0;
}

static const struct flow_io stream_io = {
	.send = stream_send,
	.stop = stream_stop,
	.release = stream_release,
	.late = stream_late,
};

/* --- input --- */

/* A head that can be read is answered with 400 before the close. */
static void garbage(struct flow *f, struct slice bytes, const char *why)
{
	struct sip_reject reject = { .status = 400, .phrase = "Bad Request" };
	struct sip_msg *m = flow_parse_head(bytes, f->t->conf->max_message);

	f->conn.n_dropped++;
	if (m) {
		slice_copy(reject.why, sizeof(reject.why), slice_of(why));
		f->t->events->malformed(f->t->arg, f, m, &reject);
		sip_msg_unref(m);
	}
	flow_drop(f, "sip.flow.garbage", NULL, "garbage: %s", why);
}

/* One thing off the front of the input. False: nothing whole there, or the flow has ended. */
static bool take_one(struct flow *f, struct evbuffer *in)
{
	struct slice bytes = { NULL, evbuffer_get_length(in) };
	struct sip_frame frame;

	if (bytes.n == 0)
		return false;
	bytes.p = (const char *)evbuffer_pullup(in, -1);
	if (!bytes.p) {
		flow_close(f, "out of memory");
		return false;
	}
	frame = sip_frame_next(bytes, f->t->conf->max_message, &f->s.scanned);
	switch (frame.kind) {
	case SIP_FRAME_MORE:
		return false;
	case SIP_FRAME_MESSAGE:
		flow_input(f, (struct slice){ bytes.p + frame.skip, frame.n });
		break;
	case SIP_FRAME_PING: /* RFC 5626 section 3.5.1 */
		flow_send(f, SLICE("\r\n"));
		break;
	case SIP_FRAME_PONG:
		if (f->t->events->pong)
			f->t->events->pong(f->t->arg, f);
		break;
	case SIP_FRAME_TOO_BIG:
		f->s.linger = true;
		flow_too_big(f, bytes);
		flow_close(f, "message over %u bytes", f->t->conf->max_message);
		return false;
	case SIP_FRAME_GARBAGE:
		garbage(f, bytes, frame.why ? frame.why : "not SIP");
		return false;
	}
	/* The input stays untouched by whatever the callbacks did: a closed flow lives on until the
	 * end of the turn. */
	evbuffer_drain(in, frame.skip + frame.n);
	f->s.scanned = 0;
	return f->state == FLOW_OPEN;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct flow *f = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	bool finished_one = false;

	if (f->state != FLOW_OPEN)
		return;
	f->last_rx_ms = loop_now_ms(f->t->env->loop);
	f->conn.rx_bytes += evbuffer_get_length(in) - f->s.n_unread;
	while (take_one(f, in))
		finished_one = true;
	f->s.n_unread = evbuffer_get_length(in);
	if (f->state != FLOW_OPEN)
		return;
	/* The time of a message runs from its first byte. */
	if (f->s.n_unread == 0)
		timer_stop(loop_timers(f->t->env->loop), &f->deadline);
	else if (finished_one || !timer_armed(&f->deadline))
		flow_deadline(f, f->t->conf->message_timeout_ms);
}

/* --- opening and what the socket reports --- */
/* A client certificate that chains to the pair's CA is not enough: the name says whose it is. */
static bool is_right_client(const struct flow *f, char *why, size_t size)
{
	SSL *ssl = flow_ssl(f);

	if (f->role != FLOW_TRAVERSAL_SERVER)
		return true;
	if (!f->s.verify_name)
		snprintf(why, size, "zone %s has no verify-name", f->conn.zone);
	else if (!tls_peer_has_name(ssl, f->s.verify_name))
		tls_explain_name(ssl, f->s.verify_name, why, size);
	else
		return true;
	return false;
}

static void handshake_done(struct flow *f)
{
	char why[CONN_REASON_BYTES];

	if (is_right_client(f, why, sizeof(why))) {
		flow_opened(f);
		return;
	}
	f->s.linger = true;
	flow_drop(f, "sip.flow.tls-name", f->conn.zone, "%s", why);
}

static bool is_plain_eof(unsigned long err, short what)
{
	if (what & BEV_EVENT_EOF)
		return true;
	return ERR_GET_LIB(err) == ERR_LIB_SSL &&
	       ERR_GET_REASON(err) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static void closed_by_peer(struct flow *f)
{
	flow_close(f, f->s.n_unread > 0 ? "closed by peer in the middle of a message"
					: "closed by peer");
}

static void tls_failed(struct flow *f, short what, int socket_error)
{
	unsigned long err = bufferevent_get_openssl_error(f->s.bev);
	char why[CONN_REASON_BYTES];

	tls_explain(flow_ssl(f), err, why, sizeof(why));
	if (f->state == FLOW_HANDSHAKE) {
		/* Our alert has to reach the peer. */
		f->s.linger = true;
		flow_drop(f, "sip.flow.tls", f->conn.zone, "%s", why);
	} else if (is_plain_eof(err, what)) {
		closed_by_peer(f);
	} else if (err == 0 && socket_error != 0) {
		flow_close(f, "%s", strerror(socket_error));
	} else {
		flow_close(f, "%s", why);
	}
	ERR_clear_error();
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct flow *f = arg;
	int socket_error = EVUTIL_SOCKET_ERROR();

	if (f->state == FLOW_CLOSED)
		return;
	if (what & BEV_EVENT_CONNECTED)
		handshake_done(f);
	else if (f->conn.transport == CONN_TLS)
		tls_failed(f, what, socket_error);
	else if (what & BEV_EVENT_EOF)
		closed_by_peer(f);
	else
		flow_close(f, "%s", strerror(socket_error));
}

static struct bufferevent *new_bev(struct flow *f, int fd, SSL *ssl)
{
	struct event_base *base = loop_base(f->t->env->loop);
	enum bufferevent_ssl_state side =
		f->conn.parent ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING;
	struct bufferevent *bev;

	if (!ssl)
		return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	/* Whether a failure here frees ssl differs between versions of libevent: an own reference
	 * makes it certain that nothing is freed twice. */
	SSL_up_ref(ssl);
	bev = bufferevent_openssl_socket_new(base, fd, ssl, side, BEV_OPT_CLOSE_ON_FREE);
	SSL_free(ssl);
	return bev;
}

/* The TCP connection stands: takes over descriptor and SSL of f->s. */
static void tcp_open(struct flow *f)
{
	struct bufferevent *bev = new_bev(f, f->s.fd, f->s.ssl);

	if (!bev) {
		f->s.ssl = NULL;
		flow_close(f, "out of memory");
		return;
	}
	f->s.bev = bev;
	f->s.fd = -1;
	f->s.ssl = NULL;
	if (f->s.waiting)
		evbuffer_add_buffer(bufferevent_get_output(bev), f->s.waiting);
	bufferevent_setcb(bev, on_read, NULL, on_event, f);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	if (f->conn.transport == CONN_TLS) {
		flow_set_state(f, FLOW_HANDSHAKE);
		flow_deadline(f, f->t->conf->handshake_timeout_ms);
	} else {
		flow_opened(f);
	}
}

void flow_stream_accepted(struct listener *l, int fd, const struct addr *remote,
			  struct net_limits *counted)
{
	struct transport *t = l->t;
	struct conn like = { .parent = l->conn.id,
			     .transport = l->conn.transport,
			     .local = net_local_addr(fd),
			     .remote = *remote };
	const char *why = "connection table full, or out of memory";
	struct flow *f;

	memcpy(like.zone, l->conn.zone, sizeof(like.zone));
	f = flow_new(t, &stream_io, &like, l->role);
	if (!f) {
		trace_add(t->env->trace, "sip.flow.refused", NULL, remote, NULL, "%s", why);
		like.kind = CONN_FLOW;
		conn_refused(t->env->conns, &like, "%s", why);
		net_limits_leave(counted, remote);
		close(fd);
		return;
	}
	f->counted = counted;
	f->s.is_server = true;
	f->from_outside = l->role == FLOW_OUTSIDE;
	f->s.fd = fd;
	f->s.verify_name = l->verify_name ? strdup(l->verify_name) : NULL;
	if (l->verify_name && !f->s.verify_name) {
		flow_close(f, "out of memory");
		return;
	}
	if (l->conn.transport == CONN_TLS) {
		f->s.ssl = tls_accept_new(
			t->env->tls, l->tls,
			l->role == FLOW_TRAVERSAL_SERVER ? TLS_VERIFY_PEER : TLS_VERIFY_NONE, &why);
		if (!f->s.ssl) {
			flow_drop(f, "sip.flow.tls", l->tls, "no TLS: %s", why);
			return;
		}
	}
	tcp_open(f);
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct flow *f = arg;
	int error = 0;
	socklen_t n = sizeof(error);

	if (f->state != FLOW_CONNECTING)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error) {
		flow_close(f, "%s", strerror(error));
		return;
	}
	f->conn.local = net_local_addr(fd);
	tcp_open(f);
}

/* The address that connections to dest leave from. */
static const struct addr *source_address(const struct transport *t, const struct flow_dest *dest)
{
	const struct addr *from = &t->conf->address;

	if (dest->role == FLOW_OUTSIDE && t->conf->outside_address.family != ADDR_NONE)
		from = &t->conf->outside_address;
	return from->family == dest->addr.family ? from : NULL;
}

static int start_tls(struct flow *f, const struct flow_dest *dest)
{
	const char *why = "";

	if (dest->transport != CONN_TLS)
		return 0;
	if (dest->server_name) {
		f->s.server_name = strdup(dest->server_name);
		if (!f->s.server_name)
			return -ENOMEM;
	}
	f->s.ssl = tls_connect_new(f->t->env->tls, dest->tls, dest->server_name,
				   dest->verify ? TLS_VERIFY_PEER : TLS_VERIFY_NONE, &why);
	if (f->s.ssl)
		return 0;
	log_warn(f->t->env->log, "sip.flow.tls", "zone=%s tls=%s reason=%s",
		 log_esc(slice_of(dest->zone)), log_esc(slice_of(dest->tls)),
		 log_esc(slice_of(why)));
	return -EPROTO;
}

static int start_connect(struct flow *f, const struct flow_dest *dest)
{
	struct transport *t = f->t;
	int error = start_tls(f, dest);

	if (error)
		return error;
	f->s.waiting = evbuffer_new();
	if (!f->s.waiting)
		return -ENOMEM;
	f->s.fd = net_connect_tcp(&dest->addr, source_address(t, dest), t->conf->source_ports.first,
				  t->conf->source_ports.last);
	if (f->s.fd < 0)
		return f->s.fd;
	f->conn.local = net_local_addr(f->s.fd);
	f->s.connected = event_new(loop_base(t->env->loop), f->s.fd, EV_WRITE, on_connected, f);
	if (!f->s.connected || event_add(f->s.connected, NULL) < 0)
		return -ENOMEM;
	flow_deadline(f, t->conf->connect_timeout_ms);
	return 0;
}

struct flow *flow_stream_connect(struct transport *t, const struct flow_dest *dest, int *error)
{
	struct conn like = { .transport = dest->transport, .remote = dest->addr };
	struct flow *f;

	slice_copy(like.zone, sizeof(like.zone), slice_of(dest->zone));
	f = flow_new(t, &stream_io, &like, dest->role);
	if (!f) {
		*error = -ENOMEM;
		return NULL;
	}
	*error = start_connect(f, dest);
	if (*error == 0) {
		flow_enter(f);
		return f;
	}
	/* It never lived for the layer above: no events. */
	conn_end(t->env->conns, &f->conn, "%s", strerror(-*error));
	list_del(&f->node);
	timer_stop(loop_timers(t->env->loop), &f->deadline);
	stream_release(f);
	free(f);
	return NULL;
}
