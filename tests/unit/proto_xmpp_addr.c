#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/xmpp.h"

static void jid_is(const char *text, const char *local, const char *domain, const char *resource)
{
	struct xmpp_jid jid;

	if (!xmpp_jid_parse(slice_of(text), &jid))
		fail_msg("%s is none", text);
	assert_true(slice_eq(jid.local, slice_of(local)));
	assert_true(slice_eq(jid.domain, slice_of(domain)));
	assert_true(slice_eq(jid.resource, slice_of(resource)));
}

static void no_jid(const char *text)
{
	struct xmpp_jid jid = { .domain = SLICE("as it was") };

	if (xmpp_jid_parse(slice_of(text), &jid))
		fail_msg("%s is one", text);
	assert_true(slice_eq(jid.domain, SLICE("as it was")));
}

/* RFC 7622 section 3.5, examples, and section 3.2: the first slash and the first at sign count. */
static void test_jid(void **state)
{
	jid_is("juliet@example.com", "juliet", "example.com", "");
	jid_is("juliet@example.com/foo", "juliet", "example.com", "foo");
	jid_is("juliet@example.com/foo bar", "juliet", "example.com", "foo bar");
	jid_is("juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar");
	jid_is("foo\\20bar@example.com", "foo\\20bar", "example.com", "");
	jid_is("fussball@example.com", "fussball", "example.com", "");
	jid_is("fu\xc3\x9f"
	       "ball@example.com",
	       "fu\xc3\x9f"
	       "ball",
	       "example.com", "");
	jid_is("king@example.com/\xe2\x99\x9a", "king", "example.com", "\xe2\x99\x9a");
	jid_is("example.com", "", "example.com", "");
	jid_is("example.com/foobar", "", "example.com", "foobar");
	jid_is("a.example.com/b@example.net", "", "a.example.com", "b@example.net");
	jid_is("a@b/c/d", "a", "b", "c/d");
	jid_is("a@b.", "a", "b", "");
	jid_is("a@[2001:db8::1]/x", "a", "[2001:db8::1]", "x");
	no_jid("");
	no_jid("\"juliet\"@example.com");
	no_jid("foo bar@example.com");
	no_jid("juliet@example.com/");
	no_jid("@example.com");
	no_jid("@example.com/x");
	no_jid("juliet@");
	no_jid("juliet@/foo");
	no_jid("/foobar");
	no_jid("a@b@c");
	no_jid("a&b@c");
	no_jid("a'b@c");
	no_jid("a:b@c");
	no_jid("a<b@c");
	no_jid("a>b@c");
	no_jid("a@b c");
	no_jid(".");
	no_jid("a@.");
	no_jid("a\x01@b");
	no_jid("a@b/\n");
	no_jid("a@b/\x7f");
	no_jid("a@b/\xc2\x85");
	no_jid("a@b/\xff");
	no_jid("a@b/\xed\xa0\x80");
	assert_false(xmpp_jid_parse(SLICE("a@b\0c"), &(struct xmpp_jid){ 0 }));
}

static void test_jid_bounds(void **state)
{
	char text[3 * 1025 + 10], *p;
	struct xmpp_jid jid;
	unsigned part, n;

	for (part = 0; part < 3; part++) {
		for (n = 1023; n <= 1024; n++) {
			size_t length[3] = { 1023, 1023, 1023 };

			length[part] = n;
			memset(text, 'x', sizeof(text));
			p = text + length[0];
			*p = '@';
			p += 1 + length[1];
			*p = '/';
			p += 1 + length[2];
			assert_int_equal(
				xmpp_jid_parse((struct slice){ text, (size_t)(p - text) }, &jid),
				n == 1023);
		}
	}
	assert_true(1023 * 3 + 2 < XMPP_JID_BYTES);
}

static void domain_is(const char *text, const char *expected)
{
	char out[XMPP_DOMAIN_BYTES];

	if (!xmpp_domain(slice_of(text), out))
		fail_msg("%s is none", text);
	assert_string_equal(out, expected);
}

static void no_domain(const char *text)
{
	char out[XMPP_DOMAIN_BYTES];

	if (xmpp_domain(slice_of(text), out))
		fail_msg("%s is one", text);
}

