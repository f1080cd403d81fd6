/* E's end of the link: who may connect, what is idle, and who waits for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/loop.h"
#include "core/trace.h"
#include "xmpp/link.h"
#include "xmpp/link_conn.h"
#include "xmpp/listen.h"

#define MAX_PEERS 256

struct edge_peer { /* a C; lives as long as the link */
	struct list node;
	tunnel_peer id;
	char name[96];
	struct list idle;    /* newest first: the likeliest to live */
	struct list waiters; /* oldest first */
	size_t n_idle, n_taken, n_waiting;
	uint64_t n_total, n_unserved;
};

struct waiter {
	struct list node;
	struct link_edge *link;
	struct edge_peer *peer;
	uint64_t id;
	struct preface preface;
	struct timer timer;
	void (*done)(void *arg, struct stream *s, const char *why);
	void *arg;
};

struct link_edge {
	struct env *env;
	const struct link_edge_handler *handler;
	void *arg;
	const struct tunnel_ops *tunnel;
	void *tunnel_self;
	struct xmpp_listen listen;
	struct list peers;
	size_t n_peers;
	struct list strangers; /* HELLO_WAIT */
	struct list taken;
	struct idtab waiters;
	struct loop_deferred serve; /* somebody waits while something is idle */
	bool draining;
};

static struct timerq *timers(const struct link_edge *l)
{
	return loop_timers(l->env->loop);
}

/* --- peers --- */

static struct edge_peer *find_peer(const struct link_edge *l, tunnel_peer id)
{
	LIST_FOREACH (it, &l->peers) {
		struct edge_peer *p = CONTAINER_OF(it, struct edge_peer, node);

		if (p->id == id)
			return p;
	}
	return NULL;
}

static const char *peer_name(const struct link_edge *l, tunnel_peer id)
{
	struct tunnel_peer_info info;

	for (size_t i = 0; l->tunnel && l->tunnel->peer(l->tunnel_self, i, &info); i++)
		if (info.id == id)
			return info.name;
	return "";
}

static struct edge_peer *obtain_peer(struct link_edge *l, tunnel_peer id)
{
	struct edge_peer *p = find_peer(l, id);

	if (p || id == 0 || l->n_peers >= MAX_PEERS || !(p = calloc(1, sizeof(*p))))
		return p;
	p->id = id;
	slice_copy(p->name, sizeof(p->name), slice_of(peer_name(l, id)));
	list_init(&p->idle);
	list_init(&p->waiters);
	list_add_tail(&l->peers, &p->node);
	l->n_peers++;
	return p;
}

/* Whose certificate it is: 0, and in why (of size bytes) the reason, when that is not certain.
 * Sections are this box's word; a system name is what a C says of itself, and good only for a
 * certificate that has no other owner. */
static tunnel_peer who_is(const struct link_edge *l, const SSL *ssl, char *why, size_t size)
{
	struct tunnel_peer_info info;
	tunnel_peer by_system = 0;
	char names[200], down[254] = "", first[254] = "", second[254] = "";

	for (size_t i = 0; ssl && l->tunnel && l->tunnel->peer(l->tunnel_self, i, &info); i++) {
		if (tls_peer_has_name(ssl, info.name)) {
			if (info.up)
				return info.id;
			slice_copy(down, sizeof(down), slice_of(info.name));
		} else if (info.up && info.system_name[0] &&
			   tls_peer_has_name(ssl, info.system_name)) {
			slice_copy(by_system ? second : first, sizeof(first), slice_of(info.name));
			by_system = info.id;
		}
	}
	if (by_system && !down[0] && !second[0])
		return by_system;
	tls_peer_names(ssl, names, sizeof(names));
	if (down[0])
		snprintf(why, size, "the certificate (%s) is that of %s, whose tunnel is down",
			 names, down);
	else if (second[0])
		snprintf(why, size,
			 "the certificate (%s) has the [system] name that both %s and %s "
			 "say is theirs",
			 names, first, second);
	else
		snprintf(why, size, "the certificate (%s) names no tunnel peer that is up", names);
	return 0;
}

/* --- idle ones and those who wait --- */

static void leave_idle(struct link_conn *c)
{
	struct edge_peer *p = c->peer;

	list_del(&c->node);
	p->n_idle--;
}

static void on_gone(struct link_conn *c, const char *why)
{
	struct edge_peer *p = c->peer;

	/* Its node is out of the list already. */
	if (c->state == LINK_IDLE)
		p->n_idle--;
	else if (c->state == LINK_TAKEN)
		p->n_taken--;
}

