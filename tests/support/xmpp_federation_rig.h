#ifndef TESTS_SUPPORT_XMPP_FEDERATION_RIG_H
#define TESTS_SUPPORT_XMPP_FEDERATION_RIG_H
/*
 * Federation from end to end in memory: a partner's server (an engine), E's half, C's half, the IM
 * server (an engine, or the raw end of a component's stream). This file stands in for what lies
 * between them: sockets, ports, the link, the tunnel, the list of IM servers.
 *
 *   partner <--stream_connect, xmpp_listen--> E <--link_*, tunnel--> C <--im_servers_*--> IM server
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/dns.h"
#include "core/log.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "support/xmpp_rig.h"
#include "turnpike/route.h"
#include "xmpp/federation.h"
#include "xmpp/listen.h"

#define E_ID	   5 /* as C counts */
#define C_ID	   3 /* as E counts */
#define MAX_TABLES 3

struct fed_server { /* the partner, the IM server */
	struct s2s *s2s;
	const char *domain;
	const char *peer; /* domain that it finds at `at` */
	struct xmpp_listen **at;
	struct buf got;
	bool is_down;
};

struct fed_world {
	struct xmpp_rig rig; /* the loop and tables of everybody */
	struct env e_env, c_env;
	FILE *sink;
	struct conf_store *conf;
	struct conf_snapshot *e_snap, *c_snap;
	struct federation_edge *e;
	struct federation_core *c;
	struct fed_server partner, im;
	struct xmpp_listen *e_port, *c_port; /* open when not NULL */
	struct xmpp_far component;
	size_t n_components;
	const char *component_of;
	/* the link */
	bool link_down, link_hangs;
	struct stream *hung[128]; /* ends that C opened and E never saw */
	size_t n_hung;
	size_t n_links; /* that were opened */
	/* the tunnel */
	bool up;
	struct {
		const char *name;
		const struct tunnel_source *source;
		void *source_arg;
		const struct tunnel_sink *sink;
		void *sink_arg;
	} tables[MAX_TABLES];
	size_t n_tables, n_puts, n_dels;
};

static struct fed_world *fed; /* for functions without an argument */

/* Runs fn once, in the next turn. */
struct fed_later {
	struct loop_deferred d;
	void (*done)(void *ctx, struct stream *s, const char *why);
	void (*found)(void *ctx, const struct im_node *nodes, size_t n, const char *why);
	void (*resolved)(void *ctx, const struct s2s_target *t, size_t n, bool not_found,
			 const char *why);
	void *ctx;
	struct stream *s;
	struct preface preface;
	bool to_core, to_edge;
	bool cancelled, used;
};

/* Places of the stand-ins: their own memory must not fail. */
static struct fed_later fed_places[1024];

static inline struct fed_later *fed_place(void)
{
	for (size_t i = 0; i < 1024; i++)
		if (!fed_places[i].used) {
			fed_places[i] = (struct fed_later){ .used = true };
			return &fed_places[i];
		}
	fail_msg("too much at once");
	return NULL;
}

static inline void fed_run_later(void *arg)
{
	struct fed_later *l = arg;
	struct im_node node = { .server = "im", .host = "im1", .port = 5269, .alive = true };
	struct s2s_target target = { .host = "there", .addr = { .port = 5269 } };

	if (l->cancelled)
		stream_close(l->s);
	else if (l->done)
		l->done(l->ctx, l->s, l->s ? "" : "no connection");
	else if (l->found)
		l->found(l->ctx, &node, 1, "");
	else if (l->resolved)
		l->resolved(l->ctx, &target, 1, false, "");
	else if (l->to_core)
		federation_core_take(fed->c, E_ID, &l->preface, l->s);
	else if (l->to_edge)
		federation_edge_take(fed->e, C_ID, &l->preface, l->s);
	l->used = false;
}

static inline struct fed_later *fed_later(void *ctx)
{
	struct fed_later *l = fed_place();

	l->ctx = ctx;
	loop_deferred_init(&l->d, fed_run_later, l);
	loop_defer(fed->rig.env.loop, &l->d);
	return l;
}

