#include "base/timerq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

struct probe {
	struct timer timer;
	struct timerq *q;
	struct probe *other;
	int n_fired;
	int *order; /* where the next one notes its id */
	int id;
	int64_t rearm_ms; /* -1: not again */
};

static void on_fire(void *arg)
{
	struct probe *p = arg;

	assert_false(timer_armed(&p->timer));
	p->n_fired++;
	if (p->order)
		*p->order = *p->order * 10 + p->id;
	if (p->rearm_ms >= 0)
		timer_start(p->q, &p->timer, p->rearm_ms);
}

static void probe_init(struct probe *p, struct timerq *q, int id, int *order)
{
	*p = (struct probe){ .q = q, .id = id, .order = order, .rearm_ms = -1 };
	timer_init(&p->timer, on_fire, p);
}

static void test_order(void **state)
{
	struct timerq q;
	struct probe p[4];
	int order = 0;

	timerq_init(&q, 1000);
	assert_int_equal(timerq_next(&q), -1);
	for (int i = 0; i < 4; i++)
		probe_init(&p[i], &q, i + 1, &order);
	/* 2 and 4 at the same time: the first armed first. */
	timer_start(&q, &p[0].timer, 30);
	timer_start(&q, &p[1].timer, 20);
	timer_start(&q, &p[2].timer, 10);
	timer_start(&q, &p[3].timer, 20);
	assert_int_equal(timerq_next(&q), 10);
	assert_int_equal(timer_left(&q, &p[0].timer), 30);
	timerq_run(&q, 1009);
	assert_int_equal(order, 0);
	timerq_run(&q, 1010);
	assert_int_equal(order, 3);
	timerq_run(&q, 2000);
	assert_int_equal(order, 3241);
	assert_int_equal(timer_left(&q, &p[0].timer), -1);
	assert_int_equal(timerq_next(&q), -1);
	timerq_fini(&q);
}

static void test_restart_and_stop(void **state)
{
	struct timerq q;
	struct probe p;

	timerq_init(&q, 0);
	probe_init(&p, &q, 1, NULL);
	timer_stop(&q, &p.timer);
	timer_start(&q, &p.timer, 10);
	timer_start(&q, &p.timer, 50);
	assert_int_equal(q.n, 1);
	timerq_run(&q, 49);
	assert_int_equal(p.n_fired, 0);
	timerq_run(&q, 50);
	assert_int_equal(p.n_fired, 1);
	timer_start(&q, &p.timer, 10);
	timer_stop(&q, &p.timer);
	timer_stop(&q, &p.timer);
	assert_false(timer_armed(&p.timer));
	timerq_run(&q, 1000);
	assert_int_equal(p.n_fired, 1);
	timerq_fini(&q);
}

static void test_time(void **state)
{
	struct timerq q;
	struct probe p;

	timerq_init(&q, 100);
	probe_init(&p, &q, 1, NULL);
	timer_start(&q, &p.timer, 10);
	timerq_run(&q, 50); /* backwards: no change */
	assert_int_equal(q.now_ms, 100);
	timerq_set_now(&q, 200);
	assert_int_equal(p.n_fired, 0);
	assert_int_equal(timer_left(&q, &p.timer), 0);
	assert_int_equal(timerq_next(&q), 0);
	timerq_run(&q, 0);
	assert_int_equal(p.n_fired, 1);
	/* For ever, and no overflow. */
	timer_start(&q, &p.timer, INT64_MAX);
	assert_true(timer_left(&q, &p.timer) > INT64_MAX / 2);
	timer_start(&q, &p.timer, -5);
	assert_int_equal(timer_left(&q, &p.timer), 0);
	timerq_fini(&q);
	assert_false(timer_armed(&p.timer));
}

/* A timer that arms itself with 0 fires once a run, and does not hold up the others. */
static void test_rearm_in_callback(void **state)
{
	struct timerq q;
	struct probe p, later;

	timerq_init(&q, 0);
	probe_init(&p, &q, 1, NULL);
	probe_init(&later, &q, 2, NULL);
	p.rearm_ms = 0;
	timer_start(&q, &p.timer, 0);
	timer_start(&q, &later.timer, 0);
	timerq_run(&q, 0);
	assert_int_equal(p.n_fired, 1);
	assert_int_equal(later.n_fired, 1);
	timerq_run(&q, 0);
	assert_int_equal(p.n_fired, 2);
	timerq_fini(&q);
}

static void stop_other(void *arg)
{
	struct probe *p = arg;

	p->n_fired++;
	timer_stop(p->q, &p->other->timer);
}

