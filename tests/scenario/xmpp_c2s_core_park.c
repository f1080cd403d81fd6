/* Chat streams on C that E parks: what each side may say meanwhile, who ends how, and what a
 * hostile E tries. */
#include "support/xmpp_c2s_core_rig.h"

#include <errno.h>

#include "support/alloc_fail.h"
#include "xmpp/park_call.h"

#define THEIRS	0xabcdef12u /* E's name of the stream */
#define MESSAGE "<message to='bob@example.com'><body>hi</body></message>"
#define NEWS	"<message from='bob@example.com'><body>yes</body></message>"

static void bytes_from_e(struct rig *rig, struct slice bytes)
{
	if (rig->e.s) {
		evbuffer_add(stream_out(rig->e.s), bytes.p, bytes.n);
		stream_flush(rig->e.s);
	}
	settle(rig);
}

static void frame_from_e(struct rig *rig, enum preface_kind kind, uint64_t stream, const char *more)
{
	struct preface p = { .kind = kind, .stream = stream };
	struct buf b;

	buf_init(&b, 8192);
	if (preface_print(&p, &b) == 0) {
		buf_add_str(&b, more);
		bytes_from_e(rig, buf_slice(&b));
	}
	buf_fini(&b);
}

/* The frame at the end of what E heard: C's name of the stream, 0 when there is none. */
static uint64_t parked_id(const struct rig *rig)
{
	const char *at = rig->e.got.n ? memchr(rig->e.got.p, '\0', rig->e.got.n) : NULL;
	struct preface p;
	const char *why;
	size_t n = at ? rig->e.got.n - (size_t)(at - rig->e.got.p) : 0;

	if (!at || preface_parse((struct slice){ at, n }, &p, &why) != (int)n ||
	    p.kind != PREFACE_PARKED)
		return 0;
	return p.stream;
}

static uint64_t park(struct rig *rig)
{
	uint64_t id;

	frame_from_e(rig, PREFACE_PARK, THEIRS, "");
	id = parked_id(rig);
	forget(&rig->e);
	return id;
}

static struct rig *rig_parked(uint64_t *id)
{
	struct rig *rig = rig_signed_in();

	*id = park(rig);
	assert_true(*id != 0);
	return rig;
}

/* E's new connection, with something behind the frame. */
static void resume_as(struct rig *rig, tunnel_peer from, uint64_t id, const char *more)
{
	struct preface p = { .kind = PREFACE_RESUME, .stream = id };
	struct stream *pair[2];

	stream_close(rig->back);
	rig->back = NULL;
	stream_close(rig->e.s);
	buf_fini(&rig->e.got);
	rig->e = (struct side){ 0 };
	if (stream_pair_new(rig->env.loop, pair) < 0)
		return;
	side_init(&rig->e, rig, pair[1], -1);
	pair[0]->conn_id = 4343;
	say(&rig->e, more);
	c2s_core_resume(rig->core, from, &p, pair[0]);
	settle(rig);
}

static void resume(struct rig *rig, uint64_t id)
{
	resume_as(rig, 1, id, "");
}

static void answer(struct rig *rig, int status)
{
	tunnel_done done = rig->resume_done;

	rig->resume_done = NULL;
	assert_non_null(done);
	done(rig->resume_ctx, status, NULL);
	settle(rig);
}

static uint64_t traced(struct rig *rig, const char *code)
{
	return trace_count(rig->env.trace, code);
}

/* --- both ways --- */

static void test_e_speaks(void **state)
{
	uint64_t id, again;
	struct rig *rig = rig_parked(&id);

	assert_int_equal(rig->n_back, 1);
	assert_int_equal(c2s_core_parked(rig->core), 1);
	assert_string_equal(entry(rig)->state, "parked");
	assert_int_equal(entry(rig)->parent, 0);
	wait_ms(rig, 3600 * 1000);
	resume_as(rig, 1, id, MESSAGE);
	assert_string_equal(text_of(&rig->legs[0]), MESSAGE);
	assert_string_equal(text_of(&rig->e), "");
	assert_int_equal(c2s_core_parked(rig->core), 0);
	assert_string_equal(entry(rig)->state, "relaying");
	assert_int_equal(entry(rig)->parent, 4343);
	assert_int_equal(rig->n_resumes, 0);
	from_server(rig, 0, NEWS);
	assert_string_equal(text_of(&rig->e), NEWS);
	/* And again, under the same name. */
	forget(&rig->e);
	again = park(rig);
	assert_true(again == id);
	rig_free(rig);
}

