/* What a message may look like, and what it must not. */
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

#define MANDATORY                                                   \
	"Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport\r\n" \
	"From: <sip:a@example.com>;tag=f1\r\n"                      \
	"To: <sip:b@example.com>\r\n"                               \
	"Call-ID: c1@192.0.2.1\r\n"                                 \
	"CSeq: 7 OPTIONS\r\n"

static int parse(struct slice bytes, bool is_stream, struct sip_msg **m, struct sip_reject *why)
{
	char *exact = malloc(bytes.n ? bytes.n : 1); /* ASan sees a read past the end */
	int ret;

	assert_non_null(exact);
	memcpy(exact, bytes.p, bytes.n);
	ret = sip_msg_parse((struct slice){ exact, bytes.n }, is_stream, m, why);
	free(exact);
	return ret;
}

static struct sip_msg *accept_text(const char *text)
{
	struct sip_reject why;
	struct sip_msg *m;

	if (parse(slice_of(text), false, &m, &why) != 0)
		fail_msg("refused: %s (%s): %s", why.phrase, why.why, text);
	return m;
}

static void reject(struct slice text, int status, const char *phrase)
{
	struct sip_reject why;
	struct sip_msg *m;
	int ret = parse(text, false, &m, &why);

	if (ret != -EBADMSG || why.status != status || strcmp(why.phrase, phrase) != 0)
		fail_msg("got %d %d \"%s\", want %d \"%s\": %.*s", ret, why.status, why.phrase,
			 status, phrase, SLICE_ARG(text));
	/* A status means that there is something to build the answer from. */
	assert_true((status != 0) == (m != NULL));
	assert_true(why.why[0] != '\0');
	sip_msg_unref(m);
}

static void reject_text(const char *text, int status, const char *phrase)
{
	reject(slice_of(text), status, phrase);
}

/* An OPTIONS with one more header line. */
static void reject_line(const char *line, const char *phrase)
{
	char text[1024];

	snprintf(text, sizeof(text), "OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY "%s\r\n\r\n",
		 line);
	reject_text(text, 400, phrase);
}

static struct sip_msg *accept_line(const char *line)
{
	char text[1024];

	snprintf(text, sizeof(text), "OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY "%s\r\n\r\n",
		 line);
	return accept_text(text);
}

static void check(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_of(want)))
		fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(got), want);
}

static void test_request(void **state)
{
	struct sip_msg *m = accept_text("REGISTER sip:example.com SIP/2.0\r\n"
					"v: SIP/2.0/TLS pc.example.com;branch=z9hG4bK77;rport\r\n"
					"Max-Forwards: 70\r\n"
					"f: \"Al\" <sip:al@example.com>;tag=456248\r\n"
					"t: sip:al@example.com\r\n"
					"i: 843817637684230\r\n"
					"CSeq: 1826 REGISTER\r\n"
					"m: <sip:al@192.0.2.4;ob>, <sip:al@192.0.2.5>;q=0.5\r\n"
					"k: path, outbound\r\n"
					"s: hello\r\n"
					"u: presence\r\n"
					"Expires: 7200\r\n"
					"c: text/plain;charset=utf-8\r\n"
					"l: 4\r\n"
					"\r\n"
					"body and more");
	const struct sip_hdr *h;

	(void)state;
	assert_true(m->is_request);
	assert_int_equal(m->method, SIP_REGISTER);
	check(m->uri, "sip:example.com");
	check(m->via.transport, "TLS");
	check(m->via.branch, "z9hG4bK77");
	assert_true(m->via.rport);
	assert_int_equal(m->max_forwards, 70);
	check(m->from.display, "\"Al\"");
	check(m->from_tag, "456248");
	check(m->to.uri, "sip:al@example.com");
	assert_null(m->to_tag.p);
	check(m->call_id, "843817637684230");
	assert_int_equal(m->cseq, 1826);
	assert_int_equal(m->expires, 7200);
	check(m->contact, "sip:al@192.0.2.4;ob");
	check(m->content_type, "text/plain");
	check(m->body, "body");
	check(m->headers[0].name, "Via");
	check(sip_msg_hdr(m, SIP_HDR_SUPPORTED), "path, outbound");
	assert_true(sip_msg_has_token(m, SIP_HDR_SUPPORTED, "OUTBOUND"));
	assert_false(sip_msg_has_token(m, SIP_HDR_SUPPORTED, "out"));
	assert_false(sip_msg_has_token(m, SIP_HDR_REQUIRE, "path"));
	h = sip_msg_next(m, SIP_HDR_CONTACT, NULL);
	h = sip_msg_next(m, SIP_HDR_CONTACT, h);
	check(h->value, "<sip:al@192.0.2.5>;q=0.5");
	assert_null(sip_msg_next(m, SIP_HDR_CONTACT, h));
	assert_null(sip_msg_hdr(m, SIP_HDR_ROUTE).p);
	/* compact forms of headers that we have no id for are full as well */
	h = sip_msg_next(m, SIP_HDR_OTHER, NULL);
	check(h->name, "Subject");
	h = sip_msg_next(m, SIP_HDR_OTHER, h);
	check(h->name, "Allow-Events");
	sip_msg_unref(m);
}

