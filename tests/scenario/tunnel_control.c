/* The control machine on a fake clock: two hubs, one peer each, links that the test carries bytes
 * between. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "tunnel/control.h"

#define MAX_LINKS 4

struct side;

/* One end of a connection. */
struct end {
	struct side *side;
	struct control_link *link;
	struct buf out; /* not carried yet */
	bool closed, agreed, bye;
	char code[48], why[128];
};

struct side {
	const char *name;
	struct timerq timers;
	struct control_conf conf;
	struct control_hub *hub;
	struct control *control;
	struct end ends[MAX_LINKS];
	int64_t wall_ms, skew_ms;
	unsigned n_items;
	/* The copy of the other's table. */
	unsigned n_got, n_resets, n_synced, n_ups, n_downs;
	char last_key[64];
	struct tunnel_call *held; /* the call that "later" keeps */
};

struct world {
	struct side a, b;
};

static int64_t ops_wall(void *arg)
{
	return ((struct side *)arg)->wall_ms;
}

static size_t ops_send(void *conn, struct slice bytes)
{
	struct end *e = conn;

	if (e->closed)
		return 0;
	buf_add_slice(&e->out, bytes);
	return e->out.n;
}

static void ops_close(void *conn, const char *code, const char *why)
{
	struct end *e = conn;

	assert_false(e->closed);
	e->closed = true;
	snprintf(e->code, sizeof(e->code), "%s", code);
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void ops_agreed(void *conn, const struct control_msg *hello)
{
	struct end *e = conn;

	e->agreed = true;
}

static void ops_bye(void *conn)
{
	struct end *e = conn;

	e->bye = true;
}

static void ops_more(void *conn)
{
}

static void ops_skew(void *peer, int64_t skew_ms)
{
	((struct side *)peer)->skew_ms = skew_ms;
}

static const struct control_ops ops = { ops_wall, ops_send, ops_close, ops_agreed,
					ops_bye,  ops_more, ops_skew };

static void each(void *arg, tunnel_peer to,
		 void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	struct side *s = arg;
	json_t *item = json_pack("{s:s}", "of", s->name);
	char key[16];

	for (unsigned i = 0; i < s->n_items && item; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		put(ctx, key, item);
	}
	json_decref(item);
}

static void on_reset(void *arg, tunnel_peer from)
{
	struct side *s = arg;

	s->n_resets++;
	s->n_got = 0;
}

static void on_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct side *s = arg;

	s->n_got++;
	snprintf(s->last_key, sizeof(s->last_key), "%s", key);
}

static void on_del(void *arg, tunnel_peer from, const char *key)
{
	struct side *s = arg;

	s->n_got--;
}

static void on_synced(void *arg, tunnel_peer from)
{
	((struct side *)arg)->n_synced++;
}

static void on_state(void *arg, tunnel_peer from, bool up)
{
	struct side *s = arg;

	if (up)
		s->n_ups++;
	else
		s->n_downs++;
}

static const struct tunnel_source source = { each };
static const struct tunnel_sink sink = { on_reset, on_put, on_del, on_synced, on_state };

static void serve_echo(void *arg, struct tunnel_call *call, tunnel_peer from, const json_t *params)
{
	struct side *s = arg;

	control_reply(s->hub, call, 0, params);
}

static void serve_later(void *arg, struct tunnel_call *call, tunnel_peer from, const json_t *params)
{
	struct side *s = arg;

	s->held = call;
}

static bool side_init(struct side *s, const char *name)
{
	static const uint8_t seed[16] = { 1 };

	memset(s, 0, sizeof(*s));
	s->name = name;
	timerq_init(&s->timers, 1000);
	s->wall_ms = 1700000000000;
	s->conf = (struct control_conf){ 3000, 9000, name, "test", "ab" };
	s->hub = control_hub_new(&s->timers, &s->conf, &ops, s, seed);
	s->control = s->hub ? control_new(s->hub, 1, s) : NULL;
	if (!s->control)
		return false;
	assert_int_equal(control_publish(s->hub, "state", &source, s), 0);
	assert_int_equal(control_subscribe(s->hub, "state", &sink, s), 0);
	assert_int_equal(control_serve(s->hub, "echo", serve_echo, s), 0);
	assert_int_equal(control_serve(s->hub, "later", serve_later, s), 0);
	return true;
}

static void drop(struct end *e)
{
	control_link_free(e->link);
	e->link = NULL;
	buf_fini(&e->out);
	buf_init(&e->out, 256 * 1024 * 1024);
}

