/*
 * Pairs of domains: what waits to be sent, into which stream it goes, what comes back, and the
 * proofs that let stanzas of a pair in.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/iso_time.h"
#include "core/log.h"
#include "xmpp/s2s_impl.h"

/* --- table --- */

static size_t key_print(char *out, const char *local, const char *remote)
{
	size_t n_local = strlen(local) + 1, n_remote = strlen(remote) + 1;

	memcpy(out, local, n_local);
	memcpy(out + n_local, remote, n_remote);
	return n_local + n_remote;
}

static struct s2s_pair *find(const struct s2s *s, const char *local, const char *remote)
{
	char key[2 * XMPP_DOMAIN_BYTES];
	struct htab_node *node;

	node = htab_get(&s->pairs, (struct slice){ key, key_print(key, local, remote) });
	return node ? CONTAINER_OF(node, struct s2s_pair, node) : NULL;
}

struct s2s_pair *s2s_pair_find(const struct s2s *s, const char *local, const char *remote)
{
	return find(s, local, remote);
}

static bool is_used(const struct s2s_pair *p)
{
	return p->out || p->sender || !list_empty(&p->proofs) || p->n_queued || p->n_bouncing ||
	       p->paused;
}

static void pair_free(struct s2s_pair *p)
{
	htab_del(&p->s2s->pairs, &p->node);
	list_del(&p->lru);
	free(p);
}

/* Room for one more: the one that was used longest ago goes. */
static bool make_room(struct s2s *s)
{
	if (s->pairs.n < S2S_MAX_PAIRS)
		return true;
	for (struct list *it = s->lru.prev; it != &s->lru; it = it->prev) {
		struct s2s_pair *p = CONTAINER_OF(it, struct s2s_pair, lru);

		if (!is_used(p)) {
			pair_free(p);
			return true;
		}
	}
	return false;
}

struct s2s_pair *s2s_pair_get(struct s2s *s, const char *local, const char *remote)
{
	struct s2s_pair *p = find(s, local, remote);
	size_t n = strlen(local) + strlen(remote) + 2;

	if (p) {
		list_del(&p->lru);
		list_add_head(&s->lru, &p->lru);
		return p;
	}
	if (!make_room(s))
		return NULL;
	p = calloc(1, sizeof(*p) + n);
	if (!p)
		return NULL;
	p->s2s = s;
	p->n_names = key_print(p->names, local, remote);
	p->local = p->names;
	p->remote = p->names + strlen(local) + 1;
	list_init(&p->proofs);
	list_init(&p->queue);
	list_add_head(&s->lru, &p->lru);
	htab_add(&s->pairs, &p->node);
	return p;
}

void s2s_pair_error(struct s2s_pair *p, const char *why)
{
	slice_copy(p->last_error, sizeof(p->last_error), slice_of(why));
	p->last_error_wall_s = iso_time_now_s();
}

/* --- what waits --- */

static void item_free(struct s2s_item *it)
{
	list_del(&it->node);
	xml_arena_reset(&it->arena);
	free(it);
}

static struct s2s_item *dequeue(struct s2s_pair *p)
{
	struct s2s_item *it = CONTAINER_OF(p->queue.next, struct s2s_item, node);

	list_del(&it->node);
	p->n_queued--;
	p->queue_bytes -= it->arena.n_bytes;
	p->s2s->queue_bytes -= it->arena.n_bytes;
	return it;
}

/* -ENOBUFS: it would be too much; a single stanza is never too much for its pair. */
static int enqueue(struct s2s_pair *p, const struct xml_node *stanza)
{
	struct s2s *s = p->s2s;
	struct s2s_item *it = calloc(1, sizeof(*it));
	size_t n;

	if (!it)
		return -ENOBUFS;
	list_init(&it->node);
	it->pair = p;
	it->arena.pool = s->conf.stream.pool;
	it->stanza = xml_node_copy(&it->arena, stanza);
	n = it->arena.n_bytes;
	if (!it->stanza || (p->n_queued && p->queue_bytes + n > s->conf.queue_bytes) ||
	    s->queue_bytes + n > (size_t)S2S_QUEUES * s->conf.queue_bytes) {
		item_free(it);
		return -ENOBUFS;
	}
	list_add_tail(&p->queue, &it->node);
	p->n_queued++;
	p->queue_bytes += n;
	s->queue_bytes += n;
	return 0;
}

/* --- what comes back --- */

void s2s_pair_bounce(struct s2s_pair *p, enum s2s_trouble t)
{
	while (p->n_queued) {
		struct s2s_item *it = dequeue(p);

		it->trouble = t;
		p->n_bouncing++;
		list_add_tail(&p->s2s->bounces, &it->node);
	}
	s2s_later(p->s2s);
}

