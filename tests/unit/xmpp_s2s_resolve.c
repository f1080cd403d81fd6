/* SRV records of both kinds as one set, what stands for "none", and whom DNS may not name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "xmpp/s2s_resolve.h"

static uint32_t next_draw; /* what the weights draw: 0 the first, more: later ones */

static uint32_t draw(void *arg, uint32_t n)
{
	return next_draw < n ? next_draw : n - 1;
}

static const char *refuse(void *arg, const struct addr *a)
{
	return s2s_resolve_inside(a);
}

static const struct s2s_resolve_filter filter = { .refuse = refuse, .random = draw };

static void add(struct dns_result *r, const char *ip, uint16_t port, uint16_t priority,
		uint16_t weight, const char *target)
{
	struct dns_addr *a = &r->addrs[r->n++];

	assert_true(addr_parse_ip(slice_of(ip), port, &a->addr));
	a->priority = priority;
	a->weight = weight;
	slice_copy(a->target, sizeof(a->target), slice_of(target));
	r->has_records = true;
}

struct merged {
	struct s2s_target t[S2S_RESOLVE_MAX];
	size_t n;
	const char *why;
	enum s2s_resolve_status status;
};

static void merge(const struct dns_result *xmpps, const struct dns_result *xmpp, struct merged *m)
{
	m->status = s2s_resolve_srv(xmpps, xmpp, &filter, m->t, &m->n, &m->why);
}

static void is_at(const struct merged *m, size_t i, const char *text, bool direct)
{
	char s[ADDR_STR_BYTES];

	assert_true(i < m->n);
	assert_string_equal(addr_str(&m->t[i].addr, s), text);
	assert_int_equal(m->t[i].direct_tls, direct);
}

/* XEP-0368: one set. */
static void test_priorities_mix(void **state)
{
	struct dns_result xmpps = { 0 }, xmpp = { 0 };
	struct merged m;

	next_draw = 0;
	add(&xmpps, "198.51.100.1", 5270, 10, 0, "a.p.org");
	add(&xmpps, "198.51.100.2", 5270, 30, 0, "b.p.org");
	add(&xmpp, "198.51.100.3", 5269, 5, 0, "c.p.org");
	add(&xmpp, "2001:db8::4", 5269, 20, 0, "d.p.org");
	add(&xmpp, "198.51.100.4", 5269, 20, 0, "d.p.org");
	merge(&xmpps, &xmpp, &m);
	assert_int_equal(m.status, S2S_RESOLVED);
	assert_int_equal(m.n, 5);
	is_at(&m, 0, "198.51.100.3:5269", false);
	is_at(&m, 1, "198.51.100.1:5270", true);
	is_at(&m, 2, "[2001:db8::4]:5269", false);
	is_at(&m, 3, "198.51.100.4:5269", false);
	is_at(&m, 4, "198.51.100.2:5270", true);
	assert_string_equal(m.t[4].host, "b.p.org");
}

static void test_weights(void **state)
{
	struct dns_result xmpps = { 0 }, xmpp = { 0 };
	unsigned n_first = 0;
	struct merged m;

	add(&xmpps, "198.51.100.1", 5270, 10, 1, "a.p.org");
	add(&xmpp, "198.51.100.2", 5269, 10, 3, "b.p.org");
	/* 9 of 34 draws are the first target's. */
	for (next_draw = 0; next_draw < 34; next_draw++) {
		merge(&xmpps, &xmpp, &m);
		assert_int_equal(m.n, 2);
		n_first += m.t[0].direct_tls;
	}
	assert_int_equal(n_first, 9);
}

