/* Home look-ups and password checks over several clusters with nodes that fail. */
#include "support/alloc_fail.h"
#include "support/uc_world.h"
#include "uc/home.h"

#define FOUND(node) \
	"<clusterUser><result found=\"true\" uri=\"https://" node ":8443/x\"/></clusterUser>"
#define NOT_FOUND  "<clusterUser><result found=\"false\"/></clusterUser>"
#define FIND(node) "https://" node ":8443/cucm-uds/clusterUser?username=alice"
#define USER(node) "https://" node ":8443/cucm-uds/user/alice"
#define FINDS(node, body)                        \
	{                                        \
		FIND(node), 0, 200, (body), NULL \
	}
#define HAS(node, login)                        \
	{                                       \
		USER(node), 0, 0, NULL, (login) \
	}
#define SAYS(url, status)                      \
	{                                      \
		(url), 0, (status), NULL, NULL \
	}
#define SILENT(node)                                      \
	{                                                 \
		"https://" node ":8443", 1, 0, NULL, NULL \
	}
#define END                            \
	{                              \
		NULL, 0, 0, NULL, NULL \
	}

struct fixture {
	struct fake_world w;
	struct uc_home home;
	struct uc_cluster_conf conf[2];
	struct uc_servers servers[2]; /* main: a1, a2; other: b1 */
	size_t n_clusters;
	char heard[1024];
	bool plan_fails;
	/* The last answer. */
	unsigned n_done;
	enum uc_answer answer;
	char cluster[64], node[64], why[256];
	uint64_t cancel_in_callback;
};

static int make_plan(void *arg, struct slice domain, struct uc_plan *out)
{
	struct fixture *f = arg;
	size_t i;
	int error = f->plan_fails ? -ENOMEM : 0;

	assert_true(slice_eq(domain, SLICE("example.com")));
	for (i = 0; error == 0 && i < f->n_clusters; i++)
		error = uc_plan_add(out, &f->conf[i], &f->servers[i], 0);
	return error;
}

static void heard(void *arg, const char *cluster, const char *node, const char *why)
{
	struct fixture *f = arg;
	const size_t n = strlen(f->heard);

	snprintf(f->heard + n, sizeof(f->heard) - n, "%s%s ", why ? "-" : "+", node);
}

static const struct uc_home_ops ops = { make_plan, heard };

static void on_done(void *arg, const struct uc_result *r)
{
	struct fixture *f = arg;

	f->n_done++;
	f->answer = r->answer;
	snprintf(f->cluster, sizeof(f->cluster), "%s", r->cluster ? r->cluster : "");
	snprintf(f->node, sizeof(f->node), "%s", r->node ? r->node : "");
	snprintf(f->why, sizeof(f->why), "%s", r->why ? r->why : "");
	if (f->cancel_in_callback)
		uc_home_cancel(&f->home, f->cancel_in_callback);
}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static int begin(struct fixture *f, const struct fake_rule *rules, size_t n_clusters)
{
	static const uint8_t seed[16];

	memset(f, 0, sizeof(*f));
	fake_world_init(&f->w, rules);
	f->n_clusters = n_clusters;
	f->conf[0] = (struct uc_cluster_conf){ .common.name = text("main"),
					       .tls = text("inside"),
					       .verify = true,
					       .timeout_ms = 10000 };
	f->conf[1] = f->conf[0];
	f->conf[1].common.name = text("other");
	if (!uc_servers_add(&f->servers[0], SLICE("a1"), UC_CALL_MANAGER, 8443) ||
	    !uc_servers_add(&f->servers[0], SLICE("a2"), UC_CALL_MANAGER | UC_TFTP, 8443) ||
	    !uc_servers_add(&f->servers[0], SLICE("imp"), UC_PRESENCE, 8443) ||
	    !uc_servers_add(&f->servers[1], SLICE("b1.example.com"), UC_CALL_MANAGER, 8443))
		return -ENOMEM;
	return uc_home_init(&f->home, &f->w.world, &ops, f, seed);
}

static void finish(struct fixture *f)
{
	uc_home_fini(&f->home);
	uc_servers_fini(&f->servers[0]);
	uc_servers_fini(&f->servers[1]);
	fake_world_fini(&f->w);
}

