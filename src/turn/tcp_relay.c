/*
 * TCP relays: Connect, ConnectionBind and connections that peers make (RFC 6062 section 5), and how
 * bytes are passed (section 5.5).
 *
 *   CONNECTING --opened--> WAITING      [on_opened]       Connect is answered: CONNECTION-ID
 *   CONNECTING --closed, 30 s--> gone   [on_peer_closed]  Connect is answered: 447
 *   WAITING --ConnectionBind--> SPLICED [verb_bind, turn_server_take_bound]
 *   WAITING --30 s--> gone              [on_timer]
 *   SPLICED --both ends, either fails--> gone
 */
#include "turn/tcp_relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/net.h"
#include "core/trace.h"
#include "turn/server_impl.h"

#define PIECE_BYTES 16384 /* of a user whose bandwidth is counted */
#define RETRY_MS    50	  /* until the user may send again */

enum tcp_state { TCP_CONNECTING, TCP_WAITING, TCP_SPLICED };

/* One direction's source and target are sides of the same connection. */
struct tcp_side {
	struct tcp_conn *k;
	struct stream *stream; /* NULL: not there yet, or gone */
};

struct tcp_conn {
	struct list node; /* of its allocation */
	struct htab_node by_id;
	uint32_t id; /* CONNECTION-ID */
	enum tcp_state state;
	struct turn_alloc *alloc;
	struct conn conn;
	struct timer timer; /* CONNECTING, WAITING; SPLICED: over the user's bandwidth */
	struct tcp_side peer, client;
	struct turn_client *bound_for; /* its ConnectionBind was good, its stream comes now */
	struct turn_request request;   /* CONNECTING: the Connect to answer */
	uint8_t tid[STUN_TID_BYTES];
};

struct tcp_relays {
	struct turn_server *s;
	const struct turn_tcp_ops *ops;
	void *arg;
	struct htab by_id;
	struct tcp_conn *bound; /* by the message of this moment */
};

static struct slice id_key(const struct htab_node *node)
{
	const struct tcp_conn *k = CONTAINER_OF(node, struct tcp_conn, by_id);

	return (struct slice){ (const char *)&k->id, sizeof(k->id) };
}

static void set_state(struct tcp_conn *k, enum tcp_state state)
{
	static const char *const names[] = { "connecting", "waiting", "open" };

	k->state = state;
	k->conn.state = names[state];
}

/* --- life --- */

static struct tcp_conn *conn_by_id(const struct tcp_relays *t, uint32_t id)
{
	struct htab_node *node =
		htab_get(&t->by_id, (struct slice){ (const char *)&id, sizeof(id) });

	return node ? CONTAINER_OF(node, struct tcp_conn, by_id) : NULL;
}

/* Streams that still stand are closed: what was given to them is sent. */
static void end(struct tcp_conn *k, const char *why)
{
	struct turn_server *s = k->alloc->server;
	struct tcp_relays *t = s->tcp_state;

	if (t->bound == k)
		t->bound = NULL;
	timer_stop(s->timers, &k->timer);
	stream_close(k->peer.stream);
	stream_close(k->client.stream);
	k->peer.stream = k->client.stream = NULL;
	htab_del(&t->by_id, &k->by_id);
	list_del(&k->node);
	k->alloc->n_connections--;
	conn_end(s->conns, &k->conn, "%s", why);
	OPENSSL_cleanse(&k->request.key, sizeof(k->request.key));
	free(k);
}

static void answer_failed(struct tcp_conn *k, const char *why)
{
	char text[ADDR_STR_BYTES];

	turn_refuse_traced(&k->request, STUN_CODE_CONNECTION_FAILED, "turn.tcp.failed", "peer",
			   "%s: %s", addr_str(&k->conn.remote, text), why);
}

static void on_close(struct conn *c, const char *reason)
{
	struct tcp_conn *k = CONTAINER_OF(c, struct tcp_conn, conn);

	if (k->state == TCP_CONNECTING)
		answer_failed(k, reason);
	end(k, reason);
}

static void pump_both(struct tcp_conn *k);

static void on_timer(void *arg)
{
	struct tcp_conn *k = arg;

	switch (k->state) {
	case TCP_CONNECTING:
		answer_failed(k, "no connection in time");
		end(k, "no connection in time");
		return;
	case TCP_WAITING:
		end(k, "no ConnectionBind in time");
		return;
	case TCP_SPLICED:
		pump_both(k);
		return;
	}
}

