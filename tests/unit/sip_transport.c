/* Listeners, limits, reload, drain and shortage of the SIP transport. */
#include <sys/resource.h>

#include "support/alloc_fail.h"
#include "support/sip_box.h"

static void any_address_is_both_families(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr six = loopback(ADDR_IP6, port);
	char expected[64];
	struct peer p4, p6;

	configure(fx, &fx->e, "[sip]\ntls-port = 0\ntcp-port = %u\npublic-address = 192.0.2.7\n",
		  port);
	p4 = dial4(port);
	UNTIL(fx->e.n_opened == 1);
	assert_int_equal(flow_role(transport_flow(fx->e.t, fx->e.last)), FLOW_OUTSIDE);
	snprintf(expected, sizeof(expected), "192.0.2.7:%u", port);
	sent_by_is(transport_flow(fx->e.t, fx->e.last), expected);
	p6 = dial(&six);
	UNTIL(fx->e.n_opened == 2);
	snprintf(expected, sizeof(expected), "[::1]:%u", port);
	sent_by_is(transport_flow(fx->e.t, fx->e.last), expected);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_LISTENER), 2);
	hang_up(&p4);
	hang_up(&p6);
}

static void limits_refuse(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct peer p[4];

	configure(fx, &fx->e, TCP_CONF "max-connections-per-source = 2\nmax-connections = 3\n",
		  port);
	for (size_t i = 0; i < 3; i++)
		p[i] = dial4(port);
	UNTIL(is_over(&p[2]));
	assert_int_equal(fx->e.n_opened, 2);
	assert_int_equal(refused_for(&fx->e, NET_OVER_SOURCE), 1);
	assert_int_equal(trace_count(fx->e.env.trace, "sip.flow.refused"), 1);
	assert_false(is_over(&p[0]));
	/* One less: there is room again. */
	hang_up(&p[0]);
	UNTIL(fx->e.n_closed == 1);
	p[0] = dial4(port);
	UNTIL(fx->e.n_opened == 3);

	configure(fx, &fx->e, TCP_CONF "max-connections-per-source = 9\nmax-connections = 2\n",
		  port);
	p[3] = dial4(port);
	UNTIL(is_over(&p[3]));
	assert_int_equal(refused_for(&fx->e, NET_OVER_TOTAL), 1);
	for (size_t i = 0; i < 4; i++)
		hang_up(&p[i]);
}

static void accept_rate_refuses(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct peer p[12];
	unsigned n_refused = 0;

	configure(fx, &fx->e, TCP_CONF "accept-rate = 2\n", port);
	for (size_t i = 0; i < 12; i++)
		p[i] = dial4(port);
	UNTIL(fx->e.n_opened + refused_for(&fx->e, NET_OVER_RATE) == 12);
	for (size_t i = 0; i < 12; i++) {
		n_refused += is_over(&p[i]);
		hang_up(&p[i]);
	}
	assert_in_range(n_refused, 7, 8); /* a burst of four, or one more token meanwhile */
}

static void reload_keeps_connections(void **state)
{
	struct fixture *fx = *state;
	uint16_t a = free_port(), b = free_port(), u = free_port();
	struct addr udp = loopback(ADDR_IP4, u);
	struct peer p, q = udp_peer("127.0.0.1"), late;
	uint64_t listener;
	char text[1024];

	configure(fx, &fx->e, TCP_CONF "udp-port = %u\n", a, u);
	p = dial4(a);
	UNTIL(fx->e.n_opened == 1);
	put_udp(&q, &udp, options(text, "u"));
	UNTIL(fx->e.n_opened == 2);
	listener = conn_get(fx->e.env.conns, fx->e.last)->parent;
	/* The same again changes nothing. */
	configure(fx, &fx->e, TCP_CONF "udp-port = %u\n", a, u);
	assert_non_null(conn_get(fx->e.env.conns, listener));
	assert_int_equal(n_flows(&fx->e), 2);
	/* Another TCP port, no UDP: the connection lives, the UDP flow has lost its socket. */
	configure(fx, &fx->e, TCP_CONF, b);
	assert_null(conn_get(fx->e.env.conns, listener));
	assert_int_equal(ended(&fx->e, "UDP port closed"), 1);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_LISTENER), 1);
	options(text, "old-connection");
	put_str(fx, &p, text);
	UNTIL(strcmp(fx->e.last_call_id, "old-connection") == 0);
	late = dial4(b);
	UNTIL(fx->e.n_opened == 3);
	hang_up(&late);
	late = dial4(a);
	UNTIL(send(late.fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED);
	hang_up(&late);
	hang_up(&p);
	hang_up(&q);
}

