#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/trace.h"
#include "support/alloc_fail.h"

static int64_t clock_ms;

static int64_t now_ms(void *arg)
{
	return *(int64_t *)arg;
}

static struct trace *fresh(size_t n)
{
	struct trace *t;

	clock_ms = 100000;
	t = trace_new(n, now_ms, &clock_ms);
	assert_non_null(t);
	return t;
}

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	assert_true(addr_parse_ip(slice_of(text), port, &a));
	return a;
}

struct seen {
	char text[2048];
	size_t n, stop_after;
};

static bool see(const struct trace_entry *e, void *arg)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	snprintf(s->text + n, sizeof(s->text) - n, "%s:%s*%u;", e->code, e->text, e->n_repeats);
	return ++s->n != s->stop_after;
}

static void check(const struct trace *t, const char *prefix, size_t stop_after,
		  const char *expected)
{
	struct seen s = { .stop_after = stop_after };

	trace_each(t, prefix, see, &s);
	assert_string_equal(s.text, expected);
}

static bool fields(const struct trace_entry *e, void *arg)
{
	assert_string_equal(e->decided_by, "[domain example.com]");
	assert_string_equal(e->session, "0123456789abcdef0123456789abcdef");
	assert_int_equal(e->remote.port, 5061);
	assert_true(e->wall_ms > 1600000000000);
	assert_int_equal(e->seq, 1);
	return true;
}

static void records_and_prefix(void **state)
{
	struct trace *t = fresh(10);
	struct addr a = ip("192.0.2.1", 5061);

	check(t, NULL, 0, "");
	trace_add(t, "sip.register.unknown-domain", "[domain example.com]", &a,
		  "0123456789abcdef0123456789abcdef", "no %s", "x");
	trace_each(t, NULL, fields, NULL);
	trace_add(t, "route.found", NULL, NULL, NULL, "b");
	trace_add(t, "route.not-found", NULL, NULL, NULL, "c");
	check(t, NULL, 0,
	      "route.not-found:c*0;route.found:b*0;sip.register.unknown-domain:no x*0;");
	check(t, "route.", 0, "route.not-found:c*0;route.found:b*0;");
	check(t, "route.", 1, "route.not-found:c*0;");
	check(t, "route.found", 0, "route.found:b*0;");
	check(t, "x", 0, "");
	trace_add(NULL, "x", NULL, NULL, NULL, "dropped");
	trace_free(t);
}

static void ring_wraps(void **state)
{
	struct trace *t = fresh(3);

	for (int i = 1; i <= 3; i++)
		trace_add(t, "a", NULL, NULL, NULL, "%d", i);
	check(t, NULL, 0, "a:3*0;a:2*0;a:1*0;");
	trace_add(t, "a", NULL, NULL, NULL, "4");
	check(t, NULL, 0, "a:4*0;a:3*0;a:2*0;");
	assert_int_equal(trace_count(t, "a"), 4);
	trace_free(t);
	t = fresh(0);
	trace_add(t, "a", NULL, NULL, NULL, "1");
	trace_add(t, "a", NULL, NULL, NULL, "2");
	check(t, NULL, 0, "a:2*0;");
	trace_free(t);
}

static void repeats_of_a_source(void **state)
{
	struct trace *t = fresh(10);
	struct addr a = ip("192.0.2.1", 1000), b = ip("192.0.2.2", 1000);

	trace_add(t, "c", NULL, &a, NULL, "1");
	a.port = 2000;
	trace_add(t, "c", NULL, &a, NULL, "2");
	trace_add(t, "d", NULL, &a, NULL, "3");
	trace_add(t, "c", NULL, &b, NULL, "4");
	check(t, NULL, 0, "c:4*0;d:3*0;c:1*1;");
	clock_ms += 1000;
	trace_add(t, "c", NULL, &a, NULL, "5");
	check(t, NULL, 0, "c:4*0;d:3*0;c:1*2;");
	clock_ms += 1001;
	trace_add(t, "c", NULL, &a, NULL, "6");
	check(t, NULL, 0, "c:6*0;c:4*0;d:3*0;c:1*2;");
	assert_int_equal(trace_count(t, "c"), 5);
	assert_int_equal(trace_count(t, "d"), 1);
	assert_int_equal(trace_count(t, "e"), 0);
	trace_free(t);
}

static void one_ip6_host_is_one_source(void **state)
{
	struct trace *t = fresh(10);
	struct addr a = ip("2001:db8::1", 1), b = ip("2001:db8::ffff:2", 2),
		    c = ip("2001:db8:0:1::1", 1);

	trace_add(t, "x", NULL, &a, NULL, "1");
	trace_add(t, "x", NULL, &b, NULL, "2");
	trace_add(t, "x", NULL, &c, NULL, "3");
	check(t, NULL, 0, "x:3*0;x:1*1;");
	trace_free(t);
}

