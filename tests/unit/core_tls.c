#include "core/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>
#include <unistd.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/tls_name.h"
#include "core/tls_peer.h"
#include "core/tls_session.h"
#include "support/alloc_fail.h"
#include "support/cert.h"

#define EDGE   "edge1.example.com"
#define CLIENT "core_1.lab"

struct fixture {
	char dir[32];
	struct cert ca, other_ca;
	struct log *log;
	struct alarms *alarms;
	struct conf_store *conf;
	struct tls_store *server;
	struct tls_store *client;
	struct buf err;
};

static FILE *sink;

static void path_of(const struct fixture *f, const char *file, char out[128])
{
	snprintf(out, 128, "%s/%s", f->dir, file);
}

static void write_pair(const struct fixture *f, const char *name, const struct cert_params *p)
{
	struct cert c = cert_make(p);
	char file[64], path[128];

	snprintf(file, sizeof(file), "%s.pem", name);
	path_of(f, file, path);
	cert_write(&c, path);
	snprintf(file, sizeof(file), "%s.key", name);
	path_of(f, file, path);
	cert_write_key(&c, path, NULL);
	cert_free(&c);
}

static void write_ca(const struct fixture *f, const char *file, const struct cert *ca)
{
	char path[128];

	path_of(f, file, path);
	cert_write(ca, path);
}

/* Loads "[tls x]" with files of the fixture's folder; pair, ca or min may be NULL. */
static int load(struct fixture *f, struct tls_store *t, const char *pair, const char *ca,
		const char *min)
{
	struct conf_snapshot *snap;
	struct buf text;
	int error;

	buf_init(&text, 4096);
	buf_add_str(&text, "[tls x]\n");
	if (pair)
		buf_printf(&text, "certificate = %s/%s.pem\nkey = %s/%s.key\n", f->dir, pair,
			   f->dir, pair);
	if (ca)
		buf_printf(&text, "ca = %s/%s\n", f->dir, ca);
	if (min)
		buf_printf(&text, "min-version = %s\n", min);
	buf_reset(&f->err);
	if (text.failed) {
		buf_fini(&text);
		return -ENOMEM;
	}
	snap = conf_parse(f->conf, "test.ini", buf_slice(&text), CONF_ROLE_E, &f->err);
	if (!snap) {
		buf_fini(&text);
		if (!alloc_fail_hit())
			fail_msg("%s", f->err.p);
		return -ENOMEM;
	}
	error = tls_store_load(t, snap, &f->err);
	conf_unref(snap);
	buf_fini(&text);
	return error;
}