/* From one address to all and back: the port is ours, so the old socket has to go first. */
static void reload_widens_the_address(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr six = loopback(ADDR_IP6, port);
	struct peer p;

	configure(fx, &fx->e, TCP_CONF, port);
	configure(fx, &fx->e, "[sip]\ntls-port = 0\ntcp-port = %u\n", port);
	p = dial(&six);
	UNTIL(fx->e.n_opened == 1);
	hang_up(&p);
	configure(fx, &fx->e, TCP_CONF, port);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_LISTENER), 1);
	p = dial4(port);
	UNTIL(fx->e.n_opened == 2);
	hang_up(&p);
}

static void port_in_use_changes_nothing(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr local = loopback(ADDR_IP4, 0);
	int fd = net_listen_tcp(&local, 1);
	char text[256];
	struct conf_snapshot *next;
	struct buf err;
	unsigned before;

	configure(fx, &fx->e, TCP_CONF, port);
	before = n_fds();
	buf_init(&err, 1024);
	snprintf(text, sizeof(text), TCP_CONF "udp-port = %u\n", net_local_addr(fd).port, port);
	next = parse(fx, CONF_ROLE_E, text);
	assert_int_equal(transport_prepare(fx->e.t, next, &err), -EADDRINUSE);
	assert_non_null(strstr(err.p, "[sip] tcp-port: cannot listen on 127.0.0.1:"));
	assert_int_equal(transport_configure(fx->e.t, next, &err), -EADDRINUSE);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_LISTENER), 1);
	assert_int_equal(n_fds(), before);
	close(fd);
	buf_reset(&err);
	assert_int_equal(transport_prepare(fx->e.t, next, &err), 0);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_LISTENER), 1);
	conf_unref(next);
	/* Two settings for one port. */
	snprintf(text, sizeof(text),
		 TCP_CONF "[zone z]\ntype = uc-traversal\nport = %u\nverify-name = a\n", port,
		 port);
	next = parse(fx, CONF_ROLE_E, text);
	assert_int_equal(transport_prepare(fx->e.t, next, &err), -EADDRINUSE);
	assert_non_null(strstr(err.p, "of zone z"));
	conf_unref(next);
	buf_fini(&err);
}

static void drain_takes_no_more(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr to = loopback(ADDR_IP4, port);
	struct peer p, q, u = udp_peer("127.0.0.1"), v = udp_peer("127.0.0.1");
	char text[1024], expected[64];

	configure(fx, &fx->e, TCP_CONF "udp-port = %u\n", port, port);
	p = dial4(port);
	UNTIL(fx->e.n_opened == 1);
	put_udp(&u, &to, options(text, "known"));
	UNTIL(fx->e.n_opened == 2);
	transport_drain(fx->e.t);
	q = dial4(port);
	UNTIL(send(q.fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED);
	put_udp(&v, &to, options(text, "new"));
	UNTIL(ended(&fx->e, "draining") == 1);
	put_udp(&u, &to, options(text, "known-again"));
	UNTIL(strcmp(fx->e.last_call_id, "known-again") == 0);
	options(text, "tcp-again");
	put_str(fx, &p, text);
	UNTIL(strcmp(fx->e.last_call_id, "tcp-again") == 0);
	snprintf(expected, sizeof(expected), "127.0.0.1:%u", port);
	sent_by_is(transport_flow(fx->e.t, fx->e.last), expected);
	hang_up(&p);
	hang_up(&q);
	hang_up(&u);
	hang_up(&v);
}

static void no_descriptors_pauses(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct rlimit old, tight;
	struct peer p[3];
	uint64_t turns;
	int64_t start;
	int spare;

	configure(fx, &fx->e, TCP_CONF, port);
	loop_once(fx->loop, 0);
	for (size_t i = 0; i < 3; i++)
		p[i] = dial4(port);
	spare = dup(0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)spare; /* all below are taken: no new descriptor */
	close(spare);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	UNTIL(alarm_count(fx->e.env.alarms) == 1);
	assert_int_equal(fx->e.n_opened, 0);
	turns = loop_stats(fx->loop).n_turns;
	start = wall_ms();
	UNTIL(wall_ms() - start > 300);
	/* UNTIL waits 5 ms a turn: about 60. A listener that spins would make thousands. */
	assert_in_range(loop_stats(fx->loop).n_turns - turns, 1, 200);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	UNTIL(fx->e.n_opened == 3);
	assert_int_equal(alarm_count(fx->e.env.alarms), 0);
	for (size_t i = 0; i < 3; i++)
		hang_up(&p[i]);
}

/* Shutting down frees without a word: who does it has let go of its flows. */
static void free_is_silent(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct peer p;

	configure(fx, &fx->e, TCP_CONF, port);
	p = dial4(port);
	UNTIL(fx->e.n_opened == 1);
	transport_free(fx->e.t);
	assert_int_equal(fx->e.n_closed, 0);
	assert_int_equal(ended(&fx->e, "shut down"), 1);
	assert_int_equal(n_flows(&fx->e), 0);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_LISTENER), 0);
	fx->e.t = transport_new(&fx->e.env, &events, &fx->e);
	UNTIL(is_over(&p));
	hang_up(&p);
}

