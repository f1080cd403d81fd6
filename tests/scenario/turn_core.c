/*
 * C's side of the TURN server on a fake clock: secrets that go to every E, items that come back,
 * credentials over the API and the control socket. The tunnel is in memory; what "leaks" could be
 * (log, trace, status, dump) is searched for secrets and passwords.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "core/log.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "support/alloc_fail.h"
#include "turn/core_side.h"
#include "turn/credentials.h"
#include "turn/turn_conf.h"
#include "turnpike/api.h"
#include "turnpike/route.h"
#include "turnpike/tunnel.h"

enum { N_EDGES = 3, MAX_SECRETS = 8 };
#define WALL_S	INT64_C(1800000000)
#define HOUR_MS 3600000

/* The route module is not linked here: its section, as far as it matters. */
static const struct conf_row domain_rows[] = {
	{ .key = "guest",
	  .type = CONF_BOOL,
	  .offset = offsetof(struct domain_conf, guest),
	  .def = "no" },
};
static const struct conf_section domain_section = { .type = "domain",
						    .repeatable = true,
						    .roles = CONF_ROLE_BOTH,
						    .size = sizeof(struct domain_conf),
						    .rows = domain_rows,
						    .n_rows = 1 };
/* [turn] looks at these of others. */
static const struct conf_section *const schema[] = { &system_conf_section, &domain_section,
						     &turn_section };

/* An E as the other end sees it: its copy of the secrets. */
struct edge {
	bool up;
	size_t n;
	struct {
		char id[64];
		uint8_t secret[64];
		long n_secret;
		int64_t left_s;
	} secrets[MAX_SECRETS];
};

struct lab {
	struct timerq timers;
	struct trace *trace;
	FILE *log_file;
	struct log *log;
	struct conf_store *conf;
	struct turn_core *core;
	struct edge edges[N_EDGES];
	const struct tunnel_source *source;
	void *source_arg;
	const struct tunnel_sink *sink;
	void *sink_arg;
	api_handler handler;
	void *handler_arg;
};

static struct lab *the_lab; /* for functions without an argument */

static void random_fill(void *p, size_t n)
{
	static uint32_t seed = 7;
	uint8_t *b = p;

	while (n-- > 0) {
		seed = seed * 1664525u + 1013904223u;
		*b++ = (uint8_t)(seed >> 24);
	}
}

static int64_t wall_s(void)
{
	return WALL_S + the_lab->timers.now_ms / 1000;
}

static int64_t trace_now(void *arg)
{
	return ((struct lab *)arg)->timers.now_ms;
}

/* --- the tunnel --- */

static int t_publish(void *self, const char *table, const struct tunnel_source *s, void *arg)
{
	struct lab *l = self;

	assert_string_equal(table, "turn-secrets");
	l->source = s;
	l->source_arg = arg;
	return 0;
}

static int t_subscribe(void *self, const char *table, const struct tunnel_sink *s, void *arg)
{
	struct lab *l = self;

	assert_string_equal(table, "turn");
	l->sink = s;
	l->sink_arg = arg;
	return 0;
}

static size_t place(struct edge *e, const char *key)
{
	size_t i = 0;

	while (i < e->n && strcmp(e->secrets[i].id, key) != 0)
		i++;
	return i;
}

static void edge_put(void *ctx, const char *key, const json_t *item)
{
	struct edge *e = ctx;
	size_t i = place(e, key);
	const char *text = json_string_value(json_object_get(item, "secret"));

	assert_true(i < MAX_SECRETS && text);
	assert_int_equal(json_object_size(item), 2);
	if (i == e->n)
		e->n++;
	snprintf(e->secrets[i].id, sizeof(e->secrets[i].id), "%s", key);
	e->secrets[i].n_secret = base64_decode(slice_of(text), e->secrets[i].secret, 64);
	assert_int_equal(e->secrets[i].n_secret, 32);
	e->secrets[i].left_s = json_integer_value(json_object_get(item, "left"));
}

