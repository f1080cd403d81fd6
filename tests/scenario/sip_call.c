/* The B2BUA on a fake clock and network: a caller on flow 1, a called side on flow 2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/conn.h"
#include "core/trace.h"
#include "sip/call.h"
#include "support/alloc_fail.h"

#define MAX_SENT 64

struct packet {
	uint64_t flow;
	struct sip_msg *m;
};

struct world {
	struct timerq timers;
	struct txn_layer *txns;
	struct conn_table *conns;
	struct trace *trace;
	struct calls *calls;
	struct packet sent[MAX_SENT];
	size_t n_sent;
	unsigned n_targets;
	int holds[3];
	uint8_t random;
	int n_offers, n_answers, n_rollbacks, n_media_freed;
	bool refuse_offer;
};

static const struct addr someone = { .ip = { 192, 0, 2, 7 }, .port = 5061, .family = ADDR_IP4 };

/* --- network --- */

static int net_send(void *arg, uint64_t flow, struct slice text)
{
	struct world *w = arg;
	struct sip_reject why;
	struct sip_msg *m = NULL;

	if (sip_msg_parse(text, true, &m, &why) == 0 && w->n_sent < MAX_SENT)
		w->sent[w->n_sent++] = (struct packet){ flow, m };
	else
		sip_msg_unref(m);
	return 0;
}

static bool net_reliable(void *arg, uint64_t flow)
{
	return true;
}

static void fill_side(struct side *s, uint64_t flow)
{
	*s = (struct side){ .flow = flow,
			    .role = flow == 1 ? FLOW_OUTSIDE : FLOW_TRAVERSAL_SERVER,
			    .transport = CONN_TLS,
			    .reliable = true,
			    .local = someone,
			    .remote = someone };
	snprintf(s->zone, sizeof(s->zone), "%s", flow == 1 ? "" : "to-core");
	snprintf(s->sent_by, sizeof(s->sent_by), "edge%u.example.com:5061", (unsigned)flow);
}

static void on_request(void *arg, struct txn_server *t, struct sip_msg *m)
{
	struct world *w = arg;
	struct side from;

	fill_side(&from, txn_server_flow(t));
	if (m->to_tag.p) {
		if (!calls_in_dialog(w->calls, t, m))
			txn_server_reply(t, 481, NULL, NULL);
	} else {
		calls_invite(w->calls, t, m, &from);
	}
}

static void on_ack(void *arg, uint64_t flow, struct sip_msg *m)
{
	calls_ack(((struct world *)arg)->calls, m);
}

static void on_cancelled(void *arg, struct txn_server *t, struct sip_msg *m)
{
	calls_cancelled(((struct world *)arg)->calls, t, m);
}

static unsigned net_share(void *arg, uint64_t flow)
{
	return 100;
}

static const struct txn_ops txn_ops = { net_send,   net_reliable, net_share,
					on_request, on_ack,	  on_cancelled };

/* --- what calls ask --- */

static bool ask_side(void *arg, uint64_t flow, struct side *out)
{
	fill_side(out, flow);
	return true;
}

static bool ask_target(void *arg, const struct side *from, const struct sip_msg *m,
		       const char *session, unsigned n, struct target *out,
		       struct target_refusal *refusal)
{
	struct world *w = arg;

	*out = (struct target){ .max_forwards = 69 };
	if (n >= w->n_targets) {
		*refusal = (struct target_refusal){ .status = 404 };
		return false;
	}
	fill_side(&out->side, 2);
	snprintf(out->uri, sizeof(out->uri), "sip:bob@target%u.example.com", n);
	return true;
}

static bool ask_reach(void *arg, struct slice next_hop, const struct side *old, struct side *out)
{
	*out = *old;
	return true;
}

static void ask_media_leg(void *arg, const struct side *side, struct media_leg_params *out)
{
	*out = (struct media_leg_params){ .kind = MEDIA_LEG_OUTSIDE };
}

static void ask_identity(void *arg, const struct side *from, const struct sip_msg *m,
			 char user[CONN_USER_BYTES], char session[CONN_SESSION_BYTES])
{
	user[0] = session[0] = '\0';
}

