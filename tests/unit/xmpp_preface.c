#include "xmpp/preface.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

#define SESSION "00112233445566778899aabbccddeeff"
#define C2S                                                                \
	"{\"v\":1,\"kind\":\"c2s\",\"domain\":\"example.com\",\"client\":" \
	"\"198.51.100.7:4711\",\"session\":\"" SESSION "\",\"tls\":\"starttls\"}"

static int parse_n(const char *json, size_t n, struct preface *p, const char **why)
{
	struct buf b;
	int r;

	buf_init(&b, 65536);
	buf_add_u32(&b, (uint32_t)n);
	buf_add(&b, json, n);
	buf_add_str(&b, "<?xml behind it");
	*why = NULL;
	r = preface_parse(buf_slice(&b), p, why);
	if (r > 0)
		assert_int_equal(r, 4 + n);
	buf_fini(&b);
	return r;
}

static int parse(const char *json, struct preface *p)
{
	const char *why;
	int r = parse_n(json, strlen(json), p, &why);

	assert_true(r > 0 || why);
	return r;
}

static void bad(const char *json)
{
	struct preface p;

	if (parse(json, &p) != -EBADMSG)
		fail_msg("taken: %s", json);
}

static struct preface c2s(void)
{
	struct preface p = { .kind = PREFACE_C2S,
			     .domain = "example.com",
			     .client = "[2001:db8::1]:4711",
			     .session = SESSION,
			     .direct_tls = true,
			     .n_addrs = PREFACE_MAX_ADDRS };

	for (int i = 0; i < PREFACE_MAX_ADDRS; i++)
		snprintf(p.addrs[i], sizeof(p.addrs[i]), "user%d@example.com/x\"\\\xc3\xa9", i);
	return p;
}

static void both_ways(const struct preface *p)
{
	struct preface again;
	const char *why = NULL;
	struct buf b;

	buf_init(&b, 4 + PREFACE_MAX_BYTES);
	assert_int_equal(preface_print(p, &b), 0);
	/* Byte by byte nothing is known before all is there. */
	for (size_t n = 0; n < b.n; n++)
		assert_int_equal(preface_parse((struct slice){ b.p, n }, &again, &why), 0);
	assert_int_equal(preface_parse(buf_slice(&b), &again, &why), b.n);
	assert_memory_equal(p, &again, sizeof(again));
	buf_fini(&b);
}

static void test_both_ways(void **state)
{
	struct preface p = { .kind = PREFACE_IDLE };

	both_ways(&p);
	p = (struct preface){ .kind = PREFACE_S2S,
			      .local = "example.com",
			      .remote = "partner.org" };
	both_ways(&p);
	for (int kind = PREFACE_PARK; kind <= PREFACE_RESUME; kind++) {
		p = (struct preface){ .kind = (enum preface_kind)kind, .stream = 1 };
		both_ways(&p);
		p.stream = UINT64_MAX;
		p.keep = kind == PREFACE_PARKED;
		both_ways(&p);
	}
	p = c2s();
	both_ways(&p);
	p.direct_tls = false;
	p.n_addrs = 0;
	memset(p.addrs, 0, sizeof(p.addrs));
	both_ways(&p);
}

