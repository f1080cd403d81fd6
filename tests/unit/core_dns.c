/* The resolver against a scripted DNS server on the same loop, and once against a real one. */
#include "core/dns.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "core/alarm.h"
#include "core/dns_question.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "support/alloc_fail.h"

#define NAMED "/usr/sbin/named"

enum mood { GOOD, DEAD, SERVFAIL, GARBLED };

struct record {
	const char *name;
	uint16_t type;
	uint32_t ttl;
	const char *value; /* address, or "priority weight port target" */
};

struct server {
	int fd;
	struct event *event;
	enum mood mood;
	const struct record *records;
	unsigned n_asked;
	char last[300]; /* "name/type" */
};

struct fixture {
	struct loop *loop;
	struct log *log;
	struct alarms *alarms;
	struct dns *dns;
	struct server server, second;
	char hosts[32];
};

struct got {
	unsigned n;
	struct dns_result r;
	struct dns_query *cancel; /* in the callback */
};

static FILE *sink;

static const struct record records[] = {
	{ "both.test", DNS_A, 300, "127.0.0.2" },
	{ "both.test", DNS_AAAA, 300, "::1" },
	{ "four.test", DNS_A, 300, "127.0.0.4" },
	{ "four.test", DNS_A, 300, "127.0.0.5" },
	{ "zero.test", DNS_A, 0, "127.0.0.6" },
	{ "_sip._tcp.test", DNS_SRV, 300, "20 0 5061 four.test" },
	{ "_sip._tcp.test", DNS_SRV, 300, "10 0 5060 both.test" },
	{ "_sip._tcp.test", DNS_SRV, 300, "30 0 5062 none.test" },
	{ "_no._tcp.test", DNS_SRV, 300, "0 0 0 ." },
	{ "_gone._tcp.test", DNS_SRV, 300, "0 0 5060 none.test" },
	{ 0 },
};

static void put_name(struct buf *b, const char *name)
{
	struct slice rest = slice_of(name);

	while (rest.p && rest.n > 0) {
		struct slice label = slice_next(&rest, '.');

		if (label.n == 0)
			continue;
		buf_add_char(b, (char)label.n);
		buf_add_slice(b, label);
	}
	buf_add_char(b, 0);
}

static void put_record(struct buf *b, const struct record *r)
{
	unsigned priority, weight, port;
	char target[64];
	struct addr a;
	struct buf data;

	buf_init(&data, 512);
	if (r->type == DNS_SRV) {
		assert_int_equal(
			sscanf(r->value, "%u %u %u %63s", &priority, &weight, &port, target), 4);
		buf_add_u16(&data, (uint16_t)priority);
		buf_add_u16(&data, (uint16_t)weight);
		buf_add_u16(&data, (uint16_t)port);
		put_name(&data, target);
	} else {
		assert_true(addr_parse_ip(slice_of(r->value), 0, &a));
		buf_add(&data, a.ip, a.family == ADDR_IP4 ? 4 : 16);
	}
	buf_add_u16(b, 0xc00c); /* the question's name */
	buf_add_u16(b, r->type);
	buf_add_u16(b, 1);
	buf_add_u32(b, r->ttl);
	buf_add_u16(b, (uint16_t)data.n);
	buf_add_slice(b, buf_slice(&data));
	buf_fini(&data);
}

static void put_soa(struct buf *b)
{
	put_name(b, "test");
	buf_add_u16(b, DNS_SOA);
	buf_add_u16(b, 1);
	buf_add_u32(b, 300);
	buf_add_u16(b, 1 + 1 + 20);
	buf_add(b, "\0\0", 2);
	for (uint32_t i = 1; i <= 5; i++)
		buf_add_u32(b, i * 60);
}

/* Reads the one question of a query into name and type; returns where it ends. */
static size_t read_question(const uint8_t *q, char name[300], uint16_t *type)
{
	size_t at = 12, n = 0;

	while (q[at]) {
		if (n)
			name[n++] = '.';
		memcpy(name + n, q + at + 1, q[at]);
		n += q[at];
		at += q[at] + 1u;
	}
	name[n] = '\0';
	*type = (uint16_t)(q[at + 1] << 8 | q[at + 2]);
	return at + 5;
}

