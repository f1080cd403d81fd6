#include "base/idtab.h"

#include <stdlib.h>

void idtab_init(struct idtab *t, uint32_t max)
{
	*t = (struct idtab){ .max = max };
}

void idtab_fini(struct idtab *t)
{
	free(t->slots);
	*t = (struct idtab){ .max = t->max };
}

static int grow(struct idtab *t)
{
	uint32_t n = t->n_slots ? t->n_slots * 2 : 64;
	struct idtab_slot *slots;

	if (n > t->max)
		n = t->max;
	if (n <= t->n_slots)
		return -1;
	slots = realloc(t->slots, n * sizeof(*slots));
	if (!slots)
		return -1;
	t->slots = slots;
	for (uint32_t i = n; i-- > t->n_slots;) {
		slots[i] = (struct idtab_slot){ .generation = 1, .next_free = t->free_head };
		t->free_head = i + 1;
	}
	t->n_slots = n;
	return 0;
}

uint64_t idtab_add(struct idtab *t, void *object)
{
	struct idtab_slot *s;
	uint32_t i;

	if (t->free_head == 0 && grow(t) < 0)
		return 0;
	i = t->free_head - 1;
	s = &t->slots[i];
	t->free_head = s->next_free;
	s->object = object;
	t->n_used++;
	return (uint64_t)s->generation << 32 | i;
}

static struct idtab_slot *find(const struct idtab *t, uint64_t id)
{
	uint32_t i = (uint32_t)id;

	if (i >= t->n_slots || t->slots[i].generation != id >> 32 || !t->slots[i].object)
		return NULL;
	return &t->slots[i];
}

void *idtab_get(const struct idtab *t, uint64_t id)
{
	struct idtab_slot *s = find(t, id);

	return s ? s->object : NULL;
}

void idtab_del(struct idtab *t, uint64_t id)
{
	struct idtab_slot *s = find(t, id);

	if (!s)
		return;
	s->object = NULL;
	/* Generation 0 would make id 0 possible for slot 0. */
	if (++s->generation == 0)
		s->generation = 1;
	s->next_free = t->free_head;
	t->free_head = (uint32_t)id + 1;
	t->n_used--;
}
