/* [turn] and [turn-user NAME]. */
#include "turn/turn_conf.h"

#include <stdio.h>
#include <string.h>

#include "core/system_conf.h"
#include "core/tls.h"
#include "proto/turn.h"
#include "turn/credentials.h"
#include "turn/server_item.h"

#define MAX_ALTERNATES	8
#define MAX_REALM_BYTES 127 /* RFC 8489 14.9: fewer than 128 characters */

#define ROW(k, t, member, ...)                                                                     \
	{                                                                                          \
		.key = (k), .type = (t), .offset = offsetof(struct turn_conf, member), __VA_ARGS__ \
	}

static const char *const bindings[] = { "no", "authenticated", "yes", NULL };

static const struct conf_row rows[] = {
	ROW("enabled", CONF_BOOL, enabled, .def = "no", .help = "E: the TURN server"),
	ROW("udp-ports", CONF_PORTS, udp_ports, .def = "3478-3478",
	    .help = "E: UDP ports for clients; 3478-3483 on large systems"),
	ROW("tcp-ports", CONF_PORTS, tcp_ports, .def = "3478-3478",
	    .help = "E: TCP ports for clients; with `tls` a client that begins with TLS gets it"),
	ROW("tls-ports", CONF_NAMES, tls_ports, .def = "5349",
	    .help = "E: TLS ports for clients, words; 5349 443 helps clients behind strict "
		    "firewalls. Served when `tls` is written"),
	ROW("tls", CONF_REF, tls, .ref = "tls",
	    .help = "E: [tls NAME] with the public certificate; not written: no TLS"),
	ROW("address", CONF_ADDR, address, .def = "any",
	    .help = "E: address of this host to listen at; any: every one, also those that come "
		    "later"),
	ROW("relay-address", CONF_ADDR, relay_address, .def = "any",
	    .help = "E: IPv4 address of this host for relays, the outside one with two interfaces; "
		    "any: `address`, or the one that leads to the internet"),
	ROW("relay-address-ip6", CONF_ADDR, relay_address_ip6, .def = "any",
	    .help = "E: the same for IPv6; a host without IPv6 serves no IPv6 relays"),
	ROW("public-address", CONF_ADDR, public_address, .def = "any",
	    .help = "E behind static NAT: what clients and peers see of relay-address; any: "
		    "itself"),
	ROW("public-address-ip6", CONF_ADDR, public_address_ip6, .def = "any",
	    .help = "E behind static NAT: what they see of relay-address-ip6; any: itself"),
	ROW("relay-ports", CONF_PORTS, relay_ports, .def = "24000-29999",
	    .help = "E: ports of relays, UDP and TCP"),
	ROW("realm", CONF_STRING, realm,
	    .help = "E: realm of the password question; not written: [system] name"),
	ROW("host", CONF_STRING, host,
	    .help = "E: name or address in the URIs that clients are given; not written: [system] "
		    "name"),
	ROW("secret", CONF_SECRET, secret,
	    .help = "E: secret shared with other tools that make short-lived credentials "
		    "(username expiry:user, password base64 of HMAC-SHA1); C needs none: it sends "
		    "its own secrets"),
	ROW("stun-binding", CONF_ENUM, binding, .def = "authenticated", .names = bindings,
	    .help = "E: who gets an answer to a STUN Binding request"),
	ROW("tcp-relays", CONF_BOOL, tcp_relays, .def = "no",
	    .help = "E: TCP toward peers (RFC 6062); users may then reach any TCP port of the "
		    "internet through E"),
	ROW("legacy-channels", CONF_BOOL, legacy_channels, .def = "no",
	    .help = "E: clients may bind channels up to 0x7ffe (RFC 5766; turnutils_uclient takes "
		    "such), not only to 0x4fff (RFC 8656)"),
	ROW("media-peers", CONF_BOOL, media_peers, .def = "no",
	    .help = "E: peers may be the [media] ports of this host"),
	ROW("allow-peers", CONF_PREFIXES, allow_peers,
	    .help = "E: inside addresses that peers may have all the same; loopback only by a "
		    "prefix in 127.0.0.0/8 or ::1, an address of this host only when it is named "
		    "alone"),
	ROW("deny-peers", CONF_PREFIXES, deny_peers,
	    .help = "E: addresses that peers may not have; stronger than allow-peers"),
	ROW("alternate-servers", CONF_NAMES, alternate_servers,
	    .help = "E: ip:port of other TURN servers that clients are sent to when this one is "
		    "full or stops"),
	ROW("default-lifetime", CONF_MS, default_lifetime_ms, .def = "10m", .min = 1000,
	    .max = 86400000, .help = "E: lifetime of an allocation that asks for none"),
	ROW("max-lifetime", CONF_MS, max_lifetime_ms, .def = "1h", .min = 1000, .max = 86400000,
	    .help = "E: longest lifetime that is granted at a time"),
	ROW("nonce-lifetime", CONF_MS, nonce_ms, .def = "10m", .min = 10000, .max = 86400000,
	    .help = "E: a nonce is good for it; then 438 brings a new one"),
	ROW("max-allocations", CONF_U32, max_allocations, .def = "6000", .min = 1, .max = 1000000,
	    .help = "E: allocations at a time; 508 or 300 over it"),
	ROW("user-quota", CONF_U32, user_quota, .def = "50", .min = 0, .max = 1000000,
	    .help = "E: allocations of one user; 486 over it; 0: no limit"),
	ROW("user-bandwidth", CONF_BYTES, user_bandwidth, .def = "0", .min = 0, .max = 4294967295,
	    .help = "E: bytes per second that are relayed for one user, both directions together; "
		    "0: no limit"),
	ROW("max-permissions", CONF_U32, max_permissions, .def = "64", .min = 1, .max = 10000,
	    .help = "E: permissions of one allocation; 508 over it"),
	ROW("max-channels", CONF_U32, max_channels, .def = "64", .min = 1, .max = 4096,
	    .help = "E: channels of one allocation; 508 over it"),
	ROW("max-tcp-peers", CONF_U32, max_tcp_peers, .def = "16", .min = 1, .max = 10000,
	    .help = "E: TCP peers of one allocation"),
	ROW("unauthenticated-rate", CONF_U32, unauthenticated_rate, .def = "100", .min = 0,
	    .max = 1000000,
	    .help = "E: answers per second to datagrams of one source that has proved nothing, "
		    "twice that in a burst; over it only answers no longer than the question; and "
		    "as many wrong credentials of one source; 0: no limit"),
	ROW("max-connections", CONF_U32, max_connections, .def = "10000", .min = 1, .max = 1000000,
	    .help = "E: TCP and TLS connections of clients at each port"),
	ROW("max-per-source", CONF_U32, max_per_source, .def = "1000", .min = 0, .max = 1000000,
	    .help = "E: connections of one IPv4 address or IPv6 /64 at each port; 0: no limit"),
	ROW("new-per-second", CONF_U32, new_per_second, .def = "1000", .min = 0, .max = 1000000,
	    .help = "E: new connections per second at each port, twice that in a burst; 0: no "
		    "limit"),
	ROW("handshake-timeout", CONF_MS, handshake_ms, .def = "10s", .min = 100, .max = 600000,
	    .help = "E: the first byte must come and the TLS handshake end in it"),
	ROW("idle-timeout", CONF_MS, idle_ms, .def = "30s", .min = 100, .max = 86400000,
	    .help = "E: a TCP or TLS connection without an allocation is closed after it"),
	ROW("credential-ttl", CONF_MS, credential_ms, .def = "8h", .min = 60000, .max = 604800000,
	    .help = "C: life of the credentials that its API hands out"),
};

