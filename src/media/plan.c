#include "media/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

static const enum srtp_suite offered_suites[2] = { SRTP_SUITE_AES_CM_128_HMAC_SHA1_80,
						   SRTP_SUITE_AES_CM_128_HMAC_SHA1_32 };

static int refuse(char why[DESC_WHY_BYTES], const char *text)
{
	snprintf(why, DESC_WHY_BYTES, "%s", text);
	return -EINVAL;
}

static void toward_auto(struct media_plan *p, enum media_crypto offerer)
{
	/* Where the offerer's leg is plain, keys on an AVP line must not pass. */
	p->terminate = offerer == MEDIA_CRYPTO_NONE;
	p->passed_secure = offerer == MEDIA_CRYPTO_ENCRYPTED;
}

static void toward_encrypted(struct media_plan *p, enum media_crypto offerer, bool secure)
{
	if (offerer == MEDIA_CRYPTO_AUTO && secure) {
		p->passed_secure = true;
		return;
	}
	p->terminate = p->own_crypto = p->must_secure = true;
}

static void toward_best_effort(struct media_plan *p, enum media_crypto offerer, bool secure)
{
	if (offerer == MEDIA_CRYPTO_AUTO && !secure && p->desc.n_crypto > 0)
		return;
	p->terminate = p->own_crypto = true;
}

static int plan_rtp(struct media_plan *p, enum media_crypto offerer, enum media_crypto answerer,
		    char why[DESC_WHY_BYTES])
{
	bool secure = sdp_profile_secure(p->desc.profile);
	bool keyed = p->desc.n_crypto > 0;

	if (offerer == MEDIA_CRYPTO_NONE && secure)
		return refuse(why, "this zone takes unencrypted media only");
	if (offerer == MEDIA_CRYPTO_ENCRYPTED && !secure && !keyed)
		return refuse(why, "this zone takes encrypted media only");
	switch (answerer) {
	case MEDIA_CRYPTO_RELAY:
		break;
	case MEDIA_CRYPTO_AUTO:
		toward_auto(p, offerer);
		break;
	case MEDIA_CRYPTO_ENCRYPTED:
		toward_encrypted(p, offerer, secure);
		break;
	case MEDIA_CRYPTO_BEST_EFFORT:
		toward_best_effort(p, offerer, secure);
		break;
	case MEDIA_CRYPTO_NONE:
		p->terminate = true;
		break;
	}
	p->may_secure = p->terminate && offerer != MEDIA_CRYPTO_NONE && keyed;
	if (p->terminate && secure && !keyed)
		return refuse(why, "no a=crypto line with a suite that is supported");
	return 0;
}

int media_plan_line(struct media_plan *p, enum media_crypto offerer, enum media_crypto answerer,
		    char why[DESC_WHY_BYTES])
{
	bool relay;

	/* E: where a neighbour zone is unencrypted, the keys toward C are its own. */
	if (offerer == MEDIA_CRYPTO_RELAY && answerer == MEDIA_CRYPTO_NONE)
		offerer = MEDIA_CRYPTO_ENCRYPTED;
	else if (answerer == MEDIA_CRYPTO_RELAY && offerer == MEDIA_CRYPTO_NONE)
		answerer = MEDIA_CRYPTO_ENCRYPTED;
	relay = offerer == MEDIA_CRYPTO_RELAY || answerer == MEDIA_CRYPTO_RELAY;
	if (relay || p->desc.kind == DESC_OPAQUE)
		return 0;
	if (p->desc.kind == DESC_RTP)
		return plan_rtp(p, offerer, answerer, why);
	/* DTLS-SRTP is not opened here: it can pass from end to end, or not at all. */
	if (offerer != MEDIA_CRYPTO_AUTO || answerer != MEDIA_CRYPTO_AUTO)
		return refuse(why, "DTLS-SRTP is not supported by this zone");
	return 0;
}

enum sdp_profile media_plan_profile(const struct media_plan *p)
{
	bool feedback = p->desc.profile == SDP_RTP_AVPF || p->desc.profile == SDP_RTP_SAVPF;

	if (!p->terminate)
		return p->desc.profile;
	if (p->must_secure)
		return feedback ? SDP_RTP_SAVPF : SDP_RTP_SAVP;
	return feedback ? SDP_RTP_AVPF : SDP_RTP_AVP;
}

void media_own_keys_wipe(struct media_own_keys *own)
{
	if (own)
		OPENSSL_cleanse(own, sizeof(*own));
}

