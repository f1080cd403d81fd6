/* Printing messages, and that nothing can break out of a line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/sip_build.h"
#include "support/alloc_fail.h"

static void check(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_of(want)))
		fail_msg("got:\n%.*s\nwant:\n%s", SLICE_ARG(got), want);
}

static struct sip_msg *parse(const char *text)
{
	struct sip_reject why;
	struct sip_msg *m;

	if (sip_msg_parse(slice_of(text), false, &m, &why))
		fail_msg("%s: %s", why.why, text);
	return m;
}

static void test_request(void **state)
{
	struct sip_build b;

	(void)state;
	sip_build_init(&b);
	sip_build_request(&b, SLICE("INVITE"), SLICE("sip:bob@example.com"));
	sip_build_hdr(&b, SIP_HDR_VIA, "SIP/2.0/%s %s;branch=z9hG4bK%d", "TLS", "a.example.com", 5);
	sip_build_hdr(&b, SIP_HDR_MAX_FORWARDS, "%d", 70);
	sip_build_hdr_slice(&b, SIP_HDR_CALL_ID, SLICE("x@y"));
	sip_build_named(&b, SLICE("X-Thing"), SLICE("1"));
	assert_null(sip_build_done(&b).p); /* not yet */
	sip_build_body(&b, SLICE("application/sdp"), SLICE("v=0\r\n"));
	check(sip_build_done(&b), "INVITE sip:bob@example.com SIP/2.0\r\n"
				  "Via: SIP/2.0/TLS a.example.com;branch=z9hG4bK5\r\n"
				  "Max-Forwards: 70\r\n"
				  "Call-ID: x@y\r\n"
				  "X-Thing: 1\r\n"
				  "Content-Type: application/sdp\r\n"
				  "Content-Length: 5\r\n\r\n"
				  "v=0\r\n");
	/* Behind the body no header can come. */
	sip_build_hdr_slice(&b, SIP_HDR_EXPIRES, SLICE("1"));
	assert_null(sip_build_done(&b).p);
	sip_build_fini(&b);
}

static bool not_max_forwards(const struct sip_hdr *h, void *arg)
{
	*(int *)arg += 1;
	return h->id != SIP_HDR_MAX_FORWARDS && h->id != SIP_HDR_CONTENT_LENGTH;
}

static void test_copy(void **state)
{
	struct sip_msg *m =
		parse("BYE sip:b@example.com SIP/2.0\r\n"
		      "v: SIP/2.0/UDP 192.0.2.1,\r\n SIP/2.0/TCP 192.0.2.2\r\n"
		      "f: <sip:a@example.com>;tag=1\r\nt: <sip:b@example.com>;tag=2\r\n"
		      "i: c1\r\nCSeq:  7\r\n BYE\r\nMax-Forwards: 3\r\nX-Y :z\r\nl: 0\r\n\r\n");
	struct sip_build b;
	int n = 0;

	(void)state;
	sip_build_init(&b);
	sip_build_request(&b, m->method_name, m->uri);
	sip_build_copy(&b, m, not_max_forwards, &n);
	sip_build_copy_id(&b, m, SIP_HDR_VIA);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	check(sip_build_done(&b), "BYE sip:b@example.com SIP/2.0\r\n"
				  "Via: SIP/2.0/UDP 192.0.2.1\r\n"
				  "Via: SIP/2.0/TCP 192.0.2.2\r\n"
				  "From: <sip:a@example.com>;tag=1\r\n"
				  "To: <sip:b@example.com>;tag=2\r\n"
				  "Call-ID: c1\r\n"
				  "CSeq: 7 BYE\r\n"
				  "X-Y: z\r\n"
				  "Via: SIP/2.0/UDP 192.0.2.1\r\n"
				  "Via: SIP/2.0/TCP 192.0.2.2\r\n"
				  "Content-Length: 0\r\n\r\n");
	assert_int_equal(n, m->n_headers);
	sip_build_fini(&b);
	sip_msg_unref(m);
}

