/*
 * One C and two edges, joined by a tunnel in memory, on a fake clock: sign-ins that are good, bad,
 * too many and unavailable, replicated sessions, restarts of either side, sign-outs, digests,
 * hostile items and calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "core/trace.h"
#include "signin/core_side.h"
#include "signin/edge_side.h"
#include "signin/item.h"
#include "support/alloc_fail.h"

enum { N_EDGES = 2, MAX_TABLES = 4, MAX_QUEUE = 512, MAX_CALLS = 256 };

struct lab;

struct table {
	const char *name;
	const struct tunnel_source *source;
	const struct tunnel_sink *sink;
	void *arg;
};

struct method {
	const char *name;
	tunnel_serve fn;
	void *arg;
};

/* One end of the tunnel: the core (edge -1) or an edge. */
struct end {
	struct lab *lab;
	int edge;
	struct table tables[MAX_TABLES];
	size_t n_tables;
	struct method methods[MAX_TABLES];
	size_t n_methods;
};

enum what { PUT, DEL, RESET, SYNCED, CALL, REPLY };

struct message {
	enum what what;
	int edge; /* to or from */
	char table[32], key[300];
	char *json;
	uint64_t call;
	int status;
};

struct tunnel_call {
	int edge;
	uint64_t id;
};

struct outgoing {
	uint64_t id;
	int edge;
	tunnel_done done;
	void *arg;
	struct timer late;
	struct lab *lab;
};

struct check {
	struct lab *lab;
	struct timer timer;
	auth_done done;
	void *arg;
	bool good;
};

struct lab {
	struct timerq timers;
	uint32_t random;
	struct conn_table *core_conns, *edge_conns[N_EDGES];
	struct trace *trace;
	struct core_side *core;
	struct edge_side *edges[N_EDGES];
	struct end core_end, edge_ends[N_EDGES];
	bool up[N_EDGES];
	bool deaf; /* C does not answer calls */
	struct message queue[MAX_QUEUE];
	size_t n_queue;
	struct outgoing calls[MAX_CALLS];
	uint64_t next_call;
	const char *alice_password; /* what the backend says yes to */
	bool backend_dead;
	int n_upstream;
	/* the last result */
	int n_results;
	struct signin_result last;
	struct signin_session session;
	char why[160];
};

static struct lab *the_lab; /* for the random source, which has no argument */

static int64_t clock_ms(void *arg)
{
	return ((struct lab *)arg)->timers.now_ms;
}

static void random_fill(void *p, size_t n)
{
	uint8_t *b = p;

	while (n-- > 0) {
		the_lab->random = the_lab->random * 1664525u + 1013904223u;
		*b++ = (uint8_t)(the_lab->random >> 24);
	}
}

/* --- the tunnel --- */

static struct message *queue(struct lab *l, enum what what, int edge)
{
	struct message *m = &l->queue[l->n_queue];

	assert_true(l->n_queue < MAX_QUEUE);
	l->n_queue++;
	*m = (struct message){ .what = what, .edge = edge };
	return m;
}

static void queue_item(struct lab *l, enum what what, int edge, const char *table, const char *key,
		       const json_t *item)
{
	struct message *m = queue(l, what, edge);

	snprintf(m->table, sizeof(m->table), "%s", table);
	snprintf(m->key, sizeof(m->key), "%s", key);
	m->json = item ? json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
}

static int t_publish(void *self, const char *table, const struct tunnel_source *s, void *arg)
{
	struct end *e = self;

	e->tables[e->n_tables++] = (struct table){ .name = table, .source = s, .arg = arg };
	return 0;
}

static int t_subscribe(void *self, const char *table, const struct tunnel_sink *s, void *arg)
{
	struct end *e = self;

	e->tables[e->n_tables++] = (struct table){ .name = table, .sink = s, .arg = arg };
	return 0;
}

static int t_serve(void *self, const char *method, tunnel_serve fn, void *arg)
{
	struct end *e = self;

	e->methods[e->n_methods++] = (struct method){ method, fn, arg };
	return 0;
}

static void to_edges(struct end *e, tunnel_peer to, enum what what, const char *table,
		     const char *key, const json_t *item)
{
	for (int i = 0; i < N_EDGES; i++)
		if (e->lab->up[i] && (to == 0 || to == (tunnel_peer)i + 1))
			queue_item(e->lab, what, i, table, key, item);
}

static void t_put(void *self, tunnel_peer to, const char *table, const char *key,
		  const json_t *item)
{
	to_edges(self, to, PUT, table, key, item);
}

static void t_del(void *self, tunnel_peer to, const char *table, const char *key)
{
	to_edges(self, to, DEL, table, key, NULL);
}

static void call_end(struct outgoing *c, int status, const json_t *value)
{
	tunnel_done done = c->done;

	timer_stop(&c->lab->timers, &c->late);
	c->done = NULL;
	if (done)
		done(c->arg, status, value);
}

static void on_late(void *arg)
{
	call_end(arg, -ETIMEDOUT, NULL);
}