/* RFC 6120 section 8.3.3.16, 17; XEP-0220 section 2.1.1. */
static void bounce(struct s2s_item *it)
{
	struct s2s_pair *p = it->pair;
	struct s2s *s = p->s2s;
	const char *type = "wait", *condition = "remote-server-timeout";
	struct xml_node *answer;

	if (it->trouble == S2S_NOT_FOUND) {
		type = "cancel";
		condition = "remote-server-not-found";
	} else if (it->trouble == S2S_INVALID) {
		condition = "internal-server-error";
	}
	answer = xmpp_stanza_error(&it->arena, it->stanza, type, condition, NULL);
	p->n_bouncing--;
	p->n_bounced++;
	if (answer)
		s->ops->deliver(s->arg, p->local, p->remote, answer, &it->arena);
}

void s2s_bounces_run(struct s2s *s)
{
	struct list batch;

	list_init(&batch);
	/* What these bring about waits for the next turn. */
	while (!list_empty(&s->bounces)) {
		struct list *node = list_first(&s->bounces);

		list_del(node);
		list_add_tail(&batch, node);
	}
	while (!list_empty(&batch)) {
		struct s2s_item *it = CONTAINER_OF(batch.next, struct s2s_item, node);

		list_del(&it->node);
		bounce(it);
		item_free(it);
	}
}

static void back_off(struct s2s_pair *p)
{
	int64_t delay = S2S_BACKOFF_MIN_MS;
	uint32_t r;

	for (unsigned i = 0; i < p->n_failures && delay < S2S_BACKOFF_MAX_MS; i++)
		delay *= 2;
	if (delay > S2S_BACKOFF_MAX_MS)
		delay = S2S_BACKOFF_MAX_MS;
	p->n_failures++;
	/* Half of it is chance: many boxes do not come back at one time. The shortest is whole. */
	p->s2s->ops->random(&r, sizeof(r));
	if (delay > S2S_BACKOFF_MIN_MS)
		delay = delay / 2 + (int64_t)(r % (uint32_t)(delay / 2 + 1));
	p->retry_ms = s2s_now_ms(p->s2s) + delay;
}

void s2s_pair_failed(struct s2s_pair *p, enum s2s_trouble t, const char *why)
{
	s2s_pair_error(p, why);
	back_off(p);
	/* With a sender (the remote came to us meanwhile) it only waits until that takes more. */
	if (!p->sender)
		s2s_pair_bounce(p, t);
}

/* --- sending --- */

/* The remote's own stream with bidi (XEP-0288): what it proved must satisfy what we ask of a stream
 * to send into. */
static struct s2s_stream *find_bidi(struct s2s_pair *p)
{
	struct s2s_policy policy = s2s_policy_of(p->s2s, p->local, p->remote, false);

	LIST_FOREACH (it, &p->proofs) {
		struct s2s_proof *proof = CONTAINER_OF(it, struct s2s_proof, of_pair);
		struct s2s_stream *st = proof->stream;

		if (st->kind == S2S_IN && st->bidi && proof->method && st->state == S2S_OPEN &&
		    !s2s_misfit(&policy, st, proof->method))
			return st;
	}
	return NULL;
}

static struct s2s_stream *sender_of(struct s2s_pair *p)
{
	/* The same one as long as it lives: stanzas must not overtake each other. */
	if (!p->sender && p->out && p->out->state == S2S_OPEN)
		p->sender = p->out;
	if (!p->sender)
		p->sender = find_bidi(p);
	return p->sender;
}

static void put(struct s2s_pair *p, struct s2s_stream *st, const struct xml_node *stanza)
{
	st->last_stanza_ms = s2s_now_ms(p->s2s);
	p->n_out++;
	xmpp_send(st->x, stanza);
}

void s2s_pair_flush(struct s2s_pair *p)
{
	struct s2s_stream *st = sender_of(p);

	while (st && p->n_queued && st->state == S2S_OPEN && !xmpp_is_full(st->x)) {
		struct s2s_item *it = dequeue(p);

		put(p, st, it->stanza);
		item_free(it);
		st = sender_of(p);
	}
	if (!st && p->n_queued && !p->out && s2s_out_start(p) < 0)
		s2s_pair_failed(p, S2S_BROKEN, "no stream can be opened now: limits or memory");
}

static bool belongs(const char *jid, const char *domain)
{
	char name[XMPP_DOMAIN_BYTES];
	struct xmpp_jid j;

	return jid && xmpp_jid_parse(slice_of(jid), &j) && xmpp_domain(j.domain, name) &&
	       strcmp(name, domain) == 0;
}

