/* [zone NAME]: the rows and what must hold between them. */
#include "core/tls.h"
#include "route/sections.h"

#define MAX_PEERS 6

/* The other types of enum zone_type are not there yet: they are no legal values. */
static const char *const types[] = { "neighbour", "uc-traversal", NULL };
static const char *const transports[] = { "udp", "tcp", "tls", NULL };
static const char *const media[] = { "auto", "force-encrypted", "best-effort", "unencrypted",
				     NULL };
static const char *const contacts[] = { "path", "rewrite", NULL };

#define ROW(k, t, member, ...)                                                                     \
	{                                                                                          \
		.key = (k), .type = (t), .offset = offsetof(struct zone_conf, member), __VA_ARGS__ \
	}

static const struct conf_row rows[] = {
	ROW("type", CONF_ENUM, type, .names = types, .flags = CONF_REQUIRED,
	    .help = "neighbour: a PBX or other SIP system. uc-traversal: the link between C and E"),
	ROW("peers", CONF_NAMES, peers,
	    .help = "host[:port] of each system of the zone, at most 6; on E a uc-traversal zone "
		    "has "
		    "none, for C dials"),
	ROW("port", CONF_U32, port, .min = 1, .max = 65535, .flags = CONF_REQUIRED,
	    .help = "port of peers without one of their own, mostly 5060 or 5061; uc-traversal: "
		    "7001 "
		    "(+1 for each further zone), on E the port that C dials"),
	ROW("transport", CONF_ENUM, transport, .def = "tls", .names = transports,
	    .help = "how peers are reached; a uc-traversal zone is always tls"),
	ROW("username", CONF_STRING, username,
	    .help = "uc-traversal: user of the digest login, the same on C and E"),
	ROW("password", CONF_SECRET, password,
	    .help = "uc-traversal: password of the digest login, the same on C and E"),
	ROW("tls", CONF_REF, tls, .ref = "tls",
	    .help = "[tls NAME] with the certificate shown to peers and the CA that theirs chain "
		    "to"),
	ROW("verify-name", CONF_STRING, verify_name,
	    .help = "uc-traversal on E: name that C's certificate must carry (SAN)"),
	ROW("media-encryption", CONF_ENUM, media_encryption, .def = "auto", .names = media,
	    .help = "media toward peers. auto: as the other side of the call offers; "
		    "force-encrypted: SRTP or no call; best-effort: SRTP when the peer can; "
		    "unencrypted: plain RTP"),
	ROW("contact", CONF_ENUM, contact, .def = "path", .names = contacts,
	    .help = "how REGISTER goes to peers. path: with Path (RFC 3327); rewrite: the Contact "
		    "is "
		    "replaced, for PBXs that ignore Path"),
	ROW("hop-count", CONF_U32, hop_count, .def = "15", .min = 1, .max = 255,
	    .help = "most hops that a request sent to this zone may still take"),
	ROW("monitor", CONF_BOOL, monitor, .def = "yes",
	    .help = "ask peers with OPTIONS whether they are alive, and leave dead ones out"),
	ROW("keepalive", CONF_MS, keepalive_ms, .def = "20s", .min = 1000, .max = 3600000,
	    .help = "time between those OPTIONS; on a traversal link it keeps firewalls open"),
	ROW("retry-min", CONF_MS, retry_min_ms, .def = "200ms", .min = 10, .max = 3600000,
	    .help = "shortest time until a lost link is dialled again; it doubles up to retry-max"),
	ROW("retry-max", CONF_MS, retry_max_ms, .def = "30s", .min = 10, .max = 3600000,
	    .help = "longest time until a lost link is dialled again"),
	ROW("enabled", CONF_BOOL, enabled, .def = "yes",
	    .help = "no: nothing is sent to the zone and no link is kept"),
};

static bool is_written(const char *text)
{
	return text && text[0];
}

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_';
}

/* host, host:port, ip, ip:port, [ip6]:port; a bare IPv6 address is one too. */
static bool is_peer(struct slice peer)
{
	struct slice host = peer, port;
	struct addr addr;
	uint64_t number;
	size_t i;

	if (addr_parse_ip(peer, 0, &addr))
		return true;
	if (addr_parse(peer, 1, &addr))
		return addr.port != 0;
	host.n = slice_find(peer, ':');
	if (host.n < peer.n) {
		port = (struct slice){ peer.p + host.n + 1, peer.n - host.n - 1 };
		if (!slice_u64(port, 65535, &number) || number == 0)
			return false;
	}
	for (i = 0; i < host.n; i++)
		if (!is_host_char(host.p[i]))
			return false;
	return host.n > 0 && host.n <= 253;
}

static void check_name(const struct zone_conf *z, struct conf_errors *errors)
{
	const struct slice name = slice_of(z->common.name);
	bool is_legal = name.n > 0 && name.n < ROUTE_ZONE_BYTES;
	size_t i;

	for (i = 0; i < name.n; i++)
		is_legal = is_legal && is_host_char(name.p[i]);
	if (!is_legal)
		conf_error(
			errors, z, NULL,
			"a zone's name has 1 to %d letters, digits, dots, dashes and underscores",
			ROUTE_ZONE_BYTES - 1);
	if (route_zone_name_reserved(name))
		conf_error(errors, z, NULL,
			   "this name has a meaning of its own in search rules; use another");
}

