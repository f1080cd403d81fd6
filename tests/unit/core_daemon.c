/* The daemon with fake modules: start, reload, drain, stop, signals, the service manager. */
#include "core/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alarm.h"
#include "core/dns.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/privileges.h"
#include "core/sd_notify.h"
#include "core/system_conf.h"
#include "core/tls.h"
#include "core/trace.h"
#include "support/cert.h"

struct fake_conf {
	struct conf_common common;
	uint32_t size;
};

static const struct conf_row fake_rows[] = {
	{ .key = "size",
	  .type = CONF_U32,
	  .offset = offsetof(struct fake_conf, size),
	  .def = "1",
	  .max = 100,
	  .help = "A number." },
};
static const struct conf_section fake_section = { .type = "fake",
						  .roles = CONF_ROLE_BOTH,
						  .size = sizeof(struct fake_conf),
						  .rows = fake_rows,
						  .n_rows = 1,
						  .help = "For tests." };
static const struct conf_section *const fake_sections[] = { &fake_section, NULL };

#define REFUSED_SIZE 99

/* What the module saw; reset by the fixture. */
static struct {
	bool refuses_start, refuses_prepare, drained;
	uint32_t old_size, new_size;
	unsigned n_reloads, n_drains, n_stops, n_finis;
} seen;

static int fake_init(struct env *env, void **self)
{
	*self = env;
	return 0;
}

static int fake_start(void *self)
{
	return seen.refuses_start ? -EADDRINUSE : 0;
}

static uint32_t size_of(const struct conf_snapshot *snap);

static int fake_prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	if (!seen.refuses_prepare && size_of(next) != REFUSED_SIZE)
		return 0;
	buf_add_str(errors, "fake: cannot\n");
	return -EINVAL;
}

static uint32_t size_of(const struct conf_snapshot *snap)
{
	return ((const struct fake_conf *)conf_get(snap, "fake", NULL))->size;
}

static void fake_reload(void *self, const struct conf_snapshot *old,
			const struct conf_snapshot *next)
{
	seen.n_reloads++;
	seen.old_size = size_of(old);
	seen.new_size = size_of(next);
}

static void fake_drain(void *self)
{
	seen.n_drains++;
}

static bool fake_drained(void *self)
{
	return seen.drained;
}

static void fake_stop(void *self)
{
	seen.n_stops++;
}

static void fake_fini(void *self)
{
	seen.n_finis++;
}

static const struct module fake_module = { .name = "fake",
					   .roles = CONF_ROLE_BOTH,
					   .sections = fake_sections,
					   .init = fake_init,
					   .start = fake_start,
					   .prepare = fake_prepare,
					   .reload = fake_reload,
					   .drain = fake_drain,
					   .drained = fake_drained,
					   .stop = fake_stop,
					   .fini = fake_fini };
static const struct module *const module_list[] = { &fake_module };

struct fixture {
	char dir[32];
	char conf[64], sock[64], notify[64];
	int notify_fd;
	struct daemon_options options;
	struct daemon *daemon;
	struct buf errors;
};

/* The file's [system] section, and what more a test wants. */
static void write_conf(const struct fixture *f, const char *role, const char *system,
		       const char *rest)
{
	FILE *out = fopen(f->conf, "w");

	assert_non_null(out);
	fprintf(out,
		"[system]\nrole = %s\nname = box.example.com\ncontrol-socket = %s\n"
		"log-level = error\n%s\n%s\n",
		role, f->sock, system, rest);
	fclose(out);
}

