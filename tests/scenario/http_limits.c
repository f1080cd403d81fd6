/* Bounds of the HTTP engine in time, rate, size and number, each at its bound. */
#include "support/http_rig.h"

#define RIG	  struct rig *rig = *state
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define CLIENT	  (&rig->client)
#define SERVER(i) (&rig->servers[i])
#define POST(n)	  "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: " n "\r\n\r\n"

/* The next client, the last one being gone. */
static void again(struct rig *rig)
{
	side_fini(CLIENT);
	settle(rig);
	rig_client(rig);
}

static void idle_connections_close(void **state)
{
	RIG;

	pass_ms(rig, 59999);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(is_gone(CLIENT));
	assert_heard(CLIENT, "");
	again(rig);
	pass_ms(rig, 50000);
	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	pass_ms(rig, 59999);
	assert_false(is_gone(CLIENT));
	assert_false(is_gone(SERVER(0)));
	pass_ms(rig, 1);
	assert_true(is_gone(CLIENT));
	assert_true(is_gone(SERVER(0)));
	assert_int_equal(rig->n_refused, 0);
}

static void idle_back_connections_close_first(void **state)
{
	RIG;

	rig->conf.back_idle_ms = 10000;
	http_engine_configure(rig->e, &rig->conf);
	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	pass_ms(rig, 9999);
	assert_false(is_gone(SERVER(0)));
	say(rig, CLIENT, GET);
	pass_ms(rig, 20000); /* a server that thinks is not idle */
	say(rig, SERVER(0), OK5);
	assert_int_equal(rig->n_finished, 2);
	pass_ms(rig, 9999);
	assert_false(is_gone(SERVER(0)));
	pass_ms(rig, 1);
	assert_true(is_gone(SERVER(0)));
	assert_false(is_gone(CLIENT));
	say(rig, CLIENT, GET);
	say(rig, SERVER(1), OK5);
	assert_int_equal(rig->n_finished, 3);
}

static void head_must_be_whole_in_time(void **state)
{
	RIG;

	pass_ms(rig, 50000);
	for (int i = 0; i < 10; i++) {
		say(rig, CLIENT, i == 0 ? "GET /" : "x");
		pass_ms(rig, i == 9 ? 999 : 1000);
	}
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(is_gone(CLIENT));
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 408 Request Timeout\r\n"));
	assert_string_equal(rig->code, "http.slow");
	assert_int_equal(rig->refused_status, 408);
	assert_int_equal(http_engine_stats(rig->e).n_slow, 1);
}

static void answer_must_begin_in_time(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	pass_ms(rig, 29999);
	assert_int_equal(rig->n_failed, 0);
	pass_ms(rig, 1);
	assert_int_equal(rig->failed_status, 504);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 504 Gateway Timeout\r\n"));
	assert_true(is_gone(SERVER(0)));
	assert_false(is_gone(CLIENT));
	/* Counted from the last byte of the request. */
	rig->conf.min_rate_bps = 10;
	reconfigure(rig);
	say(rig, CLIENT, POST("10000") "x");
	for (int i = 0; i < 9; i++) {
		char kilo[1112];

		pass_ms(rig, 4999);
		memset(kilo, 'x', sizeof(kilo));
		say_slice(CLIENT, (struct slice){ kilo, i < 8 ? 1111 : 9999 - 8 * 1111 });
		settle(rig);
	}
	pass_ms(rig, 29999);
	assert_int_equal(rig->n_failed, 1);
	pass_ms(rig, 1);
	assert_int_equal(rig->n_failed, 2);
	/* The handler's own bound. */
	rig->fwd.response_ms = 500;
	say(rig, CLIENT, GET);
	pass_ms(rig, 499);
	assert_int_equal(rig->n_failed, 2);
	pass_ms(rig, 1);
	assert_int_equal(rig->n_failed, 3);
}

/* A body that is slow to come back may: nobody knows what it is worth. */
static void answer_may_take_its_time(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
	pass_ms(rig, 3600000);
	say(rig, SERVER(0), "b");
	assert_int_equal(rig->status, 200);
}

/* But not for ever, where a bound is set. A client that takes nothing is not the server's silence.
 */
