#ifndef SIGNIN_AUTHENTICATOR_H
#define SIGNIN_AUTHENTICATOR_H
/*
 * Are these credentials good? Limits first, then the cache, then whoever knows the passwords;
 * requests with the same credentials at one time share one check. On a timer queue, without I/O.
 *
 *   penalty of (user, source), rate of the user -> TOO_MANY, whatever the credentials are: an
 * answer that depended on them would tell the one who guesses cache -> OK check: yes -> OK and into
 * the cache; no -> DENIED; neither -> UNAVAILABLE, never DENIED
 *
 * A no is given at a multiple of AUTH_DENIAL_STEP_MS after the check began, so that its time does
 * not tell an unknown user from a wrong password.
 */
#include "base/timerq.h"
#include "signin/cred_cache.h"
#include "core/rate.h"

#define AUTH_DENIAL_STEP_MS 500
#define AUTH_MAX_WAITERS    4096
#define AUTH_KNOWN_MS	    (24 * 3600 * 1000)

enum auth_answer { AUTH_YES, AUTH_NO, AUTH_FAILED };
/* why: for logs. */
typedef void (*auth_done)(void *arg, enum auth_answer answer, const char *why);

/* Whoever knows the passwords. */
struct auth_backend {
	/* Begins a check; c lives until done or cancel(). Never calls back before it returns. NULL:
	 * it cannot (*why, static). */
	void *(*start)(void *self, const struct signin_credentials *c, auth_done done, void *arg,
		       const char **why);
	void (*cancel)(void *self, void *check);
};

struct auth_result {
	enum signin_status status;
	uint32_t retry_after_s;
	const char *why;
	const char *decided_by;		       /* setting, for the trace; NULL: none */
	const struct signin_credentials *cred; /* SIGNIN_OK */
	const uint8_t *tag;		       /* SIGNIN_OK */
	bool cached;
};

struct auth_ops {
	/* Once for each request that was not cancelled, never before start() returns. */
	void (*result)(void *arg, void *request, const struct auth_result *r);
	/* The backend said no to these. */
	void (*refused)(void *arg, const struct signin_credentials *cred,
			const uint8_t tag[CRED_TAG_BYTES]);
};

struct auth_settings {
	int64_t cache_life_ms, cache_cleanup_ms;
	size_t cache_entries;
	struct rate_limit rate; /* good sign-ins of a user */
	/* Wrong passwords of a user from wherever: then only what the cache knows gets in. A source
	 * is what the edge says it is, and an edge may lie. */
	struct rate_limit user_failures;
	/* Sources are known for sure: what was found good is so from the same source only, for
	 * AUTH_KNOWN_MS user_failures do not stop it there, and who is stopped by them is slowed
	 * down like after a wrong password. Otherwise guesses from anywhere were compared with the
	 * cache for nothing, and a program that signs in all day would be locked out by strangers.
	 */
	bool by_source;
	uint32_t timeout_ms;
	uint32_t max_checks;
};

struct auth_stats {
	uint64_t n_cached; /* answered by the cache */
	uint64_t n_checks; /* asked of the backend */
	uint64_t n_joined; /* waited for a check that another had begun */
	uint64_t n_yes, n_no, n_failed;
	size_t n_running, n_cache;
};

struct authenticator;

/* random: 112 fresh random bytes. NULL without memory. */
struct authenticator *authenticator_new(struct timerq *timers, const uint8_t random[112],
					const struct auth_backend *backend, void *backend_self,
					const struct auth_ops *ops, void *arg);
/* Checks under way are cancelled, requests get no result. */
void authenticator_free(struct authenticator *a);
/* As after authenticator_new(): requests and checks are gone without a result. */
void authenticator_drop(struct authenticator *a);
void authenticator_configure(struct authenticator *a, const struct auth_settings *s);
/* cred is copied. request is handed back with the result. Returns an id, 0 without memory or with
 * AUTH_MAX_WAITERS requests waiting. */
uint64_t authenticator_start(struct authenticator *a, const struct signin_credentials *cred,
			     const struct addr *from, void *request);
/* Gives r (its texts static) as the result of a request that needs no check. */
uint64_t authenticator_answer(struct authenticator *a, const struct auth_result *r, void *request);
/* No result. The check goes on and counts: hanging up is no way around a limit. Returns the
 * request, NULL when there is none of that id. */
void *authenticator_cancel(struct authenticator *a, uint64_t id);
/* What is cached of these goes. */
void authenticator_distrust(struct authenticator *a, const struct signin_credentials *cred);
/* Everything cached goes, and what is found good by checks that run now is not kept. */
void authenticator_forget(struct authenticator *a);
struct auth_stats authenticator_stats(const struct authenticator *a);

#endif
