#ifndef BASE_HTAB_H
#define BASE_HTAB_H
/*
 * Intrusive chained hash table over byte-string keys. Elements embed a struct htab_node; the table
 * keeps the node's hash and asks `key` for the bytes, which must not change while inside. Hashing
 * is keyed (siphash) with the seed given at init, so that a peer cannot pick colliding keys.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct htab_node {
	struct htab_node *next;
	uint64_t hash;
};

struct htab {
	struct htab_node **slots;
	size_t n_slots; /* power of two */
	size_t n;
	uint8_t seed[16];
	struct slice (*key)(const struct htab_node *node);
};

#define HTAB_FOREACH(it, tab) \
	for (struct htab_node *it = htab_first(tab); it; it = htab_after(tab, it))
/* The current element may be removed. */
#define HTAB_FOREACH_SAFE(it, tab)                                                                 \
	for (struct htab_node *it = htab_first(tab), *it##_next = it ? htab_after(tab, it) : NULL; \
	     it; it = it##_next, it##_next = it ? htab_after(tab, it) : NULL)

/* 0 or -ENOMEM. */
int htab_init(struct htab *t, const uint8_t seed[16],
	      struct slice (*key)(const struct htab_node *node));
/* Frees the slots, not the elements. */
void htab_fini(struct htab *t);
struct htab_node *htab_get(const struct htab *t, struct slice key);
/* Next element after node with the same key: tables may hold several. */
struct htab_node *htab_get_next(const struct htab *t, const struct htab_node *node);
/* Never fails: when the table cannot grow, chains get longer. */
void htab_add(struct htab *t, struct htab_node *node);
void htab_del(struct htab *t, struct htab_node *node);
struct htab_node *htab_first(const struct htab *t);
struct htab_node *htab_after(const struct htab *t, const struct htab_node *node);

#endif