/* --- the link --- */

static inline struct stream *fed_join(struct stream **other)
{
	struct stream *ends[2];

	if (stream_pair_new(fed->rig.env.loop, ends) < 0)
		return NULL;
	fed->n_links++;
	*other = ends[1];
	return ends[0];
}

uint64_t link_edge_wait(struct link_edge *l, tunnel_peer from, const struct preface *p,
			uint32_t timeout_ms,
			void (*done)(void *arg, struct stream *s, const char *why), void *arg)
{
	struct fed_later *mine, *theirs;
	struct stream *other;

	assert_int_equal(from, C_ID);
	assert_int_equal(p->kind, PREFACE_S2S);
	if (fed->link_hangs)
		return 99;
	mine = fed_later(arg);
	mine->done = done;
	if (fed->link_down)
		return (uint64_t)(uintptr_t)mine;
	mine->s = fed_join(&other);
	if (!mine->s)
		return (uint64_t)(uintptr_t)mine;
	theirs = fed_later(NULL);
	theirs->to_core = true;
	theirs->preface = *p;
	theirs->s = other;
	return (uint64_t)(uintptr_t)mine;
}

void link_edge_cancel(struct link_edge *l, uint64_t id)
{
	if (id != 99)
		((struct fed_later *)(uintptr_t)id)->cancelled = true;
}

struct stream *link_core_open(struct link_core *l, tunnel_peer to, const struct preface *p,
			      const struct stream_handler *h, void *arg, int *error)
{
	struct fed_later *theirs;
	struct stream *other, *mine;

	assert_int_equal(to, E_ID);
	*error = -EPIPE;
	if (fed->link_down)
		return NULL;
	if (fed->link_hangs && fed->n_hung == sizeof(fed->hung) / sizeof(fed->hung[0]))
		return NULL;
	mine = fed_join(&other);
	if (!mine)
		return NULL;
	stream_set_handler(mine, h, arg);
	if (fed->link_hangs) {
		fed->hung[fed->n_hung++] = other;
		return mine;
	}
	theirs = fed_later(NULL);
	theirs->to_edge = true;
	theirs->preface = *p;
	theirs->s = other;
	return mine;
}

bool link_core_up(const struct link_core *l, tunnel_peer to)
{
	return !fed->link_down;
}

/* --- ports and sockets --- */

static inline struct xmpp_listen **fed_port(const struct xmpp_listen *l)
{
	return strcmp(l->what, "partners") == 0 ? &fed->e_port : &fed->c_port;
}

/* What is accepted there: kept in the struct's place for addresses. */
static struct stream_listener_conf fed_confs[2];

void xmpp_listen_init(struct xmpp_listen *l, struct env *env, const char *what)
{
	*l = (struct xmpp_listen){ .env = env, .what = what };
}

int xmpp_listen_configure(struct xmpp_listen *l, const struct addr *address, uint32_t port,
			  const struct stream_listener_conf *c, struct buf *errors)
{
	struct xmpp_listen **p = fed_port(l);

	*p = port ? l : NULL;
	fed_confs[p == &fed->c_port] = *c;
	return 0;
}

void xmpp_listen_close(struct xmpp_listen *l)
{
	*fed_port(l) = NULL;
}

/* Connects to one of our two ports. */
static inline struct stream *fed_dial_port(struct xmpp_listen **port)
{
	struct stream *ends[2];

	if (!*port || stream_pair_new(fed->rig.env.loop, ends) < 0)
		return NULL;
	fed_confs[port == &fed->c_port].accepted(fed_confs[port == &fed->c_port].arg, ends[1]);
	return ends[0];
}

static inline struct stream *fed_dial_server(struct fed_server *to, const struct stream_handler *h,
					     void *ctx, int *error)
{
	struct stream *ends[2];

	*error = -ECONNREFUSED;
	if (to->is_down || stream_pair_new(fed->rig.env.loop, ends) < 0)
		return NULL;
	stream_set_handler(ends[0], h, ctx);
	s2s_accept(to->s2s, ends[1]);
	return ends[0];
}