static uint64_t t_call(void *self, tunnel_peer to, const char *method, const json_t *params,
		       uint32_t timeout_ms, tunnel_done done, void *arg, int *error)
{
	struct end *e = self;
	struct lab *l = e->lab;
	struct outgoing *c;
	struct message *m;

	*error = -EPIPE;
	if (to != 1 || !l->up[e->edge])
		return 0;
	c = &l->calls[l->next_call % MAX_CALLS];
	assert_null(c->done);
	*c = (struct outgoing){ ++l->next_call, e->edge, done, arg, .lab = l };
	timer_init(&c->late, on_late, c);
	timer_start(&l->timers, &c->late, timeout_ms);
	queue_item(l, CALL, e->edge, method, "", params);
	m = &l->queue[l->n_queue - 1];
	m->call = c->id;
	return c->id;
}

static void t_call_cancel(void *self, uint64_t id)
{
	struct end *e = self;
	struct outgoing *c = &e->lab->calls[(id - 1) % MAX_CALLS];

	if (c->id == id) {
		c->done = NULL;
		timer_stop(&e->lab->timers, &c->late);
	}
}

static void t_reply(void *self, struct tunnel_call *call, int status, const json_t *value)
{
	struct end *e = self;
	struct message *m;

	if (e->lab->up[call->edge]) {
		queue_item(e->lab, REPLY, call->edge, "", "", value);
		m = &e->lab->queue[e->lab->n_queue - 1];
		m->call = call->id;
		m->status = status;
	}
	free(call);
}

static size_t t_n_peers(void *self)
{
	return ((struct end *)self)->edge < 0 ? N_EDGES : 1;
}

static bool t_peer(void *self, size_t i, struct tunnel_peer_info *out)
{
	static const char *const names[] = { "edge1.example.com", "edge2.example.com" };
	struct end *e = self;
	int edge = e->edge < 0 ? (int)i : e->edge;

	if (i >= t_n_peers(self))
		return false;
	*out = (struct tunnel_peer_info){ .id = (tunnel_peer)i + 1,
					  .name = e->edge < 0 ? names[i] : "core",
					  .up = e->lab->up[edge],
					  .system_name = e->edge < 0 ? names[i] : "core1" };
	return true;
}

static const struct tunnel_ops tunnel = {
	.publish = t_publish,
	.put = t_put,
	.del = t_del,
	.subscribe = t_subscribe,
	.serve = t_serve,
	.reply = t_reply,
	.call = t_call,
	.call_cancel = t_call_cancel,
	.n_peers = t_n_peers,
	.peer = t_peer,
};

static const struct table *sink_of(struct end *e, const char *name)
{
	for (size_t i = 0; i < e->n_tables; i++)
		if (strcmp(e->tables[i].name, name) == 0)
			return &e->tables[i];
	fail_msg("no table %s", name);
	return NULL;
}

static void deliver_call(struct lab *l, const struct message *m, const json_t *params)
{
	struct tunnel_call *call;

	if (l->deaf || !l->core)
		return;
	call = malloc(sizeof(*call));
	if (!call)
		return;
	*call = (struct tunnel_call){ m->edge, m->call };
	for (size_t i = 0; i < l->core_end.n_methods; i++) {
		const struct method *x = &l->core_end.methods[i];

		if (strcmp(x->name, m->table) == 0) {
			x->fn(x->arg, call, (tunnel_peer)m->edge + 1, params);
			return;
		}
	}
	fail_msg("no method %s", m->table);
}

static void deliver(struct lab *l, const struct message *m)
{
	json_t *item = m->json ? json_loads(m->json, JSON_DECODE_ANY, NULL) : NULL;
	struct outgoing *c = &l->calls[(m->call - 1) % MAX_CALLS];
	struct end *e = &l->edge_ends[m->edge];
	const struct table *t = m->what < CALL ? sink_of(e, m->table) : NULL;

	switch (m->what) {
	case PUT:
		t->sink->put(t->arg, 1, m->key, item);
		break;
	case DEL:
		t->sink->del(t->arg, 1, m->key);
		break;
	case RESET:
		t->sink->reset(t->arg, 1);
		break;
	case SYNCED:
		t->sink->synced(t->arg, 1);
		break;
	case CALL:
		deliver_call(l, m, item);
		break;
	case REPLY:
		if (c->id == m->call)
			call_end(c, m->status, item);
		break;
	}
	json_decref(item);
}

static void pump(struct lab *l)
{
	for (int rounds = 0; l->n_queue > 0; rounds++) {
		struct message m = l->queue[0];

		assert_true(rounds < 10000);
		memmove(l->queue, l->queue + 1, --l->n_queue * sizeof(m));
		if (l->up[m.edge] && l->edges[m.edge])
			deliver(l, &m);
		free(m.json);
	}
}

static void pass(struct lab *l, int64_t ms)
{
	int64_t end = l->timers.now_ms + ms;

	pump(l);
	do {
		int64_t step = timerq_next(&l->timers);

		if (step < 0 || l->timers.now_ms + step > end)
			step = end - l->timers.now_ms;
		timerq_run(&l->timers, l->timers.now_ms + step);
		pump(l);
	} while (l->timers.now_ms < end || timerq_next(&l->timers) == 0);
}

struct put_to {
	struct lab *l;
	int edge;
	const char *table;
};

static void put_one(void *ctx, const char *key, const json_t *item)
{
	struct put_to *p = ctx;

	queue_item(p->l, PUT, p->edge, p->table, key, item);
}

static void connect_edge(struct lab *l, int edge)
{
	l->up[edge] = true;
	for (size_t i = 0; i < l->core_end.n_tables; i++) {
		const struct table *t = &l->core_end.tables[i];
		struct put_to to = { l, edge, t->name };

		queue_item(l, RESET, edge, t->name, "", NULL);
		t->source->each(t->arg, (tunnel_peer)edge + 1, put_one, &to);
		queue_item(l, SYNCED, edge, t->name, "", NULL);
	}
	pump(l);
}

