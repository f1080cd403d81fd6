/* E: the machine's settings, addresses, users and limits; what others are told of the server. */
#include "turn/edge_side.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "turn/core_side.h"

#define LOOK_MS		     2000
#define ADDRESSES_MS	     30000
#define NO_CREDENTIALS_MS    60000
#define RAISE_PERCENT	     90
#define CLEAR_PERCENT	     80
#define CONF_SECRET_ID	     "conf"
#define ALARM_PORTS	     "turn-ports"
#define ALARM_ALLOCATIONS    "turn-allocations"
#define ALARM_NO_CREDENTIALS "turn-no-credentials"

static int64_t now_ms(const struct turn_edge *e)
{
	return loop_now_ms(e->env->loop);
}

/* --- the machine's ops --- */

static bool to_client(void *arg, const struct turn_client *c, const void *p, size_t n, bool lossy)
{
	if (c->transport != TURN_UDP)
		return turn_stream_send(c, p, n, lossy);
	udp_socket_send(c->io, &c->remote, p, n);
	return true;
}

static void client_over(void *arg, const struct turn_client *c, const char *why)
{
	if (c->transport != TURN_UDP)
		turn_stream_over(c, why);
}

static int64_t wall_s(void *arg)
{
	return (int64_t)time(NULL);
}

static const struct turn_server_ops server_ops = {
	.to_client = to_client,
	.relay_open = turn_relay_io_open,
	.relay_close = turn_relay_io_close,
	.relay_send = turn_relay_io_send,
	.client_over = client_over,
	.wall_s = wall_s,
};

/* --- addresses --- */

/* The one that leads to the internet; else any of the family, loopback at last. */
static struct addr choose_relay(const struct turn_edge *e, uint8_t family)
{
	struct addr far, found = { 0 };

	if (e->conf->address.family == family && addr_class(&e->conf->address) != ADDR_UNSPECIFIED)
		return e->conf->address;
	/* Nothing is sent there: the routing table is asked. */
	addr_parse_ip(family == ADDR_IP4 ? SLICE("192.0.2.1") : SLICE("2001:db8::1"), 0, &far);
	if (net_source_for(&far, &found) == 0 && addr_class(&found) != ADDR_LOOPBACK &&
	    addr_class(&found) != ADDR_LINK_LOCAL)
		return found;
	memset(&found, 0, sizeof(found));
	for (size_t i = 0; i < e->n_host; i++) {
		enum addr_class class = addr_class(&e->own[i]);

		if (e->own[i].family != family || class == ADDR_LINK_LOCAL)
			continue;
		if (class != ADDR_LOOPBACK)
			return e->own[i];
		if (found.family == ADDR_NONE)
			found = e->own[i];
	}
	return found;
}

static void add_own(struct turn_edge *e, const struct addr *a)
{
	if (a->family != ADDR_NONE && e->n_own < TURN_MAX_OWN + 2)
		e->own[e->n_own++] = *a;
}

static void add_relay(struct turn_edge *e, const struct addr *a)
{
	if (a->family != ADDR_NONE)
		e->relays[e->n_relays++] = *a;
}

/* Without the list the old one stays. */
static void read_host_addresses(struct turn_edge *e)
{
	struct addr *all;
	size_t n;
	int error = net_own_ips(&all, &n);

	e->next_addresses_ms = now_ms(e) + ADDRESSES_MS;
	if (error < 0) {
		log_warn(e->env->log, "turn.addresses", "reason=\"%s\"", strerror(-error));
		return;
	}
	/* What is not looked at is not denied to peers as an address of ours. */
	if (n > TURN_MAX_OWN)
		log_warn(e->env->log, "turn.addresses",
			 "reason=\"this host has %zu addresses, %d are known: put the others into "
			 "[turn] deny-peers\"",
			 n, TURN_MAX_OWN);
	e->n_host = n < TURN_MAX_OWN ? n : TURN_MAX_OWN;
	memcpy(e->own, all, e->n_host * sizeof(*all));
	free(all);
}

/* Behind static NAT the public addresses are ours too. */
static void make_policy(struct turn_edge *e)
{
	const struct turn_server_conf *s = &e->server_conf;
	struct conf_ports media = { 0 }, mux;

	e->n_own = e->n_host;
	add_own(e, &s->public_ip4);
	add_own(e, &s->public_ip6);
	e->n_relays = 0;
	add_relay(e, &s->relay_ip4);
	add_relay(e, &s->relay_ip6);
	add_relay(e, &s->public_ip4);
	add_relay(e, &s->public_ip6);
	if (e->conf->media_peers)
		turn_conf_media_ports(e->snap, &media, &mux);
	e->policy = (struct turn_peer_policy){
		.allow = &e->conf->allow_peers,
		.deny = &e->conf->deny_peers,
		.own = e->own,
		.n_own = e->n_own,
		.relays = e->relays,
		.n_relays = e->n_relays,
		.first_relay = s->first_port,
		.last_relay = s->last_port,
		.first_media = media.first,
		.last_media = media.last,
	};
}