struct stream *stream_connect(struct env *env, const struct stream_connect *c,
			      const struct stream_handler *h, void *arg, int *error)
{
	assert_ptr_equal(env, &fed->e_env);
	return fed_dial_server(&fed->partner, h, arg, error);
}

int stream_start_tls(struct env *env, struct stream *s, const struct stream_tls *t)
{
	return -EINVAL;
}

SSL *stream_ssl(struct stream *s)
{
	return NULL;
}

/* --- IM servers --- */

uint64_t im_servers_find(struct im_servers *s, const char *domain, enum im_use use, const char *key,
			 void (*done)(void *arg, const struct im_node *nodes, size_t n,
				      const char *why),
			 void *arg)
{
	struct fed_later *l = fed_later(arg);

	assert_int_equal(use, IM_FEDERATION);
	l->found = done;
	return (uint64_t)(uintptr_t)l;
}

void im_servers_cancel(struct im_servers *s, uint64_t id)
{
	((struct fed_later *)(uintptr_t)id)->cancelled = true;
}

struct stream *im_servers_connect(struct im_servers *s, const struct im_node *node, enum im_use use,
				  const struct addr *client, const struct stream_handler *h,
				  void *arg, int *error)
{
	struct stream *near;

	assert_string_equal(node->server, "im");
	assert_string_equal(node->host, "im1");
	if (!fed->component_of)
		return fed_dial_server(&fed->im, h, arg, error);
	*error = -ECONNREFUSED;
	if (fed->component.s)
		return NULL;
	buf_fini(&fed->component.in);
	near = xmpp_far_init(&fed->component, &fed->rig);
	stream_set_handler(near, h, arg);
	fed->n_components++;
	return near;
}

int im_servers_start_tls(struct im_servers *s, const struct im_node *node, const char *domain,
			 struct stream *stream)
{
	return -EINVAL;
}

void im_servers_report(struct im_servers *s, const struct im_node *node, bool good, const char *why)
{
}

/* --- the tunnel --- */

static inline size_t fed_table(const char *name)
{
	size_t i = 0;

	while (i < fed->n_tables && strcmp(fed->tables[i].name, name) != 0)
		i++;
	assert_true(i < MAX_TABLES);
	fed->tables[i].name = name;
	if (i == fed->n_tables)
		fed->n_tables++;
	return i;
}

static inline int fed_publish(void *self, const char *table, const struct tunnel_source *s,
			      void *arg)
{
	size_t i = fed_table(table);

	fed->tables[i].source = s;
	fed->tables[i].source_arg = arg;
	return 0;
}

static inline int fed_subscribe(void *self, const char *table, const struct tunnel_sink *s,
				void *arg)
{
	size_t i = fed_table(table);

	fed->tables[i].sink = s;
	fed->tables[i].sink_arg = arg;
	return 0;
}

static inline void fed_put(void *self, tunnel_peer to, const char *table, const char *key,
			   const json_t *item)
{
	size_t i = fed_table(table);

	fed->n_puts++;
	if (fed->up)
		fed->tables[i].sink->put(fed->tables[i].sink_arg, C_ID, key, item);
}

static inline void fed_del(void *self, tunnel_peer to, const char *table, const char *key)
{
	size_t i = fed_table(table);

	fed->n_dels++;
	if (fed->up)
		fed->tables[i].sink->del(fed->tables[i].sink_arg, C_ID, key);
}

static inline size_t fed_n_peers(void *self)
{
	return 1;
}

static inline bool fed_peer(void *self, size_t i, struct tunnel_peer_info *out)
{
	*out = (struct tunnel_peer_info){ .id = E_ID, .name = "edge1", .up = fed->up };
	return i == 0;
}

static const struct tunnel_ops fed_tunnel = { .publish = fed_publish,
					      .subscribe = fed_subscribe,
					      .put = fed_put,
					      .del = fed_del,
					      .n_peers = fed_n_peers,
					      .peer = fed_peer };