static void disconnect_edge(struct lab *l, int edge)
{
	pump(l);
	l->up[edge] = false;
	for (size_t i = 0; i < MAX_CALLS; i++)
		if (l->calls[i].done && l->calls[i].edge == edge)
			call_end(&l->calls[i], -EPIPE, NULL);
}

/* --- the backend --- */

static void on_checked(void *arg)
{
	struct check *c = arg;
	auth_done done = c->done;
	enum auth_answer a = c->lab->backend_dead ? AUTH_FAILED : c->good ? AUTH_YES : AUTH_NO;
	void *done_arg = c->arg;

	free(c);
	done(done_arg, a, "backend");
}

static void *backend_start(void *self, const struct signin_credentials *cred, auth_done done,
			   void *arg, const char **why)
{
	struct lab *l = self;
	struct check *c = malloc(sizeof(*c));

	*why = "out of memory";
	if (!c)
		return NULL;
	*c = (struct check){ .lab = l, .done = done, .arg = arg };
	c->good = (strcmp(cred->user, "alice") == 0 &&
		   strcmp(cred->password, l->alice_password) == 0) ||
		  strcmp(cred->password, "good") == 0;
	l->n_upstream++;
	timer_init(&c->timer, on_checked, c);
	timer_start(&l->timers, &c->timer, 20);
	return c;
}

static void backend_cancel(void *self, void *check)
{
	struct lab *l = self;
	struct check *c = check;

	timer_stop(&l->timers, &c->timer);
	free(c);
}

static const struct auth_backend backend = { backend_start, backend_cancel };

/* --- the lab --- */

static bool core_start(struct lab *l)
{
	struct signin_world w = { .timers = &l->timers,
				  .conns = l->core_conns,
				  .trace = l->trace,
				  .random = random_fill };
	static const struct signin_domain domains[] = {
		{ .name = "example.com", .web = true, .sip = true, .sip_signin = true },
		{ .name = "sip.example.com", .sip = true },
	};
	struct core_settings s = { .auth = { .cache_life_ms = 480 * 60000,
					     .cache_cleanup_ms = 720 * 60000,
					     .cache_entries = 100,
					     .rate = { 1000, 300000 },
					     .timeout_ms = 15000,
					     .max_checks = 64 },
				   .session_life_s = 28800,
				   .max_sessions = 50,
				   .domains = domains,
				   .n_domains = 2 };
	struct service svc = { &tunnel, &l->core_end };

	l->core_end = (struct end){ .lab = l, .edge = -1 };
	l->core = core_side_new(&w, &backend, l);
	return l->core && core_side_configure(l->core, &s) == 0 &&
	       core_side_start(l->core, &svc) == 0;
}

static bool edge_start(struct lab *l, int i)
{
	struct signin_world w = { .timers = &l->timers,
				  .conns = l->edge_conns[i],
				  .trace = l->trace,
				  .random = random_fill };
	struct edge_settings s = { .max_sessions = 60,
				   .source = { 20, 300000 },
				   .timeout_ms = 16000 };
	struct service svc = { &tunnel, &l->edge_ends[i] };

	l->edge_ends[i] = (struct end){ .lab = l, .edge = i };
	l->edges[i] = edge_side_new(&w);
	if (!l->edges[i])
		return false;
	edge_side_configure(l->edges[i], &s);
	return edge_side_start(l->edges[i], &svc) == 0;
}

static bool setup(struct lab *l)
{
	bool good = true;

	memset(l, 0, sizeof(*l));
	the_lab = l;
	timerq_init(&l->timers, 1000);
	l->alice_password = "secret";
	l->core_conns = conn_table_new(200, 50, clock_ms, l);
	l->trace = trace_new(256, clock_ms, l);
	for (int i = 0; i < N_EDGES; i++)
		l->edge_conns[i] = conn_table_new(200, 50, clock_ms, l);
	good = l->core_conns && l->trace && l->edge_conns[0] && l->edge_conns[1];
	good = good && core_start(l);
	for (int i = 0; i < N_EDGES && good; i++) {
		good = edge_start(l, i);
		if (good)
			connect_edge(l, i);
	}
	return good;
}

static void teardown(struct lab *l)
{
	for (int i = 0; i < N_EDGES; i++) {
		edge_side_free(l->edges[i]);
		l->edges[i] = NULL;
	}
	pump(l);
	core_side_free(l->core);
	l->core = NULL;
	for (size_t i = 0; i < MAX_CALLS; i++)
		timer_stop(&l->timers, &l->calls[i].late);
	assert_null(l->timers.root);
	for (int i = 0; i < N_EDGES; i++)
		conn_table_free(l->edge_conns[i]);
	conn_table_free(l->core_conns);
	trace_free(l->trace);
}

static void on_done(void *arg, const struct signin_result *r)
{
	struct lab *l = arg;

	l->n_results++;
	l->last = *r;
	snprintf(l->why, sizeof(l->why), "%s", r->why ? r->why : "");
	assert_true((r->status == SIGNIN_OK) == (r->session != NULL));
	if (r->session)
		l->session = *r->session;
}

static struct addr ip(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(slice_of(text), 4711, &a));
	return a;
}

