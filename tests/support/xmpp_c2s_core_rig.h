#ifndef TESTS_SUPPORT_XMPP_C2S_CORE_RIG_H
#define TESTS_SUPPORT_XMPP_C2S_CORE_RIG_H
/* c2s_core between a scripted E and scripted IM servers, over stream pairs; the clock is turned by
 * hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/stream_pair.h"
#include "core/trace.h"
#include "xmpp/c2s_core.h"

#define N_NODES 3
#define N_LEGS	16

#define HEAD(attrs)                                                  \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' " \
	"xmlns:stream='http://etherx.jabber.org/streams' " attrs ">"
#define E_HEAD	      HEAD("to='example.com' version='1.0'")
#define E_HEAD_OF(u)  HEAD("to='example.com' from='" u "@example.com' version='1.0'")
#define SASL	      "urn:ietf:params:xml:ns:xmpp-sasl"
#define PLAIN(base64) "<auth xmlns='" SASL "' mechanism='PLAIN'>" base64 "</auth>"
#define ALICE	      PLAIN("AGFsaWNlAHNlc2FtZQ==") /* \0alice\0sesame */
#define BOB	      PLAIN("AGJvYgBzZXNhbWU=")
#define SUCCESS	      "<success xmlns='" SASL "'/>"
#define MECHANISMS(m) "<mechanisms xmlns='" SASL "'>" m "</mechanisms>"
#define M(name)	      "<mechanism>" name "</mechanism>"
#define STARTTLS      "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define PROCEED	      "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define BIND	      "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"

struct rig;

/* One end that the test speaks for. */
struct side {
	struct stream *s; /* NULL: gone */
	struct buf got;
	size_t used; /* of got, by the script */
	bool stalled, eof;
	enum stream_end end;
	struct rig *rig;
	int node; /* whose server it is */
	bool under_tls, signed_in;
};

struct server {
	const char *name;
	bool alive;
	bool refuses; /* connections */
	bool dies;    /* closes each at once */
	bool silent;
	const char *first;    /* instead of features without TLS; NULL: STARTTLS */
	const char *features; /* under TLS; NULL: PLAIN and SCRAM-SHA-1 */
	const char *header;   /* NULL: the usual one */
	const char *answer;   /* to <auth/>; NULL: success */
	int n_good, n_bad;
	char why[200];
};

struct rig {
	struct env env;
	FILE *sink;
	char *log_text;
	size_t log_n;
	struct c2s_core *core;
	struct side e;
	struct side legs[N_LEGS];
	size_t n_legs;
	struct server servers[N_NODES];
	struct im_server_conf conf;
	bool serves, no_find, find_fails;
	const char *bob_is_at; /* his node, "b" */
	uint64_t find_id;
	void (*find_done)(void *, const struct im_node *, size_t, const char *);
	void *find_ctx;
	char key[256];
	int n_finds, n_cancelled, n_bindings;
	bool bound; /* what was told last */
	struct stream *handshaking;
	char user[128];
	struct preface preface;
	/* parking */
	struct stream *back; /* given back last */
	bool keeps_none;
	int n_back, n_resumes, n_resumes_cancelled, n_cuts;
	tunnel_peer asked_peer;
	uint64_t asked, cut; /* names of E */
	int resume_error;    /* not 0: E cannot be asked */
	tunnel_done resume_done;
	void *resume_ctx;
};

/* --- ends --- */

static inline void script(struct side *side);

static inline void side_readable(void *arg)
{
	struct side *side = arg;
	struct evbuffer *in;
	size_t n;

	if (side->stalled)
		return;
	in = stream_in(side->s);
	n = evbuffer_get_length(in);
	side->eof = stream_eof(side->s);
	if (n > 0) {
		size_t had = side->got.n;

		buf_add(&side->got, evbuffer_pullup(in, -1), n);
		if (side->got.failed) { /* a failing allocation that was meant for the core */
			side->got.failed = false;
			side->got.n = had;
			buf_add(&side->got, evbuffer_pullup(in, -1), n);
		}
		evbuffer_drain(in, n);
		stream_consumed(side->s);
	}
	if (side->node >= 0)
		script(side);
}

static inline void side_closed(void *arg, enum stream_end end, const char *why)
{
	struct side *side = arg;

	if (!side->stalled)
		side_readable(side);
	side->end = end;
	side->eof = true;
	side->s = NULL;
}

static const struct stream_handler side_handler = {
	.readable = side_readable,
	.closed = side_closed,
};

