#include "base/base64.h"

static const char std_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *out, const uint8_t *p, size_t n, const char *alphabet, bool pad)
{
	for (; n > 0; p += n < 3 ? n : 3, n -= n < 3 ? n : 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) |
			     (n > 2 ? p[2] : 0);
		char four[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63], alphabet[v >> 6 & 63],
				 alphabet[v & 63] };
		size_t n_chars = n >= 3 ? 4 : n + 1;

		buf_add(out, four, n_chars);
		for (; pad && n_chars < 4; n_chars++)
			buf_add_char(out, '=');
	}
}

void base64_encode(struct buf *out, const void *data, size_t n)
{
	encode(out, data, n, std_alphabet, true);
}

void base64url_encode(struct buf *out, const void *data, size_t n)
{
	encode(out, data, n, url_alphabet, false);
}

static int value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

long base64_decode(struct slice text, uint8_t *out, size_t max)
{
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t n = 0;

	if (text.n > 0 && text.p[text.n - 1] == '=') {
		if (text.n % 4 != 0)
			return -1;
		text.n -= text.p[text.n - 2] == '=' ? 2 : 1;
	}
	if (text.n % 4 == 1)
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		int v = value(text.p[i]);

		if (v < 0)
			return -1;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			if (n == max)
				return -1;
			out[n++] = (uint8_t)(acc >> bits);
		}
	}
	/* Bits left over must be zero: one text for one value. */
	return (acc & ((1u << bits) - 1)) ? -1 : (long)n;
}

void hex_encode(struct buf *out, const void *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++) {
		char two[2] = { digits[p[i] >> 4], digits[p[i] & 15] };

		buf_add(out, two, 2);
	}
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

long hex_decode(struct slice text, uint8_t *out, size_t max)
{
	if (text.n % 2 != 0 || text.n / 2 > max)
		return -1;
	for (size_t i = 0; i < text.n; i += 2) {
		int hi = hex_value(text.p[i]), lo = hex_value(text.p[i + 1]);

		if (hi < 0 || lo < 0)
			return -1;
		out[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	return (long)(text.n / 2);
}