static inline void fed_each_put(void *ctx, const char *key, const json_t *item)
{
	const size_t *i = ctx;

	fed->tables[*i].sink->put(fed->tables[*i].sink_arg, C_ID, key, item);
}

static inline void fed_tunnel_state(bool up)
{
	size_t domains = fed_table(XMPP_TABLE_DOMAINS);

	fed->up = up;
	fed->tables[domains].sink->state(fed->tables[domains].sink_arg, C_ID, up);
	for (size_t i = 0; up && i < fed->n_tables; i++) {
		const struct tunnel_sink *s = fed->tables[i].sink;

		s->reset(fed->tables[i].sink_arg, C_ID);
		fed->tables[i].source->each(fed->tables[i].source_arg, E_ID, fed_each_put, &i);
		if (s->synced)
			s->synced(fed->tables[i].sink_arg, C_ID);
	}
}

/* --- the two servers --- */

static inline struct s2s_policy fed_policy(void *arg, const char *local, const char *remote,
					   bool incoming)
{
	return (struct s2s_policy){ .allowed = true, .tls = S2S_TLS_OFF };
}

static inline bool fed_is_local(void *arg, const char *domain)
{
	return strcmp(((struct fed_server *)arg)->domain, domain) == 0;
}

static inline void fed_deliver(void *arg, const char *local, const char *remote, struct xml_node *e,
			       struct xml_arena *arena)
{
	struct fed_server *s = arg;

	xml_node_print(e, XMPP_SERVER, false, &s->got);
	buf_add_char(&s->got, '\n');
}

static inline uint64_t fed_resolve(void *arg, const char *local, const char *remote,
				   void (*done)(void *ctx, const struct s2s_target *t, size_t n,
						bool not_found, const char *why),
				   void *ctx)
{
	struct fed_later *l = fed_later(ctx);

	l->resolved = done;
	return (uint64_t)(uintptr_t)l;
}

static inline void fed_resolve_cancel(void *arg, uint64_t id)
{
	((struct fed_later *)(uintptr_t)id)->cancelled = true;
}

static inline struct stream *fed_connect(void *arg, const struct s2s_target *t, const char *local,
					 const char *remote, const struct stream_handler *h,
					 void *ctx, int *error)
{
	struct fed_server *s = arg;
	struct stream *out = fed_dial_port(s->at);

	*error = -ECONNREFUSED;
	if (out)
		stream_set_handler(out, h, ctx);
	return out;
}

static inline int fed_start_tls(void *arg, struct stream *s, bool server, const char *local,
				const char *remote)
{
	return -EINVAL;
}

static inline void fed_identity(void *arg, struct stream *s, const char *domain,
				struct s2s_identity *out)
{
	*out = (struct s2s_identity){ 0 };
}

static inline bool fed_own(void *arg, const char *local)
{
	return false;
}

static inline struct slice fed_secret(void *arg, const char *local, size_t i)
{
	return i == 0 ? slice_of(((struct fed_server *)arg)->domain) : SLICE_NONE;
}

static const struct s2s_ops fed_server_ops = {
	.policy = fed_policy,
	.is_local = fed_is_local,
	.deliver = fed_deliver,
	.resolve = fed_resolve,
	.resolve_cancel = fed_resolve_cancel,
	.connect = fed_connect,
	.start_tls = fed_start_tls,
	.identity = fed_identity,
	.own_certificate = fed_own,
	.secret = fed_secret,
	.random = net_random,
};

static inline void fed_server_init(struct fed_server *s, const char *domain,
				   struct xmpp_listen **at)
{
	struct s2s_conf conf = {
		.auth_timeout_ms = 30000,
		.idle_ms = 600000,
		.queue_bytes = 256 * 1024,
		.max_streams = 100,
		.max_pairs_in = 100,
		.max_unauthenticated = 50,
		.stream = { .timers = loop_timers(fed->rig.env.loop),
			    .pool = fed->rig.pool,
			    .content = XMPP_SERVER,
			    .limits = xml_stream_default_limits },
		.limits = { 64, 64, 10000, 1024, 256 * 1024, 0 },
		.zone = "test",
	};

