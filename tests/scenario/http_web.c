/*
 * The http module's two sides (edge_side.c, core_side.c, site.c, allow_table.c, edge_listen.c,
 * mod_http.c) as E and as C: what is asked of whom, what goes inside, what comes out, who believes
 * whom, and what happens when clients, boxes and settings go while something is under way.
 */
#include <sys/wait.h>

#include "support/web_box.h"

static int set_up(void **state)
{
	struct lab *lab = lab_new();

	lab_connect(lab, true);
	*state = lab;
	return 0;
}

static int set_up_apart(void **state)
{
	*state = lab_new();
	return 0;
}

static int tear_down(void **state)
{
	lab_free(*state);
	return 0;
}

static void alice(struct lab *lab)
{
	lab_session(lab, ALICE_TOKEN, ALICE_ID, "alice", "example.com");
}

static void bob(struct lab *lab)
{
	lab_session(lab, BOB_TOKEN, BOB_ID, "bob", "example.com");
}

/* The request that the web server got last. */
static bool arrived(struct lab *lab, const char *text)
{
	return strstr(lab->backend.last, text);
}

/* --- who asks --- */

static void without_credentials_there_is_a_question(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ""), 401);
	assert_true(got(c, "\r\nWWW-Authenticate: Basic realm=\"Cisco-Edge\", "
			   "charset=\"UTF-8\"\r\n"));
	assert_false(got(c, "Set-Cookie"));
	assert_int_equal(asks(c, "GET", at_domain("example.com", "/get_edge_config"), ""), 401);
	/* A cookie that nobody gave out is none. */
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 401);
	assert_int_equal(trace_count(lab->e.env.trace, "http.signin.missing"), 3);
	assert_int_equal(lab->e.n_sign_ins, 0);
	assert_int_equal(lab->n_opens, 0);
	hang_up(c);
}

static void tokens_and_domains_are_looked_at_first(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	assert_int_equal(asks(c, "GET", "/", ALICE), 404);
	assert_int_equal(asks(c, "GET", "/no$token/x", ALICE), 404);
	assert_int_equal(asks(c, "GET", at_domain("unknown.example", "/get_edge_config"), PASSWORD),
			 403);
	assert_int_equal(asks(c, "GET", at_domain("phones.example", "/get_edge_config"), PASSWORD),
			 403);
	assert_int_equal(asks(c, "GET", at_domain("example.com", "/passwords"), ALICE), 404);
	assert_int_equal(asks(c, "GET", at_domain("example.com", ""), ALICE), 404);
	assert_int_equal(asks(c, "POST", at_domain("example.com", "/get_edge_config"),
			      ALICE "Content-Length: 0\r\n"),
			 405);
	assert_true(got(c, "\r\nAllow: GET, HEAD\r\n"));
	assert_int_equal(asks(c, "GET", inside(lab, "/app/%2e%2e/x"), ALICE), 400);
	assert_int_equal(asks(c, "GET", "http://127.0.0.1/app", ALICE), 400);
	assert_int_equal(trace_count(lab->e.env.trace, "http.token"), 2);
	assert_int_equal(trace_count(lab->e.env.trace, "http.domain.unknown"), 2);
	assert_int_equal(trace_count(lab->e.env.trace, "http.no-resource"), 2);
	assert_int_equal(trace_count(lab->e.env.trace, "http.path"), 1);
	assert_int_equal(lab->e.n_sign_ins, 0);
	assert_int_equal(lab->n_opens, 0);
	hang_up(c);
}

static int signs_in(struct client *c, enum signin_status status, uint32_t retry_after_s)
{
	struct lab *lab = c->lab;

	begins(c, "GET", inside(lab, "/app/x"), PASSWORD);
	SOON(lab, lab->e.sign_in != 0);
	core_says(lab, status, NULL, retry_after_s);
	return hears(c);
}

static void refused_sign_ins(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	assert_int_equal(signs_in(c, SIGNIN_DENIED, 0), 401);
	assert_true(got(c, "\r\nWWW-Authenticate: Basic realm="));
	assert_int_equal(signs_in(c, SIGNIN_NO_DOMAIN, 0), 403);
	assert_int_equal(signs_in(c, SIGNIN_TOO_MANY, 17), 429);
	assert_true(got(c, "\r\nRetry-After: 17\r\n"));
	assert_int_equal(signs_in(c, SIGNIN_UNAVAILABLE, 3), 503);
	assert_true(got(c, "\r\nRetry-After: 3\r\n"));
	assert_int_equal(signs_in(c, SIGNIN_UNAVAILABLE, 0), 503);
	assert_false(got(c, "Retry-After"));
	assert_int_equal(signs_in(c, SIGNIN_BAD_REQUEST, 0), 400);
	assert_false(got(c, "Set-Cookie"));
	assert_string_equal(lab->e.asked_domain, "example.com");
	assert_string_equal(lab->e.asked_with, "Basic YWxpY2U6c2VjcmV0");
	assert_int_equal(lab->backend.n_requests, 0);
	assert_int_equal(lab->n_opens, 0);
	hang_up(c);
}

static void sign_in_brings_the_cookie(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	const char *set, *end;

	begins(c, "GET", at_domain("example.com", "/get_edge_config/"), PASSWORD);
	SOON(lab, lab->e.sign_in != 0);
	core_says(lab, SIGNIN_OK, lab_session(lab, ALICE_TOKEN, ALICE_ID, "alice", "example.com"),
		  0);
	assert_int_equal(hears(c), 200);
	set = strstr(c->got.p, "\r\nSet-Cookie: X-Auth=" ALICE_TOKEN "; Expires=");
	assert_non_null(set);
	end = strstr(set + 2, "\r\n");
	assert_non_null(strstr(set, " GMT; Domain=.example.com; Path=/; Secure; HttpOnly\r\n"));
	assert_null(strstr(end, "Set-Cookie"));
	assert_true(got(c, "\r\nContent-Type: text/xml; charset=UTF-8\r\n"));
	assert_true(got(c, "<httpEdgeServer><server><address>edge1.example.com</address>"));
	/* Who has the cookie gets no other one, and C is not asked again. */
	assert_int_equal(asks(c, "GET", at_domain("example.com", "/get_edge_config"), ALICE), 200);
	assert_false(got(c, "Set-Cookie"));
	assert_int_equal(lab->e.n_sign_ins, 1);
	assert_true(lab->e.n_touched >= 2 && lab->c.n_touched >= 2);
	hang_up(c);
}

