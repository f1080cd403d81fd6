/* E: the listening addresses of the edge service and of every [site]. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/conn.h"
#include "core/log.h"
#include "core/stream_socket.h"
#include "http/web.h"

static void on_stream(void *arg, struct stream *s)
{
	struct web_listener *l = arg;
	struct conn like = {
		.transport = CONN_TLS, .local = s->local, .remote = s->remote, .parent = s->conn_id
	};
	struct http_front *f;

	slice_copy(like.zone, sizeof(like.zone), slice_of(l->site[0] ? l->site : "web"));
	f = http_front_new(l->web->engine, s, &like);
	if (!f)
		return;
	http_front_set_arg(f, l);
	l->n_fronts++;
}

static void listener_conf(struct web *w, const struct conf_snapshot *snap, struct web_listener *l,
			  const char *tls, struct stream_listener_conf *out)
{
	const struct web_conf *c = conf_get(snap, "web", NULL);

	*out = (struct stream_listener_conf){
		.local = l->local,
		.tls = tls,
		.handshake_ms = c->handshake_ms,
		.limits = { c->max_connections, c->max_per_source, c->new_per_second },
		.zone = l->site[0] ? l->site : "web",
		.accepted = on_stream,
		.arg = l,
	};
}

static struct web_listener *find(struct web *w, const char *site, const struct addr *local)
{
	for (size_t i = 0; i < w->n_listeners; i++)
		if (strcmp(w->listeners[i].site, site) == 0 &&
		    addr_eq(&w->listeners[i].local, local))
			return &w->listeners[i];
	return NULL;
}

/* A place that nothing listens at, or is connected by, any more; else a new one. */
static struct web_listener *free_place(struct web *w)
{
	for (size_t i = 0; i < w->n_listeners; i++) {
		struct web_listener *l = &w->listeners[i];

		if (!l->listener && !l->wanted && l->n_fronts == 0)
			return l;
	}
	return w->n_listeners < WEB_MAX_LISTENERS ? &w->listeners[w->n_listeners++] : NULL;
}

/* A place in the table: connections keep pointers into it, so that none is ever moved. */
static struct web_listener *take_place(struct web *w, const char *site, const struct addr *local)
{
	struct web_listener *l = find(w, site, local);

	if (l)
		return l;
	l = free_place(w);
	if (!l)
		return NULL;
	l->web = w;
	l->local = *local;
	slice_copy(l->site, sizeof(l->site), slice_of(site));
	return l;
}

/* The addresses of one service: the written one, or all of both families. */
static size_t addresses(const struct addr *written, uint32_t port, struct addr out[2])
{
	if (written->family != ADDR_NONE) {
		out[0] = *written;
		out[0].port = (uint16_t)port;
		return 1;
	}
	addr_parse_ip(SLICE("0.0.0.0"), (uint16_t)port, &out[0]);
	addr_parse_ip(SLICE("::"), (uint16_t)port, &out[1]);
	return 2;
}

/* The address goes over from another service, or from one that has a new name. */
static void take_over(struct web *w, const struct web_listener *l)
{
	for (size_t i = 0; i < w->n_listeners; i++) {
		struct web_listener *other = &w->listeners[i];

		if (other == l || other->wanted || !addr_eq(&other->local, &l->local))
			continue;
		stream_listener_free(other->listener);
		other->listener = NULL;
	}
}

static int listen_at(struct web *w, const struct conf_snapshot *snap, const char *site,
		     const struct addr *local, const char *tls, struct buf *errors)
{
	struct web_listener *l = take_place(w, site, local);
	struct stream_listener_conf c;
	char text[ADDR_STR_BYTES];
	int error = -ENOSPC;

	if (l) {
		listener_conf(w, snap, l, tls, &c);
		l->wanted = true;
		if (l->listener) {
			stream_listener_configure(l->listener, &c);
			return 0;
		}
		take_over(w, l);
		l->listener = stream_listener_new(w->env, &c, &error);
		if (l->listener)
			return 0;
	}
	/* A kernel without IPv6 serves IPv4. */
	if (error == -EAFNOSUPPORT && local->family == ADDR_IP6)
		return 0;
	buf_printf(errors, "[%s%s%s] %s: %s\n", site[0] ? "site" : "web", site[0] ? " " : "", site,
		   addr_str(local, text), strerror(-error));
	return error;
}

static int listen_service(struct web *w, const struct conf_snapshot *snap, const char *site,
			  const struct addr *written, uint32_t port, const char *tls,
			  struct buf *errors)
{
	struct addr local[2];
	size_t n = addresses(written, port, local);
	int error = 0;

	for (size_t i = 0; i < n && error == 0; i++)
		error = listen_at(w, snap, site, &local[i], tls, errors);
	return error;
}

int edge_listen_configure(struct web *w, struct buf *errors)
{
	const struct web_conf *c = w->conf;
	const struct site_conf *site = NULL;
	int first = 0, error;

	for (size_t i = 0; i < w->n_listeners; i++)
		w->listeners[i].wanted = false;
	if (c->tls && c->tls[0])
		first = listen_service(w, w->snap, "", &c->address, c->port, c->tls, errors);
	while ((site = conf_next(w->snap, "site", site))) {
		error = listen_service(w, w->snap, site->common.name, &site->address, site->port,
				       site->tls, errors);
		first = first ? first : error;
	}
	for (size_t i = 0; i < w->n_listeners; i++) {
		struct web_listener *l = &w->listeners[i];

		if (l->wanted || !l->listener)
			continue;
		stream_listener_free(l->listener);
		l->listener = NULL;
	}
	return first;
}

static bool is_ours(struct web *w, const struct addr *local)
{
	for (size_t i = 0; i < w->n_listeners; i++)
		if (w->listeners[i].listener && addr_eq(&w->listeners[i].local, local))
			return true;
	return false;
}

static int probe(struct web *w, const char *what, const char *name, const struct addr *written,
		 uint32_t port, struct buf *errors)
{
	struct addr local[2];
	size_t n = addresses(written, port, local);
	char text[ADDR_STR_BYTES];

	for (size_t i = 0; i < n; i++) {
		int error = is_ours(w, &local[i]) ? 0 : stream_listener_probe(&local[i]);

		if (error == 0 || (error == -EAFNOSUPPORT && local[i].family == ADDR_IP6))
			continue;
		buf_printf(errors, "[%s%s%s] %s: %s\n", what, name[0] ? " " : "", name,
			   addr_str(&local[i], text), strerror(-error));
		return error;
	}
	return 0;
}

int edge_listen_prepare(struct web *w, const struct conf_snapshot *next, struct buf *errors)
{
	const struct web_conf *c = conf_get(next, "web", NULL);
	const struct site_conf *site = NULL;
	int first = 0, error;

	if (c->tls && c->tls[0])
		first = probe(w, "web", "", &c->address, c->port, errors);
	while ((site = conf_next(next, "site", site))) {
		error = probe(w, "site", site->common.name, &site->address, site->port, errors);
		first = first ? first : error;
	}
	return first;
}

void edge_listen_free(struct web *w)
{
	for (size_t i = 0; i < w->n_listeners; i++) {
		stream_listener_free(w->listeners[i].listener);
		w->listeners[i].listener = NULL;
	}
}
