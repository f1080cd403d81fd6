/* The pure parts of the resolver: answers, cache, order, hosts file. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "core/dns_answer.h"
#include "core/dns_cache.h"
#include "core/dns_hosts.h"
#include "core/dns_order.h"
#include "support/alloc_fail.h"

static const uint8_t seed[16] = { 3 };

static void put_name(struct buf *b, const char *name)
{
	struct slice rest = slice_of(name);

	while (rest.p && rest.n > 0) {
		struct slice label = slice_next(&rest, '.');

		buf_add_char(b, (char)label.n);
		buf_add_slice(b, label);
	}
	buf_add_char(b, 0);
}

static void put_head(struct buf *b, const char *qname, uint16_t qtype, uint16_t answers,
		     uint16_t authority)
{
	buf_init(b, 65536);
	buf_add_u16(b, 1);
	buf_add_u16(b, 0x8180);
	buf_add_u16(b, 1);
	buf_add_u16(b, answers);
	buf_add_u16(b, authority);
	buf_add_u16(b, 0);
	put_name(b, qname);
	buf_add_u16(b, qtype);
	buf_add_u16(b, 1);
}

static void put_rr(struct buf *b, const char *owner, uint16_t type, uint32_t ttl, const void *data,
		   size_t n)
{
	put_name(b, owner);
	buf_add_u16(b, type);
	buf_add_u16(b, 1);
	buf_add_u32(b, ttl);
	buf_add_u16(b, (uint16_t)n);
	buf_add(b, data, n);
}

static void put_a(struct buf *b, const char *owner, uint32_t ttl, const char *ip)
{
	struct addr a;

	assert_true(addr_parse_ip(slice_of(ip), 0, &a));
	put_rr(b, owner, a.family == ADDR_IP4 ? DNS_A : DNS_AAAA, ttl, a.ip,
	       a.family == ADDR_IP4 ? 4 : 16);
}

static void put_cname(struct buf *b, const char *owner, uint32_t ttl, const char *to)
{
	struct buf d;

	buf_init(&d, 300);
	put_name(&d, to);
	put_rr(b, owner, DNS_CNAME, ttl, d.p, d.n);
	buf_fini(&d);
}

static void put_srv(struct buf *b, const char *owner, uint16_t priority, uint16_t weight,
		    const char *target)
{
	struct buf d;

	buf_init(&d, 300);
	buf_add_u16(&d, priority);
	buf_add_u16(&d, weight);
	buf_add_u16(&d, 5060);
	put_name(&d, target);
	put_rr(b, owner, DNS_SRV, 100, d.p, d.n);
	buf_fini(&d);
}

static void put_soa(struct buf *b, uint32_t ttl, uint32_t minimum)
{
	struct buf d;

	buf_init(&d, 300);
	put_name(&d, "ns.example.com");
	put_name(&d, "admin.example.com");
	for (uint32_t i = 0; i < 4; i++)
		buf_add_u32(&d, i);
	buf_add_u32(&d, minimum);
	put_rr(b, "example.com", DNS_SOA, ttl, d.p, d.n);
	buf_fini(&d);
}

static struct dns_answer parsed(struct buf *b, enum dns_type type)
{
	struct dns_answer a;

	assert_false(b->failed);
	assert_int_equal(dns_answer_parse(buf_slice(b), type, &a), 0);
	buf_fini(b);
	return a;
}

static void assert_ip(const struct addr *a, const char *text)
{
	char buf[ADDR_STR_BYTES];

	assert_string_equal(addr_ip_str(a, buf), text);
}

static void addresses_with_the_smallest_ttl(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "Host.Example.com", DNS_A, 2, 0);
	put_a(&b, "host.example.COM", 300, "192.0.2.1");
	put_a(&b, "host.example.com", 60, "192.0.2.2");
	a = parsed(&b, DNS_A);
	assert_int_equal(a.status, 0);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.ttl_s, 60);
	assert_ip(&a.records[0].addr, "192.0.2.1");
	assert_ip(&a.records[1].addr, "192.0.2.2");
}

static void cnames_are_followed_in_any_order_and_lower_the_ttl(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "www.example.com", DNS_AAAA, 3, 0);
	put_a(&b, "c.example.net", 500, "2001:db8::1");
	put_cname(&b, "b.example.net", 20, "c.example.net");
	put_cname(&b, "www.example.com", 900, "b.example.net");
	a = parsed(&b, DNS_AAAA);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.ttl_s, 20);
	assert_ip(&a.records[0].addr, "2001:db8::1");
}

static void records_of_strangers_are_ignored(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "www.example.com", DNS_A, 2, 0);
	put_a(&b, "bank.example.org", 5, "192.0.2.66");
	put_a(&b, "www.example.com", 500, "192.0.2.1");
	a = parsed(&b, DNS_A);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.ttl_s, 500);
	assert_ip(&a.records[0].addr, "192.0.2.1");
}

static void cname_circles_end(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "a.example.com", DNS_A, 2, 0);
	put_cname(&b, "a.example.com", 9, "b.example.com");
	put_cname(&b, "b.example.com", 9, "a.example.com");
	a = parsed(&b, DNS_A);
	assert_int_equal(a.status, -ENOENT);
	assert_int_equal(a.ttl_s, 0);
}

static void negative_answers_take_the_ttl_of_the_soa(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "no.example.com", DNS_A, 0, 1);
	put_soa(&b, 900, 120);
	a = parsed(&b, DNS_A);
	assert_int_equal(a.status, -ENOENT);
	assert_int_equal(a.ttl_s, 120);
	put_head(&b, "no.example.com", DNS_A, 0, 1);
	put_soa(&b, 90, 120);
	assert_int_equal(parsed(&b, DNS_A).ttl_s, 90);
	put_head(&b, "no.example.com", DNS_A, 0, 0);
	assert_int_equal(parsed(&b, DNS_A).ttl_s, 0);
}

static void srv_records(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "_sip._tcp.example.com", DNS_SRV, 2, 0);
	put_srv(&b, "_sip._tcp.example.com", 10, 60, "a_1.example.com");
	put_srv(&b, "_sip._tcp.example.com", 20, 0, "b.example.com");
	a = parsed(&b, DNS_SRV);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.records[0].priority, 10);
	assert_int_equal(a.records[0].weight, 60);
	assert_int_equal(a.records[0].port, 5060);
	assert_string_equal(a.records[0].target, "a_1.example.com");
}

static void the_lone_root_target_means_not_offered(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "_sip._tcp.example.com", DNS_SRV, 1, 0);
	put_srv(&b, "_sip._tcp.example.com", 0, 0, "");
	a = parsed(&b, DNS_SRV);
	assert_int_equal(a.status, -ENOENT);
	assert_int_equal(a.n, 0);
	assert_true(a.none);
	assert_int_equal(a.ttl_s, 100);
}

static void more_than_sixteen_are_cut(void **state)
{
	struct dns_answer a;
	struct buf b;

	for (uint16_t n = DNS_MAX_RECORDS; n <= DNS_MAX_RECORDS + 1; n++) {
		put_head(&b, "x.example", DNS_A, n, 0);
		for (int i = 0; i < n; i++)
			put_a(&b, "x.example", 9, "192.0.2.1");
		a = parsed(&b, DNS_A);
		assert_int_equal(a.n, DNS_MAX_RECORDS);
	}
}

static void a_ttl_with_the_top_bit_is_zero(void **state)
{
	struct buf b;

	put_head(&b, "x.example", DNS_A, 1, 0);
	put_a(&b, "x.example", 0x80000001, "192.0.2.1");
	assert_int_equal(parsed(&b, DNS_A).ttl_s, 0);
}

static void bad_messages_are_refused_at_every_cut(void **state)
{
	struct dns_answer a;
	struct buf b;

	put_head(&b, "_sip._tcp.example.com", DNS_SRV, 1, 0);
	put_srv(&b, "_sip._tcp.example.com", 10, 60, "a.example.com");
	for (size_t n = 0; n < b.n; n++) {
		/* A copy of the exact size, so that ASan sees a byte too far. */
		char *cut = malloc(n ? n : 1);

		memcpy(cut, b.p, n);
		assert_int_equal(dns_answer_parse((struct slice){ cut, n }, DNS_SRV, &a), -EBADMSG);
		free(cut);
	}
	assert_int_equal(dns_answer_parse(buf_slice(&b), DNS_A, &a), -EBADMSG);
	buf_fini(&b);
	/* A name that points at itself. */
	put_head(&b, "x", DNS_A, 1, 0);
	buf_add_u16(&b, (uint16_t)(0xc000 | b.n));
	buf_add(&b, "\0\1\0\1\0\0\0\1\0\4abcd", 14);
	assert_int_equal(dns_answer_parse(buf_slice(&b), DNS_A, &a), -EBADMSG);
	buf_fini(&b);
	/* An address of five bytes. */
	put_head(&b, "x", DNS_A, 1, 0);
	put_rr(&b, "x", DNS_A, 1, "abcde", 5);
	assert_int_equal(dns_answer_parse(buf_slice(&b), DNS_A, &a), -EBADMSG);
	buf_fini(&b);
}