static void path_in(const struct fixture *f, const char *name, char out[64])
{
	snprintf(out, 64, "%s/%s", f->dir, name);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memset(&seen, 0, sizeof(seen));
	strcpy(f->dir, "/tmp/tp-daemon-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path_in(f, "turnpike.ini", f->conf);
	path_in(f, "ctl.sock", f->sock);
	path_in(f, "notify", f->notify);
	f->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	strcpy(un.sun_path, f->notify);
	assert_int_equal(bind(f->notify_fd, (struct sockaddr *)&un, sizeof(un)), 0);
	setenv("NOTIFY_SOCKET", f->notify, 1);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	f->options = (struct daemon_options){ .conf_path = f->conf,
					      .modules = module_list,
					      .n_modules = 1 };
	buf_init(&f->errors, 65536);
	write_conf(f, "E", "", "");
	f->daemon = daemon_new(&f->options);
	assert_non_null(f->daemon);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[64];

	daemon_free(f->daemon);
	buf_fini(&f->errors);
	close(f->notify_fd);
	unsetenv("NOTIFY_SOCKET");
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	int error = daemon_start(f->daemon, &f->errors);

	if (error)
		fail_msg("%d: %s", error, f->errors.n ? f->errors.p : "");
}

static int reload(struct fixture *f)
{
	buf_reset(&f->errors);
	return daemon_reload(f->daemon, &f->errors);
}

static void turn(struct fixture *f)
{
	loop_once(daemon_env(f->daemon)->loop, 200);
}

/* Next datagram that the service manager got; "" when there is none. */
static const char *notified(struct fixture *f)
{
	static char text[512];
	ssize_t n = recv(f->notify_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static bool was_notified(struct fixture *f, const char *what)
{
	const char *text;

	while (*(text = notified(f))) {
		if (strncmp(text, what, strlen(what)) == 0)
			return true;
	}
	return false;
}

static void starts_with_everything_in_place(void **state)
{
	struct fixture *f = *state;
	const struct env *env;
	json_t *status;

	start(f);
	env = daemon_env(f->daemon);
	assert_int_equal(env->role, CONF_ROLE_E);
	assert_true(env->loop && env->conf && env->conns && env->log && env->trace && env->alarms &&
		    env->tls && env->dns && env->workers && env->ctl && env->modules);
	status = daemon_status(f->daemon);
	assert_string_equal(json_string_value(json_object_get(status, "role")), "E");
	assert_string_equal(json_string_value(json_object_get(status, "name")), "box.example.com");
	assert_string_equal(json_string_value(json_object_get(status, "state")), "running");
	assert_string_equal(json_string_value(json_object_get(status, "version")),
			    TURNPIKE_VERSION);
	assert_true(json_is_integer(json_object_get(status, "uptime_s")));
	assert_true(json_is_object(json_object_get(status, "loop")));
	assert_true(json_is_object(json_object_get(status, "dns")));
	assert_true(
		json_is_integer(json_object_get(json_object_get(status, "connections"), "call")));
	assert_int_equal(json_integer_value(json_object_get(status, "alarms")), 0);
	assert_non_null(json_object_get(json_object_get(status, "modules"), "fake"));
	json_decref(status);
}

static void a_bad_file_does_not_start(void **state)
{
	struct fixture *f = *state;

	write_conf(f, "E", "colour = red", "[fake]\nsize = 1000");
	assert_int_equal(daemon_start(f->daemon, &f->errors), -EINVAL);
	assert_non_null(strstr(f->errors.p, "turnpike.ini:6: "));
	assert_non_null(strstr(f->errors.p, "turnpike.ini:8: "));
}

static void a_missing_file_does_not_start(void **state)
{
	struct fixture *f = *state;

	unlink(f->conf);
	assert_int_equal(daemon_start(f->daemon, &f->errors), -EINVAL);
	assert_true(f->errors.n > 0);
}

static void a_failing_module_does_not_start(void **state)
{
	struct fixture *f = *state;

	seen.refuses_start = true;
	assert_int_equal(daemon_start(f->daemon, &f->errors), -EADDRINUSE);
	assert_int_equal(seen.n_stops, 0);
}

static void the_role_must_be_the_one_asked_for(void **state)
{
	struct fixture *f = *state;

	f->options.role = CONF_ROLE_C;
	assert_int_equal(daemon_start(f->daemon, &f->errors), -EINVAL);
	assert_true(f->errors.n > 0);
}

static void checks_without_starting(void **state)
{
	struct fixture *f = *state;
	struct conf_snapshot *snap = daemon_check(f->daemon, &f->errors);

	assert_non_null(snap);
	conf_unref(snap);
	assert_null(daemon_env(f->daemon)->loop);
	write_conf(f, "C", "", "[fake]\nsize = x");
	assert_null(daemon_check(f->daemon, &f->errors));
	assert_non_null(strstr(f->errors.p, "turnpike.ini:8: "));
}

static void a_good_reload_reaches_the_modules(void **state)
{
	struct fixture *f = *state;
	struct log *log;

	start(f);
	log = daemon_env(f->daemon)->log;
	assert_false(log_enabled(log, LOG_LEVEL_INFO));
	/* A second [system] key of that name would be an error: write the file anew. */
	write_conf(f, "E", "drain-timeout = 1s", "[fake]\nsize = 7");
	assert_int_equal(reload(f), 0);
	assert_int_equal(seen.n_reloads, 1);
	assert_int_equal(seen.old_size, 1);
	assert_int_equal(seen.new_size, 7);
	assert_int_equal(size_of(conf_current(daemon_env(f->daemon)->conf)), 7);
}

static void note_alarm(const struct alarm_entry *e, void *arg)
{
	*(struct alarm_entry *)arg = *e;
}

static void assert_rejected(struct fixture *f, const char *why)
{
	struct alarms *alarms = daemon_env(f->daemon)->alarms;
	struct alarm_entry e;

	assert_int_equal(reload(f), -EINVAL);
	assert_non_null(strstr(f->errors.p, why));
	assert_int_equal(seen.n_reloads, 0);
	assert_int_equal(size_of(conf_current(daemon_env(f->daemon)->conf)), 1);
	assert_int_equal(alarm_count(alarms), 1);
	alarms_each(alarms, note_alarm, &e);
	assert_string_equal(e.id, "config-rejected");
	assert_non_null(strstr(e.text, why));
}

static void a_bad_reload_changes_nothing_and_alarms(void **state)
{
	struct fixture *f = *state;

	start(f);
	write_conf(f, "E", "", "[fake]\nsize = 101");
	assert_rejected(f, "turnpike.ini:8: ");
	write_conf(f, "C", "", "[fake]\nsize = 7");
	assert_rejected(f, "role cannot change");
	seen.refuses_prepare = true;
	write_conf(f, "E", "", "[fake]\nsize = 7");
	assert_rejected(f, "fake: cannot");
	unlink(f->conf);
	assert_rejected(f, "turnpike.ini");
	seen.refuses_prepare = false;
	write_conf(f, "E", "", "[fake]\nsize = 7");
	assert_int_equal(reload(f), 0);
	assert_int_equal(alarm_count(daemon_env(f->daemon)->alarms), 0);
}

/* Writes a certificate for `san` and its key; returns the [tls x] section. */
static const char *tls_section(const struct fixture *f, const char *san)
{
	static char text[256];
	char cert[64], key[64];
	struct cert c = cert_make(&(struct cert_params){ .cn = "x", .san = san });

	path_in(f, "x.pem", cert);
	path_in(f, "x.key", key);
	cert_write(&c, cert);
	cert_write_key(&c, key, NULL);
	cert_free(&c);
	snprintf(text, sizeof(text), "[tls x]\ncertificate = %s\nkey = %s\n", cert, key);
	return text;
}

static bool serves(struct fixture *f, const char *san)
{
	const char *why = "";
	SSL *ssl = tls_accept_new(daemon_env(f->daemon)->tls, "x", TLS_VERIFY_NONE, &why);
	bool yes;

	assert_non_null(ssl);
	yes = X509_check_host(SSL_get_certificate(ssl), san, 0, 0, NULL) == 1;
	SSL_free(ssl);
	return yes;
}

static void certificates_change_with_a_reload_that_succeeds_only(void **state)
{
	struct fixture *f = *state;
	char key[64];

	write_conf(f, "E", "", tls_section(f, "DNS:one.example"));
	start(f);
	assert_true(serves(f, "one.example"));
	/* A new certificate, but a module refuses: "changes nothing" holds for certificates too. */
	tls_section(f, "DNS:two.example");
	seen.refuses_prepare = true;
	assert_int_equal(reload(f), -EINVAL);
	assert_true(serves(f, "one.example"));
	seen.refuses_prepare = false;
	assert_int_equal(reload(f), 0);
	assert_true(serves(f, "two.example"));
	/* A key that others may read. */
	path_in(f, "x.key", key);
	chmod(key, 0644);
	assert_int_equal(reload(f), -EINVAL);
	assert_non_null(strstr(f->errors.p, "chmod 0600"));
	assert_true(serves(f, "two.example"));
	assert_int_equal(seen.n_reloads, 1);
}

static void count_generated_alarm(const struct alarm_entry *e, void *arg)
{
	if (strcmp(e->id, "uc-generated") == 0)
		++*(unsigned *)arg;
}

static unsigned n_generated_alarms(struct fixture *f)
{
	unsigned n = 0;

	alarms_each(daemon_env(f->daemon)->alarms, count_generated_alarm, &n);
	return n;
}

static void generate(struct fixture *f, const char *text)
{
	struct env *env = daemon_env(f->daemon);

	assert_int_equal(conf_store_set_generated(env->conf, "[maker]", slice_of(text)), 0);
	env->request_reload(env);
	env->request_reload(env);
	loop_once(env->loop, 0);
}

static void generated_sections_take_over_when_asked(void **state)
{
	struct fixture *f = *state;

	start(f);
	generate(f, "[fake]\nsize = 7\n");
	assert_int_equal(seen.n_reloads, 1);
	assert_int_equal(seen.new_size, 7);
	/* The file on the disk is nobody's business until a reload. */
	write_conf(f, "E", "", "[fake]\nsize = 50");
	generate(f, "[fake]\nsize = 8\n");
	assert_int_equal(seen.new_size, 8);
	assert_int_equal(n_generated_alarms(f), 0);
	assert_int_equal(daemon_reload(f->daemon, &f->errors), 0);
	assert_int_equal(seen.new_size, 50); /* the file wins */
	assert_int_equal(trace_count(daemon_env(f->daemon)->trace, "config.generated.left-out"), 1);
}

static void bad_generated_sections_harm_nobody(void **state)
{
	struct fixture *f = *state;

	start(f);
	generate(f, "[fake]\nsize = 101\n");
	assert_int_equal(seen.new_size, 1);
	assert_int_equal(n_generated_alarms(f), 1);
	generate(f, "[fake]\nsize = 5\n");
	assert_int_equal(seen.new_size, 5);
	assert_int_equal(n_generated_alarms(f), 0);
	/* A module refuses what was generated: what is in force stays, ... */
	generate(f, "[fake]\nsize = 99\n");
	assert_int_equal(seen.new_size, 5);
	assert_int_equal(n_generated_alarms(f), 1);
	/* ... and a new file gets in all the same, alone. */
	write_conf(f, "E", "drain-timeout = 1s", "");
	assert_int_equal(daemon_reload(f->daemon, &f->errors), 0);
	assert_int_equal(f->errors.n, 0);
	assert_int_equal(seen.new_size, 1);
	assert_int_equal(n_generated_alarms(f), 1);
	/* A bad file is refused with its own errors. */
	write_conf(f, "E", "", "[fake]\nsize = x");
	assert_int_equal(daemon_reload(f->daemon, &f->errors), -EINVAL);
	assert_non_null(strstr(f->errors.p, "[fake] size"));
}

static void hup_reloads(void **state)
{
	struct fixture *f = *state;

	start(f);
	write_conf(f, "E", "", "[fake]\nsize = 9");
	raise(SIGHUP);
	while (seen.n_reloads == 0)
		turn(f);
	assert_int_equal(seen.new_size, 9);
}

static void term_drains_and_then_stops(void **state)
{
	struct fixture *f = *state;

	start(f);
	raise(SIGTERM);
	while (seen.n_drains == 0)
		turn(f);
	turn(f);
	assert_int_equal(seen.n_stops, 0);
	seen.drained = true;
	assert_int_equal(daemon_run(f->daemon), 0);
	assert_int_equal(seen.n_stops, 1);
}

static void the_drain_timeout_ends_the_wait(void **state)
{
	struct fixture *f = *state;

	write_conf(f, "E", "drain-timeout = 200ms", "");
	start(f);
	daemon_stop(f->daemon);
	assert_int_equal(seen.n_drains, 1);
	assert_int_equal(daemon_run(f->daemon), 0);
	assert_int_equal(seen.n_stops, 1);
}

static void a_second_term_stops_at_once(void **state)
{
	struct fixture *f = *state;

	write_conf(f, "E", "drain-timeout = 1h", "");
	start(f);
	raise(SIGTERM);
	while (seen.n_drains == 0)
		turn(f);
	raise(SIGINT);
	assert_int_equal(daemon_run(f->daemon), 0);
	assert_int_equal(seen.n_stops, 1);
	assert_int_equal(seen.n_drains, 1);
}

static void a_drain_alone_goes_on_running(void **state)
{
	struct fixture *f = *state;
	json_t *status;

	start(f);
	daemon_drain(f->daemon);
	daemon_drain(f->daemon);
	assert_int_equal(seen.n_drains, 1);
	seen.drained = true;
	turn(f);
	status = daemon_status(f->daemon);
	assert_string_equal(json_string_value(json_object_get(status, "state")), "draining");
	assert_true(json_is_true(json_object_get(status, "drained")));
	json_decref(status);
	assert_int_equal(seen.n_stops, 0);
	daemon_stop(f->daemon);
	assert_int_equal(daemon_run(f->daemon), 0);
	assert_int_equal(seen.n_drains, 1);
	assert_int_equal(seen.n_stops, 1);
}

static void the_service_manager_hears_of_it(void **state)
{
	struct fixture *f = *state;

	setenv("WATCHDOG_USEC", "40000", 1);
	start(f);
	assert_true(was_notified(f, "WATCHDOG=1"));
	for (int i = 0; i < 2; i++) {
		while (!was_notified(f, "WATCHDOG=1"))
			turn(f);
	}
	reload(f);
	assert_true(was_notified(f, "RELOADING=1\nMONOTONIC_USEC="));
	assert_true(was_notified(f, "READY=1"));
	assert_true(was_notified(f, "STATUS=running, "));
	seen.drained = true;
	daemon_stop(f->daemon);
	assert_true(was_notified(f, "STOPPING=1"));
	assert_int_equal(daemon_run(f->daemon), 0);
	assert_true(was_notified(f, "READY=1"));
}

static void the_watchdog_may_be_another_process_s(void **state)
{
	char pid[16];

	setenv("WATCHDOG_USEC", "1000000", 1);
	assert_int_equal(sd_notify_watchdog_us(), 1000000);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(sd_notify_watchdog_us(), 0);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(sd_notify_watchdog_us(), 1000000);
	setenv("WATCHDOG_USEC", "soon", 1);
	assert_int_equal(sd_notify_watchdog_us(), 0);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void nobody_to_notify_is_fine(void **state)
{
	char long_path[200];

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(sd_notify_send("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(sd_notify_send("READY=1"), -EINVAL);
	memset(long_path, '/', sizeof(long_path));
	long_path[199] = '\0';
	setenv("NOTIFY_SOCKET", long_path, 1);
	assert_int_equal(sd_notify_send("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "@no-such-socket-of-turnpike", 1);
	assert_int_equal(sd_notify_send("READY=1"), -ECONNREFUSED);
	unsetenv("NOTIFY_SOCKET");
}

static void keys_that_need_a_restart_are_named(void **state)
{
	struct fixture *f = *state;
	const struct conf_store *store = daemon_conf(f->daemon);
	struct conf_snapshot *a, *b;
	char keys[128];

	a = conf_parse(store, "a", SLICE("[system]\nrole = E\nname = a\n"), 0, &f->errors);
	b = conf_parse(store, "b",
		       SLICE("[system]\nrole = E\nname = b\nmax-connections = 500\n"
			     "user = nobody\nlog-level = debug\n"),
		       0, &f->errors);
	assert_non_null(a);
	assert_non_null(b);
	system_conf_restart_keys(a, a, keys, sizeof(keys));
	assert_string_equal(keys, "");
	system_conf_restart_keys(a, b, keys, sizeof(keys));
	assert_string_equal(keys, "user");
	system_conf_restart_keys(a, b, keys, 8);
	assert_true(strlen(keys) < 8);
	conf_unref(a);
	conf_unref(b);
}

/* One request on the control socket; the answer, head and body. */
static const char *request(struct fixture *f, const char *method, const char *command)
{
	static char answer[16384];
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char text[128];
	size_t n = 0;
	ssize_t got;

	strcpy(un.sun_path, f->sock);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	snprintf(text, sizeof(text),
		 "%s /v1/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
		 "Content-Length: 0\r\n\r\n",
		 method, command);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	while ((got = read(fd, answer + n, sizeof(answer) - 1 - n)) != 0) {
		if (got > 0)
			n += (size_t)got;
		else
			turn(f);
	}
	answer[n] = '\0';
	close(fd);
	return answer;
}

static void the_control_socket_has_the_commands(void **state)
{
	struct fixture *f = *state;
	const char *answer;

	start(f);
	answer = request(f, "GET", "status");
	assert_non_null(strstr(answer, " 200 "));
	assert_non_null(strstr(answer, "box.example.com"));
	answer = request(f, "POST", "reload");
	assert_non_null(strstr(answer, " 200 "));
	assert_int_equal(seen.n_reloads, 1);
	write_conf(f, "E", "", "[fake]\nsize = 101");
	answer = request(f, "POST", "reload");
	assert_non_null(strstr(answer, " 409 "));
	assert_non_null(strstr(answer, "turnpike.ini:8: "));
	assert_non_null(strstr(request(f, "GET", "reload"), " 405 "));
	answer = request(f, "POST", "drain");
	assert_non_null(strstr(answer, " 200 "));
	assert_int_equal(seen.n_drains, 1);
}

/* Runs fn in a process of its own: what it changes cannot be undone. */
static void in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void child_drops(void)
{
	struct passwd *pw = getpwnam("nobody");

	if (!pw || privileges_drop("nobody", NULL) != 0 || getuid() != pw->pw_uid ||
	    geteuid() != pw->pw_uid || getgid() != pw->pw_gid || setuid(0) == 0)
		_exit(1);
}

static void child_raises(void)
{
	struct rlimit small = { 100, 200 };

	if (setrlimit(RLIMIT_NOFILE, &small) < 0)
		_exit(1);
	if (privileges_raise_descriptors(50) != 100 || privileges_raise_descriptors(150) != 150)
		_exit(2);
	/* Over the hard limit: root may, others get as far as it goes. */
	if (privileges_raise_descriptors(300) < 200)
		_exit(3);
}

static void privileges(void **state)
{
	in_child(child_raises);
	assert_int_equal(privileges_drop(NULL, NULL), 0);
	if (geteuid() != 0)
		skip();
	assert_int_equal(privileges_drop("no-such-user-here", NULL), -ENOENT);
	in_child(child_drops);
}

int main(void)
{
#define DAEMON_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(starts_with_everything_in_place),
		DAEMON_TEST(a_bad_file_does_not_start),
		DAEMON_TEST(a_missing_file_does_not_start),
		DAEMON_TEST(a_failing_module_does_not_start),
		DAEMON_TEST(the_role_must_be_the_one_asked_for),
		DAEMON_TEST(checks_without_starting),
		DAEMON_TEST(a_good_reload_reaches_the_modules),
		DAEMON_TEST(a_bad_reload_changes_nothing_and_alarms),
		DAEMON_TEST(certificates_change_with_a_reload_that_succeeds_only),
		DAEMON_TEST(hup_reloads),
		DAEMON_TEST(generated_sections_take_over_when_asked),
		DAEMON_TEST(bad_generated_sections_harm_nobody),
		DAEMON_TEST(term_drains_and_then_stops),
		DAEMON_TEST(the_drain_timeout_ends_the_wait),
		DAEMON_TEST(a_second_term_stops_at_once),
		DAEMON_TEST(a_drain_alone_goes_on_running),
		DAEMON_TEST(the_service_manager_hears_of_it),
		cmocka_unit_test(the_watchdog_may_be_another_process_s),
		cmocka_unit_test(nobody_to_notify_is_fine),
		DAEMON_TEST(the_control_socket_has_the_commands),
		DAEMON_TEST(keys_that_need_a_restart_are_named),
		cmocka_unit_test(privileges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
