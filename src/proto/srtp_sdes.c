/* The text of a=crypto (RFC 4568) and the names of the suites. */
#include "proto/srtp.h"

#include <errno.h>
#include <inttypes.h>

#include <openssl/crypto.h>

#include "base/base64.h"

enum {
	TAG_DIGITS = 9,		/* RFC 4568 9.1 */
	LIFETIME_BITS = 48,	/* packets of SRTP under one key, RFC 3711 9.2 */
	SDES_TEXT_BYTES = 1024, /* longest key text that is looked at */
	KEY_TEXT_BYTES = 2 * SRTP_MASTER_BYTES,
};

static const char *const suite_names[SRTP_N_SUITES] = {
	[SRTP_SUITE_AES_CM_128_HMAC_SHA1_80] = "AES_CM_128_HMAC_SHA1_80",
	[SRTP_SUITE_AES_CM_128_HMAC_SHA1_32] = "AES_CM_128_HMAC_SHA1_32",
	[SRTP_SUITE_AES_256_CM_HMAC_SHA1_80] = "AES_256_CM_HMAC_SHA1_80",
	[SRTP_SUITE_AES_256_CM_HMAC_SHA1_32] = "AES_256_CM_HMAC_SHA1_32",
	[SRTP_SUITE_AEAD_AES_128_GCM] = "AEAD_AES_128_GCM",
	[SRTP_SUITE_AEAD_AES_256_GCM] = "AEAD_AES_256_GCM",
};

const char *srtp_suite_str(enum srtp_suite suite)
{
	return (unsigned)suite < SRTP_N_SUITES ? suite_names[suite] : NULL;
}

enum srtp_suite srtp_suite_parse(struct slice name)
{
	for (unsigned i = 1; i < SRTP_N_SUITES; i++) {
		if (slice_caseeq(name, slice_of(suite_names[i])))
			return (enum srtp_suite)i;
	}
	return SRTP_SUITE_NONE;
}

/* Next field of *rest, fields being separated by spaces and tabs. n 0 at the end. */
static struct slice next_field(struct slice *rest)
{
	struct slice field;

	while (rest->n > 0 && (rest->p[0] == ' ' || rest->p[0] == '\t'))
		rest->p++, rest->n--;
	field = (struct slice){ rest->p, 0 };
	while (rest->n > 0 && rest->p[0] != ' ' && rest->p[0] != '\t')
		rest->p++, rest->n--, field.n++;
	return field;
}

static int reject(int err, const char **why, const char *text)
{
	*why = text;
	return err;
}

/* "2^20" or a count of packets. */
static int parse_lifetime(struct slice s, uint64_t *out, const char **why)
{
	uint64_t max = (uint64_t)1 << LIFETIME_BITS, v;

	if (slice_starts(s, SLICE("2^"))) {
		if (!slice_u64((struct slice){ s.p + 2, s.n - 2 }, LIFETIME_BITS, &v))
			return reject(-EINVAL, why, "key lifetime out of range");
		v = (uint64_t)1 << v;
	} else if (!slice_u64(s, max, &v) || v == 0) {
		return reject(-EINVAL, why, "key lifetime out of range");
	}
	*out = v;
	return 0;
}

/* "value:length": the value as a big-endian number of that many bytes. */
static int parse_mki(struct slice s, struct srtp_master *m, const char **why)
{
	struct slice value = slice_next(&s, ':');
	uint64_t v, n;

	if (!slice_u64(s, SRTP_MKI_BYTES, &n) || n == 0)
		return reject(-EINVAL, why, "MKI length out of range");
	if (!slice_u64(value, UINT64_MAX, &v) || (n < 8 && v >> (8 * n)))
		return reject(-EINVAL, why, "MKI value out of range");
	m->n_mki = (uint8_t)n;
	for (size_t i = 0; i < n && i < 8; i++)
		m->mki[n - 1 - i] = (uint8_t)(v >> (8 * i));
	return 0;
}

/* "inline:" key||salt ["|" lifetime] ["|" MKI ":" length] */
static int parse_key(struct slice s, struct srtp_sdes *out, const char **why)
{
	struct slice method = slice_next(&s, ':'), part = SLICE_NONE;
	size_t want = srtp_suite_bytes(out->master.suite);
	int err;

	if (!s.p || !slice_caseeq(method, SLICE("inline")))
		return reject(-ENOTSUP, why, "key method is not inline");
	if (slice_find(s, ';') < s.n)
		return reject(-ENOTSUP, why, "more than one master key");
	part = slice_next(&s, '|');
	if (part.n > KEY_TEXT_BYTES ||
	    base64_decode(part, out->master.key, sizeof(out->master.key)) != (long)want)
		return reject(-EINVAL, why, "key and salt have not the length of the suite");
	if (s.p) {
		part = slice_next(&s, '|');
		if (slice_find(part, ':') == part.n) {
			err = parse_lifetime(part, &out->lifetime, why);
			if (err < 0 || !s.p)
				return err;
			part = slice_next(&s, '|');
		}
		err = parse_mki(part, &out->master, why);
		if (err < 0)
			return err;
	}
	return s.p ? reject(-EINVAL, why, "text after the MKI") : 0;
}

