#ifndef CORE_TLS_NAME_H
#define CORE_TLS_NAME_H
/* Names in certificates (RFC 9525): subjectAltName only, never the common name. Pure. */
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Does cert carry name as dNSName (or as iPAddress when name is an address)? A wildcard counts only
 * as the whole leftmost label, for exactly one label, above a name of two labels or more.
 * Underscores are allowed: inside names have them. */
bool tls_cert_has_name(const X509 *cert, const char *name);
/* Does a dNSName of a certificate (not one that stands for an address) mean this name? As above. */
bool tls_dns_match(struct slice pattern, struct slice name);
/* The dNSNames and iPAddresses, "a, b", cut at size; "no names" without any. Bytes that do not
 * print become '?'. */
void tls_cert_names(const X509 *cert, char *buf, size_t size);

#endif
