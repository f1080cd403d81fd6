#ifndef PROTO_HTTP1_H
#define PROTO_HTTP1_H
/*
 * HTTP/1.1 messages (RFC 9112, field syntax of RFC 9110): strict, reject and never repair. Used in
 * both directions on both boxes. Pure: bytes in, a view of the head out; bodies are cut by a
 * resumable machine that copies nothing.
 *
 * What is refused although others let it pass: bare LF and bare CR, obs-fold, space before the
 * colon, empty or non-token names, NUL and control bytes, bytes over 0x7e in names and targets,
 * more than one Host, no Host in 1.1, Content-Length with Transfer-Encoding, more than one
 * Content-Length or one that is not plain digits, any transfer coding but one "chunked",
 * Transfer-Encoding in HTTP/1.0, absolute-form that disagrees with Host, versions but 1.0 and 1.1;
 * more than one Authorization, Expect or Upgrade, more than 32 connection options. In requests also
 * field names with an underscore, a Connection that names an end-to-end field we know, and a body
 * with CONNECT or TRACE.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define HTTP1_MAX_FIELDS 100

/* Fields the proxy has to know; all others are HTTP_F_OTHER. */
enum http_field_id {
	HTTP_F_OTHER,
	HTTP_F_HOST,
	HTTP_F_CONTENT_LENGTH,
	HTTP_F_TRANSFER_ENCODING,
	HTTP_F_CONNECTION,
	HTTP_F_KEEP_ALIVE,
	HTTP_F_PROXY_CONNECTION,
	HTTP_F_TE,
	HTTP_F_TRAILER,
	HTTP_F_UPGRADE,
	HTTP_F_EXPECT,
	HTTP_F_AUTHORIZATION,
	HTTP_F_PROXY_AUTHORIZATION,
	HTTP_F_PROXY_AUTHENTICATE,
	HTTP_F_WWW_AUTHENTICATE,
	HTTP_F_COOKIE,
	HTTP_F_SET_COOKIE,
	HTTP_F_FORWARDED,
	HTTP_F_X_FORWARDED, /* any X-Forwarded-* */
	HTTP_F_X_REAL_IP,
	HTTP_F_VIA,
	HTTP_F_DATE,
	HTTP_F_SERVER,
	HTTP_F_LOCATION,
	HTTP_F_CONTENT_TYPE,
	HTTP_F_TURNPIKE, /* any Turnpike-*: only between our boxes */
	HTTP_N_FIELDS
};

struct http_field {
	struct slice name;  /* as written */
	struct slice value; /* without the optional white space around it */
	enum http_field_id id;
	bool hop_by_hop; /* RFC 9110 7.6.1: fixed ones, and those that Connection names */
};

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_DELETE,
	HTTP_OPTIONS,
	HTTP_PATCH,
	HTTP_CONNECT,
	HTTP_TRACE,
	HTTP_METHOD_OTHER
};

enum http_target_form { HTTP_ORIGIN_FORM, HTTP_ABSOLUTE_FORM, HTTP_AUTHORITY_FORM, HTTP_ASTERISK };

