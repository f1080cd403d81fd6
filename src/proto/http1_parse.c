/* Heads (RFC 9112 2 to 4), what they say about the body (6) and about the connection (9). */
#include "proto/http1_scan.h"

#define LINE_EXTRA	       64 /* method, version and white space around the longest target */
#define MAX_CONNECTION_OPTIONS 32

/* Looks for the empty line, from where the last call stopped. Every verdict is the same however the
 * bytes were split: each fault is seen at the first byte that shows it. */
static enum http_parse find_end(struct slice bytes, size_t start, const struct http_limits *limits,
				size_t *scanned, size_t *end, struct http1_fault *f)
{
	size_t line = limits->max_line + LINE_EXTRA, i = *scanned > start ? *scanned : start;
	size_t window = bytes.n - start < limits->max_head ? bytes.n : start + limits->max_head;
	const char *lf;

	if (window - start > line && i <= start + line && !memchr(bytes.p + start, '\n', line)) {
		http1_refuse(f, 414, "first line too long");
		return HTTP_BAD;
	}
	while (i < window && (lf = memchr(bytes.p + i, '\n', window - i))) {
		i = (size_t)(lf - bytes.p);
		if (i == start || lf[-1] != '\r') {
			http1_refuse(f, 400, "line ends without CR");
			return HTTP_BAD;
		}
		i++;
		if (i - start > 3 && lf[-2] == '\n') {
			*end = i;
			*scanned = 0;
			return HTTP_OK;
		}
	}
	*scanned = window;
	if (bytes.n - start < limits->max_head)
		return HTTP_MORE;
	http1_refuse(f, 431, "head too long");
	return HTTP_BAD;
}

/* "HTTP/1.x" */
static bool parse_version(struct slice s, int *minor, struct http1_fault *f)
{
	if (s.n != 8 || !slice_starts(s, SLICE("HTTP/")) || !http1_is(s.p[5], HTTP1_C_DIGIT) ||
	    s.p[6] != '.' || !http1_is(s.p[7], HTTP1_C_DIGIT))
		return http1_refuse(f, 400, "bad HTTP version");
	if (s.p[5] != '1' || s.p[7] > '1')
		return http1_refuse(f, 505, "HTTP version is neither 1.0 nor 1.1");
	*minor = s.p[7] - '0';
	return true;
}

/* line: without CRLF. Exactly one space between the three parts: neither of the first two can hold
 * one. */
static bool parse_request_line(struct slice line, size_t max_target, struct http_head *h,
			       struct http1_fault *f)
{
	struct http1_target t;

	h->method_text = slice_next(&line, ' ');
	h->target = slice_next(&line, ' ');
	if (!line.p || !http_is_token(h->method_text))
		return http1_refuse(f, 400, "bad request line");
	if (h->method_text.n > HTTP1_MAX_METHOD)
		return http1_refuse(f, 501, "method too long");
	if (h->target.n > max_target)
		return http1_refuse(f, 414, "request target too long");
	if (!parse_version(line, &h->minor, f))
		return false;
	h->method = http1_method(h->method_text);
	if (!http1_target_parse(h->method, h->target, &t, f))
		return false;
	h->form = t.form;
	h->scheme = t.scheme;
	h->host = t.host;
	h->path = t.path;
	h->query = t.query;
	return true;
}

static bool parse_status_line(struct slice line, struct http_head *h, struct http1_fault *f)
{
	struct slice version = slice_next(&line, ' '), code = slice_next(&line, ' ');
	uint64_t status;

	if (!parse_version(version, &h->minor, f))
		return false;
	if (code.n != 3 || !slice_u64(code, 599, &status) || status < 100)
		return http1_refuse(f, 0, "bad status code");
	if (!http_is_field_value(line))
		return http1_refuse(f, 0, "control character in the reason phrase");
	h->status = (int)status;
	h->reason = line;
	return true;
}

/* Fields that must come once at most, by id, as the walk over all fields meets them. */
struct seen {
	const struct http_field *host, *length, *coding, *expect, *upgrade, *authorization;
	bool close, keep_alive, upgrade_option;
	unsigned n_options;
};

static bool once(const struct http_field **slot, const struct http_field *field, const char *why,
		 struct http1_fault *f)
{
	if (*slot)
		return http1_refuse(f, 400, why);
	*slot = field;
	return true;
}

/* Would the peer have us strip what is meant for the backend, or what we decide by? */
static bool may_be_option(enum http_field_id id)
{
	return id == HTTP_F_OTHER || http1_field_is_hop_by_hop(id);
}

static void mark_hop_by_hop(struct http_head *h, struct slice name)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (slice_caseeq(h->fields[i].name, name))
			h->fields[i].hop_by_hop = true;
	}
}

