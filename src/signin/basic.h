#ifndef SIGNIN_BASIC_H
#define SIGNIN_BASIC_H
/* HTTP Basic credentials (RFC 7617), strictly. */
#include "base/slice.h"
#include "turnpike/signin.h"

#define SIGNIN_PASSWORD_BYTES 257
/* More than the longest good one: base64 of 127 + '@' + 253 + ':' + 256 bytes. */
#define SIGNIN_AUTHORIZATION_BYTES 1024

/* Holds a password: wipe it with signin_credentials_wipe(). */
struct signin_credentials {
	char domain[SIGNIN_DOMAIN_BYTES]; /* lower case */
	char user[SIGNIN_USER_BYTES];	  /* without the domain */
	char password[SIGNIN_PASSWORD_BYTES];
};

enum basic {
	BASIC_OK,
	BASIC_BAD,    /* not Basic, or not readable */
	BASIC_DENIED, /* readable, but nobody of this domain can have these */
};

/* authorization: the field's value: the scheme, spaces, base64 in the standard alphabet with its
 * padding, of UTF-8 without control characters. The user is written "user" or "user@domain", the
 * domain then being `domain` (any case). An empty password is denied: directories take a bind with
 * one for an anonymous bind and say yes. *why is static text for BASIC_BAD and BASIC_DENIED; out is
 * empty then. */
enum basic signin_basic_parse(struct slice authorization, struct slice domain,
			      struct signin_credentials *out, const char **why);
void signin_credentials_wipe(struct signin_credentials *c);

#endif