/* The password may have changed: get_edge_config looks at it although a cookie stands. Elsewhere it
 * is the server's. */
static void password_beside_a_cookie(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	begins(c, "GET", at_domain("example.com", "/get_edge_config"), ALICE PASSWORD);
	SOON(lab, lab->e.sign_in != 0);
	core_says(lab, SIGNIN_DENIED, NULL, 0);
	assert_int_equal(hears(c), 401);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE PASSWORD), 200);
	assert_true(arrived(lab, "\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n"));
	assert_int_equal(lab->e.n_sign_ins, 1);
	assert_int_equal(lab->c.n_distrusts, 0);
	lab->backend.canned = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE PASSWORD), 401);
	assert_int_equal(lab->c.n_distrusts, 1);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 401);
	assert_int_equal(lab->c.n_distrusts, 1);
	hang_up(c);
}

static void cookie_of_another_domain_is_none(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	lab_session(lab, OTHER_TOKEN, OTHER_ID, "alice", "other.example");
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), COOKIE(OTHER_TOKEN)), 401);
	assert_int_equal(asks(c, "GET",
			      at_server("other.example", "127.0.0.1", lab->backend.port, "/app/x"),
			      COOKIE(OTHER_TOKEN)),
			 200);
	hang_up(c);
}

static void head_of_get_edge_config_is_nothing_hostile(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	list_is_old(lab);
	assert_int_equal(asks(c, "HEAD", at_domain("example.com", "/get_edge_config"), ALICE), 200);
	assert_int_equal(n_hostile(lab), 0);
	assert_int_equal(asks(c, "GET", at_domain("example.com", "/get_edge_config"), ALICE), 200);
	hang_up(c);
}

static void edge_config_names_are_checked(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	list_is_old(lab);
	assert_int_equal(asks(c, "GET",
			      at_domain("example.com", "/get_edge_config?service_name=a%20b"),
			      ALICE),
			 400);
	assert_int_equal(n_hostile(lab), 0);
	hang_up(c);
}

static void logging_out_ends_the_session(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	assert_int_equal(asks(c, "GET", at_domain("example.com", "/logout"), ""), 401);
	alice(lab);
	assert_int_equal(asks(c, "GET", at_domain("other.example", "/logout"), ALICE), 401);
	assert_int_equal(lab->e.n_sign_outs, 0);
	assert_int_equal(
		asks(c, "POST", at_domain("example.com", "/logout"), ALICE "Content-Length: 0\r\n"),
		200);
	assert_true(got(c, "\r\nSet-Cookie: X-Auth=deleted; Expires="));
	assert_true(got(c, " Domain=.example.com; Path=/; Secure; HttpOnly\r\n"));
	assert_int_equal(lab->e.n_sign_outs, 1);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 401);
	hang_up(c);
}

/* --- what goes inside --- */

static void own_cookie_stays_outside(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"),
			      "Cookie: a=1; X-Auth=" ALICE_TOKEN "; b=2\r\n"),
			 200);
	assert_true(arrived(lab, "\r\nCookie: a=1; b=2\r\n"));
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"),
			      "Cookie: X-Auth2=n; XX-Auth=o\r\n" ALICE
			      "Cookie: x-auth=p; X-Auth=" ALICE_TOKEN ";q=X-Auth=\r\n"),
			 200);
	assert_true(arrived(lab, "X-Auth2=n; XX-Auth=o"));
	assert_true(arrived(lab, "x-auth=p; q=X-Auth="));
	assert_false(arrived(lab, ALICE_TOKEN));
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 200);
	assert_false(arrived(lab, "Cookie"));
	hang_up(c);
}

static void fields_between_the_boxes_are_ours_alone(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	char forwarded[64];

	alice(lab);
	bob(lab);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"),
			      ALICE "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n"
				    "X-Forwarded-Proto: http\r\nForwarded: for=6.6.6.6\r\n"
				    "X-Real-IP: 6.6.6.6\r\nTurnpike-Session: " BOB_ID "\r\n"
				    "Turnpike-Client: 6.6.6.6:6\r\nTurnpike-Reason: session\r\n"
				    "X-Kept: yes\r\n"),
			 200);
	assert_false(arrived(lab, "6.6.6.6"));
	assert_false(arrived(lab, "evil"));
	assert_false(arrived(lab, "Turnpike-"));
	assert_true(arrived(lab, "\r\nX-Forwarded-For: 127.0.0.1\r\n"));
	assert_true(arrived(lab, "\r\nX-Forwarded-Proto: https\r\n"));
	assert_true(arrived(lab, "\r\nX-Forwarded-Host: outside.example.com\r\n"));
	assert_true(arrived(lab, "\r\nX-Kept: yes\r\n"));
	snprintf(forwarded, sizeof(forwarded), "\r\nHost: 127.0.0.1:%u\r\n", lab->backend.port);
	assert_true(arrived(lab, forwarded));
	hang_up(c);
}

static void canonical_path_arrives_and_the_query_untouched(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	list_is_old(lab);
	assert_int_equal(
		asks(c, "GET", inside(lab, "/app/%7euser/%c3%bc//y?a=%2e%2E/../&b=%7e"), ALICE),
		200);
	assert_non_null(strstr(lab->backend.last,
			       "GET /app/~user/%C3%BC//y?a=%2e%2E/../&b=%7e HTTP/1.1\r\n"));
	assert_int_equal(asks(c, "GET", inside(lab, "/app?"), ALICE), 200);
	assert_true(arrived(lab, "GET /app? HTTP/1.1\r\n"));
	/* What occurs in queries, encoded or not, accuses nobody. */
	assert_int_equal(asks(c, "GET", inside(lab, "/app?a=\\b&c=\"<>\"{}|^`'&d=//e?f"), ALICE),
			 200);
	assert_true(arrived(lab, "GET /app?a=\\b&c=\"<>\"{}|^`'&d=//e?f HTTP/1.1\r\n"));
	assert_int_equal(n_hostile(lab), 0);
	hang_up(c);
}

/* --- what comes out --- */

