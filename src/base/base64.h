#ifndef BASE_BASE64_H
#define BASE_BASE64_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* RFC 4648 section 4 (standard alphabet, padded). */
void base64_encode(struct buf *out, const void *data, size_t n);
/* RFC 4648 section 5 (URL and file name safe), without padding: for tokens in URIs. */
void base64url_encode(struct buf *out, const void *data, size_t n);
/* Both alphabets, padding optional but right when present, no other bytes. Returns the number of
 * bytes written, or -1 (bad text, or more than max bytes). */
long base64_decode(struct slice text, uint8_t *out, size_t max);
/* Lower-case hex. */
void hex_encode(struct buf *out, const void *data, size_t n);
/* Either case, an even number of digits. Returns bytes written or -1. */
long hex_decode(struct slice text, uint8_t *out, size_t max);

#endif
