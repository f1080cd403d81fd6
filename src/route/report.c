#include "route/report.h"

#include "route/search.h"

json_t *route_report_string(const char *text, size_t n)
{
	json_t *string = json_stringn(text, n);
	struct buf escaped;

	if (string)
		return string;
	buf_init(&escaped, 8192);
	buf_add_escaped(&escaped, (struct slice){ text, n });
	string = json_stringn(escaped.n ? escaped.p : "", escaped.n);
	buf_fini(&escaped);
	return string;
}

static json_t *cstring(const char *text)
{
	return route_report_string(text, strlen(text));
}

static json_t *report_targets(const struct route_result *r)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; list && i < r->n_targets; i++) {
		const struct route_target *t = &r->targets[i];

		json_array_append_new(
			list, json_pack("{so,so,so,sI,si}", "zone", cstring(t->zone), "alias",
					cstring(t->alias), "rule", cstring(t->rule), "priority",
					(json_int_t)t->priority, "hop_count", t->hop_count));
	}
	return list;
}

static json_t *report_steps(const struct route_result *r)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; list && i < r->n_steps; i++) {
		const struct route_step *s = &r->steps[i];

		json_array_append_new(list, json_pack("{so,so,ss,so}", "step", cstring(s->what),
						      "rule", cstring(s->name), "decision",
						      s->matched ? "taken" : "passed-over", "why",
						      cstring(s->why)));
	}
	return list;
}

json_t *route_report_json(const struct route_query *q, const struct route_result *r)
{
	json_t *out = json_object();

	if (!out)
		return NULL;
	json_object_set_new(out, "found", json_boolean(r->status == ROUTE_FOUND));
	json_object_set_new(out, "status", json_string(route_status_str(r->status)));
	json_object_set_new(out, "sip_status", json_integer(route_status_sip(r->status)));
	json_object_set_new(out, "alias", route_report_string(q->alias.p, q->alias.n));
	json_object_set_new(out, "target",
			    r->n_targets ? cstring(r->targets[0].zone) : json_null());
	json_object_set_new(out, "hop_count", json_integer(r->hop_count));
	json_object_set_new(out, "targets", report_targets(r));
	json_object_set_new(out, "steps", report_steps(r));
	json_object_set_new(out, "steps_left_out", json_integer((json_int_t)r->n_steps_left_out));
	return out;
}

const char *route_report_code(enum route_status status)
{
	static const char *const code[] = { "route.found", "route.not-found", "route.hops",
					    "route.loop",  "route.forbidden", "route.bad-alias" };

	return code[status];
}

static void summary(const struct route_query *q, const struct route_result *r, struct buf *out)
{
	const struct slice source = q->source_zone.n ? q->source_zone : SLICE("local");
	size_t i;

	buf_add_escaped(out, (struct slice){ q->alias.p, q->alias.n < 100 ? q->alias.n : 100 });
	buf_printf(out, " from %.*s: %s", SLICE_ARG(source), route_status_str(r->status));
	for (i = 0; i < r->n_targets; i++)
		buf_printf(out, "%s%s", i ? ", " : ", zone ", r->targets[i].zone);
}

void route_report_text(const struct route_query *q, const struct route_result *r, struct buf *out)
{
	size_t i;

	summary(q, r, out);
	for (i = 0; i < r->n_steps; i++) {
		const struct route_step *s = &r->steps[i];

		if (s->matched)
			buf_printf(out, "\n%s %s: %s", s->what, s->name, s->why);
	}
}

/* The last transform or rule that took part. */
static const struct route_step *last_step(const struct route_result *r)
{
	size_t i;

	for (i = r->n_steps; i > 0; i--)
		if (r->steps[i - 1].matched && r->steps[i - 1].name[0])
			return &r->steps[i - 1];
	return NULL;
}

static void decider_of_failure(const struct route_result *r, struct buf *out)
{
	const struct route_step *last = last_step(r);

	if (r->status == ROUTE_HOPS_EXHAUSTED)
		buf_add_str(out, "hop count");
	else if (r->status == ROUTE_LOOP)
		buf_add_str(out, "loop detection");
	else if (last && slice_eq(slice_of(last->what), SLICE("transform")))
		buf_printf(out, "[transform %s]", last->name);
	else if (r->cut_by[0])
		buf_printf(out, "[search-rule %s]", r->cut_by);
	else if (r->status == ROUTE_BAD_ALIAS)
		buf_add_str(out, "alias");
	else
		buf_add_str(out, "search rules");
}

void route_report_decider(const struct route_result *r, struct buf *out)
{
	const char *rule = r->n_targets ? r->targets[0].rule : NULL;
	const char *domain = "domain:";

	if (!rule)
		decider_of_failure(r, out);
	else if (slice_starts(slice_of(rule), slice_of(domain)))
		buf_printf(out, "[domain %s]", rule + strlen(domain));
	else
		buf_printf(out, "[search-rule %s]", rule);
}
