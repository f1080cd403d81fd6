#include "core/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/ctl.h"
#include "core/daemon_ctl.h"
#include "core/daemon_service.h"
#include "core/daemon_state.h"
#include "core/dns.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/privileges.h"
#include "core/system_conf.h"
#include "core/tls.h"
#include "core/trace.h"
#include "core/worker.h"

#define MAX_SECTIONS	  64
#define N_ENDED_KEPT	  1000
#define N_TRACES_KEPT	  2000
#define N_WORKERS	  2
#define MAX_JOBS	  256
#define SPARE_DESCRIPTORS 1024
#define DRAIN_POLL_MS	  100
#define CERT_CHECK_MS	  (60 * 60 * 1000)
#define MAX_ERRORS_BYTES  (64 * 1024)
#define ALARM_REJECTED	  "config-rejected"
#define ALARM_CONTROL	  "control-socket"
#define ALARM_GENERATED	  "uc-generated"

static int64_t loop_clock(void *arg)
{
	return loop_now_ms(arg);
}

static const struct system_conf *system_conf(const struct daemon *d)
{
	return conf_get(conf_current(d->env.conf), "system", NULL);
}

static int add_section(struct daemon *d, const struct conf_section *section)
{
	if (d->n_schema == MAX_SECTIONS)
		return -ENOSPC;
	d->schema[d->n_schema++] = section;
	return 0;
}

static int collect_schema(struct daemon *d)
{
	int error = 0;

	d->schema = calloc(MAX_SECTIONS, sizeof(*d->schema));
	if (!d->schema)
		return -ENOMEM;
	add_section(d, &system_conf_section);
	add_section(d, &tls_conf_section);
	add_section(d, &dns_conf_section);
	for (size_t i = 0; i < d->options->n_modules; i++) {
		const struct conf_section *const *s = d->options->modules[i]->sections;

		for (; s && *s && error == 0; s++)
			error = add_section(d, *s);
	}
	return error;
}

static void regenerate(void *arg);
static void request_reload(struct env *env);

struct daemon *daemon_new(const struct daemon_options *o)
{
	struct daemon *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->options = o;
	loop_deferred_init(&d->regenerate, regenerate, d);
	d->env.request_reload = request_reload;
	if (collect_schema(d) == 0)
		d->env.conf = conf_store_new(d->schema, d->n_schema);
	d->env.log = log_new(stderr, LOG_LEVEL_INFO);
	if (!d->env.conf || !d->env.log) {
		daemon_free(d);
		return NULL;
	}
	return d;
}

void daemon_free(struct daemon *d)
{
	if (!d)
		return;
	daemon_service_stop(d);
	loop_defer_cancel(&d->regenerate);
	if (d->env.loop) /* a second SIGTERM does not wait for it */
		timer_stop(loop_timers(d->env.loop), &d->drain_timer);
	modules_free(d->env.modules);
	ctl_free(d->env.ctl);
	worker_pool_free(d->env.workers);
	dns_free(d->env.dns);
	tls_store_free(d->env.tls);
	/* Modules leave frees for the end of the turn: those come before the tables they touch. */
	if (d->env.loop)
		loop_once(d->env.loop, 0);
	conn_table_free(d->env.conns);
	trace_free(d->env.trace);
	alarms_free(d->env.alarms);
	loop_free(d->env.loop);
	conf_store_free(d->env.conf);
	log_free(d->env.log);
	free(d->schema);
	free(d);
}

const struct conf_store *daemon_conf(const struct daemon *d)
{
	return d->env.conf;
}

struct env *daemon_env(struct daemon *d)
{
	return &d->env;
}

/* The file, and whether it fits the role that was asked for or runs already. */
static struct conf_snapshot *load(struct daemon *d, struct buf *errors)
{
	const struct daemon_options *o = d->options;
	struct conf_snapshot *snap = conf_load(d->env.conf, o->conf_path, o->role, errors);
	const struct system_conf *conf = snap ? conf_get(snap, "system", NULL) : NULL;
	unsigned written = conf && conf->role == 0 ? CONF_ROLE_E : CONF_ROLE_C;

