#ifndef CORE_LINGER_H
#define CORE_LINGER_H
/*
 * After the end of a TCP connection: one that is closed with unread input is reset, and a reset
 * takes away the last answer or TLS alert that the peer has not read yet (RFC 9112 section 9.6).
 * Its owner is gone by then; the descriptor alone waits a little for the peer to close, as a guest
 * of the loop.
 */
struct loop;

#define LINGER_MS	1000
#define LINGER_READ_MAX (256 * 1024)
#define LINGER_MAX	1024 /* guests of the loop; over it descriptors are closed at once */

/* Takes fd over: says that we send no more, throws away what comes in, and closes it when the peer
 * does, after LINGER_MS or LINGER_READ_MAX bytes, or when the loop is freed. No event may be left
 * on fd. */
void linger_close(struct loop *loop, int fd);

#endif
