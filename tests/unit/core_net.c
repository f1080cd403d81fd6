#include "core/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/alloc_fail.h"
#include "support/free_port.h"

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a = { 0 };

	assert_true(addr_parse_ip(slice_of(text), port, &a));
	return a;
}

static int option(int fd, int level, int name)
{
	int v = -1;
	socklen_t n = sizeof(v);

	assert_int_equal(getsockopt(fd, level, name, &v, &n), 0);
	return v;
}

static void assert_nonblocking_and_closed_on_exec(int fd)
{
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static int wait_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	assert_int_equal(poll(&p, 1, 5000), 1);
	return option(fd, SOL_SOCKET, SO_ERROR);
}

static int wait_accepted(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 5000), 1);
	return accept(listener, NULL, NULL);
}

static void connects_and_accepts(const char *host)
{
	struct addr any = ip(host, 0), to, mine;
	int listener = net_listen_tcp(&any, 16), client, server;

	assert_true(listener >= 0);
	assert_nonblocking_and_closed_on_exec(listener);
	to = net_local_addr(listener);
	assert_int_not_equal(to.port, 0);
	client = net_connect_tcp(&to, NULL, 0, 0);
	assert_true(client >= 0);
	assert_nonblocking_and_closed_on_exec(client);
	assert_int_equal(option(client, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(wait_connected(client), 0);
	server = wait_accepted(listener);
	assert_true(server >= 0);
	assert_int_equal(net_accepted(server), 0);
	assert_nonblocking_and_closed_on_exec(server);
	assert_int_equal(option(server, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(server, SOL_SOCKET, SO_KEEPALIVE), 1);
	mine = net_local_addr(client);
	to = net_remote_addr(server);
	assert_true(addr_eq(&mine, &to));
	close(server);
	close(client);
	close(listener);
}

static void tcp_over_ip4(void **state)
{
	connects_and_accepts("127.0.0.1");
}

static void tcp_over_ip6(void **state)
{
	connects_and_accepts("::1");
}

static void ip6_listeners_leave_ip4_alone(void **state)
{
	struct addr any6 = ip("::", 0), any4 = ip("0.0.0.0", 0);
	int six = net_listen_tcp(&any6, 4), four;

	assert_true(six >= 0);
	any4.port = net_local_addr(six).port;
	four = net_listen_tcp(&any4, 4);
	assert_true(four >= 0);
	close(four);
	close(six);
}

static void a_taken_port_is_an_error(void **state)
{
	struct addr any = ip("127.0.0.1", 0);
	int first = net_listen_tcp(&any, 4);

	any = net_local_addr(first);
	assert_int_equal(net_listen_tcp(&any, 4), -EADDRINUSE);
	close(first);
	first = net_bind_udp(&any);
	assert_true(first >= 0);
	assert_int_equal(net_bind_udp(&any), -EADDRINUSE);
	close(first);
	assert_int_equal(net_listen_tcp(&(struct addr){ 0 }, 4), -EINVAL);
	assert_int_equal(net_bind_udp(&(struct addr){ 0 }), -EINVAL);
}

/* A listener and a run of three ports that nobody holds. */
static int listener_and_range(struct addr *to, uint16_t *first)
{
	struct addr any = ip("127.0.0.1", 0);
	int listener = net_listen_tcp(&any, 16);

	assert_true(listener >= 0);
	*to = net_local_addr(listener);
	*first = free_ports(3);
	return listener;
}

static void source_ports_come_from_the_range_and_run_out(void **state)
{
	struct addr to, from = ip("127.0.0.1", 0);
	uint16_t first;
	int listener = listener_and_range(&to, &first), fds[3];
	unsigned seen = 0;

	for (int i = 0; i < 3; i++) {
		uint16_t port;

		fds[i] = net_connect_tcp(&to, &from, first, (uint16_t)(first + 2));
		assert_true(fds[i] >= 0);
		assert_int_equal(wait_connected(fds[i]), 0);
		port = net_local_addr(fds[i]).port;
		assert_in_range(port, first, first + 2);
		seen |= 1u << (port - first);
	}
	assert_int_equal(seen, 7);
	assert_int_equal(net_connect_tcp(&to, &from, first, (uint16_t)(first + 2)), -EADDRNOTAVAIL);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(listener);
}

static void source_ports_that_others_listen_on_are_passed_over(void **state)
{
	struct addr to, taken;
	uint16_t first;
	int listener = listener_and_range(&to, &first), busy[2], fd;

	for (int i = 0; i < 2; i++) {
		taken = ip("127.0.0.1", (uint16_t)(first + i));
		busy[i] = net_listen_tcp(&taken, 1);
		assert_true(busy[i] >= 0);
	}
	for (int i = 0; i < 8; i++) {
		struct addr from = ip("127.0.0.1", 0);

		fd = net_connect_tcp(&to, &from, first, (uint16_t)(first + 2));
		assert_true(fd >= 0);
		assert_int_equal(net_local_addr(fd).port, first + 2);
		/* Reset instead of TIME_WAIT, so that the next round finds it free. */
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
					    sizeof(struct linger)),
				 0);
		assert_int_equal(wait_connected(fd), 0);
		close(fd);
	}
	close(busy[0]);
	close(busy[1]);
	close(listener);
}

static void the_source_address_is_kept(void **state)
{
	struct addr any = ip("127.0.0.1", 0), from = ip("127.0.0.9", 0), to, got;
	int listener = net_listen_tcp(&any, 4), fd;

	to = net_local_addr(listener);
	fd = net_connect_tcp(&to, &from, 0, 0);
	assert_true(fd >= 0);
	got = net_local_addr(fd);
	assert_true(addr_ip_eq(&got, &from));
	close(fd);
	close(listener);
}

static void bad_connects_are_refused(void **state)
{
	struct addr to = ip("127.0.0.1", 9), from6 = ip("::1", 0);

	assert_int_equal(net_connect_tcp(&(struct addr){ 0 }, NULL, 0, 0), -EINVAL);
	assert_int_equal(net_connect_tcp(&to, &from6, 0, 0), -EINVAL);
	assert_int_equal(net_connect_tcp(&to, NULL, 2000, 1999), -EINVAL);
}

static void knows_where_it_would_send_from(void **state)
{
	struct addr to = ip("127.0.0.7", 0), out;

	assert_int_equal(net_source_for(&to, &out), 0);
	assert_int_equal(addr_class(&out), ADDR_LOOPBACK);
	assert_int_equal(out.port, 0);
	assert_int_equal(net_source_for(&(struct addr){ 0 }, &out), -EINVAL);
}

static void knows_its_own_addresses(void **state)
{
	struct addr a = ip("127.0.0.1", 0), b = ip("127.5.6.7", 80), c = ip("::1", 0),
		    d = ip("192.0.2.77", 0), e = ip("2001:db8::77", 0);

	assert_true(net_is_own_ip(&a));
	assert_true(net_is_own_ip(&b));
	assert_true(net_is_own_ip(&c));
	assert_false(net_is_own_ip(&d));
	assert_false(net_is_own_ip(&e));
}

static void udp_sockets_ask_for_room(void **state)
{
	struct addr any = ip("127.0.0.1", 0);
	int plain = socket(AF_INET, SOCK_DGRAM, 0), fd = net_bind_udp(&any);

	assert_true(fd >= 0);
	assert_nonblocking_and_closed_on_exec(fd);
	assert_true(option(fd, SOL_SOCKET, SO_RCVBUF) >= option(plain, SOL_SOCKET, SO_RCVBUF));
	close(plain);
	close(fd);
}

static void udp_sockets_may_do_without(void **state)
{
	struct addr any = ip("::1", 0);
	int plain = socket(AF_INET6, SOCK_DGRAM, 0), fd = net_bind_udp_sized(&any, 0), small;

	assert_true(fd >= 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_RCVBUF), option(plain, SOL_SOCKET, SO_RCVBUF));
	small = net_bind_udp_sized(&any, 20000);
	assert_int_equal(option(small, SOL_SOCKET, SO_SNDBUF), 40000);
	close(plain);
	close(fd);
	close(small);
}

