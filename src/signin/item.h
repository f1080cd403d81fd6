#ifndef SIGNIN_ITEM_H
#define SIGNIN_ITEM_H
/*
 * What C and E say to each other about sign-ins, as JSON (docs/protocol/control.md). Reading treats
 * everything as hostile: lengths, characters and forms are checked, *why is static text.
 *
 * table "domains", key = domain     {"web": bool, "sip": bool, "sip_signin": bool, "im": bool}
 * table "sessions", key = token     {"id", "domain", "user", "life_s", "age_s", "from"}
 * call "sign-in"   {"domain", "authorization", "from"}  -> result
 * call "sign-out"  {"token"}                            -> nothing
 * call "digest"    {"domain", "username", "realm", ...} -> result
 * result           {"status", "why", "retry_after"?, "token"?, "session"?, "id"?}
 */
#include <jansson.h>

#include "turnpike/signin.h"

#define SIGNIN_TABLE_DOMAINS  "domains"
#define SIGNIN_TABLE_SESSIONS "sessions"
#define SIGNIN_CALL_SIGN_IN   "sign-in"
#define SIGNIN_CALL_SIGN_OUT  "sign-out"
#define SIGNIN_CALL_DIGEST    "digest"
#define SIGNIN_MAX_LIFE_S     (31 * 24 * 3600)
#define SIGNIN_MAX_RETRY_S    86400

/* NULL without memory. */
json_t *signin_item_session(const struct signin_session *s, uint32_t age_s);
/* Fills token, id, domain, user, from, life_s. */
bool signin_item_session_read(const char *key, const json_t *item, struct signin_session *out,
			      uint32_t *age_s, const char **why);
json_t *signin_item_domain(const struct signin_domain *d);
bool signin_item_domain_read(const char *key, const json_t *item, struct signin_domain *out,
			     const char **why);

struct signin_asked {
	struct slice domain, authorization; /* into the item */
	struct addr from;
};
json_t *signin_item_asked(const struct signin_asked *a);
bool signin_item_asked_read(const json_t *item, struct signin_asked *out, const char **why);
/* The authorization in an item of our own is overwritten: it holds a password. */
void signin_item_asked_wipe(json_t *item);

/* NULL when a field is no UTF-8, or without memory. */
json_t *signin_item_digest(struct slice domain, const struct digest_response *r,
			   struct slice method);
/* Slices point into item. */
bool signin_item_digest_read(const json_t *item, struct slice *domain, struct digest_response *r,
			     struct slice *method, const char **why);

struct signin_answer {
	enum signin_status status;
	uint32_t retry_after_s;
	char why[128];
	char id[SIGNIN_ID_BYTES]; /* digest, OK */
	bool has_session;	  /* sign-in, OK */
	struct signin_session session;
	uint32_t age_s;
};
/* s may be NULL; with_token: the whole session, else its id alone. */
json_t *signin_item_answer(enum signin_status status, uint32_t retry_after_s, const char *why,
			   const struct signin_session *s, uint32_t age_s, bool with_token);
bool signin_item_answer_read(const json_t *item, struct signin_answer *out);

/* "ok", "denied", ... as on the wire and in listings. */
const char *signin_status_str(enum signin_status s);

#endif
