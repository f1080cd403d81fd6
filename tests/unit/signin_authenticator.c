/* The walk from limits over the cache to the backend, on a fake clock with a scripted backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signin/authenticator.h"
#include "support/alloc_fail.h"

enum { MAX_CHECKS = 64 };

struct pending {
	auth_done done;
	void *arg;
	char password[SIGNIN_PASSWORD_BYTES];
};

struct world {
	struct timerq timers;
	struct authenticator *a;
	struct pending checks[MAX_CHECKS];
	int n_started, n_cancelled, n_refused;
	bool dead; /* cannot be asked */
	int n_results;
	struct auth_result last;
	char why[128];
	bool last_cached;
};

static void *start(void *self, const struct signin_credentials *c, auth_done done, void *arg,
		   const char **why)
{
	struct world *w = self;
	struct pending *p = &w->checks[w->n_started];

	*why = "the backend is dead";
	if (w->dead)
		return NULL;
	assert_true(w->n_started < MAX_CHECKS);
	w->n_started++;
	*p = (struct pending){ .done = done, .arg = arg };
	strcpy(p->password, c->password);
	return p;
}

static void cancel(void *self, void *check)
{
	struct pending *p = check;

	((struct world *)self)->n_cancelled++;
	p->done = NULL;
}

static const struct auth_backend backend = { start, cancel };

static void on_result(void *arg, void *request, const struct auth_result *r)
{
	struct world *w = arg;

	assert_ptr_equal(request, w);
	w->n_results++;
	w->last = *r;
	w->last_cached = r->cached;
	snprintf(w->why, sizeof(w->why), "%s", r->why);
	if (r->status == SIGNIN_OK)
		assert_string_equal(r->cred->domain, "example.com");
}

static void on_refused(void *arg, const struct signin_credentials *cred, const uint8_t *tag)
{
	((struct world *)arg)->n_refused++;
}

static const struct auth_ops ops = { on_result, on_refused };

static bool setup(struct world *w)
{
	static const uint8_t random[112] = { 7 };

	*w = (struct world){ 0 };
	timerq_init(&w->timers, 0);
	w->a = authenticator_new(&w->timers, random, &backend, w, &ops, w);
	if (w->a)
		authenticator_configure(w->a,
					&(struct auth_settings){ .cache_life_ms = 480 * 60000,
								 .cache_cleanup_ms = 720 * 60000,
								 .cache_entries = 100,
								 .rate = { 0, 300000 },
								 .timeout_ms = 15000,
								 .max_checks = 10 });
	return w->a;
}

static void teardown(struct world *w)
{
	authenticator_free(w->a);
	assert_null(w->timers.root);
}

static uint64_t ask(struct world *w, const char *user, const char *password, const char *from)
{
	struct signin_credentials c = { .domain = "example.com" };
	struct addr a;

	strcpy(c.user, user);
	strcpy(c.password, password);
	assert_true(addr_parse_ip(slice_of(from), 0, &a));
	return authenticator_start(w->a, &c, &a, w);
}

static void answer(struct world *w, int n, enum auth_answer a)
{
	struct pending *p = &w->checks[n];
	auth_done done = p->done;

	assert_non_null(done);
	p->done = NULL;
	done(p->arg, a, "scripted");
}

static void pass(struct world *w, int64_t ms)
{
	timerq_run(&w->timers, w->timers.now_ms + ms);
}

#define HOME "192.0.2.1"

static void test_cache(void **state)
{
	struct world w;

	setup(&w);
	assert_true(ask(&w, "alice", "one", HOME));
	assert_int_equal(w.n_results, 0);
	answer(&w, 0, AUTH_YES);
	assert_int_equal(w.last.status, SIGNIN_OK);
	assert_false(w.last_cached);
	/* hundred more cost nothing upstream: over 95 % less */
	for (int i = 0; i < 100; i++) {
		ask(&w, "alice", "one", HOME);
		assert_int_equal(w.n_results, 1 + i); /* never before it returns */
		pass(&w, 0);
		assert_int_equal(w.last.status, SIGNIN_OK);
		assert_true(w.last_cached);
	}
	assert_int_equal(w.n_started, 1);
	assert_int_equal(authenticator_stats(w.a).n_cached, 100);
	/* the backend may be dead meanwhile */
	w.dead = true;
	ask(&w, "alice", "one", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_OK);
	/* 480 minutes later it counts again, and is no 401 */
	pass(&w, 480 * 60000);
	ask(&w, "alice", "one", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_UNAVAILABLE);
	assert_string_equal(w.why, "the backend is dead");
	teardown(&w);
}