static void on_query(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	struct sockaddr_storage from;
	socklen_t from_n = sizeof(from);
	uint8_t q[600];
	ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &from_n);
	char name[300];
	uint16_t type, answers = 0, rcode = s->mood == SERVFAIL ? 2 : 0;
	size_t end;
	struct buf b, rrs;

	assert_true(n > 12);
	end = read_question(q, name, &type);
	s->n_asked++;
	snprintf(s->last, sizeof(s->last), "%.280s/%u", name, type);
	if (s->mood == DEAD)
		return;
	buf_init(&b, 4096);
	buf_init(&rrs, 4096);
	for (const struct record *r = s->records; r->name && !rcode; r++) {
		if (strcasecmp(r->name, name) != 0)
			continue;
		if (r->type == type) {
			put_record(&rrs, r);
			answers++;
		}
	}
	if (answers == 0 && !rcode)
		rcode = 3;
	buf_add(&b, q, 2);
	buf_add_u16(&b, 0x8180 | rcode);
	buf_add_u16(&b, 1);
	buf_add_u16(&b, answers);
	buf_add_u16(&b, rcode == 3);
	buf_add_u16(&b, 0);
	buf_add(&b, q + 12, end - 12);
	buf_add_slice(&b, buf_slice(&rrs));
	if (rcode == 3)
		put_soa(&b);
	if (s->mood == GARBLED)
		b.n -= 3;
	/* Under the sweep an allocation of this server may be the one that fails. */
	if (!b.failed && !rrs.failed)
		assert_true(sendto(fd, b.p, b.n, 0, (struct sockaddr *)&from, from_n) > 0);
	buf_fini(&b);
	buf_fini(&rrs);
}

static void server_start(struct server *s, struct loop *l)
{
	struct addr any = { .family = ADDR_IP4, .ip = { 127, 0, 0, 1 } };

	s->fd = net_bind_udp(&any);
	assert_true(s->fd >= 0);
	s->records = records;
	s->event = event_new(loop_base(l), s->fd, EV_READ | EV_PERSIST, on_query, s);
	event_add(s->event, NULL);
}

static void server_stop(struct server *s)
{
	event_free(s->event);
	close(s->fd);
}

static int apply(struct dns *d, int fd, uint32_t timeout_ms)
{
	char text[ADDR_STR_BYTES];
	struct addr a = net_local_addr(fd);
	char *servers[] = { text };
	struct dns_conf conf = { .servers = { servers, 1 },
				 .timeout_ms = timeout_ms,
				 .tries = 1,
				 .cache_max_ms = 3600000,
				 .cache_entries = 4096,
				 .stale_max_ms = 3600000 };

	addr_str(&a, text);
	return dns_apply(d, &conf);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	strcpy(f->hosts, "/tmp/tp-hosts-XXXXXX");
	fd = mkstemp(f->hosts);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "127.0.0.99 known.test\n::1 six.test\n", 35), 35);
	close(fd);
	f->loop = loop_new();
	f->log = log_new(sink, LOG_LEVEL_ERROR);
	f->alarms = alarms_new(f->log);
	f->dns = dns_new(f->loop, f->log, f->alarms);
	assert_non_null(f->dns);
	assert_int_equal(dns_set_hosts_file(f->dns, f->hosts), 0);
	server_start(&f->server, f->loop);
	server_start(&f->second, f->loop);
	assert_int_equal(apply(f->dns, f->server.fd, 5000), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dns_free(f->dns);
	server_stop(&f->server);
	server_stop(&f->second);
	alarms_free(f->alarms);
	log_free(f->log);
	loop_free(f->loop);
	unlink(f->hosts);
	free(f);
	return 0;
}

static void on_result(const struct dns_result *r, void *arg)
{
	struct got *g = arg;

	g->n++;
	g->r = *r;
	dns_cancel(g->cancel);
	g->cancel = NULL;
}

static void wait_for(struct fixture *f, struct got *g)
{
	while (g->n == 0)
		loop_once(f->loop, 1000);
	assert_int_equal(g->n, 1);
}

static struct got host(struct fixture *f, const char *name, enum dns_family family)
{
	struct got g = { 0 };

	dns_lookup_host(f->dns, name, 5060, family, on_result, &g);
	wait_for(f, &g);
	return g;
}

static struct got service(struct fixture *f, const char *name)
{
	struct got g = { 0 };

	dns_lookup_srv(f->dns, name, DNS_ANY_FAMILY, on_result, &g);
	wait_for(f, &g);
	return g;
}

