#ifndef SIGNIN_NAME_H
#define SIGNIN_NAME_H
/* Which names and tokens there can be: what the wire and the other box may say. */
#include <stdbool.h>

#include "base/slice.h"
#include "turnpike/signin.h"

/* Valid UTF-8 (RFC 3629) without control characters (C0, DEL, C1). Empty is fine. */
bool signin_text_valid(struct slice s);
/* 1 to 127 bytes of such text without '@', ':' and spaces at the ends. */
bool signin_user_valid(struct slice s);
/* 1 to 253 lower-case letters, digits, dashes and dots, no dot at the ends. */
bool signin_domain_valid(struct slice s);
/* UUID in lower case (RFC 9562 4). */
bool signin_token_valid(struct slice s);
/* 32 lower-case hex digits. */
bool signin_id_valid(struct slice s);

/* A random UUID (version 4) from 16 random bytes. */
void signin_token_print(const uint8_t random[16], char out[SIGNIN_TOKEN_BYTES]);
void signin_id_print(const uint8_t random[16], char out[SIGNIN_ID_BYTES]);
/* "user@domain", the domain in lower case; the name by which an account is found. false and empty
 * when either is longer than it can be. */
#define SIGNIN_ACCOUNT_BYTES (SIGNIN_USER_BYTES + SIGNIN_DOMAIN_BYTES)
bool signin_account_print(struct slice user, struct slice domain, char out[SIGNIN_ACCOUNT_BYTES]);
/* Lower case, truncated to what a domain can have. */
void signin_domain_lower(struct slice name, char out[SIGNIN_DOMAIN_BYTES]);

#endif