	s->domain = domain;
	s->at = at;
	buf_init(&s->got, 1 << 22);
	s->s2s = s2s_new(&fed->rig.env, &fed_server_ops, s);
	s2s_configure(s->s2s, &conf);
}

/* --- settings --- */

static const struct conf_row fed_tls_rows[] = {
	{ .key = "certificate",
	  .type = CONF_STRING,
	  .offset = offsetof(struct tls_conf, certificate),
	  .def = "own.pem" },
	{ .key = "ca", .type = CONF_STRING, .offset = offsetof(struct tls_conf, ca), .def = "ca" },
};
static const struct conf_row fed_domain_rows[] = {
	{ .key = "im", .type = CONF_BOOL, .offset = offsetof(struct domain_conf, im), .def = "no" },
	{ .key = "federation",
	  .type = CONF_BOOL,
	  .offset = offsetof(struct domain_conf, federation),
	  .def = "no" },
};
static const struct conf_section fed_tls_section = { .type = "tls",
						     .repeatable = true,
						     .roles = CONF_ROLE_BOTH,
						     .size = sizeof(struct tls_conf),
						     .rows = fed_tls_rows,
						     .n_rows = 2 };
static const struct conf_section fed_domain_section = { .type = "domain",
							.repeatable = true,
							.roles = CONF_ROLE_BOTH,
							.size = sizeof(struct domain_conf),
							.rows = fed_domain_rows,
							.n_rows = 2 };
static const struct conf_section *const fed_schema[] = {
	&system_conf_section,  &fed_tls_section,	&fed_domain_section,
	&xmpp_conf_section,    &im_server_conf_section, &federation_conf_section,
	&partner_conf_section,
};

#define FED_E                                                                                \
	"[system]\nname = e.test\nrole = E\n[tls pair]\n[xmpp]\nport = 0\npool-tls = pair\n" \
	"[federation]\nidle-timeout = 10m\n"
#define FED_C                                                                      \
	"[system]\nname = c.test\nrole = C\n[tls pair]\n[xmpp]\npool-tls = pair\n" \
	"[domain example.com]\nim = yes\nfederation = yes\n"                       \
	"[domain quiet.example.com]\nim = yes\n"
#define FED_S2S                                                                                   \
	"[im-server im]\ndomains = example.com quiet.example.com chat.example.com\nhosts = im1\n" \
	"tls = plain\nport = 5222\n"
#define FED_COMPONENT                                                            \
	"[im-server im]\ndomains = example.com quiet.example.com\nhosts = im1\n" \
	"tls = plain\nport = 5222\nfederation = component\ncomponent-secret = s3cr3t\n"
#define FED_PARTNER \
	"[federation]\nmode = allow-list\ntls = off\n[partner partner.org]\nroutes = 127.0.0.1\n"

static inline struct conf_snapshot *fed_parse(unsigned role, const char *text)
{
	struct conf_snapshot *snap;
	struct buf err;

	buf_init(&err, 4096);
	snap = conf_parse(fed->conf, "test.ini", slice_of(text), role, &err);
	if (!snap)
		fail_msg("%s", err.p ? err.p : "conf_parse");
	buf_fini(&err);
	return snap;
}

static inline void fed_load_core(const char *text)
{
	struct conf_snapshot *next = fed_parse(CONF_ROLE_C, text);
	struct buf err;

	buf_init(&err, 4096);
	assert_int_equal(federation_core_configure(fed->c, next, &err), 0);
	if (fed->c_snap)
		conf_unref(fed->c_snap);
	fed->c_snap = next;
	buf_fini(&err);
	xmpp_rig_turn(&fed->rig);
}

static inline void fed_turn(void)
{
	for (int i = 0; i < 20; i++)
		xmpp_rig_turn(&fed->rig);
}

