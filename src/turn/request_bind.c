/* CreatePermission (RFC 8656 section 10.2) and ChannelBind (section 12.2). */
#include <errno.h>

#include "core/trace.h"
#include "proto/turn.h"
#include "turn/server_impl.h"

/* named: as the client wrote it. 0, 443 or 403. */
static unsigned judge(const struct turn_request *q, const struct addr *named, struct addr *peer,
		      struct turn_peer_verdict *v)
{
	char text[ADDR_STR_BYTES];

	*peer = turn_public_of(q->s, named);
	if (!turn_alloc_relay(q->alloc, peer->family))
		return STUN_CODE_PEER_FAMILY_MISMATCH;
	turn_peer_check(q->s->policy, peer, v);
	if (v->allowed)
		return 0;
	trace_add(q->s->trace, "turn.peer.denied", v->decided_by, &q->c->remote, NULL,
		  "user %s may not reach peer %s: %s", q->alloc->user, addr_str(peer, text),
		  v->why);
	return STUN_CODE_FORBIDDEN;
}

unsigned turn_request_peer(const struct turn_request *q, const struct stun_attr *a,
			   struct addr *peer, struct turn_peer_verdict *v)
{
	struct addr named;

	if (!stun_attr_xor_addr(&q->msg, a, &named) || named.port == 0)
		return STUN_CODE_BAD_REQUEST;
	return judge(q, &named, peer, v);
}

/* For a permission, which holds whatever the peer's port is: port 0 asks for any. */
static unsigned peer_ip(const struct turn_request *q, const struct stun_attr *a, struct addr *peer,
			struct turn_peer_verdict *v)
{
	struct addr named;

	if (!stun_attr_xor_addr(&q->msg, a, &named))
		return STUN_CODE_BAD_REQUEST;
	named.port = 0;
	return judge(q, &named, peer, v);
}

static void refuse_room(const struct turn_request *q, int err, const char *decided_by)
{
	turn_refuse_traced(q, STUN_CODE_INSUFFICIENT_CAPACITY, "turn.capacity",
			   err == -ENOSPC ? decided_by : "system",
			   "allocation of user %s has %u permissions and %u channels",
			   q->alloc->user, q->alloc->n_permissions, q->alloc->n_channels);
}

/* All or none: those that are new are appended without a moment to live, and cut off again when one
 * of them may not be. */
static unsigned prepare_all(const struct turn_request *q, int *err)
{
	struct stun_attr a = { .p = NULL };
	struct turn_peer_verdict v;
	struct addr peer;
	unsigned n = 0, code;

	while (stun_attr_next(&q->msg, &a)) {
		if (a.type != STUN_ATTR_XOR_PEER_ADDRESS)
			continue;
		/* The same one over and over is work too: a frame has room for 5,000 of them. */
		*err = n++ < q->s->conf.max_permissions ? 0 : -ENOSPC;
		if (*err < 0)
			return STUN_CODE_INSUFFICIENT_CAPACITY;
		code = peer_ip(q, &a, &peer, &v);
		if (code)
			return code;
		*err = turn_permission_prepare(q->alloc, &peer);
		if (*err < 0)
			return STUN_CODE_INSUFFICIENT_CAPACITY;
	}
	return n > 0 ? 0 : STUN_CODE_BAD_REQUEST;
}

static void renew_all(const struct turn_request *q)
{
	struct stun_attr a = { .p = NULL };
	struct turn_peer_verdict v;
	struct addr peer;

	while (stun_attr_next(&q->msg, &a)) {
		if (a.type == STUN_ATTR_XOR_PEER_ADDRESS && peer_ip(q, &a, &peer, &v) == 0)
			turn_permission_renew(q->alloc, &peer, v.own);
	}
}

void turn_request_create_permission(struct turn_request *q)
{
	struct turn_alloc *a = q->alloc;
	uint16_t before;
	unsigned code;
	int err = 0;

	turn_permissions_sweep(a);
	before = a->n_permissions;
	code = prepare_all(q, &err);
	if (code == 0) {
		renew_all(q);
		turn_answer_ok(q);
		return;
	}
	a->n_permissions = before;
	if (code == STUN_CODE_INSUFFICIENT_CAPACITY)
		refuse_room(q, err, "[turn] max-permissions");
	else
		turn_refuse(q, code);
}

/* Number and peer belong together as long as the channel lives and for five minutes after. 0 with
 * the channel there is already (NULL: none), or 400. */
static unsigned find_channel(const struct turn_request *q, uint16_t number, const struct addr *peer,
			     struct turn_channel **out)
{
	struct addr wire = turn_wire_of(q->s, peer);
	struct turn_channel *by_number = turn_channel_by_number(q->alloc, number);
	struct turn_channel *by_peer = turn_channel_by_wire(q->alloc, &wire);

	*out = by_number;
	return by_number == by_peer ? 0 : STUN_CODE_BAD_REQUEST;
}

/* A channel makes a permission too; without room for either there is neither. */
static void bind_channel(const struct turn_request *q, struct turn_channel *ch, uint16_t number,
			 const struct addr *peer, bool own)
{
	struct turn_alloc *a = q->alloc;
	uint16_t before = a->n_permissions;
	int err = turn_permission_prepare(a, peer);

	if (err < 0) {
		refuse_room(q, err, "[turn] max-permissions");
		return;
	}
	if (!ch)
		err = turn_channel_add(a, number, peer);
	if (err < 0) {
		a->n_permissions = before;
		refuse_room(q, err, "[turn] max-channels");
		return;
	}
	if (ch)
		ch->expires_ms = turn_now(q->s) + q->s->conf.channel_ms;
	turn_permission_renew(a, peer, own);
	turn_answer_ok(q);
}

void turn_request_channel_bind(struct turn_request *q)
{
	struct turn_peer_verdict v;
	struct stun_attr number_attr, peer_attr;
	struct turn_channel *ch;
	struct addr peer;
	uint16_t number;
	unsigned code;

	turn_permissions_sweep(q->alloc);
	turn_channels_sweep(q->alloc);
	if (!stun_attr_find(&q->msg, STUN_ATTR_CHANNEL_NUMBER, &number_attr) ||
	    !stun_attr_find(&q->msg, STUN_ATTR_XOR_PEER_ADDRESS, &peer_attr) ||
	    !stun_attr_channel(&number_attr, &number) ||
	    !turn_channel_is_legal(number, q->s->conf.last_channel)) {
		turn_refuse(q, STUN_CODE_BAD_REQUEST);
		return;
	}
	if (q->alloc->tcp) { /* data of TCP relays has connections of its own */
		turn_refuse_traced(q, STUN_CODE_FORBIDDEN, "turn.tcp.channel", "RFC 6062",
				   "user %s: a TCP allocation has no channels", q->alloc->user);
		return;
	}
	code = turn_request_peer(q, &peer_attr, &peer, &v);
	if (code == 0)
		code = find_channel(q, number, &peer, &ch);
	if (code)
		turn_refuse(q, code);
	else
		bind_channel(q, ch, number, &peer, v.own);
}
