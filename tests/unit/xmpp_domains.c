/* What each C announces of its domains, on E. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "xmpp/domains.h"

struct lab {
	struct xmpp_domains *d;
	unsigned n_told, n_peers;
	char last[300];
};

static void told(void *arg, const char *domain)
{
	struct lab *l = arg;

	if (!domain) {
		l->n_peers++;
		return;
	}
	l->n_told++;
	snprintf(l->last, sizeof(l->last), "%s", domain);
}

static int setup(void **state)
{
	struct lab *l = calloc(1, sizeof(*l));

	l->d = xmpp_domains_new();
	assert_int_equal(xmpp_domains_watch(l->d, told, l), 0);
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct lab *l = *state;

	xmpp_domains_free(l->d);
	free(l);
	return 0;
}

static int put(struct lab *l, tunnel_peer from, const char *key, const char *text)
{
	json_t *item = json_loads(text, 0, NULL);
	int error = xmpp_domains_put(l->d, from, key, item);

	json_decref(item);
	return error;
}

#define BOTH "{\"chat\":true,\"federation\":true}"
#define CHAT "{\"chat\":true,\"federation\":false}"

static void test_the_one_that_is_up(void **state)
{
	struct lab *l = *state;
	tunnel_peer at = 9;

	assert_false(xmpp_domains_find(l->d, "a.org", XMPP_DOMAIN_CHAT, &at));
	assert_int_equal(at, 0);
	assert_int_equal(put(l, 1, "a.org", BOTH), 0);
	assert_int_equal(put(l, 2, "a.org", CHAT), 0);
	assert_true(xmpp_domains_find(l->d, "A.org", XMPP_DOMAIN_CHAT, &at));
	assert_int_equal(at, 0); /* nobody is up */
	assert_int_equal(xmpp_domains_owner(l->d, "a.org", XMPP_DOMAIN_CHAT), 1);
	xmpp_domains_set_up(l->d, 2, true);
	assert_true(xmpp_domains_find(l->d, "a.org", XMPP_DOMAIN_CHAT, &at));
	assert_int_equal(at, 2);
	assert_int_equal(xmpp_domains_owner(l->d, "a.org", XMPP_DOMAIN_CHAT), 2);
	/* It does not federate there. */
	assert_true(xmpp_domains_find(l->d, "a.org", XMPP_DOMAIN_FEDERATION, &at));
	assert_int_equal(at, 0);
	xmpp_domains_set_up(l->d, 1, true);
	xmpp_domains_set_up(l->d, 1, true);
	assert_int_equal(l->n_peers, 2);
	assert_true(xmpp_domains_find(l->d, "a.org", XMPP_DOMAIN_CHAT, &at));
	assert_int_equal(at, 1); /* announced it first */
	xmpp_domains_set_up(l->d, 1, false);
	assert_true(xmpp_domains_find(l->d, "a.org", XMPP_DOMAIN_CHAT, &at));
	assert_int_equal(at, 2);
	assert_true(xmpp_domains_has(l->d, "a.org", XMPP_DOMAIN_FEDERATION, 1));
	assert_false(xmpp_domains_has(l->d, "a.org", XMPP_DOMAIN_FEDERATION, 2));
	assert_false(xmpp_domains_find(l->d, "sub.a.org", XMPP_DOMAIN_ANY, &at));
}

static void test_nothing_flaps_when_a_core_says_it_again(void **state)
{
	struct lab *l = *state;
	tunnel_peer at;

	xmpp_domains_set_up(l->d, 1, true);
	put(l, 1, "a.org", BOTH);
	put(l, 1, "b.org", BOTH);
	assert_int_equal(l->n_told, 2);
	xmpp_domains_doubt(l->d, 1);
	assert_true(xmpp_domains_find(l->d, "a.org", XMPP_DOMAIN_CHAT, &at));
	put(l, 1, "a.org", BOTH);
	assert_int_equal(l->n_told, 2); /* as before */
	xmpp_domains_sweep(l->d, 1);
	assert_int_equal(l->n_told, 3);
	assert_string_equal(l->last, "b.org");
	assert_false(xmpp_domains_find(l->d, "b.org", XMPP_DOMAIN_CHAT, &at));
	put(l, 1, "a.org", CHAT);
	assert_int_equal(l->n_told, 4);
	assert_false(xmpp_domains_any(l->d, XMPP_DOMAIN_FEDERATION));
	assert_true(xmpp_domains_any(l->d, XMPP_DOMAIN_CHAT));
	xmpp_domains_del(l->d, 2, "a.org"); /* another C's */
	assert_int_equal(xmpp_domains_count(l->d), 1);
	xmpp_domains_del(l->d, 1, "a.org");
	assert_int_equal(xmpp_domains_count(l->d), 0);
	assert_int_equal(l->n_told, 5);
}

static void test_hostile_items(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"chat\":true}",
		"{\"chat\":1,\"federation\":true}",
		"{\"chat\":true,\"federation\":\"yes\"}",
		"[]",
	};
	static const char *const bad_keys[] = { "", "A.org", "a.org.", "*", "a b", "a/b", "u@a" };
	struct lab *l = *state;
	tunnel_peer at;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(put(l, 1, "a.org", BOTH), 0);
		assert_int_equal(put(l, 1, "a.org", bad[i]), -EINVAL);
		assert_false(xmpp_domains_find(l->d, "a.org", XMPP_DOMAIN_ANY, &at));
	}
	for (size_t i = 0; i < sizeof(bad_keys) / sizeof(bad_keys[0]); i++)
		assert_int_equal(put(l, 1, bad_keys[i], BOTH), -EINVAL);
	assert_int_equal(xmpp_domains_count(l->d), 0);
}

static void test_bound(void **state)
{
	struct lab *l = *state;
	char name[32];

	for (int i = 0; i < XMPP_MAX_DOMAINS; i++) {
		snprintf(name, sizeof(name), "d%d.org", i);
		assert_int_equal(put(l, 1, name, BOTH), 0);
	}
	assert_int_equal(put(l, 1, "more.org", BOTH), -ENOSPC);
	assert_int_equal(put(l, 1, "d0.org", CHAT), 0);
}

static void run(void *arg)
{
	json_t *item = arg;
	struct xmpp_domains *d = xmpp_domains_new();

	if (d)
		xmpp_domains_put(d, 1, "a.org", item);
	xmpp_domains_free(d);
}

static void test_out_of_memory(void **state)
{
	json_t *item = json_loads(BOTH, 0, NULL);

	alloc_fail_sweep(run, item);
	json_decref(item);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_one_that_is_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_flaps_when_a_core_says_it_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_hostile_items, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
