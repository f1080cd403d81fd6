#include "media/latch.h"

#include <string.h>

#include "proto/rtp.h"

void latch_init(struct latch *l, bool trusted, const struct latch *ally)
{
	memset(l, 0, sizeof(*l));
	l->trusted = trusted;
	l->ally = ally;
}

void latch_signal(struct latch *l, enum latch_rule rule, const struct addr *signalled,
		  const struct addr *near)
{
	bool changed = !addr_eq(&l->signalled, signalled);

	l->rule = rule;
	l->signalled = *signalled;
	l->near = *near;
	l->near.port = 0;
	if (l->trusted && changed)
		l->remote = *signalled;
	else if (rule == LATCH_SIGNALLED && !addr_eq(&l->remote, signalled))
		l->remote = (struct addr){ 0 };
}

void latch_new_key(struct latch *l)
{
	memset(l->sources, 0, sizeof(l->sources));
	l->evicted = false;
}

static struct latch_source *source_find(struct latch *l, const struct latch_packet *pkt)
{
	bool rtcp = pkt->kind == LATCH_PACKET_RTCP;
	struct latch_source *s = &l->sources[l->last_source];

	if (s->used && s->ssrc == pkt->ssrc && s->rtcp == rtcp)
		return s;
	for (unsigned i = 0; i < LATCH_N_SOURCES; i++) {
		s = &l->sources[i];
		if (s->used && s->ssrc == pkt->ssrc && s->rtcp == rtcp) {
			l->last_source = i;
			return s;
		}
	}
	return NULL;
}

static void source_note(struct latch *l, const struct latch_packet *pkt, uint64_t index)
{
	struct latch_source *s = source_find(l, pkt);

	if (!s) {
		l->last_source = l->next_source;
		l->next_source = (l->next_source + 1) % LATCH_N_SOURCES;
		s = &l->sources[l->last_source];
		l->evicted = l->evicted || s->used;
		*s = (struct latch_source){ .ssrc = pkt->ssrc,
					    .newest = index,
					    .rtcp = pkt->kind == LATCH_PACKET_RTCP,
					    .used = true };
	}
	if (index > s->newest)
		s->newest = index;
	if (index > s->verified)
		s->verified = index;
}

static uint64_t rtp_index(struct latch *l, const struct latch_packet *pkt)
{
	const struct latch_source *s = source_find(l, pkt);

	return s ? rtp_seq_extend(s->newest, pkt->seq) : pkt->seq;
}

/* Counts events within a sliding-start window; true when the limit is reached. */
static bool over(unsigned *n, int64_t *since_ms, unsigned max, int64_t window_ms, int64_t now_ms)
{
	if (now_ms - *since_ms >= window_ms) {
		*since_ms = now_ms;
		*n = 0;
	}
	return *n >= max;
}

static bool tag_proves(struct latch *l, const struct latch_packet *pkt, const struct latch_ops *ops,
		       void *arg, int64_t now_ms)
{
	const struct latch_source *known;
	uint32_t rtcp_index = 0;
	uint64_t index = 0;

	if (pkt->kind == LATCH_PACKET_OTHER)
		return false;
	/* What the latched source says in RTCP is not checked, so how new a report is cannot be
	 * known: RTCP follows RTP to a new address and never leads. */
	if (pkt->kind == LATCH_PACKET_RTCP && latch_proved(l) &&
	    !(l->ally && latch_proved(l->ally) && addr_ip_eq(&pkt->from, &l->ally->remote)))
		return false;
	if (over(&l->n_checks, &l->checks_since_ms, LATCH_MAX_CHECKS, LATCH_CHECKS_MS, now_ms))
		return false;
	known = source_find(l, pkt);
	if (!known && l->evicted && !addr_eq(&pkt->from, &l->remote))
		return false;
	if (pkt->kind == LATCH_PACKET_RTP) {
		index = rtp_index(l, pkt);
		if (known && index <= known->newest)
			return false;
	}
	if (!ops->verify(arg, pkt, (uint32_t)(index >> 16), &rtcp_index)) {
		l->n_checks++;
		return false;
	}
	if (pkt->kind == LATCH_PACKET_RTCP) {
		index = rtcp_index;
		if (known && index <= known->newest)
			return false;
	}
	source_note(l, pkt, index);
	return true;
}