static void test_response(void **state)
{
	struct sip_msg *m = accept_text("SIP/2.0 183 Session Progress\r\n" MANDATORY "\r\n");

	(void)state;
	assert_false(m->is_request);
	assert_int_equal(m->status, 183);
	check(m->phrase, "Session Progress");
	assert_int_equal(m->method, SIP_OPTIONS);
	check(m->method_name, "OPTIONS");
	assert_int_equal(m->expires, -1);
	assert_int_equal(m->max_forwards, -1);
	sip_msg_unref(m);
	/* Nobody answers a response, whatever is wrong with it. */
	reject_text("SIP/2.0 99 Low\r\n" MANDATORY "\r\n", 0, "Bad Status");
	reject_text("SIP/2.0 700 High\r\n" MANDATORY "\r\n", 0, "Bad Status");
	reject_text("SIP/2.0 2000 Long\r\n" MANDATORY "\r\n", 0, "Bad Status");
	reject_text("SIP/3.0 200 OK\r\n" MANDATORY "\r\n", 0, "Version Not Supported");
	reject_text("SIP/2.0 200 OK\r\n" MANDATORY "CSeq: 8 OPTIONS\r\n\r\n", 0, "Repeated Header");
	m = accept_text("SIP/2.0 200\r\n" MANDATORY "\r\n");
	assert_int_equal(m->phrase.n, 0);
	sip_msg_unref(m);
}

static void test_references(void **state)
{
	struct sip_msg *m = accept_line("X-Y: z");
	struct sip_msg *again = sip_msg_ref(m);

	(void)state;
	assert_ptr_equal(m, again);
	sip_msg_unref(m);
	check(again->call_id, "c1@192.0.2.1");
	sip_msg_unref(again);
	sip_msg_unref(NULL);
}

