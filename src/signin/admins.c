#include "signin/admins.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "core/log.h"
#include "core/trace.h"
#include "signin/auth_users.h"
#include "signin/item.h"
#include "signin/signin_conf.h"

#define MAX_SOURCES 65536

enum { AUTH_RANDOM_BYTES = 112, SEED_BYTES = 32 };

/* Ids of an idtab have the slot in their lower half, and there are AUTH_MAX_WAITERS of those: this
 * bit of it is never set. */
#define ADMIN_ID_BIT (UINT64_C(1) << 31)

struct request {
	struct list node;
	struct signin_admins *a;
	admin_done done; /* NULL: cancelled */
	void *arg;
	struct addr from;
	char name[SIGNIN_USER_BYTES];
	struct rate_key source;
	bool entered; /* counted in at the source's limit */
};

struct signin_admins {
	struct signin_world w;
	struct authenticator *auth;
	struct rate *sources;
	struct rate_limit source_failures;
	struct list requests;
	uint64_t n_results[SIGNIN_N_STATUSES];
};

static void request_free(struct request *q)
{
	list_del(&q->node);
	free(q);
}

/* --- results --- */

static void report(struct signin_admins *a, const struct request *q, const struct auth_result *r)
{
	char code[48], from[ADDR_STR_BYTES];

	a->n_results[r->status]++;
	if (r->status == SIGNIN_OK && r->cached)
		return; /* a program that asks often is told once a minute */
	log_info(a->w.log, "signin.admin", "status=%s admin=%s from=%s why=%s",
		 signin_status_str(r->status), log_esc(slice_of(q->name)),
		 addr_ip_str(&q->from, from), log_esc(slice_of(r->why)));
	if (r->status == SIGNIN_OK)
		return;
	snprintf(code, sizeof(code), "signin.admin.%s", signin_status_str(r->status));
	trace_add(a->w.trace, code, r->decided_by ? r->decided_by : "[admin]", &q->from, NULL,
		  "%s: %s", q->name[0] ? q->name : "(no name)", r->why ? r->why : "");
}

/* What is said outside does not tell an unknown name from a wrong password. */
static const char *told(enum signin_status status, const char *why)
{
	return status == SIGNIN_DENIED ? "wrong user or password" : why;
}

static void on_result(void *arg, void *request, const struct auth_result *r)
{
	struct signin_admins *a = arg;
	struct request *q = request, copy = *q;

	if (q->entered)
		rate_window_leave(a->sources, &q->source, &a->source_failures, a->w.timers->now_ms,
				  r->status == SIGNIN_DENIED);
	report(a, q, r);
	request_free(q);
	if (copy.done)
		copy.done(copy.arg, r->status, copy.name, r->retry_after_s,
			  told(r->status, r->why));
}

static void on_refused(void *arg, const struct signin_credentials *cred,
		       const uint8_t tag[CRED_TAG_BYTES])
{
	/* An administrator has no session that would have to end. */
}

static const struct auth_ops auth_ops = { .result = on_result, .refused = on_refused };

/* --- requests --- */

static uint64_t refuse(struct request *q, enum signin_status status, uint32_t retry_after_s,
		       const char *why, const char *decided_by)
{
	struct auth_result r = { .status = status,
				 .retry_after_s = retry_after_s,
				 .why = why,
				 .decided_by = decided_by };

	return authenticator_answer(q->a->auth, &r, q);
}

static uint64_t begin(struct request *q, struct slice authorization)
{
	struct signin_admins *a = q->a;
	struct signin_credentials cred;
	uint32_t retry_s = 0;
	const char *why;
	uint64_t id;
	enum basic basic = signin_basic_parse(authorization, SLICE_NONE, &cred, &why);

	if (basic == BASIC_BAD)
		return refuse(q, SIGNIN_BAD_REQUEST, 0, why, NULL);
	q->source = rate_key_of(a->sources, SLICE_NONE, SLICE_NONE, &q->from);
	q->entered = rate_window_enter(a->sources, &q->source, &a->source_failures,
				       a->w.timers->now_ms, &retry_s);
	slice_copy(q->name, sizeof(q->name), slice_of(cred.user));
	if (!q->entered)
		id = refuse(q, SIGNIN_TOO_MANY, retry_s, "too many wrong passwords of this source",
			    "[signin] source-failures");
	else if (basic == BASIC_DENIED)
		id = refuse(q, SIGNIN_DENIED, 0, why, NULL);
	else
		id = authenticator_start(a->auth, &cred, &q->from, q);
	signin_credentials_wipe(&cred);
	return id;
}

