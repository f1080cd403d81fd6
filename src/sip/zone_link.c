/* Traversal links: the wiring of the traversal client (C) and the check of who comes in (E). */
#include "sip/zone_peer_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "core/trace.h"
#include "sip/traversal_server.h"

/* --- both ends --- */

static void link_close(struct conn *c, const char *reason)
{
	struct peer *p = CONTAINER_OF(c, struct peer, conn);
	struct flow *f = transport_flow(p->zone->zp->transport, p->flow);

	if (f)
		flow_close(f, "%s", reason);
}

void link_enter(struct peer *p, struct flow *f)
{
	struct zone_peers *zp = p->zone->zp;
	char remote[ADDR_STR_BYTES];

	p->flow = flow_id(f);
	flow_hold(f);
	p->conn = (struct conn){ .kind = CONN_LINK,
				 .transport = flow_transport(f),
				 .local = *flow_local(f),
				 .remote = *flow_remote(f),
				 .parent = p->flow,
				 .state = "active",
				 .close = link_close };
	slice_copy(p->conn.zone, sizeof(p->conn.zone), slice_of(p->zone->conf->common.name));
	slice_copy(p->conn.user, sizeof(p->conn.user), slice_of(p->zone->conf->username));
	conn_add(zp->env->conns, &p->conn);
	peer_set_health(p, PEER_ACTIVE, "");
	log_info(zp->env->log, "link.up", "zone=%s peer=%s", p->zone->conf->common.name,
		 addr_str(flow_remote(f), remote));
}

void link_leave(struct peer *p, const char *why)
{
	struct zone_peers *zp = p->zone->zp;
	struct flow *f = transport_flow(zp->transport, p->flow);

	if (p->conn.id) {
		conn_end(zp->env->conns, &p->conn, "%s", why);
		if (f)
			flow_release(f);
		log_warn(zp->env->log, "link.down", "zone=%s peer=%s reason=%s",
			 p->zone->conf->common.name, p->host ? p->host : "-",
			 log_esc(slice_of(why)));
	}
	p->conn.id = 0;
	p->flow = 0;
}

/* --- C --- */

static void on_dial_resolved(const struct dns_result *r, void *arg)
{
	struct peer *p = arg;
	struct flow_dest dest;
	struct flow *f;
	int err = 0;

	peer_take_addrs(p, r);
	if (p->n_addrs == 0) {
		tc_closed(&p->tc, p->reason);
		return;
	}
	peer_flow_dest(p, &dest);
	f = transport_connect(p->zone->zp->transport, &dest, &err);
	if (!f) {
		char why[96];

		snprintf(why, sizeof(why), "cannot connect: %s", strerror(-err));
		p->next_addr++;
		tc_closed(&p->tc, why);
		return;
	}
	p->flow = flow_id(f);
}

static int dial(void *arg)
{
	struct peer *p = arg;

	if (p->zone->zp->draining)
		return -EAGAIN;
	p->flow = 0;
	peer_resolve(p, on_dial_resolved);
	return 0;
}

static void on_options_answer(void *arg, struct txn_client *t, struct sip_msg *m)
{
	struct peer *p = arg;

	if (m->status >= 200) {
		txn_client_detach(t);
		p->options = NULL;
		tc_answer(&p->tc, m, NULL);
	}
}

static void on_options_failed(void *arg, struct txn_client *t, int status, const char *why)
{
	struct peer *p = arg;

	txn_client_detach(t);
	p->options = NULL;
	tc_answer(&p->tc, NULL, why);
}

static const struct txn_client_events options_events = { on_options_answer, on_options_failed,
							 NULL };

static int options(void *arg, const char *authorization)
{
	struct peer *p = arg;

	return peer_send_options(p, p->flow, authorization, &options_events);
}

static void hangup(void *arg, const char *why)
{
	struct peer *p = arg;
	struct flow *f = transport_flow(p->zone->zp->transport, p->flow);

	dns_cancel(p->query);
	p->query = NULL;
	if (p->options)
		txn_client_detach(p->options);
	p->options = NULL;
	link_leave(p, why);
	if (f)
		flow_close(f, "%s", why);
}

static uint32_t random_u32(void *arg)
{
	uint32_t v;

	net_random(&v, sizeof(v));
	return v;
}

static void changed(void *arg, enum tc_state old, enum tc_state state, const char *reason)
{
	struct peer *p = arg;
	struct env *env = p->zone->zp->env;
	struct flow *f = transport_flow(p->zone->zp->transport, p->flow);

	log_debug(env->log, "link.state", "zone=%s peer=%s from=%s to=%s reason=%s",
		  p->zone->conf->common.name, p->host, tc_state_str(old), tc_state_str(state),
		  log_esc(slice_of(reason)));
	if (state == TC_ACTIVE && f) {
		link_enter(p, f);
		alarm_clear(env->alarms, "link-down", p->host);
	} else if (state == TC_WAITING) {
		link_leave(p, reason);
		p->next_addr++;
		peer_set_health(p, PEER_FAILED, reason);
		alarm_raise(
			env->alarms, "link-down", p->host, ALARM_ERROR,
			"check the edge and the firewall between; both sides' `turnpikectl zones` "
			"show why",
			"zone %s: %s", p->zone->conf->common.name, reason);
	} else if (state == TC_OFF) {
		link_leave(p, "switched off");
		alarm_clear(env->alarms, "link-down", p->host);
	} else if (p->health != PEER_FAILED) {
		peer_set_health(p, PEER_CHECKING, reason);
	}
}

static const struct tc_ops ops = { dial, options, hangup, random_u32, changed };