/* --- settings into the machine --- */

static void set_users(struct turn_edge *e)
{
	const struct turn_user_conf *u = NULL;
	int error = turn_credentials_set_realm(e->credentials, slice_of(e->server_conf.realm));

	turn_credentials_begin(e->credentials);
	while ((u = conf_next(e->snap, "turn-user", u))) {
		int failed = turn_credentials_add(e->credentials, slice_of(u->common.name),
						  slice_of(u->password));

		error = error ? error : failed;
	}
	turn_credentials_end(e->credentials);
	if (e->conf->secret && e->conf->secret[0]) {
		int failed = turn_credentials_put_secret(e->credentials, 0, SLICE(CONF_SECRET_ID),
							 slice_of(e->conf->secret), 0);

		error = error ? error : failed;
	} else {
		turn_credentials_del_secret(e->credentials, 0, SLICE(CONF_SECRET_ID));
	}
	if (error)
		log_error(e->env->log, "turn.users", "reason=\"%s\"", strerror(-error));
}

static int configure_server(struct turn_edge *e)
{
	turn_conf_server(e->snap, &e->server_conf);
	if (e->server_conf.relay_ip4.family == ADDR_NONE)
		e->server_conf.relay_ip4 = choose_relay(e, ADDR_IP4);
	if (e->server_conf.relay_ip6.family == ADDR_NONE)
		e->server_conf.relay_ip6 = choose_relay(e, ADDR_IP6);
	make_policy(e);
	set_users(e);
	return e->server ? turn_server_configure(e->server, &e->server_conf, e->credentials,
						 &e->policy)
			 : 0;
}

static int turn_on(struct turn_edge *e)
{
	struct env *env = e->env;

	if (e->server)
		return 0;
	if (!e->pool)
		e->pool = udp_pool_new(env->loop);
	if (e->pool)
		e->server = turn_server_new(loop_timers(env->loop), env->conns, env->trace,
					    &server_ops, e);
	if (!e->server)
		return -ENOMEM;
	return turn_server_set_tcp(e->server, &turn_relay_io_tcp, e);
}

static void turn_off(struct turn_edge *e, const char *why)
{
	turn_streams_end(e, why);
	turn_server_free(e->server);
	e->server = NULL;
	turn_listen_free(e);
	alarm_clear(e->env->alarms, ALARM_PORTS, "");
	alarm_clear(e->env->alarms, ALARM_ALLOCATIONS, "");
	alarm_clear(e->env->alarms, ALARM_NO_CREDENTIALS, "");
	e->alarmed_ports = e->alarmed_allocations = false;
	e->without_credentials_ms = -1;
}

static int apply(struct turn_edge *e, struct buf *errors)
{
	int error = 0, listening;

	read_host_addresses(e);
	if (!e->conf->enabled) {
		if (e->server)
			turn_off(e, "[turn] enabled = no");
		configure_server(e);
		return 0;
	}
	error = turn_on(e);
	if (error == 0)
		error = configure_server(e);
	if (error) {
		buf_printf(errors, "[turn] %s\n", strerror(-error));
		return error;
	}
	listening = turn_listen_configure(e, errors);
	return listening;
}

static void use_snapshot(struct turn_edge *e, const struct conf_snapshot *snap)
{
	e->snap = conf_ref(snap);
	e->conf = conf_get(snap, "turn", NULL);
}

/* --- what others are told --- */

static bool facts(void *self, struct turn_facts *out)
{
	const struct turn_edge *e = self;

	if (!e->conf->enabled)
		return false;
	turn_conf_facts(e->snap, out);
	return true;
}

static bool relay_of(void *self, const struct addr *written, struct addr *reached)
{
	const struct turn_edge *e = self;
	const struct turn_server_conf *s = &e->server_conf;

	if (!e->server || written->port < s->first_port || written->port > s->last_port)
		return false;
	for (size_t i = 0; i < e->n_relays; i++) {
		if (!addr_ip_eq(&e->relays[i], written))
			continue;
		*reached = written->family == ADDR_IP4 ? s->relay_ip4 : s->relay_ip6;
		reached->port = written->port;
		return true;
	}
	return false;
}