static void side_fini(struct side *s)
{
	for (int i = 0; i < MAX_LINKS; i++)
		drop(&s->ends[i]);
	control_free(s->control);
	control_hub_free(s->hub);
	timerq_fini(&s->timers);
}

static bool open_end(struct side *s, int i)
{
	struct end *e = &s->ends[i];

	memset(e, 0, sizeof(*e));
	e->side = s;
	buf_init(&e->out, 256 * 1024 * 1024);
	e->link = control_link_new(s->control, e);
	return e->link != NULL;
}

static bool carry_one(struct end *from, struct end *to)
{
	struct buf moved = from->out;
	size_t taken, moved_n = moved.n;

	if (moved.n == 0 || !to->link)
		return false;
	buf_init(&from->out, 256 * 1024 * 1024);
	taken = control_link_input(to->link, buf_slice(&moved));
	buf_add(&from->out, moved.p + taken, moved.n - taken);
	buf_fini(&moved);
	if (from->link && taken == moved_n)
		control_link_drained(from->link);
	return true;
}

static void carry(struct world *w)
{
	bool more = true;

	while (more) {
		more = false;
		for (int i = 0; i < MAX_LINKS; i++) {
			more |= carry_one(&w->a.ends[i], &w->b.ends[i]);
			more |= carry_one(&w->b.ends[i], &w->a.ends[i]);
		}
		/* What was put off for the next turn. */
		timerq_run(&w->a.timers, w->a.timers.now_ms);
		timerq_run(&w->b.timers, w->b.timers.now_ms);
	}
}

/* Time passes; bytes travel when `connected`. */
static void pass(struct world *w, int64_t ms, bool connected)
{
	for (int64_t t = 0; t < ms; t += 100) {
		w->a.wall_ms += 100;
		w->b.wall_ms += 100;
		timerq_run(&w->a.timers, w->a.timers.now_ms + 100);
		timerq_run(&w->b.timers, w->b.timers.now_ms + 100);
		if (connected)
			carry(w);
	}
}

static void connect_link(struct world *w, int i)
{
	assert_true(open_end(&w->a, i));
	assert_true(open_end(&w->b, i));
	carry(w);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_true(side_init(&w->a, "a.test"));
	assert_true(side_init(&w->b, "b.test"));
	w->a.n_items = 3;
	w->b.n_items = 700; /* more than one turn takes */
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	side_fini(&w->a);
	side_fini(&w->b);
	free(w);
	return 0;
}

/* --- */

static void tables_come_whole_and_then_changes(void **state)
{
	struct world *w = *state;
	json_t *item = json_pack("{s:i}", "n", 1);

	connect_link(w, 0);
	assert_true(w->a.ends[0].agreed && w->b.ends[0].agreed);
	assert_true(control_is_up(w->a.control));
	assert_int_equal(w->a.n_got, 700);
	assert_int_equal(w->b.n_got, 3);
	assert_int_equal(w->a.n_synced, 1);
	assert_int_equal(w->a.n_ups, 1);
	control_put(w->a.control, "state", "x", item);
	control_del(w->b.control, "state", "k1");
	control_put(w->a.control, "nosuch", "x", item);
	carry(w);
	assert_string_equal(w->b.last_key, "x");
	assert_int_equal(w->b.n_got, 4);
	assert_int_equal(w->a.n_got, 699);
	json_decref(item);
}

static void names_are_checked(void **state)
{
	struct world *w = *state;

	assert_int_equal(control_publish(w->a.hub, "state", &source, NULL), -EEXIST);
	assert_int_equal(control_subscribe(w->a.hub, "state", &sink, NULL), -EEXIST);
	assert_int_equal(control_serve(w->a.hub, "echo", serve_echo, NULL), -EEXIST);
	assert_int_equal(control_publish(w->a.hub, "State", &source, NULL), -EINVAL);
	assert_int_equal(control_serve(w->a.hub, "", serve_echo, NULL), -EINVAL);
	for (int i = 1; i < CONTROL_MAX_TABLES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "t%d", i);
		assert_int_equal(control_publish(w->a.hub, name, &source, NULL), 0);
	}
	assert_int_equal(control_publish(w->a.hub, "over", &source, NULL), -ENOSPC);
}

