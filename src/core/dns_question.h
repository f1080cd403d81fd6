#ifndef CORE_DNS_QUESTION_H
#define CORE_DNS_QUESTION_H
/*
 * One question (name and type) at a time: cache, then the servers. Whoever asks what is already
 * being asked waits for the same answer.
 */
#include <stddef.h>
#include <sys/stat.h>

#include "base/htab.h"
#include "base/list.h"
#include "core/dns.h"
#include "core/dns_cache.h"
#include "core/dns_channel.h"
#include "core/dns_hosts.h"

#define DNS_MAX_QUESTIONS 256  /* in flight */
#define DNS_MAX_QUERIES	  4096 /* callers waiting for them */

struct dns {
	struct loop *loop;
	struct log *log;
	struct alarms *alarms;
	struct dns_cache *cache;
	struct dns_hosts *hosts;
	struct dns_channel *channel;
	char *servers; /* as configured, to see a change */
	uint32_t timeout_ms, tries;
	struct stat resolv_conf;
	struct htab questions;
	struct list queries;
	size_t n_queries;
	unsigned n_failed_in_a_row;
	bool alarmed;
	bool closing;
	struct dns_stats stats;
};

struct dns_waiter {
	struct list node; /* a ring of its own while it waits for nothing */
	/* stale: the servers failed and this is an old answer. */
	void (*done)(struct dns_waiter *w, const struct dns_answer *answer, bool stale);
};

/* done is called once, maybe before this returns. name: dns_name_ok(). */
void dns_question_ask(struct dns *d, struct dns_waiter *w, const char *name, enum dns_type type);
void dns_question_leave(struct dns_waiter *w);
int dns_questions_init(struct dns *d);
/* After the queries and the channel are gone. */
void dns_questions_fini(struct dns *d);

#endif
