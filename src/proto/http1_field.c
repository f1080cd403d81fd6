/* Field lines (RFC 9110 5, RFC 9112 5): which is which, cutting, looking up. */
#include "proto/http1_scan.h"

struct known {
	struct slice name; /* lower case */
	enum http_field_id id;
};

/* By length. No more than three have the same. */
static const struct known known[20][4] = {
	[2] = { { SLICE("te"), HTTP_F_TE } },
	[3] = { { SLICE("via"), HTTP_F_VIA } },
	[4] = { { SLICE("host"), HTTP_F_HOST }, { SLICE("date"), HTTP_F_DATE } },
	[6] = { { SLICE("cookie"), HTTP_F_COOKIE },
		{ SLICE("expect"), HTTP_F_EXPECT },
		{ SLICE("server"), HTTP_F_SERVER } },
	[7] = { { SLICE("upgrade"), HTTP_F_UPGRADE }, { SLICE("trailer"), HTTP_F_TRAILER } },
	[8] = { { SLICE("location"), HTTP_F_LOCATION } },
	[9] = { { SLICE("forwarded"), HTTP_F_FORWARDED },
		{ SLICE("x-real-ip"), HTTP_F_X_REAL_IP } },
	[10] = { { SLICE("connection"), HTTP_F_CONNECTION },
		 { SLICE("set-cookie"), HTTP_F_SET_COOKIE },
		 { SLICE("keep-alive"), HTTP_F_KEEP_ALIVE } },
	[12] = { { SLICE("content-type"), HTTP_F_CONTENT_TYPE } },
	[13] = { { SLICE("authorization"), HTTP_F_AUTHORIZATION } },
	[14] = { { SLICE("content-length"), HTTP_F_CONTENT_LENGTH } },
	[16] = { { SLICE("www-authenticate"), HTTP_F_WWW_AUTHENTICATE },
		 { SLICE("proxy-connection"), HTTP_F_PROXY_CONNECTION } },
	[17] = { { SLICE("transfer-encoding"), HTTP_F_TRANSFER_ENCODING } },
	[18] = { { SLICE("proxy-authenticate"), HTTP_F_PROXY_AUTHENTICATE } },
	[19] = { { SLICE("proxy-authorization"), HTTP_F_PROXY_AUTHORIZATION } },
};

/* name is a token of at least lower.n bytes. Among token characters only letters become a letter or
 * '-' by setting that bit. */
static bool starts_caseless(struct slice name, struct slice lower)
{
	for (size_t i = 0; i < lower.n; i++) {
		if ((name.p[i] | 0x20) != lower.p[i])
			return false;
	}
	return true;
}

enum http_field_id http1_field_id(struct slice name)
{
	static const struct slice forwarded = SLICE("x-forwarded-");
	static const struct slice turnpike = SLICE("turnpike-");

	if (name.n >= forwarded.n && starts_caseless(name, forwarded))
		return HTTP_F_X_FORWARDED;
	if (name.n >= turnpike.n && starts_caseless(name, turnpike))
		return HTTP_F_TURNPIKE;
	if (name.n >= sizeof(known) / sizeof(known[0]))
		return HTTP_F_OTHER;
	for (const struct known *k = known[name.n]; k->name.n > 0; k++) {
		if (starts_caseless(name, k->name))
			return k->id;
	}
	return HTTP_F_OTHER;
}

bool http1_field_is_hop_by_hop(enum http_field_id id)
{
	switch (id) {
	case HTTP_F_TRANSFER_ENCODING:
	case HTTP_F_CONNECTION:
	case HTTP_F_KEEP_ALIVE:
	case HTTP_F_PROXY_CONNECTION:
	case HTTP_F_TE:
	case HTTP_F_TRAILER: /* trailers are dropped */
	case HTTP_F_UPGRADE:
	case HTTP_F_PROXY_AUTHORIZATION:
	case HTTP_F_PROXY_AUTHENTICATE:
		return true;
	default:
		return false;
	}
}