static void names_that_may_be_asked_for(void **state)
{
	char name[256];

	assert_true(dns_name_ok(SLICE("a")));
	assert_true(dns_name_ok(SLICE("_sip._tcp.Example.com.")));
	assert_true(dns_name_ok(SLICE("under_score.lab")));
	assert_false(dns_name_ok(SLICE("")));
	assert_false(dns_name_ok(SLICE(".")));
	assert_false(dns_name_ok(SLICE("a..b")));
	assert_false(dns_name_ok(SLICE(".a")));
	assert_false(dns_name_ok(SLICE("a b")));
	assert_false(dns_name_ok(SLICE("a\0b")));
	assert_false(dns_name_ok(SLICE("b\xc3\xbc")));
	memset(name, 'a', sizeof(name));
	assert_true(dns_name_ok((struct slice){ name, 63 }));
	assert_false(dns_name_ok((struct slice){ name, 64 }));
	for (size_t i = 1; i < sizeof(name); i += 2)
		name[i] = '.';
	assert_true(dns_name_ok((struct slice){ name, 253 }));
	assert_false(dns_name_ok((struct slice){ name, 255 }));
}

static const struct dns_cache_limits limits = {
	.max_entries = 3, .max_fresh_ms = 10000, .max_negative_ms = 5000, .max_stale_ms = 60000
};

