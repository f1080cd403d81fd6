#include "sip/registration.h"

#include <stdio.h>
#include <stdlib.h>

struct registrations {
	struct timerq *timers;
	struct conn_table *conns;
	const struct registrations_ops *ops;
	void *arg;
	struct htab bindings;
	struct htab flows;
};

static struct slice binding_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, struct registration, by_binding)->binding);
}

static struct slice flow_key(const struct htab_node *n)
{
	const struct registration *r = CONTAINER_OF(n, struct registration, by_flow);

	return (struct slice){ (const char *)&r->flow, sizeof(r->flow) };
}

struct registrations *registrations_new(struct timerq *timers, struct conn_table *conns,
					const uint8_t seed[16], const struct registrations_ops *ops,
					void *arg)
{
	struct registrations *rs = calloc(1, sizeof(*rs));

	if (!rs)
		return NULL;
	if (htab_init(&rs->bindings, seed, binding_key) < 0 ||
	    htab_init(&rs->flows, seed, flow_key) < 0) {
		htab_fini(&rs->bindings);
		free(rs);
		return NULL;
	}
	rs->timers = timers;
	rs->conns = conns;
	rs->ops = ops;
	rs->arg = arg;
	return rs;
}

static void end(struct registration *r, const char *reason)
{
	struct registrations *rs = r->table;

	timer_stop(rs->timers, &r->expiry);
	htab_del(&rs->bindings, &r->by_binding);
	if (r->flow) {
		htab_del(&rs->flows, &r->by_flow);
		rs->ops->hold_flow(rs->arg, r->flow, false);
	}
	conn_end(rs->conns, &r->conn, "%s", reason);
	free(r->binding);
	free(r->contact);
	free(r->path);
	free(r);
}

void registrations_free(struct registrations *rs)
{
	if (!rs)
		return;
	HTAB_FOREACH_SAFE (n, &rs->bindings)
		end(CONTAINER_OF(n, struct registration, by_binding), "shutting down");
	htab_fini(&rs->bindings);
	htab_fini(&rs->flows);
	free(rs);
}

size_t registrations_count(const struct registrations *rs)
{
	return rs->bindings.n;
}

static char *make_binding(struct slice aor, struct slice contact)
{
	struct buf b;

	buf_init(&b, 4096);
	buf_printf(&b, "%.*s|%.*s", SLICE_ARG(aor), SLICE_ARG(contact));
	return buf_take(&b);
}

struct registration *registration_find(struct registrations *rs, struct slice aor,
				       struct slice contact)
{
	char *key = make_binding(aor, contact);
	struct htab_node *n = key ? htab_get(&rs->bindings, slice_of(key)) : NULL;

	free(key);
	return n ? CONTAINER_OF(n, struct registration, by_binding) : NULL;
}

static void on_expiry(void *arg)
{
	end(arg, "expired");
}

static void on_close(struct conn *c, const char *reason)
{
	end(CONTAINER_OF(c, struct registration, conn), reason);
}

static struct registration *registration_new(struct registrations *rs, struct slice aor,
					     struct slice contact)
{
	struct registration *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->table = rs;
	r->binding = make_binding(aor, contact);
	r->contact = slice_dup(contact);
	r->conn.kind = CONN_REGISTRATION;
	r->conn.state = "registered";
	r->conn.close = on_close;
	slice_copy(r->conn.user, sizeof(r->conn.user), aor);
	timer_init(&r->expiry, on_expiry, r);
	if (!r->binding || !r->contact || conn_add(rs->conns, &r->conn) < 0) {
		free(r->binding);
		free(r->contact);
		free(r);
		return NULL;
	}
	htab_add(&rs->bindings, &r->by_binding);
	return r;
}

static void take_flow(struct registration *r, const struct side *from)
{
	struct registrations *rs = r->table;

	if (r->flow == from->flow)
		return;
	if (r->flow) {
		htab_del(&rs->flows, &r->by_flow);
		rs->ops->hold_flow(rs->arg, r->flow, false);
	}
	r->flow = from->flow;
	htab_add(&rs->flows, &r->by_flow);
	rs->ops->hold_flow(rs->arg, r->flow, true);
}

struct registration *registration_put(struct registrations *rs, struct slice aor,
				      struct slice contact, const char *path,
				      const struct side *from, const char *zone,
				      const char *session, uint32_t expires_s)
{
	struct registration *r = registration_find(rs, aor, contact);
	char *copy = path ? strdup(path) : NULL;

	if (path && !copy)
		return NULL;
	if (!r)
		r = registration_new(rs, aor, contact);
	if (!r) {
		free(copy);
		return NULL;
	}
	free(r->path);
	r->path = copy;
	take_flow(r, from);
	r->link = from->link;
	r->conn.parent = from->flow;
	r->conn.transport = from->transport;
	r->conn.local = from->local;
	r->conn.remote = from->remote;
	slice_copy(r->conn.zone, sizeof(r->conn.zone), slice_of(zone));
	slice_copy(r->conn.session, sizeof(r->conn.session), slice_of(session));
	slice_copy(r->link_zone, sizeof(r->link_zone),
		   slice_of(from->role == FLOW_OUTSIDE ? "" : from->zone));
	timer_start(rs->timers, &r->expiry, (int64_t)expires_s * 1000);
	return r;
}

