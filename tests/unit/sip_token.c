/* The codec of tokens in URIs (sip/token.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "sip/token.h"

static const uint8_t key[TOKEN_KEY_BYTES] = { 1, 2, 3 };
static const uint8_t other_key[TOKEN_KEY_BYTES] = { 1, 2, 4 };

static struct token sample(const char *zone)
{
	struct token t = { .kind = TOKEN_PEER, .boot = 0xfedcba98, .id = 0x123456789abcdef0 };

	slice_copy(t.zone, sizeof(t.zone), slice_of(zone));
	return t;
}

static void print(struct buf *out, const struct token *t)
{
	buf_init(out, 256);
	token_print(out, key, t);
	assert_false(out->failed);
}

static void round_trip(void **state)
{
	static const enum token_kind kinds[] = { TOKEN_FLOW, TOKEN_PEER, TOKEN_REGISTRATION };

	for (size_t i = 0; i < 3; i++) {
		struct token t = sample("to-edge"), back;
		struct buf out;

		t.kind = kinds[i];
		print(&out, &t);
		assert_true(slice_starts(buf_slice(&out), SLICE("tp")));
		assert_int_equal(token_parse(buf_slice(&out), key, &back), TOKEN_OK);
		assert_int_equal(back.kind, kinds[i]);
		assert_int_equal(back.boot, t.boot);
		assert_true(back.id == t.id);
		assert_string_equal(back.zone, "to-edge");
		buf_fini(&out);
	}
}

/* Every byte of the user part has to pass a URI without escapes. */
static void fits_a_uri(void **state)
{
	struct token t = sample("zone");
	struct buf out;

	print(&out, &t);
	for (size_t i = 0; i < out.n; i++)
		assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789-_",
				       out.p[i]));
	buf_fini(&out);
}

static void shortest_and_longest(void **state)
{
	char zone[TOKEN_ZONE_BYTES];
	struct token t, back;
	struct buf out;

	t = sample("");
	print(&out, &t);
	assert_int_equal(token_parse(buf_slice(&out), key, &back), TOKEN_OK);
	assert_string_equal(back.zone, "");
	buf_fini(&out);

	memset(zone, 'z', sizeof(zone) - 1);
	zone[sizeof(zone) - 1] = '\0';
	t = sample(zone);
	print(&out, &t);
	assert_int_equal(out.n, TOKEN_MAX_CHARS);
	assert_int_equal(token_parse(buf_slice(&out), key, &back), TOKEN_OK);
	assert_string_equal(back.zone, zone);
	buf_add_char(&out, 'A');
	assert_int_equal(token_parse(buf_slice(&out), key, &back), TOKEN_NONE);
	buf_fini(&out);
}

static void other_key_is_forged(void **state)
{
	struct token t = sample("z"), back = { .id = 77 };
	struct buf out;

	print(&out, &t);
	assert_int_equal(token_parse(buf_slice(&out), other_key, &back), TOKEN_FORGED);
	assert_int_equal(back.id, 77);
	buf_fini(&out);
}

/* Whatever single bit changes, it is no longer accepted: not even bits that no byte holds. */
static void every_bit_counts(void **state)
{
	static const char *const zones[] = { "", "a", "ab", "abc" };

	for (size_t z = 0; z < 4; z++) {
		struct token t = sample(zones[z]), back;
		struct buf out;

		print(&out, &t);
		for (size_t i = 0; i < out.n * 8; i++) {
			out.p[i / 8] ^= (char)(1 << (i % 8));
			assert_int_not_equal(token_parse(buf_slice(&out), key, &back), TOKEN_OK);
			out.p[i / 8] ^= (char)(1 << (i % 8));
		}
		assert_int_equal(token_parse(buf_slice(&out), key, &back), TOKEN_OK);
		buf_fini(&out);
	}
}

/* The same bytes in the other spelling of base64 are no second name for the flow. */
static void one_spelling(void **state)
{
	struct token t = sample("a"), back;
	struct buf out;

	/* 30 raw bytes: the text ends without padding; padding by hand and '+' for '-' must fail.
	 */
	print(&out, &t);
	buf_add_char(&out, '=');
	assert_int_not_equal(token_parse(buf_slice(&out), key, &back), TOKEN_OK);
	out.n--;
	for (uint64_t id = 1; id < 200; id++) {
		char *dash;

		t.id = id;
		buf_reset(&out);
		token_print(&out, key, &t);
		dash = memchr(out.p, '-', out.n);
		if (!dash)
			continue;
		*dash = '+';
		assert_int_equal(token_parse(buf_slice(&out), key, &back), TOKEN_FORGED);
	}
	buf_fini(&out);
}

static void ordinary_users_are_none(void **state)
{
	static const char *const names[] = { "",
					     "t",
					     "tp",
					     "tpatel",
					     "alice",
					     "TPAAAA",
					     "tp.patel-with-a-rather-long-name-and-dots.in.it",
					     "+4930123456",
					     "tp!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!" };
	struct token t;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(token_parse(slice_of(names[i]), key, &t), TOKEN_NONE);
	assert_int_equal(token_parse(SLICE_NONE, key, &t), TOKEN_NONE);
}

static void cut_is_not_accepted(void **state)
{
	struct token t = sample("zone-name"), back;
	struct buf out;

	print(&out, &t);
	for (size_t n = 0; n < out.n; n++)
		assert_int_not_equal(token_parse((struct slice){ out.p, n }, key, &back), TOKEN_OK);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(fits_a_uri),
		cmocka_unit_test(shortest_and_longest),
		cmocka_unit_test(other_key_is_forged),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(one_spelling),
		cmocka_unit_test(ordinary_users_are_none),
		cmocka_unit_test(cut_is_not_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