static void become_taken(struct link_edge *l, struct link_conn *c, const struct preface *p)
{
	struct edge_peer *peer = c->peer;

	timer_stop(timers(l), &c->timer);
	link_conn_set_state(c, LINK_TAKEN);
	link_conn_label(c, p);
	list_del(&c->node);
	list_add_tail(&l->taken, &c->node);
	peer->n_taken++;
	peer->n_total++;
}

/* NULL: there is none. An illegal preface, or no memory, is -EINVAL or -ENOMEM in *error. */
static struct stream *take(struct link_edge *l, struct edge_peer *peer, const struct preface *p,
			   int *error)
{
	struct list *first = list_first(&peer->idle);
	struct link_conn *c;
	struct stream *s;

	*error = 0;
	if (!first)
		return NULL;
	c = CONTAINER_OF(first, struct link_conn, node);
	s = c->stream;
	*error = link_conn_say(s, p);
	if (*error)
		return NULL;
	leave_idle(c);
	become_taken(l, c, p);
	stream_set_handler(s, NULL, NULL);
	stream_flush(s);
	return s;
}

struct stream *link_edge_take(struct link_edge *l, tunnel_peer from, const struct preface *p)
{
	struct edge_peer *peer = find_peer(l, from);
	int error;

	/* Those who came before have the first claim. */
	return peer && peer->n_waiting == 0 ? take(l, peer, p, &error) : NULL;
}

static void waiter_free(struct waiter *w)
{
	timer_stop(timers(w->link), &w->timer);
	idtab_del(&w->link->waiters, w->id);
	list_del(&w->node);
	w->peer->n_waiting--;
	free(w);
}

static void answer(struct waiter *w, struct stream *s, const char *why)
{
	void (*done)(void *arg, struct stream *s, const char *why) = w->done;
	void *arg = w->arg;

	waiter_free(w);
	done(arg, s, why);
}

static void serve_peer(struct link_edge *l, struct edge_peer *p)
{
	while (!list_empty(&p->idle) && !list_empty(&p->waiters)) {
		struct waiter *w = CONTAINER_OF(list_first(&p->waiters), struct waiter, node);
		int error;
		struct stream *s = take(l, p, &w->preface, &error);

		answer(w, s, s ? "" : "the preface cannot be sent");
	}
}

static void on_serve(void *arg)
{
	struct link_edge *l = arg;

	LIST_FOREACH (it, &l->peers)
		serve_peer(l, CONTAINER_OF(it, struct edge_peer, node));
}

/* Nobody came in time: C is slower than the clients, or does not come at all. */
static void on_wait_over(void *arg)
{
	struct waiter *w = arg;
	struct edge_peer *p = w->peer;
	struct env *env = w->link->env;

	p->n_unserved++;
	trace_add(env->trace, "xmpp.link.empty", "[xmpp] pool-idle", NULL,
		  w->preface.session[0] ? w->preface.session : NULL,
		  "no idle connection of %s came in time", p->name);
	alarm_raise(
		env->alarms, "xmpp-link-down", p->name, ALARM_ERROR,
		"See the alarms of C; does the firewall let it reach pool-port here? If it only "
		"comes late, raise [xmpp] pool-idle there.",
		"chat streams wait in vain for a connection of %s (%zu taken)", p->name,
		p->n_taken);
	answer(w, NULL, "no connection to the inside came in time");
}

uint64_t link_edge_wait(struct link_edge *l, tunnel_peer from, const struct preface *p,
			uint32_t timeout_ms,
			void (*done)(void *arg, struct stream *s, const char *why), void *arg)
{
	struct edge_peer *peer = obtain_peer(l, from);
	struct waiter *w = peer ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return 0;
	w->link = l;
	w->peer = peer;
	w->preface = *p;
	w->done = done;
	w->arg = arg;
	w->id = idtab_add(&l->waiters, w);
	if (w->id == 0) {
		free(w);
		return 0;
	}
	list_add_tail(&peer->waiters, &w->node);
	peer->n_waiting++;
	timer_init(&w->timer, on_wait_over, w);
	timer_start(timers(l), &w->timer, timeout_ms);
	if (peer->n_idle > 0)
		loop_defer(l->env->loop, &l->serve);
	return w->id;
}

void link_edge_cancel(struct link_edge *l, uint64_t id)
{
	struct waiter *w = idtab_get(&l->waiters, id);

	if (w)
		waiter_free(w);
}

size_t link_edge_idle(const struct link_edge *l, tunnel_peer from)
{
	const struct edge_peer *p = find_peer(l, from);

	return p ? p->n_idle : 0;
}

/* --- what C sends --- */

static void refuse(struct link_conn *c, const char *code, const char *why)
{
	trace_add(c->env->trace, code, "[xmpp] pool-tls", &c->conn.remote, NULL, "%s", why);
	link_conn_close(c, why);
}