static void t_put(void *self, tunnel_peer to, const char *table, const char *key,
		  const json_t *item)
{
	struct lab *l = self;

	assert_int_equal(to, 0);
	for (int i = 0; i < N_EDGES; i++)
		if (l->edges[i].up)
			edge_put(&l->edges[i], key, item);
}

static void t_del(void *self, tunnel_peer to, const char *table, const char *key)
{
	struct lab *l = self;

	for (int i = 0; i < N_EDGES; i++) {
		struct edge *e = &l->edges[i];
		size_t at = place(e, key);

		if (e->up && at < e->n)
			e->secrets[at] = e->secrets[--e->n];
	}
}

static size_t t_n_peers(void *self)
{
	return N_EDGES;
}

static bool t_peer(void *self, size_t i, struct tunnel_peer_info *out)
{
	static const char *const names[] = { "edge1", "edge2", "edge3" };
	struct lab *l = self;

	if (i >= N_EDGES)
		return false;
	*out = (struct tunnel_peer_info){
		.id = (tunnel_peer)i + 1, .name = names[i], .up = l->edges[i].up, .system_name = ""
	};
	return true;
}

static const struct tunnel_ops tunnel = { .publish = t_publish,
					  .subscribe = t_subscribe,
					  .put = t_put,
					  .del = t_del,
					  .n_peers = t_n_peers,
					  .peer = t_peer };

static void says(struct lab *l, int edge, const char *key, const char *text)
{
	json_t *item = json_loads(text, 0, NULL);

	assert_non_null(item);
	l->sink->put(l->sink_arg, (tunnel_peer)edge + 1, key, item);
	json_decref(item);
}

/* It comes up: both sides tell all. text NULL: it has no TURN server. */
static void edge_up(struct lab *l, int edge, const char *text)
{
	struct edge *e = &l->edges[edge];

	e->up = true;
	e->n = 0;
	l->source->each(l->source_arg, (tunnel_peer)edge + 1, edge_put, e);
	l->sink->reset(l->sink_arg, (tunnel_peer)edge + 1);
	if (text)
		says(l, edge, "server", text);
}

#define E1                                                                                     \
	"{\"host\":\"edge1.example.com\",\"realm\":\"r1\",\"udp\":[3478,3479],\"tcp\":[3478]," \
	"\"tls\":[5349]}"
#define E2 "{\"host\":\"edge2.example.com\",\"realm\":\"r2\",\"udp\":[3478]}"

/* --- the API --- */

static int a_add(void *self, const char *method, const char *path, api_handler fn, void *arg)
{
	struct lab *l = self;

	assert_string_equal(method, "POST");
	assert_string_equal(path, "/api/v1/turn/credentials");
	l->handler = fn;
	l->handler_arg = arg;
	return 0;
}

static const struct api_ops api = { .add = a_add };

static int asks(struct lab *l, const char *body, json_t **out)
{
	json_t *b = json_loads(body, 0, NULL);
	struct addr from;
	struct api_request r = { .method = "POST",
				 .path = "/api/v1/turn/credentials",
				 .admin = "ops",
				 .from = &from,
				 .body = b };
	int status;

	assert_non_null(b);
	assert_true(addr_parse_ip(SLICE("10.0.0.9"), 4711, &from));
	*out = NULL;
	status = l->handler(l->handler_arg, &r, out);
	json_decref(b);
	return status;
}

static int status_of(struct lab *l, const char *body)
{
	json_t *out;
	int status = asks(l, body, &out);

	assert_true(status == 200 || json_is_string(json_object_get(out, "error")));
	json_decref(out);
	return status;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert_non_null(s);
	return s;
}

/* --- the box --- */

static struct conf_snapshot *parse(struct lab *l, const char *more)
{
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 4096);
	buf_init(&errors, 4096);
	buf_printf(&text, "[system]\nrole = C\nname = core1.example.com\n%s", more);
	snap = conf_parse(l->conf, "t.ini", slice_of(text.p), 0, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&text);
	buf_fini(&errors);
	return snap;
}

