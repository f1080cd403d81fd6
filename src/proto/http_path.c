/*
 * Paths in one spelling. A path is read as the sloppiest backend could: decoded again and again,
 * and at no step may it hold what leads somewhere else.
 */
#include "proto/http_url.h"

/* More layers of encoding than anybody stacks up by mistake. Bounds the work too. */
#define MAX_LAYERS 4

static bool refuse(const char **why, const char *text)
{
	*why = text;
	return false;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%xx" at s stands for, or -1. */
static int escaped(struct slice s)
{
	int high, low;

	if (s.n < 3 || s.p[0] != '%')
		return -1;
	high = hex_value(s.p[1]);
	low = hex_value(s.p[2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static bool is_unreserved(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

/* pchar of RFC 3986 3.3 and '/', but for '%'. */
static bool is_path_char(char c)
{
	return is_unreserved(c) || (c != '\0' && strchr("/!$&'()*+,;=:@", c));
}

/* RFC 3986 6.2.2: one spelling of each byte. */
static bool normalise(struct slice s, char *out, size_t size, size_t *n, const char **why)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i = 0;

	*n = 0;
	while (i < s.n) {
		struct slice rest = { s.p + i, s.n - i };
		int c = escaped(rest);

		bool keep = c >= 0 && !is_unreserved(c);

		if (*n + (keep ? 3 : 1) >= size)
			return refuse(why, "path too long");
		if (c < 0 && !is_path_char(s.p[i]))
			return refuse(why, s.p[i] == '%'
						   ? "bad percent-encoding in the path"
						   : "character in the path that must be encoded");
		if (keep) {
			out[(*n)++] = '%';
			out[(*n)++] = digits[c >> 4];
			out[(*n)++] = digits[c & 15];
		} else {
			out[(*n)++] = c < 0 ? s.p[i] : (char)c;
		}
		i += c < 0 ? 1 : 3;
	}
	out[*n] = '\0';
	return true;
}

/* "." or "..", also in front of parameters or of what would end the path if it were read as a URL
 * once more, and with blanks behind, which some file systems drop. */
static bool is_dot_segment(struct slice s)
{
	s.n = slice_find(s, ';');
	s.n = slice_find(s, '?');
	s.n = slice_find(s, '#');
	while (s.n > 0 && s.p[s.n - 1] == ' ')
		s.n--;
	return slice_eq(s, SLICE(".")) || slice_eq(s, SLICE(".."));
}

static bool has_dot_segment(struct slice path)
{
	while (path.p) {
		if (is_dot_segment(slice_next(&path, '/')))
			return true;
	}
	return false;
}

/* Bytes of the UTF-8 sequence at s in its only form (RFC 3629), or 0. Overlong ones are how "/" and
 * "." get past checks. */
static size_t utf8_bytes(struct slice s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = (unsigned char)s.p[0];
	size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? first : first & (0x7fu >> n);

	if ((first >= 0x80 && first < 0xc0) || first > 0xf7 || s.n < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s.p[i] & 0x3fu);
	}
	return (n > 1 && c < least[n]) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

static bool is_utf8(struct slice s)
{
	size_t n;

	for (; s.n > 0; s.p += n, s.n -= n) {
		n = utf8_bytes(s);
		if (n == 0)
			return false;
	}
	return true;
}

/* Takes one layer of encoding off p in place. *changed: there was one. false: what came out would
 * act on the path. */
static bool decode_layer(char *p, size_t *n, bool *changed, const char **why)
{
	size_t to = 0, from = 0;

	*changed = false;
	while (from < *n) {
		int c = escaped((struct slice){ p + from, *n - from });

		if (c < 0) {
			p[to++] = p[from++];
			continue;
		}
		if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
			return refuse(why, "slash, backslash or control character encoded in the "
					   "path");
		p[to++] = (char)c;
		from += 3;
		*changed = true;
	}
	*n = to;
	return true;
}

static bool check_layers(char *p, size_t n, const char **why)
{
	bool changed = true;

	for (int layer = 0; changed; layer++) {
		if (has_dot_segment((struct slice){ p, n }))
			return refuse(why, "dot segment in the path");
		if (!is_utf8((struct slice){ p, n }))
			return refuse(why, "path is not UTF-8");
		if (layer > MAX_LAYERS)
			return refuse(why, "path encoded too many times");
		if (!decode_layer(p, &n, &changed, why))
			return false;
	}
	return true;
}

bool http_path_canonical(struct slice path, char *out, size_t size, const char **why)
{
	char layer[HTTP_URL_PATH_BYTES];
	size_t n;

	if (path.n == 0 || path.p[0] != '/')
		return refuse(why, "path does not begin with a slash");
	if (size > sizeof(layer))
		size = sizeof(layer);
	if (!normalise(path, out, size, &n, why))
		return false;
	memcpy(layer, out, n);
	return check_layers(layer, n, why);
}

bool http_path_is_under(struct slice path, struct slice top)
{
	if (!slice_starts(path, top))
		return false;
	return path.n == top.n || (top.n > 0 && top.p[top.n - 1] == '/') || path.p[top.n] == '/';
}