/* RFC 9110 7.6.1. Empty elements are allowed (5.6.1.2). */
static bool read_connection(struct http_head *h, struct slice list, struct seen *seen,
			    struct http1_fault *f)
{
	while (list.p) {
		struct slice option = slice_trim(slice_next(&list, ','));

		if (option.n == 0)
			continue;
		if (!http_is_token(option) || ++seen->n_options > MAX_CONNECTION_OPTIONS)
			return http1_refuse(f, 400, "bad Connection");
		if (slice_caseeq(option, SLICE("close"))) {
			seen->close = true;
		} else if (slice_caseeq(option, SLICE("keep-alive"))) {
			seen->keep_alive = true;
		} else if (slice_caseeq(option, SLICE("upgrade"))) {
			seen->upgrade_option = true;
		} else if (h->is_request && !may_be_option(http1_field_id(option))) {
			return http1_refuse(f, 400, "Connection names an end-to-end field");
		} else {
			mark_hop_by_hop(h, option);
		}
	}
	return true;
}

static bool read_field(struct http_head *h, const struct http_field *field, struct seen *seen,
		       struct http1_fault *f)
{
	switch (field->id) {
	case HTTP_F_HOST:
		return once(&seen->host, field, "more than one Host", f);
	case HTTP_F_CONTENT_LENGTH:
		return once(&seen->length, field, "more than one Content-Length", f);
	case HTTP_F_TRANSFER_ENCODING:
		return once(&seen->coding, field, "more than one Transfer-Encoding", f);
	case HTTP_F_EXPECT:
		return once(&seen->expect, field, "more than one Expect", f);
	case HTTP_F_UPGRADE:
		return once(&seen->upgrade, field, "more than one Upgrade", f);
	case HTTP_F_AUTHORIZATION:
		/* Whom it was checked for and whom the backend takes it for must be the same. */
		return once(&seen->authorization, field, "more than one Authorization", f);
	case HTTP_F_CONNECTION:
		return read_connection(h, field->value, seen, f);
	default:
		return true;
	}
}

static bool read_fields(struct http_head *h, struct seen *seen, struct http1_fault *f)
{
	*seen = (struct seen){ 0 };
	for (size_t i = 0; i < h->n_fields; i++) {
		if (!read_field(h, &h->fields[i], seen, f))
			return false;
	}
	/* RFC 9110 7.8: no upgrade in HTTP/1.0. */
	h->upgrade = seen->upgrade_option && seen->upgrade && h->minor == 1;
	h->upgrade_to = h->upgrade ? seen->upgrade->value : SLICE_NONE;
	h->keep_alive = !seen->close && (h->minor == 1 || seen->keep_alive);
	return true;
}

/* RFC 9112 6.1 and 6.3: chunked, once and last. */
static bool read_coding(struct slice value, struct http1_fault *f)
{
	bool chunked = false;
	unsigned n = 0;

	while (value.p) {
		struct slice coding = slice_trim(slice_next(&value, ','));

		n++;
		if (chunked || !http_is_token(coding))
			return http1_refuse(f, 400, "bad Transfer-Encoding");
		chunked = slice_caseeq(coding, SLICE("chunked"));
	}
	if (!chunked)
		return http1_refuse(f, 400, "Transfer-Encoding does not end in chunked");
	/* "gzip, chunked" is well framed, we only do not know the coding. */
	return n == 1 || http1_refuse(f, 501, "unknown transfer coding");
}

/* Sets body and content_length from the fields alone; HTTP_BODY_NONE when there are none. */
static bool read_framing(struct http_head *h, const struct seen *seen, struct http1_fault *f)
{
	const struct http_field *length = seen->length;

	h->body = HTTP_BODY_NONE;
	h->content_length = 0;
	if (seen->coding) {
		if (length)
			return http1_refuse(f, 400, "Content-Length with Transfer-Encoding");
		if (h->minor == 0)
			return http1_refuse(f, 400, "Transfer-Encoding in HTTP/1.0");
		h->body = HTTP_BODY_CHUNKED;
		return read_coding(seen->coding->value, f);
	}
	if (!length)
		return true;
	/* "010" is eight to some. */
	if (!slice_u64(length->value, INT64_MAX, &h->content_length) ||
	    (length->value.p[0] == '0' && length->value.n > 1))
		return http1_refuse(f, 400, "bad Content-Length");
	h->body = HTTP_BODY_LENGTH;
	return true;
}

/* RFC 9112 3.2 */
static bool check_host(struct http_head *h, const struct http_field *host, struct http1_fault *f)
{
	if (!host)
		return h->minor == 0 || http1_refuse(f, 400, "no Host");
	if (!http1_is_authority(host->value, false))
		return http1_refuse(f, 400, "bad Host");
	if (h->host.p && !slice_caseeq(h->host, host->value))
		return http1_refuse(f, 400, "Host is not that of the request target");
	h->host = host->value;
	return true;
}

static bool check_request(struct http_head *h, const struct seen *seen, struct http1_fault *f)
{
	bool has_body = h->body == HTTP_BODY_CHUNKED || h->content_length > 0;

	if (!check_host(h, seen->host, f))
		return false;
	/* RFC 9110 9.3.6 and 9.3.8: these have none. */
	if (h->body != HTTP_BODY_NONE && (h->method == HTTP_CONNECT || h->method == HTTP_TRACE))
		return http1_refuse(f, 400, "body with CONNECT or TRACE");
	h->expect_continue = false;
	if (seen->expect && h->minor == 1) {
		if (!slice_caseeq(seen->expect->value, SLICE("100-continue")))
			return http1_refuse(f, 417, "unknown expectation");
		h->expect_continue = has_body;
	}
	return true;
}

