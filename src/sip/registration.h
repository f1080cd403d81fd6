#ifndef SIP_REGISTRATION_H
#define SIP_REGISTRATION_H
/*
 * Registrations that pass through (RFC 3261 10, RFC 3327, RFC 5626): the registrar is inside, this
 * table knows which flow (E) or link (C) leads to the phone, whose it is, and until when. No I/O.
 */
#include <jansson.h>

#include "base/htab.h"
#include "base/timerq.h"
#include "core/conn.h"
#include "proto/sip_msg.h"
#include "sip/side.h"

struct registrations;

struct registration {
	struct conn conn; /* user = AOR, zone = where it was sent, parent = flow */
	struct htab_node by_binding;
	struct htab_node by_flow;
	char *binding; /* aor|contact */
	char *contact; /* URI as the phone gave it */
	char *path;    /* Path values below ours, as a list; NULL for none */
	uint64_t flow;
	char link_zone[CONN_ZONE_BYTES]; /* on C: zone that it came from; "" on E */
	int link;			 /* on C: place of the link in that zone */
	bool confirmed;			 /* the registrar said yes */
	struct timer expiry;
	struct registrations *table;
};

struct registrations_ops {
	void (*hold_flow)(void *arg, uint64_t flow, bool hold);
};

struct registrations *registrations_new(struct timerq *timers, struct conn_table *conns,
					const uint8_t seed[16], const struct registrations_ops *ops,
					void *arg);
void registrations_free(struct registrations *rs);
size_t registrations_count(const struct registrations *rs);
/* Adds (not confirmed yet) or refreshes. expires_s > 0. zone: where the registrar is. NULL without
 * memory or with a full connection table. */
struct registration *registration_put(struct registrations *rs, struct slice aor,
				      struct slice contact, const char *path,
				      const struct side *from, const char *zone,
				      const char *session, uint32_t expires_s);
/* Ends it; contact "*" ends all of the AOR. */
void registration_remove(struct registrations *rs, struct slice aor, struct slice contact,
			 const char *reason);
/* The registrar said no to it, or nothing: an entry that was never confirmed goes. */
void registration_refused(struct registrations *rs, uint64_t id);
/* The flow died: what was reached by it is gone. What came by a link stays: a new link leads there
 * too. */
void registrations_flow_closed(struct registrations *rs, uint64_t flow, const char *reason);
struct registration *registration_find(struct registrations *rs, struct slice aor,
				       struct slice contact);
/* A confirmed registration on that flow; with an AOR preferably that one's (NULL slice: any). */
struct registration *registration_on_flow(struct registrations *rs, uint64_t flow,
					  struct slice aor);
/* By connection id. */
struct registration *registration_get(struct registrations *rs, uint64_t id);
json_t *registrations_json(struct registrations *rs);
/* Seconds that a REGISTER asks for its first Contact: its parameter, else Expires, else 3600. */
uint32_t registration_asked(const struct sip_msg *request);
/* Seconds that the registrar granted to `contact` in a 2xx to REGISTER: Contact parameter, else
 * Expires, else what was asked, else 3600 (RFC 3261 10.3 step 8). 0: not bound. */
uint32_t registration_granted(const struct sip_msg *request, const struct sip_msg *ok,
			      struct slice contact);

#endif
