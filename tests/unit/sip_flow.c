/* Flows over TCP: messages, time limits, nonsense, bounds. */
#include "support/sip_box.h"

static void tcp_takes_and_answers(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char text[1024], expected[64];
	struct flow *f;
	struct peer p;

	configure(fx, &fx->c, TCP_CONF, port);
	fx->c.on_message = ANSWER;
	p = dial4(port);
	UNTIL(fx->c.n_opened == 1);
	f = transport_flow(fx->c.t, fx->c.last);
	assert_int_equal(flow_role(f), FLOW_INSIDE);
	assert_int_equal(flow_transport(f), CONN_TCP);
	assert_true(flow_is_reliable(f));
	assert_null(flow_ssl(f));
	assert_int_equal(flow_local(f)->port, port);
	snprintf(expected, sizeof(expected), "127.0.0.1:%u", port);
	sent_by_is(f, expected);
	options(text, "one");
	put(fx, &p, text, strlen(text));
	UNTIL(has(&p, "SIP/2.0 200 OK"));
	assert_int_equal(fx->c.n_messages, 1);
	assert_string_equal(fx->c.last_call_id, "one");
	assert_int_equal(flow_conn(f)->rx_packets, 1);
	assert_int_equal(flow_conn(f)->rx_bytes, strlen(text));
	assert_int_equal(flow_conn(f)->tx_packets, 1);
	hang_up(&p);
	UNTIL(fx->c.n_closed == 1);
	assert_string_equal(fx->c.why, "closed by peer");
	assert_int_equal(ended(&fx->c, "closed by peer"), 1);
	assert_int_equal(n_flows(&fx->c), 0);
}

static void stream_is_cut_anywhere(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char all[2048];
	size_t n;
	struct peer p;

	configure(fx, &fx->c, TCP_CONF, port);
	p = dial4(port);
	n = options(all, "first").n;
	n += options(all + n, "second").n;
	put(fx, &p, all, n);
	UNTIL(fx->c.n_messages == 2);
	assert_string_equal(fx->c.last_call_id, "second");
	/* And byte by byte, a turn of the loop for each. */
	for (size_t i = 0; i < n; i++) {
		put(fx, &p, all + i, 1);
		loop_once(fx->loop, 0);
	}
	UNTIL(fx->c.n_messages == 4);
	assert_int_equal(fx->c.n_malformed, 0);
	put_str(fx, &p, "\r\n");
	UNTIL(fx->c.n_pongs == 1);
	put_str(fx, &p, "\r\n\r\n");
	UNTIL(has(&p, "\r\n"));
	assert_int_equal(p.n, 2);
	hang_up(&p);
	UNTIL(fx->c.n_closed == 1);
}

static void malformed_is_told_and_the_flow_lives(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char text[1024], *cseq;
	struct peer p;

	configure(fx, &fx->c, TCP_CONF, port);
	p = dial4(port);
	options(text, "bad");
	cseq = strstr(text, "1 OPTIONS");
	memcpy(cseq, "1 INVITES", 9);
	put_str(fx, &p, text);
	UNTIL(has(&p, "SIP/2.0 400"));
	assert_int_equal(fx->c.n_malformed, 1);
	options(text, "good");
	put_str(fx, &p, text);
	UNTIL(fx->c.n_messages == 1);
	assert_int_equal(fx->c.n_closed, 0);
	hang_up(&p);
}

static void close_from_callback_flushes(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char text[2048];
	size_t n = options(text, "a").n;
	struct peer p;

	configure(fx, &fx->c, TCP_CONF, port);
	fx->c.on_message = CLOSE_OWN;
	p = dial4(port);
	n += options(text + n, "b").n;
	put(fx, &p, text, n);
	UNTIL(fx->c.n_closed == 1);
	assert_int_equal(fx->c.n_messages, 1); /* nothing after the close */
	assert_string_equal(fx->c.why, "no more of this");
	assert_int_equal(n_flows(&fx->c), 0);
	UNTIL(is_over(&p));
	assert_true(has(&p, "SIP/2.0 200 OK"));
	assert_false(p.reset);
	hang_up(&p);
}