static int setup(void **state)
{
	static const struct conf_section *const schema[] = { &tls_conf_section };
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/tp-tls-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	buf_init(&f->err, 65536);
	f->log = log_new(sink, LOG_LEVEL_ERROR);
	f->alarms = alarms_new(f->log);
	f->conf = conf_store_new(schema, 1);
	f->server = tls_store_new(f->log, f->alarms);
	f->client = tls_store_new(f->log, NULL);
	f->ca = cert_make(&(struct cert_params){ .cn = "Pair CA", .is_ca = true });
	f->other_ca = cert_make(&(struct cert_params){ .cn = "Other CA", .is_ca = true });
	write_ca(f, "ca.pem", &f->ca);
	write_ca(f, "other.pem", &f->other_ca);
	write_pair(f, "edge",
		   &(struct cert_params){
			   .cn = "edge", .san = "DNS:" EDGE ",IP:192.0.2.1", .issuer = &f->ca });
	write_pair(f, "core",
		   &(struct cert_params){ .cn = "core", .san = "DNS:" CLIENT, .issuer = &f->ca });
	assert_int_equal(load(f, f->server, "edge", "ca.pem", NULL), 0);
	assert_int_equal(load(f, f->client, "core", "ca.pem", NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[64];

	tls_store_free(f->server);
	tls_store_free(f->client);
	alarms_free(f->alarms);
	log_free(f->log);
	conf_store_free(f->conf);
	cert_free(&f->ca);
	cert_free(&f->other_ca);
	buf_fini(&f->err);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Two SSL objects talking through memory. */
struct talk {
	SSL *client, *server;
	bool client_done, server_done;
	bool client_failed, server_failed;
	char client_why[512], server_why[512];
};

static void connect_pair(struct talk *t)
{
	BIO *a, *b;

	assert_non_null(t->client);
	assert_non_null(t->server);
	assert_int_equal(BIO_new_bio_pair(&a, 65536, &b, 65536), 1);
	SSL_set_bio(t->client, a, a);
	SSL_set_bio(t->server, b, b);
}

/* One try; false when nothing more is to come of this side. */
static void step(SSL *ssl, bool *done, bool *failed, char why[512])
{
	char byte;
	int ret;

	if (*failed)
		return;
	ERR_clear_error();
	ret = *done ? SSL_read(ssl, &byte, 1) : SSL_do_handshake(ssl);
	if (ret > 0) {
		*done = true;
		return;
	}
	if (SSL_get_error(ssl, ret) == SSL_ERROR_WANT_READ)
		return;
	*failed = true;
	tls_explain(ssl, ERR_peek_error(), why, 512);
	ERR_clear_error();
}

static void shake(struct talk *t)
{
	connect_pair(t);
	/* After the handshakes some rounds more: with TLS 1.3 alerts and tickets come late. */
	for (int i = 0; i < 12; i++) {
		step(t->client, &t->client_done, &t->client_failed, t->client_why);
		step(t->server, &t->server_done, &t->server_failed, t->server_why);
	}
}

static void talk_end(struct talk *t)
{
	SSL_free(t->client);
	SSL_free(t->server);
}

static void new_talk(struct fixture *f, struct talk *t, const char *name, enum tls_verify server)
{
	const char *why = NULL;

	*t = (struct talk){ 0 };
	t->client = tls_connect_new(f->client, "x", name, TLS_VERIFY_PEER, &why);
	t->server = tls_accept_new(f->server, "x", server, &why);
}

static void assert_works(struct fixture *f, const char *name)
{
	struct talk t;

	new_talk(f, &t, name, TLS_VERIFY_PEER);
	shake(&t);
	if (t.client_failed || t.server_failed)
		fail_msg("client: %s; server: %s", t.client_why, t.server_why);
	assert_true(t.client_done && t.server_done);
	talk_end(&t);
}

static void assert_fails(struct fixture *f, const char *name, const char *client,
			 const char *server)
{
	struct talk t;

	new_talk(f, &t, name, TLS_VERIFY_PEER);
	shake(&t);
	assert_true(t.client_failed && t.server_failed);
	assert_string_equal(t.client_why, client);
	assert_string_equal(t.server_why, server);
	talk_end(&t);
}

static const char *day(int days_from_now)
{
	static char text[16];
	time_t at = time(NULL) + 86400L * days_from_now;
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d", &tm);
	return text;
}

static void both_sides_verified(void **state)
{
	struct fixture *f = *state;
	struct talk t;
	char names[64];

	new_talk(f, &t, EDGE, TLS_VERIFY_PEER);
	shake(&t);
	assert_true(t.client_done && t.server_done && !t.client_failed && !t.server_failed);
	assert_string_equal(SSL_get_version(t.client), "TLSv1.3");
	assert_true(tls_peer_has_name(t.server, CLIENT));
	assert_false(tls_peer_has_name(t.server, "core-1.lab"));
	tls_peer_names(t.server, names, sizeof(names));
	assert_string_equal(names, CLIENT);
	tls_peer_names(t.client, names, sizeof(names));
	assert_string_equal(names, EDGE ", 192.0.2.1");
	tls_explain_name(t.server, "core2.lab", names, sizeof(names));
	assert_string_equal(names, "name mismatch: wanted core2.lab, certificate has " CLIENT);
	tls_explain(t.client, 0, names, sizeof(names));
	assert_string_equal(names, "no TLS error");
	talk_end(&t);
}

static void tls_1_2_works_too(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	new_talk(f, &t, EDGE, TLS_VERIFY_PEER);
	SSL_set_max_proto_version(t.client, TLS1_2_VERSION);
	shake(&t);
	assert_true(t.client_done && t.server_done && !t.client_failed && !t.server_failed);
	assert_string_equal(SSL_get_version(t.client), "TLSv1.2");
	talk_end(&t);
}

static void an_address_matches_an_address_san(void **state)
{
	struct fixture *f = *state;

	assert_works(f, "192.0.2.1");
	assert_fails(f, "192.0.2.2",
		     "name mismatch: wanted 192.0.2.2, certificate has " EDGE ", 192.0.2.1",
		     "peer refused: alert bad certificate (our certificate does not carry the name "
		     "it wants, or is damaged)");
}

static void a_wrong_name_is_told_with_both_names(void **state)
{
	struct fixture *f = *state;

	write_pair(f, "two",
		   &(struct cert_params){
			   .cn = EDGE, .san = "DNS:edge2.example.com", .issuer = &f->ca });
	assert_int_equal(load(f, f->server, "two", "ca.pem", NULL), 0);
	assert_fails(f, EDGE, "name mismatch: wanted " EDGE ", certificate has edge2.example.com",
		     "peer refused: alert bad certificate (our certificate does not carry the name "
		     "it wants, or is damaged)");
}

static void the_common_name_does_not_count(void **state)
{
	struct fixture *f = *state;

	write_pair(f, "cn", &(struct cert_params){ .cn = EDGE, .issuer = &f->ca });
	assert_int_equal(load(f, f->server, "cn", "ca.pem", NULL), 0);
	assert_fails(f, EDGE, "name mismatch: wanted " EDGE ", certificate has no names",
		     "peer refused: alert bad certificate (our certificate does not carry the name "
		     "it wants, or is damaged)");
}

static void an_expired_server_is_told_with_the_day(void **state)
{
	struct fixture *f = *state;
	char why[128];

	write_pair(f, "old",
		   &(struct cert_params){ .cn = "old",
					  .san = "DNS:" EDGE,
					  .issuer = &f->ca,
					  .from_days = -30,
					  .to_days = -3 });
	assert_int_equal(load(f, f->server, "old", "ca.pem", NULL), 0);
	snprintf(why, sizeof(why), "peer certificate expired on %s (" EDGE ")", day(-3));
	assert_fails(f, EDGE, why,
		     "peer refused: alert certificate expired (our certificate has expired, or a "
		     "clock is wrong)");
}

static void a_certificate_of_the_future_is_told_with_the_day(void **state)
{
	struct fixture *f = *state;
	char why[128];

	write_pair(f, "new",
		   &(struct cert_params){ .cn = "new",
					  .san = "DNS:" EDGE,
					  .issuer = &f->ca,
					  .from_days = 3,
					  .to_days = 30 });
	assert_int_equal(load(f, f->server, "new", "ca.pem", NULL), 0);
	snprintf(why, sizeof(why), "peer certificate is not valid before %s (" EDGE ")", day(3));
	assert_fails(f, EDGE, why,
		     "peer refused: alert bad certificate (our certificate does not carry the name "
		     "it wants, or is damaged)");
}

static void an_unknown_ca_is_told_with_the_file(void **state)
{
	struct fixture *f = *state;
	char why[256];

	write_pair(f, "stranger",
		   &(struct cert_params){
			   .cn = "stranger", .san = "DNS:" EDGE, .issuer = &f->other_ca });
	assert_int_equal(load(f, f->server, "stranger", "ca.pem", NULL), 0);
	snprintf(why, sizeof(why),
		 "peer certificate not signed by %s/ca.pem (" EDGE ", issued by CN=Other CA)",
		 f->dir);
	assert_fails(f, EDGE, why,
		     "peer refused: alert unknown CA (it does not trust the issuer of our "
		     "certificate)");
}

static void a_self_signed_certificate_is_told(void **state)
{
	struct fixture *f = *state;
	char why[256];

	write_pair(f, "self", &(struct cert_params){ .cn = "self", .san = "DNS:" EDGE });
	assert_int_equal(load(f, f->server, "self", "ca.pem", NULL), 0);
	snprintf(why, sizeof(why),
		 "peer certificate is self-signed and not in %s/ca.pem (" EDGE ")", f->dir);
	assert_fails(f, EDGE, why,
		     "peer refused: alert unknown CA (it does not trust the issuer of our "
		     "certificate)");
	/* Pinned itself, it is as good as signed. */
	assert_int_equal(load(f, f->client, "core", "self.pem", NULL), 0);
	assert_works(f, EDGE);
}

static void the_client_learns_of_its_refusal_after_its_handshake(void **state)
{
	struct fixture *f = *state;
	struct talk t;
	char why[128];

	write_pair(f, "old",
		   &(struct cert_params){ .cn = "old",
					  .san = "DNS:" CLIENT,
					  .issuer = &f->ca,
					  .from_days = -30,
					  .to_days = -3 });
	assert_int_equal(load(f, f->client, "old", "ca.pem", NULL), 0);
	new_talk(f, &t, EDGE, TLS_VERIFY_PEER);
	shake(&t);
	assert_string_equal(SSL_get_version(t.client), "TLSv1.3");
	assert_true(t.client_done && t.client_failed);
	assert_string_equal(t.client_why, "peer refused: alert certificate expired (our "
					  "certificate has expired, or a clock is wrong)");
	snprintf(why, sizeof(why), "peer certificate expired on %s (" CLIENT ")", day(-3));
	assert_string_equal(t.server_why, why);
	/* Also when the caller lost the error code. */
	tls_explain(t.client, 0, why, sizeof(why));
	assert_string_equal(why, t.client_why);
	talk_end(&t);
}

static void a_client_of_another_ca_is_refused(void **state)
{
	struct fixture *f = *state;
	char why[256];

	write_pair(f, "stranger",
		   &(struct cert_params){
			   .cn = "stranger", .san = "DNS:" CLIENT, .issuer = &f->other_ca });
	assert_int_equal(load(f, f->client, "stranger", "ca.pem", NULL), 0);
	snprintf(why, sizeof(why),
		 "peer certificate not signed by %s/ca.pem (" CLIENT ", issued by CN=Other CA)",
		 f->dir);
	assert_fails(f, EDGE,
		     "peer refused: alert unknown CA (it does not trust the issuer of our "
		     "certificate)",
		     why);
}

static void no_client_certificate(void **state)
{
	struct fixture *f = *state;
	char why[256];

	snprintf(why, sizeof(why), "peer sent no certificate (one signed by %s/ca.pem is wanted)",
		 f->dir);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct talk t;

		new_talk(f, &t, EDGE, TLS_VERIFY_PEER);
		SSL_set_max_proto_version(t.client, version);
		SSL_certs_clear(t.client);
		shake(&t);
		assert_true(t.client_failed && t.server_failed);
		assert_string_equal(t.server_why, why);
		assert_string_equal(t.client_why, version == TLS1_3_VERSION
							  ? "peer refused: alert certificate "
							    "required (it wants a certificate "
							    "from us)"
							  : "peer refused: alert handshake failure "
							    "(no cipher in common, or no "
							    "certificate that suits it)");
		talk_end(&t);
	}
}

static void an_ordinary_server_asks_for_none(void **state)
{
	struct fixture *f = *state;
	struct talk t;
	char names[64];

	new_talk(f, &t, EDGE, TLS_VERIFY_NONE);
	SSL_certs_clear(t.client);
	shake(&t);
	assert_true(t.client_done && t.server_done && !t.client_failed && !t.server_failed);
	tls_peer_names(t.server, names, sizeof(names));
	assert_string_equal(names, "no certificate");
	assert_false(tls_peer_has_name(t.server, CLIENT));
	talk_end(&t);
}

static void the_extended_key_usage_does_not_matter(void **state)
{
	struct fixture *f = *state;

	write_pair(
		f, "su",
		&(struct cert_params){
			.cn = "su", .san = "DNS:" CLIENT, .eku = "serverAuth", .issuer = &f->ca });
	write_pair(f, "cu",
		   &(struct cert_params){
			   .cn = "cu", .san = "DNS:" EDGE, .eku = "clientAuth", .issuer = &f->ca });
	assert_int_equal(load(f, f->client, "su", "ca.pem", NULL), 0);
	assert_int_equal(load(f, f->server, "cu", "ca.pem", NULL), 0);
	assert_works(f, EDGE);
}

static void an_issuer_that_is_no_ca_does_not_count(void **state)
{
	struct fixture *f = *state;
	struct cert leaf = cert_make(
		&(struct cert_params){ .cn = "leaf", .san = "DNS:evil", .issuer = &f->ca });
	struct cert forged =
		cert_make(&(struct cert_params){ .cn = "f", .san = "DNS:" EDGE, .issuer = &leaf });
	char path[128];
	struct talk t;
	FILE *out;

	path_of(f, "forged.pem", path);
	cert_write(&forged, path);
	out = fopen(path, "a");
	PEM_write_X509(out, leaf.x509);
	fclose(out);
	path_of(f, "forged.key", path);
	cert_write_key(&forged, path, NULL);
	assert_int_equal(load(f, f->server, "forged", "ca.pem", NULL), 0);
	new_talk(f, &t, EDGE, TLS_VERIFY_PEER);
	shake(&t);
	assert_true(t.client_failed);
	assert_non_null(strstr(t.client_why, "invalid CA certificate"));
	talk_end(&t);
	cert_free(&leaf);
	cert_free(&forged);
}

static void versions_below_the_minimum_are_refused(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	assert_int_equal(load(f, f->server, "edge", "ca.pem", "1.3"), 0);
	new_talk(f, &t, EDGE, TLS_VERIFY_PEER);
	SSL_set_max_proto_version(t.client, TLS1_2_VERSION);
	shake(&t);
	assert_string_equal(t.server_why, "peer's TLS version is below our min-version");
	assert_string_equal(t.client_why,
			    "peer refused: alert protocol version (no TLS version in common)");
	talk_end(&t);
	assert_works(f, EDGE);
	assert_int_equal(load(f, f->server, "edge", "ca.pem", NULL), 0);
	new_talk(f, &t, EDGE, TLS_VERIFY_PEER);
	SSL_set_security_level(t.client, 0);
	SSL_set_min_proto_version(t.client, TLS1_VERSION);
	SSL_set_max_proto_version(t.client, TLS1_1_VERSION);
	SSL_set_cipher_list(t.client, "ALL:@SECLEVEL=0");
	shake(&t);
	assert_true(t.server_failed);
	assert_string_equal(t.server_why, "peer's TLS version is below our min-version");
	talk_end(&t);
}

static void explain_bytes(struct fixture *f, const char *bytes, const char *expected)
{
	const char *why;
	SSL *ssl = tls_accept_new(f->server, "x", TLS_VERIFY_NONE, &why);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	char text[256];

	BIO_write(in, bytes, (int)strlen(bytes));
	SSL_set_bio(ssl, in, out);
	ERR_clear_error();
	assert_int_not_equal(SSL_do_handshake(ssl), 1);
	tls_explain(ssl, ERR_peek_error(), text, sizeof(text));
	assert_string_equal(text, expected);
	ERR_clear_error();
	SSL_free(ssl);
}

static void peers_that_speak_something_else(void **state)
{
	struct fixture *f = *state;

	explain_bytes(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "peer speaks plain HTTP, not TLS");
	explain_bytes(f, "REGISTER sip:example.com SIP/2.0\r\n", "peer does not speak TLS here");
	explain_bytes(f, "",
		      "handshake not finished: the peer closed the connection or fell silent");
}

static void say(SSL *from, SSL *to, const char *text)
{
	char got[32] = { 0 };

	assert_int_equal(SSL_write(from, text, (int)strlen(text)), (int)strlen(text));
	assert_int_equal(SSL_read(to, got, sizeof(got) - 1), (int)strlen(text));
	assert_string_equal(got, text);
}

static void a_swap_serves_new_handshakes_and_spares_old_connections(void **state)
{
	struct fixture *f = *state;
	struct talk old, fresh;
	char names[64];

	new_talk(f, &old, EDGE, TLS_VERIFY_PEER);
	shake(&old);
	/* The same section and the same file names: only the files changed. */
	write_pair(f, "edge",
		   &(struct cert_params){
			   .cn = "edge", .san = "DNS:" EDGE ",DNS:second", .issuer = &f->ca });
	assert_int_equal(load(f, f->server, "edge", "ca.pem", NULL), 0);
	new_talk(f, &fresh, EDGE, TLS_VERIFY_PEER);
	shake(&fresh);
	tls_peer_names(fresh.client, names, sizeof(names));
	assert_string_equal(names, EDGE ", second");
	tls_peer_names(old.client, names, sizeof(names));
	assert_string_equal(names, EDGE ", 192.0.2.1");
	say(old.client, old.server, "still here");
	say(old.server, old.client, "me too");
	talk_end(&old);
	talk_end(&fresh);
}

static void assert_refused(struct fixture *f, const char *pair, const char *ca, const char *reason)
{
	assert_int_equal(load(f, f->server, pair, ca, NULL), -EINVAL);
	assert_non_null(f->err.p);
	if (!strstr(f->err.p, reason))
		fail_msg("%s", f->err.p);
	assert_non_null(strstr(f->err.p, "test.ini:1: [tls x] "));
	/* The old one is in force. */
	assert_works(f, EDGE);
}

static void bad_files_are_refused_and_the_old_ones_kept(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct cert c = cert_make(&(struct cert_params){ .cn = "c", .issuer = &f->ca });
	FILE *out;

	write_pair(f, "mixed", &(struct cert_params){ .cn = "m", .issuer = &f->ca });
	path_of(f, "mixed.key", path);
	cert_write_key(&c, path, NULL);
	assert_refused(f, "mixed", "ca.pem", "mixed.key: key values mismatch");
	cert_write_key(&c, path, "secret");
	assert_refused(f, "mixed", "ca.pem", "mixed.key: no unencrypted private key in PEM form");
	out = fopen(path, "w");
	fputs("nothing\n", out);
	fclose(out);
	assert_refused(f, "mixed", "ca.pem", "mixed.key: no unencrypted private key in PEM form");
	path_of(f, "mixed.pem", path);
	out = fopen(path, "w");
	fputs("nothing\n", out);
	fclose(out);
	assert_refused(f, "mixed", "ca.pem", "mixed.pem: no certificate in PEM form");
	assert_refused(f, "core", "mixed.pem", "mixed.pem: no certificate");
	cert_free(&c);
}

static void keys_that_others_can_reach_are_refused(void **state)
{
	static const struct {
		mode_t mode;
		bool ok;
	} modes[] = { { 0600, true },  { 0400, true },	{ 0640, true }, { 0660, false },
		      { 0644, false }, { 0602, false }, { 0604, false } };
	struct fixture *f = *state;
	char path[128];

	path_of(f, "edge.key", path);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(path, modes[i].mode), 0);
		if (modes[i].ok)
			assert_int_equal(load(f, f->server, "edge", "ca.pem", NULL), 0);
		else
			assert_refused(f, "edge", "ca.pem",
				       "edge.key: the private key may be read or changed by "
				       "others: chmod 0600");
	}
}

