#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/addr.h"
#include "base/list.h"
#include "core/alarm.h"
#include "core/log.h"
#include "core/net.h"
#include "core/tls.h"
#include "core/tls_context.h"
#include "core/tls_name.h"
#include "core/tls_peer.h"
#include "core/tls_server.h"
#include "core/tls_session.h"
#include "core/tls_ticket.h"
#include "core/tls_xmpp_name.h"

#define DAY_S	      86400
#define WARN_DAYS     30
#define ERROR_DAYS    7
#define ALARM_EXPIRES "certificate-expires"
#define SYSTEM_TRUST  "the system's public CAs"

static const char *const min_versions[] = { "1.2", "1.3", NULL };

static const struct conf_row rows[] = {
	{ .key = "certificate",
	  .type = CONF_PATH,
	  .offset = offsetof(struct tls_conf, certificate),
	  .help = "PEM file with this box's certificate, followed by its chain; without it the "
		  "section only says whom to trust (`ca`)." },
	{ .key = "key",
	  .type = CONF_PATH,
	  .offset = offsetof(struct tls_conf, key),
	  .help = "PEM file with the private key, not encrypted; refused when others may read "
		  "it." },
	{ .key = "ca",
	  .type = CONF_PATH,
	  .offset = offsetof(struct tls_conf, ca),
	  .help = "PEM file with the certificates that a peer's must chain to; without it the "
		  "system's public CAs, and only for connections to others." },
	{ .key = "min-version",
	  .type = CONF_ENUM,
	  .offset = offsetof(struct tls_conf, min_version),
	  .def = "1.2",
	  .names = min_versions,
	  .help = "Lowest TLS version that is spoken." },
};

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct tls_conf *c = section;

	if (c->certificate && !c->key)
		conf_error(errors, c, "key", "a certificate needs its `key`");
	else if (c->key && !c->certificate)
		conf_error(errors, c, "certificate", "a key needs its `certificate`");
	else if (!c->certificate && !c->ca)
		conf_error(errors, c, NULL, "needs `certificate` and `key`, or at least `ca`");
}

bool tls_conf_can_serve(const struct conf_snapshot *snap, const char *name)
{
	struct slice rest = slice_of(name);

	for (struct slice w = slice_word(&rest); w.n > 0; w = slice_word(&rest)) {
		const struct tls_conf *c = NULL;
		bool found = false;

		while (!found && (c = conf_next(snap, "tls", c)))
			found = slice_eq(slice_of(c->common.name), w) && c->certificate;
		if (!found)
			return false;
	}
	return true;
}

const struct conf_section tls_conf_section = {
	.type = "tls",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct tls_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "A certificate with its key and whom it trusts; other sections name it. The files "
		"are read again on reload.",
	.check = check,
};

struct entry {
	struct list node;
	char *name;
	char *trust; /* for messages */
	bool has_ca;
	bool has_certificate;
	SSL_CTX *ctx;
	/* Tickets are good for the section that gave them alone: else a client could be led to
	 * another service of this box without a look at its certificate. Where a client's own
	 * certificate is asked for, they are good for the same kind of asking and the same `ca`
	 * alone: nothing else may count as proof. By enum tls_verify. */
	unsigned char session_context[TLS_VERIFY_ASK + 1][SSL_MAX_SID_CTX_LENGTH];
	int64_t not_before_s, not_after_s;
};

struct tls_store {
	struct list entries;
	struct log *log;
	struct alarms *alarms;
	struct tls_tickets *tickets;
	struct tls_sessions *sessions; /* of this load */
	SSL_CTX *public_ctx;	       /* made when first asked for */
};

struct tls_store *tls_store_new(struct log *log, struct alarms *alarms)
{
	struct tls_store *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	list_init(&t->entries);
	t->log = log;
	t->alarms = alarms;
	t->tickets = tls_tickets_new((int64_t)time(NULL));
	t->sessions = tls_sessions_new();
	if (t->tickets && t->sessions)
		return t;
	tls_tickets_unref(t->tickets);
	tls_sessions_unref(t->sessions);
	free(t);
	return NULL;
}

static void entry_free(struct entry *e)
{
	list_del(&e->node);
	SSL_CTX_free(e->ctx);
	free(e->name);
	free(e->trust);
	free(e);
}

