#ifndef XMPP_LISTEN_H
#define XMPP_LISTEN_H
/* A port of the module: one listener, or one for IPv4 and one for IPv6, opened, changed and closed
 * as the settings say. */
#include "core/stream_socket.h"

#define XMPP_LISTEN_MAX 2

struct env;

struct xmpp_listen {
	struct env *env;
	const char *what; /* "chat clients"; static */
	size_t n;
	struct {
		struct addr local;
		struct stream_listener *listener;
	} at[XMPP_LISTEN_MAX];
};

void xmpp_listen_init(struct xmpp_listen *l, struct env *env, const char *what);
/* address ADDR_NONE: every one; port 0: none. c: all but `local`. What stays open goes on with the
 * new settings. What cannot be opened is alarmed ("xmpp-listen"), said in errors, and tried again
 * by the next call; 0 or the first negative errno. */
int xmpp_listen_configure(struct xmpp_listen *l, const struct addr *address, uint32_t port,
			  const struct stream_listener_conf *c, struct buf *errors);
/* Could it? Changes nothing. */
int xmpp_listen_prepare(const struct xmpp_listen *l, const struct addr *address, uint32_t port,
			struct buf *errors);
void xmpp_listen_close(struct xmpp_listen *l);

#endif
