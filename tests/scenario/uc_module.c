/* The module on a real loop, with call managers that are HTTP servers of this process. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

/* evhttp calls a status so, proto/http1.h an outcome. */
#undef HTTP_OK

#include "core/alarm.h"
#include "core/conn.h"
#include "core/dns.h"
#include "core/loop.h"
#include "core/tls.h"
#include "core/trace.h"
#include "turnpike/modules.h"
#include "turnpike/route.h"
#include "turnpike/uc.h"
#include "uc/uc_ctl.h"

#define DEADLINE_MS 10000
#define NODE_A	    "127.0.0.1"
#define NODE_B	    "127.0.0.2"

/* As much of the other modules' sections as generated text needs. */
struct any_conf {
	struct conf_common common;
	char *text[10];
};
#define KEY(k, i)                                                                             \
	{                                                                                     \
		.key = (k), .type = CONF_STRING, .offset = offsetof(struct any_conf, text[i]) \
	}
static const struct conf_row zone_rows[] = { KEY("type", 0),
					     KEY("peers", 1),
					     KEY("transport", 2),
					     KEY("port", 3),
					     KEY("media-encryption", 4),
					     KEY("monitor", 5),
					     KEY("tls", 6) };
static const struct conf_row rule_rows[] = { KEY("priority", 0), KEY("source", 1),
					     KEY("mode", 2),	 KEY("pattern-type", 3),
					     KEY("pattern", 4),	 KEY("target", 5) };
static const struct conf_row domain_rows[] = {
	{ .key = "sip",
	  .type = CONF_STRING,
	  .offset = offsetof(struct domain_conf, sip),
	  .def = "none" },
};
#define SECTION(t, s, r)                                                                     \
	{                                                                                    \
		.type = (t), .repeatable = true, .roles = CONF_ROLE_BOTH,                    \
		.size = sizeof(struct s), .rows = (r), .n_rows = sizeof(r) / sizeof((r)[0]), \
	}
static const struct conf_section zone_section = SECTION("zone", any_conf, zone_rows);
static const struct conf_section rule_section = SECTION("search-rule", any_conf, rule_rows);
static const struct conf_section domain_section = SECTION("domain", domain_conf, domain_rows);
static const struct conf_section *const schema[] = { &zone_section,	&rule_section,
						     &domain_section,	&tls_conf_section,
						     &dns_conf_section, &uc_cluster_section };
static const struct module *const list[] = { &uc_module };

struct fixture {
	struct env env;
	struct evhttp *http[2];
	struct evhttp_bound_socket *bound[2];
	uint16_t port;
	bool asked;
	unsigned n_reloads;
	const struct uc_ops *ops;
	void *self;
	/* What the servers do. */
	bool axl_denies, mixed, only_a;
	unsigned n_axl, n_logins;
	/* The last check. */
	unsigned n_done;
	enum uc_answer answer;
	char cluster[64], why[256];
};

static int64_t clock_ms(void *arg)
{
	return loop_now_ms(arg);
}

/* --- the servers --- */

#define SOAP(call, inner)                                                                  \
	"<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body><n:" call \
	" xmlns:n='http://www.cisco.com/AXL/API/12.5'><return>" inner "</return></n:" call \
	"></e:Body></e:Envelope>"
#define PROCESS_NODE(name)                                    \
	"<processNode><name>" name "</name><processNodeRole>" \
	"CUCM Voice/Video</processNodeRole></processNode>"

static void reply(struct evhttp_request *q, int status, const char *body)
{
	struct evbuffer *b = evbuffer_new();

	evbuffer_add(b, body, strlen(body));
	evhttp_send_reply(q, status, "because", b);
	evbuffer_free(b);
}

static const char *header(struct evhttp_request *q, const char *name)
{
	const char *v = evhttp_find_header(evhttp_request_get_input_headers(q), name);

	return v ? v : "";
}

