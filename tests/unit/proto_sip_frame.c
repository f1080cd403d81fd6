/* Cutting a stream: whole, byte by byte, at the bounds, against garbage. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/sip_msg.h"

#define HEAD                                                              \
	"OPTIONS sip:b@example.com SIP/2.0\r\n"                           \
	"Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"                  \
	"From: <sip:a@example.com>;tag=f1\r\nTo: <sip:b@example.com>\r\n" \
	"Call-ID: c1\r\nCSeq: 7 OPTIONS\r\n"

static struct sip_frame next(const char *text)
{
	size_t scanned = 0;

	return sip_frame_next(slice_of(text), SIP_MAX_MESSAGE_BYTES, &scanned);
}

static void expect(const char *text, enum sip_frame_kind kind, size_t n)
{
	struct sip_frame f = next(text);

	if (f.kind != kind || f.n != n)
		fail_msg("got %d %zu (%s), want %d %zu: %s", f.kind, f.n, f.why ? f.why : "", kind,
			 n, text);
	assert_int_equal(f.skip, 0);
	assert_true((f.why != NULL) == (kind == SIP_FRAME_TOO_BIG || kind == SIP_FRAME_GARBAGE));
}

static void test_whole(void **state)
{
	size_t head = strlen(HEAD);

	(void)state;
	expect(HEAD "Content-Length: 0\r\n\r\n", SIP_FRAME_MESSAGE, head + 21);
	expect(HEAD "Content-Length: 4\r\n\r\nbodyNEXT", SIP_FRAME_MESSAGE, head + 25);
	expect(HEAD "Content-Length: 4\r\n\r\nbod", SIP_FRAME_MORE, 0);
	expect(HEAD "l:4\r\n\r\nbody", SIP_FRAME_MESSAGE, head + 11);
	expect(HEAD "CONTENT-length \t:\r\n  4\r\n\r\nbody", SIP_FRAME_MESSAGE, head + 30);
	expect(HEAD "l: 4\r\nContent-Length: 4\r\n\r\nbody", SIP_FRAME_MESSAGE, head + 31);
	expect("SIP/2.0 200 OK\r\nl: 0\r\n\r\n", SIP_FRAME_MESSAGE, 24);
	/* What only the parser can judge is cut all the same, so that it can be answered. */
	expect("OPTIONS  sip:b  SIP/7.0 \r\nl: 0\r\n\r\n", SIP_FRAME_MESSAGE, 34);
	/* A header whose value looks like ours is not it. */
	expect("OPTIONS sip:b SIP/2.0\r\nX: Content-Length: 9\r\nl: 0\r\n\r\n", SIP_FRAME_MESSAGE,
	       53);
	expect("OPTIONS sip:b SIP/2.0\r\nX: a\r\n Content-Length: 9\r\nl: 0\r\n\r\n",
	       SIP_FRAME_MESSAGE, 57);
}

static void test_garbage(void **state)
{
	(void)state;
	expect("\x16\x03\x01\x02", SIP_FRAME_GARBAGE, 0); /* TLS on a plain port */
	expect("\x80", SIP_FRAME_GARBAGE, 0);
	expect("GET / HTTP/1.1\r\n", SIP_FRAME_GARBAGE, 0);
	expect("EHLO example.com\r\n", SIP_FRAME_GARBAGE, 0);
	expect("<stream:stream", SIP_FRAME_GARBAGE, 0);
	expect(" OPTIONS", SIP_FRAME_GARBAGE, 0);
	expect("OPTIONS sip:b SIP/2.0\n", SIP_FRAME_GARBAGE, 0);
	expect("OPTIONS sip:b SIP/2.0\r\nl: 0\n", SIP_FRAME_GARBAGE, 0);
	expect("\rx", SIP_FRAME_GARBAGE, 0);
	expect("\n", SIP_FRAME_GARBAGE, 0);
	expect("OPTIONS\r\n", SIP_FRAME_GARBAGE, 0);
	expect("SIP/2.0\r\n\r\n", SIP_FRAME_GARBAGE, 0);
	/* RFC 3261 20.14: on streams Content-Length is a must */
	expect(HEAD "\r\n", SIP_FRAME_GARBAGE, 0);
	expect(HEAD "Content-Length: -1\r\n\r\n", SIP_FRAME_GARBAGE, 0);
	expect(HEAD "Content-Length: 1 1\r\n\r\n", SIP_FRAME_GARBAGE, 0);
	expect(HEAD "Content-Length:\r\n\r\n", SIP_FRAME_GARBAGE, 0);
	expect(HEAD "Content-Length: 4294967296\r\n\r\n", SIP_FRAME_GARBAGE, 0);
	expect(HEAD "l: 3\r\nContent-Length: 4\r\n\r\n", SIP_FRAME_GARBAGE, 0);
	expect(HEAD "XContent-Length: 3\r\n\r\n", SIP_FRAME_GARBAGE, 0);
}

/* A first word that never ends is noticed long before the message bound. */
static void test_long_first_word(void **state)
{
	char text[200];

	(void)state;
	memset(text, 'A', sizeof(text));
	text[128] = '\0';
	expect(text, SIP_FRAME_MORE, 0);
	text[128] = 'A';
	text[129] = '\0';
	expect(text, SIP_FRAME_GARBAGE, 0);
}

