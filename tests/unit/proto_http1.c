/* HTTP/1.1 heads and the printer. Hostile input has a file of its own: proto_http1_smuggling.c. */
#include "proto/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

static const struct http_limits limits = { .max_head = 2048, .max_line = 512, .max_fields = 100 };

#define assert_slice(s, text)                                      \
	do {                                                       \
		struct slice _s = (s);                             \
		assert_int_equal(_s.n, sizeof(text) - 1);          \
		assert_memory_equal(_s.p, text, sizeof(text) - 1); \
	} while (0)

/* A block of exact size, so that ASan sees every read too far. */
static struct slice exact(struct slice s)
{
	char *p = malloc(s.n ? s.n : 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	return (struct slice){ p, s.n };
}

struct outcome {
	enum http_parse found;
	int status;
	const char *why;
};

/* Parses the first n bytes in a block of their own; *keep (or NULL) is what the slices are in. */
static struct outcome request_of(struct slice text, size_t n, const struct http_limits *l,
				 size_t *scanned, struct http_head *h, struct slice *keep)
{
	struct outcome o = { .status = 0 };
	struct slice block = exact((struct slice){ text.p, n });

	o.found = http_request_parse(block, l, scanned, h, &o.status, &o.why);
	if (keep)
		*keep = block;
	else
		free((char *)block.p);
	return o;
}

/* Whole, and byte by byte: the verdict must be the same. */
static struct outcome request(struct slice text, const struct http_limits *l, struct http_head *h,
			      struct slice *keep)
{
	static struct http_head again;
	size_t scanned = 0;
	struct outcome slow = { .found = HTTP_MORE }, whole;