static void test_wrong_password_keeps_the_good(void **state)
{
	struct signin_credentials c = { "example.com", "alice", "one" };
	struct world w;

	setup(&w);
	ask(&w, "alice", "one", HOME);
	answer(&w, 0, AUTH_YES);
	ask(&w, "alice", "two", HOME);
	assert_int_equal(w.n_started, 2);
	answer(&w, 1, AUTH_NO);
	pass(&w, 1000);
	assert_int_equal(w.last.status, SIGNIN_DENIED);
	ask(&w, "alice", "one", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_OK);
	assert_int_equal(w.n_started, 2);
	/* a server said 401 to the good one: it is asked about again */
	authenticator_distrust(w.a, &c);
	ask(&w, "alice", "one", HOME);
	assert_int_equal(w.n_started, 3);
	answer(&w, 2, AUTH_NO);
	assert_int_equal(w.n_refused, 2);
	pass(&w, 1000);
	assert_int_equal(w.last.status, SIGNIN_DENIED);
	teardown(&w);
}

/* A no comes at full steps, whoever said it how fast; a yes at once. */
static void test_time_tells_nothing(void **state)
{
	static const int64_t took[] = { 0, 20, 499 };
	struct world w;

	setup(&w);
	for (int i = 0; i < 3; i++) {
		char user[24] = { 'u', (char)('0' + i), 0 };
		int64_t begun = w.timers.now_ms;

		ask(&w, user, "x", HOME);
		pass(&w, took[i]);
		answer(&w, i, AUTH_NO);
		pass(&w, begun + 499 - w.timers.now_ms);
		assert_int_equal(w.n_results, i);
		pass(&w, 1);
		assert_int_equal(w.n_results, i + 1);
		assert_string_equal(w.why, "wrong user or password");
	}
	teardown(&w);
}

static void test_joined(void **state)
{
	struct world w;

	setup(&w);
	for (int i = 0; i < 8; i++) /* an app opens all its connections at once */
		assert_true(ask(&w, "alice", "one", HOME));
	assert_true(ask(&w, "alice", "one", "192.0.2.2"));
	assert_int_equal(w.n_started, 1);
	answer(&w, 0, AUTH_YES);
	assert_int_equal(w.n_results, 9);
	assert_int_equal(authenticator_stats(w.a).n_joined, 8);
	/* eight wrong ones at once are one try */
	for (int i = 0; i < 8; i++)
		ask(&w, "bob", "bad", HOME);
	answer(&w, 1, AUTH_NO);
	pass(&w, 500);
	assert_int_equal(w.n_results, 17);
	assert_int_equal(w.last.status, SIGNIN_DENIED);
	ask(&w, "bob", "good", HOME);
	assert_int_equal(w.n_started, 3);
	answer(&w, 2, AUTH_YES);
	assert_int_equal(w.last.status, SIGNIN_OK);
	teardown(&w);
}

static void test_penalty(void **state)
{
	struct world w;
	char password[24];

	setup(&w);
	ask(&w, "alice", "good", "192.0.2.9");
	answer(&w, 0, AUTH_YES);
	for (int i = 0; i < 3; i++) {
		snprintf(password, sizeof(password), "bad%d", i);
		ask(&w, "alice", password, HOME);
		answer(&w, 1 + i, AUTH_NO);
		pass(&w, 500);
		assert_int_equal(w.last.status, SIGNIN_DENIED);
	}
	/* From there neither a wrong nor the right password gets an answer: it would tell. */
	ask(&w, "alice", "bad4", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_TOO_MANY);
	assert_int_equal(w.last.retry_after_s, 15);
	ask(&w, "alice", "good", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_TOO_MANY);
	/* others from there, and she from elsewhere */
	ask(&w, "bob", "x", HOME);
	answer(&w, 4, AUTH_YES);
	assert_int_equal(w.last.status, SIGNIN_OK);
	ask(&w, "alice", "good", "192.0.2.9");
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_OK);
	pass(&w, 15000);
	ask(&w, "alice", "good", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_OK);
	teardown(&w);
}

/* From a new source each time, as an edge that lies about sources would have it. */
static void test_failures_from_anywhere(void **state)
{
	struct auth_settings settings = { .cache_life_ms = 60000,
					  .cache_cleanup_ms = 120000,
					  .cache_entries = 100,
					  .user_failures = { 5, 600000 },
					  .timeout_ms = 20000,
					  .max_checks = 64 };
	struct world w;
	char password[24], from[24];
	int n;

	setup(&w);
	authenticator_configure(w.a, &settings);
	ask(&w, "alice", "good", HOME);
	answer(&w, 0, AUTH_YES);
	for (n = 1; n <= 5; n++) {
		snprintf(password, sizeof(password), "bad%d", n);
		snprintf(from, sizeof(from), "198.51.100.%d", n);
		ask(&w, "alice", password, from);
		answer(&w, n, AUTH_NO);
		pass(&w, 500);
		assert_int_equal(w.last.status, SIGNIN_DENIED);
	}
	ask(&w, "alice", "bad", "198.51.100.77");
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_TOO_MANY);
	assert_string_equal(w.last.decided_by, "[signin] user-failures");
	assert_int_equal(w.n_started, n);
	/* She herself is known, others are not concerned. */
	ask(&w, "alice", "good", "198.51.100.78");
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_OK);
	ask(&w, "bob", "x", "198.51.100.77");
	answer(&w, n, AUTH_YES);
	assert_int_equal(w.last.status, SIGNIN_OK);
	pass(&w, 600000);
	ask(&w, "alice", "bad", "198.51.100.79");
	assert_int_equal(w.n_started, n + 2);
	answer(&w, n + 1, AUTH_NO);
	teardown(&w);
}

