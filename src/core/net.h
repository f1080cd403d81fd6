#ifndef CORE_NET_H
#define CORE_NET_H
/* Sockets: listeners, connects with a source port range, limits per source. */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct loop;

/* Non-blocking, close-on-exec listening TCP socket with SO_REUSEADDR; IPv6 sockets are IPV6_V6ONLY.
 * Returns the descriptor or negative errno. */
int net_listen_tcp(const struct addr *local, int backlog);
/* The same, and net_connect_tcp_shared() may connect from its very address and port (TCP relays,
 * RFC 6062 section 5.2). A second listener on the address still gets -EADDRINUSE. */
int net_listen_tcp_shared(const struct addr *local, int backlog);
/* Non-blocking UDP socket bound to local; asks for 1 MiB buffers. */
int net_bind_udp(const struct addr *local);
/* As net_bind_udp() with buffers of that many bytes; 0: the kernel's default. */
int net_bind_udp_sized(const struct addr *local, uint32_t buffer_bytes);
/* Starts a non-blocking connect from a free port of [first,last] (0,0: any), chosen at random and
 * tried until one is free (at most 64 tries), with `from` (ADDR_NONE: any) as source address.
 * TCP_NODELAY set. Returns the descriptor (connect in progress) or negative errno. */
int net_connect_tcp(const struct addr *to, const struct addr *from, uint16_t first, uint16_t last);
/* From exactly that address and port, which net_listen_tcp_shared() may listen on. Connected to the
 * same peer already: -EADDRNOTAVAIL. */
int net_connect_tcp_shared(const struct addr *to, const struct addr *from);
/* TCP_NODELAY, keep-alive, non-blocking on an accepted socket. */
int net_accepted(int fd);
struct addr net_local_addr(int fd);
struct addr net_remote_addr(int fd);
/* The address of this host from which `to` would be reached (a connect of a UDP socket, no packet).
 */
int net_source_for(const struct addr *to, struct addr *out);
/* Is it an address of one of this host's interfaces (loopback included)? */
bool net_is_own_ip(const struct addr *a);
/* The addresses of this host's interfaces (port 0, each once), for who asks often; *out is the
 * caller's to free. 0 or negative errno. */
int net_own_ips(struct addr **out, size_t *n);
/* Cryptographically strong random bytes; never fails (aborts the start when the kernel has none).
 */
void net_random(void *p, size_t n);

/* Counts live connections by source (IPv4 address, IPv6 /64) and in total, and new ones per second.
 * A limit of 0 is no limit. */
struct net_limits;
struct net_limits_conf {
	uint32_t max_total;
	uint32_t max_per_source;
	uint32_t new_per_second; /* accept rate, all sources together; burst is twice that */
};
enum net_verdict { NET_OK, NET_OVER_TOTAL, NET_OVER_SOURCE, NET_OVER_RATE };
struct net_limits *net_limits_new(const uint8_t seed[16]);
void net_limits_free(struct net_limits *l);
void net_limits_configure(struct net_limits *l, const struct net_limits_conf *conf);
/* Counts one in when NET_OK. Pure: time is an argument. Without memory: NET_OVER_TOTAL. */
enum net_verdict net_limits_enter(struct net_limits *l, const struct addr *from, int64_t now_ms);
void net_limits_leave(struct net_limits *l, const struct addr *from);
const char *net_verdict_str(enum net_verdict v);

#endif
