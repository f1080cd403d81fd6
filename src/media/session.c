#include "media/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "media/session_sdp.h"

static void session_random(void *arg, void *p, size_t n)
{
	struct media_engine *e = arg;

	e->io->random(e->io_arg, p, n);
}

uint64_t media_session_new(struct media_engine *e, uint64_t parent, const char *session,
			   const struct media_leg_params legs[2])
{
	struct media_session *s = NULL;

	if (!e->draining)
		s = calloc(1, sizeof(*s));
	if (s)
		s->id = idtab_add(&e->ids, s);
	if (!s || s->id == 0) {
		e->n_refused_sessions++;
		free(s);
		return 0;
	}
	s->engine = e;
	s->parent = parent;
	slice_copy(s->session, sizeof(s->session), slice_of(session));
	for (unsigned i = 0; i < 2; i++) {
		s->legs[i].params = legs[i];
		session_random(e, &s->legs[i].sess_id, sizeof(s->legs[i].sess_id));
		s->legs[i].sess_id >>= 2; /* some peers read it as a signed number */
	}
	list_add_tail(&e->sessions, &s->node);
	e->n_sessions++;
	return s->id;
}

struct media_session *media_session_get(const struct media_engine *e, uint64_t id)
{
	return idtab_get(&e->ids, id);
}

static void plans_free(struct media_session *s)
{
	for (size_t i = 0; i < s->n_plans; i++)
		media_desc_wipe(&s->plans[i].desc);
	free(s->plans);
	s->plans = NULL;
	s->n_plans = 0;
}

void media_session_free(struct media_session *s, const char *reason)
{
	struct media_engine *e = s->engine;

	for (size_t i = 0; i < s->n_streams; i++) {
		for (unsigned leg = 0; leg < 2; leg++) {
			if (s->streams[i])
				media_end_close(e, &s->streams[i]->ends[leg], reason);
			media_own_keys_wipe(s->own[i][leg]);
			free(s->own[i][leg]);
		}
		free(s->streams[i]);
	}
	plans_free(s);
	list_del(&s->node);
	idtab_del(&e->ids, s->id);
	e->n_sessions--;
	free(s);
}

static void refused(const struct media_session *s, unsigned leg, const char *code,
		    const struct addr *about, const struct media_refusal *r)
{
	const struct media_engine *e = s->engine;

	if (e->io->refused)
		e->io->refused(e->io_arg, s, leg, code, about, r->why);
}

static int refuse(const struct media_session *s, unsigned leg, struct media_refusal *r, int err)
{
	const char *code = "media.sdp.not-acceptable";

	if (err == -ENOMEM || err == -E2BIG) {
		r->status = 500;
		snprintf(r->why, DESC_WHY_BYTES, "out of memory");
		code = "media.session.failed";
	} else if (err == -ENOSPC) {
		r->status = 500;
		snprintf(r->why, DESC_WHY_BYTES, "out of media ports");
		code = "media.ports.exhausted";
	} else if (err == -EADDRNOTAVAIL) {
		r->status = 500;
		snprintf(r->why, DESC_WHY_BYTES, "no address for media");
		code = "media.session.failed";
	} else if (r->status == 0) {
		r->status = 488;
	}
	refused(s, leg, code, &s->legs[leg].params.signalling_peer, r);
	return err;
}

static int sdp_read(struct media_session *s, unsigned from, struct slice text, struct sdp *sdp,
		    struct media_refusal *r)
{
	struct sdp_error fault;
	int err = sdp_parse(sdp, text, &fault);

	if (err == 0 || err == -ENOMEM)
		return err;
	snprintf(r->why, DESC_WHY_BYTES, "SDP line %u: %s", fault.line, fault.what);
	r->status = 488;
	refused(s, from, "media.sdp.malformed", &s->legs[from].params.signalling_peer, r);
	return -EINVAL;
}

/* -- whose is this address? -- */

struct owner_query {
	const struct media_session *s;
};

static bool world_own_ip(void *arg, const struct addr *a)
{
	const struct owner_query *q = arg;
	const struct media_engine *e = q->s->engine;

	return addr_ip_eq(a, &e->settings.public_address) || e->io->own_ip(e->io_arg, a);
}

static bool session_holds(const struct media_session *s, const struct addr *a)
{
	for (size_t i = 0; i < s->n_streams; i++) {
		for (unsigned leg = 0; s->streams[i] && leg < 2; leg++) {
			const struct media_end *end = &s->streams[i]->ends[leg];

			if (end->open && (end->bound[RELAY_RTP].port == a->port ||
					  end->bound[RELAY_RTCP].port == a->port))
				return true;
		}
	}
	return false;
}

