#include "proto/rtp.h"

#include <errno.h>

enum {
	RTP_SEQ_MOD = 1 << 16,
	MAX_DROPOUT = 3000, /* RFC 3550 A.1 */
	MAX_MISORDER = 100,
	MIN_SEQUENTIAL = 2,
	NO_BAD_SEQ = RTP_SEQ_MOD + 1,
	LOST_MAX = 0x7fffff,
	JITTER_STEP_MAX = 1 << 27, /* 16 times it still fits 32 bits */
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static bool is_rtcp_type(uint8_t byte)
{
	return byte >= 192 && byte <= 223;
}

enum rtp_demux rtp_demux(const uint8_t *p, size_t n)
{
	if (n < 2)
		return RTP_DEMUX_NONE;
	if (p[0] <= 3)
		return RTP_DEMUX_STUN;
	if (p[0] <= 15)
		return RTP_DEMUX_NONE;
	if (p[0] <= 19)
		return RTP_DEMUX_ZRTP;
	if (p[0] <= 63)
		return RTP_DEMUX_DTLS;
	if (p[0] <= 79)
		return RTP_DEMUX_CHANNEL;
	if (p[0] <= 127 || p[0] >= 192)
		return RTP_DEMUX_QUIC;
	return is_rtcp_type(p[1]) ? RTP_DEMUX_RTCP : RTP_DEMUX_RTP;
}

int rtp_decode_header(const uint8_t *p, size_t n, struct rtp_header *out)
{
	struct rtp_header h = { .header_bytes = RTP_HEADER_BYTES };

	if (n < RTP_HEADER_BYTES || p[0] >> 6 != 2)
		return -EINVAL;
	h.padding = p[0] >> 5 & 1;
	h.extension = p[0] >> 4 & 1;
	h.n_csrc = p[0] & 15;
	h.marker = p[1] >> 7;
	h.payload_type = p[1] & 127;
	h.seq = get16(p + 2);
	h.timestamp = get32(p + 4);
	h.ssrc = get32(p + 8);
	h.header_bytes += 4u * h.n_csrc;
	if (h.extension) {
		if (n < h.header_bytes + 4)
			return -EINVAL;
		h.ext_profile = get16(p + h.header_bytes);
		h.ext_bytes = 4u * get16(p + h.header_bytes + 2);
		h.ext = p + h.header_bytes + 4;
		h.header_bytes += 4 + h.ext_bytes;
	}
	if (n < h.header_bytes)
		return -EINVAL;
	h.payload_bytes = n - h.header_bytes;
	*out = h;
	return 0;
}

int rtp_decode(const uint8_t *p, size_t n, struct rtp_header *out)
{
	struct rtp_header h;

	if (rtp_decode_header(p, n, &h) < 0)
		return -EINVAL;
	if (h.padding) {
		/* The count includes its own byte (RFC 3550 5.1). */
		if (h.payload_bytes == 0 || p[n - 1] == 0 || p[n - 1] > h.payload_bytes)
			return -EINVAL;
		h.padding_bytes = p[n - 1];
		h.payload_bytes -= h.padding_bytes;
	}
	*out = h;
	return 0;
}

/* Bytes of the RTCP packet at p, 0 when it does not fit into n or is no RTCP. */
static size_t rtcp_packet_bytes(const uint8_t *p, size_t n)
{
	size_t len;

	if (n < 4 || p[0] >> 6 != 2 || !is_rtcp_type(p[1]))
		return 0;
	len = 4 * ((size_t)get16(p + 2) + 1);
	return len <= n ? len : 0;
}

static bool rtcp_padding_good(const uint8_t *p, size_t len)
{
	uint8_t pad = p[len - 1];

	return pad != 0 && pad % 4 == 0 && pad <= len - 4;
}

int rtcp_check(const uint8_t *p, size_t n, bool reduced_size)
{
	/* Every kind of RTCP packet carries the sender's SSRC, and SRTCP counts on it; SDES and BYE
	 * without a source do not start a datagram. */
	if (n < RTCP_HEADER_BYTES)
		return -EINVAL;
	if (!reduced_size && (p[0] & 0x20 || (p[1] != RTCP_SR && p[1] != RTCP_RR)))
		return -EINVAL;
	for (size_t at = 0; at < n;) {
		size_t len = rtcp_packet_bytes(p + at, n - at);

		if (len == 0 || (at == 0 && len < RTCP_HEADER_BYTES))
			return -EINVAL;
		if (p[at] & 0x20 && (at + len < n || !rtcp_padding_good(p + at, len)))
			return -EINVAL;
		at += len;
	}
	return 0;
}

bool rtcp_next(const uint8_t *p, size_t n, size_t *at, struct rtcp_packet *out)
{
	size_t len = *at < n ? rtcp_packet_bytes(p + *at, n - *at) : 0;

	if (len == 0)
		return false;
	*out = (struct rtcp_packet){
		.type = p[*at + 1], .count = p[*at] & 31, .p = p + *at, .n = len
	};
	*at += len;
	return true;
}

bool rtcp_report(const struct rtcp_packet *packet, unsigned i, struct rtcp_report *out)
{
	size_t at = packet->type == RTCP_SR ? 28 : 8;
	const uint8_t *p;
	uint32_t lost;

	if ((packet->type != RTCP_SR && packet->type != RTCP_RR) || i >= packet->count)
		return false;
	at += (size_t)24 * i;
	if (at + 24 > packet->n)
		return false;
	p = packet->p + at;
	lost = get32(p + 4) & 0xffffff;
	*out = (struct rtcp_report){
		.ssrc = get32(p),
		.fraction = p[4],
		.lost = lost > LOST_MAX ? (int32_t)lost - 0x1000000 : (int32_t)lost,
		.highest_seq = get32(p + 8),
		.jitter = get32(p + 12),
		.last_sr = get32(p + 16),
		.delay_since_sr = get32(p + 20),
	};
	return true;
}

uint64_t rtp_seq_extend(uint64_t ref, uint16_t seq)
{
	int16_t delta = (int16_t)(uint16_t)(seq - (uint16_t)ref);

	if (delta < 0 && ref < (uint64_t)-delta)
		return ref + (uint16_t)delta;
	return ref + (uint64_t)(int64_t)delta;
}

uint32_t rtp_units(uint64_t us, uint32_t rate)
{
	/* In two parts: us * rate leaves 64 bits after some years of a 90 kHz clock. */
	return (uint32_t)(us / 1000000 * rate + us % 1000000 * rate / 1000000);
}

static void start_seq(struct rtp_source *s, uint16_t seq)
{
	s->base_seq = seq;
	s->max_seq = seq;
	s->bad_seq = NO_BAD_SEQ;
	s->cycles = 0;
	s->received = 0;
	s->received_prior = 0;
	s->expected_prior = 0;
}

static void start_source(struct rtp_source *s, const struct rtp_header *h)
{
	uint32_t restarts = s->active ? s->restarts + 1 : 0;
	uint64_t bytes = s->bytes;

	*s = (struct rtp_source){ .ssrc = h->ssrc, .active = true, .restarts = restarts };
	s->bytes = bytes;
	start_seq(s, h->seq);
	s->max_seq = (uint16_t)(h->seq - 1);
	s->probation = MIN_SEQUENTIAL;
}

/* update_seq() of RFC 3550 A.1. */
static bool update_seq(struct rtp_source *s, uint16_t seq)
{
	uint16_t delta = (uint16_t)(seq - s->max_seq);

	if (s->probation) {
		bool in_order = seq == (uint16_t)(s->max_seq + 1);

		s->probation = in_order ? s->probation - 1 : MIN_SEQUENTIAL - 1;
		s->max_seq = seq;
		if (s->probation)
			return false;
		start_seq(s, seq);
		s->received = 1;
		return true;
	}
	if (delta < MAX_DROPOUT) {
		if (seq < s->max_seq)
			s->cycles += RTP_SEQ_MOD;
		s->max_seq = seq;
	} else if (delta <= RTP_SEQ_MOD - MAX_MISORDER) {
		/* A big jump: believed when a second packet follows on it. */
		if (seq != s->bad_seq) {
			s->bad_seq = (seq + 1u) & (RTP_SEQ_MOD - 1);
			return false;
		}
		start_seq(s, seq);
		s->have_transit = false;
		s->restarts++;
	}
	s->received++;
	return true;
}

/* RFC 3550 A.8. */
static void update_jitter(struct rtp_source *s, uint32_t timestamp, uint32_t arrival)
{
	uint32_t transit = arrival - timestamp;
	uint32_t d = transit - s->transit;

	if (s->have_transit) {
		if (d > INT32_MAX)
			d = -d;
		if (d > JITTER_STEP_MAX)
			d = JITTER_STEP_MAX;
		s->jitter16 += d - ((s->jitter16 + 8) >> 4);
	}
	s->transit = transit;
	s->have_transit = true;
}

bool rtp_source_update(struct rtp_source *s, const struct rtp_header *h, size_t n, uint32_t arrival)
{
	if (!s->active || s->ssrc != h->ssrc)
		start_source(s, h);
	if (!update_seq(s, h->seq))
		return false;
	s->bytes += n;
	update_jitter(s, h->timestamp, arrival);
	return true;
}

uint32_t rtp_source_highest(const struct rtp_source *s)
{
	return s->cycles + s->max_seq;
}

uint32_t rtp_source_expected(const struct rtp_source *s)
{
	return s->active && !s->probation ? rtp_source_highest(s) - s->base_seq + 1 : 0;
}

int32_t rtp_source_lost(const struct rtp_source *s)
{
	int64_t lost = (int64_t)rtp_source_expected(s) - (int64_t)s->received;

	if (lost > LOST_MAX)
		return LOST_MAX;
	return lost < -LOST_MAX - 1 ? -LOST_MAX - 1 : (int32_t)lost;
}

uint8_t rtp_source_fraction(struct rtp_source *s)
{
	uint32_t expected = rtp_source_expected(s), received = (uint32_t)s->received;
	uint32_t expected_interval = expected - s->expected_prior;
	int64_t lost = (int64_t)expected_interval - (int64_t)(received - s->received_prior);

	s->expected_prior = expected;
	s->received_prior = received;
	if (expected_interval == 0 || lost <= 0)
		return 0;
	/* All of an interval lost gives 256, one over what the field holds. */
	lost = (lost << 8) / expected_interval;
	return lost > 255 ? 255 : (uint8_t)lost;
}

uint32_t rtp_source_jitter(const struct rtp_source *s)
{
	return s->jitter16 >> 4;
}
