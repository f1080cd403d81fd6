#ifndef PROTO_SRTP_H
#define PROTO_SRTP_H
/*
 * SRTP and SRTCP (RFC 3711, AES-256: RFC 6188, AES-GCM: RFC 7714) on OpenSSL, and the SDES text of
 * SDP (RFC 4568). A context serves one direction: protect or unprotect. It keeps per SSRC the
 * packet index and the replay window; nothing is allocated per packet.
 *
 * Outcomes of the packet functions: 0; -EINVAL malformed; -ENOSPC no room behind the packet;
 * -EBADMSG wrong tag, MKI or encryption flag; -EALREADY replayed, too old, or from a source whose
 * state was given up for a newer one; -EKEYEXPIRED the index space of the key is used up; -EIO
 * OpenSSL failed. On an error nothing but the packet's bytes may have changed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum srtp_suite {
	SRTP_SUITE_NONE,
	SRTP_SUITE_AES_CM_128_HMAC_SHA1_80,
	SRTP_SUITE_AES_CM_128_HMAC_SHA1_32,
	SRTP_SUITE_AES_256_CM_HMAC_SHA1_80,
	SRTP_SUITE_AES_256_CM_HMAC_SHA1_32,
	SRTP_SUITE_AEAD_AES_128_GCM,
	SRTP_SUITE_AEAD_AES_256_GCM,
	SRTP_N_SUITES,
};

enum {
	SRTP_MASTER_BYTES = 46,	  /* longest master key and salt: 32 + 14 */
	SRTP_MKI_BYTES = 128,	  /* RFC 4568 section 6.1 */
	SRTP_TRAILER_BYTES = 148, /* most that protecting adds: tag, E bit and index, MKI */
	SRTP_SOURCES = 16,	  /* SSRCs that a context keeps apart, unless told otherwise */
	SRTP_WINDOW = 128,	  /* packets; RFC 3711 3.3.2 wants at least 64 */
};

struct srtp_master {
	uint8_t key[SRTP_MASTER_BYTES]; /* srtp_suite_bytes(): master key, then master salt */
	uint8_t mki[SRTP_MKI_BYTES];
	uint8_t n_mki; /* 0: no MKI on the wire */
	enum srtp_suite suite;
};

/* Suite names of SDP. NULL for SRTP_SUITE_NONE. */
const char *srtp_suite_str(enum srtp_suite suite);
enum srtp_suite srtp_suite_parse(struct slice name);
/* Bytes of master key and salt together; 0 for SRTP_SUITE_NONE. */
size_t srtp_suite_bytes(enum srtp_suite suite);

struct srtp_ctx;

/* A context under a master key, for at most max_sources SSRCs (0: SRTP_SOURCES). NULL without
 * memory or for an unknown suite. The caller keeps m and wipes its copy (srtp_master_wipe). */
struct srtp_ctx *srtp_ctx_new(const struct srtp_master *m, unsigned max_sources);
/* Wipes all keys. NULL is fine. */
void srtp_ctx_free(struct srtp_ctx *c);
/* True when m has the suite, key and salt that the context runs on: a re-INVITE without a new key.
 */
bool srtp_ctx_same_key(const struct srtp_ctx *c, const struct srtp_master *m);
/* Goes over to m. The same key keeps every index and replay window (only the MKI may change), a new
 * one forgets all sources. 0, -EINVAL or -EIO; then the context is as before. */
int srtp_ctx_rekey(struct srtp_ctx *c, const struct srtp_master *m);
/* Bytes that protecting adds. */
size_t srtp_trailer(const struct srtp_ctx *c);
size_t srtcp_trailer(const struct srtp_ctx *c);
/* Sets the roll-over counter of a source (RFC 3711 3.3.1 leaves signalling it to others). seq is
 * the one to expect next. Forgets the source's replay window. -ENOSPC when the table is full. */
int srtp_ctx_set_roc(struct srtp_ctx *c, uint32_t ssrc, uint32_t roc, uint16_t seq);
/* Roll-over counter of a source; false when the context does not know it. */
bool srtp_ctx_roc(const struct srtp_ctx *c, uint32_t ssrc, uint32_t *roc);

/* In place: the packet of *n bytes in a block of cap bytes grows or shrinks, *n follows. */
int srtp_protect(struct srtp_ctx *c, uint8_t *pkt, size_t *n, size_t cap);
int srtp_unprotect(struct srtp_ctx *c, uint8_t *pkt, size_t *n);
int srtcp_protect(struct srtp_ctx *c, uint8_t *pkt, size_t *n, size_t cap);
int srtcp_unprotect(struct srtp_ctx *c, uint8_t *pkt, size_t *n);

/* Checks the tag and changes nothing, neither packet nor context. For a relay that looks only at
 * packets which would latch: the roll-over counter comes from what the context has seen by
 * unprotecting, 0 for an unknown SSRC. A copy of a good packet passes too (the caller looks at the
 * sequence number). */
int srtp_verify(struct srtp_ctx *c, const uint8_t *pkt, size_t n);
/* The same under a roll-over counter that the caller counted itself. */
int srtp_verify_roc(struct srtp_ctx *c, const uint8_t *pkt, size_t n, uint32_t roc);
int srtcp_verify(struct srtp_ctx *c, const uint8_t *pkt, size_t n);

/* The value of an SDP a=crypto attribute (RFC 4568 section 9.1). */
struct srtp_sdes {
	uint32_t tag;
	struct srtp_master master;
	uint64_t lifetime; /* packets, 0 when the text names none */
};

/* Parses "1 AES_CM_128_HMAC_SHA1_80 inline:<base64>|2^20|1:4 WSH=64". 0; -EINVAL for malformed
 * text; -ENOTSUP for what is legal but not taken: unknown suites, several keys, session parameters
 * that change the transform (KDR, UNENCRYPTED_*, UNAUTHENTICATED_SRTP, FEC_*) and unknown ones
 * without the
 * "-" of optional ones. On error *why is a constant text. */
int srtp_sdes_parse(struct slice text, struct srtp_sdes *out, const char **why);
void srtp_sdes_print(struct buf *out, const struct srtp_sdes *s);
/* Takes the key from the first srtp_suite_bytes(suite) of n random bytes. -EINVAL: unknown suite or
 * too few. No lifetime, no MKI. */
int srtp_sdes_generate(struct srtp_sdes *out, uint32_t tag, enum srtp_suite suite,
		       const uint8_t *random, size_t n);
void srtp_master_wipe(struct srtp_master *m);

#endif