static void test_the_server_speaks(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0, NEWS);
	from_server(rig, 0, "<presence from='bob@example.com'/>");
	assert_int_equal(rig->n_resumes, 1);
	assert_int_equal(rig->asked, THEIRS);
	assert_int_equal(rig->asked_peer, 1);
	answer(rig, 0);
	from_server(rig, 0, "<iq id='1'/>");
	assert_int_equal(rig->n_resumes, 1);
	resume(rig, id);
	assert_string_equal(text_of(&rig->e), NEWS "<presence from='bob@example.com'/>"
						   "<iq id='1'/>");
	from_e(rig, MESSAGE);
	assert_string_equal(text_of(&rig->legs[0]), MESSAGE);
	wait_ms(rig, 100 * 1000);
	assert_int_equal(c2s_core_count(rig->core), 1);
	rig_free(rig);
}

/* The pool has enough: the connection ends behind the answer. */
static void test_what_is_not_wanted_closes(void **state)
{
	struct rig *rig = rig_signed_in();
	uint64_t id;

	rig->keeps_none = true;
	frame_from_e(rig, PREFACE_PARK, THEIRS, "");
	id = parked_id(rig);
	assert_true(id != 0);
	assert_true(rig->e.eof);
	assert_int_equal(rig->n_back, 0);
	assert_string_equal(entry(rig)->state, "parked");
	resume_as(rig, 1, id, MESSAGE);
	assert_string_equal(text_of(&rig->legs[0]), MESSAGE);
	rig_free(rig);
}

/* E comes by itself while it is being asked. */
static void test_both_at_once(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0, NEWS);
	resume_as(rig, 1, id, MESSAGE);
	assert_int_equal(rig->n_resumes_cancelled, 1);
	assert_string_equal(text_of(&rig->e), NEWS);
	assert_string_equal(text_of(&rig->legs[0]), MESSAGE);
	rig_free(rig);
}

/* What the server said before goes out in front of the answer. */
static void test_crossing(void **state)
{
	struct rig *rig = rig_signed_in();
	struct preface p = { .kind = PREFACE_PARK, .stream = THEIRS };
	struct buf b;

	buf_init(&b, 8192);
	preface_print(&p, &b);
	evbuffer_add(stream_out(rig->e.s), b.p, b.n);
	buf_fini(&b);
	stream_flush(rig->e.s);
	say(&rig->legs[0], NEWS);
	settle(rig);
	/* One of the two: in front of it, or E is asked. */
	if (!has(&rig->e, NEWS)) {
		assert_int_equal(rig->n_resumes, 1);
		answer(rig, 0);
		resume(rig, parked_id(rig));
		assert_string_equal(text_of(&rig->e), NEWS);
	}
	rig_free(rig);
}

static void test_spaces_wake_nobody(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0, " ");
	from_server(rig, 0, "\n\n ");
	assert_int_equal(rig->n_resumes, 0);
	resume(rig, id);
	assert_string_equal(text_of(&rig->e), "");
	rig_free(rig);
}

/* What waits for E is bounded, and none of it is lost. */
static void test_flood_while_parked(void **state)
{
	enum { N = 10000 };
	uint64_t id;
	struct rig *rig = rig_parked(&id);
	size_t n = 0;

	for (int i = 0; i < N; i++)
		say(&rig->legs[0], NEWS);
	settle(rig);
	assert_int_equal(rig->n_resumes, 1);
	answer(rig, 0);
	assert_true(evbuffer_get_length(stream_out(rig->legs[0].s)) > 0);
	resume(rig, id);
	for (int i = 0; i < 100; i++)
		settle(rig);
	for (const char *at = text_of(&rig->e); (at = strstr(at, NEWS)); at += strlen(NEWS))
		n++;
	assert_int_equal(n, N);
	rig_free(rig);
}