static uint32_t fresh_id(const struct tcp_relays *t)
{
	uint32_t id;

	do
		net_random(&id, sizeof(id));
	while (id == 0 || conn_by_id(t, id));
	return id;
}

/* remote: in the clients' spelling. NULL without memory or room; *why then says which. */
static struct tcp_conn *conn_new(struct turn_alloc *a, const struct turn_relay *r,
				 const struct addr *remote, const char **why)
{
	struct turn_server *s = a->server;
	struct tcp_relays *t = s->tcp_state;
	struct tcp_conn *k;

	*why = "too many TCP peers of this allocation";
	if (a->n_connections >= s->conf.max_connections)
		return NULL;
	*why = "out of memory";
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->alloc = a;
	k->peer.k = k->client.k = k;
	k->conn.kind = CONN_RELAYED;
	k->conn.transport = CONN_TCP;
	k->conn.parent = a->conn.id;
	k->conn.local = r->local;
	k->conn.remote = *remote;
	k->conn.close = on_close;
	memcpy(k->conn.user, a->conn.user, sizeof(k->conn.user));
	memcpy(k->conn.zone, a->conn.zone, sizeof(k->conn.zone));
	memcpy(k->conn.session, a->conn.session, sizeof(k->conn.session));
	set_state(k, TCP_CONNECTING);
	*why = "the connection table is full";
	if (conn_add(s->conns, &k->conn) < 0) {
		free(k);
		return NULL;
	}
	timer_init(&k->timer, on_timer, k);
	k->id = fresh_id(t);
	htab_add(&t->by_id, &k->by_id);
	list_add_tail(&a->connections, &k->node);
	a->n_connections++;
	return k;
}

static struct tcp_conn *conn_to(struct turn_alloc *a, const struct addr *remote)
{
	LIST_FOREACH (it, &a->connections) {
		struct tcp_conn *k = CONTAINER_OF(it, struct tcp_conn, node);

		if (addr_eq(&k->conn.remote, remote))
			return k;
	}
	return NULL;
}

/* --- bytes --- */

/* All of it, or what the user's bandwidth lets through. */
static void move(struct tcp_conn *k, struct stream *from, struct stream *to)
{
	struct turn_server *s = k->alloc->server;
	uint32_t bps = s->conf.user_bandwidth;

	while (evbuffer_get_length(from->in) > 0 && !stream_is_full(to)) {
		size_t n = evbuffer_get_length(from->in);

		if (bps && n > PIECE_BYTES)
			n = PIECE_BYTES;
		if (bps && !turn_usage_spend(k->alloc->use, n, bps, turn_now(s))) {
			if (!timer_armed(&k->timer))
				timer_start(s->timers, &k->timer, RETRY_MS);
			return;
		}
		if (evbuffer_remove_buffer(from->in, to->out, n) <= 0)
			return;
		if (from == k->peer.stream) {
			k->conn.rx_bytes += n;
			k->conn.rx_packets++;
		} else {
			k->conn.tx_bytes += n;
			k->conn.tx_packets++;
		}
	}
}

/* Nothing here calls back: streams do their work at the end of the turn. */
static void pump(struct tcp_conn *k, struct stream *from, struct stream *to)
{
	if (!from || !to || from->state == STREAM_CLOSED)
		return;
	move(k, from, to);
	stream_flush(to);
	if (stream_eof(from) && evbuffer_get_length(from->in) == 0)
		stream_shutdown(to);
	stream_consumed(from);
}

static void pump_both(struct tcp_conn *k)
{
	pump(k, k->peer.stream, k->client.stream);
	pump(k, k->client.stream, k->peer.stream);
}

static void on_readable(void *arg)
{
	struct tcp_side *side = arg;
	struct tcp_conn *k = side->k;

	/* What a peer says before anybody listens waits in its stream. */
	if (k->state == TCP_SPLICED)
		pump(k, side->stream, side == &k->peer ? k->client.stream : k->peer.stream);
}

static void on_writable(void *arg)
{
	struct tcp_side *side = arg;
	struct tcp_conn *k = side->k;

	if (k->state == TCP_SPLICED)
		pump(k, side == &k->peer ? k->client.stream : k->peer.stream, side->stream);
}

