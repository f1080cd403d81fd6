/* Zones and rules that come by themselves, and the settings they come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/conf_store.h"
#include "support/alloc_fail.h"
#include "turnpike/route.h"
#include "uc/generate.h"

/* As much of [domain] and [tls] as is looked at here; their modules own the real ones. */
static const struct conf_row domain_rows[] = {
	{ .key = "sip",
	  .type = CONF_STRING,
	  .offset = offsetof(struct domain_conf, sip),
	  .def = "none" },
};
static const struct conf_section domain_section = { .type = "domain",
						    .repeatable = true,
						    .roles = CONF_ROLE_BOTH,
						    .size = sizeof(struct domain_conf),
						    .rows = domain_rows,
						    .n_rows = 1 };
static const struct conf_section tls_section = { .type = "tls",
						 .repeatable = true,
						 .roles = CONF_ROLE_BOTH,
						 .size = sizeof(struct conf_common) };
static const struct conf_section *const schema[] = { &domain_section, &tls_section,
						     &uc_cluster_section };

#define DOMAINS "[domain example.com]\nsip = uc\n[domain example.org]\n[tls inside]\n"

struct fixture {
	struct conf_store *store;
	struct conf_snapshot *snap;
	struct uc_servers servers;
	struct buf out;
};

static void load(struct fixture *f, const char *text)
{
	struct buf errors;

	memset(f, 0, sizeof(*f));
	buf_init(&f->out, UC_GENERATE_MAX_BYTES);
	buf_init(&errors, 65536);
	f->store = conf_store_new(schema, 3);
	assert_non_null(f->store);
	f->snap = conf_parse(f->store, "t.ini", slice_of(text), CONF_ROLE_C, &errors);
	if (!f->snap)
		fail_msg("%s", errors.p);
	buf_fini(&errors);
}

static void drop(struct fixture *f)
{
	uc_servers_fini(&f->servers);
	buf_fini(&f->out);
	conf_unref(f->snap);
	conf_store_free(f->store);
}

static const struct uc_cluster_conf *cluster(const struct fixture *f)
{
	return conf_get(f->snap, "uc-cluster", "main");
}

static const char *generate(struct fixture *f, bool mixed)
{
	buf_reset(&f->out);
	assert_true(uc_generate(f->snap, cluster(f), &f->servers, mixed, &f->out));
	return f->out.n ? f->out.p : "";
}

static void add(struct fixture *f, const char *name, unsigned roles)
{
	assert_non_null(uc_servers_add(&f->servers, slice_of(name), roles, 8443));
}

static void test_text(void **state)
{
	struct fixture f;

	load(&f, DOMAINS "[uc-cluster main]\ndomains = example.com example.org\n"
			 "call-managers = x\ntls = inside\n");
	add(&f, "cm-1.example.com", UC_CALL_MANAGER);
	add(&f, "imp1.example.com", UC_PRESENCE);
	assert_string_equal(
		generate(&f, true),
		"[zone CEtcp-cm-1.example.com]\ntype = neighbour\npeers = cm-1.example.com\n"
		"monitor = no\ntransport = tcp\nport = 5060\nmedia-encryption = unencrypted\n"
		"[search-rule CEtcp-cm-1.example.com]\npriority = 45\nsource = any\n"
		"mode = alias-pattern\npattern-type = regex\n"
		"pattern = (.+)@cm\\-1\\.example\\.com([:;].*)?\n"
		"target = CEtcp-cm-1.example.com\n"
		"[zone CEtls-cm-1.example.com]\ntype = neighbour\npeers = cm-1.example.com\n"
		"monitor = no\ntransport = tls\nport = 5061\ntls = inside\n"
		"media-encryption = auto\n"
		"[search-rule CEtls-cm-1.example.com]\npriority = 45\nsource = any\n"
		"mode = alias-pattern\npattern-type = regex\n"
		"pattern = (.+)@cm\\-1\\.example\\.com([:;].*)?\n"
		"target = CEtls-cm-1.example.com\n"
		"[search-rule CEtcp-cm-1.example.com-example.com]\npriority = 45\nsource = any\n"
		"mode = alias-pattern\npattern-type = regex\n"
		"pattern = (.+)@example\\.com\ntarget = CEtcp-cm-1.example.com\n");
	assert_string_equal(f.servers.v[0].tcp_zone, "CEtcp-cm-1.example.com");
	assert_string_equal(f.servers.v[0].tls_zone, "CEtls-cm-1.example.com");
	assert_string_equal(f.servers.v[1].tcp_zone, "");
	assert_null(strstr(generate(&f, false), "CEtls"));
	assert_string_equal(f.servers.v[0].tls_zone, "");
	drop(&f);
}

