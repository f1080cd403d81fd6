#include "tunnel/tunnel_conf.h"

#include <stdio.h>
#include <string.h>

#include "tunnel/keys.h"

#define ROW(k, t, member, ...)                                                           \
	{                                                                                \
		.key = (k), .type = (t), .offset = offsetof(struct tunnel_conf, member), \
		__VA_ARGS__                                                              \
	}
#define PEER_ROW(k, t, member, ...)                                                           \
	{                                                                                     \
		.key = (k), .type = (t), .offset = offsetof(struct tunnel_peer_conf, member), \
		__VA_ARGS__                                                                   \
	}

static const struct conf_row rows[] = {
	ROW("port", CONF_U32, port, .def = "2222", .min = 1, .max = 65535,
	    .help = "E: port where C dials in"),
	ROW("address", CONF_ADDR, address, .def = "any",
	    .help = "E: local address of that port; any: all addresses, IPv4 and IPv6"),
	ROW("key", CONF_PATH, key,
	    .help = "own ed25519 private key in an OpenSSH file: E's host key, C's client key; "
		    "readable by its owner alone"),
	ROW("connections", CONF_U32, connections, .def = "2", .min = 1, .max = TUNNEL_MAX_SLOTS,
	    .help = "C: connections kept to each E"),
	ROW("source-ports", CONF_PORTS, source_ports, .def = "30000-35999",
	    .help = "C: local ports of these connections"),
	ROW("keepalive", CONF_MS, keepalive_ms, .def = "3s", .min = 50, .max = 60000,
	    .help = "time between two pings on a connection"),
	ROW("dead-after", CONF_MS, dead_after_ms, .def = "9s", .min = 100, .max = 300000,
	    .help = "a connection on which nothing came for so long is dead"),
	ROW("connect-timeout", CONF_MS, connect_timeout_ms, .def = "10s", .min = 100, .max = 120000,
	    .help = "TCP, key exchange and login must be done in it"),
	ROW("retry-min", CONF_MS, retry_min_ms, .def = "200ms", .min = 10, .max = 60000,
	    .help = "C: first bound of the random time before a new try; it doubles"),
	ROW("retry-max", CONF_MS, retry_max_ms, .def = "30s", .min = 10, .max = 3600000,
	    .help = "C: last bound of it"),
	ROW("max-streams", CONF_U32, max_streams, .def = "2048", .min = 1, .max = 65535,
	    .help = "streams at one time on a connection"),
	ROW("max-held", CONF_BYTES, max_held, .def = "512m", .min = 16777216, .max = 4294967295,
	    .help = "memory for what came through the tunnel and waits for slow readers (up to 2.5 "
		    "MiB each); over it the stream that holds most is ended"),
	ROW("max-unauthenticated", CONF_U32, max_unauthenticated, .def = "32", .min = 1,
	    .max = 10000, .help = "E: connections that have not logged in; more are refused"),
	ROW("new-per-second", CONF_U32, new_per_second, .def = "20", .min = 1, .max = 10000,
	    .help = "E: new connections a second; twice that in a burst"),
	ROW("rekey-bytes", CONF_BYTES, rekey_bytes, .def = "1024m", .min = 1048576,
	    .help = "new keys after so many bytes in one direction"),
	ROW("rekey-after", CONF_MS, rekey_after_ms, .def = "1h", .min = 1000, .max = 86400000,
	    .help = "new keys after this time"),
};

static const struct conf_row peer_rows[] = {
	PEER_ROW("fingerprints", CONF_NAMES, fingerprints, .flags = CONF_REQUIRED,
		 .help = "SHA256:... of its key as `ssh-keygen -lf` prints it; several while keys "
			 "change"),
	PEER_ROW("address", CONF_STRING, address,
		 .help = "C: host or host:port of E; default: the name of the section"),
	PEER_ROW("enabled", CONF_BOOL, enabled, .def = "yes",
		 .help = "no: as if it were not there"),
};

static void check_key(const struct tunnel_conf *c, struct conf_errors *errors)
{
	char why[256];
	ssh_key key = NULL;

	if (keys_load(c->key, &key, why, sizeof(why)) < 0)
		conf_error(errors, c, "key", "%s: %s", c->key, why);
	ssh_key_free(key);
}

static void check_tunnel(const struct conf_snapshot *snap, const void *section,
			 struct conf_errors *errors)
{
	const struct tunnel_conf *c = section;
	const struct tunnel_peer_conf *p = NULL;
	unsigned n = 0;

