#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static struct addr make(const uint8_t *ip, size_t n, uint16_t port)
{
	struct addr a = { .port = port, .family = n == 4 ? ADDR_IP4 : ADDR_IP6 };

	if (n == 16 && memcmp(ip, mapped_prefix, sizeof(mapped_prefix)) == 0)
		return make(ip + 12, 4, port);
	memcpy(a.ip, ip, n);
	return a;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		return make((const uint8_t *)&in->sin_addr, 4, ntohs(in->sin_port));
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		return make((const uint8_t *)&in6->sin6_addr, 16, ntohs(in6->sin6_port));
	}
	return (struct addr){ 0 };
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == ADDR_IP4) {
		struct sockaddr_in *in = (void *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->ip, 4);
		return sizeof(*in);
	}
	if (a->family == ADDR_IP6) {
		struct sockaddr_in6 *in6 = (void *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		memcpy(&in6->sin6_addr, a->ip, 16);
		return sizeof(*in6);
	}
	return 0;
}

bool addr_parse_ip(struct slice s, uint16_t port, struct addr *out)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t ip[16];

	bool brackets = s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';

	if (brackets)
		s = (struct slice){ s.p + 1, s.n - 2 };
	if (s.n == 0 || memchr(s.p, '\0', s.n) || !slice_copy(text, sizeof(text), s))
		return false;
	/* Brackets are for IPv6 only (RFC 3986 3.2.2). */
	if (!brackets && inet_pton(AF_INET, text, ip) == 1)
		*out = make(ip, 4, port);
	else if (inet_pton(AF_INET6, text, ip) == 1)
		*out = make(ip, 16, port);
	else
		return false;
	return true;
}

/* Where the host ends: s.n without a port. Bare IPv6 has colons of its own and no port. */
static bool host_bytes(struct slice s, size_t *out)
{
	size_t colon = slice_find(s, ':');

	if (s.n > 0 && s.p[0] == '[') {
		*out = slice_find(s, ']') + 1;
		return *out <= s.n;
	}
	if (colon < s.n && memchr(s.p + colon + 1, ':', s.n - colon - 1))
		colon = s.n;
	*out = colon;
	return true;
}

bool addr_parse(struct slice s, uint16_t default_port, struct addr *out)
{
	uint64_t port = default_port;
	size_t host_n;

	if (!host_bytes(s, &host_n))
		return false;
	if (host_n < s.n) {
		struct slice digits = { s.p + host_n + 1, s.n - host_n - 1 };

		if (s.p[host_n] != ':' || !slice_u64(digits, 65535, &port))
			return false;
	}
	return addr_parse_ip((struct slice){ s.p, host_n }, (uint16_t)port, out);
}

bool addr_prefix_parse(struct slice s, struct addr_prefix *out)
{
	size_t at = slice_find(s, '/');
	struct addr_prefix p = { .bits = 0 };
	uint64_t bits, width;

	if (!addr_parse_ip((struct slice){ s.p, at }, 0, &p.net))
		return false;
	/* ::ffff:10.0.0.0/104 was written with IPv6 in mind, but is not kept so. */
	if (p.net.family == ADDR_IP4 && slice_find((struct slice){ s.p, at }, ':') < at)
		return false;
	width = p.net.family == ADDR_IP4 ? 32 : 128;
	bits = width;
	if (at < s.n && !slice_u64((struct slice){ s.p + at + 1, s.n - at - 1 }, width, &bits))
		return false;
	p.bits = (uint8_t)bits;
	for (size_t i = 0; i < sizeof(p.net.ip); i++) {
		unsigned keep =
			bits > i * 8 ? (bits - i * 8 >= 8 ? 8 : (unsigned)(bits - i * 8)) : 0;

		p.net.ip[i] &= (uint8_t)(0xff00 >> keep);
	}
	*out = p;
	return true;
}

/* By hand: every request through the tunnel carries its client's address, and inet_ntop() prints
 * these four numbers with printf(). Not terminated. */
static size_t print_ip4(const uint8_t ip[4], char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < 4; i++) {
		if (i > 0)
			out[n++] = '.';
		n += slice_u64_print(out + n, ip[i]);
	}
	return n;
}

const char *addr_ip_str(const struct addr *a, char buf[ADDR_STR_BYTES])
{
	if (a->family == ADDR_IP4)
		buf[print_ip4(a->ip, buf)] = '\0';
	else if (a->family == ADDR_NONE || !inet_ntop(AF_INET6, a->ip, buf, ADDR_STR_BYTES))
		strcpy(buf, "-");
	return buf;
}

const char *addr_host_str(const struct addr *a, char buf[ADDR_STR_BYTES])
{
	char ip[ADDR_STR_BYTES];

	if (a->family != ADDR_IP6)
		return addr_ip_str(a, buf);
	addr_ip_str(a, ip);
	snprintf(buf, ADDR_STR_BYTES, "[%.46s]", ip);
	return buf;
}

const char *addr_str(const struct addr *a, char buf[ADDR_STR_BYTES])
{
	size_t n;

	if (a->family == ADDR_NONE)
		return strcpy(buf, "-");
	n = strlen(addr_host_str(a, buf));
	buf[n++] = ':';
	buf[n + slice_u64_print(buf + n, a->port)] = '\0';
	return buf;
}

bool addr_ip_eq(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return addr_ip_eq(a, b) && a->port == b->port;
}

bool addr_in_prefix(const struct addr *a, const struct addr_prefix *p)
{
	unsigned bytes = p->bits / 8, rest = p->bits % 8;

	if (a->family != p->net.family || memcmp(a->ip, p->net.ip, bytes) != 0)
		return false;
	return rest == 0 || ((a->ip[bytes] ^ p->net.ip[bytes]) & (uint8_t)(0xff00 >> rest)) == 0;
}

