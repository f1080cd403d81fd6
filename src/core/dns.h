#ifndef CORE_DNS_H
#define CORE_DNS_H
/*
 * Names to addresses by c-ares on the loop: /etc/hosts, A, AAAA, SRV. Small cache with the records'
 * TTL, negative answers too (RFC 2308, at most 5 minutes); when the resolvers are dead, answers up
 * to a day old are used (`stale` true) and an alarm stands. Queries in flight are bounded.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "core/conf_schema.h"
#include "core/conf_store.h"

struct alarms;
struct dns;
struct dns_query;
struct log;
struct loop;

#define DNS_MAX_ADDRS 16

struct dns_addr {
	struct addr addr; /* port from the SRV record, or the caller's */
	uint16_t priority, weight;
	char target[256]; /* the SRV target or the name asked */
};

struct dns_result {
	int status; /* 0, -ENOENT (name or records do not exist), -ETIMEDOUT, -EAGAIN (server
		       failure), -ENOMEM */
	bool stale;
	bool has_records; /* SRV: there are some, though none has led to an address, or it is the
			     lone "." (RFC 2782): then nothing else is to be tried instead */
	size_t n;
	struct dns_addr
		addrs[DNS_MAX_ADDRS]; /* in the order to try: RFC 2782 priority, weighted within */
};

enum dns_family { DNS_ANY_FAMILY, DNS_IP4_ONLY, DNS_IP6_ONLY };

/* The [dns] section. */
struct dns_conf {
	struct conf_common common;
	struct conf_names servers; /* ip or ip:port; none: the system's resolv.conf */
	uint32_t timeout_ms;	   /* of the first try; c-ares doubles it */
	uint32_t tries;
	uint32_t cache_max_ms; /* no answer is kept as fresh for longer */
	uint32_t cache_entries;
	uint32_t stale_max_ms; /* how long an answer is used when the resolvers are dead */
};

/* The rows of [dns]: servers, timeout, tries, cache-max, cache-entries, stale-max. */
extern const struct conf_section dns_conf_section;

/* Answers nothing before the first dns_configure(). */
struct dns *dns_new(struct loop *loop, struct log *log, struct alarms *alarms);
/* Lookups under way end without callback. */
void dns_free(struct dns *d);
/* Rebuilds the channel when servers or timeouts changed, or resolv.conf when that is used; the
 * cache stays. 0, -ENOMEM or -EINVAL with nothing changed. */
int dns_configure(struct dns *d, const struct conf_snapshot *snap);
/* Same from the one section. */
int dns_apply(struct dns *d, const struct dns_conf *conf);
/* A host name or address literal. What is known (literals, /etc/hosts, the cache) or refused (bad
 * name, too many queries in flight: -EAGAIN) calls back before this returns, then the returned
 * query is NULL. Lookups of one name share one query. The result is valid during the callback only.
 */
struct dns_query *dns_lookup_host(struct dns *d, const char *host, uint16_t port,
				  enum dns_family family,
				  void (*done)(const struct dns_result *r, void *arg), void *arg);
/* SRV `service` ("_sip._tcp.example.com"), then the targets' addresses. */
struct dns_query *dns_lookup_srv(struct dns *d, const char *service, enum dns_family family,
				 void (*done)(const struct dns_result *r, void *arg), void *arg);
/* Reads this file instead of /etc/hosts from now on. */
int dns_set_hosts_file(struct dns *d, const char *path);
/* No callback afterwards. NULL is allowed, and so is the query whose callback runs. */
void dns_cancel(struct dns_query *q);
void dns_flush(struct dns *d);
struct dns_stats {
	uint64_t n_queries, n_cache_hits, n_stale, n_failures;
	size_t n_cached, n_inflight;
};
struct dns_stats dns_stats(const struct dns *d);

#endif
