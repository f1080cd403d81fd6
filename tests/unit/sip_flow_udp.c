/* Flows over UDP. */
#include <arpa/inet.h>

#include "support/sip_box.h"

#define UDP_CONF "[sip]\ntls-port = 0\nudp-port = %u\n"

static void udp_makes_flows(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr to = loopback(ADDR_IP4, port), six = loopback(ADDR_IP6, port), alias;
	struct peer a = udp_peer("127.0.0.1"), b = udp_peer("127.0.0.1"), c = udp_peer("::1");
	char text[1024], expected[64];
	struct sockaddr_in from;
	socklen_t n = sizeof(from);
	struct flow *f;

	configure(fx, &fx->e, UDP_CONF, port);
	fx->e.on_message = ANSWER;
	put_udp(&a, &to, options(text, "a"));
	UNTIL(has(&a, "200 OK"));
	assert_int_equal(fx->e.n_opened, 1);
	f = transport_flow(fx->e.t, fx->e.last);
	assert_int_equal(flow_state(f), FLOW_OPEN);
	assert_int_equal(flow_role(f), FLOW_OUTSIDE);
	assert_false(flow_is_reliable(f));
	snprintf(expected, sizeof(expected), "127.0.0.1:%u", port);
	sent_by_is(f, expected);
	put_udp(&a, &to, options(text, "a2"));
	UNTIL(fx->e.n_messages == 2);
	assert_int_equal(fx->e.n_opened, 1);
	assert_int_equal(fx->e.last, flow_id(f));
	put_udp(&b, &to, options(text, "b"));
	put_udp(&c, &six, options(text, "c"));
	UNTIL(has(&b, "200 OK") && has(&c, "200 OK"));
	assert_int_equal(n_flows(&fx->e), 3);
	/* The answer leaves from the address that was asked, also where the host has several. */
	alias = to;
	alias.ip[3] = 9;
	put_udp(&a, &alias, options(text, "alias"));
	UNTIL(fx->e.n_messages == 5);
	a.n = 0;
	assert_true(recvfrom(a.fd, a.got, sizeof(a.got), 0, (struct sockaddr *)&from, &n) > 0);
	while (n > 0 && ntohl(from.sin_addr.s_addr) != 0x7f000009 &&
	       recvfrom(a.fd, a.got, sizeof(a.got), MSG_DONTWAIT, (struct sockaddr *)&from, &n) > 0)
		;
	assert_int_equal(ntohl(from.sin_addr.s_addr), 0x7f000009);
	hang_up(&a);
	hang_up(&b);
	hang_up(&c);
}

static void udp_garbage_makes_none(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr to = loopback(ADDR_IP4, port);
	struct peer a = udp_peer("127.0.0.1");
	const struct list *listeners;
	char text[1024];
	struct conn *l;

	configure(fx, &fx->e, "[sip]\ntls-port = 0\naddress = 127.0.0.1\nudp-port = %u\n", port);
	listeners = conn_list(fx->e.env.conns, CONN_LISTENER);
	l = CONTAINER_OF(list_first(listeners), struct conn, node);
	for (int i = 0; i < 50; i++)
		put_udp(&a, &to, SLICE("\x01\x02 nonsense"));
	put_udp(&a, &to, SLICE("\r\n\r\n"));
	put_udp(&a, &to, (struct slice){ text, 0 });
	UNTIL(l->rx_packets == 52);
	assert_int_equal(l->n_dropped, 50);
	assert_int_equal(n_flows(&fx->e), 0);
	assert_int_equal(fx->e.n_opened, 0);
	assert_int_equal(trace_count(fx->e.env.trace, "sip.flow.garbage"), 1);
	assert_false(has(&a, "\r\n")); /* no answer to who is unknown */
	/* A known one gets its keep-alive answered. */
	put_udp(&a, &to, options(text, "a"));
	put_udp(&a, &to, SLICE("\r\n\r\n"));
	UNTIL(has(&a, "\r\n"));
	assert_int_equal(a.n, 2);
	/* Bad SIP is told on its flow. */
	options(text, "bad");
	memcpy(strstr(text, "1 OPTIONS"), "1 INVITES", 9);
	put_udp(&a, &to, slice_of(text));
	UNTIL(has(&a, "SIP/2.0 400"));
	hang_up(&a);
}