static void test_pings(void **state)
{
	size_t scanned = 0;
	struct sip_frame f;

	(void)state;
	expect("", SIP_FRAME_MORE, 0);
	expect("\r", SIP_FRAME_MORE, 0);
	expect("\r\n", SIP_FRAME_PONG, 2);
	expect("\r\n\r", SIP_FRAME_PONG, 2);
	expect("\r\n\r\n", SIP_FRAME_PING, 4);
	expect("\r\n\r\n\r\n", SIP_FRAME_PING, 4);
	expect("\r\nOPTIONS sip:b SIP/2.0\r\n", SIP_FRAME_PONG, 2);
	/* one in the middle of a message is no ping */
	f = sip_frame_next(slice_of(HEAD "l: 4\r\n\r\n"), SIP_MAX_MESSAGE_BYTES, &scanned);
	assert_int_equal(f.kind, SIP_FRAME_MORE);
	f = sip_frame_next(slice_of(HEAD "l: 4\r\n\r\n\r\n\r\n"), SIP_MAX_MESSAGE_BYTES, &scanned);
	assert_int_equal(f.kind, SIP_FRAME_MESSAGE);
	assert_int_equal(f.n, strlen(HEAD) + 12);
	assert_int_equal(scanned, 0);
}

/* Three messages and the pings between them, one byte at a time, in exact blocks for ASan. */
static void test_byte_by_byte(void **state)
{
	static const char stream[] = HEAD "l: 5\r\n\r\nfirst"
					  "\r\n\r\n" HEAD "Content-Length: 0\r\n\r\n"
					  "SIP/2.0 200 OK\r\nl: 4\r\n\r\n\r\n\r\n";
	size_t n_messages = 0, start = 0, scanned = 0;
	size_t sizes[3] = { 0 };

	(void)state;
	for (size_t end = 1; end <= sizeof(stream) - 1; end++) {
		char *exact = malloc(end - start);
		struct sip_frame f;

		memcpy(exact, stream + start, end - start);
		f = sip_frame_next((struct slice){ exact, end - start }, SIP_MAX_MESSAGE_BYTES,
				   &scanned);
		free(exact);
		if (f.kind == SIP_FRAME_MESSAGE)
			sizes[n_messages++] = f.n;
		else
			assert_true(f.kind == SIP_FRAME_MORE || f.kind == SIP_FRAME_PONG);
		start += f.n;
	}
	assert_int_equal(start, sizeof(stream) - 1);
	assert_int_equal(n_messages, 3);
	assert_int_equal(sizes[0], strlen(HEAD) + 13);
	assert_int_equal(sizes[1], strlen(HEAD) + 21);
	assert_int_equal(sizes[2], 28);
}

/* A message of exactly `total` bytes with `body` of them in its body. */
static char *message(size_t total, size_t body)
{
	char *p = malloc(total + 1);
	int n = snprintf(p, total, "OPTIONS sip:b SIP/2.0\r\nl: %zu\r\nSubject: ", body);

	memset(p + n, 'x', total - (size_t)n);
	memcpy(p + total - body - 4, "\r\n\r\n", 4);
	p[total] = '\0';
	return p;
}

static void expect_bound(size_t total, size_t body, size_t given, enum sip_frame_kind kind)
{
	char *p = message(total, body);
	size_t scanned = 0;
	struct sip_frame f;

	f = sip_frame_next((struct slice){ p, given }, SIP_MAX_MESSAGE_BYTES, &scanned);
	assert_int_equal(f.kind, kind);
	free(p);
}

static void test_bounds(void **state)
{
	(void)state;
	expect_bound(32768, 1000, 32768, SIP_FRAME_MESSAGE);
	expect_bound(32768, 0, 32768, SIP_FRAME_MESSAGE);
	/* Too large is said as soon as it is known, not when all has come. */
	expect_bound(32769, 1000, 31769, SIP_FRAME_TOO_BIG);
	expect_bound(32769, 0, 32769, SIP_FRAME_TOO_BIG);
	expect_bound(32769, 0, 32768, SIP_FRAME_TOO_BIG); /* headers without end */
	expect_bound(32769, 0, 32767, SIP_FRAME_MORE);
	/* A second message behind one of full size does not matter. */
	{
		char *p = message(32768, 100), *two = malloc(32768 + 10);
		size_t scanned = 0;

		memcpy(two, p, 32768);
		memcpy(two + 32768, "OPTIONS si", 10);
		assert_int_equal(sip_frame_next((struct slice){ two, 32778 }, 32768, &scanned).kind,
				 SIP_FRAME_MESSAGE);
		free(two);
		free(p);
	}
}

/* Bytes looked at grow with the bytes sent, not with their square: counted in calls that find
 * nothing new to look at. The measure is `scanned`, which must follow the end of the data. */
static void test_slow_sender(void **state)
{
	char *p = message(32768, 16000);
	size_t scanned = 0, before = 0;
	struct sip_frame f = { 0 };

	(void)state;
	for (size_t n = 1; n < 32768; n++) {
		/* What was scanned before is poisoned: reading it again would show as garbage. */
		if (n == 8000) {
			before = scanned;
			memset(p + 40, '\n', 7000);
		}
		f = sip_frame_next((struct slice){ p, n }, 32768, &scanned);
		assert_int_equal(f.kind, SIP_FRAME_MORE);
		if (n == 20000) /* now in the body: headers are not looked at again either */
			memset(p, '\n', 16000);
	}
	assert_true(before != 0);
	f = sip_frame_next((struct slice){ p, 32768 }, 32768, &scanned);
	assert_int_equal(f.kind, SIP_FRAME_MESSAGE);
	assert_int_equal(f.n, 32768);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_long_first_word), cmocka_unit_test(test_pings),
		cmocka_unit_test(test_byte_by_byte),	cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_slow_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
