#ifndef SIGNIN_ADMINS_H
#define SIGNIN_ADMINS_H
/*
 * Administrators ([admin NAME] sections) on either box: Basic credentials checked by an
 * authenticator of their own, so that they share limits, cache and timing with nobody. Besides what
 * the authenticator bounds by name, failures of one source are counted whatever names it tries.
 */
#include "signin/authenticator.h"
#include "signin/side.h"

#define ADMIN_CACHE_MS	    60000
#define ADMIN_CACHE_ENTRIES 1000

struct signin_admins;

struct admin_settings {
	struct rate_limit user_failures, source_failures;
	uint32_t timeout_ms;
	uint32_t max_checks;
};

typedef void (*admin_done)(void *arg, enum signin_status status, const char *name,
			   uint32_t retry_after_s, const char *why);

/* NULL without memory. */
struct signin_admins *signin_admins_new(const struct signin_world *w,
					const struct auth_backend *backend, void *backend_self);
/* Requests under way get no result. NULL is allowed. */
void signin_admins_free(struct signin_admins *a);
/* What is under way is gone without a result. */
void signin_admins_drop(struct signin_admins *a);
void signin_admins_configure(struct signin_admins *a, const struct admin_settings *s);
/* Nothing cached is good any more. */
void signin_admins_forget(struct signin_admins *a);
/* As signin_ops.admin. */
uint64_t signin_admins_check(struct signin_admins *a, struct slice authorization,
			     const struct addr *from, admin_done done, void *arg);
/* Is it an id that signin_admins_check() gave? Ids of other requests never are. */
bool signin_admins_is_id(uint64_t id);
void signin_admins_cancel(struct signin_admins *a, uint64_t id);
void signin_admins_status(const struct signin_admins *a, json_t *out);

/* Against the [admin NAME] sections; self is the struct env. */
extern const struct auth_backend signin_admin_backend;

#endif
