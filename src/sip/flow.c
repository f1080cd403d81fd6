/* What all flows have in common: life cycle, idle time, names, and messages in. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/trace.h"
#include "sip/flow_impl.h"

static const char *const state_names[] = { "connecting", "handshake", "open", "closed" };

static bool legal(enum flow_state from, enum flow_state to)
{
	switch (to) {
	case FLOW_HANDSHAKE:
		return from == FLOW_CONNECTING;
	case FLOW_OPEN:
		return from == FLOW_CONNECTING || from == FLOW_HANDSHAKE;
	case FLOW_CLOSED:
		return from != FLOW_CLOSED;
	case FLOW_CONNECTING:
		break;
	}
	return false;
}

void flow_set_state(struct flow *f, enum flow_state state)
{
	char id[CONN_ID_BYTES], peer[ADDR_STR_BYTES];

	if (!legal(f->state, state)) {
		log_error(f->t->env->log, "sip.flow.state", "flow=%s from=%s to=%s refused=illegal",
			  conn_id_str(&f->conn, id), state_names[f->state], state_names[state]);
		return;
	}
	if (log_enabled(f->t->env->log, LOG_LEVEL_DEBUG))
		log_debug(f->t->env->log, "sip.flow.state",
			  "flow=%s peer=%s transport=%s from=%s to=%s%s%s",
			  conn_id_str(&f->conn, id), addr_str(&f->conn.remote, peer),
			  conn_transport_str(f->conn.transport), state_names[f->state],
			  state_names[state], state == FLOW_CLOSED ? " reason=" : "",
			  state == FLOW_CLOSED ? log_esc(slice_of(f->why)) : "");
	f->state = state;
	f->conn.state = state_names[state];
}

const char *flow_ms_str(uint32_t ms, char buf[24])
{
	if (ms % 1000 == 0)
		snprintf(buf, 24, "%u s", ms / 1000);
	else
		snprintf(buf, 24, "%u ms", ms);
	return buf;
}

static struct timerq *timers_of(const struct flow *f)
{
	return loop_timers(f->t->env->loop);
}

static int64_t now_of(const struct flow *f)
{
	return loop_now_ms(f->t->env->loop);
}

static void on_deadline(void *arg)
{
	struct flow *f = arg;

	f->io->late(f);
}

static void arm_idle(struct flow *f)
{
	int64_t left = f->idle_since_ms + f->t->conf->idle_timeout_ms - now_of(f);

	timer_start(timers_of(f), &f->idle, left > 0 ? left : 0);
}

/* Messages only put down when they came; the timer looks when it fires. */
static void on_idle(void *arg)
{
	struct flow *f = arg;
	uint32_t limit = f->t->conf->idle_timeout_ms;
	char text[24];

	if (f->n_holds > 0)
		return; /* armed again by flow_release() */
	if (now_of(f) - f->idle_since_ms < limit)
		arm_idle(f);
	else
		flow_close(f, "idle for %s", flow_ms_str(limit, text));
}

static void on_bury(void *arg)
{
	flow_bury(arg);
}

static void on_announce(void *arg)
{
	struct flow *f = arg;

	if (f->state == FLOW_OPEN)
		f->t->events->opened(f->t->arg, f);
}

static void close_conn(struct conn *c, const char *reason)
{
	flow_close(CONTAINER_OF(c, struct flow, conn), "%s", reason);
}

struct flow *flow_new(struct transport *t, const struct flow_io *io, const struct conn *like,
		      enum flow_role role)
{
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->conn = *like;
	f->conn.kind = CONN_FLOW;
	f->conn.close = close_conn;
	f->conn.state = state_names[FLOW_CONNECTING];
	list_init(&f->conn.node);
	f->t = t;
	f->io = io;
	f->role = role;
	f->s.fd = -1;
	f->last_rx_ms = loop_now_ms(t->env->loop);
	list_init(&f->u.lru);
	timer_init(&f->deadline, on_deadline, f);
	timer_init(&f->idle, on_idle, f);
	loop_deferred_init(&f->bury, on_bury, f);
	loop_deferred_init(&f->announce, on_announce, f);
	if (conn_add(t->env->conns, &f->conn) < 0) {
		free(f);
		return NULL;
	}
	list_add_tail(&t->flows, &f->node);
	return f;
}

