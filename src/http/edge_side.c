/*
 * E's side: the edge service on 8443 (the exchange that apps of mobile and remote access speak).
 *
 *   /<token of a domain>/get_edge_config   the sign-in; answered by C
 *   /<token of a domain>/logout            ends the session
 *   /<token of a server>/...               that server inside, through the tunnel
 *
 * Who asks is settled before anything goes inside: the cookie of a session, or a password that C
 * has checked. E keeps neither passwords nor anything made from them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "core/log.h"
#include "core/loop.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "http/edge_fields.h"
#include "http/web.h"
#include "proto/path_token.h"

/* One request on its way. */
struct job {
	struct web *web;
	struct http_exchange *ex;
	struct path_token token;
	bool is_config;
	uint64_t sign_in; /* under way */
	bool is_new;	  /* the answer brings the cookie */
	struct signin_session session;
	tunnel_peer peer;
	const struct signin_domain *domain; /* during on_request only */
	struct http_url url;		    /* of the target, canonical */
};

/* The path is long, and written before anybody reads it. */
static struct job *job_new(void)
{
	struct job *j = malloc(sizeof(*j));

	if (j)
		memset(j, 0, offsetof(struct job, url.path));
	return j;
}

/* said: what the client reads; why: for the trace and the table. */
static void refuse_as(struct job *j, int status, const char *code, const char *decided_by,
		      struct slice fields, const char *said, const char *why)
{
	j->web->n_denied++;
	web_trace(j->web, j->ex, code, decided_by, "%d: %s", status, why);
	http_reply_refusal(j->ex, status, fields, said, why);
}

static void refuse(struct job *j, int status, const char *code, const char *decided_by,
		   struct slice fields, const char *why)
{
	refuse_as(j, status, code, decided_by, fields, why, why);
}

static void challenge(struct job *j, const char *code, const char *why)
{
	char fields[256];

	snprintf(fields, sizeof(fields),
		 "WWW-Authenticate: Basic realm=\"%s\", charset=\"UTF-8\"\r\n",
		 j->web->conf->realm ? j->web->conf->realm : "");
	refuse(j, 401, code, "sign-in", slice_of(fields), why);
}

/* --- fields --- */

static bool keep_request(void *arg, struct http_exchange *ex, const struct http_field *f)
{
	const struct job *j = arg;

	/* C has checked the password; for servers inside it goes on. */
	return edge_fields_go_in(f) && !(j->is_config && f->id == HTTP_F_AUTHORIZATION);
}

static bool keep_response(void *arg, struct http_exchange *ex, const struct http_field *f)
{
	const struct job *j = arg;

	return edge_fields_come_out(j->web, f);
}

static void print_cookie(const struct job *j, struct buf *fields, const char *token, int64_t life_s)
{
	char date[30], domain[280] = "", value[640];

	if (j->web->cookie_domain[0])
		snprintf(domain, sizeof(domain), " Domain=%s;", j->web->cookie_domain);
	http_date(date, (int64_t)time(NULL) + life_s);
	snprintf(value, sizeof(value), "%s=%s; Expires=%s;%s Path=/; Secure; HttpOnly",
		 j->web->conf->cookie_name, token, date, domain);
	http_print_field(fields, SLICE("Set-Cookie"), slice_of(value));
}

/* --- through the tunnel --- */

static struct stream *connect_job(void *arg, struct http_exchange *ex,
				  const struct stream_handler *h, void *harg, int *error,
				  const char **why)
{
	struct job *j = arg;
	struct stream *s =
		j->web->tunnel->open(j->web->tunnel_self, j->peer, TUNNEL_HTTP, h, harg, error);

	if (!s)
		*why = *error == -EAGAIN ? "too many streams in the tunnel"
					 : "no tunnel to the inside stands";
	return s;
}