static void reload(struct lab *l, const char *more)
{
	struct conf_snapshot *next = parse(l, more);

	turn_core_configure(l->core, next);
	conf_swap(l->conf, next);
}

#define GUESTS \
	"[turn]\ncredential-ttl = 1h\n[domain example.com]\nguest = yes\n[domain other.example]\n"

static struct lab *lab_new(void)
{
	struct lab *l = calloc(1, sizeof(*l));
	struct turn_core_world w;

	the_lab = l;
	timerq_init(&l->timers, 1000000);
	l->trace = trace_new(256, trace_now, l);
	l->log_file = tmpfile();
	l->log = log_new(l->log_file, LOG_LEVEL_DEBUG);
	l->conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	w = (struct turn_core_world){ .timers = &l->timers,
				      .trace = l->trace,
				      .log = l->log,
				      .random = random_fill,
				      .wall_s = wall_s };
	l->core = turn_core_new(&w);
	assert_non_null(l->core);
	conf_swap(l->conf, parse(l, GUESTS));
	turn_core_configure(l->core, conf_current(l->conf));
	assert_int_equal(turn_core_start(l->core, &(struct service){ &tunnel, l },
					 &(struct service){ &api, l }),
			 0);
	return l;
}

static void lab_free(struct lab *l)
{
	turn_core_stop(l->core);
	turn_core_free(l->core);
	assert_int_equal(l->timers.n, 0);
	conf_store_free(l->conf);
	log_free(l->log);
	fclose(l->log_file);
	trace_free(l->trace);
	free(l);
}

/* Would this E take the credential? */
static bool is_taken_by(const struct edge *e, const json_t *credential)
{
	char password[29];

	for (size_t i = 0; i < e->n; i++) {
		turn_credentials_password((struct slice){ (const char *)e->secrets[i].secret, 32 },
					  slice_of(text_of(credential, "username")), password);
		if (strcmp(password, text_of(credential, "password")) == 0)
			return true;
	}
	return false;
}

#define ASK "{\"domain\":\"example.com\"}"

/* --- tests --- */

static void a_credential(void **state)
{
	struct lab *l = lab_new();
	json_t *out, *uris;
	char expected[64];

	edge_up(l, 0, E1);
	assert_int_equal(asks(l, "{\"domain\":\"Example.COM\",\"user\":\"bob\",\"ttl\":60}", &out),
			 200);
	snprintf(expected, sizeof(expected), "%lld:bob@example.com", (long long)wall_s() + 60);
	assert_string_equal(text_of(out, "username"), expected);
	assert_int_equal(json_integer_value(json_object_get(out, "ttl")), 60);
	assert_string_equal(text_of(out, "realm"), "r1");
	assert_string_equal(text_of(out, "server"), "edge1.example.com");
	uris = json_object_get(out, "uris");
	assert_int_equal(json_array_size(uris), 3);
	assert_string_equal(json_string_value(json_array_get(uris, 0)),
			    "turn:edge1.example.com:3478?transport=udp");
	assert_string_equal(json_string_value(json_array_get(uris, 2)),
			    "turns:edge1.example.com:5349?transport=tcp");
	assert_true(is_taken_by(&l->edges[0], out));
	json_decref(out);
	assert_int_equal(trace_count(l->trace, "turn.credential.made"), 1);
	lab_free(l);
}

