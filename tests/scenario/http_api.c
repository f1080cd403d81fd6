/* The HTTPS API: real TLS on loopback, an in-memory service that knows the administrators, and a
 * handler. */
#include <errno.h>

#include "core/net.h"
#include "core/system_conf.h"
#include "http/api.h"
#include "support/free_port.h"
#include "support/stream_box.h"
#include "turnpike/signin.h"

/* The signin module is not linked here: its section, as far as it matters. */
struct admin_section {
	struct conf_common common;
};
static const struct conf_section admin_section = { .type = "admin",
						   .repeatable = true,
						   .roles = CONF_ROLE_BOTH,
						   .size = sizeof(struct admin_section) };
static const struct conf_section *const schema[] = { &system_conf_section, &tls_conf_section,
						     &api_section, &admin_section };

struct lab {
	struct stream_box *box;
	struct env env;
	struct api *api;
	const char *at;
	uint16_t port;
	/* the service that knows the administrators */
	struct timer timer;
	enum signin_status verdict; /* of "Basic good"; others are denied */
	bool mute;
	uint64_t pending;
	unsigned n_asked, n_cancels;
	char asked[64];
	void (*done)(void *arg, enum signin_status status, const char *name, uint32_t retry_after_s,
		     const char *why);
	void *done_arg;
	/* the handler */
	int status;
	unsigned n_calls;
	char seen[256];
};

struct client {
	struct lab *lab;
	struct stream *s;
	struct buf got;
	bool opened, closed, eof;
};

#define SOON(lab, what) UNTIL((lab)->box, what)

/* --- who is an administrator --- */

static void say_verdict(void *arg)
{
	struct lab *lab = arg;
	bool good = strcmp(lab->asked, "Basic good") == 0;
	bool broken = strcmp(lab->asked, "Bearer x") == 0;

	lab->pending = 0;
	lab->done(lab->done_arg,
		  good	   ? lab->verdict
		  : broken ? SIGNIN_BAD_REQUEST
			   : SIGNIN_DENIED,
		  good ? "ops" : "", good && lab->verdict == SIGNIN_TOO_MANY ? 17 : 0,
		  "said the test");
}

static uint64_t sg_admin(void *self, struct slice authorization, const struct addr *from,
			 void (*done)(void *arg, enum signin_status status, const char *name,
				      uint32_t retry_after_s, const char *why),
			 void *arg)
{
	struct lab *lab = self;

	assert_int_equal(lab->pending, 0);
	assert_int_equal(from->family, ADDR_IP4);
	slice_copy(lab->asked, sizeof(lab->asked), authorization);
	lab->done = done;
	lab->done_arg = arg;
	lab->pending = ++lab->n_asked;
	if (!lab->mute)
		timer_start(loop_timers(lab->box->env.loop), &lab->timer, 0);
	return lab->pending;
}

static void sg_cancel(void *self, uint64_t id)
{
	struct lab *lab = self;

	assert_int_equal(id, lab->pending);
	lab->pending = 0;
	lab->n_cancels++;
	timer_stop(loop_timers(lab->box->env.loop), &lab->timer);
}

static const struct signin_ops signin = { .admin = sg_admin, .cancel = sg_cancel };

/* --- the handler --- */

static int on_things(void *arg, const struct api_request *r, json_t **out)
{
	struct lab *lab = arg;
	char *text = json_dumps(r->body, JSON_COMPACT | JSON_SORT_KEYS);

	lab->n_calls++;
	snprintf(lab->seen, sizeof(lab->seen), "%s %s %s %s", r->method, r->path, r->admin, text);
	free(text);
	if (lab->status == 204)
		return 204;
	*out = lab->status == 200 ? json_pack("{s:s}", "password", "geheim")
				  : json_pack("{s:s}", "error", "not for you");
	return lab->status;
}

/* --- the box --- */

