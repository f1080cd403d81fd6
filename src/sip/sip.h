#ifndef SIP_SIP_H
#define SIP_SIP_H
/* The wiring of the module: what holds the machines together. Private to mod_sip.c, dispatch.c,
 * target.c and register.c. */
#include "core/module.h"
#include "sip/call.h"
#include "sip/flow.h"
#include "sip/registration.h"
#include "sip/relay.h"
#include "sip/sip_conf.h"
#include "sip/target.h"
#include "sip/token.h"
#include "sip/txn.h"
#include "sip/zone_peer.h"
#include "turnpike/route.h"
#include "turnpike/signin.h"
#include "turnpike/sip.h"
#include "turnpike/uc.h"

struct sip {
	struct env *env;
	const struct conf_snapshot *snap;
	const struct sip_conf *conf;
	struct transport *transport;
	struct txn_layer *txns;
	struct calls *calls;
	struct relays *relays;
	struct registrations *regs;
	struct zone_peers *zones;
	const struct route_ops *route;
	void *route_self;
	const struct signin_ops *signin; /* NULL: no such module */
	void *signin_self;
	const struct uc_ops *uc; /* C; NULL: no such module */
	void *uc_self;
	struct list gate_waits;
	struct htab gate_passes;
	struct list gate_pass_order; /* the oldest first */
	uint8_t seed[16];
	uint8_t token_key[32];
	uint32_t boot;
	bool draining;
	uint64_t n_requests, n_responses, n_malformed, n_unmatched;
};

/* dispatch.c */
extern const struct txn_ops sip_txn_ops;
extern const struct transport_events sip_transport_events;
extern const struct calls_ops sip_calls_ops;
extern const struct registrations_ops sip_registrations_ops;
/* Adds a trace entry and fills the refusal. phrase NULL: the standard one. */
void sip_refuse(struct sip *s, struct target_refusal *r, int status, const char *phrase,
		const char *code, const char *decided_by, const struct side *from,
		const char *session, const char *why);

/* target.c */
bool sip_target(struct sip *s, const struct side *from, const struct sip_msg *m,
		const char *session, unsigned n, struct target *out,
		struct target_refusal *refusal);
/* Is this host (and port) ourselves as seen from a flow? */
bool sip_is_us(struct sip *s, const struct side *from, struct slice uri);
/* Zone that a request from this side counts as coming from: "default" for the unknown. */
const char *sip_source_zone(struct sip *s, const struct side *from);
bool sip_reach(struct sip *s, struct slice next_hop, const struct side *old, struct side *out);

/* gate.c: lets a REGISTER through to sip_register_admitted(), or answers it. */
void sip_gate(struct sip *s, struct txn_server *t, struct sip_msg *m, const struct side *from);
/* 0 or -ENOMEM. */
int sip_gate_init(struct sip *s);
void sip_gate_free(struct sip *s);

/* register.c */
/* session: the sign-in that it belongs to, NULL: none is known. */
void sip_register_admitted(struct sip *s, struct txn_server *t, struct sip_msg *m,
			   const struct side *from, const char *session);
void sip_register(struct sip *s, struct txn_server *t, struct sip_msg *m, const struct side *from);
/* 32 hex digits in Turnpike-Session of a message from a link, else "". */
void sip_link_session(const struct sip_msg *m, const struct side *from,
		      char out[CONN_SESSION_BYTES]);

#endif
