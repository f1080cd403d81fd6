/*
 * The TURN machine under any sequence of messages of four clients, some sealed with the right key,
 * packets and ICMP errors of peers, time, closing and new settings. Beside the sanitizers: whatever
 * goes to a peer goes to one that the policy allows, answers are well formed, and at the end
 * nothing is left.
 */
#include <stdint.h>

#include "support/turn_rig.h"
#include "turn/tcp_relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_GUESTS = 4, MAX_STEPS = 64 };

struct input {
	const uint8_t *p;
	size_t n;
};

static uint8_t byte(struct input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++;
}

/* A length byte and as many bytes, or what is left. */
static struct slice bytes(struct input *in)
{
	size_t n = byte(in);
	struct slice s;

	n = n < in->n ? n : in->n;
	s = (struct slice){ (const char *)in->p, n };
	in->p += n;
	in->n -= n;
	return s;
}

static void send_checked(void *arg, struct turn_relay *r, const struct addr *to, const void *p,
			 size_t n, bool dont_fragment)
{
	struct rig *rig = arg;
	struct addr named = turn_public_of(rig->s, to);
	struct turn_peer_verdict v;

	RIG_MUST(r->alloc && to->port != 0 && to->family == r->local.family);
	turn_peer_check(&rig->policy, &named, &v);
	RIG_MUST(v.allowed);
	rig_relay_send(arg, r, to, p, n, dont_fragment);
}

static struct stream *no_connect(void *arg, struct turn_relay *r, const struct addr *to,
				 const struct stream_handler *h, void *harg, int *error)
{
	*error = -ECONNREFUSED;
	return NULL;
}

static const struct turn_tcp_ops tcp_ops = { .connect = no_connect };

static const char *const peers[] = { "198.51.100.1:9",	   "198.51.100.2:9", "203.0.113.1:24001",
				     "10.9.9.9:24002",	   "127.0.0.1:22",   "[2001:4860::7]:9",
				     "[64:ff9b::a00:1]:9", "203.0.113.1:22" };

static const char *a_peer(struct input *in)
{
	return peers[byte(in) % 8];
}

/* Attributes as the input has them: type, length, value; those that the builder refuses are left
 * out. */
static void add_attributes(struct guest *g, struct input *in)
{
	for (unsigned n = byte(in) % 8; n > 0; n--) {
		struct stun_build before = g->b;
		uint8_t what = byte(in);
		uint16_t type = (uint16_t)(what | (what & 0x40 ? 0x8000 : 0));

		if (what == 0xff)
			guest_peer(g, a_peer(in));
		else
			stun_build_slice(&g->b, type, bytes(in));
		if (g->b.failed || g->b.n > sizeof(g->out) - 512) {
			g->b = before;
			g->out[2] = (uint8_t)((before.n - STUN_HEADER_BYTES) >> 8);
			g->out[3] = (uint8_t)(before.n - STUN_HEADER_BYTES);
		}
	}
}

static void ask_sealed(struct guest *g, struct input *in)
{
	static const uint16_t methods[] = {
		STUN_METHOD_ALLOCATE,	  STUN_METHOD_REFRESH, STUN_METHOD_CREATE_PERMISSION,
		STUN_METHOD_CHANNEL_BIND, STUN_METHOD_CONNECT, STUN_METHOD_CONNECTION_BIND,
		STUN_METHOD_BINDING,	  STUN_METHOD_SEND
	};

	guest_start(g, methods[byte(in) % 8]);
	add_attributes(g, in);
	guest_asks(g);
}

static void ask_well(struct guest *g, struct input *in)
{
	uint8_t how = byte(in);

	switch (how % 4) {
	case 0:
		guest_start(g, STUN_METHOD_ALLOCATE);
		guest_byte(g, STUN_ATTR_REQUESTED_TRANSPORT, how & 0x80 ? 6 : 17, 4);
		if (how & 4)
			guest_byte(g, STUN_ATTR_EVEN_PORT, how & 8 ? 0x80 : 0, 1);
		if (how & 16)
			guest_byte(g, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2, 4);
		if (how & 32)
			guest_byte(g, STUN_ATTR_REQUESTED_ADDRESS_FAMILY, 2, 4);
		guest_asks(g);
		break;
	case 1:
		guest_refreshes(g, how & 4 ? 0 : how * 16u);
		break;
	case 2:
		guest_permits(g, a_peer(in));
		break;
	default:
		guest_binds(g, (uint16_t)(0x4000 + how / 64), a_peer(in));
	}
}

static void speak(struct guest *g, struct input *in)
{
	uint8_t how = byte(in);

	if (how & 1)
		guest_says_on_channel(g, (uint16_t)(0x4000 + how / 64), "data");
	else
		guest_says(g, a_peer(in), "data");
}

