/* The control socket for real: a Unix socket in a folder of its own, client and server in turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/ctl.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/trace.h"

#define MAX_TURNS 1000

struct fixture {
	struct env env;
	struct ctl *ctl;
	char folder[64];
	char path[96];
	char reply[1 << 20];
	size_t n;
	int status;
	json_t *body;
};

static int64_t loop_clock(void *arg)
{
	return loop_now_ms(arg);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int error = 1;

	assert_non_null(f);
	strcpy(f->folder, "/tmp/turnpike-ctl-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/ctl.sock", f->folder);
	f->env.loop = loop_new();
	f->env.conns = conn_table_new(20, 8, loop_clock, f->env.loop);
	f->env.trace = trace_new(16, loop_clock, f->env.loop);
	f->env.alarms = alarms_new(NULL);
	f->ctl = ctl_new(&f->env, f->path, NULL, &error);
	assert_non_null(f->ctl);
	assert_int_equal(error, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	json_decref(f->body);
	ctl_free(f->ctl);
	assert_int_equal(stat(f->path, &st), -1);
	assert_int_equal(conn_count(f->env.conns, CONN_CONTROL), 0);
	assert_int_equal(conn_count(f->env.conns, CONN_LISTENER), 0);
	alarms_free(f->env.alarms);
	trace_free(f->env.trace);
	conn_table_free(f->env.conns);
	loop_free(f->env.loop);
	rmdir(f->folder);
	free(f);
	return 0;
}

static int dial(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* Turns the loop until the other end has closed. */
static void read_reply(struct fixture *f, int fd)
{
	f->n = 0;
	for (int turns = 0; turns < MAX_TURNS; turns++) {
		ssize_t n = recv(fd, f->reply + f->n, sizeof(f->reply) - 1 - f->n, 0);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		if (n > 0)
			f->n += (size_t)n;
		else
			loop_once(f->env.loop, 10);
	}
	f->reply[f->n] = '\0';
	close(fd);
}

