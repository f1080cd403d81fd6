/* Refresh (RFC 8656 section 8.2). */
#include "turn/server_impl.h"

bool turn_request_lifetime(const struct turn_request *q, uint32_t *seconds)
{
	const struct turn_server_conf *conf = &q->s->conf;
	struct stun_attr a;

	*seconds = conf->default_lifetime_s;
	if (!stun_attr_find(&q->msg, STUN_ATTR_LIFETIME, &a))
		return true;
	if (!stun_attr_u32(&a, seconds))
		return false;
	if (*seconds > 0 && *seconds < conf->default_lifetime_s)
		*seconds = conf->default_lifetime_s;
	if (*seconds > conf->max_lifetime_s)
		*seconds = conf->max_lifetime_s;
	return true;
}

static void answer(const struct turn_request *q, uint32_t lifetime_s)
{
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	turn_answer_start(q, &b, out, STUN_CLASS_SUCCESS);
	stun_build_u32(&b, STUN_ATTR_LIFETIME, lifetime_s);
	turn_answer_send(q, &b);
}

/* only: the one relay that was named, or NULL for all. */
static void give_back(struct turn_alloc *a, struct turn_relay *only)
{
	struct turn_relay *other = only == &a->relays[0] ? &a->relays[1] : &a->relays[0];

	if (!only || !other->alloc) {
		turn_alloc_end(a, "refreshed with lifetime 0", true);
		return;
	}
	turn_relay_drop(only);
	turn_alloc_rearm(a);
}

static void prolong(struct turn_alloc *a, const struct turn_relay *only, uint32_t lifetime_s)
{
	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		struct turn_relay *r = &a->relays[i];

		if (r->alloc && (!only || only == r))
			r->expires_ms = turn_now(a->server) + (int64_t)lifetime_s * 1000;
	}
	turn_alloc_rearm(a);
}

/* The relay of REQUESTED-ADDRESS-FAMILY. 0 or the code of the refusal. */
static unsigned find_relay(const struct turn_request *q, struct turn_relay **out)
{
	struct stun_attr a;
	uint8_t family;

	*out = NULL;
	if (!stun_attr_find(&q->msg, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, &a))
		return 0;
	if (!stun_attr_u8(&a, &family))
		return STUN_CODE_BAD_REQUEST;
	if (family == STUN_FAMILY_IP4)
		*out = turn_alloc_relay(q->alloc, ADDR_IP4);
	else if (family == STUN_FAMILY_IP6)
		*out = turn_alloc_relay(q->alloc, ADDR_IP6);
	return *out ? 0 : STUN_CODE_PEER_FAMILY_MISMATCH;
}

void turn_request_refresh(struct turn_request *q)
{
	struct turn_relay *only = NULL;
	uint32_t lifetime_s;
	unsigned code = turn_request_lifetime(q, &lifetime_s) ? find_relay(q, &only)
							      : STUN_CODE_BAD_REQUEST;

	if (code) {
		turn_refuse(q, code);
		return;
	}
	answer(q, lifetime_s);
	if (lifetime_s == 0)
		give_back(q->alloc, only);
	else
		prolong(q->alloc, only, lifetime_s);
}
