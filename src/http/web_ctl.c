/* The module's commands: allow, allow-check, backends. */
#include <stdio.h>
#include <string.h>

#include "core/conn.h"
#include "http/web.h"

static json_t *rule_json(const struct allow_rule *r)
{
	char methods[64], url[HTTP_URL_HOST_BYTES + 600];
	struct http_url u = { .https = r->https, .port = r->port };

	slice_copy(u.host, sizeof(u.host), slice_of(r->host));
	slice_copy(u.path, sizeof(u.path), slice_of(r->path));
	http_url_print(&u, url, sizeof(url));
	allow_methods_print(r->methods, methods, sizeof(methods));
	return json_pack("{s:s,s:s,s:s,s:s,s:b,s:s}", "name", r->name, "url", url, "match",
			 r->exact ? "exact" : "prefix", "methods", methods, "automatic",
			 r->automatic, "authentication", r->open ? "none" : "required");
}

static void list_rules(const struct allow_list *l, const char *from, json_t *out)
{
	HTAB_FOREACH (it, &l->rules) {
		json_t *r = rule_json(CONTAINER_OF(it, struct allow_rule, by_host));

		if (r && from)
			json_object_set_new(r, "from", json_string(from));
		json_array_append_new(out, r);
	}
}

static int ctl_allow(void *self, const struct ctl_request *r, json_t **out)
{
	struct web *w = self;
	json_t *rules = json_array();
	char name[96];

	if (w->env->role == CONF_ROLE_C)
		list_rules(&w->allow, NULL, rules);
	for (size_t i = 0; i < w->n_copies; i++)
		list_rules(&w->copies[i].list,
			   web_peer_name(w, w->copies[i].peer, name, sizeof(name)), rules);
	*out = json_pack("{s:o}", "allow", rules);
	return 200;
}

static enum http_method method_of(const char *text)
{
	unsigned set;

	if (!text || !allow_methods_parse(slice_of(text), &set))
		return HTTP_METHOD_OTHER;
	for (int m = HTTP_GET; m < HTTP_METHOD_OTHER; m++)
		if (set == 1u << m)
			return (enum http_method)m;
	return HTTP_METHOD_OTHER;
}

/* Which rule decides on a URL, and what would happen to its host. */
static int ctl_allow_check(void *self, const struct ctl_request *r, json_t **out)
{
	struct web *w = self;
	const char *text = r->param(r, "url"), *method = r->param(r, "method"), *why;
	struct allow_verdict verdict = { .rule = NULL };
	struct http_url url;
	enum http_method m = method_of(method ? method : "GET");
	const struct allow_list *list = w->env->role == CONF_ROLE_C ? &w->allow
					: w->n_copies		    ? &w->copies[0].list
								    : NULL;

	if (!text)
		return ctl_fail(out, 400, "url is missing");
	if (m == HTTP_METHOD_OTHER)
		return ctl_fail(out, 400, "%.20s cannot be listed", method);
	if (!list)
		return ctl_fail(out, 409, "no allow list has come through the tunnel yet");
	if (!http_url_parse(slice_of(text), &url, &why))
		snprintf(verdict.why, sizeof(verdict.why), "refused before any rule: %s", why);
	else
		allow_check(list, &url, m, &verdict);
	*out = json_pack("{s:s,s:s,s:b,s:s,s:b,s:s}", "url", text, "method",
			 method ? method : "GET", "allowed", verdict.rule != NULL, "rule",
			 verdict.rule ? verdict.rule->name : "", "automatic",
			 verdict.rule ? verdict.rule->automatic : false, "why", verdict.why);
	return 200;
}

static int ctl_backends(void *self, const struct ctl_request *r, json_t **out)
{
	struct web *w = self;

	*out = json_pack("{s:o}", "backends", origins_json(w->origins));
	return 200;
}

const struct ctl_command web_ctl_commands[] = {
	{ "allow", false, ctl_allow },
	{ "allow-check", false, ctl_allow_check },
	{ "backends", false, ctl_backends },
	{ NULL, false, NULL },
};

void web_status(struct web *w, json_t *out)
{
	static const char *const classes[6] = { NULL,	       "answers-1xx", "answers-2xx",
						"answers-3xx", "answers-4xx", "answers-5xx" };
	struct http_engine_stats s = http_engine_stats(w->engine);
	size_t n = w->allow.n;

	for (size_t i = 0; i < w->n_copies; i++)
		n += w->copies[i].list.n;
	json_object_set_new(out, "connections",
			    json_integer((json_int_t)conn_count(w->env->conns, CONN_HTTP)));
	json_object_set_new(out, "busy", json_integer((json_int_t)http_engine_busy(w->engine)));
	json_object_set_new(out, "connections-total", json_integer((json_int_t)s.n_fronts));
	json_object_set_new(out, "requests", json_integer((json_int_t)s.n_requests));
	json_object_set_new(out, "bad-requests", json_integer((json_int_t)s.n_bad));
	json_object_set_new(out, "too-slow", json_integer((json_int_t)s.n_slow));
	json_object_set_new(out, "retried", json_integer((json_int_t)s.n_retried));
	json_object_set_new(out, "upgraded", json_integer((json_int_t)s.n_upgraded));
	for (int i = 1; i < 6; i++)
		json_object_set_new(out, classes[i], json_integer((json_int_t)s.n_by_class[i]));
	json_object_set_new(out, "allow-rules", json_integer((json_int_t)n));
}
