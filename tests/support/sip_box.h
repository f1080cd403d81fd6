#ifndef TESTS_SUPPORT_SIP_BOX_H
#define TESTS_SUPPORT_SIP_BOX_H
/*
 * For tests of flows over real loopback sockets: two boxes (E and C, each with a transport and all
 * that it needs) and raw peers share one loop in one process. Nothing sleeps: UNTIL turns the loop
 * until something is so.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/conf_store.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "core/trace.h"
#include "sip/flow.h"
#include "sip/sip_conf.h"
#include "support/cert.h"
#include "support/free_port.h"
#include "turnpike/route.h"

/* --- the rows of [zone] that the transport looks at; the route module's own are out of reach ---
 */
static const char *const zone_types[] = { "neighbour", "uc-traversal", NULL };
#define ZROW(k, t, member, ...)                                                                    \
	{                                                                                          \
		.key = (k), .type = (t), .offset = offsetof(struct zone_conf, member), __VA_ARGS__ \
	}
static const struct conf_row zone_rows[] = {
	ZROW("type", CONF_ENUM, type, .def = "neighbour", .names = zone_types),
	ZROW("port", CONF_U32, port, .def = "7001", .max = 65535),
	ZROW("tls", CONF_REF, tls, .ref = "tls"),
	ZROW("verify-name", CONF_STRING, verify_name),
	ZROW("enabled", CONF_BOOL, enabled, .def = "yes"),
};
static const struct conf_section zone_section = {
	.type = "zone",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct zone_conf),
	.rows = zone_rows,
	.n_rows = sizeof(zone_rows) / sizeof(zone_rows[0]),
	.help = "-",
};
static const struct conf_section *const schema[] = { &sip_conf_section, &tls_conf_section,
						     &zone_section };

/* --- one box: an environment, a transport and what it told --- */
enum on_message { JUST_COUNT, ANSWER, CLOSE_OWN, FLOOD };

struct box {
	struct env env;
	struct transport *t;
	enum on_message on_message;
	unsigned n_opened, n_messages, n_malformed, n_closed, n_pongs;
	uint64_t last; /* flow of the last event */
	int last_status;
	bool last_had_message;
	char last_call_id[64];
	char why[CONN_REASON_BYTES];
	int send_result;
};

struct fixture {
	char dir[32];
	struct loop *loop;
	FILE *sink;
	struct log *log;
	struct conf_store *conf;
	struct cert ca, other_ca;
	struct box e, c;
};

#define OPTIONS_FMT                                                      \
	"OPTIONS sip:edge.example.com SIP/2.0\r\n"                       \
	"Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK1\r\n"            \
	"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n" \
	"Call-ID: %s\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: %zu\r\n\r\n"
#define OK_TEXT                                                                 \
	"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK1\r\n" \
	"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\n"  \
	"Call-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

static inline struct slice options(char buf[1024], const char *call_id)
{
	int n = snprintf(buf, 1024, OPTIONS_FMT, call_id, (size_t)0);

	return (struct slice){ buf, (size_t)n };
}

static inline void on_opened(void *arg, struct flow *f)
{
	struct box *b = arg;

	b->n_opened++;
	b->last = flow_id(f);
	assert_int_equal(flow_state(f), FLOW_OPEN);
}

static inline void flood(struct box *b, struct flow *f)
{
	static char waste[200 * 1024];

	for (int i = 0; i < 200 && b->send_result == 0; i++)
		b->send_result = flow_send(f, (struct slice){ waste, sizeof(waste) });
}

static inline void on_message(void *arg, struct flow *f, struct sip_msg *m)
{
	struct box *b = arg;

	b->n_messages++;
	b->last = flow_id(f);
	slice_copy(b->last_call_id, sizeof(b->last_call_id), m->call_id);
	switch (b->on_message) {
	case JUST_COUNT:
		break;
	case ANSWER:
		b->send_result = flow_send(f, SLICE(OK_TEXT));
		break;
	case CLOSE_OWN:
		flow_send(f, SLICE(OK_TEXT));
		flow_close(f, "no more of %s", "this");
		flow_close(f, "a second close says nothing");
		assert_int_equal(flow_send(f, SLICE(OK_TEXT)), -ENOTCONN);
		assert_null(transport_flow(b->t, flow_id(f)));
		break;
	case FLOOD:
		flood(b, f);
		break;
	}
}

static inline void on_malformed(void *arg, struct flow *f, struct sip_msg *m,
				const struct sip_reject *reject)
{
	struct box *b = arg;
	char text[200];
	int n;

	b->n_malformed++;
	b->last_status = reject->status;
	b->last_had_message = m != NULL;
	if (!m || !m->is_request)
		return;
	n = snprintf(text, sizeof(text), "SIP/2.0 %d %s\r\nContent-Length: 0\r\n\r\n",
		     reject->status, reject->phrase);
	flow_send(f, (struct slice){ text, (size_t)n });
}

