#include "core/conf_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf_private.h"
#include "core/conf_value.h"

#define MAX_LEFT_OUT_BYTES 65536

struct conf_store *conf_store_new(const struct conf_section *const *schema, size_t n_schema)
{
	struct conf_store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->schema = schema;
	s->n_schema = n_schema;
	list_init(&s->origins);
	return s;
}

void conf_store_free(struct conf_store *s)
{
	if (!s)
		return;
	conf_unref(s->current);
	conf_origins_fini(s);
	free(s);
}

const struct conf_section *conf_schema_find(const struct conf_store *s, struct slice type)
{
	for (size_t i = 0; i < s->n_schema; i++) {
		if (slice_eq(slice_of(s->schema[i]->type), type))
			return s->schema[i];
	}
	return NULL;
}

static struct slice entry_key(const struct htab_node *node)
{
	return slice_of(CONTAINER_OF(node, struct conf_entry, by_name)->id);
}

struct conf_snapshot *conf_snapshot_new(const struct conf_store *s, const char *file, unsigned role)
{
	/* Keys are the operator's own words: nobody to hide the hash from. */
	static const uint8_t seed[16];
	struct conf_snapshot *snap = calloc(1, sizeof(*snap));

	if (!snap)
		return NULL;
	snap->n_refs = 1;
	snap->role = role;
	snap->store = s;
	buf_init(&snap->left_out, MAX_LEFT_OUT_BYTES);
	list_init(&snap->entries);
	snap->file = strdup(file);
	if (!snap->file || htab_init(&snap->by_name, seed, entry_key) < 0) {
		free(snap->file);
		free(snap);
		return NULL;
	}
	return snap;
}

static void entry_free(struct conf_entry *e)
{
	struct conf_common *common = conf_entry_common(e);

	for (size_t i = 0; i < common->schema->n_rows; i++)
		conf_value_free(&common->schema->rows[i], e->data);
	free(common->name);
	free(common->file);
	free(e->lines);
	free(e->id);
	free(e);
}

static void snapshot_free(struct conf_snapshot *snap)
{
	LIST_FOREACH_SAFE (it, &snap->entries) {
		list_del(it);
		entry_free(CONTAINER_OF(it, struct conf_entry, node));
	}
	htab_fini(&snap->by_name);
	buf_fini(&snap->left_out);
	if (snap->text)
		/* Passwords may stand in it. */
		explicit_bzero(snap->text, snap->n_text);
	free(snap->text);
	free(snap->refused);
	free(snap->file);
	free(snap);
}

struct conf_entry *conf_entry_new(struct conf_snapshot *snap, const struct conf_section *schema,
				  struct slice name, unsigned line)
{
	struct conf_entry *e = calloc(1, sizeof(*e) + schema->size);
	struct conf_common *common;

	if (!e)
		return NULL;
	common = conf_entry_common(e);
	common->schema = schema;
	common->name = slice_dup(name);
	common->file = strdup(snap->origin ? snap->origin : snap->file);
	e->generated = snap->origin != NULL;
	common->line = line;
	e->lines = calloc(schema->n_rows ? schema->n_rows : 1, sizeof(*e->lines));
	if (asprintf(&e->id, "%s %.*s", schema->type, SLICE_ARG(name)) < 0)
		e->id = NULL;
	list_add_tail(&snap->entries, &e->node);
	if (!common->name || !common->file || !e->lines || !e->id) {
		list_del(&e->node);
		entry_free(e);
		return NULL;
	}
	snap->n_entries++;
	return e;
}

bool conf_entry_enter(struct conf_snapshot *snap, struct conf_entry *e, struct conf_entry **first)
{
	struct htab_node *node = htab_get(&snap->by_name, slice_of(e->id));

	if (node) {
		*first = CONTAINER_OF(node, struct conf_entry, by_name);
		return false;
	}
	htab_add(&snap->by_name, &e->by_name);
	return true;
}

void conf_entry_label(const struct conf_entry *e, char *buf, size_t size)
{
	const struct conf_common *common = conf_entry_common(e);

	snprintf(buf, size, "[%s%s%s]", common->schema->type, common->name[0] ? " " : "",
		 common->name);
}

struct conf_snapshot *conf_ref(const struct conf_snapshot *snap)
{
	struct conf_snapshot *s = (struct conf_snapshot *)(uintptr_t)snap;

	s->n_refs++;
	return s;
}

void conf_unref(const struct conf_snapshot *snap)
{
	struct conf_snapshot *s = (struct conf_snapshot *)(uintptr_t)snap;

	if (s && --s->n_refs == 0)
		snapshot_free(s);
}

unsigned conf_role(const struct conf_snapshot *snap)
{
	return snap->role;
}

const struct conf_snapshot *conf_current(const struct conf_store *s)
{
	return s->current;
}

void conf_swap(struct conf_store *s, struct conf_snapshot *snap)
{
	struct conf_snapshot *old = s->current;

	s->current = snap;
	conf_unref(old);
}

const void *conf_get(const struct conf_snapshot *snap, const char *type, const char *name)
{
	size_t n_type = strlen(type), n_name = name ? strlen(name) : 0;
	char id[CONF_LABEL_BYTES];
	struct htab_node *node;

	if (n_type + 1 + n_name >= sizeof(id))
		return NULL;
	memcpy(id, type, n_type);
	id[n_type] = ' ';
	if (n_name)
		memcpy(id + n_type + 1, name, n_name);
	node = htab_get(&snap->by_name, (struct slice){ id, n_type + 1 + n_name });
	return node ? CONTAINER_OF(node, struct conf_entry, by_name)->data : NULL;
}

const void *conf_next(const struct conf_snapshot *snap, const char *type, const void *prev)
{
	const struct list *at = prev ? &conf_entry_of(prev)->node : &snap->entries;

	for (at = at->next; at != &snap->entries; at = at->next) {
		const struct conf_entry *e = CONTAINER_OF((uintptr_t)at, struct conf_entry, node);

		if (strcmp(conf_entry_common(e)->schema->type, type) == 0)
			return e->data;
	}
	return NULL;
}

bool conf_is_set(const void *section, const char *key)
{
	const struct conf_entry *e = conf_entry_of(section);
	const struct conf_section *schema = conf_entry_common(e)->schema;

	for (size_t i = 0; i < schema->n_rows; i++) {
		if (strcmp(schema->rows[i].key, key) == 0)
			return e->lines[i] != 0;
	}
	return false;
}

bool conf_section_same(const void *a, const void *b)
{
	const struct conf_section *schema;

	if (!a || !b || a == b)
		return a == b;
	schema = ((const struct conf_common *)a)->schema;
	if (schema != ((const struct conf_common *)b)->schema)
		return false;
	for (size_t i = 0; i < schema->n_rows; i++) {
		if (!conf_value_same(&schema->rows[i], a, b))
			return false;
	}
	return true;
}
