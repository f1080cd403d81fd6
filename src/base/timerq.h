#ifndef BASE_TIMERQ_H
#define BASE_TIMERQ_H
/*
 * Timers of the machines: a pairing heap over milliseconds that somebody else counts. In the daemon
 * core/loop runs it on the monotonic clock, in scenario tests the test turns the clock by hand.
 * A timer is embedded in its owner and is either armed once or idle. The heap is linked through the
 * timers themselves: arming takes no memory and cannot fail, so no machine is ever left without its
 * deadline.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
	void (*fire)(void *arg);
	void *arg;
	int64_t due_ms;
	uint64_t order; /* same due time: first armed fires first */
	bool armed;
	struct timer *child;   /* first of those due later */
	struct timer *sibling; /* next child of the same parent */
	struct timer *back;    /* previous sibling, or the parent for a first child */
};

struct timerq {
	struct timer *root;
	size_t n;
	uint64_t next_order;
	int64_t now_ms;
};

void timerq_init(struct timerq *q, int64_t now_ms);
/* Disarms every timer. */
void timerq_fini(struct timerq *q);
void timer_init(struct timer *t, void (*fire)(void *arg), void *arg);
/* Arms (or re-arms) t to fire once, delay_ms after q->now_ms; less than 0 counts as 0. */
void timer_start(struct timerq *q, struct timer *t, int64_t delay_ms);
void timer_stop(struct timerq *q, struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
	return t->armed;
}
/* Milliseconds until t fires, 0 when due, -1 while idle. */
int64_t timer_left(const struct timerq *q, const struct timer *t);
/* Sets the time and fires what is due, in order of due time. Callbacks may start and stop any timer
 * and free their own; what they arm waits for the next run even when it is due at once. Time never
 * runs backwards: an earlier now_ms is taken as no change. */
void timerq_run(struct timerq *q, int64_t now_ms);
/* Sets the time without firing. */
void timerq_set_now(struct timerq *q, int64_t now_ms);
/* Milliseconds until the next timer, -1 without one. */
int64_t timerq_next(const struct timerq *q);

#endif
