#include "xmpp/park_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xmpp/preface.h"

#define AGAIN_MS 200

struct waiting {
	struct list node;
	tunnel_peer to;
	uint64_t stream;
	bool proper;
};

static json_t *params_of(uint64_t stream, const char *how)
{
	char id[PREFACE_ID_BYTES];

	preface_id_str(stream, id);
	return how ? json_pack("{s:s,s:s}", "stream", id, "how", how)
		   : json_pack("{s:s}", "stream", id);
}

/* May come when the module is gone: touches nothing. */
static void nobody_waits(void *arg, int status, const json_t *value)
{
}

/* 0 or negative errno. */
static int send_end(const struct park_calls *p, tunnel_peer to, uint64_t stream, bool proper)
{
	json_t *params = params_of(stream, proper ? "end" : "cut");
	int error = 0;

	if (!params)
		return -ENOMEM;
	p->tunnel->call(p->tunnel_self, to, PARK_CALL_END, params, PARK_CALL_MS, nobody_waits, NULL,
			&error);
	json_decref(params);
	return error;
}

static void drop(struct park_calls *p, struct waiting *w)
{
	list_del(&w->node);
	p->n_waiting--;
	free(w);
}

static void on_again(void *arg)
{
	struct park_calls *p = arg;

	LIST_FOREACH_SAFE (it, &p->waiting) {
		struct waiting *w = CONTAINER_OF(it, struct waiting, node);

		if (send_end(p, w->to, w->stream, w->proper) != -EAGAIN)
			drop(p, w);
	}
	if (!list_empty(&p->waiting))
		timer_start(p->timers, &p->again, AGAIN_MS);
}

void park_calls_init(struct park_calls *p, struct timerq *timers)
{
	*p = (struct park_calls){ .timers = timers };
	list_init(&p->waiting);
	timer_init(&p->again, on_again, p);
}

void park_calls_fini(struct park_calls *p)
{
	while (!list_empty(&p->waiting))
		drop(p, CONTAINER_OF(list_first(&p->waiting), struct waiting, node));
	timer_stop(p->timers, &p->again);
}

void park_call_end(struct park_calls *p, tunnel_peer to, uint64_t stream, bool proper)
{
	struct waiting *w;

	if (!p->tunnel || send_end(p, to, stream, proper) != -EAGAIN ||
	    p->n_waiting >= PARK_MAX_WAITING || !(w = calloc(1, sizeof(*w))))
		return;
	*w = (struct waiting){ .to = to, .stream = stream, .proper = proper };
	list_add_tail(&p->waiting, &w->node);
	p->n_waiting++;
	if (!timer_armed(&p->again))
		timer_start(p->timers, &p->again, AGAIN_MS);
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
