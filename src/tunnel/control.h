#ifndef TUNNEL_CONTROL_H
#define TUNNEL_CONTROL_H
/*
 * The control channel as a machine (docs/protocol/control.md): frames, hello, ping, replicated
 * tables and calls. Bytes come in and go out through ops, time through the timer queue; it knows
 * nothing of SSH.
 *
 *   hub      one a box: the tables and methods that modules registered
 *   control  one a peer: which copy of each table counts, calls under way
 *   link     one a connection of that peer
 *
 *        HELLO_WAIT --hello--> AGREED --bye--> LEAVING
 *        any --error, silence, flood--> CLOSED (ops->close, then control_link_free)
 *
 * Of the agreed links of a peer one is the carrier: what this box puts, deletes and calls goes
 * there. The other box picks its own. When the carrier goes, the next one gets everything again.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/timerq.h"
#include "proto/control_msg.h"
#include "turnpike/tunnel.h"

#define CONTROL_MAX_TABLES  32
#define CONTROL_MAX_METHODS 32
#define CONTROL_MAX_CALLS   1024	       /* of one peer, in each direction */
#define CONTROL_BACKLOG	    (16 * 1024 * 1024) /* unsent bytes; then tables wait for a new sync */
#define CONTROL_BACKLOG_MAX (64 * 1024 * 1024) /* a whole state must fit */
#define CONTROL_BACKLOG_LOW (64 * 1024)
#define CONTROL_RATE_MSGS   2000 /* a second, sustained */
#define CONTROL_RATE_BYTES  (8 * 1024 * 1024)
#define CONTROL_BURST_MSGS  50000 /* a whole state after a reconnect */
#define CONTROL_BURST_BYTES (64 * 1024 * 1024)
#define CONTROL_TURN_MSGS   256 /* handled before others get their turn */

struct control_conf {
	uint32_t keepalive_ms;
	uint32_t dead_after_ms;
	const char *name;     /* [system] name */
	const char *software; /* "turnpike 0.1.0" */
	char boot[17];
};

struct control_ops {
	int64_t (*wall_ms)(void *arg);
	/* Appends to what waits for the control channel of that connection; returns how many bytes
	 * wait then. May not call back. */
	size_t (*send)(void *conn, struct slice bytes);
	/* The connection is of no use any more; control_link_free() must follow, later. Called once
	 * a link. code: for the trace. */
	void (*close)(void *conn, const char *code, const char *why);
	/* Both hellos are there. */
	void (*agreed)(void *conn, const struct control_msg *hello);
	/* The other box opens nothing on it any more and wants nothing opened. */
	void (*bye)(void *conn);
	/* There is room again for what control_link_input() did not take. */
	void (*more)(void *conn);
	/* Measured: its clock minus ours. */
	void (*skew)(void *peer, int64_t skew_ms);
};

struct control_hub;
struct control;
struct control_link;

/* conf and ops live as long as the hub; conf may change meanwhile. */
struct control_hub *control_hub_new(struct timerq *timers, const struct control_conf *conf,
				    const struct control_ops *ops, void *arg,
				    const uint8_t seed[16]);
/* Every control must be gone. Calls of the other box that nobody answered are freed here. */
void control_hub_free(struct control_hub *h);
/* 0, -EEXIST, -ENOSPC, -EINVAL (bad name). */
int control_publish(struct control_hub *h, const char *table, const struct tunnel_source *s,
		    void *arg);
int control_subscribe(struct control_hub *h, const char *table, const struct tunnel_sink *s,
		      void *arg);
int control_serve(struct control_hub *h, const char *method, tunnel_serve fn, void *arg);
/* Answers a call of the other box; call is gone afterwards. */
void control_reply(struct control_hub *h, struct tunnel_call *call, int status,
		   const json_t *value);
/* No callback afterwards. Ids that are over have no effect. */
void control_call_cancel(struct control_hub *h, uint64_t id);

/* peer: for ops->skew. */
struct control *control_new(struct control_hub *h, tunnel_peer id, void *peer);
/* Its links must be gone. */
void control_free(struct control *c);
bool control_is_up(const struct control *c);
void control_put(struct control *c, const char *table, const char *key, const json_t *item);
void control_del(struct control *c, const char *table, const char *key);
/* As tunnel_ops.call. */
uint64_t control_call(struct control *c, const char *method, const json_t *params,
		      uint32_t timeout_ms, tunnel_done done, void *arg, int *error);

/* A connection has its control channel: sends hello. NULL without memory. */
struct control_link *control_link_new(struct control *c, void *conn);
/* The connection is gone: calls sent over it end with -EPIPE, another link becomes the carrier. */
void control_link_free(struct control_link *l);
/* Bytes of the control channel; returns how many of them were taken. When it is not all,
 * ops->more() will say when to bring the rest. */
size_t control_link_input(struct control_link *l, struct slice bytes);
/* Something came on the connection, whatever it was: the other box lives. */
void control_link_alive(struct control_link *l);
/* What waited for the channel is nearly gone. */
void control_link_drained(struct control_link *l);
/* Says that we open nothing on it any more. */
void control_link_bye(struct control_link *l);
bool control_link_agreed(const struct control_link *l); /* and not leaving */
uint32_t control_link_rtt_ms(const struct control_link *l);
uint64_t control_link_messages(const struct control_link *l); /* received */

#endif
