#ifndef TURN_NONCE_H
#define TURN_NONCE_H
/*
 * Nonces that the server need not remember (RFC 8489 section 9.2): cookie and feature bits
 * ("obMatJos2" + 4 base64 characters, 9.2.1), the time, and an HMAC-SHA256 over time, client
 * address and transport, truncated to 96 bits. Good for this run of the daemon and this client
 * only.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"
#include "proto/hmac.h"

enum {
	TURN_NONCE_BYTES = 37,			    /* 13 cookie and features, 8 time, 16 tag */
	TURN_FEATURE_PASSWORD_ALGORITHMS = 1 << 23, /* bit 0 of 24, RFC 8489 18.1 */
};

struct turn_nonces {
	struct hmac_sha256 key;
};

enum turn_nonce_verdict {
	TURN_NONCE_GOOD,
	TURN_NONCE_STALE,   /* ours, but too old */
	TURN_NONCE_FOREIGN, /* not made for this client, or not by us */
};

/* key: 32 random bytes. */
void turn_nonces_init(struct turn_nonces *n, const uint8_t key[32]);
void turn_nonces_fini(struct turn_nonces *n);
void turn_nonce_make(const struct turn_nonces *n, const struct addr *client, uint8_t transport,
		     int64_t now_ms, char out[TURN_NONCE_BYTES]);
/* Compares in constant time. A time in the future is foreign. */
enum turn_nonce_verdict turn_nonce_check(const struct turn_nonces *n, struct slice nonce,
					 const struct addr *client, uint8_t transport,
					 int64_t now_ms, uint32_t life_ms);

#endif
