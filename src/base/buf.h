#ifndef BASE_BUF_H
#define BASE_BUF_H
/*
 * The one growing byte buffer. It has a maximum; running past it, or out of memory, sets the sticky
 * `failed` flag and drops the rest, so that a long row of appends needs one check at the end.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct buf {
	char *p; /* p[n] is always '\0' once something was added */
	size_t n;
	size_t cap;
	size_t max; /* bytes, without the terminating NUL */
	bool failed;
};

/* Takes no memory until the first append. */
void buf_init(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b);
/* Empties it and clears `failed`; keeps the memory. */
void buf_reset(struct buf *b);

/* Room for n more bytes, which count as added; the caller writes all of them at once. NULL when
 * there is none. */
char *buf_grow(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_add_slice(struct buf *b, struct slice s);
void buf_add_str(struct buf *b, const char *cstr);
void buf_add_char(struct buf *b, char c);
void buf_add_decimal(struct buf *b, uint64_t v);
void buf_add_u16(struct buf *b, uint16_t v); /* network order */
void buf_add_u32(struct buf *b, uint32_t v); /* network order */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Text from the wire made printable: control bytes, backslash, quote and bytes over 0x7e become
 * \xNN. For logs, traces and listings. */
void buf_add_escaped(struct buf *b, struct slice s);

static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){ b->p, b->n };
}

/* Hands the NUL-terminated memory to the caller (free) and leaves b empty; NULL when it failed. */
char *buf_take(struct buf *b);

#endif
