#ifndef ROUTE_LOOPS_H
#define ROUTE_LOOPS_H
/*
 * Loop detection: a search with the loop tag, alias and source zone of one that still lives has
 * come round. Searches live until their call ends, and are forgotten after a while in any case: a
 * loop comes back within seconds. The table is bounded; when it is full the oldest one goes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define ROUTE_LOOPS_MAX		4096
#define ROUTE_LOOPS_MAX_PER_TAG 32
#define ROUTE_LOOPS_LIFE_MS	(180 * 1000)

struct route_loops;

/* seed: random bytes for the hash table. NULL without memory. */
struct route_loops *route_loops_new(const uint8_t seed[16], size_t max, int64_t life_ms);
void route_loops_free(struct route_loops *l);

enum route_loops_verdict {
	ROUTE_LOOPS_NEW, /* remembered (or, without memory, not: the hop count still ends loops) */
	ROUTE_LOOPS_SEEN,
	ROUTE_LOOPS_TOO_MANY, /* ROUTE_LOOPS_MAX_PER_TAG different searches of one tag live */
};
/* Strings over 511 bytes are compared by their first 511. */
enum route_loops_verdict route_loops_enter(struct route_loops *l, struct slice tag,
					   struct slice alias, struct slice source, int64_t now_ms);
/* That one search has ended (it found nothing). */
void route_loops_leave(struct route_loops *l, struct slice tag, struct slice alias,
		       struct slice source);
/* All searches of the tag have ended. */
void route_loops_forget(struct route_loops *l, struct slice tag);
size_t route_loops_count(const struct route_loops *l);

#endif