static void on_opened(void *arg);

static void on_closed(void *arg, enum stream_end how, const char *why)
{
	struct tcp_side *side = arg;
	struct tcp_conn *k = side->k;
	char reason[CONN_REASON_BYTES];

	if (k->state == TCP_CONNECTING)
		answer_failed(k, why);
	/* The last bytes of the side that ended still go to the other one. */
	if (k->state == TCP_SPLICED && k->peer.stream && k->client.stream) {
		struct stream *to = side == &k->peer ? k->client.stream : k->peer.stream;

		if (evbuffer_get_length(side->stream->in) > 0)
			evbuffer_add_buffer(stream_out(to), side->stream->in);
	}
	snprintf(reason, sizeof(reason), "%s: %.120s", side == &k->peer ? "peer" : "client", why);
	side->stream = NULL;
	end(k, reason);
}

static const struct stream_handler peer_handler = { on_opened, on_readable, on_writable,
						    on_closed };
static const struct stream_handler client_handler = { NULL, on_readable, on_writable, on_closed };

/* --- Connect --- */

/* RFC 6062 section 5.2: the client has 30 s for its ConnectionBind. */
static void start_waiting(struct tcp_conn *k)
{
	set_state(k, TCP_WAITING);
	timer_start(k->alloc->server->timers, &k->timer, TURN_TCP_BIND_MS);
}

static void on_opened(void *arg)
{
	struct tcp_side *side = arg;
	struct tcp_conn *k = side->k;
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	if (k->state != TCP_CONNECTING)
		return;
	start_waiting(k);
	turn_answer_start(&k->request, &b, out, STUN_CLASS_SUCCESS);
	stun_build_u32(&b, STUN_ATTR_CONNECTION_ID, ntohl(k->id));
	turn_answer_send(&k->request, &b);
}

static void keep_request(struct tcp_conn *k, const struct turn_request *q)
{
	k->request = *q;
	memcpy(k->tid, q->msg.tid, sizeof(k->tid));
	k->request.msg.p = NULL;
	k->request.msg.n = 0;
	k->request.msg.tid = k->tid;
	k->request.alloc = k->alloc;
	k->request.c = k->alloc->client_of;
	k->request.user = slice_of(k->alloc->user);
}

static void refuse_connect(const struct turn_request *q, int error, const struct addr *peer)
{
	bool exists = error == -EADDRNOTAVAIL || error == -EADDRINUSE;
	char text[ADDR_STR_BYTES];

	turn_refuse_traced(q, exists ? STUN_CODE_CONNECTION_EXISTS : STUN_CODE_CONNECTION_FAILED,
			   exists ? "turn.tcp.exists" : "turn.tcp.failed", "peer", "%s: %s",
			   addr_str(peer, text), strerror(-error));
}

static void connect_peer(struct turn_request *q, struct turn_relay *r, const struct addr *peer)
{
	struct tcp_relays *t = q->s->tcp_state;
	struct addr wire = turn_wire_of(q->s, peer);
	char text[ADDR_STR_BYTES];
	struct tcp_conn *k;
	const char *why;
	int error = 0;

	k = conn_new(q->alloc, r, peer, &why);
	if (!k) {
		turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.tcp.full",
				   "[turn] max-tcp-peers", "%s: %s", addr_str(peer, text), why);
		return;
	}
	k->peer.stream = t->ops->connect(t->arg, r, &wire, &peer_handler, &k->peer, &error);
	if (!k->peer.stream) {
		refuse_connect(q, error, peer);
		end(k, strerror(-error));
		return;
	}
	keep_request(k, q);
	timer_start(q->s->timers, &k->timer, TURN_TCP_CONNECT_MS);
}

