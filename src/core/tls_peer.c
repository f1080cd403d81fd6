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
	free(p->trust);
	free(p->refused);
	free(p->others);
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

static void issuer_of(X509 *cert, char *buf, size_t size)
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

/* The reason in words. OpenSSL forgets the certificate on refusal, so it is put down here. */
static char *describe(const struct tls_peer *p, X509_STORE_CTX *ctx, int error)
{
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx), *current = X509_STORE_CTX_get_current_cert(ctx);
	int depth = X509_STORE_CTX_get_error_depth(ctx);
	char names[200], when[32], issuer[160], *text = NULL;
	int n;

	tls_cert_names(leaf, names, sizeof(names));
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		date_of(X509_get0_notAfter(current), when, sizeof(when));
		n = asprintf(&text, "%s expired on %s (%s)", whose(depth), when, names);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		date_of(X509_get0_notBefore(current), when, sizeof(when));
		n = asprintf(&text, "%s is not valid before %s (%s)", whose(depth), when, names);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_UNTRUSTED:
		issuer_of(leaf, issuer, sizeof(issuer));
		n = asprintf(&text, "peer certificate not signed by %s (%s, issued by %s)",
			     p->trust, names, issuer);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		n = asprintf(&text, "peer certificate is self-signed and not in %s (%s)", p->trust,
			     names);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
		n = asprintf(&text, "name mismatch: wanted %s, certificate has %s", p->wanted,
			     names);
		break;
	default:
		n = asprintf(&text, "%s refused: %s (%s)", whose(depth),
			     X509_verify_cert_error_string(error), names);
		break;
	}
	return n < 0 ? NULL : text;
}

static int on_verify(int ok, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_peer *p = tls_peer_of(ssl);

	if (!p)
		return 0;
	if (ok && X509_STORE_CTX_get_error_depth(ctx) == 0 && p->wanted &&
	    !tls_cert_has_name(X509_STORE_CTX_get0_cert(ctx), p->wanted)) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_HOSTNAME_MISMATCH);
		ok = 0;
	}
	if (!ok) {
		free(p->refused);
		p->refused = describe(p, ctx, X509_STORE_CTX_get_error(ctx));
	}
	return ok;
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
	if (verify == TLS_VERIFY_PEER)
		SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
	else
		SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	return 0;
}