/* --- E does not come --- */

static void test_asking_fails(void **state)
{
	static const struct {
		int status;
		int n_cuts; /* whether E is told */
	} rows[] = { { -ENOENT, 0 }, { -EPIPE, 0 }, { -ETIMEDOUT, 1 }, { -EINVAL, 1 } };

	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		bool at_once = i % 2;
		struct rig *rig;
		uint64_t id;

		if (!at_once && park_call_unheard(rows[i / 2].status))
			continue; /* test_call_is_lost */
		rig = rig_parked(&id);
		rig->resume_error = at_once ? rows[i / 2].status : 0;
		from_server(rig, 0, NEWS);
		if (!at_once)
			answer(rig, rows[i / 2].status);
		assert_int_equal(c2s_core_count(rig->core), 0);
		assert_true(rig->legs[0].eof);
		assert_has_not(&rig->legs[0], "</stream:stream>");
		assert_int_equal(rig->n_cuts, rows[i / 2].n_cuts);
		assert_int_equal(traced(rig, "xmpp.core.not-resumed"), 1);
		resume(rig, id);
		assert_true(rig->e.eof);
		rig_free(rig);
	}
}

/* The connection under the call breaks, or nobody answers: C asks again while the tunnel stands. */
static void test_call_is_lost(void **state)
{
	static const int lost[] = { -EPIPE, -ETIMEDOUT };

	for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
		uint64_t id;
		struct rig *rig = rig_parked(&id);

		from_server(rig, 0, NEWS);
		answer(rig, lost[i]);
		assert_int_equal(rig->n_resumes, 1);
		wait_ms(rig, 500);
		assert_int_equal(rig->n_resumes, 2);
		answer(rig, 0);
		resume(rig, id);
		assert_string_equal(text_of(&rig->e), NEWS);
		forget(&rig->e);
		park(rig);
		/* Not for ever. */
		from_server(rig, 0, NEWS);
		for (int n = 0; n < 80 && c2s_core_count(rig->core) > 0; n++) {
			answer(rig, lost[i]);
			wait_ms(rig, 500);
		}
		assert_int_equal(c2s_core_count(rig->core), 0);
		assert_int_equal(traced(rig, "xmpp.core.not-resumed"), 1);
		rig_free(rig);
	}
}

static void test_too_many_ask(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	rig->resume_error = -EAGAIN;
	from_server(rig, 0, NEWS);
	wait_ms(rig, 500);
	assert_int_equal(rig->n_resumes, 2);
	rig->resume_error = 0;
	wait_ms(rig, 500);
	answer(rig, -EAGAIN);
	wait_ms(rig, 500);
	assert_int_equal(rig->n_resumes, 4);
	answer(rig, 0);
	resume(rig, id);
	assert_string_equal(text_of(&rig->e), NEWS);
	forget(&rig->e);
	park(rig);
	/* Not for ever. */
	rig->resume_error = -EAGAIN;
	from_server(rig, 0, NEWS);
	for (int i = 0; i < 80; i++)
		wait_ms(rig, 500);
	assert_int_equal(c2s_core_count(rig->core), 0);
	rig_free(rig);
}

static void test_e_promises_and_does_not_come(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0, NEWS);
	answer(rig, 0);
	wait_ms(rig, 34999);
	assert_int_equal(c2s_core_count(rig->core), 1);
	wait_ms(rig, 2);
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(rig->n_cuts, 1);
	assert_int_equal(rig->cut, THEIRS);
	rig_free(rig);
}

/* --- who may resume --- */