static void ask_hold(void *arg, uint64_t flow, bool hold)
{
	((struct world *)arg)->holds[flow] += hold ? 1 : -1;
}

static void ask_ended(void *arg, const char *session)
{
}

static void ask_random(void *arg, void *out, size_t n)
{
	memset(out, ++((struct world *)arg)->random, n);
}

static const struct calls_ops calls_ops = { ask_side,	  ask_target, ask_reach, ask_media_leg,
					    ask_identity, ask_hold,   ask_ended, ask_random };

/* --- media: marks what went through it --- */

static uint64_t media_new(void *self, uint64_t parent, const char *session,
			  const struct media_leg_params legs[2])
{
	return 77;
}

static int media_set(void *self, uint64_t id, unsigned leg, const struct media_leg_params *p)
{
	return 0;
}

static int media_offer(void *self, uint64_t id, unsigned from, struct slice sdp, struct buf *out,
		       int *status, char why[128])
{
	struct world *w = self;

	if (w->refuse_offer) {
		*status = 488;
		snprintf(why, 128, "refused by the test");
		return -1;
	}
	w->n_offers++;
	buf_printf(out, "offer%u:%.*s", from, SLICE_ARG(sdp));
	return 0;
}

static int media_answer(void *self, uint64_t id, unsigned from, struct slice sdp, struct buf *out,
			int *status, char why[128])
{
	((struct world *)self)->n_answers++;
	buf_printf(out, "answer%u:%.*s", from, SLICE_ARG(sdp));
	return 0;
}

static void media_rollback(void *self, uint64_t id)
{
	((struct world *)self)->n_rollbacks++;
}

static void media_free(void *self, uint64_t id, const char *reason)
{
	((struct world *)self)->n_media_freed++;
}

static json_t *media_describe(void *self, uint64_t id)
{
	return json_array();
}

static const struct media_ops media_ops = { media_new,	    media_set,	media_offer,   media_answer,
					    media_rollback, media_free, media_describe };

/* --- the stage --- */

static int64_t clock_ms(void *arg)
{
	return ((struct world *)arg)->timers.now_ms;
}

static void setup(struct world *w)
{
	static const struct txn_timers tt = { 500, 4000, 5000, 100, 300000 };
	static const struct calls_conf cc = { 500, 4000, 180000, 2 };
	static const uint8_t seed[16] = { 3 };

	*w = (struct world){ .n_targets = 1 };
	timerq_init(&w->timers, 0);
	w->conns = conn_table_new(100, 10, clock_ms, w);
	w->trace = trace_new(16, clock_ms, w);
	w->txns = txn_layer_new(&w->timers, &tt, seed, &txn_ops, w);
	if (w->conns && w->txns && w->trace)
		w->calls = calls_new(&w->timers, w->txns, w->conns, NULL, w->trace, &cc, seed,
				     &calls_ops, w);
	if (w->calls)
		calls_set_media(w->calls, &media_ops, w);
}

static void forget(struct world *w)
{
	while (w->n_sent)
		sip_msg_unref(w->sent[--w->n_sent].m);
}

static void teardown(struct world *w)
{
	calls_free(w->calls);
	txn_layer_free(w->txns);
	forget(w);
	conn_table_free(w->conns);
	trace_free(w->trace);
	timerq_fini(&w->timers);
}

static void pass(struct world *w, int64_t ms)
{
	int64_t end = w->timers.now_ms + ms, next;

	while ((next = timerq_next(&w->timers)) >= 0 && w->timers.now_ms + next <= end)
		timerq_run(&w->timers, w->timers.now_ms + next);
	timerq_run(&w->timers, end);
}

