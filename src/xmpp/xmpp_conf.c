/* [xmpp], [im-server NAME], [federation] and [partner DOMAIN]. */
#include "xmpp/xmpp_conf.h"

#include <string.h>

#include "core/tls.h"
#include "proto/xmpp.h"
#include "xmpp/partner.h"

#define MAX_DOMAINS 256 /* of one IM server */
#define MAX_HOSTS   32
/* RFC 6120 section 13.12: no server may take less. */
#define MIN_STANZA_BYTES 10000

#define XMPP(k, t, member, ...)                                                                    \
	{                                                                                          \
		.key = (k), .type = (t), .offset = offsetof(struct xmpp_conf, member), __VA_ARGS__ \
	}
#define SERVER(k, t, member, ...)                                                           \
	{                                                                                   \
		.key = (k), .type = (t), .offset = offsetof(struct im_server_conf, member), \
		__VA_ARGS__                                                                 \
	}
#define FEDERATION(k, t, member, ...)                                                        \
	{                                                                                    \
		.key = (k), .type = (t), .offset = offsetof(struct federation_conf, member), \
		__VA_ARGS__                                                                  \
	}
#define PARTNER(k, t, member, ...)                                                        \
	{                                                                                 \
		.key = (k), .type = (t), .offset = offsetof(struct partner_conf, member), \
		__VA_ARGS__                                                               \
	}

static const char *const inner_tls[] = { "starttls", "direct", "plain", NULL };
static const char *const inner_federation[] = { "s2s", "component", "none", NULL };
static const char *const modes[] = { "off", "allow-list", "deny-list", NULL };
static const char *const partner_tls[] = { "required", "optional", "off", NULL };
static const char *const partner_auth[] = { "any", "certificate", "dialback", NULL };

