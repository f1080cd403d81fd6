/* Chat clients at E whose streams are quiet: when they park, who brings them back, who ends how
 * meanwhile, and what a hostile C tries. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/xmpp_c2s_edge_rig.h"

#include "support/alloc_fail.h"

#define PARK_MS 20000
#define THEIRS	0xc0ffeeu /* C's name of the stream */

#define HEADER                                                                                  \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"' to='example.com' version='1.0'>"
#define SERVER_HEADER                                                                           \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"' from='example.com' id='s1' version='1.0'>"
#define FEATURES                                              \
	"<stream:features><mechanisms xmlns='" XMPP_SASL "'>" \
	"<mechanism>PLAIN</mechanism></mechanisms></stream:features>"
#define AUTH	 "<auth xmlns='" XMPP_SASL "' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>"
#define SUCCESS	 "<success xmlns='" XMPP_SASL "'/>"
#define BIND	 "<stream:features><bind xmlns='" XMPP_BIND "'/></stream:features>"
#define MESSAGE	 "<message to='bob@example.com'><body>hi</body></message>"
#define NEWS	 "<message from='bob@example.com'><body>yes</body></message>"
#define CONFLICT "<stream:error><conflict xmlns='" XMPP_STREAM_ERROR "'/></stream:error>"

static void client_says(struct c2s_rig *r, const char *text)
{
	xmpp_far_say(&r->client, &r->rig, text);
}

static void c_says(struct c2s_rig *r, const char *text)
{
	xmpp_far_say(&r->link, &r->rig, text);
}

static void frame_from_c(struct c2s_rig *r, enum preface_kind kind, uint64_t stream,
			 const char *more)
{
	struct preface p = { .kind = kind, .stream = stream, .keep = kind == PREFACE_PARKED };
	struct buf b;

	buf_init(&b, 8192);
	if (preface_print(&p, &b) == 0) {
		buf_add_str(&b, more);
		xmpp_far_say_bytes(&r->link, &r->rig, buf_slice(&b));
	}
	buf_fini(&b);
}

static uint64_t traced(struct c2s_rig *r, const char *code)
{
	return trace_count(r->rig.env.trace, code);
}

/* The frame "park" at the end of what C heard, which is forgotten: E's name of the stream, 0 when
 * there is none. */
static uint64_t park_id(struct c2s_rig *r)
{
	struct buf *in = &r->link.in;
	const char *at = in->n ? memchr(in->p, '\0', in->n) : NULL, *why;
	size_t n = at ? in->n - (size_t)(at - in->p) : 0;
	struct preface p;
	uint64_t id = 0;

	if (at && preface_parse((struct slice){ at, n }, &p, &why) == (int)n &&
	    p.kind == PREFACE_PARK)
		id = p.stream;
	buf_reset(in);
	return id;
}

static void sign_in(struct c2s_rig *r)
{
	c2s_rig_connect(r, true);
	client_says(r, HEADER);
	c_says(r, SERVER_HEADER FEATURES);
	client_says(r, AUTH);
	c_says(r, SUCCESS);
	client_says(r, HEADER);
	c_says(r, SERVER_HEADER BIND);
	buf_reset(&r->client.in);
	buf_reset(&r->link.in);
}

static void rig_init(struct c2s_rig *r)
{
	c2s_rig_init(r);
	r->conf.park_ms = PARK_MS;
	c2s_edge_configure(r->edge, &r->conf);
}

static const struct conn *entry(struct c2s_rig *r)
{
	const struct list *l = list_first(conn_list(r->rig.env.conns, CONN_XMPP));

	assert_non_null(l);
	return CONTAINER_OF(l, struct conn, node);
}

/* "park" is out. Returns E's name. */
static uint64_t to_parking(struct c2s_rig *r)
{
	uint64_t id;

	for (int i = 0; i < 50 && strcmp(entry(r)->state, "parking") != 0; i++)
		xmpp_rig_pass(&r->rig, 500);
	id = park_id(r);
	assert_true(id != 0);
	return id;
}

static uint64_t to_parked(struct c2s_rig *r)
{
	unsigned n_back = r->n_back;
	uint64_t id = to_parking(r);

	frame_from_c(r, PREFACE_PARKED, THEIRS, "");
	assert_string_equal(entry(r)->state, "parked");
	assert_int_equal(r->n_back, n_back + 1);
	return id;
}