static void servers_do_not_set_the_cookie(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	lab->backend.canned = "HTTP/1.1 200 OK\r\nSet-Cookie: X-Auth=" BOB_TOKEN "; Path=/\r\n"
			      "Set-Cookie: X-Auth2=fine\r\nSet-Cookie: a=b; Path=/app\r\n"
			      "Content-Length: 0\r\n\r\n";
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 200);
	assert_false(got(c, BOB_TOKEN));
	assert_true(got(c, "\r\nSet-Cookie: X-Auth2=fine\r\n"));
	assert_true(got(c, "\r\nSet-Cookie: a=b; Path=/app\r\n"));
	hang_up(c);
}

/* Only C may say that a session is over. */
static void servers_do_not_speak_for_the_core(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	lab->backend.canned = "HTTP/1.1 403 Forbidden\r\nTurnpike-Reason: session\r\n"
			      "Turnpike-Session: " BOB_ID "\r\nContent-Length: 4\r\n\r\nmine";
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 403);
	assert_true(got(c, "\r\n\r\nmine"));
	assert_false(got(c, "Turnpike-"));
	assert_false(got(c, "WWW-Authenticate"));
	assert_int_equal(trace_count(lab->e.env.trace, "http.session.ended"), 0);
	hang_up(c);
}

static void session_that_the_core_does_not_know_is_asked_anew(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	lab->c.n_sessions = 0;
	list_is_old(lab);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 401);
	assert_true(got(c, "\r\nWWW-Authenticate: Basic realm="));
	assert_false(got(c, "Turnpike-"));
	assert_int_equal(asks(c, "GET", at_domain("example.com", "/get_edge_config"), ALICE), 401);
	/* E's copy went with the first answer. */
	assert_int_equal(lab->e.n_sign_outs, 1);
	assert_int_equal(trace_count(lab->e.env.trace, "http.session.ended"), 1);
	assert_int_equal(trace_count(lab->c.env.trace, "http.session.unknown"), 1);
	assert_int_equal(lab->backend.n_requests, 0);
	assert_int_equal(n_hostile(lab), 0);
	hang_up(c);
}

/* --- the allow list --- */

static void list_that_has_not_come_is_503(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port), *s = dial(lab, lab->site_port);

	lab_connect(lab, false);
	alice(lab);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 503);
	assert_true(got(c, "\r\nRetry-After: 1\r\n"));
	assert_int_equal(asks(s, "GET", "/open", ""), 503);
	assert_int_equal(trace_count(lab->e.env.trace, "http.allow.unknown"), 2);
	assert_int_equal(lab->n_opens, 0);
	/* get_edge_config needs no list. */
	assert_int_equal(asks(c, "GET", at_domain("example.com", "/get_edge_config"), ALICE), 200);
	lab_connect(lab, true);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 200);
	hang_up(c);
	hang_up(s);
}

static void edge_refuses_early(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	uint64_t asked = http_engine_stats(lab->c.web->engine).n_requests;

	alice(lab);
	assert_int_equal(asks(c, "GET", inside(lab, "/apps"), ALICE), 403);
	assert_int_equal(asks(c, "DELETE", inside(lab, "/app"), ALICE), 403);
	assert_int_equal(
		asks(c, "GET", at_server("example.com", "127.0.0.1", lab->web_port, "/app"), ALICE),
		403);
	assert_int_equal(asks(c, "GET", at_server("example.com", "other", 80, "/app"), ALICE), 403);
	assert_int_equal(trace_count(lab->e.env.trace, "http.allow.denied"), 4);
	assert_int_equal(http_engine_stats(lab->c.web->engine).n_requests, asked);
	assert_int_equal(lab->n_opens, 0);
	hang_up(c);
}

static void lie_to_the_edge(struct lab *lab, const char *path)
{
	const struct web_table *t = sink_of(&lab->e, "allow");
	struct allow_rule rule = { .port = lab->backend.port, .methods = 1u << HTTP_GET };
	json_t *item;

	slice_copy(rule.host, sizeof(rule.host), SLICE("127.0.0.1"));
	slice_copy(rule.path, sizeof(rule.path), slice_of(path));
	item = allow_to_json(&rule);
	t->sink->put(t->arg, 1, "lie", item);
	json_decref(item);
}

/* C decides. Right after a change the edge may not know yet; later it is not to be trusted. */
static void core_refuses_what_the_edge_let_through(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	lie_to_the_edge(lab, "/secret");
	assert_int_equal(asks(c, "GET", inside(lab, "/secret"), ALICE), 403);
	assert_int_equal(trace_count(lab->c.env.trace, "http.allow.denied"), 1);
	assert_int_equal(n_hostile(lab), 0);
	list_is_old(lab);
	assert_int_equal(asks(c, "GET", inside(lab, "/secret"), ALICE), 403);
	assert_int_equal(n_hostile(lab), 1);
	assert_int_equal(asks(c, "GET", inside(lab, "/secret"), ALICE), 403);
	assert_int_equal(n_hostile(lab), 1);
	assert_int_equal(lab->backend.n_requests, 0);
	assert_int_equal(asks(c, "GET", inside(lab, "/app"), ALICE), 200);
	/* After an hour without another such request the alarm goes. */
	assert_true(timer_left(loop_timers(lab->box->env.loop), &lab->c.web->hostile_timer) >
		    3590000);
	timer_start(loop_timers(lab->box->env.loop), &lab->c.web->hostile_timer, 0);
	SOON(lab, n_hostile(lab) == 0);
	assert_int_equal(asks(c, "GET", inside(lab, "/secret"), ALICE), 403);
	assert_int_equal(n_hostile(lab), 1);
	hang_up(c);
}

/* A rule that is replaced by rubbish is no longer a rule. */
static void rubbish_in_the_table_allows_nothing(void **state)
{
	struct lab *lab = *state;
	const struct web_table *t = sink_of(&lab->e, "allow");
	struct client *c = dial(lab, lab->web_port);
	json_t *rubbish = json_pack("{s:s}", "host", "127.0.0.1");

	alice(lab);
	lie_to_the_edge(lab, "/secret");
	t->sink->put(t->arg, 1, "lie", rubbish);
	t->sink->put(t->arg, 1, "new", rubbish);
	json_decref(rubbish);
	assert_int_equal(asks(c, "GET", inside(lab, "/secret"), ALICE), 403);
	assert_int_equal(trace_count(lab->c.env.trace, "http.allow.denied"), 0);
	assert_int_equal(trace_count(lab->e.env.trace, "http.allow.denied"), 1);
	hang_up(c);
}

