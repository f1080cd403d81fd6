#include "sip/txn_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct txn_client_events no_events;

static void tell_failed(struct txn_client *c, int status, const char *why)
{
	if (c->events->failed)
		c->events->failed(c->arg, c, status, why);
}

void txn_client_end(struct txn_client *c)
{
	struct txn *t = &c->t;

	if (t->state == TXN_TERMINATED)
		return;
	txn_set_state(t, TXN_TERMINATED);
	timer_stop(t->layer->timers, &t->retransmit);
	timer_stop(t->layer->timers, &t->life);
	timer_stop(t->layer->timers, &c->error);
	htab_del(&t->layer->client, &t->node);
	if (c->events->done)
		c->events->done(c->arg, c);
	free(t->key);
	free(t->last);
	free(c);
}

static void on_error(void *arg)
{
	struct txn_client *c = arg;

	if (c->t.state == TXN_CALLING || c->t.state == TXN_PROCEEDING)
		tell_failed(c, 503, c->error_why);
	txn_client_end(c);
}

void txn_client_transport_error(struct txn_client *c, const char *why)
{
	if (timer_armed(&c->error))
		return;
	c->t.flow_dead = true;
	slice_copy(c->error_why, sizeof(c->error_why), slice_of(why));
	timer_start(c->t.layer->timers, &c->error, 0);
}

static void send_last(struct txn_client *c)
{
	struct txn *t = &c->t;
	int err;

	if (t->flow_dead)
		return;
	err = t->layer->ops->send(t->layer->arg, t->flow, (struct slice){ t->last, t->last_n });
	if (err < 0)
		txn_client_transport_error(c, strerror(-err));
}

/* A doubles without limit, E up to T2; in PROCEEDING E stays at T2. */
static void on_retransmit(void *arg)
{
	struct txn_client *c = arg;
	struct txn *t = &c->t;
	uint32_t t2 = t->layer->conf.t2_ms;

	send_last(c);
	t->interval_ms *= 2;
	if (!t->is_invite && (t->interval_ms > t2 || t->state == TXN_PROCEEDING))
		t->interval_ms = t2;
	timer_start(t->layer->timers, &t->retransmit, t->interval_ms);
}

/* B, F: time-out. D, K, M: the end. After CANCEL: the INVITE was never answered. */
static void on_life(void *arg)
{
	struct txn_client *c = arg;

	if (c->t.state == TXN_CALLING || c->t.state == TXN_PROCEEDING)
		tell_failed(c, c->cancel_sent ? 487 : 408, "no final response in time");
	txn_client_end(c);
}

struct txn_client *txn_client_new(struct txn_layer *l, uint64_t flow, const char *branch,
				  struct slice message, const struct txn_client_events *events,
				  void *arg)
{
	struct txn_client *c;
	struct slice method = { message.p, slice_find(message, ' ') };

	if (txn_table_full(l, flow))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->t.last = slice_dup(message);
	c->t.last_n = message.n;
	c->method = sip_method_parse(method);
	if (!c->t.last || asprintf(&c->t.key, "%s|%.*s", branch, SLICE_ARG(method)) < 0) {
		free(c->t.last);
		free(c);
		return NULL;
	}
	c->t.key_n = strlen(c->t.key);
	c->t.layer = l;
	c->t.flow = flow;
	c->t.reliable = l->ops->is_reliable(l->arg, flow);
	c->t.is_invite = c->method == SIP_INVITE;
	c->t.state = TXN_CALLING;
	c->t.interval_ms = l->conf.t1_ms;
	c->events = events;
	c->arg = arg;
	timer_init(&c->t.retransmit, on_retransmit, c);
	timer_init(&c->t.life, on_life, c);
	timer_init(&c->error, on_error, c);
	htab_add(&l->client, &c->t.node);
	if (!c->t.reliable)
		timer_start(l->timers, &c->t.retransmit, c->t.interval_ms);
	timer_start(l->timers, &c->t.life, 64 * l->conf.t1_ms);
	send_last(c);
	return c;
}

/* A request inside this transaction: ACK to a non-2xx (RFC 3261 17.1.1.3) or CANCEL (9.1). Both
 * copy Request-URI, topmost Via, From, Call-ID, CSeq number and Route of the INVITE. */