	for (size_t n = 0; n <= text.n && slow.found == HTTP_MORE; n++)
		slow = request_of(text, n, l, &scanned, &again, NULL);
	if (slow.found == HTTP_OK)
		assert_int_equal(scanned, 0);
	scanned = 0;
	whole = request_of(text, text.n, l, &scanned, h, keep);
	assert_int_equal(slow.found, whole.found);
	if (whole.found == HTTP_BAD) {
		assert_int_equal(slow.status, whole.status);
		assert_string_equal(slow.why, whole.why);
	} else if (whole.found == HTTP_OK) {
		assert_int_equal(again.n_bytes, h->n_bytes);
		assert_int_equal(again.n_fields, h->n_fields);
	}
	return whole;
}

static void good(struct slice text, struct http_head *h, struct slice *keep)
{
	struct outcome o = request(text, &limits, h, keep);

	if (o.found == HTTP_BAD)
		fail_msg("refused: %s", o.why);
	assert_int_equal(o.found, HTTP_OK);
}

static int status_of(struct slice text, const struct http_limits *l)
{
	static struct http_head h;
	struct outcome o = request(text, l, &h, NULL);

	return o.found == HTTP_BAD ? o.status : o.found == HTTP_OK ? 0 : -1;
}

static void plain_request(void **state)
{
	static struct http_head h;
	struct slice keep;

	good(SLICE("GET /a/b?x=1?y HTTP/1.1\r\nHost: Example.com:8080\r\nACCEPT:\t*/* \t\r\n"
		   "X-Empty:\r\n\r\nGET /next"),
	     &h, &keep);
	assert_true(h.is_request);
	assert_int_equal(h.minor, 1);
	assert_int_equal(h.method, HTTP_GET);
	assert_int_equal(h.form, HTTP_ORIGIN_FORM);
	assert_slice(h.method_text, "GET");
	assert_slice(h.target, "/a/b?x=1?y");
	assert_slice(h.path, "/a/b");
	assert_slice(h.query, "x=1?y");
	assert_slice(h.host, "Example.com:8080");
	assert_int_equal(h.scheme.n, 0);
	assert_int_equal(h.body, HTTP_BODY_NONE);
	assert_true(h.keep_alive);
	assert_false(h.upgrade);
	assert_false(h.expect_continue);
	assert_int_equal(h.n_fields, 3);
	assert_slice(h.fields[1].name, "ACCEPT");
	assert_slice(h.fields[1].value, "*/*");
	assert_int_equal(h.fields[1].id, HTTP_F_OTHER);
	assert_slice(h.fields[2].value, "");
	assert_int_equal(h.n_bytes, keep.n - strlen("GET /next"));
	assert_ptr_equal(http_find(&h, HTTP_F_HOST), &h.fields[0]);
	assert_ptr_equal(http_find_name(&h, SLICE("accept")), &h.fields[1]);
	assert_null(http_find(&h, HTTP_F_VIA));
	assert_null(http_find_name(&h, SLICE("accep")));
	free((char *)keep.p);
}

static void forms_of_target(void **state)
{
	static struct http_head h;
	struct slice keep;

	good(SLICE("GET HTTP://a.test:81?q HTTP/1.1\r\nHost: A.test:81\r\n\r\n"), &h, &keep);
	assert_int_equal(h.form, HTTP_ABSOLUTE_FORM);
	assert_slice(h.scheme, "HTTP");
	assert_slice(h.host, "A.test:81");
	assert_slice(h.path, "/");
	assert_slice(h.query, "q");
	free((char *)keep.p);
	good(SLICE("GET https://[2001:db8::1]/x HTTP/1.0\r\n\r\n"), &h, &keep);
	assert_slice(h.host, "[2001:db8::1]");
	assert_slice(h.path, "/x");
	assert_null(h.query.p);
	assert_false(h.keep_alive);
	free((char *)keep.p);
	good(SLICE("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"), &h, &keep);
	assert_int_equal(h.form, HTTP_AUTHORITY_FORM);
	assert_slice(h.host, "a.test:443");
	assert_null(h.path.p);
	free((char *)keep.p);
	good(SLICE("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), &h, &keep);
	assert_int_equal(h.form, HTTP_ASTERISK);
	free((char *)keep.p);
	good(SLICE("\r\nGET //x/?{\"a\":\"|\\\"} HTTP/1.1\r\nHost: a_b\r\n\r\n"), &h, &keep);
	assert_slice(h.path, "//x/");
	assert_int_equal(h.n_bytes, keep.n);
	free((char *)keep.p);
}

static void bad_targets(void **state)
{
	static const char *const targets[] = {
		"",
		"x",
		"*",
		"a.test:80",
		"ftp://a/",
		"http:/a/",
		"http:///",
		"http://u@a/",
		"http://u:p@a",
		"http://a:x/",
		"http://a:123456/",
		"http://a:/",
		"/a#b",
		"/a\\b",
		"/a<b",
		"/a\"b",
		"http://a%62/",
		"http://[::1/",
		"http://[::1]x/",
		"http://[v1.a]/",
		"http://a\\b/",
		"//a.test/\xc3\xa9",
		"/\x7f",
		"/a\tb",
	};
	char text[128];

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n",
				 targets[i]);

		if (status_of((struct slice){ text, (size_t)n }, &limits) != 400)
			fail_msg("accepted: %s", targets[i]);
	}
	assert_int_equal(status_of(SLICE("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"), &limits), 400);
	assert_int_equal(status_of(SLICE("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n"), &limits), 400);
	assert_int_equal(
		status_of(SLICE("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n"),
			  &limits),
		400);
	assert_int_equal(
		status_of(SLICE("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
			  &limits),
		400);
}

static void methods(void **state)
{
	static const struct {
		const char *text;
		enum http_method method;
		bool safe, idempotent;
	} rows[] = {
		{ "GET", HTTP_GET, true, true },
		{ "HEAD", HTTP_HEAD, true, true },
		{ "POST", HTTP_POST, false, false },
		{ "PUT", HTTP_PUT, false, true },
		{ "DELETE", HTTP_DELETE, false, true },
		{ "OPTIONS", HTTP_OPTIONS, true, true },
		{ "PATCH", HTTP_PATCH, false, false },
		{ "TRACE", HTTP_TRACE, true, true },
		{ "get", HTTP_METHOD_OTHER, false, false },
		{ "PROPFIND", HTTP_METHOD_OTHER, false, false },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZ-!#$%&", HTTP_METHOD_OTHER, false, false }, /* 32 */
	};
	static struct http_head h;
	struct slice keep;
	char text[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int n = snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n",
				 rows[i].text);

		good((struct slice){ text, (size_t)n }, &h, &keep);
		free((char *)keep.p);
		assert_int_equal(h.method, rows[i].method);
		assert_int_equal(http_method_is_safe(h.method), rows[i].safe);
		assert_int_equal(http_method_is_idempotent(h.method), rows[i].idempotent);
	}
	assert_int_equal(status_of(SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZ-!#$%&' / HTTP/1.1\r\n"
					 "Host: a\r\n\r\n"),
				   &limits),
			 501);
}