static inline void side_init(struct side *side, struct rig *rig, struct stream *s, int node)
{
	*side = (struct side){ .s = s, .rig = rig, .node = node };
	buf_init(&side->got, 256u << 20);
	stream_set_handler(s, &side_handler, side);
}

static inline void say(struct side *side, const char *text)
{
	if (!side->s)
		return;
	evbuffer_add(stream_out(side->s), text, strlen(text));
	stream_flush(side->s);
}

static const char *text_of(const struct side *side)
{
	return side->got.p ? side->got.p : "";
}

static inline bool has(const struct side *side, const char *text)
{
	return strstr(text_of(side), text) != NULL;
}

#define assert_has(side, text)                                              \
	do {                                                                \
		if (!has(side, text))                                       \
			fail_msg("not in it: %s\n%s", text, text_of(side)); \
	} while (0)
#define assert_has_not(side, text)                                      \
	do {                                                            \
		if (has(side, text))                                    \
			fail_msg("in it: %s\n%s", text, text_of(side)); \
	} while (0)

static inline void forget(struct side *side)
{
	buf_reset(&side->got);
	side->used = 0;
	if (side->got.p)
		side->got.p[0] = '\0';
}

/* --- servers --- */

static inline bool sees(struct side *side, const char *text)
{
	const char *at = strstr(text_of(side) + side->used, text);

	if (at)
		side->used = (size_t)(at - text_of(side)) + strlen(text);
	return at != NULL;
}

static inline void greet(struct side *side)
{
	const struct server *srv = &side->rig->servers[side->node];
	char head[300];

	snprintf(head, sizeof(head), HEAD("from='example.com' id='%s%zu' version='1.0'"), srv->name,
		 side->got.n);
	say(side, srv->header ? srv->header : head);
	if (side->signed_in)
		say(side, "<stream:features>" BIND "<sm xmlns='urn:xmpp:sm:3'/></stream:features>");
	else if (!side->under_tls && side->rig->conf.tls == XMPP_INNER_STARTTLS)
		say(side,
		    srv->first ? srv->first : "<stream:features>" STARTTLS "</stream:features>");
	else
		say(side, srv->features ? srv->features
					: "<stream:features>" MECHANISMS(M("SCRAM-SHA-1") M(
						  "PLAIN")) "</stream:features>");
}

static inline void script(struct side *side)
{
	const struct server *srv = &side->rig->servers[side->node];

	if (srv->silent || !side->s)
		return;
	while (side->used < side->got.n) {
		if (!side->signed_in && sees(side, "<stream:stream")) {
			greet(side);
		} else if (!side->under_tls && sees(side, "<starttls")) {
			say(side, PROCEED);
			side->under_tls = true;
		} else if (!side->signed_in && sees(side, "<auth ")) {
			say(side, srv->answer ? srv->answer : SUCCESS);
			side->signed_in = !srv->answer;
		} else if (side->signed_in && sees(side, "<stream:stream")) {
			greet(side);
		} else {
			break;
		}
	}
}

/* --- what the core asks --- */

static inline bool op_serves(void *arg, const char *domain)
{
	struct rig *rig = arg;

	return rig->serves && strcmp(domain, "example.com") == 0;
}

static inline uint64_t op_find(void *arg, const char *domain, const char *key,
			       void (*done)(void *, const struct im_node *, size_t, const char *),
			       void *ctx)
{
	struct rig *rig = arg;

	assert_string_equal(domain, "example.com");
	if (rig->no_find)
		return 0;
	snprintf(rig->key, sizeof(rig->key), "%s", key);
	rig->n_finds++;
	rig->find_done = done;
	rig->find_ctx = ctx;
	return ++rig->find_id;
}

static inline void op_cancel(void *arg, uint64_t id)
{
	struct rig *rig = arg;

	assert_int_equal(id, rig->find_id);
	rig->find_done = NULL;
	rig->n_cancelled++;
}

/* alice (and who is not named): a, b, c; bob: b, c, a; the living ones first. */
static inline void answer_find(struct rig *rig)
{
	void (*done)(void *, const struct im_node *, size_t, const char *) = rig->find_done;
	size_t first = strncmp(rig->key, "bob@", 4) == 0 ? 1 : 0, n = 0;
	struct im_node nodes[N_NODES];

	rig->find_done = NULL;
	for (int alive = 1; alive >= 0; alive--) {
		for (size_t i = 0; i < N_NODES; i++) {
			struct server *srv = &rig->servers[(first + i) % N_NODES];

			if (srv->alive == alive)
				nodes[n++] = (struct im_node){ .server = "main",
							       .host = srv->name,
							       .port = 5222,
							       .alive = srv->alive,
							       .why = "",
							       .conf = &rig->conf };
		}
	}
	if (rig->find_fails)
		done(rig->find_ctx, NULL, 0, "no such name");
	else
		done(rig->find_ctx, nodes, n, "");
}

