#include "media/session_sdp.h"

#include <errno.h>

#include <openssl/crypto.h>

#include "base/siphash.h"

void media_rewrite_lines_wipe(struct rewrite_line *lines, size_t n)
{
	if (lines)
		OPENSSL_cleanse(lines, n * sizeof(*lines));
}

static void line_common(struct media_session *s, unsigned leg, size_t i, const struct media_plan *p,
			struct rewrite_line *out)
{
	const struct media_end *end = &s->streams[i]->ends[leg];

	out->on = true;
	out->port = end->bound[RELAY_RTP].port;
	out->rtcp_port = end->bound[RELAY_RTCP].port;
	out->is_rtp = p->desc.kind != DESC_OPAQUE;
	out->keep_keys = !p->terminate;
	out->write_rtcp = end->kind == MEDIA_LEG_MUX;
	if (end->kind == MEDIA_LEG_MUX)
		out->ice = &end->mux.local;
	else if (end->kind == MEDIA_LEG_ICE)
		out->ice = &end->ice.local;
}

int media_offer_line(struct media_session *s, unsigned to, size_t i, const struct media_plan *p,
		     media_random random, void *arg, struct rewrite_line *out)
{
	int err = 0;

	line_common(s, to, i, p, out);
	out->profile = media_plan_profile(p);
	out->hold = p->desc.hold;
	out->rtcp_mux = p->desc.rtcp_mux && s->legs[to].params.kind != MEDIA_LEG_INSIDE;
	/* Both components are offered: the answerer may decline rtcp-mux (RFC 8839 section 4.2). */
	out->one_component = p->desc.kind == DESC_OPAQUE;
	if (p->own_crypto) {
		err = media_plan_own(s->own[i][to], random, arg, out->crypto);
		out->n_crypto = REWRITE_N_CRYPTO;
	}
	return err;
}

void media_answer_line(struct media_session *s, size_t i, const struct media_plan *p,
		       const struct media_desc *answer, const struct srtp_sdes *crypto,
		       struct rewrite_line *out)
{
	line_common(s, s->offerer, i, p, out);
	out->profile = p->desc.profile;
	out->hold = answer->hold;
	out->rtcp_mux = p->desc.rtcp_mux;
	out->one_component = p->desc.rtcp_mux || p->desc.kind == DESC_OPAQUE;
	if (crypto) {
		out->crypto[0] = *crypto;
		out->n_crypto = 1;
	}
}

bool media_leg_mux_agreed(const struct media_session *s, unsigned leg, const struct media_plan *p,
			  const struct media_desc *answer)
{
	if (leg == s->offerer || !p->desc.rtcp_mux)
		return p->desc.rtcp_mux;
	return answer->rtcp_mux && s->legs[leg].params.kind != MEDIA_LEG_INSIDE;
}

static const uint8_t hash_key[16] = "turnpike sdp o=";

static int print_hashed(const struct sdp *sdp, struct buf *out, size_t start, uint64_t *hash)
{
	out->n = start;
	sdp_print(sdp, out);
	if (out->failed)
		return -ENOMEM;
	*hash = siphash(hash_key, out->p + start, out->n - start);
	return 0;
}

int media_leg_print(struct media_session *s, unsigned leg, struct sdp *sdp,
		    const struct rewrite_line *lines, struct buf *out)
{
	struct media_leg *l = &s->legs[leg];
	struct rewrite r = { .sess_id = l->sess_id,
			     .version = l->version ? l->version : 1,
			     .ice_lite = l->params.kind == MEDIA_LEG_MUX,
			     .n_lines = sdp->n_media,
			     .lines = lines };
	size_t start = out->n;
	uint64_t hash = 0;
	int err;

	if (!media_leg_advertise_ip(s->engine, &l->params, &r.ip))
		return -EADDRNOTAVAIL;
	err = media_rewrite(sdp, &r);
	if (err == 0)
		err = print_hashed(sdp, out, start, &hash);
	if (err == 0 && l->version != 0 && hash != l->sent_hash) {
		r.version = l->version + 1;
		err = media_rewrite_origin(sdp, &r);
		if (err == 0)
			err = print_hashed(sdp, out, start, &hash);
	}
	if (err < 0) {
		out->n = start;
		return err;
	}
	l->version = r.version;
	l->sent_hash = hash;
	return 0;
}
