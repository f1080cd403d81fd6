/* [turn] and [turn-user] as people write them: defaults, and each thing --check-config refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/system_conf.h"
#include "support/tls_stand_in.h"
#include "turn/turn_conf.h"

/* Stands in for the media module's, which is out of reach. */
struct media_stand_in {
	struct conf_common common;
	struct conf_ports ports, mux_ports;
};
static const struct conf_row media_rows[] = {
	{ .key = "ports",
	  .type = CONF_PORTS,
	  .offset = offsetof(struct media_stand_in, ports),
	  .def = "36002-59999" },
	{ .key = "mux-ports",
	  .type = CONF_PORTS,
	  .offset = offsetof(struct media_stand_in, mux_ports),
	  .def = "36000-36001" },
};
static const struct conf_section media_section = {
	.type = "media",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct media_stand_in),
	.rows = media_rows,
	.n_rows = 2,
};

static const struct conf_section *const schema[] = { &system_conf_section, &tls_section,
						     &media_section, &turn_section,
						     &turn_user_section };
#define N_SCHEMA (sizeof(schema) / sizeof(schema[0]))

#define EDGE "[system]\nrole = E\nname = edge1.example.com\n[tls public]\n"
#define TURN EDGE "[turn]\nenabled = yes\n"
#define CORE "[system]\nrole = C\nname = core1.example.com\n"

static struct conf_snapshot *parse(const struct conf_store *s, const char *text, struct buf *errors)
{
	buf_init(errors, 65536);
	return conf_parse(s, "t.ini", slice_of(text), 0, errors);
}

static struct conf_snapshot *must_parse(const struct conf_store *s, const char *text)
{
	struct buf errors;
	struct conf_snapshot *snap = parse(s, text, &errors);

	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&errors);
	return snap;
}

static void defaults(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap = must_parse(s, EDGE);
	const struct turn_conf *c = conf_get(snap, "turn", NULL);
	struct turn_server_conf server;
	struct turn_facts f;

	assert_false(c->enabled || c->tcp_relays || c->media_peers);
	turn_conf_server(snap, &server);
	assert_string_equal(server.realm, "edge1.example.com");
	assert_int_equal(server.binding, TURN_BINDING_AUTHENTICATED);
	assert_int_equal(server.default_lifetime_s, 600);
	assert_int_equal(server.max_lifetime_s, 3600);
	assert_int_equal(server.nonce_ms, 600000);
	assert_int_equal(server.max_allocations, 6000);
	assert_int_equal(server.user_quota, 50);
	assert_int_equal(server.max_connections, 16);
	assert_int_equal(server.first_port, 24000);
	assert_int_equal(server.last_port, 29999);
	assert_int_equal(server.unauthenticated_rate, 100);
	assert_int_equal(server.relay_ip4.family, ADDR_NONE);
	turn_conf_facts(snap, &f);
	assert_string_equal(f.host, "edge1.example.com");
	assert_true(f.n_udp == 1 && f.udp_ports[0] == 3478);
	assert_true(f.n_tcp == 1 && f.tcp_ports[0] == 3478);
	/* Without a certificate 5349 is not served. */
	assert_int_equal(f.n_tls, 0);
	conf_unref(snap);
	snap = must_parse(s, CORE "[turn]\ncredential-ttl = 1h\n");
	c = conf_get(snap, "turn", NULL);
	assert_int_equal(c->credential_ms, 3600000);
	conf_unref(snap);
	conf_store_free(s);
}

static void everything_written(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap = must_parse(
		s, TURN "udp-ports = 3478-3483\ntls = public\ntls-ports = 5349 443\n"
			"host = turn.example.com\nrealm = example.com\naddress = 192.0.2.1\n"
			"relay-address = 192.0.2.1\npublic-address = 203.0.113.1\n"
			"relay-address-ip6 = 2001:db8::1\nsecret = shared\ntcp-relays = yes\n"
			"alternate-servers = 192.0.2.9:3478 [2001:db8::9]:3478\n"
			"allow-peers = 10.1.0.0/16\ndeny-peers = 198.51.100.0/24\n"
			"[turn-user bob]\npassword = x\n");
	const struct turn_user_conf *u = conf_get(snap, "turn-user", "bob");
	struct turn_server_conf server;
	struct turn_facts f;

	assert_string_equal(u->password, "x");
	turn_conf_server(snap, &server);
	assert_string_equal(server.realm, "example.com");
	assert_int_equal(server.n_alternates, 2);
	assert_int_equal(server.alternates[1].port, 3478);
	assert_int_equal(server.public_ip4.family, ADDR_IP4);
	assert_int_equal(server.relay_ip6.family, ADDR_IP6);
	assert_true(server.tcp_relays);
	turn_conf_facts(snap, &f);
	assert_string_equal(f.host, "turn.example.com");
	assert_int_equal(f.n_udp, 6);
	assert_int_equal(f.udp_ports[5], 3483);
	assert_int_equal(f.n_tls, 2);
	assert_int_equal(f.tls_ports[1], 443);
	conf_unref(snap);
	conf_store_free(s);
}