static struct conf_snapshot *parse(struct lab *lab, const char *more)
{
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 4096);
	buf_init(&errors, 4096);
	buf_printf(&text,
		   "[system]\nrole = C\nname = core1.example.com\n"
		   "[tls web]\ncertificate = %s/web.pem\nkey = %s/web.key\n[admin ops]\n"
		   "[api]\naddress = %s\nport = %u\n%s",
		   lab->box->dir, lab->box->dir, lab->at, lab->port, more);
	snap = conf_parse(lab->env.conf, "t.ini", slice_of(text.p), 0, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&text);
	buf_fini(&errors);
	return snap;
}

static int reconfigure(struct lab *lab, const char *more)
{
	struct conf_snapshot *next = parse(lab, more);
	struct buf errors;
	int error;

	buf_init(&errors, 4096);
	error = api_prepare(lab->api, next, &errors);
	if (error == 0) {
		error = api_configure(lab->api, next, &errors);
		conf_swap(lab->env.conf, next);
	} else {
		conf_unref(next);
	}
	buf_fini(&errors);
	return error;
}

static const struct api_ops *ops_of(struct lab *lab, void **self)
{
	struct service s = service_find(lab->env.modules, API_SERVICE);

	assert_non_null(s.ops);
	*self = s.self;
	return s.ops;
}

static struct lab *lab_new(const char *more)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	const struct api_ops *ops;
	struct buf errors;
	void *self;
	int error;

	lab->box = stream_box_new();
	lab->env = lab->box->env;
	lab->env.role = CONF_ROLE_C;
	lab->at = "127.0.0.1";
	lab->port = free_port();
	lab->verdict = SIGNIN_OK;
	lab->status = 200;
	timer_init(&lab->timer, say_verdict, lab);
	lab->env.conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	conf_swap(lab->env.conf, parse(lab, more));
	lab->env.modules = modules_new(&lab->env, NULL, 0);
	lab->api = api_new(&lab->env, &error);
	assert_non_null(lab->api);
	ops = ops_of(lab, &self);
	assert_int_equal(ops->add(self, "POST", "/api/v1/things", on_things, lab), 0);
	assert_int_equal(ops->add(self, "GET", "/api/v1/things", on_things, lab), 0);
	assert_int_equal(ops->add(self, "GET", "/api/v1/things", on_things, lab), -EEXIST);
	api_set_signin(lab->api, &(struct service){ &signin, lab });
	buf_init(&errors, 4096);
	assert_int_equal(api_configure(lab->api, conf_current(lab->env.conf), &errors), 0);
	buf_fini(&errors);
	return lab;
}

static void lab_free(struct lab *lab)
{
	api_free(lab->api);
	assert_int_equal(lab->pending, 0);
	assert_int_equal(conn_count(lab->env.conns, CONN_HTTP), 0);
	assert_int_equal(conn_count(lab->env.conns, CONN_REQUEST), 0);
	modules_free(lab->env.modules);
	conf_store_free(lab->env.conf);
	stream_box_free(lab->box);
	free(lab);
}

/* --- clients --- */

static void client_opened(void *arg)
{
	((struct client *)arg)->opened = true;
}

static void client_readable(void *arg)
{
	struct client *c = arg;
	size_t n = evbuffer_get_length(stream_in(c->s));

	if (n > 0)
		buf_add(&c->got, evbuffer_pullup(stream_in(c->s), -1), n);
	evbuffer_drain(stream_in(c->s), n);
	c->eof = stream_eof(c->s);
	stream_consumed(c->s);
}

static void client_closed(void *arg, enum stream_end end, const char *why)
{
	struct client *c = arg;

	c->closed = true;
	c->s = NULL;
}

static const struct stream_handler client_handler = { .opened = client_opened,
						      .readable = client_readable,
						      .closed = client_closed };

static struct client *dial(struct lab *lab)
{
	struct stream_connect to = { .to = stream_box_addr(lab->port),
				     .timeout_ms = 5000,
				     .tls = "guest",
				     .server_name = "web.example.com",
				     .verify = true };
	struct client *c = calloc(1, sizeof(*c));
	int error;

	c->lab = lab;
	buf_init(&c->got, 1 << 20);
	c->s = stream_connect(&lab->box->env, &to, &client_handler, c, &error);
	assert_non_null(c->s);
	SOON(lab, c->opened || c->closed);
	return c;
}

