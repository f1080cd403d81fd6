/* Digest values: printing, computing, checking; nonces. Reading them is digest_parse.c. */
#include "proto/digest.h"

#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/base64.h"
#include "proto/hmac.h"

#define NONCE_BYTES 32 /* time 8, random 8, MAC 16 */
#define MAC_BYTES   16

struct hex_hash {
	char text[2 * EVP_MAX_MD_SIZE];
	size_t n;
};

static const EVP_MD *md_of(enum digest_algorithm a)
{
	if (a == DIGEST_MD5)
		return EVP_md5();
	return a == DIGEST_SHA256 ? EVP_sha256() : NULL;
}

static const char *name_of(enum digest_algorithm a)
{
	return a == DIGEST_SHA256 ? "SHA-256" : "MD5";
}

static struct slice hash_slice(const struct hex_hash *h)
{
	return (struct slice){ h->text, h->n };
}

/* Hex of H(parts joined with ':'). */
static bool hash_joined(enum digest_algorithm a, const struct slice *parts, size_t n,
			struct hex_hash *out)
{
	static const char digits[] = "0123456789abcdef";
	const EVP_MD *md = md_of(a);
	EVP_MD_CTX *ctx = md ? EVP_MD_CTX_new() : NULL;
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned raw_n = 0;
	bool ok;

	ok = ctx && EVP_DigestInit_ex(ctx, md, NULL) == 1;
	for (size_t i = 0; ok && i < n; i++) {
		ok = (i == 0 || EVP_DigestUpdate(ctx, ":", 1) == 1) &&
		     EVP_DigestUpdate(ctx, parts[i].p, parts[i].n) == 1;
	}
	ok = ok && EVP_DigestFinal_ex(ctx, raw, &raw_n) == 1;
	EVP_MD_CTX_free(ctx);
	out->n = ok ? 2 * raw_n : 0;
	for (unsigned i = 0; ok && i < raw_n; i++) {
		out->text[2 * i] = digits[raw[i] >> 4];
		out->text[2 * i + 1] = digits[raw[i] & 15];
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	return ok;
}

/* RFC 7616 3.4.1: request-digest, with or (RFC 2069) without qop=auth. */
static bool response_hash_ha1(const struct digest_response *r, struct slice ha1,
			      struct slice method, struct hex_hash *out)
{
	struct slice a2[] = { method, r->uri };
	struct hex_hash ha2;
	bool ok = hash_joined(r->algorithm, a2, 2, &ha2);

	if (ok && r->qop_auth) {
		struct slice all[] = { ha1,	  r->nonce,	 r->nc,
				       r->cnonce, SLICE("auth"), hash_slice(&ha2) };

		ok = hash_joined(r->algorithm, all, 6, out);
	} else if (ok) {
		struct slice all[] = { ha1, r->nonce, hash_slice(&ha2) };

		ok = hash_joined(r->algorithm, all, 3, out);
	}
	return ok;
}

static bool response_hash(const struct digest_response *r, struct slice password,
			  struct slice method, struct hex_hash *out)
{
	struct slice a1[] = { r->username, r->realm, password };
	struct hex_hash ha1;
	bool ok;

	ok = hash_joined(r->algorithm, a1, 3, &ha1) &&
	     response_hash_ha1(r, hash_slice(&ha1), method, out);
	OPENSSL_cleanse(&ha1, sizeof(ha1));
	return ok;
}

/* In constant time; either case of hex is the same number. */
static bool is_response(const struct digest_response *r, const struct hex_hash *want)
{
	char given[2 * EVP_MAX_MD_SIZE];

	if (r->response.n != want->n)
		return false;
	for (size_t i = 0; i < want->n; i++) {
		char c = r->response.p[i];

		given[i] = c >= 'A' && c <= 'F' ? (char)(c + 32) : c;
	}
	return CRYPTO_memcmp(given, want->text, want->n) == 0;
}

bool digest_response_check(const struct digest_response *r, struct slice password,
			   struct slice method)
{
	struct hex_hash want;

	return response_hash(r, password, method, &want) && is_response(r, &want);
}

size_t digest_ha1(enum digest_algorithm a, struct slice username, struct slice realm,
		  struct slice password, char out[DIGEST_HA1_BYTES])
{
	struct slice a1[] = { username, realm, password };
	struct hex_hash ha1;
	size_t n = 0;

	if (hash_joined(a, a1, 3, &ha1) && ha1.n < DIGEST_HA1_BYTES)
		n = ha1.n;
	memcpy(out, ha1.text, n);
	out[n] = '\0';
	OPENSSL_cleanse(&ha1, sizeof(ha1));
	return n;
}

bool digest_response_check_ha1(const struct digest_response *r, struct slice ha1,
			       struct slice method)
{
	struct hex_hash want;

