/* Cutting bodies out of a stream: whole, and at every split point. */
#include "proto/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct result {
	struct buf data;
	size_t used; /* bytes of the stream up to the end of the body */
	bool end, bad;
	const char *why;
};

/* Feeds one piece, calling again while there is progress. */
static void feed(struct http_body_reader *r, struct slice piece, struct result *out)
{
	struct http_body_part part;

	do {
		part = http_body_next(r, piece);
		assert_true(part.skip + part.data <= piece.n);
		if (part.data)
			buf_add(&out->data, piece.p + part.skip, part.data);
		piece.p += part.skip + part.data;
		piece.n -= part.skip + part.data;
		out->used += part.skip + part.data;
		out->end = part.end;
		out->bad = part.bad;
		out->why = part.bad && !out->why ? part.why : out->why;
	} while (!part.bad && !part.end && piece.n > 0);
}

static void read_split(const struct http_head *h, struct slice text, size_t split,
		       struct result *out)
{
	struct http_body_reader r;
	char *first = malloc(split ? split : 1), *second = malloc(text.n - split + 1);

	if (split)
		memcpy(first, text.p, split);
	if (split < text.n)
		memcpy(second, text.p + split, text.n - split);
	*out = (struct result){ .used = 0 };
	buf_init(&out->data, 1 << 20);
	http_body_init(&r, h);
	feed(&r, (struct slice){ first, split }, out);
	if (!out->end && !out->bad)
		feed(&r, (struct slice){ second, text.n - split }, out);
	if (!out->bad)
		assert_int_equal(r.n_total, out->data.n);
	free(first);
	free(second);
}

/* The same in one piece and in two, for all twos, and byte by byte. */
static void read_all(const struct http_head *h, struct slice text, struct result *out)
{
	struct result other = { .used = 0 };
	struct http_body_reader r;

	read_split(h, text, text.n, out);
	for (size_t split = 0; split < text.n; split++) {
		read_split(h, text, split, &other);
		assert_int_equal(other.end, out->end);
		assert_int_equal(other.bad, out->bad);
		assert_true(slice_eq(buf_slice(&other.data), buf_slice(&out->data)));
		if (!out->bad)
			assert_int_equal(other.used, out->used);
		buf_fini(&other.data);
	}
	other = (struct result){ .used = 0 };
	buf_init(&other.data, 1 << 20);
	http_body_init(&r, h);
	for (size_t i = 0; i < text.n && !other.end && !other.bad; i++)
		feed(&r, (struct slice){ text.p + i, 1 }, &other);
	assert_int_equal(other.bad, out->bad);
	assert_true(slice_eq(buf_slice(&other.data), buf_slice(&out->data)));
	buf_fini(&other.data);
}

static const struct http_head chunked = { .body = HTTP_BODY_CHUNKED };

/* text is a whole body with "XY" behind it that must stay. */
static void chunks_are(struct slice text, const char *data)
{
	struct result r;

	read_all(&chunked, text, &r);
	if (r.bad)
		fail_msg("refused (%s): %.*s", r.why, SLICE_ARG(text));
	assert_true(r.end);
	assert_int_equal(r.used, text.n - 2);
	assert_true(slice_eq(buf_slice(&r.data), slice_of(data)));
	buf_fini(&r.data);
}

static void chunks_bad(struct slice text)
{
	struct result r;

	read_all(&chunked, text, &r);
	if (!r.bad)
		fail_msg("not refused: %.*s", SLICE_ARG(text));
	assert_non_null(r.why);
	buf_fini(&r.data);
}

static void no_body(void **state)
{
	struct http_head h = { .body = HTTP_BODY_NONE };
	struct http_body_reader r;
	struct http_body_part part;

	http_body_init(&r, &h);
	part = http_body_next(&r, SLICE("GET"));
	assert_true(part.end);
	assert_int_equal(part.skip + part.data, 0);
	h = (struct http_head){ .body = HTTP_BODY_LENGTH, .content_length = 0 };
	http_body_init(&r, &h);
	part = http_body_next(&r, SLICE_NONE);
	assert_true(part.end);
}

