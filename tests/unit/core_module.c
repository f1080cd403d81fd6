#include "core/module.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "support/alloc_fail.h"

/* Each fake module writes what happens to it into one diary: "a.init a.start ...". */
struct diary {
	struct env env;
	char text[512];
	const char *fails; /* "b.start" */
	bool drained;
};

struct fake {
	struct diary *diary;
	char name;
};

static int write_down(struct diary *d, char name, const char *what)
{
	char entry[32];

	snprintf(entry, sizeof(entry), "%c.%s", name, what);
	if (d->text[0])
		strcat(d->text, " ");
	strcat(d->text, entry);
	return d->fails && strcmp(d->fails, entry) == 0 ? -EIO : 0;
}

static int fake_init(struct env *env, void **self, char name)
{
	struct diary *d = (struct diary *)env;
	struct fake *f;
	int error = write_down(d, name, "init");

	if (error)
		return error;
	f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	*f = (struct fake){ d, name };
	*self = f;
	return 0;
}

static int init_a(struct env *env, void **self)
{
	return fake_init(env, self, 'a');
}

static int init_b(struct env *env, void **self)
{
	return fake_init(env, self, 'b');
}

static int init_c(struct env *env, void **self)
{
	return fake_init(env, self, 'c');
}

static int init_bare(struct env *env, void **self)
{
	return 0;
}

static int on_start(void *self)
{
	struct fake *f = self;

	return write_down(f->diary, f->name, "start");
}

static int on_prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	struct fake *f = self;
	int error = write_down(f->diary, f->name, "prepare");

	if (error && f->name == 'a')
		buf_add_str(errors, "a: port taken\n");
	return error;
}

static void on_reload(void *self, const struct conf_snapshot *old, const struct conf_snapshot *next)
{
	struct fake *f = self;

	write_down(f->diary, f->name, "reload");
}

static void on_drain(void *self)
{
	struct fake *f = self;

	write_down(f->diary, f->name, "drain");
}

static bool on_drained(void *self)
{
	struct fake *f = self;

	return f->diary->drained;
}

static void on_stop(void *self)
{
	struct fake *f = self;

	write_down(f->diary, f->name, "stop");
}

static void on_fini(void *self)
{
	struct fake *f = self;

	write_down(f->diary, f->name, "fini");
	free(f);
}

static void on_status(void *self, json_t *out)
{
	json_object_set_new(out, "answer", json_integer(42));
}

#define FULL(letter, where)                                                                  \
	{                                                                                    \
		.name = #letter, .roles = where, .init = init_##letter, .start = on_start,   \
		.prepare = on_prepare, .reload = on_reload, .drain = on_drain,               \
		.drained = on_drained, .stop = on_stop, .fini = on_fini, .status = on_status \
	}

static const struct module module_a = FULL(a, CONF_ROLE_BOTH);
static const struct module module_b = FULL(b, CONF_ROLE_BOTH);
static const struct module module_c = FULL(c, CONF_ROLE_C);
/* Everything but init is optional. */
static const struct module module_bare = { .name = "bare",
					   .roles = CONF_ROLE_BOTH,
					   .init = init_bare };

static const struct module *const abc[] = { &module_a, &module_b, &module_c };

static void diary_init(struct diary *d, unsigned role)
{
	static const struct conf_section *const none[1];

	*d = (struct diary){ .env = { .role = role } };
	d->env.conf = conf_store_new(none, 0);
	assert_non_null(d->env.conf);
}

static void expect(struct diary *d, const char *text)
{
	assert_string_equal(d->text, text);
	d->text[0] = '\0';
}

static void a_life(void **state)
{
	struct modules *m;
	struct diary d;

	diary_init(&d, CONF_ROLE_E);
	m = modules_new(&d.env, abc, 3);
	assert_int_equal(modules_init(m), 0);
	expect(&d, "a.init b.init"); /* c is not for E */
	assert_int_equal(modules_start(m), 0);
	expect(&d, "a.start b.start");
	modules_drain(m);
	expect(&d, "b.drain a.drain");
	assert_false(modules_drained(m));
	modules_drain(m);
	expect(&d, "");
	d.drained = true;
	assert_true(modules_drained(m));
	modules_stop(m);
	expect(&d, "b.stop a.stop");
	modules_stop(m);
	expect(&d, "");
	modules_free(m);
	expect(&d, "b.fini a.fini");
	conf_store_free(d.env.conf);
}

static void freeing_stops_what_runs(void **state)
{
	struct modules *m;
	struct diary d;

	diary_init(&d, CONF_ROLE_C);
	m = modules_new(&d.env, abc, 3);
	assert_int_equal(modules_init(m), 0);
	assert_int_equal(modules_start(m), 0);
	d.text[0] = '\0';
	modules_free(m);
	expect(&d, "c.stop b.stop a.stop c.fini b.fini a.fini");
	conf_store_free(d.env.conf);
}

static void a_failed_start_stops_those_before(void **state)
{
	struct modules *m;
	struct diary d;

	diary_init(&d, CONF_ROLE_C);
	d.fails = "b.start";
	m = modules_new(&d.env, abc, 3);
	assert_int_equal(modules_init(m), 0);
	assert_int_equal(modules_start(m), -EIO);
	expect(&d, "a.init b.init c.init a.start b.start a.stop");
	modules_free(m);
	expect(&d, "c.fini b.fini a.fini");
	conf_store_free(d.env.conf);
}