static void raw(struct guest *g, struct input *in)
{
	struct slice s = bytes(in);

	rig_client_sends(g->rig, &g->c, s.p, s.n);
}

static void from_peer(struct rig *rig, struct input *in)
{
	uint8_t how = byte(in);
	struct addr peer = rig_addr(a_peer(in));
	struct turn_relay *r;

	if (rig->n_relays == 0)
		return;
	r = rig->relays[how % rig->n_relays];
	if (r->alloc->tcp || peer.family != r->local.family)
		return;
	if (how & 0x80)
		turn_server_peer_icmp(rig->s, r, &peer, byte(in), byte(in), 1400);
	else
		rig_peer_sends(rig, r, peers[how >> 4 & 7], "from a peer");
}

static void reconfigure(struct rig *rig, struct input *in)
{
	uint8_t how = byte(in);

	rig->deny.n = 0;
	if (how & 1)
		rig_add_prefix(&rig->deny, "198.51.100.0/24");
	rig->allow.n = 0;
	if (how & 2)
		rig_add_prefix(&rig->allow, "10.0.0.0/8");
	rig->conf.user_quota = how & 4 ? 2 : 0;
	rig->conf.user_bandwidth = how & 8 ? 1000 : 0;
	rig->conf.binding = how & 16 ? TURN_BINDING_YES : TURN_BINDING_AUTHENTICATED;
	rig->conf.public_ip4 = how & 32 ? rig_addr("203.0.113.9") : (struct addr){ 0 };
	rig->conf.relay_ip6 = how & 64 ? (struct addr){ 0 } : rig_addr("2001:4860::1");
	rig->conf.last_port = how & 128 ? 24003 : 24099;
	rig_users(rig, "pw-alice", how == 255 ? NULL : "pw-bob");
	RIG_MUST(rig_configure(rig) == 0);
}

static void close_one(struct rig *rig, struct guest *g, struct input *in)
{
	struct list *first = list_first(conn_list(rig->conns, CONN_ALLOCATION));
	struct conn *c = first ? CONTAINER_OF(first, struct conn, node) : NULL;

	if (byte(in) & 1)
		turn_server_client_gone(rig->s, &g->c, "gone");
	else if (c)
		c->close(c, "closed by administrator");
}

static void step(struct rig *rig, struct guest *guests, struct input *in)
{
	uint8_t what = byte(in);
	struct guest *g = &guests[what >> 4 & 3];

	switch (what & 15) {
	case 0:
		raw(g, in);
		break;
	case 1:
	case 2:
		ask_sealed(g, in);
		break;
	case 3:
	case 4:
	case 5:
		ask_well(g, in);
		break;
	case 6:
	case 7:
		speak(g, in);
		break;
	case 8:
	case 9:
		from_peer(rig, in);
		break;
	case 10:
		rig_wait_ms(rig, byte(in) * 4000);
		break;
	case 11:
		reconfigure(rig, in);
		break;
	case 12:
		close_one(rig, g, in);
		break;
	case 13:
		json_decref(turn_server_json(rig->s, 0, NULL));
		turn_server_stats_all(rig->s);
		break;
	case 14:
		rig->n_in_use = byte(in);
		rig->broken = byte(in) % 3;
		break;
	default:
		g->sha256 = !g->sha256;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct turn_server_ops ops = rig_ops;
	struct guest *guests = calloc(N_GUESTS, sizeof(*guests));
	struct rig *rig = rig_new_idle();

	ops.relay_send = send_checked;
	rig->s = turn_server_new(&rig->timers, rig->conns, rig->trace, &ops, rig);
	rig->conf.tcp_relays = true;
	RIG_MUST(guests && rig->s && rig_configure(rig) == 0);
	RIG_MUST(turn_server_set_tcp(rig->s, &tcp_ops, rig) == 0);
	guest_init(&guests[0], rig, "alice", "192.0.2.7:5000", TURN_UDP);
	guest_init(&guests[1], rig, "bob", "192.0.2.7:5000", TURN_TCP);
	guest_init(&guests[2], rig, "alice", "[2001:4860::99]:5000", TURN_UDP);
	guest_init(&guests[3], rig, "", "192.0.2.8:5000", TURN_TLS);
	guest_mint(&guests[3], rig->wall_s + 500, "carol");
	for (unsigned i = 0; i < N_GUESTS; i++)
		guest_hello(&guests[i]);
	for (unsigned i = 0; i < MAX_STEPS && in.n > 0; i++)
		step(rig, guests, &in);
	for (unsigned i = 0; i < N_GUESTS; i++)
		turn_server_client_gone(rig->s, &guests[i].c, "over");
	rig_free(rig);
	free(guests);
	return 0;
}
