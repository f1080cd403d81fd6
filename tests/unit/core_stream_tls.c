/* Streams that begin TLS later, and TLS with certificates on both sides, over real sockets. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "core/net.h"
#include "core/stream_pair.h"
#include "support/alloc_fail.h"
#include "support/stream_box.h"

/* One end of a connection and what happened to it. */
struct side {
	struct stream *s;
	struct fixture *fx;
	const struct stream_tls *starts; /* at the first byte that it reads */
	const char *says_first;		 /* in the clear, before it starts */
	int started;			 /* what stream_start_tls() said */
	bool paused;
	unsigned n_opened, n_closed;
	size_t n_got;
	char text[128]; /* the first bytes since it opened */
	enum stream_end end;
	char why[256];
};

struct fixture {
	struct stream_box *box;
	struct stream_listener *l;
	struct side a, b; /* dialled, accepted */
	unsigned n_accepted, n_refused;
	char refused[256];
};

static const struct stream_tls as_server = { .is_server = true, .tls = "web", .timeout_ms = 5000 };
static const struct stream_tls as_client = {
	.tls = "web", .server_name = "web.example.com", .verify = true, .timeout_ms = 5000
};

static void say(struct side *x, const char *text)
{
	evbuffer_add(stream_out(x->s), text, strlen(text));
	stream_flush(x->s);
}

static void on_opened(void *arg)
{
	struct side *x = arg;

	x->n_opened++;
	x->n_got = 0;
	memset(x->text, 0, sizeof(x->text));
}

static void eat(struct side *x)
{
	struct evbuffer *in = stream_in(x->s);
	char block[4096];
	int n;

	while ((n = evbuffer_remove(in, block, sizeof(block))) > 0) {
		for (int i = 0; i < n; i++, x->n_got++) {
			if (x->n_got < sizeof(x->text) - 1)
				x->text[x->n_got] = block[i];
		}
	}
	stream_consumed(x->s);
}

static void start(struct side *x)
{
	const struct stream_tls *how = x->starts;

	x->starts = NULL;
	if (x->says_first)
		say(x, x->says_first);
	x->started = stream_start_tls(&x->fx->box->env, x->s, how);
}

static void on_readable(void *arg)
{
	struct side *x = arg;

	if (x->paused)
		return;
	if (x->starts)
		start(x);
	else
		eat(x);
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct side *x = arg;

	x->n_closed++;
	x->end = end;
	snprintf(x->why, sizeof(x->why), "%s", why);
	x->s = NULL;
}

static const struct stream_handler handler = {
	.opened = on_opened,
	.readable = on_readable,
	.closed = on_closed,
};

static void on_accepted(void *arg, struct stream *s)
{
	struct fixture *fx = arg;

	fx->n_accepted++;
	fx->b.s = s;
	stream_set_handler(s, &handler, &fx->b);
}

static void on_refused(void *arg, const struct addr *from, const char *why)
{
	struct fixture *fx = arg;

	fx->n_refused++;
	snprintf(fx->refused, sizeof(fx->refused), "%s", why);
}

static int set_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	fx->box = stream_box_new();
	fx->a.fx = fx->b.fx = fx;
	*state = fx;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fx = *state;

	stream_close(fx->a.s);
	stream_close(fx->b.s);
	stream_listener_free(fx->l);
	stream_box_free(fx->box);
	free(fx);
	return 0;
}

static struct stream_listener_conf conf_of(struct fixture *fx, const char *tls)
{
	return (struct stream_listener_conf){
		.local = stream_box_addr(0),
		.tls = tls,
		.handshake_ms = 5000,
		.kind = CONN_HTTP,
		.accepted = on_accepted,
		.refused = on_refused,
		.arg = fx,
	};
}

static void listen_with(struct fixture *fx, const struct stream_listener_conf *c)
{
	int error;

	fx->l = stream_listener_new(&fx->box->env, c, &error);
	assert_non_null(fx->l);
}

static struct stream_connect connect_of(struct fixture *fx, const char *tls)
{
	return (struct stream_connect){
		.to = stream_box_listening(fx->box),
		.timeout_ms = 5000,
		.tls = tls,
		.server_name = "web.example.com",
		.verify = true,
	};
}

