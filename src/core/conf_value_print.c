#include <stdlib.h>
#include <string.h>

#include "core/conf_value.h"

static void *field_of(const struct conf_row *row, const void *section)
{
	return (char *)(uintptr_t)section + row->offset;
}

static const char *text_of(const struct conf_row *row, const void *section)
{
	return *(char **)field_of(row, section);
}

static bool is_text(const struct conf_row *row)
{
	return row->type == CONF_STRING || row->type == CONF_SECRET || row->type == CONF_PATH ||
	       row->type == CONF_REGEX || row->type == CONF_REF;
}

static size_t field_size(const struct conf_row *row)
{
	switch (row->type) {
	case CONF_BOOL:
		return sizeof(bool);
	case CONF_ENUM:
		return sizeof(int);
	case CONF_NAMES:
		return sizeof(struct conf_names);
	case CONF_ADDR:
		return sizeof(struct addr);
	case CONF_PORTS:
		return sizeof(struct conf_ports);
	case CONF_PREFIXES:
		return sizeof(struct conf_prefixes);
	default:
		return is_text(row) ? sizeof(char *) : sizeof(uint32_t);
	}
}

void conf_value_free(const struct conf_row *row, void *section)
{
	void *field = field_of(row, section);

	if (row->type == CONF_SECRET && *(char **)field)
		explicit_bzero(*(char **)field, strlen(*(char **)field));
	if (is_text(row)) {
		free(*(char **)field);
	} else if (row->type == CONF_NAMES) {
		struct conf_names *names = field;

		for (size_t i = 0; i < names->n; i++)
			free(names->v[i]);
		free(names->v);
	} else if (row->type == CONF_PREFIXES) {
		free(((struct conf_prefixes *)field)->v);
	}
	memset(field, 0, field_size(row));
}

bool conf_value_empty(const struct conf_row *row, const void *section)
{
	const void *field = field_of(row, section);

	if (is_text(row))
		return !text_of(row, section);
	if (row->type == CONF_NAMES)
		return ((const struct conf_names *)field)->n == 0;
	if (row->type == CONF_PREFIXES)
		return ((const struct conf_prefixes *)field)->n == 0;
	if (row->type == CONF_PORTS)
		return ((const struct conf_ports *)field)->last == 0;
	return false;
}

static bool names_same(const struct conf_names *a, const struct conf_names *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	}
	return true;
}

static bool prefixes_same(const struct conf_prefixes *a, const struct conf_prefixes *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (a->v[i].bits != b->v[i].bits || !addr_ip_eq(&a->v[i].net, &b->v[i].net))
			return false;
	}
	return true;
}

bool conf_value_same(const struct conf_row *row, const void *a, const void *b)
{
	if (is_text(row)) {
		const char *x = text_of(row, a), *y = text_of(row, b);

		return x && y ? strcmp(x, y) == 0 : x == y;
	}
	if (row->type == CONF_NAMES)
		return names_same(field_of(row, a), field_of(row, b));
	if (row->type == CONF_PREFIXES)
		return prefixes_same(field_of(row, a), field_of(row, b));
	return memcmp(field_of(row, a), field_of(row, b), field_size(row)) == 0;
}

static void print_ms(uint32_t ms, struct buf *out)
{
	if (ms % (60 * 60 * 1000) == 0 && ms)
		buf_printf(out, "%uh", ms / (60 * 60 * 1000));
	else if (ms % (60 * 1000) == 0 && ms)
		buf_printf(out, "%um", ms / (60 * 1000));
	else if (ms % 1000 == 0)
		buf_printf(out, "%us", ms / 1000);
	else
		buf_printf(out, "%ums", ms);
}

static void print_bytes(uint32_t n, struct buf *out)
{
	if (n % (1024 * 1024) == 0 && n)
		buf_printf(out, "%um", n / (1024 * 1024));
	else if (n % 1024 == 0 && n)
		buf_printf(out, "%uk", n / 1024);
	else
		buf_printf(out, "%u", n);
}

static void print_names(const struct conf_names *names, struct buf *out)
{
	for (size_t i = 0; i < names->n; i++)
		buf_printf(out, "%s%s", i ? " " : "", names->v[i]);
}

static void print_addr(const struct addr *a, struct buf *out)
{
	char text[ADDR_STR_BYTES];

	buf_add_str(out, a->family == ADDR_NONE ? "any" : addr_ip_str(a, text));
}