static void input(struct world *w, uint64_t flow, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void input(struct world *w, uint64_t flow, const char *fmt, ...)
{
	struct sip_reject why;
	struct sip_msg *m = NULL;
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (sip_msg_parse(slice_of(text), true, &m, &why) == 0)
		txn_layer_input(w->txns, flow, &someone, m);
	sip_msg_unref(m);
	pass(w, 0);
}

static void invite(struct world *w, const char *branch, const char *body)
{
	input(w, 1,
	      "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TLS phone;branch=%s\r\n"
	      "Max-Forwards: 70\r\nFrom: \"A\" <sip:alice@example.com>;tag=a1\r\n"
	      "To: <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 10 INVITE\r\n"
	      "Contact: <sip:alice@10.1.1.1:4444;transport=tls>\r\nX-Unknown: kept\r\n"
	      "P-Asserted-Identity: <sip:boss@example.com>\r\nSupported: timer, 100rel\r\n"
	      "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
	      branch, strlen(body), body);
}

/* The last message sent on a flow whose start says so; fails the test when there is none. */
static struct sip_msg *last(struct world *w, uint64_t flow, const char *method, int status)
{
	for (size_t i = w->n_sent; i-- > 0;) {
		struct sip_msg *m = w->sent[i].m;

		if (w->sent[i].flow == flow && m->is_request == (status == 0) &&
		    slice_eq(m->method_name, slice_of(method)) && m->status == status)
			return m;
	}
	fail_msg("no %s %d on flow %u", method, status, (unsigned)flow);
	return NULL;
}

static size_t count(struct world *w, uint64_t flow, const char *method, int status)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_sent; i++) {
		struct sip_msg *m = w->sent[i].m;

		n += w->sent[i].flow == flow && m->is_request == (status == 0) &&
		     slice_eq(m->method_name, slice_of(method)) && m->status == status;
	}
	return n;
}

/* The other side answers the last request of that method on the flow. */
static void answer(struct world *w, uint64_t flow, const char *method, int status, const char *body)
{
	struct sip_msg *r = last(w, flow, method, 0);
	struct slice via = sip_msg_hdr(r, SIP_HDR_VIA), from = sip_msg_hdr(r, SIP_HDR_FROM),
		     to = sip_msg_hdr(r, SIP_HDR_TO);

	input(w, flow,
	      "SIP/2.0 %d X\r\nVia: %.*s\r\nFrom: %.*s\r\nTo: %.*s%s\r\nCall-ID: %.*s\r\n"
	      "CSeq: %u %s\r\nContact: <sip:bob@10.2.2.2:5060>\r\nWarning: 399 pbx.inner \"x\"\r\n"
	      "Record-Route: <sip:10.2.2.1;lr>\r\nContent-Type: application/sdp\r\n"
	      "Content-Length: %zu\r\n\r\n%s",
	      status, SLICE_ARG(via), SLICE_ARG(from), SLICE_ARG(to), r->to_tag.p ? "" : ";tag=b1",
	      SLICE_ARG(r->call_id), r->cseq, method, strlen(body), body);
}

/* A request inside the dialog that one side sees: 1 the caller's, 2 the called's. */
static void in_dialog(struct world *w, uint64_t flow, const char *method, unsigned cseq,
		      const char *branch, const char *body)
{
	struct sip_msg *ours = flow == 1 ? last(w, 1, "INVITE", 200) : last(w, 2, "INVITE", 0);
	char from[256], to[256];

	if (flow == 1) {
		snprintf(from, sizeof(from), "<sip:alice@example.com>;tag=a1");
		snprintf(to, sizeof(to), "<sip:bob@example.com>;tag=%.*s", SLICE_ARG(ours->to_tag));
	} else {
		snprintf(from, sizeof(from), "<sip:bob@example.com>;tag=b1");
		snprintf(to, sizeof(to), "<sip:alice@example.com>;tag=%.*s",
			 SLICE_ARG(ours->from_tag));
	}
	input(w, flow,
	      "%s sip:x SIP/2.0\r\nVia: SIP/2.0/TLS p;branch=%s\r\nMax-Forwards: 70\r\nFrom: %s\r\n"
	      "To: %s\r\nCall-ID: %.*s\r\nCSeq: %u %s\r\nContact: <sip:new@10.3.3.3>\r\n"
	      "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
	      method, branch, from, to, SLICE_ARG(ours->call_id), cseq, method,
	      strcmp(method, "INFO") == 0 ? "application/dtmf-relay"
	      : strcmp(body, "mime") == 0 ? "Multipart/mixed"
					  : "application/sdp",
	      strlen(body), body);
}

