/*
 * The module of E on real loopback sockets: clients over UDP, TCP and TLS, a peer as a plain UDP
 * socket, reloads, and clients that behave badly.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "core/ctl.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "proto/turn.h"
#include "support/alloc_fail.h"
#include "support/free_port.h"
#include "support/stream_box.h"
#include "turn/credentials.h"
#include "turn/edge_side.h"
#include "turn/turn_conf.h"
#include "turnpike/modules.h"
#include "turnpike/tunnel.h"
#include "turnpike/turn.h"

#define REALM "edge1.example.com"

/* --- stands in for the tunnel: keeps what it was given --- */

static struct {
	const struct tunnel_sink *secrets;
	void *secrets_arg;
	char item[512]; /* what is published now, "" for nothing */
	int64_t skew_ms;
} tunnel;

static int tunnel_publish(void *self, const char *table, const struct tunnel_source *source,
			  void *arg)
{
	return strcmp(table, "turn") == 0 ? 0 : -EINVAL;
}

static void tunnel_put(void *self, tunnel_peer to, const char *table, const char *key,
		       const json_t *item)
{
	char *text = json_dumps(item, JSON_COMPACT);

	assert_string_equal(key, "server");
	slice_copy(tunnel.item, sizeof(tunnel.item), slice_of(text));
	free(text);
}

static void tunnel_del(void *self, tunnel_peer to, const char *table, const char *key)
{
	tunnel.item[0] = '\0';
}

static int tunnel_subscribe(void *self, const char *table, const struct tunnel_sink *sink,
			    void *arg)
{
	tunnel.secrets = sink;
	tunnel.secrets_arg = arg;
	return strcmp(table, "turn-secrets") == 0 ? 0 : -EINVAL;
}

static bool tunnel_peer_info(void *self, size_t i, struct tunnel_peer_info *out)
{
	*out = (struct tunnel_peer_info){ .id = 7, .up = true, .skew_ms = tunnel.skew_ms };
	return i == 0;
}

static const struct tunnel_ops tunnel_ops = { .publish = tunnel_publish,
					      .put = tunnel_put,
					      .del = tunnel_del,
					      .subscribe = tunnel_subscribe,
					      .peer = tunnel_peer_info };

static int tunnel_init(struct env *env, void **self)
{
	memset(&tunnel, 0, sizeof(tunnel));
	return service_offer(env->modules, TUNNEL_SERVICE, &tunnel_ops, NULL);
}

static const struct module tunnel_double = { .name = "tunnel",
					     .roles = CONF_ROLE_BOTH,
					     .init = tunnel_init };
static const struct module *const modules[] = { &tunnel_double, &turn_module };
static const struct conf_section *const schema[] = { &system_conf_section, &tls_conf_section,
						     &turn_section, &turn_user_section };

struct world {
	struct stream_box *box;
	struct modules *m;
	uint16_t port, tls_port, relay_first; /* UDP and TCP; TLS; 100 relay ports */
	int peer;			      /* UDP, on a port of the relays */
	struct addr peer_at;
};

#define UNTIL_W(what) UNTIL(w->box, what)

/* --- configuration --- */

static struct conf_snapshot *conf_of(struct world *w, const char *users, const char *more)
{
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 8192);
	buf_init(&errors, 8192);
	buf_printf(&text,
		   "[system]\nrole = E\nname = " REALM "\n[tls web]\ncertificate = %s/web.pem\n"
		   "key = %s/web.key\n%s[turn]\naddress = 127.0.0.1\nrelay-address = 127.0.0.1\n"
		   "udp-ports = %u-%u\ntcp-ports = %u-%u\ntls = web\ntls-ports = %u\n"
		   "relay-ports = %u-%u\n%s",
		   w->box->dir, w->box->dir, users, w->port, w->port, w->port, w->port, w->tls_port,
		   w->relay_first, w->relay_first + 99, more);
	snap = conf_parse(w->box->env.conf, "test.ini", buf_slice(&text), 0, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&text);
	buf_fini(&errors);
	return snap;
}

#define USERS "[turn-user bob]\npassword = secret\n"
#define ON    "enabled = yes\nidle-timeout = 10s\nuser-quota = 0\n"

static int reload(struct world *w, const char *users, const char *more)
{
	struct conf_snapshot *next = conf_of(w, users, more);
	struct buf errors;
	int error;

	buf_init(&errors, 8192);
	error = modules_reload(w->m, next, &errors);
	if (error)
		conf_unref(next);
	else
		conf_swap(w->box->env.conf, next);
	buf_fini(&errors);
	return error;
}

/* The same 100 for all of them. */
static uint16_t relay_ports(void)
{
	static uint16_t first;

	if (!first)
		first = free_ports(100);
	return first;
}

static int begin(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct env *env;
	struct conf_snapshot *snap;
	struct buf errors;
	char path[64];
	int error;

	w->box = stream_box_new();
	env = &w->box->env;
	conf_store_free(env->conf);
	env->conf = conf_store_new(schema, 4);
	w->port = free_port();
	w->tls_port = free_port();
	w->relay_first = relay_ports();
	w->peer_at = stream_box_addr((uint16_t)(w->relay_first + 50));
	w->peer = net_bind_udp(&w->peer_at);
	assert_true(w->peer >= 0);
	snap = conf_of(w, USERS, ON);
	buf_init(&errors, 8192);
	assert_int_equal(tls_store_load(env->tls, snap, &errors), 0);
	buf_fini(&errors);
	conf_swap(env->conf, snap);
	snprintf(path, sizeof(path), "%s/ctl", w->box->dir);
	w->m = modules_new(env, modules, 2);
	env->modules = w->m;
	env->ctl = ctl_new(env, path, NULL, &error);
	assert_true(w->m && env->ctl);
	assert_int_equal(modules_init(w->m), 0);
	assert_int_equal(modules_start(w->m), 0);
	*state = w;
	return 0;
}

static int finish(void **state)
{
	struct world *w = *state;

	ctl_free(w->box->env.ctl);
	modules_free(w->m);
	for (int i = 0; i < 5; i++)
		loop_once(w->box->env.loop, 0);
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 0);
	assert_int_equal(conn_count(w->box->env.conns, CONN_TURN), 0);
	close(w->peer);
	stream_box_free(w->box);
	free(w);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

/* --- a client --- */