static void free_all(struct list *entries)
{
	LIST_FOREACH_SAFE (it, entries) {
		entry_free(CONTAINER_OF(it, struct entry, node));
	}
}

void tls_store_free(struct tls_store *t)
{
	if (!t)
		return;
	free_all(&t->entries);
	tls_tickets_unref(t->tickets);
	tls_sessions_unref(t->sessions);
	SSL_CTX_free(t->public_ctx);
	free(t);
}

static struct entry *find_slice(const struct list *entries, struct slice name)
{
	LIST_FOREACH (it, entries) {
		struct entry *e = CONTAINER_OF(it, struct entry, node);

		if (slice_eq(slice_of(e->name), name))
			return e;
	}
	return NULL;
}

static struct entry *find(const struct list *entries, const char *name)
{
	return find_slice(entries, slice_of(name));
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* The system's CAs are read when they are needed: whether they are the same as before nobody
 * knows. */
static bool digest_trust(EVP_MD_CTX *md, const struct entry *e)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(e->ctx));
	unsigned char one[EVP_MAX_MD_SIZE];
	unsigned n = 16;

	if (!e->has_ca) {
		net_random(one, n);
		return EVP_DigestUpdate(md, one, n) == 1;
	}
	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		if (cert && (X509_digest(cert, EVP_sha256(), one, &n) != 1 ||
			     EVP_DigestUpdate(md, one, n) != 1))
			return false;
	}
	return true;
}

static bool set_session_context(struct entry *e, EVP_MD_CTX *md, enum tls_verify verify)
{
	unsigned char kind = (unsigned char)verify;

	return EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
	       EVP_DigestUpdate(md, e->name, strlen(e->name) + 1) == 1 &&
	       EVP_DigestUpdate(md, &kind, 1) == 1 &&
	       (verify == TLS_VERIFY_NONE || digest_trust(md, e)) &&
	       EVP_DigestFinal_ex(md, e->session_context[verify], NULL) == 1;
}

static int set_session_contexts(struct entry *e)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && set_session_context(e, md, TLS_VERIFY_NONE) &&
		  set_session_context(e, md, TLS_VERIFY_PEER) &&
		  set_session_context(e, md, TLS_VERIFY_ASK);

	EVP_MD_CTX_free(md);
	return ok ? 0 : -ENOMEM;
}

static int add_entry(struct tls_store *t, struct list *entries, const struct tls_conf *conf,
		     struct tls_sessions *sessions, struct buf *err)
{
	struct entry *e = calloc(1, sizeof(*e));
	X509 *cert;

	if (!e)
		return -ENOMEM;
	list_init(&e->node);
	e->name = strdup(conf->common.name);
	e->trust = strdup(conf->ca ? conf->ca : SYSTEM_TRUST);
	e->has_ca = conf->ca != NULL;
	if (!e->name || !e->trust) {
		entry_free(e);
		return -ENOMEM;
	}
	e->ctx = tls_context_new(conf, err);
	if (!e->ctx) {
		entry_free(e);
		return -EINVAL;
	}
	if (tls_tickets_use(t->tickets, e->ctx) < 0 || tls_sessions_use(sessions, e->ctx) < 0 ||
	    set_session_contexts(e) < 0) {
		entry_free(e);
		return -ENOMEM;
	}
	tls_server_prepare(e->ctx);
	cert = SSL_CTX_get0_certificate(e->ctx);
	e->has_certificate = cert;
	if (cert) {
		e->not_before_s = seconds_of(X509_get0_notBefore(cert));
		e->not_after_s = seconds_of(X509_get0_notAfter(cert));
	}
	list_add_tail(entries, &e->node);
	return 0;
}

/* Takes the new contexts; SSL objects of the old ones hold them by OpenSSL's reference count. */
static void swap(struct tls_store *t, struct list *next)
{
	LIST_FOREACH (it, &t->entries) {
		struct entry *e = CONTAINER_OF(it, struct entry, node);

		if (t->alarms && !find(next, e->name))
			alarm_clear(t->alarms, ALARM_EXPIRES, e->name);
	}
	free_all(&t->entries);
	LIST_FOREACH_SAFE (it, next) {
		list_del(it);
		list_add_tail(&t->entries, it);
	}
}

