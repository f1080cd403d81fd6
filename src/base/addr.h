#ifndef BASE_ADDR_H
#define BASE_ADDR_H
/*
 * A transport address (IPv4 or IPv6 and a port) in one small value that can be compared with
 * ==-like functions and used as a hash key. IPv4-mapped IPv6 addresses are kept as IPv4
 * (canonical), so that no check can be passed by under another spelling.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/slice.h"

enum addr_family { ADDR_NONE, ADDR_IP4, ADDR_IP6 };

struct addr {
	uint8_t ip[16];	 /* IPv4 in the first four bytes, the rest zero */
	uint16_t port;	 /* host order */
	uint8_t family;	 /* enum addr_family */
	uint8_t zero[5]; /* keeps the value free of padding */
};

struct addr_prefix {
	struct addr net; /* port 0 */
	uint8_t bits;
};

enum addr_class {
	ADDR_GLOBAL,
	ADDR_UNSPECIFIED,
	ADDR_LOOPBACK,
	ADDR_LINK_LOCAL, /* 169.254/16 (metadata service included), fe80::/10 */
	ADDR_PRIVATE,	 /* RFC 1918, 100.64/10, fc00::/7, fec0::/10 */
	ADDR_MULTICAST,
	ADDR_BROADCAST,
	ADDR_RESERVED, /* 0/8, 192.0.0/24, 198.18/15, 240/4, 100::/64, Teredo, local NAT64 */
};

#define ADDR_STR_BYTES 56 /* "[ip6]:65535" and more */

struct addr addr_from_sockaddr(const struct sockaddr *sa);
/* Fills ss and returns its length; 0 for ADDR_NONE. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss);
/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]"; no port, no host names. */
bool addr_parse_ip(struct slice s, uint16_t port, struct addr *out);
/* "192.0.2.1:5060", "[2001:db8::1]:5060"; without a port default_port is used. */
bool addr_parse(struct slice s, uint16_t default_port, struct addr *out);
/* "10.0.0.0/8", "2001:db8::/32", or a single address. */
bool addr_prefix_parse(struct slice s, struct addr_prefix *out);
/* "ip:port" / "[ip6]:port"; "-" for ADDR_NONE. buf must hold ADDR_STR_BYTES. Returns buf. */
const char *addr_str(const struct addr *a, char buf[ADDR_STR_BYTES]);
/* Without the port; IPv6 without brackets. */
const char *addr_ip_str(const struct addr *a, char buf[ADDR_STR_BYTES]);
/* As a host in a SIP or HTTP URI: IPv6 in brackets, no port. */
const char *addr_host_str(const struct addr *a, char buf[ADDR_STR_BYTES]);
bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_ip_eq(const struct addr *a, const struct addr *b);
bool addr_in_prefix(const struct addr *a, const struct addr_prefix *p);
/* The IPv4 address (port 0) that an IPv6 address carries, so that what is reached by it can be
 * judged: compatible (::a.b.c.d, but not :: and ::1), translated (::ffff:0:a.b.c.d, RFC 2765), 6to4
 * (2002::/16), NAT64 (64:ff9b::/96; 64:ff9b:1::/48, RFC 8215, where it is in the last four bytes
 * unless they fit the /48 layout of RFC 6052 2.2), the client of Teredo (2001::/32), ISATAP (RFC
 * 5214 6.1). Mapped addresses are IPv4 already. False when there is none. */
bool addr_embedded_ip4(const struct addr *a, struct addr *out);
/* The class of the address as it stands; a global one that carries an IPv4 address has the class of
 * that. */
enum addr_class addr_class(const struct addr *a);
const char *addr_class_str(enum addr_class c);
/* The bytes to use as a hash key. */
static inline struct slice addr_key(const struct addr *a)
{
	return (struct slice){ (const char *)a, sizeof(*a) };
}

#endif
