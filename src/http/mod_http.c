/* The module: connects the folder to the loop, the settings and the other modules. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conn.h"
#include "core/ctl.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "http/api.h"
#include "http/web.h"
#include "turnpike/modules.h"

void web_trace(struct web *w, struct http_exchange *ex, const char *code, const char *decided_by,
	       const char *fmt, ...)
{
	const struct conn *c = http_exchange_conn(ex);
	const struct conn *front = http_front_conn(http_exchange_front(ex));
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	trace_add(w->env->trace, code, decided_by,
		  c->remote.family != ADDR_NONE ? &c->remote : &front->remote,
		  c->session[0] ? c->session : NULL, "%s", text);
}

static void add_text(char *out, size_t size, const char *text)
{
	size_t n = strlen(out);

	slice_copy(out + n, size - n, slice_of(text));
}

void web_bind(struct http_exchange *ex, const struct signin_session *s)
{
	struct conn *c = http_exchange_conn(ex);
	struct conn *front = http_front_conn(http_exchange_front(ex));

	slice_copy(c->session, sizeof(c->session), slice_of(s->id));
	c->user[0] = '\0';
	add_text(c->user, sizeof(c->user), s->user);
	add_text(c->user, sizeof(c->user), "@");
	add_text(c->user, sizeof(c->user), s->domain);
	memcpy(front->session, c->session, sizeof(front->session));
	memcpy(front->user, c->user, sizeof(front->user));
}

void web_refused(void *arg, struct http_front *f, const char *code, int status, const char *why)
{
	struct web *w = arg;
	const struct conn *c = http_front_conn(f);

	trace_add(w->env->trace, code, "[web]", &c->remote, c->session[0] ? c->session : NULL,
		  "%d: %s", status, why);
}

void web_authority(const struct http_url *url, char *out, size_t size)
{
	struct slice host = slice_of(url->host);
	bool ip6 = slice_find(host, ':') < host.n;
	char port[1 + SLICE_U64_DIGITS] = ":";
	size_t n = ip6 ? slice_append(out, size, 0, SLICE("[")) : 0;

	n = slice_append(out, size, n, host);
	if (ip6)
		n = slice_append(out, size, n, SLICE("]"));
	if (url->port != (url->https ? 443 : 80))
		slice_append(out, size, n,
			     (struct slice){ port, 1 + slice_u64_print(port + 1, url->port) });
}

static void use_snapshot(struct web *w, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = w->snap;
	const struct system_conf *sys = conf_get(snap, "system", NULL);

	w->snap = conf_ref(snap);
	w->conf = conf_get(snap, "web", NULL);
	w->name = sys->name;
	web_cookie_domain(w->conf, sys->name, w->cookie_domain, sizeof(w->cookie_domain));
	if (old)
		conf_unref(old);
}

static struct http_engine_conf engine_conf(const struct web *w)
{
	struct http_engine_conf conf = web_engine_conf(w->conf);

	conf.relayed = w->env->role == CONF_ROLE_C;
	/* One Via a pair: E is the gateway that others see. */
	if (w->env->role == CONF_ROLE_C)
		conf.via = NULL;
	return conf;
}

static void http_fini(void *self)
{
	struct web *w = self;

	api_free(w->api);
	http_engine_free(w->engine);
	edge_listen_free(w);
	origins_free(w->origins);
	allow_table_stop(w);
	if (w->snap)
		conf_unref(w->snap);
	free(w);
}

static int http_init(struct env *env, void **self)
{
	struct web *w = calloc(1, sizeof(*w));
	struct http_engine_conf conf;
	bool is_edge = env->role == CONF_ROLE_E;
	uint8_t seed[16];
	int error;

	if (!w)
		return -ENOMEM;
	w->env = env;
	timer_init(&w->uc_timer, NULL, w);
	timer_init(&w->facts_timer, web_edge_tell_facts, w);
	timer_init(&w->hostile_timer, NULL, w);
	net_random(seed, sizeof(seed));
	if (allow_init(&w->allow, seed) < 0) {
		free(w);
		return -ENOMEM;
	}
	use_snapshot(w, conf_current(env->conf));
	conf = engine_conf(w);
	w->engine = http_engine_new(loop_timers(env->loop), env->conns, &conf,
				    is_edge ? &web_edge_ops : &web_core_ops, w);
	w->origins = origins_new(env);
	error = w->engine && w->origins ? 0 : -ENOMEM;
	if (error == 0 && !is_edge)
		w->api = api_new(env, &error);
	if (error) {
		http_fini(w);
		return error;
	}
	origins_configure(w->origins, w->snap);
	*self = w;
	return 0;
}