static uint64_t rig_parked(struct c2s_rig *r)
{
	rig_init(r);
	sign_in(r);
	return to_parked(r);
}

static void assert_relays(struct c2s_rig *r)
{
	assert_string_equal(entry(r)->state, "relay");
	buf_reset(&r->client.in);
	buf_reset(&r->link.in);
	client_says(r, MESSAGE);
	assert_string_equal(xmpp_far_text(&r->link), MESSAGE);
	c_says(r, NEWS);
	assert_string_equal(xmpp_far_text(&r->client), NEWS);
	buf_reset(&r->client.in);
	buf_reset(&r->link.in);
}

static void assert_gone(struct c2s_rig *r)
{
	xmpp_rig_turn(&r->rig);
	assert_int_equal(c2s_edge_count(r->edge), 0);
	assert_int_equal(c2s_edge_stats(r->edge).n_parked, 0);
	assert_int_equal(conn_count(r->rig.env.conns, CONN_XMPP), 0);
	assert_true(r->client.eof || r->client.over || !r->client.s);
}

/* Cut, so that it resumes. */
static void assert_client_cut(struct c2s_rig *r)
{
	assert_gone(r);
	assert_false(xmpp_far_heard(&r->client, "</stream:stream>"));
}

/* --- both ways --- */

static void quiet_streams_park_and_the_client_brings_them_back(void **state)
{
	struct c2s_rig r;
	uint64_t id, again;

	rig_init(&r);
	sign_in(&r);
	xmpp_rig_pass(&r.rig, PARK_MS - 1000);
	assert_int_equal(park_id(&r), 0);
	/* An element either way is not quiet. */
	client_says(&r, MESSAGE);
	xmpp_rig_pass(&r.rig, PARK_MS - 1000);
	c_says(&r, NEWS);
	xmpp_rig_pass(&r.rig, PARK_MS - 1000);
	assert_string_equal(xmpp_far_text(&r.link), MESSAGE);
	buf_reset(&r.link.in);
	id = to_parked(&r);
	assert_int_equal(c2s_edge_stats(r.edge).n_parked, 1);
	xmpp_rig_pass(&r.rig, 600 * 1000);
	assert_int_equal(r.n_takes, 1);
	buf_reset(&r.client.in);
	client_says(&r, MESSAGE "<presence/>");
	assert_int_equal(r.n_takes, 2);
	assert_int_equal(r.preface.kind, PREFACE_RESUME);
	assert_true(r.preface.stream == THEIRS);
	assert_string_equal(xmpp_far_text(&r.link), MESSAGE "<presence/>");
	assert_int_equal(c2s_edge_stats(r.edge).n_parked, 0);
	assert_relays(&r);
	/* And again, under the same name. */
	again = to_parked(&r);
	assert_true(again == id);
	client_says(&r, MESSAGE);
	assert_relays(&r);
	assert_int_equal(r.n_ends, 0);
	c2s_rig_fini(&r);
}

static void the_server_brings_them_back(void **state)
{
	struct c2s_rig r;
	uint64_t id = rig_parked(&r);

	assert_int_equal(c2s_edge_resume(r.edge, 1, id), 0);
	assert_int_equal(c2s_edge_resume(r.edge, 1, id), 0);
	xmpp_rig_turn(&r.rig);
	assert_int_equal(r.n_takes, 2);
	assert_string_equal(xmpp_far_text(&r.link), "");
	c_says(&r, NEWS);
	assert_string_equal(xmpp_far_text(&r.client), NEWS);
	assert_int_equal(c2s_edge_resume(r.edge, 1, id), 0); /* late */
	assert_int_equal(r.n_takes, 2);
	assert_relays(&r);
	c2s_rig_fini(&r);
}

/* C has enough. */
static void a_connection_that_is_not_wanted_closes(void **state)
{
	struct preface p = { .kind = PREFACE_PARKED, .stream = THEIRS };
	struct c2s_rig r;
	struct buf b;

	rig_init(&r);
	sign_in(&r);
	to_parking(&r);
	buf_init(&b, 8192);
	preface_print(&p, &b);
	xmpp_far_say_bytes(&r.link, &r.rig, buf_slice(&b));
	buf_fini(&b);
	assert_string_equal(entry(&r)->state, "parked");
	assert_int_equal(r.n_back, 0);
	assert_true(r.link.eof);
	xmpp_far_fini(&r.link, &r.rig);
	client_says(&r, MESSAGE);
	assert_string_equal(xmpp_far_text(&r.link), MESSAGE);
	assert_relays(&r);
	c2s_rig_fini(&r);
}

