/* Who the peer of a finished handshake is, by its certificate. */
#include <openssl/x509v3.h>
#include <time.h>

#include "core/tls_peer.h"
#include "core/tls_xmpp_name.h"

/* RFC 5280 sections 4.2.1.3 and 4.2.1.12. Servers show partners the certificate that they show
 * clients, and public CAs no longer issue clientAuth: either usage will do. */
static bool is_for_tls(X509 *cert)
{
	uint32_t flags = X509_get_extension_flags(cert);

	if (flags & EXFLAG_INVALID)
		return false;
	if ((flags & EXFLAG_KUSAGE) &&
	    !(X509_get_key_usage(cert) & (KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT)))
		return false;
	return !(flags & EXFLAG_XKUSAGE) ||
	       (X509_get_extended_key_usage(cert) & (XKU_SSL_SERVER | XKU_SSL_CLIENT | XKU_ANYEKU));
}

/* What the handshake does not look at, or looked at long ago. */
static int fault_of(X509 *cert)
{
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return X509_V_ERR_CERT_HAS_EXPIRED;
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) >= 0)
		return X509_V_ERR_CERT_NOT_YET_VALID;
	return is_for_tls(cert) ? X509_V_OK : X509_V_ERR_INVALID_PURPOSE;
}

bool tls_peer_verified(const SSL *ssl, const char **why)
{
	static _Thread_local char text[512];
	const struct tls_peer *p = tls_peer_of(ssl);
	X509 *cert = SSL_get0_peer_certificate(ssl);
	long error;

	*why = "no certificate";
	if (!p || !cert)
		return false;
	error = SSL_get_verify_result(ssl);
	if (error == X509_V_OK)
		error = fault_of(cert);
	*why = "";
	if (error == X509_V_OK)
		return true;
	*why = p->refused;
	if (!p->refused) {
		tls_peer_describe(p, cert, cert, 0, (int)error, text, sizeof(text));
		*why = text;
	}
	return false;
}

bool tls_peer_has_xmpp_domain(const SSL *ssl, const char *domain)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);

	return cert && tls_cert_has_xmpp_domain(cert, domain);
}

bool tls_peer_xmpp_addr(const SSL *ssl, size_t i, char *buf, size_t size)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);

	return cert && tls_cert_xmpp_addr(cert, i, buf, size);
}

int64_t tls_peer_expires_s(const SSL *ssl)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);
	struct tm tm;

	if (!cert || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

const char *tls_server_name(const SSL *ssl)
{
	return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
}
