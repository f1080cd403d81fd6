/*
 * Requests and answers that two parsers could read in two ways, through the whole engine: either
 * the client is refused and closed and the server never hears a whole request, or the server gets
 * exactly the one request that was meant.
 */
#include "support/http_rig.h"

#define RIG	  struct rig *rig = *state
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define CLIENT	  (&rig->client)
#define SERVER(i) (&rig->servers[i])
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define SECRET	  "GET /secret HTTP/1.1\r\nHost: e\r\n\r\n"
#define REFUSED(text, with)                            \
	{                                              \
		.bytes = SLICE(text), .status = (with) \
	}
#define PASSES(text, m, t, b)                                                                  \
	{                                                                                      \
		.bytes = SLICE(text), .status = 200, .method = (m), .target = (t), .body = (b) \
	}
#define POST(fields)  "POST /p HTTP/1.1\r\nHost: e\r\n" fields "\r\n\r\n"
#define CHUNKED(body) POST("Transfer-Encoding: chunked") body
#define GETS(fields)  "GET /p HTTP/1.1\r\nHost: e\r\n" fields "\r\n\r\n"

/* --- a server that reads strictly and answers everything --- */
struct strict {
	struct http_head head;
	struct http_body_reader body;
	bool in_body, bad;
	size_t n_whole, n_begun;
	char method[32], target[64], text[256];
	size_t n_text;
};

