/* What all streams have in common: states, callbacks, the marks of back-pressure. */
#include "core/stream.h"

void stream_consumed(struct stream *s)
{
	if (s->state != STREAM_OPEN)
		return;
	if ((s->read_paused && evbuffer_get_length(s->in) < STREAM_HIGH_BYTES) ||
	    (s->eof && s->shut))
		s->ops->want_read(s);
}

void stream_flush(struct stream *s)
{
	if (s->state == STREAM_OPEN)
		s->ops->flush(s);
}

bool stream_is_full(struct stream *s)
{
	if (evbuffer_get_length(s->out) < STREAM_HIGH_BYTES)
		return false;
	s->was_full = true;
	return true;
}

void stream_shutdown(struct stream *s)
{
	if (s->shut || s->state == STREAM_CLOSED)
		return;
	s->shut = true;
	if (s->state == STREAM_OPEN)
		s->ops->shutdown(s);
}

static void tell_watch(struct stream *s, const char *why)
{
	struct stream_watch *w = s->watch;

	s->watch = NULL;
	if (w)
		w->ended(w, why);
}

static void end(struct stream *s, bool now)
{
	if (!s || s->state == STREAM_CLOSED)
		return;
	s->handler = NULL;
	/* The implementation still sees whether it was open. */
	s->ops->close(s, now);
	s->state = STREAM_CLOSED;
	tell_watch(s, "closed here");
}

void stream_close(struct stream *s)
{
	end(s, false);
}

void stream_abort(struct stream *s)
{
	end(s, true);
}

void stream_break(struct stream *s, const char *why)
{
	const struct stream_handler *h = s->handler;

	if (s->state == STREAM_CLOSED)
		return;
	s->handler = NULL;
	s->ops->close(s, true);
	s->state = STREAM_CLOSED;
	if (h)
		h->closed(s->arg, STREAM_END_ERROR, why);
	tell_watch(s, why);
}

void stream_is_open(struct stream *s)
{
	if (s->state != STREAM_OPENING)
		return;
	s->state = STREAM_OPEN;
	if (s->handler && s->handler->opened)
		s->handler->opened(s->arg);
	/* What was written and said before. */
	if (s->state == STREAM_OPEN && evbuffer_get_length(s->out) > 0)
		s->ops->flush(s);
	if (s->state == STREAM_OPEN && s->shut)
		s->ops->shutdown(s);
}

void stream_got(struct stream *s)
{
	if (s->state == STREAM_OPEN && s->handler)
		s->handler->readable(s->arg);
}

void stream_drained(struct stream *s)
{
	if (!s->was_full || evbuffer_get_length(s->out) > STREAM_LOW_BYTES)
		return;
	s->was_full = false;
	if (s->state == STREAM_OPEN && s->handler && s->handler->writable)
		s->handler->writable(s->arg);
}

void stream_is_closed(struct stream *s, enum stream_end how, const char *why)
{
	const struct stream_handler *h = s->handler;

	if (s->state == STREAM_CLOSED)
		return;
	s->state = STREAM_CLOSED;
	s->handler = NULL;
	if (h)
		h->closed(s->arg, how, why);
	tell_watch(s, why);
}

bool stream_is_over(const struct stream *s)
{
	return s->state == STREAM_OPEN && s->eof && s->shut && evbuffer_get_length(s->in) == 0 &&
	       evbuffer_get_length(s->out) == 0;
}