static uint64_t ask(struct lab *l, int edge, const char *domain, const char *pair, const char *from)
{
	struct addr a = ip(from);
	struct buf b;
	uint64_t id;

	buf_init(&b, 2000);
	buf_add_str(&b, "Basic ");
	base64_encode(&b, pair, strlen(pair));
	id = edge_side_ops.sign_in(l->edges[edge], slice_of(domain), buf_slice(&b), &a, on_done, l);
	buf_fini(&b);
	return id;
}

/* The result, after as much time as it takes. */
static enum signin_status sign_in(struct lab *l, int edge, const char *pair, const char *from)
{
	int before = l->n_results;

	ask(l, edge, "Example.com", pair, from);
	assert_int_equal(l->n_results, before); /* never before it returns */
	pass(l, 500);
	if (l->n_results == before)
		pass(l, 16000);
	assert_int_equal(l->n_results, before + 1);
	return l->last.status;
}

static const struct signin_session *on_edge(struct lab *l, int edge, const char *token)
{
	return edge_side_ops.by_token(l->edges[edge], slice_of(token));
}

static uint32_t n_entries(struct conn_table *t)
{
	return conn_count(t, CONN_SIGNIN);
}

#define HOME   "192.0.2.1"
#define TRAVEL "198.51.100.7"

/* --- tests --- */

static void test_good(void **state)
{
	struct lab l;
	char token[SIGNIN_TOKEN_BYTES], id[SIGNIN_ID_BYTES];
	struct addr from = ip(HOME);

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	strcpy(token, l.session.token);
	strcpy(id, l.session.id);
	assert_string_equal(l.session.user, "alice");
	assert_int_equal(l.session.peer, 1);
	assert_true(addr_ip_eq(&l.session.from, &from));
	/* on every box, under one id, and in the connection tables */
	for (int i = 0; i < N_EDGES; i++) {
		const struct signin_session *s = on_edge(&l, i, token);
		struct conn *c = conn_get(l.edge_conns[i], s->conn_id);

		assert_string_equal(s->id, id);
		assert_ptr_equal(edge_side_ops.by_id(l.edges[i], slice_of(id)), s);
		assert_ptr_equal(edge_side_ops.of_user(l.edges[i], SLICE("example.com"),
						       SLICE("alice"), NULL),
				 s);
		assert_string_equal(c->user, "alice@example.com");
		assert_string_equal(c->session, id);
		assert_string_equal(c->state, "signed in");
		edge_side_ops.touch(l.edges[i], slice_of(id));
	}
	assert_int_equal(n_entries(l.core_conns), 1);
	/* again: the same session, out of the cache; by the other edge too */
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	assert_string_equal(l.session.token, token);
	assert_int_equal(sign_in(&l, 1, "alice@example.com:secret", HOME), SIGNIN_OK);
	assert_string_equal(l.session.token, token);
	assert_int_equal(l.n_upstream, 1);
	/* from elsewhere: another one */
	assert_int_equal(sign_in(&l, 0, "alice:secret", TRAVEL), SIGNIN_OK);
	assert_string_not_equal(l.session.token, token);
	assert_int_equal(n_entries(l.core_conns), 2);
	teardown(&l);
}

static void test_domains(void **state)
{
	struct lab l;
	const struct signin_domain *d;
	struct core_settings s = { .session_life_s = 60,
				   .max_sessions = 10,
				   .auth.cache_cleanup_ms = 1000 };
	static const struct signin_domain next[] = { { .name = "example.com", .sip = true } };

	setup(&l);
	d = edge_side_ops.domain(l.edges[0], SLICE("EXAMPLE.com"));
	assert_true(d && d->web && d->sip && d->sip_signin && !d->im);
	assert_int_equal(d->peer, 1);
	assert_null(edge_side_ops.domain(l.edges[0], SLICE("example.org")));
	assert_non_null(core_side_ops.domain(l.core, SLICE("Example.COM")));
	ask(&l, 0, "example.org", "alice:secret", HOME);
	pass(&l, 0);
	assert_int_equal(l.last.status, SIGNIN_NO_DOMAIN);
	ask(&l, 0, "sip.example.com", "alice:secret", HOME);
	pass(&l, 0);
	assert_int_equal(l.last.status, SIGNIN_NO_DOMAIN);
	assert_int_equal(l.n_upstream, 0);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	/* no longer for the web: its sessions end, one domain goes */
	s.domains = next;
	s.n_domains = 1;
	assert_int_equal(core_side_configure(l.core, &s), 0);
	pump(&l);
	assert_false(edge_side_ops.domain(l.edges[1], SLICE("example.com"))->web);
	assert_null(edge_side_ops.domain(l.edges[1], SLICE("sip.example.com")));
	assert_null(on_edge(&l, 0, l.session.token));
	disconnect_edge(&l, 0);
	assert_int_equal(edge_side_ops.domain(l.edges[0], SLICE("example.com"))->peer, 0);
	teardown(&l);
}

