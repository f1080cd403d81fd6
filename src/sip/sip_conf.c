#include "sip/sip_conf.h"

#include "core/tls.h"
#include "turnpike/route.h"

static const char *const calls_policies[] = { "registered", "any", NULL };

static const char *const digests[] = { "md5", "sha-256", "both", NULL };

#define ROW(k, t, member, ...)                                                                    \
	{                                                                                         \
		.key = (k), .type = (t), .offset = offsetof(struct sip_conf, member), __VA_ARGS__ \
	}

static const struct conf_row rows[] = {
	ROW("address", CONF_ADDR, address, .def = "any",
	    .help = "local address of the SIP ports; any: all addresses, IPv4 and IPv6"),
	ROW("outside-address", CONF_ADDR, outside_address, .def = "any",
	    .help = "E with two interfaces: address of the public ports; any: as `address`"),
	ROW("public-address", CONF_ADDR, public_address, .def = "any",
	    .help = "E behind static NAT: the address that phones outside see; any: none"),
	ROW("tls-port", CONF_U32, tls_port, .def = "5061", .max = 65535,
	    .help = "SIP over TLS; 0: off; needs `tls`"),
	ROW("tcp-port", CONF_U32, tcp_port, .def = "0", .max = 65535,
	    .help = "SIP over TCP; 0: off"),
	ROW("udp-port", CONF_U32, udp_port, .def = "0", .max = 65535,
	    .help = "SIP over UDP; 0: off"),
	ROW("tls", CONF_REF, tls, .ref = "tls", .help = "[tls NAME] that the TLS port shows"),
	ROW("source-ports", CONF_PORTS, source_ports, .def = "25000-29999",
	    .help = "local ports of TCP and TLS connections that we open"),
	ROW("max-message", CONF_BYTES, max_message, .def = "32k", .min = 1024, .max = 32768,
	    .help = "largest SIP message taken; more is answered with 513"),
	ROW("connect-timeout", CONF_MS, connect_timeout_ms, .def = "10s", .min = 100, .max = 120000,
	    .help = "time to open a TCP connection"),
	ROW("handshake-timeout", CONF_MS, handshake_timeout_ms, .def = "5s", .min = 100,
	    .max = 120000, .help = "time for a TLS handshake"),
	ROW("message-timeout", CONF_MS, message_timeout_ms, .def = "10s", .min = 100, .max = 120000,
	    .help = "time from the first to the last byte of a message on a stream"),
	ROW("idle-timeout", CONF_MS, idle_timeout_ms, .def = "60s", .min = 1000, .max = 86400000,
	    .help = "a connection without registration or call is closed after this silence"),
	ROW("max-connections", CONF_U32, max_connections, .def = "10000", .min = 1, .max = 1000000,
	    .help = "connections accepted at one time"),
	ROW("max-connections-per-source", CONF_U32, max_connections_per_source, .def = "200",
	    .min = 1, .max = 1000000, .help = "of them from one IPv4 address or IPv6 /64"),
	ROW("accept-rate", CONF_U32, accept_rate, .def = "100", .min = 1, .max = 100000,
	    .help = "new connections a second; twice that in a burst"),
	ROW("t1", CONF_MS, t1_ms, .def = "500ms", .min = 10, .max = 5000,
	    .help = "RFC 3261 T1, estimate of the round trip"),
	ROW("t2", CONF_MS, t2_ms, .def = "4s", .min = 10, .max = 30000,
	    .help = "RFC 3261 T2, longest time between retransmissions"),
	ROW("t4", CONF_MS, t4_ms, .def = "5s", .min = 10, .max = 30000,
	    .help = "RFC 3261 T4, how long a message may stay in the network"),
	ROW("timer-c", CONF_MS, timer_c_ms, .def = "200s", .min = 1000, .max = 3600000,
	    .help = "longest time that a call may ring (RFC 3261 timer C)"),
	ROW("max-transactions", CONF_U32, max_transactions, .def = "20000", .min = 16,
	    .max = 1000000, .help = "transactions at one time; more are answered with 503"),
	ROW("max-calls", CONF_U32, max_calls, .def = "2000", .min = 1, .max = 100000,
	    .help = "calls at one time; more are answered with 503"),
	ROW("max-registrations", CONF_U32, max_registrations, .def = "10000", .min = 1,
	    .max = 1000000,
	    .help = "registrations carried at one time; more are answered with 503"),
	ROW("min-expires", CONF_U32, min_expires_s, .def = "30", .min = 1, .max = 3600,
	    .help = "shortest registration in seconds; less is answered with 423"),
	ROW("max-expires", CONF_U32, max_expires_s, .def = "3600", .min = 60, .max = 86400,
	    .help = "longest time in seconds that a registration is kept without a refresh"),
	ROW("calls-from-outside", CONF_ENUM, calls_from_outside, .def = "registered",
	    .names = calls_policies,
	    .help = "whose calls E carries inward: phones with a registration on the same "
		    "connection, or any"),
	ROW("signin-digest", CONF_ENUM, signin_digest, .def = "md5", .names = digests,
	    .help = "E: digest asked of phones of domains with sip-signin. md5 because phones "
		    "exist that give up when they see another; the connection is TLS anyway"),
};

/* Peers of a neighbour zone are told from strangers by the interface they come to. */
static void check_inner(const struct conf_snapshot *snap, const struct sip_conf *c,
			struct conf_errors *errors)
{
	const struct zone_conf *z = NULL;

	if (conf_role(snap) != CONF_ROLE_E || c->outside_address.family == ADDR_NONE ||
	    c->address.family != ADDR_NONE)
		return;
	while ((z = conf_next(snap, "zone", z))) {
		if (z->type != ZONE_NEIGHBOUR || !z->enabled)
			continue;
		conf_error(errors, c, "outside-address",
			   "with it `address` must be the inner interface, where peers of [zone "
			   "%.60s] come to",
			   z->common.name);
		return;
	}
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct sip_conf *c = section;

	check_inner(snap, c, errors);

	if (c->tls && !tls_conf_can_serve(snap, c->tls))
		conf_error(errors, c, "tls", "[tls %.60s] has no certificate to show", c->tls);
}

const struct conf_section sip_conf_section = {
	.type = "sip",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct sip_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "SIP ports, limits and timers",
	.check = check,
};
