#ifndef UC_GENERATE_H
#define UC_GENERATE_H
/*
 * The zones and search rules of a cluster's call managers, as text of the configuration file:
 * [zone CEtcp-NODE] for each, [zone CEtls-NODE] beside it when the cluster is mixed and has a [tls]
 * section, and rules of priority 45 for aliases at the node and, for the domains with sip = uc,
 * for all aliases of the domain.
 */
#include "base/buf.h"
#include "uc/servers.h"
#include "uc/uc_conf.h"

#define UC_GENERATE_MAX_BYTES (1024 * 1024)
/* Rules for a whole domain go to that many call managers: a search has not more targets. */
#define UC_GENERATE_DOMAIN_NODES 6

/* "CEtcp-" and the node's name; a name that is too long for a zone, or holds what a zone's name may
 * not, is cut and carries a hash of the whole. */
void uc_zone_name(char out[UC_ZONE_BYTES], const char *prefix, const char *node);
/* Appends the sections and notes the zones' names in the servers ("" where none is made). snap: for
 * the domains. False: over UC_GENERATE_MAX_BYTES or without memory. */
bool uc_generate(const struct conf_snapshot *snap, const struct uc_cluster_conf *conf,
		 struct uc_servers *servers, bool mixed, struct buf *out);

#endif