static void test_bad(void **state)
{
	struct lab l;
	char why[160];

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:wrong", HOME), SIGNIN_DENIED);
	strcpy(why, l.why);
	assert_int_equal(sign_in(&l, 0, "nobody:wrong", HOME), SIGNIN_DENIED);
	assert_string_equal(l.why, why);
	assert_int_equal(sign_in(&l, 0, "alice", HOME), SIGNIN_BAD_REQUEST);
	assert_int_equal(sign_in(&l, 0, "alice:", HOME), SIGNIN_DENIED);
	assert_int_equal(l.n_upstream, 2);
	assert_int_equal(n_entries(l.core_conns), 0);
	assert_int_equal(trace_count(l.trace, "signin.sign-in.denied"), 5); /* E and C */
	/* third one from here: the penalty begins, for her and here alone */
	sign_in(&l, 0, "alice:wrong2", HOME);
	assert_int_equal(sign_in(&l, 0, "alice:wrong3", HOME), SIGNIN_DENIED);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_TOO_MANY);
	assert_true(l.last.retry_after_s > 0 && l.last.retry_after_s <= 15);
	assert_int_equal(sign_in(&l, 0, "alice:secret", TRAVEL), SIGNIN_OK);
	assert_int_equal(sign_in(&l, 0, "bob:good", HOME), SIGNIN_OK);
	teardown(&l);
}

/* Credential stuffing from one address: it is stopped, its neighbours who are signed in are not,
 * others are not. */
static void test_stuffing(void **state)
{
	struct lab l;
	char pair[32];
	int n_denied = 0, n_refused = 0;

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	for (int i = 0; i < 40; i++) {
		snprintf(pair, sizeof(pair), "user%d:guess", i);
		if (sign_in(&l, 0, pair, HOME) == SIGNIN_DENIED)
			n_denied++;
		else
			n_refused += l.last.status == SIGNIN_TOO_MANY;
	}
	assert_int_equal(n_denied, 20);
	assert_int_equal(n_refused, 20);
	assert_int_equal(l.n_upstream, 21);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	assert_int_equal(sign_in(&l, 0, "bob:good", HOME), SIGNIN_TOO_MANY);
	assert_int_equal(sign_in(&l, 0, "bob:good", TRAVEL), SIGNIN_OK);
	pass(&l, 300000);
	assert_int_equal(sign_in(&l, 0, "carol:good", HOME), SIGNIN_OK);
	teardown(&l);
}

static void test_unavailable(void **state)
{
	struct lab l;

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	l.backend_dead = true;
	for (int i = 0; i < 10; i++) /* never a denial, never a penalty */
		assert_int_equal(sign_in(&l, 0, "bob:good", HOME), SIGNIN_UNAVAILABLE);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK); /* cached */
	l.backend_dead = false;
	assert_int_equal(sign_in(&l, 0, "bob:good", HOME), SIGNIN_OK);
	/* the tunnel is lost while it waits, was lost before, C is silent */
	ask(&l, 0, "example.com", "carol:good", HOME);
	disconnect_edge(&l, 0);
	assert_int_equal(l.last.status, SIGNIN_UNAVAILABLE);
	assert_int_equal(sign_in(&l, 0, "dave:good", HOME), SIGNIN_UNAVAILABLE);
	assert_true(l.last.retry_after_s > 0);
	connect_edge(&l, 0);
	l.deaf = true;
	assert_int_equal(sign_in(&l, 0, "dave:good", HOME), SIGNIN_UNAVAILABLE);
	l.deaf = false;
	/* as many sessions as there may be: 50, three are there */
	for (int i = 0; i < 48; i++) {
		char pair[32];

		snprintf(pair, sizeof(pair), "u%d:good", i);
		sign_in(&l, 1, pair, TRAVEL);
	}
	assert_int_equal(l.last.status, SIGNIN_UNAVAILABLE);
	assert_int_equal(n_entries(l.core_conns), 50);
	teardown(&l);
}

/* Over 95 % fewer authentications upstream. */
static void test_cache_counts(void **state)
{
	struct lab l;
	json_t *status = json_object();

	setup(&l);
	for (int i = 0; i < 200; i++)
		assert_int_equal(sign_in(&l, i % 2, i % 4 < 2 ? "alice:secret" : "bob:good", HOME),
				 SIGNIN_OK);
	assert_int_equal(l.n_upstream, 2);
	core_side_status(l.core, status);
	assert_int_equal(json_integer_value(json_object_get(status, "upstream_checks")), 2);
	assert_int_equal(json_integer_value(json_object_get(status, "cache_hits")), 198);
	assert_int_equal(json_integer_value(json_object_get(status, "cache_entries")), 2);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(status, "sign_ins"), "ok")),
		200);
	json_decref(status);
	teardown(&l);
}

static void test_restarts(void **state)
{
	struct lab l;
	char token[SIGNIN_TOKEN_BYTES];
	uint64_t conn_id;

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	strcpy(token, l.session.token);
	/* The tunnel breaks and comes back: the same entry lives on. */
	conn_id = on_edge(&l, 0, token)->conn_id;
	disconnect_edge(&l, 0);
	pass(&l, 60000);
	assert_non_null(on_edge(&l, 0, token));
	connect_edge(&l, 0);
	assert_true(on_edge(&l, 0, token)->conn_id == conn_id);
	/* E starts anew and learns the session with what is left of its life. */
	disconnect_edge(&l, 0);
	edge_side_free(l.edges[0]);
	assert_int_equal(n_entries(l.edge_conns[0]), 0);
	assert_true(edge_start(&l, 0));
	assert_null(on_edge(&l, 0, token));
	connect_edge(&l, 0);
	assert_non_null(on_edge(&l, 0, token));
	assert_true(on_edge(&l, 0, token)->expires_ms <= 1000 + 28800 * 1000 + 1000);
	/* C starts anew: it knows nobody, and soon neither does E. */
	disconnect_edge(&l, 0);
	disconnect_edge(&l, 1);
	core_side_free(l.core);
	assert_true(core_start(&l));
	assert_non_null(on_edge(&l, 0, token));
	connect_edge(&l, 0);
	assert_null(on_edge(&l, 0, token));
	/* A C that begins to tell its state and never ends it: 10 s. */
	assert_non_null(on_edge(&l, 1, token));
	l.up[1] = true;
	queue_item(&l, RESET, 1, SIGNIN_TABLE_SESSIONS, "", NULL);
	queue_item(&l, RESET, 1, SIGNIN_TABLE_DOMAINS, "", NULL);
	pass(&l, EDGE_SYNC_MS - 1);
	assert_non_null(on_edge(&l, 1, token));
	assert_non_null(edge_side_ops.domain(l.edges[1], SLICE("example.com")));
	pass(&l, 1);
	assert_null(on_edge(&l, 1, token));
	assert_null(edge_side_ops.domain(l.edges[1], SLICE("example.com")));
	teardown(&l);
}

