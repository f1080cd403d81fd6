#ifndef CORE_PRIVILEGES_H
#define CORE_PRIVILEGES_H
/* What the process may do: descriptors, and the user it runs as. */
#include <stdint.h>

/* Raises RLIMIT_NOFILE to at least n, as far as allowed. Returns the limit that stands. */
uint64_t privileges_raise_descriptors(uint64_t n);
/* When root: becomes `user` with its groups, for good, and gives it `owned` (a path, may be NULL).
 * 0, -ENOENT (no such user) or negative errno. Not root or user NULL: 0, nothing done. */
int privileges_drop(const char *user, const char *owned);

#endif
