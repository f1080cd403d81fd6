#ifndef SIGNIN_DIGEST_H
#define SIGNIN_DIGEST_H
/*
 * What C keeps of a password for the SIP digests that follow a sign-in: HA1 (RFC 7616 3.4.2) for
 * the realm of each edge, MD5 and SHA-256, of the user as "user" and as "user@domain". As good as
 * the password for those realms, so it never leaves C, lives as long as the session and is wiped.
 */
#include <stdbool.h>

#include "proto/digest.h"
#include "signin/basic.h"

#define SIGNIN_MAX_REALMS 6

struct signin_realms {
	struct slice names[SIGNIN_MAX_REALMS];
	size_t n;
};
struct signin_digests;

/* Adds a name that is not there yet, as long as there is room; an empty one is none. */
void signin_realms_add(struct signin_realms *r, struct slice name);
/* NULL without memory. */
struct signin_digests *signin_digests_new(const struct signin_credentials *c,
					  const struct signin_realms *realms);
/* Wipes it. NULL is allowed. */
void signin_digests_free(struct signin_digests *d);

enum signin_digest { SIGNIN_DIGEST_GOOD, SIGNIN_DIGEST_BAD, SIGNIN_DIGEST_OTHER_REALM };
/* Checks r (of the user whose these are; d may be NULL: nothing kept). */
enum signin_digest signin_digests_check(const struct signin_digests *d,
					const struct digest_response *r, struct slice method);
/* Does a digest's user name mean this user: "user" or "user@domain" (the domain in any case)? Cuts
 * the domain off *name when it does. */
bool signin_digest_user(struct slice *name, struct slice domain);

#endif
