#ifndef PROTO_RTP_H
#define PROTO_RTP_H
/*
 * RTP and RTCP as bytes (RFC 3550): header decode, the compound check, which protocol a datagram of
 * a shared port belongs to (RFC 5761, 7983, 9443), sequence numbers, and what a receiver counts per
 * source (RFC 3550 A.1, A.3, A.8). No clock: arrival times are handed in.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RTP_HEADER_BYTES = 12, RTCP_HEADER_BYTES = 8 };

enum rtcp_type {
	RTCP_SR = 200,
	RTCP_RR = 201,
	RTCP_SDES = 202,
	RTCP_BYE = 203,
	RTCP_APP = 204,
	RTCP_RTPFB = 205, /* RFC 4585 */
	RTCP_PSFB = 206,
	RTCP_XR = 207, /* RFC 3611 */
};

/* What a datagram is by its first bytes. */
enum rtp_demux {
	RTP_DEMUX_NONE, /* nothing that may be processed: drop */
	RTP_DEMUX_STUN,
	RTP_DEMUX_ZRTP,
	RTP_DEMUX_DTLS,
	RTP_DEMUX_CHANNEL, /* TURN ChannelData */
	RTP_DEMUX_QUIC,
	RTP_DEMUX_RTP,
	RTP_DEMUX_RTCP,
};

/* A decoded header; ext points into the packet. */
struct rtp_header {
	bool padding;
	bool extension;
	bool marker;
	uint8_t payload_type;
	uint8_t n_csrc;
	uint8_t padding_bytes; /* rtp_decode() only */
	uint16_t seq;
	uint16_t ext_profile; /* "defined by profile": 0xbede for RFC 8285 one-byte items */
	uint32_t timestamp;
	uint32_t ssrc;
	const uint8_t *ext; /* NULL without extension */
	size_t ext_bytes;
	size_t header_bytes;  /* fixed part, CSRC list and extension: where the payload starts */
	size_t payload_bytes; /* without padding; rtp_decode_header(): all that follows */
};

/* One packet of a compound one; p points into it. */
struct rtcp_packet {
	uint8_t type;
	uint8_t count; /* RC, SC or FMT */
	const uint8_t *p;
	size_t n;
};

/* A report block (RFC 3550 6.4.1). */
struct rtcp_report {
	uint32_t ssrc;
	uint8_t fraction; /* of 256 */
	int32_t lost;
	uint32_t highest_seq;
	uint32_t jitter; /* RTP units */
	uint32_t last_sr;
	uint32_t delay_since_sr; /* 1/65536 s */
};

/* RFC 7983 section 7 as updated by RFC 9443, then RFC 5761 section 4 between RTP and RTCP. Looks at
 * two bytes only: the decoder of the protocol still has to check the datagram. */
enum rtp_demux rtp_demux(const uint8_t *p, size_t n);

/* Decodes the header (RFC 3550 5.1, 5.3.1) and checks every length in it. 0 or -EINVAL. Leaves the
 * payload alone, so it also fits SRTP, where the padding count is encrypted. */
int rtp_decode_header(const uint8_t *p, size_t n, struct rtp_header *out);
/* The same for a packet in clear: checks and subtracts the padding too. */
int rtp_decode(const uint8_t *p, size_t n, struct rtp_header *out);

/* Checks a whole RTCP datagram (RFC 3550 A.2): versions, lengths that add up to n, padding on the
 * last packet only; the first one is SR or RR without padding. With reduced_size (RFC 5506) any
 * first packet of the range 192-223 will do. 0 or -EINVAL. */
int rtcp_check(const uint8_t *p, size_t n, bool reduced_size);
/* The packet at *at, which starts at 0 and is moved on; false at the end. Only for datagrams that
 * rtcp_check() found good. */
bool rtcp_next(const uint8_t *p, size_t n, size_t *at, struct rtcp_packet *out);
/* Report block i of an SR or RR; false when there is none. */
bool rtcp_report(const struct rtcp_packet *packet, unsigned i, struct rtcp_report *out);

/* The extended sequence number next to ref whose low 16 bits are seq: at most 32768 before, 32767
 * after it. Never negative: near 0 the one after ref is taken. */
uint64_t rtp_seq_extend(uint64_t ref, uint16_t seq);

/* What is counted of one source. Zeroed memory is a good start. */
struct rtp_source {
	uint32_t ssrc;
	uint32_t base_seq;
	uint32_t bad_seq; /* last "bad" one + 1, or over 65535 */
	uint32_t cycles;  /* wraps, shifted by 16 */
	uint16_t max_seq;
	uint8_t probation; /* packets in sequence still wanted */
	bool active;
	bool have_transit;
	uint32_t transit;
	uint32_t jitter16; /* RFC 3550 A.8, 16 times the jitter in RTP units */
	uint32_t expected_prior;
	uint32_t received_prior;
	uint64_t received;
	uint64_t bytes;
	uint32_t restarts; /* new SSRCs and sequence restarts after the first */
};

/* Microseconds as RTP timestamp units of a clock of rate Hz (wraps as timestamps do). */
uint32_t rtp_units(uint64_t us, uint32_t rate);
/* Counts a packet that arrived at `arrival` (RTP units) with n bytes. RFC 3550 A.1 and A.8; a new
 * SSRC starts the source anew. False while the source is on probation (two packets in sequence) and
 * for packets far out of sequence: those are not counted. */
bool rtp_source_update(struct rtp_source *s, const struct rtp_header *h, size_t n,
		       uint32_t arrival);
uint32_t rtp_source_highest(const struct rtp_source *s);
/* RFC 3550 A.3; lost may be negative (duplicates) and is clamped to 24 bits. */
uint32_t rtp_source_expected(const struct rtp_source *s);
int32_t rtp_source_lost(const struct rtp_source *s);
/* The share lost since the last call, of 256. */
uint8_t rtp_source_fraction(struct rtp_source *s);
/* RTP units. */
uint32_t rtp_source_jitter(const struct rtp_source *s);

#endif