static void send_derived(struct txn_client *c, const char *method, struct slice to, bool as_txn)
{
	struct slice invite = { c->t.last, c->t.last_n };
	struct sip_msg *m = NULL;
	struct sip_reject why;
	struct sip_build b;
	struct slice out;

	sip_build_init(&b);
	if (sip_msg_parse(invite, true, &m, &why) < 0)
		goto out;
	sip_build_request(&b, slice_of(method), m->uri);
	sip_build_hdr_slice(&b, SIP_HDR_VIA, sip_msg_hdr(m, SIP_HDR_VIA));
	sip_build_copy_id(&b, m, SIP_HDR_ROUTE);
	sip_build_hdr(&b, SIP_HDR_MAX_FORWARDS, "70");
	sip_build_hdr_slice(&b, SIP_HDR_FROM, sip_msg_hdr(m, SIP_HDR_FROM));
	sip_build_hdr_slice(&b, SIP_HDR_TO, to.p ? to : sip_msg_hdr(m, SIP_HDR_TO));
	sip_build_hdr_slice(&b, SIP_HDR_CALL_ID, m->call_id);
	sip_build_hdr(&b, SIP_HDR_CSEQ, "%u %s", m->cseq, method);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	out = sip_build_done(&b);
	if (!out.p)
		goto out;
	if (as_txn) {
		char branch[128];

		slice_copy(branch, sizeof(branch), m->via.branch);
		txn_client_new(c->t.layer, c->t.flow, branch, out, &no_events, NULL);
	} else if (!c->t.flow_dead) {
		c->t.layer->ops->send(c->t.layer->arg, c->t.flow, out);
	}
out:
	sip_msg_unref(m);
	sip_build_fini(&b);
}

static void send_cancel(struct txn_client *c)
{
	c->cancel_sent = true;
	send_derived(c, "CANCEL", SLICE_NONE, true);
	timer_start(c->t.layer->timers, &c->t.life, 64 * c->t.layer->conf.t1_ms);
}

void txn_client_cancel(struct txn_client *c)
{
	if (c->method != SIP_INVITE || c->cancel_wanted)
		return;
	c->cancel_wanted = true;
	if (c->t.state == TXN_PROCEEDING)
		send_cancel(c);
}

static void on_provisional(struct txn_client *c)
{
	struct txn *t = &c->t;

	if (t->is_invite) {
		timer_stop(t->layer->timers, &t->retransmit);
		/* Timer B is over; how long it may ring is the user's timer C. */
		if (!c->cancel_sent)
			timer_stop(t->layer->timers, &t->life);
	}
	txn_set_state(t, TXN_PROCEEDING);
	if (c->cancel_wanted && !c->cancel_sent)
		send_cancel(c);
}

static void on_final(struct txn_client *c, const struct sip_msg *m)
{
	struct txn *t = &c->t;
	const struct txn_timers *conf = &t->layer->conf;
	uint32_t life;

	timer_stop(t->layer->timers, &t->retransmit);
	if (t->is_invite && m->status < 300) {
		txn_set_state(t, TXN_ACCEPTED);
		life = 64 * conf->t1_ms; /* M */
	} else if (t->is_invite) {
		txn_set_state(t, TXN_COMPLETED);
		send_derived(c, "ACK", sip_msg_hdr(m, SIP_HDR_TO), false);
		life = txn_unless_reliable(t, 32000); /* D */
	} else {
		txn_set_state(t, TXN_COMPLETED);
		life = txn_unless_reliable(t, conf->t4_ms); /* K */
	}
	timer_start(t->layer->timers, &t->life, life);
}

static void in_state(struct txn_client *c, struct sip_msg *m)
{
	bool is_open = c->t.state == TXN_CALLING || c->t.state == TXN_PROCEEDING;
	const struct txn_client_events *events = c->events;

	if (is_open && m->status < 200)
		on_provisional(c);
	else if (is_open)
		on_final(c, m);
	else if (c->t.state == TXN_COMPLETED && c->t.is_invite && m->status >= 300)
		return send_derived(c, "ACK", sip_msg_hdr(m, SIP_HDR_TO), false);
	else if (c->t.state != TXN_ACCEPTED || m->status < 200 || m->status > 299)
		return;
	if (events->response)
		events->response(c->arg, c, m);
}

int txn_client_input(struct txn_layer *l, uint64_t flow, struct sip_msg *m)
{
	char key[256];
	struct htab_node *n;
	int len = snprintf(key, sizeof(key), "%.*s|%.*s", SLICE_ARG(m->via.branch),
			   SLICE_ARG(m->method_name));

	if (len < 0 || (size_t)len >= sizeof(key))
		return -ENOENT;
	n = htab_get(&l->client, (struct slice){ key, (size_t)len });
	if (!n)
		return -ENOENT;
	in_state(CONTAINER_OF(n, struct txn_client, t.node), m);
	return 0;
}

void txn_client_detach(struct txn_client *c)
{
	c->events = &no_events;
}

uint64_t txn_client_flow(const struct txn_client *c)
{
	return c->t.flow;
}
