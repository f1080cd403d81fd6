/*
 * SRTP against the vectors of RFC 3711, 6188 and 7714, and against libsrtp2, which must agree bit
 * by bit on every packet and on what is a replay.
 */
#include "proto/srtp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

/* Two of its names are ours too; what is called here has other ones. */
#define srtp_protect   other_srtp_protect
#define srtp_unprotect other_srtp_unprotect
#include <srtp2/srtp.h>
#undef srtp_protect
#undef srtp_unprotect

#include "base/base64.h"
#include "support/alloc_fail.h"

enum { PKT_BYTES = 1600 };

static uint64_t rng_state;

static uint32_t rnd(uint32_t below)
{
	rng_state = rng_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(rng_state >> 33) % below;
}

static size_t unhex(const char *text, uint8_t *out, size_t max)
{
	long n = hex_decode(slice_of(text), out, max);

	assert_true(n >= 0);
	return (size_t)n;
}

static struct srtp_master make_master(enum srtp_suite suite, unsigned seed)
{
	struct srtp_master m = { .suite = suite };

	for (size_t i = 0; i < srtp_suite_bytes(suite); i++)
		m.key[i] = (uint8_t)(i * 11 + seed * 29 + 1);
	return m;
}

/* an independent model from the text of the RFCs */

struct model {
	bool gcm;
	size_t key_bytes;
	size_t tag_bytes;
	uint8_t key[32];
	uint8_t salt[14];
	uint8_t auth[20];
};

static void ctr(const uint8_t *key, size_t key_bytes, const uint8_t iv[16], uint8_t *p, size_t n)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int len;

	assert_int_equal(EVP_EncryptInit_ex(c,
					    key_bytes == 16 ? EVP_aes_128_ctr() : EVP_aes_256_ctr(),
					    NULL, key, iv),
			 1);
	assert_int_equal(EVP_EncryptUpdate(c, p, &len, p, (int)n), 1);
	EVP_CIPHER_CTX_free(c);
}

static void model_derive(const struct srtp_master *m, size_t key_bytes, uint8_t label, uint8_t *out,
			 size_t n)
{
	uint8_t iv[16] = { 0 };

	memcpy(iv, m->key + key_bytes, srtp_suite_bytes(m->suite) - key_bytes);
	iv[7] ^= label;
	memset(out, 0, n);
	ctr(m->key, key_bytes, iv, out, n);
}

static struct model model_new(const struct srtp_master *m, bool rtcp)
{
	struct model x = { .gcm = m->suite >= SRTP_SUITE_AEAD_AES_128_GCM };
	uint8_t base = rtcp ? 3 : 0;
	bool short_tag = m->suite == SRTP_SUITE_AES_CM_128_HMAC_SHA1_32 ||
			 m->suite == SRTP_SUITE_AES_256_CM_HMAC_SHA1_32;

	x.key_bytes = srtp_suite_bytes(m->suite) > 40 ? 32 : 16;
	x.tag_bytes = x.gcm ? 16 : short_tag && !rtcp ? 4 : 10;
	model_derive(m, x.key_bytes, base, x.key, x.key_bytes);
	model_derive(m, x.key_bytes, base + 1, x.auth, sizeof(x.auth));
	model_derive(m, x.key_bytes, base + 2, x.salt, x.gcm ? 12 : 14);
	return x;
}

static void model_gcm(const struct model *x, uint32_t ssrc, uint64_t index, const uint8_t *aad,
		      size_t n_aad, uint8_t *p, size_t n)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t iv[12];
	int len;

	for (int i = 0; i < 12; i++) {
		uint8_t b =
			i < 2 ? 0
			      : (uint8_t)(i < 6 ? ssrc >> (8 * (5 - i)) : index >> (8 * (11 - i)));

		iv[i] = x->salt[i] ^ b;
	}
	EVP_EncryptInit_ex(c, x->key_bytes == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(), NULL,
			   x->key, iv);
	EVP_EncryptUpdate(c, NULL, &len, aad, (int)n_aad);
	EVP_EncryptUpdate(c, p, &len, p, (int)n);
	assert_int_equal(EVP_EncryptFinal_ex(c, p + n, &len), 1);
	EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, p + n);
	EVP_CIPHER_CTX_free(c);
}

static void model_cm(const struct model *x, uint32_t ssrc, uint64_t index, uint8_t *p, size_t n)
{
	uint8_t iv[16] = { 0 };

	memcpy(iv, x->salt, 14);
	for (int i = 0; i < 4; i++)
		iv[4 + i] ^= (uint8_t)(ssrc >> (24 - 8 * i));
	for (int i = 0; i < 6; i++)
		iv[8 + i] ^= (uint8_t)(index >> (40 - 8 * i));
	ctr(x->key, x->key_bytes, iv, p, n);
}

static void model_tag(const struct model *x, const uint8_t *p, size_t n, uint32_t word,
		      uint8_t *out)
{
	uint8_t msg[PKT_BYTES + 4], md[20];

	memcpy(msg, p, n);
	for (int i = 0; i < 4; i++)
		msg[n + i] = (uint8_t)(word >> (24 - 8 * i));
	HMAC(EVP_sha1(), x->auth, sizeof(x->auth), msg, n + 4, md, NULL);
	memcpy(out, md, x->tag_bytes);
}

/* Header of 12 bytes. Returns the size of the SRTP packet. */
static size_t model_rtp(const struct model *x, uint32_t roc, uint8_t *p, size_t n)
{
	uint32_t ssrc = (uint32_t)p[8] << 24 | (uint32_t)p[9] << 16 | (uint32_t)p[10] << 8 | p[11];
	uint64_t index = (uint64_t)roc << 16 | (uint64_t)p[2] << 8 | p[3];

	if (x->gcm) {
		model_gcm(x, ssrc, index, p, 12, p + 12, n - 12);
	} else {
		model_cm(x, ssrc, index, p + 12, n - 12);
		model_tag(x, p, n, roc, p + n);
	}
	return n + x->tag_bytes;
}

