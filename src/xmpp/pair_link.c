#include "xmpp/pair_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/list.h"
#include "core/net.h"

#define KEY_BYTES  (2 * XMPP_DOMAIN_BYTES + 16)
#define MAX_QUEUES 64 /* so many full queues in all pairs together */

struct pair;

struct waiting { /* a stanza */
	struct list node;
	struct xml_arena arena;
	struct xml_node *stanza;
	size_t bytes;
};

struct pair_stream {
	struct list node; /* of the pair */
	struct pair *pair;
	struct xmpp_stream *x;
	struct addr remote;
	bool is_open;	/* the peer's header came */
	bool is_ending; /* no more is sent on it */
	int64_t used_ms;
	struct timer timer; /* until it is open; then idle and keepalive */
};

struct pair {
	struct htab_node node;
	struct pair_links *links;
	tunnel_peer peer;
	char local[XMPP_DOMAIN_BYTES], remote[XMPP_DOMAIN_BYTES];
	char key[KEY_BYTES];
	size_t n_key;
	struct list streams;
	size_t n_streams;
	bool is_opening;
	uint64_t opening; /* id for cancel */
	struct list queue;
	size_t n_queued, queued_bytes;
	bool told_full;
	unsigned n_inside; /* calls of ours on the stack */
};

struct pair_links {
	struct pair_links_conf conf;
	const struct pair_links_ops *ops;
	void *arg;
	struct htab pairs;
	bool is_closing;
	size_t queued_bytes; /* of all pairs */
	struct pair_links_stats stats;
};

/* --- whose stanza it is --- */

static bool is_of(const char *address, const char *domain)
{
	char name[XMPP_DOMAIN_BYTES];
	struct xmpp_jid jid;

	return address && xmpp_jid_parse(slice_of(address), &jid) &&
	       xmpp_domain(jid.domain, name) && strcmp(name, domain) == 0;
}

const char *pair_link_misfit(const struct xml_node *stanza, const char *from, const char *to)
{
	if (!xml_node_is(stanza, XMPP_SERVER, "message") &&
	    !xml_node_is(stanza, XMPP_SERVER, "presence") &&
	    !xml_node_is(stanza, XMPP_SERVER, "iq"))
		return "not a stanza";
	if (!is_of(xml_node_attr(stanza, "from"), from))
		return "`from` is of another domain";
	if (!is_of(xml_node_attr(stanza, "to"), to))
		return "`to` is of another domain";
	return NULL;
}

const char *pair_link_error_type(const char *condition)
{
	return strcmp(condition, "remote-server-timeout") == 0 ||
			       strcmp(condition, "resource-constraint") == 0
		       ? "wait"
		       : "cancel";
}

const char *pair_link_condition(int error)
{
	switch (error) {
	case -ENOBUFS:
	case -ENOSPC:
	case -ENOMEM:
	case -EAGAIN:
		return "resource-constraint";
	case -EACCES:
		return "remote-server-not-found";
	default:
		return "remote-server-timeout";
	}
}

static const char *sent_from(const struct pair *p)
{
	return p->links->conf.is_core ? p->local : p->remote;
}

static const char *sent_to(const struct pair *p)
{
	return p->links->conf.is_core ? p->remote : p->local;
}

/* --- pairs --- */

static struct slice pair_key(const struct htab_node *n)
{
	const struct pair *p = CONTAINER_OF(n, const struct pair, node);

	return (struct slice){ p->key, p->n_key };
}

/* The peer and both names, none of which has a NUL. */
static size_t key_of(char out[KEY_BYTES], tunnel_peer peer, const char *local, const char *remote)
{
	size_t n = sizeof(peer);

	memcpy(out, &peer, n);
	n = slice_append(out, KEY_BYTES, n, slice_of(local)) + 1;
	return slice_append(out, KEY_BYTES, n, slice_of(remote));
}

static struct pair *pair_find(const struct pair_links *l, tunnel_peer peer, const char *local,
			      const char *remote)
{
	char key[KEY_BYTES];
	struct htab_node *n;

	n = htab_get(&l->pairs, (struct slice){ key, key_of(key, peer, local, remote) });
	return n ? CONTAINER_OF(n, struct pair, node) : NULL;
}