/* --- what is looked up in other sections --- */

/* By its row, because the section belongs to another module. */
static bool ports_of(const void *section, const char *key, struct conf_ports *out)
{
	const struct conf_common *c = section;

	for (size_t i = 0; c && i < c->schema->n_rows; i++) {
		const struct conf_row *row = &c->schema->rows[i];

		if (row->type != CONF_PORTS || strcmp(row->key, key) != 0)
			continue;
		memcpy(out, (const char *)section + row->offset, sizeof(*out));
		return true;
	}
	return false;
}

bool turn_conf_media_ports(const struct conf_snapshot *snap, struct conf_ports *ports,
			   struct conf_ports *mux_ports)
{
	const void *media = conf_get(snap, "media", NULL);

	return ports_of(media, "ports", ports) && ports_of(media, "mux-ports", mux_ports);
}

bool turn_conf_has_tls(const struct turn_conf *c)
{
	return c->tls && c->tls[0];
}

static bool port_of(const char *word, uint16_t *out)
{
	uint64_t v;

	if (!slice_u64(slice_of(word), 65535, &v) || v == 0)
		return false;
	*out = (uint16_t)v;
	return true;
}

static unsigned copy_range(const struct conf_ports *range, uint16_t *out)
{
	unsigned n = 0;

	for (unsigned port = range->first; port <= range->last && n < TURN_MAX_PORTS; port++)
		out[n++] = (uint16_t)port;
	return n;
}

