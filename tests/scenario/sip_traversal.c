/* The traversal link on a fake clock: both ends talk through strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sip/traversal_client.h"
#include "sip/traversal_server.h"

struct world {
	struct timerq timers;
	struct traversal_client c;
	int n_dials, n_options, n_hangups, dial_error;
	char authorization[2048];
	char hangup[160];
	uint32_t random;
	int64_t now_s;
	uint8_t key[32];
	uint64_t flow;
	const char *server_password;
	const char *why;
};

static int dial(void *arg)
{
	struct world *w = arg;

	w->n_dials++;
	return w->dial_error;
}

static int options(void *arg, const char *authorization)
{
	struct world *w = arg;

	w->n_options++;
	snprintf(w->authorization, sizeof(w->authorization), "%s",
		 authorization ? authorization : "");
	return 0;
}

static void hangup(void *arg, const char *why)
{
	struct world *w = arg;

	w->n_hangups++;
	snprintf(w->hangup, sizeof(w->hangup), "%s", why);
}

static uint32_t random_u32(void *arg)
{
	return ((struct world *)arg)->random;
}

static void changed(void *arg, enum tc_state old, enum tc_state state, const char *reason)
{
}

static const struct tc_ops ops = { dial, options, hangup, random_u32, changed };

static void setup(struct world *w)
{
	static const struct tc_conf conf = { "pair1", "secret", "sip:edge1.example.com",
					     20000,   10000,	200,
					     30000 };

	*w = (struct world){ .random = 0xffffffff, .flow = 42, .server_password = "secret" };
	timerq_init(&w->timers, 0);
	tc_init(&w->c, &w->timers, &conf, &ops, w);
}

static void pass(struct world *w, int64_t ms)
{
	int64_t end = w->timers.now_ms + ms, next;

	while ((next = timerq_next(&w->timers)) >= 0 && w->timers.now_ms + next <= end)
		timerq_run(&w->timers, w->timers.now_ms + next);
	timerq_run(&w->timers, end);
}

static struct sip_msg *parse(const char *text)
{
	struct sip_msg *m = NULL;
	struct sip_reject why;

	assert_int_equal(sip_msg_parse(slice_of(text), true, &m, &why), 0);
	return m;
}

/* Plays the edge: what it answers to the last OPTIONS. */
static enum ts_verdict edge_answers(struct world *w)
{
	struct ts_conf conf = { "edge1.example.com", "pair1", w->server_password };
	static const uint8_t random[8] = { 5 };
	char text[8192];
	struct sip_msg *m;
	struct buf headers;
	enum ts_verdict v;

	snprintf(text, sizeof(text),
		 "OPTIONS sip:edge1.example.com SIP/2.0\r\nVia: SIP/2.0/TLS c;branch=z9hG4bK1\r\n"
		 "From: <sip:core1>;tag=1\r\nTo: <sip:edge1>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n"
		 "%s%s%sContent-Length: 0\r\n\r\n",
		 w->authorization[0] ? "Authorization: " : "", w->authorization,
		 w->authorization[0] ? "\r\n" : "");
	m = parse(text);
	buf_init(&headers, 4096);
	v = ts_check(&conf, m, w->flow, w->key, w->now_s, random, &headers, &w->why);
	sip_msg_unref(m);
	snprintf(text, sizeof(text),
		 "SIP/2.0 %s\r\nVia: SIP/2.0/TLS c;branch=z9hG4bK1\r\nFrom: <sip:core1>;tag=1\r\n"
		 "To: <sip:edge1>;tag=2\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n%sContent-Length: "
		 "0\r\n\r\n",
		 v == TS_PROVED ? "200 OK" : "401 Unauthorized", headers.p ? headers.p : "");
	buf_fini(&headers);
	m = parse(text);
	tc_answer(&w->c, m, NULL);
	sip_msg_unref(m);
	return v;
}

