/*
 * C's side: requests that come through the tunnel. The edge is believed nothing: the session must
 * be one that C made, the target must be on C's allow list, the address must be one that may be
 * reached. What goes on is the canonical form of what was checked.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conn.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/trace.h"
#include "http/web.h"

/* One request on its way. */
struct job {
	struct web *web;
	struct http_exchange *ex;
	struct origin *origin;
	struct origin_wait wait;
	struct origin_watch watch;
	struct loop_deferred again; /* the configuration changed while it waited */
	struct edge_config *edge_config;
	uint32_t response_ms;
	bool verify;
	bool asked_with_password;
	uint64_t tried; /* addresses of the origin */
	unsigned server;
	bool reported;
	char session[SIGNIN_ID_BYTES];
	char rule[ALLOW_NAME_BYTES];
	struct http_url url;
};

/* The path is long, and written before anybody reads it. */
static struct job *job_new(void)
{
	struct job *j = malloc(sizeof(*j));

	if (j)
		memset(j, 0, offsetof(struct job, url.path));
	return j;
}

static tunnel_peer peer_of(struct http_exchange *ex)
{
	return (tunnel_peer)(uintptr_t)http_front_arg(http_exchange_front(ex));
}

static struct slice field_value(const struct http_exchange *ex, struct slice name)
{
	const struct http_field *f = http_find_name(http_exchange_head(ex), name);

	return f ? f->value : SLICE_NONE;
}

/* Is one of the fields that only E sets there twice? No sound E sends that, and who reads the other
 * one sees another user. */
static bool has_twice(const struct http_head *h)
{
	unsigned sessions = 0, clients = 0;

	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id != HTTP_F_TURNPIKE)
			continue;
		sessions += slice_caseeq(h->fields[i].name, SLICE("Turnpike-Session"));
		clients += slice_caseeq(h->fields[i].name, SLICE("Turnpike-Client"));
	}
	return sessions > 1 || clients > 1;
}

/* --- forwarding --- */

static struct stream *connect_job(void *arg, struct http_exchange *ex,
				  const struct stream_handler *h, void *harg, int *error,
				  const char **why)
{
	struct job *j = arg;

	struct stream *s;

	if (j->tried && !j->reported) /* the one before failed */
		origin_unusable(j->origin, j->server);
	s = origin_connect(j->origin, &j->tried, j->web->conf->connect_ms, h, harg, &j->server,
			   error, why);
	if (s) {
		http_back_set_tag(ex, j->server);
		origin_watch_start(j->origin, &j->watch, j->server);
	}
	return s;
}

static void on_kept(void *arg, struct http_exchange *ex, unsigned tag)
{
	struct job *j = arg;

	origin_watch_start(j->origin, &j->watch, tag);
}

static void server_is_down(void *arg)
{
	struct job *j = arg;

	http_forward_abandon(j->ex, "the server is down");
}

/* What E set of itself goes on; what is between our boxes does not. */
static bool keep_request(void *arg, struct http_exchange *ex, const struct http_field *f)
{
	return f->id != HTTP_F_TURNPIKE;
}

static bool keep_response(void *arg, struct http_exchange *ex, const struct http_field *f)
{
	return f->id != HTTP_F_TURNPIKE;
}

static enum http_response_verdict on_response(void *arg, struct http_exchange *ex,
					      const struct http_head *h, struct buf *fields)
{
	struct job *j = arg;
	const struct http_field *password = http_find(http_exchange_head(ex), HTTP_F_AUTHORIZATION);

	origin_watch_stop(&j->watch);
	if (j->tried) {
		origin_report(j->origin, j->server, h->status < 500);
		j->reported = true;
	}
	if (h->status == 401 && password && j->session[0])
		j->web->signin->distrust(j->web->signin_self, slice_of(j->session),
					 password->value);
	return HTTP_RESPONSE_PASS;
}

static void on_failed(void *arg, struct http_exchange *ex, int status, const char *why)
{
	struct job *j = arg;
	char host[HTTP_URL_HOST_BYTES + 10];

	origin_watch_stop(&j->watch);
	if (j->tried && !j->reported)
		origin_report(j->origin, j->server, false);
	web_authority(&j->url, host, sizeof(host));
	web_trace(j->web, ex, status == 504 ? "http.backend.timeout" : "http.backend.failed",
		  j->rule, "%s: %s", host, why);
	http_reply_refusal(ex, status, SLICE_NONE,
			   status == 504 ? "the server inside did not answer in time"
					 : "the server inside cannot be reached",
			   why);
}

