/* [web]: the edge service and the limits of every HTTP connection. */
#include "http/web_conf.h"

#include <stdio.h>
#include <string.h>

#include "core/tls.h"

#define ROW(k, t, member, ...)                                                                    \
	{                                                                                         \
		.key = (k), .type = (t), .offset = offsetof(struct web_conf, member), __VA_ARGS__ \
	}

static const struct conf_row rows[] = {
	ROW("port", CONF_U32, port, .def = "8443", .min = 1, .max = 65535,
	    .help = "E: HTTPS port of the edge service"),
	ROW("address", CONF_ADDR, address, .def = "any",
	    .help = "E: address of this host to listen at; any: all, IPv4 and IPv6"),
	ROW("tls", CONF_REF, tls, .ref = "tls",
	    .help = "E: [tls NAME] with the public certificate; not written: no edge service"),
	ROW("realm", CONF_STRING, realm, .def = "Cisco-Edge",
	    .help = "E: realm of the password question; the default is the one that clients of "
		    "mobile and remote access know"),
	ROW("cookie-name", CONF_STRING, cookie_name, .def = "X-Auth",
	    .help = "E: name of the sign-in cookie; the default is the one that such clients know"),
	ROW("cookie-domain", CONF_STRING, cookie_domain,
	    .help = "E: domain of the sign-in cookie, with its leading dot; not written: the "
		    "parent domain of [system] name. Write it when clients find E under another "
		    "domain"),
	ROW("max-connections", CONF_U32, max_connections, .def = "20000", .min = 1, .max = 1000000,
	    .help = "E: connections at a time"),
	ROW("max-per-source", CONF_U32, max_per_source, .def = "1000", .min = 0, .max = 1000000,
	    .help = "E: connections of one IPv4 address or IPv6 /64; 0: no limit. A whole office "
		    "may stand behind one address"),
	ROW("new-per-second", CONF_U32, new_per_second, .def = "2000", .min = 0, .max = 1000000,
	    .help = "E: new connections per second, twice that in a burst; 0: no limit"),
	ROW("handshake-timeout", CONF_MS, handshake_ms, .def = "10s", .min = 100, .max = 600000,
	    .help = "E: the TLS handshake must end in it"),
	ROW("head-timeout", CONF_MS, head_ms, .def = "10s", .min = 100, .max = 600000,
	    .help = "a request's head must be whole in it, from its first byte"),
	ROW("idle-timeout", CONF_MS, idle_ms, .def = "75s", .min = 100, .max = 86400000,
	    .help = "a connection without a request is closed after it"),
	ROW("server-idle", CONF_MS, server_idle_ms, .def = "10s", .min = 0, .max = 86400000,
	    .help = "a connection to a server, or a stream of the tunnel, waits so long for the "
		    "next request of its client; 0: as long as that client's connection"),
	ROW("min-rate", CONF_BYTES, min_rate, .def = "240", .min = 0, .max = 1000000000,
	    .help = "bytes per second at which a body must come and an answer be taken; 0: any"),
	ROW("min-rate-time", CONF_MS, min_rate_ms, .def = "10s", .min = 1000, .max = 600000,
	    .help = "time over which min-rate is measured"),
	ROW("connect-timeout", CONF_MS, connect_ms, .def = "10s", .min = 100, .max = 600000,
	    .help = "until the connection to a server inside (on E: the stream to C) stands"),
	ROW("response-timeout", CONF_MS, response_ms, .def = "60s", .min = 100, .max = 86400000,
	    .help = "from the end of a request to the head of its answer; 504 after it"),
	ROW("answer-idle", CONF_MS, answer_idle_ms, .def = "10m", .min = 0, .max = 86400000,
	    .help = "an answer within which a server says nothing for so long is cut; 0: never"),
	ROW("upgrade-idle", CONF_MS, upgrade_idle_ms, .def = "1h", .min = 1000, .max = 86400000,
	    .help = "a WebSocket on which nothing moves is closed after it"),
	ROW("max-head", CONF_BYTES, max_head, .def = "64k", .min = 1024, .max = 1048576,
	    .help = "size of a head (request line and fields); 431 over it"),
	ROW("max-body", CONF_BYTES, max_body, .def = "0", .min = 0, .max = 4294967295,
	    .help = "size of a request's body; 413 over it; 0: any"),
	ROW("max-requests", CONF_U32, max_requests, .def = "0", .min = 0, .max = 1000000000,
	    .help = "requests on one connection; 0: any number"),
	ROW("server", CONF_STRING, server, .def = "turnpike",
	    .help = "Server field of answers that this box makes itself"),
	ROW("via", CONF_STRING, via, .def = "turnpike",
	    .help = "E: name in the Via field of requests and answers (RFC 9110); nothing behind "
		    "the =: no Via, for servers inside that do not compress when they see one"),
};

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct web_conf *c = section;

	if (c->cookie_name && !http_is_token(slice_of(c->cookie_name)))
		conf_error(errors, c, "cookie-name", "must be a token (letters, digits, - and _)");
	if (c->realm && (!http_is_field_value(slice_of(c->realm)) || strpbrk(c->realm, "\"\\")))
		conf_error(errors, c, "realm", "no quotes, backslashes or control characters");
	if (c->server && !http_is_field_value(slice_of(c->server)))
		conf_error(errors, c, "server", "no control characters");
	if (c->via && c->via[0] && !http_is_token(slice_of(c->via)))
		conf_error(errors, c, "via", "must be a token (letters, digits, - and _)");
	if (c->cookie_domain && c->cookie_domain[0] &&
	    strspn(c->cookie_domain, "abcdefghijklmnopqrstuvwxyz0123456789.-") !=
		    strlen(c->cookie_domain))
		conf_error(errors, c, "cookie-domain",
			   "a domain has lower-case letters, digits, dashes and dots");
	if (conf_role(snap) == CONF_ROLE_C && conf_is_set(c, "tls"))
		conf_error(errors, c, "tls", "C serves no HTTPS of its own; set it on E");
	else if (c->tls && !tls_conf_can_serve(snap, c->tls))
		conf_error(errors, c, "tls", "[tls %.60s] has no certificate to show", c->tls);
}

const struct conf_section web_section = {
	.type = "web",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct web_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "HTTP: on E the edge service that apps sign in at, on both boxes the limits.",
	.check = check,
};

struct http_engine_conf web_engine_conf(const struct web_conf *c)
{
	return (struct http_engine_conf){
		.limits = { .max_head = c->max_head,
			    .max_line = c->max_head / 2,
			    .max_fields = HTTP1_MAX_FIELDS },
		.head_ms = c->head_ms,
		.idle_ms = c->idle_ms,
		.back_idle_ms = c->server_idle_ms,
		.min_rate_bps = c->min_rate,
		.min_rate_ms = c->min_rate_ms,
		.connect_ms = c->connect_ms,
		.response_ms = c->response_ms,
		.answer_idle_ms = c->answer_idle_ms,
		.upgrade_idle_ms = c->upgrade_idle_ms,
		.max_body = c->max_body,
		.max_requests = c->max_requests,
		.server = c->server,
		.via = c->via && c->via[0] ? c->via : NULL,
	};
}

void web_cookie_domain(const struct web_conf *c, const char *system_name, char *out, size_t size)
{
	const char *dot = strchr(system_name, '.');

	if (c->cookie_domain && c->cookie_domain[0])
		snprintf(out, size, "%s", c->cookie_domain);
	else
		snprintf(out, size, "%s", dot && strchr(dot + 1, '.') ? dot : "");
}
