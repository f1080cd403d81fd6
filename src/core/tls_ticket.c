#include "core/tls_ticket.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/net.h"

struct key {
	uint8_t name[16];
	uint8_t aes[32];
	uint8_t mac[32];
};

struct tls_tickets {
	struct key now, old;
	bool has_old;
	int64_t since_s;
	size_t n_refs;
};

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int ex_index = -1;

struct tls_tickets *tls_tickets_new(int64_t now_wall_s)
{
	struct tls_tickets *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	net_random(&t->now, sizeof(t->now));
	t->since_s = now_wall_s;
	t->n_refs = 1;
	return t;
}

void tls_tickets_unref(struct tls_tickets *t)
{
	if (!t || --t->n_refs > 0)
		return;
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

void tls_tickets_rotate(struct tls_tickets *t, int64_t now_wall_s)
{
	int64_t age = now_wall_s - t->since_s;

	/* A clock that was set back must not keep a key for ever. */
	if (age >= 0 && age < TLS_TICKET_KEY_S)
		return;
	t->old = t->now;
	t->has_old = age < 2 * TLS_TICKET_KEY_S;
	net_random(&t->now, sizeof(t->now));
	t->since_s = now_wall_s;
}

static int set_up(const struct key *k, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
		  int enc)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->mac,
						  sizeof(k->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv, enc) == 1 &&
	       EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* RFC 8446 appendix C.4: a client of TLS 1.3 shows each ticket once and needs another. */
static bool is_single_use(const SSL *ssl)
{
	return SSL_version(ssl) >= TLS1_3_VERSION;
}

/* 1: take it, 2: take it and give a new one, 0: no such key, -1: error. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int enc)
{
	const struct tls_tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ex_index);

	if (!t)
		return enc ? -1 : 0;
	if (enc) {
		/* See on_chain() in tls_peer.c. An empty ticket says that there is none (RFC 5077
		 * section 3.3). */
		if (SSL_get_verify_result(ssl) != X509_V_OK)
			return 0;
		memcpy(name, t->now.name, sizeof(t->now.name));
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
			return -1;
		return set_up(&t->now, iv, cipher, mac, 1) ? 1 : -1;
	}
	if (memcmp(name, t->now.name, sizeof(t->now.name)) == 0)
		return !set_up(&t->now, iv, cipher, mac, 0) ? -1 : is_single_use(ssl) ? 2 : 1;
	if (t->has_old && memcmp(name, t->old.name, sizeof(t->old.name)) == 0)
		return set_up(&t->old, iv, cipher, mac, 0) ? 2 : -1;
	return 0;
}

/* A ticket proves what the handshake that gave it proved: not longer than the certificate lasts. */
static SSL_TICKET_RETURN on_session(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
				    size_t n_name, SSL_TICKET_STATUS status, void *arg)
{
	X509 *peer;

	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	peer = SSL_SESSION_get0_peer(session);
	if (peer && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static void ctx_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	tls_tickets_unref(ptr);
}

static void make_index(void)
{
	ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, ctx_gone);
}

int tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx)
{
	pthread_once(&index_once, make_index);
	if (ex_index < 0 || SSL_CTX_set_ex_data(ctx, ex_index, t) != 1)
		return -ENOMEM;
	t->n_refs++;
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
	SSL_CTX_set_session_ticket_cb(ctx, NULL, on_session, NULL);
	/* No longer than both keys can open it. */
	SSL_CTX_set_timeout(ctx, TLS_TICKET_KEY_S);
	/* Clients use one connection after the other; a second ticket is work for nothing. */
	SSL_CTX_set_num_tickets(ctx, 1);
	return 0;
}
