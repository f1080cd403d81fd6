#ifndef SIGNIN_CORE_SIDE_H
#define SIGNIN_CORE_SIDE_H
/*
 * The service on C: takes sign-ins (its own and those that edges pass on), keeps the sessions and
 * publishes them and the domains to every edge. Takes nothing from an edge but calls.
 */
#include "signin/authenticator.h"
#include "signin/side.h"

#define SIGNIN_MAX_PER_USER 32 /* sessions of one user */

struct core_side;

struct core_settings {
	struct auth_settings auth;
	uint32_t session_life_s;
	size_t max_sessions;
	const struct signin_domain *domains; /* copied; peer is 0 */
	size_t n_domains;
};

/* NULL without memory. Serves nothing before core_side_configure(). */
struct core_side *core_side_new(const struct signin_world *w, const struct auth_backend *backend,
				void *backend_self);
/* Requests under way get no result. */
void core_side_free(struct core_side *s);
/* Lets go of the tunnel and drops what is under way; sessions stay, nothing new gets through. */
void core_side_stop(struct core_side *s);
/* Registers with the tunnel (ops NULL: there is none). 0 or what the tunnel said. */
int core_side_start(struct core_side *s, const struct service *tunnel);
/* Tells edges what changed; sessions of domains that are not served for the web any more end. 0 or
 * -ENOMEM with nothing changed. */
int core_side_configure(struct core_side *s, const struct core_settings *settings);
/* Nothing cached is good any more (the settings that decide have changed). */
void core_side_forget(struct core_side *s);
void core_side_end(struct core_side *s, struct signin_entry *e, const char *why);
struct signin_side *core_side_base(struct core_side *s);
void core_side_status(const struct core_side *s, json_t *out);

/* self is a struct core_side. */
extern const struct signin_ops core_side_ops;

#endif