static void test_domain(void **state)
{
	domain_is("example.com", "example.com");
	domain_is("EXAMPLE.Com.", "example.com");
	domain_is("xn--bcher-kva.example", "xn--bcher-kva.example");
	domain_is("B\xc3\xbc"
		  "cher.example",
		  "b\xc3\xbc"
		  "cher.example");
	domain_is("localhost", "localhost");
	domain_is("192.0.2.1", "192.0.2.1");
	domain_is("[2001:DB8::1]", "[2001:db8::1]");
	no_domain("");
	no_domain(".");
	no_domain("..");
	no_domain("a..b");
	no_domain(".a");
	no_domain("a.b..");
	no_domain("-a.b");
	no_domain("a-.b");
	no_domain("a b");
	no_domain("a@b");
	no_domain("a/b");
	no_domain("a_b.c");
	no_domain("*.example.com");
	no_domain("[::1");
	no_domain("::1");
	no_domain("[192.0.2.1]");
	no_domain("[]");
	no_domain("[x]");
	no_domain("[fe80::1%eth0]");
	no_domain("a\n.b");
	no_domain("a\xff.b");
	assert_false(xmpp_domain(SLICE("a\0b"), (char[XMPP_DOMAIN_BYTES]){ 0 }));
}

/* Characters that other software takes for a dot, an at sign or a slash, or does not show. */
static void test_domain_lookalikes(void **state)
{
	no_domain("example\xe3\x80\x82"
		  "com"); /* U+3002 */
	no_domain("example\xef\xbc\x8e"
		  "com"); /* U+FF0E */
	no_domain("example\xef\xbd\xa1"
		  "com"); /* U+FF61 */
	no_domain("a\xef\xbc\xa0"
		  "b"); /* U+FF20 */
	no_domain("a\xef\xbc\x8f"
		  "b"); /* U+FF0F */
	no_domain("a\xe2\x80\xa4"
		  "b"); /* U+2024 */
	no_domain("a\xe2\x80\x8b"
		  "b"); /* U+200B */
	no_domain("a\xe2\x80\xae"
		  "b"); /* U+202E */
	no_domain("a\xc2\xad"
		  "b"); /* U+00AD */
	no_domain("a\xc2\xa0"
		  "b"); /* U+00A0 */
	no_domain("a\xef\xbb\xbf"
		  "b"); /* U+FEFF */
	no_domain("a\xee\x80\x80"
		  "b"); /* U+E000 */
	no_domain("a\xf3\xa0\x80\x81"
		  "b"); /* U+E0001 */
}

static void test_domain_bounds(void **state)
{
	char text[300], out[XMPP_DOMAIN_BYTES];
	size_t i;

	memset(text, 'a', sizeof(text));
	assert_true(xmpp_domain((struct slice){ text, 63 }, out));
	assert_false(xmpp_domain((struct slice){ text, 64 }, out));
	for (i = 63; i < sizeof(text); i += 64)
		text[i] = '.';
	assert_true(xmpp_domain((struct slice){ text, 253 }, out));
	assert_int_equal(strlen(out), 253);
	assert_false(xmpp_domain((struct slice){ text, 254 }, out));
	text[253] = '.';
	assert_true(xmpp_domain((struct slice){ text, 254 }, out));
}

static void test_bare(void **state)
{
	char out[XMPP_JID_BYTES];

	assert_true(xmpp_bare(SLICE("User@EXAMPLE.com./Desk"), out, sizeof(out)));
	assert_string_equal(out, "user@example.com");
	assert_true(xmpp_bare(SLICE("user@example.com"), out, sizeof("user@example.com")));
	assert_string_equal(out, "user@example.com");
	assert_false(xmpp_bare(SLICE("user@example.com"), out, sizeof("user@example.com") - 1));
	assert_false(xmpp_bare(SLICE("example.com"), out, sizeof(out)));
	assert_false(xmpp_bare(SLICE("example.com/a@b"), out, sizeof(out)));
	assert_false(xmpp_bare(SLICE("a@b_c"), out, sizeof(out)));
	assert_false(xmpp_bare(SLICE("a@b@c"), out, sizeof(out)));
	assert_false(xmpp_bare(SLICE(""), out, sizeof(out)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jid),	      cmocka_unit_test(test_jid_bounds),
		cmocka_unit_test(test_domain),	      cmocka_unit_test(test_domain_lookalikes),
		cmocka_unit_test(test_domain_bounds), cmocka_unit_test(test_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
