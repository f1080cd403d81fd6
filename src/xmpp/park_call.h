#ifndef XMPP_PARK_CALL_H
#define XMPP_PARK_CALL_H
/*
 * What C and E say to each other over the control channel about streams of clients that are parked,
 * without a connection of the link (docs/protocol/control.md): a name of the other side and, for
 * "xmpp-end", how. An "xmpp-end" is said until it is answered: one that cannot be sent because too
 * many calls are under way, or whose connection is lost under it, is said again. And the frame in
 * the stream that parks it (docs/protocol/xmpp-link.md section 4).
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timerq.h"
#include "turnpike/tunnel.h"
#include "xmpp/preface.h"
#include "xmpp/stream.h"

#define PARK_CALL_RESUME "xmpp-resume"
#define PARK_CALL_END	 "xmpp-end"
#define PARK_CALL_MS	 10000
#define PARK_MAX_ENDS	 65536

struct park_calls {
	const struct tunnel_ops *tunnel; /* NULL: nobody to tell */
	void *tunnel_self;
	struct timerq *timers;
	struct timer again;
	struct list waiting, asked; /* ends to say, and those that were said */
	size_t n_ends;
	bool over;
};

void park_calls_init(struct park_calls *p, struct timerq *timers);
/* Ends that are said later than this are said once: nobody hears the answer. */
void park_calls_fini(struct park_calls *p);
/* "xmpp-end". What a peer that is down does not hear, it knows. More than PARK_MAX_ENDS at once are
 * said without waiting for the answer. */
void park_call_end(struct park_calls *p, tunnel_peer to, uint64_t stream, bool proper);
/* "xmpp-resume": as tunnel_ops.call. */
uint64_t park_call_resume(struct park_calls *p, tunnel_peer to, uint64_t stream, tunnel_done done,
			  void *arg, int *error);
/* PARK or PARKED behind what was sent. false: nothing went out, without memory or a socket. */
bool park_say(struct xmpp_stream *link, const struct preface *p);
/* An answer that says nothing about the stream: the call was lost with the connection under it, or
 * the other side was too busy. Both calls may be said again. */
bool park_call_unheard(int status);
/* Of either call; false: not of this form. */
bool park_call_read(const json_t *params, uint64_t *stream);
bool park_call_read_how(const json_t *params, bool *proper);

#endif
