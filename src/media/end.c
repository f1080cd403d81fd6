#include "media/end.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "media/session.h"

static const struct ice_check_ops ice_ops;

static bool suits(const struct addr *a, const struct media_leg_params *p)
{
	return a->family == (p->ip6 ? ADDR_IP6 : ADDR_IP4);
}

bool media_leg_bind_ip(const struct media_engine *e, const struct media_leg_params *p,
		       struct addr *out)
{
	const struct media_settings *s = &e->settings;

	if (p->kind == MEDIA_LEG_OUTSIDE && suits(&s->outside_address, p))
		*out = s->outside_address;
	else if (suits(&s->address, p))
		*out = s->address;
	else
		*out = p->local;
	out->port = 0;
	return out->family != ADDR_NONE && addr_class(out) != ADDR_UNSPECIFIED;
}

bool media_leg_advertise_ip(const struct media_engine *e, const struct media_leg_params *p,
			    struct addr *out)
{
	if (!media_leg_bind_ip(e, p, out))
		return false;
	if (p->kind == MEDIA_LEG_OUTSIDE && e->settings.public_address.family == out->family)
		*out = e->settings.public_address;
	out->port = 0;
	return true;
}

void media_end_init(struct media_end *end, struct media_stream *stream, uint8_t leg,
		    enum media_leg_kind kind)
{
	bool trusted = kind == MEDIA_LEG_INSIDE;

	memset(end, 0, sizeof(*end));
	end->stream = stream;
	end->leg = leg;
	end->kind = kind;
	list_init(&end->conn.node);
	latch_init(&end->latches[RELAY_RTP], trusted, NULL);
	latch_init(&end->latches[RELAY_RTCP], trusted, &end->latches[RELAY_RTP]);
	media_stats_init(&end->stats, 8000);
}

static struct media_engine *engine_of(const struct media_end *end)
{
	return end->stream->session->engine;
}

/* A stream is closed by ending the call it belongs to: both sides then know. */
static void conn_close(struct conn *c, const char *reason)
{
	struct media_end *end = CONTAINER_OF(c, struct media_end, conn);
	struct media_engine *e = engine_of(end);
	struct conn *call = conn_get(e->conns, c->parent);

	if (call && call->close)
		call->close(call, reason);
}

static int conn_enter(struct media_engine *e, struct media_end *end)
{
	const struct media_session *s = end->stream->session;
	struct conn *c = &end->conn;

	if (!e->conns)
		return 0;
	c->kind = CONN_MEDIA;
	c->transport = CONN_UDP;
	c->parent = s->parent;
	c->local = end->bound[RELAY_RTP];
	c->state = "setting-up";
	c->close = conn_close;
	slice_copy(c->session, sizeof(c->session), slice_of(s->session));
	return conn_add(e->conns, c);
}

static void bound_set(struct media_end *end, const struct addr *ip, uint16_t rtp_port)
{
	end->bound[RELAY_RTP] = *ip;
	end->bound[RELAY_RTP].port = rtp_port;
	end->bound[RELAY_RTCP] = *ip;
	end->bound[RELAY_RTCP].port = (uint16_t)(rtp_port + 1);
}

static int pair_open(struct media_engine *e, struct media_end *end, const struct addr *ip)
{
	int err = -ENOSPC;

	for (unsigned i = 0; i < MEDIA_BIND_TRIES; i++) {
		uint16_t port = portpool_take(&e->ports, e->timers->now_ms);

		if (port == 0)
			break;
		bound_set(end, ip, port);
		err = e->io->open(e->io_arg, end);
		if (err == 0)
			return 0;
		portpool_put(&e->ports, port, e->timers->now_ms);
		if (err != -EADDRINUSE)
			return err;
	}
	e->n_refused_ports++;
	return -ENOSPC;
}

static unsigned mux_pair_choose(const struct media_engine *e)
{
	unsigned best = 0;

	for (unsigned i = 1; i < media_engine_mux_pairs(e); i++)
		if (e->mux_load[i] < e->mux_load[best])
			best = i;
	return best;
}

static int mux_open(struct media_engine *e, struct media_end *end, const struct addr *ip)
{
	unsigned at = mux_pair_choose(e);
	uint16_t port = (uint16_t)(e->settings.mux_ports.first + 2 * at);
	uint8_t random[ICE_CREDS_RANDOM];
	int err;

	if (media_engine_mux_pairs(e) == 0)
		return -ENOSPC;
	bound_set(end, ip, port);
	err = e->io->open_mux(e->io_arg, ip, port, &end->mux.pair);
	if (err < 0)
		return err;
	do {
		e->io->random(e->io_arg, random, sizeof(random));
		ice_creds_make(&end->mux.local, random);
		err = mux_add(&e->mux, &end->mux);
	} while (err == -EEXIST);
	if (err == 0)
		e->mux_load[at]++;
	return err;
}

static void ports_release(struct media_engine *e, struct media_end *end)
{
	if (end->kind == MEDIA_LEG_MUX) {
		unsigned at = (end->bound[RELAY_RTP].port - e->settings.mux_ports.first) / 2u;

		mux_del(&e->mux, &end->mux);
		if (at < MEDIA_MAX_MUX_PAIRS && e->mux_load[at] > 0)
			e->mux_load[at]--;
		return;
	}
	if (end->kind == MEDIA_LEG_ICE)
		ice_check_stop(&end->ice);
	e->io->close(e->io_arg, end);
	portpool_put(&e->ports, end->bound[RELAY_RTP].port, e->timers->now_ms);
}

