/* What the other box says about sign-ins, good and hostile; digests kept of a password. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signin/basic.h"
#include "signin/digest.h"
#include "signin/edge_domains.h"
#include "signin/item.h"
#include "support/alloc_fail.h"

#define TOKEN "01234567-89ab-4def-8123-456789abcdef"
#define ID    "0123456789abcdef0123456789abcdef"
#define GOOD                                                                                 \
	"{'id':'" ID "','domain':'example.com','user':'alice','life_s':60,'age_s':7,'from':" \
	"'192.0.2.1'}"

static json_t *json(const char *text)
{
	char *copy = strdup(text);
	json_t *v;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	v = json_loads(copy, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	free(copy);
	assert_non_null(v);
	return v;
}

static bool read_session(const char *token, const char *text, struct signin_session *out)
{
	json_t *item = json(text);
	const char *why = NULL;
	uint32_t age_s;
	bool ok = signin_item_session_read(token, item, out, &age_s, &why);

	assert_true(ok || why);
	json_decref(item);
	return ok;
}

static void test_session(void **state)
{
	static const char *const bad[] = {
		"{}",
		"[]",
		"'x'",
		"{'id':'" ID "0','domain':'a','user':'u','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'X123456789abcdef0123456789abcdef','domain':'a','user':'u','life_s':6,"
		"'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'A','user':'u','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'','user':'u','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u@a','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u\\u0000v','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u\\nv','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':0,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':-1,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':2678401,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':6.5,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':6,'age_s':7,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':6,'age_s':-1,'from':'::1'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':6,'age_s':0,'from':'host'}",
		"{'id':'" ID "','domain':'a','user':'u','life_s':6,'age_s':0}",
		"{'id':7,'domain':'a','user':'u','life_s':6,'age_s':0,'from':'::1'}",
		"{'id':'" ID "','domain':['a'],'user':'u','life_s':6,'age_s':0,'from':'::1'}",
	};
	struct signin_session s, again;
	const char *why;
	uint32_t age_s;
	json_t *item;

	assert_true(read_session(TOKEN, GOOD, &s));
	item = signin_item_session(&s, 7);
	assert_true(signin_item_session_read(TOKEN, item, &again, &age_s, &why));
	json_decref(item);
	assert_int_equal(age_s, 7);
	assert_memory_equal(&s, &again, sizeof(s));
	assert_string_equal(s.user, "alice");
	assert_false(read_session("", GOOD, &s));
	assert_false(read_session(TOKEN "0", GOOD, &s));
	assert_false(read_session("0123456789abcdef0123456789abcdef0123", GOOD, &s));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (read_session(TOKEN, bad[i], &s))
			fail_msg("accepted: %s", bad[i]);
}

static void test_domain(void **state)
{
	static const char *const bad[] = { "{}", "[]", "{'web':true,'sip':true,'im':true}",
					   "{'web':1,'sip':true,'sip_signin':true,'im':true}" };
	struct signin_domain d = { .name = "example.com", .web = true, .im = true }, again;
	json_t *item = signin_item_domain(&d);
	const char *why;

	assert_true(signin_item_domain_read("example.com", item, &again, &why));
	assert_memory_equal(&d, &again, sizeof(d));
	assert_false(signin_item_domain_read("Example.com", item, &again, &why));
	assert_false(signin_item_domain_read("", item, &again, &why));
	json_decref(item);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		item = json(bad[i]);
		assert_false(signin_item_domain_read("a", item, &again, &why));
		json_decref(item);
	}
}

static void test_asked(void **state)
{
	char longest[SIGNIN_AUTHORIZATION_BYTES + 1];
	struct signin_asked a = { SLICE("example.com"), SLICE("Basic YTpi"), { .port = 0 } }, b;
	const char *why;
	json_t *item;

	assert_true(addr_parse_ip(SLICE("2001:db8::1"), 0, &a.from));
	item = signin_item_asked(&a);
	assert_true(signin_item_asked_read(item, &b, &why));
	assert_true(addr_eq(&a.from, &b.from) && slice_eq(a.authorization, b.authorization));
	signin_item_asked_wipe(item);
	assert_true(signin_item_asked_read(item, &b, &why));
	assert_int_equal(b.authorization.p[6], 0);
	json_decref(item);
	memset(longest, 'a', sizeof(longest));
	for (size_t over = 0; over < 2; over++) {
		a.authorization = (struct slice){ longest, SIGNIN_AUTHORIZATION_BYTES + over };
		item = signin_item_asked(&a);
		assert_int_equal(signin_item_asked_read(item, &b, &why), over == 0);
		json_decref(item);
	}
	item = json("{'domain':'a','authorization':'x','from':'nowhere'}");
	assert_false(signin_item_asked_read(item, &b, &why));
	json_decref(item);
	a.authorization = SLICE("Basic \xff");
	assert_null(signin_item_asked(&a));
}

static void test_answer(void **state)
{
	static const char *const bad[] = { "{}",
					   "[]",
					   "{'status':'fine'}",
					   "{'status':1}",
					   "{'status':'too-many','retry_after':'x'}",
					   "{'status':'too-many','retry_after':86401}",
					   "{'status':'ok','id':'x'}",
					   "{'status':'ok','session':" GOOD "}",
					   "{'status':'ok','token':'" TOKEN "','session':{}}" };
	struct signin_session s;
	struct signin_answer a;
	json_t *item;

	assert_true(read_session(TOKEN, GOOD, &s));
	item = signin_item_answer(SIGNIN_OK, 0, "good", &s, 7, true);
	assert_true(signin_item_answer_read(item, &a));
	assert_true(a.status == SIGNIN_OK && a.has_session && a.age_s == 7);
	assert_string_equal(a.session.token, TOKEN);
	json_decref(item);
	item = signin_item_answer(SIGNIN_TOO_MANY, 9, "slowly", NULL, 0, true);
	assert_true(signin_item_answer_read(item, &a));
	assert_true(a.status == SIGNIN_TOO_MANY && a.retry_after_s == 9 && !a.has_session);
	json_decref(item);
	item = signin_item_answer(SIGNIN_OK, 0, "", &s, 0, false);
	assert_true(signin_item_answer_read(item, &a));
	assert_string_equal(a.id, ID);
	json_decref(item);
	assert_false(signin_item_answer_read(NULL, &a));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		item = json(bad[i]);
		if (signin_item_answer_read(item, &a))
			fail_msg("accepted: %s", bad[i]);
		json_decref(item);
	}
}

static void test_digest(void **state)
{
	struct signin_credentials c = { "example.com", "alice", "secret" };
	struct digest_challenge ch = { .realm = SLICE("edge1"), .nonce = SLICE("n") };
	struct signin_realms realms = { 0 };
	struct slice user, domain, method;
	struct digest_response r, again;
	struct signin_digests *d;
	const char *why;
	struct buf b;
	json_t *item;

	for (int i = 0; i < 10; i++) {
		static const char *const names[] = { "edge1", "",   "edge1", "e2", "e3",
						     "e4",    "e5", "e6",    "e7", "e8" };

		signin_realms_add(&realms, slice_of(names[i]));
	}
	assert_int_equal(realms.n, SIGNIN_MAX_REALMS);
	d = signin_digests_new(&c, &realms);
	buf_init(&b, 2048);
	for (int i = 0; i < 8; i++) {
		ch.algorithm = i & 1 ? DIGEST_MD5 : DIGEST_SHA256;
		ch.qop_auth = i & 2;
		user = i & 4 ? SLICE("alice@example.com") : SLICE("alice");
		buf_reset(&b);
		digest_response_print(&b, &ch, user, SLICE("secret"), SLICE("REGISTER"),
				      SLICE("sip:example.com"), SLICE("c"), 1);
		assert_true(digest_response_parse(buf_slice(&b), &r));
		item = signin_item_digest(SLICE("example.com"), &r, SLICE("REGISTER"));
		assert_true(signin_item_digest_read(item, &domain, &again, &method, &why));
		assert_int_equal(signin_digests_check(d, &again, method), SIGNIN_DIGEST_GOOD);
		assert_int_equal(signin_digests_check(d, &again, SLICE("INVITE")),
				 SIGNIN_DIGEST_BAD);
		assert_int_equal(signin_digests_check(NULL, &again, method),
				 SIGNIN_DIGEST_OTHER_REALM);
		again.realm = SLICE("e9");
		assert_int_equal(signin_digests_check(d, &again, method),
				 SIGNIN_DIGEST_OTHER_REALM);
		again.realm = SLICE("e2");
		assert_int_equal(signin_digests_check(d, &again, method), SIGNIN_DIGEST_BAD);
		json_object_del(item, "nc");
		assert_false(signin_item_digest_read(item, &domain, &again, &method, &why));
		json_decref(item);
	}
	r.algorithm = DIGEST_UNKNOWN;
	assert_null(signin_item_digest(SLICE("example.com"), &r, SLICE("REGISTER")));
	user = SLICE("alice@EXAMPLE.com");
	assert_true(signin_digest_user(&user, SLICE("example.com")));
	assert_int_equal(user.n, 5);
	user = SLICE("alice@example.org");
	assert_false(signin_digest_user(&user, SLICE("example.com")));
	user = SLICE("@example.com");
	assert_false(signin_digest_user(&user, SLICE("example.com")));
	buf_fini(&b);
	signin_digests_free(d);
	signin_digests_free(NULL);
}

static struct signin_domain of(const char *name, tunnel_peer peer)
{
	struct signin_domain d = { .peer = peer, .web = true };

	strcpy(d.name, name);
	return d;
}

static void domains_run(void *arg)
{
	static const uint8_t seed[16] = { 3 };
	struct edge_domains *t = edge_domains_new(seed);
	struct signin_domain a = of("a", 1), a2 = of("a", 2), b = of("b", 1);

	if (!t)
		return;
	if (edge_domains_put(t, &a) == 0 && edge_domains_put(t, &a2) == 0 &&
	    edge_domains_put(t, &b) == 0) {
		assert_int_equal(edge_domains_get(t, SLICE("A"), 0)->peer, 1);
		assert_int_equal(edge_domains_get(t, SLICE("a"), 1)->peer, 2);
		assert_null(edge_domains_get(t, SLICE("a"), 2));
		edge_domains_doubt(t, 1);
		assert_int_equal(edge_domains_put(t, &b), 0);
		edge_domains_sweep(t, 1);
		assert_int_equal(edge_domains_get(t, SLICE("a"), 0)->peer, 2);
		edge_domains_del(t, 1, SLICE("a"));
		edge_domains_del(t, 2, SLICE("a"));
		assert_null(edge_domains_get(t, SLICE("a"), 0));
		assert_int_equal(edge_domains_count(t), 1);
	}
	edge_domains_free(t);
}

static void test_domains(void **state)
{
	static const uint8_t seed[16] = { 3 };
	struct edge_domains *t = edge_domains_new(seed);
	char name[16];

	assert_true(alloc_fail_sweep(domains_run, NULL) >= 5);
	for (int i = 0; i <= EDGE_MAX_DOMAINS; i++) {
		struct signin_domain d;

		snprintf(name, sizeof(name), "d%d", i);
		d = of(name, 1);
		assert_int_equal(edge_domains_put(t, &d) == 0, i < EDGE_MAX_DOMAINS);
	}
	edge_domains_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session), cmocka_unit_test(test_domain),
		cmocka_unit_test(test_asked),	cmocka_unit_test(test_answer),
		cmocka_unit_test(test_digest),	cmocka_unit_test(test_domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
