#include "ctl/text.h"

#include <inttypes.h>
#include <time.h>

static bool is_control(const unsigned char *p)
{
	/* U+0080 to U+009F: terminals take them for escape sequences. */
	return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f);
}

void text_add_safe(struct buf *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (!is_control(p)) {
			buf_add_char(out, (char)*p);
			continue;
		}
		if (*p == 0xc2)
			p++;
		buf_printf(out, "\\x%02x", *p);
	}
}

static void add_age(struct buf *out, json_int_t s)
{
	if (s < 60)
		buf_printf(out, "%lds", (long)s);
	else if (s < 60 * 60)
		buf_printf(out, "%ldm%02lds", (long)s / 60, (long)s % 60);
	else if (s < 24 * 60 * 60)
		buf_printf(out, "%ldh%02ldm", (long)s / 3600, (long)s / 60 % 60);
	else
		buf_printf(out, "%ldd%02ldh", (long)s / 86400, (long)s / 3600 % 24);
}

static void add_bytes(struct buf *out, json_int_t n)
{
	static const char units[] = "kMGTPE";
	double v = (double)n;
	size_t i = 0;

	if (n < 1000) {
		buf_printf(out, "%ld", (long)n);
		return;
	}
	for (v /= 1000; v >= 999.95 && units[i + 1]; i++)
		v /= 1000;
	buf_printf(out, "%.1f%c", v, units[i]);
}

static void add_time(struct buf *out, json_int_t v)
{
	time_t t = (time_t)v;
	char text[32];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf_add_str(out, text);
}

static void add_integer(struct buf *out, json_int_t v, enum text_form form)
{
	if (form == TEXT_AGE)
		add_age(out, v);
	else if (form == TEXT_BYTES)
		add_bytes(out, v);
	else if (form == TEXT_TIME)
		add_time(out, v);
	else if (form == TEXT_HEX)
		buf_printf(out, "0x%" PRIx64, (uint64_t)v);
	else
		buf_printf(out, "%" JSON_INTEGER_FORMAT, v);
}

static void add_array(struct buf *out, const json_t *value, enum text_form form)
{
	const json_t *element;
	size_t i;

	json_array_foreach(value, i, element)
	{
		if (json_is_object(element) || json_is_array(element)) {
			buf_printf(out, "%zu", json_array_size(value));
			return;
		}
	}
	json_array_foreach(value, i, element)
	{
		if (i)
			buf_add_str(out, ", ");
		text_add_value(out, element, form);
	}
}

void text_add_value(struct buf *out, const json_t *value, enum text_form form)
{
	if (json_is_string(value))
		text_add_safe(out, json_string_value(value));
	else if (json_is_integer(value))
		add_integer(out, json_integer_value(value), form);
	else if (json_is_real(value))
		buf_printf(out, "%.2f", json_real_value(value));
	else if (json_is_boolean(value))
		buf_add_str(out, json_is_true(value) ? "yes" : "no");
	else if (json_is_array(value))
		add_array(out, value, form);
	else if (json_is_object(value))
		buf_printf(out, "%zu", json_object_size(value));
}

size_t text_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}
