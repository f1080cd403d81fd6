/* Streams over real TCP and TLS sockets on loopback. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "core/net.h"
#include "support/alloc_fail.h"
#include "support/stream_box.h"

/* One end of a connection and what happened to it. */
struct side {
	struct stream *s;
	bool paused;	  /* leaves its input unread */
	bool keeps;	  /* input stays there to look at */
	bool answers_end; /* stream_shutdown() at the peer's end */
	bool closes;	  /* in readable, behind "bye" */
	uint64_t n_to_send, n_sent, n_got;
	unsigned n_opened, n_readable, n_writable, n_closed;
	bool eof, spoiled;
	size_t most_waiting;
	enum stream_end end;
	char why[200];
	char text[256]; /* the first bytes, when it keeps none */
	X509 *cert;
	long verify;
};

struct fixture {
	struct stream_box *box;
	struct stream_listener *l;
	struct side a, b; /* dialled, accepted */
	struct side *accept_as;
	unsigned n_accepted, n_refused;
	char refused[200];
	bool free_listener, detect_tls;
};

/* Every byte of a transfer is known by its place. */
static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) + (at >> 16));
}

static void send_more(struct side *x)
{
	uint8_t block[8000];

	while (x->s && x->n_sent < x->n_to_send && !stream_is_full(x->s)) {
		uint64_t left = x->n_to_send - x->n_sent;
		size_t n = left < sizeof(block) ? (size_t)left : sizeof(block);

		for (size_t i = 0; i < n; i++)
			block[i] = pattern(x->n_sent + i);
		evbuffer_add(stream_out(x->s), block, n);
		x->n_sent += n;
	}
	stream_flush(x->s);
}

static void eat(struct side *x)
{
	struct evbuffer *in = stream_in(x->s);
	uint8_t block[4096];
	int n;

	while ((n = evbuffer_remove(in, block, sizeof(block))) > 0) {
		for (int i = 0; i < n; i++) {
			if (x->n_to_send && block[i] != pattern(x->n_got + (uint64_t)i))
				x->spoiled = true;
			if (x->n_got + (uint64_t)i < sizeof(x->text) - 1)
				x->text[x->n_got + (uint64_t)i] = (char)block[i];
		}
		x->n_got += (uint64_t)n;
	}
	stream_consumed(x->s);
}

static void on_opened(void *arg)
{
	((struct side *)arg)->n_opened++;
}

static void on_readable(void *arg)
{
	struct side *x = arg;
	size_t waiting = evbuffer_get_length(stream_in(x->s));

	x->n_readable++;
	x->eof = stream_eof(x->s);
	if (waiting > x->most_waiting)
		x->most_waiting = waiting;
	if (!x->paused && !x->keeps)
		eat(x);
	if (x->closes) {
		evbuffer_add(stream_out(x->s), "bye", 3);
		stream_flush(x->s);
		stream_close(x->s);
		x->s = NULL;
		return;
	}
	if (x->eof && x->answers_end)
		stream_shutdown(x->s);
}

static void on_writable(void *arg)
{
	struct side *x = arg;

	x->n_writable++;
	send_more(x);
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct side *x = arg;
	SSL *ssl = stream_ssl(x->s);

	x->n_closed++;
	x->end = end;
	snprintf(x->why, sizeof(x->why), "%s", why);
	x->verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
	x->s = NULL;
}

static const struct stream_handler handler = {
	.opened = on_opened,
	.readable = on_readable,
	.writable = on_writable,
	.closed = on_closed,
};

static void on_accepted(void *arg, struct stream *s)
{
	struct fixture *fx = arg;

	fx->n_accepted++;
	fx->b.s = s;
	stream_set_handler(s, &handler, &fx->b);
	if (fx->free_listener) {
		stream_listener_free(fx->l);
		fx->l = NULL;
	}
}

static void on_refused(void *arg, const struct addr *from, const char *why)
{
	struct fixture *fx = arg;

	fx->n_refused++;
	assert_int_equal(addr_class(from), ADDR_LOOPBACK);
	snprintf(fx->refused, sizeof(fx->refused), "%s", why);
}

static int set_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	fx->box = stream_box_new();
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
		.alpn = "http/1.1",
		.kind = CONN_HTTP,
		.zone = "web",
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
	assert_int_equal(fx->a.n_opened + fx->a.n_closed, 0);
}

/* A connection between a and b, over TLS when tls names a section. */
static void join(struct fixture *fx, const char *tls)
{
	struct stream_listener_conf l = conf_of(fx, tls);
	struct stream_connect c;

	listen_with(fx, &l);
	c = connect_of(fx, tls);
	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_opened == 1 && fx->n_accepted == 1);
}

static void say(struct side *x, const char *text)
{
	evbuffer_add(stream_out(x->s), text, strlen(text));
	stream_flush(x->s);
}

