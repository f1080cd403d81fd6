#ifndef TESTS_SUPPORT_TURN_RIG_H
#define TESTS_SUPPORT_TURN_RIG_H
/*
 * The TURN machine between scripted clients and peers: what it sends is noted, relays are numbers,
 * the clock is turned by hand. Used by scenario tests and the fuzz target, so it knows no cmocka.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/trace.h"
#include "proto/turn.h"
#include "turn/server_impl.h"

#define RIG_MUST(x)                                                             \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

#define RIG_REALM  "example.org"
#define RIG_SECRET "the shared secret"
enum { RIG_BYTES = 9000, RIG_N_SENT = 2, RIG_WALL_S = 1700000000 };

/* What came out, of either kind: the last ones. */
struct rig_sent {
	uint8_t p[RIG_BYTES + 64];
	size_t n;
	struct addr to;	  /* client or peer */
	struct addr from; /* relay; ADDR_NONE: to a client */
	bool lossy, dont_fragment;
};

struct rig {
	struct timerq timers;
	struct conn_table *conns;
	struct trace *trace;
	struct turn_credentials *credentials;
	struct turn_peer_policy policy;
	struct conf_prefixes allow, deny;
	struct addr_prefix allow_v[8], deny_v[8];
	struct addr own[4];
	struct turn_server_conf conf;
	struct turn_server *s;
	uint8_t *room; /* a packet lies at its end */
	int64_t wall_s;
	/* what was sent */
	struct rig_sent sent[RIG_N_SENT];
	size_t n_sent; /* ever */
	uint64_t bytes_to_clients;
	/* relays */
	struct turn_relay *relays[4096];
	size_t n_relays;
	unsigned n_in_use;   /* so many opens answer EADDRINUSE */
	int open_error;	     /* of every open; 0: none */
	uint8_t broken;	     /* opens of this family fail */
	bool stream_is_full; /* lossy messages are lost */
	unsigned n_over;     /* client_over calls */
	const struct turn_client *over;
	uint8_t salt; /* of transaction ids */
};

static inline struct addr rig_addr(const char *text)
{
	struct addr a;

	RIG_MUST(addr_parse(slice_of(text), 0, &a));
	return a;
}

static inline struct rig_sent *rig_note(struct rig *rig, const void *p, size_t n)
{
	struct rig_sent *out = &rig->sent[rig->n_sent++ % RIG_N_SENT];

	RIG_MUST(n <= sizeof(out->p));
	memcpy(out->p, p, n);
	out->n = n;
	out->lossy = out->dont_fragment = false;
	return out;
}

static inline bool rig_to_client(void *arg, const struct turn_client *c, const void *p, size_t n,
				 bool lossy)
{
	struct rig *rig = arg;
	struct rig_sent *out;

	if (lossy && rig->stream_is_full)
		return false;
	out = rig_note(rig, p, n);
	out->to = c->remote;
	out->from = (struct addr){ 0 };
	out->lossy = lossy;
	rig->bytes_to_clients += n;
	return true;
}

static inline int rig_relay_open(void *arg, struct turn_relay *r)
{
	struct rig *rig = arg;

	if (rig->open_error)
		return rig->open_error;
	if (rig->broken == r->local.family)
		return -EADDRNOTAVAIL;
	if (rig->n_in_use > 0) {
		rig->n_in_use--;
		return -EADDRINUSE;
	}
	for (size_t i = 0; i < rig->n_relays; i++)
		RIG_MUST(!addr_eq(&rig->relays[i]->local, &r->local));
	RIG_MUST(rig->n_relays < sizeof(rig->relays) / sizeof(rig->relays[0]));
	rig->relays[rig->n_relays++] = r;
	r->io = rig;
	return 0;
}

static inline void rig_relay_close(void *arg, struct turn_relay *r)
{
	struct rig *rig = arg;
	size_t i = 0;

	while (i < rig->n_relays && rig->relays[i] != r)
		i++;
	RIG_MUST(i < rig->n_relays && r->io == rig);
	rig->relays[i] = rig->relays[--rig->n_relays];
}