static void changes_of_the_list_reach_the_edge(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	char more[128];
	struct buf err;

	buf_init(&err, 4096);
	alice(lab);
	assert_int_equal(asks(c, "GET", inside(lab, "/new"), ALICE), 403);
	snprintf(more, sizeof(more), "[allow new]\nurl = http://127.0.0.1:%u/new\n",
		 lab->backend.port);
	assert_int_equal(end_reload(&lab->c, c_text(lab, more), &err), 0);
	assert_int_equal(asks(c, "GET", inside(lab, "/new"), ALICE), 200);
	assert_int_equal(end_reload(&lab->c, c_text(lab, ""), &err), 0);
	assert_int_equal(asks(c, "GET", inside(lab, "/new"), ALICE), 403);
	assert_int_equal(trace_count(lab->c.env.trace, "http.allow.denied"), 0);
	/* What comes with a new connection replaces what was there. */
	lie_to_the_edge(lab, "/new");
	lab_connect(lab, true);
	assert_int_equal(asks(c, "GET", inside(lab, "/new"), ALICE), 403);
	assert_int_equal(trace_count(lab->c.env.trace, "http.allow.denied"), 0);
	buf_fini(&err);
	hang_up(c);
}

/* --- what discovery found --- */

struct found {
	unsigned n;
	uint64_t generation;
};

static bool found_node(void *self, size_t i, struct uc_node *out)
{
	/* A server with a port of its own is reached there. */
	static const struct uc_node nodes[] = {
		{ .name = "CUCM1.example.com",
		  .cluster = "main",
		  .roles = UC_CALL_MANAGER | UC_TFTP,
		  .uds_port = 8443,
		  .verify = true },
		{ .name = "2001:db8::1", .cluster = "main", .roles = UC_VOICEMAIL, .port = 9443 },
		{ .name = "not a host/", .cluster = "main", .roles = UC_PRESENCE },
	};

	if (i >= ((struct found *)self)->n)
		return false;
	*out = nodes[i];
	return true;
}

static uint64_t found_generation(void *self)
{
	return ((struct found *)self)->generation;
}

static const struct uc_ops discovery = { .node = found_node, .generation = found_generation };

/* Does the edge's copy let it through? */
static bool edge_allows(struct lab *lab, const char *text, enum http_method method)
{
	const struct allow_list *list = allow_table_copy(lab->e.web, 1);
	struct allow_verdict v;
	struct http_url url;
	const char *why;

	assert_non_null(list);
	assert_true(http_url_parse(slice_of(text), &url, &why));
	allow_check(list, &url, method, &v);
	assert_true(!v.rule || v.rule->automatic);
	return v.rule;
}

static void what_was_found_is_allowed_while_it_is_there(void **state)
{
	struct lab *lab = *state;
	struct found found = { .n = 3, .generation = 1 };
	static const char uds[] = "https://cucm1.example.com:8443/cucm-uds/user/alice";
	struct buf err;

	buf_init(&err, 4096);
	assert_false(edge_allows(lab, uds, HTTP_GET));
	lab->c.web->uc = &discovery;
	lab->c.web->uc_self = &found;
	SOON(lab, edge_allows(lab, uds, HTTP_GET));
	assert_true(edge_allows(lab, uds, HTTP_PUT));
	assert_false(edge_allows(lab, "https://cucm1.example.com:8443/cucm-admin/", HTTP_GET));
	assert_true(edge_allows(lab, "http://cucm1.example.com:6970/SEP.cnf.xml", HTTP_GET));
	assert_false(edge_allows(lab, "http://cucm1.example.com:6970/SEP.cnf.xml", HTTP_PUT));
	assert_true(edge_allows(lab, "https://[2001:db8::1]:9443/vmrest/x", HTTP_POST));
	assert_false(edge_allows(lab, "https://[2001:db8::1]/vmrest/x", HTTP_POST));
	/* It stays over a reload, and goes with the server. */
	assert_int_equal(end_reload(&lab->c, c_text(lab, ""), &err), 0);
	assert_true(edge_allows(lab, uds, HTTP_GET));
	found.n = 1;
	found.generation++;
	SOON(lab, !edge_allows(lab, "https://[2001:db8::1]:9443/vmrest/x", HTTP_POST));
	assert_true(edge_allows(lab, uds, HTTP_GET));
	lab->c.web->uc = NULL;
	buf_fini(&err);
}

/* --- an edge that was taken over --- */

static int hostile(struct client *c, const char *target, const char *fields)
{
	char text[2048];
	const char *host = target[0] == '/' ? "core" : strstr(target, "//") + 2;

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %.*s\r\n%s\r\n", target,
		 (int)strcspn(host, "/"), host, fields);
	says(c, text);
	return hears(c);
}

static void hostile_edge_gets_nowhere(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial_core(lab);
	char url[128];

	alice(lab);
	bob(lab);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/app/x", lab->backend.port);
	assert_int_equal(hostile(c, url, ""), 403); /* the list is young */
	assert_int_equal(n_hostile(lab), 0);
	list_is_old(lab);
	assert_int_equal(hostile(c, url, ""), 403);
	assert_true(got(c, "\r\nTurnpike-Reason: session\r\n"));
	assert_int_equal(n_hostile(lab), 1);
	assert_int_equal(hostile(c, url, "Turnpike-Session: no\r\n"), 403);
	assert_int_equal(hostile(c, url, "Turnpike-Session: " ALICE_TOKEN "\r\n"), 403);
	assert_int_equal(hostile(c, url,
				 "Turnpike-Session: " ALICE_ID "\r\nTurnpike-Session: " BOB_ID
				 "\r\n"),
			 400);
	assert_int_equal(hostile(c, "/app/x", "Turnpike-Session: " ALICE_ID "\r\n"), 404);
	assert_int_equal(hostile(c, "/edge-config", ""), 403);
	assert_int_equal(hostile(c, "http://127.0.0.1:22/", "Turnpike-Session: " ALICE_ID "\r\n"),
			 403);
	assert_int_equal(
		hostile(c, "http://169.254.169.254/", "Turnpike-Session: " ALICE_ID "\r\n"), 403);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/app/%%2e%%2e/y", lab->backend.port);
	assert_int_equal(hostile(c, url, "Turnpike-Session: " ALICE_ID "\r\n"), 403);
	snprintf(url, sizeof(url), "http://a@127.0.0.1:%u/app", lab->backend.port);
	assert_true(hostile(c, url, "Turnpike-Session: " ALICE_ID "\r\n") / 100 == 4);
	assert_int_equal(lab->backend.n_requests, 0);
	hang_up(c);
}

