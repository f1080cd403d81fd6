/* The sections of this module as people write them: defaults, and each thing --check-config
 * refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/system_conf.h"
#include "route/sections.h"
#include "support/alloc_fail.h"
#include "support/tls_stand_in.h"

static const struct conf_section *const schema[] = {
	&system_conf_section,	  &tls_section,	       &route_zone_section, &route_domain_section,
	&route_transform_section, &route_rule_section,
};
#define N_SCHEMA (sizeof(schema) / sizeof(schema[0]))

#define CORE                                                                            \
	"[system]\nrole = C\nname = core1.example.com\n[tls pair]\n"                    \
	"[zone to-edge]\ntype = uc-traversal\npeers = edge1.example.com\nport = 7001\n" \
	"tls = pair\nusername = pair1\npassword = secret\n"                             \
	"[zone pbx]\ntype = neighbour\npeers = pbx.example.com\nport = 5060\ntransport = tcp\n"
#define EDGE                                                             \
	"[system]\nrole = E\nname = edge1.example.com\n[tls pair]\n"     \
	"[zone to-core]\ntype = uc-traversal\nport = 7001\ntls = pair\n" \
	"verify-name = core1.example.com\nusername = pair1\npassword = secret\n"

static struct conf_snapshot *parse(const struct conf_store *s, const char *text, struct buf *errors)
{
	buf_init(errors, 65536);
	return conf_parse(s, "t.ini", slice_of(text), 0, errors);
}

static void test_defaults(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct buf errors;
	struct conf_snapshot *snap = parse(s, CORE "[search-rule r]\ntarget = pbx\n", &errors);
	const struct zone_conf *z;
	const struct rule_conf *r;

	assert_non_null(snap);
	z = conf_get(snap, "zone", "to-edge");
	assert_int_equal(z->type, ZONE_UC_TRAVERSAL);
	assert_int_equal(z->transport, ZONE_TLS);
	assert_int_equal(z->media_encryption, ZONE_MEDIA_AUTO);
	assert_int_equal(z->contact, ZONE_CONTACT_PATH);
	assert_int_equal(z->hop_count, 15);
	assert_int_equal(z->keepalive_ms, 20000);
	assert_int_equal(z->retry_min_ms, 200);
	assert_int_equal(z->retry_max_ms, 30000);
	assert_true(z->monitor && z->enabled);
	r = conf_get(snap, "search-rule", "r");
	assert_int_equal(r->priority, 100);
	assert_int_equal(r->source.n, 1);
	assert_string_equal(r->source.v[0], "any");
	assert_int_equal(r->mode, RULE_ANY_ALIAS);
	assert_int_equal(r->pattern_type, ROUTE_PREFIX);
	assert_int_equal(r->behaviour, ROUTE_LEAVE);
	assert_int_equal(r->on_match, RULE_CONTINUE);
	assert_true(!r->authenticated && r->enabled);
	conf_unref(snap);
	conf_store_free(s);
	buf_fini(&errors);
}

static void test_legal(void **state)
{
	static const char *const rows[] = {
		CORE,
		EDGE,
		EDGE "[domain example.com]\nsip = zone:to-core\nim = yes\n",
		EDGE
		"[zone second]\ntype = uc-traversal\nport = 7002\ntls = pair\nverify-name = x\n"
		"username = u\npassword = p\n",
		CORE "[domain example.com]\nsip = zone:pbx\n[domain other.example]\nguest = yes\n",
		EDGE
		"[zone guest]\ntype = neighbour\npeers = guest1\nport = 5060\ntransport = tcp\n",
		CORE "[zone six]\ntype = neighbour\ntransport = udp\nport = 5060\n"
		     "peers = a b:5070 10.0.0.1 10.0.0.1:5070 [2001:db8::1]:5070 2001:db8::1\n",
		CORE "[zone tls]\ntype = neighbour\npeers = a\nport = 5061\ntls = pair\n"
		     "media-encryption = force-encrypted\ncontact = rewrite\n",
		CORE "[transform t]\npriority = 1\npattern = 9\n"
		     "[transform u]\npriority = 65534\npattern-type = regex\npattern = (\\d+)\n"
		     "behaviour = replace\nreplace = \\1@example.com\n",
		CORE "[search-rule to-pbx]\npriority = 45\nsource = any\nmode = alias-pattern\n"
		     "pattern-type = regex\npattern = (.+)@example\\.com\non-match = stop\n"
		     "target = pbx\n",
		/* No regular expression, and none has to be. */
		CORE "[search-rule plus]\nmode = alias-pattern\npattern = +49\ntarget = pbx\n",
		CORE "[domain example.com]\nsip = zone:pbx\n"
		     "[search-rule mine]\nmode = alias-pattern\npattern-type = regex\n"
		     "pattern = .+@%localdomains%\nsource = to-edge, all-zones default local\n"
		     "target = pbx\n",
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