static void dial_with(struct fixture *fx, const struct stream_connect *c)
{
	int error;

	fx->a.s = stream_connect(&fx->box->env, c, &handler, &fx->a, &error);
	assert_non_null(fx->a.s);
}

/* A plain connection between a and b. */
static void join(struct fixture *fx)
{
	struct stream_listener_conf l = conf_of(fx, NULL);
	struct stream_connect c;

	listen_with(fx, &l);
	c = connect_of(fx, NULL);
	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_opened == 1 && fx->n_accepted == 1);
}

/* The same with b's stream and a raw descriptor at its other end. */
static int join_raw(struct fixture *fx)
{
	struct stream_listener_conf l = conf_of(fx, NULL);
	struct addr to;
	int fd;

	listen_with(fx, &l);
	to = stream_box_listening(fx->box);
	fd = net_connect_tcp(&to, NULL, 0, 0);
	assert_true(fd >= 0);
	UNTIL(fx->box, fx->n_accepted == 1);
	return fd;
}

static void raw_say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void turn(struct fixture *fx, unsigned n)
{
	while (n-- > 0)
		loop_once(fx->box->env.loop, 1);
}

static SSL *raw_handshake(struct fixture *fx, SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);
	int result = 0;

	SSL_set_fd(ssl, fd);
	SSL_set_connect_state(ssl);
	UNTIL(fx->box, (result = SSL_do_handshake(ssl)) == 1 ||
			       SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ);
	assert_int_equal(result, 1);
	return ssl;
}

/* --- STARTTLS --- */

static void both_start_tls(void **state)
{
	struct fixture *fx = *state;

	join(fx);
	fx->b.starts = &as_server;
	fx->b.says_first = "proceed";
	fx->a.starts = &as_client;
	say(&fx->a, "starttls");
	UNTIL(fx->box, fx->a.n_opened == 2 && fx->b.n_opened == 1);
	assert_int_equal(fx->a.started, 0);
	assert_int_equal(fx->b.started, 0);
	assert_true(fx->a.s->is_tls && fx->b.s->is_tls);
	assert_string_equal(SSL_get_version(stream_ssl(fx->a.s)), "TLSv1.3");
	assert_string_equal(tls_server_name(stream_ssl(fx->b.s)), "web.example.com");
	say(&fx->a, "one");
	say(&fx->b, "two");
	UNTIL(fx->box, fx->a.n_got == 3 && fx->b.n_got == 3);
	assert_string_equal(fx->a.text, "two");
	assert_string_equal(fx->b.text, "one");
	/* Once is enough. */
	assert_int_equal(stream_start_tls(&fx->box->env, fx->a.s, &as_client), -EINVAL);
	stream_shutdown(fx->a.s);
	stream_shutdown(fx->b.s);
	UNTIL(fx->box, fx->a.n_closed == 1 && fx->b.n_closed == 1);
	assert_int_equal(fx->a.end, STREAM_END_EOF);
}

/* More than the socket takes at once goes before TLS, what is added later goes under it. */
static void all_that_was_said_before_goes_in_the_clear(void **state)
{
	struct fixture *fx = *state;
	const size_t size = 8 * 1024 * 1024;
	char *much = malloc(size);
	size_t before;

	memset(much, 'c', size);
	join(fx);
	fx->a.paused = true;
	evbuffer_add(stream_out(fx->b.s), much, size);
	stream_flush(fx->b.s);
	turn(fx, 3);
	assert_int_equal(stream_start_tls(&fx->box->env, fx->b.s, &as_server), 0);
	say(&fx->b, "hidden");
	turn(fx, 20);
	assert_true(evbuffer_get_length(stream_out(fx->b.s)) > 6);
	fx->a.paused = false;
	eat(&fx->a);
	UNTIL(fx->box, fx->a.n_got >= size);
	turn(fx, 5);
	before = fx->a.n_got;
	assert_int_equal(stream_start_tls(&fx->box->env, fx->a.s, &as_client), 0);
	assert_int_equal(before, size);
	UNTIL(fx->box, fx->a.n_opened == 2 && fx->a.n_got == 6);
	assert_string_equal(fx->a.text, "hidden");
	free(much);
}

