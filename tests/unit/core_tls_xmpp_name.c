/* XMPP identities in certificates, honest ones and others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/tls_xmpp_name.h"
#include "support/cert.h"

#define XMPP_ADDR "otherName:1.3.6.1.5.5.7.8.5;"
#define SRV_NAME  "otherName:1.3.6.1.5.5.7.8.7;"

static bool speaks_for(const char *san, const char *domain)
{
	struct cert c = cert_make(&(struct cert_params){ .cn = "example.com", .san = san });
	bool yes = tls_cert_has_xmpp_domain(c.x509, domain);

	cert_free(&c);
	return yes;
}

static void host_names(void **state)
{
	assert_true(speaks_for("DNS:example.com", "example.com"));
	assert_true(speaks_for("DNS:EXAMPLE.com", "Example.COM"));
	assert_true(speaks_for("DNS:a.example,DNS:b.example", "b.example"));
	assert_true(speaks_for("DNS:*.example.com", "chat.example.com"));
	assert_false(speaks_for("DNS:*.example.com", "example.com"));
	assert_false(speaks_for("DNS:*.example.com", "a.chat.example.com"));
	assert_false(speaks_for("DNS:*.com", "example.com"));
	assert_false(speaks_for("DNS:c*.example.com", "chat.example.com"));
	assert_false(speaks_for("DNS:example.com.evil.org", "example.com"));
	assert_false(speaks_for("DNS:evilexample.com", "example.com"));
	/* The common name says nothing (RFC 9525), nor do other kinds of names. */
	assert_false(speaks_for(NULL, "example.com"));
	assert_false(speaks_for("email:example.com", "example.com"));
	assert_false(speaks_for("URI:xmpp:example.com", "example.com"));
	/* Addresses are no names, and a name of digits is no address. */
	assert_false(speaks_for("DNS:192.0.2.1", "192.0.2.1"));
	assert_false(speaks_for("DNS:*.0.2.1", "192.0.2.1"));
	assert_false(speaks_for("IP:192.0.2.1", "192.0.2.1"));
	assert_false(speaks_for("DNS:example.com", ""));
}

static void service_names(void **state)
{
	assert_true(speaks_for(SRV_NAME "IA5:_xmpp-server.example.com", "example.com"));
	assert_true(speaks_for(SRV_NAME "IA5:_XMPP-Server.Example.com", "example.COM"));
	assert_true(speaks_for(SRV_NAME "IA5:_xmpps-server.example.com", "example.com"));
	assert_false(speaks_for(SRV_NAME "IA5:_xmpp-client.example.com", "example.com"));
	assert_false(speaks_for(SRV_NAME "IA5:_sip.example.com", "example.com"));
	assert_false(speaks_for(SRV_NAME "IA5:example.com", "example.com"));
	assert_false(speaks_for(SRV_NAME "IA5:_xmpp-server.a.example.com", "example.com"));
	assert_false(speaks_for(SRV_NAME "IA5:_xmpp-server.*.example.com", "a.example.com"));
	assert_false(speaks_for(SRV_NAME "IA5:_xmpp-server.", ""));
	assert_false(speaks_for(SRV_NAME "UTF8:_xmpp-server.example.com", "example.com"));
}

static void xmpp_addresses(void **state)
{
	assert_true(speaks_for(XMPP_ADDR "UTF8:example.com", "Example.com"));
	assert_true(
		speaks_for(XMPP_ADDR "UTF8:juliet@x," XMPP_ADDR "UTF8:example.com", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "UTF8:juliet@example.com", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "UTF8:example.com/balcony", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "UTF8:*.example.com", "a.example.com"));
	/* The right text in the wrong type. */
	assert_false(speaks_for(XMPP_ADDR "IA5:example.com", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "PRINTABLE:example.com", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "OCT:example.com", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "INT:7", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "BOOL:true", "example.com"));
	assert_false(speaks_for(XMPP_ADDR "NULL", "example.com"));
	/* Another kind of otherName. */
	assert_false(
		speaks_for("otherName:1.3.6.1.4.1.311.20.2.3;UTF8:example.com", "example.com"));
}

static void addresses_are_listed(void **state)
{
	struct cert c = cert_make(&(struct cert_params){
		.cn = "x",
		.san = "DNS:example.com," XMPP_ADDR "UTF8:juliet@example.com," SRV_NAME
		       "IA5:_xmpp-server.example.com," XMPP_ADDR "IA5:romeo@example.com," XMPP_ADDR
		       "UTF8:nurse@example.com" });
	char addr[64];

	assert_true(tls_cert_xmpp_addr(c.x509, 0, addr, sizeof(addr)));
	assert_string_equal(addr, "juliet@example.com");
	assert_true(tls_cert_xmpp_addr(c.x509, 1, addr, sizeof(addr)));
	assert_string_equal(addr, "");
	assert_true(tls_cert_xmpp_addr(c.x509, 2, addr, sizeof(addr)));
	assert_string_equal(addr, "nurse@example.com");
	assert_false(tls_cert_xmpp_addr(c.x509, 3, addr, sizeof(addr)));
	assert_false(tls_cert_xmpp_addr(c.x509, SIZE_MAX, addr, sizeof(addr)));
	/* At the bound, and one byte less. */
	assert_true(tls_cert_xmpp_addr(c.x509, 0, addr, 19));
	assert_string_equal(addr, "juliet@example.com");
	assert_true(tls_cert_xmpp_addr(c.x509, 0, addr, 18));
	assert_string_equal(addr, "");
	assert_true(tls_cert_xmpp_addr(c.x509, 0, addr, 1));
	assert_string_equal(addr, "");
	cert_free(&c);
	c = cert_make(&(struct cert_params){ .cn = "x" });
	assert_false(tls_cert_xmpp_addr(c.x509, 0, addr, sizeof(addr)));
	cert_free(&c);
}

