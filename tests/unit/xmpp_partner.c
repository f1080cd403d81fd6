/* Who may federate: modes, lists, sections, exact names, static routes, and items of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/system_conf.h"
#include "core/tls.h"
#include "support/alloc_fail.h"
#include "turnpike/route.h"
#include "xmpp/partner.h"

static const struct conf_section domain_section = { .type = "domain",
						    .repeatable = true,
						    .roles = CONF_ROLE_BOTH,
						    .size = sizeof(struct domain_conf) };
/* Without [xmpp]: whether it is there is checked where it stands. */
static const struct conf_section *const schema[] = { &system_conf_section, &tls_conf_section,
						     &domain_section, &federation_conf_section,
						     &partner_conf_section };

struct lab {
	struct conf_store *conf;
	struct conf_snapshot *snap;
	struct partners *p;
};

static void load(struct lab *l, const char *text)
{
	struct buf err, whole;

	buf_init(&err, 4096);
	buf_init(&whole, 8192);
	buf_printf(&whole, "[system]\nname = c.test\nrole = C\n%s", text);
	if (l->snap)
		conf_unref(l->snap);
	l->snap = conf_parse(l->conf, "test.ini", buf_slice(&whole), CONF_ROLE_C, &err);
	if (!l->snap)
		fail_msg("%s", err.p ? err.p : "conf_parse");
	assert_int_equal(partners_load(l->p, l->snap), 0);
	buf_fini(&err);
	buf_fini(&whole);
}

static int setup(void **state)
{
	struct lab *l = calloc(1, sizeof(*l));

	l->conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	l->p = partners_new();
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct lab *l = *state;

	partners_free(l->p);
	if (l->snap)
		conf_unref(l->snap);
	conf_store_free(l->conf);
	free(l);
	return 0;
}

static bool allowed(struct lab *l, const char *remote)
{
	return partners_decide(l->p, true, false, remote).allowed;
}

/* X4 */
static void test_off(void **state)
{
	struct lab *l = *state;

	load(l, "[federation]\nmode = off\nallow = partner.org\n[partner other.org]\n");
	assert_int_equal(partners_count(l->p), 0);
	assert_false(allowed(l, "partner.org"));
	assert_false(allowed(l, "other.org"));
}

static void test_allow_list(void **state)
{
	struct lab *l = *state;
	struct s2s_policy d;

	load(l, "[federation]\nmode = allow-list\nallow = partner.org b.org, c.org\n"
		"[partner b.org]\nenabled = no\n"
		"[partner d.org]\ntls = optional\nauth = dialback\nroutes = 10.0.0.1\n");
	assert_true(allowed(l, "partner.org"));
	assert_true(allowed(l, "PARTNER.org"));
	assert_true(allowed(l, "partner.org."));
	assert_true(allowed(l, "c.org"));
	/* The section goes before the list. */
	assert_false(allowed(l, "b.org"));
	assert_string_equal(partners_decide(l->p, true, false, "b.org").decided_by,
			    "[partner b.org]");
	/* A section allows, with or without routes. */
	d = partners_decide(l->p, true, false, "d.org");
	assert_true(d.allowed);
	assert_int_equal(d.tls, S2S_TLS_OPTIONAL);
	assert_int_equal(d.auth, S2S_AUTH_DIALBACK);
	/* Names are exact: neither below nor above nor beside. */
	assert_false(allowed(l, "sub.partner.org"));
	assert_false(allowed(l, "org"));
	assert_false(allowed(l, "xpartner.org"));
	assert_false(allowed(l, ""));
	assert_false(allowed(l, "*"));
	assert_string_equal(partners_decide(l->p, true, false, "e.org").decided_by, "[federation]");
}

