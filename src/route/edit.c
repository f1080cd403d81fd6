#include "route/edit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int refuse(struct route_fault *fault, const char *key, const char *text)
{
	fault->key = key;
	snprintf(fault->text, sizeof(fault->text), "%s", text);
	return -EINVAL;
}

bool route_alias_ok(struct slice alias)
{
	size_t i;

	for (i = 0; i < alias.n; i++)
		if (alias.p[i] <= 0x20 || alias.p[i] >= 0x7f)
			return false;
	return alias.n > 0 && alias.n < ROUTE_ALIAS_BYTES;
}

static int check_group(const struct route_edit *e, char digit, struct route_fault *fault)
{
	if (digit == '\\')
		return 0;
	if (digit < '1' || digit > '9')
		return refuse(fault, "replace", "after a backslash: 1 to 9 (a group), or \\");
	if (e->pattern.type != ROUTE_REGEX)
		return refuse(fault, "replace", "groups (\\1) need pattern-type = regex");
	if ((uint32_t)(digit - '0') <= e->pattern.n_groups)
		return 0;
	fault->key = "replace";
	snprintf(fault->text, sizeof(fault->text), "there is no group %c: the pattern has %u",
		 digit, e->pattern.n_groups);
	return -EINVAL;
}

static int check_replace(const struct route_edit *e, struct route_fault *fault)
{
	size_t i;
	int err;

	if (!route_alias_ok((struct slice){ e->replace, e->n_replace }))
		return refuse(fault, "replace", "1 to 511 printable ASCII characters, no spaces");
	for (i = 0; i < e->n_replace; i++) {
		if (e->replace[i] != '\\')
			continue;
		/* The NUL behind the text is no legal group. */
		err = check_group(e, e->replace[++i], fault);
		if (err)
			return err;
	}
	return 0;
}

static int compile_replace(struct route_edit *e, const char *text, const struct route_vars *vars,
			   struct route_fault *fault)
{
	struct buf b;
	int err;

	fault->key = "replace";
	buf_init(&b, ROUTE_PATTERN_BYTES);
	err = route_vars_expand(vars, slice_of(text), ROUTE_VARS_REPLACE, &b, fault);
	if (err == 0) {
		e->n_replace = b.n;
		e->replace = buf_take(&b);
		err = e->replace ? check_replace(e, fault) : -ENOMEM;
	}
	buf_fini(&b);
	if (err == -ENOMEM)
		snprintf(fault->text, sizeof(fault->text), "out of memory, or over %d bytes",
			 ROUTE_PATTERN_BYTES);
	return err;
}

int route_edit_compile(struct route_edit *e, const struct route_edit_spec *spec,
		       const struct route_vars *vars, struct route_fault *fault)
{
	const bool wants_text = spec->behaviour >= ROUTE_REPLACE;
	const bool has_text = spec->replace && spec->replace[0];
	int err;

	*e = (struct route_edit){ .behaviour = spec->behaviour };
	if (wants_text && !has_text)
		return refuse(fault, "replace", "this behaviour needs `replace`");
	if (has_text && !wants_text)
		return refuse(fault, "replace", "this behaviour has no use for `replace`");
	if (spec->behaviour == ROUTE_STRIP && spec->type != ROUTE_PREFIX &&
	    spec->type != ROUTE_SUFFIX)
		return refuse(fault, "behaviour",
			      "strip needs pattern-type = prefix or suffix; use replace");
	err = route_pattern_compile(&e->pattern, spec->type, slice_of(spec->pattern), vars, fault);
	if (err == 0 && has_text)
		err = compile_replace(e, spec->replace, vars, fault);
	if (err)
		route_edit_fini(e);
	return err;
}

void route_edit_fini(struct route_edit *e)
{
	route_pattern_fini(&e->pattern);
	free(e->replace);
	e->replace = NULL;
}

/* Output of bounded size; too much is remembered and refused at the end. */
struct writer {
	char *out;
	size_t n;
	bool full;
};

static void put(struct writer *w, struct slice s)
{
	if (w->full || s.n > ROUTE_ALIAS_BYTES - 1 - w->n) {
		w->full = true;
		return;
	}
	if (s.n)
		memcpy(w->out + w->n, s.p, s.n);
	w->n += s.n;
}

static void put_replace(struct writer *w, const struct route_edit *e, const struct route_matcher *m)
{
	size_t i;

	for (i = 0; i < e->n_replace; i++) {
		if (e->replace[i] != '\\')
			put(w, (struct slice){ e->replace + i, 1 });
		else if (e->replace[++i] == '\\')
			put(w, SLICE("\\"));
		else
			put(w, route_matcher_group(m, (unsigned)(e->replace[i] - '0')));
	}
}

/* The alias without the part that matched, in the two pieces around it. */
static void split(const struct route_edit *e, struct slice alias, struct slice *before,
		  struct slice *after)
{
	*before = *after = SLICE_NONE;
	if (e->pattern.type == ROUTE_PREFIX)
		*after = (struct slice){ alias.p + e->pattern.n, alias.n - e->pattern.n };
	else if (e->pattern.type == ROUTE_SUFFIX)
		*before = (struct slice){ alias.p, alias.n - e->pattern.n };
}

bool route_edit_apply(const struct route_edit *e, const struct route_matcher *m, struct slice alias,
		      char out[ROUTE_ALIAS_BYTES])
{
	struct writer w = { .out = out };
	struct slice before, after;

	split(e, alias, &before, &after);
	switch (e->behaviour) {
	case ROUTE_LEAVE:
		put(&w, alias);
		break;
	case ROUTE_STRIP:
		put(&w, before);
		put(&w, after);
		break;
	case ROUTE_REPLACE:
		put(&w, before);
		put_replace(&w, e, m);
		put(&w, after);
		break;
	case ROUTE_ADD_PREFIX:
		put_replace(&w, e, m);
		put(&w, alias);
		break;
	case ROUTE_ADD_SUFFIX:
		put(&w, alias);
		put_replace(&w, e, m);
		break;
	}
	out[w.full ? 0 : w.n] = '\0';
	return !w.full && w.n > 0;
}
