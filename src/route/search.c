#include "route/search.h"

#include <stdarg.h>
#include <stdio.h>

/* Steps kept free for those that decide: each target, the transform, hops, the end. */
#define RESERVED_STEPS (2 * ROUTE_MAX_TARGETS)
/* How much of an alias a sentence shows. */
#define SHOWN 100

struct walk {
	const struct route_table *t;
	struct route_result *out;
	struct route_rule_query q;
	int hop_count;
	bool auth_missed;
	/* After a stop (or a cut) rules of this priority still run, the ones behind do not (R5). */
	bool stopped;
	uint32_t stop_priority;
	const char *stopped_by;
};

const char *route_status_str(enum route_status status)
{
	static const char *const str[] = { "found", "not-found", "hops-exhausted",
					   "loop",  "forbidden", "bad-alias" };

	return str[status];
}

int route_status_sip(enum route_status status)
{
	static const int sip[] = { 0, 404, 483, 482, 403, 484 };

	return sip[status];
}

void route_result_init(struct route_result *out, enum route_status status)
{
	out->status = status;
	out->hop_count = 0;
	out->n_targets = 0;
	out->alias[0] = '\0';
	out->cut_by[0] = '\0';
	out->n_steps_left_out = 0;
	out->n_steps = 0;
}

void route_result_step(struct route_result *out, const char *what, const char *name, bool matched,
		       const char *fmt, ...)
{
	const size_t room = matched ? ROUTE_MAX_STEPS : ROUTE_MAX_STEPS - RESERVED_STEPS;
	struct route_step *s;
	va_list ap;

	if (out->n_steps >= room) {
		out->n_steps_left_out++;
		return;
	}
	s = &out->steps[out->n_steps++];
	slice_copy(s->what, sizeof(s->what), slice_of(what));
	slice_copy(s->name, sizeof(s->name), slice_of(name));
	s->matched = matched;
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
}

/* A cut leaves open what the alias should become: the search cannot go on with the old one. */
static bool transform_cut(struct walk *w, const struct route_transform *tr)
{
	w->out->status = ROUTE_NOT_FOUND;
	slice_copy(w->out->cut_by, sizeof(w->out->cut_by), slice_of(tr->name));
	route_result_step(w->out, "transform", tr->name, true,
			  "regex ran into the match limit; the search ends here. Simplify it");
	return false;
}

static bool transform_apply(struct walk *w, const struct route_transform *tr)
{
	struct route_result *out = w->out;

	if (!route_edit_apply(&tr->edit, w->t->matcher, w->q.alias, out->alias)) {
		out->status = ROUTE_BAD_ALIAS;
		route_result_step(out, "transform", tr->name, true,
				  "matches, but the result is empty or over %d characters",
				  ROUTE_ALIAS_BYTES - 1);
		return false;
	}
	w->q.alias = slice_of(out->alias);
	route_result_step(out, "transform", tr->name, true, "%s %.60s matches: alias becomes %.*s",
			  route_pattern_type_str(tr->edit.pattern.type), tr->edit.pattern.text,
			  SHOWN, out->alias);
	return true;
}

/* R2: only the first that matches. False when the search ends here. */
static bool run_transforms(struct walk *w)
{
	size_t i;

	for (i = 0; i < w->t->n_transforms; i++) {
		const struct route_transform *tr = &w->t->transforms[i];
		const struct route_pattern *p = &tr->edit.pattern;

		switch (route_pattern_match(p, w->t->matcher, w->q.alias)) {
		case ROUTE_MATCH_NO:
			route_result_step(w->out, "transform", tr->name, false,
					  "%s %.80s does not match",
					  route_pattern_type_str(p->type), p->text);
			continue;
		case ROUTE_MATCH_YES:
			return transform_apply(w, tr);
		case ROUTE_MATCH_CUT:
			return transform_cut(w, tr);
		}
	}
	slice_copy(w->out->alias, sizeof(w->out->alias), w->q.alias);
	w->q.alias = slice_of(w->out->alias);
	return true;
}

static void stop_after(struct walk *w, const struct route_rule *r)
{
	if (w->stopped)
		return;
	w->stopped = true;
	w->stop_priority = r->priority;
	w->stopped_by = r->name;
}

/* Whether the rule would have said stop is unknown, so going on might reach a target that the
 * administrator has shut off (an outside trunk behind a "stop" for own numbers): fail closed. */
static void rule_cut(struct walk *w, const struct route_rule *r, const char *why)
{
	if (!w->out->cut_by[0])
		slice_copy(w->out->cut_by, sizeof(w->out->cut_by), slice_of(r->name));
	route_result_step(w->out, "rule", r->name, true, "%s", why);
	stop_after(w, r);
}

