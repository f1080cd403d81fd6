/* Accepting streams: limits, TLS handshakes, what is refused and why. */
#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/acceptor.h"
#include "core/conn.h"
#include "core/module.h"
#include "core/stream_impl.h"
#include "core/trace.h"

#define BACKLOG		     1024
#define DEFAULT_HANDSHAKE_MS 10000

/* Outlives the listener as long as one of its streams is counted. */
struct stream_limits {
	struct net_limits *limits;
	size_t n_refs;
};

struct stream_listener {
	struct conn conn;
	struct env *env;
	struct stream_listener_conf conf; /* tls: a copy; zone: in conn */
	char *tls;
	struct stream_limits *limits;
	struct list handshakes;
	struct acceptor *acceptor;
};

static struct stream_limits *limits_new(void)
{
	struct stream_limits *l = calloc(1, sizeof(*l));
	uint8_t seed[16];

	if (!l)
		return NULL;
	net_random(seed, sizeof(seed));
	l->limits = net_limits_new(seed);
	l->n_refs = 1;
	if (!l->limits) {
		free(l);
		return NULL;
	}
	return l;
}

static void limits_unref(struct stream_limits *l)
{
	if (!l || --l->n_refs > 0)
		return;
	net_limits_free(l->limits);
	free(l);
}

void stream_limits_leave(struct stream_limits *l, const struct addr *from)
{
	net_limits_leave(l->limits, from);
	limits_unref(l);
}

/* --- refusals --- */

static void refuse(struct stream_listener *l, const struct addr *remote, const char *code,
		   const char *decided_by, const char *why)
{
	struct conn c = { .kind = l->conf.kind,
			  .parent = l->conn.id,
			  .transport = l->conn.transport,
			  .local = l->conn.local,
			  .remote = *remote };

	l->conn.n_dropped++;
	memcpy(c.zone, l->conn.zone, sizeof(c.zone));
	conn_refused(l->env->conns, &c, "%s", why);
	trace_add(l->env->trace, code, decided_by, remote, NULL, "%s", why);
	if (l->conf.refused)
		l->conf.refused(l->conf.arg, remote, why);
}

void stream_listener_refuse(struct stream_socket *ss, const char *why)
{
	struct stream_listener *l = ss->accepting.listener;

	if (ss->detecting)
		refuse(l, &ss->s.remote, "net.accept.silent", "handshake-timeout", why);
	else
		refuse(l, &ss->s.remote, "net.tls.handshake", l->tls, why);
}

static const char *limit_name(enum net_verdict v)
{
	switch (v) {
	case NET_OVER_SOURCE:
		return "max-connections-per-source";
	case NET_OVER_RATE:
		return "accept-rate";
	default:
		return "max-connections";
	}
}

/* --- accepting --- */

void stream_listener_take(struct stream_socket *ss)
{
	struct stream_listener *l = ss->accepting.listener;

	ss->s.state = STREAM_OPEN;
	l->conn.rx_packets++;
	l->conf.accepted(l->conf.arg, &ss->s);
}

static SSL *new_ssl(struct stream_listener *l, const char **why)
{
	SSL *ssl = tls_accept_new(l->env->tls, l->tls, l->conf.verify, why);

	if (!ssl || !l->conf.alpn || tls_offer(ssl, l->conf.alpn) == 0)
		return ssl;
	SSL_free(ssl);
	*why = "out of memory";
	return NULL;
}

/* RFC 8446 section 5.1: the first byte of a record that carries a handshake. */
#define TLS_HANDSHAKE_RECORD 0x16

static void detected_tls(struct stream_socket *ss)
{
	const char *why = "out of memory";
	SSL *ssl = new_ssl(ss->accepting.listener, &why);

	ss->detecting = false;
	if (!ssl || stream_set_ssl(ss, ssl) < 0)
		stream_fail(ss, STREAM_END_ERROR, "%s", why);
	else
		stream_handshake(ss);
}

void stream_listener_detect(struct stream_socket *ss)
{
	uint8_t first;
	ssize_t n = recv(ss->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		stream_fail(ss, STREAM_END_ERROR, "%s", strerror(errno));
	} else if (n == 0) {
		stream_fail(ss, STREAM_END_EOF, "closed before it said anything");
	} else if (first == TLS_HANDSHAKE_RECORD) {
		detected_tls(ss);
	} else {
		ss->detecting = false;
		stream_ready(ss);
	}
}

static void begin(struct stream_listener *l, struct stream_socket *ss)
{
	ss->is_accepting = true;
	ss->accepting.listener = l;
	list_init(&ss->accepting.node);
	list_add_tail(&l->handshakes, &ss->accepting.node);
	ss->detecting = l->tls && l->conf.detect_tls;
	if (!ss->ssl && !ss->detecting)
		stream_ready(ss);
	else if (stream_watch_read(ss, true) < 0)
		stream_fail(ss, STREAM_END_ERROR, "out of memory");
	else
		timer_start(loop_timers(ss->loop), &ss->timer, l->conf.handshake_ms);
}