	if (!snap)
		return NULL;
	if (o->role && o->role != written)
		buf_printf(errors, "%s: [system] role is %c, but --role says otherwise\n",
			   o->conf_path, written == CONF_ROLE_E ? 'E' : 'C');
	else if (d->env.role && d->env.role != written)
		buf_printf(errors, "%s: [system] role cannot change while running: restart\n",
			   o->conf_path);
	else
		return snap;
	conf_unref(snap);
	return NULL;
}

struct conf_snapshot *daemon_check(struct daemon *d, struct buf *errors)
{
	struct conf_snapshot *snap = load(d, errors);
	struct tls_store *scratch = snap ? tls_store_new(NULL, NULL) : NULL;

	if (snap && (!scratch || tls_store_load(scratch, snap, errors) < 0)) {
		conf_unref(snap);
		snap = NULL;
	}
	tls_store_free(scratch);
	return snap;
}

static int build_core(struct daemon *d)
{
	struct env *env = &d->env;
	const struct system_conf *conf = system_conf(d);

	log_set_level(env->log, (enum log_level)conf->log_level);
	env->loop = loop_new();
	if (!env->loop)
		return -ENOMEM;
	env->conns = conn_table_new(conf->max_connections, N_ENDED_KEPT, loop_clock, env->loop);
	env->trace = trace_new(N_TRACES_KEPT, loop_clock, env->loop);
	env->alarms = alarms_new(env->log);
	env->tls = tls_store_new(env->log, env->alarms);
	env->dns = dns_new(env->loop, env->log, env->alarms);
	env->workers = worker_pool_new(env->loop, N_WORKERS, MAX_JOBS);
	env->modules = modules_new(env, d->options->modules, d->options->n_modules);
	if (!env->conns || !env->trace || !env->alarms || !env->tls || !env->dns || !env->workers ||
	    !env->modules)
		return -ENOMEM;
	d->started_ms = loop_now_ms(env->loop);
	return 0;
}

static int start_control(struct daemon *d, struct buf *errors)
{
	const struct system_conf *conf = system_conf(d);
	int error = 0;

	d->env.ctl = ctl_new(&d->env, conf->control_socket, conf->control_group, &error);
	if (!d->env.ctl) {
		buf_printf(errors, "control socket %s: %s\n", conf->control_socket,
			   strerror(-error));
		return error ? error : -ENOMEM;
	}
	return daemon_ctl_add(d);
}

/* Reads all once more as that user: who cannot read the keys and secrets now could not reload them
 * later, and would find out only then. */
static int drop_privileges(struct daemon *d, struct buf *errors)
{
	const struct system_conf *conf = system_conf(d);
	struct conf_snapshot *again;
	int error = privileges_drop(conf->user, conf->control_socket);

	if (error == -ENOENT || error == -EPERM) {
		buf_printf(errors, "[system] user = %s: %s\n", conf->user,
			   error == -ENOENT ? "no such user" : strerror(EPERM));
		return -EINVAL;
	}
	if (error || !conf->user)
		return error;
	again = daemon_check(d, errors);
	conf_unref(again);
	return again ? 0 : -EINVAL;
}

static void check_descriptors(struct daemon *d)
{
	uint64_t wanted = (uint64_t)system_conf(d)->max_connections * 2 + SPARE_DESCRIPTORS;
	uint64_t have = privileges_raise_descriptors(wanted);

	if (have < wanted)
		log_warn(d->env.log, "system.descriptors", "wanted=%llu have=%llu todo=%s",
			 (unsigned long long)wanted, (unsigned long long)have,
			 "raise-LimitNOFILE-or-lower-max-connections");
}

static void check_certs(void *arg)
{
	struct daemon *d = arg;

	tls_store_check_expiry(d->env.tls, (int64_t)time(NULL));
	timer_start(loop_timers(d->env.loop), &d->cert_timer, CERT_CHECK_MS);
}

