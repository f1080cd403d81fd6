/* The hub and the replicated tables. */
#include "tunnel/control_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct control_hub *control_hub_new(struct timerq *timers, const struct control_conf *conf,
				    const struct control_ops *ops, void *arg,
				    const uint8_t seed[16])
{
	struct control_hub *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	if (htab_init(&h->calls, seed, control_call_key) < 0) {
		free(h);
		return NULL;
	}
	h->timers = timers;
	h->conf = conf;
	h->ops = ops;
	h->arg = arg;
	list_init(&h->serving);
	buf_init(&h->out, CONTROL_MAX_BYTES + 4);
	return h;
}

void control_hub_free(struct control_hub *h)
{
	if (!h)
		return;
	control_calls_free(h);
	htab_fini(&h->calls);
	buf_fini(&h->out);
	free(h);
}

static bool legal_name(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < CONTROL_NAME_BYTES &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

/* i < 0: there is none. */
static int find_published(const struct control_hub *h, const char *table)
{
	for (size_t i = 0; i < h->n_published; i++) {
		if (strcmp(h->published[i].name, table) == 0)
			return (int)i;
	}
	return -1;
}

static int find_subscribed(const struct control_hub *h, const char *table)
{
	for (size_t i = 0; i < h->n_subscribed; i++) {
		if (strcmp(h->subscribed[i].name, table) == 0)
			return (int)i;
	}
	return -1;
}

int control_publish(struct control_hub *h, const char *table, const struct tunnel_source *s,
		    void *arg)
{
	struct published *p = &h->published[h->n_published];

	if (!legal_name(table))
		return -EINVAL;
	if (find_published(h, table) >= 0)
		return -EEXIST;
	if (h->n_published == CONTROL_MAX_TABLES)
		return -ENOSPC;
	h->n_published++;
	strcpy(p->name, table);
	p->source = s;
	p->arg = arg;
	return 0;
}

int control_subscribe(struct control_hub *h, const char *table, const struct tunnel_sink *s,
		      void *arg)
{
	struct subscribed *p = &h->subscribed[h->n_subscribed];

	if (!legal_name(table))
		return -EINVAL;
	if (find_subscribed(h, table) >= 0)
		return -EEXIST;
	if (h->n_subscribed == CONTROL_MAX_TABLES)
		return -ENOSPC;
	h->n_subscribed++;
	strcpy(p->name, table);
	p->sink = s;
	p->arg = arg;
	return 0;
}

int control_serve(struct control_hub *h, const char *method, tunnel_serve fn, void *arg)
{
	struct method *m = &h->methods[h->n_methods];

	if (!legal_name(method))
		return -EINVAL;
	for (size_t i = 0; i < h->n_methods; i++) {
		if (strcmp(h->methods[i].name, method) == 0)
			return -EEXIST;
	}
	if (h->n_methods == CONTROL_MAX_METHODS)
		return -ENOSPC;
	h->n_methods++;
	strcpy(m->name, method);
	m->fn = fn;
	m->arg = arg;
	return 0;
}

struct control *control_new(struct control_hub *h, tunnel_peer id, void *peer)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->hub = h;
	c->id = id;
	c->peer = peer;
	list_init(&c->links);
	return c;
}

void control_free(struct control *c)
{
	free(c);
}

bool control_is_up(const struct control *c)
{
	return c->up;
}

/* --- ours, to them --- */

static void put_message(struct control_link *l, const char *table, const char *key,
			const json_t *item)
{
	struct control_msg m = { .type = CONTROL_PUT };

	slice_copy(m.table, sizeof(m.table), slice_of(table));
	if (!slice_copy(m.key, sizeof(m.key), slice_of(key)))
		return; /* a key that is cut is another key */
	m.value = (json_t *)item;
	control_link_send(l, &m);
}

struct sync {
	struct control *control;
	const char *table;
};

static void sync_put(void *ctx, const char *key, const json_t *item)
{
	struct sync *s = ctx;

	/* The link may have failed in the middle of it. */
	if (s->control->carrier)
		put_message(s->control->carrier, s->table, key, item);
}

