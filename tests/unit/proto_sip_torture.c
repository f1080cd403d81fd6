/* RFC 4475 and RFC 5118: what becomes of each torture message. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/sip_build.h"

#define ACCEPT 0
#define DROP   -1

static const struct {
	const char *name;
	int expected; /* ACCEPT, DROP or the status to answer with */
	const char *phrase;
} messages[] = {
	/* RFC 4475 3.1.1: valid */
	{ "wsinv", ACCEPT, NULL },
	/* Holds a quoted NUL. Legal, and refused: whoever comes behind us may read C strings. The
	 * line that holds it is To, which an answer would have to repeat. */
	{ "intmeth", DROP, NULL },
	{ "intmeth-no-nul", ACCEPT, NULL },
	{ "esc01", ACCEPT, NULL },
	{ "escnull", ACCEPT, NULL },
	{ "esc02", ACCEPT, NULL },
	{ "lwsdisp", ACCEPT, NULL },
	{ "longreq", ACCEPT, NULL },
	{ "dblreq", ACCEPT, NULL },
	{ "semiuri", ACCEPT, NULL },
	{ "transports", ACCEPT, NULL },
	{ "mpart01", ACCEPT, NULL },
	{ "unreason", ACCEPT, NULL },
	{ "noreason", ACCEPT, NULL },
	/* 3.1.2: invalid */
	{ "badinv01", 400, "Bad Via" },
	{ "clerr", 400, "Bad Content-Length" },
	{ "ncl", 400, "Bad Content-Length" },
	{ "scalar02", 400, "Bad CSeq" },
	{ "scalarlg", DROP, NULL },
	{ "quotbal", 400, "Bad To" },
	{ "ltgtruri", 400, "Bad Request-URI" },
	{ "lwsruri", 400, "Bad Request-Line" },
	{ "lwsstart", 400, "Bad Request-Line" },
	{ "trws", 400, "Bad Request-Line" },
	{ "escruri", 400, "Bad Request-URI" },
	/* Date is none of our business: ignoring it is one of the two answers that the RFC allows.
	 */
	{ "baddate", ACCEPT, NULL },
	{ "regbadct", 400, "Bad Contact" },
	{ "badaspec", 400, "Bad To" },
	{ "baddn", 400, "Bad From" },
	{ "badvers", 505, "Version Not Supported" },
	{ "mismatch01", 400, "CSeq Method Mismatch" },
	{ "mismatch02", 400, "CSeq Method Mismatch" },
	{ "bigcode", DROP, NULL },
	/* 3.2: transaction layer, not ours here */
	{ "badbranch", ACCEPT, NULL },
	/* 3.3: application layer */
	{ "insuf", DROP, NULL }, /* nothing to put into an answer's From, To and Call-ID */
	{ "unkscm", ACCEPT, NULL },
	{ "novelsc", ACCEPT, NULL },
	{ "unksm2", ACCEPT, NULL },
	{ "bext01", ACCEPT, NULL },
	{ "invut", ACCEPT, NULL },
	{ "regaut01", ACCEPT, NULL },
	{ "multi01", 400, "Repeated Header" },
	{ "mcl01", 400, "Repeated Header" },
	{ "bcast", ACCEPT, NULL },
	{ "zeromf", ACCEPT, NULL },
	{ "cparam01", ACCEPT, NULL },
	{ "cparam02", ACCEPT, NULL },
	{ "regescrt", ACCEPT, NULL },
	{ "sdp01", ACCEPT, NULL },
	/* 3.4: backward compatibility */
	{ "inv2543", ACCEPT, NULL },
	/* RFC 5118 4 */
	{ "ipv6-good", ACCEPT, NULL },
	{ "ipv6-bad", 400, "Bad Request-URI" },
	{ "ipv6-port-ambiguous", ACCEPT, NULL },
	{ "ipv6-port-unambiguous", ACCEPT, NULL },
	{ "ipv6-received-brackets", ACCEPT, NULL },
	{ "ipv6-received-plain", ACCEPT, NULL },
	{ "ipv6-in-sdp", ACCEPT, NULL },
	{ "ipv6-mult-ip-in-header", ACCEPT, NULL },
	{ "ipv6-mult-ip-in-sdp", ACCEPT, NULL },
	{ "ipv6-ipv4-mapped", ACCEPT, NULL },
	{ "ipv6-bug-abnf-3-colons", 400, "Bad Request-URI" },
};

/* Exact-size copy of a message, so that ASan sees one byte too far. */
static struct slice load(const char *name)
{
	char path[512];
	char *p;
	FILE *f;
	long n;

