#ifndef TESTS_SUPPORT_FREE_PORT_H
#define TESTS_SUPPORT_FREE_PORT_H
/*
 * Ports for servers that a test starts later. They lie below those that the kernel gives to whoever
 * asks for any (ip_local_port_range), so that no connection takes them in between; each process has
 * a block of its own, held by a name in the abstract namespace of Unix sockets for as long as it
 * lives, so that no test beside it takes them either; and none is given twice before the block has
 * been gone through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/slice.h"
#include "core/net.h"

#define FREE_PORT_FIRST 10000
#define FREE_PORT_BLOCK 200
#define FREE_PORT_LAST	19999

static inline uint16_t free_port_block(void)
{
	enum { BLOCKS = (FREE_PORT_LAST + 1 - FREE_PORT_FIRST) / FREE_PORT_BLOCK };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	for (int i = 0; i < BLOCKS; i++) {
		struct sockaddr_un un = { .sun_family = AF_UNIX };
		int block = (getpid() + i) % BLOCKS;
		int n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "turnpike-test-ports-%d",
				 block);

		if (bind(fd, (struct sockaddr *)&un,
			 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0)
			return (uint16_t)(FREE_PORT_FIRST + block * FREE_PORT_BLOCK);
	}
	fail_msg("every block of ports is in use");
	return 0;
}

/* Whether nobody has this port of 127.0.0.1, neither for TCP nor for UDP. */
static inline bool port_is_free(uint16_t port)
{
	struct addr a;
	int tcp, udp;

	assert_true(addr_parse_ip(SLICE("127.0.0.1"), port, &a));
	tcp = net_listen_tcp(&a, 1);
	udp = net_bind_udp(&a);
	if (tcp >= 0)
		close(tcp);
	if (udp >= 0)
		close(udp);
	return tcp >= 0 && udp >= 0;
}

/* The first of n (1-150) ports in a row. */
static inline uint16_t free_ports(unsigned n)
{
	static uint16_t block, next;

	if (!block)
		block = next = free_port_block();
	for (int tries = 0; tries < 2 * FREE_PORT_BLOCK; tries++) {
		unsigned k = 0;

		if (next + n > (unsigned)block + FREE_PORT_BLOCK)
			next = block;
		while (k < n && port_is_free((uint16_t)(next + k)))
			k++;
		next = (uint16_t)(next + (k == n ? n : k + 1));
		if (k == n)
			return (uint16_t)(next - n);
	}
	fail_msg("no %u free ports in a row", n);
	return 0;
}

static inline uint16_t free_port(void)
{
	return free_ports(1);
}

#endif
