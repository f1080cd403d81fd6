#include "uc/host.h"

#include "base/addr.h"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool uc_host_is_plain(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_')
			return false;
	return s.n > 0 && s.n < UC_HOST_BYTES && is_alnum(s.p[0]);
}

static bool is_ip6(struct slice s)
{
	struct addr a;

	return s.n > 0 && s.p[0] != '[' && slice_find(s, ':') < s.n && slice_find(s, '%') == s.n &&
	       addr_parse_ip(s, 0, &a);
}

bool uc_host_is_legal(struct slice s)
{
	return uc_host_is_plain(s) || is_ip6(s);
}

bool uc_host_parse(struct slice text, uint16_t default_port, char host[UC_HOST_BYTES],
		   uint16_t *port)
{
	struct slice name = text, rest = SLICE_NONE;
	uint64_t number;

	*port = default_port;
	if (is_ip6(text))
		return slice_copy(host, UC_HOST_BYTES, text);
	if (text.n && text.p[0] == '[') {
		name.n = slice_find(text, ']');
		if (name.n == text.n)
			return false;
		rest = (struct slice){ text.p + name.n + 1, text.n - name.n - 1 };
		name = (struct slice){ text.p + 1, name.n - 1 };
		if (!is_ip6(name))
			return false;
	} else {
		name.n = slice_find(text, ':');
		rest = (struct slice){ text.p + name.n, text.n - name.n };
		if (!uc_host_is_plain(name))
			return false;
	}
	if (rest.n) {
		if (rest.p[0] != ':' ||
		    !slice_u64((struct slice){ rest.p + 1, rest.n - 1 }, 65535, &number) ||
		    number == 0)
			return false;
		*port = (uint16_t)number;
	}
	return slice_copy(host, UC_HOST_BYTES, name);
}

void uc_host_url(struct buf *out, bool https, const char *host, uint16_t port)
{
	const bool bracket = slice_find(slice_of(host), ':') < slice_of(host).n;

	buf_printf(out, "%s://%s%s%s:%u", https ? "https" : "http", bracket ? "[" : "", host,
		   bracket ? "]" : "", port);
}

bool uc_host_same(const char *a, const char *b, bool loose)
{
	struct slice x = slice_of(a), y = slice_of(b);

	if (slice_caseeq(x, y))
		return true;
	if (!loose || (slice_find(x, '.') < x.n && slice_find(y, '.') < y.n))
		return false;
	x.n = slice_find(x, '.');
	y.n = slice_find(y, '.');
	return slice_caseeq(x, y);
}

void uc_host_percent(struct buf *out, struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		const char c = s.p[i];

		if (is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
			buf_add_char(out, c);
		else
			buf_printf(out, "%%%02X", (unsigned)(uint8_t)c);
	}
}