static void send_table_message(struct control *c, enum control_type type, const char *table)
{
	struct control_msg m = { .type = type };

	slice_copy(m.table, sizeof(m.table), slice_of(table));
	if (c->carrier)
		control_link_send(c->carrier, &m);
}

static void sync_table(struct control *c, size_t i)
{
	const struct published *p = &c->hub->published[i];
	struct sync s = { c, p->name };

	c->dirty[i] = false;
	send_table_message(c, CONTROL_RESET, p->name);
	p->source->each(p->arg, c->id, sync_put, &s);
	send_table_message(c, CONTROL_SYNCED, p->name);
}

void control_sync_dirty(struct control *c)
{
	for (size_t i = 0; i < c->hub->n_published && c->carrier; i++) {
		if (c->dirty[i])
			sync_table(c, i);
	}
}

/* The table, when a change of it is to be sent now. False also when its whole state will follow
 * anyway. */
static bool may_send(struct control *c, const char *table)
{
	int i = find_published(c->hub, table);

	if (i < 0 || !c->carrier || c->dirty[i])
		return false;
	if (c->carrier->backlog <= CONTROL_BACKLOG)
		return true;
	c->dirty[i] = true;
	return false;
}

void control_put(struct control *c, const char *table, const char *key, const json_t *item)
{
	if (may_send(c, table))
		put_message(c->carrier, table, key, item);
}

void control_del(struct control *c, const char *table, const char *key)
{
	struct control_msg m = { .type = CONTROL_DEL };

	if (!may_send(c, table) || !slice_copy(m.key, sizeof(m.key), slice_of(key)))
		return;
	slice_copy(m.table, sizeof(m.table), slice_of(table));
	control_link_send(c->carrier, &m);
}

/* --- links come and go --- */

static void tell_state(struct control *c, bool up)
{
	if (c->up == up)
		return;
	c->up = up;
	for (size_t i = 0; i < c->hub->n_subscribed; i++) {
		const struct subscribed *s = &c->hub->subscribed[i];

		if (s->sink->state)
			s->sink->state(s->arg, c->id, up);
	}
}

static void set_carrier(struct control *c, struct control_link *l)
{
	c->carrier = l;
	if (!l)
		return;
	for (size_t i = 0; i < c->hub->n_published; i++)
		c->dirty[i] = true;
	control_sync_dirty(c);
}

void control_link_up(struct control_link *l)
{
	struct control *c = l->control;

	tell_state(c, true);
	if (!c->carrier && control_link_agreed(l))
		set_carrier(c, l);
}

void control_link_down(struct control_link *l)
{
	struct control *c = l->control;
	struct control_link *next = NULL;

	/* One that only drains still brings what the other box sends. */
	for (size_t i = 0; i < c->hub->n_subscribed && l->state == LINK_CLOSED; i++) {
		if (c->from[i] == l)
			c->from[i] = NULL;
	}
	LIST_FOREACH (it, &c->links) {
		struct control_link *have = CONTAINER_OF(it, struct control_link, node);

		if (have != l && control_link_agreed(have)) {
			next = have;
			break;
		}
	}
	if (c->carrier == l)
		set_carrier(c, next);
	if (!next && !c->carrier)
		tell_state(c, false);
}

/* --- theirs, to us --- */

static void table_reset(struct control_link *l, size_t i)
{
	const struct subscribed *s = &l->control->hub->subscribed[i];

	l->control->from[i] = l;
	s->sink->reset(s->arg, l->control->id);
}

void control_table_input(struct control_link *l, const struct control_msg *m)
{
	struct control *c = l->control;
	int i = find_subscribed(c->hub, m->table);
	const struct subscribed *s = i < 0 ? NULL : &c->hub->subscribed[i];

	/* A table that this box does not know: a later version's. */
	if (!s)
		return;
	if (m->type == CONTROL_RESET) {
		table_reset(l, (size_t)i);
		return;
	}
	/* Left over on a connection from which the other box has moved on. */
	if (c->from[i] != l)
		return;
	if (m->type == CONTROL_PUT)
		s->sink->put(s->arg, c->id, m->key, m->value);
	else if (m->type == CONTROL_DEL)
		s->sink->del(s->arg, c->id, m->key);
	else if (s->sink->synced)
		s->sink->synced(s->arg, c->id);
}
