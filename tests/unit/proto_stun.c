/*
 * STUN against the vectors of RFC 5769 and RFC 8489 B.1, and against libnice's codec in both
 * directions.
 */
#include "proto/stun.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include <stun/stunagent.h>

#include "base/base64.h"
#include "proto/hmac.h"

static const uint8_t tid[STUN_TID_BYTES] = { 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34,
					     0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae };
#define PASSWORD SLICE("VOkJxbRl1RmTxUk/WvJxBt")

/* RFC 5769 2.1 to 2.4. */
#define REQUEST                                                                            \
	"000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74" \
	"002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"         \
	"000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
#define RESPONSE4                                                                  \
	"0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" \
	"002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7" \
	"80280004c07d4c96"
#define RESPONSE6                                                                  \
	"010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" \
	"002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"                         \
	"00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
#define REQUEST_LONG_TERM                                                                          \
	"000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b90000" \
	"0015001c662f2f3439396b3935346436"                                                         \
	"4f4c33346f4c394653547679363473410014000b6578616d706c652e6f726700"                         \
	"00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
/* RFC 8489 B.1 as corrected by erratum 6268. */
#define REQUEST_SHA256                                                                     \
	"000100902112a44278ad3433c6ad72c029da412e001e00204a3cf38fef6992bda952c6780417da0f" \
	"24819415569e60b205c46e41407f170400150029"                                         \
	"6f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c394653547679363473" \
	"410000000014000b6578616d706c652e6f726700001d000400020000001c0020"                 \
	"b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"

/* A block of exact size, so that ASan sees every read too far. */
static uint8_t *exact(const void *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (n)
		memcpy(copy, p, n);
	return copy;
}

static uint8_t *unhex(const char *text, size_t *n)
{
	uint8_t *p = malloc(strlen(text) / 2);

	*n = (size_t)hex_decode(slice_of(text), p, strlen(text) / 2);
	assert_int_equal(*n, strlen(text) / 2);
	return p;
}

static int decode_copy(const uint8_t *p, size_t n)
{
	uint8_t *copy = exact(p, n);
	struct stun_msg m;
	int err = stun_decode(copy, n, &m);

	free(copy);
	return err;
}

static struct slice attr_slice(const struct stun_msg *m, uint16_t type)
{
	struct stun_attr a;

	if (!stun_attr_find(m, type, &a))
		return SLICE_NONE;
	return (struct slice){ (const char *)a.p, a.n };
}

static void test_rfc5769_request(void **state)
{
	static const uint16_t order[] = { STUN_ATTR_SOFTWARE, STUN_ATTR_PRIORITY,
					  STUN_ATTR_ICE_CONTROLLED, STUN_ATTR_USERNAME };
	size_t n, i = 0;
	uint8_t *p = unhex(REQUEST, &n);
	struct stun_attr a = { 0 };
	struct stun_msg m;
	uint32_t priority;
	uint64_t tie;

	assert_true(stun_is(p, n));
	assert_int_equal(stun_decode(p, n, &m), 0);
	assert_int_equal(m.class, STUN_CLASS_REQUEST);
	assert_int_equal(m.method, STUN_METHOD_BINDING);
	assert_memory_equal(m.tid, tid, sizeof(tid));
	while (stun_attr_next(&m, &a))
		assert_int_equal(a.type, order[i++]);
	assert_int_equal(i, 4);
	assert_true(slice_eq(attr_slice(&m, STUN_ATTR_SOFTWARE), SLICE("STUN test client")));
	assert_true(slice_eq(attr_slice(&m, STUN_ATTR_USERNAME), SLICE("evtj:h6vY")));
	assert_true(stun_attr_find(&m, STUN_ATTR_PRIORITY, &a) && stun_attr_u32(&a, &priority));
	assert_int_equal(priority, 0x6e0001ff);
	assert_true(stun_attr_find(&m, STUN_ATTR_ICE_CONTROLLED, &a) && stun_attr_u64(&a, &tie));
	assert_int_equal(tie, 0x932ff9b151263b36);
	assert_true(m.fingerprint_at && m.integrity_at && !m.integrity256_at);
	assert_int_equal(stun_integrity_check(&m, PASSWORD), 0);
	assert_int_equal(stun_integrity_check(&m, SLICE("VOkJxbRl1RmTxUk/WvJxBT")), -EBADMSG);
	assert_int_equal(stun_integrity_check(&m, SLICE_NONE), -EBADMSG);
	assert_int_equal(stun_integrity256_check(&m, PASSWORD), -ENOENT);
	free(p);
}

static void check_response(const char *text, const char *addr)
{
	char shown[ADDR_STR_BYTES];
	struct stun_attr a;
	struct stun_msg m;
	struct addr got;
	size_t n;
	uint8_t *p = unhex(text, &n);

	assert_int_equal(stun_decode(p, n, &m), 0);
	assert_int_equal(m.class, STUN_CLASS_SUCCESS);
	assert_int_equal(m.method, STUN_METHOD_BINDING);
	assert_true(slice_eq(attr_slice(&m, STUN_ATTR_SOFTWARE), SLICE("test vector")));
	assert_true(stun_attr_find(&m, STUN_ATTR_XOR_MAPPED_ADDRESS, &a));
	assert_true(stun_attr_xor_addr(&m, &a, &got));
	assert_string_equal(addr_str(&got, shown), addr);
	assert_int_equal(stun_integrity_check(&m, PASSWORD), 0);
	free(p);
}

