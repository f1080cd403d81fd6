/* [xmpp], [im-server], [federation] and [partner] as people write them: defaults, and each thing
 * --check-config refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/system_conf.h"
#include "core/tls.h"
#include "xmpp/s2s.h"
#include "xmpp/xmpp_conf.h"

/* Stand in for others' rows and for the files that certificates need. */
struct domain_stand_in {
	struct conf_common common;
	bool im;
};
static const struct conf_row domain_rows[] = {
	{ .key = "im", .type = CONF_BOOL, .offset = offsetof(struct domain_stand_in, im) },
};
static const struct conf_section domain_section = {
	.type = "domain",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct domain_stand_in),
	.rows = domain_rows,
	.n_rows = 1,
};
static const struct conf_row tls_rows[] = {
	{ .key = "certificate",
	  .type = CONF_STRING,
	  .offset = offsetof(struct tls_conf, certificate) },
	{ .key = "ca", .type = CONF_STRING, .offset = offsetof(struct tls_conf, ca) },
};
static const struct conf_section tls_section = {
	.type = "tls",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct tls_conf),
	.rows = tls_rows,
	.n_rows = 2,
};

static const struct conf_section *const schema[] = {
	&system_conf_section,	 &tls_section,
	&domain_section,	 &xmpp_conf_section,
	&im_server_conf_section, &federation_conf_section,
	&partner_conf_section
};
#define N_SCHEMA (sizeof(schema) / sizeof(schema[0]))

#define TLS                                                                            \
	"[tls pair]\ncertificate = a\nca = b\n[tls public]\ncertificate = a\nca = b\n" \
	"[tls other]\ncertificate = a\n[tls trust]\nca = b\n"
#define EDGE "[system]\nrole = E\nname = edge1.example.com\n" TLS
#define CORE "[system]\nrole = C\nname = core1.example.com\n" TLS
#define E_ON EDGE "[xmpp]\npool-tls = pair\ntls = public\n"
#define C_ON CORE "[xmpp]\npool-tls = pair\n"
#define IM   "[domain example.com]\nim = yes\n[im-server a]\ndomains = example.com\n"

static struct conf_snapshot *parse(const struct conf_store *s, const char *text, struct buf *errors)
{
	buf_init(errors, 65536);
	return conf_parse(s, "t.ini", slice_of(text), 0, errors);
}

static struct conf_snapshot *must_parse(const struct conf_store *s, const char *text)
{
	struct buf errors;
	struct conf_snapshot *snap = parse(s, text, &errors);

	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&errors);
	return snap;
}

/* The text is refused, and every complaint is there. */
static void bad(const char *text, const char *complaint)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct buf errors;
	struct conf_snapshot *snap = parse(s, text, &errors);

	if (snap)
		fail_msg("taken:\n%s", text);
	if (!strstr(errors.p, complaint))
		fail_msg("\"%s\" is not in:\n%s", complaint, errors.p);
	buf_fini(&errors);
	conf_store_free(s);
}

static void good(const char *text)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);

	conf_unref(must_parse(s, text));
	conf_store_free(s);
}

static void test_defaults(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap = must_parse(s, EDGE);
	const struct xmpp_conf *c = conf_get(snap, "xmpp", NULL);

	assert_false(xmpp_conf_on(c));
	conf_unref(snap);
	snap = must_parse(s, E_ON);
	c = conf_get(snap, "xmpp", NULL);
	assert_true(xmpp_conf_on(c));
	assert_int_equal(c->port, 5222);
	assert_int_equal(c->s2s_port, 5269);
	assert_int_equal(c->pool_port, 7400);
	assert_int_equal(c->auth_timeout_ms, 30000);
	assert_int_equal(c->stanza_bytes, 256 * 1024);
	assert_int_equal(c->stanza_bytes_unauthenticated, 10 * 1024);
	assert_int_equal(c->idle_ms, 3600000);
	assert_false(c->keep_binding);
	assert_null(c->client_ca);
	conf_unref(snap);
	snap = must_parse(s, C_ON IM);
	c = conf_get(snap, "xmpp", NULL);
	assert_int_equal(c->pool_idle, 8);
	assert_int_equal(c->pool_max, 6000);
	assert_int_equal(c->pool_source_ports.first, 30000);
	assert_int_equal(c->pool_source_ports.last, 35999);
	assert_true(xmpp_conf_domain(snap, "example.com"));
	assert_false(xmpp_conf_domain(snap, "other.org"));
	conf_unref(snap);
	conf_store_free(s);
}