static void trace_denied(struct s2s *s, const struct s2s_policy *p, const char *local,
			 const char *remote)
{
	trace_add(s->env->trace, "xmpp.s2s.denied", p->decided_by, NULL, NULL,
		  "%s may not send to %s: %s", local, remote, p->why ? p->why : "");
}

int s2s_send(struct s2s *s, const char *local, const char *remote, const struct xml_node *stanza)
{
	char l[XMPP_DOMAIN_BYTES], r[XMPP_DOMAIN_BYTES];
	struct s2s_policy policy;
	struct s2s_stream *st;
	struct s2s_pair *p;
	int err;

	if (!xmpp_domain(slice_of(local), l) || !xmpp_domain(slice_of(remote), r) ||
	    !s2s_is_stanza(stanza) || !belongs(xml_node_attr(stanza, "from"), l) ||
	    !belongs(xml_node_attr(stanza, "to"), r))
		return -EINVAL;
	policy = s2s_policy_of(s, l, r, false);
	if (!policy.allowed) {
		trace_denied(s, &policy, l, r);
		return -EACCES;
	}
	p = s->is_configured ? s2s_pair_get(s, l, r) : NULL;
	if (!p)
		return -ENOBUFS;
	st = sender_of(p);
	if (st && !p->n_queued && !xmpp_is_full(st->x)) {
		put(p, st, stanza);
		return 0;
	}
	if (!st && !p->out && s->is_draining)
		return -ENOBUFS;
	err = enqueue(p, stanza);
	if (err < 0 || st || p->out)
		return err;
	if (s2s_now_ms(s) < p->retry_ms)
		s2s_pair_bounce(p, S2S_BROKEN);
	else if (s2s_out_start(p) < 0)
		s2s_pair_failed(p, S2S_BROKEN, "no stream can be opened now: limits or memory");
	return 0;
}

int s2s_probe(struct s2s *s, const char *local, const char *remote)
{
	char l[XMPP_DOMAIN_BYTES], r[XMPP_DOMAIN_BYTES];
	struct s2s_policy policy;
	struct s2s_stream *st;
	struct s2s_pair *p;

	if (!xmpp_domain(slice_of(local), l) || !xmpp_domain(slice_of(remote), r))
		return -EINVAL;
	policy = s2s_policy_of(s, l, r, false);
	if (!policy.allowed) {
		trace_denied(s, &policy, l, r);
		return -EACCES;
	}
	p = s->is_configured && !s->is_draining ? s2s_pair_get(s, l, r) : NULL;
	if (!p)
		return -ENOBUFS;
	st = sender_of(p);
	if (st) {
		xmpp_send_space(st->x); /* one that is dead will say so */
		return 0;
	}
	return p->out ? 0 : s2s_out_start(p);
}

/* --- proofs --- */

/* Resuming brings events before it returns: whoever calls this looks anew at everything after. */
static void count_pause(struct s2s_stream *st, bool paused)
{
	st->n_paused += paused ? 1 : -1;
	if (!st->x)
		return;
	if (paused && st->n_paused == 1)
		xmpp_pause(st->x);
	else if (!paused && st->n_paused == 0)
		xmpp_resume(st->x);
}

static struct s2s_proof *find_other_pause(const struct s2s_pair *p)
{
	LIST_FOREACH (it, &p->proofs) {
		struct s2s_proof *proof = CONTAINER_OF(it, struct s2s_proof, of_pair);

		if (proof->method && proof->stream->state == S2S_OPEN && proof->paused != p->paused)
			return proof;
	}
	return NULL;
}

void s2s_set_paused(struct s2s *s, const char *local, const char *remote, bool paused)
{
	struct s2s_pair *p = paused ? s2s_pair_get(s, local, remote) : find(s, local, remote);
	struct s2s_proof *proof;

	if (!p || p->paused == paused)
		return;
	p->paused = paused;
	while ((p = find(s, local, remote)) && (proof = find_other_pause(p))) {
		proof->paused = p->paused;
		count_pause(proof->stream, proof->paused);
	}
}

struct s2s_proof *s2s_proof_new(struct s2s_stream *st, const char *local, const char *remote)
{
	struct s2s_pair *pair = s2s_pair_get(st->s2s, local, remote);
	struct s2s_proof *p = pair ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	p->stream = st;
	p->pair = pair;
	list_add_tail(&st->proofs, &p->of_stream);
	list_add_tail(&pair->proofs, &p->of_pair);
	st->n_proofs++;
	return p;
}

