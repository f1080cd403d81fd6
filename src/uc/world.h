#ifndef UC_WORLD_H
#define UC_WORLD_H
/* What the machines of this module reach the outside by: the daemon's fetches and resolver, or a
 * test's. */
#include <stdint.h>

#include "base/timerq.h"
#include "core/dns.h"
#include "core/fetch.h"

struct uc_world {
	void *arg;
	struct timerq *timers;
	/* As fetch_start() and fetch_cancel(). */
	struct fetch *(*fetch)(void *arg, const struct fetch_request *r,
			       void (*done)(const struct fetch_result *r, void *arg),
			       void *done_arg, int *error);
	void (*fetch_cancel)(void *arg, struct fetch *f);
	/* As dns_lookup_srv() and dns_cancel(). */
	struct dns_query *(*srv)(void *arg, const char *service,
				 void (*done)(const struct dns_result *r, void *arg),
				 void *done_arg);
	void (*srv_cancel)(void *arg, struct dns_query *q);
	/* 0 .. below - 1 */
	uint32_t (*random)(void *arg, uint32_t below);
};

#endif