/* RFC 4568 6.3. WSH is a hint, and our window is larger than the smallest it may ask for. */
static int check_session_param(struct slice s, const char **why)
{
	uint64_t wsh;

	if (s.p[0] == '-')
		return 0; /* optional: may be ignored (6.3.7) */
	if (slice_starts(s, SLICE("WSH="))) {
		if (slice_u64((struct slice){ s.p + 4, s.n - 4 }, UINT32_MAX, &wsh) && wsh >= 64)
			return 0;
		return reject(-EINVAL, why, "window size hint out of range");
	}
	if (slice_eq(s, SLICE("KDR=0")))
		return 0;
	if (slice_starts(s, SLICE("KDR=")))
		return reject(-ENOTSUP, why, "key derivation rate is not supported");
	if (slice_starts(s, SLICE("UNENCRYPTED_")) || slice_starts(s, SLICE("UNAUTHENTICATED_")))
		return reject(-ENOTSUP, why, "unencrypted or unauthenticated media is refused");
	if (slice_starts(s, SLICE("FEC_")))
		return reject(-ENOTSUP, why, "forward error correction is not supported");
	return reject(-ENOTSUP, why, "unknown session parameter");
}

static int parse(struct slice text, struct srtp_sdes *out, const char **why)
{
	struct slice tag = next_field(&text), suite = next_field(&text), key = next_field(&text);
	struct slice param;
	uint64_t v;
	int err;

	if (tag.n > TAG_DIGITS || !slice_u64(tag, UINT32_MAX, &v))
		return reject(-EINVAL, why, "bad tag");
	out->tag = (uint32_t)v;
	if (key.n == 0)
		return reject(-EINVAL, why, "no key parameters");
	out->master.suite = srtp_suite_parse(suite);
	if (out->master.suite == SRTP_SUITE_NONE)
		return reject(-ENOTSUP, why, "unknown crypto suite");
	err = parse_key(key, out, why);
	while (err == 0 && (param = next_field(&text)).n > 0)
		err = check_session_param(param, why);
	return err;
}

int srtp_sdes_parse(struct slice text, struct srtp_sdes *out, const char **why)
{
	struct srtp_sdes s = { 0 };
	const char *reason = NULL;
	int err = text.n > SDES_TEXT_BYTES ? reject(-EINVAL, &reason, "text too long")
					   : parse(slice_trim(text), &s, &reason);

	if (err == 0)
		*out = s;
	if (why)
		*why = reason;
	OPENSSL_cleanse(&s, sizeof(s));
	return err;
}

static void print_mki(struct buf *out, const struct srtp_master *m)
{
	uint64_t v = 0;

	for (size_t i = m->n_mki > 8 ? m->n_mki - 8u : 0; i < m->n_mki; i++)
		v = v << 8 | m->mki[i];
	buf_printf(out, "|%" PRIu64 ":%u", v, m->n_mki);
}

void srtp_sdes_print(struct buf *out, const struct srtp_sdes *s)
{
	const char *name = srtp_suite_str(s->master.suite);

	if (!name) {
		out->failed = true;
		return;
	}
	buf_printf(out, "%" PRIu32 " %s inline:", s->tag, name);
	base64_encode(out, s->master.key, srtp_suite_bytes(s->master.suite));
	if (s->lifetime && (s->lifetime & (s->lifetime - 1)) == 0)
		buf_printf(out, "|2^%d", __builtin_ctzll(s->lifetime));
	else if (s->lifetime)
		buf_printf(out, "|%" PRIu64, s->lifetime);
	if (s->master.n_mki)
		print_mki(out, &s->master);
}

int srtp_sdes_generate(struct srtp_sdes *out, uint32_t tag, enum srtp_suite suite,
		       const uint8_t *random, size_t n)
{
	size_t want = srtp_suite_bytes(suite);

	if (want == 0 || n < want)
		return -EINVAL;
	*out = (struct srtp_sdes){ .tag = tag, .master.suite = suite };
	memcpy(out->master.key, random, want);
	return 0;
}
