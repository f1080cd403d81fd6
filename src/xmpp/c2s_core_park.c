/*
 * Streams that E has parked: the inner leg stands, the connection of the link is given back
 * (docs/protocol/xmpp-link.md section 4). What the server says waits until E has brought another
 * one, for which it is asked over the control channel.
 *
 *   RELAY --"park", answered "parked"--> parked                 [core_outer_frame]
 *   parked --the server speaks, ends--> E is asked --"resume"--> RELAY, ENDING
 *                                                    [core_outer_wanted, c2s_core_resume]
 *   parked --an error for E--> LEAVING --"resume"--> OVER       [core_last_words]
 *   parked --E's client ends, is gone--> ENDING, OVER           [c2s_core_end]
 *   parked --E does not know it, does not come--> OVER          [lost]
 *
 * An E that parks a stream and forgets it leaves it here until the server says something.
 */
#include <errno.h>
#include <stdio.h>

#include "core/log.h"
#include "core/trace.h"
#include "xmpp/c2s_core_impl.h"
#include "xmpp/park_call.h"

#define RETRY_MS 500   /* too many calls at once, or this one was lost */
#define COMES_MS 35000 /* from E's answer to its connection */

#define LINK_DOC "docs/protocol/xmpp-link.md"

static struct timerq *timers(const struct core_stream *s)
{
	return loop_timers(s->core->env->loop);
}

static void note(const struct core_stream *s, const char *code)
{
	log_debug(s->core->env->log, code, "session=%s user=%s", s->conn.session,
		  log_esc(slice_of(s->conn.user)));
}

void core_forget_parked(struct core_stream *s)
{
	if (!s->their_id)
		return;
	s->their_id = 0;
	s->core->n_parked--;
	timer_stop(timers(s), &s->timer);
	if (s->call_id)
		s->core->ops->cancel_resume(s->core->arg, s->call_id);
	s->call_id = 0;
	s->asking = CORE_ASKED_NOT;
}

/* --- parking --- */

static bool say_parked(struct core_stream *s, bool keep)
{
	struct preface p = { .kind = PREFACE_PARKED, .keep = keep };

	if (!s->id)
		s->id = idtab_add(&s->core->ids, s);
	if (!s->id)
		return false;
	p.stream = s->id ^ s->core->salt;
	return park_say(s->outer, &p);
}

static void park(struct core_stream *s, uint64_t their_id)
{
	bool keep = s->core->ops->keeps(s->core->arg, xmpp_socket(s->outer));
	struct stream *socket;

	if (!say_parked(s, keep)) {
		core_fail(s, XMPP_RESOURCE_CONSTRAINT, "xmpp.core.memory", NULL, "out of memory");
		return;
	}
	if (!xmpp_leave(s->outer, &socket)) {
		core_fail(s, XMPP_POLICY_VIOLATION, "xmpp.link.protocol", LINK_DOC,
			  "E spoke behind park");
		return;
	}
	s->their_id = their_id;
	s->core->n_parked++;
	s->conn.parent = 0;
	core_set_state(s, CORE_RELAY);
	note(s, "xmpp.core.parked");
	if (keep) {
		s->core->ops->give_back(s->core->arg, socket);
	} else {
		stream_close(socket);
		heap_freed(&s->core->heap, LINK_CONN_BYTES);
	}
	/* What was full is empty. */
	core_relay_outer_room(s);
}

/* Its connection has ended behind the frame: E will not hear an answer. */
static bool is_going(const struct core_stream *s)
{
	const struct stream *socket = xmpp_socket(s->outer);

	return !socket || stream_eof(socket);
}

int core_outer_frame(void *arg, struct slice bytes)
{
	struct core_stream *s = arg;
	const char *why = "E parks a stream on which nobody has signed in";
	bool relays = s->state == CORE_RELAY && !s->header_due;
	struct preface p;
	int used = -EBADMSG;

	if (relays || s->state == CORE_ENDING)
		used = preface_parse(bytes, &p, &why);
	if (used > 0 && p.kind != PREFACE_PARK) {
		why = "E sent another frame than park";
		used = -EBADMSG;
	} else if (used > 0 && (size_t)used < bytes.n) {
		why = "E spoke behind park";
		used = -EBADMSG;
	}
	if (used < 0)
		core_fail(s, XMPP_POLICY_VIOLATION, "xmpp.link.protocol", LINK_DOC, "%s", why);
	else if (used > 0 && relays && !is_going(s))
		park(s, p.stream);
	/* The end that is under way answers it else. */
	return used;
}

/* --- something to say --- */

static const char *why_not(int status)
{
	switch (status) {
	case -ENOENT:
		return "E does not know the parked stream any more";
	case -EPIPE:
		return "the tunnel to E is down";
	case -ETIMEDOUT:
		return "E does not answer";
	default:
		return "E cannot be asked for a connection";
	}
}

