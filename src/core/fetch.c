/*
 * One HTTP request of our own.
 *
 *   RESOLVING --addresses--> CONNECTING --opened--> HEAD --head--> BODY --whole--> DONE
 *   CONNECTING --failed--> CONNECTING (next address)
 *   any --time is over, error--> DONE
 */
#include "core/fetch.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "core/dns.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/stream_socket.h"

#define MAX_REQUEST_BYTES  (4 * 1024 * 1024)
#define MAX_HEAD_BYTES	   (16 * 1024)
#define MAX_INTERIM	   8 /* 1xx answers in front of the real one */
#define DEFAULT_TIMEOUT_MS 10000
#define DEFAULT_MAX_BODY   (1024 * 1024)

enum fetch_state { FETCH_RESOLVING, FETCH_CONNECTING, FETCH_HEAD, FETCH_BODY, FETCH_DONE };

struct fetch {
	struct env *env;
	void (*done)(const struct fetch_result *r, void *arg);
	void *arg;
	enum fetch_state state;
	struct loop_deferred begin, bury;
	struct timer timer;
	struct dns_query *query;
	struct addr addrs[DNS_MAX_ADDRS];
	size_t n_addrs, next_addr;
	struct stream *s;
	bool opened;
	/* of the request */
	bool https, verify;
	char host[HTTP_URL_HOST_BYTES];
	uint16_t port;
	char *tls;
	enum http_method method;
	struct buf request;
	size_t max_body;
	/* of the answer */
	struct buf head_bytes, body;
	struct http_head head;
	struct http_body_reader reader;
	size_t scanned;
	unsigned n_interim;
	struct fetch_result result;
};

static void try_next(struct fetch *f);

/* --- the end --- */

static void fetch_free(struct fetch *f)
{
	if (f->request.p)
		OPENSSL_cleanse(f->request.p, f->request.n); /* may hold a password */
	buf_fini(&f->request);
	buf_fini(&f->head_bytes);
	buf_fini(&f->body);
	free(f->tls);
	free(f);
}

static void bury(void *arg)
{
	fetch_free(arg);
}

/* No callback any more; the memory goes at the end of the turn. */
static void stop(struct fetch *f)
{
	f->state = FETCH_DONE;
	loop_defer_cancel(&f->begin);
	timer_stop(loop_timers(f->env->loop), &f->timer);
	dns_cancel(f->query);
	f->query = NULL;
	stream_close(f->s);
	f->s = NULL;
	loop_defer(f->env->loop, &f->bury);
}

void fetch_cancel(struct fetch *f)
{
	if (f && f->state != FETCH_DONE)
		stop(f);
}

static void set_why(struct fetch *f, const char *why)
{
	snprintf(f->result.why, sizeof(f->result.why), "%.100s:%u: %s", f->host, f->port, why);
}

static void fail(struct fetch *f, int error, const char *why)
{
	if (f->state == FETCH_DONE)
		return;
	stop(f);
	f->result.error = error;
	set_why(f, why);
	f->done(&f->result, f->arg);
}

static void succeed(struct fetch *f)
{
	stop(f);
	f->result.error = 0; /* of an address that did not answer */
	f->result.why[0] = '\0';
	f->result.status = f->head.status;
	f->result.head = &f->head;
	f->result.body = buf_slice(&f->body);
	f->done(&f->result, f->arg);
}

static void on_time_over(void *arg)
{
	static const char *const what[] = {
		[FETCH_RESOLVING] = "no answer from DNS in time",
		[FETCH_CONNECTING] = "no connection in time",
		[FETCH_HEAD] = "no answer in time",
		[FETCH_BODY] = "the answer did not end in time",
	};
	struct fetch *f = arg;

	fail(f, -ETIMEDOUT, what[f->state]);
}

/* --- the answer --- */

static void drain(struct fetch *f, size_t n)
{
	evbuffer_drain(stream_in(f->s), n);
}

/* The head is kept: its slices have to outlive the stream's buffer. */
static bool keep_head(struct fetch *f, struct slice bytes, const struct http_limits *limits)
{
	const char *why;
	size_t scanned = 0;

	buf_reset(&f->head_bytes);
	buf_add(&f->head_bytes, bytes.p, f->head.n_bytes);
	return !f->head_bytes.failed &&
	       http_response_parse(buf_slice(&f->head_bytes), limits, &scanned, f->method, &f->head,
				   &why) == HTTP_OK;
}