#define ONES 0x0101010101010101u
/* May one of eight bytes be no value byte? Tab counts, DEL may be seen too often: the caller then
 * looks at each. */
static bool suspicious(const char *p)
{
	uint64_t w, del;

	memcpy(&w, p, sizeof(w));
	del = w ^ (ONES * 0x7f);
	return ((((w - ONES * 0x20) & ~w) | ((del - ONES) & ~del)) & (ONES * 0x80)) != 0;
}

bool http_is_field_value(struct slice s)
{
	while (s.n >= 8 && !suspicious(s.p)) {
		s.p += 8;
		s.n -= 8;
	}
	return s.n == 0 || http1_all(s, HTTP1_C_VALUE);
}

/* Bytes of the value in front of the first that belongs to none; there is one before the end. */
static size_t value_bytes(const char *p, size_t n)
{
	size_t i = 0;

	while (i + 8 <= n && !suspicious(p + i))
		i += 8;
	while (http1_is(p[i], HTTP1_C_VALUE))
		i++;
	return i;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* One line at p of n bytes to the end of the head, CRLF last. */
static bool parse_line(const char *p, size_t n, bool is_request, struct http_field *out,
		       size_t *n_line, struct http1_fault *f)
{
	size_t i = 0, start, end;
	bool underscore = false;

	for (; http1_is(p[i], HTTP1_C_TOKEN); i++)
		underscore |= p[i] == '_';
	if (i == 0 || p[i] != ':')
		return http1_refuse(f, 400,
				    is_blank(p[0]) ? "folded field line" : "bad field name");
	/* Gateways to CGI see no difference from a dash: X_Forwarded_For would slip through. */
	if (underscore && is_request)
		return http1_refuse(f, 400, "underscore in a field name");
	out->name = (struct slice){ p, i };
	for (i++; is_blank(p[i]); i++)
		;
	start = i;
	i += value_bytes(p + i, n - i);
	if (p[i] != '\r' || p[i + 1] != '\n')
		return http1_refuse(f, 400, "control character in a field value");
	for (end = i; end > start && is_blank(p[end - 1]); end--)
		;
	out->value = (struct slice){ p + start, end - start };
	*n_line = i + 2;
	return true;
}

bool http1_fields_parse(struct slice bytes, size_t *at, size_t max_fields, struct http_head *h,
			struct http1_fault *f)
{
	size_t n_line;

	h->n_fields = 0;
	while (bytes.p[*at] != '\r') {
		struct http_field *field = &h->fields[h->n_fields];

		if (h->n_fields == max_fields)
			return http1_refuse(f, 431, "too many fields");
		if (!parse_line(bytes.p + *at, bytes.n - *at, h->is_request, field, &n_line, f))
			return false;
		field->id = http1_field_id(field->name);
		field->hop_by_hop = http1_field_is_hop_by_hop(field->id);
		h->n_fields++;
		*at += n_line;
	}
	if (bytes.n - *at != 2)
		return http1_refuse(f, 400, "bare CR in front of a field line");
	*at += 2;
	return true;
}

const struct http_field *http_find(const struct http_head *h, enum http_field_id id)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == id)
			return &h->fields[i];
	}
	return NULL;
}

const struct http_field *http_find_name(const struct http_head *h, struct slice name)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (slice_caseeq(h->fields[i].name, name))
			return &h->fields[i];
	}
	return NULL;
}

bool http_list_has(struct slice list, struct slice word)
{
	while (list.p) {
		if (slice_caseeq(slice_trim(slice_next(&list, ',')), word))
			return true;
	}
	return false;
}

struct slice http_cookie_get(const struct http_head *h, struct slice name)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		struct slice pairs = h->fields[i].value;

		while (h->fields[i].id == HTTP_F_COOKIE && pairs.p) {
			struct slice value = slice_trim(slice_next(&pairs, ';'));
			struct slice found = slice_next(&value, '=');

			if (value.p && slice_eq(found, name))
				return value;
		}
	}
	return SLICE_NONE;
}
