#ifndef UC_HOME_CACHE_H
#define UC_HOME_CACHE_H
/* Whose home is which cluster, from earlier look-ups: bounded, the longest unused goes first. */
#include <stdint.h>

#include "base/htab.h"
#include "base/list.h"
#include "uc/uc_conf.h"

#define UC_HOME_CACHE_MAX     20000
#define UC_HOME_CACHE_LIFE_MS (60 * 60 * 1000)

struct uc_home_cache {
	struct htab by_user;
	struct list by_use; /* newest first */
	size_t n;
	size_t max;
};

/* 0 or -ENOMEM. */
int uc_home_cache_init(struct uc_home_cache *c, const uint8_t seed[16], size_t max);
void uc_home_cache_fini(struct uc_home_cache *c);
/* Name of the cluster, valid until the next change; NULL: not known, or not asked for long. Domains
 * do not mind case. */
const char *uc_home_cache_get(struct uc_home_cache *c, struct slice domain, struct slice user,
			      int64_t now_ms);
/* However long ago: phones stay registered for longer than a sign-in is looked up again. */
const char *uc_home_cache_last(struct uc_home_cache *c, struct slice domain, struct slice user);
/* Without memory it is simply not remembered. */
void uc_home_cache_put(struct uc_home_cache *c, struct slice domain, struct slice user,
		       const char *cluster, int64_t now_ms);
void uc_home_cache_clear(struct uc_home_cache *c);

#endif
