#include "sip/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/net.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "sip/sip.h"

bool sip_is_us(struct sip *s, const struct side *from, struct slice uri)
{
	const struct system_conf *sys = conf_get(s->snap, "system", NULL);
	struct sip_uri u;
	struct addr a;
	char host[256];

	if (!sip_uri_parse(uri, &u))
		return false;
	if (slice_caseeq(u.host, slice_of(sys->name)))
		return true;
	/* Phones set to a domain put it into their Route. */
	if (from->role == FLOW_OUTSIDE && slice_copy(host, sizeof(host), u.host) &&
	    conf_get(s->snap, "domain", host))
		return true;
	if (!addr_parse_ip(u.host, 0, &a))
		return false;
	return addr_ip_eq(&a, &from->local) ||
	       (s->conf->public_address.family && addr_ip_eq(&a, &s->conf->public_address)) ||
	       net_is_own_ip(&a);
}

const char *sip_source_zone(struct sip *s, const struct side *from)
{
	const char *zone = from->zone;

	if (from->role == FLOW_OUTSIDE)
		return "default";
	if (!*zone)
		zone = zone_peers_of_addr(s->zones, &from->remote);
	return *zone ? zone : "default";
}

/* What the Route headers say: our own entries are taken off, a token among them is kept. */
struct route_walk {
	enum { WALK_NONE, WALK_TOKEN, WALK_FORGED, WALK_FOREIGN } kind;
	struct token token;
	struct slice foreign;
};

static void walk_routes(struct sip *s, const struct side *from, const struct sip_msg *m,
			struct route_walk *w, struct target *out)
{
	const struct sip_hdr *h = NULL;
	struct buf rest;

	*w = (struct route_walk){ .kind = WALK_NONE };
	buf_init(&rest, TARGET_ROUTES_BYTES - 1);
	while ((h = sip_msg_next(m, SIP_HDR_ROUTE, h))) {
		struct sip_addr a;
		struct sip_uri u;

		if (w->kind == WALK_TOKEN) {
			buf_printf(&rest, "%s%.*s", rest.n ? ", " : "", SLICE_ARG(h->value));
			continue;
		}
		if (!sip_addr_parse(h->value, &a) || !sip_uri_parse(a.uri, &u))
			continue;
		switch (u.user.n ? token_parse(u.user, s->token_key, &w->token) : TOKEN_NONE) {
		case TOKEN_OK:
			w->kind = WALK_TOKEN;
			break;
		case TOKEN_FORGED:
			w->kind = WALK_FORGED;
			goto out;
		default:
			if (!sip_is_us(s, from, a.uri)) {
				w->kind = WALK_FOREIGN;
				w->foreign = a.uri;
				goto out;
			}
		}
	}
	slice_copy(out->routes, sizeof(out->routes), buf_slice(&rest));
	if (rest.failed)
		w->kind = WALK_FORGED;
out:
	buf_fini(&rest);
}

/* E: the Path token of a phone outside. Only the link may use it (RFC 5626 5.3). */
static bool to_flow(struct sip *s, const struct side *from, const struct sip_msg *m,
		    const struct token *t, struct target *out, struct target_refusal *no)
{
	struct registration *r;
	struct flow *f;

	if (from->role != FLOW_TRAVERSAL_SERVER) {
		sip_refuse(s, no, 403, NULL, "sip.route.token-misused", "RFC 5626 flow token", from,
			   NULL, "a flow token came from a side that was never given one");
		return false;
	}
	f = t->boot == s->boot ? transport_flow(s->transport, t->id) : NULL;
	if (!f || flow_role(f) != FLOW_OUTSIDE || flow_state(f) != FLOW_OPEN) {
		sip_refuse(s, no, 430, "Flow Failed", "sip.route.flow-dead", "RFC 5626 flow token",
			   from, NULL, "the connection of the phone is gone");
		return false;
	}
	side_of_flow(f, &out->side);
	r = registration_on_flow(s->regs, t->id, SLICE_NONE);
	if (r) {
		slice_copy(out->session, sizeof(out->session), slice_of(r->conn.session));
		slice_copy(out->user, sizeof(out->user), slice_of(r->conn.user));
	}
	slice_copy(out->rule, sizeof(out->rule), SLICE("flow token"));
	return true;
}