static enum http_response_verdict on_response(void *arg, struct http_exchange *ex,
					      const struct http_head *h, struct buf *fields)
{
	struct job *j = arg;
	const struct http_field *reason = http_find_name(h, SLICE("Turnpike-Reason"));

	if (reason && h->status == 403 && slice_eq(reason->value, SLICE("session"))) {
		/* Our copy is older than the truth: it must not stand in the way of a new sign-in.
		 */
		j->web->signin->sign_out(j->web->signin_self, slice_of(j->session.token),
					 "unknown inside");
		challenge(j, "http.session.ended", "the session has ended inside");
		return HTTP_RESPONSE_REPLACE;
	}
	if (j->is_new)
		print_cookie(j, fields, j->session.token,
			     (j->session.expires_ms - loop_now_ms(j->web->env->loop)) / 1000);
	return HTTP_RESPONSE_PASS;
}

static void on_failed(void *arg, struct http_exchange *ex, int status, const char *why)
{
	struct job *j = arg;

	refuse(j, status, status == 504 ? "http.tunnel.timeout" : "http.tunnel.failed", "tunnel",
	       SLICE_NONE, why);
}

static void forward(struct job *j)
{
	struct buf target, fields;
	char key[SIGNIN_ID_BYTES + 16], host[HTTP_URL_HOST_BYTES + 10];
	const struct http_head *h = http_exchange_head(j->ex);
	struct http_forward f = {
		.connect = connect_job,
		.keep = keep_request,
		.response = on_response,
		.keep_response = keep_response,
		.failed = on_failed,
		.arg = j,
		.allow_upgrade = !j->is_config,
		.max_connects = 2, /* the other connection of the pair */
	};

	snprintf(key, sizeof(key), "%s %u", j->session.id, j->peer);
	buf_init(&target, HTTP_URL_PATH_BYTES + 65536);
	buf_init(&fields, 4096 + 2 * h->n_bytes);
	if (j->is_config) {
		snprintf(host, sizeof(host), "core");
		buf_add_str(&target, "/edge-config");
	} else {
		web_authority(&j->url, host, sizeof(host));
		buf_printf(&target, "%s://%s%s", j->url.https ? "https" : "http", host,
			   j->url.path);
	}
	if (h->query.p) {
		buf_add_char(&target, '?');
		buf_add_slice(&target, h->query);
	}
	if (j->session.id[0])
		http_print_field(&fields, SLICE("Turnpike-Session"), slice_of(j->session.id));
	edge_fields_add(j->web, j->ex, true, &fields);
	f.key = slice_of(key);
	f.host = slice_of(host);
	f.target = buf_slice(&target);
	f.fields = buf_slice(&fields);
	if (target.failed || fields.failed)
		http_reply_error(j->ex, 503, SLICE_NONE, "out of memory");
	else
		http_forward(j->ex, &f);
	buf_fini(&target);
	buf_fini(&fields);
}

/* --- who asks --- */

static void bind_session(struct job *j, const struct signin_session *s)
{
	j->session = *s;
	j->peer = s->peer ? s->peer : j->peer;
	web_bind(j->ex, s);
	j->web->signin->touch(j->web->signin_self, slice_of(s->id));
}

static void go_on(struct job *j)
{
	struct allow_verdict verdict;
	const struct allow_list *list;

	if (!j->is_config) {
		list = allow_table_copy(j->web, j->peer);
		if (!list) {
			refuse(j, 503, "http.allow.unknown", "tunnel", SLICE("Retry-After: 1\r\n"),
			       "the allow list has not come from inside yet");
			return;
		}
		allow_check(list, &j->url, http_exchange_head(j->ex)->method, &verdict);
		if (!verdict.rule) {
			refuse_as(j, 403, "http.allow.denied", "[allow] of C", SLICE_NONE,
				  "that server is not on the allow list", verdict.why);
			return;
		}
	}
	forward(j);
}

static void retry_after(uint32_t s, char *out, size_t size)
{
	out[0] = '\0';
	if (s)
		snprintf(out, size, "Retry-After: %u\r\n", s);
}

