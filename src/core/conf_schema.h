#ifndef CORE_CONF_SCHEMA_H
#define CORE_CONF_SCHEMA_H
/*
 * What settings exist. A setting is one row; the parser, --check-config, --dump-config, the
 * samples, the man page table and later the admin forms come from the rows. Modules own their rows
 * and the structs that the rows fill.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"

#define CONF_MAX_SECTIONS     10000 /* in one file */
#define CONF_MAX_ERRORS	      200   /* reported; more are counted */
#define CONF_MAX_SECRET_BYTES 1024

/* `key =` with nothing behind it takes a default away: no text, an empty list. */
enum conf_type {
	CONF_BOOL, /* bool: yes|no|on|off|true|false */
	CONF_U32,  /* uint32_t, min..max */
	CONF_MS, /* uint32_t milliseconds, min..max in ms; written 500ms, 5s, 2m, 1h; a bare number
		    is seconds */
	CONF_BYTES,    /* uint32_t, min..max; written 32768, 32k, 1m */
	CONF_ENUM,     /* int, one of names[] (index is the value) */
	CONF_STRING,   /* char * */
	CONF_SECRET,   /* char *; @/path reads a file (first line); never printed */
	CONF_PATH,     /* char *; absolute path of a readable file */
	CONF_NAMES,    /* struct conf_names: words separated by spaces or commas */
	CONF_ADDR,     /* struct addr without port: an IP address, or `any` = ADDR_NONE */
	CONF_PORTS,    /* struct conf_ports: `first-last` */
	CONF_PREFIXES, /* struct conf_prefixes: addresses or prefixes, words */
	CONF_REGEX,    /* char *: compiles with PCRE2, checked when read */
	CONF_REF,      /* char *: name of another section, `ref` says which type; must exist */
};

struct conf_names {
	char **v;
	size_t n;
};
struct conf_ports {
	uint16_t first;
	uint16_t last;
};
struct conf_prefixes {
	struct addr_prefix *v;
	size_t n;
};

enum conf_flag {
	CONF_REQUIRED = 1 << 0,
	CONF_RESTART = 1 << 1, /* not applied by a reload; --dump-config and reload say so */
};

struct conf_row {
	const char *key;
	enum conf_type type;
	size_t offset;		  /* into the section's struct */
	const char *def;	  /* as written in a file; NULL: none (zero, NULL, empty) */
	int64_t min, max;	  /* numbers; 0,0: no limit beyond the type */
	const char *const *names; /* CONF_ENUM, NULL-terminated */
	const char *ref;	  /* CONF_REF: section type; several separated by a space */
	unsigned flags;
	const char *help; /* one line */
};

struct conf_errors;
struct conf_snapshot;

enum conf_roles { CONF_ROLE_E = 1, CONF_ROLE_C = 2, CONF_ROLE_BOTH = 3 };

struct conf_section {
	const char *type; /* "system"; a repeatable one is written [type name] */
	bool repeatable;
	unsigned roles; /* a section of the other role is an error */
	size_t size;	/* of the struct the rows fill; it must start with struct conf_common */
	const struct conf_row *rows;
	size_t n_rows;
	const char *help;
	/* Checks one filled section against the others; reports through conf_error(). May be NULL.
	 * Called for sections whose own values are all good; others that had errors hold their
	 * defaults, or NULL where a required key is missing. */
	void (*check)(const struct conf_snapshot *snap, const void *section,
		      struct conf_errors *errors);
};

/* First member of every section struct. Sections come from a snapshot only: the store keeps what it
 * knows about one in front of the struct. */
struct conf_common {
	const struct conf_section *schema;
	char *name; /* "" for one that is not repeatable */
	char *file;
	unsigned line; /* of the [header]; 0 when the section is all defaults */
};

/* Adds an error at the line of `key` in the section (of the header when key is NULL or not
 * written). */
void conf_error(struct conf_errors *errors, const void *section, const char *key, const char *fmt,
		...) __attribute__((format(printf, 4, 5)));

#endif
