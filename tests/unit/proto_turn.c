/* ChannelData, and frames on a stream however it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/stun.h"
#include "proto/turn.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static bool decode(const void *p, size_t n, uint16_t *number, size_t *n_data)
{
	uint8_t *exact = malloc(n ? n : 1);
	struct slice data;
	bool good;

	if (n)
		memcpy(exact, p, n);
	good = turn_channel_decode(exact, n, number, &data);
	if (good) {
		assert_ptr_equal(data.p, exact + 4);
		*n_data = data.n;
	}
	free(exact);
	return good;
}

static void test_channel(void **state)
{
	static uint8_t raw[4 + 65535 + 1];
	uint16_t number = 0;
	size_t n_data = 0;

	turn_channel_header(raw, 0x4001, 5);
	assert_memory_equal(raw, "\x40\x01\x00\x05", 4);
	assert_true(decode(raw, 9, &number, &n_data));
	assert_int_equal(number, 0x4001);
	assert_int_equal(n_data, 5);
	/* Padding and more is ignored, less is not enough (RFC 8656 12.5, 12.6). */
	assert_true(decode(raw, 12, &number, &n_data) && n_data == 5);
	assert_true(decode(raw, 100, &number, &n_data) && n_data == 5);
	for (size_t n = 0; n < 9; n++)
		assert_false(decode(raw, n, &number, &n_data));
	turn_channel_header(raw, 0x4fff, 0);
	assert_true(decode(raw, 4, &number, &n_data) && n_data == 0 && number == 0x4fff);
	turn_channel_header(raw, 0x4000, 65535);
	assert_true(decode(raw, 4 + 65535, &number, &n_data) && n_data == 65535);
	assert_false(decode(raw, 4 + 65534, &number, &n_data));
}

/* Every number there is. */
static void test_numbers(void **state)
{
	for (uint32_t v = 0; v < 65536; v++) {
		uint8_t raw[8] = { (uint8_t)(v >> 8), (uint8_t)v, 0, 4 };
		bool legal = v >= 0x4000 && v <= 0x4fff, wide = v >= 0x4000 && v < 0x8000;
		uint16_t number;
		size_t n_data, len;
		enum turn_frame f = turn_frame_look(raw, 4, TURN_CHANNEL_LAST, &len);

		assert_int_equal(turn_channel_is_legal((uint16_t)v, TURN_CHANNEL_LAST), legal);
		assert_int_equal(turn_channel_is_legal((uint16_t)v, TURN_CHANNEL_LAST_5766),
				 wide && v != 0x7fff);
		assert_int_equal(turn_is_channel(raw, 2), wide);
		assert_int_equal(decode(raw, 8, &number, &n_data), wide);
		if (wide)
			assert_int_equal(turn_frame_look(raw, 4, TURN_CHANNEL_LAST_5766, &len),
					 TURN_FRAME_CHANNEL);
		assert_int_equal(f, legal	 ? TURN_FRAME_CHANNEL
				    : v < 0x4000 ? TURN_FRAME_MORE
						 : TURN_FRAME_BAD);
		if (legal)
			assert_int_equal(len, 8);
	}
	assert_false(turn_is_channel(NULL, 0));
}

static void test_padding(void **state)
{
	for (size_t n = 0; n < 70000; n++) {
		assert_in_range(turn_padding(n), 0, 3);
		assert_int_equal((n + turn_padding(n)) % 4, 0);
	}
	for (uint32_t n = 0; n < 65536; n++) {
		uint8_t raw[4];
		size_t len = 0;

		turn_channel_header(raw, 0x4000, n);
		assert_int_equal(turn_frame_look(raw, 4, TURN_CHANNEL_LAST, &len),
				 TURN_FRAME_CHANNEL);
		assert_int_equal(len, 4 + (n + 3) / 4 * 4);
	}
}