static const struct route_target *find_target(const struct route_result *out, const char *zone,
					      const char *alias)
{
	size_t i;

	for (i = 0; i < out->n_targets; i++)
		if (slice_eq(slice_of(out->targets[i].zone), slice_of(zone)) &&
		    slice_eq(slice_of(out->targets[i].alias), slice_of(alias)))
			return &out->targets[i];
	return NULL;
}

static void add_target(struct walk *w, const struct route_rule *r, const char *why)
{
	struct route_result *out = w->out;
	const struct route_zone *zone = &w->t->zones[r->target];
	const struct route_target *same;
	struct route_target *to;

	if (!zone->enabled) {
		route_result_step(out, "rule", r->name, true, "%s, but zone %s is not enabled", why,
				  zone->name);
		return;
	}
	if (out->n_targets == ROUTE_MAX_TARGETS) {
		route_result_step(out, "rule", r->name, true,
				  "%s, but there are %d targets already", why, ROUTE_MAX_TARGETS);
		return;
	}
	to = &out->targets[out->n_targets];
	if (!route_rule_apply(r, w->t->matcher, w->q.alias, to->alias)) {
		route_result_step(out, "rule", r->name, true,
				  "%s, but the result is empty or over %d characters", why,
				  ROUTE_ALIAS_BYTES - 1);
		return;
	}
	same = find_target(out, zone->name, to->alias);
	if (same) {
		route_result_step(out, "rule", r->name, true,
				  "%s; rule %s gave this target already", why, same->rule);
		return;
	}
	slice_copy(to->zone, sizeof(to->zone), slice_of(zone->name));
	slice_copy(to->rule, sizeof(to->rule), slice_of(r->name));
	to->priority = r->priority;
	to->hop_count = (w->hop_count < zone->hop_count ? w->hop_count : zone->hop_count) - 1;
	out->n_targets++;
	route_result_step(out, "rule", r->name, true, "%s: zone %s, alias %.*s%s", why, zone->name,
			  SHOWN, to->alias, r->on_match == RULE_STOP ? ", stop" : "");
}

static void run_rule(struct walk *w, const struct route_rule *r)
{
	char why[sizeof(w->out->steps[0].why)];

	switch (route_rule_match(r, &w->q, w->t->matcher, why, sizeof(why))) {
	case ROUTE_RULE_NEEDS_AUTH:
		w->auth_missed = true;
		/* fall through */
	case ROUTE_RULE_NO:
		route_result_step(w->out, "rule", r->name, false, "%s", why);
		return;
	case ROUTE_RULE_CUT:
		rule_cut(w, r, why);
		return;
	case ROUTE_RULE_YES:
		add_target(w, r, why);
		if (r->on_match == RULE_STOP)
			stop_after(w, r);
		return;
	}
}

static void run_rules(struct walk *w)
{
	size_t i;

	for (i = 0; i < w->t->n_rules; i++) {
		const struct route_rule *r = &w->t->rules[i];

		if (w->stopped && r->priority > w->stop_priority) {
			route_result_step(w->out, "end", w->stopped_by, true,
					  "ends the walk: %zu of higher numbers not looked at",
					  w->t->n_rules - i);
			return;
		}
		run_rule(w, r);
	}
}

static void conclude(struct walk *w)
{
	struct route_result *out = w->out;

	if (out->n_targets == 0) {
		out->status = w->auth_missed ? ROUTE_FORBIDDEN : ROUTE_NOT_FOUND;
		return;
	}
	out->status = ROUTE_FOUND;
	out->hop_count = out->targets[0].hop_count;
	route_result_step(out, "hops", out->targets[0].zone, true, "came with %d, goes on with %d",
			  w->hop_count, out->hop_count);
}

void route_search(const struct route_table *t, const struct route_query *q,
		  struct route_result *out)
{
	struct walk w = { .t = t, .out = out, .hop_count = q->hop_count };

	route_result_init(out, ROUTE_NOT_FOUND);
	if (q->hop_count <= 0) {
		out->status = ROUTE_HOPS_EXHAUSTED;
		route_result_step(out, "hops", "", true, "the hop count (Max-Forwards) is used up");
		return;
	}
	if (!route_alias_ok(q->alias)) {
		out->status = ROUTE_BAD_ALIAS;
		route_result_step(out, "alias", "", true,
				  "an alias has 1 to %d printable ASCII characters",
				  ROUTE_ALIAS_BYTES - 1);
		return;
	}
	route_matcher_begin(t->matcher);
	w.q.alias = q->alias;
	w.q.authenticated = q->authenticated;
	w.q.zones = t->zones;
	w.q.source = route_zone_source(t->zones, t->n_zones, q->source_zone);
	if (!run_transforms(&w))
		return;
	w.q.is_ip = route_alias_is_ip(w.q.alias);
	run_rules(&w);
	conclude(&w);
}
