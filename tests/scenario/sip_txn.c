/* RFC 3261 17 and RFC 6026 played on a fake clock and a fake network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sip/txn.h"
#include "support/alloc_fail.h"

#define MAX_SENT 64

struct net {
	struct timerq timers;
	struct txn_layer *txns;
	bool reliable;
	int send_error;
	char *sent[MAX_SENT];
	size_t n_sent;
	struct txn_server *server;
	int n_requests, n_acks, n_cancelled;
	int last_status, n_responses, failed, n_done;
};

static const struct txn_timers conf = { 500, 4000, 5000, 8, 264000 };
static const struct addr peer = { .ip = { 192, 0, 2, 7 }, .port = 5060, .family = ADDR_IP4 };

static int net_send(void *arg, uint64_t flow, struct slice m)
{
	struct net *n = arg;

	if (n->send_error)
		return n->send_error;
	if (n->n_sent < MAX_SENT)
		n->sent[n->n_sent++] = strndup(m.p, m.n);
	return 0;
}

static bool net_reliable(void *arg, uint64_t flow)
{
	return ((struct net *)arg)->reliable;
}

static void on_request(void *arg, struct txn_server *t, struct sip_msg *m)
{
	struct net *n = arg;

	n->n_requests++;
	n->server = t;
}

static void on_ack(void *arg, uint64_t flow, struct sip_msg *m)
{
	((struct net *)arg)->n_acks++;
}

static void on_cancelled(void *arg, struct txn_server *t, struct sip_msg *m)
{
	struct net *n = arg;

	n->n_cancelled++;
	txn_server_reply(t, 487, NULL, NULL);
}

static unsigned net_share(void *arg, uint64_t flow)
{
	return flow == 9 ? 150 : 100;
}

static const struct txn_ops ops = { net_send,	net_reliable, net_share,
				    on_request, on_ack,	      on_cancelled };

static void on_response(void *arg, struct txn_client *c, struct sip_msg *m)
{
	struct net *n = arg;

	n->n_responses++;
	n->last_status = m->status;
}

static void on_failed(void *arg, struct txn_client *c, int status, const char *why)
{
	((struct net *)arg)->failed = status;
}

static void on_done(void *arg, struct txn_client *c)
{
	((struct net *)arg)->n_done++;
}

static const struct txn_client_events events = { on_response, on_failed, on_done };

static void net_init(struct net *n, bool reliable)
{
	static const uint8_t seed[16] = { 1 };

	*n = (struct net){ .reliable = reliable };
	timerq_init(&n->timers, 0);
	n->txns = txn_layer_new(&n->timers, &conf, seed, &ops, n);
}

static void forget(struct net *n)
{
	while (n->n_sent)
		free(n->sent[--n->n_sent]);
}

static void net_fini(struct net *n)
{
	txn_layer_free(n->txns);
	forget(n);
	timerq_fini(&n->timers);
}

/* Turns the clock in steps, so that timers fire at their own times. */
static void pass(struct net *n, int64_t ms)
{
	int64_t end = n->timers.now_ms + ms, next;

	while ((next = timerq_next(&n->timers)) >= 0 && n->timers.now_ms + next <= end)
		timerq_run(&n->timers, n->timers.now_ms + next);
	timerq_run(&n->timers, end);
}

static void input(struct net *n, const char *text)
{
	struct sip_msg *m = NULL;
	struct sip_reject why;

	if (sip_msg_parse(slice_of(text), false, &m, &why) == 0)
		txn_layer_input(n->txns, 1, &peer, m);
	sip_msg_unref(m);
}

static void request(struct net *n, const char *method, const char *branch)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "%s sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP "
		 "192.0.2.7:5060;branch=%s;rport\r\n"
		 "Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a1\r\nTo: "
		 "<sip:bob@example.com>%s\r\n"
		 "Call-ID: c1\r\nCSeq: 1 %s\r\nContact: <sip:alice@192.0.2.7>\r\nContent-Length: "
		 "0\r\n\r\n",
		 method, branch, strcmp(method, "ACK") == 0 ? ";tag=x" : "", method);
	input(n, text);
}

