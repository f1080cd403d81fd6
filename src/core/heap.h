#ifndef CORE_HEAP_H
#define CORE_HEAP_H
/*
 * Gives memory that was freed in bulk back to the system. malloc keeps what lies between blocks
 * that are still used, and of a rush of many small things that is most of it.
 */
#include <stddef.h>

#include "base/timerq.h"

#define HEAP_WORTH_BYTES (4u * 1024 * 1024)
#define HEAP_AFTER_MS	 10000

struct heap {
	struct timerq *timers;
	struct timer timer;
	size_t n_freed; /* bytes, since it last was given back */
	unsigned n_trims;
};

void heap_init(struct heap *h, struct timerq *timers);
void heap_fini(struct heap *h);
/* About so much was freed. From HEAP_WORTH_BYTES on it is given back HEAP_AFTER_MS later. */
void heap_freed(struct heap *h, size_t n_bytes);

#endif
