/*
 * A signed-in stream that is quiet needs no connection of the link, which is most of its memory on
 * this box. It gives it back when both sides agree that nothing is under way, and takes one again
 * when somebody has something to say (docs/protocol/xmpp-link.md section 4):
 *
 *   RELAY --quiet for park-after, "park"--> PARKING                       [c2s_park_tick]
 *   PARKING --"parked"--> PARKED; --end or error of C--> RELAY            [c2s_link_frame,
 * c2s_unpark] PARKING --no answer--> OVER                                           [c2s_park_tick]
 *   PARKED --client's stanza, C's call--> RESUMING                        [c2s_resume]
 *   RESUMING --link, "resume"--> RELAY; --none comes--> OVER              [resumed]
 *
 * When the client goes meanwhile, C hears it over the control channel; what the client has said
 * before, and a "park" that is under way, are waited for.
 */
#include <errno.h>

#include "core/log.h"
#include "xmpp/c2s_edge_impl.h"
#include "xmpp/park_call.h"

#define ANSWER_MS 10000 /* for "parked", beside the time that a server may take to read */
#define LOOK_MS	  1000	/* quiet, but something is under way */
#define RETRY_MS  500	/* too many wait */
#define RESUME_MS 30000 /* everybody may want a connection at once */

#define LINK_DOC "docs/protocol/xmpp-link.md"

static struct timerq *timers(const struct c2s *c)
{
	return loop_timers(c->edge->env->loop);
}

static int64_t now_ms(const struct c2s *c)
{
	return timers(c)->now_ms;
}

/* C reads "park" behind all that the client said. */
static int64_t answer_ms(const struct c2s *c)
{
	return (int64_t)c->edge->conf.send_timeout_ms + ANSWER_MS;
}

static void note(const struct c2s *c, const char *code)
{
	log_debug(c->edge->env->log, code, "session=%s", c->conn.session);
}

/* C has no parked stream of this name any more. */
static void forget_theirs(struct c2s *c)
{
	if (c->their_id)
		c->edge->stats.n_parked--;
	c->their_id = 0;
}

static void tell_end(struct c2s *c, bool proper)
{
	uint64_t id = c->their_id;

	forget_theirs(c);
	if (id && c->peer)
		c->edge->ops->end(c->edge->arg, c->peer, id, proper);
}

/* --- quiet --- */

void c2s_park_arm(struct c2s *c)
{
	int64_t park_ms = c->edge->conf.park_ms;

	if (c->state != C2S_RELAY || park_ms == 0)
		return;
	if (c->active_ms == 0)
		c->active_ms = now_ms(c);
	timer_start(timers(c), &c->timer, c->active_ms + park_ms - now_ms(c));
}

/* A box that stops gets no new connections: nobody gives one away. */
static bool may_park(const struct c2s *c)
{
	return !c->client_ended && !c->server_ended && !c->client_is_full && !c->link_is_full &&
	       !c->edge->draining && xmpp_header_sent(c->client) && xmpp_is_at_rest(c->link);
}

static bool say_park(struct c2s *c)
{
	struct preface p = { .kind = PREFACE_PARK };

	if (!c->id)
		c->id = idtab_add(&c->edge->ids, c);
	if (!c->id)
		return false;
	p.stream = c->id ^ c->edge->salt;
	return park_say(c->link, &p);
}

static void look(struct c2s *c)
{
	if (now_ms(c) - c->active_ms < c->edge->conf.park_ms) {
		c2s_park_arm(c);
	} else if (!may_park(c) || !say_park(c)) {
		timer_start(timers(c), &c->timer, LOOK_MS);
	} else {
		c->wanted = false;
		c2s_set_state(c, C2S_PARKING);
		c2s_lock(c);
		timer_start(timers(c), &c->timer, answer_ms(c));
	}
}

void c2s_unpark(struct c2s *c)
{
	if (c->state != C2S_PARKING)
		return;
	timer_stop(timers(c), &c->timer);
	c2s_set_state(c, C2S_RELAY);
}

/* --- what C answers --- */