/* word: E bit and index. */
static size_t model_rtcp(const struct model *x, uint32_t word, uint8_t *p, size_t n)
{
	uint32_t ssrc = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
	uint8_t aad[12], raw[4];

	for (int i = 0; i < 4; i++)
		raw[i] = (uint8_t)(word >> (24 - 8 * i));
	memcpy(aad, p, 8);
	memcpy(aad + 8, raw, 4);
	if (x->gcm) {
		model_gcm(x, ssrc, word & 0x7fffffff, aad, 12, p + 8, n - 8);
		memcpy(p + n + 16, raw, 4);
		return n + 20;
	}
	if (word >> 31)
		model_cm(x, ssrc, word & 0x7fffffff, p + 8, n - 8);
	model_tag(x, p, n, word, p + n + 4);
	memcpy(p + n, raw, 4);
	return n + 4 + x->tag_bytes;
}

/* The model itself: RFC 3711 B.2 (key stream), B.3 and RFC 6188 7.2 (key derivation). */
static void test_model_cm(void **state)
{
	static const char *const derived[2][5] = {
		{ "E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6",
		  "C61E7A93744F39EE10734AFE3FF7A087", "30CBBC08863D8C85D49DB34A9AE1",
		  "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4" },
		{ "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
		  "3b04803de51ee7c96423ab5b78d2",
		  "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
		  "fa31791685ca444a9e07c6c64e93", "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05" },
	};
	struct model x = { .key_bytes = 16, .tag_bytes = 10 };
	uint8_t stream[48] = { 0 }, want[48];

	unhex("2B7E151628AED2A6ABF7158809CF4F3C", x.key, sizeof(x.key));
	unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD", x.salt, sizeof(x.salt));
	model_cm(&x, 0, 0, stream, sizeof(stream));
	unhex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB"
	      "41E95B3BB0A2E8DD477901E4FCA894C0",
	      want, sizeof(want));
	assert_memory_equal(stream, want, sizeof(want));
	for (int i = 0; i < 2; i++) {
		struct srtp_master m = { .suite = i ? SRTP_SUITE_AES_256_CM_HMAC_SHA1_80
						    : SRTP_SUITE_AES_CM_128_HMAC_SHA1_80 };
		size_t n = unhex(derived[i][0], m.key, sizeof(m.key));

		unhex(derived[i][1], m.key + n, sizeof(m.key) - n);
		x = model_new(&m, false);
		assert_int_equal(x.key_bytes, n);
		unhex(derived[i][2], want, sizeof(want));
		assert_memory_equal(x.key, want, n);
		unhex(derived[i][3], want, sizeof(want));
		assert_memory_equal(x.salt, want, 14);
		unhex(derived[i][4], want, sizeof(want));
		assert_memory_equal(x.auth, want, 20);
	}
}

/* RFC 7714 16.1.1, 16.2.1, 17.1, 17.2. */
static void test_model_gcm(void **state)
{
	static const char rtp[] =
		"8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976697361"
		"20696e207061727465732074726573";
	static const char rtcp[] =
		"81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61"
		"deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
	static const char *const want[2][2] = {
		{ "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a"
		  "51"
		  "c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
		  "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda"
		  "4ce0"
		  "9b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4" },
		{ "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a02"
		  "76"
		  "ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
		  "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be"
		  "8415"
		  "f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4" },
	};
	uint8_t p[128], expected[128];
	size_t n;

	for (int i = 0; i < 2; i++) {
		struct model x = { .gcm = true, .key_bytes = i ? 32 : 16, .tag_bytes = 16 };

		for (uint8_t b = 0; b < 32; b++)
			x.key[b] = b;
		memcpy(x.salt, "Quid pro quo", 12);
		n = model_rtp(&x, 0, p, unhex(rtp, p, sizeof(p)));
		assert_int_equal(n, unhex(want[i][0], expected, sizeof(expected)));
		assert_memory_equal(p, expected, n);
		n = model_rtcp(&x, 0x800005d4, p, unhex(rtcp, p, sizeof(p)));
		assert_int_equal(n, unhex(want[i][1], expected, sizeof(expected)));
		assert_memory_equal(p, expected, n);
	}
}

/* packets */

