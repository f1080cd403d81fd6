/* Dialback keys: the published examples of XEP-0185 and XEP-0220, and the comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "xmpp/s2s.h"

static void published_examples(void **state)
{
	static const struct {
		const char *secret, *receiving, *originating, *id, *key;
	} examples[] = {
		{ "s3cr3tf0rd14lb4ck", "xmpp.example.com", "example.org", "D60000229F",
		  "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643" },
		{ "s3cr3tf0rd14lb4ck", "montague.example", "capulet.example", "D60000229F",
		  "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3" },
		{ "d14lb4ck43v3r", "capulet.example", "montague.example", "417GAF25",
		  "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d" },
	};
	char key[DIALBACK_KEY_BYTES];

	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		dialback_key(slice_of(examples[i].secret), examples[i].receiving,
			     examples[i].originating, examples[i].id, key);
		assert_string_equal(key, examples[i].key);
	}
}

/* Nothing of it can be left out or swapped. */
static void every_part_counts(void **state)
{
	char key[DIALBACK_KEY_BYTES], other[DIALBACK_KEY_BYTES];

	dialback_key(SLICE("secret"), "a.example", "b.example", "1", key);
	dialback_key(SLICE("Secret"), "a.example", "b.example", "1", other);
	assert_false(dialback_key_is(slice_of(other), key));
	dialback_key(SLICE("secret"), "b.example", "a.example", "1", other);
	assert_false(dialback_key_is(slice_of(other), key));
	dialback_key(SLICE("secret"), "a.example", "b.example", "2", other);
	assert_false(dialback_key_is(slice_of(other), key));
	dialback_key(SLICE("secret"), "a.example", "b.example", "1", other);
	assert_true(dialback_key_is(slice_of(other), key));
}

static void comparison(void **state)
{
	char key[DIALBACK_KEY_BYTES], none[DIALBACK_KEY_BYTES] = "";

	dialback_key(SLICE("secret"), "a.example", "b.example", "1", key);
	assert_true(dialback_key_is(slice_of(key), key));
	assert_false(dialback_key_is((struct slice){ key, 63 }, key));
	assert_false(dialback_key_is((struct slice){ key, 0 }, key));
	assert_false(dialback_key_is(SLICE_NONE, key));
	/* What could not be made is like nothing, not even like nothing. */
	assert_false(dialback_key_is(slice_of(key), none));
	assert_false(dialback_key_is(SLICE_NONE, none));
	key[63] ^= 1;
	assert_false(dialback_key_is(
		(struct slice){ "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643",
				64 },
		key));
}

static void without_memory(void **state)
{
	char key[DIALBACK_KEY_BYTES] = "x";

	alloc_fail_at(1);
	dialback_key(SLICE("secret"), "a.example", "b.example", "1", key);
	if (alloc_fail_hit())
		assert_string_equal(key, "");
	alloc_fail_at(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_examples),
		cmocka_unit_test(every_part_counts),
		cmocka_unit_test(comparison),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