static void check_password(struct fixture *f, const char *password)
{
	uint64_t id;

	f->n_done = 0;
	f->w.log[0] = '\0';
	f->heard[0] = '\0';
	id = uc_home_check(&f->home, SLICE("example.com"), SLICE("alice"), slice_of(password),
			   on_done, f);
	assert_true(id != 0);
	assert_int_equal(f->n_done, 0); /* never at once */
	fake_pass(&f->w, UC_HOME_DEADLINE_MS + 1);
	assert_int_equal(f->n_done, 1);
}

static const char *known_home(struct fixture *f)
{
	return uc_home_cache_get(&f->home.cache, SLICE("Example.com"), SLICE("alice"),
				 f->w.timers.now_ms);
}

static void test_yes_and_no(void **state)
{
	static const struct fake_rule rules[] = { FINDS("a1", FOUND("a2")), HAS("a1", "alice:pw"),
						  HAS("a2", "alice:pw"), END };
	struct fixture f;

	begin(&f, rules, 1);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.cluster, "main");
	assert_string_equal(f.w.log, FIND("a1") "\n" USER("a1") "\n");
	assert_string_equal(f.w.last_tls, "inside");
	assert_true(f.w.last_verify);
	assert_string_equal(f.heard, "+a1 +a1 ");
	assert_string_equal(known_home(&f), "main");
	/* The home is known: one request. */
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.w.log, USER("a1") "\n");
	/* A known home that says no might be the wrong one by now. */
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_NO);
	assert_string_equal(f.cluster, "main");
	assert_string_equal(f.w.log, USER("a1") "\n" FIND("a1") "\n");
	/* Wrong passwords take nobody's home away. */
	assert_string_equal(known_home(&f), "main");
	uc_home_cache_clear(&f.home.cache);
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_NO);
	assert_string_equal(f.w.log, FIND("a1") "\n" USER("a1") "\n");
	assert_null(known_home(&f));
	assert_int_equal(f.home.n_yes, 2);
	assert_int_equal(f.home.n_no, 2);
	finish(&f);
}

/* M2: any node may be asked, the user is on another cluster. */
static void test_home_elsewhere(void **state)
{
	static const struct fake_rule rules[] = { FINDS("a1", FOUND("b1")),
						  HAS("b1.example.com", "alice:pw"),
						  SAYS("https://a", 401), END };
	struct fixture f;

	begin(&f, rules, 2);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.cluster, "other");
	assert_string_equal(f.node, "b1.example.com");
	assert_string_equal(f.w.log, FIND("a1") "\n" USER("b1.example.com") "\n");
	finish(&f);
}

/* Clusters that do not know of each other. */
static void test_asks_every_cluster(void **state)
{
	static const struct fake_rule rules[] = { FINDS("a1", NOT_FOUND), FINDS("a2", NOT_FOUND),
						  FINDS("b1.example.com", FOUND("b1.example.com")),
						  HAS("b1.example.com", "alice:pw"), END };
	static const struct fake_rule nobody[] = { FINDS("a1", NOT_FOUND), FINDS("a2", NOT_FOUND),
						   FINDS("b1.example.com", NOT_FOUND), END };
	struct fixture f;

	begin(&f, rules, 2);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	/* One node of a cluster speaks for it. */
	assert_string_equal(
		f.w.log, FIND("a1") "\n" FIND("b1.example.com") "\n" USER("b1.example.com") "\n");
	finish(&f);
	begin(&f, nobody, 2);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_UNKNOWN_USER);
	assert_int_equal(f.home.n_unknown, 1);
	finish(&f);
}

static void test_passes_over_the_dead(void **state)
{
	static const struct fake_rule rules[] = { SAYS(FIND("a1"), 503),
						  FINDS("a2", FOUND("a1")),
						  { USER("a1"), -ECONNREFUSED, 0, NULL, NULL },
						  HAS("a2", "alice:pw"),
						  END };
	struct fixture f;

	begin(&f, rules, 1);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.node, "a2");
	assert_string_equal(f.heard, "-a1 +a2 -a1 +a2 ");
	finish(&f);
	/* Known to be dead: asked last, but asked. */
	begin(&f, rules, 1);
	f.servers[0].v[0].alive = false;
	check_password(&f, "pw");
	assert_string_equal(f.w.log, FIND("a2") "\n" USER("a2") "\n");
	f.servers[0].v[1].alive = false;
	f.servers[0].v[0].alive = true;
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.w.log, USER("a1") "\n" USER("a2") "\n");
	finish(&f);
}

