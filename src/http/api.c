/*
 * Requests of the API. Credentials come first: who has none, or wrong ones, learns nothing else,
 * not even which paths there are.
 *
 *   head --credentials--> signin.admin --good--> path, method, type --> body --> handler --> answer
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/trace.h"
#include "http/api_impl.h"
#include "proto/json_strict.h"

#define CHALLENGE    "WWW-Authenticate: Basic realm=\"turnpike\", charset=\"UTF-8\"\r\n"
#define NO_STORE     "Cache-Control: no-store\r\n"
#define RETRY_S	     5 /* when whoever refuses does not say */
#define FIELDS_BYTES 160

/* One request, from its head to the end of its exchange. */
struct api_job {
	struct api *api;
	struct http_exchange *ex;
	const struct api_route *route;
	uint64_t signin_id; /* 0: not asked, or answered */
	char admin[SIGNIN_USER_BYTES];
};

/* --- answers --- */

static void answer(struct http_exchange *ex, int status, const char *fields, const json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	if (body && !text)
		status = 503;
	http_reply(ex, status, slice_of(fields), "application/json", slice_of(text));
	/* It may hold a password. */
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void refuse(struct api_job *j, int status, const char *fields, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void refuse(struct api_job *j, int status, const char *fields, const char *fmt, ...)
{
	const struct http_head *h = http_exchange_head(j->ex);
	struct conn *c = http_exchange_conn(j->ex);
	char why[CONN_REASON_BYTES];
	json_t *body;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	j->api->n_denied++;
	trace_add(j->api->env->trace, "http.api.refused", "[api]", &c->remote, NULL,
		  "%d: %.*s %.*s: %s", status, SLICE_ARG(h->method_text), SLICE_ARG(h->path), why);
	slice_copy(c->reason, sizeof(c->reason), slice_of(why));
	body = json_pack("{s:s*}", "error", why);
	answer(j->ex, status, fields, body);
	json_decref(body);
}

/* retry_s 0: whoever refuses did not say. */
static void fields_print(char out[FIELDS_BYTES], const char *first, int status, uint32_t retry_s)
{
	int n = snprintf(out, FIELDS_BYTES, "%s%s", NO_STORE, first);

	if (status == 429 || status == 503)
		snprintf(out + n, FIELDS_BYTES - (size_t)n, "Retry-After: %u\r\n",
			 retry_s ? retry_s : RETRY_S);
}

/* --- the handler --- */

static void run(struct api_job *j, const json_t *body)
{
	struct conn *c = http_exchange_conn(j->ex);
	const struct api_route *r = j->route;
	struct api_request request = { .method = r->method,
				       .path = r->path,
				       .admin = j->admin,
				       .from = &c->remote,
				       .body = body };
	char fields[FIELDS_BYTES];
	json_t *out = NULL;
	const char *error;
	int status = r->fn(r->arg, &request, &out);

	fields_print(fields, "", status, 0);
	error = status >= 400 ? json_string_value(json_object_get(out, "error")) : NULL;
	if (error)
		slice_copy(c->reason, sizeof(c->reason), slice_of(error));
	answer(j->ex, status, fields, out);
	json_decref(out);
}

static void on_body(void *arg, struct http_exchange *ex, int status, struct slice text)
{
	struct api_job *j = arg;
	const char *why = "out of memory";
	json_t *body;

	if (status) {
		refuse(j, status, NO_STORE, "the body has more than %u bytes ([api] max-body)",
		       j->api->conf->max_body);
		return;
	}
	body = text.n ? json_strict_parse(text, API_MAX_DEPTH, &why) : json_object();
	if (body)
		run(j, body);
	else
		refuse(j, text.n ? 400 : 503, NO_STORE, "the body: %s", why);
	json_decref(body);
}

/* --- what is asked for --- */

static const struct api_route *find(const struct api *a, struct slice path, struct slice method,
				    char allow[FIELDS_BYTES])
{
	const struct api_route *found = NULL;
	size_t n = 0;

	allow[0] = '\0';
	for (size_t i = 0; i < a->n_routes; i++) {
		const struct api_route *r = &a->routes[i];

		if (!slice_eq(path, slice_of(r->path)))
			continue;
		n = slice_append(allow, FIELDS_BYTES, n, n ? SLICE(", ") : SLICE("Allow: "));
		n = slice_append(allow, FIELDS_BYTES, n, slice_of(r->method));
		if (slice_eq(method, slice_of(r->method)))
			found = r;
	}
	if (n)
		slice_append(allow, FIELDS_BYTES, n, SLICE("\r\n" NO_STORE));
	return found;
}

static bool has_body(const struct http_head *h)
{
	return h->body == HTTP_BODY_CHUNKED ||
	       (h->body == HTTP_BODY_LENGTH && h->content_length > 0);
}

/* application/json, whatever its parameters (RFC 8259 knows none), written once. */
static bool is_json(const struct http_head *h)
{
	size_t n = 0;
	bool good = false;

	for (size_t i = 0; i < h->n_fields; i++) {
		struct slice type = h->fields[i].value;

		if (h->fields[i].id != HTTP_F_CONTENT_TYPE)
			continue;
		type.n = slice_find(type, ';');
		good = slice_caseeq(slice_trim(type), SLICE("application/json"));
		n++;
	}
	return good && n == 1 && !http_find_name(h, SLICE("Content-Encoding"));
}

static void look(struct api_job *j)
{
	const struct http_head *h = http_exchange_head(j->ex);
	char allow[FIELDS_BYTES];

	j->route = find(j->api, h->path, h->method_text, allow);
	if (!j->route && !allow[0])
		refuse(j, 404, NO_STORE, "there is no such path");
	else if (!j->route)
		refuse(j, 405, allow, "this path does not take the method");
	else if (h->query.p)
		refuse(j, 400, NO_STORE, "a query is not understood here");
	else if (has_body(h) && !is_json(h))
		refuse(j, 415, NO_STORE, "the body must be application/json");
	else
		http_collect(j->ex, j->api->conf->max_body, on_body, j);
}

/* --- who asks --- */

static void on_admin(void *arg, enum signin_status status, const char *name, uint32_t retry_after_s,
		     const char *why)
{
	struct api_job *j = arg;
	struct conn *front = http_front_conn(http_exchange_front(j->ex));
	struct conn *c = http_exchange_conn(j->ex);
	char fields[FIELDS_BYTES];

	j->signin_id = 0;
	switch (status) {
	case SIGNIN_OK:
		slice_copy(j->admin, sizeof(j->admin), slice_of(name));
		slice_copy(c->user, sizeof(c->user), slice_of(name));
		memcpy(front->user, c->user, sizeof(front->user));
		look(j);
		return;
	case SIGNIN_TOO_MANY:
		fields_print(fields, "", 429, retry_after_s);
		refuse(j, 429, fields, "%s", why);
		return;
	case SIGNIN_DENIED:
	case SIGNIN_BAD_REQUEST:
		refuse(j, 401, CHALLENGE NO_STORE, "%s", why);
		return;
	default:
		fields_print(fields, "", 503, retry_after_s);
		refuse(j, 503, fields, "%s", why);
	}
}

static void on_request(void *arg, struct http_exchange *ex)
{
	struct api *a = arg;
	const struct http_field *f = http_find(http_exchange_head(ex), HTTP_F_AUTHORIZATION);
	struct conn *c = http_exchange_conn(ex);
	struct api_job *j = calloc(1, sizeof(*j));
	const char *why;

	/* Who the request before was is not who this one is. */
	c->user[0] = '\0';
	if (!j) {
		http_reply_error(ex, 503, SLICE("Retry-After: 1\r\n"), "out of memory");
		return;
	}
	j->api = a;
	j->ex = ex;
	http_exchange_set_arg(ex, j);
	/* The settings may be others than when this connection was let in. */
	why = api_why_not(a, &c->remote);
	if (why) {
		refuse(j, 403, NO_STORE, "%s", why);
		return;
	}
	if (!f) {
		refuse(j, 401, CHALLENGE NO_STORE, "no credentials");
		return;
	}
	if (a->signin)
		j->signin_id = a->signin->admin(a->signin_self, f->value, &c->remote, on_admin, j);
	if (!j->signin_id)
		refuse(j, 503, NO_STORE "Retry-After: 1\r\n",
		       "credentials cannot be checked at the moment");
}

static void on_finished(void *arg, struct http_exchange *ex, int status, const char *why)
{
	struct api_job *j = http_exchange_arg(ex);
	struct api *a = arg;

	if (j && j->signin_id)
		a->signin->cancel(a->signin_self, j->signin_id);
	free(j);
}

static void on_refused(void *arg, struct http_front *f, const char *code, int status,
		       const char *why)
{
	struct api *a = arg;

	trace_add(a->env->trace, code, "[api]", &http_front_conn(f)->remote, NULL, "%d: %s", status,
		  why);
}

const struct http_engine_ops api_engine_ops = { .request = on_request,
						.finished = on_finished,
						.refused = on_refused };

/* --- the service --- */

static int add(void *self, const char *method, const char *path, api_handler fn, void *arg)
{
	struct api *a = self;

	for (size_t i = 0; i < a->n_routes; i++)
		if (strcmp(a->routes[i].path, path) == 0 &&
		    strcmp(a->routes[i].method, method) == 0)
			return -EEXIST;
	if (a->n_routes == API_MAX_HANDLERS)
		return -ENOSPC;
	a->routes[a->n_routes++] = (struct api_route){ method, path, fn, arg };
	return 0;
}

const struct api_ops api_service_ops = { .add = add };
