/* Both ends of the link over real TLS on loopback: the pool, who may connect, who waits, and what
 * becomes of streams that were given away. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/alloc_fail.h"
#include "support/free_port.h"
#include "support/stream_box.h"
#include "xmpp/link.h"

#define SESSION "00112233445566778899aabbccddeeff"
#define MAX	300

struct got { /* a stream that somebody owns */
	struct link *x;
	struct stream *s;
	bool closed;
	char why[200];
	char text[200];
	struct preface preface;
};

struct link {
	struct stream_box *box;
	struct link_edge *edge;
	struct link_core *core;
	struct xmpp_conf conf;
	bool e_up; /* the tunnel, as E sees it */
	const char *e_host;
	const char *c_name;
	struct tunnel_peer_info other; /* one more C; name NULL: there is none */
	struct got at_c[MAX], at_e[MAX];
	size_t n_c, n_e, n_unserved;
	const char *unserved;
};

/* --- the tunnels --- */

static bool e_peer(void *self, size_t i, struct tunnel_peer_info *out)
{
	struct link *x = self;

	*out = (struct tunnel_peer_info){
		.id = 1, .name = "core1", .up = x->e_up, .system_name = x->c_name
	};
	if (i == 1)
		*out = x->other;
	return i == 0 || (i == 1 && x->other.name);
}

static bool c_peer(void *self, size_t i, struct tunnel_peer_info *out)
{
	const struct link *x = self;

	*out = (struct tunnel_peer_info){
		.id = 7, .name = "edge1", .host = x->e_host, .up = true, .system_name = ""
	};
	return i == 0;
}

static const struct tunnel_ops e_tunnel = { .peer = e_peer };
static const struct tunnel_ops c_tunnel = { .peer = c_peer };

/* --- owners --- */

static void on_readable(void *arg)
{
	struct got *g = arg;
	size_t n = strlen(g->text);
	int r = evbuffer_remove(stream_in(g->s), g->text + n, sizeof(g->text) - 1 - n);

	g->text[n + (r > 0 ? (size_t)r : 0)] = '\0';
	stream_consumed(g->s);
	if (stream_eof(g->s)) {
		stream_close(g->s);
		g->s = NULL;
	}
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct got *g = arg;

	g->s = NULL;
	g->closed = true;
	snprintf(g->why, sizeof(g->why), "%s", why);
}

static const struct stream_handler handler = { .readable = on_readable, .closed = on_closed };

static void own(struct link *x, struct got *g, struct stream *s, const struct preface *p)
{
	g->x = x;
	g->s = s;
	if (p)
		g->preface = *p;
	stream_set_handler(s, &handler, g);
}

static void c_took(void *arg, tunnel_peer from, const struct preface *p, struct stream *s)
{
	struct link *x = arg;

	assert_int_equal(from, 7);
	assert_true(x->n_c < MAX);
	own(x, &x->at_c[x->n_c++], s, p);
}

static void e_took(void *arg, tunnel_peer from, const struct preface *p, struct stream *s)
{
	struct link *x = arg;

	assert_int_equal(from, 1);
	assert_true(x->n_e < MAX);
	own(x, &x->at_e[x->n_e++], s, p);
}

static void e_done(void *arg, struct stream *s, const char *why)
{
	struct link *x = arg;

	if (!s) {
		x->n_unserved++;
		x->unserved = why;
		return;
	}
	assert_true(x->n_e < MAX);
	own(x, &x->at_e[x->n_e++], s, NULL);
}

static const struct link_edge_handler edge_handler = { .s2s = e_took };
static const struct link_core_handler core_handler = { .c2s = c_took,
						       .s2s = c_took,
						       .resume = c_took };

/* --- rig --- */

static void listen_now(struct link *x)
{
	struct buf errors;

	buf_init(&errors, 1000);
	if (link_edge_configure(x->edge, &x->conf, &errors) < 0)
		fail_msg("%s", errors.p);
	buf_fini(&errors);
}

static void dial(struct link *x)
{
	link_core_configure(x->core, &x->conf);
	link_core_peer_state(x->core, 7, true);
}

