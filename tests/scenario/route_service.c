/* The module as others meet it: settings in, service "route", trace, control commands, reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/ctl.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "route/loops.h"
#include "route/route_ctl.h"
#include "turnpike/modules.h"
#include "turnpike/route.h"
#include "support/tls_stand_in.h"

#define CORE                                                                                    \
	"[system]\nrole = C\nname = core1.example.com\n[tls pair]\n"                            \
	"[zone to-edge]\ntype = uc-traversal\npeers = edge1.example.com\nport = 7001\n"         \
	"tls = pair\nusername = pair1\npassword = secret\n"                                     \
	"[zone pbx]\ntype = neighbour\npeers = pbx.example.com\nport = 5060\ntransport = tcp\n" \
	"[domain example.com]\nsip = zone:pbx\n"

struct rig {
	struct env env;
	const struct conf_section *schema[8];
	struct service route;
	struct route_result *out;
	int64_t now_ms;
};

static int64_t rig_now(void *arg)
{
	const struct rig *r = arg;

	return r->now_ms;
}

static struct conf_snapshot *rig_parse(struct rig *r, const char *text)
{
	struct conf_snapshot *snap;
	struct buf errors;

	buf_init(&errors, 65536);
	snap = conf_parse(r->env.conf, "t.ini", slice_of(text), 0, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&errors);
	return snap;
}

static struct rig *rig_new(const char *text)
{
	static const struct module *const list[] = { &route_module };
	struct rig *r = calloc(1, sizeof(*r));
	size_t n = 0;

	r->schema[n++] = &system_conf_section;
	r->schema[n++] = &tls_section;
	for (size_t i = 0; route_module.sections[i]; i++)
		r->schema[n++] = route_module.sections[i];
	r->env.role = CONF_ROLE_C;
	r->env.loop = loop_new();
	r->env.conf = conf_store_new(r->schema, n);
	r->env.trace = trace_new(64, rig_now, r);
	r->env.alarms = alarms_new(NULL);
	conf_swap(r->env.conf, rig_parse(r, text));
	r->env.modules = modules_new(&r->env, list, 1);
	assert_int_equal(modules_init(r->env.modules), 0);
	assert_int_equal(modules_start(r->env.modules), 0);
	r->route = service_find(r->env.modules, ROUTE_SERVICE);
	assert_non_null(r->route.ops);
	r->out = calloc(1, sizeof(*r->out));
	return r;
}

static void rig_free(struct rig *r)
{
	modules_free(r->env.modules);
	trace_free(r->env.trace);
	alarms_free(r->env.alarms);
	loop_free(r->env.loop);
	conf_store_free(r->env.conf);
	free(r->out);
	free(r);
}

static enum route_status search(struct rig *r, const char *alias, const char *source,
				const char *tag)
{
	const struct route_ops *ops = r->route.ops;

	r->now_ms += 60000; /* no two entries of the trace are one */
	ops->search(r->route.self,
		    &(struct route_query){ .alias = slice_of(alias),
					   .source_zone = slice_of(source),
					   .loop_tag = slice_of(tag),
					   .hop_count = 70 },
		    "0123456789abcdef0123456789abcdef", r->out);
	return r->out->status;
}

static bool copy_first(const struct trace_entry *e, void *arg)
{
	*(struct trace_entry *)arg = *e;
	return false;
}

static struct trace_entry last_trace(const struct rig *r)
{
	struct trace_entry e = { 0 };

	trace_each(r->env.trace, "route.", copy_first, &e);
	return e;
}

static void test_search(void **state)
{
	struct rig *r = rig_new(CORE);
	struct trace_entry e;

	assert_int_equal(search(r, "bob@example.com", "to-edge", ""), ROUTE_FOUND);
	assert_string_equal(r->out->targets[0].zone, "pbx");
	e = last_trace(r);
	assert_string_equal(e.code, "route.found");
	assert_string_equal(e.decided_by, "[domain example.com]");
	assert_string_equal(e.session, "0123456789abcdef0123456789abcdef");
	assert_string_equal(e.text,
			    "bob@example.com from to-edge: found, zone pbx\n"
			    "rule domain:example.com: regex .+@example\\.com matches: zone pbx, "
			    "alias bob@example.com\n"
			    "hops pbx: came with 70, goes on with 14");
	assert_int_equal(search(r, "bob@example.org", "to-edge", ""), ROUTE_NOT_FOUND);
	e = last_trace(r);
	assert_string_equal(e.code, "route.not-found");
	assert_string_equal(e.decided_by, "search rules");
	/* The wire's bytes do not reach the trace as they are. */
	assert_int_equal(search(r, "a\nb", "to-edge", ""), ROUTE_BAD_ALIAS);
	e = last_trace(r);
	assert_non_null(strstr(e.text, "a\\x0ab from to-edge: bad-alias\n"));
	rig_free(r);
}

