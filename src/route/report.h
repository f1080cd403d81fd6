#ifndef ROUTE_REPORT_H
#define ROUTE_REPORT_H
/* A search for people: the reply of `locate`, and the lines of the decision trace. */
#include <jansson.h>

#include "base/buf.h"
#include "turnpike/route.h"

/* {"found","status","sip_status","alias","target","hop_count","targets":[...],"steps":[...],
 * "steps_left_out"}; NULL without memory. docs/routing.md has one in full. */
json_t *route_report_json(const struct route_query *q, const struct route_result *r);
/* One line of what happened, then a line for each step that took part ("\n" between). */
void route_report_text(const struct route_query *q, const struct route_result *r, struct buf *out);
/* "route.found", "route.not-found", ... */
const char *route_report_code(enum route_status status);
/* What decided, for the trace: "[search-rule to-pbx]", "[transform x]", "hop count", ... */
void route_report_decider(const struct route_result *r, struct buf *out);
/* Text that may hold anything, as a JSON string: escaped when it is no UTF-8. */
json_t *route_report_string(const char *text, size_t n);

#endif
