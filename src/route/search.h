#ifndef ROUTE_SEARCH_H
#define ROUTE_SEARCH_H
/*
 * The walk: alias -> first transform that matches -> search rules by priority -> targets.
 * Pure: a compiled table and a query in, a result with the reason of every step out.
 */
#include "route/table.h"
#include "turnpike/route.h"

/* Fills *out, all of it that counts. Never allocates. Loop detection is route/loops.h, hops are
 * checked here. */
void route_search(const struct route_table *t, const struct route_query *q,
		  struct route_result *out);
/* An empty result with that status (and no steps). */
void route_result_init(struct route_result *out, enum route_status status);
/* Appends a step while there is room; steps that did not match leave a reserve for those that do.
 */
void route_result_step(struct route_result *out, const char *what, const char *name, bool matched,
		       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* "found", "not-found", "hops-exhausted", "loop", "forbidden", "bad-alias". */
const char *route_status_str(enum route_status status);
/* The SIP status that says it: 0 for found. */
int route_status_sip(enum route_status status);

#endif
