/* The commands that every daemon has, whatever modules run. */
#include <string.h>

#include "core/ctl_private.h"
#include "core/loop.h"
#include "core/module.h"

/* One reply is built within one turn of the loop: a few milliseconds at most. */
#define MAX_CONNS      5000
#define DEFAULT_CONNS  1000
#define MAX_TRACES     1000
#define DEFAULT_TRACES 100
#define MAX_OFFSET     1000000

static const char *param(const struct ctl_request *r, const char *key)
{
	return r->param(r, key);
}

/* A number of the query; fallback when absent; false when it is no number or too large. */
static bool number_param(const struct ctl_request *r, const char *key, uint64_t max,
			 uint64_t fallback, uint64_t *out)
{
	const char *text = param(r, key);

	*out = fallback;
	return !text || slice_u64(slice_of(text), max, out);
}

struct listing {
	json_t *array;
	bool failed;
	int64_t now_ms;
	int kind;	     /* -1: all */
	const char *session; /* NULL: all */
	const char *zone;
	const char *user;
	uint64_t offset, limit;
	uint64_t n_matching;
};

/* "alice@example.com", or "alice" in any domain. */
static bool is_user(const struct conn *c, const char *user)
{
	size_t n = strlen(user);

	return strncmp(c->user, user, n) == 0 &&
	       (!c->user[n] || (c->user[n] == '@' && !strchr(user, '@')));
}

static void list_one(struct listing *l, const struct conn *c, int64_t ended_wall_s)
{
	if ((l->kind >= 0 && (int)c->kind != l->kind) ||
	    (l->session && strcmp(l->session, c->session) != 0) ||
	    (l->zone && strcmp(l->zone, c->zone) != 0) || (l->user && !is_user(c, l->user)))
		return;
	if (l->n_matching++ < l->offset || json_array_size(l->array) >= l->limit)
		return;
	if (json_array_append_new(l->array, ctl_json_conn(c, l->now_ms, ended_wall_s)) < 0)
		l->failed = true;
}

static bool list_ended(const struct conn *c, int64_t ended_wall_s, void *arg)
{
	list_one(arg, c, ended_wall_s);
	return true;
}

static void list_alive(struct listing *l, const struct conn_table *t)
{
	for (int kind = 0; kind < CONN_N_KINDS; kind++) {
		if (l->kind >= 0 && kind != l->kind)
			continue;
		LIST_FOREACH (it, conn_list(t, (enum conn_kind)kind))
			list_one(l, CONTAINER_OF(it, struct conn, node), -1);
	}
}

static int bad_kind(json_t **out)
{
	char kinds[512];
	size_t n = 0;

	for (int i = 0; i < CONN_N_KINDS; i++) {
		n = slice_append(kinds, sizeof(kinds), n, slice_of(i ? ", " : ""));
		n = slice_append(kinds, sizeof(kinds), n,
				 slice_of(conn_kind_str((enum conn_kind)i)));
	}
	return ctl_fail(out, 400, "kind: unknown; legal values: %s", kinds);
}

/* 0, or the HTTP status of the reply in *out. */
static int listing_params(struct listing *l, const struct ctl_request *r, json_t **out)
{
	const char *kind = param(r, "kind");

	l->session = param(r, "session");
	l->zone = param(r, "zone");
	l->user = param(r, "user");
	if (!number_param(r, "limit", MAX_CONNS, DEFAULT_CONNS, &l->limit))
		return ctl_fail(out, 400, "limit: a number from 0 to %d", MAX_CONNS);
	if (!number_param(r, "offset", MAX_OFFSET, 0, &l->offset))
		return ctl_fail(out, 400, "offset: a number from 0 to %d", MAX_OFFSET);
	l->kind = kind ? CONN_N_KINDS : -1;
	for (int i = 0; kind && i < CONN_N_KINDS; i++) {
		if (strcmp(kind, conn_kind_str((enum conn_kind)i)) == 0)
			l->kind = i;
	}
	if (l->kind == CONN_N_KINDS)
		return bad_kind(out);
	return 0;
}