static inline void rig_relay_send(void *arg, struct turn_relay *r, const struct addr *to,
				  const void *p, size_t n, bool dont_fragment)
{
	struct rig_sent *out = rig_note(arg, p, n);

	out->to = *to;
	out->from = r->local;
	out->dont_fragment = dont_fragment;
}

static inline void rig_client_over(void *arg, const struct turn_client *c, const char *why)
{
	struct rig *rig = arg;

	RIG_MUST(!c->alloc && why);
	rig->n_over++;
	rig->over = c;
}

static inline int64_t rig_wall_s(void *arg)
{
	return ((struct rig *)arg)->wall_s;
}

static const struct turn_server_ops rig_ops = {
	.to_client = rig_to_client,
	.relay_open = rig_relay_open,
	.relay_close = rig_relay_close,
	.relay_send = rig_relay_send,
	.client_over = rig_client_over,
	.wall_s = rig_wall_s,
};

static inline int64_t rig_now(void *arg)
{
	return ((struct timerq *)arg)->now_ms;
}

static inline void rig_defaults(struct rig *rig)
{
	rig->conf = (struct turn_server_conf){
		.realm = RIG_REALM,
		.default_lifetime_s = 600,
		.max_lifetime_s = 3600,
		.nonce_ms = 600000,
		.permission_ms = 300000,
		.channel_ms = 600000,
		.quarantine_ms = 300000,
		.reservation_ms = 30000,
		.max_allocations = 1000,
		.max_permissions = 8,
		.max_channels = 8,
		.max_connections = 4,
		.last_channel = TURN_CHANNEL_LAST,
		.first_port = 24000,
		.last_port = 24099,
		.relay_ip4 = rig_addr("203.0.113.1"),
		.relay_ip6 = rig_addr("2001:4860::1"),
	};
	rig->own[0] = rig->conf.relay_ip4;
	rig->own[1] = rig->conf.relay_ip6;
	rig->allow.v = rig->allow_v;
	rig->deny.v = rig->deny_v;
	rig->policy = (struct turn_peer_policy){ .allow = &rig->allow,
						 .deny = &rig->deny,
						 .own = rig->own,
						 .n_own = 2,
						 .first_relay = 24000,
						 .last_relay = 24099 };
}

static inline void rig_add_prefix(struct conf_prefixes *list, const char *text)
{
	RIG_MUST(list->n < 8 && addr_prefix_parse(slice_of(text), &list->v[list->n]));
	list->n++;
}

static inline int rig_configure(struct rig *rig)
{
	return turn_server_configure(rig->s, &rig->conf, rig->credentials, &rig->policy);
}

/* Users of the configuration: alice and bob, whose passwords are "pw-alice" and "pw-bob". */
static inline void rig_users(struct rig *rig, const char *alice, const char *bob)
{
	turn_credentials_begin(rig->credentials);
	if (alice)
		turn_credentials_add(rig->credentials, SLICE("alice"), slice_of(alice));
	if (bob)
		turn_credentials_add(rig->credentials, SLICE("bob"), slice_of(bob));
	turn_credentials_end(rig->credentials);
}

static inline void rig_stop(struct rig *rig)
{
	turn_server_free(rig->s);
	rig->s = NULL;
	RIG_MUST(rig->n_relays == 0);
	RIG_MUST(conn_count(rig->conns, CONN_ALLOCATION) == 0);
}

/* Everything but the server, which only the sweep of failing allocations starts by itself. */
static inline struct rig *rig_new_idle(void)
{
	static const uint8_t seed[16] = "0123456789abcde";
	struct rig *rig = calloc(1, sizeof(*rig));

	RIG_MUST(rig);
	timerq_init(&rig->timers, 1000000);
	rig->wall_s = RIG_WALL_S;
	rig->conns = conn_table_new(5000, 8, rig_now, &rig->timers);
	rig->trace = trace_new(32, rig_now, &rig->timers);
	rig->credentials = turn_credentials_new(seed);
	rig->room = malloc(UDP_HEADROOM + RIG_BYTES + UDP_TAILROOM);
	RIG_MUST(rig->conns && rig->trace && rig->credentials && rig->room);
	RIG_MUST(turn_credentials_set_realm(rig->credentials, SLICE(RIG_REALM)) == 0);
	rig_users(rig, "pw-alice", "pw-bob");
	RIG_MUST(turn_credentials_put_secret(rig->credentials, 0, SLICE("x"), SLICE(RIG_SECRET),
					     0) == 0);
	rig_defaults(rig);
	return rig;
}