static void hang_up(struct client *c)
{
	stream_close(c->s);
	buf_fini(&c->got);
	free(c);
}

static bool is_answered(const struct client *c)
{
	const char *end = c->got.p ? strstr(c->got.p, "\r\n\r\n") : NULL;
	const char *length = end ? strcasestr(c->got.p, "\r\nContent-Length: ") : NULL;

	if (!end)
		return false;
	return !length || length > end || strlen(end + 4) >= strtoul(length + 18, NULL, 10);
}

static void begins(struct client *c, const char *text)
{
	assert_non_null(c->s);
	buf_reset(&c->got);
	evbuffer_add(stream_out(c->s), text, strlen(text));
	stream_flush(c->s);
}

/* head: request line and fields; 0: the connection ended without an answer. */
static int asks(struct client *c, const char *head, const char *body)
{
	static char text[200000];

	snprintf(text, sizeof(text), "%s%s\r\n%s", head, "Host: core1.example.com\r\n", body);
	begins(c, text);
	SOON(c->lab, is_answered(c) || c->closed || c->eof);
	return is_answered(c) ? atoi(c->got.p + 9) : 0;
}

static bool got(const struct client *c, const char *text)
{
	return c->got.p && strstr(c->got.p, text);
}

#define POST	  "POST /api/v1/things HTTP/1.1\r\n"
#define GOOD	  "Authorization: Basic good\r\n"
#define JSON	  "Content-Type: application/json\r\n"
#define LENGTH(n) "Content-Length: " #n "\r\n"

static int posts(struct client *c, const char *body)
{
	char head[256];

	snprintf(head, sizeof(head), POST GOOD JSON "Content-Length: %zu\r\n", strlen(body));
	return asks(c, head, body);
}

/* --- tests --- */

static void good_requests(void **state)
{
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);

	assert_int_equal(posts(c, "{\"a\":1}"), 200);
	assert_string_equal(lab->seen, "POST /api/v1/things ops {\"a\":1}");
	assert_true(got(c, "Content-Type: application/json\r\n"));
	assert_true(got(c, "Cache-Control: no-store\r\n"));
	assert_true(got(c, "\r\n\r\n{\"password\":\"geheim\"}"));
	/* the connection goes on; a body may be absent */
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	assert_string_equal(lab->seen, "POST /api/v1/things ops {}");
	assert_int_equal(asks(c, "GET /api/v1/things HTTP/1.1\r\n" GOOD, ""), 200);
	assert_string_equal(lab->seen, "GET /api/v1/things ops {}");
	assert_int_equal(asks(c,
			      POST GOOD "content-type: Application/JSON; charset=utf-8\r\n"
					"Transfer-Encoding: chunked\r\n",
			      "2\r\n{}\r\n0\r\n\r\n"),
			 200);
	lab->status = 204;
	assert_int_equal(asks(c, POST GOOD, ""), 204);
	assert_int_equal(lab->n_calls, 5);
	hang_up(c);
	lab_free(lab);
}

/* Nobody learns anything without credentials, not even which paths there are. */
static void credentials_first(void **state)
{
	static const char *const heads[] = {
		POST,
		"GET /nothing HTTP/1.1\r\n",
		"DELETE /api/v1/things HTTP/1.1\r\n",
		"OPTIONS * HTTP/1.1\r\n",
		POST "Authorization: Basic bad\r\n",
		POST "Authorization: Bearer x\r\n",
		"GET /nothing HTTP/1.1\r\nAuthorization: Basic bad\r\n",
	};
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		assert_int_equal(asks(c, heads[i], ""), 401);
		assert_true(got(c, "WWW-Authenticate: Basic realm=\"turnpike\""));
		assert_true(got(c, "{\"error\":"));
	}
	/* A body is read away, not looked at. */
	assert_int_equal(asks(c, POST LENGTH(3), "{{{"), 401);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	assert_int_equal(lab->n_calls, 1);
	assert_true(trace_count(lab->env.trace, "http.api.refused") >= 8);
	hang_up(c);
	lab_free(lab);
}

