#ifndef CORE_TLS_XMPP_NAME_H
#define CORE_TLS_XMPP_NAME_H
/* XMPP identities in certificates (RFC 6120 section 13.7.1). subjectAltName only. Pure. */
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

/* Does cert speak for this XMPP domain: dNSName (a wildcard for exactly one label), SRVName
 * _xmpp-server or _xmpps-server (RFC 4985, no wildcards), or xmppAddr of a bare domain? Any case,
 * domain in ASCII. */
bool tls_cert_has_xmpp_domain(const X509 *cert, const char *domain);
/* The i-th xmppAddr as text, in a buffer of size bytes; "" for one that is no UTF8String of
 * printable UTF-8, or too long. False behind the last. */
bool tls_cert_xmpp_addr(const X509 *cert, size_t i, char *buf, size_t size);

#endif