static void lost(struct core_stream *s, int status, const char *why)
{
	core_trace(s, "xmpp.core.not-resumed", LINK_DOC, "%s", why);
	if (status == -ENOENT || status == -EPIPE)
		core_forget_parked(s);
	core_cut(s, why);
}

static void answered(void *ctx, int status, const json_t *value);

static void ask(struct core_stream *s)
{
	int error = 0;

	s->call_id = s->core->ops->resume(s->core->arg, s->from, s->their_id, answered, s, &error);
	if (s->call_id)
		return;
	if (error == -EAGAIN && timers(s)->now_ms - s->asked_ms < COMES_MS)
		timer_start(timers(s), &s->timer, RETRY_MS);
	else
		lost(s, error, why_not(error));
}

static void answered(void *ctx, int status, const json_t *value)
{
	struct core_stream *s = ctx;

	s->call_id = 0;
	if (status == 0) {
		s->asking = CORE_COMES;
		timer_start(timers(s), &s->timer, COMES_MS);
	} else if (park_call_unheard(status) && timers(s)->now_ms - s->asked_ms < COMES_MS) {
		timer_start(timers(s), &s->timer, RETRY_MS);
	} else {
		lost(s, status, why_not(status));
	}
}

void core_park_tick(struct core_stream *s)
{
	if (s->asking == CORE_COMES)
		lost(s, 0, "E brings no connection for the parked stream");
	else
		ask(s);
}

void core_outer_wanted(void *arg)
{
	struct core_stream *s = arg;

	if (!s->their_id || s->asking != CORE_ASKED_NOT)
		return;
	if (s->inner && !s->inner_paused) {
		s->inner_paused = true;
		xmpp_pause(s->inner);
	}
	s->asking = CORE_ASKS;
	s->asked_ms = timers(s)->now_ms;
	ask(s);
}

void core_last_words(struct core_stream *s, const char *why)
{
	core_drop_inner(s);
	core_set_state(s, CORE_LEAVING);
	slice_copy(s->conn.reason, sizeof(s->conn.reason), slice_of(why));
}

/* --- what E says --- */

static void enter_link(struct core_stream *s, uint64_t conn_id)
{
	struct conn *link = conn_get(s->core->env->conns, conn_id);

	s->conn.parent = conn_id;
	if (link)
		slice_copy(link->session, sizeof(link->session), slice_of(s->conn.session));
}

void c2s_core_resume(struct c2s_core *c, tunnel_peer from, const struct preface *p,
		     struct stream *socket)
{
	struct core_stream *s = idtab_get(&c->ids, p->stream ^ c->salt);
	char why[CONN_REASON_BYTES];

	if (!s || s->from != from || !s->their_id) {
		trace_add(c->env->trace, "xmpp.core.unknown-stream", LINK_DOC, NULL, NULL,
			  "E resumes a stream that is not parked here: it ended meanwhile");
		stream_close(socket);
		return;
	}
	core_forget_parked(s);
	enter_link(s, socket->conn_id);
	xmpp_attach(s->outer, socket);
	if (s->state == CORE_LEAVING) {
		slice_copy(why, sizeof(why), slice_of(s->conn.reason));
		core_over(s, why);
		return;
	}
	core_set_state(s, s->state);
	note(s, "xmpp.core.resumed");
	if (!xmpp_is_full(s->outer))
		core_relay_outer_room(s);
}

static void end_inner(struct core_stream *s)
{
	xmpp_cut(s->outer);
	core_set_state(s, CORE_ENDING);
	xmpp_end(s->inner);
	core_relay_outer_room(s);
}

int c2s_core_end(struct c2s_core *c, tunnel_peer from, uint64_t stream, bool proper)
{
	struct core_stream *s = idtab_get(&c->ids, stream ^ c->salt);

	if (!s || s->from != from || !s->their_id)
		return -ENOENT;
	core_forget_parked(s);
	if (proper && s->inner)
		end_inner(s);
	else
		core_over(s, proper ? "ended by the client" : "client gone");
	return 0;
}

void c2s_core_peer_lost(struct c2s_core *c, tunnel_peer peer)
{
	LIST_FOREACH_SAFE (it, &c->streams) {
		struct core_stream *s = CONTAINER_OF(it, struct core_stream, node);

		if (s->from != peer || !s->their_id)
			continue;
		core_forget_parked(s);
		core_trace(s, "xmpp.core.not-resumed", "[tunnel-peer]", "the tunnel to E is down");
		core_cut(s, "the tunnel to E is down");
	}
}

size_t c2s_core_parked(const struct c2s_core *c)
{
	return c->n_parked;
}