static int raw_dial(struct fixture *fx)
{
	struct addr to = stream_box_listening(fx->box);
	int fd = net_connect_tcp(&to, NULL, 0, 0);

	assert_true(fd >= 0);
	return fd;
}

/* The bytes of a descriptor until its end; -errno for a reset. */
static ssize_t raw_read(struct fixture *fx, int fd, char *buf, size_t size)
{
	size_t n = 0;
	ssize_t got = -1;

	buf[0] = '\0';
	UNTIL(fx->box, (got = recv(fd, buf + n, size - 1 - n, MSG_DONTWAIT)) == 0 ||
			       (got < 0 && errno != EAGAIN) ||
			       (got > 0 && (n += (size_t)got, buf[n] = '\0', false)));
	return got == 0 ? (ssize_t)n : -errno;
}

/* --- the plain way --- */

static void request_and_answer(struct fixture *fx, const char *tls)
{
	int on = 0;
	socklen_t n = sizeof(on);
	int fd;

	join(fx, tls);
	assert_int_equal(fx->a.s->is_tls, tls != NULL);
	assert_int_equal(fx->b.s->is_tls, tls != NULL);
	assert_int_equal(stream_ssl(fx->b.s) != NULL, tls != NULL);
	assert_true(addr_eq(&fx->a.s->local, &fx->b.s->remote));
	assert_true(addr_eq(&fx->a.s->remote, &fx->b.s->local));
	/* Options that the listener hands down. */
	fd = tls ? SSL_get_fd(stream_ssl(fx->b.s)) : -1;
	if (fd >= 0) {
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
		assert_int_equal(on, 1);
		on = 0;
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &n), 0);
		assert_int_equal(on, 1);
	}
	say(&fx->a, "question ");
	say(&fx->a, "mark");
	UNTIL(fx->box, fx->b.n_got == 13);
	assert_string_equal(fx->b.text, "question mark");
	assert_int_equal(fx->b.n_readable, 1);
	say(&fx->b, "head ");
	say(&fx->b, "body");
	UNTIL(fx->box, fx->a.n_got == 9);
	assert_int_equal(fx->a.n_readable, 1);
	fx->b.answers_end = true;
	stream_close(fx->a.s);
	fx->a.s = NULL;
	UNTIL(fx->box, fx->b.n_closed == 1);
	assert_int_equal(fx->b.end, STREAM_END_EOF);
}

static void plain_request(void **state)
{
	request_and_answer(*state, NULL);
}

static void tls_request(void **state)
{
	request_and_answer(*state, "web");
}

static void half_close(struct fixture *fx, const char *tls)
{
	join(fx, tls);
	say(&fx->a, "last");
	stream_shutdown(fx->a.s);
	UNTIL(fx->box, fx->b.eof);
	assert_string_equal(fx->b.text, "last");
	say(&fx->b, "and an answer");
	UNTIL(fx->box, fx->a.n_got == 13);
	assert_int_equal(fx->a.n_closed + fx->b.n_closed, 0);
	stream_shutdown(fx->b.s);
	UNTIL(fx->box, fx->a.n_closed == 1 && fx->b.n_closed == 1);
	assert_int_equal(fx->a.end, STREAM_END_EOF);
	assert_int_equal(fx->b.end, STREAM_END_EOF);
}

static void plain_half_close(void **state)
{
	half_close(*state, NULL);
}

static void tls_half_close(void **state)
{
	half_close(*state, "web");
}

static void shutdown_before_it_opened(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	listen_with(fx, &l);
	c = connect_of(fx, "web");
	dial_with(fx, &c);
	say(&fx->a, "early");
	stream_shutdown(fx->a.s);
	UNTIL(fx->box, fx->b.eof);
	assert_string_equal(fx->b.text, "early");
}

/* --- much --- */

static void both_ways_at_once(struct fixture *fx, const char *tls)
{
	const uint64_t size = 6 * 1024 * 1024 + 123;
	unsigned turn = 0;

	join(fx, tls);
	fx->a.n_to_send = fx->b.n_to_send = size;
	send_more(&fx->a);
	send_more(&fx->b);
	/* Each reader stops and goes on again by turns. */
	UNTIL(fx->box, (turn++, fx->a.paused = turn % 7 < 3, fx->b.paused = turn % 11 < 5,
			fx->a.paused ? 0 : (eat(&fx->a), 0), fx->b.paused ? 0 : (eat(&fx->b), 0),
			fx->a.n_got == size && fx->b.n_got == size));
	assert_false(fx->a.spoiled);
	assert_false(fx->b.spoiled);
	assert_true(fx->a.most_waiting <= STREAM_HIGH_BYTES);
	assert_true(fx->b.most_waiting <= STREAM_HIGH_BYTES);
	assert_true(fx->a.n_writable > 0);
}