	return ha1.n > 0 && response_hash_ha1(r, ha1, method, &want) && is_response(r, &want);
}

/* A value that can stand between quotes: what would end the quotes fails, it is never repaired,
 * since both sides hash the bytes between the quotes. */
static void add_quoted(struct buf *out, const char *name, struct slice v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '"' || c < 0x20 || c == 0x7f)
			out->failed = true;
		if (c == '\\' && ++i == v.n)
			out->failed = true;
	}
	buf_printf(out, "%s=\"", name);
	buf_add_slice(out, v);
	buf_add_char(out, '"');
}

void digest_challenge_print(struct buf *out, enum digest_algorithm a, struct slice realm,
			    struct slice nonce, bool stale)
{
	buf_add_str(out, "Digest ");
	add_quoted(out, "realm", realm);
	buf_add_str(out, ", ");
	add_quoted(out, "nonce", nonce);
	buf_printf(out, ", algorithm=%s, qop=\"auth\"%s", name_of(a), stale ? ", stale=true" : "");
	if (!md_of(a))
		out->failed = true;
}

void digest_response_print(struct buf *out, const struct digest_challenge *c, struct slice username,
			   struct slice password, struct slice method, struct slice uri,
			   struct slice cnonce, uint32_t nc)
{
	char nc_text[9];
	struct digest_response r = {
		.username = username,
		.realm = c->realm,
		.nonce = c->nonce,
		.uri = uri,
		.cnonce = cnonce,
		.nc = { nc_text, 8 },
		.algorithm = c->algorithm,
		.qop_auth = c->qop_auth,
	};
	struct hex_hash hash;

	snprintf(nc_text, sizeof(nc_text), "%08x", nc);
	if (!response_hash(&r, password, method, &hash)) {
		out->failed = true;
		return;
	}
	buf_add_str(out, "Digest ");
	add_quoted(out, "username", username);
	buf_add_str(out, ", ");
	add_quoted(out, "realm", c->realm);
	buf_add_str(out, ", ");
	add_quoted(out, "nonce", c->nonce);
	buf_add_str(out, ", ");
	add_quoted(out, "uri", uri);
	buf_add_str(out, ", ");
	add_quoted(out, "response", hash_slice(&hash));
	buf_printf(out, ", algorithm=%s", name_of(c->algorithm));
	if (c->qop_auth) {
		buf_add_str(out, ", ");
		add_quoted(out, "cnonce", cnonce);
		buf_printf(out, ", qop=auth, nc=%s", nc_text);
	}
	if (c->opaque.p) {
		buf_add_str(out, ", ");
		add_quoted(out, "opaque", c->opaque);
	}
}

/* MAC over the first 16 bytes of raw and bound. */
static void nonce_mac(const uint8_t key[32], const uint8_t raw[16], struct slice bound,
		      uint8_t mac[HMAC_SHA256_BYTES])
{
	struct hmac_sha256 h;

	hmac_sha256_init(&h, key, 32);
	hmac_sha256(&h, (struct slice){ (const char *)raw, 16 }, bound, mac);
	OPENSSL_cleanse(&h, sizeof(h));
}

void digest_nonce_make(struct buf *out, const uint8_t key[32], int64_t now_s,
		       const uint8_t random[8], struct slice bound)
{
	uint8_t raw[NONCE_BYTES], mac[HMAC_SHA256_BYTES];

	for (int i = 0; i < 8; i++)
		raw[i] = (uint8_t)((uint64_t)now_s >> (56 - 8 * i));
	memcpy(raw + 8, random, 8);
	nonce_mac(key, raw, bound, mac);
	memcpy(raw + 16, mac, MAC_BYTES);
	base64url_encode(out, raw, sizeof(raw));
}

/* One nonce has one spelling: a replay table that remembers the text must not be passed by under
 * another one of the same bytes. */
static bool has_our_spelling(struct slice nonce)
{
	return slice_find(nonce, '+') == nonce.n && slice_find(nonce, '/') == nonce.n &&
	       slice_find(nonce, '=') == nonce.n;
}

enum digest_nonce digest_nonce_check(struct slice nonce, const uint8_t key[32], int64_t now_s,
				     int64_t max_age_s, struct slice bound)
{
	uint8_t raw[NONCE_BYTES], mac[HMAC_SHA256_BYTES];
	uint64_t made = 0;

	if (!has_our_spelling(nonce) || base64_decode(nonce, raw, sizeof(raw)) != NONCE_BYTES)
		return DIGEST_NONCE_FOREIGN;
	nonce_mac(key, raw, bound, mac);
	if (CRYPTO_memcmp(mac, raw + 16, MAC_BYTES) != 0)
		return DIGEST_NONCE_FOREIGN;
	for (int i = 0; i < 8; i++)
		made = made << 8 | raw[i];
	/* Ours, so `made` is a time that we once had. One from the future means that the clock was
	 * set back; counting such a nonce as stale costs the client one more round. */
	if ((int64_t)made > now_s || now_s - (int64_t)made > max_age_s)
		return DIGEST_NONCE_STALE;
	return DIGEST_NONCE_OK;
}
