#ifndef TESTS_SUPPORT_WEB_BOX_H
#define TESTS_SUPPORT_WEB_BOX_H
/*
 * The http module as E and as C in one process, with TLS clients and a web server on loopback
 * sockets. The tunnel between the boxes and the service that knows who is signed in are in memory:
 * streams are pairs, tables go over by direct calls, the test decides what C says of a password.
 * Nothing sleeps: SOON turns the loop until something is so.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/ctl.h"
#include "core/net.h"
#include "core/stream_pair.h"
#include "core/system_conf.h"
#include "http/api.h"
#include "http/web.h"
#include "proto/path_token.h"
#include "support/free_port.h"
#include "support/stream_box.h"
#include "turnpike/modules.h"

enum { MAX_WEB_SESSIONS = 8, MAX_WEB_TABLES = 4, MAX_WEB_CONNS = 16 };

#define ALICE_TOKEN "11111111-1111-4111-8111-111111111111"
#define ALICE_ID    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BOB_TOKEN   "22222222-2222-4222-8222-222222222222"
#define BOB_ID	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define OTHER_TOKEN "33333333-3333-4333-8333-333333333333" /* alice of other.example */
#define OTHER_ID    "cccccccccccccccccccccccccccccccc"

struct lab;

struct web_table {
	const char *name;
	const struct tunnel_source *source;
	const struct tunnel_sink *sink;
	void *arg;
};

/* One of the two boxes. */
struct end {
	struct lab *lab;
	struct env env;
	struct web *web; /* the module's state */
	struct end *other;
	struct web_table tables[MAX_WEB_TABLES];
	size_t n_tables;
	void (*accepted)(void *arg, tunnel_peer from, struct stream *s);
	void *accepted_arg;
	struct signin_session sessions[MAX_WEB_SESSIONS];
	size_t n_sessions;
	unsigned n_touched, n_cancels, n_distrusts, n_sign_outs;
	/* a sign-in under way (E) */
	uint64_t sign_in;
	unsigned n_sign_ins;
	char asked_domain[64], asked_with[128];
	signin_done done;
	void *done_arg;
};

/* A web server inside: answers each request with `canned`, NULL: the test answers. */
struct backend {
	int listen_fd;
	uint16_t port;
	const char *canned;
	int fds[MAX_WEB_CONNS];
	char got[MAX_WEB_CONNS][32768];
	size_t n_got[MAX_WEB_CONNS];
	size_t n; /* accepted so far */
	unsigned n_requests;
	size_t at; /* connection of the last request */
	char last[32768];
};

struct lab {
	struct stream_box *box; /* the clients' environment and the loop */
	struct end e, c;
	bool up;	  /* the tunnel */
	unsigned n_opens; /* streams opened through it */
	struct dns *dns;
	int dns_fd; /* a name server that never answers */
	uint16_t web_port, site_port;
	struct backend backend;
};

struct client {
	struct lab *lab;
	struct stream *s;
	struct buf got;
	bool opened, eof, closed;
	bool heads; /* the answers have no body */
	char why[160];
};

/* --- the web server --- */