/* Calls are worth an entry each; refusals of one source within a second are one. */
static void test_trace_repeats(void **state)
{
	struct rig *r = rig_new(CORE);
	const struct route_ops *ops = r->route.ops;
	static const char *const aliases[] = { "a@example.com", "b@example.com", "a@x", "b@x" };

	for (size_t i = 0; i < 4; i++)
		ops->search(r->route.self,
			    &(struct route_query){
				    .alias = slice_of(aliases[i]),
				    .source_zone = SLICE("to-edge"),
				    .hop_count = 70,
				    .remote = { .ip = { 192, 0, 2, 1 }, .family = ADDR_IP4 } },
			    NULL, r->out);
	assert_int_equal(trace_count(r->env.trace, "route.found"), 2);
	assert_int_equal(trace_count(r->env.trace, "route.not-found"), 2);
	assert_string_equal(last_trace(r).code, "route.not-found");
	assert_int_equal(last_trace(r).n_repeats, 1);
	rig_free(r);
}

/* R11 */
static void test_loop(void **state)
{
	struct rig *r = rig_new(CORE);
	const struct route_ops *ops = r->route.ops;

	assert_int_equal(search(r, "bob@example.com", "to-edge", "call1"), ROUTE_FOUND);
	assert_int_equal(search(r, "bob@example.com", "to-edge", "call2"), ROUTE_FOUND);
	assert_int_equal(search(r, "bob@example.com", "to-edge", "call1"), ROUTE_LOOP);
	assert_int_equal(r->out->n_targets, 0);
	assert_string_equal(last_trace(r).code, "route.loop");
	assert_string_equal(last_trace(r).decided_by, "loop detection");
	ops->forget(r->route.self, SLICE("call1"));
	assert_int_equal(search(r, "bob@example.com", "to-edge", "call1"), ROUTE_FOUND);
	/* A search that found nothing does not live on. */
	assert_int_equal(search(r, "bob@x", "to-edge", "call3"), ROUTE_NOT_FOUND);
	assert_int_equal(search(r, "bob@x", "to-edge", "call3"), ROUTE_NOT_FOUND);
	rig_free(r);
}

static void test_reload(void **state)
{
	struct rig *r = rig_new(CORE);
	struct conf_snapshot *next, *other;
	struct buf errors;

	buf_init(&errors, 4096);
	assert_int_equal(search(r, "9", "pbx", ""), ROUTE_NOT_FOUND);
	next = rig_parse(r, CORE "[search-rule nine]\nmode = alias-pattern\npattern = 9\n"
				 "target = pbx\n");
	other = rig_parse(r, CORE);
	/* Prepared and dropped again: another module said no. */
	assert_int_equal(route_module.prepare(r->route.self, other, &errors), 0);
	assert_int_equal(search(r, "9", "pbx", ""), ROUTE_NOT_FOUND);
	assert_int_equal(modules_reload(r->env.modules, next, &errors), 0);
	conf_swap(r->env.conf, next);
	assert_int_equal(search(r, "9", "pbx", ""), ROUTE_FOUND);
	/* Without prepare() nothing changes. */
	route_module.reload(r->route.self, next, other);
	assert_int_equal(search(r, "9", "pbx", ""), ROUTE_FOUND);
	assert_int_equal(route_module.prepare(r->route.self, other, &errors), 0);
	conf_unref(other);
	buf_fini(&errors);
	rig_free(r);
}

static void test_regex_alarm(void **state)
{
	struct rig *r = rig_new(CORE "[search-rule evil]\nmode = alias-pattern\n"
				     "pattern-type = regex\npattern = (?:[xy]+)*\ntarget = pbx\n");
	struct conf_snapshot *next = rig_parse(r, CORE);
	struct buf errors;

	buf_init(&errors, 4096);
	assert_int_equal(
		search(r, "xyxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx!", "pbx", ""),
		ROUTE_NOT_FOUND);
	assert_int_equal(alarm_count(r->env.alarms), 1);
	assert_string_equal(last_trace(r).decided_by, "[search-rule evil]");
	assert_int_equal(modules_reload(r->env.modules, next, &errors), 0);
	conf_swap(r->env.conf, next);
	assert_int_equal(alarm_count(r->env.alarms), 0);
	buf_fini(&errors);
	rig_free(r);
}

static void test_status(void **state)
{
	struct rig *r = rig_new(CORE);
	json_t *all;

	search(r, "bob@example.com", "to-edge", "");
	search(r, "bob@x", "to-edge", "");
	all = modules_status(r->env.modules);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(all, "route"), "searches")), 2);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(all, "route"), "found")), 1);
	json_decref(all);
	rig_free(r);
}

/* --- control commands --- */

struct params {
	struct ctl_request request;
	const char *v[8]; /* key, value, ..., NULL */
};

static const char *param(const struct ctl_request *request, const char *key)
{
	const struct params *p = request->impl;

	for (size_t i = 0; p->v[i]; i += 2)
		if (strcmp(p->v[i], key) == 0)
			return p->v[i + 1];
	return NULL;
}

static const struct trace *fake_trace;
static struct rig *fake_rig;

