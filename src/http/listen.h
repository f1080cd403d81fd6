#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H
/* Where a service listens. */
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define LISTEN_MAX_ADDRESSES 2

/* The written address, or all of both families (ADDR_NONE). Returns how many. */
size_t listen_addresses(const struct addr *written, uint32_t port,
			struct addr out[LISTEN_MAX_ADDRESSES]);
/* A kernel without IPv6 serves IPv4: is this error no error? */
bool listen_may_fail(const struct addr *local, int error);

#endif
