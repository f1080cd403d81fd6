#ifndef CORE_CONF_STORE_H
#define CORE_CONF_STORE_H
/*
 * Configuration as an immutable snapshot, reference counted, swapped whole. A bad file changes
 * nothing. Sections that are not repeatable always exist (filled with defaults).
 */
#include <stddef.h>

#include "base/buf.h"
#include "core/conf_schema.h"

struct conf_store;

/* schema: array of pointers, lives as long as the store. */
struct conf_store *conf_store_new(const struct conf_section *const *schema, size_t n_schema);
void conf_store_free(struct conf_store *s);

/* Parses text (file names it in messages) for `role`; role 0: taken from [system] role, which must
 * then be there. Returns a snapshot with one reference, or NULL with one line for each error in
 * *errors: `file:line: what, legal values, did you mean`. Unknown sections and keys, duplicate keys
 * and duplicate sections are errors. */
struct conf_snapshot *conf_parse(const struct conf_store *s, const char *file, struct slice text,
				 unsigned role, struct buf *errors);
/* Same from a file. */
struct conf_snapshot *conf_load(const struct conf_store *s, const char *path, unsigned role,
				struct buf *errors);
/* Same from the text that snap was made of (the file as it was then), with the generated sections
 * of now. */
struct conf_snapshot *conf_reparse(const struct conf_store *s, const struct conf_snapshot *snap,
				   struct buf *errors);
struct conf_snapshot *conf_ref(const struct conf_snapshot *snap);
void conf_unref(const struct conf_snapshot *snap);
unsigned conf_role(const struct conf_snapshot *snap); /* CONF_ROLE_E or CONF_ROLE_C */

/* The current one (borrowed: conf_ref() to keep it past this callback). */
const struct conf_snapshot *conf_current(const struct conf_store *s);
/* Makes snap current and takes over the reference. */
void conf_swap(struct conf_store *s, struct conf_snapshot *snap);

/* Sections that the program found out by itself. conf_parse() and conf_load() read them behind the
 * file's, from the next call on. What is in the file wins: a generated section with the header of
 * one that is there already is left out. An error in generated text never makes a file bad: then
 * all of it is dropped, and the snapshot says why. */
#define CONF_MAX_ORIGINS 64
/* origin names the maker ("[uc-cluster main]"), is shown by conf_dump() and is the `file` of the
 * sections; text replaces what that origin gave before, empty takes it away. 0, -ENOMEM, -ENOSPC
 * (over CONF_MAX_ORIGINS) or -E2BIG (over the size of a file) with nothing changed. */
int conf_store_set_generated(struct conf_store *s, const char *origin, struct slice text);
/* no: conf_parse() and conf_load() read the file alone until it is set again. */
void conf_store_use_generated(struct conf_store *s, bool use);
/* Why the generated sections were dropped from it, one line; NULL: they were not. */
const char *conf_generated_refused(const struct conf_snapshot *snap);
/* Headers of the generated sections that were left out, "[zone a], [zone b]"; "" for none. */
const char *conf_generated_left_out(const struct conf_snapshot *snap);
bool conf_has_generated(const struct conf_snapshot *snap);
/* Did the section come from generated text? */
bool conf_is_generated(const void *section);

/* The only section of that type (name NULL) or the named one; NULL when there is none. */
const void *conf_get(const struct conf_snapshot *snap, const char *type, const char *name);
/* Walks the sections of a type in file order; prev NULL gives the first; NULL ends. */
const void *conf_next(const struct conf_snapshot *snap, const char *type, const void *prev);
/* True when the key was written in the file and not filled by default. */
bool conf_is_set(const void *section, const char *key);
/* True when both hold the same values for every row (names and line numbers aside). */
bool conf_section_same(const void *a, const void *b);
/* Every effective setting, with its origin as a comment (`# file:line` or `# default`); secrets as
 * `<secret>`. Output is legal INI. */
void conf_dump(const struct conf_snapshot *snap, struct buf *out);
/* Table of every row for man pages and docs (roff = man page, else markdown). */
void conf_document(const struct conf_store *s, bool roff, struct buf *out);

#endif
