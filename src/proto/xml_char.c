#include "proto/xml_char.h"

/* Code points a sequence of n bytes may not go below (overlong, RFC 3629 3). */
static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };

/* XML 1.0 2.2 Char. */
static bool is_char(uint32_t c)
{
	if (c < 0x20)
		return c == '\t' || c == '\n' || c == '\r';
	return c != 0xfffe && c != 0xffff;
}

static bool is_scalar(uint32_t c)
{
	return c < 0xd800 || (c > 0xdfff && c <= 0x10ffff);
}

/* 0: no UTF-8. */
static size_t decode(struct slice s, uint32_t *out)
{
	const uint8_t *p = (const uint8_t *)s.p;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? p[0] : n == 2 ? p[0] & 0x1f : n == 3 ? p[0] & 0x0f : p[0] & 0x07;
	size_t i;

	if (n == 0 || n > s.n || p[0] > 0xf7)
		return 0;
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	*out = c;
	return c >= lowest[n] && is_scalar(c) ? n : 0;
}

size_t xml_char_length(struct slice s)
{
	uint32_t c;
	size_t n = decode(s, &c);

	return n && is_char(c) ? n : 0;
}

bool xml_chars_ok(struct slice s)
{
	size_t n;

	for (; s.n; s.p += n, s.n -= n) {
		n = xml_char_length(s);
		if (n == 0)
			return false;
	}
	return true;
}

size_t xml_utf8_length(struct slice s)
{
	uint32_t c;

	return decode(s, &c);
}
