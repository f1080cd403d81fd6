#include "proto/ini.h"

#include <string.h>

static bool is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

static bool is_word(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_key_char(s.p[i]))
			return false;
	}
	return s.n > 0;
}

/* Bytes of the UTF-8 sequence at s (RFC 3629: no surrogates, no overlong forms); 0 when it is none.
 */
static size_t utf8_length(struct slice s)
{
	unsigned char c = (unsigned char)s.p[0];
	unsigned char first_min = 0x80, first_max = 0xbf;
	size_t n;

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (s.n < n)
		return 0;
	if (c == 0xe0)
		first_min = 0xa0;
	else if (c == 0xed)
		first_max = 0x9f;
	else if (c == 0xf0)
		first_min = 0x90;
	else if (c == 0xf4)
		first_max = 0x8f;
	for (size_t i = 1; i < n; i++) {
		unsigned char b = (unsigned char)s.p[i];

		if (b < (i == 1 ? first_min : 0x80) || b > (i == 1 ? first_max : 0xbf))
			return 0;
	}
	return n;
}

/* What is wrong with the bytes of a line, or NULL. */
static const char *bytes_error(struct slice s)
{
	while (s.n > 0) {
		size_t n = utf8_length(s);

		if (n == 0)
			return "bytes that are not UTF-8";
		if (((unsigned char)s.p[0] < 0x20 && s.p[0] != '\t') || s.p[0] == 0x7f)
			return "a control character";
		s.p += n;
		s.n -= n;
	}
	return NULL;
}

static void fail(struct ini_item *item, const char *error)
{
	item->kind = INI_ERROR;
	item->error = error;
}

static void lex_section(struct ini_item *item, struct slice s)
{
	struct slice inner, rest;

	if (s.p[s.n - 1] != ']') {
		fail(item,
		     slice_find(s, ']') < s.n
			     ? "text after the \"]\" of a section header; comments stand on a "
			       "line of their own"
			     : "section header without \"]\"");
		return;
	}
	inner = slice_trim((struct slice){ s.p + 1, s.n - 2 });
	rest = inner;
	item->type = slice_word(&rest);
	item->name = slice_trim(rest);
	item->kind = INI_SECTION;
	if (inner.n == 0)
		fail(item, "empty section header; write [type] or [type name]");
	else if (!is_word(item->type))
		fail(item, "section type with characters other than letters, digits, \"-\", \"_\" "
			   "and \".\"");
	else if (item->type.n > INI_MAX_NAME_BYTES || item->name.n > INI_MAX_NAME_BYTES)
		fail(item, "section header with a word longer than 255 bytes");
	else if (memchr(inner.p, '[', inner.n) || memchr(inner.p, ']', inner.n))
		fail(item, "\"[\" or \"]\" inside a section header");
	else if (item->name.n &&
		 (slice_find(item->name, ' ') < item->name.n ||
		  slice_find(item->name, '\t') < item->name.n || slice_find(inner, ',') < inner.n))
		fail(item, "section name of more than one word; write [type name]");
}

static void lex_setting(struct ini_item *item, struct slice s)
{
	size_t at = slice_find(s, '=');

	item->kind = INI_SETTING;
	item->key = slice_trim((struct slice){ s.p, at });
	if (at == s.n) {
		fail(item, "neither \"[section]\" nor \"key = value\" nor a comment");
		return;
	}
	item->value = slice_trim((struct slice){ s.p + at + 1, s.n - at - 1 });
	if (item->key.n == 0)
		fail(item, "no key before \"=\"");
	else if (!is_word(item->key))
		fail(item,
		     "key with characters other than letters, digits, \"-\", \"_\" and \".\"");
	else if (item->key.n > INI_MAX_NAME_BYTES)
		fail(item, "key longer than 255 bytes");
}

static void lex_line(struct ini_item *item)
{
	struct slice s = slice_trim(item->raw);
	const char *error;

	if (item->raw.n > INI_MAX_LINE_BYTES) {
		fail(item, "line longer than 4096 bytes");
	} else if ((error = bytes_error(item->raw))) {
		fail(item, error);
	} else if (s.n == 0) {
		item->kind = INI_BLANK;
	} else if (s.p[0] == '#' || s.p[0] == ';') {
		item->kind = INI_COMMENT;
		item->value = (struct slice){ s.p + 1, s.n - 1 };
	} else if (s.p[0] == '[') {
		lex_section(item, s);
	} else {
		lex_setting(item, s);
	}
}

static bool starts_with_bytes(struct slice text, const char *bytes, size_t n)
{
	return text.n >= n && memcmp(text.p, bytes, n) == 0;
}

/* Line of the NUL byte at p. */
static unsigned line_of(struct slice text, const char *p)
{
	unsigned line = 1;

	for (const char *q = text.p; q < p; q++)
		line += *q == '\n';
	return line;
}

/* Fills item when text cannot be an INI file at all. */
static bool lex_text(struct slice text, struct ini_item *item)
{
	const char *nul;

	if (text.n > INI_MAX_TEXT_BYTES) {
		fail(item, "file larger than 1 MiB");
	} else if (starts_with_bytes(text, "\xef\xbb\xbf", 3)) {
		item->line = 1;
		fail(item, "file starts with a UTF-8 byte order mark; save it without one");
	} else if (starts_with_bytes(text, "\xff\xfe", 2) ||
		   starts_with_bytes(text, "\xfe\xff", 2)) {
		item->line = 1;
		fail(item, "file is UTF-16; save it as UTF-8 without a byte order mark");
	} else if (text.n && (nul = memchr(text.p, '\0', text.n))) {
		item->line = line_of(text, nul);
		fail(item, "a NUL byte; this is not a text file");
	}
	return item->error != NULL;
}

int ini_parse(struct slice text, int (*fn)(const struct ini_item *item, void *arg), void *arg)
{
	struct ini_item whole = { 0 };
	unsigned line = 0;
	int r = 0;

	if (lex_text(text, &whole))
		return fn(&whole, arg);
	while (text.n > 0 && r == 0) {
		struct ini_item item = { .line = ++line, .raw = slice_next(&text, '\n') };

		if (item.raw.n > 0 && item.raw.p[item.raw.n - 1] == '\r')
			item.raw.n--;
		lex_line(&item);
		r = fn(&item, arg);
	}
	return r;
}
