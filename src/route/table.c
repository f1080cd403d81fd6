#include "route/table.h"

#include <errno.h>
#include <stdlib.h>

struct build {
	struct route_table *t;
	const struct route_plan *plan;
	struct buf *errors;
	bool failed; /* something is in errors */
};

/* Notes a fault and goes on to the next section; only -ENOMEM ends the work at once. */
static int note(struct build *b, const char *section, const char *name, int err,
		const struct route_fault *fault)
{
	if (err != -EINVAL)
		return err;
	buf_printf(b->errors, "[%s %s] %s: %s\n", section, name, fault->key ? fault->key : "",
		   fault->text);
	b->failed = true;
	return 0;
}

static int check_size(struct build *b, const char *what, size_t n, size_t max)
{
	if (n <= max)
		return 0;
	buf_printf(b->errors, "%zu [%s] sections; at most %zu are legal\n", n, what, max);
	return -EINVAL;
}

static int build_zones(struct build *b)
{
	const struct route_plan *plan = b->plan;

	if (check_size(b, "zone", plan->n_zones, ROUTE_MAX_ZONES) < 0)
		return -EINVAL;
	return route_zones_new(plan->zones, plan->n_zones, &b->t->zones, &b->t->n_zones);
}

static int build_transforms(struct build *b)
{
	const struct route_plan *plan = b->plan;
	struct route_fault fault;
	size_t i;
	int err;

	if (check_size(b, "transform", plan->n_transforms, ROUTE_MAX_TRANSFORMS) < 0)
		return -EINVAL;
	b->t->transforms = calloc(plan->n_transforms + 1, sizeof(*b->t->transforms));
	if (!b->t->transforms)
		return -ENOMEM;
	for (i = 0; i < plan->n_transforms; i++) {
		const struct transform_conf *conf = plan->transforms[i];

		if (!conf->enabled)
			continue;
		err = route_transform_compile(&b->t->transforms[b->t->n_transforms], conf,
					      &plan->vars, &fault);
		if (err == 0)
			b->t->n_transforms++;
		else if (note(b, "transform", conf->common.name, err, &fault) < 0)
			return err;
	}
	return 0;
}

static int build_rules(struct build *b)
{
	const struct route_plan *plan = b->plan;
	struct route_table *t = b->t;
	struct route_fault fault;
	size_t i;
	int err;

	if (check_size(b, "search-rule", plan->n_rules, ROUTE_MAX_RULES) < 0)
		return -EINVAL;
	t->rules = calloc(plan->n_rules + plan->n_domains + 1, sizeof(*t->rules));
	if (!t->rules)
		return -ENOMEM;
	for (i = 0; i < plan->n_rules; i++) {
		const struct rule_conf *conf = plan->rules[i];

		err = route_rule_compile(&t->rules[t->n_rules], conf, t->zones, t->n_zones,
					 &plan->vars, &fault);
		if (err == 0)
			t->n_rules++;
		else if (note(b, "search-rule", conf->common.name, err, &fault) < 0)
			return err;
	}
	return 0;
}

static int build_domain(struct build *b, const struct domain_conf *conf)
{
	struct route_table *t = b->t;
	const struct slice name = route_domain_sip_zone(conf);
	const size_t zone = route_zone_find(t->zones, t->n_zones, name);
	struct route_fault fault = { .key = "sip", .text = "there is no zone of that name" };
	int err;

	if (name.n == 0)
		return 0;
	if (zone == t->n_zones)
		return note(b, "domain", conf->common.name, -EINVAL, &fault);
	err = route_rule_for_domain(&t->rules[t->n_rules], b->plan->role, conf->common.name, zone,
				    &b->plan->vars, &fault);
	if (err)
		return note(b, "domain", conf->common.name, err, &fault);
	t->n_rules++;
	return 0;
}

static int build_domains(struct build *b)
{
	size_t i;
	int err;

	for (i = 0; i < b->plan->n_domains; i++) {
		err = build_domain(b, b->plan->domains[i]);
		if (err)
			return err;
	}
	return 0;
}

static int by_priority(const void *va, const void *vb)
{
	const struct route_rule *a = va, *b = vb;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static int transforms_by_priority(const void *va, const void *vb)
{
	const struct route_transform *a = va, *b = vb;

	return a->priority < b->priority ? -1 : a->priority > b->priority;
}

static int build(struct build *b)
{
	struct route_table *t = b->t;
	size_t i;
	int err;

	t->matcher = route_matcher_new();
	if (!t->matcher)
		return -ENOMEM;
	err = build_zones(b);
	if (err == 0)
		err = build_transforms(b);
	if (err == 0)
		err = build_rules(b);
	if (err == 0)
		err = build_domains(b);
	if (err)
		return err;
	for (i = 0; i < t->n_rules; i++)
		t->rules[i].order = i;
	qsort(t->rules, t->n_rules, sizeof(*t->rules), by_priority);
	qsort(t->transforms, t->n_transforms, sizeof(*t->transforms), transforms_by_priority);
	return b->failed ? -EINVAL : 0;
}

int route_table_new(const struct route_plan *plan, struct route_table **out, struct buf *errors)
{
	struct build b = { .plan = plan, .errors = errors };
	int err;

	b.t = calloc(1, sizeof(*b.t));
	if (!b.t)
		return -ENOMEM;
	err = build(&b);
	if (err) {
		route_table_free(b.t);
		return err;
	}
	*out = b.t;
	return 0;
}

void route_table_free(struct route_table *t)
{
	size_t i;

	if (!t)
		return;
	for (i = 0; i < t->n_transforms; i++)
		route_transform_fini(&t->transforms[i]);
	for (i = 0; i < t->n_rules; i++)
		route_rule_fini(&t->rules[i]);
	route_matcher_free(t->matcher);
	free(t->transforms);
	free(t->rules);
	free(t->zones);
	free(t);
}
