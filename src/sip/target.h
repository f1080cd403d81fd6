#ifndef SIP_TARGET_H
#define SIP_TARGET_H
/* Where a new request goes: the one place that decides it (RFC 3261 16.5, design 5). */
#include "sip/side.h"
#include "turnpike/route.h"

#define TARGET_URI_BYTES    1024
#define TARGET_ROUTES_BYTES 2048

struct target {
	struct side side;		  /* the flow to send on */
	char zone[CONN_ZONE_BYTES];	  /* zone it leads to, "" for a phone outside */
	char uri[TARGET_URI_BYTES];	  /* Request-URI to send */
	char routes[TARGET_ROUTES_BYTES]; /* Route list to send, "" for none */
	char rule[ROUTE_ZONE_BYTES];	  /* what decided */
	char session[CONN_SESSION_BYTES]; /* session of the registration it leads to, or "" */
	char user[CONN_USER_BYTES];	  /* its AOR, or "" */
	int max_forwards;
	unsigned turn; /* round robin: the place where the first try began */
};

/* Refusals are values: status and a reason for humans (already in the decision trace). */
struct target_refusal {
	int status;
	char phrase[64];
	char extra[64]; /* header lines with CRLF, or "" */
};

#endif
