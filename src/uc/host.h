#ifndef UC_HOST_H
#define UC_HOST_H
/* Names of servers, as administrators and other servers write them. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define UC_HOST_BYTES 254 /* with NUL */

/* Letters, digits, dots, dashes and underscores only, 1 to 253 of them, a letter or digit first: no
 * byte that would mean something in INI, a URL or a header. */
bool uc_host_is_plain(struct slice s);
/* A plain host name or an address literal (IPv6 without brackets): what may be printed into
 * settings and URLs, wherever it came from. */
bool uc_host_is_legal(struct slice s);
/* host, host:port, IP, IP:port, [IPv6]:port, bare IPv6. Without a port *port = default_port. */
bool uc_host_parse(struct slice text, uint16_t default_port, char host[UC_HOST_BYTES],
		   uint16_t *port);
/* "https://host:port" */
void uc_host_url(struct buf *out, bool https, const char *host, uint16_t port);
/* The same host? Not minding case; a name without dots is the same as the first label of a longer
 * one when loose. */
bool uc_host_same(const char *a, const char *b, bool loose);
/* Everything but unreserved characters as %XX (RFC 3986 2.3). */
void uc_host_percent(struct buf *out, struct slice s);

#endif
