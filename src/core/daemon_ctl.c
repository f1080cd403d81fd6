#include "core/daemon_ctl.h"

#include <errno.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/ctl.h"
#include "core/daemon_state.h"
#include "core/dns.h"
#include "core/loop.h"
#include "core/system_conf.h"

#define MAX_ERRORS_BYTES (64 * 1024)

static void set_int(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static json_t *loop_json(const struct daemon *d)
{
	struct loop_stats s = loop_stats(d->env.loop);
	json_t *o = json_object();

	set_int(o, "turns", s.n_turns);
	set_int(o, "longest_turn_us", s.longest_turn_us);
	set_int(o, "slow_turns", s.n_slow_turns);
	return o;
}

static json_t *dns_json(const struct daemon *d)
{
	struct dns_stats s = dns_stats(d->env.dns);
	json_t *o = json_object();

	set_int(o, "queries", s.n_queries);
	set_int(o, "cache_hits", s.n_cache_hits);
	set_int(o, "stale", s.n_stale);
	set_int(o, "failures", s.n_failures);
	set_int(o, "cached", s.n_cached);
	set_int(o, "inflight", s.n_inflight);
	return o;
}

static json_t *connections_json(const struct daemon *d)
{
	json_t *o = json_object();

	for (int kind = 0; kind < CONN_N_KINDS; kind++)
		set_int(o, conn_kind_str((enum conn_kind)kind),
			conn_count(d->env.conns, (enum conn_kind)kind));
	return o;
}

json_t *daemon_status(const struct daemon *d)
{
	const struct system_conf *conf = conf_get(conf_current(d->env.conf), "system", NULL);
	json_t *o = json_object();

	json_object_set_new(o, "role", json_string(d->env.role == CONF_ROLE_E ? "E" : "C"));
	json_object_set_new(o, "name", json_string(conf->name));
	json_object_set_new(o, "version", json_string(TURNPIKE_VERSION));
	json_object_set_new(o, "state", json_string(d->draining ? "draining" : "running"));
	if (d->draining)
		json_object_set_new(o, "drained", json_boolean(modules_drained(d->env.modules)));
	set_int(o, "uptime_s", (uint64_t)(loop_now_ms(d->env.loop) - d->started_ms) / 1000);
	json_object_set_new(o, "loop", loop_json(d));
	json_object_set_new(o, "dns", dns_json(d));
	json_object_set_new(o, "connections", connections_json(d));
	set_int(o, "alarms", alarm_count(d->env.alarms));
	json_object_set_new(o, "modules", modules_status(d->env.modules));
	return o;
}

static int run_status(void *self, const struct ctl_request *r, json_t **out)
{
	*out = daemon_status(self);
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

static int run_reload(void *self, const struct ctl_request *r, json_t **out)
{
	struct buf errors;
	int status = 200;

	buf_init(&errors, MAX_ERRORS_BYTES);
	if (daemon_reload(self, &errors) == 0)
		*out = json_pack("{s:b}", "reloaded", 1);
	else
		status = ctl_fail(out, 409, "%.*s", SLICE_ARG(buf_slice(&errors)));
	buf_fini(&errors);
	return status;
}

static int run_drain(void *self, const struct ctl_request *r, json_t **out)
{
	daemon_drain(self);
	*out = json_pack("{s:b}", "draining", 1);
	return 200;
}

int daemon_ctl_add(struct daemon *d)
{
	static const struct ctl_command commands[] = {
		{ "status", false, run_status },
		{ "reload", true, run_reload },
		{ "drain", true, run_drain },
		{ 0 },
	};

	return ctl_add(d->env.ctl, commands, d);
}