static void forward(struct job *j)
{
	char key[HTTP_URL_HOST_BYTES + ALLOW_NAME_BYTES + 96], host[HTTP_URL_HOST_BYTES + 10];
	char epoch[SLICE_U64_DIGITS];
	struct buf target;
	size_t n;
	struct http_forward f = {
		.connect = connect_job,
		.keep = keep_request,
		.response = on_response,
		.keep_response = keep_response,
		.failed = on_failed,
		.kept = on_kept,
		.arg = j,
		.allow_upgrade = true,
		.response_ms = j->response_ms,
		.max_connects = origin_n_attempts(j->origin),
	};

	web_authority(&j->url, host, sizeof(host));
	n = slice_append(key, sizeof(key), 0, slice_of(j->session));
	n = slice_append(key, sizeof(key), n, j->url.https ? SLICE(" s ") : SLICE(" p "));
	n = slice_append(key, sizeof(key), n, slice_of(host));
	n = slice_append(key, sizeof(key), n, SLICE(" "));
	n = slice_append(key, sizeof(key), n, slice_of(j->rule));
	n = slice_append(key, sizeof(key), n, SLICE(" "));
	n = slice_append(key, sizeof(key), n,
			 (struct slice){ epoch, slice_u64_print(epoch, origin_epoch(j->origin)) });
	buf_init(&target, HTTP_URL_PATH_BYTES + 65536);
	buf_add_str(&target, j->url.path);
	if (j->url.query.p) {
		buf_add_char(&target, '?');
		buf_add_slice(&target, j->url.query);
	}
	f.key = (struct slice){ key, n };
	f.host = slice_of(host);
	f.target = buf_slice(&target);
	if (target.failed)
		http_reply_error(j->ex, 503, SLICE_NONE, "out of memory");
	else
		http_forward(j->ex, &f);
	buf_fini(&target);
}

static void unreachable(struct job *j, int error, const char *why)
{
	char host[HTTP_URL_HOST_BYTES + 10];

	web_authority(&j->url, host, sizeof(host));
	if (error == -EACCES) {
		web_trace(j->web, j->ex, "http.address.denied", j->rule, "%s: %s", host, why);
		http_reply_error(j->ex, 403, SLICE_NONE, "that server may not be reached");
		return;
	}
	web_trace(j->web, j->ex, "http.backend.name", j->rule, "%s: %s", host, why);
	http_reply_refusal(j->ex, error == -ETIMEDOUT ? 504 : 502, SLICE_NONE,
			   "the server inside cannot be reached", why);
}

static void addresses_known(void *arg, int error, const char *why)
{
	struct job *j = arg;

	if (error == -ECANCELED) {
		/* Reloads lose no request: the new rules decide, when all modules have them. */
		origin_unref(j->origin);
		j->origin = NULL;
		loop_defer(j->web->env->loop, &j->again);
	} else if (error) {
		unreachable(j, error, why);
	} else {
		forward(j);
	}
}

/* --- deciding --- */

static void deny(struct job *j, int status, const char *code, const char *decided_by,
		 struct slice fields, const char *why)
{
	web_trace(j->web, j->ex, code, decided_by, "%d: %.*s: %s", status,
		  (int)(http_exchange_head(j->ex)->target.n > 200
				? 200
				: http_exchange_head(j->ex)->target.n),
		  http_exchange_head(j->ex)->target.p, why);
	http_reply_error(j->ex, status, fields, why);
}

/* The session the edge names; "" when it names none. False: refused already. */
static bool take_session(struct job *j)
{
	struct slice id = field_value(j->ex, SLICE("Turnpike-Session"));
	const struct signin_session *s;

	if (id.n == 0)
		return true;
	s = j->web->signin->by_id(j->web->signin_self, id);
	if (!s) {
		/* The edge then asks for a sign-in. */
		deny(j, 403, "http.session.unknown", "sessions of this box",
		     SLICE("Turnpike-Reason: session\r\n"), "no such session, or it ended");
		return false;
	}
	slice_copy(j->session, sizeof(j->session), slice_of(s->id));
	web_bind(j->ex, s);
	j->web->signin->touch(j->web->signin_self, id);
	return true;
}

