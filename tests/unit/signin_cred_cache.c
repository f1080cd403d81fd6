/* The credential cache: life, bound, no password in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signin/cred_cache.h"
#include "support/alloc_fail.h"

static const uint8_t random_bytes[48] = { 1, 2, 3 };

static struct signin_credentials cred(const char *domain, const char *user, const char *password)
{
	struct signin_credentials c = { 0 };

	slice_copy(c.domain, sizeof(c.domain), slice_of(domain));
	slice_copy(c.user, sizeof(c.user), slice_of(user));
	slice_copy(c.password, sizeof(c.password), slice_of(password));
	return c;
}

static void put(struct cred_cache *c, const char *user, const char *password, int64_t now)
{
	struct signin_credentials k = cred("d", user, password);
	uint8_t tag[CRED_TAG_BYTES];

	cred_cache_tag(c, &k, tag);
	cred_cache_put(c, tag, now);
}

static bool has(struct cred_cache *c, const char *user, const char *password, int64_t now)
{
	struct signin_credentials k = cred("d", user, password);
	uint8_t tag[CRED_TAG_BYTES];

	cred_cache_tag(c, &k, tag);
	return cred_cache_has(c, tag, now);
}

static void test_life(void **state)
{
	struct cred_cache *c = cred_cache_new(random_bytes);

	cred_cache_configure(c, 10, 1000);
	put(c, "alice", "one", 0);
	assert_true(has(c, "alice", "one", 999));
	assert_false(has(c, "alice", "two", 0));
	assert_false(has(c, "bob", "one", 0));
	assert_int_equal(cred_cache_count(c), 1); /* guessing drops nothing */
	put(c, "alice", "one", 500);		  /* checked again */
	assert_true(has(c, "alice", "one", 1499));
	assert_false(has(c, "alice", "one", 1500));
	assert_int_equal(cred_cache_count(c), 0);
	put(c, "alice", "one", 2000);
	put(c, "bob", "one", 2500);
	assert_int_equal(cred_cache_sweep(c, 3000), 1);
	assert_true(has(c, "bob", "one", 3000));
	cred_cache_free(c);
}

static void test_bound(void **state)
{
	struct cred_cache *c = cred_cache_new(random_bytes);

	put(c, "a", "x", 0); /* nothing fits before it is configured */
	assert_int_equal(cred_cache_count(c), 0);
	cred_cache_configure(c, 2, 1000);
	put(c, "a", "x", 0);
	put(c, "b", "x", 0);
	assert_true(has(c, "a", "x", 1)); /* used: b is the oldest now */
	put(c, "c", "x", 1);
	assert_int_equal(cred_cache_count(c), 2);
	assert_true(has(c, "a", "x", 1));
	assert_false(has(c, "b", "x", 1));
	cred_cache_configure(c, 1, 1000);
	assert_int_equal(cred_cache_count(c), 1);
	cred_cache_configure(c, 1, 0);
	put(c, "d", "x", 1);
	assert_false(has(c, "d", "x", 1));
	cred_cache_free(c);
}

/* Parts that run together are not the same. */
static void test_tags(void **state)
{
	static const struct {
		const char *d, *u, *p;
	} rows[] = {
		{ "ab", "c", "d" }, { "a", "bc", "d" }, { "ab", "cd", "" }, { "", "abc", "d" }
	};
	uint8_t tags[4][CRED_TAG_BYTES], other[CRED_TAG_BYTES], random2[48] = { 9 };
	struct cred_cache *c = cred_cache_new(random_bytes), *c2 = cred_cache_new(random2);
	struct signin_credentials k;

	for (size_t i = 0; i < 4; i++) {
		k = cred(rows[i].d, rows[i].u, rows[i].p);
		cred_cache_tag(c, &k, tags[i]);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(tags[i], tags[j], CRED_TAG_BYTES);
	}
	/* another run, other tags */
	cred_cache_tag(c2, &k, other);
	assert_memory_not_equal(tags[3], other, CRED_TAG_BYTES);
	cred_cache_put(c, tags[0], 0);
	cred_cache_drop(c, tags[1]);
	cred_cache_configure(c, 4, 1000);
	cred_cache_put(c, tags[0], 0);
	cred_cache_drop(c, tags[0]);
	assert_false(cred_cache_has(c, tags[0], 0));
	cred_cache_free(c);
	cred_cache_free(c2);
}

static void one_run(void *arg)
{
	struct cred_cache *c = cred_cache_new(random_bytes);

	if (!c)
		return;
	cred_cache_configure(c, 2, 1000);
	put(c, "a", "x", 0);
	put(c, "b", "x", 0);
	put(c, "c", "x", 0);
	assert_false(has(c, "d", "x", 0));
	cred_cache_free(c);
}

static void test_alloc(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_life),
					    cmocka_unit_test(test_bound),
					    cmocka_unit_test(test_tags),
					    cmocka_unit_test(test_alloc) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
