/* Which body is an offer and which an answer (RFC 3264, RFC 6337 2.2), and their way through the
 * media service. */
#include "sip/call_impl.h"

static bool is_sdp(const struct sip_msg *m)
{
	return m->body.n > 0 && slice_caseeq(m->content_type, SLICE("application/sdp"));
}

static bool no_media(struct call *c, int *status, char why[128])
{
	if (c->cs->media && c->media)
		return false;
	*status = 503;
	slice_copy(why, 128, SLICE("no media session to be had"));
	return true;
}

/* On INVITE and UPDATE only SDP passes: any other body could carry addresses past the media module.
 */
static bool refuse_body(const struct sip_msg *m, int *status, char why[128])
{
	if (m->body.n == 0 || is_sdp(m))
		return false;
	*status = 415;
	slice_copy(why, 128, SLICE("only application/sdp is carried here"));
	return true;
}

bool call_map_request(struct exchange *x, const struct sip_msg *m, struct buf *body, int *status,
		      char why[128])
{
	struct call *c = x->call;

	if (m->method != SIP_INVITE && m->method != SIP_UPDATE) {
		if (is_sdp(m)) {
			*status = 415;
			slice_copy(why, 128, SLICE("SDP belongs into INVITE and UPDATE"));
			return false;
		}
		buf_add_slice(body, m->body);
		return !body->failed;
	}
	if (refuse_body(m, status, why))
		return false;
	if (!is_sdp(m))
		return true;
	if (no_media(c, status, why))
		return false;
	if (c->cs->media->offer(c->cs->media_self, c->media, x->from, m->body, body, status, why) <
	    0)
		return false;
	x->sdp = SDP_OFFER_IN_REQUEST;
	return true;
}

bool call_map_response(struct exchange *x, const struct sip_msg *m, struct buf *body, int *status,
		       char why[128])
{
	struct call *c = x->call;
	const struct media_ops *media = c->cs->media;
	unsigned other = 1 - x->from;

	if (x->method != SIP_INVITE && x->method != SIP_UPDATE) {
		buf_add_slice(body, m->body);
		return !body->failed;
	}
	if (refuse_body(m, status, why))
		return false;
	if (!is_sdp(m) || m->status >= 300)
		return true;
	if (no_media(c, status, why))
		return false;
	if (x->sdp == SDP_OFFER_IN_REQUEST)
		return media->answer(c->cs->media_self, c->media, other, m->body, body, status,
				     why) >= 0;
	if (m->status < 200)
		return true; /* an offer in an unreliable 1xx means nothing (RFC 3261 13.2.1) */
	x->sdp = SDP_OFFER_IN_RESPONSE;
	return media->offer(c->cs->media_self, c->media, other, m->body, body, status, why) >= 0;
}

bool call_map_ack(struct exchange *x, const struct sip_msg *m, struct buf *body)
{
	struct call *c = x->call;
	int status;
	char why[128];

	if (x->sdp != SDP_OFFER_IN_RESPONSE)
		return true;
	x->sdp = SDP_DONE;
	if (!is_sdp(m))
		return false;
	return c->cs->media->answer(c->cs->media_self, c->media, x->from, m->body, body, &status,
				    why) >= 0;
}

void call_offer_failed(struct exchange *x)
{
	struct call *c = x->call;

	if (x->sdp != SDP_NONE && x->sdp != SDP_DONE && c->cs->media && c->media)
		c->cs->media->rollback(c->cs->media_self, c->media);
	x->sdp = SDP_NONE;
}
