#include "signin/basic.h"

#include <openssl/crypto.h>

#include "base/base64.h"
#include "signin/name.h"

/* Cuts the scheme and the spaces behind it off (RFC 9110 11.4); false when it is another one. */
static bool skip_scheme(struct slice *s)
{
	size_t n = 5;

	if (s->n < 6 || !slice_caseeq((struct slice){ s->p, 5 }, SLICE("Basic")) || s->p[5] != ' ')
		return false;
	while (n < s->n && s->p[n] == ' ')
		n++;
	*s = (struct slice){ s->p + n, s->n - n };
	return true;
}

/* One spelling: the standard alphabet, padded. */
static bool is_standard(struct slice s)
{
	return s.n > 0 && s.n % 4 == 0 && slice_find(s, '-') == s.n && slice_find(s, '_') == s.n;
}

/* "user" or "user@domain". */
static enum basic take_user(struct slice text, struct signin_credentials *out, const char **why)
{
	size_t at = slice_find(text, '@');
	struct slice user = { text.p, at };
	struct slice rest =
		at < text.n ? (struct slice){ text.p + at + 1, text.n - at - 1 } : SLICE_NONE;

	if (at < text.n && !slice_caseeq(rest, slice_of(out->domain))) {
		*why = "a user of another domain";
		return BASIC_DENIED;
	}
	if (!signin_user_valid(user)) {
		*why = "no such user name can be";
		return BASIC_DENIED;
	}
	slice_copy(out->user, sizeof(out->user), user);
	return BASIC_OK;
}

static enum basic take_pair(struct slice text, struct signin_credentials *out, const char **why)
{
	size_t colon = slice_find(text, ':');
	struct slice password;

	*why = "Basic credentials are not user:password in UTF-8 without control characters";
	if (colon == text.n || !signin_text_valid(text))
		return BASIC_BAD;
	password = (struct slice){ text.p + colon + 1, text.n - colon - 1 };
	if (password.n == 0 || password.n >= sizeof(out->password)) {
		*why = password.n ? "the password is too long" : "the password is empty";
		return BASIC_DENIED;
	}
	slice_copy(out->password, sizeof(out->password), password);
	return take_user((struct slice){ text.p, colon }, out, why);
}

enum basic signin_basic_parse(struct slice authorization, struct slice domain,
			      struct signin_credentials *out, const char **why)
{
	uint8_t raw[SIGNIN_AUTHORIZATION_BYTES];
	struct slice s = authorization;
	enum basic result = BASIC_BAD;
	long n;

	*out = (struct signin_credentials){ 0 };
	*why = "the Authorization field is not Basic";
	if (s.n > SIGNIN_AUTHORIZATION_BYTES || !skip_scheme(&s))
		return BASIC_BAD;
	*why = "the credentials are not base64";
	n = is_standard(s) ? base64_decode(s, raw, sizeof(raw)) : -1;
	if (n >= 0) {
		signin_domain_lower(domain, out->domain);
		result = take_pair((struct slice){ (char *)raw, (size_t)n }, out, why);
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	if (result != BASIC_OK)
		signin_credentials_wipe(out);
	return result;
}

void signin_credentials_wipe(struct signin_credentials *c)
{
	OPENSSL_cleanse(c, sizeof(*c));
}
