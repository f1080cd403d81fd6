/* The table of sessions on a fake clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>

#include "signin/name.h"
#include "signin/session.h"
#include "support/alloc_fail.h"

struct world {
	struct timerq timers;
	struct conn_table *conns;
	struct signin_sessions *t;
	int n_ended;
	char why[64];
};

static int64_t clock_ms(void *arg)
{
	return ((struct world *)arg)->timers.now_ms;
}

static void on_close(void *arg, struct signin_entry *e, const char *why)
{
	signin_session_end(e, why);
}

static void on_ended(void *arg, const struct signin_session *s, const char *why)
{
	struct world *w = arg;

	w->n_ended++;
	snprintf(w->why, sizeof(w->why), "%s", why);
}

static const struct signin_sessions_ops ops = { on_close, on_ended };

static bool setup(struct world *w, size_t max, size_t max_per_user)
{
	struct signin_sessions_params p = { .timers = &w->timers,
					    .max = max,
					    .max_per_user = max_per_user,
					    .ops = &ops,
					    .arg = w };

	*w = (struct world){ 0 };
	timerq_init(&w->timers, 1000);
	p.conns = w->conns = conn_table_new(20, 20, clock_ms, w);
	w->t = p.conns ? signin_sessions_new(&p) : NULL;
	return w->t;
}

static void teardown(struct world *w)
{
	signin_sessions_free(w->t, "over");
	assert_null(w->timers.root);
	conn_table_free(w->conns);
}

static struct signin_entry *add(struct world *w, unsigned n, const char *user, const char *from,
				uint32_t life_s, uint32_t age_s, int *error)
{
	struct signin_session s = { .life_s = life_s };
	uint8_t random[16] = { (uint8_t)n };

	signin_token_print(random, s.token);
	signin_id_print(random, s.id);
	strcpy(s.domain, "Example.com");
	strcpy(s.user, user);
	assert_true(addr_parse_ip(slice_of(from), 0, &s.from));
	return signin_sessions_add(w->t, &s, age_s, error);
}

static void test_lookups(void **state)
{
	struct world w;
	struct signin_entry *a, *b;
	struct addr from;
	int err;

	setup(&w, 10, 0);
	a = add(&w, 1, "alice", "192.0.2.1", 60, 0, &err);
	timerq_run(&w.timers, 2000);
	b = add(&w, 2, "alice", "192.0.2.2", 60, 0, &err);
	assert_ptr_equal(signin_sessions_by_token(w.t, slice_of(a->s.token)), a);
	assert_ptr_equal(signin_sessions_by_id(w.t, slice_of(b->s.id)), b);
	assert_null(signin_sessions_by_token(w.t, slice_of(a->s.id)));
	assert_null(signin_sessions_by_token(w.t, SLICE_NONE));
	assert_null(signin_sessions_by_id(w.t, slice_of(a->s.token)));
	assert_string_equal(a->conn.user, "alice@example.com");
	assert_string_equal(a->conn.session, a->s.id);
	assert_ptr_equal(signin_sessions_best(w.t, SLICE("EXAMPLE.com"), SLICE("alice"), NULL), b);
	from = a->s.from;
	from.port = 99;
	assert_ptr_equal(signin_sessions_best(w.t, SLICE("example.com"), SLICE("alice"), &from), a);
	assert_null(signin_sessions_best(w.t, SLICE("example.com"), SLICE("Alice"), &from));
	assert_null(signin_sessions_best(w.t, SLICE("example.org"), SLICE("alice"), &from));
	assert_ptr_equal(signin_sessions_of_user(w.t, SLICE("example.com"), SLICE("alice"), NULL),
			 b);
	assert_ptr_equal(signin_sessions_of_user(w.t, SLICE("example.com"), SLICE("alice"), b), a);
	assert_null(signin_sessions_of_user(w.t, SLICE("example.com"), SLICE("alice"), a));
	/* the operator */
	a->conn.close(&a->conn, "closed by the operator");
	assert_int_equal(w.n_ended, 1);
	assert_string_equal(w.why, "closed by the operator");
	teardown(&w);
	assert_int_equal(w.n_ended, 2);
}

