#ifndef CORE_TLS_TICKET_H
#define CORE_TLS_TICKET_H
/*
 * The keys that session tickets are sealed with (RFC 5077, RFC 8446 section 4.6.1). They belong to
 * the store and not to one context, so that a reload or a new certificate costs no client its
 * session; a key is used for TLS_TICKET_KEY_S and still opens for as long again.
 */
#include <openssl/ssl.h>
#include <stdint.h>

#define TLS_TICKET_KEY_S (12 * 3600)

struct tls_tickets;

struct tls_tickets *tls_tickets_new(int64_t now_wall_s);
/* Contexts that use them hold them. NULL is allowed. */
void tls_tickets_unref(struct tls_tickets *t);
/* ctx seals and opens its tickets with t from now on. 0 or -ENOMEM. */
int tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx);
/* A new key when the current one is old enough. */
void tls_tickets_rotate(struct tls_tickets *t, int64_t now_wall_s);

#endif
