/* A pattern and an alias: no crash, no overrun, and no match that goes on for ever. Input: the
 * first byte chooses the pattern type and the behaviour; then pattern, replacement and alias, each
 * ended by a line feed. */
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "route/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Milliseconds of processor time that no match may take, sanitizers and all. */
#define FOR_EVER_MS 2000

static int64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void match(const struct route_edit *e, struct slice alias)
{
	struct route_matcher *m = route_matcher_new();
	char out[ROUTE_ALIAS_BYTES];
	int64_t before = cpu_ms();

	if (!m)
		return;
	route_matcher_begin(m);
	if (route_pattern_match(&e->pattern, m, alias) == ROUTE_MATCH_YES) {
		bool ok = route_edit_apply(e, m, alias, out);

		/* What comes out is an alias again, or nothing. */
		if (ok != route_alias_ok(slice_of(out)))
			abort();
	}
	if (cpu_ms() - before > FOR_EVER_MS)
		abort();
	route_matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const domains[] = { "example.com", "example.net" };
	const struct route_vars vars = { .system_name = "core1",
					 .domains = domains,
					 .n_domains = 2 };
	struct slice rest, pattern, alias;
	struct route_edit_spec spec;
	struct route_fault fault;
	struct route_edit e;
	char *pattern_text, *replace;

	if (size < 1 || size > 2048)
		return 0;
	rest = (struct slice){ (const char *)data + 1, size - 1 };
	pattern = slice_next(&rest, '\n');
	pattern_text = slice_dup(pattern);
	replace = slice_dup(slice_next(&rest, '\n'));
	alias = slice_next(&rest, '\n');
	spec = (struct route_edit_spec){ .type = (enum route_pattern_type)(data[0] & 3),
					 .pattern = pattern_text,
					 .behaviour = (enum route_behaviour)((data[0] >> 2) % 5),
					 .replace = replace };
	if (pattern_text && replace && route_alias_ok(alias) &&
	    route_edit_compile(&e, &spec, &vars, &fault) == 0) {
		match(&e, alias);
		route_edit_fini(&e);
	}
	free(pattern_text);
	free(replace);
	return 0;
}
