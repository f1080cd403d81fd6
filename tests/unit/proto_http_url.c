/* One spelling of URLs, or none. */
#include "proto/http_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static bool parse(struct slice text, struct http_url *u, const char **why)
{
	char *block = malloc(text.n ? text.n : 1); /* exact, for ASan */
	bool ok;

	if (text.n)
		memcpy(block, text.p, text.n);
	*why = NULL;
	ok = http_url_parse((struct slice){ block, text.n }, u, why);
	assert_int_equal(ok, *why == NULL);
	free(block);
	return ok;
}

static void plain_urls(void **state)
{
	static const struct {
		const char *text, *printed, *host;
		uint16_t port;
		bool https, written;
	} rows[] = {
		{ "http://a", "http://a/", "a", 80, false, false },
		{ "HTTPS://A.Example.COM./x/Y", "https://a.example.com/x/Y", "a.example.com", 443,
		  true, false },
		{ "https://a:443/", "https://a/", "a", 443, true, true },
		{ "https://a:80/", "https://a:80/", "a", 80, true, true },
		{ "http://a:65535", "http://a:65535/", "a", 65535, false, true },
		{ "http://a_b-c.1d.x/", "http://a_b-c.1d.x/", "a_b-c.1d.x", 80, false, false },
		{ "http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/",
		  "xn--bcher-kva.example", 80, false, false },
		{ "http://192.0.2.1:8080/", "http://192.0.2.1:8080/", "192.0.2.1", 8080, false,
		  true },
		{ "http://192.0.2.1./", "http://192.0.2.1/", "192.0.2.1", 80, false, false },
		{ "http://[2001:DB8:0:0::1]/", "http://[2001:db8::1]/", "2001:db8::1", 80, false,
		  false },
		{ "https://[::1]:8443/a", "https://[::1]:8443/a", "::1", 8443, true, true },
		{ "http://a?q", "http://a/", "a", 80, false, false },
		{ "http://1a/", "http://1a/", "1a", 80, false, false },
		{ "http://0x.a/", "http://0x.a/", "0x.a", 80, false, false },
	};
	struct http_url u;
	const char *why;
	char text[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!parse(slice_of(rows[i].text), &u, &why))
			fail_msg("%s refused: %s", rows[i].text, why);
		http_url_print(&u, text, sizeof(text));
		assert_string_equal(text, rows[i].printed);
		assert_string_equal(u.host, rows[i].host);
		assert_int_equal(u.port, rows[i].port);
		assert_int_equal(u.https, rows[i].https);
		assert_int_equal(u.port_written, rows[i].written);
		assert_int_equal(u.ip.family != ADDR_NONE,
				 strchr(u.host, ':') != NULL || strcmp(u.host, "192.0.2.1") == 0);
		assert_true(parse(slice_of(text), &u, &why));
	}
}

static void queries(void **state)
{
	struct slice text = SLICE("http://a/b?c?/../%2e");
	struct http_url u;
	const char *why;

	assert_true(http_url_parse(text, &u, &why));
	assert_string_equal(u.path, "/b");
	assert_true(slice_eq(u.query, SLICE("c?/../%2e")));
	assert_true(http_url_parse(SLICE("http://a?x\\@b"), &u, &why));
	assert_string_equal(u.host, "a");
	assert_true(slice_eq(u.query, SLICE("x\\@b")));
	assert_true(http_url_parse(SLICE("http://a?"), &u, &why));
	assert_non_null(u.query.p);
	assert_int_equal(u.query.n, 0);
	assert_true(http_url_parse(SLICE("http://a"), &u, &why));
	assert_null(u.query.p);
}