int tls_store_load(struct tls_store *t, const struct conf_snapshot *snap, struct buf *err)
{
	struct tls_sessions *sessions = tls_sessions_new();
	const void *section = NULL;
	struct list next;
	int result = 0;

	if (!sessions) {
		buf_add_str(err, "[tls]: out of memory\n");
		return -EINVAL;
	}
	list_init(&next);
	/* All of them, so that one reload shows every error. */
	while ((section = conf_next(snap, "tls", section))) {
		int error = add_entry(t, &next, section, sessions, err);

		if (error == -ENOMEM)
			buf_add_str(err, "[tls]: out of memory\n");
		if (error)
			result = -EINVAL;
	}
	if (result == 0) {
		swap(t, &next);
		tls_sessions_unref(t->sessions);
		t->sessions = sessions;
		sessions = NULL;
		/* The system's CAs may have changed as well. */
		SSL_CTX_free(t->public_ctx);
		t->public_ctx = NULL;
		tls_store_check_expiry(t, (int64_t)time(NULL));
	}
	free_all(&next);
	tls_sessions_unref(sessions);
	return result;
}

static void check_entry(struct tls_store *t, const struct entry *e, int64_t now_s)
{
	int64_t days = (e->not_after_s - now_s) / DAY_S;
	const char *todo = "install a new certificate and reload";
	enum alarm_severity severity = days < ERROR_DAYS ? ALARM_ERROR : ALARM_WARNING;

	if (!e->has_certificate)
		alarm_clear(t->alarms, ALARM_EXPIRES, e->name);
	else if (now_s > e->not_after_s)
		alarm_raise(t->alarms, ALARM_EXPIRES, e->name, ALARM_CRITICAL, todo,
			    "the certificate of [tls %s] has expired", e->name);
	else if (now_s < e->not_before_s)
		alarm_raise(t->alarms, ALARM_EXPIRES, e->name, ALARM_CRITICAL,
			    "check the clock of this box",
			    "the certificate of [tls %s] is not yet valid", e->name);
	else if (days <= WARN_DAYS)
		alarm_raise(t->alarms, ALARM_EXPIRES, e->name, severity, todo,
			    "the certificate of [tls %s] expires in %lld days", e->name,
			    (long long)days);
	else
		alarm_clear(t->alarms, ALARM_EXPIRES, e->name);
}

void tls_store_check_expiry(struct tls_store *t, int64_t now_wall_s)
{
	tls_tickets_rotate(t->tickets, now_wall_s);
	if (!t->alarms)
		return;
	LIST_FOREACH (it, &t->entries) {
		check_entry(t, CONTAINER_OF(it, struct entry, node), now_wall_s);
	}
}

static SSL *ssl_new(SSL_CTX *ctx, enum tls_verify verify, const char *wanted, const char *trust,
		    const char **why)
{
	SSL *ssl = SSL_new(ctx);

	if (ssl && tls_peer_attach(ssl, verify, wanted, trust) == 0)
		return ssl;
	SSL_free(ssl);
	ERR_clear_error();
	*why = "out of memory";
	return NULL;
}

/* The context of the one of these sections whose certificate carries the name. */
static SSL_CTX *find_named(void *arg, const char *others, const char *server_name)
{
	const struct tls_store *t = arg;
	struct slice rest = slice_of(others), word;

	while ((word = slice_word(&rest)).n > 0) {
		const struct entry *e = find_slice(&t->entries, word);

		if (e && e->has_certificate &&
		    tls_cert_has_name(SSL_CTX_get0_certificate(e->ctx), server_name))
			return e->ctx;
	}
	return NULL;
}

/* The first section of the list comes first among those that SNI chooses from. */
static bool choose_by_name(struct tls_store *t, SSL *ssl, const char *list)
{
	struct tls_peer *p = tls_peer_of(ssl);

	p->others = strdup(list);
	p->find = find_named;
	p->find_arg = t;
	return p->others != NULL;
}

