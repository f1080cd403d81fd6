#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "core/trace.h"
#include "media/describe.h"
#include "media/media_conf.h"
#include "media/udp.h"
#include "turnpike/modules.h"
#include "turnpike/turn.h"

struct mod_media {
	struct env *env;
	const struct conf_snapshot *snap; /* the settings point into it */
	struct media_engine engine;
	struct media_udp udp;
	const struct turn_ops *turn; /* E; NULL: no such module */
	void *turn_self;
	bool ready;
};

/* -- the engine's way to the world -- */

static int io_open(void *arg, struct media_end *end)
{
	struct mod_media *m = arg;

	return media_udp_open(&m->udp, end);
}

static void io_close(void *arg, struct media_end *end)
{
	struct mod_media *m = arg;

	media_udp_close(&m->udp, end);
}

static int io_open_mux(void *arg, const struct addr *local, uint16_t rtp_port, uint32_t *pair)
{
	struct mod_media *m = arg;
	int err = media_udp_open_mux(&m->udp, local, rtp_port, pair);
	char text[ADDR_STR_BYTES];

	addr_ip_str(local, text);
	if (err < 0)
		alarm_raise(m->env->alarms, "media-mux-port", text, ALARM_ERROR,
			    "find out who holds the port, or change [media] mux-ports",
			    "the shared media ports %u and %u on %s cannot be opened: %s", rtp_port,
			    rtp_port + 1u, text, strerror(-err));
	else
		alarm_clear(m->env->alarms, "media-mux-port", text);
	return err;
}

static void io_mux_send(void *arg, uint32_t socket, const struct addr *to, const void *p, size_t n)
{
	struct mod_media *m = arg;

	media_udp_mux_send(&m->udp, socket, to, p, n);
}

static void io_send(void *arg, struct media_end *end, unsigned component, const struct addr *to,
		    const void *p, size_t n)
{
	struct mod_media *m = arg;

	media_udp_send(&m->udp, end, component, to, p, n);
}

static void io_random(void *arg, void *p, size_t n)
{
	net_random(p, n);
}

static bool io_own_ip(void *arg, const struct addr *a)
{
	return net_is_own_ip(a);
}

static bool io_is_listener(void *arg, const struct addr *a)
{
	struct mod_media *m = arg;

	LIST_FOREACH (it, conn_list(m->env->conns, CONN_LISTENER)) {
		const struct conn *c = CONTAINER_OF(it, const struct conn, node);

		if (c->local.port == a->port &&
		    (addr_ip_eq(&c->local, a) || addr_class(&c->local) == ADDR_UNSPECIFIED))
			return true;
	}
	return false;
}

static bool io_relay_of(void *arg, const struct addr *written, struct addr *reached)
{
	struct mod_media *m = arg;

	return m->turn && m->turn->relay_of && m->turn->relay_of(m->turn_self, written, reached);
}

static void io_refused(void *arg, const struct media_session *s, unsigned leg, const char *code,
		       const struct addr *about, const char *text)
{
	struct mod_media *m = arg;

	trace_add(m->env->trace, code, "[media]", about, s->session, "leg %u: %s", leg, text);
}

static void io_idle(void *arg, struct media_session *s)
{
	struct mod_media *m = arg;
	struct conn *call = conn_get(m->env->conns, s->parent);

	trace_add(m->env->trace, "media.session.idle", "[media] idle-timeout", NULL, s->session,
		  "no media for %u s, the call is ended",
		  m->engine.settings.idle_timeout_ms / 1000);
	if (call && call->close)
		call->close(call, "no media");
}

static const struct media_io io = {
	.open = io_open,
	.close = io_close,
	.open_mux = io_open_mux,
	.mux_send = io_mux_send,
	.relay = { .send = io_send },
	.random = io_random,
	.own_ip = io_own_ip,
	.is_listener = io_is_listener,
	.relay_of = io_relay_of,
	.refused = io_refused,
	.idle = io_idle,
};

/* -- the service -- */

static uint64_t ops_session_new(void *self, uint64_t parent, const char *session,
				const struct media_leg_params legs[2])
{
	struct mod_media *m = self;

	return m->ready ? media_session_new(&m->engine, parent, session, legs) : 0;
}

static struct media_session *session_of(struct mod_media *m, uint64_t id)
{
	return m->ready ? media_session_get(&m->engine, id) : NULL;
}

static int ops_leg_set(void *self, uint64_t id, unsigned leg, const struct media_leg_params *p)
{
	struct media_session *s = session_of(self, id);

	return s ? media_session_leg_set(s, leg, p) : -ENOENT;
}

static int no_session(int *status, char why[128])
{
	*status = 500;
	snprintf(why, 128, "the media session is gone");
	return -ENOENT;
}

static int ops_offer(void *self, uint64_t id, unsigned from, struct slice sdp, struct buf *out,
		     int *status, char why[128])
{
	struct media_session *s = session_of(self, id);
	struct media_refusal r = { 0, why };
	int err;

	if (!s || from > 1)
		return no_session(status, why);
	err = media_session_offer(s, from, sdp, out, &r);
	*status = r.status;
	return err;
}

