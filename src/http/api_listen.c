/* [api]: its settings, its listening addresses and who may connect. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/loop.h"
#include "core/stream_socket.h"
#include "core/trace.h"
#include "http/api_impl.h"

#define ROW(k, t, member, ...)                                                                    \
	{                                                                                         \
		.key = (k), .type = (t), .offset = offsetof(struct api_conf, member), __VA_ARGS__ \
	}

static const struct conf_row rows[] = {
	ROW("port", CONF_U32, port, .def = "8443", .min = 1, .max = 65535,
	    .help = "HTTPS port; under 1024 the service needs a capability (docs/turn.md)"),
	ROW("address", CONF_ADDR, address, .def = "any",
	    .help = "address of this host to listen at; any: all, IPv4 and IPv6"),
	ROW("tls", CONF_REF, tls, .ref = "tls",
	    .help = "[tls NAME] with the certificate that clients see; not written: no API"),
	ROW("from", CONF_PREFIXES, from,
	    .help = "addresses and prefixes that may connect; not written: any"),
	ROW("max-connections", CONF_U32, max_connections, .def = "200", .min = 1, .max = 100000,
	    .help = "connections at a time"),
	ROW("max-per-source", CONF_U32, max_per_source, .def = "50", .max = 100000,
	    .help = "connections of one IPv4 address or IPv6 /64; 0: no limit"),
	ROW("new-per-second", CONF_U32, new_per_second, .def = "50", .max = 100000,
	    .help = "new connections per second, twice that in a burst; 0: no limit"),
	ROW("handshake-timeout", CONF_MS, handshake_ms, .def = "10s", .min = 100, .max = 600000,
	    .help = "the TLS handshake must end in it"),
	ROW("head-timeout", CONF_MS, head_ms, .def = "10s", .min = 100, .max = 600000,
	    .help = "a request's head must be whole in it, from its first byte"),
	ROW("idle-timeout", CONF_MS, idle_ms, .def = "75s", .min = 100, .max = 86400000,
	    .help = "a connection without a request is closed after it"),
	ROW("max-body", CONF_BYTES, max_body, .def = "64k", .min = 1024, .max = 1048576,
	    .help = "size of a request's body; 413 over it"),
};

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct api_conf *c = section;

	if (c->tls && c->tls[0] && !conf_next(snap, "admin", NULL))
		conf_error(errors, c, "tls",
			   "nobody could ask: there is no [admin NAME]; `turnpikectl hash-password "
			   "admin NAME` prints one");
}

const struct conf_section api_section = {
	.type = "api",
	.roles = CONF_ROLE_C,
	.size = sizeof(struct api_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "HTTPS API for administrators and their programs (docs/protocol/api.md).",
	.check = check,
};

/* --- connections --- */

static bool is_on(const struct api_conf *c)
{
	return c->tls && c->tls[0];
}

const char *api_why_not(const struct api *a, const struct addr *from)
{
	const struct conf_prefixes *p = &a->conf->from;

	if (!is_on(a->conf))
		return "[api] is off";
	for (size_t i = 0; i < p->n; i++)
		if (addr_in_prefix(from, &p->v[i]))
			return NULL;
	return p->n ? "[api] from: this address may not connect" : NULL;
}

void api_take(struct api *a, struct stream *s)
{
	struct conn like = { .kind = CONN_HTTP,
			     .transport = s->is_tls ? CONN_TLS : CONN_TCP,
			     .local = s->local,
			     .remote = s->remote,
			     .parent = s->conn_id,
			     .zone = "api" };
	const char *why = api_why_not(a, &s->remote);

	if (!why) {
		http_front_new(a->engine, s, &like);
		return;
	}
	a->n_foreign++;
	trace_add(a->env->trace, "http.api.from", "[api] from", &like.remote, NULL, "%s", why);
	conn_refused(a->env->conns, &like, "%s", why);
	stream_abort(s);
}

static void on_stream(void *arg, struct stream *s)
{
	api_take(arg, s);
}

static struct stream_listener_conf listener_conf(struct api *a, const struct addr *local)
{
	const struct api_conf *c = a->conf;

	return (struct stream_listener_conf){
		.local = *local,
		.tls = c->tls,
		.alpn = "http/1.1",
		.kind = CONN_HTTP,
		.handshake_ms = c->handshake_ms,
		.limits = { c->max_connections, c->max_per_source, c->new_per_second },
		.zone = "api",
		.accepted = on_stream,
		.arg = a,
	};
}

static struct stream_listener *listener_at(const struct api *a, const struct addr *local)
{
	for (size_t i = 0; i < a->n_listeners; i++)
		if (addr_eq(&a->listeners[i].local, local))
			return a->listeners[i].listener;
	return NULL;
}

