#ifndef CORE_TLS_CONTEXT_H
#define CORE_TLS_CONTEXT_H
/* One OpenSSL context from one [tls NAME] section. */
#include <openssl/ssl.h>

#include "base/buf.h"
#include "core/tls.h"

/* NULL with one line for each reason in err ("file:line: [tls x] /path: what"). */
SSL_CTX *tls_context_new(const struct tls_conf *conf, struct buf *err);
/* For connections to public servers: no certificate, the system's CAs. NULL without memory. */
SSL_CTX *tls_context_public(void);

#endif
