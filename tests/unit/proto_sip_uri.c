/* URIs, name-addr, Via values and parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/sip_msg.h"
#include "support/alloc_fail.h"

static void check(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_of(want)))
		fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(got), want);
}

static void expect_uri(const char *text, const char *scheme, const char *user, const char *host,
		       unsigned port, const char *params, const char *headers)
{
	struct sip_uri u;

	if (!sip_uri_parse(slice_of(text), &u))
		fail_msg("refused: %s", text);
	check(u.scheme, scheme);
	check(u.user, user);
	check(u.host, host);
	assert_int_equal(u.port, port);
	check(u.params, params);
	check(u.headers, headers);
}

static void test_uris(void **state)
{
	(void)state;
	expect_uri("sip:example.com", "sip", "", "example.com", 0, "", "");
	expect_uri("sip:alice@example.com", "sip", "alice", "example.com", 0, "", "");
	expect_uri("sip:alice:secret@example.com:5070", "sip", "alice", "example.com", 5070, "",
		   "");
	expect_uri("sips:alice@example.com;transport=tcp;lr?subject=x&to=y", "sips", "alice",
		   "example.com", 0, ";transport=tcp;lr", "?subject=x&to=y");
	expect_uri("SIP:a;b?c/d@h", "SIP", "a;b?c/d", "h", 0, "", "");
	expect_uri("sip:%61lice@h?x=y", "sip", "%61lice", "h", 0, "", "?x=y");
	expect_uri("sip:a@[2001:db8::1]", "sip", "a", "[2001:db8::1]", 0, "", "");
	expect_uri("sip:a@[2001:db8::1]:5061;lr", "sip", "a", "[2001:db8::1]", 5061, ";lr", "");
	expect_uri("sip:[::ffff:192.0.2.1]:1", "sip", "", "[::ffff:192.0.2.1]", 1, "", "");
	expect_uri("sip:192.0.2.1:65535", "sip", "", "192.0.2.1", 65535, "", "");
	expect_uri("sip:a@host.", "sip", "a", "host.", 0, "", "");
	expect_uri("sip:a@under_score", "sip", "a", "under_score", 0, "", "");
	expect_uri("tel:+1-201-555;phone-context=x", "tel", "+1-201-555", "", 0, ";phone-context=x",
		   "");
	expect_uri("urn:service:sos", "urn", "service:sos", "", 0, "", "");
	expect_uri("http://example.com/x?y", "http", "//example.com/x?y", "", 0, "", "");
}

static void test_bad_uris(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		"sip",
		"sip:",
		"alice@example.com",
		"1sip:a",
		"s p:a",
		"sip:@h",
		"sip::x@h",
		"sip:a@",
		"sip:a@h:",
		"sip:a@h:0",
		"sip:a@h:65536",
		"sip:a@h:x",
		"sip:a@h:5 ",
		"sip:a@b@c",
		"sip:a@h;x=@",
		"sip:a@[::1",
		"sip:a@[x]",
		"sip:a@::1",
		"sip:a@[]",
		"sip:a@[::1]x",
		"sip:a@h..i",
		"sip:a@.h",
		"sip:a b@h",
		"sip:a@h;;x",
		"sip:a@h;",
		"sip:a@h;=x",
		"sip:%4@h",
		"sip:%@h",
		"sip:%zz@h",
		"sip:a@h%41",
		"<sip:a@h>",
		"sip:a@h>",
		"sip:\"a\"@h",
		"tel:",
		"sip:a@h\x7f",
		"sip:a@h*",
		"sip:a@h?x=\"",
	};
	char host[300] = "sip:";
	struct sip_uri u;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *exact = slice_dup(slice_of(bad[i]));

		if (sip_uri_parse(slice_of(exact), &u))
			fail_msg("accepted: %s", bad[i]);
		free(exact);
	}
	assert_false(sip_uri_parse((struct slice){ "sip:a\0@h", 8 }, &u));
	/* host names: 255 bytes */
	memset(host + 4, 'h', 255);
	assert_true(sip_uri_parse((struct slice){ host, 259 }, &u));
	host[259] = 'h';
	assert_false(sip_uri_parse((struct slice){ host, 260 }, &u));
}