static struct pair *pair_get(struct pair_links *l, tunnel_peer peer, const char *local,
			     const char *remote)
{
	struct pair *p = pair_find(l, peer, local, remote);

	if (p || l->pairs.n >= PAIR_LINK_MAX_PAIRS)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->links = l;
	p->peer = peer;
	slice_copy(p->local, sizeof(p->local), slice_of(local));
	slice_copy(p->remote, sizeof(p->remote), slice_of(remote));
	p->n_key = key_of(p->key, peer, p->local, p->remote);
	list_init(&p->streams);
	list_init(&p->queue);
	htab_add(&l->pairs, &p->node);
	return p;
}

/* --- what waits --- */

static void waiting_free(struct pair *p, struct waiting *w)
{
	list_del(&w->node);
	p->n_queued--;
	p->queued_bytes -= w->bytes;
	p->links->queued_bytes -= w->bytes;
	xml_arena_reset(&w->arena);
	free(w);
}

static void give_all_back(struct pair *p, const char *condition)
{
	struct pair_links *l = p->links;
	struct list *first;

	while ((first = list_first(&p->queue))) {
		struct waiting *w = CONTAINER_OF(first, struct waiting, node);

		list_del(&w->node); /* the answer may come through here */
		l->stats.n_undeliverable++;
		l->ops->undeliverable(l->arg, p->peer, p->local, p->remote, w->stanza, &w->arena,
				      condition);
		waiting_free(p, w);
	}
}

/* What it takes in memory counts; a single stanza is never too much. */
static int keep(struct pair *p, const struct xml_node *stanza)
{
	const struct pair_links_conf *c = &p->links->conf;
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->arena.pool = c->pool;
	w->stanza = xml_node_copy(&w->arena, stanza);
	w->bytes = w->arena.n_bytes + sizeof(*w);
	if (!w->stanza || (p->n_queued > 0 && p->queued_bytes + w->bytes > c->queue_bytes) ||
	    p->links->queued_bytes + w->bytes > (size_t)MAX_QUEUES * c->queue_bytes) {
		xml_arena_reset(&w->arena);
		free(w);
		return -ENOBUFS;
	}
	list_add_tail(&p->queue, &w->node);
	p->n_queued++;
	p->queued_bytes += w->bytes;
	p->links->queued_bytes += w->bytes;
	return 0;
}

/* --- streams --- */

static int64_t now_ms(const struct pair *p)
{
	return p->links->conf.timers->now_ms;
}

/* The one that is used: the oldest that is open, so that stanzas keep their order. */
static struct pair_stream *sender(const struct pair *p)
{
	LIST_FOREACH (it, &p->streams) {
		struct pair_stream *ps = CONTAINER_OF(it, struct pair_stream, node);

		if (ps->is_open && !ps->is_ending)
			return ps;
	}
	return NULL;
}

/* --- in and out of a pair --- */

static void enter(struct pair *p)
{
	p->n_inside++;
}

static void tell_flow(struct pair *p)
{
	const struct pair_links *l = p->links;
	const struct pair_stream *ps = sender(p);
	bool is_full = p->queued_bytes > l->conf.queue_bytes / 2 || (ps && xmpp_is_full(ps->x));

	if (is_full == p->told_full || (!is_full && p->n_queued > 0))
		return;
	p->told_full = is_full;
	if (l->ops->flow && !l->is_closing)
		l->ops->flow(l->arg, p->peer, p->local, p->remote, is_full);
}

/* A pair without streams and stanzas is forgotten. */
static void leave(struct pair *p)
{
	if (p->n_inside == 1)
		tell_flow(p);
	if (--p->n_inside > 0 || p->n_streams > 0 || p->is_opening || p->n_queued > 0)
		return;
	htab_del(&p->links->pairs, &p->node);
	free(p);
}

static void put(struct pair_stream *ps, const struct xml_node *stanza)
{
	xmpp_send(ps->x, stanza);
	ps->used_ms = now_ms(ps->pair);
	ps->pair->links->stats.n_out++;
}