static void test_sign_out(void **state)
{
	struct lab l;
	char token[SIGNIN_TOKEN_BYTES];

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	strcpy(token, l.session.token);
	edge_side_ops.sign_out(l.edges[0], slice_of(token), "logout");
	assert_null(on_edge(&l, 0, token)); /* at once */
	pump(&l);
	assert_null(on_edge(&l, 1, token));
	assert_int_equal(n_entries(l.core_conns), 0);
	assert_int_equal(signin_sessions_count(edge_side_base(l.edges[0])->sessions), 0);
	/* while C is out of reach: it stays signed out when C is back */
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	strcpy(token, l.session.token);
	disconnect_edge(&l, 0);
	edge_side_ops.sign_out(l.edges[0], slice_of(token), "logout");
	assert_null(on_edge(&l, 0, token));
	assert_int_equal(n_entries(l.core_conns), 1);
	connect_edge(&l, 0);
	assert_null(on_edge(&l, 0, token));
	assert_int_equal(n_entries(l.core_conns), 0);
	assert_null(on_edge(&l, 1, token));
	assert_int_equal(signin_sessions_count(edge_side_base(l.edges[0])->sessions), 0);
	teardown(&l);
}

/* turnpikectl disconnect, on either box. */
static void test_disconnect(void **state)
{
	struct lab l;
	struct conn *c;

	setup(&l);
	for (int on_core = 0; on_core < 2; on_core++) {
		assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
		c = on_core ? CONTAINER_OF(list_first(conn_list(l.core_conns, CONN_SIGNIN)),
					   struct conn, node)
			    : conn_get(l.edge_conns[1], on_edge(&l, 1, l.session.token)->conn_id);
		c->close(c, "closed by the operator");
		pump(&l);
		assert_int_equal(n_entries(l.core_conns), 0);
		assert_int_equal(n_entries(l.edge_conns[0]), 0);
		assert_int_equal(n_entries(l.edge_conns[1]), 0);
	}
	teardown(&l);
}

static void test_expiry(void **state)
{
	struct lab l;
	char token[SIGNIN_TOKEN_BYTES];

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	strcpy(token, l.session.token);
	disconnect_edge(&l, 1);
	pass(&l, 28799 * 1000 - 500 - 1000);
	assert_non_null(on_edge(&l, 0, token));
	assert_non_null(on_edge(&l, 1, token));
	pass(&l, 3000);
	assert_int_equal(n_entries(l.core_conns), 0);
	assert_null(on_edge(&l, 0, token));
	assert_null(on_edge(&l, 1, token)); /* by itself */
	/* Who signs in again in the second half gets a whole life. */
	connect_edge(&l, 1);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	strcpy(token, l.session.token);
	pass(&l, 20000 * 1000);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	assert_string_equal(l.session.token, token);
	pass(&l, 20000 * 1000);
	assert_non_null(on_edge(&l, 0, token));
	assert_non_null(on_edge(&l, 1, token));
	teardown(&l);
}

static enum signin_status digest(struct lab *l, int edge, const char *user, const char *password,
				 const char *realm)
{
	struct digest_challenge ch = { .realm = slice_of(realm),
				       .nonce = SLICE("nonce"),
				       .algorithm = DIGEST_SHA256,
				       .qop_auth = true };
	struct digest_response r;
	struct addr from;
	struct buf b;

	assert_true(addr_parse_ip(SLICE("198.51.100.10"), 0, &from));
	buf_init(&b, 2000);
	digest_response_print(&b, &ch, slice_of(user), slice_of(password), SLICE("REGISTER"),
			      SLICE("sip:example.com"), SLICE("c"), 1);
	assert_true(digest_response_parse(buf_slice(&b), &r));
	assert_true(edge_side_ops.check_digest(l->edges[edge], SLICE("example.com"), &r,
					       SLICE("REGISTER"), &from, on_done, l));
	buf_fini(&b);
	pass(l, 0);
	return l->last.status;
}

