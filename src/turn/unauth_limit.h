#ifndef TURN_UNAUTH_LIMIT_H
#define TURN_UNAUTH_LIMIT_H
/*
 * Answers to datagrams whose source nobody has proved: at most `rate` a second to one source (IPv4
 * address, IPv6 /64), twice that in a burst, so that the server is no reflector. A table of fixed
 * size: 16,384 buckets chosen by a keyed hash; sources that share one share its rate.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct turn_unauth_limit;
struct turn_unauth_limit *turn_unauth_limit_new(const uint8_t seed[16]);
void turn_unauth_limit_free(struct turn_unauth_limit *l);
/* rate 0: no limit. True: one answer is granted and counted. */
bool turn_unauth_limit_take(struct turn_unauth_limit *l, const struct addr *from, uint32_t rate,
			    int64_t now_ms);
/* Would the next one be refused? Counts nothing. */
bool turn_unauth_limit_is_over(struct turn_unauth_limit *l, const struct addr *from, uint32_t rate,
			       int64_t now_ms);

#endif
