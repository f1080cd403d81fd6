#include "media/relay.h"

#include "proto/rtp.h"
#include "proto/stun.h"

static uint32_t read_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

const struct addr *relay_remote(const struct media_end *end, unsigned component, int64_t now_ms)
{
	const struct latch *l = &end->latches[component];

	switch (end->kind) {
	case MEDIA_LEG_MUX:
		return mux_remote(&end->mux, component, now_ms);
	case MEDIA_LEG_ICE:
		return ice_check_remote(&end->ice, component);
	case MEDIA_LEG_OUTSIDE:
	case MEDIA_LEG_INSIDE:
		break;
	}
	return latch_proved(l) && l->remote.port ? &l->remote : NULL;
}

static void forward(struct media_end *out, bool rtcp, struct mux_packet *pkt)
{
	unsigned component = rtcp && !out->rtcp_mux ? RELAY_RTCP : RELAY_RTP;
	const struct addr *to = relay_remote(out, component, pkt->now_ms);

	if (!to || out->muted) {
		out->n_nowhere++;
		out->conn.n_dropped++;
		return;
	}
	if (out->stream->terminate &&
	    !media_keys_out(&out->crypto, rtcp, pkt->p, &pkt->n, pkt->cap)) {
		out->conn.n_dropped++;
		return;
	}
	out->conn.tx_packets++;
	out->conn.tx_bytes += pkt->n;
	out->stream->ops->send(out->stream->arg, out, component, to, pkt->p, pkt->n);
}

static bool verify(void *arg, const struct latch_packet *pkt, uint32_t roc, uint32_t *index)
{
	struct media_end *end = arg;

	return media_keys_verify(&end->crypto, pkt->kind == LATCH_PACKET_RTCP, pkt->p, pkt->n, roc,
				 index);
}

static const struct latch_ops latch_verify = { .verify = verify };

/* What a packet is for the latch, with the lengths in its head checked; false: malformed. */
static bool classify(const struct media_end *end, unsigned component, const struct mux_packet *pkt,
		     struct latch_packet *out, struct rtp_header *h)
{
	enum rtp_demux what;

	*out = (struct latch_packet){
		.p = pkt->p, .n = pkt->n, .kind = LATCH_PACKET_OTHER, .from = pkt->from
	};
	if (end->stream->kind == RELAY_KIND_OPAQUE)
		return component == RELAY_RTP && pkt->n > 0;
	what = rtp_demux(pkt->p, pkt->n);
	if (what == RTP_DEMUX_RTP && component == RELAY_RTP) {
		if (rtp_decode_header(pkt->p, pkt->n, h) < 0)
			return false;
		out->kind = LATCH_PACKET_RTP;
		out->ssrc = h->ssrc;
		out->seq = h->seq;
		return true;
	}
	if (what == RTP_DEMUX_RTCP && (component == RELAY_RTCP || end->rtcp_mux)) {
		if (pkt->n < RTCP_HEADER_BYTES)
			return false;
		out->kind = LATCH_PACKET_RTCP;
		out->ssrc = read_u32(pkt->p + 4);
		return true;
	}
	return what == RTP_DEMUX_DTLS && end->stream->kind == RELAY_KIND_DTLS;
}

static bool latch_passes(struct media_end *end, unsigned component, const struct latch_packet *lp,
			 int64_t now_ms)
{
	switch (latch_input(&end->latches[component], lp, &latch_verify, end, now_ms)) {
	case LATCH_PASS:
		return true;
	case LATCH_MOVED:
		end->n_moved++;
		end->conn.remote = lp->from;
		return true;
	case LATCH_LATCHED:
		if (component == RELAY_RTP)
			end->conn.remote = lp->from;
		return true;
	case LATCH_DROP:
		break;
	}
	end->n_unproved++;
	end->conn.n_dropped++;
	return false;
}

static void count_in(struct media_end *end, const struct latch_packet *lp, struct mux_packet *pkt,
		     const struct rtp_header *h)
{
	end->conn.rx_packets++;
	end->conn.rx_bytes += pkt->n;
	end->heard_ms = pkt->now_ms;
	if (lp->kind == LATCH_PACKET_RTP)
		media_stats_rtp(&end->stats, h, pkt->n, pkt->now_us);
}

/* RTCP in clear is checked as a whole: a short or crooked one goes no further. */
static bool rtcp_clear_ok(struct media_end *end, const struct mux_packet *pkt)
{
	if (rtcp_check(pkt->p, pkt->n, true) < 0)
		return false;
	media_stats_rtcp(&end->stats, pkt->p, pkt->n);
	return true;
}

static void proved_packet(struct media_end *end, const struct latch_packet *lp,
			  struct mux_packet *pkt, const struct rtp_header *h)
{
	struct media_stream *stream = end->stream;
	bool rtcp = lp->kind == LATCH_PACKET_RTCP;

	if (stream->terminate && lp->kind != LATCH_PACKET_OTHER &&
	    !media_keys_in(&end->crypto, rtcp, pkt->p, &pkt->n)) {
		end->conn.n_dropped++;
		return;
	}
	if (rtcp &&
	    (stream->terminate || (stream->kind == RELAY_KIND_RTP && !end->crypto.rx.ctx)) &&
	    !rtcp_clear_ok(end, pkt)) {
		end->n_malformed++;
		end->conn.n_dropped++;
		return;
	}
	count_in(end, lp, pkt, h);
	forward(&stream->ends[!end->leg], rtcp, pkt);
}

static bool classify_counted(struct media_end *end, unsigned component,
			     const struct mux_packet *pkt, struct latch_packet *lp,
			     struct rtp_header *h)
{
	if (end->stream->active && classify(end, component, pkt, lp, h))
		return true;
	end->n_malformed++;
	end->conn.n_dropped++;
	return false;
}

void relay_input_proved(struct media_end *end, unsigned component, struct mux_packet *pkt)
{
	struct latch_packet lp;
	struct rtp_header h;

	if (classify_counted(end, component, pkt, &lp, &h))
		proved_packet(end, &lp, pkt, &h);
}

/* ICE end: media is taken from the checked candidate and from nowhere else. */
static void ice_input(struct media_end *end, unsigned component, struct mux_packet *pkt)
{
	const struct addr *remote;

	if (stun_is(pkt->p, pkt->n)) {
		ice_check_input(&end->ice, component, pkt->p, pkt->n, &pkt->from);
		return;
	}
	remote = ice_check_remote(&end->ice, component);
	if (!remote || !addr_eq(remote, &pkt->from)) {
		end->n_unproved++;
		end->conn.n_dropped++;
		return;
	}
	relay_input_proved(end, component, pkt);
}

void relay_input(struct media_end *end, unsigned component, struct mux_packet *pkt)
{
	struct latch_packet lp;
	struct rtp_header h;

	if (end->kind == MEDIA_LEG_ICE) {
		ice_input(end, component, pkt);
		return;
	}
	if (!classify_counted(end, component, pkt, &lp, &h))
		return;
	if (latch_passes(end, component, &lp, pkt->now_ms))
		proved_packet(end, &lp, pkt, &h);
}