enum via { VIA_UDP, VIA_TCP, VIA_TLS, VIA_TLS_ON_TCP_PORT };

struct client {
	struct world *w;
	int fd;		  /* UDP */
	struct stream *s; /* else */
	bool closed;
	char nonce[128];
	size_t n_nonce;
	uint8_t got[2048]; /* the last message that came */
	size_t n_got;
	uint8_t out[1024];
	struct stun_build b;
	uint8_t salt;
	char user[64], password[32];
};

static void on_readable(void *arg)
{
}

static void on_closed(void *arg, enum stream_end how, const char *why)
{
	struct client *c = arg;

	c->closed = true;
	c->s = NULL;
}

static const struct stream_handler handler = { NULL, on_readable, NULL, on_closed };

static void client_open(struct client *c, struct world *w, enum via via)
{
	struct addr any = stream_box_addr(0), to = stream_box_addr(w->port);
	struct stream_connect sc = { .to = to, .timeout_ms = 10000 };
	struct sockaddr_storage ss;
	socklen_t n;
	int error;

	*c = (struct client){ .w = w, .fd = -1, .user = "bob", .password = "secret" };
	if (via == VIA_UDP) {
		c->fd = net_bind_udp(&any);
		n = addr_to_sockaddr(&to, &ss);
		assert_int_equal(connect(c->fd, (struct sockaddr *)&ss, n), 0);
		return;
	}
	sc.tls_public = via != VIA_TCP;
	if (via == VIA_TLS)
		sc.to.port = w->tls_port;
	c->s = stream_connect(&w->box->env, &sc, &handler, c, &error);
	assert_non_null(c->s);
	UNTIL_W(c->closed || c->s->state == STREAM_OPEN);
	assert_false(c->closed);
}

static void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	stream_close(c->s);
	c->s = NULL;
	for (int i = 0; i < 5; i++)
		loop_once(c->w->box->env.loop, 0);
}

static void client_sends(struct client *c, const void *p, size_t n)
{
	if (c->fd >= 0) {
		assert_int_equal(send(c->fd, p, n, 0), (ssize_t)n);
		return;
	}
	evbuffer_add(stream_out(c->s), p, n);
	stream_flush(c->s);
}

/* The next whole message, padding and all. */
static bool client_has(struct client *c)
{
	size_t len, n;
	ssize_t got;

	if (c->fd >= 0) {
		got = recv(c->fd, c->got, sizeof(c->got), MSG_DONTWAIT);
		c->n_got = got > 0 ? (size_t)got : 0;
		return got > 0;
	}
	if (!c->s)
		return false;
	n = (size_t)evbuffer_copyout(stream_in(c->s), c->got, sizeof(c->got));
	if (n == 0 || turn_frame_look(c->got, n, TURN_CHANNEL_LAST, &len) == TURN_FRAME_MORE ||
	    len > n)
		return false;
	assert_true(turn_frame_look(c->got, n, TURN_CHANNEL_LAST, &len) != TURN_FRAME_BAD);
	evbuffer_drain(stream_in(c->s), len);
	stream_consumed(c->s);
	c->n_got = len;
	return true;
}

static void client_start(struct client *c, uint16_t method)
{
	uint8_t tid[STUN_TID_BYTES] = { ++c->salt };

	stun_build_start(&c->b, c->out, sizeof(c->out), STUN_CLASS_REQUEST, method, tid);
	if (method == STUN_METHOD_ALLOCATE)
		stun_build_attr(&c->b, STUN_ATTR_REQUESTED_TRANSPORT, "\x11\0\0", 4);
}

/* 200 or the code of the error. */
static unsigned client_asks(struct client *c)
{
	struct world *w = c->w;
	uint8_t key[STUN_KEY_BYTES];
	struct stun_msg m;
	struct stun_attr a;
	struct slice reason;
	unsigned code = 200;

	if (c->n_nonce) {
		stun_key_md5(slice_of(c->user), SLICE(REALM), slice_of(c->password), key);
		stun_build_slice(&c->b, STUN_ATTR_USERNAME, slice_of(c->user));
		stun_build_slice(&c->b, STUN_ATTR_REALM, SLICE(REALM));
		stun_build_attr(&c->b, STUN_ATTR_NONCE, c->nonce, c->n_nonce);
		stun_build_integrity(&c->b, (struct slice){ (const char *)key, 16 });
	}
	client_sends(c, c->out, stun_build_end(&c->b));
	UNTIL_W(client_has(c));
	assert_int_equal(stun_decode(c->got, c->n_got, &m), 0);
	if (m.class == STUN_CLASS_ERROR) {
		assert_true(stun_attr_find(&m, STUN_ATTR_ERROR_CODE, &a));
		assert_true(stun_attr_error(&a, &code, &reason));
	}
	if (stun_attr_find(&m, STUN_ATTR_NONCE, &a)) {
		memcpy(c->nonce, a.p, a.n);
		c->n_nonce = a.n;
	}
	return code;
}

static unsigned client_allocates(struct client *c)
{
	client_start(c, STUN_METHOD_ALLOCATE);
	if (client_asks(c) != 401)
		return 0;
	client_start(c, STUN_METHOD_ALLOCATE);
	return client_asks(c);
}

static void client_binds(struct client *c, uint16_t number)
{
	client_start(c, STUN_METHOD_CHANNEL_BIND);
	stun_build_channel(&c->b, number);
	stun_build_xor_addr(&c->b, STUN_ATTR_XOR_PEER_ADDRESS, &c->w->peer_at);
	assert_int_equal(client_asks(c), 200);
}

static size_t channel_data(uint8_t *out, uint16_t number, const char *text)
{
	size_t n = strlen(text);

	turn_channel_header(out, number, n);
	memcpy(out + TURN_CHANNEL_HEADER_BYTES, text, n);
	memset(out + TURN_CHANNEL_HEADER_BYTES + n, 0, turn_padding(n));
	return TURN_CHANNEL_HEADER_BYTES + n + turn_padding(n);
}