static void test_im_server_defaults(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap = must_parse(s, C_ON IM);
	const struct im_server_conf *c = conf_get(snap, "im-server", "a");

	assert_true(c->enabled && c->verify);
	assert_int_equal(c->tls, XMPP_INNER_STARTTLS);
	assert_int_equal(c->federation, XMPP_INNER_S2S);
	assert_int_equal(c->port, 0);
	assert_int_equal(c->s2s_port, 5269);
	assert_false(c->proxy_protocol || c->sasl_external);
	assert_int_equal(c->hosts.n, 0);
	conf_unref(snap);
	conf_store_free(s);
}

static void test_edge(void **state)
{
	bad(EDGE "[xmpp]\ntls = public\n", "pool-tls");
	bad(EDGE "[xmpp]\npool-tls = pair\n", "tls: is missing");
	good(EDGE "[xmpp]\npool-tls = pair\nport = 0\n");
	bad(EDGE "[xmpp]\npool-tls = other\ntls = public\n", "needs `ca`");
	bad(EDGE "[xmpp]\npool-tls = trust\ntls = public\n", "no certificate to show");
	bad(EDGE "[xmpp]\npool-tls = pair\ntls = public none\n", "no [tls none]");
	bad(EDGE "[xmpp]\npool-tls = pair\ntls = trust\n", "no certificate to show");
	good(EDGE "[xmpp]\npool-tls = pair\ntls = public other\nclient-ca = public\n");
	bad(EDGE "[xmpp]\npool-tls = pair\ntls = other public\nclient-ca = public\n", "the first");
	bad(EDGE "[xmpp]\npool-tls = pair\ntls = other\nclient-ca = other\n", "no `ca`");
	bad(E_ON "s2s-port = 5222\n", "must differ");
	bad(E_ON "pool-port = 5222\n", "must differ");
	bad(E_ON "pool-port = 5269\n", "is `pool-port` too");
	bad(E_ON "stanza-bytes = 9999\n", "stanza-bytes");
	good(E_ON "stanza-bytes = 10000\nstanza-bytes-unauthenticated = 10000\n");
	bad(E_ON "stanza-bytes = 10000\nstanza-bytes-unauthenticated = 10001\n", "is more than");
	bad(E_ON "pool-idle = 3\n", "is set on C");
	bad(E_ON "[im-server a]\ndomains = example.com\n", "im-server");
}

static void test_core(void **state)
{
	bad(C_ON "port = 5222\n", "is set on E");
	bad(C_ON "[domain example.com]\nim = yes\n", "no enabled [im-server]");
	bad(C_ON IM "enabled = no\n", "no enabled [im-server]");
	bad(CORE IM, "needs [xmpp]");
	bad(C_ON "pool-max = 4\n", "less than `pool-idle`");
	bad(C_ON "pool-source-ports = 30000-30009\n", "more than `pool-source-ports`");
	good(C_ON "pool-source-ports = 30000-30009\npool-max = 10\n");
	bad(C_ON "pool-source-ports = 30000-30009\npool-max = 11\n", "pool-max");
	bad(C_ON "[im-server a]\n", "domains");
	bad(C_ON "[im-server a]\ndomains = other.org\n", "none of them is a [domain");
	good(C_ON IM "[im-server b]\ndomains = muc.example.com example.org\n"
		     "[domain example.org]\nim = yes\n");
	bad(C_ON IM "[im-server b]\ndomains = example.com\n", "[im-server a] has example.com");
	bad(C_ON IM "hosts = a:b:c\n", "no host or address");
	good(C_ON IM "hosts = im1.example.com 192.0.2.1 [2001:db8::1]\n");
	bad(C_ON "[domain example.com]\n[im-server a]\ndomains = example.com Example.org\n",
	    "is no domain");
	bad(C_ON IM "federation = component\n", "component-secret");
	good(C_ON IM "federation = component\ncomponent-secret = x\n");
	bad(C_ON IM "tls = plain\nca = trust\n", "looks at no certificate");
}

