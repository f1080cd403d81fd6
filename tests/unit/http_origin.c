/*
 * Servers inside: which addresses may be reached, names that change their addresses, several
 * servers behind one name. Real sockets on loopback, names from a hosts file.
 */
#include <errno.h>

#include "core/net.h"
#include "http/origin.h"
#include "support/alloc_fail.h"
#include "support/stream_box.h"

/* --- addresses --- */

static void addresses(void **state)
{
	static const struct {
		const char *addr, *named;
		bool is_own;
		const char *why; /* NULL: allowed */
	} rows[] = {
		{ "192.0.2.1", "x.example", false, NULL },
		{ "10.0.0.1", "x.example", false, NULL },
		{ "172.16.0.1", "x.example", false, NULL },
		{ "192.168.1.1", "x.example", false, NULL },
		{ "fd00::1", "x.example", false, NULL },
		{ "2001:db8::1", "x.example", false, NULL },
		{ "0.0.0.0", "x.example", false, "unspecified" },
		{ "::", "x.example", false, "unspecified" },
		{ "127.0.0.1", "x.example", false, "loopback" },
		{ "127.0.0.1", "localhost", false, "loopback" },
		{ "127.255.255.254", "x.example", false, "loopback" },
		{ "::1", "x.example", false, "loopback" },
		{ "::ffff:127.0.0.1", "x.example", false, "loopback" },
		{ "::ffff:7f00:1", "x.example", false, "loopback" },
		{ "169.254.169.254", "x.example", false, "link" },
		{ "::ffff:169.254.169.254", "x.example", false, "link" },
		{ "fe80::1", "x.example", false, "link" },
		{ "febf::1", "x.example", false, "link" },
		{ "224.0.0.1", "x.example", false, "multicast" },
		{ "239.255.255.255", "x.example", false, "multicast" },
		{ "ff02::1", "x.example", false, "multicast" },
		{ "255.255.255.255", "x.example", false, "broadcast" },
		{ "0.1.2.3", "x.example", false, "reserved" },
		{ "240.0.0.1", "x.example", false, "reserved" },
		{ "198.18.0.1", "x.example", false, "reserved" },
		/* carried in IPv6 */
		{ "::127.0.0.1", "x.example", false, "loopback" },
		{ "::ffff:0:127.0.0.1", "x.example", false, "loopback" },
		{ "64:ff9b::127.0.0.1", "x.example", false, "loopback" },
		{ "64:ff9b::169.254.169.254", "x.example", false, "link" },
		{ "64:ff9b:1::127.0.0.1", "x.example", false, "reserved" },
		{ "64:ff9b:1:7f00:0:100::", "x.example", false, "reserved" },
		{ "2002:7f00:1::", "x.example", false, "loopback" },
		{ "2002:a9fe:a9fe::1", "x.example", false, "link" },
		{ "2001:0:808:808::80ff:fffe", "x.example", false, "reserved" },
		{ "2001:db8::5efe:127.0.0.1", "x.example", false, "loopback" },
		{ "2001:db8::200:5efe:169.254.169.254", "x.example", false, "link" },
		{ "2001:db8::5efe:192.0.2.1", "x.example", false, NULL },
		{ "64:ff9b::192.0.2.1", "x.example", true, "an address of this host" },
		/* this host */
		{ "10.0.0.1", "x.example", true, "an address of this host" },
		{ "2001:db8::1", "x.example", true, "an address of this host" },
		/* named as they are */
		{ "127.0.0.1", "127.0.0.1", true, NULL },
		{ "::1", "::1", true, NULL },
		{ "169.254.169.254", "169.254.169.254", false, NULL },
		{ "fe80::1", "fe80::1", false, NULL },
		{ "10.0.0.1", "10.0.0.1", true, NULL },
		{ "240.0.0.1", "240.0.0.1", false, NULL },
		/* another literal names nothing else */
		{ "127.0.0.2", "127.0.0.1", false, "loopback" },
		{ "127.0.0.1", "::1", false, "loopback" },
		{ "10.0.0.2", "10.0.0.1", true, "an address of this host" },
		/* never */
		{ "0.0.0.0", "0.0.0.0", false, "unspecified" },
		{ "::", "::", false, "unspecified" },
		{ "224.0.0.1", "224.0.0.1", false, "multicast" },
		{ "ff02::1", "ff02::1", false, "multicast" },
		{ "255.255.255.255", "255.255.255.255", false, "broadcast" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *why = "";
		struct addr a;
		bool ok;

		assert_true(addr_parse_ip(slice_of(rows[i].addr), 443, &a));
		ok = origin_address_allowed(&a, rows[i].named, rows[i].is_own, &why);
		if (ok != !rows[i].why)
			fail_msg("%s named %s: %s", rows[i].addr, rows[i].named,
				 ok ? "allowed" : why);
		if (!ok && !strstr(why, rows[i].why))
			fail_msg("%s: %s, not %s", rows[i].addr, why, rows[i].why);
	}
}

/* --- a box with servers --- */

#define N_SERVERS 3

struct server {
	struct fixture *fx;
	struct stream_listener *l;
	struct addr at;
	unsigned n_taken;
	const char *answer; /* to health questions; NULL: hangs up */
};

struct fixture {
	struct stream_box *box;
	struct conf_store *conf;
	struct origins *origins;
	char hosts[64];
	struct server servers[N_SERVERS];
	/* the wait */
	struct origin_wait wait;
	unsigned n_done;
	int error;
	char why[160];
	/* the connection */
	struct stream *s;
	bool opened, closed;
};

static const struct conf_section *const schema[] = { &tls_conf_section, &backends_section };

static void done(void *arg, int error, const char *why)
{
	struct fixture *fx = arg;

	fx->n_done++;
	fx->error = error;
	snprintf(fx->why, sizeof(fx->why), "%s", why);
}

static void on_opened(void *arg)
{
	((struct fixture *)arg)->opened = true;
}

static void on_readable(void *arg)
{
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct fixture *fx = arg;

	fx->closed = true;
	fx->s = NULL;
}

static const struct stream_handler handler = { .opened = on_opened,
					       .readable = on_readable,
					       .closed = on_closed };

/* One question, one answer. */
struct asked {
	struct server *server;
	struct stream *s;
};

static void asked_closed(void *arg, enum stream_end end, const char *why)
{
	free(arg);
}

static void asked_readable(void *arg)
{
	struct asked *q = arg;
	struct stream *s = q->s;

	if (stream_eof(s)) {
		stream_close(s);
		free(q);
		return;
	}
	evbuffer_drain(stream_in(s), evbuffer_get_length(stream_in(s)));
	stream_consumed(s);
	if (!q->server->answer) {
		stream_abort(s);
		free(q);
		return;
	}
	evbuffer_add(stream_out(s), q->server->answer, strlen(q->server->answer));
	stream_flush(s);
	stream_shutdown(s);
}

static const struct stream_handler asked_handler = { .readable = asked_readable,
						     .closed = asked_closed };

static void accepted(void *arg, struct stream *s)
{
	struct server *server = arg;
	struct asked *q = calloc(1, sizeof(*q));

	server->n_taken++;
	q->server = server;
	q->s = s;
	stream_set_handler(s, &asked_handler, q);
	if (evbuffer_get_length(stream_in(s)) > 0)
		asked_readable(q);
}

#define GOOD "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define SICK "HTTP/1.1 503 Sick\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static void write_hosts(struct fixture *fx, const char *text)
{
	FILE *f = fopen(fx->hosts, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(dns_set_hosts_file(fx->box->env.dns, fx->hosts), 0);
}

static void configure(struct fixture *fx, const char *text)
{
	struct buf errors;
	struct conf_snapshot *snap;

	buf_init(&errors, 4096);
	snap = conf_parse(fx->conf, "t.ini", slice_of(text), CONF_ROLE_C, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	buf_fini(&errors);
	origins_configure(fx->origins, snap);
	conf_unref(snap);
}

static int setup(void **state)
{
	static char *const name_servers[] = { (char *)(uintptr_t) "127.0.0.1:9" };
	struct dns_conf dns = { .servers = { (char **)(uintptr_t)name_servers, 1 },
				.timeout_ms = 50,
				.tries = 1,
				.cache_max_ms = 1000,
				.cache_entries = 10 };
	struct fixture *fx = calloc(1, sizeof(*fx));

	fx->box = stream_box_new();
	fx->box->env.role = CONF_ROLE_C;
	fx->box->env.dns = dns_new(fx->box->env.loop, fx->box->env.log, fx->box->env.alarms);
	assert_int_equal(dns_apply(fx->box->env.dns, &dns), 0);
	snprintf(fx->hosts, sizeof(fx->hosts), "%s/hosts", fx->box->dir);
	fx->conf = conf_store_new(schema, 2);
	fx->origins = origins_new(&fx->box->env);
	assert_non_null(fx->origins);
	configure(fx, "");
	for (int i = 0; i < N_SERVERS; i++) {
		struct server *s = &fx->servers[i];
		struct stream_listener_conf c = {
			.local = stream_box_addr(0), .zone = "t", .accepted = accepted, .arg = s
		};
		int error = 0;

		s->fx = fx;
		s->answer = GOOD;
		s->l = stream_listener_new(&fx->box->env, &c, &error);
		assert_non_null(s->l);
	}
	/* The table lists the listeners in the order in which they came. */
	LIST_FOREACH (it, conn_list(fx->box->env.conns, CONN_LISTENER)) {
		static int i;

		fx->servers[i++ % N_SERVERS].at = CONTAINER_OF(it, struct conn, node)->local;
	}
	fx->wait = (struct origin_wait){ .done = done, .arg = fx };
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	stream_close(fx->s);
	origin_wait_cancel(&fx->wait);
	origins_free(fx->origins);
	for (int i = 0; i < N_SERVERS; i++)
		stream_listener_free(fx->servers[i].l);
	for (int i = 0; i < 20; i++)
		loop_once(fx->box->env.loop, 5);
	dns_free(fx->box->env.dns);
	conf_store_free(fx->conf);
	stream_box_free(fx->box);
	free(fx);
	return 0;
}

static struct origin *get(struct fixture *fx, const char *text, const char *rule_host)
{
	struct allow_rule rule = { .name = "r", .verify = true };
	static struct http_url url;
	const char *why = "";
	struct origin * or ;

	if (!http_url_parse(slice_of(text), &url, &why))
		fail_msg("%s: %s", text, why);
	slice_copy(rule.host, sizeof(rule.host), slice_of(rule_host));
	or = origins_get(fx->origins, &url, &rule);
	assert_non_null(or);
	return or ;
}

/* What origin_ready() says, at once or later. */
static int ready(struct fixture *fx, struct origin * or)
{
	const char *why = "";
	int error = origin_ready(or, &fx->wait, &why);

	if (error != -EINPROGRESS) {
		snprintf(fx->why, sizeof(fx->why), "%s", why);
		return error;
	}
	fx->n_done = 0;
	UNTIL(fx->box, fx->n_done > 0);
	assert_int_equal(fx->n_done, 1);
	return fx->error;
}

/* Which server a connection goes to; -1: none. tried NULL: a request's first. */
static int connect_to(struct fixture *fx, struct origin * or, uint64_t *tried, unsigned *server)
{
	uint64_t none = 0;
	unsigned before[N_SERVERS];
	const char *why = "";
	int error = 0, found = -1;

	for (int i = 0; i < N_SERVERS; i++)
		before[i] = fx->servers[i].n_taken;
	fx->opened = fx->closed = false;
	fx->s = origin_connect(or, tried ? tried : &none, 5000, &handler, fx, server, &error, &why);
	if (!fx->s) {
		snprintf(fx->why, sizeof(fx->why), "%s", why);
		return -1;
	}
	UNTIL(fx->box, fx->opened || fx->closed);
	for (int turns = 0; fx->opened && found < 0 && turns < 200; turns++) {
		loop_once(fx->box->env.loop, 5);
		for (int i = 0; i < N_SERVERS; i++)
			if (fx->servers[i].n_taken > before[i])
				found = i;
	}
	stream_close(fx->s);
	fx->s = NULL;
	return found;
}

static unsigned n_traced(struct fixture *fx, const char *code)
{
	return (unsigned)trace_count(fx->box->env.trace, code);
}

static void by_name(void **state)
{
	struct fixture *fx = *state;
	struct origin * or ;

	write_hosts(fx, "192.0.2.1 good.example\n127.0.0.1 inner.example\n169.254.169.254 meta\n"
			"10.1.2.3 two.example\n127.0.0.1 two.example\n");
	assert_int_equal(ready(fx, get(fx, "http://good.example/", "good.example")), 0);
	assert_int_equal(origin_n_attempts(get(fx, "http://good.example/", "good.example")), 1);
	assert_int_equal(ready(fx, get(fx, "http://inner.example/", "inner.example")), -EACCES);
	assert_string_equal(fx->why, "inner.example resolves to loopback");
	assert_int_equal(n_traced(fx, "http.address.denied"), 1);
	assert_int_equal(ready(fx, get(fx, "http://meta/", "meta")), -EACCES);
	/* One good address of two: only that one is tried. */
	or = get(fx, "http://two.example/", "two.example");
	assert_int_equal(ready(fx, or), 0);
	assert_int_equal(origin_n_attempts(or), 1);
	/* The same address in another spelling. */
	write_hosts(fx, "64:ff9b::7f00:1 nat64.example\n::127.0.0.1 compatible.example\n");
	assert_int_equal(ready(fx, get(fx, "http://nat64.example/", "nat64.example")), -EACCES);
	assert_int_equal(ready(fx, get(fx, "http://compatible.example/", "compatible.example")),
			 -EACCES);
	/* Nobody knows the name. */
	or = get(fx, "http://unknown.example/", "unknown.example");
	assert_int_not_equal(ready(fx, or), 0);
	assert_int_not_equal(fx->error, -EACCES);
	assert_int_equal(origin_n_attempts(or), 1);
	assert_int_equal(connect_to(fx, or, NULL, &(unsigned){ 0 }), -1);
}

static void by_literal(void **state)
{
	struct fixture *fx = *state;
	char url[64];
	struct origin * or ;
	unsigned server = 9;
	uint64_t tried = 0;

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", fx->servers[1].at.port);
	or = get(fx, url, "127.0.0.1");
	assert_ptr_equal(get(fx, url, "127.0.0.1"), or);
	assert_int_equal(ready(fx, or), 0);
	assert_int_equal(connect_to(fx, or, NULL, &server), 1);
	assert_int_equal(server, 0);
	/* Behind the last address it begins anew. */
	assert_int_equal(connect_to(fx, or, &tried, &server), 1);
	assert_int_equal(connect_to(fx, or, &tried, &server), 1);
	/* Not named. */
	assert_int_equal(ready(fx, get(fx, "http://127.0.0.2/", "x.example")), -EACCES);
	/* Nobody listens there: the stream says so, not we. */
	or = get(fx, "http://127.0.0.1:1/", "127.0.0.1");
	assert_int_equal(ready(fx, or), 0);
	assert_int_equal(connect_to(fx, or, NULL, &server), -1);
	assert_true(fx->closed);
}

/* The address that was checked is the address that is used, and the next look-up is checked too. */
static void rebinding(void **state)
{
	struct fixture *fx = *state;
	struct origin * or ;

	write_hosts(fx, "192.0.2.1 flips.example\n");
	or = origin_ref(get(fx, "http://flips.example/", "flips.example"));
	assert_int_equal(ready(fx, or), 0);
	write_hosts(fx, "127.0.0.1 flips.example\n");
	/* No look-up in between: still the address that was checked. */
	assert_int_equal(ready(fx, or), 0);
	assert_int_equal(n_traced(fx, "http.address.denied"), 0);
	UNTIL(fx->box, ready(fx, or) != 0);
	assert_int_equal(ready(fx, or), -EACCES);
	assert_true(n_traced(fx, "http.address.denied") > 0);
	assert_int_equal(connect_to(fx, or, NULL, &(unsigned){ 0 }), -1);
	/* And the way back. */
	write_hosts(fx, "192.0.2.1 flips.example\n");
	configure(fx, "");
	assert_int_equal(ready(fx, or), -ECANCELED);
	origin_unref(or);
	assert_int_equal(ready(fx, get(fx, "http://flips.example/", "flips.example")), 0);
}

static void reload_while_waiting(void **state)
{
	struct fixture *fx = *state;
	struct origin *wait, *stands;
	const char *why = "";
	unsigned server = 0;
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", fx->servers[2].at.port);
	stands = origin_ref(get(fx, url, "127.0.0.1"));
	assert_int_equal(ready(fx, stands), 0);
	wait = origin_ref(get(fx, "http://slow.example/", "slow.example"));
	assert_int_equal(origin_ready(wait, &fx->wait, &why), -EINPROGRESS);
	configure(fx, "");
	assert_int_equal(fx->n_done, 1);
	assert_int_equal(fx->error, -ECANCELED);
	assert_int_equal(origin_ready(wait, &fx->wait, &why), -ECANCELED);
	origin_unref(wait);
	/* A request that was admitted before may still connect. */
	assert_int_equal(connect_to(fx, stands, NULL, &server), 2);
	origin_report(stands, server, false);
	assert_ptr_not_equal(get(fx, url, "127.0.0.1"), stands);
	origin_unref(stands);
	/* Who stopped waiting hears nothing. */
	wait = get(fx, "http://slow.example/", "slow.example");
	assert_int_equal(origin_ready(wait, &fx->wait, &why), -EINPROGRESS);
	origin_wait_cancel(&fx->wait);
	origin_wait_cancel(&fx->wait);
	configure(fx, "");
	assert_int_equal(fx->n_done, 1);
}

/* --- several servers --- */

static void configure_group(struct fixture *fx, const char *rest)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "[backends web.example]\nservers = 127.0.0.1:%u 127.0.0.1:%u 127.0.0.1:%u\n"
		 "%s%s",
		 fx->servers[0].at.port, fx->servers[1].at.port, fx->servers[2].at.port,
		 strstr(rest, "health-timeout") ? "" : "health-timeout = 2s\n", rest);
	configure(fx, text);
}

/* The first question to each, which is asked at once. */
static void let_them_be_asked(struct fixture *fx)
{
	UNTIL(fx->box, fx->servers[0].n_taken && fx->servers[1].n_taken && fx->servers[2].n_taken);
	for (int i = 0; i < 40; i++)
		loop_once(fx->box->env.loop, 5);
}

static const char *state_of(struct fixture *fx, unsigned i)
{
	static char state[8];
	json_t *all = origins_json(fx->origins);
	const char *s = json_string_value(json_object_get(json_array_get(all, i), "state"));

	snprintf(state, sizeof(state), "%s", s ? s : "");
	json_decref(all);
	return state;
}

static void failover(void **state)
{
	struct fixture *fx = *state;
	struct origin * or ;
	unsigned server = 9;
	uint64_t tried = 0;

	configure_group(fx, "health-fails = 2\nhealth-interval = 1h\n");
	or = get(fx, "http://web.example/", "web.example");
	assert_int_equal(ready(fx, or), 0);
	assert_int_equal(origin_n_attempts(or), 3);
	let_them_be_asked(fx);
	assert_int_equal(connect_to(fx, or, &tried, &server), 0);
	assert_int_equal(server, 0);
	assert_int_equal(connect_to(fx, or, &tried, &server), 1);
	assert_int_equal(connect_to(fx, or, &tried, &server), 2);
	assert_int_equal(server, 2);
	assert_int_equal(connect_to(fx, or, &tried, &server), 0);
	/* Bad answers in a row count, a good one between them begins anew. */
	origin_report(or, 0, false);
	origin_report(or, 0, true);
	origin_report(or, 0, false);
	assert_int_equal(connect_to(fx, or, NULL, &server), 0);
	origin_report(or, 0, false);
	assert_string_equal(state_of(fx, 0), "down");
	assert_int_equal(alarm_count(fx->box->env.alarms), 1);
	assert_int_equal(connect_to(fx, or, NULL, &server), 1);
	assert_int_equal(server, 1);
	/* The last to be tried now. */
	tried = 0;
	assert_int_equal(connect_to(fx, or, &tried, &server), 1);
	assert_int_equal(connect_to(fx, or, &tried, &server), 2);
	assert_int_equal(connect_to(fx, or, &tried, &server), 0);
	/* The order changes under a request: what it has tried is not tried again. */
	tried = 0;
	origin_report(or, 0, true);
	assert_int_equal(connect_to(fx, or, &tried, &server), 0);
	origin_report(or, 0, false);
	origin_report(or, 0, false);
	assert_int_equal(connect_to(fx, or, &tried, &server), 1);
	assert_int_equal(connect_to(fx, or, &tried, &server), 2);
	/* All down: still tried, in their order. */
	for (int i = 0; i < 2; i++) {
		origin_report(or, 1, false);
		origin_report(or, 2, false);
	}
	assert_int_equal(alarm_count(fx->box->env.alarms), 3);
	assert_int_equal(connect_to(fx, or, NULL, &server), 0);
	/* One good answer brings it back. */
	origin_report(or, 0, true);
	origin_report(or, 7, false);
	assert_string_equal(state_of(fx, 0), "up");
	assert_int_equal(alarm_count(fx->box->env.alarms), 2);
	/* With the section its alarms go. */
	configure(fx, "");
	assert_int_equal(alarm_count(fx->box->env.alarms), 0);
}

static void health_checks(void **state)
{
	struct fixture *fx = *state;
	struct origin * or ;
	unsigned server = 9;

	configure_group(fx, "health-fails = 1\nhealth-interval = 500ms\nhealth-path = /alive\n");
	or = origin_ref(get(fx, "http://web.example/", "web.example"));
	assert_int_equal(ready(fx, or), 0);
	let_them_be_asked(fx);
	assert_string_equal(state_of(fx, 0), "up");
	fx->servers[0].answer = SICK;
	fx->servers[1].answer = NULL;
	UNTIL(fx->box, strcmp(state_of(fx, 0), "down") == 0);
	UNTIL(fx->box, strcmp(state_of(fx, 1), "down") == 0);
	assert_int_equal(alarm_count(fx->box->env.alarms), 2);
	/* The question may come in between: which server it was is what counts. */
	connect_to(fx, or, NULL, &server);
	assert_int_equal(server, 2);
	fx->servers[0].answer = GOOD;
	UNTIL(fx->box, strcmp(state_of(fx, 0), "up") == 0);
	connect_to(fx, or, NULL, &server);
	assert_int_equal(server, 0);
	origin_unref(or);
}

/* What a request could not use is not tried first again, and asked how it is at once. */
static void suspects(void **state)
{
	struct fixture *fx = *state;
	unsigned server = 9, asked;
	uint64_t tried = 0, epoch;
	struct origin * or ;

	configure_group(fx, "health-fails = 2\nhealth-interval = 1h\n");
	or = get(fx, "http://web.example/", "web.example");
	assert_int_equal(ready(fx, or), 0);
	let_them_be_asked(fx);
	epoch = origin_epoch(or);
	assert_int_equal(connect_to(fx, or, &tried, &server), 0);
	assert_int_equal(origin_epoch(or), epoch);
	asked = fx->servers[0].n_taken;
	fx->servers[0].answer = SICK;
	origin_unusable(or, 0);
	assert_int_not_equal(origin_epoch(or), epoch);
	assert_string_equal(state_of(fx, 0), "suspect");
	connect_to(fx, or, &tried, &server);
	assert_int_equal(server, 1);
	connect_to(fx, or, NULL, &server);
	assert_int_equal(server, 1);
	/* The question, and its answer: the second bad one. */
	UNTIL(fx->box, fx->servers[0].n_taken > asked);
	UNTIL(fx->box, strcmp(state_of(fx, 0), "down") == 0);
	/* A good answer to a request is not what it says of itself. */
	origin_report(or, 0, true);
	assert_string_equal(state_of(fx, 0), "down");
	/* Another table entry has another number: kept connections are not mixed up. */
	epoch = origin_epoch(or);
	configure_group(fx, "");
	assert_int_not_equal(origin_epoch(get(fx, "http://web.example/", "web.example")), epoch);
	assert_int_equal(origin_epoch(get(fx, "http://192.0.2.1/", "192.0.2.1")), 0);
	/* Nothing of it for a single server, or one that is not there. */
	or = get(fx, "http://192.0.2.1/", "192.0.2.1");
	origin_unusable(or, 0);
	origin_unusable(get(fx, "http://web.example/", "web.example"), 7);
}

static void gone(void *arg)
{
	++*(unsigned *)arg;
}

/* Requests that wait for a server are told when it is found to be down, and it is asked because
 * they wait. */
static void watches(void **state)
{
	struct fixture *fx = *state;
	unsigned n_gone[3] = { 0 };
	struct origin_watch w[3];
	struct origin * or ;

	configure_group(fx, "health-fails = 2\nhealth-interval = 1h\nhealth-timeout = 100ms\n");
	or = origin_ref(get(fx, "http://web.example/", "web.example"));
	assert_int_equal(ready(fx, or), 0);
	let_them_be_asked(fx);
	for (int i = 0; i < 3; i++)
		w[i] = (struct origin_watch){ .gone = gone, .arg = &n_gone[i] };
	origin_watch_start(or, &w[0], 0);
	origin_watch_start(or, &w[1], 1);
	origin_watch_start(or, &w[2], 0);
	origin_watch_stop(&w[2]);
	origin_watch_stop(&w[2]);
	fx->servers[0].answer = NULL;
	UNTIL(fx->box, n_gone[0] > 0);
	assert_string_equal(state_of(fx, 0), "down");
	assert_false(w[0].on);
	for (int i = 0; i < 40; i++)
		loop_once(fx->box->env.loop, 5);
	assert_int_equal(n_gone[0], 1);
	assert_int_equal(n_gone[1], 0);
	assert_int_equal(n_gone[2], 0);
	/* The configuration changes under the one that still waits. */
	configure(fx, "");
	origin_watch_stop(&w[1]);
	origin_watch_start(or, &w[1], 1);
	assert_false(w[1].on);
	origin_unref(or);
}

static void round_robin(void **state)
{
	struct fixture *fx = *state;
	unsigned hits[N_SERVERS] = { 0 }, server = 9;
	uint64_t tried = 0;
	struct origin * or ;

	configure_group(fx, "mode = round-robin\nhealth-interval = 1h\n");
	or = get(fx, "http://web.example/", "web.example");
	assert_int_equal(ready(fx, or), 0);
	let_them_be_asked(fx);
	for (int i = 0; i < 6; i++)
		hits[connect_to(fx, or, NULL, &server)]++;
	for (int i = 0; i < N_SERVERS; i++)
		assert_int_equal(hits[i], 2);
	/* A second attempt of one request is another server. */
	connect_to(fx, or, &tried, &hits[0]);
	connect_to(fx, or, &tried, &hits[1]);
	assert_int_not_equal(hits[0], hits[1]);
}

/* A server of [backends] is named by the administrator as a rule's host is; by a name only what a
 * name may reach. */
static void group_addresses(void **state)
{
	struct fixture *fx = *state;

	write_hosts(fx, "127.0.0.1 p1.example\n192.0.2.7 p2.example\n");
	configure(fx, "[backends web.example]\nservers = p1.example p2.example\n");
	assert_int_equal(ready(fx, get(fx, "http://web.example/", "web.example")), 0);
	assert_int_equal(origin_n_attempts(get(fx, "http://web.example/", "web.example")), 1);
	configure(fx, "[backends web.example]\nservers = p1.example\n");
	assert_int_equal(ready(fx, get(fx, "http://web.example/", "web.example")), -EACCES);
	assert_string_equal(fx->why, "p1.example resolves to loopback");
}

/* How many origins are kept. */
static void many(void **state)
{
	struct fixture *fx = *state;
	struct origin *first;

	first = origin_ref(get(fx, "http://192.0.2.1:1/", "192.0.2.1"));
	for (unsigned port = 2; port <= 2500; port++) {
		char url[64];

		snprintf(url, sizeof(url), "http://192.0.2.1:%u/", port);
		get(fx, url, "192.0.2.1");
	}
	/* Forgotten, not freed under the one who holds it. */
	assert_ptr_not_equal(get(fx, "http://192.0.2.1:1/", "192.0.2.1"), first);
	assert_int_equal(ready(fx, first), -ECANCELED);
	origin_unref(first);
}

static void get_once(void *arg)
{
	struct fixture *fx = arg;
	struct allow_rule rule = { .name = "r", .host = "127.0.0.1", .verify = true };
	static struct http_url url;
	struct origins *all = origins_new(&fx->box->env);
	struct origin * or ;
	const char *why;
	struct conf_snapshot *snap;
	struct buf errors;

	if (!all)
		return;
	buf_init(&errors, 4096);
	snap = conf_parse(fx->conf, "t.ini", SLICE("[backends 127.0.0.1]\nservers = 127.0.0.1\n"),
			  CONF_ROLE_C, &errors);
	buf_fini(&errors);
	if (snap) {
		origins_configure(all, snap);
		conf_unref(snap);
		http_url_parse(SLICE("http://127.0.0.1/"), &url, &why);
		or = origins_get(all, &url, &rule);
		if (or)
			assert_int_equal(origin_ready(or, &fx->wait, &why), 0);
		json_decref(origins_json(all));
	}
	origins_free(all);
}

static void without_memory(void **state)
{
	assert_true(alloc_fail_sweep(get_once, *state) > 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		TEST(by_name),
		TEST(by_literal),
		TEST(rebinding),
		TEST(reload_while_waiting),
		TEST(failover),
		TEST(health_checks),
		TEST(suspects),
		TEST(watches),
		TEST(round_robin),
		TEST(group_addresses),
		TEST(many),
		TEST(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