/* A random RTP packet; header extension, CSRCs and length vary. */
static size_t make_rtp(uint8_t *p, uint32_t ssrc, uint16_t seq, size_t max_payload)
{
	unsigned n_csrc = rnd(4) == 0 ? rnd(16) : 0, ext = rnd(3) == 0 ? 1 + rnd(8) : 0;
	size_t n = 12 + 4 * n_csrc + (ext ? 4 * ext : 0) + rnd((uint32_t)max_payload + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd(256);
	p[0] = (uint8_t)(0x80 | (ext ? 0x10 : 0) | n_csrc);
	p[2] = (uint8_t)(seq >> 8);
	p[3] = (uint8_t)seq;
	for (int i = 0; i < 4; i++)
		p[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
	if (ext) {
		p[12 + 4 * n_csrc + 2] = 0;
		p[12 + 4 * n_csrc + 3] = (uint8_t)(ext - 1);
	}
	return n;
}

/* The shortest header, which the model knows. */
static size_t make_plain_rtp(uint8_t *p, uint32_t ssrc, uint16_t seq, size_t payload)
{
	for (size_t i = 0; i < 12 + payload; i++)
		p[i] = (uint8_t)(i * 7 + seq);
	p[0] = 0x80;
	p[2] = (uint8_t)(seq >> 8);
	p[3] = (uint8_t)seq;
	for (int i = 0; i < 4; i++)
		p[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
	return 12 + payload;
}

static size_t make_rtcp(uint8_t *p, uint32_t ssrc, size_t payload)
{
	size_t n = 8 + payload;

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd(256);
	p[0] = 0x80;
	p[1] = 201;
	for (int i = 0; i < 4; i++)
		p[4 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
	return n;
}

/* Ours against the model, all suites, several ROCs, the empty payload too. */
static void test_against_model(void **state)
{
	for (int suite = 1; suite < SRTP_N_SUITES; suite++) {
		struct srtp_master m = make_master((enum srtp_suite)suite, 1);
		struct model rtp = model_new(&m, false), rtcp = model_new(&m, true);
		struct srtp_ctx *c = srtp_ctx_new(&m, 0), *r = srtp_ctx_new(&m, 0);

		assert_non_null(c);
		for (uint32_t roc = 0; roc < 3; roc++) {
			uint32_t ssrc = 0xa0b0c0d0 + roc;
			uint8_t a[256], b[256];

			assert_int_equal(srtp_ctx_set_roc(c, ssrc, roc * 0x01020304, 500), 0);
			assert_int_equal(srtp_ctx_set_roc(r, ssrc, roc * 0x01020304, 500), 0);
			for (uint16_t i = 0; i < 40; i++) {
				size_t n = make_plain_rtp(a, ssrc, 500 + i, i), want;

				memcpy(b, a, n);
				want = model_rtp(&rtp, roc * 0x01020304, b, n);
				assert_int_equal(srtp_protect(c, a, &n, sizeof(a)), 0);
				assert_int_equal(n, want);
				assert_memory_equal(a, b, n);
				assert_int_equal(srtp_unprotect(r, a, &n), 0);
				assert_int_equal(n, make_plain_rtp(b, ssrc, 500 + i, i));
				assert_memory_equal(a, b, n);
				n = make_rtcp(a, ssrc, i);
				memcpy(b, a, n);
				want = model_rtcp(&rtcp, 0x80000000U | i, b, n);
				assert_int_equal(srtcp_protect(c, a, &n, sizeof(a)), 0);
				assert_int_equal(n, want);
				assert_memory_equal(a, b, n);
				assert_int_equal(srtcp_unprotect(r, a, &n), 0);
				assert_int_equal(n, 8 + i);
			}
		}
		srtp_ctx_free(c);
		srtp_ctx_free(r);
	}
}

/* libsrtp2 */

static srtp_t other_new(const struct srtp_master *m, bool sending)
{
	static const struct {
		void (*rtp)(srtp_crypto_policy_t *p);
		void (*rtcp)(srtp_crypto_policy_t *p);
	} suites[SRTP_N_SUITES] = {
		[SRTP_SUITE_AES_CM_128_HMAC_SHA1_80] = { srtp_crypto_policy_set_rtp_default,
							 srtp_crypto_policy_set_rtcp_default },
		[SRTP_SUITE_AES_CM_128_HMAC_SHA1_32] = { srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32,
							 srtp_crypto_policy_set_rtcp_default },
		[SRTP_SUITE_AES_256_CM_HMAC_SHA1_80] = { srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80,
							 srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80 },
		[SRTP_SUITE_AES_256_CM_HMAC_SHA1_32] = { srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32,
							 srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80 },
		[SRTP_SUITE_AEAD_AES_128_GCM] = { srtp_crypto_policy_set_aes_gcm_128_16_auth,
						  srtp_crypto_policy_set_aes_gcm_128_16_auth },
		[SRTP_SUITE_AEAD_AES_256_GCM] = { srtp_crypto_policy_set_aes_gcm_256_16_auth,
						  srtp_crypto_policy_set_aes_gcm_256_16_auth },
	};
	srtp_master_key_t key = { .key = (unsigned char *)m->key,
				  .mki_id = (unsigned char *)m->mki,
				  .mki_size = m->n_mki };
	srtp_master_key_t *keys[] = { &key };
	srtp_policy_t policy = { .window_size = SRTP_WINDOW };
	srtp_t s = NULL;

	policy.ssrc.type = sending ? ssrc_any_outbound : ssrc_any_inbound;
	suites[m->suite].rtp(&policy.rtp);
	suites[m->suite].rtcp(&policy.rtcp);
	if (m->n_mki) {
		policy.keys = keys;
		policy.num_master_keys = 1;
	} else {
		policy.key = (unsigned char *)m->key;
	}
	assert_int_equal(srtp_create(&s, &policy), srtp_err_status_ok);
	return s;
}

/* What libsrtp2 calls an outcome, in our words. */
static int other_err(srtp_err_status_t status)
{
	switch (status) {
	case srtp_err_status_ok:
		return 0;
	case srtp_err_status_replay_fail:
	case srtp_err_status_replay_old:
		return -EALREADY;
	case srtp_err_status_auth_fail:
	case srtp_err_status_bad_mki:
		return -EBADMSG;
	default:
		return -EINVAL;
	}
}

/* libsrtp2 wants aligned packets. */
union packet {
	uint8_t p[PKT_BYTES];
	uint32_t align;
};

struct pair {
	struct srtp_master master;
	struct srtp_ctx *ours;
	srtp_t other;
	bool mki;
};

static struct pair pair_new(const struct srtp_master *m, bool sending)
{
	struct pair x = { .master = *m,
			  .ours = srtp_ctx_new(m, 0),
			  .other = other_new(m, sending),
			  .mki = m->n_mki > 0 };

	assert_non_null(x.ours);
	return x;
}

static void pair_free(struct pair *x)
{
	srtp_ctx_free(x->ours);
	srtp_dealloc(x->other);
}

/* Both protect the same packet: same outcome, same bytes. */
static int pair_protect(struct pair *x, bool rtcp, union packet *k, size_t *n)
{
	union packet b = *k;
	int len = (int)*n, err, want;

	want = other_err(rtcp ? srtp_protect_rtcp_mki(x->other, b.p, &len, x->mki, 0)
			      : srtp_protect_mki(x->other, b.p, &len, x->mki, 0));
	err = rtcp ? srtcp_protect(x->ours, k->p, n, sizeof(k->p))
		   : srtp_protect(x->ours, k->p, n, sizeof(k->p));
	assert_int_equal(err, want);
	if (err == 0) {
		assert_int_equal(*n, len);
		assert_memory_equal(k->p, b.p, *n);
	}
	return err;
}

static int pair_unprotect(struct pair *x, bool rtcp, union packet *k, size_t *n)
{
	union packet b = *k;
	int len = (int)*n, err, want;

	want = other_err(rtcp ? srtp_unprotect_rtcp_mki(x->other, b.p, &len, x->mki)
			      : srtp_unprotect_mki(x->other, b.p, &len, x->mki));
	/* Verifying says the same beforehand, and changes nothing. */
	err = rtcp ? srtcp_verify(x->ours, k->p, *n) : srtp_verify(x->ours, k->p, *n);
	assert_int_equal(err, want);
	err = rtcp ? srtcp_unprotect(x->ours, k->p, n) : srtp_unprotect(x->ours, k->p, n);
	assert_int_equal(err, want);
	if (err == 0) {
		assert_int_equal(*n, len);
		assert_memory_equal(k->p, b.p, *n);
	}
	return err;
}

/* libsrtp2 starts SRTCP at index 1, RFC 3711 3.4 at 0: one packet more from ours evens it out. */
static void align_rtcp(struct pair *x, uint32_t ssrc)
{
	union packet k;
	size_t n = make_rtcp(k.p, ssrc, 20);

	assert_int_equal(srtcp_protect(x->ours, k.p, &n, sizeof(k.p)), 0);
}

/* libsrtp2 2.5 looks for the MKI of SRTCP where the tag of SRTP would let it begin: under the _32
 * suites, whose SRTCP tag is longer, it cannot read its own packets. */
static bool other_can_read(const struct srtp_master *m, bool rtcp)
{
	return !rtcp || m->n_mki == 0 ||
	       (m->suite != SRTP_SUITE_AES_CM_128_HMAC_SHA1_32 &&
		m->suite != SRTP_SUITE_AES_256_CM_HMAC_SHA1_32);
}

/* Five sources with gaps in their numbers, each through several roll-overs. */
static void run_oracle(const struct srtp_master *m, unsigned n_packets, uint32_t min_roc)
{
	struct pair tx = pair_new(m, true), rx = pair_new(m, false);
	uint32_t seq[5];

	for (uint32_t s = 0; s < 5; s++) {
		seq[s] = s < 2 ? 65500 + s * 20 : rnd(65536);
		align_rtcp(&tx, 0x1000 + s);
	}
	for (unsigned i = 0; i < n_packets; i++) {
		uint32_t s = rnd(5);
		bool rtcp = rnd(8) == 0;
		union packet k, plain;
		size_t n = rtcp ? make_rtcp(k.p, 0x1000 + s, 4 * rnd(100))
				: make_rtp(k.p, 0x1000 + s, (uint16_t)seq[s], rnd(10) ? 200 : 1300);
		size_t n_plain = n;

		plain = k;
		assert_int_equal(pair_protect(&tx, rtcp, &k, &n), 0);
		if (other_can_read(m, rtcp))
			assert_int_equal(pair_unprotect(&rx, rtcp, &k, &n), 0);
		else
			assert_int_equal(srtcp_unprotect(rx.ours, k.p, &n), 0);
		assert_int_equal(n, n_plain);
		assert_memory_equal(k.p, plain.p, n);
		if (!rtcp)
			seq[s] += rnd(4) ? 1 : 1 + rnd(5000);
	}
	for (uint32_t s = 0; s < 5; s++) {
		uint32_t roc;

		assert_true(srtp_ctx_roc(rx.ours, 0x1000 + s, &roc));
		assert_true(roc >= min_roc);
	}
	pair_free(&tx);
	pair_free(&rx);
}

static void test_oracle(void **state)
{
	for (int suite = 1; suite < SRTP_N_SUITES; suite++) {
		struct srtp_master m = make_master((enum srtp_suite)suite, 2);

		rng_state = (uint64_t)suite;
		run_oracle(&m, 3000, 2);
	}
}

static void test_oracle_mki(void **state)
{
	static const uint8_t lengths[] = { 1, 4, 128 };

	for (int suite = 1; suite < SRTP_N_SUITES; suite++) {
		for (int i = 0; i < 3; i++) {
			struct srtp_master m = make_master((enum srtp_suite)suite, 3);

			m.n_mki = lengths[i];
			for (int b = 0; b < m.n_mki; b++)
				m.mki[b] = (uint8_t)(b + 1);
			rng_state = 77;
			run_oracle(&m, 400, 0);
		}
	}
}

/* A sender whose input comes out of order and twice, as a relay's does. */
static void test_oracle_sender_disorder(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 4);
	struct pair tx = pair_new(&m, true);
	unsigned n_done = 0, n_refused = 0;
	uint32_t base = 65000;

	rng_state = 5;
	for (int i = 0; i < 20000; i++) {
		uint32_t back = rnd(20) ? rnd(8) : rnd(400);
		union packet k;
		size_t n =
			make_rtp(k.p, 7, (uint16_t)(base - (base > 65000 + back ? back : 0)), 100);
		int err = pair_protect(&tx, false, &k, &n);

		assert_true(err == 0 || err == -EALREADY);
		n_done += err == 0;
		n_refused += err != 0;
		base += rnd(12);
	}
	assert_true(n_done > 1000 && n_refused > 1000);
	pair_free(&tx);
}

struct sent {
	union packet k;
	size_t n;
};

/* Losses, disorder, late packets and replays around every roll-over; the receivers must agree on
 * each packet, and those that ours takes must come out right. */
static void run_disorder(enum srtp_suite suite, bool rtcp, uint32_t first)
{
	enum { N = 6000 };
	struct srtp_master m = make_master(suite, 6);
	struct pair tx = pair_new(&m, true), rx = pair_new(&m, false);
	struct sent *sent = calloc(N, sizeof(*sent));
	unsigned n_good = 0, n_replay = 0;
	uint32_t seq = first;

	align_rtcp(&tx, 9);
	for (int i = 0; i < N; i++) {
		sent[i].n = rtcp ? make_rtcp(sent[i].k.p, 9, 20)
				 : make_rtp(sent[i].k.p, 9, (uint16_t)seq, 60);
		assert_int_equal(pair_protect(&tx, rtcp, &sent[i].k, &sent[i].n), 0);
		seq += rnd(6) ? 1 : rnd(200) + 1;
	}
	for (int i = 0, at = 0; at < N; i++) {
		int back = rnd(3) ? 0 : rnd(10) ? (int)rnd(10) : (int)rnd(300);
		int pick = at > back ? at - back : at;
		union packet k = sent[pick].k;
		size_t n = sent[pick].n;
		int err = pair_unprotect(&rx, rtcp, &k, &n);

		n_good += err == 0;
		n_replay += err == -EALREADY;
		at += rnd(4) == 0 ? (int)rnd(4) : 1;
	}
	assert_true(n_good > N / 3);
	assert_true(n_replay > 500);
	free(sent);
	pair_free(&tx);
	pair_free(&rx);
}

static void test_oracle_disorder(void **state)
{
	rng_state = 8;
	run_disorder(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, false, 65000);
	run_disorder(SRTP_SUITE_AES_CM_128_HMAC_SHA1_32, false, 0);
	run_disorder(SRTP_SUITE_AES_CM_128_HMAC_SHA1_32, true, 0);
	run_disorder(SRTP_SUITE_AEAD_AES_128_GCM, false, 32760);
	run_disorder(SRTP_SUITE_AEAD_AES_256_GCM, true, 0);
}

/* Jumps of about half the number space, where guessing the ROC turns. */
static void test_oracle_big_jumps(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 7);

	rng_state = 11;
	for (int round = 0; round < 300; round++) {
		struct pair tx = pair_new(&m, true);
		uint16_t seq = (uint16_t)rnd(65536);

		for (int i = 0; i < 12; i++) {
			union packet k;
			size_t n = make_rtp(k.p, 1, seq, 20);

			pair_protect(&tx, false, &k, &n);
			seq = (uint16_t)(seq + 32760 + rnd(17));
		}
		pair_free(&tx);
	}
}

/* limits and attacks */

static void test_window_edge(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 8);
	struct model x = model_new(&m, false);
	struct srtp_ctx *c = srtp_ctx_new(&m, 0);
	static const struct {
		uint16_t seq;
		int want;
	} steps[] = {
		{ 1000, 0 },
		{ 1000, -EALREADY },
		{ 1000 - SRTP_WINDOW + 1, 0 },
		{ 1000 - SRTP_WINDOW + 1, -EALREADY },
		{ 1000 - SRTP_WINDOW, -EALREADY },
		{ 1000 + SRTP_WINDOW - 1, 0 },
		{ 1000, -EALREADY },
		{ 1001, 0 },
		{ 999, -EALREADY },
		{ 1000 + SRTP_WINDOW, 0 },
		{ 1001, -EALREADY },
		{ 1002, 0 },
		{ 30000, 0 },
		{ 1003, -EALREADY },
		{ 29999, 0 },
		{ 30000, -EALREADY },
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint8_t p[128];
		size_t n = model_rtp(&x, 0, p, make_plain_rtp(p, 3, steps[i].seq, 10));

		assert_int_equal(srtp_unprotect(c, p, &n), steps[i].want);
	}
	srtp_ctx_free(c);
}

static void test_bit_flips(void **state)
{
	for (int suite = 1; suite < SRTP_N_SUITES; suite++) {
		struct srtp_master m = make_master((enum srtp_suite)suite, 9);

		m.n_mki = suite % 2 ? 4 : 0;
		for (int rtcp = 0; rtcp < 2; rtcp++) {
			struct srtp_ctx *tx = srtp_ctx_new(&m, 0), *rx = srtp_ctx_new(&m, 1);
			uint8_t p[256], q[256];
			size_t n = rtcp ? make_rtcp(p, 5, 24) : make_plain_rtp(p, 5, 77, 30), k;

			assert_int_equal(rtcp ? srtcp_protect(tx, p, &n, sizeof(p))
					      : srtp_protect(tx, p, &n, sizeof(p)),
					 0);
			for (size_t bit = 0; bit < 8 * n; bit++) {
				memcpy(q, p, n);
				q[bit / 8] ^= (uint8_t)(1 << bit % 8);
				k = n;
				assert_int_not_equal(
					rtcp ? srtcp_verify(rx, q, n) : srtp_verify(rx, q, n), 0);
				assert_int_not_equal(rtcp ? srtcp_unprotect(rx, q, &k)
							  : srtp_unprotect(rx, q, &k),
						     0);
				assert_int_equal(k, n);
			}
			/* Cut anywhere. */
			for (k = 0; k < n; k++) {
				size_t cut = k;

				memcpy(q, p, k);
				assert_int_not_equal(rtcp ? srtcp_unprotect(rx, q, &cut)
							  : srtp_unprotect(rx, q, &cut),
						     0);
			}
			/* And none of it left a trace. */
			assert_false(srtp_ctx_roc(rx, 5, &(uint32_t){ 0 }));
			assert_int_equal(
				rtcp ? srtcp_unprotect(rx, p, &n) : srtp_unprotect(rx, p, &n), 0);
			srtp_ctx_free(tx);
			srtp_ctx_free(rx);
		}
	}
}

/* Authentic, but in clear although encryption was agreed on. */
static void test_rtcp_without_e_bit(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 10);
	struct model x = model_new(&m, true);
	struct srtp_ctx *c = srtp_ctx_new(&m, 0);
	uint8_t p[128];
	size_t n = model_rtcp(&x, 5, p, make_rtcp(p, 1, 20));

	assert_int_equal(srtcp_unprotect(c, p, &n), -EBADMSG);
	n = model_rtcp(&x, 0x80000005, p, make_rtcp(p, 1, 20));
	assert_int_equal(srtcp_unprotect(c, p, &n), 0);
	srtp_ctx_free(c);
}

