/* Streams over sockets that we dial. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "core/log.h"
#include "core/module.h"
#include "core/stream_impl.h"

#define DEFAULT_TIMEOUT_MS 10000

void stream_connected(struct stream_socket *ss)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(ss->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error) {
		stream_fail(ss, STREAM_END_REFUSED, "%s", strerror(error));
		return;
	}
	ss->s.local = net_local_addr(ss->fd);
	if (!ss->ssl) {
		stream_ready(ss);
		return;
	}
	ss->phase = SOCK_HANDSHAKE;
	stream_watch_write(ss, false);
	if (stream_watch_read(ss, true) < 0)
		stream_fail(ss, STREAM_END_ERROR, "out of memory");
	else
		stream_handshake(ss);
}

/* NULL with *error 0: plain. */
static SSL *new_ssl(struct env *env, const struct stream_connect *c, int *error)
{
	enum tls_verify verify = c->verify ? TLS_VERIFY_PEER : TLS_VERIFY_NONE;
	const char *why = "";
	SSL *ssl = NULL;

	*error = 0;
	if (c->tls)
		ssl = tls_connect_new(env->tls, c->tls, c->server_name, verify, &why);
	else if (c->tls_public)
		ssl = tls_public_new(env->tls, c->server_name, verify, &why);
	if (ssl || (!c->tls && !c->tls_public))
		return ssl;
	log_warn(env->log, "net.tls.connect", "tls=%s reason=%s",
		 log_esc(slice_of(c->tls ? c->tls : "")), log_esc(slice_of(why)));
	*error = -EPROTO;
	return NULL;
}

struct stream *stream_connect(struct env *env, const struct stream_connect *c,
			      const struct stream_handler *h, void *arg, int *error)
{
	struct stream_socket *ss;
	SSL *ssl = new_ssl(env, c, error);
	int fd;

	if (*error)
		return NULL;
	if (c->shared_port)
		fd = net_connect_tcp_shared(&c->to, c->from);
	else
		fd = net_connect_tcp(&c->to, c->from, c->first_port, c->last_port);
	if (fd < 0) {
		SSL_free(ssl);
		*error = fd;
		return NULL;
	}
	ss = stream_socket_new(env->loop, fd, ssl, SOCK_CONNECTING);
	if (!ss) {
		*error = -ENOMEM;
		return NULL;
	}
	ss->s.remote = c->to;
	stream_set_handler(&ss->s, h, arg);
	if (stream_watch_write(ss, true) < 0) {
		stream_die(ss);
		*error = -ENOMEM;
		return NULL;
	}
	timer_start(loop_timers(env->loop), &ss->timer,
		    c->timeout_ms ? c->timeout_ms : DEFAULT_TIMEOUT_MS);
	return &ss->s;
}
