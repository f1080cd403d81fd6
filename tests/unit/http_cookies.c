/* The sign-in cookie: what goes inside without it, and which Set-Cookie would plant it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "http/cookies.h"
#include "support/alloc_fail.h"

#define OURS SLICE("X-Auth")

/* Of a request with these Cookie fields. */
static void pass(const char *a, const char *b, struct buf *out)
{
	static struct http_head h;

	h.n_fields = 3;
	h.fields[0] = (struct http_field){ .id = HTTP_F_COOKIE, .value = slice_of(a) };
	h.fields[1] = (struct http_field){ .id = HTTP_F_OTHER, .value = SLICE("X-Auth=1") };
	h.fields[2] = (struct http_field){ .id = HTTP_F_COOKIE, .value = slice_of(b) };
	buf_reset(out);
	cookies_pass(&h, OURS, out);
	if (!out->failed)
		buf_add_char(out, '\0');
}

static void ours_stays_here(void **state)
{
	static const struct {
		const char *a, *b, *out;
	} rows[] = {
		{ "X-Auth=1", "", "" },
		{ "X-Auth=1; a=b", "", "Cookie: a=b\r\n" },
		{ "a=b; X-Auth=1", "X-Auth=2", "Cookie: a=b\r\n" },
		{ "a=b;c=d ; ;e", "f=g", "Cookie: a=b; c=d; e\r\nCookie: f=g\r\n" },
		{ "a=1; X-Auth =2; b=3", "", "Cookie: a=1; b=3\r\n" },
		{ "a=1; X-Auth\t=2", "=X-Auth=3", "Cookie: a=1\r\n" },
		{ "X-Auth", "", "" },
		{ "x-auth=1; X-Auth2=1; Y-X-Auth=1; a=X-Auth=1", "",
		  "Cookie: x-auth=1; X-Auth2=1; Y-X-Auth=1; a=X-Auth=1\r\n" },
	};
	struct buf out;

	buf_init(&out, 65536);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pass(rows[i].a, rows[i].b, &out);
		assert_string_equal(out.p, rows[i].out);
	}
	buf_fini(&out);
}

/* "a;a;a" grows by a blank each. */
static void many_short_ones_pass(void **state)
{
	char text[2001];
	struct buf out;

	for (size_t i = 0; i < 2000; i += 2)
		memcpy(text + i, "a;", 2);
	text[2000] = '\0';
	buf_init(&out, 65536);
	pass(text, "", &out);
	assert_false(out.failed);
	assert_int_equal(strlen(out.p), strlen("Cookie: \r\n") + 1000 + 2 * 999);
	buf_fini(&out);
}

static void nobody_plants_ours(void **state)
{
	static const char *const ours[] = {
		"X-Auth=1",	 "X-Auth=1; Path=/", " X-Auth=1", "X-Auth =1; Secure",
		"\tX-Auth\t= 1", "=X-Auth=1",	     "X-Auth=",	  " = X-Auth=1",
	};
	static const char *const others[] = {
		"a=X-Auth=1", "x-auth=1", "X-Auth2=1", "X-Aut=h", "a=b; X-Auth=1", "", "=", "=;",
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		assert_true(cookies_sets(slice_of(ours[i]), OURS));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(cookies_sets(slice_of(others[i]), OURS));
}

/* Without memory a request does not go inside with half of its cookies. */
static void sweep(void *arg)
{
	struct buf out;

	(void)arg;
	buf_init(&out, 65536);
	pass("a=b; X-Auth=1; c=d", "e=f", &out);
	if (!out.failed)
		assert_string_equal(out.p, "Cookie: a=b; c=d\r\nCookie: e=f\r\n");
	buf_fini(&out);
}

static void survives_failing_allocations(void **state)
{
	alloc_fail_sweep(sweep, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours_stays_here),
		cmocka_unit_test(many_short_ones_pass),
		cmocka_unit_test(nobody_plants_ours),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
