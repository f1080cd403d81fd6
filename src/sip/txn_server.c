#include "sip/txn_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* RFC 3261 17.2.3: branch, sent-by and method (ACK counts as INVITE); peers of RFC 2543 without the
 * magic cookie are matched by Request-URI, tags, Call-ID, CSeq and the whole Via. */
static void server_key(struct buf *b, const struct sip_msg *m, enum sip_method method)
{
	const struct sip_via *v = &m->via;

	if (slice_starts(v->branch, SLICE("z9hG4bK"))) {
		buf_printf(b, "%.*s|%.*s:%u|", SLICE_ARG(v->branch), SLICE_ARG(v->host), v->port);
	} else {
		buf_printf(b, "2543|%.*s|%.*s|%.*s|%u|%.*s|", SLICE_ARG(m->uri),
			   SLICE_ARG(m->from_tag), SLICE_ARG(m->call_id), m->cseq,
			   SLICE_ARG(sip_msg_hdr(m, SIP_HDR_VIA)));
	}
	if (method == SIP_OTHER_METHOD)
		buf_add_slice(b, m->method_name);
	else
		buf_add_str(b, sip_method_str(method));
}

static struct txn_server *find(struct txn_layer *l, const struct sip_msg *m, enum sip_method method,
			       struct buf *key)
{
	struct htab_node *n;

	buf_reset(key);
	server_key(key, m, method);
	if (key->failed)
		return NULL;
	n = htab_get(&l->server, buf_slice(key));
	return n ? CONTAINER_OF(n, struct txn_server, t.node) : NULL;
}

static void resend(struct txn_server *s)
{
	struct txn *t = &s->t;

	if (t->last && !t->flow_dead)
		t->layer->ops->send(t->layer->arg, t->flow, (struct slice){ t->last, t->last_n });
}

/* Timer G: INVITE final responses go out again until the ACK, T1 doubling up to T2. */
static void on_retransmit(void *arg)
{
	struct txn_server *s = arg;
	struct txn *t = &s->t;

	resend(s);
	t->interval_ms *= 2;
	if (t->interval_ms > t->layer->conf.t2_ms)
		t->interval_ms = t->layer->conf.t2_ms;
	timer_start(t->layer->timers, &t->retransmit, t->interval_ms);
}

/* H (no ACK), I, J, L. */
static void on_life(void *arg)
{
	txn_server_end(arg);
}

void txn_server_end(struct txn_server *s)
{
	struct txn *t = &s->t;

	if (t->state == TXN_TERMINATED)
		return;
	txn_set_state(t, TXN_TERMINATED);
	timer_stop(t->layer->timers, &t->retransmit);
	timer_stop(t->layer->timers, &t->life);
	htab_del(&t->layer->server, &t->node);
	if (s->on_end)
		s->on_end(s->user, s);
	if (s->request)
		sip_msg_unref(s->request);
	free(t->key);
	free(t->last);
	free(s);
}

static struct txn_server *server_new(struct txn_layer *l, uint64_t flow, const struct addr *from,
				     struct sip_msg *m, struct buf *key)
{
	struct txn_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->t.key_n = key->n;
	s->t.key = buf_take(key);
	if (!s->t.key) {
		free(s);
		return NULL;
	}
	s->t.layer = l;
	s->t.flow = flow;
	s->t.reliable = l->ops->is_reliable(l->arg, flow);
	s->t.is_invite = m->method == SIP_INVITE;
	s->t.state = m->method == SIP_INVITE ? TXN_PROCEEDING : TXN_CALLING;
	s->request = sip_msg_ref(m);
	s->from = *from;
	timer_init(&s->t.retransmit, on_retransmit, s);
	timer_init(&s->t.life, on_life, s);
	txn_random_text(l, s->to_tag, sizeof(s->to_tag));
	htab_add(&l->server, &s->t.node);
	/* Whoever forgets to answer must not keep it for ever. */
	timer_start(l->timers, &s->t.life, l->conf.guard_ms);
	return s;
}

static int send_stateless(struct txn_layer *l, uint64_t flow, const struct addr *from,
			  const struct sip_msg *m, int status, const char *phrase,
			  const char *extra, const char *to_tag)
{
	struct sip_build b;
	struct slice out;
	int err = -EINVAL;

	sip_build_init(&b);
	sip_build_response(&b, m, status, phrase, slice_of(to_tag), from);
	if (extra)
		buf_add_str(&b.b, extra);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	out = sip_build_done(&b);
	if (out.p)
		err = l->ops->send(l->arg, flow, out);
	sip_build_fini(&b);
	return err;
}

/* RFC 3261 9.2. The CANCEL has a transaction of its own, answered at once. */
static void on_cancel(struct txn_layer *l, struct txn_server *cancel, struct txn_server *invite,
		      struct sip_msg *m)
{
	if (!invite) {
		txn_server_reply(cancel, 481, NULL, NULL);
		return;
	}
	slice_copy(cancel->to_tag, sizeof(cancel->to_tag), slice_of(invite->to_tag));
	txn_server_reply(cancel, 200, NULL, NULL);
	if (txn_server_pending(invite))
		l->ops->cancelled(l->arg, invite, m);
}

