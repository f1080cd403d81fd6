/* turnpikectl against a daemon of canned replies: what it asks, what it prints, how it exits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "ctl/client.h"
#include "ctl/command.h"

struct fixture {
	char folder[64];
	char path[96];
	char out[1 << 16];
	char err[8192];
	char request[4096]; /* its first line */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->folder, "/tmp/turnpike-command-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/ctl.sock", f->folder);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static int listen_at(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* In a child: one exchange; the request goes back through a pipe. */
static void serve_one(int listener, int back, const char *reply)
{
	char request[8192];
	size_t n = 0;
	int fd = accept(listener, NULL, NULL);

	while (n < sizeof(request) - 1) {
		ssize_t got = recv(fd, request + n, sizeof(request) - 1 - n, 0);

		if (got <= 0)
			break;
		n += (size_t)got;
		request[n] = '\0';
		if (strstr(request, "\r\n\r\n"))
			break;
	}
	send(fd, reply, strlen(reply), MSG_NOSIGNAL);
	close(fd);
	if (write(back, request, n) < 0)
		_exit(1);
	_exit(0);
}

static void read_back(char *dst, size_t size, FILE *f)
{
	size_t n;

	rewind(f);
	n = fread(dst, 1, size - 1, f);
	dst[n] = '\0';
	fclose(f);
}

/* words: the command line behind `--socket PATH`, separated by single spaces. */
static int run_words(struct fixture *f, const char *words)
{
	FILE *out = tmpfile(), *err = tmpfile();
	char copy[1024], *argv[32] = { (char *)(uintptr_t) "turnpikectl",
				       (char *)(uintptr_t) "--socket", f->path };
	int argc = 3, r;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok(copy, " "); w && argc < 31; w = strtok(NULL, " "))
		argv[argc++] = w;
	r = command_run(argc, argv, out, err);
	read_back(f->out, sizeof(f->out), out);
	read_back(f->err, sizeof(f->err), err);
	return r;
}

