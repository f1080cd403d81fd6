/* Digest: vectors of RFC 2617 and RFC 7616, strict reading, nonces without state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/digest.h"
#include "support/alloc_fail.h"

static void check(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_of(want)))
		fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(got), want);
}

static void check_ha1(const struct digest_response *r, const char *password, const char *method)
{
	char ha1[DIGEST_HA1_BYTES], other[DIGEST_HA1_BYTES];
	size_t n = digest_ha1(r->algorithm, r->username, r->realm, slice_of(password), ha1);

	assert_int_equal(n, r->algorithm == DIGEST_MD5 ? 32 : 64);
	assert_int_equal(strlen(ha1), n);
	assert_true(digest_response_check_ha1(r, slice_of(ha1), slice_of(method)));
	assert_false(digest_response_check_ha1(r, slice_of(ha1), SLICE("OTHER")));
	assert_false(digest_response_check_ha1(r, SLICE_NONE, slice_of(method)));
	digest_ha1(r->algorithm, r->username, SLICE("other realm"), slice_of(password), other);
	assert_false(digest_response_check_ha1(r, slice_of(other), slice_of(method)));
	digest_ha1(r->algorithm, r->username, r->realm, SLICE("wrong"), other);
	assert_false(digest_response_check_ha1(r, slice_of(other), slice_of(method)));
	assert_int_equal(digest_ha1(DIGEST_UNKNOWN, r->username, r->realm, SLICE("x"), other), 0);
}

/* The credentials must be right for that password, and only for it, that method and that text. */
static void check_vector(const char *credentials, const char *password, const char *method)
{
	struct digest_response r;
	char flipped[1024];
	char *response;

	assert_true(digest_response_parse(slice_of(credentials), &r));
	assert_true(digest_response_check(&r, slice_of(password), slice_of(method)));
	check_ha1(&r, password, method);
	assert_false(digest_response_check(&r, SLICE("wrong"), slice_of(method)));
	assert_false(digest_response_check(&r, SLICE_NONE, slice_of(method)));
	assert_false(digest_response_check(&r, slice_of(password), SLICE("OTHER")));
	/* one wrong digit, at each place; a shorter and a longer response */
	for (size_t i = 0; i < r.response.n; i++) {
		slice_copy(flipped, sizeof(flipped), slice_of(credentials));
		response = strstr(flipped, "response=\"") + 10;
		response[i] = response[i] == '0' ? '1' : '0';
		assert_true(digest_response_parse(slice_of(flipped), &r));
		assert_false(digest_response_check(&r, slice_of(password), slice_of(method)));
	}
	assert_true(digest_response_parse(slice_of(credentials), &r));
	r.response.n--;
	assert_false(digest_response_check(&r, slice_of(password), slice_of(method)));
	r.response.n += 2;
	assert_false(digest_response_check(&r, slice_of(password), slice_of(method)));
}

static void test_vectors(void **state)
{
	(void)state;
	/* RFC 7616 3.9.1 */
	check_vector("Digest username=\"Mufasa\", realm=\"http-auth@example.org\", "
		     "uri=\"/dir/index.html\", algorithm=MD5, "
		     "nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, "
		     "cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, "
		     "response=\"8ca523f5e9506fed4657c9700eebdbec\", "
		     "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
		     "Circle of Life", "GET");
	check_vector(
		"Digest username=\"Mufasa\", realm=\"http-auth@example.org\", "
		"uri=\"/dir/index.html\", algorithm=SHA-256, "
		"nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, "
		"cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, "
		"response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", "
		"opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
		"Circle of Life", "GET");
	/* RFC 2617 3.5 */
	check_vector("Digest username=\"Mufasa\", realm=\"testrealm@host.com\", "
		     "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", "
		     "qop=auth, nc=00000001, cnonce=\"0a4f113b\", "
		     "response=\"6629fae49393a05397450978507c4ef1\", "
		     "opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
		     "Circle Of Life", "GET");
	/* the same without qop (RFC 2069, which RFC 3261 22.4 keeps) */
	check_vector("Digest username=\"Mufasa\", realm=\"testrealm@host.com\", "
		     "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", "
		     "response=\"670fd8c2df070c60b045671b8b24ff02\"",
		     "Circle Of Life", "GET");
	/* SIP with the algorithm of RFC 8760, computed with another implementation */
	check_vector(
		"Digest username=\"bob\",realm=\"biloxi.com\","
		"nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",uri=\"sip:bob@biloxi.com\","
		"qop=auth,nc=00000001,cnonce=\"0a4f113b\",algorithm=SHA-256,"
		"response=\"b3b5a6c69453abafaab9ae4dccdac90a076b6c80615d5f3498e7433b6e93bf4f\"",
		"zanzibar", "INVITE");
}

