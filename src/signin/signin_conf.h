#ifndef SIGNIN_SIGNIN_CONF_H
#define SIGNIN_SIGNIN_CONF_H
/* The [signin] section, the [web-user USER@DOMAIN] and the [admin NAME] ones. */
#include "core/conf_schema.h"
#include "core/conf_store.h"
#include "base/slice.h"

struct signin_conf {
	struct conf_common common;
	uint32_t cache_life_ms, cache_cleanup_ms;
	uint32_t cache_entries;
	uint32_t session_life_ms;
	uint32_t max_sessions;
	uint32_t rate, rate_period_ms;
	uint32_t user_failures, user_period_ms;
	uint32_t source_failures, source_period_ms;
	uint32_t authentication_timeout_ms;
	uint32_t max_checks;
};

struct web_user_conf {
	struct conf_common common; /* name: USER@DOMAIN */
	char *password_hash;
};

struct admin_conf {
	struct conf_common common;
	char *password_hash;
};

extern const struct conf_section signin_conf_section;
extern const struct conf_section web_user_conf_section;
extern const struct conf_section admin_conf_section;

/* The [web-user] of that user, NULL when there is none. */
const struct web_user_conf *web_user_find(const struct conf_snapshot *snap, struct slice domain,
					  struct slice user);
/* Any [web-user] of that domain, NULL without one. */
const struct web_user_conf *web_user_any(const struct conf_snapshot *snap, struct slice domain);

#endif
