#ifndef MEDIA_PLAN_H
#define MEDIA_PLAN_H
/*
 * What becomes of one m= line on its way to the other leg, as far as encryption goes (the table of
 * modes is in session.h), and which keys follow from offer and answer together. Pure but for the
 * random bytes of fresh keys.
 */
#include "media/desc.h"

/* A line of the pending or last offer. */
struct media_plan {
	struct media_desc desc; /* the offer's */
	bool on;
	bool terminate;	    /* keys end here; else keys and packets pass */
	bool own_crypto;    /* toward the answerer go a=crypto lines of ours ... */
	bool must_secure;   /* ... and RTP/SAVP: the answer must take one */
	bool may_secure;    /* the offerer gets a key, having offered one */
	bool passed_secure; /* passing, and an answer without key is refused */
	bool opened[2];	    /* ends that this offer opened */
};

/* Keys of ours that one leg's line knows, by suite, and the peer's key they stand against. */
struct media_own_keys {
	struct srtp_sdes keys[SRTP_N_SUITES];
	struct srtp_master peer;
	bool peer_known;
};

/* The keys of both ends. Pointers go into plan, answer and own keys. NULL: none. */
struct media_key_choice {
	const struct srtp_master *rx[2]; /* by leg: what the peer there sends with */
	const struct srtp_master *tx[2];
	const struct srtp_sdes *answer_line; /* a=crypto of the answer to the offerer */
};

typedef void (*media_random)(void *arg, void *p, size_t n);

/* Fills in the plan of a line that is on. offerer, answerer: modes of the legs. 0 or -EINVAL with
 * the reason (488). */
int media_plan_line(struct media_plan *p, enum media_crypto offerer, enum media_crypto answerer,
		    char why[DESC_WHY_BYTES]);
/* Profile to write toward the answerer. */
enum sdp_profile media_plan_profile(const struct media_plan *p);
/* The a=crypto lines toward the answerer: tag 1 with AES_CM_128_HMAC_SHA1_80, tag 2 with _32. The
 * same keys as long as own lives. 0 or -EINVAL. */
int media_plan_own(struct media_own_keys *own, media_random random, void *arg,
		   struct srtp_sdes out[2]);
/* Judges the answer's line against the plan and picks the keys. own[]: by leg. A peer that changed
 * its key gets a fresh one of ours. 0 or -EINVAL with the reason. */
int media_plan_keys(const struct media_plan *p, const struct media_desc *answer, unsigned offerer,
		    struct media_own_keys *const own[2], media_random random, void *arg,
		    struct media_key_choice *out, char why[DESC_WHY_BYTES]);
void media_own_keys_wipe(struct media_own_keys *own);

#endif
