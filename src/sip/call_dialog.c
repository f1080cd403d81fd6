/* Requests and responses carried from one dialog of a call to the other. */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/trace.h"
#include "sip/call_impl.h"

/* --- what passes through --- */

static bool is_link(const struct side *s)
{
	return s->role == FLOW_TRAVERSAL_CLIENT || s->role == FLOW_TRAVERSAL_SERVER;
}

struct copy_rule {
	bool from_outside;
	bool to_outside;
};

/* Each dialog has its own of the first group. Warning tells inner host names (RFC 3261 20.43),
 * asserted identities count only from who we trust (RFC 3325). */
static bool keep(const struct sip_hdr *h, void *arg)
{
	const struct copy_rule *rule = arg;

	switch (h->id) {
	case SIP_HDR_VIA:
	case SIP_HDR_ROUTE:
	case SIP_HDR_RECORD_ROUTE:
	case SIP_HDR_PATH:
	case SIP_HDR_SERVICE_ROUTE:
	case SIP_HDR_FROM:
	case SIP_HDR_TO:
	case SIP_HDR_CALL_ID:
	case SIP_HDR_CSEQ:
	case SIP_HDR_MAX_FORWARDS:
	case SIP_HDR_CONTACT:
	case SIP_HDR_CONTENT_LENGTH:
	case SIP_HDR_CONTENT_TYPE:
	case SIP_HDR_SUPPORTED:
	case SIP_HDR_TURNPIKE_SESSION:
	case SIP_HDR_TIMESTAMP:
		return false;
	case SIP_HDR_WARNING:
		return !rule->to_outside;
	case SIP_HDR_P_ASSERTED_IDENTITY:
	case SIP_HDR_P_PREFERRED_IDENTITY:
	case SIP_HDR_REMOTE_PARTY_ID:
	case SIP_HDR_DIVERSION:
		return !rule->from_outside;
	default:
		return true;
	}
}

/* Option tags that we can carry are all but those a B2BUA must take part in. */
static void copy_supported(struct sip_build *b, const struct sip_msg *m)
{
	static const char *const ours[] = { "100rel", "path", "outbound", "gruu", "replaces" };
	const struct sip_hdr *h = NULL;
	struct buf list;

	buf_init(&list, 2048);
	while ((h = sip_msg_next(m, SIP_HDR_SUPPORTED, h))) {
		struct slice rest = h->value;
		struct slice word;

		while ((word = slice_word(&rest)).n) {
			size_t i = 0;

			while (i < 5 && !slice_caseeq(word, slice_of(ours[i])))
				i++;
			if (i == 5)
				buf_printf(&list, "%s%.*s", list.n ? ", " : "", SLICE_ARG(word));
		}
	}
	if (list.n && !list.failed)
		sip_build_hdr_slice(b, SIP_HDR_SUPPORTED, buf_slice(&list));
	buf_fini(&list);
}

void call_copy_headers(struct call *c, unsigned to, struct sip_build *b, const struct sip_msg *m)
{
	struct copy_rule rule = { c->legs[1 - to].d.side.role == FLOW_OUTSIDE,
				  c->legs[to].d.side.role == FLOW_OUTSIDE };

	sip_build_copy(b, m, keep, &rule);
	copy_supported(b, m);
	if (is_link(&c->legs[to].d.side))
		sip_build_hdr(b, SIP_HDR_TURNPIKE_SESSION, "%s", c->conn.session);
}

static bool wants_contact(enum sip_method m)
{
	return m == SIP_INVITE || m == SIP_UPDATE || m == SIP_SUBSCRIBE || m == SIP_NOTIFY ||
	       m == SIP_REFER;
}

/* --- responses back --- */

static void fail_back(struct exchange *x, int status, const char *phrase, const char *extra)
{
	if (x->st)
		txn_server_reply(x->st, status, phrase, extra);
}

static void start_ack_watch(struct exchange *x, struct slice ok)
{
	struct calls *cs = x->call->cs;

	free(x->ok);
	x->ok = slice_dup(ok);
	x->wants_ack = true;
	x->ack_cseq = txn_server_request(x->st)->cseq;
	x->interval_ms = cs->conf.t1_ms;
	if (!x->call->legs[x->from].d.side.reliable)
		timer_start(cs->timers, &x->resend, x->interval_ms);
	timer_start(cs->timers, &x->ack_late, 64 * cs->conf.t1_ms);
}

