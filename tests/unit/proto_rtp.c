#include "proto/rtp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_demux(void **state)
{
	for (unsigned first = 0; first < 256; first++) {
		for (unsigned second = 0; second < 256; second++) {
			uint8_t p[2] = { (uint8_t)first, (uint8_t)second };
			enum rtp_demux want = RTP_DEMUX_QUIC;

			if (first < 4)
				want = RTP_DEMUX_STUN;
			else if (first < 16)
				want = RTP_DEMUX_NONE;
			else if (first < 20)
				want = RTP_DEMUX_ZRTP;
			else if (first < 64)
				want = RTP_DEMUX_DTLS;
			else if (first < 80)
				want = RTP_DEMUX_CHANNEL;
			else if (first >= 128 && first < 192)
				want = second >= 192 && second <= 223 ? RTP_DEMUX_RTCP
								      : RTP_DEMUX_RTP;
			assert_int_equal(rtp_demux(p, 2), want);
		}
	}
	assert_int_equal(rtp_demux((const uint8_t *)"\x80", 1), RTP_DEMUX_NONE);
	assert_int_equal(rtp_demux(NULL, 0), RTP_DEMUX_NONE);
}

static void test_header(void **state)
{
	static const uint8_t p[] = {
		0xb2, 0x88, 0x12, 0x34, 0x01, 0x02, 0x03, 0x04, 0xa1, 0xb2,
		0xc3, 0xd4, 1,	  1,	1,    1,    2,	  2,	2,    2, /* two CSRCs */
		0xbe, 0xde, 0x00, 0x01, 0x10, 0xff, 0x00, 0x00,		 /* extension of one word */
		'd',  'a',  't',  'a',	0,    0,    3,			 /* payload and padding */
	};
	struct rtp_header h;

	assert_int_equal(rtp_decode(p, sizeof(p), &h), 0);
	assert_true(h.padding && h.extension && h.marker);
	assert_int_equal(h.payload_type, 8);
	assert_int_equal(h.n_csrc, 2);
	assert_int_equal(h.seq, 0x1234);
	assert_int_equal(h.timestamp, 0x01020304);
	assert_int_equal(h.ssrc, 0xa1b2c3d4);
	assert_int_equal(h.ext_profile, 0xbede);
	assert_int_equal(h.ext_bytes, 4);
	assert_ptr_equal(h.ext, p + 24);
	assert_int_equal(h.header_bytes, 28);
	assert_int_equal(h.payload_bytes, 4);
	assert_int_equal(h.padding_bytes, 3);
	/* The header alone leaves the padding in. */
	assert_int_equal(rtp_decode_header(p, sizeof(p), &h), 0);
	assert_int_equal(h.payload_bytes, 7);
	assert_int_equal(h.padding_bytes, 0);
}

/* Blocks of exact size: ASan sees every read too far. */
static int decode_copy(const uint8_t *p, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);
	struct rtp_header h;
	int err;

	memcpy(exact, p, n);
	err = rtp_decode(exact, n, &h);
	free(exact);
	return err;
}

static void test_header_lengths(void **state)
{
	uint8_t p[200] = { 0x80 };
	struct rtp_header h;

	for (size_t n = 0; n < 12; n++)
		assert_int_equal(decode_copy(p, n), -EINVAL);
	assert_int_equal(decode_copy(p, 12), 0);
	for (unsigned version = 0; version < 4; version++) {
		p[0] = (uint8_t)(version << 6);
		assert_int_equal(decode_copy(p, 20), version == 2 ? 0 : -EINVAL);
	}
	for (unsigned cc = 0; cc < 16; cc++) {
		p[0] = (uint8_t)(0x80 | cc);
		if (cc > 0)
			assert_int_equal(decode_copy(p, 12 + 4 * cc - 1), -EINVAL);
		assert_int_equal(decode_copy(p, 12 + 4 * cc), 0);
		p[0] |= 0x10;
		p[12 + 4 * cc + 3] = 2;
		for (size_t n = 12; n < 12 + 4 * cc + 12; n++)
			assert_int_equal(decode_copy(p, n), -EINVAL);
		assert_int_equal(decode_copy(p, 12 + 4 * cc + 12), 0);
		p[12 + 4 * cc + 3] = 0;
	}
	/* The longest extension that can be told of. */
	p[0] = 0x90;
	p[14] = p[15] = 0xff;
	assert_int_equal(decode_copy(p, sizeof(p)), -EINVAL);
	p[14] = p[15] = 0;
	/* Padding: count 0, all of the payload, one more, and no payload at all. */
	p[0] = 0xa0;
	p[21] = 0;
	assert_int_equal(decode_copy(p, 22), -EINVAL);
	p[21] = 10;
	assert_int_equal(rtp_decode(p, 22, &h), 0);
	assert_int_equal(h.payload_bytes, 0);
	p[21] = 11;
	assert_int_equal(decode_copy(p, 22), -EINVAL);
	assert_int_equal(decode_copy(p, 12), -EINVAL);
	assert_int_equal(rtp_decode_header(p, 12, &h), 0);
}