static void what_does_not_exist_is_said(void **state)
{
	struct fixture *f = *state;
	const char *why = NULL;

	assert_null(tls_accept_new(f->server, "y", TLS_VERIFY_NONE, &why));
	assert_string_equal(why, "no [tls] section of that name");
	assert_null(tls_connect_new(f->server, NULL, "z", TLS_VERIFY_NONE, &why));
	assert_int_equal(load(f, f->server, "edge", NULL, NULL), 0);
	assert_null(tls_accept_new(f->server, "x", TLS_VERIFY_PEER, &why));
	assert_string_equal(why, "the [tls] section has no `ca` to check client certificates with");
}

/* A section that only says whom to trust connects, shows nothing, and cannot serve. */
static void trust_alone(void **state)
{
	static const char *const bad[] = {
		"[tls x]\n",
		"[tls x]\nca = %s/ca.pem\ncertificate = %s/edge.pem\n",
		"[tls x]\nca = %s/ca.pem\nkey = %s/edge.key\n",
	};
	struct fixture *f = *state;
	const char *why = NULL;
	char text[512];
	struct talk t;

	assert_int_equal(load(f, f->client, NULL, "ca.pem", NULL), 0);
	assert_null(tls_accept_new(f->client, "x", TLS_VERIFY_NONE, &why));
	assert_string_equal(why, "the [tls] section has no `certificate` to show");
	new_talk(f, &t, EDGE, TLS_VERIFY_NONE);
	shake(&t);
	assert_true(t.client_done && t.server_done);
	talk_end(&t);
	for (size_t i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), bad[i], f->dir, f->dir);
		buf_reset(&f->err);
		assert_null(conf_parse(f->conf, "test.ini", slice_of(text), CONF_ROLE_E, &f->err));
		assert_non_null(strstr(f->err.p, "need"));
	}
}

