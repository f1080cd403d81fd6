#include "proto/stun.h"

#include <errno.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "proto/hmac.h"
#include "proto/stun_seal.h"

enum {
	FINGERPRINT_BYTES = 4,
	INTEGRITY256_MIN = 16,
	COMPREHENSION_OPTIONAL = 0x8000,
};

static const uint8_t cookie[4] = { 0x21, 0x12, 0xa4, 0x42 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

uint32_t stun_seal_crc(const uint8_t *p, size_t n)
{
	/* CRC-32 of ITU V.42 a nibble at a time. */
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < n; i++) {
		crc = crc >> 4 ^ table[(crc ^ p[i]) & 15];
		crc = crc >> 4 ^ table[(crc ^ p[i] >> 4) & 15];
	}
	return ~crc ^ 0x5354554e; /* "STUN", RFC 8489 14.7 */
}

bool stun_is(const uint8_t *p, size_t n)
{
	return n >= STUN_HEADER_BYTES && p[0] < 0x40 && memcmp(p + 4, cookie, sizeof(cookie)) == 0;
}

/* Notes where the integrity attributes are. One of them out of order or twice counts as an
 * attribute that is to be ignored. */
static int note_attr(struct stun_msg *m, size_t at, uint16_t type, size_t n)
{
	bool sealed = m->integrity_at || m->integrity256_at;

	switch (type) {
	case STUN_ATTR_MESSAGE_INTEGRITY:
		if (n != HMAC_SHA1_BYTES)
			return -EINVAL;
		if (!sealed)
			m->integrity_at = at;
		break;
	case STUN_ATTR_MESSAGE_INTEGRITY_SHA256:
		if (n < INTEGRITY256_MIN || n > HMAC_SHA256_BYTES || n % 4 != 0)
			return -EINVAL;
		if (!m->integrity256_at)
			m->integrity256_at = at;
		break;
	case STUN_ATTR_FINGERPRINT:
		if (n != FINGERPRINT_BYTES || at + STUN_ATTR_HEADER_BYTES + n != m->n)
			return -EINVAL;
		m->fingerprint_at = at;
		break;
	default:
		return 0;
	}
	if (m->attrs_end == 0)
		m->attrs_end = at;
	return 0;
}

int stun_decode(const uint8_t *p, size_t n, struct stun_msg *out)
{
	struct stun_msg m = { .p = p, .n = n };
	uint16_t type;

	if (!stun_is(p, n) || n % 4 != 0 || get16(p + 2) + (size_t)STUN_HEADER_BYTES != n)
		return -EINVAL;
	type = get16(p);
	/* RFC 8489 figure 3: the class bits lie between those of the method. */
	m.class = (uint8_t)((type >> 7 & 2) | (type >> 4 & 1));
	m.method = (uint16_t)((type & 0x000f) | (type >> 1 & 0x0070) | (type >> 2 & 0x0f80));
	m.tid = p + 8;
	for (size_t at = STUN_HEADER_BYTES; at < n;) {
		size_t len = get16(p + at + 2);

		if (len > n - at - STUN_ATTR_HEADER_BYTES ||
		    note_attr(&m, at, get16(p + at), len) < 0)
			return -EINVAL;
		/* n and at are multiples of 4, so the padding fits where len does. */
		at += STUN_ATTR_HEADER_BYTES + ((len + 3) & ~(size_t)3);
	}
	if (m.attrs_end == 0)
		m.attrs_end = n;
	if (m.fingerprint_at && get32(p + m.fingerprint_at + STUN_ATTR_HEADER_BYTES) !=
					stun_seal_crc(p, m.fingerprint_at))
		return -EBADMSG;
	*out = m;
	return 0;
}

bool stun_attr_next(const struct stun_msg *m, struct stun_attr *at)
{
	const uint8_t *p = at->p ? at->p + ((at->n + 3) & ~(size_t)3) : m->p + STUN_HEADER_BYTES;

	if (p >= m->p + m->attrs_end)
		return false;
	*at = (struct stun_attr){ .type = get16(p),
				  .p = p + STUN_ATTR_HEADER_BYTES,
				  .n = get16(p + 2) };
	return true;
}

