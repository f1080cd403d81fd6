#include "core/net.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define UDP_BUFFER_BYTES  (1024 * 1024)
#define MAX_PORT_TRIES	  64
#define KEEPALIVE_IDLE_S  60
#define KEEPALIVE_EVERY_S 15
#define KEEPALIVE_PROBES  4

static void set_int(int fd, int level, int option, int value)
{
	/* Advice to the kernel: a refusal changes speed or delay, not what is right. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int open_socket(const struct addr *a, int type)
{
	int fd, on = 1;

	if (a->family == ADDR_NONE)
		return -EINVAL;
	fd = socket(a->family == ADDR_IP6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return -errno;
	if (a->family == ADDR_IP6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

static int bind_to(int fd, const struct addr *local)
{
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(local, &ss);

	return bind(fd, (struct sockaddr *)&ss, n) < 0 ? -errno : 0;
}

static int listen_tcp(const struct addr *local, int backlog, bool shared)
{
	int fd = open_socket(local, SOCK_STREAM);
	int error;

	if (fd < 0)
		return fd;
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	error = bind_to(fd, local);
	/* Only once it is bound: binding with it would let a second listener have the address too,
	 * and the kernel would deal out connections between the two. */
	if (shared)
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (error == 0 && listen(fd, backlog) < 0)
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

int net_listen_tcp(const struct addr *local, int backlog)
{
	return listen_tcp(local, backlog, false);
}

int net_listen_tcp_shared(const struct addr *local, int backlog)
{
	return listen_tcp(local, backlog, true);
}

int net_bind_udp_sized(const struct addr *local, uint32_t buffer_bytes)
{
	int fd = open_socket(local, SOCK_DGRAM);
	int error;

	if (fd < 0)
		return fd;
	if (buffer_bytes) {
		set_int(fd, SOL_SOCKET, SO_RCVBUF, (int)buffer_bytes);
		set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)buffer_bytes);
	}
	error = bind_to(fd, local);
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

int net_bind_udp(const struct addr *local)
{
	return net_bind_udp_sized(local, UDP_BUFFER_BYTES);
}

static void set_stream_options(int fd)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

/* One attempt from one source port (0: the kernel's choice). */
static int connect_from(const struct addr *to, const struct addr *from, uint16_t port, bool shared)
{
	struct addr local = { .family = to->family };
	struct sockaddr_storage ss;
	socklen_t n;
	int fd = open_socket(to, SOCK_STREAM);
	int error = 0;

	if (fd < 0)
		return fd;
	set_stream_options(fd);
	if (from && from->family != ADDR_NONE)
		local = *from;
	local.port = port;
	if (port != 0) {
		/* A port in TIME_WAIT, or in use toward somebody else, can be taken; only the same
		 * pair of addresses cannot, and then connect() answers EADDRNOTAVAIL. */
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	}
	if (shared)
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (port != 0 || (from && from->family != ADDR_NONE))
		error = bind_to(fd, &local);
	n = addr_to_sockaddr(to, &ss);
	if (error == 0 && connect(fd, (struct sockaddr *)&ss, n) < 0 && errno != EINPROGRESS)
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

int net_connect_tcp(const struct addr *to, const struct addr *from, uint16_t first, uint16_t last)
{
	uint32_t n_ports = (uint32_t)last - first + 1, start;
	int fd = -EADDRINUSE;

	if (to->family == ADDR_NONE || last < first ||
	    (from && from->family != ADDR_NONE && from->family != to->family))
		return -EINVAL;
	if (first == 0)
		return connect_from(to, from, 0, false);
	net_random(&start, sizeof(start));
	for (uint32_t i = 0; i < n_ports && i < MAX_PORT_TRIES; i++) {
		uint16_t port = (uint16_t)(first + (start % n_ports + i) % n_ports);

		fd = connect_from(to, from, port, false);
		if (fd != -EADDRINUSE && fd != -EADDRNOTAVAIL)
			return fd;
	}
	return fd;
}

int net_connect_tcp_shared(const struct addr *to, const struct addr *from)
{
	if (to->family == ADDR_NONE || from->family != to->family || from->port == 0)
		return -EINVAL;
	return connect_from(to, from, from->port, true);
}

int net_accepted(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	set_stream_options(fd);
	return 0;
}

struct addr net_local_addr(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0)
		return (struct addr){ 0 };
	return addr_from_sockaddr((struct sockaddr *)&ss);
}

struct addr net_remote_addr(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);

	if (getpeername(fd, (struct sockaddr *)&ss, &n) < 0)
		return (struct addr){ 0 };
	return addr_from_sockaddr((struct sockaddr *)&ss);
}

int net_source_for(const struct addr *to, struct addr *out)
{
	struct sockaddr_storage ss;
	struct addr target = *to;
	socklen_t n;
	int fd = open_socket(to, SOCK_DGRAM);
	int error = 0;

	if (fd < 0)
		return fd;
	if (target.port == 0)
		target.port = 9; /* any will do: nothing is sent */
	n = addr_to_sockaddr(&target, &ss);
	if (connect(fd, (struct sockaddr *)&ss, n) < 0) {
		error = -errno;
	} else {
		*out = net_local_addr(fd);
		out->port = 0;
	}
	close(fd);
	return error;
}

bool net_is_own_ip(const struct addr *a)
{
	struct ifaddrs *all, *it;
	bool own = false;

	/* The whole of 127/8 is this host, whatever addresses lo carries. */
	if (addr_class(a) == ADDR_LOOPBACK)
		return true;
	if (getifaddrs(&all) < 0)
		return false;
	for (it = all; it && !own; it = it->ifa_next) {
		struct addr have;

		if (!it->ifa_addr)
			continue;
		have = addr_from_sockaddr(it->ifa_addr);
		own = have.family != ADDR_NONE && addr_ip_eq(&have, a);
	}
	freeifaddrs(all);
	return own;
}

static bool listed(const struct addr *ips, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++) {
		if (addr_ip_eq(&ips[i], a))
			return true;
	}
	return false;
}

int net_own_ips(struct addr **out, size_t *n)
{
	struct ifaddrs *all, *it;
	size_t max = 0;

	*n = 0;
	if (getifaddrs(&all) < 0)
		return -errno;
	for (it = all; it; it = it->ifa_next)
		max++;
	*out = calloc(max ? max : 1, sizeof(**out));
	for (it = *out ? all : NULL; it; it = it->ifa_next) {
		struct addr a =
			it->ifa_addr ? addr_from_sockaddr(it->ifa_addr) : (struct addr){ 0 };

		a.port = 0;
		if (a.family != ADDR_NONE && !listed(*out, *n, &a))
			(*out)[(*n)++] = a;
	}
	freeifaddrs(all);
	return *out ? 0 : -ENOMEM;
}

void net_random(void *p, size_t n)
{
	uint8_t *at = p;

	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);

		if (got > 0) {
			at += got;
			n -= (size_t)got;
		} else if (errno != EINTR) {
			/* Tokens and keys that can be guessed are worse than no service. */
			fprintf(stderr, "getrandom: %s: no random numbers from the kernel\n",
				strerror(errno));
			abort();
		}
	}
}
