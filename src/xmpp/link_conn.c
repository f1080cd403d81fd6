#include "xmpp/link_conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/loop.h"

static const char *const states[] = {
	[LINK_CONNECTING] = "connecting",
	[LINK_HELLO_WAIT] = "hello",
	[LINK_IDLE] = "idle",
	[LINK_TAKEN] = "taken",
};

static void finish(struct link_conn *c, const char *why)
{
	timer_stop(loop_timers(c->env->loop), &c->timer);
	conn_end(c->env->conns, &c->conn, "%s", why);
	list_del(&c->node);
}

static void on_ended(struct stream_watch *w, const char *why)
{
	struct link_conn *c = CONTAINER_OF(w, struct link_conn, watch);

	if (c->why)
		why = c->why;
	c->stream = NULL;
	finish(c, why);
	c->gone(c, why);
	free(c);
}

static void on_disconnect(struct conn *conn, const char *reason)
{
	stream_break(CONTAINER_OF(conn, struct link_conn, conn)->stream, reason);
}

struct link_conn *link_conn_new(struct env *env, struct stream *s, enum link_state state,
				void *owner, void (*gone)(struct link_conn *c, const char *why))
{
	struct link_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->env = env;
	c->owner = owner;
	c->stream = s;
	c->gone = gone;
	c->state = state;
	list_init(&c->node);
	c->conn = (struct conn){ .kind = CONN_XMPP_LINK,
				 .transport = CONN_TLS,
				 .local = s->local,
				 .remote = s->remote,
				 .state = states[state],
				 .close = on_disconnect };
	if (conn_add(env->conns, &c->conn) < 0) {
		free(c);
		return NULL;
	}
	s->conn_id = c->conn.id;
	c->watch.ended = on_ended;
	s->watch = &c->watch;
	return c;
}

void link_conn_set_state(struct link_conn *c, enum link_state state)
{
	c->state = state;
	c->conn.state = states[state];
	/* Only now is it known from where it was dialled. */
	c->conn.local = c->stream->local;
	if (state != LINK_IDLE)
		return;
	c->idle_ms = loop_now_ms(c->env->loop);
	c->conn.session[0] = c->conn.user[0] = '\0';
}

struct link_conn *link_conn_of(struct stream *s)
{
	return CONTAINER_OF(s->watch, struct link_conn, watch);
}

void link_conn_close(struct link_conn *c, const char *why)
{
	c->why = why;
	stream_close(c->stream);
}

void link_conn_forget(struct link_conn *c, const char *why)
{
	c->stream->watch = NULL;
	finish(c, why);
	free(c);
}

void link_conn_label(struct link_conn *c, const struct preface *p)
{
	c->is_pair = p->kind == PREFACE_S2S;
	if (p->kind == PREFACE_C2S || p->kind == PREFACE_RESUME)
		slice_copy(c->conn.session, sizeof(c->conn.session), slice_of(p->session));
	if (p->kind == PREFACE_S2S)
		snprintf(c->conn.user, sizeof(c->conn.user), "%.60s %.60s", p->local, p->remote);
}

int link_conn_read(struct link_conn *c, struct preface *out, const char **why)
{
	struct evbuffer *in = stream_in(c->stream);
	size_t n = evbuffer_get_length(in);
	unsigned char *p;
	int used;

	if (n > 4 + PREFACE_MAX_BYTES)
		n = 4 + PREFACE_MAX_BYTES;
	p = n ? evbuffer_pullup(in, (ev_ssize_t)n) : NULL;
	if (!p)
		return 0;
	used = preface_parse((struct slice){ (const char *)p, n }, out, why);
	if (used > 0)
		evbuffer_drain(in, (size_t)used);
	return used;
}

int link_conn_say(struct stream *s, const struct preface *p)
{
	struct buf frame;
	int error;

	buf_init(&frame, 4 + PREFACE_MAX_BYTES);
	error = preface_print(p, &frame);
	if (error == 0 && evbuffer_add(stream_out(s), frame.p, frame.n) < 0)
		error = -ENOMEM;
	buf_fini(&frame);
	return error;
}