	snprintf(path, sizeof(path), TEST_DATA "/torture/%s.sip", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	p = malloc((size_t)n);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, (size_t)n, f), n);
	fclose(f);
	return (struct slice){ p, (size_t)n };
}

static struct sip_msg *accept_file(const char *name)
{
	struct slice bytes = load(name);
	struct sip_reject why;
	struct sip_msg *m;
	int ret = sip_msg_parse(bytes, false, &m, &why);

	free((char *)(uintptr_t)bytes.p);
	if (ret)
		fail_msg("%s: %s", name, why.why);
	return m;
}

/* Whatever was accepted can be answered, and the answer is a proper message. */
static void check_answer(const char *name, const struct sip_msg *m)
{
	struct sip_reject why;
	struct sip_build b;
	struct sip_msg *again;
	struct addr from;
	int ret;

	if (!m->is_request)
		return;
	assert_true(addr_parse(SLICE("203.0.113.9:40000"), 0, &from));
	sip_build_init(&b);
	sip_build_response(&b, m, 200, NULL, SLICE("ours"), &from);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	assert_non_null(sip_build_done(&b).p);
	ret = sip_msg_parse(sip_build_done(&b), true, &again, &why);
	if (ret)
		fail_msg("%s: answer unreadable: %s", name, why.why);
	sip_msg_unref(again);
	sip_build_fini(&b);
}

static void test_every_message(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		struct slice bytes = load(messages[i].name);
		const char *name = messages[i].name;
		struct sip_reject why;
		struct sip_msg *m;
		int ret = sip_msg_parse(bytes, false, &m, &why);

		free((char *)(uintptr_t)bytes.p);
		if (messages[i].expected == ACCEPT) {
			if (ret)
				fail_msg("%s: %d %s (%s)", name, ret, why.phrase, why.why);
			check_answer(name, m);
		} else if (messages[i].expected == DROP) {
			if (ret != -EBADMSG || why.status != 0 || m)
				fail_msg("%s: not dropped: %d %d", name, ret, why.status);
			assert_true(why.why[0] != '\0');
		} else {
			if (ret != -EBADMSG || why.status != messages[i].expected || !m ||
			    strcmp(why.phrase, messages[i].phrase) != 0)
				fail_msg("%s: %d %d %s", name, ret, why.status, why.phrase);
		}
		sip_msg_unref(m);
	}
}

static void check(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_of(want)))
		fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(got), want);
}

static void test_wsinv_values(void **state)
{
	struct sip_msg *m = accept_file("wsinv");
	const struct sip_hdr *h;
	struct sip_via via;

	(void)state;
	assert_int_equal(m->method, SIP_INVITE);
	check(m->uri, "sip:vivekg@chair-dnrc.example.com;unknownparam");
	check(m->to_tag, "1918181833n");
	check(m->from_tag, "98asjd8");
	check(m->from.display, "\"J Rosenberg \\\\\\\"\"");
	check(m->from.uri, "sip:jdrosen@example.com");
	assert_int_equal(m->max_forwards, 68);
	assert_int_equal(m->cseq, 9);
	check(m->via.transport, "UDP");
	check(m->via.host, "192.0.2.2");
	check(m->via.branch, "390skdjuw");
	assert_int_equal(m->body.n, 150);
	check(m->content_type, "application/sdp");
	check(m->contact, "sip:jdrosen@example.com");

	/* A folded comma list becomes three entries in order. */
	h = sip_msg_next(m, SIP_HDR_VIA, NULL);
	h = sip_msg_next(m, SIP_HDR_VIA, h);
	assert_true(sip_via_parse(h->value, &via));
	check(via.host, "spindle.example.com");
	check(via.branch, "z9hG4bK9ikj8");
	h = sip_msg_next(m, SIP_HDR_VIA, h);
	assert_true(sip_via_parse(h->value, &via));
	check(via.host, "192.168.255.111");
	check(via.branch, "z9hG4bK30239");
	assert_null(sip_msg_next(m, SIP_HDR_VIA, h));

	/* Compact, odd-case and unknown names; empty and folded values. */
	for (size_t i = 0; i < m->n_headers; i++) {
		h = &m->headers[i];
		if (slice_eq(h->name, SLICE("Subject")))
			assert_int_equal(h->value.n, 0);
		if (slice_eq(h->name, SLICE("NewFangledHeader")))
			check(h->value, "newfangled value continued newfangled value");
		if (slice_eq(h->name, SLICE("UnknownHeaderWithUnusualValue")))
			check(h->value, ";;,,;;,;");
		assert_true(h->id == SIP_HDR_OTHER ||
			    slice_eq(h->name, slice_of(sip_hdr_name(h->id))));
		assert_null(memchr(h->value.p, '\r', h->value.n));
	}
	sip_msg_unref(m);
}

