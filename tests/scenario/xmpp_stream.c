/* XMPP streams over a stream in memory: headers, errors, ends, pauses, limits, STARTTLS, sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/xmpp_rig.h"

#include "support/alloc_fail.h"
#include "xmpp/stream.h"

#define HEADER                                                                                  \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"' to='example.com' version='1.0'>"

struct box {
	struct xmpp_rig rig;
	struct xmpp_far far;
	struct xmpp_stream *x;
	struct xmpp_stream_conf conf;
	struct buf log; /* what the handler heard, one letter or word each */
	enum xmpp_end how;
	enum xmpp_condition condition;
	char why[128];
	bool over;
	/* what the handler does */
	unsigned pause_on_element;
	bool tls_on_element, free_on_element, free_on_closed, restart_on_element, answer;
	bool takes_frames, free_on_frame, stays;
	struct stream *left;
	size_t n_thrown;
};

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct box *b = arg;

	buf_printf(&b->log, "H(%s) ", h->to ? h->to : "-");
	if (b->answer)
		xmpp_send_header(b->x, &(struct xmpp_header){ .from = "example.com",
							      .id = "i1",
							      .version = "1.0" });
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct box *b = arg;

	buf_printf(&b->log, "E(%s) ", e->name);
	for (unsigned i = 0; i < b->pause_on_element; i++)
		xmpp_pause(b->x);
	if (b->restart_on_element) {
		b->restart_on_element = false;
		b->n_thrown = xmpp_restart(b->x, true);
	}
	if (b->tls_on_element)
		b->n_thrown = xmpp_tls_begin(b->x);
	if (b->free_on_element) {
		xmpp_free(b->x);
		b->x = NULL;
	}
}

static void on_space(void *arg)
{
	buf_add_str(&((struct box *)arg)->log, "S ");
}

static void on_writable(void *arg)
{
	buf_add_str(&((struct box *)arg)->log, "W ");
}

static void on_tls(void *arg)
{
	buf_add_str(&((struct box *)arg)->log, "T ");
}

static void on_closed(void *arg, enum xmpp_end how, enum xmpp_condition c, const char *why)
{
	struct box *b = arg;

	assert_false(b->over);
	b->over = true;
	b->how = how;
	b->condition = c;
	snprintf(b->why, sizeof(b->why), "%s", why);
	if (b->free_on_closed) {
		xmpp_free(b->x);
		b->x = NULL;
	}
}

/* Of three bytes: the stream parks. */
static int on_frame(void *arg, struct slice bytes)
{
	struct box *b = arg;

	if (!b->takes_frames)
		return -1;
	if (bytes.n < 3)
		return 0;
	buf_add_str(&b->log, "F ");
	if (b->free_on_frame) {
		xmpp_free(b->x);
		b->x = NULL;
	} else if (!b->stays && !xmpp_leave(b->x, &b->left)) {
		buf_add_str(&b->log, "(stays) ");
	}
	return 3;
}

static void on_wanted(void *arg)
{
	buf_add_str(&((struct box *)arg)->log, "? ");
}

static const struct xmpp_stream_handler handler = {
	.header = on_header,
	.element = on_element,
	.space = on_space,
	.writable = on_writable,
	.tls = on_tls,
	.frame = on_frame,
	.wanted = on_wanted,
	.closed = on_closed,
};

static void box_init(struct box *b)
{
	*b = (struct box){ 0 };
	xmpp_rig_init(&b->rig);
	buf_init(&b->log, 1024 * 1024);
	b->conf = (struct xmpp_stream_conf){
		.timers = loop_timers(b->rig.env.loop),
		.pool = b->rig.pool,
		.content = XMPP_CLIENT,
		.limits = xml_stream_default_limits,
		.sleep_ms = 10000,
	};
	b->answer = true;
}

static void box_open(struct box *b)
{
	struct stream *s = xmpp_far_init(&b->far, &b->rig);

	b->x = xmpp_stream_new(&b->conf, s, &handler, b);
	assert_non_null(b->x);
}

