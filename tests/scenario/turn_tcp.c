/* TCP relays (RFC 6062) on stream pairs and a turned clock. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/loop.h"
#include "core/stream_pair.h"
#include "support/alloc_fail.h"
#include "support/turn_rig.h"
#include "turn/tcp_relay.h"

#define PEER "198.51.100.9:80"

struct world {
	struct rig *rig;
	struct loop *loop;
	struct guest g; /* has a TCP allocation */
	/* the last connection that was asked for */
	const struct stream_handler *h;
	void *harg;
	struct stream *ours, *theirs;
	struct addr from, to;
	unsigned n_connects;
	int error; /* of every connect */
};

/* --- one side of a stream, as the test holds it --- */

struct end {
	struct stream *s;
	unsigned n_closed;
};

static void end_readable(void *arg)
{
}

static void end_closed(void *arg, enum stream_end how, const char *why)
{
	struct end *e = arg;

	e->n_closed++;
	e->s = NULL;
}

static const struct stream_handler end_handler = { NULL, end_readable, NULL, end_closed };

static void end_take(struct end *e, struct stream *s)
{
	*e = (struct end){ .s = s };
	stream_set_handler(s, &end_handler, e);
}

static void turn_loop(struct world *w)
{
	for (int i = 0; i < 20; i++)
		loop_once(w->loop, 0);
}

static void says(struct world *w, struct end *e, const char *text)
{
	evbuffer_add(stream_out(e->s), text, strlen(text));
	stream_flush(e->s);
	turn_loop(w);
}

