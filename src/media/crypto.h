#ifndef MEDIA_CRYPTO_H
#define MEDIA_CRYPTO_H
/*
 * The SRTP contexts of one end of a stream: rx under the key the peer sends with, tx under ours.
 * Where packets are relayed as they are (E, or C where nothing changes), rx only checks tags for
 * the latch and there is no tx.
 *
 * A change of keys is staged when the SDP comes and committed when the exchange is complete, so
 * that want of memory refuses the SDP instead of breaking the stream. The same key keeps its
 * context, with roll-over counters and replay windows (RFC 4568 section 7.1.4: a re-INVITE does not
 * rekey).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/srtp.h"

struct media_keys_side {
	struct srtp_ctx *ctx;	 /* NULL: plain */
	struct srtp_ctx *staged; /* replaces ctx at commit */
	bool keep;		 /* commit leaves ctx alone */
};

struct media_keys {
	struct media_keys_side rx, tx;
	uint64_t n_bad_tag, n_replayed, n_other; /* packets refused */
};

/* NULL: plain on that side. 0 or -ENOMEM, then nothing is staged. */
int media_keys_stage(struct media_keys *c, const struct srtp_master *rx,
		     const struct srtp_master *tx);
/* Returns true when rx changed its key. */
bool media_keys_commit(struct media_keys *c);
void media_keys_discard(struct media_keys *c);
void media_keys_fini(struct media_keys *c);

/* In place; false: drop it (counted). Plain sides pass everything. */
bool media_keys_in(struct media_keys *c, bool rtcp, uint8_t *p, size_t *n);
bool media_keys_out(struct media_keys *c, bool rtcp, uint8_t *p, size_t *n, size_t cap);
/* Tag check without change. index: SRTCP index of a good SRTCP packet. */
bool media_keys_verify(struct media_keys *c, bool rtcp, const uint8_t *p, size_t n, uint32_t roc,
		       uint32_t *index);

#endif