struct sweep {
	struct fixture *fx;
	struct conf_snapshot *snap_e, *snap_c;
	struct flow_dest tcp, tls, udp;
	char raw[1024];
	uint16_t port;
};

static void one_life(void *arg)
{
	struct sweep *s = arg;
	struct fixture *fx = s->fx;
	struct box *e = &fx->e, *c = &fx->c;
	struct buf err;
	int error;

	buf_init(&err, 4096);
	e->t = transport_new(&e->env, &events, e);
	c->t = transport_new(&c->env, &events, c);
	e->on_message = c->on_message = JUST_COUNT;
	if (e->t && c->t && transport_configure(e->t, s->snap_e, &err) == 0 &&
	    transport_configure(c->t, s->snap_c, &err) == 0) {
		const struct flow_dest *dests[] = { &s->tcp, &s->tls, &s->udp };

		transport_set_name(e->t, "edge1.example.com");
		for (size_t i = 0; i < 3; i++) {
			struct flow *f = transport_flow_to(c->t, dests[i], &error);

			if (f)
				flow_send(f, slice_of(s->raw));
		}
		for (int i = 0; i < 20; i++)
			loop_once(fx->loop, 1);
	}
	transport_free(e->t);
	transport_free(c->t);
	e->t = c->t = NULL;
	loop_once(fx->loop, 0);
	buf_fini(&err);
}

static void every_allocation_may_fail(void **state)
{
	struct fixture *fx = *state;
	struct sweep s = { .fx = fx, .port = free_port() };
	uint16_t tls_port = free_port(), other = free_port();
	char text[2048], tls[512];
	struct buf err;
	unsigned before;

	buf_init(&err, 4096);
	snprintf(text, sizeof(text),
		 "%s[sip]\naddress = 127.0.0.1\ntcp-port = %u\nudp-port = %u\ntls = edge\n"
		 "tls-port = %u\naccept-rate = 100000\n",
		 tls_section(fx, "edge", tls), s.port, s.port, tls_port);
	s.snap_e = parse(fx, CONF_ROLE_E, text);
	assert_int_equal(tls_store_load(fx->e.env.tls, s.snap_e, &err), 0);
	snprintf(text, sizeof(text), "%s[sip]\naddress = 127.0.0.1\ntls-port = 0\nudp-port = %u\n",
		 tls_section(fx, "core", tls), other);
	s.snap_c = parse(fx, CONF_ROLE_C, text);
	assert_int_equal(tls_store_load(fx->c.env.tls, s.snap_c, &err), 0);
	s.tcp = dest_to(CONN_TCP, ADDR_IP4, s.port);
	s.udp = dest_to(CONN_UDP, ADDR_IP4, s.port);
	s.tls = dest_to(CONN_TLS, ADDR_IP4, tls_port);
	s.tls.tls = "core";
	options(s.raw, "sweep");
	transport_free(fx->e.t);
	transport_free(fx->c.t);
	one_life(&s);
	assert_int_equal(fx->e.n_messages, 3); /* the life that is swept is a full one */
	before = n_fds();
	alloc_fail_sweep(one_life, &s);
	assert_int_equal(n_fds(), before);
	assert_int_equal(n_flows(&fx->e) + n_flows(&fx->c), 0);
	conf_unref(s.snap_e);
	conf_unref(s.snap_c);
	buf_fini(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_address_is_both_families),
		T(limits_refuse),
		T(accept_rate_refuses),
		T(reload_keeps_connections),
		T(reload_widens_the_address),
		T(port_in_use_changes_nothing),
		T(drain_takes_no_more),
		T(no_descriptors_pauses),
		T(free_is_silent),
		T(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
