/* The sections of this module as people write them: defaults, and each thing --check-config
 * refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/system_conf.h"
#include "http/web_conf.h"
#include "support/alloc_fail.h"
#include "support/tls_stand_in.h"

static const struct conf_section *const schema[] = {
	&system_conf_section, &tls_section,	 &web_section,
	&allow_section,	      &backends_section, &site_section,
};
#define N_SCHEMA (sizeof(schema) / sizeof(schema[0]))

#define CORE	"[system]\nrole = C\nname = core1.example.com\n[tls inner]\n"
#define EDGE	"[system]\nrole = E\nname = edge1.example.com\n[tls public]\n"
#define ALLOW	CORE "[allow x]\n"
#define BACK	CORE "[backends photos.example.com]\n"
#define NAME_63 "a23456789-123456789-123456789-123456789-123456789-123456789-123"
#define SITE	EDGE "[site x]\nport = 9443\ntls = public\ntarget = https://guest.example.com\n"

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

static void defaults_of_web(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap = must_parse(s, EDGE);
	const struct web_conf *c = conf_get(snap, "web", NULL);
	struct http_engine_conf e = web_engine_conf(c);

	assert_int_equal(c->port, 8443);
	assert_null(c->tls);
	assert_string_equal(c->realm, "Cisco-Edge");
	assert_string_equal(c->cookie_name, "X-Auth");
	assert_int_equal(e.head_ms, 10000);
	assert_int_equal(e.idle_ms, 75000);
	assert_int_equal(e.back_idle_ms, 10000);
	assert_int_equal(e.response_ms, 60000);
	assert_int_equal(e.limits.max_head, 65536);
	assert_int_equal(e.limits.max_line, 32768);
	assert_int_equal(e.limits.max_fields, HTTP1_MAX_FIELDS);
	assert_true(e.max_body == 0 && e.max_requests == 0);
	assert_string_equal(e.server, "turnpike");
	assert_string_equal(e.via, "turnpike");
	conf_unref(snap);
	conf_store_free(s);
}

static void defaults_of_others(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap = must_parse(
		s, ALLOW "url = https://photos.example.com/p\n[backends photos.example.com]\n"
			 "servers = p1 p2:8443 [2001:db8::1]:1\n");
	const struct allow_conf *a = conf_get(snap, "allow", "x");
	const struct backends_conf *b = conf_get(snap, "backends", "photos.example.com");
	struct allow_rule r;
	char methods[64];

	allow_rule_from_conf(a, &r);
	assert_string_equal(r.name, "x");
	assert_string_equal(r.host, "photos.example.com");
	assert_string_equal(r.path, "/p");
	assert_string_equal(r.tls, "");
	assert_int_equal(r.port, 443);
	assert_int_equal(r.response_ms, 0);
	assert_true(r.https && r.verify && !r.exact && !r.open && !r.automatic);
	allow_methods_print(r.methods, methods, sizeof(methods));
	assert_string_equal(methods, "GET HEAD POST OPTIONS");
	assert_int_equal(b->servers.n, 3);
	assert_int_equal(b->mode, BACKENDS_FAILOVER);
	assert_string_equal(b->health_path, "/");
	assert_int_equal(b->health_interval_ms, 10000);
	assert_int_equal(b->health_fails, 3);
	conf_unref(snap);
	snap = must_parse(s, SITE);
	assert_int_equal(((const struct site_conf *)conf_get(snap, "site", "x"))->via,
			 SITE_VIA_TUNNEL);
	assert_true(((const struct site_conf *)conf_get(snap, "site", "x"))->verify);
	conf_unref(snap);
	conf_store_free(s);
}

static void cookie_domains(void **state)
{
	static const struct {
		const char *written, *name, *out;
	} rows[] = {
		{ "", "edge1.example.com", ".example.com" },
		{ "", "edge1.lab.example.com", ".lab.example.com" },
		/* A cookie for a whole top level is refused by every client. */
		{ "", "edge1.lab", "" },
		{ "", "edge1", "" },
		{ "cookie-domain = .other.example\n", "edge1.example.com", ".other.example" },
	};
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[256], out[256];
		struct conf_snapshot *snap;

		snprintf(text, sizeof(text), EDGE "[web]\n%s", rows[i].written);
		snap = must_parse(s, text);
		web_cookie_domain(conf_get(snap, "web", NULL), rows[i].name, out, sizeof(out));
		assert_string_equal(out, rows[i].out);
		conf_unref(snap);
	}
	conf_store_free(s);
}

