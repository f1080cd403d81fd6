#ifndef UC_SERVERS_H
#define UC_SERVERS_H
/* The servers of a cluster. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "turnpike/uc.h"
#include "uc/host.h"

#define UC_MAX_SERVERS 400 /* of a cluster */
#define UC_ZONE_BYTES  64  /* as in turnpike/route.h */
#define UC_WHY_BYTES   160

struct uc_server {
	char name[UC_HOST_BYTES];
	unsigned roles; /* enum uc_role */
	uint16_t uds_port;
	uint16_t port; /* written with another role than call manager; 0: the usual one */
	bool alive;
	bool alarmed;
	unsigned n_failed; /* probes in a row */
	char why[UC_WHY_BYTES];
	char tcp_zone[UC_ZONE_BYTES], tls_zone[UC_ZONE_BYTES]; /* "": none */
};

struct uc_servers {
	struct uc_server *v;
	size_t n, size;
};

/* The server of that name (not minding case), made when it is new; roles are added to it. NULL
 * without memory or over UC_MAX_SERVERS. Moves the others. */
struct uc_server *uc_servers_add(struct uc_servers *s, struct slice name, unsigned roles,
				 uint16_t uds_port);
struct uc_server *uc_servers_find(const struct uc_servers *s, struct slice name);
/* Makes next the servers; those that were known before keep their state of life. True when anything
 * but that has changed. next is empty afterwards. */
bool uc_servers_replace(struct uc_servers *s, struct uc_servers *next);
void uc_servers_fini(struct uc_servers *s);

#endif