static enum desc_owner world_owner(void *arg, const struct addr *a)
{
	const struct owner_query *q = arg;
	const struct media_engine *e = q->s->engine;
	struct addr reached;

	if (e->io->relay_of && e->io->relay_of(e->io_arg, a, &reached))
		return DESC_OWNER_RELAY;
	if (e->io->is_listener(e->io_arg, a))
		return DESC_OWNER_LISTENER;
	if (media_engine_mux_pairs(e) > 0 && a->port >= e->settings.mux_ports.first &&
	    a->port <= e->settings.mux_ports.last && !portpool_holds(&e->ports, a->port))
		return DESC_OWNER_LISTENER;
	if (!portpool_holds(&e->ports, a->port))
		return DESC_OWNER_NONE;
	if (session_holds(q->s, a))
		return DESC_OWNER_SAME;
	LIST_FOREACH (it, &e->sessions) {
		if (session_holds(CONTAINER_OF(it, struct media_session, node), a))
			return DESC_OWNER_OTHER;
	}
	return DESC_OWNER_FREE;
}

static int addresses_check(struct media_session *s, unsigned from, const struct media_desc *d,
			   struct media_refusal *r)
{
	struct owner_query q = { s };
	struct desc_world w = { world_own_ip, world_owner, &q, s->engine->settings.refuse_outside };
	const struct media_leg_params *p = &s->legs[from].params;
	const struct addr *both[2] = { &d->rtp, &d->rtcp };
	char text[ADDR_STR_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		enum desc_addr_verdict v =
			media_desc_addr(&w, p->kind, &p->signalling_peer, both[i]);

		/* 0.0.0.0 means hold in a c= line and nothing in an a=rtcp one: the kernel would
		 * take it for this host. */
		if (i == 1 && !d->hold && addr_class(&d->rtcp) == ADDR_UNSPECIFIED)
			v = DESC_ADDR_CLASS;
		if (v == DESC_ADDR_OK)
			continue;
		r->status = 403;
		snprintf(r->why, DESC_WHY_BYTES, "media address %s refused: %s",
			 addr_str(both[i], text), desc_addr_verdict_str(v));
		refused(s, from, "media.sdp.refused-address", both[i], r);
		return -EACCES;
	}
	return 0;
}

static bool relay_find(const struct media_session *s, const struct addr *a, struct addr *reached)
{
	const struct media_engine *e = s->engine;

	return e->io->relay_of && e->io->relay_of(e->io_arg, a, reached);
}

/* The port above the last relay is nobody's: RTCP then goes where RTP does. */
static void relay_rtcp(const struct media_session *s, struct media_desc *d)
{
	struct addr reached;

	if (relay_find(s, &d->rtp, &reached) && !relay_find(s, &d->rtcp, &reached) &&
	    addr_ip_eq(&d->rtcp, &d->rtp) && d->rtcp.port == d->rtp.port + 1)
		d->rtcp = d->rtp;
}

/* The public address of a relay of ours leads out to the router and, if it is kind, back again. */
static void relay_follow(const struct media_session *s, struct addr *a)
{
	struct addr reached;

	if (relay_find(s, a, &reached))
		*a = reached;
}

static bool leg_is_ice(const struct media_session *s, unsigned leg)
{
	return s->legs[leg].params.kind == MEDIA_LEG_MUX ||
	       s->legs[leg].params.kind == MEDIA_LEG_ICE;
}

/* Reads line i and judges what can be judged without the other side. */
static int line_read(struct media_session *s, unsigned from, const struct sdp *sdp, size_t i,
		     struct media_desc *d, struct media_refusal *r)
{
	int err = media_desc_read(sdp, i, d, r->why);

	if (err < 0 || !media_desc_on(d))
		return err;
	if (leg_is_ice(s, from) && !d->ice.ufrag[0]) {
		snprintf(r->why, DESC_WHY_BYTES, "m-line %zu has no ICE credentials", i + 1);
		return -EINVAL;
	}
	relay_rtcp(s, d);
	err = addresses_check(s, from, d, r);
	if (err == 0 && !leg_is_ice(s, from)) {
		relay_follow(s, &d->rtp);
		relay_follow(s, &d->rtcp);
	}
	return err;
}

/* -- offer -- */