static void link_up(struct world *w)
{
	tc_start(&w->c);
	tc_opened(&w->c);
	assert_int_equal(edge_answers(w), TS_CHALLENGE);
	assert_non_null(strstr(w->authorization, "SHA-256"));
	assert_int_equal(edge_answers(w), TS_PROVED);
	assert_int_equal(w->c.state, TC_ACTIVE);
}

static void link_comes_up_with_sha256(void **state)
{
	struct world w;

	setup(&w);
	link_up(&w);
	assert_int_equal(w.n_options, 2);
	timerq_fini(&w.timers);
}

static void wrong_password_is_named_on_both_sides(void **state)
{
	struct world w;

	setup(&w);
	w.server_password = "other";
	tc_start(&w.c);
	tc_opened(&w.c);
	edge_answers(&w);
	assert_int_equal(edge_answers(&w), TS_REFUSED);
	assert_string_equal(w.why, "wrong password");
	assert_int_equal(w.c.state, TC_WAITING);
	assert_string_equal(w.c.reason, "peer refused username or password");
	assert_int_equal(w.n_hangups, 1);
	timerq_fini(&w.timers);
}

/* A digest seen on one connection proves nothing on another, nor five minutes later. */
static void replayed_digest_proves_nothing(void **state)
{
	struct world w;

	setup(&w);
	link_up(&w);
	w.flow = 43;
	assert_int_equal(edge_answers(&w), TS_CHALLENGE);
	assert_string_equal(w.why, "nonce is not ours");
	w.flow = 42;
	w.now_s += TS_NONCE_LIFE_S + 1;
	assert_int_equal(edge_answers(&w), TS_CHALLENGE);
	assert_string_equal(w.why, "nonce too old");
	timerq_fini(&w.timers);
}

static void probes_every_20_s_and_notices_silence_in_10(void **state)
{
	struct world w;

	setup(&w);
	link_up(&w);
	pass(&w, 19999);
	assert_int_equal(w.n_options, 2);
	pass(&w, 1);
	assert_int_equal(w.n_options, 3);
	pass(&w, 9999);
	assert_int_equal(w.c.state, TC_ACTIVE);
	pass(&w, 1);
	assert_int_equal(w.c.state, TC_WAITING);
	assert_string_equal(w.hangup, "no answer to OPTIONS in 10000 ms");
	timerq_fini(&w.timers);
}

/* Full jitter between 0.2 and a ceiling that doubles up to 30 s, for ever. With the largest random
 * number the wait is bounded by the ceiling. */
static void retries_for_ever_within_bounds(void **state)
{
	struct world w;
	int64_t longest = 0, left;

	setup(&w);
	tc_start(&w.c);
	for (int i = 0; i < 200; i++) {
		tc_closed(&w.c, "connection refused");
		assert_int_equal(w.c.state, TC_WAITING);
		left = timer_left(&w.timers, &w.c.retry);
		assert_true(left >= 200 && left <= 30000);
		longest = left > longest ? left : longest;
		w.random = w.random * 1664525u + 1013904223u;
		pass(&w, left);
		assert_int_equal(w.n_dials, i + 2);
	}
	assert_true(longest > 25000);
	assert_string_equal(w.c.reason, "connection refused");
	/* One success starts the count anew. */
	w.authorization[0] = '\0';
	tc_opened(&w.c);
	edge_answers(&w);
	edge_answers(&w);
	tc_closed(&w.c, "reset");
	assert_true(timer_left(&w.timers, &w.c.retry) <= 200);
	timerq_fini(&w.timers);
}

static void stop_is_final(void **state)
{
	struct world w;

	setup(&w);
	link_up(&w);
	tc_stop(&w.c);
	pass(&w, 3600000);
	assert_int_equal(w.n_dials, 1);
	assert_int_equal(w.c.state, TC_OFF);
	timerq_fini(&w.timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(link_comes_up_with_sha256),
		cmocka_unit_test(wrong_password_is_named_on_both_sides),
		cmocka_unit_test(replayed_digest_proves_nothing),
		cmocka_unit_test(probes_every_20_s_and_notices_silence_in_10),
		cmocka_unit_test(retries_for_ever_within_bounds),
		cmocka_unit_test(stop_is_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