void flow_enter(struct flow *f)
{
	htab_add(&f->t->by_remote, &f->by_remote);
	f->in_table = true;
}

static void set_open(struct flow *f)
{
	timer_stop(timers_of(f), &f->deadline);
	flow_set_state(f, FLOW_OPEN);
	f->idle_since_ms = now_of(f);
	arm_idle(f);
}

void flow_opened(struct flow *f)
{
	set_open(f);
	if (f->state == FLOW_OPEN)
		f->t->events->opened(f->t->arg, f);
}

void flow_open_later(struct flow *f)
{
	set_open(f);
	loop_defer(f->t->env->loop, &f->announce);
}

void flow_deadline(struct flow *f, uint32_t ms)
{
	timer_start(timers_of(f), &f->deadline, ms);
}

static void close_with(struct flow *f)
{
	flow_set_state(f, FLOW_CLOSED);
	timer_stop(timers_of(f), &f->deadline);
	timer_stop(timers_of(f), &f->idle);
	loop_defer_cancel(&f->announce);
	if (f->in_table)
		htab_del(&f->t->by_remote, &f->by_remote);
	f->in_table = false;
	list_del(&f->u.lru);
	f->io->stop(f);
	loop_defer(f->t->env->loop, &f->bury);
}

void flow_close(struct flow *f, const char *reason_fmt, ...)
{
	va_list ap;

	if (f->state == FLOW_CLOSED)
		return;
	va_start(ap, reason_fmt);
	vsnprintf(f->why, sizeof(f->why), reason_fmt, ap);
	va_end(ap);
	close_with(f);
}

void flow_drop(struct flow *f, const char *code, const char *decided_by, const char *fmt, ...)
{
	va_list ap;

	if (f->state == FLOW_CLOSED)
		return;
	va_start(ap, fmt);
	vsnprintf(f->why, sizeof(f->why), fmt, ap);
	va_end(ap);
	trace_add(f->t->env->trace, code, decided_by, &f->conn.remote, f->conn.session, "%s",
		  f->why);
	close_with(f);
}

void flow_bury(struct flow *f)
{
	struct transport *t = f->t;

	loop_defer_cancel(&f->bury);
	if (!t->freeing)
		t->events->closed(t->arg, f, f->why);
	conn_end(t->env->conns, &f->conn, "%s", f->why);
	list_del(&f->node);
	if (f->counted)
		net_limits_leave(f->counted, &f->conn.remote);
	f->io->release(f);
	free(f);
}

void flow_input(struct flow *f, struct slice bytes)
{
	struct transport *t = f->t;
	struct sip_msg *m = NULL;
	struct sip_reject why = { 0 };
	int error = sip_msg_parse(bytes, flow_is_reliable(f), &m, &why);

	f->conn.rx_packets++;
	f->idle_since_ms = now_of(f);
	if (error == 0) {
		t->events->message(t->arg, f, m);
	} else {
		f->conn.n_dropped++;
		if (error == -EBADMSG)
			t->events->malformed(t->arg, f, m, &why);
	}
	sip_msg_unref(m);
}

struct sip_msg *flow_parse_head(struct slice bytes, size_t max)
{
	struct sip_reject why = { 0 };
	struct sip_msg *m = NULL;
	struct buf head;
	const char *end;
	size_t n = bytes.n < max ? bytes.n : max;

	end = memmem(bytes.p, n, "\r\n\r\n", 4);
	if (end)
		n = (size_t)(end - bytes.p) + 2;
	else
		/* The headers do not end within the limit: take the lines that are whole. */
		while (n >= 2 && memcmp(bytes.p + n - 2, "\r\n", 2) != 0)
			n--;
	if (n < 4)
		return NULL;
	buf_init(&head, n + 2);
	buf_add(&head, bytes.p, n);
	buf_add_str(&head, "\r\n");
	/* As a datagram: the body that Content-Length announces is not there, and need not be. */
	if (!head.failed && sip_msg_parse(buf_slice(&head), false, &m, &why) == -ENOMEM)
		m = NULL;
	buf_fini(&head);
	return m;
}