int daemon_start(struct daemon *d, struct buf *errors)
{
	struct conf_snapshot *snap = load(d, errors);
	int error;

	if (!snap)
		return -EINVAL;
	/* A peer that is gone is an error to handle, not a reason to die. */
	signal(SIGPIPE, SIG_IGN);
	d->env.role = conf_role(snap);
	conf_swap(d->env.conf, snap);
	error = build_core(d);
	if (error)
		return error;
	check_descriptors(d);
	error = tls_store_load(d->env.tls, snap, errors);
	if (error == 0)
		error = dns_configure(d->env.dns, snap);
	if (error == 0)
		error = start_control(d, errors);
	if (error == 0)
		error = modules_init(d->env.modules);
	if (error == 0)
		error = modules_start(d->env.modules);
	if (error == 0)
		error = drop_privileges(d, errors);
	if (error == 0)
		error = daemon_service_start(d);
	if (error)
		return error;
	timer_init(&d->cert_timer, check_certs, d);
	check_certs(d);
	log_info(d->env.log, "system.start", "name=%s role=%c version=%s", system_conf(d)->name,
		 d->env.role == CONF_ROLE_E ? 'E' : 'C', TURNPIKE_VERSION);
	return 0;
}

int daemon_run(struct daemon *d)
{
	int error;

	daemon_service_ready(d);
	error = loop_run(d->env.loop);
	modules_stop(d->env.modules);
	log_info(d->env.log, "system.stop", "error=%d", -error);
	return error;
}

static void say_rejected(struct daemon *d, struct buf *errors)
{
	struct slice rest = buf_slice(errors), first = rest;

	first = slice_next(&first, '\n');
	while (rest.p && rest.n > 0) {
		struct slice line = slice_next(&rest, '\n');

		log_error(d->env.log, "config.rejected", "error=%s", log_esc(line));
	}
	alarm_raise(d->env.alarms, ALARM_REJECTED, d->options->conf_path, ALARM_ERROR,
		    "correct the file (turnpiked --check-config) and reload",
		    "the configuration was refused, the old one is in force: %.*s",
		    SLICE_ARG(first));
}

static void move_control(struct daemon *d, const struct system_conf *conf)
{
	int error = ctl_move(d->env.ctl, conf->control_socket, conf->control_group);

	if (error) {
		log_error(d->env.log, "config.control-socket", "path=%s error=%s kept=old",
			  conf->control_socket, strerror(-error));
		alarm_raise(d->env.alarms, ALARM_CONTROL, "", ALARM_ERROR,
			    "correct [system] control-socket or control-group and reload",
			    "%s cannot be served: %s", conf->control_socket, strerror(-error));
	} else {
		alarm_clear(d->env.alarms, ALARM_CONTROL, "");
	}
}

/* Nothing can fail any more that could be undone. */
static void apply(struct daemon *d, struct conf_snapshot *next)
{
	const struct system_conf *conf = conf_get(next, "system", NULL);
	char keys[256];
	int error = dns_configure(d->env.dns, next);

	if (error)
		log_error(d->env.log, "config.dns", "error=%s kept=old", strerror(-error));
	system_conf_restart_keys(conf_current(d->env.conf), next, keys, sizeof(keys));
	if (keys[0])
		log_warn(d->env.log, "config.restart-needed", "keys=\"%s\"", keys);
	log_set_level(d->env.log, (enum log_level)conf->log_level);
	conn_table_set_max(d->env.conns, conf->max_connections);
	move_control(d, conf);
	modules_apply(d->env.modules, next);
	conf_swap(d->env.conf, next);
}

static void say_generated_refused(struct daemon *d, const char *why)
{
	log_error(d->env.log, "config.generated", "error=%s dropped=all", log_esc(slice_of(why)));
	alarm_raise(d->env.alarms, ALARM_GENERATED, "", ALARM_ERROR,
		    "give the section named a name of its own in the file, or take the cluster's "
		    "zones away with [uc-cluster NAME] sip = no",
		    "no zones and rules of discovered servers: %s", why);
}

/* How the generated sections fared in what is in force now. */
static void say_generated(struct daemon *d)
{
	const struct conf_snapshot *now = conf_current(d->env.conf);
	const char *left_out = conf_generated_left_out(now);

	if (conf_generated_refused(now))
		say_generated_refused(d, conf_generated_refused(now));
	else
		alarm_clear(d->env.alarms, ALARM_GENERATED, "");
	if (left_out[0])
		trace_add(d->env.trace, "config.generated.left-out", d->options->conf_path, NULL,
			  NULL, "the file has sections of these names, which win: %.400s",
			  left_out);
}