/* Takes fd. */
static void accepted(void *arg, int fd, const struct addr *remote)
{
	struct stream_listener *l = arg;
	enum net_verdict v = net_limits_enter(l->limits->limits, remote, loop_now_ms(l->env->loop));
	bool tls_now = l->tls && !l->conf.detect_tls;
	const char *why = "out of memory";
	struct stream_socket *ss;
	SSL *ssl;

	if (v != NET_OK) {
		close(fd);
		refuse(l, remote, "net.accept.refused", limit_name(v), net_verdict_str(v));
		return;
	}
	ssl = tls_now ? new_ssl(l, &why) : NULL;
	if (tls_now && !ssl) {
		close(fd);
		net_limits_leave(l->limits->limits, remote);
		refuse(l, remote, "net.tls.handshake", l->tls, why);
		return;
	}
	ss = stream_socket_new(l->env->loop, fd, ssl, SOCK_HANDSHAKE);
	if (!ss) {
		net_limits_leave(l->limits->limits, remote);
		refuse(l, remote, "net.accept.refused", NULL, "out of memory");
		return;
	}
	ss->s.remote = *remote;
	ss->s.local =
		addr_class(&l->conn.local) == ADDR_UNSPECIFIED ? net_local_addr(fd) : l->conn.local;
	ss->counted = l->limits;
	l->limits->n_refs++;
	begin(l, ss);
}

static void listener_release(struct stream_listener *l)
{
	acceptor_free(l->acceptor);
	limits_unref(l->limits);
	free(l->tls);
	free(l);
}

/* --- life --- */

static int set_conf(struct stream_listener *l, const struct stream_listener_conf *c)
{
	char *tls = c->tls ? strdup(c->tls) : NULL;

	if (c->tls && !tls)
		return -ENOMEM;
	free(l->tls);
	l->tls = tls;
	l->conf = *c;
	l->conf.tls = l->tls;
	l->conf.zone = NULL;
	if (l->conf.handshake_ms == 0)
		l->conf.handshake_ms = DEFAULT_HANDSHAKE_MS;
	l->conn.transport = c->tls && !c->detect_tls ? CONN_TLS : CONN_TCP;
	slice_copy(l->conn.zone, sizeof(l->conn.zone), slice_of(c->zone ? c->zone : ""));
	net_limits_configure(l->limits->limits, &c->limits);
	return 0;
}

static int open_socket(struct stream_listener *l, const struct addr *local)
{
	int fd = l->conf.shared_port ? net_listen_tcp_shared(local, BACKLOG)
				     : net_listen_tcp(local, BACKLOG);
	int error;

	if (fd < 0)
		return fd;
	/* Linux hands these down to what is accepted: once here instead of six calls each. */
	error = net_accepted(fd);
	if (error) {
		close(fd);
		return error;
	}
	if (l->conf.keepalive)
		stream_keep_alive(fd);
	l->conn.local = net_local_addr(fd);
	l->acceptor = acceptor_new(l->env, fd, accepted, l, &error);
	return error;
}

struct stream_listener *stream_listener_new(struct env *env, const struct stream_listener_conf *c,
					    int *error)
{
	struct stream_listener *l = calloc(1, sizeof(*l));

	*error = -ENOMEM;
	if (!l)
		return NULL;
	l->env = env;
	l->conn.kind = CONN_LISTENER;
	l->conn.state = "listening";
	list_init(&l->handshakes);
	l->limits = limits_new();
	if (l->limits)
		*error = set_conf(l, c);
	if (*error == 0)
		*error = open_socket(l, &c->local);
	if (*error == 0)
		*error = conn_add(env->conns, &l->conn);
	if (*error == 0)
		return l;
	listener_release(l);
	return NULL;
}

void stream_listener_configure(struct stream_listener *l, const struct stream_listener_conf *c)
{
	/* Without memory the old one goes on. */
	(void)set_conf(l, c);
}

void stream_listener_free(struct stream_listener *l)
{
	if (!l)
		return;
	LIST_FOREACH_SAFE (it, &l->handshakes) {
		stream_die(CONTAINER_OF(it, struct stream_socket, accepting.node));
	}
	conn_end(l->env->conns, &l->conn, "closed");
	listener_release(l);
}

bool stream_listeners_exclude(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && a->family == b->family &&
	       (addr_ip_eq(a, b) || addr_class(a) == ADDR_UNSPECIFIED ||
		addr_class(b) == ADDR_UNSPECIFIED);
}

/* Is it a listening socket of this process that is in the way? */
static bool is_ours(const struct addr *local)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *d;
	bool ours = false;

	while (dir && !ours && (d = readdir(dir))) {
		int fd = (int)strtol(d->d_name, NULL, 10), listening = 0;
		socklen_t n = sizeof(listening);
		struct addr bound;

		if (d->d_name[0] == '.' ||
		    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 || !listening)
			continue;
		bound = net_local_addr(fd);
		ours = stream_listeners_exclude(&bound, local);
	}
	if (dir)
		closedir(dir);
	return ours;
}

int stream_listener_probe(const struct addr *local)
{
	int fd = net_listen_tcp(local, 1);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	return fd == -EADDRINUSE && is_ours(local) ? 0 : fd;
}
