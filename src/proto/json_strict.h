#ifndef PROTO_JSON_STRICT_H
#define PROTO_JSON_STRICT_H
/* JSON (RFC 8259) from others: one object, nothing twice, bounded nesting. */
#include <jansson.h>

#include "base/slice.h"

/* A new reference, or NULL with *why a static text. The object itself is the first level of
 * max_depth. Duplicate members, NUL in strings and bytes behind the object are refused. The length
 * of the text is the caller's to bound. */
json_t *json_strict_parse(struct slice text, unsigned max_depth, const char **why);

#endif