static void box_fini(struct box *b)
{
	xmpp_free(b->x);
	stream_close(b->left);
	xmpp_far_fini(&b->far, &b->rig);
	buf_fini(&b->log);
	xmpp_rig_fini(&b->rig);
}

#define EXPECT_LOG(b, text)                                              \
	do {                                                             \
		assert_string_equal((b)->log.n ? (b)->log.p : "", text); \
		buf_reset(&(b)->log);                                    \
	} while (0)

static void headers_and_elements_are_printed_anew(void **state)
{
	struct box b;
	struct xml_arena arena;
	struct xml_node *e;

	box_init(&b);
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER "<message to='a'/> \n <iq/>");
	EXPECT_LOG(&b, "H(example.com) E(message) S E(iq) ");
	EXPECT_HEARD(&b.far, "from='example.com'");
	arena = (struct xml_arena){ .pool = b.rig.pool };
	e = xml_node_new(&arena, NULL, XMPP_CLIENT, "message");
	xml_node_add_text(&arena, e, SLICE("a<b"));
	xmpp_send(b.x, e);
	xmpp_rig_turn(&b.rig);
	EXPECT_HEARD(&b.far, "<message>a&lt;b</message>");
	xml_arena_reset(&arena);
	assert_int_equal(xmpp_stream_stats(b.x)->n_in, 2);
	assert_int_equal(xmpp_stream_stats(b.x)->n_out, 1);
	box_fini(&b);
}

static void what_came_before_the_stream_was_taken_is_read(void **state)
{
	struct box b;
	struct stream *s;

	box_init(&b);
	s = xmpp_far_init(&b.far, &b.rig);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	b.x = xmpp_stream_new(&b.conf, s, &handler, &b);
	EXPECT_LOG(&b, ""); /* never before it returns */
	xmpp_rig_turn(&b.rig);
	EXPECT_LOG(&b, "H(example.com) ");
	box_fini(&b);
}

/* Each with the bytes of RFC 6120 section 4.9.3, inside a stream even when none was opened. */
static void errors_close_with_their_condition(void **state)
{
	static const struct {
		const char *say, *condition;
	} rows[] = {
		{ "<stream:stream xmlns='jabber:server' xmlns:stream='" XMPP_STREAMS "' to='x'>",
		  "<invalid-namespace" },
		{ "GET / HTTP/1.1\r\n\r\n", "<not-well-formed" },
		{ "<!DOCTYPE a><stream:stream", "<restricted-xml" },
		{ HEADER "<!-- x -->", "<restricted-xml" },
		{ HEADER "<a></b>", "<not-well-formed" },
		{ HEADER "text", "<invalid-xml" },
		{ HEADER "<message>\xff</message>", "<unsupported-encoding" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct box b;

		box_init(&b);
		b.free_on_closed = i % 2;
		box_open(&b);
		xmpp_far_say(&b.far, &b.rig, rows[i].say);
		if (!xmpp_far_heard(&b.far, rows[i].condition))
			fail_msg("%zu: no %s in %s", i, rows[i].condition, xmpp_far_text(&b.far));
		assert_true(xmpp_far_heard(&b.far, "<?xml"));
		assert_true(xmpp_far_heard(&b.far, "<stream:stream "));
		assert_true(slice_ends(buf_slice(&b.far.in), SLICE("</stream:stream>")));
		assert_true(b.far.eof);
		assert_true(b.over);
		assert_int_equal(b.how, XMPP_END_ERROR);
		box_fini(&b);
	}
}

static void an_element_over_the_limit_is_refused_at_the_bound(void **state)
{
	for (int over = 0; over < 2; over++) {
		struct box b;
		char stanza[256];

		box_init(&b);
		b.conf.limits.max_stanza_bytes = 200;
		box_open(&b);
		xmpp_far_say(&b.far, &b.rig, HEADER);
		snprintf(stanza, sizeof(stanza), "<a>%0*d</a>", 193 + over, 0);
		xmpp_far_say(&b.far, &b.rig, stanza);
		assert_int_equal(b.over, over);
		if (over)
			EXPECT_HEARD(&b.far, "<policy-violation");
		else
			EXPECT_LOG(&b, "H(example.com) E(a) ");
		box_fini(&b);
	}
}

static void pauses_nest(void **state)
{
	struct box b;

	box_init(&b);
	b.pause_on_element = 2;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER "<a/><b/>");
	EXPECT_LOG(&b, "H(example.com) E(a) ");
	b.pause_on_element = 0;
	xmpp_resume(b.x);
	EXPECT_LOG(&b, "");
	xmpp_far_say(&b.far, &b.rig, "<c/>");
	EXPECT_LOG(&b, "");
	xmpp_resume(b.x);
	EXPECT_LOG(&b, "E(b) E(c) ");
	xmpp_resume(b.x); /* once too often does no harm */
	xmpp_far_say(&b.far, &b.rig, "<d/>");
	EXPECT_LOG(&b, "E(d) ");
	box_fini(&b);
}