static inline struct rig *rig_new(void)
{
	struct rig *rig = rig_new_idle();

	rig->s = turn_server_new(&rig->timers, rig->conns, rig->trace, &rig_ops, rig);
	RIG_MUST(rig->s && rig_configure(rig) == 0);
	return rig;
}

static inline void rig_free(struct rig *rig)
{
	rig_stop(rig);
	RIG_MUST(rig->timers.n == 0);
	timerq_fini(&rig->timers);
	turn_credentials_free(rig->credentials);
	trace_free(rig->trace);
	conn_table_free(rig->conns);
	free(rig->room);
	free(rig);
}

/* Time passes, in steps as the loop would make them. */
static inline void rig_wait_ms(struct rig *rig, int64_t ms)
{
	rig->wall_s += ms / 1000;
	timerq_run(&rig->timers, rig->timers.now_ms + ms);
}

static inline const struct rig_sent *rig_last(const struct rig *rig)
{
	return &rig->sent[(rig->n_sent - 1) % RIG_N_SENT];
}

/* A packet with just the room around it that was promised. */
static inline struct udp_packet rig_packet(struct rig *rig, const void *p, size_t n)
{
	struct udp_packet pkt = { .n = n };

	RIG_MUST(n <= RIG_BYTES);
	pkt.p = rig->room + UDP_HEADROOM + RIG_BYTES - n;
	if (n > 0)
		memcpy(pkt.p, p, n);
	return pkt;
}

static inline void rig_client_sends(struct rig *rig, struct turn_client *c, const void *p, size_t n)
{
	struct udp_packet pkt = rig_packet(rig, p, n);

	pkt.from = c->remote;
	turn_server_client_input(rig->s, c, &pkt);
}

static inline void rig_peer_sends(struct rig *rig, struct turn_relay *r, const char *from,
				  const char *text)
{
	struct udp_packet pkt = rig_packet(rig, text, strlen(text));

	pkt.from = rig_addr(from);
	turn_server_peer_input(rig->s, r, &pkt);
}

/* --- clients --- */

struct guest {
	struct rig *rig;
	struct turn_client c;
	char user[64], password[64];
	char nonce[128];
	size_t n_nonce;
	bool sha256;	    /* PASSWORD-ALGORITHM SHA-256 and MESSAGE-INTEGRITY-SHA256 */
	bool no_algorithms; /* as clients before RFC 8489 */
	uint8_t tid[STUN_TID_BYTES];
	uint8_t out[2048]; /* the message under work */
	struct stun_build b;
	struct stun_msg in; /* the answer, in *got */
	struct rig_sent got;
};

static inline void guest_init(struct guest *g, struct rig *rig, const char *user,
			      const char *remote, enum turn_transport transport)
{
	*g = (struct guest){ .rig = rig };
	snprintf(g->user, sizeof(g->user), "%s", user);
	snprintf(g->password, sizeof(g->password), "pw-%s", user);
	g->c.remote = rig_addr(remote);
	g->c.local = rig_addr(g->c.remote.family == ADDR_IP4 ? "203.0.113.1:3478"
							     : "[2001:4860::1]:3478");
	g->c.transport = transport;
	g->c.io = rig;
}

/* As C would have given it. */
static inline void guest_mint(struct guest *g, int64_t expiry, const char *person)
{
	snprintf(g->user, sizeof(g->user), "%lld:%s", (long long)expiry, person);
	turn_credentials_password(SLICE(RIG_SECRET), slice_of(g->user), g->password);
}

static inline struct slice guest_key(const struct guest *g, uint8_t key[STUN_KEY_BYTES])
{
	if (g->sha256)
		stun_key_sha256(slice_of(g->user), SLICE(RIG_REALM), slice_of(g->password), key);
	else
		stun_key_md5(slice_of(g->user), SLICE(RIG_REALM), slice_of(g->password), key);
	return (struct slice){ (const char *)key, g->sha256 ? 32 : 16 };
}