/* id of a field with that name, hop by hop or not. */
static void check_field(const char *name, enum http_field_id id, bool hop_by_hop)
{
	static struct http_head h;
	size_t scanned = 0;
	const char *why;
	char text[128];
	int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s: 1\r\n\r\n", name);

	/* In a response, where Content-Length: 1 and the like stand for themselves. */
	if (id == HTTP_F_TRANSFER_ENCODING)
		n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s: chunked\r\n\r\n", name);
	assert_int_equal(http_response_parse((struct slice){ text, (size_t)n }, &limits, &scanned,
					     HTTP_GET, &h, &why),
			 HTTP_OK);
	if (h.fields[0].id != id || h.fields[0].hop_by_hop != hop_by_hop)
		fail_msg("%s is %d", name, h.fields[0].id);
}

static void known_fields(void **state)
{
	static const struct {
		const char *name;
		enum http_field_id id;
		bool hop_by_hop;
	} rows[] = {
		{ "Host", HTTP_F_HOST, false },
		{ "content-length", HTTP_F_CONTENT_LENGTH, false },
		{ "TRANSFER-ENCODING", HTTP_F_TRANSFER_ENCODING, true },
		{ "Connection", HTTP_F_CONNECTION, true },
		{ "Keep-Alive", HTTP_F_KEEP_ALIVE, true },
		{ "Proxy-Connection", HTTP_F_PROXY_CONNECTION, true },
		{ "TE", HTTP_F_TE, true },
		{ "Trailer", HTTP_F_TRAILER, true },
		{ "Upgrade", HTTP_F_UPGRADE, true },
		{ "Expect", HTTP_F_EXPECT, false },
		{ "Authorization", HTTP_F_AUTHORIZATION, false },
		{ "Proxy-Authorization", HTTP_F_PROXY_AUTHORIZATION, true },
		{ "Proxy-Authenticate", HTTP_F_PROXY_AUTHENTICATE, true },
		{ "WWW-Authenticate", HTTP_F_WWW_AUTHENTICATE, false },
		{ "Cookie", HTTP_F_COOKIE, false },
		{ "Set-Cookie", HTTP_F_SET_COOKIE, false },
		{ "Forwarded", HTTP_F_FORWARDED, false },
		{ "X-Forwarded-For", HTTP_F_X_FORWARDED, false },
		{ "x-fOrwarded-", HTTP_F_X_FORWARDED, false },
		{ "X-Forwarded-Whatever-Comes-Next", HTTP_F_X_FORWARDED, false },
		{ "X-Real-IP", HTTP_F_X_REAL_IP, false },
		{ "Via", HTTP_F_VIA, false },
		{ "Date", HTTP_F_DATE, false },
		{ "Server", HTTP_F_SERVER, false },
		{ "Location", HTTP_F_LOCATION, false },
		{ "Content-Type", HTTP_F_CONTENT_TYPE, false },
		{ "Turnpike-Client", HTTP_F_TURNPIKE, false },
		{ "turnpike-", HTTP_F_TURNPIKE, false },
		{ "Turnpike", HTTP_F_OTHER, false },
		{ "X-Forwarded", HTTP_F_OTHER, false },
		{ "Hosts", HTTP_F_OTHER, false },
		{ "Hos_", HTTP_F_OTHER, false },
		{ "X", HTTP_F_OTHER, false },
		{ "Content_Length", HTTP_F_OTHER, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_field(rows[i].name, rows[i].id, rows[i].hop_by_hop);
}

static void connection_options(void **state)
{
	static struct http_head h;
	struct slice keep;

	good(SLICE("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: ,x-a,, Close ,\r\n"
		   "Connection: upgrade\r\nX-B: 2\r\nUpgrade: websocket\r\nx-a: 3\r\n\r\n"),
	     &h, &keep);
	assert_false(h.keep_alive);
	assert_true(h.upgrade);
	assert_slice(h.upgrade_to, "websocket");
	assert_true(h.fields[1].hop_by_hop);
	assert_false(h.fields[4].hop_by_hop);
	assert_true(h.fields[6].hop_by_hop);
	free((char *)keep.p);
	/* Neither alone is an upgrade, and HTTP/1.0 has none. */
	good(SLICE("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"), &h, &keep);
	assert_false(h.upgrade);
	assert_null(h.upgrade_to.p);
	free((char *)keep.p);
	good(SLICE("GET / HTTP/1.0\r\nConnection: upgrade, keep-alive\r\nUpgrade: x\r\n\r\n"), &h,
	     &keep);
	assert_false(h.upgrade);
	assert_true(h.keep_alive);
	assert_int_equal(h.minor, 0);
	assert_null(h.host.p);
	free((char *)keep.p);
}

static void connection_option_bounds(void **state)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nConnection: ");

	for (int i = 0; i < 32; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "x%d,", i);
	memcpy(text + n, "\r\n\r\n", 4);
	assert_int_equal(status_of((struct slice){ text, (size_t)n + 4 }, &limits), 0);
	memcpy(text + n, "y\r\n\r\n", 5);
	assert_int_equal(status_of((struct slice){ text, (size_t)n + 5 }, &limits), 400);
}

static void expectations(void **state)
{
	static struct http_head h;
	struct slice keep;

	good(SLICE("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 7\r\n"
		   "\r\n"),
	     &h, &keep);
	assert_true(h.expect_continue);
	assert_int_equal(h.body, HTTP_BODY_LENGTH);
	assert_int_equal(h.content_length, 7);
	free((char *)keep.p);
	good(SLICE("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"), &h, &keep);
	assert_false(h.expect_continue);
	free((char *)keep.p);
	good(SLICE("PUT / HTTP/1.0\r\nExpect: x\r\nContent-Length: 7\r\n\r\n"), &h, &keep);
	assert_false(h.expect_continue);
	free((char *)keep.p);
	assert_int_equal(
		status_of(SLICE("PUT / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"), &limits), 417);
}

static void limits_of_heads(void **state)
{
	struct slice text = SLICE("GET /2345678 HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n");
	struct http_limits l = { .max_head = text.n, .max_line = 8, .max_fields = 2 };
	static char filler[1024];

	assert_int_equal(status_of(text, &l), 0);
	l.max_head--;
	assert_int_equal(status_of(text, &l), 431);
	l.max_head++;
	l.max_fields--;
	assert_int_equal(status_of(text, &l), 431);
	l.max_fields++;
	l.max_line--;
	assert_int_equal(status_of(text, &l), 414);
	/* The skipped empty line is not counted. */
	l = (struct http_limits){ .max_head = text.n, .max_line = 8, .max_fields = 2 };
	assert_int_equal(
		status_of(SLICE("\r\nGET /2345678 HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"), &l), 0);
	/* A first line or a head that does not end is refused before more is taken in. */
	memset(filler, 'a', sizeof(filler));
	memcpy(filler, "GET /", 5);
	assert_int_equal(status_of((struct slice){ filler, 577 }, &limits), 414);
	assert_int_equal(status_of((struct slice){ filler, 576 }, &limits), -1);
	memcpy(filler, "GET / HTTP/1.1\r\nHost: a\r\nX:", 27);
	l = (struct http_limits){ .max_head = 600, .max_line = 512, .max_fields = 2 };
	assert_int_equal(status_of((struct slice){ filler, 599 }, &l), -1);
	assert_int_equal(status_of((struct slice){ filler, 600 }, &l), 431);
}

static void hundred_fields(void **state)
{
	static struct http_head h;
	struct http_limits l = { .max_head = 8192, .max_line = 512, .max_fields = 1000 };
	struct buf b;
	struct outcome o;

	buf_init(&b, 8192);
	buf_add_str(&b, "GET / HTTP/1.0\r\n");
	for (int i = 0; i < HTTP1_MAX_FIELDS; i++)
		buf_printf(&b, "X-%d: %d\r\n", i, i);
	buf_add_str(&b, "\r\n");
	o = request(buf_slice(&b), &l, &h, NULL);
	assert_int_equal(o.found, HTTP_OK);
	assert_int_equal(h.n_fields, HTTP1_MAX_FIELDS);
	b.n -= 2;
	buf_add_str(&b, "X: y\r\n\r\n");
	assert_int_equal(status_of(buf_slice(&b), &l), 431);
	buf_fini(&b);
}

static void versions(void **state)
{
	assert_int_equal(status_of(SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), &limits), 505);
	assert_int_equal(status_of(SLICE("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), &limits), 505);
	assert_int_equal(status_of(SLICE("GET / HTTP/0.9\r\n\r\n"), &limits), 505);
	assert_int_equal(status_of(SLICE("GET / http/1.1\r\nHost: a\r\n\r\n"), &limits), 400);
	/* TLS to a plain port, and SOCKS. */
	assert_int_equal(status_of(SLICE("\x16"), &limits), 400);
	assert_int_equal(status_of(SLICE("\x05\x01"), &limits), 400);
	assert_int_equal(status_of(SLICE("\r\n\r\n"), &limits), 400);
	assert_int_equal(status_of(SLICE("\r\n"), &limits), -1);
	assert_int_equal(status_of(SLICE(""), &limits), -1);
}

/* --- responses --- */

static enum http_parse response(struct slice text, enum http_method to, struct http_head *h)
{
	static struct http_head again;
	enum http_parse found, slow = HTTP_MORE;
	const char *why = "", *slow_why = "";
	size_t scanned = 0;

	for (size_t n = 0; n <= text.n && slow == HTTP_MORE; n++) {
		struct slice block = exact((struct slice){ text.p, n });

		slow = http_response_parse(block, &limits, &scanned, to, &again, &slow_why);
		free((char *)block.p);
	}
	scanned = 0;
	found = http_response_parse(text, &limits, &scanned, to, h, &why);
	assert_int_equal(found, slow);
	assert_string_equal(why, slow_why);
	return found;
}

static void plain_response(void **state)
{
	static struct http_head h;

	assert_int_equal(response(SLICE("HTTP/1.1 404 Not  F\xf6und\r\nContent-Length: 5\r\n"
					"X_Y: z\r\n\r\nhello"),
				  HTTP_GET, &h),
			 HTTP_OK);
	assert_false(h.is_request);
	assert_int_equal(h.status, 404);
	assert_slice(h.reason, "Not  F\xf6und");
	assert_int_equal(h.body, HTTP_BODY_LENGTH);
	assert_int_equal(h.content_length, 5);
	assert_true(h.keep_alive);
	assert_int_equal(response(SLICE("HTTP/1.1 200\r\n\r\n"), HTTP_GET, &h), HTTP_OK);
	assert_int_equal(h.reason.n, 0);
	assert_int_equal(h.body, HTTP_BODY_UNTIL_CLOSE);
	assert_false(h.keep_alive);
	/* A server may name what it likes: it is dropped. */
	assert_int_equal(response(SLICE("HTTP/1.1 200 OK\r\nSet-Cookie: a\r\n"
					"Connection: set-cookie\r\n\r\n"),
				  HTTP_GET, &h),
			 HTTP_OK);
	assert_true(h.fields[0].hop_by_hop);
	assert_int_equal(response(SLICE("HTTP/1.0 200 \r\nConnection: keep-alive\r\n"
					"Content-Length: 0\r\n\r\n"),
				  HTTP_GET, &h),
			 HTTP_OK);
	assert_int_equal(h.body, HTTP_BODY_LENGTH);
	assert_true(h.keep_alive);
}

static void responses_without_body(void **state)
{
	static const struct {
		struct slice text;
		enum http_method to;
		bool keep_alive;
	} rows[] = {
		{ SLICE("HTTP/1.1 100 Continue\r\n\r\n"), HTTP_POST, true },
		{ SLICE("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"), HTTP_GET, true },
		{ SLICE("HTTP/1.1 204 No Content\r\n\r\n"), HTTP_GET, true },
		{ SLICE("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), HTTP_GET, true },
		/* What follows cannot be trusted. */
		{ SLICE("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n"), HTTP_GET, false },
		{ SLICE("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n"), HTTP_GET, false },
		{ SLICE("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"), HTTP_GET, true },
		{ SLICE("HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n"), HTTP_HEAD, true },
		{ SLICE("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"), HTTP_HEAD, true },
		{ SLICE("HTTP/1.1 200 x\r\n\r\n"), HTTP_HEAD, true },
	};
	static struct http_head h;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(response(rows[i].text, rows[i].to, &h), HTTP_OK);
		assert_int_equal(h.body, HTTP_BODY_NONE);
		if (h.keep_alive != rows[i].keep_alive)
			fail_msg("keep_alive of %.*s", SLICE_ARG(rows[i].text));
	}
	assert_int_equal(response(SLICE("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n"
					"Connection: Upgrade\r\n\r\n\x81"),
				  HTTP_GET, &h),
			 HTTP_OK);
	assert_true(h.upgrade);
	assert_int_equal(h.body, HTTP_BODY_NONE);
}

static void bad_responses(void **state)
{
	static const struct slice rows[] = {
		SLICE("\r\nHTTP/1.1 200 OK\r\n\r\n"),
		SLICE("HTTX"),
		SLICE("HTTP/2"),
		SLICE("HTTP/1.2 200 OK\r\n\r\n"),
		SLICE("HTTP/1.1x200 OK\r\n\r\n"),
		SLICE("HTTP/1.1  200 OK\r\n\r\n"),
		SLICE("HTTP/1.1 20 OK\r\n\r\n"),
		SLICE("HTTP/1.1 2000 OK\r\n\r\n"),
		SLICE("HTTP/1.1 099 OK\r\n\r\n"),
		SLICE("HTTP/1.1 600 OK\r\n\r\n"),
		SLICE("HTTP/1.1 +20 OK\r\n\r\n"),
		SLICE("HTTP/1.1 200 O\0K\r\n\r\n"),
		SLICE("HTTP/1.1 200 O\rK\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\n\n"),
		SLICE("HTTP/1.1 200 OK\r\n X: y\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
		SLICE("HTTP/1.1 304 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
		SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
		SLICE("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		SLICE("HTTP/1.1 101 OK\r\n\r\n"),
		SLICE("HTTP/1.1 101 OK\r\nUpgrade: x\r\n\r\n"),
		SLICE("HTTP/1.0 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
	};
	static struct http_head h;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (response(rows[i], HTTP_GET, &h) != HTTP_BAD)
			fail_msg("not refused: %.*s", SLICE_ARG(rows[i]));
	}
}

/* --- lookups --- */

static void lists(void **state)
{
	assert_true(http_list_has(SLICE("a, B ,\tc"), SLICE("b")));
	assert_true(http_list_has(SLICE("a, B ,\tc"), SLICE("C")));
	assert_false(http_list_has(SLICE("ab, bc"), SLICE("b")));
	assert_false(http_list_has(SLICE_NONE, SLICE("b")));
}

static void cookies(void **state)
{
	static struct http_head h;
	struct slice keep, none;

	good(SLICE("GET / HTTP/1.1\r\nHost: a\r\nX: sid=no\r\nCookie: xsid=0; sid=a=b;e=; q\r\n"
		   "Cookie: last=\"z\"\r\n\r\n"),
	     &h, &keep);
	assert_slice(http_cookie_get(&h, SLICE("sid")), "a=b");
	assert_slice(http_cookie_get(&h, SLICE("last")), "\"z\"");
	assert_slice(http_cookie_get(&h, SLICE("e")), "");
	assert_non_null(http_cookie_get(&h, SLICE("e")).p);
	none = http_cookie_get(&h, SLICE("SID"));
	assert_null(none.p);
	assert_null(http_cookie_get(&h, SLICE("q")).p);
	assert_null(http_cookie_get(&h, SLICE("id")).p);
	free((char *)keep.p);
}

static void classes(void **state)
{
	assert_true(http_is_token(SLICE("aZ09!#$%&'*+-.^_`|~")));
	for (int c = 0; c < 256; c++) {
		char b = (char)c;
		bool token = c > 0x20 && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
		bool value = c == '\t' || (c >= 0x20 && c != 0x7f);

		assert_int_equal(http_is_token((struct slice){ &b, 1 }), token);
		assert_int_equal(http_is_field_value((struct slice){ &b, 1 }), value);
	}
	assert_false(http_is_token(SLICE("")));
	assert_true(http_is_field_value(SLICE("")));
}

/* Every byte at every offset of a word of eight: the fast path must miss none. */
static void value_bytes_everywhere(void **state)
{
	static struct http_head h;

	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 20; at++) {
			char text[] = "GET / HTTP/1.0\r\nX:..................\xff.\r\n\r\n";
			size_t scanned = 0;
			const char *why;
			int status;
			bool ok = c == '\t' || (c >= 0x20 && c != 0x7f);

			text[18 + at] = (char)c;
			assert_int_equal(
				http_request_parse((struct slice){ text, sizeof(text) - 1 },
						   &limits, &scanned, &h, &status, &why),
				ok ? HTTP_OK : HTTP_BAD);
		}
	}
}

/* --- printing --- */

static void prints(void **state)
{
	struct buf b;

	buf_init(&b, 1024);
	assert_true(http_print_request_line(&b, SLICE("GET"), SLICE("/x?y")));
	assert_true(http_print_field(&b, SLICE("Host"), SLICE(" a\t")));
	http_print_length(&b, UINT64_MAX);
	http_print_chunked(&b);
	http_print_end(&b);
	assert_true(http_print_status_line(&b, 204, SLICE_NONE));
	assert_true(http_print_status_line(&b, 200, slice_of(http_reason(200))));
	assert_string_equal(b.p, "GET /x?y HTTP/1.1\r\nHost: a\r\n"
				 "Content-Length: 18446744073709551615\r\n"
				 "Transfer-Encoding: chunked\r\n\r\n"
				 "HTTP/1.1 204 \r\nHTTP/1.1 200 OK\r\n");
	buf_reset(&b);
	assert_false(http_print_request_line(&b, SLICE("GET "), SLICE("/")));
	assert_false(http_print_request_line(&b, SLICE(""), SLICE("/")));
	assert_false(http_print_request_line(&b, SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567"),
					     SLICE("/")));
	assert_false(http_print_request_line(&b, SLICE("GET"), SLICE("/ HTTP/1.1\r\nX: y")));
	assert_false(http_print_request_line(&b, SLICE("GET"), SLICE("x")));
	assert_false(http_print_request_line(&b, SLICE("GET"), SLICE("*")));
	assert_false(http_print_status_line(&b, 99, SLICE("x")));
	assert_false(http_print_status_line(&b, 600, SLICE("x")));
	assert_false(http_print_status_line(&b, 200, SLICE("x\r\nX: y")));
	assert_false(http_print_field(&b, SLICE(""), SLICE("x")));
	assert_false(http_print_field(&b, SLICE("X:"), SLICE("x")));
	assert_false(http_print_field(&b, SLICE("X"), SLICE("x\r\ny")));
	assert_false(http_print_field(&b, SLICE("X"), SLICE("x\0")));
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void run_print(void *arg)
{
	struct buf b;

	buf_init(&b, 4096);
	assert_true(http_print_request_line(&b, SLICE("GET"), SLICE("/")));
	for (int i = 0; i < 20; i++)
		assert_true(http_print_field(&b, SLICE("Some-Field"), SLICE("and its value")));
	http_print_length(&b, 1);
	http_print_end(&b);
	assert_true(b.failed || slice_ends(buf_slice(&b), SLICE("Content-Length: 1\r\n\r\n")));
	buf_fini(&b);
}

static void prints_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_print, NULL) > 1);
}

static void chunk_sizes(void **state)
{
	char text[20];

	assert_int_equal(http_print_chunk_size(text, sizeof(text), 26), 4);
	assert_string_equal(text, "1a\r\n");
	assert_int_equal(http_print_chunk_size(text, sizeof(text), UINT64_MAX), 18);
	assert_string_equal(text, "ffffffffffffffff\r\n");
}

static void dates(void **state)
{
	static const struct {
		int64_t s;
		const char *text;
	} rows[] = {
		{ 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" },
		{ 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ -1, "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ 951782399, "Mon, 28 Feb 2000 23:59:59 GMT" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
		{ 951868800, "Wed, 01 Mar 2000 00:00:00 GMT" },
		{ 4107542400, "Mon, 01 Mar 2100 00:00:00 GMT" },
		{ 1798761599, "Thu, 31 Dec 2026 23:59:59 GMT" },
		{ 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT" },
		{ INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT" },
	};
	char text[30];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		http_date(text, rows[i].s);
		assert_string_equal(text, rows[i].text);
	}
	assert_string_equal(http_reason(502), "Bad Gateway");
	assert_string_equal(http_reason(299), "Unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_request),
		cmocka_unit_test(forms_of_target),
		cmocka_unit_test(bad_targets),
		cmocka_unit_test(methods),
		cmocka_unit_test(known_fields),
		cmocka_unit_test(connection_options),
		cmocka_unit_test(connection_option_bounds),
		cmocka_unit_test(expectations),
		cmocka_unit_test(limits_of_heads),
		cmocka_unit_test(hundred_fields),
		cmocka_unit_test(versions),
		cmocka_unit_test(plain_response),
		cmocka_unit_test(responses_without_body),
		cmocka_unit_test(bad_responses),
		cmocka_unit_test(lists),
		cmocka_unit_test(cookies),
		cmocka_unit_test(classes),
		cmocka_unit_test(value_bytes_everywhere),
		cmocka_unit_test(prints),
		cmocka_unit_test(prints_without_memory),
		cmocka_unit_test(chunk_sizes),
		cmocka_unit_test(dates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