static void the_end_of_a_paused_peer_is_seen_behind_its_last_words(void **state)
{
	struct box b;

	box_init(&b);
	b.pause_on_element = 1;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER "<a/><b/>");
	stream_shutdown(b.far.s);
	xmpp_rig_turn(&b.rig);
	assert_false(b.over);
	b.pause_on_element = 0;
	xmpp_resume(b.x);
	EXPECT_LOG(&b, "H(example.com) E(a) E(b) ");
	assert_true(b.over);
	assert_int_equal(b.how, XMPP_END_CUT);
	box_fini(&b);
}

static void a_peer_that_leaves_while_paused_is_missed(void **state)
{
	struct box b;

	box_init(&b);
	b.pause_on_element = 1;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER "<a/>");
	stream_close(b.far.s);
	b.far.s = NULL;
	xmpp_rig_turn(&b.rig);
	assert_true(b.over);
	assert_int_equal(b.how, XMPP_END_CUT);
	box_fini(&b);
}

static void a_restart_keeps_what_is_behind(void **state)
{
	struct box b;

	box_init(&b);
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	b.restart_on_element = true;
	xmpp_far_say(&b.far, &b.rig, "<auth/>" HEADER "<iq/>");
	EXPECT_LOG(&b, "H(example.com) E(auth) H(example.com) E(iq) ");
	assert_int_equal(b.n_thrown, 0);
	box_fini(&b);
}

static void starttls_drops_what_was_injected(void **state)
{
	struct box b;

	box_init(&b);
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	b.tls_on_element = true;
	xmpp_far_say(&b.far, &b.rig, "<starttls/>  <evil/>");
	EXPECT_LOG(&b, "H(example.com) E(starttls) ");
	assert_int_equal(b.n_thrown, 7);
	b.tls_on_element = false;
	b.x ? xmpp_socket(b.x)->handler->opened(xmpp_socket(b.x)->arg) : (void)0;
	EXPECT_LOG(&b, "T ");
	assert_false(xmpp_header_sent(b.x));
	xmpp_far_say(&b.far, &b.rig, HEADER);
	EXPECT_LOG(&b, "H(example.com) ");
	assert_false(b.over);
	box_fini(&b);
}

static void a_peer_that_ends_is_answered(void **state)
{
	struct box b;

	box_init(&b);
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER "<a/></stream:stream><b/>");
	EXPECT_LOG(&b, "H(example.com) E(a) ");
	assert_true(slice_ends(buf_slice(&b.far.in), SLICE("</stream:stream>")));
	assert_true(b.over && b.far.eof);
	assert_int_equal(b.how, XMPP_END_PROPER);
	box_fini(&b);
}

