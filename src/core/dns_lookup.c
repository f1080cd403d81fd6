/*
 *   dns_lookup_srv --> [SRV] --answer, ordered--> [ADDRESSES] --all parts in--> done
 *   dns_lookup_host ----------------------------> [ADDRESSES]
 *
 * A part is one question of a query. Answers may come while the parts are still being asked (cache,
 * hosts), so asking holds the query open with a part of its own.
 */
#include "core/dns_lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/dns_order.h"
#include "core/dns_question.h"
#include "core/net.h"

struct target {
	char name[DNS_NAME_BYTES];
	uint16_t priority, weight, port;
	size_t n4, n6;
	struct addr ip4[DNS_MAX_ADDRS], ip6[DNS_MAX_ADDRS];
};

struct part {
	struct dns_waiter waiter;
	struct dns_query *query;
	struct target *target; /* NULL: the SRV question */
};

struct dns_query {
	struct list node;
	struct dns *dns;
	void (*done)(const struct dns_result *r, void *arg);
	void *arg;
	enum dns_family family;
	unsigned n_pending;
	int status; /* the worst so far */
	bool stale;
	bool none;     /* the SRV answer was the lone "." */
	bool starting; /* inside dns_lookup_*(), which frees it */
	bool asking;   /* inside on_srv(), which frees it when cancelled meanwhile */
	bool cancelled;
	bool finished;
	size_t n_targets, n_parts;
	struct target *targets;
	struct part srv;
	struct part parts[2 * DNS_MAX_RECORDS];
};

static void query_free(struct dns_query *q)
{
	list_del(&q->node);
	q->dns->n_queries--;
	free(q->targets);
	free(q);
}

/* Which failure to report when nothing was found: one that may pass over one that lasts. */
static void note_status(struct dns_query *q, int status)
{
	if (status != 0 && (q->status == 0 || q->status == -ENOENT))
		q->status = status;
}

static void add_addrs(struct dns_result *r, const struct target *t, const struct addr *ips,
		      size_t n)
{
	for (size_t i = 0; i < n && r->n < DNS_MAX_ADDRS; i++) {
		struct dns_addr *a = &r->addrs[r->n++];

		a->addr = ips[i];
		a->addr.port = t->port;
		a->priority = t->priority;
		a->weight = t->weight;
		strcpy(a->target, t->name);
	}
}

/* RFC 6724 rules 1 and 6 in short: IPv6 first, unless this host has no way there. */
static void add_target(struct dns_result *r, const struct target *t)
{
	struct addr source;
	bool ip6_first = t->n6 > 0 && (t->n4 == 0 || net_source_for(&t->ip6[0], &source) == 0);

	if (ip6_first)
		add_addrs(r, t, t->ip6, t->n6);
	add_addrs(r, t, t->ip4, t->n4);
	if (!ip6_first)
		add_addrs(r, t, t->ip6, t->n6);
}

static void finish(struct dns_query *q)
{
	struct dns_result r;

	r.n = 0;
	r.stale = q->stale;
	r.has_records = q->srv.query && (q->none || q->n_targets > 0);
	for (size_t i = 0; i < q->n_targets; i++)
		add_target(&r, &q->targets[i]);
	r.status = r.n > 0 ? 0 : q->status ? q->status : -ENOENT;
	q->finished = true;
	q->done(&r, q->arg);
	if (!q->starting)
		query_free(q);
}

static void release(struct dns_query *q)
{
	if (--q->n_pending == 0)
		finish(q);
}

static void add_ip(struct target *t, const struct addr *ip)
{
	if (ip->family == ADDR_IP4 && t->n4 < DNS_MAX_ADDRS)
		t->ip4[t->n4++] = *ip;
	else if (ip->family == ADDR_IP6 && t->n6 < DNS_MAX_ADDRS)
		t->ip6[t->n6++] = *ip;
}

static void on_addresses(struct dns_waiter *w, const struct dns_answer *answer, bool stale)
{
	struct part *p = CONTAINER_OF(w, struct part, waiter);
	struct dns_query *q = p->query;

	note_status(q, answer->status);
	q->stale |= stale;
	for (size_t i = 0; i < answer->n; i++)
		add_ip(p->target, &answer->records[i].addr);
	release(q);
}

static void ask_type(struct dns_query *q, struct target *t, enum dns_type type)
{
	struct part *p = &q->parts[q->n_parts++];

	p->query = q;
	p->target = t;
	p->waiter.done = on_addresses;
	q->n_pending++;
	dns_question_ask(q->dns, &p->waiter, t->name, type);
}

/* True when the hosts file knows the name; what it says then stands alone, as in nsswitch "files
 * dns". */
static bool take_from_hosts(struct dns_query *q, struct target *t)
{
	struct dns_answer found;

	dns_hosts_find(q->dns->hosts, slice_of(t->name), &found);
	for (size_t i = 0; i < found.n; i++) {
		const struct addr *ip = &found.records[i].addr;

		if (q->family == DNS_ANY_FAMILY ||
		    (q->family == DNS_IP4_ONLY) == (ip->family == ADDR_IP4))
			add_ip(t, ip);
	}
	return found.n > 0;
}

/* q has one part held by the caller. */
static void ask_addresses(struct dns_query *q)
{
	dns_hosts_refresh(q->dns->hosts);
	for (size_t i = 0; i < q->n_targets && !q->cancelled; i++) {
		struct target *t = &q->targets[i];

		if (take_from_hosts(q, t))
			continue;
		if (!dns_name_ok(slice_of(t->name))) {
			note_status(q, -ENOENT);
			continue;
		}
		if (q->family != DNS_IP4_ONLY)
			ask_type(q, t, DNS_AAAA);
		if (q->family != DNS_IP6_ONLY)
			ask_type(q, t, DNS_A);
	}
}