/* Two searches within a second are two entries; the same one twice is not. */
static void repeats_without_a_source(void **state)
{
	struct trace *t = fresh(10);

	trace_add(t, "route.found", NULL, NULL, "s1", "alias a");
	trace_add(t, "route.found", NULL, NULL, "s1", "alias b");
	trace_add(t, "route.found", NULL, NULL, "s2", "alias a");
	trace_add(t, "route.found", NULL, NULL, "s2", "alias a");
	check(t, NULL, 0, "route.found:alias a*1;route.found:alias b*0;route.found:alias a*0;");
	trace_free(t);
}

static void flood_does_not_wash_out(void **state)
{
	struct trace *t = fresh(5);
	struct addr a = ip("192.0.2.1", 1);

	trace_add(t, "route.found", NULL, NULL, NULL, "keep");
	for (int i = 0; i < 100000; i++) {
		clock_ms += i % 2;
		trace_add(t, "sip.refused", NULL, &a, NULL, "%d", i);
	}
	/* 50 s of it are one entry. */
	check(t, NULL, 0, "sip.refused:0*99999;route.found:keep*0;");
	/* After a minute it shows up as a new one. */
	for (int i = 0; i < 15; i++) {
		clock_ms += 1000;
		trace_add(t, "sip.refused", NULL, &a, NULL, "later");
	}
	check(t, NULL, 0, "sip.refused:later*4;sip.refused:0*100009;route.found:keep*0;");
	trace_free(t);
}

/* The entry that a repeat would be added to may be gone from the ring. */
static void repeat_of_an_overwritten_entry(void **state)
{
	struct trace *t = fresh(2);
	struct addr a = ip("192.0.2.1", 1);

	trace_add(t, "c", NULL, &a, NULL, "1");
	trace_add(t, "x", NULL, NULL, NULL, "2");
	trace_add(t, "x", NULL, NULL, NULL, "3");
	trace_add(t, "c", NULL, &a, NULL, "4");
	check(t, NULL, 0, "c:4*0;x:3*0;");
	trace_free(t);
}

static bool text_is(const struct trace_entry *e, void *arg)
{
	assert_string_equal(e->text, arg);
	return false;
}

static void text_is_escaped_and_cut(void **state)
{
	struct trace *t = fresh(4);
	char big[600], expected[512];

	trace_add(t, "a", "by\n\x01", NULL, NULL, "\"a\\b\"\n\r\x1b\xc3\xbc");
	trace_each(t, NULL, text_is, (void *)"\"a\\b\"\n\\x0d\\x1b\\xc3\\xbc");
	memset(big, 'x', sizeof(big));
	big[511] = '\0';
	trace_add(t, "a", NULL, NULL, NULL, "%s", big);
	trace_each(t, NULL, text_is, big);
	big[511] = 'x';
	big[599] = '\0';
	memset(expected, 'x', 511);
	expected[511] = '\0';
	trace_add(t, "b", NULL, NULL, NULL, "%s", big);
	trace_each(t, NULL, text_is, expected);
	/* No half of an escape at the end. */
	memset(big, 'x', 509);
	strcpy(big + 509, "\n\x01");
	strcpy(expected + 509, "\n");
	trace_add(t, "c", NULL, NULL, NULL, "%s", big);
	trace_each(t, NULL, text_is, expected);
	trace_free(t);
}

static void sum(const char *code, uint64_t n, void *arg)
{
	*(uint64_t *)arg += n;
}

static void counts(void **state)
{
	struct trace *t = fresh(1);
	uint64_t total = 0;
	char code[16];

	for (int i = 0; i < 1025; i++) {
		snprintf(code, sizeof(code), "c%d", i);
		trace_add(t, code, NULL, NULL, NULL, "x");
	}
	trace_counts_each(t, sum, &total);
	assert_int_equal(total, 1024);
	assert_int_equal(trace_count(t, "c1023"), 1);
	assert_int_equal(trace_count(t, "c1024"), 0);
	trace_free(t);
}

static void run_without_memory(void *arg)
{
	struct trace *t = trace_new(4, now_ms, &clock_ms);

	if (!t)
		return;
	trace_add(t, "a", NULL, NULL, NULL, "x");
	check(t, NULL, 0, "a:x*0;");
	trace_free(t);
}

static void without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_without_memory, NULL) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_and_prefix),
		cmocka_unit_test(ring_wraps),
		cmocka_unit_test(repeats_of_a_source),
		cmocka_unit_test(one_ip6_host_is_one_source),
		cmocka_unit_test(repeats_without_a_source),
		cmocka_unit_test(flood_does_not_wash_out),
		cmocka_unit_test(repeat_of_an_overwritten_entry),
		cmocka_unit_test(text_is_escaped_and_cut),
		cmocka_unit_test(counts),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
