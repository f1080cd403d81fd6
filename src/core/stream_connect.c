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
	stream_clear(ss);
}

static enum tls_verify verify_of(bool verify, bool ask)
{
	return verify ? TLS_VERIFY_PEER : ask ? TLS_VERIFY_ASK : TLS_VERIFY_NONE;
}

static SSL *bare_client_ssl(struct env *env, const struct stream_tls *t, const char **why)
{
	enum tls_verify verify = verify_of(t->verify, t->ask);

	if (t->tls)
		return tls_connect_new(env->tls, t->tls, t->server_name, verify, why);
	return tls_public_new(env->tls, t->server_name, verify, why);
}

/* NULL when there is none, the reason is said in the log. */
static SSL *client_ssl(struct env *env, const struct stream_tls *t, const struct addr *to)
{
	const char *why = "out of memory";
	SSL *ssl = bare_client_ssl(env, t, &why);

	if (ssl && (!t->alpn || tls_offer(ssl, t->alpn) == 0) &&
	    (!t->also_name || tls_also_accept(ssl, t->also_name) == 0)) {
		if (t->abbreviate)
			tls_abbreviate(ssl);
		if (t->resume)
			tls_resume(ssl, t->tls, t->server_name, to);
		return ssl;
	}
	SSL_free(ssl);
	log_warn(env->log, "net.tls.connect", "tls=%s reason=%s",
		 log_esc(slice_of(t->tls ? t->tls : "")), log_esc(slice_of(why)));
	return NULL;
}

/* NULL with *error 0: plain. */
static SSL *new_ssl(struct env *env, const struct stream_connect *c, int *error)
{
	struct stream_tls t = { .tls = c->tls,
				.server_name = c->server_name,
				.also_name = c->also_name,
				.verify = c->verify,
				.ask = c->ask,
				.resume = c->resume,
				.abbreviate = c->abbreviate,
				.alpn = c->alpn };
	SSL *ssl;

	*error = 0;
	if (!c->tls && !c->tls_public)
		return NULL;
	ssl = client_ssl(env, &t, &c->to);
	if (!ssl)
		*error = -EPROTO;
	return ssl;
}

static int add_preface(struct stream_socket *ss, struct slice preface)
{
	if (preface.n > 0 && evbuffer_add(ss->s.out, preface.p, preface.n) < 0)
		return -ENOMEM;
	/* Without TLS it is only the first of what the owner sends. */
	ss->n_clear = ss->ssl ? preface.n : 0;
	return 0;
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
	if (c->keepalive)
		stream_keep_alive(fd);
	if (add_preface(ss, c->preface) < 0 || stream_watch_write(ss, true) < 0) {
		stream_die(ss);
		*error = -ENOMEM;
		return NULL;
	}
	timer_start(loop_timers(env->loop), &ss->timer,
		    c->timeout_ms ? c->timeout_ms : DEFAULT_TIMEOUT_MS);
	return &ss->s;
}

/* --- STARTTLS --- */

static SSL *server_ssl(struct env *env, const struct stream_tls *t)
{
	const char *why = "out of memory";
	SSL *ssl =
		tls_accept_new(env->tls, t->tls ? t->tls : "", verify_of(t->verify, t->ask), &why);

	if (ssl && (!t->alpn || tls_offer(ssl, t->alpn) == 0))
		return ssl;
	SSL_free(ssl);
	log_warn(env->log, "net.tls.accept", "tls=%s reason=%s",
		 log_esc(slice_of(t->tls ? t->tls : "")), log_esc(slice_of(why)));
	return NULL;
}

static bool can_start_tls(struct stream *s)
{
	const struct stream_socket *ss = stream_socket_of(s);

	return s->state == STREAM_OPEN && ss->phase == SOCK_READY && !ss->ssl && !s->shut &&
	       !s->eof && !ss->write_error;
}

int stream_start_tls(struct env *env, struct stream *s, const struct stream_tls *t)
{
	struct stream_socket *ss = stream_socket_of(s);
	SSL *ssl;

	if (!stream_is_socket(s) || !can_start_tls(s) ||
	    (!t->is_server && !t->tls && !t->tls_public))
		return -EINVAL;
	ssl = t->is_server ? server_ssl(env, t) : client_ssl(env, t, &s->remote);
	if (!ssl)
		return -EINVAL;
	if (stream_set_ssl(ss, ssl) < 0)
		return -ENOMEM;
	/* Nothing that came in the clear may pass for something that came under TLS. */
	evbuffer_drain(s->in, evbuffer_get_length(s->in));
	s->state = STREAM_OPENING;
	s->read_paused = false;
	ss->read_more = ss->flush = ss->bulk = false;
	ss->phase = SOCK_CLEAR;
	ss->n_clear = evbuffer_get_length(s->out);
	timer_start(loop_timers(ss->loop), &ss->timer,
		    t->timeout_ms ? t->timeout_ms : DEFAULT_TIMEOUT_MS);
	stream_later(ss);
	return 0;
}