/* One call of the builder with a bad value; false: this way takes C strings, which hold no NUL. */
static bool build_with(struct sip_build *b, int way, struct slice bad)
{
	bool has_nul = memchr(bad.p, '\0', bad.n) != NULL;
	char text[16];

	slice_copy(text, sizeof(text), bad);
	switch (way) {
	case 0:
		sip_build_request(b, bad, SLICE("sip:b"));
		return true;
	case 1:
		sip_build_request(b, SLICE("BYE"), bad);
		return true;
	case 2:
		sip_build_hdr_slice(b, SIP_HDR_TO, bad);
		return true;
	case 3:
		sip_build_named(b, SLICE("X"), bad);
		return true;
	case 4:
		sip_build_named(b, bad, SLICE("v"));
		return true;
	case 5:
		sip_build_status(b, 200, text);
		return !has_nul;
	default:
		sip_build_hdr(b, SIP_HDR_TO, "<%s>", text);
		return !has_nul;
	}
}

/* Every value that can end a line, in every function that takes one. */
static void test_injection(void **state)
{
	static const char with_nul[] = "a\0b";
	struct slice bad[] = { SLICE("a\r\nX: y"), SLICE("a\rb"), SLICE("a\nb"), { with_nul, 3 } };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (int way = 0; way < 7; way++) {
			struct sip_build b;

			sip_build_init(&b);
			if (build_with(&b, way, bad[i])) {
				sip_build_body(&b, SLICE_NONE, SLICE_NONE);
				assert_null(sip_build_done(&b).p);
			}
			sip_build_fini(&b);
		}
		{
			struct sip_build b;

			sip_build_init(&b);
			sip_build_body(&b, bad[i], SLICE_NONE);
			assert_null(sip_build_done(&b).p);
			sip_build_fini(&b);
		}
	}
}

static void test_bad_parts(void **state)
{
	struct sip_build b;

	(void)state;
	sip_build_init(&b);
	sip_build_status(&b, 99, NULL);
	assert_true(b.b.failed);
	sip_build_fini(&b);
	sip_build_init(&b);
	sip_build_request(&b, SLICE("BYE"), SLICE("sip:a b"));
	assert_true(b.b.failed);
	sip_build_fini(&b);
	sip_build_init(&b);
	sip_build_named(&b, SLICE_NONE, SLICE("x"));
	assert_true(b.b.failed);
	sip_build_fini(&b);
	sip_build_init(&b);
	sip_build_named(&b, SLICE("A: b"), SLICE("x"));
	assert_true(b.b.failed);
	sip_build_fini(&b);
	sip_build_init(&b);
	sip_build_hdr_slice(&b, SIP_HDR_OTHER, SLICE("x"));
	assert_true(b.b.failed);
	sip_build_fini(&b);
}

static void test_bound(void **state)
{
	char *body = malloc(SIP_MAX_MESSAGE_BYTES);

	(void)state;
	memset(body, 'x', SIP_MAX_MESSAGE_BYTES);
	for (size_t over = 0; over <= 1; over++) {
		struct sip_build b;
		size_t head = strlen("SIP/2.0 200 OK\r\nContent-Length: 32729\r\n\r\n");

		sip_build_init(&b);
		sip_build_status(&b, 200, NULL);
		sip_build_body(&b, SLICE_NONE,
			       (struct slice){ body, SIP_MAX_MESSAGE_BYTES - head + over });
		if (over)
			assert_null(sip_build_done(&b).p);
		else
			assert_int_equal(sip_build_done(&b).n, SIP_MAX_MESSAGE_BYTES);
		sip_build_fini(&b);
	}
	free(body);
}

