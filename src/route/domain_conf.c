/* [domain NAME]: whose users this pair serves. */
#include "route/sections.h"

#define ROW(k, t, member, ...)                                                           \
	{                                                                                \
		.key = (k), .type = (t), .offset = offsetof(struct domain_conf, member), \
		__VA_ARGS__                                                              \
	}

static const char *const authentications[] = { "none", "uds", "basic", "users", NULL };

static const struct conf_row rows[] = {
	ROW("sip", CONF_STRING, sip, .def = "none",
	    .help = "zone:NAME: SIP of the domain goes to that zone; on C the PBX, on E the "
		    "uc-traversal zone. uc (C): to the call managers of its [uc-cluster] sections. "
		    "none: no SIP"),
	ROW("im", CONF_BOOL, im, .def = "no", .help = "chat of the domain is carried"),
	ROW("federation", CONF_BOOL, federation, .def = "no",
	    .help = "C: users of the domain and of partners chat with each other ([federation])"),
	ROW("guest", CONF_BOOL, guest, .def = "no",
	    .help = "C: credentials of the TURN server may be made in its name, for its guests "
		    "(docs/protocol/api.md)"),
	ROW("web", CONF_BOOL, web, .def = "no",
	    .help = "C: users of the domain may sign in and use web services inside (port 8443 "
		    "on E)"),
	ROW("authentication", CONF_ENUM, authentication, .def = "none", .names = authentications,
	    .help = "C: who checks passwords. uds: the call managers of the domain's [uc-cluster] "
		    "sections; basic: the server at authentication-url; users: [web-user] "
		    "sections"),
	ROW("authentication-url", CONF_STRING, authentication_url,
	    .help = "C: http or https URL that answers 2xx to good Basic credentials and 401 to "
		    "bad ones"),
	ROW("authentication-tls", CONF_REF, authentication_tls, .ref = "tls",
	    .help = "C: [tls NAME] whose ca the certificate of that server chains to; not written: "
		    "the system's CAs"),
	ROW("sip-signin", CONF_BOOL, sip_signin, .def = "no",
	    .help = "C: a phone may register only when its user has signed in on port 8443, and "
		    "with the same password"),
};

/* Lower case, because names are compared as they stand. */
static bool is_domain(struct slice name)
{
	size_t i;

	for (i = 0; i < name.n; i++) {
		const char c = name.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.')
			return false;
	}
	return name.n > 0 && name.n <= 253 && name.p[0] != '.' && name.p[name.n - 1] != '.';
}

static void check_sip(const struct conf_snapshot *snap, const struct domain_conf *d,
		      struct conf_errors *errors)
{
	const struct slice zone = route_domain_sip_zone(d);
	const struct zone_conf *z;

	if (slice_eq(slice_of(d->sip), SLICE("none")))
		return;
	if (slice_eq(slice_of(d->sip), SLICE("uc"))) {
		if (conf_role(snap) != CONF_ROLE_C)
			conf_error(errors, d, "sip", "only C knows call managers; on E: zone:NAME");
		return;
	}
	if (zone.n == 0) {
		conf_error(errors, d, "sip",
			   "\"%.80s\" is wrong; legal values: zone:NAME, uc, none",
			   d->sip ? d->sip : "");
		return;
	}
	z = conf_get(snap, "zone", zone.p);
	if (!z)
		conf_error(errors, d, "sip", "there is no [zone %.80s]", zone.p);
	else if (conf_role(snap) == CONF_ROLE_C && route_zone_is_traversal(z->type))
		conf_error(errors, d, "sip",
			   "[zone %.80s] leads back to E; on C name the zone of the PBX", zone.p);
}

/* What only C can know must not be believed to work on E. */
static void check_web(const struct conf_snapshot *snap, const struct domain_conf *d,
		      struct conf_errors *errors)
{
	static const char *const core_only[] = {
		"federation",	      "guest",	   "web", "authentication", "authentication-url",
		"authentication-tls", "sip-signin"
	};
	const bool has_url = d->authentication_url && d->authentication_url[0];
	size_t i;

	if (conf_role(snap) == CONF_ROLE_E) {
		for (i = 0; i < sizeof(core_only) / sizeof(core_only[0]); i++)
			if (conf_is_set(d, core_only[i]))
				conf_error(errors, d, core_only[i],
					   "is set on C, which tells E about it");
		return;
	}
	if (d->authentication == DOMAIN_AUTH_BASIC && !has_url)
		conf_error(errors, d, "authentication-url",
			   "authentication = basic needs `authentication-url`");
	if (d->authentication != DOMAIN_AUTH_BASIC && has_url)
		conf_error(errors, d, "authentication-url", "only with authentication = basic");
	if ((d->web || d->sip_signin) && d->authentication == DOMAIN_AUTH_NONE)
		conf_error(errors, d, d->web ? "web" : "sip-signin",
			   "nobody could sign in: set `authentication` to uds, basic or users");
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct domain_conf *d = section;

	if (!is_domain(slice_of(d->common.name)))
		conf_error(errors, d, NULL,
			   "a domain has 1 to 253 lower-case letters, digits, dashes and dots");
	check_sip(snap, d, errors);
	check_web(snap, d, errors);
}

const struct conf_section route_domain_section = {
	.type = "domain",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct domain_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "A domain whose users are served. With sip = zone:NAME it brings the search rule "
		"domain:NAME of priority 45.",
	.check = check,
};