static void check_peers(const struct zone_conf *z, struct conf_errors *errors)
{
	size_t i;

	if (z->peers.n > MAX_PEERS)
		conf_error(errors, z, "peers", "%zu peers; at most %d are legal", z->peers.n,
			   MAX_PEERS);
	for (i = 0; i < z->peers.n; i++)
		if (!is_peer(slice_of(z->peers.v[i])))
			conf_error(errors, z, "peers",
				   "%.80s is no peer; legal are host, host:port, IP address and "
				   "[IPv6 address]:port",
				   z->peers.v[i]);
}

static void check_media(const struct zone_conf *z, struct conf_errors *errors)
{
	const bool wants_keys = z->media_encryption == ZONE_MEDIA_ENCRYPTED ||
				z->media_encryption == ZONE_MEDIA_BEST_EFFORT;

	/* RFC 4568 7: SDES keys are as safe as the signalling that carries them. */
	if (wants_keys && z->transport != ZONE_TLS)
		conf_error(errors, z, "media-encryption",
			   "%s needs transport = tls: the media keys travel in the signalling",
			   media[z->media_encryption]);
}

static void check_tls(const struct zone_conf *z, struct conf_errors *errors)
{
	if (z->transport == ZONE_TLS && !is_written(z->tls))
		conf_error(errors, z, "tls",
			   "transport = tls needs `tls`, the name of a [tls] "
			   "section");
}

static void check_neighbour(const struct conf_snapshot *snap, const struct zone_conf *z,
			    struct conf_errors *errors)
{
	if (conf_role(snap) == CONF_ROLE_E && z->transport == ZONE_UDP)
		conf_error(errors, z, "transport",
			   "on E a neighbour comes by tcp or tls: anybody can write its address "
			   "into a datagram");
	if (z->peers.n == 0)
		conf_error(errors, z, "peers", "a neighbour zone needs at least one peer");
	if (is_written(z->username) || is_written(z->password))
		conf_error(errors, z, is_written(z->username) ? "username" : "password",
			   "only uc-traversal zones have a login");
	if (is_written(z->verify_name))
		conf_error(
			errors, z, "verify-name",
			"only for uc-traversal zones on E; peers are checked by their host name");
}

/* Two listeners cannot share a port; the public SIP ports are taken too. */
static void check_listener(const struct conf_snapshot *snap, const struct zone_conf *z,
			   struct conf_errors *errors)
{
	const struct zone_conf *other;

	if (z->port == 5060 || z->port == 5061)
		conf_error(errors, z, "port", "%u is a public SIP port; use 7001 and up", z->port);
	for (other = conf_next(snap, "zone", NULL); other && other != z;
	     other = conf_next(snap, "zone", other)) {
		if (other->type != ZONE_UC_TRAVERSAL || other->port != z->port)
			continue;
		conf_error(errors, z, "port", "%u is the port of [zone %s] already", z->port,
			   other->common.name);
		return;
	}
}

static void check_traversal(const struct conf_snapshot *snap, const struct zone_conf *z,
			    struct conf_errors *errors)
{
	const bool is_edge = conf_role(snap) == CONF_ROLE_E;

	if (!is_written(z->username))
		conf_error(errors, z, "username", "a uc-traversal zone needs `username`");
	if (!is_written(z->password))
		conf_error(errors, z, "password", "a uc-traversal zone needs `password`");
	if (z->transport != ZONE_TLS)
		conf_error(errors, z, "transport", "a uc-traversal zone is always tls");
	if (is_written(z->tls) && !tls_conf_can_serve(snap, z->tls))
		conf_error(errors, z, "tls", "[tls %.60s] has no certificate: both sides show one",
			   z->tls);
	if (!is_edge && z->peers.n == 0)
		conf_error(errors, z, "peers", "C dials: name 1 to %d edges", MAX_PEERS);
	if (!is_edge && is_written(z->verify_name))
		conf_error(errors, z, "verify-name",
			   "only on E; C checks each edge's certificate for its name in `peers`");
	if (!is_edge)
		return;
	if (z->peers.n > 0)
		conf_error(errors, z, "peers",
			   "E never dials C: a uc-traversal zone has `port` "
			   "and `verify-name` here, no peers");
	if (!is_written(z->verify_name))
		conf_error(errors, z, "verify-name",
			   "E needs the name that C's certificate must carry");
	check_listener(snap, z, errors);
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct zone_conf *z = section;

	route_section_count(snap, z, "zone", ROUTE_MAX_ZONES, errors);
	check_name(z, errors);
	check_peers(z, errors);
	check_tls(z, errors);
	check_media(z, errors);
	if (z->retry_min_ms > z->retry_max_ms)
		conf_error(errors, z, "retry-min", "must not be over retry-max");
	if (z->type == ZONE_NEIGHBOUR)
		check_neighbour(snap, z, errors);
	else
		check_traversal(snap, z, errors);
}

const struct conf_section route_zone_section = {
	.type = "zone",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct zone_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "A system that requests come from and go to: a PBX, or the other half of the pair.",
	.check = check,
};
