#include "signin/backends.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/conf_store.h"
#include "core/fetch.h"
#include "signin/auth_users.h"
#include "signin/signin_conf.h"
#include "turnpike/route.h"
#include "turnpike/uc.h"

#define MAX_ANSWER_BYTES (256 * 1024) /* nobody reads it, but the end of it must come */

struct backend_check {
	struct signin_backends *b;
	auth_done done;
	void *arg;
	/* The one of them that runs. */
	struct auth_users_check *users;
	struct fetch *fetch;
	uint64_t uc;
};

static void finish(struct backend_check *c, enum auth_answer answer, const char *why)
{
	auth_done done = c->done;
	void *arg = c->arg;

	free(c);
	done(arg, answer, why);
}

static void on_users(void *arg, enum auth_answer answer, const char *why)
{
	finish(arg, answer, why);
}

static bool start_users(struct backend_check *c, const struct signin_credentials *cred,
			const char **why)
{
	struct env *env = c->b->env;
	const struct conf_snapshot *snap = conf_current(env->conf);
	struct slice domain = slice_of(cred->domain);
	const struct web_user_conf *known = web_user_find(snap, domain, slice_of(cred->user));
	const struct web_user_conf *any = known ? known : web_user_any(snap, domain);

	*why = "too many password checks wait already";
	c->users = auth_users_start(env->workers, any ? any->password_hash : NULL, known, cred,
				    on_users, c);
	return c->users;
}

static void on_fetched(const struct fetch_result *r, void *arg)
{
	struct backend_check *c = arg;
	char why[sizeof(r->why) + 32];

	c->fetch = NULL;
	if (r->error) {
		finish(c, AUTH_FAILED, r->why);
	} else if (r->status >= 200 && r->status < 300) {
		finish(c, AUTH_YES, "authentication-url");
	} else if (r->status == 401 || r->status == 403) {
		finish(c, AUTH_NO, "authentication-url");
	} else {
		snprintf(why, sizeof(why), "authentication-url answered %d", r->status);
		finish(c, AUTH_FAILED, why);
	}
}

static bool start_basic(struct backend_check *c, const struct domain_conf *d,
			const struct signin_credentials *cred, const char **why)
{
	struct fetch_request r = {
		.url = d->authentication_url,
		.user = cred->user,
		.password = cred->password,
		.tls = d->authentication_tls,
		.verify = true,
		.timeout_ms = c->b->timeout_ms,
		.max_body = MAX_ANSWER_BYTES,
	};
	int error;

	*why = "authentication-url cannot be asked";
	c->fetch = fetch_start(c->b->env, &r, on_fetched, c, &error);
	return c->fetch;
}

static void on_uc(void *arg, const struct uc_result *r)
{
	struct backend_check *c = arg;

	c->uc = 0;
	switch (r->answer) {
	case UC_YES:
		finish(c, AUTH_YES, r->why);
		break;
	case UC_NO:
	case UC_UNKNOWN_USER:
		finish(c, AUTH_NO, r->why);
		break;
	default:
		finish(c, AUTH_FAILED, r->why ? r->why : "the call managers do not answer");
	}
}

static bool start_uc(struct backend_check *c, const struct signin_credentials *cred,
		     const char **why)
{
	const struct uc_ops *uc = c->b->uc.ops;

	*why = "the call managers cannot be asked";
	if (uc)
		c->uc = uc->check(c->b->uc.self, slice_of(cred->domain), slice_of(cred->user),
				  slice_of(cred->password), on_uc, c);
	return c->uc;
}

static bool start_by_domain(struct backend_check *c, const struct domain_conf *d,
			    const struct signin_credentials *cred, const char **why)
{
	switch (d ? d->authentication : DOMAIN_AUTH_NONE) {
	case DOMAIN_AUTH_USERS:
		return start_users(c, cred, why);
	case DOMAIN_AUTH_BASIC:
		return start_basic(c, d, cred, why);
	case DOMAIN_AUTH_UDS:
		return start_uc(c, cred, why);
	default:
		*why = "the domain has no authentication";
		return false;
	}
}

static void *start(void *self, const struct signin_credentials *cred, auth_done done, void *arg,
		   const char **why)
{
	struct signin_backends *b = self;
	const struct domain_conf *d = conf_get(conf_current(b->env->conf), "domain", cred->domain);
	struct backend_check *c = calloc(1, sizeof(*c));

	*why = "out of memory";
	if (!c)
		return NULL;
	*c = (struct backend_check){ .b = b, .done = done, .arg = arg };
	if (start_by_domain(c, d, cred, why))
		return c;
	free(c);
	return NULL;
}

static void cancel(void *self, void *check)
{
	struct signin_backends *b = self;
	struct backend_check *c = check;

	if (c->users)
		auth_users_cancel(c->users);
	fetch_cancel(c->fetch);
	if (c->uc)
		((const struct uc_ops *)b->uc.ops)->cancel(b->uc.self, c->uc);
	free(c);
}

const struct auth_backend signin_backend = { .start = start, .cancel = cancel };
