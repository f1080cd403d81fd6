#ifndef TURN_SERVER_IMPL_H
#define TURN_SERVER_IMPL_H
/*
 * What the parts of the TURN machine share: the server's state, one request under way, and what the
 * verbs are made of. Private to server.c, auth.c, alloc.c, request_*.c, relay.c and tcp_relay.c.
 */
#include "turn/alloc.h"
#include "turn/nonce.h"
#include "turn/ports.h"
#include "turn/unauth_limit.h"
#include "turn/usage.h"

struct turn_request;

/* What tcp_relay.c does for the machine, entered by turn_server_set_tcp(). Without it there are no
 * TCP allocations (442). */
struct turn_tcp_verbs {
	/* Authenticated requests; q->alloc is there for connect, but may be one for UDP;
	 * whatever the client has (mostly NULL) for connection_bind. Each answers the request,
	 * now or later. */
	void (*connect)(struct turn_request *q);
	void (*connection_bind)(struct turn_request *q);
	/* The allocation of the CONNECTION-ID of a ConnectionBind, or NULL: its key answers. */
	struct turn_alloc *(*owner)(struct turn_server *s, const struct stun_msg *m);
	/* The stream of a client is gone: it takes no connection any more. */
	void (*client_gone)(struct turn_server *s, const struct turn_client *c);
	/* The allocation ends: everything on a->connections goes. */
	void (*ended)(struct turn_alloc *a, const char *why);
	/* Permissions changed (policy, expiry is not told): connections without one may go. */
	void (*recheck)(struct turn_alloc *a);
	/* Adds "connections" to the listing of an allocation. */
	void (*json)(const struct turn_alloc *a, json_t *out);
	/* The server goes; no allocation is left. */
	void (*stop)(struct turn_server *s);
};

struct turn_server {
	struct timerq *timers;
	struct conn_table *conns;
	struct trace *trace;
	const struct turn_server_ops *ops;
	void *arg;
	struct turn_server_conf conf;
	const struct turn_credentials *credentials; /* NULL before the first configure */
	const struct turn_peer_policy *policy;
	struct turn_nonces nonces;
	struct turn_unauth_limit *limit;   /* answers to who has proved nothing */
	struct turn_unauth_limit *guesses; /* wrong credentials, at the same rate */
	struct turn_usage usage;
	struct turn_ports *ports[TURN_N_RELAYS]; /* IPv4, IPv6 */
	struct htab allocs;			 /* every allocation, by tuple */
	struct turn_alloc *last; /* found by tuple: packets come in runs; NULL: none */
	struct list reservations;
	struct turn_server_stats counters; /* only those that count up */
	unsigned next_alternate;
	int64_t drop_traced_ms; /* of unauthenticated questions: traced once a second */
	uint64_t n_indications; /* transaction ids are made of it */
	uint8_t seed[16];
	bool draining;
	const struct turn_tcp_verbs *tcp; /* NULL: no TCP relays */
	void *tcp_state;		  /* of tcp_relay.c */
};

/* One request of a client, from its arrival to its answer. Lies on the stack; copy it (and the
 * tid, to which msg points) to answer later. */
struct turn_request {
	struct turn_server *s;
	struct turn_client *c;
	struct turn_alloc *alloc; /* of the 5-tuple, or NULL */
	struct stun_msg msg;
	struct slice user;   /* USERNAME */
	struct turn_key key; /* proved; n 0: not authenticated */
	bool key_sha256;     /* PASSWORD-ALGORITHM SHA-256 */
	bool sha256;	     /* answers carry MESSAGE-INTEGRITY-SHA256 instead of the old one */
};

/* Answers have at most so many bytes. */
enum { TURN_ANSWER_BYTES = 1200 };

/* --- server.c: answers --- */

/* A builder on out for the answer of q: class SUCCESS or ERROR. */
void turn_answer_start(const struct turn_request *q, struct stun_build *b,
		       uint8_t out[TURN_ANSWER_BYTES], enum stun_class class);
/* Seals with the key of the request and sends. */
void turn_answer_send(const struct turn_request *q, struct stun_build *b);
/* Success without anything else. */
void turn_answer_ok(const struct turn_request *q);
/* An error answer, sealed, counted as refused. */
void turn_refuse(const struct turn_request *q, enum stun_code code);
/* The same with a line in the trace (printf); decided_by may be NULL. The peer or user belong into
 * the text. */
