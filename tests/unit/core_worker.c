#include "core/worker.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/loop.h"
#include "support/alloc_fail.h"

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
	unsigned n_running;
	pthread_t loop_thread;
	unsigned n_done, n_cancelled;
	int sum;
	struct worker_pool *pool;
};

static void shared_init(struct shared *s)
{
	*s = (struct shared){ .loop_thread = pthread_self() };
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
}

static void wait_running(struct shared *s, unsigned n)
{
	pthread_mutex_lock(&s->lock);
	while (s->n_running < n)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void open_gate(struct shared *s)
{
	pthread_mutex_lock(&s->lock);
	s->open = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static int run_gated(void *arg)
{
	struct shared *s = arg;

	pthread_mutex_lock(&s->lock);
	s->n_running++;
	pthread_cond_broadcast(&s->changed);
	while (!s->open)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return 7;
}

static void on_done(int result, void *arg)
{
	struct shared *s = arg;

	assert_true(pthread_equal(pthread_self(), s->loop_thread));
	if (result == -ECANCELED)
		s->n_cancelled++;
	else
		s->sum += result;
	s->n_done++;
}

static void turn_until(struct loop *l, const unsigned *n, unsigned wanted)
{
	while (*n < wanted)
		loop_once(l, 1000);
}

static void results_come_back_on_the_loop(void **state)
{
	struct loop *l = loop_new();
	struct worker_pool *w = worker_pool_new(l, 2, 16);
	struct shared s;

	shared_init(&s);
	s.open = true;
	for (int i = 0; i < 10; i++)
		assert_int_equal(worker_submit(w, run_gated, on_done, &s), 0);
	turn_until(l, &s.n_done, 10);
	assert_int_equal(s.sum, 70);
	worker_pool_free(w);
	loop_free(l);
}

static void the_queue_holds_at_its_bound(void **state)
{
	struct loop *l = loop_new();
	struct worker_pool *w = worker_pool_new(l, 1, 2);
	struct shared s;

	shared_init(&s);
	assert_int_equal(worker_submit(w, run_gated, on_done, &s), 0);
	wait_running(&s, 1); /* it waits no longer, it runs */
	assert_int_equal(worker_submit(w, run_gated, on_done, &s), 0);
	assert_int_equal(worker_submit(w, run_gated, on_done, &s), 0);
	assert_int_equal(worker_submit(w, run_gated, on_done, &s), -EAGAIN);
	open_gate(&s);
	turn_until(l, &s.n_done, 3);
	assert_int_equal(worker_submit(w, run_gated, on_done, &s), 0);
	turn_until(l, &s.n_done, 4);
	worker_pool_free(w);
	loop_free(l);
}

static void *open_later(void *arg)
{
	struct shared *s = arg;

	wait_running(s, 1);
	open_gate(s);
	return NULL;
}

static void the_end_drops_what_waits_and_finishes_what_runs(void **state)
{
	struct loop *l = loop_new();
	struct worker_pool *w = worker_pool_new(l, 1, 8);
	struct shared s;
	pthread_t opener;

	shared_init(&s);
	assert_int_equal(worker_submit(w, run_gated, on_done, &s), 0);
	wait_running(&s, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(worker_submit(w, run_gated, on_done, &s), 0);
	assert_int_equal(pthread_create(&opener, NULL, open_later, &s), 0);
	worker_pool_free(w);
	pthread_join(opener, NULL);
	/* The worker may take more of them between the gate and the end, but each is told of. */
	assert_int_equal(s.n_done, 4);
	assert_true(s.sum >= 7);
	assert_int_equal(s.sum / 7 + (int)s.n_cancelled, 4);
	loop_free(l);
}

static void on_done_again(int result, void *arg)
{
	struct shared *s = arg;

	s->n_done++;
	if (s->n_done < 5)
		assert_int_equal(worker_submit(s->pool, run_gated, on_done_again, s), 0);
}

static void a_result_may_submit_the_next_job(void **state)
{
	struct loop *l = loop_new();
	struct shared s;

	shared_init(&s);
	s.open = true;
	s.pool = worker_pool_new(l, 2, 1);
	assert_int_equal(worker_submit(s.pool, run_gated, on_done_again, &s), 0);
	turn_until(l, &s.n_done, 5);
	worker_pool_free(s.pool);
	loop_free(l);
}

static void submit_some(void *arg)
{
	struct loop *l = arg;
	struct worker_pool *w = worker_pool_new(l, 1, 4);
	struct shared s;
	unsigned n = 0;

	shared_init(&s);
	s.open = true;
	for (int i = 0; w && i < 2; i++) {
		int error = worker_submit(w, run_gated, on_done, &s);

		assert_true(error == 0 || error == -ENOMEM);
		n += error == 0;
	}
	turn_until(l, &s.n_done, n);
	worker_pool_free(w);
}

static void survives_failing_allocations(void **state)
{
	struct loop *l = loop_new();

	alloc_fail_sweep(submit_some, l);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_come_back_on_the_loop),
		cmocka_unit_test(the_queue_holds_at_its_bound),
		cmocka_unit_test(the_end_drops_what_waits_and_finishes_what_runs),
		cmocka_unit_test(a_result_may_submit_the_next_job),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
