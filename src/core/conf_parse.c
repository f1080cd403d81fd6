#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/conf_private.h"
#include "core/conf_value.h"
#include "proto/ini.h"

#define MAX_WHY_BYTES 8192

struct parser {
	const struct conf_store *store;
	struct conf_snapshot *snap;
	struct conf_errors *errors;
	unsigned role;		    /* both when the file does not say which */
	struct conf_entry *current; /* NULL: before the first section, or in one that is skipped */
	bool in_section;
	bool too_many_reported;
	bool not_ini; /* no text at all: what is missing from it says nothing */
};

/* What the first `role` of [system] says; read ahead, as sections before it depend on it. */
struct role_scan {
	bool in_system;
	unsigned role; /* 0: not E, not C */
	unsigned line;
};

static int scan_role(const struct ini_item *item, void *arg)
{
	struct role_scan *scan = arg;

	if (item->kind == INI_SECTION)
		scan->in_system = slice_eq(item->type, SLICE("system"));
	if (item->kind != INI_SETTING || !scan->in_system || !slice_eq(item->key, SLICE("role")))
		return 0;
	scan->line = item->line;
	if (slice_eq(item->value, SLICE("E")))
		scan->role = CONF_ROLE_E;
	else if (slice_eq(item->value, SLICE("C")))
		scan->role = CONF_ROLE_C;
	return 1;
}

static char role_letter(unsigned role)
{
	return role == CONF_ROLE_E ? 'E' : 'C';
}

/* The role to parse for; both when the file does not say a legal one. */
static unsigned find_role(struct slice text, unsigned wanted, struct conf_errors *errors)
{
	struct role_scan scan = { 0 };

	ini_parse(text, scan_role, &scan);
	if (wanted && scan.role && wanted != scan.role)
		conf_errors_add(errors, scan.line,
				"[system] role: is %c, but role %c was asked for",
				role_letter(scan.role), role_letter(wanted));
	if (wanted)
		return wanted;
	if (scan.role)
		return scan.role;
	return CONF_ROLE_BOTH;
}

/* Appends `; known sections: a, b` of the role when nothing near was found. */
static void unknown_section(struct parser *p, const struct ini_item *item)
{
	const char *separator = "; legal values: ";
	struct conf_guess guess;
	struct buf why;

	buf_init(&why, MAX_WHY_BYTES);
	conf_guess_init(&guess, item->type);
	for (size_t i = 0; i < p->store->n_schema; i++) {
		const struct conf_section *schema = p->store->schema[i];

		if (!(schema->roles & p->role))
			continue;
		buf_printf(&why, "%s%s", separator, schema->type);
		separator = ", ";
		conf_guess_try(&guess, slice_of(schema->type));
	}
	conf_guess_print(&guess, &why);
	conf_errors_add(p->errors, item->line, "[%.*s]: unknown section%.*s", SLICE_ARG(item->type),
			SLICE_ARG(buf_slice(&why)));
	buf_fini(&why);
}

/* A section written as it must be, and for the first time? Reports what is not. */
static void enter_section(struct parser *p, struct conf_entry *e, const struct ini_item *item)
{
	const struct conf_section *schema = conf_entry_common(e)->schema;
	struct conf_entry *first;

	if (schema->repeatable && item->name.n == 0) {
		conf_errors_entry(p->errors, e, item->line, NULL, "needs a name; write [%s NAME]",
				  schema->type);
	} else if (!schema->repeatable && item->name.n > 0) {
		conf_errors_entry(p->errors, e, item->line, NULL, "takes no name; write [%s]",
				  schema->type);
	} else if (!conf_entry_enter(p->snap, e, &first)) {
		conf_errors_entry(p->errors, e, item->line, NULL,
				  "this section is there already, at line %u",
				  conf_entry_common(first)->line);
	}
}

/* The file has the section that generated text brings: it wins. */
static bool leave_out(struct parser *p, const struct conf_section *schema,
		      const struct ini_item *item)
{
	struct buf *out = &p->snap->left_out;
	char name[INI_MAX_NAME_BYTES + 1];

	slice_copy(name, sizeof(name), item->name);
	if (!p->snap->origin || !conf_get(p->snap, schema->type, name))
		return false;
	buf_printf(out, "%s[%s%s%s]", out->n ? ", " : "", schema->type, name[0] ? " " : "", name);
	return true;
}