static void refused_urls(void **state)
{
	static const struct slice rows[] = {
		SLICE(""),
		SLICE("a"),
		SLICE("//a/"),
		SLICE("http:"),
		SLICE("http:/a"),
		SLICE("http://"),
		SLICE("http:///a"),
		SLICE("http://?a"),
		SLICE("http://:80/"),
		SLICE("ftp://a/"),
		SLICE("file:///etc/passwd"),
		SLICE("gopher://a/"),
		SLICE("httpss://a/"),
		SLICE(" http://a/"),
		SLICE("http://a/ "),
		SLICE("http://a /"),
		SLICE("http://a/\t"),
		SLICE("http://a/\r\nx"),
		SLICE("http://a/\0"),
		SLICE("http://a\0b/"),
		SLICE("http://a/\x7f"),
		SLICE("http://a/\xc3\xa9"),
		SLICE("http://b\xc3\xbc"
		      "cher.example/"),
		SLICE("http://a\xe3\x80\x82"
		      "b/"),		       /* ideographic full stop */
		SLICE("http://\xe2\x91\xa0/"), /* circled digit one */
		SLICE("http://u@a/"),
		SLICE("http://u:p@a/"),
		SLICE("http://@a/"),
		SLICE("http://a@/"),
		SLICE("http://a:80@b/"),
		SLICE("http://a/#f"),
		SLICE("http://a#@b/"),
		SLICE("http://a\\@b/"),
		SLICE("http:\\\\a/"),
		SLICE("http://a\\?x"),
		SLICE("http://a/b\\c?x"),
		SLICE("http://a%2eb/"),
		SLICE("http://a%00/"),
		SLICE("http://a,b/"),
		SLICE("http://a;b/"),
		SLICE("http://.a/"),
		SLICE("http://a..b/"),
		SLICE("http://a../"),
		SLICE("http://./"),
		SLICE("http://-a/"),
		SLICE("http://a-.b/"),
		SLICE("http://a:/"),
		SLICE("http://a:0/"),
		SLICE("http://a:080/"),
		SLICE("http://a:65536/"),
		SLICE("http://a:+80/"),
		SLICE("http://a:-1/"),
		SLICE("http://a:8 0/"),
		SLICE("http://a:80:80/"),
		SLICE("http://a:4294967376/"),
		/* Addresses in disguise. */
		SLICE("http://2130706433/"),
		SLICE("http://0x7f000001/"),
		SLICE("http://0X7F000001/"),
		SLICE("http://017700000001/"),
		SLICE("http://0177.1/"),
		SLICE("http://0177.0.0.1/"),
		SLICE("http://127.0.0.01/"),
		SLICE("http://127.1/"),
		SLICE("http://127.0.1/"),
		SLICE("http://127.0.0.1.1/"),
		SLICE("http://127.0.0.256/"),
		SLICE("http://127.0.0.0x1/"),
		SLICE("http://0x7f.0.0.1/"),
		SLICE("http://0/"),
		SLICE("http://0x/"),
		SLICE("http://a.1/"),
		SLICE("http://a.0x7f/"),
		SLICE("http://[127.0.0.1]/"),
		SLICE("http://[::ffff:127.0.0.1]/"),
		SLICE("http://[::ffff:7f00:1]/"),
		SLICE("http://[::127.0.0.1]/"),
		SLICE("http://[::7f00:1]/"),
		SLICE("http://[64:ff9b::127.0.0.1]/"),
		SLICE("http://[fe80::1%25eth0]/"),
		SLICE("http://[fe80::1%eth0]/"),
		SLICE("http://[::1/"),
		SLICE("http://::1]/"),
		SLICE("http://[]/"),
		SLICE("http://[/"),
		SLICE("http://[[::1]]/"),
		SLICE("http://[::1]a/"),
		SLICE("http://[::1]a:80/"),
		SLICE("http://[v1.a]/"),
		SLICE("http://[:::1]/"),
		SLICE("http://::1/"),
		SLICE("http://::1:80/"),
		SLICE("http://fe80::a/"),
		SLICE("http://a/../b"),
	};
	struct http_url u;
	const char *why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (parse(rows[i], &u, &why))
			fail_msg("accepted: %.*s", SLICE_ARG(rows[i]));
	}
}

static void host_bounds(void **state)
{
	char text[400] = "http://";
	struct http_url u;
	const char *why;
	size_t n = 7;

	/* Three labels of 63 and one of 61: 253 characters. */
	for (int i = 0; i < 4; i++) {
		memset(text + n, 'a', 63);
		n += i < 3 ? 63 : 61;
		if (i < 3)
			text[n++] = '.';
	}
	text[n] = '\0';
	assert_true(parse(slice_of(text), &u, &why));
	assert_int_equal(strlen(u.host), 253);
	memcpy(text + n, ".", 2); /* the root does not count */
	assert_true(parse(slice_of(text), &u, &why));
	memcpy(text + n, "a", 2);
	assert_false(parse(slice_of(text), &u, &why));
	memset(text + 7, 'a', 64);
	text[70] = '\0';
	assert_true(parse(slice_of(text), &u, &why));
	memcpy(text + 70, "a", 2);
	assert_false(parse(slice_of(text), &u, &why));
}

