/* What can be said only when every section has been read. */
#include <errno.h>

#include "core/conf_private.h"
#include "core/conf_value.h"

#define MAX_WHY_BYTES 8192
/* More names than that in a message help nobody. */
#define MAX_NAMES_SHOWN 20

static void fill_default(struct conf_entry *e, const struct conf_row *row, bool in_role,
			 struct conf_errors *errors)
{
	struct buf why;
	int r;

	buf_init(&why, MAX_WHY_BYTES);
	r = conf_value_set(row, slice_of(row->def), e->data, &why);
	if (r == -EINVAL && in_role)
		conf_errors_entry(errors, e, conf_entry_common(e)->line, row->key,
				  "not written, and the default does not fit: %.*s",
				  SLICE_ARG(buf_slice(&why)));
	if (r == -ENOMEM)
		errors->out_of_memory = true;
	buf_fini(&why);
}

static void require(struct conf_entry *e, const struct conf_row *row, struct conf_errors *errors)
{
	struct buf legal;

	buf_init(&legal, MAX_WHY_BYTES);
	conf_value_legal(row, &legal);
	conf_errors_entry(errors, e, conf_entry_common(e)->line, row->key,
			  "required; legal values: %.*s", SLICE_ARG(buf_slice(&legal)));
	buf_fini(&legal);
}

static void fill(struct conf_entry *e, bool in_role, struct conf_errors *errors)
{
	const struct conf_section *schema = conf_entry_common(e)->schema;

	for (size_t i = 0; i < schema->n_rows; i++) {
		const struct conf_row *row = &schema->rows[i];

		if (e->lines[i])
			continue;
		if (row->def)
			fill_default(e, row, in_role, errors);
		else if ((row->flags & CONF_REQUIRED) && in_role)
			require(e, row, errors);
	}
}

/* Appends the names of the sections of a type, and tries each as a guess. */
static size_t list_names(const struct conf_snapshot *snap, struct slice type, size_t n_shown,
			 struct conf_guess *guess, struct buf *out)
{
	LIST_FOREACH (it, &snap->entries) {
		struct conf_entry *e = CONTAINER_OF(it, struct conf_entry, node);
		const struct conf_common *common = conf_entry_common(e);

		if (!slice_eq(slice_of(common->schema->type), type) || !common->name[0])
			continue;
		if (n_shown < MAX_NAMES_SHOWN)
			buf_printf(out, "%s%s", n_shown ? ", " : "; legal values: ", common->name);
		else if (n_shown == MAX_NAMES_SHOWN)
			buf_add_str(out, ", ...");
		n_shown++;
		conf_guess_try(guess, slice_of(common->name));
	}
	return n_shown;
}

static bool exists(const struct conf_snapshot *snap, struct slice type, const char *name)
{
	char text[64];

	return slice_copy(text, sizeof(text), type) && conf_get(snap, text, name);
}

static void dangling(struct conf_snapshot *snap, struct conf_entry *e, const struct conf_row *row,
		     unsigned line, const char *name, struct conf_errors *errors)
{
	struct slice rest = slice_of(row->ref), type;
	struct conf_guess guess;
	size_t n_shown = 0;
	struct buf what, names;

	buf_init(&what, MAX_WHY_BYTES);
	buf_init(&names, MAX_WHY_BYTES);
	conf_guess_init(&guess, slice_of(name));
	while ((type = slice_word(&rest)).n) {
		buf_printf(&what, "%s[%.*s %s]", what.n ? " and no " : "there is no ",
			   SLICE_ARG(type), name);
		n_shown = list_names(snap, type, n_shown, &guess, &names);
	}
	if (n_shown == 0)
		buf_add_str(&names, "; there are no such sections in this file");
	conf_guess_print(&guess, &names);
	conf_errors_entry(errors, e, line, row->key, "%.*s%.*s", SLICE_ARG(buf_slice(&what)),
			  SLICE_ARG(buf_slice(&names)));
	buf_fini(&what);
	buf_fini(&names);
}

static void check_refs(struct conf_snapshot *snap, struct conf_entry *e, struct conf_errors *errors)
{
	const struct conf_common *common = conf_entry_common(e);

	for (size_t i = 0; i < common->schema->n_rows; i++) {
		const struct conf_row *row = &common->schema->rows[i];
		struct slice rest = slice_of(row->ref), type;
		const char *name;
		bool found = false;

		if (row->type != CONF_REF)
			continue;
		name = *(char **)((char *)e->data + row->offset);
		while (name && !found && (type = slice_word(&rest)).n)
			found = exists(snap, type, name);
		if (name && !found)
			dangling(snap, e, row, e->lines[i] ? e->lines[i] : common->line, name,
				 errors);
	}
}

void conf_check(struct conf_snapshot *snap, unsigned role, struct conf_errors *errors)
{
	LIST_FOREACH (it, &snap->entries) {
		struct conf_entry *e = CONTAINER_OF(it, struct conf_entry, node);

		fill(e, conf_entry_common(e)->schema->roles & role, errors);
	}
	LIST_FOREACH (it, &snap->entries) {
		struct conf_entry *e = CONTAINER_OF(it, struct conf_entry, node);

		if (conf_entry_common(e)->schema->roles & role)
			check_refs(snap, e, errors);
	}
	LIST_FOREACH (it, &snap->entries) {
		struct conf_entry *e = CONTAINER_OF(it, struct conf_entry, node);
		const struct conf_section *schema = conf_entry_common(e)->schema;

		if (schema->check && (schema->roles & role) && !e->bad && !errors->out_of_memory)
			schema->check(snap, e->data, errors);
	}
}
