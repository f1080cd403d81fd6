/* Dialback keys (XEP-0185). */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "xmpp/s2s.h"

static void to_hex(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}

void dialback_key(struct slice secret, const char *receiving, const char *originating,
		  const char *stream_id, char out[DIALBACK_KEY_BYTES])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	char hashed[DIALBACK_KEY_BYTES];
	unsigned n = 0;
	struct buf text;

	/* An empty key is no key: dialback_key_is() never says yes to it. */
	out[0] = '\0';
	buf_init(&text, 4 * XMPP_DOMAIN_BYTES);
	buf_add_str(&text, receiving);
	buf_add_char(&text, ' ');
	buf_add_str(&text, originating);
	buf_add_char(&text, ' ');
	buf_add_str(&text, stream_id);
	if (text.failed || !EVP_Digest(secret.p, secret.n, digest, &n, EVP_sha256(), NULL))
		goto out;
	to_hex(digest, n, hashed);
	if (HMAC(EVP_sha256(), hashed, (int)(2 * n), (const uint8_t *)text.p, text.n, digest, &n))
		to_hex(digest, n, out);
out:
	OPENSSL_cleanse(hashed, sizeof(hashed));
	OPENSSL_cleanse(digest, sizeof(digest));
	buf_fini(&text);
}

bool dialback_key_is(struct slice key, const char expected[DIALBACK_KEY_BYTES])
{
	return strlen(expected) == DIALBACK_KEY_BYTES - 1 && key.n == DIALBACK_KEY_BYTES - 1 &&
	       CRYPTO_memcmp(key.p, expected, DIALBACK_KEY_BYTES - 1) == 0;
}