uint64_t signin_admins_check(struct signin_admins *a, struct slice authorization,
			     const struct addr *from, admin_done done, void *arg)
{
	struct request *q = calloc(1, sizeof(*q));
	uint64_t id;

	if (!q)
		return 0;
	*q = (struct request){ .a = a, .done = done, .arg = arg, .from = *from };
	list_add_tail(&a->requests, &q->node);
	id = begin(q, authorization);
	if (id)
		return id | ADMIN_ID_BIT;
	if (q->entered)
		rate_window_leave(a->sources, &q->source, &a->source_failures, a->w.timers->now_ms,
				  false);
	request_free(q);
	return 0;
}

bool signin_admins_is_id(uint64_t id)
{
	return id & ADMIN_ID_BIT;
}

void signin_admins_cancel(struct signin_admins *a, uint64_t id)
{
	struct request *q = authenticator_cancel(a->auth, id & ~ADMIN_ID_BIT);

	if (!q)
		return;
	/* The failure of a check that goes on counts by name; by source, hanging up counts as one.
	 */
	if (q->entered)
		rate_window_leave(a->sources, &q->source, &a->source_failures, a->w.timers->now_ms,
				  true);
	request_free(q);
}

/* --- life --- */

struct signin_admins *signin_admins_new(const struct signin_world *w,
					const struct auth_backend *backend, void *backend_self)
{
	struct signin_admins *a = calloc(1, sizeof(*a));
	uint8_t random[AUTH_RANDOM_BYTES + SEED_BYTES];

	if (!a)
		return NULL;
	a->w = *w;
	list_init(&a->requests);
	w->random(random, sizeof(random));
	a->auth = authenticator_new(w->timers, random, backend, backend_self, &auth_ops, a);
	a->sources = rate_new(random + AUTH_RANDOM_BYTES, MAX_SOURCES);
	OPENSSL_cleanse(random, sizeof(random));
	if (a->auth && a->sources)
		return a;
	signin_admins_free(a);
	return NULL;
}

void signin_admins_drop(struct signin_admins *a)
{
	authenticator_drop(a->auth);
	LIST_FOREACH_SAFE (it, &a->requests)
		request_free(CONTAINER_OF(it, struct request, node));
}

void signin_admins_free(struct signin_admins *a)
{
	if (!a)
		return;
	if (a->auth)
		signin_admins_drop(a);
	authenticator_free(a->auth);
	rate_free(a->sources);
	free(a);
}

void signin_admins_configure(struct signin_admins *a, const struct admin_settings *s)
{
	authenticator_configure(a->auth,
				&(struct auth_settings){ .cache_life_ms = ADMIN_CACHE_MS,
							 .cache_cleanup_ms = ADMIN_CACHE_MS,
							 .cache_entries = ADMIN_CACHE_ENTRIES,
							 .user_failures = s->user_failures,
							 .timeout_ms = s->timeout_ms,
							 .max_checks = s->max_checks,
							 .by_source = true });
	a->source_failures = s->source_failures;
}

void signin_admins_forget(struct signin_admins *a)
{
	authenticator_forget(a->auth);
}

void signin_admins_status(const struct signin_admins *a, json_t *out)
{
	json_t *results = json_object();

	for (int i = 0; i < SIGNIN_N_STATUSES; i++)
		if (i != SIGNIN_NO_DOMAIN)
			json_object_set_new(results, signin_status_str((enum signin_status)i),
					    json_integer((json_int_t)a->n_results[i]));
	json_object_set_new(out, "admins", results);
}

/* --- who knows their passwords --- */

static void *backend_start(void *self, const struct signin_credentials *cred, auth_done done,
			   void *arg, const char **why)
{
	struct env *env = self;
	const struct conf_snapshot *snap = conf_current(env->conf);
	const struct admin_conf *known = conf_get(snap, "admin", cred->user);
	const struct admin_conf *any = known ? known : conf_next(snap, "admin", NULL);

	*why = "too many password checks wait already";
	return auth_users_start(env->workers, any ? any->password_hash : NULL, known, cred, done,
				arg);
}

static void backend_cancel(void *self, void *check)
{
	auth_users_cancel(check);
}

const struct auth_backend signin_admin_backend = { .start = backend_start,
						   .cancel = backend_cancel };
