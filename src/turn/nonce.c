#include "turn/nonce.h"

#include <openssl/crypto.h>

enum {
	FEATURES_AT = 9,
	TIME_AT = 13,
	TAG_AT = 21,
	TIME_BYTES = 6, /* milliseconds: enough for 8,900 years */
	TAG_BYTES = 12,
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void turn_nonces_init(struct turn_nonces *n, const uint8_t key[32])
{
	hmac_sha256_init(&n->key, key, 32);
}

void turn_nonces_fini(struct turn_nonces *n)
{
	OPENSSL_cleanse(n, sizeof(*n));
}

/* n is a multiple of 3. base/base64 writes into a growing buffer, this is for every answer. */
static void print64(char *out, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];

		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = alphabet[v >> 6 & 63];
		*out++ = alphabet[v & 63];
	}
}

static int value64(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void print_features(char out[4])
{
	uint32_t bits = TURN_FEATURE_PASSWORD_ALGORITHMS;
	uint8_t raw[3] = { (uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits };

	print64(out, raw, sizeof(raw));
}

void turn_nonce_make(const struct turn_nonces *n, const struct addr *client, uint8_t transport,
		     int64_t now_ms, char out[TURN_NONCE_BYTES])
{
	uint8_t tag[HMAC_SHA256_BYTES], covered[TIME_BYTES + 1];

	for (size_t i = 0; i < TIME_BYTES; i++)
		covered[i] = (uint8_t)((uint64_t)now_ms >> 8 * (TIME_BYTES - 1 - i));
	covered[TIME_BYTES] = transport;
	hmac_sha256(&n->key, (struct slice){ (const char *)covered, sizeof(covered) },
		    addr_key(client), tag);
	memcpy(out, "obMatJos2", FEATURES_AT);
	print_features(out + FEATURES_AT);
	print64(out + TIME_AT, covered, TIME_BYTES);
	print64(out + TAG_AT, tag, TAG_BYTES);
}

/* False: no time. */
static bool read_time(const char text[TAG_AT - TIME_AT], int64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < TAG_AT - TIME_AT; i++) {
		int digit = value64(text[i]);

		if (digit < 0)
			return false;
		v = v << 6 | (unsigned)digit;
	}
	*out = (int64_t)v;
	return true;
}

enum turn_nonce_verdict turn_nonce_check(const struct turn_nonces *n, struct slice nonce,
					 const struct addr *client, uint8_t transport,
					 int64_t now_ms, uint32_t life_ms)
{
	char want[TURN_NONCE_BYTES];
	int64_t made_ms;

	if (nonce.n != TURN_NONCE_BYTES || !read_time(nonce.p + TIME_AT, &made_ms) ||
	    made_ms > now_ms)
		return TURN_NONCE_FOREIGN;
	turn_nonce_make(n, client, transport, made_ms, want);
	if (CRYPTO_memcmp(want, nonce.p, sizeof(want)) != 0)
		return TURN_NONCE_FOREIGN;
	return now_ms - made_ms > (int64_t)life_ms ? TURN_NONCE_STALE : TURN_NONCE_GOOD;
}