static void close_by_id(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct conn *c;
	struct peer p;

	configure(fx, &fx->c, TCP_CONF, port);
	p = dial4(port);
	UNTIL(fx->c.n_opened == 1);
	c = conn_get(fx->c.env.conns, fx->c.last);
	c->close(c, "by the operator");
	UNTIL(is_over(&p));
	assert_int_equal(ended(&fx->c, "by the operator"), 1);
	hang_up(&p);
}

static void dialled_flow_queues_and_is_found(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port(), port_c = free_port(), first = free_ports(20);
	struct flow_dest dest = dest_to(CONN_TCP, ADDR_IP4, port), other;
	struct flow *f;
	char text[1024];
	int error = 1;

	configure(fx, &fx->e, TCP_CONF, port);
	configure(fx, &fx->c, TCP_CONF "source-ports = %u-%u\n", port_c, first, first + 19);
	fx->e.on_message = ANSWER;
	f = transport_connect(fx->c.t, &dest, &error);
	assert_non_null(f);
	assert_int_equal(error, 0);
	assert_int_equal(flow_state(f), FLOW_CONNECTING);
	assert_string_equal(flow_zone(f), "pbx");
	assert_in_range(flow_local(f)->port, first, first + 19);
	assert_int_equal(flow_send(f, options(text, "early")), 0);
	assert_ptr_equal(transport_flow_to(fx->c.t, &dest, &error), f);
	assert_int_equal(fx->c.n_opened, 0);
	UNTIL(fx->c.n_messages == 1);
	assert_string_equal(fx->e.last_call_id, "early");
	assert_int_equal(fx->c.n_opened, 1);
	assert_ptr_equal(transport_flow_to(fx->c.t, &dest, &error), f);
	snprintf(text, sizeof(text), "127.0.0.1:%u", port_c);
	sent_by_is(f, text);
	other = dest;
	other.zone = "pbx2";
	assert_ptr_not_equal(transport_flow_to(fx->c.t, &other, &error), f);
	flow_ping(f);
	UNTIL(fx->c.n_pongs == 1);
	/* A closed one is not given out again, even before it is freed. */
	flow_close(f, "done");
	assert_ptr_not_equal(transport_flow_to(fx->c.t, &dest, &error), f);
	UNTIL(fx->c.n_closed == 1);
}

static void connect_failures_have_reasons(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = dest_to(CONN_TCP, ADDR_IP4, port);
	struct addr local = loopback(ADDR_IP4, 0);
	struct peer fill[8];
	int error = 0, fd;

	configure(fx, &fx->c, TCP_CONF "connect-timeout = 200ms\n", free_port());
	if (transport_connect(fx->c.t, &dest, &error))
		UNTIL(fx->c.n_closed == 1);
	assert_int_equal(ended(&fx->c, "Connection refused"), 1);
	/* A full accept queue lets SYNs fall. */
	fd = net_listen_tcp(&local, 0);
	dest.addr = net_local_addr(fd);
	for (size_t i = 0; i < 8; i++)
		fill[i] = dial(&dest.addr);
	assert_non_null(transport_connect(fx->c.t, &dest, &error));
	fx->c.n_closed = 0;
	UNTIL(fx->c.n_closed == 1);
	assert_string_equal(fx->c.why, "no connection in 200 ms");
	for (size_t i = 0; i < 8; i++)
		hang_up(&fill[i]);
	close(fd);
	dest.addr.port = 0;
	assert_null(transport_connect(fx->c.t, &dest, &error));
	assert_int_equal(error, -EINVAL);
	dest = dest_to(CONN_TLS, ADDR_IP4, port);
	dest.tls = "nowhere";
	assert_null(transport_connect(fx->c.t, &dest, &error));
	assert_int_equal(error, -EPROTO);
	dest = dest_to(CONN_UDP, ADDR_IP4, port);
	assert_null(transport_connect(fx->c.t, &dest, &error));
	assert_int_equal(error, -EADDRNOTAVAIL);
	assert_int_equal(n_flows(&fx->c), 0);
}