void flow_too_big(struct flow *f, struct slice bytes)
{
	struct transport *t = f->t;
	uint32_t max = t->conf->max_message;
	struct sip_reject reject = { .status = 513, .phrase = "Message Too Large" };
	struct sip_msg *m = flow_parse_head(bytes, max);

	snprintf(reject.why, sizeof(reject.why), "message over %u bytes", max);
	f->conn.n_dropped++;
	trace_add(t->env->trace, "sip.flow.too-big", "[sip] max-message", &f->conn.remote,
		  f->conn.session, "%s", reject.why);
	t->events->malformed(t->arg, f, m, &reject);
	sip_msg_unref(m);
}

static int send_bytes(struct flow *f, struct slice bytes)
{
	int error;

	if (f->state == FLOW_CLOSED)
		return -ENOTCONN;
	error = f->io->send(f, bytes);
	if (error == 0) {
		f->conn.tx_packets++;
		f->conn.tx_bytes += bytes.n;
	}
	return error;
}

int flow_send(struct flow *f, struct slice message)
{
	return send_bytes(f, message);
}

int flow_ping(struct flow *f)
{
	return send_bytes(f, SLICE("\r\n\r\n"));
}

void flow_hold(struct flow *f)
{
	if (f->n_holds++ == 0 && f->u.socket)
		flow_udp_held(f);
}

void flow_release(struct flow *f)
{
	if (f->n_holds == 0 || --f->n_holds > 0 || f->state != FLOW_OPEN)
		return;
	f->idle_since_ms = now_of(f);
	if (f->u.socket)
		flow_udp_unheld(f);
	arm_idle(f);
}

/* The name of this end. Toward E and C that is the system's name: what the certificate says. */
static void add_host(const struct flow *f, struct buf *out)
{
	const struct addr *local = &f->conn.local, *public = &f->t->conf->public_address;
	char text[ADDR_STR_BYTES];

	if (f->role == FLOW_OUTSIDE && public->family == local->family)
		buf_add_str(out, addr_host_str(public, text));
	else if ((f->role == FLOW_TRAVERSAL_SERVER || f->role == FLOW_TRAVERSAL_CLIENT) &&
		 f->t->name)
		buf_add_str(out, f->t->name);
	else
		buf_add_str(out, addr_host_str(local, text));
}

void flow_sent_by(const struct flow *f, struct buf *out)
{
	const struct listener *l = f->u.socket;

	if (!l && f->role == FLOW_INSIDE)
		l = listener_at(f->t, f->conn.transport, &f->conn.local);
	if (!l)
		l = listener_for(f->t, f->conn.transport, f->role, f->conn.zone,
				 f->conn.local.family);
	add_host(f, out);
	buf_printf(out, ":%u", l ? l->conn.local.port : f->conn.local.port);
}

bool flow_may_be_peer(const struct flow *f)
{
	const struct addr *outside = &f->t->conf->outside_address;

	return f->from_outside &&
	       (outside->family == ADDR_NONE || !addr_ip_eq(outside, &f->conn.local));
}

void flow_set_peer_zone(struct flow *f, const char *zone)
{
	if (strcmp(f->conn.zone, zone) == 0)
		return;
	f->role = *zone ? FLOW_INSIDE : FLOW_OUTSIDE;
	slice_copy(f->conn.zone, sizeof(f->conn.zone), slice_of(zone));
	log_info(f->t->env->log, "sip.flow.zone", "id=%llu zone=%s", (unsigned long long)f->conn.id,
		 zone);
}

uint64_t flow_id(const struct flow *f)
{
	return f->conn.id;
}

struct conn *flow_conn(struct flow *f)
{
	return &f->conn;
}

enum flow_role flow_role(const struct flow *f)
{
	return f->role;
}

enum flow_state flow_state(const struct flow *f)
{
	return f->state;
}

enum conn_transport flow_transport(const struct flow *f)
{
	return f->conn.transport;
}

bool flow_is_reliable(const struct flow *f)
{
	return f->conn.transport != CONN_UDP;
}

const char *flow_zone(const struct flow *f)
{
	return f->conn.zone;
}

const struct addr *flow_local(const struct flow *f)
{
	return &f->conn.local;
}

const struct addr *flow_remote(const struct flow *f)
{
	return &f->conn.remote;
}

int64_t flow_last_rx_ms(const struct flow *f)
{
	return f->last_rx_ms;
}
