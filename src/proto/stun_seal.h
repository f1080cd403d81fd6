#ifndef PROTO_STUN_SEAL_H
#define PROTO_STUN_SEAL_H
/* What checking (stun.c) and building (stun_build.c) of the last attributes have in common. */
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "proto/hmac.h"

enum { STUN_ATTR_HEADER_BYTES = 4 };

/* FINGERPRINT of the n bytes before it (RFC 8489 14.7). */
uint32_t stun_seal_crc(const uint8_t *p, size_t n);
/* HMAC of the message p up to the integrity attribute at offset at, whose value will have
 * tag_bytes: the length in the header counts as if the message ended with it (14.5, 14.6). */
void stun_seal_sha1(const uint8_t *p, size_t at, struct slice key, uint8_t out[HMAC_SHA1_BYTES]);
void stun_seal_sha256(const uint8_t *p, size_t at, size_t tag_bytes, struct slice key,
		      uint8_t out[HMAC_SHA256_BYTES]);

#endif
