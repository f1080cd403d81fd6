#include "core/tls_peer.h"

#include <errno.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/tls_name.h"

/* OpenSSL hands out the number once per process. */
static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int ex_index = -1;

static void peer_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	struct tls_peer *p = ptr;

	if (!p)
		return;
	free(p->wanted);
	free(p->also);
	free(p->trust);
	free(p->refused);
	free(p->others);
	free(p->session_key);
	free(p);
}

static void make_index(void)
{
	ex_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, peer_free);
}

struct tls_peer *tls_peer_of(const SSL *ssl)
{
	pthread_once(&index_once, make_index);
	return ssl && ex_index >= 0 ? SSL_get_ex_data(ssl, ex_index) : NULL;
}

static void date_of(const ASN1_TIME *t, char *buf, size_t size)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(buf, size, "%Y-%m-%d", &tm) == 0)
		snprintf(buf, size, "an unreadable date");
}

static const char *whose(int depth)
{
	return depth == 0 ? "peer certificate" : "certificate of the peer's issuer";
}

static void issuer_of(const X509 *cert, char *buf, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int n;

	buf[0] = '\0';
	if (!bio)
		return;
	/* RFC 2253 form escapes control bytes. */
	X509_NAME_print_ex(bio, X509_get_issuer_name(cert), 0, XN_FLAG_RFC2253);
	n = BIO_read(bio, buf, (int)size - 1);
	buf[n > 0 ? n : 0] = '\0';
	BIO_free(bio);
}

void tls_peer_describe(const struct tls_peer *p, const X509 *leaf, const X509 *current, int depth,
		       int error, char *buf, size_t size)
{
	char names[200], when[32], issuer[160];

	tls_cert_names(leaf, names, sizeof(names));
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		date_of(X509_get0_notAfter(current), when, sizeof(when));
		snprintf(buf, size, "%s expired on %s (%s)", whose(depth), when, names);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		date_of(X509_get0_notBefore(current), when, sizeof(when));
		snprintf(buf, size, "%s is not valid before %s (%s)", whose(depth), when, names);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_UNTRUSTED:
		issuer_of(leaf, issuer, sizeof(issuer));
		snprintf(buf, size, "peer certificate not signed by %s (%s, issued by %s)",
			 p->trust, names, issuer);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		snprintf(buf, size, "peer certificate is self-signed and not in %s (%s)", p->trust,
			 names);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
		snprintf(buf, size, "name mismatch: wanted %s, certificate has %s",
			 p->wanted ? p->wanted : "another", names);
		break;
	default:
		snprintf(buf, size, "%s refused: %s (%s)", whose(depth),
			 X509_verify_cert_error_string(error), names);
		break;
	}
}

/* OpenSSL forgets the certificate on refusal, so the reason is put down here. */
static void note_fault(struct tls_peer *p, X509_STORE_CTX *ctx)
{
	char text[512];

	tls_peer_describe(p, X509_STORE_CTX_get0_cert(ctx), X509_STORE_CTX_get_current_cert(ctx),
			  X509_STORE_CTX_get_error_depth(ctx), X509_STORE_CTX_get_error(ctx), text,
			  sizeof(text));
	free(p->refused);
	p->refused = strdup(text);
}

bool tls_peer_suits(const struct tls_peer *p, const X509 *cert)
{
	return !p->wanted || (cert && (tls_cert_has_name(cert, p->wanted) ||
				       (p->also && tls_cert_has_name(cert, p->also))));
}

static int on_verify(int ok, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_peer *p = tls_peer_of(ssl);

	if (!p)
		return 0;
	if (ok && X509_STORE_CTX_get_error_depth(ctx) == 0 &&
	    !tls_peer_suits(p, X509_STORE_CTX_get0_cert(ctx))) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_HOSTNAME_MISMATCH);
		ok = 0;
	}
	if (!ok)
		note_fault(p, ctx);
	return ok;
}

/* Stops at the first fault, which is the one to tell of, and goes on with the handshake when we
 * only asked. */
static int on_chain(X509_STORE_CTX *ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct tls_peer *p = tls_peer_of(ssl);
	bool ok = X509_verify_cert(ctx) == 1;

	if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_OK)
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
	/* Else OpenSSL keeps it as long as the connection lives. */
	X509_STORE_CTX_set0_verified_chain(ctx, NULL);
	/* Who was not believed shall show its certificate again, maybe a better one. (TLS 1.2: see
	 * tls_ticket.c.) */
	if (!ok && SSL_is_server(ssl))
		SSL_set_num_tickets(ssl, 0);
	return ok || (p && p->verify == TLS_VERIFY_ASK);
}

void tls_peer_prepare(SSL_CTX *ctx)
{
	SSL_CTX_set_cert_verify_callback(ctx, on_chain, NULL);
}

static void on_info(const SSL *ssl, int where, int value)
{
	struct tls_peer *p = tls_peer_of(ssl);
	int alert = value & 0xff;

	/* RFC 8446 section 6.1: these two close, they refuse nothing. */
	if (p && where == SSL_CB_READ_ALERT && alert != SSL_AD_CLOSE_NOTIFY &&
	    alert != SSL_AD_USER_CANCELLED)
		p->alert_in = alert;
}

int tls_peer_attach(SSL *ssl, enum tls_verify verify, const char *wanted, const char *trust)
{
	struct tls_peer *p;

	pthread_once(&index_once, make_index);
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->alert_in = -1;
	p->verify = verify;
	p->wanted = wanted ? strdup(wanted) : NULL;
	p->trust = strdup(trust);
	if ((wanted && !p->wanted) || !p->trust || SSL_set_ex_data(ssl, ex_index, p) != 1) {
		peer_free(NULL, p, NULL, 0, 0, NULL);
		return -ENOMEM;
	}
	SSL_set_info_callback(ssl, on_info);
	if (verify == TLS_VERIFY_ASK)
		SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
	else if (verify == TLS_VERIFY_PEER)
		SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
	else
		SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	return 0;
}

int tls_also_accept(SSL *ssl, const char *name)
{
	struct tls_peer *p = tls_peer_of(ssl);
	char *copy = p ? strdup(name) : NULL;

	if (!copy)
		return -ENOMEM;
	free(p->also);
	p->also = copy;
	return 0;
}