static void serve_axl(struct fixture *f, struct evhttp_request *q)
{
	const char *action = header(q, "SOAPAction");
	struct evbuffer *in = evhttp_request_get_input_buffer(q);
	const char *body = (const char *)evbuffer_pullup(in, -1);
	bool is_security = body && memmem(body, evbuffer_get_length(in), "ClusterSecurityMode", 19);

	f->n_axl++;
	/* axl:pw */
	if (f->axl_denies || strcmp(header(q, "Authorization"), "Basic YXhsOnB3") != 0)
		reply(q, 401, "<html/>");
	else if (strstr(action, "getCCMVersion"))
		reply(q, 200,
		      SOAP("getCCMVersionResponse",
			   "<componentVersion><version>12.5.1</version></componentVersion>"));
	else if (strstr(action, "listProcessNode"))
		reply(q, 200,
		      f->only_a ? SOAP("listProcessNodeResponse", PROCESS_NODE(NODE_A))
				: SOAP("listProcessNodeResponse",
				       PROCESS_NODE(NODE_A) PROCESS_NODE(NODE_B)));
	else if (is_security)
		reply(q, 200,
		      f->mixed ? SOAP("executeSQLQueryResponse",
				      "<row><paramvalue>1</paramvalue></row>")
			       : SOAP("executeSQLQueryResponse",
				      "<row><paramvalue>0</paramvalue></row>"));
	else
		reply(q, 200,
		      SOAP("executeSQLQueryResponse", "<row><name>" NODE_A "</name></row>"));
}

static void on_request(struct evhttp_request *q, void *arg)
{
	const char *uri = evhttp_request_get_uri(q);
	struct fixture *f = arg;

	if (strcmp(uri, "/axl/") == 0) {
		serve_axl(f, q);
	} else if (strcmp(uri, "/cucm-uds/clusterUser?username=alice%40x") == 0) {
		reply(q, 200,
		      "<clusterUser><result found='true'/><homeCluster>" NODE_B
		      "</homeCluster></clusterUser>");
	} else if (strcmp(uri, "/cucm-uds/user/alice%40x") == 0) {
		f->n_logins++;
		/* alice@x:pw */
		reply(q, strcmp(header(q, "Authorization"), "Basic YWxpY2VAeDpwdw==") ? 401 : 200,
		      "<user/>");
	} else if (strcmp(uri, "/cucm-uds/version") == 0) {
		reply(q, 200, "<versionInformation/>");
	} else {
		reply(q, 200, "<clusterUser><result found='false'/></clusterUser>");
	}
}

static void listen_on(struct fixture *f, unsigned i)
{
	static const char *const hosts[] = { NODE_A, NODE_B };
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	f->bound[i] = evhttp_bind_socket_with_handle(f->http[i], hosts[i], f->port);
	assert_non_null(f->bound[i]);
	assert_int_equal(
		getsockname(evhttp_bound_socket_get_fd(f->bound[i]), (struct sockaddr *)&ss, &n),
		0);
	f->port = addr_from_sockaddr((struct sockaddr *)&ss).port;
}

/* --- the box --- */

static void request_reload(struct env *env)
{
	struct fixture *f = CONTAINER_OF(env, struct fixture, env);

	f->asked = true;
}

static struct conf_snapshot *parse(struct fixture *f, const char *cluster)
{
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 65536);
	buf_init(&errors, 65536);
	buf_printf(&text,
		   "[domain example.com]\nsip = uc\n[uc-cluster main]\ndomains = example.com\n"
		   "url-scheme = http\nuds-port = %u\nprobe = 1s\n%s",
		   f->port, cluster);
	snap = conf_parse(f->env.conf, "t.ini", buf_slice(&text), CONF_ROLE_C, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&errors);
	buf_fini(&text);
	return snap;
}

static void take(struct fixture *f, struct conf_snapshot *next)
{
	struct buf errors;

	buf_init(&errors, 65536);
	assert_null(conf_generated_refused(next));
	assert_int_equal(modules_reload(f->env.modules, next, &errors), 0);
	conf_swap(f->env.conf, next);
	buf_fini(&errors);
}

static void turn(struct fixture *f)
{
	struct buf errors;

	loop_once(f->env.loop, 20);
	if (!f->asked)
		return;
	f->asked = false;
	f->n_reloads++;
	buf_init(&errors, 65536);
	take(f, conf_reparse(f->env.conf, conf_current(f->env.conf), &errors));
	buf_fini(&errors);
}

#define WAIT_FOR(f, condition)                                                  \
	do {                                                                    \
		const int64_t until = loop_now_ms((f)->env.loop) + DEADLINE_MS; \
		while (!(condition) && loop_now_ms((f)->env.loop) < until)      \
			turn(f);                                                \
		assert_true(condition);                                         \
	} while (0)

