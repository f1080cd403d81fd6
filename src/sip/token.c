#include "sip/token.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/base64.h"
#include "proto/hmac.h"

#define MAC_BYTES  16
#define HEAD_BYTES 13
#define MIN_BYTES  (HEAD_BYTES + MAC_BYTES)
#define MAX_BYTES  (MIN_BYTES + TOKEN_ZONE_BYTES - 1)

static const struct slice prefix = { "tp", 2 };

static void put(uint8_t *at, uint64_t v, int n_bytes)
{
	for (int i = 0; i < n_bytes; i++)
		at[i] = (uint8_t)(v >> (8 * (n_bytes - 1 - i)));
}

static uint64_t get(const uint8_t *at, int n_bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < n_bytes; i++)
		v = v << 8 | at[i];
	return v;
}

/* The label keeps these tags apart from anything else that the same key may sign. */
static void sign(const uint8_t key[TOKEN_KEY_BYTES], const uint8_t *raw, size_t n,
		 uint8_t mac[HMAC_SHA256_BYTES])
{
	struct hmac_sha256 h;

	hmac_sha256_init(&h, key, TOKEN_KEY_BYTES);
	hmac_sha256(&h, SLICE("turnpike token 1:"), (struct slice){ (const char *)raw, n }, mac);
	OPENSSL_cleanse(&h, sizeof(h));
}

void token_print(struct buf *out, const uint8_t key[TOKEN_KEY_BYTES], const struct token *t)
{
	uint8_t raw[MAX_BYTES], mac[HMAC_SHA256_BYTES];
	size_t n_zone = strnlen(t->zone, TOKEN_ZONE_BYTES - 1), n = HEAD_BYTES + n_zone;

	raw[0] = (uint8_t)t->kind;
	put(raw + 1, t->boot, 4);
	put(raw + 5, t->id, 8);
	memcpy(raw + HEAD_BYTES, t->zone, n_zone);
	sign(key, raw, n, mac);
	memcpy(raw + n, mac, MAC_BYTES);
	buf_add_slice(out, prefix);
	base64url_encode(out, raw, n + MAC_BYTES);
}

/* The decoder takes both alphabets, padding and stray bits at the end; a token has one spelling. */
static bool is_canonical(struct slice text, const uint8_t *raw, size_t n)
{
	struct buf again;
	bool same;

	buf_init(&again, TOKEN_MAX_CHARS);
	base64url_encode(&again, raw, n);
	same = !again.failed && slice_eq(buf_slice(&again), text);
	buf_fini(&again);
	return same;
}

enum token_result token_parse(struct slice text, const uint8_t key[TOKEN_KEY_BYTES],
			      struct token *t)
{
	uint8_t raw[MAX_BYTES], mac[HMAC_SHA256_BYTES];
	long n;

	if (text.n > TOKEN_MAX_CHARS || !slice_starts(text, prefix))
		return TOKEN_NONE;
	text.p += prefix.n;
	text.n -= prefix.n;
	n = base64_decode(text, raw, sizeof(raw));
	if (n < MIN_BYTES)
		return TOKEN_NONE;
	n -= MAC_BYTES;
	sign(key, raw, (size_t)n, mac);
	if (CRYPTO_memcmp(mac, raw + n, MAC_BYTES) != 0 || raw[0] > TOKEN_REGISTRATION ||
	    memchr(raw + HEAD_BYTES, '\0', (size_t)n - HEAD_BYTES) ||
	    !is_canonical(text, raw, (size_t)n + MAC_BYTES))
		return TOKEN_FORGED;
	memset(t, 0, sizeof(*t));
	t->kind = raw[0];
	t->boot = (uint32_t)get(raw + 1, 4);
	t->id = get(raw + 5, 8);
	memcpy(t->zone, raw + HEAD_BYTES, (size_t)n - HEAD_BYTES);
	return TOKEN_OK;
}
