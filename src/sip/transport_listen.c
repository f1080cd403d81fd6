/* Listening sockets: which ones a configuration wants, and how they follow it while flows live. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/acceptor.h"
#include "core/alarm.h"
#include "core/conf_store.h"
#include "core/log.h"
#include "core/trace.h"
#include "sip/flow_impl.h"
#include "turnpike/route.h"

#define BACKLOG	   1024
#define ALARM_PORT "sip-port-closed"

/* What the configuration asks for. */
struct wanted {
	enum conn_transport transport;
	struct addr local;
	enum flow_role role;
	const char *zone;
	const char *tls;
	const char *verify_name;
	const char *setting;	 /* for messages */
	bool optional;		 /* IPv6 of `any` on a host without it */
	struct listener *have;	 /* there already */
	struct listener *opened; /* by this configure */
};

struct wants {
	struct wanted *v;
	size_t n, max;
};

static void want_at(struct wants *w, const struct wanted *like, const struct addr *ip,
		    bool optional)
{
	struct wanted *x;

	if (w->n == w->max)
		return;
	x = &w->v[w->n++];
	*x = *like;
	x->optional = optional;
	x->local.family = ip->family;
	memcpy(x->local.ip, ip->ip, sizeof(ip->ip));
}

/* An address of ADDR_NONE is `any`: one socket for each family. */
static void want(struct wants *w, const struct wanted *like, const struct addr *ip)
{
	static const struct addr any4 = { .family = ADDR_IP4 }, any6 = { .family = ADDR_IP6 };

	if (like->local.port == 0)
		return;
	if (ip->family != ADDR_NONE) {
		want_at(w, like, ip, false);
		return;
	}
	want_at(w, like, &any4, false);
	want_at(w, like, &any6, true);
}

static void want_sip(struct wants *w, const struct sip_conf *c, unsigned role)
{
	const struct addr *ip = role == CONF_ROLE_E && c->outside_address.family != ADDR_NONE
					? &c->outside_address
					: &c->address;
	struct wanted like = { .role = role == CONF_ROLE_E ? FLOW_OUTSIDE : FLOW_INSIDE,
			       .zone = "" };

	like.transport = CONN_TLS;
	like.local.port = c->tls ? (uint16_t)c->tls_port : 0;
	like.tls = c->tls;
	like.setting = "[sip] tls-port";
	want(w, &like, ip);
	like.tls = NULL;
	like.transport = CONN_TCP;
	like.local.port = (uint16_t)c->tcp_port;
	like.setting = "[sip] tcp-port";
	want(w, &like, ip);
	like.transport = CONN_UDP;
	like.local.port = (uint16_t)c->udp_port;
	like.setting = "[sip] udp-port";
	want(w, &like, ip);
}

/* E with two interfaces: where peers of neighbour zones find it, and nobody from outside does. */
static void want_inner(struct wants *w, const struct sip_conf *c, const struct conf_snapshot *snap)
{
	const struct zone_conf *z = NULL;
	struct wanted like = { .role = FLOW_OUTSIDE, .zone = "" };
	bool tcp = false, tls = false;

	if (c->outside_address.family == ADDR_NONE || c->address.family == ADDR_NONE ||
	    addr_ip_eq(&c->outside_address, &c->address))
		return;
	while ((z = conf_next(snap, "zone", z))) {
		if (z->type != ZONE_NEIGHBOUR || !z->enabled)
			continue;
		tcp = tcp || z->transport == ZONE_TCP;
		tls = tls || z->transport == ZONE_TLS;
	}
	if (tls && c->tls && c->tls_port) {
		like.transport = CONN_TLS;
		like.local.port = (uint16_t)c->tls_port;
		like.tls = c->tls;
		like.setting = "[sip] tls-port at `address`";
		want(w, &like, &c->address);
	}
	if (tcp) {
		like.transport = CONN_TCP;
		like.local.port = c->tcp_port ? (uint16_t)c->tcp_port : 5060;
		like.tls = NULL;
		like.setting = "[sip] tcp-port at `address`";
		want(w, &like, &c->address);
	}
}

static bool listens(const struct zone_conf *z)
{
	return z->type == ZONE_UC_TRAVERSAL && z->enabled && z->port != 0;
}

