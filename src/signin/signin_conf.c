#include "signin/signin_conf.h"

#include "signin/name.h"
#include "signin/password_hash.h"
#include "turnpike/route.h"

#define ROW(k, t, member, ...)                                                           \
	{                                                                                \
		.key = (k), .type = (t), .offset = offsetof(struct signin_conf, member), \
		__VA_ARGS__                                                              \
	}
#define DAY_MS	(24 * 60 * 60 * 1000)
#define WEEK_MS (7 * DAY_MS)

static const struct conf_row rows[] = {
	ROW("cache-life", CONF_MS, cache_life_ms, .def = "480m", .max = WEEK_MS,
	    .help = "C: how long good credentials are good without asking again (kept as keyed "
		    "hashes); 0: always ask"),
	ROW("cache-cleanup", CONF_MS, cache_cleanup_ms, .def = "720m", .min = 1000, .max = WEEK_MS,
	    .help = "C: how often what is over its life is cleared out of that cache"),
	ROW("cache-entries", CONF_U32, cache_entries, .def = "10000", .max = 1000000,
	    .help = "C: credentials in that cache; 0: none"),
	ROW("session-life", CONF_MS, session_life_ms, .def = "480m", .min = 1000, .max = WEEK_MS,
	    .help = "C: how long a sign-in lasts, used or not"),
	/* All of them go over the control channel after a reconnect, and must stay under what it
	 * takes at a time (CONTROL_BURST_MSGS in tunnel/control.h). */
	ROW("max-sessions", CONF_U32, max_sessions, .def = "10000", .min = 1, .max = 40000,
	    .help = "sessions at one time"),
	ROW("rate", CONF_U32, rate, .def = "10", .max = 1000000,
	    .help = "C: good sign-ins of one user in rate-period, more are answered with 429; 0: "
		    "no limit. Wrong passwords are slowed down by user and source besides"),
	ROW("rate-period", CONF_MS, rate_period_ms, .def = "5m", .min = 1000, .max = DAY_MS,
	    .help = "C: the period of `rate`"),
	ROW("user-failures", CONF_U32, user_failures, .def = "50", .max = 1000000,
	    .help = "C, administrators also on E: wrong passwords for one name in user-period, "
		    "from wherever; then only those who signed in with the right one before get "
		    "in; 0: any number"),
	ROW("user-period", CONF_MS, user_period_ms, .def = "10m", .min = 1000, .max = DAY_MS,
	    .help = "the period of `user-failures`"),
	ROW("source-failures", CONF_U32, source_failures, .def = "20", .max = 1000000,
	    .help = "E, administrators also on C: failed sign-ins from one address (IPv6: /64) in "
		    "source-period, then it gets 429, except for users who are signed in from "
		    "there; 0: no limit"),
	ROW("source-period", CONF_MS, source_period_ms, .def = "5m", .min = 1000, .max = DAY_MS,
	    .help = "the period of `source-failures`"),
	ROW("authentication-timeout", CONF_MS, authentication_timeout_ms, .def = "15s", .min = 1000,
	    .max = 120000, .help = "how long to wait for what knows the passwords"),
	ROW("max-checks", CONF_U32, max_checks, .def = "64", .min = 1, .max = 10000,
	    .help = "C: password checks at one time"),
};

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	static const char *const core_only[] = { "cache-life",	  "cache-cleanup",
						 "cache-entries", "session-life",
						 "rate",	  "rate-period",
						 "max-checks",	  NULL };

	if (conf_role(snap) == CONF_ROLE_C)
		return;
	for (const char *const *key = core_only; *key; key++)
		if (conf_is_set(section, *key))
			conf_error(errors, section, *key, "is a setting of C");
}

const struct conf_section signin_conf_section = {
	.type = "signin",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct signin_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "Signing in on port 8443.",
	.check = check,
};

static const struct conf_row user_rows[] = {
	{ .key = "password-hash",
	  .type = CONF_SECRET,
	  .offset = offsetof(struct web_user_conf, password_hash),
	  .flags = CONF_REQUIRED,
	  .help = "$argon2id$v=19$m=65536,t=3,p=1$SALT$HASH; m at most 262144 (256 MiB), t at "
		  "most 10" },
};

static void check_user(const struct conf_snapshot *snap, const void *section,
		       struct conf_errors *errors)
{
	const struct web_user_conf *u = section;
	struct slice rest = slice_of(u->common.name), user = slice_next(&rest, '@');
	const struct domain_conf *d;
	struct password_hash_cost cost;
	const char *why;

	if (!signin_user_valid(user) || !signin_domain_valid(rest)) {
		conf_error(
			errors, u, NULL,
			"a web user is written [web-user USER@DOMAIN], the domain in lower case");
		return;
	}
	d = conf_get(snap, "domain", rest.p);
	if (!d || d->authentication != DOMAIN_AUTH_USERS)
		conf_error(errors, u, NULL,
			   d ? "[domain %s] does not have authentication = users"
			     : "there is no [domain %s]",
			   rest.p);
	if (!password_hash_parse(slice_of(u->password_hash), &cost, &why))
		conf_error(errors, u, "password-hash", "%s", why);
}

const struct conf_section web_user_conf_section = {
	.type = "web-user",
	.repeatable = true,
	.roles = CONF_ROLE_C,
	.size = sizeof(struct web_user_conf),
	.rows = user_rows,
	.n_rows = 1,
	.help = "A user of a domain with authentication = users; the name is USER@DOMAIN.",
	.check = check_user,
};

static const struct conf_row admin_rows[] = {
	{ .key = "password-hash",
	  .type = CONF_SECRET,
	  .offset = offsetof(struct admin_conf, password_hash),
	  .flags = CONF_REQUIRED,
	  .help = "as in [web-user]; `turnpikectl hash-password admin NAME` prints the section" },
};

static void check_admin(const struct conf_snapshot *snap, const void *section,
			struct conf_errors *errors)
{
	const struct admin_conf *a = section;
	struct password_hash_cost cost;
	const char *why;

	if (!signin_user_valid(slice_of(a->common.name)))
		conf_error(errors, a, NULL,
			   "an administrator is written [admin NAME], without @ and colon");
	if (!password_hash_parse(slice_of(a->password_hash), &cost, &why))
		conf_error(errors, a, "password-hash", "%s", why);
}

const struct conf_section admin_conf_section = {
	.type = "admin",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct admin_conf),
	.rows = admin_rows,
	.n_rows = 1,
	.help = "An administrator, whose programs may use the API (C: [api]).",
	.check = check_admin,
};

const struct web_user_conf *web_user_find(const struct conf_snapshot *snap, struct slice domain,
					  struct slice user)
{
	char name[SIGNIN_ACCOUNT_BYTES];

	return signin_account_print(user, domain, name) ? conf_get(snap, "web-user", name) : NULL;
}

const struct web_user_conf *web_user_any(const struct conf_snapshot *snap, struct slice domain)
{
	const struct web_user_conf *u = NULL;

	while ((u = conf_next(snap, "web-user", u))) {
		struct slice rest = slice_of(u->common.name);

		slice_next(&rest, '@');
		if (slice_caseeq(rest, domain))
			return u;
	}
	return NULL;
}
