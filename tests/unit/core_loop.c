#include "core/loop.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/alloc_fail.h"

struct probe {
	struct loop *loop;
	char order[32];
	int64_t at_ms;
	int64_t lag_us;
	int fds[2];
	struct timer timer;
	struct loop_deferred first, second;
	int n_turns_left;
};

static int64_t wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void note(struct probe *p, char c)
{
	size_t n = strlen(p->order);

	if (n + 1 < sizeof(p->order))
		p->order[n] = c;
}

static void spin_us(int64_t us)
{
	int64_t end = wall_us() + us;

	while (wall_us() < end)
		;
}

static void on_deferred(void *arg)
{
	note(arg, 'd');
}

static void on_timer(void *arg)
{
	struct probe *p = arg;

	note(p, 't');
	p->at_ms = loop_now_ms(p->loop);
	loop_defer(p->loop, &p->first);
	loop_defer(p->loop, &p->first);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	char c;

	note(arg, 's');
	assert_int_equal(read(fd, &c, 1), 1);
}

static int setup(void **state)
{
	struct probe *p = calloc(1, sizeof(*p));

	p->loop = loop_new();
	assert_non_null(p->loop);
	assert_int_equal(pipe(p->fds), 0);
	timer_init(&p->timer, on_timer, p);
	loop_deferred_init(&p->first, on_deferred, p);
	loop_deferred_init(&p->second, on_deferred, p);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct probe *p = *state;

	loop_free(p->loop);
	close(p->fds[0]);
	close(p->fds[1]);
	free(p);
	return 0;
}

static void a_turn_runs_sockets_then_timers_then_deferred_work(void **state)
{
	struct probe *p = *state;
	struct event *ev = event_new(loop_base(p->loop), p->fds[0], EV_READ, on_readable, p);

	event_add(ev, NULL);
	assert_int_equal(write(p->fds[1], "x", 1), 1);
	timer_start(loop_timers(p->loop), &p->timer, 0);
	assert_int_equal(loop_once(p->loop, 0), 0);
	assert_string_equal(p->order, "std");
	event_free(ev);
}

static void timers_fire_when_due_and_not_before(void **state)
{
	struct probe *p = *state;
	int64_t start = loop_now_ms(p->loop);

	timer_start(loop_timers(p->loop), &p->timer, 30);
	while (p->order[0] == '\0')
		loop_once(p->loop, 1000);
	assert_true(p->at_ms - start >= 30);
}

static void on_late_event(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;
	char c;

	/* The time that the callback sees, and arms timers by, is that after the wait. */
	p->lag_us = wall_us() - loop_now_ms(p->loop) * 1000;
	assert_int_equal(read(fd, &c, 1), 1);
	timer_start(loop_timers(p->loop), &p->timer, 20);
	p->at_ms = loop_now_ms(p->loop);
	note(p, 's');
}

static void on_write_timer(void *arg)
{
	struct probe *p = arg;

	assert_int_equal(write(p->fds[1], "x", 1), 1);
}

static void callbacks_after_a_wait_see_the_time_after_it(void **state)
{
	struct probe *p = *state;
	struct event *ev = event_new(loop_base(p->loop), p->fds[0], EV_READ, on_late_event, p);
	struct timer writer;
	int64_t armed;

	event_add(ev, NULL);
	timer_init(&writer, on_write_timer, p);
	timer_start(loop_timers(p->loop), &writer, 300);
	while (p->order[0] == '\0')
		loop_once(p->loop, 1000);
	assert_true(p->lag_us < 200000); /* the wait was 300 ms */
	armed = p->at_ms;
	while (strchr(p->order, 't') == NULL)
		loop_once(p->loop, 1000);
	assert_true(p->at_ms - armed >= 20);
	event_free(ev);
}

