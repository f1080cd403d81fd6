#include "sip/zone_peer_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "proto/sip_build.h"
#include "core/system_conf.h"

struct zone_peers *zone_peers_new(struct env *env, struct transport *transport,
				  struct txn_layer *txns, const uint8_t key[32])
{
	struct zone_peers *zp = calloc(1, sizeof(*zp));

	if (!zp)
		return NULL;
	zp->env = env;
	zp->transport = transport;
	zp->txns = txns;
	memcpy(zp->key, key, sizeof(zp->key));
	list_init(&zp->zones);
	return zp;
}

bool zone_is_traversal(const struct zone_rt *z)
{
	return z->conf->type == ZONE_UC_TRAVERSAL || z->conf->type == ZONE_TRAVERSAL_CLIENT ||
	       z->conf->type == ZONE_TRAVERSAL_SERVER;
}

void peer_set_health(struct peer *p, enum peer_health health, const char *reason)
{
	struct env *env = p->zone->zp->env;

	slice_copy(p->reason, sizeof(p->reason), slice_of(reason));
	if (p->health == health)
		return;
	p->health = health;
	if (zone_is_traversal(p->zone))
		return;
	if (health == PEER_FAILED)
		alarm_raise(env->alarms, "zone-peer-down", p->host, ALARM_WARNING,
			    "check the server and the network between; calls use the zone's other "
			    "peers",
			    "zone %s: %s", p->zone->conf->common.name, reason);
	else
		alarm_clear(env->alarms, "zone-peer-down", p->host);
	log_info(env->log, "zone.peer", "zone=%s peer=%s state=%s reason=%s",
		 p->zone->conf->common.name, p->host, health == PEER_ACTIVE ? "active" : "failed",
		 log_esc(slice_of(reason)));
}

void peer_resolve(struct peer *p, void (*done)(const struct dns_result *r, void *arg))
{
	dns_cancel(p->query);
	p->query = NULL;
	p->query =
		dns_lookup_host(p->zone->zp->env->dns, p->host, p->port, DNS_ANY_FAMILY, done, p);
}

/* IPv4 first: media follows the family of the signalling, and what stands behind a PBX of both
 * families (phones, gateways) has IPv4 almost always, IPv6 seldom. A zone of IPv6 only names such a
 * peer. */
static void take_family(struct peer *p, const struct dns_result *r, enum addr_family family)
{
	for (size_t i = 0; i < r->n && p->n_addrs < DNS_MAX_ADDRS; i++) {
		if (r->addrs[i].addr.family == family)
			p->addrs[p->n_addrs++] = r->addrs[i].addr;
	}
}

void peer_take_addrs(struct peer *p, const struct dns_result *r)
{
	char text[200];

	p->query = NULL;
	p->n_addrs = 0;
	if (r->status == 0) {
		take_family(p, r, ADDR_IP4);
		take_family(p, r, ADDR_IP6);
	}
	if (p->n_addrs)
		return;
	snprintf(text, sizeof(text), "name %.120s: %s", p->host,
		 r->status == -ENOENT ? "does not exist" : "no answer from DNS");
	peer_set_health(p, PEER_FAILED, text);
}

void peer_flow_dest(struct peer *p, struct flow_dest *dest)
{
	const struct zone_conf *z = p->zone->conf;
	bool is_link = zone_is_traversal(p->zone);
	static const enum conn_transport transports[] = { CONN_UDP, CONN_TCP, CONN_TLS };

	*dest = (struct flow_dest){ .transport = is_link ? CONN_TLS : transports[z->transport],
				    .addr = p->addrs[p->next_addr % p->n_addrs],
				    .role = is_link ? FLOW_TRAVERSAL_CLIENT : FLOW_INSIDE,
				    .zone = z->common.name,
				    .tls = z->tls,
				    .server_name = p->host,
				    .verify = true };
}