/* A silent node leaves time for the next one. */
static void test_silence(void **state)
{
	static const struct fake_rule one[] = { SILENT("a1"), FINDS("a2", FOUND("a2")),
						HAS("a2", "alice:pw"), END };
	static const struct fake_rule all[] = { SILENT("a*"), END };
	struct fixture f;

	begin(&f, one, 1);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	finish(&f);
	begin(&f, all, 1);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_FAILED);
	assert_non_null(strstr(f.why, "no answer"));
	finish(&f);
}

/* Whoever did not answer may be the home: never a no, never an unknown user. */
static void test_failures_are_no_answers(void **state)
{
	static const struct fake_rule silent_other[] = { FINDS("a1", NOT_FOUND), SILENT("b1"),
							 END };
	static const struct fake_rule broken_home[] = { FINDS("a1", FOUND("b1")),
							FINDS("b1.example.com", FOUND("b1")),
							SAYS(USER("b1.example.com"), 500), END };
	static const struct fake_rule odd_home[] = { FINDS("a1", FOUND("a1")),
						     SAYS(USER("a*"), 404), END };
	static const struct fake_rule bad_xml[] = { SAYS(FIND("a*"), 200), END };
	struct fixture f;

	begin(&f, silent_other, 2);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_FAILED);
	finish(&f);
	begin(&f, broken_home, 2);
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_FAILED);
	finish(&f);
	begin(&f, odd_home, 1);
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_FAILED);
	finish(&f);
	begin(&f, bad_xml, 1);
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_FAILED);
	finish(&f);
	begin(&f, NULL, 0); /* no cluster */
	f.n_clusters = 0;
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_UNKNOWN_USER);
	finish(&f);
	begin(&f, NULL, 1); /* all refuse connections */
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_FAILED);
	finish(&f);
	begin(&f, NULL, 1);
	f.plan_fails = true;
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_FAILED);
	finish(&f);
}

/* Old servers: no clusterUser. */
static void test_without_cluster_user(void **state)
{
	static const struct fake_rule rules[] = { SAYS(FIND("a*"), 404), HAS("a1", "alice:pw"),
						  HAS("a2", "alice:pw"), END };
	static const struct fake_rule no_user[] = { SAYS("https://a", 404), END };
	static const struct fake_rule both[] = { SAYS(FIND("a*"), 404),
						 SAYS(FIND("b*"), 404),
						 SAYS(USER("a1"), 401),
						 SAYS(USER("a2"), 401),
						 HAS("b1.example.com", "alice:pw"),
						 END };
	struct fixture f;

	begin(&f, rules, 1);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.w.log, FIND("a1") "\n" USER("a1") "\n");
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_NO);
	finish(&f);
	begin(&f, no_user, 1);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_UNKNOWN_USER);
	finish(&f);
	begin(&f, both, 2);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.cluster, "other");
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_NO);
	finish(&f);
}

/* The home that is named is none of ours: nothing is sent there, ours are asked. */
static void test_foreign_home(void **state)
{
	static const struct fake_rule rules[] = { FINDS("a1", FOUND("evil.example.net")),
						  SAYS(USER("a1"), 401), SAYS(USER("a2"), 401),
						  HAS("b1.example.com", "alice:pw"), END };
	static const struct fake_rule dead_other[] = { FINDS("a1", FOUND("evil.example.net")),
						       SAYS(USER("a*"), 401), END };
	struct fixture f;

	begin(&f, rules, 2);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_null(strstr(f.w.log, "evil.example.net"));
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_NO);
	finish(&f);
	begin(&f, dead_other, 2);
	check_password(&f, "wrong");
	assert_int_equal(f.answer, UC_FAILED);
	finish(&f);
}

