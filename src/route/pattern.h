#ifndef ROUTE_PATTERN_H
#define ROUTE_PATTERN_H
/*
 * One pattern against a whole alias: exact, prefix, suffix or a regular expression (PCRE2), without
 * regard to case. Regular expressions run in the interpreter with limits on the work, the depth
 * and the memory of one match, so that no alias can stall the loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "route/vars.h"

/* As written in the file, and with the variables replaced. */
#define ROUTE_PATTERN_BYTES	     1024
#define ROUTE_PATTERN_EXPANDED_BYTES 65536
#define ROUTE_MAX_GROUPS	     9

/* Steps of the matcher for one match. A step may look at the whole alias, so this is up to 2 ms;
 * two cut matches in one search (below) stay under the 5 ms that the loop can spare. */
#define ROUTE_MATCH_LIMIT    5000
#define ROUTE_DEPTH_LIMIT    2000
#define ROUTE_HEAP_LIMIT_KIB 1024
/* So many cut matches in one search; regular expressions after that are cut without a try. */
#define ROUTE_MAX_CUTS 2

enum route_pattern_type { ROUTE_EXACT, ROUTE_PREFIX, ROUTE_SUFFIX, ROUTE_REGEX };

struct pcre2_real_code_8;

struct route_pattern {
	enum route_pattern_type type;
	char *text; /* variables replaced */
	size_t n;
	struct pcre2_real_code_8 *code; /* ROUTE_REGEX */
	uint32_t n_groups;
};

enum route_match {
	ROUTE_MATCH_NO,
	ROUTE_MATCH_YES,
	ROUTE_MATCH_CUT, /* a limit was reached: nobody knows */
};

/* Scratch space of a search and what it found last. */
struct route_matcher;

/* NULL without memory. */
struct route_matcher *route_matcher_new(void);
void route_matcher_free(struct route_matcher *m);
/* Begins a search: the allowance of cut matches is fresh. */
void route_matcher_begin(struct route_matcher *m);
/* Group 1..ROUTE_MAX_GROUPS of the last match, a view into its alias; empty when it took no part.
 */
struct slice route_matcher_group(const struct route_matcher *m, unsigned group);

/* Replaces the variables in text and compiles. 0; -EINVAL or -ENOMEM with fault->text set and
 * nothing to free. */
int route_pattern_compile(struct route_pattern *p, enum route_pattern_type type, struct slice text,
			  const struct route_vars *vars, struct route_fault *fault);
/* A zeroed pattern is allowed. */
void route_pattern_fini(struct route_pattern *p);
enum route_match route_pattern_match(const struct route_pattern *p, struct route_matcher *m,
				     struct slice alias);
const char *route_pattern_type_str(enum route_pattern_type type);

#endif
