#include "signin/password_hash.h"

#include <argon2.h>

#include "base/base64.h"

enum { MIN_SALT = 8, MAX_SALT = 64, MIN_HASH = 16, MAX_HASH = 64 };

/* 64 MiB, three passes; of no password: salt and hash are counted up. */
const char password_hash_dummy[] = "$argon2id$v=19$m=65536,t=3,p=1$AAECAwQFBgcICQoLDA0ODw$"
				   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

static bool number(struct slice field, struct slice name, uint64_t max, uint32_t *out)
{
	uint64_t v;

	if (!slice_starts(field, name) ||
	    !slice_u64((struct slice){ field.p + name.n, field.n - name.n }, max, &v) || v == 0)
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool cost(struct slice text, struct password_hash_cost *out)
{
	struct slice m = slice_next(&text, ','), t = slice_next(&text, ',');

	return number(m, SLICE("m="), PASSWORD_HASH_MAX_KIB, &out->m_kib) &&
	       number(t, SLICE("t="), PASSWORD_HASH_MAX_PASSES, &out->t) &&
	       number(text, SLICE("p="), PASSWORD_HASH_MAX_LANES, &out->p) &&
	       out->m_kib >= 8 * out->p; /* RFC 9106 3.1 */
}

static bool bytes(struct slice text, long min, long max)
{
	uint8_t raw[MAX_HASH];
	long n = base64_decode(text, raw, sizeof(raw));

	return n >= min && n <= max && slice_find(text, '-') == text.n &&
	       slice_find(text, '_') == text.n && slice_find(text, '=') == text.n;
}

bool password_hash_parse(struct slice text, struct password_hash_cost *out, const char **why)
{
	struct slice rest = text;
	bool good;

	*why = "not an argon2id hash: $argon2id$v=19$m=65536,t=3,p=1$SALT$HASH";
	if (text.n >= PASSWORD_HASH_BYTES)
		return false;
	good = slice_next(&rest, '$').n == 0 && slice_eq(slice_next(&rest, '$'), SLICE("argon2id"));
	if (!good || !slice_eq(slice_next(&rest, '$'), SLICE("v=19")))
		return false;
	if (!cost(slice_next(&rest, '$'), out)) {
		*why = "the cost is out of range: m (KiB) 8 times p to 262144, t 1 to 10, p 1 to "
		       "16";
		return false;
	}
	if (!bytes(slice_next(&rest, '$'), MIN_SALT, MAX_SALT) ||
	    !bytes(rest, MIN_HASH, MAX_HASH)) {
		*why = "salt (8 to 64 bytes) or hash (16 to 64 bytes) is not base64 without "
		       "padding";
		return false;
	}
	return true;
}

bool password_hash_verify(const char *encoded, const char *password)
{
	return argon2id_verify(encoded, password, strlen(password)) == ARGON2_OK;
}
