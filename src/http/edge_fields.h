#ifndef HTTP_EDGE_FIELDS_H
#define HTTP_EDGE_FIELDS_H
/* E as a gateway, for the edge service and for sites alike: which fields cross it, and which it
 * writes itself. */
#include "http/web.h"

/* Not those that say who asks: E writes them. Not cookies: edge_fields_add() has them. */
bool edge_fields_go_in(const struct http_field *f);
/* Not those between our boxes, nor a cookie that would sign somebody in. */
bool edge_fields_come_out(const struct web *w, const struct http_field *f);
/* The client's address for C (in_tunnel) and for the server inside, and the cookies without ours.
 */
void edge_fields_add(const struct web *w, struct http_exchange *ex, bool in_tunnel,
		     struct buf *out);

#endif
