#ifndef TURN_PEER_POLICY_H
#define TURN_PEER_POLICY_H
/*
 * Which peers may be reached through a relay: the one function that every verb asks
 * (CreatePermission, ChannelBind, Send, Connect, and connections that peers make). The address is
 * brought into its one spelling first; an IPv6 address that carries an IPv4 address (compatible,
 * translated, 6to4, NAT64, Teredo, ISATAP) must pass as both. In this order, the first one decides:
 *
 *   deny-peers
 *   own address: ports of relays and media, else only when allow-peers names this one address
 *   allow-peers
 *   kind of address: only global ones
 *
 * allow-peers opens no unspecified, multicast or broadcast address, and loopback only by a rule
 * that lies in 127.0.0.0/8 or is ::1, not by a wider one.
 */
#include <stdbool.h>
#include <stddef.h>

#include "core/conf_schema.h"

struct turn_peer_policy {
	const struct conf_prefixes *allow; /* [turn] allow-peers: named inner hosts */
	const struct conf_prefixes *deny;  /* [turn] deny-peers: stronger than allow */
	/* Addresses of this host (public ones of static NAT too): only the relays' ports of the
	 * relays' addresses, and with media_ports those of [media]. */
	const struct addr *own;
	size_t n_own;
	const struct addr *relays; /* those of own that relays have; NULL: all but loopback */
	size_t n_relays;
	uint16_t first_relay, last_relay;
	uint16_t first_media, last_media; /* 0,0: none */
};

struct turn_peer_verdict {
	bool allowed;
	bool own;		/* an address of this host: ask again with each port */
	const char *decided_by; /* "[turn] deny-peers", "loopback", "own address" */
	char why[96];		/* with the rule: "10.0.0.0/8", "private address 10.1.2.3"; empty
				 * for what is global */
};

/* peer->port 0: any port (CreatePermission): an own address is allowed when some of its ports are.
 * Prints only refusals and what a rule allows, so that it may be asked for packets to own
 * addresses. */
void turn_peer_check(const struct turn_peer_policy *p, const struct addr *peer,
		     struct turn_peer_verdict *out);

#endif
