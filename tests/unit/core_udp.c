/* UDP sockets of relays over loopback. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/loop.h"
#include "core/net.h"
#include "core/udp.h"
#include "support/alloc_fail.h"

enum { MAX_GOT = 512, MAX_BYTES = 9100, DEADLINE_MS = 5000 };

struct fixture;

struct seen {
	size_t n;
	uint8_t first, last;
	struct addr from;
};

struct icmp_seen {
	struct addr peer;
	uint8_t type, code;
	uint32_t mtu;
};

/* A socket and what it does with packets. */
struct side {
	struct fixture *fx;
	struct udp_socket *s;
	struct seen got[MAX_GOT];
	unsigned n_got;
	struct icmp_seen icmp[32];
	unsigned n_icmp;
	struct side *relay; /* packets go out there, to relay_to */
	struct addr relay_to;
	unsigned n_relays;    /* how often each; 0: once */
	int room_before;      /* bytes put before the packet */
	unsigned close_after; /* packets, then it closes... */
	struct side *closes;  /* ...this one */
	bool reopens;	      /* and a new one comes in its place at once */
	bool copies;
};

struct fixture {
	struct loop *loop;
	struct udp_pool *pool;
	struct side a, b, c;
	int raw; /* a socket that is not of the pool */
	struct addr raw_at;
};

static struct addr addr_of(const char *ip, uint16_t port)
{
	struct addr a = { 0 };

	assert_true(addr_parse_ip(slice_of(ip), port, &a));
	return a;
}

static void close_side(struct side *x)
{
	udp_socket_close(x->s);
	x->s = NULL;
}

static void open_side(struct fixture *fx, struct side *x, const char *ip, bool icmp);

static void relay(struct side *x, struct udp_packet *pkt)
{
	uint8_t *p = pkt->p - x->room_before;
	unsigned times = x->n_relays ? x->n_relays : 1;

	for (int i = 0; i < x->room_before; i++)
		p[i] = (uint8_t)(0xf0 + i);
	while (times-- > 0 && x->relay->s) {
		uint8_t copy[MAX_BYTES];

		if (x->copies)
			memcpy(copy, p, pkt->n);
		udp_socket_send(x->relay->s, &x->relay_to, x->copies ? copy : p,
				pkt->n + (size_t)x->room_before);
		memset(copy, 0xee, pkt->n);
	}
}

static void on_input(void *arg, struct udp_packet *pkt)
{
	struct side *x = arg;
	struct seen *seen = &x->got[x->n_got % MAX_GOT];

	x->n_got++;
	seen->n = pkt->n;
	seen->first = pkt->n ? pkt->p[0] : 0;
	seen->last = pkt->n ? pkt->p[pkt->n - 1] : 0;
	seen->from = pkt->from;
	assert_true(pkt->now_us > 0);
	if (x->relay)
		relay(x, pkt);
	/* All of the room is ours. */
	if (!x->relay) {
		memset(pkt->p - UDP_HEADROOM, 0xaa, UDP_HEADROOM);
		memset(pkt->p + pkt->n, 0xbb, UDP_TAILROOM);
	}
	if (x->closes && x->n_got == x->close_after) {
		struct side *gone = x->closes;

		close_side(gone);
		if (gone->reopens)
			open_side(x->fx, gone, "127.0.0.1", false);
	}
}

static void on_icmp(void *arg, const struct addr *peer, uint8_t type, uint8_t code, uint32_t mtu)
{
	struct side *x = arg;

	if (x->n_icmp < 32)
		x->icmp[x->n_icmp] = (struct icmp_seen){ *peer, type, code, mtu };
	x->n_icmp++;
	if (x->closes && x->n_icmp == x->close_after)
		close_side(x->closes);
}

static const struct udp_handler plain = { .input = on_input };
static const struct udp_handler with_icmp = { .input = on_input, .icmp = on_icmp };

static struct udp_socket_conf conf_of(struct side *x, const char *ip, bool icmp)
{
	return (struct udp_socket_conf){
		.local = addr_of(ip, 0), .dscp = -1, .handler = icmp ? &with_icmp : &plain, .arg = x
	};
}

