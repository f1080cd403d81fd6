#ifndef SIP_ZONE_PEER_H
#define SIP_ZONE_PEER_H
/*
 * The zones as they live: peers with resolved addresses and health, traversal links (dialled on C,
 * accepted on E), and the choice of the flow that leads to a zone.
 */
#include <jansson.h>
#include <stdbool.h>

#include "sip/flow.h"
#include "sip/side.h"
#include "sip/txn.h"

struct conf_snapshot;
struct env;
struct zone_peers;

struct zone_peers *zone_peers_new(struct env *env, struct transport *transport,
				  struct txn_layer *txns, const uint8_t key[32]);
void zone_peers_free(struct zone_peers *zp);
/* Zones that did not change keep their links. */
void zone_peers_configure(struct zone_peers *zp, const struct conf_snapshot *snap);
/* Stops dialling; links stay until their flows close. */
void zone_peers_drain(struct zone_peers *zp);
/* A number for the next pick(): goes up by one. */
unsigned zone_peers_turn(struct zone_peers *zp);
/* A flow to the zone, the n-th alternative beginning at `turn` (healthy peers first, round robin).
 * False and why when there is none. */
bool zone_peers_pick(struct zone_peers *zp, const char *zone, unsigned turn, unsigned n,
		     struct side *out, char why[160]);
/* The flow of peer `index` of a traversal zone, for tokens that name a link. */
bool zone_peers_link(struct zone_peers *zp, const char *zone, unsigned index, struct side *out);
/* Index of the peer whose active link this flow is, or -1. */
int zone_peers_link_index(struct zone_peers *zp, const char *zone, uint64_t flow);
/* Is this flow a traversal link that has proved itself? */
bool zone_peers_is_active(struct zone_peers *zp, uint64_t flow);
/* Name of the neighbour zone that has this address as a peer, "" when none. */
const char *zone_peers_of_addr(struct zone_peers *zp, const struct addr *a);
/* The same, of those whose peers come by this transport. */
const char *zone_peers_of_peer(struct zone_peers *zp, const struct addr *a,
			       enum conn_transport transport);
/* OPTIONS on a flow of E's traversal listener: answers t. */
void zone_peers_options(struct zone_peers *zp, struct txn_server *t, struct sip_msg *m,
			struct flow *f);
/* From the transport's events. */
void zone_peers_flow_opened(struct zone_peers *zp, struct flow *f);
void zone_peers_flow_closed(struct zone_peers *zp, struct flow *f, const char *why);
/* {"zones":[...]} part (new reference). */
json_t *zone_peers_json(struct zone_peers *zp);

/* Facts of a flow for the machines. */
void side_of_flow(const struct flow *f, struct side *out);

#endif