static void expect_addr(const char *text, const char *display, const char *uri, const char *params)
{
	struct sip_addr a;

	if (!sip_addr_parse(slice_of(text), &a))
		fail_msg("refused: %s", text);
	check(a.display, display);
	check(a.uri, uri);
	check(a.params, params);
}

static void test_addresses(void **state)
{
	(void)state;
	expect_addr("<sip:a@h>", "", "sip:a@h", "");
	expect_addr("sip:a@h", "", "sip:a@h", "");
	expect_addr("sip:a@h;tag=1", "", "sip:a@h", ";tag=1");
	expect_addr("<sip:a@h;lr>;tag=1", "", "sip:a@h;lr", ";tag=1");
	expect_addr(" Bob B. <sip:a@h> ; tag = 1 ", "Bob B.", "sip:a@h", "; tag = 1");
	expect_addr("\"a <b@c>\" <sip:a@h>", "\"a <b@c>\"", "sip:a@h", "");
	expect_addr("\"a\\\"<\"<sip:a@h>;x", "\"a\\\"<\"", "sip:a@h", ";x");
	expect_addr("\"\" <sip:a@h>", "\"\"", "sip:a@h", "");
	expect_addr("Андрей <sip:a@h>", "Андрей", "sip:a@h", "");
	expect_addr("<sip:a@h?x=y>", "", "sip:a@h?x=y", "");
	expect_addr("<tel:+1;phone-context=x>;tag=2", "", "tel:+1;phone-context=x", ";tag=2");
	expect_addr("<sip:a@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=1", "", "sip:a@h",
		    ";+sip.instance=\"<urn:uuid:1>\";reg-id=1");
}

static void test_bad_addresses(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"a",
		"<>",
		"< sip:a@h>",
		"<sip:a@h >",
		"<sip:a@h",
		"sip:a@h>",
		"\"open <sip:a>",
		"\"x\" sip:a@h",
		"\"x\"",
		"\"x\"y <sip:a@h>",
		"a, b <sip:a@h>",
		"a;b <sip:a@h>",
		"a\"b <sip:a@h>",
		"<sip:a@h> x",
		"<sip:a@h>;;x",
		"<sip:a@h>;",
		"<sip:a@h>;x=\"",
		"sip:a@h?x=y",
		"sip:a@h,sip:b@h",
		"<sip:a@h><sip:b>",
		"<:a>",
		"<sip:a\"b@h>",
	};
	struct sip_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *exact = slice_dup(slice_of(bad[i]));

		if (sip_addr_parse(slice_of(exact), &a))
			fail_msg("accepted: %s", bad[i]);
		free(exact);
	}
}

static void test_params(void **state)
{
	struct slice p = SLICE(";lr;Transport=tcp; x = \"a;b\" ;empty=;tag=1;tag=2");

	(void)state;
	check(sip_param(p, "transport"), "tcp");
	check(sip_param(p, "X"), "\"a;b\"");
	check(sip_param(p, "tag"), "1");
	assert_non_null(sip_param(p, "lr").p);
	assert_int_equal(sip_param(p, "lr").n, 0);
	assert_non_null(sip_param(p, "empty").p);
	assert_true(sip_has_param(p, "lr"));
	assert_false(sip_has_param(p, "l"));
	assert_false(sip_has_param(p, "b"));
	assert_null(sip_param(p, "trans").p);
	assert_false(sip_has_param(SLICE_NONE, "lr"));
	assert_false(sip_has_param(SLICE("lr"), "lr"));
	check(sip_param(SLICE(";received=[::1]:5060;rport"), "received"), "[::1]:5060");
}