/* What the client says on the channel reaches the peer, and its answer the client. */
static void talk(struct client *c, uint16_t number)
{
	struct world *w = c->w;
	uint8_t raw[64];
	char at_peer[64];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct slice data;
	uint16_t from;
	ssize_t n = -1;

	client_sends(c, raw, channel_data(raw, number, "ping"));
	UNTIL_W((n = recvfrom(w->peer, at_peer, sizeof(at_peer), MSG_DONTWAIT,
			      (struct sockaddr *)&ss, &len)) >= 0);
	assert_int_equal(n, 4);
	assert_memory_equal(at_peer, "ping", 4);
	/* Five bytes: padded on a stream. */
	assert_int_equal(sendto(w->peer, "pong!", 5, 0, (struct sockaddr *)&ss, len), 5);
	UNTIL_W(client_has(c));
	assert_true(turn_channel_decode(c->got, c->n_got, &from, &data));
	assert_int_equal(from, number);
	assert_true(slice_eq(data, SLICE("pong!")));
	assert_int_equal(c->n_got, c->fd >= 0 ? 9 : 12);
}

/* --- tests --- */

static void round_trip(void **state, enum via via)
{
	struct world *w = *state;
	struct client c;

	client_open(&c, w, via);
	assert_int_equal(client_allocates(&c), 200);
	client_binds(&c, 0x4001);
	talk(&c, 0x4001);
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 1);
	assert_int_equal(conn_count(w->box->env.conns, CONN_TURN), via != VIA_UDP);
	client_start(&c, STUN_METHOD_REFRESH);
	stun_build_u32(&c.b, STUN_ATTR_LIFETIME, 0);
	assert_int_equal(client_asks(&c), 200);
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 0);
	client_close(&c);
	UNTIL_W(conn_count(w->box->env.conns, CONN_TURN) == 0);
}

static void udp_round_trip(void **state)
{
	round_trip(state, VIA_UDP);
}

static void tcp_round_trip(void **state)
{
	round_trip(state, VIA_TCP);
}

static void tls_round_trip(void **state)
{
	round_trip(state, VIA_TLS);
}

static void tls_is_recognised_on_the_tcp_port(void **state)
{
	round_trip(state, VIA_TLS_ON_TCP_PORT);
}

/* RFC 7443. On both ports; who does not ask gets no answer to it. */
static void tls_says_stun_turn(void **state)
{
	static const unsigned char asked[] = "\x02h2\x09stun.turn";
	struct world *w = *state;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const unsigned char *got;
	unsigned n;

	for (int i = 0; i < 4; i++) {
		struct addr to = stream_box_addr(i % 2 ? w->port : w->tls_port);
		struct sockaddr_storage ss;
		socklen_t len = addr_to_sockaddr(&to, &ss);
		int fd = socket(ss.ss_family, SOCK_STREAM, 0), result = 0;
		SSL *ssl = SSL_new(ctx);

		assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
		assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		SSL_set_fd(ssl, fd);
		if (i < 2)
			SSL_set_alpn_protos(ssl, asked, sizeof(asked) - 1);
		UNTIL_W((result = SSL_connect(ssl)) == 1 ||
			SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ);
		assert_int_equal(result, 1);
		SSL_get0_alpn_selected(ssl, &got, &n);
		assert_int_equal(n, i < 2 ? 9 : 0);
		if (n)
			assert_memory_equal(got, "stun.turn", 9);
		SSL_free(ssl);
		close(fd);
	}
	SSL_CTX_free(ctx);
	UNTIL_W(conn_count(w->box->env.conns, CONN_TURN) == 0);
}

static void a_stream_that_ends_ends_its_allocation(void **state)
{
	struct world *w = *state;
	struct client c;

	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates(&c), 200);
	client_close(&c);
	UNTIL_W(conn_count(w->box->env.conns, CONN_ALLOCATION) == 0);
}

static void a_connection_closes_by_id(void **state)
{
	struct world *w = *state;
	struct conn *conn;
	struct client c;

	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates(&c), 200);
	conn = CONTAINER_OF(list_first(conn_list(w->box->env.conns, CONN_TURN)), struct conn, node);
	conn->close(conn, "by hand");
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 0);
	UNTIL_W(c.closed || stream_eof(c.s));
	client_close(&c);
}

/* Row 12: slow and garbage TCP clients. */
static void fault28_garbage_is_closed(void **state)
{
	static const char *const garbage[] = { "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
					       "\x80\x80\x80\x80", "\x7f\xff\xff\xff" };
	struct world *w = *state;
	struct client c;

	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		client_open(&c, w, VIA_TCP);
		client_sends(&c, garbage[i], strlen(garbage[i]));
		UNTIL_W(c.closed || stream_eof(c.s));
		client_close(&c);
	}
	assert_true(trace_count(w->box->env.trace, "turn.stream.bad") >= 3);
	UNTIL_W(conn_count(w->box->env.conns, CONN_TURN) == 0);
}

static void fault28_a_trickling_client_is_served(void **state)
{
	struct world *w = *state;
	struct client c;
	uint8_t raw[64];
	size_t n;
	ssize_t got = -1;
	char text[64];

	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates(&c), 200);
	client_binds(&c, 0x4001);
	n = channel_data(raw, 0x4001, "slowly");
	for (size_t i = 0; i < n; i++) {
		client_sends(&c, raw + i, 1);
		for (int j = 0; j < 3; j++)
			loop_once(w->box->env.loop, 0);
	}
	UNTIL_W((got = recv(w->peer, text, sizeof(text), MSG_DONTWAIT)) >= 0);
	assert_int_equal(got, 6);
	client_close(&c);
}

static void fault28_silence_without_an_allocation_ends(void **state)
{
	struct world *w = *state;
	struct client idle, busy;

	assert_int_equal(reload(w, USERS, "enabled = yes\nidle-timeout = 100ms\n"), 0);
	client_open(&busy, w, VIA_TCP);
	assert_int_equal(client_allocates(&busy), 200);
	client_open(&idle, w, VIA_TCP);
	client_sends(&idle, "\0", 1);
	UNTIL_W(idle.closed || stream_eof(idle.s));
	client_binds(&busy, 0x4001);
	talk(&busy, 0x4001);
	client_close(&idle);
	client_close(&busy);
}

/* More frames than one client gets done in a turn, in as few reads as TCP makes of them. */
static void many_frames_at_once(void **state)
{
	struct world *w = *state;
	struct client c;
	uint8_t raw[16];
	char text[16];
	unsigned n_sent = 600, n_got = 0;
	size_t n;

	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates(&c), 200);
	client_binds(&c, 0x4001);
	for (unsigned i = 0; i < n_sent; i++) {
		n = channel_data(raw, 0x4001, "frame");
		evbuffer_add(stream_out(c.s), raw, n);
	}
	stream_flush(c.s);
	while (n_got < n_sent) {
		UNTIL_W(recv(w->peer, text, sizeof(text), MSG_DONTWAIT) == 5);
		n_got++;
	}
	client_close(&c);
}

