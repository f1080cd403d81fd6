#ifndef HTTP_COOKIES_H
#define HTTP_COOKIES_H
/*
 * The sign-in cookie is a secret between a client and E: it does not go inside, and no server
 * inside sets it. Cookies know no ports (RFC 6265 8.5), so that this holds for every listener of E.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "proto/http1.h"

/* Prints the Cookie fields of h to out, without the cookie of that name. */
void cookies_pass(const struct http_head *h, struct slice ours, struct buf *out);
/* Would a browser keep a cookie of that name by this value of Set-Cookie? */
bool cookies_sets(struct slice set_cookie, struct slice ours);

#endif