static void ice_open(struct media_engine *e, struct media_end *end)
{
	uint8_t random[ICE_CREDS_RANDOM];

	ice_check_init(&end->ice, e->timers, &ice_ops, end);
	e->io->random(e->io_arg, random, sizeof(random));
	ice_creds_make(&end->ice.local, random);
}

int media_end_open(struct media_engine *e, struct media_end *end)
{
	const struct media_leg_params *p = &end->stream->session->legs[end->leg].params;
	struct addr ip;
	int err;

	if (end->open)
		return 0;
	media_end_init(end, end->stream, end->leg, p->kind);
	if (!media_leg_bind_ip(e, p, &ip))
		return -EADDRNOTAVAIL;
	err = end->kind == MEDIA_LEG_MUX ? mux_open(e, end, &ip) : pair_open(e, end, &ip);
	if (err < 0)
		return err;
	if (end->kind == MEDIA_LEG_ICE)
		ice_open(e, end);
	err = conn_enter(e, end);
	if (err < 0) {
		ports_release(e, end);
		return err;
	}
	end->open = true;
	return 0;
}

void media_end_close(struct media_engine *e, struct media_end *end, const char *reason)
{
	if (!end->open)
		return;
	end->open = false;
	if (e->conns)
		conn_end(e->conns, &end->conn, "%s", reason);
	ports_release(e, end);
	media_keys_fini(&end->crypto);
}

/* A hold (c=0.0.0.0) names no address: what is known of the peer stays, so that it may go on
 * sending. */
static void latch_apply(struct media_end *end, unsigned component, enum latch_rule rule,
			const struct addr *written, bool hold)
{
	const struct media_leg_params *p = &end->stream->session->legs[end->leg].params;
	struct latch *l = &end->latches[component];
	struct addr signalled = hold ? l->signalled : *written;

	latch_signal(l, rule, &signalled,
		     end->kind == MEDIA_LEG_INSIDE ? &signalled : &p->signalling_peer);
}

static void latches_apply(struct media_end *end, const struct media_desc *d)
{
	enum latch_rule rule = LATCH_RUN;

	if (d->kind == DESC_OPAQUE)
		rule = LATCH_SIGNALLED;
	else if (end->crypto.rx.ctx)
		rule = LATCH_TAG;
	latch_apply(end, RELAY_RTP, rule, &d->rtp, d->hold);
	latch_apply(end, RELAY_RTCP, rule, &d->rtcp, d->hold);
}

void media_end_check(struct media_engine *e, struct media_end *end, const struct media_desc *d,
		     bool rtcp_mux)
{
	const struct media_leg_params *p = &end->stream->session->legs[end->leg].params;
	struct addr candidates[ICE_N_COMPONENTS] = { { { 0 }, 0, 0, { 0 } } };
	unsigned n = rtcp_mux || d->kind == DESC_OPAQUE ? 1 : ICE_N_COMPONENTS;

	if (end->kind != MEDIA_LEG_ICE || !d->ice.ufrag[0])
		return;
	/* The port is E's to say, the address is the one we signal with (see desc.h). */
	for (unsigned i = 0; i < n; i++) {
		if (d->candidates[i].family == ADDR_NONE)
			continue;
		candidates[i] = p->signalling_peer;
		candidates[i].port = d->candidates[i].port;
	}
	ice_check_start(&end->ice, &d->ice, candidates,
			(int64_t)end->stream->index * ICE_N_COMPONENTS * ICE_TA_MS);
}

void media_end_apply(struct media_engine *e, struct media_end *end, const struct media_desc *d,
		     bool rtcp_mux)
{
	end->rtcp_mux = rtcp_mux;
	end->muted = d->hold;
	end->conn.state = d->hold || d->direction != SDP_SENDRECV ? "hold" : "active";
	if (end->stats.clock_rate != d->clock_rate)
		media_stats_init(&end->stats, d->clock_rate);
	switch (end->kind) {
	case MEDIA_LEG_MUX:
		slice_copy(end->mux.remote_ufrag, sizeof(end->mux.remote_ufrag),
			   slice_of(d->ice.ufrag));
		break;
	case MEDIA_LEG_ICE:
		media_end_check(e, end, d, rtcp_mux);
		break;
	case MEDIA_LEG_OUTSIDE:
	case MEDIA_LEG_INSIDE:
		latches_apply(end, d);
		break;
	}
}

static void ice_send(void *arg, unsigned component, const struct addr *to, const void *p, size_t n)
{
	struct media_end *end = arg;
	struct media_engine *e = engine_of(end);

	e->io->relay.send(e->io_arg, end, component, to, p, n);
}

static void ice_changed(void *arg, unsigned component, enum ice_state state)
{
	struct media_end *end = arg;

	if (component == RELAY_RTP && state == ICE_READY)
		end->conn.remote = end->ice.components[component].remote;
}

static void ice_random(void *arg, void *p, size_t n)
{
	struct media_engine *e = engine_of(arg);

	e->io->random(e->io_arg, p, n);
}

static const struct ice_check_ops ice_ops = {
	.send = ice_send,
	.changed = ice_changed,
	.random = ice_random,
};