/* How the body of a message is delimited (RFC 9112 6.3). */
enum http_body { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

/* A head. All slices point into the bytes that were parsed and live as long as those. */
struct http_head {
	bool is_request;
	int minor; /* HTTP/1.x */
	/* request */
	enum http_method method;
	struct slice method_text;
	struct slice target; /* as written */
	enum http_target_form form;
	struct slice scheme; /* absolute-form only */
	struct slice host;   /* authority: of the absolute form, else of Host; with port */
	struct slice path;   /* from the first '/' up to '?', "/" when absent in absolute-form */
	struct slice query;  /* behind '?', p NULL when there is none */
	bool expect_continue;
	/* response */
	int status;
	struct slice reason;
	/* both */
	enum http_body body;
	uint64_t content_length; /* HTTP_BODY_LENGTH */
	bool keep_alive;	 /* what this message allows (RFC 9112 9.3) */
	bool upgrade;		 /* Connection: upgrade and an Upgrade field */
	struct slice upgrade_to;
	size_t n_bytes; /* of the head, the empty line included */
	size_t n_fields;
	struct http_field fields[HTTP1_MAX_FIELDS];
};

struct http_limits {
	size_t max_head;   /* bytes from the request or status line to the end of the empty line */
	size_t max_line;   /* of the request target */
	size_t max_fields; /* at most HTTP1_MAX_FIELDS */
};

enum http_parse { HTTP_MORE, HTTP_OK, HTTP_BAD };

/* Parses a request head at the start of bytes. *scanned (0 at first) remembers how far the end was
 * searched, so that a head that arrives byte by byte costs linear time; it is 0 again behind
 * HTTP_OK. The verdict does not depend on how the bytes arrive. HTTP_BAD: *status is what
 * to answer (400, 414, 417, 431, 501, 505) and why a static text. One empty line before a request
 * line is skipped (RFC 9112 2.2); it counts into n_bytes. */
enum http_parse http_request_parse(struct slice bytes, const struct http_limits *limits,
				   size_t *scanned, struct http_head *out, int *status,
				   const char **why);
/* A response head; to: method of the request it answers (decides on the body: RFC 9112 6.3). 1xx
 * other than 101 come out as heads of their own with HTTP_BODY_NONE. */
enum http_parse http_response_parse(struct slice bytes, const struct http_limits *limits,
				    size_t *scanned, enum http_method to, struct http_head *out,
				    const char **why);
const struct http_field *http_find(const struct http_head *h, enum http_field_id id);
/* By name, case-insensitive. */
const struct http_field *http_find_name(const struct http_head *h, struct slice name);
/* Is word an element of the comma-separated list, case-insensitive? */
bool http_list_has(struct slice list, struct slice word);
/* The value of cookie `name` in a Cookie field (RFC 6265 4.2.1); n 0 and p NULL: not there. */
struct slice http_cookie_get(const struct http_head *h, struct slice name);
bool http_is_token(struct slice s);
/* No control bytes but tab, no NUL, CR, LF: may be printed as a field value. */
bool http_is_field_value(struct slice s);
bool http_method_is_idempotent(enum http_method m); /* RFC 9110 9.2.2 */
bool http_method_is_safe(enum http_method m);

/* --- bodies --- */

/* Cuts a body out of a stream. Feed it what is there; it says how much of it is body data and how
 * much is framing to throw away. Trailers are dropped after they were checked. */
struct http_body_reader {
	enum http_body kind;
	uint64_t left;	  /* bytes of the body or of this chunk */
	uint64_t n_total; /* body bytes so far */
	uint32_t n_line;  /* of a chunk line (256 at most) or of all trailers (8 KiB) */
	uint8_t state;
	uint8_t n_name;
	char name[24]; /* of the trailer that is being read, as far as it matters */
};
void http_body_init(struct http_body_reader *r, const struct http_head *head);
struct http_body_part {
	size_t skip; /* framing bytes to drop first */
	size_t data; /* then so many bytes of the body */
	bool end;    /* the body is over behind these */
	bool bad;
	const char *why; /* when bad */
};
/* skip and data are 0 when bytes are too few. Until close: data is everything; the end is the
 * stream's. Call again while it makes progress. */
struct http_body_part http_body_next(struct http_body_reader *r, struct slice bytes);

/* --- printing: the one encoder --- */

/* Each refuses (false, nothing added) what would not parse again: callers may hand in values from
 * the wire. */
bool http_print_request_line(struct buf *out, struct slice method, struct slice target);
bool http_print_status_line(struct buf *out, int status, struct slice reason);
bool http_print_field(struct buf *out, struct slice name, struct slice value);
void http_print_end(struct buf *out);
/* "Content-Length: n" / "Transfer-Encoding: chunked". */
void http_print_length(struct buf *out, uint64_t n);
void http_print_chunked(struct buf *out);
/* The line in front of a chunk ("1a\r\n"); behind it goes "\r\n". Returns its length; size >= 20.
 */
size_t http_print_chunk_size(char *buf, size_t size, uint64_t n);
#define HTTP_LAST_CHUNK "0\r\n\r\n"
const char *http_reason(int status);
/* RFC 9110 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT" (30 bytes with NUL). */
void http_date(char out[30], int64_t wall_s);

#endif