static void registration_facts(struct target *out, const struct registration *r)
{
	slice_copy(out->session, sizeof(out->session), slice_of(r->conn.session));
	slice_copy(out->user, sizeof(out->user), slice_of(r->conn.user));
}

/* C: the Path token of a link. */
static bool to_link(struct sip *s, const struct side *from, const struct sip_msg *m,
		    const struct token *t, struct target *out, struct target_refusal *no)
{
	struct registration *r;
	struct buf aor;

	if (from->role != FLOW_INSIDE || strcmp(sip_source_zone(s, from), "default") == 0) {
		sip_refuse(s, no, 403, NULL, "sip.route.token-misused", "[zone] peers", from, NULL,
			   "a link token came from an address that is no peer of a zone");
		return false;
	}
	if (!zone_peers_link(s->zones, t->zone, (unsigned)t->id, &out->side)) {
		sip_refuse(s, no, 480, NULL, "sip.route.link-down", t->zone, from, NULL,
			   "the link to the edge that holds this phone is down");
		return false;
	}
	slice_copy(out->zone, sizeof(out->zone), slice_of(t->zone));
	buf_init(&aor, 1024);
	if (sip_uri_aor(m->to.uri, &aor)) {
		r = registration_find(s->regs, buf_slice(&aor), m->uri);
		if (r)
			registration_facts(out, r);
	}
	buf_fini(&aor);
	slice_copy(out->rule, sizeof(out->rule), SLICE("link token"));
	return true;
}

/* C, contact rewriting: the Request-URI names a registration. */
static bool to_registration(struct sip *s, const struct side *from, const struct token *t,
			    struct target *out, struct target_refusal *no)
{
	struct registration *r = t->boot == s->boot ? registration_get(s->regs, t->id) : NULL;

	if (!r || !r->link_zone[0] || !r->confirmed || r->link < 0) {
		sip_refuse(s, no, 404, NULL, "sip.route.registration-gone", "contact token", from,
			   NULL, "this rewritten contact is not registered any more");
		return false;
	}
	if (!zone_peers_link(s->zones, r->link_zone, (unsigned)r->link, &out->side)) {
		sip_refuse(s, no, 480, NULL, "sip.route.link-down", r->link_zone, from, NULL,
			   "the link to the edge that holds this phone is down");
		return false;
	}
	slice_copy(out->zone, sizeof(out->zone), slice_of(r->link_zone));
	slice_copy(out->uri, sizeof(out->uri), slice_of(r->contact));
	slice_copy(out->routes, sizeof(out->routes), slice_of(r->path));
	registration_facts(out, r);
	slice_copy(out->rule, sizeof(out->rule), SLICE("contact token"));
	return true;
}

/* Has the sender registered on this very connection, as who it says it is? */
static bool is_registered(struct sip *s, const struct side *from, const struct sip_msg *m)
{
	struct registration *r;
	struct buf aor;
	bool ok;

	buf_init(&aor, 1024);
	r = sip_uri_aor(m->from.uri, &aor)
		    ? registration_on_flow(s->regs, from->flow, buf_slice(&aor))
		    : NULL;
	ok = r && slice_eq(slice_of(r->conn.user), buf_slice(&aor));
	buf_fini(&aor);
	return ok;
}

/* Who calls from outside? Registered phones only; the PBX asks for the password besides. */
static bool may_enter(struct sip *s, const struct side *from, const struct sip_msg *m,
		      struct target_refusal *no)
{
	if (from->role != FLOW_OUTSIDE || s->conf->calls_from_outside == SIP_CALLS_ANY ||
	    is_registered(s, from, m))
		return true;
	sip_refuse(s, no, 403, NULL, "sip.outside.not-registered", "[sip] calls-from-outside", from,
		   NULL, "the sender has no registration on this connection");
	return false;
}

