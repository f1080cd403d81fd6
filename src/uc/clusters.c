#include "uc/clusters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/trace.h"
#include "uc/generate.h"

#define ALARM_DISCOVERY	   "uc-discovery"
#define ALARM_NODE	   "uc-node"
#define ALARM_TLS	   "uc-tls"
#define RETRY_MIN_MS	   10000
#define FAILURES_FOR_ALARM 2
#define ORIGIN_BYTES	   (UC_CLUSTER_BYTES + 16)

static const char *origin_of(const struct uc_cluster *c, char out[ORIGIN_BYTES])
{
	snprintf(out, ORIGIN_BYTES, "[uc-cluster %s]", c->name);
	return out;
}

/* --- life of the servers --- */

static const char *node_subject(const struct uc_cluster *c, const struct uc_server *s, char out[96])
{
	snprintf(out, 96, "%.60s/%.30s", s->name, c->name);
	return out;
}

static void clear_node_alarm(struct uc_cluster *c, struct uc_server *s)
{
	char subject[96];

	if (s->alarmed)
		alarm_clear(c->uc->env->alarms, ALARM_NODE, node_subject(c, s, subject));
	s->alarmed = false;
}

static void raise_node_alarm(struct uc_cluster *c, struct uc_server *s)
{
	char subject[96];

	if (!s->alarmed)
		log_warn(c->uc->env->log, "uc.node.down", "cluster=%s node=%s why=%s", c->name,
			 s->name, log_esc(slice_of(s->why)));
	alarm_raise(c->uc->env->alarms, ALARM_NODE, node_subject(c, s, subject), ALARM_WARNING,
		    "see whether the server runs and can be reached from here",
		    "%s of the cluster %s does not answer: %s", s->name, c->name, s->why);
	s->alarmed = true;
}

void uc_cluster_heard(struct uc_cluster *c, struct uc_server *s, const char *why)
{
	const bool lives = why == NULL;

	if (s->alive != lives)
		c->uc->generation++;
	s->alive = lives;
	slice_copy(s->why, sizeof(s->why), slice_of(why));
	if (lives) {
		s->n_failed = 0;
		clear_node_alarm(c, s);
	} else if (++s->n_failed >= FAILURES_FOR_ALARM) {
		raise_node_alarm(c, s);
	}
}

static void probed(void *arg, struct uc_server *s, const char *why)
{
	uc_cluster_heard(arg, s, why);
}

/* --- zones and rules --- */

static void check_tls(struct uc_cluster *c)
{
	const struct uc_cluster_conf *conf = c->conf;

	if (c->mixed && conf->sip && (!conf->tls || !conf->tls[0]))
		alarm_raise(c->uc->env->alarms, ALARM_TLS, c->name, ALARM_WARNING,
			    "set tls in [uc-cluster NAME] to a [tls] section with the certificate "
			    "to show and the CA of the call managers",
			    "the cluster %s is in mixed mode, but no CEtls zones are made: it "
			    "names no [tls] section",
			    c->name);
	else
		alarm_clear(c->uc->env->alarms, ALARM_TLS, c->name);
}

static void set_generated(struct uc_cluster *c, struct slice text)
{
	struct env *env = c->uc->env;
	char origin[ORIGIN_BYTES];
	int error = conf_store_set_generated(env->conf, origin_of(c, origin), text);

	if (error)
		log_error(env->log, "uc.generate", "cluster=%s error=%s", c->name,
			  strerror(-error));
	else if (env->request_reload)
		env->request_reload(env);
}

/* What was refused when it came (a certificate that was just being replaced, say) may do now. */
static bool was_refused(const struct uc_cluster *c)
{
	const struct conf_snapshot *now = conf_current(c->uc->env->conf);

	return c->generated && !conf_has_generated(now) && !conf_generated_left_out(now)[0];
}

