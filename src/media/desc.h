#ifndef MEDIA_DESC_H
#define MEDIA_DESC_H
/*
 * What one side's SDP says of one m= line, read out into values: all that the session decides on.
 * Also the rule which addresses an SDP may name. Pure.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/conf_schema.h"
#include "media/ice_lite.h"
#include "proto/sdp.h"
#include "proto/srtp.h"
#include "turnpike/media.h"

enum { DESC_N_CRYPTO = 6, DESC_N_COMPONENTS = 2, DESC_WHY_BYTES = 128 };

enum desc_kind {
	DESC_OFF,     /* port 0 */
	DESC_REFUSED, /* a transport that is not carried (TCP, ...): answered with port 0 */
	DESC_RTP,
	DESC_DTLS,
	DESC_OPAQUE,
};

struct media_desc {
	enum desc_kind kind;
	enum sdp_profile profile;
	struct addr rtp, rtcp; /* with port; rtcp by a=rtcp or the port above */
	bool hold;	       /* c=0.0.0.0 or c=::, the hold of RFC 2543 */
	bool rtcp_mux;
	enum sdp_direction direction;
	bool video;
	uint32_t clock_rate;
	bool crypto_seen; /* there are a=crypto lines, usable or not */
	uint8_t n_crypto; /* usable ones, in order of preference */
	struct srtp_sdes crypto[DESC_N_CRYPTO];
	struct ice_creds ice;			   /* ufrag "": none */
	struct addr candidates[DESC_N_COMPONENTS]; /* best UDP one a component */
};

/* 0, or -EINVAL with the reason for humans (488). */
int media_desc_read(const struct sdp *sdp, size_t m, struct media_desc *out,
		    char why[DESC_WHY_BYTES]);
static inline bool media_desc_on(const struct media_desc *d)
{
	return d->kind >= DESC_RTP;
}
static inline bool sdp_profile_secure(enum sdp_profile p)
{
	return p == SDP_RTP_SAVP || p == SDP_RTP_SAVPF;
}
void media_desc_wipe(struct media_desc *d);

/*
 * Which addresses an SDP may name (design 6, attack rows 13 and 29). All but the unspecified
 * address of a hold are judged:
 *
 *   any leg   multicast, broadcast, link-local, reserved: refused. Loopback: refused, unless the
 *             signalling of that leg itself comes from loopback (all on one machine).
 *             One of our own addresses: refused where it is a listener of ours; refused where it is
 * a media port of the same session (a loop). Taken where it is a TURN relay of ours: somebody
 * outside has it, and packets go to him. OUTSIDE   any other own address: refused, unless the
 * signalling comes from that address. What is in refuse-outside: refused. Private addresses: taken,
 * because phones behind NAT write them in good faith; nothing is sent there before a packet from
 * there (or from wherever the phone really is) proved itself, so they cannot be used to reach
 * inside. INSIDE    own address with a media port of another session: taken (a call from outside to
 * outside comes back through the PBX). Any other port of ours in the media range: refused. MUX the
 * address is not used at all: only checks tell where C is. ICE       the address is not used: C
 * sends to the address it has the signalling link with, E being free to choose the port only. A
 * taken-over E cannot aim C's packets at the inside.
 */
enum desc_addr_verdict {
	DESC_ADDR_OK,
	DESC_ADDR_CLASS,    /* loopback, multicast, ... */
	DESC_ADDR_OWN,	    /* this host */
	DESC_ADDR_LISTENER, /* a listener of ours */
	DESC_ADDR_LOOP,	    /* a port of the same session */
	DESC_ADDR_PREFIX,   /* refuse-outside */
};

/* Whose is a port of this host? */
enum desc_owner {
	DESC_OWNER_NONE,
	DESC_OWNER_LISTENER,
	DESC_OWNER_RELAY,
	DESC_OWNER_FREE,
	DESC_OWNER_SAME,
	DESC_OWNER_OTHER
};

struct desc_world {
	bool (*own_ip)(void *arg, const struct addr *a);
	/* a is an own address. FREE: in the media range, but nobody's. */
	enum desc_owner (*owner)(void *arg, const struct addr *a);
	void *arg;
	const struct conf_prefixes *refuse_outside; /* may be NULL */
};
enum desc_addr_verdict media_desc_addr(const struct desc_world *w, enum media_leg_kind leg,
				       const struct addr *signalling_peer, const struct addr *a);
const char *desc_addr_verdict_str(enum desc_addr_verdict v);

#endif