/* For rules that ask for it. C believes only what it sees itself: that the sender's AOR is
 * registered by this link. */
static bool is_authenticated(struct sip *s, const struct side *from, const struct sip_msg *m)
{
	if (from->role == FLOW_INSIDE)
		return strcmp(sip_source_zone(s, from), "default") != 0;
	return is_registered(s, from, m);
}

static void refuse_search(struct sip *s, const struct side *from, const struct route_result *r,
			  struct target_refusal *no)
{
	static const int status[] = { 404, 404, 483, 482, 403, 484 };

	/* The walk itself is in the trace already, by the route module. */
	*no = (struct target_refusal){ .status = status[r->status] };
}

/* The n-th way over all targets and their peers, in order. */
static bool pick(struct sip *s, const struct route_result *r, unsigned n, struct target *out,
		 char why[160])
{
	unsigned seen = 0, turn = out->turn;

	for (size_t i = 0; i < r->n_targets; i++) {
		const struct route_target *t = &r->targets[i];

		for (unsigned k = 0; k < 6; k++) {
			if (!zone_peers_pick(s->zones, t->zone, turn, k, &out->side, why))
				break;
			if (seen++ < n)
				continue;
			slice_copy(out->zone, sizeof(out->zone), slice_of(t->zone));
			slice_copy(out->rule, sizeof(out->rule), slice_of(t->rule));
			snprintf(out->uri, sizeof(out->uri), "sip:%s", t->alias);
			return true;
		}
	}
	return false;
}

static bool by_search(struct sip *s, const struct side *from, const struct sip_msg *m,
		      const char *session, unsigned n, struct target *out,
		      struct target_refusal *no)
{
	struct route_result *r = malloc(sizeof(*r));
	struct buf alias;
	bool found = false;
	char why[160] = "";

	buf_init(&alias, ROUTE_ALIAS_BYTES - 1);
	if (!r || !sip_uri_aor(m->uri, &alias)) {
		*no = (struct target_refusal){ .status = r ? 416 : 500 };
		goto out;
	}
	s->route->search(
		s->route_self,
		&(struct route_query){ .alias = buf_slice(&alias),
				       .source_zone = slice_of(sip_source_zone(s, from)),
				       .authenticated = is_authenticated(s, from, m),
				       .hop_count = m->max_forwards < 0 ? 70 : m->max_forwards,
				       .is_method_call = m->method == SIP_INVITE },
		session, r);
	if (r->status != ROUTE_FOUND) {
		refuse_search(s, from, r, no);
		goto out;
	}
	out->max_forwards = r->hop_count;
	found = pick(s, r, n, out, why);
	if (!found) {
		*no = (struct target_refusal){ .status = 503, .extra = "Retry-After: 5\r\n" };
		if (n == 0)
			sip_refuse(s, no, 503, NULL, "sip.route.zone-down", r->targets[0].rule,
				   from, session, why);
	} else if (slice_eq(slice_of(out->uri + 4), buf_slice(&alias))) {
		/* Nothing changed: as the caller wrote it, parameters included. */
		slice_copy(out->uri, sizeof(out->uri), m->uri);
	}
out:
	buf_fini(&alias);
	free(r);
	return found;
}

