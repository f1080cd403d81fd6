#ifndef CTL_TEXT_H
#define CTL_TEXT_H
/* JSON values as people read them. Replies carry bytes from the wire: nothing that is printed may
 * move the cursor of a terminal. */
#include <jansson.h>

#include "base/buf.h"

enum text_form {
	TEXT_PLAIN,
	TEXT_AGE,   /* seconds: 42s, 3m05s, 2h10m, 4d03h */
	TEXT_BYTES, /* 999, 12.3k, 4.0M */
	TEXT_TIME,  /* seconds since 1970, as ISO 8601; text stays as it is */
	TEXT_HEX,   /* 0x4001 */
};

/* UTF-8 text with control characters (C0, DEL, C1) as \xNN; line feeds too. */
void text_add_safe(struct buf *out, const char *text);
/* A scalar, or an array of scalars joined by ", "; what is nested deeper becomes its number of
 * elements. NULL and null add nothing. */
void text_add_value(struct buf *out, const json_t *value, enum text_form form);
/* How many columns it takes: code points. */
size_t text_width(const char *text);

#endif