static void our_end_waits_for_the_peers(void **state)
{
	for (int answer = 0; answer < 2; answer++) {
		struct box b;

		box_init(&b);
		box_open(&b);
		xmpp_far_say(&b.far, &b.rig, HEADER);
		xmpp_end(b.x);
		xmpp_rig_turn(&b.rig);
		EXPECT_HEARD(&b.far, "</stream:stream>");
		assert_false(b.over);
		if (answer)
			xmpp_far_say(&b.far, &b.rig, "<a/></stream:stream>");
		else
			xmpp_rig_pass(&b.rig, XMPP_END_WAIT_MS - 1000);
		assert_int_equal(b.over, answer);
		xmpp_rig_pass(&b.rig, 1000);
		assert_true(b.over && b.far.eof);
		assert_int_equal(b.how, answer ? XMPP_END_PROPER : XMPP_END_CUT);
		EXPECT_SILENCE(&b.far);
		box_fini(&b);
	}
}

static void a_cut_says_nothing(void **state)
{
	struct box b;

	box_init(&b);
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	buf_reset(&b.far.in);
	xmpp_cut(b.x);
	xmpp_rig_turn(&b.rig);
	EXPECT_SILENCE(&b.far);
	assert_true(b.far.eof);
	assert_null(xmpp_socket(b.x));
	assert_false(b.over);
	/* Nothing of it hurts a stream that is over. */
	xmpp_send_space(b.x);
	xmpp_end(b.x);
	xmpp_fail(b.x, XMPP_CONFLICT, NULL, NULL);
	xmpp_pause(b.x);
	xmpp_resume(b.x);
	assert_false(xmpp_is_full(b.x));
	box_fini(&b);
}

static void it_may_be_freed_inside_its_callbacks(void **state)
{
	struct box b;

	box_init(&b);
	b.free_on_element = true;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER "<a/><b/>");
	EXPECT_LOG(&b, "H(example.com) E(a) ");
	assert_null(b.x);
	assert_false(b.over);
	box_fini(&b);
}

static void the_idle_end_with_connection_timeout(void **state)
{
	struct box b;

	box_init(&b);
	b.conf.idle_ms = 60000;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	xmpp_rig_pass(&b.rig, 50000);
	xmpp_far_say(&b.far, &b.rig, " ");
	xmpp_rig_pass(&b.rig, 50000);
	assert_false(b.over);
	xmpp_rig_pass(&b.rig, 11000);
	assert_true(b.over);
	assert_int_equal(b.condition, XMPP_CONNECTION_TIMEOUT);
	EXPECT_HEARD(&b.far, "<connection-timeout");
	box_fini(&b);
}

static void an_idle_stream_sleeps_and_wakes_nobody(void **state)
{
	struct box b;

	box_init(&b);
	b.conf.idle_ms = 3600 * 1000;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER "<a/>");
	xmpp_rig_pass(&b.rig, 11000);
	/* The next wakeup is the idle limit. */
	assert_true(timerq_next(b.conf.timers) > 3500 * 1000);
	xmpp_far_say(&b.far, &b.rig, "<b/>");
	EXPECT_LOG(&b, "H(example.com) E(a) E(b) ");
	assert_true(timerq_next(b.conf.timers) <= 10000);
	/* Half an element stays in memory, but does not keep the timer going. */
	xmpp_far_say(&b.far, &b.rig, "<c");
	xmpp_rig_pass(&b.rig, 11000);
	assert_true(timerq_next(b.conf.timers) > 3500 * 1000);
	xmpp_far_say(&b.far, &b.rig, "/>");
	EXPECT_LOG(&b, "E(c) ");
	box_fini(&b);
}

static void send_much(struct box *b, size_t n_bytes)
{
	struct xml_arena arena = { .pool = b->rig.pool };
	struct xml_node *e = xml_node_new(&arena, NULL, XMPP_CLIENT, "message");
	char text[1000];

	if (!e)
		return;
	memset(text, 'x', sizeof(text));
	xml_node_add_text(&arena, e, (struct slice){ text, sizeof(text) });
	for (size_t n = 0; n < n_bytes; n += sizeof(text))
		xmpp_send(b->x, e);
	xml_arena_reset(&arena);
}

