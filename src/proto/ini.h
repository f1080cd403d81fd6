#ifndef PROTO_INI_H
#define PROTO_INI_H
/*
 * Lexer of the configuration file: one item a line, in order, comments and empty lines included, so
 * that a writer can give back what it did not change. What the keys mean and whether one comes
 * twice is the caller's business.
 *
 *   # comment          ; comment          (only as the first thing on a line: values may hold both)
 *   [type]             [type name]
 *   key = value        (spaces around key and value do not count; no continuation lines)
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

#define INI_MAX_LINE_BYTES 4096	      /* without the line end */
#define INI_MAX_TEXT_BYTES (1u << 20) /* a whole file */
#define INI_MAX_NAME_BYTES 255	      /* type, name and key, each */

enum ini_kind {
	INI_BLANK,
	INI_COMMENT, /* value: the text after the mark, not trimmed */
	INI_SECTION, /* type, name (empty when the header has none) */
	INI_SETTING, /* key, value (may be empty) */
	INI_ERROR,   /* error: static text, never holds bytes of the file (they may be secret) */
};

struct ini_item {
	enum ini_kind kind;
	unsigned line;	  /* from 1; 0 for an error of the file as a whole */
	struct slice raw; /* the line without its end */
	struct slice type;
	struct slice name;
	struct slice key;
	struct slice value;
	const char *error;
};

/*
 * Calls fn for each line of text until it returns something other than 0, which is then returned.
 * Lines end in LF or CR LF. A line that breaks the grammar gives an INI_ERROR item and the walk
 * goes on, so that one run finds every error; a text that is no INI file at all (too large, byte
 * order mark, NUL bytes) gives one INI_ERROR and ends. Slices point into text.
 */
int ini_parse(struct slice text, int (*fn)(const struct ini_item *item, void *arg), void *arg);

#endif