static void run_search(void *arg, const struct route_query *q, struct route_result *out)
{
	const struct route_ops *ops = fake_rig->route.ops;

	ops->search(fake_rig->route.self, q, NULL, out);
}

static bool knows_zone(void *arg, const char *name)
{
	return strcmp(name, "to-edge") == 0;
}

/* Runs a command; the reply as compact text with sorted keys (free), and the HTTP status. */
static char *command(struct rig *r, size_t index, const char *const v[8], int *status)
{
	struct params p = { .request.param = param };
	struct route_ctl *c;
	json_t *out = NULL;
	char *text;

	for (size_t i = 0; i < 8; i++)
		p.v[i] = v[i];
	p.request.impl = &p;
	fake_rig = r;
	fake_trace = r->env.trace;
	c = route_ctl_new(fake_trace, run_search, knows_zone, NULL);
	*status = route_ctl_commands[index].run(c, &p.request, &out);
	text = json_dumps(out, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(out);
	route_ctl_free(c);
	return text;
}

enum { LOCATE, HISTORY };

static void test_locate(void **state)
{
	static const char *const found[8] = { "alias", "bob@example.com", "source", "to-edge" };
	struct rig *r = rig_new(CORE);
	int status;
	char *text = command(r, LOCATE, found, &status);

	assert_int_equal(status, 200);
	assert_string_equal(
		text,
		"{\"alias\":\"bob@example.com\",\"found\":true,\"hop_count\":14,\"sip_status\":0,"
		"\"status\":\"found\",\"steps\":[{\"decision\":\"taken\","
		"\"rule\":\"domain:example.com\",\"step\":\"rule\",\"why\":\"regex "
		".+@example\\\\.com matches: zone pbx, alias bob@example.com\"},"
		"{\"decision\":\"taken\",\"rule\":\"pbx\",\"step\":\"hops\",\"why\":\"came with "
		"70, "
		"goes on with 14\"}],\"steps_left_out\":0,\"target\":\"pbx\",\"targets\":["
		"{\"alias\":\"bob@example.com\",\"hop_count\":14,\"priority\":45,"
		"\"rule\":\"domain:example.com\",\"zone\":\"pbx\"}]}");
	free(text);
	rig_free(r);
}

static void test_locate_params(void **state)
{
	static const struct {
		const char *v[8];
		int status;
		const char *says;
	} rows[] = {
		{ { NULL }, 400, "needs an alias" },
		{ { "alias", "" }, 400, "needs an alias" },
		{ { "alias", "x", "source", "nowhere" }, 404, "no such source" },
		{ { "alias", "x", "authenticated", "perhaps" }, 400, "yes or no" },
		{ { "alias", "x", "hops", "0" }, 400, "1 to 255" },
		{ { "alias", "x", "hops", "256" }, 400, "1 to 255" },
		{ { "alias", "x", "hops", "255", "authenticated", "yes" }, 200, "not-found" },
		{ { "alias", "x", "source", "local" }, 200, "\"found\":false" },
		{ { "alias", "x", "source", "default" }, 200, "not for requests from default" },
		{ { "alias", "x" }, 200, "not for requests from default" },
		{ { "alias", "\xff\xfe" }, 200, "\"alias\":\"\\\\xff\\\\xfe\"" },
	};
	struct rig *r = rig_new(CORE);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status;
		char *text = command(r, LOCATE, rows[i].v, &status);

		assert_int_equal(status, rows[i].status);
		if (!strstr(text, rows[i].says))
			fail_msg("row %zu: %s", i, text);
		free(text);
	}
	rig_free(r);
}

static void test_history(void **state)
{
	static const char *const none[8] = { NULL };
	static const char *const one[8] = { "limit", "1" };
	static const char *const bad[8] = { "limit", "1001" };
	struct rig *r = rig_new(CORE);
	int status;
	char *text;

	search(r, "bob@example.com", "to-edge", "");
	search(r, "eve@x", "to-edge", "");
	trace_add(r->env.trace, "sip.other", NULL, NULL, NULL, "not a search");
	text = command(r, HISTORY, none, &status);
	assert_int_equal(status, 200);
	assert_non_null(strstr(text, "route.found"));
	assert_null(strstr(text, "sip.other"));
	/* Newest first. */
	assert_true(strstr(text, "route.not-found") < strstr(text, "route.found"));
	free(text);
	text = command(r, HISTORY, one, &status);
	assert_non_null(strstr(text, "route.not-found"));
	assert_null(strstr(text, "route.found"));
	free(text);
	text = command(r, HISTORY, bad, &status);
	assert_int_equal(status, 400);
	free(text);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_search),	    cmocka_unit_test(test_trace_repeats),
		cmocka_unit_test(test_loop),	    cmocka_unit_test(test_reload),
		cmocka_unit_test(test_regex_alarm), cmocka_unit_test(test_status),
		cmocka_unit_test(test_locate),	    cmocka_unit_test(test_locate_params),
		cmocka_unit_test(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