static void a_slow_reader_is_cut(void **state)
{
	struct box b;

	box_init(&b);
	b.conf.send_timeout_ms = 20000;
	b.free_on_closed = true;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	b.far.deaf = true;
	send_much(&b, 400 * 1000);
	assert_true(xmpp_is_full(b.x));
	xmpp_rig_pass(&b.rig, 19000);
	assert_false(b.over);
	xmpp_rig_pass(&b.rig, 12000);
	assert_true(b.over);
	assert_int_equal(b.how, XMPP_END_CUT);
	assert_int_equal(b.far.end, STREAM_END_ERROR);
	box_fini(&b);
}

static void a_reader_that_is_only_late_is_not(void **state)
{
	struct box b;

	box_init(&b);
	b.conf.send_timeout_ms = 20000;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	buf_reset(&b.log);
	b.far.deaf = true;
	send_much(&b, 600 * 1000);
	assert_true(xmpp_is_full(b.x));
	for (int i = 0; i < 4; i++) {
		xmpp_rig_pass(&b.rig, 15000);
		assert_false(b.over);
		EXPECT_LOG(&b, "");
		evbuffer_drain(stream_in(b.far.s), 64 * 1024);
		stream_consumed(b.far.s);
		xmpp_rig_turn(&b.rig);
	}
	b.far.deaf = false;
	xmpp_far_readable(&b.far);
	xmpp_rig_turn(&b.rig);
	EXPECT_LOG(&b, "W ");
	xmpp_rig_pass(&b.rig, 60000);
	assert_false(b.over);
	box_fini(&b);
}

static void a_fast_writer_is_slowed_down(void **state)
{
	struct box b;
	struct buf text;

	box_init(&b);
	b.conf.rate_bytes = 10000;
	b.conf.burst_bytes = 20000;
	box_open(&b);
	buf_init(&text, 1024 * 1024);
	for (int i = 0; i < 100; i++)
		buf_printf(&text, "<a>%01000d</a>", i);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	xmpp_far_say(&b.far, &b.rig, text.p);
	assert_in_range(xmpp_stream_stats(b.x)->n_in, 15, 30);
	assert_true(xmpp_stream_stats(b.x)->n_shaped > 0);
	xmpp_rig_pass(&b.rig, 4000);
	assert_in_range(xmpp_stream_stats(b.x)->n_in, 50, 70);
	xmpp_rig_pass(&b.rig, 6000);
	assert_int_equal(xmpp_stream_stats(b.x)->n_in, 100);
	assert_false(b.over);
	buf_fini(&text);
	box_fini(&b);
}

static void spaces_do_not_pile_up(void **state)
{
	struct box b;

	box_init(&b);
	box_open(&b);
	for (int i = 0; i < 10; i++)
		xmpp_send_space(b.x);
	xmpp_rig_turn(&b.rig);
	EXPECT_HEARD(&b.far, " ");
	EXPECT_SILENCE(&b.far);
	assert_int_equal(xmpp_stream_stats(b.x)->out_bytes, 1);
	box_fini(&b);
}

/* Whatever is missing, it ends, and nothing leaks. */
static void run_without_memory(void *arg)
{
	struct box *b = arg;
	struct stream *s = xmpp_far_init(&b->far, &b->rig);

	b->over = false;
	buf_reset(&b->log);
	b->x = s ? xmpp_stream_new(&b->conf, s, &handler, b) : NULL;
	if (b->x) {
		xmpp_far_say(&b->far, &b->rig, HEADER "<message><body>x</body></message>");
		send_much(b, 3000);
		xmpp_rig_turn(&b->rig);
		xmpp_end(b->x);
		xmpp_far_say(&b->far, &b->rig, "</stream:stream>");
		xmpp_rig_pass(&b->rig, 6000);
		assert_true(b->over);
	}
	xmpp_free(b->x);
	b->x = NULL;
	xmpp_far_fini(&b->far, &b->rig);
}

/* --- parking --- */

#define FRAME SLICE("\0ab")

static void send_one(struct box *b)
{
	struct xml_arena arena = { .pool = b->rig.pool };
	struct xml_node *e = xml_node_new(&arena, NULL, XMPP_CLIENT, "message");

	if (e)
		xmpp_send(b->x, e);
	xml_arena_reset(&arena);
}

