#include "xmpp/park_call.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

struct world {
	struct timerq timers;
	struct park_calls calls;
	int error; /* of the next calls */
	int n;
	tunnel_peer to;
	char method[32], stream[32], how[8];
	tunnel_done done;
	void *arg;
	uint64_t id; /* the last call's */
	int n_cancelled;
};

static uint64_t on_call(void *self, tunnel_peer to, const char *method, const json_t *params,
			uint32_t timeout_ms, tunnel_done done, void *arg, int *error)
{
	struct world *w = self;
	const char *how = json_string_value(json_object_get(params, "how"));

	w->n++;
	*error = w->error;
	if (w->error)
		return 0;
	w->to = to;
	w->done = done;
	w->arg = arg;
	snprintf(w->method, sizeof(w->method), "%s", method);
	snprintf(w->stream, sizeof(w->stream), "%s",
		 json_string_value(json_object_get(params, "stream")));
	snprintf(w->how, sizeof(w->how), "%s", how ? how : "");
	return ++w->id;
}

static void on_cancel(void *self, uint64_t id)
{
	struct world *w = self;

	assert_true(id > 0 && id <= w->id);
	w->n_cancelled++;
}

static const struct tunnel_ops tunnel = { .call = on_call, .call_cancel = on_cancel };

static void answer(struct world *w, int status)
{
	w->done(w->arg, status, NULL);
}

static void world_init(struct world *w)
{
	*w = (struct world){ 0 };
	timerq_init(&w->timers, 1000);
	park_calls_init(&w->calls, &w->timers);
	w->calls.tunnel = &tunnel;
	w->calls.tunnel_self = w;
}

static void world_fini(struct world *w)
{
	park_calls_fini(&w->calls);
	assert_int_equal(timerq_next(&w->timers), -1);
	timerq_fini(&w->timers);
}

static void on_done(void *arg, int status, const json_t *value)
{
}

static void test_calls(void **state)
{
	struct world w;
	int error;

	world_init(&w);
	assert_int_equal(park_call_resume(&w.calls, 3, 0x100000002, on_done, &w, &error), 1);
	assert_string_equal(w.method, "xmpp-resume");
	assert_string_equal(w.stream, "100000002");
	assert_string_equal(w.how, "");
	assert_int_equal(w.to, 3);
	assert_ptr_equal(w.done, on_done);
	park_call_end(&w.calls, 4, 0xff, true);
	assert_string_equal(w.method, "xmpp-end");
	assert_string_equal(w.stream, "ff");
	assert_string_equal(w.how, "end");
	answer(&w, 0);
	park_call_end(&w.calls, 4, 0xff, false);
	assert_string_equal(w.how, "cut");
	answer(&w, -ENOENT);
	assert_int_equal(w.calls.n_ends, 0);
	w.error = -EPIPE;
	assert_int_equal(park_call_resume(&w.calls, 3, 1, on_done, &w, &error), 0);
	assert_int_equal(error, -EPIPE);
	park_call_end(&w.calls, 4, 0xff, false);
	assert_int_equal(timerq_next(&w.timers), -1);
	w.calls.tunnel = NULL;
	assert_int_equal(park_call_resume(&w.calls, 3, 1, on_done, &w, &error), 0);
	assert_int_equal(error, -EPIPE);
	park_call_end(&w.calls, 4, 0xff, false);
	world_fini(&w);
}

static void pass_ms(struct world *w, int64_t ms)
{
	timerq_run(&w->timers, w->timers.now_ms + ms);
}

/* Too many calls at once: the ends wait, and none is lost. */
static void test_ends_wait(void **state)
{
	struct world w;

	world_init(&w);
	w.error = -EAGAIN;
	for (int i = 1; i <= 100; i++)
		park_call_end(&w.calls, 4, (uint64_t)i, true);
	w.n = 0;
	pass_ms(&w, 200);
	assert_int_equal(w.n, 1); /* one is enough to see that this peer takes none */
	assert_int_equal(w.calls.n_ends, 100);
	w.n = w.error = 0;
	pass_ms(&w, 200);
	assert_int_equal(w.n, 100);
	assert_int_equal(w.calls.n_ends, 100); /* not answered yet */
	assert_int_equal(timerq_next(&w.timers), -1);
	park_calls_fini(&w.calls);
	assert_int_equal(w.n_cancelled, 100);
	world_fini(&w);
	/* Down meanwhile: it knows. */
	world_init(&w);
	w.error = -EAGAIN;
	park_call_end(&w.calls, 4, 1, true);
	w.error = -EPIPE;
	pass_ms(&w, 200);
	assert_int_equal(w.calls.n_ends, 0);
	/* One peer that takes none is not in the way of another. */
	w.error = -EAGAIN;
	park_call_end(&w.calls, 4, 1, true);
	park_call_end(&w.calls, 5, 2, true);
	w.n = 0;
	pass_ms(&w, 200);
	assert_int_equal(w.n, 2);
	w.error = -EPIPE;
	pass_ms(&w, 200);
	assert_int_equal(w.calls.n_ends, 0);
	/* Bounded; what is over the bound is said once. */
	w.error = -EAGAIN;
	for (int i = 1; i <= PARK_MAX_ENDS; i++)
		park_call_end(&w.calls, 4, (uint64_t)i, true);
	assert_int_equal(w.calls.n_ends, PARK_MAX_ENDS);
	w.error = 0;
	park_call_end(&w.calls, 4, 0xabc, true);
	assert_string_equal(w.stream, "abc");
	assert_int_equal(w.calls.n_ends, PARK_MAX_ENDS);
	answer(&w, -EPIPE);
	assert_int_equal(w.calls.n_ends, PARK_MAX_ENDS);
	world_fini(&w);
}