static void free_self(void *arg)
{
	struct probe *p = arg;

	(*p->order)++;
	free(p);
}

static void test_stop_and_free_in_callback(void **state)
{
	struct probe a, b, *heap = calloc(1, sizeof(*heap));
	struct timerq q;
	int freed = 0;

	timerq_init(&q, 0);
	probe_init(&a, &q, 1, NULL);
	probe_init(&b, &q, 2, NULL);
	probe_init(heap, &q, 3, &freed);
	a.other = &b;
	timer_init(&a.timer, stop_other, &a);
	timer_init(&heap->timer, free_self, heap);
	timer_start(&q, &a.timer, 5);
	timer_start(&q, &b.timer, 5);
	timer_start(&q, &heap->timer, 5);
	timerq_run(&q, 5);
	assert_int_equal(a.n_fired, 1);
	assert_int_equal(b.n_fired, 0);
	assert_int_equal(freed, 1);
	assert_int_equal(q.n, 0);
	timerq_fini(&q);
}

enum { N_RANDOM = 500 };

/* The next timer is the earliest of all. */
static void check_next(const struct timerq *q, const int64_t due[N_RANDOM])
{
	int64_t next = -1;
	size_t n = 0;

	for (int i = 0; i < N_RANDOM; i++) {
		if (due[i] < 0)
			continue;
		n++;
		if (next < 0 || due[i] < next)
			next = due[i];
	}
	assert_int_equal(q->n, n);
	if (next < 0)
		assert_int_equal(timerq_next(q), -1);
	else
		assert_int_equal(timerq_next(q), next > q->now_ms ? next - q->now_ms : 0);
}

/* Random starts, restarts and stops against a plain list of due times. */
static void test_random(void **state)
{
	struct probe *p = calloc(N_RANDOM, sizeof(*p));
	int64_t due[N_RANDOM];
	struct timerq q;

	srand(1);
	timerq_init(&q, 0);
	for (int i = 0; i < N_RANDOM; i++) {
		probe_init(&p[i], &q, i, NULL);
		due[i] = -1;
	}
	for (int step = 0; step < 20000; step++) {
		int i = rand() % N_RANDOM;

		if (rand() % 3 == 0) {
			timer_stop(&q, &p[i].timer);
			due[i] = -1;
		} else {
			due[i] = q.now_ms + rand() % 200;
			timer_start(&q, &p[i].timer, due[i] - q.now_ms);
		}
		if (step % 50 != 0)
			continue;
		check_next(&q, due);
		timerq_run(&q, q.now_ms + rand() % 20);
		for (i = 0; i < N_RANDOM; i++) {
			bool fires = due[i] >= 0 && due[i] <= q.now_ms;

			assert_int_equal(p[i].n_fired, fires);
			assert_int_equal(timer_armed(&p[i].timer), due[i] >= 0 && !fires);
			if (fires)
				due[i] = -1;
			p[i].n_fired = 0;
		}
	}
	timerq_fini(&q);
	free(p);
}

/* Far more timers than the heap has pairs to walk in a small test; every second one is stopped. */
static void test_many(void **state)
{
	enum { N = 100000 };
	struct probe *p = calloc(N, sizeof(*p));
	struct timerq q;
	int fired = 0;

	timerq_init(&q, 0);
	for (int i = 0; i < N; i++) {
		probe_init(&p[i], &q, i, NULL);
		timer_start(&q, &p[i].timer, N - i);
	}
	for (int i = 0; i < N; i += 2)
		timer_stop(&q, &p[i].timer);
	assert_int_equal(q.n, N / 2);
	timerq_run(&q, N);
	for (int i = 0; i < N; i++)
		fired += p[i].n_fired;
	assert_int_equal(fired, N / 2);
	for (int i = 0; i < N; i++)
		timer_start(&q, &p[i].timer, 1);
	timerq_fini(&q);
	for (int i = 0; i < N; i++)
		assert_false(timer_armed(&p[i].timer));
	free(p);
}

static void run_timers(void *arg)
{
	struct probe p;
	struct timerq q;

	timerq_init(&q, 0);
	probe_init(&p, &q, 1, NULL);
	timer_start(&q, &p.timer, 1);
	timerq_run(&q, 1);
	assert_int_equal(p.n_fired, 1);
	timerq_fini(&q);
}

/* Arming takes no memory, so it cannot fail. */
static void test_no_memory(void **state)
{
	assert_int_equal(alloc_fail_sweep(run_timers, NULL), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_restart_and_stop),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_rearm_in_callback),
		cmocka_unit_test(test_stop_and_free_in_callback),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
