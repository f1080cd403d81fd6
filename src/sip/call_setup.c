/* From the INVITE of the caller to the INVITE at the called side, target after target. */
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/trace.h"
#include "sip/call_impl.h"

static int open_media(struct call *c)
{
	struct calls *cs = c->cs;
	struct media_leg_params legs[2];

	cs->ops->media_leg(cs->arg, &c->legs[0].d.side, &legs[0]);
	cs->ops->media_leg(cs->arg, &c->target.side, &legs[1]);
	if (!cs->media)
		return -ENOSYS;
	if (c->media)
		return cs->media->leg_set(cs->media_self, c->media, 1, &legs[1]);
	c->media = cs->media->session_new(cs->media_self, c->conn.id, c->conn.session, legs);
	return c->media ? 0 : -ENOSPC;
}

static int open_leg(struct call *c, struct sip_msg *m)
{
	struct leg *l = &c->legs[1];
	char call_id[40], tag[20];

	call_random_text(c->cs, call_id, sizeof(call_id));
	call_random_text(c->cs, tag, sizeof(tag));
	leg_leave(l);
	l->conn = (struct conn){ 0 };
	if (dialog_init_uac(&l->d, &c->target.side, call_id, tag, sip_msg_hdr(m, SIP_HDR_FROM),
			    sip_msg_hdr(m, SIP_HDR_TO), slice_of(c->target.uri),
			    c->target.routes) < 0)
		return -ENOMEM;
	return leg_enter(l);
}

static void refuse(struct call *c, struct exchange *x, int status, const char *phrase,
		   const char *extra, const char *why)
{
	c->best_failure = status;
	if (x->st)
		txn_server_reply(x->st, status, phrase && *phrase ? phrase : NULL,
				 extra && *extra ? extra : NULL);
	x->status = status;
	call_end(c, -1, why);
}

static bool send_invite(struct call *c, struct exchange *x)
{
	struct sip_msg *m = txn_server_request(x->st);
	struct calls *cs = c->cs;
	struct buf body;
	struct sip_build b;
	struct slice out;
	char branch[TXN_BRANCH_BYTES], why[128] = "";
	int status = 500;

	buf_init(&body, SIP_MAX_MESSAGE_BYTES);
	sip_build_init(&b);
	x->sdp = SDP_NONE;
	if (!call_map_request(x, m, &body, &status, why))
		goto fail;
	txn_branch(cs->txns, branch);
	dialog_request(&c->legs[1].d, &b, SLICE("INVITE"), branch, 0, c->target.max_forwards);
	x->cseq_out = c->legs[1].d.local_cseq;
	dialog_contact(&c->legs[1].d, &b);
	call_copy_headers(c, 1, &b, m);
	sip_build_body(&b, body.n ? SLICE("application/sdp") : SLICE_NONE, buf_slice(&body));
	out = sip_build_done(&b);
	if (out.p)
		x->ct = txn_client_new(cs->txns, c->target.side.flow, branch, out, &exchange_events,
				       x);
	if (!x->ct)
		goto fail;
	timer_start(cs->timers, &c->timer_c, cs->conf.timer_c_ms);
	buf_fini(&body);
	sip_build_fini(&b);
	return true;
fail:
	buf_fini(&body);
	sip_build_fini(&b);
	trace_add(cs->trace, "sip.call.offer-refused", NULL, &c->conn.remote, c->conn.session,
		  "%d: %s", status, why[0] ? why : "out of memory");
	refuse(c, x, status, why[0] ? "Not Acceptable Here" : NULL, NULL,
	       why[0] ? why : "out of memory");
	return false;
}

void call_try_next(struct call *c, struct exchange *x)
{
	struct calls *cs = c->cs;
	struct target_refusal no = { .status = 404 };
	struct sip_msg *m;

	if (!x->st || c->state == CALL_ENDED)
		return;
	m = txn_server_request(x->st);
	if (!m)
		return;
	if (c->has_target) {
		c->has_target = false;
	} else if (!cs->ops->target(cs->arg, &c->legs[0].d.side, m, c->conn.session, c->n_tried++,
				    &c->target, &no)) {
		if (c->best_failure)
			no = (struct target_refusal){ .status = c->best_failure };
		refuse(c, x, no.status, no.phrase, no.extra,
		       no.phrase[0] ? no.phrase : sip_status_phrase(no.status));
		return;
	}
	if (c->target.session[0])
		slice_copy(c->conn.session, sizeof(c->conn.session), slice_of(c->target.session));
	if (c->target.user[0] && !c->conn.user[0])
		slice_copy(c->conn.user, sizeof(c->conn.user), slice_of(c->target.user));
	if (open_media(c) < 0) {
		refuse(c, x, 503, NULL, "Retry-After: 10\r\n", "no media ports left");
		return;
	}
	if (open_leg(c, m) < 0) {
		refuse(c, x, 500, NULL, NULL, "out of memory");
		return;
	}
	send_invite(c, x);
}
