#ifndef CORE_UDP_H
#define CORE_UDP_H
/*
 * UDP sockets of relays on the loop. Packets are received in batches into the slots of a pool that
 * all sockets of a module share, and handed to the socket's owner where they lie. What the owner
 * sends from inside a slot is sent from there: nothing is copied. Sending is put off to the end of
 * the turn (or until the slots are used up), so that packets of one socket leave in one system
 * call, and runs of one size to one address as one segmented packet (UDP_SEGMENT). Order is kept
 * for each socket. Nothing here allocates for a packet.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct loop;
struct udp_pool;
struct udp_socket;

enum {
	UDP_HEADROOM = 64,	 /* before a received packet: room for headers of ours */
	UDP_TAILROOM = 152,	 /* behind it: padding, SRTP tag, index and MKI */
	UDP_PACKET_BYTES = 9000, /* longer datagrams are dropped and counted */
};

/* The room of a packet is the owner's until input() returns. */
struct udp_packet {
	uint8_t *p; /* UDP_HEADROOM bytes before it and UDP_TAILROOM behind p + n are free to use */
	size_t n;
	struct addr from;
	int64_t now_us; /* monotonic, once a batch */
};

struct udp_handler {
	/* One packet. May send, and may close any socket of the pool, its own too. */
	void (*input)(void *arg, struct udp_packet *pkt);
	/* An ICMP error to something that was sent to `peer` (asks the kernel for them,
	 * IP_RECVERR). type and code as in ICMP or ICMPv6 by the family of peer; mtu for those that
	 * carry one. What was too big for the path as this host knows it is told as a router would
	 * tell it (fragmentation needed, packet too big). May close any socket. May be NULL. */
	void (*icmp)(void *arg, const struct addr *peer, uint8_t type, uint8_t code, uint32_t mtu);
};

struct udp_socket_conf {
	struct addr local;
	uint32_t buffer_bytes; /* asked of the kernel for both directions; 0: its default */
	int dscp;	       /* -1: not set */
	/* What udp_socket_send() sends leaves without DF (the kernel's default is to set it on what
	 * fits the path): routers may fragment it. IPv4 only. */
	bool clear_df;
	const struct udp_handler *handler;
	void *arg;
};

struct udp_stats {
	uint64_t n_in, n_out;
	uint64_t n_truncated;	/* too long for a slot */
	uint64_t n_send_failed; /* the kernel refused: no route, buffer full, ... */
	uint64_t n_send_calls;	/* system calls that sent, for ratios */
};

/* NULL without memory. */
struct udp_pool *udp_pool_new(struct loop *loop);
/* Every socket must be closed. Not inside a callback of the pool. NULL is allowed. */
void udp_pool_free(struct udp_pool *p);
/* Sends what waits now. The loop does it at the end of each turn. */
void udp_pool_flush(struct udp_pool *p);
struct udp_stats udp_pool_stats(const struct udp_pool *p);

/* Binds and listens. NULL: *error is a negative errno (-EADDRINUSE ...). */
struct udp_socket *udp_socket_open(struct udp_pool *p, const struct udp_socket_conf *c, int *error);
/* What it was asked to send before is sent first. NULL is allowed. */
void udp_socket_close(struct udp_socket *s);
/* As bound: with the port that the kernel chose. */
const struct addr *udp_socket_local(const struct udp_socket *s);
/* Sends n bytes. p inside the packet that input() has now (its head- and tailroom included) is not
 * copied and must not be changed any more; anything else is copied. Loss is counted. */
void udp_socket_send(struct udp_socket *s, const struct addr *to, const void *p, size_t n);
/* With DF set and not fragmented on this host, for this packet only (RFC 8656 DONT-FRAGMENT). */
void udp_socket_send_df(struct udp_socket *s, const struct addr *to, const void *p, size_t n);

#endif
