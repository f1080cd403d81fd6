/* Where clients come in: UDP, TCP and TLS sockets of [turn]. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alarm.h"
#include "core/net.h"
#include "turn/edge_side.h"

#define UDP_BUFFER_BYTES (4 * 1024 * 1024) /* all clients of a port share it */

enum listen_kind { LISTEN_UDP, LISTEN_TCP, LISTEN_TLS };

struct turn_listener {
	struct list node;
	struct turn_edge *edge;
	enum listen_kind kind;
	struct addr local;
	struct udp_socket *udp; /* LISTEN_UDP */
	struct stream_listener *stream;
	bool wanted;
};

/* One address that the settings ask for. */
typedef int (*want_fn)(struct turn_edge *e, const struct conf_snapshot *snap, enum listen_kind kind,
		       const struct addr *local, struct buf *errors);

/* --- what comes in --- */

static void on_packet(void *arg, struct udp_packet *pkt)
{
	struct turn_listener *l = arg;
	struct turn_client c = {
		.remote = pkt->from, .local = l->local, .transport = TURN_UDP, .io = l->udp
	};

	/* An answer to port 0 goes nowhere. */
	if (pkt->from.port != 0)
		turn_server_client_input(l->edge->server, &c, pkt);
}

static const struct udp_handler udp_handler = { .input = on_packet };

static void on_stream(void *arg, struct stream *s)
{
	struct turn_listener *l = arg;

	turn_stream_take(l->edge, s);
}

/* --- which addresses --- */

static bool is_useful(const struct addr *a, bool loopback)
{
	enum addr_class class = addr_class(a);

	/* Link-local addresses mean something on one link only. */
	if (class == ADDR_LINK_LOCAL || class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST)
		return false;
	return loopback || class != ADDR_LOOPBACK;
}

static size_t pick_host_addresses(const struct turn_edge *e, bool loopback, struct addr *out)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_host; i++)
		if (is_useful(&e->own[i], loopback))
			out[n++] = e->own[i];
	return n;
}

/* UDP: one socket an address, so that answers leave from where they were asked. */
static size_t udp_addresses(const struct turn_edge *e, const struct turn_conf *c,
			    struct addr out[TURN_MAX_OWN])
{
	size_t n;

	if (c->address.family != ADDR_NONE) {
		out[0] = c->address;
		return 1;
	}
	n = pick_host_addresses(e, false, out);
	return n ? n : pick_host_addresses(e, true, out);
}

static size_t tcp_addresses(const struct turn_conf *c, struct addr out[2])
{
	if (c->address.family != ADDR_NONE) {
		out[0] = c->address;
		return 1;
	}
	addr_parse_ip(SLICE("0.0.0.0"), 0, &out[0]);
	addr_parse_ip(SLICE("::"), 0, &out[1]);
	return 2;
}

static int want_ports(struct turn_edge *e, const struct conf_snapshot *snap, enum listen_kind kind,
		      struct addr *addresses, size_t n, const uint16_t *ports, unsigned n_ports,
		      want_fn fn, struct buf *errors)
{
	int first = 0, error;

	for (size_t i = 0; i < n; i++) {
		for (unsigned j = 0; j < n_ports; j++) {
			addresses[i].port = ports[j];
			error = fn(e, snap, kind, &addresses[i], errors);
			first = first ? first : error;
		}
	}
	return first;
}

/* Calls fn for each; the first error. */
static int want_all(struct turn_edge *e, const struct conf_snapshot *snap, want_fn fn,
		    struct buf *errors)
{
	const struct turn_conf *c = conf_get(snap, "turn", NULL);
	struct addr udp[TURN_MAX_OWN], tcp[2];
	struct turn_facts f;
	size_t n;
	int first, error;

	if (!c->enabled)
		return 0;
	turn_conf_facts(snap, &f);
	n = udp_addresses(e, c, udp);
	first = want_ports(e, snap, LISTEN_UDP, udp, n, f.udp_ports, f.n_udp, fn, errors);
	n = tcp_addresses(c, tcp);
	error = want_ports(e, snap, LISTEN_TCP, tcp, n, f.tcp_ports, f.n_tcp, fn, errors);
	first = first ? first : error;
	error = want_ports(e, snap, LISTEN_TLS, tcp, n, f.tls_ports, f.n_tls, fn, errors);
	return first ? first : error;
}

/* --- sockets --- */

static struct turn_listener *find(const struct turn_edge *e, enum listen_kind kind,
				  const struct addr *local)
{
	LIST_FOREACH (it, &e->listeners) {
		struct turn_listener *l = CONTAINER_OF(it, struct turn_listener, node);

		if (l->kind == kind && addr_eq(&l->local, local))
			return l;
	}
	return NULL;
}

static void listener_free(struct turn_listener *l, const char *why)
{
	struct turn_edge *e = l->edge;

	if (l->udp && e->server)
		turn_server_listener_gone(e->server, l->udp, why);
	udp_socket_close(l->udp);
	stream_listener_free(l->stream);
	list_del(&l->node);
	e->n_listeners--;
	free(l);
}

static void stream_conf(const struct turn_listener *l, const struct turn_conf *c,
			struct stream_listener_conf *out)
{
	bool has_tls = turn_conf_has_tls(c);