static void slow_message_ends(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char text[1024];
	struct peer p;
	int64_t start;

	configure(fx, &fx->e, TCP_CONF "message-timeout = 200ms\n", port);
	p = dial4(port);
	options(text, "slow");
	/* One in two pieces, in time: no more limit then. */
	put(fx, &p, text, 20);
	loop_once(fx->loop, 0);
	put_str(fx, &p, text + 20);
	UNTIL(fx->e.n_messages == 1);
	start = wall_ms();
	UNTIL(wall_ms() - start > 300);
	assert_int_equal(fx->e.n_closed, 0);
	start = wall_ms();
	/* More bytes all the time do not buy more time. */
	for (size_t i = 0; fx->e.n_closed == 0 && i < strlen(text) - 1; i++) {
		int64_t next = wall_ms() + 10;

		put(fx, &p, text + i, 1);
		UNTIL(fx->e.n_closed == 1 || wall_ms() >= next);
	}
	assert_int_equal(fx->e.n_closed, 1);
	assert_in_range(wall_ms() - start, 150, 2000);
	assert_string_equal(fx->e.why, "message not complete in 200 ms");
	assert_int_equal(ended(&fx->e, "message not complete in 200 ms"), 1);
	hang_up(&p);
}

static void idle_ends_unless_held(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow *held;
	struct peer a, b;
	int64_t start;

	configure(fx, &fx->e, TCP_CONF "idle-timeout = 1s\n", port);
	a = dial4(port);
	UNTIL(fx->e.n_opened == 1);
	held = transport_flow(fx->e.t, fx->e.last);
	flow_hold(held);
	flow_hold(held);
	b = dial4(port);
	UNTIL(fx->e.n_opened == 2);
	start = wall_ms();
	/* Keep-alives hold nothing open that carries nothing. */
	put_str(fx, &b, "\r\n\r\n");
	UNTIL(fx->e.n_closed == 1);
	assert_in_range(wall_ms() - start, 900, 3000);
	assert_string_equal(fx->e.why, "idle for 1 s");
	UNTIL(is_over(&b));
	UNTIL(wall_ms() - start > 1200);
	assert_int_equal(fx->e.n_closed, 1);
	flow_release(held);
	start = wall_ms();
	UNTIL(wall_ms() - start > 50);
	flow_release(held);
	UNTIL(fx->e.n_closed == 2);
	assert_in_range(wall_ms() - start, 900, 3000);
	hang_up(&a);
	hang_up(&b);
}

static void too_big_is_answered(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char text[4096];
	struct peer p;
	size_t n;

	configure(fx, &fx->e, TCP_CONF "max-message = 2048\n", port);
	/* At the limit. */
	p = dial4(port);
	n = (size_t)snprintf(text, sizeof(text), OPTIONS_FMT, "fits", (size_t)1000);
	n = (size_t)snprintf(text, sizeof(text), OPTIONS_FMT, "fits", 2048 - n);
	memset(text + n, 'x', 2048 - n);
	put(fx, &p, text, 2048);
	UNTIL(fx->e.n_messages == 1);
	hang_up(&p);
	UNTIL(fx->e.n_closed == 1);
	/* One more. */
	p = dial4(port);
	n = (size_t)snprintf(text, sizeof(text), OPTIONS_FMT, "nope", 2049 - n);
	memset(text + n, 'x', sizeof(text) - n);
	put(fx, &p, text, sizeof(text));
	UNTIL(fx->e.n_closed == 2);
	assert_int_equal(fx->e.n_malformed, 1);
	assert_int_equal(fx->e.last_status, 513);
	assert_true(fx->e.last_had_message);
	assert_string_equal(fx->e.why, "message over 2048 bytes");
	UNTIL(is_over(&p));
	assert_true(has(&p, "SIP/2.0 513 Message Too Large"));
	assert_false(p.reset);
	hang_up(&p);
}

/* Closing with unread input resets the connection; the answer must reach the peer all the same. */
static void answer_survives_unread_input(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	size_t n_text = 60000;
	char *text = malloc(n_text);
	struct peer p;
	int n;

	configure(fx, &fx->e, TCP_CONF "max-message = 2048\n", port);
	p = dial4(port);
	UNTIL(fx->e.n_opened == 1);
	n = snprintf(text, n_text, OPTIONS_FMT, "big", (size_t)900000);
	memset(text + n, 'x', n_text - (size_t)n);
	assert_int_equal(send(p.fd, text, n_text, 0), (ssize_t)n_text);
	UNTIL(fx->e.n_closed == 1);
	UNTIL(is_over(&p));
	assert_false(p.reset);
	assert_true(has(&p, "SIP/2.0 513"));
	free(text);
	hang_up(&p);
}