int peer_send_options(struct peer *p, uint64_t flow, const char *authorization,
		      const struct txn_client_events *events)
{
	struct zone_peers *zp = p->zone->zp;
	struct flow *f = transport_flow(zp->transport, flow);
	char branch[TXN_BRANCH_BYTES], random[TXN_BRANCH_BYTES];
	struct sip_build b;
	struct side side;
	struct slice out;

	if (!f)
		return -ENOTCONN;
	side_of_flow(f, &side);
	txn_branch(zp->txns, branch);
	txn_branch(zp->txns, random);
	sip_build_init(&b);
	sip_build_request(&b, SLICE("OPTIONS"), slice_of(p->uri));
	sip_build_hdr(&b, SIP_HDR_VIA, "SIP/2.0/%s %s;branch=%s;rport", side_via_transport(&side),
		      side.sent_by, branch);
	sip_build_hdr(&b, SIP_HDR_MAX_FORWARDS, "0");
	sip_build_hdr(&b, SIP_HDR_FROM, "<sip:%s>;tag=%s", zp->name, random + 12);
	sip_build_hdr(&b, SIP_HDR_TO, "<%s>", p->uri);
	sip_build_hdr(&b, SIP_HDR_CALL_ID, "%s", random + 7);
	sip_build_hdr(&b, SIP_HDR_CSEQ, "%u OPTIONS", ++p->cseq);
	if (authorization)
		sip_build_hdr(&b, SIP_HDR_AUTHORIZATION, "%s", authorization);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	out = sip_build_done(&b);
	if (p->options)
		txn_client_detach(p->options);
	p->options = out.p ? txn_client_new(zp->txns, flow, branch, out, events, p) : NULL;
	sip_build_fini(&b);
	return p->options ? 0 : -ENOMEM;
}

/* --- life of a zone --- */

static void zone_free(struct zone_rt *z)
{
	for (unsigned i = 0; i < ZONE_MAX_PEERS; i++) {
		struct peer *p = &z->peers[i];
		struct flow *f = transport_flow(z->zp->transport, p->flow);

		if (p->host && zone_is_traversal(z))
			link_stop(p);
		else if (p->host)
			monitor_stop(p);
		if (p->flow)
			link_leave(p, "zone removed");
		if (f)
			flow_close(f, "zone removed");
		if (p->host)
			alarm_clear(z->zp->env->alarms, "zone-peer-down", p->host);
		free(p->host);
		free(p->uri);
	}
	list_del(&z->node);
	conf_unref(z->snap);
	free(z);
}

void zone_peers_free(struct zone_peers *zp)
{
	if (!zp)
		return;
	LIST_FOREACH_SAFE (it, &zp->zones)
		zone_free(CONTAINER_OF(it, struct zone_rt, node));
	free(zp);
}

/* host, host:port, [ip6], [ip6]:port */
static int peer_parse(struct peer *p, const char *text, uint16_t default_port)
{
	struct slice s = slice_of(text), host = s;
	uint64_t port = default_port;
	size_t colon = s.n;

	for (size_t i = s.n; i-- > 0 && s.p[i] != ']';) {
		if (s.p[i] == ':')
			colon = i;
	}
	if (colon < s.n && slice_find(s, ':') >= (s.p[0] == '[' ? 0 : colon)) {
		if (!slice_u64((struct slice){ s.p + colon + 1, s.n - colon - 1 }, 65535, &port))
			port = default_port;
		host.n = colon;
	}
	p->host = slice_dup(host);
	p->port = (uint16_t)port;
	if (asprintf(&p->uri, "sip:%.*s", SLICE_ARG(host)) < 0)
		p->uri = NULL;
	return p->host && p->uri ? 0 : -ENOMEM;
}

static struct zone_rt *zone_new(struct zone_peers *zp, const struct zone_conf *conf,
				const struct conf_snapshot *snap)
{
	struct zone_rt *z = calloc(1, sizeof(*z));
	bool dials = zp->env->role == CONF_ROLE_C || conf->type == ZONE_NEIGHBOUR;

	if (!z)
		return NULL;
	z->zp = zp;
	z->conf = conf;
	z->snap = conf_ref(snap);
	list_add_tail(&zp->zones, &z->node);
	for (unsigned i = 0; i < ZONE_MAX_PEERS; i++) {
		z->peers[i].zone = z;
		z->peers[i].index = i;
	}
	for (size_t i = 0; dials && i < conf->peers.n && i < ZONE_MAX_PEERS; i++) {
		struct peer *p = &z->peers[i];

		if (peer_parse(p, conf->peers.v[i], (uint16_t)conf->port) < 0)
			break;
		z->n_peers++;
		if (zone_is_traversal(z))
			link_start(p);
		else
			monitor_start(p);
	}
	return z;
}

static struct zone_rt *find(struct zone_peers *zp, const char *name)
{
	LIST_FOREACH (it, &zp->zones) {
		struct zone_rt *z = CONTAINER_OF(it, struct zone_rt, node);

		if (strcmp(z->conf->common.name, name) == 0)
			return z;
	}
	return NULL;
}

