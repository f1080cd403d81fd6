#ifndef CORE_TRACE_H
#define CORE_TRACE_H
/*
 * The decision trace: whoever refuses, routes, bans or drops says so here: a stable reason code,
 * the rule or setting that decided, one line for humans. A ring keeps the recent ones
 * (`turnpikectl search-history`, `turnpikectl trace`); repeats of the same code by the same
 * decider from the same source within a second are counted in one entry, so that a flood cannot
 * wash the ring out.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct trace;

struct trace_entry {
	uint64_t seq;
	int64_t wall_ms;
	char code[48];	     /* "sip.register.unknown-domain" */
	char decided_by[64]; /* rule, setting or section: "[domain example.com]" */
	struct addr remote;  /* ADDR_NONE when there is none */
	char session[33];
	char text[512]; /* escaped, one line; may hold '\n' in search traces */
	uint32_t n_repeats;
};

struct trace *trace_new(size_t n_entries, int64_t (*now_ms)(void *), void *arg);
void trace_free(struct trace *t);
/* remote, session and decided_by may be NULL. Text is escaped here (line feeds excepted). Counts by
 * code for the metrics. */
void trace_add(struct trace *t, const char *code, const char *decided_by, const struct addr *remote,
	       const char *session, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Newest first until fn returns false. prefix limits to codes that start with it (NULL: all). */
void trace_each(const struct trace *t, const char *prefix,
		bool (*fn)(const struct trace_entry *e, void *arg), void *arg);
/* How often a code was recorded since start (repeats included). */
uint64_t trace_count(const struct trace *t, const char *code);
void trace_counts_each(const struct trace *t, void (*fn)(const char *code, uint64_t n, void *arg),
		       void *arg);

#endif
