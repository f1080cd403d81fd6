/* The first path segment of the edge service. */
#include "proto/path_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/base64.h"

static char path[4096]; /* what rest points into until the next one */

/* "/" base64 of text, then tail. */
static bool parse_text(struct slice text, const char *tail, bool url_alphabet,
		       struct path_token *out, struct slice *rest)
{
	const char *why = NULL;
	struct buf b;
	bool ok;

	buf_init(&b, sizeof(path) - 1);
	buf_add_char(&b, '/');
	if (url_alphabet)
		base64url_encode(&b, text.p, text.n);
	else
		base64_encode(&b, text.p, text.n);
	buf_add_str(&b, tail);
	assert_true(slice_copy(path, sizeof(path), buf_slice(&b)));
	buf_fini(&b);
	ok = path_token_parse(slice_of(path), out, rest, &why);
	assert_int_equal(ok, why == NULL);
	return ok;
}

static bool accepts(struct slice text)
{
	struct path_token t;
	struct slice rest;

	return parse_text(text, "", true, &t, &rest);
}

static void domains(void **state)
{
	struct path_token t;
	struct slice rest;

	assert_true(parse_text(SLICE("Example.COM"), "/a/b", false, &t, &rest));
	assert_string_equal(t.domain, "example.com");
	assert_false(t.has_target);
	assert_true(slice_eq(rest, SLICE("/a/b")));
	assert_true(parse_text(SLICE("example.com"), "", true, &t, &rest));
	assert_true(slice_eq(rest, SLICE("/")));
	assert_true(parse_text(SLICE("example.com"), "/", true, &t, &rest));
	assert_true(slice_eq(rest, SLICE("/")));
	assert_true(parse_text(SLICE("example.com"), "//x", true, &t, &rest));
	assert_true(slice_eq(rest, SLICE("//x")));
}

static void targets(void **state)
{
	struct path_token t;
	struct slice rest;

	assert_true(parse_text(SLICE("example.com/HTTPS/Cucm1.example.com/8443"), "/x", false, &t,
			       &rest));
	assert_true(t.has_target);
	assert_true(t.https);
	assert_string_equal(t.host, "cucm1.example.com");
	assert_int_equal(t.port, 8443);
	assert_true(parse_text(SLICE("a.b/http/10.0.0.1/6970"), "", false, &t, &rest));
	assert_false(t.https);
	assert_string_equal(t.host, "10.0.0.1");
	assert_true(parse_text(SLICE("a.b/http/[2001:DB8::1]/80"), "", false, &t, &rest));
	assert_string_equal(t.host, "2001:db8::1");
	assert_true(parse_text(SLICE("a.b/http/2001:db8::1/80"), "", false, &t, &rest));
	assert_string_equal(t.host, "2001:db8::1");
}

static void paddings(void **state)
{
	static const struct {
		const char *path;
		bool ok;
	} rows[] = {
		{ "/YS5i", true },	  { "/YS5iYw", true },
		{ "/YS5iYw==", true },	  { "/YS5iYw%3D%3d", true },
		{ "/YS5iY2Q", true },	  { "/YS5iY2Q=", true },
		{ "/YS5iYw=", false },	  { "/YS5iY2Q==", false },
		{ "/YS5i=", false },	  { "/YS5i====", false },
		{ "/YS5iYw===", false },  { "/YS5iY", false },
		{ "/YS5iYx==", false },	  { "/=", false },
		{ "/==", false },	  { "/YS5i?x", false },
		{ "/YS5i%59%77", false }, { "/YS5i YQ", false },
		{ "/", false },		  { "", false },
		{ "YS5i", false },	  { "//YS5i", false },
		{ "/YS=5i", false },	  { "/*", false },
	};
	struct path_token t;
	struct slice rest;
	const char *why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (path_token_parse(slice_of(rows[i].path), &t, &rest, &why) != rows[i].ok)
			fail_msg("%s: %d", rows[i].path, !rows[i].ok);
	}
}

static void refused(void **state)
{
	static const struct slice rows[] = {
		SLICE("/"),
		SLICE("a b"),
		SLICE("a\0"),
		SLICE("b\xc3\xbc"
		      "cher.example"),
		SLICE("a.b\n"),
		SLICE("10.0.0.1"),
		SLICE("[::1]"),
		SLICE("::1"),
		SLICE("a.b:80"),
		SLICE("u@a.b"),
		SLICE("a.b/"),
		SLICE("a.b/https"),
		SLICE("a.b/https/c"),
		SLICE("a.b/https/c/"),
		SLICE("a.b/https/c/443/"),
		SLICE("a.b/https/c/443/x"),
		SLICE("a.b/ftp/c/21"),
		SLICE("a.b//c/80"),
		SLICE("a.b/http//80"),
		SLICE("/http/c/80"),
		SLICE("a.b/http/c/0"),
		SLICE("a.b/http/c/65536"),
		SLICE("a.b/http/c/080"),
		SLICE("a.b/http/c/+80"),
		SLICE("a.b/http/c:81/80"),
		SLICE("a.b/http/u@c/80"),
		SLICE("a.b/http/../80"),
		SLICE("a.b/http/0x7f000001/80"),
		SLICE("a.b/http/[::ffff:127.0.0.1]/80"),
	};

	assert_true(accepts(SLICE("a.b/http/c/80")));
	assert_true(accepts(SLICE("a.b/http/c/65535")));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (accepts(rows[i]))
			fail_msg("accepted: %.*s", SLICE_ARG(rows[i]));
	}
}

/* The longest names, and a token that is too long whatever it says. */
static void bounds(void **state)
{
	char name[254], text[600], longest[1100];
	struct path_token t;
	struct slice rest;
	const char *why;

	for (size_t i = 0; i < 253; i++)
		name[i] = i % 64 == 63 ? '.' : 'a';
	name[253] = '\0';
	snprintf(text, sizeof(text), "%s/https/%s/65535", name, name);
	assert_true(parse_text(slice_of(text), "/x", true, &t, &rest));
	assert_string_equal(t.domain, name);
	assert_string_equal(t.host, name);
	memset(longest, 'Y', sizeof(longest));
	longest[0] = '/';
	assert_false(path_token_parse((struct slice){ longest, 1025 }, &t, &rest, &why));
	assert_string_not_equal(why, "token too long");
	assert_false(path_token_parse((struct slice){ longest, 1026 }, &t, &rest, &why));
	assert_string_equal(why, "token too long");
}

static void printed_and_back(void **state)
{
	static const char *const rows[] = { "a.b", "a.b/https/c.d/443", "a.b/http/10.0.0.1/1",
					    "a.b/https/2001:db8::1/65535" };
	struct path_token t, again;
	struct slice rest;
	const char *why;
	struct buf b;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(parse_text(slice_of(rows[i]), "", false, &t, &rest));
		buf_init(&b, 1024);
		buf_add_char(&b, '/');
		path_token_print(&b, &t);
		assert_null(strchr(b.p, '='));
		assert_true(path_token_parse(buf_slice(&b), &again, &rest, &why));
		assert_memory_equal(&t, &again, sizeof(t));
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domains),  cmocka_unit_test(targets),
		cmocka_unit_test(paddings), cmocka_unit_test(refused),
		cmocka_unit_test(bounds),   cmocka_unit_test(printed_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
