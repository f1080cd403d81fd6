#ifndef PROTO_HTTP1_SCAN_H
#define PROTO_HTTP1_SCAN_H
/*
 * Inner header of the HTTP/1.1 codec: character classes, targets and fields, as the head parser,
 * the body reader and the printer share them.
 */
#include "proto/http1.h"

enum {
	HTTP1_C_TOKEN = 1,  /* tchar, RFC 9110 5.6.2 */
	HTTP1_C_VALUE = 2,  /* field-content with white space and obs-text, RFC 9110 5.5 */
	HTTP1_C_TARGET = 4, /* printable ASCII but '#' */
	HTTP1_C_NAME = 8,   /* letters, digits, '-', '.', '_' */
	HTTP1_C_IP6 = 16,   /* hex digits, ':', '.' */
	HTTP1_C_HEX = 32,
	HTTP1_C_DIGIT = 64
};
extern const uint8_t http1_class[256];

static inline bool http1_is(char c, unsigned classes)
{
	return (http1_class[(unsigned char)c] & classes) != 0;
}
/* Is s, not empty, made of these alone? */
bool http1_all(struct slice s, unsigned classes);

#define HTTP1_MAX_METHOD 32

/* What a head was refused for. */
struct http1_fault {
	int status;
	const char *why;
};
/* Notes it and returns false. */
static inline bool http1_refuse(struct http1_fault *f, int status, const char *why)
{
	f->status = status;
	f->why = why;
	return false;
}

enum http_method http1_method(struct slice text);

struct http1_target {
	enum http_target_form form;
	struct slice scheme, host, path, query;
};
/* RFC 9112 3.2; false with a reason. */
bool http1_target_parse(enum http_method method, struct slice text, struct http1_target *out,
			struct http1_fault *f);
/* host [":" port], not empty, no user (RFC 9110 4.2); syntax only. */
bool http1_is_authority(struct slice s, bool needs_port);

enum http_field_id http1_field_id(struct slice name);
/* Hop by hop whatever Connection says. */
bool http1_field_is_hop_by_hop(enum http_field_id id);
/* The field lines from *at to the empty line, which must be there; *at ends behind it. */
bool http1_fields_parse(struct slice bytes, size_t *at, size_t max_fields, struct http_head *h,
			struct http1_fault *f);

#endif
