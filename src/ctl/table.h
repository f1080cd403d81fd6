#ifndef CTL_TABLE_H
#define CTL_TABLE_H
/* A table with aligned columns, printed when all rows are known. */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "ctl/text.h"

#define TABLE_MAX_COLUMNS 16

struct column {
	const char *title;
	const char *key; /* of the JSON object that a row shows */
	enum text_form form;
	bool right; /* aligned to the right */
};

struct table_line {
	char *cells[TABLE_MAX_COLUMNS]; /* of a free line only the first */
	bool free_line;
};

struct table {
	const struct column *columns; /* ends with title NULL */
	size_t n_columns;
	struct table_line *lines;
	size_t n_lines;
	size_t cap;
	bool failed; /* out of memory */
};

/* columns lives as long as the table. */
void table_init(struct table *t, const struct column *columns);
void table_fini(struct table *t);
/* One row with the keys of the object; `indent` spaces in front of the first cell. */
void table_add_object(struct table *t, const json_t *object, unsigned indent);
/* A line of its own between the rows that does not count for the widths. */
void table_add_line(struct table *t, const char *text);
/* Appends it all; columns that are empty in every row are left out. */
void table_print(const struct table *t, struct buf *out);

#endif
