/* argon2id hashes as text: what may stand in the file, and that they verify. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <argon2.h>

#include "signin/password_hash.h"

#define SALT "c29tZXNhbHQ"
#define HASH "AAECAwQFBgcICQoLDA0ODw"

static bool good(const char *text)
{
	struct password_hash_cost cost;
	const char *why = NULL;
	bool ok = password_hash_parse(slice_of(text), &cost, &why);

	assert_true(ok || why);
	return ok;
}

static void test_parse(void **state)
{
	static const char *const bad[] = {
		"",
		"secret",
		"$argon2i$v=19$m=65536,t=3,p=1$" SALT "$" HASH,
		"$argon2id$v=16$m=65536,t=3,p=1$" SALT "$" HASH,
		"$argon2id$m=65536,t=3,p=1$" SALT "$" HASH,
		"$argon2id$v=19$m=262145,t=3,p=1$" SALT "$" HASH,
		"$argon2id$v=19$m=65536,t=11,p=1$" SALT "$" HASH,
		"$argon2id$v=19$m=65536,t=0,p=1$" SALT "$" HASH,
		"$argon2id$v=19$m=65536,t=3,p=17$" SALT "$" HASH,
		"$argon2id$v=19$m=65536,t=3,p=0$" SALT "$" HASH,
		"$argon2id$v=19$m=7,t=3,p=1$" SALT "$" HASH,
		"$argon2id$v=19$t=3,m=65536,p=1$" SALT "$" HASH,
		"$argon2id$v=19$m=65536,t=3,p=1$c29t$" HASH,
		"$argon2id$v=19$m=65536,t=3,p=1$" SALT "$" SALT,
		"$argon2id$v=19$m=65536,t=3,p=1$" SALT "$" HASH "$",
		"$argon2id$v=19$m=65536,t=3,p=1$" SALT "$" HASH "==",
		"x$argon2id$v=19$m=65536,t=3,p=1$" SALT "$" HASH,
		"$argon2id$v=19$m=65536,t=3,p=1$" SALT,
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (good(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	assert_true(good("$argon2id$v=19$m=262144,t=10,p=16$" SALT "$" HASH));
	assert_true(good("$argon2id$v=19$m=8,t=1,p=1$" SALT "$" HASH));
	assert_true(good(password_hash_dummy));
}

static void test_verify(void **state)
{
	char encoded[PASSWORD_HASH_BYTES];

	assert_int_equal(argon2id_hash_encoded(1, 64, 1, "secret", 6, "somesalt", 8, 32, encoded,
					       sizeof(encoded)),
			 ARGON2_OK);
	assert_true(good(encoded));
	assert_true(password_hash_verify(encoded, "secret"));
	assert_false(password_hash_verify(encoded, "Secret"));
	assert_false(password_hash_verify(encoded, ""));
	/* The dummy can be verified (else it would cost nothing), and is of no password we know. */
	assert_int_equal(argon2id_verify(password_hash_dummy, "", 0), ARGON2_VERIFY_MISMATCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse),
					    cmocka_unit_test(test_verify) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
