/* Switched connections: who may switch, and that no byte is lost or read as something else. */
#include "support/http_rig.h"

#define RIG	  struct rig *rig = *state
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, rig_ws, rig_teardown)
#define CLIENT	  (&rig->client)
#define SERVER(i) (&rig->servers[i])
#define ASK                                                                  \
	"GET /ws HTTP/1.1\r\nHost: e\r\nConnection: keep-alive, Upgrade\r\n" \
	"Upgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define ASK_IN                                           \
	"GET /in?x=1 HTTP/1.1\r\nHost: web1.example\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-Proto: https\r\n"
#define SWITCH                                                        \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" \
	"Upgrade: websocket\r\n\r\n"

static int rig_ws(void **state)
{
	rig_setup(state);
	((struct rig *)*state)->fwd.allow_upgrade = true;
	return 0;
}

static void bytes_go_both_ways(void **state)
{
	RIG;

	say(rig, CLIENT, ASK);
	assert_heard(SERVER(0), ASK_IN "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	assert_int_equal(http_engine_busy(rig->e), 1);
	say(rig, SERVER(0), SWITCH);
	assert_heard(CLIENT, SWITCH);
	assert_string_equal(http_exchange_conn(rig->ex)->state, "switched");
	assert_int_equal(http_engine_busy(rig->e), 0);
	say(rig, CLIENT, "\x81\x85GET / HTTP/1.1\r\n\r\n");
	assert_heard(SERVER(0), "\x81\x85GET / HTTP/1.1\r\n\r\n");
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\n\r\n");
	hang_up(rig, CLIENT);
	assert_true(SERVER(0)->eof);
	assert_false(SERVER(0)->closed);
	say(rig, SERVER(0), "bye");
	hang_up(rig, SERVER(0));
	assert_heard(CLIENT, "bye");
	assert_true(is_gone(CLIENT));
	assert_int_equal(rig->n_closed, 1);
	assert_int_equal(rig->status, 101);
	assert_int_equal(http_engine_stats(rig->e).n_upgraded, 1);
	assert_int_equal(http_engine_stats(rig->e).n_by_class[1], 1);
}

static void early_bytes_are_not_lost(void **state)
{
	RIG;

	say(rig, CLIENT, ASK "early client");
	assert_null(strstr(heard(SERVER(0)), "early"));
	say(rig, SERVER(0), SWITCH "early server");
	assert_heard(SERVER(0), "early client");
	assert_heard(CLIENT, SWITCH "early server");
}

static void byte_by_byte(void **state)
{
	static const char ask[] = ASK "abc", answer[] = SWITCH "def";
	RIG;

	for (size_t i = 0; i < strlen(ask); i++) {
		say_slice(CLIENT, (struct slice){ ask + i, 1 });
		turn(rig);
	}
	settle(rig);
	for (size_t i = 0; i < strlen(answer); i++) {
		say_slice(SERVER(0), (struct slice){ answer + i, 1 });
		turn(rig);
	}
	settle(rig);
	assert_heard(CLIENT, SWITCH "def");
	assert_heard(SERVER(0), ASK_IN "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nabc");
}

static void vanishing_sides(void **state)
{
	RIG;

	say(rig, CLIENT, ASK);
	say(rig, SERVER(0), SWITCH);
	vanish(rig, CLIENT, true);
	assert_true(SERVER(0)->closed);
	assert_int_equal(rig->n_closed, 1);
	rig_client(rig);
	say(rig, CLIENT, ASK);
	say(rig, SERVER(1), SWITCH "last");
	vanish(rig, SERVER(1), true);
	assert_non_null(strstr(heard(CLIENT), "last"));
	assert_true(is_gone(CLIENT));
	assert_int_equal(rig->n_closed, 2);
}

static void idle_switched_connections_close(void **state)
{
	RIG;

	say(rig, CLIENT, ASK);
	say(rig, SERVER(0), SWITCH);
	for (int i = 0; i < 4; i++) {
		pass_ms(rig, 299999);
		assert_false(is_gone(CLIENT));
		say(rig, i % 2 ? CLIENT : SERVER(0), "x");
	}
	pass_ms(rig, 299999);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(is_gone(CLIENT));
	assert_true(is_gone(SERVER(0)));
}

static void switched_connections_outlive_a_drain(void **state)
{
	RIG;

	say(rig, CLIENT, ASK);
	say(rig, SERVER(0), SWITCH);
	heard(CLIENT);
	heard(SERVER(0));
	http_engine_drain(rig->e);
	reconfigure(rig);
	settle(rig);
	say(rig, CLIENT, "a");
	say(rig, SERVER(0), "b");
	assert_heard(SERVER(0), "a");
	assert_heard(CLIENT, "b");
}

/* A side that reads nothing stops the other, and gets all of it later. */
static void back_pressure(void **state)
{
	static char block[300000];
	RIG;

	say(rig, CLIENT, ASK);
	say(rig, SERVER(0), SWITCH);
	heard(CLIENT);
	CLIENT->stalled = true;
	memset(block, 'w', sizeof(block));
	for (int i = 0; i < 4; i++)
		say_slice(SERVER(0), (struct slice){ block, sizeof(block) });
	settle(rig);
	assert_true(stream_is_full(SERVER(0)->s));
	CLIENT->stalled = false;
	side_readable(CLIENT);
	for (int i = 0; i < 10; i++)
		settle(rig);
	assert_int_equal(CLIENT->got.n, 4 * sizeof(block));
}

/* --- who may not --- */
static void not_allowed(void **state)
{
	RIG;

	rig->fwd.allow_upgrade = false;
	say(rig, CLIENT, ASK);
	assert_heard(SERVER(0), ASK_IN "\r\n");
	say(rig, SERVER(0), SWITCH "poison");
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
	assert_true(is_gone(SERVER(0)));
}

static void nothing_but_websocket(void **state)
{
	static const char *const asks[] = {
		"GET /ws HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: websocket, "
		"h2c\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: e\r\nUpgrade: websocket\r\n\r\n",
		"POST /ws HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"GET /ws HTTP/1.0\r\nHost: e\r\nConnection: Upgrade, keep-alive\r\n"
		"Upgrade: websocket\r\n\r\n",
	};
	RIG;

	for (int i = 0; i < 5; i++) {
		const char *got;

		say(rig, CLIENT, asks[i]);
		got = heard(SERVER(i));
		assert_null(strstr(got, "pgrade"));
		say(rig, SERVER(i), SWITCH "poison");
		got = heard(CLIENT);
		assert_non_null(strstr(got, "HTTP/1.1 502 "));
		assert_null(strstr(got, "poison"));
	}
}

static void server_switches_to_something_else(void **state)
{
	RIG;

	say(rig, CLIENT, ASK);
	say(rig, SERVER(0),
	    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
	    "Upgrade: h2c\r\n\r\npoison");
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
}

/* Not 101: an exchange as any other, and what follows is a request. */
static void refused_upgrade(void **state)
{
	RIG;

	say(rig, CLIENT, ASK GET);
	assert_null(strstr(heard(SERVER(0)), "/a"));
	say(rig, SERVER(0),
	    "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	    "Content-Length: 5\r\n\r\nhello");
	assert_heard(CLIENT, OK5);
	assert_heard(SERVER(0), GET_IN);
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
	say(rig, CLIENT, ASK "\x81\x05hello");
	heard(SERVER(0));
	say(rig, SERVER(0), "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 400 "));
	assert_heard(SERVER(0), "");
	assert_true(is_gone(CLIENT));
}

static enum http_response_verdict look(void *arg, struct http_exchange *ex,
				       const struct http_head *h, struct buf *fields)
{
	(void)arg;
	assert_int_equal(h->status, 101);
	if (http_exchange_head(ex)->path.n == 3) {
		buf_add_str(fields, "X-Mine: 1\r\n");
		return HTTP_RESPONSE_PASS;
	}
	http_reply_error(ex, 403, SLICE_NONE, "no");
	return HTTP_RESPONSE_REPLACE;
}

static void handler_looks_at_101(void **state)
{
	RIG;

	rig->fwd.response = look;
	say(rig, CLIENT,
	    "GET /other HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\n"
	    "Upgrade: websocket\r\n\r\n");
	say(rig, SERVER(0), SWITCH);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 403 "));
	assert_true(is_gone(SERVER(0)));
	say(rig, CLIENT, ASK);
	say(rig, SERVER(1), SWITCH);
	assert_non_null(strstr(heard(CLIENT), "X-Mine: 1\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_go_both_ways),
		TEST(early_bytes_are_not_lost),
		TEST(byte_by_byte),
		TEST(vanishing_sides),
		TEST(idle_switched_connections_close),
		TEST(switched_connections_outlive_a_drain),
		TEST(back_pressure),
		TEST(not_allowed),
		TEST(nothing_but_websocket),
		TEST(server_switches_to_something_else),
		TEST(refused_upgrade),
		TEST(handler_looks_at_101),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