/* The second connection carries on, with everything, when the first goes. */
static void another_link_takes_over(void **state)
{
	struct world *w = *state;

	connect_link(w, 0);
	connect_link(w, 1);
	assert_int_equal(w->a.n_resets, 1);
	w->a.n_items = 5;
	/* A has lost it; B has not noticed, and what it had sent still arrives. */
	drop(&w->a.ends[0]);
	carry(w);
	assert_int_equal(w->b.n_got, 5);
	assert_int_equal(w->b.n_resets, 2);
	assert_int_equal(w->a.n_downs, 0);
	drop(&w->b.ends[0]);
	carry(w);
	assert_int_equal(w->a.n_got, 700);
	assert_int_equal(w->a.n_resets, 2);
	drop(&w->a.ends[1]);
	drop(&w->b.ends[1]);
	assert_int_equal(w->a.n_downs, 1);
	assert_false(control_is_up(w->b.control));
	/* And again from nothing. */
	connect_link(w, 0);
	assert_int_equal(w->a.n_ups, 2);
	assert_int_equal(w->a.n_got, 700);
}

/* What comes on the old connection after the reset on the new one is from before. */
static void late_puts_are_ignored(void **state)
{
	struct world *w = *state;
	json_t *item = json_pack("{s:i}", "n", 1);

	connect_link(w, 0);
	connect_link(w, 1);
	control_put(w->a.control, "state", "late", item);
	control_link_free(w->a.ends[0].link); /* its bytes are still on the way */
	w->a.ends[0].link = NULL;
	assert_true(carry_one(&w->a.ends[1], &w->b.ends[1]));
	assert_int_equal(w->b.n_got, 3);
	assert_true(carry_one(&w->a.ends[0], &w->b.ends[0]));
	assert_int_equal(w->b.n_got, 3);
	assert_string_not_equal(w->b.last_key, "late");
	json_decref(item);
}

static void a_dead_peer_is_found(void **state)
{
	struct world *w = *state;

	connect_link(w, 0);
	pass(w, 60000, true);
	assert_false(w->a.ends[0].closed || w->b.ends[0].closed);
	pass(w, 8900, false);
	assert_false(w->a.ends[0].closed);
	pass(w, 3100, false);
	assert_true(w->a.ends[0].closed);
	assert_string_equal(w->a.ends[0].code, "tunnel.dead");
	assert_int_equal(w->a.n_downs, 1);
	/* Other bytes of the connection are life too. */
	drop(&w->a.ends[0]);
	drop(&w->b.ends[0]);
	connect_link(w, 1);
	for (int i = 0; i < 10; i++) {
		pass(w, 5000, false);
		control_link_alive(w->a.ends[1].link);
	}
	assert_false(w->a.ends[1].closed);
	assert_true(w->b.ends[1].closed);
}

/* No hello at all. */
static void silence_from_the_start(void **state)
{
	struct world *w = *state;

	assert_true(open_end(&w->a, 0));
	pass(w, 8900, false);
	assert_false(w->a.ends[0].closed);
	pass(w, 200, false);
	assert_true(w->a.ends[0].closed);
	assert_int_equal(w->a.n_ups, 0);
}

static void clocks_are_compared(void **state)
{
	struct world *w = *state;

	w->b.wall_ms += 60000;
	connect_link(w, 0);
	pass(w, 4000, true);
	assert_in_range(w->a.skew_ms, 59800, 60200);
	assert_in_range(-w->b.skew_ms, 59800, 60200);
	assert_false(w->a.ends[0].closed);
}

/* --- frames by hand --- */

static void say(struct end *e, const char *json)
{
	struct buf b;

	buf_init(&b, CONTROL_MAX_BYTES + 4);
	buf_add_u32(&b, (uint32_t)strlen(json));
	buf_add_str(&b, json);
	control_link_input(e->link, buf_slice(&b));
	buf_fini(&b);
}

#define HELLO(version)                                                                       \
	"{\"type\":\"hello\",\"version\":" version ",\"name\":\"x\",\"software\":\"later\"," \
	"\"boot\":\"1\",\"time\":1700000000000}"

static void versions(void **state)
{
	struct world *w = *state;
	struct end *e = &w->a.ends[0];

	/* A later one: it may say what we do not know. */
	assert_true(open_end(&w->a, 0));
	say(e, HELLO("2"));
	assert_true(e->agreed);
	say(e, "{\"type\":\"later\",\"x\":[1]}");
	assert_false(e->closed);
	say(e, "{\"type\":\"ping\",\"n\":1,\"time\":1,\"new\":true}");
	assert_false(e->closed);
	/* But what we know must be right. */
	say(e, "{\"type\":\"ping\",\"n\":\"x\",\"time\":1}");
	assert_true(e->closed);
	assert_string_equal(e->why, "bad n");
	/* The same version: an unknown type is an error. */
	e = &w->a.ends[1];
	assert_true(open_end(&w->a, 1));
	say(e, HELLO("1"));
	say(e, "{\"type\":\"later\"}");
	assert_true(e->closed);
	assert_string_equal(e->why, "unknown type");
	/* Unknown tables are a later version's, or an earlier one's. */
	e = &w->a.ends[2];
	assert_true(open_end(&w->a, 2));
	say(e, HELLO("1"));
	say(e, "{\"type\":\"reset\",\"table\":\"unknown\"}");
	say(e, "{\"type\":\"put\",\"table\":\"state\",\"key\":\"k\",\"item\":{}}");
	assert_false(e->closed);
	assert_int_equal(w->a.n_got, 0); /* no reset before it */
	say(e, HELLO("1"));
	assert_true(e->closed);
	assert_string_equal(e->why, "a second hello");
	e = &w->a.ends[3];
	assert_true(open_end(&w->a, 3));
	say(e, "{\"type\":\"bye\"}");
	assert_true(e->closed);
	assert_string_equal(e->why, "no hello first");
}