static void test_strangers_resume_nothing(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	resume_as(rig, 2, id, MESSAGE);
	assert_true(rig->e.eof);
	resume_as(rig, 1, id + 1, MESSAGE);
	assert_true(rig->e.eof);
	resume_as(rig, 1, id ^ 1ull << 32, MESSAGE);
	assert_true(rig->e.eof);
	assert_int_equal(traced(rig, "xmpp.core.unknown-stream"), 3);
	assert_string_equal(text_of(&rig->legs[0]), "");
	assert_int_equal(c2s_core_end(rig->core, 2, id, false), -ENOENT);
	assert_int_equal(c2s_core_end(rig->core, 1, id + 1, false), -ENOENT);
	resume(rig, id);
	assert_false(rig->e.eof);
	/* One that stands is nobody's to resume or to end so. */
	assert_int_equal(c2s_core_end(rig->core, 1, id, false), -ENOENT);
	from_e(rig, MESSAGE);
	assert_string_equal(text_of(&rig->legs[0]), MESSAGE);
	rig_free(rig);
}

/* E has not noticed that the daemon was restarted: its names are nobody's now. */
static void test_names_of_the_daemon_before(void **state)
{
	uint64_t old, id;
	struct rig *rig = rig_parked(&old);

	c2s_core_free(rig->core);
	rig->core = c2s_core_new(&rig->env, &ops, rig);
	take(rig);
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	from_e(rig, E_HEAD_OF("alice"));
	id = park(rig);
	assert_true(id != 0 && id != old);
	assert_int_equal(c2s_core_end(rig->core, 1, old, true), -ENOENT);
	resume_as(rig, 1, old, MESSAGE);
	assert_true(rig->e.eof);
	assert_int_equal(c2s_core_parked(rig->core), 1);
	rig_free(rig);
}

/* --- ends --- */

static void test_the_client_ends(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	assert_int_equal(c2s_core_end(rig->core, 1, id, true), 0);
	settle(rig);
	assert_string_equal(text_of(&rig->legs[0]), "</stream:stream>");
	assert_string_equal(entry(rig)->state, "ending");
	from_server(rig, 0, "<presence type='unavailable'/></stream:stream>");
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(rig->n_cuts + rig->n_resumes, 0);
	rig_free(rig);
}

static void test_the_client_ends_and_the_server_says_nothing(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	assert_int_equal(c2s_core_end(rig->core, 1, id, true), 0);
	wait_ms(rig, 6000);
	assert_int_equal(c2s_core_count(rig->core), 0);
	rig_free(rig);
}

/* While the server's stanza waits for E. */
static void test_the_client_ends_while_e_is_asked(void **state)
{
	for (int proper = 0; proper <= 1; proper++) {
		uint64_t id;
		struct rig *rig = rig_parked(&id);

		from_server(rig, 0, NEWS);
		assert_int_equal(c2s_core_end(rig->core, 1, id, proper), 0);
		settle(rig);
		assert_int_equal(rig->n_resumes_cancelled, 1);
		assert_int_equal(has(&rig->legs[0], "</stream:stream>"), proper);
		from_server(rig, 0, "</stream:stream>");
		assert_int_equal(c2s_core_count(rig->core), 0);
		assert_int_equal(rig->n_cuts, 0);
		rig_free(rig);
	}
}

static void test_the_client_is_gone(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	assert_int_equal(c2s_core_end(rig->core, 1, id, false), 0);
	settle(rig);
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_true(rig->legs[0].eof);
	assert_string_equal(text_of(&rig->legs[0]), "");
	assert_int_equal(rig->n_cuts, 0);
	rig_free(rig);
}

static void test_the_server_ends(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0, NEWS "</stream:stream>");
	assert_string_equal(text_of(&rig->legs[0]), "</stream:stream>");
	assert_int_equal(rig->n_resumes, 1);
	answer(rig, 0);
	wait_ms(rig, 10000); /* longer than an end is waited for */
	resume(rig, id);
	assert_string_equal(text_of(&rig->e), NEWS "</stream:stream>");
	from_e(rig, "</stream:stream>");
	assert_over(rig);
	assert_int_equal(rig->n_cuts, 0);
	rig_free(rig);
}