/* When the zones and rules are not those in force, asks for a snapshot with them. */
static void publish(struct uc_cluster *c, bool again)
{
	struct buf text;

	buf_init(&text, UC_GENERATE_MAX_BYTES);
	if (!uc_generate(c->uc->snap, c->conf, &c->servers, c->mixed, &text)) {
		log_error(c->uc->env->log, "uc.generate", "cluster=%s error=too-much", c->name);
	} else if (again || !slice_eq(buf_slice(&text), slice_of(c->generated))) {
		set_generated(c, buf_slice(&text));
		free(c->generated);
		c->generated = text.n ? slice_dup(buf_slice(&text)) : NULL;
	}
	buf_fini(&text);
	check_tls(c);
}

/* --- discovery --- */

static void clear_gone(struct uc_cluster *c, const struct uc_servers *next)
{
	size_t i;

	for (i = 0; i < c->servers.n; i++)
		if (!next || !uc_servers_find(next, slice_of(c->servers.v[i].name)))
			clear_node_alarm(c, &c->servers.v[i]);
}

static void succeeded(struct uc_cluster *c, struct uc_found *found)
{
	struct env *env = c->uc->env;
	bool changed;

	clear_gone(c, &found->servers);
	changed = uc_servers_replace(&c->servers, &found->servers) || c->mixed != found->mixed;
	c->mixed = found->mixed;
	memcpy(c->version, found->version, sizeof(c->version));
	c->found_wall_s = (int64_t)time(NULL);
	c->error[0] = '\0';
	memcpy(c->note, c->discovery.note, sizeof(c->note));
	c->retry_ms = RETRY_MIN_MS;
	alarm_clear(env->alarms, ALARM_DISCOVERY, c->name);
	log_info(env->log, "uc.discovery", "cluster=%s servers=%zu mixed=%s changed=%s skipped=%u",
		 c->name, c->servers.n, c->mixed ? "yes" : "no", changed ? "yes" : "no",
		 found->n_skipped);
	if (found->n_skipped)
		trace_add(env->trace, "uc.discovery.skipped", c->conf->common.name, NULL, NULL,
			  "%u servers of the cluster %s left out: impossible names, or more than "
			  "%d",
			  found->n_skipped, c->name, UC_MAX_SERVERS);
	if (changed)
		c->uc->generation++;
	publish(c, was_refused(c));
	if (changed)
		uc_prober_start(&c->prober, c->conf);
}

static void failed(struct uc_cluster *c, const struct uc_fault *fault)
{
	struct env *env = c->uc->env;
	char origin[ORIGIN_BYTES];

	memcpy(c->error, fault->text, sizeof(c->error));
	log_warn(env->log, "uc.discovery.failed", "cluster=%s code=%s why=%s", c->name, fault->code,
		 log_esc(slice_of(fault->text)));
	trace_add(env->trace, fault->code, origin_of(c, origin), NULL, NULL, "%s%s", fault->text,
		  c->found_wall_s ? "; what was found before stays in use" : "");
	alarm_raise(env->alarms, ALARM_DISCOVERY, c->name,
		    c->found_wall_s ? ALARM_WARNING : ALARM_ERROR, fault->todo,
		    "the servers of the cluster %s could not be asked for: %s", c->name,
		    fault->text);
}

static void discovered(void *arg, struct uc_found *found, const struct uc_fault *fault)
{
	struct uc_cluster *c = arg;
	uint32_t wait_ms = c->conf->refresh_ms;

	if (found) {
		succeeded(c, found);
	} else {
		failed(c, fault);
		if (c->retry_ms < wait_ms)
			wait_ms = c->retry_ms;
		c->retry_ms = wait_ms * 2;
	}
	timer_start(c->uc->world.timers, &c->refresh, wait_ms);
}

void uc_cluster_refresh(struct uc_cluster *c)
{
	timer_stop(c->uc->world.timers, &c->refresh);
	uc_discovery_start(&c->discovery, c->conf);
}

static void on_refresh(void *arg)
{
	uc_cluster_refresh(arg);
}

/* --- life --- */