static void both_at_once_take_one_connection(void **state)
{
	struct c2s_rig r;
	uint64_t id = rig_parked(&r);

	r.link_late = true;
	client_says(&r, MESSAGE);
	assert_string_equal(entry(&r)->state, "resuming");
	assert_int_equal(c2s_edge_resume(r.edge, 1, id), 0);
	client_says(&r, "<presence/>"); /* waits */
	xmpp_rig_turn(&r.rig);
	assert_int_equal(r.n_takes, 2);
	r.link_late = false;
	c2s_rig_give(&r);
	xmpp_rig_turn(&r.rig);
	assert_string_equal(xmpp_far_text(&r.link), MESSAGE "<presence/>");
	assert_relays(&r);
	c2s_rig_fini(&r);
}

static void strangers_bring_nothing_back(void **state)
{
	struct c2s_rig r;
	uint64_t id = rig_parked(&r);

	assert_int_equal(c2s_edge_resume(r.edge, 2, id), -ENOENT);
	assert_int_equal(c2s_edge_resume(r.edge, 0, id), -ENOENT);
	assert_int_equal(c2s_edge_resume(r.edge, 1, id + 1), -ENOENT);
	assert_int_equal(c2s_edge_resume(r.edge, 1, id ^ 1ull << 32), -ENOENT);
	assert_int_equal(c2s_edge_cut(r.edge, 2, id), -ENOENT);
	assert_int_equal(c2s_edge_cut(r.edge, 1, id + 1), -ENOENT);
	xmpp_rig_turn(&r.rig);
	assert_int_equal(r.n_takes, 1);
	client_says(&r, MESSAGE);
	assert_int_equal(c2s_edge_cut(r.edge, 1, id), -ENOENT); /* it stands */
	assert_relays(&r);
	c2s_rig_fini(&r);
}

/* C has not noticed that the daemon was restarted: its names are nobody's now. */
static void names_of_the_daemon_before_are_nobodys(void **state)
{
	struct c2s_rig r;
	uint64_t old = rig_parked(&r);

	c2s_rig_fini(&r);
	assert_true(rig_parked(&r) != old);
	assert_int_equal(c2s_edge_resume(r.edge, 1, old), -ENOENT);
	assert_int_equal(c2s_edge_cut(r.edge, 1, old), -ENOENT);
	c2s_rig_fini(&r);
}

static void spaces_do_not_count_and_wake_nobody(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	xmpp_rig_pass(&r.rig, PARK_MS - 1000);
	client_says(&r, " ");
	c_says(&r, " ");
	assert_string_equal(xmpp_far_text(&r.link), " ");
	assert_string_equal(xmpp_far_text(&r.client), " ");
	xmpp_rig_pass(&r.rig, 2000);
	assert_true(park_id(&r) != 0);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, "");
	client_says(&r, " ");
	client_says(&r, "\n");
	assert_int_equal(r.n_takes, 1);
	client_says(&r, MESSAGE);
	assert_string_equal(xmpp_far_text(&r.link), MESSAGE);
	c2s_rig_fini(&r);
}

/* --- while it is under way --- */

static void what_the_client_says_meanwhile_waits(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	to_parking(&r);
	client_says(&r, MESSAGE);
	c_says(&r, NEWS); /* said before C read "park" */
	EXPECT_SILENCE(&r.link);
	assert_string_equal(xmpp_far_text(&r.client), NEWS);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, "");
	assert_int_equal(r.n_takes, 2);
	assert_string_equal(xmpp_far_text(&r.link), MESSAGE);
	assert_relays(&r);
	c2s_rig_fini(&r);
}