static inline void guest_start(struct guest *g, uint16_t method)
{
	uint32_t n = (uint32_t)g->rig->n_sent + ++g->rig->salt * 65536u;

	for (size_t i = 0; i < STUN_TID_BYTES; i++)
		g->tid[i] = (uint8_t)(n >> (i % 4 * 8));
	stun_build_start(&g->b, g->out, sizeof(g->out), STUN_CLASS_REQUEST, method, g->tid);
}

static inline void guest_starts_allocate(struct guest *g)
{
	static const uint8_t udp[4] = { STUN_TRANSPORT_UDP };

	guest_start(g, STUN_METHOD_ALLOCATE);
	stun_build_attr(&g->b, STUN_ATTR_REQUESTED_TRANSPORT, udp, sizeof(udp));
}

static inline void guest_byte(struct guest *g, uint16_t type, uint8_t v, size_t n)
{
	uint8_t raw[4] = { v };

	stun_build_attr(&g->b, type, raw, n);
}

static inline void guest_peer(struct guest *g, const char *peer)
{
	struct addr a = rig_addr(peer);

	stun_build_xor_addr(&g->b, STUN_ATTR_XOR_PEER_ADDRESS, &a);
}

/* Without integrity: the attributes of a credential. */
static inline void guest_names(struct guest *g)
{
	static const uint16_t algorithms[] = { STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5 };

	stun_build_slice(&g->b, STUN_ATTR_USERNAME, slice_of(g->user));
	stun_build_slice(&g->b, STUN_ATTR_REALM, SLICE(RIG_REALM));
	stun_build_attr(&g->b, STUN_ATTR_NONCE, g->nonce, g->n_nonce);
	if (g->no_algorithms)
		return;
	stun_build_algorithms(&g->b, algorithms, 2);
	stun_build_algorithm(&g->b, g->sha256 ? STUN_ALGORITHM_SHA256 : STUN_ALGORITHM_MD5);
}

static inline void guest_seal(struct guest *g)
{
	uint8_t key[STUN_KEY_BYTES];
	struct slice k = guest_key(g, key);

	if (g->sha256)
		stun_build_integrity256(&g->b, k);
	else
		stun_build_integrity(&g->b, k);
}

/* 0: no answer; 200; or the code of the error. A fresh nonce is kept. Answers to sealed requests
 * must be sealed with the same key, but for the questions. */
static inline unsigned guest_asks_plain(struct guest *g)
{
	size_t before = g->rig->n_sent;
	struct stun_attr a;
	struct slice reason;
	unsigned code = 200;

	RIG_MUST(stun_build_end(&g->b) > 0);
	rig_client_sends(g->rig, &g->c, g->out, g->b.n);
	if (g->rig->n_sent == before)
		return 0;
	g->got = *rig_last(g->rig);
	RIG_MUST(g->got.from.family == ADDR_NONE && addr_eq(&g->got.to, &g->c.remote));
	RIG_MUST(!g->got.lossy && stun_decode(g->got.p, g->got.n, &g->in) == 0);
	RIG_MUST(memcmp(g->in.tid, g->out + 8, STUN_TID_BYTES) == 0);
	if (g->in.class == STUN_CLASS_ERROR) {
		RIG_MUST(stun_attr_find(&g->in, STUN_ATTR_ERROR_CODE, &a));
		RIG_MUST(stun_attr_error(&a, &code, &reason));
	} else {
		RIG_MUST(g->in.class == STUN_CLASS_SUCCESS);
	}
	if (stun_attr_find(&g->in, STUN_ATTR_NONCE, &a)) {
		RIG_MUST(a.n < sizeof(g->nonce));
		memcpy(g->nonce, a.p, a.n);
		g->n_nonce = a.n;
	}
	return code;
}

static inline bool guest_is_answer_sealed(const struct guest *g)
{
	uint8_t key[STUN_KEY_BYTES];
	struct slice k = guest_key(g, key);

	return (g->sha256 ? stun_integrity256_check(&g->in, k) : stun_integrity_check(&g->in, k)) ==
	       0;
}