static void want_zone(struct wants *w, const struct sip_conf *c, const struct zone_conf *z)
{
	struct wanted like = { .transport = CONN_TLS,
			       .role = FLOW_TRAVERSAL_SERVER,
			       .zone = z->common.name,
			       .tls = z->tls,
			       .verify_name = z->verify_name,
			       .setting = "[zone] port",
			       .local.port = (uint16_t)z->port };

	want(w, &like, &c->address);
}

static int wants_make(struct wants *w, unsigned role, const struct conf_snapshot *snap)
{
	const struct sip_conf *c = conf_get(snap, "sip", NULL);
	const struct zone_conf *z;

	*w = (struct wants){ .max = 6 + 2 };
	for (z = conf_next(snap, "zone", NULL); z; z = conf_next(snap, "zone", z))
		w->max += 2;
	w->v = calloc(w->max, sizeof(*w->v));
	if (!w->v)
		return -ENOMEM;
	want_sip(w, c, role);
	if (role == CONF_ROLE_E)
		want_inner(w, c, snap);
	for (z = conf_next(snap, "zone", NULL); z; z = conf_next(snap, "zone", z)) {
		if (role == CONF_ROLE_E && listens(z))
			want_zone(w, c, z);
	}
	return 0;
}

/* --- one listener --- */
static void listener_close(struct listener *l)
{
	acceptor_free(l->acceptor);
	l->acceptor = NULL;
	if (l->event)
		event_free(l->event);
	l->event = NULL;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

/* reason NULL: it was never entered. */
static void listener_free(struct listener *l, const char *reason)
{
	if (reason && l->conn.transport == CONN_UDP)
		flow_udp_close(l);
	listener_close(l);
	if (reason)
		conn_end(l->t->env->conns, &l->conn, "%s", reason);
	list_del(&l->node);
	free(l->tls);
	free(l->verify_name);
	free(l);
}

static struct net_limits *limits_of(const struct listener *l)
{
	return l->role == FLOW_TRAVERSAL_SERVER ? l->t->limits_traversal : l->t->limits;
}

static const char *limit_name(enum net_verdict v)
{
	switch (v) {
	case NET_OVER_SOURCE:
		return "[sip] max-connections-per-source";
	case NET_OVER_RATE:
		return "[sip] accept-rate";
	default:
		return "[sip] max-connections";
	}
}

static void refuse(struct listener *l, int fd, const struct addr *remote, const char *decided_by,
		   const char *why)
{
	struct conn c = { .kind = CONN_FLOW,
			  .parent = l->conn.id,
			  .transport = l->conn.transport,
			  .local = l->conn.local,
			  .remote = *remote };

	close(fd);
	l->conn.n_dropped++;
	memcpy(c.zone, l->conn.zone, sizeof(c.zone));
	conn_refused(l->t->env->conns, &c, "%s", why);
	trace_add(l->t->env->trace, "sip.flow.refused", decided_by, remote, NULL, "%s", why);
}

/* Takes fd. */
static void accepted(void *arg, int fd, const struct addr *remote)
{
	struct listener *l = arg;
	enum net_verdict v = net_limits_enter(limits_of(l), remote, loop_now_ms(l->t->env->loop));
	int error;

	if (v != NET_OK) {
		refuse(l, fd, remote, limit_name(v), net_verdict_str(v));
		return;
	}
	error = net_accepted(fd);
	if (error) {
		net_limits_leave(limits_of(l), remote);
		refuse(l, fd, remote, NULL, strerror(-error));
		return;
	}
	l->conn.rx_packets++;
	flow_stream_accepted(l, fd, remote, limits_of(l));
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	flow_udp_readable(arg);
}

static int set_text(char **dst, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	free(*dst);
	*dst = copy;
	return 0;
}

/* Takes over all that may change without a new socket. */
static int listener_follow(struct listener *l, const struct wanted *x)
{
	l->role = x->role;
	l->conn.transport = x->transport;
	slice_copy(l->conn.zone, sizeof(l->conn.zone), slice_of(x->zone));
	if (set_text(&l->tls, x->tls) < 0 || set_text(&l->verify_name, x->verify_name) < 0)
		return -ENOMEM;
	return 0;
}

static int bind_wanted(const struct wanted *x)
{
	return x->transport == CONN_UDP ? net_bind_udp(&x->local)
					: net_listen_tcp(&x->local, BACKLOG);
}

static int start_udp(struct listener *l)
{
	int error = flow_udp_open(l);

	if (error)
		return error;
	l->event =
		event_new(loop_base(l->t->env->loop), l->fd, EV_READ | EV_PERSIST, on_readable, l);
	return l->event && event_add(l->event, NULL) == 0 ? 0 : -ENOMEM;
}

static int listener_start(struct listener *l, const struct wanted *x)
{
	int error = listener_follow(l, x), fd;

	if (error)
		return error;
	fd = bind_wanted(x);
	if (fd < 0)
		return fd;
	l->conn.local = net_local_addr(fd);
	if (x->transport == CONN_UDP) {
		l->fd = fd;
		error = start_udp(l);
	} else {
		l->acceptor = acceptor_new(l->t->env, fd, accepted, l, &error);
	}
	return error ? error : conn_add(l->t->env->conns, &l->conn);
}

static int listener_open(struct transport *t, const struct wanted *x, struct listener **out)
{
	struct listener *l = calloc(1, sizeof(*l));
	int error;

	if (!l)
		return -ENOMEM;
	l->t = t;
	l->fd = -1;
	l->conn.kind = CONN_LISTENER;
	l->conn.state = "listening";
	list_init(&l->conn.node);
	list_init(&l->node);
	error = listener_start(l, x);
	if (error) {
		listener_free(l, NULL);
		return error;
	}
	*out = l;
	return 0;
}

/* --- following the configuration --- */
static bool same_socket(const struct listener *l, const struct wanted *x)
{
	return (l->conn.transport == CONN_UDP) == (x->transport == CONN_UDP) &&
	       addr_eq(&l->conn.local, &x->local);
}

static void find_kept(struct transport *t, struct wants *w)
{
	LIST_FOREACH (it, &t->listeners) {
		struct listener *l = CONTAINER_OF(it, struct listener, node);

		l->keep = false;
		for (size_t i = 0; i < w->n && !l->keep; i++) {
			if (w->v[i].have || !same_socket(l, &w->v[i]))
				continue;
			w->v[i].have = l;
			l->keep = true;
		}
	}
}

/* Is it a listener of ours, about to go, that holds the port? */
static bool waits_for_ours(const struct transport *t, const struct wanted *x)
{
	LIST_FOREACH (it, &t->listeners) {
		const struct listener *l = CONTAINER_OF(it, struct listener, node);

		if (!l->keep && l->conn.local.port == x->local.port &&
		    l->conn.local.family == x->local.family &&
		    (l->conn.transport == CONN_UDP) == (x->transport == CONN_UDP))
			return true;
	}
	return false;
}

static bool tolerable(const struct wanted *x, int error)
{
	return x->optional && (error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL);
}

static void tell(struct buf *errors, const struct wanted *x, int error)
{
	char where[ADDR_STR_BYTES];

	buf_printf(errors, "%s%s%s: cannot listen on %s (%s): %s\n", x->setting,
		   x->zone[0] ? " of zone " : "", x->zone, addr_str(&x->local, where),
		   conn_transport_str(x->transport), strerror(-error));
}

static int open_wanted(struct transport *t, struct wanted *x, struct buf *errors)
{
	int error = listener_open(t, x, &x->opened);

	if (error == 0 || tolerable(x, error))
		return 0;
	tell(errors, x, error);
	return error;
}

/* New ones whose port is free now. On error all of them are closed again. */
static int open_free_ones(struct transport *t, struct wants *w, struct buf *errors)
{
	int result = 0;

	for (size_t i = 0; i < w->n; i++) {
		int error;

		if (w->v[i].have || waits_for_ours(t, &w->v[i]))
			continue;
		error = open_wanted(t, &w->v[i], errors);
		if (error)
			result = error;
	}
	for (size_t i = 0; result && i < w->n; i++) {
		if (w->v[i].opened)
			listener_free(w->v[i].opened, "configuration refused");
		w->v[i].opened = NULL;
	}
	return result;
}

static void close_unwanted(struct transport *t)
{
	LIST_FOREACH_SAFE (it, &t->listeners) {
		struct listener *l = CONTAINER_OF(it, struct listener, node);

		if (!l->keep)
			listener_free(l, "no longer in the configuration");
	}
}

/* Their port was held by a listener that is gone now. Too late to refuse the configuration. */
static int open_late_ones(struct transport *t, struct wants *w, struct buf *errors)
{
	char where[ADDR_STR_BYTES];
	int result = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct wanted *x = &w->v[i];
		int error = x->have || x->opened ? 0 : open_wanted(t, x, errors);

		addr_str(&x->local, where);
		if (error)
			alarm_raise(t->env->alarms, ALARM_PORT, where, ALARM_ERROR,
				    "free the port and reload", "%s: cannot listen on %s: %s",
				    x->setting, where, strerror(-error));
		else
			alarm_clear(t->env->alarms, ALARM_PORT, where);
		if (error)
			result = error;
	}
	return result;
}

