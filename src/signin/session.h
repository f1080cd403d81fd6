#ifndef SIGNIN_SESSION_H
#define SIGNIN_SESSION_H
/*
 * The table of sessions: by token, by id and by user; bounded; each ends by itself when its life is
 * over. On C the sessions themselves, on E the copies. Runs on a timer queue, does no I/O.
 *
 *   LIVE --end--> gone      LIVE --bury--> BURIED --end, life over--> gone
 *
 * A buried one is signed out here, but the other box does not know yet: nothing finds it but
 * signin_sessions_get(), so that it cannot come back to life by the other's word.
 */
#include "base/htab.h"
#include "base/list.h"
#include "base/timerq.h"
#include "core/conn.h"
#include "signin/cred_cache.h"
#include "signin/digest.h"
#include "signin/name.h"
#include "turnpike/signin.h"

struct signin_sessions;

struct signin_entry {
	struct signin_session s;
	struct htab_node by_token, by_id, by_user;
	struct list node;      /* of the table, oldest first */
	struct list mark_node; /* of the owner's use: a ring of its own while unused */
	struct timer expiry;
	struct conn conn;
	struct signin_sessions *table;
	char account[SIGNIN_ACCOUNT_BYTES]; /* "user@domain" */
	int64_t since_ms;		    /* begin of this life */
	int64_t used_ms;
	bool buried;
	/* C only */
	uint8_t tag[CRED_TAG_BYTES];	/* of the credentials that made it */
	struct signin_digests *digests; /* may be NULL; owned */
};

struct signin_sessions_ops {
	/* `turnpikectl disconnect`: end it the owner's way. */
	void (*close)(void *arg, struct signin_entry *e, const char *why);
	/* It is over; still whole. Not for buried ones. May be NULL. */
	void (*ended)(void *arg, const struct signin_session *s, const char *why);
};

struct signin_sessions_params {
	struct timerq *timers;
	struct conn_table *conns;
	uint8_t seed[16];
	size_t max;
	size_t max_per_user; /* one more ends the user's oldest; 0: no limit */
	const struct signin_sessions_ops *ops;
	void *arg;
};

struct signin_sessions *signin_sessions_new(const struct signin_sessions_params *p);
/* Ends all with that reason. */
void signin_sessions_free(struct signin_sessions *t, const char *why);
/* What is over it stays. */
void signin_sessions_set_max(struct signin_sessions *t, size_t max);
size_t signin_sessions_count(const struct signin_sessions *t); /* buried ones included */

/* Enters a session of that age: token, id, domain, user, from, life_s and peer are taken from s,
 * the rest is filled. NULL: *error is -ENOSPC (this table or the connection table is full), -EEXIST
 * (token or id is taken), -ENOMEM or -ESTALE (its life is over). */
struct signin_entry *signin_sessions_add(struct signin_sessions *t, const struct signin_session *s,
					 uint32_t age_s, int *error);
/* Its life begins (or began age_s ago) anew. */
void signin_session_renew(struct signin_entry *e, uint32_t life_s, uint32_t age_s);
void signin_session_end(struct signin_entry *e, const char *why);
void signin_session_bury(struct signin_entry *e, const char *why);
/* Keeps d (owned; NULL: none) instead of what it kept. */
void signin_session_set_digests(struct signin_entry *e, struct signin_digests *d);
uint32_t signin_session_age_s(const struct signin_entry *e);

struct signin_entry *signin_sessions_by_token(const struct signin_sessions *t, struct slice token);
struct signin_entry *signin_sessions_by_id(const struct signin_sessions *t, struct slice id);
/* Buried ones too. */
struct signin_entry *signin_sessions_get(const struct signin_sessions *t, struct slice token);
/* Newest first; prev NULL gives the first. The domain in any case. */
struct signin_entry *signin_sessions_of_user(const struct signin_sessions *t, struct slice domain,
					     struct slice user, struct signin_entry *prev);
/* The newest, one from the same address (port aside) preferred; from may be NULL. */
struct signin_entry *signin_sessions_best(const struct signin_sessions *t, struct slice domain,
					  struct slice user, const struct addr *from);
/* Head of all entries (struct signin_entry.node), buried ones included. */
const struct list *signin_sessions_list(const struct signin_sessions *t);

#endif