/* E's client has ended at the same time. */
static void test_both_end(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0, "</stream:stream>");
	assert_int_equal(c2s_core_end(rig->core, 1, id, true), 0);
	settle(rig);
	assert_int_equal(c2s_core_count(rig->core), 0);
	rig_free(rig);
}

static void test_the_server_errs(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0,
		    NEWS "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
			 "</stream:error></stream:stream>");
	assert_int_equal(c2s_core_count(rig->core), 1);
	assert_string_equal(entry(rig)->state, "last words");
	assert_true(rig->legs[0].eof);
	answer(rig, 0);
	resume(rig, id);
	assert_has(&rig->e, NEWS "<stream:error><conflict ");
	assert_error(rig, "conflict");
	assert_int_equal(rig->n_cuts, 0);
	rig_free(rig);
}

static void test_the_server_is_lost(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	stream_abort(rig->legs[0].s);
	rig->legs[0].s = NULL;
	settle(rig);
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(rig->n_cuts, 1);
	assert_int_equal(rig->cut, THEIRS);
	assert_int_equal(c2s_core_parked(rig->core), 0);
	rig_free(rig);
}

static void test_e_is_lost(void **state)
{
	for (int asked = 0; asked <= 1; asked++) {
		uint64_t id;
		struct rig *rig = rig_parked(&id);

		if (asked)
			from_server(rig, 0, NEWS);
		c2s_core_peer_lost(rig->core, 2);
		assert_int_equal(c2s_core_count(rig->core), 1);
		c2s_core_peer_lost(rig->core, 1);
		settle(rig);
		assert_int_equal(c2s_core_count(rig->core), 0);
		assert_int_equal(rig->n_resumes_cancelled, asked);
		assert_int_equal(rig->n_cuts, 0);
		assert_true(rig->legs[0].eof);
		assert_string_equal(text_of(&rig->legs[0]), "");
		rig_free(rig);
	}
}

/* Those that stand have a connection that breaks. */
static void test_e_is_lost_for_those_that_stand(void **state)
{
	struct rig *rig = rig_signed_in();

	c2s_core_peer_lost(rig->core, 1);
	assert_int_equal(c2s_core_count(rig->core), 1);
	rig_free(rig);
}

static void test_ended_here(void **state)
{
	for (int by_domain = 0; by_domain <= 1; by_domain++) {
		uint64_t id;
		struct rig *rig = rig_parked(&id);
		struct conn *c = (struct conn *)entry(rig);

		if (by_domain)
			c2s_core_domain_gone(rig->core, "example.com");
		else
			c->close(c, "by the administrator");
		settle(rig);
		assert_string_equal(text_of(&rig->legs[0]), "</stream:stream>");
		assert_true(rig->legs[0].eof);
		assert_int_equal(rig->n_resumes, 1);
		c2s_core_domain_gone(rig->core, "example.com"); /* no second time */
		answer(rig, 0);
		resume(rig, id);
		assert_error(rig, by_domain ? "host-gone" : "reset");
		rig_free(rig);
	}
}

static void test_ended_here_twice(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);
	struct conn *c = (struct conn *)entry(rig);

	c->close(c, "by the administrator");
	settle(rig);
	c->close(c, "by the administrator");
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(rig->n_cuts, 1);
	assert_int_equal(rig->n_resumes_cancelled, 1);
	rig_free(rig);
}

static void test_settings_change(void **state)
{
	struct xmpp_conf conf = { .auth_timeout_ms = 1000,
				  .send_timeout_ms = 1000,
				  .stanza_bytes = 20000,
				  .stanza_bytes_unauthenticated = 10000 };
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	c2s_core_configure(rig->core, &conf);
	wait_ms(rig, 100 * 1000);
	resume_as(rig, 1, id, MESSAGE);
	assert_string_equal(text_of(&rig->legs[0]), MESSAGE);
	rig_free(rig);
}

static void test_the_daemon_stops(void **state)
{
	uint64_t id;
	struct rig *rig = rig_parked(&id);

	from_server(rig, 0, NEWS);
	c2s_core_free(rig->core);
	rig->core = NULL;
	assert_int_equal(rig->n_cuts, 0);
	assert_int_equal(rig->n_resumes_cancelled, 1);
	rig_free(rig);
}