static void proxy(struct job *j)
{
	struct web *w = j->web;
	const struct http_head *h = http_exchange_head(j->ex);
	struct allow_verdict verdict;
	const char *why;
	int error;

	if (!http_url_parse(h->target, &j->url, &why)) {
		allow_table_accuse(w, peer_of(j->ex), why);
		deny(j, 403, "http.target.refused", "canonical URLs only", SLICE_NONE, why);
		return;
	}
	allow_check(&w->allow, &j->url, h->method, &verdict);
	if (!verdict.rule) {
		allow_table_accuse(w, peer_of(j->ex), verdict.why);
		deny(j, 403, "http.allow.denied", "[allow]", SLICE_NONE, verdict.why);
		return;
	}
	if (!take_session(j))
		return;
	if (!j->session[0] && !verdict.rule->open) {
		allow_table_accuse(w, peer_of(j->ex), "a request without a session");
		deny(j, 403, "http.session.missing", verdict.rule->name,
		     SLICE("Turnpike-Reason: session\r\n"), "a sign-in is needed");
		return;
	}
	slice_copy(j->rule, sizeof(j->rule), slice_of(verdict.rule->name));
	j->response_ms = verdict.rule->response_ms;
	j->origin = origins_get(w->origins, &j->url, verdict.rule);
	if (!j->origin) {
		http_reply_error(j->ex, 503, SLICE_NONE, "out of memory");
		return;
	}
	origin_ref(j->origin);
	error = origin_ready(j->origin, &j->wait, &why);
	if (error != -EINPROGRESS)
		addresses_known(j, error, why);
}

static void ask_again(void *arg)
{
	proxy(arg);
}

/* --- get_edge_config --- */

static void edge_config_made(void *arg, const struct buf *xml)
{
	struct job *j = arg;

	j->edge_config = NULL;
	if (xml)
		http_reply(j->ex, 200, SLICE_NONE, "text/xml; charset=UTF-8", buf_slice(xml));
	else
		http_reply_error(j->ex, 503, SLICE_NONE, "out of memory");
}

static void edge_config(struct job *j)
{
	struct web *w = j->web;
	struct edge_config_names names;
	struct edge_facts facts;
	const struct signin_session *s;
	const char *why;

	if (!take_session(j))
		return;
	s = w->signin->by_id(w->signin_self, slice_of(j->session));
	if (!s) {
		deny(j, 403, "http.session.missing", "get_edge_config",
		     SLICE("Turnpike-Reason: session\r\n"), "a sign-in is needed");
		return;
	}
	if (!edge_config_names_parse(http_exchange_head(j->ex)->query, &names, &why)) {
		deny(j, 400, "http.edge-config.query", "service_name", SLICE_NONE, why);
		return;
	}
	web_core_facts(w, peer_of(j->ex), &facts);
	j->edge_config = edge_config_start(w->env, w->uc, w->uc_self, slice_of(s->domain), &names,
					   &facts, edge_config_made, j);
	if (!j->edge_config)
		http_reply_error(j->ex, 503, SLICE_NONE, "out of memory");
}

/* --- the engine's calls --- */

static void on_request(void *arg, struct http_exchange *ex)
{
	struct web *w = arg;
	const struct http_head *h = http_exchange_head(ex);
	struct job *j = job_new();
	struct slice client = field_value(ex, SLICE("Turnpike-Client"));
	struct conn *c = http_exchange_conn(ex);
	struct addr from;

	if (!j) {
		http_reply_error(ex, 503, SLICE_NONE, "out of memory");
		return;
	}
	j->web = w;
	j->ex = ex;
	j->wait.done = addresses_known;
	j->wait.arg = j;
	j->watch.gone = server_is_down;
	j->watch.arg = j;
	loop_deferred_init(&j->again, ask_again, j);
	http_exchange_set_arg(ex, j);
	/* Whom the edge says it asks for; the channel's own entry has the edge. */
	if (addr_parse(client, 0, &from))
		c->remote = from;
	if (has_twice(h)) {
		allow_table_accuse(w, peer_of(ex), "a request with two sessions or clients");
		deny(j, 400, "http.target.refused", "docs/protocol/control.md", SLICE_NONE,
		     "Turnpike-Session or Turnpike-Client twice");
	} else if (h->form == HTTP_ABSOLUTE_FORM) {
		proxy(j);
	} else if (h->form == HTTP_ORIGIN_FORM &&
		   (h->method == HTTP_GET || h->method == HTTP_HEAD) &&
		   slice_eq(h->path, SLICE("/edge-config"))) {
		edge_config(j);
	} else {
		allow_table_accuse(w, peer_of(ex), "a request that no edge sends");
		deny(j, 404, "http.target.refused", "docs/protocol/control.md", SLICE_NONE,
		     "no such resource");
	}
}