static void test_digest(void **state)
{
	static const char e1[] = "edge1.example.com", e2[] = "edge2.example.com";
	struct lab l;
	int before;

	setup(&l);
	/* not signed in: C is not even asked */
	before = (int)l.next_call;
	assert_int_equal(digest(&l, 0, "alice", "secret", e1), SIGNIN_DENIED);
	assert_int_equal(l.next_call, before);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	assert_int_equal(digest(&l, 0, "alice", "secret", e1), SIGNIN_OK);
	assert_string_equal(l.session.user, "alice");
	assert_int_equal(digest(&l, 0, "alice@example.com", "secret", e1), SIGNIN_OK);
	assert_int_equal(digest(&l, 1, "alice", "secret", e2), SIGNIN_OK); /* by another edge */
	assert_int_equal(digest(&l, 0, "alice", "wrong", e1), SIGNIN_DENIED);
	assert_int_equal(digest(&l, 0, "bob", "secret", e1), SIGNIN_DENIED);
	assert_int_equal(digest(&l, 0, "alice@example.org", "secret", e1), SIGNIN_DENIED);
	assert_int_equal(digest(&l, 0, "alice", "secret", "other"), SIGNIN_UNAVAILABLE);
	disconnect_edge(&l, 0);
	assert_int_equal(digest(&l, 0, "alice", "secret", e1), SIGNIN_UNAVAILABLE);
	connect_edge(&l, 0);
	edge_side_ops.sign_out(l.edges[0], slice_of(l.session.token), "logout");
	assert_int_equal(digest(&l, 1, "alice", "secret", e2), SIGNIN_DENIED);
	teardown(&l);
}

/* A server inside answered 401 to what was cached: it is asked about again, and when it is really
 * not good any more, the sessions that it made are over. */
static void test_changed_password(void **state)
{
	struct lab l;
	char token[SIGNIN_TOKEN_BYTES];

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	strcpy(token, l.session.token);
	l.alice_password = "new";
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK); /* still cached */
	/* other credentials than hers, another session: nothing happens */
	core_side_ops.distrust(l.core, slice_of(l.session.id), SLICE("Basic YWxpY2U6b3RoZXI="));
	core_side_ops.distrust(l.core, SLICE("nobody"), SLICE("Basic YWxpY2U6c2VjcmV0"));
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	core_side_ops.distrust(l.core, slice_of(l.session.id), SLICE("Basic YWxpY2U6c2VjcmV0"));
	assert_non_null(on_edge(&l, 0, token));
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_DENIED);
	assert_null(on_edge(&l, 0, token));
	assert_int_equal(sign_in(&l, 0, "alice:new", HOME), SIGNIN_OK);
	assert_int_equal(digest(&l, 0, "alice", "new", "edge1.example.com"), SIGNIN_OK);
	assert_int_equal(digest(&l, 0, "alice", "secret", "edge1.example.com"), SIGNIN_DENIED);
	teardown(&l);
}

static void test_cancel(void **state)
{
	struct lab l;
	struct addr from = ip(HOME);
	uint64_t id;

	setup(&l);
	id = ask(&l, 0, "example.com", "alice:secret", HOME);
	edge_side_ops.cancel(l.edges[0], id);
	edge_side_ops.cancel(l.edges[0], id);
	pass(&l, 1000);
	assert_int_equal(l.n_results, 0);
	/* on C itself */
	id = core_side_ops.sign_in(l.core, SLICE("example.com"), SLICE("Basic Ym9iOmdvb2Q="), &from,
				   on_done, &l);
	core_side_ops.cancel(l.core, id);
	core_side_ops.cancel(l.core, id);
	pass(&l, 1000);
	assert_int_equal(l.n_results, 0);
	core_side_ops.sign_in(l.core, SLICE("example.com"), SLICE("Basic Ym9iOmdvb2Q="), &from,
			      on_done, &l);
	pass(&l, 1000);
	assert_int_equal(l.last.status, SIGNIN_OK);
	assert_int_equal(l.session.peer, 0);
	assert_non_null(core_side_ops.by_token(l.core, slice_of(l.session.token)));
	assert_non_null(on_edge(&l, 0, l.session.token));
	core_side_ops.sign_out(l.core, slice_of(l.session.token), "logout");
	pump(&l);
	assert_null(on_edge(&l, 0, l.session.token));
	/* freed with requests under way */
	ask(&l, 0, "example.com", "carol:good", HOME);
	pump(&l);
	ask(&l, 1, "example.com", "dave:good", HOME);
	teardown(&l);
	assert_int_equal(l.n_results, 1);
}

static void put_raw(struct lab *l, int edge, const char *table, const char *key, const char *json)
{
	struct message *m = queue(l, PUT, edge);

	snprintf(m->table, sizeof(m->table), "%s", table);
	snprintf(m->key, sizeof(m->key), "%s", key);
	m->json = strdup(json);
}