static void test_wrong_mki(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 11), other = m,
			   none = m;
	struct srtp_ctx *tx, *rx, *bare;
	uint8_t p[128], q[128];
	size_t n, k;

	m.n_mki = other.n_mki = 2;
	m.mki[1] = 1;
	other.mki[1] = 2;
	tx = srtp_ctx_new(&m, 0);
	rx = srtp_ctx_new(&other, 0);
	bare = srtp_ctx_new(&none, 0);
	n = make_plain_rtp(p, 1, 1, 20);
	assert_int_equal(srtp_protect(tx, p, &n, sizeof(p)), 0);
	assert_int_equal(n, 12 + 20 + 2 + 10);
	memcpy(q, p, n);
	k = n;
	assert_int_equal(srtp_unprotect(rx, q, &k), -EBADMSG);
	assert_int_equal(srtp_unprotect(bare, q, &k), -EBADMSG);
	/* The same key under the right MKI keeps the context. */
	assert_int_equal(srtp_ctx_rekey(rx, &m), 0);
	assert_int_equal(srtp_unprotect(rx, q, &k), 0);
	srtp_ctx_free(tx);
	srtp_ctx_free(rx);
	srtp_ctx_free(bare);
}

static void test_room(void **state)
{
	for (int suite = 1; suite < SRTP_N_SUITES; suite++) {
		struct srtp_master m = make_master((enum srtp_suite)suite, 12);
		struct srtp_ctx *c;

		m.n_mki = SRTP_MKI_BYTES;
		c = srtp_ctx_new(&m, 0);
		assert_true(srtp_trailer(c) <= SRTP_TRAILER_BYTES);
		assert_true(srtcp_trailer(c) <= SRTP_TRAILER_BYTES);
		for (int rtcp = 0; rtcp < 2; rtcp++) {
			size_t n = 12, trailer = rtcp ? srtcp_trailer(c) : srtp_trailer(c);
			uint8_t *p = calloc(1, n + trailer);

			if (rtcp)
				make_rtcp(p, 1, n - 8);
			else
				make_plain_rtp(p, 1, 1, 0);
			assert_int_equal(rtcp ? srtcp_protect(c, p, &n, n + trailer - 1)
					      : srtp_protect(c, p, &n, n + trailer - 1),
					 -ENOSPC);
			assert_int_equal(rtcp ? srtcp_protect(c, p, &n, n - 1)
					      : srtp_protect(c, p, &n, n - 1),
					 -ENOSPC);
			assert_int_equal(n, 12);
			assert_int_equal(rtcp ? srtcp_protect(c, p, &n, n + trailer)
					      : srtp_protect(c, p, &n, n + trailer),
					 0);
			assert_int_equal(n, 12 + trailer);
			free(p);
		}
		srtp_ctx_free(c);
	}
}