/* The link is what has gone wrong: no word more on it. */
static void breach(struct c2s *c, const char *why)
{
	c2s_trace(c, "xmpp.link.protocol", LINK_DOC, "%s", why);
	xmpp_cut(c->link);
	if (c->state == C2S_OVER)
		loop_defer(c->edge->env->loop, &c->later);
	else
		c2s_link_lost(c, why);
}

static void parked(struct c2s *c, const struct preface *p, struct stream *s)
{
	struct c2s_edge *edge = c->edge;

	timer_stop(timers(c), &c->timer);
	c->their_id = p->stream;
	edge->stats.n_parked++;
	if (!p->keep) {
		stream_close(s);
		heap_freed(&edge->heap, LINK_CONN_BYTES);
	} else if (s) {
		edge->ops->give_back(edge->arg, s);
	}
	if (c->state == C2S_OVER) {
		tell_end(c, c->ends_proper);
		loop_defer(edge->env->loop, &c->later);
		return;
	}
	c2s_set_state(c, C2S_PARKED);
	note(c, "xmpp.c2s.parked");
	if (c->wanted)
		c2s_resume(c);
	else
		c2s_unlock(c);
}

int c2s_link_frame(void *arg, struct slice bytes)
{
	struct c2s *c = arg;
	const char *why = "C sent a frame that nobody waits for";
	bool waits = c->state == C2S_PARKING || c->state == C2S_OVER;
	struct preface p;
	struct stream *s;
	int used = waits ? preface_parse(bytes, &p, &why) : -EBADMSG;

	if (used > 0 && p.kind != PREFACE_PARKED) {
		why = "C sent another frame than parked";
		used = -EBADMSG;
	} else if (used > 0 && ((size_t)used < bytes.n || !xmpp_leave(c->link, &s))) {
		why = "C spoke behind its last word";
		used = -EBADMSG;
	}
	if (used < 0)
		breach(c, why);
	else if (used > 0)
		parked(c, &p, s);
	return used;
}

/* --- taking a connection again --- */

static void resumed(void *ctx, struct stream *s, const char *why);

static void ask_for_link(struct c2s *c)
{
	struct c2s_edge *edge = c->edge;
	struct preface p = { .kind = PREFACE_RESUME, .stream = c->their_id };

	slice_copy(p.session, sizeof(p.session), slice_of(c->conn.session));
	c->take_id = edge->ops->take(edge->arg, c->peer, &p, RESUME_MS, resumed, c);
	if (!c->take_id)
		timer_start(timers(c), &c->timer, RETRY_MS);
}

static void begin_resuming(struct c2s *c)
{
	c->active_ms = now_ms(c);
	ask_for_link(c);
}

void c2s_resume(struct c2s *c)
{
	if (c->state == C2S_PARKING)
		c->wanted = true;
	if (c->state != C2S_PARKED)
		return;
	c2s_set_state(c, C2S_RESUMING);
	c2s_lock(c);
	begin_resuming(c);
}

void c2s_link_wanted(void *arg)
{
	c2s_resume(arg);
}

/* OVER: nothing more can be said. */
static void give_up(struct c2s *c)
{
	xmpp_cut(c->link);
	tell_end(c, c->ends_proper);
	loop_defer(c->edge->env->loop, &c->later);
}

/* No connection comes. C is told, for it may be there. */
static void not_resumed(struct c2s *c, const char *why)
{
	if (c->state == C2S_OVER) {
		give_up(c);
		return;
	}
	xmpp_cut(c->link); /* what waits is lost */
	c2s_link_lost(c, why);
}

/* OVER: the last words are out. */
static void part(struct c2s *c)
{
	c->farewell = false;
	c2s_leave_link(c, c->ends_proper);
	if (!c->farewell)
		loop_defer(c->edge->env->loop, &c->later);
}

