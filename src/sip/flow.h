#ifndef SIP_FLOW_H
#define SIP_FLOW_H
/*
 * A flow is one TCP or TLS connection, or one UDP association (our socket and a remote address).
 * Registrations, dialogs and transactions name flows by id (the id of the connection table); on the
 * wire a flow is named by a token (sip/token.h, RFC 5626).
 *
 *   CONNECTING --connected--> HANDSHAKE (TLS) --done--> OPEN --close--> CLOSED
 *   CONNECTING --connected--> OPEN (TCP)       UDP flows are born OPEN
 *
 * Messages sent before OPEN wait in a bounded queue.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "core/conn.h"
#include "core/tls.h"
#include "proto/sip_msg.h"

struct env;
struct flow;
struct sip_conf;
struct transport;

/* Why a flow exists; decides what requests on it may do. */
enum flow_role {
	FLOW_OUTSIDE,	       /* accepted on a public listener of E: phones, and everybody else */
	FLOW_INSIDE,	       /* accepted on a listener of C, dialled to a zone's peer, or accepted
				  on E from one */
	FLOW_TRAVERSAL_SERVER, /* accepted on E's port of a uc-traversal zone */
	FLOW_TRAVERSAL_CLIENT, /* dialled by C */
};

enum flow_state { FLOW_CONNECTING, FLOW_HANDSHAKE, FLOW_OPEN, FLOW_CLOSED };

struct flow_dest {
	enum conn_transport transport;
	struct addr addr;
	enum flow_role role;
	const char *zone;	 /* name of the zone, "" for none; copied */
	const char *tls;	 /* TLS: name of the [tls] section */
	const char *server_name; /* TLS: SNI and the name to check; NULL: none */
	bool verify;		 /* TLS: check the server's certificate */
};

/* What the layer above hears. All run from the loop; a callback may close any flow. */
struct transport_events {
	void (*opened)(void *arg, struct flow *f);
	/* m is borrowed: take a reference to keep it. */
	void (*message)(void *arg, struct flow *f, struct sip_msg *m);
	/* Not a proper message; m may be NULL. Answer with reject->status when m is a request. */
	void (*malformed)(void *arg, struct flow *f, struct sip_msg *m,
			  const struct sip_reject *reject);
	/* The flow is about to end; its id is dead after this returns. why: for humans, exact (TLS:
	 * from tls_explain). */
	void (*closed)(void *arg, struct flow *f, const char *why);
	/* Something alive arrived that is no message (CRLF pong); for keep-alive. May be NULL. */
	void (*pong)(void *arg, struct flow *f);
};

struct transport *transport_new(struct env *env, const struct transport_events *events, void *arg);
/* Closes everything, at once and without events: who frees it lets go of its flows before. */
void transport_free(struct transport *t);
/* [system] name: how flows between E and C call themselves in Via and Contact. Copied; NULL: none.
 * 0 or -ENOMEM. */
int transport_set_name(struct transport *t, const char *system_name);
/* Opens, keeps and closes listeners so that they are those of snap: [sip] ports and one per
 * uc-traversal zone on E. Listeners that stay are not touched (no connection is lost). */
int transport_configure(struct transport *t, const struct conf_snapshot *snap, struct buf *errors);
/* Only checks that configure would succeed: binds what is new and closes it again. */
int transport_prepare(struct transport *t, const struct conf_snapshot *next, struct buf *errors);
/* Stops accepting; flows stay. */
void transport_drain(struct transport *t);
/* A new flow; dials. Events never run before it returns. NULL and negative errno in *error when it
 * cannot even start. The connect time-out (TCP 10 s) and the TLS handshake time-out (5 s) end in
 * events->closed. */
struct flow *transport_connect(struct transport *t, const struct flow_dest *dest, int *error);
/* A live or connecting flow to dest (same transport, address, role and zone), else a new one. UDP:
 * the association of our (first) UDP socket of that family with the address. */
struct flow *transport_flow_to(struct transport *t, const struct flow_dest *dest, int *error);
/* NULL when there is no such flow or it is closed. */
struct flow *transport_flow(struct transport *t, uint64_t id);
/* Fills host and port to put into Via and Contact for messages on this flow: our listener of that
 * transport and side; host is [system] name or the local address for roles inside. IPv6 bracketed.
 */
void flow_sent_by(const struct flow *f, struct buf *out);

uint64_t flow_id(const struct flow *f);
struct conn *flow_conn(struct flow *f);
enum flow_role flow_role(const struct flow *f);
enum flow_state flow_state(const struct flow *f);
enum conn_transport flow_transport(const struct flow *f);
bool flow_is_reliable(const struct flow *f);
const char *flow_zone(const struct flow *f);
const struct addr *flow_local(const struct flow *f);
const struct addr *flow_remote(const struct flow *f);
/* E: a stream that was accepted where peers of neighbour zones may knock: at any listener, with
 * [sip] outside-address at the inner ones only. */
bool flow_may_be_peer(const struct flow *f);
/* Of such a stream: INSIDE with that zone from now on, with "" OUTSIDE (again). */
void flow_set_peer_zone(struct flow *f, const char *zone);
/* NULL unless TLS. */
SSL *flow_ssl(const struct flow *f);
/* Queues one whole message. 0, -ENOTCONN (closed), -ENOBUFS (queue over 1 MiB: the flow is closed),
 * -EMSGSIZE (UDP over 65507, or path MTU). */
int flow_send(struct flow *f, struct slice message);
/* CRLF CRLF (RFC 5626 4.4.1). */
int flow_ping(struct flow *f);
/* Marks it closed; at the end of the turn what was queued is written as far as the socket takes it,
 * events->closed runs (once) with reason, and it is freed. */
void flow_close(struct flow *f, const char *reason_fmt, ...) __attribute__((format(printf, 2, 3)));
/* A flow with something on it (registration, dialog, link) is not closed for idleness; calls nest.
 */
void flow_hold(struct flow *f);
void flow_release(struct flow *f);
/* Monotonic time of the last byte received. */
int64_t flow_last_rx_ms(const struct flow *f);

#endif
