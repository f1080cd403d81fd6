#ifndef CORE_CONF_PRIVATE_H
#define CORE_CONF_PRIVATE_H
/* What the files of the config store share; nobody else includes this. */
#include <stddef.h>

#include "base/htab.h"
#include "base/list.h"
#include "core/conf_store.h"

struct conf_origin {
	struct list node;
	char *name;
	char *text;
};

struct conf_store {
	const struct conf_section *const *schema;
	size_t n_schema;
	struct conf_snapshot *current;
	struct list origins; /* of generated sections */
	size_t n_origins;
	bool skips_generated;
};

struct conf_snapshot {
	unsigned n_refs;
	unsigned role;
	const struct conf_store *store;
	char *file;
	struct list entries; /* in file order, then those that are all defaults */
	size_t n_entries;
	struct htab by_name; /* by "type name", without duplicates */
	char *text;	     /* of the file; may hold secrets */
	size_t n_text;
	const char *origin;  /* of the generated text being read; NULL: the file */
	char *refused;	     /* why there are no generated sections */
	struct buf left_out; /* headers of those that the file has */
};

/* One section: what the store knows about it, and the struct that the module sees behind it. */
struct conf_entry {
	struct list node;
	struct htab_node by_name;
	char *id; /* "type name" or "type " */
	bool bad; /* an error was reported for it */
	bool generated;
	unsigned *lines; /* of each row's key; 0: not written */
	max_align_t data[];
};

struct conf_error_item {
	unsigned line;
	unsigned order;
	char *text;
};

struct conf_errors {
	const char *file;
	struct conf_error_item v[CONF_MAX_ERRORS];
	size_t n;
	size_t n_more; /* over CONF_MAX_ERRORS */
	bool out_of_memory;
};

static inline struct conf_entry *conf_entry_of(const void *section)
{
	return CONTAINER_OF((char *)(uintptr_t)section, struct conf_entry, data);
}
static inline struct conf_common *conf_entry_common(const struct conf_entry *e)
{
	return (struct conf_common *)(uintptr_t)e->data;
}

/* conf_errors.c */
bool conf_errors_any(const struct conf_errors *errors);
/* line 0: the file as a whole. */
void conf_errors_add(struct conf_errors *errors, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* `[type name] key: text` at that line, and marks the section as bad. */
void conf_errors_entry(struct conf_errors *errors, struct conf_entry *e, unsigned line,
		       const char *key, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Appends every error, sorted by line, one a line. */
void conf_errors_print(struct conf_errors *errors, struct buf *out);
void conf_errors_fini(struct conf_errors *errors);

/* conf_store.c */
struct conf_snapshot *conf_snapshot_new(const struct conf_store *s, const char *file,
					unsigned role);
/* A zeroed entry at the end of the list, not yet found by name; NULL without memory. */
struct conf_entry *conf_entry_new(struct conf_snapshot *snap, const struct conf_section *schema,
				  struct slice name, unsigned line);
/* False when the type has one of that name already (*first is it then). */
bool conf_entry_enter(struct conf_snapshot *snap, struct conf_entry *e, struct conf_entry **first);
const struct conf_section *conf_schema_find(const struct conf_store *s, struct slice type);
/* "[type name]" or "[type]". */
void conf_entry_label(const struct conf_entry *e, char *buf, size_t size);
#define CONF_LABEL_BYTES 520

/* conf_generated.c: */
void conf_origins_fini(struct conf_store *s);

/* conf_check.c: defaults, required keys, references, the sections' own checks. */
void conf_check(struct conf_snapshot *snap, unsigned role, struct conf_errors *errors);

/* The candidate that `word` was probably meant to be; NULL when none is near. */
struct conf_guess {
	struct slice word;
	struct slice best;
	unsigned distance;
};
void conf_guess_init(struct conf_guess *g, struct slice word);
void conf_guess_try(struct conf_guess *g, struct slice candidate);
/* Appends `; did you mean "x"?`. */
void conf_guess_print(const struct conf_guess *g, struct buf *out);

#endif
