/* SIP URIs (RFC 3261 19.1) and, as far as we need to tell them apart, all others. */
#include "proto/sip_text.h"

static bool is_alpha(char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_scheme(struct slice s)
{
	if (s.n == 0 || s.n > 64 || !is_alpha(s.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!is_alpha(c) && !(c >= '0' && c <= '9') && c != '+' && c != '-' && c != '.')
			return false;
	}
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that %XX at s.p[i] stands for, or -1. */
static int escaped_at(struct slice s, size_t i)
{
	int hi, lo;

	if (s.n - i < 3 || s.p[i] != '%')
		return -1;
	hi = hex_digit(s.p[i + 1]);
	lo = hex_digit(s.p[i + 2]);
	return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* Printable, no delimiters of the text around a URI, and every escape complete. */
static bool is_uri_text(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= 0x20 || c == 0x7f || c == '<' || c == '>' || c == '"')
			return false;
		if (c == '%' && escaped_at(s, i) < 0)
			return false;
	}
	return true;
}

/* What may stand in a user part without an escape (unreserved and user-unreserved). */
static bool is_user_char(int c)
{
	if (c >= 0x80 || c <= 0)
		return false;
	return is_alpha((char)c) || (c >= '0' && c <= '9') || strchr("-_.!~*'()&=+$,;?/", c);
}

/* Everything that is not sip or sips: "user" is the opaque part, host stays empty. */
static bool parse_opaque(struct slice rest, struct sip_uri *u)
{
	size_t end = slice_find(rest, ';');

	u->user = (struct slice){ rest.p, end };
	u->params = (struct slice){ rest.p + end, rest.n - end };
	u->host = SLICE_NONE;
	return u->user.n > 0;
}

static bool parse_hostport(struct slice s, struct sip_uri *u)
{
	size_t end;

	if (s.n > 0 && s.p[0] == '[') {
		end = slice_find(s, ']');
		end = end < s.n ? end + 1 : end;
	} else {
		end = slice_find(s, ':');
	}
	u->host = (struct slice){ s.p, end };
	s = (struct slice){ s.p + end, s.n - end };
	return sip_is_host(u->host) && sip_port_parse(s, &u->port);
}

static bool parse_sip(struct slice rest, struct sip_uri *u)
{
	size_t at = slice_find(rest, '@'), end;
	struct slice hostport;

	if (at < rest.n) {
		struct slice userinfo = { rest.p, at };

		u->user = (struct slice){ rest.p, slice_find(userinfo, ':') };
		if (u->user.n == 0)
			return false;
		rest = (struct slice){ rest.p + at + 1, rest.n - at - 1 };
		if (slice_find(rest, '@') < rest.n)
			return false;
	}
	for (end = 0; end < rest.n && rest.p[end] != ';' && rest.p[end] != '?'; end++)
		;
	hostport = (struct slice){ rest.p, end };
	rest = (struct slice){ rest.p + end, rest.n - end };
	end = slice_find(rest, '?');
	u->params = (struct slice){ rest.p, end };
	u->headers = (struct slice){ rest.p + end, rest.n - end };
	return parse_hostport(hostport, u) && sip_params_valid(u->params);
}

bool sip_uri_parse(struct slice text, struct sip_uri *out)
{
	size_t colon = slice_find(text, ':');
	struct slice rest;

	*out = (struct sip_uri){ 0 };
	if (colon == text.n || !is_uri_text(text))
		return false;
	out->scheme = (struct slice){ text.p, colon };
	if (!is_scheme(out->scheme))
		return false;
	rest = (struct slice){ text.p + colon + 1, text.n - colon - 1 };
	if (slice_caseeq(out->scheme, SLICE("sip")) || slice_caseeq(out->scheme, SLICE("sips")))
		return parse_sip(rest, out);
	return parse_opaque(rest, out);
}

/* Next byte of a text with escapes decoded; *i moves on. */
static int next_byte(struct slice s, size_t *i)
{
	int c = escaped_at(s, *i);

	*i += c < 0 ? 1 : 3;
	return c < 0 ? (unsigned char)s.p[*i - 1] : c;
}

static bool same_unescaped(struct slice a, struct slice b)
{
	size_t i = 0, j = 0;

	while (i < a.n && j < b.n) {
		if (next_byte(a, &i) != next_byte(b, &j))
			return false;
	}
	return i == a.n && j == b.n;
}

static bool same_host(struct slice a, struct slice b)
{
	struct addr x, y;

	if (slice_caseeq(a, b))
		return true;
	/* One IPv6 address has many spellings (RFC 5118 4). */
	return a.n > 0 && b.n > 0 && a.p[0] == '[' && b.p[0] == '[' && addr_parse_ip(a, 0, &x) &&
	       addr_parse_ip(b, 0, &y) && addr_ip_eq(&x, &y);
}

bool sip_uri_same(struct slice a, struct slice b)
{
	struct sip_uri x, y;

	if (!sip_uri_parse(a, &x) || !sip_uri_parse(b, &y))
		return false;
	return slice_caseeq(x.scheme, y.scheme) && same_unescaped(x.user, y.user) &&
	       same_host(x.host, y.host) && x.port == y.port;
}

bool sip_uri_aor(struct slice uri, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	struct sip_uri u;

	if (!sip_uri_parse(uri, &u) || u.host.n == 0)
		return false;
	for (size_t i = 0; i < u.user.n;) {
		int c = next_byte(u.user, &i);

		if (is_user_char(c)) {
			buf_add_char(out, (char)c);
		} else {
			char esc[3] = { '%', hex[c >> 4], hex[c & 15] };

			buf_add(out, esc, sizeof(esc));
		}
	}
	if (u.user.n > 0)
		buf_add_char(out, '@');
	for (size_t i = 0; i < u.host.n; i++) {
		char c = u.host.p[i];

		buf_add_char(out, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
	}
	return !out->failed;
}