/* An SR of one report, an SDES and a padded BYE. */
static size_t make_compound(uint8_t *p)
{
	static const uint8_t raw[] = {
		0x81, 200, 0, 12, 1, 2,	  3, 4,	   0,	0,  0, 0, 0, 0,	  0,	0,    0,    0, 0,
		0,    0,   0, 0,  5, 0,	  0, 0,	   6,	9,  8, 7, 6, 128, 0xff, 0xff, 0xfe, 0, 1,
		2,    3,   0, 0,  0, 77,  0, 0,	   0,	88, 0, 0, 0, 99,  0x81, 202,  0,    2, 1,
		2,    3,   4, 1,  1, 'a', 0, 0xa1, 203, 0,  2, 1, 2, 3,	  4,	0,    0,    0, 4,
	};

	memcpy(p, raw, sizeof(raw));
	return sizeof(raw);
}

static void test_rtcp_walk(void **state)
{
	static const uint8_t types[] = { RTCP_SR, RTCP_SDES, RTCP_BYE };
	struct rtcp_packet k, sr = { 0 };
	struct rtcp_report r;
	uint8_t p[100];
	size_t n = make_compound(p), at = 0;

	assert_int_equal(rtcp_check(p, n, false), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(rtcp_next(p, n, &at, &k));
		assert_int_equal(k.type, types[i]);
		assert_int_equal(k.count, 1);
		if (i == 0)
			sr = k;
	}
	assert_int_equal(at, n);
	assert_false(rtcp_next(p, n, &at, &k));
	assert_true(rtcp_report(&sr, 0, &r));
	assert_int_equal(r.ssrc, 0x09080706);
	assert_int_equal(r.fraction, 128);
	assert_int_equal(r.lost, -2);
	assert_int_equal(r.highest_seq, 0x00010203);
	assert_int_equal(r.jitter, 77);
	assert_int_equal(r.last_sr, 88);
	assert_int_equal(r.delay_since_sr, 99);
	assert_false(rtcp_report(&sr, 1, &r));
	assert_false(rtcp_report(&k, 0, &r));
	/* More blocks announced than there are. */
	sr.count = 31;
	assert_true(rtcp_report(&sr, 0, &r));
	assert_false(rtcp_report(&sr, 1, &r));
}

static int check_copy(const uint8_t *p, size_t n, bool reduced)
{
	uint8_t *exact = malloc(n ? n : 1);
	int err;

	memcpy(exact, p, n);
	err = rtcp_check(exact, n, reduced);
	free(exact);
	return err;
}

static void test_rtcp_check(void **state)
{
	uint8_t p[100], q[100], feedback[12] = { 0x81, 206, 0, 2 }, small[8] = { 0x80, 203, 0, 0 };
	size_t n = make_compound(p);

	/* Any cut but at the border of a packet. */
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(check_copy(p, cut, false), cut == 52 || cut == 64 ? 0 : -EINVAL);
	/* Wrong versions, first packet not SR or RR, padding not on the last. */
	for (int i = 0; i < 3; i++) {
		static const size_t starts[] = { 0, 52, 64 };

		memcpy(q, p, n);
		q[starts[i]] ^= 0x40;
		assert_int_equal(check_copy(q, n, false), -EINVAL);
		memcpy(q, p, n);
		q[starts[i]] |= 0x20;
		assert_int_equal(check_copy(q, n, false), i == 2 ? 0 : -EINVAL);
		memcpy(q, p, n);
		q[starts[i] + 1] = 191;
		assert_int_equal(check_copy(q, n, true), -EINVAL);
		q[starts[i] + 1] = 224;
		assert_int_equal(check_copy(q, n, true), -EINVAL);
		q[starts[i] + 3]++;
		assert_int_equal(check_copy(q, n, false), -EINVAL);
	}
	/* Padding counts: multiples of four, not 0, not the header. */
	for (unsigned pad = 0; pad < 256; pad++) {
		memcpy(q, p, n);
		q[n - 1] = (uint8_t)pad;
		assert_int_equal(check_copy(q, n, false), pad == 4 || pad == 8 ? 0 : -EINVAL);
	}
	/* RFC 5506: feedback alone. */
	assert_int_equal(check_copy(feedback, sizeof(feedback), false), -EINVAL);
	assert_int_equal(check_copy(feedback, sizeof(feedback), true), 0);
	/* Eight bytes are the least. */
	assert_int_equal(check_copy(small, 8, true), -EINVAL);
	small[3] = 1;
	assert_int_equal(check_copy(small, 8, true), 0);
	assert_int_equal(check_copy(small, 4, true), -EINVAL);
}