static void floods_end(void **state)
{
	struct world *w = *state;
	struct end *e = &w->a.ends[0];
	char big[200 * 1024];
	int n;

	assert_true(open_end(&w->a, 0));
	say(e, HELLO("1"));
	for (n = 0; n < 2 * CONTROL_BURST_MSGS && !e->closed; n++) {
		say(e, "{\"type\":\"synced\",\"table\":\"t\"}");
		timerq_run(&w->a.timers, w->a.timers.now_ms);
	}
	assert_true(e->closed);
	assert_string_equal(e->code, "tunnel.control.flood");
	assert_in_range(n, CONTROL_BURST_MSGS - 10, CONTROL_BURST_MSGS + 10);
	/* As much as is allowed goes on for ever. */
	e = &w->a.ends[1];
	assert_true(open_end(&w->a, 1));
	say(e, HELLO("1"));
	for (n = 0; n < 100 && !e->closed; n++) {
		for (int i = 0; i < CONTROL_RATE_MSGS - 10; i++) {
			say(e, "{\"type\":\"synced\",\"table\":\"t\"}");
			timerq_run(&w->a.timers, w->a.timers.now_ms);
		}
		timerq_run(&w->a.timers, w->a.timers.now_ms + 1000);
	}
	assert_false(e->closed);
	/* Bytes. */
	e = &w->a.ends[2];
	assert_true(open_end(&w->a, 2));
	say(e, HELLO("1"));
	memset(big, ' ', sizeof(big));
	memcpy(big, "{\"type\":\"synced\",\"table\":\"t\",", 29);
	strcpy(big + sizeof(big) - 8, "\"a\":1}");
	big[sizeof(big) - 2] = '\0';
	for (n = 0; n < 2000 && !e->closed; n++)
		say(e, big);
	assert_true(e->closed);
	assert_string_equal(e->code, "tunnel.control.flood");
	assert_in_range(n, CONTROL_BURST_BYTES / (int)sizeof(big), 400);
}

/* The other side does not read: changes wait for a new sync instead of filling memory. */
static void a_slow_reader_gets_it_anew(void **state)
{
	struct world *w = *state;
	json_t *item;
	char key[32], *text = malloc(15001);
	size_t most;

	memset(text, 'x', 15000);
	text[15000] = '\0';
	item = json_pack("{s:s}", "t", text);
	connect_link(w, 0);
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		control_put(w->a.control, "state", key, item);
	}
	most = w->a.ends[0].out.n;
	assert_in_range(most, CONTROL_BACKLOG, CONTROL_BACKLOG + 64 * 1024);
	control_del(w->a.control, "state", "key1");
	assert_int_equal(w->a.ends[0].out.n, most);
	w->a.n_items = 9;
	carry(w);
	assert_int_equal(w->b.n_got, 9);
	assert_int_equal(w->b.n_resets, 2);
	assert_false(w->a.ends[0].closed);
	json_decref(item);
	free(text);
}

/* --- calls --- */

struct answer {
	unsigned n;
	int status;
	char text[32];
};

static void on_answer(void *arg, int status, const json_t *value)
{
	struct answer *a = arg;
	const char *text = json_string_value(json_object_get(value, "q"));

	a->n++;
	a->status = status;
	snprintf(a->text, sizeof(a->text), "%s", text ? text : "");
}