static void verb_connect(struct turn_request *q)
{
	struct turn_peer_verdict verdict;
	struct turn_relay *r;
	struct stun_attr attr;
	struct addr peer;
	unsigned code;

	if (!q->alloc || !q->alloc->tcp) {
		turn_refuse_traced(q, STUN_CODE_ALLOCATION_MISMATCH, "turn.mismatch",
				   "RFC 6062 5.2", "user %.*s: Connect without a TCP allocation",
				   SLICE_ARG(q->user));
		return;
	}
	if (!stun_attr_find(&q->msg, STUN_ATTR_XOR_PEER_ADDRESS, &attr)) {
		turn_refuse(q, STUN_CODE_BAD_REQUEST);
		return;
	}
	code = turn_request_peer(q, &attr, &peer, &verdict);
	if (code == 0 && peer.port == 0)
		code = STUN_CODE_BAD_REQUEST;
	r = code ? NULL : turn_alloc_relay(q->alloc, peer.family);
	if (code == 0 && !r)
		code = STUN_CODE_PEER_FAMILY_MISMATCH;
	if (code) {
		turn_refuse(q, (enum stun_code)code);
	} else if (conn_to(q->alloc, &peer)) {
		refuse_connect(q, -EADDRINUSE, &peer);
	} else if (addr_eq(&peer, &r->relayed) || addr_eq(&peer, &r->local)) {
		/* TCP's simultaneous open would connect the relay with itself. */
		refuse_connect(q, -ELOOP, &peer);
	} else {
		connect_peer(q, r, &peer);
	}
}

/* --- ConnectionBind --- */

static struct tcp_conn *conn_of_message(const struct turn_server *s, const struct stun_msg *m)
{
	struct stun_attr attr;
	uint32_t id;

	if (!stun_attr_find(m, STUN_ATTR_CONNECTION_ID, &attr) || !stun_attr_u32(&attr, &id))
		return NULL;
	return conn_by_id(s->tcp_state, htonl(id));
}

static struct turn_alloc *verb_owner(struct turn_server *s, const struct stun_msg *m)
{
	struct tcp_conn *k = conn_of_message(s, m);

	return k ? k->alloc : NULL;
}

static void verb_bind(struct turn_request *q)
{
	struct tcp_conn *k = conn_of_message(q->s, &q->msg);
	struct tcp_relays *t = q->s->tcp_state;

	/* RFC 6062 section 5.4. A connection that has an allocation of its own carries messages. */
	if (q->c->transport == TURN_UDP || q->c->alloc || !k || k->state != TCP_WAITING ||
	    k->bound_for) {
		turn_refuse_traced(q, STUN_CODE_BAD_REQUEST, "turn.tcp.bind", "RFC 6062 5.4",
				   "%.*s: %s", SLICE_ARG(q->user),
				   k ? "the connection is not waiting, or this one cannot take it"
				     : "no connection of that id waits");
		return;
	}
	if (!slice_eq(q->user, slice_of(k->alloc->user))) {
		turn_refuse_traced(q, STUN_CODE_WRONG_CREDENTIALS, "turn.tcp.bind", "RFC 6062 5.4",
				   "%.*s: the connection belongs to another user",
				   SLICE_ARG(q->user));
		return;
	}
	k->bound_for = q->c;
	t->bound = k;
	turn_answer_ok(q);
}

bool turn_server_take_bound(struct turn_server *s, struct turn_client *c, struct stream *stream)
{
	struct tcp_relays *t = s->tcp_state;
	struct tcp_conn *k = t ? t->bound : NULL;

	if (!k)
		return false;
	t->bound = NULL;
	if (k->bound_for != c)
		return false;
	timer_stop(s->timers, &k->timer);
	k->client.stream = stream;
	stream_set_handler(stream, &client_handler, &k->client);
	set_state(k, TCP_SPLICED);
	pump_both(k);
	return true;
}

/* --- peers that connect --- */

static void send_attempt(struct tcp_conn *k)
{
	struct turn_server *s = k->alloc->server;
	uint8_t out[TURN_ANSWER_BYTES], tid[STUN_TID_BYTES];
	struct stun_build b;
	size_t n;

	net_random(tid, sizeof(tid));
	stun_build_start(&b, out, sizeof(out), STUN_CLASS_INDICATION,
			 STUN_METHOD_CONNECTION_ATTEMPT, tid);
	stun_build_u32(&b, STUN_ATTR_CONNECTION_ID, ntohl(k->id));
	stun_build_xor_addr(&b, STUN_ATTR_XOR_PEER_ADDRESS, &k->conn.remote);
	n = stun_build_end(&b);
	if (n)
		s->ops->to_client(s->arg, k->alloc->client_of, out, n, false);
}

