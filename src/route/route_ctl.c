#include "route/route_ctl.h"

#include <stdlib.h>

#include "route/report.h"

#define DEFAULT_HOPS  70 /* RFC 3261 8.1.1.6 */
#define DEFAULT_LIMIT 50
#define MAX_LIMIT     1000

struct route_ctl {
	const struct trace *trace;
	void (*run)(void *arg, const struct route_query *q, struct route_result *out);
	bool (*knows_zone)(void *arg, const char *name);
	void *arg;
};

struct route_ctl *route_ctl_new(const struct trace *trace,
				void (*run)(void *arg, const struct route_query *q,
					    struct route_result *out),
				bool (*knows_zone)(void *arg, const char *name), void *arg)
{
	struct route_ctl *c = calloc(1, sizeof(*c));

	if (c)
		*c = (struct route_ctl){ trace, run, knows_zone, arg };
	return c;
}

void route_ctl_free(struct route_ctl *c)
{
	free(c);
}

/* A number parameter; false when it is there and wrong. */
static bool number(const struct ctl_request *r, const char *key, uint64_t max, uint64_t *out)
{
	const char *text = r->param(r, key);

	return !text || (slice_u64(slice_of(text), max, out) && *out > 0);
}

static bool yes_or_no(const char *text, bool *out)
{
	const struct slice s = slice_of(text);

	if (!text || slice_eq(s, SLICE("no")) || slice_eq(s, SLICE("false"))) {
		*out = false;
		return true;
	}
	*out = true;
	return slice_eq(s, SLICE("yes")) || slice_eq(s, SLICE("true"));
}

/* 0, or the HTTP status of the refusal in *out. The default source is the unknown outside: what
 * reaches a target from there reaches it from anywhere. */
static int read_query(const struct route_ctl *c, const struct ctl_request *r, json_t **out,
		      struct route_query *q)
{
	const char *alias = r->param(r, "alias");
	const char *source = r->param(r, "source");
	uint64_t hops = DEFAULT_HOPS;

	if (!alias || !alias[0])
		return ctl_fail(out, 400, "locate needs an alias");
	if (!number(r, "hops", 255, &hops))
		return ctl_fail(out, 400, "hops is a number from 1 to 255");
	if (!yes_or_no(r->param(r, "authenticated"), &q->authenticated))
		return ctl_fail(out, 400, "authenticated is yes or no");
	q->alias = slice_of(alias);
	q->hop_count = (int)hops;
	q->is_method_call = true;
	q->source_zone = SLICE("default");
	if (!source || slice_eq(slice_of(source), SLICE("default")))
		return 0;
	q->source_zone = slice_of(source);
	if (slice_eq(q->source_zone, SLICE("local")))
		q->source_zone = SLICE_NONE;
	else if (!c->knows_zone(c->arg, source))
		return ctl_fail(out, 404,
				"no such source: legal are local, default and zone names");
	return 0;
}

static int locate(void *self, const struct ctl_request *r, json_t **out)
{
	const struct route_ctl *c = self;
	struct route_query q = { 0 };
	struct route_result *result;
	int status = read_query(c, r, out, &q);

	if (status)
		return status;
	result = malloc(sizeof(*result));
	if (result) {
		c->run(c->arg, &q, result);
		*out = route_report_json(&q, result);
	}
	free(result);
	return result && *out ? 200 : ctl_fail(out, 500, "out of memory");
}

struct history {
	json_t *list;
	uint64_t limit;
};

static bool add_search(const struct trace_entry *e, void *arg)
{
	struct history *h = arg;
	char remote[ADDR_STR_BYTES];

	if (json_array_size(h->list) >= h->limit)
		return false;
	json_array_append_new(
		h->list,
		json_pack("{sI,sI,ss,so,so,so,so,sI}", "seq", (json_int_t)e->seq, "time_ms",
			  (json_int_t)e->wall_ms, "code", e->code, "decided_by",
			  route_report_string(e->decided_by, strlen(e->decided_by)), "remote",
			  e->remote.family == ADDR_NONE ? json_null()
							: json_string(addr_str(&e->remote, remote)),
			  "session", route_report_string(e->session, strlen(e->session)), "text",
			  route_report_string(e->text, strlen(e->text)), "repeats",
			  (json_int_t)e->n_repeats));
	return true;
}

static int search_history(void *self, const struct ctl_request *r, json_t **out)
{
	const struct route_ctl *c = self;
	struct history h = { .limit = DEFAULT_LIMIT };

	if (!number(r, "limit", MAX_LIMIT, &h.limit))
		return ctl_fail(out, 400, "limit is a number from 1 to %d", MAX_LIMIT);
	h.list = json_array();
	if (!h.list)
		return ctl_fail(out, 500, "out of memory");
	trace_each(c->trace, "route.", add_search, &h);
	*out = json_pack("{so}", "searches", h.list);
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

const struct ctl_command route_ctl_commands[] = {
	{ .name = "locate", .run = locate },
	{ .name = "search-history", .run = search_history },
	{ .name = NULL },
};
