/*
 * HTTP/1.1 heads and bodies. Byte 0 says which side and how the rest is split; the rest is a
 * stream. However it is split, heads and bodies must come out the same; and what was parsed and is
 * printed again must be parsed to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct verdict {
	enum http_parse found;
	int status;
	const char *why;
};

struct side {
	bool is_request;
	enum http_method to;
	struct http_limits limits;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct verdict parse(const struct side *s, struct slice bytes, size_t *scanned,
			    struct http_head *h)
{
	struct verdict v = { .found = HTTP_MORE };

	if (s->is_request)
		v.found = http_request_parse(bytes, &s->limits, scanned, h, &v.status, &v.why);
	else
		v.found = http_response_parse(bytes, &s->limits, scanned, s->to, h, &v.why);
	if (v.found == HTTP_BAD)
		must(v.why && (!s->is_request || (v.status >= 400 && v.status <= 505)));
	return v;
}

static size_t piece(uint32_t *seed, size_t left)
{
	size_t n;

	*seed = *seed * 1664525u + 1013904223u;
	n = 1 + (*seed >> 24) % (*seed & 0x800000 ? 3 : 40);
	return n < left ? n : left;
}

static bool within(struct slice s, struct slice bytes)
{
	return s.p >= bytes.p && s.p + s.n <= bytes.p + bytes.n;
}

static void check_head(const struct http_head *h, struct slice bytes)
{
	must(h->n_bytes <= bytes.n && h->n_fields <= HTTP1_MAX_FIELDS);
	for (size_t i = 0; i < h->n_fields; i++) {
		must(http_is_token(h->fields[i].name) && within(h->fields[i].name, bytes));
		must(http_is_field_value(h->fields[i].value) && within(h->fields[i].value, bytes));
	}
	if (!h->is_request)
		return;
	must(http_is_token(h->method_text) && h->target.n > 0 && within(h->target, bytes));
	must(h->minor == 0 || h->host.n > 0);
	must(!(http_find(h, HTTP_F_CONTENT_LENGTH) && http_find(h, HTTP_F_TRANSFER_ENCODING)));
}

static void same_slice(struct slice a, struct slice b)
{
	must(slice_eq(a, b) && !a.p == !b.p);
}

static void same_head(const struct http_head *a, const struct http_head *b)
{
	must(a->minor == b->minor && a->method == b->method && a->status == b->status);
	must(a->body == b->body && a->content_length == b->content_length);
	must(a->keep_alive == b->keep_alive && a->upgrade == b->upgrade && a->form == b->form);
	must(a->expect_continue == b->expect_continue && a->n_fields == b->n_fields);
	must(slice_eq(a->reason, b->reason));
	same_slice(a->method_text, b->method_text);
	same_slice(a->target, b->target);
	same_slice(a->scheme, b->scheme);
	same_slice(a->host, b->host);
	same_slice(a->path, b->path);
	same_slice(a->query, b->query);
	same_slice(a->upgrade_to, b->upgrade_to);
	for (size_t i = 0; i < a->n_fields; i++) {
		same_slice(a->fields[i].name, b->fields[i].name);
		same_slice(a->fields[i].value, b->fields[i].value);
		must(a->fields[i].id == b->fields[i].id);
		must(a->fields[i].hop_by_hop == b->fields[i].hop_by_hop);
	}
}

/* In pieces, each time in a block of its own. */
static void check_split(const struct side *s, struct slice bytes, uint32_t seed,
			const struct http_head *h, struct verdict whole)
{
	static struct http_head split;
	struct verdict v = { .found = HTTP_MORE };
	size_t scanned = 0, n = 0;
	char *block = NULL;

	while (v.found == HTTP_MORE && n < bytes.n) {
		n += piece(&seed, bytes.n - n);
		free(block);
		block = malloc(n);
		must(block != NULL);
		memcpy(block, bytes.p, n);
		v = parse(s, (struct slice){ block, n }, &scanned, &split);
	}
	must(v.found == whole.found);
	if (v.found == HTTP_BAD)
		must(v.status == whole.status && strcmp(v.why, whole.why) == 0);
	if (v.found == HTTP_OK) {
		must(split.n_bytes == h->n_bytes);
		same_head(h, &split);
	}
	free(block);
}

