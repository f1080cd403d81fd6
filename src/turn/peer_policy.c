#include "turn/peer_policy.h"

#include <stdio.h>
#include <string.h>

#define DENY  "[turn] deny-peers"
#define ALLOW "[turn] allow-peers"
#define OWN   "own address"

static const struct addr_prefix *match(const struct conf_prefixes *prefixes, const struct addr *a)
{
	for (size_t i = 0; prefixes && i < prefixes->n; i++) {
		if (addr_in_prefix(a, &prefixes->v[i]))
			return &prefixes->v[i];
	}
	return NULL;
}

static bool is_one_of(const struct addr *list, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++) {
		if (addr_ip_eq(&list[i], a))
			return true;
	}
	return false;
}

static void decide(struct turn_peer_verdict *out, bool allowed, const char *by)
{
	out->allowed = allowed;
	out->decided_by = by;
}

static void by_rule(struct turn_peer_verdict *out, bool allowed, const char *by,
		    const struct addr_prefix *rule)
{
	char ip[ADDR_STR_BYTES];

	decide(out, allowed, by);
	snprintf(out->why, sizeof(out->why), "%s/%u", addr_ip_str(&rule->net, ip), rule->bits);
}

/* first 0: no range. port 0 asks whether there is any port at all. */
static bool port_in(uint16_t port, uint16_t first, uint16_t last)
{
	return first > 0 && (port == 0 || (port >= first && port <= last));
}

/* Loopback is an address of relays only when it is said so. */
static bool has_relays(const struct turn_peer_policy *p, const struct addr *own)
{
	return p->relays ? is_one_of(p->relays, p->n_relays, own)
			 : addr_class(own) != ADDR_LOOPBACK;
}

/* Names one host: whoever writes an address of this very host means it. */
static bool is_single(const struct addr_prefix *rule)
{
	return rule->bits == (rule->net.family == ADDR_IP6 ? 128 : 32);
}

/* Is asked for each packet to an own address: nothing is printed when it may go. */
static void judge_own(const struct turn_peer_policy *p, const struct addr *peer,
		      struct turn_peer_verdict *out)
{
	bool relays = has_relays(p, peer);
	char text[ADDR_STR_BYTES];

	out->own = true;
	decide(out, true, OWN);
	if (relays && port_in(peer->port, p->first_relay, p->last_relay))
		strcpy(out->why, "a relay's port");
	else if ((relays || addr_class(peer) != ADDR_LOOPBACK) &&
		 port_in(peer->port, p->first_media, p->last_media))
		strcpy(out->why, "a media port");
	else
		out->allowed = false;
	if (!out->allowed)
		snprintf(out->why, sizeof(out->why), "%s is no port of a relay or of media",
			 addr_str(peer, text));
}

/* Loopback is behind no rule that was not written for it: 0.0.0.0/0 among allow-peers opens what is
 * inside, not this host. The other three are no peers at all. */
static bool may_be_allowed(enum addr_class class, const struct addr_prefix *rule)
{
	switch (class) {
	case ADDR_UNSPECIFIED:
	case ADDR_MULTICAST:
	case ADDR_BROADCAST:
		return false;
	case ADDR_LOOPBACK:
		return rule->bits >= 8 && addr_class(&rule->net) == ADDR_LOOPBACK;
	default:
		return true;
	}
}

static const struct addr_prefix *allow_rule(const struct turn_peer_policy *p,
					    const struct addr *peer, enum addr_class class)
{
	for (size_t i = 0; p->allow && i < p->allow->n; i++) {
		const struct addr_prefix *rule = &p->allow->v[i];

		if (addr_in_prefix(peer, rule) && may_be_allowed(class, rule))
			return rule;
	}
	return NULL;
}

/* Rules first, then what kind of address it is. */
static void judge(const struct turn_peer_policy *p, const struct addr *peer,
		  struct turn_peer_verdict *out)
{
	enum addr_class class = addr_class(peer);
	const struct addr_prefix *allow = allow_rule(p, peer, class);
	char ip[ADDR_STR_BYTES];

	if (allow) {
		by_rule(out, true, ALLOW, allow);
		return;
	}
	decide(out, class == ADDR_GLOBAL, addr_class_str(class));
	if (!out->allowed)
		snprintf(out->why, sizeof(out->why), "%s address %s", out->decided_by,
			 addr_ip_str(peer, ip));
}

/* What an IPv6 address carries must pass by itself, and may never be this host: nothing that we
 * relay has to go out and come back to reach us. */
static void judge_inner(const struct turn_peer_policy *p, const struct addr *inner,
			struct turn_peer_verdict *out)
{
	const struct addr_prefix *deny = match(p->deny, inner);
	struct turn_peer_verdict v = { .allowed = false };
	char ip[ADDR_STR_BYTES];

	if (deny) {
		by_rule(out, false, DENY, deny);
	} else if (is_one_of(p->own, p->n_own, inner)) {
		decide(out, false, OWN);
		snprintf(out->why, sizeof(out->why), "%s inside of an IPv6 address",
			 addr_ip_str(inner, ip));
	} else {
		judge(p, inner, &v);
		if (!v.allowed)
			*out = v;
	}
}

void turn_peer_check(const struct turn_peer_policy *p, const struct addr *peer,
		     struct turn_peer_verdict *out)
{
	const struct addr_prefix *deny, *allow;
	struct sockaddr_storage ss;
	struct addr one, inner;

	*out = (struct turn_peer_verdict){ .allowed = false };
	if (peer->family == ADDR_IP6 && addr_to_sockaddr(peer, &ss) > 0) {
		/* The codecs do this already; here it costs little and depends on nobody. */
		one = addr_from_sockaddr((const struct sockaddr *)&ss);
		peer = &one;
	}
	deny = match(p->deny, peer);
	if (deny) {
		by_rule(out, false, DENY, deny);
		return;
	}
	if (is_one_of(p->own, p->n_own, peer)) {
		judge_own(p, peer, out);
		allow = match(p->allow, peer);
		if (!out->allowed && allow && is_single(allow))
			by_rule(out, true, ALLOW, allow);
		return;
	}
	judge(p, peer, out);
	if (out->allowed && addr_embedded_ip4(peer, &inner))
		judge_inner(p, &inner, out);
}