static void test_deny_list(void **state)
{
	struct lab *l = *state;
	struct s2s_policy d;

	load(l, "[federation]\nmode = deny-list\ntls = optional\nauth = certificate\n"
		"deny = bad.org\n[partner worse.org]\nenabled = no\n"
		"[partner known.org]\ntls = required\n");
	d = partners_decide(l->p, true, false, "anybody.org");
	assert_true(d.allowed);
	assert_string_equal(d.decided_by, "[federation] mode");
	assert_int_equal(d.tls, S2S_TLS_OPTIONAL);
	assert_int_equal(d.auth, S2S_AUTH_CERTIFICATE);
	assert_false(allowed(l, "bad.org"));
	assert_false(allowed(l, "worse.org"));
	assert_true(allowed(l, "sub.bad.org"));
	d = partners_decide(l->p, true, false, "known.org");
	assert_true(d.allowed);
	assert_int_equal(d.tls, S2S_TLS_REQUIRED);
	assert_int_equal(d.auth, S2S_AUTH_CERTIFICATE);
	/* What is no domain is nobody. */
	assert_false(allowed(l, ""));
	assert_false(allowed(l, "*"));
	assert_false(allowed(l, "a b"));
}

static void test_pairs(void **state)
{
	struct lab *l = *state;

	load(l, "[federation]\nmode = deny-list\n");
	assert_true(allowed(l, "a.org"));
	assert_false(partners_decide(l->p, false, false, "a.org").allowed);
	assert_false(partners_decide(l->p, true, true, "a.org").allowed);
}

/* X5 */
static void test_routes(void **state)
{
	struct lab *l = *state;
	const struct partner_rule *r;

	load(l, "[federation]\nmode = allow-list\n[partner a.org]\ndirect-tls = yes\n"
		"routes = xmpp.a.org 192.0.2.7:5300 [2001:db8::7]:5270 2001:db8::8\n");
	r = partners_rule(l->p, "a.org");
	assert_non_null(r);
	assert_true(r->direct_tls);
	assert_int_equal(r->n_routes, 4);
	assert_string_equal(r->routes[0], "xmpp.a.org:5269");
	assert_string_equal(r->routes[1], "192.0.2.7:5300");
	assert_string_equal(r->routes[2], "[2001:db8::7]:5270");
	assert_string_equal(r->routes[3], "[2001:db8::8]:5269");
}

static void put_into(void *arg, const char *key, const json_t *item)
{
	assert_int_equal(partners_put(arg, key, item), 0);
}

static void compare(void *arg, const struct partner_rule *r)
{
	const struct partners *other = arg;
	const struct partner_rule *o;

	if (strcmp(r->domain, PARTNER_ANY) == 0)
		o = partners_rule(other, "unheard.of");
	else
		o = partners_rule(other, r->domain);
	assert_non_null(o);
	assert_string_equal(o->domain, r->domain);
	assert_string_equal(o->section, r->section);
	assert_int_equal(o->allowed, r->allowed);
	assert_int_equal(o->tls, r->tls);
	assert_int_equal(o->auth, r->auth);
	assert_int_equal(o->direct_tls, r->direct_tls);
	assert_int_equal(o->n_routes, r->n_routes);
	for (size_t i = 0; i < r->n_routes; i++)
		assert_string_equal(o->routes[i], r->routes[i]);
}

static void test_table_carries_all(void **state)
{
	struct lab *l = *state;
	struct partners *other = partners_new();

	load(l, "[federation]\nmode = deny-list\ndeny = bad.org\nauth = dialback\n"
		"[partner a.org]\ndirect-tls = yes\nroutes = x.a.org [2001:db8::7]:5270\n"
		"[partner b.org]\nenabled = no\ntls = off\nauth = any\n");
	partners_each(l->p, put_into, other);
	assert_int_equal(partners_count(other), 4);
	partners_each_rule(l->p, compare, other);
	partners_del(other, "a.org");
	assert_string_equal(partners_rule(other, "a.org")->domain, PARTNER_ANY);
	partners_reset(other);
	assert_null(partners_rule(other, "a.org"));
	partners_free(other);
}

static int put(struct partners *p, const char *key, const char *text)
{
	json_t *item = json_loads(text, 0, NULL);
	int error;

	assert_non_null(item);
	error = partners_put(p, key, item);
	json_decref(item);
	return error;
}

