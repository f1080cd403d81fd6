/* [backends HOST] and [site NAME]. */
#include <stdio.h>
#include <string.h>

#include "core/tls.h"
#include "http/web_conf.h"

static const char *const modes[] = { "failover", "round-robin", NULL };
static const char *const vias[] = { "tunnel", "direct", NULL };

#define BACKENDS(k, t, member, ...)                                                        \
	{                                                                                  \
		.key = (k), .type = (t), .offset = offsetof(struct backends_conf, member), \
		__VA_ARGS__                                                                \
	}
#define SITE(k, t, member, ...)                                                                    \
	{                                                                                          \
		.key = (k), .type = (t), .offset = offsetof(struct site_conf, member), __VA_ARGS__ \
	}

static const struct conf_row backends_rows[] = {
	BACKENDS("servers", CONF_NAMES, servers, .flags = CONF_REQUIRED,
		 .help = "host[:port] of each, the best first; at most 8. Without a port: the "
			 "port of the URL"),
	BACKENDS("mode", CONF_ENUM, mode, .def = "failover", .names = modes,
		 .help = "failover: all requests to the first that works; round-robin: in turn to "
			 "all that work"),
	BACKENDS("health-path", CONF_STRING, health_path, .def = "/",
		 .help = "asked for on every server; an answer below 500 is a good one"),
	BACKENDS("health-interval", CONF_MS, health_interval_ms, .def = "10s", .min = 500,
		 .max = 3600000, .help = "time between two such questions"),
	BACKENDS("health-timeout", CONF_MS, health_timeout_ms, .def = "5s", .min = 100,
		 .max = 600000, .help = "no answer in it is a bad one"),
	BACKENDS("health-fails", CONF_U32, health_fails, .def = "3", .min = 1, .max = 100,
		 .help = "bad answers (or failed requests) in a row after which a server is left "
			 "out; one good answer brings it back"),
};

static void check_backends(const struct conf_snapshot *snap, const void *section,
			   struct conf_errors *errors)
{
	const struct backends_conf *c = section;
	struct http_url url;
	const char *why;
	char path[HTTP_URL_PATH_BYTES];

	if (!http_authority_parse(slice_of(c->common.name), 1, &url, &why) ||
	    strcmp(url.host, c->common.name) != 0)
		conf_error(errors, c, NULL, "the name is the host of the URLs, in lower case");
	if (c->servers.n > WEB_MAX_SERVERS)
		conf_error(errors, c, "servers", "%zu servers; at most %d are legal", c->servers.n,
			   WEB_MAX_SERVERS);
	for (size_t i = 0; i < c->servers.n; i++)
		if (!http_authority_parse(slice_of(c->servers.v[i]), 1, &url, &why))
			conf_error(errors, c, "servers", "\"%.80s\": %s", c->servers.v[i], why);
	if (c->health_path &&
	    !http_path_canonical(slice_of(c->health_path), path, sizeof(path), &why))
		conf_error(errors, c, "health-path", "\"%.80s\": %s", c->health_path, why);
}

const struct conf_section backends_section = {
	.type = "backends",
	.repeatable = true,
	.roles = CONF_ROLE_C,
	.size = sizeof(struct backends_conf),
	.rows = backends_rows,
	.n_rows = sizeof(backends_rows) / sizeof(backends_rows[0]),
	.help = "Several servers behind one host name: requests whose URL has that host go to one "
		"of them.",
	.check = check_backends,
};

static const struct conf_row site_rows[] = {
	SITE("port", CONF_U32, port, .min = 1, .max = 65535, .flags = CONF_REQUIRED,
	     .help = "port to listen at"),
	SITE("address", CONF_ADDR, address, .def = "any",
	     .help = "address of this host to listen at; any: all, IPv4 and IPv6"),
	SITE("tls", CONF_REF, tls, .ref = "tls", .flags = CONF_REQUIRED,
	     .help = "[tls NAME] with the certificate of the site"),
	SITE("paths", CONF_NAMES, paths,
	     .help = "prefixes that are served, all others are 404; none written: every path"),
	SITE("target", CONF_STRING, target, .flags = CONF_REQUIRED,
	     .help = "http://host[:port] or https://host[:port] of the server; with via = tunnel C "
		     "needs an [allow] rule with authentication = none for it"),
	SITE("via", CONF_ENUM, via, .def = "tunnel", .names = vias,
	     .help = "tunnel: through C; direct: E reaches it itself"),
	SITE("verify", CONF_BOOL, verify, .def = "yes",
	     .help = "direct and https: the server's certificate must be good for its name"),
	SITE("target-tls", CONF_REF, target_tls, .ref = "tls",
	     .help = "direct and https: [tls NAME] whose ca it must chain to; not written: the "
		     "system's CAs"),
};

static void check_site(const struct conf_snapshot *snap, const void *section,
		       struct conf_errors *errors)
{
	const struct site_conf *c = section;
	const struct site_conf *other = NULL;
	struct http_url url;
	const char *why;
	char path[HTTP_URL_PATH_BYTES];

	if (!http_url_parse(slice_of(c->target), &url, &why))
		conf_error(errors, c, "target", "\"%.120s\": %s", c->target, why);
	else if (strcmp(url.path, "/") != 0 || url.query.p)
		conf_error(errors, c, "target", "has no path: the request's own is used");
	for (size_t i = 0; i < c->paths.n; i++)
		if (!http_path_canonical(slice_of(c->paths.v[i]), path, sizeof(path), &why))
			conf_error(errors, c, "paths", "\"%.80s\": %s", c->paths.v[i], why);
		else if (strcmp(path, c->paths.v[i]) != 0)
			conf_error(errors, c, "paths",
				   "\"%.80s\" is compared as \"%.80s\": write "
				   "that",
				   c->paths.v[i], path);
	if (c->tls && !tls_conf_can_serve(snap, c->tls))
		conf_error(errors, c, "tls", "[tls %.60s] has no certificate to show", c->tls);
	while ((other = conf_next(snap, "site", other)) && other != c)
		if (other->port == c->port && addr_ip_eq(&other->address, &c->address))
			conf_error(errors, c, "port", "%u is the port of [site %s] already",
				   c->port, other->common.name);
}

const struct conf_section site_section = {
	.type = "site",
	.repeatable = true,
	.roles = CONF_ROLE_E,
	.size = sizeof(struct site_conf),
	.rows = site_rows,
	.n_rows = sizeof(site_rows) / sizeof(site_rows[0]),
	.help = "A web service inside (or beside E) published without sign-in on a port of its "
		"own.",
	.check = check_site,
};
