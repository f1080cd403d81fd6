/*
 * [site]: a web service published as it is, without sign-in, through the tunnel or directly from E.
 * Only the listed paths; the target is the administrator's, never the client's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conn.h"
#include "core/loop.h"
#include "core/module.h"
#include "http/edge_fields.h"
#include "http/web.h"

struct job {
	struct web *web;
	struct http_exchange *ex;
	const struct conf_snapshot *snap; /* keeps conf */
	const struct site_conf *conf;
	struct origin *origin; /* direct */
	struct origin_wait wait;
	struct loop_deferred again; /* the configuration changed while it waited */
	uint64_t tried;		    /* addresses of the origin */
	unsigned server;
	tunnel_peer peer;
	struct http_url target; /* with the request's canonical path */
};

/* The path is long, and written before anybody reads it. */
static struct job *job_new(void)
{
	struct job *j = malloc(sizeof(*j));

	if (j)
		memset(j, 0, offsetof(struct job, target.path));
	return j;
}

/* said: what a stranger may know; why: for the trace and the table. */
static void refuse_as(struct job *j, int status, const char *code, const char *said,
		      const char *why)
{
	char section[80];

	snprintf(section, sizeof(section), "[site %.60s]", j->conf->common.name);
	web_trace(j->web, j->ex, code, section, "%d: %s", status, why);
	http_reply_refusal(j->ex, status, SLICE_NONE, said, why);
}

static void refuse(struct job *j, int status, const char *code, const char *why)
{
	refuse_as(j, status, code, why, why);
}

static bool path_is_served(const struct site_conf *c, struct slice path)
{
	if (c->paths.n == 0)
		return true;
	for (size_t i = 0; i < c->paths.n; i++)
		if (http_path_is_under(path, slice_of(c->paths.v[i])))
			return true;
	return false;
}

static struct stream *connect_job(void *arg, struct http_exchange *ex,
				  const struct stream_handler *h, void *harg, int *error,
				  const char **why)
{
	struct job *j = arg;

	if (j->conf->via == SITE_VIA_DIRECT)
		return origin_connect(j->origin, &j->tried, j->web->conf->connect_ms, h, harg,
				      &j->server, error, why);
	*why = "no tunnel to the inside stands";
	return j->web->tunnel->open(j->web->tunnel_self, j->peer, TUNNEL_HTTP, h, harg, error);
}

static bool keep_request(void *arg, struct http_exchange *ex, const struct http_field *f)
{
	return edge_fields_go_in(f);
}

static bool keep_response(void *arg, struct http_exchange *ex, const struct http_field *f)
{
	const struct job *j = arg;

	return edge_fields_come_out(j->web, f);
}

static void on_failed(void *arg, struct http_exchange *ex, int status, const char *why)
{
	if (status == 504)
		refuse_as(arg, status, "http.site.timeout", "the server did not answer in time",
			  why);
	else
		refuse_as(arg, status, "http.site.failed", "the server cannot be reached", why);
}