static void send_raw(struct fixture *f, const char *request, size_t n)
{
	const char *body;
	int fd = dial(f->path);

	while (n > 0) {
		ssize_t sent = send(fd, request, n, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			break;
		if (sent > 0) {
			request += sent;
			n -= (size_t)sent;
		} else {
			loop_once(f->env.loop, 10);
		}
	}
	read_reply(f, fd);
	f->status = 0;
	sscanf(f->reply, "HTTP/1.%*d %d", &f->status);
	json_decref(f->body);
	body = strstr(f->reply, "\r\n\r\n");
	f->body = body ? json_loads(body + 4, 0, NULL) : NULL;
}

static json_t *ask(struct fixture *f, const char *method, const char *target, int status)
{
	char request[9000];

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method,
		 target, strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
	send_raw(f, request, strlen(request));
	if (f->status != status)
		fail_msg("%s %s: %s", method, target, f->reply);
	assert_true(json_is_object(f->body));
	return f->body;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert_non_null(s);
	return s;
}

static void error_is(struct fixture *f, const char *method, const char *target, int status,
		     const char *error)
{
	assert_string_equal(text_of(ask(f, method, target, status), "error"), error);
}

static void mode_and_headers(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
	ask(f, "GET", "/v1/alarms", 200);
	assert_non_null(strstr(f->reply, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(f->reply, "Connection: close\r\n"));
}

static void paths_and_methods(void **state)
{
	struct fixture *f = *state;
	json_t *o = ask(f, "GET", "/v1/nothing", 404);

	assert_string_equal(text_of(o, "error"), "no such command here: /v1/nothing");
	assert_int_equal(json_array_size(json_object_get(o, "commands")), 5);
	ask(f, "GET", "/", 404);
	ask(f, "GET", "/v2/alarms", 404);
	ask(f, "GET", "/v1/", 404);
	ask(f, "GET", "/v1/alarms/", 404);
	error_is(f, "POST", "/v1/alarms", 405, "alarms wants GET");
	assert_non_null(strstr(f->reply, "Allow: GET\r\n"));
	error_is(f, "GET", "/v1/disconnect?id=1", 405, "disconnect wants POST");
	assert_non_null(strstr(f->reply, "Allow: POST\r\n"));
	error_is(f, "DELETE", "/v1/alarms", 405, "alarms wants GET");
}

static void lists_connections(void **state)
{
	struct fixture *f = *state;
	struct conn call = { .kind = CONN_CALL, .state = "answered", .zone = "pbx" };
	struct conn leg = { .kind = CONN_LEG, .transport = CONN_TLS, .state = "up" };
	json_t *list, *o;
	char id[CONN_ID_BYTES];

	strcpy(call.session, "0123456789abcdef0123456789abcdef");
	strcpy(leg.user, "b\xff\"<x>");
	assert_true(addr_parse_ip(SLICE("2001:db8::1"), 5061, &leg.remote));
	assert_int_equal(conn_add(f->env.conns, &call), 0);
	leg.parent = call.id;
	leg.rx_packets = 1ull << 40;
	assert_int_equal(conn_add(f->env.conns, &leg), 0);
	/* The listener, both of these, and the client that asks. */
	o = ask(f, "GET", "/v1/connections", 200);
	assert_int_equal(json_integer_value(json_object_get(o, "total")), 4);
	assert_int_equal(json_array_size(json_object_get(o, "connections")), 4);
	o = ask(f, "GET", "/v1/connections?kind=leg", 200);
	list = json_object_get(o, "connections");
	assert_int_equal(json_array_size(list), 1);
	o = json_array_get(list, 0);
	assert_int_equal(json_object_size(o), 17);
	assert_string_equal(text_of(o, "id"), conn_id_str(&leg, id));
	assert_string_equal(text_of(o, "kind"), "leg");
	assert_string_equal(text_of(o, "parent"), conn_id_str(&call, id) + strlen("call-"));
	/* Not UTF-8, so escaped. */
	assert_string_equal(text_of(o, "user"), "b\\xff\\x22<x>");
	assert_string_equal(text_of(o, "remote"), "[2001:db8::1]:5061");
	assert_string_equal(text_of(o, "local"), "");
	assert_string_equal(text_of(o, "transport"), "tls");
	assert_string_equal(text_of(o, "state"), "up");
	assert_int_equal(strlen(text_of(o, "since")), 20);
	assert_true(json_integer_value(json_object_get(o, "rx_packets")) == 1ll << 40);
	o = ask(f, "GET", "/v1/connections?session=0123456789abcdef0123456789abcdef", 200);
	assert_int_equal(json_array_size(json_object_get(o, "connections")), 1);
	o = ask(f, "GET", "/v1/connections?zone=pbx&kind=call", 200);
	assert_int_equal(json_array_size(json_object_get(o, "connections")), 1);
	conn_end(f->env.conns, &leg, "gone \xff");
	conn_end(f->env.conns, &call, "BYE");
	o = ask(f, "GET", "/v1/connections?ended=1", 200);
	list = json_object_get(o, "connections");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_of(json_array_get(list, 0), "reason"), "BYE");
	assert_string_equal(text_of(json_array_get(list, 1), "reason"), "gone \\xff");
	assert_int_equal(strlen(text_of(json_array_get(list, 1), "ended")), 20);
}

static size_t n_of_user(struct fixture *f, const char *user)
{
	char path[128];

	snprintf(path, sizeof(path), "/v1/connections?user=%s", user);
	return json_array_size(json_object_get(ask(f, "GET", path, 200), "connections"));
}

/* A user in one domain, or of that name in any. */
static void by_user(void **state)
{
	static const char *const users[] = { "al@a.example", "al@b.example", "alice@a.example",
					     "al" };
	struct fixture *f = *state;
	struct conn conns[4];

	memset(conns, 0, sizeof(conns));
	for (int i = 0; i < 4; i++) {
		conns[i].kind = CONN_SIGNIN;
		conns[i].state = "signed in";
		strcpy(conns[i].user, users[i]);
		assert_int_equal(conn_add(f->env.conns, &conns[i]), 0);
	}
	assert_int_equal(n_of_user(f, "al"), 3);
	assert_int_equal(n_of_user(f, "al@a.example"), 1);
	assert_int_equal(n_of_user(f, "alice"), 1);
	assert_int_equal(n_of_user(f, "al@a"), 0);
	assert_int_equal(n_of_user(f, "a"), 0);
	for (int i = 0; i < 4; i++)
		conn_end(f->env.conns, &conns[i], "x");
}

static void limits_and_offsets(void **state)
{
	struct fixture *f = *state;
	struct conn flows[5] = { { .kind = CONN_LISTENER } };
	json_t *o;

	for (int i = 0; i < 5; i++) {
		flows[i].kind = CONN_FLOW;
		assert_int_equal(conn_add(f->env.conns, &flows[i]), 0);
	}
	o = ask(f, "GET", "/v1/connections?kind=flow&limit=2&offset=4", 200);
	assert_int_equal(json_array_size(json_object_get(o, "connections")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "total")), 5);
	o = ask(f, "GET", "/v1/connections?kind=flow&limit=0", 200);
	assert_int_equal(json_array_size(json_object_get(o, "connections")), 0);
	ask(f, "GET", "/v1/connections?limit=5000", 200);
	error_is(f, "GET", "/v1/connections?limit=5001", 400, "limit: a number from 0 to 5000");
	error_is(f, "GET", "/v1/connections?limit=-1", 400, "limit: a number from 0 to 5000");
	error_is(f, "GET", "/v1/connections?offset=x", 400, "offset: a number from 0 to 1000000");
	error_is(f, "GET", "/v1/connections?kind=x", 400,
		 "kind: unknown; legal values: listener, flow, link, registration, call, leg, "
		 "media, control, tunnel, channel, http, request, signin, turn, allocation, "
		 "relayed, xmpp, xmpp-link, xmpp-s2s");
	error_is(f, "GET", "/v1/connections?ended=2", 400, "ended: 0 or 1");
	for (int i = 0; i < 5; i++)
		conn_end(f->env.conns, &flows[i], "x");
}