static void test_stun_frames(void **state)
{
	static const uint8_t head[20] = { 0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42 };
	size_t len = 0;

	for (size_t n = 0; n <= 20; n++) {
		uint8_t *exact = malloc(n ? n : 1);

		memcpy(exact, head, n);
		assert_int_equal(turn_frame_look(exact, n, TURN_CHANNEL_LAST, &len),
				 n < 8 ? TURN_FRAME_MORE : TURN_FRAME_STUN);
		free(exact);
	}
	assert_int_equal(len, 28);
	/* Wrong bits are seen as soon as they are there. */
	for (size_t i = 0; i < 8; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			uint8_t raw[20];
			bool bad = i >= 4 || (i == 0 && bit >= 6) || (i == 3 && bit < 2);
			enum turn_frame f;

			memcpy(raw, head, sizeof(raw));
			raw[i] ^= (uint8_t)(1u << bit);
			f = turn_frame_look(raw, 20, TURN_CHANNEL_LAST, &len);
			if (i == 0 && bit == 6) {
				assert_int_equal(f, TURN_FRAME_CHANNEL); /* 0x4003 */
				continue;
			}
			assert_int_equal(f, bad ? TURN_FRAME_BAD : TURN_FRAME_STUN);
			for (size_t n = i + 1; bad && n < 20; n++)
				assert_int_equal(turn_frame_look(raw, n, TURN_CHANNEL_LAST, &len),
						 TURN_FRAME_BAD);
		}
	}
	/* The longest there is. */
	assert_int_equal(turn_frame_look((const uint8_t *)"\0\1\xff\xfc\x21\x12\xa4\x42", 8,
					 TURN_CHANNEL_LAST, &len),
			 TURN_FRAME_STUN);
	assert_int_equal(len, 20 + 65532);
}

/* What else is sent to such a port is no frame, from the first byte or the second look. */
static void test_garbage(void **state)
{
	static const char *const rows[] = {
		"GET / HTTP/1.1\r\n",
		"\x16\x03\x01\x02\x00\x01",
		"SSH-2.0-x\r\n",
		"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
		"\x80\x80\x80\x80",
		"\xff\xff",
		"OPTIONS sip:x SIP/2.0\r\n",
		"\x50\x00\x00\x04zzzz",
	};
	size_t len;

	for (size_t i = 0; i < N(rows); i++) {
		size_t n = strlen(rows[i]);
		enum turn_frame f = turn_frame_look((const uint8_t *)rows[i], n > 20 ? 20 : n,
						    TURN_CHANNEL_LAST, &len);

		/* Letters from @ to O are channel numbers as well: "GET " has a length then, and
		 * no such channel. */
		if (rows[i][0] >= 0x40 && rows[i][0] <= 0x4f)
			assert_int_equal(f, TURN_FRAME_CHANNEL);
		else
			assert_int_equal(f, TURN_FRAME_BAD);
	}
}

/* Three messages, cut everywhere: always the same frames. */
static void test_cuts(void **state)
{
	uint8_t stream[200], tid[STUN_TID_BYTES] = { 1 };
	size_t ends[3], n = 0;
	struct stun_build b;

	stun_build_start(&b, stream, sizeof(stream), STUN_CLASS_REQUEST, STUN_METHOD_ALLOCATE, tid);
	stun_build_software(&b, SLICE("abc"));
	ends[0] = n = stun_build_end(&b);
	turn_channel_header(stream + n, 0x4005, 7);
	memset(stream + n + 4, 'x', 8);
	ends[1] = n += 12;
	stun_build_start(&b, stream + n, sizeof(stream) - n, STUN_CLASS_REQUEST,
			 STUN_METHOD_REFRESH, tid);
	stun_build_fingerprint(&b);
	ends[2] = n += stun_build_end(&b);
	for (size_t cut = 0; cut <= n; cut++) {
		size_t at = 0, seen = 0, have = cut;

		for (int part = 0; part < 2; part++, have = n) {
			size_t len;

			while (have > at) {
				enum turn_frame f = turn_frame_look(stream + at, have - at,
								    TURN_CHANNEL_LAST, &len);

				assert_int_not_equal(f, TURN_FRAME_BAD);
				assert_false(f == TURN_FRAME_MORE && have - at >= 20);
				if (f == TURN_FRAME_MORE || len > have - at)
					break;
				assert_int_equal(f,
						 seen == 1 ? TURN_FRAME_CHANNEL : TURN_FRAME_STUN);
				at += len;
				assert_int_equal(at, ends[seen++]);
			}
		}
		assert_int_equal(seen, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channel), cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_padding), cmocka_unit_test(test_stun_frames),
		cmocka_unit_test(test_garbage), cmocka_unit_test(test_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