static void test_none(void **state)
{
	struct dns_result none = { .status = -ENOENT };
	struct dns_result dot = { .status = -ENOENT, .has_records = true };
	struct dns_result dead = { .status = -ETIMEDOUT }, fail = { .status = -EAGAIN };
	struct dns_result good = { 0 };
	struct merged m;

	add(&good, "198.51.100.1", 5269, 0, 0, "a.p.org");
	merge(&none, &none, &m);
	assert_int_equal(m.status, S2S_RESOLVE_HOST);
	/* The lone "." */
	merge(&none, &dot, &m);
	assert_int_equal(m.status, S2S_RESOLVE_NOT_FOUND);
	merge(&dot, &dot, &m);
	assert_int_equal(m.status, S2S_RESOLVE_NOT_FOUND);
	merge(&dot, &none, &m);
	assert_int_equal(m.status, S2S_RESOLVE_HOST);
	merge(&dot, &good, &m);
	assert_int_equal(m.status, S2S_RESOLVED);
	merge(&good, &dot, &m);
	assert_int_equal(m.status, S2S_RESOLVED);
	is_at(&m, 0, "198.51.100.1:5269", true);
	/* SERVFAIL is no NXDOMAIN: nothing else is tried instead. */
	merge(&fail, &none, &m);
	assert_int_equal(m.status, S2S_RESOLVE_UNKNOWN);
	merge(&none, &dead, &m);
	assert_int_equal(m.status, S2S_RESOLVE_UNKNOWN);
	merge(&dead, &good, &m);
	assert_int_equal(m.status, S2S_RESOLVED);
}

static void test_inside_is_refused(void **state)
{
	static const char *const inside[] = { "127.0.0.1",  "10.1.2.3",	       "192.168.0.1",
					      "172.16.0.1", "169.254.169.254", "::1",
					      "fe80::1",    "fd00::1",	       "0.0.0.0",
					      "224.0.0.1",  "64:ff9b::7f00:1", "2002:a00:1::1" };
	struct dns_result none = { .status = -ENOENT };
	struct merged m;

	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
		struct dns_result r = { 0 };
		struct s2s_resolve_filter any = { .random = draw };

		add(&r, inside[i], 5269, 0, 0, "evil.p.org");
		merge(&none, &r, &m);
		assert_int_equal(m.status, S2S_RESOLVE_NOT_FOUND);
		assert_int_equal(m.n, 0);
		assert_non_null(m.why);
		assert_int_equal(s2s_resolve_host(&r, false, &filter, m.t, &m.n, &m.why),
				 S2S_RESOLVE_NOT_FOUND);
		/* A static route may. */
		assert_int_equal(s2s_resolve_host(&r, true, &any, m.t, &m.n, &m.why), S2S_RESOLVED);
		is_at(&m, 0, m.n ? addr_str(&r.addrs[0].addr, (char[ADDR_STR_BYTES]){ 0 }) : "",
		      true);
		/* Beside a good one only the good one is left. */
		add(&r, "198.51.100.9", 5269, 1, 0, "p.org");
		merge(&none, &r, &m);
		assert_int_equal(m.n, 1);
		is_at(&m, 0, "198.51.100.9:5269", false);
	}
}

static void test_bound(void **state)
{
	struct dns_result xmpps = { 0 }, xmpp = { 0 };
	char ip[32], name[32];
	struct merged m;

	for (int i = 0; i < DNS_MAX_ADDRS; i++) {
		snprintf(ip, sizeof(ip), "198.51.100.%d", i + 1);
		snprintf(name, sizeof(name), "h%d.p.org", i);
		add(&xmpps, ip, 5270, (uint16_t)i, 0, name);
		snprintf(ip, sizeof(ip), "203.0.113.%d", i + 1);
		add(&xmpp, ip, 5269, (uint16_t)i, 0, name);
	}
	merge(&xmpps, &xmpp, &m);
	assert_int_equal(m.n, S2S_RESOLVE_MAX);
}

static void test_hosts_add_up(void **state)
{
	struct dns_result a = { 0 }, none = { .status = -ENOENT }, fail = { .status = -EAGAIN };
	struct merged m = { 0 };

	add(&a, "198.51.100.1", 5269, 0, 0, "p.org");
	assert_int_equal(s2s_resolve_host(&a, false, &filter, m.t, &m.n, &m.why), S2S_RESOLVED);
	assert_int_equal(s2s_resolve_host(&a, false, &filter, m.t, &m.n, &m.why), S2S_RESOLVED);
	assert_int_equal(m.n, 2);
	assert_int_equal(s2s_resolve_host(&none, false, &filter, m.t, &m.n, &m.why),
			 S2S_RESOLVE_NOT_FOUND);
	assert_int_equal(s2s_resolve_host(&fail, false, &filter, m.t, &m.n, &m.why),
			 S2S_RESOLVE_UNKNOWN);
	assert_int_equal(m.n, 2);
}

