#include "proto/stun.h"

#include "proto/stun_seal.h"

enum {
	USERNAME_MAX = 508, /* RFC 8489 14.3 */
	TEXT_MAX = 763,	    /* 14.8, 14.9, 14.10, 14.14 */
};

struct code_row {
	unsigned code;
	const char *reason;
};

static const struct code_row codes[] = {
	{ STUN_CODE_TRY_ALTERNATE, "Try Alternate" },
	{ STUN_CODE_BAD_REQUEST, "Bad Request" },
	{ STUN_CODE_UNAUTHENTICATED, "Unauthenticated" },
	{ STUN_CODE_FORBIDDEN, "Forbidden" },
	{ STUN_CODE_UNKNOWN_ATTRIBUTE, "Unknown Attribute" },
	{ STUN_CODE_ALLOCATION_MISMATCH, "Allocation Mismatch" },
	{ STUN_CODE_STALE_NONCE, "Stale Nonce" },
	{ STUN_CODE_FAMILY_NOT_SUPPORTED, "Address Family not Supported" },
	{ STUN_CODE_WRONG_CREDENTIALS, "Wrong Credentials" },
	{ STUN_CODE_UNSUPPORTED_TRANSPORT, "Unsupported Transport Protocol" },
	{ STUN_CODE_PEER_FAMILY_MISMATCH, "Peer Address Family Mismatch" },
	{ STUN_CODE_CONNECTION_EXISTS, "Connection Already Exists" },
	{ STUN_CODE_CONNECTION_FAILED, "Connection Timeout or Failure" },
	{ STUN_CODE_QUOTA_REACHED, "Allocation Quota Reached" },
	{ STUN_CODE_ROLE_CONFLICT, "Role Conflict" },
	{ STUN_CODE_SERVER_ERROR, "Server Error" },
	{ STUN_CODE_INSUFFICIENT_CAPACITY, "Insufficient Capacity" },
};

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

void stun_build_start(struct stun_build *b, uint8_t *p, size_t cap, enum stun_class class,
		      uint16_t method, const uint8_t tid[STUN_TID_BYTES])
{
	unsigned type = (method & 0x000fu) | (method & 0x0070u) << 1 | (method & 0x0f80u) << 2 |
			((unsigned)class & 1) << 4 | ((unsigned)class & 2) << 7;

	*b = (struct stun_build){ .p = p, .cap = cap, .n = STUN_HEADER_BYTES };
	if (cap < STUN_HEADER_BYTES || method > 0xfff) {
		b->failed = true;
		return;
	}
	put16(p, (uint16_t)type);
	put16(p + 2, 0);
	put32(p + 4, 0x2112a442);
	memcpy(p + 8, tid, STUN_TID_BYTES);
}

/* Appends an attribute with a zeroed value and its padding, and counts it in the header. Returns
 * where the value goes, NULL when it does not fit. */
static uint8_t *append(struct stun_build *b, uint16_t type, size_t n)
{
	size_t padded = (n + 3) & ~(size_t)3;
	uint8_t *at;

	if (b->failed)
		return NULL;
	if (n > UINT16_MAX || b->cap - b->n < STUN_ATTR_HEADER_BYTES + padded ||
	    b->n + STUN_ATTR_HEADER_BYTES + padded - STUN_HEADER_BYTES > UINT16_MAX) {
		b->failed = true;
		return NULL;
	}
	at = b->p + b->n;
	put16(at, type);
	put16(at + 2, (uint16_t)n);
	memset(at + STUN_ATTR_HEADER_BYTES, 0, padded);
	b->n += STUN_ATTR_HEADER_BYTES + padded;
	put16(b->p + 2, (uint16_t)(b->n - STUN_HEADER_BYTES));
	return at + STUN_ATTR_HEADER_BYTES;
}

