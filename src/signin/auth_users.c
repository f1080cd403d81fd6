#include "signin/auth_users.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "signin/password_hash.h"

struct auth_users_check {
	auth_done done; /* NULL: cancelled */
	void *arg;
	bool is_known;
	char encoded[PASSWORD_HASH_BYTES];
	char password[SIGNIN_PASSWORD_BYTES];
};

/* On a worker thread. */
static int run(void *arg)
{
	struct auth_users_check *c = arg;
	bool good = password_hash_verify(c->encoded, c->password);

	OPENSSL_cleanse(c->password, sizeof(c->password));
	return good && c->is_known;
}

static void on_done(int result, void *arg)
{
	struct auth_users_check *c = arg;
	auth_done done = c->done;
	void *done_arg = c->arg;

	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
	if (!done)
		return;
	if (result < 0)
		done(done_arg, AUTH_FAILED, "the check was dropped");
	else
		done(done_arg, result ? AUTH_YES : AUTH_NO, "password-hash");
}

struct auth_users_check *auth_users_start(struct worker_pool *workers, const char *hash,
					  bool is_known, const struct signin_credentials *cred,
					  auth_done done, void *arg)
{
	struct auth_users_check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->done = done;
	c->arg = arg;
	c->is_known = hash && is_known;
	slice_copy(c->encoded, sizeof(c->encoded), slice_of(hash ? hash : password_hash_dummy));
	slice_copy(c->password, sizeof(c->password), slice_of(cred->password));
	if (worker_submit(workers, run, on_done, c) == 0)
		return c;
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
	return NULL;
}

void auth_users_cancel(struct auth_users_check *c)
{
	c->done = NULL;
}
