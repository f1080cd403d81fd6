#ifndef MEDIA_SESSION_SDP_H
#define MEDIA_SESSION_SDP_H
/* What a session writes into the SDP that it sends on a leg. */
#include "media/rewrite.h"
#include "media/session.h"

/* The line for the offer to leg `to`. 0 or -EINVAL. */
int media_offer_line(struct media_session *s, unsigned to, size_t i, const struct media_plan *p,
		     media_random random, void *arg, struct rewrite_line *out);
/* The line for the answer to the offerer. crypto: a=crypto to write, NULL: none. */
void media_answer_line(struct media_session *s, size_t i, const struct media_plan *p,
		       const struct media_desc *answer, const struct srtp_sdes *crypto,
		       struct rewrite_line *out);
/* Is rtcp-mux in force on the leg after this exchange? The offerer gets what it offered; the
 * answerer decides on its own leg. Toward the inside it is never offered. */
bool media_leg_mux_agreed(const struct media_session *s, unsigned leg, const struct media_plan *p,
			  const struct media_desc *answer);
/* Rewrites sdp for the leg and prints it into out. The version of the o= line grows when the text
 * differs from what was sent last (RFC 3264 section 8). 0 or negative errno; then the leg is as
 * before. */
int media_leg_print(struct media_session *s, unsigned leg, struct sdp *sdp,
		    const struct rewrite_line *lines, struct buf *out);
void media_rewrite_lines_wipe(struct rewrite_line *lines, size_t n);

#endif