static const char *or_name(const struct conf_snapshot *snap, const char *written)
{
	const struct system_conf *sys = conf_get(snap, "system", NULL);

	return written && written[0] ? written : sys->name;
}

void turn_conf_facts(const struct conf_snapshot *snap, struct turn_facts *out)
{
	const struct turn_conf *c = conf_get(snap, "turn", NULL);

	memset(out, 0, sizeof(*out));
	slice_copy(out->host, sizeof(out->host), slice_of(or_name(snap, c->host)));
	slice_copy(out->realm, sizeof(out->realm), slice_of(or_name(snap, c->realm)));
	out->n_udp = copy_range(&c->udp_ports, out->udp_ports);
	out->n_tcp = copy_range(&c->tcp_ports, out->tcp_ports);
	for (size_t i = 0; turn_conf_has_tls(c) && i < c->tls_ports.n; i++)
		if (out->n_tls < TURN_MAX_PORTS &&
		    port_of(c->tls_ports.v[i], &out->tls_ports[out->n_tls]))
			out->n_tls++;
}

void turn_conf_server(const struct conf_snapshot *snap, struct turn_server_conf *out)
{
	const struct turn_conf *c = conf_get(snap, "turn", NULL);

	*out = (struct turn_server_conf){
		.realm = or_name(snap, c->realm),
		.tcp_relays = c->tcp_relays,
		.binding = (enum turn_binding)c->binding,
		.default_lifetime_s = c->default_lifetime_ms / 1000,
		.max_lifetime_s = c->max_lifetime_ms / 1000,
		.nonce_ms = c->nonce_ms,
		.permission_ms = 300000,
		.channel_ms = 600000,
		.quarantine_ms = 300000,
		.reservation_ms = 30000,
		.max_allocations = c->max_allocations,
		.user_quota = c->user_quota,
		.user_bandwidth = c->user_bandwidth,
		.max_permissions = c->max_permissions,
		.max_channels = c->max_channels,
		.max_connections = c->max_tcp_peers,
		.last_channel = c->legacy_channels ? TURN_CHANNEL_LAST_5766 : TURN_CHANNEL_LAST,
		.first_port = c->relay_ports.first,
		.last_port = c->relay_ports.last,
		.unauthenticated_rate = c->unauthenticated_rate,
		.relay_ip4 = c->relay_address,
		.relay_ip6 = c->relay_address_ip6,
		.public_ip4 = c->public_address,
		.public_ip6 = c->public_address_ip6,
	};
	for (size_t i = 0; i < c->alternate_servers.n && out->n_alternates < MAX_ALTERNATES; i++)
		if (addr_parse(slice_of(c->alternate_servers.v[i]), 0,
			       &out->alternates[out->n_alternates]))
			out->n_alternates++;
}

/* --- checks --- */

static bool overlap(struct conf_ports a, struct conf_ports b)
{
	return a.first <= b.last && b.first <= a.last;
}

static void check_range(const struct turn_conf *c, const char *key, const struct conf_ports *p,
			struct conf_errors *errors)
{
	if (p->first == 0)
		conf_error(errors, c, key, "ports begin at 1");
	else if (p->last - p->first >= TURN_MAX_PORTS)
		conf_error(errors, c, key, "at most %d ports", TURN_MAX_PORTS);
}