static void test_switches(void **state)
{
	struct fixture f;

	load(&f, DOMAINS "[uc-cluster main]\ndomains = example.com\ncall-managers = x\n"
			 "sip-port = 5070\n");
	add(&f, "cm1", UC_CALL_MANAGER);
	add(&f, "2001:db8::1", UC_CALL_MANAGER);
	assert_null(strstr(generate(&f, true), "CEtls")); /* no [tls] section to use */
	assert_non_null(strstr(f.out.p, "port = 5070\n"));
	assert_non_null(strstr(f.out.p, "peers = 2001:db8::1\n"));
	assert_non_null(strstr(f.out.p, "pattern = (.+)@\\[2001:db8::1\\]("));
	assert_null(strstr(f.out.p, "[zone CEtcp-2001:"));
	drop(&f);
	load(&f, DOMAINS "[uc-cluster main]\ndomains = example.com\ncall-managers = x\nsip = no\n");
	add(&f, "cm1", UC_CALL_MANAGER);
	assert_string_equal(generate(&f, true), "");
	drop(&f);
}

static void test_names(void **state)
{
	char a[UC_ZONE_BYTES], b[UC_ZONE_BYTES], node[254];

	uc_zone_name(a, "CEtcp-", "cm1.example.com");
	assert_string_equal(a, "CEtcp-cm1.example.com");
	memset(node, 'a', sizeof(node));
	node[57] = '\0'; /* 63 characters with the prefix: just fits */
	uc_zone_name(a, "CEtcp-", node);
	assert_int_equal(strlen(a), 63);
	assert_string_equal(a + 6, node);
	node[57] = 'a';
	node[58] = '\0';
	uc_zone_name(a, "CEtcp-", node);
	assert_true(strlen(a) <= 63);
	assert_memory_equal(a, "CEtcp-aaaa", 10);
	node[57] = 'b';
	uc_zone_name(b, "CEtcp-", node);
	assert_string_not_equal(a, b);
	node[57] = 'a';
	uc_zone_name(b, "CEtcp-", node);
	assert_string_equal(a, b);
	uc_zone_name(a, "CEtcp-", "2001:db8::1");
	assert_null(strchr(a, ':'));
}

static void test_many(void **state)
{
	struct fixture f;
	const char *at;
	char name[300];
	unsigned i, n = 0;

	load(&f, DOMAINS "[uc-cluster main]\ndomains = example.com\ncall-managers = x\n"
			 "tls = inside\n");
	for (i = 0; i < UC_MAX_SERVERS; i++) {
		snprintf(name, sizeof(name),
			 "node-with-a-name-that-is-rather-long-%03u.example.com", i);
		add(&f, name, UC_CALL_MANAGER);
	}
	for (at = generate(&f, true); (at = strstr(at, "pattern = (.+)@example")); at++)
		n++;
	assert_int_equal(n, UC_GENERATE_DOMAIN_NODES);
	drop(&f);
}

