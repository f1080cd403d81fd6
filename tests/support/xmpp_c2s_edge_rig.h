#ifndef TESTS_SUPPORT_XMPP_C2S_EDGE_RIG_H
#define TESTS_SUPPORT_XMPP_C2S_EDGE_RIG_H
/* c2s_edge with a scripted client and, on the other side of the link, a scripted server. */
#include "support/xmpp_rig.h"
#include "xmpp/c2s_edge.h"

struct c2s_rig {
	struct xmpp_rig rig;
	struct c2s_edge *edge;
	struct xmpp_conf conf;
	struct xmpp_far client, link;
	struct preface preface; /* of the last take */
	unsigned n_takes, n_cancels, n_tls;
	bool no_link;	/* nobody inside answers */
	bool link_late; /* `done` is the test's to call */
	bool take_fails, tls_fails, banned;
	unsigned n_good, n_bad;
	char user[128];
	/* what waits for the end of the turn */
	struct loop_deferred later;
	void (*done)(void *ctx, struct stream *s, const char *why);
	void *ctx;
	struct stream *in_handshake;
	/* parking */
	struct stream *back; /* the near end of link, given back */
	unsigned n_back, n_ends;
	uint64_t ended; /* name of C */
	bool ended_proper;
};

static inline bool c2s_rig_domain(void *arg, const char *name, struct c2s_edge_domain *out)
{
	*out = (struct c2s_edge_domain){ .chat = true, .peer = 1 };
	if (strcmp(name, "down.example") == 0)
		out->peer = 0;
	else if (strcmp(name, "nochat.example") == 0)
		out->chat = false;
	else if (strcmp(name, "example.com") != 0 && strcmp(name, "example.org") != 0)
		return false;
	return true;
}

static inline void c2s_rig_give(struct c2s_rig *r)
{
	void (*done)(void *, struct stream *, const char *) = r->done;
	struct stream *s;

	r->done = NULL;
	if (r->link.in.max > 0) { /* it has parked before */
		stream_close(r->back);
		stream_close(r->link.s);
		buf_fini(&r->link.in);
		r->link = (struct xmpp_far){ 0 };
		r->back = NULL;
	}
	if (r->no_link) {
		done(r->ctx, NULL, "none came in time");
		return;
	}
	s = xmpp_far_init(&r->link, &r->rig);
	if (s)
		done(r->ctx, s, NULL);
	else
		done(r->ctx, NULL, "out of memory");
}

static inline void c2s_rig_run(void *arg)
{
	struct c2s_rig *r = arg;
	struct stream *s = r->in_handshake;

	if (r->done && !r->link_late)
		c2s_rig_give(r);
	r->in_handshake = NULL;
	if (s && s->handler)
		s->handler->opened(s->arg);
}

static inline uint64_t c2s_rig_take(void *arg, tunnel_peer from, const struct preface *p,
				    uint32_t timeout_ms,
				    void (*done)(void *ctx, struct stream *s, const char *why),
				    void *ctx)
{
	struct c2s_rig *r = arg;

	r->n_takes++;
	r->preface = *p;
	if (r->take_fails)
		return 0;
	r->done = done;
	r->ctx = ctx;
	loop_defer(r->rig.env.loop, &r->later);
	return 77;
}

static inline void c2s_rig_cancel(void *arg, uint64_t id)
{
	struct c2s_rig *r = arg;

	r->n_cancels++;
	r->done = NULL;
}

static inline void c2s_rig_back_readable(void *arg)
{
}

static inline void c2s_rig_back_closed(void *arg, enum stream_end end, const char *why)
{
	((struct c2s_rig *)arg)->back = NULL;
}

static const struct stream_handler c2s_rig_back_handler = { .readable = c2s_rig_back_readable,
							    .closed = c2s_rig_back_closed };

static inline void c2s_rig_give_back(void *arg, struct stream *s)
{
	struct c2s_rig *r = arg;

	if (r->back)
		abort();
	r->n_back++;
	r->back = s;
	stream_set_handler(s, &c2s_rig_back_handler, r);
}

static inline void c2s_rig_end(void *arg, tunnel_peer to, uint64_t stream, bool proper)
{
	struct c2s_rig *r = arg;

	if (to != 1)
		abort();
	r->n_ends++;
	r->ended = stream;
	r->ended_proper = proper;
}

static inline int c2s_rig_start_tls(void *arg, struct stream *s)
{
	struct c2s_rig *r = arg;

	if (r->tls_fails)
		return -22;
	r->n_tls++;
	s->is_tls = true;
	r->in_handshake = s;
	loop_defer(r->rig.env.loop, &r->later);
	return 0;
}

static inline bool c2s_rig_may_try(void *arg, const struct addr *from)
{
	return !((struct c2s_rig *)arg)->banned;
}

static inline void c2s_rig_tried(void *arg, const struct addr *from, bool good)
{
	struct c2s_rig *r = arg;

	if (good)
		r->n_good++;
	else
		r->n_bad++;
}

static inline void c2s_rig_user(void *arg, const char *bare, const struct addr *from, char *session)
{
	struct c2s_rig *r = arg;

	snprintf(r->user, sizeof(r->user), "%s", bare);
	memcpy(session, "0123456789abcdef0123456789abcdef", 33);
}

static const struct c2s_edge_ops c2s_rig_ops = {
	.domain = c2s_rig_domain,
	.take = c2s_rig_take,
	.cancel = c2s_rig_cancel,
	.give_back = c2s_rig_give_back,
	.end = c2s_rig_end,
	.start_tls = c2s_rig_start_tls,
	.may_try = c2s_rig_may_try,
	.tried = c2s_rig_tried,
	.user = c2s_rig_user,
};

static inline void c2s_rig_init(struct c2s_rig *r)
{
	*r = (struct c2s_rig){ 0 };
	xmpp_rig_init(&r->rig);
	loop_deferred_init(&r->later, c2s_rig_run, r);
	r->conf.auth_timeout_ms = 30000;
	r->conf.idle_ms = 3600 * 1000;
	r->conf.stanza_bytes = 256 * 1024;
	r->conf.stanza_bytes_unauthenticated = 10 * 1024;
	r->conf.send_timeout_ms = 60000;
	r->conf.max_failures = 3;
	r->conf.max_unauthenticated = 10;
	r->edge = c2s_edge_new(&r->rig.env, &c2s_rig_ops, r);
	if (!r->edge)
		abort();
	c2s_edge_configure(r->edge, &r->conf);
}

/* A client connects; tls: directly. */
static inline void c2s_rig_connect(struct c2s_rig *r, bool tls)
{
	struct stream *s = xmpp_far_init(&r->client, &r->rig);

	if (!s)
		return;
	s->is_tls = tls;
	addr_parse(SLICE("198.51.100.7:4711"), 0, &s->remote);
	c2s_edge_accept(r->edge, s);
	xmpp_rig_turn(&r->rig);
}

static inline void c2s_rig_disconnect(struct c2s_rig *r)
{
	stream_close(r->back);
	r->back = NULL;
	if (r->client.in.max > 0)
		xmpp_far_fini(&r->client, &r->rig);
	if (r->link.in.max > 0)
		xmpp_far_fini(&r->link, &r->rig);
	r->client = r->link = (struct xmpp_far){ 0 };
}

static inline void c2s_rig_fini(struct c2s_rig *r)
{
	c2s_edge_free(r->edge);
	c2s_rig_disconnect(r);
	loop_defer_cancel(&r->later);
	xmpp_rig_fini(&r->rig);
}

#endif