static int stream_ensure(struct media_session *s, size_t i)
{
	struct media_stream *st = s->streams[i];

	for (unsigned leg = 0; leg < 2; leg++) {
		if (!s->own[i][leg])
			s->own[i][leg] = calloc(1, sizeof(*s->own[i][leg]));
		if (!s->own[i][leg])
			return -ENOMEM;
		if (s->n_streams <= i)
			s->n_streams = i + 1;
	}
	if (st)
		return 0;
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	st->session = s;
	st->index = (unsigned)i;
	st->ops = &s->engine->io->relay;
	st->arg = s->engine->io_arg;
	for (uint8_t leg = 0; leg < 2; leg++)
		media_end_init(&st->ends[leg], st, leg, s->legs[leg].params.kind);
	s->streams[i] = st;
	return 0;
}

static void offer_undo(struct media_session *s, struct media_plan *plans, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (unsigned leg = 0; leg < 2; leg++)
			if (plans[i].opened[leg])
				media_end_close(s->engine, &s->streams[i]->ends[leg],
						"offer came to nothing");
}

static int ends_open(struct media_session *s, size_t i, struct media_plan *p)
{
	int err = stream_ensure(s, i);

	if (err == 0)
		s->streams[i]->video = p->desc.video;
	for (unsigned leg = 0; leg < 2 && err == 0; leg++) {
		struct media_end *end = &s->streams[i]->ends[leg];
		bool was_open = end->open;

		err = media_end_open(s->engine, end);
		p->opened[leg] = err == 0 && !was_open;
	}
	return err;
}

static int line_plan(struct media_session *s, unsigned from, const struct sdp *sdp, size_t i,
		     struct media_plan *p, struct media_refusal *r)
{
	int err = line_read(s, from, sdp, i, &p->desc, r);

	if (err < 0 || !media_desc_on(&p->desc))
		return err;
	p->on = true;
	err = media_plan_line(p, s->legs[from].params.crypto, s->legs[!from].params.crypto, r->why);
	return err < 0 ? err : ends_open(s, i, p);
}

static int offer_plan(struct media_session *s, unsigned from, const struct sdp *sdp,
		      struct media_plan *plans, struct media_refusal *r)
{
	bool any_on = false, any_refused = false;
	int err = 0;

	if (sdp->n_media < s->n_agreed) {
		snprintf(r->why, DESC_WHY_BYTES, "the offer has fewer m-lines than before");
		return -EINVAL;
	}
	for (size_t i = 0; i < sdp->n_media && err == 0; i++) {
		err = line_plan(s, from, sdp, i, &plans[i], r);
		any_on = any_on || plans[i].on;
		any_refused = any_refused || plans[i].desc.kind == DESC_REFUSED;
	}
	if (err == 0 && any_refused && !any_on) {
		snprintf(r->why, DESC_WHY_BYTES, "no m-line with a transport that is carried");
		return -EINVAL;
	}
	return err;
}

static int offer_print(struct media_session *s, unsigned to, struct sdp *sdp,
		       const struct media_plan *plans, struct buf *out)
{
	struct rewrite_line *lines = calloc(sdp->n_media + 1, sizeof(*lines));
	int err = lines ? 0 : -ENOMEM;

	for (size_t i = 0; i < sdp->n_media && err == 0; i++)
		if (plans[i].on)
			err = media_offer_line(s, to, i, &plans[i], session_random, s->engine,
					       &lines[i]);
	if (err == 0)
		err = media_leg_print(s, to, sdp, lines, out);
	media_rewrite_lines_wipe(lines, sdp->n_media);
	free(lines);
	return err;
}

/* E's side of an ICE leg is known from its offer on: the way is open before the answer comes back.
 */
static void offer_check(struct media_session *s, unsigned from, const struct media_plan *plans,
			size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (plans[i].on && !s->streams[i]->active)
			media_end_check(s->engine, &s->streams[i]->ends[from], &plans[i].desc,
					plans[i].desc.rtcp_mux);
}

int media_session_offer(struct media_session *s, unsigned from, struct slice text, struct buf *out,
			struct media_refusal *r)
{
	struct media_plan *plans = NULL;
	struct sdp sdp;
	int err;

	r->status = 0;
	if (s->state == SESSION_OFFERED)
		media_session_rollback(s);
	err = sdp_read(s, from, text, &sdp, r);
	if (err < 0)
		return err == -ENOMEM ? refuse(s, from, r, err) : err;
	plans = calloc(sdp.n_media + 1, sizeof(*plans));
	err = plans ? offer_plan(s, from, &sdp, plans, r) : -ENOMEM;
	if (err == 0)
		err = offer_print(s, !from, &sdp, plans, out);
	if (err < 0) {
		if (plans)
			offer_undo(s, plans, sdp.n_media);
		free(plans);
		sdp_fini(&sdp);
		return err == -EACCES ? err : refuse(s, from, r, err);
	}
	offer_check(s, from, plans, sdp.n_media);
	plans_free(s);
	s->plans = plans;
	s->n_plans = sdp.n_media;
	s->offerer = from;
	s->state = SESSION_OFFERED;
	sdp_fini(&sdp);
	return 0;
}