static inline void backend_poll(struct backend *b)
{
	int fd;

	while ((fd = accept4(b->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		assert_true(b->n < MAX_WEB_CONNS);
		b->fds[b->n++] = fd;
	}
	for (size_t i = 0; i < b->n; i++) {
		size_t room = sizeof(b->got[i]) - 1 - b->n_got[i];
		ssize_t n = b->fds[i] < 0 ? -1 : recv(b->fds[i], b->got[i] + b->n_got[i], room, 0);
		char *end;

		if (n > 0)
			b->n_got[i] += (size_t)n;
		b->got[i][b->n_got[i]] = '\0';
		end = strstr(b->got[i], "\r\n\r\n");
		if (!end)
			continue;
		if (strncmp(b->got[i], "GET /health ", 12) != 0) {
			memcpy(b->last, b->got[i], b->n_got[i] + 1);
			b->at = i;
			b->n_requests++;
		}
		b->n_got[i] = 0;
		b->got[i][0] = '\0';
		if (b->canned)
			send(b->fds[i], b->canned, strlen(b->canned), MSG_NOSIGNAL);
	}
}

static inline void backend_says(struct backend *b, const char *text)
{
	assert_int_equal(send(b->fds[b->at], text, strlen(text), MSG_NOSIGNAL),
			 (ssize_t)strlen(text));
}

#define SOON(lab, what) UNTIL((lab)->box, (backend_poll(&(lab)->backend), (what)))

/* --- the tunnel --- */

static inline struct stream *tun_open(void *self, tunnel_peer to, const char *purpose,
				      const struct stream_handler *h, void *arg, int *error)
{
	struct end *e = self;
	struct stream *ends[2];

	*error = -EPIPE;
	assert_string_equal(purpose, TUNNEL_HTTP);
	if (to != 1 || !e->lab->up || stream_pair_new(e->env.loop, ends) < 0)
		return NULL;
	e->lab->n_opens++;
	stream_set_handler(ends[0], h, arg);
	e->other->accepted(e->other->accepted_arg, 1, ends[1]);
	return ends[0];
}

static inline int tun_accept(void *self, const char *purpose,
			     void (*accepted)(void *arg, tunnel_peer from, struct stream *s),
			     void *arg)
{
	struct end *e = self;

	e->accepted = accepted;
	e->accepted_arg = arg;
	return 0;
}

static inline int tun_publish(void *self, const char *table, const struct tunnel_source *s,
			      void *arg)
{
	struct end *e = self;

	e->tables[e->n_tables++] = (struct web_table){ .name = table, .source = s, .arg = arg };
	return 0;
}

static inline int tun_subscribe(void *self, const char *table, const struct tunnel_sink *s,
				void *arg)
{
	struct end *e = self;

	e->tables[e->n_tables++] = (struct web_table){ .name = table, .sink = s, .arg = arg };
	return 0;
}

static inline const struct web_table *sink_of(const struct end *e, const char *name)
{
	for (size_t i = 0; i < e->n_tables; i++)
		if (strcmp(e->tables[i].name, name) == 0 && e->tables[i].sink)
			return &e->tables[i];
	fail_msg("nobody takes the table %s", name);
	return NULL;
}

static inline void tun_put(void *self, tunnel_peer to, const char *table, const char *key,
			   const json_t *item)
{
	struct end *e = self;
	const struct web_table *t = e->lab->up ? sink_of(e->other, table) : NULL;

	if (t)
		t->sink->put(t->arg, 1, key, item);
}

static inline void tun_del(void *self, tunnel_peer to, const char *table, const char *key)
{
	struct end *e = self;
	const struct web_table *t = e->lab->up ? sink_of(e->other, table) : NULL;

	if (t)
		t->sink->del(t->arg, 1, key);
}

static inline bool tun_peer(void *self, size_t i, struct tunnel_peer_info *out)
{
	struct end *e = self;

	if (i > 0)
		return false;
	*out = (struct tunnel_peer_info){ .id = 1,
					  .name = e->env.role == CONF_ROLE_E ? "core1" : "edge1",
					  .up = e->lab->up,
					  .system_name = "" };
	return true;
}

static const struct tunnel_ops web_tunnel = {
	.open = tun_open,
	.accept = tun_accept,
	.publish = tun_publish,
	.subscribe = tun_subscribe,
	.put = tun_put,
	.del = tun_del,
	.peer = tun_peer,
};

static inline void put_over(void *ctx, const char *key, const json_t *item)
{
	const struct web_table *t = ctx;

	t->sink->put(t->arg, 1, key, item);
}

static inline void sync_tables(struct end *from, bool whole)
{
	for (size_t i = 0; i < from->n_tables; i++) {
		const struct web_table *s = &from->tables[i], *t;

		if (!s->source)
			continue;
		t = sink_of(from->other, s->name);
		t->sink->reset(t->arg, 1);
		s->source->each(s->arg, 1, put_over, (void *)(uintptr_t)t);
		if (whole && t->sink->synced)
			t->sink->synced(t->arg, 1);
	}
}

/* The tunnel comes up; not whole: the tables are still on their way. */
static inline void lab_connect(struct lab *lab, bool whole)
{
	lab->up = true;
	sync_tables(&lab->c, whole);
	sync_tables(&lab->e, whole);
}

/* --- who is signed in --- */

static const struct signin_domain web_domains[] = {
	{ .name = "example.com", .web = true, .peer = 1 },
	{ .name = "other.example", .web = true, .peer = 1 },
	{ .name = "phones.example", .sip = true, .peer = 1 },
};

static inline const struct signin_domain *sg_domain(void *self, struct slice name)
{
	for (size_t i = 0; i < sizeof(web_domains) / sizeof(web_domains[0]); i++)
		if (slice_caseeq(name, slice_of(web_domains[i].name)))
			return &web_domains[i];
	return NULL;
}

static inline const struct signin_session *sg_by_token(void *self, struct slice token)
{
	struct end *e = self;

	for (size_t i = 0; i < e->n_sessions; i++)
		if (slice_eq(token, slice_of(e->sessions[i].token)))
			return &e->sessions[i];
	return NULL;
}

static inline const struct signin_session *sg_by_id(void *self, struct slice id)
{
	struct end *e = self;

	for (size_t i = 0; i < e->n_sessions; i++)
		if (slice_eq(id, slice_of(e->sessions[i].id)))
			return &e->sessions[i];
	return NULL;
}

static inline uint64_t sg_sign_in(void *self, struct slice domain, struct slice authorization,
				  const struct addr *from, signin_done done, void *arg)
{
	struct end *e = self;

	assert_int_equal(e->sign_in, 0);
	e->n_sign_ins++;
	slice_copy(e->asked_domain, sizeof(e->asked_domain), domain);
	slice_copy(e->asked_with, sizeof(e->asked_with), authorization);
	e->done = done;
	e->done_arg = arg;
	e->sign_in = e->n_sign_ins;
	return e->sign_in;
}

static inline void sg_cancel(void *self, uint64_t id)
{
	struct end *e = self;

	assert_int_equal(id, e->sign_in);
	e->sign_in = 0;
	e->n_cancels++;
}

static inline void end_session(struct end *e, struct slice token)
{
	const struct signin_session *s = sg_by_token(e, token);

	if (s)
		e->sessions[s - e->sessions] = e->sessions[--e->n_sessions];
}

static inline void sg_sign_out(void *self, struct slice token, const char *why)
{
	struct end *e = self;

	e->n_sign_outs++;
	end_session(e, token);
	end_session(e->other, token);
}

static inline void sg_touch(void *self, struct slice id)
{
	((struct end *)self)->n_touched++;
}

static inline void sg_distrust(void *self, struct slice session_id, struct slice authorization)
{
	((struct end *)self)->n_distrusts++;
}

static const struct signin_ops web_signin = {
	.domain = sg_domain,
	.by_token = sg_by_token,
	.by_id = sg_by_id,
	.sign_in = sg_sign_in,
	.cancel = sg_cancel,
	.sign_out = sg_sign_out,
	.touch = sg_touch,
	.distrust = sg_distrust,
};

static inline const struct signin_session *add_session(struct end *e, const char *token,
						       const char *id, const char *user,
						       const char *domain)
{
	struct signin_session *s = &e->sessions[e->n_sessions++];

	assert_true(e->n_sessions <= MAX_WEB_SESSIONS);
	*s = (struct signin_session){ .expires_ms = loop_now_ms(e->env.loop) + 3600000,
				      .life_s = 3600,
				      .peer = 1 };
	slice_copy(s->token, sizeof(s->token), slice_of(token));
	slice_copy(s->id, sizeof(s->id), slice_of(id));
	slice_copy(s->user, sizeof(s->user), slice_of(user));
	slice_copy(s->domain, sizeof(s->domain), slice_of(domain));
	return s;
}

/* On both boxes. Returns E's. */
static inline const struct signin_session *lab_session(struct lab *lab, const char *token,
						       const char *id, const char *user,
						       const char *domain)
{
	add_session(&lab->c, token, id, user, domain);
	return add_session(&lab->e, token, id, user, domain);
}

static inline void core_says(struct lab *lab, enum signin_status status,
			     const struct signin_session *s, uint32_t retry_after_s)
{
	struct signin_result r = { status, s, retry_after_s, "said the test" };

	assert_true(lab->e.sign_in != 0);
	lab->e.sign_in = 0;
	lab->e.done(lab->e.done_arg, &r);
}

/* --- the boxes --- */

static const struct conf_section *const web_schema[] = {
	&system_conf_section, &tls_conf_section, &dns_conf_section, &web_section,
	&allow_section,	      &backends_section, &site_section,	    &api_section,
};

static inline struct conf_snapshot *end_parse(struct end *e, const char *text)
{
	struct conf_snapshot *snap;
	struct buf err;

	buf_init(&err, 8192);
	snap = conf_parse(e->env.conf, "test.ini", slice_of(text), e->env.role, &err);
	if (!snap)
		fail_msg("%s", err.p ? err.p : "conf_parse");
	buf_fini(&err);
	return snap;
}

static inline void end_start(struct lab *lab, struct end *e, struct end *other, unsigned role,
			     const char *text)
{
	struct buf err;
	char path[64];
	void *self;
	int error;

	*e = (struct end){ .lab = lab, .other = other };
	e->env = (struct env){ .role = role, .loop = lab->box->env.loop, .log = lab->box->env.log };
	e->env.conf = conf_store_new(web_schema, sizeof(web_schema) / sizeof(web_schema[0]));
	conf_swap(e->env.conf, end_parse(e, text));
	e->env.conns = conn_table_new(1000, 64, stream_box_now, e->env.loop);
	e->env.trace = trace_new(256, stream_box_now, e->env.loop);
	e->env.alarms = alarms_new(e->env.log);
	e->env.tls = tls_store_new(e->env.log, e->env.alarms);
	buf_init(&err, 4096);
	assert_int_equal(tls_store_load(e->env.tls, conf_current(e->env.conf), &err), 0);
	buf_fini(&err);
	e->env.dns = lab->dns;
	snprintf(path, sizeof(path), "%s/%s.sock", lab->box->dir, role == CONF_ROLE_E ? "e" : "c");
	e->env.ctl = ctl_new(&e->env, path, NULL, &error);
	assert_non_null(e->env.ctl);
	e->env.modules = modules_new(&e->env, NULL, 0);
	assert_int_equal(service_offer(e->env.modules, TUNNEL_SERVICE, &web_tunnel, e), 0);
	assert_int_equal(service_offer(e->env.modules, SIGNIN_SERVICE, &web_signin, e), 0);
	assert_int_equal(http_module.init(&e->env, &self), 0);
	e->web = self;
	assert_int_equal(http_module.start(self), 0);
}

/* As the daemon does, but for [tls], which stays as it is: negative errno when it is refused, with
 * the reason in *errors. */
static inline int end_reload(struct end *e, const char *text, struct buf *errors)
{
	struct conf_snapshot *next = end_parse(e, text);
	int error = http_module.prepare(e->web, next, errors);

	if (error) {
		conf_unref(next);
		return error;
	}
	http_module.reload(e->web, conf_current(e->env.conf), next);
	conf_swap(e->env.conf, next);
	return 0;
}

static inline void end_stop(struct end *e)
{
	http_module.stop(e->web);
	http_module.fini(e->web);
	assert_int_equal(conn_count(e->env.conns, CONN_HTTP), 0);
	assert_int_equal(conn_count(e->env.conns, CONN_REQUEST), 0);
	assert_int_equal(e->sign_in, 0);
	modules_free(e->env.modules);
	ctl_free(e->env.ctl);
	tls_store_free(e->env.tls);
	alarms_free(e->env.alarms);
	trace_free(e->env.trace);
	conn_table_free(e->env.conns);
	conf_store_free(e->env.conf);
}

/* E with the edge service and a [site] that shows /open of the web server. */
static inline const char *e_text(struct lab *lab, const char *web_rows, const char *site_rows)
{
	static char text[4096];
	int n = snprintf(
		text, sizeof(text),
		"[system]\nrole = E\nname = edge1.example.com\n[tls web]\ncertificate = "
		"%s/web.pem\nkey = %s/web.key\n[web]\ntls = web\naddress = 127.0.0.1\nport "
		"= %u\n%s\n",
		lab->box->dir, lab->box->dir, lab->web_port, web_rows);

	if (site_rows)
		snprintf(text + n, sizeof(text) - (size_t)n,
			 "[site s]\ntls = web\naddress = 127.0.0.1\nport = %u\ntarget = "
			 "http://127.0.0.1:%u\n%s\n",
			 lab->site_port, lab->backend.port, site_rows);
	return text;
}

/* C, which allows /app to users and /open to everybody. */
static inline const char *c_text(struct lab *lab, const char *more)
{
	static char text[4096];

	snprintf(text, sizeof(text),
		 "[system]\nrole = C\nname = core1.example.com\n"
		 "[allow app]\nurl = http://127.0.0.1:%u/app\nmethods = GET HEAD POST\n"
		 "[allow open]\nurl = http://127.0.0.1:%u/open\nauthentication = none\n"
		 "[allow slow]\nurl = http://slow.example:%u/\n%s",
		 lab->backend.port, lab->backend.port, lab->backend.port, more);
	return text;
}

#define SITE_ROWS "paths = /open /app"

static inline void lab_dns(struct lab *lab)
{
	struct addr a = stream_box_addr(0);
	char server[32], hosts[64];
	char *servers[] = { server };
	struct dns_conf conf = { .servers = { servers, 1 },
				 .timeout_ms = 60000,
				 .tries = 1,
				 .cache_max_ms = 3600000,
				 .cache_entries = 100 };

	lab->dns_fd = net_bind_udp(&a);
	assert_true(lab->dns_fd >= 0);
	snprintf(server, sizeof(server), "127.0.0.1:%u", net_local_addr(lab->dns_fd).port);
	snprintf(hosts, sizeof(hosts), "%s/hosts", lab->box->dir);
	lab->dns = dns_new(lab->box->env.loop, lab->box->env.log, lab->box->env.alarms);
	assert_non_null(lab->dns);
	assert_int_equal(dns_set_hosts_file(lab->dns, hosts), 0);
	assert_int_equal(dns_apply(lab->dns, &conf), 0);
}

static inline struct lab *lab_new(void)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct addr a = stream_box_addr(0);

	lab->box = stream_box_new();
	lab_dns(lab);
	lab->backend.listen_fd = net_listen_tcp(&a, 16);
	assert_true(lab->backend.listen_fd >= 0);
	lab->backend.port = net_local_addr(lab->backend.listen_fd).port;
	lab->backend.canned = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	lab->web_port = free_port();
	lab->site_port = free_port();
	end_start(lab, &lab->e, &lab->c, CONF_ROLE_E, e_text(lab, "", SITE_ROWS));
	end_start(lab, &lab->c, &lab->e, CONF_ROLE_C, c_text(lab, ""));
	return lab;
}

static inline void lab_free(struct lab *lab)
{
	end_stop(&lab->e);
	end_stop(&lab->c);
	dns_free(lab->dns);
	close(lab->dns_fd);
	close(lab->backend.listen_fd);
	for (size_t i = 0; i < lab->backend.n; i++)
		close(lab->backend.fds[i]);
	stream_box_free(lab->box);
	free(lab);
}

/* The list of C is older than 10 s: it has arrived wherever it goes. */
static inline void list_is_old(struct lab *lab)
{
	lab->c.web->allow_changed_ms -= 10000;
}

static inline void see_hostile(const struct alarm_entry *e, void *arg)
{
	if (strcmp(e->id, "edge-hostile") == 0)
		(*(unsigned *)arg)++;
}

static inline unsigned n_hostile(struct lab *lab)
{
	unsigned n = 0;

	alarms_each(lab->c.env.alarms, see_hostile, &n);
	return n;
}

/* --- clients --- */

static inline void client_opened(void *arg)
{
	((struct client *)arg)->opened = true;
}

static inline void client_readable(void *arg)
{
	struct client *c = arg;
	struct evbuffer *in = stream_in(c->s);
	size_t n = evbuffer_get_length(in);

	if (n > 0)
		buf_add(&c->got, evbuffer_pullup(in, -1), n);
	evbuffer_drain(in, n);
	c->eof = stream_eof(c->s);
	stream_consumed(c->s);
}

static inline void client_closed(void *arg, enum stream_end end, const char *why)
{
	struct client *c = arg;

	c->closed = true;
	slice_copy(c->why, sizeof(c->why), slice_of(why));
	c->s = NULL;
}

static const struct stream_handler client_handler = {
	.opened = client_opened,
	.readable = client_readable,
	.closed = client_closed,
};

static inline struct client *dial_as(struct lab *lab, uint16_t port, const char *tls)
{
	struct stream_connect to = { .to = stream_box_addr(port),
				     .timeout_ms = 5000,
				     .tls = tls,
				     .server_name = "web.example.com",
				     .verify = true };
	struct client *c = calloc(1, sizeof(*c));
	int error;

	c->lab = lab;
	buf_init(&c->got, 1 << 20);
	c->s = stream_connect(&lab->box->env, &to, &client_handler, c, &error);
	assert_non_null(c->s);
	SOON(lab, c->opened || c->closed);
	return c;
}

static inline struct client *dial(struct lab *lab, uint16_t port)
{
	return dial_as(lab, port, "guest");
}

/* Straight to C, as an edge that somebody has taken over could. */
static inline struct client *dial_core(struct lab *lab)
{
	struct client *c = calloc(1, sizeof(*c));
	struct stream *ends[2];

	c->lab = lab;
	buf_init(&c->got, 1 << 20);
	assert_int_equal(stream_pair_new(lab->box->env.loop, ends), 0);
	c->s = ends[0];
	stream_set_handler(c->s, &client_handler, c);
	lab->c.accepted(lab->c.accepted_arg, 1, ends[1]);
	return c;
}

static inline void hang_up(struct client *c)
{
	stream_close(c->s);
	buf_fini(&c->got);
	free(c);
}

static inline void says(struct client *c, const char *text)
{
	assert_non_null(c->s);
	buf_reset(&c->got);
	evbuffer_add(stream_out(c->s), text, strlen(text));
	stream_flush(c->s);
}

/* Is one whole answer there? */
static inline bool is_answered(const struct client *c)
{
	const char *end = c->got.p ? strstr(c->got.p, "\r\n\r\n") : NULL;
	const char *length = end ? strcasestr(c->got.p, "\r\nContent-Length: ") : NULL;

	if (!end)
		return false;
	if (c->heads || !length || length > end)
		return true;
	return strlen(end + 4) >= strtoul(length + 18, NULL, 10);
}

/* Status of the answer, 0: the connection ended without one. The text is in c->got.p. */
static inline int hears(struct client *c)
{
	SOON(c->lab, is_answered(c) || c->closed || c->eof);
	return is_answered(c) ? atoi(c->got.p + 9) : 0;
}

/* fields: whole lines. */
static inline void begins(struct client *c, const char *method, const char *path,
			  const char *fields)
{
	char text[16384];

	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: outside.example.com\r\n%s\r\n",
		 method, path, fields);
	c->heads = strcmp(method, "HEAD") == 0;
	says(c, text);
}

