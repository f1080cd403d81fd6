#ifndef XMPP_LINK_CONN_H
#define XMPP_LINK_CONN_H
/* One connection of the link, as both boxes see it: its stream and its entry in the connection
 * table, from the first moment to the last, whoever owns the stream. */
#include "base/timerq.h"
#include "core/conn.h"
#include "core/module.h"
#include "core/stream.h"
#include "xmpp/preface.h"

enum link_state {
	LINK_CONNECTING, /* C */
	LINK_HELLO_WAIT, /* E */
	LINK_IDLE,
	LINK_TAKEN, /* the stream has another owner */
};

struct link_conn {
	struct list node;
	struct env *env;
	void *owner; /* link_edge or link_core */
	void *peer;  /* E: NULL before it is known */
	enum link_state state;
	struct stream *stream;
	struct stream_watch watch;
	struct conn conn;
	struct timer timer;
	int64_t idle_ms; /* when it became so */
	bool is_pair;	 /* TAKEN: for a pair of domains */
	bool was_taken;	 /* and came back: the other side knows us */
	const char *why; /* closed by us, static; NULL: as the stream says */
	/* The stream is over; the struct is freed behind it. */
	void (*gone)(struct link_conn *c, const char *why);
};

/* Enters s, whose handler is the caller's. NULL: no memory or table full; s is then the caller's
 * still. */
struct link_conn *link_conn_new(struct env *env, struct stream *s, enum link_state state,
				void *owner, void (*gone)(struct link_conn *c, const char *why));
void link_conn_set_state(struct link_conn *c, enum link_state state);
/* Ends it (not when it is taken): gone() is called before this returns. why: static. */
void link_conn_close(struct link_conn *c, const char *why);
/* Forgets it, for who goes before the stream: the entry ends, gone() is not called. */
void link_conn_forget(struct link_conn *c, const char *why);
/* TAKEN: what it is for, in the table. */
void link_conn_label(struct link_conn *c, const struct preface *p);
/* The one that s is, as long as the watch of it is in place. */
struct link_conn *link_conn_of(struct stream *s);
/* The frame in front of what was read: bytes used, 0 more is needed, -EBADMSG with *why. */
int link_conn_read(struct link_conn *c, struct preface *out, const char **why);
/* Puts a frame behind what s has to send, without flushing. 0, -EINVAL (not legal), -ENOMEM. */
int link_conn_say(struct stream *s, const struct preface *p);

#endif
