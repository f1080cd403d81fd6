/* Allocate (RFC 8656 section 7.2; over TCP RFC 6062 section 5.1). */
#include <errno.h>

#include "core/trace.h"
#include "turn/reservation.h"

/* What an Allocate asks for. */
struct wish {
	bool tcp, even, reserve, has_token, has_family, dual;
	uint8_t family; /* enum addr_family */
	uint64_t token;
	uint32_t lifetime_s;
	uint16_t claimed; /* port of the reservation */
};

enum { PORT_TRIES = 32 };

static bool serves(const struct turn_server *s, uint8_t family)
{
	return (family == ADDR_IP4 ? &s->conf.relay_ip4 : &s->conf.relay_ip6)->family != ADDR_NONE;
}

/* --- reading; each returns 0 or the code of the refusal --- */

static unsigned read_transport(const struct turn_request *q, struct wish *w)
{
	struct stun_attr a;
	uint8_t protocol;

	if (!stun_attr_find(&q->msg, STUN_ATTR_REQUESTED_TRANSPORT, &a) ||
	    !stun_attr_u8(&a, &protocol))
		return STUN_CODE_BAD_REQUEST;
	if (protocol == STUN_TRANSPORT_UDP)
		return 0;
	if (protocol != STUN_TRANSPORT_TCP || !q->s->conf.tcp_relays || !q->s->tcp)
		return STUN_CODE_UNSUPPORTED_TRANSPORT;
	w->tcp = true;
	/* RFC 6062 section 5.1, 2. and 3. */
	if (q->c->transport == TURN_UDP || stun_attr_find(&q->msg, STUN_ATTR_DONT_FRAGMENT, &a) ||
	    stun_attr_find(&q->msg, STUN_ATTR_EVEN_PORT, &a) ||
	    stun_attr_find(&q->msg, STUN_ATTR_RESERVATION_TOKEN, &a))
		return STUN_CODE_BAD_REQUEST;
	return 0;
}

static unsigned read_port(const struct turn_request *q, struct wish *w)
{
	struct stun_attr a;

	w->even = stun_attr_find(&q->msg, STUN_ATTR_EVEN_PORT, &a);
	if (w->even && !stun_attr_even_port(&a, &w->reserve))
		return STUN_CODE_BAD_REQUEST;
	w->has_token = stun_attr_find(&q->msg, STUN_ATTR_RESERVATION_TOKEN, &a);
	if (w->has_token && (w->even || !stun_attr_u64(&a, &w->token)))
		return STUN_CODE_BAD_REQUEST;
	return 0;
}

static unsigned read_family(const struct turn_request *q, struct wish *w)
{
	struct stun_attr a;
	uint8_t family = STUN_FAMILY_IP4, more;

	w->has_family = stun_attr_find(&q->msg, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, &a);
	if (w->has_family && (w->has_token || !stun_attr_u8(&a, &family)))
		return STUN_CODE_BAD_REQUEST;
	w->dual = stun_attr_find(&q->msg, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, &a);
	if (w->dual && (w->has_token || w->has_family || w->reserve || !stun_attr_u8(&a, &more) ||
			more != STUN_FAMILY_IP6))
		return STUN_CODE_BAD_REQUEST;
	if (family != STUN_FAMILY_IP4 && family != STUN_FAMILY_IP6)
		return STUN_CODE_FAMILY_NOT_SUPPORTED;
	w->family = family == STUN_FAMILY_IP4 ? ADDR_IP4 : ADDR_IP6;
	return 0;
}

static unsigned read_wish(const struct turn_request *q, struct wish *w)
{
	unsigned code = read_transport(q, w);

	if (!code)
		code = read_port(q, w);
	if (!code)
		code = read_family(q, w);
	if (!code && !turn_request_lifetime(q, &w->lifetime_s))
		code = STUN_CODE_BAD_REQUEST;
	if (!code && !w->has_token && !serves(q->s, w->family) &&
	    !(w->dual && serves(q->s, ADDR_IP6)))
		code = STUN_CODE_FAMILY_NOT_SUPPORTED;
	/* An Allocate with LIFETIME 0 is one without. */
	if (w->lifetime_s == 0)
		w->lifetime_s = q->s->conf.default_lifetime_s;
	return code;
}

/* --- making --- */