static void test_vias(void **state)
{
	struct sip_via v;

	(void)state;
	assert_true(sip_via_parse(SLICE("SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKx;rport=7;"
					"received=198.51.100.1"),
				  &v));
	check(v.transport, "UDP");
	check(v.host, "192.0.2.1");
	assert_int_equal(v.port, 5062);
	check(v.branch, "z9hG4bKx");
	check(v.received, "198.51.100.1");
	assert_true(v.rport);
	assert_int_equal(v.rport_port, 7);
	assert_true(sip_via_parse(SLICE("SIP / 2.0 / TLS [2001:db8::1] : 5061 ; rport"), &v));
	check(v.host, "[2001:db8::1]");
	assert_int_equal(v.port, 5061);
	assert_true(v.rport);
	assert_int_equal(v.rport_port, 0);
	assert_null(v.branch.p);
	assert_true(sip_via_parse(SLICE("SIP/2.0/TCP\tpc.example.com"), &v));
	assert_false(v.rport);
	assert_false(sip_via_parse(SLICE(""), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP"), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP "), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP[::1]"), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP a b"), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP a;rport=x"), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP a;rport=65536"), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP a:0"), &v));
	assert_false(sip_via_parse(SLICE("SIP/2.0/UDP ;x"), &v));
	assert_false(sip_via_parse(SLICE("SIP//UDP a"), &v));
}

static bool same(const char *a, const char *b)
{
	bool ab = sip_uri_same(slice_of(a), slice_of(b));

	assert_true(ab == sip_uri_same(slice_of(b), slice_of(a)));
	return ab;
}

/* RFC 3261 19.1.4, its examples where they concern scheme, user, host and port. */
static void test_same(void **state)
{
	(void)state;
	assert_true(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM"));
	assert_true(same("SIP:alice@h", "sip:alice@h"));
	assert_true(same("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"));
	assert_true(same("tel:+1", "tel:+1"));
	assert_false(same("sip:ALICE@h", "sip:alice@h"));
	assert_false(same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
	assert_false(same("sip:a@h", "sips:a@h"));
	assert_false(same("sip:a@h", "sip:h"));
	assert_false(same("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]"));
	assert_false(same("sip:ab@h", "sip:a@h"));
	assert_false(same("sip:a%00b@h", "sip:a@h"));
	assert_false(same("tel:+1", "tel:+2"));
	assert_false(same("sip:", "sip:"));
}

static void expect_aor(const char *uri, const char *want)
{
	struct buf b;

	buf_init(&b, 100);
	if (sip_uri_aor(slice_of(uri), &b) != (want != NULL))
		fail_msg("%s", uri);
	if (want)
		check(buf_slice(&b), want);
	buf_fini(&b);
}

static void test_aor(void **state)
{
	(void)state;
	expect_aor("sip:Alice@Example.COM:5060;transport=tls?x=y", "Alice@example.com");
	expect_aor("sips:alice:pw@h", "alice@h");
	expect_aor("sip:%61%6cice@h", "alice@h");
	expect_aor("sip:%2b49@h", "+49@h");
	/* What would be taken for something else stays escaped, in one spelling. */
	expect_aor("sip:a%40b@h", "a%40b@h");
	expect_aor("sip:a%25%34%31@h", "a%2541@h");
	expect_aor("sip:a%00%0d%0a%22%3c%20%c3%a4@h", "a%00%0D%0A%22%3C%20%C3%A4@h");
	expect_aor("sip:EXAMPLE.com", "example.com");
	expect_aor("sip:a@[2001:DB8::1]", "a@[2001:db8::1]");
	expect_aor("tel:+1", NULL);
	expect_aor("nonsense", NULL);
}

static void run_aor(void *arg)
{
	struct buf b;

	buf_init(&b, 1000);
	assert_true(sip_uri_aor(SLICE("sip:alice@example.com"), &b) != alloc_fail_hit());
	buf_fini(&b);
}

static void test_no_memory(void **state)
{
	struct buf b;

	(void)state;
	assert_true(alloc_fail_sweep(run_aor, NULL) > 1);
	/* the buffer's bound */
	buf_init(&b, 17);
	assert_true(sip_uri_aor(SLICE("sip:alice@example.com"), &b));
	buf_fini(&b);
	buf_init(&b, 16);
	assert_false(sip_uri_aor(SLICE("sip:alice@example.com"), &b));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uris),	  cmocka_unit_test(test_bad_uris),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_params),	  cmocka_unit_test(test_vias),
		cmocka_unit_test(test_same),	  cmocka_unit_test(test_aor),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