static void by_length(void **state)
{
	struct http_head h = { .body = HTTP_BODY_LENGTH, .content_length = 5 };
	struct result r;

	read_all(&h, SLICE("helloGET"), &r);
	assert_true(r.end);
	assert_int_equal(r.used, 5);
	assert_true(slice_eq(buf_slice(&r.data), SLICE("hello")));
	buf_fini(&r.data);
	read_all(&h, SLICE("hell"), &r);
	assert_false(r.end);
	buf_fini(&r.data);
	h.content_length = INT64_MAX;
	read_all(&h, SLICE("hello"), &r);
	assert_false(r.end);
	assert_false(r.bad);
	buf_fini(&r.data);
}

static void until_close(void **state)
{
	struct http_head h = { .body = HTTP_BODY_UNTIL_CLOSE };
	struct result r;

	read_all(&h, SLICE("0\r\n\r\nall of it"), &r);
	assert_false(r.end);
	assert_false(r.bad);
	assert_int_equal(r.data.n, 14);
	buf_fini(&r.data);
}

static void chunks(void **state)
{
	chunks_are(SLICE("0\r\n\r\nXY"), "");
	chunks_are(SLICE("000\r\n\r\nXY"), "");
	chunks_are(SLICE("5\r\nhello\r\n0\r\n\r\nXY"), "hello");
	chunks_are(SLICE("5\r\nhello\r\n1\r\n \r\n00A\r\n0123456789\r\n0\r\n\r\nXY"),
		   "hello 0123456789");
	chunks_are(SLICE("2\r\n\r\n\r\n0\r\n\r\nXY"), "\r\n");
}

static void extensions(void **state)
{
	chunks_are(SLICE("1;a\r\nx\r\n0;b=c\r\n\r\nXY"), "x");
	chunks_are(SLICE("1;a;b=c;d\r\nx\r\n0\r\n\r\nXY"), "x");
	chunks_are(SLICE("1 ;\ta = \"q;\\\"\t\\\\\xe9\" ; b\r\nx\r\n0\r\n\r\nXY"), "x");
	chunks_are(SLICE("1;a=\"\"\r\nx\r\n0\r\n\r\nXY"), "x");
	chunks_bad(SLICE("1;\r\nx"));
	chunks_bad(SLICE("1;;a\r\nx"));
	chunks_bad(SLICE("1 \r\nx"));
	chunks_bad(SLICE("1;a \r\nx"));
	chunks_bad(SLICE("1;a=\r\nx"));
	chunks_bad(SLICE("1;a=b \r\nx"));
	chunks_bad(SLICE("1;a=\"b\" \r\nx"));
	chunks_bad(SLICE("1;a=\"b\"c\r\nx"));
	chunks_bad(SLICE("1;a b\r\nx"));
	chunks_bad(SLICE("1;a b=c\r\nx"));
	chunks_bad(SLICE("1;a=b c\r\nx"));
	chunks_bad(SLICE("1;a\"b\r\nx"));
	chunks_bad(SLICE("1;a=\"\0\"\r\nx"));
	chunks_bad(SLICE("1;a=\"\\\r\n\"\r\nx"));
	chunks_bad(SLICE("1;\xe9\r\nx"));
	chunks_bad(SLICE("1;a\nx"));
}

static void chunk_line_bound(void **state)
{
	char text[300];
	int n;

	/* 256 bytes in front of CRLF, and one more. */
	n = snprintf(text, sizeof(text), "1;%0254d\r\nx\r\n0\r\n\r\nXY", 0);
	chunks_are((struct slice){ text, (size_t)n }, "x");
	n = snprintf(text, sizeof(text), "1;%0255d\r\nx\r\n0\r\n\r\nXY", 0);
	chunks_bad((struct slice){ text, (size_t)n });
	/* Each line has its own. */
	n = snprintf(text, sizeof(text), "1;%0100d\r\nx\r\n0;%0150d\r\n\r\nXY", 0, 0);
	chunks_are((struct slice){ text, (size_t)n }, "x");
	n = snprintf(text, sizeof(text), "%0256d\r\n\r\nXY", 0);
	chunks_are((struct slice){ text, (size_t)n }, "");
}

