/* Whole exchanges through the HTTP engine: what arrives at the server, what the client gets, and
 * which connections live on. */
#include "support/http_rig.h"

#define RIG	  struct rig *rig = *state
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define CLIENT	  (&rig->client)
#define SERVER(i) (&rig->servers[i])

static void get_is_relayed(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 1);
	assert_heard(SERVER(0), GET_IN);
	assert_int_equal(conn_count(rig->conns, CONN_REQUEST), 1);
	assert_int_equal(http_engine_busy(rig->e), 1);
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
	assert_int_equal(rig->status, 200);
	assert_int_equal(rig->n_finished, 1);
	assert_int_equal(http_engine_busy(rig->e), 0);
	assert_int_equal(conn_count(rig->conns, CONN_HTTP), 1);
	assert_int_equal(http_front_conn(rig->front)->rx_bytes, strlen(GET));
	assert_int_equal(http_engine_stats(rig->e).n_by_class[2], 1);
	assert_false(is_gone(CLIENT));
}

static void both_connections_are_used_again(void **state)
{
	RIG;

	for (int i = 0; i < 3; i++) {
		say(rig, CLIENT, GET);
		assert_heard(SERVER(0), GET_IN);
		say(rig, SERVER(0), OK5);
		assert_heard(CLIENT, OK5);
	}
	assert_int_equal(rig->n_servers, 1);
}

static void another_key_is_another_connection(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	rig->fwd.key = SLICE("bob web1:443");
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 2);
	assert_true(is_gone(SERVER(0)));
	say(rig, SERVER(1), OK5);
	/* No key: never again. */
	rig->fwd.key = SLICE_NONE;
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 3);
	assert_non_null(strstr(heard(SERVER(2)), "Connection: close\r\n"));
	say(rig, SERVER(2), OK5);
	assert_true(is_gone(SERVER(2)));
}

static void pipelined_requests_wait_their_turn(void **state)
{
	RIG;

	say(rig, CLIENT, GET GET "GET /bad HTTP/1.1\r\n\r\n");
	assert_heard(SERVER(0), GET_IN);
	say(rig, SERVER(0), OK5);
	assert_heard(SERVER(0), GET_IN);
	assert_int_equal(rig->n_refused, 0);
	say(rig, SERVER(0), OK5);
	assert_int_equal(rig->n_refused, 1);
	assert_int_equal(rig->refused_status, 400);
	assert_int_equal(rig->n_requests, 2);
	assert_true(is_gone(CLIENT));
}

static void body_of_known_length(void **state)
{
	RIG;

	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 10\r\n\r\n01234");
	say(rig, CLIENT, "56789" GET);
	assert_heard(SERVER(0), "POST /in?x=1 HTTP/1.1\r\nHost: web1.example\r\n"
				"X-Forwarded-Proto: https\r\nContent-Length: 10\r\n\r\n0123456789");
	say(rig, SERVER(0), OK5);
	assert_heard(SERVER(0), GET_IN);
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5 OK5);
}

/* Nothing of the client's own framing goes on: extensions, trailers, leading zeros. */
static void chunked_body_is_framed_anew(void **state)
{
	RIG;

	say(rig, CLIENT,
	    "POST /a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
	    "0004;a=\"b\"\r\nwiki\r\nA\r\n0123456789\r\n000;z\r\nX-Sum: 1\r\n\r\n" GET);
	assert_heard(SERVER(0), "POST /in?x=1 HTTP/1.1\r\nHost: web1.example\r\n"
				"X-Forwarded-Proto: https\r\nTransfer-Encoding: chunked\r\n\r\n"
				"4\r\nwiki\r\na\r\n0123456789\r\n0\r\n\r\n");
	say(rig, SERVER(0),
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "003;x\r\nabc\r\n0\r\nX-T: 1\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "3\r\nabc\r\n0\r\n\r\n");
	assert_heard(SERVER(0), GET_IN);
	assert_int_equal(rig->n_servers, 1);
}

static void answers_without_a_body(void **state)
{
	static const char head[] = "HEAD /a HTTP/1.1\r\nHost: e\r\n\r\n";
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 12\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	};
	RIG;

	for (int i = 0; i < 4; i++) {
		say(rig, CLIENT, i == 0 ? head : GET);
		say(rig, SERVER(0), answers[i]);
		/* ETag comes before what is ours. */
		assert_heard(CLIENT, answers[i]);
	}
	assert_int_equal(rig->n_servers, 1);
	assert_int_equal(rig->n_finished, 4);
	say(rig, CLIENT, head);
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\n\r\n");
	assert_int_equal(rig->n_finished, 5);
}

