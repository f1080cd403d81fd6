/* Answers of the HTTP engine's own, at once and later, and what becomes of the rest of the request.
 */
#include "support/http_rig.h"

#define RIG	  struct rig *rig = *state
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define CLIENT	  (&rig->client)
#define SERVER(i) (&rig->servers[i])

static void think(struct rig *rig, struct http_exchange *ex)
{
	(void)rig;
	(void)ex;
}

static void reply_now(struct rig *rig, struct http_exchange *ex)
{
	(void)rig;
	http_reply(ex, 200, SLICE("X-Q: 1\r\n"), "text/plain", SLICE("mine"));
}

static void own_answers(void **state)
{
	static const char text[] =
		"HTTP/1.1 200 OK\r\nServer: turnpike\r\nContent-Type: text/plain\r\n"
		"X-Q: 1\r\nContent-Length: 4\r\n\r\nmine";
	char twice[sizeof(text) * 2];
	RIG;

	rig->on_request = reply_now;
	say(rig, CLIENT, GET);
	assert_heard(CLIENT, text);
	say(rig, CLIENT, GET GET);
	snprintf(twice, sizeof(twice), "%s%s", text, text);
	assert_heard(CLIENT, twice);
	say(rig, CLIENT, "HEAD / HTTP/1.1\r\nHost: e\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nServer: turnpike\r\nContent-Type: text/plain\r\n"
			     "X-Q: 1\r\nContent-Length: 4\r\n\r\n");
	say(rig, CLIENT, "GET / HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n" GET);
	assert_heard(CLIENT, "HTTP/1.1 200 OK\r\nServer: turnpike\r\nContent-Type: text/plain\r\n"
			     "X-Q: 1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmine");
	assert_true(is_gone(CLIENT));
	assert_int_equal(rig->n_finished, 5);
}

static void front_has_an_owner(void **state)
{
	RIG;

	http_front_set_arg(rig->front, rig);
	assert_ptr_equal(http_front_arg(rig->front), rig);
}

static void reply_204(struct rig *rig, struct http_exchange *ex)
{
	(void)rig;
	http_reply(ex, 204, SLICE_NONE, NULL, SLICE_NONE);
}

static void own_answer_without_content(void **state)
{
	RIG;

	rig->on_request = reply_204;
	say(rig, CLIENT, GET);
	assert_heard(CLIENT, "HTTP/1.1 204 No Content\r\nServer: turnpike\r\n\r\n");
}

static void reply_later(void **state)
{
	struct http_exchange *ex;
	RIG;

	rig->on_request = think;
	say(rig, CLIENT, GET GET);
	ex = rig->ex;
	assert_int_equal(rig->n_requests, 1);
	assert_true(slice_eq(http_exchange_head(ex)->target, SLICE("/a")));
	assert_true(slice_eq(http_exchange_head(ex)->fields[0].value, SLICE("e.example")));
	http_exchange_set_arg(ex, rig);
	assert_ptr_equal(http_exchange_arg(ex), rig);
	assert_ptr_equal(http_exchange_front(ex), rig->front);
	http_reply_error(ex, 404, SLICE_NONE, "not here");
	settle(rig);
	assert_int_equal(rig->n_requests, 2);
	assert_non_null(strstr(heard(CLIENT), "404 Not Found: not here\n"));
	http_forward(rig->ex, &rig->fwd);
	settle(rig);
	assert_heard(SERVER(0), GET_IN);
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
}

static void big_own_answer(struct rig *rig, struct http_exchange *ex)
{
	static char body[300000];

	(void)rig;
	memset(body, 'x', sizeof(body));
	http_reply(ex, 200, SLICE_NONE, "text/plain", (struct slice){ body, sizeof(body) });
}

static void client_that_takes_no_answers_is_asked_no_more(void **state)
{
	RIG;

	rig->on_request = big_own_answer;
	CLIENT->stalled = true;
	say(rig, CLIENT, GET GET GET GET);
	/* One is on its way, and what is full takes no second. */
	assert_int_equal(rig->n_requests, 1);
	CLIENT->stalled = false;
	side_readable(CLIENT);
	for (int i = 0; i < 10; i++)
		settle(rig);
	assert_int_equal(rig->n_requests, 4);
	assert_true(CLIENT->got.n > 1200000);
}

static void rest_of_a_body_is_read_away(void **state)
{
	char body[1000];
	RIG;

	rig->on_request = reply_now;
	say(rig, CLIENT, "POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 1000\r\n\r\n");
	assert_null(strstr(heard(CLIENT), "close"));
	assert_int_equal(rig->n_finished, 0);
	memset(body, 'G', sizeof(body));
	say_slice(CLIENT, (struct slice){ body, sizeof(body) });
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_finished, 2);
	say(rig, CLIENT,
	    "POST / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "2\r\nhi\r\n0\r\n\r\n" GET);
	assert_int_equal(rig->n_finished, 4);
	assert_false(is_gone(CLIENT));
	/* The bound, and one over it. */
	heard(CLIENT);
	say(rig, CLIENT, "POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 65536\r\n\r\n");
	assert_null(strstr(heard(CLIENT), "close"));
	for (int i = 0; i < 65536; i += 512)
		say_slice(CLIENT, (struct slice){ body, 512 });
	say(rig, CLIENT, "POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 65537\r\n\r\n");
	assert_int_equal(rig->n_finished, 6);
	assert_non_null(strstr(heard(CLIENT), "close"));
	assert_true(is_gone(CLIENT));
}

static void endless_rest_is_not_read_away(void **state)
{
	char body[1000];
	RIG;

	rig->on_request = reply_now;
	memset(body, 'x', sizeof(body));
	say(rig, CLIENT,
	    "POST / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n");
	for (int i = 0; i < 65; i++)
		say_slice(CLIENT, (struct slice){ body, sizeof(body) });
	settle(rig);
	assert_int_equal(rig->n_closed, 0);
	say_slice(CLIENT, (struct slice){ body, sizeof(body) });
	settle(rig);
	assert_int_equal(rig->n_closed, 1);
	/* One that waits for 100 may go on with anything. */
	side_fini(CLIENT);
	rig_client(rig);
	say(rig, CLIENT,
	    "POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 5\r\n"
	    "Expect: 100-continue\r\n\r\n");
	assert_non_null(strstr(heard(CLIENT), "Connection: close"));
	assert_true(is_gone(CLIENT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(own_answers),
		TEST(front_has_an_owner),
		TEST(own_answer_without_content),
		TEST(reply_later),
		TEST(client_that_takes_no_answers_is_asked_no_more),
		TEST(rest_of_a_body_is_read_away),
		TEST(endless_rest_is_not_read_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