void registration_remove(struct registrations *rs, struct slice aor, struct slice contact,
			 const char *reason)
{
	struct registration *one;

	if (!slice_eq(contact, SLICE("*"))) {
		one = registration_find(rs, aor, contact);
		if (one)
			end(one, reason);
		return;
	}
	HTAB_FOREACH_SAFE (n, &rs->bindings) {
		struct registration *r = CONTAINER_OF(n, struct registration, by_binding);

		if (slice_eq(slice_of(r->conn.user), aor))
			end(r, reason);
	}
}

void registrations_flow_closed(struct registrations *rs, uint64_t flow, const char *reason)
{
	struct slice key = { (const char *)&flow, sizeof(flow) };
	struct htab_node *n;

	while ((n = htab_get(&rs->flows, key))) {
		struct registration *r = CONTAINER_OF(n, struct registration, by_flow);

		if (!r->link_zone[0]) {
			end(r, reason);
			continue;
		}
		htab_del(&rs->flows, &r->by_flow);
		r->flow = 0;
	}
}

struct registration *registration_on_flow(struct registrations *rs, uint64_t flow, struct slice aor)
{
	struct slice key = { (const char *)&flow, sizeof(flow) };
	struct registration *any = NULL;

	for (struct htab_node *n = htab_get(&rs->flows, key); n; n = htab_get_next(&rs->flows, n)) {
		struct registration *r = CONTAINER_OF(n, struct registration, by_flow);

		if (!r->confirmed)
			continue;
		any = r;
		if (!aor.p || slice_eq(slice_of(any->conn.user), aor))
			return any;
	}
	return any;
}

void registration_refused(struct registrations *rs, uint64_t id)
{
	struct registration *r = registration_get(rs, id);

	if (r && !r->confirmed)
		end(r, "refused by the registrar");
}

struct registration *registration_get(struct registrations *rs, uint64_t id)
{
	struct conn *c = conn_get(rs->conns, id);

	return c && c->kind == CONN_REGISTRATION ? CONTAINER_OF(c, struct registration, conn)
						 : NULL;
}

static json_t *wire_text(const char *s)
{
	struct buf b;
	json_t *j;

	buf_init(&b, 8192);
	buf_add_escaped(&b, slice_of(s));
	j = json_string(b.p ? b.p : "");
	buf_fini(&b);
	return j;
}

json_t *registrations_json(struct registrations *rs)
{
	json_t *out = json_array();

	HTAB_FOREACH (n, &rs->bindings) {
		struct registration *r = CONTAINER_OF(n, struct registration, by_binding);
		struct conn *flow = conn_get(rs->conns, r->flow);
		char id[CONN_ID_BYTES], flow_id[CONN_ID_BYTES], remote[ADDR_STR_BYTES];

		json_array_append_new(
			out, json_pack("{s:s, s:o, s:o, s:s, s:I, s:s, s:s, s:o, s:s, s:s}", "id",
				       conn_id_str(&r->conn, id), "aor", wire_text(r->conn.user),
				       "contact", wire_text(r->contact), "zone", r->conn.zone,
				       "expires_s",
				       (json_int_t)(timer_left(rs->timers, &r->expiry) / 1000),
				       "flow", flow ? conn_id_str(flow, flow_id) : "", "remote",
				       addr_str(&r->conn.remote, remote), "path",
				       wire_text(r->path ? r->path : ""), "session",
				       r->conn.session, "state", r->conn.state));
	}
	return out;
}

static bool number(struct slice s, uint32_t *out)
{
	uint64_t v;

	if (!slice_u64(s, UINT32_MAX, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

uint32_t registration_asked(const struct sip_msg *request)
{
	const struct sip_hdr *h = sip_msg_next(request, SIP_HDR_CONTACT, NULL);
	struct sip_addr a;
	uint32_t s;

	if (h && sip_addr_parse(h->value, &a) && number(sip_param(a.params, "expires"), &s))
		return s;
	if (request->expires >= 0)
		return request->expires > UINT32_MAX ? UINT32_MAX : (uint32_t)request->expires;
	return 3600;
}

uint32_t registration_granted(const struct sip_msg *request, const struct sip_msg *ok,
			      struct slice contact)
{
	const struct sip_hdr *h = NULL;
	uint32_t s;

	while ((h = sip_msg_next(ok, SIP_HDR_CONTACT, h))) {
		struct sip_addr a;

		if (!sip_addr_parse(h->value, &a) || !sip_uri_same(a.uri, contact))
			continue;
		if (number(sip_param(a.params, "expires"), &s))
			return s;
		if (ok->expires >= 0)
			return (uint32_t)ok->expires;
		return 3600;
	}
	/* A registrar that lists bindings and not ours has dropped it; one that lists nothing (some
	 * do not) granted what was asked. */
	if (sip_msg_hdr(ok, SIP_HDR_CONTACT).p)
		return 0;
	if (ok->expires >= 0)
		return (uint32_t)ok->expires;
	return registration_asked(request);
}