static void plain_both_ways(void **state)
{
	both_ways_at_once(*state, NULL);
}

static void tls_both_ways(void **state)
{
	both_ways_at_once(*state, "web");
}

static void slow_reader_stops_the_writer(struct fixture *fx, const char *tls)
{
	const uint64_t size = 64 * 1024 * 1024;
	uint64_t sent;

	join(fx, tls);
	fx->b.paused = true;
	fx->a.n_to_send = size;
	fx->b.n_to_send = 1; /* compares with the pattern */
	send_more(&fx->a);
	UNTIL(fx->box, fx->b.s->read_paused);
	for (int i = 0; i < 200; i++)
		loop_once(fx->box->env.loop, 1);
	sent = fx->a.n_sent;
	assert_true(sent < size);
	assert_true(evbuffer_get_length(stream_out(fx->a.s)) > STREAM_LOW_BYTES);
	assert_int_equal(fx->b.most_waiting, STREAM_HIGH_BYTES);
	for (int i = 0; i < 50; i++)
		loop_once(fx->box->env.loop, 1);
	assert_int_equal(fx->a.n_sent, sent);
	fx->b.paused = false;
	eat(&fx->b);
	fx->a.n_to_send = sent;
	UNTIL(fx->box, fx->b.n_got == sent);
	assert_false(fx->b.spoiled);
}

static void plain_back_pressure(void **state)
{
	slow_reader_stops_the_writer(*state, NULL);
}

static void tls_back_pressure(void **state)
{
	slow_reader_stops_the_writer(*state, "web");
}

/* --- ends --- */

static void close_sends_the_rest(struct fixture *fx, const char *tls)
{
	const uint64_t size = 24 * 1024 * 1024;

	join(fx, tls);
	fx->b.answers_end = true;
	fx->b.paused = true;
	fx->b.n_to_send = 1;
	fx->a.n_to_send = size;
	while (fx->a.n_sent < size) {
		fx->a.n_to_send = fx->a.n_sent + 1024 * 1024;
		send_more(&fx->a);
		if (stream_is_full(fx->a.s)) {
			/* Over the mark: nothing refuses it. */
			uint8_t block[5000];

			for (size_t i = 0; i < sizeof(block); i++)
				block[i] = pattern(fx->a.n_sent + i);
			evbuffer_add(stream_out(fx->a.s), block, sizeof(block));
			fx->a.n_sent += sizeof(block);
		}
		fx->a.n_to_send = fx->a.n_sent;
	}
	stream_close(fx->a.s);
	fx->a.s = NULL;
	for (int i = 0; i < 20; i++)
		loop_once(fx->box->env.loop, 1);
	fx->b.paused = false;
	eat(&fx->b);
	UNTIL(fx->box, fx->b.n_closed == 1);
	assert_int_equal(fx->b.end, STREAM_END_EOF);
	assert_int_equal(fx->b.n_got, fx->a.n_sent);
	assert_false(fx->b.spoiled);
	assert_int_equal(fx->a.n_closed, 0);
}

static void plain_close_sends_the_rest(void **state)
{
	close_sends_the_rest(*state, NULL);
}

static void tls_close_sends_the_rest(void **state)
{
	close_sends_the_rest(*state, "web");
}

static void close_with_a_peer_that_never_reads(void **state)
{
	struct fixture *fx = *state;
	unsigned n_fds = stream_box_n_fds();

	join(fx, NULL);
	fx->b.paused = true;
	fx->a.n_to_send = 32 * 1024 * 1024;
	send_more(&fx->a);
	UNTIL(fx->box, fx->b.s->read_paused);
	stream_close(fx->a.s);
	fx->a.s = NULL;
	/* The loop that is freed ends it: nothing may leak. */
	stream_close(fx->b.s);
	fx->b.s = NULL;
	assert_true(stream_box_n_fds() > n_fds);
}

/* A close with unread input must not reset the connection under the last answer. */
static void last_answer_survives_unread_input(struct fixture *fx, const char *tls)
{
	static char upload[300 * 1024];

	join(fx, tls);
	fx->b.closes = true;
	evbuffer_add(stream_out(fx->a.s), upload, sizeof(upload));
	stream_flush(fx->a.s);
	UNTIL(fx->box, fx->a.eof || fx->a.n_closed);
	assert_string_equal(fx->a.text, "bye");
}

static void plain_last_answer(void **state)
{
	last_answer_survives_unread_input(*state, NULL);
}

static void tls_last_answer(void **state)
{
	last_answer_survives_unread_input(*state, "web");
}

static void abort_resets(struct fixture *fx, const char *tls)
{
	join(fx, tls);
	say(&fx->a, "never seen");
	stream_abort(fx->a.s);
	fx->a.s = NULL;
	UNTIL(fx->box, fx->b.n_closed == 1);
	assert_int_equal(fx->b.n_got, 0);
	assert_int_equal(fx->b.end, STREAM_END_ERROR);
	assert_string_equal(fx->b.why, strerror(ECONNRESET));
}

