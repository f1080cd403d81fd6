/* Administrators as others meet them: [admin NAME] in, op `admin` of service "signin" out, on both
 * boxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <argon2.h>

#include "base/base64.h"
#include "core/conn.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "core/worker.h"
#include "signin/admins.h"
#include "signin/signin_conf.h"
#include "turnpike/modules.h"
#include "turnpike/signin.h"

static const struct conf_section *const schema[] = { &system_conf_section, &signin_conf_section,
						     &web_user_conf_section, &admin_conf_section };

struct rig {
	struct env env;
	struct service signin;
	char secret[256], changed[256];
	int n_results;
	enum signin_status status;
	char name[200], why[200];
	uint32_t retry_s;
};

static int64_t rig_now(void *arg)
{
	struct rig *r = arg;

	return loop_now_ms(r->env.loop);
}

static void hash_of(const char *password, char out[256])
{
	assert_int_equal(argon2id_hash_encoded(1, 64, 1, password, strlen(password), "somesalt", 8,
					       32, out, 256),
			 ARGON2_OK);
}

static struct conf_snapshot *conf_of(struct rig *r, const char *hash, const char *more)
{
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 8192);
	buf_init(&errors, 8192);
	buf_printf(&text, "[system]\nrole = %s\nname = box1.example.com\n%s",
		   r->env.role == CONF_ROLE_C ? "C" : "E", more);
	if (hash)
		buf_printf(&text, "[admin ops]\npassword-hash = %s\n", hash);
	snap = conf_parse(r->env.conf, "t.ini", slice_of(text.p), 0, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&text);
	buf_fini(&errors);
	return snap;
}

static struct rig *rig_new(unsigned role, bool has_admin, const char *more)
{
	static const struct module *const list[] = { &signin_module };
	struct rig *r = calloc(1, sizeof(*r));

	hash_of("secret", r->secret);
	hash_of("changed", r->changed);
	r->env.role = role;
	r->env.loop = loop_new();
	r->env.conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	r->env.conns = conn_table_new(100, 100, rig_now, r);
	r->env.trace = trace_new(64, rig_now, r);
	r->env.workers = worker_pool_new(r->env.loop, 2, 16);
	conf_swap(r->env.conf, conf_of(r, has_admin ? r->secret : NULL, more));
	r->env.modules = modules_new(&r->env, list, 1);
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
	conn_table_free(r->env.conns);
	trace_free(r->env.trace);
	conf_store_free(r->env.conf);
	loop_free(r->env.loop);
	free(r);
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

static void on_done(void *arg, enum signin_status status, const char *name, uint32_t retry_after_s,
		    const char *why)
{
	struct rig *r = arg;

	r->n_results++;
	r->status = status;
	r->retry_s = retry_after_s;
	snprintf(r->name, sizeof(r->name), "%s", name);
	snprintf(r->why, sizeof(r->why), "%s", why ? why : "");
}

static uint64_t begin(struct rig *r, const char *authorization, const char *from)
{
	const struct signin_ops *ops = r->signin.ops;
	struct addr a;

	assert_true(addr_parse_ip(slice_of(from), 4711, &a));
	return ops->admin(r->signin.self, slice_of(authorization), &a, on_done, r);
}

static enum signin_status finish(struct rig *r, uint64_t id, int before)
{
	time_t deadline = time(NULL) + 30;

	assert_true(id != 0);
	assert_int_equal(r->n_results, before); /* never before it returns */
	while (r->n_results == before && time(NULL) < deadline)
		loop_once(r->env.loop, 50);
	assert_int_equal(r->n_results, before + 1);
	return r->status;
}

static const char *basic(const char *pair)
{
	static char text[512];
	struct buf b;

	buf_init(&b, 1000);
	buf_add_str(&b, "Basic ");
	base64_encode(&b, pair, strlen(pair));
	snprintf(text, sizeof(text), "%.*s", (int)b.n, b.p);
	buf_fini(&b);
	return text;
}

static enum signin_status ask(struct rig *r, const char *pair, const char *from)
{
	int before = r->n_results;

	return finish(r, begin(r, basic(pair), from), before);
}

#define HOME "192.0.2.1"