static void test_hanging_up_counts(void **state)
{
	struct world w;
	char password[24];

	setup(&w);
	for (int i = 0; i < 3; i++) {
		uint64_t id;

		snprintf(password, sizeof(password), "bad%d", i);
		id = ask(&w, "alice", password, HOME);
		assert_ptr_equal(authenticator_cancel(w.a, id), &w);
		assert_null(authenticator_cancel(w.a, id));
		answer(&w, i, AUTH_NO);
		pass(&w, 500);
	}
	assert_int_equal(w.n_results, 0);
	ask(&w, "alice", "bad4", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_TOO_MANY);
	teardown(&w);
}

static void test_rate(void **state)
{
	struct world w;

	setup(&w);
	authenticator_configure(w.a, &(struct auth_settings){ .cache_life_ms = 1000000,
							      .cache_cleanup_ms = 1000000,
							      .cache_entries = 100,
							      .rate = { 3, 300000 },
							      .timeout_ms = 15000,
							      .max_checks = 10 });
	ask(&w, "alice", "one", HOME);
	answer(&w, 0, AUTH_YES);
	for (int i = 0; i < 2; i++) {
		ask(&w, "alice", "one", HOME);
		pass(&w, 0);
		assert_int_equal(w.last.status, SIGNIN_OK);
	}
	ask(&w, "alice", "one", "192.0.2.2");
	pass(&w, 1000);
	assert_int_equal(w.last.status, SIGNIN_TOO_MANY);
	assert_int_equal(w.last.retry_after_s, 300);
	ask(&w, "alice", "wrong", "192.0.2.2"); /* the same answer */
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_TOO_MANY);
	assert_int_equal(w.n_started, 1);
	pass(&w, 299000);
	ask(&w, "alice", "one", HOME);
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_OK);
	teardown(&w);
}

static void test_failures_are_no_denial(void **state)
{
	struct world w;
	char user[24];

	setup(&w);
	ask(&w, "alice", "one", HOME);
	answer(&w, 0, AUTH_FAILED);
	assert_int_equal(w.last.status, SIGNIN_UNAVAILABLE);
	for (int i = 0; i < 5; i++) { /* and are no penalty */
		ask(&w, "alice", "one", HOME);
		answer(&w, 1 + i, AUTH_FAILED);
		assert_int_equal(w.last.status, SIGNIN_UNAVAILABLE);
	}
	/* it does not answer at all */
	ask(&w, "alice", "one", HOME);
	pass(&w, 14999);
	assert_int_equal(w.n_cancelled, 0);
	pass(&w, 1);
	assert_int_equal(w.n_cancelled, 1);
	assert_int_equal(w.last.status, SIGNIN_UNAVAILABLE);
	/* more at once than there may be */
	for (int i = 0; i < 11; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		ask(&w, user, "x", HOME);
	}
	pass(&w, 0);
	assert_int_equal(w.last.status, SIGNIN_UNAVAILABLE);
	assert_int_equal(w.last.retry_after_s, 1);
	assert_int_equal(authenticator_stats(w.a).n_running, 10);
	teardown(&w);
	assert_int_equal(w.n_cancelled, 11);
}

static void test_waiters_are_bounded(void **state)
{
	struct world w;

	setup(&w);
	for (int i = 0; i < AUTH_MAX_WAITERS; i++) {
		uint64_t id = ask(&w, "alice", "one", HOME);

		assert_true(id != 0);
		if (i % 2)
			authenticator_cancel(w.a, id);
	}
	assert_true(ask(&w, "alice", "one", HOME) == 0);
	answer(&w, 0, AUTH_YES);
	assert_int_equal(w.n_results, AUTH_MAX_WAITERS / 2);
	assert_true(ask(&w, "alice", "one", HOME) != 0);
	teardown(&w);
}

static void one_run(void *arg)
{
	struct world w;

	if (setup(&w)) {
		if (ask(&w, "alice", "one", HOME) && w.n_started == 1)
			answer(&w, 0, AUTH_YES);
		if (ask(&w, "alice", "one", HOME))
			pass(&w, 0);
		ask(&w, "bob", "one", HOME);
		pass(&w, 20000);
	}
	teardown(&w);
}

static void test_alloc(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) > 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_wrong_password_keeps_the_good),
		cmocka_unit_test(test_time_tells_nothing),
		cmocka_unit_test(test_joined),
		cmocka_unit_test(test_penalty),
		cmocka_unit_test(test_failures_from_anywhere),
		cmocka_unit_test(test_hanging_up_counts),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_failures_are_no_denial),
		cmocka_unit_test(test_waiters_are_bounded),
		cmocka_unit_test(test_alloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