static void test_what_is_refused(void **state)
{
	static const char *const wrong[] = {
		"{}",
		"[]",
		"\"idle\"",
		"{\"kind\":\"idle\"}",
		"{\"v\":2,\"kind\":\"idle\"}",
		"{\"v\":1.0,\"kind\":\"idle\"}",
		"{\"v\":1,\"kind\":\"other\"}",
		"{\"v\":1,\"v\":1,\"kind\":\"idle\"}",
		"{\"v\":1,\"kind\":\"idle\"}{}",
		"{\"v\":1,\"kind\":\"s2s\",\"local\":\"example.com\"}",
		"{\"v\":1,\"kind\":\"s2s\",\"local\":\"example.com\",\"remote\":\"Partner.org\"}",
		"{\"v\":1,\"kind\":\"s2s\",\"local\":\"example.com\",\"remote\":\"a b\"}",
		"{\"v\":1,\"kind\":\"s2s\",\"local\":1,\"remote\":\"partner.org\"}",
		"{\"v\":1,\"kind\":\"c2s\",\"domain\":\"example.com\"}",
		"{\"v\":1,\"kind\":\"idle\",\"x\":[[[[1]]]]}",
		"{\"v\":1,\"kind\":\"park\"}",
		"{\"v\":1,\"kind\":\"park\",\"stream\":1}",
		"{\"v\":1,\"kind\":\"parked\",\"stream\":\"\"}",
		"{\"v\":1,\"kind\":\"parked\",\"stream\":\"0\"}",
		"{\"v\":1,\"kind\":\"parked\",\"stream\":\"01\"}",
		"{\"v\":1,\"kind\":\"parked\",\"stream\":\"1\"}",
		"{\"v\":1,\"kind\":\"parked\",\"stream\":\"1\",\"keep\":1}",
		"{\"v\":1,\"kind\":\"resume\",\"stream\":\"A\"}",
		"{\"v\":1,\"kind\":\"resume\",\"stream\":\"g\"}",
		"{\"v\":1,\"kind\":\"resume\",\"stream\":\"-1\"}",
		"{\"v\":1,\"kind\":\"resume\",\"stream\":\"11111111111111111\"}",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		bad(wrong[i]);
}

/* Every member of a c2s preface, spoilt. */
static void test_c2s_members(void **state)
{
	static const struct {
		const char *from, *to;
	} swaps[] = {
		{ "example.com", "Example.com" },
		{ "example.com", "" },
		{ "198.51.100.7:4711", "198.51.100.7" },
		{ "198.51.100.7:4711", "host:4711" },
		{ "198.51.100.7:4711", "198.51.100.7:0" },
		{ SESSION, "00112233445566778899AABBCCDDEEFF" },
		{ SESSION, SESSION "0" },
		{ SESSION, "" },
		{ "starttls", "none" },
		{ "\"tls\"", "\"certificate\":1,\"tls\"" },
		{ "\"tls\"", "\"certificate\":[1],\"tls\"" },
		{ "\"tls\"", "\"certificate\":[\"example.com\"],\"tls\"" },
		{ "\"tls\"", "\"certificate\":[\"a@b\",\"a@b\",\"a@b\",\"a@b\",\"a@b\"],\"tls\"" },
	};
	struct preface p;

	assert_true(parse(C2S, &p) > 0);
	assert_int_equal(p.kind, PREFACE_C2S);
	assert_string_equal(p.domain, "example.com");
	assert_string_equal(p.client, "198.51.100.7:4711");
	assert_false(p.direct_tls);
	for (size_t i = 0; i < sizeof(swaps) / sizeof(swaps[0]); i++) {
		const char *at = strstr(C2S, swaps[i].from);
		char text[1024];

		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - C2S), C2S, swaps[i].to,
			 at + strlen(swaps[i].from));
		bad(text);
	}
}

/* At the bound, and one byte over it. */
static void test_length(void **state)
{
	static const char idle[] = "{\"v\":1,\"kind\":\"idle\"}";
	char text[PREFACE_MAX_BYTES + 1];
	struct preface p;
	const char *why;

	memset(text, ' ', sizeof(text));
	memcpy(text, idle, sizeof(idle) - 1);
	assert_int_equal(parse_n(text, PREFACE_MAX_BYTES, &p, &why), 4 + PREFACE_MAX_BYTES);
	assert_int_equal(parse_n(text, PREFACE_MAX_BYTES + 1, &p, &why), -EBADMSG);
	assert_int_equal(parse_n("", 0, &p, &why), -EBADMSG);
	/* Known from the length alone. */
	assert_int_equal(preface_parse(SLICE("\xff\xff\xff\xff"), &p, &why), -EBADMSG);
	assert_int_equal(preface_parse(SLICE("\0\0\x10"), &p, &why), 0);
}

static void test_print_refuses(void **state)
{
	struct preface p = c2s();
	struct buf b;

	buf_init(&b, 4 + PREFACE_MAX_BYTES);
	p.n_addrs = PREFACE_MAX_ADDRS + 1;
	assert_int_equal(preface_print(&p, &b), -EINVAL);
	p = c2s();
	strcpy(p.domain, "EXAMPLE.com");
	assert_int_equal(preface_print(&p, &b), -EINVAL);
	p = c2s();
	p.session[0] = '\0';
	assert_int_equal(preface_print(&p, &b), -EINVAL);
	p = (struct preface){ .kind = PREFACE_S2S, .local = "example.com" };
	assert_int_equal(preface_print(&p, &b), -EINVAL);
	p = (struct preface){ .kind = PREFACE_RESUME };
	assert_int_equal(preface_print(&p, &b), -EINVAL);
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void print_once(void *arg)
{
	struct preface p = c2s(), again;
	const char *why;
	struct buf b;

	buf_init(&b, 4 + PREFACE_MAX_BYTES);
	if (preface_print(&p, &b) == 0)
		preface_parse(buf_slice(&b), &again, &why);
	buf_fini(&b);
}

static void test_without_memory(void **state)
{
	alloc_fail_sweep(print_once, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),     cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_c2s_members),   cmocka_unit_test(test_length),
		cmocka_unit_test(test_print_refuses), cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("xmpp_preface", tests, NULL, NULL);
}