/* The same zone in a new snapshot: pointers move over, links stay. */
static void zone_rebase(struct zone_rt *z, const struct zone_conf *conf,
			const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = z->snap;

	z->conf = conf;
	z->snap = conf_ref(snap);
	conf_unref(old);
	for (unsigned i = 0; i < z->n_peers && zone_is_traversal(z); i++) {
		struct tc_conf tc;

		link_conf(&z->peers[i], &tc);
		tc_configure(&z->peers[i].tc, &tc);
	}
}

void zone_peers_configure(struct zone_peers *zp, const struct conf_snapshot *snap)
{
	const struct system_conf *sys = conf_get(snap, "system", NULL);
	const struct zone_conf *c = NULL;

	slice_copy(zp->name, sizeof(zp->name), slice_of(sys->name));
	LIST_FOREACH (it, &zp->zones)
		CONTAINER_OF(it, struct zone_rt, node)->seen = false;
	while ((c = conf_next(snap, "zone", c))) {
		struct zone_rt *z = find(zp, c->common.name);

		if (!c->enabled)
			continue;
		if (z && conf_section_same(z->conf, c)) {
			zone_rebase(z, c, snap);
		} else {
			if (z)
				zone_free(z);
			z = zone_new(zp, c, snap);
		}
		if (z)
			z->seen = true;
	}
	LIST_FOREACH_SAFE (it2, &zp->zones) {
		struct zone_rt *z = CONTAINER_OF(it2, struct zone_rt, node);

		if (!z->seen)
			zone_free(z);
	}
}

void zone_peers_drain(struct zone_peers *zp)
{
	zp->draining = true;
}

/* --- choice --- */

void side_of_flow(const struct flow *f, struct side *out)
{
	struct buf b;

	*out = (struct side){ .flow = flow_id(f),
			      .role = flow_role(f),
			      .transport = flow_transport(f),
			      .reliable = flow_is_reliable(f),
			      .link = -1,
			      .local = *flow_local(f),
			      .remote = *flow_remote(f) };
	slice_copy(out->zone, sizeof(out->zone), slice_of(flow_zone(f)));
	buf_init(&b, SIDE_HOST_BYTES);
	flow_sent_by(f, &b);
	slice_copy(out->sent_by, sizeof(out->sent_by), buf_slice(&b));
	buf_fini(&b);
}

static bool peer_side(struct peer *p, struct side *out)
{
	struct transport *tr = p->zone->zp->transport;
	struct flow_dest dest;
	struct flow *f;
	int err;

	if (zone_is_traversal(p->zone)) {
		f = p->conn.id ? transport_flow(tr, p->flow) : NULL;
	} else if (p->n_addrs == 0) {
		return false;
	} else {
		peer_flow_dest(p, &dest);
		f = transport_flow_to(tr, &dest, &err);
	}
	if (!f)
		return false;
	side_of_flow(f, out);
	if (zone_is_traversal(p->zone))
		out->link = (int)p->index;
	return true;
}

unsigned zone_peers_turn(struct zone_peers *zp)
{
	return zp->turn++;
}

/* Places in use: configured peers, or links that came in. */
static unsigned used_places(struct zone_rt *z, struct peer *used[ZONE_MAX_PEERS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < ZONE_MAX_PEERS; i++) {
		if (z->peers[i].host || z->peers[i].flow)
			used[n++] = &z->peers[i];
	}
	return n;
}

bool zone_peers_pick(struct zone_peers *zp, const char *zone, unsigned turn, unsigned n,
		     struct side *out, char why[160])
{
	struct zone_rt *z = find(zp, zone);
	struct peer *used[ZONE_MAX_PEERS];
	unsigned n_used, k = 0;

	if (!z) {
		snprintf(why, 160, "zone %.60s does not exist or is switched off", zone);
		return false;
	}
	n_used = used_places(z, used);
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < n_used; i++) {
			struct peer *p = used[(turn + i) % n_used];

			if ((p->health == PEER_FAILED) == (pass == 1) && k++ >= n &&
			    peer_side(p, out))
				return true;
		}
	}
	snprintf(why, 160, "zone %.60s: %.90s", zone,
		 z->peers[0].reason[0] ? z->peers[0].reason : "no peer can be reached");
	return false;
}

