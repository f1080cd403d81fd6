#include "xmpp/park_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 200

struct ending {
	struct list node;
	struct park_calls *calls;
	tunnel_peer to;
	uint64_t stream;
	uint64_t id; /* of the call under way, 0: none */
	bool proper;
};

bool park_say(struct xmpp_stream *link, const struct preface *p)
{
	struct buf frame;
	bool good;

	buf_init(&frame, 4 + PREFACE_MAX_BYTES);
	good = preface_print(p, &frame) == 0 && xmpp_send_frame(link, buf_slice(&frame));
	buf_fini(&frame);
	return good;
}

bool park_call_unheard(int status)
{
	return status == -EPIPE || status == -ETIMEDOUT || status == -EAGAIN;
}

static json_t *params_of(uint64_t stream, const char *how)
{
	char id[PREFACE_ID_BYTES];

	preface_id_str(stream, id);
	return how ? json_pack("{s:s,s:s}", "stream", id, "how", how)
		   : json_pack("{s:s}", "stream", id);
}

static void drop(struct ending *e)
{
	struct park_calls *p = e->calls;

	list_del(&e->node);
	p->n_ends--;
	free(e);
}

static void say_later(struct ending *e)
{
	struct park_calls *p = e->calls;

	list_add_tail(&p->waiting, &e->node);
	if (!timer_armed(&p->again))
		timer_start(p->timers, &p->again, AGAIN_MS);
}

static void on_answer(void *arg, int status, const json_t *value)
{
	struct ending *e = arg;

	e->id = 0;
	if (!park_call_unheard(status)) {
		drop(e);
		return;
	}
	list_del(&e->node);
	say_later(e);
}

/* May come when the module is gone: touches nothing. */
static void nobody_waits(void *arg, int status, const json_t *value)
{
}

/* 0 or negative errno. */
static int send_end(const struct park_calls *p, tunnel_peer to, uint64_t stream, bool proper,
		    struct ending *e)
{
	json_t *params = params_of(stream, proper ? "end" : "cut");
	int error = 0;
	uint64_t id;

	if (!params)
		return -ENOMEM;
	id = p->tunnel->call(p->tunnel_self, to, PARK_CALL_END, params, PARK_CALL_MS,
			     e ? on_answer : nobody_waits, e, &error);
	if (e)
		e->id = id;
	json_decref(params);
	return error;
}

/* e is in no list. 0, or why it could not be sent now. */
static int say(struct ending *e)
{
	int error = send_end(e->calls, e->to, e->stream, e->proper, e);

	if (error == -EAGAIN || error == -ENOMEM) {
		say_later(e);
		return error;
	}
	list_add_tail(&e->calls->asked, &e->node);
	if (error) /* it is down */
		drop(e);
	return 0;
}

static void on_again(void *arg)
{
	struct park_calls *p = arg;
	struct list now;
	tunnel_peer full = 0;

	list_init(&now);
	LIST_FOREACH_SAFE (it, &p->waiting) {
		list_del(it);
		list_add_tail(&now, it);
	}
	LIST_FOREACH_SAFE (it, &now) {
		struct ending *e = CONTAINER_OF(it, struct ending, node);

		list_del(it);
		if (e->to == full)
			say_later(e);
		else if (say(e) < 0)
			full = e->to;
	}
}

void park_calls_init(struct park_calls *p, struct timerq *timers)
{
	*p = (struct park_calls){ .timers = timers };
	list_init(&p->waiting);
	list_init(&p->asked);
	timer_init(&p->again, on_again, p);
}

static void forget(struct park_calls *p, struct list *ends)
{
	while (!list_empty(ends)) {
		struct ending *e = CONTAINER_OF(list_first(ends), struct ending, node);

		if (e->id)
			p->tunnel->call_cancel(p->tunnel_self, e->id);
		drop(e);
	}
}

void park_calls_fini(struct park_calls *p)
{
	forget(p, &p->waiting);
	forget(p, &p->asked);
	timer_stop(p->timers, &p->again);
	p->over = true;
}

void park_call_end(struct park_calls *p, tunnel_peer to, uint64_t stream, bool proper)
{
	struct ending *e;

	if (!p->tunnel)
		return;
	e = p->n_ends < PARK_MAX_ENDS && !p->over ? calloc(1, sizeof(*e)) : NULL;
	if (!e) {
		send_end(p, to, stream, proper, NULL);
		return;
	}
	*e = (struct ending){ .calls = p, .to = to, .stream = stream, .proper = proper };
	p->n_ends++;
	say(e);
}

uint64_t park_call_resume(struct park_calls *p, tunnel_peer to, uint64_t stream, tunnel_done done,
			  void *arg, int *error)
{
	json_t *params = params_of(stream, NULL);
	uint64_t id = 0;

	*error = !p->tunnel ? -EPIPE : params ? 0 : -ENOMEM;
	if (*error == 0)
		id = p->tunnel->call(p->tunnel_self, to, PARK_CALL_RESUME, params, PARK_CALL_MS,
				     done, arg, error);
	json_decref(params);
	return id;
}

static struct slice text_of(const json_t *params, const char *key)
{
	const json_t *v = json_object_get(params, key);

	if (!json_is_string(v))
		return SLICE_NONE;
	return (struct slice){ json_string_value(v), json_string_length(v) };
}

bool park_call_read(const json_t *params, uint64_t *stream)
{
	return preface_id_parse(text_of(params, "stream"), stream);
}

bool park_call_read_how(const json_t *params, bool *proper)
{
	struct slice how = text_of(params, "how");

	*proper = slice_eq(how, SLICE("end"));
	return *proper || slice_eq(how, SLICE("cut"));
}