/* A certificate with one otherName of these bytes. */
static struct cert with_bytes(int nid, int type, const char *bytes, size_t n)
{
	struct cert c = cert_make(&(struct cert_params){ .cn = "x" });
	GENERAL_NAMES *sans = GENERAL_NAMES_new();
	GENERAL_NAME *san = GENERAL_NAME_new();
	ASN1_TYPE *value = ASN1_TYPE_new();
	ASN1_STRING *text = ASN1_STRING_type_new(type);

	ASN1_STRING_set(text, bytes, (int)n);
	ASN1_TYPE_set(value, type, text);
	GENERAL_NAME_set0_othername(san, OBJ_nid2obj(nid), value);
	sk_GENERAL_NAME_push(sans, san);
	cert_must(X509_add1_ext_i2d(c.x509, NID_subject_alt_name, sans, 0, X509V3_ADD_DEFAULT) == 1,
		  "names");
	GENERAL_NAMES_free(sans);
	return c;
}

static void bytes_that_are_no_address(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool ok;
	} cases[] = {
		{ "", 0, false },
		{ "example.com\0.evil.org", 21, false },
		{ "example.com\0", 12, false },
		{ "\0example.com", 12, false },
		{ "r\xc3\xb6meo@x", 8, true },
		{ "\xf0\x9f\x90\xa2@x", 6, true },
		{ "\xc0\xaf@x", 4, false },	      /* overlong */
		{ "\xed\xa0\x80@x", 5, false },	      /* surrogate */
		{ "\xf4\x90\x80\x80@x", 6, false },   /* above Unicode */
		{ "\xf8\x88\x80\x80\x80", 5, false }, /* five bytes */
		{ "a@x\xc3", 4, false },	      /* cut */
		{ "a@x\xff", 4, false },
		{ "a\n@x", 4, false },
		{ "a\x7f@x", 4, false },
		{ "a\xc2\x85@x", 5, false }, /* C1 */
	};
	char addr[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cert c =
			with_bytes(NID_XmppAddr, V_ASN1_UTF8STRING, cases[i].bytes, cases[i].n);

		memset(addr, 'z', sizeof(addr));
		assert_true(tls_cert_xmpp_addr(c.x509, 0, addr, sizeof(addr)));
		assert_string_equal(addr, cases[i].ok ? cases[i].bytes : "");
		assert_false(tls_cert_has_xmpp_domain(c.x509, "example.com"));
		assert_false(tls_cert_has_xmpp_domain(c.x509, ""));
		cert_free(&c);
		c = with_bytes(NID_SRVName, V_ASN1_IA5STRING, cases[i].bytes, cases[i].n);
		assert_false(tls_cert_has_xmpp_domain(c.x509, "example.com"));
		cert_free(&c);
	}
}

static void a_nul_behind_the_domain(void **state)
{
	static const char srv[] = "_xmpp-server.example.com\0.evil.org";
	struct cert c = with_bytes(NID_SRVName, V_ASN1_IA5STRING, srv, sizeof(srv) - 1);

	assert_false(tls_cert_has_xmpp_domain(c.x509, "example.com"));
	cert_free(&c);
	c = with_bytes(NID_SRVName, V_ASN1_IA5STRING, srv, strlen(srv));
	assert_true(tls_cert_has_xmpp_domain(c.x509, "example.com"));
	cert_free(&c);
}

static void huge_names(void **state)
{
	const size_t n = 1 << 20;
	char *much = malloc(n), addr[3072];
	struct cert c;

	memset(much, 'a', n);
	c = with_bytes(NID_XmppAddr, V_ASN1_UTF8STRING, much, n);
	assert_true(tls_cert_xmpp_addr(c.x509, 0, addr, sizeof(addr)));
	assert_string_equal(addr, "");
	assert_false(tls_cert_has_xmpp_domain(c.x509, "example.com"));
	cert_free(&c);
	c = with_bytes(NID_XmppAddr, V_ASN1_UTF8STRING, much, sizeof(addr) - 1);
	assert_true(tls_cert_xmpp_addr(c.x509, 0, addr, sizeof(addr)));
	assert_int_equal(strlen(addr), sizeof(addr) - 1);
	cert_free(&c);
	free(much);
}

/* A subjectAltName that is none, and one too many. */
static void broken_extensions(void **state)
{
	struct cert c = cert_make(&(struct cert_params){ .cn = "x", .san = "DNS:example.com" });
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;
	char addr[64];

	cert_extension(c.x509, c.x509, NID_subject_alt_name, "DNS:example.org");
	assert_false(tls_cert_has_xmpp_domain(c.x509, "example.com"));
	assert_false(tls_cert_has_xmpp_domain(c.x509, "example.org"));
	cert_free(&c);
	c = cert_make(&(struct cert_params){ .cn = "x" });
	ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x30\x82\xff\xff\xa0", 5);
	e = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
	X509_add_ext(c.x509, e, -1);
	assert_false(tls_cert_has_xmpp_domain(c.x509, "example.com"));
	assert_false(tls_cert_xmpp_addr(c.x509, 0, addr, sizeof(addr)));
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(value);
	cert_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_names),
		cmocka_unit_test(service_names),
		cmocka_unit_test(xmpp_addresses),
		cmocka_unit_test(addresses_are_listed),
		cmocka_unit_test(bytes_that_are_no_address),
		cmocka_unit_test(a_nul_behind_the_domain),
		cmocka_unit_test(huge_names),
		cmocka_unit_test(broken_extensions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