static uint32_t draw(void *arg, uint32_t n)
{
	uint32_t r;

	net_random(&r, sizeof(r));
	return (uint32_t)((uint64_t)r * n >> 32);
}

static void take_targets(struct dns_query *q, const struct dns_answer *answer)
{
	struct dns_record ordered[DNS_MAX_RECORDS];

	q->targets = calloc(answer->n, sizeof(*q->targets));
	if (!q->targets) {
		note_status(q, -ENOMEM);
		return;
	}
	memcpy(ordered, answer->records, answer->n * sizeof(answer->records[0]));
	dns_order_srv(ordered, answer->n, draw, NULL);
	q->n_targets = answer->n;
	for (size_t i = 0; i < q->n_targets; i++) {
		struct target *t = &q->targets[i];

		strcpy(t->name, ordered[i].target);
		t->priority = ordered[i].priority;
		t->weight = ordered[i].weight;
		t->port = ordered[i].port;
	}
}

static void on_srv(struct dns_waiter *w, const struct dns_answer *answer, bool stale)
{
	struct dns_query *q = CONTAINER_OF(w, struct part, waiter)->query;

	q->stale |= stale;
	q->none = answer->none;
	note_status(q, answer->status);
	if (answer->n > 0)
		take_targets(q, answer);
	/* A failed send may end other questions at once, and their callers may cancel this query.
	 */
	q->asking = true;
	ask_addresses(q);
	q->asking = false;
	if (q->cancelled)
		query_free(q);
	else
		release(q);
}

/* Calls done with a bare status. */
static struct dns_query *refuse(int status, void (*done)(const struct dns_result *r, void *arg),
				void *arg)
{
	struct dns_result r;

	r.status = status;
	r.stale = false;
	r.has_records = false;
	r.n = 0;
	done(&r, arg);
	return NULL;
}

static struct dns_query *query_new(struct dns *d, enum dns_family family,
				   void (*done)(const struct dns_result *r, void *arg), void *arg)
{
	struct dns_query *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->dns = d;
	q->family = family;
	q->done = done;
	q->arg = arg;
	q->starting = true;
	q->n_pending = 1;
	list_add_tail(&d->queries, &q->node);
	d->n_queries++;
	return q;
}

/* What dns_lookup_*() returns: NULL when the callback has been made. */
static struct dns_query *started(struct dns_query *q)
{
	q->starting = false;
	if (!q->finished)
		return q;
	query_free(q);
	return NULL;
}

static struct dns_query *literal(const struct addr *ip, const char *host, enum dns_family family,
				 void (*done)(const struct dns_result *r, void *arg), void *arg)
{
	struct dns_result r;

	if (family != DNS_ANY_FAMILY && (family == DNS_IP4_ONLY) != (ip->family == ADDR_IP4))
		return refuse(-ENOENT, done, arg);
	r.status = 0;
	r.stale = false;
	r.has_records = false;
	r.n = 1;
	r.addrs[0] = (struct dns_addr){ .addr = *ip };
	slice_copy(r.addrs[0].target, sizeof(r.addrs[0].target), slice_of(host));
	done(&r, arg);
	return NULL;
}

struct dns_query *dns_lookup_host(struct dns *d, const char *host, uint16_t port,
				  enum dns_family family,
				  void (*done)(const struct dns_result *r, void *arg), void *arg)
{
	struct dns_query *q;
	struct addr ip;

	if (addr_parse_ip(slice_of(host), port, &ip))
		return literal(&ip, host, family, done, arg);
	if (!dns_name_ok(slice_of(host)))
		return refuse(-ENOENT, done, arg);
	if (d->n_queries >= DNS_MAX_QUERIES)
		return refuse(-EAGAIN, done, arg);
	q = query_new(d, family, done, arg);
	if (!q)
		return refuse(-ENOMEM, done, arg);
	q->targets = calloc(1, sizeof(*q->targets));
	if (!q->targets) {
		query_free(q);
		return refuse(-ENOMEM, done, arg);
	}
	q->n_targets = 1;
	strcpy(q->targets[0].name, host);
	q->targets[0].port = port;
	ask_addresses(q);
	release(q);
	return started(q);
}

struct dns_query *dns_lookup_srv(struct dns *d, const char *service, enum dns_family family,
				 void (*done)(const struct dns_result *r, void *arg), void *arg)
{
	struct dns_query *q;

	if (!dns_name_ok(slice_of(service)))
		return refuse(-ENOENT, done, arg);
	if (d->n_queries >= DNS_MAX_QUERIES)
		return refuse(-EAGAIN, done, arg);
	q = query_new(d, family, done, arg);
	if (!q)
		return refuse(-ENOMEM, done, arg);
	q->srv.query = q;
	q->srv.waiter.done = on_srv;
	dns_question_ask(d, &q->srv.waiter, service, DNS_SRV);
	return started(q);
}

static void leave_all(struct dns_query *q)
{
	if (q->srv.query)
		dns_question_leave(&q->srv.waiter);
	for (size_t i = 0; i < q->n_parts; i++)
		dns_question_leave(&q->parts[i].waiter);
}

void dns_cancel(struct dns_query *q)
{
	if (!q || q->finished)
		return;
	leave_all(q);
	q->cancelled = true;
	if (!q->asking)
		query_free(q);
}

void dns_lookups_fini(struct dns *d)
{
	LIST_FOREACH_SAFE (it, &d->queries) {
		struct dns_query *q = CONTAINER_OF(it, struct dns_query, node);

		leave_all(q);
		query_free(q);
	}
}