static void waiting_does_not_count_as_turn_time(void **state)
{
	struct probe *p = *state;
	struct loop_stats stats;

	timer_start(loop_timers(p->loop), &p->timer, 300);
	while (p->order[0] == '\0')
		loop_once(p->loop, 1000);
	stats = loop_stats(p->loop);
	assert_true(stats.n_turns >= 1);
	/* No poll sleeps for longer than 100 ms: on a machine that is not starved this is far less.
	 */
	assert_true(stats.longest_turn_us < 95000);
}

static void on_slow(void *arg)
{
	spin_us(60000);
}

static void a_turn_over_50_ms_is_counted(void **state)
{
	struct probe *p = *state;
	struct loop_deferred slow;

	loop_deferred_init(&slow, on_slow, NULL);
	loop_defer(p->loop, &slow);
	loop_once(p->loop, 0);
	assert_int_equal(loop_stats(p->loop).n_slow_turns, 1);
	assert_true(loop_stats(p->loop).longest_turn_us >= 60000);
}

static void on_chain(void *arg)
{
	struct probe *p = arg;

	note(p, 'c');
	loop_defer(p->loop, &p->second);
}

static void deferred_work_of_deferred_work_waits_for_the_next_turn(void **state)
{
	struct probe *p = *state;
	int64_t start = wall_us();

	loop_deferred_init(&p->first, on_chain, p);
	loop_defer(p->loop, &p->first);
	loop_once(p->loop, 0);
	assert_string_equal(p->order, "c");
	/* And the next turn does not sleep. */
	loop_once(p->loop, 5000);
	assert_string_equal(p->order, "cd");
	assert_true(wall_us() - start < 4000000);
}

static void cancelled_deferred_work_does_not_run(void **state)
{
	struct probe *p = *state;

	loop_defer(p->loop, &p->second);
	loop_defer_cancel(&p->second);
	loop_once(p->loop, 0);
	assert_string_equal(p->order, "");
	loop_defer(p->loop, &p->second);
	loop_once(p->loop, 0);
	assert_string_equal(p->order, "d");
}

static void on_cancel_other(void *arg)
{
	struct probe *p = arg;

	note(p, 'c');
	loop_defer_cancel(&p->second);
}

static void deferred_work_may_cancel_its_neighbour(void **state)
{
	struct probe *p = *state;

	loop_deferred_init(&p->first, on_cancel_other, p);
	loop_defer(p->loop, &p->first);
	loop_defer(p->loop, &p->second);
	loop_once(p->loop, 0);
	assert_string_equal(p->order, "c");
}

static void on_libevent_timeout(evutil_socket_t fd, short what, void *arg)
{
	note(arg, 'l');
}

static void timeouts_of_libevent_fire_within_a_tick(void **state)
{
	struct probe *p = *state;
	struct event *ev = evtimer_new(loop_base(p->loop), on_libevent_timeout, p);
	struct timeval tv = { 0, 20000 };
	int64_t start = wall_us();

	event_add(ev, &tv);
	while (p->order[0] == '\0' && wall_us() - start < 5000000)
		loop_once(p->loop, 5000);
	assert_string_equal(p->order, "l");
	assert_true(wall_us() - start >= 20000);
	event_free(ev);
}

static void on_activate(void *arg)
{
	struct event *ev = arg;

	event_active(ev, EV_TIMEOUT, 0);
}

static void events_made_active_by_timers_do_not_wait(void **state)
{
	struct probe *p = *state;
	struct event *ev = evtimer_new(loop_base(p->loop), on_libevent_timeout, p);
	struct timer t;
	int64_t start, shortest = INT64_MAX;

	timer_init(&t, on_activate, ev);
	for (int i = 0; i < 3; i++) { /* one of them without being preempted */
		timer_start(loop_timers(p->loop), &t, 0);
		loop_once(p->loop, 0);
		start = wall_us();
		loop_once(p->loop, 10000);
		shortest = wall_us() - start < shortest ? wall_us() - start : shortest;
	}
	assert_string_equal(p->order, "lll");
	assert_true(shortest < 90000);
	event_free(ev);
}

