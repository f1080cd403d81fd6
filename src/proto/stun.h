#ifndef PROTO_STUN_H
#define PROTO_STUN_H
/*
 * STUN messages (RFC 8489; attributes of ICE: RFC 8445, of TURN: RFC 8656). Decoding gives a view
 * into the datagram, building writes into the caller's bytes. No transactions, no sockets.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"

enum { STUN_HEADER_BYTES = 20, STUN_TID_BYTES = 12, STUN_KEY_BYTES = 32 };

enum stun_class {
	STUN_CLASS_REQUEST,
	STUN_CLASS_INDICATION,
	STUN_CLASS_SUCCESS,
	STUN_CLASS_ERROR,
};

enum stun_method {
	STUN_METHOD_BINDING = 0x001,
	STUN_METHOD_ALLOCATE = 0x003,
	STUN_METHOD_REFRESH = 0x004,
	STUN_METHOD_SEND = 0x006,
	STUN_METHOD_DATA = 0x007,
	STUN_METHOD_CREATE_PERMISSION = 0x008,
	STUN_METHOD_CHANNEL_BIND = 0x009,
	/* RFC 6062 */
	STUN_METHOD_CONNECT = 0x00a,
	STUN_METHOD_CONNECTION_BIND = 0x00b,
	STUN_METHOD_CONNECTION_ATTEMPT = 0x00c,
};

enum stun_attr_type {
	STUN_ATTR_MAPPED_ADDRESS = 0x0001,
	STUN_ATTR_USERNAME = 0x0006,
	STUN_ATTR_MESSAGE_INTEGRITY = 0x0008,
	STUN_ATTR_ERROR_CODE = 0x0009,
	STUN_ATTR_UNKNOWN_ATTRIBUTES = 0x000a,
	STUN_ATTR_CHANNEL_NUMBER = 0x000c,
	STUN_ATTR_LIFETIME = 0x000d,
	STUN_ATTR_XOR_PEER_ADDRESS = 0x0012,
	STUN_ATTR_DATA = 0x0013,
	STUN_ATTR_REALM = 0x0014,
	STUN_ATTR_NONCE = 0x0015,
	STUN_ATTR_XOR_RELAYED_ADDRESS = 0x0016,
	STUN_ATTR_REQUESTED_ADDRESS_FAMILY = 0x0017,
	STUN_ATTR_EVEN_PORT = 0x0018,
	STUN_ATTR_REQUESTED_TRANSPORT = 0x0019,
	STUN_ATTR_DONT_FRAGMENT = 0x001a,
	STUN_ATTR_MESSAGE_INTEGRITY_SHA256 = 0x001c,
	STUN_ATTR_PASSWORD_ALGORITHM = 0x001d,
	STUN_ATTR_USERHASH = 0x001e,
	STUN_ATTR_XOR_MAPPED_ADDRESS = 0x0020,
	STUN_ATTR_RESERVATION_TOKEN = 0x0022,
	STUN_ATTR_PRIORITY = 0x0024,
	STUN_ATTR_USE_CANDIDATE = 0x0025,
	STUN_ATTR_CONNECTION_ID = 0x002a, /* RFC 6062 */
	STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY = 0x8000,
	STUN_ATTR_ADDRESS_ERROR_CODE = 0x8001,
	STUN_ATTR_PASSWORD_ALGORITHMS = 0x8002,
	STUN_ATTR_ALTERNATE_DOMAIN = 0x8003,
	STUN_ATTR_ICMP = 0x8004,
	STUN_ATTR_SOFTWARE = 0x8022,
	STUN_ATTR_ALTERNATE_SERVER = 0x8023,
	STUN_ATTR_FINGERPRINT = 0x8028,
	STUN_ATTR_ICE_CONTROLLED = 0x8029,
	STUN_ATTR_ICE_CONTROLLING = 0x802a,
};

enum stun_code {
	STUN_CODE_TRY_ALTERNATE = 300,
	STUN_CODE_BAD_REQUEST = 400,
	STUN_CODE_UNAUTHENTICATED = 401,
	STUN_CODE_FORBIDDEN = 403,
	STUN_CODE_UNKNOWN_ATTRIBUTE = 420,
	STUN_CODE_ALLOCATION_MISMATCH = 437,
	STUN_CODE_STALE_NONCE = 438,
	STUN_CODE_FAMILY_NOT_SUPPORTED = 440,
	STUN_CODE_WRONG_CREDENTIALS = 441,
	STUN_CODE_UNSUPPORTED_TRANSPORT = 442,
	STUN_CODE_PEER_FAMILY_MISMATCH = 443,
	STUN_CODE_CONNECTION_EXISTS = 446, /* RFC 6062 */
	STUN_CODE_CONNECTION_FAILED = 447,
	STUN_CODE_QUOTA_REACHED = 486,
	STUN_CODE_ROLE_CONFLICT = 487,
	STUN_CODE_SERVER_ERROR = 500,
	STUN_CODE_INSUFFICIENT_CAPACITY = 508,
};

