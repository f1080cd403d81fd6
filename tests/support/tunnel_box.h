#ifndef TESTS_SUPPORT_TUNNEL_BOX_H
#define TESTS_SUPPORT_TUNNEL_BOX_H
/*
 * For tests of the tunnel over real loopback sockets: an E and a C, each with the module and all
 * that it needs, share one loop in one process. Nothing sleeps: UNTIL turns the loop until
 * something is so.
 */
#include <libssh/libssh.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/conf_store.h"
#include "core/conn.h"
#include "core/ctl.h"
#include "core/dns.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "tunnel/keys.h"
#include "tunnel/tunnel_conf.h"
#include "turnpike/modules.h"
#include "turnpike/tunnel.h"
#include "support/free_port.h"

static const struct conf_section *const tunnel_schema[] = { &system_conf_section, &dns_conf_section,
							    &tunnel_conf_section,
							    &tunnel_peer_conf_section };
static const struct module *const tunnel_list[] = { &tunnel_module };

struct key_file {
	char path[64];
	char fingerprint[KEYS_TEXT_BYTES];
};

struct box {
	struct env env;
	const char *name;
	const struct tunnel_ops *ops;
	void *self;
	bool running;
	/* A table "state" with n items goes out; what the other box put comes in. */
	unsigned n_items;
	unsigned n_got, n_synced, n_resets, n_ups, n_downs;
	char last_key[32];
	/* Streams that were accepted (C). */
	void (*on_stream)(struct box *b, struct stream *s);
	void *app;
};

struct fixture {
	char dir[32];
	struct loop *loop;
	FILE *sink;
	struct log *log;
	struct conf_store *conf;
	struct key_file e_key, c_key, other_key;
	uint16_t port;
	struct box e, c, other;
};

static inline int64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define UNTIL_MS(what, ms)                                   \
	do {                                                 \
		int64_t end_ms = wall_ms() + (ms);           \
		bool so = false;                             \
		while (!(so = (what)) && wall_ms() < end_ms) \
			loop_once(fx->loop, 5);              \
		if (!so)                                     \
			fail_msg("never so: %s", #what);     \
	} while (0)
#define UNTIL(what) UNTIL_MS(what, 30000)

static inline int64_t box_clock(void *arg)
{
	return loop_now_ms(arg);
}

static inline void make_key(struct fixture *fx, const char *name, struct key_file *out)
{
	uint8_t hash[KEYS_HASH_BYTES];
	ssh_key key = NULL;

	snprintf(out->path, sizeof(out->path), "%s/%s", fx->dir, name);
	assert_int_equal(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key), SSH_OK);
	assert_int_equal(ssh_pki_export_privkey_file(key, NULL, NULL, NULL, out->path), SSH_OK);
	assert_int_equal(chmod(out->path, 0600), 0);
	assert_int_equal(keys_hash(key, hash), 0);
	keys_fingerprint(hash, out->fingerprint);
	ssh_key_free(key);
}

/* --- the table "state" --- */

static inline void table_each(void *arg, tunnel_peer to,
			      void (*put)(void *ctx, const char *key, const json_t *item),
			      void *ctx)
{
	struct box *b = arg;

	for (unsigned i = 0; i < b->n_items; i++) {
		json_t *item = json_pack("{s:i, s:s}", "n", i, "of", b->name);
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		put(ctx, key, item);
		json_decref(item);
	}
}

static inline void table_reset(void *arg, tunnel_peer from)
{
	struct box *b = arg;

	b->n_resets++;
	b->n_got = 0;
}

static inline void table_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct box *b = arg;

	b->n_got++;
	snprintf(b->last_key, sizeof(b->last_key), "%s", key);
	assert_true(json_is_integer(json_object_get(item, "n")));
}

static inline void table_del(void *arg, tunnel_peer from, const char *key)
{
	struct box *b = arg;

	b->n_got--;
}

static inline void table_synced(void *arg, tunnel_peer from)
{
	struct box *b = arg;

	b->n_synced++;
}

static inline void table_state(void *arg, tunnel_peer from, bool up)
{
	struct box *b = arg;

	if (up)
		b->n_ups++;
	else
		b->n_downs++;
}

static const struct tunnel_source table_source = { table_each };
static const struct tunnel_sink table_sink = { table_reset, table_put, table_del, table_synced,
					       table_state };

static inline void serve_echo(void *arg, struct tunnel_call *call, tunnel_peer from,
			      const json_t *params)
{
	struct box *b = arg;

	b->ops->reply(b->self, call, 0, params);
}

static inline void box_accepted(void *arg, tunnel_peer from, struct stream *s)
{
	struct box *b = arg;

	b->on_stream(b, s);
}

/* --- boxes --- */

static inline struct conf_snapshot *box_parse(struct fixture *fx, unsigned role, const char *text)
{
	struct conf_snapshot *snap;
	struct buf err;

	buf_init(&err, 4096);
	snap = conf_parse(fx->conf, "test.ini", slice_of(text), role, &err);
	if (!snap)
		fail_msg("%s", err.p ? err.p : "conf_parse");
	buf_fini(&err);
	return snap;
}