bool stun_attr_find(const struct stun_msg *m, uint16_t type, struct stun_attr *out)
{
	struct stun_attr a = { .p = NULL };

	while (stun_attr_next(m, &a)) {
		if (a.type == type) {
			*out = a;
			return true;
		}
	}
	return false;
}

bool stun_attr_u32(const struct stun_attr *a, uint32_t *out)
{
	if (a->n != 4)
		return false;
	*out = get32(a->p);
	return true;
}

bool stun_attr_u64(const struct stun_attr *a, uint64_t *out)
{
	if (a->n != 8)
		return false;
	*out = (uint64_t)get32(a->p) << 32 | get32(a->p + 4);
	return true;
}

/* RFC 8489 14.1 and 14.2; mask is the cookie and the transaction id, or zeros. Through a sockaddr,
 * so that base/addr makes the one canonical form of it. */
static bool read_addr(const struct stun_attr *a, const uint8_t mask[16], struct addr *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	uint8_t ip[16];
	size_t n = a->n == 8 ? 4 : 16;
	uint16_t port;

	if ((a->n != 8 && a->n != 20) || a->p[1] != (n == 4 ? 1 : 2))
		return false;
	port = htons(get16(a->p + 2) ^ get16(mask));
	for (size_t i = 0; i < n; i++)
		ip[i] = a->p[4 + i] ^ mask[i];
	memcpy(n == 4 ? (void *)&in.sin_addr : (void *)&in6.sin6_addr, ip, n);
	in.sin_port = in6.sin6_port = port;
	*out = addr_from_sockaddr(n == 4 ? (void *)&in : (void *)&in6);
	return true;
}

bool stun_attr_addr(const struct stun_attr *a, struct addr *out)
{
	static const uint8_t no_mask[16];

	return read_addr(a, no_mask, out);
}

bool stun_attr_xor_addr(const struct stun_msg *m, const struct stun_attr *a, struct addr *out)
{
	return read_addr(a, m->p + 4, out);
}

bool stun_attr_error(const struct stun_attr *a, unsigned *code, struct slice *reason)
{
	unsigned class, number;

	if (a->n < 4)
		return false;
	class = a->p[2] & 7;
	number = a->p[3];
	if (class < 3 || class > 6 || number > 99)
		return false;
	*code = class * 100 + number;
	*reason = (struct slice){ (const char *)a->p + 4, a->n - 4 };
	return true;
}

bool stun_attr_u8(const struct stun_attr *a, uint8_t *out)
{
	if (a->n != 4)
		return false;
	*out = a->p[0];
	return true;
}

bool stun_attr_channel(const struct stun_attr *a, uint16_t *out)
{
	if (a->n != 4)
		return false;
	*out = get16(a->p);
	return true;
}

bool stun_attr_even_port(const struct stun_attr *a, bool *reserve)
{
	if (a->n != 1)
		return false;
	*reserve = (a->p[0] & 0x80) != 0;
	return true;
}

bool stun_attr_algorithms(const struct stun_attr *a, uint16_t *out, size_t max, size_t *n)
{
	size_t n_written = 0, at = 0;

	/* Each has a number, the length of its parameters, and those, padded to four (14.11). */
	while (at < a->n) {
		size_t left = a->n - at, params;

		if (left < 4)
			return false;
		params = get16(a->p + at + 2);
		if (params > left - 4)
			return false;
		if (n_written < max)
			out[n_written++] = get16(a->p + at);
		params = (params + 3) & ~(size_t)3;
		at += 4 + (params < left - 4 ? params : left - 4);
	}
	*n = n_written;
	return at > 0;
}

bool stun_attr_algorithm(const struct stun_attr *a, uint16_t *out)
{
	size_t params = a->n < 4 ? 0 : get16(a->p + 2);

	/* Nothing but padding behind the parameters. */
	if (a->n < 4 + params || a->n > 4 + ((params + 3) & ~(size_t)3))
		return false;
	*out = get16(a->p);
	return true;
}

static bool contains(const uint16_t *types, size_t n, uint16_t type)
{
	for (size_t i = 0; i < n; i++) {
		if (types[i] == type)
			return true;
	}
	return false;
}