static void plain_abort(void **state)
{
	abort_resets(*state, NULL);
}

static void tls_abort(void **state)
{
	abort_resets(*state, "web");
}

/* What the peer said before it reset the connection is read although writing fails first. */
static void early_answer_before_a_reset(void **state)
{
	struct fixture *fx = *state;
	struct linger hard = { .l_onoff = 1 };
	struct stream_listener_conf l = conf_of(fx, NULL);
	int fd;

	listen_with(fx, &l);
	fd = raw_dial(fx);
	UNTIL(fx->box, fx->n_accepted == 1);
	assert_int_equal(send(fd, "413", 3, 0), 3);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	/* Written before the loop looks at the socket. */
	say(&fx->b, "a body that nobody wants");
	UNTIL(fx->box, fx->b.n_closed == 1);
	assert_int_equal(fx->b.end, STREAM_END_ERROR);
	assert_string_equal(fx->b.text, "413");
	assert_false(fx->b.eof);
}

static void tls_without_goodbye(void **state)
{
	struct fixture *fx = *state;

	join(fx, "web");
	say(&fx->a, "half of it");
	UNTIL(fx->box, fx->b.n_got == 10);
	assert_int_equal(shutdown(SSL_get_fd(stream_ssl(fx->a.s)), SHUT_WR), 0);
	UNTIL(fx->box, fx->b.n_closed == 1);
	assert_int_equal(fx->b.end, STREAM_END_ERROR);
	assert_string_equal(fx->b.why, "closed without close_notify");
	assert_false(fx->b.eof);
}

/* --- opening --- */

static void nobody_listens(void **state)
{
	struct fixture *fx = *state;
	struct addr any = stream_box_addr(0);
	int fd = net_listen_tcp(&any, 1);
	struct stream_connect c = { .to = net_local_addr(fd), .timeout_ms = 5000 };

	close(fd);
	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_closed == 1);
	assert_int_equal(fx->a.end, STREAM_END_REFUSED);
	assert_string_equal(fx->a.why, strerror(ECONNREFUSED));
	assert_int_equal(fx->a.n_opened, 0);
}

static void server_that_says_nothing(void **state)
{
	struct fixture *fx = *state;
	struct addr any = stream_box_addr(0);
	int fd = net_listen_tcp(&any, 1);
	struct stream_connect c = { .to = net_local_addr(fd), .timeout_ms = 60, .tls = "web" };

	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_closed == 1);
	assert_int_equal(fx->a.end, STREAM_END_TIMEOUT);
	assert_string_equal(fx->a.why, "TLS handshake not finished in time");
	close(fd);
}

static void wrong_name(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	listen_with(fx, &l);
	c = connect_of(fx, "web");
	c.server_name = "other.example.com";
	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_closed == 1 && fx->n_refused + fx->n_accepted == 1);
	assert_int_equal(fx->a.end, STREAM_END_ERROR);
	assert_non_null(strstr(fx->a.why, "name mismatch: wanted other.example.com"));
	assert_int_not_equal(fx->a.verify, X509_V_OK);
	/* Without verification it is fine. */
	memset(&fx->a, 0, sizeof(fx->a));
	c.verify = false;
	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_opened == 1);
}

static void public_roots_do_not_know_us(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	listen_with(fx, &l);
	c = connect_of(fx, NULL);
	c.tls_public = true;
	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_closed == 1);
	assert_non_null(strstr(fx->a.why, "not signed by the system's public CAs"));
	UNTIL(fx->box, fx->n_refused == 1);
	assert_non_null(strstr(fx->refused, "peer refused: alert"));
}

static void cannot_begin(void **state)
{
	struct fixture *fx = *state;
	struct stream_connect c = { .to = stream_box_addr(9), .tls = "unknown" };
	int error = 0;

	assert_null(stream_connect(&fx->box->env, &c, &handler, &fx->a, &error));
	assert_int_equal(error, -EPROTO);
	c = (struct stream_connect){ .timeout_ms = 1 };
	assert_null(stream_connect(&fx->box->env, &c, &handler, &fx->a, &error));
	assert_int_equal(error, -EINVAL);
}

static void close_while_opening(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	struct stream_connect c;

	listen_with(fx, &l);
	c = connect_of(fx, "web");
	for (int turns = 0; turns < 4; turns++) {
		dial_with(fx, &c);
		for (int i = 0; i < turns; i++)
			loop_once(fx->box->env.loop, 0);
		stream_close(fx->a.s);
		fx->a.s = NULL;
		loop_once(fx->box->env.loop, 0);
	}
	assert_int_equal(fx->a.n_closed, 0);
}

/* --- accepting --- */

