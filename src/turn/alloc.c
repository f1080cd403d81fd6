/*
 * Life of an allocation (RFC 8656 sections 3.2 and 7 to 9), its relays, permissions and channels.
 *
 *   new --enter--> in both tables --expiry, Refresh 0, close, stream gone, configure--> end
 */
#include "turn/alloc.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "core/trace.h"
#include "turn/server_impl.h"

static struct turn_tuple tuple_of(const struct turn_client *c)
{
	struct turn_tuple t = { .remote = c->remote, .local = c->local, .transport = c->transport };

	return t;
}

struct turn_alloc *turn_alloc_find(struct turn_server *s, const struct turn_client *c)
{
	struct turn_tuple t;
	struct htab_node *node;

	if (c->transport != TURN_UDP)
		return c->alloc;
	t = tuple_of(c);
	if (s->last && memcmp(&s->last->tuple, &t, sizeof(t)) == 0)
		return s->last;
	node = htab_get(&s->allocs, (struct slice){ (const char *)&t, sizeof(t) });
	if (!node)
		return NULL;
	s->last = CONTAINER_OF(node, struct turn_alloc, node);
	return s->last;
}

static void close_conn(struct conn *c, const char *reason)
{
	turn_alloc_end(CONTAINER_OF(c, struct turn_alloc, conn), reason, false);
}

static void fire(void *arg)
{
	struct turn_alloc *a = arg;
	int64_t now = turn_now(a->server);

	if (turn_alloc_left_ms(a) <= 0) {
		turn_alloc_end(a, "expired", false);
		return;
	}
	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc && a->relays[i].expires_ms <= now)
			turn_relay_drop(&a->relays[i]);
	}
	turn_alloc_rearm(a);
}

static void describe(struct turn_alloc *a, const struct turn_request *q)
{
	static const enum conn_transport transports[] = {
		[TURN_UDP] = CONN_UDP,
		[TURN_TCP] = CONN_TCP,
		[TURN_TLS] = CONN_TLS,
	};

	a->conn.kind = CONN_ALLOCATION;
	a->conn.transport = transports[q->c->transport];
	a->conn.parent = q->c->conn_id;
	a->conn.remote = q->c->remote;
	a->conn.state = "allocated";
	a->conn.close = close_conn;
	slice_copy(a->conn.user, sizeof(a->conn.user),
		   turn_credentials_person(q->s->credentials, q->user));
}

struct turn_alloc *turn_alloc_new(const struct turn_request *q)
{
	struct turn_alloc *a = calloc(1, sizeof(*a));

	if (!a || !(a->user = slice_dup(q->user))) {
		free(a);
		return NULL;
	}
	a->server = q->s;
	a->tuple = tuple_of(q->c);
	a->client = *q->c;
	a->client_of = q->c->transport == TURN_UDP ? &a->client : q->c;
	a->is_static = q->key.is_static;
	a->key_sha256 = q->key_sha256;
	memcpy(a->key, q->key.key, q->key.n);
	a->key_n = q->key.n;
	memcpy(a->tid, q->msg.tid, sizeof(a->tid));
	list_init(&a->connections);
	timer_init(&a->timer, fire, a);
	describe(a, q);
	return a;
}

int turn_alloc_enter(struct turn_alloc *a)
{
	int err;

	a->conn.local = a->relays[0].relayed;
	err = conn_add(a->server->conns, &a->conn);
	if (err < 0)
		return err == -ENOSPC ? -EMLINK : err; /* not to be mistaken for "no port" */
	htab_add(&a->server->allocs, &a->node);
	if (a->client_of != &a->client)
		a->client_of->alloc = a;
	turn_alloc_rearm(a);
	a->server->counters.n_allocated++;
	return 0;
}

static void leave(struct turn_alloc *a, const char *why)
{
	timer_stop(a->server->timers, &a->timer);
	htab_del(&a->server->allocs, &a->node);
	if (a->server->last == a)
		a->server->last = NULL;
	if (a->tcp && a->server->tcp)
		a->server->tcp->ended(a, why);
	conn_end(a->server->conns, &a->conn, "%s", why);
	if (a->client_of != &a->client)
		a->client_of->alloc = NULL;
}

void turn_alloc_free(struct turn_alloc *a)
{
	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc)
			turn_relay_drop(&a->relays[i]);
	}
	if (a->use)
		turn_usage_leave(&a->server->usage, a->use);
	OPENSSL_cleanse(a->key, sizeof(a->key));
	free(a->permissions);
	free(a->channels);
	free(a->user);
	free(a);
}