/* --- with DNS, as far as it answers from literals and the hosts file --- */

struct asked {
	unsigned n_done;
	struct merged m;
	bool not_found;
};

static void on_done(void *ctx, const struct s2s_target *t, size_t n, bool not_found,
		    const char *why)
{
	struct asked *a = ctx;

	a->n_done++;
	a->m.n = n;
	a->m.why = why;
	a->not_found = not_found;
	memcpy(a->m.t, t, n * sizeof(*t));
}

static void turn(struct loop *loop)
{
	for (int i = 0; i < 4; i++)
		loop_once(loop, 0);
}

static void test_resolver(void **state)
{
	struct loop *loop = loop_new();
	FILE *sink = fopen("/dev/null", "w");
	struct log *log = log_new(sink, LOG_LEVEL_ERROR);
	struct alarms *alarms = alarms_new(log);
	struct dns *dns = dns_new(loop, log, alarms);
	struct s2s_resolver *r = s2s_resolver_new(loop, dns);
	struct partner_rule rule = { .n_routes = 3, .direct_tls = true };
	struct asked a = { 0 };
	char path[] = "/tmp/hosts.XXXXXX";
	int fd = mkstemp(path);
	uint64_t id;

	assert_int_equal(write(fd, "10.1.2.3 inside.p.org\n", 22), 22);
	close(fd);
	assert_int_equal(dns_set_hosts_file(dns, path), 0);
	strcpy(rule.routes[0], "inside.p.org:5300");
	strcpy(rule.routes[1], "[::1]:5270");
	strcpy(rule.routes[2], "127.0.0.1:5269");
	/* Routes lead inside, all of them, in their order. */
	id = s2s_resolver_ask(r, "p.org", &rule, on_done, &a);
	assert_true(id != 0);
	assert_int_equal(a.n_done, 0);
	turn(loop);
	assert_int_equal(a.n_done, 1);
	assert_int_equal(a.m.n, 3);
	is_at(&a.m, 0, "10.1.2.3:5300", true);
	is_at(&a.m, 1, "[::1]:5270", true);
	is_at(&a.m, 2, "127.0.0.1:5269", true);
	s2s_resolver_cancel(r, id); /* too late, and no harm */
	/* A partner that is an address, inside: refused; outside: taken. */
	assert_true(s2s_resolver_ask(r, "10.9.9.9", NULL, on_done, &a) != 0);
	turn(loop);
	assert_int_equal(a.n_done, 2);
	assert_int_equal(a.m.n, 0);
	assert_true(a.not_found);
	assert_true(s2s_resolver_ask(r, "198.51.100.7", NULL, on_done, &a) != 0);
	turn(loop);
	assert_int_equal(a.n_done, 3);
	is_at(&a.m, 0, "198.51.100.7:5269", false);
	/* Cancelled, and freed: no callback. */
	id = s2s_resolver_ask(r, "198.51.100.7", NULL, on_done, &a);
	s2s_resolver_cancel(r, id);
	s2s_resolver_ask(r, "198.51.100.7", NULL, on_done, &a);
	s2s_resolver_free(r);
	turn(loop);
	assert_int_equal(a.n_done, 3);
	dns_free(dns);
	alarms_free(alarms);
	log_free(log);
	fclose(sink);
	loop_free(loop);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_priorities_mix), cmocka_unit_test(test_weights),
		cmocka_unit_test(test_none),	       cmocka_unit_test(test_inside_is_refused),
		cmocka_unit_test(test_bound),	       cmocka_unit_test(test_hosts_add_up),
		cmocka_unit_test(test_resolver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
