#include "proto/sip_text.h"

#include "base/addr.h"

/* Character classes as bits of one table: this is where a parser spends its time. */
enum {
	C_TOKEN = 1, /* token: alphanum / "-.!%*_+`'~" */
	C_HOST = 2,  /* in host names, the dot not included */
	C_PNAME = 4, /* parameter names: token and what uri-parameter has over it (19.1.1) */
	C_STOP = 8,  /* ends an unquoted parameter value */
};

static const unsigned char classes[256] = {
	['a' ... 'z'] = C_TOKEN | C_HOST | C_PNAME,
	['A' ... 'Z'] = C_TOKEN | C_HOST | C_PNAME,
	['0' ... '9'] = C_TOKEN | C_HOST | C_PNAME,
	['-'] = C_TOKEN | C_HOST | C_PNAME,
	['_'] = C_TOKEN | C_HOST | C_PNAME,
	['.'] = C_TOKEN | C_PNAME,
	['!'] = C_TOKEN | C_PNAME,
	['%'] = C_TOKEN | C_PNAME,
	['*'] = C_TOKEN | C_PNAME,
	['+'] = C_TOKEN | C_PNAME,
	['`'] = C_TOKEN | C_PNAME,
	['\''] = C_TOKEN | C_PNAME,
	['~'] = C_TOKEN | C_PNAME,
	['['] = C_PNAME,
	[']'] = C_PNAME,
	['/'] = C_PNAME,
	[':'] = C_PNAME,
	['&'] = C_PNAME,
	['$'] = C_PNAME,
	[' '] = C_STOP,
	['\t'] = C_STOP,
	['\r'] = C_STOP,
	['\n'] = C_STOP,
	['\0'] = C_STOP,
	[';'] = C_STOP,
	[','] = C_STOP,
	['"'] = C_STOP,
	['<'] = C_STOP,
	['>'] = C_STOP,
	['?'] = C_STOP,
};

static bool is_class(char c, unsigned char class)
{
	return classes[(unsigned char)c] & class;
}

bool sip_is_token_char(char c)
{
	return is_class(c, C_TOKEN);
}

bool sip_is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!sip_is_token_char(s.p[i]))
			return false;
	}
	return s.n > 0;
}

size_t sip_quoted_end(struct slice s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

static struct slice cut(struct slice s, size_t n)
{
	return (struct slice){ s.p + n, s.n - n };
}

static bool is_ws(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice sip_skip_ws(struct slice s)
{
	while (s.n > 0 && is_ws(s.p[0]))
		s = cut(s, 1);
	return s;
}

bool sip_is_host(struct slice s)
{
	struct addr ip;

	if (s.n == 0 || s.n > 255)
		return false;
	if (s.p[0] == '[')
		return s.p[s.n - 1] == ']' && addr_parse_ip(s, 0, &ip);
	for (size_t i = 0; i < s.n; i++) {
		/* Labels are never empty, but a dot may end the name. */
		if (s.p[i] == '.' ? i == 0 || s.p[i - 1] == '.' : !is_class(s.p[i], C_HOST))
			return false;
	}
	return true;
}

bool sip_port_parse(struct slice s, uint16_t *port)
{
	uint64_t v = 0;

	s = sip_skip_ws(s);
	if (s.n == 0) {
		*port = 0;
		return true;
	}
	if (s.p[0] != ':' || !slice_u64(slice_trim(cut(s, 1)), 65535, &v) || v == 0)
		return false;
	*port = (uint16_t)v;
	return true;
}

/* gen-value: token / host / quoted-string. Read with a wider set than the grammar, since URIs and
 * base64 turn up unquoted in the wild; what separates is never part of it. */
static size_t value_end(struct slice s)
{
	size_t i = 0;

	if (s.n > 0 && s.p[0] == '"')
		return sip_quoted_end(s);
	while (i < s.n && !is_class(s.p[i], C_STOP))
		i++;
	return i;
}

bool sip_param_next(struct slice *rest, struct slice *name, struct slice *value)
{
	struct slice s = sip_skip_ws(*rest);
	size_t n = 0;

	if (s.n == 0 || s.p[0] != ';')
		return false;
	s = sip_skip_ws(cut(s, 1));
	while (n < s.n && is_class(s.p[n], C_PNAME))
		n++;
	if (n == 0)
		return false;
	*name = (struct slice){ s.p, n };
	*value = SLICE_NONE;
	s = sip_skip_ws(cut(s, n));
	if (s.n > 0 && s.p[0] == '=') {
		s = sip_skip_ws(cut(s, 1));
		n = value_end(s);
		if (n == 0 && s.n > 0 && s.p[0] == '"')
			return false;
		*value = (struct slice){ s.p, n };
		s = sip_skip_ws(cut(s, n));
	}
	if (s.n > 0 && s.p[0] != ';')
		return false;
	*rest = s;
	return true;
}

bool sip_params_valid(struct slice params)
{
	struct slice name, value;

	params = slice_trim(params);
	while (params.n > 0) {
		if (!sip_param_next(&params, &name, &value))
			return false;
	}
	return true;
}

struct slice sip_list_next(struct slice *rest)
{
	struct slice s = *rest, element;
	size_t i = 0, end;

	while (i < s.n && s.p[i] != ',') {
		if (s.p[i] == '"') {
			end = sip_quoted_end(cut(s, i));
			i = end ? i + end : s.n;
		} else if (s.p[i] == '<') {
			i += slice_find(cut(s, i), '>');
		} else {
			i++;
		}
	}
	element = slice_trim((struct slice){ s.p, i < s.n ? i : s.n });
	*rest = i < s.n ? cut(s, i + 1) : SLICE_NONE;
	return element;
}

struct slice sip_param(struct slice params, const char *name)
{
	struct slice key, value, want = slice_of(name);

	while (sip_param_next(&params, &key, &value)) {
		if (slice_caseeq(key, want))
			return value.p ? value : (struct slice){ key.p + key.n, 0 };
	}
	return SLICE_NONE;
}

bool sip_has_param(struct slice params, const char *name)
{
	return sip_param(params, name).p != NULL;
}