static size_t n_tickets;

static int count_session(SSL *ssl, SSL_SESSION *session)
{
	n_tickets++;
	return 0;
}

/* A full handshake; the session that the client got. */
static SSL_SESSION *first_session(struct fixture *f, enum tls_verify verify, int version)
{
	SSL_SESSION *session;
	struct talk t;

	new_talk(f, &t, EDGE, verify);
	SSL_set_max_proto_version(t.client, version);
	SSL_CTX_sess_set_new_cb(SSL_get_SSL_CTX(t.client), count_session);
	n_tickets = 0;
	shake(&t);
	assert_true(t.client_done && !t.client_failed && !t.server_failed);
	assert_int_equal(SSL_session_reused(t.server), 0);
	session = SSL_get1_session(t.client);
	assert_true(n_tickets == 1 && SSL_SESSION_is_resumable(session));
	/* OpenSSL spoils the session of a connection that was not closed. */
	SSL_set_shutdown(t.client, SSL_SENT_SHUTDOWN);
	talk_end(&t);
	return session;
}

/* Does the server take the session? When it does, it knows the client as before. */
static bool resumes(struct fixture *f, enum tls_verify verify, int version, SSL_SESSION *session)
{
	/* OpenSSL uses one up with TLS 1.3. */
	SSL_SESSION *copy = SSL_SESSION_dup(session);
	const char *why;
	struct talk t;
	bool reused;

	new_talk(f, &t, EDGE, verify);
	SSL_set_max_proto_version(t.client, version);
	SSL_set_session(t.client, copy);
	SSL_SESSION_free(copy);
	shake(&t);
	reused = SSL_session_reused(t.server);
	assert_int_equal(SSL_session_reused(t.client), reused);
	if (reused) {
		assert_false(t.client_failed || t.server_failed);
		assert_int_equal(tls_peer_has_name(t.server, CLIENT), verify != TLS_VERIFY_NONE);
		assert_int_equal(tls_peer_verified(t.server, &why), verify != TLS_VERIFY_NONE);
		assert_true(tls_peer_has_name(t.client, EDGE));
		assert_true(tls_peer_verified(t.client, &why));
	}
	SSL_set_shutdown(t.client, SSL_SENT_SHUTDOWN);
	talk_end(&t);
	return reused;
}

