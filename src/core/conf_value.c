#include "core/conf_value.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>

#include "core/conf_private.h"

typedef int (*parse_fn)(const struct conf_row *row, struct slice text, void *field,
			struct buf *why);

/* `"text" is wrong; legal values: ...`; long text is cut. */
static int refuse(const struct conf_row *row, struct slice text, const char *what, struct buf *why)
{
	bool cut = text.n > 100;

	buf_add_char(why, '"');
	buf_add_escaped(why, cut ? (struct slice){ text.p, 100 } : text);
	buf_printf(why, "%s\" %s; legal values: ", cut ? "..." : "", what);
	conf_value_legal(row, why);
	return -EINVAL;
}

uint32_t conf_value_max(const struct conf_row *row)
{
	return row->max > 0 && row->max < UINT32_MAX ? (uint32_t)row->max : UINT32_MAX;
}

static int parse_bool(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = { { "yes", true }, { "on", true },	 { "true", true },
		      { "no", false }, { "off", false }, { "false", false } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (slice_eq(text, slice_of(words[i].word))) {
			*(bool *)field = words[i].value;
			return 0;
		}
	}
	return refuse(row, text, "is neither yes nor no", why);
}

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit units_ms[] = {
	{ "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 60 * 60 * 1000 }, { 0 }
};
static const struct unit units_bytes[] = { { "", 1 }, { "k", 1024 }, { "m", 1024 * 1024 }, { 0 } };
static const struct unit units_none[] = { { "", 1 }, { 0 } };

static int parse_number(const struct conf_row *row, const struct unit *unit, const char *no_number,
			struct slice text, void *field, struct buf *why)
{
	struct slice digits = { text.p, 0 };
	struct slice suffix;
	uint64_t v;

	while (digits.n < text.n && text.p[digits.n] >= '0' && text.p[digits.n] <= '9')
		digits.n++;
	suffix = slice_trim((struct slice){ text.p + digits.n, text.n - digits.n });
	while (unit->name && !slice_eq(suffix, slice_of(unit->name)))
		unit++;
	if (digits.n == 0 || !unit->name)
		return refuse(row, text, no_number, why);
	if (!slice_u64(digits, UINT32_MAX, &v) || v * unit->factor > conf_value_max(row))
		return refuse(row, text, "is too large", why);
	v *= unit->factor;
	if ((int64_t)v < row->min)
		return refuse(row, text, "is too small", why);
	*(uint32_t *)field = (uint32_t)v;
	return 0;
}

static int parse_u32(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	return parse_number(row, units_none, "is not a number", text, field, why);
}

static int parse_ms(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	return parse_number(row, units_ms, "is not a time", text, field, why);
}

static int parse_bytes(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	return parse_number(row, units_bytes, "is not a size", text, field, why);
}

static int parse_enum(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	struct conf_guess guess;

	conf_guess_init(&guess, text);
	for (int i = 0; row->names[i]; i++) {
		if (slice_eq(text, slice_of(row->names[i]))) {
			*(int *)field = i;
			return 0;
		}
		conf_guess_try(&guess, slice_of(row->names[i]));
	}
	refuse(row, text, "is unknown", why);
	conf_guess_print(&guess, why);
	return -EINVAL;
}

static int parse_string(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	char *copy = slice_dup(text);

	*(char **)field = copy;
	return copy ? 0 : -ENOMEM;
}

static int parse_secret(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	int r = conf_value_secret(text, field, why);

	if (r == -EINVAL) {
		buf_add_str(why, "; legal values: ");
		conf_value_legal(row, why);
	}
	return r;
}

static int parse_path(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	int r = conf_value_path(text, field, why);

	if (r == -EINVAL) {
		buf_add_str(why, "; legal values: ");
		conf_value_legal(row, why);
	}
	return r;
}

static size_t count_words(struct slice text)
{
	size_t n = 0;

	while (slice_word(&text).n)
		n++;
	return n;
}

static int parse_names(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	struct conf_names *names = field;
	size_t n = count_words(text);

	if (n == 0)
		return 0;
	names->v = calloc(n, sizeof(*names->v));
	if (!names->v)
		return -ENOMEM;
	while (names->n < n) {
		char *word = slice_dup(slice_word(&text));

		if (!word)
			return -ENOMEM;
		names->v[names->n++] = word;
	}
	return 0;
}

static int parse_addr(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	struct addr addr = { 0 };

	if (!slice_eq(text, SLICE("any")) && !addr_parse_ip(text, 0, &addr))
		return refuse(row, text, "is not an IP address", why);
	*(struct addr *)field = addr;
	return 0;
}

static int parse_ports(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	struct conf_ports *ports = field;
	uint64_t min = row->min > 1 ? (uint64_t)row->min : 1;
	uint64_t max = row->max > 0 && row->max < 65535 ? (uint64_t)row->max : 65535;
	struct slice rest = text;
	struct slice low = slice_trim(slice_next(&rest, '-'));
	struct slice high = slice_trim(rest);
	uint64_t first, last;

	if (!slice_u64(low, UINT32_MAX, &first) || !slice_u64(high, UINT32_MAX, &last))
		return refuse(row, text, "is not a port range", why);
	if (first > last)
		return refuse(row, text, "ends before it starts", why);
	if (first < min || last > max)
		return refuse(row, text, "goes over the limits", why);
	*ports = (struct conf_ports){ (uint16_t)first, (uint16_t)last };
	return 0;
}

static int parse_prefixes(const struct conf_row *row, struct slice text, void *field,
			  struct buf *why)
{
	struct conf_prefixes *prefixes = field;
	size_t n = count_words(text);

	if (n == 0)
		return 0;
	prefixes->v = calloc(n, sizeof(*prefixes->v));
	if (!prefixes->v)
		return -ENOMEM;
	while (prefixes->n < n) {
		struct slice word = slice_word(&text);

		if (!addr_prefix_parse(word, &prefixes->v[prefixes->n]))
			return refuse(row, word, "is neither an IP address nor a prefix", why);
		prefixes->n++;
	}
	return 0;
}

static int parse_regex(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	PCRE2_SIZE at;
	PCRE2_UCHAR message[128];
	int code;
	pcre2_code *compiled =
		pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_UTF, &code, &at, NULL);

	if (!compiled) {
		if (code == PCRE2_ERROR_NOMEMORY)
			return -ENOMEM;
		pcre2_get_error_message(code, message, sizeof(message));
		buf_printf(why, "not a regular expression: %s at offset %zu; legal values: ",
			   (const char *)message, (size_t)at);
		conf_value_legal(row, why);
		return -EINVAL;
	}
	pcre2_code_free(compiled);
	return parse_string(row, text, field, why);
}