static void garbage_instead_of_a_handshake(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	char got[64];
	int fd;

	listen_with(fx, &l);
	fd = raw_dial(fx);
	UNTIL(fx->box, send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
	UNTIL(fx->box, fx->n_refused == 1);
	assert_string_equal(fx->refused, "peer speaks plain HTTP, not TLS");
	assert_int_equal(trace_count(fx->box->env.trace, "net.tls.handshake"), 1);
	/* It is told by a TLS alert or the end, not by a reset. */
	assert_true(raw_read(fx, fd, got, sizeof(got)) >= 0);
	close(fd);
	assert_int_equal(fx->n_accepted, 0);
}

static void silence_instead_of_a_handshake(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	int fd;

	l.handshake_ms = 50;
	listen_with(fx, &l);
	fd = raw_dial(fx);
	UNTIL(fx->box, fx->n_refused == 1);
	assert_string_equal(fx->refused, "TLS handshake not finished in time");
	close(fd);
	/* One that leaves early is no secret either. */
	fd = raw_dial(fx);
	close(fd);
	UNTIL(fx->box, fx->n_refused == 2);
}

static struct stream_listener_conf both_ways_in(struct fixture *fx)
{
	struct stream_listener_conf l = conf_of(fx, "web");

	l.detect_tls = true;
	l.kind = CONN_TURN;
	return l;
}

/* One port for TLS and plain clients. */
static void tells_tls_from_plain(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = both_ways_in(fx);

	for (int tls = 0; tls < 2; tls++) {
		struct stream_connect c;

		memset(&fx->a, 0, sizeof(fx->a));
		memset(&fx->b, 0, sizeof(fx->b));
		listen_with(fx, &l);
		c = connect_of(fx, tls ? "web" : NULL);
		dial_with(fx, &c);
		say(&fx->a, "hello");
		UNTIL(fx->box, fx->b.n_got == 5);
		assert_string_equal(fx->b.text, "hello");
		assert_int_equal(fx->b.s->is_tls, tls);
		assert_int_equal(stream_ssl(fx->b.s) != NULL, tls);
		say(&fx->b, "answer");
		UNTIL(fx->box, fx->a.n_got == 6);
		assert_true(addr_eq(&fx->a.s->local, &fx->b.s->remote));
		stream_close(fx->a.s);
		stream_close(fx->b.s);
		fx->a.s = fx->b.s = NULL;
		stream_listener_free(fx->l);
		fx->l = NULL;
	}
	assert_int_equal(fx->n_refused, 0);
}

/* The handshake's bytes one by one: the first decides, none is lost. */
static void detects_by_one_byte(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = both_ways_in(fx);
	int fd;

	listen_with(fx, &l);
	fd = raw_dial(fx);
	for (int i = 0; i < 5; i++)
		loop_once(fx->box->env.loop, 1);
	assert_int_equal(fx->n_accepted, 0);
	assert_int_equal(send(fd, "\x15", 1, MSG_NOSIGNAL), 1); /* one less than 0x16 */
	UNTIL(fx->box, fx->b.n_got == 1);
	assert_int_equal(fx->b.text[0], 0x15);
	assert_false(fx->b.s->is_tls);
	assert_int_equal(send(fd, "\x16more", 5, MSG_NOSIGNAL), 5);
	UNTIL(fx->box, fx->b.n_got == 6);
	close(fd);
	fd = raw_dial(fx);
	assert_int_equal(send(fd, "\x16", 1, MSG_NOSIGNAL), 1);
	for (int i = 0; i < 5; i++)
		loop_once(fx->box->env.loop, 1);
	assert_int_equal(send(fd, "no hello", 8, MSG_NOSIGNAL), 8);
	UNTIL(fx->box, fx->n_refused == 1);
	assert_int_equal(trace_count(fx->box->env.trace, "net.tls.handshake"), 1);
	assert_int_equal(fx->n_accepted, 1);
	close(fd);
}

static bool find_turn(const struct conn *c, int64_t ended_wall_s, void *arg)
{
	const struct conn **found = arg;

	if (c->kind == CONN_TURN)
		*found = c;
	return !*found;
}

/* TLS is turned off between a connection and its first byte: who wants TLS is refused, others are
 * served. */
static void tls_goes_before_the_first_byte(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = both_ways_in(fx), plain = conf_of(fx, NULL);
	int tls, other;

	listen_with(fx, &l);
	tls = raw_dial(fx);
	other = raw_dial(fx);
	UNTIL(fx->box, conn_count(fx->box->env.conns, CONN_LISTENER) == 1);
	for (int i = 0; i < 5; i++)
		loop_once(fx->box->env.loop, 1);
	stream_listener_configure(fx->l, &plain);
	assert_int_equal(send(tls, "\x16\x03\x01", 3, 0), 3);
	UNTIL(fx->box, fx->n_refused == 1);
	assert_int_equal(fx->n_accepted, 0);
	assert_int_equal(send(other, "\0\x03", 2, 0), 2);
	UNTIL(fx->box, fx->n_accepted == 1);
	stream_close(fx->b.s);
	fx->b.s = NULL;
	close(tls);
	close(other);
}

static void silence_where_tls_is_detected(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = both_ways_in(fx);
	const struct conn *ended = NULL;
	int fd;

	l.handshake_ms = 50;
	listen_with(fx, &l);
	fd = raw_dial(fx);
	UNTIL(fx->box, fx->n_refused == 1);
	assert_string_equal(fx->refused, "nothing was sent in time");
	assert_int_equal(trace_count(fx->box->env.trace, "net.accept.silent"), 1);
	conn_ended_each(fx->box->env.conns, find_turn, &ended);
	assert_non_null(ended);
	assert_string_equal(ended->reason, "nothing was sent in time");
	close(fd);
	/* TLS begun and not ended has the same time. */
	fd = raw_dial(fx);
	assert_int_equal(send(fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
	UNTIL(fx->box, fx->n_refused == 2);
	assert_string_equal(fx->refused, "TLS handshake not finished in time");
	close(fd);
	l.handshake_ms = 5000;
	stream_listener_configure(fx->l, &l);
	fd = raw_dial(fx);
	close(fd);
	UNTIL(fx->box, fx->n_refused == 3);
	assert_string_equal(fx->refused, "closed before it said anything");
	/* Its listener goes while one waits. */
	fd = raw_dial(fx);
	loop_once(fx->box->env.loop, 10);
	stream_listener_free(fx->l);
	fx->l = NULL;
	loop_once(fx->box->env.loop, 0);
	close(fd);
	assert_int_equal(fx->n_accepted, 0);
}

static void limits_hold(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, NULL);
	int fds[4];

	l.limits.max_per_source = 3;
	listen_with(fx, &l);
	/* Only the last accepted one stays in fx->b; the others live on without handler. */
	for (int i = 0; i < 3; i++) {
		fds[i] = raw_dial(fx);
		UNTIL(fx->box, fx->n_accepted == (unsigned)i + 1);
		if (i < 2) {
			stream_abort(fx->b.s);
			fx->b.s = NULL;
			loop_once(fx->box->env.loop, 0);
		}
		close(fds[i]);
	}
	stream_close(fx->b.s);
	fx->b.s = NULL;
	loop_once(fx->box->env.loop, 0);
	l.limits.max_per_source = 1;
	stream_listener_configure(fx->l, &l);
	fds[0] = raw_dial(fx);
	UNTIL(fx->box, fx->n_accepted == 4);
	fds[1] = raw_dial(fx);
	UNTIL(fx->box, fx->n_refused == 1);
	assert_string_equal(fx->refused, net_verdict_str(NET_OVER_SOURCE));
	assert_int_equal(trace_count(fx->box->env.trace, "net.accept.refused"), 1);
	/* The end of the first makes room. */
	stream_close(fx->b.s);
	fx->b.s = NULL;
	loop_once(fx->box->env.loop, 0);
	fds[2] = raw_dial(fx);
	UNTIL(fx->box, fx->n_accepted == 5);
	/* The streams outlive the listener that counts them. */
	stream_listener_free(fx->l);
	fx->l = NULL;
	stream_close(fx->b.s);
	fx->b.s = NULL;
	loop_once(fx->box->env.loop, 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void out_of_descriptors(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, NULL);
	struct rlimit old, none;
	struct loop_stats before, after;
	int fd, spare;

	listen_with(fx, &l);
	fd = raw_dial(fx);
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	spare = dup(0);
	close(spare);
	none.rlim_cur = (rlim_t)spare; /* the lowest free one is out of bounds */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	UNTIL(fx->box, alarm_count(fx->box->env.alarms) == 1);
	before = loop_stats(fx->box->env.loop);
	for (int64_t end = stream_box_wall_ms() + 250; stream_box_wall_ms() < end;)
		loop_once(fx->box->env.loop, 50);
	after = loop_stats(fx->box->env.loop);
	/* It asks again now and then, and does not spin. */
	assert_true(after.n_turns - before.n_turns < 20);
	assert_int_equal(fx->n_accepted, 0);
	setrlimit(RLIMIT_NOFILE, &old);
	UNTIL(fx->box, fx->n_accepted == 1);
	assert_int_equal(alarm_count(fx->box->env.alarms), 0);
	close(fd);
}

/* RFC 6062: from the very port that we listen on. */
static void connects_from_where_it_listens(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, NULL);
	struct addr any = stream_box_addr(0), relay;
	int fd = net_listen_tcp(&any, 4);
	struct stream_connect c = { .to = net_local_addr(fd), .from = &relay, .timeout_ms = 5000 };

	l.shared_port = true;
	listen_with(fx, &l);
	relay = stream_box_listening(fx->box);
	c.shared_port = true;
	dial_with(fx, &c);
	UNTIL(fx->box, fx->a.n_opened == 1);
	assert_true(addr_eq(&fx->a.s->local, &relay));
	close(raw_dial(fx));
	UNTIL(fx->box, fx->n_accepted == 1);
	close(fd);
}

static void listener_freed_by_its_taker(void **state)
{
	struct fixture *fx = *state;
	int fds[2];

	for (int tls = 0; tls < 2; tls++) {
		struct stream_listener_conf l = conf_of(fx, tls ? "web" : NULL);
		struct stream_connect c;

		listen_with(fx, &l);
		fx->free_listener = true;
		c = connect_of(fx, tls ? "web" : NULL);
		fds[tls] = raw_dial(fx); /* TLS: a handshake that never comes */
		dial_with(fx, &c);
		UNTIL(fx->box, fx->a.n_closed || (fx->n_accepted == (unsigned)tls + 1 && !fx->l));
		loop_once(fx->box->env.loop, 0);
		stream_close(fx->a.s);
		stream_close(fx->b.s);
		fx->a.s = fx->b.s = NULL;
		fx->a.n_opened = fx->a.n_closed = 0;
		close(fds[tls]);
		assert_int_equal(conn_count(fx->box->env.conns, CONN_LISTENER), 0);
	}
}

static void probing(void **state)
{
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, NULL);
	struct addr a, unknown = { 0 };
	int error;

	listen_with(fx, &l);
	a = stream_box_listening(fx->box);
	assert_int_equal(stream_listener_probe(&a), 0); /* ours */
	assert_true(addr_parse_ip(SLICE("192.0.2.77"), 80, &unknown));
	assert_int_equal(stream_listener_probe(&unknown), -EADDRNOTAVAIL);
	l.local = a;
	assert_null(stream_listener_new(&fx->box->env, &l, &error));
	assert_int_equal(error, -EADDRINUSE);
	stream_listener_free(fx->l);
	fx->l = NULL;
	assert_int_equal(stream_listener_probe(&a), 0);
}

/* --- TLS at its edges --- */

static void client_with(struct fixture *fx, SSL *ssl, int *fd)
{
	int result = 0;

	*fd = raw_dial(fx);
	SSL_set_fd(ssl, *fd);
	SSL_set_connect_state(ssl);
	UNTIL(fx->box, (result = SSL_do_handshake(ssl)) == 1 ||
			       SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ);
	assert_int_equal(result, 1);
}

static void says_alpn(void **state)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1", h2[] = "\x02h2";
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const unsigned char *got;
	unsigned n;

	listen_with(fx, &l);
	for (int i = 0; i < 3; i++) {
		SSL *ssl = SSL_new(ctx);
		int fd;

		if (i < 2)
			SSL_set_alpn_protos(ssl, i ? h2 : both,
					    (unsigned)(i ? sizeof(h2) : sizeof(both)) - 1);
		client_with(fx, ssl, &fd);
		SSL_get0_alpn_selected(ssl, &got, &n);
		assert_int_equal(n, i == 0 ? 8 : 0);
		if (n)
			assert_memory_equal(got, "http/1.1", 8);
		UNTIL(fx->box, fx->n_accepted == (unsigned)i + 1);
		stream_close(fx->b.s);
		fx->b.s = NULL;
		SSL_free(ssl);
		close(fd);
	}
	SSL_CTX_free(ctx);
}