static void call_up(struct world *w)
{
	invite(w, "z9hG4bKi", "v=1");
	answer(w, 2, "INVITE", 180, "");
	answer(w, 2, "INVITE", 200, "v=2");
	in_dialog(w, 1, "ACK", 10, "z9hG4bKack", "");
	assert_int_equal(count(w, 2, "ACK", 0), 1);
}

static void assert_gone(struct world *w)
{
	pass(w, 200000);
	assert_int_equal(calls_count(w->calls), 0);
	assert_int_equal(txn_layer_count(w->txns), 0);
	assert_int_equal(w->holds[1], 0);
	assert_int_equal(w->holds[2], 0);
	assert_int_equal(conn_count(w->conns, CONN_LEG), 0);
}

static void assert_slice(struct slice s, const char *text)
{
	assert_true(slice_eq(s, slice_of(text)));
}

static void two_dialogs_of_their_own(void **state)
{
	struct world w;
	struct sip_msg *b, *ok;

	setup(&w);
	call_up(&w);
	b = last(&w, 2, "INVITE", 0);
	ok = last(&w, 1, "INVITE", 200);
	assert_false(slice_eq(b->call_id, SLICE("c1")));
	assert_false(slice_eq(b->from_tag, SLICE("a1")));
	assert_slice(b->uri, "sip:bob@target0.example.com");
	assert_slice(b->from.uri, "sip:alice@example.com");
	assert_int_equal(b->max_forwards, 69);
	assert_slice(b->body, "offer0:v=1");
	assert_slice(ok->body, "answer1:v=2");
	/* Nothing of the phone's address goes in, nothing of the inner ones comes out. */
	assert_null(sip_msg_next(b, SIP_HDR_VIA, sip_msg_next(b, SIP_HDR_VIA, NULL)));
	assert_slice(b->via.host, "edge2.example.com");
	assert_true(slice_ends(b->contact, SLICE("@edge2.example.com:5061;transport=tls")));
	assert_true(slice_ends(ok->contact, SLICE("@edge1.example.com:5061;transport=tls")));
	assert_null(sip_msg_hdr(ok, SIP_HDR_WARNING).p);
	assert_null(sip_msg_hdr(ok, SIP_HDR_RECORD_ROUTE).p);
	/* Identity asserted by a phone outside counts for nothing; the unknown passes; 100rel is
	 * ours. */
	assert_null(sip_msg_hdr(b, SIP_HDR_P_ASSERTED_IDENTITY).p);
	assert_slice(sip_msg_hdr(b, SIP_HDR_OTHER), "kept");
	assert_slice(sip_msg_hdr(b, SIP_HDR_SUPPORTED), "timer");
	assert_int_equal(sip_msg_hdr(b, SIP_HDR_TURNPIKE_SESSION).n, 32);
	/* The route set of the called side is used toward it. */
	assert_slice(last(&w, 2, "ACK", 0)->uri, "sip:bob@10.2.2.2:5060");
	assert_slice(sip_msg_hdr(last(&w, 2, "ACK", 0), SIP_HDR_ROUTE), "<sip:10.2.2.1;lr>");
	assert_int_equal(last(&w, 2, "ACK", 0)->cseq, b->cseq);
	teardown(&w);
}

static void caller_hangs_up(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	in_dialog(&w, 1, "BYE", 11, "z9hG4bKb", "");
	assert_int_equal(count(&w, 1, "BYE", 200), 1);
	assert_int_equal(count(&w, 2, "BYE", 0), 1);
	assert_int_equal(w.n_media_freed, 1);
	answer(&w, 2, "BYE", 200, "");
	assert_gone(&w);
	teardown(&w);
}