static void assert_addr(const struct got *g, size_t i, const char *text)
{
	char buf[ADDR_STR_BYTES];

	assert_true(i < g->r.n);
	assert_string_equal(addr_str(&g->r.addrs[i].addr, buf), text);
}

/* What is known already must call back at once and leave nothing to cancel. */
static void assert_at_once(struct fixture *f, const char *name, int status)
{
	struct got g = { 0 };

	assert_null(dns_lookup_host(f->dns, name, 1, DNS_ANY_FAMILY, on_result, &g));
	assert_int_equal(g.n, 1);
	assert_int_equal(g.r.status, status);
}

static void literals_need_no_server(void **state)
{
	struct fixture *f = *state;
	struct got g = host(f, "192.0.2.1", DNS_ANY_FAMILY);

	assert_addr(&g, 0, "192.0.2.1:5060");
	assert_string_equal(g.r.addrs[0].target, "192.0.2.1");
	g = host(f, "[2001:db8::1]", DNS_IP6_ONLY);
	assert_addr(&g, 0, "[2001:db8::1]:5060");
	assert_at_once(f, "2001:db8::1", 0);
	assert_int_equal(host(f, "192.0.2.1", DNS_IP6_ONLY).r.status, -ENOENT);
	assert_int_equal(f->server.n_asked, 0);
}

static void names_that_cannot_be_are_refused(void **state)
{
	struct fixture *f = *state;
	char name[300];

	memset(name, 'a', sizeof(name));
	name[299] = '\0';
	assert_at_once(f, "", -ENOENT);
	assert_at_once(f, "a b.test", -ENOENT);
	assert_at_once(f, name, -ENOENT);
	assert_int_equal(f->server.n_asked, 0);
}

static void both_families_ip6_first(void **state)
{
	struct fixture *f = *state;
	struct got g = host(f, "Both.test", DNS_ANY_FAMILY);

	assert_int_equal(g.r.status, 0);
	assert_false(g.r.stale);
	assert_int_equal(g.r.n, 2);
	assert_addr(&g, 0, "[::1]:5060");
	assert_addr(&g, 1, "127.0.0.2:5060");
	assert_string_equal(g.r.addrs[0].target, "Both.test");
}

static void one_family_asks_for_one_type(void **state)
{
	struct fixture *f = *state;
	struct got g = host(f, "both.test", DNS_IP4_ONLY);

	assert_int_equal(g.r.n, 1);
	assert_addr(&g, 0, "127.0.0.2:5060");
	assert_int_equal(f->server.n_asked, 1);
	g = host(f, "both.test", DNS_IP6_ONLY);
	assert_int_equal(g.r.n, 1);
	assert_addr(&g, 0, "[::1]:5060");
	assert_int_equal(f->server.n_asked, 2);
}

static void the_second_time_comes_from_the_cache(void **state)
{
	struct fixture *f = *state;
	unsigned n;

	host(f, "four.test", DNS_ANY_FAMILY);
	n = f->server.n_asked;
	assert_at_once(f, "FOUR.test", 0);
	assert_int_equal(f->server.n_asked, n);
	assert_int_equal(dns_stats(f->dns).n_cache_hits, 2);
	assert_int_equal(dns_stats(f->dns).n_cached, 2); /* A, and that there is no AAAA */
	dns_flush(f->dns);
	assert_int_equal(dns_stats(f->dns).n_cached, 0);
}

static void what_does_not_exist_is_remembered_too(void **state)
{
	struct fixture *f = *state;
	unsigned n;

	assert_int_equal(host(f, "none.test.", DNS_ANY_FAMILY).r.status, -ENOENT);
	n = f->server.n_asked;
	assert_int_equal(n, 2);
	assert_at_once(f, "none.test.", -ENOENT);
	assert_int_equal(f->server.n_asked, n);
	assert_int_equal(dns_stats(f->dns).n_failures, 0);
}

static void lookups_of_one_name_share_the_question(void **state)
{
	struct fixture *f = *state;
	struct got a = { 0 }, b = { 0 };

	assert_non_null(dns_lookup_host(f->dns, "four.test", 1, DNS_IP4_ONLY, on_result, &a));
	assert_non_null(dns_lookup_host(f->dns, "Four.Test", 2, DNS_IP4_ONLY, on_result, &b));
	assert_int_equal(dns_stats(f->dns).n_inflight, 1);
	wait_for(f, &a);
	wait_for(f, &b);
	assert_int_equal(f->server.n_asked, 1);
	assert_addr(&a, 0, "127.0.0.4:1");
	assert_addr(&b, 1, "127.0.0.5:2");
	assert_int_equal(dns_stats(f->dns).n_inflight, 0);
}