static void legal(void **state)
{
	static const char *const rows[] = {
		CORE,
		EDGE,
		EDGE
		"[web]\ntls = public\nport = 443\naddress = 192.0.2.1\nrealm = Our phones\n"
		"cookie-name = our-cookie\ncookie-domain = .example.com\nmin-rate = 0\n"
		"max-per-source = 0\nnew-per-second = 0\nmax-body = 100m\nserver = x/1.0 (y)\n",
		CORE "[web]\nresponse-timeout = 2m\nmax-head = 1k\n",
		ALLOW "url = http://192.0.2.1:8080\n",
		ALLOW "url = http://127.0.0.1:8080/only/this\nmatch = exact\nmethods = GET\n",
		ALLOW "url = https://[2001:db8::1]/\ntls = inner\nverify = no\n",
		ALLOW "url = https://a_b.example/%C3%A4\nmethods = all\nauthentication = none\n"
		      "response-timeout = 1h\n",
		CORE "[backends 192.0.2.1]\nservers = 192.0.2.2, 192.0.2.3\n",
		BACK "servers = a b c d e f g h\nmode = round-robin\nhealth-path = /alive\n",
		SITE,
		SITE "paths = /guest /files/\nvia = direct\nverify = no\n",
		SITE "[site y]\nport = 9444\ntls = public\ntarget = http://10.0.0.1:8080/\n",
		SITE "address = 192.0.2.2\n[site y]\nport = 9443\naddress = 192.0.2.1\n"
		     "tls = public\ntarget = http://10.0.0.1\n",
		SITE "redirect-port = 9980\npublic-host = join.example.com\npublic-port = 8443\n",
		SITE "redirect-port = 9980\naddress = 192.0.2.2\n[site y]\nport = 9444\n"
		     "redirect-port = 9980\naddress = 192.0.2.1\ntls = public\ntarget = http://a\n",
		SITE "public-host = [2001:db8::1]\n",
		EDGE "[site " NAME_63 "]\nport = 9443\ntls = public\ntarget = http://a\n",
	};
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf errors;
		struct conf_snapshot *snap = parse(s, rows[i], &errors);

		if (!snap)
			fail_msg("row %zu: %s", i, errors.p);
		conf_unref(snap);
		buf_fini(&errors);
	}
	conf_store_free(s);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		/* web */
		{ CORE "[web]\ntls = inner\n", "C serves no HTTPS" },
		{ EDGE "[web]\ntls = publik\n", "did you mean \"public\"" },
		{ EDGE "[web]\nport = 0\n", "port" },
		{ EDGE "[web]\nport = 65536\n", "port" },
		{ EDGE "[web]\ncookie-name = a b\n", "must be a token" },
		{ EDGE "[web]\ncookie-name = a=b\n", "must be a token" },
		{ EDGE "[web]\nrealm = a\"b\n", "no quotes" },
		{ EDGE "[web]\nrealm = a\\b\n", "no quotes" },
		{ EDGE "[web]\ncookie-domain = .Example.com\n", "lower-case" },
		{ EDGE "[web]\ncookie-domain = a;b\n", "lower-case" },
		{ EDGE "[web]\nserver = a\001b\n", "a control character" },
		{ EDGE "[web]\nmax-head = 1023\n", "max-head" },
		{ EDGE "[web]\nmax-head = 2m\n", "max-head" },
		{ EDGE "[web]\nhead-timeout = 99ms\n", "head-timeout" },
		{ EDGE "[web]\nmin-rate-time = 10ms\n", "min-rate-time" },
		{ EDGE "[web]\nmax-conections = 5\n", "max-connections" },
		/* allow */
		{ ALLOW, "url: required" },
		{ EDGE "[allow x]\nurl = http://a/\n", "[allow]" },
		{ ALLOW "url = a.example\n", "url: " },
		{ ALLOW "url = ftp://a.example\n", "url: " },
		{ ALLOW "url = https://u:p@a.example\n", "url: " },
		{ ALLOW "url = https://a.example/../b\n", "url: " },
		{ ALLOW "url = https://a.example/%2e%2e/b\n", "url: " },
		{ ALLOW "url = https://0x7f000001/\n", "url: " },
		{ ALLOW "url = https://a.example/?q\n", "has no query" },
		{ ALLOW "url = https://a.example\nmethods = TRACE\n", "legal values: GET" },
		{ ALLOW "url = https://a.example\nmethods = get\n", "legal values: GET" },
		{ ALLOW "url = https://a.example\nmethods =\n", "legal values: GET" },
		{ ALLOW "url = https://a.example\nmatch = suffix\n", "prefix" },
		{ ALLOW "url = https://a.example\nauthentication = no\n", "required" },
		{ ALLOW "url = https://a.example\ntls = other\n", "other" },
		/* The names of automatic rules have spaces. */
		{ CORE "[allow main cucm1 uds]\nurl = https://a/\n", "more than one word" },
		{ CORE "[allow a\xc3\xa4]\nurl = https://a/\n", "1 to 63 letters" },
		{ CORE "[allow aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg]\n"
		       "url = https://a/\n",
		  "1 to 63 letters" },
		/* backends */
		{ BACK, "servers: required" },
		{ EDGE "[backends a]\nservers = b\n", "[backends]" },
		{ CORE "[backends A.example]\nservers = b\n", "in lower case" },
		{ CORE "[backends a:80]\nservers = b\n", "in lower case" },
		{ BACK "servers = a b c d e f g h i\n", "9 servers; at most 8" },
		{ BACK "servers = a:0\n", "\"a:0\": " },
		{ BACK "servers = a:65536\n", "\"a:65536\": " },
		{ BACK "servers = http://a\n", "\"http://a\": " },
		{ BACK "servers = 0177.1\n", "\"0177.1\": " },
		{ BACK "servers = a\nmode = fastest\n", "failover" },
		{ BACK "servers = a\nhealth-path = alive\n", "health-path: " },
		{ BACK "servers = a\nhealth-path = /../x\n", "health-path: " },
		{ BACK "servers = a\nhealth-interval = 100ms\n", "health-interval" },
		{ BACK "servers = a\nhealth-fails = 0\n", "health-fails" },
		/* site */
		{ CORE "[site x]\nport = 1\ntls = inner\ntarget = http://a\n", "[site]" },
		{ EDGE "[site x]\ntls = public\ntarget = http://a\n", "port: required" },
		{ EDGE "[site x]\nport = 1\ntarget = http://a\n", "tls: required" },
		{ EDGE "[site x]\nport = 1\ntls = public\n", "target: required" },
		{ EDGE "[site x]\nport = 1\ntls = public\ntarget = a\n", "target: " },
		{ EDGE "[site x]\nport = 1\ntls = public\ntarget = http://a/b\n", "has no path" },
		{ EDGE "[site x]\nport = 1\ntls = public\ntarget = http://a/?b\n", "has no path" },
		{ SITE "paths = guest\n", "\"guest\": " },
		{ SITE "paths = /a/%2E%2E\n", "\"/a/%2E%2E\": " },
		{ SITE "paths = /%61\n", "compared as \"/a\"" },
		{ SITE "via = tunel\n", "tunnel" },
		{ SITE "[site y]\nport = 9443\ntls = public\ntarget = http://b\n",
		  "9443 is the port of [site x] already" },
		{ SITE "[site y]\nport = 9443\naddress = 192.0.2.1\ntls = public\n"
		       "target = http://b\n",
		  "9443 is the port of [site x] already" },
		{ SITE "redirect-port = 9443\n", "9443 is the port of the site itself" },
		{ SITE "redirect-port = 65536\n", "redirect-port" },
		{ SITE "public-port = 0\n", "public-port" },
		{ SITE "public-host = a/b\n", "public-host: \"a/b\": " },
		{ SITE "public-host = a:443\n", "public-host: " },
		{ SITE "redirect-port = 9980\n[site y]\nport = 9444\nredirect-port = 9980\n"
		       "tls = public\ntarget = http://b\n",
		  "redirect-port: 9980 is the redirect-port of [site x] already" },
		{ SITE "redirect-port = 9980\n[site y]\nport = 9980\ntls = public\n"
		       "target = http://b\n",
		  "port: 9980 is the redirect-port of [site x] already" },
		{ SITE "[site y]\nport = 9444\nredirect-port = 9443\ntls = public\n"
		       "target = http://b\n",
		  "redirect-port: 9443 is the port of [site x] already" },
		{ SITE "redirect-port = 8443\n[web]\ntls = public\n",
		  "redirect-port: 8443 is the port of [web] already" },
		{ EDGE "[site " NAME_63 "x]\nport = 9443\ntls = public\ntarget = http://a\n",
		  "at most 63 bytes" },
	};
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf errors;
		struct conf_snapshot *snap = parse(s, rows[i].text, &errors);

		if (snap)
			fail_msg("taken: %s", rows[i].text);
		if (!strstr(errors.p, rows[i].says))
			fail_msg("wanted \"%s\", got:\n%s", rows[i].says, errors.p);
		buf_fini(&errors);
	}
	conf_store_free(s);
}