static int on_section(struct parser *p, const struct ini_item *item)
{
	const struct conf_section *schema = conf_schema_find(p->store, item->type);

	p->current = NULL;
	p->in_section = true;
	if (schema && leave_out(p, schema, item))
		return 0;
	if (!schema) {
		unknown_section(p, item);
		return 0;
	}
	if (!(schema->roles & p->role)) {
		conf_errors_add(p->errors, item->line,
				"[%s]: belongs to role %c, and this is role %c", schema->type,
				role_letter(schema->roles), role_letter(p->role));
		return 0;
	}
	if (p->snap->n_entries >= CONF_MAX_SECTIONS) {
		if (!p->too_many_reported)
			conf_errors_add(p->errors, item->line, "more than %d sections",
					CONF_MAX_SECTIONS);
		p->too_many_reported = true;
		return 0;
	}
	p->current = conf_entry_new(p->snap, schema, item->name, item->line);
	if (!p->current)
		return -ENOMEM;
	enter_section(p, p->current, item);
	return 0;
}

/* Some other section that has such a key, for "it belongs to ...". */
static const struct conf_section *section_with_key(const struct parser *p, struct slice key)
{
	for (size_t i = 0; i < p->store->n_schema; i++) {
		const struct conf_section *schema = p->store->schema[i];

		for (size_t j = 0; j < schema->n_rows; j++) {
			if (slice_eq(slice_of(schema->rows[j].key), key))
				return schema;
		}
	}
	return NULL;
}

static void unknown_key(struct parser *p, const struct ini_item *item)
{
	const struct conf_section *schema = conf_entry_common(p->current)->schema;
	const struct conf_section *other = section_with_key(p, item->key);
	struct conf_guess guess;
	struct buf why;
	char key[INI_MAX_NAME_BYTES + 1];

	buf_init(&why, MAX_WHY_BYTES);
	conf_guess_init(&guess, item->key);
	buf_add_str(&why, "unknown key; legal values: ");
	for (size_t i = 0; i < schema->n_rows; i++) {
		buf_printf(&why, "%s%s", i ? ", " : "", schema->rows[i].key);
		conf_guess_try(&guess, slice_of(schema->rows[i].key));
	}
	if (guess.best.n == 0 && other)
		buf_printf(&why, "; it is a key of [%s%s]", other->type,
			   other->repeatable ? " NAME" : "");
	conf_guess_print(&guess, &why);
	slice_copy(key, sizeof(key), item->key);
	conf_errors_entry(p->errors, p->current, item->line, key, "%.*s",
			  SLICE_ARG(buf_slice(&why)));
	buf_fini(&why);
}

static int set_value(struct parser *p, const struct conf_row *row, const struct ini_item *item)
{
	struct buf why;
	int r;

	buf_init(&why, MAX_WHY_BYTES);
	r = conf_value_set(row, item->value, p->current->data, &why);
	if (r == -EINVAL) {
		conf_errors_entry(p->errors, p->current, item->line, row->key, "%.*s",
				  SLICE_ARG(buf_slice(&why)));
		r = 0;
	}
	buf_fini(&why);
	return r;
}

static int on_setting(struct parser *p, const struct ini_item *item)
{
	const struct conf_section *schema;

	if (!p->current) {
		if (!p->in_section)
			conf_errors_add(p->errors, item->line,
					"%.*s: stands before the first [section]",
					SLICE_ARG(item->key));
		return 0;
	}
	schema = conf_entry_common(p->current)->schema;
	for (size_t i = 0; i < schema->n_rows; i++) {
		if (!slice_eq(slice_of(schema->rows[i].key), item->key))
			continue;
		if (p->current->lines[i]) {
			conf_errors_entry(p->errors, p->current, item->line, schema->rows[i].key,
					  "written twice, first at line %u", p->current->lines[i]);
			return 0;
		}
		p->current->lines[i] = item->line;
		return set_value(p, &schema->rows[i], item);
	}
	unknown_key(p, item);
	return 0;
}

static int on_item(const struct ini_item *item, void *arg)
{
	struct parser *p = arg;

	switch (item->kind) {
	case INI_SECTION:
		return on_section(p, item);
	case INI_SETTING:
		return on_setting(p, item);
	case INI_ERROR:
		conf_errors_add(p->errors, item->line, "%s", item->error);
		p->not_ini = p->not_ini || !item->raw.p;
		/* What follows a broken header is not the section before it. */
		if (item->raw.n && slice_trim(item->raw).n && slice_trim(item->raw).p[0] == '[') {
			p->current = NULL;
			p->in_section = true;
		}
		return 0;
	default:
		return 0;
	}
}

/* Sections that are not repeatable and were not written exist all the same. */
static int add_absent(struct conf_snapshot *snap)
{
	const struct conf_store *s = snap->store;

	for (size_t i = 0; i < s->n_schema; i++) {
		struct conf_entry *e, *first;

		if (s->schema[i]->repeatable || conf_get(snap, s->schema[i]->type, NULL))
			continue;
		e = conf_entry_new(snap, s->schema[i], SLICE_NONE, 0);
		if (!e)
			return -ENOMEM;
		conf_entry_enter(snap, e, &first);
	}
	return 0;
}