static void srv_targets_come_in_order_with_their_ports(void **state)
{
	struct fixture *f = *state;
	struct got g = service(f, "_sip._tcp.test");

	assert_int_equal(g.r.status, 0);
	assert_int_equal(g.r.n, 4);
	assert_addr(&g, 0, "[::1]:5060");
	assert_addr(&g, 1, "127.0.0.2:5060");
	assert_addr(&g, 2, "127.0.0.4:5061");
	assert_addr(&g, 3, "127.0.0.5:5061");
	assert_int_equal(g.r.addrs[0].priority, 10);
	assert_string_equal(g.r.addrs[2].target, "four.test");
	/* All of it is in the cache now. */
	g = (struct got){ 0 };
	assert_null(dns_lookup_srv(f->dns, "_sip._tcp.test", DNS_IP4_ONLY, on_result, &g));
	assert_int_equal(g.r.n, 3);
}

static void srv_that_leads_nowhere(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(service(f, "_other._tcp.test").r.status, -ENOENT);
	assert_int_equal(service(f, "_no._tcp.test").r.status, -ENOENT);
	assert_int_equal(service(f, "_gone._tcp.test").r.status, -ENOENT);
	/* Are there any at all? Twice: the answers of the cache say so too. */
	for (int i = 0; i < 2; i++) {
		assert_false(service(f, "_other._tcp.test").r.has_records);
		assert_true(service(f, "_no._tcp.test").r.has_records);
		assert_true(service(f, "_gone._tcp.test").r.has_records);
		assert_true(service(f, "_sip._tcp.test").r.has_records);
	}
	assert_false(host(f, "both.test", DNS_ANY_FAMILY).r.has_records);
}

static void the_hosts_file_is_asked_first(void **state)
{
	struct fixture *f = *state;
	struct got g = { 0 };

	assert_null(dns_lookup_host(f->dns, "KNOWN.test", 7, DNS_ANY_FAMILY, on_result, &g));
	assert_addr(&g, 0, "127.0.0.99:7");
	/* It knows the name, so nobody else is asked for the other family. */
	assert_int_equal(host(f, "known.test", DNS_IP6_ONLY).r.status, -ENOENT);
	assert_int_equal(host(f, "six.test", DNS_ANY_FAMILY).r.n, 1);
	assert_int_equal(f->server.n_asked, 0);
}

static void server_failures_are_told_and_remembered_briefly(void **state)
{
	struct fixture *f = *state;
	unsigned n;

	f->server.mood = SERVFAIL;
	assert_int_equal(host(f, "four.test", DNS_IP4_ONLY).r.status, -EAGAIN);
	n = f->server.n_asked;
	assert_int_equal(host(f, "four.test", DNS_IP4_ONLY).r.status, -EAGAIN);
	assert_int_equal(f->server.n_asked, n);
	assert_true(dns_stats(f->dns).n_failures > 0);
}

static void garbled_answers_count_as_failures(void **state)
{
	struct fixture *f = *state;

	f->server.mood = GARBLED;
	assert_int_equal(host(f, "four.test", DNS_IP4_ONLY).r.status, -EAGAIN);
}

static void a_dead_server_times_out_and_raises_the_alarm(void **state)
{
	struct fixture *f = *state;
	uint64_t turns;

	assert_int_equal(apply(f->dns, f->server.fd, 100), 0);
	f->server.mood = DEAD;
	turns = loop_stats(f->loop).n_turns;
	assert_int_equal(host(f, "a.test.", DNS_IP4_ONLY).r.status, -ETIMEDOUT);
	/* Waiting is not turning: c-ares is asked when its time has come, not until it has. */
	assert_in_range(loop_stats(f->loop).n_turns - turns, 1, 100);
	assert_int_equal(host(f, "b.test.", DNS_IP4_ONLY).r.status, -ETIMEDOUT);
	assert_int_equal(alarm_count(f->alarms), 0);
	assert_int_equal(host(f, "c.test.", DNS_IP4_ONLY).r.status, -ETIMEDOUT);
	assert_int_equal(alarm_count(f->alarms), 1);
	f->server.mood = GOOD;
	assert_int_equal(host(f, "four.test", DNS_IP4_ONLY).r.status, 0);
	assert_int_equal(alarm_count(f->alarms), 0);
}