/* Place in the order of the last attributes, 0 for all others. */
static int seal_rank(uint16_t type)
{
	switch (type) {
	case STUN_ATTR_MESSAGE_INTEGRITY:
		return 1;
	case STUN_ATTR_MESSAGE_INTEGRITY_SHA256:
		return 2;
	case STUN_ATTR_FINGERPRINT:
		return 3;
	default:
		return 0;
	}
}

static size_t text_max(uint16_t type)
{
	switch (type) {
	case STUN_ATTR_USERNAME:
		return USERNAME_MAX;
	case STUN_ATTR_REALM:
	case STUN_ATTR_NONCE:
	case STUN_ATTR_SOFTWARE:
		return TEXT_MAX;
	default:
		return UINT16_MAX;
	}
}

void stun_build_attr(struct stun_build *b, uint16_t type, const void *data, size_t n)
{
	uint8_t *p;

	if (b->sealed || seal_rank(type) || n > text_max(type))
		b->failed = true;
	p = append(b, type, n);
	if (p && n)
		memcpy(p, data, n);
}

void stun_build_slice(struct stun_build *b, uint16_t type, struct slice s)
{
	stun_build_attr(b, type, s.p, s.n);
}

void stun_build_u32(struct stun_build *b, uint16_t type, uint32_t v)
{
	uint8_t raw[4];

	put32(raw, v);
	stun_build_attr(b, type, raw, sizeof(raw));
}

void stun_build_u64(struct stun_build *b, uint16_t type, uint64_t v)
{
	uint8_t raw[8];

	put32(raw, (uint32_t)(v >> 32));
	put32(raw + 4, (uint32_t)v);
	stun_build_attr(b, type, raw, sizeof(raw));
}

static void build_addr(struct stun_build *b, uint16_t type, const struct addr *a,
		       const uint8_t mask[16])
{
	uint8_t raw[4 + 16] = { 0 };
	size_t n = a->family == ADDR_IP4 ? 4 : 16;

	if (a->family == ADDR_NONE || b->failed) {
		b->failed = true;
		return;
	}
	raw[1] = n == 4 ? 1 : 2;
	put16(raw + 2, a->port);
	raw[2] ^= mask[0];
	raw[3] ^= mask[1];
	/* All sixteen: what an IPv4 address does not use is cut off below. */
	for (size_t i = 0; i < sizeof(a->ip); i++)
		raw[4 + i] = a->ip[i] ^ mask[i];
	stun_build_attr(b, type, raw, 4 + n);
}

void stun_build_addr(struct stun_build *b, uint16_t type, const struct addr *a)
{
	static const uint8_t no_mask[16];

	build_addr(b, type, a, no_mask);
}

void stun_build_xor_addr(struct stun_build *b, uint16_t type, const struct addr *a)
{
	static const uint8_t no_mask[16];

	/* Cookie and transaction id lie next to each other in the header. */
	build_addr(b, type, a, b->failed ? no_mask : b->p + 4);
}

const char *stun_code_reason(unsigned code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].code == code)
			return codes[i].reason;
	}
	return "Error";
}

/* ERROR-CODE and ADDRESS-ERROR-CODE differ in the type and the first byte. */
static void build_code(struct stun_build *b, uint16_t type, uint8_t first, unsigned code,
		       const char *reason)
{
	struct slice text = slice_of(reason ? reason : stun_code_reason(code));
	uint8_t *p;

	if (code < 300 || code > 699 || text.n > TEXT_MAX || b->sealed)
		b->failed = true;
	p = append(b, type, 4 + text.n);
	if (!p)
		return;
	p[0] = first;
	p[2] = (uint8_t)(code / 100);
	p[3] = (uint8_t)(code % 100);
	memcpy(p + 4, text.p, text.n);
}

void stun_build_error(struct stun_build *b, unsigned code, const char *reason)
{
	build_code(b, STUN_ATTR_ERROR_CODE, 0, code, reason);
}