static bool send_back(struct exchange *x, struct sip_msg *m, struct slice body)
{
	struct call *c = x->call;
	struct leg *l = &c->legs[x->from];
	struct sip_msg *req = txn_server_request(x->st);
	struct sip_build b;
	struct slice out;
	char phrase[64];

	if (!req)
		return false;
	slice_copy(phrase, sizeof(phrase), m->phrase);
	sip_build_init(&b);
	sip_build_response(&b, req, m->status, phrase, slice_of(l->d.local_tag),
			   txn_server_from(x->st));
	if (x->is_initial && m->status < 300)
		sip_build_copy_id(&b, req, SIP_HDR_RECORD_ROUTE);
	if (m->status < 300 && wants_contact(x->method))
		dialog_contact(&l->d, &b);
	else if (m->status >= 300 && m->status < 400 && l->d.side.role != FLOW_OUTSIDE)
		sip_build_copy_id(&b, m, SIP_HDR_CONTACT);
	call_copy_headers(c, x->from, &b, m);
	sip_build_body(&b, body.n ? sip_msg_hdr(m, SIP_HDR_CONTENT_TYPE) : SLICE_NONE, body);
	out = sip_build_done(&b);
	if (out.p && x->method == SIP_INVITE && m->status >= 200 && m->status < 300)
		start_ack_watch(x, out);
	if (out.p)
		txn_server_respond(x->st, m->status, out);
	sip_build_fini(&b);
	return out.p != NULL;
}

/* A 2xx that came after the call was ended here: the peer must not be left in a call (RFC 3261 15).
 */
static void hang_up_late(struct exchange *x, struct sip_msg *m)
{
	struct call *c = x->call;

	x->status = m->status;
	dialog_on_response(&c->legs[1].d, m);
	exchange_send_ack(x, NULL);
	call_send_bye(c, 1);
	c->legs[1].d.state = DIALOG_ENDED;
	call_reap_soon(c);
}

static bool is_worth_another_try(int status)
{
	return status == 404 || status == 408 || status == 410 || status == 480 || status >= 500;
}

static void on_failure(struct exchange *x, struct sip_msg *m, int status, const char *why)
{
	struct call *c = x->call;

	call_offer_failed(x);
	if (x->is_initial && status < 600 && is_worth_another_try(status) && !c->cancelled &&
	    x->st) {
		if (!c->best_failure)
			c->best_failure = status;
		/* The old client transaction ends on its own. */
		if (x->ct)
			txn_client_detach(x->ct);
		x->ct = NULL;
		call_try_next(c, x);
		return;
	}
	x->status = status;
	timer_stop(c->cs->timers, &x->timer_c);
	if (c->cancelled && x->is_initial)
		fail_back(x, 487, NULL, NULL);
	else if (!m || !x->st || !send_back(x, m, m->body))
		fail_back(x, m ? 500 : status, NULL, NULL);
	if (x->is_initial)
		call_end(c, -1, c->cancelled ? "cancelled by the caller" : why);
	else if (status == 481 || status == 408) /* RFC 5057 5.1: the dialog is gone */
		call_end(c, -1, why);
}

static bool is_other_fork(const struct exchange *x, const struct sip_msg *m)
{
	const struct dialog *d = &x->call->legs[1 - x->from].d;

	return x->is_initial && m->to_tag.p && d->remote_tag &&
	       !slice_eq(m->to_tag, slice_of(d->remote_tag));
}

/* Two phones behind a forking proxy answered (RFC 3261 13.2.2.4): the first has the call, the other
 * is acknowledged and hung up. */