static void send_waiting(struct pair *p)
{
	struct pair_stream *ps = sender(p);
	struct list *first;

	while (ps && !xmpp_is_full(ps->x) && (first = list_first(&p->queue))) {
		struct waiting *w = CONTAINER_OF(first, struct waiting, node);

		put(ps, w->stanza);
		waiting_free(p, w);
	}
}

static void stream_free(struct pair_stream *ps)
{
	struct pair *p = ps->pair;

	timer_stop(p->links->conf.timers, &ps->timer);
	list_del(&ps->node);
	p->n_streams--;
	p->links->stats.n_streams--;
	xmpp_free(ps->x);
	free(ps);
}

static void open_stream(struct pair *p);

/* Is any on the way to be open? */
static bool is_coming(const struct pair *p)
{
	LIST_FOREACH (it, &p->streams) {
		const struct pair_stream *ps = CONTAINER_OF(it, const struct pair_stream, node);

		if (!ps->is_ending)
			return true;
	}
	return p->is_opening;
}

/* was_open: it worked, so another one may. */
static void stream_over(struct pair_stream *ps)
{
	struct pair *p = ps->pair;
	const bool was_open = ps->is_open;

	enter(p);
	stream_free(ps);
	if (p->links->is_closing || is_coming(p))
		send_waiting(p);
	else if (p->n_queued > 0 && was_open)
		open_stream(p);
	else
		give_all_back(p, "remote-server-timeout");
	leave(p);
}

static void refuse(struct pair_stream *ps, enum xmpp_condition c, const char *why)
{
	struct pair *p = ps->pair;
	struct pair_links *l = p->links;

	l->stats.n_refused++;
	if (l->ops->refused)
		l->ops->refused(l->arg, p->peer, p->local, p->remote, &ps->remote, why);
	xmpp_fail(ps->x, c, why, NULL);
	stream_over(ps);
}

/* The next space, or what comes before it. */
static void start_timer(struct pair_stream *ps)
{
	const struct pair_links_conf *c = &ps->pair->links->conf;

	timer_start(c->timers, &ps->timer,
		    c->idle_ms < PAIR_LINK_SPACE_MS ? c->idle_ms : PAIR_LINK_SPACE_MS);
}

/* Idle on both sides: each ends its direction, and what crosses is still delivered. */
static void on_timer(void *arg)
{
	struct pair_stream *ps = arg;
	struct pair *p = ps->pair;
	const struct pair_links_conf *c = &p->links->conf;

	if (!ps->is_open) {
		xmpp_cut(ps->x);
		stream_over(ps);
	} else if (!ps->is_ending && now_ms(p) - ps->used_ms >= (int64_t)c->idle_ms &&
		   p->n_queued == 0) {
		ps->is_ending = true;
		xmpp_end(ps->x);
	} else if (!ps->is_ending) {
		xmpp_send_space(ps->x);
		start_timer(ps);
	}
}

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct pair_stream *ps = arg;
	struct pair *p = ps->pair;

	if (ps->is_open)
		return;
	if (!is_of(h->from, sent_to(p)) || !is_of(h->to, sent_from(p))) {
		refuse(ps, XMPP_INVALID_FROM, "the stream's header is of another pair");
		return;
	}
	ps->is_open = true;
	ps->used_ms = now_ms(p);
	on_timer(ps);
	enter(p);
	send_waiting(p);
	leave(p);
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct pair_stream *ps = arg;
	struct pair *p = ps->pair;
	struct pair_links *l = p->links;
	const char *why;

	if (xml_node_is(e, XMPP_STREAMS, "error")) {
		ps->is_ending = true; /* its end follows */
		return;
	}
	why = pair_link_misfit(e, sent_to(p), sent_from(p));
	if (why) {
		refuse(ps, XMPP_IMPROPER_ADDRESSING, why);
		return;
	}
	l->stats.n_in++;
	ps->used_ms = now_ms(p);
	l->ops->deliver(l->arg, p->peer, p->local, p->remote, e, arena);
}

static void on_end(void *arg)
{
	struct pair_stream *ps = arg;

	ps->is_ending = true;
	xmpp_end(ps->x);
}

