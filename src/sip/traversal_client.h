#ifndef SIP_TRAVERSAL_CLIENT_H
#define SIP_TRAVERSAL_CLIENT_H
/*
 * The core's end of one traversal link: dials one peer, proves who it is by OPTIONS with digest
 * (RFC 8760), keeps the link alive and comes back for ever. No I/O.
 *
 *   OFF --start--> DIALING --opened--> PROVING --200--> ACTIVE --20 s--> probe
 *   PROVING --401--> PROVING (once, with credentials)
 *   DIALING|PROVING|ACTIVE --closed, refused, no answer in 10 s--> WAITING --full jitter--> DIALING
 *   any --stop--> OFF
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/timerq.h"
#include "proto/digest.h"
#include "proto/sip_msg.h"

enum tc_state { TC_OFF, TC_WAITING, TC_DIALING, TC_PROVING, TC_ACTIVE };

struct tc_conf {
	const char *username, *password; /* kept as pointers: reset with tc_configure() on reload */
	const char *uri;		 /* Request-URI of the OPTIONS, and digest-uri */
	uint32_t keepalive_ms;
	uint32_t answer_ms; /* how long an OPTIONS may stay unanswered */
	uint32_t retry_min_ms, retry_max_ms;
};

struct tc_ops {
	/* Starts to connect; tc_opened() or tc_closed() follow. Negative errno: cannot even start.
	 */
	int (*dial)(void *arg);
	/* Sends OPTIONS, with an Authorization value or NULL; tc_answer() follows, or nothing. */
	int (*options)(void *arg, const char *authorization);
	/* Drops the connection; tc_closed() need not follow. */
	void (*hangup)(void *arg, const char *why);
	uint32_t (*random)(void *arg);
	/* State or reason changed. */
	void (*changed)(void *arg, enum tc_state old, enum tc_state state, const char *reason);
};

struct traversal_client {
	enum tc_state state;
	struct tc_conf conf;
	const struct tc_ops *ops;
	void *arg;
	struct timerq *timers;
	struct timer retry, answer, keepalive;
	uint32_t n_failures; /* in a row */
	bool challenged;     /* credentials were sent in this proof */
	uint32_t nc;
	char reason[160];
};

void tc_init(struct traversal_client *c, struct timerq *timers, const struct tc_conf *conf,
	     const struct tc_ops *ops, void *arg);
void tc_configure(struct traversal_client *c, const struct tc_conf *conf);
void tc_start(struct traversal_client *c);
void tc_stop(struct traversal_client *c);
void tc_opened(struct traversal_client *c);
void tc_closed(struct traversal_client *c, const char *why);
/* Final response to our OPTIONS (NULL: transaction failed). */
void tc_answer(struct traversal_client *c, const struct sip_msg *m, const char *why);
const char *tc_state_str(enum tc_state s);

#endif