static void check_tls_ports(const struct turn_conf *c, struct conf_errors *errors)
{
	uint16_t ports[TURN_MAX_PORTS];

	if (c->tls_ports.n > TURN_MAX_PORTS) {
		conf_error(errors, c, "tls-ports", "at most %d ports", TURN_MAX_PORTS);
		return;
	}
	for (size_t i = 0; i < c->tls_ports.n; i++) {
		if (!port_of(c->tls_ports.v[i], &ports[i])) {
			conf_error(errors, c, "tls-ports",
				   "\"%.20s\" is wrong; legal values: words from 1 to 65535",
				   c->tls_ports.v[i]);
			return;
		}
		if (ports[i] >= c->tcp_ports.first && ports[i] <= c->tcp_ports.last)
			conf_error(errors, c, "tls-ports",
				   "%u is one of tcp-ports, where TLS is recognised anyway",
				   ports[i]);
		if (c->tcp_relays && ports[i] >= c->relay_ports.first &&
		    ports[i] <= c->relay_ports.last)
			conf_error(errors, c, "tls-ports", "%u is one of relay-ports", ports[i]);
		for (size_t j = 0; j < i; j++)
			if (ports[j] == ports[i])
				conf_error(errors, c, "tls-ports", "%u is there twice", ports[i]);
	}
}

static void check_ports(const struct conf_snapshot *snap, const struct turn_conf *c,
			struct conf_errors *errors)
{
	struct conf_ports media, mux;

	check_range(c, "udp-ports", &c->udp_ports, errors);
	check_range(c, "tcp-ports", &c->tcp_ports, errors);
	if (c->relay_ports.first == 0)
		conf_error(errors, c, "relay-ports", "ports begin at 1");
	if (overlap(c->relay_ports, c->udp_ports))
		conf_error(errors, c, conf_is_set(c, "relay-ports") ? "relay-ports" : "udp-ports",
			   "`relay-ports` and `udp-ports` must not share ports");
	if (c->tcp_relays && overlap(c->relay_ports, c->tcp_ports))
		conf_error(errors, c, conf_is_set(c, "relay-ports") ? "relay-ports" : "tcp-ports",
			   "`relay-ports` and `tcp-ports` must not share ports");
	if (!c->enabled || !turn_conf_media_ports(snap, &media, &mux))
		return;
	if (overlap(c->relay_ports, media) || overlap(c->relay_ports, mux))
		conf_error(errors, c, "relay-ports",
			   "shares ports with [media] `ports` or `mux-ports`");
	if (overlap(c->udp_ports, media) || overlap(c->udp_ports, mux))
		conf_error(errors, c, "udp-ports",
			   "shares ports with [media] `ports` or `mux-ports`");
}

static void check_address(const struct turn_conf *c, const char *key, const struct addr *a,
			  uint8_t family, const char *of, const struct addr *relay,
			  struct conf_errors *errors)
{
	if (a->family == ADDR_NONE)
		return;
	if (a->family != family)
		conf_error(errors, c, key, "must be an IPv%c address or any",
			   family == ADDR_IP4 ? '4' : '6');
	else if (addr_class(a) == ADDR_UNSPECIFIED || addr_class(a) == ADDR_MULTICAST)
		conf_error(errors, c, key, "must be the address of a host");
	else if (relay && relay->family == ADDR_NONE)
		conf_error(errors, c, key, "write `%s` too: the address here that it stands for",
			   of);
}

static void check_addresses(const struct turn_conf *c, struct conf_errors *errors)
{
	check_address(c, "relay-address", &c->relay_address, ADDR_IP4, NULL, NULL, errors);
	check_address(c, "relay-address-ip6", &c->relay_address_ip6, ADDR_IP6, NULL, NULL, errors);
	check_address(c, "public-address", &c->public_address, ADDR_IP4, "relay-address",
		      &c->relay_address, errors);
	check_address(c, "public-address-ip6", &c->public_address_ip6, ADDR_IP6,
		      "relay-address-ip6", &c->relay_address_ip6, errors);
}

