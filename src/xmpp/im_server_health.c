/*
 * Who lives.
 *
 *   ALIVE --a stream failed [im_servers_report]--> DEAD --probe succeeded--> ALIVE
 *   DEAD --probe failed--> DEAD, next probe after twice the time
 */
#include "xmpp/im_server_impl.h"

#include <stdio.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/net.h"
#include "core/trace.h"

static const char *name_of(const struct im_peer *p, char *buf, size_t size)
{
	snprintf(buf, size, strchr(p->pub.host, ':') ? "[%s]:%u" : "%s:%u", p->pub.host,
		 p->pub.port);
	return buf;
}

static void tell(struct im_peer *p, const char *code, const char *text)
{
	struct env *env = p->owner->env;
	char name[300], by[100];

	snprintf(by, sizeof(by), "[im-server %s]", p->pub.server);
	name_of(p, name, sizeof(name));
	trace_add(env->trace, code, by, p->n_addrs ? &p->addrs[p->at] : NULL, NULL, "%s: %s", name,
		  text);
	log_info(env->log, code, "node=%s reason=%s", log_esc(slice_of(name)),
		 log_esc(slice_of(text)));
}

/* A tenth less or more: several C and many nodes shall not knock together. */
static uint32_t jitter(uint32_t ms)
{
	uint32_t r;

	net_random(&r, sizeof(r));
	return ms - ms / 10 + r % (ms / 5 + 1);
}

static void probe_later(struct im_peer *p)
{
	if (!p->wait_ms)
		p->wait_ms = IM_PROBE_FIRST;
	else
		p->wait_ms = p->wait_ms < IM_PROBE_LAST / 2 ? p->wait_ms * 2 : IM_PROBE_LAST;
	timer_start(loop_timers(p->owner->env->loop), &p->timer, jitter(p->wait_ms));
}

void im_peer_stop_probe(struct im_peer *p)
{
	timer_stop(loop_timers(p->owner->env->loop), &p->timer);
	dns_cancel(p->query);
	p->query = NULL;
	stream_abort(p->probe);
	p->probe = NULL;
}

void im_peer_failed(struct im_peer *p, const char *why)
{
	char name[300];
	bool was = p->pub.alive;

	slice_copy(p->why, sizeof(p->why), slice_of(why));
	if (p->n_addrs > 1)
		p->at = (p->at + 1) % p->n_addrs;
	p->pub.alive = false;
	alarm_raise(
		p->owner->env->alarms, "im-server-down", name_of(p, name, sizeof(name)),
		ALARM_ERROR,
		"See that the IM server runs and that this host reaches its port; users of this "
		"node are on other nodes meanwhile, if there are any.",
		"IM server %s of [im-server %s] is down: %s", name, p->pub.server, p->why);
	if (!was)
		return;
	tell(p, "xmpp.im-server.down", p->why);
	probe_later(p);
}

void im_peer_forget_alarm(struct im_peer *p)
{
	char name[300];

	if (!p->pub.alive)
		alarm_clear(p->owner->env->alarms, "im-server-down",
			    name_of(p, name, sizeof(name)));
}

void im_peer_lives(struct im_peer *p, bool for_sure)
{
	if (for_sure)
		p->wait_ms = 0;
	if (p->pub.alive)
		return;
	im_peer_stop_probe(p);
	im_peer_forget_alarm(p);
	p->pub.alive = true;
	tell(p, "xmpp.im-server.up", "answers again");
}

/* --- probes --- */
static void probe_failed(struct im_peer *p, const char *why)
{
	im_peer_failed(p, why);
	probe_later(p);
}

static void on_probe_opened(void *arg)
{
	struct im_peer *p = arg;

	/* Not cut: a PROXY header that is on its way is to arrive, and no reset to be logged. */
	stream_close(p->probe);
	p->probe = NULL;
	im_peer_lives(p, false);
}

static void on_probe_readable(void *arg)
{
}

static void on_probe_closed(void *arg, enum stream_end end, const char *why)
{
	struct im_peer *p = arg;

	p->probe = NULL;
	probe_failed(p, why);
}

static const struct stream_handler probe_handler = {
	.opened = on_probe_opened,
	.readable = on_probe_readable,
	.closed = on_probe_closed,
};

static void on_probe_name(const struct dns_result *r, void *arg)
{
	struct im_peer *p = arg;
	int error = 0;

	p->query = NULL;
	if (r->n > 0)
		im_peer_take_addrs(p, r, NULL);
	if (p->n_addrs == 0) {
		probe_failed(p, "name has no address");
		return;
	}
	p->probe = im_peer_dial(p, IM_CHAT, NULL, NULL, IM_PROBE_MS, &probe_handler, p, &error);
	if (!p->probe)
		probe_failed(p, strerror(-error));
}

void im_peer_probe(void *peer)
{
	struct im_peer *p = peer;
	struct dns_query *q;

	q = dns_lookup_host(p->owner->env->dns, p->pub.host, 0, DNS_ANY_FAMILY, on_probe_name, p);
	if (q)
		p->query = q;
}

/* target: only its addresses (of SRV records); NULL: all. The one in use stays the one in use. */
void im_peer_take_addrs(struct im_peer *p, const struct dns_result *r, const char *target)
{
	struct addr now = { 0 };

	if (p->n_addrs)
		now = p->addrs[p->at];
	p->n_addrs = p->at = 0;
	for (size_t i = 0; i < r->n && p->n_addrs < IM_MAX_ADDRS; i++) {
		struct addr a = r->addrs[i].addr;

		if (target && strcmp(r->addrs[i].target, target) != 0)
			continue;
		a.port = p->pub.port;
		if (addr_eq(&a, &now))
			p->at = p->n_addrs;
		p->addrs[p->n_addrs++] = a;
	}
}

void im_servers_report(struct im_servers *s, const struct im_node *node, bool good, const char *why)
{
	struct im_peer *p = im_peer_get(s, node);

	if (!p)
		return;
	if (good)
		im_peer_lives(p, true);
	else
		im_peer_failed(p, why);
}
