#ifndef HTTP_EDGE_CONFIG_H
#define HTTP_EDGE_CONFIG_H
/*
 * get_edge_config: what an app needs to know after its sign-in, as XML: the services inside that it
 * asked for (from DNS as C sees it, else from discovery), and the addresses of the edge. Made on C.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "turnpike/uc.h"

struct env;

#define EDGE_CONFIG_MAX_NAMES	8
#define EDGE_CONFIG_MAX_SERVERS 16
#define EDGE_CONFIG_NAME_BYTES	64

/* What the edge says of itself (control table "edge"); ports are 0 for what it does not serve. */
struct edge_facts {
	char name[254];
	uint16_t web_port, sip_tls_port, xmpp_port, turn_port;
};

/* The names of service_name=...&service_name=... ("_cisco-uds"). Refused: more than
 * EDGE_CONFIG_MAX_NAMES, a name that is not '_' and then letters, digits and dashes. Other
 * parameters are ignored. */
struct edge_config_names {
	size_t n;
	char v[EDGE_CONFIG_MAX_NAMES][EDGE_CONFIG_NAME_BYTES];
};
bool edge_config_names_parse(struct slice query, struct edge_config_names *out, const char **why);

struct edge_config_server {
	uint16_t priority, weight, port;
	char address[256];
};
struct edge_config_service {
	char name[EDGE_CONFIG_NAME_BYTES];
	size_t n; /* 0: NameError */
	struct edge_config_server servers[EDGE_CONFIG_MAX_SERVERS];
};
/* The document. Nodes may be NULL. false: it does not fit into out. */
bool edge_config_print(struct buf *out, const struct edge_config_service *services, size_t n,
		       const struct edge_facts *edge, const struct uc_node *nodes, size_t n_nodes);

/* Looks the names up in the domain and prints. done is never called before this returns; xml NULL:
 * without memory. */
struct edge_config;
struct edge_config *edge_config_start(struct env *env, const struct uc_ops *uc, void *uc_self,
				      struct slice domain, const struct edge_config_names *names,
				      const struct edge_facts *edge,
				      void (*done)(void *arg, const struct buf *xml), void *arg);
/* No callback afterwards. NULL is allowed. */
void edge_config_cancel(struct edge_config *c);

#endif