static void endless_headers_end(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char line[100];
	struct peer p;

	configure(fx, &fx->e, TCP_CONF "max-message = 2048\n", port);
	p = dial4(port);
	put_str(fx, &p, "OPTIONS sip:x SIP/2.0\r\n");
	memset(line, 'x', sizeof(line));
	line[1] = ':';
	memcpy(line + 98, "\r\n", 2);
	for (int i = 0; i < 40; i++)
		put(fx, &p, line, sizeof(line));
	UNTIL(fx->e.n_closed == 1);
	assert_string_equal(fx->e.why, "message over 2048 bytes");
	assert_int_equal(fx->e.last_status, 513);
	hang_up(&p);
}

static void garbage_leaves_nothing(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	unsigned before;

	configure(fx, &fx->e, TCP_CONF "accept-rate = 10000\nmax-connections-per-source = 100\n",
		  port);
	loop_once(fx->loop, 0);
	before = n_fds();
	for (unsigned i = 0; i < 500; i++) {
		struct peer p = dial4(port);

		put_str(fx, &p, "\x01\x02 what is this\r\n\r\n");
		UNTIL(fx->e.n_closed == i + 1);
		UNTIL(is_over(&p));
		hang_up(&p);
	}
	assert_int_equal(n_fds(), before);
	assert_int_equal(n_flows(&fx->e), 0);
	assert_int_equal(ended(&fx->e, "garbage: "), 500);
	assert_int_equal(trace_count(fx->e.env.trace, "sip.flow.garbage"), 500);
	assert_int_equal(fx->e.n_messages, 0);
}

/* A request that can be read but not delimited gets its answer. */
static void no_content_length_is_answered(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char text[1024];
	struct peer p;

	configure(fx, &fx->e, TCP_CONF, port);
	p = dial4(port);
	options(text, "x");
	strcpy(strstr(text, "Content-Length"), "X-Other: 1\r\n\r\n");
	put_str(fx, &p, text);
	UNTIL(is_over(&p));
	assert_true(has(&p, "SIP/2.0 400"));
	assert_int_equal(ended(&fx->e, "garbage: "), 1);
	hang_up(&p);
}

static void output_is_bounded(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char text[1024];
	struct peer p;

	configure(fx, &fx->e, TCP_CONF, port);
	fx->e.on_message = FLOOD;
	p = dial4(port);
	options(text, "x");
	put_str(fx, &p, text);
	UNTIL(fx->e.n_closed == 1);
	assert_int_equal(fx->e.send_result, -ENOBUFS);
	assert_int_equal(ended(&fx->e, "output over 1 MiB"), 1);
	hang_up(&p);
}

static void output_at_the_bound(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = dest_to(CONN_TCP, ADDR_IP4, port);
	char *big = calloc(1, 1 << 20);
	struct flow *f;
	int error;

	configure(fx, &fx->e, TCP_CONF, port);
	configure(fx, &fx->c, TCP_CONF, free_port());
	f = transport_connect(fx->c.t, &dest, &error);
	assert_int_equal(flow_send(f, (struct slice){ big, 1 << 20 }), 0);
	assert_int_equal(flow_send(f, SLICE("x")), -ENOBUFS);
	assert_int_equal(flow_send(f, SLICE("x")), -ENOTCONN);
	UNTIL(fx->c.n_closed == 1);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tcp_takes_and_answers),
		T(stream_is_cut_anywhere),
		T(malformed_is_told_and_the_flow_lives),
		T(close_from_callback_flushes),
		T(close_by_id),
		T(dialled_flow_queues_and_is_found),
		T(connect_failures_have_reasons),
		T(slow_message_ends),
		T(idle_ends_unless_held),
		T(too_big_is_answered),
		T(answer_survives_unread_input),
		T(endless_headers_end),
		T(garbage_leaves_nothing),
		T(no_content_length_is_answered),
		T(output_is_bounded),
		T(output_at_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
