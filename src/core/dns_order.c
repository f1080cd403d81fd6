#include "core/dns_order.h"

#include <stdbool.h>

/* Sorted so, a running sum over one priority has the zero weights first, as RFC 2782 asks. */
static bool before(const struct dns_record *a, const struct dns_record *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return a->weight == 0 && b->weight != 0;
}

static void move_to(struct dns_record *records, size_t to, size_t from)
{
	struct dns_record r = records[from];

	memmove(&records[to + 1], &records[to], (from - to) * sizeof(r));
	records[to] = r;
}

/* Brings the next one of [first, end), all of one priority, to `first`. */
static void draw(struct dns_record *records, size_t first, size_t end,
		 uint32_t (*random)(void *arg, uint32_t n), void *arg)
{
	uint32_t sum = 0, drawn, running = 0;
	size_t i;

	for (i = first; i < end; i++)
		sum += records[i].weight;
	/* "between 0 and the sum computed (inclusive)" */
	drawn = random(arg, sum + 1);
	for (i = first; i + 1 < end; i++) {
		running += records[i].weight;
		if (running >= drawn)
			break;
	}
	move_to(records, first, i);
}

void dns_order_srv(struct dns_record *records, size_t n, uint32_t (*random)(void *arg, uint32_t n),
		   void *arg)
{
	size_t end = 0;

	/* Insertion sort: stable, and there are at most DNS_MAX_RECORDS. */
	for (size_t i = 1; i < n; i++) {
		size_t to = i;

		while (to > 0 && before(&records[i], &records[to - 1]))
			to--;
		move_to(records, to, i);
	}
	for (size_t first = 0; first < n; first++) {
		if (first == end) {
			while (end < n && records[end].priority == records[first].priority)
				end++;
		}
		draw(records, first, end, random, arg);
	}
}