static const struct conf_row xmpp_rows[] = {
	XMPP("port", CONF_U32, port, .def = "5222", .min = 0, .max = 65535,
	     .help = "E: port for chat clients, STARTTLS and TLS from the first byte; 0: none"),
	XMPP("address", CONF_ADDR, address, .def = "any",
	     .help = "E: address of this host to listen at for clients and partners; any: every "
		     "one"),
	XMPP("tls", CONF_STRING, tls,
	     .help = "E: [tls NAME] with the public certificate for clients; several names: the "
		     "first is shown, the others to clients that ask for a name (SNI) of theirs"),
	XMPP("client-ca", CONF_REF, client_ca, .ref = "tls",
	     .help = "E: clients may show a certificate (SASL EXTERNAL) that chains to the `ca` of "
		     "this [tls NAME], the first one of `tls`; not written: none is asked for"),
	XMPP("s2s-port", CONF_U32, s2s_port, .def = "5269", .min = 0, .max = 65535,
	     .help = "E: port for partners, open while C says that some domain federates; 0: none"),
	XMPP("s2s-tls", CONF_REF, s2s_tls, .ref = "tls",
	     .help = "E: [tls NAME] with the certificate for partners, its `ca` being what theirs "
		     "chain to; not written: the first one of `tls`"),
	XMPP("max-streams", CONF_U32, max_streams, .def = "20000", .min = 1, .max = 1000000,
	     .help = "E: connections of clients"),
	XMPP("max-per-source", CONF_U32, max_per_source, .def = "1000", .min = 0, .max = 1000000,
	     .help = "E: connections of one IPv4 address or IPv6 /64; 0: no limit"),
	XMPP("new-per-second", CONF_U32, new_per_second, .def = "500", .min = 0, .max = 1000000,
	     .help = "E: new connections per second, twice that in a burst; 0: no limit"),
	XMPP("max-unauthenticated", CONF_U32, max_unauthenticated, .def = "2000", .min = 1,
	     .max = 1000000, .help = "E: streams that have not signed in; more are refused"),
	XMPP("max-unauthenticated-per-source", CONF_U32, max_unauthenticated_source, .def = "200",
	     .min = 0, .max = 1000000,
	     .help = "E: of those, streams of one IPv4 address or IPv6 /64; 0: no limit"),
	XMPP("auth-timeout", CONF_MS, auth_timeout_ms, .def = "30s", .min = 1000, .max = 600000,
	     .help = "a client must have signed in so long after it connected"),
	XMPP("idle-timeout", CONF_MS, idle_ms, .def = "1h", .min = 1000, .max = 604800000,
	     .help = "E: a client that sent nothing for so long, no space either, is disconnected"),
	XMPP("stanza-bytes", CONF_BYTES, stanza_bytes, .def = "256k", .min = MIN_STANZA_BYTES,
	     .max = 16777216,
	     .help = "longest stanza of who has signed in; policy-violation over "
		     "it"),
	XMPP("stanza-bytes-unauthenticated", CONF_BYTES, stanza_bytes_unauthenticated, .def = "10k",
	     .min = 1024, .max = 1048576, .help = "longest element before that"),
	XMPP("rate", CONF_BYTES, rate_bytes, .def = "256k", .min = 0, .max = 1073741824,
	     .help = "E: bytes per second that are read from one client; faster ones are slowed "
		     "down; 0: no limit"),
	XMPP("burst", CONF_BYTES, burst_bytes, .def = "1m", .min = 1024, .max = 1073741824,
	     .help = "E: bytes that may come at once"),
	XMPP("send-timeout", CONF_MS, send_timeout_ms, .def = "60s", .min = 1000, .max = 3600000,
	     .help = "who takes nothing for so long while something waits for it is disconnected"),
	XMPP("park-after", CONF_MS, park_ms, .def = "20s", .min = 0, .max = 86400000,
	     .help = "E: a signed-in stream without a stanza for so long gives its connection to C "
		     "back, and takes one again when it has something to say; 0: never"),
	XMPP("max-failures", CONF_U32, max_failures, .def = "5", .min = 1, .max = 100,
	     .help = "E: failed attempts to sign in on one stream"),
	XMPP("failures-per-minute", CONF_U32, failures_per_minute, .def = "30", .min = 0,
	     .max = 1000000,
	     .help = "E: failed attempts to sign in from one IPv4 address or IPv6 /64; more are "
		     "refused until the minute is over; 0: no limit"),
	XMPP("pass-channel-binding", CONF_BOOL, keep_binding, .def = "no",
	     .help = "let SCRAM-...-PLUS offers of IM servers pass. They bind to the TLS "
		     "connection "
		     "that ends here, so only servers that know this can use them; set it on both "
		     "boxes"),
	XMPP("pool-port", CONF_U32, pool_port, .def = "7400", .min = 1, .max = 65535,
	     .help = "port on E of the connections that C keeps open for chat streams"),
	XMPP("pool-address", CONF_ADDR, pool_address, .def = "any",
	     .help = "E: address of this host for them, the inside one with two interfaces; any: "
		     "every one"),
	XMPP("pool-tls", CONF_REF, pool_tls, .ref = "tls",
	     .help = "[tls NAME] with the pair's own certificate and `ca`, shown and asked for on "
		     "both sides of these connections"),
	XMPP("pool-idle", CONF_U32, pool_idle, .def = "8", .min = 1, .max = 1000,
	     .help = "C: connections kept idle at each E; as many clients can connect at once "
		     "without waiting"),
	XMPP("pool-max", CONF_U32, pool_max, .def = "6000", .min = 1, .max = 64000,
	     .help = "C: connections to each E, those with streams too"),
	XMPP("pool-source-ports", CONF_PORTS, pool_source_ports, .def = "30000-35999",
	     .help = "C: local ports of these connections"),
};