static void open_side(struct fixture *fx, struct side *x, const char *ip, bool icmp)
{
	struct udp_socket_conf c = conf_of(x, ip, icmp);
	int error = 1;

	x->fx = fx;
	x->s = udp_socket_open(fx->pool, &c, &error);
	assert_non_null(x->s);
	assert_int_equal(error, 0);
	assert_int_not_equal(udp_socket_local(x->s)->port, 0);
}

static struct addr at(const struct side *x)
{
	return *udp_socket_local(x->s);
}

static void open_raw(struct fixture *fx, const char *ip)
{
	struct addr local = addr_of(ip, 0);

	fx->raw = net_bind_udp(&local);
	assert_true(fx->raw >= 0);
	fx->raw_at = net_local_addr(fx->raw);
}

static int set_up(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));

	fx->loop = loop_new();
	fx->pool = udp_pool_new(fx->loop);
	fx->raw = -1;
	assert_true(fx->loop && fx->pool);
	*state = fx;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fx = *state;

	close_side(&fx->a);
	close_side(&fx->b);
	close_side(&fx->c);
	if (fx->raw >= 0)
		close(fx->raw);
	udp_pool_free(fx->pool);
	loop_free(fx->loop);
	free(fx);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define UNTIL(fx, condition)                                            \
	do {                                                            \
		int64_t end_ms = now_ms() + DEADLINE_MS;                \
		while (!(condition)) {                                  \
			assert_true(now_ms() < end_ms);                 \
			assert_int_equal(loop_once((fx)->loop, 10), 0); \
		}                                                       \
	} while (0)

/* n bytes that begin with `mark` and end with its complement. */
static void raw_send(struct fixture *fx, const struct addr *to, uint8_t mark, size_t n)
{
	static uint8_t bytes[65000];
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(to, &ss);

	memset(bytes, mark, n);
	if (n > 1)
		bytes[n - 1] = (uint8_t)~mark;
	assert_int_equal(sendto(fx->raw, bytes, n, 0, (struct sockaddr *)&ss, len), n);
}

static ssize_t raw_recv(struct fixture *fx, uint8_t *p, size_t n)
{
	ssize_t got;

	UNTIL(fx, (got = recv(fx->raw, p, n, MSG_DONTWAIT)) >= 0);
	return got;
}

static void check_run(const struct side *x, unsigned n, size_t bytes)
{
	assert_int_equal(x->n_got, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(x->got[i].n, bytes);
		assert_int_equal(x->got[i].first, (uint8_t)i);
		assert_int_equal(x->got[i].last, (uint8_t) ~(uint8_t)i);
	}
}

/* --- in and out --- */

/* raw -> a, out of b -> c */
static void relay_run(struct fixture *fx, const char *ip, unsigned n, size_t bytes)
{
	struct addr b_at, a_at;

	open_side(fx, &fx->a, ip, false);
	open_side(fx, &fx->b, ip, false);
	open_side(fx, &fx->c, ip, false);
	open_raw(fx, ip);
	fx->a.relay = &fx->b;
	fx->a.relay_to = at(&fx->c);
	a_at = at(&fx->a);
	b_at = at(&fx->b);
	for (unsigned i = 0; i < n; i++)
		raw_send(fx, &a_at, (uint8_t)i, bytes);
	UNTIL(fx, fx->c.n_got == n);
	check_run(&fx->a, n, bytes);
	check_run(&fx->c, n, bytes);
	assert_true(addr_eq(&fx->a.got[0].from, &fx->raw_at));
	assert_true(addr_eq(&fx->c.got[0].from, &b_at));
}

static void relays_ip4(void **state)
{
	struct fixture *fx = *state;
	struct udp_stats st;

	/* More than a batch, and more than there are slots. */
	relay_run(fx, "127.0.0.1", 150, 200);
	st = udp_pool_stats(fx->pool);
	assert_int_equal(st.n_in, 300);
	assert_int_equal(st.n_out, 150);
	assert_int_equal(st.n_truncated + st.n_send_failed, 0);
	/* Runs leave in few system calls. */
	assert_true(st.n_send_calls <= 20);
}