struct class_row {
	struct addr_prefix prefix;
	enum addr_class class;
};

#define IP4_ROW(bits_, class_, ...)                                                      \
	{                                                                                \
		{ { .ip = { __VA_ARGS__ }, .family = ADDR_IP4 }, .bits = bits_ }, class_ \
	}
#define IP6_ROW(bits_, class_, ...)                                                      \
	{                                                                                \
		{ { .ip = { __VA_ARGS__ }, .family = ADDR_IP6 }, .bits = bits_ }, class_ \
	}

/* First match wins. RFC 6890 and its registry. */
static const struct class_row class_rows[] = {
	IP4_ROW(32, ADDR_UNSPECIFIED, 0),
	IP4_ROW(8, ADDR_RESERVED, 0),
	IP4_ROW(8, ADDR_LOOPBACK, 127),
	IP4_ROW(16, ADDR_LINK_LOCAL, 169, 254),
	IP4_ROW(8, ADDR_PRIVATE, 10),
	IP4_ROW(12, ADDR_PRIVATE, 172, 16),
	IP4_ROW(16, ADDR_PRIVATE, 192, 168),
	IP4_ROW(10, ADDR_PRIVATE, 100, 64),
	IP4_ROW(24, ADDR_RESERVED, 192, 0, 0),
	IP4_ROW(15, ADDR_RESERVED, 198, 18),
	IP4_ROW(4, ADDR_MULTICAST, 224),
	IP4_ROW(32, ADDR_BROADCAST, 255, 255, 255, 255),
	IP4_ROW(4, ADDR_RESERVED, 240),
	IP6_ROW(128, ADDR_UNSPECIFIED, 0),
	IP6_ROW(128, ADDR_LOOPBACK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
	IP6_ROW(10, ADDR_LINK_LOCAL, 0xfe, 0x80),
	IP6_ROW(10, ADDR_PRIVATE, 0xfe, 0xc0),
	IP6_ROW(7, ADDR_PRIVATE, 0xfc),
	IP6_ROW(8, ADDR_MULTICAST, 0xff),
	IP6_ROW(64, ADDR_RESERVED, 1, 0),
	IP6_ROW(48, ADDR_RESERVED, 0, 0x64, 0xff, 0x9b, 0, 1),
	IP6_ROW(32, ADDR_RESERVED, 0x20, 0x01),
};

/* Where the four bytes are; NULL: nowhere. */
static const uint8_t *embedded_bytes(const uint8_t ip[16])
{
	static const uint8_t zero[15], nat64[12] = { 0, 0x64, 0xff, 0x9b };
	static const uint8_t siit[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	if (ip[0] == 0x20 && ip[1] == 0x02)
		return ip + 2;
	if (memcmp(ip, nat64, 12) == 0 || memcmp(ip, siit, 12) == 0)
		return ip + 12;
	if (memcmp(ip, zero, 12) == 0)
		return memcmp(ip, zero, 15) != 0 || ip[15] > 1 ? ip + 12 : NULL;
	/* The interface id of ISATAP: the first bits may be set or not. */
	if ((ip[8] & 0xfd) == 0 && ip[9] == 0 && ip[10] == 0x5e && ip[11] == 0xfe)
		return ip + 12;
	return NULL;
}

/* RFC 6052 2.2: a /48 prefix, 16 bits, a zero byte, 16 bits, a suffix of zeros. */
static bool nat64_48(const uint8_t ip[16], uint8_t out[4])
{
	static const uint8_t prefix[6] = { 0, 0x64, 0xff, 0x9b, 0, 1 }, zero[5];

	if (memcmp(ip, prefix, sizeof(prefix)) != 0)
		return false;
	memcpy(out, ip + 12, 4);
	if (ip[8] == 0 && memcmp(ip + 11, zero, sizeof(zero)) == 0) {
		memcpy(out, ip + 6, 2);
		memcpy(out + 2, ip + 9, 2);
	}
	return true;
}

bool addr_embedded_ip4(const struct addr *a, struct addr *out)
{
	static const uint8_t teredo[4] = { 0x20, 0x01 };
	const uint8_t *at;
	uint8_t ip[4];

	if (a->family != ADDR_IP6)
		return false;
	at = embedded_bytes(a->ip);
	if (memcmp(a->ip, teredo, sizeof(teredo)) == 0) {
		/* RFC 4380 4: the client's address is written with every bit turned. */
		for (size_t i = 0; i < 4; i++)
			ip[i] = (uint8_t)~a->ip[12 + i];
	} else if (!nat64_48(a->ip, ip)) {
		if (!at)
			return false;
		memcpy(ip, at, 4);
	}
	*out = make(ip, 4, 0);
	return true;
}

enum addr_class addr_class(const struct addr *a)
{
	struct addr inner;

	if (a->family == ADDR_NONE)
		return ADDR_UNSPECIFIED;
	for (size_t i = 0; i < sizeof(class_rows) / sizeof(class_rows[0]); i++) {
		if (addr_in_prefix(a, &class_rows[i].prefix))
			return class_rows[i].class;
	}
	return addr_embedded_ip4(a, &inner) ? addr_class(&inner) : ADDR_GLOBAL;
}

const char *addr_class_str(enum addr_class c)
{
	static const char *const names[] = { "global",	"unspecified", "loopback",  "link-local",
					     "private", "multicast",   "broadcast", "reserved" };

	return names[c];
}