static bool hears(struct end *e, const char *text)
{
	char got[256];
	int n = evbuffer_remove(stream_in(e->s), got, sizeof(got));

	stream_consumed(e->s);
	return n == (int)strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

/* --- the world --- */

static struct stream *do_connect(void *arg, struct turn_relay *r, const struct addr *to,
				 const struct stream_handler *h, void *harg, int *error)
{
	struct world *w = arg;
	struct stream *pair[2];

	w->n_connects++;
	*error = w->error;
	if (w->error)
		return NULL;
	if (stream_pair_new(w->loop, pair) < 0) {
		*error = -ENOMEM;
		return NULL;
	}
	w->h = h;
	w->harg = harg;
	w->ours = pair[0];
	w->theirs = pair[1];
	w->from = r->local;
	w->to = *to;
	w->ours->state = STREAM_OPENING;
	stream_set_handler(w->ours, h, harg);
	return w->ours;
}

static const struct turn_tcp_ops tcp_ops = { do_connect };

static void guest_allocates_tcp(struct guest *g)
{
	guest_hello(g);
	guest_start(g, STUN_METHOD_ALLOCATE);
	guest_byte(g, STUN_ATTR_REQUESTED_TRANSPORT, STUN_TRANSPORT_TCP, 4);
	assert_int_equal(guest_asks(g), 200);
}

static int begin(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->rig = rig_new();
	w->loop = loop_new();
	w->rig->conf.tcp_relays = true;
	assert_int_equal(turn_server_set_tcp(w->rig->s, &tcp_ops, w), 0);
	assert_int_equal(rig_configure(w->rig), 0);
	guest_init(&w->g, w->rig, "alice", "192.0.2.7:5000", TURN_TCP);
	guest_allocates_tcp(&w->g);
	*state = w;
	return 0;
}

static int finish(void **state)
{
	struct world *w = *state;

	rig_free(w->rig);
	turn_loop(w);
	loop_free(w->loop);
	free(w);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

static size_t n_relayed(const struct world *w)
{
	return conn_count(w->rig->conns, CONN_RELAYED);
}

/* 0: the answer comes later. */
static unsigned asks_connect(struct guest *g, const char *peer)
{
	guest_start(g, STUN_METHOD_CONNECT);
	guest_peer(g, peer);
	return guest_asks(g);
}

/* The code of what was sent last to g, 200 for success; decoded into g->in. */
static unsigned heard(struct guest *g)
{
	struct stun_attr a;
	struct slice reason;
	unsigned code = 200;

	g->got = *rig_last(g->rig);
	assert_int_equal(stun_decode(g->got.p, g->got.n, &g->in), 0);
	assert_true(guest_is_answer_sealed(g));
	if (g->in.class == STUN_CLASS_ERROR) {
		assert_true(stun_attr_find(&g->in, STUN_ATTR_ERROR_CODE, &a));
		assert_true(stun_attr_error(&a, &code, &reason));
	}
	return code;
}

/* The connection to w->to fails, as stream_connect() says it. */
static void fails(struct world *w)
{
	stream_set_handler(w->ours, NULL, NULL);
	w->h->closed(w->harg, STREAM_END_REFUSED, "connection refused");
	w->ours->state = STREAM_OPEN;
	stream_abort(w->ours);
	stream_abort(w->theirs);
}

/* Connects for sure; *peer is the other end, the connection's id is returned. */
static uint32_t connects(struct world *w, const char *peer, struct end *end)
{
	assert_int_equal(asks_connect(&w->g, peer), 0);
	stream_is_open(w->ours);
	assert_int_equal(heard(&w->g), 200);
	assert_int_equal(w->g.in.method, STUN_METHOD_CONNECT);
	end_take(end, w->theirs);
	return guest_u32(&w->g, STUN_ATTR_CONNECTION_ID);
}

static unsigned asks_bind(struct guest *g, uint32_t id)
{
	guest_start(g, STUN_METHOD_CONNECTION_BIND);
	stun_build_u32(&g->b, STUN_ATTR_CONNECTION_ID, id);
	return guest_asks(g);
}

/* A second connection of the same client takes it, with the nonce that it has. */
static void binds(struct world *w, uint32_t id, struct end *end)
{
	struct stream *pair[2];
	struct guest data;

	guest_init(&data, w->rig, "alice", "192.0.2.7:5001", TURN_TCP);
	memcpy(data.nonce, w->g.nonce, w->g.n_nonce);
	data.n_nonce = w->g.n_nonce;
	assert_int_equal(asks_bind(&data, id), 200);
	assert_int_equal(stream_pair_new(w->loop, pair), 0);
	assert_true(turn_server_take_bound(w->rig->s, &data.c, pair[0]));
	assert_false(turn_server_take_bound(w->rig->s, &data.c, pair[0]));
	end_take(end, pair[1]);
}

/* --- tests --- */

static void bytes_go_both_ways(void **state)
{
	struct world *w = *state;
	struct end peer, client;
	uint32_t id;

	id = connects(w, PEER, &peer);
	assert_true(addr_eq(&w->from, &guest_relay(&w->g)->local));
	assert_int_equal(w->to.port, 80);
	says(w, &peer, "before anybody listens");
	binds(w, id, &client);
	turn_loop(w);
	assert_true(hears(&client, "before anybody listens"));
	says(w, &client, "hello");
	assert_true(hears(&peer, "hello"));
	says(w, &peer, "hello yourself");
	assert_true(hears(&client, "hello yourself"));
	/* Half-close: what the other side still says goes on. */
	stream_shutdown(client.s);
	turn_loop(w);
	assert_true(stream_eof(peer.s));
	says(w, &peer, "last words");
	assert_true(hears(&client, "last words"));
	stream_close(peer.s);
	turn_loop(w);
	assert_int_equal(client.n_closed + (client.s && stream_eof(client.s)), 1);
	assert_int_equal(n_relayed(w), 0);
	stream_close(client.s);
}

static void the_last_bytes_arrive(void **state)
{
	struct world *w = *state;
	struct end peer, client;

	binds(w, connects(w, PEER, &peer), &client);
	evbuffer_add(stream_out(peer.s), "bye", 3);
	stream_close(peer.s);
	turn_loop(w);
	assert_true(client.s && hears(&client, "bye"));
	assert_true(stream_eof(client.s));
	stream_close(client.s);
	turn_loop(w);
	assert_int_equal(n_relayed(w), 0);
}

static void a_connection_that_fails_is_447(void **state)
{
	struct world *w = *state;

	assert_int_equal(asks_connect(&w->g, PEER), 0);
	fails(w);
	assert_int_equal(heard(&w->g), 447);
	assert_true(rig_traced(w->rig, "turn.tcp.failed"));
	assert_int_equal(n_relayed(w), 0);
	w->error = -ENETUNREACH;
	assert_int_equal(asks_connect(&w->g, PEER), 447);
	assert_int_equal(n_relayed(w), 0);
	turn_loop(w);
}

static void thirty_seconds_to_connect(void **state)
{
	struct world *w = *state;
	size_t before;

	assert_int_equal(asks_connect(&w->g, PEER), 0);
	before = w->rig->n_sent;
	rig_wait_ms(w->rig, TURN_TCP_CONNECT_MS - 1);
	assert_int_equal(w->rig->n_sent, before);
	w->ours->state = STREAM_OPEN; /* so that the pair lets go of it */
	rig_wait_ms(w->rig, 1);
	assert_int_equal(heard(&w->g), 447);
	assert_int_equal(n_relayed(w), 0);
	stream_abort(w->theirs);
	turn_loop(w);
}

static void thirty_seconds_to_bind(void **state)
{
	struct world *w = *state;
	struct end peer;
	uint32_t id = connects(w, PEER, &peer);
	struct guest data;

	rig_wait_ms(w->rig, TURN_TCP_BIND_MS - 1);
	assert_int_equal(n_relayed(w), 1);
	rig_wait_ms(w->rig, 1);
	assert_int_equal(n_relayed(w), 0);
	guest_init(&data, w->rig, "alice", "192.0.2.7:5001", TURN_TCP);
	guest_hello(&data);
	assert_int_equal(asks_bind(&data, id), 400);
	stream_close(peer.s);
	turn_loop(w);
}

static void one_connection_a_peer(void **state)
{
	struct world *w = *state;
	struct end peer;

	connects(w, PEER, &peer);
	assert_int_equal(asks_connect(&w->g, PEER), 446);
	assert_int_equal(w->n_connects, 1);
	/* The kernel knows of one that we do not, such as in TIME_WAIT. */
	w->error = -EADDRNOTAVAIL;
	assert_int_equal(asks_connect(&w->g, "198.51.100.9:81"), 446);
	assert_true(rig_traced(w->rig, "turn.tcp.exists"));
	stream_close(peer.s);
	turn_loop(w);
}

/* Row 2 of the TURN attacks: Connect under the policy of all verbs. */
static void row2_connect_asks_the_peer_policy(void **state)
{
	static const char *const inside[] = { "127.0.0.1:80",	    "10.0.0.1:80",
					      "169.254.169.254:80", "192.168.1.1:443",
					      "0.0.0.0:80",	    "203.0.113.1:22" };
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		assert_int_equal(asks_connect(&w->g, inside[i]), 403);
	assert_int_equal(asks_connect(&w->g, "[2001:db8::1]:80"), 443);
	assert_int_equal(asks_connect(&w->g, "198.51.100.9:0"), 400);
	guest_start(&w->g, STUN_METHOD_CONNECT);
	assert_int_equal(guest_asks(&w->g), 400);
	assert_int_equal(w->n_connects, 0);
	assert_int_equal(n_relayed(w), 0);
}

static void a_relay_does_not_connect_to_itself(void **state)
{
	struct world *w = *state;
	char own[ADDR_STR_BYTES];

	addr_str(&guest_relay(&w->g)->relayed, own);
	assert_int_equal(asks_connect(&w->g, own), 447);
	assert_int_equal(w->n_connects, 0);
}

static void only_tcp_allocations_connect(void **state)
{
	struct world *w = *state;
	struct guest udp;

	guest_init(&udp, w->rig, "bob", "192.0.2.8:5000", TURN_TCP);
	assert_int_equal(guest_allocates(&udp), 200);
	assert_int_equal(asks_connect(&udp, PEER), 437);
	assert_true(rig_traced(w->rig, "turn.mismatch"));
	assert_int_equal(w->n_connects, 0);
	assert_int_equal(guest_binds(&w->g, 0x4000, PEER), 403);
	assert_true(rig_traced(w->rig, "turn.tcp.channel"));
	assert_false(guest_says(&w->g, PEER, "no datagrams"));
}

/* Turned off: what stands goes as well. */
static void without_tcp_relays_none_stay(void **state)
{
	struct world *w = *state;
	struct end peer, client;
	struct guest udp;

	guest_init(&udp, w->rig, "bob", "192.0.2.8:5000", TURN_TCP);
	assert_int_equal(guest_allocates(&udp), 200);
	binds(w, connects(w, PEER, &peer), &client);
	w->rig->conf.tcp_relays = false;
	assert_int_equal(rig_configure(w->rig), 0);
	assert_int_equal(n_relayed(w), 0);
	assert_int_equal(w->rig->n_relays, 1);
	assert_ptr_equal(w->rig->over, &w->g.c);
	turn_loop(w);
	assert_true(stream_eof(peer.s) && stream_eof(client.s));
	stream_close(peer.s);
	stream_close(client.s);
	turn_loop(w);
}

/* Its stream is gone before it is taken: the connection waits for another one, and nobody gets it
 * by having the same place in memory. */
static void a_bind_of_a_stream_that_is_gone(void **state)
{
	struct world *w = *state;
	struct end peer, client;
	uint32_t id = connects(w, PEER, &peer);
	struct guest data;

	guest_init(&data, w->rig, "alice", "192.0.2.7:5001", TURN_TCP);
	guest_hello(&data);
	assert_int_equal(asks_bind(&data, id), 200);
	turn_server_client_gone(w->rig->s, &data.c, "reset");
	assert_false(turn_server_take_bound(w->rig->s, &data.c, NULL));
	binds(w, id, &client);
	stream_close(client.s);
	stream_close(peer.s);
	turn_loop(w);
	assert_int_equal(n_relayed(w), 0);
}

/* A peer connects; returns our end of the test's. */
static void peer_comes(struct world *w, const char *from, struct end *end)
{
	struct stream *pair[2];

	assert_int_equal(stream_pair_new(w->loop, pair), 0);
	pair[0]->remote = rig_addr(from);
	end_take(end, pair[1]);
	turn_server_peer_connected(w->rig->s, guest_relay(&w->g), pair[0]);
}

static void peers_need_a_permission(void **state)
{
	struct world *w = *state;
	struct end stranger, peer, client;
	struct stun_attr a;
	struct stun_msg m;
	struct addr from;
	uint32_t id;
	size_t before = w->rig->n_sent;

	peer_comes(w, PEER, &stranger);
	turn_loop(w);
	assert_int_equal(stranger.n_closed, 1);
	assert_int_equal(w->rig->n_sent, before);
	assert_true(rig_traced(w->rig, "turn.tcp.no-permission"));
	assert_int_equal(guest_permits(&w->g, "198.51.100.9:0"), 200);
	peer_comes(w, PEER, &peer);
	assert_int_equal(stun_decode(rig_last(w->rig)->p, rig_last(w->rig)->n, &m), 0);
	assert_int_equal(m.class, STUN_CLASS_INDICATION);
	assert_int_equal(m.method, STUN_METHOD_CONNECTION_ATTEMPT);
	assert_true(stun_attr_find(&m, STUN_ATTR_XOR_PEER_ADDRESS, &a));
	assert_true(stun_attr_xor_addr(&m, &a, &from));
	assert_int_equal(from.port, 80);
	assert_true(stun_attr_find(&m, STUN_ATTR_CONNECTION_ID, &a) && stun_attr_u32(&a, &id));
	binds(w, id, &client);
	says(w, &peer, "I came");
	assert_true(hears(&client, "I came"));
	stream_close(client.s);
	stream_close(peer.s);
	turn_loop(w);
	assert_int_equal(n_relayed(w), 0);
}

static void who_may_bind(void **state)
{
	struct world *w = *state;
	struct end peer, client;
	uint32_t id = connects(w, PEER, &peer);
	struct guest other;

	guest_init(&other, w->rig, "bob", "192.0.2.8:5000", TURN_TCP);
	guest_hello(&other);
	assert_int_equal(asks_bind(&other, id), 441);
	assert_int_equal(asks_bind(&other, id + 1), 400);
	/* On the connection of the allocation, and over UDP. */
	assert_int_equal(asks_bind(&w->g, id), 400);
	guest_init(&other, w->rig, "alice", "192.0.2.7:5002", TURN_UDP);
	guest_hello(&other);
	assert_int_equal(asks_bind(&other, id), 400);
	assert_int_equal(n_relayed(w), 1);
	binds(w, id, &client);
	guest_init(&other, w->rig, "alice", "192.0.2.7:5003", TURN_TCP);
	guest_hello(&other);
	assert_int_equal(asks_bind(&other, id), 400);
	stream_close(client.s);
	stream_close(peer.s);
	turn_loop(w);
}

/* A nonce of somebody else's connection is none. */
static void nonces_of_others_do_not_bind(void **state)
{
	struct world *w = *state;
	struct end peer;
	uint32_t id = connects(w, PEER, &peer);
	struct guest third, data;

	guest_init(&third, w->rig, "alice", "192.0.2.9:5000", TURN_TCP);
	guest_hello(&third);
	guest_init(&data, w->rig, "alice", "192.0.2.7:5001", TURN_TCP);
	memcpy(data.nonce, third.nonce, third.n_nonce);
	data.n_nonce = third.n_nonce;
	assert_int_equal(asks_bind(&data, id), 438);
	stream_close(peer.s);
	turn_loop(w);
}

static void connections_are_bounded(void **state)
{
	struct world *w = *state;
	struct end peers[4], late;
	char text[32];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "198.51.100.9:%u", 1000 + i);
		connects(w, text, &peers[i]);
	}
	assert_int_equal(asks_connect(&w->g, "198.51.100.9:2000"), 508);
	assert_int_equal(guest_permits(&w->g, "198.51.100.9:0"), 200);
	peer_comes(w, "198.51.100.9:2001", &late);
	turn_loop(w);
	assert_int_equal(late.n_closed, 1);
	assert_true(rig_traced(w->rig, "turn.tcp.full"));
	for (unsigned i = 0; i < 4; i++)
		stream_close(peers[i].s);
	turn_loop(w);
}

