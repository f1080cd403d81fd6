#include "proto/srtp.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "proto/hmac.h"
#include "proto/rtp.h"

enum {
	KEY_BYTES = 32,	 /* AES-256 */
	SALT_BYTES = 14, /* RFC 3711 4.3; GCM uses the first 12 */
	IV_BYTES = 16,
	GCM_IV_BYTES = 12,
	GCM_TAG_BYTES = 16,
	SRTCP_INDEX_BYTES = 4,
	SRTCP_E_BIT = 0x80,
	RETIRED = 64, /* remembered SSRCs whose state was given up */
};

#define SRTCP_INDEX_MAX 0x7fffffffU
#define SRTP_INDEX_MAX	0xffffffffffffULL

/* Labels of the key derivation, RFC 3711 4.3.1 and 4.3.2. SRTCP adds 3. */
enum { LABEL_CIPHER = 0, LABEL_AUTH = 1, LABEL_SALT = 2, LABELS_RTCP = 3 };

struct suite_row {
	uint8_t key_bytes;
	uint8_t salt_bytes;
	uint8_t tag_bytes; /* of SRTP; SRTCP keeps 80 bits (RFC 4568 6.2, RFC 6188 4) */
	uint8_t rtcp_tag_bytes;
	bool gcm;
};

static const struct suite_row suites[SRTP_N_SUITES] = {
	[SRTP_SUITE_AES_CM_128_HMAC_SHA1_80] = { 16, 14, 10, 10, false },
	[SRTP_SUITE_AES_CM_128_HMAC_SHA1_32] = { 16, 14, 4, 10, false },
	[SRTP_SUITE_AES_256_CM_HMAC_SHA1_80] = { 32, 14, 10, 10, false },
	[SRTP_SUITE_AES_256_CM_HMAC_SHA1_32] = { 32, 14, 4, 10, false },
	[SRTP_SUITE_AEAD_AES_128_GCM] = { 16, 12, 16, 16, true },
	[SRTP_SUITE_AEAD_AES_256_GCM] = { 32, 12, 16, 16, true },
};

/* Highest index seen and, as bits, which of the SRTP_WINDOW up to it. */
struct window {
	unsigned __int128 seen; /* bit i: top - i; 0: nothing yet */
	uint64_t top;
};

struct source {
	struct window rtp; /* top is ROC and s_l of RFC 3711 3.3.1 */
	struct window rtcp;
	uint64_t used; /* the context's count of packets at the last use */
	uint32_t ssrc;
};

/* Session keys of SRTP or of SRTCP. */
struct transform {
	EVP_CIPHER_CTX *cipher;
	struct hmac_sha1 hmac;
	uint8_t salt[IV_BYTES]; /* zeros behind it */
	uint8_t tag_bytes;
};

/* What every packet needs comes last, next to the sources: with thousands of contexts the cost of a
 * packet is the cache lines that it touches. */
struct keys {
	struct transform rtcp;
	struct srtp_master master;
	bool gcm;
	struct transform rtp;
};

struct srtp_ctx {
	uint32_t retired[RETIRED];
	unsigned n_retired; /* ever; the ring keeps the last ones */
	struct keys keys;
	uint64_t n_packets;
	unsigned n_sources;
	unsigned max_sources;
	unsigned last; /* source of the last packet: most often of the next one too */
	struct source sources[];
};

static bool suite_known(enum srtp_suite suite)
{
	return suite > SRTP_SUITE_NONE && suite < SRTP_N_SUITES;
}

size_t srtp_suite_bytes(enum srtp_suite suite)
{
	return suite_known(suite) ? (size_t)suites[suite].key_bytes + suites[suite].salt_bytes : 0;
}

void srtp_master_wipe(struct srtp_master *m)
{
	OPENSSL_cleanse(m, sizeof(*m));
}

/* RFC 3711 4.3.3: n bytes of key stream under the master key, counter block (label XOR salt) *
 * 2^16; the key derivation rate is 0, so r is 0. RFC 7714 section 11 pads the GCM salt with zeros.
 */
static bool derive(EVP_CIPHER_CTX *prf, const uint8_t salt[SALT_BYTES], unsigned label,
		   uint8_t *out, int n)
{
	uint8_t iv[IV_BYTES] = { 0 };
	int len;

	memcpy(iv, salt, SALT_BYTES);
	iv[7] ^= (uint8_t)label;
	memset(out, 0, (size_t)n);
	return EVP_EncryptInit_ex(prf, NULL, NULL, NULL, iv) == 1 &&
	       EVP_EncryptUpdate(prf, out, &len, out, n) == 1;
}

