/* [allow NAME]: one rule of the allow list. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http/web_conf.h"

static const char *const matches[] = { "prefix", "exact", NULL };
static const char *const authentications[] = { "required", "none", NULL };

#define ROW(k, t, member, ...)                                                          \
	{                                                                               \
		.key = (k), .type = (t), .offset = offsetof(struct allow_conf, member), \
		__VA_ARGS__                                                             \
	}

static const struct conf_row rows[] = {
	ROW("url", CONF_STRING, url, .flags = CONF_REQUIRED,
	    .help = "http or https URL of the server, with port and path where wanted. The host "
		    "is compared as clients write it; an address literal here is also the only way "
		    "to reach loopback, link-local addresses and this host itself"),
	ROW("match", CONF_ENUM, match, .def = "prefix", .names = matches,
	    .help = "prefix: the path and everything below it; exact: only the path"),
	ROW("methods", CONF_NAMES, methods, .def = "GET HEAD OPTIONS POST",
	    .help = "of GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, or all"),
	ROW("authentication", CONF_ENUM, authentication, .def = "required",
	    .names = authentications,
	    .help = "none: also for requests of a [site] on E, whose users have not signed in"),
	ROW("verify", CONF_BOOL, verify, .def = "yes",
	    .help = "https: the server's certificate must be good for its name"),
	ROW("tls", CONF_REF, tls, .ref = "tls",
	    .help = "https: [tls NAME] whose ca it must chain to; not written: the system's CAs"),
	ROW("response-timeout", CONF_MS, response_ms, .def = "0", .max = 86400000,
	    .help = "for slow servers; 0: as in [web]"),
};

static bool methods_of(const struct allow_conf *c, unsigned *out)
{
	*out = 0;
	for (size_t i = 0; i < c->methods.n; i++) {
		unsigned one;

		if (!allow_methods_parse(slice_of(c->methods.v[i]), &one))
			return false;
		*out |= one;
	}
	return *out != 0;
}

/* Automatic rules have a space in their names, so that no written one is ever taken for one. */
static bool is_rule_name(const char *name)
{
	return strlen(name) < 64 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
		       strlen(name);
}

static void check_count(const struct conf_snapshot *snap, const struct allow_conf *c,
			struct conf_errors *errors)
{
	size_t n = 0;

	if (conf_next(snap, "allow", NULL) != c)
		return;
	for (const void *it = c; it; it = conf_next(snap, "allow", it))
		n++;
	if (n > ALLOW_MAX_CONF)
		conf_error(errors, c, NULL, "%zu [allow] sections; at most %d are legal", n,
			   ALLOW_MAX_CONF);
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct allow_conf *c = section;
	struct http_url url;
	const char *why;
	unsigned methods;

	check_count(snap, c, errors);
	if (!is_rule_name(c->common.name))
		conf_error(errors, c, NULL,
			   "a rule's name has 1 to 63 letters, digits, dots, dashes and "
			   "underscores");
	if (!http_url_parse(slice_of(c->url), &url, &why))
		conf_error(errors, c, "url", "\"%.120s\": %s", c->url, why);
	else if (url.query.p)
		conf_error(errors, c, "url", "a rule has no query; it matches any");
	else if (strlen(url.path) >= sizeof(((struct allow_rule *)0)->path))
		conf_error(errors, c, "url", "the path is over 511 characters");
	if (!methods_of(c, &methods))
		conf_error(errors, c, "methods",
			   "legal values: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, all");
}

const struct conf_section allow_section = {
	.type = "allow",
	.repeatable = true,
	.roles = CONF_ROLE_C,
	.size = sizeof(struct allow_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "A server inside that signed-in users may reach. What discovery found is allowed "
		"without a rule (turnpikectl allow).",
	.check = check,
};

void allow_rule_from_conf(const struct allow_conf *c, struct allow_rule *out)
{
	struct http_url url;
	const char *why;

	memset(out, 0, sizeof(*out));
	if (!http_url_parse(slice_of(c->url), &url, &why))
		return; /* refused by check() */
	slice_copy(out->name, sizeof(out->name), slice_of(c->common.name));
	slice_copy(out->host, sizeof(out->host), slice_of(url.host));
	slice_copy(out->path, sizeof(out->path), slice_of(url.path));
	slice_copy(out->tls, sizeof(out->tls), slice_of(c->tls));
	out->https = url.https;
	out->port = url.port;
	out->exact = c->match == ALLOW_MATCH_EXACT;
	out->open = c->authentication == 1;
	out->verify = c->verify;
	out->response_ms = c->response_ms;
	methods_of(c, &out->methods);
}

int allow_add_conf(struct allow_list *l, const struct conf_snapshot *snap)
{
	const struct allow_conf *c = NULL;
	int error = 0;

	while (error == 0 && (c = conf_next(snap, "allow", c))) {
		struct allow_rule rule;

		allow_rule_from_conf(c, &rule);
		error = rule.host[0] ? allow_add(l, &rule) : 0;
	}
	return error;
}
