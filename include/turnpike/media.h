#ifndef TURNPIKE_MEDIA_H
#define TURNPIKE_MEDIA_H
/*
 * Service "media": one session per call, two legs. The caller (the B2BUA) hands in the SDP that
 * came from one leg and gets the SDP to send on the other one; ports, ICE-lite mux, keys, latching
 * and the relay are the module's business. RFC 3264 offer/answer, several m-lines, re-offers.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/slice.h"

/* What a leg looks toward. */
enum media_leg_kind {
	MEDIA_LEG_OUTSIDE, /* phones of the internet: own port pair, untrusted address, strict
			      latching */
	MEDIA_LEG_MUX,	   /* on E toward C: ICE-lite on the shared ports */
	MEDIA_LEG_ICE,	   /* on C toward E: own port, ICE controlling */
	MEDIA_LEG_INSIDE,  /* PBX and inner phones: own port pair, signalled address first */
};

enum media_crypto {
	MEDIA_CRYPTO_RELAY,	/* SRTP keys pass end to end; packets are relayed as they are (E) */
	MEDIA_CRYPTO_ENCRYPTED, /* this leg must be SRTP (SDES) */
	MEDIA_CRYPTO_BEST_EFFORT, /* offers both; takes what comes */
	MEDIA_CRYPTO_NONE,	  /* this leg is plain RTP */
	MEDIA_CRYPTO_AUTO,	  /* follows the other leg: no change */
};

struct media_leg_params {
	enum media_leg_kind kind;
	enum media_crypto crypto;
	struct addr signalling_peer; /* where the signalling of this leg comes from (port unused) */
	bool ip6;		     /* family to offer on this leg */
	struct addr local; /* local address of the leg's signalling: the default to bind and
			      advertise */
};

/* Session handles are ids; 0 is none. Legs are 0 and 1. */
struct media_ops {
	/* parent: connection id of the call. session: session id text. 0 when out of ports or
	 * memory. */
	uint64_t (*session_new)(void *self, uint64_t parent, const char *session,
				const struct media_leg_params legs[2]);
	/* Changes what a leg looks toward: when the target becomes known, and again for the next
	 * target (serial forking). A pending offer is rolled back, the leg's ports and keys are
	 * given up; the next offer starts a new SDP session on it. 0, -ENOENT, -EINVAL. */
	int (*leg_set)(void *self, uint64_t id, unsigned leg, const struct media_leg_params *p);
	/* SDP offer from leg `from`; out gets the offer for the other leg. On error negative errno
	 * and a SIP status with reason phrase text in *status / why (488 not acceptable, 403
	 * refused address, 500): the offer changed nothing, out is as before. A pending offer is
	 * rolled back first.
	 *
	 * Refused addresses (src/media/desc.h has the whole rule): multicast, broadcast,
	 * link-local, reserved, loopback (unless that leg's signalling is on loopback), our own
	 * listeners and, from outside, any address of this host and [media] refuse-outside. Private
	 * addresses are taken from phones behind NAT, but nothing is ever sent there before a
	 * packet proved them. c=0.0.0.0 is a hold. */
	int (*offer)(void *self, uint64_t id, unsigned from, struct slice sdp, struct buf *out,
		     int *status, char why[128]);
	/* SDP answer from leg `from` to the pending offer; out gets the answer for the other leg.
	 * Also for early answers (183); a later answer to the same offer replaces it. */
	int (*answer)(void *self, uint64_t id, unsigned from, struct slice sdp, struct buf *out,
		      int *status, char why[128]);
	/* The pending offer failed (4xx to re-INVITE): back to what was agreed before. */
	void (*rollback)(void *self, uint64_t id);
	/* Ends it; the reason goes to the ended media entries. */
	void (*session_free)(void *self, uint64_t id, const char *reason);
	/* Counters of a leg for `turnpikectl calls`: a JSON array of streams (new reference). */
	struct json_t *(*describe)(void *self, uint64_t id);
};
#define MEDIA_SERVICE "media"

#endif