static void test_hostile_items(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"allowed\":1}",
		"{\"allowed\":\"true\"}",
		"{\"allowed\":true,\"tls\":\"perhaps\"}",
		"{\"allowed\":true,\"tls\":0}",
		"{\"allowed\":true,\"tls\":null}",
		"{\"allowed\":true,\"auth\":[]}",
		"{\"allowed\":true,\"direct_tls\":\"yes\"}",
		"{\"allowed\":true,\"route\":\"a.org\"}",
		"{\"allowed\":true,\"route\":[1]}",
		"{\"allowed\":true,\"route\":[\"a.org:0\"]}",
		"{\"allowed\":true,\"route\":[\"a.org:65536\"]}",
		"{\"allowed\":true,\"route\":[\"a b\"]}",
		"{\"allowed\":true,\"route\":[\"\"]}",
		"{\"allowed\":true,\"route\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\","
		"\"i\"]}",
		"{\"allowed\":true,\"section\":\"a\\u0007b\"}",
	};
	static const char *const bad_keys[] = { "", "A.org", "a.org.", "a b", "**", "a@b.org" };
	struct lab *l = *state;
	char text[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		/* What was there before goes, so that nothing old stays allowed. */
		assert_int_equal(put(l->p, "a.org", "{\"allowed\":true}"), 0);
		assert_int_equal(put(l->p, "a.org", bad[i]), -EINVAL);
		assert_null(partners_rule(l->p, "a.org"));
	}
	for (size_t i = 0; i < sizeof(bad_keys) / sizeof(bad_keys[0]); i++)
		assert_int_equal(put(l->p, bad_keys[i], "{\"allowed\":true}"), -EINVAL);
	assert_int_equal(partners_count(l->p), 0);
	/* The bound of routes, of the name of the section. */
	assert_int_equal(put(l->p, "a.org",
			     "{\"allowed\":true,\"route\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\","
			     "\"g\",\"h\"]}"),
			 0);
	assert_int_equal(partners_rule(l->p, "a.org")->n_routes, PARTNER_MAX_ROUTES);
	snprintf(text, sizeof(text), "{\"allowed\":true,\"section\":\"%0*d\"}",
		 XMPP_DOMAIN_BYTES + 15, 0);
	assert_int_equal(put(l->p, "a.org", text), 0);
	snprintf(text, sizeof(text), "{\"allowed\":true,\"section\":\"%0*d\"}",
		 XMPP_DOMAIN_BYTES + 16, 0);
	assert_int_equal(put(l->p, "a.org", text), -EINVAL);
	/* What is not said is the strictest but for the proof. */
	assert_int_equal(put(l->p, "*", "{\"allowed\":true,\"new\":{}}"), 0);
	assert_int_equal(partners_rule(l->p, "z.org")->tls, S2S_TLS_REQUIRED);
	assert_int_equal(partners_rule(l->p, "z.org")->auth, S2S_AUTH_ANY);
}

static void test_bound(void **state)
{
	struct lab *l = *state;
	char key[32];

	for (int i = 0; i < PARTNER_MAX; i++) {
		snprintf(key, sizeof(key), "p%d.org", i);
		assert_int_equal(put(l->p, key, "{\"allowed\":true}"), 0);
	}
	assert_int_equal(put(l->p, "one.more", "{\"allowed\":true}"), -ENOSPC);
	assert_int_equal(put(l->p, "p0.org", "{\"allowed\":false}"), 0);
	assert_false(allowed(l, "p0.org"));
	assert_int_equal(partners_count(l->p), PARTNER_MAX);
}

static void load_once(void *arg)
{
	struct lab *l = arg;
	struct partners *p = partners_new();
	int error = p ? partners_load(p, l->snap) : -ENOMEM;

	if (error == 0)
		assert_int_equal(partners_count(p), 3);
	else if (p)
		assert_int_equal(partners_count(p), 0);
	partners_free(p);
}

static void test_out_of_memory(void **state)
{
	struct lab *l = *state;

	load(l, "[federation]\nmode = allow-list\nallow = a.org b.org\n[partner c.org]\n");
	alloc_fail_sweep(load_once, l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_allow_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deny_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_table_carries_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_items, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
