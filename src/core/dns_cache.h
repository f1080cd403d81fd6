#ifndef CORE_DNS_CACHE_H
#define CORE_DNS_CACHE_H
/*
 * Answers by (name, type), with the time as an argument. An answer is fresh for its TTL, and may be
 * used stale for a while after that when the resolvers fail (RFC 8767). Bounded: the entry that was
 * not used for longest goes first.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/dns_answer.h"

struct dns_cache;

struct dns_cache_limits {
	size_t max_entries;
	int64_t max_fresh_ms;
	int64_t max_negative_ms;
	int64_t max_stale_ms;
};

enum dns_cache_state {
	DNS_CACHE_MISS,
	DNS_CACHE_FRESH,
	DNS_CACHE_STALE,     /* expired: use it only when asking fails */
	DNS_CACHE_STALE_NOW, /* expired, and asking has just failed: use it without asking */
};

struct dns_cache *dns_cache_new(const uint8_t seed[16], const struct dns_cache_limits *limits);
void dns_cache_free(struct dns_cache *c);
void dns_cache_set_limits(struct dns_cache *c, const struct dns_cache_limits *limits);
/* *out stays valid until the next call that is not a get. Names compare without case. */
enum dns_cache_state dns_cache_get(struct dns_cache *c, struct slice name, enum dns_type type,
				   int64_t now_ms, const struct dns_answer **out);
/* Keeps a copy of an answer with status 0 or -ENOENT. Without memory it is not kept. */
void dns_cache_put(struct dns_cache *c, struct slice name, enum dns_type type,
		   const struct dns_answer *answer, int64_t now_ms);
/* Asking failed with `status`: for retry_ms a stale answer is DNS_CACHE_STALE_NOW; without one the
 * failure itself counts as fresh (RFC 9520). */
void dns_cache_failed(struct dns_cache *c, struct slice name, enum dns_type type, int status,
		      int64_t now_ms, int64_t retry_ms);
/* Forgets failures (the servers changed), keeps answers. */
void dns_cache_forget_failures(struct dns_cache *c);
void dns_cache_flush(struct dns_cache *c);
size_t dns_cache_count(const struct dns_cache *c);

#endif