static inline struct server *server_of(struct rig *rig, const struct im_node *node)
{
	for (int i = 0; i < N_NODES; i++) {
		if (strcmp(rig->servers[i].name, node->host) == 0)
			return &rig->servers[i];
	}
	fail_msg("unknown node %s", node->host);
	return NULL;
}

static inline struct stream *op_connect(void *arg, const struct im_node *node,
					const struct addr *client, const struct stream_handler *h,
					void *ctx, int *error)
{
	struct rig *rig = arg;
	struct server *srv = server_of(rig, node);
	char text[ADDR_STR_BYTES];
	struct stream *pair[2];

	assert_string_equal(node->domain, "example.com");
	assert_string_equal(addr_str(client, text), "198.51.100.7:4711");
	*error = -111;
	if (srv->refuses)
		return NULL;
	*error = -12;
	if (stream_pair_new(rig->env.loop, pair) < 0)
		return NULL;
	assert_true(rig->n_legs < N_LEGS);
	stream_set_handler(pair[0], h, ctx);
	side_init(&rig->legs[rig->n_legs++], rig, pair[1], (int)(srv - rig->servers));
	if (srv->dies) {
		stream_close(pair[1]);
		rig->legs[rig->n_legs - 1].s = NULL;
	}
	return pair[0];
}

static inline int op_start_tls(void *arg, const struct im_node *node, const char *domain,
			       struct stream *s)
{
	struct rig *rig = arg;

	assert_string_equal(domain, "example.com");
	rig->handshaking = s;
	return 0;
}

static inline void op_report(void *arg, const struct im_node *node, bool good, const char *why)
{
	struct server *srv = server_of(arg, node);

	if (good)
		srv->n_good++;
	else
		srv->n_bad++;
	snprintf(srv->why, sizeof(srv->why), "%s", why);
}

static inline void op_user(void *arg, const char *bare, const struct addr *from, char *session)
{
	struct rig *rig = arg;

	snprintf(rig->user, sizeof(rig->user), "%s", bare);
	if (strcmp(bare, "alice@example.com") == 0)
		strcpy(session, "ffffffffffffffffffffffffffffffff");
}

static inline void op_binding(void *arg, const struct im_node *node, bool offered)
{
	((struct rig *)arg)->n_bindings += offered;
	((struct rig *)arg)->bound = offered;
}

static inline bool op_keeps(void *arg, struct stream *s)
{
	return !((struct rig *)arg)->keeps_none;
}

static inline void back_readable(void *arg)
{
}

static inline void back_closed(void *arg, enum stream_end end, const char *why)
{
	((struct rig *)arg)->back = NULL;
}

static const struct stream_handler back_handler = { .readable = back_readable,
						    .closed = back_closed };

static inline void op_give_back(void *arg, struct stream *s)
{
	struct rig *rig = arg;

	stream_close(rig->back);
	rig->n_back++;
	rig->back = s;
	stream_set_handler(s, &back_handler, rig);
}

static inline uint64_t op_resume(void *arg, tunnel_peer to, uint64_t stream, tunnel_done done,
				 void *ctx, int *error)
{
	struct rig *rig = arg;

	assert_null(rig->resume_done);
	rig->n_resumes++;
	rig->asked_peer = to;
	rig->asked = stream;
	*error = rig->resume_error;
	if (*error)
		return 0;
	rig->resume_done = done;
	rig->resume_ctx = ctx;
	return 55;
}

static inline void op_cancel_resume(void *arg, uint64_t id)
{
	struct rig *rig = arg;

	assert_int_equal(id, 55);
	rig->n_resumes_cancelled++;
	rig->resume_done = NULL;
}

static inline void op_cut(void *arg, tunnel_peer to, uint64_t stream)
{
	struct rig *rig = arg;

	assert_int_equal(to, 1);
	rig->n_cuts++;
	rig->cut = stream;
}

static const struct c2s_core_ops ops = { op_serves,    op_find,	     op_cancel, op_connect,
					 op_start_tls, op_report,    op_user,	op_binding,
					 op_keeps,     op_give_back, op_resume, op_cancel_resume,
					 op_cut };

/* --- the rig --- */

