/* Back-pressure of the HTTP engine, delivery in any pieces, and exchanges without memory. */
#include "support/http_rig.h"

#include "support/alloc_fail.h"

#define RIG	  struct rig *rig = *state
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define CLIENT	  (&rig->client)
#define SERVER(i) (&rig->servers[i])

static void reply_now(struct rig *rig, struct http_exchange *ex)
{
	(void)rig;
	http_reply(ex, 200, SLICE("X-Q: 1\r\n"), "text/plain", SLICE("mine"));
}

/* --- back-pressure --- */
#define WITHIN (4u * STREAM_HIGH_BYTES)

/* The slow side holds up the fast one, and nothing is lost. */
static void download_waits_for_the_client(void **state)
{
	static char block[65536];
	size_t sent = 0, total = 4u << 20;
	char head[100];
	RIG;

	memset(block, 'd', sizeof(block));
	say(rig, CLIENT, GET);
	CLIENT->stalled = true;
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", total);
	say(rig, SERVER(0), head);
	while (sent < total && !stream_is_full(SERVER(0)->s)) {
		say_slice(SERVER(0), (struct slice){ block, sizeof(block) });
		sent += sizeof(block);
		settle(rig);
	}
	assert_true(sent < 3 * WITHIN);
	CLIENT->stalled = false;
	side_readable(CLIENT);
	while (CLIENT->got.n < total) {
		for (; sent < total && !stream_is_full(SERVER(0)->s); sent += sizeof(block))
			say_slice(SERVER(0), (struct slice){ block, sizeof(block) });
		settle(rig);
	}
	assert_int_equal(rig->status, 200);
	assert_true(CLIENT->got.n > total && CLIENT->got.n < total + 200);
	assert_int_equal(rig->n_finished, 1);
}

static void upload_waits_for_the_server(void **state)
{
	static char block[65536];
	size_t sent = 0, total = 4u << 20;
	char head[100];
	RIG;

	memset(block, 'u', sizeof(block));
	snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %zu\r\n\r\n",
		 total);
	say(rig, CLIENT, head);
	SERVER(0)->stalled = true;
	while (sent < total && !stream_is_full(CLIENT->s)) {
		say_slice(CLIENT, (struct slice){ block, sizeof(block) });
		sent += sizeof(block);
		settle(rig);
	}
	assert_true(sent < 3 * WITHIN);
	SERVER(0)->stalled = false;
	side_readable(SERVER(0));
	while (SERVER(0)->got.n < total) {
		for (; sent < total && !stream_is_full(CLIENT->s); sent += sizeof(block))
			say_slice(CLIENT, (struct slice){ block, sizeof(block) });
		settle(rig);
	}
	settle(rig);
	say(rig, SERVER(0), OK5);
	assert_heard(CLIENT, OK5);
}

/* The server is gone before the client took the last of it. */
static void last_bytes_outlive_the_server(void **state)
{
	static char block[200000];
	char head[100];
	RIG;

	memset(block, 'd', sizeof(block));
	say(rig, CLIENT, GET);
	CLIENT->stalled = true;
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
		 2 * sizeof(block));
	say(rig, SERVER(0), head);
	say_slice(SERVER(0), (struct slice){ block, sizeof(block) });
	say_slice(SERVER(0), (struct slice){ block, sizeof(block) });
	settle(rig);
	stream_shutdown(SERVER(0)->s);
	settle(rig);
	CLIENT->stalled = false;
	side_readable(CLIENT);
	for (int i = 0; i < 10; i++)
		settle(rig);
	assert_int_equal(rig->n_finished, 1);
	assert_string_equal(rig->why, "");
	assert_true(CLIENT->got.n > 2 * sizeof(block));
}

/* Even when it was reset: all of the answer had come. */
static void last_bytes_outlive_a_reset(void **state)
{
	static char block[350000];
	RIG;

	memset(block, 'd', sizeof(block));
	say(rig, CLIENT, GET);
	CLIENT->stalled = true;
	say(rig, SERVER(0), "HTTP/1.1 200 OK\r\nContent-Length: 350000\r\n\r\n");
	say_slice(SERVER(0), (struct slice){ block, sizeof(block) });
	settle(rig);
	assert_int_equal(evbuffer_get_length(stream_out(SERVER(0)->s)), 0);
	vanish(rig, SERVER(0), true);
	assert_int_equal(rig->n_finished, 0);
	CLIENT->stalled = false;
	side_readable(CLIENT);
	settle(rig);
	assert_int_equal(rig->status, 200);
	assert_string_equal(rig->why, "");
	assert_true(CLIENT->got.n > sizeof(block));
	assert_false(is_gone(CLIENT));
}