static void resumed(void *ctx, struct stream *s, const char *why)
{
	struct c2s *c = ctx;

	c->take_id = 0;
	if (!s) {
		not_resumed(c, why ? why : "none");
		return;
	}
	forget_theirs(c);
	xmpp_attach(c->link, s);
	if (c->state == C2S_OVER) {
		part(c);
		return;
	}
	c->active_ms = now_ms(c);
	c2s_set_state(c, C2S_RELAY);
	note(c, "xmpp.c2s.resumed");
	c2s_park_arm(c);
	c2s_unlock(c);
}

static void try_again(struct c2s *c)
{
	if (now_ms(c) - c->active_ms >= RESUME_MS)
		not_resumed(c, "too many wait for a connection to the inside");
	else
		ask_for_link(c);
}

/* --- the client is gone --- */

static void last_frame_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition,
			      const char *why)
{
	struct c2s *c = arg;

	loop_defer(c->edge->env->loop, &c->later);
}

static void no_header(void *arg, const struct xmpp_header *h)
{
}

static void no_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
}

/* PARKING, PARKED or RESUMING before. */
static const struct xmpp_stream_handler parting_handler = {
	.header = no_header,
	.element = no_element,
	.frame = c2s_link_frame,
	.closed = last_frame_closed,
};

static void wait_for_parked(struct c2s *c)
{
	xmpp_stream_set_handler(c->link, &parting_handler, c);
	c->farewell = true;
	timer_start(timers(c), &c->timer, answer_ms(c));
	if (c->client_is_full)
		xmpp_resume(c->link);
}

void c2s_leave_parked(struct c2s *c, enum c2s_state was, bool proper)
{
	struct c2s_edge *edge = c->edge;

	c->ends_proper = proper;
	if (was == C2S_PARKING) {
		if (c->peer && xmpp_socket(c->link))
			wait_for_parked(c);
		else
			xmpp_cut(c->link);
		return;
	}
	if (c->their_id && c->peer && xmpp_has_waiting(c->link)) {
		/* What the client said before it went is brought in. */
		xmpp_stream_set_handler(c->link, &parting_handler, c);
		c->farewell = true;
		if (was == C2S_PARKED)
			begin_resuming(c);
		else if (!c->take_id)
			timer_start(timers(c), &c->timer, RETRY_MS);
		return;
	}
	if (c->take_id)
		edge->ops->cancel(edge->arg, c->take_id);
	c->take_id = 0;
	tell_end(c, proper);
}

void c2s_forget_peer(struct c2s *c)
{
	forget_theirs(c);
	c->peer = 0;
	if (c->state != C2S_OVER || !c->farewell)
		return;
	if (c->take_id)
		c->edge->ops->cancel(c->edge->arg, c->take_id);
	c->take_id = 0;
	give_up(c);
}

/* --- time --- */

void c2s_park_tick(struct c2s *c)
{
	if (c->state == C2S_RELAY) {
		look(c);
	} else if (c->state == C2S_PARKING) {
		xmpp_cut(c->link);
		c2s_link_lost(c, "C does not answer that the stream parks");
	} else if (c->state == C2S_RESUMING || xmpp_is_parked(c->link)) {
		try_again(c);
	} else {
		give_up(c);
	}
}

/* --- what C asks over the control channel --- */

static struct c2s *find(const struct c2s_edge *edge, tunnel_peer from, uint64_t stream)
{
	struct c2s *c = idtab_get(&edge->ids, stream ^ edge->salt);

	return c && from && c->peer == from ? c : NULL;
}

int c2s_edge_resume(struct c2s_edge *edge, tunnel_peer from, uint64_t stream)
{
	struct c2s *c = find(edge, from, stream);

	if (!c)
		return -ENOENT;
	/* In other states a connection is on its way already, or the end is. */
	c2s_resume(c);
	return 0;
}

int c2s_edge_cut(struct c2s_edge *edge, tunnel_peer from, uint64_t stream)
{
	struct c2s *c = find(edge, from, stream);

	if (!c || c->state == C2S_OVER || c->state < C2S_PARKING)
		return -ENOENT;
	forget_theirs(c);
	xmpp_cut(c->link);
	c2s_link_lost(c, "C has lost the parked stream");
	return 0;
}