static void facts_of_a_hostile_edge(void **state)
{
	struct lab *lab = *state;
	const struct web_table *t = sink_of(&lab->c, "edge");
	json_t *item =
		json_pack("{s:s,s:i,s:i}", "name", "a/<b>", "web_port", 70000, "sip_tls_port", -1);
	struct edge_facts f;

	web_core_facts(lab->c.web, 1, &f);
	assert_string_equal(f.name, "edge1.example.com");
	assert_int_equal(f.web_port, lab->web_port);
	t->sink->reset(t->arg, 1);
	t->sink->put(t->arg, 1, "x", item);
	json_decref(item);
	web_core_facts(lab->c.web, 1, &f);
	assert_string_equal(f.name, "edge1"); /* of the [tunnel-peer] */
	assert_int_equal(f.web_port, 0);
	item = json_pack("{s:s,s:i,s:s}", "name", "edge9.example.com", "web_port", 70000,
			 "sip_tls_port", "5061");
	t->sink->put(t->arg, 1, "x", item);
	json_decref(item);
	web_core_facts(lab->c.web, 1, &f);
	assert_string_equal(f.name, "edge9.example.com");
	assert_int_equal(f.web_port, 0);
	assert_int_equal(f.sip_tls_port, 0);
	for (tunnel_peer p = 2; p < 2 * WEB_MAX_PEERS; p++)
		t->sink->reset(t->arg, p);
	assert_int_equal(lab->c.web->n_edges, WEB_MAX_PEERS);
	t->sink->del(t->arg, 1, "x");
	web_core_facts(lab->c.web, 1, &f);
	assert_string_equal(f.name, "edge1");
}

/* --- what belongs together --- */

static void is_bound(struct end *e, enum conn_kind kind, const char *user, const char *session)
{
	const struct list *head = conn_list(e->env.conns, kind);
	const struct conn *c;

	assert_int_equal(conn_count(e->env.conns, kind), 1);
	c = CONTAINER_OF(list_first(head), struct conn, node);
	assert_string_equal(c->user, user);
	assert_string_equal(c->session, session);
}

static void user_and_session_are_in_both_tables(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	const struct conn *front, *request;

	alice(lab);
	bob(lab);
	lab->backend.canned = NULL;
	begins(c, "GET", inside(lab, "/app/x"), ALICE);
	SOON(lab, lab->backend.n_requests == 1);
	is_bound(&lab->e, CONN_REQUEST, "alice@example.com", ALICE_ID);
	is_bound(&lab->e, CONN_HTTP, "alice@example.com", ALICE_ID);
	is_bound(&lab->c, CONN_REQUEST, "alice@example.com", ALICE_ID);
	is_bound(&lab->c, CONN_HTTP, "alice@example.com", ALICE_ID);
	/* C shows whom the edge asks for. */
	front = CONTAINER_OF(list_first(conn_list(lab->e.env.conns, CONN_HTTP)), struct conn, node);
	request = CONTAINER_OF(list_first(conn_list(lab->c.env.conns, CONN_REQUEST)), struct conn,
			       node);
	assert_true(addr_eq(&front->remote, &request->remote));
	backend_says(&lab->backend, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(hears(c), 200);
	begins(c, "GET", inside(lab, "/app/x"), BOB);
	SOON(lab, lab->backend.n_requests == 2);
	is_bound(&lab->e, CONN_HTTP, "bob@example.com", BOB_ID);
	is_bound(&lab->c, CONN_REQUEST, "bob@example.com", BOB_ID);
	backend_says(&lab->backend, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(hears(c), 200);
	hang_up(c);
}

static void back_connections_are_one_users_only(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	bob(lab);
	for (int i = 0; i < 3; i++)
		assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 200);
	assert_int_equal(lab->n_opens, 1);
	assert_int_equal(lab->backend.n, 1);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), BOB), 200);
	assert_int_equal(lab->n_opens, 2);
	assert_int_equal(lab->backend.n, 2);
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 200);
	assert_int_equal(lab->n_opens, 3);
	assert_int_equal(lab->backend.n, 3);
	hang_up(c);
	/* The same on C, whatever an edge puts on one stream. */
	c = dial_core(lab);
	for (int i = 0; i < 4; i++) {
		char url[128];

		snprintf(url, sizeof(url), "http://127.0.0.1:%u/app", lab->backend.port);
		assert_int_equal(hostile(c, url,
					 i < 2 ? "Turnpike-Session: " ALICE_ID "\r\n"
					       : "Turnpike-Session: " BOB_ID "\r\n"),
				 200);
	}
	assert_int_equal(lab->backend.n, 5);
	hang_up(c);
}

/* --- ends --- */

static void client_that_vanishes_takes_its_sign_in_back(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	begins(c, "GET", inside(lab, "/app/x"), PASSWORD);
	SOON(lab, lab->e.sign_in != 0);
	stream_abort(c->s);
	c->s = NULL;
	SOON(lab, lab->e.n_cancels == 1);
	SOON(lab, conn_count(lab->e.env.conns, CONN_REQUEST) == 0);
	assert_int_equal(lab->n_opens, 0);
	hang_up(c);
}

static void reload_during_a_sign_in(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	struct buf err;

	buf_init(&err, 4096);
	begins(c, "GET", inside(lab, "/app/x"), PASSWORD);
	SOON(lab, lab->e.sign_in != 0);
	assert_int_equal(end_reload(&lab->e,
				    e_text(lab, "realm = New\ncookie-name = New-Auth", SITE_ROWS),
				    &err),
			 0);
	core_says(lab, SIGNIN_OK, lab_session(lab, ALICE_TOKEN, ALICE_ID, "alice", "example.com"),
		  0);
	assert_int_equal(hears(c), 200);
	assert_true(got(c, "\r\nSet-Cookie: New-Auth=" ALICE_TOKEN "; "));
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 401);
	assert_true(got(c, "Basic realm=\"New\""));
	assert_int_equal(
		asks(c, "GET", inside(lab, "/app/x"), "Cookie: New-Auth=" ALICE_TOKEN "\r\n"), 200);
	buf_fini(&err);
	hang_up(c);
}

static bool waits_for_dns(struct lab *lab)
{
	return dns_stats(lab->dns).n_inflight > 0;
}

