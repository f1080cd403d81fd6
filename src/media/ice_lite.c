#include "media/ice_lite.h"

#include <string.h>

/* RFC 8839 ice-char; 64 of them, so that six random bits make one. */
static const char ice_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void chars_from(char *out, size_t n, const uint8_t *random)
{
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < n; i++) {
		if (have < 6) {
			bits = bits << 8 | *random++;
			have += 8;
		}
		have -= 6;
		out[i] = ice_chars[(bits >> have) & 63];
	}
	out[n] = '\0';
}

void ice_creds_make(struct ice_creds *c, const uint8_t random[ICE_CREDS_RANDOM])
{
	chars_from(c->ufrag, 8, random);
	chars_from(c->pwd, 24, random + 6);
}

bool ice_username(const struct stun_msg *m, struct slice *receiver, struct slice *sender)
{
	struct stun_attr a;
	struct slice rest;

	if (!stun_attr_find(m, STUN_ATTR_USERNAME, &a))
		return false;
	rest = (struct slice){ (const char *)a.p, a.n };
	*receiver = slice_next(&rest, ':');
	*sender = rest;
	return rest.p && receiver->n > 0;
}

static bool username_ours(const struct ice_request *r, const struct stun_msg *m)
{
	struct slice receiver, sender;

	return ice_username(m, &receiver, &sender) &&
	       slice_eq(receiver, slice_of(r->local->ufrag)) &&
	       (r->remote_ufrag.n == 0 || slice_eq(sender, r->remote_ufrag));
}

/* RFC 8445 section 7.3.1.1. True: answer 487. */
static bool role_conflict(const struct ice_request *r, const struct stun_msg *m)
{
	uint16_t same = r->controlling ? STUN_ATTR_ICE_CONTROLLING : STUN_ATTR_ICE_CONTROLLED;
	struct stun_attr a;

	return stun_attr_find(m, same, &a);
}

static size_t answer_seal(struct stun_build *b, const struct ice_request *r)
{
	stun_build_integrity(b, slice_of(r->local->pwd));
	stun_build_fingerprint(b);
	return stun_build_end(b);
}

enum ice_verdict ice_request_answer(const struct ice_request *r, const struct stun_msg *m,
				    uint8_t out[ICE_REPLY_BYTES], size_t *n, bool *nominated)
{
	static const uint16_t known[] = { STUN_ATTR_USERNAME, STUN_ATTR_PRIORITY,
					  STUN_ATTR_USE_CANDIDATE };
	uint16_t unknown[8];
	struct stun_build b;
	struct stun_attr a;
	size_t n_unknown;

	*n = 0;
	*nominated = false;
	if (m->class != STUN_CLASS_REQUEST || m->method != STUN_METHOD_BINDING)
		return ICE_DROP;
	if (!m->fingerprint_at || !username_ours(r, m) ||
	    stun_integrity_check(m, slice_of(r->local->pwd)) < 0)
		return ICE_DROP;
	n_unknown = stun_unknown(m, known, sizeof(known) / sizeof(known[0]), unknown, 8);
	if (n_unknown > 0 || role_conflict(r, m)) {
		stun_build_start(&b, out, ICE_REPLY_BYTES, STUN_CLASS_ERROR, m->method, m->tid);
		stun_build_error(&b,
				 n_unknown ? STUN_CODE_UNKNOWN_ATTRIBUTE : STUN_CODE_ROLE_CONFLICT,
				 NULL);
		if (n_unknown)
			stun_build_unknown(&b, unknown, n_unknown);
		*n = answer_seal(&b, r);
		return ICE_REFUSED;
	}
	*nominated = stun_attr_find(m, STUN_ATTR_USE_CANDIDATE, &a);
	stun_build_start(&b, out, ICE_REPLY_BYTES, STUN_CLASS_SUCCESS, m->method, m->tid);
	stun_build_xor_addr(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &r->from);
	*n = answer_seal(&b, r);
	return ICE_PROVED;
}