static struct link *link_new(uint32_t n_idle)
{
	struct link *x = calloc(1, sizeof(*x));
	struct dns_conf dns = { .timeout_ms = 1000, .tries = 1, .cache_entries = 10 };

	x->box = stream_box_new();
	x->box->env.dns = dns_new(x->box->env.loop, x->box->env.log, x->box->env.alarms);
	assert_int_equal(dns_apply(x->box->env.dns, &dns), 0);
	x->e_up = true;
	x->c_name = "web.example.com";
	x->e_host = "127.0.0.1";
	x->conf.common.line = 1;
	x->conf.max_streams = 1000;
	x->conf.pool_port = free_port();
	addr_parse_ip(SLICE("127.0.0.1"), 0, &x->conf.pool_address);
	x->conf.pool_tls = strdup("web");
	x->conf.pool_idle = n_idle;
	x->conf.pool_max = 200;
	x->edge = link_edge_new(&x->box->env, &edge_handler, x);
	x->core = link_core_new(&x->box->env, &core_handler, x);
	link_edge_set_tunnel(x->edge, &e_tunnel, x);
	link_core_set_tunnel(x->core, &c_tunnel, x);
	return x;
}

static void link_free(struct link *x)
{
	for (size_t i = 0; i < MAX; i++) {
		stream_close(x->at_c[i].s);
		stream_close(x->at_e[i].s);
	}
	link_edge_free(x->edge);
	link_core_free(x->core);
	loop_once(x->box->env.loop, 0);
	assert_int_equal(conn_count(x->box->env.conns, CONN_XMPP_LINK), 0);
	dns_free(x->box->env.dns);
	stream_box_free(x->box);
	free(x->conf.pool_tls);
	free(x);
}

static struct link *link_up(uint32_t n_idle)
{
	struct link *x = link_new(n_idle);

	listen_now(x);
	dial(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == n_idle);
	return x;
}

static struct preface c2s_preface(void)
{
	return (struct preface){ .kind = PREFACE_C2S,
				 .domain = "example.com",
				 .client = "198.51.100.7:4711",
				 .session = SESSION };
}

static void say(struct stream *s, const char *text)
{
	evbuffer_add(stream_out(s), text, strlen(text));
	stream_flush(s);
}

struct seek {
	const char *subject;
	bool found;
};

static void on_alarm(const struct alarm_entry *e, void *arg)
{
	struct seek *s = arg;

	if (strcmp(e->id, "xmpp-link-down") == 0 && strcmp(e->subject, s->subject) == 0)
		s->found = true;
}

static bool alarmed(const struct link *x, const char *subject)
{
	struct seek s = { subject, false };

	alarms_each(x->box->env.alarms, on_alarm, &s);
	return s.found;
}

/* --- tests --- */

static void test_pool(void **state)
{
	struct link *x = link_up(3);
	struct preface p = c2s_preface();
	struct stream *s = link_edge_take(x->edge, 1, &p);
	struct conn *entry;

	assert_non_null(s);
	own(x, &x->at_e[x->n_e++], s, &p);
	say(s, "<?xml?>");
	UNTIL(x->box, x->n_c == 1 && strcmp(x->at_c[0].text, "<?xml?>") == 0);
	assert_string_equal(x->at_c[0].preface.domain, "example.com");
	assert_string_equal(x->at_c[0].preface.session, SESSION);
	say(x->at_c[0].s, "answer");
	UNTIL(x->box, strcmp(x->at_e[0].text, "answer") == 0);
	/* Filled up again. */
	UNTIL(x->box, link_edge_idle(x->edge, 1) >= 3);
	assert_true(link_core_up(x->core, 7));
	/* Both have their entry, until the stream ends. */
	entry = conn_get(x->box->env.conns, s->conn_id);
	assert_non_null(entry);
	assert_string_equal(entry->state, "taken");
	assert_string_equal(entry->session, SESSION);
	assert_string_equal(entry->zone, "core1");
	stream_close(s);
	x->at_e[0].s = NULL;
	assert_null(conn_get(x->box->env.conns, s->conn_id));
	UNTIL(x->box, !x->at_c[0].s);
	link_free(x);
}