static void transform_fini(struct transform *t)
{
	EVP_CIPHER_CTX_free(t->cipher); /* wipes */
	OPENSSL_cleanse(t, sizeof(*t));
}

static bool transform_init(struct transform *t, EVP_CIPHER_CTX *prf, const struct suite_row *row,
			   const uint8_t master_salt[SALT_BYTES], unsigned labels)
{
	const EVP_CIPHER *cipher =
		row->gcm ? (row->key_bytes == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm())
			 : (row->key_bytes == 16 ? EVP_aes_128_ctr() : EVP_aes_256_ctr());
	uint8_t key[KEY_BYTES], auth[HMAC_SHA1_BYTES];
	bool good;

	t->cipher = EVP_CIPHER_CTX_new();
	good = t->cipher && derive(prf, master_salt, labels + LABEL_CIPHER, key, row->key_bytes) &&
	       derive(prf, master_salt, labels + LABEL_AUTH, auth, sizeof(auth)) &&
	       derive(prf, master_salt, labels + LABEL_SALT, t->salt, row->salt_bytes) &&
	       EVP_EncryptInit_ex(t->cipher, cipher, NULL, key, NULL) == 1;
	if (good)
		hmac_sha1_init(&t->hmac, auth, sizeof(auth));
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(auth, sizeof(auth));
	return good;
}

static void keys_fini(struct keys *k)
{
	transform_fini(&k->rtp);
	transform_fini(&k->rtcp);
	srtp_master_wipe(&k->master);
}

static int keys_init(struct keys *k, const struct srtp_master *m)
{
	EVP_CIPHER_CTX *prf;
	const struct suite_row *row;
	uint8_t salt[SALT_BYTES] = { 0 };
	bool good;

	memset(k, 0, sizeof(*k));
	if (!suite_known(m->suite) || m->n_mki > SRTP_MKI_BYTES)
		return -EINVAL;
	row = &suites[m->suite];
	memcpy(salt, m->key + row->key_bytes, row->salt_bytes);
	prf = EVP_CIPHER_CTX_new();
	good = prf &&
	       EVP_EncryptInit_ex(prf, row->key_bytes == 16 ? EVP_aes_128_ctr() : EVP_aes_256_ctr(),
				  NULL, m->key, NULL) == 1 &&
	       transform_init(&k->rtp, prf, row, salt, 0) &&
	       transform_init(&k->rtcp, prf, row, salt, LABELS_RTCP);
	EVP_CIPHER_CTX_free(prf);
	OPENSSL_cleanse(salt, sizeof(salt));
	k->master = *m;
	k->gcm = row->gcm;
	k->rtp.tag_bytes = row->tag_bytes;
	k->rtcp.tag_bytes = row->rtcp_tag_bytes;
	if (good)
		return 0;
	keys_fini(k);
	return -EIO;
}

struct srtp_ctx *srtp_ctx_new(const struct srtp_master *m, unsigned max_sources)
{
	unsigned max = max_sources ? max_sources : SRTP_SOURCES;
	struct srtp_ctx *c = calloc(1, sizeof(*c) + max * sizeof(c->sources[0]));

	if (!c)
		return NULL;
	if (keys_init(&c->keys, m) < 0) {
		free(c);
		return NULL;
	}
	c->max_sources = max;
	return c;
}

void srtp_ctx_free(struct srtp_ctx *c)
{
	if (!c)
		return;
	keys_fini(&c->keys);
	free(c);
}

bool srtp_ctx_same_key(const struct srtp_ctx *c, const struct srtp_master *m)
{
	return c->keys.master.suite == m->suite &&
	       CRYPTO_memcmp(c->keys.master.key, m->key, srtp_suite_bytes(m->suite)) == 0;
}

int srtp_ctx_rekey(struct srtp_ctx *c, const struct srtp_master *m)
{
	struct keys fresh;
	int err;

	if (m->n_mki > SRTP_MKI_BYTES)
		return -EINVAL;
	if (srtp_ctx_same_key(c, m)) {
		c->keys.master = *m;
		return 0;
	}
	err = keys_init(&fresh, m);
	if (err < 0)
		return err;
	keys_fini(&c->keys);
	c->keys = fresh;
	OPENSSL_cleanse(&fresh, sizeof(fresh));
	c->n_sources = 0;
	c->n_retired = 0;
	c->last = 0;
	return 0;
}