static void sessions_prove_what_was_proved_for_them(void **state)
{
	struct fixture *f = *state;

	for (int verify = TLS_VERIFY_NONE; verify <= TLS_VERIFY_ASK; verify++) {
		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			SSL_SESSION *session;

			assert_int_equal(load(f, f->server, "edge", "ca.pem", NULL), 0);
			session = first_session(f, (enum tls_verify)verify, version);
			for (int other = TLS_VERIFY_NONE; other <= TLS_VERIFY_ASK; other++)
				assert_int_equal(
					resumes(f, (enum tls_verify)other, version, session),
					other == verify);
			/* A reload costs those who come with tickets nothing, as long as the same
			 * ones are trusted. */
			assert_int_equal(load(f, f->server, "edge", "ca.pem", NULL), 0);
			assert_int_equal(resumes(f, (enum tls_verify)verify, version, session),
					 verify != TLS_VERIFY_PEER);
			assert_int_equal(load(f, f->server, "edge", "other.pem", NULL), 0);
			assert_int_equal(resumes(f, (enum tls_verify)verify, version, session),
					 verify == TLS_VERIFY_NONE);
			SSL_SESSION_free(session);
		}
	}
}

/* A session whose certificate was believed for one name proves nothing for another. */
static void sessions_are_good_for_their_names(void **state)
{
	struct fixture *f = *state;
	struct addr to = { 0 };
	const char *why;

	assert_true(addr_parse_ip(SLICE("192.0.2.1"), 5269, &to));
	for (int i = 0; i < 3; i++) {
		struct talk t = { 0 };

		t.client = tls_connect_new(f->client, "x", "im.lab", TLS_VERIFY_PEER, &why);
		t.server = tls_accept_new(f->server, "x", TLS_VERIFY_PEER, &why);
		if (i < 2)
			assert_int_equal(tls_also_accept(t.client, EDGE), 0);
		tls_resume(t.client, "x", "im.lab", &to);
		shake(&t);
		assert_int_equal(t.client_failed, i == 2);
		assert_int_equal(SSL_session_reused(t.client), i == 1);
		talk_end(&t);
	}
}

/* The second of two connections. */
static void abbreviated(struct fixture *f, int version)
{
	struct addr to = { 0 };
	const char *why;

	assert_true(addr_parse_ip(SLICE("192.0.2.1"), 7400, &to));
	for (int i = 0; i < 2; i++) {
		struct talk t = { 0 };
		SSL_SESSION *session;

		t.client = tls_connect_new(f->client, "x", EDGE, TLS_VERIFY_PEER, &why);
		t.server = tls_accept_new(f->server, "x", TLS_VERIFY_PEER, &why);
		tls_abbreviate(t.client);
		tls_resume(t.client, "x", EDGE, &to);
		shake(&t);
		assert_true(t.client_done && t.server_done);
		assert_int_equal(SSL_version(t.client), version);
		assert_int_equal(SSL_session_reused(t.server), i == 1);
		/* RFC 7627: else the secret of one session could be made that of another. */
		if (version == TLS1_2_VERSION)
			assert_int_equal(SSL_get_extms_support(t.server), 1);
		session = SSL_get_session(t.server);
		assert_int_equal(SSL_SESSION_get_timeout(session) <= TLS_ABBREVIATED_S,
				 version == TLS1_2_VERSION);
		assert_true(tls_peer_has_name(t.server, CLIENT));
		talk_end(&t);
	}
}

static void sessions_are_resumed_in_short(void **state)
{
	struct fixture *f = *state;

	abbreviated(f, TLS1_2_VERSION);
	/* New contexts, new sessions; and what the administrator demands. */
	assert_int_equal(load(f, f->client, "core", "ca.pem", "1.3"), 0);
	abbreviated(f, TLS1_3_VERSION);
}

