/* Reading challenge and credentials (RFC 7616 3.3, 3.4): a strict list of unique parameters. */
#include "proto/digest.h"

#define MAX_VALUE_BYTES 2048

/* Parameters by name; the order is that of the names table. */
enum param {
	P_REALM,
	P_NONCE,
	P_OPAQUE,
	P_ALGORITHM,
	P_STALE,
	P_QOP,
	P_USERNAME,
	P_URI,
	P_RESPONSE,
	P_CNONCE,
	P_NC,
	P_N
};

static const char *const names[P_N] = { "realm",    "nonce",  "opaque",	  "algorithm",
					"stale",    "qop",    "username", "uri",
					"response", "cnonce", "nc" };

static struct slice cut(struct slice s, size_t n)
{
	return (struct slice){ s.p + n, s.n - n };
}

static struct slice skip_ws(struct slice s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = cut(s, 1);
	return s;
}

/* The text between quotes, backslashes kept; false when the quotes do not end. */
static bool quoted(struct slice *s, struct slice *value)
{
	for (size_t i = 1; i < s->n; i++) {
		if (s->p[i] == '\\') {
			i++;
		} else if (s->p[i] == '"') {
			*value = (struct slice){ s->p + 1, i - 1 };
			*s = cut(*s, i + 1);
			return true;
		}
	}
	return false;
}

/* Cuts name=value off *s, and the comma behind it. */
static bool next_param(struct slice *s, struct slice *name, struct slice *value)
{
	size_t n = 0;

	while (n < s->n && s->p[n] != '=' && s->p[n] != ' ' && s->p[n] != ',' && s->p[n] != '"')
		n++;
	*name = (struct slice){ s->p, n };
	*s = skip_ws(cut(*s, n));
	if (n == 0 || s->n == 0 || s->p[0] != '=')
		return false;
	*s = skip_ws(cut(*s, 1));
	if (s->n > 0 && s->p[0] == '"') {
		if (!quoted(s, value))
			return false;
	} else {
		for (n = 0; n < s->n && s->p[n] != ',' && s->p[n] != ' ' && s->p[n] != '"'; n++)
			;
		*value = (struct slice){ s->p, n };
		*s = cut(*s, n);
	}
	*s = skip_ws(*s);
	if (s->n == 0)
		return true;
	if (s->p[0] != ',')
		return false;
	while (s->n > 0 && (s->p[0] == ',' || s->p[0] == ' ' || s->p[0] == '\t'))
		*s = cut(*s, 1);
	return true;
}

/* Fills v (p NULL: absent). Unknown parameters are skipped (RFC 7616 3.3), known ones come once. */
static bool read_params(struct slice value, struct slice v[P_N])
{
	struct slice s = slice_trim(value), name, text;

	memset(v, 0, P_N * sizeof(v[0]));
	if (s.n > MAX_VALUE_BYTES || s.n < 7 ||
	    !slice_caseeq((struct slice){ s.p, 6 }, SLICE("Digest")) ||
	    (s.p[6] != ' ' && s.p[6] != '\t'))
		return false;
	s = skip_ws(cut(s, 6));
	while (s.n > 0) {
		if (!next_param(&s, &name, &text))
			return false;
		for (int i = 0; i < P_N; i++) {
			if (!slice_caseeq(name, slice_of(names[i])))
				continue;
			if (v[i].p)
				return false;
			v[i] = text;
		}
	}
	return true;
}

static enum digest_algorithm read_algorithm(struct slice v)
{
	if (!v.p || slice_caseeq(v, SLICE("MD5")))
		return DIGEST_MD5; /* the default, RFC 7616 3.3 */
	return slice_caseeq(v, SLICE("SHA-256")) ? DIGEST_SHA256 : DIGEST_UNKNOWN;
}

static bool offers_auth(struct slice qop)
{
	struct slice word;

	while ((word = slice_word(&qop)).n > 0) {
		if (slice_caseeq(word, SLICE("auth")))
			return true;
	}
	return false;
}

bool digest_challenge_parse(struct slice value, struct digest_challenge *out)
{
	struct slice v[P_N];

	*out = (struct digest_challenge){ 0 };
	if (!read_params(value, v) || !v[P_REALM].p || v[P_NONCE].n == 0)
		return false;
	out->realm = v[P_REALM];
	out->nonce = v[P_NONCE];
	out->opaque = v[P_OPAQUE];
	out->algorithm = read_algorithm(v[P_ALGORITHM]);
	out->stale = slice_caseeq(v[P_STALE], SLICE("true"));
	out->qop_auth = offers_auth(v[P_QOP]);
	/* auth-int alone is more than we can answer. */
	return !v[P_QOP].p || out->qop_auth;
}

static bool read_nc(struct slice nc, uint32_t *out)
{
	uint32_t v = 0;

	if (nc.n != 8)
		return false;
	for (size_t i = 0; i < nc.n; i++) {
		char c = nc.p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return false;
	}
	*out = v;
	return true;
}

bool digest_response_parse(struct slice value, struct digest_response *out)
{
	struct slice v[P_N];

	*out = (struct digest_response){ 0 };
	if (!read_params(value, v) || v[P_USERNAME].n == 0 || !v[P_REALM].p || v[P_NONCE].n == 0 ||
	    v[P_URI].n == 0 || v[P_RESPONSE].n == 0)
		return false;
	*out = (struct digest_response){
		.username = v[P_USERNAME],
		.realm = v[P_REALM],
		.nonce = v[P_NONCE],
		.uri = v[P_URI],
		.response = v[P_RESPONSE],
		.cnonce = v[P_CNONCE],
		.opaque = v[P_OPAQUE],
		.nc = v[P_NC],
		.algorithm = read_algorithm(v[P_ALGORITHM]),
		.qop_auth = slice_caseeq(v[P_QOP], SLICE("auth")),
	};
	if (!v[P_QOP].p)
		return true;
	return out->qop_auth && v[P_CNONCE].n > 0 && read_nc(v[P_NC], &out->nc_value);
}
