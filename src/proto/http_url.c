/* URLs, authorities and hosts; the path has a file of its own, http_path.c. */
#include "proto/http_url.h"

#include <stdio.h>

static bool refuse(const char **why, const char *text)
{
	*why = text;
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* One label of a name: 1 to 63 letters, digits, '_', and '-' in between. */
static bool is_label(struct slice s)
{
	if (s.n == 0 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	}
	return true;
}

/* Would a lenient reader (inet_aton, the URL standard of browsers) take a name with this last label
 * for an IPv4 address? All digits, or 0x and hex digits. */
static bool is_number(struct slice s)
{
	size_t i;

	if (s.n >= 2 && s.p[0] == '0' && (s.p[1] | 0x20) == 'x') {
		for (i = 2; i < s.n && is_hex(s.p[i]); i++)
			;
		return i == s.n;
	}
	for (i = 0; i < s.n && is_digit(s.p[i]); i++)
		;
	return i == s.n;
}

/* Name without its trailing dot, or IPv4. */
static bool parse_name(struct slice s, char out[HTTP_URL_HOST_BYTES], struct addr *ip,
		       const char **why)
{
	struct slice rest = s, label = SLICE_NONE;

	if (s.n > 1 && s.p[s.n - 1] == '.')
		rest.n = --s.n;
	if (s.n >= HTTP_URL_HOST_BYTES)
		return refuse(why, "host too long");
	while (rest.p) {
		label = slice_next(&rest, '.');
		if (!is_label(label))
			return refuse(why, "host is neither a name nor an address");
	}
	/* The resolver's own reader refuses octal, hex and short forms. */
	if (is_number(label) && !addr_parse_ip(s, 0, ip))
		return refuse(why, "host is an address in another spelling than a.b.c.d");
	for (size_t i = 0; i < s.n; i++)
		out[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]);
	out[s.n] = '\0';
	return true;
}

/* s: without brackets. */
static bool parse_ip6(struct slice s, char out[HTTP_URL_HOST_BYTES], struct addr *ip,
		      const char **why)
{
	char text[ADDR_STR_BYTES];

	/* IPv4 within IPv6 has a spelling of its own already. addr_parse_ip() takes brackets. */
	if (slice_find(s, '.') < s.n || slice_find(s, '[') < s.n || !addr_parse_ip(s, 0, ip) ||
	    ip->family != ADDR_IP6)
		return refuse(why, "bad IPv6 address");
	addr_ip_str(ip, text);
	(void)slice_copy(out, HTTP_URL_HOST_BYTES, slice_of(text));
	/* As inet_ntop prints ::1.2.3.4. */
	return strchr(text, '.') == NULL || refuse(why, "bad IPv6 address");
}

bool http_host_parse(struct slice text, char out[HTTP_URL_HOST_BYTES], struct addr *ip,
		     const char **why)
{
	memset(ip, 0, sizeof(*ip));
	out[0] = '\0';
	if (text.n == 0)
		return refuse(why, "no host");
	if (text.p[0] == '[') {
		if (text.p[text.n - 1] != ']')
			return refuse(why, "bracket without its other one");
		return parse_ip6((struct slice){ text.p + 1, text.n - 2 }, out, ip, why);
	}
	if (slice_find(text, ':') < text.n)
		return parse_ip6(text, out, ip, why);
	return parse_name(text, out, ip, why);
}

bool http_port_parse(struct slice digits, uint16_t *port)
{
	uint64_t v;

	if (digits.n == 0 || digits.p[0] == '0' || !slice_u64(digits, 65535, &v))
		return false;
	*port = (uint16_t)v;
	return true;
}

static bool parse_authority(struct slice text, uint16_t default_port, struct http_url *out,
			    const char **why)
{
	size_t n = text.n;

	/* The port is behind the last colon that is not within brackets. */
	while (n > 0 && is_digit(text.p[n - 1]))
		n--;
	out->port_written = n > 0 && text.p[n - 1] == ':';
	out->port = default_port;
	if (out->port_written) {
		if (!http_port_parse((struct slice){ text.p + n, text.n - n }, &out->port))
			return refuse(why, "bad port");
		text.n = n - 1;
		/* "::1" must not lose its last digit to a port. */
		if (slice_find(text, ':') < text.n && text.p[0] != '[')
			return refuse(why, "IPv6 address without brackets");
	} else if (slice_find(text, ':') < text.n && text.p[0] != '[') {
		return refuse(why, "bad port");
	}
	return http_host_parse(text, out->host, &out->ip, why);
}

bool http_authority_parse(struct slice text, uint16_t default_port, struct http_url *out,
			  const char **why)
{
	out->https = default_port == 443;
	memcpy(out->path, "/", 2);
	out->query = SLICE_NONE;
	return parse_authority(text, default_port, out, why);
}

static bool cut_scheme(struct slice *text, bool *https)
{
	static const struct slice schemes[] = { SLICE("http://"), SLICE("https://") };

	for (int i = 0; i < 2; i++) {
		size_t n = schemes[i].n;

		if (text->n >= n && slice_caseeq((struct slice){ text->p, n }, schemes[i])) {
			*text = (struct slice){ text->p + n, text->n - n };
			*https = i == 1;
			return true;
		}
	}
	return false;
}

bool http_url_parse(struct slice text, struct http_url *out, const char **why)
{
	struct slice path;
	size_t n;

	n = slice_find(text, '?');
	for (size_t i = 0; i < text.n; i++) {
		/* As in http1_target_parse(): queries hold backslashes in practice. */
		if (text.p[i] <= ' ' || text.p[i] > '~' || (text.p[i] == '\\' && i < n))
			return refuse(why, "character that must be encoded");
		if (text.p[i] == '#')
			return refuse(why, "fragment");
	}
	if (!cut_scheme(&text, &out->https))
		return refuse(why, "scheme is neither http nor https");
	path = text;
	path.n = slice_find(text, '?');
	out->query = SLICE_NONE;
	if (path.n < text.n)
		out->query = (struct slice){ text.p + path.n + 1, text.n - path.n - 1 };
	n = slice_find(path, '/');
	text.n = n;
	path = n < path.n ? (struct slice){ path.p + n, path.n - n } : SLICE("/");
	if (slice_find(text, '@') < text.n)
		return refuse(why, "user in the URL");
	return parse_authority(text, out->https ? 443 : 80, out, why) &&
	       http_path_canonical(path, out->path, sizeof(out->path), why);
}

void http_url_print(const struct http_url *u, char *out, size_t size)
{
	bool ip6 = strchr(u->host, ':') != NULL;
	char port[8] = "";

	if (u->port != (u->https ? 443 : 80))
		snprintf(port, sizeof(port), ":%u", u->port);
	snprintf(out, size, "%s://%s%s%s%s%s", u->https ? "https" : "http", ip6 ? "[" : "", u->host,
		 ip6 ? "]" : "", port, u->path);
}