static int run_raw(struct fixture *f, const char *words, const char *reply)
{
	int listener = listen_at(f->path), back[2], status, r;
	ssize_t n;
	pid_t child;

	assert_int_equal(pipe(back), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		serve_one(listener, back[1], reply);
	close(back[1]);
	close(listener);
	r = run_words(f, words);
	n = read(back[0], f->request, sizeof(f->request) - 1);
	f->request[n > 0 ? n : 0] = '\0';
	f->request[strcspn(f->request, "\r")] = '\0';
	close(back[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	return r;
}

static int run_json(struct fixture *f, const char *words, int status, const char *body)
{
	char reply[16384];

	snprintf(reply, sizeof(reply),
		 "HTTP/1.0 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		 status, strlen(body), body);
	return run_raw(f, words, reply);
}

static void shows(struct fixture *f, const char *words, const char *body, const char *request,
		  const char *expected)
{
	assert_int_equal(run_json(f, words, 200, body), 0);
	assert_string_equal(f->request, request);
	assert_string_equal(f->out, expected);
	assert_string_equal(f->err, "");
}

static void lists(void **state)
{
	struct fixture *f = *state;

	shows(f, "zones",
	      "{\"zones\":[{\"name\":\"pbx\",\"type\":\"neighbour\",\"state\":\"failed\","
	      "\"reason\":\"no peer\",\"peers\":[{\"name\":\"pbx.example.com\",\"address\":"
	      "\"192.0.2.9:5060\",\"state\":\"down\",\"reason\":\"timeout\"}]},"
	      "{\"name\":\"dns\",\"type\":\"dns\",\"state\":\"active\",\"reason\":\"\"}]}",
	      "GET /v1/zones HTTP/1.0",
	      "NAME               TYPE       ADDRESS         STATE   REASON\n"
	      "pbx                neighbour                  failed  no peer\n"
	      "  pbx.example.com             192.0.2.9:5060  down    timeout\n"
	      "dns                dns                        active\n");
	shows(f, "registrations",
	      "{\"registrations\":[{\"id\":\"registration-1\",\"aor\":\"sip:a@x\",\"contact\":"
	      "\"sip:a@192.0.2.1\",\"zone\":\"pbx\",\"expires_s\":120,\"flow\":\"flow-1\","
	      "\"remote\":\"192.0.2.1:5\",\"path\":\"\",\"session\":\"ab\",\"state\":\"active\"}]}",
	      "GET /v1/registrations HTTP/1.0",
	      "ID              AOR      CONTACT          ZONE  STATE   EXPIRES  REMOTE       FLOW  "
	      "  "
	      "SESSION\n"
	      "registration-1  sip:a@x  sip:a@192.0.2.1  pbx   active    2m00s  192.0.2.1:5  "
	      "flow-1  "
	      "ab\n");
	shows(f, "calls",
	      "{\"calls\":[{\"id\":\"call-1\",\"session\":\"ab\",\"from\":\"a\",\"to\":\"b\","
	      "\"state\":\"answered\",\"direction\":\"in\",\"since\":1767225600,"
	      "\"legs\":[{\"id\":\"leg-2\",\"zone\":\"pbx\",\"empty\":\"\",\"none\":null,"
	      "\"list\":[]},{\"zone\":\"edge\"}],\"media\":[{\"line\":0,\"ends\":[{\"leg\":0,"
	      "\"mos\":4.4},{\"leg\":1}]}]}]}",
	      "GET /v1/calls HTTP/1.0",
	      "ID      FROM  TO  STATE     DIRECTION  SINCE                 SESSION\n"
	      "call-1  a     b   answered  in         2026-01-01T00:00:00Z  ab\n"
	      "  leg-2 zone=pbx\n"
	      "  leg zone=edge\n"
	      "  media line=0\n"
	      "    end leg=0 mos=4.40\n"
	      "    end leg=1\n");
	shows(f, "alarms",
	      "{\"alarms\":[{\"id\":\"link-down\",\"subject\":\"edge1\",\"severity\":\"error\","
	      "\"since\":\"2026-01-01T00:00:00Z\",\"text\":\"down\",\"what_to_do\":\"look\"}]}",
	      "GET /v1/alarms HTTP/1.0",
	      "SEVERITY  ALARM      SUBJECT  SINCE                 TEXT\n"
	      "error     link-down  edge1    2026-01-01T00:00:00Z  down\n"
	      "  what to do: look\n");
}

static void empty_lists(void **state)
{
	struct fixture *f = *state;

	shows(f, "zones", "{\"zones\":[]}", "GET /v1/zones HTTP/1.0", "no zones\n");
	shows(f, "calls", "{}", "GET /v1/calls HTTP/1.0", "no calls\n");
	shows(f, "trace", "{\"trace\":[]}", "GET /v1/trace HTTP/1.0", "no entries\n");
	/* Of another type than expected: nothing to show, nothing to trip over. */
	shows(f, "alarms", "{\"alarms\":{\"a\":1}}", "GET /v1/alarms HTTP/1.0", "no alarms\n");
	shows(f, "alarms", "{\"alarms\":[5]}", "GET /v1/alarms HTTP/1.0", "\n\n");
}

static void connections(void **state)
{
	static const char body[] =
		"{\"connections\":[{\"id\":\"flow-1\",\"kind\":\"flow\",\"parent\":\"\",\"user\":"
		"\"\","
		"\"zone\":\"pbx\",\"transport\":\"tls\",\"local\":\"192.0.2.1:5061\",\"remote\":"
		"\"192.0.2.2:4000\",\"state\":\"open\",\"age_s\":61,\"rx_bytes\":1500,\"tx_bytes\":"
		"0,"
		"\"dropped\":0}],\"total\":7}";
	struct fixture *f = *state;

	shows(f, "connections --ended --kind flow --limit=1", body,
	      "GET /v1/connections?ended=1&kind=flow&limit=1 HTTP/1.0",
	      "ID      ZONE  VIA  LOCAL           REMOTE          STATE    AGE    RX  TX  DROPPED\n"
	      "flow-1  pbx   tls  192.0.2.1:5061  192.0.2.2:4000  open   1m01s  1.5k   0        0\n"
	      "1 of 7 shown; narrow it with --kind, --zone, --session or --user, or page with "
	      "--limit and --offset\n");
}

/* Sign-in, registration and request of one user, as both boxes show them. */
static void one_user(void **state)
{
	static const char body[] =
		"{\"connections\":[{\"id\":\"signin-1\",\"kind\":\"signin\",\"user\":\"al@x\","
		"\"session\":\"ab\",\"transport\":\"tls\",\"remote\":\"192.0.2.2:0\",\"state\":"
		"\"signed in\",\"age_s\":5},{\"id\":\"request-2\",\"kind\":\"request\",\"parent\":"
		"\"http-1\",\"user\":\"al@x\",\"session\":\"ab\",\"zone\":\"web\",\"transport\":"
		"\"tls\",\"state\":\"relaying\",\"age_s\":1}],\"total\":2}";
	struct fixture *f = *state;

	shows(f, "connections --user al@x", body, "GET /v1/connections?user=al%40x HTTP/1.0",
	      "ID         PARENT  USER  ZONE  SESSION  VIA  REMOTE       STATE      AGE\n"
	      "signin-1           al@x        ab       tls  192.0.2.2:0  signed in   5s\n"
	      "request-2  http-1  al@x  web   ab       tls               relaying    1s\n");
}

static void tunnels(void **state)
{
	struct fixture *f = *state;

	shows(f, "tunnels",
	      "{\"fingerprint\":\"SHA256:x\",\"tunnels\":[{\"name\":\"edge1\",\"state\":\"up\","
	      "\"address\":\"edge1.example.com\",\"port\":2222,\"streams\":3,\"system\":\"e\","
	      "\"skew-ms\":-12,\"last-error\":\"\",\"since\":\"T\",\"connections\":[{\"id\":"
	      "\"tunnel-1\",\"slot\":0,\"state\":\"open\",\"remote\":\"192.0.2.1:2222\","
	      "\"rtt-ms\":1}]},{\"name\":\"edge2\",\"state\":\"down\",\"last-error\":"
	      "\"another key\\u001b\",\"connections\":[]}]}",
	      "GET /v1/tunnels HTTP/1.0",
	      "NAME   STATE  SYSTEM  ADDRESS                 SINCE  STREAMS  SKEW-MS  LAST ERROR\n"
	      "edge1  up     e       edge1.example.com:2222  T            3      -12\n"
	      "  tunnel-1 slot=0 state=open remote=192.0.2.1:2222 rtt-ms=1\n"
	      "edge2  down                                                            another "
	      "key\\x1b\n"
	      "\nkey of this box: SHA256:x\n");
	shows(f, "tunnels", "{\"fingerprint\":\"\",\"tunnels\":[]}", "GET /v1/tunnels HTTP/1.0",
	      "no tunnels\n");
}

static void sessions(void **state)
{
	struct fixture *f = *state;

	shows(f, "sessions --user alice --limit 9",
	      "{\"sessions\":[{\"session\":\"ab\",\"user\":\"alice\",\"domain\":\"x\",\"from\":"
	      "\"192.0.2.1\",\"since\":\"T\",\"peer\":\"edge1\",\"expires_s\":28800,\"idle_s\":"
	      "61}],\"ended\":[{\"session\":\"cd\",\"user\":\"bob@x\",\"from\":\"192.0.2.2\","
	      "\"since\":\"T\",\"ended\":\"U\",\"reason\":\"signed out\"}]}",
	      "GET /v1/sessions?user=alice&limit=9 HTTP/1.0",
	      "SESSION  USER   DOMAIN  FROM       PEER   SINCE   IDLE  EXPIRES\n"
	      "ab       alice  x       192.0.2.1  edge1  T      1m01s    8h00m\n"
	      "\nended lately:\n"
	      "SESSION  USER   FROM       SINCE  ENDED  REASON\n"
	      "cd       bob@x  192.0.2.2  T      U      signed out\n");
	shows(f, "sessions", "{\"sessions\":[],\"ended\":[]}", "GET /v1/sessions HTTP/1.0",
	      "nobody is signed in\n");
}

static void clusters(void **state)
{
	struct fixture *f = *state;

	shows(f, "uc",
	      "{\"clusters\":[{\"name\":\"main\",\"domains\":[\"a.example\",\"b.example\"],"
	      "\"discovery\":\"axl\",\"running\":false,\"discovered\":\"T\",\"error\":null,"
	      "\"security\":\"mixed\",\"nodes\":[{\"name\":\"cucm1\",\"roles\":"
	      "[\"call-manager\",\"tftp\"],\"uds_port\":8443,\"alive\":false,\"why\":"
	      "\"refused\",\"tcp_zone\":\"CEtcp-cucm1\",\"tls_zone\":null}]},{\"name\":\"two\","
	      "\"nodes\":[]}],\"homes_known\":0}",
	      "GET /v1/uc HTTP/1.0",
	      "main:\n  domains: a.example, b.example\n  discovery: axl\n  security: mixed\n"
	      "  running: no\n  discovered: T\n"
	      "NODE   ALIVE  ROLES                UDS  TCP ZONE     WHY\n"
	      "cucm1  no     call-manager, tftp  8443  CEtcp-cucm1  refused\n"
	      "\ntwo:\nno nodes known\n");
	shows(f, "uc", "{\"clusters\":[]}", "GET /v1/uc HTTP/1.0", "no clusters\n");
	shows(f, "uc refresh", "{\"started\":2}", "POST /v1/uc-refresh HTTP/1.0", "started: 2\n");
	shows(f, "uc refresh main", "{\"started\":1}", "POST /v1/uc-refresh?cluster=main HTTP/1.0",
	      "started: 1\n");
	shows(f, "uc-refresh main", "{\"started\":1}", "POST /v1/uc-refresh?cluster=main HTTP/1.0",
	      "started: 1\n");
	/* A cluster of that name. */
	shows(f, "uc refresh refresh", "{\"started\":1}",
	      "POST /v1/uc-refresh?cluster=refresh HTTP/1.0", "started: 1\n");
}

static void allow_list(void **state)
{
	struct fixture *f = *state;

	shows(f, "allow",
	      "{\"allow\":[{\"name\":\"main cucm1 uds\",\"url\":\"https://cucm1:8443/cucm-uds/\","
	      "\"match\":\"prefix\",\"methods\":\"GET\",\"automatic\":true,\"authentication\":"
	      "\"required\"},{\"name\":\"z\",\"url\":\"https://b/\",\"match\":\"exact\","
	      "\"methods\":\"GET POST\",\"automatic\":false,\"authentication\":\"none\"},"
	      "{\"name\":\"photos\",\"url\":\"https://a/\",\"match\":\"prefix\",\"methods\":"
	      "\"GET\",\"automatic\":false,\"authentication\":\"required\"}]}",
	      "GET /v1/allow HTTP/1.0",
	      "rules of [allow]:\n"
	      "RULE    URL         MATCH   METHODS   SIGN-IN\n"
	      "photos  https://a/  prefix  GET       required\n"
	      "z       https://b/  exact   GET POST  none\n"
	      "\nautomatic, from discovery:\n"
	      "RULE            URL                           MATCH   METHODS  SIGN-IN\n"
	      "main cucm1 uds  https://cucm1:8443/cucm-uds/  prefix  GET      required\n");
	shows(f, "allow", "{\"allow\":[]}", "GET /v1/allow HTTP/1.0",
	      "rules of [allow]:\nnone\n\nautomatic, from discovery:\nnone\n");
	/* Anything but a list of rules: nothing to show. */
	shows(f, "allow", "{\"allow\":{\"a\":1}}", "GET /v1/allow HTTP/1.0",
	      "rules of [allow]:\nnone\n\nautomatic, from discovery:\nnone\n");
}

static void allow_check(void **state)
{
	static const char yes[] = "{\"url\":\"https://a/b?c=d&e\",\"method\":\"GET\",\"allowed\":"
				  "true,\"rule\":\"photos\",\"automatic\":false,\"why\":"
				  "\"[allow photos]\"}";
	static const char no[] =
		"{\"url\":\"https://a/\",\"method\":\"PUT\",\"allowed\":false,"
		"\"rule\":\"\",\"automatic\":false,\"why\":\"no rule for host a\"}";
	struct fixture *f = *state;

	shows(f, "allow check https://a/b?c=d&e", yes,
	      "GET /v1/allow-check?url=https%3A%2F%2Fa%2Fb%3Fc%3Dd%26e HTTP/1.0",
	      "allowed: GET https://a/b?c=d&e\n  [allow photos]\n");
	assert_int_equal(run_json(f, "allow check https://a/ PUT", 200, no), 1);
	assert_string_equal(f->request,
			    "GET /v1/allow-check?url=https%3A%2F%2Fa%2F&method=PUT HTTP/1.0");
	assert_string_equal(f->out, "refused: PUT https://a/\n  no rule for host a\n");
	assert_string_equal(f->err, "");
	/* The exit code says it with --json too. */
	assert_int_equal(run_json(f, "--json allow-check https://a/ PUT", 200, no), 1);
	assert_non_null(strstr(f->out, "\"allowed\": false"));
	assert_int_equal(run_json(f, "allow check a --json", 200, yes), 0);
	/* No word of the daemon is no yes. */
	assert_int_equal(run_json(f, "allow check a", 200, "{\"allowed\":\"true\"}"), 1);
	assert_int_equal(run_json(f, "allow check a", 409, "{\"error\":\"no list\"}"), 1);
	assert_string_equal(f->err, "turnpikectl: no list\n");
	/* `allow` without the second word takes nothing. */
	assert_int_equal(run_words(f, "allow https://a/"), 2);
	assert_int_equal(run_words(f, "allow check"), 2);
	assert_int_equal(run_words(f, "allow check a GET b"), 2);
}

static void backends(void **state)
{
	struct fixture *f = *state;

	shows(f, "backends",
	      "{\"backends\":[{\"host\":\"photos\",\"server\":\"p1\",\"port\":443,\"state\":"
	      "\"down\",\"bad\":3,\"addresses\":[\"10.0.0.1:443\",\"10.0.0.2:443\"]}]}",
	      "GET /v1/backends HTTP/1.0",
	      "HOST    SERVER  PORT  STATE  BAD  ADDRESSES\n"
	      "photos  p1       443  down     3  10.0.0.1:443, 10.0.0.2:443\n");
}

static void traces(void **state)
{
	static const char body[] =
		"{\"trace\":[{\"seq\":2,\"time\":\"T2\",\"code\":\"route.found\",\"decided_by\":"
		"\"[search-rule "
		"a]\",\"remote\":\"\",\"session\":\"ab\",\"text\":\"one\\ntwo\\u001b\","
		"\"repeats\":0},{\"seq\":1,\"time\":\"T1\",\"code\":\"sip.refused\",\"decided_by\":"
		"\"\",\"remote\":\"192.0.2.1:5\",\"session\":\"\",\"text\":\"\",\"repeats\":3}]}";
	static const char expected[] = "T2  route.found  [search-rule a]  session=ab\n"
				       "    one\n    two\\x1b\n"
				       "T1  sip.refused  192.0.2.1:5  (and 3 more like it)\n";
	struct fixture *f = *state;

	shows(f, "trace sip. --limit 5", body, "GET /v1/trace?prefix=sip.&limit=5 HTTP/1.0",
	      expected);
	shows(f, "search-history --limit 5", body, "GET /v1/trace?prefix=route.&limit=5 HTTP/1.0",
	      expected);
}

static void locate(void **state)
{
	struct fixture *f = *state;

	shows(f, "locate bob+1@example.com --source to-edge",
	      "{\"found\":true,\"target\":\"pbx\",\"steps\":[{\"step\":1,\"rule\":\"to-pbx\","
	      "\"decision\":\"match\",\"why\":\"pattern\"}],\"hop_count\":14}",
	      "GET /v1/locate?alias=bob%2B1%40example.com&source=to-edge HTTP/1.0",
	      "found: yes\ntarget: pbx\nhop_count: 14\n\n"
	      "STEP  RULE    DECISION  WHY\n1     to-pbx  match     pattern\n");
	shows(f, "locate x", "{\"found\":false,\"target\":null,\"steps\":[]}",
	      "GET /v1/locate?alias=x HTTP/1.0", "found: no\n\nno steps\n");
	shows(f, "locate x", "{\"found\":true,\"target\":[{\"zone\":\"pbx\"}],\"steps\":[]}",
	      "GET /v1/locate?alias=x HTTP/1.0",
	      "found: yes\ntarget:\n  -\n    zone: pbx\n\nno steps\n");
	shows(f, "locate x --authenticated --hops 3",
	      "{\"found\":true,\"target\":\"pbx\",\"alias\":\"x\",\"targets\":[{\"zone\":\"pbx\","
	      "\"alias\":\"y\",\"rule\":\"r\",\"priority\":5,\"hop_count\":2}],\"steps\":[]}",
	      "GET /v1/locate?alias=x&authenticated=yes&hops=3 HTTP/1.0",
	      "found: yes\ntarget: pbx\nalias: x\n\n"
	      "ZONE  ALIAS  RULE  PRIORITY  HOPS\npbx   y      r     5         2\n\nno steps\n");
	shows(f, "locate -- --x", "{}", "GET /v1/locate?alias=--x HTTP/1.0",
	      "found: no\n\nno steps\n");
}

static void objects(void **state)
{
	struct fixture *f = *state;

	shows(f, "status",
	      "{\"role\":\"C\",\"uptime_s\":3700,\"modules\":{\"sip\":{\"flows\":3,\"list\":[1,2]}}"
	      ","
	      "\"alarms\":0}",
	      "GET /v1/status HTTP/1.0",
	      "role: C\nuptime_s: 1h01m\nalarms: 0\n\nmodules:\n  sip:\n    flows: 3\n    list: 1, "
	      "2\n");
	shows(f, "disconnect call-1", "{\"disconnected\":\"call-1\"}",
	      "POST /v1/disconnect?id=call-1 HTTP/1.0", "disconnected: call-1\n");
	shows(f, "reload", "{\"reloaded\":true}", "POST /v1/reload HTTP/1.0", "reloaded: yes\n");
	shows(f, "drain", "{\"draining\":true}", "POST /v1/drain HTTP/1.0", "draining: yes\n");
	shows(f, "counters", "{\"decisions\":{\"a.b\":1}}", "GET /v1/counters HTTP/1.0",
	      "decisions:\n  a.b: 1\n");
}

static void json_as_it_came(void **state)
{
	struct fixture *f = *state;

	shows(f, "--json alarms", "{\"alarms\":[],\"x\":\"\\u009b\"}", "GET /v1/alarms HTTP/1.0",
	      "{\n  \"alarms\": [],\n  \"x\": \"\\u009B\"\n}\n");
}

static void refusals(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run_json(f, "disconnect x", 404, "{\"error\":\"nothing \\u001b[1m\"}"), 1);
	assert_string_equal(f->err, "turnpikectl: nothing \\x1b[1m\n");
	assert_string_equal(f->out, "");
	assert_int_equal(run_json(f, "reload", 409, "{\"error\":\"a:1: x\\na:2: y\\n\"}"), 1);
	assert_string_equal(f->err, "turnpikectl: a:1: x\na:2: y\n");
	assert_int_equal(run_json(f, "reload --json", 500, "{\"error\":\"x\"}"), 1);
	assert_string_equal(f->out, "{\n  \"error\": \"x\"\n}\n");
	assert_int_equal(run_json(f, "reload", 500, "{}"), 1);
	assert_string_equal(f->err, "turnpikectl: the daemon answered 500 without a reason\n");
}

static void unreachable(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(run_words(f, "status"), 3);
	assert_non_null(strstr(f->err, f->path));
	assert_non_null(strstr(f->err, "No such file or directory"));
	assert_non_null(strstr(f->err, "systemctl status turnpiked"));
	fd = listen_at(f->path);
	close(fd);
	assert_int_equal(run_words(f, "status"), 3);
	assert_non_null(strstr(f->err, "nobody listens"));
}

static void garbage(void **state)
{
	static const char *const replies[] = {
		"",
		"hello\r\n\r\n",
		"HTTP/1.0 200 OK\r\n",
		"HTTP/1.0 20x OK\r\n\r\n{}",
		"HTTP/1.0 99 OK\r\n\r\n{}",
		"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n{}",
		"HTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n{}",
		"HTTP/1.0 200 OK\r\n\r\n[]",
		"HTTP/1.0 200 OK\r\n\r\n{\"a\":",
		"HTTP/1.0 500 X\r\n\r\n<html>",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		assert_int_equal(run_raw(f, "alarms", replies[i]), 3);
		assert_true(strlen(f->err) > 0);
		assert_string_equal(f->out, "");
	}
	/* Without a length the end is where the daemon closes; what is behind a length is not read.
	 */
	assert_int_equal(run_raw(f, "alarms", "HTTP/1.1 200\r\n\r\n{}"), 0);
	assert_int_equal(run_raw(f, "alarms", "HTTP/1.1 200 OK\ncontent-length: 2\n\n{}x"), 0);
}

static void wrong_usage(void **state)
{
	static const char *const lines[] = {
		"",
		"nothing",
		"status now",
		"locate",
		"locate a b",
		"status --ended",
		"connections --kind",
		"disconnect",
		"--what",
		"status --json=1",
		"connections --ended=1",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(run_words(f, lines[i]), 2);
		assert_true(strlen(f->err) > 0);
		assert_string_equal(f->out, "");
	}
	run_words(f, "conections");
	assert_non_null(strstr(f->err, "did you mean \"connections\"?"));
}

static void help_and_version(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run_words(f, "--help"), 0);
	assert_non_null(strstr(f->out, "locate ALIAS [--source ZONE]"));
	assert_non_null(strstr(f->out, "/run/turnpike/ctl.sock"));
	assert_int_equal(run_words(f, "locate --help"), 0);
	assert_int_equal(run_words(f, "--version"), 0);
	assert_string_equal(f->out, "turnpikectl " TURNPIKE_VERSION "\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lists),	   TEST(empty_lists), TEST(connections),     TEST(traces),
		TEST(locate),	   TEST(objects),     TEST(json_as_it_came), TEST(refusals),
		TEST(unreachable), TEST(garbage),     TEST(wrong_usage),     TEST(help_and_version),
		TEST(one_user),	   TEST(tunnels),     TEST(sessions),	     TEST(clusters),
		TEST(allow_list),  TEST(allow_check), TEST(backends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
