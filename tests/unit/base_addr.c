#include "base/addr.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct addr ip(const char *text)
{
	struct addr a;

	if (!addr_parse_ip(slice_of(text), 0, &a))
		fail_msg("cannot parse %s", text);
	return a;
}

static void test_parse_ip(void **state)
{
	static const char *const good[][2] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "[2001:DB8:0::1]", "2001:db8::1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "[::ffff:c000:201]", "192.0.2.1" },
		{ "::", "::" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	static const char *const bad[] = {
		"",
		"[]",
		"[",
		"]",
		"[192.0.2.1]",
		"[2001:db8::1",
		"2001:db8::1]",
		"192.0.2",
		"192.0.2.256",
		"0300.0.2.1",
		"0x7f.1",
		"2130706433",
		"1.2.3.4 ",
		" 1.2.3.4",
		"fe80::1%eth0",
		"[[::1]]",
		"host",
		":::",
		"1:2:3:4:5:6:7:8:9",
		"192.0.2.1:80",
		"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555",
	};
	char text[ADDR_STR_BYTES];
	struct addr a;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		a = ip(good[i][0]);
		assert_string_equal(addr_ip_str(&a, text), good[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (addr_parse_ip(slice_of(bad[i]), 0, &a))
			fail_msg("parsed %s", bad[i]);
	}
	assert_false(addr_parse_ip(SLICE("1.2.3.4\0x"), 0, &a));
	assert_false(addr_parse_ip(SLICE_NONE, 0, &a));
}

static void check_parse(const char *s, const char *want)
{
	char text[ADDR_STR_BYTES];
	struct addr a;

	if (!addr_parse(slice_of(s), 5060, &a)) {
		if (want)
			fail_msg("cannot parse %s", s);
		return;
	}
	if (!want)
		fail_msg("parsed %s", s);
	assert_string_equal(addr_str(&a, text), want);
}

static void test_parse_port(void **state)
{
	check_parse("192.0.2.1", "192.0.2.1:5060");
	check_parse("192.0.2.1:80", "192.0.2.1:80");
	check_parse("192.0.2.1:65535", "192.0.2.1:65535");
	check_parse("192.0.2.1:0", "192.0.2.1:0");
	check_parse("[2001:db8::1]", "[2001:db8::1]:5060");
	check_parse("[2001:db8::1]:443", "[2001:db8::1]:443");
	check_parse("2001:db8::1", "[2001:db8::1]:5060");
	check_parse("::1", "[::1]:5060");
	check_parse("::ffff:192.0.2.1", "192.0.2.1:5060");
	check_parse("[::ffff:192.0.2.1]:80", "192.0.2.1:80");
	check_parse("192.0.2.1:65536", NULL);
	check_parse("192.0.2.1:", NULL);
	check_parse("192.0.2.1:-1", NULL);
	check_parse("192.0.2.1:80:80", NULL);
	check_parse("[2001:db8::1]x", NULL);
	check_parse("[2001:db8::1]443", NULL);
	check_parse("[2001:db8::1", NULL);
	check_parse("[192.0.2.1]:80", NULL);
	check_parse(":80", NULL);
	check_parse("", NULL);
	check_parse("host:80", NULL);
}

static void test_strings(void **state)
{
	struct addr none = { 0 }, a6 = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
		    a4 = ip("255.255.255.255");
	char text[ADDR_STR_BYTES];

	a6.port = a4.port = 65535;
	assert_string_equal(addr_str(&none, text), "-");
	assert_string_equal(addr_ip_str(&none, text), "-");
	assert_string_equal(addr_host_str(&none, text), "-");
	assert_string_equal(addr_str(&a6, text), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	assert_string_equal(addr_host_str(&a6, text), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]");
	assert_string_equal(addr_str(&a4, text), "255.255.255.255:65535");
	assert_string_equal(addr_host_str(&a4, text), "255.255.255.255");
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = { "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1" };
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(99) };
	struct sockaddr unix_sa = { .sa_family = AF_UNIX };
	struct sockaddr_storage ss;
	struct addr a, b;

	for (size_t i = 0; i < 3; i++) {
		a = ip(texts[i]);
		a.port = 1234;
		assert_int_equal(addr_to_sockaddr(&a, &ss),
				 i == 1 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		b = addr_from_sockaddr((struct sockaddr *)&ss);
		assert_true(addr_eq(&a, &b));
		assert_true(slice_eq(addr_key(&a), addr_key(&b)));
	}
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &mapped.sin6_addr);
	a = addr_from_sockaddr((struct sockaddr *)&mapped);
	assert_int_equal(a.family, ADDR_IP4);
	assert_int_equal(a.port, 99);
	b = ip("192.0.2.1");
	assert_true(addr_ip_eq(&a, &b));
	assert_false(addr_eq(&a, &b));
	a = addr_from_sockaddr(&unix_sa);
	assert_int_equal(a.family, ADDR_NONE);
	assert_int_equal(addr_to_sockaddr(&a, &ss), 0);
}

static void check_prefix(const char *prefix, const char *inside, const char *outside)
{
	struct addr_prefix p;
	struct addr a;

	if (!addr_prefix_parse(slice_of(prefix), &p))
		fail_msg("cannot parse %s", prefix);
	a = ip(inside);
	assert_true(addr_in_prefix(&a, &p));
	if (outside) {
		a = ip(outside);
		assert_false(addr_in_prefix(&a, &p));
	}
}

static void test_prefix(void **state)
{
	static const char *const bad[] = { "10.0.0.0/33",
					   "::/129",
					   "10.0.0.0/",
					   "10.0.0.0/-1",
					   "10.0.0.0/8/8",
					   "/8",
					   "",
					   "10.0.0/8",
					   "host/8",
					   "::ffff:10.0.0.0/104",
					   "::ffff:10.0.0.0/8" };
	struct addr_prefix p;
	struct addr a4 = ip("10.1.2.3");

	check_prefix("10.0.0.0/8", "10.255.0.1", "11.0.0.0");
	check_prefix("10.1.2.3/8", "10.255.0.1", "11.0.0.0");
	check_prefix("10.0.0.0/9", "10.127.255.255", "10.128.0.0");
	check_prefix("192.0.2.1", "192.0.2.1", "192.0.2.0");
	check_prefix("192.0.2.1/32", "192.0.2.1", "192.0.2.0");
	check_prefix("192.0.2.0/31", "192.0.2.1", "192.0.2.2");
	check_prefix("0.0.0.0/0", "255.255.255.255", "::1");
	check_prefix("::/0", "2001:db8::1", "10.0.0.1");
	check_prefix("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::");
	check_prefix("2001:db8::1/128", "2001:db8::1", "2001:db8::");
	check_prefix("2001:db8::1", "2001:db8::1", "2001:db8::3");
	/* Mapped addresses cannot pass under another spelling. */
	check_prefix("10.0.0.0/8", "::ffff:10.0.0.1", NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (addr_prefix_parse(slice_of(bad[i]), &p))
			fail_msg("parsed %s", bad[i]);
	}
	/* Every length: the address itself is in, its neighbour at the last bit is not. */
	for (uint8_t bits = 1; bits <= 32; bits++) {
		char text[24];
		struct addr b = a4;

		snprintf(text, sizeof(text), "10.1.2.3/%u", bits);
		check_prefix(text, "10.1.2.3", NULL);
		addr_prefix_parse(slice_of(text), &p);
		b.ip[(bits - 1) / 8] ^= (uint8_t)(0x80 >> (bits - 1) % 8);
		assert_false(addr_in_prefix(&b, &p));
	}
}

static void test_class(void **state)
{
	static const struct {
		const char *text;
		enum addr_class class;
	} rows[] = {
		{ "8.8.8.8", ADDR_GLOBAL },
		{ "0.0.0.0", ADDR_UNSPECIFIED },
		{ "0.1.2.3", ADDR_RESERVED },
		{ "127.0.0.1", ADDR_LOOPBACK },
		{ "127.255.255.255", ADDR_LOOPBACK },
		{ "128.0.0.0", ADDR_GLOBAL },
		{ "169.254.169.254", ADDR_LINK_LOCAL },
		{ "9.255.255.255", ADDR_GLOBAL },
		{ "10.0.0.0", ADDR_PRIVATE },
		{ "10.255.255.255", ADDR_PRIVATE },
		{ "172.15.255.255", ADDR_GLOBAL },
		{ "172.16.0.0", ADDR_PRIVATE },
		{ "172.31.255.255", ADDR_PRIVATE },
		{ "172.32.0.0", ADDR_GLOBAL },
		{ "192.168.1.1", ADDR_PRIVATE },
		{ "100.64.0.1", ADDR_PRIVATE },
		{ "100.128.0.0", ADDR_GLOBAL },
		{ "192.0.0.8", ADDR_RESERVED },
		{ "198.18.0.1", ADDR_RESERVED },
		{ "224.0.0.1", ADDR_MULTICAST },
		{ "239.255.255.255", ADDR_MULTICAST },
		{ "240.0.0.1", ADDR_RESERVED },
		{ "255.255.255.255", ADDR_BROADCAST },
		{ "2600::1", ADDR_GLOBAL },
		{ "::", ADDR_UNSPECIFIED },
		{ "::1", ADDR_LOOPBACK },
		{ "fe80::1", ADDR_LINK_LOCAL },
		{ "febf::1", ADDR_LINK_LOCAL },
		{ "fec0::1", ADDR_PRIVATE },
		{ "fc00::1", ADDR_PRIVATE },
		{ "fdff::1", ADDR_PRIVATE },
		{ "ff02::1", ADDR_MULTICAST },
		{ "100::1", ADDR_RESERVED },
		{ "2001:0:1::1", ADDR_RESERVED },
		/* IPv4 inside IPv6 is what it leads to. */
		{ "::ffff:127.0.0.1", ADDR_LOOPBACK },
		{ "::127.0.0.1", ADDR_LOOPBACK },
		{ "::2", ADDR_RESERVED },
		{ "::ff", ADDR_RESERVED },
		{ "::ffff:0:10.0.0.1", ADDR_PRIVATE },
		{ "64:ff9b::10.0.0.1", ADDR_PRIVATE },
		{ "64:ff9b::8.8.8.8", ADDR_GLOBAL },
		{ "64:ff9b:1::8.8.8.8", ADDR_RESERVED },
		{ "2002:7f00:1::", ADDR_LOOPBACK },
		{ "2002:a9fe:a9fe::1", ADDR_LINK_LOCAL },
		{ "2002:808:808::1", ADDR_GLOBAL },
		{ "2001:db8::5efe:10.0.0.1", ADDR_PRIVATE },
		{ "2001:db8::200:5efe:127.0.0.1", ADDR_LOOPBACK },
		{ "2001:db8::5efe:8.8.8.8", ADDR_GLOBAL },
		/* What carries it has a class of its own. */
		{ "fe80::5efe:8.8.8.8", ADDR_LINK_LOCAL },
		{ "fc00::5efe:8.8.8.8", ADDR_PRIVATE },
		{ "2001:0:808:808::f7f7:f7f7", ADDR_RESERVED },
	};
	struct addr none = { 0 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a = ip(rows[i].text);

		if (addr_class(&a) != rows[i].class)
			fail_msg("%s is %s", rows[i].text, addr_class_str(addr_class(&a)));
	}
	assert_int_equal(addr_class(&none), ADDR_UNSPECIFIED);
	assert_string_equal(addr_class_str(ADDR_GLOBAL), "global");
	assert_string_equal(addr_class_str(ADDR_RESERVED), "reserved");
}

static void test_embedded(void **state)
{
	static const char *const rows[][2] = {
		{ "::10.1.2.3", "10.1.2.3" },
		{ "::2", "0.0.0.2" },
		{ "::ffff", "0.0.255.255" },
		{ "::ffff:0:10.1.2.3", "10.1.2.3" },
		{ "2002:a01:203::", "10.1.2.3" },
		{ "2002:a01:203:1::9", "10.1.2.3" },
		{ "64:ff9b::10.1.2.3", "10.1.2.3" },
		{ "64:ff9b:1::10.1.2.3", "10.1.2.3" },
		{ "64:ff9b:1:abcd:1:2:10.1.2.3", "10.1.2.3" },
		{ "64:ff9b:1:a01:2:300::", "10.1.2.3" },     /* RFC 6052 2.2, /48 */
		{ "64:ff9b:1:c000:2:2100::", "192.0.2.33" }, /* its example */
		{ "64:ff9b:1:a01:102:300::", "0.0.0.0" },    /* its byte of zeros is none */
		{ "64:ff9b:1:a01:2:300::1", "0.0.0.1" },
		{ "2001::", "255.255.255.255" },
		{ "2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45" }, /* RFC 4380 */
		{ "2001:0:808:808:0:f227:80ff:fffe", "127.0.0.1" },
		{ "2001:db8::5efe:10.1.2.3", "10.1.2.3" },
		{ "fe80::5efe:10.1.2.3", "10.1.2.3" },
		{ "2001:db8::200:5efe:10.1.2.3", "10.1.2.3" },
	};
	static const char *const none[] = {
		"::",
		"::1",
		"10.1.2.3",
		"::ffff:10.1.2.3",
		"2001:db8::1",
		"2001:db8::a01:203",
		"2001:1::a01:203",
		"2003:a01:203::",
		"64:ff9a::10.1.2.3",
		"64:ff9b:0:1::10.1.2.3",
		"64:ff9b:2::10.1.2.3",
		"::1:ffff:0:10.1.2.3",
		"::fffe:0:10.1.2.3",
		"2001:db8::100:5efe:10.1.2.3",
		"2001:db8::5eff:10.1.2.3",
		"2001:db8::2:5efe:10.1.2.3",
		"::1:0:10.1.2.3",
	};
	struct addr empty = { 0 }, out, want;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a = ip(rows[i][0]);
		char text[ADDR_STR_BYTES];

		a.port = 80;
		if (!addr_embedded_ip4(&a, &out))
			fail_msg("nothing in %s", rows[i][0]);
		want = ip(rows[i][1]);
		if (!addr_eq(&out, &want))
			fail_msg("%s in %s", addr_str(&out, text), rows[i][0]);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		struct addr a = ip(none[i]);

		if (addr_embedded_ip4(&a, &out))
			fail_msg("something in %s", none[i]);
	}
	assert_false(addr_embedded_ip4(&empty, &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_ip), cmocka_unit_test(test_parse_port),
		cmocka_unit_test(test_strings),	 cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_prefix),	 cmocka_unit_test(test_class),
		cmocka_unit_test(test_embedded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
