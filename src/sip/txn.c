#include "sip/txn_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/siphash.h"

static struct slice node_key(const struct htab_node *n)
{
	const struct txn *t = CONTAINER_OF(n, struct txn, node);

	return (struct slice){ t->key, t->key_n };
}

struct txn_layer *txn_layer_new(struct timerq *timers, const struct txn_timers *conf,
				const uint8_t seed[16], const struct txn_ops *ops, void *arg)
{
	struct txn_layer *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	if (htab_init(&l->server, seed, node_key) < 0 ||
	    htab_init(&l->client, seed, node_key) < 0) {
		htab_fini(&l->server);
		free(l);
		return NULL;
	}
	memcpy(l->seed, seed, sizeof(l->seed));
	l->timers = timers;
	l->conf = *conf;
	l->ops = ops;
	l->arg = arg;
	return l;
}

void txn_layer_free(struct txn_layer *l)
{
	if (!l)
		return;
	HTAB_FOREACH_SAFE (n, &l->server)
		txn_server_end(CONTAINER_OF(n, struct txn_server, t.node));
	HTAB_FOREACH_SAFE (m, &l->client)
		txn_client_end(CONTAINER_OF(m, struct txn_client, t.node));
	htab_fini(&l->server);
	htab_fini(&l->client);
	free(l);
}

void txn_layer_configure(struct txn_layer *l, const struct txn_timers *conf)
{
	l->conf = *conf;
}

size_t txn_layer_count(const struct txn_layer *l)
{
	return l->server.n + l->client.n;
}

/* The generator for branches and tags: siphash of a counter under the random seed. Unpredictable to
 * who does not know the seed, and scenario tests get the same run each time. */
void txn_random_text(struct txn_layer *l, char *out, size_t size)
{
	uint64_t v[2];
	struct buf b;

	v[0] = ++l->counter;
	v[0] = siphash(l->seed, v, sizeof(v[0]));
	v[1] = ++l->counter;
	v[1] = siphash(l->seed, &v[1], sizeof(v[1]));
	buf_init(&b, 64);
	base64url_encode(&b, v, sizeof(v));
	/* base64url holds only token characters of RFC 3261 but for nothing: '-' and '_' are both
	 * fine. */
	slice_copy(out, size, b.failed ? SLICE("x") : buf_slice(&b));
	buf_fini(&b);
}

void txn_branch(struct txn_layer *l, char branch[TXN_BRANCH_BYTES])
{
	memcpy(branch, "z9hG4bK", 7);
	txn_random_text(l, branch + 7, TXN_BRANCH_BYTES - 7);
}

void txn_set_state(struct txn *t, enum txn_state state)
{
	t->state = state;
}

bool txn_table_full(const struct txn_layer *l, uint64_t flow)
{
	uint64_t limit = (uint64_t)l->conf.max_transactions * l->ops->share(l->arg, flow) / 100;

	return txn_layer_count(l) >= limit;
}

/* Timers that the RFC sets to zero on reliable transports. */
uint32_t txn_unless_reliable(const struct txn *t, uint32_t ms)
{
	return t->reliable ? 0 : ms;
}

int txn_layer_input(struct txn_layer *l, uint64_t flow, const struct addr *from, struct sip_msg *m)
{
	return m->is_request ? txn_server_input(l, flow, from, m) : txn_client_input(l, flow, m);
}

void txn_layer_flow_closed(struct txn_layer *l, uint64_t flow, const char *why)
{
	HTAB_FOREACH (n, &l->client) {
		struct txn_client *c = CONTAINER_OF(n, struct txn_client, t.node);

		/* Told from a timer of zero: the caller walks its own tables now. */
		if (c->t.flow == flow)
			txn_client_transport_error(c, why);
	}
	HTAB_FOREACH (m, &l->server) {
		struct txn *t = CONTAINER_OF(m, struct txn, node);

		if (t->flow == flow)
			t->flow_dead = true;
	}
}

int txn_layer_send(struct txn_layer *l, uint64_t flow, struct slice message)
{
	return l->ops->send(l->arg, flow, message);
}