static void on_stop(void *arg)
{
	struct probe *p = arg;

	if (--p->n_turns_left == 0)
		loop_stop(p->loop);
	else
		timer_start(loop_timers(p->loop), &p->timer, 1);
}

static void runs_until_stopped(void **state)
{
	struct probe *p = *state;

	timer_init(&p->timer, on_stop, p);
	p->n_turns_left = 3;
	timer_start(loop_timers(p->loop), &p->timer, 0);
	assert_int_equal(loop_run(p->loop), 0);
	assert_int_equal(p->n_turns_left, 0);
	loop_stop(p->loop);
	assert_int_equal(loop_run(p->loop), 0);
}

static void two_loops_live_side_by_side(void **state)
{
	struct probe *p = *state;
	struct loop *other = loop_new();
	struct timer t;
	struct probe q = { .loop = other };

	assert_non_null(other);
	timer_init(&t, on_timer, &q);
	loop_deferred_init(&q.first, on_deferred, &q);
	timer_start(loop_timers(other), &t, 0);
	loop_once(p->loop, 0);
	assert_string_equal(q.order, "");
	loop_once(other, 0);
	assert_string_equal(q.order, "td");
	loop_free(other);
}

static void deferred_work_runs_when_the_loop_is_freed(void **state)
{
	struct loop *l = loop_new();
	struct probe p = { .loop = l };

	loop_deferred_init(&p.first, on_chain, &p);
	loop_deferred_init(&p.second, on_deferred, &p);
	loop_defer(l, &p.first);
	loop_free(l);
	assert_string_equal(p.order, "cd");
}

static void make_one(void *arg)
{
	struct loop *l = loop_new();

	if (l)
		loop_once(l, 0);
	loop_free(l);
}

static void survives_failing_allocations(void **state)
{
	alloc_fail_sweep(make_one, NULL);
}

struct guest {
	struct loop *loop;
	struct loop_guest guest;
	unsigned n_ended;
};

static void end_guest(void *arg)
{
	struct guest *g = arg;

	g->n_ended++;
	loop_guest_leave(g->loop, &g->guest);
}

static void guests_are_bounded_and_ended(void **state)
{
	struct loop *l = loop_new();
	struct guest g[3] = { { .loop = l }, { .loop = l }, { .loop = l } };

	assert_true(loop_guest_enter(l, &g[0].guest, 2, end_guest, &g[0]));
	assert_true(loop_guest_enter(l, &g[1].guest, 2, end_guest, &g[1]));
	assert_false(loop_guest_enter(l, &g[2].guest, 2, end_guest, &g[2]));
	loop_guest_leave(l, &g[0].guest);
	assert_true(loop_guest_enter(l, &g[2].guest, 2, end_guest, &g[2]));
	loop_free(l);
	assert_int_equal(g[0].n_ended, 0);
	assert_int_equal(g[1].n_ended, 1);
	assert_int_equal(g[2].n_ended, 1);
}

int main(void)
{
#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		LOOP_TEST(a_turn_runs_sockets_then_timers_then_deferred_work),
		LOOP_TEST(timers_fire_when_due_and_not_before),
		LOOP_TEST(callbacks_after_a_wait_see_the_time_after_it),
		LOOP_TEST(waiting_does_not_count_as_turn_time),
		LOOP_TEST(a_turn_over_50_ms_is_counted),
		LOOP_TEST(deferred_work_of_deferred_work_waits_for_the_next_turn),
		LOOP_TEST(cancelled_deferred_work_does_not_run),
		LOOP_TEST(deferred_work_may_cancel_its_neighbour),
		LOOP_TEST(timeouts_of_libevent_fire_within_a_tick),
		LOOP_TEST(events_made_active_by_timers_do_not_wait),
		LOOP_TEST(runs_until_stopped),
		LOOP_TEST(two_loops_live_side_by_side),
		cmocka_unit_test(deferred_work_runs_when_the_loop_is_freed),
		cmocka_unit_test(guests_are_bounded_and_ended),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
