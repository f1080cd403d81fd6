/*
 * Data between clients and peers (RFC 8656 sections 11 and 12). Runs for every packet: no memory,
 * no timer, no line in a log; headers are written into the room before the packet.
 */
#include <arpa/inet.h>

#include "base/siphash.h"
#include "proto/turn.h"
#include "turn/server_impl.h"

enum {
	STUN_ATTR_BYTES = 4, /* header of an attribute */
	DATA_INDICATION_BYTES = STUN_HEADER_BYTES + STUN_ATTR_BYTES + 20 + STUN_ATTR_BYTES,
};
_Static_assert((int)DATA_INDICATION_BYTES <= (int)UDP_HEADROOM, "a Data indication fits in place");

/* Not to be foreseen (RFC 8489 section 5), and no system call for a packet. */
static void new_tid(struct turn_server *s, uint8_t tid[STUN_TID_BYTES])
{
	uint64_t counter = s->n_indications++;
	uint64_t hash = siphash(s->seed, &counter, sizeof(counter));

	memcpy(tid, &hash, sizeof(hash));
	memcpy(tid + sizeof(hash), &counter, STUN_TID_BYTES - sizeof(hash));
}

static bool affords(struct turn_alloc *a, size_t n)
{
	struct turn_server *s = a->server;

	if (s->conf.user_bandwidth == 0 ||
	    turn_usage_spend(a->use, n, s->conf.user_bandwidth, turn_now(s)))
		return true;
	a->n_over_bandwidth++;
	a->conn.n_dropped++;
	s->counters.n_over_bandwidth++;
	return false;
}

static void no_permission(struct turn_alloc *a)
{
	a->n_no_permission++;
	a->conn.n_dropped++;
	a->server->counters.n_no_permission++;
}

/* --- from the client --- */

static void to_peer(struct turn_alloc *a, const struct addr *wire, struct slice data,
		    bool dont_fragment)
{
	struct turn_relay *r = turn_alloc_relay(a, wire->family);
	struct turn_server *s = a->server;

	if (!r) {
		no_permission(a);
		return;
	}
	if (!affords(a, data.n))
		return;
	a->conn.rx_packets++;
	a->conn.rx_bytes += data.n;
	s->counters.n_to_peer++;
	s->ops->relay_send(s->arg, r, wire, data.p, data.n, dont_fragment);
}

void turn_relay_channel_data(struct turn_server *s, struct turn_client *c, struct udp_packet *pkt)
{
	struct turn_alloc *a = turn_alloc_find(s, c);
	struct turn_channel *ch;
	struct slice data;
	uint16_t number;

	if (!a || !turn_channel_decode(pkt->p, pkt->n, &number, &data)) {
		s->counters.n_bad++;
		return;
	}
	ch = turn_channel_by_number(a, number);
	if (!ch || !turn_channel_lives(ch, turn_now(s))) {
		no_permission(a);
		return;
	}
	to_peer(a, &ch->wire, data, false);
}

static bool is_understood(const struct stun_msg *m)
{
	static const uint16_t known[] = {
		STUN_ATTR_XOR_PEER_ADDRESS, STUN_ATTR_DATA,  STUN_ATTR_DONT_FRAGMENT,
		STUN_ATTR_USERNAME,	    STUN_ATTR_REALM, STUN_ATTR_NONCE
	};
	uint16_t unknown;

	return stun_unknown(m, known, sizeof(known) / sizeof(known[0]), &unknown, 1) == 0;
}

/* RFC 8656 section 11.2. The first address and the first data count (RFC 8489 section 14). */
void turn_relay_send_indication(struct turn_server *s, struct turn_client *c,
				const struct stun_msg *m)
{
	struct turn_alloc *a = turn_alloc_find(s, c);
	struct stun_attr peer_attr, data, flag;
	struct addr named, wire;

	if (!a || a->tcp || !stun_attr_find(m, STUN_ATTR_XOR_PEER_ADDRESS, &peer_attr) ||
	    !stun_attr_find(m, STUN_ATTR_DATA, &data) ||
	    !stun_attr_xor_addr(m, &peer_attr, &named) || named.port == 0 || !is_understood(m)) {
		s->counters.n_bad++;
		return;
	}
	named = turn_public_of(s, &named);
	if (!turn_permission_allows(a, &named)) {
		no_permission(a);
		return;
	}
	wire = turn_wire_of(s, &named);
	to_peer(a, &wire, (struct slice){ (const char *)data.p, data.n },
		stun_attr_find(m, STUN_ATTR_DONT_FRAGMENT, &flag));
}

/* --- from peers --- */

static void to_client(struct turn_alloc *a, const void *p, size_t n, size_t n_data)
{
	struct turn_server *s = a->server;

	if (!s->ops->to_client(s->arg, a->client_of, p, n, true)) {
		a->conn.n_dropped++;
		return;
	}
	a->conn.tx_packets++;
	a->conn.tx_bytes += n_data;
	s->counters.n_to_client++;
}