static void a_failed_init_frees_those_before(void **state)
{
	struct modules *m;
	struct diary d;

	diary_init(&d, CONF_ROLE_C);
	d.fails = "b.init";
	m = modules_new(&d.env, abc, 3);
	assert_int_equal(modules_init(m), -EIO);
	modules_free(m);
	expect(&d, "a.init b.init a.fini");
	conf_store_free(d.env.conf);
}

static void a_reload_asks_all_and_then_tells_all(void **state)
{
	struct modules *m;
	struct buf errors;
	struct diary d;

	diary_init(&d, CONF_ROLE_E);
	buf_init(&errors, 1000);
	m = modules_new(&d.env, abc, 3);
	assert_int_equal(modules_init(m), 0);
	assert_int_equal(modules_start(m), 0);
	d.text[0] = '\0';
	assert_int_equal(modules_reload(m, NULL, &errors), 0);
	expect(&d, "a.prepare b.prepare a.reload b.reload");
	d.fails = "a.prepare";
	assert_int_equal(modules_reload(m, NULL, &errors), -EINVAL);
	expect(&d, "a.prepare b.prepare");
	assert_string_equal(errors.p, "a: port taken\n");
	/* One that says nothing is named at least. */
	buf_reset(&errors);
	d.fails = "b.prepare";
	assert_int_equal(modules_reload(m, NULL, &errors), -EINVAL);
	assert_string_equal(errors.p, "module b refuses this configuration\n");
	modules_free(m);
	buf_fini(&errors);
	conf_store_free(d.env.conf);
}

static void only_init_is_required(void **state)
{
	static const struct module *const list[] = { &module_bare };
	struct modules *m;
	struct buf errors;
	struct diary d;
	json_t *status;

	diary_init(&d, CONF_ROLE_E);
	buf_init(&errors, 1000);
	m = modules_new(&d.env, list, 1);
	assert_int_equal(modules_init(m), 0);
	assert_int_equal(modules_start(m), 0);
	assert_int_equal(modules_reload(m, NULL, &errors), 0);
	status = modules_status(m);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(status, "bare"), "state")),
		"running");
	json_decref(status);
	modules_drain(m);
	assert_true(modules_drained(m));
	modules_free(m);
	conf_store_free(d.env.conf);
}

static void status_of_all(void **state)
{
	struct modules *m;
	struct diary d;
	json_t *status, *a;

	diary_init(&d, CONF_ROLE_E);
	m = modules_new(&d.env, abc, 3);
	assert_int_equal(modules_init(m), 0);
	assert_int_equal(modules_start(m), 0);
	status = modules_status(m);
	assert_int_equal(json_object_size(status), 2);
	a = json_object_get(status, "a");
	assert_string_equal(json_string_value(json_object_get(a, "state")), "running");
	assert_int_equal(json_integer_value(json_object_get(a, "answer")), 42);
	json_decref(status);
	modules_drain(m);
	status = modules_status(m);
	a = json_object_get(status, "a");
	assert_string_equal(json_string_value(json_object_get(a, "state")), "draining");
	json_decref(status);
	modules_free(m);
	conf_store_free(d.env.conf);
}

static void services_are_found_by_name(void **state)
{
	static const int ops;
	struct modules *m;
	struct diary d;
	int self;
	static char names[33][16];

	diary_init(&d, CONF_ROLE_E);
	m = modules_new(&d.env, NULL, 0);
	assert_null(service_find(m, "media").ops);
	assert_int_equal(service_offer(m, "media", &ops, &self), 0);
	assert_ptr_equal(service_find(m, "media").ops, &ops);
	assert_ptr_equal(service_find(m, "media").self, &self);
	assert_int_equal(service_offer(m, "media", &ops, &self), -EEXIST);
	for (int i = 1; i < 33; i++) {
		snprintf(names[i], sizeof(names[i]), "s%d", i);
		assert_int_equal(service_offer(m, names[i], &ops, NULL), i < 32 ? 0 : -ENOSPC);
	}
	modules_free(m);
	conf_store_free(d.env.conf);
}

static void live_once(void *arg)
{
	struct diary *d = arg;
	struct modules *m = modules_new(&d->env, abc, 3);

	d->text[0] = '\0';
	if (!m)
		return;
	if (modules_init(m) == 0)
		modules_start(m);
	json_decref(modules_status(m));
	modules_free(m);
}

static void survives_failing_allocations(void **state)
{
	struct diary d;

	diary_init(&d, CONF_ROLE_C);
	alloc_fail_sweep(live_once, &d);
	conf_store_free(d.env.conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_life),
		cmocka_unit_test(freeing_stops_what_runs),
		cmocka_unit_test(a_failed_start_stops_those_before),
		cmocka_unit_test(a_failed_init_frees_those_before),
		cmocka_unit_test(a_reload_asks_all_and_then_tells_all),
		cmocka_unit_test(only_init_is_required),
		cmocka_unit_test(status_of_all),
		cmocka_unit_test(services_are_found_by_name),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
