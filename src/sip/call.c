#include "sip/call_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "core/iso_time.h"
#include "core/log.h"
#include "core/trace.h"

static struct slice leg_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, struct leg, node)->key);
}

struct calls *calls_new(struct timerq *timers, struct txn_layer *txns, struct conn_table *conns,
			struct log *log, struct trace *trace, const struct calls_conf *conf,
			const uint8_t seed[16], const struct calls_ops *ops, void *arg)
{
	struct calls *cs = calloc(1, sizeof(*cs));

	if (!cs || htab_init(&cs->legs, seed, leg_key) < 0) {
		free(cs);
		return NULL;
	}
	list_init(&cs->all);
	cs->timers = timers;
	cs->txns = txns;
	cs->conns = conns;
	cs->log = log;
	cs->trace = trace;
	cs->conf = *conf;
	cs->ops = ops;
	cs->arg = arg;
	return cs;
}

void calls_configure(struct calls *cs, const struct calls_conf *conf)
{
	cs->conf = *conf;
}

void calls_set_media(struct calls *cs, const struct media_ops *ops, void *self)
{
	cs->media = ops;
	cs->media_self = self;
}

size_t calls_count(const struct calls *cs)
{
	return cs->n;
}

void call_random_text(struct calls *cs, char *out, size_t size)
{
	uint8_t raw[16];
	struct buf b;

	cs->ops->random(cs->arg, raw, sizeof(raw));
	buf_init(&b, 64);
	hex_encode(&b, raw, sizeof(raw));
	slice_copy(out, size, buf_slice(&b));
	buf_fini(&b);
}

static const char *state_str(enum call_state s)
{
	static const char *const names[] = { "setup", "ringing", "up", "ended" };

	return names[s];
}

void call_set_state(struct call *c, enum call_state s)
{
	if (c->state == s || c->state == CALL_ENDED)
		return;
	log_debug(c->cs->log, "call.state", "session=%s from=%s to=%s", c->conn.session,
		  state_str(c->state), state_str(s));
	c->state = s;
	c->conn.state = state_str(s);
	if (s == CALL_UP) {
		timer_stop(c->cs->timers, &c->timer_c);
		log_info(c->cs->log, "call.up", "session=%s from=%s to=%s", c->conn.session,
			 log_esc(slice_of(c->from)), log_esc(slice_of(c->to)));
	}
}

/* --- legs --- */

int leg_enter(struct leg *l)
{
	struct call *c = l->call;

	if (asprintf(&l->key, "%s|%s", l->d.call_id, l->d.local_tag) < 0) {
		l->key = NULL;
		return -ENOMEM;
	}
	htab_add(&c->cs->legs, &l->node);
	l->conn.kind = CONN_LEG;
	l->conn.parent = c->conn.id;
	memcpy(l->conn.session, c->conn.session, sizeof(l->conn.session));
	l->conn.state = dialog_state_str(l->d.state);
	if (conn_add(c->cs->conns, &l->conn) < 0)
		return -ENOSPC;
	leg_take_flow(l, &l->d.side);
	return 0;
}

void leg_take_flow(struct leg *l, const struct side *side)
{
	struct calls *cs = l->call->cs;

	if (l->holds_flow)
		cs->ops->hold_flow(cs->arg, l->d.side.flow, false);
	timer_stop(cs->timers, &l->lost);
	l->d.side = *side;
	cs->ops->hold_flow(cs->arg, side->flow, true);
	l->holds_flow = true;
	l->conn.transport = side->transport;
	l->conn.local = side->local;
	l->conn.remote = side->remote;
	slice_copy(l->conn.zone, sizeof(l->conn.zone), slice_of(side->zone));
}

void leg_leave(struct leg *l)
{
	struct calls *cs = l->call->cs;

	if (l->key) {
		htab_del(&cs->legs, &l->node);
		free(l->key);
		l->key = NULL;
		conn_end(cs->conns, &l->conn, "%s", l->call->conn.reason);
	}
	if (l->holds_flow)
		cs->ops->hold_flow(cs->arg, l->d.side.flow, false);
	l->holds_flow = false;
	timer_stop(cs->timers, &l->lost);
	dialog_fini(&l->d);
}

bool leg_reach(struct leg *l)
{
	struct calls *cs = l->call->cs;
	struct side side;

	if (!cs->ops->reach(cs->arg, dialog_next_hop(&l->d), &l->d.side, &side))
		return false;
	if (side.flow != l->d.side.flow)
		leg_take_flow(l, &side);
	return true;
}

/* --- exchanges --- */

static void on_server_end(void *user, struct txn_server *t)
{
	struct exchange *x = user;

	x->st = NULL;
	call_reap_soon(x->call);
}

