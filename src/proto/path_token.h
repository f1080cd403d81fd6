#ifndef PROTO_PATH_TOKEN_H
#define PROTO_PATH_TOKEN_H
/*
 * The first path segment of the edge service (port 8443): base64 in either alphabet, with or
 * without padding, of "<domain>" (edge services of that domain) or
 * "<domain>/<scheme>/<host>/<port>" (a server inside).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"

struct path_token {
	char domain[254]; /* lower case */
	bool has_target;
	bool https;
	char host[254]; /* lower case, as http_url.h has hosts */
	uint16_t port;
};

/* path: origin-form path ("/dG9rZW4/rest"). rest gets what follows the token, with its slash; "/"
 * when nothing does. Refused with *why: not base64, not UTF-8-free ASCII, an unknown scheme, a bad
 * host, port 0, a missing or surplus part, over 1 KiB. An IPv6 host is without brackets or with;
 * the padding may be percent-encoded. */
bool path_token_parse(struct slice path, struct path_token *out, struct slice *rest,
		      const char **why);
/* URL-safe, no padding. */
struct buf;
void path_token_print(struct buf *out, const struct path_token *t);

#endif