static void relays_ip6(void **state)
{
	relay_run(*state, "::1", 60, 1200);
}

static void relays_the_longest(void **state)
{
	relay_run(*state, "127.0.0.1", 8, UDP_PACKET_BYTES);
}

static void relays_copies(void **state)
{
	struct fixture *fx = *state;
	struct addr a_at;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_side(fx, &fx->c, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	fx->a.relay = &fx->b;
	fx->a.relay_to = at(&fx->c);
	fx->a.copies = true;
	/* More than there is room for in one turn. */
	fx->a.n_relays = 3;
	a_at = at(&fx->a);
	for (unsigned i = 0; i < 25; i++)
		raw_send(fx, &a_at, (uint8_t)i, 1200);
	UNTIL(fx, fx->c.n_got == 75);
	for (unsigned i = 0; i < 75; i++) {
		assert_int_equal(fx->c.got[i].first, i / 3);
		assert_int_equal(fx->c.got[i].last, (uint8_t) ~(i / 3));
	}
}

static void drops_what_is_too_long(void **state)
{
	struct fixture *fx = *state;
	struct addr a_at;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	a_at = at(&fx->a);
	raw_send(fx, &a_at, 0, UDP_PACKET_BYTES);
	raw_send(fx, &a_at, 0xff, UDP_PACKET_BYTES + 1);
	raw_send(fx, &a_at, 1, 1);
	UNTIL(fx, fx->a.n_got == 2);
	assert_int_equal(fx->a.got[0].n, UDP_PACKET_BYTES);
	assert_int_equal(fx->a.got[1].n, 1);
	assert_int_equal(udp_pool_stats(fx->pool).n_truncated, 1);
	assert_int_equal(udp_pool_stats(fx->pool).n_in, 3);
}

static void empty_packets(void **state)
{
	struct fixture *fx = *state;
	struct addr a_at;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	fx->a.relay = &fx->b;
	fx->a.relay_to = fx->raw_at;
	a_at = at(&fx->a);
	for (int i = 0; i < 3; i++)
		raw_send(fx, &a_at, 0, 0);
	for (int i = 0; i < 3; i++) {
		uint8_t got[10];

		assert_int_equal(raw_recv(fx, got, sizeof(got)), 0);
	}
}

static void room_before_the_packet(void **state)
{
	struct fixture *fx = *state;
	struct addr a_at;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	fx->a.relay = &fx->b;
	fx->a.relay_to = fx->raw_at;
	fx->a.room_before = UDP_HEADROOM;
	a_at = at(&fx->a);
	for (uint8_t i = 0; i < 5; i++)
		raw_send(fx, &a_at, i, 50);
	for (uint8_t i = 0; i < 5; i++) {
		uint8_t got[200];

		assert_int_equal(raw_recv(fx, got, sizeof(got)), 50 + UDP_HEADROOM);
		assert_int_equal(got[0], 0xf0);
		assert_int_equal(got[UDP_HEADROOM], i);
	}
}

/* One packet to many, and more sends than there is room to note them. */
static void fans_out(void **state)
{
	struct fixture *fx = *state;
	struct addr a_at;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_side(fx, &fx->c, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	fx->a.relay = &fx->b;
	fx->a.relay_to = at(&fx->c);
	fx->a.n_relays = 50;
	a_at = at(&fx->a);
	for (uint8_t i = 0; i < 4; i++)
		raw_send(fx, &a_at, i, 100);
	UNTIL(fx, fx->c.n_got == 200);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(fx->c.got[i].first, i / 50);
}

/* Sizes and addresses that change, some sent with DF: the order of a socket stays. */
static void keeps_the_order(void **state)
{
	static const uint16_t sizes[] = { 100, 100, 100, 40,  40, 100, 100, 101, 101, 1,
					  1,   1,   0,	 700, 0,  700, 700, 300, 300, 300 };
	struct fixture *fx = *state;
	unsigned n_b = 0, n_c = 0;
	uint8_t bytes[1000];

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_side(fx, &fx->c, "127.0.0.1", false);
	for (unsigned i = 0; i < 120; i++) {
		bool to_b = i % 7 < 4;
		struct addr to = at(to_b ? &fx->b : &fx->c);

		memset(bytes, (int)(to_b ? n_b++ : n_c++), sizeof(bytes));
		if (i % 11 == 5)
			udp_socket_send_df(fx->a.s, &to, bytes, sizes[i % 20]);
		else
			udp_socket_send(fx->a.s, &to, bytes, sizes[i % 20]);
	}
	UNTIL(fx, fx->b.n_got == n_b && fx->c.n_got == n_c);
	for (unsigned i = 0; i < n_b; i++)
		assert_true(fx->b.got[i].n == 0 || fx->b.got[i].first == i);
	for (unsigned i = 0; i < n_c; i++)
		assert_true(fx->c.got[i].n == 0 || fx->c.got[i].first == i);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_failed, 0);
}

/* The longest datagrams there are cannot be kept: they go at once, behind what waits. */
static void long_ones_in_order(void **state)
{
	static uint8_t bytes[65507];
	static uint8_t got[65507];
	struct fixture *fx = *state;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	bytes[0] = 1;
	udp_socket_send(fx->a.s, &fx->raw_at, bytes, 10);
	bytes[0] = 2;
	udp_socket_send(fx->a.s, &fx->raw_at, bytes, sizeof(bytes));
	bytes[0] = 3;
	udp_socket_send_df(fx->a.s, &fx->raw_at, bytes, UDP_PACKET_BYTES + 1);
	bytes[0] = 4;
	udp_socket_send(fx->a.s, &fx->raw_at, bytes, UDP_PACKET_BYTES);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), 10);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), sizeof(bytes));
	assert_int_equal(got[0], 2);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), UDP_PACKET_BYTES + 1);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), UDP_PACKET_BYTES);
	assert_int_equal(got[0], 4);
	/* Longer than any datagram. */
	udp_socket_send(fx->a.s, &fx->raw_at, bytes, 65508);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_failed, 1);
	assert_int_equal(udp_pool_stats(fx->pool).n_out, 4);
}