static inline void on_closed(void *arg, struct flow *f, const char *why)
{
	struct box *b = arg;

	b->n_closed++;
	slice_copy(b->why, sizeof(b->why), slice_of(why));
	assert_int_equal(flow_state(f), FLOW_CLOSED);
}

static inline void on_pong(void *arg, struct flow *f)
{
	struct box *b = arg;

	b->n_pongs++;
}

static const struct transport_events events = { on_opened, on_message, on_malformed, on_closed,
						on_pong };

static inline int64_t loop_clock(void *arg)
{
	return loop_now_ms(arg);
}

static inline void box_start(struct fixture *fx, struct box *b, unsigned role)
{
	memset(b, 0, sizeof(*b));
	b->env.role = role;
	b->env.loop = fx->loop;
	b->env.log = fx->log;
	b->env.conf = fx->conf;
	b->env.conns = conn_table_new(4096, 1024, loop_clock, fx->loop);
	b->env.trace = trace_new(256, loop_clock, fx->loop);
	b->env.alarms = alarms_new(fx->log);
	b->env.tls = tls_store_new(fx->log, b->env.alarms);
	b->t = transport_new(&b->env, &events, b);
	assert_non_null(b->t);
}

static inline void box_stop(struct box *b)
{
	transport_free(b->t);
	tls_store_free(b->env.tls);
	alarms_free(b->env.alarms);
	trace_free(b->env.trace);
	conn_table_free(b->env.conns);
}

static inline struct conf_snapshot *parse(struct fixture *fx, unsigned role, const char *text)
{
	struct conf_snapshot *snap;
	struct buf err;

	buf_init(&err, 4096);
	snap = conf_parse(fx->conf, "test.ini", slice_of(text), role, &err);
	if (!snap)
		fail_msg("%s", err.p ? err.p : "conf_parse");
	buf_fini(&err);
	return snap;
}

/* Applies a configuration; error text into *errors. */
static inline int try_configure(struct fixture *fx, struct box *b, const char *text,
				struct buf *errors)
{
	struct conf_snapshot *snap = parse(fx, b->env.role, text);
	int error = tls_store_load(b->env.tls, snap, errors);

	if (error == 0)
		error = transport_configure(b->t, snap, errors);
	conf_unref(snap);
	return error;
}