static void chunk_size_bound(void **state)
{
	struct http_body_reader r;
	struct http_body_part part;

	http_body_init(&r, &chunked);
	part = http_body_next(&r, SLICE("7fffffffffffffff\r\nx"));
	assert_false(part.bad);
	assert_int_equal(part.skip, 18);
	assert_int_equal(part.data, 1);
	http_body_init(&r, &chunked);
	assert_true(http_body_next(&r, SLICE("8000000000000000\r\nx")).bad);
	http_body_init(&r, &chunked);
	assert_true(http_body_next(&r, SLICE("10000000000000000\r\nx")).bad);
	/* The sum too. */
	http_body_init(&r, &chunked);
	assert_int_equal(http_body_next(&r, SLICE("1\r\nx")).data, 1);
	assert_true(http_body_next(&r, SLICE("\r\n7fffffffffffffff\r\nx")).bad);
	/* And it stays bad. */
	part = http_body_next(&r, SLICE("0\r\n\r\n"));
	assert_true(part.bad);
	assert_non_null(part.why);
	assert_int_equal(part.skip, 0);
	assert_false(part.end);
}

static void trailers(void **state)
{
	chunks_are(SLICE("0\r\nX-Sum: 1\r\nY:\r\nDigest_2: \xe9\t\r\n\r\nXY"), "");
	chunks_are(SLICE("0\r\nA-Name-That-Is-Longer-Than-All-Known: 1\r\n\r\nXY"), "");
	chunks_bad(SLICE("0\r\n: x\r\n\r\n"));
	chunks_bad(SLICE("0\r\nX\r\n\r\n"));
	chunks_bad(SLICE("0\r\nX : y\r\n\r\n"));
	chunks_bad(SLICE("0\r\n X: y\r\n\r\n"));
	chunks_bad(SLICE("0\r\nX: y\r\n z\r\n\r\n"));
	chunks_bad(SLICE("0\r\nX: y\n\r\n"));
	chunks_bad(SLICE("0\r\nX: y\rz\r\n\r\n"));
	chunks_bad(SLICE("0\r\nX: \0\r\n\r\n"));
	chunks_bad(SLICE("0\r\nX: y\r\n\n"));
	chunks_bad(SLICE("0\r\nX: y\r\n\r\r\n"));
}

static void forbidden_trailers(void **state)
{
	static const char *const names[] = {
		"Content-Length",
		"Transfer-Encoding",
		"HOST",
		"authorization",
		"Cookie",
		"Set-Cookie",
		"Trailer",
		"Connection",
		"TE",
		"Upgrade",
		"Expect",
		"Content-Type",
		"Forwarded",
		"X-Forwarded-For",
		"X-Forwarded-Something-Long-Enough",
		"X-Real-IP",
		"Turnpike-Client",
		"Proxy-Authorization",
		"Location",
	};
	char text[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int n = snprintf(text, sizeof(text), "0\r\n%s: 1\r\n\r\nXY", names[i]);

		chunks_bad((struct slice){ text, (size_t)n });
		/* Behind a good one too: the name is read afresh. */
		n = snprintf(text, sizeof(text), "0\r\nX: y\r\n%s: 1\r\n\r\nXY", names[i]);
		chunks_bad((struct slice){ text, (size_t)n });
	}
}

static void trailer_bound(void **state)
{
	struct http_body_reader r;
	struct http_body_part part;
	struct buf b;

	/* 8192 bytes with all line ends, and one more. */
	buf_init(&b, 10000);
	buf_add_str(&b, "0\r\nX:");
	while (b.n < 3 + 8192 - 4)
		buf_add_char(&b, 'x');
	buf_add_str(&b, "\r\n\r\n");
	http_body_init(&r, &chunked);
	part = http_body_next(&r, buf_slice(&b));
	assert_true(part.end);
	assert_int_equal(part.skip, 8195);
	b.n -= 4;
	buf_add_str(&b, "x\r\n\r\n");
	http_body_init(&r, &chunked);
	assert_true(http_body_next(&r, buf_slice(&b)).bad);
	buf_fini(&b);
}

/* What the printer writes, the reader reads. */
static void own_chunks(void **state)
{
	struct buf b;
	char line[20];

	buf_init(&b, 4096);
	buf_add(&b, line, http_print_chunk_size(line, sizeof(line), 11));
	buf_add_str(&b, "hello world\r\n" HTTP_LAST_CHUNK "XY");
	chunks_are(buf_slice(&b), "hello world");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_body),
		cmocka_unit_test(by_length),
		cmocka_unit_test(until_close),
		cmocka_unit_test(chunks),
		cmocka_unit_test(extensions),
		cmocka_unit_test(chunk_line_bound),
		cmocka_unit_test(chunk_size_bound),
		cmocka_unit_test(trailers),
		cmocka_unit_test(forbidden_trailers),
		cmocka_unit_test(trailer_bound),
		cmocka_unit_test(own_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