static int parse_generated(struct parser *p)
{
	int r = 0;

	LIST_FOREACH (it, &p->store->origins) {
		const struct conf_origin *o = CONTAINER_OF(it, struct conf_origin, node);

		p->current = NULL;
		p->in_section = false;
		p->snap->origin = o->name;
		if (r == 0)
			r = ini_parse(slice_of(o->text), on_item, p);
	}
	p->snap->origin = NULL;
	return r;
}

static struct conf_snapshot *parse(const struct conf_store *s, const char *file, struct slice text,
				   unsigned role, bool with_generated, struct conf_errors *errors)
{
	struct parser p = { .store = s, .errors = errors };

	p.role = find_role(text, role, errors);
	p.snap = conf_snapshot_new(s, file, p.role);
	if (!p.snap || ini_parse(text, on_item, &p) < 0 ||
	    (with_generated && parse_generated(&p) < 0) || add_absent(p.snap) < 0)
		errors->out_of_memory = true;
	else if (!p.not_ini)
		conf_check(p.snap, p.role, errors);
	/* The row of [system] role says so better when it is there and required. */
	if (p.role == CONF_ROLE_BOTH && !conf_errors_any(errors))
		conf_errors_add(errors, 0, "[system] role: required; legal values: E, C");
	if (conf_errors_any(errors)) {
		conf_unref(p.snap);
		p.snap = NULL;
	}
	return p.snap;
}

static struct conf_snapshot *parse_text(const struct conf_store *s, const char *file,
					struct slice text, unsigned role, bool with_generated,
					struct buf *out)
{
	struct conf_errors *errors = calloc(1, sizeof(*errors));
	struct conf_snapshot *snap;

	if (!errors) {
		buf_printf(out, "%s: out of memory\n", file);
		return NULL;
	}
	errors->file = with_generated ? "generated sections" : file;
	snap = parse(s, file, text, role, with_generated, errors);
	conf_errors_print(errors, out);
	conf_errors_fini(errors);
	free(errors);
	return snap;
}

/* The file is good by itself: whatever is wrong now comes with the generated sections. */
static struct conf_snapshot *add_generated(const struct conf_store *s, struct conf_snapshot *alone,
					   struct slice text)
{
	struct conf_snapshot *both;
	struct slice first;
	struct buf why;

	buf_init(&why, MAX_WHY_BYTES);
	both = parse_text(s, alone->file, text, alone->role, true, &why);
	if (both) {
		conf_unref(alone);
		alone = both;
	} else {
		first = buf_slice(&why);
		first = slice_next(&first, '\n');
		alone->refused = slice_dup(first);
	}
	buf_fini(&why);
	return alone;
}

struct conf_snapshot *conf_parse(const struct conf_store *s, const char *file, struct slice text,
				 unsigned role, struct buf *out)
{
	struct conf_snapshot *snap = parse_text(s, file, text, role, false, out);

	if (snap && !list_empty(&s->origins) && !s->skips_generated)
		snap = add_generated(s, snap, text);
	if (!snap)
		return NULL;
	snap->text = slice_dup(text);
	snap->n_text = text.n;
	if (snap->text)
		return snap;
	buf_printf(out, "%s: out of memory\n", file);
	conf_unref(snap);
	return NULL;
}

struct conf_snapshot *conf_reparse(const struct conf_store *s, const struct conf_snapshot *snap,
				   struct buf *errors)
{
	return conf_parse(s, snap->file, (struct slice){ snap->text, snap->n_text }, snap->role,
			  errors);
}

/* Reads at most one byte more than a file may have, which the lexer then reports. */
static int read_all(int fd, char *text, size_t *n)
{
	*n = 0;
	while (*n < INI_MAX_TEXT_BYTES + 1) {
		ssize_t got = read(fd, text + *n, INI_MAX_TEXT_BYTES + 1 - *n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		*n += (size_t)got;
	}
	return 0;
}

static int open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return -EINVAL;
}

struct conf_snapshot *conf_load(const struct conf_store *s, const char *path, unsigned role,
				struct buf *errors)
{
	struct conf_snapshot *snap = NULL;
	char *text = malloc(INI_MAX_TEXT_BYTES + 1);
	int fd = open_regular(path);
	size_t n;
	int r = fd < 0 ? fd : text ? read_all(fd, text, &n) : -ENOMEM;

	if (r >= 0)
		snap = conf_parse(s, path, (struct slice){ text, n }, role, errors);
	else if (r == -EINVAL)
		buf_printf(errors, "%s: not a regular file\n", path);
	else
		buf_printf(errors, "%s: cannot read the configuration: %s\n", path, strerror(-r));
	if (fd >= 0)
		close(fd);
	if (text)
		/* Passwords may stand in it. */
		explicit_bzero(text, INI_MAX_TEXT_BYTES + 1);
	free(text);
	return snap;
}