static void signed_in(void *arg, const struct signin_result *r)
{
	struct job *j = arg;
	char fields[48];

	j->sign_in = 0;
	retry_after(r->retry_after_s, fields, sizeof(fields));
	switch (r->status) {
	case SIGNIN_OK:
		j->is_new = true;
		bind_session(j, r->session);
		go_on(j);
		return;
	case SIGNIN_DENIED:
		challenge(j, "http.signin.denied", r->why);
		return;
	case SIGNIN_NO_DOMAIN:
		refuse(j, 403, "http.signin.domain", "[domain] of C", SLICE_NONE, r->why);
		return;
	case SIGNIN_TOO_MANY:
		refuse(j, 429, "http.signin.rate", "[signin] rate", slice_of(fields), r->why);
		return;
	case SIGNIN_BAD_REQUEST:
		refuse(j, 400, "http.signin.malformed", "RFC 7617", SLICE_NONE, r->why);
		return;
	case SIGNIN_UNAVAILABLE:
		break;
	}
	refuse(j, 503, "http.signin.unavailable", "authentication", slice_of(fields), r->why);
}

static const struct signin_session *session_of_cookie(struct job *j)
{
	struct slice token =
		http_cookie_get(http_exchange_head(j->ex), slice_of(j->web->conf->cookie_name));
	const struct signin_session *s =
		token.n ? j->web->signin->by_token(j->web->signin_self, token) : NULL;

	/* A session is good for its own domain only. */
	return s && strcmp(s->domain, j->token.domain) == 0 ? s : NULL;
}

static void authenticate(struct job *j)
{
	struct web *w = j->web;
	const struct http_field *password =
		http_find(http_exchange_head(j->ex), HTTP_F_AUTHORIZATION);
	const struct signin_session *s = session_of_cookie(j);
	const struct conn *front = http_front_conn(http_exchange_front(j->ex));

	/* The password of get_edge_config is always looked at: it may have changed. Elsewhere it is
	 * for the server inside when a session stands. */
	if (s && !(j->is_config && password)) {
		bind_session(j, s);
		go_on(j);
		return;
	}
	if (!password) {
		challenge(j, "http.signin.missing", "a sign-in is needed");
		return;
	}
	if (w->draining) {
		refuse(j, 503, "http.signin.draining", "drain", SLICE_NONE, "this box stops");
		return;
	}
	j->sign_in = w->signin->sign_in(w->signin_self, slice_of(j->token.domain), password->value,
					&front->remote, signed_in, j);
	if (!j->sign_in)
		http_reply_error(j->ex, 503, SLICE_NONE, "out of memory");
}

/* --- what is asked --- */

static void log_out(struct job *j)
{
	const struct signin_session *s = session_of_cookie(j);
	struct buf b;

	if (!s) {
		challenge(j, "http.signin.missing", "no session to end");
		return;
	}
	bind_session(j, s);
	j->web->signin->sign_out(j->web->signin_self, slice_of(j->session.token), "signed out");
	buf_init(&b, 1024);
	print_cookie(j, &b, "deleted", -86400);
	http_reply(j->ex, 200, buf_slice(&b), "text/plain", SLICE("signed out\n"));
	buf_fini(&b);
}

static bool is_path(struct slice rest, struct slice name)
{
	/* A slash behind it is as good. */
	if (rest.n > 1 && rest.p[rest.n - 1] == '/')
		rest.n--;
	return slice_eq(rest, name);
}

static void serve_domain(struct job *j, struct slice rest)
{
	const struct http_head *h = http_exchange_head(j->ex);

	if (is_path(rest, SLICE("/get_edge_config"))) {
		if (h->method != HTTP_GET && h->method != HTTP_HEAD) {
			refuse(j, 405, "http.method", "get_edge_config",
			       SLICE("Allow: GET, HEAD\r\n"), "only GET and HEAD");
			return;
		}
		j->is_config = true;
		authenticate(j);
	} else if (is_path(rest, SLICE("/logout"))) {
		log_out(j);
	} else {
		refuse(j, 404, "http.no-resource", "edge service", SLICE_NONE,
		       "no such edge service");
	}
}

static bool take_target(struct job *j, struct slice rest)
{
	const char *why;

	if (!http_path_canonical(rest, j->url.path, sizeof(j->url.path), &why)) {
		refuse(j, 400, "http.path", "RFC 3986", SLICE_NONE, why);
		return false;
	}
	j->url.https = j->token.https;
	j->url.port = j->token.port;
	slice_copy(j->url.host, sizeof(j->url.host), slice_of(j->token.host));
	return true;
}