bool zone_peers_link(struct zone_peers *zp, const char *zone, unsigned index, struct side *out)
{
	struct zone_rt *z = find(zp, zone);

	return z && index < ZONE_MAX_PEERS && zone_is_traversal(z) &&
	       peer_side(&z->peers[index], out);
}

int zone_peers_link_index(struct zone_peers *zp, const char *zone, uint64_t flow)
{
	struct zone_rt *z = find(zp, zone);

	for (int i = 0; z && i < ZONE_MAX_PEERS; i++) {
		if (z->peers[i].conn.id && z->peers[i].flow == flow)
			return i;
	}
	return -1;
}

bool zone_peers_is_active(struct zone_peers *zp, uint64_t flow)
{
	LIST_FOREACH (it, &zp->zones) {
		struct zone_rt *z = CONTAINER_OF(it, struct zone_rt, node);

		if (zone_peers_link_index(zp, z->conf->common.name, flow) >= 0)
			return true;
	}
	return false;
}

static bool is_peer_of(const struct zone_rt *z, const struct addr *a)
{
	for (unsigned i = 0; i < z->n_peers && !zone_is_traversal(z); i++) {
		for (size_t k = 0; k < z->peers[i].n_addrs; k++) {
			if (addr_ip_eq(a, &z->peers[i].addrs[k]))
				return true;
		}
	}
	return false;
}

const char *zone_peers_of_addr(struct zone_peers *zp, const struct addr *a)
{
	LIST_FOREACH (it, &zp->zones) {
		const struct zone_rt *z = CONTAINER_OF(it, struct zone_rt, node);

		if (is_peer_of(z, a))
			return z->conf->common.name;
	}
	return "";
}

static enum conn_transport transport_of(const struct zone_conf *c)
{
	static const enum conn_transport transports[] = { CONN_UDP, CONN_TCP, CONN_TLS };

	return transports[c->transport];
}

const char *zone_peers_of_peer(struct zone_peers *zp, const struct addr *a,
			       enum conn_transport transport)
{
	LIST_FOREACH (it, &zp->zones) {
		const struct zone_rt *z = CONTAINER_OF(it, struct zone_rt, node);

		if (transport_of(z->conf) == transport && is_peer_of(z, a))
			return z->conf->common.name;
	}
	return "";
}

/* --- listing --- */

static const char *health_str(const struct peer *p)
{
	return p->health == PEER_ACTIVE	  ? "Active"
	       : p->health == PEER_FAILED ? "Failed"
					  : "Checking";
}

static json_t *peer_json(struct peer *p)
{
	char addr[ADDR_STR_BYTES] = "";

	if (p->conn.id)
		addr_str(&p->conn.remote, addr);
	else if (p->n_addrs)
		addr_str(&p->addrs[p->next_addr % p->n_addrs], addr);
	return json_pack("{s:s, s:s, s:s, s:s}", "name", p->host ? p->host : addr, "address", addr,
			 "state", health_str(p), "reason", p->reason);
}

static json_t *zone_json(struct zone_rt *z)
{
	static const char *const types[] = { "neighbour",	 "uc-traversal", "traversal-client",
					     "traversal-server", "dns",		 "enum" };
	json_t *peers = json_array();
	unsigned n_active = 0, n = 0, n_failed = 0;
	const char *reason = "";
	char state[48];

	for (unsigned i = 0; i < ZONE_MAX_PEERS; i++) {
		struct peer *p = &z->peers[i];

		if (p->reason[0] && !p->conn.id)
			reason = p->reason;
		if (!p->host && !p->flow)
			continue;
		n++;
		n_active += p->health == PEER_ACTIVE;
		n_failed += p->health == PEER_FAILED;
		json_array_append_new(peers, peer_json(p));
	}
	if (n_active)
		snprintf(state, sizeof(state), "Active (%u of %u)", n_active, n);
	else
		snprintf(state, sizeof(state), "%s",
			 n_failed == n && (n || reason[0]) ? "Failed" : "Checking");
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", z->conf->common.name, "type",
			 types[z->conf->type], "state", state, "reason",
			 n && n_active == n ? "" : reason, "peers", peers);
}

json_t *zone_peers_json(struct zone_peers *zp)
{
	json_t *out = json_array();

	LIST_FOREACH (it, &zp->zones)
		json_array_append_new(out, zone_json(CONTAINER_OF(it, struct zone_rt, node)));
	return out;
}
