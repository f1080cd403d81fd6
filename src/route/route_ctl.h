#ifndef ROUTE_ROUTE_CTL_H
#define ROUTE_ROUTE_CTL_H
/*
 * Commands on the control socket.
 *
 *   GET locate?alias=A[&source=ZONE][&authenticated=yes][&hops=N]   where would a request go?
 *   GET search-history[?limit=N]                                    the last searches, newest first
 */
#include "core/ctl.h"
#include "core/trace.h"
#include "turnpike/route.h"

struct route_ctl;

/* Ends with name NULL; self is a struct route_ctl. */
extern const struct ctl_command route_ctl_commands[];

/* run searches without leaving a mark; knows_zone: is it the name of a zone? Both get arg. NULL
 * without memory. */
struct route_ctl *route_ctl_new(const struct trace *trace,
				void (*run)(void *arg, const struct route_query *q,
					    struct route_result *out),
				bool (*knows_zone)(void *arg, const char *name), void *arg);
void route_ctl_free(struct route_ctl *c);

#endif
