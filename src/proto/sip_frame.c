/* Cutting a stream into messages (RFC 3261 18.3) and keep-alives (RFC 5626 3.5.1). */
#include "proto/sip_text.h"

/* *scanned: how far line ends were looked at, and what is known already. */
#define KNOWS_START ((size_t)1 << (sizeof(size_t) * 8 - 1)) /* the start line is one */
#define KNOWS_SIZE  ((size_t)1 << (sizeof(size_t) * 8 - 2)) /* the rest is the message's size */
#define REST	    (KNOWS_SIZE - 1)

#define MAX_METHOD_BYTES 128 /* before the first space must be no more than that */

static struct sip_frame frame(enum sip_frame_kind kind, size_t n, const char *why)
{
	return (struct sip_frame){ .kind = kind, .n = n, .why = why };
}

/* Can this still become a start line? Looks at the first word only: cheap enough for each call, and
 * a peer that speaks TLS or HTTP proxying to us is noticed at its first bytes. */
static bool starts_plausibly(struct slice bytes)
{
	for (size_t i = 0; i < bytes.n && i <= MAX_METHOD_BYTES; i++) {
		char c = bytes.p[i];

		if (c == ' ')
			return i > 0;
		if (!sip_is_token_char(c) && c != '/')
			return false;
	}
	return bytes.n <= MAX_METHOD_BYTES;
}

/* Something SIP/x.y something, or something something SIP/x.y. Loose on purpose: what is merely
 * wrong gets a 400 from the parser, what is another protocol is not worth an answer. */
static bool is_start_line(struct slice line)
{
	size_t i = line.n;
	struct slice last;

	if (line.n > 4 && slice_caseeq((struct slice){ line.p, 4 }, SLICE("SIP/")))
		return true;
	line = slice_trim(line);
	for (i = line.n; i > 0 && line.p[i - 1] != ' '; i--)
		;
	last = (struct slice){ line.p + i, line.n - i };
	return i > 0 && last.n > 4 && slice_caseeq((struct slice){ last.p, 4 }, SLICE("SIP/"));
}

/* One header line (folds included): its Content-Length into *length when it is one. false: bad. */
static bool read_length(struct slice line, bool *found, uint64_t *length)
{
	size_t colon = slice_find(line, ':');
	struct slice name = slice_trim((struct slice){ line.p, colon });
	uint64_t v;

	if (colon == line.n || sip_hdr_find(&name) != SIP_HDR_CONTENT_LENGTH)
		return true;
	line = slice_trim((struct slice){ line.p + colon + 1, line.n - colon - 1 });
	if (!slice_u64(line, INT32_MAX, &v) || (*found && v != *length))
		return false;
	*found = true;
	*length = v;
	return true;
}

/* Reads Content-Length out of the header lines behind the start line; false: bad or absent. */
static bool content_length(struct slice headers, uint64_t *length)
{
	bool found = false;

	while (headers.n > 0) {
		size_t n = 0;

		do {
			n += slice_find((struct slice){ headers.p + n, headers.n - n }, '\n') + 1;
		} while (n < headers.n && (headers.p[n] == ' ' || headers.p[n] == '\t'));
		n = n < headers.n ? n : headers.n;
		if (!read_length((struct slice){ headers.p, n }, &found, length))
			return false;
		headers = (struct slice){ headers.p + n, headers.n - n };
	}
	return found;
}

/* The headers end at `end` (behind the blank line). */
static struct sip_frame with_headers(struct slice bytes, size_t end, size_t max, size_t *scanned)
{
	size_t first = slice_find(bytes, '\n') + 1;
	struct slice headers = { bytes.p + first, end - 2 - first };
	uint64_t length = 0;

	if (!content_length(headers, &length))
		return frame(SIP_FRAME_GARBAGE, 0, "bad or no Content-Length");
	if (end > max || length > max - end)
		return frame(SIP_FRAME_TOO_BIG, 0, "message too large");
	if (bytes.n < end + length) {
		*scanned = KNOWS_SIZE | (size_t)(end + length);
		return frame(SIP_FRAME_MORE, 0, NULL);
	}
	*scanned = 0;
	return frame(SIP_FRAME_MESSAGE, (size_t)(end + length), NULL);
}

/* Looks at each line end once. */
static struct sip_frame find_end(struct slice bytes, size_t max, size_t *scanned)
{
	size_t from = *scanned & REST;
	size_t known = *scanned & KNOWS_START;

	if (from > bytes.n)
		from = bytes.n;
	for (;;) {
		const char *lf =
			from < bytes.n ? memchr(bytes.p + from, '\n', bytes.n - from) : NULL;
		size_t at;

		if (!lf)
			break;
		at = (size_t)(lf - bytes.p);
		from = at + 1;
		if (at == 0 || bytes.p[at - 1] != '\r')
			return frame(SIP_FRAME_GARBAGE, 0, "LF without CR");
		if (!known && !is_start_line((struct slice){ bytes.p, at - 1 }))
			return frame(SIP_FRAME_GARBAGE, 0, "first line is no SIP start line");
		known = KNOWS_START;
		if (at >= 3 && bytes.p[at - 2] == '\n')
			return with_headers(bytes, from, max, scanned);
	}
	if (bytes.n >= max)
		return frame(SIP_FRAME_TOO_BIG, 0, "headers too large");
	*scanned = known | bytes.n;
	return frame(SIP_FRAME_MORE, 0, NULL);
}

struct sip_frame sip_frame_next(struct slice bytes, size_t max, size_t *scanned)
{
	size_t size;

	if (bytes.n == 0 || (bytes.n == 1 && bytes.p[0] == '\r'))
		return frame(SIP_FRAME_MORE, 0, NULL);
	if (bytes.p[0] == '\r') {
		*scanned = 0;
		if (slice_starts(bytes, SLICE("\r\n\r\n")))
			return frame(SIP_FRAME_PING, 4, NULL);
		if (bytes.p[1] == '\n')
			return frame(SIP_FRAME_PONG, 2, NULL);
		return frame(SIP_FRAME_GARBAGE, 0, "CR without LF");
	}
	if (*scanned & KNOWS_SIZE) {
		size = *scanned & REST;
		if (bytes.n < size)
			return frame(SIP_FRAME_MORE, 0, NULL);
		*scanned = 0;
		return frame(SIP_FRAME_MESSAGE, size, NULL);
	}
	if (!(*scanned & KNOWS_START) && !starts_plausibly(bytes))
		return frame(SIP_FRAME_GARBAGE, 0, "first bytes are no SIP start line");
	return find_end(bytes, max, scanned);
}