static void test_start_lines(void **state)
{
	struct sip_msg *m;

	(void)state;
	reject_text("OPTIONS sip:b@example.com SIP/2.1\r\n" MANDATORY "\r\n", 505,
		    "Version Not Supported");
	reject_text("OPTIONS sip:b@example.com SIP/2\r\n" MANDATORY "\r\n", 400, "Bad Start Line");
	reject_text("OPTIONS sip:b@example.com HTTP/1.1\r\n" MANDATORY "\r\n", 400,
		    "Bad Start Line");
	reject_text("OPTIONS sip:b@example.com\r\n" MANDATORY "\r\n", 400, "Bad Request-Line");
	reject_text("OPTIONS\r\n" MANDATORY "\r\n", 400, "Bad Request-Line");
	reject_text("OPT(IONS sip:b@example.com SIP/2.0\r\n" MANDATORY "\r\n", 400,
		    "Bad Request-Line");
	reject_text("OPTIONS sip: SIP/2.0\r\n" MANDATORY "\r\n", 400, "Bad Request-URI");
	reject_text("OPTIONS b@example.com SIP/2.0\r\n" MANDATORY "\r\n", 400, "Bad Request-URI");
	/* A start line with a fault in its bytes may have been anything: no answer. */
	reject_text("OPTIONS sip:b@example.com\r\n SIP/2.0\r\n" MANDATORY "\r\n", 0,
		    "Bad Start Line");
	reject_text("OPTIONS sip:b@exam\x01ple.com SIP/2.0\r\n" MANDATORY "\r\n", 0,
		    "Bad Start Line");
	reject_text("", 0, "No End Of Headers");
	reject_text("\r\n\r\n", 0, "No End Of Headers");
	m = accept_text("\r\n\r\nOPTIONS sip:b@example.com sip/2.0\r\n" MANDATORY "\r\n");
	sip_msg_unref(m);
}

/* Methods that sofia's own parser stumbles over are tokens all the same. */
static void test_methods(void **state)
{
	static const char *const methods[] = { "PING", "O", "A", "SUB", "a+b", "x`y", "INVITES" };

	(void)state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		char text[1024];
		struct sip_msg *m;

		snprintf(text, sizeof(text),
			 "%s sip:b@example.com SIP/2.0\r\n"
			 "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
			 "From: <sip:a@example.com>;tag=f1\r\nTo: <sip:b@example.com>\r\n"
			 "Call-ID: c1\r\nCSeq: 7 %s\r\n\r\n",
			 methods[i], methods[i]);
		m = accept_text(text);
		assert_int_equal(m->method, SIP_OTHER_METHOD);
		check(m->method_name, methods[i]);
		sip_msg_unref(m);
	}
	reject_text("OPTIONS sip:b@example.com SIP/2.0\r\n"
		    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
		    "From: <sip:a@example.com>;tag=f1\r\nTo: <sip:b@example.com>\r\n"
		    "Call-ID: c1\r\nCSeq: 7 options\r\n\r\n",
		    400, "CSeq Method Mismatch");
}

static void test_names(void **state)
{
	struct sip_msg *m = accept_line("x-Odd.Name : 1");

	(void)state;
	check(sip_msg_next(m, SIP_HDR_OTHER, NULL)->name, "x-Odd.Name");
	sip_msg_unref(m);
	m = accept_line("mAX-fORWARDS\t :\t 9");
	assert_int_equal(m->max_forwards, 9);
	check(m->headers[m->n_headers - 1].name, "Max-Forwards");
	sip_msg_unref(m);
	reject_line("Bad Name: 1", "Bad Header Name");
	reject_line("Bad(Name): 1", "Bad Header Name");
	reject_line(": 1", "Bad Header Name");
	reject_line("no colon", "Bad Header Name");
	reject_line("Bad\x80Name: 1", "Bad Header Name");
}