static void interim_answers(void **state)
{
	RIG;

	say(rig, CLIENT,
	    "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n"
	    "Expect: 100-continue\r\n\r\n");
	assert_non_null(strstr(heard(SERVER(0)), "Expect: 100-continue\r\n"));
	say(rig, SERVER(0), "HTTP/1.1 100 Continue\r\nX-Y: z\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 100 Continue\r\n\r\n");
	say(rig, CLIENT, "hi");
	assert_heard(SERVER(0), "hi");
	say(rig, SERVER(0),
	    "HTTP/1.1 102 Processing\r\n\r\n"
	    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nTurnpike-A: b\r\n\r\n" OK5);
	assert_heard(CLIENT, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" OK5);
	assert_int_equal(rig->n_finished, 1);
	assert_false(is_gone(CLIENT));
	/* HTTP/1.0 knows none, and cannot expect. */
	say(rig, CLIENT,
	    "POST /a HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n"
	    "Expect: 100-continue\r\n\r\nhi");
	assert_null(strstr(heard(SERVER(0)), "Expect"));
	say(rig, SERVER(0), "HTTP/1.1 100 Continue\r\n\r\n" OK5);
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
			     "Connection: keep-alive\r\n\r\nhello");
}

static void final_answer_instead_of_100(void **state)
{
	RIG;

	say(rig, CLIENT,
	    "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n"
	    "Expect: 100-continue\r\n\r\n");
	say(rig, SERVER(0), "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
	assert_heard(CLIENT, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n"
			     "Connection: close\r\n\r\nno");
	assert_true(is_gone(CLIENT));
	assert_true(is_gone(SERVER(0)));
}

/* The server speaks first; the upload goes on as long as the answer does. */
static void early_answer(void **state)
{
	RIG;

	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 100\r\n\r\n01234");
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab");
	heard(SERVER(0));
	say(rig, CLIENT, "56789");
	assert_heard(SERVER(0), "56789");
	say(rig, SERVER(0), "cd");
	assert_heard(CLIENT, "cd");
	assert_true(is_gone(CLIENT));
	assert_true(is_gone(SERVER(0)));
	assert_int_equal(rig->status, 200);
}

static void answer_until_close(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	say(rig, SERVER(0), "HTTP/1.0 200 OK\r\n\r\nabc");
	say(rig, SERVER(0), "defg");
	hang_up(rig, SERVER(0));
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
			     "4\r\ndefg\r\n0\r\n\r\n");
	assert_false(is_gone(CLIENT));
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 2);
}

