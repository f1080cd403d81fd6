#ifndef XMPP_FEDERATION_CORE_IMPL_H
#define XMPP_FEDERATION_CORE_IMPL_H
/*
 * Shared by the files of C's half of federation only: federation_core.c (life, tables, the link)
 * and federation_inside.c (the IM servers: engine or components).
 */
#include "base/htab.h"
#include "base/list.h"
#include "core/conn.h"
#include "core/loop.h"
#include "xmpp/component.h"
#include "xmpp/federation.h"
#include "xmpp/federation_table.h"
#include "xmpp/listen.h"
#include "xmpp/pair_link.h"

#define FEDERATION_MAX_COMPONENTS 4096
#define FEDERATION_MAX_ON_DEMAND  512 /* of them */
#define FEDERATION_MAX_DIALS	  256
#define FEDERATION_INNER_SECRET	  32

struct inner_component {
	struct htab_node node;
	struct federation_core *f;
	struct component *c;
	struct conn conn; /* entered while it is open */
	bool is_entered;
	bool is_doubtful; /* while a new configuration is looked through */
	bool on_demand; /* no section names the partner: somebody wrote, perhaps under made up names
			 */
	size_t n_key;
	char key[]; /* server NUL partner */
};

/* Which node a stream of the engine goes to: its certificate is checked by that. */
struct inner_dial {
	struct list node;
	const struct stream *s; /* compared, never followed */
	char *server;
	char host[256];
	uint16_t port;
};

struct federation_core {
	struct env *env;
	struct link_core *link;
	struct im_servers *servers;
	const struct tunnel_ops *tunnel; /* NULL before start */
	void *tunnel_self;
	const struct conf_snapshot *snap;
	struct xml_pool *pool;
	struct partners *partners;
	struct pair_links *links;
	/* what the tables hold: key -> item */
	json_t *domains, *rules, *secrets;
	char made_secret[2 * FEDERATION_INNER_SECRET + 1]; /* unless one is configured */
	/* inside */
	struct s2s *engine;
	uint8_t inner_secret[FEDERATION_INNER_SECRET];
	struct xmpp_listen listen;
	struct htab components;
	struct timer sweep;    /* of components that were made on demand and are idle */
	struct list resolving; /* look-ups of the engine */
	struct list dials;     /* newest first */
	size_t n_dials;
	bool is_draining;
};

static inline const struct xmpp_conf *federation_xmpp_conf(const struct federation_core *f)
{
	return conf_get(f->snap, "xmpp", NULL);
}
static inline const struct federation_conf *federation_conf_of(const struct federation_core *f)
{
	return conf_get(f->snap, "federation", NULL);
}

/* --- federation_core.c --- */
/* The section of the IM server of a domain that federates; NULL: it does not. */
const struct im_server_conf *federation_server_of(const struct federation_core *f,
						  const char *domain);
/* Is it one of ours, federating or not? */
bool federation_is_ours(const struct federation_core *f, const char *domain);
struct s2s_policy federation_policy(const struct federation_core *f, const char *local,
				    const char *remote);
/* A stanza of local's server for remote goes to an E; what cannot comes back inside. */
void federation_to_edge(struct federation_core *f, const char *local, const char *remote,
			struct xml_node *stanza, struct xml_arena *arena);

/* --- federation_inside.c --- */
int federation_inside_init(struct federation_core *f);
void federation_inside_fini(struct federation_core *f);
/* The snapshot is there. 0 or negative errno with reasons. */
int federation_inside_configure(struct federation_core *f, const struct conf_snapshot *old,
				struct buf *errors);
/* A stanza of remote for local's server. 0 or as s2s_send() and component_send(). */
int federation_inside_send(struct federation_core *f, const char *local, const char *remote,
			   const struct xml_node *stanza);
/* What the server sends for that pair is not read while paused. */
void federation_inside_pause(struct federation_core *f, const char *local, const char *remote,
			     bool paused);
void federation_inside_each(const struct federation_core *f,
			    void (*fn)(const struct xmpp_listing *l, void *arg), void *arg);

#endif