size_t srtp_trailer(const struct srtp_ctx *c)
{
	return (size_t)c->keys.rtp.tag_bytes + c->keys.master.n_mki;
}

size_t srtcp_trailer(const struct srtp_ctx *c)
{
	return (size_t)c->keys.rtcp.tag_bytes + SRTCP_INDEX_BYTES + c->keys.master.n_mki;
}

static int window_check(const struct window *w, uint64_t index)
{
	if (!w->seen || index > w->top)
		return 0;
	if (w->top - index >= SRTP_WINDOW || w->seen >> (w->top - index) & 1)
		return -EALREADY;
	return 0;
}

static void window_add(struct window *w, uint64_t index)
{
	if (w->seen && index <= w->top) {
		w->seen |= (unsigned __int128)1 << (w->top - index);
		return;
	}
	w->seen = w->seen && index - w->top < SRTP_WINDOW ? w->seen << (index - w->top) | 1 : 1;
	w->top = index;
}

static struct source *source_find(const struct srtp_ctx *c, uint32_t ssrc)
{
	struct source *sources = (struct source *)c->sources;

	if (c->last < c->n_sources && sources[c->last].ssrc == ssrc)
		return &sources[c->last];
	for (unsigned i = 0; i < c->n_sources; i++) {
		if (sources[i].ssrc == ssrc)
			return &sources[i];
	}
	return NULL;
}

/* A source once given up starts at index 0 again: its old packets would pass as new ones, and
 * sending on would use key stream twice (RFC 3711 9.1). So it stays out. */
static bool source_retired(const struct srtp_ctx *c, uint32_t ssrc)
{
	unsigned n = c->n_retired < RETIRED ? c->n_retired : RETIRED;

	for (unsigned i = 0; i < n; i++) {
		if (c->retired[i] == ssrc)
			return true;
	}
	return false;
}

/* The state of ssrc for reading, a zeroed one in *fresh for an unknown source. */
static const struct source *source_peek(const struct srtp_ctx *c, uint32_t ssrc,
					struct source *fresh)
{
	const struct source *s = source_find(c, ssrc);

	if (s)
		return s;
	*fresh = (struct source){ .ssrc = ssrc };
	return source_retired(c, ssrc) ? NULL : fresh;
}

/* The state of ssrc for writing; takes the place of the source that was silent longest when the
 * table is full. Only for packets that are proved (or our own). */
static struct source *source_take(struct srtp_ctx *c, uint32_t ssrc)
{
	struct source *s = source_find(c, ssrc);

	if (!s && c->n_sources < c->max_sources) {
		s = &c->sources[c->n_sources++];
		*s = (struct source){ .ssrc = ssrc };
	} else if (!s) {
		s = &c->sources[0];
		for (unsigned i = 1; i < c->n_sources; i++) {
			if (c->sources[i].used < s->used)
				s = &c->sources[i];
		}
		c->retired[c->n_retired++ % RETIRED] = s->ssrc;
		*s = (struct source){ .ssrc = ssrc };
	}
	s->used = ++c->n_packets;
	c->last = (unsigned)(s - c->sources);
	return s;
}

/* RFC 3711 3.3.1: the index next to the highest one seen (before the first packet: to 0, or to what
 * srtp_ctx_set_roc() said). ROC 0 has no ROC before it. */
static uint64_t guess_index(const struct window *w, uint16_t seq)
{
	uint64_t roc = w->top >> 16;
	unsigned s_l = w->top & 0xffff;

	if (s_l < 32768) {
		if (seq > s_l + 32768 && roc > 0)
			roc--;
	} else if (seq < s_l - 32768) {
		roc++;
	}
	return roc << 16 | seq;
}

int srtp_ctx_set_roc(struct srtp_ctx *c, uint32_t ssrc, uint32_t roc, uint16_t seq)
{
	struct source *s = source_find(c, ssrc);

	if (!s && (c->n_sources == c->max_sources || source_retired(c, ssrc)))
		return -ENOSPC;
	s = source_take(c, ssrc);
	s->rtp = (struct window){ .top = (uint64_t)roc << 16 | seq };
	return 0;
}

bool srtp_ctx_roc(const struct srtp_ctx *c, uint32_t ssrc, uint32_t *roc)
{
	const struct source *s = source_find(c, ssrc);

	if (!s)
		return false;
	*roc = (uint32_t)(s->rtp.top >> 16);
	return true;
}