#define ZONE_OF(name) "[zone " name "]\ntype = neighbour\npeers = a\nport = 5060\ntransport = tcp\n"

static void test_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		/* zones */
		{ CORE "[zone x]\ntype = dns\nport = 1\n", "uc-traversal" },
		{ CORE ZONE_OF("local"), "meaning of its own" },
		{ CORE ZONE_OF("Any"), "meaning of its own" },
		{ CORE ZONE_OF("a/b"), "1 to 63 letters" },
		{ CORE ZONE_OF("aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"
			       "eeeeeeeeeeffffffffffgggg"),
		  "1 to 63 letters" },
		{ CORE "[zone x]\ntype = neighbour\nport = 5060\ntransport = tcp\n",
		  "needs at least one peer" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a b c d e f g\nport = 5060\n"
		       "transport = tcp\n",
		  "7 peers; at most 6" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a:0\nport = 5060\ntransport = tcp\n",
		  "a:0 is no peer" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a:65536\nport = 1\ntransport = tcp\n",
		  "a:65536 is no peer" },
		{ CORE "[zone x]\ntype = neighbour\npeers = sip:a\nport = 5060\ntransport = tcp\n",
		  "sip:a is no peer" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\nport = 5061\n",
		  "transport = tls needs `tls`" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\ntransport = tcp\n",
		  "port: required" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\nport = 5060\ntransport = tcp\n"
		       "media-encryption = force-encrypted\n",
		  "force-encrypted needs transport = tls" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\nport = 5060\ntransport = udp\n"
		       "media-encryption = best-effort\n",
		  "best-effort needs transport = tls" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\nport = 1\ntransport = tcp\n"
		       "username = u\n",
		  "only uc-traversal zones have a login" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\nport = 1\ntransport = tcp\n"
		       "verify-name = u\n",
		  "only for uc-traversal zones on E" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\nport = 1\ntransport = tcp\n"
		       "retry-min = 31s\n",
		  "must not be over retry-max" },
		{ CORE "[zone x]\ntype = neighbour\npeers = a\nport = 1\ntransport = tcp\n"
		       "hop-count = 256\n",
		  "hop-count" },
		{ CORE "[zone x]\ntype = uc-traversal\nport = 7001\n", "needs `username`" },
		{ CORE "[zone x]\ntype = uc-traversal\nport = 7001\n", "needs `password`" },
		{ CORE "[zone x]\ntype = uc-traversal\nport = 7001\n", "needs `tls`" },
		{ CORE "[zone x]\ntype = uc-traversal\nport = 7001\n", "name 1 to 6 edges" },
		{ CORE "[zone x]\ntype = uc-traversal\nport = 7001\ntransport = tcp\n",
		  "always tls" },
		{ CORE "[zone x]\ntype = uc-traversal\npeers = a\nport = 7001\ntls = pair\n"
		       "username = u\npassword = p\nverify-name = core1\n",
		  "only on E" },
		{ EDGE "[zone x]\ntype = neighbour\npeers = a\nport = 5060\ntransport = udp\n",
		  "on E a neighbour comes by tcp or tls" },
		{ EDGE "[zone x]\ntype = uc-traversal\nport = 7002\npeers = core1\n",
		  "E never dials C" },
		{ EDGE "[zone x]\ntype = uc-traversal\nport = 7002\n",
		  "the name that C's certificate must carry" },
		{ EDGE "[zone x]\ntype = uc-traversal\nport = 7001\ntls = pair\nverify-name = x\n"
		       "username = u\npassword = p\n",
		  "7001 is the port of [zone to-core] already" },
		{ EDGE "[zone x]\ntype = uc-traversal\nport = 5061\ntls = pair\nverify-name = x\n"
		       "username = u\npassword = p\n",
		  "5061 is a public SIP port" },
		/* domains */
		{ CORE "[domain Example.com]\n", "lower-case" },
		{ CORE "[domain .example.com]\n", "lower-case" },
		{ CORE "[domain example.com]\nsip = pbx\n", "legal values: zone:NAME, uc, none" },
		{ CORE "[domain example.com]\nsip = zone:\n", "legal values: zone:NAME, uc, none" },
		{ CORE "[domain example.com]\nsip = zone:gone\n", "there is no [zone gone]" },
		{ CORE "[domain example.com]\nsip = zone:to-edge\n", "leads back to E" },
		{ EDGE "[domain example.com]\nguest = yes\n",
		  "is set on C, which tells E about it" },
		/* transforms */
		{ CORE "[transform t]\npattern = 9\n", "priority: required" },
		{ CORE "[transform t]\npriority = 65535\npattern = 9\n", "priority" },
		{ CORE "[transform t]\npriority = 0\npattern = 9\n", "priority" },
		{ CORE "[transform t]\npriority = 1\n", "pattern: required" },
		{ CORE "[transform t]\npriority = 1\npattern = 9\n"
		       "[transform u]\npriority = 1\npattern = 8\n",
		  "[transform t] has priority 1 already" },
		{ CORE "[transform t]\npriority = 1\npattern = 9\nbehaviour = leave\n",
		  "behaviour" },
		{ CORE "[transform t]\npriority = 1\npattern-type = regex\npattern = (9\n"
		       "behaviour = replace\nreplace = x\n",
		  "bad regular expression at byte 2" },
		/* rules */
		{ CORE "[search-rule r]\n", "target: required" },
		{ CORE "[search-rule r]\ntarget = pbxx\n", "did you mean \"pbx\"?" },
		{ CORE "[search-rule r]\ntarget = pbx\nsource = pbxx\n", "pbxx is no zone" },
		{ CORE "[search-rule r]\ntarget = pbx\npattern = 9\n", "mode = alias-pattern" },
		{ CORE "[search-rule r]\ntarget = pbx\nmode = alias-pattern\n",
		  "a pattern has 1 to 1024" },
		{ CORE "[search-rule r]\ntarget = pbx\nmode = alias-pattern\n"
		       "pattern-type = regex\npattern = *\n",
		  "bad regular expression" },
		{ CORE "[search-rule r]\ntarget = pbx\nmode = alias-pattern\n"
		       "pattern-type = regex\npattern = .+@%localdoamins%\n",
		  "did you mean %localdomains%?" },
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

