#ifndef CORE_TLS_PEER_H
#define CORE_TLS_PEER_H
/*
 * What an SSL object remembers for tls_explain(): whom it expected, why it refused the peer's
 * certificate (OpenSSL drops the certificate when it refuses it), and the alert that came in.
 */
#include <openssl/ssl.h>

#include "core/tls.h"

struct tls_peer {
	char *wanted;  /* the name to match, or NULL */
	char *trust;   /* what its certificate must chain to, for messages */
	char *refused; /* why verification failed, or NULL */
	int alert_in;  /* fatal alert from the peer, -1: none */
	enum tls_verify verify;
	/* servers */
	const char *alpn; /* what a server offers; NULL: nothing */
	char *others;	  /* names of further [tls] sections to choose from by SNI, or NULL */
	SSL_CTX *(*find)(void *arg, const char *others, const char *server_name);
	void *find_arg;
};

/* Sets up verification on ssl (RFC 9525 name match when wanted is not NULL). 0 or -ENOMEM. */
int tls_peer_attach(SSL *ssl, enum tls_verify verify, const char *wanted, const char *trust);
/* NULL when ssl is not one of ours. */
struct tls_peer *tls_peer_of(const SSL *ssl);

#endif
