#ifndef SIGNIN_AUTH_USERS_H
#define SIGNIN_AUTH_USERS_H
/* Passwords against the hashes of sections ([web-user], [admin]): argon2id on the worker pool. */
#include "core/worker.h"
#include "signin/authenticator.h"

struct auth_users_check;

/* An unknown user costs the same as a known one: then hash is that of another one (NULL: a
 * built-in) which is verified, and the answer is no all the same. hash is copied. NULL: the pool is
 * full, or no memory. */
struct auth_users_check *auth_users_start(struct worker_pool *workers, const char *hash,
					  bool is_known, const struct signin_credentials *c,
					  auth_done done, void *arg);
/* No callback afterwards; the thread may still run. */
void auth_users_cancel(struct auth_users_check *check);

#endif
