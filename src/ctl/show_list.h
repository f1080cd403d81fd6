#ifndef CTL_SHOW_LIST_H
#define CTL_SHOW_LIST_H
/* What the show_ functions have in common. Private to the show*.c files. */
#include "ctl/show.h"
#include "ctl/table.h"

/* Adds what lies under a row: objects of an array of it. */
typedef void (*show_under_fn)(struct table *t, const json_t *row);

/* The array `key` of the reply as a table; `nothing` when it has no elements. */
void show_list(const json_t *reply, const char *key, const struct column *columns,
	       show_under_fn under, const char *nothing, struct buf *out);
/* A show_under_fn: every object inside the row, also those in arrays, as `id key=value` lines. */
void show_under_pairs(struct table *t, const json_t *row);

#endif