static void refuses_addresses_of_no_use(void **state)
{
	struct fixture *fx = *state;
	struct addr none = { 0 }, ip6 = addr_of("::1", 9), portless = addr_of("127.0.0.1", 0);

	open_side(fx, &fx->a, "127.0.0.1", false);
	udp_socket_send(fx->a.s, &none, "x", 1);
	udp_socket_send(fx->a.s, &ip6, "x", 1);
	udp_socket_send(fx->a.s, &portless, "x", 1);
	udp_pool_flush(fx->pool);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_failed, 3);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_calls, 0);
}

static void flush_sends_at_once(void **state)
{
	struct fixture *fx = *state;
	uint8_t got[16];

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	udp_socket_send(fx->a.s, &fx->raw_at, "now", 3);
	assert_int_equal(recv(fx->raw, got, sizeof(got), MSG_DONTWAIT), -1);
	udp_pool_flush(fx->pool);
	assert_int_equal(recv(fx->raw, got, sizeof(got), MSG_DONTWAIT), 3);
	/* Nothing is sent twice. */
	loop_once(fx->loop, 0);
	assert_int_equal(recv(fx->raw, got, sizeof(got), MSG_DONTWAIT), -1);
}

/* A socket with much to read does not keep the others waiting. */
static void nobody_starves(void **state)
{
	struct fixture *fx = *state;
	struct addr a_at, b_at;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	a_at = at(&fx->a);
	b_at = at(&fx->b);
	for (unsigned i = 0; i < 200; i++)
		raw_send(fx, &a_at, (uint8_t)i, 10);
	raw_send(fx, &b_at, 0, 10);
	UNTIL(fx, fx->b.n_got == 1);
	assert_true(fx->a.n_got <= 64);
	UNTIL(fx, fx->a.n_got == 200);
	check_run(&fx->a, 200, 10);
}

/* --- life --- */