static void slowed_down(void **state)
{
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);

	lab->verdict = SIGNIN_TOO_MANY;
	assert_int_equal(asks(c, POST GOOD, ""), 429);
	assert_true(got(c, "Retry-After: 17\r\n"));
	lab->verdict = SIGNIN_UNAVAILABLE;
	assert_int_equal(asks(c, POST GOOD, ""), 503);
	assert_true(got(c, "Retry-After: 5\r\n"));
	lab->verdict = SIGNIN_OK;
	lab->status = 503;
	assert_int_equal(asks(c, POST GOOD, ""), 503);
	assert_true(got(c, "Retry-After: 5\r\n"));
	assert_true(got(c, "{\"error\":\"not for you\"}"));
	lab->status = 403;
	assert_int_equal(asks(c, POST GOOD, ""), 403);
	assert_false(got(c, "Retry-After"));
	hang_up(c);
	lab_free(lab);
}

static void paths_and_methods(void **state)
{
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);

	assert_int_equal(asks(c, "POST /api/v1/thing HTTP/1.1\r\n" GOOD, ""), 404);
	assert_int_equal(asks(c, "POST /api/v1/things/ HTTP/1.1\r\n" GOOD, ""), 404);
	assert_int_equal(asks(c, "POST /api/v1/%74hings HTTP/1.1\r\n" GOOD, ""), 404);
	assert_int_equal(asks(c, "POST /api/v1/../v1/things HTTP/1.1\r\n" GOOD, ""), 404);
	assert_int_equal(asks(c, "PUT /api/v1/things HTTP/1.1\r\n" GOOD, ""), 405);
	assert_true(got(c, "Allow: POST, GET\r\n"));
	assert_true(got(c, "Cache-Control: no-store\r\n"));
	assert_int_equal(asks(c, "post /api/v1/things HTTP/1.1\r\n" GOOD, ""), 405);
	assert_int_equal(asks(c, "GET /api/v1/things?x=1 HTTP/1.1\r\n" GOOD, ""), 400);
	assert_int_equal(lab->n_calls, 0);
	hang_up(c);
	lab_free(lab);
}

static void bodies(void **state)
{
	static const char *const bad[] = {
		"[]",
		"1",
		"\"x\"",
		"{",
		"{}{}",
		"{\"a\":1,\"a\":2}",
		"{\"a\":\"\\u0000\"}",
		"{\"a\":\"\xff\"}",
		"null",
		"{a:1}",
		"{\"a\":[[[[[[[[1]]]]]]]]}",
	};
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (posts(c, bad[i]) != 400)
			fail_msg("%s: %s", bad[i], c->got.p);
	assert_int_equal(lab->n_calls, 0);
	assert_int_equal(posts(c, "{\"a\":[[[[[[[1]]]]]]]}"), 200); /* eight deep */
	assert_int_equal(posts(c, " {} \r\n"), 200);
	assert_int_equal(asks(c, POST GOOD LENGTH(2), "{}"), 415);
	assert_int_equal(asks(c, POST GOOD "Content-Type: text/plain\r\n" LENGTH(2), "{}"), 415);
	assert_int_equal(asks(c, POST GOOD JSON JSON LENGTH(2), "{}"), 415);
	assert_int_equal(asks(c, POST GOOD JSON "Content-Encoding: gzip\r\n" LENGTH(2), "{}"), 415);
	assert_int_equal(asks(c, POST GOOD "Content-Type: application/jsonx\r\n" LENGTH(2), "{}"),
			 415);
	hang_up(c);
	lab_free(lab);
}

static void at_max_body(void **state)
{
	struct lab *lab = lab_new("tls = web\nmax-body = 1024\n");
	struct client *c = dial(lab);
	char body[1100];

	memset(body, ' ', sizeof(body));
	memcpy(body, "{}", 2);
	body[1024] = '\0';
	assert_int_equal(posts(c, body), 200);
	body[1024] = ' ';
	body[1025] = '\0';
	assert_int_equal(posts(c, body), 413);
	assert_true(got(c, "max-body"));
	assert_int_equal(posts(c, "{}"), 200);
	hang_up(c);
	lab_free(lab);
}

