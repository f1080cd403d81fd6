#ifndef TURN_CREDENTIALS_H
#define TURN_CREDENTIALS_H
/*
 * Who may use the TURN server: users of the configuration, and whoever has a short-lived credential
 * made with a shared secret ("TURN REST API": username = "expiry:user", password =
 * base64(HMAC-SHA1(secret, username))). Secrets come from the configuration, for other tools, and
 * from each C over the control channel. Passwords and secrets are never printed, and wiped when
 * they are dropped. Names and passwords are compared as they stand: OpaqueString preparation (RFC
 * 8265, RFC 8489 9.2.2) is for the caller.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "proto/stun.h"

enum {
	TURN_MAX_KEYS = 16,    /* candidates for one username: at most so many secrets are tried */
	TURN_MAX_SECRETS = 64, /* all in all */
	TURN_SECRET_BYTES = 1024,
	TURN_SECRET_ID_BYTES = 64,
	TURN_USER_BYTES = 509, /* USERNAME: under 509 bytes, RFC 8489 14.3 */
};

struct turn_credentials;

struct turn_key {
	uint8_t key[STUN_KEY_BYTES];
	uint8_t n; /* 16 (MD5) or 32 (SHA-256) */
	bool is_static;
};

/* NULL without memory. */
struct turn_credentials *turn_credentials_new(const uint8_t seed[16]);
void turn_credentials_free(struct turn_credentials *c);
/* -ENOMEM leaves the old one. */
int turn_credentials_set_realm(struct turn_credentials *c, struct slice realm);
/* Replaces the users: begin, one add for each (the last one of a name counts), end: what was not
 * added is gone. -ENOMEM of any add leaves all the old ones at the end; -EINVAL (no name, or one of
 * TURN_USER_BYTES) only leaves that one out. */
void turn_credentials_begin(struct turn_credentials *c);
int turn_credentials_add(struct turn_credentials *c, struct slice user, struct slice password);
void turn_credentials_end(struct turn_credentials *c);

/* A secret. owner: who gave it (0: the configuration, else a tunnel peer); id names it there;
 * skew_ms: how far the owner's clock is ahead of ours, for what it minted. The same owner and id
 * again replaces it. 0, -ENOSPC, -EINVAL (empty or too long). */
int turn_credentials_put_secret(struct turn_credentials *c, uint32_t owner, struct slice id,
				struct slice secret, int64_t skew_ms);
void turn_credentials_del_secret(struct turn_credentials *c, uint32_t owner, struct slice id);
void turn_credentials_reset(struct turn_credentials *c, uint32_t owner);
size_t turn_credentials_n_users(const struct turn_credentials *c);
size_t turn_credentials_n_secrets(const struct turn_credentials *c);

/* The keys that may belong to user now: that of the user of this name, then, when the name is
 * "expiry:..." or "expiry", those of the secrets, the newest first. An expiry is good until
 * tolerance_s after it by the clock of the secret's owner, and when it is not more than ten years
 * ahead. Returns how many; 0 with *why ("unknown user", "credential expired 12 s ago", "no secret
 * is known"), which is good until the next call. Wipe out when it was used. */
size_t turn_credentials_keys(const struct turn_credentials *c, struct slice user, bool sha256,
			     int64_t wall_s, uint32_t tolerance_s,
			     struct turn_key out[TURN_MAX_KEYS], const char **why);
/* Whose quota it counts for: the part behind the colon of "expiry:user", the user itself for
 * others, also for a user of the configuration whose name looks like that. "expiry:" and "expiry"
 * count for themselves as a whole. */
struct slice turn_credentials_person(const struct turn_credentials *c, struct slice user);

/* base64(HMAC-SHA1(secret, username)): what a minter hands out. out holds 29 bytes. */
void turn_credentials_password(struct slice secret, struct slice username, char out[29]);

#endif