static struct conn_table *table_of_close;

static void close_call(struct conn *c, const char *reason)
{
	conn_end(table_of_close, c, "%s", reason);
}

static void disconnects(void **state)
{
	struct fixture *f = *state;
	struct conn call = { .kind = CONN_CALL, .close = close_call };
	struct conn leg = { .kind = CONN_LEG };
	char target[100], id[CONN_ID_BYTES];

	table_of_close = f->env.conns;
	assert_int_equal(conn_add(f->env.conns, &call), 0);
	assert_int_equal(conn_add(f->env.conns, &leg), 0);
	error_is(f, "POST", "/v1/disconnect", 400,
		 "id: required; `turnpikectl connections` lists them");
	error_is(f, "POST", "/v1/disconnect?id=call-999", 404, "nothing alive has the id call-999");
	snprintf(target, sizeof(target), "/v1/disconnect?id=%s", conn_id_str(&leg, id));
	ask(f, "POST", target, 409);
	assert_int_equal(conn_count(f->env.conns, CONN_LEG), 1);
	snprintf(target, sizeof(target), "/v1/disconnect?id=%s", conn_id_str(&call, id));
	assert_string_equal(text_of(ask(f, "POST", target, 200), "disconnected"), id);
	assert_string_equal(call.reason, "closed by the operator");
	ask(f, "POST", target, 404);
	conn_end(f->env.conns, &leg, "x");
}