/* A client that takes nothing loses packets, and its memory is bounded. */
static void a_client_that_does_not_read_loses_packets(void **state)
{
	struct world *w = *state;
	struct client c;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	static const char big[1200];
	uint8_t raw[64];
	char text[16];
	const struct conn *conn;

	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates(&c), 200);
	client_binds(&c, 0x4001);
	client_sends(&c, raw, channel_data(raw, 0x4001, "ping"));
	UNTIL_W(recvfrom(w->peer, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&ss, &len) ==
		4);
	conn = CONTAINER_OF(list_first(conn_list(w->box->env.conns, CONN_TURN)), struct conn, node);
	/* The client's own unread bytes pause its stream, then the kernel's buffers fill. */
	UNTIL_W(sendto(w->peer, big, sizeof(big), 0, (struct sockaddr *)&ss, len) > 0 &&
		conn->n_dropped > 0);
	client_close(&c);
}

static void a_reload_keeps_what_stays(void **state)
{
	struct world *w = *state;
	struct client udp, tcp;
	uint16_t old_tls = w->tls_port;

	client_open(&udp, w, VIA_UDP);
	client_open(&tcp, w, VIA_TCP);
	assert_int_equal(client_allocates(&udp), 200);
	assert_int_equal(client_allocates(&tcp), 200);
	client_binds(&udp, 0x4001);
	w->tls_port = free_port();
	assert_int_equal(reload(w, USERS, ON "max-allocations = 2\n"), 0);
	talk(&udp, 0x4001);
	client_binds(&tcp, 0x4002);
	client_close(&tcp);
	UNTIL_W(conn_count(w->box->env.conns, CONN_ALLOCATION) == 1);
	client_open(&tcp, w, VIA_TLS);
	assert_int_equal(client_allocates(&tcp), 200);

	assert_true(old_tls != w->tls_port);
	client_close(&tcp);
	client_close(&udp);
}

static void a_reload_ends_what_is_not_allowed_any_more(void **state)
{
	struct world *w = *state;
	struct client c;
	uint16_t old = w->port;

	client_open(&c, w, VIA_UDP);
	assert_int_equal(client_allocates(&c), 200);
	assert_int_equal(reload(w, "[turn-user bob]\npassword = other\n", ON), 0);
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 0);
	assert_int_equal(reload(w, USERS, ON), 0);
	assert_int_equal(client_allocates(&c), 0); /* the nonce is still good: no 401 */
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 1);
	/* Another port: the socket that it came through is gone. */
	w->port = free_port();
	assert_int_equal(reload(w, USERS, ON), 0);
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 0);
	assert_true(old != w->port);
	client_close(&c);
	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates(&c), 200);
	assert_int_equal(reload(w, USERS, "enabled = no\n"), 0);
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 0);
	assert_int_equal(conn_count(w->box->env.conns, CONN_LISTENER), 1); /* the control socket */
	UNTIL_W(c.closed || stream_eof(c.s));
	client_close(&c);
	assert_int_equal(reload(w, USERS, ON), 0);
	client_open(&c, w, VIA_UDP);
	assert_int_equal(client_allocates(&c), 200);
	client_close(&c);
}

static void a_port_in_use_changes_nothing(void **state)
{
	struct world *w = *state;
	struct addr a = stream_box_addr(0);
	int fd = net_bind_udp(&a);
	uint16_t old = w->port;
	struct client c;

	w->port = net_local_addr(fd).port;
	assert_int_equal(reload(w, USERS, ON), -EINVAL);
	w->port = old;
	client_open(&c, w, VIA_UDP);
	assert_int_equal(client_allocates(&c), 200);
	client_close(&c);
	close(fd);
}

static void others_are_told(void **state)
{
	struct world *w = *state;
	struct service s = service_find(w->m, TURN_SERVICE);
	const struct turn_ops *ops = s.ops;
	struct turn_facts f;
	struct addr relay = stream_box_addr((uint16_t)(w->relay_first + 7)), reached;

	assert_true(ops->facts(s.self, &f));
	assert_string_equal(f.host, REALM);
	assert_string_equal(f.realm, REALM);
	assert_int_equal(f.n_udp, 1);
	assert_int_equal(f.udp_ports[0], w->port);
	assert_int_equal(f.tls_ports[0], w->tls_port);
	assert_true(ops->relay_of(s.self, &relay, &reached));
	assert_true(addr_eq(&relay, &reached));
	relay.port = (uint16_t)(w->relay_first + 100);
	assert_false(ops->relay_of(s.self, &relay, &reached));
	assert_int_equal(reload(w, USERS, "enabled = no\n"), 0);
	assert_false(ops->facts(s.self, &f));
}

static void draining_takes_no_new_ones(void **state)
{
	struct world *w = *state;
	struct client old, late;

	client_open(&old, w, VIA_UDP);
	assert_int_equal(client_allocates(&old), 200);
	client_binds(&old, 0x4001);
	modules_drain(w->m);
	assert_false(modules_drained(w->m));
	talk(&old, 0x4001);
	client_open(&late, w, VIA_UDP);
	assert_int_equal(client_allocates(&late), 508);
	client_start(&old, STUN_METHOD_REFRESH);
	stun_build_u32(&old.b, STUN_ATTR_LIFETIME, 0);
	assert_int_equal(client_asks(&old), 200);
	assert_true(modules_drained(w->m));
	client_close(&old);
	client_close(&late);
}

/* Allocates with a credential made from the secret that C gave; the code of the answer. */
static unsigned expiring_allocates(struct world *w, int64_t expiry_s)
{
	struct client c;
	unsigned code;

	client_open(&c, w, VIA_UDP);
	snprintf(c.user, sizeof(c.user), "%lld:guest@example.com", (long long)expiry_s);
	turn_credentials_password(SLICE("0123456789abcdef0123456789abcdef"), slice_of(c.user),
				  c.password);
	code = client_allocates(&c);
	if (code == 200) {
		client_start(&c, STUN_METHOD_REFRESH);
		stun_build_u32(&c.b, STUN_ATTR_LIFETIME, 0);
		assert_int_equal(client_asks(&c), 200);
	}
	client_close(&c);
	return code;
}

