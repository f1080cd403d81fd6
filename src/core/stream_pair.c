/*
 * Two streams joined in memory. Everything happens at the end of the loop's turn, as with a socket:
 * no callback runs inside the call that caused it.
 */
#include "core/stream_pair.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "core/loop.h"

struct pair;

struct pair_end {
	struct stream s;
	struct pair *pair;
	bool cut; /* the other side aborted, or this one wrote to one that is gone */
};

struct pair {
	struct pair_end ends[2];
	struct loop *loop;
	struct loop_deferred later;
};

static struct pair_end *end_of(struct stream *s)
{
	return CONTAINER_OF(s, struct pair_end, s);
}

static struct pair_end *other(struct pair_end *e)
{
	return &e->pair->ends[e == &e->pair->ends[0]];
}

static void later(struct pair_end *e)
{
	loop_defer(e->pair->loop, &e->pair->later);
}

/* Moves what there is room for. False when nothing moved. */
static bool move(struct pair_end *from, struct pair_end *to)
{
	size_t n = evbuffer_get_length(from->s.out), have = evbuffer_get_length(to->s.in);
	size_t room = have < STREAM_HIGH_BYTES ? STREAM_HIGH_BYTES - have : 0;

	if (n > room) {
		to->s.read_paused = true;
		n = room;
	} else {
		to->s.read_paused = false;
	}
	if (n == 0)
		return false;
	if (evbuffer_remove_buffer(from->s.out, to->s.in, n) < 0) {
		to->cut = true;
		return false;
	}
	return true;
}

/* One direction. */
static void carry(struct pair_end *from, struct pair_end *to)
{
	bool got;

	if (to->s.state == STREAM_CLOSED) {
		/* As a reset would: nobody will read it. */
		if (evbuffer_get_length(from->s.out) > 0)
			from->cut = true;
		return;
	}
	got = move(from, to);
	if (!to->s.eof && !to->cut && from->s.shut && evbuffer_get_length(from->s.out) == 0) {
		to->s.eof = true;
		got = true;
	}
	if (got)
		stream_got(&to->s);
	if (from->s.state == STREAM_OPEN)
		stream_drained(&from->s);
}

static void check_end(struct pair_end *e)
{
	if (e->s.state != STREAM_OPEN)
		return;
	if (e->cut)
		stream_is_closed(&e->s, STREAM_END_ERROR, "closed by peer");
	else if (stream_is_over(&e->s))
		stream_is_closed(&e->s, STREAM_END_EOF, "closed by peer");
}

static void pair_free(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		if (p->ends[i].s.in)
			evbuffer_free(p->ends[i].s.in);
		if (p->ends[i].s.out)
			evbuffer_free(p->ends[i].s.out);
	}
	free(p);
}

static void run(void *arg)
{
	struct pair *p = arg;
	struct pair_end *a = &p->ends[0], *b = &p->ends[1];

	carry(a, b);
	carry(b, a);
	check_end(a);
	check_end(b);
	if (a->s.state != STREAM_CLOSED || b->s.state != STREAM_CLOSED)
		return;
	/* A callback may have asked for another run. */
	loop_defer_cancel(&p->later);
	pair_free(p);
}

static void pair_later(struct stream *s)
{
	later(end_of(s));
}

static void pair_close(struct stream *s, bool now)
{
	struct pair_end *e = end_of(s);

	s->shut = true;
	if (now) {
		evbuffer_drain(s->out, evbuffer_get_length(s->out));
		other(e)->cut = true;
	}
	evbuffer_drain(s->in, evbuffer_get_length(s->in));
	later(e);
}

static const struct stream_ops pair_ops = {
	.flush = pair_later,
	.want_read = pair_later,
	.shutdown = pair_later,
	.close = pair_close,
};

int stream_pair_new(struct loop *loop, struct stream *out[2])
{
	struct pair *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->loop = loop;
	loop_deferred_init(&p->later, run, p);
	for (int i = 0; i < 2; i++) {
		p->ends[i].pair = p;
		p->ends[i].s.ops = &pair_ops;
		p->ends[i].s.state = STREAM_OPEN;
		p->ends[i].s.in = evbuffer_new();
		p->ends[i].s.out = evbuffer_new();
		if (!p->ends[i].s.in || !p->ends[i].s.out) {
			pair_free(p);
			return -ENOMEM;
		}
		out[i] = &p->ends[i].s;
	}
	return 0;
}