static void test_malformed(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 13);
	struct srtp_ctx *c = srtp_ctx_new(&m, 0);
	uint8_t p[128] = { 0x80 }, *big = calloc(1, 70000);
	size_t n;

	for (n = 0; n < 12; n++)
		assert_int_equal(srtp_protect(c, p, &n, sizeof(p)), -EINVAL);
	for (n = 0; n < 8; n++)
		assert_int_equal(srtcp_protect(c, p, &n, sizeof(p)), -EINVAL);
	p[0] = 0x40;
	n = 20;
	assert_int_equal(srtp_protect(c, p, &n, sizeof(p)), -EINVAL);
	assert_int_equal(srtcp_protect(c, p, &n, sizeof(p)), -EINVAL);
	p[0] = 0x8f; /* fifteen CSRCs do not fit */
	assert_int_equal(srtp_protect(c, p, &n, sizeof(p)), -EINVAL);
	p[0] = 0x90; /* extension longer than the packet */
	p[14] = 0;
	p[15] = 2;
	assert_int_equal(srtp_protect(c, p, &n, sizeof(p)), -EINVAL);
	big[0] = 0x80;
	n = 65536;
	assert_int_equal(srtp_protect(c, big, &n, 70000), -EINVAL);
	assert_int_equal(srtcp_protect(c, big, &n, 70000), -EINVAL);
	assert_int_equal(srtp_unprotect(c, big, &n), -EINVAL);
	assert_int_equal(srtcp_unprotect(c, big, &n), -EINVAL);
	n = 65535;
	assert_int_equal(srtp_protect(c, big, &n, 70000), 0);
	free(big);
	srtp_ctx_free(c);
}