/* The connection under the call goes, or the other side is too busy: it is said again. */
static void test_ends_are_said_until_they_are_heard(void **state)
{
	static const int lost[] = { -EPIPE, -ETIMEDOUT, -EAGAIN };
	struct world w;

	world_init(&w);
	park_call_end(&w.calls, 4, 0xff, false);
	for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
		w.n = 0;
		answer(&w, lost[i]);
		pass_ms(&w, 199);
		assert_int_equal(w.n, 0);
		pass_ms(&w, 1);
		assert_int_equal(w.n, 1);
		assert_int_equal(w.to, 4);
		assert_string_equal(w.stream, "ff");
		assert_string_equal(w.how, "cut");
	}
	answer(&w, 0);
	assert_int_equal(w.calls.n_ends, 0);
	assert_int_equal(timerq_next(&w.timers), -1);
	/* It stops with one under way, and one that waits. */
	park_call_end(&w.calls, 4, 1, false);
	answer(&w, -EPIPE);
	park_call_end(&w.calls, 4, 2, false);
	park_calls_fini(&w.calls);
	assert_int_equal(w.n_cancelled, 1);
	/* What its owner says while it stops goes out, and its answer finds nobody. */
	park_call_end(&w.calls, 4, 0x77, true);
	assert_string_equal(w.stream, "77");
	answer(&w, -EPIPE);
	assert_int_equal(w.calls.n_ends, 0);
	world_fini(&w);
}

static void test_read(void **state)
{
	static const char *const bad[] = {
		"null",
		"[]",
		"{}",
		"{\"stream\":1}",
		"{\"stream\":\"\"}",
		"{\"stream\":\"0\"}",
		"{\"stream\":\"x\"}",
		"{\"stream\":\"FF\"}",
		"{\"stream\":\"11111111111111111\"}",
	};
	json_t *params;
	uint64_t stream;
	bool proper;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		params = json_loads(bad[i], JSON_DECODE_ANY, NULL);
		assert_non_null(params);
		assert_false(park_call_read(params, &stream));
		assert_false(park_call_read_how(params, &proper));
		json_decref(params);
	}
	params = json_pack("{s:s,s:s}", "stream", "ffffffffffffffff", "how", "end");
	assert_true(park_call_read(params, &stream));
	assert_true(stream == UINT64_MAX);
	assert_true(park_call_read_how(params, &proper) && proper);
	json_object_set_new(params, "how", json_string("cut"));
	assert_true(park_call_read_how(params, &proper) && !proper);
	json_object_set_new(params, "how", json_string("ended"));
	assert_false(park_call_read_how(params, &proper));
	json_decref(params);
	assert_false(park_call_read(NULL, &stream));
	assert_false(park_call_read_how(NULL, &proper));
}

static void run_once(void *arg)
{
	struct world w;
	int error;

	world_init(&w);
	park_call_resume(&w.calls, 3, 1, on_done, &w, &error);
	w.error = -EAGAIN;
	park_call_end(&w.calls, 4, 1, true);
	w.error = 0;
	w.done = NULL;
	pass_ms(&w, 200);
	pass_ms(&w, 200);
	if (w.calls.n_ends > 0 && w.done)
		answer(&w, -EPIPE);
	pass_ms(&w, 200);
	world_fini(&w);
}

static void test_without_memory(void **state)
{
	alloc_fail_sweep(run_once, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_ends_wait),
		cmocka_unit_test(test_ends_are_said_until_they_are_heard),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("xmpp_park_call", tests, NULL, NULL);
}
