#include "core/tls_xmpp_name.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "base/addr.h"
#include "base/slice.h"
#include "core/tls_name.h"

#define MAX_CODE_POINT 0x10ffff

/* The bytes of an otherName of this kind, which must be of this ASN.1 type; .p NULL: it is not. */
static struct slice other_name(const GENERAL_NAME *san, int kind, int type)
{
	const OTHERNAME *o = san->type == GEN_OTHERNAME ? san->d.otherName : NULL;
	const ASN1_STRING *text;

	if (!o || OBJ_obj2nid(o->type_id) != kind || !o->value || o->value->type != type)
		return (struct slice){ 0 };
	text = o->value->value.asn1_string;
	return (struct slice){ (const char *)ASN1_STRING_get0_data(text),
			       (size_t)ASN1_STRING_length(text) };
}

/* RFC 4985 section 2: "_Service.Name". */
static bool srv_name_match(struct slice srv, struct slice domain)
{
	static const char *const services[] = { "_xmpp-server.", "_xmpps-server." };

	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		struct slice service = slice_of(services[i]);

		if (srv.n > service.n && slice_caseeq((struct slice){ srv.p, service.n }, service))
			return slice_caseeq((struct slice){ srv.p + service.n, srv.n - service.n },
					    domain);
	}
	return false;
}

/* A dNSName that looks like an address names none (RFC 9525 section 6.2). */
static bool san_match(const GENERAL_NAME *san, struct slice domain, bool is_ip)
{
	struct slice dns;

	if (san->type == GEN_DNS) {
		dns = (struct slice){ (const char *)ASN1_STRING_get0_data(san->d.dNSName),
				      (size_t)ASN1_STRING_length(san->d.dNSName) };
		return !is_ip && tls_dns_match(dns, domain);
	}
	return srv_name_match(other_name(san, NID_SRVName, V_ASN1_IA5STRING), domain) ||
	       slice_caseeq(other_name(san, NID_XmppAddr, V_ASN1_UTF8STRING), domain);
}

bool tls_cert_has_xmpp_domain(const X509 *cert, const char *domain)
{
	struct slice wanted = slice_of(domain);
	struct addr ip;
	bool is_ip = addr_parse_ip(wanted, 0, &ip), found = false;
	GENERAL_NAMES *sans;

	if (wanted.n == 0)
		return false;
	sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; !found && i < sk_GENERAL_NAME_num(sans); i++)
		found = san_match(sk_GENERAL_NAME_value(sans, i), wanted, is_ip);
	GENERAL_NAMES_free(sans);
	return found;
}

/* RFC 3629, and no control characters: no address has them, logs and frames want none. */
static bool is_printable_utf8(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned long c;

	for (size_t at = 0; at < s.n;) {
		int n = UTF8_getc(p + at, (int)(s.n - at), &c);

		if (n <= 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || c > MAX_CODE_POINT ||
		    (c >= 0xd800 && c < 0xe000))
			return false;
		at += (size_t)n;
	}
	return true;
}

static bool is_xmpp_addr(const GENERAL_NAME *san)
{
	return san->type == GEN_OTHERNAME && OBJ_obj2nid(san->d.otherName->type_id) == NID_XmppAddr;
}

bool tls_cert_xmpp_addr(const X509 *cert, size_t i, char *buf, size_t size)
{
	GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const GENERAL_NAME *found = NULL;
	struct slice text;

	for (int at = 0; !found && at < sk_GENERAL_NAME_num(sans); at++) {
		const GENERAL_NAME *san = sk_GENERAL_NAME_value(sans, at);

		if (is_xmpp_addr(san) && i-- == 0)
			found = san;
	}
	if (found) {
		buf[0] = '\0';
		text = other_name(found, NID_XmppAddr, V_ASN1_UTF8STRING);
		if (text.n < size && is_printable_utf8(text))
			slice_copy(buf, size, text);
	}
	GENERAL_NAMES_free(sans);
	return found != NULL;
}
