/* XEP-0114: a partner as a component of the IM server, which here is the raw end of a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/xmpp_rig.h"
#include "support/alloc_fail.h"
#include "xmpp/component.h"

#define HEADER                                                       \
	"<?xml version='1.0'?><stream:stream xmlns='" XMPP_COMPONENT \
	"' xmlns:stream='" XMPP_STREAMS "' from='partner.org' id='s%d'>"

struct box {
	struct xmpp_rig rig;
	struct xmpp_far far[4];
	size_t n_dialled;
	bool refuse_dial, no_nodes;
	struct component *c;
	struct component_conf conf;
	struct buf log;
	uint64_t finding;
	void (*done)(void *ctx, const struct im_node *nodes, size_t n, const char *why);
	void *ctx;
	struct loop_deferred found;
};

static void on_found(void *arg)
{
	struct box *b = arg;
	struct im_node node = { .server = "im", .host = "im1", .port = 5347, .alive = true };

	b->finding = 0;
	b->done(b->ctx, &node, b->no_nodes ? 0 : 1, b->no_nodes ? "no server" : "");
}

static uint64_t find(void *arg, const char *server, const char *partner,
		     void (*done)(void *ctx, const struct im_node *nodes, size_t n,
				  const char *why),
		     void *ctx)
{
	struct box *b = arg;

	assert_string_equal(server, "im");
	assert_string_equal(partner, "partner.org");
	b->done = done;
	b->ctx = ctx;
	b->finding = 7;
	loop_defer(b->rig.env.loop, &b->found);
	return b->finding;
}

static void cancel(void *arg, uint64_t id)
{
	struct box *b = arg;

	assert_int_equal(id, 7);
	loop_defer_cancel(&b->found);
	b->finding = 0;
}

static struct stream *connect_to(void *arg, const struct im_node *node,
				 const struct stream_handler *h, void *ctx, int *error)
{
	struct box *b = arg;
	struct stream *s;

	*error = -ECONNREFUSED;
	if (b->refuse_dial)
		return NULL;
	assert_true(b->n_dialled < 4);
	s = xmpp_far_init(&b->far[b->n_dialled], &b->rig);
	if (!s) {
		*error = -ENOMEM;
		return NULL;
	}
	b->n_dialled++;
	stream_set_handler(s, h, ctx);
	return s;
}

static void report(void *arg, const struct im_node *node, bool good, const char *why)
{
	buf_printf(&((struct box *)arg)->log, "%s ", good ? "good" : "bad");
}

static struct slice secret(void *arg, const char *server)
{
	return SLICE("s3cr3t");
}

static void deliver(void *arg, const char *server, const char *partner, struct xml_node *e,
		    struct xml_arena *arena)
{
	struct box *b = arg;

	buf_add_str(&b->log, "D:");
	xml_node_print(e, XMPP_SERVER, false, &b->log);
	buf_add_str(&b->log, " ");
}

static void undeliverable(void *arg, const char *server, const char *partner, struct xml_node *e,
			  struct xml_arena *arena, const char *condition)
{
	buf_printf(&((struct box *)arg)->log, "U:%s(%s) ", xml_node_attr(e, "id"), condition);
}

static void changed(void *arg, struct component *c, bool up, bool refused, const char *why)
{
	buf_printf(&((struct box *)arg)->log, "%s%s ", up ? "up" : "down",
		   refused ? "-refused" : "");
}

static const struct component_ops ops = {
	.find = find,
	.cancel = cancel,
	.connect = connect_to,
	.report = report,
	.secret = secret,
	.deliver = deliver,
	.undeliverable = undeliverable,
	.changed = changed,
};

static void box_init(struct box *b)
{
	*b = (struct box){ 0 };
	xmpp_rig_init(&b->rig);
	buf_init(&b->log, 1024 * 1024);
	loop_deferred_init(&b->found, on_found, b);
	b->conf = (struct component_conf){
		.timers = loop_timers(b->rig.env.loop),
		.pool = b->rig.pool,
		.stream = { .timers = loop_timers(b->rig.env.loop),
			    .pool = b->rig.pool,
			    .limits = xml_stream_default_limits },
		.queue_bytes = 16384,
	};
	b->c = component_new(&b->conf, &ops, b, "im", "partner.org");
	assert_non_null(b->c);
}

static void box_fini(struct box *b)
{
	component_free(b->c);
	xmpp_rig_turn(&b->rig);
	for (size_t i = 0; i < b->n_dialled; i++)
		xmpp_far_fini(&b->far[i], &b->rig);
	loop_defer_cancel(&b->found);
	buf_fini(&b->log);
	xmpp_rig_fini(&b->rig);
}

static void logged(struct box *b, const char *what)
{
	assert_string_equal(b->log.n ? b->log.p : "", what);
	buf_reset(&b->log);
}

/* The last one that was dialled answers. */
static struct xmpp_far *answer(struct box *b)
{
	struct xmpp_far *f;
	char text[400], digest[41];