static unsigned minted_allocates(struct world *w)
{
	return expiring_allocates(w, (int64_t)time(NULL) + 600);
}

static void put_secret_of(tunnel_peer from, const char *key, int64_t left_s, const char *secret)
{
	json_t *item = json_pack("{s:s,s:I}", "secret", secret, "left", (json_int_t)left_s);

	tunnel.secrets->put(tunnel.secrets_arg, from, key, item);
	json_decref(item);
}

static void put_secret(const char *key, int64_t left_s, const char *secret)
{
	put_secret_of(7, key, left_s, secret);
}

#define SECRET "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static void secrets_come_and_go(void **state)
{
	struct world *w = *state;
	const struct tunnel_sink *sink = tunnel.secrets;
	char long_key[128];

	assert_int_equal(minted_allocates(w), 401);
	put_secret("a", 600, SECRET);
	assert_int_equal(minted_allocates(w), 200);
	sink->del(tunnel.secrets_arg, 7, "a");
	assert_int_equal(minted_allocates(w), 401);
	put_secret("a", 600, SECRET);
	sink->reset(tunnel.secrets_arg, 7);
	assert_int_equal(minted_allocates(w), 401);
	/* Hostile or broken items. */
	put_secret("b", 600, "not base64!");
	put_secret("c", 600, "");
	put_secret("", 600, SECRET);
	memset(long_key, 'x', sizeof(long_key));
	long_key[sizeof(long_key) - 1] = '\0';
	put_secret(long_key, 600, SECRET);
	sink->put(tunnel.secrets_arg, 7, "d", json_null());
	sink->del(tunnel.secrets_arg, 7, "nothing");
	assert_int_equal(minted_allocates(w), 401);
	put_secret("e", 0, SECRET);
	put_secret("e", -1, SECRET);
	put_secret("e", INT64_MIN, SECRET);
	assert_int_equal(minted_allocates(w), 401);
	put_secret("e", INT64_MAX, SECRET);
	assert_int_equal(minted_allocates(w), 200);
	/* Over: dropped when the timer looks. */
	put_secret("e", 1, SECRET);
	UNTIL_W(minted_allocates(w) == 401);
	/* Also when there are more than there is room for. */
	for (unsigned i = 0; i < 100; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		put_secret(key, 600, SECRET);
	}
	assert_int_equal(minted_allocates(w), 200);
	sink->reset(tunnel.secrets_arg, 7);
	assert_int_equal(minted_allocates(w), 401);
}

/* The edge looks at its secrets every two seconds. */
static void turn_clock(struct world *w)
{
	struct loop *loop = w->box->env.loop;

	timerq_run(loop_timers(loop), loop_now_ms(loop) + 2001);
}

/* The clock of a box is set, by a year: what C gave lives on. */
static void clocks_are_set(void **state)
{
	struct world *w = *state;
	const int64_t year_s = 365 * 86400;
	int64_t now = (int64_t)time(NULL);

	put_secret("a", 600, SECRET);
	assert_int_equal(minted_allocates(w), 200);
	tunnel.skew_ms = year_s * 1000;
	turn_clock(w);
	assert_int_equal(minted_allocates(w), 401); /* run out by C's clock */
	assert_int_equal(expiring_allocates(w, now + year_s + 600), 200);
	tunnel.skew_ms = -year_s * 1000;
	turn_clock(w);
	assert_int_equal(expiring_allocates(w, now - year_s + 600), 200);
	tunnel.skew_ms = 0;
	tunnel.secrets->reset(tunnel.secrets_arg, 7);
}

/* One C that loses its mind leaves room for the others, and for [turn] secret. */
static void no_c_takes_all_the_room(void **state)
{
	static const char other[] = "b3RoZXI=";
	struct world *w = *state;
	char key[16];

	for (tunnel_peer from = 1; from <= 5; from++) {
		for (unsigned i = 0; i < TURN_SECRETS_OF_C + 1; i++) {
			snprintf(key, sizeof(key), "k%u", i);
			put_secret_of(from, key, 600, other);
		}
	}
	assert_int_equal(minted_allocates(w), 401);
	put_secret("a", 600, SECRET);
	assert_int_equal(minted_allocates(w), 200);
	for (tunnel_peer from = 1; from <= 7; from++)
		tunnel.secrets->reset(tunnel.secrets_arg, from);
	assert_int_equal(minted_allocates(w), 401);
}

struct alarm_search {
	const char *id;
	bool found;
};

static void look_for_alarm(const struct alarm_entry *e, void *arg)
{
	struct alarm_search *s = arg;

	s->found = s->found || strcmp(e->id, s->id) == 0;
}

static bool is_alarmed(const struct world *w, const char *id)
{
	struct alarm_search s = { .id = id };

	alarms_each(w->box->env.alarms, look_for_alarm, &s);
	return s.found;
}

/* What it does every two seconds. */
static void look_now(struct world *w)
{
	struct turn_edge *e = service_find(w->m, TURN_SERVICE).self;

	timer_start(loop_timers(w->box->env.loop), &e->look_timer, 0);
}

static void near_the_limit_is_an_alarm(void **state)
{
	struct world *w = *state;
	struct client c;

	assert_int_equal(reload(w, USERS, ON "max-allocations = 1\n"), 0);
	client_open(&c, w, VIA_UDP);
	assert_int_equal(client_allocates(&c), 200);
	look_now(w);
	UNTIL_W(is_alarmed(w, "turn-allocations"));
	client_start(&c, STUN_METHOD_REFRESH);
	stun_build_u32(&c.b, STUN_ATTR_LIFETIME, 0);
	assert_int_equal(client_asks(&c), 200);
	look_now(w);
	UNTIL_W(!is_alarmed(w, "turn-allocations"));
	client_close(&c);
}

static void c_is_told_of_the_server(void **state)
{
	struct world *w = *state;
	char want[512];

	assert_int_equal(reload(w, USERS, ON), 0);
	snprintf(want, sizeof(want),
		 "{\"host\":\"" REALM "\",\"realm\":\"" REALM
		 "\",\"udp\":[%u],\"tcp\":[%u],\"tls\":[%u]}",
		 w->port, w->port, w->tls_port);
	assert_string_equal(tunnel.item, want);
	assert_int_equal(reload(w, USERS, "enabled = no\n"), 0);
	assert_string_equal(tunnel.item, "");
}