/* True when something was taken off the input. */
static bool take_head(struct fetch *f, struct slice bytes)
{
	const struct http_limits limits = { MAX_HEAD_BYTES, MAX_HEAD_BYTES, HTTP1_MAX_FIELDS };
	const char *why = "";

	switch (http_response_parse(bytes, &limits, &f->scanned, f->method, &f->head, &why)) {
	case HTTP_MORE:
		return false;
	case HTTP_BAD:
		fail(f, -EPROTO, why);
		return false;
	case HTTP_OK:
		break;
	}
	f->scanned = 0;
	/* RFC 9110 section 15.2: any number of them may come first, but there is an end to it. A
	 * switch of protocols was not asked for. */
	if (f->head.status == 101 || (f->head.status < 200 && ++f->n_interim > MAX_INTERIM)) {
		fail(f, -EPROTO, "interim answers without end");
		return false;
	}
	if (f->head.status < 200) {
		drain(f, f->head.n_bytes);
		return true;
	}
	if (!keep_head(f, bytes, &limits)) {
		fail(f, -ENOMEM, "out of memory");
		return false;
	}
	drain(f, f->head.n_bytes);
	http_body_init(&f->reader, &f->head);
	f->state = FETCH_BODY;
	if (f->head.body == HTTP_BODY_NONE)
		succeed(f);
	else if (f->head.body == HTTP_BODY_LENGTH && f->head.content_length > f->max_body)
		fail(f, -EMSGSIZE, "the answer is too long");
	return f->state == FETCH_BODY;
}

static bool take_body(struct fetch *f, struct slice bytes)
{
	struct http_body_part part = http_body_next(&f->reader, bytes);

	if (part.bad) {
		fail(f, -EPROTO, part.why);
		return false;
	}
	if (f->body.n + part.data > f->max_body) {
		fail(f, -EMSGSIZE, "the answer is too long");
		return false;
	}
	buf_add(&f->body, bytes.p + part.skip, part.data);
	if (f->body.failed) {
		fail(f, -ENOMEM, "out of memory");
		return false;
	}
	drain(f, part.skip + part.data);
	if (part.end)
		succeed(f);
	return f->state == FETCH_BODY && part.skip + part.data > 0;
}

static bool take_some(struct fetch *f)
{
	struct evbuffer *in = stream_in(f->s);
	struct slice bytes = { NULL, evbuffer_get_length(in) };

	bytes.p = bytes.n ? (const char *)evbuffer_pullup(in, -1) : "";
	if (!bytes.p) {
		fail(f, -ENOMEM, "out of memory");
		return false;
	}
	/* Empty bodies have an end as well, so BODY is asked without bytes too. */
	if (f->state == FETCH_BODY)
		return take_body(f, bytes);
	return bytes.n > 0 && take_head(f, bytes);
}

static void on_readable(void *arg)
{
	struct fetch *f = arg;

	while ((f->state == FETCH_HEAD || f->state == FETCH_BODY) && take_some(f))
		;
	if (f->state == FETCH_DONE)
		return;
	if (!stream_eof(f->s))
		stream_consumed(f->s);
	else if (f->state == FETCH_BODY && f->head.body == HTTP_BODY_UNTIL_CLOSE)
		succeed(f);
	else
		fail(f, -ECONNRESET, "closed before the answer was whole");
}

/* --- the connection --- */

static void on_opened(void *arg)
{
	struct fetch *f = arg;

	f->opened = true;
	f->state = FETCH_HEAD;
	if (evbuffer_add(stream_out(f->s), f->request.p, f->request.n) < 0)
		fail(f, -ENOMEM, "out of memory");
	else
		stream_flush(f->s);
}

static int error_of(const struct fetch *f, enum stream_end end)
{
	SSL *ssl = stream_ssl(f->s);

	if (end == STREAM_END_REFUSED)
		return -ECONNREFUSED;
	if (end == STREAM_END_TIMEOUT)
		return -ETIMEDOUT;
	if (f->opened)
		return -ECONNRESET;
	return ssl && SSL_get_verify_result(ssl) != X509_V_OK ? -EPERM : -EPROTO;
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct fetch *f = arg;
	int error = error_of(f, end);

	if (f->opened)
		on_readable(f); /* what came before the end may be all of it */
	if (f->state == FETCH_DONE)
		return;
	f->s = NULL;
	/* Once the request may have been seen, it is not sent again. */
	if (f->opened) {
		fail(f, error, why);
		return;
	}
	f->result.error = error;
	set_why(f, why);
	try_next(f);
}

