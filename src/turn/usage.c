#include "turn/usage.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

#define NEVER INT64_MIN

static struct slice use_key(const struct htab_node *node)
{
	const struct turn_use *use = CONTAINER_OF(node, const struct turn_use, node);

	return (struct slice){ use->user, use->n };
}

int turn_usage_init(struct turn_usage *u, const uint8_t seed[16])
{
	return htab_init(&u->users, seed, use_key);
}

void turn_usage_fini(struct turn_usage *u)
{
	htab_fini(&u->users);
}

static struct turn_use *use_new(struct slice user)
{
	struct turn_use *use = calloc(1, sizeof(*use) + user.n);

	if (!use)
		return NULL;
	use->filled_ms = NEVER;
	use->n = user.n;
	if (user.n)
		memcpy(use->user, user.p, user.n);
	return use;
}

int turn_usage_enter(struct turn_usage *u, struct slice user, uint32_t quota, struct turn_use **out)
{
	struct htab_node *node = htab_get(&u->users, user);
	struct turn_use *use = node ? CONTAINER_OF(node, struct turn_use, node) : NULL;

	if (use && quota > 0 && use->n_allocations >= quota)
		return -EDQUOT;
	if (!use) {
		use = use_new(user);
		if (!use)
			return -ENOMEM;
		htab_add(&u->users, &use->node);
	}
	use->n_allocations++;
	*out = use;
	return 0;
}

void turn_usage_leave(struct turn_usage *u, struct turn_use *use)
{
	if (--use->n_allocations > 0)
		return;
	htab_del(&u->users, &use->node);
	free(use);
}

/* A bucket holds what one second gives. Counted in thousandths of a byte, so that what comes in
 * each millisecond is a whole number. */
static void refill(struct turn_use *use, uint32_t bps, int64_t now_ms)
{
	int64_t full = (int64_t)bps * 1000, missing = full - use->tokens;

	if (use->filled_ms == NEVER || missing <= 0 || now_ms - use->filled_ms >= missing / bps + 1)
		use->tokens = full;
	else if (now_ms > use->filled_ms)
		use->tokens += (now_ms - use->filled_ms) * bps;
	if (use->tokens > full)
		use->tokens = full;
	if (now_ms > use->filled_ms)
		use->filled_ms = now_ms;
}

bool turn_usage_spend(struct turn_use *use, size_t n, uint32_t bps, int64_t now_ms)
{
	int64_t price = (int64_t)n * 1000, full = (int64_t)bps * 1000;

	if (bps == 0)
		return true;
	refill(use, bps, now_ms);
	if (use->tokens < price && use->tokens < full)
		return false;
	use->tokens -= price;
	return true;
}
