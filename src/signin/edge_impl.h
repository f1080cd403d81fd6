#ifndef SIGNIN_EDGE_IMPL_H
#define SIGNIN_EDGE_IMPL_H
/* Inside of edge_side.c (requests) and edge_copy.c (what the Cs tell). */
#include "base/idtab.h"
#include "signin/edge_domains.h"
#include "signin/edge_side.h"
#include "signin/item.h"

#define EDGE_MAX_PEERS 64

/* What is doubtful of one C while it tells its state. */
struct edge_peer {
	struct edge_side *s;
	tunnel_peer id;
	struct list doubtful; /* struct signin_entry.mark_node */
	struct timer late;
};

struct edge_side {
	struct signin_side base;
	struct edge_settings settings;
	struct edge_domains *domains;
	struct rate *sources;
	struct idtab ids;
	struct list requests;
	size_t n_requests;
	struct edge_peer peers[EDGE_MAX_PEERS];
	size_t n_peers;
	uint64_t n_refused_items;
};

/* edge_copy.c */
int edge_copy_start(struct edge_side *s);
void edge_copy_stop(struct edge_side *s);
/* Takes a session that C has told; NULL: refused, *why. */
struct signin_entry *edge_copy_take(struct edge_side *s, tunnel_peer from,
				    const struct signin_session *session, uint32_t age_s,
				    const char **why);
/* Signs out here at once, and at C now or when it is back. */
void edge_copy_sign_out(struct edge_side *s, struct signin_entry *e, const char *why);

#endif