void media_session_rollback(struct media_session *s)
{
	if (s->state != SESSION_OFFERED)
		return;
	offer_undo(s, s->plans, s->n_plans);
	plans_free(s);
	s->state = s->agreed_once ? SESSION_AGREED : SESSION_NEW;
}

int media_session_leg_set(struct media_session *s, unsigned leg, const struct media_leg_params *p)
{
	struct media_leg *l = &s->legs[leg & 1];

	if (leg > 1)
		return -EINVAL;
	if (memcmp(&l->params, p, sizeof(*p)) == 0 && l->version == 0)
		return 0;
	media_session_rollback(s);
	plans_free(s);
	for (size_t i = 0; i < s->n_streams; i++) {
		media_own_keys_wipe(s->own[i][leg]);
		if (!s->streams[i])
			continue;
		s->streams[i]->active = false;
		media_end_close(s->engine, &s->streams[i]->ends[leg], "call went elsewhere");
	}
	l->params = *p;
	l->version = 0;
	session_random(s->engine, &l->sess_id, sizeof(l->sess_id));
	l->sess_id >>= 2;
	return 0;
}

/* -- answer -- */

struct answer_line {
	struct media_desc desc;
	struct media_key_choice keys;
	bool on;
	bool staged;
};

static int line_judge(struct media_session *s, size_t i, const struct sdp *sdp,
		      struct answer_line *a, struct media_refusal *r)
{
	const struct media_plan *p = &s->plans[i];
	struct media_stream *st = s->streams[i];
	unsigned from = !s->offerer;
	int err = line_read(s, from, sdp, i, &a->desc, r);

	if (err < 0)
		return err;
	a->on = p->on && media_desc_on(&a->desc) && st->ends[0].open && st->ends[1].open;
	if (!a->on)
		return 0;
	err = media_plan_keys(p, &a->desc, s->offerer, s->own[i], session_random, s->engine,
			      &a->keys, r->why);
	for (unsigned leg = 0; leg < 2 && err == 0; leg++) {
		err = media_keys_stage(&st->ends[leg].crypto, a->keys.rx[leg], a->keys.tx[leg]);
		a->staged = true;
	}
	return err;
}

static void answer_undo(struct media_session *s, struct answer_line *lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (unsigned leg = 0; lines[i].staged && leg < 2; leg++)
			media_keys_discard(&s->streams[i]->ends[leg].crypto);
}

static void line_off(struct media_session *s, struct media_stream *st)
{
	st->active = false;
	/* Its contexts go, and with them what says how far the key streams are used: the keys go
	 * too. */
	media_own_keys_wipe(s->own[st->index][0]);
	media_own_keys_wipe(s->own[st->index][1]);
	for (unsigned leg = 0; leg < 2; leg++)
		media_end_close(s->engine, &st->ends[leg], "stream was taken out of the call");
}

/* The context that replaces this one starts its key stream at the beginning: our key of the old one
 * must never be offered again (RFC 3711 9.1, two-time pad). */
static void own_key_spent(struct media_keys *c, struct media_own_keys *own)
{
	if (!own || !c->tx.ctx || c->tx.keep)
		return;
	for (unsigned k = 1; k < SRTP_N_SUITES; k++) {
		struct srtp_master *key = &own->keys[k].master;

		if (key->suite && srtp_ctx_same_key(c->tx.ctx, key))
			OPENSSL_cleanse(key, sizeof(*key));
	}
}

static void line_commit(struct media_session *s, size_t i, const struct answer_line *a)
{
	const struct media_plan *p = &s->plans[i];
	struct media_stream *st = s->streams[i];

	if (!st)
		return;
	if (!a->on) {
		line_off(s, st);
		return;
	}
	st->kind = p->desc.kind == DESC_OPAQUE ? RELAY_KIND_OPAQUE
		   : p->desc.kind == DESC_DTLS ? RELAY_KIND_DTLS
					       : RELAY_KIND_RTP;
	st->terminate = p->terminate;
	st->sealed = !p->terminate && (p->desc.kind == DESC_DTLS || a->desc.crypto_seen ||
				       sdp_profile_secure(a->desc.profile));
	st->quiet_ok = p->desc.hold || a->desc.hold || p->desc.direction != SDP_SENDRECV ||
		       a->desc.direction != SDP_SENDRECV || st->kind == RELAY_KIND_OPAQUE;
	for (unsigned leg = 0; leg < 2; leg++) {
		const struct media_desc *d = leg == s->offerer ? &p->desc : &a->desc;
		struct media_end *end = &st->ends[leg];

		own_key_spent(&end->crypto, s->own[i][leg]);
		if (media_keys_commit(&end->crypto)) {
			latch_new_key(&end->latches[RELAY_RTP]);
			latch_new_key(&end->latches[RELAY_RTCP]);
		}
		media_end_apply(s->engine, end, d, media_leg_mux_agreed(s, leg, p, &a->desc));
	}
	st->active = true;
}