static bool presents(SSL *ssl, const char *name)
{
	return tls_peer_has_name(ssl, name);
}

static void chooses_by_name(void **state)
{
	static const char *const asked[] = { "guest.example.com", "web.example.com",
					     "nobody.example.com", NULL };
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web guest");
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	listen_with(fx, &l);
	for (unsigned i = 0; i < 4; i++) {
		SSL *ssl = SSL_new(ctx);
		int fd;

		if (asked[i])
			SSL_set_tlsext_host_name(ssl, asked[i]);
		client_with(fx, ssl, &fd);
		assert_true(presents(ssl, i == 0 ? "guest.example.com" : "web.example.com"));
		UNTIL(fx->box, fx->n_accepted == i + 1);
		stream_close(fx->b.s);
		fx->b.s = NULL;
		SSL_free(ssl);
		close(fd);
	}
	SSL_CTX_free(ctx);
}

static SSL_SESSION *kept;

/* Connects with the kept session, or without; was it taken? */
static bool resumes(struct fixture *fx, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	unsigned before = fx->n_accepted;
	char byte;
	bool reused;
	SSL *ssl;
	int fd;

	SSL_CTX_set_max_proto_version(ctx, version);
	ssl = SSL_new(ctx);
	if (kept)
		SSL_set_session(ssl, kept);
	client_with(fx, ssl, &fd);
	reused = SSL_session_reused(ssl);
	UNTIL(fx->box, fx->n_accepted == before + 1);
	/* With TLS 1.3 the ticket comes behind the handshake. */
	say(&fx->b, "x");
	UNTIL(fx->box, SSL_read(ssl, &byte, 1) == 1);
	SSL_SESSION_free(kept);
	kept = SSL_get1_session(ssl);
	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
	SSL_CTX_free(ctx);
	stream_close(fx->b.s);
	fx->b.s = NULL;
	loop_once(fx->box->env.loop, 0);
	return reused;
}

