#include "core/rate.h"

#include <stdlib.h>

#include "base/htab.h"
#include "base/list.h"
#include "base/siphash.h"

struct entry {
	struct htab_node node;
	struct list lru; /* least recently seen first */
	struct rate_key key;
	uint32_t n;	    /* events of the window, or failures in a row */
	uint32_t n_pending; /* under way */
	int64_t since_ms;   /* window: its begin; penalty: the last failure */
	int64_t until_ms;   /* penalty: refused before this */
};

struct rate {
	struct htab keys;
	struct list lru;
	size_t max;
	uint8_t seed[32];
};

static struct slice key_slice(const struct rate_key *k)
{
	return (struct slice){ (const char *)k, sizeof(*k) };
}

static struct slice node_key(const struct htab_node *n)
{
	return key_slice(&CONTAINER_OF(n, const struct entry, node)->key);
}

struct rate *rate_new(const uint8_t random[32], size_t max_entries)
{
	struct rate *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->max = max_entries;
	memcpy(r->seed, random, sizeof(r->seed));
	list_init(&r->lru);
	if (htab_init(&r->keys, random, node_key) == 0)
		return r;
	free(r);
	return NULL;
}

static void entry_free(struct rate *r, struct entry *e)
{
	htab_del(&r->keys, &e->node);
	list_del(&e->lru);
	free(e);
}

void rate_free(struct rate *r)
{
	if (!r)
		return;
	LIST_FOREACH_SAFE (it, &r->lru)
		entry_free(r, CONTAINER_OF(it, struct entry, lru));
	htab_fini(&r->keys);
	free(r);
}

size_t rate_count(const struct rate *r)
{
	return r->keys.n;
}

/* Domain and user go in up to what names can have; longer ones are refused elsewhere. */
struct rate_key rate_key_of(const struct rate *r, struct slice domain, struct slice user,
			    const struct addr *from)
{
	char text[512 + sizeof(struct addr)];
	size_t n = 0, source = from && from->family == ADDR_IP6 ? 8 : 16;
	struct rate_key k;

	for (size_t i = 0; i < domain.n && i < 255; i++)
		text[n++] = domain.p[i];
	text[n++] = '\0';
	for (size_t i = 0; i < user.n && i < 255; i++)
		text[n++] = user.p[i];
	text[n++] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] = (char)(text[i] + 32);
	}
	if (from) {
		text[n++] = (char)from->family;
		memcpy(text + n, from->ip, source);
		n += source;
	}
	k.h[0] = siphash(r->seed, text, n);
	k.h[1] = siphash(r->seed + 16, text, n);
	return k;
}

static struct entry *find(struct rate *r, const struct rate_key *k)
{
	struct htab_node *n = htab_get(&r->keys, key_slice(k));

	return n ? CONTAINER_OF(n, struct entry, node) : NULL;
}

/* The entry of k, made when there is none; NULL without memory. */
static struct entry *obtain(struct rate *r, const struct rate_key *k, int64_t now_ms)
{
	struct entry *e = find(r, k);

	if (e) {
		list_del(&e->lru);
		list_add_tail(&r->lru, &e->lru);
		return e;
	}
	if (r->max == 0 || !(e = calloc(1, sizeof(*e))))
		return NULL;
	while (r->keys.n >= r->max)
		entry_free(r, CONTAINER_OF(list_first(&r->lru), struct entry, lru));
	e->key = *k;
	e->since_ms = now_ms;
	htab_add(&r->keys, &e->node);
	list_add_tail(&r->lru, &e->lru);
	return e;
}

static uint32_t seconds_up(int64_t ms)
{
	return ms <= 0 ? 1 : (uint32_t)((ms + 999) / 1000);
}

/* A window that is over begins anew; what is under way stays. */
static void turn(struct entry *e, const struct rate_limit *l, int64_t now_ms)
{
	if (now_ms - e->since_ms < (int64_t)l->period_ms)
		return;
	e->n = 0;
	e->since_ms = now_ms;
}

bool rate_window_open(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		      int64_t now_ms, uint32_t *retry_s)
{
	struct entry *e = l->limit ? find(r, k) : NULL;

	if (!e)
		return true;
	turn(e, l, now_ms);
	if (e->n + e->n_pending < l->limit)
		return true;
	*retry_s = e->n < l->limit ? 1 : seconds_up(e->since_ms + l->period_ms - now_ms);
	return false;
}

static void count(struct entry *e, int64_t now_ms)
{
	if (e->n == 0)
		e->since_ms = now_ms;
	e->n++;
}

bool rate_window_take(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		      int64_t now_ms, uint32_t *retry_s)
{
	struct entry *e;

	if (l->limit == 0)
		return true;
	if (!rate_window_open(r, k, l, now_ms, retry_s))
		return false;
	e = obtain(r, k, now_ms);
	if (e)
		count(e, now_ms);
	return true;
}

bool rate_window_enter(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		       int64_t now_ms, uint32_t *retry_s)
{
	struct entry *e;

	if (l->limit == 0)
		return true;
	if (!rate_window_open(r, k, l, now_ms, retry_s))
		return false;
	e = obtain(r, k, now_ms);
	if (e)
		e->n_pending++;
	return true;
}

void rate_window_leave(struct rate *r, const struct rate_key *k, const struct rate_limit *l,
		       int64_t now_ms, bool counts)
{
	struct entry *e;

	if (l->limit == 0)
		return;
	e = counts ? obtain(r, k, now_ms) : find(r, k);
	if (!e)
		return;
	/* The entry may have been forgotten meanwhile, and be a new one. */
	if (e->n_pending > 0)
		e->n_pending--;
	turn(e, l, now_ms);
	if (counts)
		count(e, now_ms);
	else if (e->n == 0 && e->n_pending == 0)
		entry_free(r, e);
}

static int64_t penalty_ms(uint32_t n_failures)
{
	int64_t ms = RATE_PENALTY_MIN_MS;

	for (uint32_t i = RATE_FREE_TRIES; i < n_failures && ms < RATE_PENALTY_MAX_MS; i++)
		ms *= 2;
	return ms < RATE_PENALTY_MAX_MS ? ms : RATE_PENALTY_MAX_MS;
}

bool rate_penalty_enter(struct rate *r, const struct rate_key *k, int64_t now_ms, uint32_t *retry_s)
{
	struct entry *e = obtain(r, k, now_ms);

	if (!e)
		return true;
	if (e->n_pending == 0 && now_ms - e->since_ms >= RATE_FORGET_MS)
		e->n = 0;
	if (now_ms < e->until_ms) {
		*retry_s = seconds_up(e->until_ms - now_ms);
		return false;
	}
	/* Over the free tries, one at a time. */
	if (e->n_pending > 0 && e->n + e->n_pending >= RATE_FREE_TRIES) {
		*retry_s = 1;
		return false;
	}
	e->n_pending++;
	return true;
}

void rate_penalty_leave(struct rate *r, const struct rate_key *k, int64_t now_ms,
			enum rate_outcome outcome)
{
	struct entry *e = outcome == RATE_BAD ? obtain(r, k, now_ms) : find(r, k);

	if (!e)
		return;
	if (e->n_pending > 0)
		e->n_pending--;
	if (outcome == RATE_GOOD) {
		e->n = 0;
		e->until_ms = 0;
	}
	if (outcome == RATE_BAD) {
		e->n++;
		e->since_ms = now_ms;
		if (e->n >= RATE_FREE_TRIES)
			e->until_ms = now_ms + penalty_ms(e->n);
	}
	if (e->n == 0 && e->n_pending == 0 && now_ms >= e->until_ms)
		entry_free(r, e);
}
