#ifndef TESTS_SUPPORT_STREAM_BOX_H
#define TESTS_SUPPORT_STREAM_BOX_H
/*
 * For tests of streams over real loopback sockets: an environment with a loop, a connection table
 * and [tls] sections with certificates made on the spot. Nothing sleeps: UNTIL turns the loop until
 * something is so.
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/conf_store.h"
#include "core/conn.h"
#include "core/dns.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/stream_socket.h"
#include "core/trace.h"
#include "support/cert.h"

struct stream_box {
	char dir[32];
	FILE *sink;
	struct env env;
	struct cert ca;
};

static const struct conf_section *const stream_box_schema[] = { &tls_conf_section };

static inline int64_t stream_box_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define UNTIL(box, what)                                                  \
	do {                                                              \
		int64_t end_ms_ = stream_box_wall_ms() + 20000;           \
		bool so_ = false;                                         \
		while (!(so_ = (what)) && stream_box_wall_ms() < end_ms_) \
			loop_once((box)->env.loop, 5);                    \
		if (!so_)                                                 \
			fail_msg("never so: %s", #what);                  \
	} while (0)

static inline int64_t stream_box_now(void *arg)
{
	return loop_now_ms(arg);
}

/* DIR/NAME.pem and .key, signed by the CA of the box. */
static inline void stream_box_cert(struct stream_box *b, const char *name, const char *san)
{
	struct cert_params p = { .cn = "x", .san = san, .issuer = &b->ca };
	struct cert c = cert_make(&p);
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.pem", b->dir, name);
	cert_write(&c, path);
	snprintf(path, sizeof(path), "%s/%s.key", b->dir, name);
	cert_write_key(&c, path, NULL);
	cert_free(&c);
}

/* (Re)loads [tls web] and [tls guest]. */
static inline void stream_box_load_tls(struct stream_box *b)
{
	struct conf_snapshot *snap;
	struct buf text, err;

	buf_init(&text, 4096);
	buf_init(&err, 4096);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "guest" : "web";

		buf_printf(&text,
			   "[tls %s]\ncertificate = %s/%s.pem\nkey = %s/%s.key\nca = %s/ca.pem\n",
			   name, b->dir, name, b->dir, name, b->dir);
	}
	snap = conf_parse(b->env.conf, "test.ini", buf_slice(&text), CONF_ROLE_E, &err);
	if (!snap || tls_store_load(b->env.tls, snap, &err) != 0)
		fail_msg("%s", err.p);
	conf_unref(snap);
	buf_fini(&text);
	buf_fini(&err);
}

static inline struct stream_box *stream_box_new(void)
{
	struct stream_box *b = calloc(1, sizeof(*b));
	struct cert_params ca = { .cn = "test CA", .is_ca = true };
	char path[64];

	signal(SIGPIPE, SIG_IGN);
	strcpy(b->dir, "/tmp/stream.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->ca = cert_make(&ca);
	snprintf(path, sizeof(path), "%s/ca.pem", b->dir);
	cert_write(&b->ca, path);
	stream_box_cert(b, "web", "DNS:web.example.com,IP:127.0.0.1");
	stream_box_cert(b, "guest", "DNS:guest.example.com");
	b->sink = fopen("/dev/null", "w");
	b->env.role = CONF_ROLE_E;
	b->env.loop = loop_new();
	b->env.log = log_new(b->sink, LOG_LEVEL_ERROR);
	b->env.alarms = alarms_new(b->env.log);
	b->env.trace = trace_new(256, stream_box_now, b->env.loop);
	b->env.conns = conn_table_new(1000, 64, stream_box_now, b->env.loop);
	b->env.conf = conf_store_new(stream_box_schema, 1);
	b->env.tls = tls_store_new(b->env.log, b->env.alarms);
	assert_true(b->env.loop && b->env.conns && b->env.trace && b->env.conf && b->env.tls);
	stream_box_load_tls(b);
	return b;
}

static inline void stream_box_free(struct stream_box *b)
{
	DIR *d = opendir(b->dir);
	struct dirent *entry;

	tls_store_free(b->env.tls);
	conf_store_free(b->env.conf);
	conn_table_free(b->env.conns);
	trace_free(b->env.trace);
	alarms_free(b->env.alarms);
	log_free(b->env.log);
	loop_free(b->env.loop);
	fclose(b->sink);
	cert_free(&b->ca);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
	}
	closedir(d);
	rmdir(b->dir);
	free(b);
}

static inline unsigned stream_box_n_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* 127.0.0.1 with a port (0: any). */
static inline struct addr stream_box_addr(uint16_t port)
{
	struct addr a = { 0 };

	assert_true(addr_parse_ip(SLICE("127.0.0.1"), port, &a));
	return a;
}

/* Where the only listener of the table listens. */
static inline struct addr stream_box_listening(const struct stream_box *b)
{
	const struct list *node = list_first(conn_list(b->env.conns, CONN_LISTENER));

	assert_non_null(node);
	return CONTAINER_OF(node, struct conn, node)->local;
}

#endif
