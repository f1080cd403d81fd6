#ifndef ROUTE_EDIT_H
#define ROUTE_EDIT_H
/*
 * What transforms and search rules have in common: a pattern, and what happens to an alias that it
 * matches.
 */
#include "route/pattern.h"
#include "turnpike/route.h"

enum route_behaviour {
	ROUTE_LEAVE,
	ROUTE_STRIP,	  /* takes the prefix or suffix that matched off */
	ROUTE_REPLACE,	  /* puts `replace` in place of what matched (regex: of the whole alias) */
	ROUTE_ADD_PREFIX, /* puts `replace` in front */
	ROUTE_ADD_SUFFIX, /* puts `replace` behind */
};

struct route_edit_spec {
	enum route_pattern_type type;
	const char *pattern; /* NULL: none written */
	enum route_behaviour behaviour;
	const char *replace; /* \1..\9: groups of a regex, \\: a backslash; NULL: none written */
};

struct route_edit {
	struct route_pattern pattern;
	enum route_behaviour behaviour;
	char *replace; /* variables replaced, checked */
	size_t n_replace;
};

/* 0; -EINVAL or -ENOMEM with *fault filled and nothing to free. */
int route_edit_compile(struct route_edit *e, const struct route_edit_spec *spec,
		       const struct route_vars *vars, struct route_fault *fault);
/* A zeroed one is allowed. */
void route_edit_fini(struct route_edit *e);
/* Writes what alias becomes, right after route_pattern_match(&e->pattern, m, alias) said yes.
 * Returns false when that would be empty or too long; out is then "". out must not overlap alias.
 */
bool route_edit_apply(const struct route_edit *e, const struct route_matcher *m, struct slice alias,
		      char out[ROUTE_ALIAS_BYTES]);
/* May this be an alias: 1..ROUTE_ALIAS_BYTES-1 printable ASCII characters without spaces? A SIP URI
 * has no others (RFC 3261 25.1); the rest comes percent-escaped. */
bool route_alias_ok(struct slice alias);

#endif
