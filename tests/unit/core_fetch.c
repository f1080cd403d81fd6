/* Requests of our own against a small server in the same process. */
#include <errno.h>

#include "core/fetch.h"
#include "core/net.h"
#include "support/alloc_fail.h"
#include "support/stream_box.h"

#define MAX_CONNS 16

struct fixture;

struct server_conn {
	struct fixture *fx;
	struct stream *s;
	bool answered;
};

struct fixture {
	struct stream_box *box;
	struct stream_listener *l;
	struct server_conn conns[MAX_CONNS];
	size_t n_conns;
	/* what the server does */
	const char *answer;
	size_t n_answer; /* 0: strlen */
	bool hangs_up;	 /* behind the answer */
	bool cuts;	 /* without close_notify */
	bool by_byte;
	char request[8192];
	size_t n_request;
	/* what came of it */
	struct fetch *fetch;
	unsigned n_done;
	struct fetch_result result;
	char body[4096], header[64];
	bool cancel_inside;
	char url[128];
};

static void answer(struct server_conn *c)
{
	struct fixture *fx = c->fx;
	size_t n = fx->n_answer ? fx->n_answer : strlen(fx->answer);

	c->answered = true;
	for (size_t i = 0; i < n; i += fx->by_byte ? 1 : n) {
		evbuffer_add(stream_out(c->s), fx->answer + i, fx->by_byte ? 1 : n);
		stream_flush(c->s);
		if (fx->by_byte)
			loop_once(fx->box->env.loop, 0);
	}
	if (fx->cuts) {
		loop_once(fx->box->env.loop, 0);
		shutdown(SSL_get_fd(stream_ssl(c->s)), SHUT_WR);
	}
	if (fx->hangs_up) {
		stream_close(c->s);
		c->s = NULL;
	}
}

static void on_readable(void *arg)
{
	struct server_conn *c = arg;
	struct fixture *fx = c->fx;
	int n = evbuffer_remove(stream_in(c->s), fx->request + fx->n_request,
				sizeof(fx->request) - 1 - fx->n_request);

	if (n > 0)
		fx->n_request += (size_t)n;
	fx->request[fx->n_request] = '\0';
	stream_consumed(c->s);
	if (stream_eof(c->s)) {
		stream_close(c->s);
		c->s = NULL;
	}
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	((struct server_conn *)arg)->s = NULL;
}

static const struct stream_handler handler = { .readable = on_readable, .closed = on_closed };

static void on_accepted(void *arg, struct stream *s)
{
	struct fixture *fx = arg;
	struct server_conn *c = &fx->conns[fx->n_conns++ % MAX_CONNS];

	*c = (struct server_conn){ .fx = fx, .s = s };
	stream_set_handler(s, &handler, c);
}

static void listen_on(struct fixture *fx, const char *tls)
{
	struct stream_listener_conf c = { .local = stream_box_addr(0),
					  .tls = tls,
					  .zone = "test",
					  .accepted = on_accepted,
					  .arg = fx };
	int error;

	fx->l = stream_listener_new(&fx->box->env, &c, &error);
	assert_non_null(fx->l);
	snprintf(fx->url, sizeof(fx->url), "%s://127.0.0.1:%u/a/b?c=d", tls ? "https" : "http",
		 stream_box_listening(fx->box).port);
}

static int set_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct dns_conf dns = { .timeout_ms = 500 };

	fx->box = stream_box_new();
	fx->box->env.dns = dns_new(fx->box->env.loop, fx->box->env.log, fx->box->env.alarms);
	assert_non_null(fx->box->env.dns);
	assert_int_equal(dns_apply(fx->box->env.dns, &dns), 0);
	*state = fx;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fx = *state;

	fetch_cancel(fx->fetch);
	for (int i = 0; i < MAX_CONNS; i++)
		stream_close(fx->conns[i].s);
	stream_listener_free(fx->l);
	loop_once(fx->box->env.loop, 0);
	dns_free(fx->box->env.dns);
	stream_box_free(fx->box);
	free(fx);
	return 0;
}

static void on_done(const struct fetch_result *r, void *arg)
{
	struct fixture *fx = arg;
	const struct http_field *field;

	fx->n_done++;
	fx->result = *r;
	fx->header[0] = '\0';
	assert_int_equal(r->error == 0, r->head != NULL);
	slice_copy(fx->body, sizeof(fx->body), r->body);
	if (r->head && (field = http_find_name(r->head, SLICE("X-Test"))))
		slice_copy(fx->header, sizeof(fx->header), field->value);
	if (fx->cancel_inside)
		fetch_cancel(fx->fetch);
	fx->fetch = NULL;
}

