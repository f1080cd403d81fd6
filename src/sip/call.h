#ifndef SIP_CALL_H
#define SIP_CALL_H
/*
 * The B2BUA (RFC 7092): a call is two dialogs with ids, tags and CSeq of their own, and the media
 * session between them. Every request inside one dialog is carried over to the other.
 *
 *   SETUP --18x--> RINGING --2xx--> UP --BYE, disconnect--> ENDED
 *   SETUP|RINGING --final failure, CANCEL, timer C--> ENDED
 *
 * No I/O: transactions, flows, targets and media come in as layers with ops of their own.
 */
#include <jansson.h>

#include "base/timerq.h"
#include "sip/target.h"
#include "sip/txn.h"
#include "turnpike/media.h"

struct calls;
struct conn_table;
struct log;
struct trace;

struct calls_conf {
	uint32_t t1_ms, t2_ms;
	uint32_t timer_c_ms;
	uint32_t max_calls;
};

struct calls_ops {
	/* Facts of a live flow; false when it is gone. */
	bool (*side)(void *arg, uint64_t flow, struct side *out);
	/* Where a new INVITE goes; the n-th alternative. false: refusal filled (n > 0: no more). */
	bool (*target)(void *arg, const struct side *from, const struct sip_msg *m,
		       const char *session, unsigned n, struct target *out,
		       struct target_refusal *refusal);
	/* A live flow for a request in a dialog whose old flow may have died: next hop URI and the
	 * side used so far. false: none. */
	bool (*reach)(void *arg, struct slice next_hop, const struct side *old, struct side *out);
	/* Media mode of a leg toward that side. */
	void (*media_leg)(void *arg, const struct side *side, struct media_leg_params *out);
	/* User (AOR) and session of the registration that this request belongs to; "" when none. */
	void (*identity)(void *arg, const struct side *from, const struct sip_msg *m,
			 char user[CONN_USER_BYTES], char session[CONN_SESSION_BYTES]);
	/* The flow carries a call (true) or one less (false). */
	void (*hold_flow)(void *arg, uint64_t flow, bool hold);
	/* The route module may forget the loop tag. */
	void (*ended)(void *arg, const char *session);
	void (*random)(void *arg, void *out, size_t n);
};

struct calls *calls_new(struct timerq *timers, struct txn_layer *txns, struct conn_table *conns,
			struct log *log, struct trace *trace, const struct calls_conf *conf,
			const uint8_t seed[16], const struct calls_ops *ops, void *arg);
void calls_free(struct calls *cs);
void calls_configure(struct calls *cs, const struct calls_conf *conf);
void calls_set_media(struct calls *cs, const struct media_ops *ops, void *self);
size_t calls_count(const struct calls *cs);
/* A new INVITE without To tag. */
void calls_invite(struct calls *cs, struct txn_server *t, struct sip_msg *m,
		  const struct side *from);
/* A request with a To tag. False when no dialog matches: the caller answers 481. */
bool calls_in_dialog(struct calls *cs, struct txn_server *t, struct sip_msg *m);
/* ACK to a 2xx. */
void calls_ack(struct calls *cs, struct sip_msg *m);
/* CANCEL of an INVITE whose transaction is t. */
void calls_cancelled(struct calls *cs, struct txn_server *t, struct sip_msg *cancel);
/* The flow is gone: calls on it wait a little for their phone to come back, those that ring end. */
void calls_flow_closed(struct calls *cs, uint64_t flow);
/* Ends every call. */
void calls_end_all(struct calls *cs, const char *reason);
/* {"calls":[...]} part: array of objects (new reference). */
json_t *calls_json(struct calls *cs);

#endif
