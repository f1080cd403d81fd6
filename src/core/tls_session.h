#ifndef CORE_TLS_SESSION_H
#define CORE_TLS_SESSION_H
/*
 * The sessions that our clients begin their next connection with (RFC 8446 section 2.2): the newest
 * one for each key, a bounded number of them. And the sessions of our servers that want a
 * certificate of each client: kept here and not in tickets, all connections of one client have one
 * copy of its certificate. Each load of the [tls] sections has a table of its
 * own, so that no session outlives a change of certificates or of `ca`; connections of the
 * contexts before it still fill theirs, which nobody reads any more.
 */
#include <openssl/ssl.h>
#include <stddef.h>

#define TLS_SESSIONS_MAX	64
#define TLS_SESSIONS_SERVED_MAX 256
#define TLS_SESSION_KEY_MAX	512

struct tls_sessions;

struct tls_sessions *tls_sessions_new(void);
/* Contexts that use it hold it. NULL is allowed. */
void tls_sessions_unref(struct tls_sessions *t);
/* What connections of ctx get is kept in t, when they have a key (tls_peer.session_key) or verify
 * their clients. 0 or -ENOMEM. */
int tls_sessions_use(struct tls_sessions *t, SSL_CTX *ctx);
/* A copy of the session for this key, the caller's to free, that the server may still take and
 * whose certificate has not expired; NULL: none. */
SSL_SESSION *tls_sessions_get(struct tls_sessions *t, const char *key);
/* The table that the context of ssl uses. */
struct tls_sessions *tls_sessions_of(const SSL *ssl);

#endif
