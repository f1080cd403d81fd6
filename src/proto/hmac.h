#ifndef PROTO_HMAC_H
#define PROTO_HMAC_H
/*
 * HMAC (RFC 2104) with the padded key hashed once: starting a tag copies two small states, where
 * the EVP interface looks up, allocates and hashes the key anew. For tags per packet.
 */
#include <stddef.h>
#include <stdint.h>

#include <openssl/sha.h>

#include "base/slice.h"

enum { HMAC_SHA1_BYTES = 20, HMAC_SHA256_BYTES = 32 };

struct hmac_sha1 {
	SHA_CTX inner;
	SHA_CTX outer;
};

struct hmac_sha256 {
	SHA256_CTX inner;
	SHA256_CTX outer;
};

/* Keys of any length. The struct holds secrets: wipe it with OPENSSL_cleanse(). */
void hmac_sha1_init(struct hmac_sha1 *h, const void *key, size_t n);
void hmac_sha256_init(struct hmac_sha256 *h, const void *key, size_t n);
/* The tag of a followed by b (either may be empty). */
void hmac_sha1(const struct hmac_sha1 *h, struct slice a, struct slice b,
	       uint8_t out[HMAC_SHA1_BYTES]);
void hmac_sha256(const struct hmac_sha256 *h, struct slice a, struct slice b,
		 uint8_t out[HMAC_SHA256_BYTES]);

#endif
