#ifndef CORE_LOOP_H
#define CORE_LOOP_H
/*
 * The event loop: libevent, one thread. Machines use the timer queue (base/timerq.h), which runs on
 * the loop's monotonic clock; only wiring touches libevent itself.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timerq.h"

struct event_base;
struct loop;

/* Something to do at the end of this turn: frees and other work that must not happen inside the
 * callback that asked for it. Embedded in its owner. */
struct loop_deferred {
	struct list node;
	void (*run)(void *arg);
	void *arg;
	bool queued;
};

struct loop *loop_new(void);
void loop_free(struct loop *l);
struct event_base *loop_base(struct loop *l);
struct timerq *loop_timers(struct loop *l);
/* Monotonic milliseconds, taken once a turn. */
int64_t loop_now_ms(const struct loop *l);
/* Runs until loop_stop() (one before the run counts). Every turn: sockets, then timers, then
 * deferred work. libevent's own timeouts may be up to 100 ms late: what must be exact uses
 * loop_timers(). */
int loop_run(struct loop *l);
/* One turn that waits at most max_wait_ms; for tests and the drain phase. */
int loop_once(struct loop *l, int64_t max_wait_ms);
void loop_stop(struct loop *l);
void loop_deferred_init(struct loop_deferred *d, void (*run)(void *arg), void *arg);
/* Queues d for the end of this turn; queueing twice is one run. */
void loop_defer(struct loop *l, struct loop_deferred *d);
void loop_defer_cancel(struct loop_deferred *d);
/* Something that outlives its owner for a while, such as a connection that still sends its last
 * bytes. Embedded in it. The loop counts its guests and ends those that are left when it is freed:
 * end() must call loop_guest_leave() and give everything back. */
struct loop_guest {
	struct list node;
	void (*end)(void *arg);
	void *arg;
};
/* False when the loop has max guests already: then it is not entered. */
bool loop_guest_enter(struct loop *l, struct loop_guest *g, size_t max, void (*end)(void *arg),
		      void *arg);
void loop_guest_leave(struct loop *l, struct loop_guest *g);
/* Longest turn so far, without the time spent waiting, in microseconds, and the number of turns
 * over 50 ms. Shown by `turnpikectl status`. */
struct loop_stats {
	uint64_t n_turns;
	uint64_t longest_turn_us;
	uint64_t n_slow_turns;
};
struct loop_stats loop_stats(const struct loop *l);

#endif