static inline void turn(struct rig *rig)
{
	loop_once(rig->env.loop, 0);
	if (rig->find_done)
		answer_find(rig);
	if (rig->handshaking) {
		struct stream *s = rig->handshaking;

		rig->handshaking = NULL;
		s->is_tls = true;
		s->handler->opened(s->arg);
	}
}

static inline void settle(struct rig *rig)
{
	for (int i = 0; i < 40; i++)
		turn(rig);
}

static inline void wait_ms(struct rig *rig, int64_t ms)
{
	struct timerq *q = loop_timers(rig->env.loop);

	timerq_run(q, q->now_ms + ms);
	settle(rig);
}

static inline int64_t now_of(void *arg)
{
	return loop_now_ms(arg);
}

static inline struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	static const char *const names[] = { "a", "b", "c" };

	rig->sink = open_memstream(&rig->log_text, &rig->log_n);
	rig->env.role = CONF_ROLE_C;
	rig->env.loop = loop_new();
	/* An hour ahead it stands: only wait_ms() moves it. */
	timerq_set_now(loop_timers(rig->env.loop), loop_now_ms(rig->env.loop) + 3600000);
	rig->env.log = log_new(rig->sink, LOG_LEVEL_DEBUG);
	rig->env.alarms = alarms_new(rig->env.log);
	rig->env.trace = trace_new(64, now_of, rig->env.loop);
	rig->env.conns = conn_table_new(100, 16, now_of, rig->env.loop);
	rig->serves = true;
	for (int i = 0; i < N_NODES; i++)
		rig->servers[i] = (struct server){ .name = names[i], .alive = true };
	rig->preface = (struct preface){ .kind = PREFACE_C2S, .direct_tls = true };
	strcpy(rig->preface.domain, "example.com");
	strcpy(rig->preface.client, "198.51.100.7:4711");
	strcpy(rig->preface.session, "0123456789abcdef0123456789abcdef");
	rig->core = c2s_core_new(&rig->env, &ops, rig);
	assert_non_null(rig->core);
	return rig;
}

/* E takes a connection for a client. */
static inline void take(struct rig *rig)
{
	struct stream *pair[2];

	stream_close(rig->e.s);
	buf_fini(&rig->e.got);
	assert_int_equal(stream_pair_new(rig->env.loop, pair), 0);
	side_init(&rig->e, rig, pair[1], -1);
	pair[0]->conn_id = 4242;
	c2s_core_take(rig->core, 1, &rig->preface, pair[0]);
}

static inline struct rig *rig_taken(void)
{
	struct rig *rig = rig_new();

	take(rig);
	return rig;
}

static inline void rig_free(struct rig *rig)
{
	c2s_core_free(rig->core);
	settle(rig);
	stream_close(rig->back);
	stream_close(rig->e.s);
	buf_fini(&rig->e.got);
	for (size_t i = 0; i < rig->n_legs; i++) {
		stream_close(rig->legs[i].s);
		buf_fini(&rig->legs[i].got);
	}
	conn_table_free(rig->env.conns);
	trace_free(rig->env.trace);
	alarms_free(rig->env.alarms);
	log_free(rig->env.log);
	loop_free(rig->env.loop);
	fclose(rig->sink);
	free(rig->log_text);
	free(rig);
}

static inline void from_e(struct rig *rig, const char *text)
{
	say(&rig->e, text);
	settle(rig);
}

static inline void from_server(struct rig *rig, size_t leg, const char *text)
{
	say(&rig->legs[leg], text);
	settle(rig);
}

/* Ends in RELAY on leg 0. */
static inline struct rig *rig_signed_in(void)
{
	struct rig *rig = rig_taken();

	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	from_e(rig, E_HEAD_OF("alice"));
	assert_has(&rig->e, BIND);
	assert_int_equal(rig->n_legs, 1);
	forget(&rig->e);
	forget(&rig->legs[0]);
	return rig;
}

static inline void assert_over(struct rig *rig)
{
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(conn_count(rig->env.conns, CONN_XMPP), 0);
	assert_true(!rig->e.s || rig->e.eof);
}

static inline void assert_error(struct rig *rig, const char *condition)
{
	char text[100];

	snprintf(text, sizeof(text), "<%s xmlns=", condition);
	assert_has(&rig->e, "<stream:error>");
	assert_has(&rig->e, text);
	assert_has(&rig->e, "</stream:stream>");
	assert_over(rig);
}

static const struct conn *entry(struct rig *rig)
{
	const struct list *l = list_first(conn_list(rig->env.conns, CONN_XMPP));

	assert_non_null(l);
	return CONTAINER_OF(l, struct conn, node);
}

#endif
