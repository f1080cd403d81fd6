#ifndef CORE_UDP_IMPL_H
#define CORE_UDP_IMPL_H
/*
 * Shared by udp.c (sockets, what comes in) and udp_send.c (what goes out) only.
 *
 * A batch is received into the slots behind those that queued sends refer to. A flush lets go of
 * all of them, so a quiet relay uses the first few slots over and over, and they stay in the cache.
 */
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/list.h"
#include "core/loop.h"
#include "core/udp.h"

enum {
	UDP_BATCH = 32, /* packets a wakeup, so that no socket starves the others */
	UDP_N_SLOTS = 64,
	UDP_MIN_SLOTS = 16, /* fewer free ones: what waits is sent first */
	/* An odd number of cache lines: the heads of packets spread over all sets of the cache. */
	UDP_SLOT_BYTES = 145 * 64,
	UDP_N_SENDS = 128,
	UDP_COPY_BYTES = 64 * 1024,
	UDP_MAX_ERRORS = 16, /* ICMP errors told a wakeup */
	UDP_NO_SEND = UDP_N_SENDS,
	/* Segments of one send: what every kernel with UDP_SEGMENT takes. */
	UDP_MAX_SEGMENTS = 64,
	UDP_MAX_SEGMENTED_BYTES = 65000,
};

_Static_assert(UDP_HEADROOM + UDP_PACKET_BYTES + UDP_TAILROOM <= UDP_SLOT_BYTES, "slot too small");

/* 10,000 of them are no rarity. What a packet needs comes first: with one packet a turn for each of
 * many sockets, every cache line of a socket is fetched from afar. */
struct udp_socket {
	struct udp_pool *pool;
	struct list waiting; /* in the pool's list while something is to be sent */
	int fd;
	uint16_t first_send, last_send; /* UDP_NO_SEND: none */
	uint16_t max_segment;		/* longer ones the kernel refused to segment here */
	uint8_t family;			/* of local */
	bool clear_df;
	bool failed; /* a send met an error that may be in the error queue */
	const struct udp_handler *handler;
	void *arg;
	struct event readable;
	struct addr local;
};

_Static_assert(sizeof(struct udp_socket) < 256, "relays must be small");

struct udp_send {
	struct addr to;
	const uint8_t *p;
	uint16_t n;
	uint16_t next; /* of the same socket; UDP_NO_SEND: the last */
	bool df;
};

/* What one system call sends: a packet, or a run of them. */
struct udp_message {
	struct sockaddr_storage to;
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))];
	uint16_t first_send;
	uint16_t n_sends;
};

struct udp_pool {
	struct loop *loop;
	struct loop_deferred end_of_turn;
	struct udp_stats stats;
	/* in */
	struct udp_socket *current; /* whose packets are handed out; NULL once it is closed */
	struct mmsghdr in[UDP_N_SLOTS];
	struct iovec in_iovs[UDP_N_SLOTS];
	struct sockaddr_storage from[UDP_N_SLOTS];
	/* out */
	struct addr too_big; /* where the last packet was for that did not fit the path */
	struct list waiting; /* sockets with something to send */
	struct udp_send sends[UDP_N_SENDS];
	unsigned n_sends;
	unsigned n_held; /* slots, from the first one, that sends refer to */
	size_t n_copied;
	struct mmsghdr out[UDP_BATCH];
	struct udp_message messages[UDP_BATCH];
	struct iovec out_iovs[UDP_N_SENDS];
	uint8_t copies[UDP_COPY_BYTES];
	uint8_t slots[UDP_N_SLOTS][UDP_SLOT_BYTES];
};

/* Sends what waits on one socket. No callback. */
void udp_socket_flush(struct udp_socket *s);

#endif