static void on_finished(void *arg, struct http_exchange *ex, int status, const char *why)
{
	struct job *j = http_exchange_arg(ex);

	if (!j)
		return;
	origin_wait_cancel(&j->wait);
	origin_watch_stop(&j->watch);
	loop_defer_cancel(&j->again);
	edge_config_cancel(j->edge_config);
	origin_unref(j->origin);
	free(j);
}

const struct http_engine_ops web_core_ops = {
	.request = on_request,
	.finished = on_finished,
	.refused = web_refused,
};

/* --- the tunnel --- */

static void on_stream(void *arg, tunnel_peer from, struct stream *s)
{
	struct web *w = arg;
	struct conn like = {
		.transport = CONN_TCP, .local = s->local, .remote = s->remote, .parent = s->conn_id
	};
	struct http_front *f;
	char name[CONN_ZONE_BYTES];

	slice_copy(like.zone, sizeof(like.zone),
		   slice_of(web_peer_name(w, from, name, sizeof(name))));
	f = http_front_new(w->engine, s, &like);
	if (f)
		http_front_set_arg(f, (void *)(uintptr_t)from);
}

static struct edge_facts *facts_of(struct web *w, tunnel_peer peer)
{
	for (size_t i = 0; i < w->n_edges; i++)
		if (w->edge_peers[i] == peer)
			return &w->edges[i];
	if (w->n_edges == WEB_MAX_PEERS)
		return NULL;
	w->edge_peers[w->n_edges] = peer;
	memset(&w->edges[w->n_edges], 0, sizeof(w->edges[0]));
	return &w->edges[w->n_edges++];
}

static uint16_t port_of(const json_t *item, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(item, key));

	return v > 0 && v < 65536 ? (uint16_t)v : 0;
}

static bool is_host(struct slice name)
{
	struct http_url url;
	const char *why;

	return http_authority_parse(name, 1, &url, &why) && !url.port_written &&
	       strlen(url.host) == name.n;
}

static void facts_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct edge_facts *f = facts_of(arg, from);
	const char *name = json_string_value(json_object_get(item, "name"));

	if (!f || !name || !is_host(slice_of(name)))
		return;
	slice_copy(f->name, sizeof(f->name), slice_of(name));
	f->web_port = port_of(item, "web_port");
	f->sip_tls_port = port_of(item, "sip_tls_port");
	f->xmpp_port = port_of(item, "xmpp_port");
	f->turn_port = port_of(item, "turn_port");
}

static void facts_del(void *arg, tunnel_peer from, const char *key)
{
	struct edge_facts *f = facts_of(arg, from);

	if (f)
		memset(f, 0, sizeof(*f));
}

static void facts_reset(void *arg, tunnel_peer from)
{
	facts_del(arg, from, NULL);
}

static const struct tunnel_sink facts_sink = {
	.reset = facts_reset,
	.put = facts_put,
	.del = facts_del,
};

void web_core_facts(const struct web *w, tunnel_peer peer, struct edge_facts *out)
{
	for (size_t i = 0; i < w->n_edges; i++)
		if (w->edge_peers[i] == peer && w->edges[i].name[0]) {
			*out = w->edges[i];
			return;
		}
	memset(out, 0, sizeof(*out));
	web_peer_name(w, peer, out->name, sizeof(out->name));
}

int web_core_start(struct web *w)
{
	int error = w->tunnel->accept(w->tunnel_self, TUNNEL_HTTP, on_stream, w);

	return error ? error : w->tunnel->subscribe(w->tunnel_self, "edge", &facts_sink, w);
}
