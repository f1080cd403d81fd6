/* Methods and request targets (RFC 9110 9, RFC 9112 3.2). */
#include "proto/http1_scan.h"

static const struct slice method_names[] = {
	[HTTP_GET] = SLICE("GET"),	 [HTTP_HEAD] = SLICE("HEAD"),
	[HTTP_POST] = SLICE("POST"),	 [HTTP_PUT] = SLICE("PUT"),
	[HTTP_DELETE] = SLICE("DELETE"), [HTTP_OPTIONS] = SLICE("OPTIONS"),
	[HTTP_PATCH] = SLICE("PATCH"),	 [HTTP_CONNECT] = SLICE("CONNECT"),
	[HTTP_TRACE] = SLICE("TRACE"),
};

enum http_method http1_method(struct slice text)
{
	/* Methods are case-sensitive (RFC 9110 9.1). */
	for (int m = 0; m < HTTP_METHOD_OTHER; m++) {
		if (slice_eq(text, method_names[m]))
			return (enum http_method)m;
	}
	return HTTP_METHOD_OTHER;
}

bool http_method_is_safe(enum http_method m)
{
	return m == HTTP_GET || m == HTTP_HEAD || m == HTTP_OPTIONS || m == HTTP_TRACE;
}

bool http_method_is_idempotent(enum http_method m)
{
	return http_method_is_safe(m) || m == HTTP_PUT || m == HTTP_DELETE;
}

bool http1_is_authority(struct slice s, bool needs_port)
{
	bool brackets = s.n > 0 && s.p[0] == '[';
	size_t host_n = slice_find(s, brackets ? ']' : ':');
	struct slice host = { s.p, host_n }, port;

	if (brackets) {
		if (host_n == s.n)
			return false;
		host = (struct slice){ s.p + 1, host_n - 1 };
		host_n++;
	}
	if (!http1_all(host, brackets ? HTTP1_C_IP6 : HTTP1_C_NAME))
		return false;
	if (host_n == s.n)
		return !needs_port;
	/* An empty port is allowed by RFC 3986 and written by nobody. */
	port = (struct slice){ s.p + host_n + 1, s.n - host_n - 1 };
	return s.p[host_n] == ':' && port.n <= 5 && http1_all(port, HTTP1_C_DIGIT);
}

/* rest: path and query. */
static bool cut_path(struct slice rest, struct http1_target *out, struct http1_fault *f)
{
	size_t at = slice_find(rest, '?');

	out->path = (struct slice){ rest.p, at };
	out->query = SLICE_NONE;
	if (at < rest.n)
		out->query = (struct slice){ rest.p + at + 1, rest.n - at - 1 };
	/* What backends turn into '/', and what is no part of any URL. Queries hold these in
	 * practice, and nobody takes them apart. */
	for (size_t i = 0; i < at; i++) {
		char c = rest.p[i];

		if (c == '\\' || c == '"' || c == '<' || c == '>')
			return http1_refuse(f, 400, "character in the path that must be encoded");
	}
	return true;
}

static bool absolute_form(struct slice text, struct http1_target *out, struct http1_fault *f)
{
	size_t colon = slice_find(text, ':'), n;
	struct slice rest = { text.p + colon, text.n - colon };

	out->scheme = (struct slice){ text.p, colon };
	if (!slice_starts(rest, SLICE("://")) || (!slice_caseeq(out->scheme, SLICE("http")) &&
						  !slice_caseeq(out->scheme, SLICE("https"))))
		return http1_refuse(f, 400, "request target is in no known form");
	rest = (struct slice){ rest.p + 3, rest.n - 3 };
	for (n = 0; n < rest.n && rest.p[n] != '/' && rest.p[n] != '?'; n++)
		;
	out->form = HTTP_ABSOLUTE_FORM;
	out->host = (struct slice){ rest.p, n };
	if (!http1_is_authority(out->host, false))
		return http1_refuse(f, 400, "bad host in the request target");
	if (!cut_path((struct slice){ rest.p + n, rest.n - n }, out, f))
		return false;
	if (out->path.n == 0)
		out->path = SLICE("/");
	return true;
}

bool http1_target_parse(enum http_method method, struct slice text, struct http1_target *out,
			struct http1_fault *f)
{
	out->scheme = out->host = out->path = out->query = SLICE_NONE;
	if (!http1_all(text, HTTP1_C_TARGET))
		return http1_refuse(f, 400, "character in the request target that must be encoded");
	if (method == HTTP_CONNECT) {
		out->form = HTTP_AUTHORITY_FORM;
		out->host = text;
		return http1_is_authority(text, true) ||
		       http1_refuse(f, 400, "CONNECT needs host:port");
	}
	if (text.p[0] == '/') {
		out->form = HTTP_ORIGIN_FORM;
		return cut_path(text, out, f);
	}
	if (slice_eq(text, SLICE("*"))) {
		out->form = HTTP_ASTERISK;
		return method == HTTP_OPTIONS ||
		       http1_refuse(f, 400, "request target \"*\" is for OPTIONS");
	}
	return absolute_form(text, out, f);
}