static void answer_may_not_stop_for_ever(void **state)
{
	static char block[400000];
	RIG;

	memset(block, 'x', sizeof(block));
	rig->conf.answer_idle_ms = 20000;
	rig->conf.min_rate_bps = 0;
	reconfigure(rig);
	say(rig, CLIENT, GET);
	pass_ms(rig, 15000);
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nContent-Length: 400002\r\n\r\na");
	pass_ms(rig, 19999);
	say(rig, SERVER(0), "b");
	CLIENT->stalled = true;
	say_slice(SERVER(0), (struct slice){ block, sizeof(block) - 1 });
	settle(rig);
	pass_ms(rig, 100000);
	assert_false(is_gone(CLIENT));
	CLIENT->stalled = false;
	side_readable(CLIENT);
	settle(rig);
	pass_ms(rig, 19999);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(is_gone(CLIENT));
	assert_true(is_gone(SERVER(0)));
	assert_int_equal(rig->status, 200);
	assert_string_equal(rig->why, "server went silent within its answer");
}

static void connection_must_stand_in_time(void **state)
{
	RIG;

	rig->opening = true;
	say(rig, CLIENT, GET);
	pass_ms(rig, 3999);
	assert_int_equal(rig->n_failed, 0);
	pass_ms(rig, 1);
	assert_int_equal(rig->failed_status, 504);
	assert_int_equal(rig->n_servers, 1);
	rig->fwd.connect_ms = 100;
	say(rig, CLIENT, GET);
	pass_ms(rig, 100);
	assert_int_equal(rig->n_failed, 2);
}

static void body_must_come_fast_enough(void **state)
{
	char some[5000];
	RIG;

	memset(some, 'x', sizeof(some));
	say(rig, CLIENT, POST("100000"));
	/* 5000 in 5 s is enough, */
	for (int i = 0; i < 3; i++) {
		say_slice(CLIENT, (struct slice){ some, 5000 });
		settle(rig);
		pass_ms(rig, 5000);
		assert_false(is_gone(CLIENT));
	}
	/* one less is not. */
	say_slice(CLIENT, (struct slice){ some, 4999 });
	settle(rig);
	pass_ms(rig, 4999);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(is_gone(CLIENT));
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 408 "));
	assert_string_equal(rig->code, "http.slow");
	assert_true(SERVER(0)->closed);
	assert_int_equal(rig->status, 408);
	/* Also when the answer is on its way: then there is nothing more to say. */
	again(rig);
	say(rig, CLIENT, POST("100000"));
	say(rig, SERVER(1), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
	pass_ms(rig, 5000);
	assert_true(is_gone(CLIENT));
	assert_null(strstr(heard(CLIENT), "408"));
	assert_int_equal(rig->status, 200);
}

static void no_rate_is_asked_for(void **state)
{
	RIG;

	rig->conf.min_rate_bps = 0;
	reconfigure(rig);
	say(rig, CLIENT, POST("2") "a");
	pass_ms(rig, 3600000);
	assert_false(is_gone(CLIENT));
	say(rig, CLIENT, "b");
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
}

static void slow_server_is_not_the_clients_fault(void **state)
{
	static char block[400000];
	RIG;

	memset(block, 'x', sizeof(block));
	say(rig, CLIENT, POST("9000000"));
	SERVER(0)->stalled = true;
	say_slice(CLIENT, (struct slice){ block, sizeof(block) });
	say_slice(CLIENT, (struct slice){ block, sizeof(block) });
	settle(rig);
	for (int i = 0; i < 5; i++)
		pass_ms(rig, 5000);
	pass_ms(rig, 4999);
	assert_false(is_gone(CLIENT));
	assert_int_equal(rig->n_refused, 0);
	/* It takes nothing and says nothing. */
	pass_ms(rig, 1);
	assert_int_equal(rig->failed_status, 504);
}

static void waiting_for_100_is_not_slow(void **state)
{
	RIG;

	say(rig, CLIENT,
	    "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n"
	    "Expect: 100-continue\r\n\r\n");
	pass_ms(rig, 29999);
	say(rig, SERVER(0), "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(rig->n_refused, 0);
	pass_ms(rig, 4999);
	assert_int_equal(rig->n_refused, 0);
	pass_ms(rig, 1);
	assert_int_equal(rig->n_refused, 1);
	again(rig);
	say(rig, CLIENT,
	    "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n"
	    "Expect: 100-continue\r\n\r\n");
	pass_ms(rig, 30000);
	assert_int_equal(rig->failed_status, 504);
}

static void answer_must_be_taken(void **state)
{
	static char block[1000000];
	size_t n;
	RIG;

	memset(block, 'x', sizeof(block));
	say(rig, CLIENT, GET);
	CLIENT->stalled = true;
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
	say_slice(SERVER(0), (struct slice){ block, sizeof(block) });
	settle(rig);
	pass_ms(rig, 4999);
	/* Taken just fast enough, once. */
	n = evbuffer_get_length(stream_in(CLIENT->s));
	evbuffer_drain(stream_in(CLIENT->s), n < 5000 ? n : 5000);
	stream_consumed(CLIENT->s);
	settle(rig);
	pass_ms(rig, 1);
	assert_false(is_gone(CLIENT));
	/* What it took at first is worth six spans and no more. */
	evbuffer_drain(stream_in(CLIENT->s), 4999);
	stream_consumed(CLIENT->s);
	settle(rig);
	pass_ms(rig, 29999);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(CLIENT->closed);
	assert_true(is_gone(SERVER(0)));
	assert_int_equal(rig->status, 200);
	assert_string_equal(rig->code, "http.slow");
	assert_int_equal(http_engine_stats(rig->e).n_slow, 1);
}

static void big_answer(struct rig *rig, struct http_exchange *ex)
{
	static char body[300000];

	(void)rig;
	http_reply(ex, 200, SLICE_NONE, "text/plain", (struct slice){ body, sizeof(body) });
}

/* Nothing is under way any more, but the last answer lies there. */
static void last_answer_must_be_taken(void **state)
{
	RIG;

	rig->on_request = big_answer;
	CLIENT->stalled = true;
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_finished, 1);
	/* In the first span the socket took some. */
	pass_ms(rig, 5000);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 30000);
	assert_true(CLIENT->closed);
}