static int run_connections(void *self, const struct ctl_request *r, json_t **out)
{
	const struct env *env = self;
	struct listing l = { .now_ms = loop_now_ms(env->loop) };
	const char *ended = param(r, "ended");
	int status = listing_params(&l, r, out);

	if (status)
		return status;
	if (ended && strcmp(ended, "0") != 0 && strcmp(ended, "1") != 0)
		return ctl_fail(out, 400, "ended: 0 or 1");
	l.array = json_array();
	if (!l.array)
		return ctl_fail(out, 500, "out of memory");
	if (ended && ended[0] == '1')
		conn_ended_each(env->conns, list_ended, &l);
	else
		list_alive(&l, env->conns);
	*out = json_pack("{s:o, s:I}", "connections", l.array, "total", (json_int_t)l.n_matching);
	if (*out && !l.failed)
		return 200;
	json_decref(*out);
	return ctl_fail(out, 500, "out of memory");
}

static int run_disconnect(void *self, const struct ctl_request *r, json_t **out)
{
	const struct env *env = self;
	const char *id = param(r, "id");
	struct conn *c = id ? conn_find(env->conns, slice_of(id)) : NULL;
	char text[CONN_ID_BYTES];

	if (!id)
		return ctl_fail(out, 400, "id: required; `turnpikectl connections` lists them");
	if (!c)
		return ctl_fail(out, 404, "nothing alive has the id %s", id);
	conn_id_str(c, text);
	if (!c->close)
		return ctl_fail(out, 409, "a %s cannot be closed alone (%s)",
				conn_kind_str(c->kind), text);
	/* c may be gone when this returns. */
	c->close(c, "closed by the operator");
	*out = json_pack("{s:s}", "disconnected", text);
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

struct collector {
	json_t *array;
	bool failed;
	uint64_t limit;
};

static void collect(struct collector *c, json_t *element)
{
	if (json_array_append_new(c->array, element) < 0)
		c->failed = true;
}

/* {name: array}, which takes the array over. */
static int collected(struct collector *c, const char *name, json_t **out)
{
	*out = c->array ? json_pack("{s:o}", name, c->array) : NULL;
	if (*out && !c->failed)
		return 200;
	json_decref(*out);
	return ctl_fail(out, 500, "out of memory");
}

static void collect_alarm(const struct alarm_entry *e, void *arg)
{
	collect(arg, ctl_json_alarm(e));
}

static int run_alarms(void *self, const struct ctl_request *r, json_t **out)
{
	const struct env *env = self;
	struct collector c = { .array = json_array() };

	alarms_each(env->alarms, collect_alarm, &c);
	return collected(&c, "alarms", out);
}

static bool collect_trace(const struct trace_entry *e, void *arg)
{
	struct collector *c = arg;

	if (json_array_size(c->array) >= c->limit)
		return false;
	collect(c, ctl_json_trace(e));
	return !c->failed;
}

static int run_trace(void *self, const struct ctl_request *r, json_t **out)
{
	const struct env *env = self;
	struct collector c = { 0 };

	if (!number_param(r, "limit", MAX_TRACES, DEFAULT_TRACES, &c.limit))
		return ctl_fail(out, 400, "limit: a number from 0 to %d", MAX_TRACES);
	c.array = json_array();
	trace_each(env->trace, param(r, "prefix"), collect_trace, &c);
	return collected(&c, "trace", out);
}

static void set_count(const char *code, uint64_t n, void *arg)
{
	json_object_set_new(arg, code, json_integer((json_int_t)n));
}

static int run_counters(void *self, const struct ctl_request *r, json_t **out)
{
	const struct env *env = self;
	json_t *conns = json_object(), *codes = json_object();

	for (int kind = 0; conns && kind < CONN_N_KINDS; kind++)
		set_count(conn_kind_str((enum conn_kind)kind),
			  conn_count(env->conns, (enum conn_kind)kind), conns);
	if (codes)
		trace_counts_each(env->trace, set_count, codes);
	/* "o" takes both over, also when it fails. */
	*out = json_pack("{s:o, s:o, s:I}", "connections", conns, "decisions", codes, "alarms",
			 (json_int_t)alarm_count(env->alarms));
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

const struct ctl_command ctl_commands[] = {
	{ "connections", false, run_connections }, { "disconnect", true, run_disconnect },
	{ "alarms", false, run_alarms },	   { "trace", false, run_trace },
	{ "counters", false, run_counters },	   { 0 },
};
