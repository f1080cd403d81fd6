/* Calls both ways over the control channel. */
#include "tunnel/control_impl.h"

#include <errno.h>
#include <stdlib.h>

struct call {
	struct htab_node node;
	uint64_t id;
	struct control *control;
	struct control_link *link;
	tunnel_done done;
	void *arg;
	struct timer timer;
};

struct slice control_call_key(const struct htab_node *node)
{
	const struct call *k = CONTAINER_OF(node, struct call, node);

	return (struct slice){ (const char *)&k->id, sizeof(k->id) };
}

static struct call *find_call(const struct control_hub *h, uint64_t id)
{
	struct htab_node *node =
		htab_get(&h->calls, (struct slice){ (const char *)&id, sizeof(id) });

	return node ? CONTAINER_OF(node, struct call, node) : NULL;
}

static void call_free(struct call *k)
{
	struct control_hub *h = k->control->hub;

	timer_stop(h->timers, &k->timer);
	htab_del(&h->calls, &k->node);
	k->control->n_calls--;
	free(k);
}

static void call_end(struct call *k, int status, const json_t *value)
{
	tunnel_done done = k->done;
	void *arg = k->arg;

	call_free(k);
	done(arg, status, value);
}

static void on_timeout(void *arg)
{
	call_end(arg, -ETIMEDOUT, NULL);
}

uint64_t control_call(struct control *c, const char *method, const json_t *params,
		      uint32_t timeout_ms, tunnel_done done, void *arg, int *error)
{
	struct control_hub *h = c->hub;
	struct control_msg m = { .type = CONTROL_CALL };
	struct call *k = NULL;

	*error = !c->carrier ? -EPIPE : c->n_calls >= CONTROL_MAX_CALLS ? -EAGAIN : 0;
	if (*error == 0 && !(k = calloc(1, sizeof(*k))))
		*error = -ENOMEM;
	if (*error)
		return 0;
	k->id = ++h->next_id;
	k->control = c;
	k->link = c->carrier;
	k->done = done;
	k->arg = arg;
	timer_init(&k->timer, on_timeout, k);
	timer_start(h->timers, &k->timer, timeout_ms);
	htab_add(&h->calls, &k->node);
	c->n_calls++;
	m.id = k->id;
	slice_copy(m.method, sizeof(m.method), slice_of(method));
	m.value = (json_t *)params;
	if (control_link_send(c->carrier, &m))
		return m.id;
	*error = -EMSGSIZE;
	call_free(k);
	return 0;
}

void control_call_cancel(struct control_hub *h, uint64_t id)
{
	struct call *k = find_call(h, id);

	if (k)
		call_free(k);
}

void control_result_input(struct control_link *l, const struct control_msg *m)
{
	struct call *k = find_call(l->control->hub, m->id);

	/* Late ones find nothing; those that another box or link makes up neither. */
	if (k && k->link == l)
		call_end(k, m->status, m->value);
}

/* --- theirs --- */

static struct method *find_method(struct control_hub *h, const char *name)
{
	for (size_t i = 0; i < h->n_methods; i++) {
		if (strcmp(h->methods[i].name, name) == 0)
			return &h->methods[i];
	}
	return NULL;
}

static void send_result(struct control_link *l, uint64_t id, int status, const json_t *value)
{
	struct control_msg m = { .type = CONTROL_RESULT, .id = id, .status = status };

	m.value = (json_t *)value;
	if (control_link_send(l, &m) || !value)
		return;
	/* Its value is over the bound: say so rather than nothing. */
	m.status = -EMSGSIZE;
	m.value = NULL;
	control_link_send(l, &m);
}

void control_call_input(struct control_link *l, const struct control_msg *m)
{
	struct control *c = l->control;
	struct method *method = find_method(c->hub, m->method);
	struct tunnel_call *call;

	if (!method) {
		send_result(l, m->id, -ENOSYS, NULL);
		return;
	}
	call = c->n_serving < CONTROL_MAX_CALLS ? calloc(1, sizeof(*call)) : NULL;
	if (!call) {
		send_result(l, m->id, -EAGAIN, NULL);
		return;
	}
	call->link = l;
	call->id = m->id;
	list_add_tail(&l->serving, &call->node);
	c->n_serving++;
	method->fn(method->arg, call, c->id, m->value);
}

void control_reply(struct control_hub *h, struct tunnel_call *call, int status, const json_t *value)
{
	if (call->link) {
		call->link->control->n_serving--;
		send_result(call->link, call->id, status, value);
	}
	list_del(&call->node);
	free(call);
}

/* --- when a link goes --- */

void control_calls_lost(struct control_link *l)
{
	struct control *c = l->control;
	bool again = true;

	LIST_FOREACH_SAFE (it, &l->serving) {
		struct tunnel_call *call = CONTAINER_OF(it, struct tunnel_call, node);

		call->link = NULL;
		c->n_serving--;
		list_del(it);
		list_add_tail(&c->hub->serving, it);
	}
	/* A callback may cancel others: start over after each. */
	while (again && c->n_calls > 0) {
		again = false;
		HTAB_FOREACH (it, &c->hub->calls) {
			struct call *k = CONTAINER_OF(it, struct call, node);

			if (k->link == l) {
				call_end(k, -EPIPE, NULL);
				again = true;
				break;
			}
		}
	}
}

void control_calls_free(struct control_hub *h)
{
	LIST_FOREACH_SAFE (it, &h->serving) {
		list_del(it);
		free(CONTAINER_OF(it, struct tunnel_call, node));
	}
}