static void right_and_wrong(struct rig *r)
{
	char why[200];

	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_OK);
	assert_string_equal(r->name, "ops");
	assert_int_equal(ask(r, "ops:wrong", HOME), SIGNIN_DENIED);
	strcpy(why, r->why);
	/* An unknown name looks the same, though the hash of another is verified. */
	assert_int_equal(ask(r, "nobody:secret", HOME), SIGNIN_DENIED);
	assert_string_equal(r->why, why);
	assert_int_equal(ask(r, "OPS:secret", HOME), SIGNIN_DENIED);
	assert_int_equal(ask(r, "ops@example.com:secret", HOME), SIGNIN_DENIED);
	assert_string_equal(r->why, why);
	assert_int_equal(ask(r, "ops:", HOME), SIGNIN_DENIED);
	assert_true(trace_count(r->env.trace, "signin.admin.denied") >= 5);
	assert_int_equal(finish(r, begin(r, "Bearer abc", HOME), r->n_results), SIGNIN_BAD_REQUEST);
	assert_int_equal(finish(r, begin(r, "Basic !!!", HOME), r->n_results), SIGNIN_BAD_REQUEST);
	assert_int_equal(finish(r, begin(r, "", HOME), r->n_results), SIGNIN_BAD_REQUEST);
}

static void on_c(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "");

	right_and_wrong(r);
	rig_free(r);
}

static void on_e(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_E, true, "");

	right_and_wrong(r);
	rig_free(r);
}

static void without_administrators(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, false, "");

	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_DENIED);
	/* Nor does the built-in hash, which is verified instead, open anything. */
	assert_int_equal(ask(r, "ops:x", HOME), SIGNIN_DENIED);
	rig_free(r);
}

/* A no comes at a multiple of half a second, whoever was asked for. */
static void same_time_for_all(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "");
	static const char *const pairs[] = { "ops:wrong", "nobody:wrong" };

	for (size_t i = 0; i < 2; i++) {
		int64_t since = loop_now_ms(r->env.loop);

		assert_int_equal(ask(r, pairs[i], HOME), SIGNIN_DENIED);
		assert_true(loop_now_ms(r->env.loop) - since >= AUTH_DENIAL_STEP_MS - 1);
	}
	rig_free(r);
}

static uint64_t n_with_why(struct rig *r, const char *key)
{
	json_t *status = modules_status(r->env.modules);
	json_t *admins = json_object_get(json_object_get(status, "signin"), "admins");
	json_int_t n = json_integer_value(json_object_get(admins, key));

	assert_non_null(admins);
	json_decref(status);
	return (uint64_t)n;
}

static void kept_for_a_minute(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "");

	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_OK);
	assert_string_equal(r->why, "the password is right");
	for (int i = 0; i < 100; i++)
		assert_int_equal(ask(r, "ops:secret", "192.0.2.7"), SIGNIN_OK);
	assert_string_equal(r->why, "the password was right lately");
	assert_int_equal(n_with_why(r, "ok"), 101);
	timerq_run(loop_timers(r->env.loop), loop_now_ms(r->env.loop) + ADMIN_CACHE_MS + 1);
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_OK);
	assert_string_equal(r->why, "the password is right");
	rig_free(r);
}

static void reload_forgets(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "");
	uint64_t id;

	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_OK);
	reload(r, r->changed, "");
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_DENIED);
	assert_int_equal(ask(r, "ops:changed", HOME), SIGNIN_OK);
	reload(r, NULL, "");
	assert_int_equal(ask(r, "ops:changed", HOME), SIGNIN_DENIED);
	/* A check that runs during the reload is not kept either. */
	reload(r, r->secret, "");
	id = begin(r, basic("ops:secret"), HOME);
	reload(r, r->changed, "");
	finish(r, id, r->n_results);
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_DENIED);
	rig_free(r);
}

static void guessing_by_name(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "[signin]\nuser-failures = 2\n");

	/* From many places: who knows the password is let in only while it is kept. */
	assert_int_equal(ask(r, "ops:1", "192.0.2.11"), SIGNIN_DENIED);
	assert_int_equal(ask(r, "ops:2", "192.0.2.12"), SIGNIN_DENIED);
	assert_int_equal(ask(r, "ops:3", "192.0.2.13"), SIGNIN_TOO_MANY);
	assert_true(r->retry_s > 0);
	assert_int_equal(ask(r, "Ops:3", "192.0.2.14"), SIGNIN_TOO_MANY); /* spelling is no way */
	assert_int_equal(trace_count(r->env.trace, "signin.admin.too-many"), 2);
	rig_free(r);
}

/* Strangers use up the tries of a name: the program that has signed in all day goes on, where it
 * is, and only with the right password. */