static void test_index_space(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 14);
	struct model rtp = model_new(&m, false), rtcp = model_new(&m, true);
	struct srtp_ctx *c = srtp_ctx_new(&m, 0), *r = srtp_ctx_new(&m, 0);
	uint8_t p[128];
	size_t n;
	uint32_t roc;

	/* The last ROC ends with sequence number 65535. */
	assert_int_equal(srtp_ctx_set_roc(c, 1, UINT32_MAX, 65534), 0);
	assert_int_equal(srtp_ctx_set_roc(r, 1, UINT32_MAX, 65534), 0);
	for (uint32_t seq = 65534; seq < 65538; seq++) {
		n = make_plain_rtp(p, 1, (uint16_t)seq, 10);
		assert_int_equal(srtp_protect(c, p, &n, sizeof(p)), seq < 65536 ? 0 : -EKEYEXPIRED);
		n = model_rtp(&rtp, seq < 65536 ? UINT32_MAX : 0, p,
			      make_plain_rtp(p, 1, (uint16_t)seq, 10));
		assert_int_equal(srtp_unprotect(r, p, &n), seq < 65536 ? 0 : -EKEYEXPIRED);
	}
	assert_true(srtp_ctx_roc(c, 1, &roc));
	assert_int_equal(roc, UINT32_MAX);
	/* A context that has seen the last SRTCP index sends none after it. */
	n = model_rtcp(&rtcp, 0xffffffff, p, make_rtcp(p, 1, 20));
	assert_int_equal(srtcp_unprotect(c, p, &n), 0);
	n = make_rtcp(p, 1, 20);
	assert_int_equal(srtcp_protect(c, p, &n, sizeof(p)), -EKEYEXPIRED);
	srtp_ctx_free(c);
	srtp_ctx_free(r);
}

static int feed(struct srtp_ctx *c, const struct model *x, uint32_t ssrc, uint16_t seq)
{
	uint8_t p[128];
	size_t n = model_rtp(x, 0, p, make_plain_rtp(p, ssrc, seq, 10));

	return srtp_unprotect(c, p, &n);
}

/* The table of sources is full at its bound; only authenticated packets replace, and what was
 * replaced stays out instead of opening the door to its old packets. */
static void run_sources(unsigned max, unsigned bound)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 15),
			   bad = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 16);
	struct model x = model_new(&m, false), forged = model_new(&bad, false);
	struct srtp_ctx *c = srtp_ctx_new(&m, max);
	uint32_t roc;

	for (uint32_t s = 0; s < bound; s++)
		assert_int_equal(feed(c, &x, s, 100), 0);
	for (uint32_t s = 1000; s < 1100; s++)
		assert_int_equal(feed(c, &forged, s, 100), -EBADMSG);
	for (uint32_t s = 0; s < bound; s++) {
		assert_true(srtp_ctx_roc(c, s, &roc));
		assert_int_equal(feed(c, &x, s, 100), -EALREADY);
	}
	/* Source 0 speaks again: then 1 is the one silent longest. */
	assert_int_equal(feed(c, &x, 0, 101), 0);
	assert_int_equal(feed(c, &x, bound, 100), 0);
	assert_int_equal(srtp_ctx_roc(c, 0, &roc), bound > 1);
	assert_int_equal(srtp_ctx_roc(c, 1, &roc), bound == 1);
	assert_int_equal(feed(c, &x, bound > 1 ? 1 : 0, 100), -EALREADY);
	assert_int_equal(feed(c, &x, bound > 1 ? 1 : 0, 102), -EALREADY);
	assert_int_equal(srtp_ctx_set_roc(c, 5000, 0, 0), -ENOSPC);
	srtp_ctx_free(c);
}

static void test_sources(void **state)
{
	run_sources(0, SRTP_SOURCES);
	run_sources(1, 1);
	run_sources(3, 3);
}

