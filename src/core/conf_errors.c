#include <stdio.h>
#include <stdlib.h>

#include "core/conf_private.h"

bool conf_errors_any(const struct conf_errors *errors)
{
	return errors->n > 0 || errors->out_of_memory;
}

static void add_text(struct conf_errors *errors, unsigned line, char *text)
{
	if (!text) {
		errors->out_of_memory = true;
	} else if (errors->n == CONF_MAX_ERRORS) {
		errors->n_more++;
		free(text);
	} else {
		unsigned order = (unsigned)errors->n;

		errors->v[errors->n++] = (struct conf_error_item){ line, order, text };
	}
}

void conf_errors_add(struct conf_errors *errors, unsigned line, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add_text(errors, line, text);
}

static void add_entry(struct conf_errors *errors, struct conf_entry *e, unsigned line,
		      const char *key, const char *fmt, va_list ap)
{
	char label[CONF_LABEL_BYTES];
	char *what;

	e->bad = true;
	if (vasprintf(&what, fmt, ap) < 0) {
		errors->out_of_memory = true;
		return;
	}
	conf_entry_label(e, label, sizeof(label));
	conf_errors_add(errors, line, "%s%s%s: %s", label, key ? " " : "", key ? key : "", what);
	free(what);
}

void conf_errors_entry(struct conf_errors *errors, struct conf_entry *e, unsigned line,
		       const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_entry(errors, e, line, key, fmt, ap);
	va_end(ap);
}

static unsigned line_of(const struct conf_entry *e, const char *key)
{
	const struct conf_common *common = conf_entry_common(e);

	for (size_t i = 0; key && i < common->schema->n_rows; i++) {
		if (strcmp(common->schema->rows[i].key, key) == 0 && e->lines[i])
			return e->lines[i];
	}
	return common->line;
}

void conf_error(struct conf_errors *errors, const void *section, const char *key, const char *fmt,
		...)
{
	struct conf_entry *e = conf_entry_of(section);
	va_list ap;

	va_start(ap, fmt);
	add_entry(errors, e, line_of(e, key), key, fmt, ap);
	va_end(ap);
}

static int by_line(const void *a, const void *b)
{
	const struct conf_error_item *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

void conf_errors_print(struct conf_errors *errors, struct buf *out)
{
	qsort(errors->v, errors->n, sizeof(errors->v[0]), by_line);
	for (size_t i = 0; i < errors->n; i++) {
		const struct conf_error_item *item = &errors->v[i];

		if (item->line)
			buf_printf(out, "%s:%u: %s\n", errors->file, item->line, item->text);
		else
			buf_printf(out, "%s: %s\n", errors->file, item->text);
	}
	if (errors->n_more)
		buf_printf(out, "%s: and %zu more errors\n", errors->file, errors->n_more);
	if (errors->out_of_memory)
		buf_printf(out, "%s: out of memory\n", errors->file);
}

void conf_errors_fini(struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		free(errors->v[i].text);
	errors->n = 0;
}

void conf_guess_init(struct conf_guess *g, struct slice word)
{
	*g = (struct conf_guess){ .word = word, .distance = 64 };
}

void conf_guess_try(struct conf_guess *g, struct slice candidate)
{
	unsigned d = slice_distance(g->word, candidate);
	/* One slip in a short word, more in a long one; never as much as a different word. */
	unsigned most = candidate.n <= 3 ? 1 : candidate.n <= 6 ? 2 : 3;

	if (d <= most && d < candidate.n && d < g->distance) {
		g->best = candidate;
		g->distance = d;
	}
}

void conf_guess_print(const struct conf_guess *g, struct buf *out)
{
	if (g->best.n)
		buf_printf(out, "; did you mean \"%.*s\"?", SLICE_ARG(g->best));
}