/* REQUESTED-TRANSPORT, RFC 8656 18.8: protocol numbers of IP. */
enum stun_transport { STUN_TRANSPORT_TCP = 6, STUN_TRANSPORT_UDP = 17 };
/* Address families of RFC 8489 14.1, RFC 8656 18.6, 18.11, 18.12. */
enum stun_family { STUN_FAMILY_IP4 = 1, STUN_FAMILY_IP6 = 2 };

/* Password algorithms, RFC 8489 18.5.1. Neither has parameters. */
enum stun_algorithm { STUN_ALGORITHM_MD5 = 1, STUN_ALGORITHM_SHA256 = 2 };

/* A decoded message: a view into the caller's datagram. */
struct stun_msg {
	const uint8_t *p;
	size_t n;
	uint16_t method; /* enum stun_method, or any other of 12 bits */
	uint8_t class;	 /* enum stun_class */
	const uint8_t *tid;
	size_t attrs_end; /* attributes behind it are not covered by an integrity check: not seen */
	size_t integrity_at; /* offsets of these attributes, 0: absent */
	size_t integrity256_at;
	size_t fingerprint_at;
};

struct stun_attr {
	uint16_t type;
	const uint8_t *p;
	size_t n;
};

/* First look: length of a header, first two bits zero, the cookie (RFC 8489 section 6.3). */
bool stun_is(const uint8_t *p, size_t n);
/* Decodes a whole datagram of n bytes. Checks the header, that the attributes fill it exactly, that
 * a FINGERPRINT is the last one, and its CRC. Attributes after MESSAGE-INTEGRITY are ignored but
 * for MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 14.5, 14.6). Integrity is checked apart.
 * 0; -EINVAL malformed; -EBADMSG wrong fingerprint. */
int stun_decode(const uint8_t *p, size_t n, struct stun_msg *out);
/* The attribute after *at in the order of the message, the first one while at->p is NULL. Without
 * the integrity ones and FINGERPRINT. False at the end. */
bool stun_attr_next(const struct stun_msg *m, struct stun_attr *at);
/* First attribute of a type (RFC 8489 section 14: later ones of the same type are ignored). */
bool stun_attr_find(const struct stun_msg *m, uint16_t type, struct stun_attr *out);

/* Values; false when the attribute has not the right shape. */
bool stun_attr_u32(const struct stun_attr *a, uint32_t *out);
bool stun_attr_u64(const struct stun_attr *a, uint64_t *out);
bool stun_attr_addr(const struct stun_attr *a, struct addr *out);
bool stun_attr_xor_addr(const struct stun_msg *m, const struct stun_attr *a, struct addr *out);
/* code 300-699; reason points into the message. */
bool stun_attr_error(const struct stun_attr *a, unsigned *code, struct slice *reason);

/* The family of REQUESTED-ADDRESS-FAMILY and ADDITIONAL-ADDRESS-FAMILY (the first byte), the
 * protocol of REQUESTED-TRANSPORT: any value, the caller answers 440 or 442. */
bool stun_attr_u8(const struct stun_attr *a, uint8_t *out);
/* CHANNEL-NUMBER: any value. */
bool stun_attr_channel(const struct stun_attr *a, uint16_t *out);
/* EVEN-PORT, RFC 8656 18.7: is the R bit set? One byte. */
bool stun_attr_even_port(const struct stun_attr *a, bool *reserve);
/* PASSWORD-ALGORITHM: exactly one, with parameters that are not looked at. Any number. */
bool stun_attr_algorithm(const struct stun_attr *a, uint16_t *out);
/* PASSWORD-ALGORITHMS: at most max of the numbers are written. False when it is malformed or empty.
 */
bool stun_attr_algorithms(const struct stun_attr *a, uint16_t *out, size_t max, size_t *n);

/* Comprehension-required attributes (type under 0x8000) not in known[n_known], each once, at most
 * max: the list for a 420 (RFC 8489 6.3.1). Returns how many were written. */
size_t stun_unknown(const struct stun_msg *m, const uint16_t *known, size_t n_known, uint16_t *out,
		    size_t max);