/* --- what E must not --- */

static void assert_breach(struct rig *rig)
{
	assert_int_equal(traced(rig, "xmpp.link.protocol"), 1);
	assert_error(rig, "policy-violation");
	assert_has_not(&rig->legs[0], "</stream:stream>");
	assert_int_equal(rig->n_back, 0);
	rig_free(rig);
}

static void test_frames_out_of_place(void **state)
{
	static const struct slice bad[] = {
		SLICE("\0\0\0\1x"),  /* too short */
		SLICE("\0\0\x10\1"), /* too long, known from the length alone */
		SLICE("\0\0\0\2{}"), SLICE("\0\0\0\2[]"), SLICE("\0\xff\xff\xff"),
	};
	struct rig *rig;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig = rig_signed_in();
		bytes_from_e(rig, bad[i]);
		assert_breach(rig);
	}
	for (int kind = PREFACE_PARKED; kind <= PREFACE_RESUME; kind++) {
		rig = rig_signed_in();
		frame_from_e(rig, (enum preface_kind)kind, THEIRS, "");
		assert_breach(rig);
	}
	/* Nothing may stand behind it before the answer. */
	rig = rig_signed_in();
	frame_from_e(rig, PREFACE_PARK, THEIRS, MESSAGE);
	assert_breach(rig);
	/* Before sign-in. */
	rig = rig_taken();
	from_e(rig, E_HEAD_OF("alice"));
	frame_from_e(rig, PREFACE_PARK, THEIRS, "");
	assert_breach(rig);
	/* Signed in, but the new streams do not stand yet. */
	rig = rig_taken();
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	rig->servers[0].silent = true;
	from_e(rig, E_HEAD_OF("alice"));
	frame_from_e(rig, PREFACE_PARK, THEIRS, "");
	assert_breach(rig);
}

static void test_frame_in_an_element(void **state)
{
	struct rig *rig = rig_signed_in();

	from_e(rig, "<message><body>");
	frame_from_e(rig, PREFACE_PARK, THEIRS, "</body>");
	assert_error(rig, "not-well-formed");
	assert_string_equal(text_of(&rig->legs[0]), "");
	rig_free(rig);
	/* And of the server none at all. */
	rig = rig_signed_in();
	evbuffer_add(stream_out(rig->legs[0].s), "\0\0\0\2{}", 6);
	from_server(rig, 0, "");
	assert_error(rig, "internal-server-error");
	rig_free(rig);
}

/* In pieces it is one. */
static void test_frame_in_pieces(void **state)
{
	struct preface p = { .kind = PREFACE_PARK, .stream = THEIRS };
	struct rig *rig = rig_signed_in();
	struct buf b;

	buf_init(&b, 8192);
	preface_print(&p, &b);
	for (size_t i = 0; i < b.n; i++) {
		assert_int_equal(rig->n_back, 0);
		bytes_from_e(rig, (struct slice){ b.p + i, 1 });
	}
	assert_int_equal(rig->n_back, 1);
	buf_fini(&b);
	rig_free(rig);
}

/* The server has ended before: the end is the answer. */
static void test_park_crosses_the_end(void **state)
{
	struct rig *rig = rig_signed_in();

	from_server(rig, 0, "</stream:stream>");
	frame_from_e(rig, PREFACE_PARK, THEIRS, "");
	assert_string_equal(text_of(&rig->e), "</stream:stream>");
	assert_int_equal(rig->n_back, 0);
	from_e(rig, "</stream:stream>");
	assert_over(rig);
	rig_free(rig);
}

/* E parks and hangs up: it will never know our name of the stream. */
static void test_park_and_hang_up(void **state)
{
	struct preface p = { .kind = PREFACE_PARK, .stream = THEIRS };
	struct rig *rig = rig_signed_in();
	struct buf b;

	buf_init(&b, 8192);
	preface_print(&p, &b);
	evbuffer_add(stream_out(rig->e.s), b.p, b.n);
	stream_close(rig->e.s);
	rig->e.s = NULL;
	settle(rig);
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(rig->n_back, 0);
	assert_true(rig->legs[0].eof);
	buf_fini(&b);
	rig_free(rig);
}