static const struct stream_handler handler = {
	.opened = on_opened,
	.readable = on_readable,
	.closed = on_closed,
};

/* The addresses that are left share the time that is left. */
static uint32_t share_of_time(const struct fetch *f)
{
	int64_t left = timer_left(loop_timers(f->env->loop), &f->timer);
	size_t n = f->n_addrs - f->next_addr;

	return left > (int64_t)n ? (uint32_t)(left / (int64_t)n) : 1;
}

static void try_next(struct fetch *f)
{
	while (f->next_addr < f->n_addrs) {
		struct stream_connect c = {
			.to = f->addrs[f->next_addr],
			.timeout_ms = share_of_time(f),
			.tls = f->https ? f->tls : NULL,
			.tls_public = f->https && !f->tls,
			.server_name = f->https ? f->host : NULL,
			.verify = f->verify,
		};
		int error;

		f->next_addr++;
		f->result.from = c.to;
		f->s = stream_connect(f->env, &c, &handler, f, &error);
		if (f->s)
			return;
		f->result.error = error;
		set_why(f, strerror(-error));
	}
	if (f->state == FETCH_DONE)
		return;
	stop(f);
	f->done(&f->result, f->arg);
}

static void on_addresses(const struct dns_result *r, void *arg)
{
	struct fetch *f = arg;

	f->query = NULL;
	if (r->status != 0 || r->n == 0) {
		fail(f, r->status ? r->status : -ENOENT,
		     r->status == -ETIMEDOUT ? "no answer from DNS" : "no address in DNS");
		return;
	}
	for (size_t i = 0; i < r->n; i++)
		f->addrs[i] = r->addrs[i].addr;
	f->n_addrs = r->n;
	f->state = FETCH_CONNECTING;
	try_next(f);
}

static void begin(void *arg)
{
	struct fetch *f = arg;
	struct dns_query *query;

	if (f->n_addrs > 0) {
		f->state = FETCH_CONNECTING;
		try_next(f);
		return;
	}
	query = dns_lookup_host(f->env->dns, f->host, f->port, DNS_ANY_FAMILY, on_addresses, f);
	/* With an answer at hand it was told already, and f may be done. */
	if (query)
		f->query = query;
}

/* --- the request --- */

static enum http_method method_of(struct slice name)
{
	/* Only these two change how the answer's body is delimited (RFC 9112 section 6.3). */
	if (slice_eq(name, SLICE("HEAD")))
		return HTTP_HEAD;
	return slice_eq(name, SLICE("GET")) ? HTTP_GET : HTTP_METHOD_OTHER;
}

static bool print_host(struct fetch *f, const struct http_url *u)
{
	bool is_ip6 = u->ip.family == ADDR_IP6;
	char text[HTTP_URL_HOST_BYTES + 16];

	if (u->port == (u->https ? 443 : 80))
		snprintf(text, sizeof(text), is_ip6 ? "[%s]" : "%s", u->host);
	else
		snprintf(text, sizeof(text), is_ip6 ? "[%s]:%u" : "%s:%u", u->host, u->port);
	return http_print_field(&f->request, SLICE("Host"), slice_of(text));
}

/* RFC 7617 section 2. */
static bool print_basic(struct fetch *f, const struct fetch_request *r)
{
	struct buf plain, value;
	bool ok;

	if (!r->user)
		return true;
	if (strchr(r->user, ':'))
		return false;
	buf_init(&plain, MAX_HEAD_BYTES);
	buf_init(&value, 2 * MAX_HEAD_BYTES);
	buf_printf(&plain, "%s:%s", r->user, r->password ? r->password : "");
	buf_add_str(&value, "Basic ");
	base64_encode(&value, plain.p, plain.n);
	f->request.failed |= plain.failed || value.failed;
	ok = !f->request.failed &&
	     http_print_field(&f->request, SLICE("Authorization"), buf_slice(&value));
	if (plain.p)
		OPENSSL_cleanse(plain.p, plain.n);
	if (value.p)
		OPENSSL_cleanse(value.p, value.n);
	buf_fini(&plain);
	buf_fini(&value);
	return ok;
}