/* The injection of STARTTLS: clear bytes behind the request never count as sent under TLS. */
static void clear_bytes_behind_the_request_are_lost(void **state)
{
	struct fixture *fx = *state;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int fd = join_raw(fx);
	SSL *ssl;

	fx->b.starts = &as_server;
	raw_say(fd, "starttls<message>evil</message>");
	UNTIL(fx->box, !fx->b.starts);
	assert_int_equal(evbuffer_get_length(stream_in(fx->b.s)), 0);
	ssl = raw_handshake(fx, ctx, fd);
	UNTIL(fx->box, fx->b.n_opened == 1);
	assert_int_equal(evbuffer_get_length(stream_in(fx->b.s)), 0);
	assert_int_equal(SSL_write(ssl, "good", 4), 4);
	UNTIL(fx->box, fx->b.n_got == 4);
	assert_string_equal(fx->b.text, "good");
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
}

/* They came too late to be thrown away: for OpenSSL they are no handshake. */
static void clear_bytes_before_the_handshake_end_it(void **state)
{
	struct fixture *fx = *state;
	int fd = join_raw(fx);

	assert_int_equal(stream_start_tls(&fx->box->env, fx->b.s, &as_server), 0);
	raw_say(fd, "<message>evil</message>");
	UNTIL(fx->box, fx->b.n_closed == 1);
	assert_int_equal(fx->b.end, STREAM_END_ERROR);
	assert_string_equal(fx->b.why, "peer does not speak TLS here");
	assert_int_equal(fx->b.n_opened + fx->b.n_got, 0);
	assert_int_equal(fx->n_refused, 0); /* it was accepted long ago */
	close(fd);
}

static void nothing_goes_out_before_the_handshake_is_done(void **state)
{
	struct fixture *fx = *state;
	char got[4096];
	ssize_t n = -1;
	int fd = join_raw(fx);

	say(&fx->b, "clear");
	assert_int_equal(stream_start_tls(&fx->box->env, fx->b.s, &as_client), 0);
	say(&fx->b, "hidden");
	UNTIL(fx->box, (n = recv(fd, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK)) > 100);
	turn(fx, 20);
	n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	assert_memory_equal(got, "clear\x16\x03", 7);
	assert_null(memmem(got, (size_t)n, "hidden", 6));
	assert_int_equal(evbuffer_get_length(stream_out(fx->b.s)), 6);
	close(fd);
	UNTIL(fx->box, fx->b.n_closed == 1);
	assert_int_equal(fx->b.n_opened, 0);
}

static void a_wrong_name_ends_both(void **state)
{
	struct stream_tls wrong = as_client;
	struct fixture *fx = *state;

	wrong.server_name = "other.example.com";
	join(fx);
	fx->b.starts = &as_server;
	fx->b.says_first = "proceed";
	fx->a.starts = &wrong;
	say(&fx->a, "starttls");
	UNTIL(fx->box, fx->a.n_closed == 1 && fx->b.n_closed == 1);
	assert_string_equal(fx->a.why, "name mismatch: wanted other.example.com, certificate has "
				       "web.example.com, 127.0.0.1");
	assert_non_null(strstr(fx->b.why, "peer refused: alert bad certificate"));
	assert_int_equal(fx->a.n_opened, 1);
	assert_int_equal(fx->b.n_opened, 0);
}

static void silence_behind_proceed(void **state)
{
	struct stream_tls brief = as_server;
	struct fixture *fx = *state;
	char *much = calloc(1, 16 << 20);

	brief.timeout_ms = 30;
	for (int i = 0; i < 2; i++) {
		int fd;

		fx->n_accepted = fx->b.n_closed = 0;
		fd = join_raw(fx);
		/* It does not even take what goes before. */
		if (i == 1)
			evbuffer_add(stream_out(fx->b.s), much, 16 << 20);
		assert_int_equal(stream_start_tls(&fx->box->env, fx->b.s, &brief), 0);
		UNTIL(fx->box, fx->b.n_closed == 1);
		assert_int_equal(fx->b.end, STREAM_END_TIMEOUT);
		assert_string_equal(fx->b.why, "TLS handshake not finished in time");
		close(fd);
		stream_listener_free(fx->l);
		fx->l = NULL;
	}
	free(much);
}