void turn_refuse_traced(const struct turn_request *q, enum stun_code code, const char *trace_code,
			const char *decided_by, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
int64_t turn_now(const struct turn_server *s);

/* --- auth.c --- */

/* Checks the long-term credential (RFC 8489 9.2.4). key_of: an allocation whose key answers before
 * the credentials are asked; NULL: none. False: it was answered. */
bool turn_authenticate(struct turn_request *q, const struct turn_alloc *key_of);
/* An answer to a datagram that nobody has proved: the limit and the length decide whether it goes
 * out. */
void turn_answer_unproved(const struct turn_request *q, struct stun_build *b);

/* --- alloc.c --- */

/* The allocation of a 5-tuple, or NULL. */
struct turn_alloc *turn_alloc_find(struct turn_server *s, const struct turn_client *c);
/* One of an authenticated request, without relays, in no table. NULL without memory. */
struct turn_alloc *turn_alloc_new(const struct turn_request *q);
/* With its relays and its use: into both tables. 0; -EMLINK: the connection table is full. */
int turn_alloc_enter(struct turn_alloc *a);
/* One that was not entered. */
void turn_alloc_free(struct turn_alloc *a);
/* Ends and frees it. by_client: its stream is not told to close. */
void turn_alloc_end(struct turn_alloc *a, const char *why, bool by_client);
/* The relay of a family (enum addr_family), or NULL. */
struct turn_relay *turn_alloc_relay(struct turn_alloc *a, uint8_t family);
/* Closes one of two relays and gives its port back. */
void turn_relay_drop(struct turn_relay *r);
/* Arms the timer for the relay that expires next. */
void turn_alloc_rearm(struct turn_alloc *a);
/* Milliseconds until the last relay expires. */
int64_t turn_alloc_left_ms(const struct turn_alloc *a);
/* Policy, users or addresses changed: what is not allowed any more ends. */
void turn_alloc_recheck(struct turn_alloc *a);

/* --- grants.c --- */

/* Static NAT: the address that clients and peers use for one that is bound here, and back. */
struct addr turn_public_of(const struct turn_server *s, const struct addr *wire);
struct addr turn_wire_of(const struct turn_server *s, const struct addr *named);

/* Lives now. peer in the clients' spelling (turn_public_of), any port. */
struct turn_permission *turn_permission_find(struct turn_alloc *a, const struct addr *peer);
/* The same, and where the port matters (own addresses) it is allowed. */
bool turn_permission_allows(struct turn_alloc *a, const struct addr *peer);
/* Forgets what has expired. */
void turn_permissions_sweep(struct turn_alloc *a);
/* Adds one that lives no moment yet, or finds it. 0, -ENOSPC at the bound, -ENOMEM. */
int turn_permission_prepare(struct turn_alloc *a, const struct addr *peer);
/* Lets a prepared or living one live from now on. */
void turn_permission_renew(struct turn_alloc *a, const struct addr *peer, bool own);

struct turn_channel *turn_channel_by_number(struct turn_alloc *a, uint16_t number);
/* wire: turn_wire_of the peer. Both find resting ones too. */
struct turn_channel *turn_channel_by_wire(struct turn_alloc *a, const struct addr *wire);
void turn_channels_sweep(struct turn_alloc *a);
/* -ENOSPC at the bound, -ENOMEM. */
int turn_channel_add(struct turn_alloc *a, uint16_t number, const struct addr *peer);
static inline bool turn_channel_lives(const struct turn_channel *ch, int64_t now_ms)
{
	return now_ms < ch->expires_ms;
}

/* --- request_*.c: authenticated requests --- */

void turn_request_allocate(struct turn_request *q);
void turn_request_refresh(struct turn_request *q);
void turn_request_create_permission(struct turn_request *q);
void turn_request_channel_bind(struct turn_request *q);
/* LIFETIME as it is granted, 0 only when 0 was asked for. False: malformed. */
bool turn_request_lifetime(const struct turn_request *q, uint32_t *seconds);
/* Reads an XOR-PEER-ADDRESS into the clients' spelling and asks whether q's allocation may reach
 * it: 0, or the code of the refusal (400, also for port 0, 443, 403 with its trace), which is for
 * the caller to send. v is filled when the code is 0 or 403. */
unsigned turn_request_peer(const struct turn_request *q, const struct stun_attr *a,
			   struct addr *peer, struct turn_peer_verdict *v);

/* --- relay.c: data --- */

void turn_relay_channel_data(struct turn_server *s, struct turn_client *c, struct udp_packet *pkt);
void turn_relay_send_indication(struct turn_server *s, struct turn_client *c,
				const struct stun_msg *m);

#endif
