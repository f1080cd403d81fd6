#ifndef SIP_RELAY_H
#define SIP_RELAY_H
/*
 * Requests that make no dialog here (REGISTER, MESSAGE, OPTIONS, PUBLISH, ...) carried from one
 * flow to another: one server and one client transaction. Call-ID, From and To pass; Via, Route and
 * Record-Route do not (topology hiding), so an answer finds back by transaction only.
 */
#include "sip/target.h"
#include "sip/txn.h"

struct relays;

struct relay_rewrite {
	const char *path;    /* Path value to put on top, or NULL */
	bool drop_path;	     /* of the request */
	const char *contact; /* replaces every Contact, or NULL */
	const char *session; /* Turnpike-Session toward a link, or NULL */
	const char *realm;   /* Proxy-Authorization of this realm was for us: dropped; or NULL */
};

/* The final status (m NULL: time-out or transport, or status 0: the daemon ends), before it goes
 * back; once. What it adds to contact (whole Contact lines; NULL without m) replaces every Contact
 * of the answer. */
typedef void (*relay_done)(void *arg, const struct sip_msg *request, const struct sip_msg *m,
			   int status, struct buf *contact);

struct relays *relays_new(struct txn_layer *txns);
/* Relays under way end silently. */
void relays_free(struct relays *rs);
/* Takes over t: it will be answered. done may be NULL. It frees arg itself; on failure to start
 * done is told with status 500. */
void relay_start(struct relays *rs, struct txn_server *t, struct sip_msg *m,
		 const struct side *from, const struct target *to, const struct relay_rewrite *rw,
		 relay_done done, void *arg);

#endif