/* The permission behind a channel, by the hint where it was last. */
static bool channel_permitted(struct turn_alloc *a, struct turn_channel *ch)
{
	const struct turn_permission *p;
	int64_t now = turn_now(a->server);

	if (!turn_channel_lives(ch, now))
		return false;
	p = ch->permission < a->n_permissions ? &a->permissions[ch->permission] : NULL;
	if (!p || !addr_ip_eq(&p->peer, &ch->peer)) {
		p = turn_permission_find(a, &ch->peer);
		if (!p)
			return false;
		ch->permission = (uint16_t)(p - a->permissions);
	}
	return now < p->expires_ms;
}

static void channel_data(struct turn_alloc *a, const struct turn_channel *ch,
			 struct udp_packet *pkt)
{
	uint8_t *p = pkt->p - TURN_CHANNEL_HEADER_BYTES;

	turn_channel_header(p, ch->number, pkt->n);
	to_client(a, p, pkt->n + TURN_CHANNEL_HEADER_BYTES, pkt->n);
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* RFC 8656 section 11.3, around the data where it lies. */
static void data_indication(struct turn_alloc *a, const struct addr *named, struct udp_packet *pkt)
{
	size_t addr_bytes = named->family == ADDR_IP4 ? 8 : 20;
	size_t head = DATA_INDICATION_BYTES - 20 + addr_bytes, pad = turn_padding(pkt->n);
	uint8_t *p = pkt->p - head, tid[STUN_TID_BYTES];
	struct stun_build b;

	new_tid(a->server, tid);
	stun_build_start(&b, p, head, STUN_CLASS_INDICATION, STUN_METHOD_DATA, tid);
	stun_build_xor_addr(&b, STUN_ATTR_XOR_PEER_ADDRESS, named);
	put16(pkt->p - 4, STUN_ATTR_DATA);
	put16(pkt->p - 2, pkt->n);
	memset(pkt->p + pkt->n, 0, pad);
	put16(p + 2, head - STUN_HEADER_BYTES + pkt->n + pad);
	to_client(a, p, head + pkt->n + pad, pkt->n);
}

void turn_server_peer_input(struct turn_server *s, struct turn_relay *r, struct udp_packet *pkt)
{
	struct turn_alloc *a = r->alloc;
	struct turn_channel *ch = turn_channel_by_wire(a, &pkt->from);
	struct addr named;

	/* Nothing can be sent there, and as a peer port 0 means any port. */
	if (pkt->from.port == 0) {
		no_permission(a);
		return;
	}
	if (ch && channel_permitted(a, ch)) {
		if (affords(a, pkt->n))
			channel_data(a, ch, pkt);
		return;
	}
	named = turn_public_of(s, &pkt->from);
	if (!turn_permission_allows(a, &named)) {
		no_permission(a);
		return;
	}
	if (affords(a, pkt->n))
		data_indication(a, &named, pkt);
}

/* Which ICMP errors a client is told of, RFC 8656 section 11.5, and with which data, 18.13. */
static bool icmp_is_told(uint8_t family, uint8_t type, uint8_t code, bool *has_mtu)
{
	enum { UNREACHABLE = 3, FRAGMENTATION_NEEDED = 4, TIME_EXCEEDED = 11 };
	enum { UNREACHABLE6 = 1, TOO_BIG6 = 2, TIME_EXCEEDED6 = 3 };

	if (family == ADDR_IP4) {
		*has_mtu = type == UNREACHABLE && code == FRAGMENTATION_NEEDED;
		return type == UNREACHABLE || type == TIME_EXCEEDED;
	}
	*has_mtu = type == TOO_BIG6;
	return type == UNREACHABLE6 || type == TOO_BIG6 || type == TIME_EXCEEDED6;
}

void turn_server_peer_icmp(struct turn_server *s, struct turn_relay *r, const struct addr *peer,
			   uint8_t type, uint8_t code, uint32_t mtu)
{
	struct addr named = turn_public_of(s, peer);
	uint8_t out[128], tid[STUN_TID_BYTES];
	struct stun_build b;
	bool has_mtu;

	if (!icmp_is_told(peer->family, type, code, &has_mtu) ||
	    !turn_permission_allows(r->alloc, &named))
		return;
	new_tid(s, tid);
	stun_build_start(&b, out, sizeof(out), STUN_CLASS_INDICATION, STUN_METHOD_DATA, tid);
	stun_build_xor_addr(&b, STUN_ATTR_XOR_PEER_ADDRESS, &named);
	stun_build_icmp(&b, type, code, has_mtu ? mtu : 0);
	if (stun_build_end(&b) > 0)
		to_client(r->alloc, out, stun_build_end(&b), 0);
}