static bool run_grows(struct latch *l, const struct latch_packet *pkt)
{
	bool next = l->run.n > 0 && addr_eq(&l->run.from, &pkt->from) && l->run.ssrc == pkt->ssrc &&
		    (uint16_t)(l->run.seq + 1) == pkt->seq;

	l->run.from = pkt->from;
	l->run.ssrc = pkt->ssrc;
	l->run.seq = pkt->seq;
	l->run.n = next ? l->run.n + 1 : 1;
	return l->run.n >= LATCH_N_RUN;
}

static bool run_proves(struct latch *l, const struct latch_packet *pkt, int64_t now_ms)
{
	bool latched = latch_proved(l);

	if (latched && now_ms - l->heard_ms < LATCH_QUIET_MS)
		return false;
	if (!latched && addr_eq(&pkt->from, &l->signalled))
		return true;
	if (pkt->kind == LATCH_PACKET_OTHER)
		return false;
	if (pkt->kind == LATCH_PACKET_RTCP)
		return (l->ally && latch_proved(l->ally) &&
			addr_ip_eq(&pkt->from, &l->ally->remote)) ||
		       addr_eq(&pkt->from, &l->signalled);
	if (!addr_eq(&pkt->from, &l->signalled) && !addr_ip_eq(&pkt->from, &l->near))
		return false;
	return run_grows(l, pkt);
}

static bool proves(struct latch *l, const struct latch_packet *pkt, const struct latch_ops *ops,
		   void *arg, int64_t now_ms)
{
	switch (l->rule) {
	case LATCH_TAG:
		return tag_proves(l, pkt, ops, arg, now_ms);
	case LATCH_RUN:
		return run_proves(l, pkt, now_ms);
	case LATCH_SIGNALLED:
		return addr_eq(&pkt->from, &l->signalled);
	}
	return false;
}

/* Keeps up with the latched source, whose address can be forged: an unchecked packet is believed
 * only close ahead of the last one that was checked, and the first of an SSRC must prove itself. So
 * nobody makes us forget what was seen, or take the real packets for old ones; one packet in
 * LATCH_AHEAD is checked. */
static void follow(struct latch *l, const struct latch_packet *pkt, const struct latch_ops *ops,
		   void *arg, int64_t now_ms)
{
	struct latch_source *s = source_find(l, pkt);
	uint64_t index = rtp_index(l, pkt);

	if (s && index <= s->newest)
		return;
	if (s && index <= s->verified + LATCH_AHEAD)
		s->newest = index;
	else
		tag_proves(l, pkt, ops, arg, now_ms);
}

enum latch_verdict latch_input(struct latch *l, const struct latch_packet *pkt,
			       const struct latch_ops *ops, void *arg, int64_t now_ms)
{
	bool latched = latch_proved(l);

	if (latched && addr_eq(&pkt->from, &l->remote)) {
		l->heard_ms = now_ms;
		if (l->rule == LATCH_TAG && pkt->kind == LATCH_PACKET_RTP)
			follow(l, pkt, ops, arg, now_ms);
		return LATCH_PASS;
	}
	if (latched &&
	    over(&l->n_moves, &l->moves_since_ms, LATCH_MAX_MOVES, LATCH_MOVES_MS, now_ms))
		return LATCH_DROP;
	if (!proves(l, pkt, ops, arg, now_ms))
		return LATCH_DROP;
	if (latched)
		l->n_moves++;
	l->remote = pkt->from;
	l->heard_ms = now_ms;
	l->run.n = 0;
	return latched ? LATCH_MOVED : LATCH_LATCHED;
}