static void on_resend(void *arg)
{
	struct exchange *x = arg;
	struct calls *cs = x->call->cs;

	if (x->st && x->ok)
		txn_server_respond(x->st, 200, slice_of(x->ok));
	x->interval_ms = x->interval_ms * 2 > cs->conf.t2_ms ? cs->conf.t2_ms : x->interval_ms * 2;
	timer_start(cs->timers, &x->resend, x->interval_ms);
}

static void on_ack_late(void *arg)
{
	struct exchange *x = arg;

	x->wants_ack = false;
	call_end(x->call, -1, "no ACK to the 200");
}

static void on_exchange_timer_c(void *arg)
{
	struct exchange *x = arg;

	if (x->ct)
		txn_client_cancel(x->ct);
}

struct exchange *call_exchange_new(struct call *c, unsigned from, struct txn_server *t,
				   enum sip_method m)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->call = c;
	x->from = from;
	x->st = t;
	x->method = m;
	timer_init(&x->resend, on_resend, x);
	timer_init(&x->ack_late, on_ack_late, x);
	timer_init(&x->timer_c, on_exchange_timer_c, x);
	list_add_tail(&c->exchanges, &x->node);
	txn_server_set_user(t, x, on_server_end);
	return x;
}

void exchange_done(struct exchange *x)
{
	struct calls *cs = x->call->cs;

	if (x->st) {
		txn_server_set_user(x->st, NULL, NULL);
		if (txn_server_pending(x->st))
			txn_server_reply(x->st, 481, NULL, NULL);
	}
	if (x->ct)
		txn_client_detach(x->ct);
	timer_stop(cs->timers, &x->resend);
	timer_stop(cs->timers, &x->ack_late);
	timer_stop(cs->timers, &x->timer_c);
	list_del(&x->node);
	free(x->ok);
	free(x->ack);
	free(x);
}

/* --- the end --- */

void call_reap_soon(struct call *c)
{
	if (!timer_armed(&c->reap))
		timer_start(c->cs->timers, &c->reap, 0);
}

static void call_free(struct call *c)
{
	struct calls *cs = c->cs;

	LIST_FOREACH_SAFE (it, &c->exchanges)
		exchange_done(CONTAINER_OF(it, struct exchange, node));
	timer_stop(cs->timers, &c->timer_c);
	timer_stop(cs->timers, &c->reap);
	leg_leave(&c->legs[0]);
	leg_leave(&c->legs[1]);
	list_del(&c->node);
	cs->n--;
	free(c);
}

/* An exchange of an ended call lives on only to ACK and BYE a 2xx that crosses our CANCEL. */
static bool exchange_is_over(const struct exchange *x)
{
	if (x->call->state == CALL_ENDED)
		return !(x->ct && x->is_initial && x->status == 0);
	return !x->st && !x->ct && !x->wants_ack;
}

static void on_reap(void *arg)
{
	struct call *c = arg;

	LIST_FOREACH_SAFE (it, &c->exchanges) {
		struct exchange *x = CONTAINER_OF(it, struct exchange, node);

		if (exchange_is_over(x))
			exchange_done(x);
	}
	if (c->state == CALL_ENDED && list_empty(&c->exchanges))
		call_free(c);
}

static void on_timer_c(void *arg)
{
	struct call *c = arg;

	/* RFC 3261 16.8: the caller hears 408. */
	LIST_FOREACH (it, &c->exchanges) {
		struct exchange *x = CONTAINER_OF(it, struct exchange, node);

		if (x->is_initial && x->st && txn_server_pending(x->st))
			txn_server_reply(x->st, 408, NULL, NULL);
	}
	call_end(arg, -1, "rang too long (timer-c)");
}

static void call_close(struct conn *conn, const char *reason)
{
	call_end(CONTAINER_OF(conn, struct call, conn), -1, reason);
}

void call_end(struct call *c, int except, const char *reason)
{
	struct calls *cs = c->cs;

	if (c->state == CALL_ENDED)
		return;
	LIST_FOREACH (it, &c->exchanges) {
		struct exchange *x = CONTAINER_OF(it, struct exchange, node);

		if (x->st && txn_server_pending(x->st))
			txn_server_reply(x->st,
					 c->cancelled	 ? 487
					 : x->is_initial ? 480
							 : 487,
					 NULL, NULL);
		if (x->ct && x->is_initial && x->status == 0)
			txn_client_cancel(x->ct);
		timer_stop(cs->timers, &x->resend);
		timer_stop(cs->timers, &x->ack_late);
		timer_stop(cs->timers, &x->timer_c);
	}
	for (unsigned i = 0; i < 2; i++) {
		if ((int)i != except && c->legs[i].d.state == DIALOG_CONFIRMED)
			call_send_bye(c, i);
		if (c->legs[i].d.state == DIALOG_CONFIRMED)
			c->legs[i].d.state = DIALOG_ENDED;
	}
	call_set_state(c, CALL_ENDED);
	timer_stop(cs->timers, &c->timer_c);
	if (cs->media && c->media)
		cs->media->session_free(cs->media_self, c->media, reason);
	c->media = 0;
	log_info(cs->log, "call.end", "session=%s from=%s to=%s reason=%s", c->conn.session,
		 log_esc(slice_of(c->from)), log_esc(slice_of(c->to)), log_esc(slice_of(reason)));
	slice_copy(c->conn.reason, sizeof(c->conn.reason), slice_of(reason));
	conn_end(cs->conns, &c->conn, "%s", reason);
	cs->ops->ended(cs->arg, c->conn.session);
	call_reap_soon(c);
}

