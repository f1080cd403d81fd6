/* The module on C as others meet it: settings in, service "signin" out; passwords of [web-user]
 * sections, of an HTTP server and of service "uc"; reload, status, control command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <argon2.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <openssl/crypto.h>

#include "base/base64.h"
#include "core/alarm.h"
#include "core/conn.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "core/dns.h"
#include "core/system_conf.h"
#include "core/tls.h"
#include "core/trace.h"
#include "core/worker.h"
#include "signin/signin_conf.h"
#include "signin/signin_ctl.h"
#include "turnpike/modules.h"
#include "turnpike/route.h"
#include "turnpike/signin.h"
#include "turnpike/uc.h"

/* The route module is not linked here: its section, as far as it matters. */
static const char *const authentications[] = { "none", "uds", "basic", "users", NULL };
#define DOMAIN_ROW(k, t, member, ...)                                                    \
	{                                                                                \
		.key = (k), .type = (t), .offset = offsetof(struct domain_conf, member), \
		__VA_ARGS__                                                              \
	}
static const struct conf_row domain_rows[] = {
	DOMAIN_ROW("sip", CONF_STRING, sip, .def = "none"),
	DOMAIN_ROW("im", CONF_BOOL, im, .def = "no"),
	DOMAIN_ROW("web", CONF_BOOL, web, .def = "yes"),
	DOMAIN_ROW("authentication", CONF_ENUM, authentication, .def = "none",
		   .names = authentications),
	DOMAIN_ROW("authentication-url", CONF_STRING, authentication_url),
	DOMAIN_ROW("authentication-tls", CONF_STRING, authentication_tls),
	DOMAIN_ROW("sip-signin", CONF_BOOL, sip_signin, .def = "no"),
};
static const struct conf_section domain_section = { .type = "domain",
						    .repeatable = true,
						    .roles = CONF_ROLE_BOTH,
						    .size = sizeof(struct domain_conf),
						    .rows = domain_rows,
						    .n_rows = 7 };
static const struct conf_section *const schema[] = { &system_conf_section, &domain_section,
						     &dns_conf_section,	   &tls_conf_section,
						     &signin_conf_section, &web_user_conf_section,
						     &admin_conf_section };

struct uc_call {
	uc_done done;
	void *arg;
	enum uc_answer answer;
	struct timer timer;
};

struct rig {
	struct env env;
	struct service signin;
	struct evhttp *http;
	uint16_t port;
	int http_status; /* 0: by the credentials */
	int n_http;
	struct uc_call uc;
	int n_results;
	enum signin_status status;
	struct signin_session session;
	char why[200];
	char hash[2][256];
};

static int64_t rig_now(void *arg)
{
	struct rig *r = arg;

	return loop_now_ms(r->env.loop);
}

/* --- who knows the passwords --- */

static void on_http(struct evhttp_request *req, void *arg)
{
	struct rig *r = arg;
	const char *auth =
		evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization");
	bool good = auth && strcmp(auth, "Basic YWxpY2U6c2VjcmV0") == 0;

	r->n_http++;
	evhttp_send_reply(req, r->http_status ? r->http_status : good ? 200 : 401, NULL, NULL);
}

static void uc_fire(void *arg)
{
	struct uc_call *c = arg;

	c->done(c->arg, &(struct uc_result){ .answer = c->answer, .why = "scripted" });
}

static uint64_t uc_check(void *self, struct slice domain, struct slice user, struct slice password,
			 uc_done done, void *arg)
{
	struct rig *r = self;

	r->uc.done = done;
	r->uc.arg = arg;
	r->uc.answer = slice_eq(user, SLICE("nobody"))	     ? UC_UNKNOWN_USER
		       : slice_eq(user, SLICE("broken"))     ? UC_FAILED
		       : slice_eq(password, SLICE("secret")) ? UC_YES
							     : UC_NO;
	timer_init(&r->uc.timer, uc_fire, &r->uc);
	timer_start(loop_timers(r->env.loop), &r->uc.timer, 1);
	return 7;
}

