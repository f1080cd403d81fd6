#ifndef BASE_IDTAB_H
#define BASE_IDTAB_H
/*
 * Ids of live things: slot and generation in one uint64_t, so that an id kept too long finds
 * nothing instead of a stranger. References across modules are such ids. 0 is never a valid id.
 */
#include <stddef.h>
#include <stdint.h>

struct idtab_slot {
	void *object;
	uint32_t generation;
	uint32_t next_free; /* slot + 1, 0 ends the list */
};

struct idtab {
	struct idtab_slot *slots;
	uint32_t n_slots;
	uint32_t n_used;
	uint32_t free_head; /* slot + 1 */
	uint32_t max;
};

void idtab_init(struct idtab *t, uint32_t max);
void idtab_fini(struct idtab *t);
/* A new id for object, or 0 when full or without memory. */
uint64_t idtab_add(struct idtab *t, void *object);
/* The object, or NULL when the id is not alive. */
void *idtab_get(const struct idtab *t, uint64_t id);
void idtab_del(struct idtab *t, uint64_t id);

#endif
