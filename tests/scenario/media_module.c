/*
 * The module as it runs: two of them (E and C) on one loop with real sockets on loopback, a phone
 * and a PBX as plain sockets. Media goes phone -> E -> C -> PBX and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "proto/srtp.h"
#include "turnpike/media.h"
#include "turnpike/modules.h"

#define KEY "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"

static int64_t clock_of(void *arg)
{
	return loop_now_ms(arg);
}

struct box {
	struct env env;
	struct service media;
	const struct media_ops *ops;
	struct conn call; /* stands for the B2BUA's */
	bool call_closed;
	uint64_t id;
};

static const struct module *const list[] = { &media_module };

static void call_close(struct conn *c, const char *reason)
{
	struct box *b = (struct box *)((char *)c - offsetof(struct box, call));

	b->call_closed = true;
}

static struct conf_snapshot *conf_of(struct box *b, const char *text)
{
	struct conf_snapshot *snap;
	struct buf errors;

	buf_init(&errors, 4096);
	snap = conf_parse(b->env.conf, "test.ini", slice_of(text), 0, &errors);
	if (!snap)
		print_message("%s\n", errors.p);
	buf_fini(&errors);
	return snap;
}

static void box_init(struct box *b, struct loop *loop, const char *text)
{
	static const struct conf_section *schema[2];
	struct conf_snapshot *snap;

	memset(b, 0, sizeof(*b));
	schema[0] = &system_conf_section;
	schema[1] = media_module.sections[0];
	b->env.loop = loop;
	b->env.conf = conf_store_new(schema, 2);
	b->env.conns = conn_table_new(100, 10, clock_of, loop);
	b->env.trace = trace_new(16, clock_of, loop);
	b->env.alarms = alarms_new(NULL);
	snap = conf_of(b, text);
	assert_non_null(snap);
	b->env.role = conf_role(snap);
	conf_swap(b->env.conf, snap);
	b->env.modules = modules_new(&b->env, list, 1);
	assert_int_equal(modules_init(b->env.modules), 0);
	assert_int_equal(modules_start(b->env.modules), 0);
	b->media = service_find(b->env.modules, MEDIA_SERVICE);
	b->ops = b->media.ops;
	assert_non_null(b->ops);
	b->call.kind = CONN_CALL;
	b->call.close = call_close;
	list_init(&b->call.node);
	assert_int_equal(conn_add(b->env.conns, &b->call), 0);
}

static void box_fini(struct box *b)
{
	modules_free(b->env.modules);
	conn_end(b->env.conns, &b->call, "test over");
	assert_int_equal(conn_count(b->env.conns, CONN_MEDIA), 0);
	conn_table_free(b->env.conns);
	conf_store_free(b->env.conf);
	trace_free(b->env.trace);
	alarms_free(b->env.alarms);
}

struct world {
	struct loop *loop;
	struct box e, c;
	int phone, pbx;
	struct addr phone_at, pbx_at, e_out, e_in, c_at;
	struct addr e_port, c_port; /* what the SDP told phone and PBX */
	struct buf sdp;
	struct srtp_ctx *tx, *rx; /* the phone's */
};

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	assert_true(addr_parse_ip(slice_of(text), port, &a));
	return a;
}

static int peer_open(const char *text, struct addr *at)
{
	struct addr a = ip(text, 0);
	int fd = net_bind_udp(&a);

	assert_true(fd >= 0);
	*at = net_local_addr(fd);
	return fd;
}

static void put(int fd, const struct addr *to, const void *p, size_t n)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(to, &ss);

	assert_int_equal(sendto(fd, p, n, 0, (struct sockaddr *)&ss, len), (long)n);
}

/* Turns the loop until something came or the time (real, for a broken build only) is over. */
static long get(struct world *w, int fd, uint8_t *p, size_t max, struct addr *from, int64_t wait_ms)
{
	int64_t end = loop_now_ms(w->loop) + wait_ms;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	long n;

	do {
		assert_int_equal(loop_once(w->loop, 5), 0);
		n = recvfrom(fd, p, max, MSG_DONTWAIT, (struct sockaddr *)&ss, &len);
	} while (n < 0 && loop_now_ms(w->loop) < end);
	if (n >= 0)
		*from = addr_from_sockaddr((struct sockaddr *)&ss);
	return n;
}

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	assert_non_null(w->loop);
	box_init(&w->e, w->loop,
		 "[system]\nrole = E\nname = e\n[media]\nports = 21000-21019\n"
		 "mux-ports = 20000-20001\n");
	box_init(&w->c, w->loop, "[system]\nrole = C\nname = c\n[media]\nports = 22000-22019\n");
	w->e_out = ip("127.0.1.1", 0);
	w->e_in = ip("127.0.1.2", 0);
	w->c_at = ip("127.0.1.3", 0);
	w->pbx = peer_open("127.0.1.4", &w->pbx_at);
	w->phone = peer_open("127.0.1.5", &w->phone_at);
	buf_init(&w->sdp, 65536);
	assert_int_equal(loop_once(w->loop, 0), 0);
}

