#ifndef PROTO_HTTP_URL_H
#define PROTO_HTTP_URL_H
/*
 * http and https URLs (RFC 3986, RFC 9110 4.2) as the allow list compares them: canonical, or
 * refused. There is one spelling of everything, so that no check is passed by under another.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"

#define HTTP_URL_HOST_BYTES 254
#define HTTP_URL_PATH_BYTES 4096

struct http_url {
	bool https;
	char host[HTTP_URL_HOST_BYTES]; /* lower case, no trailing dot; IPv6 without brackets */
	uint16_t port;			/* 80, 443 when not written */
	bool port_written;
	struct addr ip;			/* set when host is an address literal */
	struct slice query;		/* into the text, p NULL without */
	char path[HTTP_URL_PATH_BYTES]; /* begins with '/', see http_path_canonical() */
};

/* Whole absolute URL. Refused with *why: another scheme, userinfo, fragment, empty host, bytes
 * outside printable ASCII, a backslash before the query, a host that is neither a name (letters,
 * digits, '-', '_',
 * '.') nor a canonical address literal (octal, hex and short forms of IPv4 such as 0177.1,
 * 0x7f000001 or 2130706433 are refused), port 0 or over 65535, a path that http_path_canonical()
 * refuses. */
bool http_url_parse(struct slice text, struct http_url *out, const char **why);
/* "host", "host:port", "[ip6]:port" as in Host and the authority of a URL. https is set when
 * default_port is 443; path is "/". */
bool http_authority_parse(struct slice text, uint16_t default_port, struct http_url *out,
			  const char **why);
/* A host alone. IPv6 with or without brackets, IPv4 within IPv6 refused; *ip gets family ADDR_NONE
 * for a name. */
bool http_host_parse(struct slice text, char out[HTTP_URL_HOST_BYTES], struct addr *ip,
		     const char **why);
/* 1 to 65535, no leading zero. */
bool http_port_parse(struct slice digits, uint16_t *port);
/* Path in one spelling: percent-encoded unreserved characters decoded, hex digits in upper case,
 * "." refused and ".." refused in any encoding (also %2e, %252e), "//" kept, %2f, %5c, %00, control
 * bytes and backslash refused, a path parameter on a dot segment ("..;x") refused. Characters that
 * RFC 3986 wants encoded, bytes that are not UTF-8 when decoded (overlong forms above all) and more
 * than four layers of encoding are refused too. Returns false and *why, or the canonical path in
 * out, which comes out of here unchanged another time. */
bool http_path_canonical(struct slice path, char *out, size_t size, const char **why);
/* Both canonical: is it the path `top`, or below it? "/a" has "/a" and "/a/b" under it, not "/ab".
 */
bool http_path_is_under(struct slice path, struct slice top);
/* "https://host:port/path" (port only when it is not the scheme's), for messages. */
void http_url_print(const struct http_url *u, char *out, size_t size);

#endif