static struct dns_answer address(uint32_t ttl_s, uint8_t last)
{
	struct dns_answer a = { .ttl_s = ttl_s, .n = 1 };

	a.records[0].addr = (struct addr){ .family = ADDR_IP4, .ip = { 192, 0, 2, last } };
	return a;
}

static enum dns_cache_state state_of(struct dns_cache *c, const char *name, int64_t now_ms)
{
	const struct dns_answer *a;

	return dns_cache_get(c, slice_of(name), DNS_A, now_ms, &a);
}

static void put(struct dns_cache *c, const char *name, struct dns_answer a, int64_t now_ms)
{
	dns_cache_put(c, slice_of(name), DNS_A, &a, now_ms);
}

static void answers_are_fresh_then_stale_then_gone(void **state)
{
	struct dns_cache *c = dns_cache_new(seed, &limits);
	const struct dns_answer *a;

	put(c, "x.example", address(2, 1), 1000);
	assert_int_equal(dns_cache_get(c, SLICE("X.Example"), DNS_A, 2999, &a), DNS_CACHE_FRESH);
	assert_int_equal(a->records[0].addr.ip[3], 1);
	assert_int_equal(state_of(c, "x.example", 3000), DNS_CACHE_STALE);
	assert_int_equal(state_of(c, "x.example", 62999), DNS_CACHE_STALE);
	assert_int_equal(state_of(c, "x.example", 63000), DNS_CACHE_MISS);
	assert_int_equal(dns_cache_get(c, SLICE("x.example"), DNS_AAAA, 1000, &a), DNS_CACHE_MISS);
	assert_null(a);
	dns_cache_free(c);
}