/* HTTP/1.0 never gets chunks. */
static void old_clients(void **state)
{
	RIG;

	say(rig, CLIENT, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
			     "Connection: keep-alive\r\n\r\nhello");
	say(rig, CLIENT, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	say(rig, SERVER(0),
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdefg");
	assert_true(is_gone(CLIENT));
	assert_int_equal(CLIENT->closed, false);
	assert_int_equal(rig->n_servers, 1);
}

static void old_client_closes_by_default(void **state)
{
	RIG;

	say(rig, CLIENT, "GET /a HTTP/1.0\r\n\r\n");
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT,
		     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
	assert_true(is_gone(CLIENT));
}

static void cut_answer_is_seen(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"HTTP/1.1 200 OK\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxx\r\n",
	};
	RIG;

	for (size_t i = 0; i < 4; i++) {
		side_fini(CLIENT);
		settle(rig);
		rig_client(rig);
		say(rig, CLIENT, GET);
		say(rig, SERVER(i), answers[i]);
		if (i != 3)
			vanish(rig, SERVER(i), i == 2);
		if (!is_gone(CLIENT)) {
			print_message("i=%zu %zu\n", i, rig->n_finished);
		}
		assert_true(is_gone(CLIENT));
		assert_null(strstr(heard(CLIENT), "\r\n0\r\n"));
		assert_int_equal(rig->n_finished, i + 1);
		assert_string_not_equal(rig->why, "");
	}
}

/* For HTTP/1.0 only a reset tells it. */
static void cut_answer_is_seen_by_old_clients(void **state)
{
	RIG;

	say(rig, CLIENT, "GET /a HTTP/1.0\r\n\r\n");
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	vanish(rig, SERVER(0), false);
	assert_true(CLIENT->closed);
	assert_int_equal(CLIENT->end, STREAM_END_ERROR);
}

static void dead_reused_connection_is_replaced(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	/* The request and the end cross. */
	evbuffer_add(stream_out(CLIENT->s), GET, strlen(GET));
	stream_flush(CLIENT->s);
	turn(rig);
	vanish(rig, SERVER(0), false);
	assert_int_equal(rig->n_servers, 2);
	assert_heard(SERVER(1), GET_IN);
	say(rig, SERVER(1), OK5);
	assert_heard(CLIENT, OK5 OK5);
	assert_int_equal(http_engine_stats(rig->e).n_retried, 1);
}

static void retry_is_once(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	vanish(rig, SERVER(0), true);
	assert_int_equal(rig->n_servers, 2);
	assert_heard(SERVER(1), GET_IN);
	vanish(rig, SERVER(1), true);
	assert_int_equal(rig->n_servers, 2);
	assert_int_equal(rig->failed_status, 502);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
	assert_false(is_gone(CLIENT));
}

static void no_retry(void **state)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{ "POST /a HTTP/1.1\r\nHost: e\r\n\r\n", "" },
		{ "PUT /a HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\nx", "" },
		{ "PUT /a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "" },
		{ GET, "H" },
		{ GET, "HTTP/1.1 103 Early Hints\r\n\r\n" },
	};
	RIG;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		side_fini(CLIENT);
		settle(rig);
		rig_client(rig);
		say(rig, CLIENT, cases[i].request);
		say(rig, SERVER(i), cases[i].answer);
		vanish(rig, SERVER(i), false);
		assert_int_equal(rig->n_servers, i + 1);
		assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
	}
	assert_int_equal(http_engine_stats(rig->e).n_retried, 0);
}

static void no_body_byte_was_sent_yet(void **state)
{
	RIG;

	say(rig, CLIENT, "PUT /a HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\n");
	vanish(rig, SERVER(0), false);
	assert_int_equal(rig->n_servers, 2);
	say(rig, CLIENT, "hi");
	assert_non_null(strstr(heard(SERVER(1)), "\r\n\r\nhi"));
}

static void nobody_there(void **state)
{
	RIG;

	rig->refuse_connect = 1;
	say(rig, CLIENT, GET);
	assert_heard(CLIENT, "HTTP/1.1 502 Bad Gateway\r\nServer: turnpike\r\n"
			     "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 30\r\n\r\n"
			     "502 Bad Gateway: nobody there\n");
	assert_int_equal(rig->n_failed, 1);
	say(rig, CLIENT, GET);
	assert_heard(SERVER(0), GET_IN);
}

static void own_failed(void *arg, struct http_exchange *ex, int status, const char *why)
{
	(void)arg;
	(void)why;
	http_reply_error(ex, status + 1, SLICE("Retry-After: 5\r\n"), "later");
}