static const struct conf_row server_rows[] = {
	SERVER("enabled", CONF_BOOL, enabled, .def = "yes", .help = "no: as if it were not there"),
	SERVER("domains", CONF_NAMES, domains, .flags = CONF_REQUIRED,
	       .help = "domains that it serves, words: [domain NAME] sections with im = yes, and "
		       "names of its chat nodes and components beside them, which federate with "
		       "them"),
	SERVER("hosts", CONF_NAMES, hosts,
	       .help = "names or addresses of its nodes, words; each user has one of them; not "
		       "written: SRV records of the domain"),
	SERVER("port", CONF_U32, port, .def = "0", .min = 0, .max = 65535,
	       .help = "port for clients; 0: as SRV says, else 5222, with tls = direct 5223"),
	SERVER("tls", CONF_ENUM, tls, .def = "starttls", .names = inner_tls,
	       .help = "how streams to it are protected"),
	SERVER("ca", CONF_REF, ca, .ref = "tls",
	       .help = "[tls NAME] whose `ca` its certificate chains to; not written: the system's "
		       "CAs"),
	SERVER("verify", CONF_BOOL, verify, .def = "yes",
	       .help = "its certificate must be valid and carry the host or the domain"),
	SERVER("proxy-protocol", CONF_BOOL, proxy_protocol, .def = "no",
	       .help = "tell it the client's address in front of the stream (PROXY protocol v2)"),
	SERVER("sasl-external", CONF_BOOL, sasl_external, .def = "no",
	       .help = "users may sign in by the certificate that E has checked (see client-ca of "
		       "[xmpp] on E)"),
	SERVER("federation", CONF_ENUM, federation, .def = "s2s", .names = inner_federation,
	       .help = "how stanzas of partners reach it: as another server (RFC 6120, dialback), "
		       "as a component (XEP-0114), not at all"),
	SERVER("s2s-port", CONF_U32, s2s_port, .def = "5269", .min = 1, .max = 65535,
	       .help = "its port for servers, with federation = s2s"),
	SERVER("component-port", CONF_U32, component_port, .def = "5347", .min = 1, .max = 65535,
	       .help = "its port for components, with federation = component"),
	SERVER("component-secret", CONF_SECRET, component_secret,
	       .help = "secret of the component there"),
};

static const struct conf_row federation_rows[] = {
	FEDERATION("mode", CONF_ENUM, mode, .def = "off", .names = modes,
		   .help = "C: who may federate. allow-list: [partner] sections and `allow`; "
			   "deny-list: everybody but `deny` and partners that are not enabled"),
	FEDERATION("allow", CONF_NAMES, allow,
		   .help = "C: partner domains, words, beside the [partner] sections; no "
			   "wildcards"),
	FEDERATION("deny", CONF_NAMES, deny, .help = "C: domains that never are partners, words"),
	FEDERATION("tls", CONF_ENUM, tls, .def = "required", .names = partner_tls,
		   .help = "C: TLS with partners that say nothing else"),
	FEDERATION("auth", CONF_ENUM, auth, .def = "any", .names = partner_auth,
		   .help = "C: how partners show who they are: certificate (SASL EXTERNAL), "
			   "dialback (XEP-0220), any: the certificate when it is good, else "
			   "dialback"),
	FEDERATION("dialback-secret", CONF_SECRET, dialback_secret,
		   .help = "C: key of dialback, the same on every C whose E boxes serve one "
			   "domain; not written: made at start"),
	FEDERATION("inside-port", CONF_U32, inside_port, .def = "5269", .min = 0, .max = 65535,
		   .help = "C: port where IM servers with federation = s2s reach partners; 0: "
			   "none"),
	FEDERATION("inside-address", CONF_ADDR, inside_address, .def = "any",
		   .help = "C: address of this host for it; any: every one"),
	FEDERATION("inside-tls", CONF_REF, inside_tls, .ref = "tls",
		   .help = "C: [tls NAME] shown there; not written: no TLS there"),
	FEDERATION("bidi", CONF_BOOL, bidi, .def = "yes",
		   .help = "one stream for both directions with who can (XEP-0288)"),
	FEDERATION("idle-timeout", CONF_MS, idle_ms, .def = "10m", .min = 1000, .max = 86400000,
		   .help = "a stream without a stanza for so long is closed"),
	FEDERATION("auth-timeout", CONF_MS, auth_timeout_ms, .def = "30s", .min = 1000,
		   .max = 600000,
		   .help = "a server must have shown who it is so long after it "
			   "connected"),
	FEDERATION("queue-bytes", CONF_BYTES, queue_bytes, .def = "256k", .min = 10240,
		   .max = 67108864,
		   .help = "stanzas to one partner that wait for a stream; more "
			   "come back as errors"),
};

