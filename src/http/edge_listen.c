/* E: the listening addresses of the edge service and of every [site]. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/conn.h"
#include "core/log.h"
#include "core/stream_socket.h"
#include "http/listen.h"
#include "http/web.h"

static void on_stream(void *arg, struct stream *s)
{
	struct web_listener *l = arg;
	struct conn like = { .transport = s->is_tls ? CONN_TLS : CONN_TCP,
			     .local = s->local,
			     .remote = s->remote,
			     .parent = s->conn_id };
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
		.alpn = "http/1.1",
		.kind = CONN_HTTP,
		.local = l->local,
		.tls = tls,
		.handshake_ms = c->handshake_ms,
		.limits = { c->max_connections, c->max_per_source, c->new_per_second },
		.zone = l->site[0] ? l->site : "web",
		.accepted = on_stream,
		.arg = l,
	};
}

/* A service: the edge service (site ""), a [site], or the redirect-port of one. */
struct web_service {
	const char *site;
	bool redirect;
	const struct addr *written;
	uint32_t port;
	const char *tls; /* NULL: plain */
};

static struct web_listener *find(struct web *w, const struct web_service *s,
				 const struct addr *local)
{
	for (size_t i = 0; i < w->n_listeners; i++)
		if (strcmp(w->listeners[i].site, s->site) == 0 &&
		    w->listeners[i].redirect == s->redirect &&
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
static struct web_listener *take_place(struct web *w, const struct web_service *s,
				       const struct addr *local)
{
	struct web_listener *l = find(w, s, local);

	if (l)
		return l;
	l = free_place(w);
	if (!l)
		return NULL;
	l->web = w;
	l->local = *local;
	l->redirect = s->redirect;
	slice_copy(l->site, sizeof(l->site), slice_of(s->site));
	return l;
}

/* The address goes over from another service, from one that has a new name, or from `any` to one
 * address or back. */
static void take_over(struct web *w, const struct web_listener *l)
{
	for (size_t i = 0; i < w->n_listeners; i++) {
		struct web_listener *other = &w->listeners[i];

		if (other == l || other->wanted ||
		    !stream_listeners_exclude(&other->local, &l->local))
			continue;
		stream_listener_free(other->listener);
		other->listener = NULL;
	}
}

static void tell(struct buf *errors, const struct web_service *s, const struct addr *local,
		 int error)
{
	char text[ADDR_STR_BYTES];

	buf_printf(errors, "[%s%s%s]%s %s: %s\n", s->site[0] ? "site" : "web",
		   s->site[0] ? " " : "", s->site, s->redirect ? " redirect-port" : "",
		   addr_str(local, text), strerror(-error));
}

static int listen_at(struct web *w, const struct conf_snapshot *snap, const struct web_service *s,
		     const struct addr *local, struct buf *errors)
{
	struct web_listener *l = take_place(w, s, local);
	struct stream_listener_conf c;
	int error = -ENOSPC;

	if (l) {
		listener_conf(w, snap, l, s->tls, &c);
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
	if (listen_may_fail(local, error))
		return 0;
	tell(errors, s, local, error);
	return error;
}

static int listen_service(struct web *w, const struct conf_snapshot *snap,
			  const struct web_service *s, struct buf *errors)
{
	struct addr local[LISTEN_MAX_ADDRESSES];
	size_t n = listen_addresses(s->written, s->port, local);
	int error = 0;

	for (size_t i = 0; i < n && error == 0; i++)
		error = listen_at(w, snap, s, &local[i], errors);
	return error;
}

static bool is_ours(struct web *w, const struct addr *local)
{
	for (size_t i = 0; i < w->n_listeners; i++)
		if (w->listeners[i].listener && addr_eq(&w->listeners[i].local, local))
			return true;
	return false;
}

/* Only tries whether it could be had. */
static int probe_service(struct web *w, const struct conf_snapshot *snap,
			 const struct web_service *s, struct buf *errors)
{
	struct addr local[LISTEN_MAX_ADDRESSES];
	size_t n = listen_addresses(s->written, s->port, local);

	for (size_t i = 0; i < n; i++) {
		int error = is_ours(w, &local[i]) ? 0 : stream_listener_probe(&local[i]);

		if (error == 0 || listen_may_fail(&local[i], error))
			continue;
		tell(errors, s, &local[i], error);
		return error;
	}
	return 0;
}

typedef int (*service_do)(struct web *w, const struct conf_snapshot *snap,
			  const struct web_service *s, struct buf *errors);

/* All services of a configuration; the first error. */
static int each_service(struct web *w, const struct conf_snapshot *snap, service_do act,
			struct buf *errors)
{
	const struct web_conf *c = conf_get(snap, "web", NULL);
	const struct site_conf *site = NULL;
	int first = 0, error;

	if (c->tls && c->tls[0]) {
		struct web_service s = { "", false, &c->address, c->port, c->tls };

		first = act(w, snap, &s, errors);
	}
	while ((site = conf_next(snap, "site", site))) {
		struct web_service s = { site->common.name, false, &site->address, site->port,
					 site->tls };

		error = act(w, snap, &s, errors);
		first = first ? first : error;
		s.redirect = true;
		s.port = site->redirect_port;
		s.tls = NULL;
		error = s.port ? act(w, snap, &s, errors) : 0;
		first = first ? first : error;
	}
	return first;
}

int edge_listen_configure(struct web *w, struct buf *errors)
{
	int first;

	for (size_t i = 0; i < w->n_listeners; i++)
		w->listeners[i].wanted = false;
	first = each_service(w, w->snap, listen_service, errors);
	for (size_t i = 0; i < w->n_listeners; i++) {
		struct web_listener *l = &w->listeners[i];

		if (l->wanted || !l->listener)
			continue;
		stream_listener_free(l->listener);
		l->listener = NULL;
	}
	return first;
}

int edge_listen_prepare(struct web *w, const struct conf_snapshot *next, struct buf *errors)
{
	return each_service(w, next, probe_service, errors);
}

void edge_listen_free(struct web *w)
{
	for (size_t i = 0; i < w->n_listeners; i++) {
		stream_listener_free(w->listeners[i].listener);
		w->listeners[i].listener = NULL;
	}
}