static void test_seq_extend(void **state)
{
	assert_int_equal(rtp_seq_extend(0, 0), 0);
	assert_int_equal(rtp_seq_extend(0, 32767), 32767);
	assert_int_equal(rtp_seq_extend(5, 65530), 65530); /* nothing before 0 */
	assert_int_equal(rtp_seq_extend(65535, 0), 65536);
	assert_int_equal(rtp_seq_extend(65536, 65535), 65535);
	assert_int_equal(rtp_seq_extend(65536, 32767), 65536 + 32767);
	assert_int_equal(rtp_seq_extend(65536, 32768), 32768);
	assert_int_equal(rtp_seq_extend(0xffffffffffff, 0), 0x1000000000000);
	for (uint64_t ref = 40000; ref < 40000 + 3 * 65536; ref += 997) {
		for (int64_t d = -32768; d < 32768; d += 331)
			assert_int_equal(rtp_seq_extend(ref, (uint16_t)(ref + (uint64_t)d)),
					 ref + (uint64_t)d);
	}
}

static bool feed(struct rtp_source *s, uint32_t ssrc, uint16_t seq, uint32_t timestamp,
		 uint32_t arrival)
{
	struct rtp_header h = { .ssrc = ssrc, .seq = seq, .timestamp = timestamp };

	return rtp_source_update(s, &h, 172, arrival);
}

static void test_source_counts(void **state)
{
	struct rtp_source s = { 0 };
	uint32_t i;

	assert_int_equal(rtp_source_expected(&s), 0);
	assert_int_equal(rtp_source_lost(&s), 0);
	assert_false(feed(&s, 1, 65530, 0, 0)); /* probation */
	assert_int_equal(rtp_source_expected(&s), 0);
	for (i = 1; i <= 100; i++) {
		if (i == 20 || i == 30 || i == 31)
			continue; /* lost */
		assert_true(feed(&s, 1, (uint16_t)(65530 + i), i * 160, i * 160));
	}
	assert_int_equal(rtp_source_highest(&s), 65630);
	assert_int_equal(rtp_source_expected(&s), 100);
	assert_int_equal(s.received, 97);
	assert_int_equal(rtp_source_lost(&s), 3);
	assert_int_equal(rtp_source_fraction(&s), 3 * 256 / 100);
	assert_int_equal(rtp_source_fraction(&s), 0);
	assert_int_equal(rtp_source_jitter(&s), 0);
	assert_int_equal(s.bytes, 97 * 172);
	assert_int_equal(s.restarts, 0);
	/* A late one and three duplicates: loss goes below zero. */
	assert_true(feed(&s, 1, (uint16_t)(65530 + 20), 0, 0));
	for (i = 0; i < 3; i++)
		assert_true(feed(&s, 1, (uint16_t)(65530 + 100), 0, 0));
	assert_int_equal(rtp_source_lost(&s), -1);
	assert_int_equal(rtp_source_fraction(&s), 0);
	/* All of an interval lost but its last packet. */
	assert_true(feed(&s, 1, (uint16_t)(65530 + 100 + 2000), 0, 0));
	assert_int_equal(rtp_source_fraction(&s), 255);
}