static json_int_t number_of(json_t *links, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(json_array_get(links, 0), key));

	json_decref(links);
	return n;
}

/* Both ends of the connection that was taken first. */
static void take_one(struct link *x)
{
	struct preface p = c2s_preface();
	struct stream *s = link_edge_take(x->edge, 1, &p);

	assert_non_null(s);
	own(x, &x->at_e[x->n_e++], s, &p);
	UNTIL(x->box, x->n_c == x->n_e);
}

static void give_back_on_e(struct link *x, struct got *g)
{
	struct stream *s = g->s;

	g->s = NULL;
	stream_set_handler(s, NULL, NULL);
	link_edge_give_back(x->edge, s);
}

static void give_back_on_c(struct link *x, struct got *g)
{
	struct stream *s = g->s;

	g->s = NULL;
	stream_set_handler(s, NULL, NULL);
	link_core_give_back(x->core, s);
}

/* Its stream is parked: it is idle again, and another one's, or the same one's, later. */
static void test_given_back(void **state)
{
	struct link *x = link_up(1);
	struct preface p = { .kind = PREFACE_RESUME, .stream = 0x1234 };
	uint64_t id;
	struct stream *s;

	take_one(x);
	id = x->at_e[0].s->conn_id;
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2); /* the one more that a taken one adds */
	assert_false(link_core_keeps(x->core, x->at_c[0].s));
	give_back_on_c(x, &x->at_c[0]);
	give_back_on_e(x, &x->at_e[0]);
	assert_int_equal(link_edge_idle(x->edge, 1), 3);
	assert_int_equal(number_of(link_edge_json(x->edge), "taken"), 0);
	assert_int_equal(number_of(link_core_json(x->core), "taken"), 0);
	assert_int_equal(number_of(link_core_json(x->core), "idle"), 3);
	assert_string_equal(conn_get(x->box->env.conns, id)->state, "idle");
	assert_string_equal(conn_get(x->box->env.conns, id)->session, "");
	/* The newest is taken first. */
	strcpy(p.session, SESSION);
	s = link_edge_take(x->edge, 1, &p);
	assert_int_equal(s->conn_id, id);
	assert_string_equal(conn_get(x->box->env.conns, id)->session, SESSION);
	own(x, &x->at_e[x->n_e++], s, &p);
	say(s, "<more/>");
	UNTIL(x->box, x->n_c == 2 && strcmp(x->at_c[1].text, "<more/>") == 0);
	assert_int_equal(x->at_c[1].preface.kind, PREFACE_RESUME);
	assert_true(x->at_c[1].preface.stream == 0x1234);
	assert_true(link_core_keeps(x->core, x->at_c[1].s));
	link_free(x);
}

