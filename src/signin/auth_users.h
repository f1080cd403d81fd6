#ifndef SIGNIN_AUTH_USERS_H
#define SIGNIN_AUTH_USERS_H
/* Passwords against [web-user] sections: argon2id on the worker pool. */
#include "core/conf_store.h"
#include "core/worker.h"
#include "signin/authenticator.h"

struct auth_users_check;

/* An unknown user costs the same as a known one: the hash of another one (or a built-in) is
 * verified and the answer is no all the same. The snapshot is used before it returns only. NULL:
 * the pool is full, or no memory. */
struct auth_users_check *auth_users_start(struct worker_pool *workers,
					  const struct conf_snapshot *snap,
					  const struct signin_credentials *c, auth_done done,
					  void *arg);
/* No callback afterwards; the thread may still run. */
void auth_users_cancel(struct auth_users_check *check);

#endif
