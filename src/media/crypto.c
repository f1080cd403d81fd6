#include "media/crypto.h"

#include <errno.h>

static int side_stage(struct media_keys_side *s, const struct srtp_master *key)
{
	srtp_ctx_free(s->staged);
	s->staged = NULL;
	s->keep = s->ctx && key && srtp_ctx_same_key(s->ctx, key);
	if (s->keep || !key)
		return 0;
	s->staged = srtp_ctx_new(key, 0);
	return s->staged ? 0 : -ENOMEM;
}

static void side_discard(struct media_keys_side *s)
{
	srtp_ctx_free(s->staged);
	s->staged = NULL;
	s->keep = true;
}

static bool side_commit(struct media_keys_side *s)
{
	if (s->keep)
		return false;
	srtp_ctx_free(s->ctx);
	s->ctx = s->staged;
	s->staged = NULL;
	s->keep = true;
	return true;
}

int media_keys_stage(struct media_keys *c, const struct srtp_master *rx,
		     const struct srtp_master *tx)
{
	int err = side_stage(&c->rx, rx);

	if (err == 0)
		err = side_stage(&c->tx, tx);
	if (err < 0)
		media_keys_discard(c);
	return err;
}

bool media_keys_commit(struct media_keys *c)
{
	side_commit(&c->tx);
	return side_commit(&c->rx);
}

void media_keys_discard(struct media_keys *c)
{
	side_discard(&c->rx);
	side_discard(&c->tx);
}

void media_keys_fini(struct media_keys *c)
{
	media_keys_discard(c);
	srtp_ctx_free(c->rx.ctx);
	srtp_ctx_free(c->tx.ctx);
	c->rx.ctx = c->tx.ctx = NULL;
}

static bool counted(struct media_keys *c, int err)
{
	if (err == 0)
		return true;
	if (err == -EBADMSG)
		c->n_bad_tag++;
	else if (err == -EALREADY)
		c->n_replayed++;
	else
		c->n_other++;
	return false;
}

bool media_keys_in(struct media_keys *c, bool rtcp, uint8_t *p, size_t *n)
{
	if (!c->rx.ctx)
		return true;
	return counted(c,
		       rtcp ? srtcp_unprotect(c->rx.ctx, p, n) : srtp_unprotect(c->rx.ctx, p, n));
}

bool media_keys_out(struct media_keys *c, bool rtcp, uint8_t *p, size_t *n, size_t cap)
{
	if (!c->tx.ctx)
		return true;
	return counted(c, rtcp ? srtcp_protect(c->tx.ctx, p, n, cap)
			       : srtp_protect(c->tx.ctx, p, n, cap));
}

/* RFC 3711 section 3.4, RFC 7714 section 9.2: E bit and index stand before the MKI and, but for
 * GCM, the tag; srtcp_trailer() is what stands behind the encrypted part. */
static uint32_t srtcp_index(const struct srtp_ctx *ctx, const uint8_t *p, size_t n)
{
	size_t tail = srtcp_trailer(ctx);
	const uint8_t *w = p + n - tail;

	return ((uint32_t)(w[0] & 0x7f) << 24) | (uint32_t)w[1] << 16 | (uint32_t)w[2] << 8 | w[3];
}

bool media_keys_verify(struct media_keys *c, bool rtcp, const uint8_t *p, size_t n, uint32_t roc,
		       uint32_t *index)
{
	if (!c->rx.ctx)
		return false;
	if (!rtcp)
		return counted(c, srtp_verify_roc(c->rx.ctx, p, n, roc));
	if (!counted(c, srtcp_verify(c->rx.ctx, p, n)))
		return false;
	*index = srtcp_index(c->rx.ctx, p, n);
	return true;
}