/* RFC 6062: a relay listens on its address and connects from it. */
static void one_port_listens_and_connects(const char *host)
{
	struct addr any = ip(host, 0), relay, peers[2];
	int listener = net_listen_tcp_shared(&any, 16), at[2], out[2], in, again;

	assert_true(listener >= 0);
	relay = net_local_addr(listener);
	for (int i = 0; i < 2; i++) {
		struct addr seen;
		int got;

		at[i] = net_listen_tcp(&any, 4);
		peers[i] = net_local_addr(at[i]);
		out[i] = net_connect_tcp_shared(&peers[i], &relay);
		assert_true(out[i] >= 0);
		assert_int_equal(wait_connected(out[i]), 0);
		assert_nonblocking_and_closed_on_exec(out[i]);
		got = wait_accepted(at[i]);
		seen = net_remote_addr(got);
		assert_true(addr_eq(&seen, &relay));
		close(got);
	}
	/* And others come in meanwhile. */
	in = net_connect_tcp(&relay, NULL, 0, 0);
	assert_int_equal(wait_connected(in), 0);
	close(wait_accepted(listener));
	close(in);
	/* Once to each peer; nobody else may listen there. */
	assert_int_equal(net_connect_tcp_shared(&peers[0], &relay), -EADDRNOTAVAIL);
	assert_int_equal(net_listen_tcp(&relay, 4), -EADDRINUSE);
	assert_int_equal(net_listen_tcp_shared(&relay, 4), -EADDRINUSE);
	/* The connections outlive the listener, and another one may follow it. */
	close(listener);
	again = net_listen_tcp_shared(&relay, 4);
	assert_true(again >= 0);
	close(again);
	for (int i = 0; i < 2; i++) {
		close(out[i]);
		close(at[i]);
	}
}