/* One packet on its way through a transform. SRTP and SRTCP differ in what stands here. */
struct packet {
	const struct transform *t;
	const uint8_t *p;
	size_t clear; /* header bytes that stay in clear */
	size_t n;     /* header and payload, without the trailer */
	uint32_t ssrc;
	uint64_t index;
	uint8_t suffix[SRTCP_INDEX_BYTES]; /* the ROC, or the E bit and the SRTCP index */
	bool rtcp;
	const uint8_t *tag; /* when receiving */
};

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The index fixes the suffix: behind the packet for the tag (RFC 3711 4.2), or on the wire (3.4).
 */
static void set_index(struct packet *k, uint64_t index)
{
	k->index = index;
	put32(k->suffix, k->rtcp ? (uint32_t)index : (uint32_t)(index >> 16));
	if (k->rtcp)
		k->suffix[0] |= SRTCP_E_BIT;
}

/* Salt XOR SSRC XOR index: at 2^64 and 2^16 for counter mode (RFC 3711 4.1.1), at 2^48 and 1 for
 * GCM (RFC 7714 8.1, 9.1). The SRTCP index is a short one at the same place. */
static void make_iv(const struct packet *k, bool gcm, uint8_t iv[IV_BYTES])
{
	uint8_t *at = iv + (gcm ? 2 : 4);

	memcpy(iv, k->t->salt, IV_BYTES);
	for (int i = 0; i < 4; i++)
		at[i] ^= (uint8_t)(k->ssrc >> (24 - 8 * i));
	for (int i = 0; i < 6; i++)
		at[4 + i] ^= (uint8_t)(k->index >> (40 - 8 * i));
}

static void cm_tag(const struct packet *k, uint8_t tag[HMAC_SHA1_BYTES])
{
	hmac_sha1(&k->t->hmac, (struct slice){ (const char *)k->p, k->n },
		  (struct slice){ (const char *)k->suffix, sizeof(k->suffix) }, tag);
}

static int cm_crypt(const struct packet *k, uint8_t *p)
{
	uint8_t iv[IV_BYTES];
	int len;

	if (k->n == k->clear)
		return 0;
	make_iv(k, false, iv);
	if (EVP_EncryptInit_ex(k->t->cipher, NULL, NULL, NULL, iv) != 1 ||
	    EVP_EncryptUpdate(k->t->cipher, p + k->clear, &len, p + k->clear,
			      (int)(k->n - k->clear)) != 1)
		return -EIO;
	return 0;
}

/* IV and additional data: the clear header, for SRTCP also the word with the index. */
static bool gcm_start(const struct packet *k, int encrypt)
{
	uint8_t iv[IV_BYTES];
	int len;

	make_iv(k, true, iv);
	return EVP_CipherInit_ex(k->t->cipher, NULL, NULL, NULL, iv, encrypt) == 1 &&
	       EVP_CipherUpdate(k->t->cipher, NULL, &len, k->p, (int)k->clear) == 1 &&
	       (!k->rtcp ||
		EVP_CipherUpdate(k->t->cipher, NULL, &len, k->suffix, sizeof(k->suffix)) == 1);
}

