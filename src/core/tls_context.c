#include "core/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/tls_peer.h"

#define MAX_CHAIN_DEPTH 8
/* Of a peer that nobody believes yet, and parsed it is some times as much. */
#define MAX_CHAIN_BYTES 32768

/* AEAD with forward secrecy only (RFC 9325 section 4.2); TLS 1.3 has nothing else. */
#define TLS12_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

static void say(struct buf *err, const struct tls_conf *conf, const char *path, const char *what)
{
	buf_printf(err, "%s:%u: [tls %s] %s: %s\n", conf->common.file ? conf->common.file : "-",
		   conf->common.line, conf->common.name, path, what);
}

/* Says what OpenSSL said first, which is the cause, and empties its queue. */
static void say_openssl(struct buf *err, const struct tls_conf *conf, const char *path,
			const char *fallback)
{
	unsigned long code = ERR_peek_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;

	if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
		text = fallback;
	say(err, conf, path, text ? text : fallback);
	ERR_clear_error();
}

/* Without this OpenSSL would ask on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

/* -1 with the reason said. */
static int open_key(const struct tls_conf *conf, struct buf *err)
{
	struct stat st;
	int fd = open(conf->key, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		say(err, conf, conf->key, strerror(errno));
	} else if (st.st_mode & (S_IWGRP | S_IWOTH | S_IROTH)) {
		say(err, conf, conf->key,
		    "the private key may be read or changed by others: chmod 0600");
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool use_key(SSL_CTX *ctx, const struct tls_conf *conf, struct buf *err)
{
	EVP_PKEY *key = NULL;
	BIO *bio = NULL;
	bool ok = false;
	int fd = open_key(conf, err);

	if (fd < 0)
		return false;
	bio = BIO_new_fd(fd, BIO_CLOSE);
	if (!bio)
		close(fd);
	else
		key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	if (!key)
		say(err, conf, conf->key, "no unencrypted private key in PEM form");
	else if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		say_openssl(err, conf, conf->key, "does not belong to the certificate");
	else
		ok = true;
	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

static bool use_certificate(SSL_CTX *ctx, const struct tls_conf *conf, struct buf *err)
{
	if (SSL_CTX_use_certificate_chain_file(ctx, conf->certificate) == 1)
		return true;
	say_openssl(err, conf, conf->certificate, "no certificate in PEM form");
	return false;
}

/* A chain that the file leaves out is looked for in the CAs, but once: OpenSSL would do it in every
 * handshake, and read the whole folder of the system's CAs each time. */
static void complete_chain(SSL_CTX *ctx)
{
	STACK_OF(X509) *chain = NULL;

	SSL_CTX_get0_chain_certs(ctx, &chain);
	if (SSL_CTX_get0_certificate(ctx) && sk_X509_num(chain) <= 0)
		SSL_CTX_build_cert_chain(ctx, SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR |
						      SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
	SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
}

static bool use_ca(SSL_CTX *ctx, const struct tls_conf *conf, struct buf *err)
{
	if (!conf->ca) {
		SSL_CTX_set_default_verify_paths(ctx);
		return true;
	}
	if (SSL_CTX_load_verify_file(ctx, conf->ca) == 1)
		return true;
	say_openssl(err, conf, conf->ca, "no certificate in PEM form");
	return false;
}

static void set_rules(SSL_CTX *ctx, int min_version)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);

	SSL_CTX_set_min_proto_version(ctx,
				      min_version == TLS_MIN_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	/* A listener with thousands of idle phones: 15 KB instead of 64 KB each. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_cipher_list(ctx, TLS12_CIPHERS);
	/* Nothing in OpenSSL's own table: see tls_session.h. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify_depth(ctx, MAX_CHAIN_DEPTH);
	SSL_CTX_set_max_cert_list(ctx, MAX_CHAIN_BYTES);
	/* See enum tls_verify: any extended key usage, and every certificate in `ca` is an anchor.
	 */
	X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	tls_peer_prepare(ctx);
}

SSL_CTX *tls_context_new(const struct tls_conf *conf, struct buf *err)
{
	SSL_CTX *ctx;
	bool ok;

	ERR_clear_error();
	ctx = SSL_CTX_new(TLS_method());
	if (!ctx) {
		say_openssl(err, conf, "-", "out of memory");
		return NULL;
	}
	set_rules(ctx, conf->min_version);
	/* The key is compared with the certificate, so that comes first; a bad ca is told as well.
	 */
	ok = !conf->certificate || (use_certificate(ctx, conf, err) && use_key(ctx, conf, err));
	ok = use_ca(ctx, conf, err) && ok;
	if (ok)
		complete_chain(ctx);
	ERR_clear_error();
	if (ok)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

SSL_CTX *tls_context_public(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	if (ctx) {
		set_rules(ctx, TLS_MIN_1_2);
		SSL_CTX_set_default_verify_paths(ctx);
	}
	ERR_clear_error();
	return ctx;
}