/* The first Via of the answer to a request that came from 198.51.100.7:1234. */
static void expect_via(const char *request_via, const char *from_text, const char *answer_via)
{
	char text[512];
	struct sip_build b;
	struct sip_msg *m, *answer;
	struct addr from;

	snprintf(
		text, sizeof(text),
		"BYE sip:b SIP/2.0\r\nVia: %s\r\nVia: SIP/2.0/UDP "
		"192.0.2.99;rport;received=1.2.3.4\r\n"
		"From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n",
		request_via);
	m = parse(text);
	sip_build_init(&b);
	if (from_text)
		assert_true(addr_parse(slice_of(from_text), 0, &from));
	sip_build_response(&b, m, 200, NULL, SLICE("x"), from_text ? &from : NULL);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	assert_int_equal(
		sip_msg_parse(sip_build_done(&b), true, &answer, &(struct sip_reject){ 0 }), 0);
	check(sip_msg_hdr(answer, SIP_HDR_VIA), answer_via);
	/* the other ones stay untouched, and so does a To that has a tag */
	check(sip_msg_next(answer, SIP_HDR_VIA, sip_msg_next(answer, SIP_HDR_VIA, NULL))->value,
	      "SIP/2.0/UDP 192.0.2.99;rport;received=1.2.3.4");
	check(sip_msg_hdr(answer, SIP_HDR_TO), "<sip:b@b>;tag=2");
	sip_msg_unref(answer);
	sip_msg_unref(m);
	sip_build_fini(&b);
}

static void test_response_via(void **state)
{
	(void)state;
	/* RFC 3261 18.2.1: received when sent-by is a name or another address */
	expect_via("SIP/2.0/UDP 198.51.100.7:5060;branch=z9", "198.51.100.7:1234",
		   "SIP/2.0/UDP 198.51.100.7:5060;branch=z9");
	expect_via("SIP/2.0/UDP 10.0.0.1;branch=z9", "198.51.100.7:1234",
		   "SIP/2.0/UDP 10.0.0.1;branch=z9;received=198.51.100.7");
	expect_via("SIP/2.0/UDP pc.example.com;branch=z9", "198.51.100.7:1234",
		   "SIP/2.0/UDP pc.example.com;branch=z9;received=198.51.100.7");
	/* RFC 3581 4: with rport always both */
	expect_via("SIP/2.0/UDP 198.51.100.7;rport;branch=z9", "198.51.100.7:1234",
		   "SIP/2.0/UDP 198.51.100.7;branch=z9;received=198.51.100.7;rport=1234");
	/* what the sender claims about itself goes */
	expect_via("SIP/2.0/UDP 10.0.0.1;received=6.6.6.6;rport=66;branch=z9;x=\"a;b\"",
		   "198.51.100.7:1234",
		   "SIP/2.0/UDP 10.0.0.1;branch=z9;x=\"a;b\";received=198.51.100.7;rport=1234");
	expect_via("SIP/2.0/TCP [2001:db8::1];branch=z9;rport", "[2001:db8::2]:9",
		   "SIP/2.0/TCP [2001:db8::1];branch=z9;received=2001:db8::2;rport=9");
	expect_via("SIP/2.0/TCP [2001:DB8:0::1];branch=z9", "[2001:db8::1]:9",
		   "SIP/2.0/TCP [2001:DB8:0::1];branch=z9");
	expect_via("SIP/2.0/UDP 10.0.0.1;rport;branch=z9", NULL,
		   "SIP/2.0/UDP 10.0.0.1;rport;branch=z9");
}

static void run_response(void *arg)
{
	struct sip_build b;
	struct slice done;

	sip_build_init(&b);
	sip_build_response(&b, arg, 486, NULL, SLICE("x"), NULL);
	sip_build_hdr(&b, SIP_HDR_RETRY_AFTER, "%d", 5);
	sip_build_body(&b, SLICE("text/plain"), SLICE("busy"));
	done = sip_build_done(&b);
	assert_true((done.p == NULL) == alloc_fail_hit());
	sip_build_fini(&b);
}

static void test_no_memory(void **state)
{
	struct sip_msg *m = parse("BYE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n"
				  "From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\n"
				  "CSeq: 1 BYE\r\n\r\n");

	(void)state;
	assert_true(alloc_fail_sweep(run_response, m) > 1);
	sip_msg_unref(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),	  cmocka_unit_test(test_copy),
		cmocka_unit_test(test_injection), cmocka_unit_test(test_bad_parts),
		cmocka_unit_test(test_bound),	  cmocka_unit_test(test_response_via),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