static void not_http(void **state)
{
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);

	begins(c, "\x16\x03\x01 garbage\r\n\r\n");
	SOON(lab, c->eof || c->closed);
	assert_true(got(c, "HTTP/1.1 400"));
	assert_int_equal(trace_count(lab->env.trace, "http.bad-request"), 1);
	hang_up(c);
	/* two lengths */
	c = dial(lab);
	assert_int_equal(asks(c, POST GOOD JSON LENGTH(2) LENGTH(3), "{} "), 400);
	hang_up(c);
	assert_int_equal(lab->n_calls, 0);
	lab_free(lab);
}

static void client_goes_away(void **state)
{
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);

	lab->mute = true;
	begins(c, POST GOOD "Host: x\r\n\r\n");
	SOON(lab, lab->pending);
	stream_abort(c->s);
	c->s = NULL;
	SOON(lab, lab->n_cancels == 1);
	hang_up(c);
	/* and the box, while a request waits */
	c = dial(lab);
	begins(c, POST GOOD "Host: x\r\n\r\n");
	SOON(lab, lab->pending);
	api_drain(lab->api);
	assert_int_equal(api_busy(lab->api), 1);
	api_free(lab->api);
	lab->api = NULL;
	hang_up(c);
	lab_free(lab);
}

static void shown_in_the_table(void **state)
{
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);
	const struct conn *front;

	assert_int_equal(asks(c, POST GOOD, ""), 200);
	assert_int_equal(conn_count(lab->env.conns, CONN_HTTP), 1);
	front = CONTAINER_OF(conn_list(lab->env.conns, CONN_HTTP)->next, struct conn, node);
	assert_string_equal(front->zone, "api");
	assert_string_equal(front->user, "ops");
	assert_int_equal(front->transport, CONN_TLS);
	hang_up(c);
	lab_free(lab);
}

static void only_from_there(void **state)
{
	struct lab *lab = lab_new("tls = web\nfrom = 192.0.2.0/24 2001:db8::/32\n");
	struct client *c = dial(lab);

	SOON(lab, c->closed);
	assert_int_equal(trace_count(lab->env.trace, "http.api.from"), 1);
	hang_up(c);
	assert_int_equal(reconfigure(lab, "tls = web\nfrom = 192.0.2.0/24 127.0.0.0/8\n"), 0);
	c = dial(lab);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	/* Who is connected has no more rights than who comes now. */
	assert_int_equal(reconfigure(lab, "tls = web\nfrom = 192.0.2.0/24\n"), 0);
	lab->n_asked = 0;
	assert_int_equal(asks(c, POST GOOD, ""), 403);
	assert_int_equal(reconfigure(lab, ""), 0);
	assert_int_equal(asks(c, POST GOOD, ""), 403);
	assert_true(got(c, "[api] is off"));
	assert_int_equal(lab->n_asked, 0);
	assert_int_equal(reconfigure(lab, "tls = web\n"), 0);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	hang_up(c);
	lab_free(lab);
}

/* A refused request is not listed as that of the administrator who asked before on the same
 * connection. */
static void nobody_inherits_a_name(void **state)
{
	struct lab *lab = lab_new("tls = web\n");
	struct client *c = dial(lab);
	const struct conn *request;

	assert_int_equal(asks(c, POST GOOD, ""), 200);
	lab->mute = true;
	begins(c, POST "Authorization: Basic bad\r\nHost: core1.example.com\r\n\r\n");
	SOON(lab, lab->pending);
	request = CONTAINER_OF(conn_list(lab->env.conns, CONN_REQUEST)->next, struct conn, node);
	assert_string_equal(request->user, "");
	stream_abort(c->s);
	c->s = NULL;
	SOON(lab, lab->n_cancels == 1);
	hang_up(c);
	lab_free(lab);
}