static void begin(struct fixture *f, const char *cluster)
{
	unsigned i;

	memset(f, 0, sizeof(*f));
	f->env.role = CONF_ROLE_C;
	f->env.loop = loop_new();
	f->env.conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	f->env.conns = conn_table_new(100, 10, clock_ms, f->env.loop);
	f->env.trace = trace_new(64, clock_ms, f->env.loop);
	f->env.alarms = alarms_new(NULL);
	f->env.tls = tls_store_new(NULL, f->env.alarms);
	f->env.dns = dns_new(f->env.loop, NULL, f->env.alarms);
	f->env.request_reload = request_reload;
	f->env.modules = modules_new(&f->env, list, 1);
	for (i = 0; i < 2; i++) {
		f->http[i] = evhttp_new(loop_base(f->env.loop));
		evhttp_set_gencb(f->http[i], on_request, f);
		listen_on(f, i);
	}
	conf_swap(f->env.conf, parse(f, cluster));
	assert_int_equal(dns_configure(f->env.dns, conf_current(f->env.conf)), 0);
	assert_int_equal(modules_init(f->env.modules), 0);
	assert_int_equal(modules_start(f->env.modules), 0);
	f->ops = service_find(f->env.modules, UC_SERVICE).ops;
	f->self = service_find(f->env.modules, UC_SERVICE).self;
	assert_non_null(f->ops);
}

static void finish(struct fixture *f)
{
	modules_free(f->env.modules);
	evhttp_free(f->http[0]);
	evhttp_free(f->http[1]);
	loop_once(f->env.loop, 0);
	dns_free(f->env.dns);
	tls_store_free(f->env.tls);
	conn_table_free(f->env.conns);
	trace_free(f->env.trace);
	alarms_free(f->env.alarms);
	loop_free(f->env.loop);
	conf_store_free(f->env.conf);
}

static size_t n_nodes(const struct fixture *f)
{
	struct uc_node node;
	size_t n = 0;

	while (f->ops->node(f->self, n, &node))
		n++;
	return n;
}

static bool has_zone(const struct fixture *f, const char *name)
{
	return conf_get(conf_current(f->env.conf), "zone", name) != NULL;
}

static void on_done(void *arg, const struct uc_result *r)
{
	struct fixture *f = arg;

	f->n_done++;
	f->answer = r->answer;
	snprintf(f->cluster, sizeof(f->cluster), "%s", r->cluster ? r->cluster : "");
	snprintf(f->why, sizeof(f->why), "%s", r->why ? r->why : "");
}

static enum uc_answer check_password(struct fixture *f, struct slice user, const char *password)
{
	f->n_done = 0;
	assert_true(f->ops->check(f->self, SLICE("example.com"), user, slice_of(password), on_done,
				  f) != 0);
	WAIT_FOR(f, f->n_done);
	return f->answer;
}

struct wanted_alarm {
	const char *id, *subject;
	bool found;
};

static void look_at(const struct alarm_entry *e, void *arg)
{
	struct wanted_alarm *w = arg;

	if (strcmp(e->id, w->id) == 0 && strcmp(e->subject, w->subject) == 0)
		w->found = true;
}

static bool alarmed(const struct fixture *f, const char *id, const char *subject)
{
	struct wanted_alarm w = { id, subject, false };

	alarms_each(f->env.alarms, look_at, &w);
	return w.found;
}

#define AXL "discovery = axl\npublisher = " NODE_A ":%u\nusername = axl\npassword = pw\n%s"

static const char *axl_conf(const struct fixture *f, const char *more)
{
	static char text[512];

	snprintf(text, sizeof(text), AXL, f->port, more);
	return text;
}

static void begin_axl(struct fixture *f)
{
	struct conf_snapshot *next;

	/* The port is known only when the servers listen. */
	begin(f, "call-managers = " NODE_A "\nsip = no\n");
	WAIT_FOR(f, n_nodes(f) == 1);
	next = parse(f, axl_conf(f, ""));
	take(f, next);
}

