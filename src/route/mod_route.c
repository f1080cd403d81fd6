/* Wires the dial plan to the settings, the decision trace and the control socket. */
#include <errno.h>
#include <stdlib.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "core/trace.h"
#include "route/loops.h"
#include "route/route_ctl.h"
#include "route/search.h"
#include "route/sections.h"
#include "route/report.h"
#include "turnpike/modules.h"

#define ALARM_CUT "route-regex-limit"
#define CUT_HELP  "simplify the regular expression, or use pattern-type prefix, suffix or exact"

struct mod_route {
	struct env *env;
	struct route_table *table;
	struct route_loops *loops;
	/* Compiled by prepare() for the reload that follows. */
	struct route_table *next;
	const struct conf_snapshot *next_of;
	struct route_ctl *ctl;
	uint64_t n_searches, n_found, n_loops;
};

static const struct conf_section *const sections[] = { &route_zone_section, &route_domain_section,
						       &route_transform_section,
						       &route_rule_section, NULL };

static int compile(const struct conf_snapshot *snap, struct route_table **out, struct buf *errors)
{
	struct route_gather g;
	int err = route_gather_init(&g, snap);

	if (err)
		return err;
	err = route_table_new(&g.plan, out, errors);
	route_gather_fini(&g);
	return err;
}

/* --- the service --- */

/* The trace counts repeats from one source in one entry. That suits refusals; calls that went
 * somewhere are each worth an entry of their own, so they are recorded without a source. */
static const struct addr *blamed(const struct route_query *q, const struct route_result *r)
{
	return r->status == ROUTE_FOUND || q->remote.family == ADDR_NONE ? NULL : &q->remote;
}

static void record(struct mod_route *m, const struct route_query *q, const char *session,
		   const struct route_result *r)
{
	struct buf text, decider;

	buf_init(&text, 65536);
	buf_init(&decider, 256);
	route_report_text(q, r, &text);
	route_report_decider(r, &decider);
	trace_add(m->env->trace, route_report_code(r->status), decider.n ? decider.p : NULL,
		  blamed(q, r), session, "%.*s", SLICE_ARG(buf_slice(&text)));
	buf_fini(&text);
	buf_fini(&decider);
}

static void tell_cut(struct mod_route *m, const struct route_query *q, const struct route_result *r)
{
	log_warn(m->env->log, "route.regex-limit", "rule=%s alias=%s", log_esc(slice_of(r->cut_by)),
		 log_esc(q->alias));
	alarm_raise(m->env->alarms, ALARM_CUT, r->cut_by, ALARM_WARNING, CUT_HELP,
		    "the regular expression of %s ran into the match limit; the search ended there",
		    r->cut_by);
}

static bool has_come_round(struct mod_route *m, const struct route_query *q,
			   struct route_result *out)
{
	enum route_loops_verdict verdict;

	if (q->loop_tag.n == 0)
		return false;
	verdict = route_loops_enter(m->loops, q->loop_tag, q->alias, q->source_zone,
				    loop_now_ms(m->env->loop));
	if (verdict == ROUTE_LOOPS_NEW)
		return false;
	m->n_loops++;
	route_result_init(out, ROUTE_LOOP);
	if (verdict == ROUTE_LOOPS_SEEN)
		route_result_step(
			out, "loop", "", true,
			"a search of this call for this alias from this zone still lives");
	else
		route_result_step(out, "loop", "", true, "this call has %d searches already",
				  ROUTE_LOOPS_MAX_PER_TAG);
	return true;
}

static void search(void *self, const struct route_query *q, const char *session,
		   struct route_result *out)
{
	struct mod_route *m = self;

	m->n_searches++;
	if (!has_come_round(m, q, out)) {
		route_search(m->table, q, out);
		if (out->status == ROUTE_FOUND)
			m->n_found++;
		else if (q->loop_tag.n)
			route_loops_leave(m->loops, q->loop_tag, q->alias, q->source_zone);
	}
	if (out->cut_by[0])
		tell_cut(m, q, out);
	record(m, q, session, out);
}

static void forget(void *self, struct slice loop_tag)
{
	struct mod_route *m = self;

	route_loops_forget(m->loops, loop_tag);
}