static void note_alarm(const struct alarm_entry *e, void *arg)
{
	*(struct alarm_entry *)arg = *e;
}

static void old_answers_are_used_when_the_servers_are_dead(void **state)
{
	struct fixture *f = *state;
	struct alarm_entry e;
	struct got g;
	unsigned n;

	assert_int_equal(apply(f->dns, f->server.fd, 100), 0);
	/* TTL 0: good for this lookup only. */
	g = host(f, "zero.test", DNS_IP4_ONLY);
	assert_int_equal(g.r.status, 0);
	assert_false(g.r.stale);
	f->server.mood = DEAD;
	g = host(f, "zero.test", DNS_IP4_ONLY);
	assert_int_equal(g.r.status, 0);
	assert_true(g.r.stale);
	assert_addr(&g, 0, "127.0.0.6:5060");
	assert_int_equal(alarm_count(f->alarms), 1);
	alarms_each(f->alarms, note_alarm, &e);
	assert_string_equal(e.id, "dns-dead");
	/* For a while nobody waits for the dead again. */
	n = f->server.n_asked;
	g = (struct got){ 0 };
	assert_null(dns_lookup_host(f->dns, "zero.test", 1, DNS_IP4_ONLY, on_result, &g));
	assert_true(g.r.stale);
	assert_int_equal(f->server.n_asked, n);
	assert_true(dns_stats(f->dns).n_stale >= 2);
}

static void new_servers_end_the_trouble(void **state)
{
	struct fixture *f = *state;
	struct got g = { 0 };

	f->server.mood = DEAD;
	assert_non_null(dns_lookup_host(f->dns, "four.test", 9, DNS_IP4_ONLY, on_result, &g));
	while (f->server.n_asked == 0)
		loop_once(f->loop, 1000);
	/* What is under way moves over. */
	assert_int_equal(apply(f->dns, f->second.fd, 5000), 0);
	assert_int_equal(g.n, 0);
	wait_for(f, &g);
	assert_addr(&g, 0, "127.0.0.4:9");
	assert_int_equal(f->second.n_asked, 1);
}

static void the_same_configuration_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct dns_channel *before = f->dns->channel;

	assert_int_equal(apply(f->dns, f->server.fd, 5000), 0);
	assert_ptr_equal(f->dns->channel, before);
	host(f, "four.test", DNS_IP4_ONLY);
	assert_int_equal(apply(f->dns, f->server.fd, 4000), 0);
	assert_int_equal(dns_stats(f->dns).n_cached, 1);
}

static void bad_servers_are_refused(void **state)
{
	struct fixture *f = *state;
	char *servers[] = { (char *)"dns.example.com" };
	struct dns_conf conf = { .servers = { servers, 1 }, .timeout_ms = 100, .tries = 1 };

	assert_int_equal(dns_apply(f->dns, &conf), -EINVAL);
	assert_int_equal(host(f, "four.test", DNS_IP4_ONLY).r.status, 0);
}

static void cancelled_lookups_do_not_call_back(void **state)
{
	struct fixture *f = *state;
	struct got a = { 0 }, b = { 0 };
	struct dns_query *q;

	q = dns_lookup_host(f->dns, "both.test", 1, DNS_ANY_FAMILY, on_result, &a);
	assert_non_null(dns_lookup_host(f->dns, "both.test", 1, DNS_ANY_FAMILY, on_result, &b));
	dns_cancel(q);
	dns_cancel(NULL);
	wait_for(f, &b);
	assert_int_equal(a.n, 0);
}

static void one_callback_may_cancel_another_and_itself(void **state)
{
	struct fixture *f = *state;
	struct got a = { 0 }, b = { 0 };

	dns_lookup_host(f->dns, "four.test", 1, DNS_IP4_ONLY, on_result, &a);
	a.cancel = dns_lookup_host(f->dns, "four.test", 1, DNS_IP4_ONLY, on_result, &b);
	wait_for(f, &a);
	assert_int_equal(b.n, 0);
	a = (struct got){ 0 };
	a.cancel = dns_lookup_srv(f->dns, "_sip._tcp.test", DNS_ANY_FAMILY, on_result, &a);
	wait_for(f, &a);
	assert_int_equal(a.r.n, 4);
}

