/* Bodies that a handler of ours looks into: whole, in pieces, chunked, at the bound and over it,
 * too slow, cut. */
#include "support/alloc_fail.h"
#include "support/http_rig.h"

#define RIG	struct rig *rig = *state
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define CLIENT	(&rig->client)
#define MAX	10

static struct {
	unsigned n;
	int status;
	char body[64];
} got;

static void on_body(void *arg, struct http_exchange *ex, int status, struct slice body)
{
	got.n++;
	got.status = status;
	slice_copy(got.body, sizeof(got.body), body);
	if (status)
		http_reply_error(ex, status, SLICE_NONE, "too big for us");
	else
		http_reply(ex, 200, SLICE_NONE, NULL, SLICE("ok"));
}

static void collect(struct rig *rig, struct http_exchange *ex)
{
	memset(&got, 0, sizeof(got));
	http_collect(ex, MAX, on_body, rig);
}

static void think(struct rig *rig, struct http_exchange *ex)
{
	memset(&got, 0, sizeof(got));
}

#define OK  "HTTP/1.1 200 OK\r\nServer: turnpike\r\nContent-Length: 2\r\n\r\nok"
#define PUT "POST /a HTTP/1.1\r\nHost: e\r\n"

static void whole(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Content-Length: 5\r\n\r\nhello");
	assert_heard(CLIENT, OK);
	assert_string_equal(got.body, "hello");
	/* the next request of the connection, its body in pieces */
	say(rig, CLIENT, PUT "Content-Length: 5\r\n\r\nhe");
	assert_int_equal(got.n, 0);
	assert_string_equal(http_exchange_conn(rig->ex)->state, "reading");
	say(rig, CLIENT, "ll");
	assert_int_equal(got.n, 0);
	say(rig, CLIENT, "o" GET);
	assert_int_equal(rig->n_requests, 3);
	assert_int_equal(got.n, 1);
	assert_string_equal(got.body, ""); /* of the GET */
	assert_heard(CLIENT, OK OK);
}

static void chunked(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n");
	assert_int_equal(got.n, 0);
	say(rig, CLIENT, "0\r\nX-T: 1\r\n\r\n" GET);
	assert_heard(CLIENT, OK OK);
	say(rig, CLIENT, PUT "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n");
	assert_string_equal(got.body, "he");
	assert_heard(CLIENT, OK);
}

static void none(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "\r\n");
	assert_int_equal(got.n, 1);
	say(rig, CLIENT, PUT "Content-Length: 0\r\n\r\n");
	say(rig, CLIENT, PUT "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
	assert_int_equal(got.status, 0);
	assert_heard(CLIENT, OK OK OK);
}

static void at_the_bound(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Content-Length: 10\r\n\r\n0123456789");
	assert_string_equal(got.body, "0123456789");
	say(rig, CLIENT, PUT "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n");
	assert_string_equal(got.body, "0123456789");
	assert_heard(CLIENT, OK OK);
}

/* The length says it: nothing is read, and what comes all the same is thrown away. */
static void over_the_bound(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Content-Length: 11\r\n\r\n");
	assert_int_equal(got.status, 413);
	assert_string_equal(got.body, "");
	say(rig, CLIENT, "01234567890" GET);
	assert_int_equal(rig->n_requests, 2);
	assert_int_equal(got.status, 0);
	assert_non_null(strstr(heard(CLIENT), "413 Content Too Large: too big for us"));
}

/* Only the bytes say it: what follows is not taken for a request. */
static void over_the_bound_in_chunks(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT,
	    PUT "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n01234\r\n0\r\n\r\n" GET);
	assert_int_equal(got.status, 413);
	assert_int_equal(rig->n_requests, 1);
	assert_non_null(strstr(heard(CLIENT), "Connection: close"));
	assert_true(is_gone(CLIENT));
}

static void bad_chunks(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Transfer-Encoding: chunked\r\n\r\nzz\r\n");
	assert_int_equal(got.n, 0);
	assert_int_equal(rig->refused_status, 400);
	assert_non_null(strstr(heard(CLIENT), "400 Bad Request"));
	assert_true(is_gone(CLIENT));
}

static void told_to_go_on(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_heard(CLIENT, "HTTP/1.1 100 Continue\r\n\r\n");
	say(rig, CLIENT, "hi");
	assert_heard(CLIENT, OK);
	/* not when it is too much already */
	say(rig, CLIENT, PUT "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n");
	assert_memory_equal(heard(CLIENT), "HTTP/1.1 413", 12);
	assert_true(is_gone(CLIENT));
}

static void later(void **state)
{
	RIG;

	rig->on_request = think;
	say(rig, CLIENT, PUT "Content-Length: 5\r\n\r\nhello");
	pass_ms(rig, 60000); /* the handler thinks: the client is not too slow */
	http_collect(rig->ex, MAX, on_body, rig);
	settle(rig);
	assert_string_equal(got.body, "hello");
	assert_heard(CLIENT, OK);
}

static void too_slow(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Content-Length: 5\r\n\r\nhe");
	pass_ms(rig, 5000);
	assert_string_equal(rig->code, "http.slow");
	assert_int_equal(rig->refused_status, 408);
	assert_int_equal(got.n, 0);
	assert_true(is_gone(CLIENT));
}

static void cut(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Content-Length: 5\r\n\r\nhe");
	hang_up(rig, CLIENT);
	assert_int_equal(got.n, 0);
	assert_int_equal(rig->n_finished, 1);
	assert_string_equal(rig->why, "client went away within the body");
}

static void reset(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Transfer-Encoding: chunked\r\n\r\n2\r\nhe");
	vanish(rig, CLIENT, true);
	assert_int_equal(got.n, 0);
	assert_int_equal(rig->n_finished, 1);
}

/* A second call changes nothing. */
static void only_once(void **state)
{
	RIG;

	rig->on_request = collect;
	say(rig, CLIENT, PUT "Content-Length: 2\r\n\r\nh");
	http_collect(rig->ex, 1, NULL, NULL);
	say(rig, CLIENT, "i");
	assert_string_equal(got.body, "hi");
	assert_heard(CLIENT, OK);
}

static void one_run(void *arg)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	bool failed;

	alloc_fail_at(0);
	rig_init(rig);
	rig_client(rig);
	rig->on_request = collect;
	alloc_fail_at(*(unsigned *)arg);
	say(rig, CLIENT, PUT "Content-Length: 5\r\n\r\nhe");
	if (rig->client.s)
		say(rig, CLIENT, "llo");
	failed = alloc_fail_hit();
	alloc_fail_at(0);
	assert_true(failed || strcmp(got.body, "hello") == 0);
	rig_fini(rig);
	free(rig);
	*(unsigned *)arg = failed ? *(unsigned *)arg + 1 : 0;
}

static void without_memory(void **state)
{
	unsigned n = 1;

	while (n > 0 && n < 1000)
		one_run(&n);
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whole),
		TEST(chunked),
		TEST(none),
		TEST(at_the_bound),
		TEST(over_the_bound),
		TEST(over_the_bound_in_chunks),
		TEST(bad_chunks),
		TEST(told_to_go_on),
		TEST(later),
		TEST(too_slow),
		TEST(cut),
		TEST(reset),
		TEST(only_once),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