static void ttls_are_capped(void **state)
{
	struct dns_cache *c = dns_cache_new(seed, &limits);
	struct dns_answer no = { .status = -ENOENT, .ttl_s = 3600 };

	put(c, "x", address(3600, 1), 0);
	assert_int_equal(state_of(c, "x", 9999), DNS_CACHE_FRESH);
	assert_int_equal(state_of(c, "x", 10000), DNS_CACHE_STALE);
	put(c, "y", no, 0);
	assert_int_equal(state_of(c, "y", 4999), DNS_CACHE_FRESH);
	assert_int_equal(state_of(c, "y", 5000), DNS_CACHE_MISS);
	dns_cache_free(c);
}

static void the_least_used_goes_first(void **state)
{
	struct dns_cache *c = dns_cache_new(seed, &limits);

	put(c, "a", address(9, 1), 0);
	put(c, "b", address(9, 2), 0);
	put(c, "c", address(9, 3), 0);
	assert_int_equal(dns_cache_count(c), 3);
	assert_int_equal(state_of(c, "a", 0), DNS_CACHE_FRESH);
	put(c, "d", address(9, 4), 0);
	assert_int_equal(dns_cache_count(c), 3);
	assert_int_equal(state_of(c, "b", 0), DNS_CACHE_MISS);
	assert_int_equal(state_of(c, "a", 0), DNS_CACHE_FRESH);
	dns_cache_set_limits(c, &(struct dns_cache_limits){ .max_entries = 1 });
	assert_int_equal(dns_cache_count(c), 1);
	dns_cache_set_limits(c, &(struct dns_cache_limits){ .max_entries = 0 });
	put(c, "e", address(9, 5), 0);
	assert_int_equal(dns_cache_count(c), 0);
	dns_cache_free(c);
}

static void a_failure_makes_the_stale_answer_usable_for_a_while(void **state)
{
	struct dns_cache *c = dns_cache_new(seed, &limits);

	put(c, "x", address(1, 1), 0);
	dns_cache_failed(c, SLICE("x"), DNS_A, -ETIMEDOUT, 2000, 5000);
	assert_int_equal(state_of(c, "x", 6999), DNS_CACHE_STALE_NOW);
	assert_int_equal(state_of(c, "x", 7000), DNS_CACHE_STALE);
	dns_cache_failed(c, SLICE("x"), DNS_A, -ETIMEDOUT, 7000, 5000);
	dns_cache_forget_failures(c);
	assert_int_equal(state_of(c, "x", 7001), DNS_CACHE_STALE);
	put(c, "x", address(1, 2), 8000);
	assert_int_equal(state_of(c, "x", 8000), DNS_CACHE_FRESH);
	dns_cache_free(c);
}

static void a_failure_without_an_answer_is_remembered_briefly(void **state)
{
	struct dns_cache *c = dns_cache_new(seed, &limits);
	const struct dns_answer *a;

	dns_cache_failed(c, SLICE("x"), DNS_A, -EAGAIN, 0, 1000);
	assert_int_equal(dns_cache_get(c, SLICE("x"), DNS_A, 999, &a), DNS_CACHE_FRESH);
	assert_int_equal(a->status, -EAGAIN);
	assert_int_equal(state_of(c, "x", 1000), DNS_CACHE_MISS);
	dns_cache_failed(c, SLICE("x"), DNS_A, -EAGAIN, 2000, 1000);
	dns_cache_forget_failures(c);
	assert_int_equal(dns_cache_count(c), 0);
	dns_cache_free(c);
}

