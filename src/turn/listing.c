/* What there is at the moment: `turnpikectl turn`, metrics. */
#include <string.h>

#include "base/buf.h"
#include "turn/server_impl.h"

struct turn_server_stats turn_server_stats(const struct turn_server *s)
{
	struct turn_server_stats out = s->counters;
	int64_t now = turn_now(s);

	out.n_allocations = (uint32_t)s->allocs.n;
	out.n_users = (uint32_t)s->usage.users.n;
	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		uint32_t used = s->ports[i] ? turn_ports_n_used(s->ports[i], now) : 0;

		if (s->ports[i] && used >= out.n_ports_used) {
			out.n_ports_used = used;
			out.n_ports = turn_ports_n(s->ports[i]);
		}
	}
	return out;
}

struct turn_server_stats turn_server_stats_all(const struct turn_server *s)
{
	struct turn_server_stats out = turn_server_stats(s);
	int64_t now = turn_now(s);

	HTAB_FOREACH (it, &s->allocs) {
		const struct turn_alloc *a = CONTAINER_OF(it, const struct turn_alloc, node);

		for (uint16_t i = 0; i < a->n_permissions; i++)
			out.n_permissions += now < a->permissions[i].expires_ms;
		for (uint16_t i = 0; i < a->n_channels; i++)
			out.n_channels += turn_channel_lives(&a->channels[i], now);
	}
	return out;
}

static json_t *addr_json(const struct addr *a)
{
	char text[ADDR_STR_BYTES];

	return json_string(addr_str(a, text));
}

static json_t *ip_json(const struct addr *a)
{
	char text[ADDR_STR_BYTES];

	return json_string(addr_ip_str(a, text));
}

static json_int_t seconds(int64_t ms)
{
	return ms > 0 ? (ms + 999) / 1000 : 0;
}

static json_t *relays_json(const struct turn_alloc *a)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < TURN_N_RELAYS; i++) {
		if (a->relays[i].alloc)
			json_array_append_new(list, addr_json(&a->relays[i].relayed));
	}
	return list;
}

static json_t *permissions_json(const struct turn_alloc *a)
{
	json_t *list = json_array();
	int64_t now = turn_now(a->server);

	for (uint16_t i = 0; i < a->n_permissions; i++) {
		const struct turn_permission *p = &a->permissions[i];
		json_t *one;

		if (now >= p->expires_ms)
			continue;
		one = json_object();
		json_object_set_new(one, "peer", ip_json(&p->peer));
		json_object_set_new(one, "left", json_integer(seconds(p->expires_ms - now)));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *channels_json(const struct turn_alloc *a)
{
	json_t *list = json_array();
	int64_t now = turn_now(a->server);

	for (uint16_t i = 0; i < a->n_channels; i++) {
		const struct turn_channel *ch = &a->channels[i];
		json_t *one;

		if (!turn_channel_lives(ch, now))
			continue;
		one = json_object();
		json_object_set_new(one, "number", json_integer(ch->number));
		json_object_set_new(one, "peer", addr_json(&ch->peer));
		json_object_set_new(one, "left", json_integer(seconds(ch->expires_ms - now)));
		json_array_append_new(list, one);
	}
	return list;
}

static void add_counters(json_t *out, const struct turn_alloc *a)
{
	json_object_set_new(out, "rx_packets", json_integer((json_int_t)a->conn.rx_packets));
	json_object_set_new(out, "rx_bytes", json_integer((json_int_t)a->conn.rx_bytes));
	json_object_set_new(out, "tx_packets", json_integer((json_int_t)a->conn.tx_packets));
	json_object_set_new(out, "tx_bytes", json_integer((json_int_t)a->conn.tx_bytes));
	json_object_set_new(out, "dropped", json_integer((json_int_t)a->conn.n_dropped));
	json_object_set_new(out, "no_permission", json_integer((json_int_t)a->n_no_permission));
	json_object_set_new(out, "over_bandwidth", json_integer((json_int_t)a->n_over_bandwidth));
}

/* USERNAME comes from the wire and need not be UTF-8, which jansson asks for. */
static json_t *user_json(const struct turn_alloc *a)
{
	json_t *out = json_string(a->conn.user);
	struct buf b;

	if (out)
		return out;
	buf_init(&b, 4 * CONN_USER_BYTES);
	buf_add_escaped(&b, slice_of(a->conn.user));
	out = json_string(b.p ? b.p : "");
	buf_fini(&b);
	return out;
}

static bool is_of_user(const struct turn_alloc *a, const char *user)
{
	json_t *shown = user ? user_json(a) : NULL;
	bool is = !user || (shown && strcmp(json_string_value(shown), user) == 0);

	json_decref(shown);
	return is;
}

static json_t *alloc_json(const struct turn_alloc *a)
{
	json_t *out = json_object();
	char id[CONN_ID_BYTES];

	json_object_set_new(out, "id", json_string(conn_id_str(&a->conn, id)));
	json_object_set_new(out, "client", addr_json(&a->conn.remote));
	json_object_set_new(out, "transport", json_string(conn_transport_str(a->conn.transport)));
	json_object_set_new(out, "user", user_json(a));
	json_object_set_new(out, "relay", json_string(a->tcp ? "tcp" : "udp"));
	json_object_set_new(out, "relayed", relays_json(a));
	json_object_set_new(out, "left", json_integer(seconds(turn_alloc_left_ms(a))));
	json_object_set_new(out, "permissions", permissions_json(a));
	json_object_set_new(out, "channels", channels_json(a));
	add_counters(out, a);
	if (a->tcp && a->server->tcp)
		a->server->tcp->json(a, out);
	return out;
}

json_t *turn_server_json(const struct turn_server *s, uint64_t conn_id, const char *user)
{
	json_t *list = json_array();

	HTAB_FOREACH (it, &s->allocs) {
		const struct turn_alloc *a = CONTAINER_OF(it, const struct turn_alloc, node);

		if ((!conn_id || a->conn.id == conn_id) && is_of_user(a, user))
			json_array_append_new(list, alloc_json(a));
	}
	return list;
}
