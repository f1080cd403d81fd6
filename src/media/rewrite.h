#ifndef MEDIA_REWRITE_H
#define MEDIA_REWRITE_H
/*
 * Turns the SDP of one leg into the SDP for the other: our addresses, ports, keys and ICE lines in,
 * those of the other side out, everything else as it came and in its order. Pure.
 *
 * Topology hiding: o= and c= are ours; lines that name an address (a=candidate, a=rtcp, ...) are
 * dropped; so is any line that spells out an address found in the o= or c= lines of this SDP.
 */
#include "media/ice_lite.h"
#include "proto/sdp.h"
#include "proto/srtp.h"

enum { REWRITE_N_CRYPTO = 2 };

struct rewrite_line {
	bool on; /* else the line goes out with port 0 */
	uint16_t port, rtcp_port;
	bool is_rtp; /* the profile is ours to write, RTCP exists */
	enum sdp_profile profile;
	bool keep_keys; /* keys pass end to end */
	uint8_t n_crypto;
	struct srtp_sdes crypto[REWRITE_N_CRYPTO];
	bool rtcp_mux;	    /* write a=rtcp-mux */
	bool one_component; /* RTP only: rtcp-mux is agreed, or the protocol has no RTCP */
	bool hold;
	bool write_rtcp;	     /* a=rtcp, although it is the port above */
	const struct ice_creds *ice; /* NULL: no ICE on this leg */
};

struct rewrite {
	uint64_t sess_id, version;
	struct addr ip;
	bool ice_lite;
	size_t n_lines;
	const struct rewrite_line *lines; /* one for each m= line */
};

/* Changes sdp in place. 0, -ENOMEM or -E2BIG. */
int media_rewrite(struct sdp *sdp, const struct rewrite *r);
/* The o= line alone. */
int media_rewrite_origin(struct sdp *sdp, const struct rewrite *r);

#endif
