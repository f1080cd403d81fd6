#include "ctl/table.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CELL_BYTES 8192

void table_init(struct table *t, const struct column *columns)
{
	*t = (struct table){ .columns = columns };
	while (t->n_columns < TABLE_MAX_COLUMNS && columns[t->n_columns].title)
		t->n_columns++;
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n_lines; i++) {
		for (size_t j = 0; j < TABLE_MAX_COLUMNS; j++)
			free(t->lines[i].cells[j]);
	}
	free(t->lines);
	*t = (struct table){ .columns = t->columns, .n_columns = t->n_columns };
}

static struct table_line *new_line(struct table *t)
{
	if (t->n_lines == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 32;
		struct table_line *lines = realloc(t->lines, cap * sizeof(*lines));

		if (!lines) {
			t->failed = true;
			return NULL;
		}
		t->lines = lines;
		t->cap = cap;
	}
	t->lines[t->n_lines] = (struct table_line){ 0 };
	return &t->lines[t->n_lines++];
}

static char *cell_text(const struct column *column, const json_t *object, unsigned indent)
{
	struct buf b;

	buf_init(&b, MAX_CELL_BYTES);
	buf_printf(&b, "%*s", (int)indent, "");
	text_add_value(&b, json_object_get(object, column->key), column->form);
	return buf_take(&b);
}

void table_add_object(struct table *t, const json_t *object, unsigned indent)
{
	struct table_line *line = new_line(t);

	for (size_t i = 0; line && i < t->n_columns; i++) {
		line->cells[i] = cell_text(&t->columns[i], object, i == 0 ? indent : 0);
		if (!line->cells[i])
			t->failed = true;
	}
}

void table_add_line(struct table *t, const char *text)
{
	struct table_line *line = new_line(t);

	if (!line)
		return;
	line->free_line = true;
	line->cells[0] = strdup(text);
	if (!line->cells[0])
		t->failed = true;
}

/* 0: the column is empty in every row. */
static size_t column_width(const struct table *t, size_t column)
{
	size_t widest = 0, title = text_width(t->columns[column].title);

	for (size_t i = 0; i < t->n_lines; i++) {
		const char *cell = t->lines[i].cells[column];
		size_t n = cell && !t->lines[i].free_line ? text_width(cell) : 0;

		if (n > widest)
			widest = n;
	}
	return widest == 0 ? 0 : widest > title ? widest : title;
}

static void add_cell(struct buf *out, const char *text, size_t width, bool right)
{
	size_t n = text_width(text);
	int pad = width > n ? (int)(width - n) : 0;

	if (right)
		buf_printf(out, "%*s%s", pad, "", text);
	else
		buf_printf(out, "%s%*s", text, pad, "");
}

/* cells NULL: the titles. */
static void print_row(const struct table *t, char *const *cells, const size_t *widths,
		      struct buf *out)
{
	bool first = true;

	for (size_t i = 0; i < t->n_columns; i++) {
		const char *text = cells ? cells[i] : t->columns[i].title;

		if (widths[i] == 0)
			continue;
		if (!first)
			buf_add_str(out, "  ");
		add_cell(out, text ? text : "", widths[i], t->columns[i].right);
		first = false;
	}
	while (out->n > 0 && out->p[out->n - 1] == ' ')
		out->p[--out->n] = '\0';
	buf_add_char(out, '\n');
}

void table_print(const struct table *t, struct buf *out)
{
	size_t widths[TABLE_MAX_COLUMNS];

	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = column_width(t, i);
	print_row(t, NULL, widths, out);
	for (size_t i = 0; i < t->n_lines; i++) {
		const struct table_line *line = &t->lines[i];

		if (line->free_line)
			buf_printf(out, "%s\n", line->cells[0] ? line->cells[0] : "");
		else
			print_row(t, line->cells, widths, out);
	}
	if (t->failed)
		out->failed = true;
}
