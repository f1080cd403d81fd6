/* The SDP line model: lossless print, bounds, refusals with their line, typed accessors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/sdp.h"
#include "support/alloc_fail.h"

#define HEAD "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\n"
#define FULL                                                                          \
	"v=0\r\no=alice 2890844526 2890844527 IN IP4 192.0.2.1\r\ns=call\r\n"         \
	"c=IN IP4 192.0.2.1\r\nb=AS:84\r\nt=0 0\r\na=x-session:yes\r\na=sendonly\r\n" \
	"m=audio 49170 RTP/SAVP 96 0 101\r\na=rtpmap:96 opus/48000/2\r\n"             \
	"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abcd|2^20 WSH=64\r\n"              \
	"a=rtcp:53020 IN IP4 192.0.2.9\r\na=ptime:20\r\na=X-odd: spaced  value\r\n"   \
	"a=candidate:1 1 UDP 2130706431 192.0.2.1 49170 typ host\r\na=inactive\r\n"   \
	"m=video 0 RTP/AVPF 97\r\nc=IN IP6 2001:db8::1\r\n"                           \
	"m=application 5070/2 UDP/BFCP *\r\nc=IN IP4 224.2.1.1/127/3\r\n"             \
	"m=message 7394 TCP/MSRP *\r\n"

static struct slice text(const char *s)
{
	return slice_of(s);
}

static void print_is_lossless(void **state)
{
	struct sdp sdp;
	struct buf out;

	assert_int_equal(sdp_parse(&sdp, text(FULL), NULL), 0);
	buf_init(&out, SDP_MAX_BYTES);
	sdp_print(&sdp, &out);
	assert_string_equal(out.p, FULL);
	buf_fini(&out);
	sdp_fini(&sdp);
}

static void line_ends_are_tolerated(void **state)
{
	struct sdp sdp;
	struct buf out;

	assert_int_equal(sdp_parse(&sdp, text("v=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\n\r\n"), NULL),
			 0);
	buf_init(&out, SDP_MAX_BYTES);
	sdp_print(&sdp, &out);
	assert_string_equal(out.p, HEAD);
	buf_fini(&out);
	sdp_fini(&sdp);
}

static void refusals_name_the_line(void **state)
{
	static const struct {
		const char *sdp;
		unsigned line;
		const char *what;
	} rows[] = {
		{ "", 0, "an SDP begins with v=, o= and s=" },
		{ "v=1\r\n", 1, "v= must be 0" },
		{ "o=- 1 2 IN IP4 192.0.2.1\r\n", 1, "an SDP begins with v=, o= and s=" },
		{ "v=0\r\no=- x 2 IN IP4 192.0.2.1\r\ns=-\r\n", 2, "malformed o= line" },
		{ "v=0\r\no=- 1 2 IN IP4\r\ns=-\r\n", 2, "malformed o= line" },
		{ HEAD "v=0\r\n", 4, "second v=, o= or s= line" },
		{ HEAD "hello\r\n", 4, "not a `letter=value` line" },
		{ HEAD "=x\r\n", 4, "not a `letter=value` line" },
		{ HEAD "A=x\r\n", 4, "not a `letter=value` line" },
		{ HEAD "\r\na=x\r\n", 4, "not a `letter=value` line" },
		{ HEAD "a=x\ry\r\n", 4, "NUL or lone CR" },
		{ HEAD "c=IN IP4 1.2.3.4\r\nc=IN IP4 1.2.3.4\r\n", 5,
		  "second c= line in a section" },
		{ HEAD "m=audio 65536 RTP/AVP 0\r\n", 4, "malformed m= line" },
		{ HEAD "m=audio -1 RTP/AVP 0\r\n", 4, "malformed m= line" },
		{ HEAD "m=audio 1/0 RTP/AVP 0\r\n", 4, "malformed m= line" },
		{ HEAD "m=audio 1 RTP/AVP\r\n", 4, "malformed m= line" },
		{ HEAD "m=audio 1 RTP/AVP \r\n", 4, "malformed m= line" },
		{ HEAD "m= 1 RTP/AVP 0\r\n", 4, "malformed m= line" },
		{ HEAD "m=audio\r\n", 4, "malformed m= line" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sdp_error err;
		struct sdp sdp;

		assert_int_equal(sdp_parse(&sdp, text(rows[i].sdp), &err), -EINVAL);
		assert_int_equal(err.line, rows[i].line);
		assert_string_equal(err.what, rows[i].what);
	}
	{
		static const char nul[] = HEAD "a=x\0y\r\n";
		struct sdp_error err;
		struct sdp sdp;

		assert_int_equal(sdp_parse(&sdp, (struct slice){ nul, sizeof(nul) - 1 }, &err),
				 -EINVAL);
		assert_string_equal(err.what, "NUL or lone CR");
	}
}

static int parse_repeated(const char *line, size_t n)
{
	struct buf b;
	struct sdp sdp;
	int rc;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, HEAD);
	while (n-- > 0)
		buf_add_str(&b, line);
	rc = sdp_parse(&sdp, buf_slice(&b), NULL);
	if (rc == 0)
		sdp_fini(&sdp);
	buf_fini(&b);
	return rc;
}

static void bounds_hold(void **state)
{
	struct buf b;
	struct sdp sdp;

	/* HEAD has three lines of its own. */
	assert_int_equal(parse_repeated("a=x\r\n", SDP_MAX_LINES - 3), 0);
	assert_int_equal(parse_repeated("a=x\r\n", SDP_MAX_LINES - 2), -E2BIG);
	assert_int_equal(parse_repeated("m=audio 1 RTP/AVP 0\r\n", SDP_MAX_MEDIA), 0);
	assert_int_equal(parse_repeated("m=audio 1 RTP/AVP 0\r\n", SDP_MAX_MEDIA + 1), -E2BIG);
	buf_init(&b, 1 << 20);
	buf_add_str(&b, HEAD "a=");
	while (b.n < SDP_MAX_BYTES)
		buf_add_char(&b, 'x');
	assert_int_equal(sdp_parse(&sdp, buf_slice(&b), NULL), 0);
	sdp_fini(&sdp);
	buf_add_char(&b, 'x');
	assert_int_equal(sdp_parse(&sdp, buf_slice(&b), NULL), -E2BIG);
	buf_fini(&b);
}