size_t stun_unknown(const struct stun_msg *m, const uint16_t *known, size_t n_known, uint16_t *out,
		    size_t max)
{
	struct stun_attr a = { .p = NULL };
	size_t n = 0;

	while (n < max && stun_attr_next(m, &a)) {
		if (a.type < COMPREHENSION_OPTIONAL && !contains(known, n_known, a.type) &&
		    !contains(out, n, a.type))
			out[n++] = a.type;
	}
	return n;
}

/* The first bytes of the header with the length of a message that ends at end. */
static void sealed_header(const uint8_t *p, size_t end, uint8_t out[4])
{
	size_t n = end - STUN_HEADER_BYTES;

	out[0] = p[0];
	out[1] = p[1];
	out[2] = (uint8_t)(n >> 8);
	out[3] = (uint8_t)n;
}

void stun_seal_sha1(const uint8_t *p, size_t at, struct slice key, uint8_t out[HMAC_SHA1_BYTES])
{
	struct hmac_sha1 h;
	uint8_t head[4];

	sealed_header(p, at + STUN_ATTR_HEADER_BYTES + HMAC_SHA1_BYTES, head);
	hmac_sha1_init(&h, key.p, key.n);
	hmac_sha1(&h, (struct slice){ (const char *)head, sizeof(head) },
		  (struct slice){ (const char *)p + sizeof(head), at - sizeof(head) }, out);
	OPENSSL_cleanse(&h, sizeof(h));
}

void stun_seal_sha256(const uint8_t *p, size_t at, size_t tag_bytes, struct slice key,
		      uint8_t out[HMAC_SHA256_BYTES])
{
	struct hmac_sha256 h;
	uint8_t head[4];

	sealed_header(p, at + STUN_ATTR_HEADER_BYTES + tag_bytes, head);
	hmac_sha256_init(&h, key.p, key.n);
	hmac_sha256(&h, (struct slice){ (const char *)head, sizeof(head) },
		    (struct slice){ (const char *)p + sizeof(head), at - sizeof(head) }, out);
	OPENSSL_cleanse(&h, sizeof(h));
}

int stun_integrity_check(const struct stun_msg *m, struct slice key)
{
	uint8_t tag[HMAC_SHA1_BYTES];

	if (!m->integrity_at)
		return -ENOENT;
	stun_seal_sha1(m->p, m->integrity_at, key, tag);
	return CRYPTO_memcmp(tag, m->p + m->integrity_at + STUN_ATTR_HEADER_BYTES, sizeof(tag)) == 0
		       ? 0
		       : -EBADMSG;
}

int stun_integrity256_check(const struct stun_msg *m, struct slice key)
{
	uint8_t tag[HMAC_SHA256_BYTES];
	size_t n;

	if (!m->integrity256_at)
		return -ENOENT;
	n = get16(m->p + m->integrity256_at + 2);
	stun_seal_sha256(m->p, m->integrity256_at, n, key, tag);
	return CRYPTO_memcmp(tag, m->p + m->integrity256_at + STUN_ATTR_HEADER_BYTES, n) == 0
		       ? 0
		       : -EBADMSG;
}

static int long_term_key(const EVP_MD *md, struct slice user, struct slice realm,
			 struct slice password, uint8_t out[STUN_KEY_BYTES])
{
	EVP_MD_CTX *h = EVP_MD_CTX_new();
	bool good = h && EVP_DigestInit_ex(h, md, NULL) == 1 &&
		    EVP_DigestUpdate(h, user.p, user.n) == 1 && EVP_DigestUpdate(h, ":", 1) == 1 &&
		    EVP_DigestUpdate(h, realm.p, realm.n) == 1 &&
		    EVP_DigestUpdate(h, ":", 1) == 1 &&
		    EVP_DigestUpdate(h, password.p, password.n) == 1 &&
		    EVP_DigestFinal_ex(h, out, NULL) == 1;

	EVP_MD_CTX_free(h);
	return good ? 0 : -EIO;
}

int stun_key_md5(struct slice user, struct slice realm, struct slice password,
		 uint8_t out[STUN_KEY_BYTES])
{
	return long_term_key(EVP_md5(), user, realm, password, out);
}

int stun_key_sha256(struct slice user, struct slice realm, struct slice password,
		    uint8_t out[STUN_KEY_BYTES])
{
	return long_term_key(EVP_sha256(), user, realm, password, out);
}
