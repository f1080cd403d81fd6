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
			 "out; one good answer to a health question brings it back"),
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
	SITE("redirect-port", CONF_U32, redirect_port, .def = "0", .max = 65535,
	     .help = "plain HTTP port that answers every request with a redirect to https; 0: "
		     "none"),
	SITE("public-host", CONF_STRING, public_host,
	     .help = "host of the https URLs that redirect-port sends to; not written: the one "
		     "that "
		     "was asked for"),
	SITE("public-port", CONF_U32, public_port, .def = "443", .min = 1, .max = 65535,
	     .help = "port of those URLs: the one that the internet sees, which the firewall maps "
		     "to "
		     "`port`"),
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

static void check_target(const struct site_conf *c, struct conf_errors *errors)
{
	struct http_url url;
	const char *why;

	if (!http_url_parse(slice_of(c->target), &url, &why))
		conf_error(errors, c, "target", "\"%.120s\": %s", c->target, why);
	else if (strcmp(url.path, "/") != 0 || url.query.p)
		conf_error(errors, c, "target", "has no path: the request's own is used");
}

static void check_paths(const struct site_conf *c, struct conf_errors *errors)
{
	const char *why;
	char path[HTTP_URL_PATH_BYTES];

	for (size_t i = 0; i < c->paths.n; i++)
		if (!http_path_canonical(slice_of(c->paths.v[i]), path, sizeof(path), &why))
			conf_error(errors, c, "paths", "\"%.80s\": %s", c->paths.v[i], why);
		else if (strcmp(path, c->paths.v[i]) != 0)
			conf_error(errors, c, "paths",
				   "\"%.80s\" is compared as \"%.80s\": write "
				   "that",
				   c->paths.v[i], path);
}

/* One of the two is every address, or both are the same. */
static bool addresses_meet(const struct addr *a, const struct addr *b)
{
	return a->family == ADDR_NONE || b->family == ADDR_NONE || addr_ip_eq(a, b);
}

/* Whose is the port already? The sites before this one in the file, and the edge service. */
static void check_port(const struct conf_snapshot *snap, const struct site_conf *c, const char *key,
		       uint32_t port, struct conf_errors *errors)
{
	const struct web_conf *w = conf_get(snap, "web", NULL);
	const struct site_conf *other = NULL;

	if (port == 0)
		return;
	if (w && w->tls && w->tls[0] && w->port == port && addresses_meet(&w->address, &c->address))
		conf_error(errors, c, key, "%u is the port of [web] already", port);
	while ((other = conf_next(snap, "site", other)) && other != c) {
		if (!addresses_meet(&other->address, &c->address))
			continue;
		if (other->port == port || other->redirect_port == port)
			conf_error(errors, c, key, "%u is %s of [site %.60s] already", port,
				   other->port == port ? "the port" : "the redirect-port",
				   other->common.name);
	}
}

static void check_redirect(const struct conf_snapshot *snap, const struct site_conf *c,
			   struct conf_errors *errors)
{
	char host[HTTP_URL_HOST_BYTES];
	struct addr ip;
	const char *why;

	if (c->public_host && !http_host_parse(slice_of(c->public_host), host, &ip, &why))
		conf_error(errors, c, "public-host", "\"%.80s\": %s", c->public_host, why);
	if (c->redirect_port == c->port)
		conf_error(errors, c, "redirect-port", "%u is the port of the site itself",
			   c->port);
	else
		check_port(snap, c, "redirect-port", c->redirect_port, errors);
}

static void check_site(const struct conf_snapshot *snap, const void *section,
		       struct conf_errors *errors)
{
	const struct site_conf *c = section;

	if (strlen(c->common.name) >= WEB_SITE_BYTES)
		conf_error(errors, c, NULL, "the name of a site has at most %d bytes",
			   WEB_SITE_BYTES - 1);
	check_target(c, errors);
	check_paths(c, errors);
	if (c->tls && !tls_conf_can_serve(snap, c->tls))
		conf_error(errors, c, "tls", "[tls %.60s] has no certificate to show", c->tls);
	check_port(snap, c, "port", c->port, errors);
	check_redirect(snap, c, errors);
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