static void print_prefixes(const struct conf_prefixes *prefixes, struct buf *out)
{
	for (size_t i = 0; i < prefixes->n; i++) {
		const struct addr_prefix *p = &prefixes->v[i];

		if (i)
			buf_add_char(out, ' ');
		print_addr(&p->net, out);
		if (p->bits != (p->net.family == ADDR_IP4 ? 32 : 128))
			buf_printf(out, "/%u", p->bits);
	}
}

static void print_ports(const struct conf_ports *ports, struct buf *out)
{
	if (ports->last)
		buf_printf(out, "%u-%u", ports->first, ports->last);
}

void conf_value_print(const struct conf_row *row, const void *section, struct buf *out)
{
	const void *field = field_of(row, section);

	switch (row->type) {
	case CONF_BOOL:
		buf_add_str(out, *(const bool *)field ? "yes" : "no");
		break;
	case CONF_U32:
		buf_printf(out, "%u", *(const uint32_t *)field);
		break;
	case CONF_MS:
		print_ms(*(const uint32_t *)field, out);
		break;
	case CONF_BYTES:
		print_bytes(*(const uint32_t *)field, out);
		break;
	case CONF_ENUM:
		buf_add_str(out, row->names[*(const int *)field]);
		break;
	case CONF_SECRET:
		buf_add_str(out, text_of(row, section) ? "<secret>" : "");
		break;
	case CONF_STRING:
	case CONF_PATH:
	case CONF_REGEX:
	case CONF_REF:
		buf_add_slice(out, slice_of(text_of(row, section)));
		break;
	case CONF_NAMES:
		print_names(field, out);
		break;
	case CONF_ADDR:
		print_addr(field, out);
		break;
	case CONF_PORTS:
		print_ports(field, out);
		break;
	case CONF_PREFIXES:
		print_prefixes(field, out);
		break;
	}
}

static void legal_ref(const char *ref, struct buf *out)
{
	struct slice rest = slice_of(ref), word;
	const char *before = "the name of a";

	while ((word = slice_word(&rest)).n) {
		buf_printf(out, "%s [%.*s]", before, SLICE_ARG(word));
		before = " or a";
	}
	buf_add_str(out, " section");
}

static void legal_range(const struct conf_row *row, const char *what, const char *units,
			void (*print)(uint32_t v, struct buf *out), struct buf *out)
{
	uint32_t min = row->min > 0 ? (uint32_t)row->min : 0, max = conf_value_max(row);

	buf_printf(out, "%s from ", what);
	print(min, out);
	buf_add_str(out, " to ");
	print(max, out);
	buf_add_str(out, units);
}

static void print_u32(uint32_t v, struct buf *out)
{
	buf_printf(out, "%u", v);
}

static void legal_ports(const struct conf_row *row, struct buf *out)
{
	buf_printf(out, "FIRST-LAST, ports from %d to %d", row->min > 1 ? (int)row->min : 1,
		   row->max > 0 && row->max < 65535 ? (int)row->max : 65535);
}

void conf_value_legal(const struct conf_row *row, struct buf *out)
{
	switch (row->type) {
	case CONF_BOOL:
		buf_add_str(out, "yes, no (also on, off, true, false)");
		break;
	case CONF_U32:
		legal_range(row, "a number", "", print_u32, out);
		break;
	case CONF_MS:
		legal_range(row, "a time", " (500ms, 5s, 2m, 1h; a bare number is seconds)",
			    print_ms, out);
		break;
	case CONF_BYTES:
		legal_range(row, "a size in bytes", " (32768, 32k, 1m)", print_bytes, out);
		break;
	case CONF_ENUM:
		for (size_t i = 0; row->names[i]; i++)
			buf_printf(out, "%s%s", i ? ", " : "", row->names[i]);
		break;
	case CONF_STRING:
		buf_add_str(out, "text");
		break;
	case CONF_SECRET:
		buf_add_str(out, "the secret, or @/path of a file whose first line is the secret");
		break;
	case CONF_PATH:
		buf_add_str(out, "absolute path of a readable file");
		break;
	case CONF_NAMES:
		buf_add_str(out, "names, separated by spaces or commas");
		break;
	case CONF_ADDR:
		buf_add_str(out, "an IP address, any");
		break;
	case CONF_PORTS:
		legal_ports(row, out);
		break;
	case CONF_PREFIXES:
		buf_add_str(out, "IP addresses or prefixes (192.0.2.0/24), separated by spaces or "
				 "commas");
		break;
	case CONF_REGEX:
		buf_add_str(out, "a regular expression (PCRE2)");
		break;
	case CONF_REF:
		legal_ref(row->ref, out);
		break;
	}
}