static int ops_answer(void *self, uint64_t id, unsigned from, struct slice sdp, struct buf *out,
		      int *status, char why[128])
{
	struct media_session *s = session_of(self, id);
	struct media_refusal r = { 0, why };
	int err;

	if (!s || from > 1)
		return no_session(status, why);
	err = media_session_answer(s, from, sdp, out, &r);
	*status = r.status;
	return err;
}

static void ops_rollback(void *self, uint64_t id)
{
	struct media_session *s = session_of(self, id);

	if (s)
		media_session_rollback(s);
}

static void ops_session_free(void *self, uint64_t id, const char *reason)
{
	struct media_session *s = session_of(self, id);

	if (s)
		media_session_free(s, reason);
}

static json_t *ops_describe(void *self, uint64_t id)
{
	struct media_session *s = session_of(self, id);

	return s ? media_describe(s) : json_array();
}

static const struct media_ops ops = {
	.session_new = ops_session_new,
	.leg_set = ops_leg_set,
	.offer = ops_offer,
	.answer = ops_answer,
	.rollback = ops_rollback,
	.session_free = ops_session_free,
	.describe = ops_describe,
};

/* -- the module -- */

static void settings_of(const struct mod_media *m, const struct conf_snapshot *snap,
			struct media_settings *out)
{
	const struct media_conf *c = conf_get(snap, "media", NULL);

	*out = (struct media_settings){
		.ports = c->ports,
		.mux_ports = c->mux_ports,
		.address = c->address,
		.outside_address = c->outside_address,
		.public_address = c->public_address,
		.refuse_outside = &c->refuse_outside,
		.idle_timeout_ms = c->idle_timeout_ms,
		.max_sessions = c->max_sessions,
	};
	/* C has no shared ports: the default of the row means E's. */
	if (m->env->role != CONF_ROLE_E)
		out->mux_ports = (struct conf_ports){ 0, 0 };
}

static void dscp_take(struct mod_media *m, const struct conf_snapshot *snap)
{
	const struct media_conf *c = conf_get(snap, "media", NULL);

	m->udp.dscp_audio = (uint8_t)c->dscp_audio;
	m->udp.dscp_video = (uint8_t)c->dscp_video;
}

static int mod_init(struct env *env, void **self)
{
	struct mod_media *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->env = env;
	err = service_offer(env->modules, MEDIA_SERVICE, &ops, m);
	if (err < 0) {
		free(m);
		return err;
	}
	*self = m;
	return 0;
}

static int mod_start(void *self)
{
	struct mod_media *m = self;
	const struct conf_snapshot *snap = conf_current(m->env->conf);
	struct service turn = service_find(m->env->modules, TURN_SERVICE);
	struct media_settings settings;
	int err = media_udp_init(&m->udp, m->env->loop, &m->engine);

	m->turn = turn.ops;
	m->turn_self = turn.self;
	if (err < 0)
		return err;
	settings_of(m, snap, &settings);
	err = media_engine_init(&m->engine, &settings, &io, m, loop_timers(m->env->loop),
				m->env->conns);
	if (err < 0) {
		media_udp_fini(&m->udp);
		return err;
	}
	dscp_take(m, snap);
	m->snap = conf_ref(snap);
	m->ready = true;
	return 0;
}

static void mod_reload(void *self, const struct conf_snapshot *old,
		       const struct conf_snapshot *next)
{
	struct mod_media *m = self;
	struct media_settings settings;
	int err;

	if (!m->ready)
		return;
	settings_of(m, next, &settings);
	err = media_engine_configure(&m->engine, &settings);
	if (err < 0) {
		log_error(m->env->log, "media.reload.failed",
			  "what=ports error=%s action=\"old [media] settings stay\"",
			  strerror(-err));
		return;
	}
	dscp_take(m, next);
	conf_unref(m->snap);
	m->snap = conf_ref(next);
}

static void mod_drain(void *self)
{
	struct mod_media *m = self;

	m->engine.draining = true;
}

static bool mod_drained(void *self)
{
	struct mod_media *m = self;

	return !m->ready || m->engine.n_sessions == 0;
}

static void mod_stop(void *self)
{
	struct mod_media *m = self;

	if (!m->ready)
		return;
	m->ready = false;
	media_engine_fini(&m->engine);
	media_udp_fini(&m->udp);
	conf_unref(m->snap);
	m->snap = NULL;
}

static void mod_fini(void *self)
{
	mod_stop(self);
	free(self);
}

static void mod_status(void *self, json_t *out)
{
	struct mod_media *m = self;
	uint64_t n_truncated, n_send_failed;

	if (!m->ready)
		return;
	media_describe_engine(&m->engine, out);
	media_udp_lost(&m->udp, &n_truncated, &n_send_failed);
	json_object_set_new(out, "truncated", json_integer((json_int_t)n_truncated));
	json_object_set_new(out, "send_failed", json_integer((json_int_t)n_send_failed));
}

static const struct conf_section *const sections[] = { &media_conf_section, NULL };

const struct module media_module = {
	.name = "media",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = mod_init,
	.start = mod_start,
	.reload = mod_reload,
	.drain = mod_drain,
	.drained = mod_drained,
	.stop = mod_stop,
	.fini = mod_fini,
	.status = mod_status,
};