static void what_cannot_start_tls(void **state)
{
	static const struct stream_tls none = { .server_name = "x" };
	static const struct stream_tls unknown = { .tls = "nobody" };
	static const struct stream_tls unknown_server = { .tls = "nobody", .is_server = true };
	struct fixture *fx = *state;
	struct env *env = &fx->box->env;
	struct stream *pair[2];

	join(fx);
	assert_int_equal(stream_start_tls(env, fx->a.s, &none), -EINVAL);
	assert_int_equal(stream_start_tls(env, fx->a.s, &unknown), -EINVAL);
	assert_int_equal(stream_start_tls(env, fx->a.s, &unknown_server), -EINVAL);
	/* Nothing has changed. */
	say(&fx->a, "still plain");
	UNTIL(fx->box, fx->b.n_got == 11);
	stream_shutdown(fx->b.s);
	assert_int_equal(stream_start_tls(env, fx->b.s, &as_server), -EINVAL);
	UNTIL(fx->box, stream_eof(fx->a.s));
	assert_int_equal(stream_start_tls(env, fx->a.s, &as_client), -EINVAL);
	assert_int_equal(stream_pair_new(env->loop, pair), 0);
	turn(fx, 2);
	assert_int_equal(stream_start_tls(env, pair[0], &as_client), -EINVAL);
	stream_close(pair[0]);
	stream_close(pair[1]);
	turn(fx, 2);
}

static void closed_while_it_starts(void **state)
{
	struct fixture *fx = *state;

	for (unsigned n = 0; n < 4; n++) {
		fx->n_accepted = fx->a.n_opened = fx->a.n_closed = 0;
		join(fx);
		assert_int_equal(stream_start_tls(&fx->box->env, fx->a.s, &as_client), 0);
		assert_int_equal(stream_start_tls(&fx->box->env, fx->b.s, &as_server), 0);
		turn(fx, n);
		if (n % 2)
			stream_abort(fx->a.s);
		else
			stream_close(fx->a.s);
		fx->a.s = NULL;
		/* When it was done already, b is there for its own end. */
		UNTIL(fx->box, !fx->b.s || stream_eof(fx->b.s));
		stream_close(fx->b.s);
		fx->b.s = NULL;
		assert_int_equal(fx->a.n_closed, 0);
		stream_listener_free(fx->l);
		fx->l = NULL;
	}
}

static void start_without_memory(void *arg)
{
	struct fixture *fx = arg;
	struct stream_listener_conf l = conf_of(fx, NULL);
	struct stream_connect c;
	int error;

	memset(&fx->a, 0, sizeof(fx->a));
	memset(&fx->b, 0, sizeof(fx->b));
	fx->a.fx = fx->b.fx = fx;
	fx->n_accepted = 0;
	fx->l = stream_listener_new(&fx->box->env, &l, &error);
	if (!fx->l)
		return;
	c = connect_of(fx, NULL);
	fx->a.s = stream_connect(&fx->box->env, &c, &handler, &fx->a, &error);
	UNTIL(fx->box, !fx->a.s || fx->n_accepted || alloc_fail_hit());
	turn(fx, 2);
	if (fx->a.s && fx->b.s && fx->a.n_opened &&
	    stream_start_tls(&fx->box->env, fx->a.s, &as_client) == 0 &&
	    stream_start_tls(&fx->box->env, fx->b.s, &as_server) == 0)
		UNTIL(fx->box,
		      (fx->a.n_opened == 2 && fx->b.n_opened == 1) || !fx->a.s || !fx->b.s);
	stream_close(fx->a.s);
	stream_close(fx->b.s);
	fx->a.s = fx->b.s = NULL;
	stream_listener_free(fx->l);
	fx->l = NULL;
	turn(fx, 4);
}