static void serve(struct job *j)
{
	const struct http_head *h = http_exchange_head(j->ex);
	const struct signin_domain *domain;
	struct slice rest;
	const char *why;

	if (h->form != HTTP_ORIGIN_FORM) {
		refuse(j, 400, "http.target-form", "edge service", SLICE_NONE,
		       "only paths are served here");
		return;
	}
	if (!path_token_parse(h->path, &j->token, &rest, &why)) {
		refuse(j, 404, "http.token", "edge service", SLICE_NONE, why);
		return;
	}
	domain = j->web->signin->domain(j->web->signin_self, slice_of(j->token.domain));
	if (!domain || !domain->web) {
		refuse(j, 403, "http.domain.unknown", "[domain] web of C", SLICE_NONE,
		       "that domain is not served");
		return;
	}
	j->peer = domain->peer;
	if (!j->token.has_target)
		serve_domain(j, rest);
	else if (take_target(j, rest))
		authenticate(j);
}

/* --- the engine's calls --- */

static void on_request(void *arg, struct http_exchange *ex)
{
	struct web *w = arg;
	const struct web_listener *l = http_front_arg(http_exchange_front(ex));
	struct job *j;

	if (l && l->redirect) {
		redirect_request(w, l, ex);
		return;
	}
	if (l && l->site[0]) {
		site_request(w, l, ex);
		return;
	}
	j = job_new();
	if (!j) {
		http_reply_error(ex, 503, SLICE_NONE, "out of memory");
		return;
	}
	j->web = w;
	j->ex = ex;
	http_exchange_set_arg(ex, j);
	serve(j);
}

static void on_finished(void *arg, struct http_exchange *ex, int status, const char *why)
{
	const struct web_listener *l = http_front_arg(http_exchange_front(ex));
	struct job *j = http_exchange_arg(ex);

	if (!j)
		return;
	if (l && l->site[0]) {
		site_finished(ex);
		return;
	}
	if (j->sign_in)
		j->web->signin->cancel(j->web->signin_self, j->sign_in);
	OPENSSL_cleanse(&j->session, sizeof(j->session));
	free(j);
}

static void on_closed(void *arg, struct http_front *f)
{
	struct web_listener *l = http_front_arg(f);

	if (l)
		l->n_fronts--;
}

const struct http_engine_ops web_edge_ops = {
	.request = on_request,
	.finished = on_finished,
	.refused = web_refused,
	.closed = on_closed,
};

/* --- what C is told of this box --- */

static json_t *facts(const struct web *w)
{
	uint16_t sip_port = w->sip ? w->sip->tls_port(w->sip_self) : 0;
	struct turn_facts turn = { .n_udp = 0 };
	int turn_port = 0;

	if (w->turn && w->turn->facts(w->turn_self, &turn) && turn.n_udp)
		turn_port = turn.udp_ports[0];

	return json_pack("{s:s,s:i,s:i,s:i,s:i}", "name", w->name, "web_port",
			 w->conf->tls ? (int)w->conf->port : 0, "sip_tls_port", (int)sip_port,
			 "xmpp_port", 0, "turn_port", turn_port);
}

static void each_fact(void *arg, tunnel_peer to,
		      void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	const struct web *w = arg;
	json_t *item = facts(w);

	if (item)
		put(ctx, w->name, item);
	json_decref(item);
}

static const struct tunnel_source fact_source = { .each = each_fact };

int web_edge_start(struct web *w)
{
	return w->tunnel->publish(w->tunnel_self, "edge", &fact_source, w);
}

void web_edge_tell_facts(void *arg)
{
	struct web *w = arg;
	json_t *item = facts(w);

	if (item)
		w->tunnel->put(w->tunnel_self, 0, "edge", w->name, item);
	json_decref(item);
}

void web_edge_facts_changed(struct web *w)
{
	timer_start(loop_timers(w->env->loop), &w->facts_timer, 0);
}