static void mistakes(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ TURN "relay-ports = 3000-4000\n", "`relay-ports` and `udp-ports`" },
		{ TURN "relay-ports = 30000-36000\n", "shares ports with [media]" },
		{ TURN "udp-ports = 40000-40001\n", "shares ports with [media]" },
		{ TURN "[media]\nports = 25000-26001\n", "shares ports with [media]" },
		{ TURN "udp-ports = 3400-3416\n", "at most 16 ports" },
		{ TURN "tls-ports = 443\n", "needs `tls`" },
		{ TURN "tls = public\ntls-ports = 443 5349 443\n", "there twice" },
		{ TURN "tls = public\ntls-ports = 3478\n", "one of tcp-ports" },
		{ TURN "tls = public\ntls-ports = https\n", "\"https\" is wrong" },
		{ TURN "tls = public\ntls-ports = 0\n", "\"0\" is wrong" },
		{ TURN "tls = public\ntls-ports = 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
		  "at most 16 ports" },
		{ TURN "tcp-relays = yes\ntcp-ports = 24000-24000\n", "`tcp-ports` must not" },
		{ TURN "tcp-relays = yes\ntls = public\ntls-ports = 24000\n",
		  "one of relay-ports" },
		{ TURN "tls = nobody\n", "nobody" },
		{ TURN "tls = trust\n[tls trust]\ncertificate =\n", "no certificate to show" },
		{ TURN "public-address = 203.0.113.1\n", "write `relay-address` too" },
		{ TURN "public-address-ip6 = 2001:db8::1\n", "write `relay-address-ip6` too" },
		{ TURN "relay-address = 2001:db8::1\n", "must be an IPv4 address" },
		{ TURN "relay-address-ip6 = 192.0.2.1\n", "must be an IPv6 address" },
		{ TURN "relay-address = 0.0.0.0\n", "address of a host" },
		{ TURN "alternate-servers = turn2.example.com\n", "legal values: ip:port" },
		{ TURN "alternate-servers = 192.0.2.1\n", "legal values: ip:port" },
		{ TURN "alternate-servers = 192.0.2.1:1 192.0.2.1:2 192.0.2.1:3 192.0.2.1:4 "
		       "192.0.2.1:5 192.0.2.1:6 192.0.2.1:7 192.0.2.1:8 192.0.2.1:9\n",
		  "at most 8" },
		{ TURN "default-lifetime = 2h\n", "longer than `max-lifetime`" },
		{ TURN "realm = a \"b\"\n", "without quotes" },
		{ TURN "host = turn.example.com?x\n", "host name or an address" },
		{ TURN "host = [2001:db8::1]\n", "host name or an address" },
		{ TURN "host = turn.example.com:3478\n", "host name or an address" },
		{ TURN "host = -x\n", "host name or an address" },
		{ TURN "credential-ttl = 1h\n", "is set on C" },
		{ CORE "[turn]\nenabled = yes\n", "is set on E" },
		{ CORE "[turn]\nsecret = x\n", "is set on E" },
		{ CORE "[turn-user bob]\npassword = x\n", "turn-user" },
		{ TURN "[turn-user bob]\n", "password" },
		{ TURN "[turn-user 1700000000:bob]\npassword = x\n", "no colon" },
	};
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf errors;
		struct conf_snapshot *snap = parse(s, rows[i].text, &errors);

		if (snap || !strstr(errors.p, rows[i].error))
			fail_msg("%s: %s", rows[i].text, snap ? "taken" : errors.p);
		buf_fini(&errors);
	}
	conf_store_free(s);
}

/* What lies at the bound is taken. */
static void bounds(void **state)
{
	static const char *const rows[] = {
		TURN "udp-ports = 3400-3415\n",
		TURN "relay-ports = 3479-24000\n",
		TURN "relay-ports = 24000-35999\n",
		TURN "default-lifetime = 1h\n",
		TURN "tcp-ports = 24000-24000\n",	    /* TCP: relays are UDP here */
		EDGE "[turn]\nrelay-ports = 36000-40000\n", /* off: nothing to collide with */
	};
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		conf_unref(must_parse(s, rows[i]));
	conf_store_free(s);
}

/* No secret gets into a dump. */
static void secrets_stay_secret(void **state)
{
	struct conf_store *s = conf_store_new(schema, N_SCHEMA);
	struct conf_snapshot *snap =
		must_parse(s, TURN "secret = s3cr3t\n[turn-user bob]\npassword = s3cr3t\n");
	struct buf out;

	buf_init(&out, 65536);
	conf_dump(snap, &out);
	assert_null(strstr(out.p, "s3cr3t"));
	assert_non_null(strstr(out.p, "<secret>"));
	buf_fini(&out);
	conf_unref(snap);
	conf_store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(everything_written),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(bounds),
		cmocka_unit_test(secrets_stay_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
