#include "base/slice.h"

#include <stdlib.h>

bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool slice_caseeq(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return false;
	/* Not strncasecmp(): it stops at a NUL, which text from the wire may hold. */
	for (size_t i = 0; i < a.n; i++) {
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	}
	return true;
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return prefix.n == 0 || (s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool slice_ends(struct slice s, struct slice suffix)
{
	return suffix.n == 0 ||
	       (s.n >= suffix.n && memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
	while (s.n > 0 && is_space(s.p[0]))
		s.p++, s.n--;
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

size_t slice_find(struct slice s, char c)
{
	const char *q = s.n ? memchr(s.p, c, s.n) : NULL;

	return q ? (size_t)(q - s.p) : s.n;
}

struct slice slice_next(struct slice *rest, char sep)
{
	size_t at = slice_find(*rest, sep);
	struct slice part = { rest->p, at };

	if (at == rest->n)
		*rest = SLICE_NONE;
	else
		*rest = (struct slice){ rest->p + at + 1, rest->n - at - 1 };
	return part;
}

struct slice slice_word(struct slice *rest)
{
	struct slice word;

	while (rest->n > 0 && (is_space(rest->p[0]) || rest->p[0] == ','))
		rest->p++, rest->n--;
	word = (struct slice){ rest->p, 0 };
	while (rest->n > 0 && !is_space(rest->p[0]) && rest->p[0] != ',')
		rest->p++, rest->n--, word.n++;
	return word;
}

bool slice_u64(struct slice s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - '0';

		if (d > 9 || v > (max - d) / 10 || d > max)
			return false;
		v = v * 10 + d;
	}
	*out = v;
	return true;
}

size_t slice_u64_print(char *out, uint64_t v)
{
	char digits[SLICE_U64_DIGITS];
	size_t n = 0;

	do {
		digits[SLICE_U64_DIGITS - ++n] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	memcpy(out, digits + SLICE_U64_DIGITS - n, n);
	return n;
}

char *slice_dup(struct slice s)
{
	char *p = malloc(s.n + 1);

	if (!p)
		return NULL;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

bool slice_copy(char *dst, size_t size, struct slice s)
{
	size_t n = s.n < size ? s.n : size - 1;

	if (n)
		memcpy(dst, s.p, n);
	dst[n] = '\0';
	return n == s.n;
}

size_t slice_append(char *dst, size_t size, size_t at, struct slice s)
{
	slice_copy(dst + at, size - at, s);
	return at + (s.n < size - at ? s.n : size - at - 1);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned slice_distance(struct slice a, struct slice b)
{
	unsigned row[64];

	if (a.n > 63 || b.n > 63)
		return 64;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned above = row[j];
			unsigned replace = diagonal + (lower(a.p[i - 1]) != lower(b.p[j - 1]));

			row[j] = min3(above + 1, row[j - 1] + 1, replace);
			diagonal = above;
		}
	}
	return row[b.n];
}