static void address_in_use(void **state)
{
	struct fixture *fx = *state;
	struct udp_socket_conf c = conf_of(&fx->b, "127.0.0.1", false);
	int error = 0;

	open_side(fx, &fx->a, "127.0.0.1", false);
	c.local = at(&fx->a);
	assert_null(udp_socket_open(fx->pool, &c, &error));
	assert_int_equal(error, -EADDRINUSE);
	c.local = addr_of("192.0.2.1", 0);
	assert_null(udp_socket_open(fx->pool, &c, &error));
	assert_int_equal(error, -EADDRNOTAVAIL);
	udp_socket_close(NULL);
	udp_pool_free(NULL);
}

static int option_of(const struct side *x, int level, int option)
{
	int value = -1;

	/* The newest descriptors are the highest. */
	for (int fd = 100; fd > 2; fd--) {
		struct addr local = net_local_addr(fd);
		socklen_t n = sizeof(value);

		if (addr_eq(&local, udp_socket_local(x->s)) &&
		    getsockopt(fd, level, option, &value, &n) == 0)
			return value;
	}
	return value;
}

static void options(void **state)
{
	struct fixture *fx = *state;
	struct udp_socket_conf c = conf_of(&fx->a, "127.0.0.1", true);
	int error;

	c.dscp = 46;
	c.clear_df = true;
	fx->a.s = udp_socket_open(fx->pool, &c, &error);
	c = conf_of(&fx->b, "::1", false);
	c.dscp = 34;
	c.clear_df = true;
	c.buffer_bytes = 100000;
	fx->b.s = udp_socket_open(fx->pool, &c, &error);
	assert_true(fx->a.s && fx->b.s);
	assert_int_equal(option_of(&fx->a, IPPROTO_IP, IP_TOS), 46 << 2);
	assert_int_equal(option_of(&fx->a, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
	assert_int_equal(option_of(&fx->a, IPPROTO_IP, IP_RECVERR), 1);
	assert_int_equal(option_of(&fx->b, IPPROTO_IPV6, IPV6_TCLASS), 34 << 2);
	assert_int_equal(option_of(&fx->b, IPPROTO_IPV6, IPV6_RECVERR), 0);
	assert_int_equal(option_of(&fx->b, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	assert_int_equal(option_of(&fx->b, SOL_SOCKET, SO_RCVBUF), 200000);
}

static void close_sends_first(void **state)
{
	struct fixture *fx = *state;
	uint8_t got[16];

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	udp_socket_send(fx->b.s, &fx->raw_at, "other", 5);
	udp_socket_send(fx->a.s, &fx->raw_at, "last", 4);
	close_side(&fx->a);
	assert_int_equal(recv(fx->raw, got, sizeof(got), MSG_DONTWAIT), 4);
	assert_memory_equal(got, "last", 4);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), 5);
}

/* Closes x in the callback of the third of eight packets of `from`'s batch. */
static void close_in_batch(struct fixture *fx, struct side *from, struct side *x)
{
	struct addr to = at(from);

	from->closes = x;
	from->close_after = 3;
	for (uint8_t i = 0; i < 8; i++)
		raw_send(fx, &to, i, 20);
}

static void close_itself_in_a_batch(void **state)
{
	struct fixture *fx = *state;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	close_in_batch(fx, &fx->a, &fx->a);
	UNTIL(fx, !fx->a.s);
	loop_once(fx->loop, 0);
	assert_int_equal(fx->a.n_got, 3);
}

/* The new socket may well lie where the old one lay: it must not get the rest of its batch. */
static void reopen_itself_in_a_batch(void **state)
{
	struct fixture *fx = *state;
	struct addr a_at;

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	fx->a.reopens = true;
	close_in_batch(fx, &fx->a, &fx->a);
	UNTIL(fx, fx->a.n_got == 3);
	loop_once(fx->loop, 0);
	assert_int_equal(fx->a.n_got, 3);
	a_at = at(&fx->a);
	raw_send(fx, &a_at, 9, 20);
	UNTIL(fx, fx->a.n_got == 4);
}

/* b has packets waiting in the same turn, and sends queued, when it goes. */
static void close_another_in_a_batch(void **state)
{
	struct fixture *fx = *state;
	struct addr b_at;
	uint8_t got[100];

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_side(fx, &fx->b, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	b_at = at(&fx->b);
	fx->a.relay = &fx->b;
	fx->a.relay_to = fx->raw_at;
	close_in_batch(fx, &fx->a, &fx->b);
	raw_send(fx, &b_at, 7, 20);
	UNTIL(fx, fx->a.n_got == 8);
	/* The loop may have looked at b first. */
	assert_true(fx->b.n_got <= 1);
	for (uint8_t i = 0; i < 3; i++) {
		assert_int_equal(raw_recv(fx, got, sizeof(got)), 20);
		assert_int_equal(got[0], i);
	}
	assert_int_equal(recv(fx->raw, got, sizeof(got), MSG_DONTWAIT), -1);
}

/* --- errors --- */

static struct addr closed_port(const char *ip)
{
	struct addr local = addr_of(ip, 0), at_;
	int fd = net_bind_udp(&local);

	assert_true(fd >= 0);
	at_ = net_local_addr(fd);
	close(fd);
	return at_;
}

static int64_t cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
	       u.ru_stime.tv_usec;
}

static void unreachable(struct fixture *fx, const char *ip, uint8_t type, uint8_t code)
{
	struct addr gone = closed_port(ip);
	uint8_t got[100];
	struct loop_stats before;

	open_side(fx, &fx->a, ip, true);
	open_raw(fx, ip);
	udp_socket_send(fx->a.s, &gone, "anybody?", 8);
	/* These meet the error of the first one, and must not be lost for it. */
	for (int i = 0; i < 5; i++)
		udp_socket_send(fx->a.s, &fx->raw_at, "here", 4);
	UNTIL(fx, fx->a.n_icmp == 1);
	assert_true(addr_eq(&fx->a.icmp[0].peer, &gone));
	assert_int_equal(fx->a.icmp[0].type, type);
	assert_int_equal(fx->a.icmp[0].code, code);
	assert_int_equal(fx->a.icmp[0].mtu, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(raw_recv(fx, got, sizeof(got)), 4);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_failed, 0);
	assert_int_equal(udp_pool_stats(fx->pool).n_out, 6);
	/* Nothing is left that would wake us. */
	before = loop_stats(fx->loop);
	assert_int_equal(loop_once(fx->loop, 30), 0);
	assert_int_equal(loop_stats(fx->loop).n_turns, before.n_turns + 1);
	assert_int_equal(fx->a.n_icmp, 1);
}

static void unreachable_ip4(void **state)
{
	unreachable(*state, "127.0.0.1", ICMP_DEST_UNREACH, ICMP_PORT_UNREACH);
}

static void unreachable_ip6(void **state)
{
	unreachable(*state, "::1", ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOPORT);
}

/* Also with input that never ends, and many errors at once. */
static void errors_do_not_spin(void **state)
{
	struct fixture *fx = *state;
	struct addr gone = closed_port("127.0.0.1"), a_at;
	int64_t used;

	open_side(fx, &fx->a, "127.0.0.1", true);
	open_raw(fx, "127.0.0.1");
	a_at = at(&fx->a);
	for (int i = 0; i < 40; i++) {
		udp_socket_send(fx->a.s, &gone, "?", 1);
		udp_pool_flush(fx->pool);
		raw_send(fx, &a_at, (uint8_t)i, 10);
	}
	UNTIL(fx, fx->a.n_got == 40 && fx->a.n_icmp > 0);
	for (int i = 0; i < 10; i++)
		loop_once(fx->loop, 0);
	used = cpu_us();
	loop_once(fx->loop, 60);
	loop_once(fx->loop, 60);
	assert_true(cpu_us() - used < 20000);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_failed, 0);
}

/* A socket that does not ask for errors hears none and loses nothing. */
static void errors_not_asked_for(void **state)
{
	struct fixture *fx = *state;
	struct addr gone = closed_port("127.0.0.1");
	uint8_t got[10];

	open_side(fx, &fx->a, "127.0.0.1", false);
	open_raw(fx, "127.0.0.1");
	udp_socket_send(fx->a.s, &gone, "?", 1);
	udp_pool_flush(fx->pool);
	udp_socket_send(fx->a.s, &fx->raw_at, "here", 4);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), 4);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_failed, 0);
}