static inline void fed_start(const char *core_text)
{
	struct buf err;

	fed = calloc(1, sizeof(*fed));
	xmpp_rig_init(&fed->rig);
	fed->sink = getenv("TEST_LOG") ? stderr : fopen("/dev/null", "w");
	fed->rig.env.log = log_new(fed->sink, LOG_LEVEL_DEBUG);
	fed->rig.env.alarms = alarms_new(fed->rig.env.log);
	fed->rig.env.dns = dns_new(fed->rig.env.loop, fed->rig.env.log, fed->rig.env.alarms);
	conn_table_set_max(fed->rig.env.conns, 1000);
	fed->conf = conf_store_new(fed_schema, sizeof(fed_schema) / sizeof(fed_schema[0]));
	fed->e_env = fed->c_env = fed->rig.env;
	fed->c_env.role = CONF_ROLE_C;
	fed_server_init(&fed->partner, "partner.org", &fed->e_port);
	fed_server_init(&fed->im, "example.com", &fed->c_port);
	fed->component_of = strstr(core_text, "= component") ? "partner.org" : NULL;
	fed->e = federation_edge_new(&fed->e_env, NULL);
	fed->c = federation_core_new(&fed->c_env, NULL, NULL);
	assert_true(fed->e && fed->c);
	fed->e_snap = fed_parse(CONF_ROLE_E, FED_E);
	buf_init(&err, 4096);
	assert_int_equal(federation_edge_configure(fed->e, fed->e_snap, &err), 0);
	buf_fini(&err);
	fed_load_core(core_text);
	assert_int_equal(federation_edge_start(fed->e, &fed_tunnel, NULL), 0);
	assert_int_equal(federation_core_start(fed->c, &fed_tunnel, NULL), 0);
	fed_tunnel_state(true);
	fed_turn();
}

static inline int fed_stop(void **state)
{
	if (!fed)
		return 0;
	federation_core_free(fed->c);
	federation_edge_free(fed->e);
	s2s_free(fed->partner.s2s);
	s2s_free(fed->im.s2s);
	fed_turn();
	for (size_t i = 0; i < fed->n_hung; i++)
		stream_close(fed->hung[i]);
	stream_close(fed->component.s);
	fed_turn();
	buf_fini(&fed->component.in);
	buf_fini(&fed->partner.got);
	buf_fini(&fed->im.got);
	conf_unref(fed->e_snap);
	conf_unref(fed->c_snap);
	conf_store_free(fed->conf);
	dns_free(fed->rig.env.dns);
	alarms_free(fed->rig.env.alarms);
	log_free(fed->rig.env.log);
	if (fed->sink != stderr)
		fclose(fed->sink);
	xmpp_rig_fini(&fed->rig);
	free(fed);
	fed = NULL;
	return 0;
}

/* A message from one of the two servers. */
static inline int fed_send(struct fed_server *s, const char *remote, const char *from,
			   const char *to, const char *id, size_t n_body)
{
	static char text[256 * 1024];
	struct xml_arena a = { .pool = fed->rig.pool };
	struct xml_node *e = xml_node_new(&a, NULL, XMPP_SERVER, "message"), *body = NULL;
	int error = -ENOMEM;

	assert_true(n_body <= sizeof(text));
	memset(text, 'x', n_body);
	if (e && xml_node_set(&a, e, "from", slice_of(from)) == 0 &&
	    xml_node_set(&a, e, "to", slice_of(to)) == 0 &&
	    xml_node_set(&a, e, "id", slice_of(id)) == 0)
		body = xml_node_new(&a, e, XMPP_SERVER, "body");
	if (body && xml_node_add_text(&a, body, (struct slice){ text, n_body }) == 0)
		error = s2s_send(s->s2s, s->domain, remote, e);
	xml_arena_reset(&a);
	fed_turn();
	return error;
}

#define FED_GOT(server, part)                                             \
	do {                                                              \
		if (!(server)->got.n || !strstr((server)->got.p, part))   \
			fail_msg("no \"%s\" in \"%s\"", part,             \
				 (server)->got.n ? (server)->got.p : ""); \
		buf_reset(&(server)->got);                                \
	} while (0)
#define FED_NOTHING(server) assert_int_equal((server)->got.n, 0)

#endif
