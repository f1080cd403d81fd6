/* The module: on E the TURN server, on C the credentials for it. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "core/ctl.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "turn/core_side.h"
#include "turn/edge_side.h"
#include "turnpike/api.h"
#include "turnpike/modules.h"

struct turn_module {
	struct env *env;
	struct turn_edge *edge; /* E */
	struct turn_core *core; /* C */
};

static int64_t wall_s(void)
{
	return (int64_t)time(NULL);
}

static void turn_fini(void *self)
{
	struct turn_module *m = self;

	turn_edge_free(m->edge);
	turn_core_free(m->core);
	free(m);
}

static int init_side(struct turn_module *m)
{
	struct turn_core_world w = { .timers = loop_timers(m->env->loop),
				     .trace = m->env->trace,
				     .log = m->env->log,
				     .random = net_random,
				     .wall_s = wall_s };

	if (m->env->role == CONF_ROLE_C) {
		m->core = turn_core_new(&w);
		return m->core ? 0 : -ENOMEM;
	}
	m->edge = turn_edge_new(m->env);
	if (!m->edge)
		return -ENOMEM;
	return service_offer(m->env->modules, TURN_SERVICE, &turn_edge_service, m->edge);
}

static int turn_init(struct env *env, void **self)
{
	struct turn_module *m = calloc(1, sizeof(*m));
	int error;

	if (!m)
		return -ENOMEM;
	m->env = env;
	error = init_side(m);
	if (error) {
		turn_fini(m);
		return error;
	}
	*self = m;
	return 0;
}

static int start_edge(struct turn_module *m)
{
	struct buf errors;
	int error;

	buf_init(&errors, 8192);
	error = turn_edge_start(m->edge, &errors);
	if (errors.n)
		log_error(m->env->log, "turn.listen", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	return error ? error : ctl_add(m->env->ctl, turn_edge_commands, m->edge);
}

static int start_core(struct turn_module *m)
{
	struct service tunnel = service_find(m->env->modules, TUNNEL_SERVICE);
	struct service api = service_find(m->env->modules, API_SERVICE);
	int error;

	turn_core_configure(m->core, conf_current(m->env->conf));
	error = turn_core_start(m->core, &tunnel, &api);
	return error ? error : ctl_add(m->env->ctl, turn_core_commands, m->core);
}

static int turn_start(void *self)
{
	struct turn_module *m = self;

	return m->edge ? start_edge(m) : start_core(m);
}

static int turn_prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	struct turn_module *m = self;

	return m->edge ? turn_edge_prepare(m->edge, next, errors) : 0;
}

static void turn_reload(void *self, const struct conf_snapshot *old,
			const struct conf_snapshot *next)
{
	struct turn_module *m = self;

	if (m->edge)
		turn_edge_reload(m->edge, next);
	else
		turn_core_configure(m->core, next);
}

static void turn_drain(void *self)
{
	struct turn_module *m = self;

	if (m->edge)
		turn_edge_drain(m->edge);
}

static bool turn_drained(void *self)
{
	struct turn_module *m = self;

	return !m->edge || !m->edge->server ||
	       turn_server_stats(m->edge->server).n_allocations == 0;
}

static void turn_stop(void *self)
{
	struct turn_module *m = self;

	if (m->edge)
		turn_edge_stop(m->edge);
	else
		turn_core_stop(m->core);
}

static void turn_status(void *self, json_t *out)
{
	struct turn_module *m = self;

	if (m->edge)
		turn_edge_status(m->edge, out);
	else
		turn_core_status(m->core, out);
}

static const struct conf_section *const sections[] = { &turn_section, &turn_user_section, NULL };

const struct module turn_module = {
	.name = "turn",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = turn_init,
	.start = turn_start,
	.prepare = turn_prepare,
	.reload = turn_reload,
	.drain = turn_drain,
	.drained = turn_drained,
	.stop = turn_stop,
	.fini = turn_fini,
	.status = turn_status,
};
