#ifndef XMPP_PARK_CALL_H
#define XMPP_PARK_CALL_H
/*
 * What C and E say to each other over the control channel about streams of clients that are parked,
 * without a connection of the link (docs/protocol/control.md): a name of the other side and, for
 * "xmpp-end", how. The answers to "xmpp-end" do not matter; those that cannot be sent because too
 * many calls are under way wait here.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timerq.h"
#include "turnpike/tunnel.h"

#define PARK_CALL_RESUME "xmpp-resume"
#define PARK_CALL_END	 "xmpp-end"
#define PARK_CALL_MS	 10000
#define PARK_MAX_WAITING 65536

struct park_calls {
	const struct tunnel_ops *tunnel; /* NULL: nobody to tell */
	void *tunnel_self;
	struct timerq *timers;
	struct timer again;
	struct list waiting;
	size_t n_waiting;
};

void park_calls_init(struct park_calls *p, struct timerq *timers);
void park_calls_fini(struct park_calls *p);
/* "xmpp-end". What a peer that is down does not hear, it knows. */
void park_call_end(struct park_calls *p, tunnel_peer to, uint64_t stream, bool proper);
/* "xmpp-resume": as tunnel_ops.call. */
uint64_t park_call_resume(struct park_calls *p, tunnel_peer to, uint64_t stream, tunnel_done done,
			  void *arg, int *error);
/* Of either call; false: not of this form. */
bool park_call_read(const json_t *params, uint64_t *stream);
bool park_call_read_how(const json_t *params, bool *proper);

#endif