static void authorities(void **state)
{
	struct http_url u;
	const char *why;

	assert_true(http_authority_parse(SLICE("A.b"), 443, &u, &why));
	assert_string_equal(u.host, "a.b");
	assert_int_equal(u.port, 443);
	assert_true(u.https);
	assert_string_equal(u.path, "/");
	assert_true(http_authority_parse(SLICE("[::1]:81"), 80, &u, &why));
	assert_int_equal(u.port, 81);
	assert_int_equal(u.ip.family, ADDR_IP6);
	assert_false(u.https);
	assert_false(http_authority_parse(SLICE("a/b"), 80, &u, &why));
	assert_false(http_authority_parse(SLICE("u@a"), 80, &u, &why));
	assert_false(http_authority_parse(SLICE(""), 80, &u, &why));
	assert_false(http_authority_parse(SLICE_NONE, 80, &u, &why));
}

static void hosts(void **state)
{
	char host[HTTP_URL_HOST_BYTES];
	struct addr ip;
	const char *why;

	assert_true(http_host_parse(SLICE("2001:DB8::"), host, &ip, &why));
	assert_string_equal(host, "2001:db8::");
	assert_true(http_host_parse(SLICE("10.0.0.1"), host, &ip, &why));
	assert_int_equal(ip.family, ADDR_IP4);
	assert_true(http_host_parse(SLICE("a"), host, &ip, &why));
	assert_int_equal(ip.family, ADDR_NONE);
	assert_false(http_host_parse(SLICE("a:80"), host, &ip, &why));
	assert_false(http_host_parse(SLICE("a\0"), host, &ip, &why));
}

/* --- paths --- */

static bool canonical(struct slice text, char *out, size_t size, const char **why)
{
	char *block = malloc(text.n ? text.n : 1);
	bool ok;

	if (text.n)
		memcpy(block, text.p, text.n);
	*why = NULL;
	ok = http_path_canonical((struct slice){ block, text.n }, out, size, why);
	assert_int_equal(ok, *why == NULL);
	free(block);
	return ok;
}

static void canonical_paths(void **state)
{
	static const struct {
		const char *text, *out;
	} rows[] = {
		{ "/", "/" },
		{ "//", "//" },
		{ "/a//b/", "/a//b/" },
		{ "/%61%41%30%2d%2E%5f%7eb", "/aA0-._~b" },
		{ "/%c3%a9%20", "/%C3%A9%20" },
		{ "/%21!$&'()*+,;=:@", "/%21!$&'()*+,;=:@" },
		{ "/a.b/...;x/.a/a./..a/a..", "/a.b/...;x/.a/a./..a/a.." },
		{ "/a;b=../c", "/a;b=../c" },
		{ "/100%25", "/100%25" },
		{ "/100%25/x", "/100%25/x" },
		{ "/%2541", "/%2541" },
		{ "/%25%34%31", "/%2541" },
		{ "/%3f%23%3b", "/%3F%23%3B" },
		{ "/%E2%82%AC%F0%9F%98%80", "/%E2%82%AC%F0%9F%98%80" },
		{ "/%25252541", "/%25252541" },
	};
	char out[256], again[256];
	const char *why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!canonical(slice_of(rows[i].text), out, sizeof(out), &why))
			fail_msg("%s refused: %s", rows[i].text, why);
		assert_string_equal(out, rows[i].out);
		assert_true(canonical(slice_of(out), again, sizeof(again), &why));
		assert_string_equal(again, out);
	}
}

