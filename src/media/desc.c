#include "media/desc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

void media_desc_wipe(struct media_desc *d)
{
	OPENSSL_cleanse(d, sizeof(*d));
}

static enum desc_kind kind_of(const struct sdp_media *m)
{
	if (m->port == 0)
		return DESC_OFF;
	switch (m->profile) {
	case SDP_RTP_AVP:
	case SDP_RTP_AVPF:
	case SDP_RTP_SAVP:
	case SDP_RTP_SAVPF:
		return DESC_RTP;
	case SDP_DTLS_SAVP:
	case SDP_DTLS_SAVPF:
		return DESC_DTLS;
	case SDP_UDP_OTHER:
		return DESC_OPAQUE;
	case SDP_OTHER:
		break;
	}
	return DESC_REFUSED;
}

static void crypto_read(const struct sdp *sdp, size_t m, struct media_desc *out)
{
	const struct sdp_section *s = &sdp->media[m];
	struct slice value;
	const char *why;

	for (size_t i = sdp_attr_find(s, "crypto", 0, &value); i < s->n;
	     i = sdp_attr_find(s, "crypto", i + 1, &value)) {
		out->crypto_seen = true;
		/* What we cannot do is skipped: the next line may suit (RFC 4568 section 6.1). */
		if (out->n_crypto < DESC_N_CRYPTO &&
		    srtp_sdes_parse(value, &out->crypto[out->n_crypto], &why) == 0)
			out->n_crypto++;
	}
}

static void ice_read(const struct sdp *sdp, size_t m, struct media_desc *out)
{
	const struct sdp_section *s = &sdp->media[m];
	uint32_t best[DESC_N_COMPONENTS] = { 0 };
	struct slice ufrag, pwd, value;
	struct sdp_candidate c;

	if (!sdp_attr_inherited(sdp, m, "ice-ufrag", &ufrag) ||
	    !sdp_attr_inherited(sdp, m, "ice-pwd", &pwd))
		return;
	/* RFC 8839 section 5.4: at least 4 and 22 characters. */
	if (ufrag.n < 4 || pwd.n < 22 || ufrag.n >= ICE_UFRAG_BYTES || pwd.n >= ICE_PWD_BYTES)
		return;
	slice_copy(out->ice.ufrag, sizeof(out->ice.ufrag), ufrag);
	slice_copy(out->ice.pwd, sizeof(out->ice.pwd), pwd);
	for (size_t i = sdp_attr_find(s, "candidate", 0, &value); i < s->n;
	     i = sdp_attr_find(s, "candidate", i + 1, &value)) {
		if (!sdp_candidate_parse(value, &c) || c.component > DESC_N_COMPONENTS ||
		    !slice_caseeq(c.transport, SLICE("udp")) || c.addr.family == ADDR_NONE ||
		    c.addr.port == 0 || c.priority < best[c.component - 1])
			continue;
		best[c.component - 1] = c.priority;
		out->candidates[c.component - 1] = c.addr;
	}
}

int media_desc_read(const struct sdp *sdp, size_t m, struct media_desc *out,
		    char why[DESC_WHY_BYTES])
{
	struct sdp_media media;
	struct addr ip;
	uint16_t port;

	memset(out, 0, sizeof(*out));
	if (!sdp_media(sdp, m, &media))
		return -EINVAL;
	out->profile = media.profile;
	out->kind = kind_of(&media);
	out->direction = sdp_direction(sdp, m);
	out->video = slice_caseeq(media.media, SLICE("video"));
	if (!media_desc_on(out))
		return 0;
	if (!sdp_connection(sdp, m, &out->rtp)) {
		snprintf(why, DESC_WHY_BYTES,
			 "m-line %zu has no connection address that can be used", m + 1);
		return -EINVAL;
	}
	out->hold = addr_class(&out->rtp) == ADDR_UNSPECIFIED;
	out->rtp.port = media.port;
	out->rtcp = out->rtp;
	out->rtcp.port = media.port < 65535 ? (uint16_t)(media.port + 1) : 0;
	if (sdp_rtcp(sdp, m, &port, &ip)) {
		if (ip.family != ADDR_NONE)
			out->rtcp = ip;
		out->rtcp.port = port;
	}
	out->rtcp_mux = sdp_attr(&sdp->media[m], "rtcp-mux", NULL);
	if (out->rtcp_mux)
		out->rtcp = out->rtp;
	out->clock_rate = sdp_clock_rate(sdp, m);
	crypto_read(sdp, m, out);
	ice_read(sdp, m, out);
	return 0;
}

static enum desc_addr_verdict own_addr(const struct desc_world *w, enum media_leg_kind leg,
				       bool from_there, const struct addr *a)
{
	enum desc_owner owner = w->owner(w->arg, a);

	if (owner == DESC_OWNER_LISTENER)
		return DESC_ADDR_LISTENER;
	if (owner == DESC_OWNER_RELAY)
		return DESC_ADDR_OK;
	if (owner == DESC_OWNER_SAME)
		return DESC_ADDR_LOOP;
	if (leg == MEDIA_LEG_INSIDE && owner == DESC_OWNER_OTHER)
		return DESC_ADDR_OK;
	/* Who signals from an address of this host may have his media on it, away from our ports.
	 */
	return from_there && owner == DESC_OWNER_NONE ? DESC_ADDR_OK : DESC_ADDR_OWN;
}

enum desc_addr_verdict media_desc_addr(const struct desc_world *w, enum media_leg_kind leg,
				       const struct addr *signalling_peer, const struct addr *a)
{
	bool loopback_leg = addr_class(signalling_peer) == ADDR_LOOPBACK;

	if (leg == MEDIA_LEG_MUX || leg == MEDIA_LEG_ICE)
		return DESC_ADDR_OK;
	switch (addr_class(a)) {
	case ADDR_UNSPECIFIED:
		return DESC_ADDR_OK;
	case ADDR_LOOPBACK:
		if (!loopback_leg)
			return DESC_ADDR_CLASS;
		break;
	case ADDR_LINK_LOCAL:
	case ADDR_MULTICAST:
	case ADDR_BROADCAST:
	case ADDR_RESERVED:
		return DESC_ADDR_CLASS;
	case ADDR_GLOBAL:
	case ADDR_PRIVATE:
		break;
	}
	for (size_t i = 0;
	     leg == MEDIA_LEG_OUTSIDE && w->refuse_outside && i < w->refuse_outside->n; i++)
		if (addr_in_prefix(a, &w->refuse_outside->v[i]))
			return DESC_ADDR_PREFIX;
	if (!w->own_ip(w->arg, a) && addr_class(a) != ADDR_LOOPBACK)
		return DESC_ADDR_OK;
	return own_addr(w, leg, loopback_leg || addr_ip_eq(a, signalling_peer), a);
}

const char *desc_addr_verdict_str(enum desc_addr_verdict v)
{
	static const char *const names[] = {
		"allowed",
		"loopback, multicast, link-local or reserved",
		"an address of this host",
		"a listener of this host",
		"a media port of the same call",
		"refused by refuse-outside",
	};

	return names[v];
}
