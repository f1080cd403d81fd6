/*
 * One turn: wait -> time -> sockets -> timers -> deferred work.
 *
 * libevent 2.1 offers no hook between its poll and its callbacks, and without one the callbacks
 * would see the time from before the wait: a timer armed in the first callback after 20 quiet
 * seconds would be 20 s early, and the length of a turn could not be told from the wait. So the
 * wait is ours: on libevent's own epoll descriptor, then the clock, then a libevent pass
 * that does not block. libevent's own timeouts (bufferevents, evhttp) are looked at in each pass;
 * as nobody can ask libevent for the nearest one, no wait is longer than LIBEVENT_TICK_MS. They are
 * meant for idle and handshake limits of seconds; what must be exact uses the timer queue.
 */
#include "core/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LIBEVENT_TICK_MS 100
#define SLOW_TURN_US	 50000
#define MAX_SCANNED_FDS	 65536

struct loop {
	struct event_base *base;
	int epoll_fd; /* the base's, not ours to close */
	struct timerq timers;
	struct list deferred;
	struct list guests;
	size_t n_guests;
	struct loop_stats stats;
	bool stopped;
};

static int64_t monotonic_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void probe_cb(evutil_socket_t fd, short what, void *arg)
{
}

/* The base does not tell its descriptor, so a probe is added to it and every descriptor is asked
 * whether it is the epoll instance that holds the probe: a proof, not a guess. */
static int find_epoll_fd(struct event_base *base)
{
	int probe = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct event *ev = NULL;
	int found = -ENOSYS;

	if (probe < 0)
		return -errno;
	ev = event_new(base, probe, EV_READ | EV_PERSIST, probe_cb, NULL);
	if (!ev || event_add(ev, NULL) < 0) {
		found = -ENOMEM;
		goto out;
	}
	for (int fd = 0; fd < MAX_SCANNED_FDS; fd++) {
		struct epoll_event same = { .events = EPOLLIN, .data.fd = probe };

		if (fd != probe && epoll_ctl(fd, EPOLL_CTL_MOD, probe, &same) == 0) {
			found = fd;
			break;
		}
	}
out:
	if (ev)
		event_free(ev);
	close(probe);
	return found;
}

static struct event_base *new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	/* epoll or nothing: see find_epoll_fd(). The environment must not choose another method. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	if (event_config_require_features(config, EV_FEATURE_O1) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	list_init(&l->deferred);
	list_init(&l->guests);
	timerq_init(&l->timers, monotonic_us() / 1000);
	l->base = new_base();
	if (l->base)
		l->epoll_fd = find_epoll_fd(l->base);
	if (!l->base || l->epoll_fd < 0) {
		loop_free(l);
		return NULL;
	}
	return l;
}

/* Work that deferred work queues waits for the next turn: no endless turn. */
static void run_deferred(struct loop *l)
{
	struct list batch;

	list_init(&batch);
	while (!list_empty(&l->deferred)) {
		struct list *node = list_first(&l->deferred);

		list_del(node);
		list_add_tail(&batch, node);
	}
	while (!list_empty(&batch)) {
		struct loop_deferred *d =
			CONTAINER_OF(list_first(&batch), struct loop_deferred, node);

		loop_defer_cancel(d);
		d->run(d->arg);
	}
}

static bool has_work(const struct loop *l)
{
	return !list_empty(&l->deferred) || !list_empty(&l->guests);
}

static void end_guests(struct loop *l)
{
	LIST_FOREACH_SAFE (it, &l->guests) {
		struct loop_guest *g = CONTAINER_OF(it, struct loop_guest, node);

		g->end(g->arg);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	/* Mostly frees: skipping them would leak. What one of them does may bring on another. */
	for (int round = 0; round < 64 && has_work(l); round++) {
		end_guests(l);
		run_deferred(l);
	}
	timerq_fini(&l->timers);
	if (l->base)
		event_base_free(l->base);
	free(l);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

struct timerq *loop_timers(struct loop *l)
{
	return &l->timers;
}

int64_t loop_now_ms(const struct loop *l)
{
	return l->timers.now_ms;
}

/* How long the next wait may last. */
static int wait_ms(struct loop *l, int64_t max_wait_ms)
{
	int64_t next = timerq_next(&l->timers);
	int64_t wait = max_wait_ms < LIBEVENT_TICK_MS ? max_wait_ms : LIBEVENT_TICK_MS;

	/* next counts from the time of the last turn; the turn itself took some of it. */
	if (next >= 0) {
		next -= monotonic_us() / 1000 - l->timers.now_ms;
		if (next < wait)
			wait = next;
	}
	if (wait < 0 || !list_empty(&l->deferred) ||
	    event_base_get_num_events(l->base, EVENT_BASE_COUNT_ACTIVE) > 0)
		wait = 0;
	return (int)wait;
}

static void count_turn(struct loop *l, int64_t took_us)
{
	l->stats.n_turns++;
	if ((uint64_t)took_us > l->stats.longest_turn_us)
		l->stats.longest_turn_us = (uint64_t)took_us;
	if (took_us > SLOW_TURN_US)
		l->stats.n_slow_turns++;
}

int loop_once(struct loop *l, int64_t max_wait_ms)
{
	struct epoll_event seen;
	int wait = wait_ms(l, max_wait_ms);
	int64_t start_us;

	/* Says that there is something, and takes nothing away: libevent's events are
	 * level-triggered (no EV_ET in this program). Half of what poll() on the epoll descriptor
	 * costs. */
	if (wait > 0 && epoll_wait(l->epoll_fd, &seen, 1, wait) < 0 && errno != EINTR)
		return -errno;
	start_us = monotonic_us();
	timerq_set_now(&l->timers, start_us / 1000);
	if (event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NONBLOCK) < 0)
		return -EIO;
	timerq_run(&l->timers, start_us / 1000);
	run_deferred(l);
	count_turn(l, monotonic_us() - start_us);
	return 0;
}

int loop_run(struct loop *l)
{
	int error = 0;

	while (!l->stopped && error == 0)
		error = loop_once(l, INT32_MAX);
	l->stopped = false;
	return error;
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}

void loop_deferred_init(struct loop_deferred *d, void (*run)(void *arg), void *arg)
{
	*d = (struct loop_deferred){ .run = run, .arg = arg };
	list_init(&d->node);
}

void loop_defer(struct loop *l, struct loop_deferred *d)
{
	if (d->queued)
		return;
	d->queued = true;
	list_add_tail(&l->deferred, &d->node);
}

void loop_defer_cancel(struct loop_deferred *d)
{
	list_del(&d->node);
	d->queued = false;
}

bool loop_guest_enter(struct loop *l, struct loop_guest *g, size_t max, void (*end)(void *arg),
		      void *arg)
{
	if (l->n_guests >= max)
		return false;
	g->end = end;
	g->arg = arg;
	list_add_tail(&l->guests, &g->node);
	l->n_guests++;
	return true;
}

void loop_guest_leave(struct loop *l, struct loop_guest *g)
{
	list_del(&g->node);
	l->n_guests--;
}

struct loop_stats loop_stats(const struct loop *l)
{
	return l->stats;
}
