#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

/* RFC 4648 section 10. */
static void test_vectors(void **state)
{
	static const char *const rows[][3] = {
		{ "", "", "" },
		{ "f", "Zg==", "Zg" },
		{ "fo", "Zm8=", "Zm8" },
		{ "foo", "Zm9v", "Zm9v" },
		{ "foob", "Zm9vYg==", "Zm9vYg" },
		{ "fooba", "Zm9vYmE=", "Zm9vYmE" },
		{ "foobar", "Zm9vYmFy", "Zm9vYmFy" },
		{ "\xfb\xff\xfe", "+//+", "-__-" },
	};
	uint8_t out[16];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		long n = (long)strlen(rows[i][0]);
		struct buf b;

		buf_init(&b, 100);
		base64_encode(&b, rows[i][0], (size_t)n);
		assert_true(slice_eq(buf_slice(&b), slice_of(rows[i][1])));
		buf_reset(&b);
		base64url_encode(&b, rows[i][0], (size_t)n);
		assert_true(slice_eq(buf_slice(&b), slice_of(rows[i][2])));
		buf_fini(&b);
		for (int form = 1; form <= 2; form++) {
			assert_int_equal(base64_decode(slice_of(rows[i][form]), out, 16), n);
			assert_memory_equal(out, rows[i][0], (size_t)n);
		}
	}
}

static void test_bad_text(void **state)
{
	static const char *const bad[] = {
		"A",
		"AAAAA",
		"=",
		"==",
		"===",
		"====",
		"A=",
		"A==",
		"A===",
		"AA=",
		"AAA==",
		"AA=A",
		"=AAA",
		"AA==AA==",
		"AA===",
		"A A=",
		"AAA\n",
		"AA.A",
		"A\xc1"
		"AA",
		"AB==",
		"AAB=",
		"AB",
		"AAB",
		"AAAA=",
		"AAAA==",
		"Zm9v====",
	};
	uint8_t out[16];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(base64_decode(slice_of(bad[i]), out, sizeof(out)), -1);
	assert_int_equal(base64_decode(SLICE("AA\0A"), out, sizeof(out)), -1);
	assert_int_equal(base64_decode(SLICE_NONE, out, sizeof(out)), 0);
}

static void test_bounds(void **state)
{
	for (size_t n = 0; n < 100; n++) {
		/* Blocks of exact size, so that ASan sees one byte too many. */
		uint8_t *in = malloc(n + 1), *out = malloc(n ? n : 1);
		struct buf b;

		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)(i * 37 + n);
		buf_init(&b, 200);
		base64_encode(&b, in, n);
		assert_int_equal(b.n, (n + 2) / 3 * 4);
		assert_int_equal(base64_decode(buf_slice(&b), out, n), n);
		assert_memory_equal(in, out, n);
		if (n > 0)
			assert_int_equal(base64_decode(buf_slice(&b), out, n - 1), -1);
		buf_reset(&b);
		hex_encode(&b, in, n);
		assert_int_equal(b.n, 2 * n);
		assert_int_equal(hex_decode(buf_slice(&b), out, n), n);
		assert_memory_equal(in, out, n);
		if (n > 0)
			assert_int_equal(hex_decode(buf_slice(&b), out, n - 1), -1);
		buf_fini(&b);
		free(in);
		free(out);
	}
}

static void test_hex(void **state)
{
	uint8_t out[4];
	struct buf b;

	buf_init(&b, 10);
	hex_encode(&b, "\x00\x9a\xff", 3);
	assert_string_equal(b.p, "009aff");
	buf_fini(&b);
	assert_int_equal(hex_decode(SLICE("009AfF"), out, 4), 3);
	assert_memory_equal(out, "\x00\x9a\xff", 3);
	assert_int_equal(hex_decode(SLICE("0"), out, 4), -1);
	assert_int_equal(hex_decode(SLICE("0g"), out, 4), -1);
	assert_int_equal(hex_decode(SLICE("/0"), out, 4), -1);
	assert_int_equal(hex_decode(SLICE_NONE, out, 4), 0);
}

static void test_full_buffer(void **state)
{
	struct buf b;

	buf_init(&b, 7);
	base64_encode(&b, "abcdef", 6);
	assert_true(b.failed);
	buf_fini(&b);
}

static void run_encode(void *arg)
{
	struct buf b;

	buf_init(&b, 4000);
	base64_encode(&b, arg, 1000);
	assert_int_equal(b.failed, alloc_fail_hit());
	buf_fini(&b);
}

static void test_no_memory(void **state)
{
	static uint8_t zeros[1000];

	assert_true(alloc_fail_sweep(run_encode, zeros) > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),	    cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_bounds),	    cmocka_unit_test(test_hex),
		cmocka_unit_test(test_full_buffer), cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