/* C's call is faster than its frame. */
static void c_may_ask_before_its_answer_is_there(void **state)
{
	struct c2s_rig r;
	uint64_t id;

	rig_init(&r);
	sign_in(&r);
	id = to_parking(&r);
	assert_int_equal(c2s_edge_resume(r.edge, 1, id), 0);
	assert_int_equal(r.n_takes, 1);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, "");
	assert_int_equal(r.n_takes, 2);
	assert_relays(&r);
	c2s_rig_fini(&r);
}

static void the_end_may_come_in_place_of_the_answer(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	to_parking(&r);
	c_says(&r, "</stream:stream>");
	assert_true(xmpp_far_heard(&r.client, "</stream:stream>"));
	client_says(&r, "</stream:stream>");
	assert_string_equal(xmpp_far_text(&r.link), "</stream:stream>");
	assert_gone(&r);
	assert_int_equal(r.n_ends, 0);
	c2s_rig_disconnect(&r);
	sign_in(&r);
	to_parking(&r);
	c_says(&r, CONFLICT "</stream:stream>");
	assert_true(xmpp_far_heard(&r.client, CONFLICT "</stream:stream>"));
	client_says(&r, "</stream:stream>");
	assert_gone(&r);
	assert_int_equal(r.n_ends, 0);
	c2s_rig_fini(&r);
}

static void the_link_may_be_lost_in_place_of_the_answer(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	to_parking(&r);
	stream_close(r.link.s);
	r.link.s = NULL;
	assert_client_cut(&r);
	assert_int_equal(r.n_ends, 0);
	c2s_rig_fini(&r);
}

static void an_answer_that_does_not_come_is_waited_for_in_vain(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	to_parking(&r);
	xmpp_rig_pass(&r.rig, 80000);
	assert_client_cut(&r);
	assert_int_equal(traced(&r, "xmpp.c2s.link-lost"), 1);
	assert_true(r.link.eof);
	c2s_rig_fini(&r);
}

/* Nothing may stand behind "park": the end waits for the answer. */
static void a_client_that_goes_meanwhile(void **state)
{
	for (int i = 0; i < 4; i++) {
		bool answers = i % 2, proper = i / 2;
		struct c2s_rig r;
		struct conn *c;

		rig_init(&r);
		sign_in(&r);
		to_parking(&r);
		if (proper) {
			c = (struct conn *)entry(&r);
			c->close(c, "by the administrator");
		} else {
			stream_abort(r.client.s);
			r.client.s = NULL;
		}
		assert_gone(&r);
		EXPECT_SILENCE(&r.link);
		assert_int_equal(r.n_ends, 0);
		if (answers)
			frame_from_c(&r, PREFACE_PARKED, THEIRS, "");
		else
			xmpp_rig_pass(&r.rig, 80000);
		assert_int_equal(r.n_ends, answers);
		assert_int_equal(r.n_back, answers);
		assert_int_equal(r.ended_proper, answers && proper);
		assert_int_equal(r.ended, answers ? THEIRS : 0);
		assert_int_equal(r.link.eof, !answers);
		EXPECT_SILENCE(&r.link);
		c2s_rig_fini(&r);
	}
}

/* --- ends while it is parked --- */

static void a_client_that_ends_is_ended_without_a_connection(void **state)
{
	struct c2s_rig r;

	rig_parked(&r);
	client_says(&r, "</stream:stream>");
	assert_string_equal(xmpp_far_text(&r.client), "</stream:stream>");
	assert_gone(&r);
	assert_int_equal(r.n_ends, 1);
	assert_true(r.ended == THEIRS && r.ended_proper);
	assert_int_equal(r.n_takes, 1);
	c2s_rig_fini(&r);
}

static void a_client_that_is_lost_is_cut_inside(void **state)
{
	struct c2s_rig r;

	rig_parked(&r);
	stream_abort(r.client.s);
	r.client.s = NULL;
	assert_gone(&r);
	assert_int_equal(r.n_ends, 1);
	assert_true(r.ended == THEIRS && !r.ended_proper);
	assert_int_equal(r.n_takes, 1);
	c2s_rig_fini(&r);
}

