#include "signin/digest.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "signin/name.h"

/* Forms of the user name in the digest. */
enum { FORM_USER, FORM_ADDRESS, N_FORMS };

struct key {
	uint8_t realm[SHA256_DIGEST_LENGTH]; /* realms can be long, their hash is not */
	char md5[N_FORMS][33];
	char sha256[N_FORMS][DIGEST_HA1_BYTES];
};

struct signin_digests {
	size_t n;
	struct key keys[];
};

void signin_realms_add(struct signin_realms *r, struct slice name)
{
	if (name.n == 0 || r->n == SIGNIN_MAX_REALMS)
		return;
	for (size_t i = 0; i < r->n; i++) {
		if (slice_eq(r->names[i], name))
			return;
	}
	r->names[r->n++] = name;
}

static void key_fill(struct key *k, const struct signin_credentials *c, struct slice realm)
{
	char address[SIGNIN_ACCOUNT_BYTES];
	struct slice forms[N_FORMS], password = slice_of(c->password);
	char ha1[DIGEST_HA1_BYTES];

	SHA256((const unsigned char *)realm.p, realm.n, k->realm);
	signin_account_print(slice_of(c->user), slice_of(c->domain), address);
	forms[FORM_USER] = slice_of(c->user);
	forms[FORM_ADDRESS] = slice_of(address);
	for (int i = 0; i < N_FORMS; i++) {
		digest_ha1(DIGEST_MD5, forms[i], realm, password, ha1);
		memcpy(k->md5[i], ha1, sizeof(k->md5[i]));
		digest_ha1(DIGEST_SHA256, forms[i], realm, password, k->sha256[i]);
	}
	OPENSSL_cleanse(ha1, sizeof(ha1));
}

struct signin_digests *signin_digests_new(const struct signin_credentials *c,
					  const struct signin_realms *realms)
{
	struct signin_digests *d = calloc(1, sizeof(*d) + realms->n * sizeof(d->keys[0]));

	if (!d)
		return NULL;
	d->n = realms->n;
	for (size_t i = 0; i < d->n; i++)
		key_fill(&d->keys[i], c, realms->names[i]);
	return d;
}

void signin_digests_free(struct signin_digests *d)
{
	if (d)
		OPENSSL_cleanse(d, sizeof(*d) + d->n * sizeof(d->keys[0]));
	free(d);
}

enum signin_digest signin_digests_check(const struct signin_digests *d,
					const struct digest_response *r, struct slice method)
{
	uint8_t realm[SHA256_DIGEST_LENGTH];
	int form = slice_find(r->username, '@') < r->username.n ? FORM_ADDRESS : FORM_USER;

	SHA256((const unsigned char *)r->realm.p, r->realm.n, realm);
	for (size_t i = 0; d && i < d->n; i++) {
		const struct key *k = &d->keys[i];
		const char *ha1 = r->algorithm == DIGEST_MD5 ? k->md5[form] : k->sha256[form];

		if (memcmp(k->realm, realm, sizeof(realm)) != 0)
			continue;
		return r->algorithm != DIGEST_UNKNOWN &&
				       digest_response_check_ha1(r, slice_of(ha1), method)
			       ? SIGNIN_DIGEST_GOOD
			       : SIGNIN_DIGEST_BAD;
	}
	return SIGNIN_DIGEST_OTHER_REALM;
}

bool signin_digest_user(struct slice *name, struct slice domain)
{
	size_t at = slice_find(*name, '@');

	if (at < name->n &&
	    !slice_caseeq((struct slice){ name->p + at + 1, name->n - at - 1 }, domain))
		return false;
	name->n = at;
	return at > 0;
}