/* MESSAGE-INTEGRITY (HMAC-SHA1) under a key: the password for short-term credentials,
 * stun_key_md5() or stun_key_sha256() for long-term ones. Compares in constant time. 0; -ENOENT
 * without the attribute; -EBADMSG wrong. */
int stun_integrity_check(const struct stun_msg *m, struct slice key);
/* MESSAGE-INTEGRITY-SHA256; truncated ones down to 16 bytes are taken (RFC 8489 14.6). */
int stun_integrity256_check(const struct stun_msg *m, struct slice key);

/* Long-term keys (RFC 8489 9.2.2, 18.5.1): the hash of "user:realm:password", whose parts are
 * prepared (OpaqueString) by the caller. MD5 gives 16 bytes, SHA-256 gives 32. 0 or -EIO. */
int stun_key_md5(struct slice user, struct slice realm, struct slice password,
		 uint8_t out[STUN_KEY_BYTES]);
int stun_key_sha256(struct slice user, struct slice realm, struct slice password,
		    uint8_t out[STUN_KEY_BYTES]);

/*
 * Builder: what does not fit or is out of place sets `failed` and drops the rest, so that one check
 * of stun_build_end() is enough. The header's length is right after every call.
 */
struct stun_build {
	uint8_t *p;
	size_t n;
	size_t cap;
	uint16_t sealed; /* type of the last integrity or fingerprint attribute, 0: none yet */
	bool failed;
};

void stun_build_start(struct stun_build *b, uint8_t *p, size_t cap, enum stun_class class,
		      uint16_t method, const uint8_t tid[STUN_TID_BYTES]);
/* Any attribute; flags such as USE-CANDIDATE have n 0. */
void stun_build_attr(struct stun_build *b, uint16_t type, const void *data, size_t n);
void stun_build_slice(struct stun_build *b, uint16_t type, struct slice s);
void stun_build_u32(struct stun_build *b, uint16_t type, uint32_t v);
void stun_build_u64(struct stun_build *b, uint16_t type, uint64_t v);
/* MAPPED-ADDRESS and ALTERNATE-SERVER. */
void stun_build_addr(struct stun_build *b, uint16_t type, const struct addr *a);
/* XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS, XOR-RELAYED-ADDRESS. */
void stun_build_xor_addr(struct stun_build *b, uint16_t type, const struct addr *a);
/* ERROR-CODE; reason NULL takes the usual phrase of the code. code 300-699. */
void stun_build_error(struct stun_build *b, unsigned code, const char *reason);
void stun_build_unknown(struct stun_build *b, const uint16_t *types, size_t n);
/* CHANNEL-NUMBER, with its reserved bytes. */
void stun_build_channel(struct stun_build *b, uint16_t number);
/* PASSWORD-ALGORITHMS in the order of preference (RFC 8489 14.11), and the one that a client chose
 * (14.12). Without parameters. */
void stun_build_algorithms(struct stun_build *b, const uint16_t *algorithms, size_t n);
void stun_build_algorithm(struct stun_build *b, uint16_t algorithm);
/* ADDRESS-ERROR-CODE, RFC 8656 18.12: why the relay of one of two families was not made. reason
 * NULL takes the usual phrase. */
void stun_build_address_error(struct stun_build *b, enum stun_family family, unsigned code,
			      const char *reason);
/* ICMP, RFC 8656 18.13. data: the MTU of "too big" messages, else 0. */
void stun_build_icmp(struct stun_build *b, uint8_t type, uint8_t code, uint32_t data);
/* The usual phrase of a code, "Error" for unknown ones. */
const char *stun_code_reason(unsigned code);
/* SOFTWARE, USERNAME, PRIORITY, USE-CANDIDATE, ICE-CONTROLLED and ICE-CONTROLLING. */
void stun_build_software(struct stun_build *b, struct slice s);
void stun_build_username(struct stun_build *b, struct slice s);
void stun_build_priority(struct stun_build *b, uint32_t priority);
void stun_build_use_candidate(struct stun_build *b);
void stun_build_ice_role(struct stun_build *b, bool controlling, uint64_t tie_breaker);
/* Seals, in this order: MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256, FINGERPRINT, each at most
 * once; after the first one no other attribute may follow. */
void stun_build_integrity(struct stun_build *b, struct slice key);
void stun_build_integrity256(struct stun_build *b, struct slice key);
void stun_build_fingerprint(struct stun_build *b);
/* Bytes of the message, 0 when anything failed. */
size_t stun_build_end(const struct stun_build *b);

#endif
