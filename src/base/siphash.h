#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H
#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 with a 16-byte key: what a table keyed by bytes from the wire hashes with. */
uint64_t siphash(const uint8_t key[16], const void *data, size_t n);

#endif