/* A relay of the family on any free port that the kernel lets us have. 0 or negative errno. */
static int open_relay(struct turn_alloc *a, unsigned at, uint8_t family, const struct wish *w)
{
	struct turn_server *s = a->server;
	struct turn_ports *ports = s->ports[family - ADDR_IP4];
	struct turn_relay r = { .alloc = a };
	uint16_t in_use[PORT_TRIES];
	unsigned n = 0;
	int err = -ENOSPC;

	if (!serves(s, family)) { /* a reservation from before the settings changed */
		turn_ports_put(ports, w->claimed);
		return -EAFNOSUPPORT;
	}
	r.local = family == ADDR_IP4 ? s->conf.relay_ip4 : s->conf.relay_ip6;
	r.expires_ms = turn_now(s) + (int64_t)w->lifetime_s * 1000;
	while (n < PORT_TRIES) {
		r.local.port = w->claimed
				       ? w->claimed
				       : turn_ports_take(ports, w->even, w->reserve, turn_now(s));
		if (r.local.port == 0) {
			err = -ENOSPC;
			break;
		}
		r.relayed = turn_public_of(s, &r.local);
		a->relays[at] = r;
		err = s->ops->relay_open(s->arg, &a->relays[at]);
		if (err == 0)
			break;
		a->relays[at] = (struct turn_relay){ 0 };
		in_use[n++] = r.local.port;
		if (err != -EADDRINUSE || w->claimed)
			break;
	}
	/* Only now: otherwise the same ones would come again. */
	while (n > 0)
		turn_ports_put(ports, in_use[--n]);
	return err;
}

static unsigned code_of(int err)
{
	return err == -EDQUOT ? STUN_CODE_QUOTA_REACHED : STUN_CODE_INSUFFICIENT_CAPACITY;
}

/* One of two relays that is not made is reported beside the other (RFC 8656 7.2). */
static int open_relays(struct turn_alloc *a, const struct wish *w)
{
	unsigned code[TURN_N_RELAYS] = { 0, 0 };
	unsigned n = 0;
	int err = 0;

	if (!w->dual)
		return open_relay(a, 0, w->family, w);
	for (uint8_t family = ADDR_IP4; family <= ADDR_IP6; family++) {
		unsigned i = family - ADDR_IP4;

		/* Who listens for TCP has one relay: tcp_relay.h. */
		if (!serves(a->server, family) || (a->tcp && n > 0)) {
			code[i] = STUN_CODE_FAMILY_NOT_SUPPORTED;
			continue;
		}
		err = open_relay(a, n, family, w);
		if (err < 0)
			code[i] = code_of(err);
		else
			n++;
	}
	a->half_error = (uint16_t)(code[0] ? code[0] : code[1]);
	return n > 0 ? 0 : err < 0 ? err : -ENOSPC;
}

static struct slice person_of(const struct turn_request *q)
{
	return turn_credentials_person(q->s->credentials, q->user);
}

/* The place in the quota and the port, new ones or those of the reservation. */
static int take_use(const struct turn_request *q, struct wish *w, struct turn_use **use)
{
	if (!w->has_token)
		return turn_usage_enter(&q->s->usage, person_of(q), q->s->conf.user_quota, use);
	w->claimed = turn_reservation_claim(q->s, w->token, person_of(q), &w->family, use);
	return w->claimed ? 0 : -ESRCH;
}

/* The claimed port is open_relay's to give back once it was called. */
static void give_up(struct turn_server *s, const struct wish *w, struct turn_use *use)
{
	if (w->claimed)
		turn_ports_put(s->ports[w->family - ADDR_IP4], w->claimed);
	turn_usage_leave(&s->usage, use);
}

/* 0 with the allocation in the tables, or negative errno and nothing left behind. */
static int make(const struct turn_request *q, struct wish *w, struct turn_alloc **out)
{
	struct turn_use *use;
	struct turn_alloc *a;
	int err = take_use(q, w, &use);

	if (err < 0)
		return err;
	a = turn_alloc_new(q);
	if (!a) {
		give_up(q->s, w, use);
		return -ENOMEM;
	}
	a->use = use;
	a->tcp = w->tcp;
	a->lifetime_s = w->lifetime_s;
	err = open_relays(a, w);
	if (err == 0 && w->reserve)
		err = turn_reserve(q->s, w->family, (uint16_t)(a->relays[0].local.port + 1),
				   person_of(q), &a->token);
	if (err == 0)
		err = turn_alloc_enter(a);
	if (err == 0) {
		*out = a;
		return 0;
	}
	if (a->token)
		turn_unreserve(q->s, a->token);
	turn_alloc_free(a);
	return err;
}

/* --- answers --- */