/* The request is in, the server answers when its end is seen. */
static bool server_moves(struct fixture *fx, const char *end_of_request)
{
	for (size_t i = 0; i < MAX_CONNS; i++) {
		struct server_conn *c = &fx->conns[i];

		if (c->s && fx->answer && !c->answered && strstr(fx->request, end_of_request))
			answer(c);
	}
	return fx->n_done > 0;
}

static struct fetch_request get(struct fixture *fx)
{
	return (struct fetch_request){
		.url = fx->url, .verify = true, .tls = "web", .timeout_ms = 5000, .max_body = 1000
	};
}

static void start(struct fixture *fx, const struct fetch_request *r)
{
	int error;

	fx->n_done = 0;
	fx->n_request = 0;
	fx->request[0] = '\0';
	fx->fetch = fetch_start(&fx->box->env, r, on_done, fx, &error);
	assert_non_null(fx->fetch);
	assert_int_equal(fx->n_done, 0);
}

static void ask(struct fixture *fx, const struct fetch_request *r)
{
	start(fx, r);
	UNTIL(fx->box, server_moves(fx, "\r\n\r\n"));
	assert_int_equal(fx->n_done, 1);
}

static void ask_and_get(struct fixture *fx, const char *text)
{
	struct fetch_request r = get(fx);

	fx->answer = text;
	fx->n_answer = 0;
	ask(fx, &r);
}

static void succeeded(struct fixture *fx, int status, const char *body)
{
	if (fx->result.error)
		fail_msg("%d %s", fx->result.error, fx->result.why);
	assert_int_equal(fx->result.status, status);
	assert_string_equal(fx->body, body);
}

static void failed(struct fixture *fx, int error, const char *why)
{
	assert_int_equal(fx->result.error, error);
	if (!strstr(fx->result.why, why))
		fail_msg("%s", fx->result.why);
}

