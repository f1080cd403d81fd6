#include "base/htab.h"

#include <errno.h>
#include <stdlib.h>

#include "base/siphash.h"

enum { HTAB_MIN_SLOTS = 16 };

int htab_init(struct htab *t, const uint8_t seed[16],
	      struct slice (*key)(const struct htab_node *node))
{
	*t = (struct htab){ .n_slots = HTAB_MIN_SLOTS, .key = key };
	memcpy(t->seed, seed, sizeof(t->seed));
	t->slots = calloc(t->n_slots, sizeof(*t->slots));
	return t->slots ? 0 : -ENOMEM;
}

void htab_fini(struct htab *t)
{
	free(t->slots);
	*t = (struct htab){ 0 };
}

static struct htab_node *match(const struct htab *t, struct htab_node *n, uint64_t hash,
			       struct slice key)
{
	while (n && (n->hash != hash || !slice_eq(t->key(n), key)))
		n = n->next;
	return n;
}

struct htab_node *htab_get(const struct htab *t, struct slice key)
{
	uint64_t hash = siphash(t->seed, key.p, key.n);

	return match(t, t->slots[hash & (t->n_slots - 1)], hash, key);
}

struct htab_node *htab_get_next(const struct htab *t, const struct htab_node *node)
{
	return match(t, node->next, node->hash, t->key(node));
}

static void grow(struct htab *t)
{
	size_t n_slots = t->n_slots * 2;
	struct htab_node **slots = calloc(n_slots, sizeof(*slots));

	if (!slots)
		return;
	for (size_t i = 0; i < t->n_slots; i++) {
		for (struct htab_node *n = t->slots[i], *next; n; n = next) {
			next = n->next;
			n->next = slots[n->hash & (n_slots - 1)];
			slots[n->hash & (n_slots - 1)] = n;
		}
	}
	free(t->slots);
	t->slots = slots;
	t->n_slots = n_slots;
}

void htab_add(struct htab *t, struct htab_node *node)
{
	struct slice key = t->key(node);
	struct htab_node **slot;

	if (t->n >= t->n_slots)
		grow(t);
	node->hash = siphash(t->seed, key.p, key.n);
	slot = &t->slots[node->hash & (t->n_slots - 1)];
	node->next = *slot;
	*slot = node;
	t->n++;
}

void htab_del(struct htab *t, struct htab_node *node)
{
	struct htab_node **at = &t->slots[node->hash & (t->n_slots - 1)];

	while (*at && *at != node)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = node->next;
	node->next = NULL;
	t->n--;
}

static struct htab_node *from_slot(const struct htab *t, size_t i)
{
	for (; i < t->n_slots; i++) {
		if (t->slots[i])
			return t->slots[i];
	}
	return NULL;
}

struct htab_node *htab_first(const struct htab *t)
{
	return from_slot(t, 0);
}

struct htab_node *htab_after(const struct htab *t, const struct htab_node *node)
{
	return node->next ? node->next : from_slot(t, (node->hash & (t->n_slots - 1)) + 1);
}
