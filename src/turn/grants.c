/*
 * What an allocation was granted: permissions (RFC 8656 section 9) and channels (section 12). Small
 * arrays that are looked through: an allocation has a handful of them, and their number is bounded.
 */
#include <errno.h>
#include <stdlib.h>

#include "turn/server_impl.h"

struct addr turn_public_of(const struct turn_server *s, const struct addr *wire)
{
	const struct turn_server_conf *conf = &s->conf;
	const struct addr *local = wire->family == ADDR_IP4 ? &conf->relay_ip4 : &conf->relay_ip6;
	struct addr out = wire->family == ADDR_IP4 ? conf->public_ip4 : conf->public_ip6;

	if (out.family == ADDR_NONE || !addr_ip_eq(wire, local))
		return *wire;
	out.port = wire->port;
	return out;
}

struct addr turn_wire_of(const struct turn_server *s, const struct addr *named)
{
	const struct turn_server_conf *conf = &s->conf;
	const struct addr *seen = named->family == ADDR_IP4 ? &conf->public_ip4 : &conf->public_ip6;
	struct addr out = named->family == ADDR_IP4 ? conf->relay_ip4 : conf->relay_ip6;

	if (seen->family == ADDR_NONE || !addr_ip_eq(named, seen))
		return *named;
	out.port = named->port;
	return out;
}

/* Room for one more in an array of n elements of `size` bytes. */
static int make_room(void **p, uint16_t n, uint16_t *cap, uint32_t bound, size_t size)
{
	uint32_t want = n < 2 ? 2 : 2u * n;
	void *more;

	if (n >= bound || n == UINT16_MAX)
		return -ENOSPC;
	if (n < *cap)
		return 0;
	want = want < bound ? want : bound;
	want = want < UINT16_MAX ? want : UINT16_MAX;
	more = realloc(*p, want * size);
	if (!more)
		return -ENOMEM;
	*p = more;
	*cap = (uint16_t)want;
	return 0;
}

static struct turn_permission *find_permission(struct turn_alloc *a, const struct addr *peer)
{
	for (uint16_t i = 0; i < a->n_permissions; i++) {
		if (addr_ip_eq(&a->permissions[i].peer, peer))
			return &a->permissions[i];
	}
	return NULL;
}

struct turn_permission *turn_permission_find(struct turn_alloc *a, const struct addr *peer)
{
	struct turn_permission *p = find_permission(a, peer);

	return p && turn_now(a->server) < p->expires_ms ? p : NULL;
}

bool turn_permission_allows(struct turn_alloc *a, const struct addr *peer)
{
	const struct turn_permission *p = turn_permission_find(a, peer);
	struct turn_peer_verdict v;

	if (!p || !p->own)
		return p != NULL;
	turn_peer_check(a->server->policy, peer, &v);
	return v.allowed;
}

void turn_permissions_sweep(struct turn_alloc *a)
{
	int64_t now = turn_now(a->server);
	uint16_t n = 0;

	for (uint16_t i = 0; i < a->n_permissions; i++) {
		if (now < a->permissions[i].expires_ms)
			a->permissions[n++] = a->permissions[i];
	}
	a->n_permissions = n;
}

int turn_permission_prepare(struct turn_alloc *a, const struct addr *peer)
{
	int err;

	if (find_permission(a, peer))
		return 0;
	err = make_room((void **)&a->permissions, a->n_permissions, &a->max_permissions,
			a->server->conf.max_permissions, sizeof(*a->permissions));
	if (err < 0)
		return err;
	a->permissions[a->n_permissions] = (struct turn_permission){ .peer = *peer };
	a->permissions[a->n_permissions++].peer.port = 0;
	return 0;
}

void turn_permission_renew(struct turn_alloc *a, const struct addr *peer, bool own)
{
	struct turn_permission *p = find_permission(a, peer);

	if (!p)
		return;
	p->own = own;
	p->expires_ms = turn_now(a->server) + a->server->conf.permission_ms;
}

struct turn_channel *turn_channel_by_number(struct turn_alloc *a, uint16_t number)
{
	for (uint16_t i = 0; i < a->n_channels; i++) {
		if (a->channels[i].number == number)
			return &a->channels[i];
	}
	return NULL;
}

struct turn_channel *turn_channel_by_wire(struct turn_alloc *a, const struct addr *wire)
{
	for (uint16_t i = 0; i < a->n_channels; i++) {
		if (a->channels[i].wire.port == wire->port && addr_eq(&a->channels[i].wire, wire))
			return &a->channels[i];
	}
	return NULL;
}

void turn_channels_sweep(struct turn_alloc *a)
{
	int64_t rested = turn_now(a->server) - a->server->conf.quarantine_ms;
	uint16_t n = 0;

	for (uint16_t i = 0; i < a->n_channels; i++) {
		if (rested < a->channels[i].expires_ms)
			a->channels[n++] = a->channels[i];
	}
	a->n_channels = n;
}

int turn_channel_add(struct turn_alloc *a, uint16_t number, const struct addr *peer)
{
	int err = make_room((void **)&a->channels, a->n_channels, &a->max_channels,
			    a->server->conf.max_channels, sizeof(*a->channels));

	if (err < 0)
		return err;
	a->channels[a->n_channels++] = (struct turn_channel){
		.number = number,
		.peer = *peer,
		.wire = turn_wire_of(a->server, peer),
		.expires_ms = turn_now(a->server) + a->server->conf.channel_ms,
	};
	return 0;
}
