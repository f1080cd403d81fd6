#ifndef CORE_CONN_H
#define CORE_CONN_H
/*
 * The connection table: every live thing with a peer is an entry, embedded in the struct of the
 * module that owns it. One listing shows all of it, any entry can be closed by id, and the last
 * ones that ended stay visible with their reason.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/idtab.h"
#include "base/list.h"

enum conn_kind {
	CONN_LISTENER,
	CONN_FLOW, /* SIP connection or UDP association */
	CONN_LINK, /* traversal link (authenticated flow between C and E) */
	CONN_REGISTRATION,
	CONN_CALL,
	CONN_LEG,     /* one dialog of a call */
	CONN_MEDIA,   /* one media stream of a call */
	CONN_CONTROL, /* control socket client */
	CONN_TUNNEL,  /* SSH connection between E and C */
	CONN_CHANNEL, /* one channel of a tunnel */
	CONN_HTTP,    /* one HTTP connection */
	CONN_REQUEST, /* one HTTP exchange */
	CONN_SIGNIN,  /* what a signed-in user has */
	CONN_TURN,    /* TCP or TLS connection of a TURN client */
	CONN_ALLOCATION,
	CONN_RELAYED, /* TCP connection of a relay with a peer (RFC 6062) */
	CONN_XMPP, /* stream of a chat client: on E the client's, on C the one to the IM server */
	CONN_XMPP_LINK, /* connection between C and E for one stream (port 7400) */
	CONN_XMPP_S2S,	/* stream with a server: a partner's, or inside */
	CONN_N_KINDS
};

enum conn_transport { CONN_UNIX, CONN_UDP, CONN_TCP, CONN_TLS };

#define CONN_USER_BYTES	   128
#define CONN_ZONE_BYTES	   64
#define CONN_STATE_BYTES   24
#define CONN_REASON_BYTES  160
#define CONN_SESSION_BYTES 33 /* 32 hex digits and NUL */

struct conn {
	struct list node; /* of its kind */
	uint64_t id;
	uint64_t parent;
	enum conn_kind kind;
	enum conn_transport transport;
	struct addr local;
	struct addr remote;
	int64_t since_ms; /* monotonic */
	int64_t since_wall_s;
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, n_dropped;
	char session[CONN_SESSION_BYTES];
	char user[CONN_USER_BYTES];
	char zone[CONN_ZONE_BYTES];
	const char *state;		/* static text */
	char reason[CONN_REASON_BYTES]; /* why it ended */
	/* Really ends the thing (a call gets BYE both ways). NULL: cannot be closed alone. */
	void (*close)(struct conn *c, const char *reason);
};

struct conn_table;

/* n_ended: how many ended entries to remember. now_ms: the loop's clock, read through the function.
 */
struct conn_table *conn_table_new(uint32_t max, size_t n_ended, int64_t (*now_ms)(void *),
				  void *arg);
void conn_table_free(struct conn_table *t);
/* Another bound; what is over it stays. */
void conn_table_set_max(struct conn_table *t, uint32_t max);
/* Enters c, whose kind, transport, addresses, parent and close are set. 0 or -ENOSPC (table full).
 */
int conn_add(struct conn_table *t, struct conn *c);
/* Ends it: copied into the ring of ended ones with the reason (printf). Not entered: no effect. The
 * id stays in c and finds nothing any more. Control clients are not kept: each call of turnpikectl
 * is one. Requests, channels and connections of the XMPP link have a ring of their own, as long, so
 * that thousands of page views do not wash out the calls. */
void conn_end(struct conn_table *t, struct conn *c, const char *reason_fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with a reason that is there already. */
void conn_end_as(struct conn_table *t, struct conn *c, struct slice reason);
/* Remembers something that never became an entry (refused at accept). c need not be entered. These
 * have a ring of their own, a quarter as long, so that a flood does not wash out what lived. */
void conn_refused(struct conn_table *t, struct conn *c, const char *reason_fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct conn *conn_get(const struct conn_table *t, uint64_t id);
uint32_t conn_count(const struct conn_table *t, enum conn_kind kind);
/* Head of the live entries of a kind (struct conn.node). */
const struct list *conn_list(const struct conn_table *t, enum conn_kind kind);
/* Ended ones, newest first: calls fn for each until it returns false. `ended_ms` is monotonic. */
void conn_ended_each(const struct conn_table *t,
		     bool (*fn)(const struct conn *c, int64_t ended_wall_s, void *arg), void *arg);
const char *conn_kind_str(enum conn_kind kind);
const char *conn_transport_str(enum conn_transport t);
/* "kind-hex" text form of an id, as users see and type it: "call-10000002a". */
#define CONN_ID_BYTES 40
const char *conn_id_str(const struct conn *c, char buf[CONN_ID_BYTES]);
/* Accepts that form or the bare hex id; NULL when nothing alive has it. */
struct conn *conn_find(const struct conn_table *t, struct slice text);

#endif
