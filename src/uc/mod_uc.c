/* Wires the clusters to the loop, the resolver, the settings and the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/dns.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "turnpike/modules.h"
#include "turnpike/uc.h"
#include "uc/clusters.h"
#include "uc/uc_ctl.h"

static const struct conf_section *const sections[] = { &uc_cluster_section, NULL };

/* --- the world --- */

static struct fetch *world_fetch(void *arg, const struct fetch_request *r,
				 void (*done)(const struct fetch_result *r, void *arg),
				 void *done_arg, int *error)
{
	const struct uc *uc = arg;

	return fetch_start(uc->env, r, done, done_arg, error);
}

static void world_fetch_cancel(void *arg, struct fetch *f)
{
	fetch_cancel(f);
}

static struct dns_query *world_srv(void *arg, const char *service,
				   void (*done)(const struct dns_result *r, void *arg),
				   void *done_arg)
{
	const struct uc *uc = arg;

	return dns_lookup_srv(uc->env->dns, service, DNS_ANY_FAMILY, done, done_arg);
}

static void world_srv_cancel(void *arg, struct dns_query *q)
{
	dns_cancel(q);
}

static uint32_t world_random(void *arg, uint32_t below)
{
	uint64_t v;

	net_random(&v, sizeof(v));
	return below ? (uint32_t)(v % below) : 0;
}

/* --- the service --- */

static int make_plan(void *arg, struct slice domain, struct uc_plan *out)
{
	const struct uc *uc = arg;
	int error = 0;

	LIST_FOREACH (it, &uc->clusters) {
		const struct uc_cluster *c = CONTAINER_OF(it, struct uc_cluster, node);

		if (error == 0 && uc_cluster_serves(c, domain))
			error = uc_plan_add(out, c->conf, &c->servers,
					    world_random(NULL, 1u << 30));
	}
	return error;
}

static void heard(void *arg, const char *cluster, const char *node, const char *why)
{
	struct uc_cluster *c = uc_cluster_find(arg, cluster);
	struct uc_server *s = c ? uc_servers_find(&c->servers, slice_of(node)) : NULL;

	if (s)
		uc_cluster_heard(c, s, why);
}

static const struct uc_home_ops home_ops = { .plan = make_plan, .heard = heard };

static const char *text_or_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

static bool ops_node(void *self, size_t i, struct uc_node *out)
{
	const struct uc *uc = self;

	LIST_FOREACH (it, &uc->clusters) {
		const struct uc_cluster *c = CONTAINER_OF(it, struct uc_cluster, node);
		const struct uc_server *s;

		if (i >= c->servers.n) {
			i -= c->servers.n;
			continue;
		}
		s = &c->servers.v[i];
		*out = (struct uc_node){ .name = s->name,
					 .cluster = c->name,
					 .roles = s->roles,
					 .uds_port = s->uds_port,
					 .port = s->port,
					 .mixed = c->mixed,
					 .verify = c->conf->verify,
					 .tls = text_or_null(c->conf->tls),
					 .tcp_zone = text_or_null(s->tcp_zone),
					 .tls_zone = text_or_null(s->tls_zone),
					 .alive = s->alive };
		return true;
	}
	return false;
}

static uint64_t ops_generation(void *self)
{
	const struct uc *uc = self;

	return uc->generation;
}

static bool ops_serves(void *self, struct slice domain)
{
	const struct uc *uc = self;

	LIST_FOREACH (it, &uc->clusters) {
		if (uc_cluster_serves(CONTAINER_OF(it, struct uc_cluster, node), domain))
			return true;
	}
	return false;
}

static uint64_t ops_check(void *self, struct slice domain, struct slice user, struct slice password,
			  uc_done done, void *arg)
{
	struct uc *uc = self;

	return uc_home_check(&uc->home, domain, user, password, done, arg);
}

static void ops_cancel(void *self, uint64_t id)
{
	struct uc *uc = self;

	uc_home_cancel(&uc->home, id);
}

static const char *ops_home(void *self, struct slice domain, struct slice user)
{
	struct uc *uc = self;

	return uc_home_cache_last(&uc->home.cache, domain, user);
}

static const struct uc_ops ops = { .node = ops_node,
				   .generation = ops_generation,
				   .serves = ops_serves,
				   .check = ops_check,
				   .cancel = ops_cancel,
				   .home = ops_home };

/* --- life --- */

static void fini(void *self)
{
	struct uc *uc = self;

	uc_home_fini(&uc->home);
	uc_clusters_fini(uc);
	free(uc);
}

static int init(struct env *env, void **self)
{
	struct uc *uc = calloc(1, sizeof(*uc));
	uint8_t seed[16];
	int error;

	if (!uc)
		return -ENOMEM;
	net_random(seed, sizeof(seed));
	uc->env = env;
	uc->world = (struct uc_world){ .arg = uc,
				       .timers = loop_timers(env->loop),
				       .fetch = world_fetch,
				       .fetch_cancel = world_fetch_cancel,
				       .srv = world_srv,
				       .srv_cancel = world_srv_cancel,
				       .random = world_random };
	list_init(&uc->clusters);
	error = uc_home_init(&uc->home, &uc->world, &home_ops, uc, seed);
	if (error == 0)
		error = service_offer(env->modules, UC_SERVICE, &ops, uc);
	if (error) {
		fini(uc);
		return error;
	}
	*self = uc;
	return 0;
}

static int start(void *self)
{
	struct uc *uc = self;
	int error = uc_clusters_apply(uc, conf_current(uc->env->conf));

	if (error == 0 && uc->env->ctl)
		error = ctl_add(uc->env->ctl, uc_ctl_commands, uc);
	return error;
}

static void reload(void *self, const struct conf_snapshot *old, const struct conf_snapshot *next)
{
	struct uc *uc = self;

	if (uc_clusters_apply(uc, next) < 0)
		log_error(uc->env->log, "uc.reload", "error=out-of-memory");
}

static void stop(void *self)
{
	struct uc *uc = self;

	uc_clusters_fini(uc);
}

static void status(void *self, json_t *out)
{
	const struct uc *uc = self;
	json_int_t n_clusters = 0, n_nodes = 0, n_alive = 0;
	size_t i;

	LIST_FOREACH (it, &uc->clusters) {
		const struct uc_cluster *c = CONTAINER_OF(it, struct uc_cluster, node);

		n_clusters++;
		n_nodes += (json_int_t)c->servers.n;
		for (i = 0; i < c->servers.n; i++)
			n_alive += c->servers.v[i].alive;
	}
	json_object_set_new(out, "clusters", json_integer(n_clusters));
	json_object_set_new(out, "nodes", json_integer(n_nodes));
	json_object_set_new(out, "alive", json_integer(n_alive));
	json_object_set_new(out, "checks_yes", json_integer((json_int_t)uc->home.n_yes));
	json_object_set_new(out, "checks_no", json_integer((json_int_t)uc->home.n_no));
	json_object_set_new(out, "checks_unknown", json_integer((json_int_t)uc->home.n_unknown));
	json_object_set_new(out, "checks_failed", json_integer((json_int_t)uc->home.n_failed));
}

const struct module uc_module = {
	.name = "uc",
	.roles = CONF_ROLE_C,
	.sections = sections,
	.init = init,
	.start = start,
	.reload = reload,
	.stop = stop,
	.fini = fini,
	.status = status,
};