/* A path of n bytes in all is taken or refused. */
static void longest_path(void **state)
{
	const size_t max = sizeof(((struct allow_rule *)0)->path) - 1;
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);

	for (size_t n = max; n <= max + 1; n++) {
		struct conf_snapshot *snap;
		struct buf errors, text;

		buf_init(&text, 4096);
		buf_add_str(&text, ALLOW "url = https://a.example/");
		for (size_t i = 1; i < n; i++)
			buf_add_char(&text, 'p');
		buf_add_char(&text, '\n');
		snap = parse(s, text.p, &errors);
		if (n == max && !snap)
			fail_msg("%s", errors.p);
		if (n > max)
			assert_non_null(strstr(errors.p, "over 511 characters"));
		if (snap)
			conf_unref(snap);
		buf_fini(&errors);
		buf_fini(&text);
	}
	conf_store_free(s);
}

static void how_many_rules(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap;
	struct allow_list l;
	struct buf errors, text;
	const uint8_t seed[16] = { 0 };

	buf_init(&text, 1 << 20);
	buf_add_str(&text, CORE);
	for (int i = 0; i < ALLOW_MAX_CONF; i++)
		buf_printf(&text, "[allow r%d]\nurl = https://a.example/%d\n", i, i);
	snap = must_parse(s, text.p);
	assert_int_equal(allow_init(&l, seed), 0);
	assert_int_equal(allow_add_conf(&l, snap), 0);
	assert_int_equal(l.n, ALLOW_MAX_CONF);
	allow_fini(&l);
	conf_unref(snap);
	buf_add_str(&text, "[allow more]\nurl = https://a.example/\n");
	assert_null(parse(s, text.p, &errors));
	assert_non_null(strstr(errors.p, "2001 [allow] sections; at most 2000 are legal"));
	buf_fini(&errors);
	buf_fini(&text);
	conf_store_free(s);
}

static void add_once(void *arg)
{
	const uint8_t seed[16] = { 0 };
	struct allow_list l;

	if (allow_init(&l, seed) < 0)
		return;
	if (allow_add_conf(&l, arg) == 0)
		assert_int_equal(l.n, 2);
	else
		assert_true(alloc_fail_hit());
	allow_fini(&l);
}

static void without_memory(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap = must_parse(s, ALLOW "url = https://a.example\n[allow y]\n"
							 "url = https://b.example\n");

	assert_true(alloc_fail_sweep(add_once, snap) > 3);
	conf_unref(snap);
	conf_store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_of_web), cmocka_unit_test(defaults_of_others),
		cmocka_unit_test(cookie_domains),  cmocka_unit_test(legal),
		cmocka_unit_test(refused),	   cmocka_unit_test(longest_path),
		cmocka_unit_test(how_many_rules),  cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