static void few_ports_left_is_an_alarm(void **state)
{
	enum { N = 90 }; /* of 100 */
	struct world *w = *state;
	struct client *all = calloc(N, sizeof(*all));

	for (unsigned i = 0; i < N; i++) {
		client_open(&all[i], w, VIA_UDP);
		assert_int_equal(client_allocates(&all[i]), 200);
	}
	look_now(w);
	UNTIL_W(is_alarmed(w, "turn-ports"));
	for (unsigned i = 0; i < N; i++) {
		client_start(&all[i], STUN_METHOD_REFRESH);
		stun_build_u32(&all[i].b, STUN_ATTR_LIFETIME, 0);
		assert_int_equal(client_asks(&all[i]), 200);
		client_close(&all[i]);
	}
	look_now(w);
	UNTIL_W(!is_alarmed(w, "turn-ports"));
	free(all);
}

static void nobody_who_could_is_an_alarm(void **state)
{
	struct world *w = *state;
	struct turn_edge *e = service_find(w->m, TURN_SERVICE).self;

	assert_int_equal(reload(w, "", ON), 0);
	look_now(w);
	UNTIL_W(e->without_credentials_ms >= 0);
	assert_false(is_alarmed(w, "turn-no-credentials"));
	e->without_credentials_ms -= 60000; /* a minute ago */
	look_now(w);
	UNTIL_W(is_alarmed(w, "turn-no-credentials"));
	assert_int_equal(reload(w, USERS, ON), 0);
	look_now(w);
	UNTIL_W(!is_alarmed(w, "turn-no-credentials"));
}

