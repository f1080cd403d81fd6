/*
 * Ways to make two readers of HTTP/1 disagree about where a message begins, ends or goes: each as
 * the bytes of an attack, with the one verdict this reader must give.
 */
#include "proto/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct http_limits limits = { .max_head = 65536, .max_line = 8192, .max_fields = 100 };

/* What is expected of bytes that are a whole message, or messages, when read to the end. */
struct row {
	struct slice text;
	int status;	  /* of the refusal; 0: accepted */
	const char *body; /* when accepted: its data; a body refused in it is BODY_BAD */
	const char *left; /* when accepted: bytes behind the message; NULL: none */
};
#define BODY_BAD "(bad)"

/* Head at the start of block; returns the status of the refusal or 0. */
static int read_head(struct slice block, struct http_head *h)
{
	size_t scanned = 0;
	int status = -1;
	const char *why = NULL;
	enum http_parse found = http_request_parse(block, &limits, &scanned, h, &status, &why);

	if (found == HTTP_MORE)
		fail_msg("waits for more: %.*s", SLICE_ARG(block));
	if (found == HTTP_OK)
		return 0;
	assert_non_null(why);
	return status;
}

/* Data into data; returns false when the body is bad. *rest: what is behind it. */
static bool read_body(const struct http_head *h, struct slice *rest, struct buf *data)
{
	struct http_body_reader r;
	struct http_body_part part;

	http_body_init(&r, h);
	do {
		part = http_body_next(&r, *rest);
		if (part.data)
			buf_add(data, rest->p + part.skip, part.data);
		*rest = (struct slice){ rest->p + part.skip + part.data,
					rest->n - part.skip - part.data };
	} while (!part.end && !part.bad && rest->n > 0);
	return !part.bad;
}

static void check_accepted(const struct row *row, const struct http_head *h, struct slice rest)
{
	struct buf data;
	bool ok;

	buf_init(&data, 65536);
	ok = read_body(h, &rest, &data);
	if (ok != (row->body != NULL && strcmp(row->body, BODY_BAD) == 0 ? false : true))
		fail_msg("body is %s: %.*s", ok ? "accepted" : "bad", SLICE_ARG(row->text));
	if (ok) {
		assert_true(slice_eq(buf_slice(&data), slice_of(row->body)));
		assert_true(slice_eq(rest, slice_of(row->left)));
	}
	buf_fini(&data);
}

static void check(const struct row *rows, size_t n)
{
	static struct http_head h;

	for (size_t i = 0; i < n; i++) {
		const struct row *row = &rows[i];
		char *block = malloc(row->text.n); /* exact, for ASan */
		int status;

		memcpy(block, row->text.p, row->text.n);
		status = read_head((struct slice){ block, row->text.n }, &h);
		if (status != row->status)
			fail_msg("%d instead of %d: %.*s", status, row->status,
				 SLICE_ARG(row->text));
		if (status == 0)
			check_accepted(
				row, &h,
				(struct slice){ block + h.n_bytes, row->text.n - h.n_bytes });
		free(block);
	}
}
#define CHECK(rows) check((rows), sizeof(rows) / sizeof((rows)[0]))

#define POST(fields) "POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define GET(fields)  "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

static void lengths(void **state)
{
	static const struct row rows[] = {
		{ SLICE(POST("Content-Length: 5\r\n") "hello"), 0, "hello", NULL },
		{ SLICE(POST("Content-Length:\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: \t\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: +5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: -1\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: -9223372036854775808\r\n") "x"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 0x5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5_0\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 05\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 00\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5 5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5,5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5, 5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5;\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5.0\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5e0\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: \"5\"\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: \xd9\xa5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 5\r\nContent-Length: 5\r\n") "hello"), 400, NULL,
		  NULL },
		{ SLICE(POST("Content-Length: 5\r\nContent-Length: 6\r\n") "hello"), 400, NULL,
		  NULL },
		{ SLICE(POST("Content-Length: 5\r\ncontent-length: 0\r\n") "hello"), 400, NULL,
		  NULL },
		{ SLICE(POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n"),
		  400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") "0\r\n\r\n"),
		  400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunked\r\nContent-Length:\r\n") "0\r\n\r\n"), 400,
		  NULL, NULL },
		/* A length where none is usual counts all the same. */
		{ SLICE("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET"), 0, "abc",
		  "GET" },
		{ SLICE("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET"), 0, "abc",
		  "GET" },
		{ SLICE("OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET"), 0,
		  "abc", "GET" },
		{ SLICE(POST("Content-Length: 9223372036854775807\r\n") "x"), 0, "x", NULL },
		{ SLICE(POST("Content-Length: 9223372036854775808\r\n") "x"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 18446744073709551615\r\n") "x"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 18446744073709551621\r\n") "x"), 400, NULL, NULL },
		{ SLICE(POST("Content-Length: 100000000000000000000000000000000000005\r\n") "x"),
		  400, NULL, NULL },
	};

	CHECK(rows);
}