/* One more section than is legal is told once. */
static void check_many(const char *section, size_t max, const char *says)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 1 << 20);
	buf_add_str(&text, CORE);
	for (size_t i = 1; i <= max + 1; i++) {
		if (i == max + 1) {
			snap = parse(s, text.p, &errors);
			if (!snap)
				fail_msg("%s", errors.p);
			conf_unref(snap);
			buf_fini(&errors);
		}
		buf_printf(&text, section, i, i);
	}
	snap = parse(s, text.p, &errors);
	assert_null(snap);
	assert_non_null(strstr(errors.p, says));
	buf_fini(&errors);
	buf_fini(&text);
	conf_store_free(s);
}

static void test_counts(void **state)
{
	check_many("[transform t%zu]\npriority = %zu\npattern = 9\n", ROUTE_MAX_TRANSFORMS,
		   "101 [transform] sections; at most 100");
	check_many("[search-rule r%zu]\npriority = %zu\ntarget = pbx\n", ROUTE_MAX_RULES,
		   "2001 [search-rule] sections; at most 2000");
}

static void gather_once(void *arg)
{
	struct route_gather g;
	struct route_table *t;
	struct buf errors;

	buf_init(&errors, 65536);
	if (route_gather_init(&g, arg) == 0) {
		if (route_table_new(&g.plan, &t, &errors) == 0)
			route_table_free(t);
		assert_int_equal(errors.n, 0);
		route_gather_fini(&g);
	}
	buf_fini(&errors);
}

static void test_no_memory(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct buf errors;
	struct conf_snapshot *snap = parse(
		s,
		CORE "[domain example.com]\nsip = zone:pbx\n[search-rule r]\ntarget = pbx\n"
		     "mode = alias-pattern\npattern-type = regex\npattern = .+@%localdomains%\n",
		&errors);

	assert_non_null(snap);
	assert_in_range(alloc_fail_sweep(gather_once, snap), 10, 200);
	conf_unref(snap);
	conf_store_free(s);
	buf_fini(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),  cmocka_unit_test(test_legal),
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_counts),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