static void test_response_case(void **state)
{
	struct digest_response r;

	(void)state;
	/* hex in capitals is the same number */
	assert_true(digest_response_parse(
		SLICE("digest USERNAME=\"Mufasa\" , Realm = \"testrealm@host.com\",, "
		      "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", "
		      "qop=\"auth\", nc=00000001, cnonce=\"0a4f113b\", unknown=x, other=\"a,b\", "
		      "response=\"6629FAE49393A05397450978507C4EF1\", algorithm=\"md5\""),
		&r));
	assert_true(r.qop_auth);
	assert_int_equal(r.nc_value, 1);
	assert_true(digest_response_check(&r, SLICE("Circle Of Life"), SLICE("GET")));
	r.algorithm = DIGEST_UNKNOWN;
	assert_false(digest_response_check(&r, SLICE("Circle Of Life"), SLICE("GET")));
}

#define R "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"00\""

static void test_response_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"Digest",
		"Digest ",
		"Digestusername=\"u\"",
		"Basic dTpw",
		"Digest realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"00\"",
		"Digest username=\"u\", nonce=\"n\", uri=\"sip:x\", response=\"00\"",
		"Digest username=\"u\", realm=\"r\", uri=\"sip:x\", response=\"00\"",
		"Digest username=\"u\", realm=\"r\", nonce=\"n\", response=\"00\"",
		"Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\"",
		"Digest username=\"\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"00\"",
		R ", username=\"v\"",
		R ", response=\"00\"",
		R ", opaque=\"a\", OPAQUE=\"a\"",
		R ", qop=auth",
		R ", qop=auth, nc=00000001",
		R ", qop=auth, cnonce=\"c\"",
		R ", qop=auth, cnonce=\"c\", nc=0000001",
		R ", qop=auth, cnonce=\"c\", nc=000000001",
		R ", qop=auth, cnonce=\"c\", nc=0000000g",
		R ", qop=auth-int, cnonce=\"c\", nc=00000001",
		R ", qop=\"auth,auth-int\", cnonce=\"c\", nc=00000001",
		R " x",
		R ", x",
		R ", x=\"open",
		R ", x=\"a\\\"",
		R ", x=\"a\"b",
		R ", =b",
		R ", x=a b",
	};
	struct digest_response r;

	(void)state;
	assert_true(digest_response_parse(SLICE(R), &r));
	assert_true(digest_response_parse(SLICE(R ", x=\"a\\\"b\","), &r));
	assert_true(digest_response_parse(SLICE(R ", qop=auth, cnonce=\"c\", nc=00abCDef"), &r));
	assert_int_equal(r.nc_value, 0xabcdef);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *exact = slice_dup(slice_of(bad[i]));

		if (digest_response_parse(slice_of(exact), &r))
			fail_msg("accepted: %s", bad[i]);
		free(exact);
	}
}

static void test_size_bound(void **state)
{
	struct digest_response r;
	char text[3000];
	size_t n;

	(void)state;
	n = (size_t)snprintf(text, sizeof(text), R ", x=");
	memset(text + n, 'a', sizeof(text) - n);
	assert_true(digest_response_parse((struct slice){ text, 2048 }, &r));
	assert_false(digest_response_parse((struct slice){ text, 2049 }, &r));
}

