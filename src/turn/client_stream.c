/*
 * Clients over TCP and TLS (RFC 8656 section 2.1, 12.5): frames out of a stream and into it.
 *
 *   OPEN --ConnectionBind--> the stream is the relay's, the entry ends
 *   OPEN --end of stream, garbage, idle, allocation over--> ENDED, freed at the end of the turn
 */
#include <stdlib.h>

#include "core/loop.h"
#include "core/trace.h"
#include "proto/turn.h"
#include "turn/edge_side.h"

#define FRAMES_A_TURN 256 /* of one client, then others have their turn */
/* Relayed data that waits for a client which takes less: over it, packets are dropped as on any
 * full line. Less than what makes a stream full, so that its requests are still answered. */
#define LOSSY_BYTES (64 * 1024)
#define LOOK_BYTES  20 /* turn_frame_look() knows with so many */
/* Who never had an allocation has proved nothing, and gets little memory: no request that leads to
 * one is longer, and so many answers wait only for somebody who takes none. */
#define STRANGER_FRAME_BYTES 4096
#define STRANGER_OUT_BYTES   (32 * 1024)

struct turn_stream {
	struct list node;
	struct turn_edge *edge;
	struct stream *stream; /* NULL: ENDED */
	struct turn_client client;
	struct conn conn;
	struct timer idle;
	struct loop_deferred later; /* read on, or free */
	bool had_allocation;	    /* when idle was armed */
	bool proved;		    /* had one at any time */
};

static void end(struct turn_stream *t, bool close, const char *why)
{
	struct turn_edge *e = t->edge;
	struct stream *s = t->stream;

	if (!s)
		return;
	t->stream = NULL;
	timer_stop(loop_timers(e->env->loop), &t->idle);
	if (e->server)
		turn_server_client_gone(e->server, &t->client, why);
	if (close)
		stream_close(s);
	conn_end(e->env->conns, &t->conn, "%s", why);
	loop_defer(e->env->loop, &t->later);
}

static void stream_free(struct turn_stream *t)
{
	loop_defer_cancel(&t->later);
	list_del(&t->node);
	free(t);
}

/* --- in --- */

static void bad_frame(struct turn_stream *t, const uint8_t *p, size_t n)
{
	char text[64];

	t->edge->n_stream_bad++;
	snprintf(text, sizeof(text), "no STUN message and no channel: %02x%02x...", p[0],
		 n > 1 ? p[1] : 0);
	trace_add(t->edge->env->trace, "turn.stream.bad", "RFC 8656 12.5", &t->client.remote, NULL,
		  "%s", text);
	end(t, true, text);
}

/* What nobody else could want: closed at once, with what waits. */
static void refuse_stranger(struct turn_stream *t, const char *why)
{
	struct stream *s = t->stream;

	t->edge->n_stream_bad++;
	trace_add(t->edge->env->trace, "turn.stream.stranger", "no allocation", &t->client.remote,
		  NULL, "%s", why);
	end(t, false, why);
	stream_abort(s);
}

static void give(struct turn_stream *t, uint8_t *p, size_t n, int64_t now_us)
{
	struct udp_packet pkt = { .p = p, .n = n, .from = t->client.remote, .now_us = now_us };

	t->conn.rx_packets++;
	t->conn.rx_bytes += n;
	turn_server_client_input(t->edge->server, &t->client, &pkt);
	t->proved = t->proved || t->client.alloc;
}

/* The frames that lie whole in the n bytes at p, at most *left. Returns how many bytes they have;
 * *need: what the next one has, 0: not to be told yet. After a STUN message it stops: the stream
 * may have become a relay's. */
static size_t give_frames(struct turn_stream *t, uint8_t *p, size_t n, unsigned *left, size_t *need)
{
	int64_t now_us = loop_now_ms(t->edge->env->loop) * 1000;
	size_t used = 0, len = 0;

	*need = 0;
	while (*left > 0 && used < n) {
		enum turn_frame kind = turn_frame_look(p + used, n - used,
						       t->edge->server_conf.last_channel, &len);

		/* Nobody begins with data; a third of all letters look like it. */
		if (kind == TURN_FRAME_BAD ||
		    (kind == TURN_FRAME_CHANNEL && t->conn.rx_packets == 0)) {
			bad_frame(t, p + used, n - used);
			return used;
		}
		if (kind == TURN_FRAME_MORE)
			return used;
		if (len > STRANGER_FRAME_BYTES && !t->proved) {
			refuse_stranger(t, "a message too long for who has no allocation");
			return used;
		}
		if (len > n - used) {
			*need = len;
			return used;
		}
		(*left)--;
		give(t, p + used, len, now_us);
		used += len;
		if (!t->stream || kind == TURN_FRAME_STUN)
			return used;
	}
	return used;
}

/* False: nothing more can be done with what is there. */
static bool read_some(struct turn_stream *t, unsigned *left)
{
	struct evbuffer *in = stream_in(t->stream);
	size_t total = evbuffer_get_length(in), n = evbuffer_get_contiguous_space(in), used, need;
	uint8_t *p;

	if (n < LOOK_BYTES && n < total)
		n = total < LOOK_BYTES ? total : LOOK_BYTES;
	p = evbuffer_pullup(in, (ev_ssize_t)n);
	if (!p)
		return false;
	used = give_frames(t, p, n, left, &need);
	if (!t->stream)
		return false;
	if (used > 0) {
		evbuffer_drain(in, used);
		if (turn_server_take_bound(t->edge->server, &t->client, t->stream)) {
			end(t, false, "bound to a TCP peer");
			return false;
		}
		return true;
	}
	/* A frame in pieces: brought together once, when all of it is there. */
	if (need > n && need <= total)
		return evbuffer_pullup(in, (ev_ssize_t)need) != NULL;
	return false;
}

