#include "proto/hmac.h"

#include <string.h>

#include <openssl/crypto.h>

/* OpenSSL 3 marks the plain hash states deprecated in favour of EVP, which has no cheap copy. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { BLOCK_BYTES = 64 };

/* The key, padded with zeros, under the byte that RFC 2104 names ipad or opad. */
static void pad_key(uint8_t block[BLOCK_BYTES], const uint8_t *key, size_t n, uint8_t pad)
{
	memset(block, pad, BLOCK_BYTES);
	for (size_t i = 0; i < n; i++)
		block[i] ^= key[i];
}

void hmac_sha1_init(struct hmac_sha1 *h, const void *key, size_t n)
{
	uint8_t block[BLOCK_BYTES], hashed[HMAC_SHA1_BYTES];

	if (n > BLOCK_BYTES) {
		SHA1_Init(&h->inner);
		SHA1_Update(&h->inner, key, n);
		SHA1_Final(hashed, &h->inner);
		key = hashed;
		n = sizeof(hashed);
	}
	pad_key(block, key, n, 0x36);
	SHA1_Init(&h->inner);
	SHA1_Update(&h->inner, block, sizeof(block));
	pad_key(block, key, n, 0x5c);
	SHA1_Init(&h->outer);
	SHA1_Update(&h->outer, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(hashed, sizeof(hashed));
}

void hmac_sha256_init(struct hmac_sha256 *h, const void *key, size_t n)
{
	uint8_t block[BLOCK_BYTES], hashed[HMAC_SHA256_BYTES];

	if (n > BLOCK_BYTES) {
		SHA256_Init(&h->inner);
		SHA256_Update(&h->inner, key, n);
		SHA256_Final(hashed, &h->inner);
		key = hashed;
		n = sizeof(hashed);
	}
	pad_key(block, key, n, 0x36);
	SHA256_Init(&h->inner);
	SHA256_Update(&h->inner, block, sizeof(block));
	pad_key(block, key, n, 0x5c);
	SHA256_Init(&h->outer);
	SHA256_Update(&h->outer, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(hashed, sizeof(hashed));
}

void hmac_sha1(const struct hmac_sha1 *h, struct slice a, struct slice b,
	       uint8_t out[HMAC_SHA1_BYTES])
{
	SHA_CTX sha = h->inner;

	if (a.n)
		SHA1_Update(&sha, a.p, a.n);
	if (b.n)
		SHA1_Update(&sha, b.p, b.n);
	SHA1_Final(out, &sha);
	sha = h->outer;
	SHA1_Update(&sha, out, HMAC_SHA1_BYTES);
	SHA1_Final(out, &sha);
}

void hmac_sha256(const struct hmac_sha256 *h, struct slice a, struct slice b,
		 uint8_t out[HMAC_SHA256_BYTES])
{
	SHA256_CTX sha = h->inner;

	if (a.n)
		SHA256_Update(&sha, a.p, a.n);
	if (b.n)
		SHA256_Update(&sha, b.p, b.n);
	SHA256_Final(out, &sha);
	sha = h->outer;
	SHA256_Update(&sha, out, HMAC_SHA256_BYTES);
	SHA256_Final(out, &sha);
}