static void called_hangs_up(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	in_dialog(&w, 2, "BYE", 1, "z9hG4bKb", "");
	assert_int_equal(count(&w, 2, "BYE", 200), 1);
	assert_slice(last(&w, 1, "BYE", 0)->uri, "sip:alice@10.1.1.1:4444;transport=tls");
	answer(&w, 1, "BYE", 200, "");
	assert_gone(&w);
	teardown(&w);
}

static void disconnect_says_bye_both_ways(void **state)
{
	struct world w;
	struct conn *c;

	setup(&w);
	call_up(&w);
	c = CONTAINER_OF(list_first(conn_list(w.conns, CONN_CALL)), struct conn, node);
	c->close(c, "closed by the administrator");
	assert_int_equal(count(&w, 1, "BYE", 0), 1);
	assert_int_equal(count(&w, 2, "BYE", 0), 1);
	assert_gone(&w);
	teardown(&w);
}

static void rejection_passes_back(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bKi", "v=1");
	answer(&w, 2, "INVITE", 486, "");
	assert_int_equal(count(&w, 1, "INVITE", 486), 1);
	assert_int_equal(count(&w, 2, "ACK", 0), 1);
	assert_gone(&w);
	teardown(&w);
}

static void next_target_is_tried(void **state)
{
	struct world w;

	setup(&w);
	w.n_targets = 2;
	invite(&w, "z9hG4bKi", "v=1");
	answer(&w, 2, "INVITE", 503, "");
	assert_int_equal(count(&w, 2, "INVITE", 0), 2);
	assert_slice(last(&w, 2, "INVITE", 0)->uri, "sip:bob@target1.example.com");
	answer(&w, 2, "INVITE", 404, "");
	/* The first failure is what the caller hears when all are through. */
	assert_int_equal(count(&w, 1, "INVITE", 503), 1);
	assert_gone(&w);
	teardown(&w);
}

static void cancel(struct world *w)
{
	input(w, 1,
	      "CANCEL sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TLS phone;branch=z9hG4bKi\r\n"
	      "Max-Forwards: 70\r\nFrom: \"A\" <sip:alice@example.com>;tag=a1\r\n"
	      "To: <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 10 CANCEL\r\nContent-Length: "
	      "0\r\n\r\n");
}

static void cancel_reaches_the_called(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bKi", "v=1");
	answer(&w, 2, "INVITE", 180, "");
	cancel(&w);
	assert_int_equal(count(&w, 1, "CANCEL", 200), 1);
	assert_int_equal(count(&w, 2, "CANCEL", 0), 1);
	answer(&w, 2, "INVITE", 487, "");
	assert_int_equal(count(&w, 1, "INVITE", 487), 1);
	assert_gone(&w);
	teardown(&w);
}

/* 9.1: the 200 may cross the CANCEL; then there is a call, and who cancelled hangs up. */
static void answer_crosses_cancel(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bKi", "v=1");
	answer(&w, 2, "INVITE", 180, "");
	cancel(&w);
	answer(&w, 2, "INVITE", 200, "v=2");
	assert_int_equal(count(&w, 1, "INVITE", 200), 1);
	in_dialog(&w, 1, "ACK", 10, "z9hG4bKack", "");
	in_dialog(&w, 1, "BYE", 11, "z9hG4bKb", "");
	assert_int_equal(count(&w, 2, "BYE", 0), 1);
	assert_gone(&w);
	teardown(&w);
}

/* Ended here while it rang; the called side answers all the same: ACK and BYE. */
static void answer_after_the_end_is_hung_up(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bKi", "v=1");
	answer(&w, 2, "INVITE", 180, "");
	calls_end_all(w.calls, "test");
	pass(&w, 0);
	assert_int_equal(count(&w, 1, "INVITE", 480), 1);
	assert_int_equal(count(&w, 2, "CANCEL", 0), 1);
	answer(&w, 2, "INVITE", 200, "v=2");
	assert_int_equal(count(&w, 2, "ACK", 0), 1);
	assert_int_equal(count(&w, 2, "BYE", 0), 1);
	assert_gone(&w);
	teardown(&w);
}