/* What it said before goes inside first. */
static void last_words_of_a_client_are_brought_in(void **state)
{
	for (int i = 0; i < 4; i++) {
		bool proper = i % 2, late = i / 2;
		struct c2s_rig r;

		rig_parked(&r);
		r.link_late = late;
		if (proper) {
			client_says(&r, MESSAGE "</stream:stream>");
		} else {
			evbuffer_add(stream_out(r.client.s), MESSAGE, strlen(MESSAGE));
			stream_close(r.client.s);
			r.client.s = NULL;
			xmpp_rig_turn(&r.rig);
		}
		if (late) {
			EXPECT_SILENCE(&r.link);
			r.link_late = false;
			c2s_rig_give(&r);
			xmpp_rig_turn(&r.rig);
		}
		assert_true(xmpp_far_heard(&r.link, MESSAGE));
		assert_int_equal(xmpp_far_heard(&r.link, "</stream:stream>"), proper);
		assert_int_equal(r.n_ends, 0);
		c_says(&r, "</stream:stream>");
		assert_gone(&r);
		assert_true(r.link.eof);
		c2s_rig_fini(&r);
	}
}

static void last_words_wait_in_vain(void **state)
{
	struct c2s_rig r;

	rig_parked(&r);
	r.no_link = r.link_late = true;
	client_says(&r, MESSAGE);
	stream_abort(r.client.s);
	r.client.s = NULL;
	xmpp_rig_turn(&r.rig);
	assert_int_equal(c2s_edge_count(r.edge), 0);
	assert_int_equal(r.n_ends, 0);
	c2s_rig_give(&r);
	assert_gone(&r);
	assert_int_equal(r.n_ends, 1);
	assert_false(r.ended_proper);
	c2s_rig_fini(&r);
}

static void what_is_refused_while_parked_ends_it(void **state)
{
	struct c2s_rig r;

	rig_parked(&r);
	client_says(&r, "<starttls xmlns='" XMPP_TLS "'/>");
	assert_true(xmpp_far_heard(&r.client, "<unsupported-stanza-type"));
	assert_gone(&r);
	assert_int_equal(r.n_ends, 1);
	assert_false(r.ended_proper);
	c2s_rig_disconnect(&r);
	sign_in(&r);
	to_parked(&r);
	xmpp_far_say_bytes(&r.client, &r.rig, SLICE("\0\0\0\2{}"));
	assert_true(xmpp_far_heard(&r.client, "<not-well-formed"));
	assert_gone(&r);
	assert_int_equal(r.n_ends, 2);
	c2s_rig_fini(&r);
}

static void what_is_ended_here_is_ended_inside(void **state)
{
	for (int i = 0; i < 4; i++) {
		bool by_domain = i % 2, resuming = i / 2;
		struct c2s_rig r;
		uint64_t id = rig_parked(&r);
		struct conn *c = (struct conn *)entry(&r);

		r.link_late = true;
		if (resuming)
			assert_int_equal(c2s_edge_resume(r.edge, 1, id), 0);
		if (by_domain)
			c2s_edge_domain_gone(r.edge, "example.com");
		else
			c->close(c, "by the administrator");
		assert_gone(&r);
		assert_true(
			xmpp_far_heard(&r.client, by_domain ? "<host-gone" : "<policy-violation"));
		assert_int_equal(r.n_ends, 1);
		assert_true(r.ended == THEIRS && r.ended_proper);
		assert_int_equal(r.n_cancels, resuming);
		assert_int_equal(c2s_edge_resume(r.edge, 1, id), -ENOENT);
		c2s_rig_fini(&r);
	}
}

static void a_lost_c_cuts_its_own(void **state)
{
	for (int i = 0; i < 5; i++) {
		struct c2s_rig r;

		rig_init(&r);
		sign_in(&r);
		if (i == 0)
			to_parking(&r);
		else
			to_parked(&r);
		r.link_late = true;
		if (i >= 2)
			client_says(&r, MESSAGE);
		if (i >= 3) {
			stream_abort(r.client.s);
			r.client.s = NULL;
			xmpp_rig_turn(&r.rig);
		}
		c2s_edge_peer_lost(r.edge, 2);
		assert_int_equal(c2s_edge_count(r.edge), i < 3);
		/* As the link does for who waits, or not. */
		if (i == 4 && r.done) {
			r.no_link = true;
			c2s_rig_give(&r);
		}
		c2s_edge_peer_lost(r.edge, 1);
		assert_client_cut(&r);
		assert_int_equal(r.n_ends, i == 4);
		assert_int_equal(r.n_cancels, i == 2 || i == 3);
		xmpp_rig_pass(&r.rig, 60000);
		c2s_rig_fini(&r);
	}
}