static void transfer_encoding(void **state)
{
	static const struct row rows[] = {
		{ SLICE(POST("Transfer-Encoding: chunked\r\n") "1\r\nx\r\n0\r\n\r\n"), 0, "x",
		  NULL },
		{ SLICE(POST("transfer-encoding:CHUNKED \r\n") "1\r\nx\r\n0\r\n\r\n"), 0, "x",
		  NULL },
		/* A tab is optional white space as a space is (RFC 9110 5.6.3). */
		{ SLICE(POST("Transfer-Encoding:\tchunked\r\n") "1\r\nx\r\n0\r\n\r\n"), 0, "x",
		  NULL },
		{ SLICE(POST("Transfer-Encoding: \vchunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: \fchunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunked\v\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunked\xa0\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: \x85"
			     "chunked\r\n") "0\r\n\r\n"),
		  400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: ,chunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunked,\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunked,chunked\r\n") "0\r\n\r\n"), 400, NULL,
		  NULL },
		{ SLICE(POST("Transfer-Encoding: chunked, gzip\r\n") "0\r\n\r\n"), 400, NULL,
		  NULL },
		{ SLICE(POST("Transfer-Encoding: chunked;q=1\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: \"chunked\"\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST(
			  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") "0\r\n"
											  "\r\n"),
		  400, NULL, NULL },
		{ SLICE(POST(
			  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n") "0"
											   "\r\n"
											   "\r\n"),
		  400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n") "0\r\n"
											  "\r\n"),
		  400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: xchunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunkedx\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: chunk\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: identity\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: identity, chunked, identity\r\n") "0\r\n\r\n"),
		  400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding:\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding:\r\nContent-Length: 5\r\n") "hello"), 400, NULL,
		  NULL },
		{ SLICE(POST("Transfer-Encoding: zorg\r\nContent-Length: 5\r\n") "hello"), 400,
		  NULL, NULL },
		{ SLICE(POST("Transfer-Encoding: gzip\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		/* Well framed, but not understood (RFC 9112 6.1). */
		{ SLICE(POST("Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n"), 501, NULL,
		  NULL },
		{ SLICE(POST("Transfer-Encoding: gzip,, chunked\r\n") "0\r\n\r\n"), 400, NULL,
		  NULL },
		{ SLICE(POST("Transfer-Encoding: \xa0, chunked\r\n") "0\r\n\r\n"), 400, NULL,
		  NULL },
		{ SLICE("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: "
			"chunked\r\n\r\n0\r\n\r\n"),
		  400, NULL, NULL },
		/* Not the field, whatever a backend takes it for. */
		{ SLICE(POST("Transfer_Encoding: chunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Content_Length: 5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding : chunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer Encoding: chunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("X: y\rTransfer-Encoding: chunked\r\n") "0\r\n\r\n"), 400, NULL,
		  NULL },
		{ SLICE(POST("X: y\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n"), 400, NULL,
		  NULL },
		{ SLICE(POST("Transfer-Encoding\r\n : chunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding:\r\n chunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(POST("Transfer-Encoding:\n chunked\r\n") "0\r\n\r\n"), 400, NULL, NULL },
	};

	CHECK(rows);
}

#define CHUNKS(body) SLICE(POST("Transfer-Encoding: chunked\r\n") body)

static void chunks(void **state)
{
	static const struct row rows[] = {
		{ CHUNKS("5\r\nhello\r\n0\r\n\r\nGET"), 0, "hello", "GET" },
		{ CHUNKS("\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS(";a\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0x5\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("x5\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("+5\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("-5\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("-0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS(" 5\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("\t5\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5 \r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5_0\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("10000000000000005\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("100000005\r\nhello\r\n0\r\n\r\nGET"), 0, "hello\r\n0\r\n\r\nGET", NULL },
		{ CHUNKS("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5junk\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5g\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\0\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5,0\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\rhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\rX\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\r\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5 \r;a\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5 \r\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5; \r a\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5;\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5;a=b\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5;a=\"\r\nhello\r\n0\r\n\r\n\"\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5;a=\"\\\r\nhello\r\n0\r\n\r\n\"\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\r\nhello\r\n\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\r\nhelloXX0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\r\nhello\rX0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\r\nhello\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\r\nhello0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("5\r\nhello \r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\n\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\n\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\n\rX"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\nContent-Length: 5\r\n\r\nhello"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\nHost: b\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\nAuthorization: Basic eDp5\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"), 0, BODY_BAD, NULL },
		{ CHUNKS("0\r\nGET / HTTP/1.1\r\n\r\n"), 0, BODY_BAD, NULL },
	};

	CHECK(rows);
}

static void lines_and_names(void **state)
{
	static const struct row rows[] = {
		{ SLICE(GET("X: y\r\n")), 0, "", NULL },
		{ SLICE(GET("X : y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\t: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Content-Length : 5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(GET("X\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X y\r\n")), 400, NULL, NULL },
		{ SLICE(GET(": y\r\n")), 400, NULL, NULL },
		{ SLICE(GET(" : y\r\n")), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(GET("X: y\r\n z\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\r\n\tz\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\r\n \r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\0: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\0z\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\0\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\0Content-Length: 5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(GET("\0X: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\rz\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\r\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\r: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("\rX: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\n")), 400, NULL, NULL },
		{ SLICE(GET("X: y\nContent-Length: 5\r\n") "hello"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\nHost: a\n\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a\r\n\nX: y\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400, NULL, NULL },
		{ SLICE("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE(GET("X\x80: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\x85: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\xa0: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\xff: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\x7f: y\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X\": y\r\n")), 400, NULL, NULL },
		/* obs-text is legal in values, and is no white space. */
		{ SLICE(GET("X: \x80\xff\r\n")), 0, "", NULL },
		{ SLICE(GET("X: \x85y\xa0\r\n")), 0, "", NULL },
		{ SLICE(GET("Content-Length: 5\xa0\r\n") "hello"), 400, NULL, NULL },
		{ SLICE(GET("Content-Length: \x85"
			    "5\r\n") "hello"),
		  400, NULL, NULL },
		{ SLICE(GET("Connection: close\xa0\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: \x7f\r\n")), 400, NULL, NULL },
		{ SLICE(GET("X: \x1b[2J\r\n")), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1x\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.257\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/01.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1 x\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / XTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET /\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / \r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		/* The prefix of a method is another method, not that one. */
		{ SLICE("GE / HTTP/1.1\r\nHost: a\r\n\r\n"), 0, "", NULL },
		{ SLICE("\"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("G\0ET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET\n/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET /\nHTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET\v/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET /\xa0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\rX\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\rXHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
	};

	CHECK(rows);
}

static void hosts(void **state)
{
	static const struct row rows[] = {
		{ SLICE("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 0, "", NULL },
		{ SLICE("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET http://a/ HTTP/1.1\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET http://a HTTP/1.1\r\nHost: a/\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.0\r\n\r\n"), 0, "", NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a/x\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a?x\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a#x\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a:80:90\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a:\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: \xd0\xb0\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: a%00b\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), 0, "", NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"), 400, NULL, NULL },
		{ SLICE("GET / HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n"), 400, NULL, NULL },
	};

	CHECK(rows);
}

static void expectations_and_options(void **state)
{
	static const struct row rows[] = {
		{ SLICE(POST("Expect: 100-continue\r\nContent-Length: 5\r\n") "hello"), 0, "hello",
		  NULL },
		{ SLICE(POST("Expect: y 100-continue\r\nContent-Length: 5\r\n") "hello"), 417, NULL,
		  NULL },
		{ SLICE(POST("Expect: 100-continue, x\r\nContent-Length: 5\r\n") "hello"), 417,
		  NULL, NULL },
		{ SLICE(POST("Expect:\r\nContent-Length: 5\r\n") "hello"), 417, NULL, NULL },
		{ SLICE(POST("Expect:\n 100-continue\r\nContent-Length: 5\r\n") "hello"), 400, NULL,
		  NULL },
		{ SLICE(POST("Expect: 100-continue\r\nExpect: 100-continue\r\n")), 400, NULL,
		  NULL },
		/* Fields that the peer would have us strip on the way. */
		{ SLICE(GET("Connection: close, Host\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Connection: Content-Length\r\nContent-Length: 5\r\n") "hello"), 400,
		  NULL, NULL },
		{ SLICE(GET("Connection: authorization\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Connection: X-Forwarded-For\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Connection: X-Real-IP\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Connection: Cookie\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Connection: Turnpike-User\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Connection: close; x\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Connection: TE, x\r\nTE: trailers\r\n")), 0, "", NULL },
		{ SLICE(GET("Authorization: a\r\nAuthorization: b\r\n")), 400, NULL, NULL },
		{ SLICE(GET("Upgrade: a\r\nUpgrade: b\r\n")), 400, NULL, NULL },
	};

	CHECK(rows);
}

/* What is behind a message stays where it is, and is judged on its own. */
static void pipelines(void **state)
{
	static const struct row rows[] = {
		{ SLICE(GET("") "GET /2"), 0, "", "GET /2" },
		{ SLICE(GET("Content-Length: 0\r\n") "GET /2"), 0, "", "GET /2" },
		{ SLICE("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nhello"), 0, "", "hello" },
		{ CHUNKS("0\r\n\r\nhello"), 0, "", "hello" },
		{ CHUNKS("0\r\n\r\n\r\nGET"), 0, "", "\r\nGET" },
		{ SLICE(POST("Content-Length: 3\r\n") "abc\r\nGET"), 0, "abc", "\r\nGET" },
		{ SLICE(POST("Content-Length: 3\r\n") "abcGET / HTTP/1.1\nX"), 0, "abc",
		  "GET / HTTP/1.1\nX" },
		{ SLICE("GET / HTTP/1.1\nX"), 400, NULL, NULL },
		{ SLICE(GET("Connection: upgrade\r\nUpgrade: websocket\r\n") "GET /admin"), 0, "",
		  "GET /admin" },
	};

	CHECK(rows);
}

/* A backend that answers early or with too much. */
static void answers(void **state)
{
	static const struct {
		struct slice text;
		enum http_method to;
		size_t body; /* data bytes of what is there */
		size_t left; /* bytes behind it */
		bool keep_alive;
	} rows[] = {
		{ SLICE("HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 evil"), HTTP_GET,
		  2, 17, true },
		{ SLICE("HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nhi"), HTTP_HEAD, 0, 2, true },
		{ SLICE("HTTP/1.1 304 x\r\nContent-Length: 2\r\n\r\nhi"), HTTP_GET, 0, 2, true },
		{ SLICE("HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nhi"), HTTP_GET, 0, 2, false },
		{ SLICE("HTTP/1.1 100 x\r\nContent-Length: 2\r\n\r\nhi"), HTTP_PUT, 0, 2, false },
		{ SLICE("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 x"), HTTP_PUT, 0, 14, true },
		{ SLICE("HTTP/1.1 403 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
		  HTTP_POST, 0, 0, false },
		{ SLICE("HTTP/1.1 426 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
			"Content-Length: 0\r\n\r\n\x81"),
		  HTTP_GET, 0, 1, true },
	};
	static struct http_head h;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice rest = rows[i].text;
		size_t scanned = 0;
		const char *why;
		struct buf data;

		assert_int_equal(http_response_parse(rest, &limits, &scanned, rows[i].to, &h, &why),
				 HTTP_OK);
		rest = (struct slice){ rest.p + h.n_bytes, rest.n - h.n_bytes };
		buf_init(&data, 64);
		assert_true(read_body(&h, &rest, &data));
		assert_int_equal(data.n, rows[i].body);
		assert_int_equal(rest.n, rows[i].left);
		assert_int_equal(h.keep_alive, rows[i].keep_alive);
		buf_fini(&data);
	}
}

/* What a front for a newer HTTP could hand to the printer: none of it becomes a second field. */
static void printing(void **state)
{
	static const struct slice names[] = { SLICE("x:y"), SLICE("x\r\ny"), SLICE(" x"),
					      SLICE("x "),  SLICE("x\0"),    SLICE(":path"),
					      SLICE("") };
	static const struct slice values[] = { SLICE("a\r\nTransfer-Encoding: chunked"),
					       SLICE("a\nb"), SLICE("a\rb"), SLICE("a\0b"),
					       SLICE("a\x7f") };
	static const struct slice targets[] = { SLICE("/ HTTP/1.1\r\nHost: b\r\n\r\nGET /"),
						SLICE("/a b"), SLICE("/a\tb"), SLICE("/\xa0"),
						SLICE("") };
	struct buf b;

	buf_init(&b, 256);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(http_print_field(&b, names[i], SLICE("v")));
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		assert_false(http_print_field(&b, SLICE("x"), values[i]));
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		assert_false(http_print_request_line(&b, SLICE("GET"), targets[i]));
	assert_false(http_print_request_line(&b, SLICE("GET / HTTP/1.1\r\nX:"), SLICE("/")));
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths),   cmocka_unit_test(transfer_encoding),
		cmocka_unit_test(chunks),    cmocka_unit_test(lines_and_names),
		cmocka_unit_test(hosts),     cmocka_unit_test(expectations_and_options),
		cmocka_unit_test(pipelines), cmocka_unit_test(answers),
		cmocka_unit_test(printing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
