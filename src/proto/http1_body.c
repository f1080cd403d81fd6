/* Bodies (RFC 9112 6.3 and 7.1), byte by byte where framing is and whole where data is. */
#include "proto/http1_scan.h"

#define MAX_CHUNK_LINE 256
#define MAX_TRAILERS   8192

/*
 * Chunks:
 *   SIZE_FIRST --hex--> SIZE --CR--> SIZE_LF --LF, size > 0--> DATA --all--> DATA_CR -> DATA_LF
 *        ^                |                 \--LF, size 0--> TRAILER --CR--> END_LF --LF--> END
 *        |                ; or BWS          ^                   |   ^
 *        |                v                 |                 tchar | LF
 *        |             EXT_... --CR---------+                   v   |
 *        +---- DATA_LF --LF--                               TRAILER_NAME ... TRAILER_LF
 */
enum state {
	SIZE_FIRST,
	SIZE,
	EXT_BWS, /* behind size or value: ';' must follow */
	EXT_NAME_FIRST,
	EXT_NAME,
	EXT_NAME_BWS, /* '=' or ';' must follow */
	EXT_VALUE_FIRST,
	EXT_VALUE,
	EXT_QUOTED,
	EXT_ESCAPED,
	EXT_QUOTED_END,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	PLAIN, /* Content-Length or until close */
	END,
	BAD
};

void http_body_init(struct http_body_reader *r, const struct http_head *head)
{
	*r = (struct http_body_reader){ .kind = head->body, .state = PLAIN };
	if (head->body == HTTP_BODY_LENGTH)
		r->left = head->content_length;
	if (head->body == HTTP_BODY_CHUNKED)
		r->state = SIZE_FIRST;
	else if (head->body == HTTP_BODY_NONE || (head->body == HTTP_BODY_LENGTH && r->left == 0))
		r->state = END;
}

