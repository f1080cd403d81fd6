#include "uc/uc_conf.h"

#include "uc/host.h"

#define ROW(k, t, member, ...)                                                               \
	{                                                                                    \
		.key = (k), .type = (t), .offset = offsetof(struct uc_cluster_conf, member), \
		__VA_ARGS__                                                                  \
	}

static const char *const ways[] = { "static", "srv", "axl", NULL };
static const char *const securities[] = { "non-secure", "mixed", NULL };
static const char *const schemes[] = { "https", "http", NULL };

static const struct conf_row rows[] = {
	ROW("domains", CONF_NAMES, domains, .flags = CONF_REQUIRED,
	    .help = "[domain] sections whose users have their home here"),
	ROW("discovery", CONF_ENUM, discovery, .def = "static", .names = ways,
	    .help = "how the servers become known. static: written here; srv: call managers from "
		    "_cisco-uds._tcp and presence from _cuplogin._tcp of the domains; axl: asked "
		    "from the publisher"),
	ROW("call-managers", CONF_NAMES, call_managers,
	    .help = "static: host[:port] of each call manager, port being that of UDS"),
	ROW("tftp", CONF_NAMES, tftp,
	    .help = "host[:port] of the servers of configuration files; not written: the call "
		    "managers (static, srv), or those that the publisher names (axl)"),
	ROW("presence", CONF_NAMES, presence,
	    .help = "host[:port] of presence servers, besides those discovered"),
	ROW("voicemail", CONF_NAMES, voicemail, .help = "host[:port] of voicemail servers"),
	ROW("publisher", CONF_STRING, publisher,
	    .help = "axl: host[:port] of the database publisher; port 8443 when not written"),
	ROW("username", CONF_STRING, username,
	    .help = "axl: account with the role Standard AXL API Access"),
	ROW("password", CONF_SECRET, password, .help = "axl: its password"),
	ROW("verify", CONF_BOOL, verify, .def = "yes",
	    .help = "the certificates of the servers are checked"),
	ROW("tls", CONF_REF, tls, .ref = "tls",
	    .help = "[tls NAME] whose ca is trusted for that, and which secure SIP lines use; not "
		    "written: the system's CAs, and no CEtls zones"),
	ROW("uds-port", CONF_U32, uds_port, .def = "8443", .min = 1, .max = 65535,
	    .help = "port of UDS on servers without one of their own"),
	ROW("security", CONF_ENUM, security, .def = "non-secure", .names = securities,
	    .help = "static and srv: mixed when phones may register by TLS; axl asks"),
	ROW("sip-port", CONF_U32, sip_port, .def = "5060", .min = 1, .max = 65535,
	    .help = "SIP over TCP on the call managers"),
	ROW("sip-tls-port", CONF_U32, sip_tls_port, .def = "5061", .min = 1, .max = 65535,
	    .help = "SIP over TLS on the call managers"),
	ROW("sip", CONF_BOOL, sip, .def = "yes",
	    .help = "zones CEtcp-NODE (and CEtls-NODE of a mixed cluster) with their search rules "
		    "of priority 45 are made for each call manager"),
	ROW("refresh", CONF_MS, refresh_ms, .def = "1h", .min = 60000, .max = 7 * 86400000,
	    .help = "time between discoveries; `turnpikectl uc refresh` starts one at once"),
	ROW("probe", CONF_MS, probe_ms, .def = "30s", .min = 1000, .max = 3600000,
	    .help = "time between the questions whether each server is alive"),
	ROW("timeout", CONF_MS, timeout_ms, .def = "10s", .min = 500, .max = 60000,
	    .help = "longest time for one request to a server"),
	ROW("url-scheme", CONF_ENUM, url_scheme, .def = "https", .names = schemes,
	    .help = "http: passwords travel unprotected; for laboratories"),
};

static bool is_written(const char *text)
{
	return text && text[0];
}