const struct turn_ops turn_edge_service = { facts, relay_of };

static json_t *ports_json(const uint16_t *ports, unsigned n)
{
	json_t *out = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(out, json_integer(ports[i]));
	return out;
}

/* NULL: the server is off. */
static json_t *server_item(struct turn_edge *e)
{
	struct turn_facts f;

	if (!facts(e, &f))
		return NULL;
	return json_pack("{s:s,s:s,s:o,s:o,s:o}", "host", f.host, "realm", f.realm, "udp",
			 ports_json(f.udp_ports, f.n_udp), "tcp", ports_json(f.tcp_ports, f.n_tcp),
			 "tls", ports_json(f.tls_ports, f.n_tls));
}

static void each_item(void *arg, tunnel_peer to,
		      void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	json_t *item = server_item(arg);

	if (item)
		put(ctx, TURN_SERVER_KEY, item);
	json_decref(item);
}

static const struct tunnel_source source = { .each = each_item };

static void tell(struct turn_edge *e)
{
	json_t *item;

	if (!e->tunnel)
		return;
	item = server_item(e);
	if (item)
		e->tunnel->put(e->tunnel_self, 0, TURN_TABLE_SERVER, TURN_SERVER_KEY, item);
	else
		e->tunnel->del(e->tunnel_self, 0, TURN_TABLE_SERVER, TURN_SERVER_KEY);
	json_decref(item);
}

/* --- limits --- */

/* With a distance between up and down, so that it does not flap. */
static bool is_near(uint64_t used, uint64_t limit, bool was)
{
	return limit && used * 100 >= limit * (was ? CLEAR_PERCENT : RAISE_PERCENT);
}

static void look_at_limits(struct turn_edge *e)
{
	struct turn_server_stats s = turn_server_stats(e->server);
	struct alarms *alarms = e->env->alarms;

	e->alarmed_ports = is_near(s.n_ports_used, s.n_ports, e->alarmed_ports);
	if (e->alarmed_ports)
		alarm_raise(alarms, ALARM_PORTS, "", ALARM_WARNING,
			    "Widen [turn] relay-ports, or lower user-quota.",
			    "%u of %u relay ports are in use", s.n_ports_used, s.n_ports);
	else
		alarm_clear(alarms, ALARM_PORTS, "");
	e->alarmed_allocations =
		is_near(s.n_allocations, e->conf->max_allocations, e->alarmed_allocations);
	if (e->alarmed_allocations)
		alarm_raise(alarms, ALARM_ALLOCATIONS, "", ALARM_WARNING,
			    "Raise [turn] max-allocations, or add a server to alternate-servers.",
			    "%u of %u allocations stand", s.n_allocations,
			    e->conf->max_allocations);
	else
		alarm_clear(alarms, ALARM_ALLOCATIONS, "");
}

static void look_at_credentials(struct turn_edge *e)
{
	if (turn_credentials_n_users(e->credentials) ||
	    turn_credentials_n_secrets(e->credentials)) {
		e->without_credentials_ms = -1;
		alarm_clear(e->env->alarms, ALARM_NO_CREDENTIALS, "");
		return;
	}
	if (e->without_credentials_ms < 0)
		e->without_credentials_ms = now_ms(e);
	if (now_ms(e) - e->without_credentials_ms >= NO_CREDENTIALS_MS)
		alarm_raise(e->env->alarms, ALARM_NO_CREDENTIALS, "", ALARM_WARNING,
			    "See whether the tunnel to C stands, or write [turn-user] sections or "
			    "[turn] secret.",
			    "nobody can use the TURN server: no user and no secret is known");
}

