#ifndef SIGNIN_BACKENDS_H
#define SIGNIN_BACKENDS_H
/*
 * Who knows the passwords of a domain, by its [domain] section:
 *
 *   users  [web-user] sections, argon2id on the worker pool (auth_users.c)
 *   basic  GET of authentication-url with the credentials: 2xx yes, 401 and 403 no
 *   uds    the home cluster of the user, service "uc"
 *
 * Whatever else happens is AUTH_FAILED.
 */
#include "core/module.h"
#include "signin/authenticator.h"

struct signin_backends {
	struct env *env;
	struct service uc; /* ops NULL: none */
	uint32_t timeout_ms;
};

/* self is a struct signin_backends. */
extern const struct auth_backend signin_backend;

#endif
