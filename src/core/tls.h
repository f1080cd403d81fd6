#ifndef CORE_TLS_H
#define CORE_TLS_H
/*
 * TLS contexts by name ([tls NAME] sections). TLS 1.2 and 1.3, no renegotiation, no compression,
 * SAN match only. A reload (or a changed file) builds a new context and swaps it: new handshakes
 * get the new one, old connections keep theirs (OpenSSL's reference count).
 */
#include <stdbool.h>
#include <stdint.h>
#include <openssl/ssl.h>

#include "base/addr.h"
#include "base/buf.h"
#include "core/conf_schema.h"
#include "core/conf_store.h"

struct alarms;
struct log;
struct tls_store;

enum tls_min_version { TLS_MIN_1_2, TLS_MIN_1_3 };

/* One [tls NAME] section. */
struct tls_conf {
	struct conf_common common;
	char *certificate; /* PEM: own certificate, then its chain; NULL: only `ca`, for trust */
	char *key;	   /* PEM, not encrypted, not readable by others; NULL without it */
	char *ca;	   /* PEM: whom to trust; NULL: the system's public CAs (connecting only) */
	int min_version;   /* enum tls_min_version */
};

/* The rows of [tls NAME]: certificate, key, ca, min-version. */
extern const struct conf_section tls_conf_section;
/* For checks of those who listen: has every section of these names (words) a certificate to show?
 */
bool tls_conf_can_serve(const struct conf_snapshot *snap, const char *name);

struct tls_store *tls_store_new(struct log *log, struct alarms *alarms);
void tls_store_free(struct tls_store *t);
/* Builds every [tls] section of snap. On any failure nothing changes, -EINVAL, and the reasons are
 * in err (file, what OpenSSL said). Also rereads the files of unchanged sections. Raises alarms for
 * certificates that expire within 30 days. */
int tls_store_load(struct tls_store *t, const struct conf_snapshot *snap, struct buf *err);
/* Raises and clears the alarms about certificates that expire and changes the keys of session
 * tickets when it is time; for a timer (now: seconds of the epoch). */
void tls_store_check_expiry(struct tls_store *t, int64_t now_wall_s);

enum tls_verify {
	TLS_VERIFY_NONE, /* ordinary server: no client certificate asked */
	/* The peer must present a certificate that chains to `ca`. Every certificate in `ca` is an
	 * anchor, so a single pinned certificate will do. The extended key usage is not looked at:
	 * the names say who the peer is, and public CAs no longer issue clientAuth. */
	TLS_VERIFY_PEER,
	/* The peer may present a certificate (a server always does); whatever it is, the handshake
	 * goes on, and tls_peer_verified() tells what became of it. For federation: SASL EXTERNAL
	 * or dialback. */
	TLS_VERIFY_ASK,
};

/* New SSL objects on the current context of that name; NULL and *why (static or thread-local text)
 * when there is no such context or no memory.
 * name of tls_accept_new() may list several sections, "web guest": the first is what a client gets
 * that names none of them; the others serve the names (SNI) that their certificates carry, with
 * certificate and key only: all else is the first one's. */
SSL *tls_accept_new(struct tls_store *t, const char *name, enum tls_verify verify,
		    const char **why);
/* server_name: SNI and, with TLS_VERIFY_PEER, the name that a SAN (dNSName or iPAddress, no CN
 * fallback, RFC 9525) must match. NULL: no SNI, no name check. */
SSL *tls_connect_new(struct tls_store *t, const char *name, const char *server_name,
		     enum tls_verify verify, const char **why);
/* Before the handshake of a client that has a server_name: a certificate with this name will do
 * too. 0 or -ENOMEM. */
int tls_also_accept(SSL *ssl, const char *name);
/* As tls_connect_new() with the system's public CAs and no certificate of our own. */
SSL *tls_public_new(struct tls_store *t, const char *server_name, enum tls_verify verify,
		    const char **why);
/* ALPN (RFC 7301) with this protocol ("http/1.1", "stun.turn"; static). A server answers it when
 * the client lists it, and nothing when it does not; a client lists it. 0 or -ENOMEM. */
int tls_offer(SSL *ssl, const char *protocol);
/* A client (tls_connect_new() of that name, NULL: tls_public_new()) begins with the newest session
 * that it got from this server_name (or NULL) at this address with the same kind of verification,
 * when there is one, and the one that it gets is kept for the next. What was verified for the first
 * connection of a chain of sessions holds for all of them; they end with the next load of the
 * sections, with the certificate, and after 12 hours. */
void tls_resume(SSL *ssl, const char *name, const char *server_name, const struct addr *to);
/* Before tls_resume(), for who dials one connection after the other: TLS 1.2 at most, unless the
 * section demands more. Its abbreviated handshake (RFC 5246 section 7.3) has no key exchange and
 * costs a quarter of a resumption of TLS 1.3. Connections of one session share its secret: sessions
 * of TLS 1.2 end after TLS_ABBREVIATED_S at both ends. */
#define TLS_ABBREVIATED_S 600
void tls_abbreviate(SSL *ssl);
/* After a handshake: does the peer certificate carry this SAN? Underscores allowed. */
bool tls_peer_has_name(const SSL *ssl, const char *name);
/* Did the peer present a certificate that chains to `ca` (or the system's CAs), is valid now and,
 * if it has an extended key usage, is one for TLS servers or clients? *why (thread-local): as
 * tls_explain(): "no certificate", "peer certificate expired on ...". */
bool tls_peer_verified(const SSL *ssl, const char **why);
/* Does the peer's certificate speak for this XMPP domain (RFC 6120 section 13.7, RFC 7590)?
 * dNSName (one wildcard label), SRVName _xmpp-server.domain (RFC 4985; also _xmpps-server) or
 * xmppAddr (RFC 6120 section 13.7.1.4). Any case, domain in ASCII. The chain is not looked at. */
bool tls_peer_has_xmpp_domain(const SSL *ssl, const char *domain);
/* The same for our own certificate of that [tls NAME]; false when there is none. */
bool tls_own_has_xmpp_domain(struct tls_store *t, const char *name, const char *domain);
/* The i-th xmppAddr of the peer's certificate as text of at most size bytes; false behind the last,
 * "" for one that is no UTF-8 or too long. */
bool tls_peer_xmpp_addr(const SSL *ssl, size_t i, char *buf, size_t size);
/* Seconds of the epoch when the peer's certificate ends; 0 without certificate. */
int64_t tls_peer_expires_s(const SSL *ssl);
/* The name that the client asked for (SNI), NULL: none. */
const char *tls_server_name(const SSL *ssl);
/* "core1.example.com, core1.lab" of the peer's certificate, or "no certificate"; for reasons. */
void tls_peer_names(const SSL *ssl, char *buf, size_t size);
/* "name mismatch: wanted a, certificate has b, c", for who checks tls_peer_has_name() itself. */
void tls_explain_name(const SSL *ssl, const char *wanted, char *buf, size_t size);
/* What went wrong in the last handshake, for humans on both sides: "peer certificate expired on
 * 2026-01-01 (core1.example.com)", "peer certificate not signed by /etc/.../ca.pem", "name
 * mismatch: wanted edge1.example.com, certificate has edge2.example.com", "peer refused: alert
 * certificate expired" ... err: the code from ERR_get_error or bufferevent_get_openssl_error, 0:
 * unknown. */
/* With TLS 1.3 a client's handshake ends before the server has looked at its certificate: the
 * refusal comes with the first read, and tls_explain() names it then too. */
void tls_explain(const SSL *ssl, unsigned long err, char *buf, size_t size);

#endif
