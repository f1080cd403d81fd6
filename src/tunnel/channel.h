#ifndef TUNNEL_CHANNEL_H
#define TUNNEL_CHANNEL_H
/*
 * A stream over an SSH channel.
 *
 *   OPENING --confirmed--> OPEN --stream_close--> LINGERING (bytes left) --> CLOSING
 *   OPEN --the peer closed, all read--> CLOSING --both closed--> freed
 *
 * What the owner does not read stays in libssh, whose window then closes (1.3 MB at most, 2 MB in
 * the worst order of events); what it writes waits in the stream's buffer until the other side
 * opens its window.
 */
#include "core/stream.h"
#include "tunnel/ssh_conn.h"

enum chan_state { CHAN_OPENING, CHAN_OPEN, CHAN_LINGERING, CHAN_CLOSING };

struct chan {
	struct stream s;
	struct ssh_conn *c;
	ssh_channel ch;
	struct ssh_channel_callbacks_struct callbacks;
	struct list node;    /* of ssh_conn.chans */
	struct list changed; /* of ssh_conn.changed */
	struct list work;    /* of opening, writers or stalled */
	struct conn conn;
	struct timer timer; /* OPENING, LINGERING, CLOSING */
	enum chan_state state;
	uint32_t held;		/* bytes in libssh */
	size_t accounted;	/* of ours in tunnel.held_bytes */
	struct evbuffer *spill; /* taken from there, no room in s.in yet; NULL: nothing */
	bool gone;		/* the owner closed it, or heard the end */
	bool remote_eof, remote_closed;
	bool eof_sent;
	bool asked; /* OPENING: the request went out */
	uint64_t asked_packets;
	char purpose[CONTROL_NAME_BYTES];
};

/* NULL without memory. ch is taken over. */
struct chan *chan_new(struct ssh_conn *c, ssh_channel ch, enum chan_state state,
		      const char *purpose);
/* E: asks the peer for one. Too many: NULL, -EAGAIN. */
struct stream *chan_open(struct ssh_conn *c, const char *purpose, const struct stream_handler *h,
			 void *arg, int *error);
/* An entry of the connection table from now on (streams, not the control channel). */
void chan_list(struct chan *ch);
/* There is something to do for it in the next turn. */
void chan_mark(struct chan *ch);
/* From ssh_conn's turn. */
void chan_opening(struct chan *ch);
void chan_changed(struct chan *ch);
/* Sends up to a share. False: it cannot go on now. */
bool chan_write(struct chan *ch);
/* The connection is gone: the owner hears it; the session does not exist any more. */
void chan_lost(struct chan *ch, const char *why);
/* Is the packet size that the other side named one to work with? */
bool chan_peer_is_sane(ssh_channel ch);

#endif