static void on_ack(struct txn_layer *l, uint64_t flow, struct txn_server *s, struct sip_msg *m)
{
	if (!s || s->t.state == TXN_ACCEPTED) {
		/* To a 2xx: end to end, a transaction of its own (RFC 6026 7.1 lets it through). */
		l->ops->ack(l->arg, flow, m);
		return;
	}
	if (s->t.state != TXN_COMPLETED)
		return;
	txn_set_state(&s->t, TXN_CONFIRMED);
	timer_stop(l->timers, &s->t.retransmit);
	timer_start(l->timers, &s->t.life, txn_unless_reliable(&s->t, l->conf.t4_ms)); /* I */
}

int txn_server_input(struct txn_layer *l, uint64_t flow, const struct addr *from, struct sip_msg *m)
{
	struct txn_server *s, *invite = NULL;
	struct buf key;
	int err = 0;

	buf_init(&key, SIP_MAX_MESSAGE_BYTES);
	if (m->method == SIP_ACK) {
		on_ack(l, flow, find(l, m, SIP_INVITE, &key), m);
		goto out;
	}
	if (m->method == SIP_CANCEL)
		invite = find(l, m, SIP_INVITE, &key);
	s = find(l, m, m->method, &key);
	if (s) {
		/* The same request again, perhaps on a new connection of the same sender. */
		if (s->t.flow_dead) {
			s->t.flow = flow;
			s->t.flow_dead = false;
		}
		if (s->t.state == TXN_PROCEEDING || s->t.state == TXN_COMPLETED)
			resend(s);
		goto out;
	}
	if (txn_table_full(l, flow)) {
		send_stateless(l, flow, from, m, 503, NULL, "Retry-After: 5\r\n", "overload");
		err = -EAGAIN;
		goto out;
	}
	s = key.failed ? NULL : server_new(l, flow, from, m, &key);
	if (!s) {
		err = -ENOMEM;
		goto out;
	}
	if (m->method == SIP_CANCEL)
		on_cancel(l, s, invite, m);
	else
		l->ops->request(l->arg, s, m);
out:
	buf_fini(&key);
	return err;
}

static void after_final(struct txn_server *s, int status)
{
	struct txn *t = &s->t;
	const struct txn_timers *c = &t->layer->conf;
	uint32_t life = 64 * c->t1_ms;

	s->final_sent = true;
	/* Only repeats are to come, and they are answered from `last`. */
	sip_msg_unref(s->request);
	s->request = NULL;
	if (t->is_invite && status < 300) {
		txn_set_state(t, TXN_ACCEPTED); /* L */
	} else if (t->is_invite) {
		txn_set_state(t, TXN_COMPLETED); /* G, H */
		if (!t->reliable) {
			t->interval_ms = c->t1_ms;
			timer_start(t->layer->timers, &t->retransmit, t->interval_ms);
		}
	} else {
		txn_set_state(t, TXN_COMPLETED);
		life = txn_unless_reliable(t, life); /* J */
	}
	timer_start(t->layer->timers, &t->life, life);
}

int txn_server_respond(struct txn_server *s, int status, struct slice message)
{
	struct txn *t = &s->t;
	bool again = t->state == TXN_ACCEPTED && status >= 200 && status < 300;
	char *copy;
	int err = 0;

	if (s->final_sent && !again)
		return -EALREADY;
	copy = slice_dup(message);
	if (copy) {
		free(t->last);
		t->last = copy;
		t->last_n = message.n;
	}
	if (!t->flow_dead)
		err = t->layer->ops->send(t->layer->arg, t->flow, message);
	if (status >= 200 && !again)
		after_final(s, status);
	else if (status < 200 && t->state == TXN_CALLING)
		txn_set_state(t, TXN_PROCEEDING);
	return err;
}

/* An answer that cannot be printed (the request's Via fill it) is never sent: the transaction must
 * not stay for that. */
static void give_up(struct txn_server *s)
{
	if (s->final_sent)
		return;
	s->final_sent = true;
	txn_set_state(&s->t, TXN_COMPLETED);
	timer_start(s->t.layer->timers, &s->t.life, 0);
}

int txn_server_reply(struct txn_server *s, int status, const char *phrase, const char *extra)
{
	struct sip_build b;
	struct slice out;
	int err = -ENOMEM;

	if (!s->request)
		return -EALREADY;
	sip_build_init(&b);
	sip_build_response(&b, s->request, status, phrase,
			   status == 100 ? SLICE_NONE : slice_of(s->to_tag), &s->from);
	if (extra)
		buf_add_str(&b.b, extra);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	out = sip_build_done(&b);
	if (out.p)
		err = txn_server_respond(s, status, out);
	else if (status >= 200)
		give_up(s);
	sip_build_fini(&b);
	return err;
}

struct sip_msg *txn_server_request(const struct txn_server *s)
{
	return s->request;
}

uint64_t txn_server_flow(const struct txn_server *s)
{
	return s->t.flow;
}

const struct addr *txn_server_from(const struct txn_server *s)
{
	return &s->from;
}

void txn_server_set_user(struct txn_server *s, void *user,
			 void (*on_end)(void *user, struct txn_server *t))
{
	s->user = user;
	s->on_end = on_end;
}

void *txn_server_user(const struct txn_server *s)
{
	return s->user;
}

bool txn_server_pending(const struct txn_server *s)
{
	return !s->final_sent;
}

const char *txn_server_to_tag(const struct txn_server *s)
{
	return s->to_tag;
}
