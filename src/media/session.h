#ifndef MEDIA_SESSION_H
#define MEDIA_SESSION_H
/*
 * From SDP to streams and back: one session a call, two legs, one stream a m= line (RFC 3264).
 *
 *   NEW --offer--> OFFERED --answer--> AGREED --offer--> OFFERED --answer--> AGREED
 *                  OFFERED --rollback--> NEW or AGREED        AGREED --answer--> AGREED (later
 * answer)
 *
 * An offer or answer is judged whole before anything changes; ports and keys that a refused offer
 * had taken are given back. Streams run from the first answer on (early media).
 *
 * Crypto of the two legs, line by line (design 6):
 *   RELAY         on either leg: keys and packets pass as they are
 *   ENCRYPTED     the leg is SRTP: an offer of it must be RTP/SAVP(F), or carry a=crypto; toward it
 *                 goes RTP/SAVP(F) with two keys of ours; an answer without key is refused with 488
 *   BEST_EFFORT   toward it goes RTP/AVP(F) with a=crypto lines (as most PBXs write it; those who
 * do not know a=crypto see an ordinary offer); what comes decides NONE          the leg is RTP: an
 * RTP/SAVP(F) offer of it is refused, a=crypto on AVP ignored AUTO          the leg follows the
 * other one: no change where the other one is content
 */
#include "media/end.h"
#include "media/plan.h"

enum session_state { SESSION_NEW, SESSION_OFFERED, SESSION_AGREED };

struct media_leg {
	struct media_leg_params params;
	uint64_t sess_id;   /* of our o= line */
	uint64_t version;   /* 0: nothing sent yet */
	uint64_t sent_hash; /* of the SDP last sent */
};

struct media_session {
	struct list node;
	struct media_engine *engine;
	uint64_t id;
	uint64_t parent;
	char session[CONN_SESSION_BYTES];
	enum session_state state;
	size_t n_agreed; /* m= lines of the last exchange that was completed */
	bool agreed_once;
	struct media_leg legs[2];
	unsigned offerer; /* leg of the pending or last offer */
	size_t n_plans;
	struct media_plan *plans;
	size_t n_streams; /* slots in use, some may be off */
	struct media_stream *streams[SDP_MAX_MEDIA];
	struct media_own_keys *own[SDP_MAX_MEDIA][2];
	int64_t agreed_ms;
};

struct media_refusal {
	int status;
	char *why; /* DESC_WHY_BYTES */
};

uint64_t media_session_new(struct media_engine *e, uint64_t parent, const char *session,
			   const struct media_leg_params legs[2]);
struct media_session *media_session_get(const struct media_engine *e, uint64_t id);
void media_session_free(struct media_session *s, const char *reason);
/* Turns a leg toward another target (serial forking too): its ends are given back, a pending offer
 * is rolled back, the SDP to it starts a session of its own. The next offer opens it anew. 0, or
 * -EINVAL (no such leg). */
int media_session_leg_set(struct media_session *s, unsigned leg, const struct media_leg_params *p);
/* As in turnpike/media.h. */
int media_session_offer(struct media_session *s, unsigned from, struct slice text, struct buf *out,
			struct media_refusal *r);
int media_session_answer(struct media_session *s, unsigned from, struct slice text, struct buf *out,
			 struct media_refusal *r);
void media_session_rollback(struct media_session *s);
/* Nothing heard on any stream for the idle timeout, and silence is a fault. */
bool media_session_idle(const struct media_session *s, int64_t now_ms);

#endif