static void c_may_cut_what_is_parked(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct c2s_rig r;
		uint64_t id;

		rig_init(&r);
		sign_in(&r);
		id = i ? to_parked(&r) : to_parking(&r);
		r.link_late = true;
		if (i == 2)
			client_says(&r, MESSAGE);
		assert_int_equal(c2s_edge_cut(r.edge, 1, id), 0);
		assert_client_cut(&r);
		assert_int_equal(r.n_ends, 0);
		assert_int_equal(c2s_edge_cut(r.edge, 1, id), -ENOENT);
		c2s_rig_fini(&r);
	}
}

/* --- no connection --- */

static void no_connection_comes(void **state)
{
	for (int by_c = 0; by_c <= 1; by_c++) {
		struct c2s_rig r;
		uint64_t id = rig_parked(&r);

		r.no_link = true;
		if (by_c)
			c2s_edge_resume(r.edge, 1, id);
		else
			client_says(&r, MESSAGE);
		assert_client_cut(&r);
		assert_int_equal(r.n_ends, 1);
		assert_false(r.ended_proper);
		assert_int_equal(traced(&r, "xmpp.c2s.link-lost"), 1);
		c2s_rig_fini(&r);
	}
}

static void too_many_wait(void **state)
{
	struct c2s_rig r;

	rig_parked(&r);
	r.take_fails = true;
	client_says(&r, MESSAGE);
	xmpp_rig_pass(&r.rig, 5000);
	assert_string_equal(entry(&r)->state, "resuming");
	r.take_fails = false;
	xmpp_rig_pass(&r.rig, 1000);
	assert_string_equal(xmpp_far_text(&r.link), MESSAGE);
	assert_relays(&r);
	to_parked(&r);
	r.take_fails = true;
	client_says(&r, MESSAGE);
	xmpp_rig_pass(&r.rig, 40000);
	assert_client_cut(&r);
	assert_int_equal(r.n_ends, 1);
	c2s_rig_fini(&r);
}

/* C has ended it, and does not know it when E comes. */
static void c_does_not_know_it(void **state)
{
	struct c2s_rig r;

	rig_parked(&r);
	client_says(&r, MESSAGE);
	stream_close(r.link.s);
	r.link.s = NULL;
	xmpp_rig_turn(&r.rig);
	assert_client_cut(&r);
	assert_int_equal(r.n_ends, 0);
	c2s_rig_fini(&r);
}

/* --- settings --- */

static void parking_is_a_setting(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r); /* park-after = 0 */
	sign_in(&r);
	xmpp_rig_pass(&r.rig, 3000 * 1000);
	EXPECT_SILENCE(&r.link);
	r.conf.park_ms = 5000;
	c2s_edge_configure(r.edge, &r.conf);
	xmpp_rig_pass(&r.rig, 10);
	assert_true(park_id(&r) != 0);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, "");
	r.conf.park_ms = 0;
	c2s_edge_configure(r.edge, &r.conf);
	client_says(&r, MESSAGE);
	assert_relays(&r);
	xmpp_rig_pass(&r.rig, 3000 * 1000);
	EXPECT_SILENCE(&r.link);
	c2s_rig_fini(&r);
}

static void a_box_that_stops_gives_nothing_away(void **state)
{
	struct c2s_rig r;

	rig_parked(&r);
	c2s_edge_drain(r.edge);
	assert_int_equal(c2s_edge_count(r.edge), 1);
	client_says(&r, MESSAGE);
	assert_relays(&r);
	xmpp_rig_pass(&r.rig, 10 * PARK_MS);
	EXPECT_SILENCE(&r.link);
	c2s_rig_fini(&r);
}

static void the_daemon_stops(void **state)
{
	for (int resuming = 0; resuming <= 1; resuming++) {
		struct c2s_rig r;

		rig_parked(&r);
		r.link_late = true;
		if (resuming)
			client_says(&r, MESSAGE);
		c2s_edge_free(r.edge);
		r.edge = NULL;
		assert_int_equal(r.n_ends, 0);
		assert_int_equal(r.n_cancels, resuming);
		c2s_rig_fini(&r);
	}
}

/* --- when it is not quiet --- */