/* No descriptor for a relay: 508, and all is well when there is one again. */
static void out_of_descriptors(void **state)
{
	struct world *w = *state;
	struct rlimit limit, none;
	struct client c;
	int next;

	client_open(&c, w, VIA_UDP);
	client_start(&c, STUN_METHOD_ALLOCATE);
	assert_int_equal(client_asks(&c), 401);
	next = open("/dev/null", O_RDONLY);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (unsigned i = 0; i < 3; i++) {
		client_start(&c, STUN_METHOD_ALLOCATE);
		assert_int_equal(client_asks(&c), 508);
	}
	assert_int_equal(conn_count(w->box->env.conns, CONN_ALLOCATION), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(trace_count(w->box->env.trace, "turn.capacity"), 3);
	client_start(&c, STUN_METHOD_ALLOCATE);
	assert_int_equal(client_asks(&c), 200);
	client_binds(&c, 0x4001);
	talk(&c, 0x4001);
	client_close(&c);
}

/* Data of a length that comes in several reads. */
static void a_long_frame_comes_in_pieces(void **state)
{
	enum { BYTES = 40000 };
	struct world *w = *state;
	uint8_t *raw = calloc(1, TURN_CHANNEL_HEADER_BYTES + BYTES), *got = malloc(BYTES + 1);
	struct client c;
	ssize_t n = -1;

	for (size_t i = 0; i < BYTES; i++)
		raw[TURN_CHANNEL_HEADER_BYTES + i] = (uint8_t)(i % 253);
	turn_channel_header(raw, 0x4001, BYTES);
	client_open(&c, w, VIA_TLS);
	assert_int_equal(client_allocates(&c), 200);
	client_binds(&c, 0x4001);
	for (size_t at = 0; at < TURN_CHANNEL_HEADER_BYTES + BYTES; at += 10001) {
		size_t n_left = TURN_CHANNEL_HEADER_BYTES + BYTES - at;

		client_sends(&c, raw + at, n_left < 10001 ? n_left : 10001);
		for (int i = 0; i < 5; i++)
			loop_once(w->box->env.loop, 1);
	}
	UNTIL_W((n = recv(w->peer, got, BYTES + 1, MSG_DONTWAIT)) >= 0);
	assert_int_equal(n, BYTES);
	assert_memory_equal(got, raw + TURN_CHANNEL_HEADER_BYTES, BYTES);
	talk(&c, 0x4001);
	client_close(&c);
	free(raw);
	free(got);
}

/* Has the other side closed? */
static bool is_reset(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || errno != EAGAIN;
}

/* Who has no allocation cannot make the server keep much. */
static void strangers_get_little_memory(void **state)
{
	static const uint8_t long_one[] = { 0, 3, 0x10, 0, 0x21, 0x12, 0xa4, 0x42 };
	struct world *w = *state;
	struct addr to = stream_box_addr(w->port);
	uint8_t one[64], many[100 * 64], tid[STUN_TID_BYTES] = { 1 };
	struct stun_build b;
	size_t n_sent = 0;
	int fd = net_connect_tcp(&to, NULL, 0, 0), small = 4096;

	assert_true(fd >= 0);
	assert_int_equal(send(fd, long_one, sizeof(long_one), 0), sizeof(long_one));
	UNTIL_W(is_reset(fd));
	close(fd);
	assert_int_equal(trace_count(w->box->env.trace, "turn.stream.stranger"), 1);
	/* Asks on and on and reads nothing. */
	stun_build_start(&b, one, sizeof(one), STUN_CLASS_REQUEST, STUN_METHOD_ALLOCATE, tid);
	for (int i = 0; i < 100; i++)
		memcpy(many + i * b.n, one, b.n);
	fd = net_connect_tcp(&to, NULL, 0, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	while (trace_count(w->box->env.trace, "turn.stream.stranger") == 1) {
		ssize_t n = send(fd, many + n_sent % b.n, 99 * b.n, MSG_DONTWAIT | MSG_NOSIGNAL);

		n_sent += n > 0 ? (size_t)n : 0;
		assert_true(n_sent < 20000000);
		loop_once(w->box->env.loop, 1);
	}
	UNTIL_W(conn_count(w->box->env.conns, CONN_TURN) == 0);
	close(fd);
}

/* --- TCP relays on sockets --- */

#define TCP_ON ON "tcp-relays = yes\n"

static unsigned client_allocates_tcp(struct client *c)
{
	unsigned code = 401;

	for (int i = 0; i < 2 && code == 401; i++) {
		client_start(c, STUN_METHOD_ALLOCATE);
		c->b.n = STUN_HEADER_BYTES; /* another transport than it says */
		stun_build_attr(&c->b, STUN_ATTR_REQUESTED_TRANSPORT, "\x06\0\0", 4);
		code = client_asks(c);
	}
	return code;
}

/* CONNECTION-ID of the message that came last, and the peer it names. */
static uint32_t connection_id(const struct client *c, struct addr *peer)
{
	struct stun_msg m;
	struct stun_attr a;
	uint32_t id = 0;

	assert_int_equal(stun_decode(c->got, c->n_got, &m), 0);
	assert_true(stun_attr_find(&m, STUN_ATTR_CONNECTION_ID, &a) && stun_attr_u32(&a, &id));
	if (peer) {
		assert_int_equal(m.method, STUN_METHOD_CONNECTION_ATTEMPT);
		assert_true(stun_attr_find(&m, STUN_ATTR_XOR_PEER_ADDRESS, &a));
		assert_true(stun_attr_xor_addr(&m, &a, peer));
	}
	return id;
}

/* A data connection over via for id, with the nonce of the control connection. */
static void data_open(struct client *data, const struct client *c, enum via via, uint32_t id)
{
	client_open(data, c->w, via);
	memcpy(data->nonce, c->nonce, c->n_nonce);
	data->n_nonce = c->n_nonce;
	client_start(data, STUN_METHOD_CONNECTION_BIND);
	stun_build_u32(&data->b, STUN_ATTR_CONNECTION_ID, id);
	assert_int_equal(client_asks(data), 200);
}

static bool stream_has(struct client *c, const char *text)
{
	char got[64];
	size_t n = strlen(text);

	return c->s && evbuffer_get_length(stream_in(c->s)) == n &&
	       evbuffer_copyout(stream_in(c->s), got, n) == (ev_ssize_t)n &&
	       memcmp(got, text, n) == 0 && evbuffer_drain(stream_in(c->s), n) == 0;
}

static bool fd_has(int fd, const char *text)
{
	char got[64];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	return n == (ssize_t)strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

static void says_both_ways(struct client *data, int peer)
{
	struct world *w = data->w;

	client_sends(data, "to the peer", 11);
	UNTIL_W(fd_has(peer, "to the peer"));
	assert_int_equal(send(peer, "to the client", 13, MSG_NOSIGNAL), 13);
	UNTIL_W(stream_has(data, "to the client"));
}

/* Connect from the relay's port to a peer that listens, then a peer that comes to it. */
static void tcp_relays(void **state)
{
	struct world *w = *state;
	struct addr at = stream_box_addr((uint16_t)(w->relay_first + 51)), relayed, from;
	struct addr comer = stream_box_addr((uint16_t)(at.port + 1));
	/* Both among the relay ports, but no relay's. */
	int listener = net_listen_tcp(&at, 4), held = net_listen_tcp(&comer, 1), out = -1, in;
	struct client c, data, second;
	struct stun_msg m;
	struct stun_attr a;

	assert_true(listener >= 0 && held >= 0);
	assert_int_equal(reload(w, USERS, TCP_ON), 0);
	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates_tcp(&c), 200);
	assert_int_equal(stun_decode(c.got, c.n_got, &m), 0);
	assert_true(stun_attr_find(&m, STUN_ATTR_XOR_RELAYED_ADDRESS, &a));
	assert_true(stun_attr_xor_addr(&m, &a, &relayed));
	client_start(&c, STUN_METHOD_CONNECT);
	stun_build_xor_addr(&c.b, STUN_ATTR_XOR_PEER_ADDRESS, &at);
	assert_int_equal(client_asks(&c), 200);
	UNTIL_W((out = accept(listener, NULL, NULL)) >= 0);
	from = net_remote_addr(out);
	assert_true(addr_eq(&from, &relayed));
	data_open(&data, &c, VIA_TLS, connection_id(&c, NULL));
	says_both_ways(&data, out);
	/* A peer comes. */
	client_start(&c, STUN_METHOD_CREATE_PERMISSION);
	stun_build_xor_addr(&c.b, STUN_ATTR_XOR_PEER_ADDRESS, &at);
	assert_int_equal(client_asks(&c), 200);
	at = comer;
	close(held);
	in = net_connect_tcp(&relayed, &at, at.port, at.port);
	assert_true(in >= 0);
	UNTIL_W(client_has(&c));
	data_open(&second, &c, VIA_TCP, connection_id(&c, &from));
	assert_true(addr_eq(&from, &at));
	says_both_ways(&second, in);
	/* The peer goes, and its client connection with it. */
	close(out);
	UNTIL_W(data.closed || stream_eof(data.s));
	client_close(&data);
	assert_int_equal(reload(w, USERS, ON), 0); /* no such relays any more */
	UNTIL_W(c.closed || stream_eof(c.s));
	UNTIL_W(second.closed || stream_eof(second.s));
	assert_int_equal(conn_count(w->box->env.conns, CONN_RELAYED), 0);
	client_close(&c);
	client_close(&second);
	close(in);
	close(listener);
	UNTIL_W(conn_count(w->box->env.conns, CONN_TURN) == 0);
}

/* --- what turnpikectl asks --- */

struct asked {
	struct ctl_request r;
	const char *id, *user;
};

static const char *asked_param(const struct ctl_request *r, const char *key)
{
	const struct asked *q = r->impl;

	return strcmp(key, "id") == 0 ? q->id : strcmp(key, "user") == 0 ? q->user : NULL;
}

/* How many allocations are shown; -1: 404. */
static int n_shown(struct world *w, const char *id, const char *user)
{
	struct turn_edge *e = service_find(w->m, TURN_SERVICE).self;
	struct asked q = { .r.param = asked_param, .id = id, .user = user };
	json_t *out = NULL;
	int code, n;

	q.r.impl = &q;
	code = turn_edge_commands[0].run(e, &q.r, &out);
	n = code == 200 ? (int)json_array_size(json_object_get(out, "allocations")) : -1;
	json_decref(out);
	return n;
}

static void turnpikectl_shows_and_closes(void **state)
{
	struct world *w = *state;
	struct client a, b;
	struct conn *conn;
	char id[CONN_ID_BYTES];
	json_t *status = json_object();

	client_open(&a, w, VIA_TCP);
	assert_int_equal(client_allocates(&a), 200);
	client_open(&b, w, VIA_UDP);
	assert_int_equal(client_allocates(&b), 200);
	client_binds(&b, 0x4001);
	assert_int_equal(n_shown(w, NULL, NULL), 2);
	assert_int_equal(n_shown(w, NULL, "bob"), 2);
	assert_int_equal(n_shown(w, NULL, "alice"), 0);
	conn = CONTAINER_OF(list_first(conn_list(w->box->env.conns, CONN_ALLOCATION)), struct conn,
			    node);
	if (conn->transport == CONN_UDP)
		conn = CONTAINER_OF(conn->node.next, struct conn, node);
	assert_int_equal(n_shown(w, conn_id_str(conn, id), NULL), 1);
	assert_int_equal(n_shown(w, "allocation-12345", NULL), -1);
	turn_edge_status(service_find(w->m, TURN_SERVICE).self, status);
	assert_int_equal(json_integer_value(json_object_get(status, "allocations")), 2);
	assert_int_equal(json_integer_value(json_object_get(status, "channels")), 1);
	assert_int_equal(json_integer_value(json_object_get(status, "permissions")), 1);
	json_decref(status);
	/* Its client's connection goes too. */
	conn->close(conn, "by hand");
	UNTIL_W(a.closed || stream_eof(a.s));
	assert_int_equal(n_shown(w, NULL, NULL), 1);
	client_close(&a);
	client_close(&b);
	assert_int_equal(n_shown(w, id, NULL), -1);
}

/* Looked at every 30 s: what stands stays. */
static void addresses_are_looked_at(void **state)
{
	struct world *w = *state;
	struct turn_edge *e = service_find(w->m, TURN_SERVICE).self;
	struct client c;

	client_open(&c, w, VIA_UDP);
	assert_int_equal(client_allocates(&c), 200);
	client_binds(&c, 0x4001);
	e->n_host = 0; /* as if they had been others */
	e->next_addresses_ms = 0;
	look_now(w);
	UNTIL_W(e->next_addresses_ms > 0);
	assert_true(e->n_host > 0 && e->n_own >= e->n_host);
	talk(&c, 0x4001);
	client_close(&c);
}

/* A client comes and asks over a plain socket, which allocates nothing; it is answered, or closed,
 * or hears nothing. True: an allocation failed meanwhile. */
static bool asks_while_failing(struct world *w, unsigned n)
{
	struct addr to = stream_box_addr(w->port);
	int fd = net_connect_tcp(&to, NULL, 0, 0);
	uint8_t out[64], tid[STUN_TID_BYTES] = { 1 }, got[512];
	struct stun_build b;
	bool hit;

	assert_true(fd >= 0);
	stun_build_start(&b, out, sizeof(out), STUN_CLASS_REQUEST, STUN_METHOD_ALLOCATE, tid);
	stun_build_attr(&b, STUN_ATTR_REQUESTED_TRANSPORT, "\x11\0\0", 4);
	assert_int_equal(send(fd, out, stun_build_end(&b), 0), (ssize_t)stun_build_end(&b));
	alloc_fail_at(n);
	for (int i = 0; i < 200; i++) {
		loop_once(w->box->env.loop, 1);
		if (recv(fd, got, sizeof(got), MSG_DONTWAIT) >= 0 || errno != EAGAIN)
			break;
	}
	hit = alloc_fail_hit();
	alloc_fail_at(0);
	close(fd);
	UNTIL_W(conn_count(w->box->env.conns, CONN_TURN) == 0);
	return hit;
}

static void streams_without_memory(void **state)
{
	struct world *w = *state;
	struct client c;
	unsigned n = 1;

	while (asks_while_failing(w, n))
		n++;
	assert_true(n > 3);
	client_open(&c, w, VIA_TCP);
	assert_int_equal(client_allocates(&c), 200);
	client_close(&c);
}

/* New settings while the n-th allocation fails: what stands stays usable, and the next reload puts
 * all right. */
static void reloads_without_memory(void **state)
{
	struct world *w = *state;
	struct client c;
	bool hit = true;
	unsigned n;

	for (n = 1; hit; n++) {
		struct conf_snapshot *next = conf_of(
			w, USERS, n % 2 ? ON "realm = other\n" : ON "max-allocations = 7\n");
		struct buf errors;
		int error;

		buf_init(&errors, 8192);
		alloc_fail_at(n);
		error = modules_reload(w->m, next, &errors);
		hit = alloc_fail_hit();
		alloc_fail_at(0);
		buf_fini(&errors);
		if (error)
			conf_unref(next);
		else
			conf_swap(w->box->env.conf, next);
		client_open(&c, w, VIA_UDP);
		client_start(&c, STUN_METHOD_ALLOCATE);
		assert_int_equal(client_asks(&c), 401);
		client_close(&c);
	}
	assert_true(n > 5);
	assert_int_equal(reload(w, USERS, ON), 0);
	client_open(&c, w, VIA_TLS);
	assert_int_equal(client_allocates(&c), 200);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(udp_round_trip),
		TEST(tcp_round_trip),
		TEST(tls_round_trip),
		TEST(tls_is_recognised_on_the_tcp_port),
		TEST(tls_says_stun_turn),
		TEST(a_stream_that_ends_ends_its_allocation),
		TEST(a_connection_closes_by_id),
		TEST(fault28_garbage_is_closed),
		TEST(fault28_a_trickling_client_is_served),
		TEST(fault28_silence_without_an_allocation_ends),
		TEST(many_frames_at_once),
		TEST(a_client_that_does_not_read_loses_packets),
		TEST(a_reload_keeps_what_stays),
		TEST(a_reload_ends_what_is_not_allowed_any_more),
		TEST(a_port_in_use_changes_nothing),
		TEST(others_are_told),
		TEST(secrets_come_and_go),
		TEST(clocks_are_set),
		TEST(no_c_takes_all_the_room),
		TEST(c_is_told_of_the_server),
		TEST(near_the_limit_is_an_alarm),
		TEST(few_ports_left_is_an_alarm),
		TEST(nobody_who_could_is_an_alarm),
		TEST(out_of_descriptors),
		TEST(a_long_frame_comes_in_pieces),
		TEST(strangers_get_little_memory),
		TEST(tcp_relays),
		TEST(turnpikectl_shows_and_closes),
		TEST(addresses_are_looked_at),
		TEST(streams_without_memory),
		TEST(reloads_without_memory),
		TEST(draining_takes_no_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