/* The rules of now decide, and the request is not lost. */
static void reload_while_a_name_is_looked_up(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	char more[128];
	struct buf err;

	buf_init(&err, 4096);
	alice(lab);
	begins(c, "GET", at_server("example.com", "slow.example", lab->backend.port, "/s"), ALICE);
	SOON(lab, waits_for_dns(lab));
	snprintf(more, sizeof(more),
		 "[backends slow.example]\nservers = 127.0.0.1:%u\nhealth-path = /health\n",
		 lab->backend.port);
	assert_int_equal(end_reload(&lab->c, c_text(lab, more), &err), 0);
	assert_int_equal(hears(c), 200);
	assert_true(arrived(lab, "\r\nHost: slow.example:"));
	buf_fini(&err);
	hang_up(c);
}

static void reload_takes_the_rule_away_while_a_name_is_looked_up(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);
	struct buf err;

	buf_init(&err, 4096);
	alice(lab);
	list_is_old(lab);
	begins(c, "GET", at_server("example.com", "slow.example", lab->backend.port, "/s"), ALICE);
	SOON(lab, waits_for_dns(lab));
	/* Twice the same: it waits again, and loses nothing. */
	assert_int_equal(end_reload(&lab->c, c_text(lab, ""), &err), 0);
	SOON(lab, waits_for_dns(lab));
	assert_int_equal(conn_count(lab->c.env.conns, CONN_REQUEST), 1);
	assert_int_equal(
		end_reload(&lab->c, "[system]\nrole = C\nname = core1.example.com\n", &err), 0);
	assert_int_equal(hears(c), 403);
	assert_int_equal(trace_count(lab->c.env.trace, "http.allow.denied"), 1);
	assert_int_equal(n_hostile(lab), 0);
	buf_fini(&err);
	hang_up(c);
}

static void client_vanishes_while_a_name_is_looked_up(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port), *d = dial(lab, lab->web_port);
	struct buf err;

	buf_init(&err, 4096);
	alice(lab);
	begins(c, "GET", at_server("example.com", "slow.example", lab->backend.port, "/s"), ALICE);
	begins(d, "GET", at_domain("example.com", "/get_edge_config?service_name=_cisco-uds"),
	       ALICE);
	SOON(lab, conn_count(lab->c.env.conns, CONN_REQUEST) == 2 && waits_for_dns(lab));
	stream_abort(c->s);
	stream_abort(d->s);
	c->s = d->s = NULL;
	SOON(lab, conn_count(lab->c.env.conns, CONN_REQUEST) == 0);
	/* Nothing is left that would ask again. */
	assert_int_equal(end_reload(&lab->c, c_text(lab, ""), &err), 0);
	buf_fini(&err);
	hang_up(c);
	hang_up(d);
}

static void box_ends_while_things_are_under_way(void **state)
{
	struct lab *lab = *state;
	struct client *c[3];
	struct buf err;

	buf_init(&err, 4096);
	alice(lab);
	for (int i = 0; i < 3; i++)
		c[i] = dial(lab, lab->web_port);
	begins(c[0], "GET", inside(lab, "/app/x"), PASSWORD);
	begins(c[1], "GET", at_server("example.com", "slow.example", lab->backend.port, "/s"),
	       ALICE);
	begins(c[2], "GET", at_domain("example.com", "/get_edge_config?service_name=_cisco-uds"),
	       ALICE);
	SOON(lab, lab->e.sign_in && conn_count(lab->c.env.conns, CONN_REQUEST) == 2 &&
			  waits_for_dns(lab));
	for (int i = 0; i < 3; i++)
		hang_up(c[i]);
	/* What waited for the name is to ask again at the end of a turn that never ends. */
	assert_int_equal(end_reload(&lab->c, c_text(lab, ""), &err), 0);
	buf_fini(&err);
	/* tear_down() ends both boxes without another turn of the loop */
}

static void drain_lets_what_is_under_way_end(void **state)
{
	struct lab *lab = *state;
	struct client *busy = dial(lab, lab->web_port), *idle = dial(lab, lab->web_port), *late;

	alice(lab);
	lab->backend.canned = NULL;
	assert_int_equal(asks(idle, "GET", "/", ""), 404);
	begins(busy, "GET", inside(lab, "/app/x"), ALICE);
	SOON(lab, lab->backend.n_requests == 1);
	http_module.drain(lab->c.web);
	http_module.drain(lab->e.web);
	assert_false(http_module.drained(lab->e.web));
	assert_false(http_module.drained(lab->c.web));
	SOON(lab, idle->closed || idle->eof);
	late = dial(lab, lab->web_port);
	assert_true(late->closed);
	backend_says(&lab->backend, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(hears(busy), 200);
	assert_true(got(busy, "\r\nConnection: close\r\n"));
	SOON(lab, http_module.drained(lab->e.web) && http_module.drained(lab->c.web));
	hang_up(busy);
	hang_up(idle);
	hang_up(late);
}

static void without_a_tunnel_there_is_502(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port), *s = dial(lab, lab->site_port);

	alice(lab);
	lab->up = false;
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 502);
	assert_int_equal(trace_count(lab->e.env.trace, "http.tunnel.failed"), 1);
	assert_int_equal(asks(s, "GET", "/open", ""), 502);
	assert_int_equal(trace_count(lab->e.env.trace, "http.site.failed"), 1);
	lab->up = true;
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 200);
	hang_up(c);
	hang_up(s);
}

static void server_that_is_not_there_is_502(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port);

	alice(lab);
	close(lab->backend.listen_fd);
	lab->backend.listen_fd = -1;
	assert_int_equal(asks(c, "GET", inside(lab, "/app/x"), ALICE), 502);
	assert_int_equal(trace_count(lab->c.env.trace, "http.backend.failed"), 1);
	assert_int_equal(trace_count(lab->e.env.trace, "http.tunnel.failed"), 0);
	hang_up(c);
}

/* --- [site] --- */