static void forward(struct job *j)
{
	const struct http_head *h = http_exchange_head(j->ex);
	char host[HTTP_URL_HOST_BYTES + 10], key[128], peer[SLICE_U64_DIGITS];
	struct buf target, fields;
	size_t n;
	struct http_forward f = {
		.connect = connect_job,
		.keep = keep_request,
		.keep_response = keep_response,
		.failed = on_failed,
		.arg = j,
		.allow_upgrade = true,
		.max_connects = j->origin ? origin_n_attempts(j->origin) : 2,
	};

	web_authority(&j->target, host, sizeof(host));
	buf_init(&target, HTTP_URL_PATH_BYTES + 65536);
	buf_init(&fields, 4096 + 2 * h->n_bytes);
	if (j->conf->via == SITE_VIA_TUNNEL) {
		buf_add_str(&target, j->target.https ? "https://" : "http://");
		buf_add_str(&target, host);
	}
	buf_add_str(&target, j->target.path);
	if (h->query.p) {
		buf_add_char(&target, '?');
		buf_add_slice(&target, h->query);
	}
	edge_fields_add(j->web, j->ex, j->conf->via == SITE_VIA_TUNNEL, &fields);
	n = slice_append(key, sizeof(key), 0, SLICE("site "));
	n = slice_append(key, sizeof(key), n, slice_of(j->conf->common.name));
	n = slice_append(key, sizeof(key), n, SLICE(" "));
	f.key.p = key;
	f.key.n = slice_append(key, sizeof(key), n,
			       (struct slice){ peer, slice_u64_print(peer, j->peer) });
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

static void addresses_known(void *arg, int error, const char *why)
{
	struct job *j = arg;

	if (error == -ECANCELED) {
		origin_unref(j->origin);
		j->origin = NULL;
		loop_defer(j->web->env->loop, &j->again);
	} else if (error) {
		refuse_as(j, error == -EACCES ? 403 : 502, "http.site.address",
			  "the server cannot be reached", why);
	} else {
		forward(j);
	}
}

static void go_direct(struct job *j)
{
	struct allow_rule rule = { .verify = j->conf->verify };
	const char *why;
	int error;

	snprintf(rule.name, sizeof(rule.name), "site %.100s", j->conf->common.name);
	slice_copy(rule.host, sizeof(rule.host), slice_of(j->target.host));
	slice_copy(rule.tls, sizeof(rule.tls), slice_of(j->conf->target_tls));
	j->origin = origins_get(j->web->origins, &j->target, &rule);
	if (!j->origin) {
		http_reply_error(j->ex, 503, SLICE_NONE, "out of memory");
		return;
	}
	origin_ref(j->origin);
	j->wait.done = addresses_known;
	j->wait.arg = j;
	error = origin_ready(j->origin, &j->wait, &why);
	if (error != -EINPROGRESS)
		addresses_known(j, error, why);
}

static void ask_again(void *arg)
{
	go_direct(arg);
}

/* Does the copy of that C's list let the request through without a sign-in? C decides for itself; a
 * site that it was never told of must not look like a hostile edge there. */
static bool is_open_at(struct job *j, tunnel_peer peer, bool *known, char *why, size_t size)
{
	const struct allow_list *list = allow_table_copy(j->web, peer);
	struct allow_verdict verdict;

	if (!list)
		return false;
	*known = true;
	allow_check(list, &j->target, http_exchange_head(j->ex)->method, &verdict);
	if (verdict.rule && verdict.rule->open)
		return true;
	if (verdict.rule)
		snprintf(why, size, "%.120s on C needs authentication = none", verdict.why);
	else
		snprintf(why, size, "%s", verdict.why);
	return false;
}

/* The first C that is up and has it on its list. */
static void go_by_tunnel(struct job *j)
{
	const struct web *w = j->web;
	bool any_up = false, known = false;
	struct tunnel_peer_info p;
	char why[192] = "";

	for (size_t i = 0; w->tunnel->peer(w->tunnel_self, i, &p); i++) {
		if (!p.up)
			continue;
		any_up = true;
		if (!is_open_at(j, p.id, &known, why, sizeof(why)))
			continue;
		j->peer = p.id;
		forward(j);
		return;
	}
	if (!any_up)
		refuse(j, 502, "http.site.failed", "no tunnel to the inside stands");
	else if (!known)
		refuse(j, 503, "http.allow.unknown", "the allow list has not come from inside yet");
	else
		refuse_as(j, 403, "http.allow.denied", "not published", why);
}

void site_request(struct web *w, const struct web_listener *l, struct http_exchange *ex)
{
	const struct http_head *h = http_exchange_head(ex);
	const struct site_conf *c = conf_get(w->snap, "site", l->site);
	struct job *j = c ? job_new() : NULL;
	const char *why;

	if (!j) {
		http_reply_error(ex, 503, SLICE_NONE, c ? "out of memory" : "no longer served");
		return;
	}
	j->web = w;
	j->ex = ex;
	j->snap = conf_ref(w->snap);
	j->conf = c;
	loop_deferred_init(&j->again, ask_again, j);
	http_exchange_set_arg(ex, j);
	http_url_parse(slice_of(c->target), &j->target, &why);
	if (h->form != HTTP_ORIGIN_FORM)
		refuse(j, 400, "http.target-form", "only paths are served here");
	else if (!http_path_canonical(h->path, j->target.path, sizeof(j->target.path), &why))
		refuse(j, 400, "http.path", why);
	else if (!path_is_served(c, slice_of(j->target.path)))
		refuse(j, 404, "http.site.path", "not one of `paths`");
	else if (c->via == SITE_VIA_DIRECT)
		go_direct(j);
	else
		go_by_tunnel(j);
}

void site_finished(struct http_exchange *ex)
{
	struct job *j = http_exchange_arg(ex);

	origin_wait_cancel(&j->wait);
	loop_defer_cancel(&j->again);
	origin_unref(j->origin);
	conf_unref(j->snap);
	free(j);
}