static void hang_up_fork(struct exchange *x, const struct sip_msg *m)
{
	static const struct txn_client_events nobody;
	struct calls *cs = x->call->cs;
	const struct dialog *ours = &x->call->legs[1 - x->from].d;
	static const char *const methods[] = { "ACK", "BYE" };
	struct dialog d;
	int err = dialog_init_uac(&d, &ours->side, ours->call_id, ours->local_tag,
				  slice_of(ours->local), slice_of(ours->remote), m->contact, NULL);

	if (err == 0)
		err = dialog_on_response(&d, m);
	d.local_cseq = x->cseq_out;
	for (int i = 0; i < 2 && err == 0; i++) {
		char branch[TXN_BRANCH_BYTES];
		struct sip_build b;
		struct slice out;

		sip_build_init(&b);
		txn_branch(cs->txns, branch);
		dialog_request(&d, &b, slice_of(methods[i]), branch, i ? 0 : x->cseq_out, 70);
		sip_build_body(&b, SLICE_NONE, SLICE_NONE);
		out = sip_build_done(&b);
		if (out.p && i == 0)
			txn_layer_send(cs->txns, d.side.flow, out);
		else if (out.p)
			txn_client_new(cs->txns, d.side.flow, branch, out, &nobody, NULL);
		sip_build_fini(&b);
	}
	dialog_fini(&d);
}

static void on_success(struct exchange *x, struct sip_msg *m)
{
	struct call *c = x->call;
	struct buf body;
	int status = 500;
	char why[128] = "";

	if (x->status && is_other_fork(x, m)) {
		hang_up_fork(x, m);
		return;
	}
	if (x->status) {
		/* The peer sent its 2xx again: our ACK was lost, or has not come yet. */
		if (x->ack)
			exchange_send_ack(x, NULL);
		return;
	}
	x->status = m->status;
	timer_stop(c->cs->timers, &x->timer_c);
	buf_init(&body, SIP_MAX_MESSAGE_BYTES);
	if (dialog_on_response(&c->legs[1 - x->from].d, m) < 0 ||
	    !call_map_response(x, m, &body, &status, why)) {
		trace_add(c->cs->trace, "sip.call.answer-refused", NULL, &c->conn.remote,
			  c->conn.session, "%d: %s", status, why);
		if (x->method == SIP_INVITE)
			exchange_send_ack(x, NULL);
		fail_back(x, status >= 400 ? status : 488, NULL, NULL);
		if (x->is_initial)
			call_end(c, -1, why[0] ? why : "answer refused");
		goto out;
	}
	if (x->is_initial) {
		c->legs[0].d.state = DIALOG_CONFIRMED;
		c->legs[0].conn.state = c->legs[1].conn.state = dialog_state_str(DIALOG_CONFIRMED);
		call_set_state(c, CALL_UP);
	}
	if (x->st && !send_back(x, m, buf_slice(&body))) {
		/* The caller will never know of this answer. */
		fail_back(x, 500, NULL, NULL);
		call_end(c, -1, "out of memory");
	}
out:
	buf_fini(&body);
}

static void on_provisional(struct exchange *x, struct sip_msg *m)
{
	struct call *c = x->call;
	struct buf body;
	int status = 500;
	char why[128];

	if (m->status == 100 || !x->st || !txn_server_pending(x->st))
		return;
	buf_init(&body, SIP_MAX_MESSAGE_BYTES);
	if (x->is_initial) {
		timer_start(c->cs->timers, &c->timer_c, c->cs->conf.timer_c_ms);
		dialog_on_response(&c->legs[1].d, m);
		c->legs[0].d.state = DIALOG_EARLY;
		c->legs[0].conn.state = c->legs[1].conn.state = dialog_state_str(DIALOG_EARLY);
		call_set_state(c, CALL_RINGING);
	}
	if (!call_map_response(x, m, &body, &status, why))
		buf_reset(&body);
	send_back(x, m, buf_slice(&body));
	buf_fini(&body);
}

static void on_response(void *arg, struct txn_client *t, struct sip_msg *m)
{
	struct exchange *x = arg;
	char why[64];

	if (x->call->state == CALL_ENDED) {
		if (x->is_initial && x->status == 0 && m->status >= 200) {
			if (m->status < 300)
				hang_up_late(x, m);
			x->status = m->status;
			call_reap_soon(x->call);
		}
		return;
	}
	if (m->status < 200) {
		on_provisional(x, m);
	} else if (m->status < 300) {
		on_success(x, m);
	} else {
		snprintf(why, sizeof(why), "%d %.*s", m->status, SLICE_ARG(m->phrase));
		on_failure(x, m, m->status, why);
	}
}

static void on_failed(void *arg, struct txn_client *t, int status, const char *why)
{
	struct exchange *x = arg;

	if (x->call->state == CALL_ENDED) {
		x->status = status;
		call_reap_soon(x->call);
		return;
	}
	on_failure(x, NULL, status, why);
}

