#include "signin/name.h"

#include <stdio.h>

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Length of the UTF-8 sequence at s, 0 when it is none: overlong forms, surrogates and what lies
 * over U+10FFFF are none (RFC 3629 4). */
static size_t sequence(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 0 || p[0] > 0xf4 || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool signin_text_valid(struct slice s)
{
	while (s.n > 0) {
		const unsigned char *p = (const unsigned char *)s.p;
		size_t n = sequence(s);

		if (n == 0 || p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0))
			return false;
		s = (struct slice){ s.p + n, s.n - n };
	}
	return true;
}

bool signin_user_valid(struct slice s)
{
	return s.n > 0 && s.n < SIGNIN_USER_BYTES && s.p[0] != ' ' && s.p[s.n - 1] != ' ' &&
	       slice_find(s, '@') == s.n && slice_find(s, ':') == s.n && signin_text_valid(s);
}

bool signin_domain_valid(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.')
			return false;
	}
	return s.n > 0 && s.n < SIGNIN_DOMAIN_BYTES && s.p[0] != '.' && s.p[s.n - 1] != '.';
}

bool signin_token_valid(struct slice s)
{
	if (s.n != SIGNIN_TOKEN_BYTES - 1)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s.p[i] != '-' : !is_hex(s.p[i]))
			return false;
	}
	return true;
}

bool signin_id_valid(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_hex(s.p[i]))
			return false;
	}
	return s.n == SIGNIN_ID_BYTES - 1;
}

static const char digits[] = "0123456789abcdef";

void signin_token_print(const uint8_t random[16], char out[SIGNIN_TOKEN_BYTES])
{
	char *p = out;

	for (size_t i = 0; i < 16; i++) {
		uint8_t b = random[i];

		if (i == 6) /* RFC 9562 5.4: version and variant */
			b = (uint8_t)((b & 0x0f) | 0x40);
		if (i == 8)
			b = (uint8_t)((b & 0x3f) | 0x80);
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[b >> 4];
		*p++ = digits[b & 15];
	}
	*p = '\0';
}

void signin_id_print(const uint8_t random[16], char out[SIGNIN_ID_BYTES])
{
	for (size_t i = 0; i < 16; i++) {
		out[2 * i] = digits[random[i] >> 4];
		out[2 * i + 1] = digits[random[i] & 15];
	}
	out[SIGNIN_ID_BYTES - 1] = '\0';
}

void signin_domain_lower(struct slice name, char out[SIGNIN_DOMAIN_BYTES])
{
	slice_copy(out, SIGNIN_DOMAIN_BYTES, name);
	for (char *p = out; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	}
}

bool signin_account_print(struct slice user, struct slice domain, char out[SIGNIN_ACCOUNT_BYTES])
{
	char lower[SIGNIN_DOMAIN_BYTES];

	out[0] = '\0';
	if (user.n >= SIGNIN_USER_BYTES || domain.n >= SIGNIN_DOMAIN_BYTES)
		return false;
	signin_domain_lower(domain, lower);
	snprintf(out, SIGNIN_ACCOUNT_BYTES, "%.*s@%s", SLICE_ARG(user), lower);
	return true;
}