static void handler_answers_for_the_failed(void **state)
{
	RIG;

	rig->fwd.failed = own_failed;
	rig->refuse_connect = 1;
	say(rig, CLIENT, GET);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 503 Service Unavailable\r\n"
					      "Server: turnpike\r\n"));
	assert_int_equal(rig->status, 503);
}

static void connection_that_opens_later(void **state)
{
	RIG;

	rig->opening = true;
	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\nhi");
	assert_heard(SERVER(0), "");
	assert_string_equal(http_exchange_conn(rig->ex)->state, "connecting");
	stream_is_open(rig->back);
	settle(rig);
	assert_non_null(strstr(heard(SERVER(0)), "\r\n\r\nhi"));
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
}

static void connection_that_never_opens(void **state)
{
	static const struct {
		enum stream_end end;
		int status;
		size_t n_servers;
	} cases[] = {
		{ STREAM_END_REFUSED, 502, 1 },
		{ STREAM_END_TIMEOUT, 504, 2 },
		/* The tunnel is lost: the next connect may find another. */
		{ STREAM_END_ERROR, 0, 4 },
	};
	RIG;

	rig->opening = true;
	for (size_t i = 0; i < 3; i++) {
		say(rig, CLIENT, GET);
		stream_is_closed(rig->back, cases[i].end, "said why");
		settle(rig);
		assert_int_equal(rig->failed_status, cases[i].status);
		assert_int_equal(rig->n_servers, cases[i].n_servers);
		if (cases[i].status)
			assert_non_null(strstr(heard(CLIENT), ": said why\n"));
		rig->failed_status = 0;
	}
	stream_is_open(rig->back);
	settle(rig);
	assert_heard(SERVER(3), GET_IN);
}

