#ifndef SIGNIN_CRED_CACHE_H
#define SIGNIN_CRED_CACHE_H
/*
 * Credentials that were good lately, so that their owner is not asked about again: of each only an
 * HMAC-SHA256 under a key of this run is kept, so a dump of the memory of another time or place
 * tells nothing. Pure. When full, the one that was not used for the longest time goes; only good
 * credentials get in, so that guessing washes nothing out.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signin/basic.h"

#define CRED_TAG_BYTES 32

struct cred_cache;

/* random: 48 fresh random bytes. NULL without memory. */
struct cred_cache *cred_cache_new(const uint8_t random[48]);
/* Wipes the key. */
void cred_cache_free(struct cred_cache *c);
/* What does not fit any more goes at once. */
void cred_cache_configure(struct cred_cache *c, size_t max_entries, int64_t life_ms);
/* The name of these credentials in this run; says nothing about whether they are good. */
void cred_cache_tag(const struct cred_cache *c, const struct signin_credentials *cred,
		    uint8_t tag[CRED_TAG_BYTES]);
/* They were found good now. Without memory they are not kept. */
void cred_cache_put(struct cred_cache *c, const uint8_t tag[CRED_TAG_BYTES], int64_t now_ms);
/* Were they found good within the life? */
bool cred_cache_has(struct cred_cache *c, const uint8_t tag[CRED_TAG_BYTES], int64_t now_ms);
void cred_cache_drop(struct cred_cache *c, const uint8_t tag[CRED_TAG_BYTES]);
/* Throws out what is over its life; returns how many. */
size_t cred_cache_sweep(struct cred_cache *c, int64_t now_ms);
void cred_cache_clear(struct cred_cache *c);
size_t cred_cache_count(const struct cred_cache *c);

#endif