static void starts_without_memory(void **state)
{
	assert_in_range(alloc_fail_sweep(start_without_memory, *state), 8, 100);
}

/* --- certificates on both sides --- */

/* A TLS connection, both sides' streams open or an end. */
static void join_tls(struct fixture *fx, const struct stream_connect *c)
{
	fx->a.n_opened = fx->a.n_closed = fx->n_accepted = fx->n_refused = 0;
	fx->a.n_got = fx->b.n_got = 0;
	dial_with(fx, c);
	UNTIL(fx->box, (fx->a.n_opened && fx->n_accepted) || (!fx->a.s && fx->n_refused));
}

static void part(struct fixture *fx)
{
	stream_close(fx->a.s);
	stream_close(fx->b.s);
	fx->a.s = fx->b.s = NULL;
	turn(fx, 5);
}

static void write_stranger(struct stream_box *b)
{
	struct cert_params p = { .cn = "x", .san = "DNS:guest.example.com" };
	struct cert c = cert_make(&p);
	char path[128];

	snprintf(path, sizeof(path), "%s/guest.pem", b->dir);
	cert_write(&c, path);
	snprintf(path, sizeof(path), "%s/guest.key", b->dir);
	cert_write_key(&c, path, NULL);
	cert_free(&c);
}

static void listener_wants_a_certificate(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	l.verify = TLS_VERIFY_PEER;
	listen_with(fx, &l);
	c = connect_of(fx, "guest");
	join_tls(fx, &c);
	assert_non_null(fx->b.s);
	assert_true(tls_peer_has_name(stream_ssl(fx->b.s), "guest.example.com"));
	assert_false(tls_peer_has_name(stream_ssl(fx->b.s), "web.example.com"));
	part(fx);
	write_stranger(fx->box);
	stream_box_load_tls(fx->box);
	join_tls(fx, &c);
	UNTIL(fx->box, fx->n_refused == 1 && fx->a.n_closed == 1);
	assert_int_equal(fx->n_accepted, 0);
	assert_non_null(strstr(fx->refused, "peer certificate is self-signed"));
	assert_non_null(strstr(fx->a.why, "peer refused: alert unknown CA"));
}

static void listener_only_asks(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;
	const char *why;

	l.verify = TLS_VERIFY_ASK;
	listen_with(fx, &l);
	c = connect_of(fx, "guest");
	join_tls(fx, &c);
	assert_true(tls_peer_verified(stream_ssl(fx->b.s), &why));
	assert_true(tls_peer_has_xmpp_domain(stream_ssl(fx->b.s), "Guest.example.com"));
	assert_true(tls_own_has_xmpp_domain(fx->box->env.tls, "web", "web.example.com"));
	assert_false(tls_own_has_xmpp_domain(fx->box->env.tls, "web", "guest.example.com"));
	assert_false(tls_own_has_xmpp_domain(fx->box->env.tls, "nobody", "guest.example.com"));
	part(fx);
	write_stranger(fx->box);
	stream_box_load_tls(fx->box);
	join_tls(fx, &c);
	assert_false(tls_peer_verified(stream_ssl(fx->b.s), &why));
	assert_non_null(strstr(why, "peer certificate is self-signed"));
	/* It has the name all the same: who looks at names looks at the chain first. */
	assert_true(tls_peer_has_xmpp_domain(stream_ssl(fx->b.s), "guest.example.com"));
	part(fx);
	c.tls = NULL;
	c.tls_public = true;
	c.verify = false;
	c.ask = true;
	join_tls(fx, &c);
	assert_false(tls_peer_verified(stream_ssl(fx->b.s), &why));
	assert_string_equal(why, "no certificate");
	/* Nor does the client know our CA. */
	assert_false(tls_peer_verified(stream_ssl(fx->a.s), &why));
	assert_non_null(strstr(why, "not signed by the system's public CAs"));
}

/* Connects, and waits for what comes behind the handshake; was an old session taken up? Whatever
 * happens, both sides know each other. */
