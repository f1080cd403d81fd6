#include "core/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

#define MAX_SERVICES 32

enum module_state { MODULE_OFF, MODULE_READY, MODULE_RUNNING, MODULE_DRAINING };

static const char *const state_names[] = { "off", "ready", "running", "draining" };

struct slot {
	const struct module *module;
	void *self;
	enum module_state state;
};

struct offer {
	const char *name;
	struct service service;
};

struct modules {
	struct env *env;
	struct offer offers[MAX_SERVICES];
	size_t n_offers;
	size_t n;
	struct slot slots[]; /* only those of the role */
};

static bool legal(enum module_state from, enum module_state to)
{
	switch (to) {
	case MODULE_READY:
		return from == MODULE_OFF;
	case MODULE_RUNNING:
		return from == MODULE_READY;
	case MODULE_DRAINING:
		return from == MODULE_RUNNING;
	case MODULE_OFF:
		return from != MODULE_OFF;
	}
	return false;
}

static bool set_state(struct modules *m, struct slot *s, enum module_state to)
{
	if (!legal(s->state, to)) {
		log_error(m->env->log, "module.state", "module=%s from=%s to=%s refused=illegal",
			  s->module->name, state_names[s->state], state_names[to]);
		return false;
	}
	log_debug(m->env->log, "module.state", "module=%s from=%s to=%s", s->module->name,
		  state_names[s->state], state_names[to]);
	s->state = to;
	return true;
}

struct modules *modules_new(struct env *env, const struct module *const *list, size_t n)
{
	struct modules *m = calloc(1, sizeof(*m) + n * sizeof(m->slots[0]));

	if (!m)
		return NULL;
	m->env = env;
	for (size_t i = 0; i < n; i++) {
		if (list[i]->roles & env->role)
			m->slots[m->n++].module = list[i];
	}
	return m;
}

static void slot_stop(struct modules *m, struct slot *s)
{
	enum module_state was = s->state;

	if (was == MODULE_OFF)
		return;
	set_state(m, s, MODULE_OFF);
	if (was != MODULE_READY && s->module->stop)
		s->module->stop(s->self);
}

void modules_stop(struct modules *m)
{
	for (size_t i = m->n; i-- > 0;)
		slot_stop(m, &m->slots[i]);
}

void modules_free(struct modules *m)
{
	if (!m)
		return;
	modules_stop(m);
	for (size_t i = m->n; i-- > 0;) {
		struct slot *s = &m->slots[i];

		if (s->self && s->module->fini)
			s->module->fini(s->self);
		s->self = NULL;
	}
	free(m);
}

int modules_init(struct modules *m)
{
	for (size_t i = 0; i < m->n; i++) {
		struct slot *s = &m->slots[i];
		int error = s->module->init(m->env, &s->self);

		if (error) {
			s->self = NULL; /* a failed init has freed what it had */
			log_error(m->env->log, "module.init", "module=%s error=%s", s->module->name,
				  strerror(-error));
			return error;
		}
		set_state(m, s, MODULE_READY);
	}
	return 0;
}

int modules_start(struct modules *m)
{
	for (size_t i = 0; i < m->n; i++) {
		struct slot *s = &m->slots[i];
		int error = s->module->start ? s->module->start(s->self) : 0;

		if (error) {
			log_error(m->env->log, "module.start", "module=%s error=%s",
				  s->module->name, strerror(-error));
			modules_stop(m);
			return error;
		}
		set_state(m, s, MODULE_RUNNING);
	}
	return 0;
}

int modules_prepare(struct modules *m, const struct conf_snapshot *next, struct buf *errors)
{
	int refused = 0;

	/* All of them, so that one reload shows every error. */
	for (size_t i = 0; i < m->n; i++) {
		struct slot *s = &m->slots[i];
		size_t before = errors->n;

		if (s->state != MODULE_RUNNING || !s->module->prepare ||
		    s->module->prepare(s->self, next, errors) == 0)
			continue;
		if (errors->n == before)
			buf_printf(errors, "module %s refuses this configuration\n",
				   s->module->name);
		refused = -EINVAL;
	}
	return refused;
}

void modules_apply(struct modules *m, const struct conf_snapshot *next)
{
	const struct conf_snapshot *old = conf_current(m->env->conf);

	for (size_t i = 0; i < m->n; i++) {
		struct slot *s = &m->slots[i];

		if (s->state == MODULE_RUNNING && s->module->reload)
			s->module->reload(s->self, old, next);
	}
}

int modules_reload(struct modules *m, struct conf_snapshot *next, struct buf *errors)
{
	int error = modules_prepare(m, next, errors);

	if (error == 0)
		modules_apply(m, next);
	return error;
}

void modules_drain(struct modules *m)
{
	for (size_t i = m->n; i-- > 0;) {
		struct slot *s = &m->slots[i];

		if (s->state != MODULE_RUNNING)
			continue;
		set_state(m, s, MODULE_DRAINING);
		if (s->module->drain)
			s->module->drain(s->self);
	}
}

bool modules_drained(const struct modules *m)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct slot *s = &m->slots[i];

		if (s->state == MODULE_DRAINING && s->module->drained &&
		    !s->module->drained(s->self))
			return false;
	}
	return true;
}

json_t *modules_status(const struct modules *m)
{
	json_t *all = json_object();

	for (size_t i = 0; all && i < m->n; i++) {
		const struct slot *s = &m->slots[i];
		json_t *one = json_object();

		json_object_set_new(one, "state", json_string(state_names[s->state]));
		if (s->state != MODULE_OFF && s->module->status)
			s->module->status(s->self, one);
		json_object_set_new(all, s->module->name, one);
	}
	return all;
}

int service_offer(struct modules *m, const char *name, const void *ops, void *self)
{
	if (service_find(m, name).ops)
		return -EEXIST;
	if (m->n_offers == MAX_SERVICES)
		return -ENOSPC;
	m->offers[m->n_offers++] = (struct offer){ name, { ops, self } };
	return 0;
}

struct service service_find(const struct modules *m, const char *name)
{
	for (size_t i = 0; i < m->n_offers; i++) {
		if (strcmp(m->offers[i].name, name) == 0)
			return m->offers[i].service;
	}
	return (struct service){ 0 };
}