	xmpp_rig_turn(&b->rig);
	assert_true(b->n_dialled > 0);
	f = &b->far[b->n_dialled - 1];
	assert_true(xmpp_far_heard(f, "xmlns='jabber:component:accept'"));
	EXPECT_HEARD(f, "to='partner.org'");
	snprintf(text, sizeof(text), HEADER, (int)b->n_dialled);
	xmpp_far_say(f, &b->rig, text);
	snprintf(text, sizeof(text), "s%zu", b->n_dialled);
	component_handshake(slice_of(text), SLICE("s3cr3t"), digest);
	snprintf(text, sizeof(text), "<handshake>%s</handshake>", digest);
	EXPECT_HEARD(f, text);
	return f;
}

static struct xmpp_far *open_it(struct box *b)
{
	struct xmpp_far *f;

	component_start(b->c);
	f = answer(b);
	xmpp_far_say(f, &b->rig, "<handshake/>");
	logged(b, "good up ");
	return f;
}

static int send_one(struct box *b, const char *id, size_t n_body)
{
	struct xml_arena a = { .pool = b->rig.pool };
	struct xml_node *e = xml_node_new(&a, NULL, XMPP_SERVER, "message"), *body;
	char *text = calloc(1, n_body + 1);
	int error;

	memset(text, 'x', n_body);
	xml_node_set(&a, e, "from", SLICE("u@partner.org"));
	xml_node_set(&a, e, "to", SLICE("me@example.com"));
	xml_node_set(&a, e, "id", slice_of(id));
	body = xml_node_new(&a, e, XMPP_SERVER, "body");
	xml_node_add_text(&a, body, (struct slice){ text, n_body });
	error = component_send(b->c, e);
	free(text);
	xml_arena_reset(&a);
	return error;
}

static void test_handshake_vector(void **state)
{
	char out[41];

	/* XEP-0114 section 3, by sha1sum. */
	component_handshake(SLICE("3BF96D32"), SLICE("secret"), out);
	assert_string_equal(out, "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136");
}

static void test_names_are_changed_both_ways(void **state)
{
	struct box b;
	struct xmpp_far *f;

	box_init(&b);
	f = open_it(&b);
	assert_int_equal(send_one(&b, "1", 2), 0);
	xmpp_rig_turn(&b.rig);
	/* No xmlns of its own: it is in the stream's. */
	EXPECT_HEARD(f, "<message from='u@partner.org' to='me@example.com' "
			"id='1'><body>xx</body></message>");
	xmpp_far_say(f, &b.rig,
		     "<message to='u@partner.org' from='me@example.com'><body>yo</body>"
		     "<x xmlns='jabber:x:oob'/></message>");
	logged(&b, "D:<message to='u@partner.org' from='me@example.com'><body>yo</body>"
		   "<x xmlns='jabber:x:oob'/></message> ");
	/* What is no stanza goes nowhere. */
	xmpp_far_say(f, &b.rig, "<handshake/><other/><message xmlns='jabber:client'/>");
	logged(&b, "");
	assert_int_equal(component_info(b.c).n_in, 1);
	assert_int_equal(component_info(b.c).n_out, 1);
	box_fini(&b);
}