static const struct conf_row partner_rows[] = {
	PARTNER("enabled", CONF_BOOL, enabled, .def = "yes",
		.help = "no: this domain is no partner, with deny-list too"),
	PARTNER("tls", CONF_ENUM, tls, .names = partner_tls,
		.help = "TLS with it; not written: as [federation]"),
	PARTNER("auth", CONF_ENUM, auth, .names = partner_auth,
		.help = "how it shows who it is; not written: as [federation]"),
	PARTNER("routes", CONF_NAMES, routes,
		.help = "host:port of its servers, words, instead of DNS"),
	PARTNER("direct-tls", CONF_BOOL, direct_tls, .def = "no",
		.help = "its routes want TLS from the first byte"),
};

bool xmpp_conf_on(const struct xmpp_conf *c)
{
	return c->common.line != 0;
}

/* By its row, because the section belongs to another module. */
static bool domain_flag(const struct conf_common *c, const char *key)
{
	for (size_t i = 0; c && i < c->schema->n_rows; i++) {
		const struct conf_row *row = &c->schema->rows[i];

		if (row->type == CONF_BOOL && strcmp(row->key, key) == 0)
			return *(const bool *)((const char *)c + row->offset);
	}
	return false;
}

bool xmpp_conf_domain(const struct conf_snapshot *snap, const char *name)
{
	return domain_flag(conf_get(snap, "domain", name), "im");
}

/* What DNS takes, and underscores. */
static bool is_host(const char *host)
{
	size_t n = strlen(host);

	return n > 0 && n <= 253 &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
		       n;
}

bool xmpp_conf_route(struct slice text, char *host, size_t size, uint16_t *port)
{
	uint64_t n = 5269;
	char ip[ADDR_STR_BYTES];
	struct addr a;
	size_t colon;

	if (addr_parse(text, 5269, &a) || addr_parse_ip(text, 5269, &a)) {
		*port = a.port;
		return a.port > 0 && slice_copy(host, size, slice_of(addr_ip_str(&a, ip)));
	}
	colon = slice_find(text, ':');
	if (colon < text.n &&
	    !slice_u64((struct slice){ text.p + colon + 1, text.n - colon - 1 }, 65535, &n))
		return false;
	*port = (uint16_t)n;
	return n > 0 && slice_copy(host, size, (struct slice){ text.p, colon }) && is_host(host);
}

/* --- checks --- */

static bool is_name(const char *word)
{
	char out[XMPP_DOMAIN_BYTES];

	return xmpp_domain(slice_of(word), out) && strcmp(out, word) == 0;
}

static void check_names(const void *section, const char *key, const struct conf_names *names,
			size_t max, struct conf_errors *errors)
{
	if (names->n > max)
		conf_error(errors, section, key, "at most %zu", max);
	for (size_t i = 0; i < names->n; i++)
		if (!is_name(names->v[i]))
			conf_error(errors, section, key,
				   "\"%.80s\" is no domain: labels in lower case, or an address",
				   names->v[i]);
}

/* What the other box decides must not be believed to work here. */
static void check_role(const void *section, unsigned role, const char *const *keys, unsigned of,
		       struct conf_errors *errors)
{
	if (role == of)
		return;
	for (; *keys; keys++)
		if (conf_is_set(section, *keys))
			conf_error(errors, section, *keys, "is set on %s",
				   of == CONF_ROLE_E ? "E, where clients and partners come in"
						     : "C, which tells E about it");
}

static bool written(const char *text)
{
	return text && text[0];
}

static const struct tls_conf *tls_of(const struct conf_snapshot *snap, struct slice name)
{
	const struct tls_conf *t = NULL;

	while ((t = conf_next(snap, "tls", t)) && !slice_eq(slice_of(t->common.name), name))
		;
	return t;
}