static void static_servers_and_sign_in(void **state)
{
	struct fixture f;
	struct uc_node node;
	uint64_t generation;

	begin(&f, "call-managers = " NODE_A " " NODE_B "\nvoicemail = 127.0.0.3:7443\n");
	assert_true(f.ops->serves(f.self, SLICE("EXAMPLE.com")));
	assert_false(f.ops->serves(f.self, SLICE("example.org")));
	generation = f.ops->generation(f.self);
	assert_int_equal(n_nodes(&f), 0);
	WAIT_FOR(&f, has_zone(&f, "CEtcp-" NODE_A));
	assert_true(f.ops->generation(f.self) > generation);
	assert_int_equal(n_nodes(&f), 3);
	assert_true(f.ops->node(f.self, 0, &node));
	assert_string_equal(node.name, NODE_A);
	assert_string_equal(node.tcp_zone, "CEtcp-" NODE_A);
	assert_null(node.tls_zone);
	assert_int_equal(node.roles, UC_CALL_MANAGER | UC_TFTP);
	assert_true(f.ops->node(f.self, 2, &node));
	assert_int_equal(node.port, 7443);
	assert_non_null(conf_get(conf_current(f.env.conf), "search-rule", "CEtcp-" NODE_B));
	assert_non_null(
		conf_get(conf_current(f.env.conf), "search-rule", "CEtcp-" NODE_A "-example.com"));
	assert_int_equal(f.n_reloads, 1);
	assert_null(f.ops->home(f.self, SLICE("example.com"), SLICE("alice@x")));
	assert_int_equal(check_password(&f, SLICE("alice@x"), "pw"), UC_YES);
	assert_string_equal(f.cluster, "main");
	assert_string_equal(f.ops->home(f.self, SLICE("example.com"), SLICE("alice@x")), "main");
	assert_int_equal(check_password(&f, SLICE("alice@x"), "wrong"), UC_NO);
	assert_int_equal(check_password(&f, SLICE("nobody"), "pw"), UC_UNKNOWN_USER);
	f.ops->cancel(f.self, 99);
	finish(&f);
}

static void axl_discovery_and_refresh(void **state)
{
	struct fixture f;

	begin_axl(&f);
	WAIT_FOR(&f, has_zone(&f, "CEtcp-" NODE_B));
	assert_int_equal(n_nodes(&f), 2);
	assert_false(has_zone(&f, "CEtls-" NODE_A));
	assert_false(alarmed(&f, "uc-tls", "main"));
	/* Nothing changes until the next discovery, ... */
	f.only_a = true;
	f.mixed = true;
	assert_int_equal(n_nodes(&f), 2);
	uc_cluster_refresh(uc_cluster_find(f.self, "main"));
	WAIT_FOR(&f, n_nodes(&f) == 1);
	WAIT_FOR(&f, !has_zone(&f, "CEtcp-" NODE_B));
	assert_true(has_zone(&f, "CEtcp-" NODE_A));
	/* ... and a mixed cluster without a [tls] section says what is missing. */
	assert_true(alarmed(&f, "uc-tls", "main"));
	/* A refusal leaves everything as it was. */
	f.axl_denies = true;
	uc_cluster_refresh(uc_cluster_find(f.self, "main"));
	WAIT_FOR(&f, alarmed(&f, "uc-discovery", "main"));
	assert_int_equal(n_nodes(&f), 1);
	assert_int_equal(trace_count(f.env.trace, "uc.discovery.denied"), 1);
	f.axl_denies = false;
	f.mixed = false;
	uc_cluster_refresh(uc_cluster_find(f.self, "main"));
	WAIT_FOR(&f, !alarmed(&f, "uc-discovery", "main"));
	assert_false(alarmed(&f, "uc-tls", "main"));
	finish(&f);
}