static void alarms_traces_counters(void **state)
{
	struct fixture *f = *state;
	json_t *o;

	alarm_raise(f->env.alarms, "link-down", "edge1", ALARM_CRITICAL, "look", "down");
	o = json_array_get(json_object_get(ask(f, "GET", "/v1/alarms", 200), "alarms"), 0);
	assert_int_equal(json_object_size(o), 6);
	assert_string_equal(text_of(o, "subject"), "edge1");
	assert_string_equal(text_of(o, "severity"), "critical");
	assert_string_equal(text_of(o, "what_to_do"), "look");
	trace_add(f->env.trace, "route.found", "[search-rule a]", NULL, "s", "one\ntwo");
	trace_add(f->env.trace, "sip.refused", NULL, NULL, NULL, "x");
	o = ask(f, "GET", "/v1/trace?prefix=route.", 200);
	assert_int_equal(json_array_size(json_object_get(o, "trace")), 1);
	o = json_array_get(json_object_get(o, "trace"), 0);
	assert_string_equal(text_of(o, "text"), "one\ntwo");
	assert_string_equal(text_of(o, "decided_by"), "[search-rule a]");
	o = ask(f, "GET", "/v1/trace?limit=1", 200);
	assert_string_equal(text_of(json_array_get(json_object_get(o, "trace"), 0), "code"),
			    "sip.refused");
	ask(f, "GET", "/v1/trace?limit=1000", 200);
	error_is(f, "GET", "/v1/trace?limit=1001", 400, "limit: a number from 0 to 1000");
	o = ask(f, "GET", "/v1/counters", 200);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o, "decisions"), "route.found")),
		1);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o, "connections"), "listener")),
		1);
	assert_int_equal(json_integer_value(json_object_get(o, "alarms")), 1);
}

static int echo(void *self, const struct ctl_request *r, json_t **out)
{
	const char *v = r->param(r, "v");

	*(int *)self += 1;
	if (!v)
		return ctl_fail(out, 409, "no v\nsecond %s", "line");
	*out = json_pack("{s:s}", "v", v);
	return 200;
}

static void commands_of_modules(void **state)
{
	static const struct ctl_command commands[] = { { "echo", false, echo }, { 0 } };
	static const struct ctl_command taken[] = { { "new", false, echo },
						    { "alarms", false, echo },
						    { 0 } };
	struct fixture *f = *state;
	int n = 0;

	assert_int_equal(ctl_add(f->ctl, commands, &n), 0);
	assert_int_equal(ctl_add(f->ctl, commands, &n), -EEXIST);
	assert_int_equal(ctl_add(f->ctl, taken, &n), -EEXIST);
	assert_string_equal(text_of(ask(f, "GET", "/v1/echo?v=a%20b%26%2B+c&w=1", 200), "v"),
			    "a b&+ c");
	error_is(f, "GET", "/v1/echo", 409, "no v\nsecond line");
	error_is(f, "GET", "/v1/echo?%", 400, "the query is not key=value&key=value");
	assert_int_equal(n, 2);
}

static void oversize_is_refused(void **state)
{
	struct fixture *f = *state;
	static char big[80 * 1024];
	int n;

	memset(big, 'x', sizeof(big));
	n = snprintf(big, sizeof(big),
		     "POST /v1/disconnect?id=1 HTTP/1.1\r\nHost: l\r\n"
		     "Content-Length: %d\r\n\r\n",
		     64 * 1024 + 1);
	big[n] = 'x';
	send_raw(f, big, (size_t)n + 64 * 1024 + 1);
	assert_int_equal(f->status, 413);
	memset(big, 'x', sizeof(big));
	n = snprintf(big, sizeof(big),
		     "POST /v1/disconnect?id=1 HTTP/1.1\r\nHost: l\r\n"
		     "Content-Length: %d\r\n\r\n",
		     64 * 1024);
	big[n] = 'x';
	send_raw(f, big, (size_t)n + 64 * 1024);
	assert_int_equal(f->status, 404);
	memset(big, 'x', sizeof(big));
	n = snprintf(big, sizeof(big), "GET /v1/alarms HTTP/1.1\r\nHost: l\r\nX: ");
	big[n] = 'x';
	memcpy(big + 10000, "\r\n\r\n", 4);
	send_raw(f, big, 10004);
	assert_int_not_equal(f->status, 200);
}

