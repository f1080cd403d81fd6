#ifndef XMPP_STREAM_IMPL_H
#define XMPP_STREAM_IMPL_H
/* Shared by stream.c and stream_park.c (without a socket for a while) only. */
#include "xmpp/stream.h"

enum xmpp_state { XMPP_OPEN, XMPP_ENDING, XMPP_CLOSED };

struct xmpp_stream {
	struct stream *s; /* NULL: CLOSED, or parked */
	const struct xmpp_stream_handler *handler;
	void *arg;
	struct xml_stream *xml;
	struct timerq *timers;
	struct timer timer;
	struct buf print; /* parked: all that waits */
	const char *content;
	uint32_t rate_bytes, burst_bytes, idle_ms, send_timeout_ms, sleep_ms;
	uint32_t n_inside; /* calls of ours on the stack */
	int64_t tokens;	   /* thousandths of bytes that may be read now; below 0: debt */
	int64_t refilled_ms;
	int64_t shaped_until_ms; /* 0: not shaped now */
	int64_t quiet_since_ms;
	int64_t end_by_ms;     /* ENDING */
	int64_t send_look_ms;  /* 0: nothing waits */
	int64_t send_since_ms; /* the peer took something */
	uint64_t n_taken;      /* bytes that it had taken then */
	struct xmpp_stream_stats stats;
	uint16_t n_pauses;
	uint8_t state; /* enum xmpp_state */
	bool freed;
	bool reading; /* read_on() is on the stack */
	bool look;    /* the timer is to read */
	bool broken;  /* something could not be printed */
	bool peer_ended;
	bool header_sent;
	bool dialback; /* our header declared db */
	bool tls_waiting;
	bool asleep;
	bool gone; /* s is closed, but its input may be read yet */
	bool parked;
	bool asked; /* for a socket, or about to be: `ask` */
	bool ask;
	bool told_full; /* while parked: `writable` is owed */
	bool has_room;	/* and due */
	bool last;	/* xmpp_fail() while parked */
};

_Static_assert(sizeof(struct xmpp_stream) <= 400, "idle streams must be small");

static inline int64_t xmpp_now_ms(const struct xmpp_stream *x)
{
	return x->timers->now_ms;
}

/* Arms the timer when it would come too late. */
void xmpp_wake(struct xmpp_stream *x);
/* CLOSED; the socket is the caller's. */
struct stream *xmpp_leave_socket(struct xmpp_stream *x);
bool xmpp_can_send(const struct xmpp_stream *x);
/* What stands in x->print goes out, or waits. False: nothing of it does. */
bool xmpp_queue(struct xmpp_stream *x);
/* Whoever has the socket. */
extern const struct stream_handler xmpp_socket_handler;

#endif
