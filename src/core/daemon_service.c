#include "core/daemon_service.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <time.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/daemon_state.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/sd_notify.h"

#define STATUS_EVERY_MS	 10000
#define MAX_ERRORS_BYTES (64 * 1024)

static void on_hup(evutil_socket_t signo, short what, void *arg)
{
	struct buf errors;

	buf_init(&errors, MAX_ERRORS_BYTES);
	daemon_reload(arg, &errors); /* logs its errors itself */
	buf_fini(&errors);
}

static void on_term(evutil_socket_t signo, short what, void *arg)
{
	daemon_stop(arg);
}

static void feed_watchdog(void *arg)
{
	struct daemon *d = arg;

	sd_notify_send("WATCHDOG=1");
	timer_start(loop_timers(d->env.loop), &d->watchdog_timer, d->watchdog_ms);
}

static void tell_status(void *arg)
{
	struct daemon *d = arg;
	unsigned long n = 0;

	for (int kind = 0; kind < CONN_N_KINDS; kind++)
		n += conn_count(d->env.conns, (enum conn_kind)kind);
	sd_notify_send("STATUS=%s, %lu live entries, %zu alarms",
		       d->draining ? "draining" : "running", n, alarm_count(d->env.alarms));
	timer_start(loop_timers(d->env.loop), &d->status_timer, STATUS_EVERY_MS);
}

int daemon_service_start(struct daemon *d)
{
	static const int signos[DAEMON_N_SIGNALS] = { SIGHUP, SIGTERM, SIGINT };
	uint64_t watchdog_us = sd_notify_watchdog_us();

	for (int i = 0; i < DAEMON_N_SIGNALS; i++) {
		d->signals[i] = evsignal_new(loop_base(d->env.loop), signos[i],
					     signos[i] == SIGHUP ? on_hup : on_term, d);
		if (!d->signals[i] || event_add(d->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	timer_init(&d->status_timer, tell_status, d);
	timer_init(&d->watchdog_timer, feed_watchdog, d);
	d->watchdog_ms = (int64_t)(watchdog_us / 2000);
	if (d->watchdog_ms > 0)
		feed_watchdog(d);
	return 0;
}

void daemon_service_stop(struct daemon *d)
{
	for (int i = 0; i < DAEMON_N_SIGNALS; i++) {
		if (d->signals[i])
			event_free(d->signals[i]);
		d->signals[i] = NULL;
	}
	if (d->env.loop) {
		timer_stop(loop_timers(d->env.loop), &d->status_timer);
		timer_stop(loop_timers(d->env.loop), &d->watchdog_timer);
	}
}

void daemon_service_ready(struct daemon *d)
{
	sd_notify_send("READY=1");
	tell_status(d);
}

void daemon_service_reloading(struct daemon *d)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	sd_notify_send("RELOADING=1\nMONOTONIC_USEC=%llu",
		       (unsigned long long)ts.tv_sec * 1000000 +
			       (unsigned long long)ts.tv_nsec / 1000);
}

void daemon_service_stopping(struct daemon *d)
{
	sd_notify_send("STOPPING=1");
}
