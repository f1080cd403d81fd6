#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H
/* One HTTP exchange with the daemon over its Unix socket, blocking. */
#include "base/buf.h"
#include "base/slice.h"

#define CLIENT_MAX_REPLY_BYTES (64u << 20)
#define CLIENT_WHY_BYTES       512

struct client_reply {
	int status;	   /* HTTP */
	struct buf raw;	   /* what came; buf_fini() it */
	struct slice body; /* in raw */
};

/* Sends `method target` and reads the reply until the daemon closes. 0, or negative errno with the
 * reason and what to check in why. */
int client_call(const char *socket_path, const char *method, const char *target,
		struct client_reply *reply, char why[CLIENT_WHY_BYTES]);
/* Splits a whole HTTP/1.x reply in reply->raw into status and body. 0 or -EBADMSG (no HTTP, or cut
 * short of its Content-Length). */
int client_reply_parse(struct client_reply *reply);
/* Appends text as a query value (RFC 3986 unreserved characters stay). */
void client_add_query(struct buf *target, const char *key, const char *value);

#endif
