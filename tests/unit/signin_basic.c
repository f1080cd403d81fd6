/* Basic credentials and the names in them: strict, one spelling, nothing left of a password. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "signin/basic.h"
#include "signin/name.h"

static enum basic parse_raw(const char *raw, size_t n, struct signin_credentials *c)
{
	const char *why = NULL;
	struct buf b;
	enum basic result;

	buf_init(&b, 4096);
	buf_add_str(&b, "Basic ");
	base64_encode(&b, raw, n);
	result = signin_basic_parse(buf_slice(&b), SLICE("Example.com"), c, &why);
	assert_true(result == BASIC_OK || why);
	buf_fini(&b);
	return result;
}

static enum basic parse(const char *pair)
{
	struct signin_credentials c;

	return parse_raw(pair, strlen(pair), &c);
}

static void test_good(void **state)
{
	struct signin_credentials c;

	assert_int_equal(parse_raw("alice:s3:cret", 13, &c), BASIC_OK);
	assert_string_equal(c.user, "alice");
	assert_string_equal(c.password, "s3:cret");
	assert_string_equal(c.domain, "example.com");
	assert_int_equal(parse_raw("alice@EXAMPLE.com:x", 19, &c), BASIC_OK);
	assert_string_equal(c.user, "alice");
	assert_int_equal(parse("\xc3\xa4:p\xe2\x82\xac"), BASIC_OK);
	assert_int_equal(parse("\xf0\x9f\x98\x80:x"), BASIC_OK);
	signin_credentials_wipe(&c);
	assert_string_equal(c.user, "");
}

static void test_denied(void **state)
{
	static const char *const bad[] = {
		"alice@example.org:x",	       "alice@:x", "alice:",  ":x", "@example.com:x",
		"a@example.com@example.com:x", " alice:x", "alice :x"
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i]) != BASIC_DENIED)
			fail_msg("%s", bad[i]);
}

static void test_unreadable(void **state)
{
	static const char *const bad[] = { "",		 "alice",	   "a\x01:x",
					   "a\n:x",	 "a:x\x7f",	   "\xff:x",
					   "a:\xc0\xaf", "a:\xed\xa0\x80", "a:\xf4\x90\x80\x80",
					   "a:\xc2\x85", "a:\xe2\x82" };
	static const char *const fields[] = {
		"",
		"Basic",
		"Basic ",
		"Bearer YTpi",
		"BasicYTpi",
		"Basic YTp",
		"Basic YTpi=",
		"Basic YQ",
		"Basic YTpi YQ",
		"Basic YTp_",
		"Basic YTp-",
		"Basic =TpiYTpi",
		"Basic YTpi\n",
		"Digest a=\"b\"",
		"Basic\tYTpi",
		"Basic YTpi ",
	};
	struct signin_credentials c;
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i]) != BASIC_BAD)
			fail_msg("row %zu", i);
	assert_int_equal(parse_raw("a\0b:x", 5, &c), BASIC_BAD);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (signin_basic_parse(slice_of(fields[i]), SLICE("x"), &c, &why) != BASIC_BAD)
			fail_msg("accepted: %s", fields[i]);
	assert_int_equal(signin_basic_parse(SLICE("bASIC   YTpi"), SLICE("x"), &c, &why), BASIC_OK);
}

static void test_bounds(void **state)
{
	struct signin_credentials c;
	char pair[2000];

	memset(pair, 'a', sizeof(pair));
	pair[127] = ':';
	assert_int_equal(parse_raw(pair, 127 + 1 + 256, &c), BASIC_OK);
	assert_int_equal(strlen(c.user), 127);
	assert_int_equal(strlen(c.password), 256);
	assert_int_equal(parse_raw(pair, 127 + 1 + 257, &c), BASIC_DENIED);
	assert_string_equal(c.password, "");
	pair[127] = 'a';
	pair[128] = ':';
	assert_int_equal(parse_raw(pair, 200, &c), BASIC_DENIED);
	assert_int_equal(parse_raw(pair, 762, &c), BASIC_DENIED);
	assert_int_equal(parse_raw(pair, 763, &c), BASIC_BAD); /* 6 + 1020 bytes */
}

static void test_names(void **state)
{
	char domain[260], token[SIGNIN_TOKEN_BYTES], id[SIGNIN_ID_BYTES];
	uint8_t random[16];

	memset(domain, 'a', sizeof(domain));
	assert_true(signin_domain_valid((struct slice){ domain, 253 }));
	assert_false(signin_domain_valid((struct slice){ domain, 254 }));
	assert_false(signin_domain_valid(SLICE("")));
	assert_false(signin_domain_valid(SLICE("A.com")));
	assert_false(signin_domain_valid(SLICE(".com")));
	assert_false(signin_domain_valid(SLICE("a b")));
	memset(random, 0xff, sizeof(random));
	signin_token_print(random, token);
	assert_string_equal(token, "ffffffff-ffff-4fff-bfff-ffffffffffff");
	assert_true(signin_token_valid(slice_of(token)));
	token[0] = 'F';
	assert_false(signin_token_valid(slice_of(token)));
	token[0] = 'f';
	token[8] = 'f';
	assert_false(signin_token_valid(slice_of(token)));
	assert_false(signin_token_valid(SLICE("ffffffff-ffff-4fff-bfff-fffffffffff")));
	signin_id_print(random, id);
	assert_true(signin_id_valid(slice_of(id)));
	id[31] = 'g';
	assert_false(signin_id_valid(slice_of(id)));
	assert_false(signin_id_valid(SLICE("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	   cmocka_unit_test(test_denied),
		cmocka_unit_test(test_unreadable), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