static void a_known_program_is_not_locked_out(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "[signin]\nuser-failures = 2\n");

	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_OK);
	assert_int_equal(ask(r, "ops:1", "192.0.2.11"), SIGNIN_DENIED);
	assert_int_equal(ask(r, "ops:2", "192.0.2.12"), SIGNIN_DENIED);
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_OK);
	timerq_run(loop_timers(r->env.loop), loop_now_ms(r->env.loop) + ADMIN_CACHE_MS + 1);
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_OK);
	assert_string_equal(r->why, "the password is right");
	/* Elsewhere what is cached for HOME is worth nothing, or guesses could be compared with it.
	 */
	assert_int_equal(ask(r, "ops:secret", "192.0.2.13"), SIGNIN_TOO_MANY);
	assert_int_equal(ask(r, "ops:3", HOME), SIGNIN_TOO_MANY);
	/* Another password: nothing is known any more. */
	reload(r, r->changed, "[signin]\nuser-failures = 2\n");
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_TOO_MANY);
	rig_free(r);
}

/* While a name is locked each try of a source still slows that source down. */
static void guesses_at_a_locked_name_are_slowed_down(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "[signin]\nuser-failures = 2\n");

	assert_int_equal(ask(r, "ops:1", "192.0.2.11"), SIGNIN_DENIED);
	assert_int_equal(ask(r, "ops:2", "192.0.2.12"), SIGNIN_DENIED);
	for (int i = 0; i < RATE_FREE_TRIES; i++) {
		assert_int_equal(ask(r, "ops:3", "192.0.2.13"), SIGNIN_TOO_MANY);
		assert_string_equal(r->why, "too many wrong passwords for this user");
	}
	assert_int_equal(ask(r, "ops:3", "192.0.2.13"), SIGNIN_TOO_MANY);
	assert_string_equal(r->why, "too many wrong passwords for this user from this source");
	rig_free(r);
}

static void guessing_by_source(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "[signin]\nsource-failures = 2\n");

	assert_int_equal(ask(r, "a:1", HOME), SIGNIN_DENIED);
	assert_int_equal(ask(r, "b:1", HOME), SIGNIN_DENIED);
	assert_int_equal(ask(r, "c:1", HOME), SIGNIN_TOO_MANY);
	assert_true(r->retry_s > 0 && r->retry_s <= 300);
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_TOO_MANY);
	assert_int_equal(ask(r, "ops:secret", "192.0.2.2"), SIGNIN_OK);
	rig_free(r);
}

/* Asking many times at once buys no more tries than one after the other. */
static void guessing_at_once(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "[signin]\nsource-failures = 5\n");
	int n = 0;

	for (int i = 0; i < 20; i++) {
		char pair[32];

		snprintf(pair, sizeof(pair), "user%d:guess", i);
		if (begin(r, basic(pair), HOME))
			n++;
	}
	assert_int_equal(n, 20);
	for (int i = 0; i < 1000 && r->n_results < 20; i++)
		loop_once(r->env.loop, 50);
	assert_int_equal(n_with_why(r, "denied"), 5);
	assert_int_equal(n_with_why(r, "too-many"), 15);
	rig_free(r);
}

static void cancelled(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "[signin]\nsource-failures = 2\n");
	const struct signin_ops *ops = r->signin.ops;
	uint64_t id = begin(r, basic("ops:secret"), HOME);

	assert_true(signin_admins_is_id(id));
	ops->cancel(r->signin.self, id);
	ops->cancel(r->signin.self, id);
	for (int i = 0; i < 20; i++)
		loop_once(r->env.loop, 20);
	assert_int_equal(r->n_results, 0);
	/* Hanging up is no way around a limit. */
	ops->cancel(r->signin.self, begin(r, basic("x:guess"), HOME));
	assert_int_equal(ask(r, "ops:secret", HOME), SIGNIN_TOO_MANY);
	/* The module stops while one runs. */
	assert_true(begin(r, basic("ops:wrong"), "192.0.2.2") != 0);
	rig_free(r);
}

static void no_password_is_printed(void **state)
{
	struct rig *r = rig_new(CONF_ROLE_C, true, "");
	struct buf dump;

	buf_init(&dump, 1 << 20);
	conf_dump(conf_current(r->env.conf), &dump);
	buf_add(&dump, "", 1);
	assert_non_null(strstr(dump.p, "[admin ops]"));
	assert_null(strstr(dump.p, "argon2id$v="));
	buf_fini(&dump);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_c),
		cmocka_unit_test(on_e),
		cmocka_unit_test(without_administrators),
		cmocka_unit_test(same_time_for_all),
		cmocka_unit_test(kept_for_a_minute),
		cmocka_unit_test(reload_forgets),
		cmocka_unit_test(guessing_by_name),
		cmocka_unit_test(a_known_program_is_not_locked_out),
		cmocka_unit_test(guesses_at_a_locked_name_are_slowed_down),
		cmocka_unit_test(guessing_by_source),
		cmocka_unit_test(guessing_at_once),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(no_password_is_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