static const struct route_ops ops = { .search = search, .forget = forget };

/* A dry run: no loop detection, nothing recorded. */
static void dry_run(void *self, const struct route_query *q, struct route_result *out)
{
	const struct mod_route *m = self;

	route_search(m->table, q, out);
}

static bool knows_zone(void *self, const char *name)
{
	const struct mod_route *m = self;

	return route_zone_find(m->table->zones, m->table->n_zones, slice_of(name)) <
	       m->table->n_zones;
}

/* --- life --- */

static void fini(void *self)
{
	struct mod_route *m = self;

	route_ctl_free(m->ctl);
	route_loops_free(m->loops);
	route_table_free(m->table);
	free(m);
}

static int init(struct env *env, void **self)
{
	struct mod_route *m = calloc(1, sizeof(*m));
	uint8_t seed[16];
	int err = -ENOMEM;

	if (!m)
		return -ENOMEM;
	net_random(seed, sizeof(seed));
	m->env = env;
	m->loops = route_loops_new(seed, ROUTE_LOOPS_MAX, ROUTE_LOOPS_LIFE_MS);
	m->ctl = route_ctl_new(env->trace, dry_run, knows_zone, m);
	if (m->loops && m->ctl)
		err = service_offer(env->modules, ROUTE_SERVICE, &ops, m);
	if (err) {
		fini(m);
		return err;
	}
	*self = m;
	return 0;
}

static int start(void *self)
{
	struct mod_route *m = self;
	struct buf errors;
	int err;

	buf_init(&errors, 65536);
	err = compile(conf_current(m->env->conf), &m->table, &errors);
	if (err)
		log_error(m->env->log, "route.compile", "error=%s", log_esc(buf_slice(&errors)));
	else if (m->env->ctl)
		err = ctl_add(m->env->ctl, route_ctl_commands, m->ctl);
	buf_fini(&errors);
	return err;
}

static void drop_next(struct mod_route *m)
{
	route_table_free(m->next);
	if (m->next_of)
		conf_unref(m->next_of);
	m->next = NULL;
	m->next_of = NULL;
}

static int prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	struct mod_route *m = self;
	int err;

	drop_next(m);
	err = compile(next, &m->next, errors);
	if (err == 0)
		m->next_of = conf_ref(next);
	else if (err == -ENOMEM)
		buf_add_str(errors, "search rules: out of memory\n");
	return err;
}

static void clear_cuts(struct mod_route *m)
{
	size_t i;

	for (i = 0; i < m->table->n_rules; i++)
		alarm_clear(m->env->alarms, ALARM_CUT, m->table->rules[i].name);
	for (i = 0; i < m->table->n_transforms; i++)
		alarm_clear(m->env->alarms, ALARM_CUT, m->table->transforms[i].name);
}

static void reload(void *self, const struct conf_snapshot *old, const struct conf_snapshot *next)
{
	struct mod_route *m = self;

	/* Another one than was prepared: keep what runs, prepare() has to come first. */
	if (m->next_of != next) {
		log_error(m->env->log, "route.reload", "refused=\"not prepared\"");
		return;
	}
	clear_cuts(m);
	route_table_free(m->table);
	m->table = m->next;
	m->next = NULL;
	drop_next(m);
}

static void stop(void *self)
{
	struct mod_route *m = self;

	drop_next(m);
}

static void status(void *self, json_t *out)
{
	const struct mod_route *m = self;

	if (!m->table)
		return;
	json_object_set_new(out, "rules", json_integer((json_int_t)m->table->n_rules));
	json_object_set_new(out, "transforms", json_integer((json_int_t)m->table->n_transforms));
	json_object_set_new(out, "zones", json_integer((json_int_t)m->table->n_zones));
	json_object_set_new(out, "searches", json_integer((json_int_t)m->n_searches));
	json_object_set_new(out, "found", json_integer((json_int_t)m->n_found));
	json_object_set_new(out, "loops", json_integer((json_int_t)m->n_loops));
}

const struct module route_module = {
	.name = "route",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = init,
	.start = start,
	.prepare = prepare,
	.reload = reload,
	.stop = stop,
	.fini = fini,
	.status = status,
};