void turn_alloc_end(struct turn_alloc *a, const char *why, bool by_client)
{
	struct turn_server *s = a->server;
	struct turn_client *stream = a->client_of != &a->client ? a->client_of : NULL;

	leave(a, why);
	turn_alloc_free(a);
	if (stream && !by_client)
		s->ops->client_over(s->arg, stream, why);
}

struct turn_relay *turn_alloc_relay(struct turn_alloc *a, uint8_t family)
{
	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc && a->relays[i].local.family == family)
			return &a->relays[i];
	}
	return NULL;
}

void turn_relay_drop(struct turn_relay *r)
{
	struct turn_server *s = r->alloc->server;

	s->ops->relay_close(s->arg, r);
	turn_ports_put(s->ports[r->local.family - ADDR_IP4], r->local.port);
	*r = (struct turn_relay){ 0 };
}

void turn_alloc_rearm(struct turn_alloc *a)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc && a->relays[i].expires_ms < next)
			next = a->relays[i].expires_ms;
	}
	timer_start(a->server->timers, &a->timer, next - turn_now(a->server));
}

int64_t turn_alloc_left_ms(const struct turn_alloc *a)
{
	int64_t last = 0, now = turn_now(a->server);

	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc && a->relays[i].expires_ms - now > last)
			last = a->relays[i].expires_ms - now;
	}
	return last;
}

/* --- what configure() asks of the living --- */

static bool user_stays(const struct turn_alloc *a)
{
	const struct turn_server *s = a->server;
	struct turn_key keys[TURN_MAX_KEYS];
	const char *why;
	bool stays = false;
	size_t n;

	if (!a->is_static)
		return true;
	n = turn_credentials_keys(s->credentials, slice_of(a->user), a->key_sha256,
				  s->ops->wall_s(s->arg), 0, keys, &why);
	for (size_t i = 0; i < n; i++)
		stays = stays || (keys[i].n == a->key_n &&
				  CRYPTO_memcmp(keys[i].key, a->key, a->key_n) == 0);
	OPENSSL_cleanse(keys, sizeof(keys));
	return stays;
}

static bool relay_stays(const struct turn_relay *r)
{
	const struct turn_server_conf *conf = &r->alloc->server->conf;
	const struct addr *ours = r->local.family == ADDR_IP4 ? &conf->relay_ip4 : &conf->relay_ip6;
	struct addr relayed = turn_public_of(r->alloc->server, &r->local);

	return addr_ip_eq(&r->local, ours) && addr_eq(&r->relayed, &relayed);
}

static bool peer_stays(struct turn_alloc *a, const struct addr *peer, bool *own)
{
	struct turn_peer_verdict v;
	char text[ADDR_STR_BYTES];

	turn_peer_check(a->server->policy, peer, &v);
	*own = v.own;
	if (!v.allowed)
		trace_add(a->server->trace, "turn.peer.denied", v.decided_by, &a->conn.remote, NULL,
			  "new settings take peer %s from user %s: %s", addr_str(peer, text),
			  a->user, v.why);
	return v.allowed;
}

static void recheck_peers(struct turn_alloc *a)
{
	uint16_t n = 0;
	bool own;

	for (uint16_t i = 0; i < a->n_permissions; i++) {
		struct turn_permission *p = &a->permissions[i];

		if (peer_stays(a, &p->peer, &p->own))
			a->permissions[n++] = *p;
	}
	a->n_permissions = n;
	n = 0;
	for (uint16_t i = 0; i < a->n_channels; i++) {
		struct turn_channel *ch = &a->channels[i];

		if (!peer_stays(a, &ch->peer, &own))
			continue;
		ch->wire = turn_wire_of(a->server, &ch->peer);
		a->channels[n++] = *ch;
	}
	a->n_channels = n;
}

void turn_alloc_recheck(struct turn_alloc *a)
{
	if (!user_stays(a)) {
		turn_alloc_end(a, "the user is gone or has another password", false);
		return;
	}
	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc && !relay_stays(&a->relays[i])) {
			turn_alloc_end(a, "the relay address is not ours any more", false);
			return;
		}
	}
	if (a->tcp && !a->server->conf.tcp_relays) {
		turn_alloc_end(a, "[turn] tcp-relays = no", false);
		return;
	}
	recheck_peers(a);
	if (a->tcp && a->server->tcp)
		a->server->tcp->recheck(a);
}