/* Behind the first line, which ends at `at`; head: all of it, to the end of the empty line. */
static bool parse_rest(struct slice head, size_t at, const struct http_limits *limits,
		       struct http_head *h, struct seen *seen, struct http1_fault *f)
{
	size_t max_fields = limits->max_fields;

	if (head.p[at + 1] != '\n')
		return http1_refuse(f, 400, "bare CR in the first line");
	at += 2;
	if (max_fields > HTTP1_MAX_FIELDS)
		max_fields = HTTP1_MAX_FIELDS;
	h->n_bytes = head.n;
	return http1_fields_parse(head, &at, max_fields, h, f) && read_fields(h, seen, f) &&
	       read_framing(h, seen, f);
}

/* Where the request begins; false when that is not known yet. */
static bool find_start(struct slice bytes, size_t *start)
{
	*start = 0;
	if (bytes.n > 0 && bytes.p[0] == '\r') {
		if (bytes.n > 1 && bytes.p[1] == '\n')
			*start = 2;
		else if (bytes.n == 1)
			return false;
	}
	return *start < bytes.n;
}

static bool parse_request(struct slice head, size_t start, const struct http_limits *limits,
			  struct http_head *h, struct http1_fault *f)
{
	struct slice line = { head.p + start, head.n - start };
	struct seen seen;

	line.n = slice_find(line, '\r');
	h->is_request = true;
	h->status = 0;
	h->reason = SLICE_NONE;
	return parse_request_line(line, limits->max_line, h, f) &&
	       parse_rest(head, start + line.n, limits, h, &seen, f) && check_request(h, &seen, f);
}

enum http_parse http_request_parse(struct slice bytes, const struct http_limits *limits,
				   size_t *scanned, struct http_head *out, int *status,
				   const char **why)
{
	struct http1_fault fault = { 400, "bad request line" };
	enum http_parse found = HTTP_BAD;
	size_t start, end;

	if (!find_start(bytes, &start))
		return HTTP_MORE;
	/* Speakers of other protocols, TLS above all, are told apart by their first byte. */
	if (http1_is(bytes.p[start], HTTP1_C_TOKEN))
		found = find_end(bytes, start, limits, scanned, &end, &fault);
	if (found == HTTP_OK &&
	    !parse_request((struct slice){ bytes.p, end }, start, limits, out, &fault))
		found = HTTP_BAD;
	if (found == HTTP_BAD) {
		*status = fault.status;
		*why = fault.why;
	}
	return found;
}

/* RFC 9112 6.3; body holds what the fields say. */
static bool check_response(struct http_head *h, enum http_method to, struct http1_fault *f)
{
	bool framed = h->body == HTTP_BODY_CHUNKED || h->content_length > 0;

	if (h->status == 101 && !h->upgrade)
		return http1_refuse(f, 0, "101 without Connection: upgrade and Upgrade");
	if (h->status < 200 || h->status == 204) {
		/* A server that announces a body here may well send one: what follows on this
		 * connection cannot be trusted. */
		if (framed)
			h->keep_alive = false;
		h->body = HTTP_BODY_NONE;
	} else if (h->status == 304 || to == HTTP_HEAD) {
		h->body = HTTP_BODY_NONE;
	} else if (h->body == HTTP_BODY_NONE) {
		h->body = HTTP_BODY_UNTIL_CLOSE;
		h->keep_alive = false;
	}
	return true;
}

static bool parse_response(struct slice head, const struct http_limits *limits, enum http_method to,
			   struct http_head *h, struct http1_fault *f)
{
	struct slice line = { head.p, slice_find(head, '\r') };
	struct seen seen;

	h->is_request = false;
	h->method = to;
	h->method_text = h->target = h->scheme = h->host = h->path = h->query = SLICE_NONE;
	h->form = HTTP_ORIGIN_FORM;
	h->expect_continue = false;
	return parse_status_line(line, h, f) && parse_rest(head, line.n, limits, h, &seen, f) &&
	       check_response(h, to, f);
}

enum http_parse http_response_parse(struct slice bytes, const struct http_limits *limits,
				    size_t *scanned, enum http_method to, struct http_head *out,
				    const char **why)
{
	struct slice start = SLICE("HTTP/1.");
	struct http1_fault fault = { 0, "not an HTTP/1 response" };
	enum http_parse found = HTTP_BAD;
	size_t end;

	if (start.n > bytes.n)
		start.n = bytes.n;
	if (slice_starts(bytes, start))
		found = find_end(bytes, 0, limits, scanned, &end, &fault);
	if (found == HTTP_OK &&
	    !parse_response((struct slice){ bytes.p, end }, limits, to, out, &fault))
		found = HTTP_BAD;
	if (found == HTTP_BAD)
		*why = fault.why;
	return found;
}