static void reloads(void **state)
{
	struct fixture f;
	unsigned n;

	begin_axl(&f);
	WAIT_FOR(&f, has_zone(&f, "CEtcp-" NODE_B));
	n = f.n_axl;
	/* The same section: nobody is asked again. */
	take(&f, parse(&f, axl_conf(&f, "")));
	turn(&f);
	turn(&f);
	assert_int_equal(f.n_axl, n);
	assert_int_equal(n_nodes(&f), 2);
	/* Another one: the servers stay while it is asked. */
	take(&f, parse(&f, axl_conf(&f, "sip-port = 5070\n")));
	assert_int_equal(n_nodes(&f), 2);
	WAIT_FOR(&f, f.n_axl > n && !f.asked);
	WAIT_FOR(&f, has_zone(&f, "CEtcp-" NODE_A) &&
			     strcmp(((const struct any_conf *)conf_get(conf_current(f.env.conf),
								       "zone", "CEtcp-" NODE_A))
					    ->text[3],
				    "5070") == 0);
	/* Gone, with all that came from it. */
	{
		struct buf errors;
		struct conf_snapshot *none;

		buf_init(&errors, 65536);
		none = conf_parse(f.env.conf, "t.ini", SLICE("[domain example.com]\n"), CONF_ROLE_C,
				  &errors);
		buf_fini(&errors);
		take(&f, none);
	}
	assert_int_equal(n_nodes(&f), 0);
	WAIT_FOR(&f, !has_zone(&f, "CEtcp-" NODE_A));
	assert_false(f.ops->serves(f.self, SLICE("example.com")));
	assert_int_equal(check_password(&f, SLICE("alice@x"), "pw"), UC_UNKNOWN_USER);
	finish(&f);
}

static bool is_alive(const struct fixture *f, size_t i)
{
	struct uc_node node;

	return f->ops->node(f->self, i, &node) && node.alive;
}

static void a_node_dies_and_comes_back(void **state)
{
	struct fixture f;

	begin(&f, "call-managers = " NODE_A " " NODE_B "\n");
	WAIT_FOR(&f, n_nodes(&f) == 2 && has_zone(&f, "CEtcp-" NODE_A));
	evhttp_del_accept_socket(f.http[0], f.bound[0]);
	WAIT_FOR(&f, !is_alive(&f, 0));
	assert_true(is_alive(&f, 1));
	/* Sign-ins go on at the other one. */
	assert_int_equal(check_password(&f, SLICE("alice@x"), "pw"), UC_YES);
	WAIT_FOR(&f, alarmed(&f, "uc-node", NODE_A "/main"));
	listen_on(&f, 0);
	WAIT_FOR(&f, is_alive(&f, 0));
	assert_false(alarmed(&f, "uc-node", NODE_A "/main"));
	/* All of them: an answer that is no "no". */
	evhttp_del_accept_socket(f.http[0], f.bound[0]);
	evhttp_del_accept_socket(f.http[1], f.bound[1]);
	evhttp_free(f.http[0]);
	evhttp_free(f.http[1]);
	f.http[0] = evhttp_new(loop_base(f.env.loop));
	f.http[1] = evhttp_new(loop_base(f.env.loop));
	assert_int_equal(check_password(&f, SLICE("alice@x"), "wrong"), UC_FAILED);
	finish(&f);
}

static const char *param(const struct ctl_request *r, const char *key)
{
	return strcmp(key, "cluster") == 0 ? r->impl : NULL;
}

static void control_commands(void **state)
{
	struct ctl_request r = { .param = param };
	const char *name = NULL, *zone = NULL;
	int alive = 0;
	struct fixture f;
	json_t *out;

	begin_axl(&f);
	WAIT_FOR(&f, has_zone(&f, "CEtcp-" NODE_B));
	assert_int_equal(uc_ctl_commands[0].run(f.self, &r, &out), 200);
	assert_int_equal(
		json_unpack(
			json_array_get(
				json_object_get(json_array_get(json_object_get(out, "clusters"), 0),
						"nodes"),
				1),
			"{s:s, s:b, s:s}", "name", &name, "alive", &alive, "tcp_zone", &zone),
		0);
	assert_string_equal(name, NODE_B);
	assert_string_equal(zone, "CEtcp-" NODE_B);
	json_decref(out);
	r.impl = (void *)(uintptr_t) "nowhere";
	assert_int_equal(uc_ctl_commands[1].run(f.self, &r, &out), 404);
	json_decref(out);
	f.only_a = true;
	r.impl = (void *)(uintptr_t) "main";
	assert_int_equal(uc_ctl_commands[1].run(f.self, &r, &out), 200);
	assert_int_equal(json_integer_value(json_object_get(out, "started")), 1);
	json_decref(out);
	WAIT_FOR(&f, n_nodes(&f) == 1);
	out = modules_status(f.env.modules);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(out, "uc"), "nodes")),
			 1);
	json_decref(out);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(static_servers_and_sign_in),
		cmocka_unit_test(axl_discovery_and_refresh),
		cmocka_unit_test(reloads),
		cmocka_unit_test(a_node_dies_and_comes_back),
		cmocka_unit_test(control_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
