#ifndef TURNPIKE_SIP_H
#define TURNPIKE_SIP_H
/* Service "sip": what other modules need to know of the SIP side. */
#include <stdint.h>

struct sip_ops {
	/* The port for phones by TLS; 0: not served. */
	uint16_t (*tls_port)(void *self);
};
#define SIP_SERVICE "sip"

#endif