static void response(struct net *n, int status, const char *branch, const char *method)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "SIP/2.0 %d X\r\nVia: SIP/2.0/UDP 198.51.100.1;branch=%s\r\n"
		 "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>;tag=b%d\r\n"
		 "Call-ID: c1\r\nCSeq: 7 %s\r\nContent-Length: 0\r\n\r\n",
		 status, branch, status, method);
	input(n, text);
}

static struct txn_client *start(struct net *n, const char *method, const char *branch)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "%s sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;branch=%s\r\n"
		 "Route: <sip:192.0.2.9;lr>\r\nMax-Forwards: 70\r\nFrom: "
		 "<sip:alice@example.com>;tag=a1\r\n"
		 "To: <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 7 %s\r\nContent-Length: "
		 "0\r\n\r\n",
		 method, branch, method);
	return txn_client_new(n->txns, 1, branch, slice_of(text), &events, n);
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* 17.1.1.2: A at 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s; B at 32 s. */
static void invite_client_times_out_over_udp(void **state)
{
	struct net n;

	net_init(&n, false);
	assert_non_null(start(&n, "INVITE", "z9hG4bKa"));
	assert_int_equal(n.n_sent, 1);
	pass(&n, 499);
	assert_int_equal(n.n_sent, 1);
	pass(&n, 1);
	assert_int_equal(n.n_sent, 2);
	pass(&n, 31000);
	assert_int_equal(n.n_sent, 7);
	assert_int_equal(n.failed, 0);
	pass(&n, 500);
	assert_int_equal(n.failed, 408);
	assert_int_equal(n.n_done, 1);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

static void invite_client_does_not_repeat_over_tcp(void **state)
{
	struct net n;

	net_init(&n, true);
	start(&n, "INVITE", "z9hG4bKa");
	pass(&n, 31999);
	assert_int_equal(n.n_sent, 1);
	assert_int_equal(n.failed, 0);
	pass(&n, 1);
	assert_int_equal(n.failed, 408);
	net_fini(&n);
}

/* 17.1.1.3: same branch, Route and CSeq number, To of the response. */
static void invite_client_acks_failure(void **state)
{
	struct net n;

	net_init(&n, false);
	start(&n, "INVITE", "z9hG4bKa");
	response(&n, 180, "z9hG4bKa", "INVITE");
	pass(&n, 60000);
	assert_int_equal(n.n_sent, 1); /* ringing stops A and B */
	response(&n, 486, "z9hG4bKa", "INVITE");
	assert_int_equal(n.last_status, 486);
	assert_int_equal(n.n_sent, 2);
	assert_true(starts(n.sent[1], "ACK sip:bob@example.com SIP/2.0\r\n"));
	assert_non_null(strstr(n.sent[1], "branch=z9hG4bKa"));
	assert_non_null(strstr(n.sent[1], "Route: <sip:192.0.2.9;lr>"));
	assert_non_null(strstr(n.sent[1], "CSeq: 7 ACK"));
	assert_non_null(strstr(n.sent[1], "tag=b486"));
	response(&n, 486, "z9hG4bKa", "INVITE");
	assert_int_equal(n.n_sent, 3); /* again, but the user hears it once */
	assert_int_equal(n.n_responses, 2);
	pass(&n, 32000); /* D */
	assert_int_equal(n.n_done, 1);
	net_fini(&n);
}

/* RFC 6026: a 2xx and its forks and repeats reach the user for 64*T1. */
static void invite_client_accepts_more_2xx(void **state)
{
	struct net n;

	net_init(&n, true);
	start(&n, "INVITE", "z9hG4bKa");
	response(&n, 200, "z9hG4bKa", "INVITE");
	response(&n, 200, "z9hG4bKa", "INVITE");
	assert_int_equal(n.n_responses, 2);
	assert_int_equal(n.n_sent, 1); /* no ACK from here */
	pass(&n, 31999);
	assert_int_equal(n.n_done, 0);
	pass(&n, 1);
	assert_int_equal(n.n_done, 1);
	net_fini(&n);
}

/* 9.1: CANCEL waits for a provisional answer, and copies branch and CSeq number. */
static void cancel_waits_for_provisional(void **state)
{
	struct net n;
	struct txn_client *c;

	net_init(&n, true);
	c = start(&n, "INVITE", "z9hG4bKa");
	txn_client_cancel(c);
	assert_int_equal(n.n_sent, 1);
	response(&n, 180, "z9hG4bKa", "INVITE");
	assert_int_equal(n.n_sent, 2);
	assert_true(starts(n.sent[1], "CANCEL sip:bob@example.com"));
	assert_non_null(strstr(n.sent[1], "branch=z9hG4bKa"));
	assert_non_null(strstr(n.sent[1], "CSeq: 7 CANCEL"));
	response(&n, 200, "z9hG4bKa", "CANCEL");
	response(&n, 487, "z9hG4bKa", "INVITE");
	assert_int_equal(n.last_status, 487);
	net_fini(&n);
}

static void cancelled_invite_that_nobody_answers_ends(void **state)
{
	struct net n;
	struct txn_client *c;

	net_init(&n, true);
	c = start(&n, "INVITE", "z9hG4bKa");
	response(&n, 180, "z9hG4bKa", "INVITE");
	txn_client_cancel(c);
	pass(&n, 32000);
	assert_int_equal(n.failed, 487);
	assert_int_equal(n.n_done, 1);
	net_fini(&n);
}

/* 17.1.2.2: E doubles up to T2, and is T2 once a provisional came; F at 64*T1. */
static void other_client_repeats_up_to_t2(void **state)
{
	struct net n;

	net_init(&n, false);
	start(&n, "OPTIONS", "z9hG4bKo");
	pass(&n, 7500); /* 0.5 1.5 3.5 7.5 */
	assert_int_equal(n.n_sent, 5);
	pass(&n, 4000);
	assert_int_equal(n.n_sent, 6);
	response(&n, 200, "z9hG4bKo", "OPTIONS");
	pass(&n, 4999);
	assert_int_equal(n.n_done, 0); /* K takes repeats for T4 */
	response(&n, 200, "z9hG4bKo", "OPTIONS");
	assert_int_equal(n.n_responses, 1);
	pass(&n, 1);
	assert_int_equal(n.n_done, 1);
	net_fini(&n);
}

static void client_hears_of_a_dead_flow(void **state)
{
	struct net n;

	net_init(&n, true);
	start(&n, "INVITE", "z9hG4bKa");
	txn_layer_flow_closed(n.txns, 1, "reset by peer");
	assert_int_equal(n.failed, 0);
	pass(&n, 0);
	assert_int_equal(n.failed, 503);
	assert_int_equal(n.n_done, 1);
	n.send_error = -32;
	n.failed = 0;
	start(&n, "OPTIONS", "z9hG4bKb");
	pass(&n, 0);
	assert_int_equal(n.failed, 503);
	net_fini(&n);
}

/* 17.2.1: repeats of the INVITE get the last answer; G repeats the failure until the ACK; I
 * absorbs. */
static void invite_server_repeats_failure_until_ack(void **state)
{
	struct net n;

	net_init(&n, false);
	request(&n, "INVITE", "z9hG4bKs");
	assert_int_equal(n.n_requests, 1);
	txn_server_reply(n.server, 100, NULL, NULL);
	request(&n, "INVITE", "z9hG4bKs");
	assert_int_equal(n.n_requests, 1);
	assert_int_equal(n.n_sent, 2);
	assert_string_equal(n.sent[0], n.sent[1]);
	txn_server_reply(n.server, 486, NULL, NULL);
	pass(&n, 1500);
	assert_int_equal(n.n_sent, 5);
	assert_true(starts(n.sent[4], "SIP/2.0 486"));
	assert_non_null(strstr(n.sent[4], ";received=192.0.2.7"));
	assert_non_null(strstr(n.sent[4], "rport=5060"));
	request(&n, "ACK", "z9hG4bKs");
	assert_int_equal(n.n_acks, 0);
	pass(&n, 4000);
	assert_int_equal(n.n_sent, 5);
	assert_int_equal(txn_layer_count(n.txns), 1);
	pass(&n, 1000);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

static void invite_server_gives_up_without_ack(void **state)
{
	struct net n;

	net_init(&n, false);
	request(&n, "INVITE", "z9hG4bKs");
	txn_server_reply(n.server, 404, NULL, NULL);
	pass(&n, 31999);
	assert_int_equal(txn_layer_count(n.txns), 1);
	pass(&n, 1);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

/* RFC 6026 7.1: after a 2xx repeats of the INVITE are absorbed and the ACK goes to the user. */
static void invite_server_accepted(void **state)
{
	struct net n;

	net_init(&n, false);
	request(&n, "INVITE", "z9hG4bKs");
	txn_server_reply(n.server, 200, NULL, NULL);
	request(&n, "INVITE", "z9hG4bKs");
	assert_int_equal(n.n_requests, 1);
	assert_int_equal(n.n_sent, 1);
	assert_int_equal(txn_server_respond(n.server, 200, slice_of(n.sent[0])), 0);
	assert_int_equal(n.n_sent, 2);
	assert_int_equal(txn_server_reply(n.server, 486, NULL, NULL), -114); /* EALREADY */
	request(&n, "ACK", "z9hG4bKt");
	assert_int_equal(n.n_acks, 1);
	pass(&n, 32000);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

static void cancel_finds_its_invite(void **state)
{
	struct net n;

	net_init(&n, true);
	request(&n, "CANCEL", "z9hG4bKx");
	assert_true(starts(n.sent[0], "SIP/2.0 481"));
	request(&n, "INVITE", "z9hG4bKs");
	request(&n, "CANCEL", "z9hG4bKs");
	assert_int_equal(n.n_cancelled, 1);
	assert_true(starts(n.sent[1], "SIP/2.0 200"));
	assert_true(starts(n.sent[2], "SIP/2.0 487"));
	request(&n, "ACK", "z9hG4bKs");
	pass(&n, 1);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

/* 17.2.2: J keeps the answer for repeats on UDP only. */
static void other_server_keeps_answer(void **state)
{
	struct net n;

	net_init(&n, false);
	request(&n, "OPTIONS", "z9hG4bKo");
	request(&n, "OPTIONS", "z9hG4bKo");
	assert_int_equal(n.n_sent, 0); /* TRYING: dropped */
	txn_server_reply(n.server, 200, NULL, NULL);
	request(&n, "OPTIONS", "z9hG4bKo");
	assert_int_equal(n.n_sent, 2);
	assert_int_equal(n.n_requests, 1);
	pass(&n, 32000);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

/* The table's bound: the request after the last place gets 503 and leaves nothing behind. */
static void full_table_answers_503(void **state)
{
	struct net n;
	char branch[32];

	net_init(&n, true);
	for (int i = 0; i < 8; i++) {
		snprintf(branch, sizeof(branch), "z9hG4bK%d", i);
		request(&n, "OPTIONS", branch);
	}
	assert_int_equal(n.n_requests, 8);
	assert_int_equal(n.n_sent, 0);
	request(&n, "OPTIONS", "z9hG4bK8");
	assert_int_equal(n.n_requests, 8);
	assert_true(starts(n.sent[0], "SIP/2.0 503"));
	assert_non_null(strstr(n.sent[0], "Retry-After: 5"));
	assert_null(start(&n, "OPTIONS", "z9hG4bKc"));
	txn_server_reply(n.server, 200, NULL, NULL);
	pass(&n, 0);
	request(&n, "OPTIONS", "z9hG4bK9");
	assert_int_equal(n.n_requests, 9);
	net_fini(&n);
}

/* An answer that does not fit (the request is all Via) is not sent; the transaction goes all the
 * same. */
static void unprintable_answer_leaves_nothing(void **state)
{
	struct net n;
	struct buf text;

	net_init(&n, false);
	buf_init(&text, 40000);
	buf_add_str(
		&text,
		"OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bKbig\r\n");
	for (int i = 0; i < 200; i++)
		buf_printf(&text, "v: SIP/2.0/UDP p;branch=z9hG4bK%0120d\r\n", i);
	buf_add_str(&text,
		    "From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: b\r\n"
		    "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
	input(&n, text.p);
	buf_fini(&text);
	if (n.n_requests)
		txn_server_reply(n.server, 403, NULL, NULL);
	pass(&n, 64000);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

static void unanswered_request_is_dropped_in_the_end(void **state)
{
	struct net n;

	net_init(&n, true);
	request(&n, "OPTIONS", "z9hG4bKo");
	pass(&n, 263999);
	assert_int_equal(txn_layer_count(n.txns), 1);
	pass(&n, 1);
	assert_int_equal(txn_layer_count(n.txns), 0);
	net_fini(&n);
}

/* A flow with a larger share (the traversal link) has places when everybody else's are taken. */
static void link_has_places_in_a_flood(void **state)
{
	struct net n;
	char branch[32];
	struct sip_msg *m = NULL;
	struct sip_reject why;

	net_init(&n, true);
	for (int i = 0; i < 9; i++) {
		snprintf(branch, sizeof(branch), "z9hG4bK%d", i);
		request(&n, "OPTIONS", branch);
	}
	assert_int_equal(n.n_requests, 8);
	assert_int_equal(
		sip_msg_parse(
			SLICE("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TLS l;branch=z9hG4bKl\r\n"
			      "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: l\r\n"
			      "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"),
			true, &m, &why),
		0);
	assert_int_equal(txn_layer_input(n.txns, 9, &peer, m), 0);
	sip_msg_unref(m);
	assert_int_equal(n.n_requests, 9);
	net_fini(&n);
}

static void one_run(void *arg)
{
	struct net n;

	net_init(&n, false);
	if (!n.txns) {
		timerq_fini(&n.timers);
		return;
	}
	request(&n, "INVITE", "z9hG4bKs");
	if (n.server)
		txn_server_reply(n.server, 486, NULL, NULL);
	request(&n, "ACK", "z9hG4bKs");
	start(&n, "INVITE", "z9hG4bKa");
	response(&n, 486, "z9hG4bKa", "INVITE");
	pass(&n, 100000);
	net_fini(&n);
}

static void survives_failing_allocations(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(invite_client_times_out_over_udp),
		cmocka_unit_test(invite_client_does_not_repeat_over_tcp),
		cmocka_unit_test(invite_client_acks_failure),
		cmocka_unit_test(invite_client_accepts_more_2xx),
		cmocka_unit_test(cancel_waits_for_provisional),
		cmocka_unit_test(cancelled_invite_that_nobody_answers_ends),
		cmocka_unit_test(other_client_repeats_up_to_t2),
		cmocka_unit_test(client_hears_of_a_dead_flow),
		cmocka_unit_test(invite_server_repeats_failure_until_ack),
		cmocka_unit_test(invite_server_gives_up_without_ack),
		cmocka_unit_test(invite_server_accepted),
		cmocka_unit_test(cancel_finds_its_invite),
		cmocka_unit_test(other_server_keeps_answer),
		cmocka_unit_test(full_table_answers_503),
		cmocka_unit_test(unprintable_answer_leaves_nothing),
		cmocka_unit_test(unanswered_request_is_dropped_in_the_end),
		cmocka_unit_test(link_has_places_in_a_flood),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
