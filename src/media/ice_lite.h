#ifndef MEDIA_ICE_LITE_H
#define MEDIA_ICE_LITE_H
/*
 * The answering half of ICE (RFC 8445 section 7.3): judges one binding request and builds the
 * answer. A request whose integrity does not hold gets no answer at all, so that nothing is ever
 * sent to somebody without the password. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/stun.h"

enum { ICE_UFRAG_BYTES = 33, ICE_PWD_BYTES = 129, ICE_REPLY_BYTES = 256 };

/* NUL-terminated; RFC 8839 section 5.4 allows 256 characters, longer ones than these are refused.
 */
struct ice_creds {
	char ufrag[ICE_UFRAG_BYTES];
	char pwd[ICE_PWD_BYTES];
};

/* Fills fresh credentials from 24 random bytes: 8 and 24 characters (48 and 144 bits). */
#define ICE_CREDS_RANDOM 24
void ice_creds_make(struct ice_creds *c, const uint8_t random[ICE_CREDS_RANDOM]);

/* Splits USERNAME of a check into the receiver's fragment and the sender's. */
bool ice_username(const struct stun_msg *m, struct slice *receiver, struct slice *sender);

enum ice_verdict {
	ICE_DROP,    /* nothing to send */
	ICE_REFUSED, /* an error answer was built; proves nothing */
	ICE_PROVED,  /* a success answer was built: the source holds the password */
};

struct ice_request {
	const struct ice_creds *local;
	struct slice remote_ufrag; /* empty: not known yet */
	struct addr from;
	bool controlling; /* our role; a lite agent never is */
	uint64_t tie_breaker;
};

/* Judges a decoded message. *n: bytes of the answer, 0 for none. *nominated: USE-CANDIDATE was
 * there. Role conflicts get 487 (RFC 8445 section 7.3.1.1; what a conflict would make of our own
 * role is decided so that ours never changes). */
enum ice_verdict ice_request_answer(const struct ice_request *r, const struct stun_msg *m,
				    uint8_t out[ICE_REPLY_BYTES], size_t *n, bool *nominated);

#endif