static void calls(void **state)
{
	struct world *w = *state;
	struct answer a = { 0 }, b = { 0 }, c = { 0 };
	json_t *params = json_pack("{s:s}", "q", "hi");
	uint64_t id;
	int error;

	assert_int_equal(control_call(w->a.control, "echo", params, 500, on_answer, &a, &error), 0);
	assert_int_equal(error, -EPIPE);
	connect_link(w, 0);
	assert_true(control_call(w->a.control, "echo", params, 500, on_answer, &a, &error) > 0);
	assert_int_equal(a.n, 0);
	carry(w);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.status, 0);
	assert_string_equal(a.text, "hi");
	/* Nobody serves it. */
	assert_true(control_call(w->a.control, "nosuch", NULL, 500, on_answer, &b, &error) > 0);
	carry(w);
	assert_int_equal(b.status, -ENOSYS);
	/* Nobody answers in time; the late answer finds nothing. */
	assert_true(control_call(w->a.control, "later", params, 500, on_answer, &c, &error) > 0);
	pass(w, 400, true);
	assert_int_equal(c.n, 0);
	pass(w, 200, true);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.status, -ETIMEDOUT);
	control_reply(w->b.hub, w->b.held, 0, NULL);
	carry(w);
	assert_int_equal(c.n, 1);
	/* Cancelled: nothing is heard. */
	c = (struct answer){ 0 };
	id = control_call(w->a.control, "later", params, 500, on_answer, &c, &error);
	control_call_cancel(w->a.hub, id);
	control_call_cancel(w->a.hub, id);
	carry(w);
	control_reply(w->b.hub, w->b.held, 0, params);
	pass(w, 1000, true);
	assert_int_equal(c.n, 0);
	/* The connection goes: both sides let go. */
	assert_true(control_call(w->a.control, "later", params, 500, on_answer, &c, &error) > 0);
	carry(w);
	drop(&w->a.ends[0]);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.status, -EPIPE);
	drop(&w->b.ends[0]);
	control_reply(w->b.hub, w->b.held, 0, params);
	json_decref(params);
}

static void calls_are_bounded(void **state)
{
	struct world *w = *state;
	struct answer a = { 0 };
	int error;

	connect_link(w, 0);
	for (int i = 0; i < CONTROL_MAX_CALLS; i++)
		assert_true(control_call(w->a.control, "later", NULL, 500, on_answer, &a, &error) >
			    0);
	assert_int_equal(control_call(w->a.control, "echo", NULL, 500, on_answer, &a, &error), 0);
	assert_int_equal(error, -EAGAIN);
	carry(w);
	pass(w, 600, true);
	assert_int_equal(a.n, CONTROL_MAX_CALLS);
	/* The other side still has all of them, and takes no more. */
	a = (struct answer){ 0 };
	assert_true(control_call(w->a.control, "echo", NULL, 500, on_answer, &a, &error) > 0);
	carry(w);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.status, -EAGAIN);
}

static void bye_moves_on(void **state)
{
	struct world *w = *state;

	connect_link(w, 0);
	connect_link(w, 1);
	control_link_bye(w->a.ends[0].link);
	control_link_bye(w->a.ends[0].link);
	carry(w);
	assert_true(w->b.ends[0].bye);
	assert_false(control_link_agreed(w->a.ends[0].link));
	assert_false(control_link_agreed(w->b.ends[0].link));
	assert_int_equal(w->a.n_resets, 2);
	assert_int_equal(w->a.n_got, 700);
	assert_int_equal(w->a.n_downs, 0);
	control_link_bye(w->b.ends[1].link);
	carry(w);
	assert_int_equal(w->a.n_downs, 1);
	assert_int_equal(w->b.n_downs, 1);
	/* Pings go on: streams may still finish. */
	pass(w, 30000, true);
	assert_false(w->a.ends[0].closed || w->b.ends[1].closed);
}

/* --- without memory --- */

static void life(void *arg)
{
	struct world *w = calloc(1, sizeof(*w));
	struct answer a = { 0 };
	int error;

	if (!w)
		return;
	if (side_init(&w->a, "a.test") & side_init(&w->b, "b.test")) {
		w->a.n_items = 2;
		if (open_end(&w->a, 0) & open_end(&w->b, 0)) {
			carry(w);
			control_call(w->a.control, "echo", NULL, 500, on_answer, &a, &error);
			carry(w);
		}
	}
	side_fini(&w->a);
	side_fini(&w->b);
	free(w);
}

static void allocations_fail(void **state)
{
	alloc_fail_sweep(life, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tables_come_whole_and_then_changes),
		T(names_are_checked),
		T(another_link_takes_over),
		T(late_puts_are_ignored),
		T(a_dead_peer_is_found),
		T(silence_from_the_start),
		T(clocks_are_compared),
		T(versions),
		T(floods_end),
		T(a_slow_reader_gets_it_anew),
		T(calls),
		T(calls_are_bounded),
		T(bye_moves_on),
		cmocka_unit_test(allocations_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