/* A session of TLS 1.2 is not kept longer than it may be used, whichever side keeps it. */
static void short_sessions_are_short(void **state)
{
	struct fixture *f = *state;
	struct addr to = { 0 };
	const char *why, *where = "x " EDGE " 192.0.2.1:7400 1 1";
	struct talk t = { 0 };
	SSL_SESSION *kept;

	assert_true(addr_parse_ip(SLICE("192.0.2.1"), 7400, &to));
	t.client = tls_connect_new(f->client, "x", EDGE, TLS_VERIFY_PEER, &why);
	t.server = tls_accept_new(f->server, "x", TLS_VERIFY_PEER, &why);
	tls_abbreviate(t.client);
	tls_resume(t.client, "x", EDGE, &to);
	shake(&t);
	assert_string_equal(tls_peer_of(t.client)->session_key, where);
	kept = tls_sessions_get(tls_sessions_of(t.client), where);
	assert_non_null(kept);
	assert_true(SSL_SESSION_get_timeout(kept) <= TLS_ABBREVIATED_S);
	SSL_SESSION_free(kept);
	talk_end(&t);
}

static void sessions_do_not_outlive_the_certificate(void **state)
{
	struct fixture *f = *state;
	SSL_SESSION *session;
	time_t end;

	write_pair(f, "brief",
		   &(struct cert_params){ .cn = "brief",
					  .san = "DNS:" CLIENT,
					  .issuer = &f->ca,
					  .from_days = -1,
					  .to_seconds = 2 });
	assert_int_equal(load(f, f->client, "brief", "ca.pem", NULL), 0);
	end = time(NULL) + 2;
	session = first_session(f, TLS_VERIFY_ASK, TLS1_3_VERSION);
	assert_true(resumes(f, TLS_VERIFY_ASK, TLS1_3_VERSION, session));
	while (time(NULL) <= end)
		usleep(20000);
	assert_false(resumes(f, TLS_VERIFY_ASK, TLS1_3_VERSION, session));
	SSL_SESSION_free(session);
}

static void who_was_not_believed_gets_no_ticket(void **state)
{
	struct fixture *f = *state;

	write_pair(f, "stranger",
		   &(struct cert_params){
			   .cn = "stranger", .san = "DNS:" CLIENT, .issuer = &f->other_ca });
	assert_int_equal(load(f, f->client, "stranger", "ca.pem", NULL), 0);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_SESSION *session;
		struct talk t;

		new_talk(f, &t, EDGE, TLS_VERIFY_ASK);
		SSL_set_max_proto_version(t.client, version);
		shake(&t);
		assert_true(t.client_done && !t.client_failed && !t.server_failed);
		session = SSL_get1_session(t.client);
		assert_false(SSL_SESSION_has_ticket(session));
		SSL_SESSION_free(session);
		talk_end(&t);
	}
}

/* What tls_peer_verified() says of a client with this certificate; NULL: it is verified. */
static const char *verdict(struct fixture *f, const struct cert_params *p)
{
	static char text[512];
	const char *why = NULL;
	bool verified;
	struct talk t;

	if (p) {
		write_pair(f, "asked", p);
		assert_int_equal(load(f, f->client, "asked", "ca.pem", NULL), 0);
	}
	new_talk(f, &t, EDGE, TLS_VERIFY_ASK);
	if (!p)
		SSL_certs_clear(t.client);
	shake(&t);
	assert_true(t.client_done && t.server_done && !t.client_failed && !t.server_failed);
	verified = tls_peer_verified(t.server, &why);
	snprintf(text, sizeof(text), "%s", why);
	if (p)
		assert_true(tls_peer_has_name(t.server, CLIENT));
	assert_int_equal(tls_peer_expires_s(t.server) != 0, p != NULL);
	assert_string_equal(tls_server_name(t.server), EDGE);
	talk_end(&t);
	return verified ? NULL : text;
}

static void who_is_only_asked_is_told_about(void **state)
{
	static const char wrong_use[] =
		"peer certificate refused: unsuitable certificate purpose (" CLIENT ")";
	struct fixture *f = *state;
	struct cert_params p = { .cn = "x", .san = "DNS:" CLIENT, .issuer = &f->ca };
	char why[256];

	assert_string_equal(verdict(f, NULL), "no certificate");
	assert_null(verdict(f, &p));
	p.eku = "serverAuth";
	assert_null(verdict(f, &p));
	p.eku = "clientAuth";
	assert_null(verdict(f, &p));
	p.eku = "anyExtendedKeyUsage";
	assert_null(verdict(f, &p));
	p.eku = "codeSigning,clientAuth";
	assert_null(verdict(f, &p));
	p.eku = "codeSigning";
	assert_string_equal(verdict(f, &p), wrong_use);
	p.eku = NULL;
	p.ku = "keyEncipherment";
	p.key_bits = 2048;
	assert_string_equal(verdict(f, &p), wrong_use);
	p.ku = "keyAgreement";
	p.key_bits = 0;
	assert_null(verdict(f, &p));
	p.ku = NULL;
	p.issuer = &f->other_ca;
	snprintf(why, sizeof(why),
		 "peer certificate not signed by %s/ca.pem (" CLIENT ", issued by CN=Other CA)",
		 f->dir);
	assert_string_equal(verdict(f, &p), why);
	p.issuer = NULL;
	snprintf(why, sizeof(why),
		 "peer certificate is self-signed and not in %s/ca.pem (" CLIENT ")", f->dir);
	assert_string_equal(verdict(f, &p), why);
	p.issuer = &f->ca;
	p.from_days = -30;
	p.to_days = -3;
	snprintf(why, sizeof(why), "peer certificate expired on %s (" CLIENT ")", day(-3));
	assert_string_equal(verdict(f, &p), why);
	p.from_days = 3;
	p.to_days = 30;
	snprintf(why, sizeof(why), "peer certificate is not valid before %s (" CLIENT ")", day(3));
	assert_string_equal(verdict(f, &p), why);
}

/* As a client: the same of the server, and no name has to match. */
static void a_client_may_only_ask_too(void **state)
{
	struct fixture *f = *state;
	const char *why;
	struct talk t;

	write_pair(f, "stranger",
		   &(struct cert_params){
			   .cn = "stranger", .san = "DNS:" EDGE, .issuer = &f->other_ca });
	for (int i = 0; i < 2; i++) {
		t = (struct talk){ 0 };
		t.client = tls_connect_new(f->client, "x", "partner.example", TLS_VERIFY_ASK, &why);
		t.server = tls_accept_new(f->server, "x", TLS_VERIFY_PEER, &why);
		shake(&t);
		assert_true(t.client_done && t.server_done && !t.client_failed && !t.server_failed);
		assert_int_equal(tls_peer_verified(t.client, &why), i == 0);
		if (i == 1)
			assert_non_null(strstr(why, "peer certificate not signed by "));
		talk_end(&t);
		assert_int_equal(load(f, f->server, "stranger", "ca.pem", NULL), 0);
	}
}