static void drop_peer(struct turn_alloc *a, const struct addr *peer, struct stream *stream,
		      const char *code, const char *decided_by, const char *why)
{
	char text[ADDR_STR_BYTES];

	trace_add(a->server->trace, code, decided_by, peer, NULL, "%s: %s", addr_str(peer, text),
		  why);
	stream_abort(stream);
}

void turn_server_peer_connected(struct turn_server *s, struct turn_relay *r, struct stream *peer)
{
	struct turn_alloc *a = r->alloc;
	struct addr remote = turn_public_of(s, &peer->remote);
	struct tcp_conn *k;
	const char *why;

	/* RFC 6062 section 5.3: only with a permission. */
	if (!turn_permission_allows(a, &remote)) {
		a->n_no_permission++;
		drop_peer(a, &remote, peer, "turn.tcp.no-permission", "permission",
			  "no permission for this peer");
		return;
	}
	k = conn_new(a, r, &remote, &why);
	if (!k) {
		drop_peer(a, &remote, peer, "turn.tcp.full", "[turn] max-tcp-peers", why);
		return;
	}
	k->peer.stream = peer;
	stream_set_handler(peer, &peer_handler, &k->peer);
	start_waiting(k);
	send_attempt(k);
}

/* --- what the machine asks --- */

static void verb_client_gone(struct turn_server *s, const struct turn_client *c)
{
	struct tcp_relays *t = s->tcp_state;

	if (!t->bound || t->bound->bound_for != c)
		return;
	t->bound->bound_for = NULL;
	t->bound = NULL;
}

static void verb_ended(struct turn_alloc *a, const char *why)
{
	LIST_FOREACH_SAFE (it, &a->connections) {
		end(CONTAINER_OF(it, struct tcp_conn, node), why);
	}
}

static void verb_recheck(struct turn_alloc *a)
{
	LIST_FOREACH_SAFE (it, &a->connections) {
		struct tcp_conn *k = CONTAINER_OF(it, struct tcp_conn, node);
		struct turn_peer_verdict verdict;

		turn_peer_check(a->server->policy, &k->conn.remote, &verdict);
		if (verdict.allowed)
			continue;
		trace_add(a->server->trace, "turn.tcp.denied", verdict.decided_by, &k->conn.remote,
			  NULL, "%s", verdict.why);
		if (k->state == TCP_CONNECTING)
			turn_refuse(&k->request, STUN_CODE_FORBIDDEN);
		end(k, "the peer is not allowed any more");
	}
}

static void verb_json(const struct turn_alloc *a, json_t *out)
{
	json_t *all = json_array();

	LIST_FOREACH (it, &a->connections) {
		const struct tcp_conn *k = CONTAINER_OF(it, struct tcp_conn, node);
		char id[CONN_ID_BYTES], peer[ADDR_STR_BYTES];

		json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:I,s:I}", "id",
						     conn_id_str(&k->conn, id), "peer",
						     addr_str(&k->conn.remote, peer), "state",
						     k->conn.state, "from-peer-bytes",
						     (json_int_t)k->conn.rx_bytes, "to-peer-bytes",
						     (json_int_t)k->conn.tx_bytes));
	}
	json_object_set_new(out, "connections", all);
}

static void verb_stop(struct turn_server *s)
{
	struct tcp_relays *t = s->tcp_state;

	if (!t)
		return;
	htab_fini(&t->by_id);
	free(t);
	s->tcp_state = NULL;
	s->tcp = NULL;
}

static const struct turn_tcp_verbs verbs = {
	.connect = verb_connect,
	.connection_bind = verb_bind,
	.owner = verb_owner,
	.client_gone = verb_client_gone,
	.ended = verb_ended,
	.recheck = verb_recheck,
	.json = verb_json,
	.stop = verb_stop,
};

int turn_server_set_tcp(struct turn_server *s, const struct turn_tcp_ops *ops, void *arg)
{
	struct tcp_relays *t = calloc(1, sizeof(*t));
	uint8_t seed[16];

	if (!t)
		return -ENOMEM;
	net_random(seed, sizeof(seed));
	if (htab_init(&t->by_id, seed, id_key) < 0) {
		free(t);
		return -ENOMEM;
	}
	t->s = s;
	t->ops = ops;
	t->arg = arg;
	s->tcp_state = t;
	s->tcp = &verbs;
	return 0;
}
