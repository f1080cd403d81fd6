#include "proto/sip_scan.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/sip_text.h"

void sip_fault(struct sip_reject *why, int status, const char *phrase, const char *fmt, ...)
{
	va_list ap;

	if (sip_faulty(why))
		return;
	why->status = status;
	snprintf(why->phrase, sizeof(why->phrase), "%s", phrase);
	va_start(ap, fmt);
	vsnprintf(why->why, sizeof(why->why), fmt, ap);
	va_end(ap);
}

static bool is_ws(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of the (folded) line that starts at s.p[0], its LF included; 0 when it does not end. */
static size_t line_length(struct slice s)
{
	size_t n = 0;

	do {
		const char *lf = memchr(s.p + n, '\n', s.n - n);

		if (!lf)
			return 0;
		n = (size_t)(lf - s.p) + 1;
	} while (n < s.n && is_ws(s.p[n]));
	return n;
}

/* No control character at all? Eight bytes at a step, since this looks at every byte there is; may
 * say no for a text without any, never yes for one with. */
static bool is_plain(struct slice s)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	size_t i;

	for (i = 0; i + 8 <= s.n; i += 8) {
		uint64_t x, del, found;

		memcpy(&x, s.p + i, 8);
		del = x ^ (ones * 0x7f);
		found = ((x - ones * 0x20) & ~x) | ((del - ones) & ~del);
		if (found & tops)
			return false;
	}
	for (; i < s.n; i++) {
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	}
	return true;
}

/* Checks a line (without its LF) byte by byte. A CR may only end it or be part of a fold. Control
 * characters may only be quoted-pairs (RFC 3261 25.1), and NUL not even that: what sits behind us
 * often reads C strings. NULL or what is wrong. */
static const char *line_fault(struct slice line)
{
	if (line.n == 0 || line.p[line.n - 1] != '\r')
		return "LF without CR";
	if (is_plain((struct slice){ line.p, line.n - 1 }))
		return NULL;
	for (size_t i = 0; i + 1 < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if (c >= 0x20 && c != 0x7f)
			continue;
		if (c == '\0')
			return "NUL byte";
		if (c == '\r' && line.p[i + 1] != '\n')
			return "CR without LF";
		if (c == '\n' && (i == 0 || line.p[i - 1] != '\r'))
			return "LF without CR";
		if (c != '\t' && c != '\r' && c != '\n' && (i == 0 || line.p[i - 1] != '\\'))
			return "control character";
	}
	return NULL;
}

static bool is_list(enum sip_hdr_id id)
{
	switch (id) {
	case SIP_HDR_VIA:
	case SIP_HDR_ROUTE:
	case SIP_HDR_RECORD_ROUTE:
	case SIP_HDR_PATH:
	case SIP_HDR_SERVICE_ROUTE:
	case SIP_HDR_CONTACT:
		return true;
	default:
		return false;
	}
}

static void add_header(struct sip_scan *s, struct sip_hdr h, struct sip_reject *why)
{
	if (s->n_headers == SIP_MAX_HEADERS) {
		sip_fault(why, 400, "Too Many Headers", "over %d headers", SIP_MAX_HEADERS);
		return;
	}
	s->headers[s->n_headers++] = h;
}

static void add_list(struct sip_scan *s, struct sip_hdr h, struct sip_reject *why)
{
	struct slice rest = h.value;
	bool any = false;

	while (rest.p) {
		h.value = sip_list_next(&rest);
		if (h.value.n > 0) {
			add_header(s, h, why);
			any = true;
		}
	}
	if (!any)
		sip_fault(why, 400, "Bad Header", "%s without a value", sip_hdr_name(h.id));
}

static void scan_header(struct sip_scan *s, struct slice line, struct sip_reject *why)
{
	size_t colon = slice_find(line, ':');
	struct sip_hdr h = { .name = { line.p, colon } };
	const char *fault = line_fault(line);

	/* HCOLON = *( SP / HTAB ) ":" SWS */
	while (h.name.n > 0 && is_ws(h.name.p[h.name.n - 1]))
		h.name.n--;
	if (fault) {
		sip_fault(why, 400, "Bad Character", "%s in a header line", fault);
		return;
	}
	if (colon == line.n || !sip_is_token(h.name)) {
		sip_fault(why, 400, "Bad Header Name", "line without a proper header name");
		return;
	}
	h.id = sip_hdr_find(&h.name);
	h.value = slice_trim((struct slice){ line.p + colon + 1, line.n - colon - 1 });
	if (is_list(h.id))
		add_list(s, h, why);
	else
		add_header(s, h, why);
}

static void scan_start_line(struct sip_scan *s, struct slice line, struct sip_reject *why)
{
	const char *fault = line_fault(line);

	if (fault || slice_find(line, '\n') < line.n) {
		sip_fault(why, 400, "Bad Start Line", "%s in the start line",
			  fault ? fault : "fold");
		return;
	}
	s->start_line = (struct slice){ line.p, line.n - 1 };
}

void sip_scan(struct slice bytes, struct sip_scan *s, struct sip_reject *why)
{
	bool first = true;

	s->start_line = SLICE_NONE;
	s->body = SLICE_NONE;
	s->ended = false;
	s->n_headers = 0;
	while (bytes.n > 0) {
		struct slice line;
		size_t n;

		/* Looked for before folds: a body may start with a space. */
		if (!first && slice_starts(bytes, SLICE("\r\n"))) {
			s->body = (struct slice){ bytes.p + 2, bytes.n - 2 };
			s->ended = true;
			return;
		}
		n = line_length(bytes);
		if (n == 0)
			break;
		line = (struct slice){ bytes.p, n - 1 };
		bytes = (struct slice){ bytes.p + n, bytes.n - n };
		if (first)
			scan_start_line(s, line, why);
		else
			scan_header(s, line, why);
		first = false;
	}
	sip_fault(why, 400, "No End Of Headers", "no blank line behind the headers");
}

size_t sip_unfold(char *dst, struct slice value)
{
	size_t n = 0;

	if (value.n == 0)
		return 0;
	if (!memchr(value.p, '\r', value.n)) {
		memcpy(dst, value.p, value.n);
		return value.n;
	}
	for (size_t i = 0; i < value.n; i++) {
		bool fold = value.p[i] == '\r' && i + 1 < value.n && value.p[i + 1] == '\n';

		if (!fold) {
			dst[n++] = value.p[i];
			continue;
		}
		while (n > 0 && is_ws(dst[n - 1]))
			n--;
		dst[n++] = ' ';
		for (i++; i + 1 < value.n && is_ws(value.p[i + 1]); i++)
			;
	}
	return n;
}