/* In the tunnel bytes go in gusts of a window: how fast a client takes is E's to judge. */
static void relayed_answers_may_wait_longer(void **state)
{
	RIG;

	rig->conf.relayed = true;
	rig->conf.answer_idle_ms = 100000;
	reconfigure(rig);
	rig->on_request = big_answer;
	CLIENT->stalled = true;
	say(rig, CLIENT, GET);
	pass_ms(rig, 100000);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 99999);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(CLIENT->closed);
	assert_string_equal(rig->code, "http.slow");
}

static void reply_now(struct rig *rig, struct http_exchange *ex)
{
	http_reply(ex, 200, SLICE_NONE, "text/plain", SLICE("mine"));
}

/* After an answer of our own the rest of the body has as long as a head. */
static void rest_must_come_in_time(void **state)
{
	RIG;

	rig->on_request = reply_now;
	say(rig, CLIENT, POST("1000") "x");
	pass_ms(rig, 9999);
	assert_false(is_gone(CLIENT));
	pass_ms(rig, 1);
	assert_true(is_gone(CLIENT));
	assert_int_equal(rig->status, 200);
	again(rig);
	say(rig, CLIENT, POST("1000") "x");
	hang_up(rig, CLIENT);
	assert_int_equal(rig->n_closed, 2);
	again(rig);
	say(rig, CLIENT, "GET / HT");
	hang_up(rig, CLIENT);
	assert_int_equal(rig->n_closed, 3);
	assert_int_equal(rig->n_refused, 0);
}