/* Sending: a source that lost its place must not start over with the same key stream. */
static void test_sources_sending(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 17);
	struct srtp_ctx *c = srtp_ctx_new(&m, 2);
	uint8_t p[128];

	for (uint32_t s = 0; s < 3; s++) {
		size_t n = make_plain_rtp(p, s, 1, 10);

		assert_int_equal(srtp_protect(c, p, &n, sizeof(p)), 0);
	}
	for (uint16_t seq = 1; seq < 5; seq++) {
		size_t n = make_plain_rtp(p, 0, seq, 10);

		assert_int_equal(srtp_protect(c, p, &n, sizeof(p)), -EALREADY);
		n = make_rtcp(p, 0, 20);
		assert_int_equal(srtcp_protect(c, p, &n, sizeof(p)), -EALREADY);
	}
	srtp_ctx_free(c);
}

static void test_verify(void **state)
{
	for (int suite = 1; suite < SRTP_N_SUITES; suite++) {
		struct srtp_master m = make_master((enum srtp_suite)suite, 18);
		struct model x = model_new(&m, false);
		struct srtp_ctx *c = srtp_ctx_new(&m, 0);
		uint8_t p[PKT_BYTES], q[PKT_BYTES];
		size_t n = model_rtp(&x, 3, p, make_plain_rtp(p, 1, 40, 1400));
		uint32_t roc;

		memcpy(q, p, n);
		assert_int_equal(srtp_verify(c, p, n), -EBADMSG); /* under ROC 0 */
		assert_int_equal(srtp_verify_roc(c, p, n, 3), 0);
		assert_int_equal(srtp_verify_roc(c, p, n, 3), 0);
		assert_int_equal(srtp_verify_roc(c, p, n, 4), -EBADMSG);
		assert_int_equal(srtp_verify_roc(c, p, n - 1, 3), -EBADMSG);
		assert_int_equal(srtp_verify_roc(c, p, 12, 3), -EINVAL);
		assert_false(srtp_ctx_roc(c, 1, &roc));
		assert_memory_equal(p, q, n);
		/* Known from unprotecting. */
		assert_int_equal(srtp_ctx_set_roc(c, 1, 3, 40), 0);
		assert_int_equal(srtp_verify(c, p, n), 0);
		assert_int_equal(srtp_verify(c, p, n), 0);
		assert_int_equal(srtp_unprotect(c, p, &n), 0);
		n = model_rtp(&x, 3, p, make_plain_rtp(p, 1, 40, 1400));
		assert_int_equal(srtp_verify(c, p, n), -EALREADY);
		srtp_ctx_free(c);
	}
}

static void test_rekey(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 19),
			   fresh = make_master(SRTP_SUITE_AEAD_AES_256_GCM, 20), bad = m, other = m;
	struct srtp_ctx *c = srtp_ctx_new(&m, 0);
	struct model x = model_new(&m, false), y = model_new(&fresh, false);
	uint32_t roc;

	other.key[29] ^= 1; /* last byte of the salt */
	bad.suite = SRTP_N_SUITES;
	assert_true(srtp_ctx_same_key(c, &m));
	assert_false(srtp_ctx_same_key(c, &other));
	assert_false(srtp_ctx_same_key(c, &fresh));
	other = m;
	other.suite = SRTP_SUITE_AES_CM_128_HMAC_SHA1_32;
	assert_false(srtp_ctx_same_key(c, &other));
	assert_int_equal(feed(c, &x, 1, 10), 0);
	/* Same key: the replay window stays. */
	assert_int_equal(srtp_ctx_rekey(c, &m), 0);
	assert_int_equal(feed(c, &x, 1, 10), -EALREADY);
	/* One that cannot be used changes nothing. */
	assert_int_equal(srtp_ctx_rekey(c, &bad), -EINVAL);
	bad = fresh;
	bad.n_mki = SRTP_MKI_BYTES + 1;
	assert_int_equal(srtp_ctx_rekey(c, &bad), -EINVAL);
	assert_int_equal(feed(c, &x, 1, 10), -EALREADY);
	assert_int_equal(feed(c, &x, 1, 11), 0);
	/* A new key: all sources are new. */
	assert_int_equal(srtp_ctx_rekey(c, &fresh), 0);
	assert_false(srtp_ctx_roc(c, 1, &roc));
	assert_int_equal(feed(c, &x, 1, 12), -EBADMSG);
	assert_int_equal(feed(c, &y, 1, 10), 0);
	srtp_ctx_free(c);
	srtp_ctx_free(NULL);
	m.suite = SRTP_SUITE_NONE;
	assert_null(srtp_ctx_new(&m, 0));
}

static void run_ctx_new(void *arg)
{
	struct srtp_ctx *c = srtp_ctx_new(arg, 0);

	assert_int_equal(c == NULL, alloc_fail_hit());
	srtp_ctx_free(c);
}

static void test_no_memory(void **state)
{
	struct srtp_master m = make_master(SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 21);

	assert_int_equal(alloc_fail_sweep(run_ctx_new, &m), 2);
}

/* SDES */

#define KEY30 "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"

