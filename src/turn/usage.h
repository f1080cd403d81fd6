#ifndef TURN_USAGE_H
#define TURN_USAGE_H
/*
 * What each user takes at the moment: allocations, and bytes per second (token bucket over one
 * second). An entry lives as long as the user has an allocation or a reservation counted.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/htab.h"
#include "base/slice.h"

struct turn_use {
	struct htab_node node;
	uint32_t n_allocations;
	int64_t tokens; /* thousandths of a byte; below 0 after a packet larger than the bucket */
	int64_t filled_ms;
	size_t n;
	char user[]; /* n bytes */
};

struct turn_usage {
	struct htab users;
};

int turn_usage_init(struct turn_usage *u, const uint8_t seed[16]);
/* Every user must have left. */
void turn_usage_fini(struct turn_usage *u);
/* Counts one allocation for the user. 0; -EDQUOT: quota of them stand (0: no quota); -ENOMEM. */
int turn_usage_enter(struct turn_usage *u, struct slice user, uint32_t quota,
		     struct turn_use **out);
void turn_usage_leave(struct turn_usage *u, struct turn_use *use);
/* May n bytes go now at bps bytes a second (0: any)? Takes them when so. A packet larger than the
 * bucket passes when the bucket is full, and is paid for before the next one goes. */
bool turn_usage_spend(struct turn_use *use, size_t n, uint32_t bps, int64_t now_ms);

#endif