static void box_park(struct box *b)
{
	box_init(b);
	b->takes_frames = true;
	b->conf.sleep_ms = 0;
	box_open(b);
	/* The prefix is the header's. */
	xmpp_far_say(&b->far, &b->rig,
		     "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:p='urn:p' "
		     "xmlns:stream='" XMPP_STREAMS "' to='example.com' version='1.0'><p:a/>");
	assert_true(xmpp_is_at_rest(b->x));
	xmpp_far_say_bytes(&b->far, &b->rig, FRAME);
	EXPECT_LOG(b, "H(example.com) E(a) F ");
	assert_non_null(b->left);
	assert_true(xmpp_is_parked(b->x));
	assert_false(xmpp_is_at_rest(b->x));
	assert_null(xmpp_socket(b->x));
}

/* The other end of another connection. */
static void box_attach(struct box *b)
{
	struct stream *s;

	stream_close(b->left);
	b->left = NULL;
	xmpp_far_fini(&b->far, &b->rig);
	s = xmpp_far_init(&b->far, &b->rig);
	if (s)
		xmpp_attach(b->x, s);
	xmpp_rig_turn(&b->rig);
}

static void a_parked_stream_goes_on_over_another_socket(void **state)
{
	struct box b;

	box_park(&b);
	xmpp_rig_pass(&b.rig, 3600 * 1000);
	assert_int_equal(timerq_next(loop_timers(b.rig.env.loop)), -1);
	xmpp_send_space(b.x);
	xmpp_rig_turn(&b.rig);
	EXPECT_LOG(&b, "");
	assert_false(xmpp_has_waiting(b.x));
	send_one(&b);
	EXPECT_LOG(&b, ""); /* not from inside */
	send_one(&b);
	xmpp_rig_turn(&b.rig);
	send_one(&b);
	xmpp_rig_turn(&b.rig);
	EXPECT_LOG(&b, "? ");
	assert_true(xmpp_has_waiting(b.x));
	box_attach(&b);
	assert_string_equal(xmpp_far_text(&b.far), "<message/><message/><message/>");
	assert_false(xmpp_is_parked(b.x));
	xmpp_far_say(&b.far, &b.rig, "<p:b/><iq/>");
	EXPECT_LOG(&b, "E(b) E(iq) ");
	assert_int_equal(xmpp_stream_stats(b.x)->n_out, 3);
	/* And again. */
	xmpp_far_say_bytes(&b.far, &b.rig, FRAME);
	EXPECT_LOG(&b, "F ");
	box_attach(&b);
	xmpp_far_say(&b.far, &b.rig, "<p:c/>");
	EXPECT_LOG(&b, "E(c) ");
	box_fini(&b);
}

static void what_waits_for_a_socket_is_bounded(void **state)
{
	struct box b;
	size_t n = 0;

	for (int slow = 0; slow <= 1; slow++) {
		box_park(&b);
		for (n = 0; !xmpp_is_full(b.x); n++)
			send_one(&b);
		assert_int_equal((n - 1) * strlen("<message/>") / STREAM_HIGH_BYTES, 0);
		assert_true(n * strlen("<message/>") >= STREAM_HIGH_BYTES);
		xmpp_rig_turn(&b.rig);
		EXPECT_LOG(&b, "? ");
		stream_close(b.left);
		b.left = NULL;
		xmpp_far_fini(&b.far, &b.rig);
		{
			struct stream *s = xmpp_far_init(&b.far, &b.rig);

			b.far.deaf = slow;
			xmpp_attach(b.x, s);
		}
		xmpp_rig_turn(&b.rig);
		/* Heard once, when there is room. */
		EXPECT_LOG(&b, "W ");
		xmpp_rig_turn(&b.rig);
		EXPECT_LOG(&b, "");
		box_fini(&b);
	}
}