static inline int asks(struct client *c, const char *method, const char *path, const char *fields)
{
	begins(c, method, path, fields);
	return hears(c);
}

static inline bool got(const struct client *c, const char *text)
{
	return c->got.p && strstr(c->got.p, text);
}

#define COOKIE(token) "Cookie: X-Auth=" token "\r\n"
#define ALICE	      COOKIE(ALICE_TOKEN)
#define BOB	      COOKIE(BOB_TOKEN)
#define PASSWORD      "Authorization: Basic YWxpY2U6c2VjcmV0\r\n"

/* "/<token of a domain>rest"; eight live at a time. */
static inline const char *at_domain(const char *domain, const char *rest)
{
	static char out[8][1024];
	static unsigned next;
	struct path_token t = { 0 };
	char *text = out[next++ % 8];
	struct buf b;

	slice_copy(t.domain, sizeof(t.domain), slice_of(domain));
	buf_init(&b, 512);
	path_token_print(&b, &t);
	snprintf(text, sizeof(out[0]), "/%.*s%s", (int)b.n, b.p, rest);
	buf_fini(&b);
	return text;
}

static inline const char *at_server(const char *domain, const char *host, uint16_t port,
				    const char *rest)
{
	static char out[8][8192];
	static unsigned next;
	struct path_token t = { .has_target = true, .port = port };
	char *text = out[next++ % 8];
	struct buf b;

	slice_copy(t.domain, sizeof(t.domain), slice_of(domain));
	slice_copy(t.host, sizeof(t.host), slice_of(host));
	buf_init(&b, 1024);
	path_token_print(&b, &t);
	snprintf(text, sizeof(out[0]), "/%.*s%s", (int)b.n, b.p, rest);
	buf_fini(&b);
	return text;
}

/* A path of the lab's web server, for users of example.com. */
static inline const char *inside(struct lab *lab, const char *path)
{
	return at_server("example.com", "127.0.0.1", lab->backend.port, path);
}

#endif