static void on_done(void *arg, struct txn_client *t)
{
	struct exchange *x = arg;

	if (x->ct == t)
		x->ct = NULL;
	call_reap_soon(x->call);
}

const struct txn_client_events exchange_events = { on_response, on_failed, on_done };

/* --- requests in the dialog --- */

void exchange_send_ack(struct exchange *x, struct sip_msg *ack)
{
	struct call *c = x->call;
	struct leg *l = &c->legs[1 - x->from];
	struct buf body;
	struct sip_build b;
	struct slice out = SLICE_NONE;
	char branch[TXN_BRANCH_BYTES];

	buf_init(&body, SIP_MAX_MESSAGE_BYTES);
	sip_build_init(&b);
	if (!ack && x->ack) {
		out = slice_of(x->ack);
	} else {
		if (ack && !call_map_ack(x, ack, &body))
			buf_reset(&body);
		txn_branch(c->cs->txns, branch);
		dialog_request(&l->d, &b, SLICE("ACK"), branch, x->cseq_out, c->max_forwards);
		sip_build_body(&b, body.n ? SLICE("application/sdp") : SLICE_NONE,
			       buf_slice(&body));
		out = sip_build_done(&b);
		if (out.p)
			x->ack = slice_dup(out);
	}
	if (out.p && leg_reach(l))
		txn_layer_send(c->cs->txns, l->d.side.flow, out);
	sip_build_fini(&b);
	buf_fini(&body);
}

void call_send_bye(struct call *c, unsigned leg)
{
	struct leg *l = &c->legs[leg];
	static const struct txn_client_events nobody;
	struct sip_build b;
	struct slice out;
	char branch[TXN_BRANCH_BYTES];

	if (!leg_reach(l))
		return;
	sip_build_init(&b);
	txn_branch(c->cs->txns, branch);
	dialog_request(&l->d, &b, SLICE("BYE"), branch, 0, 70);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	out = sip_build_done(&b);
	if (out.p)
		txn_client_new(c->cs->txns, l->d.side.flow, branch, out, &nobody, NULL);
	sip_build_fini(&b);
}

bool exchange_forward(struct exchange *x, struct sip_msg *m)
{
	struct call *c = x->call;
	struct leg *l = &c->legs[1 - x->from];
	struct buf body;
	struct sip_build b;
	struct slice out;
	char branch[TXN_BRANCH_BYTES], why[128] = "";
	int status = 500;

	if (!leg_reach(l)) {
		txn_server_reply(x->st, 480, NULL, NULL);
		return false;
	}
	buf_init(&body, SIP_MAX_MESSAGE_BYTES);
	sip_build_init(&b);
	if (call_map_request(x, m, &body, &status, why)) {
		txn_branch(c->cs->txns, branch);
		dialog_request(&l->d, &b, m->method_name, branch, 0,
			       (m->max_forwards < 0 ? 70 : m->max_forwards) - 1);
		x->cseq_out = l->d.local_cseq;
		if (wants_contact(m->method))
			dialog_contact(&l->d, &b);
		call_copy_headers(c, 1 - x->from, &b, m);
		sip_build_body(&b, body.n ? sip_msg_hdr(m, SIP_HDR_CONTENT_TYPE) : SLICE_NONE,
			       buf_slice(&body));
		out = sip_build_done(&b);
		if (out.p)
			x->ct = txn_client_new(c->cs->txns, l->d.side.flow, branch, out,
					       &exchange_events, x);
		if (x->ct && m->method == SIP_INVITE)
			timer_start(c->cs->timers, &x->timer_c, c->cs->conf.timer_c_ms);
	}
	if (!x->ct) {
		trace_add(c->cs->trace, "sip.call.request-refused", NULL, &c->conn.remote,
			  c->conn.session, "%d: %s", status, why);
		call_offer_failed(x);
		txn_server_reply(x->st, status, NULL, NULL);
	}
	buf_fini(&body);
	sip_build_fini(&b);
	return x->ct != NULL;
}

static struct leg *find_leg(struct calls *cs, const struct sip_msg *m)
{
	struct htab_node *n;
	struct leg *l = NULL;
	struct buf key;