static bool resumes(struct fixture *fx, const struct stream_connect *c)
{
	const char *why;
	bool reused;

	join_tls(fx, c);
	assert_true(fx->a.s && fx->b.s);
	say(&fx->b, "x");
	UNTIL(fx->box, fx->a.n_got == 1);
	reused = SSL_session_reused(stream_ssl(fx->a.s));
	assert_int_equal(SSL_session_reused(stream_ssl(fx->b.s)), reused);
	assert_true(tls_peer_has_name(stream_ssl(fx->b.s), "guest.example.com"));
	assert_true(tls_peer_verified(stream_ssl(fx->b.s), &why));
	assert_true(tls_peer_has_name(stream_ssl(fx->a.s), "web.example.com"));
	assert_true(tls_peer_verified(stream_ssl(fx->a.s), &why));
	return reused;
}

static void new_ca(struct stream_box *b)
{
	struct cert_params ca = { .cn = "test CA", .is_ca = true };
	char path[64];

	cert_free(&b->ca);
	b->ca = cert_make(&ca);
	snprintf(path, sizeof(path), "%s/ca.pem", b->dir);
	cert_write(&b->ca, path);
	stream_box_cert(b, "web", "DNS:web.example.com,IP:127.0.0.1");
	stream_box_cert(b, "guest", "DNS:guest.example.com");
}

static void a_session_is_taken_up(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c, other;

	l.verify = TLS_VERIFY_PEER;
	listen_with(fx, &l);
	c = connect_of(fx, "guest");
	/* Who does not want it neither keeps nor takes. */
	assert_false(resumes(fx, &c));
	part(fx);
	c.resume = true;
	assert_false(resumes(fx, &c));
	part(fx);
	assert_true(resumes(fx, &c));
	/* Also when the last one was cut. */
	stream_abort(fx->a.s);
	fx->a.s = NULL;
	UNTIL(fx->box, fx->b.n_closed == 1);
	for (int i = 0; i < 3; i++) {
		assert_true(resumes(fx, &c));
		part(fx);
	}
	other = c;
	other.resume = false;
	assert_false(resumes(fx, &other));
	part(fx);
	other = c;
	other.server_name = "127.0.0.1";
	assert_false(resumes(fx, &other));
	part(fx);
	other = c;
	other.verify = false;
	other.ask = true;
	assert_false(resumes(fx, &other));
	part(fx);
	assert_true(resumes(fx, &c));
	part(fx);
	/* New certificates, or what might be: everybody shows his again. */
	stream_box_load_tls(fx->box);
	assert_false(resumes(fx, &c));
	part(fx);
	assert_true(resumes(fx, &c));
	part(fx);
	new_ca(fx->box);
	stream_box_load_tls(fx->box);
	assert_false(resumes(fx, &c));
}

/* A listener that comes after another one at the same address and looks at certificates in another
 * way takes none of its sessions. */
static void a_session_is_of_one_kind_of_listener(void **state)
{
	static const enum tls_verify kinds[] = { TLS_VERIFY_ASK, TLS_VERIFY_PEER, TLS_VERIFY_ASK };
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	for (size_t i = 0; i < 3; i++) {
		l.verify = kinds[i];
		listen_with(fx, &l);
		c = connect_of(fx, "guest");
		l.local = c.to;
		c.resume = true;
		assert_false(resumes(fx, &c));
		part(fx);
		assert_true(resumes(fx, &c));
		part(fx);
		stream_listener_free(fx->l);
		fx->l = NULL;
		turn(fx, 2);
	}
}

/* A connection that was there before a reload brings nothing into the new table. */
static void an_old_connection_keeps_no_session(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	l.verify = TLS_VERIFY_PEER;
	listen_with(fx, &l);
	c = connect_of(fx, "guest");
	c.resume = true;
	dial_with(fx, &c);
	fx->a.paused = true;
	UNTIL(fx->box, fx->a.n_opened);
	stream_box_load_tls(fx->box); /* its ticket is still to be read */
	UNTIL(fx->box, fx->n_accepted);
	turn(fx, 5);
	part(fx);
	fx->a.paused = false;
	assert_false(resumes(fx, &c));
}

/* --- the small ones --- */