static void close_itself_at_an_error(void **state)
{
	struct fixture *fx = *state;
	struct addr gone = closed_port("127.0.0.1");

	open_side(fx, &fx->a, "127.0.0.1", true);
	fx->a.closes = &fx->a;
	fx->a.close_after = 1;
	for (int i = 0; i < 3; i++) {
		udp_socket_send(fx->a.s, &gone, "?", 1);
		udp_pool_flush(fx->pool);
	}
	UNTIL(fx, !fx->a.s);
	loop_once(fx->loop, 0);
	assert_int_equal(fx->a.n_icmp, 1);
}

/* --- memory --- */

static void run_without_memory(void *arg)
{
	struct loop *loop = arg;
	struct udp_pool *p = udp_pool_new(loop);
	struct side x = { 0 };
	struct udp_socket_conf c = conf_of(&x, "127.0.0.1", true);
	struct udp_socket *s;
	int error = 0;

	if (!p)
		return;
	s = udp_socket_open(p, &c, &error);
	assert_true(s ? error == 0 : error == -ENOMEM);
	if (s) {
		struct addr to = *udp_socket_local(s);

		/* No packet takes memory. */
		for (int i = 0; i < 5; i++)
			udp_socket_send(s, &to, "x", 1);
		udp_pool_flush(p);
		loop_once(loop, 0);
		assert_int_equal(x.n_got, 5);
	}
	udp_socket_close(s);
	udp_pool_free(p);
}

