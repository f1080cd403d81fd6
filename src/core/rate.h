#ifndef CORE_RATE_H
#define CORE_RATE_H
/*
 * Bounded memory of who tried how often. Pure: time is an argument. Two ways to count:
 *
 *   window   at most `limit` events in `period_ms`, counted from the first one
 *   penalty  after RATE_FREE_TRIES failures the key is refused for 15 s, and with every further
 *            failure for twice as long, up to 600 s; a success or RATE_FORGET_MS of quiet ends it
 *
 * What is under way counts like a failure until it ends, so that asking many times at once buys
 * nothing. When the table is full, the key that was not seen for the longest time is forgotten.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"

enum { RATE_FREE_TRIES = 3, RATE_FORGET_MS = 900 * 1000 };
#define RATE_PENALTY_MIN_MS 15000
#define RATE_PENALTY_MAX_MS 600000

struct rate;

struct rate_key {
	uint64_t h[2];
};

struct rate_limit {
	uint32_t limit; /* 0: none */
	uint32_t period_ms;
};

enum rate_outcome { RATE_GOOD, RATE_BAD, RATE_NEITHER };

/* random: 32 fresh random bytes. */
struct rate *rate_new(const uint8_t random[32], size_t max_entries);
void rate_free(struct rate *r);
size_t rate_count(const struct rate *r);

/* The key of a name (lower-cased: spelling buys no new tries), of a source (IPv4 /32, IPv6 /64), or
 * of both. Nobody outside can choose two that collide. from NULL: none. */
struct rate_key rate_key_of(const struct rate *r, struct slice domain, struct slice user,
			    const struct addr *from);

/* Is there room in the window? false: *retry_s says when. */
bool rate_window_open(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		      int64_t now_ms, uint32_t *retry_s);
/* Counts one, when there is room. */
bool rate_window_take(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		      int64_t now_ms, uint32_t *retry_s);
/* Something begins that may turn out to be an event; every true wants one rate_window_leave().
 * Without memory it is let through. */
bool rate_window_enter(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		       int64_t now_ms, uint32_t *retry_s);
void rate_window_leave(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		       int64_t now_ms, bool counts);

/* Begins a try; every true wants one rate_penalty_leave(). */
bool rate_penalty_enter(struct rate *r, const struct rate_key *k, int64_t now_ms,
			uint32_t *retry_s);
void rate_penalty_leave(struct rate *r, const struct rate_key *k, int64_t now_ms,
			enum rate_outcome outcome);

#endif