/* E closes one that has just come back: that is no failure, for E knows us. */
static void test_given_back_and_closed(void **state)
{
	struct link *x = link_up(1);
	struct conn *c;

	take_one(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	c = conn_get(x->box->env.conns, x->at_e[0].s->conn_id);
	give_back_on_c(x, &x->at_c[0]);
	give_back_on_e(x, &x->at_e[0]);
	c->close(c, "by the administrator");
	UNTIL(x->box, number_of(link_core_json(x->core), "idle") == 2);
	assert_int_equal(number_of(link_core_json(x->core), "failures"), 0);
	link_free(x);
}

/* And one that C closes is simply gone. */
static void test_given_back_at_its_end(void **state)
{
	struct link *x = link_up(1);

	take_one(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	stream_close(x->at_c[0].s);
	x->at_c[0].s = NULL;
	stream_set_handler(x->at_e[0].s, NULL, NULL);
	UNTIL(x->box, x->at_e[0].s->eof);
	give_back_on_e(x, &x->at_e[0]);
	assert_int_equal(link_edge_idle(x->edge, 1), 2);
	link_free(x);
}

/* Who waits gets it. */
static void test_given_back_to_who_waits(void **state)
{
	struct link *x = link_new(1);
	struct preface p = c2s_preface();

	x->conf.pool_max = 1;
	listen_now(x);
	dial(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 1);
	take_one(x);
	assert_true(link_edge_wait(x->edge, 1, &p, 20000, e_done, x) != 0);
	give_back_on_c(x, &x->at_c[0]);
	give_back_on_e(x, &x->at_e[0]);
	assert_int_equal(x->n_e, 1); /* not from inside */
	UNTIL(x->box, x->n_e == 2 && x->n_c == 2);
	link_free(x);
}

/* C has nothing to say on it. */
static void test_spoken_on_after_giving_back(void **state)
{
	struct link *x = link_up(1);

	take_one(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	give_back_on_e(x, &x->at_e[0]);
	assert_int_equal(link_edge_idle(x->edge, 1), 3);
	say(x->at_c[0].s, "<more/>");
	UNTIL(x->box, trace_count(x->box->env.trace, "xmpp.link.protocol") == 1);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	link_free(x);
}

/* E does not read what stands in front of C's last word. */
static void test_last_words_that_are_not_taken(void **state)
{
	static const char much[64 * 1024];
	struct link *x = link_up(1);
	struct timerq *q = loop_timers(x->box->env.loop);
	struct stream *s;
	uint64_t id;

	take_one(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	stream_set_handler(x->at_e[0].s, NULL, NULL);
	s = x->at_c[0].s;
	id = s->conn_id;
	for (int i = 0; i < 512; i++)
		evbuffer_add(stream_out(s), much, sizeof(much));
	stream_flush(s);
	give_back_on_c(x, &x->at_c[0]);
	for (int i = 0; i < 50; i++)
		loop_once(x->box->env.loop, 2);
	assert_non_null(conn_get(x->box->env.conns, id));
	timerq_run(q, q->now_ms + LINK_HANDSHAKE_MS);
	assert_null(conn_get(x->box->env.conns, id));
	assert_int_equal(number_of(link_core_json(x->core), "failures"), 0);
	link_free(x);
}

/* What belongs into a stream has no place in front of one. */
static void test_frames_of_streams_are_no_prefaces(void **state)
{
	for (int kind = PREFACE_PARK; kind <= PREFACE_PARKED; kind++) {
		struct preface p = { .kind = (enum preface_kind)kind, .stream = 1 };
		struct link *x = link_up(1);
		struct stream *s = link_edge_take(x->edge, 1, &p);

		own(x, &x->at_e[x->n_e++], s, NULL);
		UNTIL(x->box, trace_count(x->box->env.trace, "xmpp.link.protocol") == 1);
		assert_int_equal(x->n_c, 0);
		link_free(x);
	}
}

/* `disconnect` of a connection that was given away: its owner hears of it. */
static void test_disconnect_of_a_taken_one(void **state)
{
	struct link *x = link_up(1);
	struct preface p = c2s_preface();
	struct stream *s = link_edge_take(x->edge, 1, &p);
	struct conn *entry;

	own(x, &x->at_e[x->n_e++], s, &p);
	UNTIL(x->box, x->n_c == 1);
	entry = conn_get(x->box->env.conns, s->conn_id);
	entry->close(entry, "by the administrator");
	assert_true(x->at_e[0].closed);
	assert_string_equal(x->at_e[0].why, "by the administrator");
	UNTIL(x->box, x->at_c[0].closed || !x->at_c[0].s);
	link_free(x);
}

static void test_first_come_first_served(void **state)
{
	struct link *x = link_new(1);
	struct preface p = c2s_preface();
	uint64_t ids[4];

	listen_now(x);
	for (int i = 0; i < 4; i++) {
		p.session[31] = (char)('0' + i);
		ids[i] = link_edge_wait(x->edge, 1, &p, 20000, e_done, x);
		assert_true(ids[i] != 0);
	}
	link_edge_cancel(x->edge, ids[2]);
	/* Who comes now must not overtake them. */
	assert_null(link_edge_take(x->edge, 1, &p));
	dial(x);
	UNTIL(x->box, x->n_c == 3);
	assert_int_equal(x->at_c[0].preface.session[31], '0');
	assert_int_equal(x->at_c[1].preface.session[31], '1');
	assert_int_equal(x->at_c[2].preface.session[31], '3');
	assert_int_equal(x->n_e, 3);
	link_free(x);
}

/* Many more than are kept: all are served in a moment. */
static void test_burst(void **state)
{
	struct link *x = link_up(2);
	struct preface p = c2s_preface();

	for (int i = 0; i < 100; i++) {
		assert_true(link_edge_wait(x->edge, 1, &p, 20000, e_done, x) != 0);
		assert_true(x->n_e <= (size_t)i); /* never before it returns */
	}
	UNTIL(x->box, x->n_e == 100 && x->n_c == 100);
	assert_int_equal(x->n_unserved, 0);
	link_free(x);
}

static void test_nobody_comes(void **state)
{
	struct link *x = link_new(1);
	struct preface p = c2s_preface();

	listen_now(x);
	assert_true(link_edge_wait(x->edge, 1, &p, 30, e_done, x) != 0);
	UNTIL(x->box, x->n_unserved == 1);
	assert_int_equal(trace_count(x->box->env.trace, "xmpp.link.empty"), 1);
	assert_true(alarmed(x, "core1"));
	dial(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 1);
	assert_false(alarmed(x, "core1"));
	link_free(x);
}

static void test_waiters_are_bounded(void **state)
{
	struct link *x = link_new(1);
	struct preface p = c2s_preface();

	assert_int_equal(link_edge_wait(x->edge, 0, &p, 1000, e_done, x), 0);
	for (int i = 0; i < LINK_MAX_WAITERS; i++)
		assert_true(link_edge_wait(x->edge, 1, &p, 60000, e_done, x) != 0);
	assert_int_equal(link_edge_wait(x->edge, 1, &p, 60000, e_done, x), 0);
	/* The tunnel is lost: all of them hear it. */
	link_edge_peer_lost(x->edge, 1);
	assert_int_equal(x->n_unserved, LINK_MAX_WAITERS);
	assert_string_equal(x->unserved, "the tunnel to C is down");
	link_free(x);
}

/* A certificate of the CA is not enough: it must be a peer's that is up. */
static void test_unknown_peer(void **state)
{
	struct link *x = link_new(2);
	uint64_t n;

	listen_now(x);
	x->c_name = "core9.example.com";
	dial(x);
	UNTIL(x->box, trace_count(x->box->env.trace, "xmpp.link.unknown-peer") >= 2);
	UNTIL(x->box, alarmed(x, "edge1"));
	/* Refused again and again, it asks ever more seldom. */
	n = trace_count(x->box->env.trace, "xmpp.link.unknown-peer");
	for (int64_t end = stream_box_wall_ms() + 500; stream_box_wall_ms() < end;)
		loop_once(x->box->env.loop, 5);
	assert_true(trace_count(x->box->env.trace, "xmpp.link.unknown-peer") < n + 40);
	assert_int_equal(link_edge_idle(x->edge, 1), 0);
	x->c_name = "web.example.com";
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	UNTIL(x->box, !alarmed(x, "edge1"));
	link_free(x);
}

struct sought {
	const char *why;
	bool found;
};

static bool look_at(const struct trace_entry *e, void *arg)
{
	struct sought *s = arg;

	s->found = strstr(e->text, s->why) != NULL;
	return !s->found;
}

/* Somebody at 7400 was refused with this in the reason. */
static bool refused(struct link *x, const char *why)
{
	struct sought s = { why, false };

	trace_each(x->box->env.trace, "xmpp.link.unknown-peer", look_at, &s);
	return s.found;
}

/* C asks at once, however often it was refused before. */
static void dial_again(struct link *x)
{
	link_core_peer_state(x->core, 7, false);
	link_core_peer_state(x->core, 7, true);
}

/* A C that was let in cannot have what belongs to another C by calling itself so. */
static void test_name_of_another(void **state)
{
	struct link *x = link_new(2);

	listen_now(x);
	x->other = (struct tunnel_peer_info){
		.id = 2, .name = "core2", .up = true, .system_name = "web.example.com"
	};
	dial(x);
	UNTIL(x->box, refused(x, "that both core1 and core2 say is theirs"));
	assert_int_equal(link_edge_idle(x->edge, 1) + link_edge_idle(x->edge, 2), 0);
	/* What this box's own configuration calls so has it, ... */
	x->other.name = "web.example.com";
	x->other.system_name = "core2.example.com";
	dial_again(x);
	UNTIL(x->box, link_edge_idle(x->edge, 2) == 2);
	assert_int_equal(link_edge_idle(x->edge, 1), 0);
	link_edge_peer_lost(x->edge, 2);
	/* ... even while it is down. */
	x->other.up = false;
	dial_again(x);
	UNTIL(x->box, refused(x, "is that of web.example.com, whose tunnel is down"));
	assert_int_equal(link_edge_idle(x->edge, 1) + link_edge_idle(x->edge, 2), 0);
	x->other.system_name = "";
	x->other.name = "core2";
	dial_again(x);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	link_free(x);
}

static void test_only_while_the_tunnel_is_up(void **state)
{
	struct link *x = link_new(2);

	listen_now(x);
	link_core_configure(x->core, &x->conf);
	for (int i = 0; i < 20; i++)
		loop_once(x->box->env.loop, 2);
	assert_int_equal(conn_count(x->box->env.conns, CONN_XMPP_LINK), 0);
	link_core_peer_state(x->core, 7, true);
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2);
	/* Down: E lets them go, and C dials no more. */
	x->e_up = false;
	link_core_peer_state(x->core, 7, false);
	link_edge_peer_lost(x->edge, 1);
	UNTIL(x->box, conn_count(x->box->env.conns, CONN_XMPP_LINK) == 0);
	assert_false(alarmed(x, "edge1"));
	link_free(x);
}

struct broken {
	int n;
	enum stream_end end;
};

static void on_broken(void *arg, enum stream_end end, const char *why)
{
	struct broken *b = arg;

	b->n++;
	b->end = end;
}

/* E's FIN does not arrive when the path is cut: C must not wait for it. */
static void test_a_lost_tunnel_ends_them_on_c(void **state)
{
	static const struct stream_handler on_end = { .closed = on_broken };
	struct link *x = link_up(2);
	struct broken b = { 0 };
	struct preface p = { .kind = PREFACE_S2S, .local = "example.com", .remote = "p.example" };
	struct stream *s;
	int error;

	s = link_core_open(x->core, 7, &p, &on_end, &b, &error);
	assert_non_null(s);
	UNTIL(x->box, s->state == STREAM_OPEN);
	link_core_peer_state(x->core, 7, false);
	link_core_peer_lost(x->core, 7);
	assert_int_equal(b.n, 1);
	assert_int_equal(b.end, STREAM_END_ERROR);
	UNTIL(x->box, conn_count(x->box->env.conns, CONN_XMPP_LINK) == 0);
	link_core_peer_lost(x->core, 99);
	link_core_peer_state(x->core, 7, true);
	UNTIL(x->box, link_edge_idle(x->edge, 1) >= 2);
	link_free(x);
}

/* What E closes is replaced. */
static void test_idle_ones_are_replaced(void **state)
{
	struct link *x = link_up(2);
	const struct list *all = conn_list(x->box->env.conns, CONN_XMPP_LINK);
	uint64_t id = CONTAINER_OF(all->next, struct conn, node)->id;
	struct conn *c = conn_get(x->box->env.conns, id);

	c->close(c, "by the administrator");
	assert_null(conn_get(x->box->env.conns, id));
	UNTIL(x->box, link_edge_idle(x->edge, 1) == 2 &&
			      conn_count(x->box->env.conns, CONN_XMPP_LINK) == 4);
	link_free(x);
}

static void test_pairs_both_ways(void **state)
{
	struct link *x = link_up(1);
	struct preface p = { .kind = PREFACE_S2S, .local = "example.com", .remote = "partner.org" };
	struct stream *s;
	int error;

	s = link_core_open(x->core, 7, &p, &handler, &x->at_c[0], &error);
	assert_non_null(s);
	own(x, &x->at_c[x->n_c++], s, &p);
	say(s, "stanzas"); /* behind the hello, before it is open */
	UNTIL(x->box, x->n_e == 1 && strcmp(x->at_e[0].text, "stanzas") == 0);
	assert_int_equal(x->at_e[0].preface.kind, PREFACE_S2S);
	assert_string_equal(x->at_e[0].preface.remote, "partner.org");
	s = link_edge_take(x->edge, 1, &p);
	assert_non_null(s);
	own(x, &x->at_e[x->n_e++], s, &p);
	UNTIL(x->box, x->n_c == 2);
	assert_int_equal(x->at_c[1].preface.kind, PREFACE_S2S);
	assert_null(link_core_open(x->core, 8, &p, &handler, x, &error));
	assert_int_equal(error, -EPIPE);
	link_free(x);
}

/* E's name has two addresses, and nobody listens at the first: once that is known, all dial the
 * other, streams of pairs too, which have one try. */
static void test_the_address_that_works(void **state)
{
	static const char lines[] = "127.0.0.2 web.example.com\n127.0.0.1 web.example.com\n";
	struct link *x = link_new(2);
	struct preface p = { .kind = PREFACE_S2S, .local = "example.com", .remote = "partner.org" };
	char path[] = "/tmp/xmpp-link-hosts-XXXXXX";
	int fd = mkstemp(path), error;
	struct stream *s;

	assert_int_equal(write(fd, lines, sizeof(lines) - 1), sizeof(lines) - 1);
	close(fd);
	assert_int_equal(dns_set_hosts_file(x->box->env.dns, path), 0);
	x->e_host = "web.example.com";
	listen_now(x);
	dial(x);
	for (size_t i = 1; i <= 3; i++) {
		UNTIL(x->box, link_edge_idle(x->edge, 1) >= 2 && link_core_up(x->core, 7));
		s = link_edge_take(x->edge, 1, &p); /* it works */
		assert_non_null(s);
		own(x, &x->at_e[x->n_e++], s, &p);
		UNTIL(x->box, x->n_c == 2 * i - 1);
		s = link_core_open(x->core, 7, &p, &handler, &x->at_c[x->n_c], &error);
		assert_non_null(s);
		own(x, &x->at_c[x->n_c++], s, &p);
		UNTIL(x->box, x->n_e == 2 * i || x->at_c[x->n_c - 1].closed);
		assert_false(x->at_c[x->n_c - 1].closed);
	}
	unlink(path);
	link_free(x);
}

static void test_pool_max(void **state)
{
	struct link *x = link_new(4);
	struct preface p = c2s_preface();

	x->conf.pool_max = 6;
	listen_now(x);
	dial(x);
	for (int i = 0; i < 6; i++)
		link_edge_wait(x->edge, 1, &p, 20000, e_done, x);
	UNTIL(x->box, x->n_e == 6);
	for (int i = 0; i < 4; i++)
		link_edge_wait(x->edge, 1, &p, 400, e_done, x);
	UNTIL(x->box, x->n_unserved == 4);
	assert_int_equal(x->n_e, 6);
	link_free(x);
}

/* Partners, who may have as many domains as they like, leave half of it to those who chat. */
static void test_pairs_have_half_of_the_pool(void **state)
{
	struct link *x = link_new(4);
	struct preface pair = { .kind = PREFACE_S2S,
				.local = "example.com",
				.remote = "p.example" };
	struct preface chat = c2s_preface();
	int error;

	x->conf.pool_max = 6;
	listen_now(x);
	dial(x);
	for (int i = 0; i < 3; i++)
		link_edge_wait(x->edge, 1, &pair, 5000, e_done, x);
	UNTIL(x->box, x->n_e == 3 && x->n_c == 3);
	assert_null(link_core_open(x->core, 7, &pair, NULL, NULL, &error));
	assert_int_equal(error, -EAGAIN);
	/* E has it, and loses it again. */
	link_edge_wait(x->edge, 1, &pair, 5000, e_done, x);
	UNTIL(x->box, x->n_e == 4 && !x->at_e[3].s);
	assert_int_equal(x->n_c, 3);
	assert_int_equal(trace_count(x->box->env.trace, "xmpp.link.pairs"), 1);
	for (int i = 0; i < 3; i++)
		link_edge_wait(x->edge, 1, &chat, 5000, e_done, x);
	UNTIL(x->box, x->n_c == 6);
	/* One of a pair has ended: there is room. */
	stream_close(x->at_e[0].s);
	x->at_e[0].s = NULL;
	UNTIL(x->box, !x->at_c[0].s || !x->at_c[1].s || !x->at_c[2].s);
	link_edge_wait(x->edge, 1, &pair, 5000, e_done, x);
	UNTIL(x->box, x->n_c == 7);
	link_free(x);
}

/* The daemon ends while streams live: entries end, streams are their owners'. */
static void test_owner_outlives(void **state)
{
	struct link *x = link_up(1);
	struct preface p = c2s_preface();
	struct stream *s = link_edge_take(x->edge, 1, &p);

	own(x, &x->at_e[x->n_e++], s, &p);
	UNTIL(x->box, x->n_c == 1);
	link_core_drain(x->core);
	link_edge_drain(x->edge);
	say(s, "goes on");
	UNTIL(x->box, strcmp(x->at_c[0].text, "goes on") == 0);
	link_free(x);
}

/* Everything but the world around it, with each allocation failing once. */
static void run_once(void *arg)
{
	struct link *x = arg;
	struct preface p = c2s_preface();
	struct buf errors;
	uint64_t id;

	x->n_e = x->n_c = 0;
	buf_init(&errors, 1000);
	x->edge = link_edge_new(&x->box->env, &edge_handler, x);
	x->core = link_core_new(&x->box->env, &core_handler, x);
	if (x->edge && x->core) {
		link_edge_set_tunnel(x->edge, &e_tunnel, x);
		link_core_set_tunnel(x->core, &c_tunnel, x);
		link_edge_configure(x->edge, &x->conf, &errors);
		dial(x);
		id = link_edge_wait(x->edge, 1, &p, 60000, e_done, x);
		for (int i = 0; i < 200 && id && x->n_e == 0; i++)
			loop_once(x->box->env.loop, 1);
		link_edge_cancel(x->edge, id);
	}
	for (size_t i = 0; i < MAX; i++) {
		stream_close(x->at_c[i].s);
		stream_close(x->at_e[i].s);
		x->at_c[i].s = x->at_e[i].s = NULL;
	}
	link_edge_free(x->edge);
	link_core_free(x->core);
	for (int i = 0; i < 3; i++)
		loop_once(x->box->env.loop, 0);
	buf_fini(&errors);
	assert_int_equal(conn_count(x->box->env.conns, CONN_XMPP_LINK), 0);
}

static void test_without_memory(void **state)
{
	struct link *x = link_new(1);

	link_edge_free(x->edge);
	link_core_free(x->core);
	alloc_fail_sweep(run_once, x);
	x->edge = NULL;
	x->core = NULL;
	link_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_given_back),
		cmocka_unit_test(test_given_back_and_closed),
		cmocka_unit_test(test_given_back_at_its_end),
		cmocka_unit_test(test_given_back_to_who_waits),
		cmocka_unit_test(test_spoken_on_after_giving_back),
		cmocka_unit_test(test_last_words_that_are_not_taken),
		cmocka_unit_test(test_frames_of_streams_are_no_prefaces),
		cmocka_unit_test(test_disconnect_of_a_taken_one),
		cmocka_unit_test(test_first_come_first_served),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_nobody_comes),
		cmocka_unit_test(test_waiters_are_bounded),
		cmocka_unit_test(test_unknown_peer),
		cmocka_unit_test(test_name_of_another),
		cmocka_unit_test(test_only_while_the_tunnel_is_up),
		cmocka_unit_test(test_a_lost_tunnel_ends_them_on_c),
		cmocka_unit_test(test_idle_ones_are_replaced),
		cmocka_unit_test(test_pairs_both_ways),
		cmocka_unit_test(test_the_address_that_works),
		cmocka_unit_test(test_pool_max),
		cmocka_unit_test(test_pairs_have_half_of_the_pool),
		cmocka_unit_test(test_owner_outlives),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("xmpp_link", tests, NULL, NULL);
}