void stun_build_address_error(struct stun_build *b, enum stun_family family, unsigned code,
			      const char *reason)
{
	build_code(b, STUN_ATTR_ADDRESS_ERROR_CODE, (uint8_t)family, code, reason);
}

void stun_build_icmp(struct stun_build *b, uint8_t type, uint8_t code, uint32_t data)
{
	uint8_t raw[8] = { 0, 0, type, code };

	put32(raw + 4, data);
	stun_build_attr(b, STUN_ATTR_ICMP, raw, sizeof(raw));
}

void stun_build_channel(struct stun_build *b, uint16_t number)
{
	stun_build_u32(b, STUN_ATTR_CHANNEL_NUMBER, (uint32_t)number << 16);
}

void stun_build_algorithms(struct stun_build *b, const uint16_t *algorithms, size_t n)
{
	uint8_t *p;

	if (b->sealed || n > UINT16_MAX / 4)
		b->failed = true;
	p = append(b, STUN_ATTR_PASSWORD_ALGORITHMS, 4 * n);
	for (size_t i = 0; p && i < n; i++)
		put16(p + 4 * i, algorithms[i]);
}

void stun_build_algorithm(struct stun_build *b, uint16_t algorithm)
{
	stun_build_u32(b, STUN_ATTR_PASSWORD_ALGORITHM, (uint32_t)algorithm << 16);
}

void stun_build_unknown(struct stun_build *b, const uint16_t *types, size_t n)
{
	uint8_t *p;

	if (b->sealed || n > UINT16_MAX / 2)
		b->failed = true;
	p = append(b, STUN_ATTR_UNKNOWN_ATTRIBUTES, 2 * n);
	for (size_t i = 0; p && i < n; i++)
		put16(p + 2 * i, types[i]);
}

void stun_build_software(struct stun_build *b, struct slice s)
{
	stun_build_slice(b, STUN_ATTR_SOFTWARE, s);
}

void stun_build_username(struct stun_build *b, struct slice s)
{
	stun_build_slice(b, STUN_ATTR_USERNAME, s);
}

void stun_build_priority(struct stun_build *b, uint32_t priority)
{
	stun_build_u32(b, STUN_ATTR_PRIORITY, priority);
}

void stun_build_use_candidate(struct stun_build *b)
{
	stun_build_attr(b, STUN_ATTR_USE_CANDIDATE, NULL, 0);
}

void stun_build_ice_role(struct stun_build *b, bool controlling, uint64_t tie_breaker)
{
	stun_build_u64(b, controlling ? STUN_ATTR_ICE_CONTROLLING : STUN_ATTR_ICE_CONTROLLED,
		       tie_breaker);
}

static uint8_t *seal(struct stun_build *b, uint16_t type, size_t n)
{
	if (b->sealed && seal_rank(b->sealed) >= seal_rank(type))
		b->failed = true;
	b->sealed = type;
	return append(b, type, n);
}

void stun_build_integrity(struct stun_build *b, struct slice key)
{
	size_t at = b->n;
	uint8_t *p = seal(b, STUN_ATTR_MESSAGE_INTEGRITY, HMAC_SHA1_BYTES);

	if (p)
		stun_seal_sha1(b->p, at, key, p);
}

void stun_build_integrity256(struct stun_build *b, struct slice key)
{
	size_t at = b->n;
	uint8_t *p = seal(b, STUN_ATTR_MESSAGE_INTEGRITY_SHA256, HMAC_SHA256_BYTES);

	if (p)
		stun_seal_sha256(b->p, at, HMAC_SHA256_BYTES, key, p);
}

void stun_build_fingerprint(struct stun_build *b)
{
	size_t at = b->n;
	uint8_t *p = seal(b, STUN_ATTR_FINGERPRINT, 4);

	if (p)
		put32(p, stun_seal_crc(b->p, at));
}

size_t stun_build_end(const struct stun_build *b)
{
	return b->failed ? 0 : b->n;
}
