/* [domain NAME]: whose users this pair serves. */
#include "route/sections.h"

#define ROW(k, t, member, ...)                                                           \
	{                                                                                \
		.key = (k), .type = (t), .offset = offsetof(struct domain_conf, member), \
		__VA_ARGS__                                                              \
	}

static const struct conf_row rows[] = {
	ROW("sip", CONF_STRING, sip, .def = "none",
	    .help = "zone:NAME: SIP of the domain goes to that zone; on C the PBX, on E the "
		    "uc-traversal zone. none: no SIP"),
	ROW("im", CONF_BOOL, im, .def = "no", .help = "chat of the domain is carried"),
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
	if (zone.n == 0) {
		conf_error(errors, d, "sip", "\"%.80s\" is wrong; legal values: zone:NAME, none",
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

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct domain_conf *d = section;

	if (!is_domain(slice_of(d->common.name)))
		conf_error(errors, d, NULL,
			   "a domain has 1 to 253 lower-case letters, digits, dashes and dots");
	check_sip(snap, d, errors);
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