static void test_waits_until_it_is_open(void **state)
{
	struct box b;
	struct xmpp_far *f;

	box_init(&b);
	assert_int_equal(send_one(&b, "1", 1), 0);
	assert_int_equal(send_one(&b, "2", 1), 0);
	f = answer(&b);
	assert_false(xmpp_far_heard(f, "<message"));
	xmpp_far_say(f, &b.rig, "<handshake/>");
	EXPECT_HEARD(f, "id='1'><body>x</body></message><message from='u@partner.org' "
			"to='me@example.com' id='2'>");
	assert_int_equal(component_info(b.c).n_queued, 0);
	box_fini(&b);
}

/* The server refuses us: at once back, and slowly again. */
static void test_refused(void **state)
{
	struct box b;
	struct xmpp_far *f;

	box_init(&b);
	send_one(&b, "1", 1);
	f = answer(&b);
	xmpp_far_say(f, &b.rig,
		     "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
		     "</stream:error></stream:stream>");
	logged(&b, "U:1(service-unavailable) down-refused ");
	assert_string_equal(component_info(b.c).last_error, "the server says not-authorized");
	assert_int_equal(component_info(b.c).state, COMPONENT_WAITING);
	xmpp_rig_pass(&b.rig, COMPONENT_RETRY_MAX_MS / 2 - 100);
	assert_int_equal(b.n_dialled, 1);
	/* Some time in the second half. */
	for (int ms = 0; ms < COMPONENT_RETRY_MAX_MS / 2 + 200 && b.n_dialled < 2; ms += 1000)
		xmpp_rig_pass(&b.rig, 1000);
	assert_int_equal(b.n_dialled, 2);
	f = answer(&b);
	xmpp_far_say(f, &b.rig, "<handshake/>");
	logged(&b, "good up ");
	box_fini(&b);
}

static void test_comes_back_after_a_loss(void **state)
{
	struct box b;
	struct xmpp_far *f;

	box_init(&b);
	f = open_it(&b);
	stream_abort(f->s);
	f->s = NULL;
	xmpp_rig_turn(&b.rig);
	logged(&b, "bad down ");
	send_one(&b, "1", 1);
	xmpp_rig_pass(&b.rig, COMPONENT_RETRY_MIN_MS + 10);
	f = answer(&b);
	xmpp_far_say(f, &b.rig, "<handshake/>");
	EXPECT_HEARD(f, "id='1'");
	logged(&b, "good up ");
	box_fini(&b);
}

static void test_nobody_there(void **state)
{
	struct box b;

	box_init(&b);
	b.refuse_dial = true;
	send_one(&b, "1", 1);
	xmpp_rig_turn(&b.rig);
	logged(&b, "down ");
	assert_string_equal(component_info(b.c).last_error, "cannot connect: Connection refused");
	b.no_nodes = true;
	xmpp_rig_pass(&b.rig, COMPONENT_WAIT_MS - 10);
	logged(&b, "");
	xmpp_rig_pass(&b.rig, 20);
	logged(&b, "U:1(remote-server-timeout) ");
	assert_string_equal(component_info(b.c).last_error, "no server");
	assert_int_equal(component_info(b.c).n_undeliverable, 1);
	box_fini(&b);
}

static void test_silent_server(void **state)
{
	struct box b;

	box_init(&b);
	component_start(b.c);
	xmpp_rig_turn(&b.rig);
	xmpp_rig_pass(&b.rig, COMPONENT_OPEN_MS + 10);
	logged(&b, "bad down ");
	assert_int_equal(component_info(b.c).state, COMPONENT_WAITING);
	box_fini(&b);
}

