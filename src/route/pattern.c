#include "route/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

struct route_matcher {
	pcre2_match_context *context;
	pcre2_match_data *data;
	unsigned n_cut;
	struct slice subject;
	bool has_groups;
};

const char *route_pattern_type_str(enum route_pattern_type type)
{
	static const char *const str[] = { "exact", "prefix", "suffix", "regex" };

	return str[type];
}

/* PCRE2 allocates through us, so that the tests can let each of its allocations fail. */
static void *pcre_alloc(size_t n, void *arg)
{
	return malloc(n);
}

static void pcre_release(void *p, void *arg)
{
	free(p);
}

struct route_matcher *route_matcher_new(void)
{
	pcre2_general_context *general =
		pcre2_general_context_create(pcre_alloc, pcre_release, NULL);
	struct route_matcher *m = calloc(1, sizeof(*m));

	if (!general || !m)
		goto out;
	m->context = pcre2_match_context_create(general);
	m->data = pcre2_match_data_create(ROUTE_MAX_GROUPS + 1, general);
	if (!m->context || !m->data)
		goto out;
	pcre2_set_match_limit(m->context, ROUTE_MATCH_LIMIT);
	pcre2_set_depth_limit(m->context, ROUTE_DEPTH_LIMIT);
	pcre2_set_heap_limit(m->context, ROUTE_HEAP_LIMIT_KIB);
	pcre2_general_context_free(general);
	return m;
out:
	route_matcher_free(m);
	pcre2_general_context_free(general);
	return NULL;
}

void route_matcher_free(struct route_matcher *m)
{
	if (!m)
		return;
	pcre2_match_context_free(m->context);
	pcre2_match_data_free(m->data);
	free(m);
}

void route_matcher_begin(struct route_matcher *m)
{
	m->n_cut = 0;
	m->has_groups = false;
}

struct slice route_matcher_group(const struct route_matcher *m, unsigned group)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);

	if (!m->has_groups || group > ROUTE_MAX_GROUPS || at[2 * group] == PCRE2_UNSET)
		return SLICE_NONE;
	/* \K and friends may leave an end before its start. */
	if (at[2 * group + 1] < at[2 * group] || at[2 * group + 1] > m->subject.n)
		return SLICE_NONE;
	return (struct slice){ m->subject.p + at[2 * group], at[2 * group + 1] - at[2 * group] };
}

static void explain_regex(int code, size_t at, struct route_fault *fault)
{
	PCRE2_UCHAR text[160];

	if (pcre2_get_error_message(code, text, sizeof(text)) < 0)
		text[0] = '\0';
	snprintf(fault->text, sizeof(fault->text), "bad regular expression at byte %zu: %s", at,
		 (char *)text);
}

/* Aliases are bytes: UTF is off, and a pattern cannot switch it on. */
static int compile_regex(struct route_pattern *p, struct route_fault *fault)
{
	const uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_CASELESS |
				 PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
	pcre2_general_context *general =
		pcre2_general_context_create(pcre_alloc, pcre_release, NULL);
	pcre2_compile_context *context = NULL;
	int err = -ENOMEM, code = PCRE2_ERROR_NOMEMORY;
	size_t at = 0;

	if (general)
		context = pcre2_compile_context_create(general);
	if (!context)
		goto out;
	p->code = pcre2_compile((PCRE2_SPTR)p->text, p->n, options, &code, &at, context);
	if (p->code) {
		pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &p->n_groups);
		err = 0;
	} else if (code != PCRE2_ERROR_HEAP_FAILED && code != PCRE2_ERROR_NOMEMORY) {
		explain_regex(code, at, fault);
		err = -EINVAL;
	}
out:
	pcre2_compile_context_free(context);
	pcre2_general_context_free(general);
	return err;
}

static int compile(struct route_pattern *p, struct slice text, const struct route_vars *vars,
		   struct buf *expanded, struct route_fault *fault)
{
	enum route_vars_use use = p->type == ROUTE_REGEX ? ROUTE_VARS_REGEX : ROUTE_VARS_PLAIN;
	int err = route_vars_expand(vars, text, use, expanded, fault);

	if (err)
		return err;
	p->n = expanded->n;
	p->text = buf_take(expanded);
	if (!p->text)
		return -ENOMEM;
	return p->type == ROUTE_REGEX ? compile_regex(p, fault) : 0;
}

int route_pattern_compile(struct route_pattern *p, enum route_pattern_type type, struct slice text,
			  const struct route_vars *vars, struct route_fault *fault)
{
	struct buf expanded;
	int err;

	*p = (struct route_pattern){ .type = type };
	fault->key = "pattern";
	if (text.n == 0 || text.n > ROUTE_PATTERN_BYTES) {
		snprintf(fault->text, sizeof(fault->text), "a pattern has 1 to %d bytes",
			 ROUTE_PATTERN_BYTES);
		return -EINVAL;
	}
	buf_init(&expanded, ROUTE_PATTERN_EXPANDED_BYTES);
	err = compile(p, text, vars, &expanded, fault);
	if (err == -ENOMEM)
		snprintf(fault->text, sizeof(fault->text),
			 "out of memory, or over %d bytes with its variables",
			 ROUTE_PATTERN_EXPANDED_BYTES);
	if (err)
		route_pattern_fini(p);
	buf_fini(&expanded);
	return err;
}

void route_pattern_fini(struct route_pattern *p)
{
	free(p->text);
	pcre2_code_free(p->code);
	*p = (struct route_pattern){ .type = p->type };
}

/* Anything but a clear yes or no (match, depth or heap limit, recursion loop, no memory) is a cut.
 */
static enum route_match match_regex(const struct route_pattern *p, struct route_matcher *m,
				    struct slice alias)
{
	int rc;

	if (m->n_cut >= ROUTE_MAX_CUTS)
		return ROUTE_MATCH_CUT;
	rc = pcre2_match(p->code, (PCRE2_SPTR)(alias.n ? alias.p : ""), alias.n, 0, PCRE2_NO_JIT,
			 m->data, m->context);
	if (rc == PCRE2_ERROR_NOMATCH)
		return ROUTE_MATCH_NO;
	if (rc < 0) {
		m->n_cut++;
		return ROUTE_MATCH_CUT;
	}
	/* rc 0: more groups than we keep. Pairs past the last group that took part are unset. */
	m->subject = alias;
	m->has_groups = true;
	return ROUTE_MATCH_YES;
}

enum route_match route_pattern_match(const struct route_pattern *p, struct route_matcher *m,
				     struct slice alias)
{
	const struct slice text = { p->text, p->n };
	bool hit = false;

	m->has_groups = false;
	switch (p->type) {
	case ROUTE_EXACT:
		hit = slice_caseeq(alias, text);
		break;
	case ROUTE_PREFIX:
		hit = alias.n >= text.n && slice_caseeq((struct slice){ alias.p, text.n }, text);
		break;
	case ROUTE_SUFFIX:
		hit = alias.n >= text.n &&
		      slice_caseeq((struct slice){ alias.p + alias.n - text.n, text.n }, text);
		break;
	case ROUTE_REGEX:
		return match_regex(p, m, alias);
	}
	return hit ? ROUTE_MATCH_YES : ROUTE_MATCH_NO;
}