/* --- any split --- */
/* Plays both sides in pieces of the sizes that next() gives. */
static uint32_t draw(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

#define SPLIT_CLIENT                                                            \
	GET "POST /b HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n" \
	    "4;x=y\r\nwiki\r\n5\r\npedia\r\n0\r\nX: y\r\n\r\n"                  \
	    "PUT /c HTTP/1.1\r\nHost: e\r\nContent-Length: 11\r\nX-Long: "      \
	    "aaaaaaaaaaaaaaaaaaaaaaaaaa"                                        \
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\nhello world\r\n"     \
	    "HEAD /d HTTP/1.1\r\nHost: e\r\n\r\n"
static const char *const split_answers[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;q\r\n"
	"0123456789abcdef\r\n0\r\nT: 1\r\n\r\n",
	"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
};

/* Chunk boundaries may fall anywhere: the bodies count, not their pieces. */
static void normalise(struct side *side, bool is_request, struct buf *out)
{
	static const enum http_method methods_asked[] = { HTTP_GET, HTTP_POST, HTTP_GET, HTTP_PUT,
							  HTTP_HEAD };
	struct http_limits limits = { 8192, 4096, 100 };
	struct slice left = buf_slice(&side->got);
	struct http_head h;
	const char *why;
	int status, i = 0;

	while (left.n > 0) {
		struct http_body_reader r;
		struct http_body_part part;
		size_t scanned = 0;

		if (is_request)
			assert_int_equal(
				http_request_parse(left, &limits, &scanned, &h, &status, &why),
				HTTP_OK);
		else
			assert_int_equal(http_response_parse(left, &limits, &scanned,
							     methods_asked[i], &h, &why),
					 HTTP_OK);
		i++;
		for (size_t k = 0; k < h.n_bytes; k++) {
			if (strncmp(left.p + k, "Date: ", 6) == 0)
				k += 37;
			buf_add_char(out, left.p[k]);
		}
		left.p += h.n_bytes;
		left.n -= h.n_bytes;
		http_body_init(&r, &h);
		do {
			part = http_body_next(&r, left);
			assert_false(part.bad);
			buf_add(out, left.p + part.skip, part.data);
			left.p += part.skip + part.data;
			left.n -= part.skip + part.data;
		} while (!part.end && (part.skip || part.data));
		assert_true(part.end);
		buf_add_str(out, "|");
	}
	buf_reset(&side->got);
}

static void play(struct rig *rig, uint32_t seed, uint32_t max_piece, struct buf *server,
		 struct buf *client)
{
	struct slice asks = SLICE(SPLIT_CLIENT), answer = SLICE_NONE;
	size_t answered = 0;

	for (int idle = 0; idle < 40 && rig->n_finished < 4;) {
		size_t n = 1 + draw(&seed) % max_piece;

		idle++;
		if (asks.n > 0 && draw(&seed) % 2) {
			n = n < asks.n ? n : asks.n;
			say_slice(CLIENT, (struct slice){ asks.p, n });
			asks.p += n;
			asks.n -= n;
			idle = 0;
		} else if (answer.n > 0) {
			n = n < answer.n ? n : answer.n;
			say_slice(SERVER(0), (struct slice){ answer.p, n });
			answer.p += n;
			answer.n -= n;
			idle = 0;
		}
		turn(rig);
		turn(rig);
		if (answer.n == 0 && rig->n_requests > answered && rig->n_finished == answered &&
		    rig->n_servers == 1 && rig->ex && asks.n == 0)
			answer = slice_of(split_answers[answered++]);
		else if (answer.n == 0 && rig->n_requests > answered + (asks.n == 0 ? 0 : 1))
			answer = slice_of(split_answers[answered++]);
	}
	settle(rig);
	normalise(SERVER(0), true, server);
	normalise(CLIENT, false, client);
}

static void any_split_is_the_same(void **state)
{
	struct buf server[2], client[2];

	(void)state;
	for (int k = 0; k < 2; k++) {
		buf_init(&server[k], 1u << 20);
		buf_init(&client[k], 1u << 20);
	}
	for (uint32_t seed = 0; seed < 150; seed++) {
		struct rig *rig = calloc(1, sizeof(*rig));
		int k = seed > 0;
		uint32_t piece = seed == 0 ? 100000 : seed < 10 ? 1 : 1 + seed % 60;

		buf_reset(&server[k]);
		buf_reset(&client[k]);
		rig_init(rig);
		rig_client(rig);
		play(rig, seed, piece, &server[k], &client[k]);
		assert_int_equal(rig->n_finished, 4);
		assert_int_equal(rig->n_servers, 1);
		if (k) {
			assert_string_equal(server[0].p, server[1].p);
			assert_string_equal(client[0].p, client[1].p);
		}
		rig_fini(rig);
		free(rig);
	}
	for (int k = 0; k < 2; k++) {
		buf_fini(&server[k]);
		buf_fini(&client[k]);
	}
}

/* --- no memory --- */
static unsigned sweep_at;
static bool sweep_hit;

/* One exchange with a body, with the nth allocation of the engine failing: it ends, with any
 * status, and nothing is left. */
static void exchange_without_memory(bool replies)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct conn like = { .transport = CONN_TLS };
	struct stream *ends[2];

	rig_init(rig);
	if (replies)
		rig->on_request = reply_now;
	assert_int_equal(stream_pair_new(rig->loop, ends), 0);
	side_init(CLIENT, ends[1]);
	alloc_fail_at(sweep_at);
	http_front_new(rig->e, ends[0], &like);
	evbuffer_add_printf(stream_out(CLIENT->s),
			    "PUT /b HTTP/1.1\r\nHost: e\r\nContent-Length: 3\r\n\r\nabc");
	stream_flush(CLIENT->s);
	settle(rig);
	if (rig->n_servers > 0 && SERVER(0)->s) {
		evbuffer_add_printf(stream_out(SERVER(0)->s), OK5);
		stream_flush(SERVER(0)->s);
	}
	settle(rig);
	sweep_hit = alloc_fail_hit();
	alloc_fail_at(0);
	if (!sweep_hit)
		assert_int_equal(rig->status, 200);
	assert_int_equal(rig->n_requests, rig->n_finished);
	rig_fini(rig);
	free(rig);
}

static void allocations_fail(void **state)
{
	(void)state;
	for (int replies = 0; replies < 2; replies++) {
		sweep_at = 0;
		do {
			sweep_at++;
			assert_true(sweep_at < 1000);
			exchange_without_memory(replies);
		} while (sweep_hit);
		assert_true(sweep_at > 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(download_waits_for_the_client),	 TEST(upload_waits_for_the_server),
		TEST(last_bytes_outlive_the_server),	 TEST(last_bytes_outlive_a_reset),
		cmocka_unit_test(any_split_is_the_same), cmocka_unit_test(allocations_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