static void find_services(struct web *w)
{
	struct service tunnel = service_find(w->env->modules, TUNNEL_SERVICE);
	struct service signin = service_find(w->env->modules, SIGNIN_SERVICE);
	struct service uc = service_find(w->env->modules, UC_SERVICE);
	struct service sip = service_find(w->env->modules, SIP_SERVICE);
	struct service turn = service_find(w->env->modules, TURN_SERVICE);

	w->tunnel = tunnel.ops;
	w->tunnel_self = tunnel.self;
	w->signin = signin.ops;
	w->signin_self = signin.self;
	w->uc = uc.ops;
	w->uc_self = uc.self;
	w->sip = sip.ops;
	w->sip_self = sip.self;
	w->turn = turn.ops;
	w->turn_self = turn.self;
}

/* What the settings say about listening: at start and at each reload. */
static int listen_as_configured(struct web *w)
{
	struct buf errors;
	int error;

	buf_init(&errors, 8192);
	error = w->api ? api_configure(w->api, w->snap, &errors)
		       : edge_listen_configure(w, &errors);
	if (errors.n)
		log_error(w->env->log, "http.listen", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	return error;
}

static int start_core(struct web *w)
{
	struct service signin = { w->signin, w->signin_self };
	int error = allow_table_build(w);

	api_set_signin(w->api, &signin);
	if (error == 0)
		error = web_core_start(w);
	return error ? error : listen_as_configured(w);
}

static int start_edge(struct web *w)
{
	int error = web_edge_start(w);

	return error ? error : listen_as_configured(w);
}

static int http_start(void *self)
{
	struct web *w = self;
	int error;

	find_services(w);
	if (!w->tunnel || !w->signin)
		return -ENOENT;
	error = allow_table_start(w);
	if (error == 0)
		error = w->env->role == CONF_ROLE_C ? start_core(w) : start_edge(w);
	return error ? error : ctl_add(w->env->ctl, web_ctl_commands, w);
}

static int http_prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	struct web *w = self;

	return w->api ? api_prepare(w->api, next, errors) : edge_listen_prepare(w, next, errors);
}

static void http_reload(void *self, const struct conf_snapshot *old,
			const struct conf_snapshot *next)
{
	struct web *w = self;
	struct http_engine_conf conf;

	use_snapshot(w, next);
	conf = engine_conf(w);
	http_engine_configure(w->engine, &conf);
	origins_configure(w->origins, next);
	listen_as_configured(w);
	if (w->env->role == CONF_ROLE_C)
		allow_table_build(w);
	else
		web_edge_facts_changed(w);
}

static void stop_listening(struct web *w)
{
	edge_listen_free(w);
	http_engine_drain(w->engine);
	if (w->api)
		api_drain(w->api);
}

static void http_drain(void *self)
{
	struct web *w = self;

	w->draining = true;
	stop_listening(w);
}

static bool http_drained(void *self)
{
	struct web *w = self;

	return http_engine_busy(w->engine) == 0 && (!w->api || api_busy(w->api) == 0);
}

static void http_stop(void *self)
{
	stop_listening(self);
}

static void http_status(void *self, json_t *out)
{
	struct web *w = self;

	web_status(w, out);
	if (w->api)
		api_status(w->api, out);
}

static const struct conf_section *const sections[] = {
	&web_section, &allow_section, &backends_section, &site_section, &api_section, NULL,
};

const struct module http_module = {
	.name = "http",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = http_init,
	.start = http_start,
	.prepare = http_prepare,
	.reload = http_reload,
	.drain = http_drain,
	.drained = http_drained,
	.stop = http_stop,
	.fini = http_fini,
	.status = http_status,
};
