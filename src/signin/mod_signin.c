/* Wires signing in to the loop, the settings, the tunnel and what knows the passwords. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/conn.h"
#include "core/ctl.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "signin/admins.h"
#include "signin/backends.h"
#include "signin/core_side.h"
#include "signin/edge_side.h"
#include "signin/signin_conf.h"
#include "signin/signin_ctl.h"
#include "turnpike/modules.h"
#include "turnpike/route.h"
#include "turnpike/uc.h"

/* The backend's own time-out has the better reason: it comes first. */
#define TIMEOUT_MARGIN_MS 500

struct mod_signin {
	struct env *env;
	struct signin_backends backends;
	struct signin_admins *admins;
	struct core_side *core; /* one of the two */
	struct edge_side *edge;
};

static struct signin_side *side_of(const struct mod_signin *m)
{
	return m->core ? core_side_base(m->core) : edge_side_base(m->edge);
}

/* --- settings --- */

static bool has_sip(const struct domain_conf *d)
{
	return d->sip && strcmp(d->sip, "none") != 0;
}

/* The [domain] sections in an array that the caller frees; NULL with *n 0 without any. */
static int gather_domains(const struct conf_snapshot *snap, struct signin_domain **out, size_t *n)
{
	const struct domain_conf *d = NULL;

	*out = NULL;
	*n = 0;
	while ((d = conf_next(snap, "domain", d)))
		(*n)++;
	if (*n == 0)
		return 0;
	*out = calloc(*n, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; (d = conf_next(snap, "domain", d)); i++) {
		struct signin_domain *to = &(*out)[i];

		slice_copy(to->name, sizeof(to->name), slice_of(d->common.name));
		to->web = d->web;
		to->sip = has_sip(d);
		to->sip_signin = d->sip_signin;
		to->im = d->im;
	}
	return 0;
}

static int configure_core(struct mod_signin *m, const struct conf_snapshot *snap)
{
	const struct signin_conf *c = conf_get(snap, "signin", NULL);
	struct core_settings s = {
		.auth = { .cache_life_ms = c->cache_life_ms,
			  .cache_cleanup_ms = c->cache_cleanup_ms,
			  .cache_entries = c->cache_entries,
			  .rate = { c->rate, c->rate_period_ms },
			  .user_failures = { c->user_failures, c->user_period_ms },
			  .timeout_ms = c->authentication_timeout_ms + TIMEOUT_MARGIN_MS,
			  .max_checks = c->max_checks },
		.session_life_s = c->session_life_ms / 1000,
		.max_sessions = c->max_sessions,
	};
	struct signin_domain *domains;
	int err = gather_domains(snap, &domains, &s.n_domains);

	s.domains = domains;
	m->backends.timeout_ms = c->authentication_timeout_ms;
	if (err == 0)
		err = core_side_configure(m->core, &s);
	free(domains);
	return err;
}

static void configure_edge(struct mod_signin *m, const struct conf_snapshot *snap)
{
	const struct signin_conf *c = conf_get(snap, "signin", NULL);
	struct edge_settings s = {
		.max_sessions = c->max_sessions,
		.source = { c->source_failures, c->source_period_ms },
		.timeout_ms = c->authentication_timeout_ms + 2 * TIMEOUT_MARGIN_MS,
	};

	edge_side_configure(m->edge, &s);
}

static void configure_admins(struct mod_signin *m, const struct conf_snapshot *snap)
{
	const struct signin_conf *c = conf_get(snap, "signin", NULL);
	struct admin_settings s = {
		.user_failures = { c->user_failures, c->user_period_ms },
		.source_failures = { c->source_failures, c->source_period_ms },
		.timeout_ms = c->authentication_timeout_ms,
		.max_checks = c->max_checks,
	};

	signin_admins_configure(m->admins, &s);
}

static int configure(struct mod_signin *m, const struct conf_snapshot *snap)
{
	configure_admins(m, snap);
	if (m->core)
		return configure_core(m, snap);
	configure_edge(m, snap);
	return 0;
}