static void check_printed(const struct side *s, const struct http_head *h)
{
	static struct http_head again;
	struct side roomy = *s;
	size_t scanned = 0;
	struct buf out;

	/* Ours can be longer by a space for each field, and by the one behind the status. */
	roomy.limits.max_head += HTTP1_MAX_FIELDS + 1;
	buf_init(&out, 1 << 20);
	if (h->is_request)
		must(http_print_request_line(&out, h->method_text, h->target));
	else
		must(http_print_status_line(&out, h->status, h->reason));
	for (size_t i = 0; i < h->n_fields; i++)
		must(http_print_field(&out, h->fields[i].name, h->fields[i].value));
	http_print_end(&out);
	if (!out.failed) {
		must(parse(&roomy, buf_slice(&out), &scanned, &again).found == HTTP_OK);
		must(again.n_bytes == out.n);
		same_head(h, &again);
	}
	buf_fini(&out);
}

struct body {
	struct buf data;
	size_t used;
	bool end, bad;
};

static void feed(struct http_body_reader *r, struct slice bytes, struct body *out)
{
	struct http_body_part part;

	do {
		part = http_body_next(r, bytes);
		must(part.skip <= bytes.n && part.data <= bytes.n - part.skip);
		must(part.bad || part.end || bytes.n == 0 || part.skip + part.data > 0);
		buf_add(&out->data, bytes.p + part.skip, part.data);
		bytes.p += part.skip + part.data;
		bytes.n -= part.skip + part.data;
		out->used += part.skip + part.data;
		out->end = part.end;
		out->bad = part.bad;
	} while (!part.bad && !part.end && bytes.n > 0);
}

static void check_body(const struct http_head *h, struct slice bytes, uint32_t seed)
{
	struct http_body_reader r;
	struct body whole = { .used = 0 }, split = { .used = 0 };

	buf_init(&whole.data, 1 << 20);
	buf_init(&split.data, 1 << 20);
	http_body_init(&r, h);
	feed(&r, bytes, &whole);
	http_body_init(&r, h);
	for (size_t n = 0; n < bytes.n && !split.end && !split.bad;) {
		size_t more = piece(&seed, bytes.n - n);

		feed(&r, (struct slice){ bytes.p + n, more }, &split);
		n += more;
	}
	must(whole.bad == split.bad && slice_eq(buf_slice(&whole.data), buf_slice(&split.data)));
	if (!whole.bad && bytes.n > 0)
		must(whole.end == split.end && whole.used == split.used);
	buf_fini(&whole.data);
	buf_fini(&split.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_head h;
	struct side s = { .limits = { .max_head = 1024, .max_line = 128, .max_fields = 20 } };
	struct slice bytes;
	struct verdict v;
	size_t scanned = 0;

	if (size < 2)
		return 0;
	s.is_request = !(data[0] & 1);
	s.to = data[0] & 2 ? HTTP_HEAD : HTTP_GET;
	bytes = (struct slice){ (const char *)data + 1, size - 1 };
	if (data[0] & 4) { /* a chunked body alone: faster there */
		h.body = HTTP_BODY_CHUNKED;
		check_body(&h, bytes, data[0]);
		return 0;
	}
	v = parse(&s, bytes, &scanned, &h);
	check_split(&s, bytes, data[0], &h, v);
	if (v.found != HTTP_OK)
		return 0;
	check_head(&h, bytes);
	if (h.minor == 1)
		check_printed(&s, &h);
	check_body(&h, (struct slice){ bytes.p + h.n_bytes, bytes.n - h.n_bytes }, data[0]);
	return 0;
}