static int answer_print(struct media_session *s, struct sdp *sdp, const struct answer_line *answers,
			struct buf *out)
{
	struct rewrite_line *lines = calloc(sdp->n_media + 1, sizeof(*lines));
	int err = lines ? 0 : -ENOMEM;

	for (size_t i = 0; i < sdp->n_media && err == 0; i++)
		if (answers[i].on)
			media_answer_line(s, i, &s->plans[i], &answers[i].desc,
					  answers[i].keys.answer_line, &lines[i]);
	if (err == 0)
		err = media_leg_print(s, s->offerer, sdp, lines, out);
	media_rewrite_lines_wipe(lines, sdp->n_media);
	free(lines);
	return err;
}

static int answer_judge(struct media_session *s, const struct sdp *sdp, struct answer_line *lines,
			struct media_refusal *r)
{
	int err = 0;

	if (sdp->n_media != s->n_plans) {
		snprintf(r->why, DESC_WHY_BYTES, "the answer has %zu m-lines, the offer %zu",
			 sdp->n_media, s->n_plans);
		return -EINVAL;
	}
	for (size_t i = 0; i < sdp->n_media && err == 0; i++)
		err = line_judge(s, i, sdp, &lines[i], r);
	return err;
}

static void answer_commit(struct media_session *s, const struct answer_line *lines)
{
	for (size_t i = 0; i < s->n_plans; i++) {
		line_commit(s, i, &lines[i]);
		/* In use now: no rollback closes them. */
		s->plans[i].opened[0] = s->plans[i].opened[1] = false;
	}
	s->n_agreed = s->n_plans;
	s->state = SESSION_AGREED;
	s->agreed_once = true;
	s->agreed_ms = s->engine->timers->now_ms;
}

static void answers_free(struct answer_line *lines, size_t n)
{
	for (size_t i = 0; lines && i < n; i++)
		media_desc_wipe(&lines[i].desc);
	free(lines);
}

int media_session_answer(struct media_session *s, unsigned from, struct slice text, struct buf *out,
			 struct media_refusal *r)
{
	struct answer_line *lines;
	struct sdp sdp;
	int err;

	r->status = 0;
	if (!s->plans || from != !s->offerer) {
		r->status = 500;
		snprintf(r->why, DESC_WHY_BYTES, "an answer without an offer");
		return refuse(s, from, r, -EPROTO);
	}
	err = sdp_read(s, from, text, &sdp, r);
	if (err < 0)
		return err == -ENOMEM ? refuse(s, from, r, err) : err;
	lines = calloc(s->n_plans + 1, sizeof(*lines));
	err = lines ? answer_judge(s, &sdp, lines, r) : -ENOMEM;
	if (err == 0)
		err = answer_print(s, &sdp, lines, out);
	if (err == 0)
		answer_commit(s, lines);
	else if (lines)
		answer_undo(s, lines, s->n_plans);
	answers_free(lines, s->n_plans);
	sdp_fini(&sdp);
	if (err < 0 && err != -EACCES)
		refuse(s, from, r, err);
	return err;
}

bool media_session_idle(const struct media_session *s, int64_t now_ms)
{
	int64_t heard = s->agreed_ms;
	bool any = false;

	if (s->state == SESSION_NEW || !s->agreed_once || s->engine->settings.idle_timeout_ms == 0)
		return false;
	for (size_t i = 0; i < s->n_streams; i++) {
		const struct media_stream *st = s->streams[i];

		if (!st || !st->active)
			continue;
		if (st->quiet_ok)
			return false;
		any = true;
		for (unsigned leg = 0; leg < 2; leg++)
			if (st->ends[leg].heard_ms > heard)
				heard = st->ends[leg].heard_ms;
	}
	return any && now_ms - heard >= (int64_t)s->engine->settings.idle_timeout_ms;
}
