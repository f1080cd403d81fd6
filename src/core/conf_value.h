#ifndef CORE_CONF_VALUE_H
#define CORE_CONF_VALUE_H
/* One value of a setting: text to field and back, by the type of its row. */
#include "base/buf.h"
#include "core/conf_schema.h"

/* Parses text into the row's field of section (which must be empty or hold an older value, which is
 * freed). 0; -EINVAL with what is wrong in why, the field then being as empty as before; -ENOMEM. A
 * secret's bytes never get into why. */
int conf_value_set(const struct conf_row *row, struct slice text, void *section, struct buf *why);
/* Frees what the field holds and zeroes it. */
void conf_value_free(const struct conf_row *row, void *section);
/* No text, no list elements, no address range; numbers are never empty. */
bool conf_value_empty(const struct conf_row *row, const void *section);
bool conf_value_same(const struct conf_row *row, const void *a, const void *b);
/* As it would be written in a file; `<secret>` for secrets. */
void conf_value_print(const struct conf_row *row, const void *section, struct buf *out);
/* "a number from 1 to 65535", "udp, tcp, tls", ... */
void conf_value_legal(const struct conf_row *row, struct buf *out);

/* conf_value_file.c: the types that look at files. */
int conf_value_secret(struct slice text, char **out, struct buf *why);
int conf_value_path(struct slice text, char **out, struct buf *why);

/* Bounds of a number, the type's own where the row has none. */
uint32_t conf_value_max(const struct conf_row *row);

#endif