static void test_sdes_good(void **state)
{
	static const struct {
		const char *text;
		uint32_t tag;
		enum srtp_suite suite;
		uint64_t lifetime;
		uint8_t n_mki;
		uint8_t mki_last;
		const char *printed; /* NULL: as text */
	} rows[] = {
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30, 1, SRTP_SUITE_AES_CM_128_HMAC_SHA1_80,
		  0, 0, 0, NULL },
		{ "1 AES_CM_128_HMAC_SHA1_32 inline:" KEY30 "|2^20|1:4", 1,
		  SRTP_SUITE_AES_CM_128_HMAC_SHA1_32, 1 << 20, 4, 1, NULL },
		{ "999999999 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|1048577|255:1", 999999999,
		  SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 1048577, 1, 255, NULL },
		{ "0 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|5:128", 0,
		  SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 0, 128, 5, NULL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^48|18446744073709551615:8", 1,
		  SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 1ULL << 48, 8, 255, NULL },
		{ " 7\t aes_cm_128_hmac_sha1_80  INLINE:" KEY30 " WSH=64 KDR=0 -EXTRA=1 ", 7,
		  SRTP_SUITE_AES_CM_128_HMAC_SHA1_80, 0, 0, 0,
		  "7 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 },
		{ "2 AES_256_CM_HMAC_SHA1_80 inline:"
		  "8AbZePWwsKhLGX3GlXA+yHYPQ3cgraer/9DkFJYCOPZZy3o9wC0NIbIFYZfyHw==",
		  2, SRTP_SUITE_AES_256_CM_HMAC_SHA1_80, 0, 0, 0, NULL },
		/* Without padding, as some phones write it. */
		{ "2 AES_256_CM_HMAC_SHA1_32 inline:"
		  "8AbZePWwsKhLGX3GlXA+yHYPQ3cgraer/9DkFJYCOPZZy3o9wC0NIbIFYZfyHw",
		  2, SRTP_SUITE_AES_256_CM_HMAC_SHA1_32, 0, 0, 0,
		  "2 AES_256_CM_HMAC_SHA1_32 inline:"
		  "8AbZePWwsKhLGX3GlXA+yHYPQ3cgraer/9DkFJYCOPZZy3o9wC0NIbIFYZfyHw==" },
		{ "3 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0OD1F1aWQgcHJvIHF1bw==", 3,
		  SRTP_SUITE_AEAD_AES_128_GCM, 0, 0, 0, NULL },
		{ "3 AEAD_AES_256_GCM "
		  "inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9RdWlkIHBybyBxdW8=",
		  3, SRTP_SUITE_AEAD_AES_256_GCM, 0, 0, 0, NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *why = "x";
		struct srtp_sdes s;
		struct buf b;

		if (srtp_sdes_parse(slice_of(rows[i].text), &s, &why) < 0)
			fail_msg("%s: %s", rows[i].text, why);
		assert_null(why);
		assert_int_equal(s.tag, rows[i].tag);
		assert_int_equal(s.master.suite, rows[i].suite);
		assert_int_equal(s.lifetime, rows[i].lifetime);
		assert_int_equal(s.master.n_mki, rows[i].n_mki);
		if (s.master.n_mki)
			assert_int_equal(s.master.mki[s.master.n_mki - 1], rows[i].mki_last);
		buf_init(&b, 500);
		srtp_sdes_print(&b, &s);
		assert_string_equal(b.p, rows[i].printed ? rows[i].printed : rows[i].text);
		buf_fini(&b);
	}
}

static void test_sdes_bad(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "", -EINVAL },
		{ "1", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80", -EINVAL },
		{ "x AES_CM_128_HMAC_SHA1_80 inline:" KEY30, -EINVAL },
		{ "1000000000 AES_CM_128_HMAC_SHA1_80 inline:" KEY30, -EINVAL },
		{ "-1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30, -EINVAL },
		{ "1 F8_128_HMAC_SHA1_80 inline:" KEY30, -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_8 inline:" KEY30, -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_800 inline:" KEY30, -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 uri:" KEY30, -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline" KEY30, -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:|2^20", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "AAAA", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 KEY30 KEY30, -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:!0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
		  -EINVAL },
		{ "1 AES_256_CM_HMAC_SHA1_80 inline:" KEY30, -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|0", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^49", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|281474976710657", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^20|", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^20|1", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|1:0", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|1:129", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|256:1", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|:4", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|1:4|2^20", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^20|1:4|", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^20|1:4;inline:" KEY30 "|2^20|2:4",
		  -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " KDR=1", -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " WSH=63", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " WSH=", -EINVAL },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " UNENCRYPTED_SRTP", -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " UNENCRYPTED_SRTCP", -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " UNAUTHENTICATED_SRTP", -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " FEC_ORDER=FEC_SRTP", -ENOTSUP },
		{ "1 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " WSH=64 EXTRA=1", -ENOTSUP },
	};
	char long_text[2000];
	struct srtp_sdes s;
	const char *why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int err;

		memset(&s, 0x5a, sizeof(s));
		why = NULL;
		err = srtp_sdes_parse(slice_of(rows[i].text), &s, &why);
		if (err != rows[i].err)
			fail_msg("%s: %d", rows[i].text, err);
		assert_non_null(why);
		assert_int_equal(s.tag, 0x5a5a5a5a); /* untouched */
	}
	memset(long_text, ' ', sizeof(long_text));
	assert_int_equal(srtp_sdes_parse((struct slice){ long_text, sizeof(long_text) }, &s, NULL),
			 -EINVAL);
}

static void test_sdes_generate(void **state)
{
	uint8_t random[SRTP_MASTER_BYTES];

	for (uint8_t i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)(200 - i);
	for (int suite = 1; suite < SRTP_N_SUITES; suite++) {
		struct srtp_sdes s, back;
		size_t n = srtp_suite_bytes((enum srtp_suite)suite);
		struct buf b;

		assert_int_equal(srtp_sdes_generate(&s, 3, (enum srtp_suite)suite, random, n - 1),
				 -EINVAL);
		assert_int_equal(srtp_sdes_generate(&s, 3, (enum srtp_suite)suite, random, n), 0);
		assert_memory_equal(s.master.key, random, n);
		buf_init(&b, 500);
		srtp_sdes_print(&b, &s);
		assert_int_equal(srtp_sdes_parse(buf_slice(&b), &back, NULL), 0);
		assert_int_equal(back.master.suite, suite);
		assert_memory_equal(back.master.key, random, n);
		buf_fini(&b);
		assert_int_equal(srtp_suite_parse(slice_of(srtp_suite_str((enum srtp_suite)suite))),
				 suite);
		srtp_master_wipe(&s.master);
		for (size_t i = 0; i < sizeof(s.master.key); i++)
			assert_int_equal(s.master.key[i], 0);
	}
	assert_int_equal(
		srtp_sdes_generate(&(struct srtp_sdes){ 0 }, 1, SRTP_SUITE_NONE, random, 46),
		-EINVAL);
	assert_null(srtp_suite_str(SRTP_SUITE_NONE));
	assert_null(srtp_suite_str(SRTP_N_SUITES));
	assert_int_equal(srtp_suite_bytes(SRTP_N_SUITES), 0);
}

static int start(void **state)
{
	return srtp_init() == srtp_err_status_ok ? 0 : -1;
}

static int stop(void **state)
{
	return srtp_shutdown() == srtp_err_status_ok ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_cm),
		cmocka_unit_test(test_model_gcm),
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_oracle),
		cmocka_unit_test(test_oracle_mki),
		cmocka_unit_test(test_oracle_sender_disorder),
		cmocka_unit_test(test_oracle_disorder),
		cmocka_unit_test(test_oracle_big_jumps),
		cmocka_unit_test(test_window_edge),
		cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_rtcp_without_e_bit),
		cmocka_unit_test(test_wrong_mki),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_index_space),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_sources_sending),
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_rekey),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_sdes_good),
		cmocka_unit_test(test_sdes_bad),
		cmocka_unit_test(test_sdes_generate),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
