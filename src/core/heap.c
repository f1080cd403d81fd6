#include "core/heap.h"

#include <malloc.h>

static void give_back(void *arg)
{
	struct heap *h = arg;

	h->n_freed = 0;
	h->n_trims++;
	malloc_trim(0);
}

void heap_init(struct heap *h, struct timerq *timers)
{
	*h = (struct heap){ .timers = timers };
	timer_init(&h->timer, give_back, h);
}

void heap_fini(struct heap *h)
{
	timer_stop(h->timers, &h->timer);
}

void heap_freed(struct heap *h, size_t n_bytes)
{
	h->n_freed += n_bytes;
	if (h->n_freed >= HEAP_WORTH_BYTES && !timer_armed(&h->timer))
		timer_start(h->timers, &h->timer, HEAP_AFTER_MS);
}
