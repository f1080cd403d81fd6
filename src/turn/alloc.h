#ifndef TURN_ALLOC_H
#define TURN_ALLOC_H
/*
 * An allocation (RFC 8656 section 3.2) and what belongs to it: relays, permissions, channels.
 * Private to the machine (server.c, request_*.c, relay.c, tcp_relay.c). Times are those of the
 * timer queue. Permissions and channels expire by comparison; only the allocation has a timer.
 * Functions on all this: server_impl.h.
 */
#include "base/htab.h"
#include "proto/stun.h"
#include "turn/server.h"

/* Key of the table: no padding, it is hashed. */
struct turn_tuple {
	struct addr remote, local;
	uint32_t transport;
	uint32_t zero;
};

struct turn_relay {
	struct turn_alloc *alloc;
	void *io;	     /* the wiring's */
	struct addr local;   /* bound */
	struct addr relayed; /* as clients and peers see it: behind static NAT another one */
	int64_t expires_ms;  /* of two, each may be refreshed alone (RFC 8656 section 8) */
};

struct turn_permission {
	struct addr peer; /* port 0; as clients name it */
	int64_t expires_ms;
	bool own; /* an address of this host: the port is looked at for each packet */
};

struct turn_channel {
	uint16_t number;
	uint16_t permission; /* where it was seen last: a hint, to be verified */
	struct addr peer;    /* as clients name it */
	struct addr wire;    /* where packets go and come from: another one for our own relays
			      * behind static NAT */
	int64_t expires_ms;  /* rests for quarantine_ms after it */
};

enum { TURN_N_RELAYS = 2 };

struct turn_alloc {
	struct htab_node node;
	struct turn_tuple tuple;
	struct turn_client client;     /* a copy, for UDP */
	struct turn_client *client_of; /* that one, or the stream's */
	struct turn_server *server;
	struct conn conn; /* CONN_ALLOCATION */
	struct timer timer;
	/* The one asked for and the additional one; local.family ADDR_NONE: not there. */
	struct turn_relay relays[TURN_N_RELAYS];
	bool tcp;		     /* RFC 6062: relays[0].io listens, data is on connections */
	bool is_static;		     /* user of the INI file */
	bool key_sha256;	     /* key is of SHA-256 */
	uint8_t key[STUN_KEY_BYTES]; /* answers refreshes as long as it lives, also when the
				      * credential has expired or its secret is gone */
	uint8_t key_n;
	uint8_t tid[STUN_TID_BYTES]; /* of the Allocate: a retransmission gets the same answer */
	uint64_t token;		     /* RESERVATION-TOKEN it was given, 0: none */
	uint32_t lifetime_s;	     /* first granted, for the retransmission too */
	uint16_t half_error;	     /* code for the additional family, 0: none */
	char *user;		     /* USERNAME */
	struct turn_use *use;	     /* of its user: quota and bandwidth */
	struct turn_permission *permissions;
	struct turn_channel *channels;
	uint16_t n_permissions, max_permissions, n_channels, max_channels;
	uint64_t n_no_permission, n_over_bandwidth;
	struct list connections; /* tcp_relay.h */
	uint32_t n_connections;
};

#endif