static void give_s2s(struct link_edge *l, struct link_conn *c, const struct preface *p)
{
	tunnel_peer from = ((struct edge_peer *)c->peer)->id;
	struct stream *s = c->stream;

	become_taken(l, c, p);
	stream_set_handler(s, NULL, NULL);
	l->handler->s2s(l->arg, from, p, s);
	/* What came behind the hello. */
	if (s->state == STREAM_OPEN && evbuffer_get_length(stream_in(s)) > 0)
		stream_got(s);
}

/* Back from its stream, or new. */
static void enter_idle(struct link_edge *l, struct link_conn *c)
{
	struct edge_peer *p = c->peer;

	link_conn_set_state(c, LINK_IDLE);
	list_del(&c->node);
	list_add_head(&p->idle, &c->node);
	p->n_idle++;
	alarm_clear(l->env->alarms, "xmpp-link-down", p->name);
}

static void become_idle(struct link_edge *l, struct link_conn *c)
{
	struct edge_peer *p = c->peer;

	if (p->n_idle >= LINK_MAX_IDLE) {
		refuse(c, "xmpp.link.too-many", "too many idle connections");
		return;
	}
	timer_stop(timers(l), &c->timer);
	enter_idle(l, c);
	serve_peer(l, p);
}

static void on_hello(struct link_edge *l, struct link_conn *c)
{
	struct preface p;
	const char *why;
	int used = link_conn_read(c, &p, &why);

	if (used < 0)
		refuse(c, "xmpp.link.protocol", why);
	else if (used == 0)
		return;
	else if (p.kind == PREFACE_S2S)
		give_s2s(l, c, &p);
	else if (p.kind == PREFACE_IDLE && evbuffer_get_length(stream_in(c->stream)) == 0)
		become_idle(l, c);
	else
		refuse(c, "xmpp.link.protocol", "what C said is no hello");
}

static void on_readable(void *arg)
{
	struct link_conn *c = arg;

	if (stream_eof(c->stream))
		link_conn_close(c, "closed by C");
	else if (c->state == LINK_HELLO_WAIT)
		on_hello(c->owner, c);
	else
		refuse(c, "xmpp.link.protocol", "C spoke on an idle connection");
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	/* The watch does it all. */
}

static const struct stream_handler stream_handler = { .readable = on_readable,
						      .closed = on_closed };

void link_edge_give_back(struct link_edge *l, struct stream *s)
{
	struct link_conn *c = link_conn_of(s);
	struct edge_peer *p = c->peer;

	p->n_taken--;
	c->was_taken = true;
	enter_idle(l, c);
	stream_set_handler(s, &stream_handler, c);
	if (stream_eof(s))
		link_conn_close(c, "closed by C");
	else if (evbuffer_get_length(stream_in(s)) > 0)
		refuse(c, "xmpp.link.protocol", "C spoke on an idle connection");
	else if (p->n_idle > LINK_MAX_IDLE)
		link_conn_close(c, "enough are idle");
	else if (p->n_waiting > 0)
		loop_defer(l->env->loop, &l->serve);
}

static void on_hello_late(void *arg)
{
	refuse(arg, "xmpp.link.silent", "no hello came in time");
}

static void refuse_stranger(struct link_edge *l, struct stream *s, const char *code,
			    const char *why)
{
	struct conn c = { .kind = CONN_XMPP_LINK,
			  .transport = CONN_TLS,
			  .local = s->local,
			  .remote = s->remote };

	trace_add(l->env->trace, code, "[tunnel-peer]", &s->remote, NULL, "%s", why);
	conn_refused(l->env->conns, &c, "%s", why);
	stream_close(s);
}

static void on_accepted(void *arg, struct stream *s)
{
	struct link_edge *l = arg;
	char why[800];
	tunnel_peer from = who_is(l, stream_ssl(s), why, sizeof(why));
	struct edge_peer *p = obtain_peer(l, from);
	struct link_conn *c;

	if (from == 0) {
		refuse_stranger(l, s, "xmpp.link.unknown-peer", why);
		return;
	}
	if (l->draining) {
		refuse_stranger(l, s, "xmpp.link.draining", "this box stops");
		return;
	}
	c = p ? link_conn_new(l->env, s, LINK_HELLO_WAIT, l, on_gone) : NULL;
	if (!c) {
		refuse_stranger(l, s, "xmpp.link.full", "[system] max-connections is reached");
		return;
	}
	c->peer = p;
	slice_copy(c->conn.zone, sizeof(c->conn.zone), slice_of(p->name));
	list_add_tail(&l->strangers, &c->node);
	stream_set_handler(s, &stream_handler, c);
	timer_init(&c->timer, on_hello_late, c);
	timer_start(timers(l), &c->timer, LINK_HANDSHAKE_MS);
	if (evbuffer_get_length(stream_in(s)) > 0)
		on_readable(c);
}

