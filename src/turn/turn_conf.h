#ifndef TURN_TURN_CONF_H
#define TURN_TURN_CONF_H
/* The rows of [turn] and [turn-user NAME]. */
#include "core/conf_schema.h"
#include "core/conf_store.h"
#include "turn/server.h"
#include "turnpike/turn.h"

struct turn_conf {
	struct conf_common common;
	/* E */
	bool enabled;
	struct conf_ports udp_ports; /* 3478-3478 */
	struct conf_ports tcp_ports; /* TLS is recognised on them too when there is a certificate */
	struct conf_names tls_ports; /* 5349 443 */
	struct addr address;	     /* listen; any: every address of the host */
	struct addr relay_address, relay_address_ip6;	/* any: the one toward the internet */
	struct addr public_address, public_address_ip6; /* behind static NAT; any: none */
	struct conf_ports relay_ports;			/* 24000-29999 */
	char *tls;					/* [tls NAME]; not written: no TLS */
	char *realm;					/* not written: [system] name */
	char *host;					/* in URIs; not written: [system] name */
	char *secret;					/* shared with other tools that mint */
	int binding;					/* enum turn_binding */
	bool tcp_relays;
	bool legacy_channels; /* numbers up to 0x7ffe, as RFC 5766 had it */
	bool media_peers;     /* peers may be this box's own media ports */
	struct conf_prefixes allow_peers, deny_peers;
	struct conf_names alternate_servers; /* ip:port */
	uint32_t default_lifetime_ms, max_lifetime_ms, nonce_ms;
	uint32_t max_allocations, user_quota, user_bandwidth;
	uint32_t max_permissions, max_channels, max_tcp_peers;
	uint32_t unauthenticated_rate;
	uint32_t max_connections, max_per_source, new_per_second; /* TCP and TLS clients */
	uint32_t handshake_ms, idle_ms; /* idle: a connection without an allocation */
	/* C */
	uint32_t credential_ms; /* ttl of what the API hands out */
};

struct turn_user_conf {
	struct conf_common common;
	char *password;
};

extern const struct conf_section turn_section;
extern const struct conf_section turn_user_section;

/* Is TLS served? */
bool turn_conf_has_tls(const struct turn_conf *c);
/* What clients are told; the section's check has found it good. */
void turn_conf_facts(const struct conf_snapshot *snap, struct turn_facts *out);
/* What the machine takes from the section. The relays' addresses are the wiring's to find when none
 * are written; realm points into the snapshot. */
void turn_conf_server(const struct conf_snapshot *snap, struct turn_server_conf *out);
/* UDP ports of [media]; false: there is no such section. */
bool turn_conf_media_ports(const struct conf_snapshot *snap, struct conf_ports *ports,
			   struct conf_ports *mux_ports);

#endif
