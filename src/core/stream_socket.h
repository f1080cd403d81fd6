#ifndef CORE_STREAM_SOCKET_H
#define CORE_STREAM_SOCKET_H
/*
 * Streams over TCP and TLS sockets, and the listeners that accept them. OpenSSL works on the
 * descriptor itself and writes are tried at once, so that a request costs one read and one write
 * and no change of the watched events.
 */
#include <stdint.h>

#include "core/conn.h"
#include "base/slice.h"
#include "core/net.h"
#include "core/stream.h"
#include "core/tls.h"

struct env;

struct stream_connect {
	struct addr to;
	const struct addr *from;	/* NULL: any */
	uint16_t first_port, last_port; /* source ports; 0,0: any */
	bool shared_port;    /* from exactly `from`, its port too, where a listener with shared_port
			      * may be; first_port and last_port are not looked at */
	uint32_t timeout_ms; /* TCP and TLS together */
	const char *tls;     /* [tls NAME]; NULL: plain, unless tls_public */
	bool tls_public;     /* TLS with the system's CAs, no [tls] section */
	const char *server_name; /* SNI and the name to match */
	const char *also_name;	 /* a certificate with this one will do too; NULL: none */
	bool verify;		 /* TLS: check the chain and the name */
	bool ask;    /* TLS without verify: the chain is looked at, tls_peer_verified() tells */
	bool resume; /* TLS: keep the last session of this tls, server_name and address, and begin
		      * with it (RFC 8446 section 2.2) */
	bool abbreviate;      /* with resume: tls_abbreviate() */
	const char *alpn;     /* offered (RFC 7301); NULL: none; static */
	struct slice preface; /* sent in the clear before TLS begins (PROXY protocol); copied */
	bool keepalive;	      /* TCP keepalive: 120 s of silence, then 3 times every 20 s */
};
/* Starts it; the handler hears opened or closed later (never before this returns). NULL and
 * negative errno in *error when it cannot even begin. */
struct stream *stream_connect(struct env *env, const struct stream_connect *c,
			      const struct stream_handler *h, void *arg, int *error);

/* An accepting socket with limits; an entry of the connection table (CONN_LISTENER). */
struct stream_listener;
struct stream_listener_conf {
	struct addr local;
	bool shared_port; /* stream_connect may use the same address and port */
	const char *tls;  /* NULL: plain */
	/* With tls: a client whose first byte begins a TLS handshake (0x16) gets TLS, any other one
	 * a plain stream (s->is_tls says which). The first byte must come within handshake_ms. */
	bool detect_tls;
	enum tls_verify verify; /* of clients; with TLS_VERIFY_ASK tls_peer_verified() tells */
	bool keepalive;		/* as of stream_connect */
	const char *alpn; /* answered when the client lists it: "http/1.1"; NULL: no ALPN; static */
	enum conn_kind kind;   /* of what is refused, for the table: CONN_HTTP, CONN_TURN ... */
	uint32_t handshake_ms; /* TLS handshake must end in it */
	struct net_limits_conf limits;
	const char *zone; /* shown in the table: "web", "guest" */
	/* A new stream, already open (handshake done). The taker sets its handler at once. */
	void (*accepted)(void *arg, struct stream *s);
	/* It never became one (limit, TLS failure): already traced and counted. May be NULL. */
	void (*refused)(void *arg, const struct addr *from, const char *why);
	void *arg;
};
/* NULL and negative errno. Strings are copied. */
struct stream_listener *stream_listener_new(struct env *env, const struct stream_listener_conf *c,
					    int *error);
/* New limits, tls name, timeouts; the address must be the same. */
void stream_listener_configure(struct stream_listener *l, const struct stream_listener_conf *c);
/* Stops accepting; accepted streams live on. */
void stream_listener_free(struct stream_listener *l);
/* Two sockets cannot listen at both: the same, or one of them is any address of its family. */
bool stream_listeners_exclude(const struct addr *a, const struct addr *b);
/* Could this address be bound, or is what stands in the way ours (it, or the same port at `any`:
 * close that first)? For prepare. 0 or negative errno. */
int stream_listener_probe(const struct addr *local);
/* STARTTLS: a plain, open stream over a socket goes on as TLS. What is in stream_out is sent in the
 * clear first; what is in stream_in, and what the socket already holds before the handshake as the
 * server, is thrown away by the caller (evbuffer_drain) before the call. Until the handshake is
 * done nothing is readable and what is added to stream_out waits; then `opened` is called (again),
 * or `closed` with the reason that tls_explain() gives. 0, -EINVAL (not such a stream, no such
 * [tls]) or -ENOMEM with nothing changed. */
struct stream_tls {
	bool is_server;
	const char *tls;	 /* [tls NAME], for a server also several, as in tls_accept_new() */
	bool tls_public;	 /* client: the system's CAs */
	const char *server_name; /* client: SNI and the name to match */
	const char *also_name;	 /* client: as of stream_connect */
	bool verify;		 /* client: as of stream_connect; server: TLS_VERIFY_PEER */
	bool ask;		 /* TLS_VERIFY_ASK */
	bool resume, abbreviate; /* client: as of stream_connect */
	const char *alpn;	 /* static; NULL: none */
	uint32_t timeout_ms;
};
int stream_start_tls(struct env *env, struct stream *s, const struct stream_tls *t);
/* Bytes, TLS records and all, that the kernel holds for the peer until it acknowledges them; 0 for
 * other streams. */
size_t stream_unacked(struct stream *s);
/* The SSL of a TLS stream over a socket, else NULL. */
SSL *stream_ssl(struct stream *s);

#endif
