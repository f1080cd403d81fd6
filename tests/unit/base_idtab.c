#include "base/idtab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

static void test_basics(void **state)
{
	struct idtab t;
	int a, b;
	uint64_t ia, ib;

	idtab_init(&t, 10);
	assert_null(idtab_get(&t, 0));
	assert_null(idtab_get(&t, 1ULL << 32));
	idtab_del(&t, 7);
	ia = idtab_add(&t, &a);
	ib = idtab_add(&t, &b);
	assert_int_not_equal(ia, 0);
	assert_int_not_equal(ia, ib);
	assert_ptr_equal(idtab_get(&t, ia), &a);
	assert_ptr_equal(idtab_get(&t, ib), &b);
	assert_null(idtab_get(&t, 0));
	assert_null(idtab_get(&t, UINT64_MAX));
	assert_int_equal(t.n_used, 2);
	idtab_del(&t, ia);
	assert_null(idtab_get(&t, ia));
	assert_int_equal(t.n_used, 1);
	idtab_fini(&t);
	assert_null(idtab_get(&t, ib));
	idtab_fini(&t);
}

/* An id kept too long finds nothing, though its slot lives again. */
static void test_stale(void **state)
{
	struct idtab t;
	int a, b;
	uint64_t old, id;

	idtab_init(&t, 1);
	old = idtab_add(&t, &a);
	idtab_del(&t, old);
	id = idtab_add(&t, &b);
	assert_int_equal((uint32_t)old, (uint32_t)id);
	assert_int_not_equal(old, id);
	assert_null(idtab_get(&t, old));
	/* A second delete of the old id must not touch the new one. */
	idtab_del(&t, old);
	assert_ptr_equal(idtab_get(&t, id), &b);
	assert_int_equal(t.n_used, 1);
	idtab_fini(&t);
}

static void test_generation_wrap(void **state)
{
	struct idtab t;
	int a;
	uint64_t id;

	idtab_init(&t, 1);
	id = idtab_add(&t, &a);
	t.slots[0].generation = UINT32_MAX;
	id = (uint64_t)UINT32_MAX << 32 | (uint32_t)id;
	assert_ptr_equal(idtab_get(&t, id), &a);
	idtab_del(&t, id);
	id = idtab_add(&t, &a);
	assert_int_not_equal(id, 0);
	assert_int_equal(id >> 32, 1);
	idtab_fini(&t);
}

static void check_bound(uint32_t max)
{
	uint64_t *ids = calloc(max + 1, sizeof(*ids));
	struct idtab t;
	int a;

	idtab_init(&t, max);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < max; i++) {
			ids[i] = idtab_add(&t, &a);
			assert_int_not_equal(ids[i], 0);
		}
		assert_int_equal(idtab_add(&t, &a), 0);
		assert_int_equal(t.n_used, max);
		assert_true(t.n_slots <= max);
		for (uint32_t i = 0; i < max; i++) {
			assert_ptr_equal(idtab_get(&t, ids[i]), &a);
			idtab_del(&t, ids[i]);
			assert_null(idtab_get(&t, ids[i]));
		}
		assert_int_equal(t.n_used, 0);
	}
	idtab_fini(&t);
	free(ids);
}

static void test_bounds(void **state)
{
	static const uint32_t bounds[] = { 0, 1, 2, 63, 64, 65, 127, 128, 129, 1000 };

	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
		check_bound(bounds[i]);
}

static void run_adds(void *arg)
{
	struct idtab t;
	uint32_t n = 0;
	int a;

	idtab_init(&t, 1000);
	while (n < 1000 && idtab_add(&t, &a) != 0)
		n++;
	assert_int_equal(n < 1000, alloc_fail_hit());
	assert_int_equal(t.n_used, n);
	/* The failure passes: the table goes on. */
	while (n < 1000) {
		assert_int_not_equal(idtab_add(&t, &a), 0);
		n++;
	}
	idtab_fini(&t);
}

static void test_no_memory(void **state)
{
	assert_int_equal(alloc_fail_sweep(run_adds, NULL), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_basics),		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_generation_wrap), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