static void test_user_moves(void **state)
{
	static const struct fake_rule before[] = { FINDS("a*", FOUND("a1")), HAS("a1", "alice:pw"),
						   END };
	static const struct fake_rule after[] = { FINDS("a1", FOUND("b1")), SAYS(USER("a*"), 401),
						  HAS("b1.example.com", "alice:pw"), END };
	static const struct fake_rule gone[] = { FINDS("a1", FOUND("b1")), SAYS(USER("a*"), 404),
						 HAS("b1.example.com", "alice:pw"), END };
	struct fixture f;

	begin(&f, before, 2);
	check_password(&f, "pw");
	assert_string_equal(f.cluster, "main");
	f.w.rules = after;
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.cluster, "other");
	assert_string_equal(known_home(&f), "other");
	uc_home_cache_put(&f.home.cache, SLICE("example.com"), SLICE("alice"), "main",
			  f.w.timers.now_ms);
	f.w.rules = gone;
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	assert_string_equal(f.cluster, "other");
	/* A cluster that is not there any more. */
	uc_home_cache_put(&f.home.cache, SLICE("example.com"), SLICE("alice"), "former",
			  f.w.timers.now_ms);
	check_password(&f, "pw");
	assert_int_equal(f.answer, UC_YES);
	finish(&f);
}

static void one_illegal(struct fixture *f, struct slice user, struct slice password)
{
	f->n_done = 0;
	assert_true(uc_home_check(&f->home, SLICE("example.com"), user, password, on_done, f) != 0);
	fake_pass(&f->w, 10);
	assert_int_equal(f->n_done, 1);
	assert_int_equal(f->answer, UC_UNKNOWN_USER);
	assert_string_equal(f->w.log, "");
}

static void test_illegal_users(void **state)
{
	static char long_one[1100];
	struct fixture f;

	begin(&f, NULL, 1);
	memset(long_one, 'a', sizeof(long_one));
	one_illegal(&f, SLICE_NONE, SLICE("pw"));
	one_illegal(&f, SLICE("a:b"), SLICE("pw"));
	one_illegal(&f, SLICE("a\0b"), SLICE("pw"));
	one_illegal(&f, SLICE("alice"), SLICE("p\0w"));
	one_illegal(&f, (struct slice){ long_one, 129 }, SLICE("pw"));
	one_illegal(&f, SLICE("alice"), (struct slice){ long_one, 1025 });
	finish(&f);
}

static void test_cancel(void **state)
{
	static const struct fake_rule rules[] = { SILENT("a*"), END };
	struct fixture f;
	uint64_t id;

	begin(&f, rules, 1);
	id = uc_home_check(&f.home, SLICE("example.com"), SLICE("alice"), SLICE("pw"), on_done, &f);
	uc_home_cancel(&f.home, id); /* before it has begun */
	id = uc_home_check(&f.home, SLICE("example.com"), SLICE("alice"), SLICE("pw"), on_done, &f);
	fake_pass(&f.w, 100);
	assert_int_equal(fake_n_live(&f.w), 1);
	uc_home_cancel(&f.home, id);
	uc_home_cancel(&f.home, id);
	uc_home_cancel(&f.home, 0);
	fake_pass(&f.w, 20000);
	assert_int_equal(f.n_done, 0);
	f.cancel_in_callback = uc_home_check(&f.home, SLICE("example.com"), SLICE("alice"),
					     SLICE("pw"), on_done, &f);
	fake_pass(&f.w, 20000);
	assert_int_equal(f.n_done, 1);
	/* What is left at the end goes without a callback. */
	uc_home_check(&f.home, SLICE("example.com"), SLICE("alice"), SLICE("pw"), on_done, &f);
	fake_pass(&f.w, 100);
	finish(&f);
	assert_int_equal(f.n_done, 1);
}

static void test_checks_at_the_bound(void **state)
{
	struct fixture f;
	unsigned i;

	begin(&f, NULL, 0);
	for (i = 0; i < UC_HOME_MAX_CHECKS; i++)
		assert_true(uc_home_check(&f.home, SLICE("example.com"), SLICE("alice"),
					  SLICE("pw"), on_done, &f) != 0);
	assert_int_equal(uc_home_check(&f.home, SLICE("example.com"), SLICE("alice"), SLICE("pw"),
				       on_done, &f),
			 0);
	fake_pass(&f.w, 1);
	assert_int_equal(f.n_done, UC_HOME_MAX_CHECKS);
	finish(&f);
}