static void udp_too_big(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr to = loopback(ADDR_IP4, port);
	struct peer a = udp_peer("127.0.0.1");
	char *text = malloc(60000);
	int n;

	configure(fx, &fx->e, UDP_CONF, port);
	n = snprintf(text, 60000, OPTIONS_FMT, "big", (size_t)50000);
	memset(text + n, 'x', 50000);
	put_udp(&a, &to, (struct slice){ text, (size_t)n + 50000 });
	UNTIL(has(&a, "SIP/2.0 513"));
	assert_int_equal(fx->e.last_status, 513);
	assert_int_equal(n_flows(&fx->e), 1);
	free(text);
	hang_up(&a);
}

static void udp_flows_make_room(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr to = loopback(ADDR_IP4, port);
	struct peer p[4];
	uint64_t first;
	char text[1024];

	configure(fx, &fx->e, UDP_CONF "max-connections = 2\n", port);
	for (size_t i = 0; i < 4; i++)
		p[i] = udp_peer("127.0.0.1");
	put_udp(&p[0], &to, options(text, "0"));
	UNTIL(fx->e.n_messages == 1);
	first = fx->e.last;
	put_udp(&p[1], &to, options(text, "1"));
	UNTIL(fx->e.n_messages == 2);
	put_udp(&p[0], &to, options(text, "0")); /* now p[1] is the oldest */
	UNTIL(fx->e.n_messages == 3);
	put_udp(&p[2], &to, options(text, "2"));
	UNTIL(fx->e.n_closed == 1);
	assert_string_equal(fx->e.why, "made room for a newer UDP peer");
	assert_non_null(transport_flow(fx->e.t, first));
	/* Held ones do not give way. */
	flow_hold(transport_flow(fx->e.t, first));
	flow_hold(transport_flow(fx->e.t, fx->e.last));
	put_udp(&p[3], &to, options(text, "3"));
	UNTIL(refused_for(&fx->e, NET_OVER_TOTAL) == 1);
	assert_int_equal(fx->e.n_messages, 4);
	assert_int_equal(n_flows(&fx->e), 2);
	for (size_t i = 0; i < 4; i++)
		hang_up(&p[i]);
}

static void udp_idles_out(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct addr to = loopback(ADDR_IP4, port);
	struct peer p = udp_peer("127.0.0.1");
	char text[1024];

	configure(fx, &fx->e, UDP_CONF "idle-timeout = 1s\n", port);
	put_udp(&p, &to, options(text, "0"));
	UNTIL(fx->e.n_messages == 1);
	UNTIL(fx->e.n_closed == 1);
	assert_string_equal(fx->e.why, "idle for 1 s");
	put_udp(&p, &to, options(text, "0"));
	UNTIL(fx->e.n_opened == 2);
	hang_up(&p);
}

static void udp_dials(void **state)
{
	struct fixture *fx = *state;
	uint16_t port_e = free_port(), port_c = free_port();
	struct flow_dest dest = dest_to(CONN_UDP, ADDR_IP4, port_e);
	char *big = calloc(1, 65508), text[1024];
	struct flow *f;
	int error;

	configure(fx, &fx->e, UDP_CONF, port_e);
	configure(fx, &fx->c, UDP_CONF, port_c);
	fx->e.on_message = ANSWER;
	f = transport_flow_to(fx->c.t, &dest, &error);
	assert_non_null(f);
	assert_int_equal(flow_state(f), FLOW_OPEN);
	assert_int_equal(fx->c.n_opened, 0); /* events come from the loop */
	assert_ptr_equal(transport_flow_to(fx->c.t, &dest, &error), f);
	assert_int_equal(flow_send(f, options(text, "u")), 0);
	UNTIL(fx->c.n_messages == 1);
	assert_int_equal(fx->c.n_opened, 1);
	assert_int_equal(fx->c.last, flow_id(f));
	assert_int_equal(flow_local(f)->port, port_c);
	assert_int_equal(flow_ping(f), 0);
	UNTIL(fx->c.n_pongs == 1);
	assert_int_equal(flow_send(f, (struct slice){ big, 65508 }), -EMSGSIZE);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(udp_makes_flows),	T(udp_garbage_makes_none), T(udp_too_big),
		T(udp_flows_make_room), T(udp_idles_out),	   T(udp_dials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
