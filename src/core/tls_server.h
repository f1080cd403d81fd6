#ifndef CORE_TLS_SERVER_H
#define CORE_TLS_SERVER_H
/* What a server answers to the extensions of a ClientHello. Between tls_store.c and its context. */
#include <openssl/ssl.h>

/* ctx calls back for ALPN and SNI; does nothing for SSL objects that ask for neither. */
void tls_server_prepare(SSL_CTX *ctx);

#endif