static void test_valid_values(void **state)
{
	struct sip_msg *m = accept_file("intmeth-no-nul");

	(void)state;
	assert_int_equal(m->method, SIP_OTHER_METHOD);
	check(m->method_name, "!interesting-Method0123456789_*+`.%indeed'~");
	check(m->from.display, "token1~` token2'+_ token3*%!.-");
	check(m->from_tag, "_token~1'+`*%!-.");
	check(m->call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
	assert_int_equal(m->cseq, 139122385);
	sip_msg_unref(m);

	m = accept_file("esc02"); /* an escape in a header name is no escape */
	check(m->method_name, "RE%47IST%45R");
	assert_int_equal(m->method, SIP_OTHER_METHOD);
	check(m->contact, "sip:alias1@host1.example.com");
	sip_msg_unref(m);

	m = accept_file("dblreq"); /* what follows Content-Length: 0 in a datagram is gone */
	assert_int_equal(m->body.n, 0);
	assert_int_equal(m->method, SIP_REGISTER);
	sip_msg_unref(m);

	m = accept_file("semiuri");
	check(m->uri, "sip:user;par=u%40example.net@example.com");
	sip_msg_unref(m);

	m = accept_file("mpart01");
	assert_int_equal(m->body.n, 723);
	check(m->content_type, "multipart/mixed");
	assert_true(m->via.rport);
	sip_msg_unref(m);

	m = accept_file("unreason");
	assert_false(m->is_request);
	assert_int_equal(m->status, 200);
	assert_int_equal(m->method, SIP_INVITE);
	sip_msg_unref(m);

	m = accept_file("noreason");
	assert_int_equal(m->status, 100);
	assert_int_equal(m->phrase.n, 0);
	sip_msg_unref(m);

	m = accept_file("cparam01"); /* the parameter is the header's ... */
	check(m->contact, "sip:+19725552222@gw1.example.net");
	sip_msg_unref(m);
	m = accept_file("cparam02"); /* ... and here the URI's */
	check(m->contact, "sip:+19725552222@gw1.example.net;unknownparam");
	sip_msg_unref(m);

	m = accept_file("inv2543");
	assert_int_equal(m->max_forwards, -1);
	assert_null(m->via.branch.p);
	assert_null(m->from_tag.p);
	assert_true(m->body.n > 100);
	sip_msg_unref(m);
}

static void test_ipv6_values(void **state)
{
	struct sip_msg *m = accept_file("ipv6-port-ambiguous");
	struct sip_uri u;

	(void)state;
	assert_true(sip_uri_parse(m->uri, &u));
	check(u.host, "[2001:db8::10:5070]");
	assert_int_equal(u.port, 0);
	check(m->via.host, "[2001:db8::9:1]");
	sip_msg_unref(m);

	m = accept_file("ipv6-port-unambiguous");
	assert_true(sip_uri_parse(m->uri, &u));
	check(u.host, "[2001:db8::10]");
	assert_int_equal(u.port, 5070);
	sip_msg_unref(m);

	m = accept_file("ipv6-received-plain");
	check(m->via.received, "2001:db8::9:255");
	sip_msg_unref(m);
	m = accept_file("ipv6-received-brackets");
	check(m->via.received, "[2001:db8::9:255]");
	sip_msg_unref(m);
}

/* A message cut short at any byte is never accepted as a whole stream message, and never more than
 * refused. */
static void test_truncations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		struct slice bytes = load(messages[i].name);

		for (size_t n = 0; n < bytes.n; n++) {
			char *exact = malloc(n ? n : 1);
			struct sip_reject why;
			struct sip_msg *m;

			memcpy(exact, bytes.p, n);
			if (sip_msg_parse((struct slice){ exact, n }, true, &m, &why) == 0 &&
			    strcmp(messages[i].name, "dblreq") != 0)
				fail_msg("%s accepted with %zu bytes", messages[i].name, n);
			sip_msg_unref(m);
			free(exact);
		}
		free((char *)(uintptr_t)bytes.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_message), cmocka_unit_test(test_wsinv_values),
		cmocka_unit_test(test_valid_values),  cmocka_unit_test(test_ipv6_values),
		cmocka_unit_test(test_truncations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