static inline void box_start(struct fixture *fx, struct box *b, const char *name, unsigned role,
			     const char *text)
{
	struct service s;
	char path[64];
	int error;

	memset(&b->env, 0, sizeof(b->env));
	b->name = name;
	b->env.role = role;
	b->env.loop = fx->loop;
	b->env.log = fx->log;
	b->env.conf = conf_store_new(tunnel_schema, 4);
	conf_swap(b->env.conf, box_parse(fx, role, text));
	b->env.conns = conn_table_new(8192, 256, box_clock, fx->loop);
	b->env.trace = trace_new(256, box_clock, fx->loop);
	b->env.alarms = alarms_new(fx->log);
	b->env.dns = dns_new(fx->loop, fx->log, b->env.alarms);
	assert_int_equal(dns_configure(b->env.dns, conf_current(b->env.conf)), 0);
	snprintf(path, sizeof(path), "%s/%s.sock", fx->dir, name);
	b->env.ctl = ctl_new(&b->env, path, NULL, &error);
	assert_non_null(b->env.ctl);
	b->env.modules = modules_new(&b->env, tunnel_list, 1);
	assert_int_equal(modules_init(b->env.modules), 0);
	s = service_find(b->env.modules, TUNNEL_SERVICE);
	b->ops = s.ops;
	b->self = s.self;
	assert_int_equal(b->ops->publish(b->self, "state", &table_source, b), 0);
	assert_int_equal(b->ops->subscribe(b->self, "state", &table_sink, b), 0);
	assert_int_equal(b->ops->serve(b->self, "echo", serve_echo, b), 0);
	if (role == CONF_ROLE_C)
		assert_int_equal(b->ops->accept(b->self, TUNNEL_HTTP, box_accepted, b), 0);
	assert_int_equal(modules_start(b->env.modules), 0);
	b->running = true;
}

static inline void box_stop(struct box *b)
{
	if (!b->running)
		return;
	b->running = false;
	modules_stop(b->env.modules);
	modules_free(b->env.modules);
	ctl_free(b->env.ctl);
	dns_free(b->env.dns);
	alarms_free(b->env.alarms);
	trace_free(b->env.trace);
	conn_table_free(b->env.conns);
	conf_store_free(b->env.conf);
}

/* Applies another text to a running box. */
static inline void box_reload(struct fixture *fx, struct box *b, const char *text)
{
	struct conf_snapshot *next = box_parse(fx, b->env.role, text);
	struct buf err;

	buf_init(&err, 4096);
	if (modules_reload(b->env.modules, next, &err) != 0)
		fail_msg("%s", err.p ? err.p : "reload");
	buf_fini(&err);
	conf_swap(b->env.conf, next);
}

static inline struct tunnel_peer_info box_peer(struct box *b)
{
	struct tunnel_peer_info info = { 0 };

	b->ops->peer(b->self, 0, &info);
	return info;
}

struct alarm_search {
	const char *id;
	char text[256];
	bool found;
};

static inline void see_alarm(const struct alarm_entry *e, void *arg)
{
	struct alarm_search *s = arg;

	if (strcmp(e->id, s->id) != 0)
		return;
	s->found = true;
	snprintf(s->text, sizeof(s->text), "%s", e->text);
}

static inline struct alarm_search box_alarm(struct box *b, const char *id)
{
	struct alarm_search s = { .id = id };

	alarms_each(b->env.alarms, see_alarm, &s);
	return s;
}

#define E_TEXT                                                                                    \
	"[system]\nrole = E\nname = edge1.test\n[tunnel]\naddress = 127.0.0.1\nport = %u\nkey = " \
	"%s\n%s[tunnel-peer core1]\nfingerprints = %s\n"
#define C_TEXT                                                                           \
	"[system]\nrole = C\nname = core1.test\n[tunnel]\nkey = %s\nretry-max = 500ms\n" \
	"%s[tunnel-peer edge_1]\naddress = 127.0.0.1:%u\nfingerprints = %s\n"

static inline void start_e(struct fixture *fx, const char *more)
{
	char text[2048];

	snprintf(text, sizeof(text), E_TEXT, fx->port, fx->e_key.path, more, fx->c_key.fingerprint);
	box_start(fx, &fx->e, "edge", CONF_ROLE_E, text);
}

static inline void start_c(struct fixture *fx, const char *more)
{
	char text[2048];

	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, more, fx->port, fx->e_key.fingerprint);
	box_start(fx, &fx->c, "core", CONF_ROLE_C, text);
}

static inline int fixture_setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	signal(SIGPIPE, SIG_IGN);
	strcpy(fx->dir, "/tmp/tunnel-test-XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	fx->loop = loop_new();
	fx->sink = getenv("TEST_LOG") ? stderr : fopen("/dev/null", "w");
	fx->log = log_new(fx->sink, LOG_LEVEL_DEBUG);
	fx->conf = conf_store_new(tunnel_schema, 4);
	make_key(fx, "e", &fx->e_key);
	make_key(fx, "c", &fx->c_key);
	make_key(fx, "o", &fx->other_key);
	fx->port = free_port();
	*state = fx;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fx = *state;
	char path[80];

	box_stop(&fx->other);
	box_stop(&fx->c);
	box_stop(&fx->e);
	loop_free(fx->loop);
	conf_store_free(fx->conf);
	log_free(fx->log);
	if (fx->sink != stderr)
		fclose(fx->sink);
	unlink(fx->e_key.path);
	unlink(fx->c_key.path);
	unlink(fx->other_key.path);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { "edge", "core", "again" };

		snprintf(path, sizeof(path), "%s/%s.sock", fx->dir, names[i]);
		unlink(path);
	}
	rmdir(fx->dir);
	free(fx);
	return 0;
}

#endif