static void uc_cancel(void *self, uint64_t id)
{
	struct rig *r = self;

	timer_stop(loop_timers(r->env.loop), &r->uc.timer);
}

static const struct uc_ops uc = { .check = uc_check, .cancel = uc_cancel };

/* --- the rig --- */

static struct conf_snapshot *parse(struct rig *r, const char *text, struct buf *errors)
{
	return conf_parse(r->env.conf, "t.ini", slice_of(text), 0, errors);
}

static struct conf_snapshot *conf_of(struct rig *r, const char *hash, const char *more)
{
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 8192);
	buf_init(&errors, 8192);
	buf_printf(&text,
		   "[system]\nrole = C\nname = core1.example.com\n"
		   "[domain users.example]\nauthentication = users\n"
		   "[domain uds.example]\nauthentication = uds\n"
		   "[domain basic.example]\nauthentication = basic\n"
		   "authentication-url = http://127.0.0.1:%u/check\n"
		   "[domain none.example]\n%s",
		   r->port, more);
	if (hash)
		buf_printf(&text, "[web-user alice@users.example]\npassword-hash = %s\n", hash);
	snap = parse(r, text.p, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&text);
	buf_fini(&errors);
	return snap;
}

static void hash_of(const char *password, char out[256])
{
	assert_int_equal(argon2id_hash_encoded(1, 64, 1, password, strlen(password), "somesalt", 8,
					       32, out, 256),
			 ARGON2_OK);
}

static struct rig *rig_new(const char *more)
{
	static const struct module *const list[] = { &signin_module };
	struct rig *r = calloc(1, sizeof(*r));
	struct evhttp_bound_socket *bound;
	struct sockaddr_in sin;
	socklen_t n = sizeof(sin);

	hash_of("secret", r->hash[0]);
	hash_of("changed", r->hash[1]);
	r->env.role = CONF_ROLE_C;
	r->env.loop = loop_new();
	r->http = evhttp_new(loop_base(r->env.loop));
	bound = evhttp_bind_socket_with_handle(r->http, "127.0.0.1", 0);
	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&sin, &n);
	r->port = ntohs(sin.sin_port);
	evhttp_set_gencb(r->http, on_http, r);
	r->env.conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	r->env.conns = conn_table_new(100, 100, rig_now, r);
	r->env.trace = trace_new(64, rig_now, r);
	r->env.alarms = alarms_new(NULL);
	r->env.dns = dns_new(r->env.loop, NULL, r->env.alarms);
	r->env.workers = worker_pool_new(r->env.loop, 2, 16);
	conf_swap(r->env.conf, conf_of(r, r->hash[0], more));
	r->env.modules = modules_new(&r->env, list, 1);
	assert_int_equal(service_offer(r->env.modules, UC_SERVICE, &uc, r), 0);
	assert_int_equal(modules_init(r->env.modules), 0);
	assert_int_equal(modules_start(r->env.modules), 0);
	r->signin = service_find(r->env.modules, SIGNIN_SERVICE);
	assert_non_null(r->signin.ops);
	return r;
}

static void rig_free(struct rig *r)
{
	modules_free(r->env.modules);
	worker_pool_free(r->env.workers);
	evhttp_free(r->http);
	dns_free(r->env.dns);
	conn_table_free(r->env.conns);
	trace_free(r->env.trace);
	alarms_free(r->env.alarms);
	conf_store_free(r->env.conf);
	loop_free(r->env.loop);
	free(r);
}

static void on_done(void *arg, const struct signin_result *result)
{
	struct rig *r = arg;

	r->n_results++;
	r->status = result->status;
	snprintf(r->why, sizeof(r->why), "%s", result->why ? result->why : "");
	if (result->session)
		r->session = *result->session;
}