static int hex_value(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* A refusal is a text, NULL is none. */
static const char *size_byte(struct http_body_reader *r, char c)
{
	if (http1_is(c, HTTP1_C_HEX)) {
		if (r->left > INT64_MAX >> 4)
			return "chunk too large";
		r->left = r->left << 4 | (uint64_t)hex_value(c);
		r->state = SIZE;
		return NULL;
	}
	if (r->state == SIZE_FIRST)
		return "no chunk size";
	if (c == '\r')
		r->state = SIZE_LF;
	else if (c == ';')
		r->state = EXT_NAME_FIRST;
	else if (c == ' ' || c == '\t')
		r->state = EXT_BWS;
	else
		return "bad chunk size";
	return NULL;
}

/* What may come behind a whole extension, and behind its name. */
static bool after_extension(struct http_body_reader *r, char c, enum state on_blank)
{
	if (c == ';')
		r->state = EXT_NAME_FIRST;
	else if (c == ' ' || c == '\t')
		r->state = on_blank;
	else if (c == '\r' && r->state != EXT_BWS && r->state != EXT_NAME_BWS)
		r->state = SIZE_LF;
	else
		return false;
	return true;
}

/* chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ) */
static bool extension_byte(struct http_body_reader *r, char c)
{
	bool blank = c == ' ' || c == '\t', token = http1_is(c, HTTP1_C_TOKEN);

	switch ((enum state)r->state) {
	case EXT_NAME_FIRST:
		r->state = token ? EXT_NAME : EXT_NAME_FIRST;
		return token || blank;
	case EXT_NAME:
	case EXT_NAME_BWS:
		if (token)
			return r->state == EXT_NAME;
		if (c == '=')
			r->state = EXT_VALUE_FIRST;
		return c == '=' || after_extension(r, c, EXT_NAME_BWS);
	case EXT_VALUE_FIRST:
		r->state = token ? EXT_VALUE : c == '"' ? EXT_QUOTED : EXT_VALUE_FIRST;
		return token || blank || c == '"';
	case EXT_VALUE:
		return token || after_extension(r, c, EXT_BWS);
	case EXT_QUOTED:
		r->state = c == '"' ? EXT_QUOTED_END : c == '\\' ? EXT_ESCAPED : EXT_QUOTED;
		return http1_is(c, HTTP1_C_VALUE);
	case EXT_ESCAPED:
		r->state = EXT_QUOTED;
		return http1_is(c, HTTP1_C_VALUE);
	default: /* EXT_BWS, EXT_QUOTED_END */
		return after_extension(r, c, EXT_BWS);
	}
}

static const char *chunk_line_byte(struct http_body_reader *r, char c)
{
	if (r->state == SIZE_LF) {
		if (c != '\n')
			return "chunk line ends without LF";
		r->n_line = 0;
		r->state = r->left > 0 ? DATA : TRAILER;
		return r->left > INT64_MAX - r->n_total ? "body too large" : NULL;
	}
	if (c != '\r' && ++r->n_line > MAX_CHUNK_LINE)
		return "chunk line too long";
	if (r->state <= SIZE)
		return size_byte(r, c);
	return extension_byte(r, c) ? NULL : "bad chunk extension";
}

/* What we know we act on before the body: none of that may come behind it (RFC 9110 6.5.1). */
static bool trailer_name_byte(struct http_body_reader *r, char c)
{
	if (c == ':') {
		r->state = TRAILER_VALUE;
		return http1_field_id((struct slice){ r->name, r->n_name }) == HTTP_F_OTHER;
	}
	/* No known name is longer than the room: a cut one equals none. */
	if (r->n_name < sizeof(r->name))
		r->name[r->n_name++] = c;
	return http1_is(c, HTTP1_C_TOKEN);
}

static const char *trailer_byte(struct http_body_reader *r, char c)
{
	if (++r->n_line > MAX_TRAILERS)
		return "trailers too long";
	switch ((enum state)r->state) {
	case TRAILER:
		r->n_name = 0;
		r->state = c == '\r' ? END_LF : TRAILER_NAME;
		if (c == '\r' || (c != ':' && trailer_name_byte(r, c)))
			return NULL;
		return "bad trailer name";
	case TRAILER_NAME:
		return trailer_name_byte(r, c) ? NULL : "bad or forbidden trailer";
	case TRAILER_VALUE:
		if (c == '\r')
			r->state = TRAILER_LF;
		else if (!http1_is(c, HTTP1_C_VALUE))
			return "control character in a trailer";
		return NULL;
	default: /* TRAILER_LF, END_LF */
		r->state = r->state == END_LF ? END : TRAILER;
		return c == '\n' ? NULL : "trailer ends without LF";
	}
}

static const char *framing_byte(struct http_body_reader *r, char c)
{
	if (r->state <= SIZE_LF)
		return chunk_line_byte(r, c);
	if (r->state >= TRAILER)
		return trailer_byte(r, c);
	if (r->state == DATA_CR) {
		r->state = DATA_LF;
		return c == '\r' ? NULL : "no CRLF behind a chunk";
	}
	r->state = SIZE_FIRST;
	return c == '\n' ? NULL : "no CRLF behind a chunk";
}

static size_t take(struct http_body_reader *r, size_t n)
{
	if (r->kind != HTTP_BODY_UNTIL_CLOSE) {
		n = n < r->left ? n : (size_t)r->left;
		r->left -= n;
	}
	r->n_total += n;
	return n;
}

struct http_body_part http_body_next(struct http_body_reader *r, struct slice bytes)
{
	struct http_body_part part = { 0 };
	const char *why = "the body was refused before";

	while (part.skip < bytes.n && r->state < PLAIN && r->state != DATA && r->state != BAD) {
		why = framing_byte(r, bytes.p[part.skip++]);
		if (why)
			r->state = BAD;
	}
	if (r->state == BAD)
		return (struct http_body_part){ .bad = true, .why = why };
	if (r->state == DATA || r->state == PLAIN) {
		part.data = take(r, bytes.n - part.skip);
		if (r->left == 0 && r->kind != HTTP_BODY_UNTIL_CLOSE)
			r->state = r->kind == HTTP_BODY_CHUNKED ? DATA_CR : END;
	}
	part.end = r->state == END;
	return part;
}
