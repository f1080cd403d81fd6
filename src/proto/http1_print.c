#include "proto/http1_scan.h"

#include <stdio.h>

bool http_print_request_line(struct buf *out, struct slice method, struct slice target)
{
	struct http1_target t;
	struct http1_fault f;

	if (method.n > HTTP1_MAX_METHOD || !http_is_token(method) ||
	    !http1_target_parse(http1_method(method), target, &t, &f))
		return false;
	buf_add_slice(out, method);
	buf_add_char(out, ' ');
	buf_add_slice(out, target);
	buf_add_str(out, " HTTP/1.1\r\n");
	return true;
}

bool http_print_status_line(struct buf *out, int status, struct slice reason)
{
	if (status < 100 || status > 599 || !http_is_field_value(reason))
		return false;
	/* The space stays when nothing is behind it (RFC 9112 4). */
	buf_add_str(out, "HTTP/1.1 ");
	buf_add_decimal(out, (uint64_t)status);
	buf_add_char(out, ' ');
	buf_add_slice(out, reason);
	buf_add_str(out, "\r\n");
	return true;
}

bool http_print_field(struct buf *out, struct slice name, struct slice value)
{
	char *p;

	if (!http_is_token(name) || !http_is_field_value(value))
		return false;
	value = slice_trim(value);
	p = buf_grow(out, name.n + value.n + 4);
	if (!p)
		return true;
	memcpy(p, name.p, name.n);
	memcpy(p + name.n, ": ", 2);
	if (value.n)
		memcpy(p + name.n + 2, value.p, value.n);
	memcpy(p + name.n + 2 + value.n, "\r\n", 2);
	return true;
}

void http_print_end(struct buf *out)
{
	buf_add_str(out, "\r\n");
}

void http_print_length(struct buf *out, uint64_t n)
{
	buf_add_str(out, "Content-Length: ");
	buf_add_decimal(out, n);
	buf_add_str(out, "\r\n");
}

void http_print_chunked(struct buf *out)
{
	buf_add_str(out, "Transfer-Encoding: chunked\r\n");
}

size_t http_print_chunk_size(char *buf, size_t size, uint64_t n)
{
	return (size_t)snprintf(buf, size, "%llx\r\n", (unsigned long long)n);
}

struct reason {
	int status;
	const char *text;
};

/* The registry of RFC 9110 15 and what the proxy may meet or say besides. */
static const struct reason reasons[] = {
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 103, "Early Hints" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 203, "Non-Authoritative Information" },
	{ 204, "No Content" },
	{ 205, "Reset Content" },
	{ 206, "Partial Content" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 407, "Proxy Authentication Required" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 426, "Upgrade Required" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 508, "Loop Detected" },
};

const char *http_reason(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Unknown";
}

static void two_digits(char *p, int v)
{
	p[0] = (char)('0' + v / 10);
	p[1] = (char)('0' + v % 10);
}

/* Day 0 is 1 January 1970. Counts in years that begin in March: the leap day is then the last. */
static void civil_date(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + 719468, era = z / 146097, of_era = z % 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int of_year = (int)(of_era - (365 * y + y / 4 - y / 100));
	int m = (5 * of_year + 2) / 153;

	*day = of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 2 : m - 10; /* 0: January */
	*year = (int)(era * 400 + y) + (*month < 2);
}

void http_date(char out[30], int64_t wall_s)
{
	static const char days[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const int64_t last_s = 253402300799; /* the format has four digits for the year */
	int64_t s = wall_s < 0 ? 0 : wall_s > last_s ? last_s : wall_s;
	int year, month, day, of_day = (int)(s % 86400);

	civil_date(s / 86400, &year, &month, &day);
	memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", 30);
	memcpy(out, days + 3 * (s / 86400 % 7), 3);
	two_digits(out + 5, day);
	memcpy(out + 8, months + 3 * month, 3);
	two_digits(out + 12, year / 100);
	two_digits(out + 14, year % 100);
	two_digits(out + 17, of_day / 3600);
	two_digits(out + 20, of_day / 60 % 60);
	two_digits(out + 23, of_day % 60);
}