static void names_too_long_are_not_kept(void **state)
{
	struct dns_cache *c = dns_cache_new(seed, &limits);
	struct dns_answer one = address(9, 1);
	const struct dns_answer *a;
	char name[DNS_NAME_BYTES];

	memset(name, 'x', sizeof(name));
	dns_cache_put(c, (struct slice){ name, DNS_NAME_BYTES - 1 }, DNS_A, &one, 0);
	assert_int_equal(dns_cache_count(c), 1);
	dns_cache_put(c, (struct slice){ name, DNS_NAME_BYTES }, DNS_A, &one, 0);
	assert_int_equal(dns_cache_count(c), 1);
	assert_int_equal(dns_cache_get(c, (struct slice){ name, DNS_NAME_BYTES }, DNS_A, 0, &a),
			 DNS_CACHE_MISS);
	dns_cache_flush(c);
	assert_int_equal(dns_cache_count(c), 0);
	dns_cache_free(c);
}

static void fill_cache(void *arg)
{
	struct dns_cache *c = dns_cache_new(seed, &limits);

	if (!c)
		return;
	put(c, "a", address(1, 1), 0);
	put(c, "b", address(1, 2), 0);
	put(c, "a", address(1, 3), 0);
	dns_cache_failed(c, SLICE("a"), DNS_A, -EAGAIN, 2000, 10);
	dns_cache_failed(c, SLICE("c"), DNS_A, -EAGAIN, 2000, 10);
	put(c, "d", address(1, 2), 0);
	dns_cache_free(c);
}

static void the_cache_survives_failing_allocations(void **state)
{
	alloc_fail_sweep(fill_cache, NULL);
}

static struct dns_record srv(uint16_t priority, uint16_t weight, const char *target)
{
	struct dns_record r = { .priority = priority, .weight = weight };

	strcpy(r.target, target);
	return r;
}

struct chance {
	const uint32_t *draws;
	size_t at;
	uint32_t limits[8];
};

static uint32_t scripted(void *arg, uint32_t n)
{
	struct chance *c = arg;

	c->limits[c->at] = n;
	assert_true(c->draws[c->at] < n);
	return c->draws[c->at++];
}

static void priorities_come_first(void **state)
{
	struct dns_record r[] = { srv(20, 1, "c"), srv(10, 1, "a"), srv(30, 0, "d") };
	static const uint32_t draws[] = { 0, 0, 0 };
	struct chance c = { .draws = draws };

	dns_order_srv(r, 3, scripted, &c);
	assert_string_equal(r[0].target, "a");
	assert_string_equal(r[1].target, "c");
	assert_string_equal(r[2].target, "d");
	dns_order_srv(r, 0, scripted, &c);
}

static void weights_are_drawn_as_in_rfc_2782(void **state)
{
	struct dns_record r[] = { srv(1, 10, "ten"), srv(1, 0, "zero"), srv(1, 30, "thirty") };
	/* Sums run 0 (zero), 10 (ten), 40 (thirty): 11 draws thirty, then of 0, 10: 0 draws zero.
	 */
	static const uint32_t draws[] = { 11, 0, 5 };
	struct chance c = { .draws = draws };

	dns_order_srv(r, 3, scripted, &c);
	assert_string_equal(r[0].target, "thirty");
	assert_string_equal(r[1].target, "zero");
	assert_string_equal(r[2].target, "ten");
	assert_int_equal(c.limits[0], 41);
	assert_int_equal(c.limits[1], 11);
	assert_int_equal(c.limits[2], 11);
}

static uint32_t counting(void *arg, uint32_t n)
{
	uint32_t *x = arg;

	*x = *x * 1664525u + 1013904223u; /* any generator that repeats does */
	return (uint32_t)((uint64_t)*x * n >> 32);
}

