#ifndef PROTO_XML_CHAR_H
#define PROTO_XML_CHAR_H
/* Characters that XML 1.0 can carry, in UTF-8. */
#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Length of the character at the start of s (not empty); 0: no UTF-8 (RFC 3629 section 3: also
 * overlong, surrogates), or a character that XML 1.0 (2.2 Char) has not. */
size_t xml_char_length(struct slice s);
/* All of it. */
bool xml_chars_ok(struct slice s);
/* Length of the sequence of UTF-8 at the start of s (not empty), whatever character it is; 0: it is
 * none. */
size_t xml_utf8_length(struct slice s);

#endif