static void test_life(void **state)
{
	struct world w;
	struct signin_entry *e;
	int err;

	setup(&w, 10, 0);
	assert_null(add(&w, 1, "a", "192.0.2.1", 60, 60, &err));
	assert_int_equal(err, -ESTALE);
	e = add(&w, 1, "a", "192.0.2.1", 60, 50, &err);
	assert_int_equal(e->s.expires_ms, 11000);
	assert_int_equal(signin_session_age_s(e), 50);
	timerq_run(&w.timers, 10999);
	assert_int_equal(signin_sessions_count(w.t), 1);
	signin_session_renew(e, 30, 0);
	timerq_run(&w.timers, 40998);
	assert_int_equal(signin_sessions_count(w.t), 1);
	timerq_run(&w.timers, 40999);
	assert_int_equal(signin_sessions_count(w.t), 0);
	assert_int_equal(conn_count(w.conns, CONN_SIGNIN), 0);
	assert_int_equal(w.n_ended, 1);
	teardown(&w);
}

static void test_bounds(void **state)
{
	struct world w;
	char user[8];
	int err;

	setup(&w, 3, 2);
	add(&w, 1, "a", "192.0.2.1", 60, 0, &err);
	assert_null(add(&w, 1, "b", "192.0.2.1", 60, 0, &err));
	assert_int_equal(err, -EEXIST);
	timerq_run(&w.timers, 2000);
	add(&w, 2, "a", "192.0.2.1", 60, 0, &err);
	add(&w, 3, "a", "192.0.2.1", 60, 0, &err); /* ends the first */
	assert_int_equal(signin_sessions_count(w.t), 2);
	assert_int_equal(w.n_ended, 1);
	add(&w, 4, "b", "192.0.2.1", 60, 0, &err);
	assert_null(add(&w, 5, "c", "192.0.2.1", 60, 0, &err));
	assert_int_equal(err, -ENOSPC);
	/* the connection table is a bound too */
	signin_sessions_set_max(w.t, 100);
	for (unsigned i = 6; i < 23; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		assert_non_null(add(&w, i, user, "192.0.2.1", 60, 0, &err));
	}
	assert_null(add(&w, 99, "z", "192.0.2.1", 60, 0, &err));
	assert_int_equal(err, -ENOSPC);
	teardown(&w);
}

/* Signed out here: nothing finds it, nothing brings it back, its life still ends. */
static void test_buried(void **state)
{
	struct world w;
	struct signin_entry *e;
	int err;

	setup(&w, 3, 0);
	e = add(&w, 1, "a", "192.0.2.1", 60, 0, &err);
	signin_session_bury(e, "signed out");
	assert_null(signin_sessions_by_token(w.t, slice_of(e->s.token)));
	assert_null(signin_sessions_by_id(w.t, slice_of(e->s.id)));
	assert_null(signin_sessions_best(w.t, SLICE("example.com"), SLICE("a"), NULL));
	assert_ptr_equal(signin_sessions_get(w.t, slice_of(e->s.token)), e);
	assert_int_equal(conn_count(w.conns, CONN_SIGNIN), 0);
	assert_null(add(&w, 1, "a", "192.0.2.1", 60, 0, &err));
	assert_int_equal(err, -EEXIST);
	timerq_run(&w.timers, 100000);
	assert_int_equal(signin_sessions_count(w.t), 0);
	assert_int_equal(w.n_ended, 0);
	teardown(&w);
}

static void one_run(void *arg)
{
	struct world w;
	int err;

	if (setup(&w, 3, 2)) {
		for (unsigned i = 0; i < 3; i++)
			if (!add(&w, i, "a", "192.0.2.1", 60, 0, &err))
				assert_true(err == -ENOMEM || err == -ENOSPC);
		timerq_run(&w.timers, 100000);
		assert_int_equal(signin_sessions_count(w.t), 0);
	}
	teardown(&w);
}

static void test_alloc(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lookups),
					    cmocka_unit_test(test_life),
					    cmocka_unit_test(test_bounds),
					    cmocka_unit_test(test_buried),
					    cmocka_unit_test(test_alloc) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
