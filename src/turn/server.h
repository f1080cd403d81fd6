#ifndef TURN_SERVER_H
#define TURN_SERVER_H
/*
 * The TURN server (RFC 8656, 8489; TCP relays of RFC 6062 in tcp_relay.h) as a machine: messages of
 * clients and packets of peers go in, messages and packets come out through ops. No sockets, no
 * clock of its own: lifetimes run on a timer queue, wall-clock time (of expiring credentials) is
 * asked for. Nothing is kept of a client before its first valid Allocate.
 *
 *   client --Allocate--> 401, nonce --Allocate--> ALLOCATED --Refresh 0, expiry, close--> gone
 *   ALLOCATED: CreatePermission, ChannelBind, Send/Data, ChannelData, Refresh
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/timerq.h"
#include "core/conn.h"
#include "core/udp.h"
#include "turn/credentials.h"
#include "turn/peer_policy.h"

struct alarms;
struct trace;
struct turn_alloc;
struct turn_relay;
struct turn_server;

enum turn_transport { TURN_UDP, TURN_TCP, TURN_TLS };

/* The 5-tuple of a client. For UDP the wiring makes one for each packet; for a stream there is one
 * as long as the connection, and `alloc` is the machine's. */
struct turn_client {
	struct addr remote, local; /* local: of the listening socket */
	enum turn_transport transport;
	void *io; /* the wiring's: where answers go (a struct udp_socket, a stream client) */
	uint64_t conn_id;	  /* entry of the stream's connection, 0 for UDP */
	struct turn_alloc *alloc; /* streams only; NULL: none */
};

struct turn_server_conf {
	const char *realm;
	bool tcp_relays; /* RFC 6062 */
	enum turn_binding { TURN_BINDING_NO, TURN_BINDING_AUTHENTICATED, TURN_BINDING_YES } binding;
	uint32_t default_lifetime_s, max_lifetime_s;
	uint32_t nonce_ms;
	uint32_t permission_ms;	  /* 300 s, RFC 8656 section 9 */
	uint32_t channel_ms;	  /* 600 s, section 12 */
	uint32_t quarantine_ms;	  /* 300 s: a channel rests after it, section 12 */
	uint32_t reservation_ms;  /* 30 s, section 7.2 */
	uint32_t max_allocations; /* 508 over it */
	uint32_t user_quota;	  /* allocations of one user, 486 over it; 0: no limit */
	uint32_t user_bandwidth;  /* bytes/s of one user, both directions; 0: no limit */
	uint32_t max_permissions, max_channels; /* of one allocation: 508 over it */
	uint32_t max_connections;		/* TCP peers of one allocation */
	uint16_t last_channel;			/* TURN_CHANNEL_LAST, or _5766 for older clients */
	uint16_t first_port, last_port;		/* of relays */
	/* Answers to unauthenticated datagrams of one source a second beyond which only answers are
	 * given that are no longer than the question; 0: no limit. */
	uint32_t unauthenticated_rate;
	/* Relays bind here; ADDR_NONE: this family is not served (440). */
	struct addr relay_ip4, relay_ip6;
	/* What clients and peers see of relay_ip4 behind static NAT; ADDR_NONE: itself. A peer
	 * address with it means relay_ip4 here (no packet of ours goes to the NAT and back). */
	struct addr public_ip4, public_ip6;
	/* 300 Try Alternate when full or draining; ports set. */
	struct addr alternates[8];
	unsigned n_alternates;
};

/* None of them calls back into the server: what they cause (a stream that fails) is told from the
 * loop, later. */
struct turn_server_ops {
	/* One message to a client: STUN or ChannelData, without padding. p may lie in the packet
	 * that came in. lossy: relayed data, may be dropped when a stream is full (then false). */
	bool (*to_client)(void *arg, const struct turn_client *c, const void *p, size_t n,
			  bool lossy);
	/* A relay: a UDP socket bound to r->local (address and port), or a listening TCP socket.
	 * 0 with r->io set, -EADDRINUSE (the machine tries another port), or other negative errno.
	 */
	int (*relay_open)(void *arg, struct turn_relay *r);
	void (*relay_close)(void *arg, struct turn_relay *r);
	/* One datagram from a relay. */
	void (*relay_send)(void *arg, struct turn_relay *r, const struct addr *to, const void *p,
			   size_t n, bool dont_fragment);
	/* The allocation of a stream client ended from our side: its connection has no use any
	 * more and is closed once what was sent is out. */
	void (*client_over)(void *arg, const struct turn_client *c, const char *why);
	int64_t (*wall_s)(void *arg);
};

struct turn_server *turn_server_new(struct timerq *timers, struct conn_table *conns,
				    struct trace *trace, const struct turn_server_ops *ops,
				    void *arg);
/* Ends every allocation. */
void turn_server_free(struct turn_server *s);
/* conf, credentials and policy are borrowed until the next call. Ends allocations of static users
 * who are gone or have another password, permissions and channels whose peers are denied now, and
 * allocations whose relay address is not ours any more, or that are for TCP where tcp_relays is off
 * now. -EINVAL: a port range that is none, nothing changed. -ENOMEM: all but the port range holds
 * from now on; the first time nothing does. */
int turn_server_configure(struct turn_server *s, const struct turn_server_conf *conf,
			  const struct turn_credentials *credentials,
			  const struct turn_peer_policy *policy);
/* No new allocations (300 or 508). */
void turn_server_drain(struct turn_server *s);

/* A datagram or a frame of a stream. pkt is the packet's room (p, n; for streams without room
 * around it: then data is copied by the relay's socket). */
void turn_server_client_input(struct turn_server *s, struct turn_client *c, struct udp_packet *pkt);
/* The client's stream is gone: its allocation ends. */
void turn_server_client_gone(struct turn_server *s, struct turn_client *c, const char *why);
/* A listening UDP socket is gone: allocations made through it end. */
void turn_server_listener_gone(struct turn_server *s, const void *io, const char *why);
/* A datagram of a peer; pkt has head- and tailroom. */
void turn_server_peer_input(struct turn_server *s, struct turn_relay *r, struct udp_packet *pkt);
/* RFC 8656 section 11.5. */
void turn_server_peer_icmp(struct turn_server *s, struct turn_relay *r, const struct addr *peer,
			   uint8_t type, uint8_t code, uint32_t mtu);

struct turn_server_stats {
	uint32_t n_allocations, n_permissions, n_channels, n_users;
	uint32_t n_ports_used, n_ports; /* of the family that is fuller */
	uint64_t n_allocated, n_refused, n_unauthenticated, n_unanswered;
	uint64_t n_to_peer, n_to_client, n_no_permission, n_over_bandwidth, n_bad;
};
/* Without n_permissions and n_channels, for which every allocation is looked at: _all. */
struct turn_server_stats turn_server_stats(const struct turn_server *s);
struct turn_server_stats turn_server_stats_all(const struct turn_server *s);
/* Allocations for `turnpikectl turn`, all or the one whose connection has the id (0: all) and those
 * of a user as listings show it (NULL: all): an array of objects with id, client, transport, user,
 * relay ("udp", "tcp"), relayed (addresses), left (seconds), permissions (peer, left), channels
 * (number, peer, left), rx_* (from the client) and tx_* (to it) packets and bytes, dropped and of
 * these no_permission and over_bandwidth; "connections" for TCP relays. New reference. */
json_t *turn_server_json(const struct turn_server *s, uint64_t conn_id, const char *user);

#endif
