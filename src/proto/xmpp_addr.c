/* Addresses of XMPP (RFC 7622), without the tables of PRECIS: what is compared is ASCII-folded. */
#include <string.h>

#include "base/addr.h"
#include "proto/xml_char.h"
#include "proto/xmpp.h"

#define MAX_PART_BYTES	 1023
#define MAX_DOMAIN_BYTES 253
#define MAX_LABEL_BYTES	 63

/* UTF-8 without control characters. */
static bool is_text(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f)
			return false;
		/* U+0080 to U+009F */
		if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
			return false;
	}
	return xml_chars_ok(s);
}

static bool has_any(struct slice s, const char *set)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] && strchr(set, s.p[i]))
			return true;
	}
	return false;
}

bool xmpp_jid_parse(struct slice text, struct xmpp_jid *out)
{
	struct slice rest = text;
	struct xmpp_jid jid = { 0 };
	size_t at = slice_find(rest, '/');

	/* RFC 7622 section 3.2: first the resource is taken off, then the local part. */
	if (at < rest.n) {
		jid.resource = (struct slice){ rest.p + at + 1, rest.n - at - 1 };
		if (jid.resource.n == 0)
			return false;
		rest.n = at;
	}
	at = slice_find(rest, '@');
	if (at < rest.n) {
		jid.local = (struct slice){ rest.p, at };
		if (jid.local.n == 0)
			return false;
		rest = (struct slice){ rest.p + at + 1, rest.n - at - 1 };
	}
	if (rest.n && rest.p[rest.n - 1] == '.')
		rest.n--;
	jid.domain = rest;
	if (jid.domain.n == 0 || jid.domain.n > MAX_PART_BYTES || jid.local.n > MAX_PART_BYTES ||
	    jid.resource.n > MAX_PART_BYTES)
		return false;
	if (!is_text(jid.domain) || !is_text(jid.local) || !is_text(jid.resource) ||
	    has_any(jid.local, "\"&'/:<>@ ") || has_any(jid.domain, "@/ \"&'<>"))
		return false;
	*out = jid;
	return true;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Blocks without a letter that IDNA 2008 allows; some of them look like, or are mapped to, the
 * delimiters of addresses: U+3002, U+FF0E, U+FF20. */
static bool is_label_char(uint32_t c)
{
	if (c < 0x80)
		return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
	if (c < 0xb7 || (c >= 0xe000 && c < 0xf900))
		return false;
	if (c >= 0x2000 && c < 0x2c00)
		return c == 0x200c || c == 0x200d; /* joiners */
	if (c >= 0x3000 && c < 0x3005)
		return false;
	if (c >= 0xfe00 && c < 0x10000)
		return c >= 0xfe20 && c < 0xfe30; /* combining half marks */
	return c < 0xe0000;
}

static uint32_t code_point(const char *p, size_t n)
{
	uint32_t c = n == 1 ? (uint8_t)p[0] : (uint8_t)p[0] & (0x7fu >> n);
	size_t i;

	for (i = 1; i < n; i++)
		c = c << 6 | ((uint8_t)p[i] & 0x3f);
	return c;
}

static bool is_label(struct slice s)
{
	size_t n;

	if (s.n == 0 || s.n > MAX_LABEL_BYTES || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (; s.n; s.p += n, s.n -= n) {
		n = xml_char_length(s);
		if (n == 0 || !is_label_char(code_point(s.p, n)))
			return false;
	}
	return true;
}

static bool is_literal(struct slice s)
{
	struct addr a;

	return s.n > 2 && s.p[s.n - 1] == ']' && addr_parse_ip(s, 0, &a);
}

bool xmpp_domain(struct slice text, char out[XMPP_DOMAIN_BYTES])
{
	struct slice rest;
	size_t i;

	if (text.n && text.p[text.n - 1] == '.')
		text.n--;
	if (text.n == 0 || text.n > MAX_DOMAIN_BYTES)
		return false;
	for (i = 0; i < text.n; i++)
		out[i] = lower(text.p[i]);
	out[text.n] = '\0';
	rest = (struct slice){ out, text.n };
	if (out[0] == '[')
		return is_literal(rest);
	while (rest.p) {
		if (!is_label(slice_next(&rest, '.')))
			return false;
	}
	return true;
}

bool xmpp_bare(struct slice jid, char *out, size_t size)
{
	char domain[XMPP_DOMAIN_BYTES];
	struct xmpp_jid parts;
	size_t i, n;

	if (!xmpp_jid_parse(jid, &parts) || parts.local.n == 0 ||
	    !xmpp_domain(parts.domain, domain))
		return false;
	n = strlen(domain);
	if (parts.local.n + 1 + n >= size)
		return false;
	for (i = 0; i < parts.local.n; i++)
		out[i] = lower(parts.local.p[i]);
	out[i++] = '@';
	memcpy(out + i, domain, n + 1);
	return true;
}