static void site_shows_its_paths_without_a_sign_in(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->site_port);
	char host[64];

	list_is_old(lab);
	assert_int_equal(asks(c, "GET", "/open/%7ex?q=%7e", "X-Forwarded-For: 6.6.6.6\r\n"), 200);
	assert_true(arrived(lab, "GET /open/~x?q=%7e HTTP/1.1\r\n"));
	snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", lab->backend.port);
	assert_true(arrived(lab, host));
	assert_true(arrived(lab, "\r\nX-Forwarded-For: 127.0.0.1\r\n"));
	assert_true(arrived(lab, "\r\nX-Forwarded-Host: outside.example.com\r\n"));
	assert_false(arrived(lab, "6.6.6.6"));
	assert_false(arrived(lab, "Turnpike-"));
	assert_int_equal(asks(c, "GET", "/open", ""), 200);
	assert_int_equal(asks(c, "GET", "/opening", ""), 404);
	assert_int_equal(asks(c, "GET", "/", ""), 404);
	assert_int_equal(asks(c, "GET", "/open/%2e%2e/app", ""), 400);
	assert_int_equal(asks(c, "GET", "http://127.0.0.1/open", ""), 400);
	assert_int_equal(lab->backend.n_requests, 2);
	assert_int_equal(trace_count(lab->e.env.trace, "http.site.path"), 2);
	assert_int_equal(n_hostile(lab), 0);
	hang_up(c);
}

/* Cookies know no ports: a browser brings the sign-in cookie here too. */
static void site_sees_no_sign_in_cookie(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->site_port);

	alice(lab);
	lab->backend.canned = "HTTP/1.1 200 OK\r\nSet-Cookie: X-Auth=" BOB_TOKEN "; Path=/\r\n"
			      "Turnpike-Reason: session\r\nContent-Length: 0\r\n\r\n";
	assert_int_equal(asks(c, "GET", "/open", "Cookie: a=1; X-Auth=" ALICE_TOKEN "\r\n"), 200);
	assert_true(arrived(lab, "\r\nCookie: a=1\r\n"));
	assert_false(arrived(lab, ALICE_TOKEN));
	assert_false(got(c, BOB_TOKEN));
	assert_false(got(c, "Turnpike-"));
	hang_up(c);
}

/* /app is listed on C, but not for guests; the edge knows that by itself. */
static void site_opens_no_door_that_the_core_has_not(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->site_port);

	alice(lab);
	list_is_old(lab);
	assert_int_equal(asks(c, "GET", "/app", ALICE), 403);
	assert_true(got(c, "not published"));
	assert_false(got(c, "[allow"));
	assert_int_equal(asks(c, "DELETE", "/open", ""), 403);
	assert_int_equal(lab->n_opens, 0);
	assert_int_equal(trace_count(lab->e.env.trace, "http.allow.denied"), 2);
	assert_int_equal(n_hostile(lab), 0);
	hang_up(c);
}

/* The redirect-port: whatever is asked, nothing goes inside; it comes, moves and goes by reloads.
 */
static void site_sends_plain_http_to_https(void **state)
{
	static const struct {
		const char *method, *target, *host, *location;
		int status;
	} rows[] = {
		{ "GET", "/open/%7ex?q=%7e", "a.example", "https://a.example/open/%7ex?q=%7e",
		  301 },
		{ "HEAD", "/", "A.example.:80", "https://a.example/", 301 },
		{ "POST", "/other?", "[2001:db8::1]:9980", "https://[2001:db8::1]/other?", 308 },
		{ "OPTIONS", "*", "a.example", "https://a.example/", 308 },
		{ "GET", "http://b.example:80/x", "b.example:80", "https://b.example/x", 301 },
		{ "GET", "/", "0x7f.1", "https://edge1.example.com/", 301 },
		{ "GET", "//b.example/", "a.example", "https://a.example//b.example/", 301 },
	};
	struct lab *lab = *state;
	uint16_t port = free_port();
	char site[128], text[512];
	struct buf err;
	struct client *c;

	buf_init(&err, 4096);
	snprintf(site, sizeof(site), SITE_ROWS "\nredirect-port = %u", port);
	assert_int_equal(end_reload(&lab->e, e_text(lab, "", site), &err), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		c = dial_as(lab, port, NULL);
		c->heads = strcmp(rows[i].method, "HEAD") == 0;
		snprintf(text, sizeof(text),
			 "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", rows[i].method,
			 rows[i].target, rows[i].host);
		says(c, text);
		assert_int_equal(hears(c), rows[i].status);
		snprintf(text, sizeof(text), "\r\nLocation: %s\r\n", rows[i].location);
		if (!got(c, text))
			fail_msg("row %zu: %s", i, c->got.p);
		hang_up(c);
	}
	snprintf(site, sizeof(site),
		 SITE_ROWS "\nredirect-port = %u\npublic-host = go.example\npublic-port = 9443",
		 port);
	assert_int_equal(end_reload(&lab->e, e_text(lab, "", site), &err), 0);
	c = dial_as(lab, port, NULL);
	assert_int_equal(asks(c, "GET", "/open", ""), 301);
	assert_true(got(c, "\r\nLocation: https://go.example:9443/open\r\n"));
	assert_int_equal(end_reload(&lab->e, e_text(lab, "", SITE_ROWS), &err), 0);
	hang_up(c);
	c = dial_as(lab, port, NULL);
	assert_true(c->closed);
	hang_up(c);
	assert_int_equal(lab->n_opens, 0);
	assert_int_equal(lab->backend.n_requests, 0);
	buf_fini(&err);
}

static void site_reached_directly(void **state)
{
	struct lab *lab = *state;
	struct client *c;
	struct buf err;

	buf_init(&err, 4096);
	assert_int_equal(end_reload(&lab->e, e_text(lab, "", "via = direct\npaths = /d/"), &err),
			 0);
	c = dial(lab, lab->site_port);
	assert_int_equal(asks(c, "POST", "/d/x?y", ALICE "Content-Length: 0\r\n"), 200);
	assert_true(arrived(lab, "POST /d/x?y HTTP/1.1\r\n"));
	assert_true(arrived(lab, "\r\nX-Forwarded-Proto: https\r\n"));
	assert_false(arrived(lab, "Turnpike-"));
	assert_false(arrived(lab, "Cookie"));
	assert_int_equal(asks(c, "GET", "/d", ""), 404);
	assert_int_equal(lab->n_opens, 0);
	/* Gone from the file: the port closes, who is connected is told. */
	assert_int_equal(end_reload(&lab->e, e_text(lab, "", NULL), &err), 0);
	assert_int_equal(asks(c, "GET", "/d/x", ""), 503);
	hang_up(c);
	c = dial(lab, lab->site_port);
	assert_true(c->closed);
	hang_up(c);
	buf_fini(&err);
}