static struct srtp_sdes *own_key(struct media_own_keys *own, enum srtp_suite suite, uint32_t tag,
				 media_random random, void *arg)
{
	struct srtp_sdes *key = &own->keys[suite];
	uint8_t bytes[SRTP_MASTER_BYTES];

	if (key->master.suite != suite) {
		random(arg, bytes, sizeof(bytes));
		if (srtp_sdes_generate(key, tag, suite, bytes, sizeof(bytes)) < 0)
			return NULL;
		OPENSSL_cleanse(bytes, sizeof(bytes));
	}
	key->tag = tag;
	return key;
}

int media_plan_own(struct media_own_keys *own, media_random random, void *arg,
		   struct srtp_sdes out[2])
{
	for (uint32_t i = 0; i < 2; i++) {
		const struct srtp_sdes *key = own_key(own, offered_suites[i], i + 1, random, arg);

		if (!key)
			return -EINVAL;
		out[i] = *key;
	}
	return 0;
}

static bool same_key(const struct srtp_master *a, const struct srtp_master *b)
{
	return a->suite == b->suite && memcmp(a->key, b->key, srtp_suite_bytes(a->suite)) == 0;
}

/* RFC 4568 section 7.1.4: who rekeys in a new offer is answered with a fresh key, too. */
static void peer_key_note(struct media_own_keys *own, const struct srtp_master *peer)
{
	if (own->peer_known && !same_key(&own->peer, peer))
		OPENSSL_cleanse(own->keys, sizeof(own->keys));
	own->peer = *peer;
	own->peer_known = true;
}

static int answerer_keys(const struct media_plan *p, const struct media_desc *answer, unsigned leg,
			 struct media_own_keys *own, struct media_key_choice *out,
			 char why[DESC_WHY_BYTES])
{
	const struct srtp_sdes *line = &answer->crypto[0];

	if (!p->own_crypto || answer->n_crypto == 0) {
		if (p->must_secure)
			return refuse(why,
				      "the answer has no key, and the zone demands encryption");
		if (sdp_profile_secure(answer->profile))
			return refuse(why, "the answer has a profile that was not offered");
		return 0;
	}
	if (line->tag < 1 || line->tag > 2 || line->master.suite != offered_suites[line->tag - 1])
		return refuse(why, "the answer's a=crypto was not offered");
	out->rx[leg] = &line->master;
	out->tx[leg] = &own->keys[line->master.suite].master;
	own->peer = line->master;
	own->peer_known = true;
	return 0;
}

static int offerer_keys(const struct media_plan *p, unsigned leg, struct media_own_keys *own,
			media_random random, void *arg, struct media_key_choice *out)
{
	const struct srtp_sdes *line = &p->desc.crypto[0], *key;

	if (!p->may_secure)
		return 0;
	peer_key_note(own, &line->master);
	key = own_key(own, line->master.suite, line->tag, random, arg);
	if (!key)
		return -EINVAL;
	out->rx[leg] = &line->master;
	out->tx[leg] = &key->master;
	out->answer_line = key;
	return 0;
}

/* Keys that only pass by: for checking tags. */
static int passing_keys(const struct media_plan *p, const struct media_desc *answer,
			unsigned offerer, struct media_key_choice *out, char why[DESC_WHY_BYTES])
{
	if (p->passed_secure && !answer->crypto_seen)
		return refuse(why, "the answer has no key, and the zone demands encryption");
	if (answer->n_crypto == 0)
		return 0;
	out->rx[!offerer] = &answer->crypto[0].master;
	for (unsigned i = 0; i < p->desc.n_crypto; i++)
		if (p->desc.crypto[i].tag == answer->crypto[0].tag)
			out->rx[offerer] = &p->desc.crypto[i].master;
	return 0;
}

int media_plan_keys(const struct media_plan *p, const struct media_desc *answer, unsigned offerer,
		    struct media_own_keys *const own[2], media_random random, void *arg,
		    struct media_key_choice *out, char why[DESC_WHY_BYTES])
{
	int err;

	*out = (struct media_key_choice){ 0 };
	if (answer->kind != p->desc.kind)
		return refuse(why, "the answer has another transport than the offer");
	if (p->desc.kind != DESC_RTP)
		return 0;
	if (!p->terminate)
		return passing_keys(p, answer, offerer, out, why);
	err = answerer_keys(p, answer, !offerer, own[!offerer], out, why);
	if (err == 0)
		err = offerer_keys(p, offerer, own[offerer], random, arg, out);
	return err;
}