/* Compact forms (RFC 3261 7.3.3 and the registry); all others stay as they are. */
static void test_compact_names(void **state)
{
	static const struct {
		const char *line;
		const char *name;
	} forms[] = {
		{ "b: <sip:a@b>", "Referred-By" },
		{ "c: a/b", "Content-Type" },
		{ "E: gzip", "Content-Encoding" },
		{ "k: path", "Supported" },
		{ "l: 0", "Content-Length" },
		{ "M: <sip:a@b>", "Contact" },
		{ "o: refer", "Event" },
		{ "r: <sip:a@b>", "Refer-To" },
		{ "x: 90", "Session-Expires" },
		{ "a: *", "Accept-Contact" },
		{ "d: fork", "Request-Disposition" },
		{ "j: *", "Reject-Contact" },
		{ "n: x", "Identity-Info" },
		{ "s: x", "Subject" },
		{ "U: x", "Allow-Events" },
		{ "y: x", "Identity" },
		{ "z: x", "z" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct sip_msg *m = accept_line(forms[i].line);

		check(m->headers[m->n_headers - 1].name, forms[i].name);
		sip_msg_unref(m);
	}
}

static void test_bytes(void **state)
{
	static const char nul[] =
		"OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY "Subject: a\0b\r\n\r\n";
	static const char quoted_nul[] =
		"OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY "Subject: \"a\\\0b\"\r\n\r\n";
	static const char body_nul[] =
		"OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY "Content-Length: 3\r\n\r\na\0b";
	struct sip_reject why;
	struct sip_msg *m;

	(void)state;
	reject((struct slice){ nul, sizeof(nul) - 1 }, 400, "Bad Character");
	reject((struct slice){ quoted_nul, sizeof(quoted_nul) - 1 }, 400, "Bad Character");
	assert_int_equal(parse((struct slice){ body_nul, sizeof(body_nul) - 1 }, true, &m, &why),
			 0);
	assert_int_equal(m->body.n, 3);
	sip_msg_unref(m);
	reject_line("Subject: a\rRoute: <sip:evil.example.com>", "Bad Character");
	reject_line("Subject: a\nRoute: <sip:evil.example.com>", "Bad Character");
	reject_line("Subject: a\r\rX: b", "Bad Character");
	reject_line("Subject: a\x0b", "Bad Character");
	reject_line("Subject: a\x7f", "Bad Character");
	m = accept_line("Subject: tab\there, \xd0\xbd\xd0\xbe and \"quoted \\\x07\"");
	sip_msg_unref(m);
	/* LF alone never ends the headers. */
	reject_text("OPTIONS sip:b@example.com SIP/2.0\n\n", 0, "Bad Start Line");
}

static void test_folds(void **state)
{
	struct sip_msg *m = accept_line("Subject: one  \r\n\t two\r\n \r\n three");

	(void)state;
	check(sip_msg_next(m, SIP_HDR_OTHER, NULL)->value, "one two three");
	sip_msg_unref(m);
	/* the body may start with a space: that is no fold of the blank line */
	m = accept_line("Content-Length: 6\r\n\r\n  body");
	check(m->body, "  body");
	sip_msg_unref(m);
	m = accept_line("Supported:\r\n Path,\r\n gruu");
	assert_true(sip_msg_has_token(m, SIP_HDR_SUPPORTED, "gruu"));
	sip_msg_unref(m);
}

static void test_missing(void **state)
{
	static const char *const lines[] = {
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n",
		"From: <sip:a@example.com>;tag=f1\r\n",
		"To: <sip:b@example.com>\r\n",
		"Call-ID: c1\r\n",
		"CSeq: 7 OPTIONS\r\n",
	};

	(void)state;
	for (int without = 0; without < 5; without++) {
		char text[512] = "OPTIONS sip:b@example.com SIP/2.0\r\n";

		for (int i = 0; i < 5; i++)
			strcat(text, i == without ? "" : lines[i]);
		strcat(text, "\r\n");
		reject_text(text, 0, "Missing Header");
	}
	reject_text("OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY, 400, "No End Of Headers");
}

static void test_repeated(void **state)
{
	struct sip_msg *m;

	(void)state;
	reject_line("Call-ID: other", "Repeated Header");
	reject_line("From: <sip:a@example.com>;tag=f2", "Repeated Header");
	reject_line("To: <sip:c@example.com>", "Repeated Header");
	reject_line("CSeq: 8 OPTIONS", "Repeated Header");
	reject_line("Max-Forwards: 1\r\nMax-Forwards: 2", "Repeated Header");
	reject_line("Content-Length: 0\r\nl: 1", "Repeated Header");
	reject_line("Content-Type: a/b\r\nc: a/c", "Repeated Header");
	reject_line("Refer-To: <sip:x@a>\r\nr: <sip:y@a>", "Repeated Header");
	/* The same said twice is once. */
	m = accept_line("i: c1@192.0.2.1\r\nContent-Length: 0\r\nL:  0 ");
	assert_null(sip_msg_next(m, SIP_HDR_CALL_ID, sip_msg_next(m, SIP_HDR_CALL_ID, NULL)));
	assert_null(sip_msg_next(m, SIP_HDR_CONTENT_LENGTH,
				 sip_msg_next(m, SIP_HDR_CONTENT_LENGTH, NULL)));
	sip_msg_unref(m);
}

static void test_numbers(void **state)
{
	char text[1024];
	struct sip_msg *m;

	(void)state;
#define CSEQ_REQUEST(v)                                                       \
	"OPTIONS sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n" \
	"From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: " v "\r\n\r\n"
	m = accept_text(CSEQ_REQUEST("2147483647 OPTIONS"));
	assert_int_equal(m->cseq, 2147483647);
	sip_msg_unref(m);
	m = accept_text(CSEQ_REQUEST("00000000000000000000007 OPTIONS"));
	assert_int_equal(m->cseq, 7);
	sip_msg_unref(m);
	reject_text(CSEQ_REQUEST("2147483648 OPTIONS"), 400, "Bad CSeq");
	reject_text(CSEQ_REQUEST("18446744073709551617 OPTIONS"), 400, "Bad CSeq");
	reject_text(CSEQ_REQUEST("-1 OPTIONS"), 400, "Bad CSeq");
	reject_text(CSEQ_REQUEST("1"), 400, "Bad CSeq");
	reject_text(CSEQ_REQUEST("OPTIONS 1"), 400, "Bad CSeq");
	reject_text(CSEQ_REQUEST("1 OPTIONS 2"), 400, "Bad CSeq");
	reject_text(CSEQ_REQUEST(""), 400, "Bad CSeq");

	m = accept_line("Max-Forwards: 255");
	assert_int_equal(m->max_forwards, 255);
	sip_msg_unref(m);
	reject_line("Max-Forwards: 256", "Bad Max-Forwards");
	reject_line("Max-Forwards: -1", "Bad Max-Forwards");
	reject_line("Max-Forwards:", "Bad Max-Forwards");

	m = accept_line("Expires: 4294967295");
	assert_int_equal(m->expires, 4294967295);
	sip_msg_unref(m);
	m = accept_line("Expires: 4294967296"); /* RFC 3261 10.2.1.1 */
	assert_int_equal(m->expires, 3600);
	sip_msg_unref(m);
	m = accept_line("Expires: Thu, 01 Dec 1994 16:00:00 GMT");
	assert_int_equal(m->expires, 3600);
	sip_msg_unref(m);

	reject_line("Content-Length: 1", "Bad Content-Length");
	reject_line("Content-Length: 4294967296", "Bad Content-Length");
	reject_line("Content-Length: 0x0", "Bad Content-Length");
	reject_line("Content-Length: +0", "Bad Content-Length");
	reject_line("Content-Length: 0, 0", "Bad Content-Length");
	snprintf(text, sizeof(text), "OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY "\r\n");
	m = NULL;
	{
		struct sip_reject why;

		/* On a stream nobody knows where a message without it ends. */
		assert_int_equal(parse(slice_of(text), true, &m, &why), -EBADMSG);
		assert_string_equal(why.phrase, "Missing Content-Length");
		sip_msg_unref(m);
	}
}

static void test_addresses(void **state)
{
	struct sip_msg *m;

	(void)state;
	/* Inputs on which parsers of old have stumbled. */
	reject_line("Contact: %", "Bad Contact");
	reject_line("Contact: <", "Bad Contact");
	reject_line("Contact: <>", "Bad Contact");
	reject_line("Contact: \"", "Bad Contact");
	reject_line("Contact: <sip:%zz@a>", "Bad Contact");
	reject_line("Contact: <sip:a@a>junk", "Bad Contact");
	reject_line("Contact: <sip:a@a>;;x", "Bad Contact");
	reject_line("Contact: <sip:a@a:0>", "Bad Contact");
	reject_line("Contact: <sip:a@a:65536>", "Bad Contact");
	reject_line("Contact: <sip:a@[::1>", "Bad Contact");
	reject_line("Contact: <sip:@a>", "Bad Contact");
	reject_line("Contact: <sip:a@b@c>", "Bad Contact");
	reject_line("Contact:", "Bad Header");
	reject_line("Contact: , ,", "Bad Header");
	reject_line("Route: sip:a@b, \"open <sip:c@d>", "Bad Route");
	reject_line("Via: SIP/2.0/UDP", "Bad Via");
	reject_line("Via: SIP/2.0 192.0.2.1", "Bad Via");
	reject_line("Via: HTTP/2.0/UDP 192.0.2.1", "Bad Via");
	reject_line("Via: SIP/2.0/UDP 192.0.2.1:99999", "Bad Via");
	reject_line("Via: SIP/2.0/UDP 192.0.2.1;rport=70000", "Bad Via");
	reject_line("Refer-To: nothing", "Bad Refer-To");
	reject_text(
		"OPTIONS sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n"
		"From: <sip:a@a>;tag=\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
		400, "Bad From");
	reject_text(
		"OPTIONS sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n"
		"From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c c\r\nCSeq: 1 OPTIONS\r\n\r\n",
		400, "Bad Call-ID");
	reject_text("OPTIONS sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n"
		    "From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID:\r\nCSeq: 1 OPTIONS\r\n\r\n",
		    400, "Bad Call-ID");
	m = accept_line("Contact: *");
	check(m->contact, "*");
	sip_msg_unref(m);
	/* Commas in quotes, brackets and a trailing empty element do not count. */
	m = accept_line("Contact: \"a, \\\"b\" <sip:x,y@a;p=1>;q=0.1 ,, <sip:z@a>,");
	check(m->contact, "sip:x,y@a;p=1");
	check(m->headers[m->n_headers - 1].value, "<sip:z@a>");
	check(m->headers[m->n_headers - 2].value, "\"a, \\\"b\" <sip:x,y@a;p=1>;q=0.1");
	sip_msg_unref(m);
	m = accept_line(
		"Route: <sip:p1;lr>,<sip:p2;lr>\r\nPath: <sip:x>\r\nService-Route: <sip:y>");
	assert_int_equal(m->n_headers, 9);
	sip_msg_unref(m);
}

/* What our scanner lets pass and the second reading refuses. */
static void test_second_reading(void **state)
{
	(void)state;
	reject_line("Content-Type: text", "Bad Content-Type");
	reject_line("Session-Expires: soon", "Bad Session-Expires");
	reject_line("RAck: 1 INVITE", "Bad RAck");
	reject_line("RSeq: one", "Bad RSeq");
	reject_line("Contact: a(b <sip:a@a>", "Bad Contact");
	reject_line("Via: SIP/2.0/UDP a;branch=z9hG4bK{}", "Bad Via");
}

/* Repeats a line until the message is `total` bytes, then ends it. */
static void fill(struct buf *b, size_t total)
{
	buf_add_str(b, "OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY "Subject: ");
	while (b->n + 4 < total)
		buf_add_char(b, 'x');
	buf_add_str(b, "\r\n\r\n");
	assert_int_equal(b->n, total);
}

static void test_size_bound(void **state)
{
	struct sip_reject why;
	struct sip_msg *m;
	struct buf b;

	(void)state;
	buf_init(&b, 100000);
	fill(&b, SIP_MAX_MESSAGE_BYTES);
	assert_int_equal(parse(buf_slice(&b), false, &m, &why), 0);
	sip_msg_unref(m);
	buf_reset(&b);
	fill(&b, SIP_MAX_MESSAGE_BYTES + 1);
	reject(buf_slice(&b), 513, "Message Too Large");
	buf_fini(&b);
}

static void test_header_bound(void **state)
{
	struct sip_reject why;
	struct sip_msg *m;
	struct buf b;

	(void)state;
	for (int extra = 0; extra <= 1; extra++) {
		buf_init(&b, 100000);
		buf_add_str(&b, "OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY);
		for (int i = 5; i < SIP_MAX_HEADERS - 3 + extra; i++)
			buf_add_str(&b, "X-Y: z\r\n");
		/* list elements count */
		buf_add_str(&b, "Route: <sip:a;lr>, <sip:b;lr>, <sip:c;lr>\r\n\r\n");
		if (extra) {
			reject(buf_slice(&b), 400, "Too Many Headers");
		} else {
			assert_int_equal(parse(buf_slice(&b), false, &m, &why), 0);
			assert_int_equal(m->n_headers, SIP_MAX_HEADERS);
			sip_msg_unref(m);
		}
		buf_fini(&b);
	}
}

/* What is refused can be answered with the headers that the sender needs to match it. */
static void test_refusal_is_answerable(void **state)
{
	struct slice text = slice_of("OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY
				     "Max-Forwards: 999\r\n\r\n");
	struct sip_reject why;
	struct sip_build b;
	struct addr from;
	struct sip_msg *m;

	(void)state;
	assert_int_equal(parse(text, false, &m, &why), -EBADMSG);
	assert_true(addr_parse(SLICE("198.51.100.7:1234"), 0, &from));
	sip_build_init(&b);
	sip_build_response(&b, m, why.status, why.phrase, SLICE("t"), &from);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	check(sip_build_done(&b),
	      "SIP/2.0 400 Bad Max-Forwards\r\n"
	      "Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;received=198.51.100.7;rport=1234\r\n"
	      "From: <sip:a@example.com>;tag=f1\r\n"
	      "To: <sip:b@example.com>;tag=t\r\n"
	      "Call-ID: c1@192.0.2.1\r\n"
	      "CSeq: 7 OPTIONS\r\n"
	      "Content-Length: 0\r\n\r\n");
	sip_build_fini(&b);
	sip_msg_unref(m);
}

static void run_parse(void *arg)
{
	struct sip_reject why;
	struct sip_msg *m;
	int ret;

	ret = sip_msg_parse(slice_of("OPTIONS sip:b@example.com SIP/2.0\r\n" MANDATORY
				     "Contact: <sip:a@b>, <sip:c@d>\r\n\r\n"),
			    false, &m, &why);
	assert_true(ret == (alloc_fail_hit() ? -ENOMEM : 0));
	assert_true((ret == 0) == (m != NULL));
	sip_msg_unref(m);
}

static void test_no_memory(void **state)
{
	(void)state;
	assert_true(alloc_fail_sweep(run_parse, NULL) > 1);
}

static void test_words(void **state)
{
	(void)state;
	for (int i = SIP_INVITE; i <= SIP_PUBLISH; i++)
		assert_int_equal(sip_method_parse(slice_of(sip_method_str((enum sip_method)i))), i);
	assert_int_equal(sip_method_parse(SLICE("invite")), SIP_OTHER_METHOD);
	for (int i = SIP_HDR_OTHER + 1; i < SIP_HDR_N; i++)
		assert_true(strlen(sip_hdr_name((enum sip_hdr_id)i)) > 1);
	assert_string_equal(sip_status_phrase(486), "Busy Here");
	assert_string_equal(sip_status_phrase(299), "Unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_response),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_start_lines),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_compact_names),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_folds),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_second_reading),
		cmocka_unit_test(test_size_bound),
		cmocka_unit_test(test_header_bound),
		cmocka_unit_test(test_refusal_is_answerable),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