void calls_end_all(struct calls *cs, const char *reason)
{
	const struct list *head = conn_list(cs->conns, CONN_CALL);

	while (!list_empty(head))
		call_end(CONTAINER_OF(head->next, struct call, conn.node), -1, reason);
}

void calls_free(struct calls *cs)
{
	if (!cs)
		return;
	calls_end_all(cs, "shutting down");
	/* Whatever still waits for a late answer goes now. */
	LIST_FOREACH_SAFE (it, &cs->all)
		call_free(CONTAINER_OF(it, struct call, node));
	htab_fini(&cs->legs);
	free(cs);
}

static void on_lost(void *arg)
{
	struct leg *l = arg;

	call_end(l->call, (int)(l - l->call->legs), "the phone's connection was lost");
}

void calls_flow_closed(struct calls *cs, uint64_t flow)
{
	LIST_FOREACH_SAFE (it, &cs->all) {
		struct call *c = CONTAINER_OF(it, struct call, node);

		for (unsigned i = 0; i < 2; i++) {
			struct leg *l = &c->legs[i];

			if (c->state == CALL_ENDED || !l->key || l->d.side.flow != flow)
				continue;
			l->holds_flow = false;
			if (l->d.side.role == FLOW_OUTSIDE)
				timer_start(cs->timers, &l->lost,
					    c->state == CALL_UP ? 64 * cs->conf.t1_ms : 0);
		}
	}
}

static struct call *call_new(struct calls *cs, const struct side *from, const struct sip_msg *m,
			     const char *user, const char *session)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->cs = cs;
	c->state = CALL_SETUP;
	list_init(&c->exchanges);
	timer_init(&c->timer_c, on_timer_c, c);
	timer_init(&c->reap, on_reap, c);
	for (unsigned i = 0; i < 2; i++) {
		c->legs[i].call = c;
		timer_init(&c->legs[i].lost, on_lost, &c->legs[i]);
	}
	c->conn.kind = CONN_CALL;
	c->conn.transport = from->transport;
	c->conn.local = from->local;
	c->conn.remote = from->remote;
	c->conn.parent = from->flow;
	c->conn.close = call_close;
	c->conn.state = state_str(CALL_SETUP);
	c->max_forwards = (m->max_forwards < 0 ? 70 : m->max_forwards) - 1;
	slice_copy(c->conn.zone, sizeof(c->conn.zone), slice_of(from->zone));
	slice_copy(c->conn.user, sizeof(c->conn.user), slice_of(user));
	slice_copy(c->conn.session, sizeof(c->conn.session), slice_of(session));
	slice_copy(c->from, sizeof(c->from), m->from.uri);
	slice_copy(c->to, sizeof(c->to), m->to.uri);
	if (conn_add(cs->conns, &c->conn) < 0) {
		free(c);
		return NULL;
	}
	list_add_tail(&cs->all, &c->node);
	cs->n++;
	cs->n_total++;
	return c;
}

/* Our own INVITE come back with the URI that we sent it to: it went round (RFC 3261 16.3 item 4).
 * With another URI it is a call that the PBX turned toward a phone of ours, which is how two phones
 * outside reach each other. */
static bool is_loop(struct calls *cs, const struct sip_msg *m)
{
	struct htab_node *n;
	struct buf key;
	bool found;

	buf_init(&key, 4096);
	buf_printf(&key, "%.*s|%.*s", SLICE_ARG(m->call_id), SLICE_ARG(m->from_tag));
	n = key.failed ? NULL : htab_get(&cs->legs, buf_slice(&key));
	buf_fini(&key);
	found = n != NULL;
	if (found) {
		struct leg *l = CONTAINER_OF(n, struct leg, node);

		found = l->d.is_uac && slice_eq(m->uri, slice_of(l->call->target.uri));
	}
	return found;
}