/* The name chooses a certificate and not whom we trust. */
static void the_first_section_says_who_is_trusted(void **state)
{
	struct fixture *f = *state;
	struct conf_snapshot *snap;
	struct buf text;
	struct talk t;
	const char *why;

	write_pair(
		f, "second",
		&(struct cert_params){ .cn = "s", .san = "DNS:second.example", .issuer = &f->ca });
	buf_init(&text, 4096);
	buf_printf(&text,
		   "[tls x]\ncertificate = %s/edge.pem\nkey = %s/edge.key\nca = %s/other.pem\n"
		   "[tls y]\ncertificate = %s/second.pem\nkey = %s/second.key\nca = %s/ca.pem\n",
		   f->dir, f->dir, f->dir, f->dir, f->dir, f->dir);
	snap = conf_parse(f->conf, "test.ini", buf_slice(&text), CONF_ROLE_E, &f->err);
	assert_int_equal(tls_store_load(f->server, snap, &f->err), 0);
	for (int i = 0; i < 2; i++) {
		t = (struct talk){ 0 };
		t.client = tls_connect_new(f->client, "x", i ? "second.example" : EDGE,
					   TLS_VERIFY_PEER, &why);
		t.server = tls_accept_new(f->server, "x y", TLS_VERIFY_ASK, &why);
		shake(&t);
		assert_true(t.client_done && t.server_done && !t.client_failed);
		assert_true(tls_peer_has_name(t.client, i ? "second.example" : EDGE));
		assert_false(tls_peer_verified(t.server, &why));
		talk_end(&t);
	}
	conf_unref(snap);
	buf_fini(&text);
}

/* A peer that nobody knows yet may not make us keep much. */
static void long_chains_are_refused(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	new_talk(f, &t, EDGE, TLS_VERIFY_ASK);
	for (int i = 0; i < 120; i++)
		SSL_add1_chain_cert(t.client, f->other_ca.x509);
	shake(&t);
	assert_true(t.server_failed);
	assert_string_equal(t.server_why, "excessive message size");
	talk_end(&t);
}

static void renegotiation_is_refused(void **state)
{
	struct fixture *f = *state;
	struct talk t;

	new_talk(f, &t, EDGE, TLS_VERIFY_NONE);
	SSL_set_max_proto_version(t.client, TLS1_2_VERSION);
	SSL_clear_options(t.client, SSL_OP_NO_RENEGOTIATION);
	shake(&t);
	assert_true(t.client_done && !t.client_failed);
	SSL_renegotiate(t.client);
	t.client_done = false;
	for (int i = 0; i < 4; i++) {
		step(t.client, &t.client_done, &t.client_failed, t.client_why);
		step(t.server, &t.server_done, &t.server_failed, t.server_why);
	}
	assert_true(t.client_failed);
	assert_int_equal(SSL_num_renegotiations(t.server), 0);
	talk_end(&t);
}

static void note_alarm(const struct alarm_entry *e, void *arg)
{
	*(struct alarm_entry *)arg = *e;
}

static void assert_expiry(struct fixture *f, int to_days, enum alarm_severity severity,
			  const char *text)
{
	struct alarm_entry e = { .text = "" };

	write_pair(f, "soon",
		   &(struct cert_params){ .cn = "soon",
					  .san = "DNS:" EDGE,
					  .issuer = &f->ca,
					  .from_days = -400,
					  .to_days = to_days,
					  .to_seconds = -3600 });
	assert_int_equal(load(f, f->server, "soon", "ca.pem", NULL), 0);
	assert_int_equal(alarm_count(f->alarms), text ? 1 : 0);
	if (!text)
		return;
	alarms_each(f->alarms, note_alarm, &e);
	assert_string_equal(e.id, "certificate-expires");
	assert_string_equal(e.subject, "x");
	assert_int_equal(e.severity, severity);
	assert_string_equal(e.text, text);
}

static void certificates_that_expire_raise_alarms(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(alarm_count(f->alarms), 0);
	assert_expiry(f, 33, ALARM_WARNING, NULL);
	assert_expiry(f, 31, ALARM_WARNING, "the certificate of [tls x] expires in 30 days");
	assert_expiry(f, 4, ALARM_ERROR, "the certificate of [tls x] expires in 3 days");
	assert_expiry(f, -1, ALARM_CRITICAL, "the certificate of [tls x] has expired");
	assert_expiry(f, 100, ALARM_WARNING, NULL);
	/* Without a reload, as the days go by. */
	tls_store_check_expiry(f->server, time(NULL) + 75L * 86400);
	assert_int_equal(alarm_count(f->alarms), 1);
	tls_store_check_expiry(f->server, time(NULL));
	assert_int_equal(alarm_count(f->alarms), 0);
	assert_expiry(f, 4, ALARM_ERROR, "the certificate of [tls x] expires in 3 days");
}

static void removed_sections_take_their_alarm_along(void **state)
{
	struct fixture *f = *state;
	struct conf_snapshot *none =
		conf_parse(f->conf, "none.ini", SLICE(""), CONF_ROLE_E, &f->err);
	const char *why;

	assert_non_null(none);
	assert_expiry(f, 4, ALARM_ERROR, "the certificate of [tls x] expires in 3 days");
	assert_int_equal(tls_store_load(f->server, none, &f->err), 0);
	assert_int_equal(alarm_count(f->alarms), 0);
	assert_null(tls_accept_new(f->server, "x", TLS_VERIFY_NONE, &why));
	conf_unref(none);
}

static bool has(const char *san, const char *name)
{
	struct cert c = cert_make(&(struct cert_params){ .cn = "x.example", .san = san });
	bool yes = tls_cert_has_name(c.x509, name);

	cert_free(&c);
	return yes;
}