/* Interfaces come and go. */
static void look_at_addresses(struct turn_edge *e)
{
	struct addr before[TURN_MAX_OWN];
	size_t n = e->n_host;
	struct buf errors;

	memcpy(before, e->own, n * sizeof(*before));
	read_host_addresses(e);
	if (n != e->n_host || memcmp(before, e->own, n * sizeof(*before)) != 0)
		configure_server(e);
	/* Also when nothing changed: what could not be opened may be free now. */
	buf_init(&errors, 8192);
	if (turn_listen_configure(e, &errors) < 0)
		log_warn(e->env->log, "turn.listen", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
}

static void look(void *arg)
{
	struct turn_edge *e = arg;

	timer_start(loop_timers(e->env->loop), &e->look_timer, LOOK_MS);
	if (e->tunnel)
		turn_edge_secrets_look(e, now_ms(e));
	if (!e->server)
		return;
	look_at_limits(e);
	look_at_credentials(e);
	if (now_ms(e) >= e->next_addresses_ms)
		look_at_addresses(e);
}

/* --- life --- */

struct turn_edge *turn_edge_new(struct env *env)
{
	struct turn_edge *e = calloc(1, sizeof(*e));
	uint8_t seed[16];

	if (!e)
		return NULL;
	net_random(seed, sizeof(seed));
	e->credentials = turn_credentials_new(seed);
	if (!e->credentials) {
		free(e);
		return NULL;
	}
	e->env = env;
	e->without_credentials_ms = -1;
	list_init(&e->listeners);
	list_init(&e->streams);
	timer_init(&e->look_timer, look, e);
	use_snapshot(e, conf_current(env->conf));
	return e;
}

int turn_edge_start(struct turn_edge *e, struct buf *errors)
{
	struct service tunnel = service_find(e->env->modules, TUNNEL_SERVICE);
	int error;

	e->tunnel = tunnel.ops;
	e->tunnel_self = tunnel.self;
	error = turn_edge_secrets_start(e);
	if (error == 0 && e->tunnel)
		error = e->tunnel->publish(e->tunnel_self, TURN_TABLE_SERVER, &source, e);
	if (error == 0)
		error = apply(e, errors);
	timer_start(loop_timers(e->env->loop), &e->look_timer, LOOK_MS);
	return error;
}

int turn_edge_prepare(struct turn_edge *e, const struct conf_snapshot *next, struct buf *errors)
{
	return turn_listen_prepare(e, next, errors);
}

void turn_edge_reload(struct turn_edge *e, const struct conf_snapshot *next)
{
	const struct conf_snapshot *old = e->snap;
	struct buf errors;

	use_snapshot(e, next);
	buf_init(&errors, 8192);
	if (apply(e, &errors) < 0)
		log_error(e->env->log, "turn.listen", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	if (e->draining && e->server)
		turn_server_drain(e->server);
	tell(e);
	/* The machine borrowed from it until now. */
	conf_unref(old);
}

void turn_edge_drain(struct turn_edge *e)
{
	e->draining = true;
	if (e->server)
		turn_server_drain(e->server);
}

void turn_edge_stop(struct turn_edge *e)
{
	timer_stop(loop_timers(e->env->loop), &e->look_timer);
	turn_off(e, "the daemon stops");
}

void turn_edge_free(struct turn_edge *e)
{
	if (!e)
		return;
	turn_edge_stop(e);
	turn_streams_free(e);
	udp_pool_free(e->pool);
	turn_credentials_free(e->credentials);
	conf_unref(e->snap);
	OPENSSL_cleanse(e->secrets, sizeof(e->secrets));
	free(e);
}

static void put(json_t *out, const char *key, uint64_t v)
{
	json_object_set_new(out, key, json_integer((json_int_t)v));
}

void turn_edge_status(const struct turn_edge *e, json_t *out)
{
	struct turn_server_stats s = { 0 };
	struct udp_stats u = { 0 };

	if (e->server)
		s = turn_server_stats_all(e->server);
	if (e->pool)
		u = udp_pool_stats(e->pool);
	json_object_set_new(out, "enabled", json_boolean(e->conf->enabled));
	put(out, "users", turn_credentials_n_users(e->credentials));
	put(out, "secrets", turn_credentials_n_secrets(e->credentials));
	put(out, "connections", conn_count(e->env->conns, CONN_TURN));
	put(out, "connections-total", e->n_streams_total);
	put(out, "streams-bad", e->n_stream_bad);
	put(out, "streams-dropped", e->n_stream_dropped);
	put(out, "allocations", s.n_allocations);
	put(out, "allocations-total", s.n_allocated);
	put(out, "allocation-users", s.n_users);
	put(out, "permissions", s.n_permissions);
	put(out, "channels", s.n_channels);
	put(out, "ports", s.n_ports);
	put(out, "ports-used", s.n_ports_used);
	put(out, "refused", s.n_refused);
	put(out, "unauthenticated", s.n_unauthenticated);
	put(out, "unanswered", s.n_unanswered);
	put(out, "to-peer", s.n_to_peer);
	put(out, "to-client", s.n_to_client);
	put(out, "no-permission", s.n_no_permission);
	put(out, "over-bandwidth", s.n_over_bandwidth);
	put(out, "bad", s.n_bad);
	put(out, "udp-in", u.n_in);
	put(out, "udp-out", u.n_out);
	put(out, "udp-send-calls", u.n_send_calls);
	put(out, "udp-send-failed", u.n_send_failed);
	put(out, "udp-truncated", u.n_truncated);
}
