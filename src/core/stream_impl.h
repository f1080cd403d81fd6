#ifndef CORE_STREAM_IMPL_H
#define CORE_STREAM_IMPL_H
/*
 * Shared by stream_socket.c (life), stream_io.c (bytes), stream_connect.c and stream_listener.c
 * only.
 *
 *   CONNECTING --connected--> CLEAR (TLS) --preface sent--> HANDSHAKE --done--> READY
 *   accepted --> HANDSHAKE (TLS; or waiting for the first byte) --done, or not TLS--> READY
 *   CONNECTING --connected--> READY (TCP)
 *   READY (TCP) --stream_start_tls--> CLEAR --what was in out is sent--> HANDSHAKE --done--> READY
 *   READY --stream_close with bytes left--> CLOSING --sent, 10 s--> DEAD
 *   any --error, end, stream_close, stream_abort--> DEAD, freed at the end of the turn
 */
#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/timerq.h"
#include "core/loop.h"
#include "core/stream_socket.h"

/* Who takes less of the last bytes in that time loses them. */
#define STREAM_CLOSING_MS    10000
#define STREAM_CLOSING_BYTES 4096
#define STREAM_CLOSING_MAX   512 /* guests of the loop */

enum sock_phase {
	SOCK_CONNECTING,
	SOCK_CLEAR,
	SOCK_HANDSHAKE,
	SOCK_READY,
	SOCK_CLOSING,
	SOCK_DEAD
};

struct stream_limits;

/* A host holds ten thousand of these. */
struct stream_socket {
	struct stream s;
	struct loop *loop;
	SSL *ssl;
	struct event readable, writable;
	struct timer timer;	    /* CONNECTING, CLEAR, HANDSHAKE, CLOSING */
	struct loop_deferred later; /* read on, flush, look for the end, free */
	union {
		struct loop_guest guest; /* CLOSING */
		struct {		 /* is_accepting */
			struct list node;
			struct stream_listener *listener;
		} accepting;
	};
	struct stream_limits *counted; /* NULL: not accepted */
	size_t n_wasted;	       /* input thrown away while CLOSING */
	size_t n_left;		       /* output not taken yet when the timer was started */
	size_t n_clear;		       /* so much of out goes before TLS begins */
	int fd;
	int write_error;   /* what goes out is thrown away, what came in is still read */
	uint8_t phase;	   /* enum sock_phase */
	bool is_accepting; /* HANDSHAKE: the listener has it, nobody took it yet */
	bool detecting;	   /* HANDSHAKE: waits for the byte that tells TLS from plain */
	bool is_guest;
	bool read_on;	/* `readable` is added */
	bool write_on;	/* likewise */
	bool read_more; /* OpenSSL holds bytes that no event will announce */
	bool flush;
	bool fin_sent;
	bool wrote; /* the peer may have unread bytes of ours: no reset */
	bool bulk;  /* the last read was a big one */
};

_Static_assert(sizeof(struct stream_socket) < 640, "idle connections must be small");

static inline struct stream_socket *stream_socket_of(struct stream *s)
{
	return CONTAINER_OF(s, struct stream_socket, s);
}

/* stream_socket.c */
/* Takes fd and ssl (may be NULL) over, also when it fails (NULL: no memory). */
struct stream_socket *stream_socket_new(struct loop *loop, int fd, SSL *ssl, enum sock_phase phase);
bool stream_is_socket(const struct stream *s);
int stream_watch_read(struct stream_socket *ss, bool on);
int stream_watch_write(struct stream_socket *ss, bool on);
/* The deferred work runs at the end of this turn. */
void stream_later(struct stream_socket *ss);
/* No event, no timer any more; freed at the end of the turn. */
void stream_die(struct stream_socket *ss);
/* Dies and tells the owner, or the listener while it was not accepted. */
void stream_fail(struct stream_socket *ss, enum stream_end end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* OpenSSL works on the descriptor from now on. Takes ssl, also when it fails (-ENOMEM). */
int stream_set_ssl(struct stream_socket *ss, SSL *ssl);
/* Connected or handshaken: the owner hears it. */
void stream_ready(struct stream_socket *ss);
/* Sends what goes before TLS, then begins the handshake. */
void stream_clear(struct stream_socket *ss);
/* See stream_connect.keepalive; what is accepted from a listening socket has it too. */
void stream_keep_alive(int fd);

/* stream_io.c */
void stream_handshake(struct stream_socket *ss);
/* Writes n_clear bytes as far as the peer takes them: 1 done, 0 not yet, -1 failed and told. */
int stream_write_clear(struct stream_socket *ss);
/* Reads what is there (bounded) and tells the owner. */
void stream_read(struct stream_socket *ss);
/* Writes what the peer takes, then our end when it is due. In CLOSING no callback. */
void stream_write(struct stream_socket *ss);

/* stream_connect.c */
void stream_connected(struct stream_socket *ss);

/* stream_listener.c */
/* The first byte of a client that may or may not speak TLS can be read, or its end. */
void stream_listener_detect(struct stream_socket *ss);
/* The handshake of an accepted socket is over: hands it to the taker. */
void stream_listener_take(struct stream_socket *ss);
/* It failed: counted, traced, told. */
void stream_listener_refuse(struct stream_socket *ss, const char *why);
void stream_limits_leave(struct stream_limits *l, const struct addr *from);

#endif