static void test_header_without_id(void **state)
{
	struct box b;

	box_init(&b);
	component_start(b.c);
	xmpp_rig_turn(&b.rig);
	xmpp_far_say(&b.far[0], &b.rig,
		     "<stream:stream xmlns='jabber:component:accept' xmlns:stream='" XMPP_STREAMS
		     "' from='partner.org'>");
	logged(&b, "bad down ");
	assert_false(xmpp_far_heard(&b.far[0], "handshake"));
	box_fini(&b);
}

static void test_queue_is_bounded(void **state)
{
	struct box b;
	size_t n = 0;

	/* A single one is never too much. */
	box_init(&b);
	assert_int_equal(send_one(&b, "big", 17000), 0);
	assert_int_equal(send_one(&b, "1", 100), -ENOBUFS);
	box_fini(&b);
	box_init(&b);
	assert_int_equal(send_one(&b, "1", 100), 0);
	n = 1;
	assert_int_equal(send_one(&b, "big", 17000), -ENOBUFS);
	while (n < 1000 && send_one(&b, "1", 100) == 0)
		n++;
	assert_true(n > 2 && n < 164);
	assert_int_equal(send_one(&b, "1", 100), -ENOBUFS);
	assert_int_equal(component_info(b.c).n_queued, n);
	box_fini(&b);
}

static void test_paused(void **state)
{
	struct box b;
	struct xmpp_far *f;

	box_init(&b);
	component_set_paused(b.c, true);
	f = open_it(&b);
	xmpp_far_say(f, &b.rig, "<message id='1'/>");
	logged(&b, "");
	component_set_paused(b.c, false);
	xmpp_rig_turn(&b.rig);
	logged(&b, "D:<message id='1'/> ");
	component_set_paused(b.c, true);
	xmpp_far_say(f, &b.rig, "<message id='2'/>");
	component_set_paused(b.c, true);
	component_set_paused(b.c, false);
	xmpp_rig_turn(&b.rig);
	logged(&b, "D:<message id='2'/> ");
	box_fini(&b);
}

static void test_ends_properly(void **state)
{
	struct box b;
	struct xmpp_far *f;

	box_init(&b);
	f = open_it(&b);
	component_free(b.c);
	b.c = NULL;
	xmpp_rig_turn(&b.rig);
	EXPECT_HEARD(f, "</stream:stream>");
	box_fini(&b);
}

static void test_restart(void **state)
{
	struct box b;
	struct xmpp_far *f;

	box_init(&b);
	component_restart(b.c); /* OFF: nothing */
	xmpp_rig_turn(&b.rig);
	assert_int_equal(b.n_dialled, 0);
	open_it(&b);
	component_restart(b.c);
	f = answer(&b);
	assert_int_equal(b.n_dialled, 2);
	xmpp_far_say(f, &b.rig, "<handshake/>");
	logged(&b, "good up ");
	box_fini(&b);
}

static void sweep(unsigned n)
{
	struct box b;

	box_init(&b);
	alloc_fail_at(n);
	component_start(b.c);
	xmpp_rig_turn(&b.rig);
	if (b.n_dialled && b.far[0].s)
		xmpp_far_say(&b.far[0], &b.rig,
			     "<stream:stream xmlns='jabber:component:accept' "
			     "xmlns:stream='" XMPP_STREAMS
			     "' id='1' from='partner.org'><handshake/><message id='9'/>");
	alloc_fail_at(0);
	box_fini(&b);
}

/* Whatever fails, nothing leaks and nothing breaks. */
static void test_out_of_memory(void **state)
{
	for (unsigned n = 1; n < 60; n++)
		sweep(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake_vector),
		cmocka_unit_test(test_names_are_changed_both_ways),
		cmocka_unit_test(test_waits_until_it_is_open),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_comes_back_after_a_loss),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_silent_server),
		cmocka_unit_test(test_header_without_id),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_paused),
		cmocka_unit_test(test_ends_properly),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