static enum signin_status sign_in(struct rig *r, const char *domain, const char *pair,
				  const char *from)
{
	const struct signin_ops *ops = r->signin.ops;
	time_t deadline = time(NULL) + 30;
	int before = r->n_results;
	struct addr a;
	struct buf b;

	assert_true(addr_parse_ip(slice_of(from), 0, &a));
	buf_init(&b, 1000);
	buf_add_str(&b, "Basic ");
	base64_encode(&b, pair, strlen(pair));
	assert_true(ops->sign_in(r->signin.self, slice_of(domain), buf_slice(&b), &a, on_done, r));
	buf_fini(&b);
	while (r->n_results == before && time(NULL) < deadline)
		loop_once(r->env.loop, 50);
	assert_int_equal(r->n_results, before + 1);
	return r->status;
}

#define HOME "192.0.2.1"

static void test_users(void **state)
{
	struct rig *r = rig_new("");
	char why[200];

	assert_int_equal(sign_in(r, "users.example", "alice:secret", HOME), SIGNIN_OK);
	assert_string_equal(r->session.user, "alice");
	assert_int_equal(sign_in(r, "users.example", "alice:wrong", HOME), SIGNIN_DENIED);
	strcpy(why, r->why);
	assert_int_equal(sign_in(r, "users.example", "nobody:wrong", HOME), SIGNIN_DENIED);
	assert_string_equal(r->why, why);
	/* The password of the hash that is verified for unknown users opens nothing. */
	assert_int_equal(sign_in(r, "users.example", "nobody:secret", HOME), SIGNIN_DENIED);
	assert_int_equal(sign_in(r, "none.example", "alice:secret", HOME), SIGNIN_UNAVAILABLE);
	assert_int_equal(sign_in(r, "other.example", "alice:secret", HOME), SIGNIN_NO_DOMAIN);
	rig_free(r);
}

static void test_basic(void **state)
{
	struct rig *r = rig_new("");

	assert_int_equal(sign_in(r, "basic.example", "alice:secret", HOME), SIGNIN_OK);
	assert_int_equal(sign_in(r, "basic.example", "alice:wrong", HOME), SIGNIN_DENIED);
	assert_int_equal(r->n_http, 2);
	r->http_status = 500;
	assert_int_equal(sign_in(r, "basic.example", "bob:x", HOME), SIGNIN_UNAVAILABLE);
	r->http_status = 302;
	assert_int_equal(sign_in(r, "basic.example", "bob:x", HOME), SIGNIN_UNAVAILABLE);
	assert_int_equal(sign_in(r, "basic.example", "alice:secret", HOME), SIGNIN_OK);
	r->http_status = 403;
	assert_int_equal(sign_in(r, "basic.example", "bob:x", HOME), SIGNIN_DENIED);
	assert_int_equal(r->n_http, 5);
	rig_free(r);
}

static void test_uds(void **state)
{
	struct rig *r = rig_new("");

	assert_int_equal(sign_in(r, "uds.example", "alice:secret", HOME), SIGNIN_OK);
	assert_int_equal(sign_in(r, "uds.example", "alice:wrong", HOME), SIGNIN_DENIED);
	assert_int_equal(sign_in(r, "uds.example", "nobody:wrong", HOME), SIGNIN_DENIED);
	assert_int_equal(sign_in(r, "uds.example", "broken:secret", HOME), SIGNIN_UNAVAILABLE);
	rig_free(r);
}

static const char *no_param(const struct ctl_request *r, const char *key)
{
	return NULL;
}

static json_t *sessions_of(struct rig *r)
{
	const struct ctl_request req = { .param = no_param };
	json_t *out = NULL;

	/* the state of both sides begins with the same struct */
	assert_int_equal(signin_ctl_commands[0].run(r->signin.self, &req, &out), 200);
	return out;
}

static void reload(struct rig *r, const char *hash, const char *more)
{
	struct conf_snapshot *next = conf_of(r, hash, more);
	struct buf errors;

	buf_init(&errors, 1000);
	assert_int_equal(modules_reload(r->env.modules, next, &errors), 0);
	conf_swap(r->env.conf, next);
	buf_fini(&errors);
}