static void strict_end(struct side *side, struct strict *st)
{
	st->n_whole++;
	st->in_body = false;
	say_slice(side, st->head.method == HTTP_HEAD
				? SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
				: SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
}

static bool strict_head(struct side *side, struct strict *st, struct slice bytes)
{
	static const struct http_limits limits = { 16384, 8192, 100 };
	size_t scanned = 0;
	const char *why;
	int status;

	switch (http_request_parse(bytes, &limits, &scanned, &st->head, &status, &why)) {
	case HTTP_OK:
		break;
	case HTTP_BAD:
		st->bad = true;
		return false;
	case HTTP_MORE:
		return false;
	}
	st->n_begun++;
	st->n_text = 0;
	slice_copy(st->method, sizeof(st->method), st->head.method_text);
	slice_copy(st->target, sizeof(st->target), st->head.target);
	http_body_init(&st->body, &st->head);
	side->used += st->head.n_bytes;
	st->in_body = true;
	if (st->head.body == HTTP_BODY_NONE)
		strict_end(side, st);
	return true;
}

static bool strict_body(struct side *side, struct strict *st, struct slice bytes)
{
	struct http_body_part part = http_body_next(&st->body, bytes);

	st->bad |= part.bad;
	if (part.bad)
		return false;
	if (part.data > 0 && st->n_text + part.data < sizeof(st->text)) {
		memcpy(st->text + st->n_text, bytes.p + part.skip, part.data);
		st->n_text += part.data;
	}
	side->used += part.skip + part.data;
	if (part.end)
		strict_end(side, st);
	return part.end || part.skip || part.data;
}

static void strict_bytes(struct side *side)
{
	struct strict *st = side->arg;
	struct slice left;
	bool more = true;

	while (more && !st->bad) {
		left = (struct slice){ side->got.p + side->used, side->got.n - side->used };
		if (left.n == 0 && !st->in_body)
			break;
		more = st->in_body ? strict_body(side, st, left) : strict_head(side, st, left);
	}
}

static struct strict *strict_of;

static struct stream *connect_strict(void *arg, struct http_exchange *ex,
				     const struct stream_handler *h, void *harg, int *error,
				     const char **why)
{
	struct rig *rig = arg;
	struct stream *s = rig_connect(arg, ex, h, harg, error, why);

	rig->servers[rig->n_servers - 1].on_bytes = strict_bytes;
	rig->servers[rig->n_servers - 1].arg = strict_of;
	return s;
}

/* Target as it was meant: origin-form. */
static void forward_as_is(struct rig *rig, struct http_exchange *ex)
{
	const struct http_head *h = http_exchange_head(ex);
	char target[256];

	if (h->form == HTTP_ASTERISK)
		snprintf(target, sizeof(target), "*");
	else
		snprintf(target, sizeof(target), "%.*s%s%.*s", SLICE_ARG(h->path),
			 h->query.p ? "?" : "", SLICE_ARG(h->query));
	rig->fwd.target = slice_of(target);
	rig->fwd.host = SLICE("e");
	rig->fwd.fields = SLICE_NONE;
	rig->fwd.connect = connect_strict;
	http_forward(ex, &rig->fwd);
}

/* --- requests --- */
struct corpus {
	struct slice bytes;
	int status; /* refused with it; 200: passes as method, target, body */
	const char *method, *target, *body;
};

/* In all that is refused, SECRET follows: it must never be heard. */
static const struct corpus corpus[] = {
	/* lengths */
	REFUSED(POST("Content-Length:"), 400),
	REFUSED(POST("Content-Length: +5") "hello", 400),
	REFUSED(POST("Content-Length: -1"), 400),
	REFUSED(POST("Content-Length: 0x5") "hello", 400),
	REFUSED(POST("Content-Length: 5_0"), 400),
	REFUSED(POST("Content-Length: 05") "hello", 400),
	REFUSED(POST("Content-Length: 5 5") "hello", 400),
	REFUSED(POST("Content-Length: 5,5") "hello", 400),
	REFUSED(POST("Content-Length: 5, 5") "hello", 400),
	REFUSED(POST("Content-Length: 5\r\nContent-Length: 5") "hello", 400),
	REFUSED(POST("Content-Length: 5\r\nContent-Length: 6") "hello", 400),
	REFUSED(POST("Content-Length: 0\r\nContent-Length: 33"), 400),
	REFUSED(POST("Content-Length: 5\r\nTransfer-Encoding: chunked") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: chunked\r\nContent-Length: 5") "0\r\n\r\n", 400),
	REFUSED(POST("Content-Length: 18446744073709551616"), 400),
	REFUSED(POST("Content-Length: 18446744073709551621") "hello", 400),
	REFUSED(POST("Content-Length: 9223372036854775808"), 400),
	REFUSED(POST("Content-Length: 5;") "hello", 400),
	REFUSED(POST("Content-Length: 5.0") "hello", 400),
	REFUSED(POST("Content-Length: \x0b"
		     "5") "hello",
		400),
	REFUSED(POST("Content\0-Length: 5") "hello", 400),
	REFUSED(POST("Content_Length: 5") "hello", 400),
	REFUSED(POST("Content-Length : 5") "hello", 400),
	REFUSED(POST(" Content-Length: 5") "hello", 400),
	REFUSED(POST("X: y\r\n Content-Length: 5") "hello", 400),
	/* transfer codings */
	REFUSED(POST("Transfer-Encoding: ,chunked") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: chunked,chunked") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: x") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: xchunked") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: identity"), 400),
	REFUSED(POST("Transfer-Encoding: identity\r\nContent-Length: 5") "hello", 400),
	REFUSED(POST("Transfer-Encoding: gzip, chunked") "0\r\n\r\n", 501),
	REFUSED(POST("Transfer-Encoding: chunked, identity") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: \x0b"
		     "chunked") "0\r\n\r\n",
		400),
	REFUSED(POST("Transfer-Encoding: \"chunked\"") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding: chunked;x=1") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding\t: chunked") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer_Encoding: chunked") "0\r\n\r\n", 400),
	REFUSED(POST("Transfer-Encoding:\r\n chunked") "0\r\n\r\n", 400),
	REFUSED(POST("X: y\r\rTransfer-Encoding: chunked") "0\r\n\r\n", 400),
	REFUSED(POST("X: y\nTransfer-Encoding: chunked") "0\r\n\r\n", 400),
	REFUSED("POST /p HTTP/1.0\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	/* chunks */
	REFUSED(CHUNKED("\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("0x5\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("+5\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("-5\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED(" 5\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5 \r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5_0\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5g\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5\rXhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5;a\rb\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5;\0\r\nhello\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5\r\nhello\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5\r\nhello\r\n\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5\r\nhelloXX0\r\n\r\n"), 400),
	REFUSED(CHUNKED("5\r\nhello!\r\n0\r\n\r\n"), 400),
	REFUSED(CHUNKED("0\r\nContent-Length: 5\r\n\r\n"), 400),
	REFUSED(CHUNKED("0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
	REFUSED(CHUNKED("0\r\nHost: x\r\n\r\n"), 400),
	REFUSED(CHUNKED("0\r\nAuthorization: Basic x\r\n\r\n"), 400),
	REFUSED(CHUNKED("0\r\nX : y\r\n\r\n"), 400),
	REFUSED(CHUNKED("0\r\nX: y\n\r\n"), 400),
	REFUSED(CHUNKED("0\r\n\n"), 400),
	/* lines and names */
	REFUSED(GETS("X : y"), 400),
	REFUSED(GETS("X"), 400),
	REFUSED(GETS(": y"), 400),
	REFUSED("GET /p HTTP/1.1\r\n X: y\r\nHost: e\r\n\r\n", 400),
	REFUSED(GETS("X: y\r\n z"), 400),
	REFUSED(GETS("X: y\0z"), 400),
	REFUSED(GETS("X\0: y"), 400),
	REFUSED(GETS("X: y\rz"), 400),
	REFUSED(GETS("X: y\nZ: a"), 400),
	REFUSED(GETS("X\xa0: y"), 400),
	REFUSED(GETS("X\x85: y"), 400),
	REFUSED(GETS("X(y): z"), 400),
	REFUSED(GETS("\x7fX: z"), 400),
	REFUSED("GET /p HTTP/1.1x\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p HTTP/1.257\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p HTTP/01.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p http/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p\r\n\r\n", 400),
	REFUSED("GET /p HTTP/2.0\r\nHost: e\r\n\r\n", 505),
	REFUSED("GET /p HTTP/0.9\r\nHost: e\r\n\r\n", 505),
	REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
	REFUSED(" GET /p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("G\x01T /p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET\t/p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET\n/p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET  /p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p  HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p q HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p#f HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /\xc3\xa4 HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p\0 HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET * HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET /p HTTP/1.1\nHost: e\n\n", 400),
	REFUSED("GET /p HTTP/1.1\r\nHost: e\r\n\n", 400),
	REFUSED("\r\n\r\nGET /p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("\nGET /p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("\x16\x03\x01\x02\x00\x01\x00", 400),
	REFUSED("GET http://other/p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED("GET http://u@e/p HTTP/1.1\r\nHost: e\r\n\r\n", 400),
	REFUSED(GETS("Host: e"), 400),
	REFUSED(GETS("Host: other"), 400),
	REFUSED("GET /p HTTP/1.1\r\nX: y\r\n\r\n", 400),
	REFUSED("GET /p HTTP/1.1\r\nHost: e, x\r\n\r\n", 400),
	REFUSED("GET /p HTTP/1.1\r\nHost: e/x\r\n\r\n", 400),
	REFUSED("GET /p HTTP/1.1\r\nHost: u@e\r\n\r\n", 400),
	REFUSED("GET /p HTTP/1.1\r\nHost : e\r\n\r\n", 400),
	/* connection state */
	REFUSED(GETS("Connection: Content-Length\r\nContent-Length: 5") "hello", 400),
	REFUSED(GETS("Connection: Host"), 400),
	REFUSED(GETS("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5") "hello",
		400),
	REFUSED(GETS("Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked") "0\r\n\r"
											  "\n",
		400),
	REFUSED(POST("Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5"), 400),
	REFUSED(POST("Expect: y 100-continue\r\nContent-Length: 5") "hello", 417),
	REFUSED("TRACE /p HTTP/1.1\r\nHost: e\r\n\r\n", 405),
	REFUSED("CONNECT e:80 HTTP/1.1\r\nHost: e:80\r\n\r\n", 501),
	/* what is meant in one way only passes, as that */
	PASSES(POST("Content-Length: 5") "hello", "POST", "/p", "hello"),
	PASSES(POST("Content-Length: 0"), "POST", "/p", ""),
	PASSES(POST("Content-Length:\t5\t") "hello", "POST", "/p", "hello"),
	PASSES(POST("content-LENGTH: 33") SECRET, "POST", "/p", SECRET),
	PASSES("GET /p HTTP/1.1\r\nHost: e\r\nContent-Length: 33\r\n\r\n" SECRET, "GET", "/p",
	       SECRET),
	PASSES("HEAD /p HTTP/1.1\r\nHost: e\r\nContent-Length: 5\r\n\r\nhello", "HEAD", "/p",
	       "hello"),
	PASSES("OPTIONS * HTTP/1.1\r\nHost: e\r\nContent-Length: 5\r\n\r\nhello", "OPTIONS", "*",
	       "hello"),
	PASSES("DELETE /p?q=/../ HTTP/1.1\r\nHost: e\r\n\r\n", "DELETE", "/p?q=/../", ""),
	PASSES("PROPFIND /p HTTP/1.1\r\nHost: e\r\n\r\n", "PROPFIND", "/p", ""),
	PASSES("\r\nGET /p HTTP/1.1\r\nHost: e\r\n\r\n", "GET", "/p", ""),
	PASSES("GET http://e/p?x HTTP/1.1\r\nHost: e\r\n\r\n", "GET", "/p?x", ""),
	PASSES("GET http://e HTTP/1.1\r\nHost: e\r\n\r\n", "GET", "/", ""),
	PASSES("POST /p HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", "POST", "/p", "hello"),
	PASSES(POST("Transfer-Encoding:\tChunKed ") "5\r\nhello\r\n0\r\n\r\n", "POST", "/p",
	       "hello"),
	PASSES(CHUNKED("21\r\n" SECRET "\r\n0\r\n\r\n"), "POST", "/p", SECRET),
	PASSES(CHUNKED("005;a=\"x;\\\"0\"\r\nhello\r\n0;b\r\nX-T: 1\r\n\r\n"), "POST", "/p",
	       "hello"),
	PASSES(CHUNKED("1\r\n0\r\n1\r\n\r\r\n0\r\n\r\n"), "POST", "/p", "0\r"),
	PASSES(GETS("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA"),
	       "GET", "/p", ""),
	PASSES(GETS("Connection: close, Transfer-Encoding-X\r\nX: \xe4"), "GET", "/p", ""),
	PASSES(POST("Expect: 100-continue\r\nContent-Length: 33") SECRET, "POST", "/p", SECRET),
};

static void expect_refusal(struct rig *rig, const struct corpus *c, const struct strict *st)
{
	char status[32];

	snprintf(status, sizeof(status), "HTTP/1.1 %d ", c->status);
	if (!is_gone(CLIENT) || strncmp(heard(CLIENT), status, strlen(status)) != 0 || st->n_whole)
		fail_msg("not refused with %d: %.*s", c->status, SLICE_ARG(c->bytes));
	assert_true(st->n_begun <= 1);
	for (size_t i = 0; i < rig->n_servers; i++)
		assert_true(is_gone(SERVER(i)));
}

static void expect_passage(struct rig *rig, const struct corpus *c, const struct strict *st)
{
	if (st->n_whole != 1 || st->n_begun != 1 || st->bad || rig->status != 200)
		fail_msg("%zu requests: %.*s", st->n_whole, SLICE_ARG(c->bytes));
	assert_string_equal(st->method, c->method);
	assert_string_equal(st->target, c->target);
	assert_int_equal(st->n_text, strlen(c->body));
	assert_memory_equal(st->text, c->body, st->n_text);
}

/* piece 0: in one piece. */
static void try_case(const struct corpus *c, size_t piece)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct strict st = { .n_whole = 0 };
	char bytes[1024];
	size_t n = c->bytes.n;

	assert_true(n + sizeof(SECRET) < sizeof(bytes));
	memcpy(bytes, c->bytes.p, n);
	if (c->status != 200) {
		memcpy(bytes + n, SECRET, sizeof(SECRET) - 1);
		n += sizeof(SECRET) - 1;
	}
	rig_init(rig);
	rig_client(rig);
	rig->on_request = forward_as_is;
	strict_of = &st;
	for (size_t i = 0; i < n && !is_gone(CLIENT); i += piece ? piece : n) {
		size_t m = !piece ? n : n - i < piece ? n - i : piece;

		say_slice(CLIENT, (struct slice){ bytes + i, m });
		turn(rig);
		turn(rig);
	}
	settle(rig);
	for (size_t i = 0; i < rig->n_servers; i++) {
		buf_add_char(&SERVER(i)->got, '\0');
		SERVER(i)->got.n--;
		assert_null(c->status != 200 ? strstr(SERVER(i)->got.p, "/secret") : NULL);
	}
	assert_false(st.bad);
	if (c->status == 200)
		expect_passage(rig, c, &st);
	else
		expect_refusal(rig, c, &st);
	rig_fini(rig);
	free(rig);
}

static void corpus_in_one_piece(void **state)
{
	(void)state;
	assert_true(COUNT(corpus) >= 60);
	for (size_t i = 0; i < COUNT(corpus); i++)
		try_case(&corpus[i], 0);
}

static void corpus_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(corpus); i++)
		try_case(&corpus[i], 1);
}

static void corpus_in_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(corpus); i++)
		try_case(&corpus[i], 7);
}

/* --- answers --- */
static void bad_answers(void **state)
{
	static const struct slice answers[] = {
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
		      "0\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
		      "0\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"),
		SLICE("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
		SLICE("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
		SLICE("HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/1.1 200 OK\r\nX: y\0z\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a=b\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("ICY 200 OK\r\n\r\nhello"),
		SLICE("\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
		SLICE("hello"),
		SLICE("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		      "Upgrade: websocket\r\n\r\n" OK5),
		SLICE("HTTP/1.1 101 Switching Protocols\r\n\r\n" OK5),
	};
	RIG;

	for (size_t i = 0; i < COUNT(answers); i++) {
		say(rig, CLIENT, GET);
		assert_int_equal(rig->n_servers, i + 1);
		say_slice(SERVER(i), answers[i]);
		settle(rig);
		assert_non_null(strstr(heard(CLIENT), "HTTP/1.1 502 "));
		assert_null(CLIENT->got.p ? strstr(CLIENT->got.p, "hello") : NULL);
		assert_true(is_gone(SERVER(i)));
		assert_false(is_gone(CLIENT));
	}
}

/* What comes behind an answer is nobody's. */
static void bytes_behind_an_answer(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5 "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
	assert_heard(CLIENT, OK5);
	assert_true(is_gone(SERVER(0)));
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 2);
	say(rig, SERVER(1), OK5);
	/* Later, while nobody asks. */
	say(rig, SERVER(1), "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
	assert_true(is_gone(SERVER(1)));
	say(rig, CLIENT, GET);
	say(rig, SERVER(2), "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello");
	assert_true(is_gone(SERVER(2)));
	assert_heard(CLIENT, OK5 "HTTP/1.1 204 No Content\r\n\r\n");
	say(rig, CLIENT, "HEAD / HTTP/1.1\r\nHost: e\r\n\r\n");
	say(rig, SERVER(3), OK5);
	assert_null(strstr(heard(CLIENT), "hello"));
	assert_true(is_gone(SERVER(3)));
	assert_false(is_gone(CLIENT));
}

static void idle_connection_that_ends(void **state)
{
	RIG;

	say(rig, CLIENT, GET);
	say(rig, SERVER(0), OK5);
	hang_up(rig, SERVER(0));
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 2);
	say(rig, SERVER(1), OK5);
	vanish(rig, SERVER(1), true);
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 3);
	say(rig, SERVER(2), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
	assert_true(is_gone(SERVER(2)));
	/* The end comes with the answer. */
	say(rig, CLIENT, GET);
	say_slice(SERVER(3), SLICE(OK5));
	hang_up(rig, SERVER(3));
	assert_true(is_gone(SERVER(3)));
	say(rig, CLIENT, GET);
	assert_int_equal(rig->n_servers, 5);
	assert_int_equal(http_engine_stats(rig->e).n_retried, 0);
}

/* The server answers before it took the body: what it will make of those bytes is not known. */
static void answer_before_the_body(void **state)
{
	static char block[200000];
	RIG;

	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 400000\r\n\r\n");
	SERVER(0)->stalled = true;
	say_slice(CLIENT, (struct slice){ block, sizeof(block) });
	settle(rig);
	say(rig, SERVER(0), OK5);
	assert_non_null(strstr(heard(CLIENT), "Connection: close\r\n"));
	assert_true(is_gone(CLIENT));
	/* All was read from the client, but the server has not taken it. */
	side_fini(CLIENT);
	settle(rig);
	rig_client(rig);
	memset(block, 'b', sizeof(block));
	say(rig, CLIENT, "POST /a HTTP/1.1\r\nHost: e\r\nContent-Length: 200000\r\n\r\n");
	SERVER(1)->stalled = true;
	say_slice(CLIENT, (struct slice){ block, sizeof(block) });
	settle(rig);
	say(rig, SERVER(1), OK5);
	assert_non_null(strstr(heard(CLIENT), "Connection: close\r\n"));
	assert_true(is_gone(CLIENT));
}

static void bad_request_behind_a_good_one(void **state)
{
	RIG;

	say(rig, CLIENT, GET "GET /b HTTP/1.1\r\nHost: e\r\nContent-Length: x\r\n\r\n" SECRET);
	say(rig, SERVER(0), OK5);
	assert_null(strstr(heard(SERVER(0)), "secret"));
	assert_non_null(strstr(heard(CLIENT), OK5 "HTTP/1.1 400 "));
	assert_true(is_gone(CLIENT));
	assert_int_equal(rig->n_requests, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(corpus_in_one_piece), cmocka_unit_test(corpus_byte_by_byte),
		cmocka_unit_test(corpus_in_pieces),    TEST(bad_answers),
		TEST(bytes_behind_an_answer),	       TEST(idle_connection_that_ends),
		TEST(answer_before_the_body),	       TEST(bad_request_behind_a_good_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
