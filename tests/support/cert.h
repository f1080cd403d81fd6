#ifndef TESTS_SUPPORT_CERT_H
#define TESTS_SUPPORT_CERT_H
/* Throw-away certificates (ECDSA P-256) made in the test's process. For one test program each. */
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct cert {
	X509 *x509;
	EVP_PKEY *key;
};

struct cert_params {
	const char *cn;
	const char *san;   /* "DNS:a.example,IP:192.0.2.1" in OpenSSL's form; NULL: none */
	const char *eku;   /* "serverAuth"; NULL: none */
	const char *ku;	   /* NULL: digitalSignature, and what a CA needs for one */
	unsigned key_bits; /* RSA; 0: ECDSA P-256 */
	bool is_ca;
	int to_seconds;		   /* on top of to_days */
	int from_days, to_days;	   /* from now; both 0: yesterday to a year from now */
	const struct cert *issuer; /* NULL: self-signed */
};

static inline void cert_must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "test certificate: %s failed\n", what);
	abort();
}

static inline void cert_extension(X509 *x, const X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, (X509 *)issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	cert_must(e && X509_add_ext(x, e, -1) == 1, value);
	X509_EXTENSION_free(e);
}

static inline struct cert cert_make(const struct cert_params *p)
{
	struct cert c = { X509_new(),
			  p->key_bits ? EVP_RSA_gen(p->key_bits) : EVP_EC_gen("P-256") };
	int to = p->from_days || p->to_days ? p->to_days : 365;
	int from = p->from_days || p->to_days ? p->from_days : -1;
	X509 *issuer = p->issuer ? p->issuer->x509 : c.x509;
	static long serial;

	cert_must(c.x509 && c.key, "key");
	X509_set_version(c.x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c.x509), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(c.x509), 86400L * from);
	X509_gmtime_adj(X509_getm_notAfter(c.x509), 86400L * to + p->to_seconds);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x509), "CN", MBSTRING_ASC,
				   (const unsigned char *)p->cn, -1, -1, 0);
	X509_set_issuer_name(c.x509, X509_get_subject_name(issuer));
	X509_set_pubkey(c.x509, c.key);
	cert_extension(c.x509, issuer, NID_basic_constraints,
		       p->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	cert_extension(c.x509, issuer, NID_key_usage,
		       p->ku	  ? p->ku
		       : p->is_ca ? "critical,keyCertSign,cRLSign"
				  : "critical,digitalSignature");
	if (p->san)
		cert_extension(c.x509, issuer, NID_subject_alt_name, p->san);
	if (p->eku)
		cert_extension(c.x509, issuer, NID_ext_key_usage, p->eku);
	cert_must(X509_sign(c.x509, p->issuer ? p->issuer->key : c.key, EVP_sha256()) > 0, "sign");
	return c;
}

static inline void cert_free(struct cert *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
}

static inline void cert_write(const struct cert *c, const char *path)
{
	FILE *f = fopen(path, "w");

	cert_must(f && PEM_write_X509(f, c->x509) == 1, path);
	fclose(f);
}

/* password NULL: not encrypted. */
static inline void cert_write_key(const struct cert *c, const char *path, const char *password)
{
	FILE *f = fopen(path, "w");

	cert_must(f && PEM_write_PKCS8PrivateKey(f, c->key, password ? EVP_aes_128_cbc() : NULL,
						 NULL, 0, NULL, (void *)password) == 1,
		  path);
	fclose(f);
	chmod(path, 0600);
}

#endif