static void test_reload(void **state)
{
	struct rig *r = rig_new("");
	const struct signin_ops *ops = r->signin.ops;
	json_t *out, *status;

	assert_int_equal(sign_in(r, "users.example", "alice:secret", HOME), SIGNIN_OK);
	reload(r, r->hash[0], "[signin]\nrate = 5\n");
	assert_non_null(ops->by_token(r->signin.self, slice_of(r->session.token)));
	out = sessions_of(r);
	assert_int_equal(json_array_size(json_object_get(out, "sessions")), 1);
	assert_int_equal(json_array_size(json_object_get(out, "ended")), 0);
	json_decref(out);
	/* another password: her session ends, the old one is not good out of the cache either */
	reload(r, r->hash[1], "");
	assert_null(ops->by_token(r->signin.self, slice_of(r->session.token)));
	assert_int_equal(sign_in(r, "users.example", "alice:secret", HOME), SIGNIN_DENIED);
	assert_int_equal(sign_in(r, "users.example", "alice:changed", HOME), SIGNIN_OK);
	reload(r, NULL, "");
	assert_int_equal(sign_in(r, "users.example", "alice:changed", "192.0.2.2"), SIGNIN_DENIED);
	out = sessions_of(r);
	assert_int_equal(json_array_size(json_object_get(out, "sessions")), 0);
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(out, "ended"), 0), "reason")),
			    "the user was removed");
	json_decref(out);
	status = modules_status(r->env.modules);
	assert_non_null(json_object_get(json_object_get(status, "signin"), "cache_hits"));
	json_decref(status);
	rig_free(r);
}

static void test_conf_errors(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "[web-user alice]\npassword-hash = HASH\n", "USER@DOMAIN" },
		{ "[web-user alice@Users.example]\npassword-hash = HASH\n", "lower case" },
		{ "[web-user alice@other.example]\npassword-hash = HASH\n",
		  "there is no [domain other.example]" },
		{ "[web-user alice@uds.example]\npassword-hash = HASH\n",
		  "does not have authentication = users" },
		{ "[web-user alice@users.example]\npassword-hash = hunter2\n",
		  "not an argon2id hash" },
		{ "[web-user alice@users.example]\n", "password-hash" },
		{ "[admin a@b]\npassword-hash = x\n", "without @ and colon" },
		{ "[admin bob]\npassword-hash = secret\n", "not an argon2id hash" },
		{ "[signin]\nmax-checks = 0\n", "max-checks" },
		{ "[signin]\ncache-cleanup = 0\n", "cache-cleanup" },
	};
	struct rig *r = rig_new("");
	struct buf errors, text;

	buf_init(&errors, 8192);
	buf_init(&text, 8192);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *mark = strstr(rows[i].text, "HASH");

		buf_reset(&errors);
		buf_reset(&text);
		buf_add_str(&text, "[system]\nrole = C\nname = c\n"
				   "[domain users.example]\nauthentication = users\n"
				   "[domain uds.example]\nauthentication = uds\n");
		buf_printf(&text, "%.*s%s%s", mark ? (int)(mark - rows[i].text) : 1000,
			   rows[i].text, mark ? r->hash[0] : "", mark ? mark + 4 : "");
		assert_null(parse(r, text.p, &errors));
		if (!strstr(errors.p, rows[i].error) || strstr(errors.p, "hunter2") ||
		    strstr(errors.p, r->hash[0]))
			fail_msg("row %zu: %s", i, errors.p);
	}
	/* nor does the dump print it */
	buf_reset(&text);
	conf_dump(conf_current(r->env.conf), &text);
	assert_non_null(strstr(text.p, "password-hash = <secret>"));
	assert_null(strstr(text.p, "argon2id"));
	buf_fini(&errors);
	buf_fini(&text);
	rig_free(r);
}

/* --- A05: nothing of a password is left when the check is over --- */