/* Whoever was taken out of the file, or has another password now, signs in again. */
static void end_changed_users(struct mod_signin *m, const struct conf_snapshot *old,
			      const struct conf_snapshot *next)
{
	LIST_FOREACH_SAFE (it, signin_sessions_list(side_of(m)->sessions)) {
		struct signin_entry *e = CONTAINER_OF(it, struct signin_entry, node);
		struct slice domain = slice_of(e->s.domain), user = slice_of(e->s.user);
		const struct web_user_conf *a = web_user_find(old, domain, user);
		const struct web_user_conf *b = web_user_find(next, domain, user);

		if (a && (!b || strcmp(a->password_hash, b->password_hash) != 0))
			core_side_end(m->core, e,
				      b ? "the password was changed" : "the user was removed");
	}
}

/* Is every section of that type the same in both? */
static bool sections_same(const struct conf_snapshot *a, const struct conf_snapshot *b,
			  const char *type)
{
	const struct conf_common *s = NULL;
	size_t n = 0;

	while ((s = conf_next(a, type, s))) {
		const void *other = conf_get(b, type, s->name);

		if (!other || !conf_section_same(s, other))
			return false;
		n++;
	}
	while ((s = conf_next(b, type, s)))
		n--;
	return n == 0;
}

/* --- life --- */

static void mod_fini(void *self)
{
	struct mod_signin *m = self;

	core_side_free(m->core);
	edge_side_free(m->edge);
	signin_admins_free(m->admins);
	free(m);
}

static int mod_init(struct env *env, void **self)
{
	struct signin_world w = { .timers = loop_timers(env->loop),
				  .conns = env->conns,
				  .trace = env->trace,
				  .log = env->log,
				  .random = net_random };
	struct mod_signin *m = calloc(1, sizeof(*m));
	int err = -ENOMEM;

	if (!m)
		return -ENOMEM;
	m->env = env;
	m->backends.env = env;
	if (env->role == CONF_ROLE_C)
		m->core = core_side_new(&w, &signin_backend, &m->backends);
	else
		m->edge = edge_side_new(&w);
	m->admins = signin_admins_new(&w, &signin_admin_backend, env);
	if (m->admins && (m->core || m->edge))
		side_of(m)->admins = m->admins;
	if (!m->admins)
		err = -ENOMEM;
	else if (m->core)
		err = service_offer(env->modules, SIGNIN_SERVICE, &core_side_ops, m->core);
	else if (m->edge)
		err = service_offer(env->modules, SIGNIN_SERVICE, &edge_side_ops, m->edge);
	if (err) {
		mod_fini(m);
		return err;
	}
	*self = m;
	return 0;
}

static int mod_start(void *self)
{
	struct mod_signin *m = self;
	struct service tunnel = service_find(m->env->modules, TUNNEL_SERVICE);
	int err = configure(m, conf_current(m->env->conf));

	m->backends.uc = service_find(m->env->modules, UC_SERVICE);
	if (err == 0)
		err = m->core ? core_side_start(m->core, &tunnel)
			      : edge_side_start(m->edge, &tunnel);
	if (err == 0 && m->env->ctl)
		err = ctl_add(m->env->ctl, signin_ctl_commands, side_of(m));
	return err;
}

static void mod_reload(void *self, const struct conf_snapshot *old,
		       const struct conf_snapshot *next)
{
	struct mod_signin *m = self;

	if (configure(m, next) < 0) {
		log_error(m->env->log, "signin.reload.failed",
			  "error=\"out of memory\" action=\"the old settings stay\"");
		return;
	}
	signin_admins_forget(m->admins);
	if (!m->core)
		return;
	if (!sections_same(old, next, "domain") || !sections_same(old, next, "web-user") ||
	    !sections_same(old, next, "uc-cluster"))
		core_side_forget(m->core);
	end_changed_users(m, old, next);
}

/* The tunnel stops after this one. */
static void mod_stop(void *self)
{
	struct mod_signin *m = self;

	signin_admins_drop(m->admins);
	if (m->core)
		core_side_stop(m->core);
	else
		edge_side_stop(m->edge);
}

static void mod_status(void *self, json_t *out)
{
	const struct mod_signin *m = self;

	if (m->core)
		core_side_status(m->core, out);
	else
		edge_side_status(m->edge, out);
	signin_admins_status(m->admins, out);
}

static const struct conf_section *const sections[] = { &signin_conf_section, &web_user_conf_section,
						       &admin_conf_section, NULL };

const struct module signin_module = {
	.name = "signin",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = mod_init,
	.start = mod_start,
	.reload = mod_reload,
	.stop = mod_stop,
	.fini = mod_fini,
	.status = mod_status,
};