static void test_federation(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap;
	const struct federation_conf *f;
	const struct partner_conf *p;

	bad(E_ON "[federation]\nmode = allow-list\n", "is set on C");
	good(E_ON "[federation]\nidle-timeout = 5m\nbidi = no\n");
	bad(E_ON "[partner p.org]\n", "partner");
	bad(CORE "[federation]\nmode = allow-list\n", "needs [xmpp]");
	bad(C_ON "[federation]\ntls = off\nauth = certificate\n", "there is no certificate");
	bad(C_ON "[federation]\nallow = *.org\n", "is no domain");
	bad(C_ON "[partner *]\n", "without wildcards");
	bad(C_ON "[partner P.org]\n", "lower case");
	bad(C_ON IM "[partner example.com]\n", "one of ours");
	bad(C_ON "[partner p.org]\ntls = off\nauth = certificate\n", "there is no certificate");
	bad(C_ON "[partner p.org]\nauth = certificate\n[federation]\ntls = off\n",
	    "there is no certificate");
	bad(C_ON "[partner p.org]\ndirect-tls = yes\n", "only with `routes`");
	bad(C_ON "[partner p.org]\nroutes = a b c d e f g h i\n", "at most 8");
	bad(C_ON "[partner p.org]\nroutes = a:0\n", "is wrong");
	bad(C_ON "[partner p.org]\nroutes = a:65536\n", "is wrong");
	snap = must_parse(s, C_ON "[federation]\nmode = allow-list\n[partner p.org]\n"
				  "tls = optional\nroutes = x.p.org:5270 [2001:db8::1]:5269\n");
	f = conf_get(snap, "federation", NULL);
	p = conf_get(snap, "partner", "p.org");
	assert_int_equal(f->mode, FEDERATION_ALLOW_LIST);
	assert_int_equal(f->tls, S2S_TLS_REQUIRED);
	assert_int_equal(f->auth, S2S_AUTH_ANY);
	assert_int_equal(p->tls, S2S_TLS_OPTIONAL);
	assert_true(conf_is_set(p, "tls"));
	assert_false(conf_is_set(p, "auth"));
	conf_unref(snap);
	conf_store_free(s);
}

static void test_routes(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port; /* 0: refused */
	} routes[] = {
		{ "a.example.com", "a.example.com", 5269 },
		{ "a.example.com:1", "a.example.com", 1 },
		{ "a:65535", "a", 65535 },
		{ "192.0.2.1", "192.0.2.1", 5269 },
		{ "192.0.2.1:99", "192.0.2.1", 99 },
		{ "2001:db8::1", "2001:db8::1", 5269 },
		{ "[2001:db8::1]:99", "2001:db8::1", 99 },
		{ "", "", 0 },
		{ ":99", "", 0 },
		{ "a:", "", 0 },
		{ "a:0", "", 0 },
		{ "a:65536", "", 0 },
		{ "a b", "", 0 },
		{ "a/b", "", 0 },
	};
	char host[256];
	uint16_t port;

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		bool is = xmpp_conf_route(slice_of(routes[i].text), host, sizeof(host), &port);

		if (is != (routes[i].port != 0))
			fail_msg("%s: %d", routes[i].text, is);
		if (!is)
			continue;
		assert_string_equal(host, routes[i].host);
		assert_int_equal(port, routes[i].port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),   cmocka_unit_test(test_im_server_defaults),
		cmocka_unit_test(test_edge),	   cmocka_unit_test(test_core),
		cmocka_unit_test(test_federation), cmocka_unit_test(test_routes),
	};

	return cmocka_run_group_tests_name("xmpp_conf", tests, NULL, NULL);
}
