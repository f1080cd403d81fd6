#ifndef PROTO_DIGEST_H
#define PROTO_DIGEST_H
/*
 * HTTP/SIP digest (RFC 7616, RFC 8760, RFC 3261 22): MD5 and SHA-256, qop=auth. Pure: nonces are
 * made and checked with a key and the time given, so the server keeps no state but a small replay
 * table of the caller's choice.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum digest_algorithm { DIGEST_MD5, DIGEST_SHA256, DIGEST_UNKNOWN };

struct digest_challenge {
	struct slice realm, nonce, opaque;
	enum digest_algorithm algorithm;
	bool stale, qop_auth;
};
struct digest_response {
	struct slice username, realm, nonce, uri, response, cnonce, opaque, nc;
	enum digest_algorithm algorithm;
	bool qop_auth;
	uint32_t nc_value;
};

/* Header values ("Digest realm=..., ..."). Unescapes quoted strings that need it: never; values
 * with backslashes are kept as they are. false: not Digest, duplicate or missing fields, over 2
 * KiB. */
bool digest_challenge_parse(struct slice value, struct digest_challenge *out);
bool digest_response_parse(struct slice value, struct digest_response *out);

/* nonce = base64url(time_s || random8 || HMAC-SHA256(key, time||random||bound)[0..15]); bound ties
 * it to something (a flow id). */
void digest_nonce_make(struct buf *out, const uint8_t key[32], int64_t now_s,
		       const uint8_t random[8], struct slice bound);
enum digest_nonce { DIGEST_NONCE_OK, DIGEST_NONCE_STALE, DIGEST_NONCE_FOREIGN };
enum digest_nonce digest_nonce_check(struct slice nonce, const uint8_t key[32], int64_t now_s,
				     int64_t max_age_s, struct slice bound);
/* Challenge header value. */
void digest_challenge_print(struct buf *out, enum digest_algorithm a, struct slice realm,
			    struct slice nonce, bool stale);
/* Authorization header value answering c. */
void digest_response_print(struct buf *out, const struct digest_challenge *c, struct slice username,
			   struct slice password, struct slice method, struct slice uri,
			   struct slice cnonce, uint32_t nc);
/* Constant-time check of r.response against the password; uri must be what the caller saw. */
bool digest_response_check(const struct digest_response *r, struct slice password,
			   struct slice method);
/* H(username:realm:password) in lower-case hex (RFC 7616 3.4.2): as good as the password for that
 * realm, to be wiped. Returns its length, 32 or 64; 0 for an unknown algorithm. */
#define DIGEST_HA1_BYTES 65
size_t digest_ha1(enum digest_algorithm a, struct slice username, struct slice realm,
		  struct slice password, char out[DIGEST_HA1_BYTES]);
/* The same check against what digest_ha1() gave for r's algorithm, username and realm. */
bool digest_response_check_ha1(const struct digest_response *r, struct slice ha1,
			       struct slice method);

#endif
