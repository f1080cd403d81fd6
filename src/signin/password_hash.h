#ifndef SIGNIN_PASSWORD_HASH_H
#define SIGNIN_PASSWORD_HASH_H
/* argon2id hashes in their text form: $argon2id$v=19$m=65536,t=3,p=1$salt$hash (RFC 9106). */
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define PASSWORD_HASH_MAX_KIB	 (256 * 1024)
#define PASSWORD_HASH_MAX_PASSES 10
#define PASSWORD_HASH_MAX_LANES	 16
#define PASSWORD_HASH_BYTES	 256

struct password_hash_cost {
	uint32_t m_kib, t, p;
};

/* Is text such a hash, with a cost that a server may spend on every try? false: *why, static text
 * without any of it. */
bool password_hash_parse(struct slice text, struct password_hash_cost *out, const char **why);
/* Slow by design: for a worker thread. encoded passed password_hash_parse(). */
bool password_hash_verify(const char *encoded, const char *password);

/* What is verified when a domain has no user at all, so that this takes its time too. */
extern const char password_hash_dummy[];

#endif
