/* Peers of neighbour zones: their addresses are looked up again and again, and OPTIONS shows
 * whether they live. */
#include "sip/zone_peer_impl.h"

#include <stdio.h>

#include "core/loop.h"

static void again(struct peer *p)
{
	timer_start(loop_timers(p->zone->zp->env->loop), &p->timer, p->zone->conf->keepalive_ms);
}

static void on_answer(void *arg, struct txn_client *t, struct sip_msg *m)
{
	/* Any answer at all shows a live peer; 5xx that a proxy makes itself are no health problem
	 * of the way to it, but 503 says so of itself (RFC 3261 21.5.4). */
	struct peer *p = arg;

	if (m->status < 200)
		return;
	if (m->status == 503)
		peer_set_health(p, PEER_FAILED, "peer answered OPTIONS with 503");
	else
		peer_set_health(p, PEER_ACTIVE, "");
}

static void on_failed(void *arg, struct txn_client *t, int status, const char *why)
{
	struct peer *p = arg;
	char text[200];

	snprintf(text, sizeof(text), "OPTIONS: %s", why);
	/* The next try takes the next address. */
	p->next_addr++;
	peer_set_health(p, PEER_FAILED, text);
}

static void on_done(void *arg, struct txn_client *t)
{
	struct peer *p = arg;

	p->options = NULL;
}

static const struct txn_client_events events = { on_answer, on_failed, on_done };

static void check(struct peer *p)
{
	struct transport *tr = p->zone->zp->transport;
	struct flow_dest dest;
	struct flow *f;
	int err = 0;

	if (!p->zone->conf->monitor) {
		peer_set_health(p, PEER_ACTIVE, "");
		return;
	}
	if (p->options)
		return;
	peer_flow_dest(p, &dest);
	f = transport_flow_to(tr, &dest, &err);
	if (!f)
		peer_set_health(p, PEER_FAILED, "cannot connect");
	else
		peer_send_options(p, flow_id(f), NULL, &events);
}

static void on_resolved(const struct dns_result *r, void *arg)
{
	struct peer *p = arg;

	peer_take_addrs(p, r);
	if (p->n_addrs)
		check(p);
	again(p);
}

static void on_timer(void *arg)
{
	peer_resolve(arg, on_resolved);
}

void monitor_start(struct peer *p)
{
	timer_init(&p->timer, on_timer, p);
	p->health = PEER_CHECKING;
	peer_resolve(p, on_resolved);
}

void monitor_stop(struct peer *p)
{
	timer_stop(loop_timers(p->zone->zp->env->loop), &p->timer);
	dns_cancel(p->query);
	p->query = NULL;
	if (p->options)
		txn_client_detach(p->options);
	p->options = NULL;
}