bool sip_target(struct sip *s, const struct side *from, const struct sip_msg *m,
		const char *session, unsigned n, struct target *out, struct target_refusal *no)
{
	struct route_walk w;
	struct sip_uri u;
	char text[160];

	*out = (struct target){ .turn = n ? out->turn : zone_peers_turn(s->zones),
				.max_forwards = (m->max_forwards < 0 ? 70 : m->max_forwards) - 1 };
	*no = (struct target_refusal){ .status = 500 };
	if (out->max_forwards < 0) {
		sip_refuse(s, no, 483, NULL, "sip.hops", "Max-Forwards", from, session,
			   "no hops left");
		return false;
	}
	if (!slice_copy(out->uri, sizeof(out->uri), m->uri)) {
		*no = (struct target_refusal){ .status = 414 };
		return false;
	}
	walk_routes(s, from, m, &w, out);
	if (w.kind == WALK_FORGED) {
		sip_refuse(s, no, 403, NULL, "sip.route.forged-token", "Route", from, session,
			   "a Route token was not made here");
		return false;
	}
	if (w.kind == WALK_FOREIGN) {
		snprintf(text, sizeof(text), "Route names a stranger: %.*s",
			 (int)(w.foreign.n < 100 ? w.foreign.n : 100), w.foreign.p);
		sip_refuse(s, no, 403, NULL, "sip.route.foreign", "Route", from, session, text);
		return false;
	}
	if (w.kind == WALK_NONE && sip_uri_parse(m->uri, &u) && u.user.n &&
	    token_parse(u.user, s->token_key, &w.token) == TOKEN_OK &&
	    w.token.kind == TOKEN_REGISTRATION && from->role == FLOW_INSIDE)
		return n == 0 && to_registration(s, from, &w.token, out, no);
	if (w.kind == WALK_NONE)
		return may_enter(s, from, m, no) && by_search(s, from, m, session, n, out, no);
	if (n > 0) {
		*no = (struct target_refusal){ .status = 404 };
		return false;
	}
	if (w.token.kind == TOKEN_FLOW)
		return to_flow(s, from, m, &w.token, out, no);
	if (w.token.kind == TOKEN_PEER)
		return to_link(s, from, m, &w.token, out, no);
	sip_refuse(s, no, 403, NULL, "sip.route.token-misused", "Route", from, session,
		   "a contact token came in a Route");
	return false;
}

static bool literal_hop(struct slice next_hop, const struct side *old, struct addr *a,
			enum conn_transport *transport)
{
	struct sip_uri u;
	struct slice p;

	if (!sip_uri_parse(next_hop, &u))
		return false;
	*transport = old->transport;
	p = sip_param(u.params, "transport");
	if (slice_caseeq(p, SLICE("tcp")))
		*transport = CONN_TCP;
	else if (slice_caseeq(p, SLICE("udp")))
		*transport = CONN_UDP;
	else if (slice_caseeq(p, SLICE("tls")))
		*transport = CONN_TLS;
	return addr_parse_ip(u.host, u.port ? u.port : *transport == CONN_TLS ? 5061 : 5060, a);
}

bool sip_reach(struct sip *s, struct slice next_hop, const struct side *old, struct side *out)
{
	struct flow *f = transport_flow(s->transport, old->flow);
	bool is_alive = f && flow_state(f) != FLOW_CLOSED;
	const struct zone_conf *z;
	struct flow_dest dest = { .role = FLOW_INSIDE, .zone = old->zone };
	char why[160];
	int err;

	if (is_alive && old->role != FLOW_INSIDE) {
		side_of_flow(f, out);
		return true;
	}
	if (old->role == FLOW_OUTSIDE)
		return false;
	if (old->role != FLOW_INSIDE) /* the same edge, or core, on the link of today */
		return old->link >= 0 &&
		       zone_peers_link(s->zones, old->zone, (unsigned)old->link, out);
	if (literal_hop(next_hop, old, &dest.addr, &dest.transport) &&
	    !(is_alive && old->reliable && addr_ip_eq(&dest.addr, &old->remote))) {
		z = *old->zone ? conf_get(s->snap, "zone", old->zone) : NULL;
		dest.tls = z ? z->tls : NULL;
		f = transport_flow_to(s->transport, &dest, &err);
		is_alive = f != NULL;
	}
	if (is_alive)
		side_of_flow(f, out);
	return is_alive || zone_peers_pick(s->zones, sip_source_zone(s, old), 0, 0, out, why);
}