static void accessors_read(void **state)
{
	struct sdp_candidate cand;
	struct sdp_crypto crypto;
	struct sdp_origin origin;
	struct sdp_media media;
	struct slice value;
	struct addr a;
	uint16_t port;
	struct sdp sdp;
	char str[ADDR_STR_BYTES];

	assert_int_equal(sdp_parse(&sdp, text(FULL), NULL), 0);
	assert_int_equal(sdp.n_media, 4);
	assert_true(sdp_origin(&sdp, &origin));
	assert_true(slice_eq(origin.username, SLICE("alice")));
	assert_true(slice_eq(origin.address, SLICE("192.0.2.1")));
	assert_true(sdp_media(&sdp, 0, &media));
	assert_int_equal(media.port, 49170);
	assert_int_equal(media.profile, SDP_RTP_SAVP);
	assert_true(slice_eq(media.formats, SLICE("96 0 101")));
	assert_true(sdp_media(&sdp, 1, &media));
	assert_int_equal(media.profile, SDP_RTP_AVPF);
	assert_true(sdp_media(&sdp, 2, &media));
	assert_int_equal(media.profile, SDP_UDP_OTHER);
	assert_int_equal(media.n_ports, 2);
	assert_true(sdp_media(&sdp, 3, &media));
	assert_int_equal(media.profile, SDP_OTHER);
	assert_false(sdp_media(&sdp, 4, &media));
	assert_true(sdp_connection(&sdp, 0, &a));
	assert_string_equal(addr_ip_str(&a, str), "192.0.2.1");
	assert_true(sdp_connection(&sdp, 1, &a));
	assert_string_equal(addr_ip_str(&a, str), "2001:db8::1");
	assert_true(sdp_connection(&sdp, 2, &a));
	assert_string_equal(addr_ip_str(&a, str), "224.2.1.1");
	assert_true(sdp_rtcp(&sdp, 0, &port, &a));
	assert_int_equal(port, 53020);
	assert_string_equal(addr_ip_str(&a, str), "192.0.2.9");
	assert_false(sdp_rtcp(&sdp, 1, &port, &a));
	assert_int_equal(sdp_direction(&sdp, 0), SDP_INACTIVE);
	assert_int_equal(sdp_direction(&sdp, 1), SDP_SENDONLY);
	assert_int_equal(sdp_ptime(&sdp, 0), 20);
	assert_int_equal(sdp_clock_rate(&sdp, 0), 48000);
	assert_true(sdp_attr(&sdp.media[0], "crypto", &value));
	assert_true(sdp_crypto_parse(value, &crypto));
	assert_int_equal(crypto.tag, 1);
	assert_true(slice_eq(crypto.key_params, SLICE("inline:abcd|2^20")));
	assert_true(slice_eq(crypto.session_params, SLICE("WSH=64")));
	assert_true(sdp_attr(&sdp.media[0], "candidate", &value));
	assert_true(sdp_candidate_parse(value, &cand));
	assert_int_equal(cand.component, 1);
	assert_int_equal(cand.addr.port, 49170);
	assert_true(sdp_attr_inherited(&sdp, 0, "x-session", &value));
	assert_false(sdp_attr(&sdp.media[0], "x-session", &value));
	sdp_fini(&sdp);
}