enum { NEEDLE = 20 };

/* Masked, so that the needle itself is not found. */
static bool found_in(const char *p, size_t n, const unsigned char masked[NEEDLE])
{
	for (size_t i = 0; i + NEEDLE <= n; i++) {
		size_t k = 0;

		while (k < NEEDLE && (unsigned char)p[i + k] == (masked[k] ^ 0x55))
			k++;
		if (k == NEEDLE)
			return true;
	}
	return false;
}

/* In any writable memory of this process, freed memory that ASan keeps included; not in the scan's
 * own buffer. */
static bool is_in_memory(const unsigned char masked[NEEDLE])
{
	FILE *maps = fopen("/proc/self/maps", "r"), *mem = fopen("/proc/self/mem", "r");
	size_t max = 64 * 1024 * 1024;
	unsigned long from, to;
	char *room = malloc(max);
	char line[512], mode[8];
	bool found = false;

	assert_true(maps && mem && room);
	setvbuf(mem, NULL, _IONBF, 0);
	while (!found && fgets(line, sizeof(line), maps)) {
		size_t n;

		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w' ||
		    to - from > max || ((unsigned long)room >= from && (unsigned long)room < to))
			continue;
		n = fseek(mem, (long)from, SEEK_SET) == 0 ? fread(room, 1, to - from, mem) : 0;
		found = found_in(room, n, masked);
		memset(room, 0, n);
	}
	free(room);
	fclose(maps);
	fclose(mem);
	return found;
}

/* The password exists in the caller's text only while it is handed over. */
static void ask_with_secret(struct rig *r, const char *domain, const unsigned char masked[NEEDLE])
{
	char pair[8 + NEEDLE];

	memcpy(pair, "zoe:", 4);
	for (size_t i = 0; i < NEEDLE; i++)
		pair[4 + i] = (char)(masked[i] ^ 0x55);
	pair[4 + NEEDLE] = '\0';
	assert_int_equal(sign_in(r, domain, pair, HOME), SIGNIN_DENIED);
	OPENSSL_cleanse(pair, sizeof(pair));
}

static void test_no_password_left(void **state)
{
	static const char *const domains[] = { "users.example", "uds.example" };
	struct rig *r = rig_new("");
	unsigned char masked[NEEDLE];
	char *planted = malloc(NEEDLE);

	for (size_t d = 0; d < 2; d++) {
		net_random(masked, NEEDLE);
		for (size_t i = 0; i < NEEDLE; i++)
			masked[i] = (unsigned char)(('a' + masked[i] % 26) ^ 0x55);
		ask_with_secret(r, domains[d], masked);
		if (is_in_memory(masked))
			fail_msg("the password is in memory after %s", domains[d]);
	}
	for (size_t i = 0; i < NEEDLE; i++)
		planted[i] = (char)(masked[i] ^ 0x55);
	assert_true(is_in_memory(masked)); /* the search finds what is there */
	free(planted);
	rig_free(r);
}

/* Stopping while passwords are checked. */
static void test_stop(void **state)
{
	struct rig *r = rig_new("");
	const struct signin_ops *ops = r->signin.ops;
	struct addr a = { .family = ADDR_IP4 };

	assert_true(ops->sign_in(r->signin.self, SLICE("users.example"),
				 SLICE("Basic YWxpY2U6c2VjcmV0"), &a, on_done, r));
	assert_true(ops->sign_in(r->signin.self, SLICE("basic.example"),
				 SLICE("Basic YWxpY2U6c2VjcmV0"), &a, on_done, r));
	assert_true(ops->sign_in(r->signin.self, SLICE("uds.example"),
				 SLICE("Basic YWxpY2U6c2VjcmV0"), &a, on_done, r));
	modules_stop(r->env.modules);
	loop_once(r->env.loop, 0);
	assert_int_equal(r->n_results, 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_basic),
		cmocka_unit_test(test_uds),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_conf_errors),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_no_password_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