static inline void configure(struct fixture *fx, struct box *b, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static inline void configure(struct fixture *fx, struct box *b, const char *fmt, ...)
{
	struct buf text, err;
	va_list ap;

	buf_init(&text, 8192);
	buf_init(&err, 8192);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (try_configure(fx, b, text.p, &err) != 0)
		fail_msg("%s", err.p);
	buf_fini(&text);
	buf_fini(&err);
}

/* --- waiting --- */
static inline int64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define UNTIL(what)                                          \
	do {                                                 \
		int64_t end_ms = wall_ms() + 10000;          \
		bool so = false;                             \
		while (!(so = (what)) && wall_ms() < end_ms) \
			loop_once(fx->loop, 5);              \
		if (!so)                                     \
			fail_msg("never so: %s", #what);     \
	} while (0)

/* --- raw peers --- */
struct peer {
	int fd;
	char got[4096];
	size_t n;
	bool eof, reset;
};

static inline struct addr loopback(int family, uint16_t port)
{
	struct addr a = { 0 };

	assert_true(
		addr_parse_ip(family == ADDR_IP6 ? SLICE("::1") : SLICE("127.0.0.1"), port, &a));
	return a;
}

static inline struct peer dial(const struct addr *to)
{
	struct peer p = { .fd = net_connect_tcp(to, NULL, 0, 0) };

	assert_true(p.fd >= 0);
	return p;
}

static inline struct peer dial4(uint16_t port)
{
	struct addr to = loopback(ADDR_IP4, port);

	return dial(&to);
}

static inline struct peer udp_peer(const char *ip)
{
	struct peer p = { 0 };
	struct addr a;

	assert_true(addr_parse_ip(slice_of(ip), 0, &a));
	p.fd = net_bind_udp(&a);
	assert_true(p.fd >= 0);
	return p;
}

static inline void put(struct fixture *fx, struct peer *p, const void *data, size_t n)
{
	const char *at = data;
	int64_t end = wall_ms() + 10000;

	while (n > 0 && wall_ms() < end) {
		ssize_t sent = send(p->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent > 0) {
			at += sent;
			n -= (size_t)sent;
		} else if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) {
			return; /* closed on us: the test looks at the reason */
		} else {
			loop_once(fx->loop, 5);
		}
	}
}

static inline void put_str(struct fixture *fx, struct peer *p, const char *s)
{
	put(fx, p, s, strlen(s));
}

static inline void put_udp(struct peer *p, const struct addr *to, struct slice s)
{
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(to, &ss);

	assert_int_equal(sendto(p->fd, s.p, s.n, 0, (struct sockaddr *)&ss, n), (ssize_t)s.n);
}

/* Reads what is there; true when `text` is in what came so far. */
static inline bool has(struct peer *p, const char *text)
{
	for (;;) {
		ssize_t n;

		if (p->n == sizeof(p->got) - 1)
			p->n = 0;
		n = recv(p->fd, p->got + p->n, sizeof(p->got) - 1 - p->n, MSG_DONTWAIT);
		if (n > 0) {
			p->n += (size_t)n;
			continue;
		}
		if (n == 0)
			p->eof = true;
		else if (errno == ECONNRESET)
			p->reset = true;
		break;
	}
	p->got[p->n] = '\0';
	return text && strstr(p->got, text);
}

static inline bool is_over(struct peer *p)
{
	has(p, NULL);
	return p->eof || p->reset;
}

static inline void hang_up(struct peer *p)
{
	close(p->fd);
	p->fd = -1;
}

/* --- what is to be seen afterwards --- */
struct search {
	const char *text;
	unsigned n, n_exact;
};

static inline bool look(const struct conn *c, int64_t ended_wall_s, void *arg)
{
	struct search *s = arg;

	if (c->kind == CONN_FLOW && strstr(c->reason, s->text))
		s->n++;
	if (c->kind == CONN_FLOW && strcmp(c->reason, s->text) == 0)
		s->n_exact++;
	return true;
}

static inline unsigned ended(struct box *b, const char *reason)
{
	struct search s = { reason, 0, 0 };

	conn_ended_each(b->env.conns, look, &s);
	return s.n;
}

static inline unsigned refused_for(struct box *b, enum net_verdict v)
{
	struct search s = { net_verdict_str(v), 0, 0 };

	conn_ended_each(b->env.conns, look, &s);
	return s.n_exact;
}

static inline unsigned n_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline unsigned n_flows(struct box *b)
{
	return conn_count(b->env.conns, CONN_FLOW);
}

/* --- fixture --- */
static inline void write_pair(struct fixture *fx, const char *name, const char *san,
			      const struct cert *issuer)
{
	struct cert_params p = { .cn = "x", .san = san, .issuer = issuer };
	struct cert c = cert_make(&p);
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.pem", fx->dir, name);
	cert_write(&c, path);
	snprintf(path, sizeof(path), "%s/%s.key", fx->dir, name);
	cert_write_key(&c, path, NULL);
	cert_free(&c);
}

static inline void make_files(struct fixture *fx)
{
	struct cert_params ca = { .cn = "pair CA", .is_ca = true };
	char path[128];

	strcpy(fx->dir, "/tmp/sip_flow.XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	fx->ca = cert_make(&ca);
	ca.cn = "stranger CA";
	fx->other_ca = cert_make(&ca);
	snprintf(path, sizeof(path), "%s/ca.pem", fx->dir);
	cert_write(&fx->ca, path);
	write_pair(fx, "edge", "DNS:edge1.example.com", &fx->ca);
	write_pair(fx, "core", "DNS:core1.example.com", &fx->ca);
	write_pair(fx, "stranger", "DNS:core1.example.com", &fx->other_ca);
}

static inline int set_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	assert_non_null(fx);
	make_files(fx);
	fx->loop = loop_new();
	signal(SIGPIPE, SIG_IGN);
	fx->sink = fopen("/dev/null", "w");
	fx->log = log_new(fx->sink, LOG_LEVEL_DEBUG);
	fx->conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	assert_true(fx->loop && fx->log && fx->conf);
	box_start(fx, &fx->e, CONF_ROLE_E);
	box_start(fx, &fx->c, CONF_ROLE_C);
	*state = fx;
	return 0;
}

static inline void remove_files(struct fixture *fx)
{
	DIR *d = opendir(fx->dir);
	struct dirent *entry;

	while ((entry = readdir(d))) {
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
	}
	closedir(d);
	rmdir(fx->dir);
}

static inline int tear_down(void **state)
{
	struct fixture *fx = *state;

	box_stop(&fx->e);
	box_stop(&fx->c);
	conf_store_free(fx->conf);
	log_free(fx->log);
	fclose(fx->sink);
	loop_free(fx->loop);
	cert_free(&fx->ca);
	cert_free(&fx->other_ca);
	remove_files(fx);
	free(fx);
	return 0;
}

/* [tls NAME] with the certificate of that name. */
static inline const char *tls_section(struct fixture *fx, const char *name, char buf[512])
{
	snprintf(buf, 512, "[tls %s]\ncertificate = %s/%s.pem\nkey = %s/%s.key\nca = %s/ca.pem\n",
		 name, fx->dir, name, fx->dir, name, fx->dir);
	return buf;
}

static inline void sent_by_is(struct flow *f, const char *expected)
{
	struct buf b;

	buf_init(&b, 300);
	flow_sent_by(f, &b);
	assert_string_equal(b.p, expected);
	buf_fini(&b);
}

#define TCP_CONF "[sip]\ntls-port = 0\naddress = 127.0.0.1\ntcp-port = %u\n"

static inline struct flow_dest dest_to(enum conn_transport transport, int family, uint16_t port)
{
	return (struct flow_dest){ .transport = transport,
				   .addr = loopback(family, port),
				   .role = FLOW_INSIDE,
				   .zone = "pbx" };
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