static void hold_and_its_failure(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	in_dialog(&w, 2, "INVITE", 1, "z9hG4bKh", "hold");
	assert_slice(last(&w, 1, "INVITE", 0)->body, "offer1:hold");
	answer(&w, 1, "INVITE", 200, "held");
	assert_slice(last(&w, 2, "INVITE", 200)->body, "answer0:held");
	/* A new INVITE while the ACK is missing is glare (14.2). */
	in_dialog(&w, 1, "INVITE", 12, "z9hG4bKg", "x");
	assert_int_equal(count(&w, 1, "INVITE", 491), 1);
	in_dialog(&w, 2, "ACK", 1, "z9hG4bKha", "");
	in_dialog(&w, 1, "INVITE", 13, "z9hG4bKr", "resume");
	answer(&w, 2, "INVITE", 488, "");
	assert_int_equal(w.n_rollbacks, 1);
	assert_int_equal(count(&w, 1, "INVITE", 488), 1);
	assert_int_equal(calls_count(w.calls), 1);
	assert_int_equal(w.n_media_freed, 0);
	teardown(&w);
}

static void late_offer_is_answered_in_the_ack(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bKi", "");
	answer(&w, 2, "INVITE", 200, "o");
	assert_slice(last(&w, 1, "INVITE", 200)->body, "offer1:o");
	in_dialog(&w, 1, "ACK", 10, "z9hG4bKack", "a");
	assert_slice(last(&w, 2, "ACK", 0)->body, "answer0:a");
	teardown(&w);
}

static void info_goes_through_both_ways(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	in_dialog(&w, 1, "INFO", 11, "z9hG4bK1", "dtmf");
	assert_slice(last(&w, 2, "INFO", 0)->body, "dtmf");
	answer(&w, 2, "INFO", 200, "");
	assert_int_equal(count(&w, 1, "INFO", 200), 1);
	in_dialog(&w, 2, "INFO", 5, "z9hG4bK2", "dtmf");
	answer(&w, 1, "INFO", 415, "");
	assert_int_equal(count(&w, 2, "INFO", 415), 1);
	/* 12.2.2: an older CSeq is refused. */
	in_dialog(&w, 1, "INFO", 11, "z9hG4bK3", "dtmf");
	assert_int_equal(count(&w, 1, "INFO", 500), 1);
	teardown(&w);
}

static void missing_ack_ends_the_call(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bKi", "v=1");
	answer(&w, 2, "INVITE", 200, "v=2");
	pass(&w, 31999);
	assert_int_equal(calls_count(w.calls), 1);
	pass(&w, 1);
	assert_int_equal(count(&w, 1, "BYE", 0), 1);
	assert_int_equal(count(&w, 2, "BYE", 0), 1);
	assert_gone(&w);
	teardown(&w);
}

static void endless_ringing_ends(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bKi", "v=1");
	answer(&w, 2, "INVITE", 180, "");
	pass(&w, 179999);
	assert_int_equal(calls_count(w.calls), 1);
	pass(&w, 1);
	assert_int_equal(count(&w, 1, "INVITE", 408), 1);
	assert_int_equal(count(&w, 2, "CANCEL", 0), 1);
	assert_gone(&w);
	teardown(&w);
}

static void refused_offer_and_stranger(void **state)
{
	struct world w;

	setup(&w);
	w.refuse_offer = true;
	invite(&w, "z9hG4bKi", "v=1");
	assert_int_equal(count(&w, 1, "INVITE", 488), 1);
	assert_int_equal(count(&w, 2, "INVITE", 0), 0);
	input(&w, 1,
	      "BYE sip:x SIP/2.0\r\nVia: SIP/2.0/TLS p;branch=z9hG4bKq\r\nMax-Forwards: 70\r\n"
	      "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: no\r\nCSeq: 1 BYE\r\n"
	      "Content-Length: 0\r\n\r\n");
	assert_int_equal(count(&w, 1, "BYE", 481), 1);
	assert_gone(&w);
	teardown(&w);
}

/* What we sent comes back: with the same URI it is a loop, with another one a call for somebody
 * else. */