static void answer(const struct turn_request *q, const struct turn_alloc *a)
{
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	turn_answer_start(q, &b, out, STUN_CLASS_SUCCESS);
	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc)
			stun_build_xor_addr(&b, STUN_ATTR_XOR_RELAYED_ADDRESS,
					    &a->relays[i].relayed);
	}
	stun_build_u32(&b, STUN_ATTR_LIFETIME, a->lifetime_s);
	if (a->token)
		stun_build_u64(&b, STUN_ATTR_RESERVATION_TOKEN, a->token);
	if (a->half_error)
		stun_build_address_error(&b,
					 a->relays[0].local.family == ADDR_IP4 ? STUN_FAMILY_IP6
									       : STUN_FAMILY_IP4,
					 a->half_error, NULL);
	stun_build_xor_addr(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &q->c->remote);
	turn_answer_send(q, &b);
}

/* 300 to one of the client's family (RFC 8489 section 10), in turns. */
static bool try_alternate(const struct turn_request *q, const char *decided_by)
{
	struct turn_server *s = q->s;
	uint8_t out[TURN_ANSWER_BYTES];
	char text[ADDR_STR_BYTES];
	struct stun_build b;

	for (unsigned i = 0; i < s->conf.n_alternates; i++) {
		const struct addr *to =
			&s->conf.alternates[s->next_alternate++ % s->conf.n_alternates];

		if (to->family != q->c->remote.family)
			continue;
		s->counters.n_refused++;
		trace_add(s->trace, "turn.capacity", decided_by, &q->c->remote, NULL,
			  "user %.*s sent to %s", SLICE_ARG(q->user), addr_str(to, text));
		turn_answer_start(q, &b, out, STUN_CLASS_ERROR);
		stun_build_error(&b, STUN_CODE_TRY_ALTERNATE, NULL);
		stun_build_addr(&b, STUN_ATTR_ALTERNATE_SERVER, to);
		turn_answer_send(q, &b);
		return true;
	}
	return false;
}

static bool is_full(const struct turn_request *q)
{
	const struct turn_server *s = q->s;
	const char *decided_by = s->draining ? "drain" : "[turn] max-allocations";

	if (!s->draining && s->allocs.n < s->conf.max_allocations)
		return false;
	if (!try_alternate(q, decided_by))
		turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.capacity", decided_by,
				   "no allocation for user %.*s: %s", SLICE_ARG(q->user),
				   s->draining ? "the server stops" : "the server is full");
	return true;
}

static void refuse_making(const struct turn_request *q, int err)
{
	switch (err) {
	case -EDQUOT:
		turn_refuse_traced(q, STUN_CODE_QUOTA_REACHED, "turn.quota", "[turn] user-quota",
				   "user %.*s has %u allocations and reservations",
				   SLICE_ARG(q->user), q->s->conf.user_quota);
		return;
	case -ESRCH:
		turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.reservation", NULL,
				   "user %.*s has no such reservation (any more)",
				   SLICE_ARG(q->user));
		return;
	case -EBUSY:
		turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.reservation",
				   "[turn] relay-ports",
				   "no port can be reserved for user %.*s: too many are",
				   SLICE_ARG(q->user));
		return;
	case -EMLINK:
		turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.capacity",
				   "[system] max-connections",
				   "no allocation for user %.*s: the connection table is full",
				   SLICE_ARG(q->user));
		return;
	case -ENOSPC:
	case -EADDRINUSE:
		turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.capacity",
				   "[turn] relay-ports", "no port is free for user %.*s",
				   SLICE_ARG(q->user));
		return;
	default:
		turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.capacity", "system",
				   "no relay for user %.*s: %s", SLICE_ARG(q->user),
				   strerror(-err));
	}
}

void turn_request_allocate(struct turn_request *q)
{
	struct wish w = { 0 };
	struct turn_alloc *a = NULL;
	unsigned code;
	int err;

	if (q->alloc && memcmp(q->alloc->tid, q->msg.tid, STUN_TID_BYTES) == 0 &&
	    slice_eq(q->user, slice_of(q->alloc->user))) {
		answer(q, q->alloc); /* retransmitted */
		return;
	}
	if (q->alloc) {
		turn_refuse_traced(q, STUN_CODE_ALLOCATION_MISMATCH, "turn.mismatch", NULL,
				   "user %.*s: this 5-tuple has an allocation of %s",
				   SLICE_ARG(q->user), q->alloc->user);
		return;
	}
	code = read_wish(q, &w);
	if (code) {
		turn_refuse(q, code);
		return;
	}
	if (is_full(q))
		return;
	err = make(q, &w, &a);
	if (err < 0)
		refuse_making(q, err);
	else
		answer(q, a);
}