static void one_after_the_other(void **state)
{
	static const char *const servers[] = { "edge1.example.com", "edge2.example.com",
					       "edge1.example.com", "edge2.example.com" };
	struct lab *l = lab_new();
	json_t *out;

	edge_up(l, 0, E1);
	edge_up(l, 1, E2);
	edge_up(l, 2, NULL); /* up, without TURN */
	for (int i = 0; i < 4; i++) {
		assert_int_equal(asks(l, ASK, &out), 200);
		assert_string_equal(text_of(out, "server"), servers[i]);
		/* every E has every secret: the guest may come to any of them */
		for (int k = 0; k < N_EDGES; k++)
			assert_true(is_taken_by(&l->edges[k], out));
		if (i == 2)
			assert_string_equal(
				json_string_value(json_array_get(json_object_get(out, "uris"), 0)),
				"turn:edge1.example.com:3479?transport=udp");
		json_decref(out);
	}
	/* one goes down: the other one answers */
	l->edges[0].up = false;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(asks(l, ASK, &out), 200);
		assert_string_equal(text_of(out, "server"), "edge2.example.com");
		json_decref(out);
	}
	/* its TURN server is switched off */
	l->sink->del(l->sink_arg, 2, "server");
	assert_int_equal(status_of(l, ASK), 503);
	lab_free(l);
}