/* --- sizes --- */
static void bodies_have_a_bound(void **state)
{
	RIG;

	rig->conf.max_body = 10;
	reconfigure(rig);
	say(rig, CLIENT, POST("10") "0123456789");
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
	say(rig, CLIENT, POST("11"));
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 413 Content Too Large\r\n"));
	assert_true(is_gone(CLIENT));
	assert_string_equal(rig->code, "http.too-big");
	assert_int_equal(rig->n_requests, 1);
	again(rig);
	say(rig, CLIENT,
	    "POST /a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n");
	say(rig, SERVER(1), OK5);
	assert_heard(CLIENT, OK5);
	say(rig, CLIENT,
	    "POST /a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5\r\n01234\r\n5\r\n56789\r\n");
	assert_false(is_gone(CLIENT));
	say(rig, CLIENT, "1\r\nx");
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 413 "));
	assert_true(is_gone(CLIENT));
	assert_true(SERVER(1)->closed);
	assert_null(strstr(heard(SERVER(1)), "1\r\nx"));
	/* The answer to HEAD has no body, whoever gives it. */
	again(rig);
	say(rig, CLIENT,
	    "HEAD /a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n"
	    "0123456789a");
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 413 "));
	assert_true(is_gone(CLIENT));
	/* Too late for another answer. */
	again(rig);
	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n");
	say(rig, SERVER(3), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
	say(rig, CLIENT, "zz\r\n");
	assert_null(strstr(heard(CLIENT), "400"));
	assert_true(is_gone(CLIENT));
	assert_true(SERVER(3)->closed);
}

static void fill(char *text, size_t n, const char *start, const char *end)
{
	size_t a = strlen(start), b = strlen(end);

	memcpy(text, start, a);
	memset(text + a, 'x', n - a - b);
	memcpy(text + n - b, end, b + 1);
}

static void heads_have_a_bound(void **state)
{
	static const char start[] = "GET / HTTP/1.1\r\nHost: e\r\nX: ";
	char text[9000];
	RIG;

	fill(text, 8192, start, "\r\n\r\n");
	say(rig, CLIENT, text);
	assert_int_equal(rig->n_requests, 1);
	say(rig, SERVER(0), OK5);
	heard(CLIENT);
	fill(text, 8193, start, "\r\n\r\n");
	say(rig, CLIENT, text);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 431 "));
	assert_true(is_gone(CLIENT));
	again(rig);
	fill(text, 8500, start, "");
	say(rig, CLIENT, text);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 431 "));
	again(rig);
	fill(text, 4500, "GET /", "");
	say(rig, CLIENT, text);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 414 "));
	assert_int_equal(rig->n_requests, 1);
}

static void many_fields(char *text, int n)
{
	strcpy(text, "GET / HTTP/1.1\r\nHost: e\r\n");
	for (int i = 1; i < n; i++)
		strcat(text, "X: y\r\n");
	strcat(text, "\r\n");
}

static void fields_have_a_bound(void **state)
{
	char text[2000];
	RIG;

	many_fields(text, 100);
	say(rig, CLIENT, text);
	assert_int_equal(rig->n_requests, 1);
	say(rig, SERVER(0), OK5);
	heard(CLIENT);
	many_fields(text, 101);
	say(rig, CLIENT, text);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 431 "));
}

static void answer_heads_have_a_bound(void **state)
{
	static const char start[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ";
	char text[9000];
	RIG;

	say(rig, CLIENT, GET);
	fill(text, 8192, start, "\r\n\r\n");
	say(rig, SERVER(0), text);
	assert_int_equal(rig->status, 200);
	heard(CLIENT);
	for (int i = 0; i < 2; i++) {
		say(rig, CLIENT, GET);
		fill(text, 8193, start, i ? "" : "\r\n\r\n");
		say(rig, SERVER(i), text);
		assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
		assert_int_equal(rig->n_failed, i + 1);
	}
}

static void interim_answers_have_a_bound(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	for (int i = 0; i < 32; i++)
		say(rig, SERVER(0), "HTTP/1.1 103 Early Hints\r\n\r\n");
	say(rig, SERVER(0), OK5);
	assert_int_equal(rig->status, 200);
	heard(CLIENT);
	say(rig, CLIENT, GET);
	for (int i = 0; i < 33; i++)
		say(rig, SERVER(0),
		    i % 2 ? "HTTP/1.1 102 Processing\r\n\r\n" : "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(rig->failed_status, 502);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
	assert_true(is_gone(SERVER(0)));
}

/* --- numbers --- */
static void requests_of_a_connection_have_a_bound(void **state)
{
	RIG;

	rig->conf.max_requests = 2;
	reconfigure(rig);
	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	assert_non_null(strstr(heard(CLIENT), "Connection: close\r\n"));
	assert_true(is_gone(CLIENT));
}

static void full_table(void **state)
{
	static struct conn others[1000];
	static struct side other;
	struct stream *ends[2];
	struct conn like = { .transport = CONN_TLS };
	int n = 0;
	RIG;

	for (others[0].kind = CONN_CHANNEL; conn_add(rig->conns, &others[n]) == 0; n++)
		others[n + 1].kind = CONN_CHANNEL;
	assert_int_equal(stream_pair_new(rig->loop, ends), 0);
	side_init(&other, ends[1]);
	assert_null(http_front_new(rig->e, ends[0], &like));
	settle(rig);
	assert_true(is_gone(&other));
	side_fini(&other);
	say(rig, CLIENT, GET);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 503 "));
	assert_true(is_gone(CLIENT));
	while (n-- > 0)
		conn_end(rig->conns, &others[n], "-");
}

static void draining(void **state)
{
	struct rig idle;
	RIG;

	rig_init(&idle);
	rig_client(&idle);
	say(&idle, &idle.client, GET);
	say(&idle, &idle.servers[0], OK5);
	http_engine_drain(idle.e);
	settle(&idle);
	assert_true(is_gone(&idle.client));
	assert_true(is_gone(&idle.servers[0]));
	rig_fini(&idle);

	say(rig, CLIENT, GET);
	http_engine_drain(rig->e);
	settle(rig);
	assert_false(is_gone(CLIENT));
	assert_int_equal(http_engine_busy(rig->e), 1);
	say(rig, SERVER(0), OK5);
	assert_non_null(strstr(heard(CLIENT), "Connection: close\r\n"));
	assert_true(is_gone(CLIENT));
	assert_int_equal(http_engine_busy(rig->e), 0);
	again(rig);
	settle(rig);
	assert_true(is_gone(CLIENT));
}

static void closed_by_its_entry(void **state)
{
	struct conn *c;
	RIG;

	say(rig, CLIENT, GET);
	c = http_exchange_conn(rig->ex);
	assert_int_equal(c->parent, http_front_conn(rig->front)->id);
	assert_int_equal(c->kind, CONN_REQUEST);
	c->close(c, "by hand");
	settle(rig);
	assert_string_equal(rig->why, "by hand");
	assert_int_equal(rig->status, 0);
	assert_true(is_gone(CLIENT));
	assert_true(SERVER(0)->closed);
	again(rig);
	c = http_front_conn(rig->front);
	assert_string_equal(c->zone, "web");
	assert_int_equal(c->kind, CONN_HTTP);
	c->close(c, "by hand");
	settle(rig);
	assert_true(is_gone(CLIENT));
	assert_int_equal(rig->n_closed, 2);
}

static void engine_ends_with_work_under_way(void **state)
{
	RIG;

	say(rig, CLIENT, POST("10") "abc" GET);
	http_engine_free(rig->e);
	rig->e = NULL;
	settle(rig);
	assert_true(is_gone(CLIENT));
	assert_true(SERVER(0)->closed);
	assert_int_equal(rig->n_finished, 1);
	assert_int_equal(rig->n_closed, 1);
}

/* The handler closes from within each of its callbacks. */
static void close_in_request(struct rig *rig, struct http_exchange *ex)
{
	http_front_close(http_exchange_front(ex), "not today");
	http_forward(ex, &rig->fwd);
	http_reply(ex, 200, SLICE_NONE, NULL, SLICE_NONE);
}

static enum http_response_verdict close_in_response(void *arg, struct http_exchange *ex,
						    const struct http_head *h, struct buf *fields)
{
	(void)arg;
	(void)fields;
	http_front_close(http_exchange_front(ex), "not today");
	assert_int_equal(h->status, 200);
	return HTTP_RESPONSE_PASS;
}

static void close_in_failed(void *arg, struct http_exchange *ex, int status, const char *why)
{
	(void)arg;
	(void)status;
	(void)why;
	http_front_close(http_exchange_front(ex), "not today");
}

static void handler_closes_anywhere(void **state)
{
	RIG;

	rig->on_request = close_in_request;
	say(rig, CLIENT, GET GET);
	assert_true(is_gone(CLIENT));
	assert_heard(CLIENT, "");
	again(rig);
	rig->on_request = NULL;
	rig->fwd.response = close_in_response;
	say(rig, CLIENT, GET GET);
	say(rig, SERVER(0), OK5);
	assert_true(is_gone(CLIENT));
	assert_heard(CLIENT, "");
	again(rig);
	rig->fwd.failed = close_in_failed;
	rig->refuse_connect = 1;
	say(rig, CLIENT, GET GET);
	assert_true(is_gone(CLIENT));
	assert_heard(CLIENT, "");
	assert_int_equal(rig->n_closed, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(idle_connections_close),
		TEST(idle_back_connections_close_first),
		TEST(head_must_be_whole_in_time),
		TEST(answer_must_begin_in_time),
		TEST(answer_may_take_its_time),
		TEST(answer_may_not_stop_for_ever),
		TEST(connection_must_stand_in_time),
		TEST(body_must_come_fast_enough),
		TEST(no_rate_is_asked_for),
		TEST(slow_server_is_not_the_clients_fault),
		TEST(waiting_for_100_is_not_slow),
		TEST(answer_must_be_taken),
		TEST(last_answer_must_be_taken),
		TEST(relayed_answers_may_wait_longer),
		TEST(rest_must_come_in_time),
		TEST(bodies_have_a_bound),
		TEST(heads_have_a_bound),
		TEST(fields_have_a_bound),
		TEST(answer_heads_have_a_bound),
		TEST(interim_answers_have_a_bound),
		TEST(requests_of_a_connection_have_a_bound),
		TEST(full_table),
		TEST(draining),
		TEST(closed_by_its_entry),
		TEST(engine_ends_with_work_under_way),
		TEST(handler_closes_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