static void test_hostile_items(void **state)
{
	static const char good[] =
		"{\"id\":\"0123456789abcdef0123456789abcdef\",\"domain\":\"example.com\",\"user\":"
		"\"mallory\",\"life_s\":60,\"age_s\":0,\"from\":\"192.0.2.1\"}";
	static const char stolen[] =
		"{\"id\":\"1123456789abcdef0123456789abcdef\",\"domain\":\"example.com\",\"user\":"
		"\"mallory\",\"life_s\":60,\"age_s\":0,\"from\":\"192.0.2.1\"}";
	struct lab l;
	char key[40];

	setup(&l);
	assert_int_equal(sign_in(&l, 0, "alice:secret", HOME), SIGNIN_OK);
	put_raw(&l, 0, SIGNIN_TABLE_SESSIONS, "../../x", good);
	put_raw(&l, 0, SIGNIN_TABLE_SESSIONS, "", good);
	put_raw(&l, 0, SIGNIN_TABLE_SESSIONS, "01234567-89ab-4def-8123-456789abcdef", "[1]");
	put_raw(&l, 0, SIGNIN_TABLE_SESSIONS, "01234567-89ab-4def-8123-456789abcdef", "null");
	put_raw(&l, 0, SIGNIN_TABLE_SESSIONS, l.session.token, stolen); /* who is it suddenly? */
	put_raw(&l, 0, SIGNIN_TABLE_DOMAINS, "EXAMPLE.com", "{}");
	put_raw(&l, 0, SIGNIN_TABLE_DOMAINS, "example.net", "{\"web\":1}");
	pump(&l);
	assert_int_equal(n_entries(l.edge_conns[0]), 1);
	assert_string_equal(on_edge(&l, 0, l.session.token)->user, "alice");
	assert_null(edge_side_ops.domain(l.edges[0], SLICE("example.net")));
	assert_true(trace_count(l.trace, "signin.item.refused") >= 7);
	/* more than fit */
	for (int i = 0; i < 70; i++) {
		char item[300];

		snprintf(key, sizeof(key), "01234567-89ab-4def-8123-4567000000%02u",
			 (unsigned)i % 100);
		snprintf(item, sizeof(item),
			 "{\"id\":\"0123456789abcdef01234567000000%02d\",\"domain\":\"e\",\"user\":"
			 "\"u\",\"life_s\":60,\"age_s\":0,\"from\":\"192.0.2.1\"}",
			 i);
		put_raw(&l, 0, SIGNIN_TABLE_SESSIONS, key, item);
	}
	pump(&l);
	assert_int_equal(n_entries(l.edge_conns[0]), 60);
	teardown(&l);
}

struct reply {
	int n;
	char status[32];
};

static void on_reply(void *arg, int status, const json_t *value)
{
	struct reply *r = arg;

	r->n++;
	assert_int_equal(status, 0);
	snprintf(r->status, sizeof(r->status), "%s",
		 json_string_value(json_object_get(value, "status")));
}

/* An edge that was taken over. */
static void test_hostile_calls(void **state)
{
	static const struct {
		const char *method, *params, *status;
	} rows[] = {
		{ "sign-in", "{}", "bad-request" },
		{ "sign-in", "[]", "bad-request" },
		{ "sign-in", "{\"domain\":\"example.com\",\"authorization\":\"Basic YTpi\"}",
		  "bad-request" },
		{ "sign-in",
		  "{\"domain\":\"sip.example.com\",\"authorization\":\"Basic "
		  "YTpi\",\"from\":\"::1\"}",
		  "no-domain" },
		{ "sign-in", "{\"domain\":\"x\",\"authorization\":\"Basic YTpi\",\"from\":\"::1\"}",
		  "no-domain" },
		{ "sign-in",
		  "{\"domain\":\"example.com\",\"authorization\":\"Digest\",\"from\":\"::1\"}",
		  "bad-request" },
		{ "digest", "{}", "bad-request" },
		{ "digest", "{\"domain\":\"example.com\"}", "bad-request" },
		{ "digest",
		  "{\"domain\":\"example.com\",\"username\":\"alice\",\"realm\":\"r\",\"nonce\":"
		  "\"n\",\"uri\":\"u\",\"response\":\"\",\"cnonce\":\"\",\"nc\":\"\",\"method\":"
		  "\"REGISTER\",\"algorithm\":\"MD5\",\"qop\":false}",
		  "denied" },
	};
	struct reply r = { 0 };
	struct lab l;
	int error;

	setup(&l);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *params = json_loads(rows[i].params, 0, NULL);

		assert_non_null(params);
		assert_true(t_call(&l.edge_ends[0], 1, rows[i].method, params, 1000, on_reply, &r,
				   &error));
		json_decref(params);
		pass(&l, 600);
		assert_int_equal(r.n, i + 1);
		if (strcmp(r.status, rows[i].status) != 0)
			fail_msg("row %zu: %s", i, r.status);
	}
	assert_int_equal(l.n_upstream, 0);
	teardown(&l);
}

static void one_run(void *arg)
{
	struct lab *l = arg;

	if (setup(l)) {
		ask(l, 0, "example.com", "alice:secret", HOME);
		pass(l, 600);
		ask(l, 0, "example.com", "alice:secret", HOME);
		pass(l, 600);
		ask(l, 1, "example.com", "alice:wrong", TRAVEL);
		pass(l, 17000);
		if (l->n_results > 0 && l->last.status == SIGNIN_OK)
			edge_side_ops.sign_out(l->edges[1], slice_of(l->session.token), "logout");
		disconnect_edge(l, 0);
		connect_edge(l, 0);
	}
	teardown(l);
}

static void test_alloc(void **state)
{
	struct lab *l = malloc(sizeof(*l));

	assert_true(alloc_fail_sweep(one_run, l) > 30);
	free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	      cmocka_unit_test(test_domains),
		cmocka_unit_test(test_bad),	      cmocka_unit_test(test_stuffing),
		cmocka_unit_test(test_unavailable),   cmocka_unit_test(test_cache_counts),
		cmocka_unit_test(test_restarts),      cmocka_unit_test(test_sign_out),
		cmocka_unit_test(test_disconnect),    cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_digest),	      cmocka_unit_test(test_changed_password),
		cmocka_unit_test(test_cancel),	      cmocka_unit_test(test_hostile_items),
		cmocka_unit_test(test_hostile_calls), cmocka_unit_test(test_alloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