	*out = (struct stream_listener_conf){
		.local = l->local,
		.tls = has_tls ? c->tls : NULL,
		.detect_tls = l->kind == LISTEN_TCP && has_tls,
		.alpn = "stun.turn", /* RFC 7443 */
		.kind = CONN_TURN,
		.handshake_ms = c->handshake_ms,
		.limits = { c->max_connections, c->max_per_source, c->new_per_second },
		.zone = "turn",
		.accepted = on_stream,
		.arg = (void *)l,
	};
}

static int open_listener(struct turn_listener *l, const struct turn_conf *c)
{
	struct udp_socket_conf udp = { .local = l->local,
				       .buffer_bytes = UDP_BUFFER_BYTES,
				       .dscp = -1,
				       .handler = &udp_handler,
				       .arg = l };
	struct stream_listener_conf stream;
	int error = 0;

	if (l->kind == LISTEN_UDP) {
		l->udp = udp_socket_open(l->edge->pool, &udp, &error);
		return l->udp ? 0 : error;
	}
	stream_conf(l, c, &stream);
	l->stream = stream_listener_new(l->edge->env, &stream, &error);
	return l->stream ? 0 : error;
}

static struct turn_listener *listener_new(struct turn_edge *e, enum listen_kind kind,
					  const struct addr *local)
{
	struct turn_listener *l =
		e->n_listeners < TURN_MAX_LISTENERS ? calloc(1, sizeof(*l)) : NULL;

	if (!l)
		return NULL;
	l->edge = e;
	l->kind = kind;
	l->local = *local;
	list_add_tail(&e->listeners, &l->node);
	e->n_listeners++;
	return l;
}

static void report(const struct addr *local, int error, struct buf *errors)
{
	char text[ADDR_STR_BYTES];

	buf_printf(errors, "[turn] %s: %s\n", addr_str(local, text), strerror(-error));
}

/* A kernel without IPv6 serves IPv4. */
static bool may_miss(const struct addr *local, int error)
{
	return error == -EAFNOSUPPORT && local->family == ADDR_IP6;
}

/* The port goes over from TCP to TLS or back: two sockets cannot have it. */
static void take_over(struct turn_edge *e, enum listen_kind kind, const struct addr *local)
{
	struct turn_listener *other =
		kind == LISTEN_UDP ? NULL
				   : find(e, kind == LISTEN_TCP ? LISTEN_TLS : LISTEN_TCP, local);

	if (other && !other->wanted)
		listener_free(other, "the port has another use");
}

static int listen_at(struct turn_edge *e, const struct conf_snapshot *snap, enum listen_kind kind,
		     const struct addr *local, struct buf *errors)
{
	const struct turn_conf *c = conf_get(snap, "turn", NULL);
	struct turn_listener *l = find(e, kind, local);
	struct stream_listener_conf stream;
	char text[ADDR_STR_BYTES];
	int error = -ENOMEM;

	if (l) {
		l->wanted = true;
		if (l->stream) {
			stream_conf(l, c, &stream);
			stream_listener_configure(l->stream, &stream);
		}
		return 0;
	}
	take_over(e, kind, local);
	l = listener_new(e, kind, local);
	if (l)
		error = open_listener(l, c);
	if (error == 0) {
		l->wanted = true;
		alarm_clear(e->env->alarms, "turn-listen", addr_str(local, text));
		return 0;
	}
	if (l)
		listener_free(l, "not opened");
	if (may_miss(local, error))
		return 0;
	alarm_raise(e->env->alarms, "turn-listen", addr_str(local, text), ALARM_ERROR,
		    "See which program has the port, or change the ports of [turn].",
		    "cannot listen for TURN clients: %s", strerror(-error));
	report(local, error, errors);
	return error;
}

int turn_listen_configure(struct turn_edge *e, struct buf *errors)
{
	int error;

	LIST_FOREACH (it, &e->listeners) {
		CONTAINER_OF(it, struct turn_listener, node)->wanted = false;
	}
	error = want_all(e, e->snap, listen_at, errors);
	LIST_FOREACH_SAFE (it, &e->listeners) {
		struct turn_listener *l = CONTAINER_OF(it, struct turn_listener, node);

		if (!l->wanted)
			listener_free(l, "not listened at any more");
	}
	return error;
}

static int probe(struct turn_edge *e, const struct conf_snapshot *snap, enum listen_kind kind,
		 const struct addr *local, struct buf *errors)
{
	int error, fd;

	if (find(e, kind, local))
		return 0;
	if (kind == LISTEN_UDP) {
		fd = net_bind_udp(local);
		error = fd < 0 ? fd : 0;
		if (fd >= 0)
			close(fd);
	} else {
		error = stream_listener_probe(local);
	}
	if (error == 0 || may_miss(local, error))
		return 0;
	report(local, error, errors);
	return error;
}

int turn_listen_prepare(struct turn_edge *e, const struct conf_snapshot *next, struct buf *errors)
{
	return want_all(e, next, probe, errors);
}

void turn_listen_free(struct turn_edge *e)
{
	LIST_FOREACH_SAFE (it, &e->listeners) {
		listener_free(CONTAINER_OF(it, struct turn_listener, node), "the server stops");
	}
}