static void half_an_element_is_not_quiet(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	c_says(&r, "<message><body>x");
	xmpp_rig_pass(&r.rig, 5 * PARK_MS);
	EXPECT_SILENCE(&r.link);
	c_says(&r, "</body></message>");
	to_parked(&r);
	c2s_rig_fini(&r);
}

static void unsent_bytes_are_not_quiet(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	r.link.deaf = true;
	for (int i = 0; i < 4000; i++) {
		evbuffer_add(stream_out(r.client.s), MESSAGE, strlen(MESSAGE));
		stream_flush(r.client.s);
	}
	xmpp_rig_pass(&r.rig, 2 * PARK_MS);
	assert_string_equal(entry(&r)->state, "relay");
	c2s_rig_fini(&r);
}

static void a_stream_that_is_not_there_yet_does_not_park(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	c2s_rig_connect(&r, true);
	client_says(&r, HEADER);
	c_says(&r, SERVER_HEADER FEATURES);
	client_says(&r, AUTH);
	c_says(&r, SUCCESS);
	client_says(&r, HEADER);
	buf_reset(&r.link.in);
	xmpp_rig_pass(&r.rig, 3 * PARK_MS);
	EXPECT_SILENCE(&r.link); /* the server's header is missing */
	c_says(&r, SERVER_HEADER BIND);
	to_parked(&r);
	c2s_rig_fini(&r);
}

/* What waits for a connection is bounded, and none of it is lost. */
static void a_flood_while_parked(void **state)
{
	enum { N = 10000 };
	struct c2s_rig r;
	size_t n = 0;

	rig_parked(&r);
	r.link_late = true;
	for (int i = 0; i < N; i++)
		evbuffer_add(stream_out(r.client.s), MESSAGE, strlen(MESSAGE));
	stream_flush(r.client.s);
	for (int i = 0; i < 20; i++)
		xmpp_rig_turn(&r.rig);
	assert_true(evbuffer_get_length(stream_out(r.client.s)) > 0);
	r.link_late = false;
	c2s_rig_give(&r);
	for (int i = 0; i < 100; i++)
		xmpp_rig_turn(&r.rig);
	for (const char *at = xmpp_far_text(&r.link); (at = strstr(at, MESSAGE));
	     at += strlen(MESSAGE))
		n++;
	assert_int_equal(n, N);
	c2s_rig_fini(&r);
}

/* --- what C must not --- */

static void assert_breach(struct c2s_rig *r)
{
	assert_int_equal(traced(r, "xmpp.link.protocol"), 1);
	assert_client_cut(r);
	assert_true(r->link.eof);
	assert_int_equal(r->n_ends + r->n_back, 0);
	c2s_rig_fini(r);
}

static void frames_out_of_place(void **state)
{
	static const struct slice bad[] = {
		SLICE("\0\0\0\1x"),
		SLICE("\0\0\x10\1"),
		SLICE("\0\0\0\2{}"),
		SLICE("\0\xff\xff\xff"),
	};
	struct c2s_rig r;

	for (int parking = 0; parking <= 1; parking++) {
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			rig_init(&r);
			sign_in(&r);
			if (parking)
				to_parking(&r);
			xmpp_far_say_bytes(&r.link, &r.rig, bad[i]);
			assert_breach(&r);
		}
	}
	/* Not asked for. */
	rig_init(&r);
	sign_in(&r);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, "");
	assert_breach(&r);
	for (int kind = PREFACE_IDLE; kind <= PREFACE_RESUME; kind++) {
		if (kind == PREFACE_PARKED || kind == PREFACE_C2S || kind == PREFACE_S2S)
			continue;
		rig_init(&r);
		sign_in(&r);
		to_parking(&r);
		frame_from_c(&r, (enum preface_kind)kind, THEIRS, "");
		assert_breach(&r);
	}
	/* It is the last word. */
	rig_init(&r);
	sign_in(&r);
	to_parking(&r);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, NEWS);
	assert_breach(&r);
}

static void a_bad_answer_when_the_client_is_gone(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	sign_in(&r);
	to_parking(&r);
	stream_abort(r.client.s);
	r.client.s = NULL;
	xmpp_rig_turn(&r.rig);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, NEWS);
	assert_breach(&r);
}