static void on_result_ask_again(const struct dns_result *r, void *arg)
{
	struct fixture *f = ((void **)arg)[0];
	struct got *g = ((void **)arg)[1];

	dns_lookup_host(f->dns, "both.test", 1, DNS_IP4_ONLY, on_result, g);
}

static void a_callback_may_ask(void **state)
{
	struct fixture *f = *state;
	struct got g = { 0 };
	void *both[] = { f, &g };

	dns_lookup_host(f->dns, "four.test", 1, DNS_IP4_ONLY, on_result_ask_again, both);
	wait_for(f, &g);
	assert_addr(&g, 0, "127.0.0.2:1");
}

static void questions_in_flight_are_bounded(void **state)
{
	struct fixture *f = *state;
	static struct got g[DNS_MAX_QUESTIONS + 1];
	char name[32];

	memset(g, 0, sizeof(g));
	f->server.mood = DEAD;
	for (int i = 0; i < DNS_MAX_QUESTIONS; i++) {
		snprintf(name, sizeof(name), "n%d.test", i);
		assert_non_null(dns_lookup_host(f->dns, name, 1, DNS_IP4_ONLY, on_result, &g[i]));
	}
	assert_int_equal(dns_stats(f->dns).n_inflight, DNS_MAX_QUESTIONS);
	assert_null(dns_lookup_host(f->dns, "more.test", 1, DNS_IP4_ONLY, on_result,
				    &g[DNS_MAX_QUESTIONS]));
	assert_int_equal(g[DNS_MAX_QUESTIONS].r.status, -EAGAIN);
	/* One that is being asked can be waited for. */
	assert_non_null(dns_lookup_host(f->dns, "n0.test", 1, DNS_IP4_ONLY, on_result, &g[0]));
	/* The end of the fixture frees them, without callback. */
}

static void waiting_callers_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct got g = { 0 };

	f->server.mood = DEAD;
	for (int i = 0; i < DNS_MAX_QUERIES; i++)
		assert_non_null(dns_lookup_host(f->dns, "n.test", 1, DNS_IP4_ONLY, on_result, &g));
	assert_null(dns_lookup_host(f->dns, "n.test", 1, DNS_IP4_ONLY, on_result, &g));
	assert_int_equal(g.n, 1);
	assert_int_equal(g.r.status, -EAGAIN);
	assert_null(dns_lookup_srv(f->dns, "n.test", DNS_IP4_ONLY, on_result, &g));
	assert_int_equal(g.n, 2);
}

static void before_the_first_configuration_nothing_is_asked(void **state)
{
	struct fixture *f = *state;
	struct dns *d = dns_new(f->loop, f->log, f->alarms);
	struct got g = { 0 };

	assert_null(dns_lookup_host(d, "x.test", 1, DNS_IP4_ONLY, on_result, &g));
	assert_int_equal(g.r.status, -EAGAIN);
	dns_free(d);
}

static void look_up(void *arg)
{
	struct fixture *f = arg;
	struct dns *d = dns_new(f->loop, NULL, NULL);
	struct got a = { 0 }, b = { 0 };

	if (!d)
		return;
	if (dns_set_hosts_file(d, f->hosts) == 0 && apply(d, f->server.fd, 200) == 0) {
		dns_lookup_srv(d, "_sip._tcp.test", DNS_ANY_FAMILY, on_result, &a);
		wait_for(f, &a);
		dns_lookup_host(d, "four.test", 1, DNS_IP4_ONLY, on_result, &b);
		wait_for(f, &b);
		assert_true(a.r.status == 0 || alloc_fail_hit());
	}
	dns_free(d);
}

static void survives_failing_allocations(void **state)
{
	alloc_fail_sweep(look_up, *state);
}

