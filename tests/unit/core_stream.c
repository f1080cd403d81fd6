/* Streams in memory: states, ends and back-pressure that every kind of stream has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/list.h"
#include "core/loop.h"
#include "core/stream_pair.h"
#include "support/alloc_fail.h"

struct side {
	struct stream *s;
	struct evbuffer *got;
	bool eats;	     /* takes all of the input at once */
	bool closes, aborts; /* in readable */
	bool answers_end;    /* stream_shutdown() at the peer's end */
	unsigned n_readable, n_writable, n_closed;
	bool eof;
	enum stream_end end;
	char why[64];
	size_t left; /* unread when closed was called */
};

static void on_readable(void *arg)
{
	struct side *x = arg;

	x->n_readable++;
	x->eof = stream_eof(x->s);
	if (x->closes || x->aborts) {
		if (x->aborts)
			stream_abort(x->s);
		else
			stream_close(x->s);
		x->s = NULL;
		return;
	}
	if (x->eats) {
		evbuffer_add_buffer(x->got, stream_in(x->s));
		stream_consumed(x->s);
	}
	if (x->eof && x->answers_end)
		stream_shutdown(x->s);
}

static void on_writable(void *arg)
{
	((struct side *)arg)->n_writable++;
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct side *x = arg;

	x->n_closed++;
	x->end = end;
	snprintf(x->why, sizeof(x->why), "%s", why);
	x->left = evbuffer_get_length(stream_in(x->s));
	stream_close(x->s); /* does no harm */
	x->s = NULL;
}

static const struct stream_handler handler = {
	.readable = on_readable,
	.writable = on_writable,
	.closed = on_closed,
};

struct fixture {
	struct loop *loop;
	struct side a, b;
};

static int set_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct stream *pair[2];

	fx->loop = loop_new();
	assert_non_null(fx->loop);
	assert_int_equal(stream_pair_new(fx->loop, pair), 0);
	fx->a.s = pair[0];
	fx->b.s = pair[1];
	fx->a.got = evbuffer_new();
	fx->b.got = evbuffer_new();
	fx->a.eats = fx->b.eats = true;
	stream_set_handler(pair[0], &handler, &fx->a);
	stream_set_handler(pair[1], &handler, &fx->b);
	*state = fx;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fx = *state;

	stream_close(fx->a.s);
	stream_close(fx->b.s);
	evbuffer_free(fx->a.got);
	evbuffer_free(fx->b.got);
	loop_free(fx->loop);
	free(fx);
	return 0;
}

static void turn(struct fixture *fx)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_once(fx->loop, 0), 0);
}

static void say(struct side *x, const char *text)
{
	evbuffer_add(stream_out(x->s), text, strlen(text));
	stream_flush(x->s);
}

static void got_is(struct side *x, const char *text)
{
	size_t n = evbuffer_get_length(x->got);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(evbuffer_pullup(x->got, -1), text, n);
	evbuffer_drain(x->got, n);
}

static void bytes_cross_at_the_end_of_the_turn(void **state)
{
	struct fixture *fx = *state;

	say(&fx->a, "to b");
	say(&fx->b, "to a");
	assert_int_equal(fx->b.n_readable, 0);
	turn(fx);
	got_is(&fx->b, "to b");
	got_is(&fx->a, "to a");
	assert_int_equal(fx->b.n_readable, 1);
	assert_false(fx->b.eof);
}

static void half_close(void **state)
{
	struct fixture *fx = *state;

	say(&fx->a, "last");
	stream_shutdown(fx->a.s);
	turn(fx);
	got_is(&fx->b, "last");
	assert_true(fx->b.eof);
	assert_int_equal(fx->b.n_closed, 0);
	/* The other direction goes on. */
	say(&fx->b, "answer");
	turn(fx);
	got_is(&fx->a, "answer");
	stream_shutdown(fx->b.s);
	turn(fx);
	assert_int_equal(fx->a.n_closed, 1);
	assert_int_equal(fx->a.end, STREAM_END_EOF);
	assert_int_equal(fx->b.end, STREAM_END_EOF);
}

static void the_end_waits_for_unread_bytes(void **state)
{
	struct fixture *fx = *state;

	fx->b.eats = false;
	stream_shutdown(fx->b.s);
	say(&fx->a, "unread");
	stream_shutdown(fx->a.s);
	turn(fx);
	assert_true(fx->b.eof);
	assert_int_equal(fx->a.n_closed, 1);
	assert_int_equal(fx->b.n_closed, 0);
	evbuffer_drain(stream_in(fx->b.s), 6);
	stream_consumed(fx->b.s);
	assert_int_equal(fx->b.n_closed, 0); /* not inside the call */
	turn(fx);
	assert_int_equal(fx->b.n_closed, 1);
	assert_int_equal(fx->b.end, STREAM_END_EOF);
}

static void close_delivers_what_was_written(void **state)
{
	struct fixture *fx = *state;

	fx->b.answers_end = true;
	say(&fx->a, "goodbye");
	stream_close(fx->a.s);
	fx->a.s = NULL;
	turn(fx);
	got_is(&fx->b, "goodbye");
	assert_true(fx->b.eof);
	assert_int_equal(fx->a.n_closed, 0);
	assert_int_equal(fx->b.end, STREAM_END_EOF);
}

static void abort_takes_it_away(void **state)
{
	struct fixture *fx = *state;

	say(&fx->a, "lost");
	stream_abort(fx->a.s);
	fx->a.s = NULL;
	turn(fx);
	got_is(&fx->b, "");
	assert_int_equal(fx->b.n_closed, 1);
	assert_int_equal(fx->b.end, STREAM_END_ERROR);
}

struct watcher {
	struct stream_watch watch;
	unsigned n;
	unsigned n_closed_then; /* what the owner had heard by then */
	struct side *of;
	char why[64];
};

