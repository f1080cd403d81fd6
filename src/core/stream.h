#ifndef CORE_STREAM_H
#define CORE_STREAM_H
/*
 * An ordered byte stream with one peer: a TCP or TLS socket (core/stream_socket.h), an SSH channel
 * (src/tunnel), or a pair in memory for tests (core/stream_pair.h). What stands on top does not
 * know which.
 *
 *   OPENING --opened--> OPEN --stream_close, error--> CLOSED
 *
 * One owner. Callbacks may close the stream that calls them; memory goes at the end of the turn.
 */
#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/slice.h"

/* Reading pauses when so much waits unread; writing reports `writable` when what is left falls
 * under STREAM_LOW after stream_is_full() was true. */
#define STREAM_HIGH_BYTES (128 * 1024)
#define STREAM_LOW_BYTES  (32 * 1024)

enum stream_state { STREAM_OPENING, STREAM_OPEN, STREAM_CLOSED };
enum stream_end {
	STREAM_END_LOCAL, /* stream_close(); no callback for this one */
	/* Both sides have said their end (stream_eof, stream_shutdown), out is sent and in is used
	 * up. After the peer's end alone the stream lives on: it may still be written to. */
	STREAM_END_EOF,
	STREAM_END_ERROR,   /* reset, TLS failure, tunnel lost */
	STREAM_END_REFUSED, /* never opened: connect failed, channel refused */
	STREAM_END_TIMEOUT, /* never opened in time */
};

struct stream;
struct stream_handler {
	void (*opened)(void *arg);   /* may be NULL */
	void (*readable)(void *arg); /* more in stream_in(), or the peer's end came (stream_eof) */
	void (*writable)(void *arg); /* there is room again; may be NULL */
	/* It is over (not after stream_close). why: for humans. The last callback, s is gone after
	 * it; stream_close() inside it does no harm. What is still in stream_in() may be read
	 * inside it. */
	void (*closed)(void *arg, enum stream_end end, const char *why);
};

/* Somebody beside the owner who must know when it ends, whoever owns it by then: the entry in the
 * connection table of a stream that changes hands. Embedded in it. */
struct stream_watch {
	/* Once, behind the owner's `closed`, or from within its stream_close() or stream_abort()
	 * (why "closed here"). s may not be used any more. */
	void (*ended)(struct stream_watch *w, const char *why);
};

struct stream_ops {
	void (*flush)(struct stream *s);     /* out has grown */
	void (*want_read)(struct stream *s); /* in has room again */
	void (*shutdown)(struct stream *s);  /* no more output after what is there */
	void (*close)(struct stream *s, bool now);
};

/* Public only for those who implement one. */
struct stream {
	const struct stream_ops *ops;
	const struct stream_handler *handler;
	void *arg;
	struct evbuffer *in, *out;
	enum stream_state state;
	bool eof; /* the peer sends no more */
	bool read_paused;
	bool was_full; /* writable is owed */
	bool shut;     /* stream_shutdown() was called */
	bool is_tls;   /* for listings */
	struct addr local, remote;
	uint64_t conn_id;	    /* entry of the connection table, 0: none */
	struct stream_watch *watch; /* may be NULL; who set it clears it when he goes first */
};

static inline void stream_set_handler(struct stream *s, const struct stream_handler *h, void *arg)
{
	s->handler = h;
	s->arg = arg;
}
/* The unread bytes: drain what was used, then call stream_consumed() (it lets reading go on). */
static inline struct evbuffer *stream_in(struct stream *s)
{
	return s->in;
}
void stream_consumed(struct stream *s);
/* Add to it, then stream_flush(). Never refuses bytes: the one who adds looks at stream_is_full()
 * first and stops reading its own source. */
static inline struct evbuffer *stream_out(struct stream *s)
{
	return s->out;
}
/* Sends what the peer takes now or at the end of the turn. Before `opened` it only waits. */
void stream_flush(struct stream *s);
bool stream_is_full(struct stream *s);
static inline bool stream_eof(const struct stream *s)
{
	return s->eof;
}
/* Half-close: the peer sees the end after what is in out (FIN, close_notify, SSH EOF). */
void stream_shutdown(struct stream *s);
/* Ends it; what is in out is still sent as far as the peer takes it, in the background and bounded
 * in time; unread input is thrown away without a reset that would destroy the last answer. No
 * callback afterwards. s is gone for the caller. NULL is allowed. */
void stream_close(struct stream *s);
/* Ends it at once: TCP reset, nothing more is sent. */
void stream_abort(struct stream *s);
/* For who is not the owner (`turnpikectl disconnect`): ends it at once, and the owner hears
 * `closed` with STREAM_END_ERROR, as if the connection had broken. */
void stream_break(struct stream *s, const char *why);

/* For those who implement one: set state and call back. */
void stream_is_open(struct stream *s);
void stream_got(struct stream *s);     /* in has grown or eof was set */
void stream_drained(struct stream *s); /* out has shrunk */
/* state becomes CLOSED; the memory is given back by the implementation after this turn. */
void stream_is_closed(struct stream *s, enum stream_end end, const char *why);
/* Time for STREAM_END_EOF? want_read() is called when this may have changed. */
bool stream_is_over(const struct stream *s);

#endif