static void check_servers(const struct uc_cluster_conf *c, const char *key,
			  const struct conf_names *names, struct conf_errors *errors)
{
	char host[UC_HOST_BYTES];
	uint16_t port;
	size_t i;

	for (i = 0; i < names->n; i++)
		if (!uc_host_parse(slice_of(names->v[i]), 1, host, &port))
			conf_error(errors, c, key,
				   "%.80s is no server; legal are host, host:port, IP address and "
				   "[IPv6 address]:port",
				   names->v[i]);
}

static void check_domains(const struct conf_snapshot *snap, const struct uc_cluster_conf *c,
			  struct conf_errors *errors)
{
	size_t i;

	if (c->domains.n == 0)
		conf_error(errors, c, "domains", "at least one domain is needed");
	for (i = 0; i < c->domains.n; i++)
		if (!conf_get(snap, "domain", c->domains.v[i]))
			conf_error(errors, c, "domains", "there is no [domain %.80s]",
				   c->domains.v[i]);
}

static void check_axl(const struct uc_cluster_conf *c, struct conf_errors *errors)
{
	char host[UC_HOST_BYTES];
	uint16_t port;

	if (!is_written(c->publisher))
		conf_error(errors, c, "publisher", "discovery = axl needs `publisher`");
	else if (!uc_host_parse(slice_of(c->publisher), 1, host, &port))
		conf_error(errors, c, "publisher",
			   "%.80s is no server; legal are host and "
			   "host:port",
			   c->publisher);
	if (!is_written(c->username))
		conf_error(errors, c, "username", "discovery = axl needs `username`");
	if (!is_written(c->password))
		conf_error(errors, c, "password", "discovery = axl needs `password`");
}

/* It becomes part of alarms, listings and origins of generated sections. */
static void check_name(const struct uc_cluster_conf *c, struct conf_errors *errors)
{
	const struct slice name = slice_of(c->common.name);

	if (name.n >= UC_CLUSTER_BYTES || !uc_host_is_plain(name))
		conf_error(errors, c, NULL,
			   "a cluster's name has 1 to %d letters, digits, dots, dashes and "
			   "underscores",
			   UC_CLUSTER_BYTES - 1);
}

static void check_count(const struct conf_snapshot *snap, const struct uc_cluster_conf *c,
			struct conf_errors *errors)
{
	const void *it;
	size_t n = 0;

	if (conf_next(snap, "uc-cluster", NULL) != c)
		return;
	for (it = c; it; it = conf_next(snap, "uc-cluster", it))
		n++;
	if (n > UC_MAX_CLUSTERS)
		conf_error(errors, c, NULL, "%zu [uc-cluster] sections; at most %d are legal", n,
			   UC_MAX_CLUSTERS);
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct uc_cluster_conf *c = section;

	check_count(snap, c, errors);
	check_name(c, errors);
	check_domains(snap, c, errors);
	check_servers(c, "call-managers", &c->call_managers, errors);
	check_servers(c, "tftp", &c->tftp, errors);
	check_servers(c, "presence", &c->presence, errors);
	check_servers(c, "voicemail", &c->voicemail, errors);
	if (c->discovery == UC_WAY_STATIC && c->call_managers.n == 0)
		conf_error(errors, c, "call-managers", "discovery = static needs `call-managers`");
	if (c->discovery != UC_WAY_STATIC && c->call_managers.n > 0)
		conf_error(errors, c, "call-managers", "only with discovery = static");
	if (c->discovery == UC_WAY_AXL)
		check_axl(c, errors);
	else if (is_written(c->publisher))
		conf_error(errors, c, "publisher", "only with discovery = axl");
}

const struct conf_section uc_cluster_section = {
	.type = "uc-cluster",
	.repeatable = true,
	.roles = CONF_ROLE_C,
	.size = sizeof(struct uc_cluster_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "A cluster of call managers inside, with its configuration file, presence and "
		"voicemail servers.",
	.check = check,
};
