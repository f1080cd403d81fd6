#ifndef CORE_ACCEPTOR_H
#define CORE_ACCEPTOR_H
/*
 * Accepts on a listening socket: a bounded number a turn, and without descriptors it pauses under
 * an alarm ("no-descriptors", the address) instead of spinning.
 */
#include "base/addr.h"

struct acceptor;
struct env;

/* Takes fd over, also when it fails (NULL: *error is a negative errno). accepted owns the new,
 * non-blocking, close-on-exec descriptor, and may free the acceptor. */
struct acceptor *acceptor_new(struct env *env, int fd,
			      void (*accepted)(void *arg, int fd, const struct addr *from),
			      void *arg, int *error);
/* Closes the listening socket. NULL is allowed. */
void acceptor_free(struct acceptor *a);

#endif