	buf_init(&key, 4096);
	buf_printf(&key, "%.*s|%.*s", SLICE_ARG(m->call_id), SLICE_ARG(m->to_tag));
	n = key.failed ? NULL : htab_get(&cs->legs, buf_slice(&key));
	if (n)
		l = CONTAINER_OF(n, struct leg, node);
	if (l && l->call->state == CALL_ENDED)
		l = NULL;
	if (l && !dialog_matches(&l->d, m->call_id, m->to_tag, m->from_tag))
		l = NULL;
	buf_fini(&key);
	return l;
}

/* RFC 3261 14.2: an INVITE while one is under way. 491 when it is ours, 500 when it is theirs. */
static bool has_glare(struct call *c, unsigned from, struct txn_server *t)
{
	LIST_FOREACH (it, &c->exchanges) {
		struct exchange *x = CONTAINER_OF(it, struct exchange, node);

		if (x->method != SIP_INVITE && x->method != SIP_UPDATE)
			continue;
		if (x->status == 0 || x->wants_ack) {
			if (x->from == from && x->status == 0)
				txn_server_reply(t, 500, NULL, "Retry-After: 2\r\n");
			else if (x->from == from)
				continue;
			else
				txn_server_reply(t, 491, NULL, NULL);
			return true;
		}
	}
	return false;
}

bool calls_in_dialog(struct calls *cs, struct txn_server *t, struct sip_msg *m)
{
	struct leg *l = find_leg(cs, m);
	struct exchange *x;
	struct call *c;
	unsigned from;
	struct side side;

	if (!l)
		return false;
	c = l->call;
	from = l == &c->legs[1];
	if (m->max_forwards == 0 && m->method != SIP_BYE) {
		txn_server_reply(t, 483, NULL, NULL);
		return true;
	}
	if (dialog_on_request(&l->d, m) < 0) {
		txn_server_reply(t, 500, "CSeq Out Of Order", NULL);
		return true;
	}
	/* The peer may have come back on a new connection: answers and requests go there now. */
	if (txn_server_flow(t) != l->d.side.flow &&
	    cs->ops->side(cs->arg, txn_server_flow(t), &side) && side.role == l->d.side.role &&
	    strcmp(side.zone, l->d.side.zone) == 0)
		leg_take_flow(l, &side);
	if (m->method == SIP_BYE) {
		txn_server_reply(t, 200, NULL, NULL);
		call_end(c, (int)from,
			 from == 0 ? "hung up by the caller" : "hung up by the called");
		return true;
	}
	if (m->method == SIP_INVITE || m->method == SIP_UPDATE) {
		if (c->state != CALL_UP && m->method == SIP_INVITE) {
			txn_server_reply(t, 491, NULL, NULL);
			return true;
		}
		if (has_glare(c, from, t))
			return true;
	}
	x = call_exchange_new(c, from, t, m->method);
	if (!x) {
		txn_server_reply(t, 500, NULL, NULL);
		return true;
	}
	if (m->method == SIP_INVITE)
		txn_server_reply(t, 100, NULL, NULL);
	if (!exchange_forward(x, m))
		x->status = 500;
	return true;
}

void calls_ack(struct calls *cs, struct sip_msg *m)
{
	struct leg *l = find_leg(cs, m);
	struct call *c;

	if (!l)
		return;
	c = l->call;
	LIST_FOREACH (it, &c->exchanges) {
		struct exchange *x = CONTAINER_OF(it, struct exchange, node);

		if (!x->wants_ack || x->from != (l == &c->legs[1]) || x->ack_cseq != m->cseq)
			continue;
		x->wants_ack = false;
		timer_stop(cs->timers, &x->resend);
		timer_stop(cs->timers, &x->ack_late);
		exchange_send_ack(x, m);
		call_reap_soon(c);
		return;
	}
}

void calls_cancelled(struct calls *cs, struct txn_server *t, struct sip_msg *cancel)
{
	struct exchange *x = txn_server_user(t);

	if (!x) {
		txn_server_reply(t, 487, NULL, NULL);
		return;
	}
	if (x->is_initial)
		x->call->cancelled = true;
	if (x->ct)
		txn_client_cancel(x->ct);
	else
		txn_server_reply(t, 487, NULL, NULL);
}