static int listen_at(struct api *a, const struct addr *local, struct buf *errors)
{
	struct stream_listener_conf c = listener_conf(a, local);
	struct stream_listener *l = listener_at(a, local);
	char text[ADDR_STR_BYTES];
	int error = 0;

	if (l) {
		stream_listener_configure(l, &c);
		return 0;
	}
	l = stream_listener_new(a->env, &c, &error);
	if (l) {
		a->listeners[a->n_listeners].local = *local;
		a->listeners[a->n_listeners++].listener = l;
		return 0;
	}
	if (listen_may_fail(local, error))
		return 0;
	buf_printf(errors, "[api] %s: %s\n", addr_str(local, text), strerror(-error));
	return error;
}

/* Those that are not among the n of keep are closed. */
static void close_others(struct api *a, const struct addr *keep, size_t n)
{
	size_t n_kept = 0;

	for (size_t i = 0; i < a->n_listeners; i++) {
		size_t k = 0;

		while (k < n && !addr_eq(&keep[k], &a->listeners[i].local))
			k++;
		if (k < n)
			a->listeners[n_kept++] = a->listeners[i];
		else
			stream_listener_free(a->listeners[i].listener);
	}
	a->n_listeners = n_kept;
}

/* --- settings --- */

/* What a client may take its time with: nothing. An answer is some hundred bytes. */
static struct http_engine_conf engine_conf(const struct api_conf *c)
{
	return (struct http_engine_conf){
		.limits = { .max_head = 16 * 1024,
			    .max_line = 2048,
			    .max_fields = HTTP1_MAX_FIELDS },
		.head_ms = c->head_ms,
		.idle_ms = c->idle_ms,
		.min_rate_bps = 1000,
		.min_rate_ms = 5000,
		.server = "turnpike",
	};
}

int api_configure(struct api *a, const struct conf_snapshot *snap, struct buf *errors)
{
	struct addr local[LISTEN_MAX_ADDRESSES];
	struct http_engine_conf conf;
	int first = 0, error;
	size_t n = 0;

	a->conf = conf_get(snap, "api", NULL);
	conf = engine_conf(a->conf);
	http_engine_configure(a->engine, &conf);
	if (is_on(a->conf))
		n = listen_addresses(&a->conf->address, a->conf->port, local);
	/* The old ones first: `any` and one address of the same port exclude each other. */
	close_others(a, local, n);
	for (size_t i = 0; i < n; i++) {
		error = listen_at(a, &local[i], errors);
		first = first ? first : error;
	}
	return first;
}

int api_prepare(struct api *a, const struct conf_snapshot *next, struct buf *errors)
{
	const struct api_conf *c = conf_get(next, "api", NULL);
	struct addr local[LISTEN_MAX_ADDRESSES];
	size_t n = is_on(c) ? listen_addresses(&c->address, c->port, local) : 0;
	char text[ADDR_STR_BYTES];

	for (size_t i = 0; i < n; i++) {
		int error = listener_at(a, &local[i]) ? 0 : stream_listener_probe(&local[i]);

		if (error == 0 || listen_may_fail(&local[i], error))
			continue;
		buf_printf(errors, "[api] %s: %s\n", addr_str(&local[i], text), strerror(-error));
		return error;
	}
	return 0;
}

void api_set_signin(struct api *a, const struct service *signin)
{
	a->signin = signin->ops;
	a->signin_self = signin->self;
}

/* --- life --- */

struct api *api_new(struct env *env, int *error)
{
	struct api *a = calloc(1, sizeof(*a));
	struct http_engine_conf conf;

	*error = -ENOMEM;
	if (!a)
		return NULL;
	a->env = env;
	a->conf = conf_get(conf_current(env->conf), "api", NULL);
	conf = engine_conf(a->conf);
	a->engine = http_engine_new(loop_timers(env->loop), env->conns, &conf, &api_engine_ops, a);
	if (a->engine)
		*error = service_offer(env->modules, API_SERVICE, &api_service_ops, a);
	if (*error == 0)
		return a;
	api_free(a);
	return NULL;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	close_others(a, NULL, 0);
	http_engine_free(a->engine);
	free(a);
}

void api_drain(struct api *a)
{
	close_others(a, NULL, 0);
	http_engine_drain(a->engine);
}

size_t api_busy(const struct api *a)
{
	return http_engine_busy(a->engine);
}

static void set(json_t *out, const char *key, uint64_t n)
{
	json_object_set_new(out, key, json_integer((json_int_t)n));
}

void api_status(const struct api *a, json_t *out)
{
	struct http_engine_stats s = http_engine_stats(a->engine);
	json_t *api = json_object();

	set(api, "connections", s.n_fronts);
	set(api, "requests", s.n_requests);
	set(api, "refused", a->n_denied + s.n_bad + s.n_slow);
	set(api, "foreign", a->n_foreign);
	json_object_set_new(out, "api", api);
}