static void the_table_of_sessions_is_bounded(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;
	char name[32];

	l.verify = TLS_VERIFY_PEER;
	listen_with(fx, &l);
	c = connect_of(fx, "guest");
	c.resume = true;
	c.verify = false;
	c.ask = true;
	c.server_name = name;
	/* One more than there is room for. */
	for (int i = 0; i <= 64; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		assert_false(resumes(fx, &c));
		part(fx);
	}
	snprintf(name, sizeof(name), "n1.example");
	assert_true(resumes(fx, &c));
	part(fx);
	snprintf(name, sizeof(name), "n0.example");
	assert_false(resumes(fx, &c));
}

static void a_preface_goes_before_tls(void **state)
{
	struct addr any = stream_box_addr(0);
	struct fixture *fx = *state;
	int listening = net_listen_tcp(&any, 4);

	for (int tls = 0; tls < 2; tls++) {
		char text[] = "PROXY TCP4 198.51.100.7 192.0.2.1 4711 5222\r\n", got[2048];
		const size_t n = sizeof(text) - 1;
		struct stream_connect c = { .to = net_local_addr(listening),
					    .timeout_ms = 5000,
					    .tls = tls ? "guest" : NULL,
					    .preface = SLICE(text) };
		ssize_t n_got = 0;
		int fd = -1;

		dial_with(fx, &c);
		memset(text, 'x', n); /* it was copied */
		say(&fx->a, "behind");
		UNTIL(fx->box, fd >= 0 || (fd = accept(listening, NULL, NULL), false));
		UNTIL(fx->box, (n_got = recv(fd, got, sizeof(got), MSG_PEEK | MSG_DONTWAIT)) >
				       (ssize_t)n + 5);
		assert_memory_equal(got, "PROXY TCP4 198.51.100.7 192.0.2.1 4711 5222\r\n", n);
		assert_memory_equal(got + n, tls ? "\x16\x03\x01" : "behind", tls ? 3 : 6);
		assert_null(tls ? memmem(got, (size_t)n_got, "behind", 6) : NULL);
		stream_abort(fx->a.s);
		fx->a.s = NULL;
		close(fd);
	}
	close(listening);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t n = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
	return value;
}

static void keepalive_on_both_sides(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	l.keepalive = true;
	listen_with(fx, &l);
	c = connect_of(fx, "guest");
	c.keepalive = true;
	join_tls(fx, &c);
	for (int i = 0; i < 2; i++) {
		int fd = SSL_get_fd(stream_ssl(i ? fx->b.s : fx->a.s));

		assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
		assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 120);
		assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 20);
		assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
		assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 175000);
	}
}

static void protocols_are_offered(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	l.alpn = "xmpp-client";
	listen_with(fx, &l);
	for (int i = 0; i < 3; i++) {
		const unsigned char *got;
		unsigned n;

		c = connect_of(fx, "guest");
		c.alpn = i == 0 ? "xmpp-client" : i == 1 ? "xmpp-server" : NULL;
		join_tls(fx, &c);
		for (int side = 0; side < 2; side++) {
			SSL_get0_alpn_selected(stream_ssl(side ? fx->b.s : fx->a.s), &got, &n);
			assert_int_equal(n, i == 0 ? 11 : 0);
			assert_memory_equal(got ? got : (void *)"", "xmpp-client", n);
		}
		part(fx);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(both_start_tls),
		T(all_that_was_said_before_goes_in_the_clear),
		T(clear_bytes_behind_the_request_are_lost),
		T(clear_bytes_before_the_handshake_end_it),
		T(nothing_goes_out_before_the_handshake_is_done),
		T(a_wrong_name_ends_both),
		T(silence_behind_proceed),
		T(what_cannot_start_tls),
		T(closed_while_it_starts),
		T(starts_without_memory),
		T(listener_wants_a_certificate),
		T(listener_only_asks),
		T(a_session_is_taken_up),
		T(a_session_is_of_one_kind_of_listener),
		T(an_old_connection_keeps_no_session),
		T(the_table_of_sessions_is_bounded),
		T(a_preface_goes_before_tls),
		T(keepalive_on_both_sides),
		T(protocols_are_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
