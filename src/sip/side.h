#ifndef SIP_SIDE_H
#define SIP_SIDE_H
/* What the machines above the transport need to know about a flow, copied, so that they do not
 * touch sockets and outlive the flow. */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "core/conn.h"
#include "sip/flow.h"

#define SIDE_HOST_BYTES 264

struct side {
	uint64_t flow;
	enum flow_role role;
	enum conn_transport transport;
	bool reliable;
	int link; /* place in its zone of a traversal link, -1 for other flows */
	struct addr local;
	struct addr remote;
	char zone[CONN_ZONE_BYTES];
	char sent_by[SIDE_HOST_BYTES]; /* host:port for Via and Contact */
};

/* "TLS", "TCP", "UDP" for Via; "tls" ... for a transport parameter. */
const char *side_via_transport(const struct side *s);
const char *side_uri_transport(const struct side *s);

#endif