static void world_fini(struct world *w)
{
	srtp_ctx_free(w->tx);
	srtp_ctx_free(w->rx);
	box_fini(&w->e);
	box_fini(&w->c);
	close(w->phone);
	close(w->pbx);
	buf_fini(&w->sdp);
	loop_free(w->loop);
}

static void sessions_open(struct world *w)
{
	struct media_leg_params e[2] = {
		{ .kind = MEDIA_LEG_OUTSIDE, .signalling_peer = w->phone_at, .local = w->e_out },
		{ .kind = MEDIA_LEG_MUX, .signalling_peer = w->c_at, .local = w->e_in },
	};
	struct media_leg_params c[2] = {
		{ .kind = MEDIA_LEG_ICE,
		  .crypto = MEDIA_CRYPTO_ENCRYPTED,
		  .signalling_peer = w->e_in,
		  .local = w->c_at },
		{ .kind = MEDIA_LEG_INSIDE,
		  .crypto = MEDIA_CRYPTO_NONE,
		  .signalling_peer = w->pbx_at,
		  .local = w->c_at },
	};

	w->e.id = w->e.ops->session_new(w->e.media.self, w->e.call.id, "abcd", e);
	w->c.id = w->c.ops->session_new(w->c.media.self, w->c.call.id, "abcd", c);
	assert_true(w->e.id && w->c.id);
}

static void step(struct world *w, struct box *b, bool answer, unsigned from, const char *text)
{
	struct slice in = text ? slice_of(text) : buf_slice(&w->sdp);
	struct buf out;
	char why[128] = "";
	int status = 0;
	int err;

	buf_init(&out, 65536);
	err = (answer ? b->ops->answer : b->ops->offer)(b->media.self, b->id, from, in, &out,
							&status, why);
	if (err < 0)
		print_message("%d %s\n", status, why);
	assert_int_equal(err, 0);
	buf_fini(&w->sdp);
	w->sdp = out;
}

static uint16_t sdp_port(const struct world *w)
{
	const char *m = strstr(w->sdp.p, "m=audio ");

	assert_non_null(m);
	return (uint16_t)atoi(m + 8);
}

static struct srtp_ctx *ctx_of(const char *crypto)
{
	struct srtp_sdes sdes;
	char line[256];
	const char *why;

	snprintf(line, sizeof(line), "%.*s", (int)strcspn(crypto, "\r"), crypto);
	assert_int_equal(srtp_sdes_parse(slice_of(line), &sdes, &why), 0);
	return srtp_ctx_new(&sdes.master, 0);
}

static void call_up(struct world *w)
{
	char text[512];

	sessions_open(w);
	snprintf(text, sizeof(text),
		 "v=0\r\no=- 1 1 IN IP4 127.0.1.5\r\ns=-\r\nc=IN IP4 127.0.1.5\r\nt=0 0\r\n"
		 "m=audio %u RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" KEY "\r\n",
		 w->phone_at.port);
	step(w, &w->e, false, 0, text);
	step(w, &w->c, false, 0, NULL);
	w->c_port = ip("127.0.1.3", sdp_port(w));
	snprintf(text, sizeof(text),
		 "v=0\r\no=- 1 1 IN IP4 127.0.1.4\r\ns=-\r\nc=IN IP4 127.0.1.4\r\nt=0 0\r\n"
		 "m=audio %u RTP/AVP 0\r\n",
		 w->pbx_at.port);
	step(w, &w->c, true, 1, text);
	step(w, &w->e, true, 1, NULL);
	w->e_port = ip("127.0.1.1", sdp_port(w));
	w->tx = ctx_of("1 AES_CM_128_HMAC_SHA1_80 inline:" KEY);
	w->rx = ctx_of(strstr(w->sdp.p, "a=crypto:") + 9);
}

static size_t rtp(uint8_t *p, uint16_t seq)
{
	memset(p, 0x55, 172);
	memcpy(p, "\x80\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04", 12);
	p[2] = (uint8_t)(seq >> 8);
	p[3] = (uint8_t)seq;
	return 172;
}

/* Sends until the way is open (checks between C and E take a moment), then counts exactly. */
static void phone_reaches_pbx(struct world *w, uint16_t *seq)
{
	uint8_t p[512];
	struct addr from;
	long got = -1;

	for (unsigned i = 0; i < 100 && got < 0; i++) {
		size_t n = rtp(p, (*seq)++);

		assert_int_equal(srtp_protect(w->tx, p, &n, sizeof(p)), 0);
		put(w->phone, &w->e_port, p, n);
		got = get(w, w->pbx, p, sizeof(p), &from, 50);
	}
	assert_int_equal(got, 172);
	assert_true(addr_eq(&from, &w->c_port));
}