static const char zone_text[] = "$TTL 60\n"
				"@ IN SOA ns admin 1 60 60 60 30\n"
				"@ IN NS ns\n"
				"ns IN A 127.0.0.1\n"
				"_sip._tcp IN SRV 1 1 5060 alias\n"
				"_sip._tcp IN SRV 0 1 5070 ns\n"
				"alias IN CNAME real\n"
				"real IN A 127.0.0.30\n"
				"real IN AAAA ::1\n";

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[128];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static pid_t start_named(const char *dir, uint16_t port)
{
	char conf[512], path[128], port_text[8];
	pid_t pid;

	snprintf(conf, sizeof(conf),
		 "options { directory \"%s\"; listen-on port %u { 127.0.0.1; }; listen-on-v6 { "
		 "none; }; recursion no; pid-file none; session-keyfile none; "
		 "managed-keys-directory \"%s\"; };\ncontrols { };\n"
		 "zone \"real.test\" { type primary; file \"zone\"; };\n",
		 dir, port, dir);
	write_file(dir, "named.conf", conf);
	write_file(dir, "zone", zone_text);
	snprintf(path, sizeof(path), "%s/named.conf", dir);
	snprintf(port_text, sizeof(port_text), "%u", port);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		assert_non_null(freopen("/dev/null", "w", stderr));
		execl(NAMED, "named", "-g", "-c", path, "-p", port_text, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void a_real_server(void **state)
{
	struct fixture *f = *state;
	char dir[] = "/tmp/tp-named-XXXXXX", command[64];
	struct addr any = { .family = ADDR_IP4, .ip = { 127, 0, 0, 1 } };
	struct got g;
	int status = 0, fd;
	pid_t pid;

	if (access(NAMED, X_OK) != 0)
		skip();
	/* Its port: free now. Its address is then given to the resolver in place of the script's.
	 */
	fd = net_bind_udp(&any);
	assert_non_null(mkdtemp(dir));
	any = net_local_addr(fd);
	close(fd);
	pid = start_named(dir, any.port);
	for (int i = 0; i < 100; i++) {
		char text[ADDR_STR_BYTES], *servers[] = { text };
		struct dns_conf conf = { .servers = { servers, 1 },
					 .timeout_ms = 200 + (uint32_t)i,
					 .tries = 1,
					 .cache_max_ms = 3600000,
					 .cache_entries = 100 };
		struct got ready;

		addr_str(&any, text);
		assert_int_equal(dns_apply(f->dns, &conf), 0);
		ready = host(f, "ns.real.test", DNS_IP4_ONLY);
		if (ready.r.status == 0 || waitpid(pid, &status, WNOHANG) == pid)
			break;
		/* Refused at once while it starts: let the loop wait. */
		loop_once(f->loop, 100);
	}
	g = service(f, "_sip._tcp.real.test");
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(g.r.status, 0);
	assert_int_equal(g.r.n, 3);
	assert_addr(&g, 0, "127.0.0.1:5070");
	assert_addr(&g, 1, "[::1]:5060");
	assert_addr(&g, 2, "127.0.0.30:5060");
}

int main(void)
{
#define DNS_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		DNS_TEST(literals_need_no_server),
		DNS_TEST(names_that_cannot_be_are_refused),
		DNS_TEST(both_families_ip6_first),
		DNS_TEST(one_family_asks_for_one_type),
		DNS_TEST(the_second_time_comes_from_the_cache),
		DNS_TEST(what_does_not_exist_is_remembered_too),
		DNS_TEST(lookups_of_one_name_share_the_question),
		DNS_TEST(srv_targets_come_in_order_with_their_ports),
		DNS_TEST(srv_that_leads_nowhere),
		DNS_TEST(the_hosts_file_is_asked_first),
		DNS_TEST(server_failures_are_told_and_remembered_briefly),
		DNS_TEST(garbled_answers_count_as_failures),
		DNS_TEST(a_dead_server_times_out_and_raises_the_alarm),
		DNS_TEST(old_answers_are_used_when_the_servers_are_dead),
		DNS_TEST(new_servers_end_the_trouble),
		DNS_TEST(the_same_configuration_changes_nothing),
		DNS_TEST(bad_servers_are_refused),
		DNS_TEST(cancelled_lookups_do_not_call_back),
		DNS_TEST(one_callback_may_cancel_another_and_itself),
		DNS_TEST(a_callback_may_ask),
		DNS_TEST(questions_in_flight_are_bounded),
		DNS_TEST(waiting_callers_are_bounded),
		DNS_TEST(before_the_first_configuration_nothing_is_asked),
		DNS_TEST(survives_failing_allocations),
		DNS_TEST(a_real_server),
	};
	int failed;

	sink = fopen("/dev/null", "w");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fclose(sink);
	return failed;
}