/* Takes over next (its reference too) when modules and certificates allow it. */
static int take_over(struct daemon *d, struct conf_snapshot *next, struct buf *errors)
{
	/* Certificates last: that is the one step that changes something when it succeeds. */
	if (next && modules_prepare(d->env.modules, next, errors) == 0 &&
	    tls_store_load(d->env.tls, next, errors) == 0) {
		apply(d, next);
		return 0;
	}
	conf_unref(next);
	return -EINVAL;
}

/* What a module has against generated sections must not keep the file out: once more without. */
static int take_over_alone(struct daemon *d, struct buf *errors)
{
	struct slice first = buf_slice(errors);
	char why[256];
	int error;

	slice_copy(why, sizeof(why), slice_next(&first, '\n'));
	buf_reset(errors);
	conf_store_use_generated(d->env.conf, false);
	error = take_over(d, load(d, errors), errors);
	conf_store_use_generated(d->env.conf, true);
	if (error == 0)
		say_generated_refused(d, why);
	return error;
}

int daemon_reload(struct daemon *d, struct buf *errors)
{
	struct conf_snapshot *next;
	bool has_generated;
	int error;

	daemon_service_reloading(d);
	next = load(d, errors);
	has_generated = next && conf_has_generated(next);
	error = take_over(d, next, errors);
	if (error == 0)
		say_generated(d);
	else if (has_generated)
		error = take_over_alone(d, errors);
	if (error) {
		say_rejected(d, errors);
	} else {
		check_descriptors(d);
		alarm_clear(d->env.alarms, ALARM_REJECTED, d->options->conf_path);
		log_info(d->env.log, "config.loaded", "file=%s", d->options->conf_path);
	}
	daemon_service_ready(d);
	return error;
}

/* The file as it was read last, with what was generated since. The one on the disk may be half
 * edited: nobody has asked for it. */
static void regenerate(void *arg)
{
	struct daemon *d = arg;
	struct conf_snapshot *next;
	struct slice first;
	struct buf errors;
	char why[256];

	if (d->stopping)
		return;
	buf_init(&errors, MAX_ERRORS_BYTES);
	next = conf_reparse(d->env.conf, conf_current(d->env.conf), &errors);
	if (take_over(d, next, &errors) == 0) {
		say_generated(d);
		log_info(d->env.log, "config.generated", "applied=yes");
	} else {
		first = buf_slice(&errors);
		slice_copy(why, sizeof(why), slice_next(&first, '\n'));
		say_generated_refused(d, why);
	}
	buf_fini(&errors);
}

static void request_reload(struct env *env)
{
	struct daemon *d = CONTAINER_OF(env, struct daemon, env);

	loop_defer(env->loop, &d->regenerate);
}

void daemon_drain(struct daemon *d)
{
	if (d->draining)
		return;
	d->draining = true;
	log_info(d->env.log, "system.drain", "timeout_ms=%u", system_conf(d)->drain_timeout_ms);
	modules_drain(d->env.modules);
}

static void poll_drained(void *arg)
{
	struct daemon *d = arg;
	int64_t waited_ms = loop_now_ms(d->env.loop) - d->stopping_ms;
	bool late = waited_ms >= system_conf(d)->drain_timeout_ms;

	if (late || modules_drained(d->env.modules)) {
		log_info(d->env.log, "system.drained", "complete=%s waited_ms=%lld",
			 late ? "no" : "yes", (long long)waited_ms);
		loop_stop(d->env.loop);
		return;
	}
	timer_start(loop_timers(d->env.loop), &d->drain_timer, DRAIN_POLL_MS);
}

void daemon_stop(struct daemon *d)
{
	if (d->stopping) {
		loop_stop(d->env.loop);
		return;
	}
	d->stopping = true;
	d->stopping_ms = loop_now_ms(d->env.loop);
	timer_init(&d->drain_timer, poll_drained, d);
	daemon_service_stopping(d);
	daemon_drain(d);
	poll_drained(d);
}