static void media_over_real_sockets(void **state)
{
	uint16_t seq = 1, back = 1;
	struct addr from;
	struct world w;
	uint8_t p[512];
	json_t *streams;
	long got;
	size_t n;

	world_init(&w);
	call_up(&w);
	phone_reaches_pbx(&w, &seq);
	for (unsigned i = 0; i < 200; i++) {
		n = rtp(p, seq++);
		assert_int_equal(srtp_protect(w.tx, p, &n, sizeof(p)), 0);
		put(w.phone, &w.e_port, p, n);
		assert_int_equal(get(&w, w.pbx, p, sizeof(p), &from, 2000), 172);
		n = rtp(p, back++);
		put(w.pbx, &w.c_port, p, n);
		got = get(&w, w.phone, p, sizeof(p), &from, 2000);
		assert_true(got > 0 && addr_eq(&from, &w.e_port));
		n = (size_t)got;
		assert_int_equal(srtp_unprotect(w.rx, p, &n), 0);
		assert_int_equal(n, 172);
	}
	/* A datagram too long to be media is dropped, not cut. */
	{
		static uint8_t big[4000];

		put(w.pbx, &w.c_port, big, sizeof(big));
		assert_int_equal(get(&w, w.phone, p, sizeof(p), &from, 50), -1);
	}
	streams = w.c.ops->describe(w.c.media.self, w.c.id);
	assert_int_equal(json_array_size(streams), 1);
	assert_true(json_integer_value(json_object_get(
			    json_array_get(json_object_get(json_array_get(streams, 0), "ends"), 0),
			    "rx_packets")) > 200);
	json_decref(streams);
	assert_int_equal(conn_count(w.c.env.conns, CONN_MEDIA), 2);
	world_fini(&w);
}

static void closing_a_stream_closes_its_call(void **state)
{
	struct world w;
	struct conn *c;

	world_init(&w);
	call_up(&w);
	c = CONTAINER_OF(list_first(conn_list(w.e.env.conns, CONN_MEDIA)), struct conn, node);
	assert_true(c->parent == w.e.call.id);
	c->close(c, "by hand");
	assert_true(w.e.call_closed);
	w.e.ops->session_free(w.e.media.self, w.e.id, "by hand");
	assert_int_equal(conn_count(w.e.env.conns, CONN_MEDIA), 0);
	w.e.ops->session_free(w.e.media.self, w.e.id, "by hand"); /* a stale id: no harm */
	world_fini(&w);
}

static void reload_and_drain(void **state)
{
	struct conf_snapshot *next;
	uint16_t seq = 1;
	struct world w;
	json_t *status;
	struct buf errors;

	world_init(&w);
	call_up(&w);
	phone_reaches_pbx(&w, &seq);
	next = conf_of(&w.e, "[system]\nrole = E\nname = e\n[media]\nports = 23000-23019\n"
			     "mux-ports = 20000-20001\n");
	assert_non_null(next);
	buf_init(&errors, 1000);
	assert_int_equal(modules_reload(w.e.env.modules, next, &errors), 0);
	conf_swap(w.e.env.conf, next);
	phone_reaches_pbx(&w, &seq); /* the old call goes on on its old port */
	status = modules_status(w.e.env.modules);
	assert_int_equal(json_integer_value(
				 json_object_get(json_object_get(status, "media"), "ports_total")),
			 10);
	json_decref(status);
	modules_drain(w.e.env.modules);
	assert_false(modules_drained(w.e.env.modules));
	{
		struct media_leg_params legs[2] = { { .kind = MEDIA_LEG_OUTSIDE } };

		assert_true(w.e.ops->session_new(w.e.media.self, 0, "x", legs) == 0);
	}
	w.e.ops->session_free(w.e.media.self, w.e.id, "over");
	assert_true(modules_drained(w.e.env.modules));
	buf_fini(&errors);
	world_fini(&w);
}

static void wrong_settings_are_named(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "ports = 7-7\n", "no pair" },
		{ "mux-ports = 36001-36002\n", "one to 6 pairs" },
		{ "mux-ports = 30000-30012\n", "one to 6 pairs" },
		{ "mux-ports = 30000-30013\n", "one to 6 pairs" },
		{ "ports = 36000-59999\n", "must not share" },
		{ "mux-ports = 36000-36011\n", "must not share" },
	};
	struct buf errors;
	struct world w;
	char text[256];

	world_init(&w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_init(&errors, 4096);
		snprintf(text, sizeof(text), "[system]\nrole = E\nname = e\n[media]\n%s",
			 rows[i].text);
		assert_null(conf_parse(w.e.env.conf, "t.ini", slice_of(text), 0, &errors));
		assert_non_null(strstr(errors.p, rows[i].error));
		buf_fini(&errors);
	}
	/* On C the shared ports do not exist: the whole range is for streams. */
	buf_init(&errors, 4096);
	{
		struct conf_snapshot *snap =
			conf_parse(w.c.env.conf, "t.ini",
				   SLICE("[system]\nrole = C\nname = c\n[media]\n"
					 "ports = 36000-59999\n"),
				   0, &errors);

		assert_non_null(snap);
		conf_unref(snap);
	}
	buf_fini(&errors);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(media_over_real_sockets),
		cmocka_unit_test(closing_a_stream_closes_its_call),
		cmocka_unit_test(reload_and_drain),
		cmocka_unit_test(wrong_settings_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
