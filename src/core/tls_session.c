#include "core/tls_session.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "core/tls_peer.h"

#define MAX_ID SSL_MAX_SSL_SESSION_ID_LENGTH

struct kept {
	struct list node; /* the newest first */
	SSL_SESSION *session;
	char key[]; /* '\0' at the end */
};

struct table {
	struct list all;
	size_t n, max;
};

struct tls_sessions {
	struct table ours;   /* by tls_peer.session_key */
	struct table served; /* by session id in hex digits */
	size_t n_refs;
};

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int ex_index = -1;

static void table_init(struct table *t, size_t max)
{
	list_init(&t->all);
	t->max = max;
}

struct tls_sessions *tls_sessions_new(void)
{
	struct tls_sessions *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	table_init(&t->ours, TLS_SESSIONS_MAX);
	table_init(&t->served, TLS_SESSIONS_SERVED_MAX);
	t->n_refs = 1;
	return t;
}

static void forget(struct table *t, struct kept *k)
{
	list_del(&k->node);
	t->n--;
	SSL_SESSION_free(k->session);
	free(k);
}

static void forget_all(struct table *t)
{
	LIST_FOREACH_SAFE (it, &t->all) {
		forget(t, CONTAINER_OF(it, struct kept, node));
	}
}

void tls_sessions_unref(struct tls_sessions *t)
{
	if (!t || --t->n_refs > 0)
		return;
	forget_all(&t->ours);
	forget_all(&t->served);
	free(t);
}

static struct kept *find(struct table *t, const char *key)
{
	LIST_FOREACH (it, &t->all) {
		struct kept *k = CONTAINER_OF(it, struct kept, node);

		if (strcmp(k->key, key) == 0)
			return k;
	}
	return NULL;
}

static bool is_good(SSL_SESSION *session)
{
	X509 *peer = SSL_SESSION_get0_peer(session);
	time_t until = (time_t)SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session);

	return SSL_SESSION_is_resumable(session) && until > time(NULL) &&
	       (!peer || X509_cmp_current_time(X509_get0_notAfter(peer)) > 0);
}

/* Secrets of sessions that are over do not stay in memory. */
static void forget_old(struct table *t)
{
	LIST_FOREACH_SAFE (it, &t->all) {
		struct kept *k = CONTAINER_OF(it, struct kept, node);

		if (!is_good(k->session))
			forget(t, k);
	}
}

static void add(struct table *t, const char *key, SSL_SESSION *session)
{
	size_t n = strlen(key) + 1;
	struct kept *k;

	forget_old(t);
	if (t->n == t->max)
		forget(t, CONTAINER_OF(t->all.prev, struct kept, node));
	k = calloc(1, sizeof(*k) + n);
	if (!k)
		return;
	/* A copy: OpenSSL spoils the session of a connection that is cut. */
	k->session = SSL_SESSION_dup(session);
	if (!k->session) {
		free(k);
		return;
	}
	memcpy(k->key, key, n);
	list_init(&k->node);
	list_add_head(&t->all, &k->node);
	t->n++;
}

static void replace(struct table *t, const char *key, SSL_SESSION *session)
{
	struct kept *k = find(t, key);

	if (k)
		forget(t, k);
	add(t, key, session);
}

static SSL_SESSION *get(struct table *t, const char *key)
{
	struct kept *k = find(t, key);

	if (k && is_good(k->session))
		return SSL_SESSION_dup(k->session);
	if (k)
		forget(t, k);
	return NULL;
}

SSL_SESSION *tls_sessions_get(struct tls_sessions *t, const char *key)
{
	return get(&t->ours, key);
}

static const char *hex_of(const unsigned char *id, size_t n, char out[2 * MAX_ID + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < n && i < MAX_ID; i++) {
		out[at++] = digits[id[i] >> 4];
		out[at++] = digits[id[i] & 15];
	}
	out[at] = '\0';
	return out;
}

/* All connections of one session of TLS 1.2 have keys of one secret. */
static void shorten(const SSL *ssl, SSL_SESSION *session)
{
	if (SSL_version(ssl) <= TLS1_2_VERSION &&
	    SSL_SESSION_get_timeout(session) > TLS_ABBREVIATED_S)
		SSL_SESSION_set_timeout(session, TLS_ABBREVIATED_S);
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	const struct tls_peer *p = tls_peer_of(ssl);
	struct tls_sessions *t = tls_sessions_of(ssl);
	bool verified = SSL_get_verify_result(ssl) == X509_V_OK;
	char id[2 * MAX_ID + 1];
	const unsigned char *bytes;
	unsigned n;

	if (!p || !t)
		return 0;
	if (SSL_is_server(ssl) ? p->verify == TLS_VERIFY_PEER : p->abbreviates)
		shorten(ssl, session);
	if (SSL_is_server(ssl)) {
		bytes = SSL_SESSION_get_id(session, &n);
		if (p->verify == TLS_VERIFY_PEER && verified)
			add(&t->served, hex_of(bytes, n, id), session); /* a new random id */
	} else if (p->session_key && SSL_SESSION_is_resumable(session) &&
		   (p->verify == TLS_VERIFY_NONE || verified)) {
		replace(&t->ours, p->session_key, session);
	}
	return 0; /* the session was not taken */
}

static SSL_SESSION *on_get_session(SSL *ssl, const unsigned char *bytes, int n, int *copy)
{
	const struct tls_peer *p = tls_peer_of(ssl);
	struct tls_sessions *t = tls_sessions_of(ssl);
	char id[2 * MAX_ID + 1];

	*copy = 0;
	if (!p || p->verify != TLS_VERIFY_PEER || !t || n <= 0 || n > MAX_ID)
		return NULL;
	return get(&t->served, hex_of(bytes, (size_t)n, id));
}

static void ctx_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	tls_sessions_unref(ptr);
}

static void make_index(void)
{
	ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, ctx_gone);
}

struct tls_sessions *tls_sessions_of(const SSL *ssl)
{
	return ex_index < 0 ? NULL : SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ex_index);
}

int tls_sessions_use(struct tls_sessions *t, SSL_CTX *ctx)
{
	pthread_once(&index_once, make_index);
	if (ex_index < 0 || SSL_CTX_set_ex_data(ctx, ex_index, t) != 1)
		return -ENOMEM;
	t->n_refs++;
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_new_session);
	SSL_CTX_sess_set_get_cb(ctx, on_get_session);
	return 0;
}