static void test_plan_at_the_bound(void **state)
{
	struct uc_cluster_conf conf = { .common.name = text("main") };
	struct uc_servers servers = { 0 };
	struct uc_plan plan = { 0 };
	char name[16];
	int i;

	for (i = 0; i < UC_MAX_SERVERS; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		uc_servers_add(&servers, slice_of(name), UC_CALL_MANAGER, 8443)->alive = i >= 395;
	}
	assert_null(uc_servers_add(&servers, SLICE("one-more"), UC_CALL_MANAGER, 8443));
	assert_int_equal(uc_plan_add(&plan, &conf, &servers, 397), 0);
	assert_int_equal(plan.n_nodes, UC_PLAN_MAX_NODES);
	assert_string_equal(plan.nodes[0].name, "n397"); /* those that live, from there on */
	assert_string_equal(plan.nodes[3].name, "n395");
	assert_false(plan.nodes[5].alive);
	uc_plan_fini(&plan);
	uc_servers_fini(&servers);
}

static void test_cache(void **state)
{
	static const uint8_t seed[16];
	struct uc_home_cache c;
	char user[16];
	int i;

	assert_int_equal(uc_home_cache_init(&c, seed, 3), 0);
	for (i = 0; i < 3; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		uc_home_cache_put(&c, SLICE("d"), slice_of(user), "main", 0);
	}
	assert_non_null(uc_home_cache_get(&c, SLICE("D"), SLICE("u0"), 1));
	uc_home_cache_put(&c, SLICE("d"), SLICE("u3"), "other", 0); /* the unused one goes */
	assert_int_equal(c.n, 3);
	assert_null(uc_home_cache_get(&c, SLICE("d"), SLICE("u1"), 1));
	assert_string_equal(uc_home_cache_get(&c, SLICE("d"), SLICE("u3"), 1), "other");
	uc_home_cache_put(&c, SLICE("d"), SLICE("u3"), "main", 0);
	assert_string_equal(uc_home_cache_get(&c, SLICE("d"), SLICE("u3"), 1), "main");
	assert_null(uc_home_cache_get(&c, SLICE("e"), SLICE("u3"), 1));
	assert_null(uc_home_cache_get(&c, SLICE("d"), SLICE("U3"), 1));
	assert_non_null(uc_home_cache_get(&c, SLICE("d"), SLICE("u0"), UC_HOME_CACHE_LIFE_MS - 1));
	assert_null(uc_home_cache_get(&c, SLICE("d"), SLICE("u0"), UC_HOME_CACHE_LIFE_MS));
	assert_string_equal(uc_home_cache_last(&c, SLICE("d"), SLICE("u0")), "main");
	assert_null(uc_home_cache_last(&c, SLICE("d"), SLICE("u1")));
	uc_home_cache_clear(&c);
	assert_int_equal(c.n, 0);
	uc_home_cache_fini(&c);
}

static void run_without_memory(void *arg)
{
	static const struct fake_rule rules[] = { FINDS("a1", NOT_FOUND), FINDS("a2", NOT_FOUND),
						  FINDS("b1.example.com", FOUND("b1.example.com")),
						  HAS("b1.example.com", "alice:pw"), END };
	struct fixture f;

	if (begin(&f, rules, 2) == 0 && uc_home_check(&f.home, SLICE("example.com"), SLICE("alice"),
						      SLICE("pw"), on_done, &f)) {
		fake_pass(&f.w, 20000);
		assert_int_equal(f.n_done, 1);
		assert_true(f.answer == UC_YES || f.answer == UC_FAILED);
	}
	if (f.home.world)
		uc_home_fini(&f.home);
	uc_servers_fini(&f.servers[0]);
	uc_servers_fini(&f.servers[1]);
	fake_world_fini(&f.w);
}

static void test_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_without_memory, NULL) > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_yes_and_no),
		cmocka_unit_test(test_home_elsewhere),
		cmocka_unit_test(test_asks_every_cluster),
		cmocka_unit_test(test_passes_over_the_dead),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_failures_are_no_answers),
		cmocka_unit_test(test_without_cluster_user),
		cmocka_unit_test(test_foreign_home),
		cmocka_unit_test(test_user_moves),
		cmocka_unit_test(test_illegal_users),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_checks_at_the_bound),
		cmocka_unit_test(test_plan_at_the_bound),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
