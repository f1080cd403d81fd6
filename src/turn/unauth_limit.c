#include "turn/unauth_limit.h"

#include <stdlib.h>
#include <string.h>

#include "base/siphash.h"

enum { N_BUCKETS = 16384 };
#define NS_PER_MS 1000000
#define BURST_NS  2000000000 /* what two seconds give */

/* Each bucket is one number: the time at which it is empty again (leaky bucket as a meter). */
struct turn_unauth_limit {
	uint8_t seed[16];
	int64_t empty_ns[N_BUCKETS];
};

struct turn_unauth_limit *turn_unauth_limit_new(const uint8_t seed[16])
{
	struct turn_unauth_limit *l = calloc(1, sizeof(*l));

	if (l)
		memcpy(l->seed, seed, sizeof(l->seed));
	return l;
}

void turn_unauth_limit_free(struct turn_unauth_limit *l)
{
	free(l);
}

/* Without the port, which a sender chooses; of IPv6 the /64, in which it chooses the rest. */
static int64_t *bucket_of(struct turn_unauth_limit *l, const struct addr *from)
{
	uint8_t key[1 + 8] = { from->family };

	memcpy(key + 1, from->ip, 8);
	return &l->empty_ns[siphash(l->seed, key, sizeof(key)) % N_BUCKETS];
}

bool turn_unauth_limit_is_over(struct turn_unauth_limit *l, const struct addr *from, uint32_t rate,
			       int64_t now_ms)
{
	return rate > 0 && *bucket_of(l, from) + 1000 * (int64_t)NS_PER_MS / rate >
				   now_ms * NS_PER_MS + BURST_NS;
}

bool turn_unauth_limit_take(struct turn_unauth_limit *l, const struct addr *from, uint32_t rate,
			    int64_t now_ms)
{
	int64_t now_ns = now_ms * NS_PER_MS, one_ns, *empty_ns;

	if (rate == 0)
		return true;
	one_ns = 1000 * (int64_t)NS_PER_MS / rate;
	empty_ns = bucket_of(l, from);
	if (*empty_ns < now_ns)
		*empty_ns = now_ns;
	if (*empty_ns + one_ns > now_ns + BURST_NS)
		return false;
	*empty_ns += one_ns;
	return true;
}
