#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/heap.h"

static void pass(struct timerq *q, int64_t ms)
{
	timerq_run(q, q->now_ms + ms);
}

static void test_gives_back_once_for_much(void **state)
{
	struct timerq q;
	struct heap h;

	timerq_init(&q, 1000);
	heap_init(&h, &q);
	heap_freed(&h, HEAP_WORTH_BYTES - 1);
	pass(&q, 10 * HEAP_AFTER_MS);
	assert_int_equal(h.n_trims, 0);
	heap_freed(&h, 1);
	heap_freed(&h, 1000);
	pass(&q, HEAP_AFTER_MS - 1);
	assert_int_equal(h.n_trims, 0);
	pass(&q, 1);
	assert_int_equal(h.n_trims, 1);
	/* What came meanwhile is done with. */
	pass(&q, 10 * HEAP_AFTER_MS);
	assert_int_equal(h.n_trims, 1);
	heap_freed(&h, HEAP_WORTH_BYTES);
	heap_fini(&h);
	pass(&q, HEAP_AFTER_MS);
	assert_int_equal(h.n_trims, 1);
	timerq_fini(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_gives_back_once_for_much) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
