#include "media/ice_check.h"

#include <stdio.h>
#include <string.h>

static void component_fire(void *arg);

const char *ice_state_str(enum ice_state s)
{
	static const char *const names[] = { "off", "checking", "ready" };

	return names[s];
}

void ice_check_init(struct ice_check *ice, struct timerq *timers, const struct ice_check_ops *ops,
		    void *arg)
{
	memset(ice, 0, sizeof(*ice));
	ice->timers = timers;
	ice->ops = ops;
	ice->arg = arg;
	ice->controlling = true;
	ops->random(arg, &ice->tie_breaker, sizeof(ice->tie_breaker));
	for (unsigned i = 0; i < ICE_N_COMPONENTS; i++) {
		ice->components[i].ice = ice;
		timer_init(&ice->components[i].timer, component_fire, &ice->components[i]);
	}
}

static unsigned component_index(const struct ice_component *c)
{
	return (unsigned)(c - c->ice->components);
}

/* x 0.8..1.2 (RFC 7675 section 5.1) */
static int64_t jittered(struct ice_check *ice, int64_t ms)
{
	uint16_t r;

	ice->ops->random(ice->arg, &r, sizeof(r));
	return ms * 8 / 10 + ms * 4 / 10 * r / 65535;
}

static void component_wait(struct ice_component *c, int64_t ms)
{
	timer_start(c->ice->timers, &c->timer, ms);
}

static void request_send(struct ice_component *c)
{
	struct ice_check *ice = c->ice;
	unsigned i = component_index(c);
	char username[2 * ICE_UFRAG_BYTES];
	struct stun_build b;
	uint8_t out[512];
	size_t n;

	snprintf(username, sizeof(username), "%s:%s", ice->remote.ufrag, ice->local.ufrag);
	stun_build_start(&b, out, sizeof(out), STUN_CLASS_REQUEST, STUN_METHOD_BINDING, c->tid);
	stun_build_username(&b, slice_of(username));
	/* Peer-reflexive type preference 110 (RFC 8445 section 7.1.1). */
	stun_build_priority(&b, 110u << 24 | 65535u << 8 | (255u - i));
	stun_build_ice_role(&b, ice->controlling, ice->tie_breaker);
	if (ice->controlling)
		stun_build_use_candidate(&b);
	stun_build_integrity(&b, slice_of(ice->remote.pwd));
	stun_build_fingerprint(&b);
	n = stun_build_end(&b);
	c->sent_ms = ice->timers->now_ms;
	c->n_sent++;
	if (n > 0)
		ice->ops->send(ice->arg, i, &c->remote, out, n);
}

static void transaction_new(struct ice_component *c)
{
	c->ice->ops->random(c->ice->arg, c->tid, sizeof(c->tid));
	c->pending = true;
	c->n_sent = 0;
	c->rto_ms = ICE_RTO_MS;
}

static void component_set_state(struct ice_component *c, enum ice_state state)
{
	if (c->state == state)
		return;
	c->state = state;
	c->ice->ops->changed(c->ice->arg, component_index(c), state);
}

static void check_fire(struct ice_component *c)
{
	if (!c->pending || c->n_sent >= ICE_N_SENDS)
		transaction_new(c);
	request_send(c);
	component_wait(c, c->rto_ms);
	c->rto_ms = c->rto_ms * 2 < ICE_RTO_MAX_MS ? c->rto_ms * 2 : ICE_RTO_MAX_MS;
}

static void consent_fire(struct ice_component *c)
{
	int64_t left = c->heard_ms + ICE_CONSENT_EXPIRY_MS - c->ice->timers->now_ms;
	int64_t wait = jittered(c->ice, ICE_CONSENT_RETRY_MS);

	if (left <= 0) {
		component_set_state(c, ICE_CHECKING);
		c->pending = false;
		check_fire(c);
		return;
	}
	/* RFC 7675 section 5.1: no retransmission, every consent check is a transaction. */
	transaction_new(c);
	request_send(c);
	component_wait(c, wait < left ? wait : left);
}

static void component_fire(void *arg)
{
	struct ice_component *c = arg;

	if (c->state == ICE_CHECKING)
		check_fire(c);
	else if (c->state == ICE_READY)
		consent_fire(c);
}

static void component_stop(struct ice_component *c)
{
	timer_stop(c->ice->timers, &c->timer);
	c->pending = false;
	component_set_state(c, ICE_OFF);
}