static void all_ends_with_the_allocation(void **state)
{
	struct world *w = *state;
	struct end peer, client, waiting;

	binds(w, connects(w, PEER, &peer), &client);
	connects(w, "198.51.100.9:81", &waiting);
	assert_int_equal(n_relayed(w), 2);
	assert_int_equal(guest_refreshes(&w->g, 0), 200);
	assert_int_equal(n_relayed(w), 0);
	turn_loop(w);
	assert_true(stream_eof(peer.s) && stream_eof(client.s) && stream_eof(waiting.s));
	stream_close(peer.s);
	stream_close(client.s);
	stream_close(waiting.s);
	turn_loop(w);
}

static void a_policy_that_changes_ends_them(void **state)
{
	struct world *w = *state;
	struct end peer, client;

	binds(w, connects(w, PEER, &peer), &client);
	rig_add_prefix(&w->rig->deny, "198.51.100.0/24");
	assert_int_equal(rig_configure(w->rig), 0);
	assert_int_equal(n_relayed(w), 0);
	assert_true(rig_traced(w->rig, "turn.tcp.denied"));
	stream_close(peer.s);
	stream_close(client.s);
	turn_loop(w);
}

static void one_can_be_closed_by_id(void **state)
{
	struct world *w = *state;
	struct end peer, client;
	struct conn *c;

	binds(w, connects(w, PEER, &peer), &client);
	c = CONTAINER_OF(list_first(conn_list(w->rig->conns, CONN_RELAYED)), struct conn, node);
	assert_string_equal(c->user, "alice");
	assert_string_equal(c->state, "open");
	c->close(c, "by hand");
	assert_int_equal(n_relayed(w), 0);
	turn_loop(w);
	assert_true(stream_eof(peer.s) && stream_eof(client.s));
	stream_close(peer.s);
	stream_close(client.s);
	turn_loop(w);
}