static inline unsigned guest_asks(struct guest *g)
{
	unsigned code;

	guest_names(g);
	guest_seal(g);
	code = guest_asks_plain(g);
	/* Binding is answered without a look at the credential where strangers may ask too. */
	if (code && code != 401 && code != 438 && g->in.method != STUN_METHOD_BINDING)
		RIG_MUST(guest_is_answer_sealed(g) || code == 400);
	return code;
}

/* Fetches a nonce. */
static inline void guest_hello(struct guest *g)
{
	guest_starts_allocate(g);
	RIG_MUST(guest_asks_plain(g) == 401 && g->n_nonce > 0);
}

static inline unsigned guest_allocates(struct guest *g)
{
	if (g->n_nonce == 0)
		guest_hello(g);
	guest_starts_allocate(g);
	return guest_asks(g);
}

/* An allocation for sure. */
static inline void guest_enters(struct guest *g, struct rig *rig, const char *user,
				const char *remote)
{
	guest_init(g, rig, user, remote, TURN_UDP);
	RIG_MUST(guest_allocates(g) == 200);
}

static inline unsigned guest_permits(struct guest *g, const char *peer)
{
	guest_start(g, STUN_METHOD_CREATE_PERMISSION);
	guest_peer(g, peer);
	return guest_asks(g);
}

static inline unsigned guest_binds(struct guest *g, uint16_t number, const char *peer)
{
	guest_start(g, STUN_METHOD_CHANNEL_BIND);
	stun_build_channel(&g->b, number);
	guest_peer(g, peer);
	return guest_asks(g);
}

static inline unsigned guest_refreshes(struct guest *g, uint32_t lifetime_s)
{
	guest_start(g, STUN_METHOD_REFRESH);
	stun_build_u32(&g->b, STUN_ATTR_LIFETIME, lifetime_s);
	return guest_asks(g);
}

static inline uint32_t guest_u32(const struct guest *g, uint16_t type)
{
	struct stun_attr a;
	uint32_t v;

	RIG_MUST(stun_attr_find(&g->in, type, &a) && stun_attr_u32(&a, &v));
	return v;
}

static inline struct addr guest_addr(const struct guest *g, uint16_t type)
{
	struct stun_attr a;
	struct addr out;

	RIG_MUST(stun_attr_find(&g->in, type, &a) && stun_attr_xor_addr(&g->in, &a, &out));
	return out;
}

/* Did the message make a packet to a peer? */
static inline bool guest_says_on_channel(struct guest *g, uint16_t number, const char *text)
{
	size_t n = strlen(text), before = g->rig->n_sent;
	uint8_t raw[1024];

	turn_channel_header(raw, number, n);
	memcpy(raw + TURN_CHANNEL_HEADER_BYTES, text, n);
	rig_client_sends(g->rig, &g->c, raw, TURN_CHANNEL_HEADER_BYTES + n);
	return g->rig->n_sent > before && rig_last(g->rig)->from.family != ADDR_NONE;
}

static inline void guest_starts_send(struct guest *g)
{
	guest_start(g, STUN_METHOD_SEND);
	stun_build_start(&g->b, g->out, sizeof(g->out), STUN_CLASS_INDICATION, STUN_METHOD_SEND,
			 g->tid);
}

static inline bool guest_ends_send(struct guest *g)
{
	size_t before = g->rig->n_sent;

	RIG_MUST(stun_build_end(&g->b) > 0);
	rig_client_sends(g->rig, &g->c, g->out, g->b.n);
	return g->rig->n_sent > before;
}

static inline bool guest_says(struct guest *g, const char *peer, const char *text)
{
	guest_starts_send(g);
	guest_peer(g, peer);
	stun_build_slice(&g->b, STUN_ATTR_DATA, slice_of(text));
	return guest_ends_send(g);
}

/* The relay of an allocation. */
static inline struct turn_relay *guest_relay(const struct guest *g)
{
	return &turn_alloc_find(g->rig->s, &g->c)->relays[0];
}

static inline bool rig_traced(const struct rig *rig, const char *code)
{
	return trace_count(rig->trace, code) > 0;
}

#endif