static int gcm_seal(const struct packet *k, uint8_t *p, uint8_t tag[GCM_TAG_BYTES])
{
	EVP_CIPHER_CTX *e = k->t->cipher;
	int body = (int)(k->n - k->clear), len;

	if (!gcm_start(k, 1) ||
	    (body && EVP_EncryptUpdate(e, p + k->clear, &len, p + k->clear, body) != 1) ||
	    EVP_EncryptFinal_ex(e, p + k->n, &len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(e, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_BYTES, tag) != 1)
		return -EIO;
	return 0;
}

/* Decrypts into out (the packet itself), or with out NULL nowhere: then only the tag counts. */
static int gcm_open(const struct packet *k, uint8_t *out)
{
	EVP_CIPHER_CTX *e = k->t->cipher;
	uint8_t scratch[512], tag[GCM_TAG_BYTES];
	int len;

	memcpy(tag, k->tag, sizeof(tag));
	if (!gcm_start(k, 0) ||
	    EVP_CIPHER_CTX_ctrl(e, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_BYTES, tag) != 1)
		return -EIO;
	for (size_t at = k->clear, step; at < k->n; at += step) {
		step = k->n - at;
		if (!out && step > sizeof(scratch))
			step = sizeof(scratch);
		if (EVP_DecryptUpdate(e, out ? out + at : scratch, &len, k->p + at, (int)step) != 1)
			return -EIO;
	}
	return EVP_DecryptFinal_ex(e, scratch, &len) == 1 ? 0 : -EBADMSG;
}

/* Checks the tag and, with out not NULL, decrypts the packet there (in place). */
static int open_packet(const struct srtp_ctx *c, const struct packet *k, uint8_t *out)
{
	uint8_t tag[HMAC_SHA1_BYTES];

	if (c->keys.gcm)
		return gcm_open(k, out);
	cm_tag(k, tag);
	if (CRYPTO_memcmp(tag, k->tag, k->t->tag_bytes) != 0)
		return -EBADMSG;
	return out ? cm_crypt(k, out) : 0;
}

/* Encrypts the packet at p and writes the trailer behind it. Order of its parts: RFC 3711 3.1
 * and 3.4, RFC 7714 8.2 and 9.2 (there the tag belongs to the cipher text). */
static int seal_packet(const struct srtp_ctx *c, const struct packet *k, uint8_t *p)
{
	const struct srtp_master *m = &c->keys.master;
	uint8_t tag[HMAC_SHA1_BYTES], *at = p + k->n;
	int err = c->keys.gcm ? gcm_seal(k, p, tag) : cm_crypt(k, p);

	if (err < 0)
		return err;
	if (c->keys.gcm) {
		memcpy(at, tag, k->t->tag_bytes);
		at += k->t->tag_bytes;
	} else {
		cm_tag(k, tag);
	}
	if (k->rtcp) {
		memcpy(at, k->suffix, sizeof(k->suffix));
		at += sizeof(k->suffix);
	}
	memcpy(at, m->mki, m->n_mki);
	if (!c->keys.gcm)
		memcpy(at + m->n_mki, tag, k->t->tag_bytes);
	return 0;
}

/* Finds the parts of the trailer of a received packet of n bytes. */
static int split_trailer(const struct srtp_ctx *c, struct packet *k, size_t n, size_t trailer)
{
	const struct srtp_master *m = &c->keys.master;
	const uint8_t *end = k->p + n, *mki;

	if (n < k->clear + trailer)
		return -EINVAL;
	k->n = n - trailer;
	mki = c->keys.gcm ? end - m->n_mki : end - k->t->tag_bytes - m->n_mki;
	k->tag = c->keys.gcm ? k->p + k->n : end - k->t->tag_bytes;
	if (memcmp(mki, m->mki, m->n_mki) != 0)
		return -EBADMSG;
	if (k->rtcp && !(mki[-SRTCP_INDEX_BYTES] & SRTCP_E_BIT))
		return -EBADMSG; /* in clear: not what was agreed on */
	if (k->rtcp)
		set_index(k, get32(mki - SRTCP_INDEX_BYTES) & SRTCP_INDEX_MAX);
	return 0;
}

static int read_rtp(const struct srtp_ctx *c, const uint8_t *p, size_t n, struct packet *k,
		    uint16_t *seq)
{
	struct rtp_header h;

	/* OpenSSL counts in int. */
	if (n > UINT16_MAX || rtp_decode_header(p, n, &h) < 0)
		return -EINVAL;
	*k = (struct packet){
		.t = &c->keys.rtp, .p = p, .clear = h.header_bytes, .n = n, .ssrc = h.ssrc
	};
	*seq = h.seq;
	return 0;
}

static int read_rtcp(const struct srtp_ctx *c, const uint8_t *p, size_t n, struct packet *k)
{
	if (n < RTCP_HEADER_BYTES || n > UINT16_MAX || p[0] >> 6 != 2)
		return -EINVAL;
	*k = (struct packet){ .t = &c->keys.rtcp,
			      .p = p,
			      .clear = RTCP_HEADER_BYTES,
			      .n = n,
			      .ssrc = get32(p + 4),
			      .rtcp = true };
	return 0;
}

int srtp_protect(struct srtp_ctx *c, uint8_t *pkt, size_t *n, size_t cap)
{
	struct source fresh;
	const struct source *s;
	struct packet k;
	uint64_t index;
	uint16_t seq;
	int err = read_rtp(c, pkt, *n, &k, &seq);

	if (err < 0)
		return err;
	if (*n > cap || cap - *n < srtp_trailer(c))
		return -ENOSPC;
	s = source_peek(c, k.ssrc, &fresh);
	if (!s)
		return -EALREADY;
	index = guess_index(&s->rtp, seq);
	if (index > SRTP_INDEX_MAX)
		return -EKEYEXPIRED;
	/* The same index twice would use its key stream twice. */
	if (window_check(&s->rtp, index) < 0)
		return -EALREADY;
	set_index(&k, index);
	err = seal_packet(c, &k, pkt);
	if (err < 0)
		return err;
	window_add(&source_take(c, k.ssrc)->rtp, index);
	*n += srtp_trailer(c);
	return 0;
}

int srtcp_protect(struct srtp_ctx *c, uint8_t *pkt, size_t *n, size_t cap)
{
	struct source fresh;
	const struct source *s;
	struct packet k;
	uint64_t index;
	int err = read_rtcp(c, pkt, *n, &k);

	if (err < 0)
		return err;
	if (*n > cap || cap - *n < srtcp_trailer(c))
		return -ENOSPC;
	s = source_peek(c, k.ssrc, &fresh);
	if (!s)
		return -EALREADY;
	index = s->rtcp.seen ? s->rtcp.top + 1 : 0;
	if (index > SRTCP_INDEX_MAX)
		return -EKEYEXPIRED;
	set_index(&k, index);
	err = seal_packet(c, &k, pkt);
	if (err < 0)
		return err;
	window_add(&source_take(c, k.ssrc)->rtcp, index);
	*n += srtcp_trailer(c);
	return 0;
}

/* Everything up to the tag: k is ready for open_packet(). roc NULL: guess it. */
static int prepare_rtp(const struct srtp_ctx *c, const uint8_t *p, size_t n, const uint32_t *roc,
		       struct packet *k)
{
	struct source fresh;
	const struct source *s;
	uint64_t index;
	uint16_t seq;
	int err = read_rtp(c, p, n, k, &seq);

	if (err == 0)
		err = split_trailer(c, k, n, srtp_trailer(c));
	if (err < 0)
		return err;
	if (roc) {
		set_index(k, (uint64_t)*roc << 16 | seq);
		return 0;
	}
	s = source_peek(c, k->ssrc, &fresh);
	if (!s)
		return -EALREADY;
	index = guess_index(&s->rtp, seq);
	if (index > SRTP_INDEX_MAX)
		return -EKEYEXPIRED;
	set_index(k, index);
	return window_check(&s->rtp, index);
}

static int prepare_rtcp(const struct srtp_ctx *c, const uint8_t *p, size_t n, struct packet *k)
{
	struct source fresh;
	const struct source *s;
	int err = read_rtcp(c, p, n, k);

	if (err == 0)
		err = split_trailer(c, k, n, srtcp_trailer(c));
	if (err < 0)
		return err;
	s = source_peek(c, k->ssrc, &fresh);
	return s ? window_check(&s->rtcp, k->index) : -EALREADY;
}

int srtp_unprotect(struct srtp_ctx *c, uint8_t *pkt, size_t *n)
{
	struct packet k;
	int err = prepare_rtp(c, pkt, *n, NULL, &k);

	if (err == 0)
		err = open_packet(c, &k, pkt);
	if (err < 0)
		return err;
	window_add(&source_take(c, k.ssrc)->rtp, k.index);
	*n = k.n;
	return 0;
}

int srtcp_unprotect(struct srtp_ctx *c, uint8_t *pkt, size_t *n)
{
	struct packet k;
	int err = prepare_rtcp(c, pkt, *n, &k);

	if (err == 0)
		err = open_packet(c, &k, pkt);
	if (err < 0)
		return err;
	window_add(&source_take(c, k.ssrc)->rtcp, k.index);
	*n = k.n;
	return 0;
}

int srtp_verify(struct srtp_ctx *c, const uint8_t *pkt, size_t n)
{
	struct packet k;
	int err = prepare_rtp(c, pkt, n, NULL, &k);

	return err < 0 ? err : open_packet(c, &k, NULL);
}

int srtp_verify_roc(struct srtp_ctx *c, const uint8_t *pkt, size_t n, uint32_t roc)
{
	struct packet k;
	int err = prepare_rtp(c, pkt, n, &roc, &k);

	return err < 0 ? err : open_packet(c, &k, NULL);
}

int srtcp_verify(struct srtp_ctx *c, const uint8_t *pkt, size_t n)
{
	struct packet k;
	int err = prepare_rtcp(c, pkt, n, &k);

	return err < 0 ? err : open_packet(c, &k, NULL);
}