static void without_memory(void **state)
{
	struct loop *loop = loop_new();

	assert_int_equal(alloc_fail_sweep(run_without_memory, loop), 3);
	loop_free(loop);
}

/* --- a narrow path: a net of our own, whose loopback carries 1280 bytes. Last: no way back --- */

static bool enter_narrow_net(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	int fd;
	bool ok;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	r.ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;
	ok = ioctl(fd, SIOCSIFFLAGS, &r) == 0;
	r.ifr_mtu = 1280;
	ok = ok && ioctl(fd, SIOCSIFMTU, &r) == 0;
	close(fd);
	return ok;
}

static void narrow(struct fixture *fx, const char *ip, uint8_t type, uint8_t code)
{
	static uint8_t bytes[2000];
	uint8_t got[3000];
	struct udp_stats st;

	open_side(fx, &fx->a, ip, true);
	open_raw(fx, ip);
	udp_socket_send(fx->a.s, &fx->raw_at, bytes, 2000);
	udp_socket_send_df(fx->a.s, &fx->raw_at, bytes, 1999);
	udp_socket_send_df(fx->a.s, &fx->raw_at, bytes, 1100);
	/* DF is of one packet, not of the socket. */
	udp_socket_send(fx->a.s, &fx->raw_at, bytes, 1998);
	UNTIL(fx, fx->a.n_icmp == 1);
	assert_true(addr_eq(&fx->a.icmp[0].peer, &fx->raw_at));
	assert_int_equal(fx->a.icmp[0].type, type);
	assert_int_equal(fx->a.icmp[0].code, code);
	assert_int_equal(fx->a.icmp[0].mtu, 1280);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), 2000);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), 1100);
	assert_int_equal(raw_recv(fx, got, sizeof(got)), 1998);
	st = udp_pool_stats(fx->pool);
	assert_int_equal(st.n_out, 3);
	assert_int_equal(st.n_send_failed, 1);
	/* The kernel segments into what fits the path only: longer runs go one by one, and from
	 * then on without asking it again; shorter ones are still segmented. */
	for (int i = 0; i < 20; i++)
		udp_socket_send(fx->a.s, &fx->raw_at, bytes, 1500);
	udp_pool_flush(fx->pool);
	for (int i = 0; i < 20; i++)
		assert_int_equal(raw_recv(fx, got, sizeof(got)), 1500);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_failed, 1);
	st = udp_pool_stats(fx->pool);
	for (int i = 0; i < 20; i++)
		udp_socket_send(fx->a.s, &fx->raw_at, bytes, 1500);
	udp_pool_flush(fx->pool);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_calls, st.n_send_calls + 1);
	for (int i = 0; i < 20; i++)
		assert_int_equal(raw_recv(fx, got, sizeof(got)), 1500);
	for (int i = 0; i < 20; i++)
		udp_socket_send(fx->a.s, &fx->raw_at, bytes, 1000);
	udp_pool_flush(fx->pool);
	assert_int_equal(udp_pool_stats(fx->pool).n_send_calls, st.n_send_calls + 2);
	for (int i = 0; i < 20; i++)
		assert_int_equal(raw_recv(fx, got, sizeof(got)), 1000);
}