void ice_check_start(struct ice_check *ice, const struct ice_creds *remote,
		     const struct addr candidates[ICE_N_COMPONENTS], int64_t delay_ms)
{
	bool same = strcmp(ice->remote.ufrag, remote->ufrag) == 0 &&
		    strcmp(ice->remote.pwd, remote->pwd) == 0;

	ice->remote = *remote;
	for (unsigned i = 0; i < ICE_N_COMPONENTS; i++) {
		struct ice_component *c = &ice->components[i];

		if (same && c->state != ICE_OFF && addr_eq(&c->remote, &candidates[i]))
			continue;
		component_stop(c);
		if (candidates[i].family == ADDR_NONE)
			continue;
		c->remote = candidates[i];
		component_set_state(c, ICE_CHECKING);
		component_wait(c, delay_ms + (int64_t)i * ICE_TA_MS);
	}
}

void ice_check_stop(struct ice_check *ice)
{
	for (unsigned i = 0; i < ICE_N_COMPONENTS; i++)
		component_stop(&ice->components[i]);
}

static void answered(struct ice_component *c)
{
	int64_t now = c->ice->timers->now_ms;

	c->pending = false;
	c->heard_ms = now;
	c->rtt_ms = (uint32_t)(now - c->sent_ms);
	component_set_state(c, ICE_READY);
	component_wait(c, jittered(c->ice, ICE_CONSENT_MS));
}

static void refused(struct ice_component *c, const struct stun_msg *m)
{
	struct stun_attr a;
	struct slice reason;
	unsigned code;

	c->ice->n_bad++;
	if (!stun_attr_find(m, STUN_ATTR_ERROR_CODE, &a) || !stun_attr_error(&a, &code, &reason) ||
	    code != STUN_CODE_ROLE_CONFLICT)
		return;
	/* RFC 8445 section 7.2.5.1: change role and check again, under a new transaction. */
	c->ice->controlling = !c->ice->controlling;
	c->pending = false;
	component_wait(c, ICE_RTO_MS);
}

static void response_input(struct ice_component *c, const struct stun_msg *m,
			   const struct addr *from)
{
	struct ice_check *ice = c->ice;

	/* The answer comes from where the request went (RFC 8445 section 7.2.5.2.1). */
	if (!c->pending || memcmp(m->tid, c->tid, STUN_TID_BYTES) != 0 ||
	    !addr_eq(from, &c->remote) || stun_integrity_check(m, slice_of(ice->remote.pwd)) < 0) {
		ice->n_bad++;
		return;
	}
	if (m->class == STUN_CLASS_SUCCESS)
		answered(c);
	else
		refused(c, m);
}

/* A lite peer never asks; a full one may. Its check earns an answer and nothing else. */
static void request_input(struct ice_component *c, const struct stun_msg *m,
			  const struct addr *from)
{
	struct ice_check *ice = c->ice;
	struct ice_request r = { .local = &ice->local,
				 .remote_ufrag = slice_of(ice->remote.ufrag),
				 .from = *from,
				 .controlling = ice->controlling,
				 .tie_breaker = ice->tie_breaker };
	uint8_t out[ICE_REPLY_BYTES];
	bool nominated;
	size_t n;

	if (ice_request_answer(&r, m, out, &n, &nominated) == ICE_DROP)
		ice->n_bad++;
	if (n > 0)
		ice->ops->send(ice->arg, component_index(c), from, out, n);
}

void ice_check_input(struct ice_check *ice, unsigned component, const uint8_t *p, size_t n,
		     const struct addr *from)
{
	struct ice_component *c = &ice->components[component];
	struct stun_msg m;

	if (c->state == ICE_OFF || stun_decode(p, n, &m) < 0 || m.method != STUN_METHOD_BINDING) {
		ice->n_bad++;
		return;
	}
	if (m.class == STUN_CLASS_REQUEST)
		request_input(c, &m, from);
	else if (m.class == STUN_CLASS_SUCCESS || m.class == STUN_CLASS_ERROR)
		response_input(c, &m, from);
}

const struct addr *ice_check_remote(const struct ice_check *ice, unsigned component)
{
	const struct ice_component *c = &ice->components[component];

	return c->state == ICE_READY ? &c->remote : NULL;
}