static void test_challenge(void **state)
{
	struct digest_challenge c;
	struct buf b;

	(void)state;
	/* RFC 8760 2.4: one header a algorithm */
	assert_true(digest_challenge_parse(
		SLICE("Digest realm=\"biloxi.com\", qop=\"auth,auth-int\", algorithm=SHA-256, "
		      "nonce=\"dcd98b\", opaque=\"5ccc\", stale=TRUE"),
		&c));
	check(c.realm, "biloxi.com");
	check(c.nonce, "dcd98b");
	check(c.opaque, "5ccc");
	assert_true(c.stale);
	assert_true(c.qop_auth);
	assert_int_equal(c.algorithm, DIGEST_SHA256);
	assert_true(digest_challenge_parse(SLICE("Digest realm=\"\", nonce=\"x\""), &c));
	assert_int_equal(c.algorithm, DIGEST_MD5);
	assert_false(c.qop_auth);
	assert_false(c.stale);
	assert_null(c.opaque.p);
	assert_true(digest_challenge_parse(
		SLICE("Digest realm=\"r\", nonce=\"x\", algorithm=SHA-512-256, qop=\"auth\""), &c));
	assert_int_equal(c.algorithm, DIGEST_UNKNOWN);
	assert_false(digest_challenge_parse(
		SLICE("Digest realm=\"r\", nonce=\"x\", qop=\"auth-int\""), &c));
	assert_false(digest_challenge_parse(SLICE("Digest realm=\"r\""), &c));
	assert_false(digest_challenge_parse(SLICE("Digest nonce=\"r\""), &c));
	assert_false(
		digest_challenge_parse(SLICE("Digest realm=\"r\", realm=\"s\", nonce=\"x\""), &c));

	buf_init(&b, 1000);
	digest_challenge_print(&b, DIGEST_SHA256, SLICE("example.com"), SLICE("abc"), true);
	check(buf_slice(&b), "Digest realm=\"example.com\", nonce=\"abc\", algorithm=SHA-256, "
			     "qop=\"auth\", stale=true");
	assert_true(digest_challenge_parse(buf_slice(&b), &c));
	assert_true(c.stale && c.qop_auth);
	buf_reset(&b);
	digest_challenge_print(&b, DIGEST_MD5, SLICE("a\"b"), SLICE("abc"), false);
	assert_true(b.failed);
	buf_reset(&b);
	digest_challenge_print(&b, DIGEST_MD5, SLICE("a\\"), SLICE("abc"), false);
	assert_true(b.failed);
	buf_reset(&b);
	digest_challenge_print(&b, DIGEST_UNKNOWN, SLICE("a"), SLICE("abc"), false);
	assert_true(b.failed);
	buf_fini(&b);
}

/* Answering a challenge, and what we answer is what we would accept. */
static void answer(const char *challenge, const char *want)
{
	struct digest_challenge c;
	struct digest_response r;
	struct buf b;

	assert_true(digest_challenge_parse(slice_of(challenge), &c));
	buf_init(&b, 1000);
	digest_response_print(&b, &c, SLICE("bob"), SLICE("zanzibar"), SLICE("INVITE"),
			      SLICE("sip:bob@biloxi.com"), SLICE("0a4f113b"), 1);
	assert_false(b.failed);
	check(buf_slice(&b), want);
	assert_true(digest_response_parse(buf_slice(&b), &r));
	assert_true(digest_response_check(&r, SLICE("zanzibar"), SLICE("INVITE")));
	assert_false(digest_response_check(&r, SLICE("zanzibar"), SLICE("BYE")));
	buf_fini(&b);
}

static void test_answer(void **state)
{
	(void)state;
	answer("Digest realm=\"biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", "
	       "algorithm=SHA-256, qop=\"auth\", opaque=\"\"",
	       "Digest username=\"bob\", realm=\"biloxi.com\", "
	       "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"sip:bob@biloxi.com\", "
	       "response=\"b3b5a6c69453abafaab9ae4dccdac90a076b6c80615d5f3498e7433b6e93bf4f\", "
	       "algorithm=SHA-256, cnonce=\"0a4f113b\", qop=auth, nc=00000001, "
	       "opaque=\"\"");
	answer("Digest realm=\"biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
	       "Digest username=\"bob\", realm=\"biloxi.com\", "
	       "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"sip:bob@biloxi.com\", "
	       "response=\"bf57e4e0d0bffc0fbaedce64d59add5e\", algorithm=MD5");
}

static void test_answer_refused(void **state)
{
	struct digest_challenge c;
	struct buf b;

	(void)state;
	assert_true(digest_challenge_parse(
		SLICE("Digest realm=\"r\", nonce=\"x\", algorithm=MD5-sess"), &c));
	buf_init(&b, 1000);
	digest_response_print(&b, &c, SLICE("u"), SLICE("p"), SLICE("M"), SLICE("s"), SLICE("c"),
			      1);
	assert_true(b.failed);
	buf_reset(&b);
	c.algorithm = DIGEST_MD5;
	digest_response_print(&b, &c, SLICE("u\", x=\""), SLICE("p"), SLICE("M"), SLICE("s"),
			      SLICE("c"), 1);
	assert_true(b.failed);
	buf_reset(&b);
	digest_response_print(&b, &c, SLICE("u\r\nX: y"), SLICE("p"), SLICE("M"), SLICE("s"),
			      SLICE("c"), 1);
	assert_true(b.failed);
	buf_fini(&b);
}

