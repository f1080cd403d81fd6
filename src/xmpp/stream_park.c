/* Streams that go on without a socket: leaving it, and taking another one. What is sent meanwhile
 * stands in x->print. */
#include "xmpp/stream_impl.h"

bool xmpp_is_at_rest(const struct xmpp_stream *x)
{
	return x->s && x->state == XMPP_OPEN && !x->gone && !x->broken && !x->peer_ended &&
	       x->n_pauses == 0 && x->s->state == STREAM_OPEN && !stream_eof(x->s) &&
	       evbuffer_get_length(stream_in(x->s)) == 0 &&
	       evbuffer_get_length(stream_out(x->s)) == 0 && xml_stream_pending(x->xml) == 0;
}

bool xmpp_send_frame(struct xmpp_stream *x, struct slice frame)
{
	if (!xmpp_can_send(x) || x->parked || evbuffer_add(stream_out(x->s), frame.p, frame.n) < 0)
		return false;
	x->stats.out_bytes += frame.n;
	stream_flush(x->s);
	return true;
}

bool xmpp_leave(struct xmpp_stream *x, struct stream **s)
{
	if (!x->s || x->state != XMPP_OPEN || x->broken || evbuffer_get_length(stream_in(x->s)) > 0)
		return false;
	*s = x->gone ? NULL : x->s;
	if (*s)
		stream_set_handler(*s, NULL, NULL);
	x->s = NULL;
	x->gone = x->look = x->asked = false;
	x->parked = true;
	x->send_look_ms = x->shaped_until_ms = 0;
	timer_stop(x->timers, &x->timer);
	buf_fini(&x->print);
	x->asleep = true;
	return true;
}

void xmpp_attach(struct xmpp_stream *x, struct stream *s)
{
	bool was_full = x->told_full;

	if (!x->parked) {
		stream_close(s);
		return;
	}
	x->s = s;
	x->parked = x->asked = x->ask = x->told_full = false;
	x->quiet_since_ms = xmpp_now_ms(x);
	x->end_by_ms = xmpp_now_ms(x) + XMPP_END_WAIT_MS;
	stream_set_handler(s, &xmpp_socket_handler, x);
	if (x->print.n > 0)
		xmpp_queue(x);
	if (x->last) {
		stream_close(xmpp_leave_socket(x));
		return;
	}
	x->has_room = was_full && !stream_is_full(s);
	x->look = evbuffer_get_length(stream_in(s)) > 0 || stream_eof(s);
	xmpp_wake(x);
}

bool xmpp_is_parked(const struct xmpp_stream *x)
{
	return x->parked;
}

bool xmpp_has_waiting(const struct xmpp_stream *x)
{
	return x->parked && (x->print.n > 0 || x->last);
}
