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
	char *also;    /* another name that will do, or NULL */
	char *trust;   /* what its certificate must chain to, for messages */
	char *refused; /* why verification failed, or NULL */
	int alert_in;  /* fatal alert from the peer, -1: none */
	enum tls_verify verify;
	/* clients */
	char *session_key; /* what tls_sessions_get() finds the next session by, or NULL */
	bool abbreviates;  /* tls_abbreviate() */
	/* servers */
	const char *alpn; /* what a server offers; NULL: nothing */
	char *others;	  /* names of further [tls] sections to choose from by SNI, or NULL */
	SSL_CTX *(*find)(void *arg, const char *others, const char *server_name);
	void *find_arg;
};

/* Sets up verification on ssl (RFC 9525 name match when wanted is not NULL). 0 or -ENOMEM. */
int tls_peer_attach(SSL *ssl, enum tls_verify verify, const char *wanted, const char *trust);
/* ctx verifies chains as tls_peer_attach() wants it. */
void tls_peer_prepare(SSL_CTX *ctx);
/* Does cert carry a name that ssl may be satisfied with? */
bool tls_peer_suits(const struct tls_peer *p, const X509 *cert);
/* A fault of X509_verify_cert() in words: of current, which is depth certificates above leaf. */
void tls_peer_describe(const struct tls_peer *p, const X509 *leaf, const X509 *current, int depth,
		       int error, char *buf, size_t size);
/* NULL when ssl is not one of ours. */
struct tls_peer *tls_peer_of(const SSL *ssl);

#endif