static void sessions_survive_a_reload(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct fixture *fx = *state;
	struct stream_listener_conf l = conf_of(fx, "web");

	listen_with(fx, &l);
	for (unsigned i = 0; i < 2; i++) {
		int64_t now = (int64_t)time(NULL);

		SSL_SESSION_free(kept);
		kept = NULL;
		assert_false(resumes(fx, versions[i]));
		assert_non_null(kept);
		assert_true(resumes(fx, versions[i]));
		/* A new certificate under the same name. */
		stream_box_cert(fx->box, "web", "DNS:web.example.com");
		stream_box_load_tls(fx->box);
		assert_true(resumes(fx, versions[i]));
		/* The key of the last half day still opens, the one before no more. */
		now += 12 * 3600;
		tls_store_check_expiry(fx->box->env.tls, now);
		assert_true(resumes(fx, versions[i]));
		for (int k = 0; k < 2; k++) {
			now += 12 * 3600;
			tls_store_check_expiry(fx->box->env.tls, now);
		}
		assert_false(resumes(fx, versions[i]));
		/* A ticket is good for the section that gave it alone. */
		l.tls = "guest";
		stream_listener_configure(fx->l, &l);
		assert_false(resumes(fx, versions[i]));
		l.tls = "web";
		stream_listener_configure(fx->l, &l);
	}
	SSL_SESSION_free(kept);
	kept = NULL;
}