/* What can be refused before there is a call. True: answered. */
static bool refuse_early(struct calls *cs, struct txn_server *t, struct sip_msg *m,
			 const struct side *from)
{
	if (cs->n >= cs->conf.max_calls) {
		trace_add(cs->trace, "sip.call.limit", "[sip] max-calls", &from->remote, NULL,
			  "INVITE refused: %zu calls are up", cs->n);
		txn_server_reply(t, 503, NULL, "Retry-After: 10\r\n");
	} else if (!m->contact.p || !m->from_tag.p) {
		txn_server_reply(t, 400, m->contact.p ? "Missing From Tag" : "Missing Contact",
				 NULL);
	} else if (is_loop(cs, m)) {
		trace_add(cs->trace, "sip.call.loop", "RFC 3261 16.3", &from->remote, NULL,
			  "482: an INVITE of ours came back to where it was sent");
		txn_server_reply(t, 482, NULL, NULL);
	} else {
		return false;
	}
	return true;
}

static void call_begin(struct call *c, struct txn_server *t, struct sip_msg *m,
		       const struct side *from)
{
	struct exchange *x = NULL;

	if (dialog_init_uas(&c->legs[0].d, m, from, txn_server_to_tag(t)) == 0 &&
	    leg_enter(&c->legs[0]) == 0)
		x = call_exchange_new(c, 0, t, SIP_INVITE);
	if (!x) {
		txn_server_reply(t, 500, NULL, NULL);
		call_end(c, -1, "out of memory");
		return;
	}
	x->is_initial = true;
	txn_server_reply(t, 100, NULL, NULL);
	log_info(c->cs->log, "call.start", "session=%s from=%s to=%s zone=%s", c->conn.session,
		 log_esc(m->from.uri), log_esc(m->uri), c->conn.zone);
	call_try_next(c, x);
}

void calls_invite(struct calls *cs, struct txn_server *t, struct sip_msg *m,
		  const struct side *from)
{
	char user[CONN_USER_BYTES], session[CONN_SESSION_BYTES];
	struct target_refusal no = { .status = 404 };
	struct target *target;
	struct call *c = NULL;

	if (refuse_early(cs, t, m, from))
		return;
	cs->ops->identity(cs->arg, from, m, user, session);
	if (!session[0])
		call_random_text(cs, session, sizeof(session));
	target = calloc(1, sizeof(*target));
	/* Asked before anything is kept: who may not call leaves a trace entry and no more. */
	if (target && !cs->ops->target(cs->arg, from, m, session, 0, target, &no)) {
		txn_server_reply(t, no.status, no.phrase[0] ? no.phrase : NULL,
				 no.extra[0] ? no.extra : NULL);
		goto out;
	}
	if (target)
		c = call_new(cs, from, m, user, session);
	if (!c) {
		txn_server_reply(t, 503, NULL, "Retry-After: 10\r\n");
		goto out;
	}
	c->target = *target;
	c->has_target = true;
	c->n_tried = 1;
	call_begin(c, t, m, from);
out:
	free(target);
}

/* Text from the wire, safe for JSON: what is not UTF-8 is escaped. */
static json_t *wire_text(const char *s)
{
	struct buf b;
	json_t *j;

	buf_init(&b, 4096);
	buf_add_escaped(&b, slice_of(s));
	j = json_string(b.p ? b.p : "");
	buf_fini(&b);
	return j;
}

static json_t *leg_json(struct leg *l)
{
	char remote[ADDR_STR_BYTES];

	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "zone", l->d.side.zone, "state",
			 dialog_state_str(l->d.state), "transport",
			 conn_transport_str(l->d.side.transport), "remote",
			 addr_str(&l->d.side.remote, remote), "call_id",
			 wire_text(l->d.call_id ? l->d.call_id : ""));
}

json_t *calls_json(struct calls *cs)
{
	json_t *out = json_array();

	LIST_FOREACH (it, conn_list(cs->conns, CONN_CALL)) {
		struct call *c = CONTAINER_OF(it, struct call, conn.node);
		char id[CONN_ID_BYTES], since[ISO_TIME_BYTES];
		json_t *media = cs->media && c->media
					? cs->media->describe(cs->media_self, c->media)
					: NULL;
		json_t *j =
			json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:o, s:o}", "id",
				  conn_id_str(&c->conn, id), "session", c->conn.session, "from",
				  wire_text(c->from), "to", wire_text(c->to), "state",
				  c->conn.state, "direction",
				  c->legs[0].d.side.role == FLOW_OUTSIDE ||
						  c->legs[0].d.side.role == FLOW_TRAVERSAL_CLIENT
					  ? "inward"
					  : "outward",
				  "since", iso_time_s(c->conn.since_wall_s, since), "legs",
				  json_pack("[o,o]", leg_json(&c->legs[0]), leg_json(&c->legs[1])),
				  "media", media ? media : json_array());

		json_array_append_new(out, j);
	}
	return out;
}
