#ifndef TURN_TCP_RELAY_H
#define TURN_TCP_RELAY_H
/*
 * TCP relays (RFC 6062): connections between a relay and its peers, each waiting at most 30 s for a
 * connection of the client that takes it by ConnectionBind; from then on bytes are passed both ways
 * with back-pressure. Works on streams, so that scenario tests run it on stream pairs.
 *
 *   CONNECTING (Connect) --stream open--> WAITING --ConnectionBind--> SPLICED --end--> gone
 *   peer connects to the relay --> WAITING (ConnectionAttempt sent) --30 s--> gone
 */
#include "core/stream.h"
#include "turn/alloc.h"

struct turn_tcp_ops {
	/* Connects from r->local (address and port) to a peer. */
	struct stream *(*connect)(void *arg, struct turn_relay *r, const struct addr *to,
				  const struct stream_handler *h, void *harg, int *error);
};
enum { TURN_TCP_BIND_MS = 30000, TURN_TCP_CONNECT_MS = 30000 };

/* Once, before the first configure. 0 or -ENOMEM: then there are no TCP relays. */
int turn_server_set_tcp(struct turn_server *s, const struct turn_tcp_ops *ops, void *arg);
/* A peer connected to a relay: takes the stream over (closes it when there is no permission). */
void turn_server_peer_connected(struct turn_server *s, struct turn_relay *r, struct stream *peer);
/* Was the last message of this stream client a ConnectionBind that succeeded? Then its stream is
 * taken over, with what it has read and not used: from now on it is the relay's. To be asked right
 * after each STUN message of a stream. */
bool turn_server_take_bound(struct turn_server *s, struct turn_client *c, struct stream *stream);

#endif
