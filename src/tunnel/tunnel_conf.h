#ifndef TUNNEL_TUNNEL_CONF_H
#define TUNNEL_TUNNEL_CONF_H
/* The sections [tunnel] and [tunnel-peer NAME]. */
#include "core/conf_schema.h"
#include "core/conf_store.h"

#define TUNNEL_MAX_SLOTS 8 /* connections of one C-E pair */
#define TUNNEL_MAX_PEERS 256
#define TUNNEL_PORT	 2222

struct tunnel_conf {
	struct conf_common common;
	uint32_t port;
	struct addr address;
	char *key;
	uint32_t connections;
	struct conf_ports source_ports;
	uint32_t keepalive_ms;
	uint32_t dead_after_ms;
	uint32_t connect_timeout_ms;
	uint32_t retry_min_ms;
	uint32_t retry_max_ms;
	uint32_t max_streams;
	uint32_t max_held; /* bytes */
	uint32_t max_unauthenticated;
	uint32_t new_per_second;
	uint32_t rekey_bytes;
	uint32_t rekey_after_ms;
};

struct tunnel_peer_conf {
	struct conf_common common;
	struct conf_names fingerprints;
	char *address;
	bool enabled;
};

extern const struct conf_section tunnel_conf_section;
extern const struct conf_section tunnel_peer_conf_section;

/* "host", "host:port", "[ip6]:port", "ip6": the host into host (254 bytes), false when it is none.
 */
bool tunnel_peer_address(const char *text, char *host, size_t size, uint16_t *port);

#endif