/* An Ethernet on which nobody answers: what is sent waits for its neighbour's address and fills the
 * socket's buffer. -1: the host has no such thing. */
static int silent_net(void)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct sockaddr_in *in = (void *)&r.ifr_addr;
	int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC), fd;
	bool ok;

	if (tap < 0 || ioctl(tap, TUNSETIFF, &r) < 0) {
		close(tap);
		return -1;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1/24 */
	ok = ioctl(fd, SIOCSIFADDR, &r) == 0;
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	ok = ok && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
	close(fd);
	assert_true(ok);
	return tap;
}

static void buffer_full_is_loss(void **state)
{
	struct fixture *fx = *state;
	struct udp_socket_conf c = conf_of(&fx->a, "0.0.0.0", true);
	struct addr nobody = addr_of("192.0.2.2", 9);
	int tap = enter_narrow_net() ? silent_net() : -1, error;
	uint8_t bytes[1000] = { 0 };
	struct udp_stats st;

	if (tap < 0)
		skip();
	c.buffer_bytes = 1; /* the smallest there is */
	fx->a.s = udp_socket_open(fx->pool, &c, &error);
	assert_non_null(fx->a.s);
	open_raw(fx, "127.0.0.1");
	for (unsigned i = 0; i < 60; i++)
		udp_socket_send(fx->a.s, &nobody, bytes, 500 + i);
	udp_socket_send(fx->a.s, &fx->raw_at, bytes, 10);
	udp_pool_flush(fx->pool);
	st = udp_pool_stats(fx->pool);
	assert_int_equal(st.n_out + st.n_send_failed, 61);
	assert_true(st.n_out > 0 && st.n_out < 20);
	/* One look was enough. */
	assert_true(st.n_send_calls <= 3);
	close(tap);
}

static void narrow_path(void **state)
{
	struct fixture *fx = *state;

	if (!enter_narrow_net())
		skip();
	narrow(fx, "127.0.0.1", ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED);
	tear_down(state);
	set_up(state);
	narrow(*state, "::1", ICMP6_PACKET_TOO_BIG, 0);
}

#define WITH_POOL(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_POOL(relays_ip4),
		WITH_POOL(relays_ip6),
		WITH_POOL(relays_the_longest),
		WITH_POOL(relays_copies),
		WITH_POOL(drops_what_is_too_long),
		WITH_POOL(empty_packets),
		WITH_POOL(room_before_the_packet),
		WITH_POOL(fans_out),
		WITH_POOL(keeps_the_order),
		WITH_POOL(long_ones_in_order),
		WITH_POOL(refuses_addresses_of_no_use),
		WITH_POOL(flush_sends_at_once),
		WITH_POOL(nobody_starves),
		WITH_POOL(address_in_use),
		WITH_POOL(options),
		WITH_POOL(close_sends_first),
		WITH_POOL(close_itself_in_a_batch),
		WITH_POOL(reopen_itself_in_a_batch),
		WITH_POOL(close_another_in_a_batch),
		WITH_POOL(unreachable_ip4),
		WITH_POOL(unreachable_ip6),
		WITH_POOL(errors_do_not_spin),
		WITH_POOL(errors_not_asked_for),
		WITH_POOL(close_itself_at_an_error),
		cmocka_unit_test(without_memory),
		WITH_POOL(narrow_path),
		WITH_POOL(buffer_full_is_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