static void own_invite_comes_back(void **state)
{
	struct world w;
	struct sip_msg *b;
	char text[1024];

	setup(&w);
	invite(&w, "z9hG4bKi", "");
	b = last(&w, 2, "INVITE", 0);
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
			 "INVITE %s SIP/2.0\r\nVia: SIP/2.0/TLS pbx;branch=z9hG4bKback%d\r\n"
			 "Max-Forwards: 60\r\nFrom: <sip:alice@example.com>;tag=%.*s\r\n"
			 "To: <sip:bob@example.com>\r\nCall-ID: %.*s\r\nCSeq: 1 INVITE\r\n"
			 "Contact: <sip:pbx@10.2.2.2>\r\nContent-Length: 0\r\n\r\n",
			 i ? "sip:bob@192.168.1.9:4444" : "sip:bob@target0.example.com", i,
			 SLICE_ARG(b->from_tag), SLICE_ARG(b->call_id));
		input(&w, 2, "%s", text);
	}
	assert_int_equal(count(&w, 2, "INVITE", 482), 1);
	assert_int_equal(calls_count(w.calls), 2);
	teardown(&w);
}

/* 13.2.2.4: two phones behind a forking proxy answer; the second one is told that it is over. */
static void second_fork_is_hung_up(void **state)
{
	struct world w;
	struct sip_msg *b;

	setup(&w);
	call_up(&w);
	b = last(&w, 2, "INVITE", 0);
	input(&w, 2,
	      "SIP/2.0 200 OK\r\nVia: %.*s\r\nFrom: %.*s\r\nTo: <sip:bob@example.com>;tag=other\r\n"
	      "Call-ID: %.*s\r\nCSeq: %u INVITE\r\nContact: <sip:bob@10.9.9.9>\r\n"
	      "Content-Length: 0\r\n\r\n",
	      SLICE_ARG(sip_msg_hdr(b, SIP_HDR_VIA)), SLICE_ARG(sip_msg_hdr(b, SIP_HDR_FROM)),
	      SLICE_ARG(b->call_id), b->cseq);
	assert_int_equal(count(&w, 2, "ACK", 0), 2);
	assert_slice(last(&w, 2, "ACK", 0)->to_tag, "other");
	assert_slice(last(&w, 2, "BYE", 0)->to_tag, "other");
	assert_slice(last(&w, 2, "BYE", 0)->uri, "sip:bob@10.9.9.9");
	assert_int_equal(calls_count(w.calls), 1);
	teardown(&w);
}

/* Nothing but SDP passes in INVITE and UPDATE, however it is spelt; an SDP nowhere else. */
static void other_bodies_do_not_pass(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	in_dialog(&w, 2, "UPDATE", 1, "z9hG4bKu", "mime");
	assert_int_equal(count(&w, 2, "UPDATE", 415), 1);
	assert_int_equal(count(&w, 1, "UPDATE", 0), 0);
	in_dialog(&w, 2, "MESSAGE", 2, "z9hG4bKm", "v=0");
	assert_int_equal(count(&w, 2, "MESSAGE", 415), 1);
	teardown(&w);
}

static void lost_phone_ends_the_call_after_a_while(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	calls_flow_closed(w.calls, 1);
	w.holds[1] = 0;
	pass(&w, 31999);
	assert_int_equal(calls_count(w.calls), 1);
	pass(&w, 1);
	assert_int_equal(count(&w, 2, "BYE", 0), 1);
	assert_int_equal(count(&w, 1, "BYE", 0), 0);
	assert_gone(&w);
	/* While it rings nobody waits for a caller who is gone. */
	invite(&w, "z9hG4bKi2", "v=1");
	answer(&w, 2, "INVITE", 180, "");
	calls_flow_closed(w.calls, 1);
	w.holds[1] = 0;
	pass(&w, 1);
	assert_int_equal(count(&w, 2, "CANCEL", 0), 1);
	teardown(&w);
}

static void requests_after_the_end_get_481(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	in_dialog(&w, 1, "BYE", 11, "z9hG4bKb", "");
	in_dialog(&w, 1, "INFO", 12, "z9hG4bKx", "dtmf");
	assert_int_equal(count(&w, 1, "INFO", 481), 1);
	assert_gone(&w);
	teardown(&w);
}