static void a_parked_stream_may_end(void **state)
{
	struct box b;

	box_park(&b);
	send_one(&b);
	xmpp_end(b.x);
	send_one(&b);
	xmpp_rig_pass(&b.rig, 2 * XMPP_END_WAIT_MS);
	EXPECT_LOG(&b, "? ");
	box_attach(&b);
	assert_string_equal(xmpp_far_text(&b.far), "<message/></stream:stream>");
	assert_false(b.over);
	xmpp_far_say(&b.far, &b.rig, "</stream:stream>");
	assert_true(b.over);
	assert_int_equal(b.how, XMPP_END_PROPER);
	box_fini(&b);
	/* The time for the peer's begins with the socket. */
	box_park(&b);
	xmpp_end(b.x);
	xmpp_rig_turn(&b.rig);
	box_attach(&b);
	xmpp_rig_pass(&b.rig, XMPP_END_WAIT_MS - 1000);
	assert_false(b.over);
	xmpp_rig_pass(&b.rig, 2000);
	assert_true(b.over);
	assert_int_equal(b.how, XMPP_END_CUT);
	box_fini(&b);
}

static void a_parked_stream_may_fail(void **state)
{
	struct box b;

	box_park(&b);
	send_one(&b);
	xmpp_fail(b.x, XMPP_CONFLICT, NULL, NULL);
	xmpp_rig_turn(&b.rig);
	EXPECT_LOG(&b, "? ");
	assert_true(xmpp_has_waiting(b.x));
	box_attach(&b);
	assert_true(xmpp_far_heard(&b.far, "<message/><stream:error><conflict"));
	assert_true(xmpp_far_heard(&b.far, "</stream:error></stream:stream>"));
	assert_true(b.far.eof);
	assert_false(b.over);
	box_fini(&b);
	/* A cut says nothing, and a socket that comes too late is closed. */
	box_park(&b);
	send_one(&b);
	xmpp_cut(b.x);
	assert_false(xmpp_is_parked(b.x));
	xmpp_rig_turn(&b.rig);
	EXPECT_LOG(&b, "");
	box_attach(&b);
	assert_true(b.far.eof);
	assert_string_equal(xmpp_far_text(&b.far), "");
	box_fini(&b);
}

static void a_frame_is_taken_between_elements_alone(void **state)
{
	char text[8192 + 10];
	struct box b;

	box_init(&b);
	b.takes_frames = b.stays = true;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	xmpp_far_say_bytes(&b.far, &b.rig, SLICE("\0a"));
	EXPECT_LOG(&b, "H(example.com) ");
	assert_false(xmpp_is_at_rest(b.x));
	xmpp_far_say_bytes(&b.far, &b.rig, SLICE("b<a/>\0ab<b/>"));
	EXPECT_LOG(&b, "F E(a) F E(b) ");
	xmpp_far_say_bytes(&b.far, &b.rig, SLICE("<c>\0ab</c>"));
	assert_true(xmpp_far_heard(&b.far, "<not-well-formed"));
	box_fini(&b);
	/* Bytes behind it in the socket: it cannot leave. */
	box_init(&b);
	b.takes_frames = true;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	memset(text, ' ', sizeof(text));
	memcpy(text + 8192 - 3, "\0ab<d/>", 7);
	xmpp_far_say_bytes(&b.far, &b.rig, (struct slice){ text, 8192 + 4 });
	EXPECT_LOG(&b, "H(example.com) S F (stays) E(d) ");
	assert_false(xmpp_is_parked(b.x));
	box_fini(&b);
	/* Not for who takes none: clients. */
	box_init(&b);
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	xmpp_far_say_bytes(&b.far, &b.rig, FRAME);
	assert_true(xmpp_far_heard(&b.far, "<not-well-formed"));
	assert_true(b.over);
	box_fini(&b);
	/* Freed inside. */
	box_init(&b);
	b.takes_frames = b.free_on_frame = true;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	xmpp_far_say_bytes(&b.far, &b.rig, SLICE("\0ab<a/>"));
	EXPECT_LOG(&b, "H(example.com) F ");
	box_fini(&b);
}