#define FLOOD_BYTES (2 * 1024 * 1024)

/* A client that does not read stops the peer, and nothing is lost. */
static void back_pressure(void **state)
{
	struct world *w = *state;
	struct end peer, client;
	uint8_t piece[4096], got[4096];
	size_t n_said = 0, n_heard = 0;
	int n;

	binds(w, connects(w, PEER, &peer), &client);
	while (n_said < FLOOD_BYTES && !stream_is_full(peer.s)) {
		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = (uint8_t)((n_said + i) % 251);
		evbuffer_add(stream_out(peer.s), piece, sizeof(piece));
		n_said += sizeof(piece);
		stream_flush(peer.s);
		turn_loop(w);
	}
	/* Its buffer, ours, the client's: each as full as a stream gets. */
	assert_in_range(n_said, STREAM_HIGH_BYTES, 6 * STREAM_HIGH_BYTES);
	while (n_heard < n_said) {
		n = evbuffer_remove(stream_in(client.s), got, sizeof(got));
		stream_consumed(client.s);
		turn_loop(w);
		assert_true(n > 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(got[i], (n_heard + (size_t)i) % 251);
		n_heard += (size_t)n;
	}
	stream_close(peer.s);
	stream_close(client.s);
	turn_loop(w);
}

static void bandwidth_of_the_user_counts(void **state)
{
	struct world *w = *state;
	struct end peer, client;
	static const uint8_t zeros[60000];
	size_t first;

	w->rig->conf.user_bandwidth = 20000;
	assert_int_equal(rig_configure(w->rig), 0);
	binds(w, connects(w, PEER, &peer), &client);
	evbuffer_add(stream_out(peer.s), zeros, sizeof(zeros));
	stream_flush(peer.s);
	turn_loop(w);
	first = evbuffer_get_length(stream_in(client.s));
	assert_in_range(first, 1, 20000);
	for (int i = 0; i < 100; i++) {
		rig_wait_ms(w->rig, 50);
		turn_loop(w);
	}
	assert_int_equal(evbuffer_get_length(stream_in(client.s)), sizeof(zeros));
	stream_close(peer.s);
	stream_close(client.s);
	turn_loop(w);
}

static void they_are_listed(void **state)
{
	struct world *w = *state;
	struct end peer;
	json_t *all, *one;

	connects(w, PEER, &peer);
	all = turn_server_json(w->rig->s, 0, NULL);
	one = json_array_get(json_object_get(json_array_get(all, 0), "connections"), 0);
	assert_string_equal(json_string_value(json_object_get(one, "peer")), PEER);
	assert_string_equal(json_string_value(json_object_get(one, "state")), "waiting");
	json_decref(all);
	stream_close(peer.s);
	turn_loop(w);
}

/* Connect, its answer, the bind: each survives the n-th allocation failing. */
static void every_failing_allocation_is_survived(void *arg)
{
	struct world *w = arg;
	uint32_t id = 0;
	struct guest data;
	struct stream *pair[2];
	unsigned code;

	w->ours = w->theirs = NULL;
	code = asks_connect(&w->g, PEER);
	if (w->ours && code == 0) {
		stream_is_open(w->ours);
		if (heard(&w->g) == 200)
			id = guest_u32(&w->g, STUN_ATTR_CONNECTION_ID);
	}
	guest_init(&data, w->rig, "alice", "192.0.2.7:5001", TURN_TCP);
	memcpy(data.nonce, w->g.nonce, w->g.n_nonce);
	data.n_nonce = w->g.n_nonce;
	code = id ? asks_bind(&data, id) : 0;
	if (code == 200 && stream_pair_new(w->loop, pair) == 0) {
		assert_true(turn_server_take_bound(w->rig->s, &data.c, pair[0]));
		stream_close(pair[1]);
	}
	if (w->theirs)
		stream_close(w->theirs);
	/* What is left goes by its timer. */
	rig_wait_ms(w->rig, TURN_TCP_BIND_MS);
	turn_loop(w);
	assert_int_equal(n_relayed(w), 0);
}

static void failing_allocations(void **state)
{
	assert_true(alloc_fail_sweep(every_failing_allocation_is_survived, *state) > 1);
}

/* --- any order of events --- */

enum { N_ENDS = 48, N_STEPS = 4000 };

/* Streams of peers and data connections, in any state. */
struct walk {
	struct world *w;
	uint32_t seed;
	struct end ends[N_ENDS];
	uint32_t ids[8]; /* of connections that wait, or did */
	unsigned n_ids;
};

static unsigned draw(struct walk *k, unsigned n)
{
	k->seed = k->seed * 1664525u + 1013904223u;
	return (k->seed >> 8) % n;
}

static struct end *free_end(struct walk *k)
{
	for (unsigned i = 0; i < N_ENDS; i++)
		if (!k->ends[i].s)
			return &k->ends[i];
	return NULL;
}

static struct end *any_end(struct walk *k)
{
	struct end *e = &k->ends[draw(k, N_ENDS)];

	return e->s ? e : NULL;
}

static void note_id(struct walk *k, const struct stun_msg *m)
{
	struct stun_attr a;
	uint32_t id;

	if (stun_attr_find(m, STUN_ATTR_CONNECTION_ID, &a) && stun_attr_u32(&a, &id))
		k->ids[k->n_ids++ % 8] = id;
}

/* A connection that is not open yet goes with its allocation, by hand, by time or by policy. */
static void walk_ends_connecting(struct walk *k)
{
	struct world *w = k->w;
	struct conn *c =
		CONTAINER_OF(conn_list(w->rig->conns, CONN_RELAYED)->prev, struct conn, node);

	switch (draw(k, 4)) {
	case 0:
		guest_refreshes(&w->g, 0);
		return;
	case 1:
		assert_string_equal(c->state, "connecting");
		c->close(c, "by hand");
		assert_int_equal(heard(&w->g), 447);
		return;
	case 2:
		rig_wait_ms(w->rig, TURN_TCP_CONNECT_MS);
		return;
	default:
		rig_add_prefix(&w->rig->deny, "198.51.100.0/24");
		assert_int_equal(rig_configure(w->rig), 0);
		w->rig->deny.n = 0;
		assert_int_equal(rig_configure(w->rig), 0);
	}
}

/* The connection opens, fails, or goes before. */
static void walk_connects(struct walk *k, const char *peer)
{
	struct world *w = k->w;
	struct end *e = free_end(k);
	unsigned how = draw(k, 3);
	struct stun_msg m;

	w->ours = w->theirs = NULL;
	if (!e || asks_connect(&w->g, peer) != 0 || !w->ours)
		return;
	end_take(e, w->theirs);
	if (how == 0) {
		stream_is_open(w->ours);
		assert_int_equal(stun_decode(rig_last(w->rig)->p, rig_last(w->rig)->n, &m), 0);
		note_id(k, &m);
	} else if (how == 1) {
		e->s = NULL;
		fails(w);
	} else {
		w->ours->state = STREAM_OPEN; /* so that the pair lets go of it */
		walk_ends_connecting(k);
	}
}

static void walk_binds(struct walk *k)
{
	struct world *w = k->w;
	struct end *e = free_end(k);
	struct stream *pair[2];
	struct guest data;

	if (!e)
		return;
	guest_init(&data, w->rig, draw(k, 8) ? "alice" : "bob", "192.0.2.7:5001", TURN_TCP);
	guest_hello(&data);
	if (asks_bind(&data, k->ids[draw(k, 8)]) == 200 && draw(k, 8)) {
		assert_int_equal(stream_pair_new(w->loop, pair), 0);
		assert_true(turn_server_take_bound(w->rig->s, &data.c, pair[0]));
		end_take(e, pair[1]);
	}
	turn_server_client_gone(w->rig->s, &data.c, "over");
}

static void walk_peer_comes(struct walk *k, const char *from)
{
	struct end *e = free_end(k);
	size_t before = k->w->rig->n_sent;
	struct stun_msg m;

	if (!e || !k->w->g.c.alloc)
		return;
	if (draw(k, 2))
		guest_permits(&k->w->g, from);
	before = k->w->rig->n_sent;
	peer_comes(k->w, from, e);
	if (k->w->rig->n_sent > before &&
	    stun_decode(rig_last(k->w->rig)->p, rig_last(k->w->rig)->n, &m) == 0)
		note_id(k, &m);
}

static void walk_end(struct walk *k)
{
	static const uint8_t zeros[50000];
	struct end *e = any_end(k);
	char got[4096];

	if (!e)
		return;
	switch (draw(k, 6)) {
	case 0:
		stream_close(e->s);
		e->s = NULL;
		return;
	case 1:
		stream_abort(e->s);
		e->s = NULL;
		return;
	case 2:
		stream_shutdown(e->s);
		return;
	case 3:
		if (!e->s->shut && !stream_is_full(e->s))
			evbuffer_add(stream_out(e->s), zeros, draw(k, sizeof(zeros)));
		stream_flush(e->s);
		return;
	default:
		evbuffer_remove(stream_in(e->s), got, sizeof(got));
		stream_consumed(e->s);
	}
}

static void walk_server(struct walk *k)
{
	struct world *w = k->w;
	const struct list *all = conn_list(w->rig->conns, CONN_RELAYED);
	struct conn *c;

	switch (draw(k, 5)) {
	case 0:
		rig_wait_ms(w->rig, 1 + draw(k, 40000));
		return;
	case 1:
		w->rig->deny.n = 0;
		if (draw(k, 2))
			rig_add_prefix(&w->rig->deny, "198.51.100.1/32");
		w->rig->conf.user_bandwidth = draw(k, 2) * 20000;
		assert_int_equal(rig_configure(w->rig), 0);
		return;
	case 2:
		if (n_relayed(w) == 0)
			return;
		c = CONTAINER_OF(list_first(all), struct conn, node);
		c->close(c, "by hand");
		return;
	case 3:
		if (draw(k, 4) == 0)
			turn_server_client_gone(w->rig->s, &w->g.c, "reset");
		return;
	default:
		guest_refreshes(&w->g, 600);
	}
}

/* Connects, binds, ends, time and settings in any order: nothing is used after it is gone, and
 * nothing is left. */
static void any_order_of_events(void **state)
{
	static const char *const peers[] = { "198.51.100.1:80", "198.51.100.1:81",
					     "198.51.100.2:80", "198.51.100.3:80" };
	struct world *w = *state;
	struct walk *k = calloc(1, sizeof(*k));

	k->w = w;
	k->seed = 4711;
	for (unsigned i = 0; i < N_STEPS; i++) {
		const char *peer = peers[draw(k, 4)];

		switch (draw(k, 8)) {
		case 0:
			walk_connects(k, peer);
			break;
		case 1:
			walk_peer_comes(k, peer);
			break;
		case 2:
			walk_binds(k);
			break;
		case 3:
			walk_server(k);
			break;
		default:
			walk_end(k);
		}
		if (draw(k, 2))
			turn_loop(w);
		if (!w->g.c.alloc)
			guest_allocates_tcp(&w->g);
		assert_true(n_relayed(w) <= w->rig->conf.max_connections);
	}
	for (unsigned i = 0; i < N_ENDS; i++)
		stream_close(k->ends[i].s);
	guest_refreshes(&w->g, 0);
	turn_loop(w);
	assert_int_equal(n_relayed(w), 0);
	free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_go_both_ways),
		TEST(the_last_bytes_arrive),
		TEST(a_connection_that_fails_is_447),
		TEST(thirty_seconds_to_connect),
		TEST(thirty_seconds_to_bind),
		TEST(one_connection_a_peer),
		TEST(row2_connect_asks_the_peer_policy),
		TEST(a_relay_does_not_connect_to_itself),
		TEST(only_tcp_allocations_connect),
		TEST(without_tcp_relays_none_stay),
		TEST(a_bind_of_a_stream_that_is_gone),
		TEST(any_order_of_events),
		TEST(peers_need_a_permission),
		TEST(who_may_bind),
		TEST(nonces_of_others_do_not_bind),
		TEST(connections_are_bounded),
		TEST(all_ends_with_the_allocation),
		TEST(a_policy_that_changes_ends_them),
		TEST(one_can_be_closed_by_id),
		TEST(back_pressure),
		TEST(bandwidth_of_the_user_counts),
		TEST(they_are_listed),
		TEST(failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
