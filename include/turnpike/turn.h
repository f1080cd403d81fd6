#ifndef TURNPIKE_TURN_H
#define TURNPIKE_TURN_H
/*
 * Service "turn" on E: how clients reach the TURN server, for who has to tell them.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define TURN_MAX_PORTS 16

struct turn_facts {
	char host[256]; /* name or address that clients use: [turn] host */
	char realm[256];
	uint16_t udp_ports[TURN_MAX_PORTS];
	uint16_t tcp_ports[TURN_MAX_PORTS];
	uint16_t tls_ports[TURN_MAX_PORTS];
	unsigned n_udp, n_tcp, n_tls;
};

struct turn_ops {
	/* False while the TURN server is off. */
	bool (*facts)(void *self, struct turn_facts *out);
	/* Is this one of our relays, as clients write it into SDP (address of the relays, or the
	 * public one of static NAT, with a port of [turn] relay-ports)? Then *reached is where
	 * packets of this host get there: the relay's own address. False while TURN is off. Cheap;
	 * says nothing about whether anybody has that relay now. */
	bool (*relay_of)(void *self, const struct addr *written, struct addr *reached);
};
#define TURN_SERVICE "turn"

#endif