static void a_frame_before_sign_in(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	c2s_rig_connect(&r, true);
	client_says(&r, HEADER);
	c_says(&r, SERVER_HEADER FEATURES);
	frame_from_c(&r, PREFACE_PARKED, THEIRS, "");
	assert_int_equal(traced(&r, "xmpp.link.protocol"), 1);
	assert_gone(&r);
	c2s_rig_fini(&r);
}

/* --- memory --- */

static void without_memory(void *arg)
{
	struct c2s_rig *r = arg;

	sign_in(r);
	xmpp_rig_pass(&r->rig, PARK_MS + 1000);
	frame_from_c(r, PREFACE_PARKED, THEIRS, "");
	client_says(r, MESSAGE);
	c_says(r, NEWS);
	xmpp_rig_pass(&r->rig, PARK_MS + 1000);
	frame_from_c(r, PREFACE_PARKED, THEIRS, "");
	client_says(r, MESSAGE "</stream:stream>");
	c_says(r, "</stream:stream>");
	stream_close(r->client.s);
	r->client.s = NULL;
	stream_close(r->link.s);
	r->link.s = NULL;
	xmpp_rig_pass(&r->rig, 100000);
	assert_int_equal(c2s_edge_count(r->edge), 0);
	assert_int_equal(c2s_edge_stats(r->edge).n_parked, 0);
	assert_int_equal(timerq_next(loop_timers(r->rig.env.loop)), -1);
	c2s_rig_disconnect(r);
}

static void memory_may_run_out_anywhere(void **state)
{
	struct c2s_rig r;

	rig_init(&r);
	alloc_fail_sweep(without_memory, &r);
	assert_int_equal(conn_count(r.rig.env.conns, CONN_XMPP), 0);
	c2s_rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quiet_streams_park_and_the_client_brings_them_back),
		cmocka_unit_test(the_server_brings_them_back),
		cmocka_unit_test(a_connection_that_is_not_wanted_closes),
		cmocka_unit_test(both_at_once_take_one_connection),
		cmocka_unit_test(strangers_bring_nothing_back),
		cmocka_unit_test(names_of_the_daemon_before_are_nobodys),
		cmocka_unit_test(spaces_do_not_count_and_wake_nobody),
		cmocka_unit_test(what_the_client_says_meanwhile_waits),
		cmocka_unit_test(c_may_ask_before_its_answer_is_there),
		cmocka_unit_test(the_end_may_come_in_place_of_the_answer),
		cmocka_unit_test(the_link_may_be_lost_in_place_of_the_answer),
		cmocka_unit_test(an_answer_that_does_not_come_is_waited_for_in_vain),
		cmocka_unit_test(a_client_that_goes_meanwhile),
		cmocka_unit_test(a_client_that_ends_is_ended_without_a_connection),
		cmocka_unit_test(a_client_that_is_lost_is_cut_inside),
		cmocka_unit_test(last_words_of_a_client_are_brought_in),
		cmocka_unit_test(last_words_wait_in_vain),
		cmocka_unit_test(what_is_refused_while_parked_ends_it),
		cmocka_unit_test(what_is_ended_here_is_ended_inside),
		cmocka_unit_test(a_lost_c_cuts_its_own),
		cmocka_unit_test(c_may_cut_what_is_parked),
		cmocka_unit_test(no_connection_comes),
		cmocka_unit_test(too_many_wait),
		cmocka_unit_test(c_does_not_know_it),
		cmocka_unit_test(parking_is_a_setting),
		cmocka_unit_test(a_box_that_stops_gives_nothing_away),
		cmocka_unit_test(the_daemon_stops),
		cmocka_unit_test(half_an_element_is_not_quiet),
		cmocka_unit_test(unsent_bytes_are_not_quiet),
		cmocka_unit_test(a_stream_that_is_not_there_yet_does_not_park),
		cmocka_unit_test(a_flood_while_parked),
		cmocka_unit_test(frames_out_of_place),
		cmocka_unit_test(a_bad_answer_when_the_client_is_gone),
		cmocka_unit_test(a_frame_before_sign_in),
		cmocka_unit_test(memory_may_run_out_anywhere),
	};

	return cmocka_run_group_tests_name("xmpp_c2s_edge_park", tests, NULL, NULL);
}