static void refused_paths(void **state)
{
	static const struct slice rows[] = {
		SLICE(""),
		SLICE("a"),
		SLICE("*"),
		SLICE("/."),
		SLICE("/.."),
		SLICE("/./"),
		SLICE("/../"),
		SLICE("/a/../b"),
		SLICE("/a/./b"),
		SLICE("/a/.."),
		SLICE("//.."),
		SLICE("/%2e"),
		SLICE("/%2E%2e/"),
		SLICE("/.%2e/a"),
		SLICE("/%2e./a"),
		SLICE("/%252e"),
		SLICE("/%252e%252e/"),
		SLICE("/.%252e"),
		SLICE("/%25%32%65"),
		SLICE("/%25252e"),
		SLICE("/%2525252525252e"),
		SLICE("/%2525252541"), /* too many layers, whatever is below */
		SLICE("/..;x"),
		SLICE("/a/..;/b"),
		SLICE("/.;x/"),
		SLICE("/%2e%2e;x/"),
		SLICE("/..%3bx/"),
		SLICE("/..%253bx/"),
		SLICE("/..%20/"),
		SLICE("/..%2520/"),
		SLICE("/..%3fx"),
		SLICE("/..%23x"),
		SLICE("/a%2fb"),
		SLICE("/a%2Fb"),
		SLICE("/a%252fb"),
		SLICE("/..%2f"),
		SLICE("/a%5cb"),
		SLICE("/a%5C.."),
		SLICE("/a%255cb"),
		SLICE("/a\\b"),
		SLICE("/a\\..\\b"),
		SLICE("/a%00"),
		SLICE("/a%2500"),
		SLICE("/a\0"),
		SLICE("/a%0d%0a"),
		SLICE("/a%250a"),
		SLICE("/a%09"),
		SLICE("/a%7f"),
		SLICE("/a%"),
		SLICE("/a%2"),
		SLICE("/a%g0"),
		SLICE("/a%0g"),
		SLICE("/a%u002e"),
		SLICE("/%%32e"),
		SLICE("/a b"),
		SLICE("/a\tb"),
		SLICE("/a?b"),
		SLICE("/a#b"),
		SLICE("/a<b"),
		SLICE("/a>b"),
		SLICE("/a\"b"),
		SLICE("/a|b"),
		SLICE("/a^b"),
		SLICE("/a`b"),
		SLICE("/a{b"),
		SLICE("/a}b"),
		SLICE("/a[b]"),
		SLICE("/\xc3\xa9"),
		SLICE("/%c0%ae%c0%ae/"),
		SLICE("/%c0%af"),
		SLICE("/%25c0%25af"),
		SLICE("/%e0%80%ae"),
		SLICE("/%f0%80%80%ae"),
		SLICE("/%e9"),
		SLICE("/%80"),
		SLICE("/%c3"),
		SLICE("/%c3/%a9"),
		SLICE("/%ed%a0%80"),
		SLICE("/%f4%90%80%80"),
		SLICE("/%f8%88%80%80%80"),
		SLICE("/%ff"),
	};
	char out[256];
	const char *why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (canonical(rows[i], out, sizeof(out), &why))
			fail_msg("accepted: %.*s", SLICE_ARG(rows[i]));
	}
}

static void path_bounds(void **state)
{
	static char text[HTTP_URL_PATH_BYTES + 8] = "/", out[2 * HTTP_URL_PATH_BYTES];
	const char *why;
	size_t n = HTTP_URL_PATH_BYTES - 1;

	memset(text + 1, 'a', sizeof(text) - 1);
	assert_true(canonical((struct slice){ text, n }, out, sizeof(out), &why));
	assert_int_equal(strlen(out), n);
	assert_false(canonical((struct slice){ text, n + 1 }, out, sizeof(out), &why));
	/* What counts is the length that comes out. */
	memcpy(text, "/%61", 4);
	assert_true(canonical((struct slice){ text, n + 2 }, out, sizeof(out), &why));
	assert_true(canonical(SLICE("/%20"), out, 5, &why));
	assert_false(canonical(SLICE("/%20"), out, 4, &why));
	assert_false(canonical(SLICE("/"), out, 1, &why));
}

static void printing_is_cut(void **state)
{
	struct http_url u;
	const char *why;
	char text[12];

	assert_true(http_url_parse(SLICE("http://example.com/a"), &u, &why));
	http_url_print(&u, text, sizeof(text));
	assert_string_equal(text, "http://exam");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_urls),	   cmocka_unit_test(queries),
		cmocka_unit_test(refused_urls),	   cmocka_unit_test(host_bounds),
		cmocka_unit_test(authorities),	   cmocka_unit_test(hosts),
		cmocka_unit_test(canonical_paths), cmocka_unit_test(refused_paths),
		cmocka_unit_test(path_bounds),	   cmocka_unit_test(printing_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
