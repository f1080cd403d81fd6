/* Sections that the program found out by itself, kept as text until a snapshot is built. */
#include <errno.h>
#include <stdlib.h>

#include "core/conf_private.h"
#include "proto/ini.h"

static struct conf_origin *find(struct conf_store *s, const char *name)
{
	LIST_FOREACH (it, &s->origins) {
		struct conf_origin *o = CONTAINER_OF(it, struct conf_origin, node);

		if (strcmp(o->name, name) == 0)
			return o;
	}
	return NULL;
}

static void origin_free(struct conf_store *s, struct conf_origin *o)
{
	if (!o)
		return;
	list_del(&o->node);
	s->n_origins--;
	free(o->name);
	free(o->text);
	free(o);
}

static int origin_add(struct conf_store *s, const char *name, char *text)
{
	struct conf_origin *o;

	if (s->n_origins == CONF_MAX_ORIGINS)
		return -ENOSPC;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->name = strdup(name);
	if (!o->name) {
		free(o);
		return -ENOMEM;
	}
	o->text = text;
	list_add_tail(&s->origins, &o->node);
	s->n_origins++;
	return 0;
}

int conf_store_set_generated(struct conf_store *s, const char *origin, struct slice text)
{
	struct conf_origin *o = find(s, origin);
	char *copy;
	int error = 0;

	if (text.n == 0) {
		origin_free(s, o);
		return 0;
	}
	if (text.n > INI_MAX_TEXT_BYTES)
		return -E2BIG;
	copy = slice_dup(text);
	if (!copy)
		return -ENOMEM;
	if (o) {
		free(o->text);
		o->text = copy;
		return 0;
	}
	error = origin_add(s, origin, copy);
	if (error)
		free(copy);
	return error;
}

void conf_store_use_generated(struct conf_store *s, bool use)
{
	s->skips_generated = !use;
}

void conf_origins_fini(struct conf_store *s)
{
	LIST_FOREACH_SAFE (it, &s->origins)
		origin_free(s, CONTAINER_OF(it, struct conf_origin, node));
}

const char *conf_generated_refused(const struct conf_snapshot *snap)
{
	return snap->refused;
}

const char *conf_generated_left_out(const struct conf_snapshot *snap)
{
	return snap->left_out.n ? snap->left_out.p : "";
}

bool conf_has_generated(const struct conf_snapshot *snap)
{
	LIST_FOREACH (it, &snap->entries) {
		if (CONTAINER_OF(it, struct conf_entry, node)->generated)
			return true;
	}
	return false;
}

bool conf_is_generated(const void *section)
{
	return conf_entry_of(section)->generated;
}
