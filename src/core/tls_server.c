#include "core/tls_server.h"

#include <errno.h>
#include <string.h>

#include "core/tls_peer.h"

#define MAX_ALPN 32 /* a list of one */

/* RFC 7301 section 3.2 lets a server that has nothing in common refuse; a client that only wants
 * something else is told so by the first answer as well, and one with a stale list still works. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n_out,
		   const unsigned char *in, unsigned n_in, void *arg)
{
	const struct tls_peer *p = tls_peer_of(ssl);
	unsigned char ours[MAX_ALPN], *chosen;
	size_t n = p && p->alpn ? strlen(p->alpn) : 0;

	if (n == 0 || n >= sizeof(ours))
		return SSL_TLSEXT_ERR_NOACK;
	ours[0] = (unsigned char)n;
	memcpy(ours + 1, p->alpn, n);
	/* Of a list of one, the choice points into the client's bytes. */
	if (SSL_select_next_proto(&chosen, n_out, in, n_in, ours, (unsigned)n + 1) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* RFC 6066 section 3. A name that no certificate carries gets the first one: the client will say
 * what it thinks of it. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_peer *p = tls_peer_of(ssl);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	SSL_CTX *ctx, *first = SSL_get_SSL_CTX(ssl);

	if (!p || !p->find || !name)
		return SSL_TLSEXT_ERR_NOACK;
	ctx = p->find(p->find_arg, p->others, name);
	if (!ctx || ctx == first)
		return SSL_TLSEXT_ERR_OK;
	/* The name chooses what we show. Whom we trust is the first section's word. */
	if (!SSL_set_SSL_CTX(ssl, ctx) ||
	    SSL_set1_verify_cert_store(ssl, SSL_CTX_get_cert_store(first)) != 1) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	return SSL_TLSEXT_ERR_OK;
}

void tls_server_prepare(SSL_CTX *ctx)
{
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
}

int tls_offer(SSL *ssl, const char *protocol)
{
	struct tls_peer *p = tls_peer_of(ssl);
	unsigned char list[MAX_ALPN];
	size_t n = strlen(protocol);

	if (!p || n == 0 || n >= sizeof(list))
		return -EINVAL;
	p->alpn = protocol;
	if (SSL_is_server(ssl))
		return 0;
	list[0] = (unsigned char)n;
	memcpy(list + 1, protocol, n);
	return SSL_set_alpn_protos(ssl, list, (unsigned)n + 1) == 0 ? 0 : -ENOMEM;
}