void link_conf(struct peer *p, struct tc_conf *out)
{
	const struct zone_conf *z = p->zone->conf;

	*out = (struct tc_conf){ .username = z->username,
				 .password = z->password,
				 .uri = p->uri,
				 .keepalive_ms = z->keepalive_ms,
				 .answer_ms = 10000,
				 .retry_min_ms = z->retry_min_ms,
				 .retry_max_ms = z->retry_max_ms };
}

void link_start(struct peer *p)
{
	struct tc_conf conf;

	link_conf(p, &conf);
	tc_init(&p->tc, loop_timers(p->zone->zp->env->loop), &conf, &ops, p);
	tc_start(&p->tc);
}

void link_stop(struct peer *p)
{
	tc_stop(&p->tc);
	dns_cancel(p->query);
	p->query = NULL;
}

/* --- E --- */

static struct zone_rt *zone_by_name(struct zone_peers *zp, const char *name)
{
	LIST_FOREACH (it, &zp->zones) {
		struct zone_rt *z = CONTAINER_OF(it, struct zone_rt, node);

		if (strcmp(z->conf->common.name, name) == 0)
			return z;
	}
	return NULL;
}

/* A free place among the six, or the one that this flow has. */
static struct peer *place(struct zone_rt *z, uint64_t flow)
{
	struct peer *unused = NULL;

	for (unsigned i = 0; i < ZONE_MAX_PEERS; i++) {
		if (z->peers[i].flow == flow)
			return &z->peers[i];
		if (!unused && z->peers[i].flow == 0)
			unused = &z->peers[i];
	}
	return unused;
}

static void refuse(struct zone_peers *zp, struct zone_rt *z, struct flow *f, const char *why)
{
	char decided[96], remote[ADDR_STR_BYTES];

	snprintf(decided, sizeof(decided), "[zone %s]", z->conf->common.name);
	trace_add(zp->env->trace, "sip.link.refused", decided, flow_remote(f), NULL, "%s", why);
	alarm_raise(zp->env->alarms, "link-refused", z->conf->common.name, ALARM_ERROR,
		    "compare username, password and certificates of this zone on both boxes",
		    "%s was refused: %s", addr_str(flow_remote(f), remote), why);
	snprintf(z->peers[0].reason, sizeof(z->peers[0].reason), "%s", why);
	z->refused_flow = flow_id(f);
}

void zone_peers_options(struct zone_peers *zp, struct txn_server *t, struct sip_msg *m,
			struct flow *f)
{
	struct zone_rt *z = zone_by_name(zp, flow_zone(f));
	struct ts_conf conf;
	struct buf headers;
	const char *why;
	uint8_t random[8];
	struct peer *p;

	if (!z) {
		txn_server_reply(t, 403, NULL, NULL);
		return;
	}
	if (zone_peers_is_active(zp, flow_id(f)) && !sip_msg_hdr(m, SIP_HDR_AUTHORIZATION).p) {
		/* A keep-alive on a link that has proved itself. */
		txn_server_reply(t, 200, NULL, NULL);
		return;
	}
	conf = (struct ts_conf){ zp->name, z->conf->username, z->conf->password };
	net_random(random, sizeof(random));
	buf_init(&headers, 4096);
	switch (ts_check(&conf, m, flow_id(f), zp->key, time(NULL), random, &headers, &why)) {
	case TS_CHALLENGE:
		txn_server_reply(t, 401, NULL, headers.p);
		break;
	case TS_REFUSED:
		refuse(zp, z, f, why);
		txn_server_reply(t, 401, NULL, headers.p);
		break;
	case TS_PROVED:
		p = place(z, flow_id(f));
		if (!p) {
			refuse(zp, z, f, "six peers are linked already");
			txn_server_reply(t, 503, "Too Many Peers", NULL);
			break;
		}
		if (p->flow == 0)
			link_enter(p, f);
		alarm_clear(zp->env->alarms, "link-refused", z->conf->common.name);
		txn_server_reply(t, 200, NULL, NULL);
		break;
	}
	buf_fini(&headers);
}

void zone_peers_flow_opened(struct zone_peers *zp, struct flow *f)
{
	struct zone_rt *z = zone_by_name(zp, flow_zone(f));

	if (!z || flow_role(f) != FLOW_TRAVERSAL_CLIENT)
		return;
	for (unsigned i = 0; i < z->n_peers; i++) {
		if (z->peers[i].flow == flow_id(f))
			tc_opened(&z->peers[i].tc);
	}
}

void zone_peers_flow_closed(struct zone_peers *zp, struct flow *f, const char *why)
{
	struct zone_rt *z = zone_by_name(zp, flow_zone(f));
	bool was_link = false;

	if (!z)
		return;
	for (unsigned i = 0; i < ZONE_MAX_PEERS; i++) {
		struct peer *p = &z->peers[i];

		if (p->flow != flow_id(f) || p->flow == 0)
			continue;
		was_link = true;
		if (flow_role(f) == FLOW_TRAVERSAL_CLIENT) {
			if (p->options)
				txn_client_detach(p->options);
			p->options = NULL;
			tc_closed(&p->tc, why);
		} else {
			link_leave(p, why);
			peer_set_health(p, PEER_FAILED, why);
		}
	}
	/* A peer that did not get as far as a link: E must say why too. */
	if (flow_role(f) == FLOW_TRAVERSAL_SERVER && z->peers[0].flow == 0 &&
	    z->refused_flow != flow_id(f) && !was_link)
		slice_copy(z->peers[0].reason, sizeof(z->peers[0].reason), slice_of(why));
}