static void check_shown(const struct conf_snapshot *snap, const void *section, const char *key,
			const char *names, struct conf_errors *errors)
{
	struct slice rest = slice_of(written(names) ? names : "");

	for (struct slice w = slice_word(&rest); w.n > 0; w = slice_word(&rest)) {
		const struct tls_conf *t = tls_of(snap, w);

		if (!t)
			conf_error(errors, section, key, "there is no [tls %.*s]",
				   (int)(w.n < 60 ? w.n : 60), w.p);
		else if (!t->certificate)
			conf_error(errors, section, key, "[tls %.60s] has no certificate to show",
				   t->common.name);
	}
}

static void check_pool(const struct conf_snapshot *snap, const struct xmpp_conf *c,
		       struct conf_errors *errors)
{
	const struct tls_conf *t;

	if (!written(c->pool_tls)) {
		conf_error(errors, c, "pool-tls",
			   "is missing: the [tls NAME] with the pair's certificate and `ca`");
		return;
	}
	check_shown(snap, c, "pool-tls", c->pool_tls, errors);
	t = conf_get(snap, "tls", c->pool_tls);
	if (t && !t->ca)
		conf_error(errors, c, "pool-tls", "[tls %.60s] needs `ca`: whom to believe",
			   c->pool_tls);
}

static void check_clients(const struct conf_snapshot *snap, const struct xmpp_conf *c,
			  struct conf_errors *errors)
{
	struct slice rest = slice_of(written(c->tls) ? c->tls : "");
	struct slice first = slice_word(&rest);
	const struct tls_conf *ca =
		written(c->client_ca) ? conf_get(snap, "tls", c->client_ca) : NULL;

	if (c->port && first.n == 0)
		conf_error(errors, c, "tls",
			   "is missing: [tls NAME] with the certificate for clients (or port = 0)");
	check_shown(snap, c, "tls", c->tls, errors);
	check_shown(snap, c, "s2s-tls", c->s2s_tls, errors);
	if (ca && !slice_eq(slice_of(c->client_ca), first))
		conf_error(errors, c, "client-ca", "must be the first section of `tls`");
	else if (ca && !ca->ca)
		conf_error(errors, c, "client-ca", "[tls %.60s] has no `ca`", c->client_ca);
	if (c->port && (c->port == c->pool_port || c->port == c->s2s_port))
		conf_error(errors, c, "port", "`port`, `s2s-port` and `pool-port` must differ");
	if (c->s2s_port == c->pool_port)
		conf_error(errors, c, "s2s-port", "is `pool-port` too");
	if (c->stanza_bytes_unauthenticated > c->stanza_bytes)
		conf_error(errors, c, "stanza-bytes-unauthenticated",
			   "is more than `stanza-bytes`");
}

static bool is_served(const struct conf_snapshot *snap, const char *domain)
{
	const struct im_server_conf *s = NULL;

	while ((s = conf_next(snap, "im-server", s)))
		for (size_t i = 0; s->enabled && i < s->domains.n; i++)
			if (strcmp(s->domains.v[i], domain) == 0)
				return true;
	return false;
}

static void check_core(const struct conf_snapshot *snap, const struct xmpp_conf *c,
		       struct conf_errors *errors)
{
	const struct conf_common *d = NULL;

	while ((d = conf_next(snap, "domain", d))) {
		const char *key = domain_flag(d, "im") ? "im" : "federation";

		if (domain_flag(d, key) && !is_served(snap, d->name))
			conf_error(errors, d, key, "no enabled [im-server] has the domain %.80s",
				   d->name);
	}
	if (c->pool_source_ports.first == 0)
		conf_error(errors, c, "pool-source-ports", "ports begin at 1");
	if (c->pool_max < c->pool_idle)
		conf_error(errors, c, "pool-max", "is less than `pool-idle`");
	else if (c->pool_max > (uint32_t)c->pool_source_ports.last - c->pool_source_ports.first + 1)
		conf_error(errors, c, conf_is_set(c, "pool-max") ? "pool-max" : "pool-source-ports",
			   "`pool-max` is more than `pool-source-ports` has ports");
}

