#ifndef CORE_DAEMON_STATE_H
#define CORE_DAEMON_STATE_H
/* What the files of the daemon share. */
#include "base/timerq.h"
#include "core/daemon.h"
#include "core/loop.h"

struct event;

#define DAEMON_N_SIGNALS 3

struct daemon {
	const struct daemon_options *options;
	const struct conf_section **schema;
	size_t n_schema;
	struct env env;
	int64_t started_ms;
	struct timer cert_timer;
	struct loop_deferred regenerate; /* asked by a module */
	/* Life: */
	bool draining;
	bool stopping;
	int64_t stopping_ms;
	struct timer drain_timer;
	/* Signals and the service manager: */
	struct event *signals[DAEMON_N_SIGNALS];
	struct timer watchdog_timer;
	int64_t watchdog_ms;
	struct timer status_timer;
};

#endif
