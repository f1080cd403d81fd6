#ifndef MEDIA_LATCH_H
#define MEDIA_LATCH_H
/*
 * Where a peer really sends from, and so where packets to it may go: one latch a component (RTP,
 * RTCP) of a leg's end. Pure: packets and time go in, a verdict comes out. Until a source is proved
 * nothing is sent to it and nothing of it is passed on (RTP bleed, RTP inject).
 *
 *   UNPROVED --proof--> LATCHED --proof of another source--> LATCHED (moved)
 *
 * What counts as proof:
 *   TAG        a valid SRTP/SRTCP tag under the key that the peer signalled, on a packet newer than
 *              all seen of its SSRC (a recorded packet proves nothing). The tag is checked only on
 *              packets that would latch or move, not on those of the latched source.
 *   RUN        plain RTP: the first packet from exactly the signalled address; or `run` packets in
 *              order, of one SSRC, from one port of the `near` address (where the signalling comes
 *              from). A latch held by a source that is still talking does not move. RTCP carries
 *              no sequence: it is proved by the signalled RTCP address, or by coming from the
 *              address that RTP (the `ally`) was proved for.
 *   SIGNALLED  opaque protocols: the signalled address and nothing else.
 * A trusted latch (inside) starts out latched to the signalled address.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

enum latch_rule { LATCH_TAG, LATCH_RUN, LATCH_SIGNALLED };

enum {
	LATCH_N_RUN = 5,	/* packets in order */
	LATCH_QUIET_MS = 1000,	/* RUN: silence after which another source may take over */
	LATCH_MAX_MOVES = 4,	/* moves ... */
	LATCH_MOVES_MS = 10000, /* ... within this time; more are dropped */
	LATCH_N_SOURCES = 16,	/* SSRCs whose newest packet is remembered */
	LATCH_AHEAD =
		256, /* how far ahead of the last checked packet an unchecked one is believed */
	LATCH_MAX_CHECKS = 100, /* TAG: bad tags ... */
	LATCH_CHECKS_MS = 1000, /* ... within this time; then strangers are not looked at */
};

enum latch_kind { LATCH_PACKET_RTP, LATCH_PACKET_RTCP, LATCH_PACKET_OTHER };

struct latch_packet {
	const uint8_t *p;
	size_t n;
	enum latch_kind kind;
	uint32_t ssrc; /* RTP and RTCP */
	uint16_t seq;  /* RTP */
	struct addr from;
};

struct latch_ops {
	/* Is the tag good? roc: roll-over counter to check under (RTP). For RTCP *index is set to
	 * the SRTCP index of a good packet. */
	bool (*verify)(void *arg, const struct latch_packet *pkt, uint32_t roc, uint32_t *index);
};

/* Newest packet seen of an SSRC, RTP and RTCP apart (both may share a port). */
struct latch_source {
	uint32_t ssrc;
	uint64_t newest;   /* roc << 16 | seq; SRTCP index */
	uint64_t verified; /* the newest whose tag was checked */
	bool rtcp;
	bool used;
};

struct latch {
	enum latch_rule rule;
	bool trusted;
	struct addr signalled; /* ADDR_NONE: unknown or on hold */
	struct addr near;      /* port 0; ADDR_NONE: none */
	const struct latch *ally;
	struct addr remote; /* proved; ADDR_NONE while UNPROVED */
	int64_t heard_ms;   /* last packet of remote */
	struct {
		struct addr from;
		uint32_t ssrc;
		uint16_t seq;
		unsigned n;
	} run;
	struct latch_source sources[LATCH_N_SOURCES];
	unsigned last_source, next_source;
	bool evicted; /* a source was pushed out: an unknown SSRC may be an old one */
	int64_t moves_since_ms, checks_since_ms;
	unsigned n_moves, n_checks;
};

enum latch_verdict {
	LATCH_PASS,    /* from the proved source */
	LATCH_LATCHED, /* proved now, first time: pass it on too */
	LATCH_MOVED,   /* proved now, and the latch was elsewhere */
	LATCH_DROP,
};

void latch_init(struct latch *l, bool trusted, const struct latch *ally);
/* New signalling: by which rule, which address, and where the signalling comes from. What was
 * proved stays, but: a trusted latch goes to a changed signalled address at once, and SIGNALLED
 * forgets a source that is no longer the signalled one. */
void latch_signal(struct latch *l, enum latch_rule rule, const struct addr *signalled,
		  const struct addr *near);
/* New key: packets of the old one prove nothing, numbering starts anew. */
void latch_new_key(struct latch *l);
enum latch_verdict latch_input(struct latch *l, const struct latch_packet *pkt,
			       const struct latch_ops *ops, void *arg, int64_t now_ms);
static inline bool latch_proved(const struct latch *l)
{
	return l->remote.family != ADDR_NONE;
}

#endif