static void check_alternates(const struct turn_conf *c, struct conf_errors *errors)
{
	if (c->alternate_servers.n > MAX_ALTERNATES)
		conf_error(errors, c, "alternate-servers", "at most %d", MAX_ALTERNATES);
	for (size_t i = 0; i < c->alternate_servers.n; i++) {
		struct addr a;

		if (!addr_parse(slice_of(c->alternate_servers.v[i]), 0, &a) || a.port == 0)
			conf_error(errors, c, "alternate-servers",
				   "\"%.60s\" is wrong; legal values: ip:port, [ip6]:port",
				   c->alternate_servers.v[i]);
	}
}

/* Host names, addresses, realms: what goes into URIs and quoted strings. */
static bool is_plain(const char *text, size_t max)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f || strchr("\"\\<>?/@", text[i]))
			return false;
	return n <= max;
}

static void check_texts(const struct conf_snapshot *snap, const struct turn_conf *c,
			struct conf_errors *errors)
{
	if (c->realm && !is_plain(c->realm, MAX_REALM_BYTES))
		conf_error(errors, c, "realm",
			   "at most %d visible ASCII characters without quotes, <, >, ?, / and @",
			   MAX_REALM_BYTES);
	/* C takes no other. */
	if (c->host && !turn_server_host_valid(slice_of(c->host)))
		conf_error(errors, c, "host",
			   "must be a host name or an address, without brackets");
	if (c->default_lifetime_ms > c->max_lifetime_ms)
		conf_error(errors, c,
			   conf_is_set(c, "default-lifetime") ? "default-lifetime" : "max-lifetime",
			   "`default-lifetime` is longer than `max-lifetime`");
	if (!turn_conf_has_tls(c)) {
		if (conf_is_set(c, "tls-ports") && c->tls_ports.n)
			conf_error(errors, c, "tls-ports", "needs `tls`, the certificate to show");
	} else if (!tls_conf_can_serve(snap, c->tls)) {
		conf_error(errors, c, "tls", "[tls %.60s] has no certificate to show", c->tls);
	}
}

/* What the other box decides must not be believed to work here. */
static void check_role(const struct turn_conf *c, unsigned role, struct conf_errors *errors)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool is_core = strcmp(rows[i].key, "credential-ttl") == 0;

		if (is_core == (role == CONF_ROLE_C) || !conf_is_set(c, rows[i].key))
			continue;
		conf_error(errors, c, rows[i].key,
			   is_core ? "is set on C, whose API hands credentials out"
				   : "is set on E, where the TURN server is");
	}
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct turn_conf *c = section;

	check_role(c, conf_role(snap), errors);
	if (conf_role(snap) != CONF_ROLE_E)
		return;
	check_ports(snap, c, errors);
	check_tls_ports(c, errors);
	check_addresses(c, errors);
	check_alternates(c, errors);
	check_texts(snap, c, errors);
}

const struct conf_section turn_section = {
	.type = "turn",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct turn_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "TURN (RFC 8656): on E the server, on C the credentials for it.",
	.check = check,
};

static const struct conf_row user_rows[] = {
	{ .key = "password",
	  .type = CONF_SECRET,
	  .offset = offsetof(struct turn_user_conf, password),
	  .flags = CONF_REQUIRED,
	  .help = "password of the long-term credential" },
};

static void check_user(const struct conf_snapshot *snap, const void *section,
		       struct conf_errors *errors)
{
	const struct turn_user_conf *c = section;

	if (strlen(c->common.name) >= TURN_USER_BYTES)
		conf_error(errors, c, NULL, "a user name has at most %d bytes",
			   TURN_USER_BYTES - 1);
	/* "expiry:user" is a short-lived credential. */
	if (strchr(c->common.name, ':'))
		conf_error(errors, c, NULL, "a user name has no colon");
}

const struct conf_section turn_user_section = {
	.type = "turn-user",
	.repeatable = true,
	.roles = CONF_ROLE_E,
	.size = sizeof(struct turn_user_conf),
	.rows = user_rows,
	.n_rows = sizeof(user_rows) / sizeof(user_rows[0]),
	.help = "A user of the TURN server with a password that lasts.",
	.check = check_user,
};
