#include "core/tls_name.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/slice.h"

static struct slice without_last_dot(struct slice s)
{
	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	return s;
}

/* RFC 9525 section 6.3. */
bool tls_dns_match(struct slice pattern, struct slice name)
{
	struct slice rest;
	size_t label;

	pattern = without_last_dot(pattern);
	if (pattern.n == 0 || memchr(pattern.p, '\0', pattern.n))
		return false;
	if (!slice_starts(pattern, SLICE("*.")))
		return slice_caseeq(pattern, name);
	rest = (struct slice){ pattern.p + 2, pattern.n - 2 };
	label = slice_find(name, '.');
	if (slice_find(rest, '.') == rest.n || slice_find(rest, '*') < rest.n || label == 0 ||
	    label == name.n)
		return false;
	return slice_caseeq(rest, (struct slice){ name.p + label + 1, name.n - label - 1 });
}

static struct slice asn1_slice(const ASN1_STRING *s)
{
	return (struct slice){ (const char *)ASN1_STRING_get0_data(s),
			       (size_t)ASN1_STRING_length(s) };
}

static bool ip_of(struct slice bytes, struct addr *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (bytes.n == 4) {
		memcpy(&in.sin_addr, bytes.p, 4);
		*out = addr_from_sockaddr((struct sockaddr *)&in);
	} else if (bytes.n == 16) {
		memcpy(&in6.sin6_addr, bytes.p, 16);
		*out = addr_from_sockaddr((struct sockaddr *)&in6);
	}
	return bytes.n == 4 || bytes.n == 16;
}

static bool san_match(const GENERAL_NAME *san, struct slice name, const struct addr *ip)
{
	struct addr have;

	if (ip)
		return san->type == GEN_IPADD && ip_of(asn1_slice(san->d.iPAddress), &have) &&
		       addr_ip_eq(&have, ip);
	return san->type == GEN_DNS && tls_dns_match(asn1_slice(san->d.dNSName), name);
}

bool tls_cert_has_name(const X509 *cert, const char *name)
{
	struct slice wanted = without_last_dot(slice_of(name));
	struct addr ip;
	bool is_ip = addr_parse_ip(wanted, 0, &ip);
	GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(sans); i++)
		found = san_match(sk_GENERAL_NAME_value(sans, i), wanted, is_ip ? &ip : NULL);
	GENERAL_NAMES_free(sans);
	return found;
}

static void append(char *buf, size_t size, struct slice s)
{
	size_t n = strlen(buf);

	if (n > 0 && n + 3 < size) {
		memcpy(buf + n, ", ", 3);
		n += 2;
	}
	for (size_t i = 0; i < s.n && n + 1 < size; i++)
		buf[n++] = s.p[i] > ' ' && s.p[i] < 0x7f ? s.p[i] : '?';
	buf[n] = '\0';
}

void tls_cert_names(const X509 *cert, char *buf, size_t size)
{
	GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	buf[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(sans); i++) {
		const GENERAL_NAME *san = sk_GENERAL_NAME_value(sans, i);
		char text[ADDR_STR_BYTES];
		struct addr ip;

		if (san->type == GEN_DNS)
			append(buf, size, asn1_slice(san->d.dNSName));
		else if (san->type == GEN_IPADD && ip_of(asn1_slice(san->d.iPAddress), &ip))
			append(buf, size, slice_of(addr_ip_str(&ip, text)));
	}
	GENERAL_NAMES_free(sans);
	if (buf[0] == '\0')
		snprintf(buf, size, "no names");
}
