#ifndef SIP_CALL_IMPL_H
#define SIP_CALL_IMPL_H
/* Shared by call.c, call_setup.c, call_dialog.c, call_offer.c only. */
#include "base/htab.h"
#include "core/conn.h"
#include "sip/call.h"
#include "sip/dialog.h"

enum call_state { CALL_SETUP, CALL_RINGING, CALL_UP, CALL_ENDED };

enum sdp_phase {
	SDP_NONE,
	SDP_OFFER_IN_REQUEST,
	SDP_OFFER_IN_RESPONSE, /* late offer: the answer comes in the ACK */
	SDP_DONE,
};

struct leg {
	struct conn conn;
	struct htab_node node;
	char *key; /* call-id|local-tag, NULL: not in the table */
	struct dialog d;
	struct call *call;
	bool holds_flow;
	struct timer lost; /* the flow of a phone died: how long it may stay away */
};

/* One request carried from one leg to the other: a server transaction here, a client one there. */
struct exchange {
	struct list node;
	struct call *call;
	unsigned from; /* leg that asked */
	enum sip_method method;
	bool is_initial;
	struct txn_server *st;
	struct txn_client *ct;
	enum sdp_phase sdp;
	uint32_t cseq_out; /* of the request on the other leg */
	/* INVITE answered with 2xx, waiting for the ACK of the asking side (RFC 3261 13.3.1.4). */
	bool wants_ack;
	uint32_t ack_cseq;
	uint32_t interval_ms;
	struct timer resend;   /* of the 2xx */
	struct timer ack_late; /* 64*T1 */
	struct timer
		timer_c; /* INVITE inside the dialog: a 100 stops timer B, something must end it */
	char *ok;	 /* the 2xx as sent */
	char *ack;	 /* the ACK as sent on the other leg */
	int status;	 /* final status passed back, 0: none yet */
};

struct call {
	struct conn conn;
	struct list node; /* of calls.all: stays until memory is freed */
	struct calls *cs;
	enum call_state state;
	struct leg legs[2]; /* 0: caller, 1: called */
	uint64_t media;
	struct list exchanges;
	struct timer timer_c;
	struct timer reap;
	unsigned n_tried;
	struct target target;
	int best_failure;
	char from[CONN_USER_BYTES], to[CONN_USER_BYTES];
	int max_forwards;
	bool cancelled;
	bool has_target; /* the first one was asked for before the call was made */
};

struct calls {
	struct timerq *timers;
	struct txn_layer *txns;
	struct conn_table *conns;
	struct log *log;
	struct trace *trace;
	struct calls_conf conf;
	const struct calls_ops *ops;
	void *arg;
	const struct media_ops *media;
	void *media_self;
	struct htab legs;
	struct list all;
	size_t n;
	uint64_t n_total;
};

/* call.c */
void call_set_state(struct call *c, enum call_state s);
/* Ends it: BYE on confirmed legs but `except` (-1: none), pending work finished; reason for humans.
 */
void call_end(struct call *c, int except, const char *reason);
struct exchange *call_exchange_new(struct call *c, unsigned from, struct txn_server *t,
				   enum sip_method m);
void exchange_done(struct exchange *x);
int leg_enter(struct leg *l);
void leg_leave(struct leg *l);
void leg_take_flow(struct leg *l, const struct side *side);
/* Makes sure that the leg's flow lives, finding another when it died. False: cannot be reached. */
bool leg_reach(struct leg *l);
void call_random_text(struct calls *cs, char *out, size_t size);

/* call_setup.c */
void call_reap_soon(struct call *c);
/* Sends the INVITE to the n-th target; on refusal answers the caller. */
void call_try_next(struct call *c, struct exchange *x);

/* call_dialog.c */
extern const struct txn_client_events exchange_events;
void exchange_send_ack(struct exchange *x, struct sip_msg *ack);
/* Copies what passes through from m (request or response of leg `from`) into b. */
void call_copy_headers(struct call *c, unsigned to, struct sip_build *b, const struct sip_msg *m);
bool exchange_forward(struct exchange *x, struct sip_msg *m);
void call_send_bye(struct call *c, unsigned leg);

/* call_offer.c: false: *status, why filled. body gets what to send (empty: nothing). */
bool call_map_request(struct exchange *x, const struct sip_msg *m, struct buf *body, int *status,
		      char why[128]);
bool call_map_response(struct exchange *x, const struct sip_msg *m, struct buf *body, int *status,
		       char why[128]);
bool call_map_ack(struct exchange *x, const struct sip_msg *m, struct buf *body);
void call_offer_failed(struct exchange *x);

#endif
