#include "media/mux.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"

static struct slice ufrag_key(const struct htab_node *node)
{
	const struct mux_end *end = CONTAINER_OF(node, const struct mux_end, node);

	return slice_of(end->local.ufrag);
}

static struct slice source_key(const struct htab_node *node)
{
	const struct mux_source *s = CONTAINER_OF(node, const struct mux_source, node);

	return (struct slice){ (const char *)&s->key, sizeof(s->key) };
}

int mux_init(struct mux *m, const uint8_t seed[16], uint32_t max_ends, const struct mux_ops *ops,
	     void *arg)
{
	int err;

	memset(m, 0, sizeof(*m));
	m->ops = ops;
	m->arg = arg;
	m->max_ends = max_ends;
	err = htab_init(&m->by_ufrag, seed, ufrag_key);
	if (err < 0)
		return err;
	err = htab_init(&m->by_source, seed, source_key);
	if (err < 0)
		htab_fini(&m->by_ufrag);
	return err;
}

void mux_fini(struct mux *m)
{
	htab_fini(&m->by_ufrag);
	htab_fini(&m->by_source);
}

int mux_add(struct mux *m, struct mux_end *end)
{
	if (m->by_ufrag.n >= m->max_ends)
		return -ENOSPC;
	if (htab_get(&m->by_ufrag, slice_of(end->local.ufrag)))
		return -EEXIST;
	for (unsigned i = 0; i < MUX_N_COMPONENTS; i++) {
		memset(&end->sources[i], 0, sizeof(end->sources[i]));
		end->sources[i].end = end;
		end->sources[i].component = i;
	}
	htab_add(&m->by_ufrag, &end->node);
	end->entered = true;
	return 0;
}

static void source_unbind(struct mux *m, struct mux_source *s)
{
	if (!s->bound)
		return;
	htab_del(&m->by_source, &s->node);
	s->bound = false;
}

void mux_del(struct mux *m, struct mux_end *end)
{
	if (!end->entered)
		return;
	for (unsigned i = 0; i < MUX_N_COMPONENTS; i++)
		source_unbind(m, &end->sources[i]);
	htab_del(&m->by_ufrag, &end->node);
	end->entered = false;
}

static struct mux_key key_of(uint32_t socket, const struct addr *from)
{
	struct mux_key key;

	memset(&key, 0, sizeof(key));
	key.from = *from;
	key.socket = socket;
	return key;
}

static struct mux_source *source_find(const struct mux *m, const struct mux_key *key)
{
	struct htab_node *node =
		htab_get(&m->by_source, (struct slice){ (const char *)key, sizeof(*key) });

	return node ? CONTAINER_OF(node, struct mux_source, node) : NULL;
}

/* Was this check seen before, from another source? Repeats of the same source are retransmissions.
 */
static bool is_recorded(const struct mux_end *end, const struct mux_source *s, uint64_t tid,
			const struct mux_key *key)
{
	if (!s->bound || memcmp(&s->key, key, sizeof(*key)) == 0)
		return false;
	for (unsigned i = 0; i < MUX_N_TIDS; i++) {
		if (end->tids[i] == tid)
			return true;
	}
	return false;
}

/* May this valid check bind the component to where it came from? While consent is fresh only
 * another port of the same host may (a NAT that changed its mind): somebody who recorded a check
 * has another address. *is_new: not seen before, so that it renews the consent. */
static bool may_bind(struct mux_end *end, struct mux_source *s, const struct stun_msg *msg,
		     const struct mux_key *key, int64_t now_ms, bool *is_new)
{
	uint64_t tid;

	memcpy(&tid, msg->tid, sizeof(tid));
	if (is_recorded(end, s, tid, key))
		return false;
	if (s->bound && now_ms - s->heard_ms < MUX_CONSENT_MS &&
	    !addr_ip_eq(&s->key.from, &key->from))
		return false;
	*is_new = true;
	for (unsigned i = 0; i < MUX_N_TIDS; i++)
		*is_new = *is_new && end->tids[i] != tid;
	if (*is_new)
		end->tids[end->next_tid++ % MUX_N_TIDS] = tid;
	return true;
}

/* A valid check binds the component to its source. The source may be bound elsewhere (a NAT gave
 * the port to another stream): the newest proof wins. */
static void source_bind(struct mux *m, struct mux_source *s, uint32_t socket,
			const struct addr *from, int64_t now_ms, bool is_new)
{
	struct mux_key key = key_of(socket, from);
	struct mux_source *other = source_find(m, &key);

	if (is_new || !s->bound)
		s->heard_ms = now_ms;
	if (other == s)
		return;
	if (other)
		source_unbind(m, other);
	if (s->bound)
		m->n_moved++;
	source_unbind(m, s);
	s->key = key;
	s->bound = true;
	htab_add(&m->by_source, &s->node);
	if (m->ops->bound)
		m->ops->bound(m->arg, s->end, s->component, from);
}

static struct mux_end *end_of_check(const struct mux *m, const struct stun_msg *msg)
{
	struct slice receiver, sender;
	struct htab_node *node;

	if (!ice_username(msg, &receiver, &sender))
		return NULL;
	node = htab_get(&m->by_ufrag, receiver);
	return node ? CONTAINER_OF(node, struct mux_end, node) : NULL;
}

static void stun_input(struct mux *m, uint32_t socket, const struct mux_packet *pkt)
{
	enum ice_verdict verdict = ICE_DROP;
	uint8_t out[ICE_REPLY_BYTES];
	struct ice_request r = { .from = pkt->from };
	struct mux_end *end = NULL;
	struct stun_msg msg;
	bool nominated, is_new = true;
	size_t n = 0;

	if (stun_decode(pkt->p, pkt->n, &msg) == 0)
		end = end_of_check(m, &msg);
	/* A check for an end of another pair of ports is not for us. */
	if (end && end->pair == socket / 2) {
		r.local = &end->local;
		r.remote_ufrag = slice_of(end->remote_ufrag);
		verdict = ice_request_answer(&r, &msg, out, &n, &nominated);
	}
	if (verdict == ICE_PROVED) {
		struct mux_key key = key_of(socket, &pkt->from);

		if (!may_bind(end, &end->sources[socket % 2], &msg, &key, pkt->now_ms, &is_new)) {
			verdict = ICE_DROP;
			n = 0;
		}
	}
	if (verdict == ICE_DROP)
		m->n_bad_check++;
	if (verdict == ICE_PROVED)
		source_bind(m, &end->sources[socket % 2], socket, &pkt->from, pkt->now_ms, is_new);
	if (n > 0)
		m->ops->send(m->arg, socket, &pkt->from, out, n);
}

void mux_input(struct mux *m, uint32_t socket, struct mux_packet *pkt)
{
	struct mux_key key = key_of(socket, &pkt->from);
	struct mux_source *s;

	if (stun_is(pkt->p, pkt->n)) {
		stun_input(m, socket, pkt);
		return;
	}
	s = source_find(m, &key);
	if (!s) {
		m->n_unknown++;
		return;
	}
	m->ops->input(m->arg, s->end, s->component, pkt);
}

const struct addr *mux_remote(const struct mux_end *end, unsigned component, int64_t now_ms)
{
	const struct mux_source *s = &end->sources[component];

	return s->bound && now_ms - s->heard_ms < MUX_CONSENT_MS ? &s->key.from : NULL;
}