static void check_xmpp(const struct conf_snapshot *snap, const void *section,
		       struct conf_errors *errors)
{
	static const char *const edge[] = { "port",
					    "address",
					    "tls",
					    "client-ca",
					    "s2s-port",
					    "s2s-tls",
					    "max-streams",
					    "max-per-source",
					    "new-per-second",
					    "max-unauthenticated",
					    "max-unauthenticated-per-source",
					    "idle-timeout",
					    "rate",
					    "burst",
					    "park-after",
					    "max-failures",
					    "failures-per-minute",
					    "pool-address",
					    NULL };
	static const char *const core[] = { "pool-idle", "pool-max", "pool-source-ports", NULL };
	const struct xmpp_conf *c = section;

	if (!xmpp_conf_on(c))
		return;
	check_role(c, conf_role(snap), edge, CONF_ROLE_E, errors);
	check_role(c, conf_role(snap), core, CONF_ROLE_C, errors);
	check_pool(snap, c, errors);
	if (conf_role(snap) == CONF_ROLE_E)
		check_clients(snap, c, errors);
	else
		check_core(snap, c, errors);
}

/* Chat nodes and components are names of their own, but of somebody whom this pair serves. */
static bool has_own_domain(const struct conf_snapshot *snap, const struct im_server_conf *s)
{
	for (size_t i = 0; i < s->domains.n; i++)
		if (conf_get(snap, "domain", s->domains.v[i]))
			return true;
	return s->domains.n == 0;
}

/* Each domain has one place, or a user would have two homes. */
static void check_twice(const struct conf_snapshot *snap, const struct im_server_conf *me,
			struct conf_errors *errors)
{
	const struct im_server_conf *s = NULL;

	while ((s = conf_next(snap, "im-server", s)) && s != me)
		for (size_t i = 0; s->enabled && i < s->domains.n; i++)
			for (size_t k = 0; k < me->domains.n; k++)
				if (strcmp(s->domains.v[i], me->domains.v[k]) == 0)
					conf_error(errors, me, "domains",
						   "[im-server %.60s] has %.80s already",
						   s->common.name, me->domains.v[k]);
}

static void check_server(const struct conf_snapshot *snap, const void *section,
			 struct conf_errors *errors)
{
	const struct im_server_conf *s = section;
	const struct xmpp_conf *x = conf_get(snap, "xmpp", NULL);
	char host[256];
	uint16_t port;

	if (!s->enabled)
		return;
	if (x && !xmpp_conf_on(x))
		conf_error(errors, s, NULL, "needs [xmpp] with `pool-tls`");
	if (s->domains.n == 0)
		conf_error(errors, s, "domains", "is empty");
	check_names(s, "domains", &s->domains, MAX_DOMAINS, errors);
	check_twice(snap, s, errors);
	if (!has_own_domain(snap, s))
		conf_error(errors, s, "domains", "none of them is a [domain NAME]");
	if (s->hosts.n > MAX_HOSTS)
		conf_error(errors, s, "hosts", "at most %d", MAX_HOSTS);
	for (size_t i = 0; i < s->hosts.n; i++)
		if (!xmpp_conf_route(slice_of(s->hosts.v[i]), host, sizeof(host), &port))
			conf_error(errors, s, "hosts", "\"%.80s\" is no host or address",
				   s->hosts.v[i]);
	if (s->federation == XMPP_INNER_COMPONENT && !written(s->component_secret))
		conf_error(errors, s, "component-secret", "federation = component needs it");
	if (s->tls == XMPP_INNER_PLAIN && conf_is_set(s, "ca"))
		conf_error(errors, s, "ca", "tls = plain looks at no certificate");
}

static void check_federation(const struct conf_snapshot *snap, const void *section,
			     struct conf_errors *errors)
{
	static const char *const core[] = { "mode",	   "allow",	     "deny",
					    "tls",	   "auth",	     "dialback-secret",
					    "inside-port", "inside-address", "inside-tls",
					    NULL };
	const struct federation_conf *f = section;
	const struct xmpp_conf *x = conf_get(snap, "xmpp", NULL);