/* The connection ends behind the frame, politely or not. */
static void a_socket_may_break_when_it_is_left(void **state)
{
	struct box b;

	box_init(&b);
	b.takes_frames = true;
	box_open(&b);
	xmpp_far_say(&b.far, &b.rig, HEADER);
	evbuffer_add(stream_out(b.far.s), "\0ab", 3);
	stream_close(b.far.s);
	b.far.s = NULL;
	xmpp_rig_turn(&b.rig);
	EXPECT_LOG(&b, "H(example.com) F ");
	assert_true(xmpp_is_parked(b.x));
	assert_true(stream_eof(b.left));
	assert_false(b.over);
	box_attach(&b);
	xmpp_far_say(&b.far, &b.rig, "<a/>");
	EXPECT_LOG(&b, "E(a) ");
	box_fini(&b);
}

static void park_without_memory(void *arg)
{
	struct box *b = arg;
	struct stream *s = xmpp_far_init(&b->far, &b->rig);

	buf_reset(&b->log);
	b->over = false;
	b->x = s ? xmpp_stream_new(&b->conf, s, &handler, b) : NULL;
	if (b->x) {
		xmpp_far_say(&b->far, &b->rig, HEADER);
		xmpp_far_say_bytes(&b->far, &b->rig, FRAME);
		send_one(b);
		send_one(b);
		xmpp_rig_turn(&b->rig);
		if (!b->over) {
			box_attach(b);
			xmpp_far_say(&b->far, &b->rig, "<a/></stream:stream>");
			xmpp_rig_pass(&b->rig, 6000);
		}
	}
	xmpp_free(b->x);
	b->x = NULL;
	stream_close(b->left);
	b->left = NULL;
	xmpp_far_fini(&b->far, &b->rig);
}

static void memory_may_run_out_while_parked(void **state)
{
	struct box b;

	box_init(&b);
	b.takes_frames = true;
	assert_non_null(buf_grow(&b.log, 4096));
	alloc_fail_sweep(park_without_memory, &b);
	buf_fini(&b.log);
	xmpp_rig_fini(&b.rig);
}

static void memory_may_run_out_anywhere(void **state)
{
	struct box b;

	box_init(&b);
	/* Buffers of the test itself are there before. */
	assert_non_null(buf_grow(&b.log, 4096));
	alloc_fail_sweep(run_without_memory, &b);
	buf_fini(&b.log);
	xmpp_rig_fini(&b.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_and_elements_are_printed_anew),
		cmocka_unit_test(what_came_before_the_stream_was_taken_is_read),
		cmocka_unit_test(errors_close_with_their_condition),
		cmocka_unit_test(an_element_over_the_limit_is_refused_at_the_bound),
		cmocka_unit_test(pauses_nest),
		cmocka_unit_test(the_end_of_a_paused_peer_is_seen_behind_its_last_words),
		cmocka_unit_test(a_peer_that_leaves_while_paused_is_missed),
		cmocka_unit_test(a_restart_keeps_what_is_behind),
		cmocka_unit_test(starttls_drops_what_was_injected),
		cmocka_unit_test(a_peer_that_ends_is_answered),
		cmocka_unit_test(our_end_waits_for_the_peers),
		cmocka_unit_test(a_cut_says_nothing),
		cmocka_unit_test(it_may_be_freed_inside_its_callbacks),
		cmocka_unit_test(the_idle_end_with_connection_timeout),
		cmocka_unit_test(an_idle_stream_sleeps_and_wakes_nobody),
		cmocka_unit_test(a_slow_reader_is_cut),
		cmocka_unit_test(a_reader_that_is_only_late_is_not),
		cmocka_unit_test(a_fast_writer_is_slowed_down),
		cmocka_unit_test(spaces_do_not_pile_up),
		cmocka_unit_test(a_parked_stream_goes_on_over_another_socket),
		cmocka_unit_test(what_waits_for_a_socket_is_bounded),
		cmocka_unit_test(a_parked_stream_may_end),
		cmocka_unit_test(a_parked_stream_may_fail),
		cmocka_unit_test(a_frame_is_taken_between_elements_alone),
		cmocka_unit_test(a_socket_may_break_when_it_is_left),
		cmocka_unit_test(memory_may_run_out_while_parked),
		cmocka_unit_test(memory_may_run_out_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