static void site_waits_for_a_name_over_a_reload(void **state)
{
	struct lab *lab = *state;
	struct client *c;
	char text[8192];
	struct buf err;

	buf_init(&err, 4096);
	snprintf(text, sizeof(text),
		 "%s[site t]\ntls = web\naddress = 127.0.0.1\nport = %u\ntarget = "
		 "http://slow.example:81\nvia = direct\n",
		 e_text(lab, "", NULL), lab->site_port);
	assert_int_equal(end_reload(&lab->e, text, &err), 0);
	c = dial(lab, lab->site_port);
	begins(c, "GET", "/x", "");
	SOON(lab, waits_for_dns(lab));
	assert_int_equal(end_reload(&lab->e, text, &err), 0);
	SOON(lab, waits_for_dns(lab));
	assert_int_equal(conn_count(lab->e.env.conns, CONN_REQUEST), 1);
	assert_int_equal(c->got.n, 0);
	stream_abort(c->s);
	c->s = NULL;
	SOON(lab, conn_count(lab->e.env.conns, CONN_REQUEST) == 0);
	hang_up(c);
	buf_fini(&err);
}

/* --- listeners --- */

/* The same port at one address, at any, and back. */
static void a_site_moves_between_addresses(void **state)
{
	static const char *const at[] = { "127.0.0.1", "any", "127.0.0.1" };
	struct lab *lab = *state;
	struct client *c;
	char text[8192];
	struct buf err;

	buf_init(&err, 4096);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		snprintf(text, sizeof(text),
			 "%s[site t]\ntls = web\naddress = %s\nport = %u\ntarget = "
			 "http://127.0.0.1:81\nvia = direct\npaths = /d\n",
			 e_text(lab, "", NULL), at[i], lab->site_port);
		if (end_reload(&lab->e, text, &err) != 0)
			fail_msg("%s: %s", at[i], err.p);
		c = dial(lab, lab->site_port);
		assert_int_equal(asks(c, "GET", "/x", ""), 404);
		hang_up(c);
	}
	buf_fini(&err);
}

static void port_that_is_taken_refuses_the_reload(void **state)
{
	struct lab *lab = *state;
	struct client *c = dial(lab, lab->web_port), *d;
	struct addr a = stream_box_addr(0);
	int fd = net_listen_tcp(&a, 1), hold[2], status;
	uint16_t old = lab->web_port;
	struct buf err;
	pid_t pid;

	buf_init(&err, 4096);
	assert_true(fd >= 0);
	lab->web_port = net_local_addr(fd).port;
	/* Another process has it: what this one has would be its own. */
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	if (pid == 0) {
		close(hold[1]);
		_exit(read(hold[0], &status, 1) == 0 ? 0 : 1);
	}
	close(fd);
	assert_true(end_reload(&lab->e, e_text(lab, "", SITE_ROWS), &err) < 0);
	assert_non_null(strstr(err.p, "[web] 127.0.0.1:"));
	assert_int_equal(asks(c, "GET", "/", ""), 404);
	d = dial(lab, old);
	assert_int_equal(asks(d, "GET", "/", ""), 404);
	hang_up(d);
	close(hold[0]);
	close(hold[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* Free now: the port moves, and who is connected stays. */
	buf_reset(&err);
	assert_int_equal(end_reload(&lab->e, e_text(lab, "", SITE_ROWS), &err), 0);
	d = dial(lab, old);
	assert_true(d->closed);
	hang_up(d);
	d = dial(lab, lab->web_port);
	assert_int_equal(asks(d, "GET", "/", ""), 404);
	assert_int_equal(asks(c, "GET", "/", ""), 404);
	hang_up(c);
	hang_up(d);
	buf_fini(&err);
}

/* Ports that come and go with reloads do not use the table up. */
static void places_of_listeners_are_used_again(void **state)
{
	struct lab *lab = *state;
	struct client *c;
	struct buf err;

	buf_init(&err, 4096);
	for (int i = 0; i < 2 * WEB_MAX_LISTENERS; i++) {
		lab->web_port = free_port();
		assert_int_equal(end_reload(&lab->e, e_text(lab, "", NULL), &err), 0);
		loop_once(lab->box->env.loop, 0);
	}
	assert_true(lab->e.web->n_listeners < 8);
	c = dial(lab, lab->web_port);
	assert_string_equal(c->why, "");
	hang_up(c);
	buf_fini(&err);
}

#define T(f)	   cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define T_APART(f) cmocka_unit_test_setup_teardown(f, set_up_apart, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_credentials_there_is_a_question),
		T(tokens_and_domains_are_looked_at_first),
		T(refused_sign_ins),
		T(sign_in_brings_the_cookie),
		T(password_beside_a_cookie),
		T(cookie_of_another_domain_is_none),
		T(head_of_get_edge_config_is_nothing_hostile),
		T(edge_config_names_are_checked),
		T(logging_out_ends_the_session),
		T(own_cookie_stays_outside),
		T(fields_between_the_boxes_are_ours_alone),
		T(canonical_path_arrives_and_the_query_untouched),
		T(servers_do_not_set_the_cookie),
		T(servers_do_not_speak_for_the_core),
		T(session_that_the_core_does_not_know_is_asked_anew),
		T_APART(list_that_has_not_come_is_503),
		T(edge_refuses_early),
		T(core_refuses_what_the_edge_let_through),
		T(rubbish_in_the_table_allows_nothing),
		T(changes_of_the_list_reach_the_edge),
		T(what_was_found_is_allowed_while_it_is_there),
		T(hostile_edge_gets_nowhere),
		T(facts_of_a_hostile_edge),
		T(user_and_session_are_in_both_tables),
		T(back_connections_are_one_users_only),
		T(client_that_vanishes_takes_its_sign_in_back),
		T(reload_during_a_sign_in),
		T(reload_while_a_name_is_looked_up),
		T(reload_takes_the_rule_away_while_a_name_is_looked_up),
		T(client_vanishes_while_a_name_is_looked_up),
		T(box_ends_while_things_are_under_way),
		T(drain_lets_what_is_under_way_end),
		T(without_a_tunnel_there_is_502),
		T(server_that_is_not_there_is_502),
		T(site_shows_its_paths_without_a_sign_in),
		T(site_sees_no_sign_in_cookie),
		T(site_opens_no_door_that_the_core_has_not),
		T(site_sends_plain_http_to_https),
		T(site_reached_directly),
		T(site_waits_for_a_name_over_a_reload),
		T(a_site_moves_between_addresses),
		T(port_that_is_taken_refuses_the_reload),
		T(places_of_listeners_are_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
