#ifndef MEDIA_ICE_CHECK_H
#define MEDIA_ICE_CHECK_H
/*
 * The controlling side of ICE toward a lite agent (RFC 8445): one candidate a component, checked
 * until it answers, then kept by consent checks (RFC 7675). One machine an end, two components at
 * most.
 *
 *   OFF --ice_check_start--> CHECKING --answer--> READY --no answer for 30 s--> CHECKING
 *   any --ice_check_stop--> OFF
 *
 * CHECKING: a request, retransmitted after 500 ms, then twice as long each time but at most 4 s (a
 * path that comes back should be found soon), 7 sends (RFC 8489 section 6.2.1), then a new
 * transaction, for as long as the stream lives; the components start 50 ms apart (Ta).
 * READY: a request with a new transaction id every 15 s x 0.8..1.2; while the last one is not
 * answered, every 5 s x 0.8..1.2, so that three packets may be lost before consent runs out at 30
 * s.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/timerq.h"
#include "media/ice_lite.h"

enum {
	ICE_N_COMPONENTS = 2,
	ICE_TA_MS = 50,
	ICE_RTO_MS = 500,
	ICE_RTO_MAX_MS = 4000,
	ICE_N_SENDS = 7,
	ICE_CONSENT_MS = 15000,
	ICE_CONSENT_RETRY_MS = 5000,
	ICE_CONSENT_EXPIRY_MS = 30000,
};

enum ice_state { ICE_OFF, ICE_CHECKING, ICE_READY };

struct ice_check;

struct ice_check_ops {
	void (*send)(void *arg, unsigned component, const struct addr *to, const void *p, size_t n);
	/* A component became READY or lost consent. */
	void (*changed)(void *arg, unsigned component, enum ice_state state);
	void (*random)(void *arg, void *p, size_t n);
};

struct ice_component {
	struct ice_check *ice;
	struct timer timer;
	enum ice_state state;
	struct addr remote; /* the candidate */
	uint8_t tid[STUN_TID_BYTES];
	bool pending; /* tid is not answered yet */
	unsigned n_sent;
	int64_t rto_ms;
	int64_t heard_ms; /* last valid answer */
	int64_t sent_ms;
	uint32_t rtt_ms;
};

struct ice_check {
	struct ice_component components[ICE_N_COMPONENTS];
	struct ice_creds local, remote;
	bool controlling;
	uint64_t tie_breaker;
	struct timerq *timers;
	const struct ice_check_ops *ops;
	void *arg;
	uint64_t n_bad; /* answers that fitted nothing */
};

/* ops and timers live longer. Local credentials are to be set by the caller. */
void ice_check_init(struct ice_check *ice, struct timerq *timers, const struct ice_check_ops *ops,
		    void *arg);
/* Checks toward these candidates (ADDR_NONE: component not used). What is under way with the same
 * credentials and candidate goes on undisturbed. delay_ms: when the first check goes out. */
void ice_check_start(struct ice_check *ice, const struct ice_creds *remote,
		     const struct addr candidates[ICE_N_COMPONENTS], int64_t delay_ms);
void ice_check_stop(struct ice_check *ice);
/* A STUN datagram on a component's socket. */
void ice_check_input(struct ice_check *ice, unsigned component, const uint8_t *p, size_t n,
		     const struct addr *from);
/* Where to send media now, or NULL: not READY. */
const struct addr *ice_check_remote(const struct ice_check *ice, unsigned component);
const char *ice_state_str(enum ice_state s);

#endif