/* Nothing was sent: also a POST may try the next address, but only as often as it was told. */
static void next_address_is_tried(void **state)
{
	RIG;

	rig->opening = true;
	rig->fwd.max_connects = 3;
	say(rig, CLIENT, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
	assert_int_equal(rig->n_servers, 1);
	stream_is_closed(rig->back, STREAM_END_REFUSED, "refused");
	settle(rig);
	assert_int_equal(rig->n_servers, 2);
	stream_is_closed(rig->back, STREAM_END_TIMEOUT, "late");
	settle(rig);
	assert_int_equal(rig->n_servers, 3);
	assert_int_equal(rig->failed_status, 0);
	stream_is_closed(rig->back, STREAM_END_REFUSED, "refused again");
	settle(rig);
	assert_int_equal(rig->n_servers, 3);
	assert_int_equal(rig->failed_status, 502);
}

/* The end of the asking side alone is no reason to stop answering. */
static void half_closed_client_gets_its_answer(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	hang_up(rig, CLIENT);
	assert_false(is_gone(SERVER(0)));
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
	assert_true(is_gone(CLIENT));
	assert_true(is_gone(SERVER(0)));
	assert_int_equal(rig->n_closed, 1);
}

static void client_that_vanishes_takes_the_server_along(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	vanish(rig, CLIENT, true);
	assert_true(SERVER(0)->closed);
	assert_int_equal(SERVER(0)->end, STREAM_END_ERROR);
	assert_int_equal(rig->status, 0);
	assert_int_equal(rig->n_finished, 1);
	rig_client(rig);
	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n\r\nhi");
	hang_up(rig, CLIENT);
	assert_true(SERVER(1)->closed);
	assert_int_equal(rig->n_finished, 2);
}

static void think(struct rig *rig, struct http_exchange *ex)
{
	(void)rig;
	(void)ex;
}

static void client_vanishes_while_the_handler_thinks(void **state)
{
	RIG;

	rig->on_request = think;
	say(rig, CLIENT, GET);
	assert_string_equal(http_exchange_conn(rig->ex)->state, "waiting");
	vanish(rig, CLIENT, true);
	assert_null(rig->ex);
	assert_int_equal(rig->n_closed, 1);
	rig_client(rig);
	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n\r\nhi");
	hang_up(rig, CLIENT);
	assert_int_equal(rig->n_closed, 2);
	/* A whole one may wait. */
	side_fini(CLIENT);
	settle(rig);
	rig_client(rig);
	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\nhi");
	hang_up(rig, CLIENT);
	assert_int_equal(rig->n_closed, 2);
	http_reply(rig->ex, 200, SLICE_NONE, "text/plain", SLICE("ok"));
	settle(rig);
	assert_non_null(strstr(heard(CLIENT), "\r\n\r\nok"));
}

/* --- what of a head goes along --- */
static void fields_of_one_hop_end_here(void **state)
{
	RIG;

	rig->conf.via = "edge1";
	reconfigure(rig);
	say(rig, CLIENT,
	    "GET http://e.example/a HTTP/1.1\r\nHost: e.example\r\nKeep-Alive: 5\r\nTE: "
	    "trailers\r\n"
	    "Connection: keep-alive, X-Gone, TE\r\nX-Gone: 1\r\nX-Stays: 2\r\n"
	    "Proxy-Connection: x\r\nProxy-Authorization: Basic x\r\nUpgrade: h2c\r\n"
	    "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n"
	    "Turnpike-User: root\r\nCookie: a=b\r\nVia: 1.1 x\r\n\r\n");
	assert_heard(SERVER(0), "GET /in?x=1 HTTP/1.1\r\nHost: web1.example\r\nX-Stays: 2\r\n"
				"Cookie: a=b\r\nVia: 1.1 x\r\nVia: 1.1 edge1\r\n"
				"X-Forwarded-Proto: https\r\n\r\n");
	say(rig, SERVER(0),
	    "HTTP/1.1 200 Fine\r\nConnection: X-Gone\r\nX-Gone: 1\r\nKeep-Alive: 5\r\n"
	    "Trailer: X\r\nProxy-Authenticate: Basic\r\nUpgrade: h2\r\nTurnpike-A: b\r\n"
	    "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 200 Fine\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n"
			     "Via: 1.1 edge1\r\nContent-Length: 0\r\n\r\n");
}

static bool keep(void *arg, struct http_exchange *ex, const struct http_field *f)
{
	(void)arg;
	(void)ex;
	assert_int_not_equal(f->id, HTTP_F_HOST);
	assert_int_not_equal(f->id, HTTP_F_CONTENT_LENGTH);
	assert_int_not_equal(f->id, HTTP_F_EXPECT);
	return slice_eq(f->name, SLICE("X-A")) || f->id == HTTP_F_TURNPIKE;
}

static enum http_response_verdict add_fields(void *arg, struct http_exchange *ex,
					     const struct http_head *h, struct buf *fields)
{
	(void)arg;
	(void)ex;
	assert_int_equal(h->status, 200);
	buf_add_str(fields, "Set-Cookie: mine\r\n");
	return HTTP_RESPONSE_PASS;
}

static void handler_chooses_fields(void **state)
{
	RIG;

	rig->fwd.keep = keep;
	rig->fwd.keep_response = keep;
	rig->fwd.response = add_fields;
	say(rig, CLIENT, "GET / HTTP/1.1\r\nHost: e\r\nX-A: 1\r\nX-B: 2\r\nTurnpike-C: 3\r\n\r\n");
	assert_heard(SERVER(0), "GET /in?x=1 HTTP/1.1\r\nHost: web1.example\r\nX-A: 1\r\n"
				"Turnpike-C: 3\r\nX-Forwarded-Proto: https\r\n\r\n");
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nX-B: 1\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 0\r\n"
			     "Set-Cookie: mine\r\n\r\n");
}