static void refused(void **state)
{
	static const struct {
		const char *body;
		int status;
	} rows[] = {
		{ "{}", 400 },
		{ "{\"domain\":7}", 400 },
		{ "{\"domain\":\"\"}", 400 },
		{ "{\"domain\":\"example.com\",\"user\":7}", 400 },
		{ "{\"domain\":\"example.com\",\"user\":\"\"}", 400 },
		{ "{\"domain\":\"example.com\",\"user\":\"a:b\"}", 400 },
		{ "{\"domain\":\"example.com\",\"ttl\":0}", 400 },
		{ "{\"domain\":\"example.com\",\"ttl\":-1}", 400 },
		{ "{\"domain\":\"example.com\",\"ttl\":1.5}", 400 },
		{ "{\"domain\":\"example.com\",\"ttl\":\"60\"}", 400 },
		{ "{\"domain\":\"example.com\",\"ttl\":null}", 400 },
		{ "{\"domain\":\"example.com\",\"ttl\":3601}", 400 },
		{ "{\"domain\":\"example.com\",\"ttl\":3600}", 200 },
		{ "{\"domain\":\"example.com\",\"usr\":\"x\"}", 400 },
		{ "{\"domain\":\"other.example\"}", 403 },
		{ "{\"domain\":\"nobody.example\"}", 403 },
		{ "{\"domain\":\"other.example\",\"user\":\"a b\"}", 400 },
	};
	struct lab *l = lab_new();
	char domain[300] = "{\"domain\":\"";

	edge_up(l, 0, E1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (status_of(l, rows[i].body) != rows[i].status)
			fail_msg("%s", rows[i].body);
	memset(domain + 11, 'd', 254);
	strcpy(domain + 11 + 254, "\"}");
	assert_int_equal(status_of(l, domain), 400);
	strcpy(domain + 11 + 253, "\"}");
	assert_int_equal(status_of(l, domain), 403);
	assert_int_equal(trace_count(l->trace, "turn.credential.refused"),
			 sizeof(rows) / sizeof(rows[0]) + 1);
	lab_free(l);
}

static void nobody_there(void **state)
{
	struct lab *l = lab_new();

	assert_int_equal(status_of(l, ASK), 503);
	edge_up(l, 0, NULL);
	assert_int_equal(status_of(l, ASK), 503);
	says(l, 0, "server", E1);
	assert_int_equal(status_of(l, ASK), 200);
	says(l, 0, "later", "{\"of\":\"another version\"}");
	assert_int_equal(status_of(l, ASK), 200);
	/* nonsense takes away what was good before */
	says(l, 0, "server", "{\"host\":\"a b\",\"realm\":\"r\",\"udp\":[1]}");
	assert_int_equal(status_of(l, ASK), 503);
	assert_int_equal(trace_count(l->trace, "turn.server.refused"), 1);
	/* after the tunnel is gone nobody is up */
	turn_core_stop(l->core);
	assert_int_equal(status_of(l, ASK), 503);
	lab_free(l);
}

static void by_reload(void **state)
{
	struct lab *l = lab_new();
	json_t *out;

	edge_up(l, 0, E1);
	assert_int_equal(asks(l, ASK, &out), 200);
	reload(l, "[turn]\ncredential-ttl = 2h\n[domain other.example]\nguest = yes\n");
	assert_int_equal(status_of(l, ASK), 403);
	assert_int_equal(status_of(l, "{\"domain\":\"other.example\",\"ttl\":7200}"), 200);
	/* what was handed out stays good */
	assert_true(is_taken_by(&l->edges[0], out));
	assert_int_equal(l->edges[0].n, 2);
	json_decref(out);
	reload(l, "[turn]\ncredential-ttl = 2h\n[domain other.example]\nguest = yes\n");
	assert_int_equal(l->edges[0].n, 2);
	lab_free(l);
}

static void rotation(void **state)
{
	struct lab *l = lab_new();
	json_t *first, *out;

	edge_up(l, 0, E1);
	assert_int_equal(l->edges[0].n, 1);
	assert_int_equal(l->edges[0].secrets[0].left_s, 7200);
	assert_int_equal(asks(l, ASK, &first), 200);
	timerq_run(&l->timers, l->timers.now_ms + HOUR_MS);
	assert_int_equal(l->edges[0].n, 2);
	assert_true(is_taken_by(&l->edges[0], first));
	/* one that was down meanwhile gets both */
	edge_up(l, 1, E2);
	assert_int_equal(l->edges[1].n, 2);
	assert_int_equal(asks(l, ASK, &out), 200);
	assert_true(is_taken_by(&l->edges[0], out));
	assert_true(is_taken_by(&l->edges[1], out));
	timerq_run(&l->timers, l->timers.now_ms + HOUR_MS);
	assert_int_equal(l->edges[0].n, 2);
	assert_false(is_taken_by(&l->edges[0], first)); /* it has run out by now */
	assert_true(is_taken_by(&l->edges[0], out));
	for (int i = 0; i < 100; i++) {
		timerq_run(&l->timers, l->timers.now_ms + HOUR_MS / 2);
		assert_true(l->edges[0].n <= 3);
	}
	json_decref(first);
	json_decref(out);
	lab_free(l);
}

/* --- the control socket --- */

static const char *param(const struct ctl_request *r, const char *key)
{
	const char *const *p = r->impl;

	for (; p[0]; p += 2)
		if (strcmp(p[0], key) == 0)
			return p[1];
	return NULL;
}

static int ctl(struct lab *l, const char *k1, const char *v1, const char *k2, const char *v2,
	       json_t **out)
{
	const char *params[] = { k1, v1, k2, v2, NULL };
	struct ctl_request r = { .param = param, .impl = params };

	assert_string_equal(turn_core_commands[0].name, "turn-credentials");
	assert_true(turn_core_commands[0].acts);
	*out = NULL;
	return turn_core_commands[0].run(l->core, &r, out);
}

static void by_turnpikectl(void **state)
{
	static const char *const bad_ttls[] = { "0", "-1", "x", "3601", "" };
	struct lab *l = lab_new();
	json_t *out;

	edge_up(l, 0, E1);
	assert_int_equal(ctl(l, "domain", "example.com", "user", "bob", &out), 200);
	assert_true(is_taken_by(&l->edges[0], out));
	assert_non_null(strstr(text_of(out, "username"), ":bob@example.com"));
	json_decref(out);
	assert_int_equal(ctl(l, "domain", "example.com", "ttl", "60", &out), 200);
	assert_int_equal(json_integer_value(json_object_get(out, "ttl")), 60);
	json_decref(out);
	for (size_t i = 0; i < sizeof(bad_ttls) / sizeof(bad_ttls[0]); i++) {
		assert_int_equal(ctl(l, "domain", "example.com", "ttl", bad_ttls[i], &out), 400);
		json_decref(out);
	}
	assert_int_equal(ctl(l, NULL, NULL, NULL, NULL, &out), 400);
	json_decref(out);
	assert_int_equal(ctl(l, "domain", "other.example", NULL, NULL, &out), 403);
	json_decref(out);
	lab_free(l);
}

/* --- what must be nowhere --- */

static bool collect(const struct trace_entry *e, void *arg)
{
	buf_printf(arg, "%s %s %s\n", e->code, e->decided_by, e->text);
	return true;
}

static void no_secret_is_shown(void **state)
{
	struct lab *l = lab_new();
	struct buf all, secret;
	json_t *out, *status = json_object();
	char *text, line[4096];
	size_t n_log = 0;

	buf_init(&all, 1 << 20);
	buf_init(&secret, 4096);
	edge_up(l, 0, E1);
	timerq_run(&l->timers, l->timers.now_ms + HOUR_MS);
	assert_int_equal(asks(l, ASK, &out), 200);
	says(l, 0, "server", "{}");
	status_of(l, ASK);
	trace_each(l->trace, NULL, collect, &all);
	turn_core_status(l->core, status);
	text = json_dumps(status, 0);
	buf_add_str(&all, text);
	conf_dump(conf_current(l->conf), &all);
	rewind(l->log_file);
	while (fgets(line, sizeof(line), l->log_file)) {
		buf_add_str(&all, line);
		n_log++;
	}
	buf_add(&all, "", 1);
	/* there is something to find at all */
	assert_true(n_log >= 2);
	assert_non_null(strstr(all.p, text_of(out, "username")));
	assert_non_null(strstr(all.p, l->edges[0].secrets[0].id));
	assert_null(strstr(all.p, text_of(out, "password")));
	assert_int_equal(l->edges[0].n, 2);
	for (size_t i = 0; i < l->edges[0].n; i++) {
		buf_reset(&secret);
		base64_encode(&secret, l->edges[0].secrets[i].secret, 32);
		buf_add(&secret, "", 1);
		secret.p[20] = '\0'; /* nor a part of it */
		assert_null(strstr(all.p, secret.p));
		buf_reset(&secret);
		hex_encode(&secret, l->edges[0].secrets[i].secret, 32);
		buf_add(&secret, "", 1);
		secret.p[20] = '\0';
		assert_null(strstr(all.p, secret.p));
	}
	free(text);
	json_decref(status);
	json_decref(out);
	buf_fini(&all);
	buf_fini(&secret);
	lab_free(l);
}

/* --- settings --- */

static void ttl_bounds(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ "[turn]\ncredential-ttl = 60s\n", true },
		{ "[turn]\ncredential-ttl = 59s\n", false },
		{ "[turn]\ncredential-ttl = 168h\n", true },
		{ "[turn]\ncredential-ttl = 169h\n", false },
	};
	struct lab *l = lab_new();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf_snapshot *snap;
		struct buf text, errors;

		buf_init(&text, 4096);
		buf_init(&errors, 4096);
		buf_printf(&text, "[system]\nrole = C\nname = c\n%s", rows[i].text);
		snap = conf_parse(l->conf, "t.ini", slice_of(text.p), 0, &errors);
		assert_int_equal(snap != NULL, rows[i].good);
		if (snap)
			conf_unref(snap);
		buf_fini(&text);
		buf_fini(&errors);
	}
	lab_free(l);
}

static void one_run(void *arg)
{
	struct lab *l = arg;
	json_t *out = NULL, *body = json_pack("{s:s}", "domain", "example.com");
	struct api_request r = { .admin = "ops", .body = body };
	int status = l->handler(l->handler_arg, &r, &out);

	timerq_run(&l->timers, l->timers.now_ms + HOUR_MS);
	assert_true(status == 200 || status == 503);
	json_decref(out);
	json_decref(body);
}

static void without_memory(void **state)
{
	struct lab *l = lab_new();

	edge_up(l, 0, E1);
	alloc_fail_sweep(one_run, l);
	lab_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_credential),	  cmocka_unit_test(one_after_the_other),
		cmocka_unit_test(refused),	  cmocka_unit_test(nobody_there),
		cmocka_unit_test(by_reload),	  cmocka_unit_test(rotation),
		cmocka_unit_test(by_turnpikectl), cmocka_unit_test(no_secret_is_shown),
		cmocka_unit_test(ttl_bounds),	  cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
