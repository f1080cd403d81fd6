#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "core/tls_name.h"
#include "core/tls_peer.h"

struct hint {
	int code;
	const char *text;
};

/* What a peer's alert means to who reads it here (RFC 8446 section 6.2). */
static const struct hint alert_hints[] = {
	{ SSL_AD_UNKNOWN_CA, "it does not trust the issuer of our certificate" },
	{ SSL_AD_CERTIFICATE_EXPIRED, "our certificate has expired, or a clock is wrong" },
	{ SSL_AD_BAD_CERTIFICATE,
	  "our certificate does not carry the name it wants, or is damaged" },
	{ SSL_AD_CERTIFICATE_UNKNOWN, "it could not accept our certificate" },
	{ SSL_AD_UNSUPPORTED_CERTIFICATE,
	  "our certificate is of a kind or usage it does not take" },
	{ SSL_AD_CERTIFICATE_REVOKED, "our certificate was revoked" },
	{ SSL_AD_CERTIFICATE_REQUIRED, "it wants a certificate from us" },
	{ SSL_AD_NO_CERTIFICATE, "it wants a certificate from us" },
	{ SSL_AD_PROTOCOL_VERSION, "no TLS version in common" },
	{ SSL_AD_HANDSHAKE_FAILURE, "no cipher in common, or no certificate that suits it" },
	{ SSL_AD_UNRECOGNIZED_NAME, "it serves no such name" },
};

/* Failures that this side sees, by OpenSSL's reason code. */
static const struct hint reason_hints[] = {
	{ SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "peer sent no certificate" },
	{ SSL_R_UNSUPPORTED_PROTOCOL, "peer's TLS version is below our min-version" },
	{ SSL_R_VERSION_TOO_LOW, "peer's TLS version is below our min-version" },
	{ SSL_R_NO_PROTOCOLS_AVAILABLE, "no TLS version in common" },
	{ SSL_R_WRONG_VERSION_NUMBER, "peer does not speak TLS here" },
	{ SSL_R_HTTP_REQUEST, "peer speaks plain HTTP, not TLS" },
	{ SSL_R_HTTPS_PROXY_REQUEST, "peer speaks plain HTTP, not TLS" },
	{ SSL_R_NO_SHARED_CIPHER, "no cipher in common with the peer" },
	{ SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "no signature algorithm in common with the peer" },
	{ SSL_R_UNEXPECTED_EOF_WHILE_READING, "peer closed the connection without a TLS goodbye" },
};

static const char *hint_of(const struct hint *hints, size_t n, int code)
{
	for (size_t i = 0; i < n; i++) {
		if (hints[i].code == code)
			return hints[i].text;
	}
	return NULL;
}

#define HINT_OF(hints, code) hint_of(hints, sizeof(hints) / sizeof((hints)[0]), code)

/* Alerts that OpenSSL 3.0 knows but has no words for. */
static const struct hint alert_names[] = {
	{ SSL_AD_MISSING_EXTENSION, "missing extension" },
	{ SSL_AD_CERTIFICATE_REQUIRED, "certificate required" },
	{ SSL_AD_NO_APPLICATION_PROTOCOL, "no application protocol" },
};

static void explain_alert(int alert, char *buf, size_t size)
{
	const char *hint = HINT_OF(alert_hints, alert), *name = HINT_OF(alert_names, alert);

	snprintf(buf, size, "peer refused: alert %s%s%s%s",
		 name ? name : SSL_alert_desc_string_long(alert), hint ? " (" : "",
		 hint ? hint : "", hint ? ")" : "");
}

/* The alert number inside an error code (SSL_R_*_ALERT_* are 1000 + alert), -1: none. */
static int alert_of(unsigned long err)
{
	int alert;

	if (ERR_GET_LIB(err) != ERR_LIB_SSL)
		return -1;
	alert = ERR_GET_REASON(err) - SSL_AD_REASON_OFFSET;
	return alert > SSL_AD_CLOSE_NOTIFY && alert < 256 ? alert : -1;
}

static void explain_own(const struct tls_peer *p, const SSL *ssl, unsigned long err, char *buf,
			size_t size)
{
	const char *text = NULL;

	if (err == 0 && SSL_is_init_finished(ssl))
		text = "no TLS error";
	else if (err == 0)
		text = "handshake not finished: the peer closed the connection or fell silent";
	else if (ERR_GET_LIB(err) == ERR_LIB_SSL)
		text = HINT_OF(reason_hints, ERR_GET_REASON(err));
	if (!text)
		text = ERR_reason_error_string(err);
	if (text && p && ERR_GET_REASON(err) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		snprintf(buf, size, "%s (one signed by %s is wanted)", text, p->trust);
	else if (text)
		snprintf(buf, size, "%s", text);
	else
		snprintf(buf, size, "TLS error %lx", err);
}

void tls_explain(const SSL *ssl, unsigned long err, char *buf, size_t size)
{
	const struct tls_peer *p = tls_peer_of(ssl);
	int alert = alert_of(err);

	if (p && p->refused)
		snprintf(buf, size, "%s", p->refused);
	else if (alert >= 0)
		explain_alert(alert, buf, size);
	else if (p && p->alert_in >= 0)
		explain_alert(p->alert_in, buf, size);
	else
		explain_own(p, ssl, err, buf, size);
}

bool tls_peer_has_name(const SSL *ssl, const char *name)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);

	return cert && tls_cert_has_name(cert, name);
}

void tls_peer_names(const SSL *ssl, char *buf, size_t size)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);

	if (cert)
		tls_cert_names(cert, buf, size);
	else
		snprintf(buf, size, "no certificate");
}

void tls_explain_name(const SSL *ssl, const char *wanted, char *buf, size_t size)
{
	char names[256];

	tls_peer_names(ssl, names, sizeof(names));
	snprintf(buf, size, "name mismatch: wanted %s, certificate has %s", wanted, names);
}
