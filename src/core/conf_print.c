#include <stdio.h>

#include "core/conf_private.h"
#include "core/conf_value.h"

static void dump_origin(const struct conf_common *common, const struct conf_row *row, unsigned line,
			struct buf *out)
{
	if (line && conf_is_generated(common))
		buf_printf(out, "# discovered by %s", common->file);
	else if (line)
		buf_printf(out, "# %s:%u", common->file, line);
	else
		buf_add_str(out, "# default");
	buf_printf(out, "%s\n", row->flags & CONF_RESTART ? ", needs a restart" : "");
}

static void dump_row(const struct conf_entry *e, size_t i, struct buf *out)
{
	const struct conf_common *common = conf_entry_common(e);
	const struct conf_row *row = &common->schema->rows[i];

	/* `key =` would be written for what has no value only where a reader may write that too. */
	if (!e->lines[i] && (!row->def || conf_value_empty(row, e->data))) {
		buf_printf(out, "# default: %s is not set\n", row->key);
		return;
	}
	dump_origin(common, row, e->lines[i], out);
	buf_printf(out, "%s =", row->key);
	if (!conf_value_empty(row, e->data)) {
		buf_add_char(out, ' ');
		conf_value_print(row, e->data, out);
	}
	buf_add_char(out, '\n');
}

void conf_dump(const struct conf_snapshot *snap, struct buf *out)
{
	const char *between = "";

	LIST_FOREACH (it, &snap->entries) {
		const struct conf_entry *e = CONTAINER_OF(it, struct conf_entry, node);
		const struct conf_section *schema = conf_entry_common(e)->schema;
		char label[CONF_LABEL_BYTES];

		if (!(schema->roles & snap->role))
			continue;
		conf_entry_label(e, label, sizeof(label));
		buf_printf(out, "%s%s\n", between, label);
		for (size_t i = 0; i < schema->n_rows; i++)
			dump_row(e, i, out);
		between = "\n";
	}
}

static const char *role_text(unsigned roles)
{
	return roles == CONF_ROLE_BOTH ? "E and C" : roles == CONF_ROLE_E ? "E" : "C";
}

/* Text for a markdown table cell. */
static void add_cell(struct buf *out, const char *text)
{
	for (; text && *text; text++) {
		if (*text == '|' || *text == '<' || *text == '\\' || *text == '*' || *text == '_')
			buf_add_char(out, '\\');
		buf_add_char(out, *text);
	}
}

/* Text for roff: no line may start with a control character, "-" must stay a plain hyphen. */
static void add_roff(struct buf *out, const char *text)
{
	if (text && (*text == '.' || *text == '\''))
		buf_add_str(out, "\\&");
	for (; text && *text; text++) {
		if (*text == '\\')
			buf_add_str(out, "\\e");
		else if (*text == '-')
			buf_add_str(out, "\\-");
		else
			buf_add_char(out, *text);
	}
}

static void legal_text(const struct conf_row *row, char *text, size_t size)
{
	struct buf b;

	buf_init(&b, size - 1);
	conf_value_legal(row, &b);
	slice_copy(text, size, buf_slice(&b));
	buf_fini(&b);
}

static void markdown_row(const struct conf_row *row, struct buf *out)
{
	char legal[1024];

	legal_text(row, legal, sizeof(legal));
	buf_printf(out, "| `%s` | ", row->key);
	add_cell(out, legal);
	buf_add_str(out, " | ");
	if (row->flags & CONF_REQUIRED)
		buf_add_str(out, "required");
	else if (row->def && row->def[0])
		buf_printf(out, "`%s`", row->def);
	else
		buf_add_str(out, "not set");
	buf_add_str(out, " | ");
	add_cell(out, row->help);
	buf_printf(out, "%s |\n", row->flags & CONF_RESTART ? " Needs a restart." : "");
}

static void markdown_section(const struct conf_section *schema, struct buf *out)
{
	buf_printf(out, "## `[%s%s]`\n\n", schema->type, schema->repeatable ? " NAME" : "");
	if (schema->help)
		buf_printf(out, "%s ", schema->help);
	buf_printf(out, "Role %s.\n\n", role_text(schema->roles));
	buf_add_str(out, "| Key | Legal values | Default | Meaning |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < schema->n_rows; i++)
		markdown_row(&schema->rows[i], out);
	buf_add_char(out, '\n');
}

static void roff_row(const struct conf_row *row, struct buf *out)
{
	char legal[1024];

	legal_text(row, legal, sizeof(legal));
	buf_add_str(out, ".TP\n.B ");
	add_roff(out, row->key);
	buf_add_char(out, '\n');
	add_roff(out, row->help);
	buf_add_str(out, "\n.br\nLegal values: ");
	add_roff(out, legal);
	if (row->flags & CONF_REQUIRED) {
		buf_add_str(out, ". Required.");
	} else if (row->def && row->def[0]) {
		buf_add_str(out, ". Default: ");
		add_roff(out, row->def);
		buf_add_char(out, '.');
	} else {
		buf_add_str(out, ". Not set by default.");
	}
	buf_printf(out, "%s\n", row->flags & CONF_RESTART ? " Needs a restart." : "");
}

static void roff_section(const struct conf_section *schema, struct buf *out)
{
	buf_add_str(out, ".SS \"[");
	add_roff(out, schema->type);
	buf_printf(out, "%s]\"\n", schema->repeatable ? " NAME" : "");
	if (schema->help) {
		add_roff(out, schema->help);
		buf_add_char(out, '\n');
	}
	buf_printf(out, "Role %s.\n", role_text(schema->roles));
	for (size_t i = 0; i < schema->n_rows; i++)
		roff_row(&schema->rows[i], out);
}

void conf_document(const struct conf_store *s, bool roff, struct buf *out)
{
	for (size_t i = 0; i < s->n_schema; i++) {
		if (roff)
			roff_section(s->schema[i], out);
		else
			markdown_section(s->schema[i], out);
	}
}