static void names_match_as_in_rfc_9525(void **state)
{
	assert_true(has("DNS:a.example.com", "A.Example.COM"));
	assert_true(has("DNS:a.example.com", "a.example.com."));
	assert_true(has("DNS:under_score.lab", "under_score.lab"));
	assert_true(has("DNS:x,DNS:y.z", "y.z"));
	assert_false(has("DNS:a.example.com", "b.example.com"));
	assert_false(has("DNS:a.example.com", "a.example.co"));
	assert_false(has("DNS:a.example.com", "example.com"));
	assert_false(has(NULL, "x.example"));
	assert_true(has("DNS:*.example.com", "a.example.com"));
	assert_true(has("DNS:*.my_lab.example", "edge_1.my_lab.example"));
	assert_false(has("DNS:*.example.com", "a.b.example.com"));
	assert_false(has("DNS:*.example.com", "example.com"));
	assert_false(has("DNS:*.example.com", ".example.com"));
	assert_false(has("DNS:*.com", "example.com"));
	assert_false(has("DNS:*", "com"));
	assert_false(has("DNS:e*.example.com", "edge.example.com"));
	assert_false(has("DNS:a.*.example.com", "a.b.example.com"));
	assert_false(has("DNS:*.*.example.com", "a.b.example.com"));
	assert_false(has("DNS:*.2.0.192", "1.2.0.192"));
	assert_true(has("IP:192.0.2.1", "192.0.2.1"));
	assert_true(has("IP:2001:db8::1", "2001:DB8:0::1"));
	assert_true(has("IP:2001:db8::1", "[2001:db8::1]"));
	assert_false(has("DNS:192.0.2.1", "192.0.2.1"));
	assert_false(has("IP:192.0.2.1", "192.0.2.2"));
	assert_false(has("DNS:x", ""));
}

static void a_nul_in_a_name_matches_nothing(void **state)
{
	struct cert c = cert_make(&(struct cert_params){ .cn = "x" });
	GENERAL_NAMES *sans = GENERAL_NAMES_new();
	GENERAL_NAME *san = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	char names[64];

	ASN1_STRING_set(text, "good.example\0.evil.example", 26);
	GENERAL_NAME_set0_value(san, GEN_DNS, text);
	sk_GENERAL_NAME_push(sans, san);
	X509_add1_ext_i2d(c.x509, NID_subject_alt_name, sans, 0, X509V3_ADD_DEFAULT);
	assert_false(tls_cert_has_name(c.x509, "good.example"));
	tls_cert_names(c.x509, names, sizeof(names));
	assert_string_equal(names, "good.example?.evil.example");
	GENERAL_NAMES_free(sans);
	cert_free(&c);
}

static void long_lists_of_names_are_cut(void **state)
{
	struct cert c =
		cert_make(&(struct cert_params){ .cn = "x", .san = "DNS:aaaa,DNS:bbbb,DNS:cccc" });
	char names[17];

	for (size_t size = 1; size <= sizeof(names); size++) {
		memset(names, 'z', sizeof(names));
		tls_cert_names(c.x509, names, size);
		assert_true(strlen(names) < size);
	}
	tls_cert_names(c.x509, names, sizeof(names));
	assert_string_equal(names, "aaaa, bbbb, cccc");
	cert_free(&c);
}

static void make_some(void *arg)
{
	struct fixture *f = arg;
	struct tls_store *t = tls_store_new(NULL, NULL);
	const char *why = NULL;
	SSL *ssl;

	if (!t)
		return;
	if (load(f, t, "edge", "ca.pem", NULL) == 0) {
		ssl = tls_connect_new(t, "x", "a.example", TLS_VERIFY_PEER, &why);
		if (!ssl)
			assert_string_equal(why, "out of memory");
		SSL_free(ssl);
		ssl = tls_accept_new(t, "x", TLS_VERIFY_PEER, &why);
		assert_true(ssl || strcmp(why, "out of memory") == 0);
		SSL_free(ssl);
	}
	tls_store_free(t);
}

static void survives_failing_allocations(void **state)
{
	alloc_fail_sweep(make_some, *state);
}

int main(void)
{
#define TLS_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TLS_TEST(both_sides_verified),
		TLS_TEST(tls_1_2_works_too),
		TLS_TEST(an_address_matches_an_address_san),
		TLS_TEST(a_wrong_name_is_told_with_both_names),
		TLS_TEST(the_common_name_does_not_count),
		TLS_TEST(an_expired_server_is_told_with_the_day),
		TLS_TEST(a_certificate_of_the_future_is_told_with_the_day),
		TLS_TEST(an_unknown_ca_is_told_with_the_file),
		TLS_TEST(a_self_signed_certificate_is_told),
		TLS_TEST(the_client_learns_of_its_refusal_after_its_handshake),
		TLS_TEST(a_client_of_another_ca_is_refused),
		TLS_TEST(no_client_certificate),
		TLS_TEST(an_ordinary_server_asks_for_none),
		TLS_TEST(the_extended_key_usage_does_not_matter),
		TLS_TEST(an_issuer_that_is_no_ca_does_not_count),
		TLS_TEST(versions_below_the_minimum_are_refused),
		TLS_TEST(peers_that_speak_something_else),
		TLS_TEST(a_swap_serves_new_handshakes_and_spares_old_connections),
		TLS_TEST(bad_files_are_refused_and_the_old_ones_kept),
		TLS_TEST(keys_that_others_can_reach_are_refused),
		TLS_TEST(trust_alone),
		TLS_TEST(what_does_not_exist_is_said),
		TLS_TEST(sessions_prove_what_was_proved_for_them),
		TLS_TEST(sessions_are_good_for_their_names),
		TLS_TEST(sessions_are_resumed_in_short),
		TLS_TEST(short_sessions_are_short),
		TLS_TEST(sessions_do_not_outlive_the_certificate),
		TLS_TEST(who_was_not_believed_gets_no_ticket),
		TLS_TEST(who_is_only_asked_is_told_about),
		TLS_TEST(a_client_may_only_ask_too),
		TLS_TEST(the_first_section_says_who_is_trusted),
		TLS_TEST(long_chains_are_refused),
		TLS_TEST(renegotiation_is_refused),
		TLS_TEST(certificates_that_expire_raise_alarms),
		TLS_TEST(removed_sections_take_their_alarm_along),
		cmocka_unit_test(names_match_as_in_rfc_9525),
		cmocka_unit_test(a_nul_in_a_name_matches_nothing),
		cmocka_unit_test(long_lists_of_names_are_cut),
		TLS_TEST(survives_failing_allocations),
	};
	int failed;

	sink = fopen("/dev/null", "w");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fclose(sink);
	return failed;
}
