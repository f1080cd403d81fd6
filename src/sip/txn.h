#ifndef SIP_TXN_H
#define SIP_TXN_H
/*
 * Transactions: RFC 3261 17 with RFC 6026. No I/O: messages go out through txn_ops, time comes from
 * the timer queue. Flows are named by id.
 *
 * INVITE client (17.1.1, 6026 8.4)         non-INVITE client (17.1.2)
 *   CALLING --1xx--> PROCEEDING              TRYING --1xx--> PROCEEDING
 *   CALLING|PROCEEDING --2xx--> ACCEPTED     TRYING|PROCEEDING --final--> COMPLETED
 *   CALLING|PROCEEDING --3xx-6xx--> COMPLETED (ACK sent here)
 *   B or F fires, transport error --> TERMINATED, user told; D, K, M end the rest
 *
 * INVITE server (17.2.1, 6026 8.5)         non-INVITE server (17.2.2)
 *   PROCEEDING --2xx--> ACCEPTED             TRYING --1xx--> PROCEEDING --final--> COMPLETED
 *   PROCEEDING --3xx-6xx--> COMPLETED --ACK--> CONFIRMED
 *   G, H, I, J, L as in the RFC
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/timerq.h"
#include "proto/sip_msg.h"

struct txn_layer;
struct txn_server;
struct txn_client;

struct txn_timers {
	uint32_t t1_ms, t2_ms, t4_ms;
	uint32_t max_transactions;
	uint32_t guard_ms; /* a server transaction that nobody answers ends after this */
};

struct txn_ops {
	/* 0 or negative errno, which counts as a transport error. */
	int (*send)(void *arg, uint64_t flow, struct slice message);
	bool (*is_reliable)(void *arg, uint64_t flow);
	/* Percent of max_transactions up to which this flow may fill the table: a flood from
	 * outside must not leave the traversal link without a place. */
	unsigned (*share)(void *arg, uint64_t flow);
	/* A request that is new: answer with txn_server_respond(), now or later. m is borrowed. */
	void (*request)(void *arg, struct txn_server *t, struct sip_msg *m);
	/* ACK to a 2xx: it has no transaction. */
	void (*ack)(void *arg, uint64_t flow, struct sip_msg *m);
	/* CANCEL that found its INVITE (already answered with 200 here): answer t with 487. */
	void (*cancelled)(void *arg, struct txn_server *t, struct sip_msg *cancel);
};

/* What the user of a client transaction hears. */
struct txn_client_events {
	/* Every 1xx (100 included), the final one, and each further 2xx to an INVITE
	 * (retransmission or fork). The ACK to a 2xx is the user's. */
	void (*response)(void *arg, struct txn_client *c, struct sip_msg *m);
	/* Timer B/F (status 408) or the transport failed (503); once, instead of a final response.
	 */
	void (*failed)(void *arg, struct txn_client *c, int status, const char *why);
	/* The handle is dead after this; always the last one. */
	void (*done)(void *arg, struct txn_client *c);
};

struct txn_layer *txn_layer_new(struct timerq *timers, const struct txn_timers *conf,
				const uint8_t seed[16], const struct txn_ops *ops, void *arg);
/* Ends every transaction; client users get done(). */
void txn_layer_free(struct txn_layer *l);
void txn_layer_configure(struct txn_layer *l, const struct txn_timers *conf);
size_t txn_layer_count(const struct txn_layer *l);

/* A message from the wire. Retransmissions, ACKs to non-2xx and CANCELs are dealt with inside.
 * from: the source address, for received/rport. Returns -EAGAIN when the table is full (a request
 * was then answered statelessly with 503 and Retry-After), -ENOMEM, -ENOENT for a response that
 * matches nothing. */
int txn_layer_input(struct txn_layer *l, uint64_t flow, const struct addr *from, struct sip_msg *m);
/* Sends a message outside any transaction: the ACK to a 2xx. */
int txn_layer_send(struct txn_layer *l, uint64_t flow, struct slice message);
/* Client transactions on that flow fail with 503; server transactions stop sending. */
void txn_layer_flow_closed(struct txn_layer *l, uint64_t flow, const char *why);

/* --- server side --- */
/* NULL once a final response was sent. */
struct sip_msg *txn_server_request(const struct txn_server *t);
uint64_t txn_server_flow(const struct txn_server *t);
const struct addr *txn_server_from(const struct txn_server *t);
/* User data; on_end runs once when the transaction ends, whoever ends it; t is dead after it. */
void txn_server_set_user(struct txn_server *t, void *user,
			 void (*on_end)(void *user, struct txn_server *t));
void *txn_server_user(const struct txn_server *t);
/* Sends the finished message, whose status code is `status`. Ignored after a final response was
 * sent, 2xx to INVITE apart. 0 or -EALREADY or what send gave. */
int txn_server_respond(struct txn_server *t, int status, struct slice message);
/* Builds and sends a response without body. phrase NULL: the standard one; extra NULL or whole
 * header lines with CRLF ("Retry-After: 5\r\n"). to_tag may be empty: then one is made for non-100
 * ones. */
int txn_server_reply(struct txn_server *t, int status, const char *phrase, const char *extra);
/* True until a final response went out. */
bool txn_server_pending(const struct txn_server *t);
/* Stable To tag that txn_server_reply uses for this transaction. */
const char *txn_server_to_tag(const struct txn_server *t);

/* --- client side --- */
#define TXN_BRANCH_BYTES 40
/* A new branch, "z9hG4bK" and 22 characters from the layer's own generator keyed by the seed. */
void txn_branch(struct txn_layer *l, char branch[TXN_BRANCH_BYTES]);
/* Sends message (a whole request whose topmost Via carries branch) on the flow. Events never run
 * before this returns. NULL without memory or when the table is full. */
struct txn_client *txn_client_new(struct txn_layer *l, uint64_t flow, const char *branch,
				  struct slice message, const struct txn_client_events *events,
				  void *arg);
/* INVITE only: sends CANCEL now or as soon as a provisional response came (RFC 3261 9.1). Without a
 * final answer 64*T1 after it failed(487) is told. Harmless after a final response. */
void txn_client_cancel(struct txn_client *c);
/* No more events to the user; the transaction runs to its end on its own. */
void txn_client_detach(struct txn_client *c);
uint64_t txn_client_flow(const struct txn_client *c);

#endif