/* --- life --- */

struct link_edge *link_edge_new(struct env *env, const struct link_edge_handler *h, void *arg)
{
	struct link_edge *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->env = env;
	l->handler = h;
	l->arg = arg;
	list_init(&l->peers);
	list_init(&l->strangers);
	list_init(&l->taken);
	idtab_init(&l->waiters, LINK_MAX_WAITERS);
	loop_deferred_init(&l->serve, on_serve, l);
	xmpp_listen_init(&l->listen, env, "connections of C");
	return l;
}

int link_edge_configure(struct link_edge *l, const struct xmpp_conf *conf, struct buf *errors)
{
	struct stream_listener_conf c = {
		.tls = conf->pool_tls,
		.verify = TLS_VERIFY_PEER,
		.keepalive = true,
		.kind = CONN_XMPP_LINK,
		.handshake_ms = LINK_HANDSHAKE_MS,
		/* All of them come from few addresses; who has no certificate of the pair gets
		 * nowhere. */
		.limits = { .max_total = 2 * conf->max_streams + LINK_MAX_IDLE },
		.zone = "xmpp-link",
		.accepted = on_accepted,
		.arg = l,
	};

	return xmpp_listen_configure(&l->listen, &conf->pool_address,
				     xmpp_conf_on(conf) && !l->draining ? conf->pool_port : 0, &c,
				     errors);
}

int link_edge_prepare(const struct link_edge *l, const struct xmpp_conf *conf, struct buf *errors)
{
	return xmpp_listen_prepare(&l->listen, &conf->pool_address,
				   xmpp_conf_on(conf) ? conf->pool_port : 0, errors);
}

void link_edge_set_tunnel(struct link_edge *l, const struct tunnel_ops *ops, void *self)
{
	l->tunnel = ops;
	l->tunnel_self = self;
}

void link_edge_peer_lost(struct link_edge *l, tunnel_peer peer)
{
	struct edge_peer *p = find_peer(l, peer);

	if (!p)
		return;
	while (!list_empty(&p->idle))
		link_conn_close(CONTAINER_OF(list_first(&p->idle), struct link_conn, node),
				"the tunnel to C is down");
	while (!list_empty(&p->waiters))
		answer(CONTAINER_OF(list_first(&p->waiters), struct waiter, node), NULL,
		       "the tunnel to C is down");
	/* That is an alarm of its own. */
	alarm_clear(l->env->alarms, "xmpp-link-down", p->name);
}

void link_edge_drain(struct link_edge *l)
{
	l->draining = true;
	xmpp_listen_close(&l->listen);
}

static void peer_free(struct link_edge *l, struct edge_peer *p)
{
	while (!list_empty(&p->waiters))
		waiter_free(CONTAINER_OF(list_first(&p->waiters), struct waiter, node));
	while (!list_empty(&p->idle))
		link_conn_close(CONTAINER_OF(list_first(&p->idle), struct link_conn, node),
				"the daemon stops");
	list_del(&p->node);
	free(p);
}

void link_edge_free(struct link_edge *l)
{
	if (!l)
		return;
	xmpp_listen_close(&l->listen);
	while (!list_empty(&l->strangers))
		link_conn_close(CONTAINER_OF(list_first(&l->strangers), struct link_conn, node),
				"the daemon stops");
	while (!list_empty(&l->taken))
		link_conn_forget(CONTAINER_OF(list_first(&l->taken), struct link_conn, node),
				 "the daemon stops");
	LIST_FOREACH_SAFE (it, &l->peers)
		peer_free(l, CONTAINER_OF(it, struct edge_peer, node));
	loop_defer_cancel(&l->serve);
	idtab_fini(&l->waiters);
	free(l);
}

json_t *link_edge_json(const struct link_edge *l)
{
	json_t *out = json_array();

	LIST_FOREACH (it, &l->peers) {
		const struct edge_peer *p = CONTAINER_OF(it, const struct edge_peer, node);

		json_array_append_new(out, json_pack("{s:s,s:I,s:I,s:I,s:I,s:I}", "peer", p->name,
						     "idle", (json_int_t)p->n_idle, "taken",
						     (json_int_t)p->n_taken, "waiting",
						     (json_int_t)p->n_waiting, "total",
						     (json_int_t)p->n_total, "unserved",
						     (json_int_t)p->n_unserved));
	}
	return out;
}