static enum http_response_verdict replace(void *arg, struct http_exchange *ex,
					  const struct http_head *h, struct buf *fields)
{
	struct rig *rig = arg;

	(void)fields;
	if (rig->refuse_connect == 0)
		http_reply(ex, 403, SLICE("X-Z: 1\r\n"), "text/plain", SLICE("no\n"));
	/* The head is still there. */
	assert_int_equal(h->status, 200);
	assert_true(slice_eq(h->fields[0].name, SLICE("Content-Length")));
	return HTTP_RESPONSE_REPLACE;
}

static void handler_replaces_the_answer(void **state)
{
	RIG;

	rig->fwd.response = replace;
	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, "HTTP/1.1 403 Forbidden\r\nServer: turnpike\r\n"
			     "Content-Type: text/plain\r\nX-Z: 1\r\nContent-Length: 3\r\n\r\nno\n");
	assert_true(is_gone(SERVER(0)));
	assert_false(is_gone(CLIENT));
	rig->refuse_connect = -1; /* it does not keep its word */
	say(rig, CLIENT, GET);
	say(rig, SERVER(1), OK5);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
}

static void date_is_added_once(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	assert_non_null(strstr(CLIENT->got.p, "\r\nDate: "));
	buf_reset(&CLIENT->got);
	say(rig, CLIENT, GET);
	say(rig, SERVER(0),
	    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
	    "Content-Length: 0\r\n\r\n");
	assert_string_equal(CLIENT->got.p,
			    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			    "Content-Length: 0\r\n\r\n");
}

static void methods(void **state)
{
	RIG;

	say(rig, CLIENT, "OPTIONS * HTTP/1.1\r\nHost: e\r\n\r\n");
	assert_int_equal(rig->n_requests, 1);
	say(rig, SERVER(0), OK5);
	say(rig, CLIENT, "BREW /pot HTTP/1.1\r\nHost: e\r\n\r\n");
	assert_int_equal(rig->n_requests, 2);
	heard(CLIENT);
	say(rig, SERVER(0), OK5);
	heard(CLIENT);
	say(rig, CLIENT, "TRACE / HTTP/1.1\r\nHost: e\r\n\r\n");
	assert_int_equal(rig->n_requests, 2);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 405 Method Not Allowed\r\n"));
	assert_true(is_gone(CLIENT));
	side_fini(CLIENT);
	rig_client(rig);
	say(rig, CLIENT, "CONNECT e:443 HTTP/1.1\r\nHost: e:443\r\n\r\n" GET);
	assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 501 Not Implemented\r\n"));
	assert_true(is_gone(CLIENT));
	assert_int_equal(rig->n_requests, 2);
	assert_int_equal(rig->n_refused, 2);
	assert_string_equal(rig->code, "http.method");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(get_is_relayed),
		TEST(both_connections_are_used_again),
		TEST(another_key_is_another_connection),
		TEST(pipelined_requests_wait_their_turn),
		TEST(body_of_known_length),
		TEST(chunked_body_is_framed_anew),
		TEST(answers_without_a_body),
		TEST(interim_answers),
		TEST(final_answer_instead_of_100),
		TEST(early_answer),
		TEST(answer_until_close),
		TEST(old_clients),
		TEST(old_client_closes_by_default),
		TEST(cut_answer_is_seen),
		TEST(cut_answer_is_seen_by_old_clients),
		TEST(dead_reused_connection_is_replaced),
		TEST(retry_is_once),
		TEST(no_retry),
		TEST(no_body_byte_was_sent_yet),
		TEST(nobody_there),
		TEST(handler_answers_for_the_failed),
		TEST(connection_that_opens_later),
		TEST(connection_that_never_opens),
		TEST(next_address_is_tried),
		TEST(half_closed_client_gets_its_answer),
		TEST(client_that_vanishes_takes_the_server_along),
		TEST(client_vanishes_while_the_handler_thinks),
		TEST(fields_of_one_hop_end_here),
		TEST(handler_chooses_fields),
		TEST(handler_replaces_the_answer),
		TEST(date_is_added_once),
		TEST(methods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
