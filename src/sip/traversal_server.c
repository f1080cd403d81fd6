#include "sip/traversal_server.h"

#include "proto/digest.h"

static void challenge(const struct ts_conf *conf, uint64_t flow, const uint8_t key[32],
		      int64_t now_s, const uint8_t random[8], bool stale, struct buf *headers)
{
	struct slice bound = { (const char *)&flow, sizeof(flow) };
	struct buf nonce;

	buf_init(&nonce, 256);
	digest_nonce_make(&nonce, key, now_s, random, bound);
	for (int a = 1; a >= 0; a--) {
		buf_add_str(headers, "WWW-Authenticate: ");
		digest_challenge_print(headers, a ? DIGEST_SHA256 : DIGEST_MD5,
				       slice_of(conf->realm), buf_slice(&nonce), stale);
		buf_add_str(headers, "\r\n");
	}
	buf_fini(&nonce);
}

/* The Authorization header for our realm, if any. */
static bool find_response(const struct ts_conf *conf, const struct sip_msg *m,
			  struct digest_response *r)
{
	const struct sip_hdr *h = NULL;

	while ((h = sip_msg_next(m, SIP_HDR_AUTHORIZATION, h))) {
		if (digest_response_parse(h->value, r) && slice_eq(r->realm, slice_of(conf->realm)))
			return true;
	}
	return false;
}

enum ts_verdict ts_check(const struct ts_conf *conf, const struct sip_msg *m, uint64_t flow,
			 const uint8_t key[32], int64_t now_s, const uint8_t random[8],
			 struct buf *headers, const char **why)
{
	struct slice bound = { (const char *)&flow, sizeof(flow) };
	struct digest_response r;
	enum digest_nonce nonce;

	*why = "";
	if (!find_response(conf, m, &r)) {
		challenge(conf, flow, key, now_s, random, false, headers);
		return TS_CHALLENGE;
	}
	nonce = digest_nonce_check(r.nonce, key, now_s, TS_NONCE_LIFE_S, bound);
	if (nonce != DIGEST_NONCE_OK) {
		*why = nonce == DIGEST_NONCE_STALE ? "nonce too old" : "nonce is not ours";
		challenge(conf, flow, key, now_s, random, nonce == DIGEST_NONCE_STALE, headers);
		return TS_CHALLENGE;
	}
	if (!slice_eq(r.username, slice_of(conf->username))) {
		*why = "unknown username";
	} else if (!slice_eq(r.uri, m->uri)) {
		*why = "digest is for another URI";
	} else if (r.algorithm == DIGEST_UNKNOWN || !r.qop_auth ||
		   !digest_response_check(&r, slice_of(conf->password), SLICE("OPTIONS"))) {
		*why = "wrong password";
	} else {
		return TS_PROVED;
	}
	challenge(conf, flow, key, now_s, random, false, headers);
	return TS_REFUSED;
}