/* --- memory --- */

static void run_once(void *arg)
{
	struct rig *rig = *(struct rig **)arg;
	struct stream *pair[2];
	uint64_t id;

	for (size_t i = 0; i < rig->n_legs; i++) {
		stream_close(rig->legs[i].s);
		buf_fini(&rig->legs[i].got);
	}
	rig->n_legs = 0;
	rig->resume_done = NULL;
	stream_close(rig->e.s);
	buf_fini(&rig->e.got);
	rig->e = (struct side){ 0 };
	if (stream_pair_new(rig->env.loop, pair) < 0)
		return;
	side_init(&rig->e, rig, pair[1], -1);
	c2s_core_take(rig->core, 1, &rig->preface, pair[0]);
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	from_e(rig, E_HEAD_OF("alice"));
	forget(&rig->e);
	frame_from_e(rig, PREFACE_PARK, THEIRS, "");
	id = parked_id(rig);
	if (rig->n_legs > 0)
		from_server(rig, rig->n_legs - 1, NEWS);
	if (rig->resume_done)
		answer(rig, 0);
	resume_as(rig, 1, id, MESSAGE);
	frame_from_e(rig, PREFACE_PARK, THEIRS, "");
	if (rig->n_legs > 0)
		from_server(rig, rig->n_legs - 1, "</stream:stream>");
	wait_ms(rig, 100 * 1000);
	c2s_core_end(rig->core, 1, id, true);
	wait_ms(rig, 100 * 1000);
	c2s_core_peer_lost(rig->core, 1);
	stream_close(rig->e.s);
	rig->e.s = NULL;
	wait_ms(rig, 100 * 1000);
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(c2s_core_parked(rig->core), 0);
}

static void test_without_memory(void **state)
{
	struct rig *rig = rig_new();

	alloc_fail_sweep(run_once, &rig);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_e_speaks),
		cmocka_unit_test(test_the_server_speaks),
		cmocka_unit_test(test_both_at_once),
		cmocka_unit_test(test_what_is_not_wanted_closes),
		cmocka_unit_test(test_crossing),
		cmocka_unit_test(test_spaces_wake_nobody),
		cmocka_unit_test(test_flood_while_parked),
		cmocka_unit_test(test_asking_fails),
		cmocka_unit_test(test_call_is_lost),
		cmocka_unit_test(test_too_many_ask),
		cmocka_unit_test(test_e_promises_and_does_not_come),
		cmocka_unit_test(test_strangers_resume_nothing),
		cmocka_unit_test(test_names_of_the_daemon_before),
		cmocka_unit_test(test_the_client_ends),
		cmocka_unit_test(test_the_client_ends_and_the_server_says_nothing),
		cmocka_unit_test(test_the_client_ends_while_e_is_asked),
		cmocka_unit_test(test_the_client_is_gone),
		cmocka_unit_test(test_the_server_ends),
		cmocka_unit_test(test_both_end),
		cmocka_unit_test(test_the_server_errs),
		cmocka_unit_test(test_the_server_is_lost),
		cmocka_unit_test(test_e_is_lost),
		cmocka_unit_test(test_e_is_lost_for_those_that_stand),
		cmocka_unit_test(test_ended_here),
		cmocka_unit_test(test_ended_here_twice),
		cmocka_unit_test(test_settings_change),
		cmocka_unit_test(test_the_daemon_stops),
		cmocka_unit_test(test_frames_out_of_place),
		cmocka_unit_test(test_frame_in_an_element),
		cmocka_unit_test(test_frame_in_pieces),
		cmocka_unit_test(test_park_crosses_the_end),
		cmocka_unit_test(test_park_and_hang_up),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("xmpp_c2s_core_park", tests, NULL, NULL);
}