static struct uc_cluster *cluster_new(struct uc *uc, const struct uc_cluster_conf *conf)
{
	struct uc_cluster *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->uc = uc;
	c->conf = conf;
	c->retry_ms = RETRY_MIN_MS;
	slice_copy(c->name, sizeof(c->name), slice_of(conf->common.name));
	uc_discovery_init(&c->discovery, &uc->world, discovered, c);
	uc_prober_init(&c->prober, &uc->world, &c->servers, probed, c);
	timer_init(&c->refresh, on_refresh, c);
	list_add_tail(&uc->clusters, &c->node);
	return c;
}

static void cluster_halt(struct uc_cluster *c)
{
	uc_discovery_stop(&c->discovery);
	uc_prober_stop(&c->prober);
	timer_stop(c->uc->world.timers, &c->refresh);
}

static void cluster_free(struct uc_cluster *c)
{
	cluster_halt(c);
	list_del(&c->node);
	uc_servers_fini(&c->servers);
	free(c->generated);
	free(c);
}

static void cluster_remove(struct uc_cluster *c)
{
	struct alarms *alarms = c->uc->env->alarms;

	clear_gone(c, NULL);
	alarm_clear(alarms, ALARM_DISCOVERY, c->name);
	alarm_clear(alarms, ALARM_TLS, c->name);
	if (c->generated)
		set_generated(c, SLICE_NONE);
	c->uc->generation++;
	cluster_free(c);
}

struct uc_cluster *uc_cluster_find(const struct uc *uc, const char *name)
{
	LIST_FOREACH (it, &uc->clusters) {
		struct uc_cluster *c = CONTAINER_OF(it, struct uc_cluster, node);

		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

bool uc_cluster_serves(const struct uc_cluster *c, struct slice domain)
{
	size_t i;

	for (i = 0; i < c->conf->domains.n; i++)
		if (slice_caseeq(slice_of(c->conf->domains.v[i]), domain))
			return true;
	return false;
}

/* The same section in the next snapshot: nothing stops. */
static void keep(struct uc_cluster *c, const struct uc_cluster_conf *conf)
{
	c->conf = conf;
	c->discovery.conf = conf;
	c->prober.conf = conf;
	/* A domain may have begun or ceased to have sip = uc. */
	if (c->found_wall_s)
		publish(c, false);
}

/* Another section of the same name: asked anew, the servers of before stay until the answer. */
static void change(struct uc_cluster *c, const struct uc_cluster_conf *conf)
{
	cluster_halt(c);
	c->conf = conf;
	c->retry_ms = RETRY_MIN_MS;
	c->uc->generation++;
	uc_home_cache_clear(&c->uc->home.cache);
	if (c->servers.n)
		uc_prober_start(&c->prober, conf);
	uc_cluster_refresh(c);
}

static int enter(struct uc *uc, const struct conf_snapshot *old, const struct uc_cluster_conf *conf)
{
	struct uc_cluster *c = uc_cluster_find(uc, conf->common.name);
	const void *before = old ? conf_get(old, "uc-cluster", conf->common.name) : NULL;

	if (c && before && conf_section_same(before, conf)) {
		keep(c, conf);
	} else if (c) {
		change(c, conf);
	} else {
		c = cluster_new(uc, conf);
		if (!c)
			return -ENOMEM;
		uc->generation++;
		uc_cluster_refresh(c);
	}
	return 0;
}

int uc_clusters_apply(struct uc *uc, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = uc->snap;
	const struct uc_cluster_conf *conf;
	int error = 0;

	uc->snap = conf_ref(snap);
	LIST_FOREACH_SAFE (it, &uc->clusters) {
		struct uc_cluster *c = CONTAINER_OF(it, struct uc_cluster, node);

		if (!conf_get(snap, "uc-cluster", c->name))
			cluster_remove(c);
	}
	for (conf = conf_next(snap, "uc-cluster", NULL); conf;
	     conf = conf_next(snap, "uc-cluster", conf))
		if (enter(uc, old, conf) < 0)
			error = -ENOMEM;
	conf_unref(old);
	return error;
}

void uc_clusters_fini(struct uc *uc)
{
	LIST_FOREACH_SAFE (it, &uc->clusters)
		cluster_free(CONTAINER_OF(it, struct uc_cluster, node));
	conf_unref(uc->snap);
	uc->snap = NULL;
}