static void test_source_probation(void **state)
{
	struct rtp_source s = { 0 };

	/* A spray of unrelated numbers never becomes a source. */
	for (uint16_t seq = 1; seq < 1000; seq += 7)
		assert_false(feed(&s, 1, seq, 0, 0));
	assert_false(feed(&s, 1, 2000, 0, 0));
	assert_true(feed(&s, 1, 2001, 0, 0));
	assert_int_equal(rtp_source_expected(&s), 1);
}

static void test_source_jumps(void **state)
{
	struct rtp_source s = { 0 };
	uint32_t d;

	feed(&s, 1, 99, 0, 0);
	assert_true(feed(&s, 1, 100, 0, 0));
	/* The bounds of RFC 3550 A.1, from both sides. */
	assert_true(feed(&s, 1, 100 + 2999, 0, 0));
	d = s.max_seq;
	assert_false(feed(&s, 1, (uint16_t)(d + 3000), 0, 0));
	assert_int_equal(s.max_seq, d);
	assert_true(feed(&s, 1, (uint16_t)(d - 99), 0, 0));
	assert_false(feed(&s, 1, (uint16_t)(d - 100), 0, 0));
	assert_int_equal(s.max_seq, d);
	/* Two in a row after a jump: the other side started over. */
	assert_false(feed(&s, 1, 20000, 0, 0));
	assert_true(feed(&s, 1, 20001, 0, 0));
	assert_int_equal(s.restarts, 1);
	assert_int_equal(rtp_source_expected(&s), 1);
	/* At the wrap of the number too. */
	assert_false(feed(&s, 1, 65535, 0, 0));
	assert_true(feed(&s, 1, 0, 0, 0));
	assert_int_equal(s.restarts, 2);
	/* A new SSRC starts anew and keeps the bytes. */
	d = (uint32_t)s.bytes;
	assert_false(feed(&s, 2, 7, 0, 0));
	assert_true(feed(&s, 2, 8, 0, 0));
	assert_int_equal(s.restarts, 3);
	assert_int_equal(s.ssrc, 2);
	assert_int_equal(rtp_source_lost(&s), 0);
	assert_int_equal(s.bytes, d + 172);
}

/* RFC 3550 6.4.1: J += (|D| - J) / 16, against floating point. */
static void test_source_jitter(void **state)
{
	struct rtp_source s = { 0 };
	double want = 0;
	int32_t last = 0;

	srand(3);
	feed(&s, 1, 0, 0xfffff000, 0);
	for (uint32_t i = 1; i < 5000; i++) {
		int32_t delay = rand() % 200;

		assert_true(
			feed(&s, 1, (uint16_t)i, 0xfffff000 + i * 160, i * 160 + (uint32_t)delay));
		if (i > 1)
			want += (abs(delay - last) - want) / 16;
		last = delay;
		assert_true(abs((int)rtp_source_jitter(&s) - (int)want) <= 1);
	}
	/* Timestamps from an attacker: no overflow. */
	for (uint32_t i = 5000; i < 6000; i++)
		feed(&s, 1, (uint16_t)i, i % 2 ? 0x80000000 : 0, 0);
	assert_true(rtp_source_jitter(&s) <= 1 << 27);
}

static void test_lost_clamp(void **state)
{
	struct rtp_source s = { .active = true, .cycles = 0xff000000 };

	assert_int_equal(rtp_source_lost(&s), 0x7fffff);
	s.cycles = 0;
	s.received = 0x2000000;
	assert_int_equal(rtp_source_lost(&s), -0x800000);
}

static void test_units(void **state)
{
	assert_int_equal(rtp_units(20000, 8000), 160);
	assert_int_equal(rtp_units(1000000, 90000), 90000);
	assert_int_equal(rtp_units(0, 90000), 0);
	/* Decades of microseconds, and the wrap of 32 bits. */
	assert_int_equal(rtp_units(1000000ULL * 3600 * 24 * 365 * 100, 90000),
			 (uint32_t)(3600ULL * 24 * 365 * 100 * 90000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_demux),	       cmocka_unit_test(test_header),
		cmocka_unit_test(test_header_lengths), cmocka_unit_test(test_rtcp_walk),
		cmocka_unit_test(test_rtcp_check),     cmocka_unit_test(test_seq_extend),
		cmocka_unit_test(test_source_counts),  cmocka_unit_test(test_source_probation),
		cmocka_unit_test(test_source_jumps),   cmocka_unit_test(test_source_jitter),
		cmocka_unit_test(test_lost_clamp),     cmocka_unit_test(test_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