	check_role(f, conf_role(snap), core, CONF_ROLE_C, errors);
	check_names(f, "allow", &f->allow, PARTNER_MAX, errors);
	check_names(f, "deny", &f->deny, PARTNER_MAX, errors);
	if (f->mode != FEDERATION_OFF && x && !xmpp_conf_on(x))
		conf_error(errors, f, "mode", "needs [xmpp] with `pool-tls`");
	if (f->tls == S2S_TLS_OFF && f->auth == S2S_AUTH_CERTIFICATE)
		conf_error(errors, f, "auth", "without TLS there is no certificate");
	check_shown(snap, f, "inside-tls", f->inside_tls, errors);
}

static void check_partner(const struct conf_snapshot *snap, const void *section,
			  struct conf_errors *errors)
{
	const struct partner_conf *p = section;
	const struct federation_conf *f = conf_get(snap, "federation", NULL);
	int tls = conf_is_set(p, "tls") || !f ? p->tls : f->tls;
	int auth = conf_is_set(p, "auth") || !f ? p->auth : f->auth;
	char host[256];
	uint16_t port;

	if (!is_name(p->common.name))
		conf_error(errors, p, NULL,
			   "[partner DOMAIN]: a domain in lower case, without wildcards");
	if (conf_get(snap, "domain", p->common.name))
		conf_error(errors, p, NULL, "[domain %.80s] is one of ours", p->common.name);
	if (tls == S2S_TLS_OFF && auth == S2S_AUTH_CERTIFICATE)
		conf_error(errors, p, conf_is_set(p, "auth") ? "auth" : "tls",
			   "without TLS there is no certificate");
	if (tls == S2S_TLS_OFF && p->direct_tls)
		conf_error(errors, p, "direct-tls", "tls is off");
	if (p->direct_tls && p->routes.n == 0)
		conf_error(errors, p, "direct-tls",
			   "only with `routes`: without, SRV records say what is direct TLS");
	if (p->routes.n > PARTNER_MAX_ROUTES)
		conf_error(errors, p, "routes", "at most %d", PARTNER_MAX_ROUTES);
	for (size_t i = 0; i < p->routes.n; i++)
		if (!xmpp_conf_route(slice_of(p->routes.v[i]), host, sizeof(host), &port))
			conf_error(errors, p, "routes",
				   "\"%.80s\" is wrong; legal values: host:port, [ip6]:port",
				   p->routes.v[i]);
}

const struct conf_section xmpp_conf_section = {
	.type = "xmpp",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct xmpp_conf),
	.rows = xmpp_rows,
	.n_rows = sizeof(xmpp_rows) / sizeof(xmpp_rows[0]),
	.help = "Chat (XMPP): clients and partners come in on E, IM servers are behind C. Off "
		"without this section.",
	.check = check_xmpp,
};

const struct conf_section im_server_conf_section = {
	.type = "im-server",
	.repeatable = true,
	.roles = CONF_ROLE_C,
	.size = sizeof(struct im_server_conf),
	.rows = server_rows,
	.n_rows = sizeof(server_rows) / sizeof(server_rows[0]),
	.help = "An XMPP server inside, or a cluster of them.",
	.check = check_server,
};

const struct conf_section federation_conf_section = {
	.type = "federation",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct federation_conf),
	.rows = federation_rows,
	.n_rows = sizeof(federation_rows) / sizeof(federation_rows[0]),
	.help = "Chat with users of other domains, server to server.",
	.check = check_federation,
};

const struct conf_section partner_conf_section = {
	.type = "partner",
	.repeatable = true,
	.roles = CONF_ROLE_C,
	.size = sizeof(struct partner_conf),
	.rows = partner_rows,
	.n_rows = sizeof(partner_rows) / sizeof(partner_rows[0]),
	.help = "[partner DOMAIN]: a domain that users may federate with, and how.",
	.check = check_partner,
};
