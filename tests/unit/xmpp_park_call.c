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
	return 9;
}

static const struct tunnel_ops tunnel = { .call = on_call };

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
	assert_int_equal(park_call_resume(&w.calls, 3, 0x100000002, on_done, &w, &error), 9);
	assert_string_equal(w.method, "xmpp-resume");
	assert_string_equal(w.stream, "100000002");
	assert_string_equal(w.how, "");
	assert_int_equal(w.to, 3);
	assert_ptr_equal(w.done, on_done);
	park_call_end(&w.calls, 4, 0xff, true);
	assert_string_equal(w.method, "xmpp-end");
	assert_string_equal(w.stream, "ff");
	assert_string_equal(w.how, "end");
	/* The answer matters to nobody. */
	w.done(w.arg, -ENOENT, NULL);
	park_call_end(&w.calls, 4, 0xff, false);
	assert_string_equal(w.how, "cut");
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

/* Too many calls at once: the ends wait, and none is lost. */
static void test_ends_wait(void **state)
{
	struct world w;

	world_init(&w);
	w.error = -EAGAIN;
	for (int i = 1; i <= 100; i++)
		park_call_end(&w.calls, 4, (uint64_t)i, true);
	assert_int_equal(w.calls.n_waiting, 100);
	timerq_run(&w.timers, w.timers.now_ms + 200);
	assert_int_equal(w.calls.n_waiting, 100);
	w.n = w.error = 0;
	timerq_run(&w.timers, w.timers.now_ms + 200);
	assert_int_equal(w.n, 100);
	assert_string_equal(w.stream, "64");
	assert_int_equal(w.calls.n_waiting, 0);
	assert_int_equal(timerq_next(&w.timers), -1);
	/* Down meanwhile: it knows. */
	w.error = -EAGAIN;
	park_call_end(&w.calls, 4, 1, true);
	w.error = -EPIPE;
	timerq_run(&w.timers, w.timers.now_ms + 200);
	assert_int_equal(w.calls.n_waiting, 0);
	/* Bounded. */
	w.error = -EAGAIN;
	for (int i = 1; i <= PARK_MAX_WAITING + 1; i++)
		park_call_end(&w.calls, 4, (uint64_t)i, true);
	assert_int_equal(w.calls.n_waiting, PARK_MAX_WAITING);
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
	timerq_run(&w.timers, w.timers.now_ms + 200);
	timerq_run(&w.timers, w.timers.now_ms + 200);
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
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("xmpp_park_call", tests, NULL, NULL);
}