static void bad(const char *text, const char *expected)
{
	struct conf_store *store = conf_store_new(schema, 3);
	struct buf errors;

	buf_init(&errors, 65536);
	assert_null(conf_parse(store, "t.ini", slice_of(text), CONF_ROLE_C, &errors));
	if (!strstr(errors.p, expected))
		fail_msg("\"%s\" does not hold \"%s\"", errors.p, expected);
	buf_fini(&errors);
	conf_store_free(store);
}

static void test_settings(void **state)
{
	struct fixture f;

#define CLUSTER DOMAINS "[uc-cluster main]\ndomains = example.com\n"
	load(&f, CLUSTER "discovery = axl\npublisher = cm1:9443\nusername = u\npassword = p\n");
	assert_true(cluster(&f)->verify);
	assert_int_equal(cluster(&f)->refresh_ms, 3600000);
	assert_int_equal(cluster(&f)->uds_port, 8443);
	drop(&f);
	load(&f, CLUSTER "call-managers = 192.0.2.1 [2001:db8::1]:8443 cm_1:9000 2001:db8::2\n");
	drop(&f);
	load(&f, CLUSTER "discovery = srv\nrefresh = 1m\n");
	drop(&f);
	bad(CLUSTER, "call-managers: discovery = static needs");
	bad(CLUSTER "discovery = srv\ncall-managers = a\n", "only with discovery = static");
	bad(CLUSTER "discovery = axl\n", "publisher: discovery = axl needs");
	bad(CLUSTER "discovery = axl\n", "username: discovery = axl needs");
	bad(CLUSTER "discovery = axl\n", "password: discovery = axl needs");
	bad(CLUSTER "discovery = axl\npublisher = a/b\nusername = u\npassword = p\n",
	    "a/b is no server");
	bad(CLUSTER "discovery = srv\npublisher = a\n", "only with discovery = axl");
	bad(CLUSTER "call-managers = a:0\n", "a:0 is no server");
	bad(CLUSTER "call-managers = a:65536\n", "is no server");
	bad(CLUSTER "call-managers = [::1\n", "is no server");
	bad(CLUSTER "call-managers = a@b\n", "is no server");
	bad(CLUSTER "call-managers = a\nrefresh = 59s\n", "refresh");
	bad(CLUSTER "call-managers = a\nsecurity = mixed-up\n", "security");
	bad("[uc-cluster main]\ndomains = nowhere\ncall-managers = a\n",
	    "there is no [domain nowhere]");
	bad(DOMAINS "[uc-cluster a/b]\ndomains = example.com\ncall-managers = a\n",
	    "a cluster's name has");
}

static void test_clusters_at_the_bound(void **state)
{
	struct fixture f;
	struct buf b;
	int i;

	buf_init(&b, 65536);
	buf_add_str(&b, DOMAINS);
	for (i = 0; i < UC_MAX_CLUSTERS; i++)
		buf_printf(&b, "[uc-cluster c%d]\ndomains = example.com\ncall-managers = a\n", i);
	load(&f, b.p);
	drop(&f);
	buf_add_str(&b, "[uc-cluster more]\ndomains = example.com\ncall-managers = a\n");
	bad(b.p, "at most 64 are legal");
	buf_fini(&b);
}

static void run_without_memory(void *arg)
{
	struct fixture *f = arg;

	buf_fini(&f->out);
	buf_init(&f->out, UC_GENERATE_MAX_BYTES);
	if (uc_generate(f->snap, cluster(f), &f->servers, true, &f->out))
		assert_non_null(strstr(f->out.p, "target = CEtls-cm1"));
}

static void test_without_memory(void **state)
{
	struct fixture f;

	load(&f, CLUSTER "call-managers = x\ntls = inside\n");
	add(&f, "cm1", UC_CALL_MANAGER);
	assert_true(alloc_fail_sweep(run_without_memory, &f) > 1);
	drop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	       cmocka_unit_test(test_switches),
		cmocka_unit_test(test_names),	       cmocka_unit_test(test_many),
		cmocka_unit_test(test_settings),       cmocka_unit_test(test_clusters_at_the_bound),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