	while ((p = conf_next(snap, "tunnel-peer", p)))
		n += p->enabled;
	if (c->key)
		check_key(c, errors);
	else if (n > 0)
		conf_error(errors, c, "key",
			   "key is missing: a [tunnel-peer] needs this box to have one (make it "
			   "with ssh-keygen -t ed25519)");
	if (n > TUNNEL_MAX_PEERS)
		conf_error(errors, c, NULL, "%u [tunnel-peer] sections, at most %d", n,
			   TUNNEL_MAX_PEERS);
	if (c->dead_after_ms <= c->keepalive_ms)
		conf_error(errors, c, "dead-after", "must be longer than keepalive");
	if (c->retry_max_ms < c->retry_min_ms)
		conf_error(errors, c, "retry-max", "must not be shorter than retry-min");
}

/* The first other peer that has this fingerprint. */
static const struct tunnel_peer_conf *who_has(const struct conf_snapshot *snap,
					      const struct tunnel_peer_conf *me, const char *fp)
{
	const struct tunnel_peer_conf *p = NULL;

	while ((p = conf_next(snap, "tunnel-peer", p)) && p != me) {
		for (size_t i = 0; i < p->fingerprints.n; i++) {
			if (strcmp(p->fingerprints.v[i], fp) == 0)
				return p;
		}
	}
	return NULL;
}

static void check_peer(const struct conf_snapshot *snap, const void *section,
		       struct conf_errors *errors)
{
	const struct tunnel_peer_conf *p = section;
	uint8_t hash[KEYS_HASH_BYTES];
	char host[254];
	uint16_t port;

	if (p->fingerprints.n > KEYS_MAX_PER_PEER)
		conf_error(errors, p, "fingerprints", "at most %d", KEYS_MAX_PER_PEER);
	for (size_t i = 0; i < p->fingerprints.n; i++) {
		const char *fp = p->fingerprints.v[i];
		const struct tunnel_peer_conf *other = who_has(snap, p, fp);

		if (!keys_fingerprint_parse(slice_of(fp), hash))
			conf_error(errors, p, "fingerprints",
				   "'%s' is no fingerprint: SHA256: and 43 characters, as "
				   "ssh-keygen -lf prints it",
				   fp);
		else if (other)
			conf_error(errors, p, "fingerprints",
				   "'%s' belongs to [tunnel-peer %s] too", fp, other->common.name);
	}
	if (conf_role(snap) == CONF_ROLE_E && p->address)
		conf_error(errors, p, "address", "only C dials: remove it");
	else if (conf_role(snap) == CONF_ROLE_C &&
		 !tunnel_peer_address(p->address ? p->address : p->common.name, host, sizeof(host),
				      &port))
		conf_error(errors, p, p->address ? "address" : NULL,
			   "'%s' is not a host, host:port or [IPv6]:port",
			   p->address ? p->address : p->common.name);
}

/* What DNS takes, and underscores. */
static bool legal_host(const char *host)
{
	size_t n = strlen(host);

	return n > 0 && n <= 253 &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
		       n;
}

bool tunnel_peer_address(const char *text, char *host, size_t size, uint16_t *port)
{
	struct slice rest = slice_of(text);
	char ip[ADDR_STR_BYTES];
	uint64_t n = TUNNEL_PORT;
	struct addr a;
	size_t colon;

	*port = TUNNEL_PORT;
	if (addr_parse(rest, TUNNEL_PORT, &a) || addr_parse_ip(rest, TUNNEL_PORT, &a)) {
		*port = a.port;
		return a.port > 0 && slice_copy(host, size, slice_of(addr_ip_str(&a, ip)));
	}
	colon = slice_find(rest, ':');
	if (colon < rest.n &&
	    !slice_u64((struct slice){ rest.p + colon + 1, rest.n - colon - 1 }, 65535, &n))
		return false;
	*port = (uint16_t)n;
	return n > 0 && slice_copy(host, size, (struct slice){ rest.p, colon }) && legal_host(host);
}

const struct conf_section tunnel_conf_section = {
	.type = "tunnel",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct tunnel_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "SSH connections between C and E; idle without a [tunnel-peer]",
	.check = check_tunnel,
};

const struct conf_section tunnel_peer_conf_section = {
	.type = "tunnel-peer",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct tunnel_peer_conf),
	.rows = peer_rows,
	.n_rows = sizeof(peer_rows) / sizeof(peer_rows[0]),
	.help = "the other box of a tunnel",
	.check = check_peer,
};
