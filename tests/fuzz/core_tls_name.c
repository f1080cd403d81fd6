/* Names in certificates of anybody (DER). */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/tls_name.h"
#include "core/tls_xmpp_name.h"

#define ADDRS_LOOKED_AT 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const X509 *cert, size_t buf_bytes)
{
	char *buf = malloc(buf_bytes);

	if (!buf)
		abort();
	tls_cert_names(cert, buf, buf_bytes);
	if (strlen(buf) >= buf_bytes)
		abort();
	for (size_t i = 0; i < ADDRS_LOOKED_AT && tls_cert_xmpp_addr(cert, i, buf, buf_bytes);
	     i++) {
		if (strlen(buf) >= buf_bytes)
			abort();
		/* An address of a domain alone speaks for it. */
		if (buf[0] && !strpbrk(buf, "@/") && !tls_cert_has_xmpp_domain(cert, buf))
			abort();
	}
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	X509 *cert = d2i_X509(NULL, &data, (long)size);

	if (cert) {
		look(cert, 1);
		look(cert, 3072);
		if (tls_cert_has_xmpp_domain(cert, "") || tls_cert_has_name(cert, ""))
			abort();
		(void)tls_cert_has_xmpp_domain(cert, "chat.example.com");
		(void)tls_cert_has_name(cert, "chat.example.com");
		(void)tls_cert_has_name(cert, "192.0.2.1");
	}
	X509_free(cert);
	ERR_clear_error();
	return 0;
}