static void answers_of_all_shapes(struct fixture *fx, const char *tls)
{
	listen_on(fx, tls);
	for (int i = 0; i < 2; i++) {
		fx->by_byte = i == 1;
		ask_and_get(fx, "HTTP/1.1 200 OK\r\nX-Test: yes\r\nContent-Length: 5\r\n\r\nhello");
		succeeded(fx, 200, "hello");
		assert_string_equal(fx->header, "yes");
		ask_and_get(fx, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-Sum: t\r\n\r\n");
		succeeded(fx, 200, "hello");
		ask_and_get(fx, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
		succeeded(fx, 404, "");
		ask_and_get(fx, "HTTP/1.1 204 No Content\r\n\r\n");
		succeeded(fx, 204, "");
		ask_and_get(fx, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
				"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n"
				"Content-Length: 0\r\n\r\n");
		succeeded(fx, 302, "");
		fx->hangs_up = true;
		ask_and_get(fx, "HTTP/1.0 200 OK\r\n\r\nuntil the end");
		succeeded(fx, 200, "until the end");
		ask_and_get(fx, "HTTP/1.0 200 OK\r\n\r\n");
		succeeded(fx, 200, "");
		fx->hangs_up = false;
	}
	assert_int_equal(fx->result.from.port, stream_box_listening(fx->box).port);
}

static void plain_answers(void **state)
{
	answers_of_all_shapes(*state, NULL);
}

static void tls_answers(void **state)
{
	answers_of_all_shapes(*state, "web");
}

static void requests_as_they_go_out(void **state)
{
	struct fixture *fx = *state;
	struct fetch_request r;
	char expected[512];

	listen_on(fx, NULL);
	ask_and_get(fx, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	snprintf(expected, sizeof(expected),
		 "GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: turnpike\r\n"
		 "Accept: */*\r\nConnection: close\r\n\r\n",
		 stream_box_listening(fx->box).port);
	assert_string_equal(fx->request, expected);
	r = get(fx);
	r.method = "POST";
	r.user = "Aladdin";
	r.password = "open sesame";
	r.content_type = "text/xml";
	r.soap_action = "CUCM:DB ver=12.5 getUser";
	r.body = SLICE("<x/>");
	ask(fx, &r);
	succeeded(fx, 200, "");
	assert_non_null(strstr(fx->request, "POST /a/b?c=d HTTP/1.1\r\n"));
	/* The example of RFC 7617. */
	assert_non_null(strstr(fx->request, "\r\nAuthorization: Basic "
					    "QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
	assert_non_null(strstr(fx->request, "\r\nContent-Type: text/xml\r\n"));
	assert_non_null(strstr(fx->request, "\r\nSOAPAction: \"CUCM:DB ver=12.5 getUser\"\r\n"));
	assert_non_null(strstr(fx->request, "\r\nContent-Length: 4\r\n\r\n<x/>"));
	/* An answer to HEAD has no body whatever it says. */
	r = get(fx);
	r.method = "HEAD";
	fx->answer = "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n";
	ask(fx, &r);
	succeeded(fx, 200, "");
}

static void bad_requests(void **state)
{
	static const char *const urls[] = { "", "ftp://a/", "http://", "http://a/../b",
					    "http://u:p@a/" };
	struct fixture *fx = *state;
	struct fetch_request r = get(fx);
	int error;

	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		r.url = urls[i];
		assert_null(fetch_start(&fx->box->env, &r, on_done, fx, &error));
		assert_int_equal(error, -EINVAL);
	}
	r = get(fx);
	r.url = "http://192.0.2.1/";
	r.content_type = "text/xml\r\nX-Evil: yes";
	assert_null(fetch_start(&fx->box->env, &r, on_done, fx, &error));
	r = get(fx);
	r.url = "http://192.0.2.1/";
	r.user = "a:b"; /* RFC 7617 section 2: no colon in the user's name */
	assert_null(fetch_start(&fx->box->env, &r, on_done, fx, &error));
	r.user = "ab";
	r.soap_action = "a\"b";
	assert_null(fetch_start(&fx->box->env, &r, on_done, fx, &error));
	r.soap_action = NULL;
	r.method = "GET / HTTP/1.1\r\nX:";
	assert_null(fetch_start(&fx->box->env, &r, on_done, fx, &error));
}

static void bodies_at_the_bound(void **state)
{
	struct fixture *fx = *state;
	static char text[2048];
	int head;

	listen_on(fx, NULL);
	for (int over = 0; over < 2; over++) {
		static const char *const heads[] = {
			"HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
			"HTTP/1.0 200 OK\r\n\r\n",
		};
		unsigned n = 1000 + (unsigned)over;

		for (int i = 0; i < 3; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			head = snprintf(text, sizeof(text), heads[i], n);
#pragma GCC diagnostic pop
			memset(text + head, 'x', n);
			strcpy(text + head + n, i == 1 ? "\r\n0\r\n\r\n" : "");
			fx->hangs_up = i == 2;
			ask_and_get(fx, text);
			if (over) {
				failed(fx, -EMSGSIZE, "too long");
			} else {
				assert_int_equal(fx->result.error, 0);
				assert_int_equal(strlen(fx->body), 1000);
			}
		}
	}
}

static void answers_that_are_none(void **state)
{
	struct fixture *fx = *state;
	struct buf endless;

	listen_on(fx, NULL);
	ask_and_get(fx, "SIP/2.0 200 OK\r\n\r\n");
	failed(fx, -EPROTO, "127.0.0.1:");
	ask_and_get(fx, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello");
	failed(fx, -EPROTO, "");
	ask_and_get(fx, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
	failed(fx, -EPROTO, "");
	ask_and_get(fx, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	failed(fx, -EPROTO, "");
	buf_init(&endless, 1 << 20);
	for (int i = 0; i < 9; i++)
		buf_add_str(&endless, "HTTP/1.1 100 Continue\r\n\r\n");
	ask_and_get(fx, endless.p);
	failed(fx, -EPROTO, "interim");
	buf_reset(&endless);
	buf_add_str(&endless, "HTTP/1.1 200 OK\r\nX: ");
	while (endless.n < 17 * 1024)
		buf_add_char(&endless, 'x');
	ask_and_get(fx, endless.p);
	failed(fx, -EPROTO, "");
	buf_fini(&endless);
	fx->hangs_up = true;
	ask_and_get(fx, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell");
	failed(fx, -ECONNRESET, "before the answer was whole");
	ask_and_get(fx, "HTTP/1.1 200 OK\r\nTransfer-Enc");
	failed(fx, -ECONNRESET, "before the answer was whole");
}

static void a_cut_is_no_end(void **state)
{
	struct fixture *fx = *state;

	listen_on(fx, "web");
	fx->cuts = true;
	ask_and_get(fx, "HTTP/1.0 200 OK\r\n\r\nuntil the e");
	failed(fx, -ECONNRESET, "closed without close_notify");
}

static void certificates_are_checked(void **state)
{
	struct fixture *fx = *state;
	struct fetch_request r;
	struct addr to;
	char url[128];

	listen_on(fx, "guest");
	fx->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	r = get(fx);
	ask(fx, &r);
	failed(fx, -EPERM, "name mismatch: wanted 127.0.0.1, certificate has guest.example.com");
	r.tls = NULL; /* the system's CAs */
	ask(fx, &r);
	failed(fx, -EPERM, "not signed by");
	r.verify = false;
	ask(fx, &r);
	succeeded(fx, 200, "");
	/* The right name at a pinned address: no DNS is asked. */
	to = stream_box_listening(fx->box);
	snprintf(url, sizeof(url), "https://guest.example.com:%u/", to.port);
	r = get(fx);
	r.url = url;
	r.to = &to;
	ask(fx, &r);
	succeeded(fx, 200, "");
	assert_non_null(strstr(fx->request, "\r\nHost: guest.example.com:"));
	/* Plain HTTP where TLS is expected. */
	stream_listener_free(fx->l);
	listen_on(fx, NULL);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", stream_box_listening(fx->box).port);
	r = get(fx);
	r.url = url;
	fx->answer = NULL;
	r.timeout_ms = 100;
	ask(fx, &r);
	failed(fx, -ETIMEDOUT, "");
}

static void hosts_file(struct fixture *fx, const char *text)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/hosts", fx->box->dir);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	assert_int_equal(dns_set_hosts_file(fx->box->env.dns, path), 0);
}

static void addresses_in_turn(void **state)
{
	struct fixture *fx = *state;
	struct fetch_request r;
	char url[128];

	listen_on(fx, NULL);
	hosts_file(fx, "127.0.0.7 many.test\n127.0.0.8 many.test\n127.0.0.1 many.test\n"
		       "127.0.0.9 dead.test\n");
	snprintf(url, sizeof(url), "http://many.test:%u/", stream_box_listening(fx->box).port);
	r = get(fx);
	r.url = url;
	fx->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	ask(fx, &r);
	succeeded(fx, 200, "");
	assert_int_equal(fx->result.from.ip[3], 1);
	snprintf(url, sizeof(url), "http://dead.test:%u/", stream_box_listening(fx->box).port);
	ask(fx, &r);
	failed(fx, -ECONNREFUSED, "dead.test:");
	/* A name that is none is answered at once, but not before fetch_start() returns. */
	r.url = "http://localhost.invalid-name-that-is-far-too-long-for-one-label-of-the-domain-"
		"name-system-which-ends-at-63.example/";
	fx->n_done = 0;
	fx->fetch = fetch_start(&fx->box->env, &r, on_done, fx, &(int){ 0 });
	if (fx->fetch) {
		assert_int_equal(fx->n_done, 0);
		UNTIL(fx->box, fx->n_done == 1);
		assert_int_not_equal(fx->result.error, 0);
	}
}

static void time_runs_out(void **state)
{
	struct fixture *fx = *state;
	struct fetch_request r;

	listen_on(fx, NULL);
	r = get(fx);
	r.timeout_ms = 1000; /* a slow machine is connected by then */
	fx->answer = NULL;
	ask(fx, &r);
	failed(fx, -ETIMEDOUT, "no answer in time");
	fx->answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell";
	ask(fx, &r);
	failed(fx, -ETIMEDOUT, "did not end in time");
}

static void cancelled(void **state)
{
	struct fixture *fx = *state;
	struct fetch_request r;

	listen_on(fx, "web");
	fetch_cancel(NULL);
	r = get(fx);
	for (int turns = 0; turns < 8; turns++) {
		start(fx, &r);
		for (int i = 0; i < turns; i++)
			loop_once(fx->box->env.loop, 1);
		fetch_cancel(fx->fetch);
		fx->fetch = NULL;
		loop_once(fx->box->env.loop, 0);
		assert_int_equal(fx->n_done, 0);
	}
	fx->cancel_inside = true;
	ask_and_get(fx, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	succeeded(fx, 200, "");
}

static void exchange_without_memory(void *arg)
{
	struct fixture *fx = arg;
	struct fetch_request r = get(fx);
	int error;

	r.user = "user";
	r.password = "password";
	r.body = SLICE("body");
	r.content_type = "text/plain";
	fx->n_done = 0;
	fx->n_request = 0;
	fx->request[0] = '\0';
	fx->fetch = fetch_start(&fx->box->env, &r, on_done, fx, &error);
	if (!fx->fetch) {
		assert_int_equal(error, -ENOMEM);
		return;
	}
	UNTIL(fx->box, server_moves(fx, "\r\n\r\nbody"));
	for (int i = 0; i < 3; i++)
		loop_once(fx->box->env.loop, 0);
	if (fx->result.error == 0)
		assert_string_equal(fx->body, "hello");
}

static void without_memory(void **state)
{
	struct fixture *fx = *state;

	listen_on(fx, "web");
	fx->answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		     "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
	assert_in_range(alloc_fail_sweep(exchange_without_memory, fx), 10, 200);
	succeeded(fx, 200, "hello");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(plain_answers),
		T(tls_answers),
		T(requests_as_they_go_out),
		T(bad_requests),
		T(bodies_at_the_bound),
		T(answers_that_are_none),
		T(a_cut_is_no_end),
		T(certificates_are_checked),
		T(addresses_in_turn),
		T(time_runs_out),
		T(cancelled),
		T(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