static void off_until_tls(void **state)
{
	struct lab *lab = lab_new("");
	struct client *c;
	uint16_t first = lab->port;
	struct addr a;
	uint32_t n;
	int fd;

	assert_int_equal(conn_count(lab->env.conns, CONN_LISTENER), 0);
	assert_int_equal(reconfigure(lab, "tls = web\n"), 0);
	assert_int_equal(conn_count(lab->env.conns, CONN_LISTENER), 1);
	c = dial(lab);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	/* another port: who is connected stays */
	lab->port = free_port();
	assert_int_equal(reconfigure(lab, "tls = web\n"), 0);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	hang_up(c);
	c = dial(lab);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	hang_up(c);
	/* from one address to any, and back: the same port */
	n = conn_count(lab->env.conns, CONN_LISTENER);
	lab->at = "any";
	assert_int_equal(reconfigure(lab, "tls = web\n"), 0);
	assert_true(conn_count(lab->env.conns, CONN_LISTENER) >= n);
	c = dial(lab);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	hang_up(c);
	lab->at = "127.0.0.1";
	assert_int_equal(reconfigure(lab, "tls = web\n"), 0);
	assert_int_equal(conn_count(lab->env.conns, CONN_LISTENER), n);
	c = dial(lab);
	assert_int_equal(asks(c, POST GOOD, ""), 200);
	hang_up(c);
	/* a port that somebody has: refused before anything changes */
	a = stream_box_addr(first);
	fd = net_listen_tcp(&a, 1);
	assert_true(fd >= 0);
	lab->port = first;
	assert_int_equal(reconfigure(lab, "tls = web\n"), -EADDRINUSE);
	close(fd);
	assert_int_equal(reconfigure(lab, ""), 0);
	assert_int_equal(conn_count(lab->env.conns, CONN_LISTENER), 0);
	lab_free(lab);
}

static void bad_settings(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "[system]\nrole = C\nname = c\n[api]\ntls = web\n", "web" },
		{ "[system]\nrole = E\nname = e\n[api]\nport = 1\n", "api" },
		{ "[system]\nrole = C\nname = c\n[api]\nmax-body = 1023\n", "max-body" },
		{ "[system]\nrole = C\nname = c\n[api]\nmax-body = 1048577\n", "max-body" },
		{ "[system]\nrole = C\nname = c\n[api]\nfrom = 1.2.3.4.5\n", "from" },
	};
	struct lab *lab = lab_new("");
	struct buf errors, text;

	buf_init(&errors, 4096);
	buf_init(&text, 4096);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&errors);
		assert_null(conf_parse(lab->env.conf, "t.ini", slice_of(rows[i].text), 0, &errors));
		assert_non_null(strstr(errors.p, rows[i].error));
	}
	/* Without an administrator nobody could ask. */
	buf_reset(&errors);
	buf_printf(&text,
		   "[system]\nrole = C\nname = c\n[tls web]\ncertificate = %s/web.pem\n"
		   "key = %s/web.key\n[api]\ntls = web\n",
		   lab->box->dir, lab->box->dir);
	assert_null(conf_parse(lab->env.conf, "t.ini", slice_of(text.p), 0, &errors));
	assert_non_null(strstr(errors.p, "there is no [admin NAME]"));
	buf_fini(&errors);
	buf_fini(&text);
	lab_free(lab);
}

static void full_of_handlers(void **state)
{
	static char paths[64][32];
	struct lab *lab = lab_new("");
	const struct api_ops *ops;
	void *self;
	int error = 0;

	ops = ops_of(lab, &self);
	for (int i = 0; i < 62; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/api/v1/%d", i);
		assert_int_equal(ops->add(self, "GET", paths[i], on_things, lab), 0);
	}
	error = ops->add(self, "GET", "/api/v1/more", on_things, lab);
	assert_int_equal(error, -ENOSPC);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests),
		cmocka_unit_test(credentials_first),
		cmocka_unit_test(slowed_down),
		cmocka_unit_test(paths_and_methods),
		cmocka_unit_test(bodies),
		cmocka_unit_test(at_max_body),
		cmocka_unit_test(not_http),
		cmocka_unit_test(client_goes_away),
		cmocka_unit_test(shown_in_the_table),
		cmocka_unit_test(only_from_there),
		cmocka_unit_test(nobody_inherits_a_name),
		cmocka_unit_test(off_until_tls),
		cmocka_unit_test(bad_settings),
		cmocka_unit_test(full_of_handlers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