static int parse_ref(const struct conf_row *row, struct slice text, void *field, struct buf *why)
{
	if (count_words(text) > 1)
		return refuse(row, text, "is more than one name", why);
	return parse_string(row, text, field, why);
}

static const parse_fn parsers[] = {
	[CONF_BOOL] = parse_bool,     [CONF_U32] = parse_u32,	  [CONF_MS] = parse_ms,
	[CONF_BYTES] = parse_bytes,   [CONF_ENUM] = parse_enum,	  [CONF_STRING] = parse_string,
	[CONF_SECRET] = parse_secret, [CONF_PATH] = parse_path,	  [CONF_NAMES] = parse_names,
	[CONF_ADDR] = parse_addr,     [CONF_PORTS] = parse_ports, [CONF_PREFIXES] = parse_prefixes,
	[CONF_REGEX] = parse_regex,   [CONF_REF] = parse_ref,
};

static bool can_be_empty(const struct conf_row *row)
{
	switch (row->type) {
	case CONF_STRING:
	case CONF_SECRET:
	case CONF_PATH:
	case CONF_NAMES:
	case CONF_PREFIXES:
	case CONF_REGEX:
	case CONF_REF:
		return !(row->flags & CONF_REQUIRED);
	default:
		return false;
	}
}

int conf_value_set(const struct conf_row *row, struct slice text, void *section, struct buf *why)
{
	int r;

	conf_value_free(row, section);
	text = slice_trim(text);
	if (text.n == 0) {
		if (can_be_empty(row))
			return 0;
		buf_add_str(why, "no value; legal values: ");
		conf_value_legal(row, why);
		return -EINVAL;
	}
	r = parsers[row->type](row, text, (char *)section + row->offset, why);
	if (r < 0)
		conf_value_free(row, section);
	return r;
}