struct s2s_proof *s2s_proof_find(const struct s2s_stream *st, const char *local, const char *remote)
{
	LIST_FOREACH (it, &st->proofs) {
		struct s2s_proof *p = CONTAINER_OF(it, struct s2s_proof, of_stream);

		if (strcmp(p->pair->local, local) == 0 && strcmp(p->pair->remote, remote) == 0)
			return p;
	}
	return NULL;
}

void s2s_proof_open(struct s2s_proof *p)
{
	if (p->pair->paused && !p->paused) {
		p->paused = true;
		count_pause(p->stream, true);
	}
	if (p->pair->n_queued)
		s2s_pair_flush(p->pair);
}

void s2s_proof_accept(struct s2s_proof *p, const char *method)
{
	struct s2s_stream *st = p->stream;
	struct s2s *s = st->s2s;

	if (p->method || st->state == S2S_OVER)
		return;
	p->method = method;
	st->n_proven++;
	if (st->kind == S2S_IN && st->n_proven == 1) {
		s->n_unauthenticated--;
		st->auth = method;
		/* Of a stream whose header told no names, or others. */
		slice_copy(st->local, sizeof(st->local), slice_of(p->pair->local));
		slice_copy(st->remote, sizeof(st->remote), slice_of(p->pair->remote));
		if (st->state == S2S_IN_NEGOTIATING)
			s2s_stream_open(st);
		else if (st->state == S2S_OPEN) /* all it had was withdrawn */
			timer_stop(s2s_timers(s), &st->deadline);
	}
	log_info(s->env->log, "xmpp.s2s.authenticated", "direction=%s local=%s remote=%s by=%s",
		 st->kind == S2S_IN ? "in" : "out", log_esc(slice_of(p->pair->local)),
		 log_esc(slice_of(p->pair->remote)), method);
	if (st->state == S2S_OPEN)
		s2s_proof_open(p);
}

void s2s_proof_drop(struct s2s_proof *p)
{
	struct s2s_stream *st = p->stream;
	struct s2s_pair *pair = p->pair;
	struct s2s_stream *verify = p->verify;
	bool was_paused = p->paused;

	list_del(&p->of_stream);
	list_del(&p->of_pair);
	st->n_proofs--;
	if (p->method) {
		st->n_proven--;
		if (st->kind == S2S_IN && st->n_proven == 0 && st->state != S2S_OVER) {
			st->s2s->n_unauthenticated++;
			st->auth = NULL;
			timer_start(s2s_timers(st->s2s), &st->deadline,
				    st->s2s->conf.auth_timeout_ms);
		}
	}
	free(p);
	if (verify) {
		verify->asker = NULL;
		s2s_stream_over(verify, "nobody wants to know any more");
	}
	if (st->kind == S2S_IN && pair->sender == st) {
		pair->sender = NULL;
		s2s_pair_flush(pair);
	}
	if (was_paused)
		count_pause(st, false);
}

/* --- listing, end --- */

void s2s_pairs_each(const struct s2s *s, void (*fn)(const struct s2s_pair_info *p, void *arg),
		    void *arg)
{
	LIST_FOREACH (node, &s->lru) {
		struct s2s_pair *p = CONTAINER_OF(node, struct s2s_pair, lru);
		struct s2s_stream *out = p->out && p->out->state == S2S_OPEN ? p->out : p->sender;
		struct s2s_pair_info info = {
			.local = p->local,
			.remote = p->remote,
			.out = out != NULL,
			.in_auth = "",
			.in_tls = "",
			.out_auth = out && out->auth ? out->auth : "",
			.out_tls = out ? out->identity.tls_text : "",
			.cert_expires_s = out ? out->identity.expires_s : 0,
			.last_error = p->last_error,
			.last_error_wall_s = p->last_error_wall_s,
			.n_in = p->n_in,
			.n_out = p->n_out,
			.n_bounced = p->n_bounced,
			.n_queued = p->n_queued,
		};

		LIST_FOREACH (it, &p->proofs) {
			struct s2s_proof *proof = CONTAINER_OF(it, struct s2s_proof, of_pair);

			if (!proof->method)
				continue;
			info.in = true;
			info.in_auth = proof->method;
			info.in_tls = proof->stream->identity.tls_text;
			if (!info.cert_expires_s)
				info.cert_expires_s = proof->stream->identity.expires_s;
		}
		fn(&info, arg);
	}
}

void s2s_pairs_free(struct s2s *s)
{
	while (!list_empty(&s->bounces))
		item_free(CONTAINER_OF(s->bounces.next, struct s2s_item, node));
	HTAB_FOREACH_SAFE (it, &s->pairs) {
		struct s2s_pair *p = CONTAINER_OF(it, struct s2s_pair, node);

		while (p->n_queued)
			item_free(dequeue(p));
		pair_free(p);
	}
	htab_fini(&s->pairs);
}