static int adopt(struct transport *t, struct wants *w)
{
	int result = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct wanted *x = &w->v[i];
		int error = 0;

		if (x->opened)
			list_add_tail(&t->listeners, &x->opened->node);
		else if (x->have)
			error = listener_follow(x->have, x);
		if (error)
			result = error;
	}
	return result;
}

int listeners_configure(struct transport *t, const struct conf_snapshot *snap, struct buf *errors)
{
	struct wants w;
	int error, late;

	error = wants_make(&w, t->env->role, snap);
	if (error) {
		buf_add_str(errors, "[sip]: out of memory\n");
		return error;
	}
	find_kept(t, &w);
	error = open_free_ones(t, &w, errors);
	if (error == 0) {
		close_unwanted(t);
		late = open_late_ones(t, &w, errors);
		error = adopt(t, &w);
		if (late)
			error = late;
	}
	free(w.v);
	return error;
}

/* All are held open together, so that two settings with one port are found out. */
int listeners_prepare(struct transport *t, const struct conf_snapshot *snap, struct buf *errors)
{
	struct wants w;
	int *fds = NULL;
	int result = wants_make(&w, t->env->role, snap);

	if (result == 0)
		fds = calloc(w.n + 1, sizeof(*fds));
	if (!fds) {
		buf_add_str(errors, "[sip]: out of memory\n");
		free(result == 0 ? w.v : NULL);
		return -ENOMEM;
	}
	find_kept(t, &w);
	for (size_t i = 0; i < w.n; i++) {
		fds[i] = -1;
		if (w.v[i].have || waits_for_ours(t, &w.v[i]))
			continue;
		fds[i] = bind_wanted(&w.v[i]);
		if (fds[i] < 0 && !tolerable(&w.v[i], fds[i])) {
			tell(errors, &w.v[i], fds[i]);
			result = fds[i];
		}
	}
	for (size_t i = 0; i < w.n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(fds);
	free(w.v);
	return result;
}

/* UDP sockets go on for the flows that exist. */
void listeners_drain(struct transport *t)
{
	LIST_FOREACH (it, &t->listeners) {
		struct listener *l = CONTAINER_OF(it, struct listener, node);

		if (l->conn.transport != CONN_UDP)
			listener_close(l);
		l->conn.state = "draining";
	}
}

void listeners_free(struct transport *t)
{
	LIST_FOREACH_SAFE (it, &t->listeners) {
		listener_free(CONTAINER_OF(it, struct listener, node), "shut down");
	}
}

const struct listener *listener_for(const struct transport *t, enum conn_transport transport,
				    enum flow_role role, const char *zone, uint8_t family)
{
	LIST_FOREACH (it, &t->listeners) {
		const struct listener *l = CONTAINER_OF(it, struct listener, node);

		if (l->conn.transport == transport && l->role == role &&
		    l->conn.local.family == family &&
		    (role != FLOW_TRAVERSAL_SERVER || strcmp(l->conn.zone, zone) == 0))
			return l;
	}
	return NULL;
}

const struct listener *listener_at(const struct transport *t, enum conn_transport transport,
				   const struct addr *local)
{
	LIST_FOREACH (it, &t->listeners) {
		const struct listener *l = CONTAINER_OF(it, struct listener, node);

		if (l->conn.transport == transport && l->role != FLOW_TRAVERSAL_SERVER &&
		    l->conn.local.family == local->family &&
		    (addr_ip_eq(&l->conn.local, local) ||
		     addr_class(&l->conn.local) == ADDR_UNSPECIFIED))
			return l;
	}
	return NULL;
}