static const uint8_t key[32] = { 1, 2, 3 };
static const uint8_t random_bytes[8] = { 9, 8, 7, 6, 5, 4, 3, 2 };

static void make(struct buf *b, int64_t now_s, const char *bound)
{
	buf_init(b, 200);
	digest_nonce_make(b, key, now_s, random_bytes, slice_of(bound));
	assert_false(b->failed);
	assert_int_equal(b->n, 43);
}

static void test_nonce_age(void **state)
{
	struct slice bound = SLICE("flow-1");
	struct buf b;

	(void)state;
	make(&b, 1700000000, "flow-1");
	assert_int_equal(digest_nonce_check(buf_slice(&b), key, 1700000000, 60, bound),
			 DIGEST_NONCE_OK);
	assert_int_equal(digest_nonce_check(buf_slice(&b), key, 1700000060, 60, bound),
			 DIGEST_NONCE_OK);
	assert_int_equal(digest_nonce_check(buf_slice(&b), key, 1700000061, 60, bound),
			 DIGEST_NONCE_STALE);
	/* a clock set back */
	assert_int_equal(digest_nonce_check(buf_slice(&b), key, 1699999999, 60, bound),
			 DIGEST_NONCE_STALE);
	buf_fini(&b);
}

static void test_nonce_foreign(void **state)
{
	uint8_t other_key[32] = { 1, 2, 4 };
	struct slice bound = SLICE("flow-1");
	struct buf b;
	char text[64];

	(void)state;
	make(&b, 1700000000, "flow-1");
	assert_int_equal(digest_nonce_check(buf_slice(&b), other_key, 1700000000, 60, bound),
			 DIGEST_NONCE_FOREIGN);
	assert_int_equal(digest_nonce_check(buf_slice(&b), key, 1700000000, 60, SLICE("flow-2")),
			 DIGEST_NONCE_FOREIGN);
	assert_int_equal(digest_nonce_check(buf_slice(&b), key, 1700000000, 60, SLICE_NONE),
			 DIGEST_NONCE_FOREIGN);
	/* Any other character anywhere: not ours, and no second spelling of ours either. */
	for (size_t i = 0; i < b.n; i++) {
		for (int c = 1; c < 256; c++) {
			memcpy(text, b.p, b.n);
			if ((char)c == text[i])
				continue;
			text[i] = (char)c;
			assert_int_equal(digest_nonce_check((struct slice){ text, b.n }, key,
							    1700000000, 60, bound),
					 DIGEST_NONCE_FOREIGN);
		}
	}
	for (size_t n = 0; n < b.n; n++)
		assert_int_equal(
			digest_nonce_check((struct slice){ b.p, n }, key, 1700000000, 60, bound),
			DIGEST_NONCE_FOREIGN);
	memcpy(text, b.p, b.n);
	text[43] = '=';
	assert_int_equal(digest_nonce_check((struct slice){ text, 44 }, key, 1700000000, 60, bound),
			 DIGEST_NONCE_FOREIGN);
	buf_fini(&b);
}

static void run_print(void *arg)
{
	struct digest_challenge c = { .realm = SLICE("r"), .nonce = SLICE("n"), .qop_auth = true };
	struct buf b;

	buf_init(&b, 2000);
	digest_nonce_make(&b, key, 1, random_bytes, SLICE("b"));
	digest_challenge_print(&b, DIGEST_MD5, SLICE("r"), SLICE("n"), false);
	digest_response_print(&b, &c, SLICE("u"), SLICE("p"), SLICE("M"), SLICE("s"), SLICE("c"),
			      1);
	assert_true(b.failed == alloc_fail_hit());
	buf_fini(&b);
}

static void test_no_memory(void **state)
{
	(void)state;
	assert_true(alloc_fail_sweep(run_print, NULL) > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),		 cmocka_unit_test(test_response_case),
		cmocka_unit_test(test_response_refused), cmocka_unit_test(test_size_bound),
		cmocka_unit_test(test_challenge),	 cmocka_unit_test(test_answer),
		cmocka_unit_test(test_answer_refused),	 cmocka_unit_test(test_nonce_age),
		cmocka_unit_test(test_nonce_foreign),	 cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