static void on_ended(struct stream_watch *w, const char *why)
{
	struct watcher *x = CONTAINER_OF(w, struct watcher, watch);

	x->n++;
	x->n_closed_then = x->of->n_closed;
	snprintf(x->why, sizeof(x->why), "%s", why);
}

/* Whoever ends it: the watch hears it once, behind the owner. */
static void a_watch_hears_the_end(void **state)
{
	struct fixture *fx = *state;
	struct watcher a = { .watch = { on_ended }, .of = &fx->a };
	struct watcher b = { .watch = { on_ended }, .of = &fx->b };

	fx->a.s->watch = &a.watch;
	fx->b.s->watch = &b.watch;
	stream_abort(fx->a.s);
	fx->a.s = NULL;
	assert_int_equal(a.n, 1);
	assert_int_equal(a.n_closed_then, 0);
	assert_string_equal(a.why, "closed here");
	turn(fx);
	assert_int_equal(b.n, 1);
	assert_int_equal(b.n_closed_then, 1);
	assert_string_equal(b.why, fx->b.why);
	assert_int_equal(a.n, 1);
}

static void broken_by_somebody_else(void **state)
{
	struct fixture *fx = *state;
	struct watcher a = { .watch = { on_ended }, .of = &fx->a };
	struct stream *s = fx->a.s;

	s->watch = &a.watch;
	stream_break(s, "by the administrator");
	assert_int_equal(fx->a.n_closed, 1);
	assert_int_equal(fx->a.end, STREAM_END_ERROR);
	assert_string_equal(fx->a.why, "by the administrator");
	assert_int_equal(a.n, 1);
	assert_int_equal(a.n_closed_then, 1);
	stream_break(s, "again");
	assert_int_equal(fx->a.n_closed, 1);
	assert_int_equal(a.n, 1);
	turn(fx);
	assert_int_equal(fx->b.n_closed, 1);
	assert_int_equal(fx->b.end, STREAM_END_ERROR);
}

static void writing_to_one_that_is_gone(void **state)
{
	struct fixture *fx = *state;

	stream_close(fx->a.s);
	fx->a.s = NULL;
	turn(fx);
	assert_int_equal(fx->b.n_closed, 0);
	say(&fx->b, "anybody there?");
	turn(fx);
	assert_int_equal(fx->b.n_closed, 1);
	assert_int_equal(fx->b.end, STREAM_END_ERROR);
	assert_string_equal(fx->b.why, "closed by peer");
}

static void callbacks_may_close(void **state)
{
	struct fixture *fx = *state;

	fx->b.closes = true;
	say(&fx->a, "go");
	turn(fx);
	assert_null(fx->b.s);
	assert_true(fx->a.eof);
	fx->a.aborts = true;
	stream_flush(fx->a.s);
	turn(fx);
	assert_non_null(fx->a.s);
}

static void back_pressure(void **state)
{
	struct fixture *fx = *state;
	static char block[STREAM_HIGH_BYTES];

	fx->b.eats = false;
	assert_false(stream_is_full(fx->a.s));
	evbuffer_add(stream_out(fx->a.s), block, sizeof(block) - 1);
	assert_false(stream_is_full(fx->a.s));
	say(&fx->a, "x");
	assert_true(stream_is_full(fx->a.s));
	turn(fx);
	/* It fits exactly: there is room again, and the reader is not yet stopped. */
	assert_int_equal(fx->a.n_writable, 1);
	assert_int_equal(evbuffer_get_length(stream_in(fx->b.s)), STREAM_HIGH_BYTES);
	evbuffer_add(stream_out(fx->a.s), block, sizeof(block));
	stream_flush(fx->a.s);
	assert_true(stream_is_full(fx->a.s));
	turn(fx);
	assert_int_equal(evbuffer_get_length(stream_in(fx->b.s)), STREAM_HIGH_BYTES);
	assert_int_equal(fx->a.n_writable, 1);
	/* Room for all but STREAM_LOW_BYTES + 1. */
	evbuffer_drain(stream_in(fx->b.s), STREAM_HIGH_BYTES - STREAM_LOW_BYTES - 1);
	stream_consumed(fx->b.s);
	turn(fx);
	assert_int_equal(evbuffer_get_length(stream_out(fx->a.s)), STREAM_LOW_BYTES + 1);
	assert_int_equal(fx->a.n_writable, 1);
	evbuffer_drain(stream_in(fx->b.s), 1);
	stream_consumed(fx->b.s);
	turn(fx);
	assert_int_equal(fx->a.n_writable, 2);
	evbuffer_drain(stream_in(fx->b.s), STREAM_HIGH_BYTES);
	stream_consumed(fx->b.s);
	turn(fx);
	assert_int_equal(fx->a.n_writable, 2);
	assert_int_equal(evbuffer_get_length(stream_in(fx->b.s)), STREAM_LOW_BYTES);
}

static void one_without_memory(void *arg)
{
	struct loop *loop = arg;
	struct stream *pair[2];

	if (stream_pair_new(loop, pair) < 0)
		return;
	stream_close(pair[0]);
	stream_abort(pair[1]);
	loop_once(loop, 0);
}

static void without_memory(void **state)
{
	struct fixture *fx = *state;

	assert_in_range(alloc_fail_sweep(one_without_memory, fx->loop), 2, 20);
	stream_close(NULL);
	stream_abort(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_cross_at_the_end_of_the_turn, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(half_close, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_waits_for_unread_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(close_delivers_what_was_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(abort_takes_it_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_watch_hears_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(broken_by_somebody_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(writing_to_one_that_is_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(callbacks_may_close, set_up, tear_down),
		cmocka_unit_test_setup_teardown(back_pressure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
