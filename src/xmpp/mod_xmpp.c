/* The module: on E the side toward chat clients and partners, on C the one toward IM servers. */
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "turnpike/modules.h"
#include "xmpp/side.h"

struct xmpp_module {
	struct env *env;
	struct xmpp_edge *edge; /* E */
	struct xmpp_core *core; /* C */
};

static void xmpp_fini(void *self)
{
	struct xmpp_module *m = self;

	xmpp_edge_free(m->edge);
	xmpp_core_free(m->core);
	free(m);
}

static int xmpp_init(struct env *env, void **self)
{
	struct xmpp_module *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->env = env;
	if (env->role == CONF_ROLE_C)
		m->core = xmpp_core_new(env);
	else
		m->edge = xmpp_edge_new(env);
	if (!m->core && !m->edge) {
		free(m);
		return -ENOMEM;
	}
	*self = m;
	return 0;
}

static int xmpp_start(void *self)
{
	struct xmpp_module *m = self;
	struct buf errors;
	int error;

	buf_init(&errors, 8192);
	error = m->edge ? xmpp_edge_start(m->edge, &errors) : xmpp_core_start(m->core, &errors);
	if (errors.n)
		log_error(m->env->log, "xmpp.start", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	if (error)
		return error;
	return m->edge ? ctl_add(m->env->ctl, xmpp_edge_commands, m->edge)
		       : ctl_add(m->env->ctl, xmpp_core_commands, m->core);
}

static int xmpp_prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	struct xmpp_module *m = self;

	return m->edge ? xmpp_edge_prepare(m->edge, next, errors) : 0;
}

static void xmpp_reload(void *self, const struct conf_snapshot *old,
			const struct conf_snapshot *next)
{
	struct xmpp_module *m = self;

	if (m->edge)
		xmpp_edge_reload(m->edge, next);
	else
		xmpp_core_reload(m->core, next);
}

static void xmpp_drain(void *self)
{
	struct xmpp_module *m = self;

	if (m->edge)
		xmpp_edge_drain(m->edge);
	else
		xmpp_core_drain(m->core);
}

static void xmpp_stop(void *self)
{
	struct xmpp_module *m = self;

	if (m->edge)
		xmpp_edge_stop(m->edge);
	else
		xmpp_core_stop(m->core);
}

static void xmpp_status(void *self, json_t *out)
{
	struct xmpp_module *m = self;

	if (m->edge)
		xmpp_edge_status(m->edge, out);
	else
		xmpp_core_status(m->core, out);
}

static const struct conf_section *const sections[] = { &xmpp_conf_section, &im_server_conf_section,
						       &federation_conf_section,
						       &partner_conf_section, NULL };

const struct module xmpp_module = {
	.name = "xmpp",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = xmpp_init,
	.start = xmpp_start,
	.prepare = xmpp_prepare,
	.reload = xmpp_reload,
	.drain = xmpp_drain,
	/* Nobody waits for chat streams: they last for days, and clients resume them elsewhere. */
	.drained = NULL,
	.stop = xmpp_stop,
	.fini = xmpp_fini,
	.status = xmpp_status,
};