static void odd_values_are_not_taken(void **state)
{
	static const char *const candidates[] = {
		"",
		"1 0 UDP 1 192.0.2.1 5 typ host",
		"1 257 UDP 1 192.0.2.1 5 typ host",
		"1 1 UDP 4294967296 192.0.2.1 5 typ host",
		"1 1 UDP 1 192.0.2.1 65536 typ host",
		"1 1 UDP 1 192.0.2.1 5 type host",
		"1 1 UDP 1 192.0.2.1",
	};
	static const char *const connections[] = {
		"IN IP4 phone.example.com", "IN IP6 192.0.2.1", "IN IP4 ::1",	    "IN IP4",
		"IN IP4 192.0.2.256",	    "IN IP6 [::1]",	"XX IP4 192.0.2.1",
	};
	struct sdp_candidate cand;
	struct sdp_crypto crypto;
	struct addr a;

	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++)
		assert_false(sdp_candidate_parse(text(candidates[i]), &cand));
	assert_true(sdp_candidate_parse(text("1 1 udp 1 abc.local 5 typ host"), &cand));
	assert_int_equal(cand.addr.family, ADDR_NONE);
	assert_false(sdp_crypto_parse(text("1234567890 A inline:x"), &crypto));
	assert_false(sdp_crypto_parse(text("x A inline:x"), &crypto));
	assert_false(sdp_crypto_parse(text("1 A"), &crypto));
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++) {
		char s[256];
		struct sdp sdp;

		snprintf(s, sizeof(s), HEAD "m=audio 9 RTP/AVP 0\r\nc=%s\r\n", connections[i]);
		assert_int_equal(sdp_parse(&sdp, text(s), NULL), 0);
		assert_false(sdp_connection(&sdp, 0, &a));
		sdp_fini(&sdp);
	}
}

static void changes_land_where_they_belong(void **state)
{
	struct sdp sdp;
	struct buf out;

	assert_int_equal(
		sdp_parse(&sdp,
			  text(HEAD "t=0 0\r\na=x\r\nm=audio 9 RTP/AVP 0\r\na=y:1\r\na=y:2\r\n"),
			  NULL),
		0);
	assert_int_equal(sdp_set(&sdp, &sdp.session, 'c', "IN IP4 %s", "198.51.100.7"), 0);
	assert_int_equal(sdp_set(&sdp, &sdp.session, 'o', "- 5 6 IN IP4 198.51.100.7"), 0);
	assert_int_equal(sdp_set(&sdp, &sdp.media[0], 'c', "IN IP4 0.0.0.0"), 0);
	assert_int_equal(sdp_line_set(&sdp, &sdp.media[0], 0, "audio %u RTP/AVP 0", 40000u), 0);
	assert_int_equal(sdp_attr_add(&sdp, &sdp.media[0], "rtcp-mux"), 0);
	sdp_attr_del(&sdp.media[0], "y");
	buf_init(&out, SDP_MAX_BYTES);
	sdp_print(&sdp, &out);
	assert_string_equal(out.p, "v=0\r\no=- 5 6 IN IP4 198.51.100.7\r\ns=-\r\n"
				   "c=IN IP4 198.51.100.7\r\nt=0 0\r\na=x\r\n"
				   "m=audio 40000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\n");
	buf_fini(&out);
	sdp_fini(&sdp);
}

static void clock_rates_by_type(void **state)
{
	static const struct {
		const char *m;
		uint32_t rate;
	} rows[] = {
		{ "m=audio 9 RTP/AVP 0\r\n", 8000 },
		{ "m=audio 9 RTP/AVP 9\r\n", 8000 }, /* G.722, by the book's old mistake */
		{ "m=video 9 RTP/AVP 34\r\n", 90000 },
		{ "m=video 9 RTP/AVP 97\r\na=rtpmap:96 a/1\r\na=rtpmap:97 H264/90000\r\n", 90000 },
		{ "m=audio 9 RTP/AVP 97\r\na=rtpmap:97 broken\r\n", 8000 },
		{ "m=audio 9 RTP/AVP 97\r\na=rtpmap:97 zero/0\r\n", 8000 },
		{ "m=application 9 UDP/BFCP *\r\n", 8000 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char s[256];
		struct sdp sdp;

		snprintf(s, sizeof(s), HEAD "%s", rows[i].m);
		assert_int_equal(sdp_parse(&sdp, text(s), NULL), 0);
		assert_int_equal(sdp_clock_rate(&sdp, 0), rows[i].rate);
		sdp_fini(&sdp);
	}
}

static void parse_and_change(void *arg)
{
	struct sdp sdp;
	struct buf out;

	if (sdp_parse(&sdp, text(FULL), NULL) < 0)
		return;
	(void)sdp_set(&sdp, &sdp.session, 'k', "clear:x");
	for (unsigned i = 0; i < 40; i++)
		(void)sdp_attr_add(&sdp, &sdp.media[0], "n:%u", i);
	buf_init(&out, SDP_MAX_BYTES);
	sdp_print(&sdp, &out);
	buf_fini(&out);
	sdp_fini(&sdp);
}

static void want_of_memory_is_survived(void **state)
{
	assert_true(alloc_fail_sweep(parse_and_change, NULL) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(print_is_lossless),
		cmocka_unit_test(line_ends_are_tolerated),
		cmocka_unit_test(refusals_name_the_line),
		cmocka_unit_test(bounds_hold),
		cmocka_unit_test(accessors_read),
		cmocka_unit_test(odd_values_are_not_taken),
		cmocka_unit_test(changes_land_where_they_belong),
		cmocka_unit_test(clock_rates_by_type),
		cmocka_unit_test(want_of_memory_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