static void garbage_is_refused(void **state)
{
	struct fixture *f = *state;

	send_raw(f, "hello\r\n\r\n", 9);
	assert_int_not_equal(f->status, 200);
	send_raw(f, "GET /v1/alarms HTTP/1.1\r\nX\r\n\r\n", 30);
	assert_int_not_equal(f->status, 200);
	/* And it still serves. */
	ask(f, "GET", "/v1/alarms", 200);
}

static void serves_when_the_table_is_full(void **state)
{
	struct fixture *f = *state;
	struct conn c[20] = { { .kind = CONN_LISTENER } };
	size_t n = 0;

	while (n < 20 && conn_add(f->env.conns, &c[n]) == 0)
		n++;
	assert_int_equal(n, 19);
	ask(f, "GET", "/v1/connections", 200);
	while (n-- > 0)
		conn_end(f->env.conns, &c[n], "x");
}

/* Clients that ask nothing, or are in the middle of asking when the daemon stops. */
static void silent_clients(void **state)
{
	struct fixture *f = *state;
	int a = dial(f->path), b = dial(f->path);

	assert_int_equal(send(b, "GET /v1/al", 10, 0), 10);
	for (int i = 0; i < 5; i++)
		loop_once(f->env.loop, 0);
	ask(f, "GET", "/v1/alarms", 200);
	close(a);
	close(b);
}

static void socket_is_taken(void **state)
{
	struct fixture *f = *state;
	struct ctl *second;
	int error = 0;
	struct stat before, after;

	assert_int_equal(stat(f->path, &before), 0);
	assert_null(ctl_new(&f->env, f->path, NULL, &error));
	assert_int_equal(error, -EADDRINUSE);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	ask(f, "GET", "/v1/alarms", 200);
	second = ctl_new(&f->env, "/nonexistent/ctl.sock", NULL, &error);
	assert_null(second);
	assert_int_equal(error, -ENOENT);
}

static void dead_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char path[100], big[200];
	struct ctl *c;
	int error = 0, fd;

	snprintf(path, sizeof(path), "%s/dead.sock", f->folder);
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	c = ctl_new(&f->env, path, NULL, &error);
	assert_non_null(c);
	ctl_free(c);
	/* Something else of that name is left alone. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_null(ctl_new(&f->env, path, NULL, &error));
	assert_int_equal(error, -EEXIST);
	assert_int_equal(unlink(path), 0);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_null(ctl_new(&f->env, big, NULL, &error));
	assert_int_equal(error, -ENAMETOOLONG);
}

static void group(void **state)
{
	struct fixture *f = *state;
	struct group *own = getgrgid(getegid());
	char path[100];
	struct stat st;
	struct ctl *c;
	int error = 0;

	snprintf(path, sizeof(path), "%s/group.sock", f->folder);
	assert_null(ctl_new(&f->env, path, "no-such-group", &error));
	assert_int_equal(error, -EINVAL);
	assert_int_equal(stat(path, &st), -1);
	if (!own)
		skip();
	c = ctl_new(&f->env, path, own->gr_name, &error);
	assert_non_null(c);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_gid, getegid());
	assert_int_equal(st.st_mode & 07777, 0660);
	ctl_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mode_and_headers),
		TEST(paths_and_methods),
		TEST(lists_connections),
		TEST(by_user),
		TEST(limits_and_offsets),
		TEST(disconnects),
		TEST(alarms_traces_counters),
		TEST(commands_of_modules),
		TEST(oversize_is_refused),
		TEST(garbage_is_refused),
		TEST(serves_when_the_table_is_full),
		TEST(silent_clients),
		TEST(socket_is_taken),
		TEST(dead_socket_is_replaced),
		TEST(group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