static void read_frames(struct turn_stream *t)
{
	unsigned left = FRAMES_A_TURN;

	while (t->stream && evbuffer_get_length(stream_in(t->stream)) > 0) {
		if (!t->proved &&
		    evbuffer_get_length(stream_out(t->stream)) >= STRANGER_OUT_BYTES) {
			refuse_stranger(t, "asks without taking the answers");
			return;
		}
		/* Who does not take answers asks no more: writable goes on. */
		if (stream_is_full(t->stream))
			return;
		if (left == 0) {
			loop_defer(t->edge->env->loop, &t->later);
			break;
		}
		if (!read_some(t, &left))
			break;
	}
	if (!t->stream)
		return;
	if (stream_eof(t->stream) && left > 0)
		end(t, true, "closed by the client");
	else
		stream_consumed(t->stream);
}

static void on_later(void *arg)
{
	struct turn_stream *t = arg;

	if (t->stream)
		read_frames(t);
	else
		stream_free(t);
}

static void on_readable(void *arg)
{
	read_frames(arg);
}

static void on_closed(void *arg, enum stream_end how, const char *why)
{
	struct turn_stream *t = arg;

	/* Close during the callback does no harm, but there is nothing to close. */
	end(t, false, why);
}

static const struct stream_handler handler = { NULL, on_readable, on_readable, on_closed };

/* --- out --- */

bool turn_stream_send(const struct turn_client *c, const void *p, size_t n, bool lossy)
{
	struct turn_stream *t = c->io;
	size_t padding = turn_is_channel(p, n) ? turn_padding(n) : 0;
	struct evbuffer_iovec room;
	struct evbuffer *out;

	if (!t->stream)
		return false;
	out = stream_out(t->stream);
	if (lossy && evbuffer_get_length(out) >= LOSSY_BYTES) {
		t->conn.n_dropped++;
		t->edge->n_stream_dropped++;
		return false;
	}
	/* All of a frame or nothing: what follows half a one could not be told apart any more. */
	if (evbuffer_reserve_space(out, (ev_ssize_t)(n + padding), &room, 1) != 1)
		return false;
	memcpy(room.iov_base, p, n);
	memset((uint8_t *)room.iov_base + n, 0, padding);
	room.iov_len = n + padding;
	if (evbuffer_commit_space(out, &room, 1) < 0)
		return false;
	t->conn.tx_packets++;
	t->conn.tx_bytes += n + padding;
	stream_flush(t->stream);
	return true;
}

void turn_stream_over(const struct turn_client *c, const char *why)
{
	end(c->io, true, why);
}

/* --- life --- */

/* A period without an allocation, from beginning to end, is the end. */
static void on_idle(void *arg)
{
	struct turn_stream *t = arg;
	bool has = t->client.alloc != NULL;

	if (!has && !t->had_allocation) {
		end(t, true, "no allocation in time");
		return;
	}
	t->had_allocation = has;
	timer_start(loop_timers(t->edge->env->loop), &t->idle, t->edge->conf->idle_ms);
}

static void on_close(struct conn *c, const char *reason)
{
	end(CONTAINER_OF(c, struct turn_stream, conn), true, reason);
}

void turn_stream_take(struct turn_edge *e, struct stream *s)
{
	struct turn_stream *t = e->server ? calloc(1, sizeof(*t)) : NULL;

	if (!t) {
		stream_abort(s);
		return;
	}
	t->edge = e;
	t->stream = s;
	t->client.remote = s->remote;
	t->client.local = s->local;
	t->client.transport = s->is_tls ? TURN_TLS : TURN_TCP;
	t->client.io = t;
	t->conn.kind = CONN_TURN;
	t->conn.transport = s->is_tls ? CONN_TLS : CONN_TCP;
	t->conn.local = s->local;
	t->conn.remote = s->remote;
	t->conn.parent = s->conn_id;
	t->conn.state = "open";
	t->conn.close = on_close;
	slice_copy(t->conn.zone, sizeof(t->conn.zone), SLICE("turn"));
	if (conn_add(e->env->conns, &t->conn) < 0) {
		conn_refused(e->env->conns, &t->conn, "the connection table is full");
		free(t);
		stream_abort(s);
		return;
	}
	t->client.conn_id = t->conn.id;
	timer_init(&t->idle, on_idle, t);
	loop_deferred_init(&t->later, on_later, t);
	list_add_tail(&e->streams, &t->node);
	e->n_streams_total++;
	stream_set_handler(s, &handler, t);
	timer_start(loop_timers(e->env->loop), &t->idle, e->conf->idle_ms);
}

void turn_streams_end(struct turn_edge *e, const char *why)
{
	LIST_FOREACH_SAFE (it, &e->streams) {
		end(CONTAINER_OF(it, struct turn_stream, node), true, why);
	}
}

void turn_streams_free(struct turn_edge *e)
{
	LIST_FOREACH_SAFE (it, &e->streams) {
		stream_free(CONTAINER_OF(it, struct turn_stream, node));
	}
}