SSL *tls_accept_new(struct tls_store *t, const char *name, enum tls_verify verify, const char **why)
{
	struct slice rest = slice_of(name), first = slice_word(&rest);
	const struct entry *e = find_slice(&t->entries, first);
	SSL *ssl;

	if (!e) {
		*why = "no [tls] section of that name";
		return NULL;
	}
	if (!e->has_certificate) {
		*why = "the [tls] section has no `certificate` to show";
		return NULL;
	}
	if (verify == TLS_VERIFY_PEER && !e->has_ca) {
		*why = "the [tls] section has no `ca` to check client certificates with";
		return NULL;
	}
	ssl = ssl_new(e->ctx, verify, NULL, e->trust, why);
	if (!ssl)
		return NULL;
	if (slice_word(&rest).n > 0 && !choose_by_name(t, ssl, name)) {
		SSL_free(ssl);
		*why = "out of memory";
		return NULL;
	}
	/* Tickets spare the phones' reconnects a full handshake. The other box has one certificate
	 * on many connections at once: with sessions kept here (see tls_session.h) they share it,
	 * and it need not be parsed each time. */
	if (verify == TLS_VERIFY_PEER)
		SSL_set_options(ssl, SSL_OP_NO_TICKET);
	SSL_set_session_id_context(ssl, e->session_context[verify],
				   sizeof(e->session_context[verify]));
	SSL_set_accept_state(ssl);
	return ssl;
}

static SSL *connect_new(SSL_CTX *ctx, const char *trust, const char *server_name,
			enum tls_verify verify, const char **why)
{
	SSL *ssl = ssl_new(ctx, verify, verify == TLS_VERIFY_PEER ? server_name : NULL, trust, why);
	struct addr ip;

	if (!ssl)
		return NULL;
	/* RFC 6066 section 3: no address literals in SNI. */
	if (server_name && !addr_parse_ip(slice_of(server_name), 0, &ip) &&
	    SSL_set_tlsext_host_name(ssl, server_name) != 1) {
		SSL_free(ssl);
		ERR_clear_error();
		*why = "the server's name is not fit for TLS";
		return NULL;
	}
	SSL_set_connect_state(ssl);
	return ssl;
}

SSL *tls_connect_new(struct tls_store *t, const char *name, const char *server_name,
		     enum tls_verify verify, const char **why)
{
	const struct entry *e = name ? find(&t->entries, name) : NULL;

	if (!e) {
		*why = "no [tls] section of that name";
		return NULL;
	}
	return connect_new(e->ctx, e->trust, server_name, verify, why);
}

static SSL_CTX *public_new(struct tls_store *t)
{
	SSL_CTX *ctx = tls_context_public();

	if (ctx && tls_sessions_use(t->sessions, ctx) < 0) {
		SSL_CTX_free(ctx);
		ctx = NULL;
	}
	return ctx;
}

SSL *tls_public_new(struct tls_store *t, const char *server_name, enum tls_verify verify,
		    const char **why)
{
	if (!t->public_ctx)
		t->public_ctx = public_new(t);
	if (!t->public_ctx) {
		*why = "out of memory";
		return NULL;
	}
	return connect_new(t->public_ctx, SYSTEM_TRUST, server_name, verify, why);
}

void tls_resume(SSL *ssl, const char *name, const char *server_name, const struct addr *to)
{
	struct tls_sessions *t = tls_sessions_of(ssl);
	struct tls_peer *p = tls_peer_of(ssl);
	char key[TLS_SESSION_KEY_MAX], where[ADDR_STR_BYTES];
	SSL_SESSION *session;
	int n;

	if (!t || !p || p->session_key)
		return;
	/* None of them has a blank. */
	n = snprintf(key, sizeof(key), "%s %s %s %d %d", name ? name : "",
		     server_name ? server_name : "", addr_str(to, where), (int)p->verify,
		     p->abbreviates);
	if (n < 0 || (size_t)n >= sizeof(key))
		return;
	/* Without memory it is a full handshake. */
	p->session_key = strdup(key);
	session = p->session_key ? tls_sessions_get(t, key) : NULL;
	/* Another connection to the same server may have had other names to match. */
	if (session && tls_peer_suits(p, SSL_SESSION_get0_peer(session)))
		SSL_set_session(ssl, session);
	SSL_SESSION_free(session);
	ERR_clear_error();
}

void tls_abbreviate(SSL *ssl)
{
	struct tls_peer *p = tls_peer_of(ssl);

	if (!p || SSL_get_min_proto_version(ssl) > TLS1_2_VERSION)
		return;
	if (SSL_set_max_proto_version(ssl, TLS1_2_VERSION) == 1)
		p->abbreviates = true;
}

bool tls_own_has_xmpp_domain(struct tls_store *t, const char *name, const char *domain)
{
	const struct entry *e = find(&t->entries, name);

	return e && e->has_certificate &&
	       tls_cert_has_xmpp_domain(SSL_CTX_get0_certificate(e->ctx), domain);
}