/* --- without memory --- */

static void exchange_without_memory(void *arg)
{
	struct fixture *fx = arg;
	struct stream_listener_conf l = conf_of(fx, "web guest");
	struct stream_connect c;
	int error;

	l.detect_tls = fx->detect_tls;
	memset(&fx->a, 0, sizeof(fx->a));
	memset(&fx->b, 0, sizeof(fx->b));
	fx->n_accepted = fx->n_refused = 0;
	fx->l = stream_listener_new(&fx->box->env, &l, &error);
	if (!fx->l)
		return;
	c = connect_of(fx, "web");
	fx->a.s = stream_connect(&fx->box->env, &c, &handler, &fx->a, &error);
	if (fx->a.s)
		say(&fx->a, "hello");
	UNTIL(fx->box, !fx->a.s || fx->b.n_got == 5);
	stream_close(fx->a.s);
	fx->a.s = NULL;
	for (int i = 0; i < 5; i++)
		loop_once(fx->box->env.loop, 0);
	stream_close(fx->b.s);
	fx->b.s = NULL;
	stream_listener_free(fx->l);
	fx->l = NULL;
	for (int i = 0; i < 5; i++)
		loop_once(fx->box->env.loop, 0);
}

static void without_memory(void **state)
{
	struct fixture *fx = *state;

	assert_in_range(alloc_fail_sweep(exchange_without_memory, fx), 8, 100);
	fx->detect_tls = true;
	assert_in_range(alloc_fail_sweep(exchange_without_memory, fx), 8, 100);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(plain_request),
		T(tls_request),
		T(plain_half_close),
		T(tls_half_close),
		T(shutdown_before_it_opened),
		T(plain_both_ways),
		T(tls_both_ways),
		T(plain_back_pressure),
		T(tls_back_pressure),
		T(plain_close_sends_the_rest),
		T(tls_close_sends_the_rest),
		T(close_with_a_peer_that_never_reads),
		T(plain_last_answer),
		T(tls_last_answer),
		T(plain_abort),
		T(tls_abort),
		T(early_answer_before_a_reset),
		T(tls_without_goodbye),
		T(nobody_listens),
		T(server_that_says_nothing),
		T(wrong_name),
		T(public_roots_do_not_know_us),
		T(cannot_begin),
		T(close_while_opening),
		T(garbage_instead_of_a_handshake),
		T(silence_instead_of_a_handshake),
		T(tells_tls_from_plain),
		T(detects_by_one_byte),
		T(tls_goes_before_the_first_byte),
		T(silence_where_tls_is_detected),
		T(limits_hold),
		T(out_of_descriptors),
		T(connects_from_where_it_listens),
		T(listener_freed_by_its_taker),
		T(probing),
		T(says_alpn),
		T(chooses_by_name),
		T(sessions_survive_a_reload),
		T(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