static void shares_follow_the_weights(void **state)
{
	uint32_t x = 1;
	unsigned first_is_heavy = 0;

	for (int i = 0; i < 4000; i++) {
		struct dns_record r[] = { srv(1, 10, "light"), srv(1, 30, "heavy") };

		dns_order_srv(r, 2, counting, &x);
		first_is_heavy += strcmp(r[0].target, "heavy") == 0;
	}
	assert_in_range(first_is_heavy, 2800, 3150); /* 30 of 41 */
}

static const char hosts_text[] = "# comment\n"
				 "127.0.0.1\tlocalhost localhost.localdomain # not this\n"
				 "::1 localhost\r\n"
				 "192.0.2.5   PBX.lab pbx\n"
				 "192.0.2.6 pbx\n"
				 "192.0.2.6 pbx pbx\n"
				 "not-an-address pbx\n"
				 "192.0.2.7";

static void hosts_lines(void **state)
{
	struct dns_answer a = { 0 };

	dns_hosts_parse(SLICE(hosts_text), SLICE("pbx"), &a);
	assert_int_equal(a.n, 2);
	assert_ip(&a.records[0].addr, "192.0.2.5");
	assert_ip(&a.records[1].addr, "192.0.2.6");
	a.n = 0;
	dns_hosts_parse(SLICE(hosts_text), SLICE("LOCALHOST"), &a);
	assert_int_equal(a.n, 2);
	assert_ip(&a.records[1].addr, "::1");
	a.n = 0;
	dns_hosts_parse(SLICE(hosts_text), SLICE("this"), &a);
	assert_int_equal(a.n, 0);
}

static void hosts_file_is_read_again_when_it_changes(void **state)
{
	char path[] = "/tmp/tp-hosts-XXXXXX";
	int fd = mkstemp(path);
	struct dns_hosts *h = dns_hosts_new(path);
	struct dns_answer a;

	assert_true(fd >= 0);
	dns_hosts_refresh(h);
	dns_hosts_find(h, SLICE("a.lab"), &a);
	assert_int_equal(a.status, -ENOENT);
	assert_int_equal(write(fd, "192.0.2.1 a.lab\n", 16), 16);
	dns_hosts_refresh(h);
	dns_hosts_find(h, SLICE("a.lab."), &a);
	assert_int_equal(a.status, 0);
	assert_ip(&a.records[0].addr, "192.0.2.1");
	close(fd);
	unlink(path);
	dns_hosts_refresh(h);
	dns_hosts_find(h, SLICE("a.lab"), &a);
	assert_int_equal(a.status, -ENOENT);
	dns_hosts_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_with_the_smallest_ttl),
		cmocka_unit_test(cnames_are_followed_in_any_order_and_lower_the_ttl),
		cmocka_unit_test(records_of_strangers_are_ignored),
		cmocka_unit_test(cname_circles_end),
		cmocka_unit_test(negative_answers_take_the_ttl_of_the_soa),
		cmocka_unit_test(srv_records),
		cmocka_unit_test(the_lone_root_target_means_not_offered),
		cmocka_unit_test(more_than_sixteen_are_cut),
		cmocka_unit_test(a_ttl_with_the_top_bit_is_zero),
		cmocka_unit_test(bad_messages_are_refused_at_every_cut),
		cmocka_unit_test(names_that_may_be_asked_for),
		cmocka_unit_test(answers_are_fresh_then_stale_then_gone),
		cmocka_unit_test(ttls_are_capped),
		cmocka_unit_test(the_least_used_goes_first),
		cmocka_unit_test(a_failure_makes_the_stale_answer_usable_for_a_while),
		cmocka_unit_test(a_failure_without_an_answer_is_remembered_briefly),
		cmocka_unit_test(names_too_long_are_not_kept),
		cmocka_unit_test(the_cache_survives_failing_allocations),
		cmocka_unit_test(priorities_come_first),
		cmocka_unit_test(weights_are_drawn_as_in_rfc_2782),
		cmocka_unit_test(shares_follow_the_weights),
		cmocka_unit_test(hosts_lines),
		cmocka_unit_test(hosts_file_is_read_again_when_it_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