static void shared_ports(void **state)
{
	struct addr to = ip("127.0.0.1", 9), portless = ip("127.0.0.1", 0), other = ip("::1", 9);
	struct addr exclusive;
	int fd;

	one_port_listens_and_connects("127.0.0.1");
	one_port_listens_and_connects("::1");
	assert_int_equal(net_connect_tcp_shared(&to, &portless), -EINVAL);
	assert_int_equal(net_connect_tcp_shared(&to, &other), -EINVAL);
	/* Not from under a listener that does not share. */
	fd = net_listen_tcp(&portless, 4);
	exclusive = net_local_addr(fd);
	assert_int_equal(net_connect_tcp_shared(&to, &exclusive), -EADDRINUSE);
	close(fd);
}

static void lists_its_own_addresses(void **state)
{
	struct addr loopback = ip("127.0.0.1", 0), *ips = NULL;
	size_t n = 0;
	bool found = false;

	assert_int_equal(net_own_ips(&ips, &n), 0);
	assert_true(n > 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(ips[i].port, 0);
		assert_true(net_is_own_ip(&ips[i]));
		found = found || addr_eq(&ips[i], &loopback);
		for (size_t j = 0; j < i; j++)
			assert_false(addr_eq(&ips[i], &ips[j]));
	}
	assert_true(found);
	free(ips);
	alloc_fail_at(1);
	assert_int_equal(net_own_ips(&ips, &n), -ENOMEM);
	alloc_fail_at(0);
	assert_int_equal(n, 0);
}

static void random_bytes_differ(void **state)
{
	uint8_t a[32] = { 0 }, b[32] = { 0 };

	net_random(a, sizeof(a));
	net_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	net_random(a, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_over_ip4),
		cmocka_unit_test(tcp_over_ip6),
		cmocka_unit_test(ip6_listeners_leave_ip4_alone),
		cmocka_unit_test(a_taken_port_is_an_error),
		cmocka_unit_test(source_ports_come_from_the_range_and_run_out),
		cmocka_unit_test(source_ports_that_others_listen_on_are_passed_over),
		cmocka_unit_test(the_source_address_is_kept),
		cmocka_unit_test(bad_connects_are_refused),
		cmocka_unit_test(knows_where_it_would_send_from),
		cmocka_unit_test(knows_its_own_addresses),
		cmocka_unit_test(udp_sockets_ask_for_room),
		cmocka_unit_test(udp_sockets_may_do_without),
		cmocka_unit_test(shared_ports),
		cmocka_unit_test(lists_its_own_addresses),
		cmocka_unit_test(random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