static void test_rfc5769_responses(void **state)
{
	check_response(RESPONSE4, "192.0.2.1:32853");
	check_response(RESPONSE6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

#define MATRIX_USER \
	SLICE("\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9")

/* This one is padded with zeros, as we do: building must give the same bytes. */
static void test_rfc5769_long_term(void **state)
{
	uint8_t key[STUN_KEY_BYTES], out[200];
	struct stun_build b;
	struct stun_msg m;
	size_t n;
	uint8_t *p = unhex(REQUEST_LONG_TERM, &n);
	struct slice secret = { (const char *)key, 16 };

	assert_int_equal(stun_key_md5(MATRIX_USER, SLICE("example.org"), SLICE("TheMatrIX"), key),
			 0);
	assert_int_equal(stun_decode(p, n, &m), 0);
	assert_int_equal(stun_integrity_check(&m, secret), 0);
	assert_int_equal(m.fingerprint_at, 0);
	stun_build_start(&b, out, sizeof(out), STUN_CLASS_REQUEST, STUN_METHOD_BINDING, m.tid);
	stun_build_username(&b, MATRIX_USER);
	stun_build_slice(&b, STUN_ATTR_NONCE, SLICE("f//499k954d6OL34oL9FSTvy64sA"));
	stun_build_slice(&b, STUN_ATTR_REALM, SLICE("example.org"));
	stun_build_integrity(&b, secret);
	assert_int_equal(stun_build_end(&b), n);
	assert_memory_equal(out, p, n);
	free(p);
}

static void test_rfc8489_sha256(void **state)
{
	static const uint8_t algorithm[] = { 0, 2, 0, 0 };
	uint8_t key[STUN_KEY_BYTES], out[200];
	struct stun_build b;
	struct stun_msg m;
	size_t n;
	uint8_t *p = unhex(REQUEST_SHA256, &n);
	struct slice secret = { (const char *)key, 32 };

	assert_int_equal(
		stun_key_sha256(MATRIX_USER, SLICE("example.org"), SLICE("TheMatrIX"), key), 0);
	assert_int_equal(stun_decode(p, n, &m), 0);
	assert_int_equal(stun_integrity256_check(&m, secret), 0);
	assert_int_equal(stun_integrity_check(&m, secret), -ENOENT);
	stun_build_start(&b, out, sizeof(out), STUN_CLASS_REQUEST, STUN_METHOD_BINDING, m.tid);
	stun_build_slice(&b, STUN_ATTR_USERHASH, attr_slice(&m, STUN_ATTR_USERHASH));
	stun_build_slice(&b, STUN_ATTR_NONCE, attr_slice(&m, STUN_ATTR_NONCE));
	stun_build_slice(&b, STUN_ATTR_REALM, attr_slice(&m, STUN_ATTR_REALM));
	stun_build_attr(&b, STUN_ATTR_PASSWORD_ALGORITHM, algorithm, sizeof(algorithm));
	stun_build_integrity256(&b, secret);
	assert_int_equal(stun_build_end(&b), n);
	assert_memory_equal(out, p, n);
	p[n - 1] ^= 1;
	assert_int_equal(stun_decode(p, n, &m), 0);
	assert_int_equal(stun_integrity256_check(&m, secret), -EBADMSG);
	free(p);
}

/* One wrong bit anywhere in a message that has to have integrity and fingerprint is noticed. */
static void test_bit_flips(void **state)
{
	size_t n;
	uint8_t *p = unhex(REQUEST, &n);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		uint8_t *q = exact(p, n);
		struct stun_msg m;

		/* It may hide FINGERPRINT among the attributes to be ignored, or inside another
		 * one. */
		q[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(stun_decode(q, n, &m) == 0 && m.fingerprint_at != 0 &&
			     stun_integrity_check(&m, PASSWORD) == 0);
		free(q);
	}
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(decode_copy(p, cut), -EINVAL);
	free(p);
	/* Without a fingerprint the integrity notices it. */
	p = unhex(REQUEST_LONG_TERM, &n);
	for (size_t bit = 0; bit < 8 * n; bit++) {
		uint8_t key[STUN_KEY_BYTES], *q = exact(p, n);
		struct stun_msg m;

		stun_key_md5(MATRIX_USER, SLICE("example.org"), SLICE("TheMatrIX"), key);
		q[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(stun_decode(q, n, &m) < 0 ||
			    stun_integrity_check(&m, (struct slice){ (const char *)key, 16 }) < 0);
		free(q);
	}
	free(p);
}

static void test_types(void **state)
{
	uint8_t p[STUN_HEADER_BYTES];
	struct stun_build b;
	struct stun_msg m;

	for (unsigned method = 0; method < 0x1000; method++) {
		for (unsigned class = 0; class < 4; class ++) {
			stun_build_start(&b, p, sizeof(p), (enum stun_class) class,
					 (uint16_t)method, tid);
			assert_int_equal(stun_build_end(&b), sizeof(p));
			assert_int_equal(stun_decode(p, sizeof(p), &m), 0);
			assert_int_equal(m.method, method);
			assert_int_equal(m.class, class);
		}
	}
	stun_build_start(&b, p, sizeof(p), STUN_CLASS_REQUEST, 0x1000, tid);
	assert_int_equal(stun_build_end(&b), 0);
	stun_build_start(&b, p, sizeof(p) - 1, STUN_CLASS_REQUEST, 1, tid);
	assert_int_equal(stun_build_end(&b), 0);
	/* A builder that failed from the start touches nothing. */
	stun_build_xor_addr(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &(struct addr){ .family = ADDR_IP4 });
	stun_build_integrity(&b, PASSWORD);
	stun_build_fingerprint(&b);
	stun_build_error(&b, 400, NULL);
	assert_int_equal(stun_build_end(&b), 0);
}

/* A request with attributes before and behind its integrity, as bytes. */
struct raw {
	uint8_t p[400];
	size_t n;
};

static void raw_attr(struct raw *r, uint16_t type, const void *value, size_t n)
{
	uint8_t head[4] = { (uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(n >> 8), (uint8_t)n };

	if (r->n == 0) {
		memcpy(r->p, "\x00\x01\x00\x00\x21\x12\xa4\x42", 8);
		memcpy(r->p + 8, tid, sizeof(tid));
		r->n = STUN_HEADER_BYTES;
	}
	memcpy(r->p + r->n, head, 4);
	memset(r->p + r->n + 4, 0x20, (n + 3) & ~(size_t)3);
	if (n)
		memcpy(r->p + r->n + 4, value, n);
	r->n += 4 + ((n + 3) & ~(size_t)3);
	r->p[2] = (uint8_t)((r->n - STUN_HEADER_BYTES) >> 8);
	r->p[3] = (uint8_t)(r->n - STUN_HEADER_BYTES);
}

static void raw_integrity(struct raw *r, bool sha256, size_t n)
{
	uint8_t tag[32] = { 0 };
	size_t at = r->n ? r->n : STUN_HEADER_BYTES;
	struct hmac_sha1 h1;
	struct hmac_sha256 h2;

	raw_attr(r, sha256 ? 0x001c : 0x0008, tag, n);
	hmac_sha1_init(&h1, "secret", 6);
	hmac_sha256_init(&h2, "secret", 6);
	if (sha256)
		hmac_sha256(&h2, (struct slice){ (char *)r->p, at }, SLICE_NONE, tag);
	else
		hmac_sha1(&h1, (struct slice){ (char *)r->p, at }, SLICE_NONE, tag);
	memcpy(r->p + at + 4, tag, n);
}

static void test_after_integrity(void **state)
{
	struct slice key = SLICE("secret");
	struct stun_attr a = { 0 };
	struct stun_msg m;
	struct raw r = { 0 };
	uint16_t unknown[4];

	raw_attr(&r, STUN_ATTR_USERNAME, "user", 4);
	raw_integrity(&r, false, 20);
	raw_attr(&r, STUN_ATTR_PRIORITY, "\0\0\0\1", 4); /* not covered */
	raw_attr(&r, 0x7777, "x", 1);
	raw_integrity(&r, true, 32);
	raw_attr(&r, STUN_ATTR_USE_CANDIDATE, "", 0);
	raw_integrity(&r, true, 16); /* a second one counts for nothing */
	raw_integrity(&r, false, 20);
	assert_int_equal(decode_copy(r.p, r.n), 0);
	assert_int_equal(stun_decode(r.p, r.n, &m), 0);
	assert_int_equal(stun_integrity_check(&m, key), 0);
	assert_int_equal(stun_integrity256_check(&m, key), 0);
	assert_true(stun_attr_next(&m, &a));
	assert_int_equal(a.type, STUN_ATTR_USERNAME);
	assert_false(stun_attr_next(&m, &a));
	assert_false(stun_attr_find(&m, STUN_ATTR_PRIORITY, &a));
	assert_false(stun_attr_find(&m, STUN_ATTR_USE_CANDIDATE, &a));
	assert_false(stun_attr_find(&m, STUN_ATTR_MESSAGE_INTEGRITY, &a));
	assert_int_equal(stun_unknown(&m, (const uint16_t[]){ STUN_ATTR_USERNAME }, 1, unknown, 4),
			 0);
	/* MESSAGE-INTEGRITY behind the SHA-256 one is ignored. */
	r.n = 0;
	raw_integrity(&r, true, 32);
	raw_integrity(&r, false, 20);
	assert_int_equal(stun_decode(r.p, r.n, &m), 0);
	assert_int_equal(stun_integrity_check(&m, key), -ENOENT);
	assert_int_equal(stun_integrity256_check(&m, key), 0);
}

static void test_truncated_sha256(void **state)
{
	for (size_t n = 0; n <= 36; n++) {
		bool good = n >= 16 && n <= 32 && n % 4 == 0;
		uint8_t zeros[36] = { 0 };
		struct raw r = { 0 };
		struct stun_msg m;

		if (good)
			raw_integrity(&r, true, n);
		else
			raw_attr(&r, 0x001c, zeros, n);
		assert_int_equal(decode_copy(r.p, r.n), good ? 0 : -EINVAL);
		if (!good)
			continue;
		assert_int_equal(stun_decode(r.p, r.n, &m), 0);
		assert_int_equal(stun_integrity256_check(&m, SLICE("secret")), 0);
		r.p[r.n - 1] ^= 0x80;
		assert_int_equal(stun_integrity256_check(&m, SLICE("secret")), -EBADMSG);
	}
}

static void test_malformed(void **state)
{
	uint8_t zeros[24] = { 0 };
	struct raw r;

	/* Cookie, first bits, lengths. */
	r.n = 0;
	raw_attr(&r, STUN_ATTR_USERNAME, "user", 4);
	assert_int_equal(decode_copy(r.p, r.n), 0);
	r.p[4] ^= 1;
	assert_int_equal(decode_copy(r.p, r.n), -EINVAL);
	r.p[4] ^= 1;
	for (unsigned bits = 1; bits < 4; bits++) {
		r.p[0] = (uint8_t)(bits << 6);
		assert_int_equal(decode_copy(r.p, r.n), -EINVAL);
	}
	r.p[0] = 0;
	for (unsigned len = 0; len < 40; len++) {
		r.p[3] = (uint8_t)len;
		assert_int_equal(decode_copy(r.p, r.n), len == 8 ? 0 : -EINVAL);
	}
	r.p[3] = 8;
	/* A value past the end. Length 0 leaves four bytes that read as another, overlong
	 * attribute. */
	for (unsigned len = 0; len < 256; len++) {
		r.p[23] = (uint8_t)len;
		assert_int_equal(decode_copy(r.p, r.n), len >= 1 && len <= 4 ? 0 : -EINVAL);
	}
	/* MESSAGE-INTEGRITY and FINGERPRINT of another length. */
	for (size_t n = 0; n <= 24; n++) {
		r.n = 0;
		raw_attr(&r, STUN_ATTR_MESSAGE_INTEGRITY, zeros, n);
		assert_int_equal(decode_copy(r.p, r.n), n == 20 ? 0 : -EINVAL);
		r.n = 0;
		raw_attr(&r, STUN_ATTR_FINGERPRINT, zeros, n);
		assert_int_equal(decode_copy(r.p, r.n), n == 4 ? -EBADMSG : -EINVAL);
	}
	/* Something behind FINGERPRINT, be it a second one. */
	r.n = 0;
	raw_attr(&r, STUN_ATTR_FINGERPRINT, zeros, 4);
	raw_attr(&r, STUN_ATTR_SOFTWARE, "x", 1);
	assert_int_equal(decode_copy(r.p, r.n), -EINVAL);
	r.n = 0;
	raw_attr(&r, STUN_ATTR_FINGERPRINT, zeros, 4);
	raw_attr(&r, STUN_ATTR_FINGERPRINT, zeros, 4);
	assert_int_equal(decode_copy(r.p, r.n), -EINVAL);
	/* Not padded to four. */
	assert_int_equal(decode_copy(r.p, 21), -EINVAL);
	assert_false(stun_is(r.p, 19));
}

static void test_unknown(void **state)
{
	static const uint16_t known[] = { STUN_ATTR_USERNAME, STUN_ATTR_PRIORITY };
	struct raw r = { 0 };
	struct stun_msg m;
	uint16_t out[3];

	raw_attr(&r, 0x0002, "", 0);
	raw_attr(&r, STUN_ATTR_USERNAME, "u", 1);
	raw_attr(&r, 0x8002, "x", 1); /* optional */
	raw_attr(&r, 0xffff, "", 0);
	raw_attr(&r, 0x7fff, "", 0);
	raw_attr(&r, 0x0002, "again", 5);
	raw_attr(&r, 0x1234, "", 0);
	raw_attr(&r, 0x1235, "", 0);
	assert_int_equal(stun_decode(r.p, r.n, &m), 0);
	assert_int_equal(stun_unknown(&m, known, 2, out, 3), 3);
	assert_int_equal(out[0], 0x0002);
	assert_int_equal(out[1], 0x7fff);
	assert_int_equal(out[2], 0x1234);
	assert_int_equal(stun_unknown(&m, known, 2, out, 1), 1);
	assert_int_equal(stun_unknown(&m, known, 2, out, 0), 0);
}

static void test_values(void **state)
{
	static const struct {
		const char *hex;
		const char *addr;
	} addrs[] = {
		{ "0001138dc0000201", "192.0.2.1:5005" },
		{ "ff01138dc0000201", "192.0.2.1:5005" }, /* first byte is to be ignored */
		{ "0002138d20010db8000000000000000000000001", "[2001:db8::1]:5005" },
		{ "0002138d00000000000000000000ffffc0000201", "192.0.2.1:5005" }, /* canonical */
		{ "0002138dc0000201", NULL },
		{ "0001138d20010db8000000000000000000000001", NULL },
		{ "0003138dc0000201", NULL },
		{ "0001138dc00002", NULL },
		{ "0001138dc000020100", NULL },
		{ "", NULL },
	};
	struct stun_attr a = { .p = (const uint8_t *)"12345678", .n = 3 };
	char shown[ADDR_STR_BYTES];
	struct slice reason;
	unsigned code;
	uint32_t v32;
	uint64_t v64;

	assert_false(stun_attr_u32(&a, &v32));
	a.n = 4;
	assert_true(stun_attr_u32(&a, &v32));
	assert_int_equal(v32, 0x31323334);
	assert_false(stun_attr_u64(&a, &v64));
	a.n = 8;
	assert_true(stun_attr_u64(&a, &v64));
	assert_int_equal(v64, 0x3132333435363738);
	for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
		struct addr got;
		bool good;

		a.p = unhex(addrs[i].hex, &a.n);
		good = stun_attr_addr(&a, &got);
		assert_int_equal(good, addrs[i].addr != NULL);
		if (good)
			assert_string_equal(addr_str(&got, shown), addrs[i].addr);
		free((void *)a.p);
	}
	a = (struct stun_attr){ .p = (const uint8_t *)"\0\0\x04\x14Why", .n = 7 };
	assert_true(stun_attr_error(&a, &code, &reason));
	assert_int_equal(code, 420);
	assert_true(slice_eq(reason, SLICE("Why")));
	a.n = 3;
	assert_false(stun_attr_error(&a, &code, &reason));
	for (unsigned class = 0; class < 8; class ++) {
		uint8_t raw[4] = { 0, 0, (uint8_t) class, 99 };

		a = (struct stun_attr){ .p = raw, .n = 4 };
		assert_int_equal(stun_attr_error(&a, &code, &reason), class >= 3 && class <= 6);
		raw[3] = 100;
		assert_false(stun_attr_error(&a, &code, &reason));
	}
}

/* Everything the builder can write, read back. */
static void build_all(struct stun_build *b, uint8_t *p, size_t cap)
{
	static const uint16_t unknown[] = { 0x0002, 0x7fff, 0x1234 };
	struct addr a4, a6;

	addr_parse(SLICE("192.0.2.1:5005"), 0, &a4);
	addr_parse(SLICE("[2001:db8::1]:65535"), 0, &a6);
	stun_build_start(b, p, cap, STUN_CLASS_ERROR, STUN_METHOD_CREATE_PERMISSION, tid);
	stun_build_software(b, SLICE("turnpike"));
	stun_build_username(b, SLICE("a:b"));
	stun_build_priority(b, 0x6effffff);
	stun_build_use_candidate(b);
	stun_build_ice_role(b, true, 0x0102030405060708);
	stun_build_ice_role(b, false, 0x1112131415161718);
	stun_build_xor_addr(b, STUN_ATTR_XOR_MAPPED_ADDRESS, &a4);
	stun_build_xor_addr(b, STUN_ATTR_XOR_PEER_ADDRESS, &a6);
	stun_build_addr(b, STUN_ATTR_MAPPED_ADDRESS, &a6);
	stun_build_error(b, 487, NULL);
	stun_build_unknown(b, unknown, 3);
	stun_build_integrity(b, PASSWORD);
	stun_build_integrity256(b, PASSWORD);
	stun_build_fingerprint(b);
}

static void test_build(void **state)
{
	uint8_t p[400];
	char shown[ADDR_STR_BYTES];
	struct stun_build b;
	struct stun_attr a;
	struct stun_msg m;
	struct slice reason;
	struct addr got;
	unsigned code;
	uint64_t tie;
	size_t n;

	build_all(&b, p, sizeof(p));
	n = stun_build_end(&b);
	assert_int_not_equal(n, 0);
	assert_int_equal(stun_decode(p, n, &m), 0);
	assert_int_equal(m.class, STUN_CLASS_ERROR);
	assert_int_equal(m.method, STUN_METHOD_CREATE_PERMISSION);
	assert_int_equal(stun_integrity_check(&m, PASSWORD), 0);
	assert_int_equal(stun_integrity256_check(&m, PASSWORD), 0);
	assert_true(slice_eq(attr_slice(&m, STUN_ATTR_SOFTWARE), SLICE("turnpike")));
	assert_true(slice_eq(attr_slice(&m, STUN_ATTR_USERNAME), SLICE("a:b")));
	assert_true(stun_attr_find(&m, STUN_ATTR_USE_CANDIDATE, &a));
	assert_int_equal(a.n, 0);
	assert_true(stun_attr_find(&m, STUN_ATTR_ICE_CONTROLLING, &a) && stun_attr_u64(&a, &tie));
	assert_int_equal(tie, 0x0102030405060708);
	assert_true(stun_attr_find(&m, STUN_ATTR_ICE_CONTROLLED, &a) && stun_attr_u64(&a, &tie));
	assert_int_equal(tie, 0x1112131415161718);
	assert_true(stun_attr_find(&m, STUN_ATTR_XOR_MAPPED_ADDRESS, &a));
	assert_true(stun_attr_xor_addr(&m, &a, &got));
	assert_string_equal(addr_str(&got, shown), "192.0.2.1:5005");
	assert_true(stun_attr_find(&m, STUN_ATTR_XOR_PEER_ADDRESS, &a));
	assert_true(stun_attr_xor_addr(&m, &a, &got));
	assert_string_equal(addr_str(&got, shown), "[2001:db8::1]:65535");
	assert_true(stun_attr_find(&m, STUN_ATTR_MAPPED_ADDRESS, &a) && stun_attr_addr(&a, &got));
	assert_string_equal(addr_str(&got, shown), "[2001:db8::1]:65535");
	assert_true(stun_attr_find(&m, STUN_ATTR_ERROR_CODE, &a));
	assert_true(stun_attr_error(&a, &code, &reason));
	assert_int_equal(code, 487);
	assert_true(slice_eq(reason, SLICE("Role Conflict")));
	assert_true(slice_eq(attr_slice(&m, STUN_ATTR_UNKNOWN_ATTRIBUTES),
			     SLICE("\x00\x02\x7f\xff\x12\x34")));
	/* Any room too small fails, and writes nothing past it. */
	for (size_t cap = 0; cap <= n; cap++) {
		uint8_t *small = malloc(cap ? cap : 1);

		build_all(&b, small, cap);
		assert_int_equal(stun_build_end(&b), cap == n ? n : 0);
		if (cap == n)
			assert_memory_equal(small, p, n);
		free(small);
	}
}

/* What TURN adds (RFC 8656 section 18, RFC 6062 section 6, RFC 8489 14.11 and 14.12). */
static void build_turn(struct stun_build *b, uint8_t *p, size_t cap)
{
	static const uint16_t algorithms[] = { STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5 };

	stun_build_start(b, p, cap, STUN_CLASS_INDICATION, STUN_METHOD_CONNECTION_ATTEMPT, tid);
	stun_build_u32(b, STUN_ATTR_CONNECTION_ID, 0x01020304);
	stun_build_channel(b, 0x4005);
	stun_build_algorithms(b, algorithms, 2);
	stun_build_algorithm(b, STUN_ALGORITHM_SHA256);
	stun_build_address_error(b, STUN_FAMILY_IP6, 440, NULL);
	stun_build_icmp(b, 3, 4, 1400);
}

static void test_turn(void **state)
{
	uint16_t v16, list[4] = { 0 };
	struct stun_build b;
	struct slice reason;
	struct stun_attr a;
	struct stun_msg m;
	unsigned code;
	uint8_t p[200];
	size_t n, n_list;

	build_turn(&b, p, sizeof(p));
	n = stun_build_end(&b);
	assert_int_equal(stun_decode(p, n, &m), 0);
	assert_int_equal(m.class, STUN_CLASS_INDICATION);
	assert_int_equal(m.method, 0x00c);
	assert_true(slice_eq(attr_slice(&m, 0x002a), SLICE("\x01\x02\x03\x04")));
	assert_true(slice_eq(attr_slice(&m, 0x000c), SLICE("\x40\x05\0\0")));
	assert_true(slice_eq(attr_slice(&m, 0x8002), SLICE("\0\x02\0\0\0\x01\0\0")));
	assert_true(slice_eq(attr_slice(&m, 0x001d), SLICE("\0\x02\0\0")));
	assert_true(slice_eq(attr_slice(&m, 0x8001), SLICE("\x02\0\x04\x28"
							   "Address Family not Supported")));
	assert_true(slice_eq(attr_slice(&m, 0x8004), SLICE("\0\0\x03\x04\0\0\x05\x78")));
	assert_true(stun_attr_find(&m, STUN_ATTR_CHANNEL_NUMBER, &a) &&
		    stun_attr_channel(&a, &v16));
	assert_int_equal(v16, 0x4005);
	assert_true(stun_attr_find(&m, STUN_ATTR_PASSWORD_ALGORITHMS, &a));
	assert_true(stun_attr_algorithms(&a, list, 4, &n_list));
	assert_int_equal(n_list, 2);
	assert_int_equal(list[0], 2);
	assert_int_equal(list[1], 1);
	assert_true(stun_attr_algorithms(&a, list, 1, &n_list) && n_list == 1);
	assert_true(stun_attr_find(&m, STUN_ATTR_PASSWORD_ALGORITHM, &a));
	assert_true(stun_attr_algorithm(&a, &v16) && v16 == 2);
	assert_true(stun_attr_find(&m, STUN_ATTR_ADDRESS_ERROR_CODE, &a));
	assert_true(stun_attr_error(&a, &code, &reason) && code == 440);
	for (size_t cap = 0; cap < n; cap++) {
		uint8_t *small = malloc(cap ? cap : 1);

		build_turn(&b, small, cap);
		assert_int_equal(stun_build_end(&b), 0);
		free(small);
	}
	/* None of them behind the integrity. */
	for (int i = 0; i < 5; i++) {
		stun_build_start(&b, p, sizeof(p), STUN_CLASS_ERROR, STUN_METHOD_ALLOCATE, tid);
		stun_build_integrity(&b, PASSWORD);
		if (i == 0)
			stun_build_channel(&b, 0x4000);
		if (i == 1)
			stun_build_algorithms(&b, list, 1);
		if (i == 2)
			stun_build_algorithm(&b, 1);
		if (i == 3)
			stun_build_address_error(&b, STUN_FAMILY_IP4, 508, NULL);
		if (i == 4)
			stun_build_icmp(&b, 3, 4, 0);
		assert_int_equal(stun_build_end(&b), 0);
	}
}

static void test_turn_values(void **state)
{
	static const struct {
		const char *hex;
		int n; /* -1: malformed */
		uint16_t first;
		bool one; /* good as PASSWORD-ALGORITHM */
	} rows[] = {
		{ "", -1, 0, false },
		{ "0002", -1, 0, false },
		{ "00020000", 1, 2, true },
		{ "00010000", 1, 1, true },
		{ "0002000000010000", 2, 2, false },
		{ "000900050102030405000000", 1, 9, true }, /* parameters, padded */
		{ "00090005010203040500000000020000", 2, 9, false },
		{ "0009000501020304050000", 1, 9, true },
		{ "000900050102030405", 1, 9, true },
		{ "0009000501020304", -1, 0, false },
		{ "000200000001", -1, 0, false },
		{ "0002000000010004", -1, 0, false },
		{ "0002ffff", -1, 0, false },
	};
	uint16_t list[4], v16;
	struct stun_attr a;
	uint8_t v8;
	bool reserve;
	size_t n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool good;

		a.p = unhex(rows[i].hex, &a.n);
		good = stun_attr_algorithms(&a, list, 4, &n);
		if (good != (rows[i].n >= 0))
			fail_msg("%s", rows[i].hex);
		if (good) {
			assert_int_equal(n, rows[i].n);
			assert_int_equal(list[0], rows[i].first);
		}
		assert_int_equal(stun_attr_algorithm(&a, &v16), rows[i].one);
		if (rows[i].one)
			assert_int_equal(v16, rows[i].first);
		free((void *)a.p);
	}
	for (size_t len = 0; len <= 8; len++) {
		uint8_t *exact = malloc(len ? len : 1);

		memset(exact, 0x81, len);
		a = (struct stun_attr){ .p = exact, .n = len };
		assert_int_equal(stun_attr_u8(&a, &v8), len == 4);
		assert_int_equal(stun_attr_channel(&a, &v16), len == 4);
		assert_int_equal(stun_attr_even_port(&a, &reserve), len == 1);
		free(exact);
	}
	a = (struct stun_attr){ .p = (const uint8_t *)"\x11\0\0\0", .n = 4 };
	assert_true(stun_attr_u8(&a, &v8) && v8 == STUN_TRANSPORT_UDP);
	a = (struct stun_attr){ .p = (const uint8_t *)"\x7f", .n = 1 };
	assert_true(stun_attr_even_port(&a, &reserve) && !reserve);
	a.p = (const uint8_t *)"\x80";
	assert_true(stun_attr_even_port(&a, &reserve) && reserve);
}

static void test_reasons(void **state)
{
	static const struct {
		unsigned code;
		const char *reason;
	} rows[] = {
		{ 300, "Try Alternate" },
		{ 400, "Bad Request" },
		{ 401, "Unauthenticated" },
		{ 403, "Forbidden" },
		{ 420, "Unknown Attribute" },
		{ 437, "Allocation Mismatch" },
		{ 438, "Stale Nonce" },
		{ 440, "Address Family not Supported" },
		{ 441, "Wrong Credentials" },
		{ 442, "Unsupported Transport Protocol" },
		{ 443, "Peer Address Family Mismatch" },
		{ 446, "Connection Already Exists" },
		{ 447, "Connection Timeout or Failure" },
		{ 486, "Allocation Quota Reached" },
		{ 487, "Role Conflict" },
		{ 500, "Server Error" },
		{ 508, "Insufficient Capacity" },
		{ 405, "Error" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(stun_code_reason(rows[i].code), rows[i].reason);
}

/* TURN row 6: LIFETIME, a peer and others appended to a signed request are not there. */
static void test_appended(void **state)
{
	static const uint16_t extra[] = { STUN_ATTR_LIFETIME,	    STUN_ATTR_XOR_PEER_ADDRESS,
					  STUN_ATTR_CHANNEL_NUMBER, STUN_ATTR_DATA,
					  STUN_ATTR_USERNAME,	    STUN_ATTR_REALM,
					  STUN_ATTR_NONCE,	    STUN_ATTR_EVEN_PORT,
					  STUN_ATTR_CONNECTION_ID,  STUN_ATTR_RESERVATION_TOKEN,
					  0x802f /* ORIGIN */,	    0x7fff };

	for (int sha256 = 0; sha256 < 2; sha256++) {
		struct stun_attr a = { 0 };
		uint16_t unknown[4];
		struct raw r = { 0 };
		struct stun_msg m;

		raw_attr(&r, STUN_ATTR_LIFETIME, "\0\0\2\x58", 4);
		raw_integrity(&r, sha256, sha256 ? 32 : 20);
		for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++)
			raw_attr(&r, extra[i], "\0\1\0\x50\x7f\0\0\1", 8);
		assert_int_equal(stun_decode(r.p, r.n, &m), 0);
		assert_int_equal(sha256 ? stun_integrity256_check(&m, SLICE("secret"))
					: stun_integrity_check(&m, SLICE("secret")),
				 0);
		assert_true(stun_attr_next(&m, &a));
		assert_memory_equal(a.p, "\0\0\2\x58", 4);
		assert_false(stun_attr_next(&m, &a));
		for (size_t i = 1; i < sizeof(extra) / sizeof(extra[0]); i++)
			assert_false(stun_attr_find(&m, extra[i], &a));
		assert_int_equal(stun_unknown(&m, extra, 1, unknown, 4), 0);
	}
}

static void test_build_order(void **state)
{
	uint8_t p[400];
	struct stun_build b;

	for (int i = 0; i < 9; i++) {
		stun_build_start(&b, p, sizeof(p), STUN_CLASS_REQUEST, STUN_METHOD_BINDING, tid);
		if (i == 0 || i == 1 || i == 6)
			stun_build_fingerprint(&b);
		if (i == 2 || i == 3)
			stun_build_integrity(&b, PASSWORD);
		if (i == 4 || i == 5)
			stun_build_integrity256(&b, PASSWORD);
		assert_true(i >= 7 || stun_build_end(&b) != 0);
		if (i == 0 || i == 3 || i == 4)
			stun_build_integrity(&b, PASSWORD);
		if (i == 1)
			stun_build_software(&b, SLICE("x"));
		if (i == 2)
			stun_build_use_candidate(&b);
		if (i == 5)
			stun_build_integrity256(&b, PASSWORD);
		if (i == 6)
			stun_build_error(&b, 400, NULL);
		if (i == 7)
			stun_build_attr(&b, STUN_ATTR_MESSAGE_INTEGRITY, p, 20);
		if (i == 8)
			stun_build_attr(&b, STUN_ATTR_FINGERPRINT, p, 4);
		assert_int_equal(stun_build_end(&b), 0);
		/* And stays failed. */
		stun_build_fingerprint(&b);
		assert_int_equal(stun_build_end(&b), 0);
	}
}

static void test_build_bounds(void **state)
{
	static uint8_t p[66000], text[65536];
	struct addr none = { 0 };
	struct stun_build b;
	static const struct {
		uint16_t type;
		size_t max;
	} rows[] = { { STUN_ATTR_USERNAME, 508 },
		     { STUN_ATTR_REALM, 763 },
		     { STUN_ATTR_NONCE, 763 },
		     { STUN_ATTR_SOFTWARE, 763 },
		     { STUN_ATTR_DATA, 65528 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t n = rows[i].max; n <= rows[i].max + 1; n++) {
			stun_build_start(&b, p, sizeof(p), STUN_CLASS_REQUEST, 1, tid);
			stun_build_attr(&b, rows[i].type, text, n);
			assert_int_equal(stun_build_end(&b) != 0, n == rows[i].max);
		}
	}
	stun_build_start(&b, p, sizeof(p), STUN_CLASS_REQUEST, 1, tid);
	stun_build_attr(&b, STUN_ATTR_DATA, text, SIZE_MAX);
	assert_int_equal(stun_build_end(&b), 0);
	stun_build_start(&b, p, sizeof(p), STUN_CLASS_REQUEST, 1, tid);
	stun_build_xor_addr(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &none);
	assert_int_equal(stun_build_end(&b), 0);
	for (unsigned code = 298; code < 703; code++) {
		stun_build_start(&b, p, sizeof(p), STUN_CLASS_REQUEST, 1, tid);
		stun_build_error(&b, code, "");
		assert_int_equal(stun_build_end(&b) != 0, code >= 300 && code <= 699);
	}
}

/* RFC 2202 and RFC 4231: keys shorter and longer than a block. */
static void test_hmac(void **state)
{
	uint8_t key[131], out[32], want[32];
	struct hmac_sha256 h2;
	struct hmac_sha1 h1;

	hmac_sha1_init(&h1, "Jefe", 4);
	hmac_sha1(&h1, SLICE("what do ya want "), SLICE("for nothing?"), out);
	hex_decode(SLICE("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"), want, 20);
	assert_memory_equal(out, want, 20);
	memset(key, 0xaa, sizeof(key));
	hmac_sha1_init(&h1, key, 80);
	hmac_sha1(&h1, SLICE_NONE, SLICE("Test Using Larger Than Block-Size Key - Hash Key First"),
		  out);
	hex_decode(SLICE("aa4ae5e15272d00e95705637ce8a3b55ed402112"), want, 20);
	assert_memory_equal(out, want, 20);
	hmac_sha256_init(&h2, "Jefe", 4);
	hmac_sha256(&h2, SLICE("what do ya want for nothing?"), SLICE_NONE, out);
	hex_decode(SLICE("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"), want,
		   32);
	assert_memory_equal(out, want, 32);
	hmac_sha256_init(&h2, key, 131);
	hmac_sha256(&h2, SLICE("Test Using Larger Than Block-Size Key"), SLICE(" - Hash Key First"),
		    out);
	hex_decode(SLICE("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"), want,
		   32);
	assert_memory_equal(out, want, 32);
}

/* sofia-sip, which is linked with the codecs, has a function of this name with another signature,
 * and libnice would call that one. Defined here it calls this one, which does what its own does. */
uint16_t stun_message_length(const StunMessage *msg)
{
	return (uint16_t)(STUN_HEADER_BYTES + (msg->buffer[2] << 8 | msg->buffer[3]));
}

static uint64_t rng_state = 1;

static uint32_t rnd(uint32_t below)
{
	rng_state = rng_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(rng_state >> 33) % below;
}

static struct addr random_addr(void)
{
	uint8_t ip[16];
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = (uint16_t)rnd(65536) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = (uint16_t)rnd(65536) };

	for (int i = 0; i < 16; i++)
		ip[i] = (uint8_t)rnd(256);
	memcpy(&in.sin_addr, ip, 4);
	memcpy(&in6.sin6_addr, ip, 16);
	return addr_from_sockaddr(rnd(2) ? (struct sockaddr *)&in : (struct sockaddr *)&in6);
}

static bool nice_password(StunAgent *agent, StunMessage *msg, uint8_t *user, uint16_t n_user,
			  uint8_t **password, size_t *n_password, void *data)
{
	*password = (uint8_t *)PASSWORD.p;
	*n_password = PASSWORD.n;
	return true;
}

static void nice_agent_init(StunAgent *agent)
{
	stun_agent_init(agent, STUN_ALL_KNOWN_ATTRIBUTES, STUN_COMPATIBILITY_RFC5389,
			STUN_AGENT_USAGE_SHORT_TERM_CREDENTIALS | STUN_AGENT_USAGE_USE_FINGERPRINT);
}

/* Random values that a round makes, builds and looks for. */
struct round {
	struct addr mapped;
	struct addr peer;
	char user[508 + 1];
	uint8_t data[64];
	size_t n_data;
	uint32_t priority;
	uint64_t tie;
};

static struct round make_round(void)
{
	struct round r = { .mapped = random_addr(),
			   .peer = random_addr(),
			   .n_data = rnd(64),
			   .priority = rnd(0x7fffffff),
			   .tie = (uint64_t)rnd(0x7fffffff) << 31 };
	size_t n = 1 + rnd(508);

	for (size_t i = 0; i < n; i++)
		r.user[i] = (char)('!' + rnd(90));
	for (size_t i = 0; i < sizeof(r.data); i++)
		r.data[i] = (uint8_t)rnd(256);
	return r;
}

/* We build, libnice reads. */
static void test_nice_reads(void **state)
{
	for (int i = 0; i < 2000; i++) {
		struct round r = make_round();
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct addr got;
		uint8_t p[1400];
		char user[600];
		struct stun_build b;
		StunAgent agent;
		StunMessage m;
		uint32_t v32;
		uint64_t v64;
		uint16_t n_data;
		const void *data;

		nice_agent_init(&agent);
		stun_build_start(&b, p, sizeof(p), STUN_CLASS_REQUEST, 1 + rnd(9), tid);
		stun_build_username(&b, slice_of(r.user));
		stun_build_priority(&b, r.priority);
		stun_build_ice_role(&b, i % 2, r.tie);
		stun_build_attr(&b, STUN_ATTR_DATA, r.data, r.n_data);
		stun_build_xor_addr(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &r.mapped);
		stun_build_addr(&b, STUN_ATTR_MAPPED_ADDRESS, &r.peer);
		if (i % 3 == 0)
			stun_build_use_candidate(&b);
		stun_build_integrity(&b, PASSWORD);
		stun_build_fingerprint(&b);
		assert_int_not_equal(stun_build_end(&b), 0);
		assert_int_equal(
			stun_agent_validate(&agent, &m, p, stun_build_end(&b), nice_password, NULL),
			STUN_VALIDATION_SUCCESS);
		assert_int_equal(
			stun_message_find_string(&m, STUN_ATTRIBUTE_USERNAME, user, sizeof(user)),
			0);
		assert_string_equal(user, r.user);
		assert_int_equal(stun_message_find32(&m, STUN_ATTRIBUTE_PRIORITY, &v32), 0);
		assert_int_equal(v32, r.priority);
		assert_int_equal(stun_message_find64(&m,
						     i % 2 ? STUN_ATTRIBUTE_ICE_CONTROLLING
							   : STUN_ATTRIBUTE_ICE_CONTROLLED,
						     &v64),
				 0);
		assert_int_equal(v64, r.tie);
		data = stun_message_find(&m, STUN_ATTRIBUTE_DATA, &n_data);
		assert_int_equal(n_data, r.n_data);
		assert_memory_equal(data, r.data, n_data);
		assert_int_equal(stun_message_find_xor_addr(&m, STUN_ATTRIBUTE_XOR_MAPPED_ADDRESS,
							    &ss, &len),
				 0);
		got = addr_from_sockaddr((struct sockaddr *)&ss);
		assert_true(addr_eq(&got, &r.mapped));
		assert_int_equal(stun_message_find_flag(&m, STUN_ATTRIBUTE_USE_CANDIDATE) == 0,
				 i % 3 == 0);
	}
}

/* libnice builds, we read; and our own copy of its message has the same bytes. */
static void test_nice_builds(void **state)
{
	for (int i = 0; i < 2000; i++) {
		struct round r = make_round();
		struct sockaddr_storage ss;
		uint8_t p[1400], q[1400];
		struct stun_build b;
		struct stun_msg m;
		struct stun_attr a;
		StunAgent agent;
		StunMessage nice;
		struct addr got;
		size_t n;

		nice_agent_init(&agent);
		assert_true(stun_agent_init_request(&agent, &nice, p, sizeof(p), STUN_BINDING));
		assert_int_equal(stun_message_append_string(&nice, STUN_ATTRIBUTE_USERNAME, r.user),
				 0);
		assert_int_equal(stun_message_append32(&nice, STUN_ATTRIBUTE_PRIORITY, r.priority),
				 0);
		assert_int_equal(
			stun_message_append64(&nice, STUN_ATTRIBUTE_ICE_CONTROLLING, r.tie), 0);
		assert_int_equal(
			stun_message_append_bytes(&nice, STUN_ATTRIBUTE_DATA, r.data, r.n_data), 0);
		assert_int_equal(stun_message_append_xor_addr(&nice,
							      STUN_ATTRIBUTE_XOR_PEER_ADDRESS, &ss,
							      addr_to_sockaddr(&r.peer, &ss)),
				 0);
		assert_int_equal(stun_message_append_flag(&nice, STUN_ATTRIBUTE_USE_CANDIDATE), 0);
		n = stun_agent_finish_message(&agent, &nice, (const uint8_t *)PASSWORD.p,
					      PASSWORD.n);
		assert_int_not_equal(n, 0);
		assert_int_equal(decode_copy(p, n), 0);
		assert_int_equal(stun_decode(p, n, &m), 0);
		assert_int_equal(stun_integrity_check(&m, PASSWORD), 0);
		assert_true(m.fingerprint_at != 0);
		assert_true(slice_eq(attr_slice(&m, STUN_ATTR_USERNAME), slice_of(r.user)));
		assert_true(stun_attr_find(&m, STUN_ATTR_XOR_PEER_ADDRESS, &a));
		assert_true(stun_attr_xor_addr(&m, &a, &got));
		assert_true(addr_eq(&got, &r.peer));
		stun_build_start(&b, q, sizeof(q), STUN_CLASS_REQUEST, STUN_METHOD_BINDING, m.tid);
		for (a = (struct stun_attr){ 0 }; stun_attr_next(&m, &a);)
			stun_build_attr(&b, a.type, a.p, a.n);
		stun_build_integrity(&b, PASSWORD);
		stun_build_fingerprint(&b);
		assert_int_equal(stun_build_end(&b), n);
		/* Padding may differ, and with it the two sums. */
		if (strlen(r.user) % 4 == 0 && r.n_data % 4 == 0)
			assert_memory_equal(p, q, n);
	}
}

/* Random bytes and random damage: what we take, libnice takes for a whole message too. */
static void test_nice_damaged(void **state)
{
	unsigned n_good = 0;

	for (int i = 0; i < 20000; i++) {
		size_t n;
		uint8_t *p = unhex(i % 2 ? REQUEST_LONG_TERM : REQUEST_SHA256, &n);

		for (uint32_t k = rnd(4); k > 0; k--)
			p[rnd((uint32_t)n)] ^= (uint8_t)(1 << rnd(8));
		if (decode_copy(p, n) == 0) {
			n_good++;
			assert_int_equal(stun_message_validate_buffer_length(p, n, true), (int)n);
		}
		free(p);
	}
	assert_true(n_good > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc5769_request),
		cmocka_unit_test(test_rfc5769_responses),
		cmocka_unit_test(test_rfc5769_long_term),
		cmocka_unit_test(test_rfc8489_sha256),
		cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_after_integrity),
		cmocka_unit_test(test_truncated_sha256),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_turn),
		cmocka_unit_test(test_turn_values),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_appended),
		cmocka_unit_test(test_build_order),
		cmocka_unit_test(test_build_bounds),
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_nice_reads),
		cmocka_unit_test(test_nice_builds),
		cmocka_unit_test(test_nice_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