/* A re-INVITE that got 100 and then nothing must not block the dialog for ever. */
static void silent_reinvite_is_given_up(void **state)
{
	struct world w;

	setup(&w);
	call_up(&w);
	in_dialog(&w, 1, "INVITE", 11, "z9hG4bKr", "hold");
	answer(&w, 2, "INVITE", 100, "");
	pass(&w, 180000 + 32000);
	assert_int_equal(count(&w, 1, "INVITE", 487), 1);
	assert_int_equal(calls_count(w.calls), 1);
	in_dialog(&w, 1, "INVITE", 12, "z9hG4bKr2", "hold");
	assert_int_equal(count(&w, 2, "INVITE", 0), 3);
	teardown(&w);
}

/* A Call-ID that is no UTF-8 does not make the call invisible. */
static void odd_call_id_is_listed(void **state)
{
	struct world w;
	json_t *list;

	setup(&w);
	input(&w, 1,
	      "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TLS phone;branch=z9hG4bKo\r\n"
	      "Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a1\r\n"
	      "To: <sip:bob@example.com>\r\nCall-ID: c{~\"1\r\nCSeq: 10 INVITE\r\n"
	      "Contact: <sip:alice@10.1.1.1>\r\nContent-Length: 0\r\n\r\n");
	list = calls_json(w.calls);
	assert_int_equal(json_array_size(list), calls_count(w.calls));
	json_decref(list);
	teardown(&w);
}

/* max-calls is 2: the third is refused. */
static void call_limit(void **state)
{
	struct world w;

	setup(&w);
	invite(&w, "z9hG4bK1", "v=1");
	invite(&w, "z9hG4bK2", "v=1");
	assert_int_equal(calls_count(w.calls), 2);
	invite(&w, "z9hG4bK3", "v=1");
	assert_int_equal(count(&w, 1, "INVITE", 503), 1);
	assert_int_equal(calls_count(w.calls), 2);
	teardown(&w);
}

static void one_run(void *arg)
{
	struct world w;

	setup(&w);
	if (w.calls) {
		invite(&w, "z9hG4bKi", "v=1");
		if (count(&w, 2, "INVITE", 0))
			answer(&w, 2, "INVITE", 200, "v=2");
		if (count(&w, 1, "INVITE", 200))
			in_dialog(&w, 1, "BYE", 11, "z9hG4bKb", "");
		pass(&w, 400000);
		assert_int_equal(calls_count(w.calls), 0);
	}
	teardown(&w);
}

static void survives_failing_allocations(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) > 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_dialogs_of_their_own),
		cmocka_unit_test(caller_hangs_up),
		cmocka_unit_test(called_hangs_up),
		cmocka_unit_test(disconnect_says_bye_both_ways),
		cmocka_unit_test(rejection_passes_back),
		cmocka_unit_test(next_target_is_tried),
		cmocka_unit_test(cancel_reaches_the_called),
		cmocka_unit_test(answer_crosses_cancel),
		cmocka_unit_test(answer_after_the_end_is_hung_up),
		cmocka_unit_test(hold_and_its_failure),
		cmocka_unit_test(late_offer_is_answered_in_the_ack),
		cmocka_unit_test(info_goes_through_both_ways),
		cmocka_unit_test(missing_ack_ends_the_call),
		cmocka_unit_test(endless_ringing_ends),
		cmocka_unit_test(refused_offer_and_stranger),
		cmocka_unit_test(second_fork_is_hung_up),
		cmocka_unit_test(other_bodies_do_not_pass),
		cmocka_unit_test(lost_phone_ends_the_call_after_a_while),
		cmocka_unit_test(requests_after_the_end_get_481),
		cmocka_unit_test(silent_reinvite_is_given_up),
		cmocka_unit_test(odd_call_id_is_listed),
		cmocka_unit_test(own_invite_comes_back),
		cmocka_unit_test(call_limit),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