static void on_writable(void *arg)
{
	struct pair_stream *ps = arg;
	struct pair *p = ps->pair;

	enter(p);
	send_waiting(p);
	leave(p);
}

static void on_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition, const char *why)
{
	struct pair_stream *ps = arg;
	struct pair *p = ps->pair;
	struct pair_links *l = p->links;

	if (how == XMPP_END_ERROR) {
		l->stats.n_refused++;
		if (l->ops->refused)
			l->ops->refused(l->arg, p->peer, p->local, p->remote, &ps->remote, why);
	}
	stream_over(ps);
}

static const struct xmpp_stream_handler handler = { .header = on_header,
						    .element = on_element,
						    .end = on_end,
						    .writable = on_writable,
						    .closed = on_closed };

static struct xmpp_stream_conf stream_conf(const struct pair_links *l)
{
	return (struct xmpp_stream_conf){ .timers = l->conf.timers,
					  .pool = l->conf.pool,
					  .content = XMPP_SERVER,
					  .limits = l->conf.limits,
					  .send_timeout_ms = l->conf.send_timeout_ms };
}

/* Takes s over. */
static int add_stream(struct pair *p, struct stream *s)
{
	struct xmpp_stream_conf c = stream_conf(p->links);
	struct xmpp_header h = { .from = sent_from(p), .to = sent_to(p), .version = "1.0" };
	struct pair_stream *ps = calloc(1, sizeof(*ps));

	if (!ps) {
		stream_close(s);
		return -ENOMEM;
	}
	ps->pair = p;
	ps->remote = s->remote;
	timer_init(&ps->timer, on_timer, ps);
	ps->x = xmpp_stream_new(&c, s, &handler, ps);
	if (!ps->x) {
		free(ps);
		return -ENOMEM;
	}
	list_add_tail(&p->streams, &ps->node);
	p->n_streams++;
	p->links->stats.n_streams++;
	timer_start(p->links->conf.timers, &ps->timer, PAIR_LINK_OPEN_MS);
	xmpp_send_header(ps->x, &h);
	return 0;
}

static void on_opened(void *ctx, struct stream *s, const char *why)
{
	struct pair *p = ctx;

	p->is_opening = false;
	p->opening = 0;
	enter(p);
	if ((!s || add_stream(p, s) < 0) && !is_coming(p))
		give_all_back(p, "remote-server-timeout");
	leave(p);
}

static int try_open(struct pair *p)
{
	struct pair_links *l = p->links;
	struct preface preface = { .kind = PREFACE_S2S };
	struct stream *now = NULL;
	int error;

	slice_copy(preface.local, sizeof(preface.local), slice_of(p->local));
	slice_copy(preface.remote, sizeof(preface.remote), slice_of(p->remote));
	error = l->ops->open(l->arg, p->peer, &preface, &now, &p->opening, on_opened, p);
	if (error < 0)
		return error;
	if (now)
		return add_stream(p, now);
	p->is_opening = true;
	return 0;
}

static void open_stream(struct pair *p)
{
	if (try_open(p) < 0)
		give_all_back(p, "service-unavailable");
}

/* --- for the owner --- */

struct pair_links *pair_links_new(const struct pair_links_ops *ops, void *arg)
{
	struct pair_links *l = calloc(1, sizeof(*l));
	uint8_t seed[16];

	if (!l)
		return NULL;
	l->ops = ops;
	l->arg = arg;
	net_random(seed, sizeof(seed));
	if (htab_init(&l->pairs, seed, pair_key) == 0)
		return l;
	free(l);
	return NULL;
}

void pair_links_configure(struct pair_links *l, const struct pair_links_conf *conf)
{
	struct xmpp_stream_conf c;

	l->conf = *conf;
	c = stream_conf(l);
	HTAB_FOREACH (n, &l->pairs) {
		struct pair *p = CONTAINER_OF(n, struct pair, node);

		LIST_FOREACH (it, &p->streams) {
			struct pair_stream *ps = CONTAINER_OF(it, struct pair_stream, node);

			xmpp_configure(ps->x, &c);
			xmpp_set_limits(ps->x, &c.limits);
			if (ps->is_open && !ps->is_ending)
				start_timer(ps);
		}
	}
}