static bool print_soap_action(struct fetch *f, const struct fetch_request *r)
{
	char text[256];
	int n;

	if (!r->soap_action)
		return true;
	n = snprintf(text, sizeof(text), "\"%s\"", r->soap_action);
	return n < (int)sizeof(text) && !strchr(r->soap_action, '"') &&
	       http_print_field(&f->request, SLICE("SOAPAction"), slice_of(text));
}

static bool print_target(struct fetch *f, struct slice method, const struct http_url *u)
{
	struct buf target;
	bool ok;

	buf_init(&target, MAX_REQUEST_BYTES);
	buf_add_str(&target, u->path);
	if (u->query.p) {
		buf_add_char(&target, '?');
		buf_add_slice(&target, u->query);
	}
	f->request.failed |= target.failed;
	ok = !target.failed && http_print_request_line(&f->request, method, buf_slice(&target));
	buf_fini(&target);
	return ok;
}

static bool print_request(struct fetch *f, const struct fetch_request *r, struct slice method,
			  const struct http_url *u)
{
	bool has_body =
		r->body.p || slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PUT"));
	bool ok = print_target(f, method, u) && print_host(f, u) && print_basic(f, r) &&
		  http_print_field(&f->request, SLICE("User-Agent"), SLICE("turnpike")) &&
		  http_print_field(&f->request, SLICE("Accept"), SLICE("*/*")) &&
		  (!r->content_type || http_print_field(&f->request, SLICE("Content-Type"),
							slice_of(r->content_type))) &&
		  print_soap_action(f, r) &&
		  http_print_field(&f->request, SLICE("Connection"), SLICE("close"));

	if (ok && has_body)
		http_print_length(&f->request, r->body.n);
	http_print_end(&f->request);
	buf_add_slice(&f->request, r->body);
	return ok;
}

static int take_request(struct fetch *f, const struct fetch_request *r)
{
	struct slice method = r->method ? slice_of(r->method) : SLICE("GET");
	struct http_url *u = malloc(sizeof(*u));
	const char *why;
	int error = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (!http_url_parse(slice_of(r->url), u, &why))
		goto out;
	f->https = u->https;
	f->port = u->port;
	memcpy(f->host, u->host, sizeof(f->host));
	f->method = method_of(method);
	if (r->to)
		f->addrs[0] = *r->to;
	else if (u->ip.family != ADDR_NONE)
		f->addrs[0] = u->ip;
	if (f->addrs[0].family != ADDR_NONE) {
		f->n_addrs = 1;
		if (f->addrs[0].port == 0)
			f->addrs[0].port = u->port;
	}
	f->tls = r->tls ? strdup(r->tls) : NULL;
	if (r->tls && !f->tls)
		error = -ENOMEM;
	else if (print_request(f, r, method, u))
		error = 0;
	if (f->request.failed)
		error = -ENOMEM;
out:
	free(u);
	return error;
}

struct fetch *fetch_start(struct env *env, const struct fetch_request *r,
			  void (*done)(const struct fetch_result *r, void *arg), void *arg,
			  int *error)
{
	struct fetch *f = calloc(1, sizeof(*f));

	*error = -ENOMEM;
	if (!f)
		return NULL;
	f->env = env;
	f->done = done;
	f->arg = arg;
	f->verify = r->verify;
	f->max_body = r->max_body ? r->max_body : DEFAULT_MAX_BODY;
	buf_init(&f->request, MAX_REQUEST_BYTES);
	buf_init(&f->head_bytes, MAX_HEAD_BYTES);
	buf_init(&f->body, f->max_body);
	timer_init(&f->timer, on_time_over, f);
	loop_deferred_init(&f->begin, begin, f);
	loop_deferred_init(&f->bury, bury, f);
	*error = take_request(f, r);
	if (*error) {
		fetch_free(f);
		return NULL;
	}
	timer_start(loop_timers(env->loop), &f->timer,
		    r->timeout_ms ? r->timeout_ms : DEFAULT_TIMEOUT_MS);
	loop_defer(env->loop, &f->begin);
	return f;
}