static void cancel_opening(struct pair *p)
{
	if (p->is_opening)
		p->links->ops->cancel(p->links->arg, p->opening);
	p->is_opening = false;
	p->opening = 0;
}

/* All of its streams end; what waits is the caller's matter. */
static void close_streams(struct pair *p)
{
	LIST_FOREACH_SAFE (it, &p->streams) {
		struct pair_stream *ps = CONTAINER_OF(it, struct pair_stream, node);

		if (!ps->is_ending)
			xmpp_end(ps->x);
		stream_free(ps);
	}
}

void pair_links_free(struct pair_links *l)
{
	if (!l)
		return;
	l->is_closing = true;
	HTAB_FOREACH_SAFE (n, &l->pairs) {
		struct pair *p = CONTAINER_OF(n, struct pair, node);

		enter(p);
		cancel_opening(p);
		close_streams(p);
		LIST_FOREACH_SAFE (it, &p->queue)
			waiting_free(p, CONTAINER_OF(it, struct waiting, node));
		leave(p);
	}
	htab_fini(&l->pairs);
	free(l);
}

void pair_links_take(struct pair_links *l, tunnel_peer peer, const char *local, const char *remote,
		     struct stream *s)
{
	struct pair *p = pair_get(l, peer, local, remote);
	const char *why = !p					  ? "too many pairs, or no memory"
			  : p->n_streams >= PAIR_LINK_MAX_STREAMS ? "too many streams of the pair"
								  : NULL;

	if (why) {
		if (l->ops->refused)
			l->ops->refused(l->arg, peer, local, remote, &s->remote, why);
		stream_close(s);
		return;
	}
	enter(p);
	add_stream(p, s);
	leave(p);
}

static int wait_for_stream(struct pair *p, const struct xml_node *stanza)
{
	const int error = is_coming(p) ? 0 : try_open(p);

	return error < 0 ? error : keep(p, stanza);
}

int pair_links_send(struct pair_links *l, tunnel_peer peer, const char *local, const char *remote,
		    const struct xml_node *stanza)
{
	struct pair *p = pair_get(l, peer, local, remote);
	struct pair_stream *ps;
	int error = 0;

	if (!p)
		return l->pairs.n >= PAIR_LINK_MAX_PAIRS ? -ENOSPC : -ENOMEM;
	enter(p);
	ps = sender(p);
	if (pair_link_misfit(stanza, sent_from(p), sent_to(p)))
		error = -EINVAL;
	else if (ps && p->n_queued == 0 && !xmpp_is_full(ps->x))
		put(ps, stanza);
	else
		error = wait_for_stream(p, stanza);
	leave(p);
	return error;
}

bool pair_links_has(const struct pair_links *l, tunnel_peer peer, const char *local,
		    const char *remote)
{
	const struct pair *p = pair_find(l, peer, local, remote);

	return p && sender(p);
}

void pair_links_peer_lost(struct pair_links *l, tunnel_peer peer)
{
	HTAB_FOREACH_SAFE (n, &l->pairs) {
		struct pair *p = CONTAINER_OF(n, struct pair, node);

		if (p->peer != peer || sender(p))
			continue;
		enter(p);
		cancel_opening(p);
		give_all_back(p, "service-unavailable");
		leave(p);
	}
}

void pair_links_recheck(struct pair_links *l,
			bool (*keep_it)(void *arg, tunnel_peer peer, const char *local,
					const char *remote))
{
	HTAB_FOREACH_SAFE (n, &l->pairs) {
		struct pair *p = CONTAINER_OF(n, struct pair, node);

		if (keep_it(l->arg, p->peer, p->local, p->remote))
			continue;
		enter(p);
		cancel_opening(p);
		close_streams(p);
		give_all_back(p, "remote-server-not-found");
		leave(p);
	}
}

struct pair_links_stats pair_links_stats(const struct pair_links *l)
{
	struct pair_links_stats out = l->stats;

	out.n_pairs = l->pairs.n;
	HTAB_FOREACH (n, &l->pairs)
		out.n_queued += CONTAINER_OF(n, const struct pair, node)->n_queued;
	return out;
}
